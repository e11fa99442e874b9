"""An approved difference -> rows of the live roster, in one transaction. The only way in which live tables change.

Only what changed is written: removed records become ``tobedeleted``, records that come back become active again,
changed
ones are updated, new ones inserted with primary keys taken beforehand, so that references are known before any insert.
Readers see the old roster until the commit. Every count is held against the plan; the first that is off rolls all back.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import polars as pl
from django.db import connection, transaction
from django.db.models import F

from rosters.diffing import Difference, digests_after, patched, plan_digest, roster_digest
from rosters.frames import Frames
from rosters.models import FIELDS, LIVE, AuditEvent, District, KeyCounter, Record, Snapshot, Sync
from rosters.oneroster.normal import NORMAL, REFERENCES, TABLES
from rosters.storing import Store

_SLICE = 20_000
_FEW = 20_000


class PlanMoved(Exception):
    """The roster is no longer the one that the plan was made for. Nothing was written."""


class Fenced(Exception):
    """Another worker has taken this sync over meanwhile. Nothing was written by this one."""


class PlanBroken(Exception):
    """What was written, or would be, is not what the plan says. Nothing was written."""


def apply(
    sync: Sync,
    difference: Difference,
    base: Frames,
    store: Store,
    *,
    now: datetime,
    progress: Callable[[float, int], None],
) -> Snapshot:
    """Write `difference` and make it the live version. `base` is the roster it was computed from.

    Raises PlanMoved if another version is live, PlanBroken if a count is off. The new snapshot's files are on disk
    before
    the commit.
    """
    district = sync.district
    facts = facts_after(sync.base.tables if sync.base else {}, difference)
    if digest_of(facts) != sync.target_digest or plan_digest(sync.base_version, difference) != sync.plan_digest:
        raise PlanBroken("The stored difference does not lead to the roster that was approved.")
    for table, changes in difference.tables.items():
        if table in facts:
            digest = str(facts[table]["digest"])
            if table in base:
                store.write_snapshot_table(district.pk, table, patched(base[table], changes), digest)
            else:
                store.keep_as_snapshot(district.pk, sync.pk, table, digest)
    keys = _take_keys(difference)
    whole = sum(len(f) for f in difference.tables.values()) or 1
    done = 0
    with _bulk(), transaction.atomic():
        held = District.objects.select_for_update().get(pk=district.pk)
        if held.version != sync.base_version:
            raise PlanMoved
        for table in reversed(TABLES):
            if table in difference.tables:
                done += _remove(table, district.pk, difference.tables[table], now)
                progress(done / whole, done)
        known = _Keys(district.pk, difference)
        for table in TABLES:
            if table in difference.tables:
                done += _write(table, district.pk, difference.tables[table], keys, known, now)
                progress(done / whole, done)
        return _finish(sync, held, facts, now)


def facts_after(tables: Mapping[str, Mapping[str, Any]], difference: Difference) -> dict[str, dict[str, Any]]:
    """{table: {"digest", "rows"}} of the roster that `difference` makes of one with these `tables`."""
    digests = digests_after({table: str(facts["digest"]) for table, facts in tables.items()}, difference)
    after = {table: dict(facts) for table, facts in tables.items()}
    for table, counts in difference.counts().items():
        rows = int(tables.get(table, {}).get("rows", 0)) + counts["added"] - counts["removed"]
        after[table] = {"digest": digests[table], "rows": rows}
    return {table: facts for table, facts in after.items() if facts["rows"]}


def digest_of(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """The digest of a whole roster from {table: {"digest", "rows"}}."""
    return roster_digest({table: (str(facts["digest"]), int(facts["rows"])) for table, facts in tables.items()})


def _finish(sync: Sync, district: District, facts: dict[str, dict[str, object]], now: datetime) -> Snapshot:
    snapshot = Snapshot.objects.create(
        district=district, version=district.version + 1, digest=sync.target_digest, tables=facts, made_at=now
    )
    moved = District.objects.filter(pk=district.pk, version=sync.base_version).update(
        version=F("version") + 1, snapshot=snapshot
    )
    if not moved:
        raise PlanMoved
    if not sync.mark_applied(now, snapshot, sync.seconds):
        raise Fenced
    AuditEvent.objects.create(
        at=now,
        by=sync.decided_by,
        action="sync.applied",
        district=district,
        sync=sync,
        plan_digest=sync.plan_digest,
        before={"version": sync.base_version},
        after={"version": snapshot.version, "digest": snapshot.digest},
    )
    return snapshot


@contextmanager
def _bulk() -> Iterator[None]:
    """SQLite's page cache of a few megabytes makes a large indexed load twice as slow."""
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA cache_size=-262144")
        try:
            yield
        finally:
            cursor.execute("PRAGMA cache_size=-65536")


