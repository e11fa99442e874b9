"""Bytes to frames, with line numbers: a zip, a folder, or one CSV file of OneRoster 1.1 or 1.2, or pages of its REST
service (`pages`).

`read` takes whatever a stranger sends and never raises for it: every fault is a finding, and only rows that are
proved read (`lines`) come out. Members are inflated in a thread and read in blocks; memory is that of the frames.

A set without manifest.csv breaks the standard (OR-CSV-009, fatal in a zip, an error in a folder, nothing in a file that
comes alone). Where its files say which version it is, it is read all the same and is `readable`, so that
everything that is wrong is said at once; the fatal finding still refuses it as a delivery.

Where a file cannot be read at all, the delivery is not readable. A file with a header and no rows counts as absent: the
standard wants it so, and nothing may be removed because an export came out empty.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import polars as pl

from rosters.findings import Effect, Findings, places
from rosters.frames import LINE, Delivered, DeliveredTable, Progress, silent, type_mode
from rosters.oneroster import VERSIONS
from rosters.oneroster.former import OLD_NAMES
from rosters.oneroster.normal import GONE
from rosters.oneroster.spec import Table, Version
from rosters.reading import headers, manifest, pages
from rosters.reading.archive import Damaged, Member, looks_like, named, opened
from rosters.reading.encoding import ENCODINGS, as_utf8, likely, with_line_feeds
from rosters.reading.limits import Limits
from rosters.reading.lines import Rows, blocks, cells_of, read_rows

__all__ = ["ENCODINGS", "Limits", "read"]

_ARCHIVES_AND_SHEETS = (
    ".zip", ".7z", ".rar", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".xlsx", ".xlsm", ".xls", ".xlsb", ".ods", ".numbers",
)  # fmt: skip
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_SHOWN = 60
#: Seconds between two looks at how far the reading is.
_LOOK = 0.5
#: Rules whose breach costs the table and leaves the other files readable.
_COSTS_A_TABLE = ("OR-CSV-063", "OR-CSV-064")
#: What is said of a file without a row.
_HOLLOW = ("OR-CSV-049", "OR-CSV-050")

#: Every file name that some version knows, by its lower-case form.
_FILES = {table.file.lower(): table.file for version in VERSIONS.values() for table in version.tables.values()} | {
    manifest.FILE: manifest.FILE
}


def read(
    path: Path,
    *,
    encoding: str = "",
    version: str = "",
    limits: Limits = Limits(),  # noqa: B008 - frozen
    overrides: Mapping[str, str] = {},
    column_names: Mapping[str, str] = {},
    progress: Progress = silent,
) -> Delivered:
    """Read the delivery at `path`.

    `encoding`: "" is UTF-8, else a key of `ENCODINGS` that a person chose. `version`: "1.1" or "1.2", believed before
    the manifest and the files. `overrides`: see `Findings`. `column_names`: what its files call columns of the standard
    (`headers.judge`). Raises OSError only where `path` cannot be opened.
    """
    findings = Findings(dict(overrides))
    with opened(path, limits, findings) as members:
        package = _Package(encoding, limits, findings, progress, column_names)
        if findings.fatal:
            return Delivered(False, version, {}, {}, findings)
        if pages.is_pull(members):
            return pages.read(members, version, limits=limits, findings=findings, progress=progress)
        files = _sort_out(members, findings)
        alone = path.is_file() and len(members) == 1 and members[0].name == path.name
        return package.read(files, version, alone=alone, folder=path.is_dir())


def _sort_out(members: list[Member], findings: Findings) -> dict[str, Member]:
    """Standard file name to member; what is not of the standard is named and left."""
    spelled = Counter(member.name.lower() for member in members)
    files: dict[str, Member] = {}
    for member in members:
        right = _FILES.get(member.name.lower())
        where = named([member.name[:_SHOWN]])
        if member.name.lower().endswith(_ARCHIVES_AND_SHEETS):
            findings.add("OR-CSV-011", places=where)
        elif right is None:
            findings.add("OR-CSV-008", places=where)
        elif spelled[member.name.lower()] > 1:
            findings.add("OR-CSV-006", places=where, effect="table", detail="Which one counts cannot be told.")
        else:
            if right != member.name:
                findings.add("OR-CSV-007", right, places=where, detail=f"It should be {right}.")
            files[right] = member
    return files


def _twins(findings: Findings) -> set[str]:
    """The standard's files of which several came, so that none was read."""
    spelled = {name for f in findings if f.code == "OR-CSV-006" for name in f.places["value"].to_list()}
    return {_FILES[name.lower()] for name in spelled if name.lower() in _FILES}


