"""What the minute and the day do: pick up what a worker left, sweep what it would have written."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from rosters import serving
from rosters.models import District, Sync
from rosters.syncs.preparing import give_way
from rosters.syncs.working import store

LOST_AFTER = timedelta(seconds=60)
DRAFTS_KEPT = timedelta(days=1)


def recover(now: datetime | None = None) -> tuple[list[int], list[int]]:
    """What was left behind by workers that died, or never picked up: (ids to prepare, ids to apply). A sync that was
    tried too often fails instead."""
    moment = now or timezone.now()
    waiting = Sync.objects.awaiting_review().order_by()
    for district_id in waiting.values_list("district_id", flat=True).distinct():
        give_way(district_id, moment)  # a worker may have died after storing a plan, before it gave way
    prepare_again: list[int] = []
    apply_again: list[int] = []
    left = Sync.with_dry_runs.filter(
        Q(status__in=["preparing", "applying"], claimed_until__lt=moment)
        | Q(status__in=["received", "approved"], status_since__lt=moment - LOST_AFTER)
    )
    for sync in left:
        if sync.attempts >= Sync.MAX_ATTEMPTS and sync.status in ("preparing", "applying"):
            sync.mark_failed(
                moment,
                "WORKER-LOST",
                "The worker on this sync was lost three times. Nothing was written. Try again; if it is lost again, "
                "the file may be too large for this machine.",
            )
        elif sync.status in ("received", "preparing"):
            prepare_again.append(sync.pk)
        else:
            apply_again.append(sync.pk)
    return prepare_again, apply_again


def tidy(now: datetime | None = None) -> int:
    """Remove what workers that died were about to write, a day after they began; how many files. And what is served
    with records whose time is over, once its readers are through with it."""
    for district in District.objects.filter(left_forgotten__gt=0):
        serving.forget(store(), district)
    return store().sweep(((now or timezone.now()) - DRAFTS_KEPT).timestamp())
