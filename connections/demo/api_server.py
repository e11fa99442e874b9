"""A OneRoster 1.1 API of one made-up district, read-only, for one consumer who signs each question (OAuth 1.0a).

It does what the standard says of collections: limit, offset, sort and orderBy, X-Total-Count, and the one filter that
everybody uses, ``dateLastModified>'...'``. It has no single records and no collections inside others.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from datetime import date, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

from oauthlib.oauth1 import SIGNATURE_HMAC_SHA256, RequestValidator, SignatureOnlyEndpoint

from connections.demo.days import Day, today
from connections.demo.doors import HOST, LoopbackServer
from rosters.oneroster import VERSIONS

#: oauthlib's own log tells of every signature that is refused.
logging.getLogger("oauthlib").setLevel(logging.WARNING)

PATH: Final = "/ims/oneroster/v1p1"
COLLECTIONS: Final = ("academicSessions", "orgs", "courses", "classes", "users", "enrollments", "demographics")

_LISTS: Final = {"grades", "subjects", "subjectCodes", "periods"}
#: What a reference of this name points to; another one points to its own kind ("org", "user", "class", "course").
_KINDS: Final = {"schoolYear": "academicSession", "term": "academicSession", "school": "org", "agent": "user"}
_PLURALS: Final = {"class": "classes"}
_TEXTS: Final = {
    collection: {
        one.name for one in VERSIONS["1.1"].tables[collection].columns if one.kind == "string" and not one.listed
    }
    for collection in COLLECTIONS
}
_SINCE: Final = re.compile(r"dateLastModified\s*>\s*'([^']+)'")

Row = dict[str, Any]


class BadQuestionError(Exception):
    """A parameter that the standard does not allow; `minor` is the standard's word for it."""

    def __init__(self, minor: str) -> None:
        super().__init__(minor)
        self.minor = minor


def base_url(port: int) -> str:
    return f"http://{HOST}:{port}{PATH}"


class ApiServer(LoopbackServer):
    """Serves what `district` is on the day of the question; a district is worked out anew when the day is another."""

    def __init__(self, port: int, district: Callable[[date], Day], *, key: str, secret: str) -> None:
        self._district = district
        self._day: date | None = None
        self._rows: dict[str, list[Row]] = {}
        self._lock = threading.Lock()
        self._endpoint = SignatureOnlyEndpoint(_Consumer(key, secret))
        super().__init__(port, _Questions)

    def knows(self, method: str, url: str, headers: dict[str, str]) -> bool:
        """Whether the question is signed by our consumer, and was not asked before."""
        with self._lock:
            try:
                valid, _ = self._endpoint.validate_request(url, method, None, headers)
            except ValueError:  # a URL that cannot be normalised
                return False
        return bool(valid)

    def rows(self, collection: str) -> list[Row]:
        with self._lock:
            if self._day != today():
                self._day = today()
                self._rows = records(self._district(self._day), base_url(self.port))
            return self._rows[collection]


class _Consumer(RequestValidator):  # type: ignore[misc]  # oauthlib has no types
    """Knows one consumer, and takes no nonce twice while its time is good."""

    enforce_ssl = False
    allowed_signature_methods = (SIGNATURE_HMAC_SHA256,)
    client_key_length = nonce_length = (1, 100)
    dummy_client = "nobody"

    def __init__(self, key: str, secret: str) -> None:
        super().__init__()
        self._key = key
        self._secret = secret
        self._used: dict[tuple[str, str], float] = {}

    def validate_client_key(self, client_key: str, request: Any) -> bool:
        return client_key == self._key

    def get_client_secret(self, client_key: str, request: Any) -> str:
        return self._secret

    def validate_timestamp_and_nonce(
        self,
        client_key: str,
        timestamp: str,
        nonce: str,
        request: Any,
        request_token: Any = None,
        access_token: Any = None,
    ) -> bool:
        """`oauthlib` itself refuses a `timestamp` that is older or later than `timestamp_lifetime` seconds."""
        long_ago = time.monotonic() - 2 * self.timestamp_lifetime
        self._used = {one: used for one, used in self._used.items() if used > long_ago}
        return self._used.setdefault((timestamp, nonce), now := time.monotonic()) is now


