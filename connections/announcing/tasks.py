"""What the queue runs for webhooks and mails to staff. The dotted paths stand in the queue's rows: they are never
renamed without those."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils import timezone
from django_q.tasks import async_task

from connections.announcing import mailing, telling
from connections.announcing.models import Webhook


def send(*, announcement_id: int) -> None:
    """Send one announcement, once. If it arrived, the next one of its webhook has its turn: of each a few are in the
    queue at a time."""
    sent = telling.send(announcement_id)
    if sent is not None and sent.status == sent.Status.SENT:
        enqueue(telling.to_queue(timezone.now(), Webhook.objects.filter(pk=sent.webhook_id)))


def morning(*, mailing_id: int) -> None:
    """Send a morning's mail, once."""
    mailing.send_morning(mailing_id)


def at_once(*, mailing_id: int) -> None:
    """Mail what has begun to wait, once."""
    mailing.send_at_once(mailing_id)


def minute() -> None:
    """Gather what happened, and have what is due sent."""
    now = timezone.now()
    telling.gather(now)
    enqueue(telling.to_queue(now))
    mornings, news = mailing.due(now)
    for mailing_id in mornings:
        async_task("connections.announcing.tasks.morning", mailing_id=mailing_id)
    for mailing_id in news:
        async_task("connections.announcing.tasks.at_once", mailing_id=mailing_id)


def enqueue(announcement_ids: Iterable[int]) -> None:
    """Make a task for each of these, which are noted as having one (`Announcement.queue`)."""
    for announcement_id in announcement_ids:
        async_task("connections.announcing.tasks.send", announcement_id=announcement_id)
