"""Servers of other people, on loopback, and connections that lead to them.

One OpenSSH server for all tests that only want a good one; those that want another start their own.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone

from rosters import making
from tests.connections import sshd

if TYPE_CHECKING:  # Django is not ready yet when this is loaded
    from django.contrib.auth.models import User as Staff
    from pytest_django import Settings

    from connections.models import Connection
    from rosters.models import District


@pytest.fixture(scope="session")
def tables() -> making.Tables:
    return making.make_roster(users=60, seed=6, today=timezone.localdate(), name="Cedar Grove")


@pytest.fixture(scope="session")
def district(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Sshd]:
    with sshd.served(tmp_path_factory.mktemp("district")) as running:
        yield running


@pytest.fixture
def mailbox(district: sshd.Sshd, request: pytest.FixtureRequest) -> Path:
    """An empty folder for this test alone, where the login arrives: its path for us is its bare name."""
    folder = district.data / f"box-{abs(hash(request.node.nodeid))}"
    folder.mkdir()
    return folder


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """Where we put what we fetch."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def cedar(db: None) -> District:
    from rosters.models import District

    return District.objects.create(name="Cedar Grove", site_code="1001", time_zone="America/Chicago")


@pytest.fixture
def let_in(alice: Staff, manu: Staff) -> Callable[[Connection], None]:
    """Allow a connection to reach this machine: entered by one person, confirmed by another."""
    from connections.models import Allowance

    def allow(connection: Connection) -> None:
        entry = Allowance.objects.create(
            connection=connection,
            network="127.0.0.1/32",
            reason="It stands here.",
            entered_by=manu,
            expires_on=timezone.localdate() + timedelta(days=2),
        )
        entry.confirm(timezone.now(), alice)

    return allow


@pytest.fixture
def by_sftp(
    district: sshd.Sshd,
    mailbox: Path,
    cedar: District,
    let_in: Callable[[Connection], None],
    data_dir: Path,
    settings: Settings,
) -> Connection:
    """An SFTP connection that lacks only the trust in its server's key."""
    from connections.models import Connection

    settings.PORTAL_SFTP_WAIT = 0.05
    connection = Connection(
        district=cedar,
        kind="sftp",
        host="127.0.0.1",
        port=district.port,
        username=getpass.getuser(),
        login="key",
        path=f"{mailbox.name}/<site code>-*/*.zip",
    )
    connection.keep_secret("private_key", district.private_key)
    connection.save()
    let_in(connection)
    return connection


@pytest.fixture
def put(mailbox: Path) -> Callable[..., Path]:
    """Lay a roster where the district lays it."""

    def lay(tables: Any, name: str = "roster.zip") -> Path:
        path = mailbox / "1001-Cedar" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        making.write_zip(path, tables)
        return path

    return lay
