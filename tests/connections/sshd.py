"""A real OpenSSH server on loopback, with a folder of its own, for whoever runs the tests."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from connections.sftp import Server, new_key_pair
from tests.conftest import unavailable

SSHD = Path("/usr/sbin/sshd")
LOOPBACK = (ip_network("127.0.0.0/8"),)

_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {home}/host_key
PidFile none
AuthorizedKeysFile {home}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
LogLevel VERBOSE
Subsystem sftp internal-sftp -d {home}/data
{more}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Sshd:
    """`home` holds its keys, its log, and `data`, where a login arrives."""

    home: Path
    port: int
    private_key: str
    process: subprocess.Popen[bytes]

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> str:
        return (self.home / "log").read_text(errors="replace")

    @property
    def host_key(self) -> str:
        """As `ssh-keygen` tells it, which owes nothing to our code."""
        told = subprocess.run(
            ["ssh-keygen", "-lf", self.home / "host_key.pub"], check=True, capture_output=True, text=True
        )
        return told.stdout.split()[1]

    def server(self, **changes: Any) -> Server:
        known: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": getpass.getuser(),
            "host_key": self.host_key,
            "private_key": self.private_key,
            "allowed": LOOPBACK,
        }
        return Server(**known | changes)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@contextmanager
def served(folder: Path) -> Iterator[Sshd]:
    """A running one; where the machine has no OpenSSH server, the test says so."""
    if not SSHD.exists():
        unavailable("OpenSSH server (sshd)")
    running = start(folder / "sshd")
    yield running
    running.stop()


def start(home: Path, *, host_key: tuple[str, ...] = ("ed25519",), more: str = "") -> Sshd:
    """An sshd that has everything in `home`; `host_key` as ssh-keygen's ``-t``, `more` lines of sshd_config."""
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where a privileged sshd locks its children in
    (home / "data").mkdir(parents=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-N", "", "-t", *host_key, "-f", home / "host_key"], check=True, stdout=subprocess.DEVNULL
    )
    private, public = new_key_pair("roster-portal tests")
    (home / "authorized_keys").write_text(public + "\n")
    port = free_port()
    (home / "config").write_text(_CONFIG.format(port=port, home=home, more=more))
    process = subprocess.Popen([SSHD, "-D", "-f", home / "config", "-E", home / "log"])
    until = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"sshd did not start: {(home / 'log').read_text()}") from None
            time.sleep(0.01)
        else:
            return Sshd(home, port, private, process)
