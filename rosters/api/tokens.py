"""The token endpoint: a client's key and secret against a token for an hour (RFC 6749, sections 4.4, 5.1 and 5.2)."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final
from urllib.parse import unquote_plus

from django.core.cache import cache
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from rosters.api.access import TOKEN_SECONDS, good_secret, issue
from rosters.api.scopes import granted
from rosters.api.usage import note_use
from rosters.askers import address_of

#: So many wrong secrets from one address in a minute, and further ones are told to wait. A right one never is: tools of
#: one house may share their address, and nobody guesses a secret of 256 bits.
_TRIES: Final = 20
_MINUTE: Final = 60


@csrf_exempt
@require_http_methods(["GET", "POST"])
def token(request: HttpRequest, **kwargs: Any) -> JsonResponse:
    if request.method != "POST":
        return _refused("invalid_request", "Ask with POST.", status=405, headers={"Allow": "POST"})
    try:
        grant_type = request.POST.get("grant_type", "client_credentials")
    except (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent):
        return _refused("invalid_request", "More was sent than is read here.")
    if grant_type != "client_credentials":
        return _refused("unsupported_grant_type", "Only client_credentials.")
    key, text, by_header = _credentials(request)
    secret = good_secret(key, text, timezone.now())
    if secret is None:
        door = f"api-wrong-secrets-{address_of(request)}"
        tries = int(cache.get(door, 0))
        if tries >= _TRIES:
            words = "Too many wrong secrets from this address."
            return _refused("temporarily_unavailable", words, 429, {"Retry-After": str(_MINUTE)})
        cache.set(door, tries + 1, _MINUTE)
        challenge = {"WWW-Authenticate": 'Basic realm="roster portal"'} if by_header else {}
        return _refused("invalid_client", "Key and secret do not open anything.", 401, challenge)
    scopes = granted(secret.client.scopes, request.POST.get("scope", ""))
    if not scopes:
        return _refused("invalid_scope", "The client has none of these scopes.")
    note_use(secret, timezone.now())
    return _kept_private(
        JsonResponse(
            {
                "access_token": issue(secret, scopes),
                "token_type": "Bearer",
                "expires_in": TOKEN_SECONDS,
                "scope": " ".join(sorted(scopes)),
            }
        )
    )


def _credentials(request: HttpRequest) -> tuple[str, str, bool]:
    """Key, secret, and whether they came in the header, where RFC 6749 (section 2.3.1) has them form-encoded first."""
    kind, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "basic":
        try:
            key, _, text = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            key = text = ""
        return unquote_plus(key), unquote_plus(text), True
    return request.POST.get("client_id", ""), request.POST.get("client_secret", ""), False


def _refused(error: str, words: str, status: int = 400, headers: dict[str, str] | None = None) -> JsonResponse:
    answer = JsonResponse({"error": error, "error_description": words}, status=status, headers=headers)
    return _kept_private(answer)


def _kept_private(answer: JsonResponse) -> JsonResponse:
    answer.headers["Cache-Control"], answer.headers["Pragma"] = "no-store", "no-cache"
    return answer
