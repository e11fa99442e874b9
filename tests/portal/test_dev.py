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
from pathlib import Path

from django.conf import settings

COMMAND = (sys.executable, str(settings.BASE_DIR / "manage.py"), "dev", "--no-demo")


def environment(folder: Path, port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return {**kept, "PORTAL_DATA_DIR": str(folder), "PORT": str(port), "PYTHONUNBUFFERED": "1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(folder: Path, port: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The portal, and what it said until it was ready."""
    with subprocess.Popen(
        COMMAND, env=environment(folder, port), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
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
