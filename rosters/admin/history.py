"""What happened to one record: which syncs changed it, and how."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from rosters import syncs
from rosters.changes import change_of, names_of
from rosters.models import LIVE, Record, Sync
from rosters.staff import may_see
from rosters.syncs.tracing import TELLING
from rosters.words import TABLE_WORDS

#: Syncs that are looked through for one page, and changes that are shown of each and table.
SYNCS_A_PAGE = 30
MOST_SHOWN = 50

TABLE_OF = {model: table for table, model in LIVE.items()}


def history_context(request: HttpRequest, record: Record) -> dict[str, Any]:
    """The syncs that changed `record`, or what hangs on it, newest first; ``earlier``: before which version there are
    more to look through."""
    table, before = TABLE_OF[type(record)], request.GET.get("before", "")
    applied = Sync.objects.filter(district=record.district_id, status=Sync.Status.APPLIED, result__isnull=False)
    applied = applied.select_related("result", "delivery").order_by("-result__version")
    if before.isdecimal() and len(before) < 9:
        applied = applied.filter(result__version__lt=int(before))
    some = list(applied[: SYNCS_A_PAGE + 1])
    entries = [entry for sync in some[:SYNCS_A_PAGE] if (entry := _entry(request, sync, table, record.sourced_id))]
    last = some[SYNCS_A_PAGE - 1].result if len(some) > SYNCS_A_PAGE else None
    return {
        "entries": entries,
        "earlier": last.version if last else None,
    }


def _entry(request: HttpRequest, sync: Sync, table: str, sourced_id: str) -> dict[str, Any] | None:
    """What a sync changed of a record, by table; None if nothing."""
    stored = syncs.store().difference(sync.district_id, sync.pk)
    groups = []
    for name, column in {table: "sourcedId", **TELLING.get(table, {})}.items():
        if name in stored.tables and may_see(request, name):
            rows = stored.about(name, column, sourced_id, MOST_SHOWN + 1)
            shown = rows[:MOST_SHOWN]
            names = names_of(sync, stored, name, shown)
            if rows:
                changes = [change_of(name, row, names) for row in shown]
                groups.append(
                    {"word": TABLE_WORDS[name], "own": name == table, "rows": changes, "more": len(rows) > MOST_SHOWN}
                )
    kept = bool(stored.tables) or not (sync.added or sync.updated or sync.removed)
    return {"sync": sync, "groups": groups, "kept": kept} if groups or not kept else None
