"""A session whose every socket goes to an address that was judged, and nowhere else.

requests' own conveniences are left out on purpose: proxy variables, netrc, redirects and urllib3's retries, which would
send one signature twice.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from connections import addresses
from connections.addresses import Network
from connections.exceptions import FetchError

#: Where no time-out is set by the request, in seconds.
_CONNECT = 60.0


def session(allowed: Sequence[Network] = (), ca_file: str = "") -> requests.Session:
    made = _Session()
    made.trust_env = False
    made.verify = ca_file or True
    made.headers.update({"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "roster-portal"})
    adapter = _Guarded(allowed)
    made.mount("https://", adapter)
    made.mount("http://", adapter)
    return made


def _on_this_machine(made: socket.socket) -> bool:
    return ip_address(made.getpeername()[0].partition("%")[0]).is_loopback


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere: requests would prepare the next request even where it may not send it."""


class _Guarded(HTTPAdapter):
    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        allowed = self._allowed

        def guarded(connection: HTTPConnection) -> socket.socket:
            timeout = connection.timeout if isinstance(connection.timeout, int | float) else _CONNECT
            made = addresses.connect(connection._dns_host, connection.port, timeout=timeout, allowed=allowed)
            if not isinstance(connection, HTTPSConnection) and not _on_this_machine(made):
                made.close()  # the name led to this machine when the address was checked, and no longer does
                raise FetchError("API-URL", "It begins with http://, which anybody on the way can read.")
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
