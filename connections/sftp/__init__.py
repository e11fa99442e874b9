"""Rosters fetched from a district's SFTP server. The only room that knows paramiko."""

from __future__ import annotations

from connections.sftp.doctor import steps
from connections.sftp.folder import emptied, open_folder
from connections.sftp.keys import HostKey, new_key_pair
from connections.sftp.session import Candidate, RemoteFile, Session, filled, host_key, is_stable, open_session
from connections.sftp.wire import Limits, Server

__all__ = [
    "Candidate",
    "HostKey",
    "Limits",
    "RemoteFile",
    "Server",
    "Session",
    "emptied",
    "filled",
    "host_key",
    "is_stable",
    "new_key_pair",
    "open_folder",
    "open_session",
    "steps",
]
