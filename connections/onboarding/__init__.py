"""The district's side: its people, their pages, and what they hand in. An app of its own, for it has tables of its own.

A person of a district comes in by a link (`entering`), never by a login of ours, and sees that one district and no
other. Every page is made for somebody who does this twice a year.
"""
