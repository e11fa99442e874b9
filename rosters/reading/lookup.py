"""Where a record stands in a delivery: the lines of a file that bear its id, as they came."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rosters.findings import Findings
from rosters.reading.archive import Damaged, opened
from rosters.reading.encoding import as_utf8, with_line_feeds
from rosters.reading.limits import Limits
from rosters.reading.lines import blocks, cells_of

MOST_LINES = 20


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file: its number, the header being line 1, and its cells by the columns as the file calls them."""

    number: int
    cells: tuple[tuple[str, str], ...]


def lines_with(path: Path, file: str, sourced_id: str, *, encoding: str = "") -> list[Line]:
    """The lines of `file` ("users.csv") in the delivery at `path` with this sourcedId, in the order of the file; of one
    that stands again and again, the first `MOST_LINES`.

    Empty where there is no such file, or no such line that is one by the standard. Raises OSError where `path` cannot
    be opened, and `Damaged` where the file breaks off.
    """
    limits, aside, found = Limits(), Findings(), list[Line]()
    with opened(path, limits, aside) as members:
        member = next((one for one in members if one.name.lower() == file.lower()), None)
        if member is None:
            return found
        text = with_line_feeds(as_utf8(member.pieces(), file, encoding, aside), file, aside)
        header: list[str] = []
        number = 1
        for block in blocks(text, limits):
            data = block
            if not header:
                first, _, data = block.partition(b"\n")
                header, number = [name.strip() for name in _cells(first)], 2
                if "sourcedid" not in map(str.lower, header):
                    return found
            found += _in_block(data, header, sourced_id, number)
            if len(found) >= MOST_LINES:
                break
            number += data.count(b"\n")
    return found[:MOST_LINES]


def _in_block(data: bytes, header: list[str], sourced_id: str, number: int) -> list[Line]:
    """The lines of a block, whose first line has this `number`. An id is looked for only where its cell can begin: a
    short one stands in nearly every line."""
    key = [name.lower() for name in header].index("sourcedid")
    before = r"^" if key == 0 else r","
    cell = re.compile(rf"""{before}"?{re.escape(sourced_id)}(?=["\r\n,]|\Z)""".encode(), re.MULTILINE)
    found: list[Line] = []
    end = 0
    while len(found) < MOST_LINES and end >= 0 and (match := cell.search(data, end)):
        begin, end = data.rfind(b"\n", 0, match.end()) + 1, data.find(b"\n", match.end())
        cells = _cells(data[begin : end if end >= 0 else None])
        if len(cells) == len(header) and cells[key] == sourced_id:
            found.append(Line(number + data.count(b"\n", 0, begin), tuple(zip(header, cells, strict=True))))
    return found


def _cells(line: bytes) -> list[str]:
    return cells_of(line.decode("utf-8", "replace").removesuffix("\r")) or []


__all__ = ["Damaged", "Line", "lines_with"]