class _Questions(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    disable_nagle_algorithm = True
    server: ApiServer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        collection = parts.path.removeprefix(f"{PATH}/")
        url = f"http://{self.headers.get('Host', '')}{self.path}"
        if not self.server.knows(self.command, url, dict(self.headers.items())):
            self._refuse(401, "unauthorisedrequest")
        elif collection not in COLLECTIONS:
            self._refuse(404, "unknownobject")
        else:
            try:
                page, total = page_of(self.server.rows(collection), dict(parse_qsl(parts.query)))
            except BadQuestionError as bad:
                self._refuse(400, bad.minor)
            else:
                self._send(200, {collection: page}, {"X-Total-Count": str(total)})

    def _refuse(self, status: int, minor: str) -> None:
        fault = {"imsx_codeMajor": "failure", "imsx_severity": "error", "imsx_codeMinor": minor}
        self._send(status, {"statusInfoSet": [fault]}, {})

    def _send(self, status: int, document: object, headers: Mapping[str, str]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """The portal tells what it asked; twice is too often."""


def page_of(rows: list[Row], query: Mapping[str, str]) -> tuple[list[Row], int]:
    """The rows that `query` asks for, and how many there are on all pages. As the standard has it, a field to sort by
    that no record has changes nothing. Raises BadQuestionError."""
    limit, offset = query.get("limit", "100"), query.get("offset", "0")
    if not (limit.isdecimal() and offset.isdecimal() and int(limit)):
        raise BadQuestionError("invaliddata")
    if "filter" in query:
        since = _since(query["filter"])
        rows = [row for row in rows if datetime.fromisoformat(row["dateLastModified"]) > since]
    if field := query.get("sort"):
        rows = sorted(rows, key=lambda row: str(row.get(field) or ""), reverse=query.get("orderBy") == "desc")
    return rows[int(offset) :][: int(limit)], len(rows)


def _since(text: str) -> datetime:
    match = _SINCE.fullmatch(text)
    try:
        moment = datetime.fromisoformat(match[1] if match else "")
    except ValueError:
        raise BadQuestionError("invalid_filter_field") from None
    if moment.tzinfo is None:
        raise BadQuestionError("invalid_filter_field")
    return moment


# -------------------------------------------------------------------------------------------------------- CSV to JSON


def records(day: Day, base: str) -> dict[str, list[Row]]:
    """Every collection as the REST binding writes it. `base`: the API's URL, for the references."""
    made = {}
    for collection in COLLECTIONS:
        modified = day.modified.get(collection, {})
        made[collection] = [
            {
                "sourcedId": row["sourcedId"],
                "status": "active",
                "dateLastModified": f"{modified.get(row['sourcedId'], day.since)}T00:00:00.000Z",
                **_fields(collection, row, base),
            }
            for row in day.tables[collection].iter_rows(named=True)
        ]
    return made


def _fields(collection: str, row: Mapping[str, str], base: str) -> Row:
    """The fields of a row. The standard knows no null, and strict clients refuse it: free text that is empty is "", and
    any other field without a value is left out. A password is never served."""
    made: Row = {}
    for column, value in row.items():
        if column in ("sourcedId", "status", "dateLastModified", "password"):
            continue
        if not value and column not in _TEXTS[collection]:
            continue
        parts = value.split(",")
        if column.endswith("SourcedIds"):
            name = column.removesuffix("SourcedIds")
            made[f"{name}s"] = [_reference(_KINDS.get(name, name), one, base) for one in parts]
        elif column.endswith("SourcedId"):
            name = column.removesuffix("SourcedId")
            kind = collection.removesuffix("s") if name == "parent" else _KINDS.get(name, name)
            made[name] = _reference(kind, value, base)
        elif column == "userIds":
            pairs = (one.strip("{}").partition(":") for one in parts)
            made[column] = [{"type": kind, "identifier": identifier} for kind, _, identifier in pairs]
        else:
            made[column] = parts if column in _LISTS else value
    return made


def _reference(kind: str, sourced_id: str, base: str) -> Row:
    return {
        "href": f"{base}/{_PLURALS.get(kind, f'{kind}s')}/{quote(sourced_id)}",
        "sourcedId": sourced_id,
        "type": kind,
    }
