"""Mails about a call, each with a calendar file: iCalendar (RFC 5545), in the manner of iTIP (RFC 5546).
`news` sends them, as all that is to be told: a row before a mail, so a mail server that is down loses none."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parseaddr
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from icalendar import Calendar, Event, vCalAddress

from connections.onboarding.brief import as_text, brief
from connections.onboarding.models import Availability, Call, Notice
from rosters.oneroster.plain import listed


def write_down(call: Call, now: datetime) -> list[Notice]:
    """Write down that both sides are to be mailed what became of the call; who has no address is not. What was not sent
    of how it was before is given up: the new mail says more."""
    Notice.objects.filter(call=call, sent_at=None, given_up_at=None).update(given_up_at=now)
    return [
        Notice.objects.create(
            person=call.person,
            kind=kind,
            about=f"{kind}:{call.pk}:{call.sequence}",
            call=call,
            made_at=now,
            not_before=now,
        )
        for kind, (_, address) in _sides(call).items()
        if address
    ]


def mail(notice: Notice, now: datetime) -> EmailMultiAlternatives:
    """The mail to one side about the call as it is now, with its calendar file; our side gets the brief too."""
    call = notice.call
    assert call is not None
    district, ours = call.district, notice.kind == Notice.Kind.OUR_CALL
    cancelled = call.status == Call.Status.CANCELLED
    context = {
        "call": call,
        "cancelled": cancelled,
        "moved": call.sequence > 0,
        "theirs": call.starts_at.astimezone(district.zone),
        "ours": call.starts_at.astimezone(_our_zone(call)),
        "brief": as_text(brief(district, now)) if ours and not cancelled else "",
    }
    subject = f"{'Cancelled: ' if cancelled else ''}Call about the rosters of {district.name}"
    message = EmailMultiAlternatives(
        subject, render_to_string("emails/call.txt", context), None, [_sides(call)[notice.kind][1]]
    )
    message.attach_alternative(calendar(call, now), f"text/calendar; method={'CANCEL' if cancelled else 'REQUEST'}")
    return message


def _our_zone(call: Call) -> ZoneInfo:
    """The clock of the hours of whoever calls; that of the district where there are none that can be read."""
    hours = Availability.objects.filter(staff=call.staff_id).first()
    try:
        return hours.hours().zone if hours else call.district.zone
    except (ValueError, LookupError):
        return call.district.zone


def who_is_told(call: Call) -> str:
    """Which sides get a mail about a change of it, and which have no address for one, in sentences."""
    sides = _sides(call).values()
    told, untold = ([name for name, address in sides if bool(address) == has] for has in (True, False))
    mailed = f"{listed(told)} {'get' if len(told) > 1 else 'gets'} a mail that changes the calendar." if told else ""
    silent = f"{listed(untold)} {'have' if len(untold) > 1 else 'has'} no e-mail address here, and gets none."
    return f"{mailed} {silent if untold else ''}".strip()


def still_to_be_told(call: Call) -> str:
    """Whose mail our mail server has not taken yet, in a sentence; "" if it has taken all."""
    sides = _sides(call)
    waiting = call.notices.filter(sent_at=None, given_up_at=None).order_by("pk").values_list("kind", flat=True)
    names = listed([sides[kind][0] for kind in waiting])
    return f"The mail about it could not be sent to {names} yet. It is tried again by itself." if names else ""


def _sides(call: Call) -> dict[str, tuple[str, str]]:
    """Name and address of the person at the district, and of our staff, by the kind of notice that goes there."""
    return {
        Notice.Kind.CALL: (call.person.name, call.person.email),
        Notice.Kind.OUR_CALL: (_ours(call), call.staff.email),
    }


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
