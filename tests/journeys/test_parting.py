"""A district leaves: out of sight at once, may stay for thirty days, and then nothing of it is kept anywhere."""

from __future__ import annotations

import html
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection as database
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from connections import attempts, parting, tasks
from connections.models import Attempt, Connection
from connections.onboarding.entering import invite
from connections.onboarding.models import Person, Question
from rosters import making, syncs
from rosters.api.models import Client as ApiClient
from rosters.models import LIVE, AuditEvent, Delivery, District, Snapshot, Sync, Tally, User
from tests.journeys.test_rekeying import keep
from tests.journeys.trip import Trip, first_day, made_once, verified
from tests.tools import tool

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

    from tests.conftest import Stands

pytestmark = pytest.mark.django_db

#: Stands in the roster, in its files' names, in a school's name and with the district's people; nowhere else.
CANARY = "Zwitscherling"
OVER = timedelta(days=31)


def _marked(tables: making.Tables) -> making.Tables:
    """A district in which a pupil and a school are called like nothing else."""
    first = pl.int_range(pl.len()) == 1
    named = {"users": "familyName", "orgs": "name", "classes": "title"}
    return {
        table: frame.with_columns(
            pl.when(first).then(pl.lit(CANARY)).otherwise(pl.col(named[table])).alias(named[table])
        )
        if table in named
        else frame
        for table, frame in tables.items()
    }


def _live(trip: Trip) -> None:
    marked = _marked(first_day())
    trip.go(trip.send(marked))
    done = trip.go(trip.send(making.next_day(marked, change=0.1, seed=3)[0]))
    trip.go(trip.undo(done))
    keep(trip, trip.send(making.under_other_ids(marked)), also_unsure=True)
    broken = {**marked, "users": marked["users"].with_columns(role=pl.lit(CANARY))}
    assert trip.send(broken).status == Sync.Status.REJECTED
    held = trip.send(making.without_school(marked, 0))
    assert held.status == Sync.Status.AWAITING_REVIEW and held.delivery is not None
    Connection.objects.create(
        district=trip.district, kind="sftp", host=f"{CANARY.lower()}.example.org", username=CANARY,
        state=Connection.State.ACTIVE, next_due_at=timezone.now() - timedelta(minutes=1),
        schedule={"days": [0, 1, 2, 3, 4, 5, 6], "times": ["02:00"], "zone": "America/Chicago"},
    )  # fmt: skip
    Question.objects.create(delivery=held.delivery, words=f"Is {CANARY} gone?", asked_by=trip.by)
    Person.objects.create(district=trip.district, name=f"Dana {CANARY}", email=f"dana@{CANARY.lower()}.example.org")


cedar = made_once(_live)


@pytest.fixture
def lived(cedar: Stands, data_dir: Path) -> Trip:
    """A district with a life: files, a sync that was undone, one that is held, kept ids, a connection and people."""
    return cedar(data_dir)


def _leave(trip: Trip) -> None:
    syncs.leave(trip.district, by=trip.by, reason="The contract ended.")
    trip.district = District.with_leaving.get(pk=trip.district.pk)


def _where_it_stands() -> list[str]:
    """Every table and file in which the canary can still be found."""
    found = []
    with database.cursor() as cursor:
        for table in database.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            found += [table for row in cursor.fetchall() if CANARY.lower() in str(row).lower()]
    for path in syncs.store().root.rglob("*"):
        if path.is_file() and CANARY.encode() in path.read_bytes():
            found.append(str(path))
    return sorted(set(found))


