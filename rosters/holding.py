"""The rules that make a sync wait for a person: each says what it saw, what is usual, what it means, what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from statistics import median
from typing import Final, NamedTuple

import polars as pl

from rosters.diffing import DIMENSIONS, ID, WAS, Difference, column_of, rows_of, scan_of
from rosters.frames import Frames
from rosters.oneroster.normal import TABLES
from rosters.oneroster.plain import NOUNS, Noun, listed, percent, shortened


class Limit(NamedTuple):
    """What staff may change by district. `unit`: "share" (0.05 is 5 %), "people", "records", "on" (1 or 0)."""

    default: float
    unit: str
    help: str


DEFAULT_LIMITS: Final[dict[str, Limit]] = {
    "removed_share": Limit(0.05, "share", "Hold if more than this share of a table's records would be removed."),
    "removed_count": Limit(500, "people", "Hold if more people than this would be removed, in any district."),
    "group_removed_share": Limit(
        0.20, "share", "Hold if more than this share of one school's, grade's or role's people would be removed."
    ),
    "group_floor": Limit(
        10, "people", "A school, grade or role counts only if at least this many would be removed or changed."
    ),
    "updated_share": Limit(0.25, "share", "Hold if more than this share of a table's records would be changed."),
    "group_updated_share": Limit(
        0.50, "share", "Hold if more than this share of one school's, grade's or role's people would be changed."
    ),
    "grown_share": Limit(0.50, "share", "Hold if the number of people would grow by more than this share."),
    "id_churn_share": Limit(
        0.01,
        "share",
        "Hold if more than this share of people would get a new id under the same name or login, or a second.",
    ),
    "other_name_share": Limit(
        0.01, "share", "Hold if more than this share of people would get other names, both of them, under the same id."
    ),
    "turned_over_classes": Limit(
        0.20, "share", "Hold if in more than this share of classes most students would be exchanged."
    ),
    "tail_missing": Limit(10, "records", "Hold if at least this many records are missing exactly at a file's end."),
    "known_ids": Limit(
        0.20, "share", "Refuse as another district's file if fewer of our ids than this are in it, and no org is ours."
    ),
    "bad_share": Limit(0.005, "share", "Refuse a delivery if more than this share of a table's rows cannot be used."),
    "bad_rows": Limit(
        50, "records", "Refuse a delivery only if more rows of a table than this cannot be used, whatever their share."
    ),
    "headers_changed": Limit(1, "on", "If a file has other columns than the time before."),
}


@dataclass(frozen=True, slots=True)
class Past:
    """An earlier sync that was applied: when, and {table: {"removed": share, "updated": share}} of what it changed."""

    applied_on: date
    shares: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What the rules look at. Built by the conductor; nothing in it is read from a clock or a database by the rules.

    `headers`, `modes`: of this delivery, by table; `previous_*`: of the delivery applied last, empty if unknown.
    `earlier_digests`: roster digest to version, of snapshots before the live one. `last_modified`: the newest
    ``dateLastModified`` of the delivery, `previous_last_modified` that of the one applied last; "" if unknown.
    `delivered_ids`: table to the sourcedIds that the file itself names, where that is known; the target also holds
    what was kept. `other_districts`: called only if need be; for each of our other districts a name that staff may see
    and the sourcedIds of its live orgs. `is_undo`: the target is an older snapshot on purpose. `left_out`: what the
    delivery would still change if it did not only add: the records that stay for that reason are removed in it.
    """

    base: Frames
    target: Frames
    difference: Difference
    tally: pl.DataFrame
    base_version: int
    target_digest: str = ""
    headers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    previous_headers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    modes: Mapping[str, str] = field(default_factory=dict)
    previous_modes: Mapping[str, str] = field(default_factory=dict)
    earlier_digests: Mapping[str, int] = field(default_factory=dict)
    last_modified: str = ""
    previous_last_modified: str = ""
    history: Sequence[Past] = ()
    delivered_ids: Mapping[str, pl.Series] = field(default_factory=dict)
    other_districts: Callable[[], Mapping[str, frozenset[str]]] = dict
    is_undo: bool = False
    left_out: Difference = field(default_factory=Difference)


@dataclass(frozen=True, slots=True)
class HoldFound:
    """A rule that fired, as `rosters.models.Hold` keeps it: words for a person, no names of people. `explained`: it
    only follows from what explains most of the difference."""

    code: str
    saw: str
    usual: str
    meaning: str
    next_step: str
    table: str = ""
    dimension: str = ""
    key: str = ""
    approvable: bool = True
    numbers: Mapping[str, float] = field(default_factory=dict)
    explained: bool = False


