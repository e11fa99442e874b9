"""OneRoster REST pages, kept as they came, to the frames that CSV gives: everything after reads both alike.

A pull is one zip: ``pull.json`` and the answers of the server, byte for byte, as ``users-000001.json`` and so on, one
row of pages for each collection. ``pull.json``::

    {"format": "oneroster-rest-pull/1", "version": "1.1", "mode": "bulk" or "delta", "since": ISO 8601 or null,
     "base": "https://host",
     "collections": {"users": {"pages": 2, "rows": 154, "total": 154 or null, "complete": true}}}

``rows`` counts different sourcedIds, ``total`` is what the server said. A pull of which anything is missing, or does
not agree with that, is refused whole (OR-REST-001 to 003): half a collection looks like people who left.

Fields become the columns of the version's CSV tables. A reference is its sourcedId, a list is joined with commas,
``metadata`` becomes ``metadata.*`` columns; booleans and numbers are text as they were written; what is null or missing
is "". What is of another kind than it should be is kept as its JSON text and reported. In 1.2 the roles and login
profiles inside a user become rows of roles and userProfiles, which are part of that user.

A page is read, turned into columns and forgotten; what stays in memory is the frames. Where every record has known
fields and every reference its sourcedId, msgspec reads it, which is several times as fast; any other page is read by
Python's own json. Both give the same (polars would leave out fields that it was not told of, and write numbers anew,
without a word). `LINE` is the number of the record in its collection, over all pages, from 1; a role has that of its
user.

In bulk mode, a record with the status of one that left is left out, as it would be from a complete CSV file, and status
and dateLastModified of the others are empty, as that standard wants them there.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from types import NoneType
from typing import Any, Final, NamedTuple, cast

import msgspec
import polars as pl

from rosters.findings import Effect, Findings, places
from rosters.frames import LINE, Delivered, DeliveredTable, Progress, type_mode
from rosters.oneroster import VERSIONS
from rosters.oneroster.normal import GONE
from rosters.oneroster.spec import PAIR, Column, Table
from rosters.reading.archive import PAGE, Damaged, Member, named
from rosters.reading.limits import Limits

FILE: Final = "pull.json"
FORMAT: Final = "oneroster-rest-pull/1"

_SHOWN: Final = 60
_METADATA: Final = "metadata"
_LONGEST_ID: Final = 255
_PARTS: Final = ("roles", "userProfiles")

#: Columns of 1.2 that its REST binding calls otherwise; servers use both names.
_OTHER_NAMES: Final = {"preferredGivenName": "preferredFirstName", "preferredFamilyName": "preferredLastName"}
#: Fields of the standard for which CSV has no column: the same is said elsewhere, or by a service of its own.
_WITHOUT_COLUMN: Final = {
    "orgs": {"children"},
    "academicSessions": {"children"},
    "courses": {"resources"},
    "classes": {"resources"},
    "users": {"resources"},
}
#: What the objects inside a user of 1.2 are made of.
_ROLE: Final = frozenset(("roleType", "role", "org", "userProfile", "beginDate", "endDate"))
_PROFILE: Final = frozenset(("profileId", "profileType", "vendorId", "applicationId", "description", "credentials"))
_CREDENTIAL: Final = frozenset(("type", "username", "password"))
#: Columns whose absence says nothing: ours come from elsewhere, or are never kept.
_NEVER_MISSED: Final = ("status", "dateLastModified", "password")

#: Values in one page, each of which is a Python object for a while: far more than in a page of records of that length.
#: Pages below `_SHORT` bytes are not counted.
_MOST_VALUES: Final = 4_000_000
_SHORT: Final = 4 << 20
#: Rows times columns of one table: a field of one record is a cell of all of them.
_MOST_CELLS: Final = 200_000_000
#: How much that is no record may stand among them, and how many places are kept of one kind of oddity.
_MOST_STRAYS: Final = 10_000
_MOST_PLACES: Final = 10_000

#: So many fields that are not OneRoster's are learned: each costs memory in every record.
_MOST_LEARNED: Final = 20

#: What JSON can say and no column of text can hold: half a character, and the NUL of databases.
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_MAY_BE_UNSTORABLE: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_NOT_IN_AN_ID: Final = re.compile(rb"[^0-9A-Za-z.\-_]")
_ID: Final = re.compile(r"[0-9A-Za-z.\-_/@]*")

_Record = dict[str, Any]
#: A row that could not be read: its `LINE`, and the record's sourcedId where it is known.
_Unread = tuple[int, str | None]


def page_name(collection: str, number: int) -> str:
    """What the page `number` (from 1) of a collection is called: users-000001.json."""
    return f"{collection}-{number:06d}.json"


def is_pull(members: Iterable[Member]) -> bool:
    """Whether these files are a pull."""
    return any(member.name == FILE for member in members)


def read(members: list[Member], version: str, *, limits: Limits, findings: Findings, progress: Progress) -> Delivered:
    """The pull in `members`. `version`: "1.1" or "1.2", believed before what pull.json says. Never raises for what was
    sent: what cannot be trusted whole is not readable, and a fatal finding says why."""
    files = {member.name: member for member in members}
    properties: dict[str, str] = {}
    try:
        pull = _Pull.of(files.pop(FILE), limits)
        properties = {"format": FORMAT, "mode": pull.mode, "since": pull.since, "base": pull.base}
        version = version or pull.version
        tables = _Pages(files, version, pull, limits, findings, progress).tables()
    except Damaged as damage:
        findings.add(damage.code, severity="fatal", effect="package", detail=str(damage))
        return Delivered(False, version, {}, properties, findings)
    except RecursionError:
        detail = "Its values lie in one another far too deeply."
        findings.add("OR-REST-003", severity="fatal", effect="package", detail=detail)
        return Delivered(False, version, {}, properties, findings)
    return Delivered(not findings.fatal, version, tables, properties, findings)


# ------------------------------------------------------------------------------------------------------ what was pulled


class _Told(NamedTuple):
    """What pull.json says of one collection."""

    pages: int
    rows: int
    total: int | None


@dataclass(frozen=True, slots=True)
class _Pull:
    """pull.json."""

    version: str
    mode: type_mode
    since: str
    base: str
    collections: Mapping[str, _Told]

    @classmethod
    def of(cls, member: Member, limits: Limits) -> _Pull:
        """Raises `Damaged` (OR-REST-001, 002) where it does not tell of a whole pull in the words that we know."""
        said = _json(_body(member, limits.manifest), member.name, "OR-REST-002")
        if not isinstance(said, dict) or said.get("format") != FORMAT:
            raise Damaged("OR-REST-002", f"Its format is not {FORMAT}.")
        version, mode = said.get("version"), said.get("mode")
        if not isinstance(version, str) or version not in VERSIONS:
            raise Damaged("OR-REST-002", "Its version is neither 1.1 nor 1.2.")
        if mode not in ("bulk", "delta"):
            raise Damaged("OR-REST-002", "Its mode is neither bulk nor delta.")
        collections = said.get("collections")
        if not isinstance(collections, dict):
            raise Damaged("OR-REST-002", "It lists no collections.")
        told = {name: _told(name[:_SHOWN], facts) for name, facts in collections.items()}
        return cls(version, mode, str(said.get("since") or ""), str(said.get("base") or ""), told)


def _told(name: str, facts: Any) -> _Told:
    facts = facts if isinstance(facts, dict) else {}
    if facts.get("complete") is not True:
        raise Damaged("OR-REST-001", f"{name} was not pulled to its end.")
    pages, rows, total = facts.get("pages"), facts.get("rows"), facts.get("total")
    if not (_is_count(pages) and _is_count(rows) and (total is None or _is_count(total))):
        raise Damaged("OR-REST-002", f"It does not say how many pages and rows of {name} there are.")
    return _Told(pages, rows, total)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


class _Literal(float):
    """A number with a point or an exponent that remembers how it was written."""

    text: str

    def __new__(cls, text: str) -> _Literal:
        number = super().__new__(cls, text)
        number.text = text
        return number


def _body(member: Member, most: int) -> bytes:
    """What a file holds. Raises `Damaged` (005) where that is more than `most` bytes or far too many values."""
    if member.size > most:
        raise Damaged("OR-CSV-005", f"{member.name} has {member.size:,} bytes; at most {most:,} are taken.")
    body = b"".join(member.pieces())
    if len(body) > _SHORT and sum(map(body.count, b"[{,")) > _MOST_VALUES:
        raise Damaged("OR-CSV-005", f"{member.name} has more than {_MOST_VALUES:,} values.")
    return body


def _json(body: bytes, name: str, code: str) -> Any:
    """What the file `name` says. Raises `Damaged` with `code` where it is no JSON in UTF-8."""
    try:
        said = json.loads(body.decode("utf-8-sig"), parse_float=_Literal, parse_constant=_no_number)
    except ValueError:
        raise Damaged(code, f"{name} is not JSON.") from None
    return _storable(said) if _may_be_unstorable(body) else said


def _may_be_unstorable(body: bytes) -> bool:
    """Quick where there is no backslash at all, as in most pages."""
    return b"\\" in body and _MAY_BE_UNSTORABLE.search(body) is not None


def _no_number(word: str) -> None:
    raise ValueError(word)


def _storable(value: Any) -> Any:
    """The same with the replacement character in place of what no column can hold; the check reports those cells."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return value