@pytest.mark.doors
def test_at_once_nothing_comes_in_and_no_tool_reads_it_and_if_it_stays_it_is_as_it_was(lived: Trip) -> None:
    trip, code = lived, lived.district.site_code
    person = Person.objects.get()
    asked = tool(trip.district, staff=trip.by)
    browser, staff = Client(), Client()
    staff.force_login(trip.by)
    browser.post("/district/enter/", {"secret": invite(person, by=trip.by).partition("#")[2]})
    places = (f"/api/v1/districts/{code}", f"/d/{code}/ims/oneroster/v1p1/users", f"/api/v1/districts/{code}/changes")
    link = invite(person, by=trip.by).partition("#")[2]
    assert [asked.get(place).status_code for place in places] == [200, 200, 200]
    assert browser.get("/district/").status_code == 200

    waiting = Sync.objects.get(status="awaiting_review")
    _leave(trip)
    waiting.refresh_from_db()
    assert (waiting.status, waiting.decision_reason) == ("declined", "The district leaves.")
    assert [asked.get(place).status_code for place in places] == [404, 404, 404]
    assert asked.get("/api/v1/syncs").json()["results"] == []
    assert browser.get("/district/").status_code == 302, "who was let in is not any more"
    other = Client()
    other.post("/district/enter/", {"secret": link})
    assert other.get("/district/").status_code == 302, "nor is who has a link that was not used yet"
    with pytest.raises(syncs.Leaves):
        syncs.receive(trip.district, trip.folder / "sent.zip", origin="staff", name="x.zip", by=trip.by)
    sent = {"file": SimpleUploadedFile("x.zip", b"x")}
    assert staff.post(reverse("admin:rosters_district_upload", args=[trip.district.pk]), sent).status_code == 404
    assert attempts.minute() == []
    connection = Connection.objects.get()
    with pytest.raises(attempts.NotNow, match="leaves us"):
        attempts.ask(connection, Attempt.Why.NOW)
    applied = Sync.objects.filter(status="applied", undoes=None).latest("pk")
    with pytest.raises(syncs.Leaves):
        syncs.undo(applied, by=trip.by)
    with pytest.raises(syncs.Leaves):
        syncs.leave(trip.district, by=trip.by, reason="again")
    assert code not in staff.get(reverse("admin:rosters_district_changelist")).content.decode()
    leaving = staff.get(reverse("admin:rosters_district_changelist"), {"standing": "leaving"}).content.decode()
    assert code in leaving and "Leaves" in leaving
    assert verified()[0] == 0, "it is still what was accepted"

    syncs.stay(trip.district, by=trip.by)
    trip.district = District.objects.get(pk=trip.district.pk)
    assert [asked.get(place).status_code for place in places] == [200, 200, 200]
    assert browser.get("/district/").status_code == 200
    assert len(attempts.minute()) == 1
    with pytest.raises(syncs.DecisionRefused, match="Nobody said"):
        syncs.stay(trip.district, by=trip.by)


def _dropped(site_code: str) -> Path:
    """A file that a district laid into its folder on our own SFTP server."""
    path: Path = settings.PORTAL_DROP_DIR / site_code / "taken" / "roster.zip.20260901-020000.taken"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"a roster")
    return path


def test_when_its_time_is_over_nothing_of_it_is_anywhere(lived: Trip) -> None:
    trip, now = lived, timezone.now()
    asked = tool(trip.district, staff=trip.by)
    people, files = User.objects.count(), Delivery.objects.count()
    dropped = _dropped(trip.district.site_code)
    others = _dropped("1002")
    assert len(_where_it_stands()) > 10
    _leave(trip)
    assert syncs.to_purge(now) == [] and not parting.purge(trip.district.pk), "not before its time"
    assert syncs.to_purge(now + OVER) == [trip.district.pk]
    assert parting.purge(trip.district.pk, now=now + OVER)

    assert _where_it_stands() == []
    assert not any(model._base_manager.exists() for model in LIVE.values())
    assert not Tally.objects.exists() and not Connection.objects.exists() and not Person.objects.exists()
    left = District.with_leaving.get(pk=trip.district.pk)
    assert (left.name, left.site_code, left.version) == ("Cedar Grove", f"left-{left.pk}", 0)
    assert left.left_with["records"]["users"] == people and left.left_with["files"] == files
    assert left.left_with["others"] == {
        "connections": 1, "people of the district": 1, "calls": 0, "questions": 1,
        "files in its folder on our SFTP server": 1,
    }  # fmt: skip
    assert not dropped.exists() and dropped.parent.is_dir() and others.exists()
    assert Sync.objects.count() > 5 and Snapshot.objects.filter(forgotten_at=None).count() == 0
    assert not parting.purge(left.pk, now=now + 2 * OVER), "it is done once"
    assert syncs.to_purge(now + 2 * OVER) == []
    assert verified()[0] == 0
    assert asked.get("/api/v1/districts").json()["results"] == []
    assert not ApiClient.districts.through.objects.exists()

    staff = Client()
    staff.force_login(trip.by)
    page = html.unescape(staff.get(reverse("admin:rosters_district_certificate", args=[left.pk])).content.decode())
    assert f"{people} records" in page and "The contract ended." in page and "site code 1001" in page
    about = staff.get(reverse("admin:rosters_district_change", args=[left.pk])).content.decode()
    assert "Certificate of deletion" in about
    for sync in Sync.objects.all():
        assert staff.get(reverse("admin:rosters_sync_change", args=[sync.pk])).status_code == 200
    assert staff.get("/admin/").status_code == 200
    trip.district = District.objects.create(name="Cedar Grove", site_code="1001")
    assert trip.send(making.make_roster(users=60, seed=1, today=timezone.localdate())).status == "awaiting_review"
    assert trip.district.pk != left.pk, "its number is free for who comes, or comes back"


