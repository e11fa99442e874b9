"""CSV by RFC 4180, strictly: what is accepted is proved read, what is not is named by its line.

No CSV library is strict by itself (polars fills short rows, csv accepts stray quotes), so the unit here is the physical
line. The standard forbids line breaks inside a field, hence every line must be a whole record: exactly `n` cells, each
either free of quotes or quoted from end to end with inner quotes doubled. Lines that are proved so are parsed by
polars, one record each; if it returns another number of records than lines were proved, that is a bug and raises.

A quoted field that does contain a line break (legal CSV, but not OneRoster) makes its first line end inside quotes; the
lines of such a record are found one by one, set aside together, and named as one row that could not be read. If a
quote is never closed, only the line that opens it and the lines that are not records of their own are set aside.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from rosters.findings import Findings, places
from rosters.frames import LINE

_SHOWN = 80
#: A line is one cell to polars when its separator is a byte that the text does not hold.
_UNUSED = ("\x01", "\x02", "\x03", "\x04")


@dataclass(frozen=True, slots=True)
class Lines:
    """Physical lines of a file without their ends: ``text`` (String); line number = index + 1. `cut`: the last line has no
    end although others have one."""

    text: pl.Series
    cut: bool


def physical_lines(data: bytes) -> Lines:
    """Split at LF; one CR before it belongs to the line's end. The bytes must be UTF-8 without NUL."""
    if not data:
        return Lines(pl.Series("text", [], pl.String), cut=False)
    cut = not data.endswith(b"\n")
    separator = next((s for s in _UNUSED if s.encode() not in data), "")
    if separator:
        # A line break in front stands for a header of no use: polars takes an empty first line for no line at all.
        text = pl.read_csv(
            b"x\n" + data, has_header=False, separator=separator, quote_char=None, schema={"text": pl.String}, eol_char="\n",
            empty_string_is_null=False, truncate_ragged_lines=False,
        )["text"].slice(1)  # fmt: skip
    else:
        text = pl.Series("text", data.decode().removesuffix("\n").split("\n"), pl.String)
    if text.len() != data.count(b"\n") + cut:
        text = pl.Series("text", data.decode().removesuffix("\n").split("\n"), pl.String)
    if b"\r" in data:
        text = text.str.strip_suffix("\r")
    return Lines(text, cut and b"\n" in data)


def cells_of(line: str) -> list[str] | None:
    """The cells of one line, or None if it is not a whole record by RFC 4180. For headers and for words about a line."""
    if '"' not in line:
        return line.split(",")
    cells: list[str] = []
    at, length = 0, len(line)
    while True:
        if at < length and line[at] == '"':
            end = at + 1
            while True:
                end = line.find('"', end)
                if end < 0:
                    return None
                if line.startswith('""', end):
                    end += 2
                    continue
                break
            cells.append(line[at + 1 : end].replace('""', '"'))
            at = end + 1
        else:
            end = line.find(",", at)
            end = length if end < 0 else end
            if '"' in line[at:end]:
                return None
            cells.append(line[at:end])
            at = end
        if at >= length:
            return cells
        if line[at] != ",":
            return None
        at += 1


def _record_pattern(width: int) -> str:
    cell = r'(?:[^",]*|"(?:[^"]|"")*")'
    return rf"^{cell}(?:,{cell}){{{width - 1}}}$"


