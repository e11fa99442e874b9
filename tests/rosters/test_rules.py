"""One case for each rule of the check, bearing its code: it fires on its fault, and on nothing in a clean district."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from rosters import making
from rosters.findings import Findings
from rosters.frames import LINE, Checked, CheckOptions, Delivered, DeliveredTable, Frames
from rosters.normalising import target
from rosters.oneroster import VERSIONS
from rosters.oneroster.rules import RULES, STANDS_ON
from rosters.validating import check

ROOT = Path(__file__).parents[2]
TODAY = date(2026, 11, 24)
Tables = dict[str, pl.DataFrame]
Edit = Callable[[Tables], Tables | None]

OLD: Tables = making.make_roster(users=70, seed=9, today=TODAY, name="Cedar Grove")
NEW: Tables = making.make_roster(users=70, seed=9, today=TODAY, name="Cedar Grove", version="1.2")


def delivered(tables: Tables, version: str = "1.1", modes: dict[str, str] | None = None) -> Delivered:
    """Frames as if they had been read: every standard column, and line numbers."""
    read = {}
    for name, frame in tables.items():
        header = VERSIONS[version].tables[name].header
        extra = [c for c in frame.columns if c not in header and c != LINE]
        full = frame.select(pl.col(c) if c in frame.columns else pl.lit("").alias(c) for c in (*header, *extra))
        full = full.with_columns(pl.int_range(2, len(full) + 2, dtype=pl.UInt32).alias(LINE))
        mode = (modes or {}).get(name, "bulk")
        read[name] = DeliveredTable(name, mode, full, tuple(header))  # type: ignore[arg-type]
    return Delivered(True, version, read, {}, Findings())


def judged(
    tables: Tables,
    version: str = "1.1",
    *,
    modes: dict[str, str] | None = None,
    product: str | tuple[str, ...] = (),
    base: Frames | None = None,
    mappings: dict[str, dict[str, str]] | None = None,
    overrides: dict[str, str] | None = None,
) -> Checked:
    products = (product,) if isinstance(product, str) else product
    options = CheckOptions(today=TODAY, products=products, mappings=mappings or {}, overrides=overrides or {})
    return check(delivered(tables, version, modes), base=base, options=options)


def codes(checked: Checked) -> set[str]:
    return {finding.code for finding in checked.findings}


def put(table: str, column: str, value: str, row: int = 0) -> Edit:
    """Write `value` into one cell."""

    def edit(tables: Tables) -> Tables:
        here = pl.int_range(pl.len()) == row
        frame = tables[table]
        if column not in frame.columns:
            frame = frame.with_columns(pl.lit("").alias(column))
        cell = pl.when(here).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
        return {**tables, table: frame.with_columns(cell)}

    return edit


def both(*edits: Edit) -> Edit:
    def edit(tables: Tables) -> Tables:
        for one in edits:
            tables = one(tables) or tables
        return tables

    return edit


def again(table: str, **changed: str) -> Edit:
    """Repeat the first row of a table, with some cells changed."""

    def edit(tables: Tables) -> Tables:
        row = tables[table].head(1).with_columns(pl.lit(v).alias(c) for c, v in changed.items())
        return {**tables, table: pl.concat([tables[table], row.select(tables[table].columns)])}

    return edit


def drop(table: str) -> Edit:
    return lambda tables: {name: frame for name, frame in tables.items() if name != table}


def where(table: str, column: str, value: str, of: str, to: str) -> Edit:
    """Set `column` to `value` in every row whose `of` is `to`."""

    def edit(tables: Tables) -> Tables:
        cell = pl.when(pl.col(of) == to).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
        return {**tables, table: tables[table].with_columns(cell)}

    return edit


def every(table: str, column: str, value: str) -> Edit:
    return lambda tables: {**tables, table: tables[table].with_columns(pl.lit(value).alias(column))}


STUDENT = OLD["users"]["role"].to_list().index("student")
TEACHER = OLD["users"]["role"].to_list().index("teacher")
SCHOOL = OLD["orgs"]["type"].to_list().index("school")
DISTRICT = OLD["orgs"]["sourcedId"][OLD["orgs"]["type"].to_list().index("district")]
TERM = OLD["academicSessions"].filter(pl.col("type") != "schoolYear")["sourcedId"][0]
TERM_ROW = OLD["academicSessions"]["sourcedId"].to_list().index(TERM)
YEAR = OLD["academicSessions"].filter(pl.col("type") == "schoolYear")["sourcedId"][0]
YEAR_ROW = OLD["academicSessions"]["sourcedId"].to_list().index(YEAR)
TAUGHT = OLD["enrollments"]["role"].to_list().index("teacher")
LEARNT = OLD["enrollments"]["role"].to_list().index("student")
SUBJECT = OLD["classes"]["subjects"].to_list().index(next(s for s in OLD["classes"]["subjects"] if s))
RACES = [
    c for c in OLD["demographics"].columns if c in ("asian", "white") or "Native" in c or "native" in c or "black" in c
]
OTHER_SCHOOL = OLD["orgs"].filter(
    (pl.col("type") == "school") & (pl.col("sourcedId") != OLD["enrollments"]["schoolSourcedId"][LEARNT])
)["sourcedId"][0]

CASES: list[tuple[str, Edit]] = [
    ("OR-CSV-013", drop("courses")),
    ("OR-CSV-015", drop("users")),
    ("OR-CSV-051", put("users", "familyName", "Sm\u200bith")),
    ("OR-CSV-052", put("users", "familyName", " Smith")),
    ("OR-CSV-053", put("users", "middleName", "NULL")),
    ("OR-CSV-054", put("users", "familyName", "GarcÃ\u00ada")),
    ("OR-CSV-055", put("users", "middleName", "x" * 300)),
    ("OR-CSV-056", put("users", "middleName", "=1+1")),
    ("OR-CSV-080", put("users", "status", "active")),
    ("OR-CSV-081", put("users", "dateLastModified", "2026-01-01T00:00:00.000Z")),
    ("OR-CSV-084", put("users", "status", "active")),
    (
        "OR-CSV-088",
        both(put("users", "dateLastModified", "2031-01-01T00:00:00.000Z"), put("users", "status", "active")),
    ),
    ("OR-CSV-086", put("users", "status", "gone")),
    ("OR-CSV-100", put("users", "givenName", "")),
    ("OR-CSV-101", put("users", "sourcedId", "a b#c")),
    ("OR-CSV-102", put("users", "sourcedId", "x" * 300)),
    ("OR-CSV-103", put("enrollments", "beginDate", "08/10/2026")),
    ("OR-CSV-104", put("users", "dateLastModified", "yesterday")),
    ("OR-CSV-105", put("academicSessions", "schoolYear", "26-27")),
    ("OR-CSV-106", put("users", "enabledUser", "Yes", STUDENT)),
    ("OR-CSV-109", put("classes", "periods", "1;2")),
    ("OR-CSV-110", put("classes", "periods", "1, 2")),
    ("OR-CSV-111", put("classes", "periods", "1,1")),
    ("OR-CSV-112", put("users", "userIds", "LDAP=1")),
    ("OR-CSV-115", put("users", "sourcedId", "1.23E+12")),
    ("OR-CSV-116", put("academicSessions", "endDate", "2001-01-01", TERM_ROW)),
    ("OR-CSV-117", put("enrollments", "endDate", "2001-01-01")),
    ("OR-CSV-118", put("users", "email", "nobody")),
    ("OR-CSV-119", put("demographics", "birthDate", "1801-01-01")),
    ("OR-CSV-119", put("academicSessions", "startDate", "1926-08-01", YEAR_ROW)),
    ("OR-CSV-119", put("academicSessions", "endDate", "2126-06-30", YEAR_ROW)),
    ("OR-CSV-130", put("academicSessions", "type", "week")),
    ("OR-CSV-131", put("classes", "classType", "lunch")),
    ("OR-CSV-132", put("orgs", "type", "campus")),
    ("OR-CSV-133", put("users", "role", "janitor")),
    ("OR-CSV-134", put("enrollments", "role", "aide")),
    ("OR-CSV-136", put("demographics", "sex", "F")),
    ("OR-CSV-140", put("classes", "classType", "ext:lunch")),
    ("OR-CSV-142", put("classes", "classType", "Scheduled")),
    ("OR-CSV-143", put("users", "grades", "K", STUDENT)),
    ("OR-CSV-145", put("classes", "subjectCodes", "math")),
    ("OR-CSV-146", put("demographics", "countryOfBirthCode", "USA!")),
    ("OR-CSV-160", again("users", familyName="Other")),
    ("OR-CSV-162", again("users")),
    (
        "OR-CSV-161",
        both(
            again("orgs", sourcedId=OLD["orgs"]["sourcedId"][0].upper() + "X"),
            again("orgs", sourcedId=OLD["orgs"]["sourcedId"][0].lower() + "x"),
        ),
    ),
    ("OR-CSV-163", put("academicSessions", "parentSourcedId", "nowhere", TERM_ROW)),
    ("OR-CSV-164", put("orgs", "parentSourcedId", "nowhere", SCHOOL)),
    ("OR-CSV-165", put("courses", "schoolYearSourcedId", "nowhere")),
    ("OR-CSV-166", put("courses", "orgSourcedId", "nowhere")),
    ("OR-CSV-167", put("classes", "courseSourcedId", "nowhere")),
    ("OR-CSV-168", put("classes", "schoolSourcedId", "nowhere")),
    ("OR-CSV-169", put("classes", "termSourcedIds", "nowhere")),
    ("OR-CSV-170", put("users", "orgSourcedIds", "nowhere")),
    ("OR-CSV-171", put("users", "agentSourcedIds", "nowhere")),
    ("OR-CSV-172", put("enrollments", "classSourcedId", "nowhere")),
    ("OR-CSV-173", put("enrollments", "schoolSourcedId", "nowhere")),
    ("OR-CSV-174", put("enrollments", "userSourcedId", "nowhere")),
    ("OR-CSV-175", put("demographics", "sourcedId", "nowhere")),
    ("OR-CSV-184", put("enrollments", "userSourcedId", OLD["enrollments"]["userSourcedId"][0].upper())),
    ("OR-CSV-185", drop("courses")),
    ("OR-CSV-200", put("orgs", "parentSourcedId", OLD["orgs"]["sourcedId"][SCHOOL], SCHOOL)),
    (
        "OR-CSV-201",
        both(put("orgs", "type", "district", SCHOOL), where("orgs", "type", "school", "sourcedId", DISTRICT)),
    ),
    ("OR-CSV-202", every("orgs", "parentSourcedId", "")),
    ("OR-CSV-203", put("academicSessions", "parentSourcedId", TERM, TERM_ROW)),
    ("OR-CSV-204", put("academicSessions", "startDate", "2020-01-01", TERM_ROW)),
    (
        "OR-CSV-205",
        both(
            put("academicSessions", "parentSourcedId", "", TERM_ROW),
            put("academicSessions", "parentSourcedId", TERM, YEAR_ROW),
        ),
    ),
    ("OR-CSV-206", put("academicSessions", "schoolYear", "2031", TERM_ROW)),
    ("OR-CSV-207", put("courses", "schoolYearSourcedId", TERM)),
    ("OR-CSV-208", put("classes", "schoolSourcedId", DISTRICT)),
    ("OR-CSV-209", put("classes", "termSourcedIds", ",")),
    ("OR-CSV-210", put("classes", "termSourcedIds", YEAR)),
    ("OR-CSV-211", every("courses", "orgSourcedId", OTHER_SCHOOL)),
    ("OR-CSV-212", put("classes", "subjectCodes", "02051,02052", SUBJECT)),
    ("OR-CSV-213", put("classes", "subjectCodes", "", SUBJECT)),
    ("OR-CSV-214", put("enrollments", "schoolSourcedId", DISTRICT)),
    ("OR-CSV-215", put("enrollments", "schoolSourcedId", OTHER_SCHOOL, LEARNT)),
    ("OR-CSV-216", put("enrollments", "schoolSourcedId", OTHER_SCHOOL, LEARNT)),
    ("OR-CSV-217", put("enrollments", "role", "teacher", LEARNT)),
    ("OR-CSV-218", put("enrollments", "primary", "true", LEARNT)),
    ("OR-CSV-219", where("enrollments", "primary", "false", "role", "teacher")),
    ("OR-CSV-220", again("enrollments", sourcedId="twice")),
    ("OR-CSV-221", put("enrollments", "beginDate", "2020-01-01")),
    ("OR-CSV-222", where("enrollments", "role", "proctor", "classSourcedId", OLD["classes"]["sourcedId"][0])),
    ("OR-CSV-223", put("users", "orgSourcedIds", ",")),
    ("OR-CSV-224", put("users", "agentSourcedIds", OLD["users"]["sourcedId"][STUDENT], STUDENT)),
    ("OR-CSV-225", put("users", "username", OLD["users"]["username"][STUDENT], TEACHER)),
    ("OR-CSV-226", put("users", "email", OLD["users"]["email"][STUDENT], TEACHER)),
    (
        "OR-CSV-232",
        both(
            *(put("demographics", race, "true") for race in RACES),
            put("demographics", "demographicRaceTwoOrMoreRaces", "false"),
        ),
    ),
    ("OR-CSV-233", again("courses", sourcedId="unused")),
    ("OR-CSV-234", put("users", "enabledUser", "false", STUDENT)),
    ("OR-CSV-262", both(every("courses", "orgSourcedId", OTHER_SCHOOL), again("courses", sourcedId="copy"))),
    ("OR-CSV-264", put("users", "grades", "", STUDENT)),
    ("OR-CSV-266", put("orgs", "identifier", "", SCHOOL)),
    (
        "OR-CSV-268",
        both(every("academicSessions", "startDate", "2001-01-01"), every("academicSessions", "endDate", "2001-06-01")),
    ),
    ("OR-CSV-269", put("users", "orgSourcedIds", f"{DISTRICT},{OTHER_SCHOOL}")),
    ("OR-CSV-270", put("users", "username", OLD["users"]["username"][STUDENT], TEACHER)),
    ("OR-CSV-272", every("enrollments", "classSourcedId", OLD["classes"]["sourcedId"][0])),
    ("OR-CSV-273", put("users", "password", "secret-1")),
    ("OR-CSV-274", put("users", "metadata.colour", "red")),
]

ROLE = NEW["roles"].row(0, named=True)
NEW_CASES: list[tuple[str, Edit]] = [
    ("OR-CSV-135", put("roles", "role", "janitor")),
    ("OR-CSV-135", put("roles", "roleType", "tertiary")),
    ("OR-CSV-141", put("roles", "roleType", "ext:other")),
    ("OR-CSV-141", put("roles", "role", "ext:")),
    ("OR-CSV-144", put("users", "grades", "Kindergarten")),
    ("OR-CSV-179", put("roles", "orgSourcedId", "nowhere")),
    ("OR-CSV-180", put("users", "primaryOrgSourcedId", "nowhere")),
    ("OR-CSV-227", lambda t: {**t, "roles": t["roles"].filter(pl.col("userSourcedId") != ROLE["userSourcedId"])}),
    ("OR-CSV-228", again("roles", sourcedId="second")),
    (
        "OR-CSV-229",
        put(
            "users",
            "primaryOrgSourcedId",
            DISTRICT,
            NEW["users"]["sourcedId"]
            .to_list()
            .index(NEW["roles"].filter(pl.col("role") == "student")["userSourcedId"][0]),
        ),
    ),
    ("OR-CSV-231", every("users", "userMasterIdentifier", "1")),
]

PRODUCT_CASES: list[tuple[str, Edit]] = [
    ("PR-001", drop("demographics")),
    ("PR-010", put("users", "grades", "", STUDENT)),
    ("PR-011", put("users", "username", "a&b", STUDENT)),
    ("PR-012", put("users", "username", OLD["users"]["username"][STUDENT], STUDENT + 1)),
    ("PR-013", put("users", "password", "abc", STUDENT)),
    ("PR-014", put("users", "grades", "PS", STUDENT)),
    ("PR-015", put("users", "grades", "01,02", STUDENT)),
    ("PR-016", put("users", "role", "aide", TEACHER)),
]


@pytest.mark.parametrize(("code", "edit"), CASES, ids=[code for code, _ in CASES])
def test_rule(code: str, edit: Edit) -> None:
    assert code not in codes(judged(OLD)) or code == "OR-CSV-233"
    assert code in codes(judged(edit(dict(OLD)) or OLD))


@pytest.mark.parametrize(("code", "edit"), NEW_CASES, ids=[code for code, _ in NEW_CASES])
def test_rule_of_1_2(code: str, edit: Edit) -> None:
    assert code not in codes(judged(NEW, "1.2"))
    assert code in codes(judged(edit(dict(NEW)) or NEW, "1.2"))


@pytest.mark.parametrize(("code", "edit"), PRODUCT_CASES, ids=[code for code, _ in PRODUCT_CASES])
def test_rule_of_a_product(code: str, edit: Edit) -> None:
    clean = codes(judged(OLD, product="math"))
    assert code not in clean or code in ("PR-014", "PR-016")
    before = sum(f.count for f in judged(OLD, product="math").findings if f.code == code)
    after = sum(f.count for f in judged(edit(dict(OLD)) or OLD, product="math").findings if f.code == code)
    assert after > before


def test_rule_PR_002_another_version_than_the_product_takes() -> None:
    assert "PR-002" in codes(judged(NEW, "1.2", product="math"))


def test_a_clean_district_has_no_error_and_no_warning() -> None:
    for tables, version in ((OLD, "1.1"), (NEW, "1.2")):
        checked = judged(tables, version)
        assert checked.findings.count("fatal", "error", "warning") == 0, [
            (f.code, f.file, f.column) for f in checked.findings
        ]
        assert not checked.rejections


# ------------------------------------------------------------------------------------------------------------ deltas


def _accepted() -> Frames:
    return target(judged(OLD), {})


def _delta(**changed: str) -> Tables:
    row = {"status": "active", "dateLastModified": "2026-11-20T10:00:00.000Z", **changed}
    return {"users": OLD["users"].head(1).with_columns(pl.lit(v).alias(c) for c, v in row.items())}


@pytest.mark.parametrize(
    ("code", "changed"),
    [
        ("OR-CSV-082", {"status": ""}),
        ("OR-CSV-083", {"dateLastModified": ""}),
        ("OR-CSV-086", {"status": "gone"}),
        ("OR-CSV-087", {"status": "tobedeleted", "sourcedId": "unknown"}),
        ("OR-CSV-090", {"status": "tobedeleted"}),
    ],
)
def test_rule_of_deltas(code: str, changed: dict[str, str]) -> None:
    modes = {"users": "delta"}
    assert code not in codes(judged(_delta(), modes=modes, base=_accepted()))
    assert code in codes(judged(_delta(**changed), modes=modes, base=_accepted()))


def test_rule_OR_CSV_089_a_delta_names_a_record_twice() -> None:
    twice = pl.concat([_delta()["users"], _delta(familyName="Other")["users"]])
    assert "OR-CSV-089" in codes(judged({"users": twice}, modes={"users": "delta"}, base=_accepted()))
    once = {"users": _delta()["users"]}
    assert "OR-CSV-089" not in codes(judged(once, modes={"users": "delta"}, base=_accepted()))


def test_rule_OR_CSV_085_some_rows_bulk_and_some_delta() -> None:
    edited = put("users", "status", "active")(dict(OLD)) or OLD
    edited = put("users", "dateLastModified", "2026-11-20T10:00:00.000Z")(edited) or edited
    assert "OR-CSV-085" in codes(judged(edited))
    marked = every("users", "status", "active")(dict(OLD)) or OLD
    whole = every("users", "dateLastModified", "2026-11-20T10:00:00.000Z")(marked) or OLD
    assert "OR-CSV-085" not in codes(judged(whole))


# ----------------------------------------------------------------------------------------------- what an error costs


def test_an_error_in_an_optional_cell_costs_that_value_only() -> None:
    checked = judged(put("users", "grades", "K", STUDENT)(dict(OLD)) or OLD)
    table = checked.tables["users"]
    assert len(table.frame) == len(OLD["users"])
    assert table.dropped.rows() == [(OLD["users"]["sourcedId"][STUDENT], "grades")]
    assert table.frame["grades"][STUDENT] == ""


def test_a_mapping_heals_it() -> None:
    edited = put("users", "grades", "K", STUDENT)(dict(OLD)) or OLD
    checked = judged(edited, mappings={"users.grades": {"K": "KG"}})
    assert "OR-CSV-143" not in codes(checked)
    assert checked.tables["users"].frame["grades"][STUDENT] == "KG"


def test_an_error_in_a_required_cell_costs_the_row_and_what_hangs_on_it() -> None:
    who = OLD["classes"]["sourcedId"][0]
    checked = judged(put("classes", "classType", "lunch")(dict(OLD)) or OLD)
    assert checked.tables["classes"].quarantined["sourcedId"].to_list() == [who]
    members = OLD["enrollments"].filter(pl.col("classSourcedId") == who)["sourcedId"]
    assert set(members) <= set(checked.tables["enrollments"].quarantined["sourcedId"])


def test_what_hangs_on_a_quarantined_record_that_was_accepted_stands() -> None:
    checked = judged(put("classes", "classType", "lunch")(dict(OLD)) or OLD, base=_accepted())
    assert len(checked.tables["classes"].quarantined) == 1
    assert not len(checked.tables["enrollments"].quarantined)


def test_conflicting_rows_are_all_set_aside() -> None:
    checked = judged(again("users", familyName="Other")(dict(OLD)) or OLD)
    assert OLD["users"]["sourcedId"][0] in checked.tables["users"].quarantined["sourcedId"].to_list()
    assert OLD["users"]["sourcedId"][0] not in checked.tables["users"].frame["sourcedId"].to_list()


def test_an_override_changes_severity_and_effect() -> None:
    edited = put("users", "grades", "K", STUDENT)(dict(OLD)) or OLD
    warned = judged(edited, overrides={"OR-CSV-143": "warning"})
    assert warned.findings.count("error") == 0
    assert warned.tables["users"].frame["grades"][STUDENT] == "K"
    assert "OR-CSV-143" not in codes(judged(edited, overrides={"OR-CSV-143": "off"}))


@pytest.mark.parametrize("severity", ["off", "info", "warning"])
@pytest.mark.parametrize(
    ("code", "edit"), [case for case in CASES if case[0] in STANDS_ON], ids=[c for c, _ in CASES if c in STANDS_ON]
)
def test_what_a_roster_stands_on_is_not_lowered_by_an_override_of_old(code: str, edit: Edit, severity: str) -> None:
    broken = edit(dict(OLD)) or OLD
    plain, lowered = judged(broken), judged(broken, overrides={code: severity})
    assert [f.as_json() for f in lowered.findings] == [f.as_json() for f in plain.findings]
    assert lowered.rejections == plain.rejections
    for name, table in plain.tables.items():
        assert set(lowered.tables[name].quarantined["sourcedId"]) == set(table.quarantined["sourcedId"])


def test_too_many_bad_rows_refuse_the_delivery() -> None:
    checked = judged(every("enrollments", "role", "aide")(dict(OLD)) or OLD)
    assert "ROSTER-TOO-MANY-BAD-ROWS" in {code for code, _ in checked.rejections}


def test_a_missing_core_file_refuses_a_first_delivery_but_not_a_later_one() -> None:
    edited = drop("courses")(dict(OLD)) or OLD
    assert "ROSTER-INCOMPLETE" in {code for code, _ in judged(edited).rejections}
    assert not judged(edited, base=_accepted()).rejections


# ------------------------------------------------------------------------------------ gradebook, resources and profiles


def _small(**columns: str) -> pl.DataFrame:
    return pl.DataFrame({"sourcedId": ["one"], **{name: [value] for name, value in columns.items()}})


_URN = "urn:uuid:0b1c7ac0-6f0e-4a3f-9c39-4c9a3b1f7d11"
_PROFILE = {"profileType": "p", "vendorId": "v", "credentialType": "c", "username": "u"}
_CLASS = NEW["classes"]["sourcedId"][0]
_PUPIL = NEW["roles"].filter(pl.col("role") == "student")["userSourcedId"][0]

#: Rule, file of the gradebook or the resources, cells that break it, the same cells as they should be.
SMALL_CASES: list[tuple[str, str, dict[str, str], dict[str, str]]] = [
    ("OR-CSV-107", "categories", {"weight": "101"}, {"weight": "100"}),
    ("OR-CSV-108", "results", {"score": "ninety"}, {"score": "90.5"}),
    ("OR-CSV-113", "scoreScales", {"scoreScaleValue": "A=90"}, {"scoreScaleValue": "{A:90},{B:80}"}),
    (
        "OR-CSV-114",
        "lineItemLearningObjectiveIds",
        {"source": "case", "learningObjectiveId": "7"},
        {"source": "case", "learningObjectiveId": _URN},
    ),
    ("OR-CSV-137", "resources", {"importance": "middling"}, {"importance": "primary"}),
    ("OR-CSV-138", "results", {"scoreStatus": "done"}, {"scoreStatus": "fully graded"}),
    ("OR-CSV-139", "lineItemLearningObjectiveIds", {"source": "somewhere"}, {"source": "unknown"}),
    ("OR-CSV-176", "classResources", {"classSourcedId": "nowhere"}, {"classSourcedId": _CLASS}),
    ("OR-CSV-177", "lineItems", {"classSourcedId": "nowhere"}, {"classSourcedId": _CLASS}),
    ("OR-CSV-178", "results", {"studentSourcedId": "nowhere"}, {"studentSourcedId": _PUPIL}),
    ("OR-CSV-181", "userProfiles", {"userSourcedId": "nowhere", **_PROFILE}, {"userSourcedId": _PUPIL, **_PROFILE}),
    ("OR-CSV-182", "scoreScales", {"orgSourcedId": "nowhere"}, {"orgSourcedId": NEW["orgs"]["sourcedId"][0]}),
]


@pytest.mark.parametrize(("code", "table", "wrong", "right"), SMALL_CASES, ids=[case[0] for case in SMALL_CASES])
def test_rule_of_other_files(code: str, table: str, wrong: dict[str, str], right: dict[str, str]) -> None:
    checked = judged({**NEW, table: _small(**wrong)}, "1.2")
    assert code in codes(checked)
    assert code not in codes(judged({**NEW, table: _small(**right)}, "1.2"))
    if table != "userProfiles":  # gradebook and resources never cost the roster anything
        assert not checked.rejections
        assert not any(len(checked.tables[name].quarantined) for name in NEW)


def test_rule_OR_CSV_183_a_link_of_the_gradebook_leads_nowhere() -> None:
    items = _small(classSourcedId=NEW["classes"]["sourcedId"][0])
    link = _small(lineItemSourcedId="nowhere")
    assert "OR-CSV-183" in codes(judged({**NEW, "lineItems": items, "lineItemScoreScales": link}, "1.2"))
    there = _small(lineItemSourcedId="one")
    assert "OR-CSV-183" not in codes(judged({**NEW, "lineItems": items, "lineItemScoreScales": there}, "1.2"))


def test_rule_OR_CSV_230_a_role_uses_another_users_profile() -> None:
    profile = _small(
        userSourcedId=NEW["users"]["sourcedId"][1], profileType="p", vendorId="v", credentialType="c", username="u"
    )
    mine = {**NEW, "userProfiles": profile}
    owner = NEW["roles"]["userSourcedId"].to_list().index(NEW["users"]["sourcedId"][1])
    other = NEW["roles"]["userSourcedId"].to_list().index(NEW["users"]["sourcedId"][2])
    right = put("roles", "userProfileSourcedId", "one", owner)(dict(mine)) or mine
    wrong = put("roles", "userProfileSourcedId", "one", other)(dict(mine)) or mine
    assert "OR-CSV-230" not in codes(judged(right, "1.2"))
    assert "OR-CSV-230" in codes(judged(wrong, "1.2"))


def test_rule_OR_CSV_263_as_many_courses_as_classes() -> None:
    classes = OLD["classes"].head(30)
    courses = pl.concat([OLD["courses"].head(1).with_columns(sourcedId=pl.lit(f"c{n}")) for n in range(40)])
    assert "OR-CSV-263" in codes(judged({**OLD, "classes": classes, "courses": courses}))
    assert "OR-CSV-263" not in codes(judged({**OLD, "classes": classes, "courses": courses.head(29)}))


def test_rule_OR_CSV_091_a_delta_refers_to_what_came_before() -> None:
    checked = judged(_delta(), modes={"users": "delta"}, base=_accepted())
    assert "OR-CSV-091" in codes(checked)
    assert "OR-CSV-091" not in codes(judged(OLD))


def test_rule_PR_003_a_file_that_the_product_does_not_read() -> None:
    more = {**OLD, "categories": _small(title="Homework")}
    assert "PR-003" in codes(judged(more, product="math"))
    assert "PR-003" not in codes(judged(more)) | codes(judged(OLD, product="math"))


def test_rule_PR_020_a_header_that_the_product_cannot_read() -> None:
    read = delivered(OLD)
    read.findings.add("OR-CSV-062", "users.csv")
    assert "PR-020" in codes(check(read, options=CheckOptions(today=TODAY, products=("math",))))
    assert "PR-020" not in codes(check(read, options=CheckOptions(today=TODAY))) | codes(judged(OLD, product="math"))


#: Rules of the catalogue that no check looks for; docs/rules-left-out.md gives the reasons.
LEFT_OUT = (
    {"OR-CSV-016", "OR-CSV-260", "OR-CSV-261", "OR-CSV-265", "OR-CSV-267", "OR-CSV-271", "OR-CSV-275"}
    | {f"OR-CSV-{number}" for number in range(240, 248)}
    | {f"OR-CSV-{number}" for number in range(300, 306)}
)


def test_every_rule_is_looked_for_or_listed_as_left_out() -> None:
    rooms = [
        *ROOT.glob("rosters/reading/*.py"),
        *ROOT.glob("rosters/validating/*.py"),
        ROOT / "rosters/recognising.py",
        ROOT / "rosters/scope.py",
    ]
    code = "".join(path.read_text() for path in rooms)
    missing = {rule for rule in RULES if f'"{rule}"' not in code}
    assert missing == LEFT_OUT
    page = (ROOT / "docs/rules-left-out.md").read_text()
    listed = {rule for cell in re.findall(r"^\| (.*?) \|", page, re.MULTILINE) for rule in cell.split() if "-" in rule}
    assert listed - {"---"} == LEFT_OUT
