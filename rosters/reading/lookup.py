"""Where somebody stands in a delivery: the rows of a file that name a record or a person, as they came.

Of a CSV file nothing is taken apart but the lines that are wanted, which costs a fraction of reading it whole, and they
are told also where they are no rows by the standard: who is missing is missing for such a reason. Of a pull the records
that may be wanted are read as an import reads them.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

import msgspec

from rosters.findings import Findings
from rosters.frames import LINE, Delivered, silent
from rosters.oneroster import VERSIONS
from rosters.reading import headers, pages
from rosters.reading.archive import Damaged, Member, opened
from rosters.reading.encoding import as_utf8, with_line_feeds
from rosters.reading.limits import Limits
from rosters.reading.lines import blocks, cells_of

#: Of a line that is no row so much is shown, as of any that could not be read.
_SHOWN: Final = 60
#: Tables that a pull has inside its users.
_PARTS_OF_USERS: Final = ("roles", "userProfiles")
#: Marks beside letters, once they are apart from them.
_MARKS: Final = re.compile("[\u0300-\u036f]")
#: What stands before the beginning of a word: nothing, the end of a cell, or what parts names and lists of ids.
_BEFORE_A_WORD: Final = frozenset("\n,;\t\"' -’{:")
_NAMES: Final = (
    "givenname", "familyname", "middlename", "preferredgivenname", "preferredmiddlename", "preferredfamilyname",
)  # fmt: skip
_EXACTLY: Final = ("sourcedid", "username", "identifier", "email", "usermasteridentifier")
_IDS: Final = re.compile(r"\{[^{}:]*:([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file: the number of its line, the header being line 1, or of its record in a pull, and its cells by
    columns of the standard; one that is none of these, as the file calls it. One that could not be read has no cells,
    and `torn` is how its line begins."""

    number: int
    cells: tuple[tuple[str, str], ...]
    torn: str | None = None

    def cell(self, column: str) -> str:
        """What stands in a column, "" where there is no such column."""
        return next((cell for name, cell in self.cells if name.lower() == column.lower()), "")


@dataclass(slots=True)
class Rows:
    """Rows in the order of their file; whether there are `more`, and why the file could not be looked through to its
    end, "" if it could. `absent`: there is no such file."""

    rows: list[Row] = field(default_factory=list)
    more: bool = False
    broken: str = ""
    absent: bool = False


class Wanted(Protocol):
    """Which rows are looked for."""

    def lines(self, block: bytes, header: Sequence[str]) -> Iterator[int]:
        """The lines of a block, by their index, among which all that are wanted are. `header`: in lower case."""

    def fits(self, cells: Mapping[str, str]) -> bool:
        """Whether it is this row, whose columns are in lower case."""

    def may_be_in(self, text: str) -> bool:
        """Whether it may be a record, or among the records, of this JSON without escapes."""


@dataclass(frozen=True, slots=True)
class Naming:
    """Rows in which `column` is one of these ids."""

    column: str
    ids: Collection[str]

    def lines(self, block: bytes, header: Sequence[str]) -> Iterator[int]:
        """An id is looked for only where its cell can begin: a short one stands in nearly every line."""
        if not self.ids:
            return
        column = self.column.lower()
        before = "^" if column in header[:1] else "," if column in header else "(?:^|,)"
        ids = "|".join(re.escape(each) for each in sorted(self.ids))
        cell = re.compile(rf"""{before}"?(?:{ids})(?=["\r\n,]|\Z)""".encode(), re.MULTILINE)
        seen, index = 0, 0
        told = -1
        for match in cell.finditer(block):
            begin = block.rfind(b"\n", 0, match.end()) + 1
            index, seen = index + block.count(b"\n", seen, begin), begin
            if index != told:
                yield index
            told = index

    def fits(self, cells: Mapping[str, str]) -> bool:
        return cells.get(self.column.lower(), "") in self.ids

    def may_be_in(self, text: str) -> bool:
        return any(f'"{each}"' in text for each in self.ids)


