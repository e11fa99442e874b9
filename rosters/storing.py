"""What lies on disk: originals as they came, snapshots and differences as Parquet, all places of all findings.

Everything is written aside, flushed to the disk, and only then given its name; a file with a final name is whole and is
never changed. Originals and snapshots are found by their digest, within their district's own folder.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from rosters.diffing import CONTEXT, KIND, Difference
from rosters.findings import Findings
from rosters.oneroster.normal import NORMAL

_BLOCK = 1 << 20
_ROW_GROUP = 50_000
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class StoredFrames(Mapping[str, pl.DataFrame]):
    """A roster on disk: each table is read when it is first asked for, and kept."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = paths
        self._frames: dict[str, pl.DataFrame] = {}

    def __getitem__(self, table: str) -> pl.DataFrame:
        if table not in self._frames:
            self._frames[table] = pl.read_parquet(self._paths[table])
        return self._frames[table]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __contains__(self, table: object) -> bool:
        return table in self._paths

    def forget(self, table: str) -> None:
        """Give a table's memory back; it is read again when it is asked for again."""
        self._frames.pop(table, None)


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of a difference as dictionaries, and how many there are under the same filter."""

    rows: list[dict[str, Any]]
    total: int


class StoredDifference:
    """The difference of one sync on disk: paged and filtered there, never loaded whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.tables = tuple(t for t in NORMAL if self._path(t).exists())

    def _path(self, table: str) -> Path:
        return self._folder / f"{table}.parquet"

    def scan(self, table: str) -> pl.LazyFrame:
        return pl.scan_parquet(self._path(table))

    def frame(self, table: str) -> pl.DataFrame:
        return pl.read_parquet(self._path(table))

    def load(self) -> Difference:
        return Difference({table: self.frame(table) for table in self.tables})

    def page(
        self, table: str, *, kind: str = "", school: str = "", grade: str = "", role: str = "", field: str = "", text: str = "",
        offset: int = 0, limit: int = 50,
    ) -> Page:  # fmt: skip
        """Rows `offset` to `offset + limit` of those that fit every filter given. `text`: in any value, old or new, without
        regard to case; `field`: a column that changed."""
        rows = self.scan(table)
        filters: list[pl.Expr] = []
        if kind:
            filters.append(pl.col("kind") == pl.lit(kind, KIND))
        for column, wanted in zip(CONTEXT, (school, grade, role), strict=True):
            if wanted:
                filters.append(pl.col(column) == wanted)
        if field:
            filters.append((pl.lit(",") + pl.col("fields") + pl.lit(",")).str.contains(f",{field},", literal=True))
        if text:
            needle = text.lower()
            names = rows.collect_schema().names()
            cells = [c for c in names if c not in ("kind", "fields", *CONTEXT) or c == "role"]
            filters.append(pl.any_horizontal(pl.col(c).str.to_lowercase().str.contains(needle, literal=True) for c in cells))
        if not filters:
            total = int(rows.select(pl.len()).collect().item())
            return Page(rows.slice(offset, limit).collect().to_dicts(), total)
        fits = pl.all_horizontal(filters)
        places = rows.select(fits.fill_null(False).alias("fits")).collect()["fits"].arg_true()
        wanted_rows = places.slice(offset, limit)
        if not len(wanted_rows):
            return Page([], len(places))
        first, last = int(wanted_rows[0]), int(wanted_rows[-1])
        part = rows.slice(first, last - first + 1).collect()
        return Page(part[(wanted_rows - first).to_list()].to_dicts(), len(places))


