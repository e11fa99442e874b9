"""What lies on the disk beside the store: who may read it, and for how long it lies there."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings as real_settings
from django.core.mail import EmailMessage, get_connection
from django.utils import timezone
from django_q.models import Schedule
from pytest_django import Settings

from portal import mails
from portal.management.commands.qcluster import look_after_lost_work


def run(*arguments: str, **more: str) -> None:
    environment = {**os.environ, **more}
    subprocess.run([sys.executable, *arguments], cwd=real_settings.BASE_DIR, env=environment, check=True, timeout=120)


def seen_by_others(path: Path) -> bool:
    """Whether any user of the machine reads a file, or looks into a folder."""
    needed = 0o005 if path.is_dir() else 0o004
    return path.stat().st_mode & needed == needed


def test_static_files_are_for_everybody_and_what_lies_beside_them_is_not(tmp_path: Path) -> None:
    data, public = tmp_path / "data", tmp_path / "public"
    production = {
        "PORTAL_PRODUCTION": "1", "PORTAL_DATA_DIR": str(data), "STATIC_ROOT": str(public), "SECRET_KEY": "x1y2" * 16,
        "DATABASE_URL": f"sqlite:///{data}/portal.sqlite3",
    }  # fmt: skip
    run("manage.py", "collectstatic", "--noinput", "-v0", "-i", "drf_spectacular_sidecar", **production)
    found = list(public.rglob("*"))
    assert {path.suffix for path in found} >= {".css", ".js", ".gz", ".json"}
    assert [path for path in (public, *found) if not seen_by_others(path)] == []
    assert data.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("start", [["manage.py", "shell", "-v0", "-c"], ["-c"]])
def test_whatever_is_written_is_for_our_own_user_alone(start: list[str], tmp_path: Path) -> None:
    write = (
        "import pathlib, portal.wsgi, os; p = pathlib.Path(os.environ['HERE']); (p / 'a').mkdir(); (p / 'b').touch()"
    )
    code = write if start == ["-c"] else write.replace("portal.wsgi, ", "")
    run(*start, code, HERE=str(tmp_path))
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in "ab"] == [0o700, 0o600]


def test_mails_that_became_files_go_when_their_links_have_ended(tmp_path: Path, settings: Settings) -> None:
    settings.EMAIL_FILE_PATH = tmp_path / "mails"
    mails.sweep()  # there were none yet
    for name in ("first", "second"):
        with get_connection("django.core.mail.backends.filebased.EmailBackend") as door:
            EmailMessage(name, "a link", to=["dana@cedar.test"], connection=door).send()
    files = sorted(settings.EMAIL_FILE_PATH.iterdir())
    assert len(files) == 2
    old = (timezone.now() - timedelta(days=13)).timestamp()
    os.utime(files[0], (old, old))
    mails.sweep()
    assert sorted(settings.EMAIL_FILE_PATH.iterdir()) == files
    mails.sweep(timezone.now() + timedelta(days=1, minutes=1))
    assert list(settings.EMAIL_FILE_PATH.iterdir()) == files[1:]


@pytest.mark.django_db
def test_that_is_done_every_day() -> None:
    look_after_lost_work()
    assert Schedule.objects.get(func="portal.mails.sweep").schedule_type == Schedule.DAILY
