"""What is set aside is never taken for gone, and what leads nowhere is never taken for a record."""

from __future__ import annotations

import polars as pl
import pytest

from rosters.frames import CheckOptions
from rosters.normalising import target
from rosters.validating import check
from tests.rosters.test_rules import (
    LEARNT,
    OLD,
    SCHOOL,
    STUDENT,
    TODAY,
    Tables,
    again,
    codes,
    delivered,
    judged,
    put,
)

#: What spreadsheets and forms make of an id.
BROKEN_IDS = ["1.23E+12", "a b", "#REF!", "é1", "x" * 300]


@pytest.mark.parametrize("broken", BROKEN_IDS)
def test_a_row_with_a_broken_id_may_be_about_anybody_so_nobody_is_removed(broken: str) -> None:
    accepted = target(judged(OLD), {})
    student = OLD["users"]["sourcedId"][STUDENT]
    checked = judged(put("users", "sourcedId", broken, STUDENT)(dict(OLD)) or OLD, base=accepted)
    assert checked.tables["users"].quarantined["sourcedId"].to_list() == [broken]
    assert checked.tables["users"].nameless == 1
    after = target(checked, accepted)
    assert student in after["users"]["sourcedId"]
    assert after["roles"].sort("sourcedId").equals(accepted["roles"].sort("sourcedId"))


def test_a_row_with_a_good_id_that_is_set_aside_is_no_stranger() -> None:
    accepted = target(judged(OLD), {})
    checked = judged(put("users", "givenName", "", STUDENT)(dict(OLD)) or OLD, base=accepted)
    assert len(checked.tables["users"].quarantined) == 1
    assert checked.tables["users"].nameless == 0


def test_a_blank_id_does_not_become_the_parent_of_whatever_has_none() -> None:
    blank: Tables = again("orgs", sourcedId="", name="Nobody")(dict(OLD)) or OLD
    checked = judged(blank)
    assert {f.code for f in checked.findings if f.severity == "error"} == {"OR-CSV-100"}
    assert not len(checked.tables["orgs"].dropped)
    assert checked.tables["orgs"].frame["parentSourcedId"][SCHOOL] == OLD["orgs"]["parentSourcedId"][SCHOOL]


@pytest.mark.parametrize("date", ["2026- 1-01", "2026-1- 01", "+026-01-01", " 026-01-01", "2026-\t1-01"])
def test_a_date_is_ten_characters_of_digits_and_hyphens(date: str) -> None:
    checked = judged(put("enrollments", "beginDate", date)(dict(OLD)) or OLD)
    (found,) = [f for f in checked.findings if f.code == "OR-CSV-103"]
    assert (found.count, found.effect, found.places.rows()) == (1, "value", [(2, date)])
    assert checked.tables["enrollments"].frame["beginDate"][0] == ""


def test_digits_of_other_scripts_are_no_year() -> None:
    checked = judged(put("academicSessions", "schoolYear", "２０２７")(dict(OLD)) or OLD)
    assert "OR-CSV-105" in {f.code for f in checked.findings}
    assert checked.tables["academicSessions"].frame.filter(pl.col("schoolYear") == "２０２７").is_empty()


def _without(who: str) -> Tables:
    return {**OLD, "users": OLD["users"].filter(pl.col("sourcedId") != who)}


def test_what_a_complete_file_leaves_out_is_no_target_though_it_was_accepted() -> None:
    accepted = target(judged(OLD), {})
    who = OLD["enrollments"]["userSourcedId"][LEARNT]
    links = OLD["enrollments"].filter(pl.col("userSourcedId") == who)["sourcedId"]
    first, later = judged(_without(who)), judged(_without(who), base=accepted)
    for checked in (first, later):
        (found,) = [f for f in checked.findings if f.code == "OR-CSV-174"]
        assert (found.count, found.effect) == (len(links), "row")
        assert set(checked.tables["enrollments"].quarantined["sourcedId"]) == set(links)
    after = target(later, accepted)
    assert set(after["enrollments"]["userSourcedId"]) <= set(after["users"]["sourcedId"])


def test_what_was_accepted_stays_a_target_where_the_delivery_does_not_speak_of_it() -> None:
    accepted = target(judged(OLD), {})
    who = OLD["enrollments"]["userSourcedId"][LEARNT]
    absent = {name: frame for name, frame in OLD.items() if name != "users"}
    assert "OR-CSV-174" not in codes(judged(absent, base=accepted))
    changes = {**_without(who), "users": OLD["users"].head(0)}
    assert "OR-CSV-174" not in codes(judged(changes, modes={"users": "delta"}, base=accepted))
    unread = delivered(_without(who))
    lines = {"line": [2], "sourcedId": [who]}
    unread.tables["users"].unread = pl.DataFrame(lines, schema={"line": pl.UInt32, "sourcedId": pl.String})
    assert "OR-CSV-174" not in codes(check(unread, base=accepted, options=CheckOptions(today=TODAY)))
    unread.tables["users"].unread = pl.DataFrame(
        {**lines, "sourcedId": [None]}, schema=unread.tables["users"].unread.schema
    )
    assert "OR-CSV-174" not in codes(check(unread, base=accepted, options=CheckOptions(today=TODAY)))


@pytest.mark.parametrize("row", [0, 3])
def test_a_check_changes_no_reference_whether_it_leads_somewhere_or_nowhere(row: int) -> None:
    """Those that lead somewhere are told by the text of the record; nobody may see that."""
    tables = put("enrollments", "userSourcedId", "nobody", row)(dict(OLD))
    assert tables
    sent = delivered(tables)
    before = {name: table.frame.clone() for name, table in sent.tables.items()}
    checked = check(sent, options=CheckOptions(today=TODAY))
    assert [f.places.rows() for f in checked.findings if f.code == "OR-CSV-174"] == [[(row + 2, "nobody")]]
    for name, frame in before.items():
        assert sent.tables[name].frame.equals(frame), name
    usable = before["enrollments"].filter(pl.col("userSourcedId") != "nobody")
    assert checked.tables["enrollments"].frame.equals(usable)
