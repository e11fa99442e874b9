"""Progress for people at a terminal: one line that renews itself; nothing where nobody watches."""

from __future__ import annotations

from typing import TextIO


class Meter:
    """Called as a `rosters.frames.Progress`; writes only to a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shows = stream.isatty()
        self._last = ""

    def __call__(self, phase: str, fraction: float, rows: int) -> None:
        line = f"{phase}: {fraction:4.0%}" + (f", {rows:,} rows" if rows else "")
        if self._shows and line != self._last:
            self._stream.write(f"\r\x1b[K{line}")
            self._stream.flush()
            self._last = line

    def done(self) -> None:
        if self._shows and self._last:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
