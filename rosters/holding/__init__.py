"""The rules that make a sync wait for a person: each says what it saw, what is usual, what it means, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from rosters.diffing import DIMENSIONS, Difference
from rosters.holding.file import empty, file_gone, first_delivery, headers_changed, stale, tail_missing, wrong_district
from rosters.holding.parting import MAY_WAIT, Which, parted
from rosters.holding.people import doubled, grown, id_churn, other_people
from rosters.holding.schools import left_behind, membership_turnover, old_year, school_gone, term_gone
from rosters.holding.shares import group_removed_share, group_updated_share, removed_count, removed_share, updated_share
from rosters.holding.situation import (
    CORE,
    DEFAULT_LIMITS,
    LOOKED_AT,
    HoldFound,
    Limit,
    Past,
    Rule,
    Situation,
    limit_of,
    nothing_lives,
)

__all__ = [
    "BY_NUMBERS",
    "CORE",
    "DEFAULT_LIMITS",
    "LOOKED_AT",
    "MAY_WAIT",
    "HoldFound",
    "Limit",
    "Past",
    "Situation",
    "Which",
    "another_districts",
    "by_numbers",
    "judge",
    "limit_of",
    "nothing_lives",
    "parted",
]


def judge(situation: Situation, limits: Mapping[str, float]) -> list[HoldFound]:
    """Every rule that fires, gravest first. `limits` are the district's own; the rest is `DEFAULT_LIMITS`.

    Of another district's file nothing else is said: every further sentence could tell of that district. Where that is
    for a person to find out, the rest is.
    """
    limit = {name: limit_of(limits, name) for name in DEFAULT_LIMITS}
    foreign = another_districts(situation, limits)
    if not all(hold.approvable for hold in foreign):
        return foreign
    if nothing_lives(situation.base) and not situation.is_undo:
        return [*empty(situation, limit), *first_delivery(situation, limit)]
    new = (*_ABOUT_THE_FILE, *_ABOUT_NEWCOMERS, *_ABOUT_THE_CHANGE, headers_changed)
    rules = _ABOUT_THE_CHANGE if situation.is_undo else new
    return [*foreign, *(hold for rule in rules for hold in rule(situation, limit))]


def another_districts(situation: Situation, limits: Mapping[str, float]) -> list[HoldFound]:
    """What says that the file is another district's; asked alone of a file that is refused for something else."""
    return wrong_district(situation, {name: limit_of(limits, name) for name in DEFAULT_LIMITS})


_OF_GROUPS: Final[tuple[Rule, ...]] = tuple(group_removed_share(dimension) for dimension in DIMENSIONS)
#: Gravest first: that is the order in which a person reads them.
_ABOUT_THE_FILE: Final[tuple[Rule, ...]] = (empty, stale, file_gone)
_ABOUT_NEWCOMERS: Final[tuple[Rule, ...]] = (old_year, doubled, grown)
_ABOUT_THE_CHANGE: Final[tuple[Rule, ...]] = (
    school_gone,
    tail_missing,
    id_churn,
    other_people,
    removed_count,
    removed_share,
    *_OF_GROUPS,
    left_behind,
    membership_turnover,
    term_gone,
    updated_share,
    group_updated_share,
)

#: The rules that look at the tally alone, and their codes.
_ABOUT_NUMBERS: Final[tuple[Rule, ...]] = (
    grown,
    removed_count,
    removed_share,
    *_OF_GROUPS,
    updated_share,
    group_updated_share,
)
BY_NUMBERS: Final = frozenset(
    ["GROWN", "REMOVED_COUNT", "REMOVED_SHARE", "UPDATED_SHARE"]
    + [f"{dimension.upper()}_{kind}_SHARE" for dimension in DIMENSIONS for kind in ("REMOVED", "UPDATED")]
)


def by_numbers(tally: pl.DataFrame, limits: Mapping[str, float]) -> list[HoldFound]:
    """What those rules say of a tally by itself, as of a sync of long ago of which nothing else is kept."""
    limit = {name: limit_of(limits, name) for name in DEFAULT_LIMITS}
    situation = Situation(base={}, target={}, difference=Difference(), tally=tally, base_version=1)
    return [hold for rule in _ABOUT_NUMBERS for hold in rule(situation, limit)]
