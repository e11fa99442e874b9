"""What is mended, what is said of it, and what is left alone because nobody could be sure."""

from __future__ import annotations

import codecs
from collections.abc import Callable

import pytest

from connections.onboarding.repairing import repaired
from tests.rosters.reading.sets import ORG, manifest, table

ORGS = table("orgs", ORG, ("district-1", "", "", "Bückeburg", "district", "", ""))


def mended(name: str, content: bytes, version: str = "1.1") -> tuple[bytes, list[str]]:
    """The only file beside a manifest, and what was changed in it."""
    files, changes = repaired({"manifest.csv": manifest(version=version).encode(), name: content})
    (new,) = set(files) - {"manifest.csv"}
    return files[new], changes


def test_what_is_as_it_should_be_comes_back_byte_for_byte() -> None:
    files = {"manifest.csv": manifest("orgs").encode(), "orgs.csv": ORGS.encode(), "notes.txt": b"\xff\x00"}
    assert repaired(files) == (files, [])


@pytest.mark.parametrize(
    ("encode", "said"),
    [
        (lambda text: text.encode("cp1252"), "it was read as Windows-1252 and written as UTF-8"),
        (lambda text: text.encode("utf-16"), "it was read as UTF-16 and written as UTF-8"),
        (lambda text: text.encode("utf-32"), "it was read as UTF-32 and written as UTF-8"),
        (lambda text: codecs.BOM_UTF8 + text.encode(), "the invisible mark at its beginning was taken off"),
    ],
)
def test_text_becomes_plain_utf_8(encode: Callable[[str], bytes], said: str) -> None:
    content, (change,) = mended("orgs.csv", encode(ORGS))
    assert content == ORGS.encode()
    assert said in change


@pytest.mark.parametrize("content", [ORGS.encode("cp1252") + b"\x81", ORGS.encode("utf-16-le"), b"\xff\xfe\x00"])
def test_bytes_that_are_nothing_known_are_left_alone(content: bytes) -> None:
    assert mended("orgs.csv", content) == (content, [])


def test_a_file_gets_the_name_of_the_standard() -> None:
    files, changes = repaired({"MANIFEST.CSV": manifest("orgs").encode(), "Orgs.csv": ORGS.encode()})
    assert set(files) == {"manifest.csv", "orgs.csv"}
    assert changes == ["MANIFEST.CSV was renamed to manifest.csv.", "Orgs.csv was renamed to orgs.csv."]


def test_of_two_files_that_would_clash_none_is_renamed() -> None:
    files = {"orgs.csv": ORGS.encode(), "Orgs.csv": b"x"}
    assert repaired(files) == (files, [])


def test_a_header_is_spelled_as_the_standard_does() -> None:
    content, changes = mended("orgs.csv", ORGS.replace("sourcedId,", "SOURCEDID ,", 1).encode())
    assert content == ORGS.encode()
    assert changes == ["orgs.csv: the header spells sourcedId as the standard does."]


def test_columns_stand_in_the_order_of_the_standard_with_what_is_not_of_it_behind() -> None:
    turned = 'name,metadata.x,"sourcedId",type\n"North, School",1,school-1,school\n\nSouth,2,school-2,school\n'
    content, changes = mended("orgs.csv", turned.encode())
    assert content.decode().splitlines() == [
        "sourcedId,name,type,metadata.x", 'school-1,"North, School",school,1', "", "school-2,South,school,2",
    ]  # fmt: skip
    assert changes == ["orgs.csv: the columns stand in the order of the standard."]


def test_true_and_false_of_a_spreadsheet_become_small_and_nothing_else_does() -> None:
    shouting = table(
        "demographics",
        ("u-1", "", "", "2015-01-01", "male", "TRUE", "False", "YES", "TRUE-ish", "", "", "", "TRUE", "", "", ""),
    )
    content, (change,) = mended("demographics.csv", shouting.encode())
    cells = content.decode().splitlines()[1].split(",")
    assert cells[5:9] == ["true", "false", "YES", "TRUE-ish"]
    assert change.startswith("demographics.csv: ")
    assert change.endswith("cells say true or false in small letters.")


@pytest.mark.parametrize("row", ["too,few", 'a "quote, in, the, middle', '"never closed'])
def test_a_file_of_which_a_row_is_broken_keeps_its_rows(row: str) -> None:
    turned = ORGS.replace("sourcedId,status", "status,sourcedId", 1)
    content = (turned + row + "\r\n").encode()
    assert mended("orgs.csv", content) == (content, [])


def test_a_header_alone_is_mended_above_rows_of_any_kind() -> None:
    content, _ = mended("orgs.csv", (ORGS.replace("sourcedId", "SOURCEDID", 1) + "too,few\r\n").encode())
    assert content == (ORGS + "too,few\r\n").encode()


def test_columns_of_one_name_are_left_alone() -> None:
    content = ORGS.replace("sourcedId,status", "sourcedId,SourcedId", 1).encode()
    assert mended("orgs.csv", content) == (content, [])


def test_the_manifest_says_by_which_version_a_header_is_spelled() -> None:
    sent = b"sourcedid,status,dateLastModified,enabledUser,username,usermasteridentifier\r\n"
    assert b"userMasterIdentifier" in mended("users.csv", sent, "1.2")[0]
    assert b"userMasterIdentifier" not in mended("users.csv", sent, "1.1")[0]
