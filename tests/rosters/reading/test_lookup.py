"""Somebody's rows in a delivery: found by id or name, wherever they stand, and never another's."""

from __future__ import annotations

import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosters import making, reading
from rosters.frames import LINE
from rosters.reading.lookup import Called, Damaged, Naming, Rows, Wanted, looking_into
from tests.rosters.reading import pulls

_HEADER = "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId"


def _zip(folder: Path, text: str, *, encoding: str = "utf-8", file: str = "orgs.csv") -> Path:
    path = folder / "set.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(file, text.encode(encoding))
    return path


def _rows(path: Path, wanted: Wanted, table: str = "orgs", *, most: int = 20, encoding: str = "") -> Rows:
    with looking_into(path, encoding=encoding) as lookup:
        return lookup.rows(table, wanted, most)


def _numbers(path: Path, sourced_id: str) -> list[int]:
    return [row.number for row in _rows(path, Naming("sourcedId", {sourced_id})).rows if row.torn is None]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_line_is_found_whatever_ends_the_lines(tmp_path: Path, end: str, encoding: str) -> None:
    rows = [_HEADER, "a,,,Ash,school,,", "b,,,Birch,school,,a", 'c,,,"Cedar, ""Old""",school,,a']
    path = _zip(tmp_path, end.join(rows), encoding=encoding)
    (line,) = _rows(path, Naming("sourcedId", {"c"})).rows
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
    again = _rows(_zip(tmp_path, "\n".join([_HEADER, *["1,,,A,school,,1"] * 50])), Naming("sourcedId", {"1"}))
    assert [row.number for row in again.rows] == list(range(2, 22)) and again.more
    whole = _rows(_zip(tmp_path, "\n".join([_HEADER, *["1,,,A,school,,1"] * 20])), Naming("sourcedId", {"1"}))
    assert len(whole.rows) == 20 and not whole.more


def test_a_line_that_is_no_row_is_told_by_its_beginning(tmp_path: Path) -> None:
    rows = [_HEADER, 'a,,,"open,school,,', "a,,,A,school", "a,,,A,school,,", "b,,,B,school"]
    path = _zip(tmp_path, "\r\n".join(rows))
    assert _numbers(path, "a") == [4]
    found = _rows(path, Naming("sourcedId", {"a"})).rows
    assert [(row.number, row.torn) for row in found[:2]] == [(2, 'a,,,"open,school,,'), (3, "a,,,A,school")]
    assert not found[0].cells


def test_a_file_whose_header_is_none_has_lines_all_the_same(tmp_path: Path) -> None:
    path = _zip(tmp_path, "sourcedId;name;type\r\na;Ash;school\r\n")
    (line,) = _rows(path, Called("ash")).rows
    assert (line.number, line.torn) == (2, "a;Ash;school")


def test_what_is_not_there_has_no_line(tmp_path: Path) -> None:
    path = _zip(tmp_path, f"{_HEADER}\r\na,,,A,school,,\r\n")
    nothing = _rows(path, Naming("sourcedId", {"a"}), "users")
    assert (nothing.rows, nothing.absent) == ([], True)
    assert _rows(path, Naming("sourcedId", set())).rows == [] == _rows(path, Called(" , ")).rows
    assert _rows(_zip(tmp_path, ""), Naming("sourcedId", {"A"})).rows == []
    (tmp_path / "no.zip").write_bytes(b"no zip at all")
    with pytest.raises(Damaged), looking_into(tmp_path / "no.zip"):
        pass
    with pytest.raises(FileNotFoundError), looking_into(tmp_path / "gone.zip"):
        pass


def test_another_encoding_is_read_as_a_person_chose(tmp_path: Path) -> None:
    path = _zip(tmp_path, f"{_HEADER}\r\na,,,École,school,,\r\n", encoding="cp1252")
    (line,) = _rows(path, Naming("sourcedId", {"a"}), encoding="windows-1252").rows
    assert line.cell("name") == "École"


