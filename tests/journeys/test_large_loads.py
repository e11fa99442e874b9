"""A load so large that its indexes are built after it, one beside another district, a whole year that leaves, and a
stored plan that somebody touched. What counts as large is made small here, for the districts are."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from django.db import transaction
from django.utils import timezone

from rosters import making, syncs
from rosters.applying import indexes
from rosters.models import LIVE, Enrollment, Sync, User
from tests.journeys.trip import Trip, indexed

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "_MANY", 10)


@pytest.fixture
def taken_away(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tables whose indexes were built late, in order."""
    told: list[str] = []
    known = indexes._indexes

    def tell(cursor: object, name: str) -> dict[str, str]:
        told.append(name)
        return known(cursor, name)

    monkeypatch.setattr(indexes, "_indexes", tell)
    return told


def test_every_index_is_there_after_a_first_load(trip: Trip, tables: making.Tables, taken_away: list[str]) -> None:
    before = indexed()
    trip.go(trip.send(tables))
    assert "rosters_enrollment" in taken_away
    assert indexed() == before


def test_no_index_is_missing_beside_another_district(
    trip: Trip, tables: making.Tables, tmp_path: Path, alice: Staff, taken_away: list[str]
) -> None:
    trip.go(trip.send(tables))
    taken_away.clear()
    other = Trip(tmp_path, alice, "Harbor City", "1002")
    other.go(other.send(making.make_roster(users=90, seed=9, today=timezone.localdate(), name="Harbor City")))
    assert not taken_away


def test_a_load_that_fails_leaves_the_indexes_as_they_were(trip: Trip, tables: making.Tables) -> None:
    before = indexed()
    late = indexes.built_late(Enrollment, trip.district.pk, 1000, {"status": "active"})
    with pytest.raises(ZeroDivisionError), transaction.atomic(), late:
        assert indexed() != before
        raise ZeroDivisionError
    assert indexed() == before
    trip.go(trip.send(tables))


def test_what_a_table_fills_in_itself_is_what_every_other_way_writes(
    trip: Trip, tables: making.Tables, tmp_path: Path, alice: Staff
) -> None:
    first = trip.go(trip.send(tables))
    other = Trip(tmp_path, alice, "Harbor City", "1002")
    made = making.make_roster(users=90, seed=9, today=timezone.localdate(), name="Harbor City")
    second = other.go(other.send(made))
    for model in LIVE.values():
        for district, sync in ((trip.district, first), (other.district, second)):
            same = {"status": "active", "date_last_modified": sync.applied_at, "district": district}
            assert not model._base_manager.filter(district=district).exclude(**same).exists()


def test_texts_that_mean_something_to_a_database_come_as_they_are(trip: Trip, tables: making.Tables) -> None:
    odd = ["\\.", "\\N", 'she said "x"', "a,b", "NULL", " ", "'); --", "\\", "%s", '""', "\t1"]
    users = tables["users"].with_columns(
        middleName=pl.Series([odd[n % len(odd)] for n in range(len(tables["users"]))], dtype=pl.String)
    )
    trip.go(trip.send({**tables, "users": users}))
    live = dict(User.objects.values_list("sourced_id", "middle_name"))
    assert live == dict(users.select("sourcedId", "middleName").iter_rows())


def test_a_year_leaves_and_comes_back(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    lived = set(Enrollment.objects.filter(status="active").values_list("sourced_id", "pk"))
    new_year, _ = making.rollover(tables, seed=3)
    turned = trip.send(new_year)
    assert turned.removed > len(tables["enrollments"])
    turned = trip.go(turned)
    left = Enrollment.objects.filter(status="tobedeleted")
    assert set(left.values_list("sourced_id", "pk")) >= lived
    moment = left[0].date_last_modified
    trip.go(trip.undo(turned))
    back = Enrollment.objects.filter(status="active")
    assert set(back.values_list("sourced_id", "pk")) == lived, "they are the same records, not new ones"
    assert all(changed > moment - timedelta(seconds=1) for changed in back.values_list("date_last_modified", flat=True))


def test_who_stays_is_left_alone_where_most_leave(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    before = dict(Enrollment.objects.values_list("sourced_id", "date_last_modified"))
    staying = tables["enrollments"].head(12)
    done = trip.go(trip.send({**tables, "enrollments": staying}))
    active = dict(Enrollment.objects.filter(status="active").values_list("sourced_id", "date_last_modified"))
    assert active == {sourced_id: before[sourced_id] for sourced_id in staying["sourcedId"]}
    assert done.applied_at is not None
    left = Enrollment.objects.filter(status="tobedeleted", date_last_modified=done.applied_at)
    assert left.count() == len(before) - 12, "the moment is written as every other way of writing does"


def test_a_stored_plan_that_was_touched_is_not_applied(trip: Trip, tables: making.Tables) -> None:
    sync = trip.send(tables)
    path = syncs.store().sync_folder(trip.district.pk, sync.pk) / "users.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    syncs.approve(sync, by=trip.by, plan_digest=sync.plan_digest)
    done = syncs.apply(sync.pk)
    assert done is not None
    assert (done.status, done.error_code) == ("failed", "PLAN-BROKEN")
    assert not Enrollment.objects.exists()
    trip.go(trip.send(tables))


def test_a_plan_without_a_seal_is_made_anew(trip: Trip, tables: making.Tables) -> None:
    sync = trip.send(tables)
    Sync.objects.filter(pk=sync.pk).update(plan_files={})  # as a version before this one left it
    syncs.approve(sync, by=trip.by, plan_digest=sync.plan_digest)
    syncs.apply(sync.pk)
    sync.refresh_from_db()
    assert (sync.status, sync.decision) == ("received", "")
    again = syncs.prepare(sync.pk)
    assert again is not None
    trip.go(again)


def test_a_new_school_year_is_read_as_one_cause(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    turned = trip.send(making.rollover(tables, seed=3)[0])
    assert turned.verdict.startswith("Held: this looks like the turn of the school year to ")
    assert "those who leave were in grade 12" in turned.verdict
    ends = {"academicSessions", "classes", "enrollments"}
    tables_held = [hold.table in ends for hold in turned.holds.order_by("position")]
    assert True in tables_held
    assert "Also:" not in turned.verdict, "all of it follows from the new year"
    trip.go(turned)
