"""A student information system on loopback: OneRoster 1.1 or 1.2 over real sockets, with real signatures and tokens.

It behaves as the standard says. A test makes it misbehave in one way by a function that gets each question and the good
reply, and gives the reply that is sent.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from oauthlib.oauth1 import RequestValidator, SignatureOnlyEndpoint

from connections.rest import Api

KEY = "districtkey"  # oauthlib takes letters and digits only
SECRET = "a secret: with/odd+letters!"
LOOPBACK = (ip_network("127.0.0.0/8"),)
BASE = "/ims/oneroster/v1p1"

Row = dict[str, Any]


def roster(users: int = 25, version: str = "1.1") -> dict[str, list[Row]]:
    """A small whole roster; `users` also sets the number of enrollments."""

    def row(kind: str, number: int, **more: Any) -> Row:
        return {
            "sourcedId": f"{kind}-{number:05d}",
            "status": "active",
            "dateLastModified": f"2026-11-{1 + number % 20:02d}T00:00:00.000Z",
            **more,
        }

    def ref(kind: str, number: int) -> Row:
        identifier = f"{kind}-{number:05d}"
        return {"href": f"https://elsewhere.example/{kind}s/{identifier}", "sourcedId": identifier, "type": kind}

    def enrollment(number: int) -> Row:
        places = {"user": ref("user", number), "class": ref("class", 1 + number % 5), "school": ref("org", 1)}
        return row("enrollment", number, role="student", primary="false", **places)

    role: Row = {"role": "student", "orgs": [ref("org", 1)]}
    if version == "1.2":
        role = {"roles": [{"roleType": "primary", "role": "student", "org": ref("org", 1)}]}
    day = {"startDate": "2026-08-01", "endDate": "2027-06-30"}
    person = {"enabledUser": "true", "givenName": "Ada", "familyName": "Kim", **role}
    where = {"school": ref("org", 1), "terms": [ref("term", 1)]}
    return {
        "academicSessions": [row("term", 1, title="Year", type="schoolYear", schoolYear="2027", **day)],
        "orgs": [row("org", n, name=f"School {n}", type="school", identifier=str(n)) for n in range(1, 3)],
        "courses": [row("course", n, title=f"Course {n}", courseCode=str(n)) for n in range(1, 4)],
        "classes": [
            row("class", n, title=f"Class {n}", classType="scheduled", course=ref("course", 1), **where)
            for n in range(1, 6)
        ],
        "users": [row("user", n, username=f"u{n}", **person) for n in range(1, users + 1)],
        "enrollments": [enrollment(n) for n in range(1, users + 1)],
        "demographics": [row("user", n, sex="female") for n in range(1, users + 1)],
    }


@dataclass(frozen=True)
class Question:
    """`number` counts the questions to this collection, from 1."""

    collection: str
    query: dict[str, str]
    number: int
    headers: dict[str, str]

    @property
    def offset(self) -> int:
        return int(self.query.get("offset", "0"))

    @property
    def limit(self) -> int:
        return int(self.query.get("limit", "100"))


@dataclass(frozen=True)
class Reply:
    """`cut`: so many bytes of the body are kept back, though its length was announced. `silent`: nothing is sent.
    `drips`: the body comes byte by byte, and goes on for ever; `trickles`: a header does."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    silent: bool = False
    drips: bool = False
    trickles: bool = False

    def having(self, **headers: str) -> Reply:
        """With these headers too; underscores are hyphens."""
        return replace(self, headers=self.headers | {name.replace("_", "-"): value for name, value in headers.items()})

    def without(self, *names: str) -> Reply:
        return replace(self, headers={name: value for name, value in self.headers.items() if name not in names})


def as_json(document: Any, status: int = 200, **headers: str) -> Reply:
    return Reply(status, json.dumps(document).encode(), {"Content-Type": "application/json"}).having(**headers)


Misbehaviour = Callable[[Question, Reply], Reply]


