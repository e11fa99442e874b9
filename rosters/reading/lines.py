"""Strict CSV: every physical line is proved to be n legal cells before anything is taken from it.

No CSV library is strict by itself: polars fills short rows, others glue text to a closed quote or swallow a file
after an open one. So the bytes are cut into physical lines (the standard forbids line breaks inside a cell, so
a line is a row), and each line is judged alone. What is legal goes to polars; what is not is named with its line
and never reaches a frame. A fault costs its own line and no other.

What can be proved. A legal line holds an even number of quotes, so one quote too many or too few is always seen;
a comma more or less outside quotes changes the number of cells; a line end lost joins two rows into 2n - 1 cells; a
line end too many makes two short rows. A file cut inside its last line shows as a short row or, when the cut falls
into the last cell, as a last line without line end: legal, so the row is taken, and it is said (rule 047).

A cell that RFC 4180 would let run over several lines is recognised (rule 044) and costs its record. Lines inside
it that would be rows by themselves are not taken either, for nobody can say which reading is true; no further
than the longest legal cell reaches, so that one open quote cannot swallow a file.

A line that may be a torn-off piece of its neighbour's first or last cell takes that neighbour with it: such a
neighbour has the right number of cells and yet is not what was written.

Rules OR-CSV-040, 042 to 045, 048 and 055 (a cell beyond the limit).
"""

from __future__ import annotations

import csv
import re
from codecs import BOM_UTF8
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

import polars as pl

from rosters.frames import LINE, ahead
from rosters.reading.archive import Damaged
from rosters.reading.encoding import likely
from rosters.reading.limits import Limits

_CELL = r'(?:"(?:[^"]|"")*"|[^",]*)'
_LEGAL = rf"^{_CELL}(?:,{_CELL})*$"
_OPEN = rf'^(?:{_CELL},)*"(?:[^"]|"")*$'
_FIRST_CELL = r'^(?:"((?:[^"]|"")*)"|([^",]*)),'
#: The same for Python's engine: possessive, so that no line, however made, takes more than one pass.
_ATOM = r'(?>"(?:[^"]|"")*+"|[^",]*+)'
#: What can be the end, torn off, of the last cell of the line before: one cell, or what a missing quote would open.
_TORN_END = re.compile(rf'{_ATOM}|(?:[^"]|"")*+"')
#: What can be the beginning, torn off, of the first cell of the line after.
_TORN_BEGINNING = re.compile(rf'{_ATOM}|"(?:[^"]|"")*+')
_LEGAL_RECORD = re.compile(rf"{_ATOM}(?:,{_ATOM})*+")
_OPEN_RECORD = re.compile(rf'(?:{_ATOM},)*+"(?:[^"]|"")*+')

#: Marks a line that ends inside quotes, until it is known whether the next lines close them.
_UNCLOSED = "unclosed"
_SHOWN = 60
#: A file with more quotes that nothing closes is no CSV file; a bound for the time that looking for their ends takes.
MOST_UNCLOSED = 10_000
_BEYOND = -1
#: A carriage return that is no part of a line's end.
_STRAY_RETURN = re.compile(rb"\r[^\n]")
#: A byte that no text has; where one has it, each line is judged alone.
_NEVER = b"\x1f"
#: Bytes of a text that polars keeps in its cell; a longer one lies elsewhere.
_IN_ITS_CELL = 12
#: Cells that tell whether a column has runs of equal texts.
_LOOKED_AT = 64
#: What is judged and parsed at once: large enough for polars, small enough for memory.
BLOCK = 8 << 20

_FAULTS = {LINE: pl.UInt32, "code": pl.String, "sourcedId": pl.String, "value": pl.String}


@dataclass(frozen=True, slots=True)
class Rows:
    """What was read of one file after its header.

    `cells`: the proved rows, text columns ``c0``, ``c1``, ... and `LINE`. `faults`: what was not taken: `LINE`,
    ``code``, ``sourcedId`` (null where it cannot be trusted), ``value`` (the line, shortened). A line that may hold two
    records is there twice. `cut`: the last line, where it has no line end, else 0. `undecoded`: words about the first
    byte that is not UTF-8, or "".
    """

    cells: pl.DataFrame
    faults: pl.DataFrame
    cut: int
    undecoded: str


def cell_names(width: int) -> list[str]:
    return [f"c{number}" for number in range(width)]


