"""The standard's ``filter``, ``sort`` and ``fields`` (1.1 section 3.4, 1.2 rostering REST binding section 2.4).

A filter is clauses ``field predicate 'value'``, joined by AND and OR; AND binds closer, as ClassLink reads it, and
there are no brackets. Predicates: ``=``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, and ``~`` for "contains", whatever the
case. A quote within a value is doubled. A field with several values fits when one of them does; ``!=`` is the contrary
of ``=``.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import polars as pl
from django.utils.dateparse import parse_date, parse_datetime

from rosters.api.manners import InvalidQuery
from rosters.serving import MODIFIED, ServedRoster

#: So long a filter, and so many clauses, are read.
LONGEST: Final = 4_000
CLAUSES: Final = 32

_CLAUSE: Final = re.compile(r"\s*([A-Za-z][\w.:-]*)\s*(!=|>=|<=|=|>|<|~)\s*'((?:[^']|'')*)'\s*")
_JOINT: Final = re.compile(r"(AND|OR)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Path:
    """Where the value of a dotted field stands: `cell` of the record itself, or, with `through` ("roles",
    "userSourcedId"), of every living row of that table which has the record's id in that column. `several`: the cell is
    a list."""

    cell: pl.Expr
    several: bool = False
    through: tuple[str, str] | None = None
    is_moment: bool = False


#: Dotted field to where it stands; asked with the name, as metadata has any.
Paths = Callable[[str], Path | None]


@dataclass(frozen=True, slots=True)
class Clause:
    field: str
    predicate: str
    value: str


def parsed(text: str) -> list[list[Clause]]:
    """Alternatives, each of clauses that must all fit. Raises InvalidQuery."""
    if len(text) > LONGEST:
        raise InvalidQuery(f"A filter has at most {LONGEST:,} characters.")
    alternatives: list[list[Clause]] = [[]]
    at = 0
    while True:
        found = _CLAUSE.match(text, at)
        if found is None:
            raise InvalidQuery(f"A clause such as status='active' is expected at character {at + 1} of the filter.")
        alternatives[-1].append(Clause(found[1], found[2], found[3].replace("''", "'")))
        if sum(map(len, alternatives)) > CLAUSES:
            raise InvalidQuery(f"A filter has at most {CLAUSES} clauses.")
        at = found.end()
        if at == len(text):
            return alternatives
        joint = _JOINT.match(text, at)
        if joint is None:
            raise InvalidQuery(f"AND or OR is expected at character {at + 1} of the filter.")
        if joint[1].upper() == "OR":
            alternatives.append([])
        at = joint.end()


def compiled(text: str, paths: Paths, roster: ServedRoster) -> pl.Expr:
    """Whether a record fits. Raises InvalidQuery."""
    return pl.any_horizontal(
        pl.all_horizontal(_fits(clause, paths, roster) for clause in clauses) for clauses in parsed(text)
    )


def _fits(clause: Clause, paths: Paths, roster: ServedRoster) -> pl.Expr:
    path = paths(clause.field)
    if path is None:
        raise InvalidQuery(f"There is no field {clause.field[:60]} to filter by.", "invalid_filter_field")
    contrary = clause.predicate == "!="
    one = _test("=" if contrary else clause.predicate, clause.value, path)
    if path.through:
        table, owner = path.through
        rows = roster.living(table).filter(one(path.cell)).select(owner).collect().to_series().unique()
        fits = pl.col("sourcedId").is_in(rows.implode())
    elif path.several:
        fits = path.cell.list.eval(one(pl.element())).list.any()
    else:
        fits = one(path.cell)
    return ~fits if contrary else fits


_ORDERS: Final[Mapping[str, Callable[[pl.Expr, pl.Expr], pl.Expr]]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def _test(predicate: str, value: str, path: Path) -> Callable[[pl.Expr], pl.Expr]:
    if path.is_moment:
        moment = pl.lit(_moment(value), pl.Datetime("us", "UTC"))
        if predicate == "~":
            return lambda cell: cell.dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").str.contains(value, literal=True)
        compare: Callable[[pl.Expr, pl.Expr], pl.Expr] = _ORDERS.get(predicate, operator.eq)
        return lambda cell: compare(cell, moment)
    text = pl.lit(value)
    if predicate == "~":
        return lambda cell: cell.str.to_lowercase().str.contains(text.str.to_lowercase(), literal=True)
    if predicate == "=":
        return lambda cell: cell == text
    return lambda cell: (cell != "") & _ORDERS[predicate](cell, text)  # nothing is neither before nor after anything


def _moment(value: str) -> datetime:
    """A date is its first moment, a time without a zone one in UTC."""
    try:
        found = parse_datetime(value.strip())
        day = parse_date(value.strip()) if found is None else None
    except ValueError:
        found = day = None
    if day is not None:
        found = datetime(day.year, day.month, day.day)  # noqa: DTZ001  # its zone follows
    if found is None:
        raise InvalidQuery(f"{MODIFIED} is compared with a time such as '2026-08-01T00:00:00Z'.")
    return found if found.tzinfo else found.replace(tzinfo=UTC)
