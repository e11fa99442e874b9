"""What an answer of the API says, believed only where it has the form that OneRoster gives it.

Its links are not read: one on another host is a proxy's mistake or a trick, and its offset is not always right. Where
the next page begins follows from what came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NoReturn

import msgspec

from connections.exceptions import FetchError

#: A code minor as the standard and practice spell them; anything longer or stranger is not repeated to people.
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z_ ]{2,40}")
_FAILED: Final = ("failure", "unsupported", "processing")


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of a collection: `body` as it came, and the sourcedIds in it, one for each record. `total` and
    `revision` are what the headers X-Total-Count and x-perm-rev say, `limit` how many records were asked for."""

    collection: str
    body: bytes
    ids: list[str]
    total: int | None
    revision: str
    limit: int

    @property
    def records(self) -> list[Any]:
        """The records as Python objects: slow, for a few."""
        found: list[Any] = parsed(self.body)[self.collection]
        return found


def read(body: bytes, headers: Mapping[str, str], collection: str, limit: int) -> Page:
    """The page in an answer with status 200. Raises FetchError API-HTML, API-JSON, API-STATUS or API-SHAPE."""
    ids = _regular_ids(body, collection)
    total = headers.get("X-Total-Count", "").strip()
    return Page(
        collection,
        body,
        _ids(body, collection) if ids is None else ids,
        int(total) if re.fullmatch(r"[0-9]{1,12}", total) else None,
        headers.get("x-perm-rev", ""),
        limit,
    )


class _Record(msgspec.Struct):
    sourcedId: str  # noqa: N815  # OneRoster's word


@cache
def _decoder(collection: str) -> msgspec.json.Decoder[Any]:
    """Reads pages with nothing beside their list, and of the records nothing but the sourcedId."""
    return msgspec.json.Decoder(msgspec.defstruct("_Page", [(collection, list[_Record])], forbid_unknown_fields=True))


def _regular_ids(body: bytes, collection: str) -> list[str] | None:
    """The sourcedIds of a page that is as it should be; None where anything about it is not.

    Ten times as fast as making Python objects of a page. Whatever is odd is looked at again by `_ids`, which judges. Of
    two lists with one name msgspec takes the last, so they are counted; of bytes that are no text it says nothing.
    """
    if body.count(b'"%s"' % collection.encode()) != 1:
        return None
    try:
        page = _decoder(collection).decode(body.decode())
    except (ValueError, RecursionError):
        return None
    return [record.sourcedId for record in getattr(page, collection)]


def _ids(body: bytes, collection: str) -> list[str]:
    """The same by hand. A record without a sourcedId is counted by what it holds; it is the reader who refuses it."""
    document = parsed(body)
    if minor := _failure(document):
        raise FetchError("API-STATUS", f"{collection}: {minor}.")
    records = document.get(collection) if isinstance(document, dict) else None
    if not isinstance(records, list):
        raise FetchError("API-SHAPE", f"{collection}: the list “{collection}” is missing.")
    ids = [record.get("sourcedId") if isinstance(record, dict) else None for record in records]
    return [str(one) if isinstance(one, str | int) else repr(record) for one, record in zip(ids, records, strict=True)]


def parsed(body: bytes) -> Any:
    """The JSON in `body`. Raises FetchError API-HTML or API-JSON."""
    try:
        return json.loads(body, parse_constant=_no_constant, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        start = body[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
        raise FetchError("API-HTML" if start.startswith(b"<") and b"<?xml" not in start else "API-JSON") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are not JSON, though Python reads them


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are its own: of two lists with one name nobody knows which counts."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError
    return made


def code_minor(body: bytes) -> str:
    """What an error's body calls itself, or "". Five forms of it are in use; none is relied on."""
    try:
        return _minor(parsed(body))
    except FetchError:
        return ""


def _failure(document: Any) -> str:
    """What went wrong by the answer's own words, or "" where it claims no failure. A warning (a sort that was ignored)
    is no failure."""
    for status in _statuses(document):
        major = status.get("imsx_codeMajor", status.get("codeMajor"))
        severity = status.get("imsx_severity", status.get("severity"))
        if str(major).lower() in _FAILED or str(severity).lower() == "error":
            return _minor(document) or "failure"
    if isinstance(document, dict) and document.get("errors"):
        return _minor(document) or "failure"
    return ""


def _statuses(document: Any) -> list[dict[str, Any]]:
    """The status objects of an answer: itself, imsx_StatusInfo, those of a statusInfoSet."""
    if not isinstance(document, dict):
        return []
    inner = [document, document.get("imsx_StatusInfo"), document.get("statusInfo")]
    for name in ("statusInfoSet", "errors"):
        several = document.get(name)
        inner += several if isinstance(several, list) else [several]
    return [status for status in inner if isinstance(status, dict)]


def _minor(document: Any) -> str:
    for status in _statuses(document):
        for name in ("imsx_codeMinor", "imsx_CodeMinor", "codeMinor", "code"):
            value = status.get(name)
            if isinstance(value, dict):
                fields = value.get("imsx_codeMinorField")
                first = fields[0] if isinstance(fields, list) and fields else fields
                value = first.get("imsx_codeMinorFieldValue") if isinstance(first, dict) else None
            if isinstance(value, str) and _WORD.fullmatch(value):
                return value
    return ""
