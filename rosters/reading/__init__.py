"""Bytes to frames, with line numbers: a zip, a folder, or one CSV file.

`read` takes whatever a stranger sends and never raises for it: every fault is a finding, and only rows that are proved
read (`lines`) come out. Memory is bounded by the limits on a member; members are read one after the other.

A set without a manifest breaks the standard (OR-CSV-009, fatal). It is read all the same where its columns say which
version it is, so that the district learns everything that is wrong at once; as a delivery it is still refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl

from rosters.findings import Findings, places
from rosters.frames import LINE, Delivered, DeliveredTable, Progress, silent, type_mode
from rosters.oneroster import VERSIONS
from rosters.oneroster.spec import Table, Version
from rosters.reading import headers, manifest
from rosters.reading.archive import Limits, Members, Unsafe, open_members
from rosters.reading.encoding import as_utf8
from rosters.reading.lines import cells_of, physical_lines, read_rows

__all__ = ["Limits", "read"]

MANIFEST = manifest.FILE


def read(
    path: Path,
    *,
    encoding: str = "",
    version: str = "",
    limits: Limits | None = None,
    overrides: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> Delivered:
    """Read the delivery at `path`. `encoding` "" is UTF-8, else a key of `encoding.ENCODINGS`; `version` is believed before
    the manifest. Raises OSError only if the path cannot be opened."""
    limits = limits or Limits()
    findings = Findings(overrides=dict(overrides or {}))
    progress("reading", 0.0, 0)
    members = open_members(path, limits, findings)
    if members is None:
        return Delivered(False, version, {}, {}, findings)
    try:
        return _read(path, members, encoding, version, limits, findings, progress)
    except Unsafe as unsafe:
        findings.add(unsafe.code, effect="package", detail=unsafe.detail)
        return Delivered(False, version, {}, {}, findings)


def _read(
    path: Path, members: Members, encoding: str, version: str, limits: Limits, findings: Findings, progress: Progress
) -> Delivered:
    single = path.is_file() and len(members.names) == 1 and path.suffix.lower() == ".csv"
    spelled = _spell(members.names, findings)
    properties: dict[str, str] = {}
    if MANIFEST in spelled:
        data = as_utf8(members.read(spelled[MANIFEST]), MANIFEST, encoding, findings)
        known = manifest.read_manifest(data, findings) if data is not None else None
        if known is None:
            return Delivered(False, version, {}, {}, findings)
        properties = known
        version = version or manifest.version_of(properties, findings)
    else:
        version = version or _guess_version(members, spelled, findings)
        if not single:
            effect = "none" if version and path.is_dir() else "package"
            severity = "error" if version and path.is_dir() else None
            findings.add("OR-CSV-009", MANIFEST, effect=effect, severity=severity)  # type: ignore[arg-type]
            if version:
                findings.add("OR-CSV-010", detail=f"It was read as {version}.")
    if not version:
        return Delivered(False, "", {}, properties, findings)
    standard = VERSIONS[version]
    present = [name for name in standard.tables if f"{name}.csv" in spelled]
    _judge_files(standard, spelled, findings)
    if properties:
        manifest.judge(properties, version, present, findings)
    if not present and not properties:
        findings.add("OR-CSV-015", effect="package", detail="None of the standard's files is there.")
        return Delivered(False, version, {}, properties, findings)
    tables = _read_tables(members, spelled, standard, present, properties, encoding, limits, findings, progress)
    readable = not any(f.effect == "package" and f.severity == "fatal" for f in findings)
    return Delivered(readable, version, tables, properties, findings)


def _spell(names: list[str], findings: Findings) -> dict[str, str]:
    """Standard file name -> member, a spelling that differs in case forgiven and reported."""
    standard = {f"{t}.csv".lower(): f"{t}.csv" for v in VERSIONS.values() for t in v.tables} | {MANIFEST: MANIFEST}
    spelled: dict[str, str] = {}
    for name in names:
        right = standard.get(name.lower())
        if right is None:
            findings.add("OR-CSV-008", places=places([None], [name[:80]]))
        elif right in spelled:
            findings.add("OR-CSV-006", right)
        else:
            if right != name:
                findings.add("OR-CSV-007", right, places=places([None], [name[:80]]), detail=f"It should be {right}.")
            spelled[right] = name
    return spelled


def _guess_version(members: Members, spelled: dict[str, str], findings: Findings) -> str:
    """Without a manifest: the version whose headers the files have; "" if they have neither's."""
    if "roles.csv" in spelled or "userProfiles.csv" in spelled:
        order = ("1.2", "1.1")
    else:
        order = ("1.1", "1.2")
    best, votes = "", 0
    for number in order:
        score = 0
        for table in VERSIONS[number].tables.values():
            if table.file in spelled:
                first = members.read(spelled[table.file])[:4096].split(b"\n", 1)[0].decode("utf-8-sig", "replace")
                found = cells_of(first.strip()) or []
                score += 1 if sum(c in found for c in table.header) > len(table.header) * 0.6 else -1
        if score > votes:
            best, votes = number, score
    return best


