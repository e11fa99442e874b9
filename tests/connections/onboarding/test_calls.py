"""The first call: booked once, whoever clicks at the same moment; moved, cancelled, and never another district's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from django.core import mail
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone

from connections.onboarding import calls, invitations
from connections.onboarding.models import Availability, Call, Person
from rosters.models import AuditEvent, District

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = pytest.mark.django_db

ComeIn = Callable[[Person], Client]
PAGE = "/district/call/"


@pytest.fixture
def hours(rita: Staff) -> Availability:
    week = {str(day): [["09:00", "12:00"]] for day in range(7)}
    return Availability.objects.create(staff=rita, time_zone="America/New_York", weekly=week)


def first_free(hours: Availability) -> datetime:
    return calls.free(hours, timezone.now())[0]


def send(client: Client, start: datetime) -> int:
    answer = client.post(PAGE, {"slot": start.isoformat(), "phone": "555 0100", "topic": "Where to begin"})
    return answer.status_code


def test_a_person_books_moves_and_cancels(dana: Person, hours: Availability, come_in: ComeIn) -> None:
    client = come_in(dana)
    page = client.get(PAGE).content.decode()
    assert "Choose a time" in page and "AM E" in page and "AM C" in page
    start, later = calls.free(hours, timezone.now())[:2]
    assert send(client, start) == 302
    call = Call.objects.get()
    assert (call.starts_at, call.status, call.sequence, call.staff) == (start, "booked", 0, hours.staff)
    assert "Cancel this call" in client.get(PAGE).content.decode()
    assert send(client, later) == 302
    call.refresh_from_db()
    assert (call.starts_at, call.sequence) == (later, 1)
    assert calls.call_of(dana.district) == call
    assert client.post(f"{PAGE}cancel/").status_code == 302
    call.refresh_from_db()
    assert (call.status, call.sequence) == ("cancelled", 2)
    assert calls.call_of(dana.district) is None
    told = AuditEvent.objects.filter(action__startswith="call.").order_by("pk").values_list("action", flat=True)
    assert list(told) == ["call.booked", "call.moved", "call.cancelled"]


def test_what_is_taken_too_soon_or_made_up_is_refused(
    dana: Person, maple: District, hours: Availability, come_in: ComeIn
) -> None:
    start = first_free(hours)
    other = maple.people.create(name="Lee", email="lee@maple.test", role="owner")
    calls.book(other, start, timezone.now())
    client = come_in(dana)
    for wrong in (start, start - timedelta(days=3), start + timedelta(minutes=7), start + timedelta(weeks=30)):
        assert send(client, wrong) == 422
    assert not dana.district.calls.exists()
    assert client.post(f"{PAGE}cancel/").status_code == 302
    assert maple.calls.get().status == "booked"


def test_without_hours_the_page_says_so(dana: Person, come_in: ComeIn) -> None:
    assert "no free time" in come_in(dana).get(PAGE).content.decode()


def test_the_owner_of_the_district_calls_if_there_are_hours(cedar: District, hours: Availability, alice: Staff) -> None:
    assert calls.availability_for(cedar) == hours
    own = Availability.objects.create(staff=alice)
    cedar.owner = alice
    assert calls.availability_for(cedar) == own


def test_the_database_refuses_a_second_call_at_the_same_time(
    dana: Person, maple: District, hours: Availability
) -> None:
    call = calls.book(dana, first_free(hours), timezone.now())
    other = maple.people.create(name="Lee", email="lee@maple.test", role="owner")
    with pytest.raises(IntegrityError), transaction.atomic():
        Call.objects.create(
            district=maple, person=other, staff=call.staff, starts_at=call.starts_at, ends_at=call.ends_at
        )


@pytest.mark.django_db(transaction=True)
def test_of_many_clicks_at_once_one_gets_the_slot(hours: Availability) -> None:

    people = []
    for number in range(6):
        district = District.objects.create(name=f"District {number}", site_code=f"race-{number}")
        people.append(district.people.create(name="Somebody", email="somebody@race.test", role="owner"))
    now, start = timezone.now(), first_free(hours)
    gate, outcomes = threading.Barrier(len(people)), []

    def click(person: Person) -> None:
        try:
            gate.wait()
            calls.book(person, start, now)
            outcomes.append("booked")
        except calls.SlotTaken:
            outcomes.append("taken")
        finally:
            connection.close()

    threads = [threading.Thread(target=click, args=[person]) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["booked", *["taken"] * 5]
    assert Call.objects.filter(status="booked").count() == 1


def test_both_are_told_with_one_event_that_is_changed_and_cancelled(dana: Person, hours: Availability) -> None:
    hours.staff.email = "rita@portal.test"
    hours.staff.save()
    now = timezone.now()
    mail.outbox.clear()
    start, later = calls.free(hours, now)[:2]
    call = calls.book(dana, start, now)
    calls.book(dana, later, now)
    assert calls.cancel(dana, now)
    assert [one.to[0] for one in mail.outbox] == ["dana@cedar.test", "rita@portal.test"] * 3
    files = [str(one.alternatives[0][0]) for one in mail.outbox[::2]]  # type: ignore[union-attr]
    for number, (file, method) in enumerate(zip(files, ["REQUEST", "REQUEST", "CANCEL"], strict=True)):
        assert f"UID:{call.uid}\r\nSEQUENCE:{number}\r\n" in file
        assert f"METHOD:{method}\r\n" in file
    assert f"DTSTART:{later:%Y%m%dT%H%M%SZ}" in files[1]
    assert "(America/Chicago)" in mail.outbox[0].body
    assert "(America/New_York)" in mail.outbox[0].body


def test_the_calendar_file_is_folded_and_escaped(dana: Person, hours: Availability) -> None:
    now = timezone.now()
    call = calls.book(dana, first_free(hours), now, topic="Käse; a, b\\c\r\nBEGIN:VEVENT " + "ü" * 90)
    file = invitations.calendar(call, now)
    lines = file.split("\r\n")
    assert all(len(line.encode()) <= 75 for line in lines)
    assert "\n" not in file.replace("\r\n", "") and lines.count("BEGIN:VEVENT") == 1
    whole = file.replace("\r\n ", "")
    assert "DESCRIPTION:Käse\\; a\\, b\\\\c\\nBEGIN:VEVENT " + "ü" * 90 in whole


def test_staff_keep_their_own_hours_and_nobody_elses(rita: Staff, alice: Staff) -> None:
    others = Availability.objects.create(staff=alice)
    client = Client()
    client.force_login(rita)
    list_page = "/admin/onboarding/availability/"
    sent = {"time_zone": "America/Denver", "exceptions": "{}", "minutes": "30", "buffer": "10"}
    refused = client.post(f"{list_page}add/", {**sent, "weekly": '{"0": [["12:00", "09:00"]]}'})
    assert "These hours cannot be read" in refused.content.decode()
    assert client.post(f"{list_page}add/", {**sent, "weekly": '{"0": [["09:00", "12:00"]]}'}).status_code == 302
    assert Availability.objects.get(staff=rita).minutes == 30
    assert client.get(f"{list_page}add/").status_code == 403
    assert client.post(f"{list_page}{others.pk}/change/", {**sent, "weekly": "{}"}).status_code == 403
