"""`manage.py bench_roster`: what it compares with is a fair importer, and its verdicts follow from its numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from rosters import making
from rosters.management.benchmarks import districts, limits, ours, plain, report


@pytest.fixture
def zips(tmp_path: Path) -> Path:
    districts.make_zips(tmp_path, 60)
    return tmp_path


@pytest.fixture
def plain_tables(transactional_db: None) -> Iterator[None]:
    plain.create_tables()
    yield
    with connection.schema_editor() as editor:
        for model in reversed(plain.MODELS.values()):
            editor.delete_model(model)


@pytest.fixture
def bare_tables(transactional_db: None) -> Iterator[None]:
    yield
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            if table.startswith("bare_"):
                cursor.execute(f'DROP TABLE "{table}"')


# -- what is compared with


def test_the_plain_importer_makes_its_tables_equal_to_the_zip(zips: Path, plain_tables: None) -> None:
    first = plain.load(zips / "base.zip", district=1)
    assert {table: counts[0] for table, counts in first.items()} == {
        table: model.objects.count() for table, model in plain.MODELS.items()
    }
    again = plain.load(zips / "reordered.zip", district=1)
    assert set(again.values()) == {(0, 0, 0)}


def test_the_plain_importer_finds_the_differences_that_were_made(zips: Path, plain_tables: None) -> None:
    before = making.make_roster(users=60, seed=1, today=districts.DAY)
    _, told = making.next_day(before, change=districts.CHANGE, seed=1)
    plain.load(zips / "base.zip", district=1)
    found = plain.load(zips / "changed.zip", district=1)
    assert {table: counts for table, counts in found.items() if any(counts)} == {
        table: tuple(len(kinds[kind]) for kind in ("added", "updated", "removed")) for table, kinds in told.items()
    }


def test_the_plain_importer_keeps_districts_apart(zips: Path, plain_tables: None) -> None:
    plain.load(zips / "base.zip", district=1)
    plain.load(zips / "other.zip", district=2)
    assert plain.MODELS["users"].objects.filter(district=1).count() == 60
    assert plain.MODELS["users"].objects.count() == 120


def test_the_plain_importer_refuses_what_is_wrong(tmp_path: Path, plain_tables: None) -> None:
    tables = making.make_roster(users=60, seed=1, today=districts.DAY)
    making.write_zip(tmp_path / "broken.zip", tables | {"users": tables["users"].head(50)})
    with pytest.raises(ValueError, match="sourcedId leads nowhere"):
        plain.load(tmp_path / "broken.zip", district=1)
    assert not plain.MODELS["orgs"].objects.exists()


def test_the_bare_insert_writes_every_row(zips: Path, bare_tables: None) -> None:
    limits.insert(zips / "base.zip")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM bare_users")
        assert cursor.fetchone() == (60,)


def test_our_trip_is_measured_as_a_worker_makes_it(zips: Path, data_dir: Path, transactional_db: None) -> None:
    first = ours.load(zips / "base.zip", site_code="1")
    assert first["status"] == "applied"
    assert 0 < first["prepare"] < first["total"]
    assert ours.load(zips / "base.zip", site_code="1")["status"] == "unchanged"
    assert ours.load(zips / "reordered.zip", site_code="1")["status"] == "unchanged"
    rollover = ours.load(zips / "rollover.zip", site_code="1")
    pages = ours.pages(sync_id=rollover["sync"])
    assert pages["rows"] > 800
    assert set(report.PAGES) <= pages.keys()


# -- what is said of it


def measured(**sides: float) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """One round on SQLite of the first load."""
    return {("sqlite", "first", side): [{"total": total, "peak": 100.0}] for side, total in sides.items()}


def verdicts(found: report.Measured, users: int = 100_000) -> dict[str, bool]:
    return {f"{line.what}, {line.target}": line.passed for line in report.lines(found, users)}


def test_a_target_of_times_faster_is_met_or_missed() -> None:
    assert verdicts(measured(ours=1, plain=10))["first load, >= 10x"]
    assert not verdicts(measured(ours=1, plain=9.9))["first load, >= 10x"]


def test_a_target_of_times_as_long_is_met_or_missed() -> None:
    assert verdicts(measured(ours=2, limit=1))["first load, <= 2x"]
    assert not verdicts(measured(ours=2.1, limit=1))["first load, <= 2x"]


def test_what_was_not_measured_is_not_judged() -> None:
    assert verdicts(measured(plain=1, limit=1)) == {}


def test_medians_count() -> None:
    found = measured(ours=1, plain=10)
    found["sqlite", "first", "ours"] += [{"total": 50, "peak": 900.0}, {"total": 0.9, "peak": 100.0}]
    assert verdicts(found) == {"first load, >= 10x": True, "peak memory (first), <= 700 MB": True}


def test_a_larger_district_may_take_more_memory() -> None:
    found = measured(ours=1)
    found["sqlite", "first", "ours"][0]["peak"] = 1000.0
    assert verdicts(found, users=100_000) == {"peak memory (first), <= 700 MB": False}
    assert verdicts(found, users=600_000) == {"peak memory (first), <= 1600 MB": True}


def test_every_case_has_a_target_and_every_target_a_case() -> None:
    assert {target.case for target in report.TARGETS} == {case.name for case in report.CASES}
    assert {case.limit for case in report.CASES if case.limit} == set(report.LIMITS)


def test_the_whole_bench_runs_on_a_small_district(tmp_path: Path) -> None:
    out = StringIO()
    call_command(
        "bench_roster", users=60, rounds=1, only=["unchanged"], databases=["sqlite"], stdout=out, stderr=StringIO(),
        json=tmp_path / "bench.json", markdown=tmp_path / "bench.md",
    )  # fmt: skip
    assert "the same zip again" in out.getvalue()
    assert "| sqlite | first load |" in (tmp_path / "bench.md").read_text()
    every = json.loads((tmp_path / "bench.json").read_text())["measured"]
    assert len(every["sqlite / unchanged / ours"]) == 1
    assert every["sqlite / unchanged / ours"][0]["status"] == "unchanged"
