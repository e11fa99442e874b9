"""One cause, one decision: what of a difference waits while the rest goes ahead, and what hangs together with it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import polars as pl

from rosters.diffing import ID, WAS, Difference
from rosters.holding.situation import HoldFound
from rosters.oneroster.normal import LISTED_REFERENCES, REFERENCES, TABLES

_EVERY: Final = TABLES
_PEOPLE: Final = ("users",)


class Which(NamedTuple):
    """A hold, of which there is one in a sync."""

    code: str
    table: str
    dimension: str


#: The rules whose changes can wait without the others: each says which they are (`HoldFound.about`).
MAY_WAIT: Final = frozenset(
    (
        "SCHOOL_GONE", "TERM_GONE", "TAIL_MISSING", "OTHER_PEOPLE", "DOUBLED", "MEMBERSHIP_TURNOVER", "REMOVED_COUNT",
        "REMOVED_SHARE", "UPDATED_SHARE", "SCHOOL_REMOVED_SHARE", "GRADE_REMOVED_SHARE", "ROLE_REMOVED_SHARE",
        "SCHOOL_UPDATED_SHARE", "GRADE_UPDATED_SHARE", "ROLE_UPDATED_SHARE",
    )
)  # fmt: skip


def parted(difference: Difference, holds: Iterable[HoldFound], aside: Sequence[Which]) -> dict[str, pl.Series]:
    """Of each table the sourcedIds of the changes that wait if what these holds (`aside`) are about does.

    With a change waits what would make no sense without it, so that no reference leads nowhere on either side:

    * what would be added, or changed, to refer to a record that does not come;
    * what would be removed together with a record that stays, such as the enrollments of a student;
    * the removal of whatever a record refers to that stays, or stays as it was; of a person with all that is theirs,
      of a class, a school or a term it alone.
    """
    about: dict[str, pl.Expr] = {}
    for hold in holds:
        if Which(hold.code, hold.table, hold.dimension) in aside:
            for table, expression in hold.about.items():
                about[table] = about[table] | expression if table in about else expression
    waiting = _Waiting(difference, about)
    if about:
        waiting.take_what_belongs_to_it(_EVERY)
        while waiting.keep_what_it_refers_to() and waiting.take_what_belongs_to_it(_PEOPLE):
            pass
    return {table: rows.filter("waits")["sourcedId"] for table, rows in waiting.rows.items() if rows["waits"].any()}


class _Waiting:
    """The changes of each table, their references and whether they wait; no other cell is held."""

    def __init__(self, difference: Difference, about: Mapping[str, pl.Expr]) -> None:
        self.rows: dict[str, pl.DataFrame] = {}
        for table in (table for table in TABLES if table in difference.tables):
            waits = about.get(table, pl.lit(False)).fill_null(False).alias("waits")
            cells = [column for column in _references(table) if column != "sourcedId"]
            was = [pl.coalesce(WAS + column, column).alias(WAS + column) for column in cells]
            rows = difference.scan(table).select(waits, "kind", "sourcedId", *cells, *was).collect()
            self.rows[table] = rows.with_columns(pl.col("sourcedId").alias(f"{WAS}sourcedId"))

    def take_what_belongs_to_it(self, to: Collection[str]) -> bool:
        """What refers to records of the tables `to`; whether there was any. References only point up the order of
        tables or within one, so one pass from the first table finds all."""
        found = False
        for table in self.rows:
            while self._widen(table, self._belonging(table, to)):
                found = True
        return found

    def keep_what_it_refers_to(self) -> bool:
        """The same from the last table upwards."""
        found = False
        for table in reversed(self.rows):
            for to in dict.fromkeys(_references(table).values()):
                while to in self.rows and self._widen(to, self._referred_to(table, to)):
                    found = True
                    if to != table:
                        break
        return found

    def _widen(self, table: str, more: pl.Expr) -> bool:
        rows = self.rows[table]
        self.rows[table] = rows.with_columns(waits=pl.col("waits") | more.fill_null(False))
        return int(self.rows[table]["waits"].sum()) > int(rows["waits"].sum())

    def _belonging(self, table: str, among: Collection[str]) -> pl.Expr:
        found = pl.lit(False)
        for column, to in _references(table).items():
            if to in self.rows and to in among:
                stay = self._ids(to, pl.col("kind") == "removed")
                missing = self._ids(to, pl.col("kind") == "added")
                found |= (pl.col("kind") == "removed") & _names(table, WAS + column, stay)
                found |= (pl.col("kind") != "removed") & _names(table, column, missing)
        return found

    def _referred_to(self, table: str, to: str) -> pl.Expr:
        staying = self.rows[table].filter(pl.col("waits") & (pl.col("kind") != "added"))
        named = [
            staying[WAS + column].str.split(",").explode(empty_as_null=False)
            for column, target in _references(table).items()
            if target == to
        ]
        return (pl.col("kind") == "removed") & ID.is_in(pl.concat(named).unique().implode())

    def _ids(self, table: str, kind: pl.Expr) -> pl.Series:
        return self.rows[table].filter(pl.col("waits") & kind)["sourcedId"].implode()


def _references(table: str) -> dict[str, str]:
    """Column to the table whose records it names, one or several."""
    return {**REFERENCES[table], **LISTED_REFERENCES.get(table, {})}


def _names(table: str, column: str, ids: pl.Series) -> pl.Expr:
    if column.removeprefix(WAS) in LISTED_REFERENCES.get(table, {}):
        return pl.col(column).str.split(",").list.eval(pl.element().is_in(ids)).list.any()
    return pl.col(column).is_in(ids)
