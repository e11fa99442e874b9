"""Several workers at once, and workers that die: with real processes, on whichever database the tests run."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User as Staff
from django.db import connection
from django.utils import timezone

from rosters import making, models, syncs
from rosters.models import AuditEvent, Snapshot, Sync, User
from tests.journeys.trip import Trip, indexed
from tests.journeys.workers import Worker, race

pytestmark = pytest.mark.django_db(transaction=True)

ANOTHER_WORKER = "00000000-0000-0000-0000-000000000001"
PAST = timezone.now() - timedelta(days=1)


def approved(trip: Trip, tables: making.Tables, seed: int = 2) -> Sync:
    """A day two that was approved and waits for a worker."""
    sync = trip.send(making.next_day(tables, change=0.1, seed=seed)[0])
    syncs.approve(sync, by=trip.by, plan_digest=sync.plan_digest)
    return sync


def received(trip: Trip, tables: making.Tables, seed: int) -> Sync:
    """A day two that nobody has looked at."""
    path = trip.folder / f"{seed}.zip"
    making.write_zip(path, making.next_day(tables, change=0.1, seed=seed)[0])
    return syncs.receive(trip.district, path, origin="staff", name=path.name, by=trip.by)


def events(sync: Sync) -> list[str]:
    return list(AuditEvent.objects.filter(sync=sync).order_by("pk").values_list("action", flat=True))


def elsewhere(work: Callable[[], object]) -> None:
    """Do `work` with a connection of its own. On SQLite nobody else could write now, so there it is this one."""
    if connection.vendor == "sqlite":
        work()
        return

    def alone() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=alone)
    thread.start()
    thread.join()


@pytest.mark.parametrize(
    ("when", "point"),
    [
        ("before", "rosters_keycounter"),
        ("before", "rosters_enrollment"),
        ("after", 'INSERT INTO "rosters_snapshot"'),
        ("after", 'UPDATE "rosters_district"'),
        ("after", 'INSERT INTO "rosters_auditevent"'),
    ],
)
def test_killed_while_applying_the_old_roster_is_live_and_the_next_worker_applies_once(
    trip: Trip, tables: making.Tables, when: str, point: str
) -> None:
    trip.go(trip.send(tables))
    sync = approved(trip, tables)
    with Worker() as doomed:
        doomed.tell("killed", "apply", sync.pk, when, point)
        assert doomed.answer() == ""
        assert doomed.process.wait(10) == -signal.SIGKILL
    trip.verify()
    assert trip.district.version == 1
    assert User.objects.filter(status="active").count() == len(tables["users"])
    assert syncs.recover() == ([], [])  # its lease is not over yet
    Sync.objects.filter(pk=sync.pk, status="applying").update(claimed_until=PAST)
    assert syncs.recover() == ([], [sync.pk])
    done = syncs.apply(sync.pk)
    assert done is not None
    assert done.status == "applied", done.error
    trip.verify()
    assert trip.district.version == 2
    assert (syncs.recover(), syncs.apply(sync.pk)) == (([], []), None)
    assert events(sync).count("sync.applied") == 1
    assert syncs.tidy() == 0, "what was begun today may still be on its way"
    syncs.tidy(timezone.now() + timedelta(days=2))
    assert not [*syncs.store().root.rglob("*.part")]
    trip.verify()


def test_two_workers_at_the_same_sync_do_it_once(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    with Worker() as one, Worker() as two:
        for seed in range(3):
            sync = received(trip, tables, seed)
            assert race(one, two, f"prepare {sync.pk}", f"prepare {sync.pk}") in (
                ["awaiting_review", "none"], ["none", "ready"],
            )  # fmt: skip
            sync.refresh_from_db()
            decision = f"approve {sync.pk} {sync.plan_digest}"
            assert race(one, two, decision, decision) == ["DecisionRefused", "approved"]
            assert race(one, two, f"apply {sync.pk}", f"apply {sync.pk}") == ["applied", "none"]
            trip.verify()
            assert trip.district.version == seed + 2
            assert events(sync) == ["delivery.received", "sync.approved", "sync.applied"]


def test_of_two_syncs_of_a_district_one_is_approved_and_the_other_sees_a_stale_plan(
    trip: Trip, tables: making.Tables
) -> None:
    trip.go(trip.send(tables))
    with Worker() as one, Worker() as two:
        for seed in range(2):
            second = trip.go(trip.send(making.next_day(tables, change=0.1, seed=20 + seed)[0]))
            rivals = [trip.undo(second), trip.send(making.next_day(tables, change=0.1, seed=30 + seed)[0])]
            before = trip.district.version
            told = [f"approve {sync.pk} {sync.plan_digest}" for sync in rivals]
            assert race(one, two, *told) == ["DecisionRefused", "approved"]
            assert race(one, two, *(f"apply {sync.pk}" for sync in rivals)) == ["applied", "none"]
            trip.verify()
            assert trip.district.version == before + 1
            late = next(sync for sync in rivals if Sync.objects.get(pk=sync.pk).status != "applied")
            with pytest.raises(syncs.StalePlan):
                syncs.approve(late, by=trip.by, plan_digest=late.plan_digest)
            assert (syncs.prepare(late.pk) or late).status in ("awaiting_review", "ready")
            syncs.decline(late, by=trip.by, reason="no")


@pytest.mark.parametrize("attempt", range(3))
def test_two_first_rosters_come_at_the_same_moment_and_every_index_is_there_afterwards(
    trip: Trip, tables: making.Tables, tmp_path: Path, attempt: int
) -> None:
    """Both find the tables empty and want to build the indexes late; one of them has to see that it came second."""
    other = Trip(tmp_path, trip.by, "Harbor City", "1002")
    before = indexed()
    waiting = [
        trip.send(tables),
        other.send(making.make_roster(users=90, seed=9 + attempt, today=timezone.localdate(), name="Harbor City")),
    ]
    for sync in waiting:
        syncs.approve(sync, by=trip.by, plan_digest=sync.plan_digest)
    with Worker() as first, Worker() as second:
        assert race(first, second, "few_are_many 10", "few_are_many 10") == ["done", "done"]
        assert race(first, second, *(f"apply {sync.pk}" for sync in waiting)) == ["applied", "applied"]
    assert indexed() == before
    trip.verify()


def test_a_long_apply_keeps_its_lease_and_nobody_takes_it_over(
    trip: Trip, tables: making.Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    trip.go(trip.send(tables))
    sync = approved(trip, tables)
    monkeypatch.setattr(models, "SYNC_LEASE", timedelta(seconds=1))
    monkeypatch.setattr(syncs.working, "BEAT_SECONDS", 0.2)
    with Worker() as other:
        asked: list[bool] = []

        def slow(phase: str, fraction: float, rows: int) -> None:
            if connection.in_atomic_block and not asked:
                asked.append(True)
                time.sleep(1.5)
                other.tell("apply", sync.pk)

        done = syncs.apply(sync.pk, progress=slow)
        assert asked
        assert other.answer() == "none"
    assert done is not None
    assert done.status == "applied"
    trip.verify()
    assert events(sync) == ["delivery.received", "sync.approved", "sync.applied"]


def test_a_worker_whose_lease_ended_and_the_one_who_took_over_write_once(
    trip: Trip, tables: making.Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    trip.go(trip.send(tables))
    sync = approved(trip, tables)
    monkeypatch.setattr(models, "SYNC_LEASE", timedelta(seconds=-1))
    with Worker() as other:
        asked: list[bool] = []

        def overtaken(phase: str, fraction: float, rows: int) -> None:
            if connection.in_atomic_block and not asked:
                asked.append(True)
                other.tell("apply", sync.pk)
                if connection.vendor == "postgresql":
                    while Sync.objects.get(pk=sync.pk).attempts < 2:
                        time.sleep(0.02)

        syncs.apply(sync.pk, progress=overtaken)
        assert other.answer() == ("none" if connection.vendor == "sqlite" else "applied")
    trip.verify()
    assert trip.district.version == 2
    assert Snapshot.objects.count() == 2
    assert events(sync) == ["delivery.received", "sync.approved", "sync.applied"]


def test_nothing_is_written_by_a_worker_that_lost_its_claim_in_the_middle(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    taken: list[str] = []

    def lost(phase: str, fraction: float, rows: int) -> None:
        if connection.in_atomic_block and phase not in taken:
            taken.append(phase)
            elsewhere(lambda: Sync.objects.filter(pk=sync.pk).update(claim=ANOTHER_WORKER))

    sync = received(trip, tables, 5)
    syncs.prepare(sync.pk, progress=lost)
    assert taken == ["storing"]
    sync.refresh_from_db()
    assert (sync.status, sync.plan_digest, events(sync)) == ("preparing", "", ["delivery.received"])
    assert not (sync.findings.exists() or sync.tallies.exists() or sync.holds.exists())

    Sync.objects.filter(pk=sync.pk).update(claimed_until=PAST)
    again = syncs.prepare(sync.pk)
    assert again is not None
    syncs.approve(again, by=trip.by, plan_digest=again.plan_digest)
    syncs.apply(sync.pk, progress=lost)
    assert taken == ["storing", "applying"]
    sync.refresh_from_db()
    trip.verify()
    assert (sync.status, sync.result, trip.district.version, Snapshot.objects.count()) == ("applying", None, 1, 1)
    assert events(sync) == ["delivery.received", "sync.approved"]


def test_a_stale_plan_is_refused_also_when_somebody_declines_it_in_that_moment(
    trip: Trip, tables: making.Tables
) -> None:
    """Between the look at it and its withdrawal; who declines waits, instead of both waiting for each other."""
    trip.go(trip.send(tables))
    second = trip.go(trip.send(making.next_day(tables, change=0.1, seed=2)[0]))
    undoing = trip.undo(second)
    trip.go(trip.send(making.next_day(tables, change=0.1, seed=3)[0]))
    told: list[bool] = []
    with Worker() as other:

        def decline_meanwhile(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            if sql.startswith('UPDATE "rosters_sync"') and not told:
                told.append(True)
                other.tell("decline", undoing.pk)
                time.sleep(0.5)
            return execute(sql, params, many, context)

        with connection.execute_wrapper(decline_meanwhile), pytest.raises(syncs.StalePlan):
            syncs.approve(undoing, by=trip.by, plan_digest=undoing.plan_digest)
        assert (told, other.answer()) == ([True], "DecisionRefused")
    undoing.refresh_from_db()
    assert (undoing.status, undoing.decision) == ("received", "")
    assert events(undoing) == ["sync.undo_requested", "sync.stale"]


def test_reading_and_logging_in_go_on_while_a_roster_is_written(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    sync = approved(trip, tables)
    Staff.objects.filter(pk=trip.by.pk).update(last_login=None)
    seen: list[str] = []
    with Worker() as reader, Worker() as visitor:

        def watched(phase: str, fraction: float, rows: int) -> None:
            if connection.in_atomic_block:
                if not seen:
                    visitor.tell("login")
                reader.tell("read")
                seen.append(reader.answer())

        done = syncs.apply(sync.pk, progress=watched)
        assert visitor.answer() == "done"
        reader.tell("read")
        after = reader.answer()
    assert done is not None
    assert done.status == "applied"
    assert set(seen) == {f"1 {len(tables['users'])}"}
    assert after == f"2 {User.objects.filter(status='active').count()}"
    assert Staff.objects.get(pk=trip.by.pk).last_login is not None


def test_a_delivery_is_received_while_another_goes_live(trip: Trip, tables: making.Tables) -> None:
    """A large roster takes a minute to go live. On PostgreSQL nobody who has something to write of the district waits
    for that; SQLite has one writer, and what else is to be written waits its turn."""
    if connection.vendor == "sqlite":
        return
    trip.go(trip.send(tables))
    sync = approved(trip, tables)
    came: list[Sync] = []

    def another(phase: str, fraction: float, rows: int) -> None:
        if phase == "applying" and connection.in_atomic_block and not came:
            began = time.monotonic()
            elsewhere(lambda: came.append(received(trip, tables, 9)))
            assert time.monotonic() - began < 5
            assert came

    done = syncs.apply(sync.pk, progress=another)
    assert done is not None
    assert done.status == "applied", done.error
    assert len(came) == 1
    trip.verify()