# -------------------------------------------------------------------------------------------------------------------
# primary keys


def _take_keys(difference: Difference) -> dict[str, int]:
    """The first of a block of fresh primary keys for each table with new records; its own transaction, so that two
    districts never wait for each other. A block that is not used leaves a gap."""
    first: dict[str, int] = {}
    for table, changes in difference.tables.items():
        number = int((changes["kind"] == "added").sum())
        if number:
            with transaction.atomic():
                KeyCounter.objects.get_or_create(table=table)
                KeyCounter.objects.filter(pk=table).update(next_key=F("next_key") + number)
                first[table] = KeyCounter.objects.get(pk=table).next_key - number
    return first


class _Keys:
    """sourcedId -> primary key of the records that new and changed rows refer to, whether active or not."""

    def __init__(self, district_id: int, difference: Difference) -> None:
        self._district = district_id
        self._difference = difference
        self._maps: dict[str, pl.DataFrame] = {}

    def of(self, table: str) -> pl.DataFrame:
        """``sourcedId``, ``pk`` of all records of `table` that anything in this difference refers to."""
        if table not in self._maps:
            self._maps[table] = look_up(table, self._district, self._wanted(table))
        return self._maps[table]

    def forget(self, table: str) -> None:
        self._maps.pop(table, None)

    def _wanted(self, table: str) -> pl.Series:
        named = [pl.Series("sourcedId", [], pl.String)]
        for name, columns in REFERENCES.items():
            changes = self._difference.tables.get(name)
            if changes is not None:
                live = changes.filter(pl.col("kind") != "removed")
                named += [live[c].alias("sourcedId") for c, to in columns.items() if to == table]
        return pl.concat(named).unique()


def look_up(table: str, district_id: int, wanted: pl.Series) -> pl.DataFrame:
    """``sourcedId``, ``pk`` of those of `wanted` that the live table has."""
    name = LIVE[table]._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            rows = _look_up_by_copy(cursor, name, district_id, wanted)
        else:
            rows = _look_up_in_parts(cursor, name, district_id, wanted)
    return pl.DataFrame(rows, schema={"sourcedId": pl.String, "pk": pl.Int64}, orient="row")


def _look_up_in_parts(cursor: Any, name: str, district_id: int, wanted: pl.Series) -> list[tuple[str, int]]:
    """A few by their ids, many by reading all keys of the district."""
    if len(wanted) > _FEW:
        cursor.execute(f"SELECT sourced_id, id FROM {name} WHERE district_id = %s", [district_id])
        return list(cursor.fetchall())
    rows: list[tuple[str, int]] = []
    for part in wanted.to_frame().iter_slices(500):
        ids = part.to_series().to_list()
        marks = ",".join(["%s"] * len(ids))
        query = f"SELECT sourced_id, id FROM {name} WHERE district_id = %s AND sourced_id IN ({marks})"
        cursor.execute(query, [district_id, *ids])
        rows += cursor.fetchall()
    return rows


def _look_up_by_copy(cursor: Any, name: str, district_id: int, wanted: pl.Series) -> list[tuple[str, int]]:
    """Long lists of values mislead PostgreSQL's planner; a small table with statistics does not."""
    cursor.execute("DROP TABLE IF EXISTS wanted_records")
    cursor.execute('CREATE TEMP TABLE wanted_records (sourced_id text COLLATE "C") ON COMMIT DROP')
    _copy(cursor, "COPY wanted_records FROM STDIN (FORMAT csv, NULL '')", wanted.to_frame("sourced_id"))
    cursor.execute("ANALYZE wanted_records")
    query = f"SELECT t.sourced_id, t.id FROM {name} t JOIN wanted_records USING (sourced_id) WHERE t.district_id = %s"
    cursor.execute(query, [district_id])
    return list(cursor.fetchall())


# ------------------------------------------------------------------------------------------------------------------
# writing tables


def columns_of(table: str) -> list[tuple[str, str]]:
    """(column of the normal form, column of the database) of everything but key, district, status and date."""
    fields = {field.name: str(field.column) for field in LIVE[table]._meta.concrete_fields}
    return [(c, fields[FIELDS[table].get(c, snake(c))]) for c in NORMAL[table][1:]]


