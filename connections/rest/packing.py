"""The zip of a pull, written page by page while the next ones are asked for.

zipfile packs by zlib only, which takes longer over a page than the server that sends it. isal packs several times as
fast, and the format itself is three records (PKWARE's APPNOTE.TXT, sections 4.3.7, 4.3.12 and 4.3.16). As no time of
day goes into them, the same answers make the same zip, byte for byte, and the second one is known at a glance.
"""

from __future__ import annotations

import struct
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, Self

from isal import isal_zlib

from connections.exceptions import FetchError

#: So many pages may wait to be packed: memory is theirs.
_WAITING: Final = 4
_LEVEL: Final = 1
#: What the format of before 2001 can count; more than that is no roster.
_MOST_BYTES: Final = 0xFFFFFFFF
_MOST_MEMBERS: Final = 0xFFFE

_VERSION: Final = 20
_DEFLATED: Final = 8
#: 1 January 1980, the first moment that a zip can name.
_NO_TIME: Final = (0, 1 << 5 | 1)
_UNIX: Final = 3
_PRIVATE_FILE: Final = 0o100600 << 16


class Packer:
    """A zip at `path` that grows by `add` and is whole after `finish`. A context manager: nothing goes on after it.

    `add` does not wait for its page to be packed: what goes wrong then is raised by a later call. OSError, or
    FetchError CONN-TOO-LARGE.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="packing")
        self._under_way: deque[Future[None]] = deque()
        self._directory: list[bytes] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.shutdown(cancel_futures=True)
        self._file.close()

    def add(self, name: str, body: bytes) -> None:
        """Pack `body` as `name` (ASCII); waits while too many do."""
        if len(self._under_way) == _WAITING:
            self._under_way.popleft().result()
        self._under_way.append(self._worker.submit(self._pack, name.encode("ascii"), body))

    def mark(self) -> tuple[int, int]:
        """How far the zip is, for `back_to`."""
        self._wait()
        return self._file.tell(), len(self._directory)

    def back_to(self, mark: tuple[int, int]) -> None:
        """Forget what was added after `mark`."""
        self._wait()
        self._file.seek(mark[0])
        self._file.truncate()
        del self._directory[mark[1] :]

    def finish(self) -> None:
        """Write what makes it a zip."""
        self._wait()
        start, count = self._file.tell(), len(self._directory)
        directory = b"".join(self._directory)
        self._file.write(directory)
        self._file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), start, 0))
        self._file.close()

    def _wait(self) -> None:
        while self._under_way:
            self._under_way.popleft().result()

    def _pack(self, name: bytes, body: bytes) -> None:
        packed = isal_zlib.compress(body, _LEVEL, -isal_zlib.MAX_WBITS)
        start = self._file.tell()
        if start + len(packed) > _MOST_BYTES or len(body) > _MOST_BYTES or len(self._directory) == _MOST_MEMBERS:
            raise FetchError("CONN-TOO-LARGE")
        sizes = (isal_zlib.crc32(body), len(packed), len(body))
        facts = struct.pack("<5H3L2H", _VERSION, 0, _DEFLATED, *_NO_TIME, *sizes, len(name), 0)
        self._file.write(b"PK\3\4" + facts + name)
        self._file.write(packed)
        system = struct.pack("<2B", _VERSION, _UNIX)
        rest = struct.pack("<3H2L", 0, 0, 0, _PRIVATE_FILE, start)
        self._directory.append(b"PK\1\2" + system + facts + rest + name)
