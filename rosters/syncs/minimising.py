"""What a roster can do without of its people, and is not kept of a district at all: how much of it comes, and who says
so."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import polars as pl
from django.db import transaction
from django.utils import timezone

from rosters.diffing import scan_of
from rosters.frames import rows_of
from rosters.models import District
from rosters.oneroster.normal import MAY_BE_LEFT_OUT, NORMAL
from rosters.oneroster.products import needed_by
from rosters.syncs.working import DecisionRefused, audit_district, base_frames, hold

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff


#: Tables of which all may be left out.
_WHOLE = ("demographics",)


@dataclass(frozen=True, slots=True)
class Cells:
    """A column of `MAY_BE_LEFT_OUT`: of how many of the live `rows` of its table it says something (`filled`), the
    names of the products of its district that need it, and whether it is kept."""

    key: str
    table: str
    column: str
    filled: int
    rows: int
    needed_by: tuple[str, ...]
    kept: bool


def cells_kept(district: District) -> list[Cells]:
    """All that may be left out, in the order of the standard. Counted in the accepted roster, column by column."""
    base, told = base_frames(district), []
    for table in NORMAL:
        columns = [name for name in NORMAL[table] if f"{table}.{name}" in MAY_BE_LEFT_OUT]
        if not columns:
            continue
        filled = scan_of(base, table).select((pl.col(name) != "").sum() for name in columns).collect().row(0)
        for column, number in zip(columns, filled, strict=True):
            key, products = f"{table}.{column}", needed_by(district.products, table, column)
            names, kept = tuple(each.name for each in products), key not in district.not_kept
            told.append(Cells(key, table, column, int(number), rows_of(base, table), names, kept))
    return told


def keep_without(district: District, left_out: Collection[str], *, by: Staff, now: datetime | None = None) -> bool:
    """Keep nothing of `left_out`, columns or whole tables, from the next delivery on; what is live of it leaves then.
    False if it was so already. Raises DecisionRefused for what a roster or a product of the district needs."""
    chosen = [key for key in MAY_BE_LEFT_OUT if {key, key.partition(".")[0]} & {*left_out}]
    if any(each not in chosen and each not in _WHOLE for each in left_out):
        raise DecisionRefused("A roster cannot do without that. Nothing was changed.")
    for key in chosen:
        table, _, column = key.partition(".")
        if products := needed_by(district.products, table, column):
            name = products[0].name
            raise DecisionRefused(f"{name} cannot do without {column} of {table}. Nothing was changed.")
    with transaction.atomic():
        held = hold(district.pk)
        before = held.not_kept
        if before == chosen:
            return False
        held.not_kept = chosen
        held.save(update_fields=["not_kept"])
        audit_district(
            now or timezone.now(), by, "district.changed", held, before={"not_kept": before}, after={"not_kept": chosen}
        )
    district.not_kept = chosen
    return True
