"""The conductor: a delivery's way from bytes to a live roster, and back.

receive -> prepare -> (ready | awaiting review | rejected | unchanged) -> approve -> apply; undo is a sync like any
other
whose target is worked out from an earlier one. Every step claims its row, may be run twice, and leaves a state that
somebody can see. Roster values are never logged nor put into errors.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, BinaryIO

import polars as pl
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from rosters import applying, explaining, exporting, holding, normalising, reading, validating
from rosters.diffing import WAS, Difference, column_of, compare, differences, frame_of, plan_digest, rows_of, tally
from rosters.explaining import causes
from rosters.findings import Findings
from rosters.frames import Checked, CheckOptions, Delivered, Frames
from rosters.leases import renewed
from rosters.models import AuditEvent, Delivery, District, Finding, Hold, Org, Snapshot, Sync, Tally
from rosters.oneroster import VERSIONS
from rosters.oneroster.normal import NORMAL, REFERENCES, TABLES
from rosters.oneroster.plain import listed
from rosters.reading.lookup import Damaged, lines_with
from rosters.storing import Store, StoredFrames
from rosters.validating.cells import newest_change

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

logger = logging.getLogger(__name__)

PLACES_KEPT = 10
TALLIES_KEPT = 20_000
PAST_KEPT = 400
BEAT_SECONDS = 5.0
LOST_AFTER = timedelta(seconds=60)
DRAFTS_KEPT = timedelta(days=1)


class DecisionRefused(Exception):
    """A decision that cannot be taken; the message says why and what to do."""


class StalePlan(DecisionRefused):
    """The roster or the plan moved since it was read. Nothing was decided; the plan is made anew."""


class NotApprovable(DecisionRefused):
    """A hold that no person may overrule."""


class ClaimLost(Exception):
    """Another worker has this sync now; this one stops quietly."""


def store() -> Store:
    return Store(settings.PORTAL_DATA_DIR)


# ----------------------------------------------------------------------------------------------------------------
# receiving


def receive(
    district: District,
    source: Path | BinaryIO,
    *,
    origin: str,
    name: str,
    by: Staff | None = None,
    now: datetime | None = None,
    additions_only: bool = False,
    dry_run: bool = False,
) -> Sync:
    """Keep the bytes, then say so: the delivery is safe on disk before this returns. Older syncs of the district that
    still wait are superseded; the caller enqueues the preparation. With `additions_only` it will remove nothing, with
    `dry_run` it only says what it would do, and supersedes nothing."""
    moment = now or timezone.now()
    sha256, size = store().keep_original(district.pk, source)
    with transaction.atomic():
        delivery = Delivery.objects.create(
            district=district, sha256=sha256, size=size, name=name, origin=origin, received_at=moment, received_by=by
        )
        sync = Sync.objects.create(
            district=district,
            delivery=delivery,
            received_at=moment,
            status_since=moment,
            additions_only=additions_only,
            dry_run=dry_run,
        )
        received = {"sha256": sha256, "size": size, "origin": origin, "additions_only": additions_only}
        _audit(moment, by, "delivery.received", sync, after={**received, "dry_run": dry_run})
        if not dry_run:
            _supersede_older(sync, moment)
    return sync


def _supersede_older(sync: Sync, now: datetime) -> None:
    """A newer delivery takes the place of those that still wait; what is being written is left alone."""
    older = Sync.objects.filter(district=sync.district_id, received_at__lte=sync.received_at, undoes=None).exclude(
        pk=sync.pk
    )
    for waiting in older.filter(status__in=["received", "ready", "awaiting_review"]):
        if waiting.mark_superseded(now):
            _audit(now, None, "sync.superseded", waiting, after={"by": sync.pk})


# ----------------------------------------------------------------------------------------------------------------
# preparing


class _Work:
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


def prepare(
    sync_id: int, *, now: datetime | None = None, progress: Callable[[str, float, int], None] | None = None
) -> Sync | None:
    """Read, check, compare and judge a received sync. None if another worker has it or it is past that.

    A fault that may pass puts it back for another try; after `Sync.MAX_ATTEMPTS` it has failed, visibly.
    """
    sync = Sync.with_dry_runs.select_related("district__snapshot", "delivery", "undoes").get(pk=sync_id)
    if not sync.start_preparing(timezone.now()):
        return None
    sync = Sync.with_dry_runs.select_related("district__snapshot", "delivery", "undoes").get(pk=sync_id)
    work = _Work(sync, now, progress)
    with _faults(sync):
        if sync.undoes_id:
            _prepare_undo(work)
        else:
            _prepare_delivery(work)
    _give_way(sync.district_id, work.now)
    sync.refresh_from_db()
    return sync


def _give_way(district_id: int, now: datetime) -> None:
    """A newer delivery that came while this one was prepared could not supersede it then; so it is done now."""
    latest = Sync.objects.filter(district=district_id, undoes=None).order_by("-received_at", "-pk").first()
    if latest is not None:
        with transaction.atomic():
            _supersede_older(latest, now)


@contextmanager
def _faults(sync: Sync) -> Iterator[None]:
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


def _ours(moved: bool) -> None:
    """Within the transaction of a result: without the claim nothing of it is written."""
    if not moved:
        raise ClaimLost


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


def _prepare_delivery(work: _Work) -> None:
    sync, district = work.sync, work.sync.district
    assert sync.delivery is not None
    if made := _same_as_live(sync):
        sync.mark_unchanged(
            work.now,
            "The same file as the one applied last, byte for byte. It may only add, and what it adds is live already."
            if sync.additions_only
            else "The same file as the one that is live, byte for byte.",
            left_out=made.left_out,
            file_rows=made.file_rows,
            seconds=work.seconds,
            **_base_facts(district),
        )
        return
    base = _base_frames(district)
    with work.phase("reading"):
        path = store().original(district.pk, sync.delivery.sha256)
        delivered = reading.read(
            _named(path, sync.delivery.name),
            encoding=district.encoding,
            overrides=district.rule_overrides,
            progress=work.tell,
        )
    with work.phase("comparing"):
        same = _same_content(delivered, base, district)
    if same:
        _finish_unchanged(work, delivered)
        return
    with work.phase("checking"):
        checked = validating.check(delivered, base=base, options=_options(district, work.now), progress=work.tell)
    facts = _delivery_facts(delivered, checked)
    if checked.rejections:
        with work.phase("storing"), transaction.atomic():
            _write_findings(sync, checked.findings)
            reasons = [words for _, words in checked.rejections]
            _ours(
                sync.mark_rejected(
                    work.now,
                    explaining.rejection(reasons, live=district.version > 0),
                    error_code=checked.rejections[0][0],
                    seconds=work.seconds,
                    **facts,
                    **_base_facts(district),
                )
            )
            _audit(
                work.now,
                None,
                "sync.rejected",
                sync,
                after={"code": checked.rejections[0][0], "errors": facts["errors"]},
            )
        return
    with work.phase("comparing"):
        delivered_ids: dict[str, pl.Series] = {
            t: checked.tables[t].frame["sourcedId"] for t in ("orgs", "users") if t in checked.tables
        }
        last_modified = newest_change(checked, work.now)
        target = normalising.target(checked, base, additions_only=sync.additions_only)
        whole = normalising.target(checked, base) if sync.additions_only else target
        left_out = compare(target, whole)
        left_alone = explaining.left_alone(delivered, base)
        findings = checked.findings
        del checked, delivered, whole
        difference = _compared(sync, base, target)
    _finish_preparing(
        work,
        base,
        target,
        difference,
        findings,
        {
            **facts,
            "last_modified": last_modified,
            "left_out": sum(kinds["removed"] for kinds in left_out.counts().values()),
        },
        delivered_ids,
        left_out,
        left_alone,
    )


def _same_content(delivered: Delivered, base: Frames, district: District) -> bool:
    """The delivered rows are those that are live, in whatever order and zip: then every rule has judged them before.

    Only asked where nothing is healed, set aside or left out; the number of rows is looked at first, so that a delivery
    that differs pays next to nothing.
    """
    tables = delivered.tables
    whole = bool(base) and delivered.readable and not delivered.findings.fatal and not district.mappings
    if not whole or _made_live(district) is None or any(t.mode != "bulk" or len(t.unread) for t in tables.values()):
        return False
    rows = {name: facts["rows"] for name, facts in district.snapshot.tables.items()} if district.snapshot else {}
    if any(len(tables[name].frame) != number for name, number in rows.items() if name in tables):
        return False
    frames = normalising.normalise(normalising.taken_as_read(delivered))
    if set(frames) != set(base) or any(len(frame) != rows_of(base, table) for table, frame in frames.items()):
        return False
    return next(differences(base, frames), None) is None


def _compared(sync: Sync, base: StoredFrames, target: dict[str, pl.DataFrame]) -> Difference:
    """What turns `base` into `target`, stored table by table. Of `target`, which is used up, what the rules look at is
    left."""

    def one_after_the_other() -> Iterator[tuple[str, pl.LazyFrame]]:
        for table, rows in differences(base, target):
            yield table, rows
            if table in target:
                target[table] = target[table].select(holding.LOOKED_AT.get(table, ("sourcedId",)))

    return store().draft_difference(sync.district_id, sync.pk, one_after_the_other()).load()


def _finish_unchanged(work: _Work, delivered: Delivered) -> None:
    """Close a delivery whose content is live already; what there is to say of it was said then."""
    sync = work.sync
    made = _made_live(sync.district)
    facts: dict[str, Any] = {
        "oneroster_version": delivered.version,
        "modes": {name: table.mode for name, table in delivered.tables.items()},
        "headers": {name: list(table.header) for name, table in delivered.tables.items()},
        "file_rows": _file_rows(delivered),
        "errors": made.errors if made else 0,
        "warnings": made.warnings if made else 0,
    }
    with transaction.atomic():
        _write_findings(sync, delivered.findings)
        _ours(
            sync.mark_unchanged(
                work.now,
                "Nothing changed: the roster in this file is the one that is live, and so are its findings.",
                target_digest=sync.district.snapshot.digest if sync.district.snapshot else "",
                seconds=work.seconds,
                **facts,
                **_base_facts(sync.district),
            )
        )


def _named(path: Path, name: str) -> Path:
    """The stored original; a single CSV must be read under the name it came with."""
    if not name.lower().endswith(".csv"):
        return path
    link = path.with_name(f"{path.name}.names") / Path(name).name
    if not link.exists():
        link.parent.mkdir(exist_ok=True)
        link.hardlink_to(path)
    return link


def _made_live(district: District, *, by_additions: bool = False) -> Sync | None:
    """The latest delivery whose content is what is live, if it was read whole and no setting has changed since; then
    what was found in it still holds.

    One that only added is live together with what it left out, so its content is not what is live: it counts only
    `by_additions`, for who would only add it again.
    """
    if district.snapshot is None:
        return None
    made = (
        Sync.objects.filter(district=district, status="applied", undoes=None, quarantined=0)
        .filter(target_digest=district.snapshot.digest, additions_only__in=[False, by_additions])
        .select_related("delivery")
        .order_by("-applied_at")
        .first()
    )
    if made is None:
        return None
    changed = AuditEvent.objects.filter(district=district, action="district.changed", at__gte=made.received_at)
    return None if changed.exists() else made


def _same_as_live(sync: Sync) -> Sync | None:
    """The sync that made the roster what it is, if its bytes are the same and this one would take out no more."""
    made = _made_live(sync.district, by_additions=sync.additions_only)
    same = made and made.delivery and sync.delivery and made.delivery.sha256 == sync.delivery.sha256
    return made if same else None


def look(district: District, path: Path, *, now: datetime | None = None) -> tuple[Delivered, Checked]:
    """Read and check what lies at `path` as a delivery of the district would be; nothing is kept, nothing follows."""
    delivered = reading.read(path, encoding=district.encoding, overrides=district.rule_overrides)
    options = _options(district, now or timezone.now())
    return delivered, validating.check(delivered, base=_base_frames(district), options=options)


def _options(district: District, now: datetime) -> CheckOptions:
    """What the district's settings ask of a check."""
    return CheckOptions(
        today=district.local_date(now),
        products=tuple(district.products or ()),
        mappings=district.mappings,
        overrides=district.rule_overrides,
        max_bad_share=holding.limit_of(district.hold_limits, "bad_share"),
        max_bad_rows=int(holding.limit_of(district.hold_limits, "bad_rows")),
    )


