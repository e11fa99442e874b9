"""How records fit together (OR-CSV-200 to 234): the harder cases of each rule. Its plain case is in test_rules.py."""

from __future__ import annotations

import polars as pl
import pytest

from rosters.frames import Checked, Frames
from rosters.normalising import target
from tests.rosters.test_rules import (
    DISTRICT,
    LEARNT,
    NEW,
    OLD,
    SCHOOL,
    STUDENT,
    TAUGHT,
    TEACHER,
    TERM_ROW,
    YEAR_ROW,
    Edit,
    Tables,
    again,
    both,
    codes,
    every,
    judged,
    put,
    where,
)

CLASS = OLD["classes"].row(0, named=True)
HERE = OLD["orgs"]["sourcedId"][SCHOOL]


def edited(*edits: Edit, of: Tables = OLD) -> Tables:
    return both(*edits)(dict(of)) or of


def places(checked: Checked, code: str, column: str = "") -> list[int]:
    """The lines where a rule fired."""
    found = [
        f.places["line"].to_list() for f in checked.findings if f.code == code and f.column in (column or f.column,)
    ]
    return sorted(line for lines in found for line in lines)


def org(name: str, kind: str, parent: str) -> pl.DataFrame:
    blank = dict.fromkeys(OLD["orgs"].columns, "")
    return pl.DataFrame([{**blank, "sourcedId": name, "name": name, "type": kind, "parentSourcedId": parent}])


def with_orgs(*more: pl.DataFrame) -> Tables:
    return {**OLD, "orgs": pl.concat([OLD["orgs"], *more])}


def teaching(primary: str, *spans: tuple[str, str]) -> Tables:
    """One class taught by one teacher for each span of dates."""
    row = OLD["enrollments"].row(TAUGHT, named=True)
    teachers = OLD["users"].filter(pl.col("role") == "teacher")["sourcedId"].to_list()
    rows = [
        {**row, "sourcedId": f"t{n}", "userSourcedId": teachers[n % len(teachers)], "primary": primary}
        | {"beginDate": begin, "endDate": end}
        for n, (begin, end) in enumerate(spans)
    ]
    others = (pl.col("classSourcedId") != row["classSourcedId"]) | (pl.col("role") != "teacher")
    return {**OLD, "enrollments": pl.concat([OLD["enrollments"].filter(others), pl.DataFrame(rows)])}


# ------------------------------------------------------------------------------------------------- orgs and sessions


def test_rule_OR_CSV_200_only_the_orgs_of_the_circle_lose_their_parent() -> None:
    checked = judged(with_orgs(org("a", "local", "b"), org("b", "local", "a"), org("below", "school", "a")))
    assert checked.tables["orgs"].dropped["sourcedId"].sort().to_list() == ["a", "b"]


def test_rule_OR_CSV_200_a_long_way_up_is_no_circle() -> None:
    chain = [org(f"d{n}", "department", f"d{n - 1}" if n else DISTRICT) for n in range(200)]
    assert "OR-CSV-200" not in codes(judged(with_orgs(*chain)))


def test_rule_OR_CSV_202_a_school_reaches_its_district_over_a_department() -> None:
    joined = with_orgs(org("office", "department", DISTRICT), org("new", "school", "office"))
    lost = with_orgs(org("office", "department", ""), org("new", "school", "office"))
    assert "OR-CSV-202" not in codes(judged(joined))
    assert places(judged(lost), "OR-CSV-202") == [len(lost["orgs"]) + 1]


def test_rule_OR_CSV_202_a_delta_does_not_repeat_the_district() -> None:
    row = {"status": "active", "dateLastModified": "2026-11-20T10:00:00.000Z"}
    school = OLD["orgs"][SCHOOL].with_columns(pl.lit(v).alias(c) for c, v in row.items())
    accepted: Frames = target(judged(OLD), {})
    assert "OR-CSV-202" not in codes(judged({"orgs": school}, modes={"orgs": "delta"}, base=accepted))


def test_rule_OR_CSV_204_a_date_that_is_none_is_not_compared() -> None:
    checked = judged(edited(put("academicSessions", "endDate", "9/1/2031", TERM_ROW)))
    assert "OR-CSV-103" in codes(checked)
    assert "OR-CSV-204" not in codes(checked)


@pytest.mark.parametrize(("year", "wrong"), [("2027", False), ("2028", True), ("2026", True)])
def test_rule_OR_CSV_206_a_year_that_ends_with_december_is_its_own(year: str, wrong: bool) -> None:
    calendar_year = {"startDate": "2027-01-01", "endDate": "2028-01-01", "schoolYear": year}
    alone = OLD["academicSessions"][YEAR_ROW].with_columns(pl.lit(v).alias(c) for c, v in calendar_year.items())
    assert ("OR-CSV-206" in codes(judged({"academicSessions": alone}))) is wrong


