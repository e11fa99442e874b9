"""Whether it is known what a delivery changes, and how many records of each table come, change and leave."""

from __future__ import annotations

from typing import Any, Final

from django.utils.text import capfirst

from rosters.models import Sync, Tally
from rosters.oneroster.normal import TABLES
from rosters.oneroster.plain import NOUNS

#: Somebody decides about the plan, or has.
_PLANNED: Final = (
    *Sync.WAITING,
    Sync.Status.APPROVED,
    Sync.Status.APPLYING,
    Sync.Status.APPLIED,
    Sync.Status.DECLINED,
)


def is_planned(sync: Sync) -> bool:
    """Whether it is known what the delivery changes, and it waits, went live or was declined."""
    return bool(sync.plan_digest) and sync.status in _PLANNED


def in_numbers(sync: Sync) -> list[dict[str, Any]]:
    """How many records of each table come, change and leave, where any do."""
    if not is_planned(sync) or sync.seems_anothers:
        return []
    tallies = {tally.table: tally for tally in sync.tallies.filter(dimension="") if changed(tally)}
    return [counts(capfirst(NOUNS[table].many), tallies[table]) for table in TABLES if table in tallies]


def changed(tally: Tally) -> int:
    return tally.added + tally.updated + tally.removed


def counts(what: str, tally: Tally) -> dict[str, Any]:
    numbers = {name: getattr(tally, name) for name in ("before", "added", "updated", "removed")}
    return {"what": what, "table": tally.table, "school": tally.key, **numbers}