def _base_frames(district: District) -> StoredFrames:
    return store().frames(district.pk, district.snapshot.tables if district.snapshot else {})


def _base_facts(district: District) -> dict[str, Any]:
    return {"base": district.snapshot, "base_version": district.version}


def _delivery_facts(delivered: Delivered, checked: Checked) -> dict[str, Any]:
    tables = delivered.tables
    return {
        "oneroster_version": delivered.version,
        "modes": {name: table.mode for name, table in tables.items()},
        "headers": {name: list(table.header) for name, table in tables.items()},
        "file_rows": _file_rows(delivered),
        "errors": checked.findings.count("fatal", "error"),
        "warnings": checked.findings.count("warning"),
        "quarantined": sum(len(t.quarantined) + t.nameless for t in checked.tables.values()),
    }


def _file_rows(delivered: Delivered) -> dict[str, int]:
    return {name: len(table.frame) + len(table.unread) for name, table in delivered.tables.items()}


def _finish_preparing(
    work: _Work,
    base: Frames,
    target: Frames,
    difference: Difference,
    findings: Findings,
    facts: dict[str, Any],
    delivered_ids: Mapping[str, pl.Series],
    left_out: Difference,
    left_alone: str = "",
) -> None:
    sync, district = work.sync, work.sync.district
    base_tables = district.snapshot.tables if district.snapshot else {}
    tables = applying.facts_after(base_tables, difference)
    digest = applying.digest_of(tables)
    if difference.empty and (district.version or not facts.get("modes")):
        with work.phase("storing"), transaction.atomic():
            _write_findings(sync, findings)
            _ours(
                sync.mark_unchanged(
                    work.now,
                    _nothing_changed(sync, facts, left_alone),
                    target_digest=digest,
                    seconds=work.seconds,
                    **facts,
                    **_base_facts(district),
                )
            )
        return
    with work.phase("judging"):
        lines = tally(base, difference)
        situation = _situation(sync, base, target, difference, lines, digest, facts, delivered_ids, left_out)
        holds, year = judged(situation, district.hold_limits)
    counts = difference.counts()
    with work.phase("storing"):
        plan, people = plan_digest(district.version, difference), explaining.people_affected(difference)
        if any(h.code == "WRONG_DISTRICT" for h in holds):
            # Another district's names are kept nowhere that somebody of this one may look.
            lines, findings = lines.filter(pl.col("dimension") == ""), findings.without_places()
            store().draft_difference(district.pk, sync.pk, ())
        stored = store().show_difference(district.pk, sync.pk)
        verdict = _verdict(sync, counts, holds, holding.nothing_lives(base), year)
        totals = {kind: sum(c[kind] for c in counts.values()) for kind in ("added", "updated", "removed")}
        values = {
            **facts,
            **_base_facts(district),
            **totals,
            "target_digest": digest,
            "target_tables": tables,
            "plan_digest": plan,
            "plan_files": stored.seals(),
            "people_affected": people,
        }
    with transaction.atomic():
        with work.phase("storing"):
            _write_findings(sync, findings)
            _write_tallies(sync, lines)
            _write_holds(sync, holds)
        mark = sync.mark_ready if not holds and not sync.undoes_id else sync.mark_awaiting_review
        if sync.dry_run:
            mark = sync.mark_planned
        _ours(mark(work.now, verdict, seconds=work.seconds, **values))


