"""What a difference would mean to those who stay: who would be in no class any more, which classes would have nobody.

What leaves is in the difference; this is what follows for others, and what a teacher would find the next morning. Only
who loses a seat is looked at, so that an ordinary day costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from rosters.diffing import WAS, Difference, column_of, scan_of
from rosters.frames import Frames

#: Of whom something would be missing: `kind`, the record, and its school ("" where it has none).
LEFT: Final = {"kind": pl.String, "sourcedId": pl.String, "school": pl.String}


@dataclass(frozen=True, slots=True)
class Consequence:
    """Records of `table` that have a seat of `role` in `column` before and none after. `words` follow their number."""

    table: str
    column: str
    role: str
    one: str
    many: str

    def words(self, number: int) -> str:
        """ "2 classes would have no teacher any more"."""
        return f"{number:,} {self.one if number == 1 else self.many}"


CONSEQUENCES: Final[Mapping[str, Consequence]] = {
    "students": Consequence(
        "users", "userSourcedId", "student",
        "student would be in no class any more", "students would be in no class any more",
    ),
    "teachers": Consequence(
        "users", "userSourcedId", "teacher",
        "teacher would have no class any more", "teachers would have no class any more",
    ),
    "untaught": Consequence(
        "classes", "classSourcedId", "teacher",
        "class would have no teacher any more", "classes would have no teacher any more",
    ),
    "empty": Consequence(
        "classes", "classSourcedId", "student",
        "class would have no students any more", "classes would have no students any more",
    ),
}  # fmt: skip
_SCHOOL: Final = {"users": "primaryOrgSourcedId", "classes": "schoolSourcedId"}
_SEAT: Final = ("userSourcedId", "classSourcedId", "role")


def consequences(base: Frames, target: Frames, difference: Difference) -> pl.DataFrame:
    """Who and what stays, and loses the last seat of its kind: `LEFT`, in the order of `CONSEQUENCES` and of ids."""
    if "enrollments" not in difference.tables:
        return pl.DataFrame(schema=LEFT)
    rows = difference.scan("enrollments").filter(pl.col("kind") != "added")
    lost = rows.select(pl.coalesce(WAS + column, column).alias(column) for column in _SEAT).collect()
    after, parts = scan_of(target, "enrollments"), []
    for kind, of in CONSEQUENCES.items():
        ids = lost.filter(pl.col("role") == of.role)[of.column].unique()
        if not len(ids):
            continue
        seats = after.filter((pl.col("role") == of.role) & pl.col(of.column).is_in(ids.implode()))
        seated = seats.select(of.column).unique().collect().to_series()
        ids = ids.filter(~ids.is_in(seated.implode()))
        ids = ids.filter(ids.is_in(column_of(target, of.table, "sourcedId").implode()))
        if len(ids):
            parts.append(_with_school(base, of.table, ids).select(pl.lit(kind).alias("kind"), "sourcedId", "school"))
    return pl.concat(parts) if parts else pl.DataFrame(schema=LEFT)


def _with_school(base: Frames, table: str, ids: pl.Series) -> pl.DataFrame:
    """`ids` and the schools that they belonged to, in the order of ids."""
    known = (
        scan_of(base, table).select("sourcedId", school=_SCHOOL[table]).filter(pl.col("sourcedId").is_in(ids.implode()))
    )
    placed = ids.alias("sourcedId").sort().to_frame().join(known.collect(), on="sourcedId", how="left")
    return placed.with_columns(pl.col("school").fill_null("")).sort("sourcedId")
