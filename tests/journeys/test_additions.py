"""Summer and testing weeks: a delivery that only adds takes nobody out, and hides nothing from the next one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from django.test import Client
from django.urls import reverse

from rosters import making, syncs
from rosters.models import Sync, User
from tests.journeys.trip import Trip

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = pytest.mark.django_db

LEAVING = 5


def _packed(trip: Trip, tables: making.Tables, name: str) -> Path:
    path = trip.folder / name
    making.write_zip(path, tables)
    return path


def _send(trip: Trip, path: Path, *, additions_only: bool) -> Sync:
    sync = syncs.receive(trip.district, path, origin="staff", name=path.name, by=trip.by, additions_only=additions_only)
    return syncs.prepare(sync.pk) or sync


def _without_seats(tables: making.Tables, seats: int = LEAVING) -> making.Tables:
    return {**tables, "enrollments": tables["enrollments"].gather_every(3, offset=1).head(seats).pipe(
        lambda gone: tables["enrollments"].join(gone, on="sourcedId", how="anti", maintain_order="left")
    )}  # fmt: skip


def _renamed(tables: making.Tables) -> making.Tables:
    first = pl.int_range(pl.len()) == 0
    new = pl.when(first).then(pl.lit("Renamed")).otherwise(pl.col("title")).alias("title")
    return {**tables, "classes": tables["classes"].with_columns(new)}


def test_what_an_adding_sync_left_in_is_removed_when_the_same_file_comes_without_that_limit(
    trip: Trip, tables: making.Tables
) -> None:
    trip.go(trip.send(tables))
    path = _packed(trip, _renamed(_without_seats(tables)), "summer.zip")
    adding = _send(trip, path, additions_only=True)
    assert (adding.added, adding.updated, adding.removed, adding.left_out) == (0, 1, 0, LEAVING)
    trip.go(adding)

    again = _send(trip, path, additions_only=True)
    assert (again.status, again.left_out) == ("unchanged", LEAVING)
    assert "may only add" in again.verdict

    whole = _send(trip, path, additions_only=False)
    assert (whole.status, whole.updated, whole.removed) == ("ready", 0, LEAVING)
    trip.go(whole)
    for additions_only in (True, False):
        same = _send(trip, path, additions_only=additions_only)
        assert (same.status, same.left_out) == ("unchanged", 0)


def test_a_file_that_only_lacks_rows_changes_nothing_and_says_why(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    live = trip.district.snapshot
    path = _packed(trip, _without_seats(tables), "summer.zip")
    adding = _send(trip, path, additions_only=True)
    assert (adding.status, adding.left_out) == ("unchanged", LEAVING)
    assert adding.verdict == (
        "Nothing changed: this file brings nothing new, and what it leaves out stays, for it may only add."
    )
    assert live is not None and adding.target_digest == live.digest
    assert _send(trip, path, additions_only=False).removed == LEAVING


def test_the_same_rows_in_another_zip_are_not_taken_for_what_an_adding_sync_made(
    trip: Trip, tables: making.Tables
) -> None:
    trip.go(trip.send(tables))
    sent = _renamed(_without_seats(tables))
    trip.go(_send(trip, _packed(trip, sent, "summer.zip"), additions_only=True))
    turned = {name: frame.reverse() for name, frame in sent.items()}
    assert _send(trip, _packed(trip, turned, "autumn.zip"), additions_only=True).status == "unchanged"
    assert _send(trip, _packed(trip, turned, "autumn.zip"), additions_only=False).removed == LEAVING


def test_an_adding_sync_is_undone_to_the_very_digest(trip: Trip, tables: making.Tables) -> None:
    first = trip.go(trip.send(tables))
    path = _packed(trip, _renamed(_without_seats(tables)), "summer.zip")
    adding = trip.go(_send(trip, path, additions_only=True))
    undone = trip.go(trip.undo(adding))
    assert undone.target_digest == first.target_digest
    assert not undone.additions_only
    assert _send(trip, path, additions_only=False).removed == LEAVING


def test_a_plan_made_anew_still_only_adds(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    second = trip.go(trip.send(_renamed(tables)))
    more = making.next_day(tables, change=0.02, seed=3)[0]
    adding = _send(trip, _packed(trip, _without_seats(more), "summer.zip"), additions_only=True)
    plan = adding.plan_digest
    trip.go(trip.undo(second))
    with pytest.raises(syncs.StalePlan):
        syncs.approve(adding, by=trip.by, plan_digest=plan)
    anew = syncs.prepare(adding.pk)
    assert anew is not None and anew.additions_only and anew.plan_digest != plan
    assert anew.removed == 0 and anew.left_out >= LEAVING
    people = User.objects.filter(status="active").count()
    trip.go(anew)
    assert User.objects.filter(status="active").count() >= people


def test_a_file_that_is_tried_again_still_only_adds(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    path = _packed(trip, tables, "summer.zip")
    path.write_bytes(path.read_bytes()[:-200])
    refused = _send(trip, path, additions_only=True)
    assert refused.status == "rejected"
    assert syncs.retry(refused, by=trip.by).additions_only


def test_people_under_new_ids_are_not_added_a_second_time_unseen(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    new = ("new-" + pl.col("sourcedId")).alias("sourcedId")
    rekeyed = {
        **tables,
        "users": tables["users"].with_columns(new, agentSourcedIds=pl.lit("")),
        "demographics": tables["demographics"].with_columns(new),
        "enrollments": tables["enrollments"].with_columns(("new-" + pl.col("userSourcedId")).alias("userSourcedId")),
    }
    adding = _send(trip, _packed(trip, rekeyed, "summer.zip"), additions_only=True)
    assert adding.status == "awaiting_review"
    hold = adding.holds.get(code="ID_CHURN", table="users")
    assert "would stand there a second time, under another id" in hold.saw


def test_the_page_of_a_sync_says_that_it_only_adds_and_how_much_stays(
    trip: Trip, tables: making.Tables, alice: Staff
) -> None:
    trip.go(trip.send(tables))
    path = _packed(trip, _renamed(_without_seats(tables)), "summer.zip")
    browser = Client()
    browser.force_login(alice)

    def page(sync: Sync) -> str:
        return browser.get(reverse("admin:rosters_sync_change", args=[sync.pk])).content.decode()

    words = f"This sync only adds and changes; it removes nothing. {LEAVING} live records that its file leaves out"
    assert words in page(_send(trip, path, additions_only=True))
    assert "only adds" not in page(_send(trip, path, additions_only=False))
