"""Trying an API out: one small question after the other, each told in words.

Nothing of a roster is shown: a few records of each collection are asked for, and what is told of them is how many of
the fields that OneRoster requires are filled.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from socket import socket
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from connections import addresses
from connections.exceptions import FetchError
from connections.rest.api import Api, Limits, Version, port_of
from connections.rest.client import Client, certificate_fault
from connections.rest.pages import Page
from connections.rest.pulling import ABSENT, COLLECTIONS, SORT, check_version
from connections.steps import Step

#: Where a server of 1.2 describes itself (the standard's file name, and another that is in use).
_DISCOVERY: Final = (
    "discovery/onerosterv1p2rostersservice_openapi3_v1p0.json",
    "discovery/imsorv1p2_rostering_openapi3_v1p0.json",
)
#: What a server says where it has no such document.
_NO_DOCUMENT: Final = (*ABSENT, "API-REFUSED", "API-HTML", "API-JSON")
_SAMPLE: Final = 5
_FAR_AHEAD: Final = "2999-01-01T00:00:00.000Z"

_COMMON: Final = ("sourcedId", "status", "dateLastModified")
#: The fields that both versions require, beside the common ones.
_REQUIRED: Final[dict[str, tuple[str, ...]]] = {
    "academicSessions": ("title", "startDate", "endDate", "type", "schoolYear"),
    "classes": ("title", "course", "school", "terms"),
    "courses": ("title", "courseCode"),
    "demographics": (),
    "enrollments": ("user", "class", "school", "role"),
    "orgs": ("name", "type"),
    "users": ("enabledUser", "givenName", "familyName"),
}
_OF_USERS: Final[dict[Version, tuple[str, ...]]] = {"1.1": ("username", "role", "orgs"), "1.2": ("roles",)}
_NOTHING: Final[tuple[object, ...]] = (None, "", [], {})


@dataclass(frozen=True, slots=True)
class _Done:
    """What a step says when it did not fail."""

    words: str
    outcome: Literal["ok", "skipped", "warning"] = "ok"
    inside: str = ""


def steps(
    api: Api,
    *,
    limits: Limits = Limits(seconds=300, connect=15, read=30, tries=2),  # noqa: B008  # frozen
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[Step]:
    """name, address, TLS, token, manifest, each collection, paging, order, dateLastModified, each when it is done.

    Where a step fails that all others stand on, those are skipped. What goes wrong is a step's code and words; nothing
    is raised. Stop asking and nothing more is sent.
    """
    with Client(api, limits, sleep=sleep) as client:
        blocked = ""
        for name, step in _Trial(client).steps():
            begun = time.monotonic()
            if blocked:
                yield Step(name, "skipped", 0.0, f"Not tried, because the step “{blocked}” failed.")
                continue
            try:
                done = step()
            except FetchError as error:
                seconds = time.monotonic() - begun
                yield Step(name, "failed", seconds, error.message, error.code, error.next_step, error.inside)
                if name in ("name", "address", "TLS", "token") or error.code in (
                    "API-AUTH",
                    "API-CLOCK",
                    "CONN-BUDGET",
                ):
                    blocked = name
            else:
                yield Step(name, done.outcome, time.monotonic() - begun, done.words, inside=done.inside)


class _Trial:
    def __init__(self, client: Client) -> None:
        self.client = client
        self.api = client.api
        self.parts = urlsplit(client.api.base_url)
        self.samples: dict[str, Page] = {}
        self.unsorted: set[str] = set()

    def steps(self) -> Iterator[tuple[str, Callable[[], _Done]]]:
        yield from (("name", self.name), ("address", self.address), ("TLS", self.tls), ("token", self.token))
        yield "manifest", self.manifest
        for collection in sorted(COLLECTIONS):
            yield collection, partial(self.collection, collection)
        yield from (("paging", self.paging), ("order", self.order), ("dateLastModified", self.modified))

    def name(self) -> _Done:
        self.api.check()
        words, inside = addresses.in_words(self._host, port_of(self.parts), self.api.allowed)
        return _Done(words, inside=inside)

    def address(self) -> _Done:
        self._connected().close()
        return _Done(f"It may be contacted, and answers at port {port_of(self.parts)}.")

    def tls(self) -> _Done:
        if self.parts.scheme == "http":
            return _Done("Not used: the server is this very machine.", "skipped")
        context = ssl.create_default_context(cafile=self.api.ca_file or DEFAULT_CA_BUNDLE_PATH)
        try:
            with self._connected() as plain, context.wrap_socket(plain, server_hostname=self._host) as safe:
                ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(safe.getpeercert()["notAfter"])), UTC)  # type: ignore[index]
                version = (safe.version() or "").replace("TLSv", "TLS ")
        except TimeoutError:
            raise FetchError("CONN-TIMEOUT", f"{self.api.origin}.") from None
        except OSError as error:
            raise FetchError("API-TLS", certificate_fault(error)) from None
        days = (ends - datetime.now(UTC)).days
        words = f"{version}; the certificate is good for another {days:,} days."
        return _Done(words) if days >= 14 else _Done(f"{words} It should be renewed now.", "warning")

    def token(self) -> _Done:
        if self.api.auth == "oauth1":
            return _Done("Not needed: every question is signed with the key.", "skipped")
        if self.api.auth == "bearer":
            return _Done("Not asked for: the bearer is fixed.", "skipped")
        token = self.client.token()
        words = "Given." if token.seconds is None else f"Given, good for {token.seconds:,.0f} seconds."
        refused = set(self.api.scope.split()) - set(token.scope.split()) if token.scope else set()
        if refused:
            names = ", ".join(sorted(scope.rsplit("/", 1)[-1] for scope in refused))
            return _Done(f"{words} These scopes were not granted by name: {names}.", "warning")
        return _Done(words)

    def manifest(self) -> _Done:
        """A server of 1.2 should describe itself; nothing depends on it."""
        if self.api.version == "1.1":
            return _Done("OneRoster 1.1 has none.", "skipped")
        for path in _DISCOVERY:
            try:
                if isinstance(self.client.document(path), dict):
                    return _Done("The server describes itself.")
            except FetchError as error:
                if error.code not in _NO_DOCUMENT:
                    raise
        return _Done("The server does not describe itself; the collections are asked one by one.", "skipped")

    def collection(self, name: str) -> _Done:
        try:
            page = self.client.page(name, offset=0, limit=_SAMPLE, query=SORT)
        except FetchError as error:
            if error.code == "API-REFUSED":
                self.unsorted.add(name)  # some servers cannot sort by sourcedId
                page = self.client.page(name, offset=0, limit=_SAMPLE)
            elif COLLECTIONS[name] and error.code in ABSENT:
                why = "Not allowed to these credentials" if error.code == "API-FORBIDDEN" else "Not offered"
                return _Done(f"{why}; a roster can do without it.", "skipped")
            else:
                raise
        self.samples[name] = page
        if not page.ids:
            if COLLECTIONS[name]:
                return _Done("Empty; a roster can do without it.", "warning")
            raise FetchError("API-EMPTY", f"{name}.")
        if name == "users":
            check_version(page, self.api.version)
        count = (
            "No total is named"
            if page.total is None
            else f"{page.total:,} {'record' if page.total == 1 else 'records'}"
        )
        lacking = self._lacking(name, page.records[:_SAMPLE])
        looked_at = min(len(page.ids), _SAMPLE)
        if lacking:
            some = ", ".join(f"{field} in {times} of {looked_at}" for field, times in lacking.items())
            return _Done(f"{count}. Required fields are empty: {some}.", "warning")
        return _Done(f"{count}. All required fields are filled in the {looked_at} that were looked at.")

    def _lacking(self, name: str, records: list[Any]) -> dict[str, int]:
        """How often each required field is empty, where it is."""
        fields = _COMMON + _REQUIRED[name] + (_OF_USERS[self.api.version] if name == "users" else ())
        times = {
            field: sum(not isinstance(record, dict) or record.get(field) in _NOTHING for record in records)
            for field in fields
        }
        return {field: count for field, count in times.items() if count}

    def paging(self) -> _Done:
        collection = self._largest()
        if not collection:
            return _Done("No collection has two records to page through.", "skipped")
        one = self.client.page(collection, offset=0, limit=2, query=self._sort(collection))
        two = self.client.page(collection, offset=1, limit=2, query=self._sort(collection))
        if one.ids == two.ids:
            raise FetchError("API-PAGING", f"{collection}.")
        if one.ids[1:2] != two.ids[:1]:
            return _Done(f"{collection}: the second page does not go on where the first ended.", "warning")
        if len(one.ids) > 2:
            return _Done(f"{collection}: limit is ignored, offset is obeyed.", "warning")
        if one.total is None:
            return _Done(f"{collection}: limit and offset are obeyed. No total: an empty page will be the end.")
        return _Done(f"{collection}: limit and offset are obeyed.")

    def order(self) -> _Done:
        collection = self._largest()
        if not collection:
            return _Done("No collection has two records to order.", "skipped")
        ids = self.samples[collection].ids
        again = self.client.page(collection, offset=0, limit=_SAMPLE, query=self._sort(collection))
        if again.ids != ids:
            return _Done(f"{collection}: asked twice, the order differs. Every pull will be counted.", "warning")
        if not self._sort(collection):
            return _Done(f"{collection}: the server cannot sort by sourcedId. Every pull will be counted.", "warning")
        if ids not in (sorted(ids), sorted(ids, key=str.casefold), sorted(ids, key=lambda one: (len(one), one))):
            return _Done(f"{collection}: the same twice, but not in the order of sourcedId.", "warning")
        return _Done(f"{collection}: in the order of sourcedId, the same twice.")

    def modified(self) -> _Done:
        """Asked for what changes in the year 2999, a server that knows the filter has nothing."""
        collection = self._largest() or "users"
        try:
            query = {"filter": f"dateLastModified>'{_FAR_AHEAD}'"}
            page = self.client.page(collection, offset=0, limit=_SAMPLE, query=query)
        except FetchError as error:
            if error.code != "API-REFUSED":
                raise
            return _Done("The server cannot filter by it; each pull is a whole one.", "warning")
        if page.ids:
            return _Done("The server ignores the filter; each pull is a whole one.", "warning")
        return _Done("The server can tell what changed since a moment.")

    @property
    def _host(self) -> str:
        return self.parts.hostname or ""

    def _connected(self) -> socket:
        timeout = min(self.client.limits.connect, self.client.remaining())
        return addresses.connect(self._host, port_of(self.parts), timeout=timeout, allowed=self.api.allowed)

    def _largest(self) -> str:
        """The collection to try habits on: users where there are two, or whichever has the most."""
        several = {name: len(page.ids) for name, page in self.samples.items() if len(page.ids) > 1}
        return "users" if "users" in several else max(several, key=lambda name: several[name], default="")

    def _sort(self, collection: str) -> dict[str, str]:
        return {} if collection in self.unsorted else SORT
