"""`manage.py make_district`: zips, later days beside them, and what is different."""

from __future__ import annotations

import json
import zipfile
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from rosters.frames import CheckOptions
from rosters.reading import read
from rosters.validating import check


def make(out: Path, *options: str) -> None:
    call_command("make_district", str(out), "--users", "60", "--today", "2026-11-24", *options, verbosity=0)


def ids(path: Path, table: str) -> set[str]:
    return set(read(path).tables[table].frame["sourcedId"])


def differences(path: Path) -> Any:
    return json.loads(path.read_text())


def test_a_district_becomes_a_zip_that_checks_clean(tmp_path: Path) -> None:
    make(tmp_path / "d.zip")
    checked = check(read(tmp_path / "d.zip"), options=CheckOptions(today=date(2026, 11, 24)))
    assert checked.findings.count("fatal", "error", "warning") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.zip"]


def test_the_same_arguments_give_the_same_file(tmp_path: Path) -> None:
    make(tmp_path / "one.zip")
    make(tmp_path / "two.zip")
    make(tmp_path / "other.zip", "--seed", "2")
    one, two, other = ((tmp_path / f"{name}.zip").read_bytes() for name in ("one", "two", "other"))
    assert one == two != other


def test_days_stand_beside_it_with_what_is_different(tmp_path: Path) -> None:
    make(tmp_path / "d.zip", "--days", "3", "--change", "0.05")
    names = {"d.zip", "d-day2.zip", "d-day2.json", "d-day3.zip", "d-day3.json"}
    assert {path.name for path in tmp_path.iterdir()} == names
    days = [tmp_path / name for name in ("d.zip", "d-day2.zip", "d-day3.zip")]
    for before, after in pairwise(days):
        users = differences(after.with_suffix(".json"))["users"]
        assert set(users["added"]["ids"]) == ids(after, "users") - ids(before, "users")
        assert set(users["removed"]["ids"]) == ids(before, "users") - ids(after, "users")
        assert users["updated"]["count"] == len(users["updated"]["ids"]) > 0


def test_a_rollover_stands_beside_it(tmp_path: Path) -> None:
    make(tmp_path / "d.zip", "--rollover")
    told = differences(tmp_path / "d-rollover.json")
    assert told["classes"]["removed"]["count"] == len(ids(tmp_path / "d.zip", "classes"))
    assert set(told["classes"]["added"]["ids"]) == ids(tmp_path / "d-rollover.zip", "classes")


def test_it_speaks_1_2_as_well(tmp_path: Path) -> None:
    make(tmp_path / "d.zip", "--version", "1.2")
    with zipfile.ZipFile(tmp_path / "d.zip") as archive:
        assert "roles.csv" in archive.namelist()
        assert "oneroster.version,1.2" in archive.read("manifest.csv").decode()


def test_a_folder_is_made_for_it_and_where_none_can_be_that_is_said(tmp_path: Path) -> None:
    make(tmp_path / "new" / "folder" / "d.zip", "--users", "40")
    assert (tmp_path / "new" / "folder" / "d.zip").stat().st_size
    with pytest.raises(CommandError, match="cannot be written"):
        make(tmp_path / "new" / "folder" / "d.zip" / "d.zip", "--users", "40")


def test_too_few_people_are_a_clear_message(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="at least 40 people"):
        make(tmp_path / "d.zip", "--users", "5")
    with pytest.raises(CommandError, match="YYYY-MM-DD"):
        make(tmp_path / "d.zip", "--today", "24.11.2026")


def test_the_last_day_from_another_sis_stands_beside_it(tmp_path: Path) -> None:
    make(tmp_path / "d.zip", "--days", "2", "--new-ids")
    before, after = ids(tmp_path / "d-day2.zip", "users"), ids(tmp_path / "d-new-ids.zip", "users")
    assert len(before) == len(after) and not before & after
