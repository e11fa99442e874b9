"""Best practice (OR-CSV-260 to 275): the harder cases of each rule. Its plain case is in test_rules.py."""

from __future__ import annotations

import polars as pl

from rosters.normalising import target
from tests.rosters.test_rules import NEW, OLD, STUDENT, TEACHER, TERM, TERM_ROW, Tables, both, codes, judged, put
from tests.rosters.validating.test_semantics import edited, places

CHANGED = {"status": "active", "dateLastModified": "2026-11-20T10:00:00.000Z"}


def changed(frame: pl.DataFrame, **cells: str) -> pl.DataFrame:
    """These rows as a delta writes them."""
    return frame.with_columns(pl.lit(value).alias(column) for column, value in {**CHANGED, **cells}.items())


def test_rule_OR_CSV_264_students_only_and_in_1_2_by_their_roles() -> None:
    assert "OR-CSV-264" not in codes(judged(edited(put("users", "grades", "", TEACHER))))
    student = NEW["roles"].filter(pl.col("role") == "student")["userSourcedId"][0]
    row = NEW["users"]["sourcedId"].to_list().index(student)
    assert places(judged(edited(put("users", "grades", "", row), of=NEW), "1.2"), "OR-CSV-264") == [row + 2]


def test_rule_OR_CSV_264_says_nothing_of_those_who_leave() -> None:
    leaving = changed(OLD["users"][STUDENT], status="tobedeleted", grades="")
    joining = changed(OLD["users"][STUDENT], grades="")
    accepted = target(judged(OLD), {})
    assert "OR-CSV-264" not in codes(judged({"users": leaving}, modes={"users": "delta"}, base=accepted))
    assert "OR-CSV-264" in codes(judged({"users": joining}, modes={"users": "delta"}, base=accepted))


def test_rule_OR_CSV_268_a_delta_of_next_term_does_not_mean_that_no_term_runs() -> None:
    next_term = both(
        put("academicSessions", "startDate", "2027-09-01", TERM_ROW),
        put("academicSessions", "endDate", "2028-01-01", TERM_ROW),
    )(dict(OLD))
    assert next_term is not None
    sent: Tables = {
        "academicSessions": changed(next_term["academicSessions"][TERM_ROW]),
        "classes": changed(OLD["classes"].head(1), termSourcedIds=TERM),
    }
    checked = judged(sent, modes=dict.fromkeys(sent, "delta"), base=target(judged(OLD), {}))
    assert {f.file for f in checked.findings if f.code == "OR-CSV-268"} == {"classes.csv"}


def test_rule_OR_CSV_274_a_column_that_names_its_owner() -> None:
    assert "OR-CSV-274" not in codes(judged(edited(put("users", "metadata.jp.kanaGivenName", "x"))))
