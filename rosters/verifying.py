"""The witness: every live roster equals its accepted snapshot, recomputed from scratch, and what is kept is there.

SQL and hashing of its own, none of the engine's comparing code. A row's text is its cells in the order of the normal
form joined by line feeds; a table's digest is the sum of the rows' SHA-256 modulo 2**256.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
from django.conf import settings
from django.db import connection, transaction

from rosters.models import FIELDS, LIVE, Delivery, District, Snapshot
from rosters.oneroster.normal import NORMAL, REFERENCES

_BATCH = 20_000
#: So many ids are asked for in one query; what is wrong with more is told by the first of them.
_ASKED = 500


def faults_of(district: District) -> list[str]:
    """What is wrong with a district's live roster and with what is kept of it, in words without roster values; nothing
    if all is as accepted. If a sync goes live while the tables are read one by one, they are read again."""
    while True:
        version = district.version
        faults = [*live_faults(district), *_missing(district)]
        district.refresh_from_db()
        if district.version == version:
            return faults


def live_faults(district: District) -> Iterator[str]:
    """What is wrong with a live roster or with the snapshot that it must equal, in words without roster values."""
    tables: dict[str, Any] = district.snapshot.tables if district.snapshot else {}
    for table in NORMAL:
        facts = tables.get(table, {"rows": 0, "digest": "0" * 64})
        live = _digest(_live_rows(table, district.pk))
        if live != (facts["rows"], facts["digest"]):
            yield f"{table}: live has {live[0]:,} rows, the snapshot {facts['rows']:,}" + (
                ", and they differ" if live[0] == facts["rows"] else ""
            )
        if table in tables:
            yield from _snapshot_faults(district.pk, table, tables[table])
    yield from _derived_faults(district.pk)
    whole = "".join(
        f"{t} {tables[t]['rows']} {tables[t]['digest']}\n" for t in NORMAL if t in tables and tables[t]["rows"]
    )
    if district.snapshot and hashlib.sha256(whole.encode()).hexdigest() != district.snapshot.digest:
        yield "the snapshot's digest does not fit its tables"


def snapshot_faults(district: District) -> Iterator[str]:
    """What is wrong with the stored snapshot of the live version alone."""
    for table, facts in (district.snapshot.tables if district.snapshot else {}).items():
        yield from _snapshot_faults(district.pk, table, facts)


def _snapshot_faults(district_id: int, table: str, facts: Mapping[str, Any]) -> Iterator[str]:
    path = settings.PORTAL_DATA_DIR / "snapshots" / str(district_id) / f"{table}-{facts['digest']}.parquet"
    if not path.exists():
        yield f"{table}: the snapshot's file is missing"
        return
    try:
        stored = _digest(_stored_rows(path, NORMAL[table]))
    except pl.exceptions.PolarsError:
        yield f"{table}: the snapshot's file cannot be read"
    else:
        if stored != (facts["rows"], facts["digest"]):
            yield f"{table}: the snapshot's file is not what it was"


def _missing(district: District) -> Iterator[str]:
    """Files that are said to be kept and are not there, or are not as large as they came."""
    originals = settings.PORTAL_DATA_DIR / "originals" / str(district.pk)
    snapshots = settings.PORTAL_DATA_DIR / "snapshots" / str(district.pk)
    kept = Delivery.objects.filter(district=district, forgotten_at=None)
    versions = Snapshot.objects.filter(district=district, forgotten_at=None).exclude(pk=district.snapshot_id or 0)
    ids = district.kept_ids
    if ids and _size(settings.PORTAL_DATA_DIR / "ids" / str(district.pk) / f"{ids.digest}.parquet") is None:
        yield "ids that are kept: the list is missing"
    lost = [pk for pk, sha256, size in kept.values_list("pk", "sha256", "size") if _size(originals / sha256) != size]
    torn = [
        pk
        for pk, tables in versions.values_list("pk", "tables")
        if any(_size(snapshots / f"{table}-{facts['digest']}.parquet") is None for table, facts in tables.items())
    ]
    if not (lost or torn):
        return
    with transaction.atomic():  # who is deleting files whose time is over holds the row, and says so when it lets go
        District.with_leaving.select_for_update(no_key=True).get(pk=district.pk)
        if missing := kept.filter(pk__in=lost[:_ASKED]).count():
            yield f"originals: {missing:,} are missing, or are not as large as they came"
        if missing := versions.filter(pk__in=torn[:_ASKED]).count():
            yield f"earlier versions: {missing:,} are not whole, a file of theirs is missing"


def _size(path: Path) -> int | None:
    """Bytes; None where there is no such file."""
    try:
        return path.stat().st_size
    except OSError:
        return None


def _derived_faults(district_id: int) -> Iterator[str]:
    """What the loader works out beside the roster itself: whose demographics they are, and names to search by."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM rosters_demographics d LEFT JOIN rosters_user u "
            "ON u.id = d.user_id AND u.district_id = d.district_id AND u.sourced_id = d.sourced_id "
            "WHERE d.district_id = %s AND d.status = 'active' AND u.id IS NULL",
            [district_id],
        )
        (strangers,) = cursor.fetchone()
        cursor.execute(
            "SELECT family_name, given_name, search_name FROM rosters_user "
            "WHERE district_id = %s AND status = 'active'",
            [district_id],
        )
        wrong = 0
        while rows := cursor.fetchmany(_BATCH):
            wrong += sum(not _finds(f"{family} {given}", search) for family, given, search in rows)
    if strangers:
        yield f"demographics: {strangers:,} belong to somebody else"
    if wrong:
        yield f"users: {wrong:,} cannot be found by their names"


def _finds(name: str, search: str) -> bool:
    """Whether `search` is `name` in lower case. A name with a letter that this Python's Unicode does not have yet
    cannot be judged: the loader's may know its small form."""
    return name.lower() == search or any(unicodedata.category(letter) == "Cn" for letter in name)


def _digest(rows: Iterable[tuple[Any, ...]]) -> tuple[int, str]:
    total, count = 0, 0
    for row in rows:
        total += int.from_bytes(hashlib.sha256("\n".join(row).encode()).digest(), "big")
        count += 1
    return count, f"{total % 2**256:064x}"


def _stored_rows(path: Any, columns: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    for part in pl.read_parquet(path, columns=list(columns)).select(columns).fill_null("").iter_slices(_BATCH):
        yield from part.iter_rows()


def _live_rows(table: str, district_id: int) -> Iterator[tuple[Any, ...]]:
    """Active rows with references as sourcedIds, read by a cursor of the server where there is one."""
    model = LIVE[table]
    own = model._meta.db_table
    columns = {field.name: field.column for field in model._meta.concrete_fields}
    selected, joins = [], []
    for index, column in enumerate(NORMAL[table]):
        target = REFERENCES[table].get(column)
        if target and column != "sourcedId":
            own_column = columns[FIELDS[table][column]]
            on = f'j{index}.id = t."{own_column}" AND j{index}.district_id = t.district_id'
            joins.append(f"LEFT JOIN {LIVE[target]._meta.db_table} j{index} ON {on}")
            selected.append(f"COALESCE(j{index}.sourced_id, '')")
        else:
            name = "sourced_id" if column == "sourcedId" else FIELDS[table].get(column) or _snake(column)
            selected.append(f't."{name}"')
    query = (
        f"SELECT {', '.join(selected)} FROM {own} t {' '.join(joins)} WHERE t.district_id = %s AND t.status = 'active'"
    )
    with connection.chunked_cursor() as cursor:
        cursor.execute(query, [district_id])
        while rows := cursor.fetchmany(_BATCH):
            yield from rows


def _snake(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in name)
