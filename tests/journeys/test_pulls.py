"""A roster that is pulled from a server, and the same roster as a file: one roster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from django.utils import timezone

from rosters import making, syncs
from rosters.models import Delivery, Enrollment, Role, Sync, User
from tests.rosters.reading.pulls import named_as_in_rest, pulled, records

if TYPE_CHECKING:
    from tests.journeys.trip import Trip

pytestmark = [pytest.mark.django_db, pytest.mark.alike]


def district(version: str) -> making.Tables:
    made = making.make_roster(users=90, seed=8, today=timezone.localdate(), name="Cedar Grove", version=version)
    return named_as_in_rest(made)


def pull(trip: Trip, path: Path, collections: Mapping[str, list[Any]], version: str, mode: str = "bulk") -> Sync:
    pulled(path, collections, version=version, mode=mode)
    sync = syncs.receive(trip.district, path, origin=Delivery.Origin.REST, name=path.name)
    return syncs.prepare(sync.pk) or sync


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_what_was_pulled_and_the_same_as_csv_are_one_roster(trip: Trip, tmp_path: Path, version: str) -> None:
    tables = district(version)
    first = pull(trip, tmp_path / "pull.zip", records(tables), version)
    assert first.status == "awaiting_review", first.verdict
    trip.go(first)
    assert User.objects.filter(status="active").count() == len(tables["users"])
    assert Enrollment.objects.filter(status="active").count() == len(tables["enrollments"])
    assert trip.send(tables, version).status == "unchanged"
    backwards = {name: content[::-1] for name, content in records(tables).items()}
    assert pull(trip, tmp_path / "again.zip", backwards, version).status == "unchanged"
    trip.verify()


def test_a_day_of_changes_pulled_by_themselves_leads_where_the_full_file_leads(trip: Trip, tmp_path: Path) -> None:
    tables = district("1.2")
    trip.go(pull(trip, tmp_path / "pull.zip", records(tables), "1.2"))
    before, after = records(tables), records(_next_day(tables))
    changed = {
        name: [item for item in content if item not in before[name]]
        + [{**item, "status": "tobedeleted"} for item in before[name] if item["sourcedId"] not in _ids(content)]
        for name, content in after.items()
    }
    assert 0 < sum(map(len, changed.values())) < 40
    trip.go(pull(trip, tmp_path / "delta.zip", changed, "1.2", "delta"))
    assert Role.objects.filter(status="active").count() == len(_next_day(tables)["roles"])
    assert trip.send(_next_day(tables), "1.2").status == "unchanged"
    nothing = pull(trip, tmp_path / "nothing.zip", {name: [] for name in after}, "1.2", "delta")
    assert nothing.status == "unchanged", nothing.verdict


def _ids(content: list[Any]) -> set[str]:
    return {item["sourcedId"] for item in content}


def _next_day(tables: making.Tables) -> making.Tables:
    """One aide becomes a teacher, someone is renamed, an enrollment ends."""
    teacher = tables["roles"].filter(role="teacher")["userSourcedId"][0]
    roles = tables["roles"].with_columns(
        role=pl.when(userSourcedId=teacher).then(pl.lit("aide")).otherwise(pl.col("role"))
    )
    first = pl.int_range(pl.len()) == 0
    users = tables["users"].with_columns(
        familyName=pl.when(first).then(pl.lit("Renamed")).otherwise(pl.col("familyName"))
    )
    changed = {**tables, "roles": roles, "users": users, "enrollments": tables["enrollments"][1:]}
    return named_as_in_rest(changed)


def _files(tables: making.Tables) -> making.Tables:
    """The same as files would have it: roles with ids of their own."""
    roles = tables["roles"].with_columns(
        pl.format("role-{}", pl.int_range(pl.len())).alias("sourcedId"), pl.lit("2026-08-01").alias("beginDate")
    )
    return {**tables, "roles": roles}


def _begun(collections: dict[str, list[Any]]) -> dict[str, list[Any]]:
    users = [
        {**user, "roles": [{**role, "beginDate": "2026-08-01"} for role in user["roles"]]}
        for user in collections["users"]
    ]
    return {**collections, "users": users}


@pytest.mark.parametrize("mode", ["bulk", "delta"])
@pytest.mark.parametrize("fault", [{"role": "nonsense"}, {"beginDate": "soon"}, {"org": None}])
def test_a_role_of_a_pull_that_cannot_be_read_takes_away_none_that_came_as_a_file(
    trip: Trip, tmp_path: Path, fault: dict[str, Any], mode: str
) -> None:
    tables = district("1.2")
    trip.go(trip.send(_files(tables), "1.2"))
    collections = _begun(records(tables))
    assert pull(trip, tmp_path / "same.zip", collections, "1.2", mode).status == "unchanged"
    person = next(user for user in collections["users"] if user["roles"])
    person["roles"][0] |= fault
    broken = pull(trip, tmp_path / "broken.zip", collections, "1.2", mode)
    assert (broken.status, broken.removed) == ("unchanged", 0), broken.verdict
    assert broken.errors


def test_a_role_that_begins_on_another_day_keeps_its_id_and_one_that_is_gone_goes(trip: Trip, tmp_path: Path) -> None:
    tables = district("1.2")
    trip.go(trip.send(_files(tables), "1.2"))
    collections = _begun(records(tables))
    later, ended = [user for user in collections["users"] if len(user["roles"]) == 1][:2]
    later["roles"][0] |= {"beginDate": "2026-09-01"}
    ended["roles"].append({**ended["roles"][0], "role": "aide", "roleType": "secondary"})
    trip.go(pull(trip, tmp_path / "one.zip", collections, "1.2"))
    assert Role.objects.get(user__sourced_id=later["sourcedId"], status="active").sourced_id.startswith("role-")
    assert Role.objects.filter(user__sourced_id=ended["sourcedId"], status="active").count() == 2
    ended["roles"].pop()
    sync = trip.go(pull(trip, tmp_path / "two.zip", collections, "1.2"))
    assert sync.removed == 1
    assert Role.objects.filter(user__sourced_id=ended["sourcedId"], status="active").count() == 1


def test_half_a_pull_is_rejected_and_changes_nothing(trip: Trip, tmp_path: Path) -> None:
    tables = district("1.1")
    trip.go(pull(trip, tmp_path / "pull.zip", records(tables), "1.1"))
    path = pulled(tmp_path / "half.zip", records(tables), size=20, change=lambda pull, pages: pages.popitem() and None)
    sync = syncs.receive(trip.district, path, origin=Delivery.Origin.REST, name=path.name)
    done = syncs.prepare(sync.pk)
    assert done is not None
    assert done.status == "rejected"
    assert [finding.code for finding in done.findings.filter(severity="fatal")] == ["OR-REST-001"]
    trip.verify()
