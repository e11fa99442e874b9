"""What people decide: to approve, to decline, to have it checked again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone

from rosters.models import AuditEvent, Sync
from rosters.syncs.ordering import may_check_again, newer_has_come, newer_was_applied, stands_behind, withdraw
from rosters.syncs.working import (
    READ_OTHERWISE,
    DecisionRefused,
    NotApprovable,
    StalePlan,
    audit,
    hold,
    refuse_beside_another,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

#: An approval is of a roster that somebody has looked at, which is not for weeks.
AT_MOST_LATER: Final = timedelta(days=7)


#: Who switches off that two people decide does not decide alone for so long.
NOT_ALONE_FOR: Final = timedelta(days=7)


def keyboard() -> Staff:
    """The account in whose name a command decides for the person at the keyboard; it cannot log in."""
    account, made = get_user_model().objects.get_or_create(username="command-line", defaults={"is_active": False})
    if made:
        account.set_unusable_password()
        account.save()
    return account


def approve(
    sync: Sync,
    *,
    by: Staff | None,
    plan_digest: str,
    reason: str = "",
    go_live_at: datetime | None = None,
    now: datetime | None = None,
) -> bool:
    """Approve exactly the plan that was shown, to be applied at once or at `go_live_at`. `by` None is the rule that no
    hold fired, for districts that apply automatically. False if it now waits for a second person
    (`Sync.needs_two_people`). Raises DecisionRefused, of it StalePlan or NotApprovable; then nothing was decided."""
    moment = now or timezone.now()
    stale = False
    if go_live_at is not None and not moment < go_live_at <= moment + AT_MOST_LATER:
        raise DecisionRefused(
            f"A plan goes live at once, or at a moment within {AT_MOST_LATER.days} days. Nothing was approved."
        )
    with transaction.atomic():
        district = hold(sync.district_id)
        sync.refresh_from_db()
        if sync.status not in Sync.WAITING:
            raise DecisionRefused(
                f"This sync is not waiting for a decision any more: {sync.get_status_display().lower()}."
            )
        if sync.base_version != district.version:
            withdraw(sync, moment)
            stale = True
        elif sync.holds.filter(approvable=False).exists():
            raise NotApprovable(
                "A rule that nobody may overrule holds this sync. Decline it and ask for the right file."
            )
        elif by is None and (sync.status != Sync.Status.READY or not sync.may_apply_by_itself):
            raise DecisionRefused("A held sync needs a person, and so does a file that a district sent by hand.")
        elif newer_was_applied(sync):
            raise DecisionRefused("A newer delivery is live already; an older one never replaces it.")
        elif stands_behind(sync):
            raise DecisionRefused(
                "An older file waits that says what this one does not. Decide about that one first; this one is then "
                "compared anew."
            )
        elif plan_digest != sync.plan_digest:
            raise StalePlan("The plan has changed since you read it. Nothing was approved; this is the new plan.")
        else:
            refuse_beside_another(district)
            by_two = sync.first_approved_by_id or sync.needs_two_people or _took_the_second_away(sync, by, moment)
            if by_two and not _is_second(sync, moment, by, reason):
                return False
            if not sync.mark_approved(moment, plan_digest, by, reason, go_live_at):
                raise StalePlan("Somebody else decided in this very moment. Nothing was approved by you.")
            audit(
                moment,
                by,
                "sync.approved",
                sync,
                before={"version": district.version},
                after={
                    "added": sync.added,
                    "updated": sync.updated,
                    "removed": sync.removed,
                    "reason": reason,
                    **({"go_live_at": go_live_at.isoformat()} if go_live_at else {}),
                },
            )
    if stale:
        raise StalePlan(
            "The roster has moved since this plan was made. Nothing was approved; the plan is being made anew."
        )
    return True


def _took_the_second_away(sync: Sync, by: Staff | None, now: datetime) -> bool:
    """Whether `by` has just switched off that two people decide, and it would take two else."""
    if by is None or not sync.removes_many:
        return False
    off = AuditEvent.objects.filter(district=sync.district_id, action="district.changed", by=by)
    return off.filter(at__gte=now - NOT_ALONE_FOR, after__needs_two_people=False).exists()


def _is_second(sync: Sync, now: datetime, by: Staff | None, reason: str) -> bool:
    """Whether somebody else has approved this plan before; else `by` is written down as the first. Raises
    DecisionRefused where one person would be both."""
    if by is None:
        raise DecisionRefused("So many people are removed by two members of staff only.")
    if sync.first_approved_by_id == by.pk:
        raise DecisionRefused(
            "You have approved this plan already. So many people are removed by two: ask somebody else."
        )
    if sync.first_approved_by_id:
        return True
    if not sync.mark_first_approved(now, sync.plan_digest, by):
        raise StalePlan("Somebody else decided in this very moment. Nothing was approved by you.")
    audit(now, by, "sync.first_approved", sync, after={"removed": sync.removed, "reason": reason})
    return False


def take_back(sync: Sync, *, by: Staff, now: datetime | None = None) -> None:
    """Take back the approval of a plan that waits for its hour: it waits for a decision again. Raises
    DecisionRefused."""
    moment = now or timezone.now()
    with transaction.atomic():
        hold(sync.district_id)
        until = sync.go_live_at
        if not sync.mark_unapproved(moment):
            raise DecisionRefused("This sync does not wait for its hour any more.")
        about = {"go_live_at": until.isoformat()} if until else {}
        audit(moment, by, "sync.approval_taken_back", sync, before=about)


def go_live_now(sync: Sync, *, by: Staff, now: datetime | None = None) -> None:
    """Let a plan that waits for its hour be applied at once. Raises DecisionRefused."""
    moment = now or timezone.now()
    with transaction.atomic():
        until = sync.go_live_at
        if not sync.go_live_now():
            raise DecisionRefused("This sync does not wait for its hour any more.")
        about = {"go_live_at": until.isoformat()} if until else {}
        audit(moment, by, "sync.hurried", sync, before=about)


def decline(sync: Sync, *, by: Staff, reason: str, now: datetime | None = None) -> None:
    """Keep the roster as it is."""
    moment = now or timezone.now()
    with transaction.atomic():
        hold(sync.district_id)  # first, as in `approve`: no deadlock
        if not sync.mark_declined(moment, by, reason):
            raise DecisionRefused("This sync is not waiting for a decision any more.")
        audit(moment, by, "sync.declined", sync, after={"reason": reason})


def retry(sync: Sync, *, by: Staff, now: datetime | None = None) -> Sync:
    """Check the same file again, by the settings as they are now: of one that waits for a decision in its place, of a
    failed or rejected sync as a new one of the same delivery, of a dry run as another dry run."""
    if sync.dry_run:
        return dry_run_again(sync, by=by, now=now)
    moment = now or timezone.now()
    waits = sync.status in Sync.WAITING
    if sync.delivery is None or not (waits or sync.status in Sync.STUCK):
        raise DecisionRefused("Only a sync that waits, failed or was refused, or a dry run, can be checked again.")
    if sync.delivery.forgotten_at:
        raise DecisionRefused("The file is not kept any more. Ask the district to send it again.")
    if not may_check_again(sync):
        raise DecisionRefused("A newer delivery has come since; look at that one.")
    with transaction.atomic():
        hold(sync.district_id)
        if waits:
            plan = sync.plan_digest
            if not sync.mark_stale(moment):
                raise DecisionRefused("Somebody else decided in this very moment. Nothing was done by you.")
            audit(moment, by, "sync.retried", sync, before={"plan": plan})
            return sync
        again = Sync.objects.create(
            district=sync.district,
            delivery=sync.delivery,
            received_at=moment,
            status_since=moment,
            additions_only=sync.additions_only,
            removals_wait=sync.removals_wait,
            set_aside=sync.set_aside,
            speaks_for=sync.speaks_for,
        )
        audit(moment, by, "sync.retried", again, before={"sync": sync.pk})
    return again


def dry_run_again(sync: Sync, *, by: Staff, for_real: bool = False, now: datetime | None = None) -> Sync:
    """The file of a dry run once more, against the roster and by the settings as they are now: as another dry run or,
    `for_real`, to be decided upon like any other delivery."""
    moment = now or timezone.now()
    if sync.delivery is None or not (sync.dry_run and sync.ended):
        raise DecisionRefused("Only the file of a dry run that is over can be looked at once more.")
    if sync.delivery.forgotten_at:
        raise DecisionRefused("The file is not kept any more. Ask the district to send it again.")
    with transaction.atomic():
        district = hold(sync.district_id)
        if for_real and newer_has_come(sync):
            raise DecisionRefused("A newer delivery has come since. Ask the district for the file of today.")
        still_to_come = sync.as_if_on is not None and sync.as_if_on > district.local_date(moment)
        made = Sync.objects.create(
            district=district,
            delivery=sync.delivery,
            received_at=moment,
            status_since=moment,
            additions_only=sync.additions_only,
            speaks_for=sync.speaks_for,
            dry_run=not for_real,
            as_if_on=sync.as_if_on if still_to_come and not for_real else None,
        )
        audit(moment, by, "sync.for_real" if for_real else "sync.retried", made, before={"sync": sync.pk})
    return made


#: What of a district's settings a check and its judgement depend on.
_CHECKED_BY = frozenset(
    (
        "hold_limits",
        "mappings",
        "column_names",
        "rule_overrides",
        "not_kept",
        "encoding",
        "products",
        "time_zone",
        "keeps_ids_by_itself",
    )
)


def settings_changed(sync: Sync) -> bool:
    """Whether the settings that the file was checked by have changed since the sync came to rest."""
    if sync.kept_ids_id != sync.district.kept_ids_id:
        return True
    since = AuditEvent.objects.filter(
        district=sync.district_id, action__in=READ_OTHERWISE, at__gte=sync.status_since
    ).values_list("action", "after")
    return any(action != "district.changed" or _CHECKED_BY & set(after) for action, after in since)
