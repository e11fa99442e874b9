"""Mails to staff: what waits, once a morning or at once, to whom it concerns, and never a roster value."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Group
from django.contrib.auth.models import User as StaffModel
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.test import Client
from django_q.models import OrmQ

from connections.announcing import mailing, tasks
from connections.announcing.models import Mailing
from connections.models import Connection
from connections.onboarding.models import Availability
from rosters.models import AuditEvent, Delivery, District, Sync

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = pytest.mark.django_db

#: A Tuesday, 8:00 in Chicago.
TUESDAY = datetime(2026, 11, 24, 14, 0, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def staff(db: None) -> Callable[..., Staff]:
    def make(name: str, group: str = "reviewer", **values: Any) -> Staff:
        made = StaffModel.objects.create_user(name, email=f"{name}@portal.example", is_staff=True, **values)
        made.groups.add(Group.objects.get(name=group))
        return made

    return make


@pytest.fixture
def maria(staff: Callable[..., Staff]) -> Staff:
    return staff("maria")


def district(name: str, owner: Staff | None, **values: Any) -> District:
    return District.objects.create(name=name, site_code=name.replace(" ", "-"), owner=owner, **values)


def sync(of: District, status: str, since: datetime, **values: Any) -> Sync:
    delivery = Delivery.objects.create(
        district=of, sha256="0" * 64, size=1, name="roster.zip", origin="sftp", received_at=since
    )
    return Sync.objects.create(
        district=of, delivery=delivery, status=status, received_at=since, status_since=since, **values
    )


def wish(of: Staff, **values: Any) -> Mailing:
    return Mailing.objects.create(staff=of, **{"told_until": TUESDAY - 5 * DAY, **values})


def test_a_morning_tells_what_waits_and_leads_there(maria: Staff) -> None:
    cedar, maple, elm = (district(name, maria) for name in ("Cedar Grove", "Maple", "Elm"))
    held = sync(
        cedar, "awaiting_review", TUESDAY - 3 * DAY, people_affected=488, verdict="Held: Willow Grove High School"
    )
    refused = sync(maple, "rejected", TUESDAY - 5 * HOUR)
    sync(elm, "unchanged", TUESDAY - 2 * HOUR)
    connection = Connection.objects.create(district=elm, kind="sftp", state="active", failures=1)
    district("Nobody's", None)
    assert mailing.send_morning(wish(maria).pk, TUESDAY)
    (sent,) = mail.outbox
    assert (sent.to, sent.subject) == (["maria@portal.example"], "3 districts wait for somebody")
    text = str(sent.body)
    assert "Cedar Grove: needs review for 3 days; 488 people concerned" in text
    assert f"/admin/rosters/sync/{held.pk}/change/" in text
    assert "Maple: needs a corrected file for 5 hours" in text and f"/admin/rosters/sync/{refused.pk}/" in text
    assert "Elm: SFTP: cannot connect" in text and f"/admin/connections/connection/{connection.pk}/change/" in text
    assert "Since the last mail 2 deliveries came" in text and "0 went live, 1 changed nothing" in text
    assert "Willow" not in text, "a verdict may name a school: no roster value in a mail"


def test_where_nothing_waits_nothing_is_sent(maria: Staff) -> None:
    sync(district("Cedar Grove", maria), "applied", TUESDAY - DAY, **applied())
    assert not mailing.send_morning(wish(maria).pk, TUESDAY)
    assert mail.outbox == []


def applied() -> dict[str, Any]:
    """A sync that stands as unchanged would not be enough: an applied one needs its result."""
    from rosters.models import Snapshot

    of = District.objects.get()
    snapshot = Snapshot.objects.create(district=of, version=1, digest="0" * 64, tables={})
    return {"applied_at": TUESDAY, "result": snapshot, "decision": "approved", "decided_at": TUESDAY,
            "decided_automatically": True}  # fmt: skip


def test_a_morning_comes_once_by_the_clock_of_who_is_mailed_and_not_on_sundays(maria: Staff) -> None:
    sync(district("Cedar Grove", maria), "awaiting_review", TUESDAY - 9 * DAY)
    wished = wish(maria, hour=7, time_zone="America/Los_Angeles")
    assert mailing.due(TUESDAY) == ([], []), "six in the morning there"
    assert mailing.due(TUESDAY + HOUR) == ([wished.pk], [])
    assert mailing.send_morning(wished.pk, TUESDAY + HOUR)
    assert not mailing.send_morning(wished.pk, TUESDAY + HOUR), "a task may run twice"
    assert mailing.due(TUESDAY + 9 * HOUR) == ([], [])
    assert mailing.due(TUESDAY + DAY + HOUR) == ([wished.pk], []), "it waits still"
    saturday = TUESDAY + 4 * DAY + HOUR
    assert mailing.due(saturday) == ([], []) == mailing.due(saturday + DAY)
    Mailing.objects.update(mornings=False)
    assert mailing.due(TUESDAY + DAY + HOUR) == ([], [])


def test_managers_are_told_what_nobody_looks_after_and_what_nobody_decides(staff: Callable[..., Staff]) -> None:
    manager, tom = staff("olga", "manager"), staff("tom")
    sync(district("Nobody's", None), "rejected", TUESDAY - HOUR)
    sync(district("Old", tom), "awaiting_review", TUESDAY - 5 * DAY)
    sync(district("Young", tom), "awaiting_review", TUESDAY - 3 * DAY)
    wrong = district("Wrong", tom, verification_faults=["users: live has 1 rows, the snapshot 2"])
    letter = mailing.morning(manager, TUESDAY, TUESDAY - DAY)
    assert letter is not None
    assert "Nobody's: needs a corrected file" in letter.text and "Old: needs review for 5 days" in letter.text
    assert "Young" not in letter.text and "Wrong: tell the developers" in letter.text
    assert f"/admin/rosters/district/{wrong.pk}/change/" in letter.text
    of_tom = mailing.morning(tom, TUESDAY, TUESDAY - DAY)
    assert of_tom is not None and "Young" in of_tom.text and "Nobody's" not in of_tom.text


def test_at_once_is_one_mail_for_what_has_begun_to_wait(maria: Staff, staff: Callable[..., Staff]) -> None:
    cedar, maple = district("Cedar Grove", maria), district("Maple", maria)
    wished = wish(maria, mornings=False, at_once=True)
    other = wish(staff("tom"), mornings=False, at_once=True)
    sync(cedar, "awaiting_review", TUESDAY - HOUR, people_affected=1)
    assert mailing.due(TUESDAY) == ([], [wished.pk])
    assert mailing.send_at_once(wished.pk, TUESDAY) and not mailing.send_at_once(other.pk, TUESDAY)
    assert mail.outbox[0].subject == "Cedar Grove: needs review; 1 person concerned"
    assert mailing.due(TUESDAY + HOUR) == ([], []), "told once"
    assert not mailing.send_at_once(wished.pk, TUESDAY + HOUR)
    sync(cedar, "failed", TUESDAY + HOUR)  # in the minute of that look, and written after it
    sync(maple, "rejected", TUESDAY + 2 * HOUR)
    sync(maple, "awaiting_review", TUESDAY + 2 * HOUR, dry_run=False)
    assert mailing.due(TUESDAY + 3 * HOUR) == ([], [wished.pk])
    assert mailing.send_at_once(wished.pk, TUESDAY + 3 * HOUR)
    assert mail.outbox[1].subject == "3 syncs wait" and len(mail.outbox) == 2


def test_what_the_mail_server_does_not_take_is_sent_later_and_not_twice(
    maria: Staff, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sync(district("Cedar Grove", maria), "awaiting_review", TUESDAY - HOUR)
    wished = wish(maria, at_once=True)

    def down(self: object, messages: object) -> int:
        raise ConnectionRefusedError

    with monkeypatch.context() as broken:
        broken.setattr(EmailBackend, "send_messages", down)
        assert not mailing.send_morning(wished.pk, TUESDAY)
        assert not mailing.send_at_once(wished.pk, TUESDAY)
    assert "maria" not in caplog.text and "ConnectionRefusedError" in caplog.text
    assert mailing.due(TUESDAY + timedelta(minutes=5)) == ([], []), "not every minute"
    later = TUESDAY + timedelta(minutes=11)
    assert mailing.due(later) == ([wished.pk], [wished.pk])
    assert mailing.send_morning(wished.pk, later) and mailing.send_at_once(wished.pk, later)
    assert len(mail.outbox) == 2 and mailing.due(later) == ([], [])


def test_who_looks_after_a_district_has_wishes_from_tomorrow_on(maria: Staff, staff: Callable[..., Staff]) -> None:
    sync(district("Cedar Grove", maria), "awaiting_review", TUESDAY - DAY)
    Availability.objects.create(staff=maria, time_zone="America/New_York", weekly={})
    manager = staff("olga", "manager")
    for name, values in {"viewer": {}, "left": {"is_active": False}}.items():
        gone = staff(name, "viewer", **values)
        if name == "left":
            district("Left", gone)
    nameless = staff("nameless")
    StaffModel.objects.filter(pk=nameless.pk).update(email="")
    district("No mail", nameless)
    assert mailing.due(TUESDAY) == ([], []), "nobody is surprised at noon"
    assert {each.staff for each in Mailing.objects.all()} == {maria, manager}
    assert Mailing.objects.get(staff=maria).time_zone == "America/New_York"
    assert set(mailing.due(TUESDAY + DAY)[0]) == set(Mailing.objects.values_list("pk", flat=True))
    assert mailing.send_morning(Mailing.objects.get(staff=maria).pk, TUESDAY + DAY)
    assert not mailing.send_morning(Mailing.objects.get(staff=manager).pk, TUESDAY + DAY), "nothing waits for her"


def test_who_may_see_no_sync_is_mailed_nothing(maria: Staff) -> None:
    sync(district("Cedar Grove", maria), "awaiting_review", TUESDAY - HOUR)
    maria.groups.clear()
    fresh = StaffModel.objects.get(pk=maria.pk)
    assert mailing.morning(fresh, TUESDAY, TUESDAY - DAY) is None
    assert mailing.at_once(fresh, TUESDAY - DAY, TUESDAY) is None


def test_the_minute_has_them_sent(maria: Staff) -> None:
    sync(district("Cedar Grove", maria), "awaiting_review", datetime.now(UTC) - HOUR)
    wished = wish(maria, hour=0, at_once=True)
    tasks.minute()
    queued = {str(task.task["func"]).rpartition(".")[2] for task in OrmQ.objects.all()}
    assert "at_once" in queued and queued <= {"at_once", "morning"}
    tasks.at_once(mailing_id=wished.pk)
    tasks.morning(mailing_id=wished.pk)
    assert mail.outbox


@pytest.mark.looks
def test_everybody_reads_and_changes_their_own_wishes(maria: Staff, staff: Callable[..., Staff]) -> None:
    tom = staff("tom")
    sync(district("Cedar Grove", maria), "awaiting_review", TUESDAY)
    browser = Client()
    browser.force_login(maria)
    page = browser.get("/admin/mails/").content.decode()
    assert "Cedar Grove: needs review" in page and "maria@portal.example" in page
    assert "/admin/mails/" in browser.get("/admin/").content.decode()
    wished = {"hour": "6", "time_zone": "America/Denver", "at_once": "on"}
    assert browser.post("/admin/mails/", wished).status_code == 302
    mine = Mailing.objects.get()
    assert (mine.staff, mine.mornings, mine.hour, mine.time_zone, mine.at_once) == (
        maria, False, 6, "America/Denver", True,
    )  # fmt: skip
    event = AuditEvent.objects.get(action="mailing.changed")
    assert event.by == maria and event.before == {
        "mornings": True, "hour": 7, "time_zone": "America/Chicago", "at_once": False,
    }  # fmt: skip
    assert browser.post("/admin/mails/", {**wished, "hour": "25"}).status_code == 422
    browser.force_login(tom)
    assert "Cedar Grove" not in browser.get("/admin/mails/").content.decode()
    assert Client().get("/admin/mails/").status_code == 302
