"""Mails about a call, each with a calendar file: iCalendar (RFC 5545), in the manner of iTIP (RFC 5546)."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parseaddr
from typing import Final
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

from connections.onboarding.models import Call

#: Octets of a line before it is folded, RFC 5545, 3.1.
_FOLD: Final = 75


def tell(call: Call, now: datetime, zone: ZoneInfo, *, brief: str = "") -> None:
    """Mail both sides what became of the call; `zone` is that of our staff, who also get the `brief`. A mail that fails
    undoes no booking."""
    file = calendar(call, now)
    method = "CANCEL" if call.status == Call.Status.CANCELLED else "REQUEST"
    subject = f"{'Cancelled: ' if method == 'CANCEL' else ''}Call about the rosters of {call.district.name}"
    context = {
        "call": call,
        "cancelled": method == "CANCEL",
        "moved": call.sequence > 0,
        "theirs": call.starts_at.astimezone(call.district.zone),
        "ours": call.starts_at.astimezone(zone),
    }
    for address, more in ((call.person.email, ""), (call.staff.email, brief)):
        if not address:
            continue
        text = render_to_string("emails/call.txt", {**context, "brief": more})
        message = EmailMultiAlternatives(subject, text, None, [address])
        message.attach_alternative(file, f"text/calendar; method={method}")
        message.send(fail_silently=True)


def calendar(call: Call, now: datetime) -> str:
    """The calendar file: CRLF at each end of a line, lines folded, times in UTC."""
    cancelled = call.status == Call.Status.CANCELLED
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Roster portal//Calls//EN",
        f"METHOD:{'CANCEL' if cancelled else 'REQUEST'}",
        "BEGIN:VEVENT",
        f"UID:{call.uid}",
        f"SEQUENCE:{call.sequence}",
        f"DTSTAMP:{_stamp(now)}",
        f"DTSTART:{_stamp(call.starts_at)}",
        f"DTEND:{_stamp(call.ends_at)}",
        f"STATUS:{'CANCELLED' if cancelled else 'CONFIRMED'}",
        f"SUMMARY:{_escaped('Call about the rosters of ' + call.district.name)}",
        f"DESCRIPTION:{_escaped(call.topic)}",
        f"ORGANIZER;CN={_quoted(call.staff.get_full_name() or call.staff.get_username())}:mailto:{_organizer(call)}",
        f"ATTENDEE;CN={_quoted(call.person.name)};ROLE=REQ-PARTICIPANT;PARTSTAT=NEEDS-ACTION;RSVP=TRUE"
        f":mailto:{call.person.email}",
        "END:VEVENT",
        "END:VCALENDAR",
    ]
    return "".join(_folded(line) + "\r\n" for line in lines)


def _organizer(call: Call) -> str:
    return call.staff.email or parseaddr(settings.DEFAULT_FROM_EMAIL)[1]


def _quoted(name: str) -> str:
    """A parameter's value, RFC 5545, 3.2: in quotes, without quotes and control signs of its own."""
    return '"' + "".join(sign for sign in name if sign.isprintable() and sign != '"') + '"'


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _escaped(text: str) -> str:
    text = "\n".join(text.splitlines())
    for sign in ("\\", ";", ","):
        text = text.replace(sign, "\\" + sign)
    return text.replace("\n", "\\n")


def _folded(line: str) -> str:
    """Broken before the octet that would be too many, and never inside a character."""
    pieces, length = [""], 0
    for sign in line:
        size = len(sign.encode())
        if length + size > _FOLD:
            pieces.append("")
            length = 1
        pieces[-1] += sign
        length += size
    return "\r\n ".join(pieces)