class Called:
    """Rows about people who are called so: each word begins one of their names, whatever its case and accents; or it is
    their login, address, number or id."""

    def __init__(self, text: str) -> None:
        self.text = _plain(text).strip()
        self.words = [word for word in re.split(r"[\s,]+", self.text) if word]

    def lines(self, block: bytes, header: Sequence[str]) -> Iterator[int]:
        if not self.words:
            return
        text = _plain(block.decode("utf-8", "replace"))
        longest = max(self.words, key=len)
        index = seen = 0
        at = text.find(longest)
        while at >= 0:
            if _begins_a_word(text, at):
                begin, end = text.rfind("\n", 0, at) + 1, text.find("\n", at)
                line = text[begin : end if end >= 0 else None]
                if all(_holds(line, word) for word in self.words):
                    index, seen = index + text.count("\n", seen, begin), begin
                    yield index
                    if end < 0:
                        return
                    at = end
            at = text.find(longest, at + 1)

    def fits(self, cells: Mapping[str, str]) -> bool:
        if any(_plain(cells.get(name, "")) == self.text for name in _EXACTLY):
            return True
        if self.text in _IDS.findall(_plain(cells.get("userids", ""))):
            return True
        called = " ".join(_plain(cells.get(name, "")) for name in _NAMES)
        return all(_holds(called, word) for word in self.words)

    def may_be_in(self, text: str) -> bool:
        plain = _plain(text)
        return bool(self.words) and all(_holds(plain, word) for word in self.words)


class Lookup:
    """A delivery that lies open, to look rows up in it, of one table after the other."""

    def __init__(self, members: list[Member], encoding: str, own: Mapping[str, str]) -> None:
        self._members, self._encoding, self._own = members, encoding, own
        self.is_pull = pages.is_pull(members)

    def rows(self, table: str, wanted: Wanted, most: int) -> Rows:
        """The first rows of `table` that are wanted, up to `most`."""
        if self.is_pull:
            return self._of_pull(table, wanted, most)
        file = f"{table}.csv"
        member = next((one for one in self._members if one.name.lower() == file.lower()), None)
        found = Rows(absent=member is None)
        if member is not None:
            try:
                for row in self._of_file(member, file, wanted):
                    found.more = len(found.rows) == most
                    if found.more:
                        break
                    found.rows.append(row)
            except Damaged as damage:
                found.broken = str(damage) or "It cannot be read."
        return found

    def _of_file(self, member: Member, file: str, wanted: Wanted) -> Iterator[Row]:
        aside, limits = Findings(), Limits()
        text = with_line_feeds(as_utf8(member.pieces(), file, self._encoding, aside), file, aside)
        header: list[str] | None = None
        number = 1
        for block in blocks(text, limits):
            data = block
            if header is None:
                first, _, data = block.partition(b"\n")
                header, number = self._header(_cells(first), file), 2
            lower = [name.lower() for name in header]
            lines: list[bytes] = []
            for index in wanted.lines(data, lower):
                lines = lines or data.split(b"\n")
                if row := _row(lines[index], number + index, header, lower, wanted):
                    yield row
            number += data.count(b"\n")

    def _header(self, found: list[str], file: str) -> list[str]:
        """The header in names of the standard, of whichever version; others as they came."""
        known = [version.tables[file[:-4]] for version in VERSIONS.values() if file[:-4] in version.tables]
        meant = [headers.meanings(found, table, self._own) for table in known]
        return [next(filter(None, names), name.strip()) for name, *names in zip(found, *meant, strict=True)]

    def _of_pull(self, table: str, wanted: Wanted, most: int) -> Rows:
        """What an import would read of the records that may be wanted, as if there were no others."""
        files = {member.name: member for member in self._members}
        collection = "users" if table in _PARTS_OF_USERS else table
        try:
            records = list(_records(files, collection, wanted))
            read = _read_alone([text for _, text in records], collection, files[pages.FILE])
        except (Damaged, ValueError, TypeError, LookupError, AttributeError, RecursionError) as fault:
            return Rows(broken=str(fault) if isinstance(fault, Damaged) else "A page of it cannot be read.")
        if not any(name.startswith(f"{collection}-") for name in files):
            return Rows(absent=True)
        if not read.readable:
            return Rows(broken=next((each.message for each in read.findings if each.severity == "fatal"), ""))
        if table not in read.tables:
            return Rows()
        frame, unread = read.tables[table].frame, read.tables[table].unread.drop_nulls("sourcedId")
        cells = [tuple((name, cell) for name, cell in row.items() if name != LINE) for row in frame.to_dicts()]
        rows = [Row(records[line - 1][0], row) for line, row in zip(frame[LINE], cells, strict=True)]
        rows = [row for row in rows if wanted.fits({name.lower(): cell for name, cell in row.cells})]
        for line, sourced_id in unread.iter_rows():
            if wanted.fits({"sourcedid": sourced_id}):
                rows.append(Row(records[line - 1][0], (), ""))
        return Rows(rows[:most], len(rows) > most)


