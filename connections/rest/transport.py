"""A session whose every socket goes to an address that was judged, and nowhere else, and ends in time.

requests' own conveniences are left out on purpose: proxy variables, netrc, redirects and urllib3's retries, which would
send one signature twice.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from ipaddress import ip_address
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from connections import addresses
from connections.addresses import Network
from connections.exceptions import FetchError

#: urllib3 logs the headers and the certificates that it does not like, as a stranger sent them.
logging.getLogger("urllib3.connection").setLevel(logging.CRITICAL)

#: Where no time-out is set by the request, in seconds.
_CONNECT = 60.0


def session(allowed: Sequence[Network] = (), ca_file: str = "") -> Session:
    made = Session(allowed)
    made.trust_env = False
    made.verify = ca_file or True
    made.headers.update({"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "roster-portal"})
    return made


def _on_this_machine(made: socket.socket) -> bool:
    return ip_address(made.getpeername()[0].partition("%")[0]).is_loopback


class _Watch:
    """Cuts every line when the time is up.

    Each read of ours has its own patience, which a server that sends a byte now and then never tries: headers and a
    handshake of TLS can drip for ever, and whoever waits for them is only woken by the end of the line. The watch holds
    a second handle of each line, as TLS takes over the first; so it has to be closed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: dict[tuple[str, int], socket.socket] = {}
        self._on = object()
        self._expired = False

    def add(self, place: tuple[str, int], line: socket.socket) -> None:
        """Watch over the line to `place`, of which there is one at a time. Raises TimeoutError where it is too late."""
        with self._lock:
            if self._expired:
                raise TimeoutError
            if former := self._lines.pop(place, None):
                former.close()
            self._lines[place] = line.dup()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        on = object()
        with self._lock:
            self._on, self._expired = on, False
        timer = threading.Timer(seconds, self._expire, [on])
        timer.daemon = True
        timer.start()
        try:
            yield
        except Exception:
            if self._expired:  # whatever a line that is cut looks like from here
                raise TimeoutError from None
            raise
        finally:
            timer.cancel()
            with self._lock:
                self._on = object()
        if self._expired:  # headers that break off look like a whole answer
            raise TimeoutError

    def _expire(self, on: object) -> None:
        with self._lock:
            if self._on is not on:
                return
            self._expired = True
            for line in self._lines.values():
                with suppress(OSError):  # it has ended already
                    line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self._lock:
            for line in self._lines.values():
                line.close()
            self._lines.clear()


class Session(requests.Session):
    """For one thread."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        super().__init__()
        self._watch = _Watch()
        adapter = _Guarded(allowed, self._watch)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def within(self, seconds: float) -> AbstractContextManager[None]:
        """What is asked and read in this block ends after so many seconds, as TimeoutError. Not one in another."""
        return self._watch.within(seconds)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere: requests would prepare the next request even where it may not send it."""

    def close(self) -> None:
        super().close()
        self._watch.close()


class _Guarded(HTTPAdapter):
    def __init__(self, allowed: Sequence[Network], watch: _Watch) -> None:
        self._allowed = allowed
        self._watch = watch
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        allowed, watch = self._allowed, self._watch

        def guarded(connection: HTTPConnection) -> socket.socket:
            timeout = connection.timeout if isinstance(connection.timeout, int | float) else _CONNECT
            made = addresses.connect(connection._dns_host, connection.port, timeout=timeout, allowed=allowed)
            try:
                if not isinstance(connection, HTTPSConnection) and not _on_this_machine(made):
                    # the name led to this machine when the address was checked, and no longer does
                    raise FetchError("API-URL", "It begins with http://, which anybody on the way can read.")
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                watch.add((connection.host, connection.port), made)
            except BaseException:
                made.close()
                raise
            return made

        class Plain(HTTPConnection):
            _new_conn = guarded

        class Secure(HTTPSConnection):
            _new_conn = guarded

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
