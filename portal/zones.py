"""Times on the pages are those of the reader: the browser says its zone in a cookie (`static/portal/portal.js`)."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable
from urllib.parse import unquote

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

COOKIE = "zone"


def reader_zone(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Answer in the reader's zone; in that of the settings if the browser has not said one that exists."""

    def answer(request: HttpRequest) -> HttpResponse:
        name = unquote(request.COOKIES.get(COOKIE, ""))
        if name not in zoneinfo.available_timezones():
            return get_response(request)
        with timezone.override(zoneinfo.ZoneInfo(name)):
            return get_response(request)

    return answer
