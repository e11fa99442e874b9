"""One fault is told once: what only follows from it is not reported as a second one, and names the cause."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from rosters.frames import LINE, CheckOptions
from rosters.normalising import target
from rosters.validating import check
from tests.rosters.test_rules import (
    DISTRICT,
    LEARNT,
    NEW,
    OLD,
    SCHOOL,
    STUDENT,
    TERM_ROW,
    TODAY,
    YEAR_ROW,
    Edit,
    Tables,
    codes,
    delivered,
    every,
    judged,
    put,
    where,
)
from tests.rosters.validating.test_semantics import edited, places

UNREAD = pl.DataFrame({LINE: [2], "sourcedId": ["x"]}, schema={LINE: pl.UInt32, "sourcedId": pl.String})
DATED = {"dateLastModified": "2026-11-20T10:00:00.000Z"}
PUPIL = NEW["roles"].filter(pl.col("role") == "student")["userSourcedId"][0]
CLASS_ROW = OLD["classes"]["sourcedId"].to_list().index(OLD["enrollments"]["classSourcedId"][LEARNT])


def only_term(tables: Tables) -> Tables:
    """Every class in one term, and no other term but the school year."""
    term = tables["academicSessions"]["sourcedId"][TERM_ROW]
    terms = tables["academicSessions"][[YEAR_ROW, TERM_ROW]]
    return every("classes", "termSourcedIds", term)({**tables, "academicSessions": terms}) or tables


@pytest.mark.parametrize(
    ("cause", "edit", "silent"),
    [
        ("OR-CSV-103", put("enrollments", "beginDate", "9/1/23", LEARNT), {"OR-CSV-117"}),
        ("OR-CSV-103", put("academicSessions", "startDate", "9/1/23", TERM_ROW), {"OR-CSV-116", "OR-CSV-221"}),
        ("OR-CSV-130", put("academicSessions", "type", "trimester", TERM_ROW), {"OR-CSV-221", "OR-CSV-268"}),
        ("OR-CSV-100", put("academicSessions", "schoolYear", "", TERM_ROW), {"OR-CSV-206", "OR-CSV-221", "OR-CSV-268"}),
        ("OR-CSV-105", put("academicSessions", "schoolYear", "27", YEAR_ROW), {"OR-CSV-206"}),
        ("OR-CSV-168", put("classes", "schoolSourcedId", "nowhere", CLASS_ROW), {"OR-CSV-215"}),
        ("OR-CSV-208", put("classes", "schoolSourcedId", DISTRICT, CLASS_ROW), {"OR-CSV-215"}),
        ("OR-CSV-173", put("enrollments", "schoolSourcedId", "nowhere", LEARNT), {"OR-CSV-215", "OR-CSV-216"}),
        ("OR-CSV-132", put("orgs", "type", "campus", SCHOOL), {"OR-CSV-216"}),
        ("OR-CSV-170", put("users", "orgSourcedIds", "nowhere", STUDENT), {"OR-CSV-216"}),
    ],
)
def test_what_follows_is_not_a_second_fault(cause: str, edit: Edit, silent: set[str]) -> None:
    found = codes(judged(edited(edit)))
    assert cause in found
    assert not silent & found


def test_no_term_is_running_is_not_said_where_one_cannot_be_read() -> None:
    alone = only_term(dict(OLD))
    future = edited(put("academicSessions", "startDate", TODAY.replace(year=2027).isoformat(), 1), of=alone)
    assert "OR-CSV-268" in codes(judged(future))
    assert "OR-CSV-268" not in codes(judged(edited(put("academicSessions", "title", "", 1), of=alone)))


def test_somebody_without_any_role_is_not_said_to_be_in_the_wrong_one() -> None:
    nobody: Tables = {**NEW, "roles": NEW["roles"].filter(pl.col("userSourcedId") != PUPIL)}
    found = codes(judged(nobody, "1.2"))
    assert "OR-CSV-227" in found
    assert not {"OR-CSV-216", "OR-CSV-217"} & found


def test_roles_that_cannot_be_used_leave_open_where_somebody_belongs() -> None:
    lost = where("roles", "roleType", "tertiary", "userSourcedId", PUPIL)(dict(NEW)) or NEW
    found = codes(judged(lost, "1.2"))
    assert "OR-CSV-135" in found
    assert "OR-CSV-216" not in found


def test_idle_records_are_counted_without_those_set_aside() -> None:
    spare = OLD["courses"].head(1).with_columns(sourcedId=pl.lit("spare"))
    with_spare: Tables = {**OLD, "courses": pl.concat([OLD["courses"], spare])}
    assert "OR-CSV-233" in {f.code for f in judged(with_spare).findings if f.file == "courses.csv"}
    unnamed = put("courses", "title", "", len(OLD["courses"]))(with_spare) or with_spare
    assert "OR-CSV-233" not in {f.code for f in judged(unnamed).findings if f.file == "courses.csv"}


def test_rule_OR_CSV_204_names_the_end_that_reaches_beyond() -> None:
    late = judged(edited(put("academicSessions", "endDate", "2031-01-01", TERM_ROW)))
    assert places(late, "OR-CSV-204", "endDate") == [TERM_ROW + 2]
    assert not places(late, "OR-CSV-204", "startDate")
    early = judged(edited(put("academicSessions", "startDate", "2020-01-01", TERM_ROW)))
    assert places(early, "OR-CSV-204", "startDate") == [TERM_ROW + 2]
    assert not places(early, "OR-CSV-204", "endDate")


def test_rule_OR_CSV_184_tells_that_only_blanks_around_it_keep_an_id_from_fitting() -> None:
    who = OLD["enrollments"]["userSourcedId"][LEARNT]
    found = codes(judged(edited(put("enrollments", "userSourcedId", f"{who} ", LEARNT))))
    assert {"OR-CSV-101", "OR-CSV-184"} <= found
    stranger = codes(judged(edited(put("enrollments", "userSourcedId", "nobody ", LEARNT))))
    assert "OR-CSV-101" in stranger
    assert "OR-CSV-184" not in stranger


@pytest.mark.parametrize(
    ("table", "column"), [("demographics", "white"), ("users", "enabledUser"), ("users", "status")]
)
def test_rule_OR_CSV_141_nobody_adds_words_to_booleans_or_status(table: str, column: str) -> None:
    new = codes(judged(edited(put(table, column, "ext:perhaps"), of=NEW), "1.2"))
    assert "OR-CSV-141" in new
    assert not {"OR-CSV-106", "OR-CSV-086"} & new
    old = codes(judged(edited(put(table, column, "ext:perhaps"))))
    assert {"OR-CSV-106", "OR-CSV-086"} & old


# ------------------------------------------------------------------------------------------------ records that go


def going(table: str, row: int = 0, **cells: str) -> Tables:
    said = {"status": "tobedeleted", **DATED, **cells}
    return {table: OLD[table][row].with_columns(pl.lit(value).alias(column) for column, value in said.items())}


def test_a_record_that_goes_needs_nothing_but_its_name() -> None:
    accepted = target(judged(OLD), {})
    blank = {column: "" for column in OLD["users"].columns if column != "sourcedId"}
    row = going("users", STUDENT, **{**blank, "status": "tobedeleted", **DATED})
    checked = judged(row, modes={"users": "delta"}, base=accepted)
    assert "OR-CSV-100" in codes(checked)
    assert {f.effect for f in checked.findings if f.code == "OR-CSV-100"} == {"none"}
    assert "all the same" in next(f.message for f in checked.findings if f.code == "OR-CSV-100")
    assert not checked.rejections
    who, after = OLD["users"]["sourcedId"][STUDENT], target(checked, accepted)
    assert who not in after["users"]["sourcedId"]
    assert who not in after["roles"]["userSourcedId"]


def test_an_enrollment_can_go_after_its_class() -> None:
    accepted = target(judged(OLD), {})
    who = OLD["enrollments"]["sourcedId"][LEARNT]
    without = {**accepted, "classes": accepted["classes"].head(0)}
    checked = judged(going("enrollments", LEARNT), modes={"enrollments": "delta"}, base=without)
    assert "OR-CSV-172" not in codes(checked)
    assert who not in target(checked, without)["enrollments"]["sourcedId"]
    staying = going("enrollments", LEARNT, status="active")
    assert "OR-CSV-172" in codes(judged(staying, modes={"enrollments": "delta"}, base=without))


@pytest.mark.parametrize("broken", [{"sourcedId": "a b"}, {"sourcedId": ""}, {"status": "gone"}])
def test_a_row_that_does_not_say_who_goes_takes_nobody(broken: dict[str, str]) -> None:
    accepted = target(judged(OLD), {})
    checked = judged(going("users", STUDENT, **broken), modes={"users": "delta"}, base=accepted)
    after = target(checked, accepted)
    assert after["users"].sort("sourcedId").equals(accepted["users"].sort("sourcedId"))


def test_rule_OR_CSV_090_counts_what_this_delivery_sends_and_not_what_it_ends() -> None:
    accepted = target(judged(OLD), {})
    who = OLD["users"]["sourcedId"][STUDENT]
    modes = {"users": "delta"}
    leaving = going("users", STUDENT)
    without = OLD["enrollments"].filter(pl.col("userSourcedId") != who)
    assert "OR-CSV-090" in codes(judged({**leaving, "enrollments": OLD["enrollments"]}, modes=modes, base=accepted))
    assert "OR-CSV-090" not in codes(judged({**leaving, "enrollments": without}, modes=modes, base=accepted))
    ended = OLD["enrollments"].filter(pl.col("userSourcedId") == who)
    ended = ended.with_columns(
        pl.lit(value).alias(column) for column, value in {**DATED, "status": "tobedeleted"}.items()
    )
    both_go = judged({**leaving, "enrollments": ended}, modes={**modes, "enrollments": "delta"}, base=accepted)
    assert "OR-CSV-090" not in codes(both_go)


def test_rule_OR_CSV_090_looks_into_lists() -> None:
    accepted = target(judged(OLD), {})
    checked = judged(going("academicSessions", TERM_ROW), modes={"academicSessions": "delta"}, base=accepted)
    assert any("classes still refer" in f.message for f in checked.findings if f.code == "OR-CSV-090")


# ------------------------------------------------------------------------------------------- nothing left of a table


@pytest.mark.parametrize(("name", "version"), [*((name, "1.1") for name in OLD), *((name, "1.2") for name in NEW)])
def test_a_table_of_which_no_row_was_read_ends_in_words_not_in_a_fault(name: str, version: str) -> None:
    tables = OLD if version == "1.1" else NEW
    came = delivered({**tables, name: tables[name].head(0)}, version)
    came.tables[name] = replace(came.tables[name], unread=UNREAD)
    checked = check(came, options=CheckOptions(today=TODAY))
    assert ("ROSTER-TOO-MANY-BAD-ROWS", f"1 of 1 rows of {name}.csv cannot be used.") in checked.rejections
