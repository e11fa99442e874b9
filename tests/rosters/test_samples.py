"""Public sets of files that others made: what the check says of each, and the whole trip for those that can be used.

The sets are not part of this project (docs/compatibility.md says where they come from). PORTAL_SAMPLES names the folder
with one folder for each source; without it, ``shared/samples`` beside the checkout is looked at.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from rosters.findings import Finding
from rosters.frames import Checked, CheckOptions
from rosters.oneroster import VERSIONS
from rosters.oneroster.normal import NORMAL
from rosters.reading import read
from rosters.validating import check

SAMPLES = Path(os.environ.get("PORTAL_SAMPLES") or Path(__file__).parents[3] / "shared" / "samples")
TODAY = date(2026, 11, 24)

pytestmark = pytest.mark.skipif(
    not SAMPLES.is_dir(), reason="the public sample sets, which are not part of this project, are not here"
)


@dataclass(frozen=True, slots=True)
class Expected:
    """`codes`: some of what the check must find. `people`: rows of users in the live roster; 0: it is refused."""

    version: str
    codes: str
    people: int = 0
    readable: bool = True


SETS = {
    "generated/oneroster-school-small.zip": Expected("1.1", "080 081 105 031 202 213", 79),
    "generated/oneroster-district-medium.zip": Expected("1.1", "080 081 105 031 213", 837),
    "generated/oneroster-multi-10k.zip": Expected("1.1", "080 081 105 031 213 226 270", 9719),
    "legertom/small-semesters.zip": Expected("1.1", "080 081 104 031 047 145 221", 198),
    "legertom/small-yearround-nodemo.zip": Expected("1.1", "080 081 104 031 047 145", 90),
    "moodle/Test_minimal_data_set.zip": Expected("1.1", "013 015 106 185 208 214 142"),
    "moodle/Test_full_data_set.zip": Expected("1.1", "015 085 086 104 163 164 185 208 212 031 142"),
    "moodle/oneroster_test_data.zip": Expected("1.2", "106 202 273", 1),
    "oat-sa/OneRosterv1p1BaseCSV": Expected("1.1", "015 049 062 063 067 070 084 085 100 104 068"),
    "lookalike/SDS v2.1": Expected("", "009 060", readable=False),
}


def checked_set(path: Path) -> tuple[str, bool, Checked]:
    delivered = read(path)
    return delivered.version, delivered.readable, check(delivered, options=CheckOptions(today=TODAY))


@pytest.mark.parametrize("name", SETS)
def test_each_set_gets_the_verdict_that_the_standard_asks_for(name: str) -> None:
    expected = SETS[name]
    version, readable, checked = checked_set(SAMPLES / name)
    assert (version, readable) == (expected.version, expected.readable)
    assert {f"OR-CSV-{code}" for code in expected.codes.split()} <= {f.code for f in checked.findings}
    assert bool(checked.rejections) is not bool(expected.people)
    if expected.people:
        assert all(f.effect == "none" for f in checked.findings)
        assert all(t.quarantined.is_empty() and not t.nameless for t in checked.tables.values())


def test_no_row_of_these_sets_is_unread() -> None:
    for name, expected in SETS.items():
        if expected.readable and name.endswith(".zip"):
            tables = read(SAMPLES / name).tables.values()
            assert all(table.unread.is_empty() and len(table.frame) for table in tables), name


def test_another_format_with_the_same_file_names_is_refused_by_its_name() -> None:
    _, _, checked = checked_set(SAMPLES / "lookalike" / "SDS v2.1")
    (said,) = {f.message for f in checked.findings if f.code == "OR-CSV-060"}
    assert "School Data Sync" in said
    assert "not OneRoster" in said
    assert not checked.tables


def test_a_school_year_given_as_both_of_its_years_is_read_as_the_closing_one() -> None:
    _, _, checked = checked_set(SAMPLES / "generated" / "oneroster-school-small.zip")
    assert checked.tables["academicSessions"].frame["schoolYear"].to_list() == ["2027", "2027"]


def command(*words: str) -> tuple[int, str]:
    out = io.StringIO()
    with pytest.raises(SystemExit) as left:
        call_command(*words, stdout=out, stderr=io.StringIO())
    return int(left.value.code or 0), out.getvalue()


def imported(site: str, path: Path) -> tuple[int, dict[str, Any]]:
    code, told = command("import_roster", site, str(path), "--create", path.stem, "--approve", "--json")
    return code, json.loads(told)


def turned(path: Path, target: Path) -> Path:
    """The same set with the rows of every file in the opposite order: other bytes, nothing new."""
    with zipfile.ZipFile(path) as given, zipfile.ZipFile(target, "w") as made:
        for name in given.namelist():
            header, *rows = given.read(name).decode("utf-8-sig").splitlines()
            made.writestr(name, "".join(f"{line}\r\n" for line in (header, *reversed(rows))))
    return target


@pytest.mark.alike
@pytest.mark.django_db
def test_what_can_be_used_makes_the_whole_trip_and_the_same_set_again_changes_nothing(
    data_dir: Path, tmp_path: Path
) -> None:
    for number, (name, expected) in enumerate(SETS.items(), start=1001):
        code, first = imported(str(number), SAMPLES / name)
        assert (code, first["status"]) == ((0, "applied") if expected.people else (1, "rejected")), name
        assert first["counts"].get("users", {"total": 0})["total"] == expected.people, name
        if expected.people:
            for again in (SAMPLES / name, turned(SAMPLES / name, tmp_path / f"{number}.zip")):
                code, second = imported(str(number), again)
                assert (code, second["status"]) == (0, "unchanged"), again
    code, told = command("verify_rosters")
    assert code == 0, told
    assert told.count("as accepted") == len(SETS)


# --------------------------------------------------------------------------------------------------------------------
# beside another library

#: The rules that say what a diagnostic of the other library says.
SAME = {
    "package.missing_manifest": "009",
    "manifest.invalid_header": "020",
    "manifest.file_missing": "028",
    "manifest.file_unexpected": "029",
    "table.duplicate_header": "064",
    "table.missing_data_rows": "049 050",
    "table.row_width_mismatch": "045",
    "schema.header_order_mismatch": "061 062 067",
    "schema.missing_header": "061 063",
    "schema.metadata_column_position": "067",
    "schema.invalid_metadata_header": "066 067",
    "row.missing_required_value": "100",
    "row.field_forbidden_in_bulk": "080 081",
    "row.field_required_in_delta": "082 083",
    "row.invalid_boolean": "106",
    "row.invalid_date": "103",
    "row.invalid_enum": "130 132 135 136 141",
    "row.invalid_guid": "101",
    "row.invalid_list": "109 112 212",
    "row.invalid_year": "105",
    "reference.duplicate_sourced_id": "160",
    "reference.missing_target_file": "185",
    "reference.missing_target_record": "163 164 166 168 173 175 179 180 181",
    "semantic.multiple_primary_roles_for_user_org": "228",
    "semantic.primary_org_missing_role": "229",
    "semantic.user_profile_user_mismatch": "230",
}
#: What the other library and this check do not agree on, and who is right (docs/compatibility.md has the long form).
#: The key: its diagnostic ("" where it accepts the package), and the rule with which this check answers the same cells.
EXPLAINED = {
    ("", "013"): "users.csv without the files that annex A asks for; it only follows references that are filled",
    ("", "015"): "files that make no roster: allowed by the standard, of no use to an import",
    ("", "218"): "primary=true for a student: the standard has it for teachers only",
    ("row.invalid_list", "213"): "subjects without subjectCodes: both are optional, so it is a warning here",
    ("reference.duplicate_sourced_id", "162"): "a row repeated cell by cell loses nothing: a warning, and read once",
    ("semantic.multiple_primary_roles_for_user_org", "162"): "the second primary role is that repeated row",
    ("semantic.primary_org_missing_role", "229"): "nothing in the standard says must: a warning here",
    ("reference.missing_target_record", "160"): "the row is set aside for its id: it needs no second reason",
    ("table.missing_data_rows", "060"): "a header with one column: refused before its rows are counted",
    ("table.row_width_mismatch", "060"): "a header with two columns: refused before its rows are counted",
}


@dataclass(frozen=True, slots=True)
class Said:
    """One diagnostic of the other library."""

    code: str
    file: str
    field: str
    row: int | None

    def is_said_by(self, finding: Finding) -> bool:
        if self.code.startswith("manifest.file_"):
            return (finding.file, finding.column) == ("manifest.csv", f"file.{self.file.removesuffix('.csv')}")
        lines = finding.places["line"].drop_nulls().to_list()
        columns = VERSIONS["1.2"].tables[self.file[:-4]].header if self.file[:-4] in NORMAL else ()
        same_column = finding.column not in columns or self.field not in columns or finding.column == self.field
        return finding.file == self.file and same_column and (not self.row or not lines or self.row in lines)


def diagnostics(verdicts: Any) -> set[Said]:
    """What the other library says of the rostering part, semantics included."""
    said = [d for part in ("package", "rostering", "full") for d in verdicts[part].get("diagnostics", ())]
    found = {Said(d["code"], d.get("fileName", ""), d.get("field", ""), d.get("rowNumber")) for d in said}
    return {d for d in found if in_rostering(d.file)}


def in_rostering(file: str) -> bool:
    return file in ("", "manifest.csv") or file.removesuffix(".csv") in NORMAL


def compared(verdicts: Any, checked: Checked) -> Iterator[tuple[str, str]]:
    """Everything about one package that the two see differently: (its diagnostic, our rule)."""
    said = diagnostics(verdicts)
    errors = [f for f in checked.findings if f.severity in ("fatal", "error") and in_rostering(f.file)]
    for diagnostic in said:
        same = [f"OR-CSV-{code}" for code in SAME[diagnostic.code].split()]
        if not any(f.code in same and diagnostic.is_said_by(f) for f in errors):
            instead = {f.code[-3:] for f in checked.findings if f.file == diagnostic.file}
            known = [code for other, code in EXPLAINED if other == diagnostic.code and code in instead]
            yield diagnostic.code, known[0] if known else "nothing"
    if not said:
        yield from {("", finding.code[-3:]) for finding in errors}


def test_another_library_says_the_same_of_its_own_packages_or_we_know_why_not() -> None:
    expected = json.loads((SAMPLES / "longsight" / "expected.json").read_text())
    different: Counter[tuple[str, str]] = Counter()
    same_verdict = 0
    for name, verdicts in expected.items():
        _, _, checked = checked_set(SAMPLES / "longsight" / "zips" / name)
        found = list(compared(verdicts, checked))
        different.update(found)
        same_verdict += not any(other == "" for other, _ in found)
    assert set(different) == set(EXPLAINED)
    assert len(expected) - same_verdict == 4
