"""A worker is killed in the middle of an apply: the roster is as it was, and the sync is picked up again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.utils import timezone

from rosters import making

ROOT = Path(__file__).parents[2]

#: Sends two days, approves the second, and applies it with a wrapper that kills this process at its N-th statement.
SCRIPT = """
import os, signal, sys
import django
django.setup()
from pathlib import Path
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from rosters import syncs
from rosters.models import District, Sync

folder, step, kill_at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def send(district, name, by):
    sync = syncs.receive(district, folder / name, origin="staff", name=name, by=by)
    sync = syncs.prepare(sync.pk)
    syncs.approve(sync, by=by, plan_digest=sync.plan_digest)
    return sync

def look():
    if step != "begin":
        try:
            call_command("verify_rosters", stdout=sys.stderr)
        except SystemExit as end:
            if end.code:
                raise
    print(District.objects.get().version, ",".join(Sync.objects.order_by("pk").values_list("status", flat=True)))

if step == "begin":
    call_command("migrate", verbosity=0)
    by = User.objects.create_superuser("alice")
    district = District.objects.create(name="Cedar Grove", site_code="1001")
    syncs.apply(send(district, "day1.zip", by).pk)
    send(district, "day2.zip", by)
elif step == "kill":
    counted = 0
    def kill(execute, sql, params, many, context):
        global counted
        counted += 1
        if counted == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(sql, params, many, context)
    with connection.execute_wrapper(kill):
        syncs.apply(Sync.objects.get(status__in=["approved", "applying"]).pk)
elif step == "again":
    look()
    Sync.objects.filter(status="applying").update(claimed_until="2020-01-01T00:00:00Z")
    to_prepare, to_apply = syncs.recover()
    for pk in to_apply or Sync.objects.filter(status="approved").values_list("pk", flat=True):
        syncs.apply(pk)
look()
"""


def run(step: str, folder: Path, kill_at: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ, "PORTAL_DATA_DIR": str(folder / "data"), "DATABASE_URL": f"sqlite:///{folder / 'portal.sqlite3'}",
        "DJANGO_SETTINGS_MODULE": "portal.settings", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    command = [sys.executable, "-c", SCRIPT, str(folder), step, str(kill_at)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a district whose second day is approved and not yet applied."""
    folder = tmp_path_factory.mktemp("begun")
    tables = making.make_roster(users=80, seed=5, today=timezone.localdate(), name="Cedar Grove")
    making.write_zip(folder / "day1.zip", tables)
    making.write_zip(folder / "day2.zip", making.next_day(tables, change=0.1, seed=2)[0])
    done = run("begin", folder)
    assert done.stdout.strip() == "1 applied,approved", done.stderr
    return folder


@pytest.mark.parametrize("kill_at", [4, 14, 27])
def test_killed_at_any_statement_nothing_is_half_done_and_the_next_worker_finishes(
    begun: Path, tmp_path: Path, kill_at: int
) -> None:
    folder = Path(shutil.copytree(begun, tmp_path / "killed"))
    killed = run("kill", folder, kill_at)
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    next_worker = run("again", folder)
    found, finished = next_worker.stdout.splitlines()
    assert found.startswith("1 applied,"), next_worker.stderr
    assert finished == "2 applied,applied", next_worker.stderr
