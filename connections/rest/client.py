"""Asking an API one question, as often as it takes, each time signed anew."""

from __future__ import annotations

import random
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote, urlencode

import requests
import urllib3.exceptions
from requests.auth import AuthBase, HTTPBasicAuth
from requests.structures import CaseInsensitiveDict
from requests_oauthlib import OAuth1

from connections.exceptions import FetchError
from connections.rest import pages
from connections.rest.api import Api, Limits, origin_of
from connections.rest.transport import session

#: Faults that another attempt may mend, and those of them after which less is asked for.
_AGAIN: Final = {"API-BUSY", "API-HEAVY", "API-SERVER", "API-JSON", "CONN-CUT", "CONN-TIMEOUT", "CONN-REFUSED"}
_LESS: Final = {"API-HEAVY", "CONN-TIMEOUT"}
#: A page is never asked to be smaller than this because a server is slow.
_SMALLEST_PAGE: Final = 25
_PIECE: Final = 1 << 18
#: A signature is refused by strict servers from about here on; so is it worth telling.
_SKEW: Final = timedelta(minutes=5)
#: A token is renewed so many seconds before its end.
_MARGIN: Final = 60.0
_NEVER: Final = float("inf")

Result = TypeVar("Result")

#: RFC 6749, section 5.2: what a token server may call its refusal.
_TOKEN_ERRORS: Final = {
    "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
    "invalid_scope",
}  # fmt: skip

_hosts: dict[str, threading.BoundedSemaphore] = {}
_hosts_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: CaseInsensitiveDict[str]
    body: bytes


class _Bearer(AuthBase):
    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


@dataclass(frozen=True, slots=True)
class Token:
    """`ends` on the monotonic clock. `scope` is what was granted, where the server says it."""

    value: str = field(repr=False)
    seconds: float | None
    ends: float
    scope: str


