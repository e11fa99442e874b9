"""The first call: booked once, whoever clicks at the same moment; moved, cancelled, and never another district's."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from django.core import mail
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone

from connections.onboarding import calls, invitations, news
from connections.onboarding.models import Availability, Call, Notice, Person
from rosters.models import AuditEvent, District

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from pytest_django import Settings

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
    assert "Choose a time" in page and "AM Eastern" in page and "AM Central" in page
    start, later = calls.free(hours, timezone.now())[:2]
    assert send(client, start) == 302
    call = Call.objects.get()
    assert (call.starts_at, call.status, call.sequence, call.staff) == (start, "booked", 0, hours.staff)
    assert "Cancel this call" in client.get(PAGE).content.decode()
    assert send(client, later) == 302
    call.refresh_from_db()
    assert (call.starts_at, call.sequence) == (later, 1)
    assert Call.latest_of(dana.district) == call
    assert client.post(f"{PAGE}cancel/").status_code == 302
    call.refresh_from_db()
    assert (call.status, call.sequence) == ("cancelled", 2)
    assert Call.latest_of(dana.district) is None
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
    there, here = start.astimezone(dana.district.zone), start.astimezone(hours.hours().zone)
    assert f"{there:%B %Y, %-I:%M %p} Central\n" in mail.outbox[0].body
    assert f"{here:%B %Y, %-I:%M %p} Eastern, at our end\n" in mail.outbox[0].body


def test_a_mail_server_that_is_down_loses_no_mail_about_a_call(
    booked: Call, hours: Availability, rita: Staff, dana: Person, come_in: ComeIn, settings: Settings
) -> None:
    mail.outbox.clear()
    now, client = timezone.now(), Client()
    client.force_login(rita)
    settings.EMAIL_BACKEND = "tests.connections.onboarding.test_news.Refusing"
    start, later = calls.free(hours, now, beside=booked)[3:5]
    calls.book(dana, start, now)
    moved = client.post(f"{CALLS}{booked.pk}/move/", {"slot": later.isoformat()}, follow=True).content.decode()
    assert "could not be sent to Dana Reyes and rita yet" in moved
    assert Notice.objects.filter(call=booked, given_up_at__isnull=False).count() == 2, "it is at another time now"
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    news.minute(now + timedelta(hours=1))
    sent = {one.to[0]: one for one in mail.outbox}
    assert {address: "What we know" in str(one.body) for address, one in sent.items()} == {
        dana.email: False, rita.email: True,
    }  # fmt: skip
    for one in mail.outbox:
        assert f"DTSTART:{later:%Y%m%dT%H%M%SZ}" in str(one.alternatives[0][0])  # type: ignore[union-attr]
    assert "could not be sent" not in client.get(f"{CALLS}{booked.pk}/change/").content.decode()
    other = dana.district.people.create(name="Sam Okafor", email="sam@cedar.test", role="owner")
    said = come_in(other).post(f"{PAGE}cancel/", follow=True).content.decode()
    assert "Dana Reyes gets a mail that takes it out of the calendar." in said


def test_what_was_not_mailed_until_a_call_was_over_is_mailed_no_more(booked: Call) -> None:
    Notice.objects.update(sent_at=None)
    mail.outbox.clear()
    news.minute(booked.ends_at)
    assert not mail.outbox and not Notice.objects.filter(given_up_at=None).exists()


def test_the_calendar_file_is_folded_and_escaped(dana: Person, hours: Availability) -> None:
    now = timezone.now()
    call = calls.book(dana, first_free(hours), now, topic="Käse; a, b\\c\r\nBEGIN:VEVENT " + "ü" * 90)
    file = invitations.calendar(call, now)
    lines = file.split("\r\n")
    assert all(len(line.encode()) <= 75 for line in lines)
    assert "\n" not in file.replace("\r\n", "") and lines.count("BEGIN:VEVENT") == 1
    whole = file.replace("\r\n ", "")
    assert "DESCRIPTION:Käse\\; a\\, b\\\\c\\nBEGIN:VEVENT " + "ü" * 90 in whole


HOURS = "/admin/onboarding/availability/"


def hours_sent(**more: str) -> dict[str, str]:
    return {"time_zone": "America/Denver", "minutes": "30", "buffer": "10", **more}


def test_staff_keep_their_own_hours_and_nobody_elses(rita: Staff, alice: Staff) -> None:
    others = Availability.objects.create(staff=alice)
    client = Client()
    client.force_login(rita)
    monday = {"day0_from0": "09:00", "day0_to0": "12:00", "day0_from1": "13:00", "day0_to1": "16:00"}
    day_off = {"differs0_date": "2026-12-24", "differs1_date": "2026-12-28", "differs1_from0": "10:00"}
    refused = client.post(f"{HOURS}add/", hours_sent(day0_from0="12:00", day0_to0="09:00"))
    assert (refused.status_code, "one ends before it begins" in refused.content.decode()) == (422, True)
    refused = client.post(f"{HOURS}add/", hours_sent(**monday, **day_off))
    assert "A range has a beginning and an end." in refused.content.decode()
    assert not Availability.objects.filter(staff=rita).exists()
    kept = client.post(f"{HOURS}add/", hours_sent(**monday, **day_off, differs1_to0="11:00"))
    assert kept.status_code == 302
    found = Availability.objects.get(staff=rita)
    assert found.weekly == {"0": [["09:00", "12:00"], ["13:00", "16:00"]]}
    assert found.exceptions == {"2026-12-24": [], "2026-12-28": [["10:00", "11:00"]]}
    page = client.get(kept.headers["Location"]).content.decode()
    assert 'value="2026-12-24"' in page and 'value="13:00"' in page
    assert client.get(f"{HOURS}add/").status_code == 403
    assert client.post(f"{HOURS}{others.pk}/change/", hours_sent()).status_code == 403
    assert "takes calls" in client.get(f"{HOURS}{others.pk}/change/").content.decode()


def test_hours_show_what_they_give_before_they_are_kept(hours: Availability, rita: Staff) -> None:
    client = Client()
    client.force_login(rita)
    sent = hours_sent(
        preview="1",
        **{f"day{day}_{edge}0": at for day in range(7) for edge, at in (("from", "08:00"), ("to", "08:30"))},
    )
    page = client.post(f"{HOURS}{hours.pk}/change/", sent)
    shown = page.content.decode()
    assert page.status_code == 200 and "What these hours would give" in shown and "08:00" in shown
    hours.refresh_from_db()
    assert hours.time_zone == "America/New_York", "nothing was kept"


@pytest.mark.django_db(transaction=True)
def test_calls_never_overlap_while_hours_change(hours: Availability) -> None:
    """Starts differ when the length of a call changes between two looks, so no constraint on them would help: who books
    holds the hours and looks again."""
    people = []
    for number in range(4):
        district = District.objects.create(name=f"District {number}", site_code=f"lap-{number}")
        people.append(district.people.create(name="Somebody", email="somebody@lap.test", role="owner"))
    now = timezone.now()
    seen = calls.free(hours, now)[:2]
    hours.minutes = 50
    seen += calls.free(hours, now)[:2]
    gate = threading.Barrier(len(people) + 1)

    def click(person: Person, start: datetime) -> None:
        try:
            gate.wait()
            calls.book(person, start, now)
        except calls.SlotTaken:
            pass
        finally:
            connection.close()

    def change() -> None:
        try:
            gate.wait()
            for minutes in (50, 30, 50):
                Availability.objects.filter(pk=hours.pk).update(minutes=minutes)
        finally:
            connection.close()

    threads = [threading.Thread(target=click, args=pair) for pair in zip(people, seen, strict=True)]
    threads.append(threading.Thread(target=change))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    booked = list(Call.objects.filter(status="booked").order_by("starts_at"))
    assert booked
    rest = timedelta(minutes=hours.buffer)
    assert all(one.ends_at + rest <= other.starts_at for one, other in itertools.pairwise(booked))


CALLS = "/admin/onboarding/call/"


@pytest.fixture
def booked(dana: Person, hours: Availability) -> Call:
    return calls.book(dana, first_free(hours), timezone.now(), phone="555 0100", topic="Where to begin")


@pytest.fixture
def held(booked: Call) -> Call:
    """The same call, when it is over."""
    past = timezone.now() - timedelta(hours=2)
    Call.objects.filter(pk=booked.pk).update(starts_at=past, ends_at=past + timedelta(minutes=30))
    booked.refresh_from_db()
    return booked


def test_staff_see_who_is_called_when_by_both_clocks(booked: Call, vera: Staff) -> None:
    client = Client()
    client.force_login(vera)
    listed = client.get(f"{CALLS}?when=coming").content.decode()
    assert "Cedar Grove" in listed and "Booked" in listed and " C" in listed
    page = client.get(f"{CALLS}{booked.pk}/change/").content.decode()
    assert "555 0100" in page and "Where to begin" in page and "What we know" in page
    theirs = booked.starts_at.astimezone(booked.district.zone)
    assert f"{theirs:%A, %H:%M %Z} at the district" in page
    assert "Cancel the call" not in page, "a viewer only looks"
    for deed in ("outcome", "move", "cancel"):
        assert client.post(f"{CALLS}{booked.pk}/{deed}/").status_code == 403


@pytest.mark.looks
def test_of_the_calls_to_come_the_next_stands_first_and_what_is_no_number_is_no_call(
    booked: Call, maple: District, hours: Availability, rita: Staff
) -> None:
    other = maple.people.create(name="Lee", email="lee@maple.test", role="owner")
    calls.book(other, calls.free(hours, timezone.now())[5], timezone.now())
    client = Client()
    client.force_login(rita)
    for asked, first in (("?when=coming", "Cedar Grove"), ("", "Maple Falls"), ("?when=coming&o=-0", "Maple Falls")):
        assert client.get(f"{CALLS}{asked}").context["cl"].result_list[0].district.name == first
    for start in (CALLS, HOURS):
        for wrong in ("abc", "1.5", "9" * 40, "x" * 400):
            assert client.get(f"{start}{wrong}/change/").status_code == 404, (start, wrong)


def test_staff_move_and_cancel_and_both_sides_are_told(booked: Call, hours: Availability, rita: Staff) -> None:
    client = Client()
    client.force_login(rita)
    type(rita).objects.filter(pk=rita.pk).update(email="")
    alone = client.get(f"{CALLS}{booked.pk}/change/").content.decode()
    assert "Dana Reyes gets a mail that changes the calendar. rita has no e-mail address here" in alone
    hours.staff.email = "rita@portal.test"
    hours.staff.save()
    mail.outbox.clear()
    taken, later = booked.starts_at, calls.free(hours, timezone.now(), beside=booked)[3]
    for wrong in ("", "yesterday", taken.isoformat(), (later + timedelta(minutes=1)).isoformat()):
        client.post(f"{CALLS}{booked.pk}/move/", {"slot": wrong})
    booked.refresh_from_db()
    assert (booked.starts_at, booked.sequence, mail.outbox) == (taken, 0, [])
    theirs = timezone.localtime(later, hours.hours().zone)
    choice = f"{theirs:%a} {theirs.day} {theirs:%b, %H:%M}"
    assert f">{choice} " in client.get(f"{CALLS}{booked.pk}/change/").content.decode(), "a choice names its day"
    for deed, said in (
        ("move", "Moved. Dana Reyes and rita get a mail"), ("cancel", "Cancelled. Dana Reyes and rita get a mail"),
        ("cancel", "It was not booked any more"),
    ):  # fmt: skip
        answer = client.post(f"{CALLS}{booked.pk}/{deed}/", {"slot": later.isoformat()}, follow=True)
        assert said in answer.content.decode()
    booked.refresh_from_db()
    assert (booked.starts_at, booked.status, booked.sequence) == (later, "cancelled", 2)
    assert [one.to[0] for one in mail.outbox] == ["dana@cedar.test", "rita@portal.test"] * 2
    told = AuditEvent.objects.filter(action__startswith="call.", by=rita).order_by("pk")
    assert [one.action for one in told] == ["call.moved_for", "call.cancelled_for"]


def test_what_came_of_it_goes_into_the_districts_checklist(
    held: Call, dana: Person, rita: Staff, come_in: ComeIn
) -> None:
    client = Client()
    client.force_login(rita)
    assert "What came of it?" in client.get(f"{CALLS}?when=untold").content.decode()
    sent = {
        "decisions": "You send users first.",
        "launch_on": "2027-01-11",
        "schedule_words": "every school day at 2 AM",
        "notes": "Prefers mornings.",
    }
    assert client.post(f"{CALLS}{held.pk}/outcome/", sent).status_code == 302
    held.refresh_from_db()
    assert (held.status, held.outcome_by, held.launch_on.isoformat()) == ("held", rita, "2027-01-11")  # type: ignore[union-attr]
    home = come_in(dana).get("/district/").content.decode()
    for told in ("You send users first.", "Launch on Monday, 11 January 2027.", "every school day at 2 AM"):
        assert told in home
    assert "Prefers mornings." not in home
    event = AuditEvent.objects.get(action="call.recorded")
    assert event.after["said"] == ["decisions", "launch_on", "notes", "schedule_words"]
    assert "Prefers" not in str(event.after)
    assert "Over, without outcome" in client.get(f"{CALLS}?when=untold").content.decode()
    assert not Call.without_outcome(timezone.now()).exists()


@pytest.mark.looks
def test_what_comes_of_it_is_written_down_while_they_talk(held: Call, rita: Staff, vera: Staff) -> None:
    now = timezone.now()
    Call.objects.update(starts_at=now - timedelta(minutes=5), ends_at=now + timedelta(minutes=25))
    page = f"{CALLS}{held.pk}/change/"
    client, viewer = Client(), Client()
    client.force_login(rita)
    viewer.force_login(vera)
    assert "Keep what came of it" in client.get(page).content.decode()
    assert "Nobody has written it down yet." in viewer.get(page).content.decode()
    refused = client.post(f"{CALLS}{held.pk}/outcome/", {"decisions": "Users first.", "launch_on": "soon"})
    assert refused.status_code == 422 and "Users first." in refused.content.decode()
    client.post(f"{CALLS}{held.pk}/outcome/", {"decisions": "Users first."})
    assert "Users first." in viewer.get(page).content.decode()
    Call.objects.update(starts_at=now + timedelta(minutes=5), status="booked")
    assert "Keep what came of it" not in client.get(page).content.decode()


def test_a_call_that_nobody_came_to_was_not_held(held: Call, dana: Person, rita: Staff, come_in: ComeIn) -> None:
    client = Client()
    client.force_login(rita)
    client.post(f"{CALLS}{held.pk}/outcome/", {"missed": "1"})
    held.refresh_from_db()
    assert held.status == "missed" and Call.latest_of(dana.district) is None
    assert "Book the first call" in come_in(dana).get("/district/").content.decode()


def test_the_page_says_what_happened(dana: Person, hours: Availability, come_in: ComeIn) -> None:
    client = come_in(dana)
    start, later = calls.free(hours, timezone.now())[:2]
    for moment, said in ((start, "The call is booked for"), (later, "The call is moved to")):
        send(client, moment)
        assert said in client.get(PAGE).content.decode()
    client.post(f"{PAGE}cancel/")
    assert "The call is cancelled" in client.get(PAGE).content.decode()
