"""A record's line in a delivery: found by its id, wherever it stands, and never another's."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosters.reading.lookup import MOST_LINES, Damaged, lines_with

_HEADER = "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId"


def _zip(folder: Path, text: str, *, encoding: str = "utf-8", file: str = "orgs.csv") -> Path:
    path = folder / "set.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(file, text.encode(encoding))
    return path


def _numbers(path: Path, sourced_id: str) -> list[int]:
    return [line.number for line in lines_with(path, "orgs.csv", sourced_id)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_line_is_found_whatever_ends_the_lines(tmp_path: Path, end: str, encoding: str) -> None:
    rows = [_HEADER, "a,,,Ash,school,,", "b,,,Birch,school,,a", 'c,,,"Cedar, ""Old""",school,,a']
    path = _zip(tmp_path, end.join(rows), encoding=encoding)
    (line,) = lines_with(path, "orgs.csv", "c")
    assert line.number == 4
    assert dict(line.cells) == {
        "sourcedId": "c", "status": "", "dateLastModified": "", "name": 'Cedar, "Old"', "type": "school",
        "identifier": "", "parentSourcedId": "a",
    }  # fmt: skip
    assert _numbers(path, "a") == [2]
    assert _numbers(path, "Ash") == []


def test_an_id_that_stands_twice_is_found_twice_and_a_part_of_one_never(tmp_path: Path) -> None:
    rows = [_HEADER, "abc,,,A,school,,", "ab,,,B,school,,abc", "ab,,,C,school,,", "xab,,,D,school,,"]
    assert _numbers(_zip(tmp_path, "\r\n".join(rows) + "\r\n"), "ab") == [3, 4]


def test_an_id_is_found_in_whatever_column_it_stands_and_told_so_often(tmp_path: Path) -> None:
    last = ["name,sourcedId", "1,2", "2,1", '1,"12"', "12,12"]
    assert _numbers(_zip(tmp_path, "\r\n".join(last)), "12") == [4, 5]
    assert _numbers(_zip(tmp_path, "\r\n".join(last)), "1") == [3]
    again = [_HEADER, *["1,,,A,school,,1"] * 50]
    assert _numbers(_zip(tmp_path, "\n".join(again)), "1") == list(range(2, 2 + MOST_LINES))


def test_a_line_that_is_none_by_the_standard_is_not_told_as_one(tmp_path: Path) -> None:
    rows = [_HEADER, 'a,,,"open,school,,', "a,,,A,school", "a,,,A,school,,"]
    assert _numbers(_zip(tmp_path, "\r\n".join(rows)), "a") == [4]


def test_what_is_not_there_has_no_line(tmp_path: Path) -> None:
    path = _zip(tmp_path, f"{_HEADER}\r\na,,,A,school,,\r\n")
    assert lines_with(path, "users.csv", "a") == []
    assert lines_with(_zip(tmp_path, "name,type\r\nA,school\r\n"), "orgs.csv", "A") == []
    assert lines_with(_zip(tmp_path, ""), "orgs.csv", "A") == []


def test_another_encoding_is_read_as_a_person_chose(tmp_path: Path) -> None:
    path = _zip(tmp_path, f"{_HEADER}\r\na,,,École,school,,\r\n", encoding="cp1252")
    (line,) = lines_with(path, "orgs.csv", "a", encoding="windows-1252")
    assert dict(line.cells)["name"] == "École"


def test_a_file_that_breaks_off_is_said_to(tmp_path: Path) -> None:
    path = _zip(tmp_path, f"{_HEADER}\r\n" + "".join(f"{n},,,School {n * n},school,,\r\n" for n in range(9000)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(Damaged):
        lines_with(path, "orgs.csv", "8999")


@given(st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=30))
def test_every_line_of_an_id_is_found_and_no_other(tmp_path_factory: pytest.TempPathFactory, ids: list[str]) -> None:
    rows = [f"{one},,,{ids[-1]},school,{ids[0]},{one}" for one in ids]
    path = _zip(tmp_path_factory.mktemp("set"), "\r\n".join([_HEADER, *rows]))
    for wanted in set(ids):
        assert _numbers(path, wanted) == [n for n, one in enumerate(ids, start=2) if one == wanted]