class Sis:
    """The server's side. `asked` are all questions in their order, `tokens` how many tokens were given."""

    def __init__(self, rows: dict[str, list[Row]], auth: str, misbehaviour: Misbehaviour | None) -> None:
        self.rows = rows
        self.auth = auth
        self.misbehaviour = misbehaviour
        self.clamp = 10_000
        self.asked: list[Question] = []
        self.tokens = 0
        self.token_reply: Callable[[Reply], Reply] = lambda reply: reply
        self.validator = _Validator()
        self.endpoint = SignatureOnlyEndpoint(self.validator)
        self.origin = ""
        self.ca_file = ""

    @property
    def api(self) -> Api:
        return Api(
            self.origin + BASE,
            auth=self.auth,  # type: ignore[arg-type]
            key=KEY,
            secret=SECRET if self.auth != "bearer" else "static-token",
            token_url=f"{self.origin}/token",
            allowed=LOOPBACK,
            ca_file=self.ca_file,
        )

    def count(self, collection: str) -> int:
        return sum(question.collection == collection for question in self.asked)

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Reply:
        parts = urlsplit(target)
        if method == "POST":
            return self.token_reply(self._token(headers, body.decode()))
        collection = parts.path.removeprefix(f"{BASE}/")
        question = Question(
            collection,
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            self.count(collection) + 1,
            headers,
        )
        self.asked.append(question)
        reply = self._page(question) if self._known(method, target, headers) else as_json({}, 401)
        return self.misbehaviour(question, reply) if self.misbehaviour else reply

    def _known(self, method: str, target: str, headers: dict[str, str]) -> bool:
        if self.auth == "oauth1":
            valid, _ = self.endpoint.validate_request(self.origin + target, method, None, headers)
            return bool(valid)
        expected = f"token-{self.tokens}" if self.auth == "oauth2" else "static-token"
        return headers.get("Authorization") == f"Bearer {expected}"

    def _token(self, headers: dict[str, str], body: str) -> Reply:
        form = {name: values[0] for name, values in parse_qs(body).items()}
        basic = base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()
        in_header = headers.get("Authorization") == f"Basic {basic}"
        in_body = (form.get("client_id"), form.get("client_secret")) == (KEY, SECRET)
        if form.get("grant_type") != "client_credentials" or not (in_header or in_body):
            return as_json({"error": "invalid_client"}, 401)
        self.tokens += 1
        return as_json({"access_token": f"token-{self.tokens}", "token_type": "Bearer", "expires_in": 3600})

    def _page(self, question: Question) -> Reply:
        rows = self.rows.get(question.collection)
        if rows is None:
            return as_json({"imsx_codeMajor": "failure", "imsx_severity": "error"}, 404)
        if after := question.query.get("filter", "").removeprefix("dateLastModified>").strip("'"):
            rows = [row for row in rows if row["dateLastModified"] > after]
        page = rows[question.offset :][: min(question.limit, self.clamp)]
        return as_json({question.collection: page}, X_Total_Count=str(len(rows)))


class _Validator(RequestValidator):  # type: ignore[misc]
    """Knows one consumer, and takes no nonce twice."""

    enforce_ssl = False
    client_key_length = (1, 100)
    nonce_length = (1, 100)
    dummy_client = "nobody"

    def __init__(self) -> None:
        super().__init__()
        self.used: set[tuple[str, str]] = set()

    def validate_client_key(self, client_key: str, request: Any) -> bool:
        return client_key == KEY

    def get_client_secret(self, client_key: str, request: Any) -> str:
        return SECRET

    def validate_timestamp_and_nonce(
        self,
        client_key: str,
        timestamp: str,
        nonce: str,
        request: Any,
        request_token: Any = None,
        access_token: Any = None,
    ) -> bool:
        fresh = (timestamp, nonce) not in self.used
        self.used.add((timestamp, nonce))
        return fresh


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20
    disable_nagle_algorithm = True
    server: _Http

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        reply = self.server.sis.answer(self.command, self.path, dict(self.headers.items()), body)
        if reply.silent:
            self.server.stopping.wait(20)
            self.close_connection = True
            return
        self.send_response_only(reply.status)
        if reply.trickles:
            self.flush_headers()
        while reply.trickles and not self.server.stopping.wait(0.01):
            self.wfile.write(b"X")
        if "Date" not in reply.headers:
            self.send_header("Date", self.date_time_string())
        if "Transfer-Encoding" not in reply.headers and not reply.drips:
            self.send_header("Content-Length", str(len(reply.body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        while reply.drips and not self.server.stopping.wait(0.01):
            self.wfile.write(b" ")
        self.wfile.write(reply.body[: len(reply.body) - reply.cut])
        self.close_connection = self.close_connection or bool(reply.cut)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


class _Http(ThreadingHTTPServer):
    sis: Sis
    stopping: threading.Event

    def handle_error(self, *_: Any) -> None:
        """A client that goes away is part of many stories here."""


@contextmanager
def running(
    rows: dict[str, list[Row]] | None = None,
    misbehaviour: Misbehaviour | None = None,
    *,
    auth: str = "bearer",
    certificate: tuple[Path, Path] | None = None,
) -> Iterator[Sis]:
    """A running server with `rows`; over TLS with `certificate` (chain and key, CA and tests trust the same file)."""
    sis = Sis(roster() if rows is None else rows, auth, misbehaviour)
    http = _Http(("127.0.0.1", 0), _Handler)
    http.sis = sis
    http.stopping = threading.Event()
    sis.origin = f"http://localhost:{http.server_port}"
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        http.socket = context.wrap_socket(http.socket, server_side=True, do_handshake_on_connect=False)
        sis.origin = f"https://localhost:{http.server_port}"
        sis.ca_file = str(certificate[0])
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield sis
    finally:
        http.stopping.set()
        http.shutdown()
        http.server_close()
        thread.join()


def certificate(folder: Path, host: str = "localhost", *, expired: bool = False) -> tuple[Path, Path]:
    """A self-signed certificate for `host` and its key, as files in `folder`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    start = datetime.now(UTC) - timedelta(days=30)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=1 if expired else 365))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, private = folder / f"{host}.pem", folder / f"{host}.key"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return chain, private
