"""The shapes of a roster in motion: columnar frames, one per OneRoster table.

Every column is text (polars String), spelled as the standard spells it; an empty cell is "".
A *delivered* frame has one extra column, ``line`` (UInt32): the physical line of its file, the
header being line 1. A frame in *normal form* (`rosters.oneroster.normal`) has no such column.

The shapes live on the ground floor so that reading, validating and normalising can hand them on
without knowing of each other; so do `ahead` and `side_by_side`, by which a second core has its share, and `positions`.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeVar

import polars as pl

from rosters.findings import Findings

LINE = "line"

type_mode = Literal["bulk", "delta"]

#: A whole roster in normal form: table name ("users") to frame. A table without rows may be left out.
Frames = Mapping[str, pl.DataFrame]


class OnDisk(Mapping[str, pl.DataFrame]):
    """Tables that are not in memory: `scan` reads of one no more than what is selected from it; `held` is what was read
    of it whole, if anything was."""

    def scan(self, table: str) -> pl.LazyFrame:
        raise NotImplementedError

    def held(self, table: str) -> pl.DataFrame | None:
        return None

    def rows(self, table: str) -> int:
        return int(self.scan(table).select(pl.len()).collect().item())

    def __contains__(self, table: object) -> bool:
        """Asked of the names: a mapping's own way would read the table."""
        return table in list(self)


def scan(tables: Frames, table: str) -> pl.LazyFrame:
    """A table, wherever it lies, to select from."""
    return tables.scan(table) if isinstance(tables, OnDisk) else tables[table].lazy()


def rows_of(tables: Frames, table: str) -> int:
    """How many rows a table has, wherever it lies; none where there is no such table."""
    if table not in tables:
        return 0
    return tables.rows(table) if isinstance(tables, OnDisk) else len(tables[table])


def held(tables: Frames, table: str) -> pl.DataFrame | None:
    """A table, if it is in memory."""
    return tables.held(table) if isinstance(tables, OnDisk) else tables.get(table)


_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def ahead(items: Iterator[_Item], *, by: int = 2) -> Iterator[_Item]:
    """The same items, made by a thread that stays a little ahead: `by` of them wait at most. What it raises comes out
    here. The thread may not use the database, whose connection is its user's."""
    ready: queue.Queue[tuple[_Item] | BaseException | None] = queue.Queue(by)
    left = threading.Event()

    def put(item: tuple[_Item] | BaseException | None) -> None:
        while not left.is_set():
            try:
                ready.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def fetch() -> None:
        try:
            for item in items:
                put((item,))
                if left.is_set():
                    return
            put(None)
        except BaseException as error:  # a panic of polars is no Exception
            put(error)

    threading.Thread(target=fetch, daemon=True).start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]
            del item
    finally:
        left.set()


#: Up to so many rows, to ask polars costs more than what it does: one question about all is faster than several, and
#: one thread than two.
SHORT: Final = 5_000


def side_by_side(work: Callable[[_Item], _Result], items: Iterable[_Item], *, rows: int) -> Iterator[_Result]:
    """`work` done on each item, two at a time if it is about many `rows`; the results in the order of `items`. polars
    works on several cores where it can, but much of it cannot. The threads may not use the database, whose connection
    is their user's."""
    if rows <= SHORT:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(work, items)


def positions(keys: pl.Series, ids: pl.Series) -> pl.Series:
    """Where in `ids`, each of which is there once, each of these keys stands; null where it does not.

    Numbers are looked up six times as fast as texts; the texts then say whether they led to the right place.
    """
    found = _joined(keys.hash(), ids.hash())
    if len(found) == len(keys) and (ids.gather(found) == keys).all():
        return found
    return _joined(keys, ids)


def _joined(keys: pl.Series, ids: pl.Series) -> pl.Series:
    index = ids.alias("key").to_frame().with_row_index("at")
    return keys.alias("key").to_frame().join(index, on="key", how="left", maintain_order="left")["at"]


#: Told what is being done: (phase, fraction of that phase from 0 to 1, rows done so far).
Progress = Callable[[str, float, int], None]


def silent(phase: str, fraction: float, rows: int) -> None:
    """The `Progress` of somebody who does not look."""


