"""One OpenSSH server for all tests that only want a good one; those that want another start their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import unavailable
from tests.connections import sshd


@pytest.fixture(scope="session")
def district(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Sshd]:
    if not sshd.SSHD.exists():
        unavailable("OpenSSH server (sshd)")
    running = sshd.start(tmp_path_factory.mktemp("district") / "sshd")
    yield running
    running.stop()


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
