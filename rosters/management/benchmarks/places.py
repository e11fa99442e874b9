"""Fresh, migrated databases to measure in, each with a data folder of its own; copied from one that was made once."""

from __future__ import annotations

import getpass
import itertools
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psycopg
from django.conf import settings
from psycopg import sql


@dataclass(frozen=True)
class Place:
    """What a process must find in its environment to work on this database alone."""

    environment: dict[str, str]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run Python with these arguments there."""
        return subprocess.run(
            [sys.executable, *command],
            env=self.environment, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False,
        )  # fmt: skip


def _place(folder: Path, url: str = "") -> Place:
    """The environment of this process, but for the data folder and the database (none named: SQLite in the folder)."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    named = {"DATABASE_URL": url} if url else {}
    return Place(kept | named | {"PORTAL_DATA_DIR": str(folder), "LOG_LEVEL": "ERROR"})


class Database(Protocol):
    """A kind of database: `template` is made ready by the caller before the first `fresh` copy of it."""

    name: str
    template: Place

    def fresh(self) -> AbstractContextManager[Place]: ...

    def version(self) -> str: ...

    def close(self) -> None: ...


class Sqlite:
    name = "sqlite"

    def __init__(self, scratch: Path) -> None:
        self._folder = scratch / "sqlite"
        self._numbers = itertools.count(1)
        self.template = _place(self._folder / "template")

    @contextmanager
    def fresh(self) -> Iterator[Place]:
        folder = self._folder / f"place{next(self._numbers)}"
        shutil.copytree(self._folder / "template", folder)
        try:
            yield _place(folder)
        finally:
            shutil.rmtree(folder)

    def version(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}"

    def close(self) -> None:
        shutil.rmtree(self._folder)


class Postgres:
    """Databases of our own on the server at `url`, dropped again."""

    name = "postgresql"

    def __init__(self, scratch: Path, url: str) -> None:
        self._folder, self._server = scratch / "postgresql", url.rpartition("/")[0]
        self._admin = psycopg.connect(url, autocommit=True)
        self._prefix = f"roster_bench_{os.getpid()}"
        self._numbers = itertools.count(1)
        self._sql("CREATE DATABASE {}", f"{self._prefix}_template")
        self.template = _place(self._folder / "template", f"{self._server}/{self._prefix}_template")

    @contextmanager
    def fresh(self) -> Iterator[Place]:
        name = f"{self._prefix}_{next(self._numbers)}"
        self._sql("CREATE DATABASE {} TEMPLATE {}", name, f"{self._prefix}_template")
        try:
            yield _place(self._folder / name, f"{self._server}/{name}")
        finally:
            shutil.rmtree(self._folder / name)
            self._sql("DROP DATABASE {}", name)

    def version(self) -> str:
        return f"PostgreSQL {self._admin.info.server_version // 10000}"

    def close(self) -> None:
        self._sql("DROP DATABASE {}", f"{self._prefix}_template")
        self._admin.close()

    def _sql(self, statement: str, *names: str) -> None:
        self._admin.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def found_postgres() -> str:
    """The address of a server that lets us in: the portal's own, or one on this machine. "" if there is none."""
    own = os.environ.get("DATABASE_URL", "")
    people = ("postgres", getpass.getuser())
    candidates = [own] if own.startswith("postgres") else []
    candidates += [f"postgres://{person}@127.0.0.1:5432/postgres" for person in people]
    for url in candidates:
        try:
            psycopg.connect(url, connect_timeout=3).close()
        except psycopg.Error:
            continue
        return url
    return ""
