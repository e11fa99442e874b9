"""What the rules look at, what they answer with, and how numbers are told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from statistics import median
from typing import Final, NamedTuple

import polars as pl

from rosters.diffing import ID, Difference, scan_of
from rosters.frames import Frames, rows_of
from rosters.oneroster.plain import NOUNS, percent
from rosters.recognising import known_again


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
    what was kept. `unusable`: table to why its file, which came, gives none. `other_districts`: called only if need be;
    for each of our other districts a name that staff may see and the sourcedIds of its live orgs; `whose_people`
    likewise: the name of the one where these people live (sourcedId, familyName), or "". `is_undo`: the target is an
    older snapshot on purpose. `left_out`: what the delivery would still change if it did not only add: the
    records that stay for that reason are removed in it. `not_kept`: what its district does not want kept; that it goes
    is in neither `difference` nor `tally`. `apart`: of each table the accepted ids that stay whatever the delivery
    leaves out, for it does not speak for them.
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
    unusable: Mapping[str, str] = field(default_factory=dict)
    other_districts: Callable[[], Mapping[str, frozenset[str]]] = dict
    whose_people: Callable[[pl.DataFrame], str] = lambda people: ""
    is_undo: bool = False
    left_out: Difference = field(default_factory=Difference)
    oneroster_version: str = ""
    not_kept: Collection[str] = ()
    apart: Mapping[str, pl.Series] = field(default_factory=dict)

    def spoken_for(self, table: str) -> pl.Series:
        """The accepted ids of a table of which the delivery says whether they are still there, in their order."""
        apart, lived = self.apart.get(table), scan_of(self.base, table).select("sourcedId")
        mine = lived if apart is None or apart.is_empty() else lived.filter(~ID.is_in(apart.implode()))
        return mine.collect().to_series()

    @cached_property
    def known_again(self) -> pl.DataFrame:
        """Which of the records that leave are among those that come (`rosters.recognising.AGAIN`)."""
        return known_again(self.difference, version=self.oneroster_version)

    @cached_property
    def lines(self) -> dict[tuple[str, str], list[Line]]:
        """The tally's lines by table and dimension, in its order."""
        found: dict[tuple[str, str], list[Line]] = {}
        for row in self.tally.select(Line._fields).iter_rows():
            line = Line(*row)
            found.setdefault((line.table, line.dimension), []).append(line)
        return found


@dataclass(frozen=True, slots=True)
class Accounts:
    """What a hold accounts for, if it is the cause of others: of each table the changes that would not be without it,
    as an expression on the difference, and the `schools` that would not have been there."""

    changes: Mapping[str, pl.Expr]
    schools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HoldFound:
    """A rule that fired, as `rosters.models.Hold` keeps it: words for a person, no names of people. The district reads
    what it `saw`, so no other district is named there. `accounts`: what
    else it may be the cause of. `about`: of each table the changes without which it would not be, and which may wait
    while the others go ahead. `explained`: it only follows from another."""

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
    accounts: Accounts | None = field(default=None, compare=False, repr=False)
    about: Mapping[str, pl.Expr] = field(default_factory=dict, compare=False, repr=False)


Rule = Callable[[Situation, Mapping[str, float]], list[HoldFound]]
#: The columns that the rules look at, of the roster before and of the one after; of other tables they only count rows.
LOOKED_AT: Final[dict[str, tuple[str, ...]]] = {
    "orgs": ("sourcedId", "identifier"),
    "users": ("sourcedId", "primaryOrgSourcedId"),
    "enrollments": ("classSourcedId", "schoolSourcedId", "userSourcedId", "role"),
}
#: The tables without which a roster is none.
CORE: Final = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments")
ADDED: Final = pl.col("kind") == "added"
UPDATED: Final = pl.col("kind") == "updated"
REMOVED: Final = pl.col("kind") == "removed"
NOTHING_YET: Final = "There is nothing to compare it with yet."
LOOK_AT_REMOVED: Final = "Look at what would be removed. Ask the district if you cannot tell why it is gone."


def limit_of(limits: Mapping[str, float], name: str) -> float:
    """The limit in force: the district's own, or the default."""
    return float(limits.get(name, DEFAULT_LIMITS[name].default))


def nothing_lives(base: Frames) -> bool:
    """Whether there is no roster to compare with: none came yet, or the first one was undone."""
    return not any(rows_of(base, table) for table in base)


#: From half of a table on, a share counts however small the table is.
_HALF: Final = 0.5


class Line(NamedTuple):
    """One line of the tally. `label` is what a person calls its school, grade or role; `before` are the records that
    may go, `beside` others that may only change, `apart` those that stay as they are (`rosters.diffing.tally`)."""

    table: str
    dimension: str
    key: str
    label: str
    before: int
    added: int
    updated: int
    removed: int
    beside: int
    apart: int

    def number(self, kind: str) -> int:
        return self.removed if kind == "removed" else self.updated

    def of(self, kind: str) -> int:
        """How many records might have gone, or changed."""
        return self.before if kind == "removed" else self.before + self.beside

    @property
    def lived(self) -> int:
        return self.before + self.beside + self.apart

    def share_of(self, kind: str) -> float:
        return self.number(kind) / self.of(kind) if self.of(kind) else 0.0

    def exceeds(self, limit: float, floor: float, kind: str = "removed") -> bool:
        """Whether more than `limit` would go or change: at least `floor` records, or go half of all."""
        share = self.share_of(kind)
        return share > limit and (self.number(kind) >= floor or (kind == "removed" and share >= _HALF))

    def told(self, kind: str = "removed", limit: str = "") -> str:
        """ "812 of 4,310 people (18.8 %, limit 5 %)"."""
        held = f", limit {limit}" if limit else ""
        whole = NOUNS[self.table].count(self.of(kind))
        return f"{self.number(kind):,} of {whole} ({percent(self.share_of(kind))}{held})"

    @property
    def group(self) -> str:
        return f"{self.dimension} {self.label}" if self.dimension == "grade" else self.label

    def numbers(self, limit: float, kind: str = "removed") -> dict[str, float]:
        share = round(self.share_of(kind), 4)
        return {kind: self.number(kind), "before": self.of(kind), "share": share, "limit": limit}


def lines_of(s: Situation, table: str, dimension: str = "") -> Iterator[Line]:
    """The lines of the tally for a table; of a dimension, those that have a key."""
    return (line for line in s.lines.get((table, dimension), ()) if line.key or not dimension)


def school_names(s: Situation, schools: list[str]) -> list[str]:
    """What people call these schools; schools are no secret, people are."""
    named = dict(scan_of(s.base, "orgs").select("sourcedId", "name").collect().iter_rows())
    return [named.get(school) or school for school in schools]


def usual(s: Situation, table: str, kind: str) -> str:
    """What earlier syncs did to this table: the middle one, and the largest if that stands out."""
    past = [(sync.shares[table].get(kind, 0.0), sync.applied_on) for sync in s.history if table in sync.shares]
    if not past:
        return NOTHING_YET
    middle = median(share for share, _ in past)
    most, day = max(past)
    peak = f"; the most was {percent(most)}, in {day:%B %Y}" if most > max(4 * middle, 0.01) else ""
    times = "the one sync" if len(past) == 1 else f"{len(past)} syncs"
    return f"{percent(middle)} ({times} before){peak}."
