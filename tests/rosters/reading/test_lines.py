"""Strict CSV: what is written is read, and damage never yields a row that nobody wrote."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rosters.reading import Limits
from rosters.reading.archive import Damaged
from rosters.reading.lines import Rows, blocks, cells_of, read_rows
from tests.rosters.reading.sets import ORG, found, ids, read_orgs, severity, table

LIMITS = Limits()
Quoting = Literal[0, 1]
CELLS = st.text(st.sampled_from([*"ab\",;é \t'|", "\u2028", "\x01", "\x1f", "İ"]), max_size=5)
QUOTING: st.SearchStrategy[Quoting] = st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
LINE_ENDS = st.sampled_from(["\n", "\r\n"])
TABLES = st.integers(2, 4).flatmap(
    lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=6)
)


def written(rows: list[list[str]], quoting: Quoting, end: str) -> str:
    out = io.StringIO()
    csv.writer(out, quoting=quoting, lineterminator=end).writerows(rows)
    return out.getvalue()


def rows_of(text: str, width: int, piece: int | None = None) -> Rows:
    """Reads `text` without a header, in one piece or in pieces and blocks of a few bytes."""
    data = text.encode()
    pieces = [data[at : at + piece] for at in range(0, len(data), piece)] if piece else [data]
    return read_rows(blocks(pieces, LIMITS, size=1 if piece else 1 << 20), width, LIMITS, first_line=1)


@settings(max_examples=100, deadline=None)
@given(TABLES, QUOTING, LINE_ENDS, st.booleans(), st.integers(1, 40))
def test_what_is_written_is_read(rows: list[list[str]], quoting: Quoting, end: str, ended: bool, piece: int) -> None:
    text = written(rows, quoting, end)
    if not ended:
        text = text.removesuffix(end)
    for read in (rows_of(text, len(rows[0])), rows_of(text, len(rows[0]), piece)):
        blank = read.faults["line"].to_list()
        assert set(read.faults["code"]) <= {"OR-CSV-048"}
        assert all(not any(rows[line - 1]) for line in blank)
        assert read.cells.rows() == [(*row, line) for line, row in enumerate(rows, 1) if line not in blank]


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_texts_that_say_the_same_for_many_rows_are_read_as_written(quoting: Quoting) -> None:
    run = ["a class of a school " * 3, "é" * 11, "", "another one, with more to say"]
    rows = [[run[n // 40 % 4], f"{n:040}", run[n * n % 4], "short"] for n in range(500)]
    assert rows_of(written(rows, quoting, "\n"), 4).cells.drop("line").rows() == [tuple(row) for row in rows]


def _structure(text: str) -> list[int]:
    """Where the quotes, the commas between cells and the line ends are."""
    places = []
    quoted = False
    for place, letter in enumerate(text):
        quoted ^= letter == '"'
        if letter in '"\n' or (letter == "," and not quoted):
            places.append(place)
    return places


def _between(text: str) -> list[int]:
    """Where a comma would be one between cells."""
    return [place for place in range(len(text) + 1) if text.count('"', 0, place) % 2 == 0]


def _damaged(text: str, how: str, at: int, letter: str) -> str:
    if how in ("remove", "replace"):
        place = _structure(text)[at % len(_structure(text))]
        return text[:place] + (letter if how == "replace" else "") + text[place + 1 :]
    if how == "comma":
        place = _between(text)[at % len(_between(text))]
        return f"{text[:place]},{text[place:]}"
    place = at % (len(text) + 1)
    return text[:place] + (letter + text[place:] if how == "add" else "")


@settings(max_examples=250, deadline=None)
@given(
    TABLES, QUOTING, LINE_ENDS, st.sampled_from(["remove", "replace", "add", "comma", "cut"]), st.integers(0, 10**6),
    st.sampled_from('"\n\r'), st.integers(1, 40),
)  # fmt: skip
def test_damage_never_yields_a_row_that_nobody_wrote(
    rows: list[list[str]], quoting: Quoting, end: str, how: str, at: int, letter: str, piece: int
) -> None:
    width = len(rows[0])
    bad = _damaged(written(rows, quoting, end), how, at, letter)
    for read in (rows_of(bad, width), rows_of(bad, width, piece)):
        named = {*read.faults["line"], read.cut}
        for *cells, line in read.cells.rows():
            assert cells in rows or line in named
    assert rows_of(bad, width).cells.equals(rows_of(bad, width, piece).cells)


@settings(max_examples=100, deadline=None)
@given(TABLES, QUOTING)
def test_cells_of_one_line(rows: list[list[str]], quoting: Quoting) -> None:
    for row in rows:
        assert cells_of(written([row], quoting, "")) == row


def faults(text: str, width: int = 3) -> list[tuple[int, str, str | None]]:
    return rows_of(text, width).faults.select("line", "code", "sourcedId").rows()


@pytest.mark.parametrize("first", ["a,b,c", 'a,"b",c', 'a,"b""",c', 'a,"b\x1f",c'])
@pytest.mark.parametrize("second", ["d\r,e,f\n", "d,e,f\r\r\n", "d,e\r,\n"])
def test_a_return_within_a_cell_is_named_also_where_as_many_are_there_as_lines(first: str, second: str) -> None:
    text = f"{first}\r\n{second}g,h,i\n"
    text = text if text.count("\r") == 3 else text.replace("g,h,i\n", "g,h,i\r\n")
    assert text.count("\r") == 3
    read = rows_of(text, 3)
    assert read.faults["line"].to_list() == [2]
    assert read.cells["line"].to_list() == [1, 3]


