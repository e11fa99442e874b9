"""Public sets of files that others made: what the check says of each, and the whole trip for those that can be used.

The sets are not part of this project (docs/compatibility.md says where they come from). PORTAL_SAMPLES names the folder
with one folder for each source; without it, ``shared/samples`` beside the checkout is looked at.
"""

from __future__ import annotations

import io
import json
import os
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
#: What is wrong with these sets, but costs an import nothing.
HARMLESS = ("080", "081", "104", "105")


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


def imported(site: str, name: str) -> tuple[int, dict[str, Any]]:
    code, told = command("import_roster", site, str(SAMPLES / name), "--create", name, "--approve", "--json")
    return code, json.loads(told)


@pytest.mark.django_db
def test_what_can_be_used_makes_the_whole_trip_and_the_same_set_again_changes_nothing(data_dir: Path) -> None:
    for number, (name, expected) in enumerate(SETS.items(), start=1001):
        code, first = imported(str(number), name)
        assert (code, first["status"]) == ((0, "applied") if expected.people else (1, "rejected")), name
        assert first["counts"].get("users", {"total": 0})["total"] == expected.people, name
        if expected.people:
            code, second = imported(str(number), name)
            assert (code, second["status"]) == (0, "unchanged"), name
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
