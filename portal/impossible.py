"""Requests that no database can be asked about: with a NUL, which PostgreSQL has in no text, or with a number in their
address that is larger than any id, by which SQLite cannot look. They are answered as not understood, in one place for
all pages; else each filter of each list would have to expect them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote_plus

from django.core.exceptions import BadRequest, RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.views.defaults import bad_request

from rosters.api.manners import status_payload

_SAID: Final = "There is a NUL character in the request; no text here has one."
_NUMBER: Final = re.compile(r"\d{19,}")


class Impossible:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return _refused(request) if _has_nul(request) else self.get_response(request)

    def process_exception(self, request: HttpRequest, fault: Exception) -> HttpResponse | None:
        """An OverflowError of a page whose address has such a number; any other is ours, and stays one."""
        asked = unquote_plus(request.get_full_path())
        if isinstance(fault, OverflowError) and any(map(_is_too_large, _NUMBER.findall(asked))):
            return bad_request(request, fault)
        return None


def _is_too_large(digits: str) -> bool:
    return len(digits) > 19 or int(digits) >= 2**63


def _has_nul(request: HttpRequest) -> bool:
    if "\0" in request.path_info or "%00" in request.META.get("QUERY_STRING", ""):
        return True
    if request.content_type != "application/x-www-form-urlencoded":
        return False  # files; what else forms and JSON say is looked at field by field
    try:
        return b"%00" in request.body or b"\0" in request.body
    except (RequestDataTooBig, UnreadablePostError):
        return False  # whoever reads it finds the same


def _refused(request: HttpRequest) -> HttpResponse:
    """In the manner of the address: tools are never answered with a page."""
    at = request.path_info
    if at.startswith("/d/"):
        return JsonResponse(status_payload("failure", "error", "invaliddata", _SAID), status=400)
    if at.startswith("/api/v1/"):
        problem = {"title": "The request cannot be understood", "status": 400, "detail": _SAID, "code": "bad-request"}
        return JsonResponse(problem, status=400, content_type="application/problem+json")
    if at.startswith("/oauth2/"):
        return JsonResponse({"error": "invalid_request", "error_description": _SAID}, status=400)
    return bad_request(request, BadRequest())
