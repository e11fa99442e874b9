"""What the minute and the day do: pick up what a worker left, sweep what it would have written, look whether what is
live is still what was accepted. And how that is mended."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from rosters import applying, serving, verifying
from rosters.models import VERIFIED_FOR, VERIFYING_FOR, AuditEvent, District, Sync
from rosters.syncs.deciding import approve
from rosters.syncs.in_parts import rest_due, rest_next
from rosters.syncs.ordering import give_way, withdraw_outdated
from rosters.syncs.working import DecisionRefused, audit_district, base_frames, refuse_beside_another, store

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

LOST_AFTER = timedelta(seconds=60)
DRAFTS_KEPT = timedelta(days=1)
#: Less than both of these left on the disk is little.
LITTLE_SHARE = 0.1
LITTLE_BYTES = 20 * 2**30


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
        | Q(status="received", status_since__lt=moment - LOST_AFTER)
        | Q(status="approved", status_since__lt=moment - LOST_AFTER, go_live_at=None)
        | Q(status="approved", go_live_at__lte=moment)
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
    prepare_again += withdraw_outdated(moment)  # a worker may have died after it made another one live
    for sync in Sync.objects.filter(status="ready", status_since__lt=moment - LOST_AFTER).select_related("district"):
        if sync.may_apply_by_itself and _goes_by_itself(sync, moment):  # as above, or what stood before it was decided
            apply_again.append(sync.pk)
    for sync in rest_due():  # a worker may have died between the two
        if after := rest_next(sync, now=moment):
            prepare_again.append(after.pk)
    return prepare_again, apply_again


def _goes_by_itself(sync: Sync, now: datetime) -> bool:
    """Approve what would have gone live by itself; not what a person took back, nor what was ready before its district
    wanted that."""
    taken_back = Q(sync=sync, action="sync.approval_taken_back")
    wanted_since = Q(action="district.changed", at__gte=sync.status_since, after__applies_automatically=True)
    if AuditEvent.objects.filter(taken_back | wanted_since, district=sync.district_id).exists():
        return False
    try:
        return approve(sync, by=None, plan_digest=sync.plan_digest, now=now)
    except DecisionRefused:
        return False


def to_verify(now: datetime | None = None) -> int | None:
    """The district whose live roster was verified longest ago, if that is due and no sync is being worked on: a roster
    that comes is more urgent than one that is looked at again."""
    moment = now or timezone.now()
    if Sync.with_dry_runs.running().exists():
        return None
    due = District.objects.filter(Q(verified_at=None) | Q(verified_at__lt=moment - VERIFIED_FOR), version__gt=0)
    free = due.filter(Q(verifying_since=None) | Q(verifying_since__lt=moment - VERIFYING_FOR))
    return free.order_by(F("verified_at").asc(nulls_first=True), "pk").values_list("pk", flat=True).first()


def verify(district_id: int, now: datetime | None = None) -> list[str] | None:
    """Have the witness look at a district's live roster, and write down what it says: its faults, in words. None if
    that was done lately, or another worker is at it."""
    moment = now or timezone.now()
    district = District.with_leaving.select_related("snapshot").get(pk=district_id)
    if not district.start_verifying(moment):
        return None
    district.refresh_from_db()
    before, faults = district.verification_faults, verifying.faults_of(district)
    with transaction.atomic():
        if not district.mark_verified(now or timezone.now(), faults):
            return None
        if faults != before:
            action = "roster.differs" if faults else "roster.as_accepted"
            about = {"version": district.version, "found": faults}
            audit_district(now or timezone.now(), None, action, district, after=about)
    return faults


class StillWrong(Exception):
    """A roster built anew would not be the accepted one either: its snapshot is damaged. Nothing was written."""


def rebuild(district: District, *, by: Staff, now: datetime | None = None) -> int:
    """Write a district's live tables anew from its accepted snapshot, prove them before they are committed, and say how
    many records they hold. Raises DecisionRefused while something goes live, StillWrong if that proof fails."""
    moment = now or timezone.now()
    refuse_beside_another(district)
    if faults := [*verifying.snapshot_faults(district)]:
        raise StillWrong("; ".join(faults))
    unverified = {"verified_at": None, "verifying_since": None}

    def proved() -> None:
        if faults := [*verifying.live_faults(district)]:
            raise StillWrong("; ".join(faults))
        if District.with_leaving.filter(pk=district.pk, version=district.version).update(**unverified) == 0:
            raise DecisionRefused("A sync went live meanwhile. Look again whether anything is wrong.")
        audit_district(moment, by, "roster.rebuilt", district, after={"version": district.version})

    records = applying.rebuild(district, base_frames(district), store(), now=moment, proved=proved)
    verify(district.pk)
    return records


def little_room() -> tuple[int, int] | None:
    """(bytes left, bytes in all) of the disk on which everything is kept, if there is so little left that somebody must
    see to it: a delivery that finds no room is not received."""
    disk = shutil.disk_usage(settings.PORTAL_DATA_DIR)
    return (disk.free, disk.total) if disk.free < min(LITTLE_SHARE * disk.total, LITTLE_BYTES) else None


def tidy(now: datetime | None = None) -> int:
    """Remove what workers that died were about to write, a day after they began; how many files. And what is served
    with records whose time is over, once its readers are through with it."""
    for district in District.with_leaving.filter(left_forgotten__gt=0):
        serving.forget(store(), district)
    return store().sweep(((now or timezone.now()) - DRAFTS_KEPT).timestamp())
