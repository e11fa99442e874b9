"""How long what is wrong with a district's files has been so, and what the last of them mended.

A finding is the same in two deliveries if its rule, file and column are. Deliveries of the same schools and terms are
compared, for those of others come from another system; what is tried out counts for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import Max, Min, Q

from rosters.models import Finding, Sync
from rosters.syncs.judging import checked_before

#: Rule, file and column.
Same = tuple[str, str, str]
_TOLD: Final = ("fatal", "error", "warning")


@dataclass(frozen=True, slots=True)
class Age:
    """Every delivery has had the finding since `since`, which is so many `days` ago by the district's calendar.
    `is_new`: the delivery before did not have it; `is_first`: there was none that was compared."""

    since: datetime
    days: int
    is_new: bool
    is_first: bool


def last_judged(district_id: int) -> Sync | None:
    """The delivery that was checked last."""
    judged = Sync.objects.filter(district=district_id).judged().select_related("district", "delivery__upload")
    return judged.order_by("-received_at", "-pk").first()


def ages(sync: Sync, findings: Iterable[Finding], until: datetime) -> Mapping[Same, Age]:
    """How long each of these findings of a delivery has been there `until` a moment."""
    codes = {finding.code for finding in findings}
    came = (
        Finding.objects.filter(
            sync__district=sync.district_id,
            sync__dry_run=False,
            sync__speaks_for=sync.speaks_for,
            sync__received_at__lte=sync.received_at,
            code__in=codes,
        )
        .order_by()
        .values_list("code", "file", "column")
        .annotate(again=Max("sync__received_at", filter=Q(is_new=True)), first=Min("sync__received_at"))
    )
    day, now = sync.district.local_date, sync.district.local_date(until)
    found = {}
    for code, file, column, again, first in came:
        since = again or first
        here = since >= sync.received_at
        found[code, file, column] = Age(since, (now - day(since)).days, here and again is not None, here and not again)
    return found


def standing(judged: Sync, now: datetime) -> list[tuple[Finding, Age]]:
    """Errors and warnings of a delivery that was checked, oldest first, each with its age."""
    found = list(judged.findings.filter(severity__in=_TOLD))
    known = ages(judged, found, now)
    told = [(finding, known[finding.code, finding.file, finding.column]) for finding in found]
    return sorted(told, key=lambda each: each[1].since)


def mended(sync: Sync) -> tuple[Sync | None, list[Finding]]:
    """The delivery that was checked before this one, and which errors and warnings of it are gone: not those of a file
    that did not come again, of which nothing is known. None where this one was not checked to its end."""
    before = checked_before(sync) if Sync.objects.filter(pk=sync.pk).judged().exists() else None
    if before is None:
        return None, []
    still = set(sync.findings.values_list("code", "file", "column"))
    unknown = {f"{table}.csv" for table in before.file_rows if table not in sync.file_rows}
    was = before.findings.filter(severity__in=_TOLD).exclude(file__in=unknown)
    return before, [each for each in was if (each.code, each.file, each.column) not in still]