@dataclass(slots=True)
class DeliveredTable:
    """One CSV file, or one collection of a pull, as it was read, before any rule has judged its cells.

    `frame` holds the rows that are proved read: every standard column of the version (a column that the
    file lacks is filled with ""), then the file's ``metadata.*`` columns, then `LINE`.
    `unread` names the rows that could not be read: ``line`` (UInt32) and ``sourcedId`` (String, null where
    even the id is unknown). `part_of`: the table whose records came with all of their rows here inside them ("users"
    of REST's roles), so that a row which does not come with its user is gone, even from a delta; "" for none.
    `set_aside`: how many rows were read and are in neither, for their id is kept for another record. `not_taken`: how
    many are in neither because they are about schools or terms that this delivery does not speak for.
    """

    name: str
    mode: type_mode
    frame: pl.DataFrame
    header: tuple[str, ...]
    unread: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema={LINE: pl.UInt32, "sourcedId": pl.String}))
    part_of: str = ""
    set_aside: int = 0
    not_taken: int = 0


_NOTHING: Final[Mapping[str, pl.Series]] = MappingProxyType({})


class Apart(NamedTuple):
    """What of each accepted table a delivery does not speak for, as ids: what `stays` although it does not come, and of
    that what lies `outside`, so that it does not change either (`rosters.scope`)."""

    stays: Mapping[str, pl.Series] = _NOTHING
    outside: Mapping[str, pl.Series] = _NOTHING


#: Of a delivery that speaks for the whole district.
NOTHING_APART: Final = Apart()


@dataclass(slots=True)
class Delivered:
    """A delivery as it was read. Not `readable`: a fatal finding says why, and `tables` counts for nothing.

    `unusable`: tables whose file came, but gives no table, with a word on why ("holds no rows"); a finding says more.
    `stays`, `outside`: see `Apart`; `untouched` is how many records of the tables that came lie outside.
    """

    readable: bool
    version: str
    tables: dict[str, DeliveredTable]
    properties: dict[str, str]
    findings: Findings
    unusable: Mapping[str, str] = field(default_factory=dict)
    stays: Mapping[str, pl.Series] = field(default_factory=dict)
    outside: Mapping[str, pl.Series] = field(default_factory=dict)
    untouched: int = 0

    @property
    def apart(self) -> Apart:
        return Apart(self.stays, self.outside)


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What a check depends on beside the delivery. `products`: whose requirements are asked, too.

    `mappings` heals cells before they are judged: {"users.grades": {"K": "KG"}}.
    `overrides` changes the severity of a rule: {"OR-CSV-143": "warning"}, or "off".
    A table with more than `max_bad_rows` rows *and* more than `max_bad_share` of its rows in quarantine
    rejects the delivery.
    """

    today: date
    products: tuple[str, ...] = ()
    mappings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    overrides: Mapping[str, str] = field(default_factory=dict)
    max_bad_share: float = 0.005
    max_bad_rows: int = 50


@dataclass(slots=True)
class CheckedTable:
    """One table after the check.

    `frame`: the rows that may be used, cells healed by mappings, dropped cells blanked; columns as delivered.
    `quarantined`: ``sourcedId`` of records whose row is not used; they keep their last accepted values.
    `dropped`: ``sourcedId``, ``column``: cells not used; the record keeps that value as last accepted, or none.
    `nameless`: rows whose record is unknown; while there is one, nothing may be removed from this table.
    `part_of`: see `DeliveredTable`; then `half_read` are the users of whom a row here is in quarantine.
    """

    name: str
    mode: type_mode
    frame: pl.DataFrame
    quarantined: pl.DataFrame
    dropped: pl.DataFrame
    nameless: int
    part_of: str = ""
    half_read: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.String))


@dataclass(slots=True)
class Checked:
    """A delivery after the check. `rejections`: (code, sentence) of everything that refuses it whole; `stays` as in
    `Delivered`."""

    version: str
    tables: dict[str, CheckedTable]
    findings: Findings
    rejections: tuple[tuple[str, str], ...] = ()
    stays: Mapping[str, pl.Series] = field(default_factory=dict)
