"""A zip from a stranger, opened safely: members by name, inflated no further than the limits allow.

Nothing is written to disk and nothing is believed: the central directory is compared with the local headers, members may
not overlap, sizes are counted while inflating, and the CRC is checked. Python's zipfile before 3.11.9 accepts
overlapping members (CVE-2024-0450), so the check is ours on every Python.
"""

from __future__ import annotations

import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from rosters.findings import Findings, places

CHUNK = 1 << 20
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_JUNK_FOLDERS = ("__MACOSX",)
_JUNK_NAMES = {".DS_Store", "Thumbs.db", "desktop.ini"}
_SPREADSHEETS = (".xlsx", ".xls", ".ods", ".numbers")
_ARCHIVES = (".zip", ".7z", ".rar", ".gz", ".tgz", ".tar")

#: First bytes -> what a person calls such a file.
_LOOKS_LIKE: tuple[tuple[bytes, str], ...] = (
    (b"<!doctype", "a web page (perhaps a login page)"), (b"<html", "a web page (perhaps a login page)"),
    (b"<?xml", "an XML file"), (b"%pdf", "a PDF"), (b"\x1f\x8b", "a gzip file"), (b"7z\xbc\xaf", "a 7z archive"),
    (b"rar!", "a RAR archive"), (b"\xd0\xcf\x11\xe0", "an old Office document"), (b"{", "a JSON file"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a delivery may hold: bytes, entries, and characters of one cell."""

    zip_bytes: int = 500 * 1024**2
    total_bytes: int = 4 * 1024**3
    member_bytes: int = 3 * 1024**3
    entries: int = 60
    ratio: int = 100
    ratio_from: int = 4 * 1024**2
    cell_characters: int = 10_000


class Unsafe(Exception):
    """A member turned out to be more, or other, than it said; `code` and `detail` go into a finding."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(slots=True)
class Members:
    """The files of a delivery: name as the standard would spell it is not decided here. `read` gives the bytes of one."""

    names: list[str] = field(default_factory=list)
    read: Callable[[str], bytes] = lambda name: b""
    size: Callable[[str], int] = lambda name: 0


def open_members(path: Path, limits: Limits, findings: Findings) -> Members | None:
    """The CSV members of a zip, a folder, or of one file; None if a fatal finding was made."""
    if path.is_dir():
        return _folder(path, limits, findings)
    with path.open("rb") as file:
        head = file.read(512)
    size = path.stat().st_size
    if size == 0:
        findings.add("OR-CSV-001", effect="package", detail="It has 0 bytes.")
        return None
    if size > limits.zip_bytes:
        findings.add("OR-CSV-005", effect="package", detail=f"It has {size >> 20} MB; the limit is {limits.zip_bytes >> 20} MB.")
        return None
    if path.suffix.lower() == ".csv" and not head.startswith(b"PK\x03\x04"):
        return Members([path.name], lambda name: path.read_bytes(), lambda name: size)
    return _zip(path, head, limits, findings)


def _folder(path: Path, limits: Limits, findings: Findings) -> Members | None:
    files = {p.name: p for p in sorted(path.iterdir()) if p.is_file() and not p.is_symlink() and not _is_junk(p.name)}
    if sum(p.stat().st_size for p in files.values()) > limits.total_bytes:
        findings.add("OR-CSV-005", effect="package", detail="The folder is too large.")
        return None
    return Members(list(files), lambda name: files[name].read_bytes(), lambda name: files[name].stat().st_size)


def _zip(path: Path, head: bytes, limits: Limits, findings: Findings) -> Members | None:
    if not head.startswith(b"PK"):
        lower = head.lstrip().lower()
        likeness = next((words for start, words in _LOOKS_LIKE if lower.startswith(start)), "no zip")
        findings.add("OR-CSV-001", effect="package", detail=f"It looks like {likeness}.")
        return None
    try:
        archive = zipfile.ZipFile(path)
        entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, UnicodeDecodeError, OverflowError):
        findings.add("OR-CSV-001", effect="package", detail="It is cut off or damaged.")
        return None
    names = [e.filename for e in entries]
    if "[Content_Types].xml" in names:
        findings.add("OR-CSV-001", effect="package", detail="It is an Office document, not a zip of CSV files.")
        return None
    try:
        _judge_directory(path, archive, entries, limits)
    except Unsafe as unsafe:
        findings.add(unsafe.code, effect="package", detail=unsafe.detail)
        return None
    chosen = _choose(entries, findings)
    if chosen is None:
        return None
    if any(e.compress_type == zipfile.ZIP_STORED and e.file_size for e in chosen.values()):
        findings.add("OR-CSV-002")
    budget = [limits.total_bytes]

    def read(name: str) -> bytes:
        data = _inflate(path, chosen[name], limits, budget)
        budget[0] -= len(data)
        return data

    return Members(list(chosen), read, lambda name: chosen[name].file_size)


def _judge_directory(path: Path, archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo], limits: Limits) -> None:
    """Refuse what no honest zip has; raises Unsafe."""
    real = [e for e in entries if not e.is_dir() and not _is_junk(e.filename)]
    if len(entries) > 10 * limits.entries or len(real) > limits.entries:
        raise Unsafe("OR-CSV-005", f"It holds {len(entries)} entries.")
    if sum(e.file_size for e in entries) > limits.total_bytes or any(e.file_size > limits.member_bytes for e in entries):
        raise Unsafe("OR-CSV-005", f"Unpacked it would have {sum(e.file_size for e in entries) >> 20} MB.")
    seen: set[str] = set()
    for entry in entries:
        _judge_name(entry)
        folded = unicodedata.normalize("NFC", entry.filename).casefold()
        if folded in seen:
            raise Unsafe("OR-CSV-004", "Two entries have the same name.")
        seen.add(folded)
        if entry.flag_bits & 0x1:
            raise Unsafe("OR-CSV-001", "It is protected by a password.")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) and not entry.is_dir():
            raise Unsafe("OR-CSV-001", "It uses a compression other than deflate.")
        if entry.file_size > limits.ratio_from and entry.file_size > limits.ratio * max(entry.compress_size, 1):
            raise Unsafe("OR-CSV-005", "It is compressed beyond belief.")
    _judge_layout(path, archive, entries)