_NO_IDS = pl.DataFrame(schema={"old": pl.String, "new": pl.String})


def judged(
    situation: holding.Situation, limits: Mapping[str, float]
) -> tuple[list[holding.HoldFound], causes.NewYear | None]:
    """The holds of a sync: a cause before what it does not explain, what only follows from it last."""
    holds = holding.judge(situation, limits)
    if year := causes.new_school_year(situation.base, situation.difference, situation.tally):
        holds = [replace(hold, explained=year.explains(hold.code, hold.table)) for hold in holds]
        return sorted(holds, key=lambda hold: hold.explained), year
    named = {
        hold.code for hold in holds if hold.code == "SCHOOL_GONE" or (hold.code, hold.table) == ("ID_CHURN", "users")
    }
    if not named or len(holds) == 1 or not situation.left_out.empty:
        return holds, None
    rest = causes.without(
        situation.difference,
        situation.tally,
        schools=holding.schools_gone(situation) if "SCHOOL_GONE" in named else (),
        changed_ids=holding.changed_ids(situation, "users") if "ID_CHURN" in named else _NO_IDS,
    )
    if rest is None:
        return holds, None
    alone = holding.judge(replace(situation, difference=rest.difference, tally=rest.tally), limits)
    still = {(hold.code, hold.table, hold.dimension) for hold in alone}
    holds = [
        replace(hold, explained=hold.code not in named and (hold.code, hold.table, hold.dimension) not in still)
        for hold in holds
    ]
    return sorted(holds, key=lambda hold: (hold.explained, hold.code not in named)), None


