"""The connection doctor's way to an SFTP server: step by step, until one fails, each in words."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from typing import Literal

from connections.addresses import connect, in_words, resolved
from connections.exceptions import FetchError
from connections.sftp.session import FORMATS, Candidate, Format, Search, Session
from connections.sftp.wire import Limits, Line, Server
from connections.steps import Step

#: The line is sound; there is only nothing to take at this moment.
_LATER = ("SFTP-NOTHING", "SFTP-STILL-WRITING")


def steps(
    server: Server,
    pattern: str,
    *,
    formats: Collection[Format] = FORMATS,
    wait: float = 10,
    marker: str = "",
    limits: Limits | None = None,
) -> Iterator[Step]:
    """Name, address, port, host key, login, folder, list, newest file, stable: each as soon as it is done. After one
    that failed, the rest is skipped. `wait` and `marker` as in `Session.settled`. Nothing is fetched."""
    with ExitStack() as stack:
        walk = _Walk(server, pattern, formats, wait, marker, limits or Limits(), stack)
        broken = False
        for name, examine in walk.tasks():
            if broken:
                yield Step(name, "skipped", 0.0, "A step before it did not succeed.")
                continue
            start = time.monotonic()
            walk.inside = ""
            try:
                words = examine()
            except FetchError as fault:
                broken = True
                seconds = time.monotonic() - start
                later = fault.code in _LATER
                outcome: Literal["warning", "failed"] = "warning" if later else "failed"
                yield Step(name, outcome, seconds, fault.message, fault.code, fault.next_step, fault.inside)
            else:
                yield Step(name, "ok", time.monotonic() - start, words, inside=walk.inside)


class _Walk:
    """What a step finds, the next one uses."""

    line: Line
    session: Session
    search: Search
    candidate: Candidate
    #: What the step that was taken tells our staff alone.
    inside = ""

    def __init__(
        self,
        server: Server,
        pattern: str,
        formats: Collection[Format],
        wait: float,
        marker: str,
        limits: Limits,
        stack: ExitStack,
    ) -> None:
        self.server = server
        self.pattern = pattern
        self.formats = formats
        self.wait = wait
        self.marker = marker
        self.limits = limits
        self.stack = stack

    def tasks(self) -> list[tuple[str, Callable[[], str]]]:
        return [
            ("name", self.name),
            ("address", self.address),
            ("port", self.port),
            ("host key", self.host_key),
            ("login", self.login),
            ("folder", self.folder),
            ("list", self.list),
            ("newest file", self.newest),
            ("stable", self.stable),
        ]

    def name(self) -> str:
        words, self.inside = in_words(self.server.host, self.server.port, self.server.allowed)
        return words

    def address(self) -> str:
        resolved(self.server.host, self.server.port, self.server.allowed)
        return "It may be contacted."

    def port(self) -> str:
        server = self.server
        sock = connect(server.host, server.port, timeout=self.limits.connecting, allowed=server.allowed)
        self.line = self.stack.enter_context(Line(server, self.limits, sock))
        return f"The server answers at port {server.port}."

    def host_key(self) -> str:
        key = self.line.host_key()
        self.line.confirm(key)
        return f"It is the confirmed one: {key}."

    def login(self) -> str:
        self.line.log_in()
        return f"{self.server.user} is let in."

    def folder(self) -> str:
        self.session = Session(self.line, self.line.start_sftp())
        return f"{self.session.check_folder(self.pattern)} is there."

    def list(self) -> str:
        self.search = self.session.searched(self.pattern, formats=self.formats)
        return f"{self.search.entries:,} entries were looked at."

    def newest(self) -> str:
        self.candidate = found = self.search.newest()
        words = f"{found.name}, {found.size:,} bytes."
        if found.older:
            words += f" {found.older:,} other deliveries lie there too."
        if found.passed_over:
            words += f" {found.passed_over:,} entries were passed over: they are no plain files with plain names."
        return words

    def stable(self) -> str:
        self.session.settled(self.candidate, wait=self.wait, marker=self.marker)
        return "Its marker is there." if self.marker else f"It did not change within {self.wait:g} seconds."