@dataclass(slots=True)
class _Package:
    """The files of one delivery on their way to frames. `passed`: how many bytes of each have been looked at."""

    encoding: str
    limits: Limits
    findings: Findings
    progress: Progress
    column_names: Mapping[str, str]
    passed: dict[str, int] = field(default_factory=dict)

    def read(self, files: dict[str, Member], version: str, *, alone: bool, folder: bool) -> Delivered:
        properties: dict[str, str] = {}
        data = {file: member for file, member in files.items() if file != manifest.FILE}
        try:
            if manifest.FILE in files:
                properties = self._manifest(files[manifest.FILE])
                version = version or self._declared_version(properties)
            elif not alone:
                # Where the files lie deeper, or in another zip, it only follows that none is found.
                follows = not files and self.findings.refuse_for("OR-CSV-003", "OR-CSV-011")
                self.findings.add(
                    "OR-CSV-009",
                    manifest.FILE,
                    severity="error" if folder or follows else None,
                    effect="none" if folder or follows else "package",
                )
                version = version or self._recognised(data)
            else:
                version = version or _fitting_version(self._headers(data))
        except Damaged as damage:
            self._refuse(damage, manifest.FILE)
            return Delivered(False, version, {}, properties, self.findings)
        if not version:
            if not any(finding.code == "OR-CSV-060" for finding in self.findings):
                detail = "None of its files is one of OneRoster."
                self.findings.add("OR-CSV-025", manifest.FILE, severity="fatal", effect="package", detail=detail)
            return Delivered(False, "", {}, properties, self.findings)
        standard = VERSIONS[version]
        tables = self._tables(data, standard, properties)
        present = {file.removesuffix(".csv") for file in {*data, *_twins(self.findings)} - {manifest.FILE}}
        if properties:
            manifest.judge(properties, version, present, self.findings)
        for file in data:
            if file.removesuffix(".csv") not in standard.tables:
                self.findings.add("OR-CSV-014", file, effect="table", detail="It was not read.")
        refused = any(finding.severity == "fatal" and finding.code != "OR-CSV-009" for finding in self.findings)
        lost = present.intersection(standard.tables).difference(tables)
        hollow = {finding.file for finding in self.findings if finding.code in _HOLLOW}
        unusable = {name: "holds no rows" if f"{name}.csv" in hollow else "cannot be used" for name in lost}
        return Delivered(not refused, version, tables, properties, self.findings, unusable)

    def _refuse(self, damage: Damaged, file: str) -> None:
        """A file that cannot be read refuses the delivery; one whose columns are in doubt is not used."""
        where = places([damage.line], [""]) if damage.line else places()
        if damage.code in _COSTS_A_TABLE:
            self.findings.add(damage.code, file, places=where, effect="table", detail=str(damage))
        else:
            self.findings.add(damage.code, file, places=where, severity="fatal", effect="package", detail=str(damage))

    def _manifest(self, member: Member) -> dict[str, str]:
        pieces = self._text(member)
        text = b""
        for piece in pieces:
            text += piece
            if len(text) > self.limits.manifest:
                raise Damaged("OR-CSV-005", "manifest.csv is far too long.")
        if not text.strip():
            raise Damaged("OR-CSV-050", "")
        if b"\0" in text:
            raise Damaged("OR-CSV-042", "It holds NUL bytes.")
        try:
            return manifest.properties_of(text.decode(), self.findings)
        except UnicodeDecodeError as error:
            line = text.count(b"\n", 0, error.start) + 1
            raise Damaged("OR-CSV-040", f"Byte {error.start:,} is the first.", line) from None

    def _text(self, member: Member) -> Iterator[bytes]:
        """A member as UTF-8 with plain line ends."""
        text = as_utf8(member.pieces(), member.name, self.encoding, self.findings)
        return with_line_feeds(text, member.name, self.findings)

    def _declared_version(self, properties: dict[str, str]) -> str:
        version, exact = manifest.version_of(properties)
        if not exact:
            said = properties["oneroster.version"]
            detail = f"It was read as {version}."
            where = places([None], [said[:_SHOWN]])
            self.findings.add("OR-CSV-025", manifest.FILE, severity="warning", places=where, detail=detail)
        return version

    def _recognised(self, files: dict[str, Member]) -> str:
        """The version of a set without manifest, from its headers; "" where it is none."""
        found = self._headers(files)
        strange = [file for file, names in found.items() if headers.SCHOOL_DATA_SYNC & set(names)]
        for file in strange:
            self._refuse(Damaged("OR-CSV-060", headers.NOT_ONEROSTER, 1), file)
        if strange:
            return ""
        former = [name for file, names in found.items() for name in names if name in OLD_NAMES.get(file[:-4], {})]
        version = _fitting_version(found)
        if not version:
            return ""
        if former and not {"enabledUser", "orgSourcedIds", "termSourcedIds"} & {
            name for names in found.values() for name in names
        }:
            self.findings.add("OR-CSV-010", detail="Its column names are those of OneRoster 1.0, which is not read.")
            return ""
        self.findings.add("OR-CSV-010", detail=f"Its files look like OneRoster {version} and were read as such.")
        return version

    def _headers(self, files: dict[str, Member]) -> dict[str, list[str]]:
        """The first line of every file, as cells; what cannot be read has none."""
        found = {}
        for file, member in files.items():
            try:
                first = next(as_utf8(member.pieces(), file, self.encoding, Findings()), b"")
            except Damaged:
                continue
            line = first[: self.limits.line].replace(b"\r", b"\n").split(b"\n", 1)[0]
            found[file] = cells_of(line.decode("utf-8", "replace")) or []
        return found

    def _tables(
        self, files: dict[str, Member], standard: Version, properties: dict[str, str]
    ) -> dict[str, DeliveredTable]:
        """All files, the largest first and two at a time: inflating one is one core's work."""
        whole = sum(member.size for member in files.values()) or 1
        wanted = [table for table in standard.tables.values() if table.file in files]
        with ThreadPoolExecutor(2) as pool:
            coming = {
                table.name: pool.submit(self._table, files[table.file], table, properties.get(f"file.{table.name}", ""))
                for table in sorted(wanted, key=lambda table: -files[table.file].size)
            }
            waiting = set(coming.values())
            while waiting:
                _, waiting = wait(waiting, timeout=_LOOK)
                rows = sum(len(t.frame) for one in coming.values() if one.done() and (t := one.result()) is not None)
                self.progress("reading", min(1.0, sum(self.passed.values()) / whole), rows)
        found = {table.name: coming[table.name].result() for table in wanted}
        return {name: table for name, table in found.items() if table is not None}

    def _table(self, member: Member, table: Table, declared: str) -> DeliveredTable | None:
        """One file; None where it holds nothing or cannot be read."""
        try:
            return self._rows(member, table, declared)
        except Damaged as damage:
            self._refuse(damage, table.file)
            return None

    def _passing(self, member: Member) -> Iterator[bytes]:
        """The bytes of a member, counted while they come."""
        for piece in member.pieces():
            self.passed[member.name] = self.passed.get(member.name, 0) + len(piece)
            yield piece

    def _rows(self, member: Member, table: Table, declared: str) -> DeliveredTable | None:
        """One file; None where it holds nothing. Raises `Damaged` where it cannot be read."""
        raw = self._passing(member)
        first = next(raw, b"")
        if seen := looks_like(first[:512]):
            raise Damaged("OR-CSV-011", f"It looks like {seen}.")
        text = as_utf8(chain([first], raw), table.file, self.encoding, self.findings)
        data = blocks(with_line_feeds(text, table.file, self.findings), self.limits)
        line, _, rest = next(data, b"").partition(b"\n")
        if not line.strip():
            self.findings.add("OR-CSV-050", table.file, effect="table")
            for _ in raw:
                pass
            return None
        found = self._header_cells(line)
        header = headers.judge(found, table, self.findings, self.column_names)
        self._judge_layout(found, table)
        key = header.columns["sourcedId"]
        begin = len(line) + 1 + (3 if first.startswith(BOM_UTF8) else 0)
        body = chain([rest] if rest else [], data)
        rows = read_rows(body, len(found), self.limits, key=key, first_byte=begin)
        self._report(rows, table)
        unread = rows.faults.filter(pl.col("code") != "OR-CSV-048").select(LINE, "sourcedId")
        if rows.cells.is_empty() and unread.is_empty():
            self.findings.add("OR-CSV-049", table.file, effect="table")
            return None
        self._judge_twins(header, rows.cells)
        frame = _named_columns(rows.cells, header, table)
        mode = self._mode(frame, table, declared)
        return DeliveredTable(table.name, mode, frame, tuple(found), unread)

    def _header_cells(self, line: bytes) -> list[str]:
        if len(line) > self.limits.line:
            raise Damaged("OR-CSV-060", "The first line is far too long for a header.", 1)
        if b"\0" in line:
            raise Damaged("OR-CSV-042", "Line 1 holds a NUL byte.", 1)
        try:
            text = line.decode().removesuffix("\r")
        except UnicodeDecodeError as error:
            raise Damaged(
                "OR-CSV-040", f"Byte {error.start:,} is the first; it is probably {likely(line)}.", 1
            ) from None
        cells = cells_of(text)
        if cells is None or "\r" in text:
            raise Damaged("OR-CSV-043", "The header itself cannot be read.", 1)
        for mark, words in _DELIMITERS.items():
            if len(cells) == 1 and mark in text:
                raise Damaged("OR-CSV-046", f"They are separated by {words}.", 1)
        if len(cells) > self.limits.columns:
            raise Damaged("OR-CSV-060", f"It has {len(cells):,} columns.", 1)
        return cells

    def _judge_layout(self, found: list[str], table: Table) -> None:
        """Rule 032: the header is that of another version than the declared one."""
        own = sum(name in table.header for name in found)
        for number, version in VERSIONS.items():
            other = version.tables.get(table.name)
            if other and sum(name in other.header for name in found) > max(own, len(other.columns) - 2):
                self.findings.add(
                    "OR-CSV-032", table.file, places=places([1], [""]), detail=f"Its columns are those of {number}."
                )

    def _report(self, rows: Rows, table: Table) -> None:
        for (code,), group in rows.faults.group_by("code", maintain_order=True):
            lines = group.unique(LINE, keep="first", maintain_order=True)
            where = lines.select(pl.col(LINE).alias("line"), "value")
            effect: Effect = "none" if code == "OR-CSV-048" else "row"
            if code == "OR-CSV-040":
                detail = rows.undecoded
                self.findings.add("OR-CSV-040", table.file, places=where, effect="package", detail=detail)
            elif code == "OR-CSV-055":
                detail = f"More than {self.limits.cell:,} characters in one cell cannot be right; the row was not read."
                self.findings.add(
                    "OR-CSV-055", table.file, places=where, effect=effect, severity="error", detail=detail
                )
            else:
                self.findings.add(str(code), table.file, places=where, effect=effect)
        if rows.cut:
            detail = "The last line has no line end: if the file was cut off, its last cell may be incomplete."
            self.findings.add(
                "OR-CSV-047", table.file, places=places([rows.cut], [""]), severity="warning", detail=detail
            )

    def _judge_twins(self, header: headers.Header, cells: pl.DataFrame) -> None:
        for name, positions in header.twins.items():
            kept = cells[f"c{header.columns[name]}"]
            if any(not kept.equals(cells[f"c{position}"]) for position in positions):
                raise Damaged(
                    "OR-CSV-064", f"The columns called {name[:_SHOWN]} do not agree: nobody can say which counts.", 1
                )

    def _mode(self, frame: pl.DataFrame, table: Table, declared: str) -> type_mode:
        """How the table was sent. Only what manifest and rows both call bulk may imply removals, so doubt is delta.

        ``tobedeleted`` makes a delta of what was declared bulk, for a bulk file cannot say that. ``active`` and a date
        do not: many exports fill them in complete files. Rule 031.
        """
        status = frame["status"]
        filled = (status != "") | (frame["dateLastModified"] != "")
        removes = status.is_in(list(GONE)).any()
        where = places(frame[LINE].filter(filled), status.filter(filled).str.slice(0, _SHOWN))
        if declared == "delta":
            if not filled.any():
                detail = "Declared delta, but no row has status and dateLastModified. It was taken as delta."
                self.findings.add("OR-CSV-031", table.file, detail=detail)
            return "delta"
        if declared == "bulk" and filled.any():
            taken = "delta" if removes else "bulk"
            detail = f"Declared bulk, but status or dateLastModified is filled. It was taken as {taken}."
            self.findings.add("OR-CSV-031", table.file, places=where, detail=detail)
        return "delta" if removes else "bulk"