def _nothing_changed(sync: Sync, facts: Mapping[str, Any], left_alone: str) -> str:
    if sync.undoes_id:
        return "Nothing is left to undo: what that sync changed has changed again since, or is needed now."
    if facts.get("left_out"):
        return "Nothing changed: this file brings nothing new, and what it leaves out stays, for it may only add."
    if not facts.get("modes"):
        return "Nothing changed: no file with rows came. What we have stays as it is."
    unused = facts.get("quarantined", 0)
    rows = f"{explaining.counted(unused, 'row')} cannot be used" if unused else ""
    if left_alone or rows:
        but = listed([words for words in (left_alone, rows) if words])
        return f"Nothing changed: what came is live already. But {but}; what we have of that stays as it is."
    return "Nothing changed: the roster in this file is the one that is live."


def _verdict(
    sync: Sync,
    counts: Mapping[str, Mapping[str, int]],
    holds: Sequence[holding.HoldFound],
    first: bool,
    year: causes.NewYear | None,
) -> str:
    if sync.undoes_id:
        return f"Would take back what that sync changed: {explaining.difference_in_words(counts)}"
    if year and holds and all(h.approvable for h in holds):
        others = [h.saw for h in holds if not h.explained]
        words = year.verdict(others, len(holds) - len(others))
    else:
        others = [h.saw for h in holds if not h.explained]
        words = explaining.verdict(counts, others, first=first, following=len(holds) - len(others))
    return words.replace("Held:", "Would be held:", 1) if sync.dry_run else words


def _situation(
    sync: Sync,
    base: Frames,
    target: Frames,
    difference: Difference,
    lines: pl.DataFrame,
    digest: str,
    facts: dict[str, Any],
    delivered_ids: Mapping[str, pl.Series],
    left_out: Difference,
) -> holding.Situation:
    district = sync.district
    applied = district.syncs.filter(status="applied", undoes=None).select_related("delivery")
    previous = applied.order_by("-applied_at").first()
    by_files = all(one is None or not one.delivery or one.delivery.origin != "rest" for one in (sync, previous))
    earlier = district.snapshots.filter(version__lt=district.version).order_by("version")
    orgs = delivered_ids["orgs"] if "orgs" in delivered_ids else column_of(target, "orgs", "sourcedId")
    return holding.Situation(
        base=base,
        target=target,
        difference=difference,
        tally=lines,
        target_digest=digest,
        base_version=district.version,
        modes=facts.get("modes", {}),
        previous_modes=previous.modes if previous else {},
        # What an API sends has no header: its columns are those that happen to be filled.
        headers=facts.get("headers", {}) if by_files else {},
        previous_headers=previous.headers if previous and by_files else {},
        earlier_digests=dict(earlier.values_list("digest", "version")),
        last_modified=facts.get("last_modified", ""),
        delivered_ids=delivered_ids,
        left_out=left_out,
        previous_last_modified=previous.last_modified if previous else "",
        history=_history(district),
        other_districts=lambda: _other_districts(district, orgs),
        is_undo=sync.is_undo,
    )


def _history(district: District) -> list[holding.Past]:
    """The shares of earlier applied syncs, newest first."""
    recent = {
        s.pk: s
        for s in district.syncs.filter(status="applied", undoes=None, base_version__gt=0).order_by("-applied_at")[
            :PAST_KEPT
        ]
    }
    shares: dict[int, dict[str, dict[str, float]]] = {pk: {} for pk in recent}
    for line in Tally.objects.filter(sync__in=list(recent), dimension="", before__gt=0):
        shares[line.sync_id][line.table] = {k: getattr(line, k) / line.before for k in ("removed", "updated")}
    return [holding.Past(s.applied_at.date(), shares[pk]) for pk, s in recent.items() if s.applied_at]


