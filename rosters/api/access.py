"""Who comes in: bearer tokens (OAuth 2 client credentials, RFC 6749 section 4.4) and signed questions (OAuth 1.0a).

A token is signed, not stored: nothing is written when one is made or used, for an import on SQLite holds the only
write lock, and a new token never ends an older one. What it opens is asked anew at each request: an ended client, a
revoked secret, a scope or district that was withdrawn count from that moment.
"""

from __future__ import annotations

import hmac
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import unquote

from django.contrib.auth.models import AnonymousUser
from django.core import signing
from django.utils import timezone
from oauthlib.oauth1 import SIGNATURE_HMAC_SHA1, SIGNATURE_HMAC_SHA256, RequestValidator, SignatureOnlyEndpoint
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from rosters.api.models import Client, ClientSecret, secret_hash
from rosters.api.once import claim_once
from rosters.api.scopes import granted
from rosters.api.usage import note_use
from rosters.sealing import SealBroken

#: oauthlib's own log tells of every signature that is refused.
logging.getLogger("oauthlib").setLevel(logging.WARNING)

TOKEN_SECONDS: Final = 3600
_SALT: Final = "rosters.api.access.token"
#: How far a client's clock may be behind ours and ahead of it (as Instructure asks of servers).
BEHIND, AHEAD = timedelta(minutes=10), timedelta(minutes=5)
_REALM: Final = 'realm="roster portal"'


@dataclass(frozen=True, slots=True)
class Grant:
    """That a client may come in, and what for."""

    client: Client
    scopes: frozenset[str]

    def allows(self, *any_of: str) -> bool:
        return not self.scopes.isdisjoint(any_of)


# ------------------------------------------------------------------------------------------------------------- tokens


def good_secret(key: str, text: str, now: datetime) -> ClientSecret | None:
    """The secret of this client with this text, if it opens at this moment."""
    found = ClientSecret.objects.good(now).select_related("client").filter(secret_hash=secret_hash(text)).first()
    if found is None or not hmac.compare_digest(found.client.key.encode(), key.encode()):
        return None
    return found


def issue(secret: ClientSecret, scopes: frozenset[str]) -> str:
    """A token good for `TOKEN_SECONDS`."""
    return signing.dumps([secret.pk, sorted(scopes)], salt=_SALT)


def opened_by(token: str, now: datetime) -> Grant | None:
    """What a token opens at this moment; None where it opens nothing any more."""
    try:
        pk, scopes = signing.loads(token, salt=_SALT, max_age=TOKEN_SECONDS)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    secret = ClientSecret.objects.good(now).select_related("client__staff").filter(pk=pk).first()
    if secret is None:
        return None
    note_use(secret, now)
    return Grant(secret.client, frozenset(scopes) & frozenset(secret.client.scopes))


# ----------------------------------------------------------------------------------------------------------- signatures


class _Signed(RequestValidator):  # type: ignore[misc]  # oauthlib has no types
    """One signed question against one secret of the client that it names."""

    enforce_ssl = False  # the server in front of us sees to that
    allowed_signature_methods = (SIGNATURE_HMAC_SHA256, SIGNATURE_HMAC_SHA1)
    client_key_length = nonce_length = (1, 200)
    timestamp_lifetime = int(BEHIND.total_seconds())
    dummy_client = "nobody"

    def __init__(self, key: str, secret: str, now: datetime) -> None:
        super().__init__()
        self._key, self._secret, self._now = key, secret, now
        self.nonce = ""
        self.timestamp = 0

    def validate_client_key(self, client_key: str, request: Any) -> bool:
        return bool(self._secret) and client_key == self._key

    def get_client_secret(self, client_key: str, request: Any) -> str:
        return self._secret or "nothing"

    def check_client_key(self, client_key: str) -> bool:
        return 1 <= len(client_key) <= 200

    def check_nonce(self, nonce: str) -> bool:
        return 1 <= len(nonce) <= 200

    def validate_timestamp_and_nonce(
        self,
        client_key: str,
        timestamp: str,
        nonce: str,
        request: Any,
        request_token: Any = None,
        access_token: Any = None,
    ) -> bool:
        """The clock only: a nonce is taken when the signature is found good, or strangers could use them up."""
        self.nonce, self.timestamp = f"{client_key} {timestamp} {nonce}", int(timestamp)
        ahead = self.timestamp - self._now.timestamp()
        return -BEHIND.total_seconds() <= ahead <= AHEAD.total_seconds()


def signed_by(request: Request, now: datetime) -> Grant | None:
    """What a question opens that was signed for the address as the client saw it; None if the signature, its time or
    its nonce is not good."""
    key = _consumer_key(request)
    client = Client.objects.select_related("staff").filter(key=key, ended_at=None, signs=True).first()
    candidates: list[ClientSecret | None] = list(client.secrets.good(now)) if client else []
    for secret in candidates or [None]:
        validator = _Signed(key, _text_of(secret), now)
        try:
            valid, _ = SignatureOnlyEndpoint(validator).validate_request(
                request.build_absolute_uri(), request.method, None, {"Authorization": _header(request)}
            )
        except ValueError:  # an address or a parameter that cannot be brought into the form that is signed
            return None
        if valid and client and secret:
            good_until = datetime.fromtimestamp(validator.timestamp, UTC) + BEHIND
            if not claim_once(validator.nonce, good_until, now):
                return None
            note_use(secret, now)
            return Grant(client, granted(client.scopes, ""))
    return None


def _text_of(secret: ClientSecret | None) -> str:
    try:
        return secret.opened() if secret else ""
    except SealBroken:
        return ""


def _consumer_key(request: Request) -> str:
    for part in _header(request)[len("OAuth ") :].split(","):
        name, _, value = part.strip().partition("=")
        if name == "oauth_consumer_key":
            return unquote(value.strip('"'))
    return str(request.query_params.get("oauth_consumer_key", ""))


def _header(request: Request) -> str:
    return str(request.META.get("HTTP_AUTHORIZATION", ""))


# ------------------------------------------------------------------------------------------------------------- the door


class ClientAuthentication(BaseAuthentication):
    """A bearer token or an OAuth 1.0a signature. What brings neither is left to the next way in."""

    def authenticate(self, request: Request) -> tuple[Any, Grant] | None:
        kind, _, rest = _header(request).partition(" ")
        if kind.lower() == "bearer":
            grant = opened_by(rest.strip(), timezone.now())
        elif kind.lower() == "oauth" or "oauth_signature" in request.query_params:
            grant = signed_by(request, timezone.now())
        else:
            return None
        if grant is None:
            raise AuthenticationFailed("This opens nothing: ask for a new token, or check secret and clock.")
        return grant.client.staff or AnonymousUser(), grant

    def authenticate_header(self, request: Request) -> str:
        return f"Bearer {_REALM}"
