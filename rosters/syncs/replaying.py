"""Other limits tried on what came before: which of the last deliveries would have waited for a person.

The rules that look at numbers of tables, schools, grades and roles are asked again, on the numbers that each sync left
behind; they need no file, so history that is deleted counts too. What only a file can tell (ids, names, a missing end)
is taken from what was found then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from rosters import holding
from rosters.diffing import KINDS
from rosters.models import District, Sync, Tally

LOOKED_AT: Final = 60
_WORDS: Final = ("table", "dimension", "key", "label")
_WERE: Final = ("before", "beside", "apart")
_SCHEMA: Final = {"sync_id": pl.Int64, **dict.fromkeys(_WORDS, pl.String), **dict.fromkeys((*KINDS, *_WERE), pl.Int64)}


@dataclass(frozen=True, slots=True)
class Held:
    """A delivery that would have waited, and the first reason."""

    sync: Sync
    why: str


@dataclass(frozen=True, slots=True)
class Replay:
    """How many deliveries were looked at, and which of them would have waited, newest first."""

    looked_at: int
    held: list[Held]

    @property
    def declined(self) -> int:
        """How many of those a person declined then: they were held rightly."""
        return sum(each.sync.status == Sync.Status.DECLINED for each in self.held)


def replay(district: District, *limits: Mapping[str, float]) -> list[Replay]:
    """What each of these `limits` would have made of the last deliveries that were compared with a live roster."""
    compared = Sync.objects.filter(district=district, undoes=None, base_version__gt=0).exclude(plan_digest="")
    recent = list(compared.prefetch_related("holds").order_by("-received_at", "-pk")[:LOOKED_AT])
    tallies, nothing = tallies_of(recent), pl.DataFrame(schema=_SCHEMA)
    found: list[list[Held]] = [[] for _ in limits]
    for sync in recent:
        then = next((hold.saw for hold in sync.holds.all() if hold.code not in holding.BY_NUMBERS), "")
        for tried, held in zip(limits, found, strict=True):
            now = holding.by_numbers(tallies.get(sync.pk, nothing), tried)
            if now or then:
                held.append(Held(sync, then or now[0].saw))
    return [Replay(len(recent), held) for held in found]


def tallies_of(recent: Sequence[Sync]) -> dict[int, pl.DataFrame]:
    """The numbers that each of these syncs left behind, as the rules read them."""
    kept = Tally.objects.filter(sync__in=recent).exclude(dimension="field")
    lines = [_counted(*line) for line in kept.values_list("apart", "before", "sync_id", *_WORDS, *KINDS)]
    return {
        rows["sync_id"][0]: rows for rows in pl.DataFrame(lines, schema=_SCHEMA, orient="row").partition_by("sync_id")
    }


def _counted(apart: Mapping[str, int], before: int, *row: Any) -> tuple[Any, ...]:
    """A line as `rosters.diffing.tally` has it, from what is kept: of all records, and how many lay apart."""
    stay, outside = apart.get("removed", 0), apart.get("updated", 0)
    return *row, before - stay, stay - outside, outside
