"""What leaves the portal as a file of its own: who took it stands in the audit trail before anything is handed out.

On SQLite an import holds the only write lock. The row waits for it as every write does (60 seconds); where that was not
enough nothing is handed out, and whoever asked is told when to ask again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec

from django.db import OperationalError
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render

from rosters.models import AuditEvent, Delivery, Sync

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

P = ParamSpec("P")

AGAIN_IN: Final = 60


class CannotNote(Exception):
    """The audit row could not be written: nothing may be handed out."""


@contextmanager
def noted_first() -> Iterator[None]:
    """Where the audit row of a download is written. Raises CannotNote."""
    try:
        yield
    except OperationalError:
        raise CannotNote from None


def note_taken(
    action: str,
    of: Sync | Delivery,
    *,
    by: Staff,
    sync: Sync | None = None,
    about: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """That somebody of staff takes out a file about `of`; `about`: what the row says beside. Raises CannotNote."""
    with noted_first():
        AuditEvent.objects.create(
            by=by,
            action=action,
            district=of.district,
            sync=of if isinstance(of, Sync) else sync,
            subject=f"{of._meta.model_name} {of.pk}",
            plan_digest=of.plan_digest if isinstance(of, Sync) else "",
            after=dict(about),
        )


def or_later(
    view: Callable[Concatenate[HttpRequest, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """A view that hands out a file: where that cannot be noted, a page says so instead."""

    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except CannotNote:
            answer = render(request, "503.html", status=503)
            answer.headers["Retry-After"] = str(AGAIN_IN)
            return answer

    return guarded
