"""Which hosts may be talked to, decided at the moment of connecting.

A district tells us where its server is, so the address is a stranger's input: it must not lead into our own network, to
a cloud's metadata, or round a corner to either. The name is resolved once, every address it has is judged, and the
socket is opened to that very address: what a name answers later (DNS rebinding), a redirect, a proxy variable or a
netrc file change nothing.

A district whose SIS stands in its own network can be let in by an allow-list of networks; that is the connection's
business (`Connection.allowed_networks`), this room only obeys it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from connections.exceptions import FetchError

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

#: The one part of IPv6 from which public addresses are given out (RFC 4291, IANA). What Python calls global differs
#: from version to version, and reaches beyond it: site-local addresses, segment routing, IPv4 in other spellings.
_PUBLIC_V6: Final = ip_network("2000::/3")

#: Parts of what remains that are no district's server, and which some Python calls global: protocol assignments
#: (RFC 6890), among them Teredo; the ways from IPv4 to IPv6 that are given up (6to4 and its anycast, RFC 7526); what is
#: for documents (RFC 9637).
_SPECIAL: Final = tuple(
    ip_network(text) for text in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2002::/16", "3fff::/20")
)

#: What a machine in a cloud is told its own secrets by: never a district's server, whatever an allow-list says. Besides
#: the link-local 169.254.169.254 of most clouds those of Azure (a public address), Alibaba, Oracle, and AWS over IPv6.
_METADATA: Final = tuple(
    ip_address(text) for text in ("168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254")
)


def may_be_contacted(address: Address, allowed: Sequence[Network] = ()) -> bool:
    """A public unicast address, or one in a network that this connection is `allowed`."""
    plain = _unwrapped(address)
    if never(plain):
        return False
    if any(plain in network for network in allowed if network.version == plain.version):
        return True
    if plain not in _PUBLIC_V6 and plain.version == 6:
        return False
    return plain.is_global and not any(plain in network for network in _SPECIAL)


def never(address: Address) -> bool:
    """Whether not even an allow-list lets anybody there: it is no single server of a district."""
    return address.is_link_local or address.is_multicast or address.is_unspecified or address in _METADATA


def _unwrapped(address: Address) -> Address:
    """An IPv4 address that is written as ``::ffff:a.b.c.d`` is that IPv4 address."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def resolved(host: str, port: int, allowed: Sequence[Network] = ()) -> list[Address]:
    """Every address of `host`. Raises FetchError CONN-NAME, and CONN-ADDRESS if even one may not be contacted: a name
    that leads to a public and to a private address is a trick or a mistake, and both need a person."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise FetchError("CONN-NAME") from None
    addresses = list(dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))
    if not addresses:
        raise FetchError("CONN-NAME")
    for address in addresses:
        if not may_be_contacted(address, allowed):
            raise FetchError("CONN-ADDRESS", inside=f"{host} is at {address}.")
    return addresses


def in_words(host: str, port: int, allowed: Sequence[Network] = ()) -> tuple[str, str]:
    """How `host` is known, for everybody; and for our staff alone, where it is at an address that is not public: who
    enters names must not learn what they mean in our network. Raises FetchError CONN-NAME."""
    try:
        found = resolved(host, port, allowed)
    except FetchError as fault:
        if fault.code != "CONN-ADDRESS":
            raise
        return f"{host} is known.", fault.inside  # whether it may be contacted is the next question
    where = f"{host} is at {', '.join(map(str, found))}."
    return (where, "") if all(map(may_be_contacted, found)) else (f"{host} is known.", where)


def connect(host: str, port: int, *, timeout: float, allowed: Sequence[Network] = ()) -> socket.socket:
    """A TCP connection to `host`, at an address that was judged. `timeout` in seconds, shared by all its addresses (a
    stranger's name can have hundreds), and for each later read and write. Raises FetchError."""
    refused: OSError | None = None
    found = resolved(host, port, allowed)
    ends = time.monotonic() + timeout
    for number, address in enumerate(found):
        share = max(ends - time.monotonic(), 0.01) / (len(found) - number)
        try:
            made = socket.create_connection((str(address), port), timeout=share)
        except OSError as error:
            refused = error
        else:
            made.settimeout(timeout)
            return made
    if isinstance(refused, TimeoutError):
        raise FetchError("CONN-TIMEOUT", f"{host}, port {port}.") from None
    raise FetchError("CONN-REFUSED", f"{host}, port {port}.") from None
