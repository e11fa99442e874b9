"""Rows into and out of the live tables, in bulk, as each database does it best: executemany on SQLite, COPY and small
temporary tables on PostgreSQL. Frames come with the database's own column names."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import chain
from typing import Any, Literal

import polars as pl
from django.db import connection

from rosters.frames import ahead
from rosters.models import Record

_SLICE = 20_000
#: So many ids are looked up one by one; for more, all keys of the district are read.
_FEW = 20_000

#: Parameters of one statement, of which every SQLite takes so many.
_PARAMETERS = 900

#: What names a record to the database.
IDENTITY = "sourced_id"


def look_up(
    model: type[Record],
    district_id: int,
    wanted: pl.Series,
    only: Mapping[str, Any] = {},
    *,
    but: Mapping[str, Any] = {},
) -> pl.DataFrame:
    """``sourcedId``, ``pk`` of those of `wanted` that the live table has; `only` with these values, `but` not with
    those."""
    name = model._meta.db_table
    rows: list[tuple[str, int]] = []
    conditions = ["t.district_id = %s", *(f"t.{column} = %s" for column in only), *(f"t.{c} <> %s" for c in but)]
    values = [district_id, *map(plain, only.values()), *map(plain, but.values())]
    if len(wanted):
        with connection.cursor() as cursor:
            query = f"SELECT t.sourced_id, t.id FROM {name} t"
            if connection.vendor == "postgresql":  # long lists of values mislead its planner; statistics do not
                _spread_out(cursor, name, wanted.to_frame(IDENTITY))
                query += " JOIN spread_out USING (sourced_id)"
            elif len(wanted) <= _FEW:
                _spread_out(cursor, name, wanted.to_frame(IDENTITY))
                query = f"SELECT t.sourced_id, t.id FROM spread_out CROSS JOIN {name} t USING (sourced_id)"
            cursor.execute(f"{query} WHERE {' AND '.join(conditions)}", values)
            rows = cursor.fetchall()
    found = pl.DataFrame(rows, schema={"sourcedId": pl.String, "pk": pl.Int64}, orient="row")
    return found.filter(pl.col("sourcedId").is_in(wanted.implode())) if len(found) > len(wanted) else found


def insert(model: type[Record], parts: Iterator[pl.DataFrame], constant: Mapping[str, int | str]) -> int:
    """Add the rows of all `parts`, which are made while the database is busy with those before; how many it took.
    `constant` holds the columns that are the same in all of them. In the order of their `IDENTITY`, rows find their
    place in the index at its end."""
    name = model._meta.db_table
    if connection.vendor == "sqlite":
        return sum(_insert_many(name, rows, constant) for rows in ahead(parts, by=1))
    whole = (rows.with_columns(pl.lit(value).alias(column) for column, value in constant.items()) for rows in parts)
    first = next(whole)
    columns = ",".join(f'"{c}"' for c in first.columns)
    with connection.cursor() as cursor:
        _copy(cursor, f"COPY {name} ({columns}) FROM STDIN (FORMAT csv, NULL '')", chain([first], whole))
        return int(cursor.rowcount)


def _insert_many(name: str, frame: pl.DataFrame, constant: Mapping[str, int | str]) -> int:
    """What is the same in every row, such as a column that the district never fills, stands in the statement itself:
    sqlite3 binds each parameter of each row one by one. Many rows to a statement take little more than half the
    time."""
    texts = [c for c, dtype in frame.schema.items() if dtype == pl.String]
    empty = [c for c, bare in frame.select((pl.col(texts) == "").all()).row(0, named=True).items() if bare]
    frame = frame.drop(empty)
    fixed = {**constant, **dict.fromkeys(empty, "")}
    columns = ",".join(f'"{c}"' for c in (*frame.columns, *fixed))
    marks = ",".join([*("?" * frame.width), *(literal(value) for value in fixed.values())])
    at_once = max(1, _PARAMETERS // frame.width)
    together = len(frame) // at_once * at_once
    return sum(
        _execute_many(f"INSERT INTO {name} ({columns}) VALUES {','.join([f'({marks})'] * number)}", rows, number)
        for rows, number in ((frame.head(together), at_once), (frame.slice(together), 1))
        if len(rows)
    )


def literal(value: int | str) -> str:
    """A number, or a text that we made ourselves, as SQL."""
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


def update(model: type[Record], district_id: int, rows: pl.DataFrame, constant: Mapping[str, Any]) -> int:
    """Set the columns of `rows` and those of `constant` in the records that have their `IDENTITY`; how many there
    were."""
    name, values = model._meta.db_table, [column for column in rows.columns if column != IDENTITY]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            _spread_out(cursor, name, rows)
            sets = ",".join([*(f'"{c}"=%s' for c in constant), *(f'"{c}"=c."{c}"' for c in values)])
            cursor.execute(
                f"UPDATE {name} t SET {sets} FROM spread_out c WHERE t.district_id=%s AND t.sourced_id=c.sourced_id",
                [*constant.values(), district_id],
            )
            return int(cursor.rowcount)
    fixed = [f'"{c}"={literal(plain(value))}' for c, value in constant.items()]
    sets = ",".join([*fixed, *(f'"{c}"=?' for c in values)])
    statement = f"UPDATE {name} SET {sets} WHERE district_id={int(district_id)} AND sourced_id=?"
    return _execute_many(statement, rows.select(*values, IDENTITY))


def update_others(model: type[Record], district_id: int, staying: pl.DataFrame, constant: Mapping[str, Any]) -> int:
    """Set the columns of `constant` in all active records of the district that `staying` does not name; how many."""
    name = model._meta.db_table
    with connection.cursor() as cursor:
        _spread_out(cursor, name, staying.select(IDENTITY))
        sets = ",".join(f'"{c}"=%s' for c in constant)
        others = f"NOT EXISTS (SELECT 1 FROM spread_out s WHERE s.sourced_id={name}.sourced_id)"
        query = f"UPDATE {name} SET {sets} WHERE district_id=%s AND status='active' AND {others}"
        cursor.execute(query, [*map(plain, constant.values()), district_id])
        return int(cursor.rowcount)


def plain(value: Any) -> int | str:
    """As Django writes it: a time into SQLite as UTC without zone."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S.%f") if connection.vendor == "sqlite" else value.isoformat()
    assert isinstance(value, int | str)
    return value


