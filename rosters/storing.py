"""What lies on disk: originals as they came, snapshots and differences as Parquet, all places of all findings.

Everything is written aside, flushed to the disk, and only then given its name; a file with a final name is whole and is
never changed. Originals and snapshots are found by their digest, within their district's own folder:

    originals/<district>/<sha256>
    snapshots/<district>/<table>-<digest>.parquet
    syncs/<district>/<sync>/<table>.parquet    the difference
    syncs/<district>/<sync>/unjudged/<table>.parquet    the same, before it was judged
    syncs/<district>/<sync>/places/places.parquet
    syncs/<district>/<sync>/conflicts/conflicts.parquet    of an undo
    syncs/<district>/<sync>/again/<plan digest>.parquet    who was known again under another id
    syncs/<district>/<sync>/left/<plan digest>.parquet     who stays, and would be left without a class or a teacher
    ids/<district>/<digest>.parquet    a list of ids that are kept

Beside them lies what `rosters.serving` makes of them, and can make again.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import shutil
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TypedDict, Unpack

import polars as pl

from rosters.diffing import KIND, WAS, Difference, columns, counts_of
from rosters.findings import Findings
from rosters.frames import OnDisk
from rosters.oneroster.normal import NORMAL, TABLES

_BLOCK: Final = 1 << 20

#: Small enough that a page reads little, large enough that a whole table reads fast. lz4 because it reads twice as fast
#: as zstd for twice the disk (a page of one school out of 1.4 million rows: 8 ms against 19).
_ROW_GROUP: Final = 65_536
_COMPRESSION: Final = "lz4"
#: The same for a file of which one page after the other is asked for.
PAGED_ROW_GROUP: Final = 8_192

_UNJUDGED: Final = "unjudged"
#: Characters without another case. A piece of so many of them is looked for first: that takes an eighth of the time.
_CASELESS: Final = re.compile(r"[0-9@._: /+-]+")
_SURE: Final = 3
#: In the place of a sync's number, what a roster that is built anew is made of.
REBUILT: Final = 0
#: Beside an original, the folder of the names under which it is read.
NAMES: Final = ".names"
_DRAFT: Final = ".part"

#: First characters by which a spreadsheet takes a cell for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class StoredFrames(OnDisk):
    """A roster on disk: each table is read when it is first asked for, and kept."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = paths
        self._frames: dict[str, pl.DataFrame] = {}
        self._rows: dict[str, int] = {}

    def __getitem__(self, table: str) -> pl.DataFrame:
        if table not in self._frames:
            self._frames[table] = self.scan(table).collect()
        return self._frames[table]

    def scan(self, table: str) -> pl.LazyFrame:
        return pl.scan_parquet(self._paths[table]).select(_filled(*NORMAL[table]))

    def held(self, table: str) -> pl.DataFrame | None:
        return self._frames.get(table)

    def rows(self, table: str) -> int:
        if table not in self._rows:
            self._rows[table] = super().rows(table)
        return self._rows[table]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def forget(self, table: str) -> None:
        """Give a table's memory back; it is read again when it is asked for again."""
        self._frames.pop(table, None)


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of a difference as dictionaries, and how many there are under the same filter."""

    rows: list[dict[str, Any]]
    total: int


class Wanted(TypedDict, total=False):
    """Which rows of a difference: those that fit every filter that is not "". `field`: a column that changed. `text`:
    in any cell, old or new, without regard to case."""

    kind: str
    school: str
    grade: str
    role: str
    field: str
    text: str


class StoredDifference:
    """The difference of one sync on disk: paged and filtered there, never loaded whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.tables = tuple(table for table in TABLES if self._path(table).exists())

    def _path(self, table: str) -> Path:
        return self._folder / f"{table}.parquet"

    def scan(self, table: str) -> pl.LazyFrame:
        """The table unread: what is selected from it is all that is read."""
        filled = [name for name in columns(table) if not name.startswith(WAS) and name != "kind"]
        return pl.scan_parquet(self._path(table)).with_columns(_filled(*filled))

    def frame(self, table: str) -> pl.DataFrame:
        return self.scan(table).collect()

    def counts(self, table: str) -> dict[str, int]:
        """{"added": n, "updated": n, "removed": n}, zeros included."""
        return counts_of(self.scan(table).select("kind").collect())

    def cells(self, table: str, ids: Collection[str], names: Sequence[str]) -> list[tuple[str, ...]]:
        """``sourcedId`` and the cells `names` of these records, as far as the table has them."""
        wanted = pl.Series(list(ids), dtype=pl.String).implode()
        return self.scan(table).filter(pl.col("sourcedId").is_in(wanted)).select("sourcedId", *names).collect().rows()

    def about(self, table: str, column: str, cell: str, limit: int) -> list[dict[str, Any]]:
        """The first rows, up to `limit`, in which `column` is or was `cell`."""
        names = [name for name in (column, WAS + column) if name in columns(table)]
        return self.scan(table).filter(pl.any_horizontal(pl.col(names) == cell)).head(limit).collect().to_dicts()

    def seals(self) -> dict[str, str]:
        """Table to the SHA-256 of its file: whether the stored plan is still the one that was made."""
        return {table: _sha256(self._path(table)) for table in self.tables}

    def load(self) -> Difference:
        """The same as a `Difference`, whose tables stay on the disk."""
        return Difference(_StoredTables(self))

    def page(self, table: str, *, offset: int = 0, limit: int = 50, **wanted: Unpack[Wanted]) -> Page:
        """Rows `offset` to `offset + limit` of those that are wanted."""
        if not any(wanted.values()):
            rows = self.scan(table)
            total = rows.select(pl.len()).collect().item()
            return Page(rows.slice(offset, limit).collect().to_dicts(), total)
        found = self._found(table, **wanted)
        parts = pl.collect_all(self._groups(table, found.slice(offset, limit)))
        return Page([row for part in parts for row in part.to_dicts()], len(found))

    def pieces(self, table: str, **wanted: Unpack[Wanted]) -> Iterator[pl.DataFrame]:
        """All rows that are wanted, of one row group after the other."""
        for rows in self._groups(table, self._found(table, **wanted)):
            yield rows.collect()

    def _found(
        self,
        table: str,
        *,
        kind: str = "",
        school: str = "",
        grade: str = "",
        role: str = "",
        field: str = "",
        text: str = "",
    ) -> pl.Series:
        """Numbers, ascending, of the rows that are wanted."""
        rows = self.scan(table).with_row_index("number")
        fits = []
        if kind:
            rows = rows.slice(*self._span(table, kind))
        places = {"school": school, "grade": grade, "role": role}
        fits += [pl.col(column) == wanted for column, wanted in places.items() if wanted]
        if field:
            fits.append(pl.col("fields").str.contains(f"(^|,){re.escape(field)}(,|$)"))
        others = (rows.filter(fits) if fits else rows).select("number")
        if not text:
            return others.collect().to_series()
        found = self._holding(table, text)
        if fits or kind:
            return others.filter(pl.col("number").is_in(found.implode())).collect().to_series()
        return found

    def _holding(self, table: str, text: str) -> pl.Series:
        """Numbers, ascending, of the rows of which some cell holds `text`, whatever the case.

        Each column is asked by itself, as it is stored: then polars asks each word of a column's dictionary once
        instead of each cell.
        """
        stored = pl.scan_parquet(self._path(table)).with_row_index("number")
        cells = [name for name in columns(table) if name not in ("kind", "school", "grade", "fields")]
        if not self.counts(table)["updated"]:
            cells = [name for name in cells if not name.startswith(WAS)]
        sure = _without_case(text)
        if len(sure) < min(len(text), _SURE):
            asked = [stored.filter(_holds(name, text)).select("number") for name in cells]
            return pl.concat(pl.collect_all(asked)).to_series().unique().sort()
        likely = [stored.filter(pl.col(name).str.contains(sure, literal=True)).select("number", name) for name in cells]
        found = pl.collect_all(likely)
        if sure != text:
            found = [part.filter(_holds(name, text)) for part, name in zip(found, cells, strict=True)]
        return pl.concat([part["number"] for part in found]).unique().sort()

    def _groups(self, table: str, numbers: pl.Series) -> Iterator[pl.LazyFrame]:
        """The rows with these ascending numbers, of each row group together, so that it is read once."""
        wanted = pl.DataFrame({"number": numbers}).with_columns(group=pl.col("number") // _ROW_GROUP)
        for _, part in wanted.group_by("group", maintain_order=True):
            here = part["number"]
            first, last = int(here[0]), int(here[-1])
            yield self.scan(table).slice(first, last - first + 1).select(pl.all().gather(here - first))

    def _span(self, table: str, kind: str) -> tuple[int, int]:
        """Where the rows of a kind stand, which lie together: the first, and how many."""
        of_kind = self.scan(table).select(pl.col("kind") == pl.lit(kind, KIND)).collect().to_series()
        return of_kind.arg_max() or 0, int(of_kind.sum())


class _StoredTables(OnDisk):
    """The tables of a stored difference, read anew each time."""

    def __init__(self, stored: StoredDifference) -> None:
        self._stored = stored

    def __getitem__(self, table: str) -> pl.DataFrame:
        if table not in self._stored.tables:
            raise KeyError(table)
        return self._stored.frame(table)

    def scan(self, table: str) -> pl.LazyFrame:
        return self._stored.scan(table)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored.tables)

    def __len__(self) -> int:
        return len(self._stored.tables)


