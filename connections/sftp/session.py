"""A session with a district's SFTP server: find the newest delivery, see that it is at rest, fetch it, put it aside.

Names come from a stranger. They are compared and shown, and become paths on his own server; never a path on ours. Only
regular files are opened, and folders: links, pipes and devices are passed over, and counted.
"""

from __future__ import annotations

import re
import stat
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from glob import escape
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, Literal, Protocol

from connections.exceptions import FetchError
from connections.sftp.keys import HostKey
from connections.sftp.wire import Entry, Limits, Line, Server

Format = Literal["zip", "csv"]
After = Literal["leave", "rename", "move"]

FORMATS: Final[tuple[Format, ...]] = ("zip", "csv")

#: The local name of every delivery, whatever the server calls it.
DELIVERY: Final = "delivery.zip"
#: The moment in a zip that is made of loose files: always the same, so that the same files make the same zip.
_ANY_MOMENT: Final = (1980, 1, 1, 0, 0, 0)
_WILD: Final = re.compile(r"[*?\[]")
#: How a file is called that was put aside: with its time of change.
_PUT_ASIDE: Final = re.compile(r".+\.(\d{8}-\d{6})\.taken")
_MOMENT: Final = "%Y%m%d-%H%M%S"
_PLACEHOLDER: Final = re.compile(r"<([^<>/]*)>")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """`size` in bytes; `mtime` in seconds since 1970 by the server's clock, which may be wrong."""

    name: str
    size: int
    mtime: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A delivery on the server: one zip, or the CSV files of one folder as a set.

    `pattern` and `formats` are what found it. `older` counts other deliveries that match, `passed_over` entries that
    match and are no regular files with plain names. Two looks that found the same are equal whatever those counts."""

    folder: str
    files: tuple[RemoteFile, ...]
    pattern: str = field(compare=False)
    formats: tuple[Format, ...] = field(compare=False)
    older: int = field(default=0, compare=False)
    passed_over: int = field(default=0, compare=False)

    @property
    def is_zip(self) -> bool:
        return _suffix(self.files[0].name) == "zip"

    @property
    def name(self) -> str:
        """The zip's name; of a set, its first file's and how many more there are."""
        more = len(self.files) - 1
        return f"{self.files[0].name} and {more} more" if more else self.files[0].name

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def mtime(self) -> int:
        return max(file.mtime for file in self.files)

    def path(self, file: RemoteFile) -> str:
        return _joined(self.folder, file.name)


def filled(pattern: str, *, site_code: str = "", name: str = "", product: str = "") -> str:
    """`pattern` with its placeholders ``<site code>``, ``<name>`` (or ``<district name>``) and ``<product>`` filled in;
    what is filled in is taken literally. Raises FetchError SFTP-PATH for another placeholder, or one without a value.
    """
    values = {"site code": site_code, "name": name, "district name": name, "product": product}

    def value(match: re.Match[str]) -> str:
        found = values.get(" ".join(match[1].lower().split()), "")
        if not found or "/" in found or found in (".", ".."):
            raise FetchError("SFTP-PATH", f"There is no value for {match[0]}.")
        return escape(found)

    return _PLACEHOLDER.sub(value, pattern)


def is_stable(candidate: Candidate, again: Candidate) -> bool:
    """Whether two looks, some time apart, found the same files with the same sizes and times."""
    return candidate == again


def host_key(server: Server, *, limits: Limits | None = None) -> HostKey:
    """The key that the server shows, for a person to confirm. No credential is sent. Raises FetchError."""
    with Line(server, limits or Limits()) as line:
        return line.host_key()


@contextmanager
def open_session(server: Server, *, limits: Limits | None = None) -> Iterator[Session]:
    """Connect, compare the host key, and only then log in. Raises FetchError."""
    with Line(server, limits or Limits()) as line:
        line.confirm(line.host_key())
        line.log_in()
        yield Session(line, line.start_sftp())


class Spoken(Protocol):
    """The line to a server: what goes wrong on it comes as FetchError."""

    limits: Limits

    def spoken(self) -> AbstractContextManager[None]: ...


class Files(Protocol):
    """A server's files, asked one by one; a handle is the server's own affair."""

    def look(self, path: str) -> Entry: ...
    def entries(self, path: str) -> Iterator[Entry]: ...
    def reading(self, path: str) -> AbstractContextManager[Any]: ...
    def state(self, handle: Any) -> Entry: ...
    def pieces(self, handle: Any, size: int) -> Iterator[bytes]: ...
    def rename(self, old: str, new: str) -> None: ...
    def remove(self, path: str) -> None: ...


class Session:
    """Every method raises FetchError, and nothing else for what the server does."""

    def __init__(self, line: Spoken, client: Files) -> None:
        self._line = line
        self._client = client
        self._limits = line.limits

    def newest(self, pattern: str, *, formats: Collection[Format] = FORMATS) -> Candidate:
        """The newest delivery at `pattern`: a file, a folder, or a path with ``*``, ``?`` and ``[...]`` in its last
        parts, which match large and small letters alike, and hidden files only behind a ".".

        A zip wins over loose CSV files; the newest by the server's time of change wins, then the last by name. Loose
        CSV files are a set, folder by folder. SFTP-NOTHING where none lies, SFTP-FOLDER where no such folder is,
        SFTP-HOSTILE where only what may not be opened lies."""
        return self.searched(pattern, formats=formats).newest()

    def searched(self, pattern: str, *, formats: Collection[Format] = FORMATS) -> Search:
        """All that lies at `pattern`; raises what `newest` raises, except SFTP-NOTHING."""
        search = Search(self._client, self._limits, pattern, formats)
        with self._line.spoken():
            search.walk()
        return search

    def check_folder(self, pattern: str) -> str:
        """The folder that the parts before the first wildcard name, if it is one: "." is where the login arrives."""
        with self._line.spoken():
            return Search(self._client, self._limits, pattern, FORMATS).check_folder()

    def settled(self, candidate: Candidate, *, wait: float = 60, marker: str = "") -> Candidate:
        """`candidate`, after a second look `wait` seconds later that found the same. With a `marker`, instead: after
        that file was found beside it, not older than the delivery; ``<file>`` in it stands for the delivery's name.
        Raises FetchError SFTP-STILL-WRITING."""
        if marker:
            self._check_marker(candidate, marker.replace("<file>", candidate.files[0].name))
            return candidate
        time.sleep(wait)
        again = self.newest(candidate.pattern, formats=candidate.formats)
        if not is_stable(candidate, again):
            raise FetchError("SFTP-STILL-WRITING", f"{candidate.name} changed within {wait:g} seconds.")
        return again

    def _check_marker(self, candidate: Candidate, marker: str) -> None:
        if not _is_plain(marker):
            raise FetchError("SFTP-PATH", "The marker has to be the plain name of a file.")
        try:
            with self._line.spoken():
                found = self._client.look(_joined(candidate.folder, marker))
        except FetchError as fault:
            if fault.code != "SFTP-FOLDER":
                raise
            raise FetchError("SFTP-STILL-WRITING", f"{marker} is not there yet.") from None
        if (found.mtime or 0) < candidate.mtime:
            raise FetchError("SFTP-STILL-WRITING", f"{marker} is older than {candidate.name}.")

    def download(
        self, candidate: Candidate, folder: Path, progress: Callable[[int, int], None] = lambda received, total: None
    ) -> Path:
        """The delivery as a zip in `folder`; whoever keeps it writes it through to the disk. Loose CSV files become one
        zip, not packed, byte for byte. `progress(received, total)` is called with bytes. Raises FetchError, and OSError
        for our own disk; then nothing is left in `folder`."""
        if candidate.size > self._limits.size:
            raise FetchError("CONN-TOO-LARGE", f"{candidate.size:,} bytes; at most {self._limits.size:,} are taken.")
        received = 0

        def counted(file: RemoteFile) -> Iterator[bytes]:
            nonlocal received
            for piece in self._pieces(candidate, file):
                received += len(piece)
                yield piece
                progress(received, candidate.size)

        target = folder / DELIVERY
        part = folder / f"{DELIVERY}.part"
        try:
            with part.open("wb") as output:
                if candidate.is_zip:
                    output.writelines(counted(candidate.files[0]))
                else:
                    _pack(candidate.files, counted, output)
            part.rename(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return target

    def _pieces(self, candidate: Candidate, file: RemoteFile) -> Iterator[bytes]:
        """The bytes of one file, which is the same before, in the middle and after."""
        path = candidate.path(file)
        try:
            with self._line.spoken():
                self._check(self._client.look(path), file)
                with self._client.reading(path) as handle:
                    self._check(self._client.state(handle), file)
                    came = 0
                    for piece in self._client.pieces(handle, file.size):
                        came += len(piece)
                        yield piece
                    if came < file.size:
                        raise FetchError("SFTP-CHANGED", f"{file.name} ended early.")
                    self._check(self._client.state(handle), file)
                self._check(self._client.look(path), file)
        except FetchError as fault:
            if fault.code == "SFTP-FOLDER":
                raise FetchError("SFTP-CHANGED", f"{file.name} has vanished.") from None
            raise

    @staticmethod
    def _check(found: Entry, file: RemoteFile) -> None:
        if found.mode is not None and not stat.S_ISREG(found.mode):
            raise FetchError("SFTP-HOSTILE", f"{file.name} is no regular file any more.")
        if (found.size, found.mtime) != (file.size, file.mtime):
            raise FetchError("SFTP-CHANGED", file.name)

    def after(self, candidate: Candidate, what: After, folder: str = "") -> FetchError | None:
        """What is done with a delivery that was taken: it is left, or it is called ``<name>.<moment>.taken``, where it
        lies or in `folder` (beside it, unless it begins with "/"), which must exist. The moment is its time of change;
        the ending keeps it from being found again.

        A failure is returned, not raised: the delivery is taken all the same. SFTP-AFTER; SFTP-CHANGED where another
        has come in its place, which is then left."""
        if what == "leave":
            return None
        if what == "move" and (not folder.strip("/") or ".." in folder.split("/") or not folder.isprintable()):
            return FetchError("SFTP-AFTER", "There is no folder to move it to.")
        moment = f"{datetime.fromtimestamp(candidate.mtime, UTC):{_MOMENT}}"
        aside = _aside(candidate.folder, what, folder)
        for file in candidate.files:
            new = _joined(aside, f"{file.name}.{moment}.taken")
            try:
                with self._line.spoken():
                    self._check(self._client.look(candidate.path(file)), file)
                    self._client.rename(candidate.path(file), new)
            except FetchError as fault:
                if fault.code == "SFTP-CHANGED":
                    return fault
                return FetchError("SFTP-AFTER", file.name)
        return None

    def tidy(self, lay: str, what: After, folder: str, before: datetime) -> FetchError | None:
        """Delete what `after` has put aside from the folder `lay` and what the district wrote before that moment, as
        the names say. Nothing else is touched, whatever it is called.

        A failure is returned, not raised: SFTP-TIDY."""
        if what == "leave":
            return None
        try:
            with self._line.spoken():
                aside = _aside(lay, what, folder)
                for name in [entry.name for entry in self._seen(aside) if _is_older(entry, before)]:
                    self._client.remove(_joined(aside, name))
        except FetchError as fault:
            return FetchError("SFTP-TIDY", fault.message)
        return None

    def _seen(self, folder: str) -> Iterator[Entry]:
        """No more than the limits let us look at; what is beyond them is for another day."""
        until = time.monotonic() + self._limits.listing
        for entry in islice(self._client.entries(folder or "."), self._limits.entries):
            if time.monotonic() > until:
                return
            yield entry


class Search:
    """One look for deliveries, within the limits of entries and time. `entries` is what was seen on the way."""

    def __init__(self, client: Files, limits: Limits, pattern: str, formats: Collection[Format]) -> None:
        """Raises FetchError SFTP-PATH."""
        if ".." in pattern.split("/") or not pattern.isprintable():
            raise FetchError("SFTP-PATH", "It may not hold .. or control characters.")
        self.entries = 0
        self._client = client
        self._limits = limits
        self._pattern = pattern
        self._formats: tuple[Format, ...] = tuple(kind for kind in FORMATS if kind in formats)
        self._until = time.monotonic() + limits.listing
        self._files: dict[str, dict[str, RemoteFile]] = defaultdict(dict)
        self._passed_over = 0
        parts = [part for part in pattern.split("/") if part not in ("", ".")]
        fixed = next((place for place, part in enumerate(parts) if _WILD.search(part)), len(parts))
        self._start = ("/" if pattern.startswith("/") else "") + "/".join(parts[:fixed])
        self._wild = parts[fixed:]

    def check_folder(self) -> str:
        folder = _parent(self._start) if not self._wild and _suffix(self._start) in FORMATS else self._start
        if not self._is_folder(self._client.look(folder or ".")):
            raise FetchError("SFTP-HOSTILE", f"{folder} is no folder.")
        return folder or "."

    def walk(self) -> None:
        if not self._wild:
            self._take(self._start)
            return
        self.check_folder()
        folders = [self._start]
        for part in self._wild[:-1]:
            folders = [
                _joined(folder, entry.name)
                for folder in folders
                for entry in self._list(folder, part)
                if self._is_folder(entry)
            ]
            if not folders:
                raise FetchError("SFTP-FOLDER", f"None matches {part}.")
        inner = []
        for folder in folders:
            for entry in self._list(folder, self._wild[-1]):
                if self._is_folder(entry):
                    inner.append(_joined(folder, entry.name))
                else:
                    self._add(folder, entry)
        if not self._files:
            for folder in inner:
                self._add_all(folder)

    def _take(self, path: str) -> None:
        """The file or the folder at `path`, which is no pattern."""
        try:
            entry = self._client.look(path or ".")
        except FileNotFoundError:
            if _suffix(path) not in FORMATS:
                raise
            self.check_folder()
            return
        if self._is_folder(entry):
            self._add_all(path)
        elif self._is_file(entry) and _suffix(path) not in self._formats:
            raise FetchError("SFTP-PATH", "It leads to a file that is neither a zip nor a CSV file.")
        elif self._is_file(entry):
            self._add(_parent(path), entry)
        else:
            raise FetchError("SFTP-HOSTILE", f"{path} is a link or no file at all.")

    def _add_all(self, folder: str) -> None:
        for entry in self._list(folder, "*"):
            self._add(folder, entry)

    def _list(self, folder: str, pattern: str) -> Iterator[Entry]:
        for entry in self._client.entries(folder or "."):
            self.entries += 1
            if self.entries > self._limits.entries:
                raise FetchError("CONN-TOO-LARGE", f"More than {self._limits.entries:,} entries lie there.")
            if time.monotonic() > self._until:
                raise FetchError("CONN-BUDGET", "Listing what lies there took too long.")
            plain = _is_plain(entry.name)
            # Half uploads, and what a Mac leaves behind.
            hidden = plain and entry.name.startswith(".") and not pattern.startswith(".")
            if hidden or not fnmatchcase(entry.name.lower(), pattern.lower()):
                continue
            if plain:
                yield self._completed(folder, entry)
            elif pattern != "*" or _suffix(entry.name) in self._formats:
                self._passed_over += 1

    def _completed(self, folder: str, entry: Entry) -> Entry:
        """Some servers list names alone."""
        complete = None not in (entry.mode, entry.size, entry.mtime)
        return entry if complete else self._client.look(_joined(folder, entry.name))

    @staticmethod
    def _is_folder(entry: Entry) -> bool:
        return entry.mode is not None and stat.S_ISDIR(entry.mode)

    @staticmethod
    def _is_file(entry: Entry) -> bool:
        return entry.mode is not None and stat.S_ISREG(entry.mode)

    def _add(self, folder: str, entry: Entry) -> None:
        if _suffix(entry.name) not in self._formats or self._is_folder(entry):
            return
        plain = self._is_file(entry) and entry.size is not None and entry.mtime is not None
        if plain and entry.name not in self._files.get(folder, ()):
            self._files[folder][entry.name] = RemoteFile(entry.name, entry.size or 0, entry.mtime or 0)
        else:
            self._passed_over += 1

    def newest(self) -> Candidate:
        """Raises FetchError SFTP-NOTHING or SFTP-HOSTILE."""
        deliveries: list[tuple[str, tuple[RemoteFile, ...]]] = []
        for folder, files in self._files.items():
            deliveries += [(folder, (file,)) for name, file in files.items() if _suffix(name) == "zip"]
            loose = tuple(file for name, file in sorted(files.items()) if _suffix(name) == "csv")
            if loose:
                deliveries.append((folder, loose))
        if not deliveries and self._passed_over:
            raise FetchError("SFTP-HOSTILE", f"There are {self._passed_over:,} of that kind, and nothing else.")
        if not deliveries:
            raise FetchError("SFTP-NOTHING", f"No {' or '.join(self._formats)} among {self.entries:,} entries.")
        found = [Candidate(folder, files, self._pattern, self._formats) for folder, files in deliveries]
        best = max(found, key=lambda one: (one.is_zip, one.mtime, one.files[-1].name, one.folder))
        return replace(best, older=len(found) - 1, passed_over=self._passed_over)


def _pack(files: tuple[RemoteFile, ...], pieces: Callable[[RemoteFile], Iterator[bytes]], output: IO[bytes]) -> None:
    with zipfile.ZipFile(output, "w") as archive:
        for file in files:
            info = zipfile.ZipInfo(file.name, _ANY_MOMENT)
            info.file_size = file.size
            with archive.open(info, "w") as member:
                for piece in pieces(file):
                    member.write(piece)


def _aside(lay: str, what: After, folder: str) -> str:
    """Where what lay in the folder `lay` is put."""
    if what == "rename":
        return lay
    return folder if folder.startswith("/") else _joined(lay, folder)


def _is_older(entry: Entry, before: datetime) -> bool:
    """Whether this is a file that was put aside, and was written before that moment."""
    found = _PUT_ASIDE.fullmatch(entry.name) if _is_plain(entry.name) else None
    if found is None or entry.mode is None or not stat.S_ISREG(entry.mode):
        return False
    try:
        return datetime.strptime(found[1], _MOMENT).replace(tzinfo=UTC) < before
    except ValueError:
        return False


def _is_plain(name: str) -> bool:
    """Whether a name can be shown and asked for: printable, no path, no more than a file system takes."""
    return 0 < len(name) <= 255 and name.isprintable() and not set(name) & {"/", "\\"} and name not in (".", "..")


def _suffix(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name else ""


def _joined(folder: str, name: str) -> str:
    if not folder or not name:
        return folder or name
    return f"{folder.rstrip('/')}/{name}"


def _parent(path: str) -> str:
    """ "" is where the login arrives."""
    return path.rpartition("/")[0] or ("/" if path.startswith("/") else "")