# --------------------------------------------------------------------------------------------- courses and classes


def test_rule_OR_CSV_211_courses_of_the_school_and_above_are_its_own() -> None:
    state = with_orgs(org("state", "state", ""))
    right = edited(
        put("orgs", "parentSourcedId", "state", OLD["orgs"]["sourcedId"].to_list().index(DISTRICT)), of=state
    )
    assert "OR-CSV-211" not in codes(judged(edited(every("courses", "orgSourcedId", "state"), of=right)))


def test_rule_OR_CSV_211_courses_of_another_district_are_not() -> None:
    two = with_orgs(org("elsewhere", "district", ""))
    assert "OR-CSV-211" in codes(judged(edited(every("courses", "orgSourcedId", "elsewhere"), of=two)))


# ----------------------------------------------------------------------------------------------------------- users


def test_rule_OR_CSV_224_an_agent_of_a_student_is_family() -> None:
    teacher = OLD["users"]["sourcedId"][TEACHER]
    assert "OR-CSV-224" in codes(judged(edited(put("users", "agentSourcedIds", teacher, STUDENT))))
    parent = edited(again("users", sourcedId="mum", username="mum", email="", identifier="", role="parent"))
    assert "OR-CSV-224" not in codes(judged(edited(put("users", "agentSourcedIds", "mum", STUDENT), of=parent)))


def test_rule_OR_CSV_224_says_roles_csv_in_1_2() -> None:
    student = NEW["roles"].filter(pl.col("role") == "student")["userSourcedId"][0]
    teacher = NEW["roles"].filter(pl.col("role") == "teacher")["userSourcedId"][0]
    row = NEW["users"]["sourcedId"].to_list().index(student)
    named = edited(put("users", "agentSourcedIds", teacher, row), of=NEW)
    assert places(judged(named, "1.2"), "OR-CSV-224") == [row + 2]
    parent = edited(where("roles", "role", "parent", "userSourcedId", teacher), of=named)
    assert "OR-CSV-224" not in codes(judged(parent, "1.2"))


def test_rule_OR_CSV_225_case_does_not_make_another_username() -> None:
    assert "OR-CSV-225" in codes(
        judged(edited(put("users", "username", OLD["users"]["username"][STUDENT].upper(), TEACHER)))
    )


def test_rule_OR_CSV_225_one_person_in_two_roles_keeps_the_username() -> None:
    person = OLD["users"].row(0, named=True)
    twice = edited(again("users", sourcedId="second", role="administrator", identifier=person["identifier"]))
    assert {"OR-CSV-225", "OR-CSV-226"}.isdisjoint(codes(judged(twice)))


# ------------------------------------------------------------------------------------------------------- enrollments


def test_rule_OR_CSV_216_an_org_above_the_school_is_enough_and_another_branch_is_not() -> None:
    orgs = with_orgs(org("elsewhere", "district", ""))
    who = OLD["users"]["sourcedId"].to_list().index(OLD["enrollments"]["userSourcedId"][LEARNT])
    assert "OR-CSV-216" not in codes(judged(edited(put("users", "orgSourcedIds", DISTRICT, who), of=orgs)))
    assert "OR-CSV-216" in codes(judged(edited(put("users", "orgSourcedIds", "elsewhere", who), of=orgs)))


def test_rule_OR_CSV_216_a_department_belongs_to_its_school() -> None:
    row = OLD["enrollments"].row(LEARNT, named=True)
    orgs = with_orgs(org("maths", "department", row["schoolSourcedId"]))
    who = OLD["users"]["sourcedId"].to_list().index(row["userSourcedId"])
    assert "OR-CSV-216" not in codes(judged(edited(put("users", "orgSourcedIds", "maths", who), of=orgs)))


def test_rule_OR_CSV_217_a_word_of_the_senders_own_is_not_judged() -> None:
    teacher = NEW["roles"].filter(pl.col("role") == "teacher")["userSourcedId"][0]
    own = edited(where("roles", "role", "ext:coach", "userSourcedId", teacher), of=NEW)
    parent = edited(where("roles", "role", "parent", "userSourcedId", teacher), of=NEW)
    assert "OR-CSV-217" not in codes(judged(own, "1.2"))
    assert "OR-CSV-217" in codes(judged(parent, "1.2"))


