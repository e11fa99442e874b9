"""The discovery call, by the district's hand: a free slot is booked, moved or cancelled.

A booking locks the hours of the member of staff, looks again whether the slot is free, and only then writes; the
constraints of `Call` hold the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from connections.onboarding import invitations, news
from connections.onboarding.entering import audit, for_people
from connections.onboarding.models import Availability, Call, Person
from connections.onboarding.slots import free_slots
from connections.schedules import hour_in_words
from rosters.models import District

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

#: Nobody is called sooner than this after the booking.
LEAD: Final = timedelta(hours=24)
#: So far ahead can be booked.
AHEAD: Final = timedelta(weeks=3)

#: What a telephone number is written with, and the fewest digits of one.
_PHONE: Final = re.compile(r"[+(\d][\d\s().,/-]*((ext(ension)?\.?|x|#)\s*\d+)?", re.IGNORECASE)
_DIGITS: Final = 7


class SlotTaken(Exception):
    """The slot is not free, or not any more; or the call is not there any more. Show the page anew."""


def availability_for(district: District) -> Availability | None:
    """The hours of the district's owner, or of anybody who has some."""
    found = Availability.objects.select_related("staff").filter(staff__is_active=True).order_by("pk")
    return found.filter(staff=district.owner_id).first() or found.first()


def free(availability: Availability, now: datetime, *, beside: Call | None = None) -> list[datetime]:
    """The free slots of the next weeks, in UTC. What `beside` takes counts as free: it is the call to be moved."""
    taken = Call.objects.filter(staff=availability.staff_id, status=Call.Status.BOOKED, ends_at__gt=now)
    if beside is not None:
        taken = taken.exclude(pk=beside.pk)
    spans = list(taken.values_list("starts_at", "ends_at"))
    found = free_slots(availability.hours(), spans, now + LEAD, now + AHEAD)
    return [start for start in found if beside is None or start != beside.starts_at]


def book(person: Person, start: datetime, now: datetime, *, phone: str = "", topic: str = "") -> Call:
    """Book the slot for the person's district, or move its call there. Raises SlotTaken."""
    call = _alone(lambda: _booked(person, start, now, phone, topic))
    _tell(call, now)
    return call


def _booked(person: Person, start: datetime, now: datetime, phone: str, topic: str) -> Call:
    Call.end_past(person.district, now)
    call = _coming(person.district, now)
    hours = _locked(person.district, call)
    if hours is None or start not in free(hours, now, beside=call):
        raise SlotTaken
    end = start + timedelta(minutes=hours.minutes)
    if call is None:
        call = Call.objects.create(
            district=person.district,
            person=person,
            staff=hours.staff,
            starts_at=start,
            ends_at=end,
            phone=phone,
            topic=topic,
            booked_at=now,
        )
        audit("call.booked", person, now, call=call.pk)
        return call
    if not call.move(start, end, phone=phone, topic=topic):
        raise SlotTaken
    audit("call.moved", person, now, call=call.pk)
    return call


def cancel(person: Person, now: datetime) -> Call | None:
    """Cancel the call that comes, and give it; None if there is none."""
    with transaction.atomic():
        call = _coming(person.district, now)
        if call is None or not call.cancel():
            return None
        audit("call.cancelled", person, now, call=call.pk)
    _tell(call, now)
    return call


def move_for(call: Call, start: datetime, now: datetime, *, by: Staff) -> None:
    """Staff has a booked call at another free time. Raises SlotTaken."""

    def moved() -> Call:
        hours = _locked(call.district, call)
        if hours is None or start not in free(hours, now, beside=call):
            raise SlotTaken
        if not call.move(start, start + timedelta(minutes=hours.minutes)):
            raise SlotTaken
        audit("call.moved_for", call.person, now, by=by, call=call.pk)
        return call

    _tell(_alone(moved), now)


def cancel_for(call: Call, now: datetime, *, by: Staff) -> bool:
    """Staff calls off a booked call; False if it is not booked any more."""
    with transaction.atomic():
        if not call.cancel():
            return False
        audit("call.cancelled_for", call.person, now, by=by, call=call.pk)
    _tell(call, now)
    return True


def record(call: Call, now: datetime, outcome: dict[str, Any], *, by: Staff, missed: bool) -> bool:
    """Staff writes down what came of a call: notes, decisions, launch_on, schedule_words. False if it was cancelled."""
    with transaction.atomic():
        if not call.record(now, by, outcome, missed=missed):
            return False
        said = sorted(name for name, value in outcome.items() if value)
        audit("call.recorded", call.person, now, by=by, call=call.pk, missed=missed, said=said)
    return True


