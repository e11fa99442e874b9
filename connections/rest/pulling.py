"""A whole roster from an API, or what changed: every page as it came, in one zip, or an error and nothing.

The walk goes by what was received, never by what was asked: totals and links are optional, limits are clamped without a
word, a sort may be ignored, and rows move while they are read. So records are counted by sourcedId and compared with
what the server says there are; where it does not say, pages overlap by one record, which has to be the same. Where that
is not so the collection is read again, and after three times the pull fails.

No number is believed to be the end either: a collection ends where the server, asked for more, has nothing new. A total
that is too low would otherwise make everybody beyond it look like people who left.
"""

from __future__ import annotations

import json
import tempfile
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from connections.exceptions import FetchError
from connections.rest.api import Api, Limits, Version
from connections.rest.client import Client
from connections.rest.packing import Packer
from connections.rest.pages import Page

#: In the order in which they are read, and whether a roster can do without them.
COLLECTIONS: Final[dict[str, bool]] = {
    "academicSessions": False,
    "orgs": True,
    "courses": False,
    "classes": False,
    "users": False,
    "enrollments": False,
    "demographics": True,
}
FORMAT: Final = "oneroster-rest-pull/1"
NAME: Final = "pull.zip"
_TRIES: Final = 3
#: Asked for though it may be ignored: without it the order is the server's whim.
SORT: Final = {"sort": "sourcedId", "orderBy": "asc"}
#: A collection that is answered so is not offered.
ABSENT: Final = {"API-FORBIDDEN", "API-NOT-FOUND"}
#: Asked for what is beyond the end, servers also say no, or null instead of an empty list.
_BEYOND: Final = {"API-REFUSED", "API-NOT-FOUND", "API-SHAPE"}

#: Called after each page with the collection, the records received so far and the total, where it is known.
Progress = Callable[[str, int, int | None], object]


@dataclass(frozen=True, slots=True)
class Collected:
    """`rows` are distinct sourcedIds; `total` is the server's own number, where it names one."""

    pages: int
    rows: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Pulled:
    """A complete pull. `path`: the zip, with <collection>-000001.json and so on, and pull.json. A collection that the
    API does not offer is not in `collections`. `revision`: ClassLink's x-perm-rev, or "". `received` in bytes."""

    path: Path
    collections: dict[str, Collected]
    revision: str
    received: int


class _Moved(Exception):
    """The server says that its data are no longer those that the pull began with."""


