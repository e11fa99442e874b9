"""What happened to one record: which syncs changed it and how, and what the file says of it that is live."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from rosters import syncs
from rosters.changes import change_of, names_of
from rosters.models import LIVE, Record, Sync
from rosters.staff import may_see
from rosters.words import TABLE_WORDS

#: Syncs that are looked through for one page, and changes that are shown of each and table.
SYNCS_A_PAGE = 30
MOST_SHOWN = 50

TABLE_OF = {model: table for table, model in LIVE.items()}

#: What also tells of a record: table to the column that names it.
_TELLING = {
    "users": {
        "roles": "userSourcedId",
        "enrollments": "userSourcedId",
        "userProfiles": "userSourcedId",
        "demographics": "sourcedId",
    },
    "classes": {"enrollments": "classSourcedId"},
}


def history_context(request: HttpRequest, record: Record) -> dict[str, Any]:
    """The syncs that changed `record`, or what hangs on it, newest first; ``earlier``: before which version there are
    more to look through. With ``line`` in the query string also where it stands in the newest file."""
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
        "in_file": _in_file(record, table) if "line" in request.GET else None,
    }


def _entry(request: HttpRequest, sync: Sync, table: str, sourced_id: str) -> dict[str, Any] | None:
    """What a sync changed of a record, by table; None if nothing."""
    stored = syncs.store().difference(sync.district_id, sync.pk)
    groups = []
    for name, column in {table: "sourcedId", **_TELLING.get(table, {})}.items():
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


def _in_file(record: Record, table: str) -> dict[str, Any]:
    """Where a record stands in the newest file that is live, and what was found there."""
    newest = Sync.objects.filter(district=record.district_id, status=Sync.Status.APPLIED, delivery__isnull=False)
    sync = newest.select_related("delivery", "district").order_by("-applied_at").first()
    if sync is None:
        return {"sync": None}
    return {"sync": sync, "file": f"{table}.csv", **syncs.lines_of(sync, table, record.sourced_id)}