def _tell(call: Call, now: datetime) -> None:
    """Mail both sides. A mail that cannot be sent now undoes no booking, and is tried again."""
    news.send_in_turn(invitations.write_down(call, now), now)


def _alone(work: Callable[[], Call]) -> Call:
    try:
        with transaction.atomic():
            return work()
    except IntegrityError as error:
        raise SlotTaken from error


def _coming(district: District, now: datetime) -> Call | None:
    return district.calls.filter(status=Call.Status.BOOKED, starts_at__gt=now).select_related("staff").first()


def _hours_of(district: District, call: Call | None) -> Availability | None:
    """Those of whom the call is booked with: a move does not change who calls."""
    if call is None:
        return availability_for(district)
    return Availability.objects.select_related("staff").filter(staff=call.staff_id).first()


def _locked(district: District, call: Call | None) -> Availability | None:
    found = _hours_of(district, call)
    if found is None:
        return None
    return Availability.objects.select_for_update(of=("self",)).select_related("staff").filter(pk=found.pk).first()


def _can_be_dialled(number: str) -> None:
    if not _PHONE.fullmatch(number) or sum(sign.isdigit() for sign in number) < _DIGITS:
        raise ValidationError("Give a number that we can dial, for example (505) 555-0142 or (505) 555-0142 ext. 7.")


class CallForm(forms.Form):
    slot = forms.DateTimeField(error_messages={"required": "Choose one of the times."})
    phone = forms.CharField(
        max_length=40,
        label="Phone number to call",
        validators=[_can_be_dialled],
        widget=forms.TextInput({"type": "tel", "autocomplete": "tel"}),
    )
    topic = forms.CharField(
        max_length=500, required=False, label="What you would like to talk about", widget=forms.Textarea({"rows": 3})
    )


@require_http_methods(["GET", "POST"])
@for_people
def page(request: HttpRequest, person: Person) -> HttpResponse:
    """The call that is booked, and the free slots by day, by the district's clock and by ours."""
    now = timezone.now()
    form = CallForm(request.POST or None, initial=_known(_coming(person.district, now)))
    if request.method == "POST" and form.is_valid():
        chosen = form.cleaned_data
        moved = _coming(person.district, now) is not None
        try:
            booked = book(person, chosen["slot"].astimezone(UTC), now, phone=chosen["phone"], topic=chosen["topic"])
        except SlotTaken:
            form.add_error("slot", "This time is not free any more. Choose another one; nothing was changed.")
        else:
            messages.success(request, _said("moved to" if moved else "booked for", booked, person))
            return HttpResponseRedirect(reverse("onboarding:call"))
    call = _coming(person.district, now)
    hours = _hours_of(person.district, call)
    same = hours is not None and hours.time_zone == person.district.time_zone
    shown = days(person.district, hours, call, now)
    context = {"form": form, "call": call, "hours": hours, "days": shown, "same_clock": same}
    return render(request, "onboarding/call.html", context, status=422 if form.errors else 200)


@require_POST
@for_people
def cancel_call(request: HttpRequest, person: Person) -> HttpResponse:
    if call := cancel(person, timezone.now()):
        messages.success(request, f"The call is cancelled. {_mailed(call, person)} that takes it out of the calendar.")
    else:
        messages.info(request, "There was no call to cancel.")
    return HttpResponseRedirect(reverse("onboarding:call"))


def _said(what: str, call: Call, person: Person) -> str:
    when = call.starts_at.astimezone(call.district.zone)
    day = f"{when:%A}, {when.day} {when:%B}, {hour_in_words(when)}"
    mailed = f"{_mailed(call, person)} with it for the calendar"
    return f"The call is {what} {day}. {mailed}. It can be moved or cancelled here."


def _mailed(call: Call, person: Person) -> str:
    """A call stands in the calendar of whoever booked it, who may be another one of the district."""
    return "You get a mail" if call.person_id == person.pk else f"{call.person} gets a mail"


def _known(call: Call | None) -> dict[str, str]:
    return {"phone": call.phone, "topic": call.topic} if call else {}


def days(
    district: District, hours: Availability | None, call: Call | None, now: datetime
) -> list[tuple[date, list[dict[str, Any]]]]:
    """The free slots by the district's days; each with its value, by the district's clock and by that of our staff."""
    if hours is None:
        return []
    zone = hours.hours().zone
    slots = [
        {"value": start.isoformat(), "here": start.astimezone(district.zone), "ours": start.astimezone(zone)}
        for start in free(hours, now, beside=call)
    ]
    return [(day, list(group)) for day, group in groupby(slots, key=lambda slot: slot["here"].date())]  # type: ignore[attr-defined]
