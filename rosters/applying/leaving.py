"""What left the live roster, deleted once its time is over. But for `rosters.applying.rebuilding`, which writes a whole
roster anew, nothing else ever deletes a live table's row."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Final

from django.db import connection, models

from rosters.applying.rows import plain
from rosters.models import LIVE

#: Nobody may ask for less: a delivery that left half a district out must have been noticed by then.
LEAST_DAYS: Final = 30

_DUE: Final = "district_id = %s AND status = 'tobedeleted' AND date_last_modified < %s"


def left_before(district_id: int, before: datetime) -> dict[str, int]:
    """How many records of each table left before that moment; tables without any are left out."""
    counts = {}
    for table, model in LIVE.items():
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {model._meta.db_table} WHERE {_DUE}", [district_id, plain(before)])
            (counts[table],) = cursor.fetchone()
    return {table: count for table, count in counts.items() if count}


def forget_left(district_id: int, before: datetime) -> dict[str, int]:
    """Delete the records that left before that moment, in the transaction of the caller, who holds the district's row.
    Returns how many of each table; tables without any are left out.

    What something refers to that is still there, be it marked as removed itself, stays as long as that does: no
    reference is ever left hanging. A whole table is asked at once, whatever its size.
    """
    forgotten: dict[str, int] = {}
    for table in reversed([*left_before(district_id, before)]):
        name = LIVE[table]._meta.db_table
        values = [district_id, plain(before)]
        still = ""
        for child, column in _referring(table):
            still += f" EXCEPT SELECT {column} FROM {child} WHERE district_id = %s"
            values.append(district_id)
        statement = f"DELETE FROM {name} WHERE id IN (SELECT id FROM {name} WHERE {_DUE}{still})"
        gone = -1
        with connection.cursor() as cursor:
            while gone:  # a parent goes once its children went
                cursor.execute(statement, values)
                gone = cursor.rowcount
                forgotten[table] = forgotten.get(table, 0) + gone
    return {table: forgotten[table] for table in LIVE if forgotten.get(table)}


def counts_of(district_id: int) -> dict[str, int]:
    """How many records of each table there are, living and left; tables without any are left out."""
    counts = {table: model._base_manager.filter(district=district_id).count() for table, model in LIVE.items()}
    return {table: count for table, count in counts.items() if count}


def forget_all(district_id: int) -> None:
    """Delete every record of a district that has left, in the transaction of the caller, who holds its row."""
    for table in reversed(list(LIVE)):
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {LIVE[table]._meta.db_table} WHERE district_id = %s", [district_id])


@cache
def _referring(table: str) -> list[tuple[str, str]]:
    """The tables and columns of the database that refer to a table's records."""
    return [
        (child._meta.db_table, str(field.column))
        for child in LIVE.values()
        for field in child._meta.concrete_fields
        if isinstance(field, models.ForeignKey) and field.related_model is LIVE[table]
    ]
