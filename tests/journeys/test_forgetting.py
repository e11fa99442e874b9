"""What is deleted when its time is over, what stays, and that nothing which is kept is ever harmed by it."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from connections.onboarding.entering import invite
from connections.onboarding.models import Person
from rosters import applying, making, serving, syncs, tasks
from rosters.applying.leaving import _referring
from rosters.models import LIVE, AuditEvent, Class, Delivery, District, Enrollment, Finding, Org, Snapshot, Sync, User
from rosters.serving import NotKept, edition_of
from rosters.storing import Store
from tests.journeys.trip import Trip
from tests.rosters.api.test_provider import Reader

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from pytest_django import Settings

pytestmark = pytest.mark.django_db

NOW = timezone.now().replace(hour=12, minute=0, second=0, microsecond=0)


class Days(Trip):
    """A trip whose days are long ago: so many days before now."""

    def come(self, ago: float, tables: making.Tables, *, version: str = "1.1") -> Sync:
        path, at = self.folder / "sent.zip", NOW - timedelta(days=ago)
        making.write_zip(path, tables, version=version)
        sync = syncs.receive(self.district, path, origin="staff", name=path.name, by=self.by, now=at)
        done = syncs.prepare(sync.pk, now=at)
        assert done is not None
        self._age(done, at)
        return done

    def live(self, ago: float, tables: making.Tables) -> Sync:
        return self.approve(ago, self.come(ago, tables))

    def approve(self, ago: float, sync: Sync) -> Sync:
        at = NOW - timedelta(days=ago)
        syncs.approve(sync, by=self.by, plan_digest=sync.plan_digest, now=at)
        done = syncs.apply(sync.pk, now=at)
        assert done is not None
        assert done.status == "applied", done.error
        self.verify()
        return done

    def take_back(self, ago: float, sync: Sync) -> Sync:
        at = NOW - timedelta(days=ago)
        undoing = syncs.undo(sync, by=self.by, now=at)
        return syncs.prepare(undoing.pk, now=at) or undoing

    def forget(self, now: datetime = NOW) -> syncs.Forgotten:
        told = syncs.to_forget(self.district, now)
        done = syncs.forget(self.district.pk, now)
        assert done is not None
        assert (told.deliveries, told.syncs, told.versions) == (done.deliveries, done.syncs, done.versions)
        self.verify()
        return done

    def _age(self, sync: Sync, at: datetime) -> None:
        """Its original was written then."""
        assert sync.delivery is not None
        os.utime(self.original(sync), (at.timestamp(), at.timestamp()))

    def original(self, sync: Sync) -> Path:
        assert sync.delivery is not None
        return syncs.store().original(self.district.pk, sync.delivery.sha256)


@pytest.fixture
def trip(data_dir: Path, tmp_path: Path, alice: Staff) -> Days:
    return Days(tmp_path, alice)


def changed(tables: making.Tables, seed: int) -> making.Tables:
    return making.next_day(tables, change=0.1, seed=seed)[0]


def without(tables: making.Tables, *people: str) -> making.Tables:
    """The roster without these people and what hangs on them."""
    out = {}
    for table, frame in tables.items():
        for column in ("sourcedId", "userSourcedId", "agentSourcedIds"):
            if column in frame.columns:
                frame = frame.filter(~pl.col(column).is_in(people))
        out[table] = frame
    return out


def students(tables: making.Tables, count: int) -> list[str]:
    return tables["users"].filter(pl.col("role") == "student")["sourcedId"].head(count).to_list()


def files(trip: Days) -> set[str]:
    return {str(path.relative_to(syncs.store().root)) for path in syncs.store().root.rglob("*") if path.is_file()}


def originals(trip: Days) -> list[str]:
    return [name for name in files(trip) if name.startswith("originals")]


def whole(trip: Days) -> None:
    """Everything that is said to be kept is there, and is what it was."""
    store, district = syncs.store(), trip.district
    for delivery in Delivery.objects.filter(district=district, forgotten_at=None):
        kept = store.original(district.pk, delivery.sha256)
        assert hashlib.sha256(kept.read_bytes()).hexdigest() == delivery.sha256
    for snapshot in Snapshot.objects.filter(district=district, forgotten_at=None):
        frames = store.frames(district.pk, snapshot.tables)
        for table, facts in snapshot.tables.items():
            assert len(frames[table]) == facts["rows"]
        serving.roster(store, district, edition_of(district, snapshot.version))
    for sync in Sync.objects.filter(district=district, forgotten_at=None).exclude(plan_digest=""):
        stored = store.difference(district.pk, sync.pk)
        assert stored.seals() == sync.plan_files
    kept_files = {
        f"{table}-{facts['digest']}.parquet"
        for snapshot in Snapshot.objects.filter(district=district, forgotten_at=None)
        for table, facts in snapshot.tables.items()
    }
    folder = store.root / "snapshots" / str(district.pk)
    assert {path.name for path in folder.glob("*.parquet")} == kept_files
    kept_syncs = {str(pk) for pk in Sync.with_dry_runs.filter(forgotten_at=None).values_list("pk", flat=True)}
    assert {path.name for path in (store.root / "syncs" / str(district.pk)).iterdir()} <= kept_syncs


# -------------------------------------------------------------------------------------------------------------- history


def test_history_goes_when_its_time_is_over_and_its_numbers_stay(trip: Days, tables: making.Tables) -> None:
    first = trip.live(500, tables)
    second = trip.live(450, changed(tables, 1))
    third = trip.live(300, changed(tables, 2))
    done = trip.forget()
    assert (done.deliveries, done.syncs, done.versions) == (2, 2, 1), "the second was live until 300 days ago"
    assert not trip.original(first).exists() and not trip.original(second).exists() and trip.original(third).exists()
    first.refresh_from_db()
    assert first.forgotten_at == NOW and first.delivery and first.delivery.forgotten_at == NOW
    assert first.added > 0 and first.verdict and first.tallies.exists(), "what happened stays told"
    assert Snapshot.objects.get(version=1).forgotten_at == NOW
    assert Snapshot.objects.get(version=2).forgotten_at is None
    whole(trip)
    assert second.delivery
    event = AuditEvent.objects.get(action="district.forgot")
    assert event.after == {
        "originals": 2,
        "differences": 2,
        "versions": 1,
        "history before": (NOW - timedelta(days=400)).date().isoformat(),
        "bytes of originals": first.delivery.size + second.delivery.size,
        **done.records,
        "left before": (NOW - timedelta(days=90)).date().isoformat(),
    }
    assert not trip.forget() and AuditEvent.objects.filter(action="district.forgot").count() == 1


def test_what_is_live_stays_however_old_it_is(trip: Days, tables: making.Tables) -> None:
    only = trip.live(900, tables)
    done = trip.forget()
    assert (done.deliveries, done.syncs, done.versions) == (1, 1, 0)
    assert not trip.original(only).exists()
    assert User.objects.filter(status="active").count() == len(tables["users"])
    day = trip.come(0, changed(tables, 1))
    assert day.status in ("ready", "awaiting_review") and day.base_version == 1
    trip.approve(0, day)


def test_a_table_that_a_kept_version_shares_with_a_forgotten_one_stays(trip: Days, tables: making.Tables) -> None:
    trip.live(500, tables)
    trip.live(450, without(tables, *students(tables, 1)))
    trip.live(1, without(tables, *students(tables, 2)))
    before = {name for name in files(trip) if "/orgs-" in name and name.startswith("snapshots")}
    trip.forget()
    assert len(before) == 1 and before <= files(trip)
    whole(trip)


def test_bytes_that_came_again_are_kept_as_long_as_the_last_of_them(trip: Days, tables: making.Tables) -> None:
    first = trip.live(500, tables)
    again = trip.come(100, tables)
    assert again.status == "unchanged"
    assert trip.forget().deliveries == 1
    first.refresh_from_db()
    assert first.delivery and first.delivery.forgotten_at and trip.original(first).exists()
    whole(trip)
    assert trip.forget(NOW + timedelta(days=301)).deliveries == 1
    assert not trip.original(first).exists()


def test_bytes_that_come_in_this_moment_are_not_deleted(trip: Days, tables: making.Tables) -> None:
    first = trip.live(500, tables)
    trip.live(450, changed(tables, 1))
    path = trip.folder / "again.zip"
    making.write_zip(path, tables)
    syncs.store().keep_original(trip.district.pk, path)  # its row is only being written
    assert trip.forget().deliveries == 2
    assert trip.original(first).exists()
    whole(trip)


def test_places_of_findings_go_and_their_counts_stay(trip: Days, tables: making.Tables) -> None:
    wrong = {**tables, "users": tables["users"].with_columns(email=pl.lit("nobody-at-nowhere"))}
    trip.live(500, wrong)
    trip.live(450, changed(tables, 1))
    found = Finding.objects.filter(sync__received_at__lt=NOW - timedelta(days=460))
    assert any(finding.places for finding in found)
    counts = list(found.values_list("code", "count"))
    trip.forget()
    assert not any(finding.places for finding in found.all())
    assert list(found.values_list("code", "count")) == counts


def test_what_has_not_ended_keeps_what_it_is_made_of(trip: Days, tables: making.Tables) -> None:
    first = trip.live(900, tables)
    second = trip.live(600, without(tables, *students(tables, 3)))
    waiting = trip.take_back(550, second)
    assert waiting.status == "awaiting_review"
    trip.forget()
    second.refresh_from_db()
    assert second.forgotten_at is None, "the undo may have to be worked out anew"
    first.refresh_from_db()
    assert first.forgotten_at == NOW
    whole(trip)
    trip.approve(540, waiting)
    assert trip.forget().syncs == 2


def test_nothing_is_forgotten_while_something_goes_live(trip: Days, tables: making.Tables) -> None:
    trip.live(500, tables)
    trip.live(450, changed(tables, 1))
    sync = trip.come(0, changed(tables, 2))
    syncs.approve(sync, by=trip.by, plan_digest=sync.plan_digest)
    before = files(trip)
    assert syncs.forget(trip.district.pk, NOW) is None
    assert files(trip) == before
    syncs.apply(sync.pk)
    assert syncs.forget(trip.district.pk, NOW)


def test_what_was_interrupted_is_done_again(trip: Days, tables: making.Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    trip.live(500, tables)
    trip.live(450, changed(tables, 1))
    trip.live(1, changed(tables, 2))

    def out_of_disk(*args: object, **about: object) -> None:
        raise OSError("the disk is full")

    before = files(trip)
    with monkeypatch.context() as broken:
        broken.setattr(AuditEvent.objects, "create", out_of_disk)
        with pytest.raises(OSError, match="full"):
            syncs.forget(trip.district.pk, NOW)
    assert files(trip) == before
    trip.verify()
    with monkeypatch.context() as broken:
        broken.setattr(Store, "forget_original", out_of_disk)
        with pytest.raises(OSError, match="full"):
            syncs.forget(trip.district.pk, NOW)
    trip.verify()
    assert Delivery.objects.filter(forgotten_at=NOW).count() == 2 and len(originals(trip)) == 3, (
        "said, and not yet done"
    )
    assert syncs.districts_with_something_to_forget(NOW) == [trip.district.pk]
    assert not trip.forget(NOW + timedelta(days=1)) and len(originals(trip)) == 1
    assert syncs.districts_with_something_to_forget(NOW + timedelta(days=1)) == []
    whole(trip)


def test_a_district_can_have_it_shorter_but_never_too_short_to_undo(
    trip: Days, tables: making.Tables, settings: Settings
) -> None:
    trip.live(200, tables)
    trip.live(100, changed(tables, 1))
    trip.live(80, changed(tables, 2))
    assert not trip.forget().deliveries
    District.objects.update(keeps_history_days=120)
    trip.district.refresh_from_db()
    assert trip.forget().deliveries == 1
    District.objects.update(keeps_history_days=5)
    trip.district.refresh_from_db()
    assert trip.forget().deliveries == 1, "what can be undone stays"
    settings.KEEP_HISTORY_DAYS = 90
    District.objects.update(keeps_history_days=300)
    trip.district.refresh_from_db()
    assert trip.district.history_kept == timedelta(days=90), "nobody has it longer than usual"


# ------------------------------------------------------------------------------------------------------------ what left


def test_people_who_left_are_deleted_once_their_time_is_over(trip: Days, tables: making.Tables) -> None:
    long_ago, lately = students(tables, 2)
    trip.live(200, tables)
    trip.live(100, without(tables, long_ago))
    trip.live(80, without(tables, long_ago, lately))
    done = trip.forget()
    assert done.records["users"] == 1 and done.records["enrollments"] > 0
    assert not User.objects.filter(sourced_id=long_ago).exists()
    assert User.objects.get(sourced_id=lately).status == "tobedeleted"
    assert not Enrollment.objects.exclude(user__in=User.objects.all()).exists()
    assert AuditEvent.objects.get(action="district.forgot").after["users"] == 1
    assert not trip.forget()


def test_who_comes_back_after_that_is_there_again(trip: Days, tables: making.Tables) -> None:
    (student,) = students(tables, 1)
    trip.live(200, tables)
    trip.live(100, without(tables, student))
    trip.forget()
    trip.live(0, tables)
    assert User.objects.get(sourced_id=student).status == "active"
    assert Enrollment.objects.filter(user__sourced_id=student, status="active").exists()


def test_an_undo_brings_back_people_whose_records_are_deleted(trip: Days, tables: making.Tables) -> None:
    (student,) = students(tables, 1)
    first = trip.live(200, tables)
    gone = trip.live(60, without(tables, student))
    District.objects.update(keeps_left_days=30)
    trip.district.refresh_from_db()
    assert trip.forget().records["users"] == 1
    back = trip.approve(10, trip.take_back(10, gone))
    assert back.result and first.result and back.result.digest == first.result.digest
    assert User.objects.get(sourced_id=student).status == "active"


def test_what_something_still_refers_to_stays_as_long_as_that(trip: Days, tables: making.Tables) -> None:
    """A class that left long ago, and enrollments in it that left later."""
    trip.live(200, tables)
    trip.live(100, without(tables, *students(tables, 2)))
    Enrollment.objects.filter(status="tobedeleted").update(date_last_modified=NOW - timedelta(days=50))
    done = trip.forget()
    assert "users" not in done.records and "enrollments" not in done.records
    assert User.objects.filter(status="tobedeleted").count() == 2
    Sync.objects.filter(result__version=2).update(applied_at=NOW - timedelta(days=100))
    District.objects.update(left_forgotten=0)
    trip.district.refresh_from_db()
    assert trip.forget(NOW + timedelta(days=60)).records["users"] == 2


def test_orgs_go_with_their_parents(trip: Days, tables: making.Tables) -> None:
    trip.live(200, tables)
    schools = Org.objects.filter(type="school")
    child, parent = schools[0], schools[1]
    Org.objects.filter(pk__in=[child.pk, parent.pk]).update(
        status="tobedeleted", date_last_modified=NOW - timedelta(days=100)
    )
    Org.objects.filter(pk=child.pk).update(parent=parent)
    for model in (Class, Enrollment):
        model.objects.all().delete()
    User.objects.all().delete()
    for table in ("roles", "courses"):
        LIVE[table].objects.all().delete()
    assert applying.forget_left(trip.district.pk, NOW - timedelta(days=90)) == {"orgs": 2}


@pytest.mark.parametrize("table", [*LIVE])
def test_every_reference_is_known(table: str) -> None:
    """What refers to a table is worked out from the models; here it is read off them in another way."""
    model = LIVE[table]
    related: list[Any] = [each for each in model._meta.get_fields(include_hidden=True) if each.one_to_many]
    assert {child for child, _ in _referring(table)} == {each.related_model._meta.db_table for each in related}


def test_who_is_reading_reads_on_and_who_begins_is_not_told_of_who_left(trip: Days, tables: making.Tables) -> None:
    (student,) = students(tables, 1)
    trip.live(200, tables)
    trip.live(100, without(tables, student))
    reading = serving.roster(syncs.store(), trip.district, edition_of(trip.district, 2))
    assert student in reading.scan("users").collect()["sourcedId"]
    trip.forget()
    assert student in reading.scan("users").collect()["sourcedId"], "its files are still there"
    assert student in serving.roster(syncs.store(), trip.district, reading.edition).scan("users").collect()["sourcedId"]
    begun = serving.roster(syncs.store(), trip.district, edition_of(trip.district, 2))
    assert begun.edition != reading.edition
    assert student not in begun.scan("users").collect()["sourcedId"]
    assert begun.living("users").collect().equals(reading.living("users").collect())
    was = serving.roster(syncs.store(), trip.district, edition_of(trip.district, 1))
    assert student in was.living("users").collect()["sourcedId"], "then it was live, and that version is kept"


def test_what_was_served_of_them_goes_once_nobody_reads_it(
    trip: Days, tables: making.Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    (student,) = students(tables, 1)
    trip.live(200, tables)
    trip.live(100, without(tables, student))
    serving.roster(syncs.store(), trip.district, edition_of(trip.district, 2))
    trip.forget()

    def telling() -> list[str]:
        served = (syncs.store().root / "served").rglob("users-*.parquet")
        return [path.name for path in served if student in pl.read_parquet(path)["sourcedId"]]

    syncs.tidy()
    assert telling() == ["users-2.parquet"]
    monkeypatch.setattr(serving, "_UNUSED_AFTER", -10.0)
    syncs.tidy()
    assert telling() == []


def test_a_version_that_is_not_kept_is_not_served(trip: Days, tables: making.Tables) -> None:
    trip.live(500, tables)
    serving.roster(syncs.store(), trip.district, edition_of(trip.district, 1))
    trip.live(450, changed(tables, 1))
    trip.forget()
    with pytest.raises(NotKept):
        serving.roster(syncs.store(), trip.district, edition_of(trip.district, 1))
    now = serving.roster(syncs.store(), trip.district, edition_of(trip.district, 2)).scan("users").collect()
    assert now["dateLastModified"].min() == NOW - timedelta(days=450), "whose day is not kept, of the last such day"


# ------------------------------------------------------------------------------------------------------------ every day


def test_every_day_what_is_due_is_looked_for(trip: Days, tables: making.Tables) -> None:
    from django_q.models import OrmQ

    other = District.objects.create(name="Maple", site_code="1002")
    trip.live(500, tables)
    trip.live(450, changed(tables, 1))
    assert syncs.districts_with_something_to_forget() == [trip.district.pk] != [other.pk]
    tasks.tidy()
    assert [task.task["kwargs"] for task in OrmQ.objects.all() if "forget" in str(task.task["func"])] == [
        {"district_id": trip.district.pk}
    ]
    tasks.forget(district_id=trip.district.pk)
    assert syncs.districts_with_something_to_forget() == []
    tasks.forget(district_id=trip.district.pk)
    trip.verify()


def _life(seed: int) -> Iterator[tuple[str, int]]:
    dice = random.Random(seed)
    ago = 700
    while ago > 0:
        yield dice.choices(["deliver", "again", "undo", "wait", "forget"], [5, 2, 2, 1, 4])[0], ago
        ago -= dice.randint(5, 70)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.alike)])
def test_whatever_happened_what_is_kept_is_whole(trip: Days, seed: int) -> None:
    """Deliveries, undos, syncs left waiting and nights of forgetting in any order, for two years."""
    tables = making.make_roster(users=40, seed=seed, today=timezone.localdate(), name="Cedar Grove")
    sent = tables
    trip.live(720, tables)
    District.objects.update(keeps_history_days=[None, 200, 95][seed % 3], keeps_left_days=[None, 30][seed % 2])
    trip.district.refresh_from_db()
    for number, (what, ago) in enumerate(_life(seed)):
        applied = Sync.objects.filter(status="applied").order_by("-result__version")
        if what in ("deliver", "wait"):
            sent = changed(sent, seed * 100 + number)
            sync = trip.come(ago, sent)
            if what == "deliver" and sync.status in ("ready", "awaiting_review"):
                trip.approve(ago, sync)
        elif what == "again":
            sync = trip.come(ago, [tables, sent][number % 2])
            if sync.status in ("ready", "awaiting_review"):
                trip.approve(ago, sync)
        elif what == "undo":
            try:
                sync = trip.take_back(ago, applied[0])
            except syncs.DecisionRefused:
                continue
            if sync.status in ("ready", "awaiting_review"):
                trip.approve(ago, sync)
        else:
            at = NOW - timedelta(days=ago)
            trip.forget(at)
            kept_since = at - max(trip.district.history_kept, timedelta(days=90))
            assert not Delivery.objects.filter(forgotten_at=None, received_at__lt=kept_since).exclude(
                syncs__in=Sync.objects.unfinished()
            ).exists()  # fmt: skip
            gone = {model._meta.db_table: model._base_manager.filter(
                status="tobedeleted", date_last_modified__lt=at - trip.district.left_kept).count()
                for model in LIVE.values()}  # fmt: skip
            assert not gone["rosters_enrollment"]
        trip.verify()
        whole(trip)


# ------------------------------------------------------------------------------------------------- what people are told


@pytest.fixture
def old(trip: Days, tables: making.Tables) -> Sync:
    """A sync of which nothing is kept but its numbers, and two days after it."""
    wrong = {**tables, "users": tables["users"].with_columns(email=pl.lit("nobody-at-nowhere"))}
    old = trip.live(500, wrong)
    trip.live(450, changed(tables, 1))
    trip.live(1, changed(tables, 2))
    trip.forget()
    old.refresh_from_db()
    return old


@pytest.mark.looks
def test_the_page_of_an_old_sync_says_what_is_gone_and_leads_nowhere(old: Sync, trip: Days) -> None:
    staff = Client()
    staff.force_login(trip.by)
    at = f"/admin/rosters/sync/{old.pk}/"
    page = staff.get(f"{at}change/").content.decode()
    assert "was deleted on" in page and "kept for 400 days" in page
    assert f"+ {old.tallies.get(table='users', dimension='').added}" in page, "the numbers stay"
    assert "/changes/?" not in page and "/original/" not in page and "findings.csv" not in page
    assert "It can be undone" not in page
    assert staff.get(f"{at}original/").status_code == 404
    assert staff.get(f"{at}changes/").status_code == 200
    alone = staff.get(f"{at}changes/", headers={"HX-Request": "true"}).content
    assert b"They were deleted on" in alone and b"<form" not in alone
    district = staff.get(f"/admin/rosters/district/{trip.district.pk}/change/").content.decode()
    assert "1 file, with what each changed, and 2 versions" in district and "Deleted last on" in district


@pytest.mark.looks
def test_tools_are_told_that_it_is_not_kept(old: Sync, trip: Days) -> None:
    staff = Client()
    staff.force_login(trip.by)
    assert staff.get(f"/api/v1/syncs/{old.pk}").json()["forgotten_at"]
    for place in (f"syncs/{old.pk}/changes", f"deliveries/{old.delivery_id}/original"):
        answer = staff.get(f"/api/v1/{place}")
        assert (answer.status_code, answer.json()["code"]) == (410, "not-kept"), place
    feed = staff.get(f"/api/v1/districts/{trip.district.site_code}/changes")
    assert (feed.status_code, feed.json()["code"]) == (410, "feed-gap")
    findings = staff.get(f"/api/v1/syncs/{old.pk}/findings").json()["results"]
    assert findings and "nobody-at-nowhere" not in str(findings)


@pytest.mark.looks
def test_a_look_at_a_past_that_is_not_kept_says_how_far_it_reaches(old: Sync, trip: Days) -> None:
    reader = Reader("1.1")
    answer = reader.get("users", as_of=str(old.pk))
    assert answer.status_code == 400
    reaches = Snapshot.objects.get(version=2).made_at
    assert f"as_of reaches back to {reaches:%Y-%m-%dT%H:%M:%S}Z" in answer.json()["imsx_description"]
    assert reader.get("users", as_of=f"{reaches:%Y-%m-%dT%H:%M:%S}Z").status_code == 200
    Snapshot.objects.filter(version=2).update(made_at=reaches + timedelta(microseconds=1))
    later = reader.get("users", as_of=str(old.pk)).json()["imsx_description"]
    assert f"as_of reaches back to {reaches + timedelta(seconds=1):%Y-%m-%dT%H:%M:%S}Z" in later


@pytest.mark.looks
def test_a_version_that_is_not_kept_is_not_exported(old: Sync, trip: Days) -> None:
    out = trip.folder / "out.zip"
    with pytest.raises(CommandError, match="kept for 400 days"):
        call_command("export_roster", "1001", str(out), "--sync", str(old.pk))
    assert not out.exists()


def test_a_poll_sees_that_what_left_is_not_told_any_more(trip: Days, tables: making.Tables) -> None:
    (student,) = students(tables, 1)
    trip.live(200, tables)
    trip.live(100, without(tables, student))
    reader = Reader("1.1")
    first = reader.get("users", limit=5)
    assert student in [each["sourcedId"] for each in reader.all("users", filter="status='tobedeleted'")]
    reader.get("users", limit=5)  # begins once more, and goes on after the night
    trip.forget()
    beyond = reader.get("users", limit=5, offset=5)
    assert beyond.headers["X-Total-Count"] == first.headers["X-Total-Count"], "who began before reads on"
    again = reader.get("users", limit=5, known=first.headers["ETag"])
    assert again.status_code == 200 and int(again.headers["X-Total-Count"]) == int(first.headers["X-Total-Count"]) - 1
    assert not reader.all("users", filter="status='tobedeleted'")


@pytest.mark.looks
def test_a_district_reads_how_long_its_files_are_kept(old: Sync, trip: Days) -> None:
    person = Person.objects.create(district=trip.district, name="Dana", email="dana@cedar.example")
    browser = Client()
    browser.post("/district/enter/", {"secret": invite(person, by=trip.by).partition("#")[2]})
    page = browser.get("/district/sent/").content.decode()
    assert "kept for 400 days" in page and "after 90 days" in page


@pytest.mark.looks
def test_the_command_says_what_is_due_and_deletes_it(trip: Days, tables: making.Tables) -> None:
    trip.live(500, tables)
    trip.live(100, without(tables, *students(tables, 1)))
    trip.live(95, changed(tables, 3))

    def said(*words: str) -> str:
        told = StringIO()
        call_command("forget_old", *words, stdout=told)
        return told.getvalue()

    due = said("--dry-run")
    assert due.startswith("1001: 1 original, 1 difference from before") and "1 users" not in due.split(";")[0]
    assert said("1001") == due
    assert said() == "1001: nothing is due\n"
    with pytest.raises(CommandError, match="No district has the site code 7"):
        said("7")
