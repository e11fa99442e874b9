"""When a secret was last used. Noted in the shared cache, as nothing may be written to the database at each request
(an import on SQLite holds the only write lock), and put into its row by the minutely task."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.core.cache import cache

from rosters.api.models import ClientSecret

_KEPT: Final = 7 * 24 * 3600
#: So much later a use is noted again.
_STEP: Final = 30


def note_use(secret: ClientSecret, now: datetime) -> None:
    noted = cache.get(_name(secret))
    if noted is None or (now - noted).total_seconds() >= _STEP:
        cache.set(_name(secret), now, _KEPT)


def last_use(secret: ClientSecret) -> datetime | None:
    moments = [at for at in (secret.last_used_at, cache.get(_name(secret))) if at is not None]
    return max(moments, default=None)


def write_down() -> None:
    """Put what was noted into the rows."""
    for secret in ClientSecret.objects.filter(revoked_at=None):
        at = last_use(secret)
        if at is not None and at != secret.last_used_at:
            secret.was_used(at)


def _name(secret: ClientSecret) -> str:
    return f"api-secret-used-{secret.pk}"
