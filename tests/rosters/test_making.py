"""Made-up districts: clean by every rule, the same again for the same seed, different from day to day as they say."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from rosters import making
from rosters.findings import Findings
from rosters.frames import CheckOptions
from rosters.oneroster import VERSIONS
from rosters.reading import read
from rosters.validating import check

TODAY = date(2026, 11, 24)
NEXT_YEAR = date(2027, 11, 24)


def district(users: int = 400, *, seed: int = 1, version: str = "1.1", today: date = TODAY) -> making.Tables:
    return making.make_roster(users=users, seed=seed, today=today, version=version)


def findings(folder: Path, tables: making.Tables, version: str, today: date = TODAY) -> Findings:
    """What the real check says about these tables as a zip."""
    path = folder / "district.zip"
    making.write_zip(path, tables, version=version)
    checked = check(read(path), options=CheckOptions(today=today))
    assert not checked.rejections
    return checked.findings


def faults(found: Findings) -> list[str]:
    return [f"{f.code} {f.file} {f.count}" for f in found if f.severity != "info"]


# -- a district


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("users", [making.SMALLEST, 60, 400, 3000])
def test_a_district_of_any_size_is_clean_by_every_rule(tmp_path: Path, users: int, version: str) -> None:
    assert faults(findings(tmp_path, district(users, version=version), version)) == []


@pytest.mark.parametrize("today", [date(2026, 7, 1), date(2026, 12, 31), date(2027, 2, 28), date(2027, 6, 30)])
def test_every_day_of_the_year_lies_in_a_term_that_classes_use(tmp_path: Path, today: date) -> None:
    assert faults(findings(tmp_path, district(today=today), "1.1", today)) == []


def test_it_has_exactly_the_people_that_were_asked_for_and_seven_enrollments_each() -> None:
    tables = district(10_000)
    assert len(tables["users"]) == 10_000
    assert 6.5 < len(tables["enrollments"]) / 10_000 < 7.5
    assert 0.85 < len(tables["demographics"]) / 10_000 < 0.95


def test_too_few_people_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 40 people"):
        district(making.SMALLEST - 1)


def test_the_same_seed_makes_the_same_district_again() -> None:
    once, again, other = district(seed=1), district(seed=1), district(seed=2)
    assert all(once[table].equals(again[table]) for table in once)
    assert not set(once["users"]["sourcedId"]) & set(other["users"]["sourcedId"])


def test_two_districts_share_no_id_in_any_file() -> None:
    one = making.make_roster(users=60, seed=1, today=TODAY, name="Cedar Grove Schools")
    two = making.make_roster(users=60, seed=1, today=TODAY, name="Harbor City Schools")
    assert not [table for table in one if set(one[table]["sourcedId"]) & set(two[table]["sourcedId"])]


def test_it_is_like_a_real_one() -> None:
    tables = district(3000)
    users, enrollments = tables["users"], tables["enrollments"]
    assert set(users["role"]) == {"student", "teacher", "administrator", "parent", "guardian"}
    assert set(users.filter(role="student")["grades"]) == set(making.GRADES)
    assert users["username"].is_unique().all()
    assert users["agentSourcedIds"].str.contains(",").any(), "some pupils name two contacts"
    assert users["orgSourcedIds"].str.contains(",").any(), "some teachers belong to two schools"
    assert users["familyName"].str.contains("'").any()
    assert users["givenName"].str.contains("é").any()
    second = enrollments.filter(role="teacher", primary="false")
    assert 0 < len(second) < len(tables["classes"]) / 10, "some classes have a second teacher"
    assert set(tables["classes"]["classType"]) == {"homeroom", "scheduled"}


def test_pupils_go_to_schools_of_their_grade() -> None:
    tables = district(3000)
    pupils = tables["users"].filter(role="student").join(
        tables["orgs"], left_on="orgSourcedIds", right_on="sourcedId"
    )  # fmt: skip
    levels = {"Elementary": making.GRADES[:6], "Middle": making.GRADES[6:9], "High": making.GRADES[9:]}
    for level, grades in levels.items():
        assert set(pupils.filter(pl.col("name").str.contains(level))["grades"]) == set(grades)


def test_pupils_keep_changing_company_in_classes_of_equal_size() -> None:
    enrollments = district(3000)["enrollments"].filter(role="student")
    sizes = enrollments.group_by("classSourcedId").len()["len"]
    assert sizes.max() <= making.CLASS_SIZE  # type: ignore[operator]
    one = enrollments["userSourcedId"][-1]
    classes = enrollments.filter(userSourcedId=one)["classSourcedId"]
    mates = [set(enrollments.filter(classSourcedId=number)["userSourcedId"]) for number in classes]
    assert len(set.intersection(*mates)) < min(map(len, mates))


# -- days


def by_hand(before: Mapping[str, pl.DataFrame], after: Mapping[str, pl.DataFrame]) -> making.Differences:
    """The differences, found with dictionaries."""
    found = {}
    for table in before:
        old, new = ({row["sourcedId"]: row for row in tables[table].to_dicts()} for tables in (before, after))
        kinds = {
            "added": sorted(new.keys() - old.keys()),
            "updated": sorted(key for key in new.keys() & old.keys() if new[key] != old[key]),
            "removed": sorted(old.keys() - new.keys()),
        }
        if any(kinds.values()):
            found[table] = kinds
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("users", [making.SMALLEST, 2000])
def test_the_next_days_are_clean_and_their_differences_true(tmp_path: Path, users: int, version: str) -> None:
    tables = district(users, version=version)
    for day in range(4):
        before = tables
        tables, told = making.next_day(before, change=0.02, seed=day)
        assert told == by_hand(before, tables)
        assert faults(findings(tmp_path, tables, version)) == []


def test_a_day_brings_people_moves_them_and_takes_them() -> None:
    _, told = making.next_day(district(3000), change=0.01, seed=1)
    assert {table: {kind: bool(ids) for kind, ids in kinds.items()} for table, kinds in told.items()} == {
        "classes": {"added": False, "updated": True, "removed": False},
        "demographics": {"added": True, "updated": False, "removed": True},
        "enrollments": {"added": True, "updated": True, "removed": True},
        "users": {"added": True, "updated": True, "removed": True},
    }


def test_about_the_share_that_was_asked_for_is_different() -> None:
    tables = district(10_000)
    _, told = making.next_day(tables, change=0.01, seed=1)
    different = sum(len(ids) for kinds in told.values() for ids in kinds.values())
    assert 0.005 < different / sum(map(len, tables.values())) < 0.02


@pytest.mark.parametrize("version", VERSIONS)
def test_a_new_school_year_is_clean_when_it_has_begun(tmp_path: Path, version: str) -> None:
    before = district(1000, version=version)
    after, told = making.rollover(before, seed=1)
    assert told == by_hand(before, after)
    assert faults(findings(tmp_path, after, version, NEXT_YEAR)) == []


def test_in_a_new_school_year_pupils_are_a_grade_higher_and_all_classes_new() -> None:
    before = district(1000)
    after, told = making.rollover(before, seed=1)
    for table in ("academicSessions", "classes", "enrollments"):
        assert len(told[table]["removed"]) == len(before[table])
        assert len(told[table]["added"]) == len(after[table])
    assert told["courses"]["added"] == told["courses"]["removed"] == []
    grade = dict(before["users"].filter(role="student").select("sourcedId", "grades").iter_rows())
    later = dict(after["users"].filter(role="student").select("sourcedId", "grades").iter_rows())
    assert all(
        making.GRADES.index(later[pupil]) == making.GRADES.index(grade[pupil]) + 1
        for pupil in grade.keys() & later.keys()
    )
    assert {grade[pupil] for pupil in grade.keys() - later.keys()} == {"12"}
    assert {later[pupil] for pupil in later.keys() - grade.keys()} == {"KG"}
    assert len(later) == len(grade)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_forgotten_school_takes_everything_of_it_along_and_breaks_nothing_else(
    tmp_path: Path, version: str, index: int
) -> None:
    before = district(400, version=version)
    after = making.without_school(before, index)
    school = before["orgs"].filter(type="school")["sourcedId"][index]
    assert faults(findings(tmp_path, after, version)) == []
    assert not any(
        frame.select(pl.any_horizontal(pl.all().str.contains(school))).to_series().any() for frame in after.values()
    )
    assert len(after["orgs"]) == len(before["orgs"]) - 1
    assert set(after["users"]["sourcedId"]) < set(before["users"]["sourcedId"])


# -- files


def test_the_same_tables_give_the_same_bytes(tmp_path: Path) -> None:
    paths = tmp_path / "one.zip", tmp_path / "two.zip"
    for path in paths:
        making.write_zip(path, district(60), version="1.1")
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_zip_reads_as_it_was_written(tmp_path: Path, version: str) -> None:
    tables = district(60, version=version)
    making.write_zip(tmp_path / "district.zip", tables, version=version)
    delivered = read(tmp_path / "district.zip")
    assert delivered.version == version
    assert delivered.tables.keys() == tables.keys()
    for name, table in delivered.tables.items():
        assert table.frame.drop("line").equals(tables[name])


def test_empty_cells_are_empty_and_lines_end_as_the_standard_asks(tmp_path: Path) -> None:
    making.write_zip(tmp_path / "district.zip", district(60), version="1.1")
    with zipfile.ZipFile(tmp_path / "district.zip") as archive:
        text = archive.read("orgs.csv").decode()
    assert '""' not in text
    assert text.count("\r\n") == text.count("\n") == 5
