"""Each system check, by its id: when it speaks, when it is silent, and that it says what to set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as real_settings
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from portal import checks

LONG_SECRET = "x1y2" * 16
REAL_KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


@pytest.fixture
def production(settings: Settings) -> Settings:
    """Settings of a production in which all is well."""
    settings.PORTAL_PRODUCTION = True
    settings.SECRET_KEY = LONG_SECRET
    settings.PORTAL_ENCRYPTION_KEY = REAL_KEY
    settings.ALLOWED_HOSTS = ["rosters.example.com"]
    return settings


def ids(found: list[CheckMessage]) -> list[str | None]:
    assert all(message.hint for message in found)
    return [message.id for message in found]


@pytest.mark.parametrize("secret", ["", "too short"])
def test_portal_e001_production_needs_a_secret_key(production: Settings, secret: str) -> None:
    assert ids(checks.secret_key(None)) == []
    production.SECRET_KEY = secret
    assert ids(checks.secret_key(None)) == ["portal.E001"]


@pytest.mark.parametrize("key", ["", "not base64!", REAL_KEY[:-4]])
def test_portal_e002_production_needs_an_encryption_key(production: Settings, key: str) -> None:
    assert ids(checks.encryption_key(None)) == []
    production.PORTAL_ENCRYPTION_KEY = key
    assert ids(checks.encryption_key(None)) == ["portal.E002"]


def test_portal_e003_production_needs_its_names(production: Settings) -> None:
    assert ids(checks.allowed_hosts(None)) == []
    production.ALLOWED_HOSTS = []
    assert ids(checks.allowed_hosts(None)) == ["portal.E003"]


def test_portal_e004_the_data_folder_can_be_made(production: Settings, tmp_path: Path) -> None:
    production.PORTAL_DATA_DIR = tmp_path / "new" / "folder"
    assert ids(checks.data_folder(None)) == []
    (tmp_path / "file").touch()
    production.PORTAL_DATA_DIR = tmp_path / "file" / "folder"
    assert ids(checks.data_folder(None)) == ["portal.E004"]


def test_portal_e005_the_queue_waits_long_enough(production: Settings) -> None:
    assert ids(checks.queue_patience(None)) == []
    production.Q_CLUSTER = {**production.Q_CLUSTER, "retry": production.Q_CLUSTER["timeout"] + 1}
    assert ids(checks.queue_patience(None)) == ["portal.E005"]


def test_portal_e006_the_cache_is_shared(production: Settings) -> None:
    assert ids(checks.shared_cache(None)) == []
    shared, private = production.CACHES["default"], {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    for caches in ({"default": private}, {"default": shared, "sessions": private}):
        production.CACHES = caches
        assert ids(checks.shared_cache(None)) == ["portal.E006"]


def test_portal_e007_production_does_not_debug(production: Settings) -> None:
    production.DEBUG = False
    assert ids(checks.debug(None)) == []
    production.DEBUG = True
    assert ids(checks.debug(None)) == ["portal.E007"]


@pytest.mark.parametrize(
    ("undo", "history", "left", "expected"),
    [
        (90, 400, 90, []),
        (90, 90, 30, []),
        (90, 89, 30, ["portal.E008"]),
        (30, 60, 61, ["portal.E008"]),
        (90, 400, 29, ["portal.E008"]),
    ],
)
def test_portal_e008_what_can_be_undone_is_kept(
    production: Settings, undo: int, history: int, left: int, expected: list[str]
) -> None:
    production.UNDO_DAYS, production.KEEP_HISTORY_DAYS, production.KEEP_LEFT_DAYS = undo, history, left
    assert ids(checks.times(None)) == expected


@pytest.mark.parametrize(("mode", "expected"), [(0o700, []), (0o750, ["E"]), (0o755, ["E"]), (0o711, ["E"])])
def test_portal_e009_nobody_else_looks_into_the_data_folder(
    production: Settings, tmp_path: Path, mode: int, expected: list[str]
) -> None:
    production.PORTAL_DATA_DIR = tmp_path / "data"
    assert ids(checks.data_folder_is_ours(None)) == []
    checks.data_folder(None)  # makes it
    assert ids(checks.data_folder_is_ours(None)) == []
    production.PORTAL_DATA_DIR.chmod(mode)
    assert ids(checks.data_folder_is_ours(None)) == ["portal.E009" for _ in expected]
    production.PORTAL_PRODUCTION = False
    assert ids(checks.data_folder_is_ours(None)) == []


@pytest.mark.parametrize(("backend", "expected"), [("smtp", []), ("filebased", ["portal.W003"])])
def test_portal_w003_mails_that_reach_nobody_are_worth_a_word(
    production: Settings, backend: str, expected: list[str]
) -> None:
    production.EMAIL_BACKEND = f"django.core.mail.backends.{backend}.EmailBackend"
    assert ids(checks.mail_server(None)) == expected


@pytest.mark.parametrize(("backend", "expected"), [("postgresql", []), ("sqlite3", ["portal.W001"])])
def test_portal_w001_production_on_sqlite_is_worth_a_word(
    production: Settings, monkeypatch: pytest.MonkeyPatch, backend: str, expected: list[str]
) -> None:
    monkeypatch.setitem(production.DATABASES["default"], "ENGINE", f"django.db.backends.{backend}")
    assert ids(checks.database(None)) == expected


@pytest.mark.parametrize(("url", "expected"), [("https://x.org", []), ("http://localhost:8000", ["portal.W002"])])
def test_portal_w002_links_in_mails_lead_to_the_portal(production: Settings, url: str, expected: list[str]) -> None:
    production.PORTAL_URL = url
    assert ids(checks.portal_url(None)) == expected


def test_a_local_run_needs_nothing_set(settings: Settings) -> None:
    checks.refuse_to_open_if_wrong()


def test_the_web_server_refuses_to_open_and_says_everything_at_once(production: Settings) -> None:
    production.SECRET_KEY = ""
    production.ALLOWED_HOSTS = []

    with pytest.raises(ImproperlyConfigured, match=r"(?s)portal\.E001.*portal\.E003"):
        checks.refuse_to_open_if_wrong()


@pytest.mark.parametrize("command", [["manage.py", "check"], ["manage.py", "qcluster"], ["-c", "import portal.wsgi"]])
def test_a_bare_production_start_says_what_to_set(command: list[str], tmp_path: Path) -> None:
    """The message that people see is ours, not Django's about an empty setting."""
    bare: dict[str, Any] = {
        name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "SECRET_KEY")
    }
    tried = subprocess.run(
        [sys.executable, *command],
        cwd=real_settings.BASE_DIR,
        env={**bare, "PORTAL_PRODUCTION": "1", "PORTAL_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert tried.returncode == 1
    for code in ("portal.E001", "portal.E002", "portal.E003"):
        assert code in tried.stderr
    assert "SECRET_KEY setting must not be empty" not in tried.stderr
    assert not (tmp_path / "secrets").exists()
