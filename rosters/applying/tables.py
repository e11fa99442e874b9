"""One table of a plan at a time: what is removed, what comes (again), what changes; references as primary keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from rosters.applying.indexes import built_late
from rosters.applying.keys import PAIRS, Keys
from rosters.applying.rows import IDENTITY, insert, look_up, plain, update, update_others
from rosters.frames import positions
from rosters.models import FIELDS, LIVE
from rosters.oneroster.normal import NORMAL, REFERENCES
from rosters.storing import StoredDifference, StoredFrames

_ID = pl.col("sourcedId")
#: New records in the database's form that are in memory at once.
_AT_ONCE = 100_000


class PlanBroken(Exception):
    """What was written, or would be, is not what the plan says. Nothing was written."""


def remove(table: str, district_id: int, plan: StoredDifference, base: StoredFrames, lived: int, now: datetime) -> int:
    """Mark the records that leave; returns how many. `lived`: how many the base had. Where most of them leave, those
    that stay are named instead."""
    model, gone = LIVE[table], {"status": "tobedeleted", "date_last_modified": now}
    leaving = plan.scan(table).filter(pl.col("kind") == "removed").select(_ID.alias(IDENTITY)).sort(IDENTITY).collect()
    if not len(leaving):
        return 0
    if 2 * len(leaving) > lived:
        staying = base.scan(table).select(_ID.alias(IDENTITY)).join(leaving.lazy(), on=IDENTITY, how="anti").collect()
        changed = update_others(model, district_id, staying, gone)
    else:
        changed = update(model, district_id, leaving, gone)
    if changed != len(leaving):
        raise PlanBroken(f"{table}: {len(leaving)} records were to be removed, {changed} were found")
    return len(leaving)


@dataclass(frozen=True, slots=True)
class Coming:
    """The records of a table that come or change: ``kind`` and their cells, and in which order of rows their ids are in
    order."""

    table: str
    rows: pl.DataFrame
    order: pl.Series

    @classmethod
    def of(cls, plan: StoredDifference, table: str) -> Coming:
        rows = plan.scan(table).filter(pl.col("kind") != "removed").select("kind", *NORMAL[table]).collect()
        return cls(table, rows, rows["sourcedId"].arg_sort())


def write(coming: Coming, district_id: int, keys: Keys, lived: int, now: datetime) -> int:
    """Write the records that come or change; returns how many. `lived`: how many the base had."""
    table, live, order = coming.table, coming.rows, coming.order
    if not len(live):
        return 0
    model, constant = LIVE[table], {"status": "active", "date_last_modified": now}
    added = live["kind"] == "added"
    back = _there_already(table, district_id, live["sourcedId"].filter(added), lived, now)
    if len(back):
        added &= ~live["sourcedId"].is_in(back["sourcedId"].implode())
    fresh, existing = order, order.clear()
    if not added.all():
        is_new = added.gather(order)
        fresh, existing = order.filter(is_new), order.filter(~is_new)
    if len(fresh):
        keys.tell(table, live["sourcedId"].gather(fresh))
    for to in REFERENCES[table].values():
        keys.of(to)  # looked up here, while the indexes are there
    if len(fresh):
        fixed = {column: plain(value) for column, value in {"district_id": district_id, **constant}.items()}
        with built_late(model, district_id, len(fresh), fixed) as filled_in:
            written = {column: value for column, value in fixed.items() if column not in filled_in}
            came = insert(model, _numbered(table, live, fresh, keys), written)
        if came != len(fresh):
            raise PlanBroken(f"{table}: {len(fresh)} records were to be added, {came} were")
    if len(existing):
        changed = update(model, district_id, _resolved(table, live[existing], keys), constant)
        if changed != len(existing):
            raise PlanBroken(f"{table}: {len(existing)} records were to be changed, {changed} were")
    return len(added)


def _numbered(table: str, rows: pl.DataFrame, order: pl.Series, keys: Keys) -> Iterator[pl.DataFrame]:
    """Those of `rows` that `order` names, some at a time in the database's form, with their primary keys."""
    for start in range(0, len(order), _AT_ONCE):
        part = _resolved(table, rows[order.slice(start, _AT_ONCE)], keys)
        first = keys.first[table] + start
        yield part.insert_column(0, pl.int_range(first, first + len(part), dtype=pl.Int64, eager=True).alias("id"))


def _there_already(table: str, district_id: int, coming: pl.Series, lived: int, now: datetime) -> pl.DataFrame:
    """`PAIRS` of new records that were there before and are marked as removed. Nothing is looked up where the district
    has no more records than were live."""
    model = LIVE[table]
    if model._base_manager.filter(district_id=district_id).count() <= lived:
        return pl.DataFrame(schema=PAIRS)
    return look_up(model, district_id, coming, {"status": "tobedeleted"}, but={"date_last_modified": now})


def columns_of(table: str) -> list[tuple[str, str]]:
    """(column of the normal form, column of the database) of everything but key, district, status and date."""
    fields = {field.name: str(field.column) for field in LIVE[table]._meta.concrete_fields}
    return [(c, fields[FIELDS[table].get(c, snake(c))]) for c in NORMAL[table][1:]]


def snake(name: str) -> str:
    """camelCase of the standard as the snake_case of Python."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def _resolved(table: str, rows: pl.DataFrame, keys: Keys) -> pl.DataFrame:
    """`rows` in the database's columns, references as primary keys, with what is derived for the database:
    demographics' user and people's search name. Raises PlanBroken where a reference leads nowhere."""
    found: dict[str, pl.Series] = {}
    for column, to in REFERENCES[table].items():
        known = keys.of(to)
        found[column] = known["pk"].gather(positions(rows[column], known["sourcedId"]))
        lost = int(((rows[column] != "") & found[column].is_null()).sum())
        if lost:
            raise PlanBroken(f"{table}.{column}: {lost} references lead to records that are not there")
    out: list[Any] = [_ID.alias(IDENTITY)]
    for column, name in columns_of(table):
        out.append(found[column].alias(name) if column in found else pl.col(column).alias(name))
    if table == "demographics":
        out.append(found["sourcedId"].alias("user_id"))
    if table == "users":
        out.append(pl.concat_str("familyName", "givenName", separator=" ").str.to_lowercase().alias("search_name"))
    return rows.select(out)
