"""Servers that are not what they should be: paramiko's SSH server in this process, and ports that speak otherwise."""

from __future__ import annotations

import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import paramiko

from connections.sftp import Server
from tests.connections.sshd import LOOPBACK

NOW = 1_790_000_000

#: What speaks SFTP; a test may put another speaker here.
SFTP: Any = paramiko.SFTPServer


def entry(name: str, *, mode: int = stat.S_IFREG | 0o644, size: int = 3, mtime: int = NOW) -> paramiko.SFTPAttributes:
    """A line of a listing, as hostile as its arguments."""
    found = paramiko.SFTPAttributes()
    found.filename = name
    found.longname = name
    found.st_mode, found.st_size, found.st_mtime, found.st_atime = mode, size, mtime, mtime
    return found


class Endless(list[Any]):
    """A folder that never ends: its first 16 entries are always 16 more."""

    seen = 0

    def __getitem__(self, part: Any) -> Any:
        if part.start:
            return self
        self.seen += 16
        return [entry(f"{self.seen + number}.txt") for number in range(16)]


@dataclass
class Stranger:
    """What the server shows and does. `logins` collects every attempt: the method and the user."""

    listing: Any = field(default_factory=list)
    password: str = "right"
    read: Callable[[int, int], bytes | int] = lambda offset, length: paramiko.SFTP_EOF
    rename: int = paramiko.SFTP_OK
    sftp: bool = True
    answers_login: bool = True
    auths: str = "password"
    after_key: int = paramiko.AUTH_FAILED
    attributes: Callable[[str], Any] | None = None
    logins: list[tuple[str, str]] = field(default_factory=list)
    key: paramiko.PKey = field(default_factory=lambda: paramiko.ECDSAKey.generate())
    port: int = 0
    opened: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def server(self, **changes: Any) -> Server:
        known: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": "district",
            "host_key": self.key.fingerprint,
            "password": "right",
            "allowed": LOOPBACK,
        }
        return Server(**known | changes)

    def found(self, path: str) -> Any:
        if self.attributes:
            return self.attributes(path)
        if path.strip("/.") == "":
            return entry("/", mode=stat.S_IFDIR | 0o755)
        named = [one for one in self.listing if one.filename == path.rpartition("/")[2]]
        return named[0] if named else paramiko.SFTP_NO_SUCH_FILE


class _Door(paramiko.ServerInterface):  # type: ignore[misc]  # paramiko has no types
    def __init__(self, stranger: Stranger) -> None:
        self.stranger = stranger

    def get_allowed_auths(self, username: str) -> str:
        return self.stranger.auths

    def check_auth_password(self, username: str, password: str) -> int:
        if "password" not in self.stranger.auths:
            return int(paramiko.AUTH_FAILED)
        self.stranger.logins.append(("password", username))
        if not self.stranger.answers_login:
            self.stranger.over.wait()
        right = password == self.stranger.password
        return int(paramiko.AUTH_SUCCESSFUL if right else paramiko.AUTH_FAILED)

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self.stranger.logins.append(("publickey", username))
        return self.stranger.after_key

    def check_auth_interactive(self, username: str, submethods: str) -> Any:
        return paramiko.InteractiveQuery("", "", "Password:")

    def check_auth_interactive_response(self, responses: list[str]) -> int:
        self.stranger.logins.append(("interactive", ""))
        right = responses == [self.stranger.password]
        return int(paramiko.AUTH_SUCCESSFUL if right else paramiko.AUTH_FAILED)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)


class _Handle(paramiko.SFTPHandle):  # type: ignore[misc]
    def __init__(self, stranger: Stranger, path: str) -> None:
        super().__init__()
        self.stranger = stranger
        self.path = path

    def read(self, offset: int, length: int) -> bytes | int:
        return self.stranger.read(offset, length)

    def stat(self) -> Any:
        return self.stranger.found(self.path)


class _Files(paramiko.SFTPServerInterface):  # type: ignore[misc]
    def __init__(self, server: _Door) -> None:
        super().__init__(server)
        self.stranger = server.stranger

    def list_folder(self, path: str) -> Any:
        return self.stranger.listing

    def lstat(self, path: str) -> Any:
        return self.stranger.found(path)

    def open(self, path: str, flags: int, attr: Any) -> _Handle:
        self.stranger.opened.append(path)
        return _Handle(self.stranger, path)

    def rename(self, oldpath: str, newpath: str) -> int:
        return self.stranger.rename


@contextmanager
def serving(stranger: Stranger) -> Iterator[Stranger]:
    transports = []

    def greet(sock: socket.socket) -> None:
        transport = paramiko.Transport(sock)
        transports.append(transport)
        transport.add_server_key(stranger.key)
        if stranger.sftp:
            transport.set_subsystem_handler("sftp", SFTP, _Files)
        transport.start_server(event=threading.Event(), server=_Door(stranger))

    with listening(greet) as stranger.port:
        yield stranger
        stranger.over.set()
        for transport in transports:
            transport.close()
            transport.join(5)


@contextmanager
def listening(greet: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port at which every caller is given to `greet`; it stays open for him until the end."""
    open_: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                    open_.append(sock)
                    greet(sock)
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    for sock in open_:
        sock.close()


@contextmanager
def saying(words: bytes, *, hang_up: bool = False) -> Iterator[int]:
    """A port that says `words` to everybody, and then nothing more."""

    def greet(sock: socket.socket) -> None:
        sock.sendall(words)
        if hang_up:
            sock.shutdown(socket.SHUT_WR)

    with listening(greet) as port:
        yield port
