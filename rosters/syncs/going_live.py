"""An approved plan applied."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from django.utils import timezone

from rosters import applying
from rosters.models import Sync
from rosters.syncs.ordering import withdraw
from rosters.syncs.working import ClaimLost, Work, faults, kept_alive, logger, store


def apply(
    sync_id: int, *, now: datetime | None = None, progress: Callable[[str, float, int], None] | None = None
) -> Sync | None:
    """Write an approved sync. None if another worker has it. If the roster moved, the plan is made anew and the
    decision withdrawn: nothing is ever applied to another version than was shown."""
    sync = Sync.objects.get(pk=sync_id)
    if not sync.start_applying(timezone.now()):
        return None
    sync = Sync.objects.select_related("district", "base", "decided_by").get(pk=sync_id)
    work = Work(sync, now, progress)
    with faults(sync), kept_alive(work):
        started = time.perf_counter()
        plan = store().difference(sync.district_id, sync.pk)
        base = store().frames(sync.district_id, sync.base.tables if sync.base else {})
        work.tell("applying", 0.0, 0, force=True)

        def told(fraction: float, rows: int) -> None:
            work.tell("applying", fraction, rows)
            sync.seconds = {**work.seconds, "applying": round(time.perf_counter() - started, 3)}

        try:
            applying.apply(sync, plan, base, store(), now=work.now, progress=told)
        except applying.Fenced:
            raise ClaimLost from None
        except applying.PlanMoved:
            withdraw(sync, timezone.now())
        except applying.PlanBroken as broken:
            logger.error("sync %s: %s", sync.pk, broken)
            sync.mark_failed(
                timezone.now(),
                "PLAN-BROKEN",
                f"{broken}. Nothing was written. Check the same file again; tell the developers if it comes back.",
            )
    sync.refresh_from_db()
    return sync
