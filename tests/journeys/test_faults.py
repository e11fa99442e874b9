"""What goes wrong around a sync, not in its file: each fault becomes a state that somebody can see and act on, and no
roster value leaves with it."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from typing import Any

import polars as pl
import pytest
from django.test import Client
from django.utils import timezone

from connections.announcing import mailing
from rosters import making, reading, syncs
from rosters.models import AuditEvent, Sync, User
from tests.journeys.trip import Trip, verified
from tests.rosters.reading.sets import manifest, packed

pytestmark = pytest.mark.django_db


def _told(sync: Sync, caplog: pytest.LogCaptureFixture) -> str:
    """Everything that a fault left behind in words."""
    events = AuditEvent.objects.filter(sync=sync).values_list("before", "after", "subject")
    return " ".join([sync.error, sync.verdict, caplog.text, *(str(event) for event in events)])


def _values(tables: making.Tables) -> list[str]:
    users = tables["users"]
    return [*users["sourcedId"].to_list(), *users["username"].to_list(), *users["email"].to_list()]


def test_a_fault_that_may_pass_is_tried_three_times(
    trip: Trip, tables: making.Tables, caplog: pytest.LogCaptureFixture
) -> None:
    """The disk with the originals is away for a while."""
    making.write_zip(trip.folder / "sent.zip", tables)
    sync = syncs.receive(trip.district, trip.folder / "sent.zip", origin="staff", name="sent.zip", by=trip.by)
    assert sync.delivery is not None
    original = syncs.store().original(trip.district.pk, sync.delivery.sha256)
    away = original.rename(original.with_name("away"))
    for number in (1, 2):
        assert syncs.prepare(sync.pk) is not None
        sync.refresh_from_db()
        assert (sync.status, sync.attempts) == ("received", number)
    away.rename(original)
    trip.go(syncs.prepare(sync.pk) or sync)
    assert not any(value in caplog.text for value in _values(tables))


def test_a_fault_that_does_not_pass_is_given_up_with_a_next_step(
    trip: Trip, tables: making.Tables, caplog: pytest.LogCaptureFixture
) -> None:
    trip.go(trip.send(tables))
    making.write_zip(trip.folder / "sent.zip", making.next_day(tables, change=0.05, seed=1)[0])
    sync = syncs.receive(trip.district, trip.folder / "sent.zip", origin="staff", name="sent.zip", by=trip.by)
    assert sync.delivery is not None
    original = syncs.store().original(trip.district.pk, sync.delivery.sha256)
    original.rename(trip.folder / "away")
    for _ in range(Sync.MAX_ATTEMPTS):
        syncs.prepare(sync.pk)
    sync.refresh_from_db()
    assert (sync.status, sync.error_code) == ("failed", "GAVE-UP")
    assert "try again" in sync.error
    assert syncs.prepare(sync.pk) is None, "it has ended"
    told = _told(sync, caplog)
    assert not any(value in told for value in _values(tables))
    assert "originals: 1 are missing" in verified()[1], "and that it is gone is noticed"
    (trip.folder / "away").rename(original)
    trip.verify()


@pytest.mark.parametrize("fault", [ValueError, pl.exceptions.PanicException])
def test_a_bug_fails_visibly_and_says_no_value(
    trip: Trip, tables: making.Tables, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, fault: Any
) -> None:
    """Also a panic of polars, which is no Exception: a worker must not die of it and leave the sync to nobody."""
    trip.go(trip.send(tables))
    secret = tables["users"]["sourcedId"][0]

    def broken(*args: object, **kwargs: object) -> None:
        raise fault(f"cannot read {secret}")

    monkeypatch.setattr(reading, "read", broken)
    caplog.set_level(logging.DEBUG)
    sync = trip.send(making.next_day(tables, change=0.05, seed=1)[0])
    sync.refresh_from_db()
    assert (sync.status, sync.error_code) == ("failed", "PORTAL-FAULT")
    assert "number of this sync" in sync.error
    assert secret not in _told(sync, caplog)
    trip.verify()


def test_a_snapshot_that_is_damaged_fails_a_sync_and_is_found(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    users = trip.district.snapshot.tables["users"]["digest"] if trip.district.snapshot else ""
    path = syncs.store().snapshot_path(trip.district.pk, "users", users)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    sync = trip.send(making.next_day(tables, change=0.05, seed=1)[0])
    assert (sync.status, sync.error_code) == ("failed", "PORTAL-FAULT")
    code, told = verified()
    assert code == 1
    assert "users: the snapshot's file cannot be read" in told
    path.write_bytes(whole)
    trip.verify()
    trip.go(syncs.prepare(syncs.retry(sync, by=trip.by).pk) or sync)


def test_a_delta_applied_and_undone_leads_back_to_the_digest(trip: Trip, tables: making.Tables) -> None:
    first = trip.go(trip.send(tables))
    users = tables["users"]
    changed = users.head(3).with_columns(
        pl.lit("active").alias("status"),
        pl.lit("2026-01-01T00:00:00.000Z").alias("dateLastModified"),
        pl.lit("Renamed").alias("familyName"),
    )
    path = trip.folder / "delta.zip"
    text = changed.select(users.columns).write_csv(line_terminator="\r\n")
    packed(path, {"manifest.csv": manifest("users", mode="delta"), "users.csv": text})
    second = trip.go(trip.send_file(path))
    assert second.updated == 3
    assert User.objects.filter(family_name="Renamed", status="active").count() == 3
    third = trip.go(trip.undo(second))
    assert third.target_digest == first.target_digest


def test_another_districts_changes_cannot_be_approved_either(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    theirs = making.make_roster(users=60, seed=77, today=timezone.localdate(), name="Elsewhere")
    elsewhere = Trip(trip.folder, trip.by, "Elsewhere", "1002")
    elsewhere.go(elsewhere.send(theirs))
    files = {}
    for name in ("orgs", "academicSessions", "courses", "classes", "users", "enrollments"):
        said = theirs[name].with_columns(status=pl.lit("active"), dateLastModified=pl.lit("2026-01-01T00:00:00.000Z"))
        files[f"{name}.csv"] = said.select(theirs[name].columns).write_csv(line_terminator="\r\n")
    path = trip.folder / "delta.zip"
    packed(path, {"manifest.csv": manifest(*(name[:-4] for name in files), mode="delta"), **files})
    sync = trip.send_file(path)
    assert list(sync.holds.values_list("code", "approvable")) == [("WRONG_DISTRICT", False)]
    assert not sync.may_apply_by_itself
    orgs = theirs["orgs"]["sourcedId"]
    other_orgs = {}
    for name in ("orgs.csv", "users.csv"):
        rows = pl.read_csv(files[name].encode(), infer_schema=False).with_columns(pl.all().replace(orgs, "x-" + orgs))
        other_orgs[name] = rows.write_csv(line_terminator="\r\n")
    packed(path, {"manifest.csv": manifest("orgs", "users", mode="delta"), **other_orgs})
    people = trip.send_file(path)
    assert "Its people are those of Elsewhere" in people.holds.get(approvable=False).meaning


@pytest.mark.alike
def test_changes_that_may_be_a_new_schools_are_for_a_person_to_decide(trip: Trip, tables: making.Tables) -> None:
    """It says nothing of where it belongs; no other district of ours has its people."""
    trip.go(trip.send(tables))
    pupils = tables["users"].filter(pl.col("role") == "student").head(30)
    new = {name: pl.concat_str(pl.lit("n-"), name) for name in ("sourcedId", "username", "identifier")}
    none = {"email": pl.lit(""), "agentSourcedIds": pl.lit(""), "orgSourcedIds": pl.lit("charter")}
    org = {"sourcedId": pl.lit("charter"), "identifier": pl.lit("999"), "parentSourcedId": pl.lit("")}
    came = {
        "orgs": tables["orgs"].filter(pl.col("type") == "school").head(1).with_columns(**org),
        "users": pupils.with_columns(**new, **none),
    }
    stamps = {"status": pl.lit("active"), "dateLastModified": pl.lit("2026-01-01T00:00:00.000Z")}
    files = {
        f"{name}.csv": rows.with_columns(**stamps).write_csv(line_terminator="\r\n") for name, rows in came.items()
    }
    path = packed(trip.folder / "delta.zip", {"manifest.csv": manifest(*came, mode="delta"), **files})
    sync = trip.send_file(path)
    hold = sync.holds.get(code="WRONG_DISTRICT")
    assert hold.approvable and "Compare the schools and some of the people" in hold.next_step
    assert not sync.may_apply_by_itself and sync.seems_anothers, "until then none of it is shown to the district"
    trip.go(sync)
    assert User.objects.active().filter(primary_org__sourced_id="charter").count() == 30


def test_where_the_disk_is_full_nothing_is_received_and_who_sent_it_is_told(
    trip: Trip, tables: making.Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    trip.go(trip.send(tables))
    path = trip.folder / "sent.zip"
    making.write_zip(path, making.next_day(tables, change=0.05, seed=1)[0])
    before = sorted(syncs.store().root.rglob("*"))
    staff = Client()
    staff.force_login(trip.by)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with path.open("rb") as file:
        page = staff.post(f"/admin/rosters/district/{trip.district.pk}/upload/", {"file": file}, follow=True)
    assert b"no room left on the portal" in page.content.replace(b"&#x27;", b"'")
    with path.open("rb") as file:
        answer = staff.post("/api/v1/districts/1001/deliveries", {"file": file}, headers={"Idempotency-Key": "1"})
    assert (answer.status_code, answer.json()["code"]) == (507, "no-room")
    assert Sync.objects.count() == 1 and sorted(syncs.store().root.rglob("*")) == before
    trip.verify()


def test_a_disk_that_is_nearly_full_is_told_before_it_is(trip: Trip, monkeypatch: pytest.MonkeyPatch) -> None:
    staff = Client()
    staff.force_login(trip.by)
    assert b"nearly full" not in staff.get("/admin/").content or syncs.little_room()
    usage = type(shutil.disk_usage("/"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100 * 2**30, 97 * 2**30, 3 * 2**30))
    assert syncs.little_room() == (3 * 2**30, 100 * 2**30)
    assert b"nearly full" in staff.get("/admin/").content
    letter = mailing.morning(trip.by, timezone.now(), timezone.now())
    assert letter is not None and letter.subject == "The portal's disk is nearly full"
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10000 * 2**30, 9900 * 2**30, 100 * 2**30))
    assert syncs.little_room() is None, "a hundredth of much is enough"
