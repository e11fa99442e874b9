"""Promises that two workers, an undo or a changed setting could break: each is tried, then live is verified."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from rosters import making, syncs
from rosters.models import AuditEvent, Class, Demographics, Enrollment, Role, Sync, User
from tests.journeys.trip import Trip, verified

pytestmark = pytest.mark.django_db

ANOTHER_WORKER = "00000000-0000-0000-0000-000000000001"


def _hanging() -> dict[str, int]:
    """How many active records hang on one that is not active."""
    return {
        "enrollment of a class": Enrollment.objects.filter(status="active").exclude(clazz__status="active").count(),
        "enrollment of a user": Enrollment.objects.filter(status="active").exclude(user__status="active").count(),
        "role of a user": Role.objects.filter(status="active").exclude(user__status="active").count(),
        "class of a course": Class.objects.filter(status="active").exclude(course__status="active").count(),
    }


def _with_class(tables: making.Tables, sourced_id: str) -> making.Tables:
    row = (
        tables["classes"]
        .head(1)
        .with_columns(
            pl.lit(sourced_id).alias("sourcedId"),
            pl.lit("New class").alias("title"),
            pl.lit(sourced_id).alias("classCode"),
        )
    )
    return {**tables, "classes": pl.concat([tables["classes"], row.select(tables["classes"].columns)])}


def _with_enrollment(tables: making.Tables, class_id: str) -> making.Tables:
    students = tables["enrollments"].filter(pl.col("role") == "student")
    row = students.head(1).with_columns(pl.lit("NEWENR").alias("sourcedId"), pl.lit(class_id).alias("classSourcedId"))
    return {**tables, "enrollments": pl.concat([tables["enrollments"], row])}


def _undone(trip: Trip, sync: Sync) -> tuple[str, list[tuple[str, str]]]:
    """How the undo ended, and (table, column) of what it left as it is."""
    undoing = trip.undo(sync)
    left = [(c.table, c.column) for c in syncs.undo_conflicts(undoing)[0]]
    if undoing.status == "awaiting_review":
        undoing = trip.go(undoing)
    return undoing.status, left


def test_undoing_an_added_class_leaves_no_later_enrollment_hanging(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    more = _with_class(tables, "NEWCLASS")
    second = trip.go(trip.send(more))
    trip.go(trip.send(_with_enrollment(more, "NEWCLASS")))
    assert _undone(trip, second) == ("unchanged", [("classes", "sourcedId")])
    assert not any(_hanging().values()), _hanging()


@pytest.mark.alike
def test_undoing_a_removal_brings_back_nothing_that_hangs_on_what_left_later(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    left, clazz = tables["enrollments"].select("sourcedId", "classSourcedId").row(0)
    fewer = {**tables, "enrollments": tables["enrollments"].filter(pl.col("sourcedId") != left)}
    second = trip.go(trip.send(fewer))
    without = {
        **fewer,
        "enrollments": fewer["enrollments"].filter(pl.col("classSourcedId") != clazz),
        "classes": fewer["classes"].filter(pl.col("sourcedId") != clazz),
    }
    trip.go(trip.send(without))
    assert _undone(trip, second) == ("unchanged", [("enrollments", "classSourcedId")])
    assert not any(_hanging().values()), _hanging()


@pytest.mark.alike
def test_the_same_rows_are_asked_the_rules_of_a_product_bought_since(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    trip.district.products = ["literacy"]
    trip.district.save()
    AuditEvent.objects.create(action="district.changed", district=trip.district)
    again = trip.send(tables)
    assert any(finding.code.startswith("PR-") for finding in again.findings.all())


def test_an_older_delivery_gives_way_once_the_newer_one_is_of_use(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    paths = []
    for seed in (1, 2):
        paths.append(trip.folder / f"{seed}.zip")
        making.write_zip(paths[-1], making.next_day(tables, change=0.05, seed=seed)[0])
    older = syncs.receive(trip.district, paths[0], origin="staff", name="older.zip")
    came: list[Sync] = []

    def meanwhile(phase: str, fraction: float, rows: int) -> None:
        if phase == "checking" and not came:
            came.append(syncs.receive(trip.district, paths[1], origin="staff", name="newer.zip"))

    syncs.prepare(older.pk, progress=meanwhile)
    older.refresh_from_db()
    assert older.status in Sync.WAITING, "nobody has read the newer one yet"
    syncs.prepare(came[0].pk)
    older.refresh_from_db()
    assert older.status == "superseded"
    third = syncs.receive(trip.district, paths[0], origin="staff", name="third.zip")
    fourth = syncs.receive(trip.district, paths[1], origin="staff", name="fourth.zip")
    syncs.prepare(fourth.pk)
    third.refresh_from_db()
    assert third.status == "superseded", "it need not be read any more"
    assert syncs.prepare(third.pk) is None


@pytest.mark.parametrize("content", [b"8 bytes.", b"PK\x03\x04 and no more", b""])
def test_a_file_that_cannot_be_used_takes_no_good_one_away(trip: Trip, tables: making.Tables, content: bytes) -> None:
    trip.go(trip.send(tables))
    good = trip.send(making.next_day(tables, change=0.05, seed=1)[0])
    refused = trip.send_file(_written(trip.folder / "bad.zip", content))
    assert (refused.status, refused.error_code) == ("rejected", "ROSTER-UNREADABLE")
    good.refresh_from_db()
    assert good.status in Sync.WAITING
    failed = trip.send(making.next_day(tables, change=0.05, seed=2)[0])
    good.refresh_from_db()
    assert good.status == "superseded" and failed.status in Sync.WAITING
    Sync.objects.filter(pk=good.pk).update(status="failed")
    Sync.objects.filter(pk=failed.pk).update(status="rejected")
    good.refresh_from_db()
    assert syncs.retry(good, by=trip.by).pk != good.pk, "what came since is of no use"


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_plan_whose_worker_died_before_it_gave_way_waits_for_nobody(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    older, newer = (trip.send(making.next_day(tables, change=0.05, seed=seed)[0]) for seed in (1, 2))
    Sync.objects.filter(pk=older.pk).update(status="awaiting_review")  # as it stands when the worker dies just there
    syncs.recover()
    older.refresh_from_db()
    newer.refresh_from_db()
    assert older.status == "superseded"
    assert newer.status in ("ready", "awaiting_review")


def test_a_worker_that_applies_too_late_leaves_no_false_word_in_the_audit(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    sync = trip.send(making.next_day(tables, change=0.1, seed=5)[0])
    syncs.approve(sync, by=trip.by, plan_digest=sync.plan_digest)
    done: list[bool] = []

    def taken_over(phase: str, fraction: float, rows: int) -> None:
        if not done:
            done.append(True)
            Sync.objects.filter(pk=sync.pk).update(claimed_until=timezone.now() - timedelta(seconds=1))
            syncs.apply(sync.pk)

    syncs.apply(sync.pk, progress=taken_over)
    sync.refresh_from_db()
    trip.verify()
    assert sync.status == "applied"
    assert not AuditEvent.objects.filter(sync=sync, action="sync.stale").exists()


def test_a_worker_that_lost_its_claim_cannot_fail_the_other(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    sync = trip.send(making.next_day(tables, change=0.1, seed=5)[0])
    syncs.approve(sync, by=trip.by, plan_digest=sync.plan_digest)

    def lost(phase: str, fraction: float, rows: int) -> None:
        later = timezone.now() + timedelta(seconds=60)
        Sync.objects.filter(pk=sync.pk).update(claim=ANOTHER_WORKER, claimed_until=later)
        raise OSError("disk")

    syncs.apply(sync.pk, progress=lost)
    sync.refresh_from_db()
    assert (sync.status, str(sync.claim)) == ("applying", ANOTHER_WORKER)


def test_a_link_or_a_derived_name_changed_behind_our_back_is_seen(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    first, other = User.objects.order_by("pk")[:2]
    demographics, enrollment = Demographics.objects.earliest("pk"), Enrollment.objects.earliest("pk")
    tampered = [
        (Demographics.objects.filter(pk=demographics.pk), "user", demographics.user_id),
        (Enrollment.objects.filter(pk=enrollment.pk), "user", enrollment.user_id),
    ]
    for rows, field, true in tampered:
        rows.update(**{field: first.pk if true != first.pk else other.pk})
        assert verified()[0] == 1
        rows.update(**{field: true})
    assert verified()[0] == 0
    User.objects.filter(pk=first.pk).update(search_name="zzz")
    assert verified()[0] == 1


def test_a_letter_newer_than_this_pythons_unicode_is_no_false_alarm(trip: Trip, tables: making.Tables) -> None:
    """U+1C89 (Unicode 16) has a small form for the loader, and none for Python before 3.14."""
    newest = pl.when(pl.int_range(pl.len()) == 0).then(pl.lit("\u1c89da")).otherwise(pl.col("familyName"))
    trip.go(trip.send({**tables, "users": tables["users"].with_columns(familyName=newest)}))
    assert User.objects.filter(family_name="\u1c89da").exists()


@pytest.mark.alike
def test_importing_for_a_bad_site_code_says_so(trip: Trip, tables: making.Tables) -> None:
    path = trip.folder / "sent.zip"
    making.write_zip(path, tables)
    with pytest.raises(CommandError):
        call_command("import_roster", "no spaces please", str(path), "--create", "Cedar")
