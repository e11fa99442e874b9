"""Where a request came from, for what is counted by that."""

from __future__ import annotations

import functools
import ipaddress
import logging
import re
from typing import Final

from django.conf import settings
from django.http import HttpRequest

logger = logging.getLogger(__name__)

#: As some proxies write it: with the port, and an address of IPv6 in brackets.
_WITH_PORT: Final = re.compile(r"\[(?P<six>[^]]+)\](:\d+)?|(?P<four>[^:]+):\d+")


def address_of(request: HttpRequest) -> str:
    """Behind a proxy what that saw, which it adds at the end of X-Forwarded-For. Of IPv6 the network, since whoever has
    one address there has 2^64."""
    told = request.META.get("REMOTE_ADDR", "")
    if settings.BEHIND_PROXY:
        told = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip() or told
    try:
        address = ipaddress.ip_address(_without_port(told))
    except ValueError:
        _say_so()
        return "an unknown address"
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    return str(address) if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))


def _without_port(told: str) -> str:
    found = _WITH_PORT.fullmatch(told)
    return found["six"] or found["four"] if found else told


@functools.cache
def _say_so() -> None:
    """Once, not with each request: then all the world is one asker, and one who fails too often keeps all waiting."""
    logger.warning(
        "It cannot be read where requests come from: everybody counts as one address. See what the proxy adds to "
        "X-Forwarded-For, and BEHIND_PROXY."
    )
