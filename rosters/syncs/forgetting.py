"""What a district sent us is not kept for ever: what is deleted when its time is over, and what of it stays.

Two clocks, each of which a district can have shorter than the usual (`District.history_kept`, `left_kept`):

- **history**: originals, differences, the places of findings, versions that are no longer live. What happened stays
  told: the rows of deliveries, syncs and versions, their numbers, hashes, verdicts and holds, the audit trail.
- **what left**: the live roster's own records that are `tobedeleted`. Earlier versions and differences still have them,
  as long as history is kept.

Never touched: what is live, what a sync that has not ended is made of, what the next undo needs. First the rows say
that nothing of theirs is kept, then the files go: in two transactions that hold the district's row, in neither of which
anything is going live. What is interrupted between them is done the next day.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from rosters import serving
from rosters.applying import LEAST_DAYS, forget_left, left_before
from rosters.models import Delivery, District, Finding, KeptIds, Snapshot, Sync
from rosters.syncs.working import audit_district, store

#: What came so lately may belong to a delivery whose row is only being written.
_YOUNG: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was deleted of a district, or would be: ``history_before`` and ``left_before`` are the ends of its time."""

    history_before: datetime
    left_before: datetime
    deliveries: int = 0
    syncs: int = 0
    versions: int = 0
    records: dict[str, int] = field(default_factory=dict)
    original_bytes: int = 0

    def __bool__(self) -> bool:
        return bool(self.deliveries or self.syncs or self.versions or self.records)

    def as_facts(self) -> dict[str, Any]:
        """For the audit trail: numbers and days."""
        told = {"originals": self.deliveries, "differences": self.syncs, "versions": self.versions}
        facts: dict[str, Any] = {name: count for name, count in told.items() if count}
        if facts:
            facts["history before"] = self.history_before.date().isoformat()
        if self.original_bytes:
            facts["bytes of originals"] = self.original_bytes
        if self.records:
            facts |= self.records | {"left before": self.left_before.date().isoformat()}
        return facts


def least_days() -> tuple[int, int]:
    """The shortest time that a district may have: of history, in which everything can be undone; of what left."""
    return settings.UNDO_DAYS, LEAST_DAYS


def to_forget(district: District, now: datetime | None = None) -> Forgotten:
    """What `forget` would delete at `now`, worked out without deleting anything. Of originals that are in the store
    under several deliveries, each is counted."""
    due = _Due(district, now or timezone.now())
    return Forgotten(
        due.history_before,
        due.left_before,
        deliveries=due.deliveries().count(),
        syncs=due.syncs().count(),
        versions=due.versions().count(),
        records=left_before(district.pk, due.left_before) if due.left() > district.left_forgotten else {},
    )


def districts_with_something_to_forget(now: datetime | None = None) -> list[int]:
    """Ids of the districts of which something is due: a few questions each, none of the live roster."""
    moment = now or timezone.now()
    return [district.pk for district in District.with_leaving.order_by("pk") if _Due(district, moment)]


def forget(district_id: int, now: datetime | None = None) -> Forgotten | None:
    """Delete of a district what its time is over for. None while something of it goes live: then the next day."""
    moment = now or timezone.now()
    with transaction.atomic():
        district = _held(district_id)
        if district is None:
            return None
        done = _say_so(_Due(district, moment))
    _delete_files(district_id, moment)
    if done.records:  # now, so that nobody who asks has to wait
        district.refresh_from_db()
        serving.roster(store(), district, serving.edition_of(district, district.version))
    return done


def _held(district_id: int) -> District | None:
    """The district, whose row is held until the transaction ends; None while something of it goes live."""
    district = District.with_leaving.select_for_update(no_key=True).get(pk=district_id)
    return None if Sync.objects.filter(district=district, status__in=["approved", "applying"]).exists() else district


def _say_so(due: _Due) -> Forgotten:
    """Delete the records that left, and mark the rows of which nothing is kept any more."""
    district, mark = due.district, {"forgotten_at": due.now}
    values: dict[str, Any] = {}
    records = {}
    if (left := due.left()) > district.left_forgotten:
        records = forget_left(district.pk, due.left_before)
        values["left_forgotten"] = left
    going = list(due.deliveries().values_list("pk", "sha256", "size"))
    syncs = list(due.syncs().values_list("pk", flat=True))
    done = Forgotten(
        due.history_before,
        due.left_before,
        versions=Snapshot.objects.filter(pk__in=list(due.versions().values_list("pk", flat=True))).update(**mark),
        syncs=Sync.with_dry_runs.filter(pk__in=syncs).update(**mark),
        deliveries=Delivery.objects.filter(pk__in=[pk for pk, _, _ in going]).update(**mark),
        original_bytes=sum({sha256: size for _, sha256, size in going}.values()),
        records=records,
    )
    Finding.objects.filter(sync__in=syncs).exclude(places=[]).update(places=[])
    if done:
        values["forgetting_since"] = district.forgetting_since or due.now
        audit_district(due.now, None, "district.forgot", district, after=done.as_facts())
    if values:
        District.with_leaving.filter(pk=district.pk).update(**values)
    return done


