"""What the queue runs for connections. A task takes one id and calls once; the row is the truth.

The dotted paths of these functions stand in the queue's rows: they are never renamed without a migration of those.
"""

from __future__ import annotations

from django.utils import timezone
from django_q.tasks import async_task

from connections import attempts, parting
from connections.announcing import tasks as announcing
from connections.models import Attempt, Checkup
from connections.onboarding import asking, news, sending
from rosters import syncs, tasks
from rosters.api import usage


def pull(*, attempt_id: int) -> None:
    """Make an attempt; what it delivers goes on its way."""
    sync = attempts.run(attempt_id)
    if sync is not None:
        tasks.enqueue_prepare(sync)


def check(*, checkup_id: int) -> None:
    """Let the connection doctor look."""
    attempts.check(checkup_id)


def purge(*, district_id: int) -> None:
    """Delete everything of a district that has left; nothing if that was done, or another worker is at it."""
    parting.purge(district_id)


def minute() -> None:
    """Start what is due, sweep what was abandoned. Runs every minute."""
    for district_id in syncs.to_purge():
        async_task("connections.tasks.purge", district_id=district_id)
    pulls = attempts.minute()
    for checkup_id in Checkup.to_queue(timezone.now()):  # first: somebody sits before it
        async_task("connections.tasks.check", checkup_id=checkup_id)
    for attempt_id in pulls:
        async_task("connections.tasks.pull", attempt_id=attempt_id)
    sending.sweep()
    asking.minute()
    news.minute()
    usage.write_down()
    announcing.minute()


def enqueue_pull(attempt: Attempt) -> None:
    async_task("connections.tasks.pull", attempt_id=attempt.pk)


def enqueue_check(checkup: Checkup) -> None:
    async_task("connections.tasks.check", checkup_id=checkup.pk)