def _judge_files(standard: Version, spelled: dict[str, str], findings: Findings) -> None:
    for file in spelled:
        name = file.removesuffix(".csv")
        if file != MANIFEST and name not in standard.tables:
            findings.add("OR-CSV-014", file)


def _read_tables(
    members: Members, spelled: dict[str, str], standard: Version, present: list[str], properties: dict[str, str],
    encoding: str, limits: Limits, findings: Findings, progress: Progress,
) -> dict[str, DeliveredTable]:  # fmt: skip
    """Read every table; the next member is inflated while the last one is parsed."""
    sizes = {name: members.size(spelled[f"{name}.csv"]) for name in present}
    whole = sum(sizes.values()) or 1
    order = sorted(present, key=lambda name: sizes[name])
    tables: dict[str, DeliveredTable] = {}
    done, rows = 0, 0
    with ThreadPoolExecutor(1) as pool:
        coming = [pool.submit(members.read, spelled[f"{name}.csv"]) for name in order[:2]]
        for index, name in enumerate(order):
            data = coming.pop(0).result()
            if index + 2 < len(order):
                coming.append(pool.submit(members.read, spelled[f"{order[index + 2]}.csv"]))
            declared = properties.get(f"file.{name}", "")
            table = _read_table(data, standard.tables[name], declared, encoding, limits, findings)
            del data
            if table is not None:
                tables[name] = table
                rows += len(table.frame)
            done += sizes[name]
            progress("reading", done / whole, rows)
    return {name: tables[name] for name in present if name in tables}


def _read_table(
    data: bytes, table: Table, declared: str, encoding: str, limits: Limits, findings: Findings
) -> DeliveredTable | None:
    """One file. None if it cannot be read at all: then a finding with an effect on the package says why."""
    digest = hashlib.sha256(data).hexdigest()
    text = as_utf8(data, table.file, encoding, findings)
    del data
    if text is None:
        return None
    if not text.strip():
        findings.add("OR-CSV-050", table.file, effect="package")
        return None
    if b"\n" not in text and b"\r" in text:
        findings.add("OR-CSV-047", table.file, severity="error", detail="Lines end with CR alone.")
        text = text.replace(b"\r", b"\n")
    elif b"\r\n" not in text:
        findings.add("OR-CSV-047", table.file)
    lines = physical_lines(text)
    del text
    found = cells_of(lines.text[0])
    if found is None or len(found) == 1 and (other := _separator(lines.text[0])):
        detail = f"They are separated by {other}." if found is not None else "The header has a stray quotation mark."
        findings.add("OR-CSV-046" if found is not None else "OR-CSV-043", table.file, severity="fatal", effect="package",
                     places=places([1], [""]), detail=detail)  # fmt: skip
        return None
    header = headers.judge(found, table, findings)
    if header is None:
        return None
    frame, unread = read_rows(lines, len(found), table.file, header.names, limits.cell_characters, findings)
    if not len(frame) and not len(unread):
        findings.add("OR-CSV-049", table.file)
    frame = _standard(frame, table)
    return DeliveredTable(table.name, _mode(frame, table, declared, findings), frame, tuple(found), digest, unread)


_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def _separator(line: str) -> str:
    return next((words for mark, words in _SEPARATORS.items() if line.count(mark) >= 2), "")


def _standard(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Every standard column in the standard's order (missing ones empty), then metadata, then LINE."""
    metadata = [c for c in frame.columns if c.startswith(headers.METADATA_PREFIX)]
    return frame.select(
        *(pl.col(c) if c in frame.columns else pl.lit("").alias(c) for c in table.header), *metadata, pl.col(LINE)
    )


def _mode(frame: pl.DataFrame, table: Table, declared: str, findings: Findings) -> type_mode:
    """Bulk or delta. The data decide: only a file whose every row has status and dateLastModified, and that is declared
    delta or not at all, or declared bulk with a row to be deleted, is delta (OR-CSV-031)."""
    if not len(frame):
        return "delta" if declared == "delta" else "bulk"
    filled = frame.select(both=((pl.col("status") != "") & (pl.col("dateLastModified") != "")).sum())["both"][0]
    if declared == "delta" and filled < len(frame) and filled == 0:
        findings.add("OR-CSV-031", table.file, detail="Declared delta, but the rows look like bulk. It was kept as delta: a person decides.")
        return "delta"
    if declared == "bulk" and filled:
        findings.add("OR-CSV-031", table.file, detail="Declared bulk, but status and dateLastModified are filled.")
    if declared:
        return "delta" if declared == "delta" else "bulk"
    return "delta" if filled == len(frame) else "bulk"
