"""The change feed: replayed from nothing it gives the live roster, whatever the pages and whatever happens between."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rosters import making, syncs
from rosters.api import scopes
from rosters.models import Sync
from rosters.oneroster.normal import NORMAL
from tests.journeys.trip import Trip
from tests.tools import tool

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = pytest.mark.django_db

FEED = "/api/v1/districts/1001/changes"
Replica = dict[tuple[str, str], dict[str, str]]


@pytest.fixture
def trip(data_dir: Path, tmp_path: Path, alice: Staff) -> Trip:
    return Trip(tmp_path, alice)


@pytest.fixture
def days(trip: Trip) -> list[making.Tables]:
    first = making.make_roster(users=60, seed=4, today=timezone.localdate(), name="Cedar Grove")
    second, _ = making.next_day(first, change=0.2, seed=3)
    return [first, second, making.next_day(second, change=0.2, seed=5)[0]]


def follow(replica: Replica, change: dict[str, Any]) -> None:
    """What a reader does with a change; it must fit what the reader has."""
    key = change["table"], change["sourcedId"]
    if change["kind"] == "added":
        assert key not in replica
        replica[key] = change["after"]
    elif change["kind"] == "removed":
        assert {name: value for name, value in replica.pop(key).items() if value} == change["before"]
    else:
        assert {name: replica[key].get(name, "") for name in change["before"]} == change["before"]
        replica[key] = {**replica[key], **change["after"]}


def live(trip: Trip) -> Replica:
    trip.district.refresh_from_db()
    assert trip.district.snapshot
    frames = syncs.store().frames(trip.district.pk, trip.district.snapshot.tables)
    return {
        (table, row["sourcedId"]): {name: row[name] for name in NORMAL[table][1:] if row[name]}
        for table in frames
        for row in frames[table].iter_rows(named=True)
    }


def known(replica: Replica) -> Replica:
    return {key: {name: value for name, value in row.items() if value} for key, row in replica.items()}


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(1, 400), min_size=1, max_size=5))
def test_replayed_in_pages_of_any_size_it_is_the_live_roster(
    trip: Trip, days: list[making.Tables], sizes: list[int]
) -> None:
    if not trip.district.version:
        for tables in days:
            trip.go(trip.send(tables))
        trip.go(trip.undo(Sync.objects.get(result__version=3)))
    browser, cursor, number = tool(trip.district), "", 0
    replica: Replica = {}
    versions: list[int] = []
    while True:
        limit = sizes[number % len(sizes)] if number < 30 else 5_000
        page = browser.get(FEED, {"after": cursor, "limit": limit}).json()
        assert len(page["results"]) <= limit
        for change in page["results"]:
            follow(replica, change)
            versions.append(change["version"])
        cursor, number = page["cursor"], number + 1
        if not page["more"]:
            break
    assert known(replica) == live(trip)
    assert versions == sorted(versions) and set(versions) == {1, 2, 3, 4}
    assert browser.get(FEED, {"after": cursor}).json()["results"] == []


def test_who_reads_while_syncs_are_applied_misses_nothing(trip: Trip, days: list[making.Tables]) -> None:
    browser, cursor = tool(trip.district), ""
    replica: Replica = {}
    trip.go(trip.send(days[0]))
    for tables in days[1:]:
        page = browser.get(FEED, {"after": cursor, "limit": 50}).json()
        for change in page["results"]:
            follow(replica, change)
        cursor = page["cursor"]
        trip.go(trip.send(tables))
    while page["more"] or page["results"]:
        page = browser.get(FEED, {"after": cursor}).json()
        for change in page["results"]:
            follow(replica, change)
        cursor = page["cursor"]
    assert known(replica) == live(trip)


def test_now_is_a_cursor_after_which_comes_what_is_new(trip: Trip, days: list[making.Tables]) -> None:
    browser = tool(trip.district)
    trip.go(trip.send(days[0]))
    now = browser.get(FEED, {"after": "now"}).json()
    assert (now["results"], now["more"]) == ([], False)
    done = trip.go(trip.send(days[1]))
    told = browser.get(FEED, {"after": now["cursor"], "limit": 5000}).json()["results"]
    assert len(told) == done.added + done.updated + done.removed
    assert {change["sync"] for change in told} == {done.pk}


def test_what_is_not_kept_any_more_is_a_gap_that_says_where_to_begin(trip: Trip, days: list[making.Tables]) -> None:
    browser = tool(trip.district)
    first = trip.go(trip.send(days[0]))
    trip.go(trip.send(days[1]))
    shutil.rmtree(syncs.store().sync_folder(trip.district.pk, first.pk))
    gone = browser.get(FEED)
    told = gone.json()
    assert (gone.status_code, told["code"]) == (410, "feed-gap") and "/export" in told["next_step"]
    assert browser.get(FEED, {"after": told["cursor"]}).json()["results"] == []


@pytest.mark.alike
@pytest.mark.parametrize("cursor", ["nonsense", "%%%", "MSA5OTkgMA", "MSAtMSAw", "MiAxIDA", "MSAxIDU"])
def test_a_cursor_of_nobody_is_refused(trip: Trip, days: list[making.Tables], cursor: str) -> None:
    trip.go(trip.send(days[0]))
    answer = tool(trip.district).get(FEED, {"after": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad-cursor")


@pytest.mark.alike
def test_demographics_are_for_who_may_see_them(trip: Trip, days: list[making.Tables]) -> None:
    trip.go(trip.send(days[0]))
    whole = tool(trip.district).get(FEED, {"limit": 5000}).json()
    less = tool(trip.district, only=(scopes.CHANGES_READ,)).get(FEED, {"limit": 5000}).json()
    assert "demographics" in {change["table"] for change in whole["results"]}
    assert "demographics" not in {change["table"] for change in less["results"]}
    assert whole["cursor"] == less["cursor"]
    assert tool(trip.district, only=(scopes.SYNCS_READ,)).get(FEED).status_code == 403
