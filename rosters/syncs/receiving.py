"""Bytes kept, and then called received."""

from __future__ import annotations

import errno
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from django.db import transaction
from django.utils import timezone

from rosters.models import Delivery, District, Sync
from rosters.scope import EVERYTHING, Scope
from rosters.syncs.working import Leaves, audit, store

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff


#: Next year's file is tried out a year ahead at most.
AT_MOST_AHEAD: Final = timedelta(days=400)


class NoRoom(OSError):
    """There is no room left on the disk. Nothing was received, and nothing that is there is lost."""

    def __str__(self) -> str:
        return (
            "There is no room left on the portal's disk: the file was not received, and the roster is as it was. "
            "Tell whoever runs the portal, then send it again."
        )


def not_such_a_day(district: District, day: date, *, dry_run: bool, now: datetime | None = None) -> str:
    """What is wrong with checking a file as if it came on `day`; "" if nothing is."""
    today = district.local_date(now or timezone.now())
    if not dry_run:
        return "Only a dry run is checked as if it came on another day."
    if not today <= day <= today + AT_MOST_AHEAD:
        return f"A dry run is checked as if it came today, or on a day of the {AT_MOST_AHEAD.days} that follow."
    return ""


def receive(
    district: District,
    source: Path | BinaryIO,
    *,
    origin: str,
    name: str,
    by: Staff | None = None,
    now: datetime | None = None,
    additions_only: bool = False,
    dry_run: bool = False,
    as_if_on: date | None = None,
    speaks_for: Scope = EVERYTHING,
) -> Sync:
    """Keep the bytes, then say so: the delivery is safe on disk before this returns. The caller enqueues the
    preparation; what waits goes on waiting until that is done (`ordering.give_way`). With `additions_only` it will
    remove nothing. A `dry_run` only says what it would do, if `as_if_on` is given as of that day, and supersedes
    nothing. Of schools and terms that it does not `speaks_for` it changes nothing. Raises Leaves where the district
    leaves."""
    moment = now or timezone.now()
    if not District.objects.filter(pk=district.pk).exists():
        raise Leaves
    try:
        sha256, size = store().keep_original(district.pk, source)
    except OSError as fault:
        if fault.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoRoom from None
        raise
    with transaction.atomic():
        delivery = Delivery.objects.create(
            district=district, sha256=sha256, size=size, name=name, origin=origin, received_at=moment, received_by=by
        )
        sync = Sync.objects.create(
            district=district,
            delivery=delivery,
            received_at=moment,
            status_since=moment,
            additions_only=additions_only,
            dry_run=dry_run,
            as_if_on=as_if_on,
            speaks_for=speaks_for.as_json(),
        )
        received: dict[str, Any] = {"sha256": sha256, "size": size, "origin": origin, "additions_only": additions_only}
        if speaks_for:
            received["speaks_for"] = speaks_for.as_json()
        if as_if_on:
            received["as_if_on"] = as_if_on.isoformat()
        audit(moment, by, "delivery.received", sync, after={**received, "dry_run": dry_run})
    return sync
