"""`manage.py import_roster`: exit codes and output as scripts rely on them, and what --approve may not decide."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.utils import timezone

from rosters import making
from rosters.models import AuditEvent, Sync, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def tables() -> making.Tables:
    return making.make_roster(users=90, seed=8, today=timezone.localdate(), name="Cedar Grove")


def run(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Its exit code and the one JSON object that it prints."""
    out = StringIO()
    with pytest.raises(SystemExit) as left:
        call_command("import_roster", *arguments, "--json", stdout=out)
    told: dict[str, Any] = json.loads(out.getvalue())
    assert isinstance(left.value.code, int)
    return left.value.code, told


def zipped(path: Path, tables: making.Tables) -> str:
    making.write_zip(path, tables)
    return str(path)


def test_a_roster_waits_is_approved_and_is_then_unchanged(
    data_dir: Path, tmp_path: Path, tables: making.Tables
) -> None:
    sent = zipped(tmp_path / "day.zip", tables)
    code, told = run("1001", sent, "--create", "Cedar Grove")
    assert (code, told["status"]) == (3, "awaiting_review")
    assert [hold["code"] for hold in told["holds"]] == ["FIRST_DELIVERY"]
    assert not User.objects.exists()

    code, told = run("1001", sent, "--approve")
    assert (code, told["status"]) == (0, "applied")
    assert set(told) == {"sync", "status", "counts", "holds", "findings", "seconds"}
    people = len(tables["users"])
    assert told["counts"]["users"] == {"added": people, "updated": 0, "removed": 0, "total": people}
    assert set(told["findings"]) == {"errors", "warnings"}
    assert {"reading", "checking", "applying"} <= set(told["seconds"])
    assert Sync.objects.get(pk=told["sync"]).status == "applied"
    assert User.objects.filter(status="active").count() == people

    code, told = run("1001", sent)
    assert (code, told["status"]) == (0, "unchanged")
    assert told["counts"]["users"]["total"] == people


def test_a_broken_file_is_rejected_and_nothing_is_lost(data_dir: Path, tmp_path: Path, tables: making.Tables) -> None:
    sent = Path(zipped(tmp_path / "day.zip", tables))
    run("1001", str(sent), "--create", "Cedar Grove", "--approve")
    sent.write_bytes(sent.read_bytes()[:-200])
    code, told = run("1001", str(sent), "--approve")
    assert (code, told["status"]) == (1, "rejected")
    assert told["findings"]["errors"] >= 1
    assert "zip" in told["error"]
    assert User.objects.filter(status="active").count() == len(tables["users"])


def test_what_nobody_may_approve_stays_unapproved(data_dir: Path, tmp_path: Path, tables: making.Tables) -> None:
    run("1001", zipped(tmp_path / "day.zip", tables), "--create", "Cedar Grove", "--approve")
    other = making.make_roster(users=90, seed=9, today=timezone.localdate(), name="Harbor City")
    code, told = run("1001", zipped(tmp_path / "other.zip", other), "--approve")
    assert (code, told["status"]) == (3, "awaiting_review")
    assert [(hold["code"], hold["approvable"]) for hold in told["holds"]] == [("WRONG_DISTRICT", False)]
    assert not AuditEvent.objects.filter(sync=told["sync"], action="sync.approved").exists()
    assert User.objects.filter(status="active").count() == len(tables["users"])


def test_a_folder_is_imported_as_one_delivery(data_dir: Path, tmp_path: Path, tables: making.Tables) -> None:
    folder = tmp_path / "export"
    with zipfile.ZipFile(zipped(tmp_path / "day.zip", tables)) as archive:
        archive.extractall(folder)
    code, told = run("1001", str(folder), "--create", "Cedar Grove", "--approve")
    assert (code, told["status"]) == (0, "applied")


def test_what_goes_wrong_is_said_on_standard_error(tmp_path: Path) -> None:
    """As a script calls it, in a process of its own."""
    command = [sys.executable, "manage.py", "import_roster", "1001", str(tmp_path / "nothing.zip"), "--json"]
    done = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    told = json.loads(done.stdout)
    assert (told["sync"], told["status"], told["counts"]) == (None, "failed", {})
    assert "nothing at" in told["error"] and told["error"] in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_may_be_taken_for_its_additions_only(data_dir: Path, tmp_path: Path, tables: making.Tables) -> None:
    run("1001", zipped(tmp_path / "day.zip", tables), "--create", "Cedar Grove", "--approve")
    fewer = zipped(tmp_path / "summer.zip", {**tables, "enrollments": tables["enrollments"].head(-2)})
    code, told = run("1001", fewer, "--additions-only")
    assert (code, told["status"], told["left_out"]) == (0, "unchanged", 2)
    _, told = run("1001", fewer)
    assert told["counts"]["enrollments"]["removed"] == 2
