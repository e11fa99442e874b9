"""Where an API is, how it wants to be asked, and how much of it is taken."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import SplitResult, urlsplit

from connections import addresses
from connections.addresses import Network
from connections.exceptions import FetchError

Version = Literal["1.1", "1.2"]

_SCOPES: Final = ("roster-core.readonly", "roster.readonly", "roster-demographics.readonly")

#: What the roster collections need, space separated. The nested operations' scope is asked for too: some servers of 1.2
#: know only that one.
SCOPES: Final[dict[Version, str]] = {
    "1.1": " ".join(f"https://purl.imsglobal.org/spec/or/v1p1/scope/{scope}" for scope in _SCOPES),
    "1.2": " ".join(f"https://purl.imsglobal.org/spec/or/v1p2/scope/{scope}" for scope in _SCOPES),
}


@dataclass(frozen=True, slots=True)
class Api:
    """One district's API.

    `base_url` is everything before the collection's name, as the vendor gives it; it is never composed. `key` and
    `secret` are consumer key and secret, or client id and secret; a static bearer has only a secret. `scope` may be
    empty: some servers want none. `page_size` in records. `allowed` networks may be contacted though they are private.
    `ca_file` names certificates to trust instead of the usual ones, for the demo and the tests.
    """

    base_url: str
    version: Version = "1.1"
    auth: Literal["oauth1", "oauth2", "bearer"] = "oauth1"
    key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    token_url: str = ""
    scope: str = ""
    signature: Literal["HMAC-SHA256", "HMAC-SHA1"] = "HMAC-SHA256"
    credentials_in: Literal["header", "body"] = "header"
    page_size: int = 1000
    allowed: tuple[Network, ...] = ()
    ca_file: str = ""

    def check(self) -> None:
        """Raises FetchError API-URL or API-CREDENTIALS where nothing needs to be tried."""
        urls = [self.base_url, self.token_url] if self.auth == "oauth2" else [self.base_url]
        for url in urls:
            self._check_url(url)
        values = [self.secret] if self.auth == "bearer" else [self.key, self.secret]
        if any(not value or not value.isprintable() or value != value.strip() for value in values):
            raise FetchError("API-CREDENTIALS")
        if self.auth == "bearer" and not self.secret.isascii():
            raise FetchError("API-CREDENTIALS")

    def _check_url(self, url: str) -> None:
        """https; plain http only to this very machine, where the connection is allowed to it (demo, tests)."""
        parts = split(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.fragment:
            raise FetchError("API-URL")
        if parts.query and url == self.base_url:
            raise FetchError("API-URL", "It has a query.")
        if parts.scheme == "http":
            private = bool(self.allowed) and all(
                address.is_loopback for address in addresses.resolved(parts.hostname, port_of(parts), self.allowed)
            )
            if not private:
                raise FetchError("API-URL", "It begins with http://, which anybody on the way can read.")

    @property
    def origin(self) -> str:
        return origin_of(self.base_url)

    def url(self, path: str) -> str:
        return f"{self.base_url.rstrip('/')}/{path}"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how much one pull may be. Seconds and bytes.

    `seconds` stays below what the queue lets a task take, so that a pull that is too long ends in words. `tries` are
    attempts at one page; `longest_wait` caps what a Retry-After may ask, `longest_backoff` our own pauses.
    `at_once` is how many questions this process has at one host at a time (Infinite Campus allows five).
    """

    seconds: float = 3000
    size: int = 4 << 30
    page_size: int = 256 << 20
    pages: int = 50_000
    connect: float = 60
    read: float = 120
    tries: int = 5
    longest_wait: float = 900
    longest_backoff: float = 32
    at_once: int = 4


def split(url: str) -> SplitResult:
    """The parts of a URL. Raises FetchError API-URL."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise FetchError("API-URL") from None
    if " " in url or not url.isprintable():
        raise FetchError("API-URL", "It has blanks in it.")
    return parts


def port_of(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def origin_of(url: str) -> str:
    """Scheme, host and, where it is not the usual one, port: all of a URL that may be shown and compared."""
    parts = split(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    usual = port_of(parts) == {"https": 443, "http": 80}.get(parts.scheme)
    return f"{parts.scheme}://{host}" if usual else f"{parts.scheme}://{host}:{parts.port}"
