"""`make run`: one command starts everything, a second start keeps everything, and a taken port changes nothing."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
from django.conf import settings

from rosters import making

MANAGE = (sys.executable, str(settings.BASE_DIR / "manage.py"))
COMMAND = (*MANAGE, "dev", "--no-demo")


def environment(folder: Path, port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return {**kept, "PORTAL_DATA_DIR": str(folder), "PORT": str(port), "PYTHONUNBUFFERED": "1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(folder: Path, port: int, command: tuple[str, ...] = COMMAND) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The portal, and what it said until it was ready."""
    with subprocess.Popen(
        command, env=environment(folder, port), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            said = ""
            assert process.stdout is not None
            while "Ctrl-C stops it" not in said:
                line = process.stdout.readline()
                assert line, said
                said += line
            yield process, said
        finally:
            if process.poll() is None:
                process.kill()


def test_it_starts_serves_stops_and_remembers(tmp_path: Path) -> None:
    port = free_port()
    tmp_path.chmod(0o755)
    with running(tmp_path, port) as (process, said):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/admin/login/", timeout=20) as answer:
            assert answer.status == 200
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0
        assert time.monotonic() - began < 8
    first_password = re.findall(r"Log in as admin, password (\S+)\.", said)
    assert first_password
    assert f"http://localhost:{port}/" in said
    for path in (tmp_path, *tmp_path.rglob("*")):
        assert not path.stat().st_mode & 0o077, path

    with running(tmp_path, port) as (process, said):
        process.terminate()
        assert process.wait(15) == 0
    assert re.findall(r"Log in as admin, password (\S+)\.", said) == first_password


def test_a_taken_port_is_one_clear_line_and_nothing_is_made(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        tried = subprocess.run(
            COMMAND, env=environment(tmp_path, port), capture_output=True, text=True, timeout=60, check=False
        )

    assert tried.returncode == 2
    assert tried.stdout == ""
    assert tried.stderr.strip() == (
        f"Port {port} cannot be used (Address already in use)."
        f" Choose another one, for example: PORT={port + 1} make run"
    )
    assert not (tmp_path / "portal.sqlite3").exists()


def test_the_servers_of_the_demo_come_and_go_with_it(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "demo").mkdir()
    for site_code in ("1001", "1003"):
        making.write_zip(
            tmp_path / "demo" / f"{site_code}-good.zip", making.make_roster(users=60, seed=1, today=date(2026, 11, 2))
        )
    made = """
from django.contrib.auth.models import User
from django.core.management import call_command
from rosters.models import District
call_command("migrate", verbosity=0)
for site_code in ("1001", "1003"):
    District.objects.create(site_code=site_code, name=site_code)
for name in ("maria", "tom"):
    User.objects.create_user(name)
"""
    subprocess.run([*MANAGE, "shell", "-c", made], env=environment(tmp_path, port), check=True, timeout=120)

    with running(tmp_path, port, (*MANAGE, "dev")) as (process, said):
        assert "There are districts already" in said
        assert "Made two connections" in said
        assert process.stdout is not None
        while not said.startswith("The demo's servers:"):
            said = process.stdout.readline()
            assert said
        (api,) = re.findall(r"http://127.0.0.1:(\d+)", said)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"http://127.0.0.1:{api}/ims/oneroster/v1p1/users", timeout=20)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{api}/ims/oneroster/v1p1/users", timeout=20)
