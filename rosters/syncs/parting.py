"""A district leaves us: nothing comes in and nobody reads it from that moment, and thirty days later nothing is kept.

Until then it may stay after all, and is as it was. Then everything that it sent is deleted: the live roster, originals,
differences, versions, findings, what people wrote about its syncs. Numbers, hashes and days stay, and the audit trail,
which has no roster values: the certificate is made of them. (NDPA, and New York's Part 121: deleted at the end of a
contract, and said so in writing.)

First the rows, in one transaction; then the files; only then it is said to be done. A worker that dies in between is
followed by another one, who finds the numbers where the first one wrote them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import connection, transaction
from django.db.models import Max, Min, Q
from django.utils import timezone

from rosters import applying
from rosters.models import (
    LEAVES_AFTER,
    PURGING_FOR,
    AuditEvent,
    Delivery,
    District,
    Finding,
    Hold,
    KeptIds,
    Snapshot,
    Sync,
    Tally,
)
from rosters.syncs.working import DecisionRefused, audit, audit_district, hold, refuse_beside_another, store

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

#: What takes the place of a name that somebody gave a file, or of words about its content.
_DELETED = "deleted"


def leave(district: District, *, by: Staff, reason: str, now: datetime | None = None) -> None:
    """The district leaves: out of sight at once, and deleted after `LEAVES_AFTER`. What waits for a decision is
    declined. Raises DecisionRefused while something goes live, or where it was said before."""
    moment = now or timezone.now()
    with transaction.atomic():
        held = hold(district.pk)
        refuse_beside_another(held)
        for waiting in Sync.objects.filter(district=held, status__in=Sync.WAITING):
            if waiting.mark_declined(moment, by, "The district leaves."):
                audit(moment, by, "sync.declined", waiting, after={"reason": "The district leaves."})
        District.with_leaving.filter(pk=held.pk).update(leaving_since=moment)
        audit_district(moment, by, "district.leaves", held, after={"reason": reason, "deleted on": _day(moment)})


def stay(district: District, *, by: Staff, now: datetime | None = None) -> None:
    """It stays after all, and is as it was. Raises DecisionRefused once its deletion has begun."""
    moment = now or timezone.now()
    with transaction.atomic():
        held = District.with_leaving.select_for_update(no_key=True).get(pk=district.pk)
        if held.leaving_since is None:
            raise DecisionRefused("Nobody said that this district leaves.")
        if held.left_with or held.purging_since or held.left_at:
            raise DecisionRefused("It is too late: what the district sent is being deleted, or is deleted already.")
        District.with_leaving.filter(pk=held.pk).update(leaving_since=None)
        audit_district(moment, by, "district.stays", held, before={"leaving since": held.leaving_since.isoformat()})


def to_purge(now: datetime | None = None) -> list[int]:
    """Ids of the districts whose time is over, unless a worker is at it."""
    moment = now or timezone.now()
    due = District.with_leaving.filter(left_at=None, leaving_since__lte=moment - LEAVES_AFTER)
    free = Q(purging_since=None) | Q(purging_since__lt=moment - PURGING_FOR)
    return list(due.filter(free).order_by("leaving_since", "pk").values_list("pk", flat=True))


def purge(
    district_id: int, *, also: Callable[[District], dict[str, int]] | None = None, now: datetime | None = None
) -> bool:
    """Delete everything that a district sent, if it is due and no other worker is at it. `also` deletes in the same
    transaction what others keep of it, and says how much that was, for the certificate. True if it was done."""
    moment = now or timezone.now()
    district = District.with_leaving.get(pk=district_id)
    if not district.start_purging(moment):
        return False
    with overwriting(), transaction.atomic():
        held = District.with_leaving.select_for_update(no_key=True).get(pk=district_id)
        held.left_with = held.left_with or {**_facts(held), "others": also(held) if also else {}}
        held.save(update_fields=["left_with"])
        _delete_rows(held, moment)
    store().forget_district(district_id)
    with transaction.atomic():
        held = District.with_leaving.select_for_update(no_key=True).get(pk=district_id)
        if held.left_at:
            return False
        # Its number is free for a district that comes, or comes back.
        moment = now or timezone.now()
        District.with_leaving.filter(pk=district_id).update(
            left_at=moment, purging_since=None, site_code=f"left-{district_id}"
        )
        audit_district(moment, None, "district.left", held, after=held.left_with)
    return True


@contextmanager
def overwriting() -> Iterator[None]:
    """What is deleted meanwhile is overwritten in SQLite's files, which would keep it in pages that are free. (A server
    has its own ways: PostgreSQL's vacuum gives such pages to other rows.)"""
    if connection.vendor != "sqlite":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA secure_delete = ON")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA secure_delete = OFF")
            if not connection.in_atomic_block:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _facts(district: District) -> dict[str, Any]:
    """What there is to be deleted, in numbers."""
    deliveries = Delivery.objects.filter(district=district)
    kept = deliveries.filter(forgotten_at=None)
    days = deliveries.aggregate(first=Min("received_at"), last=Max("received_at"))
    return {
        "site_code": district.site_code,
        "records": applying.counts_of(district.pk),
        "files": kept.count(),
        "file_bytes": sum(dict(kept.values_list("sha256", "size")).values()),
        "files_before": deliveries.count() - kept.count(),
        "versions": Snapshot.objects.filter(district=district, forgotten_at=None).count(),
        "syncs": Sync.with_dry_runs.filter(district=district).count(),
        "first": days["first"].date().isoformat() if days["first"] else "",
        "last": days["last"].date().isoformat() if days["last"] else "",
    }


def _delete_rows(district: District, now: datetime) -> None:
    """Everything in the database that the district sent, or that tells of it; rows that the audit trail leads to stay,
    without words."""
    applying.forget_all(district.pk)
    syncs = Sync.with_dry_runs.filter(district=district)
    for told in (Tally, Finding, Hold):
        told._base_manager.filter(sync__in=syncs).delete()
    syncs.update(
        verdict="", decision_reason="", error="", last_modified="", headers={}, target_tables={}, plan_files={},
        phase="", kept_ids=None, forgotten_at=now,
    )  # fmt: skip
    Delivery.objects.filter(district=district).update(name=_DELETED, forgotten_at=now)
    Snapshot.objects.filter(district=district).update(forgotten_at=now)
    District.with_leaving.filter(pk=district.pk).update(
        version=0, snapshot=None, kept_ids=None, mappings={}, column_names={}, rule_overrides={},
        verification_faults=[],
        verified_at=None, forgetting_since=None, applies_automatically=False,
    )  # fmt: skip
    KeptIds.objects.filter(district=district).update(forgotten_at=now)


def certificate(district: District) -> dict[str, Any]:
    """What a certificate of deletion says of a district that has left: the audit rows ``asked`` and ``done``."""
    told = AuditEvent.objects.filter(district=district).select_related("by").order_by("-at", "-pk")
    return {
        "asked": told.filter(action="district.leaves").first(),
        "done": told.filter(action="district.left").first(),
    }


def _day(now: datetime) -> str:
    return (now + LEAVES_AFTER).date().isoformat()
