"""A small SFTP server for one account: it shows one folder, and lets files be read and renamed, nothing else."""

from __future__ import annotations

import errno
import hmac
import logging
import os
import socket
import socketserver
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import paramiko
from paramiko.sftp import SFTP_FAILURE, SFTP_OK, SFTP_PERMISSION_DENIED

from connections.demo.doors import LoopbackServer, write_private
from connections.sftp import HostKey, new_key_pair

#: paramiko's own log writes a traceback for every guest who goes away early.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)

_KEY: Final = "sftp-host-key"
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC


def host_key(folder: Path) -> HostKey:
    """The key by which the server is known, kept in `folder`; made on first use, the same ever after."""
    key = _key(folder)
    return HostKey(key.get_name(), key.fingerprint)


def _key(folder: Path) -> Any:
    path = folder / _KEY
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_private(path, new_key_pair("demo")[0])
    return paramiko.Ed25519Key.from_private_key_file(str(path))


class SftpServer(LoopbackServer):
    """Serves `root` to `user`. Its host key lies in `key_folder`."""

    def __init__(self, port: int, root: Path, *, key_folder: Path, user: str, password: str) -> None:
        self.root = root.resolve()
        self.key = _key(key_folder)
        self.user = user
        self.password = password
        super().__init__(port, _Visit)


class _Visit(socketserver.BaseRequestHandler):
    """One connection, from the exchange of keys to its end. paramiko serves it in threads of its own."""

    server: SftpServer
    request: socket.socket

    def handle(self) -> None:
        transport = paramiko.Transport(self.request)
        transport.add_server_key(self.server.key)
        transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _Folder, self.server.root)
        try:
            transport.start_server(server=_Account(self.server.user, self.server.password))
            transport.join()
        except (paramiko.SSHException, EOFError):
            return  # no SSH client, or one with nothing in common
        finally:
            transport.close()


class _Account(paramiko.ServerInterface):  # type: ignore[misc]  # paramiko has no types
    def __init__(self, user: str, password: str) -> None:
        self._known = f"{user}\0{password}".encode()

    def get_allowed_auths(self, username: str) -> str:
        return "password"

    def check_auth_password(self, username: str, password: str) -> int:
        same = hmac.compare_digest(f"{username}\0{password}".encode(), self._known)
        return int(paramiko.AUTH_SUCCESSFUL if same else paramiko.AUTH_FAILED)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        wanted = kind == "session"
        return int(paramiko.OPEN_SUCCEEDED if wanted else paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED)


class _File(paramiko.SFTPHandle):  # type: ignore[misc]
    def __init__(self, path: Path, flags: int) -> None:
        super().__init__(flags)
        self.readfile = path.open("rb")

    def stat(self) -> Any:
        return paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))


class _Folder(paramiko.SFTPServerInterface):  # type: ignore[misc]
    """What a guest may do. What is not here (writing, removing, links) paramiko refuses as not supported."""

    def __init__(self, server: _Account, root: Path) -> None:
        self._root = root

    def _real(self, path: str) -> Path:
        """The file behind a guest's path; PermissionError where a link leads out of the folder."""
        real = self._root / str(self.canonicalize(path)).lstrip("/")
        if not real.resolve().is_relative_to(self._root):
            raise PermissionError(errno.EACCES, "outside the folder")
        return real

    def _tried(self, answer: Callable[[], Any]) -> Any:
        try:
            return answer()
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)

    def list_folder(self, path: str) -> Any:
        return self._tried(
            lambda: [paramiko.SFTPAttributes.from_stat(one.lstat(), one.name) for one in self._real(path).iterdir()]
        )

    def stat(self, path: str) -> Any:
        return self._tried(lambda: paramiko.SFTPAttributes.from_stat(self._real(path).stat()))

    def lstat(self, path: str) -> Any:
        return self._tried(lambda: paramiko.SFTPAttributes.from_stat(self._real(path).lstat()))

    def open(self, path: str, flags: int, attr: Any) -> Any:
        if flags & _WRITING:
            return SFTP_PERMISSION_DENIED
        return self._tried(lambda: _File(self._real(path), flags))

    def rename(self, oldpath: str, newpath: str) -> Any:
        def renamed() -> int:
            new = self._real(newpath)
            if new.exists():
                return int(SFTP_FAILURE)  # the protocol of this version never overwrites
            self._real(oldpath).rename(new)
            return int(SFTP_OK)

        return self._tried(renamed)
