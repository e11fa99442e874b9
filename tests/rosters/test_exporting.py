"""The live roster as files: importing them changes nothing, in either version, with everything a roster can have."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client as Browser
from django.utils import timezone

from rosters import exporting, making, syncs
from rosters.api import scopes
from rosters.api.models import Client
from rosters.models import AuditEvent
from tests.journeys.trip import Trip
from tests.tools import tool

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User as Staff

pytestmark = [pytest.mark.django_db, pytest.mark.alike]


@pytest.fixture
def trip(data_dir: Path, tmp_path: Path, alice: Staff) -> Trip:
    return Trip(tmp_path, alice)


def everything(version: str) -> making.Tables:
    """With columns of the district's own, odd names and all, and people who are two things at two schools."""
    made = making.make_roster(users=150, seed=6, today=timezone.localdate(), name="Cedar Grove", version=version)
    nth = pl.int_range(pl.len())
    odd = pl.when(nth % 3 == 0).then(pl.lit('say "hi", {"a":"b"}\\ é')).otherwise(pl.lit(""))
    tables = {
        **made,
        "users": made["users"].with_columns(
            pl.format("bus {}", nth % 7).alias("metadata.bus"), odd.alias("metadata.an odd.name-é")
        ),
        "orgs": made["orgs"].with_columns(odd.alias("metadata.note")),
    }
    schools = made["orgs"].filter(pl.col("type") == "school")["sourcedId"]
    if version == "1.2":
        second = made["roles"].head(4).with_columns(
            pl.format("second-{}", nth).alias("sourcedId"), roleType=pl.lit("secondary"), role=pl.lit("counselor"),
            orgSourcedId=pl.lit(schools[-1]),
        )  # fmt: skip
        tables["roles"] = pl.concat([made["roles"], second])
    else:
        both = pl.when(nth % 5 == 0).then(pl.lit(f"{schools[0]},{schools[-1]}")).otherwise(pl.col("orgSourcedIds"))
        tables["users"] = tables["users"].with_columns(both.alias("orgSourcedIds"))
    return tables


def content_of(answer: Any) -> bytes:
    return b"".join(answer.streaming_content)


def exported(trip: Trip, version: str) -> Path:
    path = trip.folder / f"export-{version}.zip"
    call_command("export_roster", "1001", str(path), "--oneroster", version, verbosity=0)
    return path


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_importing_what_was_exported_changes_nothing(trip: Trip, version: str) -> None:
    trip.go(trip.send(everything(version), version))
    path = exported(trip, version)
    again = trip.send_file(path)
    assert again.status == "unchanged", (again.verdict, list(again.findings.values("code", "file", "column")))
    assert again.errors == 0
    assert path.read_bytes() == exported(trip, version).read_bytes(), "the same roster gives the same bytes"
    with zipfile.ZipFile(path) as archive:
        assert "password" in archive.read("users.csv").decode().splitlines()[0]
        assert f"oneroster.version,{version}" in archive.read("manifest.csv").decode()


def test_what_came_as_1_2_can_be_read_as_1_1(trip: Trip) -> None:
    trip.go(trip.send(everything("1.2"), "1.2"))
    other = Trip(trip.folder, trip.by, name="Maple", site_code="1002")
    sync = other.send_file(exported(trip, "1.1"))
    assert (sync.status, sync.errors) == ("awaiting_review", 0), list(sync.findings.values("code", "file", "column"))
    other.go(sync)
    assert trip.district.snapshot and other.district.snapshot
    people = trip.district.snapshot.tables["users"]["rows"]
    assert other.district.snapshot.tables["users"]["rows"] == people


def test_an_earlier_roster_is_exported_as_it_was(trip: Trip) -> None:
    tables = making.make_roster(users=80, seed=6, today=timezone.localdate(), name="Cedar Grove")
    first = trip.go(trip.send(tables))
    trip.go(trip.send(making.next_day(tables, change=0.2, seed=3)[0]))
    path = trip.folder / "then.zip"
    call_command("export_roster", "1001", str(path), "--sync", str(first.pk), verbosity=0)
    with zipfile.ZipFile(path) as archive:
        rows = pl.read_csv(io.BytesIO(archive.read("users.csv")), infer_schema=False)
    assert len(rows) == len(tables["users"])
    with pytest.raises(CommandError, match="was not applied"):
        call_command("export_roster", "1001", str(path), "--sync", "999999")


def test_a_tool_exports_what_its_scopes_open(trip: Trip) -> None:
    trip.go(trip.send(everything("1.2"), "1.2"))

    whole = tool(trip.district, only=tuple(scopes.STANDARD), name="whole")
    answer = whole.get("/api/v1/districts/1001/export", {"oneroster": "1.2"})
    content = content_of(answer)
    assert content == exported(trip, "1.2").read_bytes()
    known = whole.get("/api/v1/districts/1001/export", {"oneroster": "1.2"}, headers={"If-None-Match": answer["ETag"]})
    assert known.status_code == 304
    less = tool(trip.district, only=(scopes.V1P2 + scopes.ROSTER,)).get(
        "/api/v1/districts/1001/export", {"oneroster": "1.2"}
    )
    with zipfile.ZipFile(io.BytesIO(content_of(less))) as archive:
        assert "demographics.csv" not in archive.namelist() and "users.csv" in archive.namelist()
    assert AuditEvent.objects.filter(action="roster.exported", district=trip.district).count() == 2
    assert (
        tool(trip.district, only=(scopes.SYNCS_READ, scopes.CHANGES_READ))
        .get("/api/v1/districts/1001/export")
        .status_code
        == 403
    )
    assert whole.get("/api/v1/districts/1001/export", {"oneroster": "1.0"}).status_code == 400
    empty = Trip(trip.folder, trip.by, name="Maple", site_code="1002").district
    Client.objects.get(name="whole").districts.add(empty)
    assert whole.get("/api/v1/districts/1002/export").json()["code"] == "nothing-live"


def test_staff_who_may_decide_have_a_button(trip: Trip, make_staff: Callable[[str, str], Staff]) -> None:
    trip.go(trip.send(everything("1.1")))
    address = f"/admin/rosters/district/{trip.district.pk}/export/"
    for group, status in (("viewer", 403), ("reviewer", 200)):
        browser = Browser()
        browser.force_login(make_staff(group, group))
        page = browser.get(f"/admin/rosters/district/{trip.district.pk}/change/").content.decode()
        assert (address in page) == (status == 200)
        answer = browser.get(address, {"oneroster": "1.1"})
        assert answer.status_code == status
        if status == 200:
            assert content_of(answer) == exported(trip, "1.1").read_bytes()


def test_a_metadata_key_is_found_whatever_the_values_say() -> None:
    kept = ['{"a":"x\\",\\"b\\":\\"y","c d":"1"}', "", '{"q\\"q":"\\\\"}']
    rows = pl.LazyFrame({"metadata": kept})
    told = rows.select(exporting._metadata(rows)).collect()
    assert told.columns == ["metadata.a", "metadata.c d", 'metadata.q"q']
    assert told.rows() == [('x","b":"y', "1", ""), ("", "", ""), ("", "", "\\")]
    assert syncs.store() is not None