def pull(
    api: Api,
    folder: Path,
    *,
    progress: Progress = lambda collection, rows, total: None,
    limits: Limits = Limits(),  # noqa: B008  # frozen
    since: datetime | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> Pulled:
    """Everything that `api` has, or what changed after `since`, as `folder`/pull.zip.

    What changed is never the whole truth: servers forget records that were removed. Give `since` some overlap.
    `folder` is this pull's own; a zip of an earlier one is removed. `sleep` takes seconds. Raises FetchError; then no
    zip is there.
    """
    if since is not None and since.tzinfo is None:
        raise ValueError("since needs a time zone")
    (folder / NAME).unlink(missing_ok=True)
    api.check()
    with Client(api, limits, sleep=sleep) as client, tempfile.TemporaryDirectory(dir=folder, prefix="pull-") as inside:
        for attempt in range(_TRIES):
            try:
                draft = Path(inside) / f"{attempt}.zip"
                with Packer(draft) as packer:
                    walk = _Walk(client, packer, progress, since)
                    collections = walk.everything()
                    packer.add("pull.json", _description(api, collections, since).encode())
                    packer.finish()
                return Pulled(draft.replace(folder / NAME), collections, walk.revision, client.received)
            except _Moved:
                continue
        raise FetchError("API-MOVED")


def page_name(collection: str, number: int) -> str:
    return f"{collection}-{number:06d}.json"


class _Walk:
    """One attempt at all collections; the pages go to the `packer`."""

    def __init__(self, client: Client, packer: Packer, progress: Progress, since: datetime | None) -> None:
        self.client = client
        self.packer = packer
        self.progress = progress
        self.query = {} if since is None else {"filter": f"dateLastModified>'{_utc(since)}'"}
        self.revisions: dict[str, str] = {}

    @property
    def revision(self) -> str:
        return next(iter(self.revisions.values()), "")

    def everything(self) -> dict[str, Collected]:
        return {collection: self._collection(collection) for collection in self._stock()}

    def _stock(self) -> list[str]:
        """The collections that answer, asked before anything large is read. There is no manifest to ask for."""
        offered = []
        for collection, optional in COLLECTIONS.items():
            try:
                page = self.client.page(collection, offset=0, limit=1)
            except FetchError as error:
                if optional and error.code in ABSENT:
                    continue
                raise
            self.revisions[collection] = page.revision
            offered.append(collection)
        return offered

    def _collection(self, collection: str) -> Collected:
        begin = self.packer.mark()
        for number in range(1, _TRIES + 1):
            self.packer.back_to(begin)
            collected, sound = self._tried(collection, insist=number < _TRIES)
            if sound:
                break
        else:
            total = "no total" if collected.total is None else f"a total of {collected.total:,}"
            raise FetchError("API-DRIFT", f"{collection}: {collected.rows:,} different records, {total}.")
        if not collected.rows and not self.query and not COLLECTIONS[collection]:
            raise FetchError("API-EMPTY", f"{collection}.")
        return collected

    def _tried(self, collection: str, *, insist: bool) -> tuple[Collected, bool]:
        """The collection, and whether its pages add up. `insist`: they also have to overlap where totals tell how many
        records there are, for one that leaves while another comes changes no total; in vain with servers that have no
        order, of which then only the number is asked."""
        ids = array("q")  # hashes: eight bytes a record, however long its sourcedId
        totals: list[int] = []
        seen: set[int] = set()
        written = 0
        limit = self.client.api.page_size
        sort = dict(SORT)
        overlap = True
        alone = False  # asked for the last record and more, the server had only that one
        first = 0
        while True:
            # A record that is removed meanwhile lets another one move up and be passed over: so each page has to begin
            # with the record that the one before ended with.
            back = int(overlap and bool(ids) and (insist or not totals))
            known = len(ids)
            reached = known >= totals[-1] if totals else alone
            try:
                page = self.client.page(collection, offset=known - back, limit=limit, query=sort | self.query)
            except FetchError as error:
                if error.code == "API-REFUSED" and not known and sort:
                    sort = {}  # some servers cannot sort by sourcedId
                    continue
                if error.code in _BEYOND and known and reached:
                    break
                raise
            if page.revision and self.revisions[collection] and page.revision != self.revisions[collection]:
                raise _Moved
            if collection == "users" and not known:
                check_version(page, self.client.api.version)
            limit = page.limit
            hashes = [hash(one) for one in page.ids]
            if back and totals and reached and hashes == [ids[-1]] and limit > 1:
                break  # as many as it says, and from the last one on there is only that
            if back and (hashes == [ids[-1]] or hashes[:1] == [first]):
                overlap = False  # the end, to be asked for once more; or offset is not obeyed, which shows then
                alone = hashes == [ids[-1]] and limit > 1
                continue
            if back and hashes[:1] != [ids[-1]]:
                rows = pl.Series(ids, dtype=pl.Int64).n_unique()
                return Collected(written, rows, totals[-1] if totals else None), False
            first = hashes[0] if hashes else 0
            hashes = hashes[back:]
            if known and (not hashes or (reached and set(hashes) <= set(ids))):
                break  # nothing more; or the last page again, or everything
            mark = hash(tuple(hashes))
            if mark in seen or written == self.client.limits.pages:
                raise FetchError("API-PAGING", f"{collection}, page {written + 1:,}.")
            seen.add(mark)
            ids.extend(hashes)
            totals += [] if page.total is None else [page.total]
            written += 1
            self.packer.add(page_name(collection, written), page.body)
            self.progress(collection, len(ids), page.total)
            if not hashes:
                break
        rows = pl.Series(ids, dtype=pl.Int64).n_unique()
        sound = all(total == rows for total in totals) if totals else rows == len(ids)
        return Collected(written, rows, totals[-1] if totals else None), sound


def check_version(page: Page, version: Version) -> None:
    """Raises FetchError API-VERSION where every user has the form of the other version: one role, or roles."""
    other = _is_1_2 if version == "1.1" else _is_1_1
    if page.ids and all(other(record) for record in page.records):
        raise FetchError("API-VERSION")


def _is_1_2(user: Any) -> bool:
    return isinstance(user, dict) and "roles" in user and "role" not in user


def _is_1_1(user: Any) -> bool:
    return isinstance(user, dict) and "role" in user and "roles" not in user


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _description(api: Api, collections: dict[str, Collected], since: datetime | None) -> str:
    """What pull.json says."""
    told = {
        "format": FORMAT,
        "version": api.version,
        "mode": "bulk" if since is None else "delta",
        "since": None if since is None else _utc(since),
        "collections": {
            name: {"pages": one.pages, "rows": one.rows, "total": one.total, "complete": True}
            for name, one in collections.items()
        },
        "base": api.origin,
    }
    return json.dumps(told, indent=1)
