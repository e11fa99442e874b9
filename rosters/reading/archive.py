"""What was sent: a zip archive, a folder or one CSV file, opened as named streams of bytes.

Nothing is ever unpacked to disk and no name from an archive becomes a path. zipfile reads the directory; what
it lets pass (overlapping entries, two directories, bytes that belong to nothing, local headers that tell another
story, sizes that lie) is checked here, and members are inflated by our own loop, which counts.
Rules OR-CSV-001 to 006 and what an operating system leaves behind (008).
"""

from __future__ import annotations

import re
import stat
import struct
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise, takewhile
from pathlib import Path, PurePosixPath
from typing import IO

import polars as pl
from isal import igzip_lib, isal_zlib

from rosters.findings import Findings, places
from rosters.reading.limits import Limits

PIECE = 4 << 20
_PACKED_PIECE = 1 << 18

_END = b"PK\x05\x06"
_END64 = b"PK\x06\x06"
_LOCATOR64 = b"PK\x06\x07"
_LOCAL = b"PK\x03\x04"
_END_SIZE = 22
_LOCAL_SIZE = 30
_LONGEST_COMMENT = 0xFFFF
#: The longest directory entry that can be: its own bytes, a name, extra fields, a comment.
_LONGEST_ENTRY = 46 + 3 * 0xFFFF
#: A data descriptor: a signature, a CRC and two 8-byte sizes.
_LONGEST_DESCRIPTOR = 24
#: A number that does not fit and stands in the zip64 record instead.
_SEE_64_SHORT = 0xFFFF
_SEE_64 = 0xFFFFFFFF

_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
_DESCRIPTOR = 0x0008
_UTF8_NAME = 0x0800
_TELLING = _ENCRYPTED | _DESCRIPTOR | _UTF8_NAME
_AES = 99
_METHODS = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "xz", 98: "PPMd"}

#: How a file begins, and what it then is.
_LOOKS = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls)"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip file (.gz)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive (.7z)"),
    (b"Rar!", "a RAR archive (.rar)"),
    (b"BZh", "a bzip2 file (.bz2)"),
    (b"\xfd7zXZ", "an xz file (.xz)"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file (.zst)"),
    (b"{\\rtf", "a rich text document"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"-----BEGIN PGP", "a PGP-encrypted file"),
)

#: How a page of a pull is called: its collection and its number (`rosters.reading.pages`).
PAGE = re.compile(r"(?P<collection>[A-Za-z]{1,40})-(?P<number>[0-9]{6})\.json")

_JUNK_NAMES = ("thumbs.db", "desktop.ini", ".ds_store")