def test_a_mark_at_the_beginning_of_a_later_block_is_not_lost() -> None:
    """polars takes these three bytes away wherever it begins to read."""
    rows = read_rows(iter([b"a,b,c\n", b"\xef\xbb\xbfd,e,f\n"]), 3, LIMITS, first_line=1)
    assert rows.cells["c0"].to_list() == ["a", "\ufeffd"]


def test_an_unclosed_quote_costs_one_row_in_a_long_file() -> None:
    text = "".join(f"id{n},b,c\r\n" for n in range(5_000))
    read = rows_of(text.replace("id2500,b", 'id2500,"b'), 3)
    assert read.faults["line"].to_list() == [2501]
    assert len(read.cells) == 4_999


def test_a_record_over_several_lines_is_one_fault_and_the_next_row_is_right() -> None:
    for piece in (None, 3):
        read = rows_of('a,"Main St\n5\nTown",c\nd,e,f\n', 3, piece)
        assert read.faults.select("line", "code", "sourcedId").rows() == [(1, "OR-CSV-044", "a")]
        assert read.cells.rows() == [("d", "e", "f", 4)]


def test_two_records_in_one_line_leave_one_without_a_name() -> None:
    assert faults("a,b,cd,e,f\ng,h,i\n") == [(1, "OR-CSV-045", "a"), (1, "OR-CSV-045", None)]


def test_a_row_torn_in_its_last_cell_is_not_taken() -> None:
    assert faults("a,b,Ma\nria\nd,e,f\ng,h,i\n") == [
        (1, "OR-CSV-045", "a"), (2, "OR-CSV-045", None), (3, "OR-CSV-045", None),
    ]  # fmt: skip


def test_a_cell_of_fifty_megabytes_costs_its_row_and_no_memory() -> None:
    pieces = [b"a,b,c\nd,", *[b"x" * (1 << 20)] * 50, b",f\ng,h,i\n"]
    read = read_rows(blocks(pieces, LIMITS), 3, LIMITS, first_line=1)
    assert read.faults.select("line", "code", "sourcedId").rows() == [(2, "OR-CSV-055", "d")]
    assert read.cells["c0"].to_list() == ["a", "g"]


def test_a_file_full_of_open_quotes_is_given_up() -> None:
    with pytest.raises(Damaged):
        rows_of('a,"b,c\nx","y,z\n' * 12_000 + "a,b,c\n", 3)


def test_or_csv_040_not_utf8_is_named_and_can_be_chosen(tmp_path: Path) -> None:
    data = table("orgs", ORG).replace("North", "N\u00f6rth").encode("cp1252")
    delivered = read_orgs(tmp_path, data)
    assert not delivered.readable
    assert found(delivered, "OR-CSV-040")[0][0] == 2
    detail = next(f.detail for f in delivered.findings if f.code == "OR-CSV-040")
    assert f"byte {data.index(0xF6):,}" in detail
    delivered = read_orgs(tmp_path, data, encoding="windows-1252")
    assert delivered.readable
    assert delivered.tables["orgs"].frame["name"].to_list() == ["N\u00f6rth School"]


def test_or_csv_041_a_mark_is_dropped(tmp_path: Path) -> None:
    delivered = read_orgs(tmp_path, b"\xef\xbb\xbf" + table("orgs", ORG).encode())
    assert severity(delivered, "OR-CSV-041") == "info"
    assert ids(delivered) == ["school-1"]
    assert not found(read_orgs(tmp_path, table("orgs", ORG)), "OR-CSV-041")


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_or_csv_042_wide_text_is_named_and_can_be_chosen_with_a_mark_and_without(tmp_path: Path, codec: str) -> None:
    data, chosen = table("orgs", ORG).encode(codec), codec[:6]
    delivered = read_orgs(tmp_path, data)
    assert severity(delivered, "OR-CSV-042") == "fatal"
    assert f"It looks like {chosen.upper()}." in next(f.message for f in delivered.findings if f.code == "OR-CSV-042")
    assert ids(read_orgs(tmp_path, data, encoding=chosen)) == ["school-1"]


def test_or_csv_042_nul(tmp_path: Path) -> None:
    delivered = read_orgs(tmp_path, table("orgs", ORG, ("a\0", *ORG[1:])))
    assert found(delivered, "OR-CSV-042") == [(3, "")]
    assert not delivered.readable


