"""Sessions of staff lie in signed cookies (docs/decisions/0001), and end when they should.

A cookie cannot be taken back from whoever has copied it. So each session carries the epoch of its member of staff,
which the shared cache holds: logging out begins a new one, and every session of an earlier epoch has ended, in whatever
browser. An epoch that the cache has lost ends them as well: staff log in anew, and nobody comes in who should not.

Setting up the second factor begins a new one as well, which only the session goes on with that it was set up in.

The cookie also says when the session began, which is kept while it is renewed, and when its person was last seen.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends import signed_cookies
from django.core.cache import caches

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from django.http import HttpRequest, HttpResponse

EPOCH: Final = "epoch"
BEGAN: Final = "began"
SEEN: Final = "seen"

#: So many seconds after somebody was seen it is noted again: not every answer needs a new cookie.
_STEP: Final = 60
#: What pages ask for by themselves, again and again, while something is on its way. It is no sign of a person.
POLLED: Final = frozenset(
    {
        "rosters_sync_progress",
        "connections_connection_arriving",
        "connections_connection_attempts",
        "connections_connection_checkup",
    }
)


class SessionStore(signed_cookies.SessionStore):
    """Django's, which is empty where the session of a member of staff has ended.

    The old cookie is left where it is: an answer that comes late must not take away the one of a new session.
    """

    def load(self) -> dict[str, Any]:
        known: dict[str, Any] = super().load()
        return {} if SESSION_KEY in known and _has_ended(known, time.time()) else known


def _has_ended(known: dict[str, Any], now: float) -> bool:
    if now - known.get(BEGAN, 0) > settings.SESSION_COOKIE_AGE:
        return True
    if now - known.get(SEEN, 0) > settings.SESSION_IDLE_MINUTES * 60:
        return True
    epoch = caches["sessions"].get(_name(known[SESSION_KEY]))
    return epoch is None or epoch != known.get(EPOCH)


def begin(request: HttpRequest, user: Staff, **kwargs: Any) -> None:
    """Somebody has logged in: the session is one of the present epoch."""
    now, name = int(time.time()), _name(user.pk)
    epochs = caches["sessions"]
    epochs.add(name, secrets.token_urlsafe(9), timeout=None)  # does nothing where there is one
    request.session.update({EPOCH: epochs.get(name), BEGAN: now, SEEN: now})


def end(user: Staff | None, **kwargs: Any) -> None:
    """Somebody has logged out, if it was somebody: all their sessions end, by one write to the cache. It does not wait
    for an import that has the only write lock of SQLite."""
    if user is not None:
        _new_epoch(user)


def end_others(request: HttpRequest, user: Staff) -> None:
    """All their sessions end but the one of this request."""
    request.session[EPOCH] = _new_epoch(user)


def _new_epoch(user: Staff) -> str:
    epoch = secrets.token_urlsafe(9)
    caches["sessions"].set(_name(user.pk), epoch, timeout=None)
    return epoch


def awake(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Note in the session that its person was seen."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        # Who has not asked for the session is not served by it; to look would make every answer depend on cookies.
        if cast("SessionStore", request.session).accessed and not _by_itself(request):
            now = int(time.time())
            if SESSION_KEY in request.session and now - request.session[SEEN] >= _STEP:
                request.session[SEEN] = now
        return response

    return answer


def _by_itself(request: HttpRequest) -> bool:
    match = request.resolver_match
    return "HX-Request" in request.headers and match is not None and match.url_name in POLLED


def _name(pk: Any) -> str:
    return f"staff-epoch-{pk}"