def _delete_files(district_id: int, now: datetime) -> None:
    """Delete what rows say is not kept: those that say so since `District.forgetting_since`."""
    with transaction.atomic():
        district = _held(district_id)
        if district is None or district.forgetting_since is None:
            return
        since = {"district": district, "forgotten_at__gte": district.forgetting_since}
        for pk in Sync.with_dry_runs.filter(**since).values_list("pk", flat=True):
            store().forget_sync(district.pk, pk)
        versions = Snapshot.objects.filter(district=district)
        kept = {
            each
            for tables in versions.filter(forgotten_at=None).values_list("tables", flat=True)
            for each in _files(tables)
        }
        gone = list(versions.filter(**since))
        store().forget_snapshot_tables(district.pk, {each for one in gone for each in _files(one.tables)} - kept)
        serving.forget(store(), district, {one.version for one in gone})
        _forget_lists(district, now)
        deliveries = Delivery.objects.filter(district=district)
        needed = set(deliveries.filter(forgotten_at=None).values_list("sha256", flat=True))
        for sha256 in set(deliveries.filter(**since).values_list("sha256", flat=True)) - needed:
            store().forget_original(district.pk, sha256, since=(now - _YOUNG).timestamp())
        District.with_leaving.filter(pk=district.pk).update(forgetting_since=None)


def _forget_lists(district: District, now: datetime) -> None:
    """Delete the lists of ids that do not count and by which no sync was read whose history is kept."""
    read_by = Sync.with_dry_runs.filter(district=district, forgotten_at=None).exclude(kept_ids=None)
    lists = KeptIds.objects.filter(district=district, forgotten_at=None, made_at__lt=now - _YOUNG)
    idle = lists.exclude(pk=district.kept_ids_id or 0).exclude(pk__in=read_by.values("kept_ids"))
    gone = dict(idle.values_list("pk", "digest"))
    KeptIds.objects.filter(pk__in=list(gone)).update(forgotten_at=now)
    kept = set(KeptIds.objects.filter(district=district, forgotten_at=None).values_list("digest", flat=True))
    for digest in set(gone.values()) - kept:
        store().forget_ids(district.pk, digest)


def _files(tables: dict[str, dict[str, Any]]) -> set[tuple[str, str]]:
    return {(table, str(facts["digest"])) for table, facts in tables.items()}


class _Due:
    """What of a district is due at a moment."""

    def __init__(self, district: District, now: datetime) -> None:
        self.district, self.now = district, now
        self.history_before = now - max(district.history_kept, timedelta(days=settings.UNDO_DAYS))
        self.left_before = now - max(district.left_kept, timedelta(days=LEAST_DAYS))

    def __bool__(self) -> bool:
        of_history = (self.deliveries(), self.syncs(), self.versions())
        if self.district.forgetting_since:
            return True
        return self.left() > self.district.left_forgotten or any(each.exists() for each in of_history)

    def deliveries(self) -> QuerySet[Delivery]:
        """Deliveries that came before the history that is kept, unless a sync of theirs has not ended."""
        found = Delivery.objects.filter(district=self.district, forgotten_at=None, received_at__lt=self.history_before)
        return found.exclude(pk__in=self._unfinished().exclude(delivery=None).values("delivery"))

    def syncs(self) -> QuerySet[Sync]:
        """Syncs, also dry runs, that ended before, unless one that takes them back has not ended."""
        ended = Sync.with_dry_runs.filter(district=self.district, forgotten_at=None, status__in=Sync.ENDED)
        ended = ended.filter(status_since__lt=self.history_before)
        return ended.exclude(pk__in=self._unfinished().exclude(undoes=None).values("undoes"))

    def versions(self) -> QuerySet[Snapshot]:
        """Versions whose time as the live one ended before, unless a sync that has not ended is made against them."""
        next_one = Snapshot.objects.filter(
            district=OuterRef("district"), version=OuterRef("version") + 1, made_at__lt=self.history_before
        )
        found = Snapshot.objects.filter(Exists(next_one), district=self.district, forgotten_at=None)
        return found.exclude(pk__in=self._unfinished().exclude(base=None).values("base"))

    def left(self) -> int:
        """The last version that took something out of the roster before what left is still kept; 0 for none."""
        took = Sync.objects.filter(district=self.district, status=Sync.Status.APPLIED, removed__gt=0)
        last = took.filter(result__made_at__lt=self.left_before).order_by("-result__version")
        return last.values_list("result__version", flat=True).first() or 0

    def _unfinished(self) -> QuerySet[Sync]:
        return Sync.with_dry_runs.filter(district=self.district).unfinished()