def read_rows(lines: Lines, width: int, file: str, names: list[str], limit: int, findings: Findings) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Parse every line behind the header. Returns (frame of `names` and LINE, unread rows: LINE and sourcedId).

    `names` are `width` unique column names. `limit` is the longest cell in characters.
    """
    text = lines.text.slice(1)
    facts = pl.DataFrame({"text": text}).lazy().with_row_index(LINE, offset=2).with_columns(
        quoted=pl.col("text").str.contains('"', literal=True),
        commas=pl.col("text").str.count_matches(",", literal=True),
    )  # fmt: skip
    facts = facts.with_columns(
        good=pl.when(pl.col("quoted"))
        .then(pl.col("text").str.contains(_record_pattern(width)))
        .otherwise(pl.col("commas") == width - 1),
        blank=pl.col("text").str.strip_chars(" ,\t") == "",
    )
    judged = facts.with_columns(
        good=pl.col("good") & ~pl.col("blank") & ~pl.col("text").str.contains("\r", literal=True)
        & (pl.col("text").str.len_bytes() <= limit)
    ).collect()  # fmt: skip
    bad = judged.filter(~pl.col("good"))
    unread = pl.DataFrame(schema={LINE: pl.UInt32, "sourcedId": pl.String})
    good = judged
    if len(bad):
        taken, unread = _set_aside(judged, bad, width, file, names, limit, findings)
        good = judged.filter(pl.col("good")) if not taken else judged.filter(pl.col("good") & ~pl.col(LINE).is_in(list(taken)))
        extra = _long_but_legal(bad, width, limit)
        if len(extra):
            good = pl.concat([good, extra]).sort(LINE)
    if lines.cut and len(good):
        findings.add(
            "OR-CSV-045", file, places=places([judged[LINE][-1]], [""]), severity="warning",
            detail="The last row does not end with a line break, so the file may be cut off there.",
        )  # fmt: skip
    return _parse(good, names), unread


def _parse(good: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    if not len(good):
        return pl.DataFrame(schema={**dict.fromkeys(names, pl.String), LINE: pl.UInt32})
    joined = good["text"].str.join("\n").item().encode()
    if len(names) == 1:
        # a lone empty quoted cell must not vanish as a blank line
        values = [cells_of(line) or [""] for line in good["text"]]
        frame = pl.DataFrame({names[0]: [v[0] for v in values]}, schema={names[0]: pl.String})
    else:
        frame = pl.read_csv(
            joined, has_header=False, schema=dict.fromkeys(names, pl.String), empty_string_is_null=False, quote_char='"',
            encoding="utf8", truncate_ragged_lines=False,
        )  # fmt: skip
    if len(frame) != len(good):
        raise AssertionError(f"{len(good)} proved rows were parsed as {len(frame)}")
    return frame.with_columns(good[LINE].cast(pl.UInt32))


def _long_but_legal(bad: pl.DataFrame, width: int, limit: int) -> pl.DataFrame:
    """Lines longer than one cell may be, all of whose cells are short enough."""
    long = bad.filter((pl.col("text").str.len_bytes() > limit) & (pl.col("text").str.len_bytes() <= limit * width) & ~pl.col("blank"))
    keep = [
        line for line, text in long.select(LINE, "text").iter_rows()
        if "\r" not in text and (cells := cells_of(text)) is not None and len(cells) == width and all(len(c) <= limit for c in cells)
    ]  # fmt: skip
    return long.filter(pl.col(LINE).is_in(keep))


def _set_aside(
    judged: pl.DataFrame, bad: pl.DataFrame, width: int, file: str, names: list[str], limit: int, findings: Findings
) -> tuple[set[int], pl.DataFrame]:
    """Say of every line that is no record what it is. Returns (good lines that belong to a broken record, unread rows)."""
    faults: dict[tuple[str, str], list[tuple[int, str]]] = {}
    taken: set[int] = set()
    unread: list[tuple[int, str | None]] = []
    key = names.index("sourcedId") if "sourcedId" in names else 0
    inside_until = 0
    legal_long = set(_long_but_legal(bad, width, limit)[LINE])
    for line, text, blank in bad.select(LINE, "text", "blank").iter_rows():
        if line <= inside_until or line in legal_long:
            continue
        if blank:
            faults.setdefault(("OR-CSV-048", ""), []).append((line, ""))
            continue
        end = _broken_record(judged, line, width)
        if end:
            inside_until = end
            taken.update(range(line, end + 1))
            first = _first_cell(text, key)
            faults.setdefault(("OR-CSV-044", ""), []).append((line, first or ""))
            unread.append((line, first))
            # Two stray quotes look like one such record. Where lines inside would do as rows of their own, nobody can tell:
            # then none of them is used, and every record that they may be about is named.
            inner = judged.slice(line - 1, end - line)
            if inner["good"].any():
                unread += [(n, _first_cell(t, key)) for n, t in inner.select(LINE, "text").iter_rows()]
            continue
        code, detail = _fault(text, width, limit)
        first = _first_cell(text, key)
        faults.setdefault((code, detail), []).append((line, text[:_SHOWN]))
        unread.append((line, first))
    for (code, detail), where in faults.items():
        effect = "none" if code == "OR-CSV-048" else "row"
        findings.add(code, file, detail=detail, effect=effect, places=places([p[0] for p in where], [p[1] for p in where]))  # type: ignore[arg-type]
    frame = pl.DataFrame(unread, schema={LINE: pl.UInt32, "sourcedId": pl.String}, orient="row")
    return taken, frame


_RECORD_LINES = 50


def _broken_record(judged: pl.DataFrame, line: int, width: int) -> int:
    """The last line of the record that `line` begins inside quotes, if the lines together are one legal record; else 0."""
    rows = judged["text"].slice(line - 2, _RECORD_LINES).to_list()
    if rows[0].count('"') % 2 == 0:
        return 0
    joined = rows[0]
    for offset, text in enumerate(rows[1:], start=1):
        joined += "\n" + text
        if text.count('"') % 2:
            cells = cells_of(joined)
            return line + offset if cells is not None and len(cells) == width else 0
    return 0


def _first_cell(text: str, key: int) -> str | None:
    """The id of a broken line, where it can be trusted: the first cell, when nothing is odd up to its end."""
    if key:
        return None
    cell, comma, _ = text.partition(",")
    cell = cell[1:-1] if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell
    return cell if comma and cell and '"' not in cell else None


def _fault(text: str, width: int, limit: int) -> tuple[str, str]:
    if "\r" in text:
        return "OR-CSV-047", "A line ends with CR alone."
    cells = cells_of(text) if len(text) <= limit * width else None
    if cells is None and len(text) > limit * width:
        return "OR-CSV-055", f"A cell has more than {limit:,} characters."
    if cells is None:
        return "OR-CSV-043", ""
    if len(cells) != width:
        return "OR-CSV-045", f"{len(cells)} cells instead of {width}."
    return "OR-CSV-055", f"A cell has more than {limit:,} characters."