@pytest.mark.parametrize(
    ("spans", "fires"),
    [
        ([("2026-08-01", "2026-12-01"), ("2026-12-01", "2027-06-01")], False),
        ([("2026-08-01", "2026-12-01"), ("2026-11-30", "2027-06-01")], True),
        ([("", ""), ("2026-11-30", "2027-06-01")], True),
        # The third meets the first, not the second.
        ([("2026-08-01", "2027-06-01"), ("2026-09-01", "2026-10-01"), ("2026-11-01", "2027-01-01")], True),
    ],
)
def test_rule_OR_CSV_219_one_primary_teacher_at_a_time(spans: list[tuple[str, str]], fires: bool) -> None:
    found = places(judged(teaching("true", *spans)), "OR-CSV-219")
    last = sum(1 for _ in teaching("true", *spans)["enrollments"].iter_rows()) + 1
    assert (last in found) is fires


def test_rule_OR_CSV_219_several_teachers_and_none_primary() -> None:
    assert "OR-CSV-219" in codes(judged(teaching("false", ("", ""), ("", ""))))
    assert "OR-CSV-219" not in codes(judged(teaching("false", ("", ""))))


def test_rules_OR_CSV_219_and_220_a_delta_ends_the_old_and_begins_the_new() -> None:
    accepted: Frames = target(judged(OLD), {})
    changed = {"status": "tobedeleted", "dateLastModified": "2026-11-20T10:00:00.000Z"}
    gone = OLD["enrollments"][TAUGHT].with_columns(pl.lit(v).alias(c) for c, v in changed.items())
    new = gone.with_columns(sourcedId=pl.lit("new"), status=pl.lit("active"))
    same_teacher = judged(
        {"enrollments": pl.concat([gone, new]), "users": OLD["users"], "classes": OLD["classes"]},
        modes={"enrollments": "delta"},
        base=accepted,
    )
    assert {"OR-CSV-219", "OR-CSV-220"}.isdisjoint(codes(same_teacher))


def test_rule_OR_CSV_220_one_after_the_other_is_not_twice() -> None:
    first = edited(put("enrollments", "endDate", "2026-11-01", LEARNT), put("enrollments", "beginDate", "", LEARNT))
    row = first["enrollments"][LEARNT]
    later = row.with_columns(sourcedId=pl.lit("later"), beginDate=pl.lit("2026-11-01"), endDate=pl.lit(""))
    meanwhile = later.with_columns(beginDate=pl.lit("2026-10-31"))
    assert "OR-CSV-220" not in codes(judged({**first, "enrollments": pl.concat([first["enrollments"], later])}))
    assert "OR-CSV-220" in codes(judged({**first, "enrollments": pl.concat([first["enrollments"], meanwhile])}))


def test_rule_OR_CSV_221_names_the_column_and_leaves_dates_that_are_none_to_their_own_rule() -> None:
    late = judged(edited(put("enrollments", "endDate", "2031-01-01", LEARNT)))
    assert places(late, "OR-CSV-221", "endDate") == [LEARNT + 2]
    assert not places(late, "OR-CSV-221", "beginDate")
    broken = judged(edited(put("enrollments", "beginDate", "08/10/2026", LEARNT)))
    assert "OR-CSV-103" in codes(broken)
    assert "OR-CSV-221" not in codes(broken)


def test_rule_OR_CSV_221_a_term_of_an_earlier_delivery_leaves_it_open() -> None:
    early, late = OLD["academicSessions"].filter(pl.col("type") != "schoolYear")["sourcedId"].to_list()[:2]
    both_terms = edited(put("classes", "termSourcedIds", f"{early},{late}"))
    changed = {"status": "active", "dateLastModified": "2026-11-20T10:00:00.000Z"}
    known = (
        OLD["academicSessions"]
        .filter(pl.col("sourcedId") == early)
        .with_columns(pl.lit(v).alias(c) for c, v in changed.items())
    )
    beyond = where("enrollments", "endDate", "2031-01-01", "classSourcedId", CLASS["sourcedId"])
    sent = {**edited(beyond, of=both_terms), "academicSessions": known}
    assert "OR-CSV-221" in codes(judged(edited(beyond, of=both_terms)))
    checked = judged(sent, modes={"academicSessions": "delta"}, base=target(judged(both_terms), {}))
    assert not set(places(checked, "OR-CSV-221")) & set(places(judged(edited(beyond, of=both_terms)), "OR-CSV-221"))


def test_rule_OR_CSV_234_enrollments_that_have_ended_do_not_count() -> None:
    student = OLD["enrollments"]["userSourcedId"][LEARNT]
    row = OLD["users"]["sourcedId"].to_list().index(student)
    off = edited(put("users", "enabledUser", "false", row))
    assert places(judged(off), "OR-CSV-234") == [row + 2]
    ended = edited(where("enrollments", "endDate", "2026-11-24", "userSourcedId", student), of=off)
    assert "OR-CSV-234" not in codes(judged(ended))
