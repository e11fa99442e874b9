"""Small repairs of a set of CSV files, offered to the people who sent it and never made for them in silence.

Only what changes no value: how text is encoded, how files, columns and true or false are spelled, where things stand.
A file that is broken in any other way is left as it is.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from rosters.oneroster import VERSIONS
from rosters.oneroster.spec import Table

#: The rules whose breaches may be mended here.
MENDS: Final = frozenset(f"OR-CSV-{n:03}" for n in (3, 7, 40, 41, 42, 61, 62, 67, 69, 106))

#: What was changed where the files lay in a folder of the zip: reading them has taken it off.
LIFTED: Final = "The files were taken out of the folder around them."

_MANIFEST: Final = "manifest.csv"
#: Every file name that some version knows, by its lower-case form.
_FILES: Final = {
    table.file.lower(): table.file for version in VERSIONS.values() for table in version.tables.values()
} | {_MANIFEST: _MANIFEST}
#: true or false in other letters than small ones.
_SHOUTED: Final = re.compile(r"\b(?!true\b|false\b)(?i:true|false)\b")
#: Longer marks first: that of UTF-32 begins like that of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class _Ragged(Exception):
    """A row has more or fewer cells than the header: nobody knows which cell is which."""


def repaired(files: Mapping[str, bytes]) -> tuple[dict[str, bytes], list[str]]:
    """The files with what can be mended mended, by their new names, and a sentence for everything that was changed.

    `files`: name to content, without the folder around them. What needs no mending comes back byte for byte.
    """
    changes: list[str] = []
    mended: dict[str, bytes] = {}
    placed = _renamed(files, changes)
    texts = {name: _decoded(name, content, changes) for name, content in placed.items()}
    version = VERSIONS["1.2" if re.search(r"oneroster\.version\W+1\.2", texts.get(_MANIFEST) or "") else "1.1"]
    for name, content in placed.items():
        text = texts[name]
        table = version.tables.get(name.removesuffix(".csv"))
        if text is not None and table is not None:
            text = _spelled(text, table, changes)
        mended[name] = content if text is None else text.encode()
    return mended, changes


def _renamed(files: Mapping[str, bytes], changes: list[str]) -> dict[str, bytes]:
    """Each file by the standard's name; all as they were where two would clash."""
    right = {name: _FILES.get(name.lower(), name) for name in files}
    if len(set(right.values())) < len(right):
        return dict(files)
    changes += [f"{name} was renamed to {new}." for name, new in right.items() if new != name]
    return {right[name]: content for name, content in files.items()}


def _decoded(name: str, content: bytes, changes: list[str]) -> str | None:
    """The text of a CSV file; None where it cannot be told what it is."""
    if not name.endswith(".csv"):
        return None
    if content.startswith(codecs.BOM_UTF8):
        content = content.removeprefix(codecs.BOM_UTF8)
        changes.append(f"{name}: the invisible mark at its beginning was taken off.")
    wide = next((encoding for mark, encoding in _MARKS if content.startswith(mark)), "")
    if b"\0" in content and not wide:
        return None
    for encoding in (wide,) if wide else ("utf-8", "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding != "utf-8":
            was = {"cp1252": "Windows-1252"}.get(encoding, encoding.upper())
            changes.append(f"{name}: it was read as {was} and written as UTF-8. Look at a name with an accent in it.")
        return text
    return None


def _spelled(text: str, table: Table, changes: list[str]) -> str:
    """The same rows with the header and its order, and true and false, as the standard has them."""
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        found = next(lines, [])
        header = [_column(cell, table) for cell in found]
        known = [name for name in table.header if name in header]
        if not known or len(set(header)) < len(header):
            return text
        order = [header.index(name) for name in known] + [i for i, name in enumerate(header) if name not in known]
        flags = [i for i, name in enumerate(header) if name in known and table.column(name).kind == "boolean"]
        out = io.StringIO(newline="")
        writer = csv.writer(out, lineterminator="\r\n" if "\r\n" in text else "\n")
        writer.writerow([header[i] for i in order])
        lowered, rows = 0, text.find("\n") + 1
        if rows and lines.line_num == 1 and order == sorted(order) and not (flags and _SHOUTED.search(text)):
            out.write(text[rows:])  # most files: their rows need no reading
        else:
            lowered = _rows(lines, writer, order, flags)
    except (csv.Error, _Ragged):
        return text
    said = list(_said(table.file, found, header, order, lowered))
    changes += said
    return out.getvalue() if said else text


def _rows(lines: Iterator[list[str]], writer: Any, order: list[int], flags: list[int]) -> int:
    """Write every row in this order; returns how many of its flags were put into small letters."""
    lowered = 0
    for row in lines:
        if row and len(row) != len(order):
            raise _Ragged
        for i in flags if row else ():
            if row[i] != row[i].lower() and row[i].lower() in ("true", "false"):
                row[i] = row[i].lower()
                lowered += 1
        writer.writerow([row[i] for i in order] if row else row)
    return lowered


def _column(cell: str, table: Table) -> str:
    """The column that a cell of a header stands for, spelled as the standard does; else the cell."""
    return {column.lower(): column for column in table.header}.get(cell.strip().lower(), cell)


def _said(file: str, found: list[str], header: list[str], order: list[int], lowered: int) -> Iterator[str]:
    respelled = [name for cell, name in zip(found, header, strict=True) if cell != name]
    if respelled:
        yield f"{file}: the header spells {', '.join(respelled)} as the standard does."
    if order != sorted(order):
        yield f"{file}: the columns stand in the order of the standard."
    if lowered:
        yield f"{file}: {lowered:,} {'cell says' if lowered == 1 else 'cells say'} true or false in small letters."
