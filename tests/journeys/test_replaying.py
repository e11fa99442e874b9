"""Limits tried on what came before: the same rules on the numbers that are left, without any file."""

from __future__ import annotations

import shutil

import polars as pl
import pytest
from django.test import Client

from rosters import holding, making, syncs
from rosters.models import Sync
from rosters.oneroster.plain import percent
from rosters.scope import Scope
from rosters.syncs.replaying import Replay, tallies_of
from tests.journeys.trip import Trip

pytestmark = pytest.mark.django_db


@pytest.fixture
def tables() -> making.Tables:
    from django.utils import timezone

    return making.make_roster(users=400, seed=8, today=timezone.localdate(), name="Cedar Grove")


def without(tables: making.Tables, share: float) -> making.Tables:
    """The roster without this share of its students and what hangs on them."""
    students = tables["users"].filter(pl.col("role") == "student")["sourcedId"]
    gone = students.head(int(len(students) * share)).to_list()
    out = dict(tables)
    for table, frame in tables.items():
        for column in ("sourcedId", "userSourcedId"):
            if column in frame.columns:
                frame = frame.filter(~pl.col(column).is_in(gone))
        out[table] = frame
    return out


@pytest.fixture
def lived(trip: Trip, tables: making.Tables) -> dict[str, Sync]:
    """A first roster; a quiet day; a day on which 8 % left; one on which 30 % would have left, declined; today."""
    trip.go(trip.send(tables))
    quiet = trip.go(trip.send(without(tables, 0.02)))
    left = trip.go(trip.send(without(tables, 0.10)))
    declined = trip.send(without(tables, 0.40))
    syncs.decline(declined, by=trip.by, reason="Send the schools again.")
    today = without(tables, 0.10)
    one = pl.when(pl.int_range(pl.len()) == 0).then(pl.lit("Another")).otherwise(pl.col("middleName"))
    trip.go(trip.send({**today, "users": today["users"].with_columns(middleName=one)}))
    return {"quiet": quiet, "left": left, "declined": declined}


def held(replay: Replay) -> list[int]:
    return [each.sync.pk for each in replay.held]


def test_limits_are_tried_on_every_delivery_that_was_compared(trip: Trip, lived: dict[str, Sync]) -> None:
    usual, strict, loose = syncs.replay(
        trip.district,
        {},
        {"removed_share": 0.01, "group_removed_share": 0.9, "group_floor": 1},
        dict.fromkeys(("removed_share", "group_removed_share", "updated_share", "grown_share"), 1.0),
    )
    assert usual.looked_at == strict.looked_at == loose.looked_at == 4, "not the first"
    assert held(usual)[:2] == [lived["declined"].pk, lived["left"].pk] and usual.declined == 1
    assert "REMOVED" not in usual.held[0].why and "%" in usual.held[0].why, "in words"
    assert held(strict) == [lived["declined"].pk, lived["left"].pk, lived["quiet"].pk]
    assert loose.held == [] and loose.declined == 0


@pytest.mark.looks
def test_what_is_replayed_with_the_same_limits_is_what_was_found(trip: Trip, lived: dict[str, Sync]) -> None:
    """Rule by rule, on everything that came; and where the files are gone as well."""
    shutil.rmtree(syncs.store().root / "syncs")
    for sync in Sync.objects.filter(base_version__gt=0):
        now = {hold.code for hold in holding.by_numbers(tallies_of([sync])[sync.pk], {})}
        then = set(sync.holds.values_list("code", flat=True))
        ours = then & holding.BY_NUMBERS
        assert ours <= now
        assert now - ours <= ({"SCHOOL_REMOVED_SHARE"} if "SCHOOL_GONE" in then else set())


def test_what_only_the_files_could_tell_counts_as_it_was_found(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    trip.go(trip.send(without(tables, 0.02)))
    sync = trip.send(tables)
    assert "STALE" in sync.holds.values_list("code", flat=True), "the first file again"
    shares = {name: 1.0 for name, limit in holding.DEFAULT_LIMITS.items() if limit.unit == "share"}
    (loose,) = syncs.replay(trip.district, shares)
    assert held(loose) == [sync.pk] and loose.held[0].why == sync.holds.get(code="STALE").saw


def test_a_file_about_a_school_is_replayed_by_what_it_spoke_for(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    school = tables["orgs"].filter(pl.col("type") == "school")["sourcedId"][0]
    seats = tables["enrollments"].filter(pl.col("schoolSourcedId") == school)

    def without_every(number: int) -> Sync:
        gone = seats.gather_every(number)["sourcedId"].implode()
        left = tables["enrollments"].filter(~pl.col("sourcedId").is_in(gone))
        making.write_zip(trip.folder / "sent.zip", {**tables, "enrollments": left})
        came = syncs.receive(
            trip.district, trip.folder / "sent.zip", origin="staff", name="sent.zip", by=trip.by,
            speaks_for=Scope((school,)),
        )  # fmt: skip
        return syncs.prepare(came.pk) or came

    sync = without_every(12)
    assert [hold.code for hold in sync.holds.all()] == ["REMOVED_SHARE"]
    line = sync.tallies.get(table="enrollments", dimension="")
    assert line.before == len(tables["enrollments"]) and line.apart["removed"] == line.before - len(seats)
    usual, loose = syncs.replay(trip.district, {}, {"removed_share": 0.5, "group_removed_share": 0.5})
    assert held(usual) == [sync.pk] and usual.held[0].why == sync.holds.get().saw and held(loose) == []
    trip.go(sync)
    told = without_every(4).holds.get(code="REMOVED_SHARE", table="enrollments")
    assert told.usual == f"{percent(line.removed / len(seats))} (the one sync before).", "of the school as well"


@pytest.mark.looks
def test_a_manager_sees_it_while_typing(trip: Trip, lived: dict[str, Sync]) -> None:
    staff = Client()
    staff.force_login(trip.by)
    at = f"/admin/rosters/district/{trip.district.pk}/"
    assert f'hx-get="{at}replay/"' in staff.get(f"{at}change/").content.decode()
    assert "replay/" not in staff.get("/admin/rosters/district/add/").content.decode()
    typed = {"hold_limits-removed_share": "1", "hold_limits-group_floor": "1", "hold_limits-group_removed_share": "90"}
    page = staff.get(f"{at}replay/", typed).content.decode()
    assert "last 4 deliveries" in page and "3 would have waited for a person, 1 of which was declined" in page
    assert "with the limits as they are saved" in page
    assert f"/admin/rosters/sync/{lived['quiet'].pk}/change/" in page
    assert "cannot be read" in staff.get(f"{at}replay/", {"hold_limits-removed_share": "much"}).content.decode()
    assert "as they are saved" not in staff.get(f"{at}replay/").content.decode()
    assert staff.post(f"{at}replay/").status_code == 405


@pytest.mark.looks
def test_where_nothing_came_there_is_nothing_to_try(trip: Trip) -> None:
    staff = Client()
    staff.force_login(trip.by)
    page = staff.get(f"/admin/rosters/district/{trip.district.pk}/replay/").content.decode()
    assert "nothing to try these limits on yet" in page