# --------------------------------------------------------------------------------------------------------------- values


class _Odd(NamedTuple):
    """The text of a value about which there is something to say."""

    code: str
    text: str


_Cell = str | _Odd


def _text(value: Any) -> _Cell:
    """A value where text belongs: words, numbers and booleans as they were written."""
    if type(value) is str:
        return value
    if value is None:
        return ""
    if value is True or value is False:
        return "true" if value else "false"
    if type(value) is int:
        return str(value)
    if type(value) is _Literal:
        return value.text
    return _Odd("OR-REST-006", _as_json(value))


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


class _Reference(msgspec.Struct, gc=False):
    """``{"href": ..., "sourcedId": "s-1", "type": "org"}``, as it should be."""

    sourcedId: str  # noqa: N815  # OneRoster's word


_referred = attrgetter("sourcedId")


def _reference(value: Any) -> _Cell:
    """The sourcedId in a reference; an empty object is none, as some servers mean it."""
    if type(value) is _Reference:
        return value.sourcedId
    if type(value) is dict:
        if "sourcedId" in value:
            key = value["sourcedId"]
            return key if type(key) is str else _text(key)
        return _Odd("OR-REST-006", _as_json(value)) if value else ""
    if value is None:
        return ""
    text = _text(value)
    return _Odd("OR-REST-006", text) if isinstance(text, str) and text else text