def _without_case(text: str) -> str:
    """The longest piece of `text` that is written in one way only: what holds `text`, whatever the case, holds it."""
    return max(_CASELESS.findall(text), key=len, default="")


def _holds(column: str, text: str) -> pl.Expr:
    return pl.col(column).str.contains(f"(?i){re.escape(text)}")


class Store:
    """The files under one data folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    # -- originals

    def keep_original(self, district_id: int, source: Path | BinaryIO) -> tuple[str, int]:
        """Copy `source` into the store and flush it to the disk; equal bytes are kept, and written, once, and are as
        young as the last time they came. Returns (SHA-256, size)."""
        if isinstance(source, Path):
            with source.open("rb") as reader:
                return self.keep_original(district_id, reader)
        if (here := self._kept_already(district_id, source)) is not None:
            return here
        folder = self.root / "originals" / str(district_id)
        draft = _draft(folder)
        digest, size = hashlib.sha256(), 0
        try:
            with draft.open("xb") as file:
                for block in _blocks(source):
                    digest.update(block)
                    size += len(block)
                    file.write(block)
                if self._is_there(district_id, digest.hexdigest(), size):
                    return digest.hexdigest(), size
                file.flush()
                os.fsync(file.fileno())
            _publish(draft, self.original(district_id, digest.hexdigest()))
        finally:
            draft.unlink(missing_ok=True)
        return digest.hexdigest(), size

    def _kept_already(self, district_id: int, source: BinaryIO) -> tuple[str, int] | None:
        """(SHA-256, size) of `source` if these bytes are kept; else it stands where it stood. It is read for that only
        if something of its size is there: to hash what may be the same costs less than to write it and throw it away.
        """
        if not source.seekable():
            return None
        start = source.tell()
        size = source.seek(0, os.SEEK_END) - start
        source.seek(start)
        if size not in {_size(path) for path in self.original(district_id, "").glob("*")}:
            return None
        digest = hashlib.sha256()
        for block in _blocks(source):
            digest.update(block)
        if self._is_there(district_id, digest.hexdigest(), size):
            return digest.hexdigest(), size
        source.seek(start)
        return None

    def _is_there(self, district_id: int, sha256: str, size: int) -> bool:
        """Whether an original is kept whole; it is as young as now then."""
        kept = self.original(district_id, sha256)
        with suppress(FileNotFoundError):
            if kept.stat().st_size == size:
                os.utime(kept)
                return True
        return False

    def original(self, district_id: int, sha256: str) -> Path:
        return self.root / "originals" / str(district_id) / sha256

    def forget_original(self, district_id: int, sha256: str, *, since: float) -> bool:
        """Delete an original, and the names that it was read under. False if it came again after `since` (seconds since
        1970): then it stays.

        It is put out of sight before its age is looked at: who receives the same bytes in this moment has made it young
        by then, or does not find it and writes it anew.
        """
        kept = self.original(district_id, sha256)
        aside = _draft(kept.parent)
        try:
            kept.replace(aside)
        except FileNotFoundError:
            return True
        if aside.stat().st_mtime > since:
            _publish(aside, kept)
            return False
        _remove_folder(kept.with_name(f"{sha256}{NAMES}"))
        aside.unlink()
        return True

    def forget_district(self, district_id: int) -> None:
        """Delete everything that is kept of a district, and what was made of it."""
        for kind in ("originals", "snapshots", "syncs", "ids", "served"):
            _remove_folder(self.root / kind / str(district_id))

    # -- snapshots

    def snapshot_path(self, district_id: int, table: str, digest: str) -> Path:
        return self.root / "snapshots" / str(district_id) / f"{table}-{digest}.parquet"

    def write_snapshot_table(self, district_id: int, table: str, rows: pl.LazyFrame, digest: str) -> None:
        """Keep a table of a snapshot under its digest; nothing to do if it is there already."""
        path = self.snapshot_path(district_id, table, digest)
        if not path.exists():
            _sink_parquet(rows.select(NORMAL[table]), path)

    def keep_as_snapshot(self, district_id: int, sync_id: int, table: str, digest: str) -> None:
        """Keep the stored difference of a table that the base lacked as that table of the new snapshot: the same file
        under a second name, for it holds every row."""
        path = self.snapshot_path(district_id, table, digest)
        if not path.exists():
            draft = _draft(path.parent)
            draft.hardlink_to(self.sync_folder(district_id, sync_id) / f"{table}.parquet")
            _publish(draft, path)

    def frames(self, district_id: int, tables: Mapping[str, Mapping[str, Any]]) -> StoredFrames:
        """The roster whose tables are {name: {"digest", "rows"}}."""
        return StoredFrames({t: self.snapshot_path(district_id, t, facts["digest"]) for t, facts in tables.items()})

    def forget_snapshot_tables(self, district_id: int, digests: Collection[tuple[str, str]]) -> None:
        """Delete these tables, each by its name and digest. Whoever asks knows that no roster that is kept has them."""
        for table, digest in digests:
            self.snapshot_path(district_id, table, digest).unlink(missing_ok=True)

    # -- ids that are kept

    def keep_ids(self, district_id: int, ids: pl.DataFrame) -> str:
        """Keep a list of ids (`rosters.recognising.KEPT`) under its digest, which is returned."""
        digest = hashlib.sha256(ids.sort("table", "delivered").write_csv().encode()).hexdigest()
        path = self.ids_path(district_id, digest)
        if not path.exists():
            _sink_parquet(ids.lazy(), path, keep_empty=True)
        return digest

    def kept_ids(self, district_id: int, digest: str) -> pl.LazyFrame:
        return pl.scan_parquet(self.ids_path(district_id, digest))

    def ids_path(self, district_id: int, digest: str) -> Path:
        return self.root / "ids" / str(district_id) / f"{digest}.parquet"

    def forget_ids(self, district_id: int, digest: str) -> None:
        self.ids_path(district_id, digest).unlink(missing_ok=True)

    # -- what is made of them

    def write_aside(self, rows: pl.LazyFrame, path: Path) -> None:
        """Write `rows` where single pages of them are read; whoever looks sees the old file or the whole new one."""
        _sink_parquet(rows, path, row_group=PAGED_ROW_GROUP, keep_empty=True)

    def write_text_aside(self, text: str, path: Path) -> None:
        draft = _draft(path.parent)
        draft.write_text(text)
        _flush(draft)
        _publish(draft, path)

    # -- differences

    def sync_folder(self, district_id: int, sync_id: int) -> Path:
        return self.root / "syncs" / str(district_id) / str(sync_id)

    def write_difference(
        self, district_id: int, sync_id: int, tables: Iterable[tuple[str, pl.LazyFrame]]
    ) -> StoredDifference:
        """Replace the stored difference of a sync (a rebuilt plan has another one)."""
        self.draft_difference(district_id, sync_id, tables)
        return self.show_difference(district_id, sync_id)

    def draft_difference(
        self, district_id: int, sync_id: int, tables: Iterable[tuple[str, pl.LazyFrame]]
    ) -> StoredDifference:
        """Write down one table of `differences` after the other, where nobody looks before it was judged."""
        folder = self.sync_folder(district_id, sync_id) / _UNJUDGED
        for old in folder.glob("*.parquet"):
            old.unlink()
        for table, rows in tables:
            _sink_parquet(rows, folder / f"{table}.parquet")
        return StoredDifference(folder)

    def narrow_draft(self, district_id: int, sync_id: int, less: Mapping[str, pl.Series]) -> StoredDifference:
        """Take what changes these records out of what was drafted: of each table their sourcedIds."""
        folder = self.sync_folder(district_id, sync_id) / _UNJUDGED
        drafted = StoredDifference(folder)
        for table, ids in less.items():
            rows = drafted.scan(table).filter(~pl.col("sourcedId").is_in(ids.implode())).collect()
            path = folder / f"{table}.parquet"
            path.unlink()
            if len(rows):
                _sink_parquet(rows.lazy(), path)
        return StoredDifference(folder)

    def show_difference(self, district_id: int, sync_id: int) -> StoredDifference:
        """Put what was drafted in the place of the difference that was there."""
        folder = self.sync_folder(district_id, sync_id)
        for old in folder.glob("*.parquet"):
            old.unlink()
        for table in (folder / _UNJUDGED).glob("*.parquet"):
            _publish(table, folder / table.name)
        return self.difference(district_id, sync_id)

    def difference(self, district_id: int, sync_id: int) -> StoredDifference:
        return StoredDifference(self.sync_folder(district_id, sync_id))

    def forget_sync(self, district_id: int, sync_id: int) -> None:
        """Delete what is kept of a sync: its difference, what it left alone, the places of its findings."""
        _remove_folder(self.sync_folder(district_id, sync_id))

    # -- what an undo leaves alone

    def write_conflicts(self, district_id: int, sync_id: int, conflicts: pl.DataFrame) -> None:
        """Keep what an undo leaves as it is, beside its difference: ``table``, ``sourcedId``, ``column``."""
        _sink_parquet(conflicts.lazy(), self._conflicts_path(district_id, sync_id))

    def conflicts(self, district_id: int, sync_id: int, limit: int) -> tuple[pl.DataFrame, int]:
        """The first `limit` of them, and how many there are; none where none were kept."""
        path = self._conflicts_path(district_id, sync_id)
        if not path.exists():
            return pl.DataFrame(schema=dict.fromkeys(("table", "sourcedId", "column"), pl.String)), 0
        kept = pl.scan_parquet(path)
        return kept.head(limit).collect(), kept.select(pl.len()).collect().item()

    def _conflicts_path(self, district_id: int, sync_id: int) -> Path:
        return self.sync_folder(district_id, sync_id) / "conflicts" / "conflicts.parquet"

    # -- who may come again under another id

    def write_known_again(self, district_id: int, sync_id: int, plan_digest: str, pairs: pl.DataFrame) -> None:
        """Keep what was known again in this plan of a sync (`rosters.recognising.AGAIN`), beside its difference."""
        path = self._of_plan("again", district_id, sync_id, plan_digest)
        _sink_parquet(pairs.lazy(), path, keep_empty=True)

    def known_again(self, district_id: int, sync_id: int, plan_digest: str) -> pl.LazyFrame | None:
        """The same; None where nobody asked yet."""
        path = self._of_plan("again", district_id, sync_id, plan_digest)
        return pl.scan_parquet(path) if path.exists() else None

    # -- who would be left without

    def write_left(self, district_id: int, sync_id: int, plan_digest: str, left: pl.DataFrame) -> None:
        """Keep what this plan of a sync would mean to those who stay (`rosters.explaining.consequences.LEFT`)."""
        _sink_parquet(left.lazy(), self._of_plan("left", district_id, sync_id, plan_digest), keep_empty=True)

    def left(self, district_id: int, sync_id: int, plan_digest: str) -> pl.LazyFrame | None:
        """The same; None where nothing was found, or it is not kept any more."""
        path = self._of_plan("left", district_id, sync_id, plan_digest)
        return pl.scan_parquet(path) if path.exists() else None

    def _of_plan(self, what: str, district_id: int, sync_id: int, plan_digest: str) -> Path:
        return self.sync_folder(district_id, sync_id) / what / f"{plan_digest}.parquet"

    # -- findings

    def write_places(self, district_id: int, sync_id: int, findings: Findings) -> None:
        """Keep every place of every finding: position (as in `Findings.ordered`), line, value."""
        parts = [
            finding.places.select(pl.lit(position, pl.UInt32).alias("position"), "line", "value")
            for position, finding in enumerate(findings.ordered())
            if len(finding.places)
        ]
        path = self._places_path(district_id, sync_id)
        if parts:
            _sink_parquet(pl.concat(parts).lazy(), path)
        else:
            path.unlink(missing_ok=True)

    def places_csv(self, district_id: int, sync_id: int, rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
        """Every place as CSV for a spreadsheet, some thousand lines at a time; a finding without places gets one line.

        `rows`: position, code, severity, file, column, message and next_step of each finding.
        """
        yield _csv([_PLACES_HEADER])
        path = self._places_path(district_id, sync_id)
        places = pl.scan_parquet(path) if path.exists() else pl.LazyFrame(schema=_PLACES)
        for finding in rows:
            found = _at(places, finding["position"]).select("line", _filled("value")).collect()
            for part in found.iter_slices(10_000) if len(found) else [_NO_PLACE]:
                yield _csv(_place_row(finding, line, value) for line, value in part.iter_rows())

    def words(self, district_id: int, sync_id: int, position: int) -> list[str]:
        """What the cells of a finding say, each once, in the order of the file; of a long one its beginning."""
        path = self._places_path(district_id, sync_id)
        if not path.exists():
            return []
        found = _at(pl.scan_parquet(path), position).select(pl.col("value").unique(maintain_order=True))
        return found.drop_nulls().collect()["value"].to_list()

    def found_in(self, district_id: int, sync_id: int, lines: Collection[int]) -> dict[int, list[int]]:
        """Of each of these lines the findings, of any file, that have a place in it, by their positions."""
        path = self._places_path(district_id, sync_id)
        if not path.exists():
            return {}
        wanted = pl.Series(sorted(lines), dtype=pl.UInt32).implode()
        here = pl.scan_parquet(path).filter(pl.col("line").is_in(wanted)).select("line", "position").unique()
        found: dict[int, list[int]] = {}
        for line, position in here.sort("line", "position").collect().iter_rows():
            found.setdefault(line, []).append(position)
        return found

    def _places_path(self, district_id: int, sync_id: int) -> Path:
        return self.sync_folder(district_id, sync_id) / "places" / "places.parquet"

    # -- what a crash left behind

    def sweep(self, before: float) -> int:
        """Remove drafts that were last written before `before` (seconds since 1970): a worker died while it wrote, and
        nobody will ever give them a name. Returns how many. Nothing else that has a name is ever removed here but what
        a rebuild that died was made of."""
        drafts = [path for path in self.root.rglob(f".*{_DRAFT}") if path.stat().st_mtime < before]
        for path in drafts:
            path.unlink(missing_ok=True)
        for folder in self.root.glob(f"syncs/*/{REBUILT}"):
            if folder.stat().st_mtime < before:
                _remove_folder(folder)
        return len(drafts)


def _at(places: pl.LazyFrame, position: int) -> pl.LazyFrame:
    return places.filter(pl.col("position") == position)


_PLACES: Final = {"position": pl.UInt32, "line": pl.UInt32, "value": pl.String}
_PLACES_HEADER: Final = ("file", "line", "column", "value", "code", "severity", "message", "next_step")
_NO_PLACE: Final = pl.DataFrame({"line": [None], "value": [""]}, schema={"line": pl.UInt32, "value": pl.String})


def _place_row(finding: Mapping[str, Any], line: int | None, value: str) -> tuple[Any, ...]:
    known = {**finding, "line": line, "value": value}
    return tuple(known[name] for name in _PLACES_HEADER)


def formula_safe(value: Any) -> Any:
    """`value` for a spreadsheet, which must not take what a district wrote for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def formula_safe_frame(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with every text as `formula_safe` makes it."""
    texts = [pl.col(name) for name, kind in frame.schema.items() if kind == pl.String]
    risky = f"^[{re.escape(''.join(_FORMULA))}]"
    return frame.with_columns(
        pl.when(c.str.contains(risky)).then("'" + c).otherwise(c).alias(c.meta.output_name()) for c in texts
    )


def csv_line(row: Iterable[Any]) -> str:
    """One line of a CSV file for a spreadsheet."""
    return _csv([row])


def _csv(rows: Iterable[Iterable[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([formula_safe(cell) for cell in row] for row in rows)
    return buffer.getvalue()


# ------------------------------------------------------------------------------------------------------ onto the disk


def _draft(folder: Path) -> Path:
    """A new name in `folder`, which is made, on the disk, if need be."""
    missing = [folder, *folder.parents]
    missing = missing[: next(i for i, path in enumerate(missing) if path.exists())]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        _flush(path.parent)
    return folder / f".{uuid.uuid4().hex}{_DRAFT}"


def _filled(*names: str) -> pl.Expr:
    """Columns of cells as they were before `_sink_parquet` left empty ones out."""
    return pl.col(names).fill_null("")


def _sink_parquet(rows: pl.LazyFrame, path: Path, *, row_group: int = _ROW_GROUP, keep_empty: bool = False) -> None:
    """Write `rows` in their order, never all at once in memory.

    An empty cell is written as null, which costs polars less time and disk. Not where it says what a cell was before:
    there null means that it did not change; nor with `keep_empty`.
    """
    schema = rows.collect_schema()
    texts = [name for name, dtype in schema.items() if dtype == pl.String and not name.startswith(WAS)]
    if not keep_empty:
        rows = rows.with_columns(pl.when(pl.col(name) != "").then(pl.col(name)).alias(name) for name in texts)
    draft = _draft(path.parent)
    try:
        rows.sink_parquet(draft, compression=_COMPRESSION, row_group_size=row_group, statistics=keep_empty)
        _flush(draft)
        _publish(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _blocks(source: BinaryIO) -> Iterator[bytes]:
    while block := source.read(_BLOCK):
        yield block


def _size(path: Path) -> int | None:
    """Bytes; None where there is no such file any more."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _remove_folder(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _publish(draft: Path, path: Path) -> None:
    """Give a whole, flushed file its name, and flush that too."""
    draft.replace(path)
    _flush(path.parent)


def _flush(path: Path) -> None:
    """See to it that a file, or the names in a folder, are on the disk and not only on their way."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
