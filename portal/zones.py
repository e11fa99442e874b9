"""Times on the pages are those of the reader: of staff in the zone that they have chosen (`connections.announcing`),
else in that of the browser, which says it in a cookie (`static/portal/portal.js`)."""

from __future__ import annotations

import functools
import zoneinfo
from collections.abc import Callable
from urllib.parse import unquote

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from connections.announcing.mailing import zone_of

COOKIE = "zone"


def reader_zone(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Answer in the reader's zone; in that of the settings if none is known that exists."""

    def answer(request: HttpRequest) -> HttpResponse:
        known = _zones()
        for name in (_chosen(request), unquote(request.COOKIES.get(COOKIE, ""))):
            if name in known:
                with timezone.override(zoneinfo.ZoneInfo(name)):
                    return get_response(request)
        return get_response(request)

    return answer


@functools.cache
def _zones() -> frozenset[str]:
    """Those that this machine knows. To ask it is to look through some hundred files: once, not for each page."""
    return frozenset(zoneinfo.available_timezones())


def _chosen(request: HttpRequest) -> str:
    """What a member of staff has chosen; nobody else's page asks for it."""
    if not request.path_info.startswith(reverse("admin:index")) or request.user.is_anonymous:
        return ""
    return zone_of(request.user)