@pytest.mark.parametrize("cell", ["5' 2\"", '"North" School', '"North', 'a"b"'])
def test_or_csv_043_stray_quotes(tmp_path: Path, cell: str) -> None:
    broken = ("school-2", "", "", cell, "school", "", "")
    delivered = read_orgs(tmp_path, table("orgs", ORG, broken, ("school-3", *ORG[1:])))
    assert [line for line, _ in found(delivered, "OR-CSV-043")] == [3]
    assert ids(delivered) == ["school-1", "school-3"]
    assert delivered.tables["orgs"].unread.rows() == [(3, "school-2")]


def test_or_csv_043_legal_quotes(tmp_path: Path) -> None:
    delivered = read_orgs(tmp_path, table("orgs", ("a", "", "", '"The ""Big"", School"', '"school"', '""', "")))
    assert not found(delivered, "OR-CSV-043")
    assert delivered.tables["orgs"].frame["name"].to_list() == ['The "Big", School']


@pytest.mark.parametrize("break_", ["\n", "\r\n", "\r"])
def test_or_csv_044_line_break_in_a_cell(tmp_path: Path, break_: str) -> None:
    broken = ("school-2", "", "", f'"North{break_}School"', "school", "", "")
    delivered = read_orgs(tmp_path, table("orgs", ORG, broken, ("school-3", *ORG[1:])))
    assert [line for line, _ in found(delivered, "OR-CSV-044")] == [3]
    assert ids(delivered) == ["school-1", "school-3"]
    assert delivered.tables["orgs"].unread["sourcedId"].to_list() == ["school-2"]


def test_or_csv_045_short_row(tmp_path: Path) -> None:
    delivered = read_orgs(tmp_path, table("orgs", ORG, ("school-2", "", "", "South")))
    assert found(delivered, "OR-CSV-045") == [(3, "school-2,,,South")]
    assert delivered.tables["orgs"].unread.rows() == [(3, "school-2")]


def test_or_csv_045_long_row(tmp_path: Path) -> None:
    delivered = read_orgs(tmp_path, table("orgs", ORG, ("school-2", "", "", "South, upper", "school", "", "")))
    assert [line for line, _ in found(delivered, "OR-CSV-045")] == [3]
    assert not found(read_orgs(tmp_path, table("orgs", ORG)), "OR-CSV-045")


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_or_csv_046_another_delimiter(tmp_path: Path, mark: str) -> None:
    delivered = read_orgs(tmp_path, table("orgs", ORG).replace(",", mark))
    assert severity(delivered, "OR-CSV-046") == "fatal"
    assert not delivered.readable


def test_or_csv_047_line_ends(tmp_path: Path) -> None:
    assert not found(read_orgs(tmp_path, table("orgs", ORG)), "OR-CSV-047")
    for end, told in (("\n", "info"), ("\r", "error")):
        delivered = read_orgs(tmp_path, table("orgs", ORG, end=end))
        assert severity(delivered, "OR-CSV-047") == told
        assert ids(delivered) == ["school-1"]


def test_or_csv_047_a_last_line_without_end_is_read_and_said(tmp_path: Path) -> None:
    delivered = read_orgs(tmp_path, table("orgs", ORG).removesuffix("\r\n"))
    assert found(delivered, "OR-CSV-047") == [(2, "")]
    assert severity(delivered, "OR-CSV-047") == "warning"
    assert ids(delivered) == ["school-1"]


def test_or_csv_048_blank_rows(tmp_path: Path) -> None:
    delivered = read_orgs(tmp_path, table("orgs", ORG, ("",), ("",) * 7, ("school-2", *ORG[1:])))
    assert found(delivered, "OR-CSV-048") == [(3, ""), (4, ",,,,,,")]
    assert ids(delivered) == ["school-1", "school-2"]
    assert delivered.tables["orgs"].unread.is_empty()


def test_or_csv_049_a_header_without_rows_counts_as_absent(tmp_path: Path) -> None:
    delivered = read_orgs(tmp_path, table("orgs"))
    assert severity(delivered, "OR-CSV-049") == "error"
    assert "orgs" not in delivered.tables
    assert not found(read_orgs(tmp_path, table("orgs", ORG)), "OR-CSV-049")


@pytest.mark.parametrize("content", ["", "\r\n", "\r\nsourcedId\r\n"])
def test_or_csv_050_no_header(tmp_path: Path, content: str) -> None:
    delivered = read_orgs(tmp_path, content)
    assert severity(delivered, "OR-CSV-050") == "error"
    assert "orgs" not in delivered.tables


def test_or_csv_055_a_cell_beyond_the_limit(tmp_path: Path) -> None:
    long = ("school-2", "", "", "x" * 10_001, "school", "", "")
    longest = ("school-3", "", "", "é" * 10_000, "school", "", "")
    delivered = read_orgs(tmp_path, table("orgs", ORG, long, longest))
    assert [line for line, _ in found(delivered, "OR-CSV-055")] == [3]
    assert ids(delivered) == ["school-1", "school-3"]