def _other_districts(district: District, orgs: pl.Series) -> dict[str, frozenset[str]]:
    """Name to the sourcedIds of the live orgs, of each other district that could have just these: it has the first."""
    if not len(orgs):
        return {}
    others = District.objects.filter(version__gt=0).exclude(pk=district.pk).values_list("pk", flat=True)
    like = Org.objects.filter(district__in=list(others), sourced_id=orgs.min(), status="active").values("district")
    found: dict[str, set[str]] = {}
    rows = Org.objects.filter(district__in=list(like.values_list("district", flat=True)), status="active")
    for name, sourced_id in rows.values_list("district__name", "sourced_id").iterator():
        found.setdefault(name, set()).add(sourced_id)
    return {name: frozenset(ids) for name, ids in found.items()}


def _write_findings(sync: Sync, findings: Findings) -> None:
    ordered = findings.ordered()
    store().write_places(sync.district_id, sync.pk, findings)
    earlier = Sync.objects.filter(district=sync.district_id, received_at__lt=sync.received_at)
    before = earlier.judged().order_by("-received_at", "-pk").first()
    known = set(before.findings.values_list("code", "file", "column")) if before else None
    sync.findings.all().delete()
    Finding.objects.bulk_create(
        Finding(
            sync=sync,
            position=position,
            code=f.code,
            severity=f.severity,
            file=f.file[:80],
            column=f.column[:255],
            count=f.count,
            message=f.message,
            next_step=f.next_step,
            effect=f.effect,
            places=f.places.head(PLACES_KEPT).to_dicts(),
            is_new=known is not None and (f.code, f.file[:80], f.column[:255]) not in known,
        )
        for position, f in enumerate(ordered)
    )


def _write_tallies(sync: Sync, lines: pl.DataFrame) -> None:
    sync.tallies.all().delete()
    Tally.objects.bulk_create(
        [
            Tally(sync=sync, **{**row, "key": row["key"][:255], "label": row["label"][:255]})
            for row in lines.head(TALLIES_KEPT).to_dicts()
        ],
        batch_size=2000,
    )


def _write_holds(sync: Sync, holds: Sequence[holding.HoldFound]) -> None:
    sync.holds.all().delete()
    Hold.objects.bulk_create(
        Hold(
            sync=sync,
            position=position,
            code=h.code,
            approvable=h.approvable,
            table=h.table,
            dimension=h.dimension,
            key=h.key[:255],
            saw=h.saw,
            usual=h.usual,
            meaning=h.meaning,
            next_step=h.next_step,
            numbers=h.numbers,
            explained=h.explained,
        )
        for position, h in enumerate(holds)
    )


# -----------------------------------------------------------------------------------------------------------------
# deciding


def approve(sync: Sync, *, by: Staff | None, plan_digest: str, reason: str = "", now: datetime | None = None) -> None:
    """Approve exactly the plan that was shown. `by` None is the rule that no hold fired, for districts that apply
    automatically. Raises StalePlan or NotApprovable; then nothing was decided."""
    moment = now or timezone.now()
    stale = False
    with transaction.atomic():
        district = District.objects.select_for_update().get(pk=sync.district_id)
        sync.refresh_from_db()
        if sync.status not in (Sync.Status.READY, Sync.Status.AWAITING_REVIEW):
            raise DecisionRefused(
                f"This sync is not waiting for a decision any more: {sync.get_status_display().lower()}."
            )
        if sync.base_version != district.version:
            _withdraw(sync, moment)
            stale = True
        elif sync.holds.filter(approvable=False).exists():
            raise NotApprovable(
                "A rule that nobody may overrule holds this sync. Decline it and ask for the right file."
            )
        elif by is None and (sync.status != Sync.Status.READY or not sync.may_apply_by_itself):
            raise DecisionRefused("A held sync needs a person, and so does a file that a district sent by hand.")
        elif _newer_was_applied(sync):
            raise DecisionRefused("A newer delivery is live already; an older one never replaces it.")
        elif plan_digest != sync.plan_digest:
            raise StalePlan("The plan has changed since you read it. Nothing was approved; this is the new plan.")
        else:
            if Sync.objects.filter(district=district, status__in=["approved", "applying"]).exists():
                raise DecisionRefused("Another sync of this district is being applied. Wait until it is done.")
            if not sync.mark_approved(moment, plan_digest, by, reason):
                raise StalePlan("Somebody else decided in this very moment. Nothing was approved by you.")
            _audit(
                moment,
                by,
                "sync.approved",
                sync,
                before={"version": district.version},
                after={"added": sync.added, "updated": sync.updated, "removed": sync.removed, "reason": reason},
            )
    if stale:
        raise StalePlan(
            "The roster has moved since this plan was made. Nothing was approved; the plan is being made anew."
        )


def _withdraw(sync: Sync, now: datetime) -> None:
    """The base moved: the plan is to be made anew, unless another worker has the sync or it is past that."""
    plan = sync.plan_digest
    with transaction.atomic():
        if sync.mark_stale(now):
            _audit(now, None, "sync.stale", sync, before={"plan": plan})


