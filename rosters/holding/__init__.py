"""The rules that make a sync wait for a person: each says what it saw, what is usual, what it means, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rosters.holding.file import empty, file_gone, first_delivery, headers_changed, stale, tail_missing, wrong_district
from rosters.holding.people import doubled, grown, id_churn, other_people
from rosters.holding.schools import membership_turnover, school_gone, term_gone
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
    "CORE",
    "DEFAULT_LIMITS",
    "LOOKED_AT",
    "HoldFound",
    "Limit",
    "Past",
    "Situation",
    "judge",
    "limit_of",
    "nothing_lives",
]


def judge(situation: Situation, limits: Mapping[str, float]) -> list[HoldFound]:
    """Every rule that fires, gravest first. `limits` are the district's own; the rest is `DEFAULT_LIMITS`.

    Of another district's file nothing else is said: every further sentence could tell of that district.
    """
    limit = {name: limit_of(limits, name) for name in DEFAULT_LIMITS}
    if foreign := wrong_district(situation, limit):
        return foreign
    if nothing_lives(situation.base) and not situation.is_undo:
        return [*empty(situation, limit), *first_delivery(situation, limit)]
    new = (*_ABOUT_THE_FILE, *_ABOUT_NEWCOMERS, *_ABOUT_THE_CHANGE, headers_changed)
    rules = _ABOUT_THE_CHANGE if situation.is_undo else new
    return [hold for rule in rules for hold in rule(situation, limit)]


#: Gravest first: that is the order in which a person reads them.
_ABOUT_THE_FILE: Final[tuple[Rule, ...]] = (empty, stale, file_gone)
_ABOUT_NEWCOMERS: Final[tuple[Rule, ...]] = (doubled, grown)
_ABOUT_THE_CHANGE: Final[tuple[Rule, ...]] = (
    school_gone,
    tail_missing,
    id_churn,
    other_people,
    removed_count,
    removed_share,
    group_removed_share("school"),
    group_removed_share("grade"),
    group_removed_share("role"),
    membership_turnover,
    term_gone,
    updated_share,
    group_updated_share,
)
