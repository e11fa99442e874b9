"""Primary keys: a block of fresh ones for the records to come, and those of the records that are referred to."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from django.db import transaction
from django.db.models import F

from rosters.applying.rows import look_up
from rosters.models import LIVE, KeyCounter
from rosters.oneroster.normal import REFERENCES
from rosters.storing import StoredDifference

#: ``sourcedId`` and primary key of records of one table.
PAIRS = {"sourcedId": pl.String, "pk": pl.Int64}


def take_keys(numbers: Mapping[str, int]) -> dict[str, int]:
    """The first of a block of so many fresh primary keys for each table; its own transaction, so that two districts
    never wait for each other. A block that is not used leaves a gap."""
    first: dict[str, int] = {}
    for table, number in numbers.items():
        if number:
            with transaction.atomic():
                KeyCounter.objects.get_or_create(table=table)
                KeyCounter.objects.filter(pk=table).update(next_key=F("next_key") + number)
                first[table] = KeyCounter.objects.get(pk=table).next_key - number
    return first


class Keys:
    """sourcedId -> primary key of the records that new and changed rows refer to, whether active or not.

    What was just inserted is known; the rest is looked up once for each table, and only what `plan` refers to.
    `rows`: how many records each table will have.
    """

    def __init__(
        self, district_id: int, plan: StoredDifference, first: Mapping[str, int], rows: Mapping[str, int]
    ) -> None:
        self.first = first
        self._rows = rows
        self._district = district_id
        self._plan = plan
        self._known: dict[str, pl.DataFrame] = {}
        self._looked_up: set[str] = set()

    def of(self, table: str) -> pl.DataFrame:
        """`PAIRS` of all records of `table` that anything in the plan refers to."""
        known = self._known.get(table, pl.DataFrame(schema=PAIRS))
        if table not in self._looked_up and len(known) < self._rows.get(table, 0):
            self._looked_up.add(table)
            wanted = self._wanted(table)
            missing = wanted.filter(~wanted.is_in(known["sourcedId"].implode())) if len(known) else wanted
            known = pl.concat([known, look_up(LIVE[table], self._district, missing)])
            self._known[table] = known
        return known

    def tell(self, table: str, ids: pl.Series) -> None:
        """The new records in the order of their keys: they need no looking up if anything refers to their table."""
        if any(table in columns.values() for columns in REFERENCES.values()):
            first = self.first[table]
            pairs = pl.DataFrame({"sourcedId": ids}).with_columns(
                pk=pl.int_range(first, first + len(ids), dtype=pl.Int64)
            )
            self._known[table] = pl.concat([self._known.get(table, pl.DataFrame(schema=PAIRS)), pairs])

    def _wanted(self, table: str) -> pl.Series:
        named = [pl.Series("sourcedId", [], pl.String)]
        for name, columns in REFERENCES.items():
            if name in self._plan.tables:
                live = self._plan.scan(name).filter(pl.col("kind") != "removed")
                for column in [column for column, to in columns.items() if to == table]:
                    named.append(live.select(pl.col(column).alias("sourcedId").unique()).collect()["sourcedId"])
        ids = pl.concat(named).unique()
        return ids.filter(ids != "")