def _newer_was_applied(sync: Sync) -> bool:
    return (
        sync.undoes_id is None
        and Sync.objects.filter(
            district=sync.district_id, status="applied", undoes=None, received_at__gt=sync.received_at
        ).exists()
    )


def keyboard() -> Staff:
    """The account in whose name a command decides for the person at the keyboard; it cannot log in."""
    account, made = get_user_model().objects.get_or_create(username="command-line", defaults={"is_active": False})
    if made:
        account.set_unusable_password()
        account.save()
    return account


def decline(sync: Sync, *, by: Staff, reason: str, now: datetime | None = None) -> None:
    """Keep the roster as it is."""
    moment = now or timezone.now()
    with transaction.atomic():
        District.objects.select_for_update().get(pk=sync.district_id)  # first, as in `approve`: no deadlock
        if not sync.mark_declined(moment, by, reason):
            raise DecisionRefused("This sync is not waiting for a decision any more.")
        _audit(moment, by, "sync.declined", sync, after={"reason": reason})


def retry(sync: Sync, *, by: Staff, now: datetime | None = None) -> Sync:
    """Check the same file again, by the settings as they are now: of a failed or rejected sync as a new one of the same
    delivery, of one that waits for a decision in its place."""
    moment = now or timezone.now()
    waits = sync.status in (Sync.Status.READY, Sync.Status.AWAITING_REVIEW)
    if (
        sync.delivery is None
        or sync.dry_run
        or not (waits or sync.status in (sync.Status.FAILED, sync.Status.REJECTED))
    ):
        raise DecisionRefused("Only a sync that waits, failed or was refused can be checked again.")
    newer = Sync.objects.filter(district=sync.district_id, delivery__received_at__gt=sync.delivery.received_at)
    if newer.exists():
        raise DecisionRefused("A newer delivery has come since; look at that one.")
    with transaction.atomic():
        if waits:
            plan = sync.plan_digest
            if not sync.mark_stale(moment):
                raise DecisionRefused("Somebody else decided in this very moment. Nothing was done by you.")
            _audit(moment, by, "sync.retried", sync, before={"plan": plan})
            return sync
        again = Sync.objects.create(
            district=sync.district,
            delivery=sync.delivery,
            received_at=moment,
            status_since=moment,
            additions_only=sync.additions_only,
        )
        _audit(moment, by, "sync.retried", again, before={"sync": sync.pk})
    return again


#: What of a district's settings a check and its judgement depend on.
_CHECKED_BY = frozenset(("hold_limits", "mappings", "rule_overrides", "encoding", "products", "time_zone"))


def settings_changed(sync: Sync) -> bool:
    """Whether the settings that the file was checked by have changed since the sync came to rest."""
    since = AuditEvent.objects.filter(
        district=sync.district_id, action="district.changed", at__gte=sync.status_since
    ).values_list("after", flat=True)
    return any(_CHECKED_BY & set(after) for after in since)


# -----------------------------------------------------------------------------------------------------------------
# applying


@contextmanager
def _kept_alive(work: _Work) -> Iterator[None]:
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


def apply(
    sync_id: int, *, now: datetime | None = None, progress: Callable[[str, float, int], None] | None = None
) -> Sync | None:
    """Write an approved sync. None if another worker has it. If the roster moved, the plan is made anew and the
    decision withdrawn: nothing is ever applied to another version than was shown."""
    sync = Sync.objects.get(pk=sync_id)
    if not sync.start_applying(timezone.now()):
        return None
    sync = Sync.objects.select_related("district", "base", "decided_by").get(pk=sync_id)
    work = _Work(sync, now, progress)
    with _faults(sync), _kept_alive(work):
        started = time.perf_counter()
        plan = store().difference(sync.district_id, sync.pk)
        base = store().frames(sync.district_id, sync.base.tables if sync.base else {})
        work.tell("applying", 0.0, 0, force=True)

        def told(fraction: float, rows: int) -> None:
            work.tell("applying", fraction, rows)
            sync.seconds = {**work.seconds, "applying": round(time.perf_counter() - started, 3)}

        try:
            applying.apply(sync, plan, base, store(), now=work.now, progress=told)
        except applying.Fenced:
            raise ClaimLost from None
        except applying.PlanMoved:
            _withdraw(sync, timezone.now())
        except applying.PlanBroken as broken:
            logger.error("sync %s: %s", sync.pk, broken)
            sync.mark_failed(
                timezone.now(),
                "PLAN-BROKEN",
                f"{broken}. Nothing was written. Check the same file again; tell the developers if it comes back.",
            )
    sync.refresh_from_db()
    return sync


# ------------------------------------------------------------------------------------------------------------------
# undoing


@dataclass(frozen=True, slots=True)
class Conflict:
    """A value that a later sync changed again; an undo leaves it alone."""

    table: str
    sourced_id: str
    column: str


