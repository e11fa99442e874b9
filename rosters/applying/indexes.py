"""Indexes of a table that is empty are built after its first load, in one go: half the time of a large first load.

Only a table without a single row, of whatever district, is treated so: nobody can be reading from it, and no other
district's index is ever missing. It happens in the transaction of the load; if that is rolled back, the indexes are as
they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from rosters.models import Record

#: Below this, building late gains nothing.
_MANY = 5_000


@contextmanager
def built_late(model: type[Record], coming: int) -> Iterator[None]:
    """Take the indexes of `model` away if it is empty and many rows are `coming`, and build them afterwards."""
    name = model._meta.db_table
    with connection.cursor() as cursor:
        made = _indexes(cursor, name) if coming >= _MANY and _is_empty(cursor, name) else {}
        for index in made:
            cursor.execute(f"DROP INDEX {connection.ops.quote_name(index)}")
        yield
        if made and connection.vendor == "postgresql":
            cursor.execute("SET LOCAL maintenance_work_mem = '256MB'")
        for statement in made.values():
            cursor.execute(statement)


def _is_empty(cursor: Any, name: str) -> bool:
    """Whether the table has no row, and no other transaction can add one until ours ends.

    On SQLite a transaction that writes is alone. On PostgreSQL the lock is taken first, for two first loads may come
    together; the later one finds the table filled.
    """
    if connection.vendor == "postgresql":
        cursor.execute(f"SELECT EXISTS (SELECT 1 FROM {name})")
        if cursor.fetchone()[0]:
            return False
        cursor.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")
    cursor.execute(f"SELECT NOT EXISTS (SELECT 1 FROM {name})")
    return bool(cursor.fetchone()[0])


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