def test_a_file_that_breaks_off_is_said_to(tmp_path: Path) -> None:
    path = _zip(tmp_path, f"{_HEADER}\r\n" + "".join(f"{n},,,School {n * n},school,,\r\n" for n in range(9000)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert _rows(path, Naming("sourcedId", {"8999"})).broken


def test_a_column_is_known_as_the_import_knows_it(tmp_path: Path) -> None:
    text = "SourcedID,status,dateLastModified,Title,type,identifier,parentSourcedId,More\r\na,,,Ash,school,7,,x\r\n"
    with looking_into(_zip(tmp_path, text), column_names={"orgs.name": "Title"}) as lookup:
        (line,) = lookup.rows("orgs", Naming("sourcedId", {"a"}), 9).rows
    assert (line.cell("sourcedId"), line.cell("name"), line.cells[-1]) == ("a", "Ash", ("More", "x"))


_PEOPLE = (
    "sourcedId,username,givenName,familyName,middleName,identifier,email,userIds",
    "p1,zlopez,Zoë,López Ruiz,,4711,zoe@x.org,{LDAP:zl-7}",
    'p2,mo,Maria,"O\'Hara, Jr.",Anne-Sophie,4712,,',
    "p3,zoe,Marianne,Jansen,,47,m@x.org,",
)


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        ("zoe", [2, 4]), ("ZOË lop", [2]), ("Lopez, Zoe", [2]), ("ruiz", [2]), ("maria", [3, 4]), ("hara", [3]),
        ("o'hara maria", [3]), ("sophie", [3]), ("4711", [2]), ("47", [4]), ("zoe@x.org", [2]), ("zl-7", [2]),
        ("p2", [3]), ("x.org", []), ("arianne", []), ("zoe jansen", []), ("p", []), ("{", []),
    ],
)  # fmt: skip
def test_people_are_found_as_they_are_called(tmp_path: Path, asked: str, numbers: list[int]) -> None:
    """By the beginnings of their names in any order, case and spelling, and exactly by what is theirs alone."""
    path = _zip(tmp_path, "\r\n".join([*_PEOPLE, ""]), file="users.csv")
    assert [row.number for row in _rows(path, Called(asked), "users").rows] == numbers


def test_somebody_whose_line_is_no_row_is_found_by_name(tmp_path: Path) -> None:
    rows = [*_PEOPLE, "p4,kc,Kim,Park, Jr.,,4713,,", "p5,ab,Ada,Byron,,4714,,", ""]
    (line,) = _rows(_zip(tmp_path, "\n".join(rows), file="users.csv"), Called("park kim"), "users").rows
    assert (line.number, line.torn) == (5, "p4,kc,Kim,Park, Jr.,,4713,,")


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_of_a_pull_the_same_is_found_as_is_read(tmp_path: Path, version: str) -> None:
    tables = making.make_roster(users=160, seed=5, today=date(2026, 11, 20), name="Cedar Grove", version=version)
    path = pulls.pulled(tmp_path / "pull.zip", pulls.records(tables), version=version, size=30)
    read = reading.read(path)
    assert read.readable
    person = read.tables["enrollments"].frame.filter(role="student").row(40, named=True)["userSourcedId"]
    of = {"users": "sourcedId", "enrollments": "userSourcedId", "demographics": "sourcedId"}
    for table, column in of.items() if version == "1.1" else {**of, "roles": "userSourcedId"}.items():
        rows = read.tables[table].frame.filter(read.tables[table].frame[column] == person)
        found = _rows(path, Naming(column, {person}), table).rows
        assert [row.number for row in found] == rows[LINE].to_list() and found
        assert [dict(row.cells) for row in found] == rows.drop(LINE).to_dicts()
    users = read.tables["users"].frame
    one = users.filter(users["sourcedId"] == person).row(0, named=True)
    called = f"{one['familyName']} {one['givenName']}"
    assert one[LINE] in [row.number for row in _rows(path, Called(called), "users", most=99).rows]
    assert _rows(path, Called("nobody at all"), "users").rows == []
    assert _rows(path, Naming("sourcedId", {"x"}), "results").absent


@pytest.mark.parametrize(
    "page",
    [
        b'{"users": [{"sourcedId": "a"', b'{"classes": []}', b'[]', b'{"users": "\\u0061nna"}', b'\xff\xfe',
        b'{"users": {}}', b'{"users": [1, "\\u0061nna"]}', b'{"users": ' + b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_page_that_is_none_breaks_nothing_else(tmp_path: Path, page: bytes) -> None:
    def spoil(pull: dict[str, Any], pages: dict[str, bytes]) -> None:
        pages["users-000001.json"] = page

    tables = making.make_roster(users=60, seed=5, today=date(2026, 11, 20), name="Cedar Grove")
    path = pulls.pulled(tmp_path / "pull.zip", pulls.records(tables), change=spoil)
    found = _rows(path, Called("anna"), "users")
    assert found.broken or not found.rows
    assert _rows(path, Naming("sourcedId", {tables["orgs"]["sourcedId"][0]})).rows


@given(st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=30))
def test_every_line_of_an_id_is_found_and_no_other(tmp_path_factory: pytest.TempPathFactory, ids: list[str]) -> None:
    rows = [f"{one},,,{ids[-1]},school,{ids[0]},{one}" for one in ids]
    path = _zip(tmp_path_factory.mktemp("set"), "\r\n".join([_HEADER, *rows]))
    for wanted in set(ids):
        assert _numbers(path, wanted) == [n for n, one in enumerate(ids, start=2) if one == wanted]
