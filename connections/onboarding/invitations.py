"""Mails about a call, each with a calendar file: iCalendar (RFC 5545), in the manner of iTIP (RFC 5546)."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parseaddr
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from icalendar import Calendar, Event, vCalAddress

from connections.onboarding.models import Call
from rosters.oneroster.plain import listed


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
    for (_, address), more in zip(_sides(call), ("", brief), strict=True):
        if not address:
            continue
        text = render_to_string("emails/call.txt", {**context, "brief": more})
        message = EmailMultiAlternatives(subject, text, None, [address])
        message.attach_alternative(file, f"text/calendar; method={method}")
        message.send(fail_silently=True)


def who_is_told(call: Call) -> str:
    """Which sides get a mail about a change of it, and which have no address for one, in sentences."""
    sides = _sides(call)
    told, untold = ([name for name, address in sides if bool(address) == has] for has in (True, False))
    mailed = f"{listed(told)} {'get' if len(told) > 1 else 'gets'} a mail that changes the calendar." if told else ""
    silent = f"{listed(untold)} {'have' if len(untold) > 1 else 'has'} no e-mail address here, and gets none."
    return f"{mailed} {silent if untold else ''}".strip()


def _sides(call: Call) -> list[tuple[str, str]]:
    """Name and address of the person at the district, and of our staff."""
    return [(call.person.name, call.person.email), (_ours(call), call.staff.email)]


def _ours(call: Call) -> str:
    return call.staff.get_full_name() or call.staff.get_username()


def calendar(call: Call, now: datetime) -> str:
    """The calendar file: CRLF at each end of a line, lines folded, times in UTC."""
    cancelled = call.status == Call.Status.CANCELLED
    event = Event()
    event.add("uid", str(call.uid))
    event.add("sequence", call.sequence)
    for name, moment in (("dtstamp", now), ("dtstart", call.starts_at), ("dtend", call.ends_at)):
        event.add(name, moment.astimezone(UTC))
    event.add("status", "CANCELLED" if cancelled else "CONFIRMED")
    event.add("summary", f"Call about the rosters of {call.district.name}")
    event.add("description", call.topic)
    event.add("organizer", _address(_organizer(call), _ours(call)))
    asked = {"ROLE": "REQ-PARTICIPANT", "PARTSTAT": "NEEDS-ACTION", "RSVP": "TRUE"}
    event.add("attendee", _address(call.person.email, call.person.name, **asked))
    whole = Calendar()
    whole.add("version", "2.0")
    whole.add("prodid", "-//Roster portal//Calls//EN")
    whole.add("method", "CANCEL" if cancelled else "REQUEST")
    whole.add_component(event)
    file: bytes = whole.to_ical()
    return file.decode()


def _organizer(call: Call) -> str:
    return call.staff.email or parseaddr(settings.DEFAULT_FROM_EMAIL)[1]


def _address(mail: str, name: str, **parameters: str) -> vCalAddress:
    """A parameter's value has no quotes and control signs of its own (RFC 5545, section 3.2)."""
    address = vCalAddress(f"mailto:{mail}")
    shown = "".join(sign for sign in name if sign.isprintable() and sign != '"')
    for parameter, value in {"CN": shown, **parameters}.items():
        address.params[parameter] = value
    return address
