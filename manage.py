#!/usr/bin/env python3
"""Django's command line for the roster portal."""

import os
import sys

if __name__ == "__main__":
    os.umask(0o077)  # rosters, mails and secrets: what we write is for the portal's own user
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