def _judge_name(entry: zipfile.ZipInfo) -> None:
    name = entry.orig_filename
    parts = PurePosixPath(name.replace("\\", "/")).parts
    bad = (
        name.startswith(("/", "\\")) or ".." in parts or ":" in name or "\\" in name or len(name) > 255
        or any(unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") for c in name)
    )  # fmt: skip
    if bad:
        raise Unsafe("OR-CSV-004", "A path leads out of the zip, or has hidden characters.")
    mode = entry.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise Unsafe("OR-CSV-004", "It holds a link or a device.")


def _judge_layout(path: Path, archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> None:
    """Local headers must say what the directory says, and the members must lie one behind the other from byte 0 on."""
    end = 0
    with path.open("rb") as file:
        for entry in sorted(entries, key=lambda e: e.header_offset):
            if entry.header_offset < end:
                raise Unsafe("OR-CSV-005", "Its entries overlap.")
            if end == 0 and entry.header_offset != 0:
                raise Unsafe("OR-CSV-001", "There is something else in front of the zip.")
            file.seek(entry.header_offset)
            raw = file.read(_LOCAL_HEADER.size)
            if len(raw) < _LOCAL_HEADER.size or raw[:4] != b"PK\x03\x04":
                raise Unsafe("OR-CSV-001", "It is cut off or damaged.")
            _, _, flags, method, _, _, _, _, _, name_length, extra_length = _LOCAL_HEADER.unpack(raw)
            local_name = file.read(name_length)
            expected = entry.orig_filename.encode("utf-8" if flags & 0x800 else "cp437", errors="replace")
            if local_name != expected or method != entry.compress_type:
                raise Unsafe("OR-CSV-001", "Its directory and its contents disagree.")
            end = entry.header_offset + _LOCAL_HEADER.size + name_length + extra_length + entry.compress_size
        if end > archive.start_dir:
            raise Unsafe("OR-CSV-005", "Its entries overlap.")
        if archive.start_dir - end > 4096:
            raise Unsafe("OR-CSV-001", "There are bytes in it that belong to no file.")
        if entries and path.stat().st_size - archive.start_dir > 65536 + 1024 * len(entries):
            raise Unsafe("OR-CSV-001", "There is something else behind the zip.")


def _is_junk(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return bool(parts) and (parts[0] in _JUNK_FOLDERS or parts[-1] in _JUNK_NAMES or parts[-1].startswith("._"))


def _choose(entries: list[zipfile.ZipInfo], findings: Findings) -> dict[str, zipfile.ZipInfo] | None:
    """Members by name without the one folder that all may lie in; what is no CSV is named and left."""
    files = [e for e in entries if not e.is_dir()]
    junk = [e.filename for e in files if _is_junk(e.filename)]
    if junk:
        findings.add("OR-CSV-008", severity="info", places=places([None] * len(junk), junk))
    files = [e for e in files if not _is_junk(e.filename)]
    tops = {PurePosixPath(e.filename).parts[0] for e in files if "/" in e.filename}
    if tops:
        findings.add("OR-CSV-003", detail="They were read from there." if len(tops) == 1 else "There are several folders.")
    strip = f"{next(iter(tops))}/" if len(tops) == 1 and all("/" in e.filename for e in files) else ""
    chosen: dict[str, zipfile.ZipInfo] = {}
    for entry in files:
        name = entry.filename.removeprefix(strip)
        low = name.lower()
        if low.endswith(_SPREADSHEETS + _ARCHIVES):
            findings.add("OR-CSV-011", places=places([None], [name]))
        elif "/" in name or not low.endswith(".csv"):
            findings.add("OR-CSV-008", places=places([None], [name]))
        else:
            chosen[name] = entry
    return chosen


def _inflate(path: Path, entry: zipfile.ZipInfo, limits: Limits, budget: list[int]) -> bytes:
    """The bytes of one member, counted while they come; raises Unsafe."""
    allowed = min(budget[0], limits.member_bytes, entry.file_size)
    parts: list[bytes] = []
    have, crc = 0, 0
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        header = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        file.seek(header[9] + header[10], 1)
        left = entry.compress_size
        engine = zlib.decompressobj(-15) if entry.compress_type == zipfile.ZIP_DEFLATED else None
        try:
            while left > 0:
                raw = file.read(min(CHUNK, left))
                if not raw:
                    raise Unsafe("OR-CSV-001", "It is cut off.")
                left -= len(raw)
                data = engine.decompress(raw, allowed - have + 1) if engine else raw
                have += len(data)
                if have > allowed or engine and engine.unconsumed_tail:
                    raise Unsafe("OR-CSV-005", "A file is larger than it says.")
                crc = zlib.crc32(data, crc)
                parts.append(data)
        except zlib.error:
            raise Unsafe("OR-CSV-001", "It is damaged.") from None
    if have != entry.file_size or crc != entry.CRC or engine and not engine.eof:
        raise Unsafe("OR-CSV-001", "It is cut off or damaged: a check sum does not fit.")
    return b"".join(parts)
