"""Cells by themselves (OR-CSV-051 to 056, 104): the harder cases of each rule. Its plain case is in test_rules.py."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosters.oneroster.spec import Column
from rosters.validating import cells
from rosters.validating.cells import newest_change
from tests.rosters.test_rules import OLD, STUDENT, codes, judged, put
from tests.rosters.validating.test_semantics import edited


@pytest.mark.parametrize("text", ["=1+1", "+cmd|x", "-cmd|x", "@SUM(A1)", "\tx", "-2+3+cmd|x"])
@pytest.mark.parametrize("column", ["middleName", "phone", "metadata.x.note"])
def test_rule_OR_CSV_056_what_a_spreadsheet_would_run(text: str, column: str) -> None:
    assert "OR-CSV-056" in codes(judged(edited(put("users", column, text, STUDENT))))


@pytest.mark.parametrize("text", ["-1", "+3.5", "-1.5E+10", "-5%", "+1 (555) 010-0199 x12", "-", "a-b", "a=b"])
@pytest.mark.parametrize("column", ["middleName", "phone", "metadata.x.note"])
def test_rule_OR_CSV_056_numbers_and_phones_are_none(text: str, column: str) -> None:
    assert "OR-CSV-056" not in codes(judged(edited(put("users", column, text, STUDENT))))


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("OR-CSV-051", "a\u200bb"), ("OR-CSV-052", "a "), ("OR-CSV-053", "NULL"),
        ("OR-CSV-054", "Garc\u00c3\u00ada"), ("OR-CSV-055", "x" * 300),
    ],
)  # fmt: skip
def test_rules_OR_CSV_051_to_055_hold_for_columns_of_the_senders_own(code: str, text: str) -> None:
    assert code in codes(judged(edited(put("users", "metadata.x.note", text))))
    assert code not in codes(judged(edited(put("users", "metadata.x.note", "plain"))))


@pytest.mark.parametrize(("code", "text"), [("OR-CSV-053", "NULL"), ("OR-CSV-056", "-a"), ("OR-CSV-056", "@a")])
def test_rules_OR_CSV_053_and_056_in_an_id(code: str, text: str) -> None:
    found = codes(judged(edited(put("courses", "sourcedId", text))))
    assert code in found
    assert "OR-CSV-101" not in found


@pytest.mark.parametrize("text", ["=a", "a\u200b", " a", "#N/A"])
def test_what_an_id_may_not_hold_is_said_once(text: str) -> None:
    found = codes(judged(edited(put("courses", "sourcedId", text))))
    assert "OR-CSV-101" in found
    assert not {"OR-CSV-051", "OR-CSV-052", "OR-CSV-053", "OR-CSV-056"} & found


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ("2026-01-01T25:00:00.000Z", "error"), ("2026-01-01T10:61:00.000Z", "error"),
        ("2026-01-01T10:00:61.000Z", "error"), ("2026-02-30T10:00:00.000Z", "error"),
        ("2026-13-01T10:00:00.000Z", "error"), ("2026-01-01", "error"), ("2026-01-01T10:00:00.000+01:00", "error"),
        ("2026-01-01T10:00:00Z", "warning"), ("2024-02-29T23:59:59.999Z", ""),
    ],
)  # fmt: skip
def test_rule_OR_CSV_104_a_moment_that_exists(text: str, severity: str) -> None:
    found = judged({**OLD, "users": OLD["users"]}, modes={"users": "delta"})
    assert "OR-CSV-104" not in codes(found)
    checked = judged(edited(put("users", "dateLastModified", text)), modes={"users": "delta"})
    assert [f.severity for f in checked.findings if f.code == "OR-CSV-104"] == ([severity] if severity else [])


@pytest.mark.parametrize(
    ("text", "fires"),
    [
        ("2026-11-25T02:30:00.000Z", False), ("2026-11-26T00:00:00.000Z", True), ("2031-01-01T00:00:00Z", True),
        ("yesterday", False),
    ],
)  # fmt: skip
def test_rule_OR_CSV_088_counts_days_in_utc(text: str, fires: bool) -> None:
    checked = judged(edited(put("users", "dateLastModified", text)), modes={"users": "delta"})
    assert ("OR-CSV-088" in codes(checked)) is fires


@pytest.mark.parametrize(
    "text", ["yesterday", "2031-01-01T00:00:00.000Z", "2026-11-24T12:00:01.000Z", "", "2026-01-01"]
)
def test_the_newest_change_of_a_delivery_is_a_moment_that_was(text: str) -> None:
    noon = datetime(2026, 11, 24, 12, tzinfo=UTC)
    strange = edited(put("users", "dateLastModified", text))
    assert newest_change(judged(strange), noon) == ""
    known = edited(put("users", "dateLastModified", "2026-11-24T11:59:59.000Z", 1), of=strange)
    assert newest_change(judged(known), noon) == "2026-11-24T11:59:59.000Z"


@pytest.mark.parametrize(("table", "column"), [("demographics", "sex"), ("enrollments", "primary")])
def test_rule_OR_CSV_053_nothing_in_an_optional_word_is_read_as_empty(table: str, column: str) -> None:
    checked = judged(edited(put(table, column, "NULL")))
    told = [f for f in checked.findings if (f.file, f.column) == (f"{table}.csv", column)]
    assert [(f.code, f.effect) for f in told] == [("OR-CSV-053", "none")]
    assert "read as empty" in told[0].message
    assert checked.tables[table].frame[column][0] == ""
    required = codes(judged(edited(put("users", "role", "NULL"))))
    assert "OR-CSV-133" in required, "where a word is needed, NULL is none"


@pytest.mark.parametrize(
    ("column", "right", "wrong"),
    [
        ("countryOfBirthCode", "MX", "MEX"), ("stateOfBirthAbbreviation", "NM", "XX"),
        ("publicSchoolResidenceStatus", "01652", "1652"),
    ],
)  # fmt: skip
def test_rule_OR_CSV_146_birth_and_residence_by_the_lists_of_ceds(column: str, right: str, wrong: str) -> None:
    assert "OR-CSV-146" not in codes(judged(edited(put("demographics", column, right))))
    assert "OR-CSV-146" in codes(judged(edited(put("demographics", column, wrong))))


@pytest.mark.parametrize("text", ["MÃ¼ller", "Ã–zil", "GroÃŸ", "Ã‰mile", "Oâ€™Neil", "Â¿Que"])
def test_rule_OR_CSV_054_small_and_capital_letters_decoded_wrongly(text: str) -> None:
    assert "OR-CSV-054" in codes(judged(edited(put("users", "familyName", text))))


@pytest.mark.parametrize("text", ["Müller", "Özil", "Groß", "Émile", "O’Neil", "São Paulo", "Âlvares"])
def test_rule_OR_CSV_054_letters_as_they_should_be(text: str) -> None:
    assert "OR-CSV-054" not in codes(judged(edited(put("users", "familyName", text))))


def test_rule_OR_CSV_052_a_tab_behind_a_value() -> None:
    assert "OR-CSV-052" in codes(judged(edited(put("users", "familyName", "Lee\t"))))
    assert "OR-CSV-052" not in codes(judged(edited(put("users", "familyName", "\tLee"))))


@pytest.mark.parametrize(("blank", "fires"), [(", ", True), (" ,", True), (",\u00a0", True), (",", False)])
def test_rule_OR_CSV_110_blanks_around_a_comma(blank: str, fires: bool) -> None:
    terms = OLD["academicSessions"]["sourcedId"].to_list()[:2]
    checked = judged(edited(put("classes", "termSourcedIds", blank.join(terms))))
    assert ("OR-CSV-110" in codes(checked)) is fires
    assert not checked.tables["classes"].quarantined.height, "they are trimmed"


def test_rule_OR_CSV_101_blanks_inside_a_list_of_references() -> None:
    term = OLD["academicSessions"]["sourcedId"][0]
    assert "OR-CSV-101" in codes(judged(edited(put("classes", "termSourcedIds", f"{term[:4]} {term[4:]}"))))
    assert "OR-CSV-101" in codes(judged(edited(put("classes", "termSourcedIds", f"{term}\u00a0"))))
    assert "OR-CSV-101" not in codes(judged(edited(put("classes", "termSourcedIds", term))))


_ODD = [
    "",
    " ",
    "=1",
    "-5%",
    "-a",
    "@x",
    "\tx",
    "x\t",
    "NULL",
    "a\u200bb",
    "é",
    "Garc\u00c3\u00ada",
    "â€",
    "x" * 300,
    "1E+10",
]


@given(st.lists(st.sampled_from(_ODD) | st.text(max_size=5), max_size=4), st.booleans(), st.integers(0, 2999))
def test_what_is_asked_of_words_and_of_suspects_is_what_is_asked_of_every_cell(
    odd: list[str], repeating: bool, at: int
) -> None:
    usual = ["word"] * 3000 if repeating else [f"word{number}" for number in range(3000)]
    frame = pl.DataFrame({"middleName": [*usual[:at], *odd, *usual[at:]], "other": ""})
    tests = list(cells._of_text(Column("middleName", "string")))
    asked = cells._any(frame, [test.bad if test.suspect is None else test.suspect for test in tests])
    for test, fires in zip(tests, asked, strict=True):
        truth = frame.select(test.bad.any()).item()
        assert fires == truth if test.suspect is None else fires or not truth