def undo(sync: Sync, *, by: Staff, now: datetime | None = None) -> Sync:
    """A new sync that takes back what `sync` changed; it is prepared, reviewed and applied like any other."""
    moment = now or timezone.now()
    if sync.status != Sync.Status.APPLIED or sync.applied_at is None:
        raise DecisionRefused("Only a sync that was applied can be undone.")
    if sync.applied_at < moment - timedelta(days=settings.UNDO_DAYS):
        raise DecisionRefused(f"It was applied more than {settings.UNDO_DAYS} days ago and can no longer be undone.")
    with transaction.atomic():
        District.objects.select_for_update().get(pk=sync.district_id)
        if sync.undone_by.exclude(status__in=["declined", "superseded", "failed", "unchanged"]).exists():
            raise DecisionRefused("An undo of this sync exists already.")
        undoing = Sync.objects.create(district=sync.district, undoes=sync, received_at=moment, status_since=moment)
        _audit(moment, by, "sync.undo_requested", undoing, before={"sync": sync.pk})
    return undoing


def undo_conflicts(undoing: Sync, limit: int = 200) -> tuple[list[Conflict], int]:
    """What a prepared undo leaves alone because it changed again since: the first `limit`, and how many in all."""
    first, total = store().conflicts(undoing.district_id, undoing.pk, limit)
    return [Conflict(*row) for row in first.iter_rows()], total


def _prepare_undo(work: _Work) -> None:
    sync, district = work.sync, work.sync.district
    assert sync.undoes is not None
    live = _base_frames(district)
    with work.phase("comparing"):
        done = store().difference(district.pk, sync.undoes_id).load()  # type: ignore[arg-type]
        target, conflicts = _taken_back(done, live)
        target = {table: frame for table, frame in target.items() if len(frame)}
        difference = _compared(sync, live, target)
        store().write_conflicts(district.pk, sync.pk, conflicts)
    _finish_preparing(work, live, target, difference, Findings(), {}, {}, Difference())


def _taken_back(done: Difference, live: Frames) -> tuple[dict[str, pl.DataFrame], pl.DataFrame]:
    """The live roster with the changes of `done` taken back value by value; and ``table``, ``sourcedId``, ``column`` of
    what is left alone, because it changed again since or because something that stays hangs on it."""
    target = {table: frame_of(live, table) for table in TABLES}
    conflicts = [pl.DataFrame(schema=dict.fromkeys(("table", "sourcedId", "column"), pl.String))]
    for table, changes in done.tables.items():
        target[table], clashes = _taken_back_table(table, changes, target[table])
        conflicts.append(clashes.select(pl.lit(table).alias("table"), "sourcedId", "column"))
    while clashes_now := [c for t, columns in REFERENCES.items() for c in _held_together(t, columns, target, live)]:
        conflicts += clashes_now
    return target, pl.concat(conflicts).unique(maintain_order=True)


def _held_together(
    table: str, columns: Mapping[str, str], target: dict[str, pl.DataFrame], live: Frames
) -> list[pl.DataFrame]:
    """Put right, in `target`, the records of `table` that taking back has left hanging on nothing: what they refer to
    stays if it is live; else they stay as they are live, or away. Returns what was put right, as conflicts."""
    found = []
    for column, to in columns.items():
        rows = target[table]
        hanging = rows.filter((pl.col(column) != "") & ~pl.col(column).is_in(target[to]["sourcedId"].implode()))
        if hanging.is_empty():
            continue
        names = list(dict.fromkeys(("sourcedId", column)))
        lived = frame_of(live, table).select(names).unique()
        before = frame_of(live, to)
        kept = before.filter(pl.col("sourcedId").is_in(hanging[column].implode()))
        if len(kept):
            target[to] = pl.concat([target[to], kept.select(target[to].columns)])
            found.append(kept.select(pl.lit(to).alias("table"), "sourcedId", pl.lit("sourcedId").alias("column")))
            hanging = hanging.filter(~pl.col(column).is_in(kept["sourcedId"].implode()))
        ours = hanging.select(names).unique().join(lived, on=names, how="anti")["sourcedId"]
        if len(ours):
            as_live = frame_of(live, table).filter(pl.col("sourcedId").is_in(ours.implode()))
            staying = target[table].filter(~pl.col("sourcedId").is_in(ours.implode()))
            target[table] = pl.concat([staying, as_live.select(staying.columns)])
            found.append(
                pl.DataFrame({"sourcedId": ours}).select(
                    pl.lit(table).alias("table"), "sourcedId", pl.lit(column).alias("column")
                )
            )
    return found


