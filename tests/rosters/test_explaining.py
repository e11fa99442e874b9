"""A difference in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest

from rosters import syncs
from rosters.diffing import Difference, compare, tally
from rosters.explaining import difference_in_words, people_affected, rejection, verdict
from rosters.explaining.causes import NewYear, new_school_year
from rosters.oneroster.normal import NORMAL
from rosters.oneroster.plain import listed, percent, shortened
from tests.rosters.test_holding import BASE, in_year, situation


def table(name: str, *records: dict[str, str]) -> pl.DataFrame:
    lines = [{**dict.fromkeys(NORMAL[name], ""), **record} for record in records]
    return pl.DataFrame(lines, schema=dict.fromkeys(NORMAL[name], pl.String))


def test_a_person_counts_once_however_much_of_theirs_changes() -> None:
    target = {
        "users": table("users", {"sourcedId": "a"}),
        "demographics": table("demographics", {"sourcedId": "a"}, {"sourcedId": "b"}),
        "enrollments": table("enrollments", {"sourcedId": "1", "userSourcedId": "a"},
                             {"sourcedId": "2", "userSourcedId": "c"}),
        "orgs": table("orgs", {"sourcedId": "s"}),
    }  # fmt: skip
    assert people_affected(compare({}, target)) == 3
    assert people_affected(Difference()) == 0


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({}, "Nothing changes."),
        ({"users": {"removed": 1, "added": 0, "updated": 0}}, "1 person leaves."),
        (
            {"users": {"removed": 12, "added": 1, "updated": 1200}, "classes": {"added": 2}},
            "12 people leave, 1 comes and 1,200 change; 2 classes come.",
        ),
        ({"roles": {"added": 3}}, "Only details of people change: roles, logins or demographics."),
    ],
)
def test_numbers_become_a_sentence(counts: dict[str, dict[str, int]], words: str) -> None:
    assert difference_in_words(counts) == words


def test_the_verdict_names_the_gravest_first() -> None:
    counts = {"users": {"removed": 1, "added": 0, "updated": 0}}
    assert verdict(counts, [], first=False) == "Nothing unusual: 1 person leaves."
    assert verdict(counts, ["It is cut."], first=False) == "Held: It is cut."
    assert verdict(counts, ["It is cut.", "b", "c"], first=False) == "Held: It is cut. 2 more things are unusual."
    assert verdict(counts, ["This is the first."], first=True) == "This is the first."


def test_a_refusal_says_what_is_live() -> None:
    assert rejection(["It is torn."], live=True) == "It is torn. The roster stays as it was."
    assert rejection([], live=False) == "It cannot be read. Nothing was imported."


def test_shares_and_lists_read_well() -> None:
    shares = {0: "0 %", 0.0004: "under 0.1 %", 0.05: "5 %", 0.1884: "18.8 %", 1: "100 %"}
    assert {share: percent(share) for share in shares} == shares
    assert [listed(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
    assert shortened(list("abcde")) == "a, b, c and 2 more" and shortened(["a"]) == "a"


def _year(
    closing: str, classes: int, people: int, *, prefix: str = "", grades: str = "", first: int = 0
) -> dict[str, pl.DataFrame]:
    term = {"sourcedId": f"y{closing}", "schoolYear": closing, "type": "schoolYear"}
    users = ({"sourcedId": f"u{n}", "grades": (grades * people)[2 * n : 2 * n + 2]} for n in range(first, people))
    return {
        "academicSessions": table("academicSessions", term),
        "classes": table("classes", *({"sourcedId": f"{closing}{prefix}-{n}"} for n in range(classes))),
        "users": table("users", *users),
    }


_ALL = frozenset((t, d) for t in ("classes", "enrollments") for d in ("", "school", "grade", "role"))


def _turn(before: dict[str, pl.DataFrame], after: dict[str, pl.DataFrame]) -> NewYear | None:
    difference = compare(before, after)
    return new_school_year(before, difference, tally(before, difference))


def test_the_turn_of_the_school_year_is_told_as_one_cause() -> None:
    turn = _turn(_year("2026", 4, 10), _year("2027", 5, 8))
    assert turn is not None
    assert turn.sentence == (
        "this looks like the turn of the school year to 2026–27: 4 of 4 classes end and 5 begin, 8 of 10 people stay."
    )
    assert (turn.graduating, turn.moved) == ("", ())


def test_who_graduates_and_who_moves_up_belongs_to_it() -> None:
    before = _year("2026", 4, 10, grades="12110910080707060504")
    moved = "12110910080808070605"  # who stays is a grade higher
    turn = _turn(before, _year("2027", 4, 10, grades=f"12{moved[2:]}", first=1))
    assert turn is not None
    assert turn.graduating == "12"
    assert turn.sentence.endswith("9 of 10 people stay; those who leave were in grade 12.")
    assert turn.explains("REMOVED_SHARE", "users")
    assert turn.explains("GRADE_REMOVED_SHARE", "users")
    assert not turn.explains("ID_CHURN", "users")
    up = _turn(before, _year("2027", 4, 10, grades="12121011090808070605", first=0))
    assert up is not None
    assert up.moved == ("users",)
    assert up.explains("UPDATED_SHARE", "users")
    assert not up.explains("UPDATED_SHARE", "courses")
    assert not up.explains("REMOVED_SHARE", "users"), "nobody graduates"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (_year("2026", 4, 10), _year("2026", 4, 10, prefix="b")),  # other classes in the same year
        (_year("2027", 4, 10), _year("2026", 4, 10)),  # an old file
        (
            _year("2026", 4, 10),
            {**_year("2027", 4, 10), "classes": _year("2026", 4, 10)["classes"]},
        ),  # the same classes
        (_year("2026", 4, 10), _year("2027", 4, 4)),  # most people are gone
        (_year("soon", 4, 10), _year("2027", 4, 10)),  # nobody can tell which year it was
        ({}, _year("2027", 4, 10)),  # the first roster
        (_year("2026", 4, 10), {}),
    ],
)
def test_nothing_else_is_taken_for_it(before: dict[str, pl.DataFrame], after: dict[str, pl.DataFrame]) -> None:
    assert _turn(before, after) is None


def test_people_who_leave_or_get_new_ids_do_not_follow_from_a_new_year() -> None:
    turn = NewYear("this is it.", "", (), _ALL)
    assert turn.explains("TERM_GONE", "academicSessions")
    assert turn.explains("REMOVED_SHARE", "enrollments")
    assert turn.explains("SCHOOL_REMOVED_SHARE", "enrollments")
    for code, about in (("REMOVED_SHARE", "users"), ("REMOVED_COUNT", "users"), ("ID_CHURN", "users"),
                        ("SCHOOL_REMOVED_SHARE", "users"), ("SCHOOL_GONE", "orgs"), ("TAIL_MISSING", "classes"),
                        ("STALE", ""), ("FILE_GONE", "classes"), ("UPDATED_SHARE", "users")):  # fmt: skip
        assert not turn.explains(code, about)


def test_the_verdict_of_a_new_year_names_what_does_not_follow_from_it() -> None:
    turn = NewYear("this is it.", "", (), _ALL)
    assert turn.verdict([], 1) == "Held: this is it. The 1 unusual thing follows from that."
    assert turn.verdict([], 2) == "Held: this is it. The 2 unusual things follow from that."
    assert turn.verdict(["People leave.", "b"], 7) == (
        "Held: this is it. Of 9 unusual things, 7 follow from that. Also: People leave."
    )


def test_a_part_of_a_new_year_is_not_taken_for_the_whole() -> None:
    """Far fewer classes than before, or far fewer in one school: then that they end explains nothing."""

    def in_schools(tables: dict[str, pl.DataFrame], *schools: str) -> dict[str, pl.DataFrame]:
        classes = tables["classes"].with_columns(schoolSourcedId=pl.Series(schools, dtype=pl.String))
        return {**tables, "classes": classes}

    before = in_schools(_year("2026", 40, 10), *["north"] * 20, *["south"] * 20)
    whole = _turn(before, in_schools(_year("2027", 40, 10), *["north"] * 21, *["south"] * 19))
    assert whole is not None
    assert whole.explains("REMOVED_SHARE", "classes")
    assert whole.explains("SCHOOL_REMOVED_SHARE", "classes")
    one = _turn(before, in_schools(_year("2027", 38, 10), *["north"] * 30, *["south"] * 8))
    assert one is not None
    assert one.explains("REMOVED_SHARE", "classes")
    assert not one.explains("SCHOOL_REMOVED_SHARE", "classes")
    part = _turn(before, in_schools(_year("2027", 20, 10), *["north"] * 10, *["south"] * 10))
    assert part is not None
    assert not part.explains("REMOVED_SHARE", "classes")
    assert not part.explains("SCHOOL_REMOVED_SHARE", "classes")


# ------------------------------------------------------------------------------------------------ one cause for many


def without_school(school: str, *, ill: int = 0) -> dict[str, pl.DataFrame]:
    """The roster of test_holding without a school, and without so many others."""
    others = BASE["users"].filter(pl.col("primaryOrgSourcedId") != school).head(ill)["sourcedId"].implode()
    here = pl.col("schoolSourcedId") == school
    return {
        **BASE,
        "orgs": BASE["orgs"].filter(pl.col("sourcedId") != school),
        "classes": BASE["classes"].filter(~here),
        "users": BASE["users"].filter((pl.col("primaryOrgSourcedId") != school) & ~pl.col("sourcedId").is_in(others)),
        "enrollments": BASE["enrollments"].filter(~here & ~pl.col("userSourcedId").is_in(others)),
    }


def told(target: Mapping[str, pl.DataFrame], **facts: Any) -> tuple[list[str], list[str]]:
    """Codes and tables of the holds that stand by themselves, and of those that follow."""
    holds, year = syncs.judged(situation(target, **facts), {})
    assert year is None
    alone = [f"{hold.code} {hold.table}" for hold in holds if not hold.explained]
    return alone, sorted(f"{hold.code} {hold.table}" for hold in holds if hold.explained)


def test_what_a_missing_school_explains() -> None:
    causes, following = told(without_school("s1"))
    assert causes == ["SCHOOL_GONE orgs"]
    assert set(following) == {"REMOVED_SHARE users", "REMOVED_SHARE enrollments", "REMOVED_SHARE classes"}
    some = ["SCHOOL_GONE orgs", "REMOVED_SHARE users", "REMOVED_SHARE enrollments"]
    assert told(without_school("s1", ill=30))[0] == some, "30 of the other 300 people are too many by themselves"
    assert told(without_school("s1", ill=12)) == (causes, following), "12 of 300 are not"


def test_what_new_ids_of_people_explain() -> None:
    def new(column: str) -> pl.Expr:
        return pl.concat_str(pl.lit("new-"), column).alias(column)

    users, seats = BASE["users"].with_columns(new("sourcedId")), BASE["enrollments"].with_columns(new("userSourcedId"))
    causes, following = told({**BASE, "users": users, "enrollments": seats})
    assert causes == ["ID_CHURN users"]
    assert set(following) == {
        "REMOVED_SHARE users", "MEMBERSHIP_TURNOVER enrollments", "UPDATED_SHARE enrollments"
    }  # fmt: skip
    moved = seats.with_columns(pl.col("classSourcedId").shift(1, fill_value="c1"))
    assert "UPDATED_SHARE enrollments" in told({**BASE, "users": users, "enrollments": moved.head(400)})[1]
    other = {**BASE, "users": users, "enrollments": seats, "classes": BASE["classes"].gather_every(2)}
    assert "REMOVED_SHARE classes" in told(other)[0], "ids of people explain no class"


def test_what_a_file_of_last_year_explains() -> None:
    causes, following = told(in_year("2026"), base=in_year("2027"))
    assert causes == ["OLD_YEAR academicSessions"]
    assert {"REMOVED_SHARE classes", "REMOVED_SHARE enrollments"} <= set(following)


SCHOOL_IN = {"users": "primaryOrgSourcedId", "classes": "schoolSourcedId", "enrollments": "schoolSourcedId"}


def test_a_school_that_comes_again_under_another_id_is_called_so() -> None:
    again = BASE["orgs"].with_columns(pl.col("sourcedId").replace({"s1": "new"}))
    moved = {
        "orgs": again,
        **{
            table: BASE[table].with_columns(pl.col(column).replace({"s1": "new"}))
            for table, column in (
                ("users", "primaryOrgSourcedId"),
                ("classes", "schoolSourcedId"),
                ("enrollments", "schoolSourcedId"),
            )
        },
    }
    holds, _ = syncs.judged(situation({**BASE, **moved}), {})
    assert holds[0].code == "SCHOOL_GONE"
    assert holds[0].meaning == "1 school would come again under another id, with the same number, name or people."
    assert all(hold.explained for hold in holds[1:])


def test_a_school_whose_people_stay_has_lost_its_enrollments_only() -> None:
    here = pl.col("schoolSourcedId") == "s1"
    holds, _ = syncs.judged(situation({**BASE, "enrollments": BASE["enrollments"].filter(~here)}), {})
    assert holds[0].saw == "1 school would have no enrollments left: School s1. The 100 people who belong to it stay."


def test_the_verdict_names_the_cause_and_what_else_there_is() -> None:
    assert verdict({}, ["A school is gone."], first=False, following=4) == (
        "Held: A school is gone. 4 more unusual things follow from that; nothing else is unusual."
    )
    assert verdict({}, ["A school is gone.", "People leave.", "More."], first=False, following=1) == (
        "Held: A school is gone. 1 more unusual thing follows from that. Also: People leave. 1 more thing is unusual."
    )


def test_what_a_cut_a_new_column_or_slipped_names_explain() -> None:
    cut = {**BASE, "enrollments": BASE["enrollments"].head(250)}
    assert told(cut) == (["TAIL_MISSING enrollments"], ["REMOVED_SHARE enrollments"])

    house = pl.lit('{"x.house":"red"}').alias("metadata")
    columns = {"headers": {"users": ["sourcedId", "metadata.x.house"]}, "previous_headers": {"users": ["sourcedId"]}}
    painted = {**BASE, "users": BASE["users"].with_columns(house)}
    assert told(painted, **columns) == (["HEADERS_CHANGED users"], ["UPDATED_SHARE users"])
    renamed = {**BASE, "users": painted["users"].with_columns(phone=pl.lit("1"))}
    assert "UPDATED_SHARE users" in told(renamed, **columns)[0], "the new column does not explain the phones"

    spelled = pl.col("givenName", "familyName").str.replace_many(list("0123456789"), list("abcdefghij"))
    was = BASE["users"].with_columns(spelled)
    letters = was.with_columns(pl.col("givenName", "familyName").shift(1, fill_value="Somebody"))
    holds, _ = syncs.judged(situation({**BASE, "users": letters}, {**BASE, "users": was}), {})
    assert [(hold.code, hold.explained) for hold in holds] == [("OTHER_PEOPLE", False), ("UPDATED_SHARE", True)]


def test_a_cause_that_explains_nothing_is_not_explained_by_itself() -> None:
    """A few are missing at the end of one file, and of another too: both stand, in whatever order they are asked."""
    short = {"enrollments": BASE["enrollments"].head(388), "users": BASE["users"].head(388)}
    assert told({**BASE, **short}) == (["TAIL_MISSING users", "TAIL_MISSING enrollments"], [])
    assert told({**BASE, **short, "classes": BASE["classes"].head(28)}) == (
        ["TAIL_MISSING classes", "TAIL_MISSING users", "TAIL_MISSING enrollments"], ["REMOVED_SHARE classes"]
    )  # fmt: skip


def test_two_causes_are_both_told_and_each_has_its_own() -> None:
    gone = without_school("s1")
    painted = gone["users"].with_columns(pl.lit('{"x.house":"red"}').alias("metadata"))
    columns = {"headers": {"users": ["sourcedId", "metadata.x.house"]}, "previous_headers": {"users": ["sourcedId"]}}
    causes, following = told({**gone, "users": painted}, **columns)
    assert causes == ["SCHOOL_GONE orgs", "HEADERS_CHANGED users"]
    assert {"REMOVED_SHARE users", "UPDATED_SHARE users"} <= set(following)
