"""Every version of a live roster as others read it: what lives, what was taken out, and when each record changed here.

A version is a few Parquet files beside its snapshot, in the order of sourcedIds: the records of the snapshot, and those
that were live before, as they were last, with ``status`` "tobedeleted". So a page, a poll and a look at the past cost
no query of the live tables, what comes between two pages changes neither, and an import that is being written is in
nobody's way. Everything is made from snapshots and stored differences, and can be made again:

    served/<district>/<version>.json              {"users": "12"}: the version that last changed each table
    served/<district>/<table>-<that version>.parquet

What left long ago is not told for ever (`rosters.syncs.forgetting`). Where it was deleted up to version 7, the names
say so, and who is still reading what was told before reads on in the old files: `12-7.json`, `users-12-7.parquet`.

The same is in the live tables, which `verify_rosters` holds against the snapshot.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

import polars as pl

from rosters.models import District, Snapshot, Sync
from rosters.oneroster.normal import METADATA, NORMAL, TABLES
from rosters.storing import Store

STATUS: Final = "status"
MODIFIED: Final = "dateLastModified"

#: Records whose change is one of the user they are part of, as the standard's REST knows them (1.2, user).
_PARTS: Final = ("roles", "userProfiles")
#: Versions that are kept ready; older ones are made when somebody asks, and go again after a day.
_KEPT: Final = 3
_UNUSED_AFTER: Final = 24 * 3600.0
#: Its index is so many seconds old at most, if it is being read.
_LOOKED_AT: Final = 3600.0
#: Columns of the largest table in which the same words stand again and again: sorted as numbers, they take a quarter.
_WORDS: Final = {
    "enrollments": (*(n for n in NORMAL["enrollments"] if n not in ("sourcedId", "userSourcedId", METADATA)), STATUS)
}
_MOMENT: Final = pl.Datetime("us", "UTC")
_ID: Final = pl.col("sourcedId")


def columns(table: str) -> tuple[str, ...]:
    """The columns of a served table: those of the normal form, then ``status``, then ``dateLastModified`` (UTC)."""
    return (*NORMAL[table], STATUS, MODIFIED)


class NotKept(Exception):
    """That version was live once; its files were deleted, for their time was over."""


@dataclass(frozen=True, slots=True)
class Edition:
    """A version of a roster, told without what left up to the version `forgotten`."""

    version: int
    forgotten: int = 0

    def __str__(self) -> str:
        return f"{self.version}-{self.forgotten}" if self.forgotten else str(self.version)

    @classmethod
    def of(cls, text: str) -> Edition:
        version, _, forgotten = text.partition("-")
        return cls(int(version), int(forgotten or 0))


@dataclass(frozen=True)
class ServedRoster:
    """One version of a district's roster. Its tables are scanned, never loaded whole."""

    edition: Edition
    paths: Mapping[str, Path]

    def scan(self, table: str) -> pl.LazyFrame:
        """A table in the order of sourcedIds, `columns` wide; an empty cell is ""."""
        if table not in self.paths:
            schema: dict[str, Any] = {**dict.fromkeys((*NORMAL[table], STATUS), pl.String), MODIFIED: _MOMENT}
            return pl.LazyFrame(schema=schema)
        return pl.scan_parquet(self.paths[table], glob=False)

    def made(self, table: str) -> int:
        """When its file was written, in nanoseconds: what was worked out from another one of the same name is of no
        use, as after the database and the files were set back to an earlier day."""
        return self.paths[table].stat().st_mtime_ns if table in self.paths else 0

    def living(self, table: str) -> pl.LazyFrame:
        return self.scan(table).filter(pl.col(STATUS) == "active")


def edition_of(district: District, version: int) -> Edition:
    """`version` as it is told now."""
    return Edition(version, min(version, district.left_forgotten))


def roster(store: Store, district: District, edition: Edition) -> ServedRoster:
    """The roster of `district` as it was, made now if it is not there. Version 0 has no records. Raises NotKept."""
    if edition.version == 0:
        return ServedRoster(edition, {})
    index = _folder(store, district.pk) / f"{edition}.json"
    try:
        changed = json.loads(index.read_bytes())
        if index.stat().st_mtime < time.time() - _LOOKED_AT:
            index.touch()
    except FileNotFoundError:
        changed = _make(store, district, edition)
    return ServedRoster(edition, {name: _path(store, district.pk, name, at) for name, at in changed.items()})


def version_at(district: District, moment: datetime) -> int:
    """Which version was live then; 0 where none was yet."""
    found = Snapshot.objects.filter(district=district, made_at__lte=moment).order_by("-version").first()
    return found.version if found else 0


def _folder(store: Store, district_id: int) -> Path:
    return store.root / "served" / str(district_id)


def _path(store: Store, district_id: int, table: str, edition: Edition | str) -> Path:
    return _folder(store, district_id) / f"{table}-{edition}.parquet"


def forget(store: Store, district: District, versions: Collection[int] = ()) -> None:
    """Delete these versions as they are served, and what is told no longer and was read by nobody for a day."""
    folder = _folder(store, district.pk)
    for path in list(folder.glob("*.json")):
        if Edition.of(path.stem).version in versions:
            path.unlink(missing_ok=True)
    _forget(folder, edition_of(district, district.version))


# ------------------------------------------------------------------------------------------------------- making one


@dataclass(frozen=True, slots=True)
class _Step:
    """An applied sync: the version that it made, when, and which tables it changed."""

    version: int
    at: datetime
    sync_id: int
    tables: frozenset[str]


