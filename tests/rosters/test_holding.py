"""One test per rule: a roster that it holds, and one that it lets pass."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rosters import holding
from rosters.diffing import compare, tally
from rosters.frames import NOTHING_APART, Apart, Frames
from rosters.holding import BY_NUMBERS, DEFAULT_LIMITS, MAY_WAIT, HoldFound, Past, Situation, judge
from rosters.oneroster.normal import NORMAL, TABLES

SCHOOLS, PEOPLE = 4, 400
MODES = dict.fromkeys([*TABLES, "lineItems"], "bulk")


def table(name: str, records: list[dict[str, str]]) -> pl.DataFrame:
    lines = [{**dict.fromkeys(NORMAL[name], ""), **record} for record in records]
    return pl.DataFrame(lines, schema=dict.fromkeys(NORMAL[name], pl.String))


def district(prefix: str = "", people: int = PEOPLE) -> dict[str, pl.DataFrame]:
    """Four schools with ten classes each, 400 people (a tenth of them teachers), everybody in one class."""
    schools = [f"{prefix}s{n}" for n in range(SCHOOLS)]
    classes = [(f"{prefix}c{n}", schools[n % SCHOOLS]) for n in range(40)]

    def person(n: int) -> dict[str, str]:
        return {
            "sourcedId": f"{prefix}p{n}", "givenName": f"Given{n}", "familyName": f"Family{prefix}{n}",
            "email": f"{n}@{prefix}x", "primaryOrgSourcedId": schools[n % SCHOOLS], "grades": f"{1 + n % 40 // 4:02}",
            "role": "teacher" if n % 10 == 9 else "student",
        }  # fmt: skip

    people_ = [person(n) for n in range(people)]
    seats = [
        {"sourcedId": f"{prefix}e{n}", "classSourcedId": classes[n % 40][0], "userSourcedId": p["sourcedId"],
         "schoolSourcedId": p["primaryOrgSourcedId"], "role": p["role"]}
        for n, p in enumerate(people_)
    ]  # fmt: skip
    return {
        "orgs": table("orgs", [{"sourcedId": s, "name": f"School {s}", "type": "school", "identifier": f"N{s}"}
                               for s in schools]),
        "academicSessions": table("academicSessions", [{"sourcedId": f"t{n}", "title": f"Term {n}"} for n in range(3)]),
        "courses": table("courses", [{"sourcedId": "k"}]),
        "classes": table("classes", [{"sourcedId": c, "schoolSourcedId": s, "courseSourcedId": "k",
                                      "termSourcedIds": "t0,t1"} for c, s in classes]),
        "users": table("users", people_),
        "enrollments": table("enrollments", seats),
    }  # fmt: skip


BASE = district()


def situation(target: Frames, base: Frames = BASE, apart: Apart = NOTHING_APART, **facts: Any) -> Situation:
    difference = compare(base, target)
    known: dict[str, Any] = {"base_version": 3, "modes": MODES, "previous_modes": MODES, "apart": apart.stays, **facts}
    return Situation(base=base, target=target, difference=difference, tally=tally(base, difference, apart), **known)


def held(target: Frames, limits: dict[str, float] | None = None, **facts: Any) -> dict[str, HoldFound]:
    return {hold.code: hold for hold in judge(situation(target, **facts), limits or {})}


def changed(name: str, change: Callable[[pl.DataFrame], pl.DataFrame], base: Frames = BASE) -> dict[str, pl.DataFrame]:
    return {**base, name: change(base[name])}


def without(name: str, condition: pl.Expr) -> dict[str, pl.DataFrame]:
    return changed(name, lambda frame: frame.filter(~condition))


ID = pl.col("sourcedId")


def people(*numbers: int) -> pl.Expr:
    return ID.is_in([f"p{n}" for n in numbers])


def test_an_ordinary_day_is_not_held() -> None:
    moved = pl.when(people(5, 6, 7)).then(pl.lit("new@x")).otherwise(pl.col("email")).alias("email")
    assert held(changed("users", lambda users: users.filter(~people(13, 214, 330)).with_columns(moved))) == {}


def test_first_delivery() -> None:
    hold = held(BASE, base={}, base_version=0)["FIRST_DELIVERY"]
    assert hold.approvable and "400 people" in hold.saw and "40 classes" in hold.saw
    twin = held(BASE, base={}, base_version=0, other_districts=lambda: {"Cedar": frozenset(BASE["orgs"]["sourcedId"])})
    assert "Cedar" in twin["FIRST_DELIVERY"].usual


@pytest.mark.parametrize("name", ["orgs", "academicSessions", "courses", "classes", "users", "enrollments"])
def test_empty(name: str) -> None:
    hold = judge(situation({key: frame for key, frame in BASE.items() if key != name}), {})[0]
    assert hold.code == "EMPTY" and not hold.approvable
    assert judge(situation({}, base={}, base_version=0), {})[0].code == "EMPTY"


def test_wrong_district() -> None:
    (hold,) = judge(situation(district("x")), {})
    assert hold.code == "WRONG_DISTRICT" and not hold.approvable
    assert "School x" not in hold.saw + hold.meaning + hold.next_step
    mixed = pl.concat([district("x")["users"].head(250), BASE["users"].head(150)])
    assert "WRONG_DISTRICT" not in held({**district("x"), "users": mixed})
    numbered = changed("orgs", lambda orgs: orgs.with_columns(pl.lit("Ns1").alias("identifier")), district("x"))
    assert "WRONG_DISTRICT" not in held(numbered)
    assert "WRONG_DISTRICT" not in held(district("x"), is_undo=True)


def test_wrong_district_is_known_by_the_orgs_of_another_of_ours() -> None:
    theirs = district("x", people=5)
    target = {**BASE, "orgs": theirs["orgs"]}
    found = held(target, other_districts=lambda: {"Cedar": frozenset(theirs["orgs"]["sourcedId"])})
    assert list(found) == ["WRONG_DISTRICT"] and "Cedar" in found["WRONG_DISTRICT"].meaning
    assert "Cedar" not in found["WRONG_DISTRICT"].saw, "which the district reads"
    assert "WRONG_DISTRICT" not in held(target, other_districts=lambda: {"Oak": frozenset({"s1"})})


def test_wrong_district_in_a_file_of_changes() -> None:
    """It names few of our records at best; who is new must come into an org of ours, or into one beneath it."""

    def held_of(come: Frames, **facts: Any) -> dict[str, HoldFound]:
        target = {name: pl.concat([BASE.get(name, come[name].clear()), come[name]]) for name in come}
        target = {**BASE, **{name: frame.unique("sourcedId", keep="first") for name, frame in target.items()}}
        ids = {name: come[name]["sourcedId"] for name in ("orgs", "users") if name in come}
        return held(target, modes=dict.fromkeys(come, "delta"), delivered_ids=ids, **facts)

    def roles(users: pl.DataFrame, org: str) -> pl.DataFrame:
        held = [
            {"sourcedId": f"r{n}", "userSourcedId": who, "orgSourcedId": org}
            for n, who in enumerate(users["sourcedId"])
        ]
        return table("roles", held)

    theirs = district("x", people=60)
    found = held_of(theirs)
    assert list(found) == ["WRONG_DISTRICT"] and found["WRONG_DISTRICT"].approvable, "it may be a new school of ours"
    assert "School x" not in found["WRONG_DISTRICT"].saw
    assert "WRONG_DISTRICT" in held_of({"users": theirs["users"]}), "people without a word on where they belong"
    many = {"users": district("x", people=300)["users"]}
    assert set(held_of(many)) == {"WRONG_DISTRICT", "GROWN"}, "who decides about it sees what else is unusual"
    known = held_of(many, whose_people=lambda come: "Elm" if ("xp1", "Familyx1") in come.rows() else "")
    assert list(known) == ["WRONG_DISTRICT"] and not known["WRONG_DISTRICT"].approvable
    assert "Its people are those of Elm" in known["WRONG_DISTRICT"].meaning
    few = {name: theirs[name].head(5) for name in ("orgs", "users")}
    assert "WRONG_DISTRICT" not in held_of(few), "so few prove nothing"
    another = {"Cedar": frozenset(theirs["orgs"]["sourcedId"])}
    twin = held_of({"orgs": theirs["orgs"].head(1)}, other_districts=lambda: another)
    assert not twin["WRONG_DISTRICT"].approvable

    newcomers = {"users": theirs["users"], "roles": roles(theirs["users"], "s1")}
    assert "WRONG_DISTRICT" not in held_of(newcomers)
    beneath = theirs["orgs"].with_columns(parentSourcedId=pl.lit("s0"))
    opened = {"orgs": beneath, "users": theirs["users"], "roles": roles(theirs["users"], "xs1")}
    assert "WRONG_DISTRICT" not in held_of(opened, other_districts=lambda: another), "new schools of ours"
    mixed = pl.concat([theirs["users"], BASE["users"].head(30)])
    assert "WRONG_DISTRICT" not in held_of({"users": mixed})
    left = pl.concat([theirs["users"]["sourcedId"], BASE["users"]["sourcedId"].head(3)])
    said_again: dict[str, Any] = {"modes": {"users": "delta"}, "delivered_ids": {"users": left}}
    assert held(without("users", people(1)), **said_again) == {}, "who left long ago may be told to have left again"


def test_a_file_about_some_schools_is_judged_by_those() -> None:
    """Its shares are shares of what it speaks for, and its end is the end of that."""
    elsewhere = {
        "orgs": BASE["orgs"].filter(ID != "s1")["sourcedId"],
        **{
            name: BASE[name].filter(pl.col(column) != "s1")["sourcedId"]
            for name, column in (("users", "primaryOrgSourcedId"), ("enrollments", "schoolSourcedId"))
        },
    }
    seats = BASE["enrollments"].filter(pl.col("schoolSourcedId") == "s1")["sourcedId"]
    cut = without("enrollments", ID.is_in(seats.tail(15).implode()))
    assert held(cut) == {}, "nothing that a district would notice"
    found = held(cut, apart=Apart(elsewhere, elsewhere))
    assert {"TAIL_MISSING", "REMOVED_SHARE"} <= set(found)
    assert "15 of 100 enrollments" in found["REMOVED_SHARE"].saw
    ids = {"orgs": pl.Series(["s1"]), "users": pl.Series([f"p{n}" for n in range(1, PEOPLE, 4)])}
    large = {name: [f"z{n}" for n in range(9_000)] for name in ("orgs", "users")}
    many = {name: pl.concat([BASE[name], table(name, [{"sourcedId": each} for each in large[name]])]) for name in large}
    apart = {name: pl.concat([elsewhere[name], pl.Series(large[name])]) for name in large}
    assert held({**BASE, **many}, base={**BASE, **many}, delivered_ids=ids, apart=Apart(apart, apart)) == {}


def test_what_a_file_may_change_counts_although_it_may_not_go() -> None:
    """Of a file about a term all people, of one about a school all courses of the district; and whom it moves there."""
    everybody = {"users": BASE["users"]["sourcedId"]}
    renamed = changed("users", lambda users: users.with_columns(pl.lit("x").alias("phone")))
    assert held(renamed, apart=Apart(everybody))["UPDATED_SHARE"].saw.startswith("Would change 400 of 400 people")
    teachers = pl.when(pl.col("role") == "teacher").then(pl.lit("x")).otherwise("phone").alias("phone")
    role = held(changed("users", lambda users: users.with_columns(teachers)), apart=Apart(everybody))
    assert role["ROLE_UPDATED_SHARE"].numbers["before"] == 40
    of_s1 = BASE["users"]["primaryOrgSourcedId"] == "s1"
    elsewhere = {"users": BASE["users"]["sourcedId"].filter(~of_s1)}
    taken = pl.when(people(*range(0, 200, 2))).then(pl.lit("s1")).otherwise("primaryOrgSourcedId")
    moved = held(changed("users", lambda users: users.with_columns(primaryOrgSourcedId=taken)),
                 apart=Apart(elsewhere, elsewhere))  # fmt: skip
    assert moved["UPDATED_SHARE"].saw.startswith("Would change 100 of 200 people")
    quiet = changed("users", lambda users: users.filter(~people(1, 5, 9)))
    assert held(quiet, apart=Apart(elsewhere, elsewhere)) == {}

    new = changed("users", lambda users: pl.concat([users, district("more", people=201)["users"]]))
    assert "instead of 400 " in held(new, apart=Apart(everybody))["GROWN"].saw
    assert "instead of 400 " in held(new, apart=Apart(everybody, everybody))["GROWN"].saw, "a school of nobody yet"
    assert "instead of 100 " in held(new, apart=Apart(elsewhere, elsewhere))["GROWN"].saw
    term = Apart({name: BASE[name]["sourcedId"] for name in ("orgs", "users")})
    ids = {name: district("x")[name]["sourcedId"] for name in ("orgs", "users")}
    strangers = {name: pl.concat([BASE[name], district("x")[name]]) for name in ids}
    assert "WRONG_DISTRICT" in held({**BASE, **strangers}, apart=term, delivered_ids=ids)
    assert held(BASE, apart=term, delivered_ids={name: BASE[name]["sourcedId"].head(30) for name in ids}) == {}


def test_what_may_wait_is_what_a_hold_is_about() -> None:
    said: dict[bool, set[str]] = {True: set(), False: set()}
    for path in Path(holding.__file__).parent.glob("*.py"):
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            if isinstance(call.func, ast.Name) and call.func.id == "HoldFound":
                code = call.args[0]
                parts = code.values if isinstance(code, ast.JoinedStr) else [code]
                form = "".join(str(part.value) if isinstance(part, ast.Constant) else "[A-Z]+" for part in parts)
                fits = {form} | {each for each in BY_NUMBERS if re.fullmatch(form, each)}
                said[any(word.arg == "about" for word in call.keywords)] |= {each for each in fits if "[" not in each}
    assert said[True] == MAY_WAIT and not said[False] & MAY_WAIT and {*BY_NUMBERS, "STALE"} <= said[True] | said[False]


def test_wrong_district_looks_at_what_came_not_at_what_was_kept() -> None:
    kept = {name: pl.concat([BASE[name], frame]) for name, frame in district("x").items() if name in ("orgs", "users")}
    ids = {name: district("x")[name]["sourcedId"] for name in ("orgs", "users")}
    assert "WRONG_DISTRICT" in held({**BASE, **kept}, delivered_ids=ids)


def test_stale() -> None:
    hold = held(without("users", people(1)), target_digest="d", earlier_digests={"d": 2})["STALE"]
    assert "version 2" in hold.saw
    days: dict[str, Any] = {"last_modified": "2026-10-01T00:00:00Z", "previous_last_modified": "2026-10-02T00:00:00Z"}
    assert "2026-10-01" in held(without("users", people(1)), **days)["STALE"].saw
    assert "STALE" not in held(without("users", people(1)), target_digest="e", earlier_digests={"d": 2})
    assert "STALE" not in held(without("users", people(1)), target_digest="d", earlier_digests={"d": 2}, is_undo=True)


def test_removed_share() -> None:
    some = [n for n in range(PEOPLE) if n % 19 == 0]
    hold = held(without("users", people(*some)))["REMOVED_SHARE"]
    assert hold.saw == "Would remove 22 of 400 people (5.5 %, limit 5 %)."
    assert hold.numbers == {"removed": 22, "before": 400, "share": 0.055, "limit": 0.05}
    assert held(without("users", people(*some[:20]))) == {}
    assert held(without("users", people(*some)), {"removed_share": 0.06}) == {}


def test_removed_count() -> None:
    some = [n for n in range(PEOPLE) if n % 43 == 0]
    assert held(without("users", people(*some)), {"removed_count": 9})["REMOVED_COUNT"].numbers["removed"] == 10
    assert held(without("users", people(*some)), {"removed_count": 10}) == {}


def test_one_school_one_grade_one_role() -> None:
    limits = {"removed_share": 0.9, "removed_count": 9000.0}
    of_school = [n for n in range(PEOPLE) if n % 4 == 1][::3]
    hold = held(without("users", people(*of_school)), limits)["SCHOOL_REMOVED_SHARE"]
    assert hold.key == "s1" and "School s1, 34 of 100 people (34 %)" in hold.saw
    grade = pl.col("grades") == "03"
    assert held(without("users", grade), limits)["GRADE_REMOVED_SHARE"].key == "03"
    role = (pl.col("role") == "teacher") & people(*range(200))
    assert held(without("users", role), limits)["ROLE_REMOVED_SHARE"].key == "teacher"
    assert held(without("users", grade & people(*range(80))), limits) == {}


def test_school_gone() -> None:
    gone = pl.col("primaryOrgSourcedId") == "s2"
    found = held({**without("users", gone), "orgs": BASE["orgs"].filter(ID != "s2")})
    assert found["SCHOOL_GONE"].saw == "1 school would have nobody left: School s2. 100 people belonged to it."
    one_stays = pl.when(people(2)).then(pl.lit("s1")).otherwise("primaryOrgSourcedId")
    users = BASE["users"].with_columns(primaryOrgSourcedId=one_stays).filter(pl.col("primaryOrgSourcedId") != "s2")
    hold = held({**BASE, "users": users, "orgs": BASE["orgs"].filter(ID != "s2")})["SCHOOL_GONE"]
    assert hold.saw.endswith("100 people belonged to it: 99 leave, and 1 stays in the roster without it.")
    assert "SCHOOL_REMOVED_SHARE" not in found
    assert found["SCHOOL_GONE"].key == "s2" and next(iter(found)) == "SCHOOL_GONE"
    assert "SCHOOL_GONE" not in held(without("users", gone & ~people(2)))
    assert "SCHOOL_GONE" in held(without("enrollments", pl.col("schoolSourcedId") == "s2"))


@pytest.mark.parametrize(("name", "column"), [("users", "primaryOrgSourcedId"), ("enrollments", "schoolSourcedId")])
def test_a_school_is_gone_when_all_of_its_records_move_away_and_not_when_others_take_their_place(
    name: str, column: str
) -> None:
    def moved(to: dict[str, str]) -> dict[str, pl.DataFrame]:
        return changed(name, lambda frame: frame.with_columns(pl.col(column).replace(to)))

    assert held(moved({"s2": "s1"}))["SCHOOL_GONE"].key == "s2"
    assert "SCHOOL_GONE" not in held(moved({"s2": "s1", "s1": "s2"}))
    exchanged = moved({"s1": "s2"})[name].filter(~pl.col("sourcedId").is_in(_at("s2", name, column).implode()))
    assert held({**BASE, name: exchanged})["SCHOOL_GONE"].key == "s1"


def _at(school: str, name: str, column: str) -> pl.Series:
    return BASE[name].filter(pl.col(column) == school)["sourcedId"]


def test_term_gone() -> None:
    assert "Term 1" in held(without("academicSessions", ID == "t1"))["TERM_GONE"].saw
    assert "TERM_GONE" not in held(without("academicSessions", ID == "t2"))


def in_year(year: str, schools: tuple[str, ...] = ("s0", "s1", "s2", "s3"), base: Frames = BASE) -> Frames:
    """`base` in the school year `year`: its session, and in these schools its own classes and seats."""
    there = pl.col("schoolSourcedId").is_in(schools)

    def of_year(column: str) -> pl.Expr:
        return pl.when(there).then(pl.concat_str(pl.lit(year), column)).otherwise(column).alias(column)

    sessions = [{"sourcedId": f"y{year}", "title": year, "type": "schoolYear", "schoolYear": year}]
    before = base["academicSessions"].filter(pl.col("schoolYear") != "").to_dicts() if len(schools) < SCHOOLS else []
    return {
        **base,
        "academicSessions": table("academicSessions", [*before, *sessions]),
        "classes": base["classes"].with_columns(of_year("sourcedId")),
        "enrollments": base["enrollments"].with_columns(of_year("sourcedId"), of_year("classSourcedId")),
    }


def test_old_year() -> None:
    this, last = in_year("2027"), in_year("2026")
    hold = held(last, base=this)["OLD_YEAR"]
    assert "of the school year 2025–26; the roster that is live is of 2026–27" in hold.saw and hold.approvable
    assert hold.numbers == {"live": 2027, "file": 2026}
    assert "OLD_YEAR" not in held(this, base=last)
    assert "OLD_YEAR" not in held(last, base=this, is_undo=True), "who takes a year back knows it"
    again = {**this, "academicSessions": this["academicSessions"].with_columns(schoolYear=pl.lit("2026"))}
    assert "OLD_YEAR" in held(again, base=this), "the same session, with another year"
    silent = {**this, "academicSessions": this["academicSessions"].with_columns(schoolYear=pl.lit(""))}
    assert "OLD_YEAR" not in held(silent, base=this), "no year is no old one"


def test_rollover_partial() -> None:
    last = in_year("2026")
    part = in_year("2027", ("s0", "s1", "s3"), last)
    hold = held(part, base=last)["ROLLOVER_PARTIAL"]
    assert "turns to 2026–27 in 3 schools, but not in 1: School s2. All 10 classes of it stay as they were." in hold.saw
    assert (hold.dimension, hold.key) == ("school", "s2")
    assert "ROLLOVER_PARTIAL" not in held(in_year("2027", base=last), base=last), "all of them turned"
    assert "ROLLOVER_PARTIAL" not in held(in_year("2027", (), last), base=last), "none did: a year is made ready"
    mended = {**part, "academicSessions": last["academicSessions"]}
    assert "ROLLOVER_PARTIAL" not in held(mended, base=last), "other classes in the same year"


def test_file_gone() -> None:
    now = {name: mode for name, mode in MODES.items() if name != "demographics"}
    assert "no demographics.csv" in held(BASE, modes=now)["FILE_GONE"].saw
    assert held(BASE, modes=dict.fromkeys(now, "delta")) == {}
    base = {**BASE, "demographics": table("demographics", [{"sourcedId": "p1"}])}
    assert "has no rows" in held(BASE, base=base)["FILE_GONE"].saw


def test_headers_changed() -> None:
    headers: dict[str, Any] = {
        "previous_headers": {"users": ["sourcedId", "email"]},
        "headers": {"users": ["phone", "sourcedId"]},
    }
    assert held(BASE, **headers)["HEADERS_CHANGED"].saw == "users.csv no longer has email and now has phone."
    assert held(BASE, {"headers_changed": 0}, **headers) == {}
    assert held(BASE, previous_headers={"users": ["a", "b"]}, headers={"users": ["b", "a"]}) == {}


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(201, 400), churn=st.sets(st.integers(0, 200), max_size=5))
def test_tail_missing(cut: int, churn: set[int]) -> None:
    found = held(changed("users", lambda users: users.head(cut).filter(~people(*churn))))
    assert ("TAIL_MISSING" in found) == (cut <= 390)
    if cut <= 390:
        assert found["TAIL_MISSING"].numbers["removed"] >= PEOPLE - cut


def test_a_cut_shows_behind_records_that_came_later() -> None:
    late = district("late", people=20)["users"]
    base = {**BASE, "users": pl.concat([BASE["users"], late])}
    target = {**BASE, "users": pl.concat([BASE["users"].head(200), late])}
    assert held(target, base=base)["TAIL_MISSING"].numbers["removed"] == 200


def test_what_leaves_all_over_the_file_is_no_tail() -> None:
    assert "TAIL_MISSING" not in held(without("users", people(*range(0, PEOPLE, 3))))
    assert "TAIL_MISSING" not in held(changed("users", lambda users: users.head(300)), modes={"users": "delta"})


def test_updated_share() -> None:
    other = changed("users", lambda users: users.with_columns(pl.lit("x").alias("phone")))
    assert held(other)["UPDATED_SHARE"].numbers["updated"] == 400
    assert held(other, {"updated_share": 1}) == {}


def test_id_churn() -> None:
    def rekeyed(count: int) -> dict[str, pl.DataFrame]:
        new = pl.when(people(*range(7, 7 + count))).then("new" + ID).otherwise(ID).alias("sourcedId")
        return changed("users", lambda users: users.with_columns(new))

    assert held(rekeyed(15))["ID_CHURN"].saw.startswith("15 of 400 people")
    assert "ID_CHURN" not in held(rekeyed(9))
    nameless = changed("users", lambda u: u.with_columns(("new" + ID).alias("sourcedId"), email=pl.lit("")))
    assert held(nameless)["ID_CHURN"].numbers["ids"] == 400
    seats = changed("enrollments", lambda e: e.with_columns(("new" + ID).alias("sourcedId")))
    assert held(seats)["ID_CHURN"].table == "enrollments"


def test_file_gone_tells_a_file_that_did_not_come_from_one_without_rows() -> None:
    def saw(*unused: str, **unusable: str) -> str:
        modes = {name: mode for name, mode in MODES.items() if name not in unused}
        return held(BASE, modes=modes, unusable=unusable)["FILE_GONE"].saw

    assert saw("courses") == "The delivery has no courses.csv; the one before had it."
    assert saw("courses", courses="holds no rows") == "courses.csv holds no rows; the one before had it."
    both = {"courses": "holds no rows", "classes": "holds no rows"}
    assert saw("courses", "classes", **both) == "courses.csv and classes.csv hold no rows; the one before had them."
    assert saw("courses", "classes", classes="cannot be used") == (
        "The delivery has no courses.csv and classes.csv cannot be used; the one before had them."
    )


def named(names: tuple[str, str], *numbers: int) -> dict[str, pl.DataFrame]:
    """These people under other names."""
    cells = [
        pl.when(people(*numbers))
        .then(pl.concat_str(pl.lit(name), ID.str.slice(1)))
        .otherwise(pl.col(column))
        .alias(column)
        for column, name in zip(("givenName", "familyName"), names, strict=True)
    ]
    return changed("users", lambda users: users.with_columns(cells))


def test_other_people_under_the_same_ids() -> None:
    slipped = held(named(("Other", "Another"), *range(12)))["OTHER_PEOPLE"]
    assert slipped.saw.startswith("12 of 400 people") and slipped.approvable
    assert "OTHER_PEOPLE" not in held(named(("Other", "Another"), *range(9))), "too few"
    many = range(0, 400, 20)
    for married in (("Given", "Another"), ("Other", "Family")):
        assert "OTHER_PEOPLE" not in held(named(married, *many)), "one name stays"
    assert "OTHER_PEOPLE" not in held(named(("GIVÉN", "Family Jr "), *many)), "only written otherwise"
    assert "OTHER_PEOPLE" not in held(named(("Other", "Another"), *range(12)), {"other_name_share": 0.5})


def test_people_who_come_a_second_time() -> None:
    base = changed("users", lambda users: users.with_columns(username=pl.concat_str(pl.lit("Login"), ID)))
    again = base["users"].head(12).with_columns(sourcedId="second" + ID, username=pl.col("username").str.to_lowercase())

    def found(newcomers: pl.DataFrame, stay: pl.DataFrame = base["users"]) -> dict[str, HoldFound]:
        target = {**base, "users": pl.concat([stay, newcomers])}
        return {hold.code: hold for hold in judge(situation(target, base), {})}

    assert found(again)["DOUBLED"].saw.startswith("12 of 12 people who come have the login or the number of somebody")
    assert "DOUBLED" not in found(again.head(9)), "too few"
    strangers = again.with_columns(username="x" + pl.col("username"))
    assert "DOUBLED" not in found(strangers)
    assert "DOUBLED" not in found(again.with_columns(username=pl.lit(""))), "nobody is known by an empty login"
    rekeyed = found(again, base["users"].slice(12))
    assert "ID_CHURN" in rekeyed and "DOUBLED" not in rekeyed, "they left under the old ids"


def test_grown() -> None:
    def with_more(count: int) -> dict[str, pl.DataFrame]:
        return changed("users", lambda users: pl.concat([users, district("more", people=count)["users"]]))

    grown = held(with_more(201))["GROWN"]
    assert grown.saw == "There would be 601 people instead of 400 (50.2 % more, limit 50 %)."
    assert "GROWN" not in held(with_more(200))
    exchanged = {**BASE, "users": district("more")["users"]}
    assert "GROWN" not in held(exchanged), "as many left"


def test_what_changes_in_one_school_grade_or_role_only() -> None:
    def touched(where: pl.Expr) -> dict[str, pl.DataFrame]:
        phone = pl.when(where).then(pl.lit("1")).otherwise(pl.col("phone")).alias("phone")
        return changed("users", lambda users: users.with_columns(phone))

    grade = held(touched((pl.col("grades") == "03") & (pl.col("role") == "student")))["GRADE_UPDATED_SHARE"]
    assert (grade.table, grade.dimension, grade.key) == ("users", "grade", "03")
    role = held(touched(pl.col("role") == "teacher"))["ROLE_UPDATED_SHARE"]
    assert role.saw.startswith("One role would see more than 50 % of its people changed: teacher, 40 of 40 people")
    school = pl.col("primaryOrgSourcedId") == "s1"
    most = held(touched(school & (pl.int_range(pl.len()) < 300)), {"updated_share": 0.4})
    assert list(most) == ["SCHOOL_UPDATED_SHARE"], "grades and roles are the same people"
    assert list(held(touched(school), {"updated_share": 0.2})) == ["UPDATED_SHARE"], "the whole table is held already"
    assert held(touched((pl.col("role") == "teacher") & (pl.int_range(pl.len()) < 90))) == {}, "too few"


def test_a_group_does_not_count_who_came_into_it_by_the_change() -> None:
    promoted = pl.when(people(*range(0, 60, 2))).then(pl.lit("aide")).otherwise(pl.col("role")).alias("role")
    base = changed(
        "users",
        lambda users: users.with_columns(pl.when(people(9)).then(pl.lit("aide")).otherwise("role").alias("role")),
    )
    target = changed("users", lambda users: users.with_columns(promoted), base)
    assert judge(situation(target, base), {}) == []


def test_membership_turnover_in_one_school() -> None:
    there = pl.col("schoolSourcedId") == "s2"
    shifted = (
        pl.when(there).then(pl.col("classSourcedId").shift(4, fill_value="c2")).otherwise(pl.col("classSourcedId"))
    )
    target = changed("enrollments", lambda e: e.with_columns(shifted.alias("classSourcedId")))
    hold = held(target, {"updated_share": 1, "group_updated_share": 1, "turned_over_classes": 0.3})[
        "MEMBERSHIP_TURNOVER"
    ]
    assert (hold.dimension, hold.key, hold.numbers["classes"]) == ("school", "s2", 10)
    assert "of School s2" in hold.saw


def test_membership_turnover() -> None:
    moved = changed("enrollments", lambda e: e.with_columns(pl.col("userSourcedId").shift(7, fill_value="p0")))
    assert held(moved, {"updated_share": 1})["MEMBERSHIP_TURNOVER"].numbers["before"] > 30
    few = pl.when(pl.col("classSourcedId").is_in(["c0", "c1"])).then(pl.lit("p3")).otherwise(pl.col("userSourcedId"))
    assert held(changed("enrollments", lambda e: e.with_columns(few.alias("userSourcedId")))) == {}


def test_holds_say_what_is_usual() -> None:
    history = [Past(date(2026, 9, day), {"users": {"removed": 0.004}}) for day in range(1, 4)]
    history.append(Past(date(2026, 8, 1), {"users": {"removed": 0.34}}))
    half = without("users", people(*range(0, PEOPLE, 2)))
    assert held(half, history=history)["REMOVED_SHARE"].usual == (
        "0.4 % (4 syncs before); the most was 34 %, in August 2026."
    )
    assert held(half)["REMOVED_SHARE"].usual == "There is nothing to compare it with yet."


def test_no_hold_names_a_person_and_the_order_is_always_the_same() -> None:
    target = {name: frame.head((len(frame) + 1) // 2) for name, frame in BASE.items()}
    holds = judge(situation(target), {})
    assert [hold.code for hold in holds][:2] == ["SCHOOL_GONE", "TAIL_MISSING"]
    assert holds == judge(situation(target), {})
    for hold in holds:
        assert hold.saw and hold.usual and hold.meaning and hold.next_step
        assert not any(word in hold.saw + hold.meaning for word in ("Given", "Family", "@"))


def test_every_limit_is_documented() -> None:
    assert all(limit.help and limit.unit in ("share", "people", "records", "on") for limit in DEFAULT_LIMITS.values())