def snake(name: str) -> str:
    """camelCase of the standard as the snake_case of Python."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def _remove(table: str, district_id: int, changes: pl.DataFrame, now: datetime) -> int:
    removed = changes.filter(pl.col("kind") == "removed").select("sourcedId").sort("sourcedId")
    if not len(removed):
        return 0
    model = LIVE[table]
    found = look_up(table, district_id, removed["sourcedId"])
    keys = removed.join(found, on="sourcedId", how="inner")
    changed = _update(model, keys.select("pk"), {"status": "tobedeleted", "date_last_modified": now}, [])
    if len(keys) != len(removed) or changed != len(removed):
        raise PlanBroken(f"{table}: {len(removed)} records were to be removed, {changed} were found")
    return len(removed)


def _write(
    table: str, district_id: int, changes: pl.DataFrame, keys: dict[str, int], known: _Keys, now: datetime
) -> int:
    model = LIVE[table]
    live = changes.filter(pl.col("kind") != "removed")
    if not len(live):
        return 0
    found = look_up(table, district_id, live["sourcedId"]) if _may_exist(table, district_id, live) else None
    rows = live.sort("sourcedId")
    rows = (
        rows.join(found, on="sourcedId", how="left", maintain_order="left")
        if found is not None
        else rows.with_columns(pk=pl.lit(None, pl.Int64))
    )
    fresh = rows.filter(pl.col("pk").is_null())
    if len(fresh) > int((live["kind"] == "added").sum()) or len(fresh.filter(pl.col("kind") == "updated")):
        raise PlanBroken(f"{table}: a record to be changed is not there")
    existing = rows.filter(pl.col("pk").is_not_null())
    if len(fresh):
        fresh = fresh.with_columns(pk=pl.int_range(keys[table], keys[table] + len(fresh), dtype=pl.Int64))
        if any(to == table for to in REFERENCES[table].values()):
            existing_keys = existing.select("sourcedId", "pk")
            self_keys = pl.concat([fresh.select("sourcedId", "pk"), existing_keys, known.of(table)]).unique(
                "sourcedId", keep="first"
            )
        else:
            self_keys = None
        _insert(model, _resolved(table, fresh, known, self_keys), table, district_id, now)
        known.forget(table)
    if len(existing):
        ready = _resolved(table, existing, known, None)
        values = [column for _, column in _stored_columns(table)]
        constant = {"status": "active", "date_last_modified": now}
        changed = _update(model, ready.select(*values, "pk"), constant, values)
        if changed != len(existing):
            raise PlanBroken(f"{table}: {len(existing)} records were to be changed, {changed} were")
    return len(live)


def _may_exist(table: str, district_id: int, live: pl.DataFrame) -> bool:
    """New records need no look-up where the district has no record of that table at all (its first load)."""
    return bool((live["kind"] == "updated").any()) or LIVE[table]._base_manager.filter(district_id=district_id).exists()


def _stored_columns(table: str) -> list[tuple[str, str]]:
    """As `columns_of`, with what is derived for the database: demographics' user and people's search name."""
    extra = {"demographics": [("user", "user_id")], "users": [("search", "search_name")]}.get(table, [])
    return [*columns_of(table), *extra]


def _resolved(table: str, rows: pl.DataFrame, known: _Keys, self_keys: pl.DataFrame | None) -> pl.DataFrame:
    """`rows` in the database's columns, references as primary keys; raises PlanBroken where one leads nowhere."""
    if table == "demographics":
        rows = rows.with_columns(userReference=pl.col("sourcedId"))
    references = {("userReference" if c == "sourcedId" else c): to for c, to in REFERENCES[table].items()}
    for column, to in references.items():
        targets = self_keys if self_keys is not None and to == table else known.of(to)
        rows = rows.join(
            targets.select(pl.col("sourcedId").alias(column), pl.col("pk").alias(f"{column}.pk")),
            on=column,
            how="left",
            maintain_order="left",
        )
        lost = rows.filter((pl.col(column) != "") & pl.col(f"{column}.pk").is_null())
        if len(lost):
            raise PlanBroken(f"{table}.{column}: {len(lost)} references lead to records that are not there")
    names = dict(columns_of(table))
    out = [pl.col("sourcedId").alias("sourced_id"), pl.col("pk")]
    for column, name in names.items():
        out.append((pl.col(f"{column}.pk") if column in references else pl.col(column)).alias(name))
    if table == "demographics":
        out.append(pl.col("userReference.pk").alias("user_id"))
    if table == "users":
        out.append(pl.concat_str("familyName", "givenName", separator=" ").str.to_lowercase().alias("search_name"))
    return rows.select(out)