def _user_id(value: Any) -> _Cell:
    """``{"type": "LDAP", "identifier": "jdoe"}`` as CSV writes it."""
    if type(value) is dict and "identifier" in value:
        kind, identifier = _text(value.get("type")), _text(value["identifier"])
        if isinstance(kind, str) and isinstance(identifier, str):
            pair = f"{{{kind}:{identifier}}}"
            return pair if value.keys() <= {"type", "identifier"} else _Odd("OR-REST-006", pair)
    text = _text(value)
    return _Odd("OR-REST-006", text) if isinstance(text, str) and text else text


def _list_of(item: Callable[[Any], _Cell], plain: Callable[[Any], list[Any]]) -> Callable[[Any], _Cell]:
    """Reads lists of what `item` reads. One text in place of a list is taken as CSV's own way to write one.

    `plain` is the short way for lists that are as they should be; what is odd it may return as it is, or fail at.
    """

    def read_list(value: Any) -> _Cell:
        if not value and (value is None or type(value) is list):
            return ""
        if type(value) is list:
            try:
                cells = plain(value)
                joined = ",".join(cells)
            except (TypeError, AttributeError):
                return whole(value)
            return joined if "" not in cells and joined.count(",") == len(cells) - 1 else whole(value)
        return value if type(value) is str and item is _text else _odd(item(value))

    def whole(value: list[Any]) -> _Cell:
        cells = [cell for cell in map(item, value) if cell != ""]
        texts = [cell if isinstance(cell, str) else cell.text for cell in cells]
        joined = ",".join(texts)
        odd = next((cell.code for cell in cells if isinstance(cell, _Odd)), "")
        if joined.count(",") >= len(texts) and not odd and texts:
            odd = "OR-REST-007"
        return _Odd(odd, joined) if odd else joined

    return read_list


def _odd(cell: _Cell) -> _Cell:
    return _Odd("OR-REST-006", cell) if isinstance(cell, str) and cell else cell


_texts = _list_of(_text, lambda items: items)
_references = _list_of(_reference, lambda items: [item.sourcedId for item in items])
_user_ids = _list_of(_user_id, lambda items: [_user_id(item) for item in items])


class _Field(NamedTuple):
    """Which field of a record a column comes from, under which of its names, and how it is read."""

    column: str
    names: tuple[str, ...]
    read: Callable[[Any], _Cell]

    def of(self, columns: Mapping[str, list[Any]]) -> list[Any] | None:
        """Its values, those under the first name where there are any; None where no record has it."""
        found = [columns[name] for name in self.names if name in columns]
        if len(found) < 2:
            return found[0] if found else None
        return [second if first is None else first for first, second in zip(*found, strict=True)]


def _field(column: Column) -> _Field:
    name = column.name
    if column.refers_to and name != "sourcedId":
        if column.listed:
            return _Field(name, (f"{name.removesuffix('SourcedIds')}s",), _references)
        return _Field(name, (name.removesuffix("SourcedId"),), _reference)
    if column.listed:
        return _Field(name, (name,), _user_ids if column.pattern == PAIR else _texts)
    return _Field(name, (_OTHER_NAMES[name], name) if name in _OTHER_NAMES else (name,), _text)


# ---------------------------------------------------------------------------------------------------------------- pages


