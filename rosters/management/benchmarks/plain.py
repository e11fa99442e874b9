"""The importer that one writes in an afternoon with Django alone: what ours is measured against.

csv.DictReader, checks in Python, a comparison of dictionaries with the objects of the ORM, bulk_create with
update_conflicts in batches of 1000, deletions by primary key; all in one transaction. It keeps no difference, no
findings and no snapshot. Tables of its own, with every column of the standard, foreign keys, Django's indexes on them,
and real dates; on SQLite the page cache that Django leaves as it is, not the larger one of the portal's settings.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from django.db import connection, models, transaction

from rosters.oneroster import VERSIONS

#: In the order of references.
TABLES = ("orgs", "academicSessions", "courses", "classes", "users", "demographics", "enrollments")
BATCH = 1000
#: What SQLite has where nobody sets it: 2 MB, in its own words.
SQLITE_CACHE = -2000
_STANDARD = VERSIONS["1.1"]

Row = dict[str, Any]
Rows = dict[str, Row]


class _Checks:
    """What is asked of the cells of a table, by column."""

    def __init__(self, table: str) -> None:
        columns = _STANDARD.tables[table].columns
        self.names = [column.name for column in columns]
        self.required = [column.name for column in columns if column.required]
        self.dates = [column.name for column in columns if column.kind == "date"]
        self.words = {
            column.name: _STANDARD.vocabularies[column.vocabulary or "boolean"].values
            for column in columns
            if column.kind in ("enum", "boolean") and column.name != "status"
        }
        self.references = {
            column.name: column.refers_to for column in columns if column.refers_to and not column.listed
        }
        self.lists = {column.name: column.refers_to for column in columns if column.refers_to and column.listed}


_CHECKS = {table: _Checks(table) for table in TABLES}


def _model(table: str, known: dict[str, type[models.Model]]) -> type[models.Model]:
    fields: dict[str, Any] = {"district": models.IntegerField(), "sourcedId": models.CharField(max_length=255)}
    checks = _CHECKS[table]
    for name in checks.names:
        if target := checks.references.get(name):
            to = "self" if target == table else known[target]
            fields[f"to_{name}"] = models.ForeignKey(to, models.DO_NOTHING, null=True, related_name="+")
        elif name in checks.dates:
            fields[name] = models.DateField(null=True)
        elif name != "sourcedId":
            fields[name] = models.CharField(max_length=4096)
    unique = models.UniqueConstraint(fields=["district", "sourcedId"], name=f"plain_{table}_once")
    meta = type("Meta", (), {"app_label": "plain", "db_table": f"plain_{table}", "constraints": [unique]})
    made: type[models.Model] = type(table, (models.Model,), {"__module__": __name__, "Meta": meta, **fields})
    return made


def _models() -> dict[str, Any]:
    made: dict[str, Any] = {}
    for table in TABLES:
        made[table] = _model(table, made)
    return made


MODELS = _models()


def create_tables() -> None:
    with connection.schema_editor() as editor:
        for model in MODELS.values():
            editor.create_model(model)


def load(path: Path, *, district: int) -> dict[str, tuple[int, int, int]]:
    """Make the district's rows equal to the zip at `path`: table to (added, updated, removed).

    Raises ValueError with the first faults.
    """
    data = _read(path)
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA cache_size={SQLITE_CACHE}")
    with transaction.atomic():
        keys: dict[str, dict[str, int]] = {}
        gone: dict[str, list[int]] = {}
        counts = {}
        for table in TABLES:
            old = {record.sourcedId: record for record in _of(table, district).iterator(5000)}
            added, updated = _write(table, district, data[table], old, keys)
            gone[table] = [record.pk for sourced_id, record in old.items() if sourced_id not in data[table]]
            counts[table] = (added, updated, len(gone[table]))
            if table != TABLES[-1]:
                keys[table] = dict(_of(table, district).values_list("sourcedId", "pk"))
        for table in reversed(TABLES):
            for start in range(0, len(gone[table]), BATCH):
                MODELS[table].objects.filter(pk__in=gone[table][start : start + BATCH]).delete()
    return counts


def _of(table: str, district: int) -> Any:
    return MODELS[table].objects.filter(district=district)


def _read(path: Path) -> dict[str, Rows]:
    faults: list[str] = []
    data: dict[str, Rows] = {}
    with zipfile.ZipFile(path) as archive:
        for table in TABLES:
            rows: Rows = {}
            with archive.open(f"{table}.csv") as member:
                reader = csv.DictReader(io.TextIOWrapper(member, "utf-8-sig", newline=""), strict=True)
                for row in reader:
                    faults.extend(
                        f"{table}.csv {reader.line_num}: {fault}" for fault in _faults(table, row, rows, data)
                    )
                    rows[row["sourcedId"]] = row
            data[table] = rows
    if faults:
        raise ValueError("; ".join(faults[:3]))
    return data


def _faults(table: str, row: Row, seen: Rows, data: dict[str, Rows]) -> Iterator[str]:
    """What is wrong with a row; its dates become dates."""
    checks = _CHECKS[table]
    if row["sourcedId"] in seen:
        yield "sourcedId twice"
    for name in checks.required:
        if not row[name]:
            yield f"{name} is empty"
    for name, words in checks.words.items():
        if row[name] and row[name] not in words:
            yield f"{name} is no word of the standard"
    for name in checks.dates:
        try:
            row[name] = date.fromisoformat(row[name]) if row[name] else None
        except ValueError:
            yield f"{name} is no date"
    for name, target in checks.references.items():
        if target != table and row[name] and row[name] not in data[target]:
            yield f"{name} leads nowhere"
    for name, target in checks.lists.items():
        if target != table and row[name] and any(item not in data[target] for item in row[name].split(",")):
            yield f"{name} leads nowhere"


def _write(
    table: str, district: int, rows: Rows, old: dict[str, Any], keys: dict[str, dict[str, int]]
) -> tuple[int, int]:
    """Insert and update what is new or different: (added, updated). References within the table are left out."""
    references = _CHECKS[table].references
    plain = [name for name in _CHECKS[table].names if name != "sourcedId" and name not in references]
    upserts = []
    added = updated = 0
    for sourced_id, row in rows.items():
        values = {name: row[name] for name in plain}
        for name, target in references.items():
            values[f"to_{name}_id"] = keys[target].get(row[name]) if target != table and row[name] else None
        known = old.get(sourced_id)
        if known is None:
            added += 1
        elif any(getattr(known, name) != value for name, value in values.items()):
            updated += 1
        else:
            continue
        upserts.append(MODELS[table](district=district, sourcedId=sourced_id, **values))
    MODELS[table].objects.bulk_create(
        upserts,
        batch_size=BATCH,
        update_conflicts=True,
        unique_fields=["district", "sourcedId"],
        update_fields=[*plain, *(f"to_{name}" for name in references)],
    )
    return added, updated
