"""Bytes to UTF-8 with plain line ends, piece by piece. Another encoding is only ever chosen by a person: a wrong guess
would change names silently. Rules OR-CSV-040 to 042 and 047."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from itertools import chain

from rosters.findings import Findings
from rosters.reading.archive import Damaged

#: What a person may choose for a district that cannot export UTF-8.
ENCODINGS = {"windows-1252": "cp1252", "latin-1": "latin-1", "utf-16": "utf-16", "utf-32": "utf-32"}

#: Longer marks first: that of UTF-32 begins like that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HEAD = 400


def as_utf8(pieces: Iterator[bytes], file: str, encoding: str, findings: Findings) -> Iterator[bytes]:
    """The same text as UTF-8 without a byte order mark. `encoding`: "" or a key of `ENCODINGS`.

    Raises `Damaged` for UTF-16 or UTF-32 that nobody chose, and for bytes that the chosen encoding does not know. Bytes
    that are not UTF-8 pass: `lines` names them one by one.
    """
    first = next(pieces, b"")
    wide = _wide(first)
    if first.startswith(codecs.BOM_UTF8):
        findings.add("OR-CSV-041", file)
        return chain([first.removeprefix(codecs.BOM_UTF8)], pieces)
    if wide and wide != encoding:
        raise Damaged("OR-CSV-042", f"It looks like {wide.upper()}.", 1)
    if not encoding or (encoding.startswith("utf-") and not wide):
        return chain([first], pieces)
    return _recoded(chain([first], pieces), encoding)


def _wide(head: bytes) -> str:
    """The encoding of two or four bytes a letter that a file with this beginning has, or ""."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    head = head[:_HEAD]
    zeros = head.count(b"\0") / max(1, len(head))
    return "utf-32" if zeros > 0.6 else "utf-16" if zeros > 0.25 else ""


def _codec(encoding: str, head: bytes) -> str:
    """Python's name of the encoding of a file that begins so. Without a mark, the side on which the zeros of its plain
    letters stand tells the order of bytes."""
    if not encoding.startswith("utf-") or any(head.startswith(mark) for mark, _ in _MARKS):
        return ENCODINGS[encoding]
    width = 4 if encoding == "utf-32" else 2
    head = head[:_HEAD]
    return f"{encoding}-{'be' if head[::width].count(0) > head[width - 1 :: width].count(0) else 'le'}"


def _recoded(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    first = next(pieces, b"")
    decoder = codecs.getincrementaldecoder(_codec(encoding, first))("strict")
    offset = 0
    line = 1
    for piece in chain([first], pieces, [None]):
        try:
            text = decoder.decode(piece or b"", final=piece is None)
        except UnicodeDecodeError as error:
            line += (piece or b"")[: error.start].count(b"\n")
            message = f"Byte {offset + error.start:,} is not {encoding} either."
            raise Damaged("OR-CSV-040", message, line) from None
        offset += len(piece or b"")
        line += text.count("\n")
        yield text.encode("utf-8", "surrogatepass")


def likely(line: bytes) -> str:
    """What bytes that are not UTF-8 probably are: 80 to 9F are quotes, dashes and the euro in Windows-1252 and nothing
    that can be printed in Latin-1."""
    return "Windows-1252" if any(0x80 <= byte <= 0x9F for byte in line) else "Windows-1252 or Latin-1"


def with_line_feeds(pieces: Iterator[bytes], file: str, findings: Findings) -> Iterator[bytes]:
    """The same with LF where every line ends with CR alone; says which line ends there are (rule 047)."""
    first = next(pieces, b"")
    if b"\n" not in first and b"\r" in first:
        findings.add("OR-CSV-047", file, severity="error", detail="Its lines end with CR alone.")
        return (piece.replace(b"\r", b"\n") for piece in chain([first], pieces))
    if b"\n" in first and b"\r\n" not in first:
        findings.add("OR-CSV-047", file, detail="Its lines end with LF alone.")
    return chain([first], pieces)
