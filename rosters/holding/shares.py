"""Shares: how much of a table, or of one school, grade or role, would be removed or changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from rosters.diffing import DIMENSIONS
from rosters.holding.schools import schools_gone
from rosters.holding.situation import (
    LOOK_AT_REMOVED,
    REMOVED,
    UPDATED,
    HoldFound,
    Line,
    Rule,
    Situation,
    lines_of,
    usual,
)
from rosters.oneroster.normal import TABLES
from rosters.oneroster.plain import NOUNS, percent, shortened

#: Tables whose records come and go with their user: not worth a second sentence.
_FOLLOW_USERS: Final = ("userProfiles", "roles", "demographics")


def removed_count(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    """REMOVED_COUNT: more people go than in any district should at once."""
    line = next(lines_of(s, "users"), None)
    if line is None or line.removed <= limit["removed_count"]:
        return []
    if line.exceeds(limit["removed_share"], limit["group_floor"]):
        return []  # the share says the same, and better
    return [
        HoldFound(
            "REMOVED_COUNT",
            f"Would remove {line.told(limit=NOUNS['users'].count(int(limit['removed_count'])))}.",
            usual(s, "users", "removed"),
            "They would lose their access and classes.",
            LOOK_AT_REMOVED,
            table="users",
            numbers={"removed": line.removed, "before": line.before, "limit": limit["removed_count"]},
            about={"users": REMOVED},
        )
    ]


def removed_share(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    """REMOVED_SHARE: too much of a table goes."""
    lines = {line.table: line for table in TABLES for line in lines_of(s, table)}
    over = [line for line in lines.values() if line.exceeds(limit["removed_share"], limit["group_floor"])]
    if any(line.table == "users" for line in over):
        over = [line for line in over if line.table not in _FOLLOW_USERS]
    return [
        HoldFound(
            "REMOVED_SHARE",
            f"Would remove {line.told(limit=percent(limit['removed_share']))}.",
            usual(s, line.table, "removed"),
            f"These {NOUNS[line.table].many} would no longer be live.",
            LOOK_AT_REMOVED,
            table=line.table,
            numbers=line.numbers(limit["removed_share"]),
            about={line.table: REMOVED},
        )
        for line in sorted(over, key=lambda line: (line.table != "users", -line.share_of("removed")))
    ]


def group_removed_share(dimension: str) -> Rule:
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


def group_updated_share(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    """The same for changes. Schools, grades and roles are the same people, so one of the three is enough; and none
    where so much of the table changes that it is held for that. Who came into a group by the change itself says nothing
    of those who were there."""
    holds = []
    for table in ("users", "enrollments"):
        whole = any(
            line.exceeds(limit["updated_share"], limit["group_floor"], "updated") for line in lines_of(s, table)
        )
        for dimension in () if whole else DIMENSIONS:
            over = _groups_over(s, limit, table, dimension, "updated")
            if over := [line for line in over if line.updated <= line.of("updated")]:
                holds.append(_group_hold(s, over, "updated", limit["group_updated_share"]))
                break
    return holds


def _groups_over(s: Situation, limit: Mapping[str, float], table: str, dimension: str, kind: str) -> list[Line]:
    """Groups of which too much goes or changes, and a larger share than twice that of the whole table; most first."""
    least = max([limit[f"group_{kind}_share"], *(2 * line.share_of(kind) for line in lines_of(s, table))])
    over = [line for line in lines_of(s, table, dimension) if line.exceeds(least, limit["group_floor"], kind)]
    return sorted(over, key=lambda line: (-line.number(kind), line.key))


def _group_hold(s: Situation, over: list[Line], kind: str, limit: float) -> HoldFound:
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
        usual(s, table, kind),
        meaning,
        f"Look at the {'removed' if kind == 'removed' else 'changed'} {things} by {dimension}; ask the district if you "
        "cannot tell why.",
        table=table,
        dimension=dimension,
        key=worst.key,
        numbers={**worst.numbers(limit, kind), "groups": len(over)},
        about={table: (pl.col("kind") == kind) & pl.col(dimension).is_in([line.key for line in over])},
    )


def updated_share(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    """UPDATED_SHARE: too much of a table changes."""
    lines = (line for table in TABLES for line in lines_of(s, table))
    return [
        HoldFound(
            "UPDATED_SHARE",
            f"Would change {line.told('updated', percent(limit['updated_share']))}.",
            usual(s, line.table, "updated"),
            "So many changes at once mostly come from a changed export or a new school year.",
            "Look at which columns change. If it is what the district meant, approve.",
            table=line.table,
            numbers={"updated": line.updated, "before": line.of("updated"), "limit": limit["updated_share"]},
            about={line.table: UPDATED},
        )
        for line in lines
        if line.exceeds(limit["updated_share"], limit["group_floor"], "updated")
    ]