@dataclass(slots=True)
class _Oddities:
    """Where one kind of oddity was met, as far as places are kept."""

    count: int = 0
    lines: list[int] = field(default_factory=list)
    values: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Heap:
    """The rows of one table as they gather: a frame for each page."""

    table: Table
    frames: list[pl.DataFrame] = field(default_factory=list)
    columns: dict[str, None] = field(default_factory=dict)
    rows: int = 0

    def add(self, cells: dict[str, list[str]], lines: list[int], limits: Limits) -> None:
        self.columns |= dict.fromkeys(cells)
        self.rows += len(lines)
        if len(self.columns) > limits.columns:
            raise Damaged("OR-REST-003", f"The records of {self.table.name} have {len(self.columns):,} fields.")
        if self.rows * len(self.columns) > _MOST_CELLS:
            raise Damaged("OR-CSV-005", f"{self.table.name} has more than {_MOST_CELLS:,} cells.")
        if lines:
            schema: dict[str, Any] = dict.fromkeys(cells, pl.String) | {LINE: pl.UInt32}
            self.frames.append(pl.DataFrame({**cells, LINE: lines}, schema=schema))

    def frame(self) -> pl.DataFrame:
        """Every column of the standard, then ``metadata.*``, then `LINE`; what a row lacks is ""."""
        whole = (
            pl.concat(self.frames, how="diagonal", rechunk=True)
            if self.frames
            else pl.DataFrame(schema={LINE: pl.UInt32})
        )
        self.frames.clear()
        private = sorted(name for name in self.columns if name.startswith(f"{_METADATA}."))
        names = [*self.table.header, *private]
        cells = [
            pl.col(name).fill_null("") if name in whole.columns else pl.lit("", dtype=pl.String).alias(name)
            for name in names
        ]
        return whole.select(*cells, LINE)


