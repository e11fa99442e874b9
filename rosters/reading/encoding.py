"""Bytes to UTF-8 text that a CSV reader may see, or the finding that says why not."""

from __future__ import annotations

import codecs

from rosters.findings import Findings, places

#: What a person may choose for a district that cannot export UTF-8.
ENCODINGS = {"windows-1252": "cp1252", "latin-1": "latin-1", "utf-16": "utf-16"}
_BOM = codecs.BOM_UTF8


def as_utf8(data: bytes, file: str, encoding: str, findings: Findings) -> bytes | None:
    """The same text in UTF-8 without a byte order mark; None (and a fatal finding) if it cannot be told.

    `encoding` "" is UTF-8. Another encoding is only ever chosen by a person: guessing wrong would change names silently.
    """
    if encoding:
        return _chosen(data, file, ENCODINGS[encoding], findings)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)):
        findings.add("OR-CSV-042", file, effect="package", places=places([1], [""]), detail="It looks like UTF-16 or UTF-32.")
        return None
    if b"\0" in data:
        at = data.index(b"\0")
        likely = "It looks like UTF-16." if data[:400].count(b"\0") > min(len(data), 400) // 4 else f"The first is byte {at + 1}."
        findings.add("OR-CSV-042", file, effect="package", places=places([_line(data, at)], [""]), detail=likely)
        return None
    if data.startswith(_BOM):
        findings.add("OR-CSV-041", file)
        data = data[len(_BOM) :]
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        findings.add(
            "OR-CSV-040", file, effect="package", places=places([_line(data, error.start)], [""]),
            detail=f"Byte {error.start + 1} is not UTF-8; it looks like {_likely(data)}.",
        )  # fmt: skip
        return None
    return data


def _chosen(data: bytes, file: str, encoding: str, findings: Findings) -> bytes | None:
    try:
        return data.decode(encoding).removeprefix("\ufeff").encode()
    except UnicodeDecodeError as error:
        findings.add(
            "OR-CSV-040", file, effect="package", places=places([_line(data, error.start)], [""]),
            detail=f"Byte {error.start + 1} is not {encoding} either.",
        )  # fmt: skip
        return None


def _line(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1


def _likely(data: bytes) -> str:
    """Windows-1252 uses the bytes 80 to 9F for quotes, dashes and the euro; Latin-1 has nothing printable there."""
    return "Windows-1252" if any(0x80 <= byte <= 0x9F for byte in data[: 1 << 22]) else "Latin-1 or Windows-1252"
