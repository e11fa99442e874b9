"""The changes of a sync as people read them: what a record refers to by its name, old and new side by side; and the
same as a file for a spreadsheet. Who may see which is for the pages to know."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import IO, Any

import polars as pl
from django.conf import settings

from rosters.applying.tables import snake
from rosters.diffing import WAS
from rosters.models import LIVE, Sync
from rosters.oneroster.normal import LISTED_REFERENCES, NORMAL, REFERENCES
from rosters.storing import Page, StoredDifference, Wanted, formula_safe_frame

PAGE_SIZE = 50
#: So many records are looked up for a page at most; of the others their ids are shown.
_MOST_NAMED = 2000

#: What a record is called, by columns of its own.
_NAMED_BY = {
    "users": ("givenName", "familyName"),
    "orgs": ("name",),
    "academicSessions": ("title",),
    "courses": ("title",),
    "classes": ("title",),
}
#: And where it has no name, by those of the records that it ties together.
_TIES = {
    "userProfiles": ("userSourcedId",),
    "roles": ("userSourcedId", "orgSourcedId"),
    "demographics": ("sourcedId",),
    "enrollments": ("userSourcedId", "classSourcedId"),
}
#: (table, sourcedId) to name.
Names = Mapping[tuple[str, str], str]


def _references(table: str) -> dict[str, str]:
    """Column of `table` to the table whose records it names."""
    return {**REFERENCES.get(table, {}), **LISTED_REFERENCES.get(table, {})}


def names_of(sync: Sync, stored: StoredDifference, table: str, rows: Iterable[Mapping[str, Any]]) -> Names:
    """The names of the records to which these rows refer: as they are live, and of those that are not, as they come."""
    wanted: dict[str, set[str]] = {}
    for column, to in _references(table).items():
        cells = {row.get(name) or "" for row in rows for name in (column, f"was.{column}")}
        wanted.setdefault(to, set()).update(part for cell in cells for part in cell.split(",") if part)
    names: dict[tuple[str, str], str] = {}
    for to, ids in wanted.items():
        if not ids or to not in _NAMED_BY:
            continue
        columns, ids = _NAMED_BY[to], set(islice(ids, _MOST_NAMED))
        live = LIVE[to]._base_manager.filter(district=sync.district_id, sourced_id__in=ids)
        known = {row[0]: row[1:] for row in live.values_list("sourced_id", *map(snake, columns))}
        if (strange := ids - set(known)) and to in stored.tables:
            known |= {row[0]: row[1:] for row in stored.cells(to, strange, columns)}
        names |= {(to, sourced_id): " ".join(filter(None, words)) for sourced_id, words in known.items()}
    return names


def change_of(table: str, row: dict[str, Any], names: Names) -> dict[str, Any]:
    """A row of the difference as the template shows it: sign, what it is, which fields, old and new."""
    kind, references = row["kind"], _references(table)

    def named(column: str, cell: str | None) -> str:
        """The cell, what it refers to by name; an id that nobody knows stays as it is."""
        to = references.get(column)
        return ", ".join(names.get((to, part)) or part for part in cell.split(",")) if to and cell else cell or ""

    title = " ".join(row[c] for c in _NAMED_BY.get(table, ()) if row.get(c))
    title = title or " · ".join(
        named(c, row.get(c)) for c in _TIES.get(table, ()) if (references[c], row.get(c)) in names
    )
    columns = (row.get("fields") or "").split(",") if kind == "updated" else NORMAL[table][1:]
    cells = []
    for name in columns:
        old, new = row.get(f"was.{name}"), row.get(name)
        if kind == "updated" and name:
            before, after = named(name, old), named(name, new)
            same = before == after  # two of the same name: their ids tell them apart
            cells.append({"name": name, "old": old if same else before, "new": new if same else after})
        elif new:
            cells.append({"name": name, "value": named(name, new), "id": new if name in references else ""})
    return {"kind": kind, "sourcedId": row["sourcedId"], "title": title, "cells": cells}


def page_of(
    sync: Sync, stored: StoredDifference, table: str, wanted: Wanted, number: str, *, nothing: bool = False
) -> dict[str, Any]:
    """One page of what is wanted: its ``rows``, and what the links to the others need. `number`: as an address says it;
    `nothing`: whatever is wanted."""
    page = max(int(number), 1) if number.isdecimal() and len(number) < 9 else 1
    offset = (page - 1) * PAGE_SIZE
    found = Page([], 0) if nothing else stored.page(table, **wanted, offset=offset, limit=PAGE_SIZE)
    names = names_of(sync, stored, table, found.rows)
    return {
        "rows": [change_of(table, row, names) for row in found.rows],
        "total": found.total,
        "page": page,
        "pages": max(-(-found.total // PAGE_SIZE), 1),
        "first": offset + 1 if found.total else 0,
        "last": min(page * PAGE_SIZE, found.total),
    }


# --------------------------------------------------------------------------------------------------------- as a file


def as_csv(stored: StoredDifference, table: str, wanted: Wanted) -> tuple[IO[bytes], int]:
    """What is wanted as CSV for a spreadsheet, in a file that is gone when it is closed, and how many rows that are:
    never all of it in memory."""
    file = tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR)  # noqa: SIM115  # whoever asked closes it
    try:
        rows = _write(file, stored, table, wanted)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file, rows


def _write(to: IO[bytes], stored: StoredDifference, table: str, wanted: Wanted) -> int:
    """Write what is wanted as CSV for a spreadsheet, never all of it in memory. Returns how many rows there are."""
    names = _columns(table, olds=wanted["kind"] in ("", "updated"))
    to.write(b"\xef\xbb\xbf")  # Excel knows UTF-8 by its mark
    pl.DataFrame(schema=names).write_csv(to)
    rows = 0
    for piece in stored.pieces(table, **wanted):
        shown = formula_safe_frame(piece.select(names)).with_columns(pl.col(pl.String).replace("", None))
        shown.write_csv(to, include_header=False)
        rows += len(piece)
    return rows


def _columns(table: str, *, olds: bool) -> list[str]:
    """Where a record belongs, its id, and its cells, of each with `olds` the one before beside it, which stands only
    where it changed. ``fields`` names those that did: a cell that was empty before shows nothing else of it."""
    cells = NORMAL[table][1:]
    beside = {name: [name, WAS + name] if olds and name in cells else [name] for name in ("role", *cells)}
    about = ["kind", "school", "grade", *beside.pop("role"), "sourcedId", *(["fields"] if olds else [])]
    return [*about, *(name for pair in beside.values() for name in pair)]
