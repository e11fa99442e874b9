"""What the queue runs. A task takes one id and calls once; the sync row is the truth, so a task may be delivered twice.

The dotted paths of these functions stand in the queue's rows: they are never renamed without a migration of those.
"""

from __future__ import annotations

from django.utils import timezone
from django_q.tasks import async_task

from rosters import serving, syncs
from rosters.models import Sync


def prepare(*, sync_id: int) -> None:
    """Prepare a received sync; apply it if nothing holds it and its district wants no person asked."""
    sync = syncs.prepare(sync_id)
    if sync is None:
        return
    if sync.status == Sync.Status.READY and sync.may_apply_by_itself:
        try:
            syncs.approve(sync, by=None, plan_digest=sync.plan_digest)
        except syncs.DecisionRefused:
            return
        enqueue_apply(sync)
    elif sync.status == Sync.Status.RECEIVED:
        enqueue_prepare(sync)
    elif sync.status == Sync.Status.UNCHANGED:
        _go_on(sync)


def _go_on(sync: Sync) -> None:
    """Have what it left in place decided, if that was to wait for it."""
    if sync.rest_waits and (after := syncs.rest_next(sync)):
        enqueue_prepare(after)


def apply(*, sync_id: int) -> None:
    """Apply an approved sync; a plan that went stale is prepared again."""
    sync = syncs.apply(sync_id)
    if sync is not None and sync.status == Sync.Status.RECEIVED:
        enqueue_prepare(sync)
    elif sync is not None and sync.status == Sync.Status.APPROVED:
        enqueue_apply(sync)
    elif sync is not None and sync.result is not None:
        _go_on(sync)
        for sync_id in syncs.withdraw_outdated(timezone.now(), district_id=sync.district_id):
            async_task("rosters.tasks.prepare", sync_id=sync_id)
        # made ready now, so that the first who asks does not wait
        serving.roster(syncs.store(), sync.district, serving.edition_of(sync.district, sync.result.version))


def recover() -> None:
    """Pick up what dead workers left behind; where there is nothing to do, verify what is live. Runs every minute."""
    to_prepare, to_apply = syncs.recover()
    for sync_id in to_prepare:
        async_task("rosters.tasks.prepare", sync_id=sync_id)
    for sync_id in to_apply:
        async_task("rosters.tasks.apply", sync_id=sync_id)
    if district_id := syncs.to_verify():
        async_task("rosters.tasks.verify", district_id=district_id)


def tidy() -> None:
    """Give back the disk that dead workers took, and have deleted what its time is over for. Runs every day."""
    syncs.tidy()
    for district_id in syncs.districts_with_something_to_forget():
        async_task("rosters.tasks.forget", district_id=district_id)


def verify(*, district_id: int) -> None:
    """Have the witness look at what is live; nothing if that was done lately."""
    syncs.verify(district_id)


def forget(*, district_id: int) -> None:
    """Delete of a district what its time is over for; nothing if that was done, or while something goes live."""
    syncs.forget(district_id)


def enqueue_prepare(sync: Sync) -> None:
    """With the queue in the same database, the task is committed or rolled back with the sync itself."""
    async_task("rosters.tasks.prepare", sync_id=sync.pk)


def enqueue_apply(sync: Sync) -> None:
    async_task("rosters.tasks.apply", sync_id=sync.pk)
