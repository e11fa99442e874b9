"""Where the demo's servers listen, and who may come in."""

from __future__ import annotations

import json
import os
import secrets
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any, Final, Self

HOST: Final = "127.0.0.1"
_FILE: Final = "servers.json"


@dataclass(frozen=True, slots=True)
class Accounts:
    """What ``servers.json`` in the demo's folder keeps: the ports that were used last, the one account of each server,
    the connections (by uid) that lead there, and the day since which the served districts change."""

    sftp_port: int
    sftp_connection: str
    user: str
    password: str = field(repr=False)
    api_port: int
    api_connection: str
    key: str = field(repr=False)
    secret: str = field(repr=False)
    since: date

    @classmethod
    def new(cls, *, sftp_port: int, api_port: int, since: date) -> Self:
        """Accounts with fresh secrets, to which no connection leads yet."""
        return cls(
            sftp_port=sftp_port,
            sftp_connection="",
            user="cedar",
            password=secrets.token_urlsafe(12),
            api_port=api_port,
            api_connection="",
            key=secrets.token_hex(12),  # OAuth 1.0a as oauthlib checks it: letters and digits
            secret=secrets.token_urlsafe(24),
            since=since,
        )

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """None where no demo connections were made."""
        try:
            kept = json.loads((folder / _FILE).read_text())
        except FileNotFoundError:
            return None
        return cls(**kept | {"since": date.fromisoformat(kept["since"])})

    def save(self, folder: Path) -> None:
        """Whole or not at all, for the owner's eyes only."""
        draft = folder / f".{_FILE}.{os.getpid()}"
        write_private(draft, json.dumps(asdict(self) | {"since": self.since.isoformat()}, indent=1) + "\n")
        draft.replace(folder / _FILE)

    def leading(self, sftp: str, api: str) -> Self:
        return replace(self, sftp_connection=sftp, api_connection=api)

    def at(self, sftp_port: int, api_port: int) -> Self:
        return replace(self, sftp_port=sftp_port, api_port=api_port)


def write_private(path: Path, text: str) -> None:
    """A new file that only its owner may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


class LoopbackServer(socketserver.ThreadingTCPServer):
    """A server for this machine alone, with a thread for each guest; at `port`, or at any free one if that is taken."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, handler: type[socketserver.BaseRequestHandler]) -> None:
        try:
            super().__init__((HOST, port), handler)
        except (OSError, OverflowError):  # taken, not for us, or beyond 65535
            super().__init__((HOST, 0), handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A guest who goes away in the middle is no error."""
        if not isinstance(sys.exception(), ConnectionError | EOFError):
            super().handle_error(request, client_address)

    @contextmanager
    def open(self) -> Iterator[Self]:
        """It serves in a thread of its own, and is closed at the end."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1})
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()
            thread.join()