class Store:
    """The files under one data folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    # -- originals

    def keep_original(self, district_id: int, source: Path | BinaryIO) -> tuple[str, int]:
        """Copy `source` into the store and flush it to the disk. Returns (SHA-256, bytes); the same bytes are kept once."""
        folder = self.root / "originals" / str(district_id)
        draft = _draft(folder)
        digest, size = hashlib.sha256(), 0
        reader = source.open("rb") if isinstance(source, Path) else source
        try:
            with draft.open("xb") as file:
                while block := reader.read(_BLOCK):
                    digest.update(block)
                    size += len(block)
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
            _publish(draft, self.original(district_id, digest.hexdigest()))
        finally:
            draft.unlink(missing_ok=True)
            if isinstance(source, Path):
                reader.close()
        return digest.hexdigest(), size

    def original(self, district_id: int, sha256: str) -> Path:
        return self.root / "originals" / str(district_id) / sha256

    # -- snapshots

    def snapshot_path(self, district_id: int, table: str, digest: str) -> Path:
        return self.root / "snapshots" / str(district_id) / f"{table}-{digest}.parquet"

    def write_snapshot_table(self, district_id: int, table: str, frame: pl.DataFrame, digest: str) -> None:
        """Keep a table of a snapshot under its digest; nothing to do if it is there already."""
        path = self.snapshot_path(district_id, table, digest)
        if not path.exists():
            _write_parquet(frame.select(NORMAL[table]), path)

    def frames(self, district_id: int, tables: Mapping[str, Mapping[str, Any]]) -> StoredFrames:
        """The roster whose tables are {name: {"digest", "rows"}}."""
        return StoredFrames({t: self.snapshot_path(district_id, t, facts["digest"]) for t, facts in tables.items()})

    # -- differences

    def sync_folder(self, district_id: int, sync_id: int) -> Path:
        return self.root / "syncs" / str(district_id) / str(sync_id)

    def write_difference(self, district_id: int, sync_id: int, difference: Difference) -> None:
        """Replace the stored difference of a sync (a rebuilt plan has another one). Changed and removed records come first:
        they are what a reviewer looks for."""
        folder = self.sync_folder(district_id, sync_id)
        for old in folder.glob("*.parquet"):
            old.unlink()
        for table, frame in difference.tables.items():
            _write_parquet(frame, folder / f"{table}.parquet")

    def difference(self, district_id: int, sync_id: int) -> StoredDifference:
        return StoredDifference(self.sync_folder(district_id, sync_id))

    # -- findings

    def write_places(self, district_id: int, sync_id: int, findings: Findings) -> None:
        """Keep every place of every finding: position (as in `Findings.ordered`), line, value."""
        parts = [
            f.places.select(pl.lit(position, pl.UInt32).alias("position"), "line", "value")
            for position, f in enumerate(findings.ordered()) if len(f.places)
        ]  # fmt: skip
        path = self.sync_folder(district_id, sync_id) / "places" / "places.parquet"
        if parts:
            _write_parquet(pl.concat(parts), path)
        else:
            path.unlink(missing_ok=True)

    def places_csv(self, district_id: int, sync_id: int, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        """All places as CSV for a spreadsheet, one chunk of text at a time. `rows`: position, code, severity, file, column,
        message, next_step of each finding."""
        path = self.sync_folder(district_id, sync_id) / "places" / "places.parquet"
        yield _csv([("file", "line", "column", "value", "code", "severity", "message", "next_step")])
        known = {row["position"]: row for row in rows}
        placed: set[int] = set()
        if path.exists():
            for part in pl.read_parquet(path).iter_slices(10_000):
                placed.update(part["position"].unique().to_list())
                yield _csv(
                    (r["file"], line, r["column"], value, r["code"], r["severity"], r["message"], r["next_step"])
                    for position, line, value in part.iter_rows() if (r := known.get(position))
                )  # fmt: skip
        rest = [r for position, r in known.items() if position not in placed]
        yield _csv((r["file"], None, r["column"], "", r["code"], r["severity"], r["message"], r["next_step"]) for r in rest)


def formula_safe(value: Any) -> Any:
    """A spreadsheet must not take a roster's value for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _csv(rows: Any) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([formula_safe(cell) for cell in row] for row in rows)
    return buffer.getvalue()


def _draft(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f".{uuid.uuid4().hex}.part"


def _write_parquet(frame: pl.DataFrame, path: Path) -> None:
    draft = _draft(path.parent)
    try:
        frame.write_parquet(draft, compression="lz4", row_group_size=_ROW_GROUP, statistics=False)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        _publish(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _publish(draft: Path, path: Path) -> None:
    """Give a whole, flushed file its name, and flush that too."""
    draft.replace(path)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