def _execute_many(statement: str, frame: pl.DataFrame, at_once: int = 1) -> int:
    """Straight to sqlite3: Django's wrapper would rewrite the statement for every slice. `at_once`: how many rows the
    statement takes, of which `frame` holds a multiple. Returns the rows touched."""
    raw: Any = connection.connection
    width, touched = frame.width, 0
    for part in frame.iter_slices(_SLICE // at_once * at_once):
        values: list[Any] = [None] * (len(part) * width)
        for number, column in enumerate(part.get_columns()):
            values[number::width] = column.to_list()  # a third faster than rows()
        step = at_once * width
        rows = (values[start : start + step] for start in range(0, len(values), step))
        touched += raw.executemany(statement, rows).rowcount
    return touched


def _spread_out(cursor: Any, name: str, rows: pl.DataFrame) -> None:
    """`rows` as the temporary table ``spread_out``; on PostgreSQL typed like the columns of the same names of table
    `name`, on SQLite ids alone."""
    cursor.execute("DROP TABLE IF EXISTS spread_out")
    if connection.vendor == "sqlite":
        cursor.execute("CREATE TEMP TABLE spread_out (sourced_id text PRIMARY KEY) WITHOUT ROWID")
        _execute_many("INSERT INTO spread_out VALUES (?)", rows.select(IDENTITY).sort(IDENTITY))
        return
    quoted = ",".join(f'"{c}"' for c in rows.columns)
    cursor.execute(f"CREATE TEMP TABLE spread_out ON COMMIT DROP AS SELECT {quoted} FROM {name} WHERE false")
    _copy(cursor, f"COPY spread_out ({quoted}) FROM STDIN (FORMAT csv, NULL '')", iter([rows]))
    cursor.execute("ANALYZE spread_out")


def _copy(cursor: Any, statement: str, frames: Iterator[pl.DataFrame]) -> None:
    """COPY in CSV, written while the server works: a text is quoted where it must be (so that "" stays ""), which the
    server reads faster than quotes everywhere; a missing reference is an empty cell (NULL). A lone ``\\.`` would end
    the data."""

    def written() -> Iterator[bytes]:
        for frame in frames:
            quotes: Literal["necessary", "non_numeric"] = "necessary" if frame.width > 1 else "non_numeric"
            for part in frame.iter_slices(_SLICE):
                buffer = io.BytesIO()
                part.write_csv(buffer, include_header=False, quote_style=quotes, null_value="")
                yield buffer.getvalue()

    with cursor.copy(statement) as copy:
        for block in ahead(written()):
            copy.write(block)