class Client:
    """One run's conversation with one API: its session and cookies, its token, its budget of time and bytes.

    A context manager. `sleep` takes seconds. Every method raises FetchError.
    """

    def __init__(self, api: Api, limits: Limits, *, sleep: Callable[[float], object] = time.sleep) -> None:
        self.api = api
        self.limits = limits
        self.received = 0
        self._sleep = sleep
        self._ends = time.monotonic() + limits.seconds
        self._session = session(api.allowed, api.ca_file)
        self._token: Token | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def page(self, collection: str, *, offset: int, limit: int, query: dict[str, str] | None = None) -> pages.Page:
        """The records of `collection` from `offset` on, at most `limit`; fewer are asked for where the server gives up
        on so many, and the page says how many."""

        def ask(less: int) -> pages.Page:
            now = max(limit >> less, min(limit, _SMALLEST_PAGE))
            answer = self._ask(collection, {"limit": str(now), "offset": str(offset), **(query or {})})
            return pages.read(answer.body, answer.headers, collection, now)

        return self._patiently(ask)

    def document(self, path: str) -> Any:
        """The JSON at `path`."""
        return self._patiently(lambda _: pages.parsed(self._ask(path, {}).body))

    def token(self) -> Token:
        """The token of this run (OAuth 2), fetched or renewed where needed."""
        return self._patiently(lambda _: self._good_token())

    def remaining(self) -> float:
        """Seconds that are left. Raises FetchError CONN-BUDGET where none are."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise self._out_of_time()
        return left

    def _out_of_time(self) -> FetchError:
        return FetchError("CONN-BUDGET", f"It may take {self.limits.seconds:,.0f} seconds.")

    def _patiently(self, ask: Callable[[int], Result]) -> Result:
        """What `ask` returns, tried again after faults that may pass. It is told how often to halve its wish."""
        halvings = tries = 0
        renewed = False
        while True:
            tries += 1
            try:
                return ask(halvings)
            except FetchError as error:
                if error.code == "API-AUTH" and self._token and not renewed:
                    renewed = True
                    self._renew_token(error)
                    continue
                if error.code not in _AGAIN or tries >= self.limits.tries:
                    raise
                halvings += error.code in _LESS
                self._pause(tries, error.wait if isinstance(error, _Refused) else None)

    def _renew_token(self, refusal: FetchError) -> None:
        """A token may end early. One that comes back unchanged was not the reason."""
        old, self._token = self._token, None
        if old and self.token().value == old.value:
            raise refusal

    def _pause(self, tries: int, asked: float | None) -> None:
        """Longer each time, at random so that many districts do not come back in step; as long as the server asked."""
        seconds = min(self.limits.longest_backoff, 2.0 ** (tries - 1)) * random.uniform(0.5, 1)  # noqa: S311
        if asked is not None:
            seconds = max(seconds, min(asked, self.limits.longest_wait))
        if seconds >= self.remaining():
            raise self._out_of_time()
        self._sleep(seconds)

    def _ask(self, path: str, query: dict[str, str]) -> Answer:
        # quote, not quote_plus: a "+" is no blank in a signature.
        url = self.api.url(path) + ("?" + urlencode(query, quote_via=quote, safe="") if query else "")
        answer = self._sent("GET", url, self._authorization())
        if answer.status != 200:
            raise self._refusal(answer, path)
        return answer

    def _authorization(self) -> AuthBase:
        """Made anew for each attempt: a nonce is good for once."""
        if self.api.auth == "oauth1":
            return OAuth1(self.api.key, self.api.secret, signature_method=self.api.signature)  # type: ignore[no-any-return]
        if self.api.auth == "oauth2":
            return _Bearer(self._good_token().value)
        return _Bearer(self.api.secret)

    def _good_token(self) -> Token:
        if self._token is None or time.monotonic() >= self._token.ends:
            self._token = self._fetched_token()
        return self._token

    def _fetched_token(self) -> Token:
        """RFC 6749, section 4.4. A scope other than the one asked for is no fault here."""
        form = {"grant_type": "client_credentials"}
        if self.api.scope:
            form["scope"] = self.api.scope
        basic = None
        if self.api.credentials_in == "header":
            basic = HTTPBasicAuth(self.api.key.encode(), self.api.secret.encode())
        else:
            form |= {"client_id": self.api.key, "client_secret": self.api.secret}
        answer = self._sent("POST", self.api.token_url, basic, form)
        if answer.status not in (200, 201):
            raise self._token_refusal(answer)
        try:
            document = pages.parsed(answer.body)
        except FetchError:
            document = None
        value = document.get("access_token") if isinstance(document, dict) else None
        if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not value.strip():
            raise FetchError("API-TOKEN-SHAPE")
        seconds = _seconds(document.get("expires_in"))
        ends = _NEVER if seconds is None else time.monotonic() + max(seconds - _MARGIN, seconds / 2)
        return Token(value, seconds, ends, str(document.get("scope") or ""))

    def _sent(self, method: str, url: str, auth: AuthBase | None, form: dict[str, str] | None = None) -> Answer:
        """One attempt. Where it is refused, redirected, cut or too slow, FetchError; a status of 400 or more is an
        answer."""
        with self._turn(url), self._faults_told(url), ExitStack() as stack:
            left = self.remaining()
            with self._session.within(min(self.limits.connect + self.limits.read, left)):
                response = stack.enter_context(
                    self._session.request(
                        method, url, data=form, auth=auth, allow_redirects=False, stream=True,
                        timeout=(min(self.limits.connect, left), min(self.limits.read, left)),
                    )
                )  # fmt: skip
            if 300 <= response.status_code < 400:
                raise FetchError("API-REDIRECT", _led_to(response.headers.get("Location", "")))
            with self._session.within(self.remaining()):
                return Answer(response.status_code, response.headers, self._body(response))

    @contextmanager
    def _faults_told(self, url: str) -> Iterator[None]:
        """What a server and the way to it can do wrong, as FetchError."""
        try:
            yield
        except (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError):
            if time.monotonic() >= self._ends:
                raise self._out_of_time() from None
            raise FetchError("CONN-TIMEOUT", f"{origin_of(url)}.") from None
        except (requests.exceptions.SSLError, urllib3.exceptions.SSLError, ssl.SSLError) as error:
            raise FetchError("API-TLS", certificate_fault(error)) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError):
            raise FetchError("CONN-CUT", f"{origin_of(url)}.") from None

    def _body(self, response: requests.Response) -> bytes:
        """The answer's body, unpacked, counted while it comes: it may be endless, and it may never quite end."""
        pieces = []
        size = 0
        while piece := response.raw.read1(_PIECE, decode_content=True):
            pieces.append(piece)
            size += len(piece)
            self.received += len(piece)
            if size > self.limits.page_size or self.received > self.limits.size:
                raise FetchError("CONN-TOO-LARGE")
            self.remaining()
        return b"".join(pieces)

    @contextmanager
    def _turn(self, url: str) -> Iterator[None]:
        """One of the few questions that this process may have at a host at a time."""
        with _hosts_lock:
            turns = _hosts.setdefault(origin_of(url), threading.BoundedSemaphore(self.limits.at_once))
        if not turns.acquire(timeout=self.remaining()):
            raise self._out_of_time()
        try:
            yield
        finally:
            turns.release()

    def _refusal(self, answer: Answer, path: str) -> FetchError:
        minor = pages.code_minor(answer.body)
        detail = f"{path}: HTTP {answer.status}{f', {minor}' if minor else ''}."
        if answer.status == 401:
            skew = _skew(answer.headers)
            if self.api.auth == "oauth1" and abs(skew) > _SKEW:
                minutes = round(abs(skew) / timedelta(minutes=1))
                where = "behind" if skew < timedelta() else "ahead of"
                return FetchError("API-CLOCK", f"It is {minutes:,} minutes {where} ours.")
            return FetchError("API-AUTH", detail)
        return _Refused(_code_of(answer.status), detail, _retry_after(answer.headers))

    def _token_refusal(self, answer: Answer) -> FetchError:
        code = _code_of(answer.status)
        if code in _AGAIN:
            return _Refused(code, f"Token: HTTP {answer.status}.", _retry_after(answer.headers))
        try:
            document = pages.parsed(answer.body)
        except FetchError:
            document = None
        named = document.get("error") if isinstance(document, dict) else None
        named = named if named in _TOKEN_ERRORS else ""
        detail = f"HTTP {answer.status}{f', {named}' if named else ''}."
        if named == "invalid_request" and not self.api.scope:
            detail += " No scope was asked for; some servers insist on one."
        return FetchError("API-SCOPE" if named == "invalid_scope" else "API-TOKEN", detail)


