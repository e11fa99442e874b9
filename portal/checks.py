"""The house inspects itself before it opens: system checks with ids. Each says what is wrong and what to set.

They run with every command (`check`, `migrate`, `qcluster`, ...) and when the web server starts (`portal.wsgi`).
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register, run_checks
from django.core.checks import Warning as Caution
from django.core.exceptions import ImproperlyConfigured

from rosters.applying import LEAST_DAYS

TAG = "portal"
SHORTEST_SECRET = 50
NEW_SECRET = 'python3 -c "import secrets; print(secrets.token_urlsafe(64))"'  # noqa: S105  (how to make one)
NEW_ENCRYPTION_KEY = 'python3 -c "import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())"'


@register(TAG, Tags.security)
def secret_key(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """portal.E001: production signs with a secret of its own."""
    try:
        secret = settings.SECRET_KEY
    except ImproperlyConfigured:  # how Django says that it is empty
        secret = ""
    if len(secret) >= SHORTEST_SECRET or not settings.PORTAL_PRODUCTION:
        return []
    problem = f"is shorter than {SHORTEST_SECRET} characters" if secret else "is not set"
    return [
        Error(
            f"SECRET_KEY {problem}, and production makes none by itself.",
            hint=f"Set SECRET_KEY in the environment, the same for web and workers: {NEW_SECRET}",
            id="portal.E001",
        )
    ]


@register(TAG, Tags.security)
def encryption_key(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """portal.E002: the key for what is secret at rest is there, and is a key."""
    key = settings.PORTAL_ENCRYPTION_KEY
    if key and _is_key(key):
        return []
    problem = "is not URL-safe base64 of 32 bytes" if key else "is not set, and production makes none by itself"
    return [
        Error(
            f"PORTAL_ENCRYPTION_KEY {problem}.",
            hint=f"Set PORTAL_ENCRYPTION_KEY in the environment and keep a copy outside: {NEW_ENCRYPTION_KEY}",
            id="portal.E002",
        )
    ]


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, altchars=b"-_", validate=True)) == 32
    except (binascii.Error, ValueError):
        return False


@register(TAG, Tags.security)
def allowed_hosts(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """portal.E003: production knows the names it answers to."""
    if settings.ALLOWED_HOSTS or not settings.PORTAL_PRODUCTION:
        return []
    return [
        Error(
            "ALLOWED_HOSTS is empty: every page would answer 400.",
            hint="Set ALLOWED_HOSTS to the portal's names, separated by commas: ALLOWED_HOSTS=rosters.example.com",
            id="portal.E003",
        )
    ]


@register(TAG)
def data_folder(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """portal.E004: what is delivered can be kept."""
    folder = settings.PORTAL_DATA_DIR
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        problem = "" if os.access(folder, os.W_OK | os.X_OK) else "may not be written to by this user"
    except OSError as error:
        problem = f"cannot be made ({error.strerror})"
    if not problem:
        return []
    return [
        Error(
            f"The data folder {folder} {problem}.",
            hint="Set PORTAL_DATA_DIR to a folder that web and workers can both write to, and that is backed up.",
            id="portal.E004",
        )
    ]


@register(TAG)
def queue_patience(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """portal.E005: the queue does not hand out again what a worker is still busy with.

    `retry` counts from the moment a task is taken, and a cluster takes `queue_limit` tasks (and one more) ahead.
    """
    queue = settings.Q_CLUSTER
    enough = (queue["queue_limit"] + 2) * queue["timeout"]
    if queue["retry"] >= enough:
        return []
    return [
        Error(
            f"The queue's retry ({queue['retry']} s) is too short: tasks would run twice at once.",
            hint=f"Set Q_CLUSTER['retry'] to (queue_limit + 2) x timeout = {enough} or more.",
            id="portal.E005",
        )
    ]


@register(TAG)
def shared_cache(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """portal.E006: pages and workers see the same cache."""
    if not any(cache["BACKEND"].endswith((".LocMemCache", ".DummyCache")) for cache in settings.CACHES.values()):
        return []
    return [
        Error(
            "The cache is private to each process: the pages cannot see whether the workers are alive, nor whether a "
            "session has ended.",
            hint="Leave CACHE_URL unset (files in PORTAL_DATA_DIR), or set it to a server that all processes reach.",
            id="portal.E006",
        )
    ]


@register(TAG)
def times(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """portal.E008: what can be undone is kept, and nothing that left is deleted before somebody can have noticed."""
    undo, history, left = settings.UNDO_DAYS, settings.KEEP_HISTORY_DAYS, settings.KEEP_LEFT_DAYS
    if history >= max(undo, left) and left >= LEAST_DAYS:
        return []
    return [
        Error(
            f"UNDO_DAYS ({undo}), KEEP_HISTORY_DAYS ({history}) and KEEP_LEFT_DAYS ({left}) do not go together.",
            hint=f"Let KEEP_LEFT_DAYS be at least {LEAST_DAYS}, and KEEP_HISTORY_DAYS no less than the other two.",
            id="portal.E008",
        )
    ]


@register(TAG, Tags.security)
def debug(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """portal.E007: production shows nobody its insides."""
    if not (settings.DEBUG and settings.PORTAL_PRODUCTION):
        return []
    return [
        Error(
            "DEBUG is on in production: an error page would show rosters and secrets.",
            hint="Unset DEBUG.",
            id="portal.E007",
        )
    ]


@register(TAG, Tags.security)
def data_folder_is_ours(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """portal.E009: nobody else on the machine looks into the data folder. Any right is too many: who may only enter it
    knows the names of what lies in there."""
    folder = settings.PORTAL_DATA_DIR
    if not settings.PORTAL_PRODUCTION or not folder.exists() or not folder.stat().st_mode & 0o077:
        return []
    return [
        Error(
            f"Other users of this machine may look into the data folder {folder}, where rosters lie.",
            hint=f"chmod 700 {folder}, or set PORTAL_DATA_DIR to a folder below it, which the portal makes for itself. "
            "What another user writes or reads lies elsewhere: PORTAL_DROP_DIR, STATIC_ROOT.",
            id="portal.E009",
        )
    ]


@register(TAG)
def mail_server(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """portal.W003: mails of production reach people."""
    if not settings.PORTAL_PRODUCTION or settings.EMAIL_BACKEND != "django.core.mail.backends.filebased.EmailBackend":
        return []
    return [
        Caution(
            f"No mail reaches anybody: they become files in {settings.EMAIL_FILE_PATH}, with links that let people in.",
            hint="Set EMAIL_URL=smtp+tls://user:password@host:587.",
            id="portal.W003",
        )
    ]


@register(TAG)
def portal_url(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """portal.W002: links in mails lead to the portal."""
    if not settings.PORTAL_PRODUCTION or settings.PORTAL_URL.startswith("https://"):
        return []
    return [
        Caution(
            f"Links in mails begin with {settings.PORTAL_URL}, where nobody at a district finds the portal.",
            hint="Set PORTAL_URL to the address under which people reach it, for example https://rosters.example.org.",
            id="portal.W002",
        )
    ]


@register(TAG)
def database(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """portal.W001: production stands on a database that many can write to."""
    if settings.DATABASES["default"]["ENGINE"] != "django.db.backends.sqlite3" or not settings.PORTAL_PRODUCTION:
        return []
    return [
        Caution(
            "Production runs on SQLite: one import at a time, on one machine.",
            hint="Set DATABASE_URL=postgres://user:password@host/name, unless that is enough for you.",
            id="portal.W001",
        )
    ]


def refuse_to_open_if_wrong() -> None:
    """Run these checks as commands do, for a web server that starts without one.

    Raises ImproperlyConfigured with every error and its hint, in the order of their ids.
    """
    errors = sorted((found for found in run_checks(tags=[TAG]) if found.is_serious()), key=lambda found: found.id or "")
    if errors:
        raise ImproperlyConfigured("\n".join(str(error) for error in errors))
