"""What breaks the standard but can mean one thing only is reported and used; and each fault is reported once."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from rosters.findings import Finding
from rosters.frames import Checked, CheckOptions
from rosters.reading import read
from rosters.validating import check
from tests.rosters.reading.sets import manifest, packed, table

MODIFIED = "2026-09-01T00:00:00.000Z"


def session(name: str, year: str, status: str = "", parent: str = "") -> tuple[str, ...]:
    return (name, status, MODIFIED if status else "", name, "term", "2026-08-15", "2027-06-10", parent, year)


def sessions_set(tmp_path: Path, *rows: tuple[str, ...], mode: str = "bulk") -> Checked:
    files = {
        "manifest.csv": manifest("academicSessions", mode=mode),
        "academicSessions.csv": table("academicSessions", *rows),
    }
    return check(read(packed(tmp_path / "set.zip", files)), options=CheckOptions(today=date(2026, 11, 24)))


def of(checked: Checked, code: str) -> list[Finding]:
    return [finding for finding in checked.findings if finding.code == f"OR-CSV-{code}"]


@pytest.mark.parametrize("written", ["2026-2027", "2026-27", "2026/2027", " 2026 - 27"])
def test_a_school_year_of_two_years_is_its_closing_one(tmp_path: Path, written: str) -> None:
    checked = sessions_set(tmp_path, session("s1", written), session("s2", "2027"))
    (finding,) = of(checked, "105")
    assert (finding.severity, finding.count, finding.effect) == ("error", 1, "none")
    assert finding.places.rows() == [(2, written)]
    assert "read as 2027" in finding.message
    assert checked.tables["academicSessions"].frame["schoolYear"].to_list() == ["2027", "2027"]
    assert not of(checked, "206")


@pytest.mark.parametrize("written", ["2026-2028", "26-27", "2026-2026", "2027 or so", "SY2027"])
def test_a_school_year_that_is_not_certain_costs_the_row(tmp_path: Path, written: str) -> None:
    checked = sessions_set(tmp_path, session("s1", written), session("s2", "2027"))
    (finding,) = of(checked, "105")
    assert finding.effect == "row"
    assert checked.tables["academicSessions"].quarantined["sourcedId"].to_list() == ["s1"]


def test_inactive_is_read_as_tobedeleted(tmp_path: Path) -> None:
    checked = sessions_set(tmp_path, session("s1", "2027", "inactive"), session("s2", "2027", "active"), mode="delta")
    (finding,) = of(checked, "086")
    assert (finding.severity, finding.effect) == ("warning", "none")  # 1.1 still knew the word
    assert checked.tables["academicSessions"].frame["status"].to_list() == ["tobedeleted", "active"]


def test_changes_alone_are_no_error_but_cannot_be_the_first_delivery(tmp_path: Path) -> None:
    checked = sessions_set(tmp_path, session("s1", "2027", "active"), mode="delta")
    assert {finding.severity for finding in of(checked, "015")} == {"warning"}
    assert checked.findings.count("fatal", "error") == 0
    missing = "classes.csv, courses.csv, enrollments.csv, orgs.csv and users.csv are missing."
    assert [words for _, words in checked.rejections] == [missing]


def test_a_reference_to_a_row_that_is_set_aside_is_reported_once_and_not_as_a_near_miss(tmp_path: Path) -> None:
    checked = sessions_set(
        tmp_path, session("s1", "no year"), session("s2", "2027", parent="s1"), session("s3", "2027", parent="S2")
    )
    used, near = of(checked, "163"), of(checked, "184")
    assert sorted((f.detail != "", f.places["line"].to_list()) for f in used) == [(False, [4]), (True, [3])]
    assert [f.places.rows() for f in near] == [[(4, "S2")]]
    assert checked.tables["academicSessions"].frame["parentSourcedId"].to_list() == ["", ""]