def _fitting_version(found: dict[str, list[str]]) -> str:
    """The version whose columns the headers hold most of; "" where fewer than half of any table's are there."""
    scores = {
        number: sum(
            _share(names, version.tables[file[:-4]]) for file, names in found.items() if file[:-4] in version.tables
        )
        for number, version in VERSIONS.items()
    }
    best = max(scores, key=lambda number: scores[number])
    return best if scores[best] >= 0.5 else ""


def _share(names: list[str], table: Table) -> float:
    return len(set(names) & set(table.header)) / len(table.header)


def _named_columns(cells: pl.DataFrame, header: headers.Header, table: Table) -> pl.DataFrame:
    """Every standard column in the standard's order (a missing one is empty), then ``metadata.*``, then `LINE`.

    Takes `cells` apart column by column: nothing is copied, and all columns that are missing are one in memory.
    """
    names = [*table.header, *(name for name in header.columns if name.startswith(headers.METADATA))]
    empty = pl.Series("", [""], dtype=pl.String).new_from_index(0, len(cells))
    frame = pl.DataFrame(height=len(cells))
    for name in names:
        position = header.columns.get(name)
        column = empty if position is None else cells.drop_in_place(f"c{position}")
        frame.insert_column(frame.width, column.alias(name))
    return frame.insert_column(frame.width, cells.drop_in_place(LINE))
