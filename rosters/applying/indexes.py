"""Indexes are built after a large load, in one go, where nobody else's index goes missing for it.

On PostgreSQL that is a table without a single row, of whatever district: nobody can be reading from it. On SQLite,
whose readers go on reading the state before, it is also a table that holds this district alone. It happens in the
transaction of the load; if that is rolled back, everything is as it was.

Such an empty table of PostgreSQL also fills in itself what is the same in every row, and proves its primary key
afterwards: COPY takes half as long.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError, connection, transaction

from rosters.applying.rows import literal
from rosters.models import Record

#: Below this, building late gains nothing.
_MANY = 5_000


@contextmanager
def built_late(
    model: type[Record], district_id: int, coming: int, constant: Mapping[str, int | str]
) -> Iterator[frozenset[str]]:
    """Take the indexes of `model` away if that is allowed and many rows are `coming`, and build them afterwards.

    `constant` holds the columns that are the same in all rows. Yields those that need not be written: the table fills
    them in.
    """
    name = model._meta.db_table
    with connection.cursor() as cursor:
        if coming < _MANY or not _is_ours(cursor, name, district_id, coming):
            yield frozenset()
            return
        made = _indexes(cursor, name)
        for index in made:
            cursor.execute(f"DROP INDEX {_quoted(index)}")
        if connection.vendor != "postgresql":
            yield frozenset()
        else:
            keys = _keys(cursor, name)
            _alter(cursor, name, *(f"DROP CONSTRAINT {key}" for key in keys))
            _alter(cursor, name, *(f"ALTER {_quoted(c)} SET DEFAULT {literal(v)}" for c, v in constant.items()))
            yield frozenset(constant)
            cursor.execute("SET LOCAL maintenance_work_mem = '256MB'")
            _alter(cursor, name, *(f"ALTER {_quoted(column)} DROP DEFAULT" for column in constant))
            _alter(cursor, name, *(f"ADD CONSTRAINT {key} {definition}" for key, definition in keys.items()))
        for statement in made.values():
            cursor.execute(statement)


def _quoted(name: str) -> str:
    return connection.ops.quote_name(name)


def _alter(cursor: Any, name: str, *what: str) -> None:
    if what:
        cursor.execute(f"ALTER TABLE {_quoted(name)} {', '.join(what)}")


def _keys(cursor: Any, name: str) -> dict[str, str]:
    """The primary key of a table of PostgreSQL, with its definition, if nothing hangs on it."""
    cursor.execute(
        "SELECT quote_ident(conname), pg_get_constraintdef(oid) FROM pg_constraint k WHERE conrelid = %s::regclass"
        " AND contype = 'p' AND NOT EXISTS (SELECT 1 FROM pg_constraint f WHERE f.confrelid = k.conrelid)",
        [name],
    )
    return dict(cursor.fetchall())


def _is_ours(cursor: Any, name: str, district_id: int, coming: int) -> bool:
    """Whether no other district has a row there, nor can get one until our transaction ends, and building the indexes
    anew is worth it.

    On SQLite a transaction that writes is alone. On PostgreSQL the lock is taken first, for two first loads may come
    together; whoever cannot have it at once loads with the indexes in place, for two that wait for each other would
    wait for ever.
    """
    empty = f"SELECT NOT EXISTS (SELECT 1 FROM {name})"
    cursor.execute(empty)
    (nothing,) = cursor.fetchone()
    if connection.vendor == "postgresql":
        if nothing:
            try:
                with transaction.atomic():
                    cursor.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE NOWAIT")
            except OperationalError:
                return False
            cursor.execute(empty)
            (nothing,) = cursor.fetchone()
        return bool(nothing)
    if nothing:
        return True
    cursor.execute(f"SELECT count(*) FROM {name} WHERE district_id = %s", [district_id])
    (ours,) = cursor.fetchone()
    cursor.execute(f"SELECT count(*) FROM (SELECT 1 FROM {name} LIMIT %s)", [ours + 1])
    return bool(coming >= ours / 2 and cursor.fetchone()[0] == ours)


def _indexes(cursor: Any, name: str) -> dict[str, str]:
    """Index to the statement that makes it, of all but the primary key's."""
    if connection.vendor == "postgresql":
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() AND tablename = %s"
            " AND indexname NOT IN (SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass)",
            [name, name],
        )
    else:
        cursor.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = %s AND sql IS NOT NULL", [name]
        )
    return dict(cursor.fetchall())
