"""The folder on our own SFTP server into which a district drops its files, as if it were the district's server.

Who writes there is a stranger: no link is followed, whatever stands on the way, and nothing leads out of the folder.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from connections.exceptions import FetchError
from connections.sftp.session import Session
from connections.sftp.wire import PIECE, Entry, Limits

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: A FIFO in the place of a file must not make us wait for its writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_folder(root: Path, *, limits: Limits | None = None) -> Session:
    """The district's folder `root`; paths within it are as the district sees them, which cannot leave it either."""
    folder = Folder(root, limits or Limits())
    return Session(folder, folder)


def emptied(root: Path) -> tuple[int, int]:
    """Delete every file in the district's folder `root`; the folders in it stay. How many there were, and how many
    files and folders there are that we may not delete, or not even open."""
    folder = Folder(root, Limits())
    deleted = stuck = 0
    waiting = [""]  # not by os.walk, which can be dug too deep for, and passes over a folder that it may not open
    while waiting:
        path = waiting.pop()
        try:
            with folder.opened(path) as at, os.scandir(at) as found:
                entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
                waiting += [f"{path}/{name}" for name, is_folder in entries if is_folder]
                for name in (name for name, is_folder in entries if not is_folder):
                    try:
                        os.unlink(name, dir_fd=at)
                        deleted += 1
                    except OSError:
                        stuck += 1
        except FileNotFoundError:
            continue  # it has no folder here, or took one away in this moment
        except OSError:
            stuck += 1
    return deleted, stuck


class Folder:
    """What a `Session` asks of a server, answered from the disk."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self.limits = limits
        self._root = root

    @contextmanager
    def spoken(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise FetchError("SFTP-FOLDER") from None
            if error.errno in (errno.EACCES, errno.EPERM):
                raise FetchError("SFTP-FORBIDDEN") from None
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise FetchError("SFTP-HOSTILE", "A link stands on the way.") from None
            raise FetchError("SFTP-FAILED") from None

    def look(self, path: str) -> Entry:
        """What lies at `path` itself; a link is told as a link."""
        with self._inside(path) as (folder, name):
            return _entry(name, os.stat(name, dir_fd=folder, follow_symlinks=False))

    def entries(self, path: str) -> Iterator[Entry]:
        with self.opened(path) as folder, os.scandir(folder) as found:
            for entry in found:
                yield _entry(entry.name, entry.stat(follow_symlinks=False))

    @contextmanager
    def reading(self, path: str) -> Iterator[int]:
        """The handle of an open file."""
        with self._inside(path) as (folder, name):
            handle = os.open(name, _FILE, dir_fd=folder)
        try:
            yield handle
        finally:
            os.close(handle)

    def state(self, handle: int) -> Entry:
        """What an open file is now."""
        return _entry("", os.fstat(handle))

    def pieces(self, handle: int, size: int) -> Iterator[bytes]:
        """The first `size` bytes of an open file, in order; fewer where it ends earlier."""
        given = 0
        while given < size and (piece := os.read(handle, min(32 * PIECE, size - given))):
            given += len(piece)
            yield piece

    def rename(self, old: str, new: str) -> None:
        """Raises FileExistsError rather than to replace something."""
        with self._inside(old) as (source, name), self._inside(new) as (target, new_name):
            os.link(name, new_name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
            os.unlink(name, dir_fd=source)

    def remove(self, path: str) -> None:
        with self._inside(path) as (folder, name):
            os.unlink(name, dir_fd=folder)

    @contextmanager
    def _inside(self, path: str) -> Iterator[tuple[int, str]]:
        """The folder that holds `path`, open, and the last part of the name."""
        folder, _, name = path.rpartition("/")
        with self.opened(folder) as handle:
            yield handle, name or "."

    @contextmanager
    def opened(self, path: str) -> Iterator[int]:
        """The folder at `path`, opened part by part, so that no part can be a link."""
        handle = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in path.split("/"):
                if part in ("", "."):
                    continue
                if part == "..":
                    raise OSError(errno.ENOENT, "not within the folder")
                inner = os.open(part, _FOLDER, dir_fd=handle)
                os.close(handle)
                handle = inner
            yield handle
        finally:
            os.close(handle)


def _entry(name: str, found: os.stat_result) -> Entry:
    size = found.st_size if stat.S_ISREG(found.st_mode) else None
    return Entry(name, found.st_mode, size, int(found.st_mtime))
