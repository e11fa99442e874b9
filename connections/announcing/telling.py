"""What happened becomes announcements, once for each webhook; each is signed and sent until it arrives or is given up.

Nothing that lasts is lost: what is told is read from the rows of syncs and connections, every minute, and the database
takes each only once. What lasts less than a minute (a plan that was approved at once) is told by what came of it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import requests
from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from connections.announcing.models import BACKOFF, KINDS, PING, Announcement, Webhook
from connections.announcing.words import ENDED, NOT_SEEN, SEAL_BROKEN
from connections.exceptions import FetchError
from connections.models import Connection
from connections.rest.transport import session
from rosters.api.feed import Cursor
from rosters.models import AuditEvent, District, Sync
from rosters.sealing import SealBroken

logger = logging.getLogger(__name__)

HEADER: Final = "Portal-Signature"
#: Seconds for an answer; what takes longer counts as not arrived.
PATIENCE: Final = 10.0
#: So many announcements of one webhook are in the queue, or on their way, at the same time.
AT_ONCE: Final = 2
#: So far back is looked for what was not told yet: longer than any outage of the workers should last.
_BACK: Final = timedelta(days=7)
_OF_SYNCS: Final = {kind.partition(".")[2]: kind for kind in KINDS if kind.startswith("sync.")} | {
    "ready": "sync.awaiting_review"
}


def signature(secrets: Iterable[str], body: bytes, at: datetime) -> str:
    """``t=<seconds since 1970>,v1=<HMAC-SHA256 of "<t>.<body>" in hex>``, one v1 for each secret."""
    stamp = str(int(at.timestamp()))
    signed = [hmac.new(each.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest() for each in secrets]
    return ",".join([f"t={stamp}", *(f"v1={each}" for each in signed)])


# -------------------------------------------------------------------------------------------------------- what happened


def gather(now: datetime) -> int:
    """Make the announcements that are not made yet; how many."""
    made = 0
    for webhook in Webhook.objects.filter(off_at=None, client__ended_at=None).select_related("client"):
        known = set(webhook.announcements.filter(made_at__gt=now - 2 * _BACK).values_list("about", flat=True))
        fresh = [each for each in _happened(webhook, now) if each.about not in known]
        made += len(Announcement.objects.bulk_create(fresh, ignore_conflicts=True))
    return made


def _happened(webhook: Webhook, now: datetime) -> Iterator[Announcement]:
    since = max(webhook.made_at, now - _BACK)
    districts = District.objects.filter(clients=webhook.client_id)
    statuses = [status for status, kind in _OF_SYNCS.items() if kind in webhook.kinds]
    found = Sync.objects.filter(district__in=districts, status__in=statuses, status_since__gte=since)
    for sync in found.select_related("district", "result").order_by("status_since", "pk"):
        kind = _OF_SYNCS[sync.status]
        yield _announcement(
            webhook, sync.district, kind, f"{kind}:{sync.pk}:{sync.plan_digest[:12]}", _of_sync(sync), now
        )
    if "connection.failing" in webhook.kinds:
        failing = Connection.objects.filter(district__in=districts, failures__gt=0).select_related("district")
        for connection in failing:
            about = f"connection.failing:{connection.pk}:{connection.last_success_at or ''}"
            told = {"connection": str(connection.uid), "failures": connection.failures}
            yield _announcement(webhook, connection.district, "connection.failing", about, told, now)
    if "connection.late" in webhook.kinds:
        late = Connection.objects.filter(district__in=districts, late_since__isnull=False).select_related("district")
        for connection in late:
            about = f"connection.late:{connection.pk}:{connection.late_since:%Y%m%d%H%M%S}"
            told = {"connection": str(connection.uid), "late_since": _in_utc(connection.late_since)}
            yield _announcement(webhook, connection.district, "connection.late", about, told, now)
    if "connection.recovered" in webhook.kinds:
        yield from _recovered(webhook, districts, now)


def _recovered(webhook: Webhook, districts: QuerySet[District], now: datetime) -> Iterator[Announcement]:
    """Of what this webhook was told that it fails or is late, what works again."""
    told = webhook.announcements.filter(
        kind__in=("connection.failing", "connection.late"), made_at__gt=now - 2 * _BACK
    ).order_by("made_at")
    said = {announcement.payload["connection"]: announcement for announcement in told}
    fine = Connection.objects.filter(
        uid__in=list(said), district__in=districts, state="active", failures=0, late_since=None
    )
    for connection in fine.select_related("district"):
        before = said[str(connection.uid)]
        if connection.last_success_at and connection.last_success_at > before.made_at:
            facts = {"connection": str(connection.uid), "last_success_at": _in_utc(connection.last_success_at)}
            about = f"connection.recovered:{before.pk}"
            yield _announcement(webhook, connection.district, "connection.recovered", about, facts, now)


def _in_utc(moment: datetime | None) -> str:
    return moment.astimezone(UTC).isoformat() if moment else ""


def _of_sync(sync: Sync) -> dict[str, Any]:
    told: dict[str, Any] = {"sync": sync.pk, "status": sync.status, "at": sync.status_since.astimezone(UTC).isoformat()}
    told |= {"added": sync.added, "updated": sync.updated, "removed": sync.removed, "error_code": sync.error_code}
    if sync.result is not None:  # the feed begins before this version: a reader has only to go on from here
        told |= {"version": sync.result.version, "changes_after": str(Cursor(sync.result.version - 1))}
    return told


def _announcement(
    webhook: Webhook, district: District | None, kind: str, about: str, told: dict[str, Any], now: datetime
) -> Announcement:
    payload = {"site_code": district.site_code if district else "", **told}
    return Announcement(
        webhook=webhook, district=district, kind=kind, about=about, payload=payload, made_at=now, not_before=now
    )


def ping(webhook: Webhook, now: datetime) -> Announcement:
    """An announcement of nothing, to try whether one arrives."""
    made = _announcement(webhook, None, PING, f"{PING}:{now.isoformat()}", {}, now)
    made.save()
    return made


def to_queue(now: datetime, webhooks: QuerySet[Webhook] | None = None) -> list[int]:
    """Announcements that a task is to be made for, by id, each once. Of one webhook a few at a time, and while nothing
    reaches it one, the oldest that is due, to see whether it is so still: a tool that does not answer holds a worker
    for as long as we are patient."""
    found: list[int] = []
    for webhook in (Webhook.objects.all() if webhooks is None else webhooks).filter(off_at=None):
        busy = webhook.announcements.filter(status="waiting", claimed_until__gte=now).count()
        free = max((1 if webhook.failing_since else AT_ONCE) - busy, 0)
        found += [each.pk for each in Announcement.due(now).filter(webhook=webhook)[:free] if each.queue(now)]
    return found


# -------------------------------------------------------------------------------------------------------------- sending


def send(announcement_id: int, now: datetime | None = None) -> Announcement | None:
    """Send it once. None if another worker has it, or it is not due any more."""
    moment = now or timezone.now()
    announcement = Announcement.objects.select_related("webhook__client").get(pk=announcement_id)
    webhook = announcement.webhook
    if webhook.off_at is not None or not announcement.start(moment):
        return None
    if not announcement.may_be_told():
        announcement.mark_given_up(ENDED if webhook.client.ended_at else NOT_SEEN)
        return announcement
    arrived, answered = _posted(announcement, moment)
    if arrived:
        announcement.mark_sent(moment, answered)
        webhook.went_well(moment)
        return announcement
    logger.warning("webhook %s: %s", webhook.pk, answered)
    if announcement.tries > len(BACKOFF):
        announcement.mark_given_up(answered)
    else:
        wait = BACKOFF[announcement.tries - 1]
        announcement.mark_for_retry(moment + wait * random.uniform(0.8, 1.2), answered)  # noqa: S311  # no secret
    if webhook.went_wrong(moment):
        AuditEvent.objects.create(at=moment, action="webhook.off", subject=f"webhook {webhook.pk}")
    return announcement


def body_of(announcement: Announcement) -> bytes:
    told = {
        "id": str(announcement.uid),
        "kind": announcement.kind,
        "made_at": announcement.made_at.astimezone(UTC).isoformat(),
        **announcement.payload,
    }
    return json.dumps(told, separators=(",", ":"), sort_keys=True).encode()


def _posted(announcement: Announcement, now: datetime) -> tuple[bool, str]:
    """Whether it arrived, and in words what became of it; no word of the answer itself."""
    webhook, body = announcement.webhook, body_of(announcement)
    try:
        signed = signature((secret for secret, _ in webhook.secrets(now)), body, now)
        headers = {"Content-Type": "application/json", HEADER: signed}
        with session(settings.WEBHOOK_NETWORKS) as made, made.within(PATIENCE):
            answer = made.post(
                webhook.url, data=body, headers=headers, timeout=PATIENCE, allow_redirects=False, stream=True
            )
            answer.close()
    except FetchError as fault:
        return False, fault.code
    except SealBroken:
        return False, SEAL_BROKEN
    except (requests.RequestException, TimeoutError) as fault:
        return False, type(fault).__name__
    return 200 <= answer.status_code < 300, f"HTTP {answer.status_code}"
