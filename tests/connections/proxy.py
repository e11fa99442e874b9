"""A wire that misbehaves: a TCP proxy on loopback that stalls, cuts or slows what the server sends."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType


class Proxy:
    """Forwards to `port`. All counts are bytes from the server, and may be set while it runs.

    After `stall_after` bytes it forwards nothing more, in neither direction, and keeps the connection. After
    `cut_after` bytes it ends the connection. `rate` is in bytes a second."""

    def __init__(
        self, port: int, *, stall_after: int | None = None, cut_after: int | None = None, rate: int | None = None
    ) -> None:
        self.stall_after = stall_after
        self.cut_after = cut_after
        self.rate = rate
        self.sent = 0
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._over = threading.Event()

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: type[BaseException] | TracebackType | BaseException | None) -> None:
        self._over.set()
        self._listener.close()
        for sock in self._open:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            self._open += [client, server]
            threading.Thread(target=self._pump, args=(server, client, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(client, server, False), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while data := source.recv(16 << 10):
                if counted:
                    self.sent += len(data)
                    if self.rate:
                        time.sleep(len(data) / self.rate)
                if self.stall_after is not None and self.sent > self.stall_after:
                    self._over.wait()
                    return
                if self.cut_after is not None and self.sent > self.cut_after:
                    break
                target.sendall(data)
        for sock in (source, target):  # the other pump waits on the same two: closing alone would not wake it
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
