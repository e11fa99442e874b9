"""A delivery decided in parts: what comes and changes before what leaves, without what a hold is about, only of some
schools. Each part is a sync of its own; then what was left in place is put before people as one more."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from rosters.holding import MAY_WAIT, Which
from rosters.models import District, Hold, Sync
from rosters.scope import Scope
from rosters.syncs.ordering import overtaken
from rosters.syncs.working import DecisionRefused, NotApprovable, audit, hold

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff


def additions_first(sync: Sync, *, by: Staff, now: datetime | None = None) -> Sync:
    """Let what comes and changes go first: a new sync of the same delivery that removes nothing takes the place of the
    one that waits. It is prepared, reviewed and applied like any other; then `removals_next` makes one of what is left.
    """
    moment = now or timezone.now()
    with transaction.atomic():
        hold(sync.district_id)
        sync.refresh_from_db()
        if not may_add_first(sync):
            raise DecisionRefused("Only a sync that waits, and would add or change and also remove, can be parted so.")
        first = _in_its_place(sync, moment, additions_only=True, removals_wait=True)
        audit(moment, by, "sync.additions_first", first, before={"sync": sync.pk}, after={"removed": sync.removed})
    return first


def may_add_first(sync: Sync) -> bool:
    """Whether there is something to go first, and something to wait."""
    of_a_delivery = sync.delivery_id is not None and not sync.additions_only
    return sync.status in Sync.WAITING and of_a_delivery and sync.removed > 0 and sync.added + sync.updated > 0


def only_about(sync: Sync, scope: Scope, *, by: Staff, now: datetime | None = None) -> Sync:
    """Take the file of a sync that waits for what it is: about these schools and terms only. A new sync of the same
    delivery takes its place, and changes nothing of others."""
    moment = now or timezone.now()
    with transaction.atomic():
        hold(sync.district_id)
        sync.refresh_from_db()
        if not may_be_only_about(sync):
            raise DecisionRefused("Only a file that waits for a decision can be taken as one about some schools.")
        if not scope or scope.as_json() == sync.speaks_for:
            raise DecisionRefused("Say which schools or terms it is about. Nothing was changed.")
        made = _in_its_place(sync, moment, speaks_for=scope.as_json())
        audit(moment, by, "sync.only_about", made, before={"sync": sync.pk}, after={"speaks_for": scope.as_json()})
    return made


def may_be_only_about(sync: Sync) -> bool:
    """Whether it may be taken as about some schools: of another district's file nobody says that."""
    of_a_file = sync.delivery_id is not None and sync.status in Sync.WAITING and sync.base_version > 0
    return of_a_file and not sync.holds.filter(code="WRONG_DISTRICT", approvable=False).exists()


def go_without(sync: Sync, which: Which, *, by: Staff, now: datetime | None = None) -> Sync:
    """Let all go ahead but what one hold is about: a new sync of the same delivery, in which these changes wait, takes
    the place of the one that waits. It is prepared, reviewed and applied like any other; then `rest_next` makes one of
    what waited."""
    moment = now or timezone.now()
    with transaction.atomic():
        hold(sync.district_id)
        sync.refresh_from_db()
        found = sync.holds.filter(code=which.code, table=which.table, dimension=which.dimension).first()
        if found is None or not may_go_without(sync, found):
            raise DecisionRefused("What this hold is about cannot wait while the rest goes ahead. Nothing was changed.")
        made = _in_its_place(sync, moment, set_aside=[*sync.set_aside, list(which)])
        audit(moment, by, "sync.went_without", made, before={"sync": sync.pk}, after=which._asdict())
    return made


def may_go_without(sync: Sync, found: Hold) -> bool:
    """Whether the rest of a sync that waits can go ahead without what this hold of it is about."""
    of_a_delivery = sync.delivery_id is not None and sync.status in Sync.WAITING
    return of_a_delivery and found.code in MAY_WAIT and not found.explained and sync.base_version > 0


def rest_next(sync: Sync, *, now: datetime | None = None) -> Sync | None:
    """The sync that decides about what an applied one left in place (`Sync.rest_waits`); None if there is nothing to
    decide, if it is there already, or if a newer delivery came meanwhile."""
    moment = now or timezone.now()
    with transaction.atomic():
        District.with_leaving.select_for_update(no_key=True).get(pk=sync.district_id)
        if sync not in rest_due(sync.district_id):
            return None
        after = _of_the_same(sync, moment, additions_only=sync.additions_only and not sync.removals_wait)
        action = "sync.rest_next" if sync.set_aside else "sync.removals_next"
        audit(moment, None, action, after, before={"sync": sync.pk})
    return after


def rest_due(district_id: int | None = None) -> list[Sync]:
    """Syncs after which what they left in place is still to be decided, of one district or of all."""
    again = Sync.objects.filter(delivery=OuterRef("delivery"), district=OuterRef("district"), pk__gt=OuterRef("pk"))
    left = Q(removals_wait=True, left_out__gt=0) | Q(waiting__gt=0)
    done = Sync.objects.filter(left, ~Exists(again), status__in=["applied", "unchanged"], district__leaving_since=None)
    if district_id is not None:
        done = done.filter(district=district_id)
    return [sync for sync in done.select_related("district__snapshot") if not overtaken(sync)]


def _in_its_place(sync: Sync, now: datetime, **values: Any) -> Sync:
    """A new sync of the delivery of one that waits, like that one but for `values`; nobody may overrule by it."""
    if sync.holds.filter(approvable=False).exists() and "speaks_for" not in values:
        raise NotApprovable("A rule that nobody may overrule holds this sync. Decline it and ask for the right file.")
    if not sync.mark_superseded(now):
        raise DecisionRefused("Somebody else decided in this very moment. Nothing was done by you.")
    kept = ("additions_only", "removals_wait", "set_aside")
    return _of_the_same(sync, now, **{**{name: getattr(sync, name) for name in kept}, **values})


def _of_the_same(sync: Sync, now: datetime, **values: Any) -> Sync:
    """A new sync of the delivery of `sync`, received when that was."""
    values = {"speaks_for": sync.speaks_for, **values}
    return Sync.objects.create(
        district=sync.district, delivery=sync.delivery, received_at=sync.received_at, status_since=now, **values
    )
