"""Zips from strangers: what is refused, and that nothing else is."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from rosters.reading import Limits, read
from tests.rosters.reading.sets import ORG, found, ids, manifest, orgs_set, packed, severity, table

ORGS = table("orgs", ORG)


def good(tmp_path: Path) -> bytes:
    return orgs_set(tmp_path, ORGS).read_bytes()


def refused(tmp_path: Path, data: bytes, code: str) -> str:
    """Reads `data` as a zip that must be refused by `code`; returns what is said of it."""
    path = tmp_path / "bad.zip"
    path.write_bytes(data)
    delivered = read(path)
    assert not delivered.readable
    assert not delivered.tables
    assert severity(delivered, code) == "fatal"
    return next(str(finding.message) for finding in delivered.findings if finding.code == code)


def test_or_csv_001_a_good_zip_is_read(tmp_path: Path) -> None:
    delivered = read(orgs_set(tmp_path, ORGS))
    assert delivered.readable
    assert delivered.version == "1.1"
    assert ids(delivered) == ["school-1"]


def test_or_csv_001_a_zip_cut_anywhere(tmp_path: Path) -> None:
    whole = good(tmp_path)
    for length in range(len(whole)):
        refused(tmp_path, whole[:length], "OR-CSV-001")


def test_or_csv_001_a_flipped_byte_never_changes_what_is_read(tmp_path: Path) -> None:
    whole = good(tmp_path)
    path = tmp_path / "flipped.zip"
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x20]) + whole[position + 1 :])
        delivered = read(path)
        if delivered.readable and "orgs" in delivered.tables:
            assert delivered.tables["orgs"].frame.rows() == [(*ORG, 2)]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty (0 bytes)"),
        (b"<!DOCTYPE html><html>Log in</html>", "web page"),
        (b"%PDF-1.7 ...", "PDF"),
        (b"\x1f\x8b\x08\x00 ...", "gzip"),
        (b"7z\xbc\xaf\x27\x1c ...", "7-Zip"),
        (b"sourcedId,status\r\n", "does not begin like a zip"),
    ],
)
def test_or_csv_001_what_is_no_zip_is_named(tmp_path: Path, data: bytes, words: str) -> None:
    assert words in refused(tmp_path, data, "OR-CSV-001")


def test_or_csv_001_encrypted(tmp_path: Path) -> None:
    data = bytearray(good(tmp_path))
    data[6] |= 1
    central = data.find(b"PK\x01\x02")
    data[central + 8] |= 1
    assert "password" in refused(tmp_path, bytes(data), "OR-CSV-001")


def test_or_csv_001_bytes_before_after_and_between(tmp_path: Path) -> None:
    whole = good(tmp_path)
    refused(tmp_path, b"PK\x03\x04junk" + whole, "OR-CSV-001")
    refused(tmp_path, whole + b"junk", "OR-CSV-001")
    refused(tmp_path, whole + whole, "OR-CSV-001")


def test_or_csv_001_local_header_tells_another_name(tmp_path: Path) -> None:
    data = good(tmp_path).replace(b"orgs.csv", b"0rgs.csv", 1)
    assert "contradict" in refused(tmp_path, data, "OR-CSV-001")


def test_or_csv_002_stored_is_accepted_and_bzip2_is_not(tmp_path: Path) -> None:
    for method, accepted in ((zipfile.ZIP_STORED, True), (zipfile.ZIP_BZIP2, False)):
        path = tmp_path / f"{method}.zip"
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("manifest.csv", manifest("orgs"))
            archive.writestr("orgs.csv", ORGS)
        delivered = read(path)
        assert delivered.readable is accepted
        assert severity(delivered, "OR-CSV-002") == ("info" if accepted else "fatal")


def test_or_csv_003_one_folder_around_everything_is_read(tmp_path: Path) -> None:
    delivered = read(packed(tmp_path / "a.zip", {"export/manifest.csv": manifest("orgs"), "export/orgs.csv": ORGS}))
    assert found(delivered, "OR-CSV-003") == [(None, "export/")]
    assert ids(delivered) == ["school-1"]
    assert not found(read(orgs_set(tmp_path, ORGS)), "OR-CSV-003")


def test_or_csv_003_folders_in_folders_around_everything_are_read_through(tmp_path: Path) -> None:
    files = {"export/2026/manifest.csv": manifest("orgs"), "export/2026/orgs.csv": ORGS}
    delivered = read(packed(tmp_path / "a.zip", files))
    assert found(delivered, "OR-CSV-003") == [(None, "export/2026/")]
    assert ids(delivered) == ["school-1"]
    files = {"export/manifest.csv": manifest("orgs"), "export/orgs.csv": ORGS, "export/old/orgs.csv": ORGS}
    delivered = read(packed(tmp_path / "b.zip", files))
    assert found(delivered, "OR-CSV-003") == [(None, "old/orgs.csv"), (None, "export/")]
    assert ids(delivered) == ["school-1"]


def test_what_keeps_every_file_from_being_found_is_said_first(tmp_path: Path) -> None:
    deep = read(packed(tmp_path / "a.zip", {"north/orgs.csv": ORGS, "south/orgs.csv": ORGS}))
    inner = read(packed(tmp_path / "b.zip", {"export.zip": "x"}))
    for delivered, cause in ((deep, "OR-CSV-003"), (inner, "OR-CSV-011")):
        assert not delivered.readable
        assert delivered.findings.ordered()[0].code == cause
        assert severity(delivered, cause) == "fatal"
        assert severity(delivered, "OR-CSV-009") == "error", "it only follows"
    nothing = read(packed(tmp_path / "c.zip", {"readme.txt": "x"}))
    assert nothing.findings.ordered()[0].code == "OR-CSV-009"


def test_or_csv_003_files_in_several_folders_are_not_read(tmp_path: Path) -> None:
    files = {"manifest.csv": manifest("orgs"), "north/orgs.csv": ORGS, "south/orgs.csv": ORGS}
    delivered = read(packed(tmp_path / "a.zip", files))
    assert found(delivered, "OR-CSV-003") == [(None, "north/orgs.csv"), (None, "south/orgs.csv")]
    assert "orgs" not in delivered.tables


@pytest.mark.parametrize(
    "name",
    [
        "../orgs.csv",
        "/orgs.csv",
        "C:orgs.csv",
        "a\\orgs.csv",
        "a/../orgs.csv",
        "orgs\n.csv",
        "\u202eorgs.csv",
        "a//b.csv",
    ],
)
def test_or_csv_004_names_that_lead_out(tmp_path: Path, name: str) -> None:
    delivered = read(packed(tmp_path / "a.zip", {"manifest.csv": manifest("orgs"), name: ORGS}))
    assert severity(delivered, "OR-CSV-004") == "fatal"
    assert not delivered.readable


def test_or_csv_004_links(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("orgs.csv")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.csv", manifest("orgs"))
        archive.writestr(info, "/etc/passwd")
    assert severity(read(path), "OR-CSV-004") == "fatal"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_or_csv_004_one_path_twice_also_in_another_unicode_form(tmp_path: Path) -> None:
    for first, second in (("orgs.csv", "orgs.csv"), ("caf\u00e9.csv", "cafe\u0301.csv")):
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("manifest.csv", manifest("orgs"))
            archive.writestr(first, ORGS)
            archive.writestr(second, ORGS)
        assert severity(read(path), "OR-CSV-004") == "fatal"


def test_or_csv_005_ratio_is_judged_only_where_it_matters(tmp_path: Path) -> None:
    repeated = table("orgs", *([ORG] * 20_000))
    assert len(repeated) < Limits().ratio_from
    assert read(orgs_set(tmp_path, repeated)).readable
    bomb = orgs_set(tmp_path, ORGS + "x" * (2 << 20))
    assert severity(read(bomb), "OR-CSV-005") == "fatal"


def test_or_csv_005_too_many_entries_and_too_much(tmp_path: Path) -> None:
    many = packed(tmp_path / "many.zip", {"manifest.csv": manifest()} | {f"{n}.txt": "" for n in range(60)})
    assert severity(read(many), "OR-CSV-005") == "fatal"
    thousands = packed(tmp_path / "more.zip", {f"{n}.txt": "" for n in range(3_000)})
    assert severity(read(thousands), "OR-CSV-005") == "fatal"
    assert severity(read(orgs_set(tmp_path, ORGS), limits=Limits(unpacked=100)), "OR-CSV-005") == "fatal"
    assert severity(read(orgs_set(tmp_path, ORGS), limits=Limits(packed=100)), "OR-CSV-005") == "fatal"


def test_or_csv_005_overlapping_entries(tmp_path: Path) -> None:
    data = bytearray(good(tmp_path))
    first = data.find(b"PK\x01\x02")
    second = data.find(b"PK\x01\x02", first + 4)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    path = tmp_path / "overlap.zip"
    path.write_bytes(data)
    delivered = read(path)
    assert not delivered.readable
    assert {finding.code for finding in delivered.findings} <= {"OR-CSV-005", "OR-CSV-001"}


def test_or_csv_005_a_size_that_lies(tmp_path: Path) -> None:
    content = ORGS.encode() + b"a,,,b,school,,\r\n" * 500
    shown = len(ORGS)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.csv", manifest("orgs"))
        archive.writestr("orgs.csv", content)
    data = buffer.getvalue()
    honest = struct.pack("<L", len(content))
    lie = data.replace(honest, struct.pack("<L", shown)).replace(
        struct.pack("<L", zlib.crc32(content)), struct.pack("<L", zlib.crc32(content[:shown]))
    )
    path = tmp_path / "lie.zip"
    path.write_bytes(lie)
    delivered = read(path)
    assert not delivered.readable
    assert severity(delivered, "OR-CSV-005") == "fatal"


def test_or_csv_006_two_spellings_of_one_file_are_both_left(tmp_path: Path) -> None:
    delivered = read(packed(tmp_path / "a.zip", {"manifest.csv": manifest("orgs"), "orgs.csv": ORGS, "Orgs.csv": ORGS}))
    assert found(delivered, "OR-CSV-006") == [(None, "Orgs.csv"), (None, "orgs.csv")]
    assert "orgs" not in delivered.tables
    assert not found(read(orgs_set(tmp_path, ORGS)), "OR-CSV-006")


def test_or_csv_007_a_name_in_another_case_is_read(tmp_path: Path) -> None:
    delivered = read(packed(tmp_path / "a.zip", {"manifest.csv": manifest("orgs"), "ORGS.CSV": ORGS}))
    assert found(delivered, "OR-CSV-007") == [(None, "ORGS.CSV")]
    assert ids(delivered) == ["school-1"]
    assert not found(read(orgs_set(tmp_path, ORGS)), "OR-CSV-007")


def test_or_csv_008_unknown_files_and_what_systems_leave(tmp_path: Path) -> None:
    delivered = read(orgs_set(tmp_path, ORGS, **{"notes.csv": "x"}))
    assert found(delivered, "OR-CSV-008") == [(None, "notes.csv")]
    assert severity(delivered, "OR-CSV-008") == "warning"
    junk = {"__MACOSX/._orgs.csv": "x", ".DS_Store": "x", "Thumbs.db": "x", "desktop.ini": "x"}
    delivered = read(orgs_set(tmp_path, ORGS, **junk))
    assert len(found(delivered, "OR-CSV-008")) == 4
    assert severity(delivered, "OR-CSV-008") == "info"


def test_or_csv_011_a_zip_in_the_zip_and_a_workbook_called_csv(tmp_path: Path) -> None:
    inner = good(tmp_path)
    delivered = read(orgs_set(tmp_path, ORGS, **{"orgs.zip": "x", "orgs.xlsx": "x"}))
    assert found(delivered, "OR-CSV-011") == [(None, "orgs.zip"), (None, "orgs.xlsx")]
    assert ids(delivered) == ["school-1"]
    delivered = read(orgs_set(tmp_path, inner))
    assert not delivered.readable
    assert severity(delivered, "OR-CSV-011") == "fatal"


def test_a_folder_and_a_single_file_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "manifest.csv").write_text(manifest("orgs"), newline="")
    (tmp_path / "set" / "orgs.csv").write_text(ORGS, newline="")
    assert ids(read(tmp_path / "set")) == ["school-1"]
    assert ids(read(tmp_path / "set" / "orgs.csv")) == ["school-1"]


def test_or_csv_005_a_folder_may_hold_no_more_than_a_zip(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text(manifest("orgs"), newline="")
    (tmp_path / "orgs.csv").write_text(ORGS, newline="")
    assert read(tmp_path).readable
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    for limits in (Limits(unpacked=size - 1), Limits(entries=1)):
        delivered = read(tmp_path, limits=limits)
        assert not delivered.readable
        assert severity(delivered, "OR-CSV-005") == "fatal"
    assert read(tmp_path, limits=Limits(unpacked=size, entries=2)).readable
    assert not read(tmp_path / "orgs.csv", limits=Limits(unpacked=len(ORGS) - 1)).readable