def test_not_even_in_the_free_pages_of_the_database() -> None:
    """What SQLite deletes it leaves in pages that are free; here it is overwritten. A server sees to its own."""

    def overwrites() -> bool:
        with database.cursor() as cursor:
            cursor.execute("PRAGMA secure_delete")
            return bool(cursor.fetchone() == (1,))

    with syncs.overwriting():
        assert database.vendor != "sqlite" or overwrites()
    assert database.vendor != "sqlite" or not overwrites()


def test_a_worker_that_dies_in_between_is_followed_by_one_that_knows_the_numbers(
    lived: Trip, monkeypatch: pytest.MonkeyPatch
) -> None:
    trip, now = lived, timezone.now()
    people = User.objects.count()
    _leave(trip)

    def dies(*_: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr("rosters.storing.Store.forget_district", dies)
        parting.purge(trip.district.pk, now=now + OVER)
    assert not User.objects.exists() and _where_it_stands()
    assert District.with_leaving.get(pk=trip.district.pk).left_at is None
    with pytest.raises(syncs.DecisionRefused, match="too late"):
        syncs.stay(trip.district, by=trip.by)
    assert not parting.purge(trip.district.pk, now=now + OVER + timedelta(hours=1)), "it may still be at it"
    tasks.purge(district_id=trip.district.pk)
    assert District.with_leaving.get(pk=trip.district.pk).left_at is None, "not due by the clock"
    assert parting.purge(trip.district.pk, now=now + OVER + timedelta(hours=3))
    assert District.with_leaving.get(pk=trip.district.pk).left_with["records"]["users"] == people
    assert _where_it_stands() == []
    assert AuditEvent.objects.filter(action="district.left").count() == 1


@pytest.mark.doors
def test_it_is_said_on_a_page_by_who_may_and_not_by_a_slip(lived: Trip, manu: Staff, rita: Staff) -> None:
    address = reverse("admin:rosters_district_leave", args=[lived.district.pk])
    page = reverse("admin:rosters_district_change", args=[lived.district.pk])
    back = reverse("admin:rosters_district_stay", args=[lived.district.pk])
    reviewer = Client()
    reviewer.force_login(rita)
    assert address not in reviewer.get(page).content.decode()
    assert reviewer.get(address).status_code == 403 and reviewer.post(back).status_code == 403
    manager = Client()
    manager.force_login(manu)
    assert address in manager.get(page).content.decode()
    slip = manager.post(address, {"typed": "1002", "reason": "It ended."})
    assert slip.status_code == 422 and "Nothing was done" in slip.content.decode()
    assert manager.post(address, {"typed": "1001"}).status_code == 422, "a reason is asked for"
    assert District.objects.exists()
    said = manager.post(address, {"typed": " 1001 ", "reason": "It ended."}, follow=True).content.decode()
    assert "This district leaves, as was said on" in said and "It stays after all" in said
    assert "Save" not in said.partition("Settings")[2], "what leaves is not changed any more"
    assert manager.get(address).status_code == 404
    assert manager.get(reverse("admin:rosters_district_certificate", args=[lived.district.pk])).status_code == 404
    assert "It stays: its connections run" in manager.post(back, follow=True).content.decode()
    assert District.objects.exists()


@pytest.mark.alike
def test_while_something_goes_live_nobody_can_say_it(lived: Trip) -> None:
    waiting = Sync.objects.get(status="awaiting_review")
    syncs.approve(waiting, by=lived.by, plan_digest=waiting.plan_digest)
    with pytest.raises(syncs.DecisionRefused, match="being applied"):
        syncs.leave(lived.district, by=lived.by, reason="It ended.")
    assert District.objects.exists()


@pytest.mark.alike
def test_the_minute_sees_to_it(lived: Trip, monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> None:
    _leave(lived)
    District.with_leaving.update(leaving_since=timezone.now() - OVER)
    asked: list[Any] = []
    monkeypatch.setattr("connections.tasks.async_task", lambda name, **about: asked.append((name, about)))
    tasks.minute()
    assert ("connections.tasks.purge", {"district_id": lived.district.pk}) in asked
    tasks.purge(district_id=lived.district.pk)
    assert _where_it_stands() == []


@pytest.mark.doors
def test_its_number_is_taken_until_it_is_gone(lived: Trip, manu: Staff) -> None:
    _leave(lived)
    manager = Client()
    manager.force_login(manu)
    new = {"name": "Elm", "site_code": "1001", "time_zone": "America/Chicago"}
    answer = manager.post(reverse("admin:rosters_district_add"), new)
    assert answer.status_code == 200 and "has this site code until it is deleted" in answer.content.decode()
