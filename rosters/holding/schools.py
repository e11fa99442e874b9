"""Schools that have nobody left, terms that go, classes whose students are exchanged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final

import polars as pl

from rosters.diffing import ID, WAS, column_of, scan_of
from rosters.frames import Frames
from rosters.holding.situation import REMOVED, UPDATED, Accounts, HoldFound, Situation, lines_of, school_names
from rosters.oneroster.normal import REFERENCES
from rosters.oneroster.plain import NOUNS, Noun, percent, school_year, shortened
from rosters.recognising import known_again, newest_years

_SCHOOL: Final = Noun("school", "schools")
_TERM: Final = Noun("term", "terms")
#: A class of fewer students may be exchanged without anybody wondering.
_SMALL_CLASS: Final = 5
#: So many classes of one school count by themselves.
_SOME_CLASSES: Final = 10


def school_gone(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    """SCHOOL_GONE: schools lose their org, all their people or all their enrollments."""
    gone = schools_gone(s)
    if not gone:
        return []
    changes = {table: _of_schools(table, gone) for table in s.difference.tables}
    people, them = sum(gone.values()), "it" if len(gone) == 1 else "them"
    names = shortened(school_names(s, list(gone)))
    renumbered = _come_again(s, list(gone))
    staying = column_of(s.target, "users", "primaryOrgSourcedId")
    if people and int(staying.is_in(list(gone)).sum()) == people:
        saw = f"{_SCHOOL.count(len(gone))} would have no enrollments left: {names}. "
        saw += f"The {NOUNS['users'].count(people)} who belong to {them} stay."
    else:
        saw = f"{_SCHOOL.count(len(gone))} would have nobody left: {names}. "
        saw += f"{NOUNS['users'].count(people)} belonged to {them}{_those_who_stay(s, list(gone), people)}."
    return [
        HoldFound(
            "SCHOOL_GONE",
            saw,
            "Schools close in summer, seldom during a year.",
            f"{_SCHOOL.count(renumbered)} would come again under another id, with the same number, name or people."
            if renumbered
            else "Their people, classes and enrollments would be removed or lose their school.",
            "Ask the district whether ids in its SIS changed: everything kept under the old ones would be lost. If so, "
            "look who is who and keep them."
            if renumbered
            else "Ask the district whether they closed or were left out of the export.",
            table="orgs",
            dimension="school",
            key=next(iter(gone)),
            numbers={"schools": len(gone), "people": people, **({"again": renumbered} if renumbered else {})},
            accounts=Accounts(changes, tuple(gone)),
            about=changes,
        )
    ]


def _those_who_stay(s: Situation, gone: list[str], people: int) -> str:
    """Where not all who belonged to these schools leave: how many do, as the difference counts them; else ""."""
    if "users" not in s.difference.tables:
        return ""
    leave = s.difference.scan("users").filter(REMOVED & pl.col("primaryOrgSourcedId").is_in(gone)).select(pl.len())
    leaving = int(leave.collect().item())
    if not 0 < leaving < people:
        return ""
    stay = f"{people - leaving:,} {'stays' if people - leaving == 1 else 'stay'} in the roster without"
    return f": {leaving:,} {'leaves' if leaving == 1 else 'leave'}, and {stay} {'it' if len(gone) == 1 else 'them'}"


def _of_schools(table: str, schools: Collection[str]) -> pl.Expr:
    """Changes of records that belong to these schools, or did."""
    there = pl.Series(list(schools), dtype=pl.String).implode()
    found = pl.col("school").is_in(there)
    if table == "orgs":
        found |= ID.is_in(there)
    for column in (column for column, to in REFERENCES[table].items() if to == "orgs"):
        found |= pl.col(WAS + column).is_in(there)
    return found


def schools_gone(s: Situation) -> dict[str, int]:
    """sourcedId of every school that loses its org, all its people or all its enrollments -> how many people it had;
    the largest first."""
    schools = scan_of(s.base, "orgs").filter(pl.col("type") == "school").select("sourcedId").collect().to_series()
    gone = set[str]()
    if "orgs" in s.difference.tables:
        leaving = s.difference.scan("orgs").filter(REMOVED).select("sourcedId").collect().to_series()
        gone |= set(schools.to_list()) & set(leaving.to_list())
    for table, column in (("users", "primaryOrgSourcedId"), ("enrollments", "schoolSourcedId")):
        gone |= _emptied(s, table, column) & set(schools.to_list())
    if not gone:
        return {}
    people = scan_of(s.base, "users").group_by("primaryOrgSourcedId").len().collect()
    had = dict.fromkeys(gone, 0) | {school: number for school, number in people.iter_rows() if school in gone}
    return dict(sorted(had.items(), key=lambda item: (-item[1], item[0])))


def _come_again(s: Situation, schools: list[str]) -> int:
    """How many of these `schools` are among the orgs that come."""
    again = known_again(s.difference, version=s.oneroster_version, only=("orgs",))
    return int(again["kept"].is_in(schools).sum())


def _emptied(s: Situation, table: str, column: str) -> set[str]:
    """The schools that had records of `table` and would have none. Counted from the tally; it puts an updated record
    where it would be, so those that move are taken from where they were."""
    if table not in s.difference.tables:
        return set()
    moving = s.difference.scan(table).filter(UPDATED & pl.col(WAS + column).is_not_null())
    places = moving.select(now=column, was=WAS + column).collect()
    come, left = Counter(places["now"].to_list()), Counter(places["was"].to_list())
    return {
        line.key
        for line in lines_of(s, table, "school")
        if line.lived and line.lived + line.added - line.removed + come[line.key] == left[line.key]
    }


def term_gone(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    """TERM_GONE: terms in which there are classes are removed."""
    if "academicSessions" not in s.difference.tables:
        return []
    in_use = column_of(s.base, "classes", "termSourcedIds").str.split(",").explode(empty_as_null=False).unique()
    gone = s.difference.scan("academicSessions").filter(REMOVED & ID.is_in(in_use.implode())).collect()
    gone = gone.sort("startDate", "sourcedId")
    if gone.is_empty():
        return []
    return [
        HoldFound(
            "TERM_GONE",
            f"{_TERM.count(len(gone))} in which there are classes would be removed: "
            f"{shortened(gone['title'].to_list())}.",
            "Terms go when a school year ends.",
            "Classes of that term would lose it, and applications may end them.",
            "If the term is over, approve; if not, ask the district for a complete academicSessions.csv.",
            table="academicSessions",
            numbers={"terms": len(gone)},
            about={"academicSessions": REMOVED & ID.is_in(gone["sourcedId"].implode())},
        )
    ]


def old_year(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    """OLD_YEAR: the newest school year that is live has no session left; the file is of the year before."""
    lived, after = newest_years(s.base, s.difference)
    if not after or after >= lived:
        return []
    return [
        HoldFound(
            "OLD_YEAR",
            f"The file is of the school year {school_year(after)}; the roster that is live is of {school_year(lived)}.",
            "A school year that has begun stays until the next one.",
            "Everybody would be back in last year's classes.",
            "Ask the district for this year's export. It may have sent an old file, or its SIS stands on last year.",
            table="academicSessions",
            numbers={"live": lived, "file": after},
            accounts=Accounts({table: pl.lit(True) for table in s.difference.tables}),
        )
    ]


def left_behind(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    """ROLLOVER_PARTIAL: the school year turns, and schools keep the classes of last year."""
    lived, after = newest_years(s.base, s.difference)
    if not lived or after <= lived:
        return []
    schools = [line for line in lines_of(s, "classes", "school") if line.before >= _SOME_CLASSES]
    turned = [line for line in schools if 2 * line.removed >= line.before and line.added]
    behind = [line for line in schools if not line.removed and not line.added]
    if not turned or not behind:
        return []
    names, them = shortened([line.label for line in behind]), "it" if len(behind) == 1 else "them"
    classes = sum(line.before for line in behind)
    return [
        HoldFound(
            "ROLLOVER_PARTIAL",
            f"The school year turns to {school_year(after)} in {_SCHOOL.count(len(turned))}, but not in "
            f"{len(behind):,}: {names}. All {NOUNS['classes'].count(classes)} of {them} stay as they were.",
            "A school year turns in all schools at once.",
            "Students there would find last year's classes.",
            "Ask the district whether the new year's classes of these schools are ready. If they come later, approve.",
            table="classes",
            dimension="school",
            key=behind[0].key,
            numbers={"schools": len(behind), "turned": len(turned), "classes": classes},
        )
    ]


def membership_turnover(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    """MEMBERSHIP_TURNOVER: classes that go on exchange most of their students, in the district or in one school."""
    if "enrollments" not in s.difference.tables:
        return []
    lasting = column_of(s.base, "classes", "sourcedId")
    lasting = lasting.filter(lasting.is_in(column_of(s.target, "classes", "sourcedId").implode()))
    emptied = _that_lose_students(s, lasting)
    if not len(emptied):
        return []
    before, after = _members(s.base, emptied), _members(s.target, emptied)
    left = before.join(after, on=before.columns, how="anti").group_by("classSourcedId").len("left")
    size = before.group_by("classSourcedId").len("all").filter(pl.col("all") >= _SMALL_CLASS)
    turned = size.join(left, on="classSourcedId").filter(pl.col("left") * 2 > pl.col("all"))["classSourcedId"]
    students = scan_of(s.base, "enrollments").filter(role="student").group_by("classSourcedId").len()
    classes = students.filter(pl.col("len") >= _SMALL_CLASS).collect()["classSourcedId"]
    classes = classes.filter(classes.is_in(lasting.implode()))
    if not len(turned):
        return []
    if len(turned) > limit["turned_over_classes"] * len(classes):
        return [_turnover_hold(turned, len(classes), "", limit["turned_over_classes"])]
    schools = scan_of(s.base, "classes").select("schoolSourcedId", "sourcedId").collect()
    counts = schools.group_by("schoolSourcedId").agg(
        all=pl.col("sourcedId").is_in(classes.implode()).sum(), turned=pl.col("sourcedId").is_in(turned.implode()).sum()
    )
    least = 2 * limit["turned_over_classes"]  # what drowns in the whole district's numbers
    over = counts.filter((pl.col("turned") >= _SOME_CLASSES) & (pl.col("turned") > least * pl.col("all")))
    worst = over.sort("turned", "schoolSourcedId", descending=[True, False]).head(1).rows()
    return [
        _turnover_hold(
            turned.filter(turned.is_in(schools.filter(schoolSourcedId=school)["sourcedId"].implode())),
            every,
            f" of {school_names(s, [school])[0]}",
            least,
            school=school,
        )
        for school, every, _ in worst
    ]


def _turnover_hold(turned: pl.Series, classes: int, whose: str, limit: float, *, school: str = "") -> HoldFound:
    """Of so many `classes` those that `turned` over."""
    seats = [pl.col(column).is_in(turned.implode()) for column in ("classSourcedId", f"{WAS}classSourcedId")]
    return HoldFound(
        "MEMBERSHIP_TURNOVER",
        f"In {len(turned):,} of {NOUNS['classes'].count(classes)}{whose} most students would be exchanged "
        f"({percent(len(turned) / classes)}, limit {percent(limit)}).",
        "Classes that go on keep most of their students.",
        "Students would find themselves in other classes. Class ids may have been given to other classes.",
        "At the start of a year or term this can be right; at any other time ask the district.",
        table="enrollments",
        dimension="school" if school else "",
        key=school,
        numbers={"classes": len(turned), "before": classes, "limit": limit},
        about={"enrollments": pl.any_horizontal(seats)},
    )


def _that_lose_students(s: Situation, classes: pl.Series) -> pl.Series:
    """Those of the `classes` of which more than half of the students may have left: seldom any, and more cheaply found
    than looked at."""
    was = pl.coalesce("was.classSourcedId", "classSourcedId").alias("class")
    rows = s.difference.scan("enrollments").filter(pl.col("kind") != "added")
    lost = rows.group_by(was).len("lost").filter(pl.col("lost") * 2 > _SMALL_CLASS).collect()
    lost = lost.filter(pl.col("class").is_in(classes.implode()))
    if not len(lost):
        return lost["class"]
    of_these = (pl.col("role") == "student") & pl.col("classSourcedId").is_in(lost["class"].implode())
    size = scan_of(s.base, "enrollments").filter(of_these).group_by(pl.col("classSourcedId").alias("class")).len("all")
    return lost.join(size.collect(), on="class").filter(pl.col("lost") * 2 > pl.col("all"))["class"]


def _members(frames: Frames, classes: pl.Series) -> pl.DataFrame:
    """Which student sits in which of `classes`."""
    seats = (pl.col("role") == "student") & pl.col("classSourcedId").is_in(classes.implode())
    return scan_of(frames, "enrollments").filter(seats).select("classSourcedId", "userSourcedId").unique().collect()
