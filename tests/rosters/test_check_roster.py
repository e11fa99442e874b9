"""`manage.py check_roster`: what a person and a script get from a check on a laptop."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from rosters.making import make_roster
from rosters.oneroster import VERSIONS
from tests.rosters.reading.sets import manifest
from tests.rosters.test_rules import TODAY

ROOT = Path(__file__).parents[2]
CORE = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics")


def district(version: str = "1.1", **cells: tuple[str, str]) -> dict[str, str]:
    """The files of a small clean district. `cells`: table=(column, value) writes one cell of its first row."""
    files = {}
    for name, frame in make_roster(users=70, seed=9, today=TODAY, name="Cedar Grove", version=version).items():
        rows = frame.to_dicts()
        if name in cells:
            rows[0] |= dict([cells[name]])
        out = io.StringIO(newline="")
        writer = csv.DictWriter(out, VERSIONS[version].tables[name].header, restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        files[f"{name}.csv"] = out.getvalue()
    return {"manifest.csv": manifest(*(name[:-4] for name in files), version=version), **files}


def zipped(path: Path, files: Mapping[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, text in files.items():
            made.writestr(name, text)
    return path


def checked(*words: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(SystemExit) as left:
        call_command("check_roster", *map(str, words), stdout=out, stderr=err)
    assert isinstance(left.value.code, int)
    return left.value.code, out.getvalue(), err.getvalue()


def run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as a program of its own."""
    return subprocess.run(
        [sys.executable, "manage.py", "check_roster", *map(str, words)],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def as_json(*words: object) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(checked(*words, "--json", "-")[1])
    return result


def test_a_clean_set_ends_with_0_and_one_sentence(tmp_path: Path) -> None:
    code, told, complained = checked(zipped(tmp_path / "roster.zip", district()))
    assert (code, complained) == (0, "")
    assert told.splitlines()[0] == "OneRoster 1.1: 0 errors, 0 warnings. An import would use every row."
    assert "users                        70 rows" in told


def test_errors_end_with_1_and_say_where_and_what_to_do(tmp_path: Path) -> None:
    code, told, _ = checked(zipped(tmp_path / "roster.zip", district(enrollments=("role", "aide"))))
    assert code == 1
    assert told.splitlines()[0] == "OneRoster 1.1: 1 error, 1 warning. An import would leave out 1 row."
    assert "ERROR OR-CSV-134 (1x) enrollments.csv, role" in told
    assert "line 2: 'aide'" in told
    assert "What to do:" in told


@pytest.mark.parametrize("strange", ["x" * 300, "pipe"])
def test_what_cannot_even_be_opened_ends_with_2_and_a_sentence(tmp_path: Path, strange: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    code, told, complained = checked(tmp_path / strange)
    assert (code, told, complained.count("\n")) == (2, "", 1)
    assert "neither a file nor a folder" in complained or "cannot be opened: File name too long" in complained


@pytest.mark.parametrize("damage", ["nothing there", "no zip", "an empty folder"])
def test_what_cannot_be_read_ends_with_2_and_a_sentence(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "roster.zip"
    if damage == "no zip":
        path.write_text("<html>Please log in</html>")
    elif damage == "an empty folder":
        path.mkdir()
    code, told, complained = checked(path)
    assert code == 2
    assert complained == f"There is nothing at {path}.\n" if damage == "nothing there" else "cannot be read" in told


def test_the_json_has_exactly_these_keys(tmp_path: Path) -> None:
    result = as_json(zipped(tmp_path / "roster.zip", district(demographics=("asian", "maybe"))))
    assert list(result) == ["readable", "version", "mode", "tables", "errors", "warnings", "findings"]
    assert (result["readable"], result["version"], result["mode"]) == (True, "1.1", "bulk")
    assert (result["errors"], result["tables"]["users"]) == (1, 70)
    assert set(result["tables"]) == set(CORE)
    found = next(f for f in result["findings"] if f["severity"] == "error")
    assert {"code": "OR-CSV-106", "file": "demographics.csv", "column": "asian", "count": 1}.items() <= found.items()
    assert set(found) == {
        "code", "severity", "file", "column", "count", "message", "next_step", "places", "effect",
    }  # fmt: skip
    assert found["places"] == [{"line": 2, "value": "maybe"}]


def test_the_json_of_something_unreadable_says_so(tmp_path: Path) -> None:
    (tmp_path / "roster.zip").write_bytes(b"PK\x03\x04 and no more")
    result = as_json(tmp_path / "roster.zip")
    assert (result["readable"], result["mode"], result["tables"]) == (False, None, {})
    assert result["errors"] >= 1
    assert result["findings"][0]["severity"] == "fatal"


def test_bulk_and_delta_side_by_side_are_mixed(tmp_path: Path) -> None:
    row = {"status": "active", "dateLastModified": "2026-11-20T10:00:00.000Z"}
    files = district()
    header, first, *_ = files["demographics.csv"].splitlines()
    cells = dict(zip(header.split(","), next(csv.reader([first])), strict=True)) | row
    files["demographics.csv"] = f"{header}\r\n{','.join(cells.values())}\r\n"
    files["manifest.csv"] = files["manifest.csv"].replace("file.demographics,bulk", "file.demographics,delta")
    assert as_json(zipped(tmp_path / "roster.zip", files))["mode"] == "mixed"


def test_a_folder_and_a_single_file_are_read_too(tmp_path: Path) -> None:
    for name, text in district().items():
        (tmp_path / name).write_text(text, newline="")
    assert checked(tmp_path)[0] == 0
    assert as_json(tmp_path / "orgs.csv")["tables"] == {"orgs": as_json(tmp_path)["tables"]["orgs"]}


def test_version_means_the_one_of_oneroster(tmp_path: Path) -> None:
    files = district("1.2")
    del files["manifest.csv"]
    for name, text in files.items():
        (tmp_path / name).write_text(text, newline="")
    assert as_json(tmp_path, "--version", "1.2")["version"] == "1.2"


def test_a_product_asks_for_more(tmp_path: Path) -> None:
    path = zipped(tmp_path / "roster.zip", district("1.2"))
    assert not any(f["code"].startswith("PR-") for f in as_json(path)["findings"])
    assert "PR-002" in {f["code"] for f in as_json(path, "--product", "math")["findings"]}


def test_the_csv_has_every_place_and_no_formula(tmp_path: Path) -> None:
    files = district()
    header, *rows = files["users.csv"].splitlines()
    broken = [row.replace(",true,", ",=1+1,") for row in rows]
    path = zipped(tmp_path / "roster.zip", {**files, "users.csv": "\r\n".join((header, *broken, ""))})
    assert checked(path, "--csv", tmp_path / "places.csv")[0] == 1
    with (tmp_path / "places.csv").open(newline="") as file:
        places = [row for row in csv.DictReader(file) if row["code"] == "OR-CSV-106"]
    assert [int(row["line"]) for row in places] == list(range(2, 72))
    assert {row["value"] for row in places} == {"'=1+1"}


@pytest.mark.parametrize("option", ["--json", "--csv"])
def test_a_result_that_cannot_be_written_is_said_and_not_taken_for_errors(tmp_path: Path, option: str) -> None:
    path = zipped(tmp_path / "roster.zip", district())
    code, told, complained = checked(path, option, tmp_path / "nowhere" / "result")
    assert (code, told) == (2, "")
    assert complained == f"The result cannot be written to {tmp_path}/nowhere/result: No such file or directory.\n"


def test_no_database_is_needed_and_nothing_but_the_json_is_on_standard_output(tmp_path: Path) -> None:
    path = zipped(tmp_path / "roster.zip", district())
    nowhere = {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none", "PORTAL_DATA_DIR": str(tmp_path / "data")}
    done = run(path, "--json", "-", **nowhere)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["readable"]
    assert not [p for p in (tmp_path / "data").rglob("*") if p.is_file() and p.parent.name != "secrets"]


def test_a_terminal_that_cannot_show_a_letter_gets_its_code(tmp_path: Path) -> None:
    path = zipped(tmp_path / "roster.zip", district(demographics=("asian", "vrää")))
    done = run(path, PYTHONIOENCODING="ascii")
    assert done.returncode == 1
    assert r"'vr\xe4\xe4'" in done.stdout
    assert json.loads(run(path, "--json", "-", PYTHONIOENCODING="ascii").stdout)["errors"] == 1


@pytest.mark.parametrize("values", [{}, {"role": "aide"}])
def test_it_is_a_program_of_its_own_that_needs_no_portal_and_writes_nothing(
    tmp_path: Path, values: dict[str, str]
) -> None:
    """As `pipx` starts it: no settings, no data folder, an empty home, a folder that nobody may write to."""
    broken = {"enrollments": ("role", values["role"])} if values else {}
    path = zipped(tmp_path / "roster.zip", district("1.1", **broken))
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    here.chmod(0o555)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, function = project["scripts"]["check-roster"].partition(":")
    kept = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    program = f"import sys; from {module} import {function}; sys.argv[0] = 'check-roster'; {function}()"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], cwd=here, env=kept, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1 if broken else 0, "")
    assert ("OR-CSV-134" in done.stdout) == bool(broken)
    assert not list(home.iterdir()) + list(here.iterdir())
    helped = subprocess.run(
        [sys.executable, "-c", program, "--help"], cwd=here, env=kept, capture_output=True, text=True, check=True
    )
    assert helped.stdout.startswith("usage: check-roster [-h]")
    assert "--settings" not in helped.stdout