Rule = Callable[[Situation, Mapping[str, float]], list[HoldFound]]


#: The columns that the rules look at, of the roster before and of the one after; of other tables they only count rows.
LOOKED_AT: Final[dict[str, tuple[str, ...]]] = {
    "orgs": ("sourcedId", "identifier"),
    "users": ("sourcedId", "primaryOrgSourcedId"),
    "enrollments": ("classSourcedId", "schoolSourcedId", "userSourcedId", "role"),
}


def limit_of(limits: Mapping[str, float], name: str) -> float:
    """The limit in force: the district's own, or the default."""
    return float(limits.get(name, DEFAULT_LIMITS[name].default))


def judge(situation: Situation, limits: Mapping[str, float]) -> list[HoldFound]:
    """Every rule that fires, gravest first. `limits` are the district's own; the rest is `DEFAULT_LIMITS`.

    Of another district's file nothing else is said: every further sentence could tell of that district.
    """
    limit = {name: limit_of(limits, name) for name in DEFAULT_LIMITS}
    if foreign := _wrong_district(situation, limit):
        return foreign
    if nothing_lives(situation.base) and not situation.is_undo:
        return [*_empty(situation, limit), *_first_delivery(situation, limit)]
    new = (*_ABOUT_THE_FILE, *_ABOUT_NEWCOMERS, *_ABOUT_THE_CHANGE, _headers_changed)
    rules = _ABOUT_THE_CHANGE if situation.is_undo else new
    return [hold for rule in rules for hold in rule(situation, limit)]


def nothing_lives(base: Frames) -> bool:
    """Whether there is no roster to compare with: none came yet, or the first one was undone."""
    return not any(rows_of(base, table) for table in base)


# ------------------------------------------------------------------------------------------------------ about the file

#: The tables without which a roster is none.
CORE: Final = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments")

#: Fewer ids than this prove nothing about whose they are.
_ENOUGH_IDS: Final = 20