def _make(store: Store, district: District, edition: Edition) -> dict[str, str]:
    snapshot = Snapshot.objects.get(district=district, version=edition.version)
    if snapshot.forgotten_at:
        raise NotKept
    applied = Sync.objects.filter(district=district, result__version__lte=edition.version).order_by("result__version")
    steps = [
        _Step(number, at, pk, frozenset(files) or frozenset(store.difference(district.pk, pk).tables))
        for number, at, pk, files in applied.values_list("result__version", "result__made_at", "pk", "plan_files")
    ]
    changed = dict.fromkeys(snapshot.tables, steps[0].version)
    for step in steps:
        for table in step.tables:
            changed[table] = step.version
            if table in _PARTS:
                changed["users"] = step.version
    told = {}
    for table in (table for table in TABLES if table in changed):
        upto = [step for step in steps if step.version <= changed[table]]
        forgotten = [step.version for step in upto if step.version <= edition.forgotten and table in step.tables]
        of_table = Edition(changed[table], max(forgotten, default=0))
        path = _path(store, district.pk, table, of_table)
        if not path.exists():
            store.write_aside(_served(store, district.pk, table, snapshot.tables, upto, of_table.forgotten), path)
        told[table] = str(of_table)
    store.write_text_aside(json.dumps(told), _folder(store, district.pk) / f"{edition}.json")
    _forget(_folder(store, district.pk), edition)
    return told


def _served(
    store: Store,
    district_id: int,
    table: str,
    tables: Mapping[str, Mapping[str, Any]],
    steps: list[_Step],
    forgotten: int,
) -> pl.LazyFrame:
    """`table` after the last of `steps`, which is as it is in the snapshot with these `tables`, without what left up to
    the version `forgotten`. Where the difference of a step is not kept any more nobody knows whose day that was: such
    records changed with the last such step at the latest."""
    parts = [pl.LazyFrame(schema={"sourcedId": pl.String, MODIFIED: _MOMENT})]
    gone: dict[int, pl.LazyFrame] = {}
    oldest = steps[0]
    for step in steps:
        difference = store.difference(district_id, step.sync_id)
        when = _moment_of(step).alias(MODIFIED)
        if not difference.tables:
            oldest = step
        if table in difference.tables:
            rows = difference.scan(table)
            parts.append(rows.select("sourcedId", when))
            if step.version > forgotten:
                gone[step.version] = rows.filter(pl.col("kind") == "removed").select(*NORMAL[table])
        if table == "users":
            parts += [
                difference.scan(part).select(pl.col(owner).alias("sourcedId"), when).drop_nulls("sourcedId")
                for part in _PARTS
                if part in difference.tables
                for owner in ("userSourcedId", "was.userSourcedId")
            ]
    moments = pl.concat(parts).group_by("sourcedId").agg(pl.col(MODIFIED).max())
    cells = store.frames(district_id, {table: tables[table]} if table in tables else {})
    living = cells.scan(table) if table in tables else pl.LazyFrame(schema=dict.fromkeys(NORMAL[table], pl.String))
    whole = pl.concat(
        [
            living.with_columns(pl.lit("active").alias(STATUS)),
            *(rows.with_columns(pl.lit("tobedeleted").alias(STATUS)) for rows in _left(gone, living)),
        ]
    )
    dated = whole.join(moments, on="sourcedId", how="left").with_columns(pl.col(MODIFIED).fill_null(_moment_of(oldest)))
    words = list(_WORDS.get(table, ()))
    coded = dated.with_columns(pl.col(words).cast(pl.Categorical)) if words else dated
    return coded.sort("sourcedId").with_columns(pl.col(words).cast(pl.String)).select(columns(table))


def _left(gone: Mapping[int, pl.LazyFrame], living: pl.LazyFrame) -> Iterator[pl.LazyFrame]:
    """The records that do not live any more, as they were when they last did: of what each version took out (`gone`),
    what none took out later. Ids are all that is in memory."""
    if not gone:
        return
    taken = [rows.select("sourcedId", pl.lit(version).alias("version")) for version, rows in gone.items()]
    last = pl.concat(taken).group_by("sourcedId").agg(pl.col("version").max())
    last = last.join(living.select("sourcedId"), on="sourcedId", how="anti")
    for (version,), ids in last.collect().group_by("version", maintain_order=True):
        rows = gone[cast("int", version)]
        yield rows.filter(_ID.is_in(ids["sourcedId"].implode()))


def _moment_of(step: _Step) -> pl.Expr:
    """To the millisecond, as it is served: what was read can be compared with what is."""
    at = step.at.astimezone(UTC)
    return pl.lit(at.replace(microsecond=at.microsecond // 1000 * 1000), _MOMENT)


def _forget(folder: Path, edition: Edition) -> None:
    """Remove what nobody has looked at for a day, but never the newest versions as they are told now."""
    before = time.time() - _UNUSED_AFTER
    indexes = {Edition.of(path.stem): path for path in folder.glob("*.json")}
    newest = {*sorted({known.version for known in indexes})[-_KEPT:], edition.version}
    for known, path in indexes.items():
        told_now = known.version in newest and known.forgotten >= min(known.version, edition.forgotten)
        if not told_now and path.stat().st_mtime < before:
            path.unlink(missing_ok=True)
    used = {f"{table}-{at}" for path in folder.glob("*.json") for table, at in json.loads(path.read_bytes()).items()}
    for path in folder.glob("*.parquet"):
        if path.stem not in used and path.stat().st_mtime < before:
            path.unlink(missing_ok=True)
