"""Packages, manifests and headers: one test per rule."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from rosters.frames import CheckOptions
from rosters.oneroster import VERSIONS
from rosters.reading import read
from rosters.validating import check
from tests.rosters.reading.sets import ORG, found, ids, manifest, orgs_set, packed, read_orgs, severity, table

ORGS = table("orgs", ORG)
HEADER = VERSIONS["1.1"].tables["orgs"].header


def with_header(*names: str) -> str:
    return ",".join(names) + "\r\n" + ",".join(["school-1", *[""] * (len(names) - 1)]) + "\r\n"


def with_manifest(tmp_path: Path, text: str) -> Path:
    return packed(tmp_path / "set.zip", {"manifest.csv": text, "orgs.csv": ORGS})


def test_or_csv_009_no_manifest_is_fatal_in_a_zip_and_still_read(tmp_path: Path) -> None:
    delivered = read(packed(tmp_path / "set.zip", {"orgs.csv": ORGS}))
    assert severity(delivered, "OR-CSV-009") == "fatal"
    assert delivered.readable
    assert ids(delivered) == ["school-1"]
    assert not found(read(orgs_set(tmp_path, ORGS)), "OR-CSV-009")


def test_or_csv_009_no_manifest_in_a_folder_is_an_error_and_nothing_for_one_file(tmp_path: Path) -> None:
    (tmp_path / "orgs.csv").write_text(ORGS, newline="")
    assert severity(read(tmp_path), "OR-CSV-009") == "error"
    assert not found(read(tmp_path / "orgs.csv"), "OR-CSV-009")


def test_or_csv_010_what_a_set_without_manifest_is(tmp_path: Path) -> None:
    cases = {
        "1.1": {"users.csv": table("users", ("u",) + ("",) * 17)},
        "1.2": {"users.csv": table("users", ("u",) + ("",) * 20, version="1.2")},
        "": {
            "courses.csv": with_header(
                "sourcedId",
                "status",
                "dateLastModified",
                "schoolYearId",
                "title",
                "courseCode",
                "grade",
                "orgSourcedId",
                "subjects",
            )
        },
    }
    for version, files in cases.items():
        delivered = read(packed(tmp_path / "set.zip", files))
        assert delivered.version == version
        assert delivered.readable is bool(version)
        assert found(delivered, "OR-CSV-010")
    assert not found(read(orgs_set(tmp_path, ORGS)), "OR-CSV-010")


def test_or_csv_012_only_a_manifest_means_no_change(tmp_path: Path) -> None:
    delivered = read(packed(tmp_path / "set.zip", {"manifest.csv": manifest()}))
    assert delivered.readable
    assert delivered.tables == {}
    assert severity(delivered, "OR-CSV-012") == "info"
    assert not found(read(orgs_set(tmp_path, ORGS)), "OR-CSV-012")


def test_or_csv_014_a_file_of_1_2_in_a_set_of_1_1(tmp_path: Path) -> None:
    roles = table("roles", ("r",) + ("",) * 9, version="1.2")
    delivered = read(orgs_set(tmp_path, ORGS, **{"roles.csv": roles}))
    assert found(delivered, "OR-CSV-014", "roles.csv")
    assert "roles" not in delivered.tables
    assert not found(read(orgs_set(tmp_path, ORGS)), "OR-CSV-014")


@pytest.mark.parametrize("header", ["propertyName,propertyValue", "propertyname,value", "", "manifest.version,1.0"])
def test_or_csv_020_header_of_the_manifest(tmp_path: Path, header: str) -> None:
    delivered = read(with_manifest(tmp_path, manifest("orgs").replace("propertyName,value", header, 1)))
    assert severity(delivered, "OR-CSV-020") == "fatal"
    assert not delivered.readable
    assert not found(read(with_manifest(tmp_path, manifest("orgs"))), "OR-CSV-020")


BROKEN_MANIFESTS = {
    "OR-CSV-021": manifest("orgs") + "source.systemVersion\r\n",
    "OR-CSV-022": manifest("orgs") + "propertyName,value\r\n",
    "OR-CSV-023": manifest("orgs").replace("file.demographics", "fiel.demographics"),
    "OR-CSV-024": manifest("orgs", manifest_version="1"),
    "OR-CSV-025": manifest("orgs", oneroster_version="1.1.1"),
    "OR-CSV-026": manifest("orgs").replace("file.demographics,absent\r\n", ""),
    "OR-CSV-027": manifest("orgs", file_orgs="Bulk"),
    "OR-CSV-028": manifest("orgs", "users"),
    "OR-CSV-029": manifest(),
    "OR-CSV-030": manifest("orgs").replace("file.orgs,bulk\r\n", ""),
    "OR-CSV-033": manifest("orgs", "users", file_users="delta"),
    "OR-CSV-034": manifest("orgs", source_systemName=""),
}


@pytest.mark.parametrize("code", BROKEN_MANIFESTS)
def test_or_csv_021_to_034_the_manifest(tmp_path: Path, code: str) -> None:
    delivered = read(with_manifest(tmp_path, BROKEN_MANIFESTS[code]))
    assert found(delivered, code, "manifest.csv")
    assert delivered.readable
    assert ids(delivered) == ["school-1"]
    assert not found(read(with_manifest(tmp_path, manifest("orgs"))), code)


def test_or_csv_025_a_version_that_is_not_read(tmp_path: Path) -> None:
    for said in ("1.0", "2.0", ""):
        delivered = read(with_manifest(tmp_path, manifest("orgs", oneroster_version=said)))
        assert severity(delivered, "OR-CSV-025") == "fatal"
        assert not delivered.readable


def test_or_csv_031_the_rows_decide(tmp_path: Path) -> None:
    active = ("school-1", "active", "2026-01-01T00:00:00.000Z", *ORG[3:])
    gone = ("school-1", "tobedeleted", "2026-01-01T00:00:00.000Z", *ORG[3:])
    for row, declared, taken, told in (
        (ORG, "bulk", "bulk", False), (active, "bulk", "bulk", True), (gone, "bulk", "delta", True),
        (active, "delta", "delta", False), (ORG, "delta", "delta", True),
    ):  # fmt: skip
        files = {"manifest.csv": manifest("orgs", mode=declared), "orgs.csv": table("orgs", row)}
        delivered = read(packed(tmp_path / "set.zip", files))
        assert delivered.tables["orgs"].mode == taken
        assert bool(found(delivered, "OR-CSV-031")) is told


def test_or_csv_032_columns_of_another_version(tmp_path: Path) -> None:
    users = table("users", ("u",) + ("",) * 20, version="1.2")
    delivered = read(packed(tmp_path / "set.zip", {"manifest.csv": manifest("users"), "users.csv": users}))
    assert found(delivered, "OR-CSV-032", "users.csv")
    right = table("users", ("u",) + ("",) * 17)
    delivered = read(packed(tmp_path / "set.zip", {"manifest.csv": manifest("users"), "users.csv": right}))
    assert not found(delivered, "OR-CSV-032")


BROKEN_HEADERS = {
    "OR-CSV-061": [*HEADER[:3], "NAME", *HEADER[4:]],
    "OR-CSV-062": [*HEADER[:3], "type", "name", *HEADER[5:]],
    "OR-CSV-063": HEADER[:-1],
    "OR-CSV-064": [*HEADER, "name"],
    "OR-CSV-065": [*HEADER, ""],
    "OR-CSV-066": [*HEADER, "colour"],
    "OR-CSV-067": [*HEADER[:-1], "metadata.a", HEADER[-1]],
    "OR-CSV-068": [*HEADER, "ext_imagineLearning_databaseId"],
    "OR-CSV-069": [*HEADER[:3], " name ", *HEADER[4:]],
    "OR-CSV-071": [*HEADER[:-1], "parentSourceID"],
}


@pytest.mark.parametrize("code", BROKEN_HEADERS)
def test_or_csv_061_to_071_the_header(tmp_path: Path, code: str) -> None:
    delivered = read_orgs(tmp_path, with_header(*BROKEN_HEADERS[code]))
    assert found(delivered, code, "orgs.csv")
    assert ids(delivered) == ["school-1"]
    assert tuple(delivered.tables["orgs"].frame.columns[:7]) == HEADER
    assert not found(read_orgs(tmp_path, ORGS), code)


def test_or_name_001_a_column_that_a_district_calls_otherwise(tmp_path: Path) -> None:
    header = ("Org ID", "status", "dateLastModified", "School Name", *HEADER[4:])
    path = packed(
        tmp_path / "set.zip",
        {"manifest.csv": manifest("orgs"), "orgs.csv": f"{','.join(header)}\r\n{','.join(ORG)}\r\n"},
    )
    names = {"orgs.sourcedId": "org id", "orgs.name": "School Name", "users.email": "Mail", "orgs.colour": "type"}
    delivered = read(path, column_names=names)
    assert found(delivered, "OR-NAME-001", "orgs.csv") == [(1, "Org ID"), (1, "School Name")]
    assert ids(delivered) == ["school-1"]
    assert delivered.tables["orgs"].frame["name"].to_list() == [ORG[3]]
    assert not found(delivered, "OR-CSV-063") and not found(delivered, "OR-CSV-066")
    assert delivered.tables["orgs"].header == header, "the file's own words, by which a change of them is seen"
    assert "orgs" not in read(path).tables and not found(read(path), "OR-NAME-001")
    both = with_header("Org ID", *HEADER[1:], "School Name")
    twice = read(
        packed(tmp_path / "both.zip", {"manifest.csv": manifest("orgs"), "orgs.csv": both}), column_names=names
    )
    assert found(twice, "OR-CSV-064", "orgs.csv"), "the standard's name and the own one in one file"


def test_or_csv_060_data_in_the_first_row(tmp_path: Path) -> None:
    delivered = read_orgs(tmp_path, ",".join(ORG) + "\r\n")
    assert severity(delivered, "OR-CSV-060") == "fatal"
    assert not delivered.readable
    assert not found(read_orgs(tmp_path, ORGS), "OR-CSV-060")


def test_or_csv_063_without_sourced_id_a_table_counts_as_not_sent(tmp_path: Path) -> None:
    delivered = read_orgs(tmp_path, with_header("id", *HEADER[1:]))
    assert found(delivered, "OR-CSV-063")
    assert "orgs" not in delivered.tables


@pytest.mark.parametrize(
    ("name", "table_name", "code"),
    [("sourceId", "orgs", "OR-CSV-071"), ("userSourcedId", "demographics", "OR-CSV-070")],
)
def test_or_csv_063_the_column_that_is_probably_sourced_id_is_named(
    tmp_path: Path, name: str, table_name: str, code: str
) -> None:
    header = (name, *VERSIONS["1.1"].tables[table_name].header[1:])
    text = ",".join(header) + "\r\nx" + "," * (len(header) - 1) + "\r\n"
    files = {"manifest.csv": manifest(table_name), f"{table_name}.csv": text}
    delivered = read(packed(tmp_path / "set.zip", files))
    assert found(delivered, code) == [(1, name)]
    (finding,) = [f for f in delivered.findings if f.code == "OR-CSV-063"]
    assert f"Is {name} meant to be it?" in finding.message
    assert delivered.unusable == {table_name: "cannot be used"}


def test_or_csv_070_a_name_of_1_0_that_differs_in_case_only_is_read(tmp_path: Path) -> None:
    header = ["birthdate" if c == "birthDate" else c for c in VERSIONS["1.1"].tables["demographics"].header]
    text = ",".join(header) + "\r\nx,,,2015-01-02" + "," * (len(header) - 4) + "\r\n"
    files = {"manifest.csv": manifest("demographics"), "demographics.csv": text}
    delivered = read(packed(tmp_path / "set.zip", files))
    assert found(delivered, "OR-CSV-070") == [(1, "birthdate")]
    assert not found(delivered, "OR-CSV-061")
    assert delivered.tables["demographics"].frame["birthDate"].to_list() == ["2015-01-02"]


def test_or_csv_027_a_property_without_a_value(tmp_path: Path) -> None:
    delivered = read(with_manifest(tmp_path, manifest("orgs", file_orgs="")))
    assert found(delivered, "OR-CSV-027", "manifest.csv")
    assert not found(delivered, "OR-CSV-026")
    assert not found(delivered, "OR-CSV-030")


def test_a_file_that_came_is_never_said_to_be_missing(tmp_path: Path) -> None:
    twins = {"manifest.csv": manifest("orgs"), "orgs.csv": ORGS, "Orgs.csv": ORGS}
    hollow = {"manifest.csv": manifest("orgs"), "orgs.csv": ORGS.split("\r\n")[0] + "\r\n"}
    for files, why in ((twins, "cannot be used"), (hollow, "holds no rows")):
        delivered = read(packed(tmp_path / "set.zip", files))
        assert not found(delivered, "OR-CSV-028")
        assert delivered.unusable == {"orgs": why}
        checked = check(delivered, options=CheckOptions(today=date(2026, 11, 24)))
        assert ("ROSTER-INCOMPLETE", f"orgs.csv came, but {why}.") in checked.rejections
        errors = [f for f in checked.findings if f.severity == "error"]
        assert errors[0].code in ("OR-CSV-006", "OR-CSV-049"), "the cause comes first"
        assert f"It came, but {why}." in next(f.message for f in errors if f.code == "OR-CSV-015")


def test_or_csv_064_columns_of_one_name_that_disagree(tmp_path: Path) -> None:
    delivered = read_orgs(tmp_path, ",".join([*HEADER, "name"]) + "\r\n" + ",".join([*ORG, "South"]) + "\r\n")
    assert found(delivered, "OR-CSV-064")
    assert "orgs" not in delivered.tables


def test_or_csv_070_names_of_1_0(tmp_path: Path) -> None:
    header = list(VERSIONS["1.1"].tables["classes"].header)
    header[4] = "grade"
    classes = ",".join(header) + "\r\nc" + "," * (len(header) - 1) + "\r\n"
    delivered = read(packed(tmp_path / "set.zip", {"manifest.csv": manifest("classes"), "classes.csv": classes}))
    assert found(delivered, "OR-CSV-070") == [(1, "grade")]
    right = table("classes", ("c",) + ("",) * (len(header) - 1))
    delivered = read(packed(tmp_path / "set.zip", {"manifest.csv": manifest("classes"), "classes.csv": right}))
    assert not found(delivered, "OR-CSV-070")


def test_or_csv_072_the_first_layout_of_1_2(tmp_path: Path) -> None:
    users = VERSIONS["1.2"].tables["users"]
    for header, told in ((users.former_header, True), (users.header, False)):
        text = ",".join(header) + "\r\nu" + "," * (len(header) - 1) + "\r\n"
        files = {"manifest.csv": manifest("users", version="1.2"), "users.csv": text}
        delivered = read(packed(tmp_path / "set.zip", files))
        assert bool(found(delivered, "OR-CSV-072")) is told
        assert not found(delivered, "OR-CSV-062")


def test_columns_are_read_by_name_in_any_order(tmp_path: Path) -> None:
    turned = ",".join(reversed(HEADER)) + ",metadata.x\r\n" + ",".join(reversed(ORG)) + ",y\r\n"
    frame = read_orgs(tmp_path, turned).tables["orgs"].frame
    assert frame.rows() == [(*ORG, "y", 2)]
    assert frame.columns == [*HEADER, "metadata.x", "line"]


def test_a_rule_that_is_off_takes_no_bad_row(tmp_path: Path) -> None:
    path = orgs_set(tmp_path, table("orgs", ORG, ("a", "b")))
    delivered = read(path, overrides={"OR-CSV-045": "off"})
    assert not found(delivered, "OR-CSV-045")
    assert ids(delivered) == ["school-1"]
    assert len(delivered.tables["orgs"].unread) == 1


@pytest.mark.parametrize("with_a_manifest", [False, True])
def test_another_format_with_the_same_file_names_is_refused_by_its_name(tmp_path: Path, with_a_manifest: bool) -> None:
    files = {"users.csv": "sourcedId,username,givenName,familyName,activeDirectoryMatchId\r\nu1,u,A,B,x\r\n"}
    if with_a_manifest:
        files["manifest.csv"] = manifest("users")
    delivered = read(packed(tmp_path / "set.zip", files))
    assert not delivered.readable
    (finding,) = [f for f in delivered.findings if f.code == "OR-CSV-060"]
    assert (finding.file, finding.severity) == ("users.csv", "fatal")
    assert "School Data Sync" in finding.message