@contextmanager
def looking_into(
    path: Path, *, encoding: str = "", column_names: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Lookup]:
    """The delivery at `path`, to look into; `encoding` and `column_names` as in `reading.read`. Raises OSError where
    there is none, and `Damaged` where it cannot be opened as one."""
    findings = Findings()
    with opened(path, Limits(), findings) as members:
        if findings.fatal or not members:
            raise Damaged("OR-CSV-001", "It cannot be opened.")
        yield Lookup(members, encoding, column_names)


def _row(line: bytes, number: int, header: list[str], lower: list[str], wanted: Wanted) -> Row | None:
    """The row of a line that may be wanted; None if it is not. A line that is no row may be the one that is looked for:
    nobody can say which of its cells is which."""
    cells = _cells(line)
    if len(cells) != len(header) or "sourcedid" not in lower:
        return Row(number, (), line.decode("utf-8", "replace").removesuffix("\r")[:_SHOWN])
    by_column = dict(zip(reversed(lower), reversed(cells), strict=True))  # of two columns of one name the first counts
    return Row(number, tuple(zip(header, cells, strict=True))) if wanted.fits(by_column) else None


def _records(files: Mapping[str, Member], collection: str, wanted: Wanted) -> Iterator[tuple[int, str]]:
    """The records of a collection that may be wanted, as JSON, each with its number over all pages."""
    number = 0
    for name in sorted(name for name in files if name.startswith(f"{collection}-")):
        text = b"".join(files[name].pieces()).decode("utf-8-sig")
        if "\\" in text:
            entries = [json.dumps(entry, ensure_ascii=False) for entry in json.loads(text)[collection]]
        else:
            found = msgspec.json.decode(text, type=dict[str, list[msgspec.Raw]])[collection]
            if not wanted.may_be_in(text):
                number += len(found)
                continue
            entries = [bytes(entry).decode() for entry in found]
        for number, entry in enumerate(entries, number + 1):  # noqa: B020  # goes on where it was
            if wanted.may_be_in(entry):
                yield number, entry


def _read_alone(records: Sequence[str], collection: str, told: Member) -> Delivered:
    """These records of a collection, read as a pull that has no others."""
    page = f'{{"{collection}": [{", ".join(records)}]}}'.encode()
    ids = {str(entry.get("sourcedId") or "") for entry in map(json.loads, records) if isinstance(entry, dict)} - {""}
    pull = json.loads(b"".join(told.pieces()))
    pull["collections"] = {collection: {"pages": 1, "rows": len(ids), "total": None, "complete": True}}
    members = [_member(pages.FILE, json.dumps(pull).encode()), _member(pages.page_name(collection, 1), page)]
    return pages.read(members, "", limits=Limits(), findings=Findings(), progress=silent)


def _member(name: str, body: bytes) -> Member:
    return Member(name, len(body), lambda: iter([body]))


def _cells(line: bytes) -> list[str]:
    text = line.decode("utf-8", "replace").removesuffix("\r")
    return text.split(",") if '"' not in text and text else cells_of(text) or []


def _plain(text: str) -> str:
    """`text` without case and accents, of as many lines."""
    return text.lower() if text.isascii() else _MARKS.sub("", unicodedata.normalize("NFKD", text)).casefold()


def _begins_a_word(text: str, at: int) -> bool:
    return at == 0 or text[at - 1] in _BEFORE_A_WORD


def _holds(text: str, word: str) -> bool:
    """Whether a word of `text` begins so."""
    at = text.find(word)
    while at >= 0 and not _begins_a_word(text, at):
        at = text.find(word, at + 1)
    return at >= 0


__all__ = ["Called", "Damaged", "Lookup", "Naming", "Row", "Rows", "looking_into"]