class Damaged(Exception):
    """The bytes are not what they claim to be. `code` is the rule, the text says what was seen, in which `line`."""

    def __init__(self, code: str, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.line = line


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a delivery. `pieces()` yields its bytes anew at each call, at most `PIECE` at a time; it raises
    `Damaged` where they are not what the archive promised."""

    name: str
    size: int
    pieces: Callable[[], Iterator[bytes]]


def looks_like(head: bytes) -> str:
    """What a file that begins with `head` seems to be ("a PDF document"), or "" where nothing is known."""
    for magic, what in _LOOKS:
        if head.startswith(magic):
            return what
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "a web page (HTML), perhaps a login page"
    if text.startswith(b"<?xml"):
        return "an XML document"
    if text.startswith((b"{", b"[{")):
        return "a JSON document"
    return ""


def is_junk(name: str) -> bool:
    """Whether an operating system left this behind."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or (bool(parts) and (parts[-1].lower() in _JUNK_NAMES or parts[-1].startswith("._")))


@contextmanager
def opened(path: Path, limits: Limits, findings: Findings) -> Iterator[list[Member]]:
    """The files of the delivery at `path`; none, and a fatal finding, where it cannot be opened safely."""
    if path.is_dir():
        yield _within(limits, _folder(path, findings), findings)
        return
    with path.open("rb") as file:
        head = file.read(512)
        if path.suffix.lower() == ".csv":
            yield _within(limits, [_plain_file(path)], findings)
        else:
            yield _Zip(path, file, head, limits, findings).members()


def _within(limits: Limits, members: list[Member], findings: Findings) -> list[Member]:
    """Plain files, unless they are more, or larger, than a zip may hold."""
    try:
        _check_amount(limits, [member.name for member in members], sum(member.size for member in members))
    except Damaged as damage:
        _refuse(damage, findings)
        return []
    return members


def _check_amount(limits: Limits, names: list[str], size: int) -> None:
    pages = sum(PAGE.fullmatch(name.rsplit("/", 1)[-1]) is not None for name in names)
    files = len(names) - pages
    if pages > limits.pages:
        raise Damaged("OR-CSV-005", f"It holds {pages:,} pages; at most {limits.pages:,} are taken.")
    if files > limits.entries:
        raise Damaged("OR-CSV-005", f"It holds {files:,} files; at most {limits.entries:,} are taken.")
    if size > limits.unpacked:
        raise Damaged("OR-CSV-005", f"Its files have {size:,} bytes; at most {limits.unpacked:,} are taken.")


def _refuse(damage: Damaged, findings: Findings) -> None:
    findings.add(damage.code, severity="fatal", detail=str(damage), effect="package")


def _folder(path: Path, findings: Findings) -> list[Member]:
    entries = sorted(path.iterdir())
    junk = [entry.name for entry in entries if is_junk(entry.name)]
    _name_junk(findings, junk)
    folders = [entry.name for entry in entries if not entry.is_file() and not is_junk(entry.name)]
    if folders:
        findings.add("OR-CSV-008", places=named(folders), detail="What lies in folders is not read.")
    return [_plain_file(entry) for entry in entries if entry.is_file() and not is_junk(entry.name)]


def _plain_file(path: Path) -> Member:
    def pieces() -> Iterator[bytes]:
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece

    return Member(path.name, path.stat().st_size, pieces)


def named(names: list[str]) -> pl.DataFrame:
    """Places that have a name and no line."""
    return places([None] * len(names), names)


def _name_junk(findings: Findings, names: list[str]) -> None:
    if names:
        detail = "The operating system left them behind; they are not read."
        findings.add("OR-CSV-008", places=named(names), severity="info", detail=detail)


@dataclass(frozen=True, slots=True)
class _Directory:
    start: int
    entries: int


class _Zip:
    """One archive under examination: `members` hands out its files, or none after a fatal finding."""

    def __init__(self, path: Path, file: IO[bytes], head: bytes, limits: Limits, findings: Findings) -> None:
        self.path = path
        self.file = file
        self.head = head
        self.limits = limits
        self.findings = findings
        self.size = file.seek(0, 2)

    def members(self) -> list[Member]:
        try:
            self._check_beginning()
            directory = self._find_directory()
            infos = self._entries(directory)
            self._check_layout(infos, directory)
        except Damaged as damage:
            _refuse(damage, self.findings)
            return []
        return self._named_files(infos)

    def _check_beginning(self) -> None:
        if self.size == 0:
            raise Damaged("OR-CSV-001", "The file is empty (0 bytes).")
        if self.size > self.limits.packed:
            raise Damaged("OR-CSV-005", f"It has {self.size:,} bytes; at most {self.limits.packed:,} are taken.")
        if not self.head.startswith((_LOCAL, _END)):
            seen = looks_like(self.head)
            raise Damaged("OR-CSV-001", f"It looks like {seen}." if seen else "It does not begin like a zip archive.")

    def _find_directory(self) -> _Directory:
        """The one end record, and where it says that the directory lies."""
        tail_start = max(0, self.size - _END_SIZE - _LONGEST_COMMENT)
        self.file.seek(tail_start)
        tail = self.file.read()
        found = tail.rfind(_END)
        if found < 0:
            raise Damaged("OR-CSV-001", "It breaks off: its end is missing. It was probably not sent whole.")
        if len(tail) - found < _END_SIZE:
            raise Damaged("OR-CSV-001", "It breaks off in the middle of its last record.")
        disk, start_disk, here, total, length, start, comment = struct.unpack("<4H2LH", tail[found + 4 : found + 22])
        end = tail_start + found
        if end + _END_SIZE + comment != self.size:
            raise Damaged("OR-CSV-001", "There are bytes after its end that belong to nothing.")
        if disk or start_disk or here != total:
            raise Damaged("OR-CSV-001", "It is one part of an archive in several parts.")
        directory_end = end
        if total == _SEE_64_SHORT or _SEE_64 in (length, start):
            directory_end, total, length, start = self._find_directory64(end)
        most = self.limits.all_entries + self.limits.pages
        if total > most or length > total * _LONGEST_ENTRY:
            raise Damaged("OR-CSV-005", f"It lists {total:,} entries; at most {most:,} are taken.")
        if start + length != directory_end:
            raise Damaged("OR-CSV-001", "There are bytes in it that belong to nothing.")
        self.file.seek(start)
        if self.file.read().count(_END) != 1:
            raise Damaged("OR-CSV-001", "It has two ends: two archives in one file.")
        return _Directory(start, total)

    def _find_directory64(self, end: int) -> tuple[int, int, int, int]:
        self.file.seek(max(0, end - 20))
        signature, disk, where, disks = struct.unpack("<4sLQL", self.file.read(20))
        record = b""
        if signature == _LOCATOR64 and not disk and disks <= 1 and where < end:
            self.file.seek(where)
            record = self.file.read(end - 20 - where) if end - 20 - where == 56 else b""
        if not record.startswith(_END64):
            raise Damaged("OR-CSV-001", "Its end contradicts itself (zip64).")
        total, length, start = struct.unpack("<QQQ", record[32:56])
        return where, total, length, start

    def _entries(self, directory: _Directory) -> list[zipfile.ZipInfo]:
        try:
            self.file.seek(0)
            infos = zipfile.ZipFile(self.file).infolist()
        except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, OverflowError) as error:
            raise Damaged("OR-CSV-001", "Its directory cannot be read.") from error
        if len(infos) != directory.entries:
            raise Damaged("OR-CSV-001", f"It announces {directory.entries} entries and lists {len(infos)}.")
        for info in infos:
            self._check_entry(info)
        self._check_amount(infos)
        return infos

    def _check_entry(self, info: zipfile.ZipInfo) -> None:
        limits = self.limits
        if info.flag_bits & _ENCRYPTED or info.compress_type == _AES:
            raise Damaged("OR-CSV-001", "It is encrypted; send it without a password.")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            method = _METHODS.get(info.compress_type, f"method {info.compress_type}")
            raise Damaged("OR-CSV-002", f"It is packed with {method}; only deflate is taken.")
        if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
            raise Damaged("OR-CSV-005", "A file in it does not have the size that the archive says.")
        if info.file_size > limits.ratio_from and info.file_size > limits.ratio * info.compress_size:
            raise Damaged("OR-CSV-005", f"A file in it unpacks to more than {limits.ratio} times its size.")

    def _check_amount(self, infos: list[zipfile.ZipInfo]) -> None:
        files = [info.filename for info in infos if not info.is_dir() and not is_junk(info.filename)]
        _check_amount(self.limits, files, sum(info.file_size for info in infos))

    def _check_layout(self, infos: list[zipfile.ZipInfo], directory: _Directory) -> None:
        """Every byte belongs to exactly one entry, and each local header agrees with the directory."""
        ordered = sorted(infos, key=lambda info: info.header_offset)
        starts = [info.header_offset for info in ordered] + [directory.start]
        if starts[0] != 0:
            raise Damaged("OR-CSV-001", "There are bytes before its beginning that belong to nothing.")
        for info, (_, next_start) in zip(ordered, pairwise(starts), strict=True):
            gap = next_start - self._end_of(info)
            if gap < 0:
                raise Damaged("OR-CSV-005", "Entries overlap: the same bytes are used twice.")
            if gap > (_LONGEST_DESCRIPTOR if info.flag_bits & _DESCRIPTOR else 0):
                raise Damaged("OR-CSV-001", "There are bytes between its files that belong to nothing.")

    def _end_of(self, info: zipfile.ZipInfo) -> int:
        """Where the packed bytes of an entry end, after its own header was compared with the directory."""
        self.file.seek(info.header_offset)
        header = self.file.read(_LOCAL_SIZE)
        if len(header) < _LOCAL_SIZE or not header.startswith(_LOCAL):
            raise Damaged("OR-CSV-001", "An entry does not begin where the directory says.")
        _, flags, method, _, _, crc, packed, unpacked, name_length, extra_length = struct.unpack("<5H3L2H", header[4:])
        name = self.file.read(name_length)
        extra = self.file.read(extra_length)
        same = (
            name == info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8_NAME else "cp437", "replace")
            and method == info.compress_type
            and flags & _TELLING == info.flag_bits & _TELLING
        )
        if not flags & _DESCRIPTOR:
            if _SEE_64 in (packed, unpacked):
                unpacked, packed = _sizes64(extra, unpacked, packed)
            same = same and (crc, packed, unpacked) == (info.CRC, info.compress_size, info.file_size)
        if not same:
            raise Damaged("OR-CSV-001", "The directory and an entry's own header contradict each other.")
        return info.header_offset + _LOCAL_SIZE + len(name) + len(extra) + info.compress_size

    def _named_files(self, infos: list[zipfile.ZipInfo]) -> list[Member]:
        unsafe = [_escaped(info.orig_filename) for info in infos if not _is_safe(info, self.limits)]
        if unsafe:
            self.findings.add("OR-CSV-004", places=named(unsafe), effect="package")
            return []
        files = [info for info in infos if not info.is_dir()]
        _name_junk(self.findings, [info.filename for info in files if is_junk(info.filename)])
        files = [info for info in files if not is_junk(info.filename)]
        stored = [info.filename for info in files if info.compress_type == zipfile.ZIP_STORED and info.file_size]
        if stored:
            self.findings.add("OR-CSV-002", places=named(stored), detail="Stored without compression: accepted.")
        names = self._without_folder([info.filename for info in files])
        twins = self._find_twins(names)
        return [
            self._member(info, name)
            for info, name in zip(files, names, strict=True)
            if "/" not in name and name not in twins
        ]

    def _without_folder(self, names: list[str]) -> list[str]:
        """The names at the root. One folder around everything, however deep, is taken off; files that lie deeper still
        are named."""
        around = _common_folder(names)
        if around:
            detail = "All files lie in one folder; they were read from there."
            self.findings.add("OR-CSV-003", places=named([around]), detail=detail)
            names = [name.removeprefix(around) for name in names]
        deep = [name for name in names if "/" in name]
        if deep:
            detail = "These files lie in folders and were not read."
            self.findings.add("OR-CSV-003", places=named(deep), detail=detail, effect="table")
        return names

    def _find_twins(self, names: list[str]) -> set[str]:
        """Names that two entries claim, also in another case or Unicode form: nobody can say which one counts."""
        forms = Counter(unicodedata.normalize("NFC", name) for name in names)
        folded = Counter(unicodedata.normalize("NFC", name).casefold() for name in names)
        same = sorted(name for name, count in forms.items() if count > 1)
        twins = {name for name in names if folded[unicodedata.normalize("NFC", name).casefold()] > 1}
        if same:
            self.findings.add("OR-CSV-004", places=named(same), detail="One path occurs twice.", effect="package")
        if twins:
            detail = "Which one counts cannot be told; none was read."
            self.findings.add("OR-CSV-006", places=named(sorted(twins)), detail=detail, effect="table")
        return twins

    def _member(self, info: zipfile.ZipInfo, name: str) -> Member:
        return Member(name, info.file_size, lambda: self._unpacked(info))

    def _unpacked(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """The bytes of an entry, counted against what the archive promised while they come."""
        crc = size = 0
        with self.path.open("rb") as file:
            file.seek(info.header_offset + _LOCAL_SIZE - 4)
            file.seek(sum(struct.unpack("<2H", file.read(4))), 1)
            packed = _packed_pieces(file, info.compress_size)
            for piece in packed if info.compress_type == zipfile.ZIP_STORED else _inflated(packed):
                size += len(piece)
                crc = isal_zlib.crc32(piece, crc)
                if size > info.file_size:
                    raise Damaged("OR-CSV-005", "A file in it is larger than the archive says.")
                yield piece
        if size != info.file_size or crc != info.CRC:
            raise Damaged("OR-CSV-001", "A file in it is damaged: its checksum does not fit.")


def _common_folder(names: list[str]) -> str:
    """The folder in which all of these files lie, with the slash at its end; "" for none."""
    parts = [name.split("/")[:-1] for name in names]
    common = list(takewhile(lambda same: len(set(same)) == 1, zip(*parts, strict=False)))
    return "".join(f"{same[0]}/" for same in common)


def _sizes64(extra: bytes, unpacked: int, packed: int) -> tuple[int, int]:
    """The true sizes from a local header's zip64 field; the given ones where it has none."""
    while len(extra) >= 4:
        kind, length = struct.unpack("<2H", extra[:4])
        if kind == 1 and len(extra) >= 20 <= length + 4:
            unpacked, packed = struct.unpack("<2Q", extra[4:20])
        extra = extra[4 + length :]
    return unpacked, packed


def _is_safe(info: zipfile.ZipInfo, limits: Limits) -> bool:
    """Whether an entry is a plain file or folder whose name stays inside and reads as what it is (rule 004)."""
    name = info.orig_filename
    return (
        stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)
        and len(name) <= limits.name
        and not any(part in ("", ".", "..") for part in name.removesuffix("/").split("/"))
        and not any(mark in name for mark in "\\:")
        and not any(unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp") for letter in name)
    )


def _escaped(name: str) -> str:
    return name[:80].encode("unicode_escape").decode("ascii")


def _packed_pieces(file: IO[bytes], size: int) -> Iterator[bytes]:
    while size and (piece := file.read(min(_PACKED_PIECE, size))):
        size -= len(piece)
        yield piece


def _inflated(packed: Iterator[bytes]) -> Iterator[bytes]:
    """Inflate, never more than `PIECE` bytes at a time; anything after the end of the stream is damage."""
    inflater = isal_zlib.decompressobj(-isal_zlib.MAX_WBITS)
    try:
        for piece in packed:
            while piece and not inflater.eof:
                if out := inflater.decompress(piece, PIECE):
                    yield out
                piece = inflater.unconsumed_tail
            if inflater.eof and (piece or inflater.unused_data):
                raise Damaged("OR-CSV-001", "A file in it is damaged: it goes on after its end.")
        if not inflater.eof:
            yield inflater.flush()
    except igzip_lib.IsalError as error:  # type: ignore[misc]  # its stub says an instance
        raise Damaged("OR-CSV-001", "A file in it is damaged.") from error
    if not inflater.eof:
        raise Damaged("OR-CSV-001", "A file in it is damaged: it breaks off.")