def cells_of(line: str) -> list[str] | None:
    """The cells of one line; None where it is not legal CSV."""
    if not _LEGAL_RECORD.fullmatch(line):
        return None
    found = re.findall(rf"({_ATOM})(?:,|$)", line + ("," if line.endswith(",") else ""))
    cells = found[: _commas_outside_quotes(line) + 1]
    return [cell[1:-1].replace('""', '"') if cell.startswith('"') else cell for cell in cells]


def _commas_outside_quotes(line: str) -> int:
    return re.sub(r'"(?:[^"]|"")*+"', "", line).count(",")


def physical_lines(data: bytes) -> pl.Series:
    """The lines of UTF-8 bytes, without their line feeds; a carriage return stays.

    Bytes after the last line feed are a line too, unless there are none. Raises `polars.exceptions.PolarsError` where
    the bytes are not UTF-8.
    """
    text = pl.Series("line", [data.removesuffix(b"\n")], dtype=pl.Binary).cast(pl.String)
    return text.str.split("\n").explode()


def parse_lines(lines: pl.Series, width: int) -> pl.DataFrame:
    """The cells of proved lines as text columns ``c0``, ``c1``, ..., as many rows as lines."""
    return _parse(lines.str.join("\n").item().encode(), lines, width)


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines, the last one of a file perhaps without its end; with how many line feeds."""

    data: bytes
    feeds: int

    @classmethod
    def of(cls, data: bytes) -> Block:
        return cls(data, data.count(b"\n"))

    @property
    def lines(self) -> int:
        return self.feeds + (not self.data.endswith(b"\n"))

    @property
    def size(self) -> int:
        """Bytes, as if the last line had an end."""
        return len(self.data) + (not self.data.endswith(b"\n"))


def parse_at_once(block: Block, width: int, key: int, limits: Limits) -> pl.DataFrame | None:
    """The cells of a block, if all its lines are beyond doubt; else None, and each line is judged alone."""
    returns = block.lines if b"\r" in block.data else 0  # at the end of each line, or of none
    if (returns and _STRAY_RETURN.search(block.data)) or block.data.startswith(BOM_UTF8):
        return None  # polars would take both away without a word
    try:
        cells = _parse_quoted(block, width, limits) if b'"' in block.data else _parse_plain(block, width)
    except pl.exceptions.PolarsError:
        return None
    if cells is None or len(cells) != block.lines:
        return None
    sizes = cells.select(pl.all().str.len_bytes())
    if not sizes[f"c{key}"].min() or max(sizes.max().row(0)) > limits.cell:
        return None  # a row of commas alone, or a cell that is too long
    held = sum(sizes.sum().row(0))
    if b'"' in block.data:
        # A quote within a cell was written as two; those around cells are not in them.
        inside = sum(cells.select(pl.all().str.count_matches('"', literal=True).sum()).row(0))
        held += block.data.count(b'"') - inside if b'""' in block.data else block.data.count(b'"')
    return cells if held + block.lines * width + returns == block.size else None


def _parse_plain(block: Block, width: int) -> pl.DataFrame:
    """The cells of a block without quotes.

    Without quotes a comma always ends a cell and a line feed always a row. polars refuses a line with more cells than
    there are columns. So if it found as many rows as there are lines, and the bytes of all cells, the commas between
    them and the line ends are the bytes of the block, no line has fewer cells either, and nothing was lost.
    """
    return pl.read_csv(block.data, has_header=False, schema=_texts(width), empty_string_is_null=False, quote_char=None)


def _parse_quoted(block: Block, width: int, limits: Limits) -> pl.DataFrame | None:
    """The cells of a block with quotes, if each line that has one is legal by itself.

    Of the other lines the same holds as in a block without quotes.
    """
    if _NEVER in block.data:
        return None
    line = pl.read_csv(
        block.data, has_header=False, schema={"line": pl.String}, empty_string_is_null=False, quote_char=None,
        separator=_NEVER.decode(),
    )["line"]  # fmt: skip
    if len(line) != block.lines:
        return None
    quoted = line.filter(line.str.contains('"', literal=True))
    if int(quoted.str.len_bytes().max() or 0) > limits.cell:  # type: ignore[arg-type]
        return None
    if not quoted.str.contains(rf"^{_CELL}(?:,{_CELL}){{{width - 1}}}$").all():
        return None
    return pl.read_csv(block.data, has_header=False, schema=_texts(width), empty_string_is_null=False)


def _texts(width: int) -> dict[str, type[pl.String]]:
    return dict.fromkeys(cell_names(width), pl.String)


def _parse(data: bytes, lines: pl.Series, width: int) -> pl.DataFrame:
    """The cells of `data`, whose lines are `lines`, proved. polars is fast, but what it returned must add up."""
    schema = _texts(width)
    if lines.is_empty():
        return pl.DataFrame(schema=schema)
    try:
        cells = pl.read_csv(data, has_header=False, schema=schema, empty_string_is_null=False)
    except pl.exceptions.PolarsError:
        cells = pl.DataFrame(schema=schema)
    if _adds_up(data, lines, cells):
        return cells
    return pl.DataFrame(list(csv.reader(lines, strict=True)), schema=schema, orient="row")


def _adds_up(data: bytes, lines: pl.Series, cells: pl.DataFrame) -> bool:
    """Whether every byte is accounted for: what is neither quote nor line end is the same in lines and cells, but for
    the commas between the cells."""
    if len(cells) != len(lines):
        return False
    kept = sum(cells.select(pl.all().str.len_bytes().sum()).row(0))
    if b'""' in data:
        kept -= sum(cells.select(pl.all().str.count_matches('"', literal=True).sum()).row(0))
    commas = len(lines) * (cells.width - 1)
    return bool(kept + commas == lines.str.len_bytes().sum() - data.count(b'"'))


def blocks(pieces: Iterable[bytes], limits: Limits, *, size: int = BLOCK) -> Iterator[bytes]:
    """The same bytes in blocks of about `size` that end with a line end (the last one perhaps not).

    Of a line beyond `limits.line` only the beginning is kept, still beyond the limit: it can be named, never read.
    """
    begun: list[bytes] = []
    held = open_size = 0
    for piece in pieces:
        end = piece.rfind(b"\n") + 1
        if not end and open_size > limits.line:
            continue
        open_size = len(piece) - end + (0 if end else open_size)
        held += len(piece)
        begun.append(piece)
        if end and held >= size:
            yield b"".join([*begun[:-1], piece[:end]])
            begun = [piece[end:]]
            held = open_size
    if held:
        yield b"".join(begun)


def read_rows(
    data: Iterable[bytes], width: int, limits: Limits, *, key: int | None = 0, first_line: int = 2, first_byte: int = 0
) -> Rows:
    """Read what follows the header. `data`: `blocks` of UTF-8 bytes, made by a thread that stays ahead; `key`: which
    cell is the sourcedId, if any; `first_line` and `first_byte`: where in the file they begin.

    Raises `Damaged` where the bytes cannot be text at all (NUL) or quotes are beyond repair.
    """
    reader = _Reader(width, limits, key, first_line, first_byte)
    waiting: Block | None = None
    for block in ahead(map(Block.of, data), by=1):
        if waiting is not None:
            reader.take(waiting, last=False)
        waiting = block
    if waiting is not None:
        reader.take(waiting, last=True)
    return reader.finish()


@dataclass(slots=True)
class _Reader:
    """Reads block after block; `number` is the line that comes next, `held` the beginning of a cell over several lines
    whose end is not in sight yet."""

    width: int
    limits: Limits
    key: int | None
    number: int
    offset: int
    held: bytes = b""
    unclosed: int = 0
    torn: bool = False
    undecoded: str = ""
    cells: list[pl.DataFrame] = field(default_factory=list)
    faults: list[pl.DataFrame] = field(default_factory=list)
    cut: int = 0

    def take(self, block: Block, *, last: bool) -> None:
        if self.held:
            block = Block.of(self.held + block.data)
            self.held = b""
        data = block.data
        if (nul := data.find(b"\0")) >= 0:
            line = self.number + data.count(b"\n", 0, nul)
            raise Damaged("OR-CSV-042", f"Line {line} holds a NUL byte.", line)
        cells = None if self.torn or self.key is None else parse_at_once(block, self.width, self.key, self.limits)
        if cells is not None:
            self._keep(cells, self._numbers(len(cells)))
            self._behind(data, last=last)
            return
        lines, undecoded = _decoded(data, self.limits)
        if undecoded and not self.undecoded:
            self.undecoded = self._where_undecoded(data)
        bare = lines.str.strip_suffix("\r") if b"\r" in data else lines
        suspects = self._suspects(bare, data, undecoded)
        if self.torn and 0 not in suspects["index"]:
            torn = pl.DataFrame({"index": [0], "text": bare[:1], "code": ["OR-CSV-045"]}, schema=suspects.schema)
            suspects = pl.concat([torn, suspects])
        if suspects.is_empty():
            self._keep(self._parsed(data, bare), self._numbers(len(bare)))
        else:
            codes, end = self._resolved(bare, suspects, last=last)
            nameless = self._take_neighbours(bare[:end], suspects, codes)
            self.held = data[int(lines[:end].str.len_bytes().sum()) + end :] if end < len(lines) else b""
            self._keep_legal(bare[:end], codes, nameless)
        self._behind(data, last=last)

    def _behind(self, data: bytes, *, last: bool) -> None:
        self.offset += len(data) - len(self.held)
        if last and not data.endswith(b"\n"):
            self.cut = self.number - 1

    def finish(self) -> Rows:
        schema: dict[str, type[pl.DataType]] = {**_texts(self.width), LINE: pl.UInt32}
        cells = _in_one_piece(self.cells) if self.cells else pl.DataFrame(schema=schema)
        faults = pl.concat(self.faults) if self.faults else pl.DataFrame(schema=_FAULTS)
        return Rows(cells, faults, self.cut, self.undecoded)

    def _parsed(self, data: bytes, lines: pl.Series) -> pl.DataFrame:
        return _parse(data if data.endswith(b"\n") else data.removesuffix(b"\r"), lines, self.width)

    def _where_undecoded(self, data: bytes) -> str:
        try:
            data.decode()
        except UnicodeDecodeError as error:
            end = data.find(b"\n", error.start)
            line = data[data.rfind(b"\n", 0, error.start) + 1 : end if end > 0 else None]
            number = self.number + data.count(b"\n", 0, error.start)
            return f"The first is byte {self.offset + error.start:,} in line {number}: probably {likely(line)}."
        return ""

    def _numbers(self, count: int) -> pl.Series:
        """The numbers of the next `count` lines, which are then behind us."""
        first, self.number = self.number, self.number + count
        return pl.int_range(first, self.number, dtype=pl.UInt32, eager=True).alias(LINE)

    def _keep(self, cells: pl.DataFrame, numbers: pl.Series) -> None:
        if len(cells):
            self.cells.append(cells.select(_said_once(column) for column in cells).with_columns(numbers))

    def _suspects(self, lines: pl.Series, data: bytes, undecoded: list[int]) -> pl.DataFrame:
        """The lines that are not legal beyond doubt: ``index``, ``text``, ``code``."""
        commas = lines.str.count_matches(",", literal=True)
        size = lines.str.len_bytes()
        plain = (commas == self.width - 1) & (size > commas) & (size <= self.limits.cell)
        if b'"' in data:
            plain &= ~lines.str.contains('"', literal=True)
        if lines_hold_returns := b"\r" in data:
            plain &= ~lines.str.contains("\r", literal=True)
        if undecoded:
            plain = plain.scatter(undecoded, False)
        if plain.all():
            return pl.DataFrame(schema={"index": pl.UInt32, "text": pl.String, "code": pl.String})
        doubtful = pl.DataFrame({"text": lines}).with_row_index("index").filter(~plain)
        legal = rf"^{_CELL}(?:,{_CELL}){{{self.width - 1}}}$"
        proved = (
            pl.col("text").str.contains(legal)
            & (pl.col("text").str.len_bytes() <= self.limits.line)
            & (pl.col("text").str.strip_chars(",") != "")
            & ~pl.col("index").is_in(undecoded)
        )
        if lines_hold_returns:
            proved &= ~pl.col("text").str.contains("\r", literal=True)
        doubtful = doubtful.with_columns(proved=proved)
        too_long = self._with_long_cells(doubtful.filter("proved"))
        return doubtful.filter(~pl.col("proved") | pl.col("index").is_in(too_long)).select(
            "index", "text", code=self._code(undecoded, too_long)
        )

    def _with_long_cells(self, proved: pl.DataFrame) -> list[int]:
        long = proved.filter(pl.col("text").str.len_bytes() > self.limits.cell)
        if long.is_empty():
            return []
        longest = parse_lines(long["text"], self.width).select(pl.max_horizontal(pl.all().str.len_chars())).to_series()
        return long["index"].filter(longest > self.limits.cell).to_list()

    def _code(self, undecoded: list[int], too_long: list[int]) -> pl.Expr:
        text = pl.col("text")
        return (
            pl.when((text.str.len_bytes() > self.limits.line) | pl.col("index").is_in(too_long))
            .then(pl.lit("OR-CSV-055"))
            .when(pl.col("index").is_in(undecoded))
            .then(pl.lit("OR-CSV-040"))
            .when(text.str.strip_chars(",") == "")
            .then(pl.lit("OR-CSV-048"))
            .when(text.str.contains("\r", literal=True))
            .then(pl.lit("OR-CSV-044"))
            .when(text.str.contains(_LEGAL))
            .then(pl.lit("OR-CSV-045"))
            .when(text.str.contains(_OPEN))
            .then(pl.lit(_UNCLOSED))
            .otherwise(pl.lit("OR-CSV-043"))
        )

    def _resolved(self, lines: pl.Series, suspects: pl.DataFrame, *, last: bool) -> tuple[dict[int, str | None], int]:
        """What is wrong with each line that is not taken (None: nothing, or nothing of its own), and how many lines
        were decided: fewer than all where a cell may go on in the next block."""
        codes: dict[int, str | None] = dict(suspects.select("index", "code").iter_rows())
        decided = -1
        for index in suspects.filter(code=_UNCLOSED)["index"]:
            if index <= decided:
                continue
            end = self._end_of_record(lines, index)
            if end == _BEYOND and not last:
                return {at: code for at, code in codes.items() if at < index}, index
            if end <= index:
                codes[index] = "OR-CSV-043"
                continue
            decided = end
            self._set_aside(codes, index, end)
        return codes, len(lines)

    def _end_of_record(self, lines: pl.Series, start: int) -> int:
        """The index of the line in which the record that begins in line `start` ends, if together they are legal CSV;
        else `start`, or `_BEYOND` where the lines end before that is known."""
        record = lines[start]
        limit = len(record) + self.limits.cell
        for index in range(start + 1, len(lines)):
            following = lines[index]
            record = f"{record}\n{following}"
            if len(record) > limit:
                break
            if '"' not in following:
                continue
            if _LEGAL_RECORD.fullmatch(record):
                return index
            if not _OPEN_RECORD.fullmatch(record):
                break
        else:
            return _BEYOND
        self.unclosed += 1
        if self.unclosed > MOST_UNCLOSED:
            raise Damaged("OR-CSV-043", f"More than {MOST_UNCLOSED:,} quotes are never closed.", self.number + start)
        return start

    @staticmethod
    def _set_aside(codes: dict[int, str | None], start: int, end: int) -> None:
        """Give a record over several lines its code. A line inside it that would be a row by itself may be one, so
        all of them are named; else they are only the rest of their record."""
        inside = range(start + 1, end + 1)
        doubtful = any(index not in codes for index in inside)
        codes[start] = "OR-CSV-044"
        codes.update(dict.fromkeys(inside, "OR-CSV-044" if doubtful else None))

    def _take_neighbours(self, lines: pl.Series, suspects: pl.DataFrame, codes: dict[int, str | None]) -> set[int]:
        """Set aside the rows beside torn pieces. Returns those (by index) whose id may have lost its beginning."""
        nameless = {0} if self.torn else set()
        self.torn = False
        for index, text, code in (
            suspects.filter(pl.col("index") < len(lines)).select("index", "text", "code").iter_rows()
        ):
            if code in ("OR-CSV-048", "OR-CSV-055") or codes.get(index) == "OR-CSV-044":
                continue
            if _TORN_END.fullmatch(text):
                if index:
                    codes.setdefault(index - 1, "OR-CSV-045")
                else:
                    self._take_back()
            if _TORN_BEGINNING.fullmatch(text):
                if index + 1 < len(lines):
                    codes.setdefault(index + 1, "OR-CSV-045")
                    nameless.add(index + 1)
                else:
                    self.torn = True
        return nameless

    def _take_back(self) -> None:
        """Set aside the row that was read last, if it was the line before."""
        if not self.cells or self.cells[-1][LINE][-1] != self.number - 1:
            return
        row = self.cells[-1].tail(1)
        before = self.cells.pop()
        if len(before) > 1:
            self.cells.append(before.head(-1))
        line = row.select(pl.concat_str(cell_names(self.width), separator=",")).to_series()
        key = (row["c0"].item() if self.key == 0 else "") or None
        self.faults.append(
            pl.DataFrame(
                {LINE: row[LINE], "code": ["OR-CSV-045"], "sourcedId": [key], "value": line.str.slice(0, _SHOWN)},
                schema=_FAULTS,
            )
        )

    def _keep_legal(self, lines: pl.Series, codes: dict[int, str | None], nameless: set[int]) -> None:
        numbers = self._numbers(len(lines))
        facts = pl.DataFrame({"text": lines, LINE: numbers}).with_row_index("index")
        judged = pl.DataFrame(
            {"index": list(codes), "code": list(codes.values())}, schema={"index": pl.UInt32, "code": pl.String}
        )
        legal = facts.join(judged, on="index", how="anti", maintain_order="left")
        self._keep(parse_lines(legal["text"], self.width), legal[LINE])
        self.faults.append(self._named(facts.join(judged.drop_nulls(), on="index", maintain_order="left"), nameless))

    def _named(self, faulty: pl.DataFrame, nameless: Collection[int]) -> pl.DataFrame:
        """Faulty lines with their ids. A line with the commas of two rows may hold two: it is there twice."""
        text = pl.col("text")
        first = pl.coalesce(
            text.str.extract(_FIRST_CELL, 1).str.replace_all('""', '"', literal=True), text.str.extract(_FIRST_CELL, 2)
        )
        trusted = first if self.key == 0 else pl.lit(None, pl.String)
        named = faulty.select(
            LINE,
            "code",
            pl.when((trusted != "") & ~trusted.str.contains("[\r\n\ufffd]") & ~pl.col("index").is_in(list(nameless)))
            .then(trusted)
            .alias("sourcedId"),
            text.str.slice(0, _SHOWN).alias("value"),
            pl.when(pl.col("code") == "OR-CSV-048")
            .then(0)
            .otherwise(text.str.count_matches(",", literal=True))
            .alias("commas"),
        )
        second = named.filter((pl.col("commas") >= 2 * (self.width - 1)) & pl.col("sourcedId").is_not_null())
        second = second.with_columns(sourcedId=pl.lit(None, pl.String))
        return pl.concat([named, second]).sort(LINE, maintain_order=True).select(list(_FAULTS))


def _said_once(cells: pl.Series) -> pl.Series:
    """The same cells; texts that say the same for some rows on end lie in memory once.

    A short text lies in its own cell anyway. The first cells tell whether it is worth a look at the others.
    """
    some = cells.head(_LOOKED_AT).to_list()
    if 2 * len(set(some)) > len(some) or max(map(len, some)) <= _IN_ITS_CELL:
        return cells
    begins = cells.ne_missing(cells.shift()).scatter(0, True)
    if 2 * int(begins.sum()) > len(cells):
        return cells
    said = pl.Series(cells.name, cells.filter(begins).to_list(), pl.String)  # as a list, or they stay where they lay
    return said.gather(begins.cum_sum() - 1)


def _in_one_piece(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """`parts`, which are used up, as one frame whose columns lie in one piece each; never two copies of more than one
    column at a time. All columns of cells without a letter are one in memory."""
    rows = sum(map(len, parts))
    empty = pl.Series("", [""], dtype=pl.String).new_from_index(0, rows)
    whole = pl.DataFrame(height=rows)
    for name in parts[0].columns:
        pieces = [part.drop_in_place(name) for part in parts]
        blank = name != LINE and not any(piece.str.len_bytes().max() for piece in pieces)
        column = empty.alias(name) if blank else pl.concat(pieces, rechunk=True)
        whole.insert_column(whole.width, column)
    return whole


def _decoded(data: bytes, limits: Limits) -> tuple[pl.Series, list[int]]:
    """The physical lines, and which of them are not UTF-8 (their bad bytes stand as U+FFFD)."""
    try:
        return physical_lines(data), []
    except pl.exceptions.PolarsError:
        raw = data.removesuffix(b"\n").split(b"\n")
    undecoded = []
    lines = []
    for index, line in enumerate(raw):
        text = line.decode("utf-8", "replace")
        lines.append(text)
        if "\ufffd" in text and not _is_utf8(line):
            undecoded.append(index)
    return pl.Series("line", lines, pl.String), undecoded


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