def _insert(model: type[Record], rows: pl.DataFrame, table: str, district_id: int, now: datetime) -> None:
    name = model._meta.db_table
    constant = {"district_id": district_id, "status": "active", "date_last_modified": _stamp(now)}
    values = [column for _, column in _stored_columns(table)]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            fixed = [pl.lit(value).alias(column) for column, value in constant.items()]
            frame = rows.select(pl.col("pk").alias("id"), "sourced_id", *fixed, *values)
            quoted = ",".join(f'"{c}"' for c in frame.columns)
            _copy(cursor, f"COPY {name} ({quoted}) FROM STDIN (FORMAT csv, NULL '')", frame)
        else:
            _insert_many(name, rows.select(pl.col("pk").alias("id"), "sourced_id", *values), constant)


def _insert_many(name: str, frame: pl.DataFrame, constant: dict[str, Any]) -> None:
    """What is the same in every row, such as a column that the district never fills, stands in the statement itself:
    sqlite3 binds each parameter of each row one by one."""
    texts = [c for c, dtype in frame.schema.items() if dtype == pl.String]
    empty = [c for c, bare in frame.select((pl.col(texts) == "").all()).row(0, named=True).items() if bare]
    frame = frame.drop(empty)
    fixed = {**constant, **dict.fromkeys(empty, "")}
    columns = ",".join(f'"{c}"' for c in (*frame.columns, *fixed))
    marks = ",".join([*("?" * frame.width), *(_literal(value) for value in fixed.values())])
    _execute_many(f"INSERT INTO {name} ({columns}) VALUES ({marks})", frame)


def _literal(value: int | str) -> str:
    """A number, or a text that we made ourselves, as SQL."""
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


def _update(model: type[Record], rows: pl.DataFrame, constant: dict[str, Any], values: list[str]) -> int:
    """Set `constant` and the columns `values` of the rows with these ``pk``; returns how many there were."""
    name = model._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            return _update_by_copy(cursor, name, rows, constant, values)
        sets = ",".join([*(f'"{c}"=?' for c in constant), *(f'"{c}"=?' for c in values)])
        fixed = [pl.lit(_stamp(v) if isinstance(v, datetime) else v).alias(f"fixed.{c}") for c, v in constant.items()]
        return _execute_many(f"UPDATE {name} SET {sets} WHERE id=?", rows.select(*fixed, *values, "pk"))


def _update_by_copy(cursor: Any, name: str, rows: pl.DataFrame, constant: dict[str, Any], values: list[str]) -> int:
    quoted = ",".join(f'"{c}"' for c in ("id", *values))
    cursor.execute("DROP TABLE IF EXISTS changed_records")
    cursor.execute(f"CREATE TEMP TABLE changed_records ON COMMIT DROP AS SELECT {quoted} FROM {name} WHERE false")
    changed = rows.select(pl.col("pk").alias("id"), *values)
    _copy(cursor, f"COPY changed_records ({quoted}) FROM STDIN (FORMAT csv, NULL '')", changed)
    cursor.execute("ANALYZE changed_records")
    sets = ",".join([*(f'"{c}"=%s' for c in constant), *(f'"{c}"=c."{c}"' for c in values)])
    cursor.execute(f"UPDATE {name} t SET {sets} FROM changed_records c WHERE t.id=c.id", list(constant.values()))
    return int(cursor.rowcount)


def _stamp(moment: datetime) -> str:
    """As Django writes a time into SQLite: UTC without zone."""
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f") if connection.vendor == "sqlite" else moment.isoformat()


def _execute_many(statement: str, frame: pl.DataFrame) -> int:
    """Straight to sqlite3: Django's wrapper would rewrite the statement for every slice. Returns the rows touched."""
    raw: Any = connection.connection
    touched = 0
    for part in frame.iter_slices(_SLICE):
        touched += raw.executemany(statement, part.rows()).rowcount
    return touched


def _copy(cursor: Any, statement: str, frame: pl.DataFrame) -> None:
    """COPY in CSV: text is quoted (so that "" stays ""), a missing reference is an empty cell (NULL)."""
    with cursor.copy(statement) as copy:
        for part in frame.iter_slices(100_000):
            buffer = io.BytesIO()
            part.write_csv(buffer, include_header=False, quote_style="non_numeric", null_value="")
            copy.write(buffer.getvalue())