class _Pages:
    """The pages of one pull on their way to frames."""

    def __init__(
        self,
        files: dict[str, Member],
        version: str,
        pull: _Pull,
        limits: Limits,
        findings: Findings,
        progress: Progress,
    ) -> None:
        self.files = files
        self.standard = VERSIONS[version]
        self.pull = pull
        self.limits = limits
        self.findings = findings
        self.progress = progress
        self.odd: dict[tuple[str, str, str], _Oddities] = {}
        self.strange: Counter[tuple[str, str]] = Counter()
        self.size = sum(member.size for member in files.values()) or 1
        self.bytes = self.records = 0

    def tables(self) -> dict[str, DeliveredTable]:
        """By the order of the standard. Raises `Damaged` where the pull is not whole."""
        known = [
            name for name, table in self.standard.tables.items() if table.group == "rostering" and name not in _PARTS
        ]
        self._judge_files(known)
        tables = {
            table.name: table for name in known if name in self.pull.collections for table in self._collection(name)
        }
        self._report()
        return {name: tables[name] for name in self.standard.tables if name in tables}

    def _tell(self, size: int, records: int) -> None:
        """How far the reading is, after a page of so many bytes and records."""
        self.bytes += size
        self.records += records
        self.progress("reading", self.bytes / self.size, self.records)

    def _names(self, collection: str) -> list[str]:
        return [page_name(collection, number + 1) for number in range(self.pull.collections[collection].pages)]

    def _judge_files(self, known: list[str]) -> None:
        """Exactly the pages that pull.json tells of are there."""
        if sum(told.pages for told in self.pull.collections.values()) > self.limits.pages:
            raise Damaged("OR-REST-001", "It tells of more pages than a pull may have.")
        told = {page for collection in self.pull.collections for page in self._names(collection)}
        pages = {name for name in self.files if PAGE.fullmatch(name)}
        if missing := sorted(told - pages):
            raise Damaged("OR-REST-001", f"{len(missing):,} pages are not there; the first is {missing[0][:_SHOWN]}.")
        if untold := sorted(pages - told):
            raise Damaged("OR-REST-001", f"pull.json does not tell of {untold[0][:_SHOWN]}.")
        others = [name for name in self.files if name not in pages]
        others += [name for name in self.pull.collections if name not in known]
        if others:
            self.findings.add("OR-CSV-008", places=named([name[:_SHOWN] for name in others]))

    def _collection(self, name: str) -> Iterator[DeliveredTable]:
        """The table of a collection, and in 1.2 those that are part of users."""
        table = self.standard.tables[name]
        reader = _Collection(self, table)
        for page in self._names(name):
            records = reader.read(self.files[page])
            self._tell(self.files[page].size, records)
        told = self.pull.collections[name]
        main = reader.heap.frame()
        found = main["sourcedId"].filter(main["sourcedId"] != "").n_unique()
        if found != told.rows:
            raise Damaged("OR-REST-001", f"{name} has {found:,} different records; pull.json says {told.rows:,}.")
        if self.pull.mode == "bulk" and told.total is not None and found < told.total:
            raise Damaged("OR-REST-001", f"{name} has {found:,} records; the server has {told.total:,}.")
        parts = {part: heap.frame() for part, heap in reader.parts.items()}
        main = self._without_repeats(name, main, parts)
        if self.pull.mode == "bulk":
            main = self._living(name, main)
        lines = main[LINE].implode()
        main, unread = self._without_long_cells(name, main, reader.unread)
        if self.pull.mode == "bulk" and main.is_empty() and not unread:
            self.findings.add("OR-REST-008", table.file)
            return
        if len(main) or unread:
            self._miss_columns(table, reader.heap)
            yield self._delivered(table, main, reader.heap, unread)
        for part, rows in parts.items():
            left, lost = self._without_long_cells(
                part, rows.filter(pl.col(LINE).is_in(lines)), reader.unread_parts[part]
            )
            if len(left) or lost or (len(main) and part in reader.parts_sent and self.pull.mode == "delta"):
                left = self._blanked(left)
                yield self._delivered(self.standard.tables[part], left, reader.parts[part], lost, part_of=name)

    def _delivered(
        self, table: Table, frame: pl.DataFrame, heap: _Heap, unread: list[_Unread], part_of: str = ""
    ) -> DeliveredTable:
        header = tuple(name for name in frame.columns if name in heap.columns)
        lost = pl.DataFrame(unread, schema={LINE: pl.UInt32, "sourcedId": pl.String}, orient="row")
        return DeliveredTable(table.name, self.pull.mode, frame, header, lost, part_of)

    def _without_repeats(self, name: str, main: pl.DataFrame, parts: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        """Each record once: the last that came, as the data moved on while they were pulled. Rule OR-REST-004 where the
        copies differ in more than the date of their last change."""
        ids = main["sourcedId"]
        twice = main.filter(ids.is_duplicated() & (ids != ""))
        if twice.is_empty():
            return main
        cells = twice.drop("dateLastModified")
        for part, rows in parts.items():
            cells = cells.join(_signatures(rows, part), on=LINE, how="left")
        variants = cells.drop(LINE).unique().group_by("sourcedId").len().filter(pl.col("len") > 1)
        last = twice.unique("sourcedId", keep="last", maintain_order=True)
        changed = last.filter(pl.col("sourcedId").is_in(variants["sourcedId"].implode()))
        if len(changed):
            where = places(changed[LINE], changed["sourcedId"].str.slice(0, _SHOWN))
            self.findings.add("OR-REST-004", f"{name}.csv", "sourcedId", places=where)
        earlier = twice.filter(~pl.col(LINE).is_in(last[LINE].implode()))
        return main.filter(~pl.col(LINE).is_in(earlier[LINE].implode()))

    def _without_long_cells(
        self, name: str, main: pl.DataFrame, unread: list[_Unread]
    ) -> tuple[pl.DataFrame, list[_Unread]]:
        """Rule 055, as for CSV: a row with a cell that no roster has is not read."""
        long = main.select(pl.any_horizontal(pl.exclude(LINE).str.len_chars() > self.limits.cell)).to_series()
        if not long.any():
            return main, unread
        rows = main.filter(long).select(LINE, "sourcedId")
        detail = f"More than {self.limits.cell:,} characters in one cell cannot be right; the record was not read."
        where = places(rows[LINE], [""] * len(rows))
        self.findings.add("OR-CSV-055", f"{name}.csv", places=where, effect="row", severity="error", detail=detail)
        lost = [(line, key if 0 < len(key) <= _LONGEST_ID else None) for line, key in rows.rows()]
        return main.filter(~long), [*unread, *lost]

    def _living(self, name: str, main: pl.DataFrame) -> pl.DataFrame:
        """A complete collection without the records that left, its status and dates empty where there is nothing to
        say of them."""
        gone = main.filter(pl.col("status").str.to_lowercase().is_in(GONE))
        if len(gone):
            where = places(gone[LINE], gone["sourcedId"].str.slice(0, _SHOWN))
            self.findings.add("OR-REST-010", f"{name}.csv", "status", places=where)
            main = main.filter(~pl.col(LINE).is_in(gone[LINE].implode()))
        return self._blanked(main)

    def _blanked(self, frame: pl.DataFrame) -> pl.DataFrame:
        if self.pull.mode == "delta":
            return frame
        status = pl.col("status")
        return frame.with_columns(
            pl.when(status.str.to_lowercase() == "active").then(pl.lit("")).otherwise(status).alias("status"),
            pl.lit("").alias("dateLastModified"),
        )

    def _miss_columns(self, table: Table, heap: _Heap) -> None:
        """063: a field that no record has was not sent, so it empties nothing. Servers that leave out what is null do
        that with whole fields."""
        for column in table.header:
            if column not in heap.columns and column not in _NEVER_MISSED:
                detail = "No record has it; what was accepted before stays."
                self.findings.add("OR-CSV-063", table.file, column, severity="info", detail=detail)

    def _report(self) -> None:
        """What was odd about single values and fields, by table."""
        for (code, table, column), found in self.odd.items():
            effect: Effect = "row" if code == "OR-REST-005" else "none"
            where = places(found.lines, found.values)
            self.findings.add(code, f"{table}.csv", column, places=where, count=found.count, effect=effect)
        for (table, name), number in self.strange.items():
            self.findings.add("OR-REST-009", f"{table}.csv", name[:_SHOWN], count=number)


def _signatures(rows: pl.DataFrame, part: str) -> pl.DataFrame:
    """All that the rows of one record in `part` say, as one text for each `LINE`."""
    cells = pl.concat_str(pl.exclude(LINE, "dateLastModified"), separator="\0").alias(part)
    return rows.select(LINE, cells).group_by(LINE).agg(pl.col(part).sort().str.join("\1"))


class _Collection:
    """The pages of one collection, read one after the other."""

    def __init__(self, pages: _Pages, table: Table) -> None:
        self.pages = pages
        self.table = table
        self.fields = [_field(column) for column in table.columns]
        self.heap = _Heap(table)
        tables = pages.standard.tables
        self.parts = {part: _Heap(tables[part]) for part in _PARTS if part in tables and table.name == "users"}
        self.parts_sent: set[str] = set()
        self.unread: list[_Unread] = []
        self.unread_parts: dict[str, list[_Unread]] = {part: [] for part in self.parts}
        self.known = {_METADATA, *self.parts, *_WITHOUT_COLUMN.get(table.name, ())}
        self.known.update(*(field.names for field in self.fields))
        self.learned: set[str] = set()
        self.usual = self._usual_pages()
        self.count = 0

    def _usual_pages(self) -> msgspec.json.Decoder[Any]:
        """Reads pages whose records have no other fields than those that were met so far, and whole references. The
        fields of what it makes are called as in `attributes`: not every name in JSON can be one in Python."""
        kinds: dict[str, Any] = {
            name: (_Reference if field.read is _reference else list[_Reference]) | None
            for field in self.fields
            for name in field.names
            if field.read in (_reference, _references)
        }
        kinds |= dict.fromkeys(self.learned | _WITHOUT_COLUMN.get(self.table.name, set()), msgspec.Raw)
        self.attributes = {f"field{number}": name for number, name in enumerate(sorted(self.known | self.learned))}
        record = msgspec.defstruct(
            "_UsualRecord",
            [(attribute, kinds.get(name, Any), msgspec.UNSET) for attribute, name in self.attributes.items()],
            rename=self.attributes, forbid_unknown_fields=True, gc=False,
        )  # fmt: skip
        page = msgspec.defstruct("_UsualPage", [("records", list[record])], rename={"records": self.table.name})  # type: ignore[valid-type]
        return msgspec.json.Decoder(page, float_hook=_Literal)

    def read(self, member: Member) -> int:
        """One page; how many records it has. Raises `Damaged` (OR-REST-003) where it is none."""
        body = _body(member, self.pages.limits.page)
        lines, columns = self._read_usual(body) or self._read_by_hand(body, member.name)
        cells = {
            field.column: self._column(field, values, lines)
            for field in self.fields
            if (values := field.of(columns)) is not None
        }
        cells.setdefault("sourcedId", [""] * len(lines))
        if _METADATA in columns:
            cells |= self._metadata(columns[_METADATA], lines)
        self._complete(cells, lines)
        self.heap.add(cells, lines, self.pages.limits)
        if self.parts:
            self._people(columns, cells, lines)
        return len(lines)

    def _read_usual(self, body: bytes) -> tuple[list[int], dict[str, list[Any]]] | None:
        """As `_read_by_hand`, of a page in which all is as it should be; None where anything is not."""
        if _may_be_unstorable(body):
            return None
        try:
            records = self.usual.decode(body.decode("utf-8-sig")).records
        except ValueError:
            return None
        columns = {}
        for attribute, name in self.attributes.items():
            values = list(map(attrgetter(attribute), records))
            kinds = set(map(type, values))
            if kinds <= {msgspec.UnsetType}:
                continue
            if name in self.learned:
                self._wonder(self.table.name, name, len(values) - values.count(msgspec.UNSET))
            elif msgspec.UnsetType in kinds:
                columns[name] = [None if value is msgspec.UNSET else value for value in values]
            else:
                columns[name] = values
        return self._numbered(len(records)), columns

    def _read_by_hand(self, body: bytes, page: str) -> tuple[list[int], dict[str, list[Any]]]:
        """The numbers of the records in a page, and by name what they have in each field that is known; None where one
        has nothing. What is no record, and fields that are not OneRoster's, are noted."""
        name = self.table.name
        said = _json(body, page, "OR-REST-003")
        if not isinstance(said, dict) or not isinstance(said.get(name), list):
            raise Damaged("OR-REST-003", f"{page} does not hold a list called {name}.")
        entries: list[Any] = said[name]
        lines: list[int] = []
        records: list[_Record] = []
        for line, entry in zip(self._numbered(len(entries)), entries, strict=True):
            if type(entry) is dict:
                lines.append(line)
                records.append(entry)
            else:
                self._lose(name, line)
                self._lose_parts(line)
        keys: set[str] = set().union(*records)
        self._bound(keys)
        for strange in sorted(keys - self.known):
            self._wonder(name, strange, sum(strange in record for record in records))
        self._learn(keys)
        return lines, {key: [record.get(key) for record in records] for key in keys & self.known}

    def _numbered(self, count: int) -> list[int]:
        """The numbers of the next records."""
        first = self.count + 1
        self.count += count
        return list(range(first, first + count))

    def _learn(self, keys: set[str]) -> None:
        """Fields that are not OneRoster's are usual from now on: a server that has them has them in every page."""
        new = sorted(key for key in keys - self.known - self.learned if key.isidentifier())
        if new and len(self.learned) + len(new) <= _MOST_LEARNED:
            self.learned.update(new)
            self.usual = self._usual_pages()

    def _bound(self, keys: set[str]) -> None:
        if len(keys) > self.pages.limits.columns:
            raise Damaged("OR-REST-003", f"The records of {self.table.name} have {len(keys):,} fields.")

    def _wonder(self, table: str, name: str, number: int = 1) -> None:
        """So many records of `table` have a field called `name`, which is not OneRoster's."""
        strange = self.pages.strange
        strange[table, name] += number
        if len(strange) > self.pages.limits.columns:
            raise Damaged("OR-REST-003", f"More than {self.pages.limits.columns:,} fields are not OneRoster's.")

    def _lose(self, table: str, line: int) -> None:
        """Something that should have been a row of `table` cannot be read: nobody knows which record it was."""
        unread = self.unread if table == self.table.name else self.unread_parts[table]
        if len(unread) >= _MOST_STRAYS:
            raise Damaged("OR-REST-003", f"More than {_MOST_STRAYS:,} entries of {table} are not records.")
        unread.append((line, None))
        self._note("OR-REST-005", table, "", line, "")

    def _lose_parts(self, line: int) -> None:
        """Nobody knows whose roles and profiles came, or would have come, with this record."""
        for unread in self.unread_parts.values():
            unread.append((line, None))

    def _note(self, code: str, table: str, column: str, line: int, value: str) -> None:
        known = self.pages.odd.setdefault((code, table, column), _Oddities())
        known.count += 1
        if known.count <= _MOST_PLACES:
            known.lines.append(line)
            known.values.append("" if column == "password" else value[:_SHOWN])

    def _column(self, field: _Field, values: list[Any], lines: list[int]) -> list[str]:
        kinds = set(map(type, values))
        if kinds == {_Reference}:
            return list(map(_referred, values))
        if field.read is _text and kinds <= {str, NoneType}:
            return values if kinds == {str} else [value or "" for value in values]
        return self._read(field.column, [field.read(value) for value in values], lines)

    def _read(self, column: str, cells: list[_Cell], lines: list[int]) -> list[str]:
        """The texts of `cells`; what is odd about them is noted."""
        if set(map(type, cells)) == {str}:
            return cast("list[str]", cells)
        for line, cell in zip(lines, cells, strict=True):
            if isinstance(cell, _Odd):
                self._note(cell.code, self.table.name, column, line, cell.text)
        return [cell if isinstance(cell, str) else cell.text for cell in cells]

    def _metadata(self, found: list[Any], lines: list[int]) -> dict[str, list[str]]:
        """``metadata.*`` columns; a value in it that has parts of its own is its JSON text."""
        keys: set[str] = set().union(*(value for value in found if type(value) is dict))
        self._bound(keys)
        cells: dict[str, list[str]] = {}
        for key in sorted(keys):
            texts = [_text(value.get(key)) if type(value) is dict else "" for value in found]
            cells[f"{_METADATA}.{key}"] = [cell if isinstance(cell, str) else cell.text for cell in texts]
        if set(map(type, found)) - {dict, NoneType}:
            column = f"{_METADATA}.value"
            bare = [_odd(_text(value)) if type(value) is not dict else "" for value in found]
            proper = cells.get(column, [""] * len(found))
            cells[column] = [odd or cell for odd, cell in zip(self._read(column, bare, lines), proper, strict=True)]
        return cells

    def _complete(self, cells: dict[str, list[str]], lines: list[int]) -> None:
        """REST lets a class be without a type, which then is the usual one; CSV wants the word."""
        if self.table.name != "classes" or not lines:
            return
        kinds = cells.get("classType", [""] * len(lines))
        for line, kind in zip(lines, kinds, strict=True):
            if not kind:
                self._note("OR-REST-011", self.table.name, "classType", line, "")
        cells["classType"] = [kind or "scheduled" for kind in kinds]

    def _people(self, columns: Mapping[str, list[Any]], cells: dict[str, list[str]], lines: list[int]) -> None:
        """Roles and login profiles of 1.2's users."""
        self.parts_sent |= columns.keys() & set(self.parts)
        blank, nothing = [""] * len(lines), [None] * len(lines)
        status, modified = (cells.get(name, blank) for name in ("status", "dateLastModified"))
        roles, profiles = _Rows(self.parts["roles"].table), _Rows(self.parts["userProfiles"].table)
        sent = (columns.get(part, nothing) for part in _PARTS)
        for held, logins, user, line, *head in zip(*sent, cells["sourcedId"], lines, status, modified, strict=True):
            if not user:
                self._lose_parts(line)
                continue
            without = self._profiles(profiles, logins, user, line, head)
            self._roles(roles, held, user, line, head, without)
        for rows in (roles, profiles):
            self.parts[rows.table.name].add(rows.cells, rows.lines, self.pages.limits)

    def _parts_of(self, name: str, value: Any, line: int, known: frozenset[str]) -> list[_Record]:
        """The objects of a list inside a user, with fields called as in `known`; anything else in it may have been any
        row of the table `name`."""
        found = [] if value is None else value if type(value) is list else [value]
        for item in found:
            if type(item) is not dict:
                self._lose(name, line)
            elif not known.issuperset(item):
                for strange in item.keys() - known:
                    self._wonder(name, strange)
        return [item for item in found if type(item) is dict]

    def _cell(self, table: str, column: str, line: int, cell: _Cell) -> str:
        if isinstance(cell, str):
            return cell
        self._note(cell.code, table, column, line, cell.text)
        return cell.text

    def _roles(self, rows: _Rows, value: Any, user: str, line: int, head: list[str], without: set[str]) -> None:
        """One row a role. It has no id of its own in REST: user, org and role name it, and a number where that is not
        enough; so it is the same in every pull. The same role said twice is one."""
        said: dict[tuple[str, ...], None] = {}
        for item in self._parts_of("roles", value, line, _ROLE):
            role = {
                column: self._cell("roles", column, line, read(item.get(name)))
                for column, name, read in (
                    ("roleType", "roleType", _text), ("role", "role", _text), ("beginDate", "beginDate", _text),
                    ("endDate", "endDate", _text), ("orgSourcedId", "org", _reference),
                    ("userProfileSourcedId", "userProfile", _profile),
                )
            }  # fmt: skip
            if role["userProfileSourcedId"] in without:
                role["userProfileSourcedId"] = ""
            said[tuple(role.values())] = None
        numbers: Counter[str] = Counter()
        for cells in said:
            kind, role_word, begin, end, org, profile = cells
            key = f"{_part_of_id(user)}@{_part_of_id(org)}@{_part_of_id(role_word)}"
            numbers[key] += 1
            key = key if numbers[key] == 1 else f"{key}@{numbers[key]}"
            rows.add(line, key, *head, user, kind, role_word, begin, end, org, profile)

    def _profiles(self, rows: _Rows, value: Any, user: str, line: int, head: list[str]) -> set[str]:
        """One row for each credential of a profile. Returns the profiles that have none, so that CSV has no row for
        them."""
        without: set[str] = set()
        for item in self._parts_of("userProfiles", value, line, _PROFILE):
            key, *about = (
                self._cell("userProfiles", column, line, read(item.get(name)))
                for column, name, read in (
                    ("sourcedId", "profileId", _profile), ("profileType", "profileType", _text),
                    ("vendorId", "vendorId", _text), ("applicationId", "applicationId", _text),
                    ("description", "description", _text),
                )
            )  # fmt: skip
            credentials = self._parts_of("userProfiles", item.get("credentials"), line, _CREDENTIAL)
            if not credentials:
                without.add(key)
                self._note("OR-REST-012", "userProfiles", "sourcedId", line, key)
            for number, credential in enumerate(credentials, 1):
                secrets = (
                    self._cell("userProfiles", column, line, _text(credential.get(name)))
                    for column, name in (("credentialType", "type"), ("username", "username"), ("password", "password"))
                )
                rows.add(line, key if number == 1 else f"{key}@{number}", *head, user, *about, *secrets)
        return without


@dataclass(slots=True)
class _Rows:
    """Rows of a table, whole: `add` takes the cells in the order of its header."""

    table: Table
    lines: list[int] = field(default_factory=list)
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, line: int, *cells: str) -> None:
        self.lines.append(line)
        self.rows.append(cells)

    @property
    def cells(self) -> dict[str, list[str]]:
        columns = zip(*self.rows, strict=True) if self.rows else ([] for _ in self.table.header)
        return {name: list(column) for name, column in zip(self.table.header, columns, strict=True)}


def _part_of_id(text: str) -> str:
    """`text` so that "@" cannot occur in it and only characters of an id do: anything else is written as in a URL, with
    "/" for the percent sign."""
    return _NOT_IN_AN_ID.sub(lambda match: b"/%02X" % ord(match[0]), text.encode()).decode()


def _profile(value: Any) -> _Cell:
    """The id of a login profile: a URI in REST, and in CSV an id, in which a URI's colons may not occur."""
    cell = value.get("sourcedId") if type(value) is dict else value
    text = _text(cell)
    return text if not isinstance(text, str) or _ID.fullmatch(text) else _part_of_id(text)
