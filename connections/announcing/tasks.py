"""What the queue runs for webhooks. The dotted path stands in the queue's rows: it is never renamed without those."""

from __future__ import annotations

from django.utils import timezone
from django_q.tasks import async_task

from connections.announcing import telling


def send(*, announcement_id: int) -> None:
    """Send one announcement, once."""
    telling.send(announcement_id)


def minute() -> None:
    """Gather what happened, and have what is due sent."""
    now = timezone.now()
    telling.gather(now)
    for announcement_id in telling.due(now):
        async_task("connections.announcing.tasks.send", announcement_id=announcement_id)