def _taken_back_table(table: str, changes: pl.DataFrame, live: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    columns = list(NORMAL[table])
    values = columns[1:]
    clashes: list[pl.DataFrame] = []
    added = changes.filter(pl.col("kind") == "added").select(columns)
    same = live.join(added, on=columns, how="semi", nulls_equal=True) if len(added) else added
    altered = added.join(same, on="sourcedId", how="anti").join(live, on="sourcedId", how="semi").select("sourcedId")
    clashes.append(altered.with_columns(column=pl.lit("sourcedId")))
    frame = (
        live.join(same.select("sourcedId"), on="sourcedId", how="anti", maintain_order="left") if len(same) else live
    )

    updated = changes.filter(pl.col("kind") == "updated")
    if len(updated):
        names = {**{c: f"new.{c}" for c in values}}
        plan = updated.select(
            "sourcedId", *(pl.col(c).alias(f"new.{c}") for c in values), *(f"{WAS}{c}" for c in values)
        )
        frame = frame.join(plan, on="sourcedId", how="left", maintain_order="left")
        for column in values:
            ours = pl.col(f"{WAS}{column}").is_not_null()
            untouched = pl.col(column) == pl.col(names[column])
            clash = frame.filter(ours & ~untouched & (pl.col(column) != pl.col(f"{WAS}{column}"))).select(
                "sourcedId", column=pl.lit(column)
            )
            clashes.append(clash)
            frame = frame.with_columns(
                pl.when(ours & untouched).then(pl.col(f"{WAS}{column}")).otherwise(pl.col(column)).alias(column)
            )
        frame = frame.select(columns)

    removed = changes.filter(pl.col("kind") == "removed").select(columns)
    if len(removed):
        back = removed.join(frame.select("sourcedId"), on="sourcedId", how="anti", maintain_order="left")
        came_again = removed.join(frame, on="sourcedId", how="semi").join(
            frame, on=columns, how="anti", nulls_equal=True
        )
        clashes.append(came_again.select("sourcedId", column=pl.lit("sourcedId")))
        frame = pl.concat([frame.select(columns), back])
    return frame.select(columns), pl.concat(clashes)


# ---------------------------------------------------------------------------------------------------------------
# looking up


def lines_of(sync: Sync, table: str, sourced_id: str) -> dict[str, Any]:
    """Where a record stands in the file of `sync`: ``lines``, each with its ``number``, ``cells`` and ``findings``;
    ``came``: the delivery's origin; ``lost``: why it cannot be looked up, or "". Passwords are left out, and columns
    that no version of the standard has."""
    assert sync.delivery is not None
    answer: dict[str, Any] = {"came": sync.delivery.origin, "lines": [], "lost": ""}
    if sync.delivery.origin == Delivery.Origin.REST:
        return answer
    path, file = store().original(sync.district_id, sync.delivery.sha256), f"{table}.csv"
    try:
        found = lines_with(_named(path, sync.delivery.name), file, sourced_id, encoding=sync.district.encoding)
    except (OSError, Damaged):
        return {**answer, "lost": "The file is not kept any more, or cannot be read."}
    known = [version.tables[table] for version in VERSIONS.values() if table in version.tables]
    standard = {name.lower() for one in known for name in one.header}
    for line in found:
        positions = store().found_at(sync.district_id, sync.pk, line.number)
        cells = [
            (name, cell)
            for name, cell in line.cells
            if name.lower() != "password" and (name.lower() in standard or name.startswith("metadata."))
        ]
        findings = sync.findings.filter(file=file, position__in=positions).order_by("position")
        answer["lines"].append({"number": line.number, "cells": cells, "findings": findings})
    return answer


# ---------------------------------------------------------------------------------------------------------------
# exporting


def export(
    district: District,
    version: str,
    *,
    by: Staff | None,
    without: Collection[str] = (),
    about: Mapping[str, str] = MappingProxyType({}),
) -> tuple[str, IO[bytes]]:
    """The live roster as a zip of OneRoster `version`: what it is called, and a file that is gone when it is closed.
    `about`: what the audit row says beside."""
    assert district.snapshot is not None
    file = tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR)  # noqa: SIM115  # whoever asked closes it
    try:
        exporting.write_zip(file, store().frames(district.pk, district.snapshot.tables), version, without=without)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    after = {"version": district.version, "oneroster": version, **about}
    AuditEvent.objects.create(
        by=by, action="roster.exported", district=district, subject=f"district {district.pk}", after=after
    )
    return f"{district.site_code}-v{district.version}-oneroster-{version}.zip", file


# ---------------------------------------------------------------------------------------------------------------
# recovering


def recover(now: datetime | None = None) -> tuple[list[int], list[int]]:
    """What was left behind by workers that died, or never picked up: (ids to prepare, ids to apply). A sync that was
    tried too often fails instead."""
    moment = now or timezone.now()
    waiting = Sync.objects.awaiting_review().order_by()
    for district_id in waiting.values_list("district_id", flat=True).distinct():
        _give_way(district_id, moment)  # a worker may have died after storing a plan, before it gave way
    prepare_again: list[int] = []
    apply_again: list[int] = []
    left = Sync.with_dry_runs.filter(
        Q(status__in=["preparing", "applying"], claimed_until__lt=moment)
        | Q(status__in=["received", "approved"], status_since__lt=moment - LOST_AFTER)
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
    return prepare_again, apply_again


def tidy(now: datetime | None = None) -> int:
    """Remove what workers that died were about to write, a day after they began; how many files."""
    return store().sweep(((now or timezone.now()) - DRAFTS_KEPT).timestamp())


def _audit(
    now: datetime,
    by: Staff | None,
    action: str,
    sync: Sync,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    AuditEvent.objects.create(
        at=now,
        by=by,
        action=action,
        district_id=sync.district_id,
        sync=sync,
        subject=f"sync {sync.pk}",
        plan_digest=sync.plan_digest,
        before=before or {},
        after=after or {},
    )


__all__ = [
    "ClaimLost",
    "Conflict",
    "DecisionRefused",
    "NotApprovable",
    "Snapshot",
    "StalePlan",
    "apply",
    "approve",
    "decline",
    "export",
    "look",
    "prepare",
    "receive",
    "recover",
    "retry",
    "store",
    "undo",
    "undo_conflicts",
]
