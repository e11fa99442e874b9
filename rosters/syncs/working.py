"""What every step of a sync needs: its claim, its phases and its heartbeat, what a fault means, the audit trail."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import polars as pl
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from rosters.leases import renewed
from rosters.models import AuditEvent, District, Sync
from rosters.recognising import KEPT
from rosters.storing import NAMES, Store, StoredFrames

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

logger = logging.getLogger("rosters.syncs")
BEAT_SECONDS = 5.0


class DecisionRefused(Exception):
    """A decision that cannot be taken; the message says why and what to do."""


def refuse_beside_another(district: District) -> None:
    """Raises DecisionRefused where a sync of the district is approved or being applied: there is one at a time."""
    other = Sync.objects.filter(district=district, status__in=["approved", "applying"]).first()
    if other is not None and other.waits_for_its_hour:
        raise DecisionRefused(
            "Another sync of this district is approved and waits for its hour. Let it go live now, or take its approval"
            " back, and then decide."
        )
    if other is not None:
        raise DecisionRefused("Another sync of this district is being applied. Wait until it is done.")


class StalePlan(DecisionRefused):
    """The roster or the plan moved since it was read. Nothing was decided; the plan is made anew."""


class NotApprovable(DecisionRefused):
    """A hold that no person may overrule."""


class ClaimLost(Exception):
    """Another worker has this sync now; this one stops quietly."""


class Leaves(DecisionRefused):
    """The district leaves, or has left: nothing of it is received or decided any more."""

    def __init__(self) -> None:
        super().__init__("This district leaves us: nothing of it comes in or goes live any more.")


def hold(district_id: int) -> District:
    """The district, whose row is held until the transaction ends, so that nothing of it goes live meanwhile. Raises
    Leaves where it is not here any more."""
    district = District.with_leaving.select_for_update(no_key=True).get(pk=district_id)
    if district.leaving_since:
        raise Leaves
    return district


def store() -> Store:
    return Store(settings.PORTAL_DATA_DIR)


class Work:
    """A claimed sync at work: phases with their seconds, and a heartbeat of one a second."""

    def __init__(self, sync: Sync, now: datetime | None, watch: Callable[[str, float, int], None] | None) -> None:
        self.sync = sync
        self.fixed = now
        self.watch = watch
        self.seconds: dict[str, float] = dict(sync.seconds)
        self._beaten = time.monotonic()
        self.told: tuple[str, float, int] = ("", 0.0, 0)

    @property
    def now(self) -> datetime:
        return self.fixed or timezone.now()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.tell(name, 0.0, 0, force=True)
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - started, 3)

    def tell(self, phase: str, fraction: float, rows: int, *, force: bool = False) -> None:
        self.told = (phase, fraction, rows)
        if self.watch:
            self.watch(phase, fraction, rows)
        if force or time.monotonic() - self._beaten >= 1:
            self._beaten = time.monotonic()
            if not connection.in_atomic_block and not self.sync.beat(timezone.now(), phase, fraction, rows):
                raise ClaimLost


@contextmanager
def faults(sync: Sync) -> Iterator[None]:
    """Faults become states: what may pass is tried again, what is a bug fails with its name. Values never leave."""
    try:
        yield
    except ClaimLost:
        logger.info("sync %s: another worker has it", sync.pk)
    except (OperationalError, InterfaceError, OSError) as fault:
        logger.warning("sync %s: %s", sync.pk, type(fault).__name__)
        _try_again(sync, type(fault).__name__)
    except (Exception, pl.exceptions.PanicException) as fault:  # a panic of polars is no Exception
        logger.error("sync %s: %s", sync.pk, type(fault).__name__, exc_info=settings.DEBUG or settings.RAISE_FAULTS)
        sync.mark_failed(
            timezone.now(),
            "PORTAL-FAULT",
            f"The portal could not finish this ({type(fault).__name__}). Nothing was written. "
            "Tell the developers the number of this sync.",
        )
        if settings.RAISE_FAULTS:
            raise


def _try_again(sync: Sync, fault: str) -> None:
    moment = timezone.now()
    if sync.attempts >= Sync.MAX_ATTEMPTS:
        sync.mark_failed(
            moment,
            "GAVE-UP",
            f"Tried {sync.attempts} times ({fault}). Nothing was written. Check disk and database, then try again.",
        )
    else:
        sync.mark_for_retry(moment)


def ours(moved: bool) -> None:
    """Within the transaction of a result: without the claim nothing of it is written."""
    if not moved:
        raise ClaimLost


@contextmanager
def kept_alive(work: Work) -> Iterator[None]:
    """Renew the lease while one long transaction runs, from a thread with a connection of its own.

    On SQLite nobody else could write meanwhile: neither this thread nor a worker who wants to take over.
    """
    if connection.vendor == "sqlite":
        yield
        return

    def renew() -> None:
        work.sync.beat(timezone.now(), *work.told)

    with renewed(renew, every=BEAT_SECONDS, name=f"lease of sync {work.sync.pk}"):
        yield


def base_frames(district: District) -> StoredFrames:
    return store().frames(district.pk, district.snapshot.tables if district.snapshot else {})


def base_facts(district: District) -> dict[str, Any]:
    return {"base": district.snapshot, "base_version": district.version, "kept_ids": district.kept_ids}


def ids_of(of: District | Sync) -> pl.DataFrame:
    """The ids that are kept for a district, or were when a sync was read (`rosters.recognising.KEPT`)."""
    return scan_ids(of).collect()


def scan_ids(of: District | Sync) -> pl.LazyFrame:
    """The same, of which no more is read than what is selected. A list whose file is gone is an error, never none."""
    district_id = of.pk if isinstance(of, District) else of.district_id
    if of.kept_ids is None:
        return pl.LazyFrame(schema=KEPT)
    return store().kept_ids(district_id, of.kept_ids.digest)


#: As a sync says that it is about all of a district.
_EVERYTHING: Final[Mapping[str, Any]] = MappingProxyType({})
#: What is on the record of a district when what it sends may be read otherwise than before.
READ_OTHERWISE: Final = ("district.changed", "district.ids_kept", "district.ids_let_go")


def made_live(
    district: District, *, by_additions: bool = False, speaks_for: Mapping[str, Any] = _EVERYTHING
) -> Sync | None:
    """The latest delivery whose content is what is live, if it was read whole and no setting has changed since; then
    what was found in it still holds.

    One that only added is live together with what it left out, so its content is not what is live: it counts only
    `by_additions`, for who would only add it again. One that spoke for some schools counts for who speaks for the same;
    of one of which a part was set aside, the content never is what is live.
    """
    if district.snapshot is None:
        return None
    made = (
        Sync.objects.filter(district=district, status="applied", undoes=None, quarantined=0)
        .filter(target_digest=district.snapshot.digest, additions_only__in=[False, by_additions])
        .filter(speaks_for=dict(speaks_for), set_aside=[])
        .select_related("delivery")
        .order_by("-applied_at")
        .first()
    )
    if made is None:
        return None
    changed = AuditEvent.objects.filter(district=district, action__in=READ_OTHERWISE, at__gte=made.received_at)
    return None if changed.exists() else made


def named(path: Path, name: str) -> Path:
    """The stored original; a single CSV must be read under the name it came with."""
    if not name.lower().endswith(".csv"):
        return path
    link = path.with_name(f"{path.name}{NAMES}") / Path(name).name
    if not link.exists():
        link.parent.mkdir(exist_ok=True)
        link.hardlink_to(path)
    return link


def audit(
    now: datetime,
    by: Staff | None,
    action: str,
    sync: Sync,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Write down what happened to a sync."""
    _write_down(now, by, action, f"sync {sync.pk}", sync.district_id, sync, before, after)


def audit_district(
    now: datetime,
    by: Staff | None,
    action: str,
    district: District,
    *,
    sync: Sync | None = None,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """The same of a district; `sync`: where it was decided."""
    _write_down(now, by, action, f"district {district.pk}", district.pk, sync, before, after)


def _write_down(
    now: datetime,
    by: Staff | None,
    action: str,
    subject: str,
    district_id: int,
    sync: Sync | None,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
) -> None:
    AuditEvent.objects.create(
        at=now,
        by=by,
        action=action,
        district_id=district_id,
        sync=sync,
        subject=subject,
        plan_digest=sync.plan_digest if sync else "",
        before=before or {},
        after=after or {},
    )
