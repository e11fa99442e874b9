"""The rules that make a sync wait for a person: each says what it saw, what is usual, what it means, what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

import polars as pl

from rosters.diffing import Difference
from rosters.frames import Frames


class Limit(NamedTuple):
    """What staff may change by district. `unit`: "share" (0.05 is 5 %), "people", "records", "on" (1 or 0)."""

    default: float
    unit: str
    help: str


DEFAULT_LIMITS: dict[str, Limit] = {
    "removed_share": Limit(0.05, "share", "Hold if more than this share of a table's records would be removed."),
    "removed_count": Limit(500, "people", "Hold if more people than this would be removed, in any district."),
    "group_removed_share": Limit(
        0.20, "share", "Hold if more than this share of one school's, grade's or role's people would be removed."
    ),
    "group_floor": Limit(10, "people", "A school, grade or role counts only if at least this many would be removed."),
    "updated_share": Limit(0.25, "share", "Hold if more than this share of a table's records would be changed."),
    "id_churn_share": Limit(
        0.01, "share", "Hold if more than this share of people would get a new id under the same name or login."
    ),
    "turned_over_classes": Limit(
        0.20, "share", "Hold if in more than this share of classes most students would be exchanged."
    ),
    "tail_missing": Limit(10, "records", "Hold if at least this many records are missing exactly at a file's end."),
    "known_ids": Limit(
        0.20, "share", "Refuse as another district's file if fewer of our ids than this are in it, and no org is ours."
    ),
    "headers_changed": Limit(1, "on", "Hold if a file's columns changed (1), or never (0)."),
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
    `other_districts`: called only if need be; for each of our other districts a name that staff may see and the
    sourcedIds of its live orgs. `is_undo`: the target is an older snapshot on purpose.
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
    other_districts: Callable[[], Mapping[str, frozenset[str]]] = dict
    is_undo: bool = False


@dataclass(frozen=True, slots=True)
class HoldFound:
    """A rule that fired, as `rosters.models.Hold` keeps it: words for a person, no names of people."""

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


def judge(situation: Situation, limits: Mapping[str, float]) -> list[HoldFound]:
    """Every rule that fires, gravest first. `limits` are the district's own; the rest is `DEFAULT_LIMITS`."""
    if not situation.base_version:
        return [
            HoldFound(
                "FIRST_DELIVERY",
                "This is the first roster of this district.",
                "There is nothing to compare it with yet.",
                "Everything in it would become live at once.",
                "Look through schools, people and findings, then approve.",
            )
        ]
    return []