class _Refused(FetchError):
    """An answer that was no success; `wait` is how many seconds the server asks to be left alone."""

    def __init__(self, code: str, detail: str, wait: float | None) -> None:
        super().__init__(code, detail)
        self.wait = wait


def _code_of(status: int) -> str:
    if status in (502, 504):
        return "API-HEAVY"
    if status >= 500:
        return "API-BUSY" if status == 503 else "API-SERVER"
    return {403: "API-FORBIDDEN", 404: "API-NOT-FOUND", 410: "API-NOT-FOUND", 429: "API-BUSY"}.get(
        status, "API-REFUSED"
    )


def _retry_after(headers: CaseInsensitiveDict[str]) -> float | None:
    """Seconds, from seconds or a date (RFC 9110, section 10.2.3); None where nothing sensible is asked."""
    asked = headers.get("Retry-After", "").strip()
    if asked.isdecimal():
        return float(asked[:12])
    moment = _moment(asked)
    return None if moment is None else (moment - datetime.now(UTC)).total_seconds()


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _skew(headers: CaseInsensitiveDict[str]) -> timedelta:
    """How far the server's clock is ahead of ours, by its Date header."""
    moment = _moment(headers.get("Date", ""))
    return timedelta() if moment is None else moment - datetime.now(UTC)


def _seconds(value: object) -> float | None:
    """`expires_in`: a number, or one in quotes; None where it is neither, or not ahead."""
    try:
        seconds = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return seconds if 0 < seconds < _NEVER else None


def _led_to(location: str) -> str:
    try:
        return f"It leads to {origin_of(location)}." if "//" in location else "It leads to another path there."
    except FetchError:
        return ""


def certificate_fault(error: BaseException) -> str:
    """What OpenSSL found wrong with a certificate, or "" where it was something else."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return f"{seen.verify_message[:1].upper()}{seen.verify_message[1:].rstrip('.')}."
        inner = next((argument for argument in seen.args if isinstance(argument, BaseException)), None)
        seen = getattr(seen, "reason", None) if isinstance(getattr(seen, "reason", None), BaseException) else inner
    return ""
