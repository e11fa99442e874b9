"""Of several deliveries of a district: which takes the place of which, which waits behind another, what is made anew.

A delivery takes the place of an older one that waits only if nothing is lost by it: it can be used, and it says
whatever that one says. Else it waits behind the older one, for an older file is never applied over a newer one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from rosters.holding import CORE
from rosters.models import Hold, Org, Sync
from rosters.oneroster.normal import TABLES
from rosters.scope import Scope
from rosters.syncs.working import audit

#: How a delivery stands that was read and compared, and is what the district has.
_OF_USE: Final = (
    Sync.Status.READY,
    Sync.Status.AWAITING_REVIEW,
    Sync.Status.UNCHANGED,
    Sync.Status.APPROVED,
    Sync.Status.APPLYING,
    Sync.Status.APPLIED,
)
_NOBODY_MAY_APPROVE: Final = Exists(Hold.objects.filter(sync=OuterRef("pk"), approvable=False))
#: Older than this no file goes live over a newer one any more: an approval waits a week at most.
_LATELY: Final = timedelta(days=8)
#: Tables that 1.1 does not have: it says the same with its users.
_OF_USERS: Final = frozenset(("roles", "userProfiles"))


def give_way(district_id: int, now: datetime) -> None:
    """What waits gives way to a newer delivery that says the same and more, once that is known to be of use: a file
    that cannot be read, is refused, is another district's or says nothing must not take a good one away. So does what
    was approved for later, if a newer file says that what is live is right. Asked whenever one was prepared, for the
    newer one may have been first."""
    waiting = Q(status__in=("received", *Sync.WAITING)) | Q(status="approved", claim=None, go_live_at__isnull=False)
    for older in Sync.objects.filter(waiting, district=district_id, undoes=None).select_related(
        "district__snapshot", "delivery"
    ):
        for newer in _usable(_after(older)).order_by("-received_at", "-pk"):
            says_so = older.status != Sync.Status.APPROVED or newer.status == Sync.Status.UNCHANGED
            if says_so and _says_all_of(newer, older):
                with transaction.atomic():
                    if older.mark_superseded(now):
                        audit(now, None, "sync.superseded", older, after={"by": newer.pk})
                break


def stands_behind(sync: Sync) -> Sync | None:
    """The oldest delivery before this one that is still to be decided about, if this one does not say all that it says:
    what is new in that one would be lost."""
    if sync.delivery_id is None:
        return None
    open_ones = Q(status__in=("received", "preparing", *Sync.WAITING))
    before = Q(received_at__lt=sync.received_at) | Q(received_at=sync.received_at, pk__lt=sync.pk)
    older = Sync.objects.filter(open_ones, before, district=sync.district_id, undoes=None).exclude(_NOBODY_MAY_APPROVE)
    for each in older.select_related("district__snapshot", "delivery").order_by("received_at", "pk"):
        if speak_for_the_same(sync, [each.speaks_for]) and not _says_all_of(sync, each) and not newer_was_applied(each):
            return each
    return None


def newer_has_come(sync: Sync) -> bool:
    """Whether a later file is about the same schools and terms; that of a dry run is not counted, nor what could not
    be used."""
    came = sync.delivery.received_at if sync.delivery else sync.received_at
    newer = Sync.objects.filter(district=sync.district_id, delivery__received_at__gt=came).exclude(
        status__in=Sync.STUCK
    )
    newer = newer.exclude(_NOBODY_MAY_APPROVE).exclude(status=Sync.Status.UNCHANGED, file_rows={})
    return speak_for_the_same(sync, newer.values_list("speaks_for", flat=True))


def may_check_again(sync: Sync) -> bool:
    """Whether the file of a sync that waits, failed or was refused is still the one to decide about: of one that waits
    a newer one may stand behind it."""
    return not (overtaken(sync) if sync.status in Sync.WAITING else newer_has_come(sync))


def newer_was_applied(sync: Sync) -> bool:
    """Whether what is live came later than this delivery, of the same schools and terms."""
    if sync.undoes_id is not None:
        return False
    newer = Sync.objects.filter(
        district=sync.district_id, status="applied", undoes=None, received_at__gt=sync.received_at
    )
    return speak_for_the_same(sync, newer.values_list("speaks_for", flat=True))


def overtaken(sync: Sync) -> bool:
    """Whether a later delivery says all that this one says, or is live instead of it."""
    return newer_was_applied(sync) or any(_says_all_of(newer, sync) for newer in _usable(_after(sync)))


def withdraw(sync: Sync, now: datetime) -> None:
    """The base moved: the plan is to be made anew, unless another worker has the sync or it is past that."""
    plan = sync.plan_digest
    with transaction.atomic():
        if sync.mark_stale(now):
            audit(now, None, "sync.stale", sync, before={"plan": plan})


def withdraw_outdated(now: datetime, *, district_id: int | None = None) -> list[int]:
    """Withdraw what was worked out for a roster that is not live any more, of one district or of all: the ids of the
    syncs to prepare. These are the plans that wait, and newer files of which it was said that they change nothing,
    before an older one went live."""
    older_went_live = Sync.objects.filter(
        district=OuterRef("district"),
        status=Sync.Status.APPLIED,
        undoes=None,
        received_at__lt=OuterRef("received_at"),
        applied_at__gt=OuterRef("status_since"),
    )
    lately = Q(status_since__gte=now - _LATELY, delivery__forgotten_at=None)
    same = Q(status=Sync.Status.UNCHANGED, undoes=None) & lately
    wanted = Q(status__in=Sync.WAITING) | same & Exists(older_went_live)
    syncs = Sync.objects.filter(wanted, district__leaving_since=None)
    old = syncs.exclude(base_version=F("district__version")).order_by("received_at", "pk")
    if district_id is not None:
        old = old.filter(district=district_id)
    outdated = [sync for sync in old if sync.status in Sync.WAITING or not newer_was_applied(sync)]
    for sync in outdated:
        withdraw(sync, now)
    return [sync.pk for sync in outdated]


def speak_for_the_same(sync: Sync, others: Iterable[Mapping[str, Any]]) -> bool:
    """Whether `sync` and one of these `Sync.speaks_for` of its district are about one school, in the live roster as it
    is now."""
    mine = _with_beneath(sync.district_id, sync.speaks_for)
    return any(not mine.apart_from(_with_beneath(sync.district_id, said)) for said in others)


def _with_beneath(district_id: int, said: Mapping[str, Any]) -> Scope:
    scope = Scope.from_json(said)
    found = new = set(scope.schools)
    while new:
        children = Org.objects.filter(district=district_id, parent__sourced_id__in=new)
        new = set(children.values_list("sourced_id", flat=True)) - found
        found = found | new
    return replace(scope, schools=tuple(found))


def _after(sync: Sync) -> QuerySet[Sync]:
    after = Q(received_at__gt=sync.received_at) | Q(received_at=sync.received_at, pk__gt=sync.pk)
    return Sync.objects.filter(after, district=sync.district_id, undoes=None)


def _usable(syncs: QuerySet[Sync]) -> QuerySet[Sync]:
    syncs = syncs.select_related("delivery")
    return syncs.filter(status__in=_OF_USE).exclude(file_rows={}).exclude(_NOBODY_MAY_APPROVE)


def _says_all_of(newer: Sync, older: Sync) -> bool:
    """Whether what the `older` delivery says is said anew, so that nothing is lost if it is never applied: of the same
    schools and terms, and of each of its tables everything. What is not read yet is taken to have every table that is
    live."""
    if newer.delivery and older.delivery and newer.delivery.sha256 == older.delivery.sha256:
        return True  # the same file, taken otherwise
    if newer.additions_only and not older.additions_only:
        return False
    if not _with_beneath(newer.district_id, newer.speaks_for).includes(
        _with_beneath(older.district_id, older.speaks_for)
    ):
        return False
    live = older.district.snapshot.tables if older.district.snapshot else CORE
    said = {*(older.modes or live)} & {*TABLES}
    if newer.oneroster_version.startswith("1.1"):
        said -= _OF_USERS
    return all(newer.modes.get(table) == "bulk" for table in said)
