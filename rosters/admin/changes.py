"""The changes of a sync on the pages of staff: one page, filtered, and the same as a file (`rosters.changes`)."""

from __future__ import annotations

from typing import IO, Any

import polars as pl
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.urls import reverse

from rosters import syncs
from rosters.admin.searching import search_of
from rosters.changes import PAGE_SIZE, as_csv, page_of
from rosters.diffing import KINDS
from rosters.models import Sync, Tally
from rosters.oneroster.normal import NORMAL, TABLES
from rosters.staff import DECIDE, may_see
from rosters.storing import Wanted
from rosters.words import TABLE_WORDS

#: The filters that stand in the query string; what cells are to hold does not (`rosters.admin.searching`).
FILTERS = ("table", "kind", "field", "school", "grade", "role")


def one_page(request: HttpRequest, rows: pl.LazyFrame) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """One page of `rows`, and what the links to the others need."""
    number = request.GET.get("page", "1")
    total = int(rows.select(pl.len()).collect().item())
    pages = max(-(-total // PAGE_SIZE), 1)
    page = min(max(int(number), 1), pages) if number.isdecimal() and len(number) < 9 else 1
    shown = rows.slice((page - 1) * PAGE_SIZE, PAGE_SIZE).collect().to_dicts()
    first = (page - 1) * PAGE_SIZE + 1 if total else 0
    return shown, {"total": total, "page": page, "pages": pages, "first": first, "last": first + len(shown) - 1}


def changes_context(request: HttpRequest, sync: Sync) -> dict[str, Any]:
    """One page of records that come, change or go, filtered by the query string and what is looked for."""
    asked = request.GET
    stored = syncs.store().difference(sync.district_id, sync.pk)
    tables = [t for t in TABLES if t in stored.tables and may_see(request, t)]
    if not tables:
        return {"change_tables": [], "rows": []}
    table = _table_of(request, tables)
    wanted, over = _wanted(request, table), search_of(request).over
    fields = sync.tallies.filter(table=table, dimension="field").order_by("-updated").values_list("key", flat=True)
    return {
        "changes_at": reverse("admin:rosters_sync_changes", args=[sync.pk]),
        "change_tables": [(t, TABLE_WORDS[t]) for t in tables],
        "table": table,
        **wanted,
        "fields": list(fields),
        "school_label": _label(sync, wanted["school"]),
        "search_is_over": over,
        "may_take_out": request.user.has_perm(DECIDE),
        **page_of(sync, stored, table, wanted, asked.get("page", "1"), nothing=over),
    }


def _table_of(request: HttpRequest, tables: list[str]) -> str:
    """The table that is asked for; unless it is one of `tables`, that of people, or the first."""
    asked = request.GET.get("table", "")
    return asked if asked in tables else "users" if "users" in tables else tables[0]


def _wanted(request: HttpRequest, table: str) -> Wanted:
    """The filters of the query string, and what is looked for."""
    asked = request.GET
    return {
        "kind": asked.get("kind", "") if asked.get("kind") in KINDS else "",
        "school": asked.get("school", ""),
        "grade": asked.get("grade", ""),
        "role": asked.get("role", ""),
        "field": asked.get("field", "") if asked.get("field") in NORMAL[table] else "",
        "text": search_of(request).words,
    }


# --------------------------------------------------------------------------------------------------------- as a file


def changes_file(request: HttpRequest, sync: Sync) -> tuple[IO[bytes], dict[str, Any]]:
    """The records that `changes_context` shows on all its pages as CSV, in a file that is gone when it is closed; and
    what it holds, without any value of it. Raises PermissionDenied where the table is not for who asks."""
    stored = syncs.store().difference(sync.district_id, sync.pk)
    asked = request.GET.get("table", "")
    if asked in TABLES and not may_see(request, asked):
        raise PermissionDenied
    tables = [table for table in stored.tables if may_see(request, table)]
    if not tables or not sync.plan_digest:
        raise Http404
    table = _table_of(request, tables)
    wanted = _wanted(request, table)
    file, rows = as_csv(stored, table, wanted)
    by = [name for name, value in wanted.items() if value and name != "kind"]
    return file, {"table": table, "kind": wanted["kind"], "rows": rows, "filtered_by": by}


def _label(sync: Sync, school: str) -> str:
    known = (
        Tally.objects.filter(sync=sync, dimension="school", key=school).exclude(label="").first() if school else None
    )
    return known.label if known else school