def _empty(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    came_empty = [table for table in CORE if rows_of(s.base, table) and not rows_of(s.target, table)]
    if not came_empty and rows_of(s.target, "users"):
        return []
    tables = came_empty or ["users"]
    return [
        HoldFound(
            "EMPTY",
            f"The roster would have no {listed([NOUNS[table].many for table in tables])}.",
            "A roster always has some; an empty file nearly always means that an export failed.",
            "Everything that hangs on them would be gone. This cannot be approved.",
            "Ask the district to run the export again and send all files.",
            table=tables[0],
            approvable=False,
            numbers={table: rows_of(s.base, table) for table in tables},
        )
    ]


def _wrong_district(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    complete = {name for name, mode in s.modes.items() if mode == "bulk"}
    if s.is_undo or nothing_lives(s.base) or not {"orgs", "users"} & complete:
        return []
    known = {table: column_of(s.base, table, "sourcedId") for table in ("orgs", "users")}
    shares = {table: _share_seen(ids, _ids(s, table)) for table, ids in known.items()}
    strange = sum(map(len, known.values())) >= _ENOUGH_IDS and max(shares.values()) < limit["known_ids"]
    twin = _district_with_these_orgs(s)
    if not twin and (not strange or _shares_an_identifier(s)):
        return []
    whose = f" Its orgs are those of {twin}." if twin else ""
    return [
        HoldFound(
            "WRONG_DISTRICT",
            f"Of our schools and other orgs {percent(shares['orgs'])} are in this file, of our people "
            f"{percent(shares['users'])}.{whose}",
            "Nearly all of both are in a district's own file.",
            "This looks like another district's roster. What is in it is not shown, and it cannot be approved.",
            "Ask the district which file it meant to send. If it was for another district, treat it as an incident.",
            approvable=False,
            numbers={"orgs": shares["orgs"], "users": shares["users"], "limit": limit["known_ids"]},
        )
    ]


def _ids(s: Situation, table: str) -> pl.Series:
    return s.delivered_ids[table] if table in s.delivered_ids else column_of(s.target, table, "sourcedId")


def _share_seen(known: pl.Series, seen: pl.Series) -> float:
    return int(known.is_in(seen.implode()).sum()) / len(known) if len(known) else 0.0


def _shares_an_identifier(s: Situation) -> bool:
    """Whether an org of the file has an official number of one of ours, under whatever id."""
    ours = column_of(s.base, "orgs", "identifier")
    delivered = scan_of(s.target, "orgs").filter(ID.is_in(_ids(s, "orgs").implode()))
    new = delivered.select("identifier").collect().to_series()
    return bool((new.is_in(ours.implode()) & (new != "")).any())


def _district_with_these_orgs(s: Situation) -> str:
    """The name of another district of ours whose orgs are exactly these, unless they are also ours; else ""."""
    orgs = frozenset(_ids(s, "orgs").to_list())
    if not orgs or s.modes.get("orgs") != "bulk" or orgs & frozenset(column_of(s.base, "orgs", "sourcedId").to_list()):
        return ""
    return next((name for name, theirs in sorted(s.other_districts().items()) if theirs == orgs), "")


def _first_delivery(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    numbers = {table: rows_of(s.target, table) for table in ("orgs", "users", "classes", "enrollments")}
    orgs = frozenset(_ids(s, "orgs").to_list())
    twin = next((name for name, theirs in sorted(s.other_districts().items()) if orgs and theirs == orgs), "")
    return [
        HoldFound(
            "FIRST_DELIVERY",
            f"This is the first roster of this district: {listed([NOUNS[t].count(n) for t, n in numbers.items()])}.",
            f"There is nothing to compare it with, but {twin} has the same orgs." if twin else NOTHING_YET,
            "All of it would become live at once.",
            "See that the schools are this district's, look through the findings, then approve.",
            numbers=numbers,
        )
    ]


def _stale(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    if s.target_digest in s.earlier_digests:
        saw = f"This is the roster of version {s.earlier_digests[s.target_digest]} again; newer ones replaced it."
    elif s.last_modified and s.last_modified < s.previous_last_modified:
        days = s.last_modified[:10], s.previous_last_modified[:10]
        saw = f"The newest record in this file is of {days[0]}; the live roster was made from one of {days[1]}."
    else:
        return []
    return [
        HoldFound(
            "STALE",
            saw,
            "Each delivery is newer than the one before.",
            "An old file was probably sent again; newer changes would be taken back.",
            "Ask the district for today's export. Approve only if going back is meant.",
            numbers={"version": s.earlier_digests.get(s.target_digest, 0)},
        )
    ]


def _file_gone(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    if "delta" in s.modes.values():
        return []
    absent = [table for table in TABLES if table in s.previous_modes and table not in s.modes]
    emptied = [
        table for table in TABLES
        if table in s.modes and table not in CORE
        and rows_of(s.base, table) and not rows_of(s.target, table)
    ]  # fmt: skip
    holds = []
    if absent:
        holds.append(
            HoldFound(
                "FILE_GONE",
                f"The delivery has no {listed([f'{table}.csv' for table in absent])}; the one before had.",
                "The same files come every time.",
                f"Nothing is removed for that: the {listed([NOUNS[table].many for table in absent])} stay as they are.",
                "Ask the district whether that was meant. Approve if the rest should go live meanwhile.",
                table=absent[0],
            )
        )
    for table in emptied:
        number = rows_of(s.base, table)
        holds.append(
            HoldFound(
                "FILE_GONE",
                f"{table}.csv has no rows any more; {NOUNS[table].count(number)} are live.",
                "It had rows every time before.",
                f"All {NOUNS[table].many} would be removed.",
                "Ask the district whether that was meant before you approve.",
                table=table,
                numbers={"removed": number, "before": number},
            )
        )
    return holds


def _headers_changed(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    if not limit["headers_changed"]:
        return []
    holds = []
    for table in sorted(set(s.headers) & set(s.previous_headers)):
        now, before = set(s.headers[table]), set(s.previous_headers[table])
        if now != before:
            parts = [("no longer has", before - now), ("now has", now - before)]
            changes = " and ".join(f"{words} {listed(sorted(names))}" for words, names in parts if names)
            holds.append(
                HoldFound(
                    "HEADERS_CHANGED",
                    f"{table}.csv {changes}.",
                    "The columns of a file do not change from day to day.",
                    "Values of a missing column become empty; the SIS or its export settings may have changed.",
                    "Ask the district whether the export was changed on purpose, then approve.",
                    table=table,
                    numbers={"missing": len(before - now), "new": len(now - before)},
                )
            )
    return holds


# ---------------------------------------------------------------------------------------------------- about the change


def _school_gone(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    gone = schools_gone(s)
    if not gone:
        return []
    people, them = sum(gone.values()), "it" if len(gone) == 1 else "them"
    names = shortened(_names(s, list(gone)))
    renumbered = _come_again(s, list(gone))
    staying = column_of(s.target, "users", "primaryOrgSourcedId")
    if people and int(staying.is_in(list(gone)).sum()) == people:
        saw = f"{_SCHOOL.count(len(gone))} would have no enrollments left: {names}. "
        saw += f"The {NOUNS['users'].count(people)} who belong to {them} stay."
    else:
        saw = f"{_SCHOOL.count(len(gone))} would have nobody left: {names}. "
        saw += f"{NOUNS['users'].count(people)} belonged to {them}."
    return [
        HoldFound(
            "SCHOOL_GONE",
            saw,
            "Schools close in summer, seldom during a year.",
            f"{_SCHOOL.count(renumbered)} of the same name or number would come under another id."
            if renumbered
            else "Their people, classes and enrollments would be removed or lose their school.",
            "Ask the district whether ids in its SIS changed; everything kept under the old ones would be lost."
            if renumbered
            else "Ask the district whether they closed or were left out of the export.",
            table="orgs",
            dimension="school",
            key=next(iter(gone)),
            numbers={"schools": len(gone), "people": people},
        )
    ]


def schools_gone(s: Situation) -> dict[str, int]:
    """sourcedId of every school that loses its org, all its people or all its enrollments -> how many people it had;
    the largest first."""
    schools = scan_of(s.base, "orgs").filter(pl.col("type") == "school").select("sourcedId").collect().to_series()
    gone = set(schools.to_list()) - set(column_of(s.target, "orgs", "sourcedId").to_list())
    for table, column in (("users", "primaryOrgSourcedId"), ("enrollments", "schoolSourcedId")):
        gone |= _emptied(s, table, column) & set(schools.to_list())
    if not gone:
        return {}
    people = scan_of(s.base, "users").group_by("primaryOrgSourcedId").len().collect()
    had = dict.fromkeys(gone, 0) | {school: number for school, number in people.iter_rows() if school in gone}
    return dict(sorted(had.items(), key=lambda item: (-item[1], item[0])))


def _come_again(s: Situation, schools: list[str]) -> int:
    """How many orgs that come have the number, or the name, of one of these `schools`."""
    if "orgs" not in s.difference.tables:
        return 0
    known = scan_of(s.base, "orgs").filter(ID.is_in(schools)).select("name", "identifier").collect()
    coming = s.difference.scan("orgs").filter(pl.col("kind") == "added").select("name", "identifier").collect()
    same = [(pl.col(name) != "") & pl.col(name).is_in(known[name].implode()) for name in ("name", "identifier")]
    return len(coming.filter(pl.any_horizontal(same)))


def _emptied(s: Situation, table: str, column: str) -> set[str]:
    """The schools that had records of `table` and would have none. Counted from the tally; it puts an updated record
    where it would be, so those that move are taken from where they were."""
    if table not in s.difference.tables:
        return set()
    moving = s.difference.scan(table).filter((pl.col("kind") == "updated") & pl.col(WAS + column).is_not_null())
    places = moving.select(now=column, was=WAS + column).collect()
    come, left = Counter(places["now"].to_list()), Counter(places["was"].to_list())
    return {
        line.key
        for line in _lines(s, table, "school")
        if line.before and line.before + line.added - line.removed + come[line.key] == left[line.key]
    }


def _term_gone(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
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
        )
    ]


def _tail_missing(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    holds = []
    for table in s.difference.tables:
        if s.modes.get(table) != "bulk":
            continue
        removed = s.difference.scan(table).filter(REMOVED).select("sourcedId").collect().to_series()
        least = max(1, limit["tail_missing"])
        enough = len(removed) >= least  # else the ids of the table need not be read
        missing = _missing_at_the_end(column_of(s.base, table, "sourcedId"), removed) if enough else 0
        if missing >= least:
            holds.append(
                HoldFound(
                    "TAIL_MISSING",
                    f"{NOUNS[table].count(missing)} that stood together at the end of {table}.csv are missing.",
                    "Records that leave stand all over a file.",
                    "The export or the transfer probably stopped before the end of the file.",
                    "Ask the district to run the export again and to compare its number of rows.",
                    table=table,
                    numbers={"removed": missing, "limit": limit["tail_missing"]},
                )
            )
    return holds


def _missing_at_the_end(before: pl.Series, removed: pl.Series) -> int:
    """How many removed records make up the end of the accepted table; 0 if its end is as usual.

    The accepted table stands in the order of its first delivery, later records behind. The end begins where the sum of
    +1 for each record that is missing and -4 for each that is there is largest, counted from the last one: a few
    late-comers among the missing do not hide a cut, nor do the usual removals before it. The whole table is no end.
    """
    missing = before.is_in(removed.implode()).reverse()
    score = (missing.cast(pl.Int64) * 5 - 4).cum_sum()
    best = score.arg_max()
    if best is None or score[best] <= 0 or best + 1 == len(missing):
        return 0
    end, rest = missing.head(best + 1), missing.slice(best + 1)
    return int(end.sum()) if int(rest.sum()) * 5 <= len(rest) else 0


def _removed_count(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    line = next(_lines(s, "users"), None)
    if line is None or line.removed <= limit["removed_count"]:
        return []
    if line.exceeds(limit["removed_share"], limit["group_floor"]):
        return []  # the share says the same, and better
    return [
        HoldFound(
            "REMOVED_COUNT",
            f"Would remove {line.told(limit=NOUNS['users'].count(int(limit['removed_count'])))}.",
            _usual(s, "users", "removed"),
            "They would lose their access and classes.",
            LOOK_AT_REMOVED,
            table="users",
            numbers={"removed": line.removed, "before": line.before, "limit": limit["removed_count"]},
        )
    ]


def _removed_share(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    lines = {line.table: line for table in TABLES for line in _lines(s, table)}
    over = [line for line in lines.values() if line.exceeds(limit["removed_share"], limit["group_floor"])]
    if any(line.table == "users" for line in over):
        over = [line for line in over if line.table not in _FOLLOW_USERS]
    return [
        HoldFound(
            "REMOVED_SHARE",
            f"Would remove {line.told(limit=percent(limit['removed_share']))}.",
            _usual(s, line.table, "removed"),
            f"These {NOUNS[line.table].many} would no longer be live.",
            LOOK_AT_REMOVED,
            table=line.table,
            numbers=line.numbers(limit["removed_share"]),
        )
        for line in sorted(over, key=lambda line: (line.table != "users", -line.share_of("removed")))
    ]


def _group_removed_share(dimension: str) -> Rule:
    """The rule for one school, grade or role: a loss that drowns in the whole district's numbers, so at least twice its
    share."""

    def rule(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
        told = set(schools_gone(s)) if dimension == "school" else set()
        holds = []
        for table in ("users", "enrollments"):
            over = [line for line in _groups_over(s, limit, table, dimension, "removed") if line.key not in told]
            told |= {line.key for line in over}
            if over:
                holds.append(_group_hold(s, over, "removed", limit["group_removed_share"]))
        return holds

    return rule


def _group_updated_share(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    """The same for changes. Schools, grades and roles are the same people, so one of the three is enough; and none
    where so much of the table changes that it is held for that. Who came into a group by the change itself says nothing
    of those who were there."""
    holds = []
    for table in ("users", "enrollments"):
        whole = any(line.exceeds(limit["updated_share"], limit["group_floor"], "updated") for line in _lines(s, table))
        for dimension in () if whole else DIMENSIONS:
            over = _groups_over(s, limit, table, dimension, "updated")
            if over := [line for line in over if line.updated <= line.before]:
                holds.append(_group_hold(s, over, "updated", limit["group_updated_share"]))
                break
    return holds


def _groups_over(s: Situation, limit: Mapping[str, float], table: str, dimension: str, kind: str) -> list[_Line]:
    """Groups of which too much goes or changes, and a larger share than twice that of the whole table; most first."""
    least = max([limit[f"group_{kind}_share"], *(2 * line.share_of(kind) for line in _lines(s, table))])
    over = [line for line in _lines(s, table, dimension) if line.exceeds(least, limit["group_floor"], kind)]
    return sorted(over, key=lambda line: (-line.number(kind), line.key))


def _group_hold(s: Situation, over: list[_Line], kind: str, limit: float) -> HoldFound:
    worst, several = over[0], len(over) > 1
    table, dimension, things = worst.table, worst.dimension, NOUNS[worst.table].many
    groups = shortened([f"{line.group}, {line.told(kind)}" for line in over], "; ")
    whose, their = (f"{len(over):,} {dimension}s", "their") if several else (f"One {dimension}", "its")
    if kind == "removed":
        saw = f"{whose} would lose more than {percent(limit)} of {their} {things}: {groups}."
        meaning = f"A whole group of {things} may be missing from the file."
    else:
        saw = f"{whose} would see more than {percent(limit)} of {their} {things} changed: {groups}."
        meaning = "Something that concerns this group alone was changed, on purpose or by a fault of the export."
    return HoldFound(
        f"{dimension.upper()}_{kind.upper()}_SHARE",
        saw,
        _usual(s, table, kind),
        meaning,
        f"Look at the {'removed' if kind == 'removed' else 'changed'} {things} by {dimension}; ask the district if you "
        "cannot tell why.",
        table=table,
        dimension=dimension,
        key=worst.key,
        numbers={**worst.numbers(limit, kind), "groups": len(over)},
    )


def _updated_share(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    lines = (line for table in TABLES for line in _lines(s, table))
    return [
        HoldFound(
            "UPDATED_SHARE",
            f"Would change {line.told('updated', percent(limit['updated_share']))}.",
            _usual(s, line.table, "updated"),
            "So many changes at once mostly come from a changed export or a new school year.",
            "Look at which columns change. If it is what the district meant, approve.",
            table=line.table,
            numbers={"updated": line.updated, "before": line.before, "limit": limit["updated_share"]},
        )
        for line in lines
        if line.exceeds(limit["updated_share"], limit["group_floor"], "updated")
    ]


#: By what a record is known again although its id changed: each tuple by itself, if all its cells are filled.
_KNOWN_BY: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "users": (("email",), ("username",), ("identifier",), ("givenName", "familyName", "school", "role")),
    "orgs": (("identifier",), ("name", "type")),
    "enrollments": (("classSourcedId", "userSourcedId", "role"),),
}


def _id_churn(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    holds = []
    for table in _KNOWN_BY:
        before = rows_of(s.base, table)
        number = changed_ids(s, table)["old"].n_unique() if table in s.difference.tables else 0
        twice = table in s.left_out.tables
        fate = "stand there a second time," if twice else "be removed and come again"
        if before and number >= limit["group_floor"] and number / before > limit["id_churn_share"]:
            holds.append(
                HoldFound(
                    "ID_CHURN",
                    f"{number:,} of {NOUNS[table].count(before)} would {fate} under another id "
                    f"({percent(number / before)}, limit {percent(limit['id_churn_share'])}).",
                    "An id stays with a record for as long as it lives.",
                    "Everything that is kept under the old ids, such as progress and grades, would be lost to "
                    f"{'the new ones' if twice else 'them'}.",
                    "Ask the district whether its SIS or the ids in its export changed; do not approve before.",
                    table=table,
                    numbers={"ids": number, "before": before, "limit": limit["id_churn_share"]},
                )
            )
    return holds


def changed_ids(s: Situation, table: str) -> pl.DataFrame:
    """``old`` and ``new`` sourcedId of records that are removed, or would be, and can be known again among the added
    ones; more than one row for those that several keys lead to."""
    gone, come = pl.concat(_changes_of(s, table)).filter(REMOVED), s.difference.scan(table)
    come = come.filter(pl.col("kind") == "added")
    found = []
    for key in _KNOWN_BY[table]:
        filled = pl.all_horizontal(pl.col(name) != "" for name in key)
        new = come.filter(filled).select(*key, new="sourcedId").unique(key, keep="any")
        found.append(gone.filter(filled).select(*key, old="sourcedId").join(new, on=key).select("old", "new").collect())
    return pl.concat(found)


def _changes_of(s: Situation, table: str) -> list[pl.LazyFrame]:
    """What would change, and what would if the sync did not only add."""
    return [rows.scan(table) for rows in (s.difference, s.left_out) if table in rows.tables]


#: What nobody shares with another person.
_OWN: Final = ("username", "identifier")


def _doubled(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    """People who come although they are there, and stay, under another id."""
    before = rows_of(s.base, "users")
    least = max(limit["group_floor"], 1, limit["id_churn_share"] * before)
    if sum(line.added for line in _lines(s, "users")) < least:
        return []
    rows = s.difference.scan("users")
    coming = rows.filter(pl.col("kind") == "added").select("sourcedId", *_OWN).collect()
    leaving = [each.filter(REMOVED).select("sourcedId") for each in _changes_of(s, "users")]
    staying = scan_of(s.base, "users").select("sourcedId", *_OWN).join(pl.concat(leaving), on="sourcedId", how="anti")
    known = staying.collect()
    twice = pl.lit(False)
    for name in _OWN:
        folded = known[name].str.to_lowercase().unique()
        twice |= (pl.col(name) != "") & pl.col(name).str.to_lowercase().is_in(folded.implode())
    number = len(coming.filter(twice))
    if number < least or number <= limit["id_churn_share"] * before:
        return []
    return [
        HoldFound(
            "DOUBLED",
            f"{number:,} of {NOUNS['users'].count(len(coming))} who come have the login or the number of somebody who "
            f"stays under another id (limit {percent(limit['id_churn_share'])} of {before:,}).",
            "Everybody is there once, under an id that stays.",
            "They would be there twice, and nobody could tell which of the two they use.",
            "Ask the district whether the ids in its export changed; do not approve before.",
            table="users",
            numbers={"doubled": number, "before": before, "limit": limit["id_churn_share"]},
        )
    ]


def _letters(name: str) -> pl.Expr:
    """A name of which nothing but the letters counts, without accents."""
    return pl.col(name).str.normalize("NFKD").str.to_lowercase().str.replace_all(r"[^\p{L}]", "")


def _other_name(name: str) -> pl.Expr:
    """A changed name that is not the same one written longer or shorter."""
    was, now = _letters(WAS + name), _letters(name)
    return pl.col(WAS + name).is_not_null() & ~(now.str.starts_with(was) | was.str.starts_with(now))


def _other_people(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    """Ids under which somebody else would stand: their given and their family name both become others."""
    before = rows_of(s.base, "users")
    least = max(limit["group_floor"], 1)
    if sum(line.updated for line in _lines(s, "users")) < least:
        return []
    renamed = s.difference.scan("users").filter(_other_name("givenName") & _other_name("familyName"))
    number = int(renamed.select(pl.len()).collect().item())
    if number < least or number <= limit["other_name_share"] * before:
        return []
    return [
        HoldFound(
            "OTHER_PEOPLE",
            f"{number:,} of {NOUNS['users'].count(before)} would get another given and another family name under the "
            f"same id ({percent(number / before)}, limit {percent(limit['other_name_share'])}).",
            "An id belongs to one person for good, and people change one of their names at a time.",
            "Rows of the file have probably slipped, or ids were given to other people: they would find themselves in "
            "somebody else's account.",
            "Compare some of them with the SIS. Approve only if the district confirms the names.",
            table="users",
            numbers={"renamed": number, "before": before, "limit": limit["other_name_share"]},
        )
    ]


def _grown(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    line = next(_lines(s, "users"), None)
    more = line.added - line.removed if line else 0
    if line is None or not line.before or more < limit["group_floor"] or more <= limit["grown_share"] * line.before:
        return []
    return [
        HoldFound(
            "GROWN",
            f"There would be {NOUNS['users'].count(line.before + more)} instead of {line.before:,} "
            f"({percent(more / line.before)} more, limit {percent(limit['grown_share'])}).",
            "The number of people changes little from one day to the next.",
            "People who left long ago, or those of another district, may have come into the export.",
            "Look at who would come, by school and grade. Ask the district if you cannot tell why.",
            table="users",
            numbers={"more": more, "before": line.before, "limit": limit["grown_share"]},
        )
    ]


#: A class of fewer students may be exchanged without anybody wondering.
_SMALL_CLASS: Final = 5
#: So many classes of one school count by themselves.
_SOME_CLASSES: Final = 10


def _membership_turnover(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
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
        return [_turnover_hold(len(turned), len(classes), "", limit["turned_over_classes"])]
    schools = scan_of(s.base, "classes").select("schoolSourcedId", "sourcedId").collect()
    counts = schools.group_by("schoolSourcedId").agg(
        all=pl.col("sourcedId").is_in(classes.implode()).sum(), turned=pl.col("sourcedId").is_in(turned.implode()).sum()
    )
    least = 2 * limit["turned_over_classes"]  # what drowns in the whole district's numbers
    over = counts.filter((pl.col("turned") >= _SOME_CLASSES) & (pl.col("turned") > least * pl.col("all")))
    worst = over.sort("turned", "schoolSourcedId", descending=[True, False]).head(1).rows()
    return [
        _turnover_hold(turned, every, f" of {_names(s, [school])[0]}", least, school=school)
        for school, every, turned in worst
    ]


def _turnover_hold(turned: int, classes: int, whose: str, limit: float, *, school: str = "") -> HoldFound:
    return HoldFound(
        "MEMBERSHIP_TURNOVER",
        f"In {turned:,} of {NOUNS['classes'].count(classes)}{whose} most students would be exchanged "
        f"({percent(turned / classes)}, limit {percent(limit)}).",
        "Classes that go on keep most of their students.",
        "Students would find themselves in other classes. Class ids may have been given to other classes.",
        "At the start of a year or term this can be right; at any other time ask the district.",
        table="enrollments",
        dimension="school" if school else "",
        key=school,
        numbers={"classes": turned, "before": classes, "limit": limit},
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


#: Gravest first: that is the order in which a person reads them.
_ABOUT_THE_FILE: Final[tuple[Rule, ...]] = (_empty, _stale, _file_gone)
_ABOUT_NEWCOMERS: Final[tuple[Rule, ...]] = (_doubled, _grown)
_ABOUT_THE_CHANGE: Final[tuple[Rule, ...]] = (
    _school_gone,
    _tail_missing,
    _id_churn,
    _other_people,
    _removed_count,
    _removed_share,
    _group_removed_share("school"),
    _group_removed_share("grade"),
    _group_removed_share("role"),
    _membership_turnover,
    _term_gone,
    _updated_share,
    _group_updated_share,
)

# ------------------------------------------------------------------------------------------------- numbers and words

REMOVED: Final = pl.col("kind") == "removed"

NOTHING_YET: Final = "There is nothing to compare it with yet."
LOOK_AT_REMOVED: Final = "Look at what would be removed. Ask the district if you cannot tell why it is gone."

#: Tables whose records come and go with their user: not worth a second sentence.
_FOLLOW_USERS: Final = ("userProfiles", "roles", "demographics")

#: From half of a table on, a share counts however small the table is.
_HALF: Final = 0.5

_SCHOOL: Final = Noun("school", "schools")
_TERM: Final = Noun("term", "terms")


class _Line(NamedTuple):
    """One line of the tally. `label` is what a person calls its school, grade or role."""

    table: str
    dimension: str
    key: str
    label: str
    before: int
    added: int
    updated: int
    removed: int

    def number(self, kind: str) -> int:
        return self.removed if kind == "removed" else self.updated

    def share_of(self, kind: str) -> float:
        return self.number(kind) / self.before if self.before else 0.0

    def exceeds(self, limit: float, floor: float, kind: str = "removed") -> bool:
        """Whether more than `limit` would go or change: at least `floor` records, or go half of all."""
        share = self.share_of(kind)
        return share > limit and (self.number(kind) >= floor or (kind == "removed" and share >= _HALF))

    def told(self, kind: str = "removed", limit: str = "") -> str:
        """ "812 of 4,310 people (18.8 %, limit 5 %)"."""
        held = f", limit {limit}" if limit else ""
        whole = NOUNS[self.table].count(self.before)
        return f"{self.number(kind):,} of {whole} ({percent(self.share_of(kind))}{held})"

    @property
    def group(self) -> str:
        return f"{self.dimension} {self.label}" if self.dimension == "grade" else self.label

    def numbers(self, limit: float, kind: str = "removed") -> dict[str, float]:
        share = round(self.share_of(kind), 4)
        return {kind: self.number(kind), "before": self.before, "share": share, "limit": limit}


def _lines(s: Situation, table: str, dimension: str = "") -> Iterator[_Line]:
    """The lines of the tally for a table; of a dimension, those that have a key."""
    wanted = (pl.col("table") == table) & (pl.col("dimension") == dimension)
    for row in s.tally.filter(wanted).select(_Line._fields).iter_rows():
        if not dimension or row[2]:
            yield _Line(*row)


def _names(s: Situation, schools: list[str]) -> list[str]:
    """What people call these schools; schools are no secret, people are."""
    named = dict(scan_of(s.base, "orgs").select("sourcedId", "name").collect().iter_rows())
    return [named.get(school) or school for school in schools]


def _usual(s: Situation, table: str, kind: str) -> str:
    """What earlier syncs did to this table: the middle one, and the largest if that stands out."""
    past = [(sync.shares[table].get(kind, 0.0), sync.applied_on) for sync in s.history if table in sync.shares]
    if not past:
        return NOTHING_YET
    middle = median(share for share, _ in past)
    most, day = max(past)
    peak = f"; the most was {percent(most)}, in {day:%B %Y}" if most > max(4 * middle, 0.01) else ""
    times = "the one sync" if len(past) == 1 else f"{len(past)} syncs"
    return f"{percent(middle)} ({times} before){peak}."
