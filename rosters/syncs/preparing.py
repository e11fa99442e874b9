"""A delivery read, checked and compared, or seen to be live already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
from django.db import transaction
from django.utils import timezone

from rosters import explaining, holding, normalising, reading, recognising, validating
from rosters.diffing import compare, differences
from rosters.explaining.moves import Move, grade_moves
from rosters.findings import Findings
from rosters.frames import Checked, CheckOptions, Delivered, Frames, Progress, rows_of, silent
from rosters.models import District, Sync
from rosters.scope import EVERYTHING, Scope, within
from rosters.storing import Store
from rosters.syncs.judging import compared, finish_preparing, foreseen, mark_anothers, write_findings
from rosters.syncs.ordering import give_way
from rosters.syncs.rekeying import keep_few
from rosters.syncs.undoing import prepare_undo
from rosters.syncs.working import Work, audit, base_facts, base_frames, faults, ids_of, made_live, named, ours, store
from rosters.validating.cells import newest_change


def prepare(
    sync_id: int, *, now: datetime | None = None, progress: Callable[[str, float, int], None] | None = None
) -> Sync | None:
    """Read, check, compare and judge a received sync. None if another worker has it or it is past that.

    A fault that may pass puts it back for another try; after `Sync.MAX_ATTEMPTS` it has failed, visibly.
    """
    sync = Sync.with_dry_runs.select_related("district__snapshot", "delivery", "undoes").get(pk=sync_id)
    if not sync.start_preparing(timezone.now()):
        return None
    sync = Sync.with_dry_runs.select_related("district__snapshot", "district__kept_ids", "delivery", "undoes").get(
        pk=sync_id
    )
    work = Work(sync, now, progress)
    with faults(sync):
        _let_go_of_the_old_plan(sync)
        if sync.undoes_id:
            prepare_undo(work)
        else:
            _prepare_delivery(work)
    give_way(sync.district_id, work.now)
    sync.refresh_from_db()
    return sync


def _let_go_of_the_old_plan(sync: Sync) -> None:
    """What was worked out before is not what the sync would do now, however that ends; but what seemed to be another
    district's goes on seeming so until it was looked at again."""
    if not sync.verdict:
        return
    with transaction.atomic():
        sync.tallies.all().delete()
        sync.holds.exclude(code="WRONG_DISTRICT").delete()
        sync.clear_numbers()


def _prepare_delivery(work: Work) -> None:
    sync, district = work.sync, work.sync.district
    assert sync.delivery is not None
    if not sync.as_if_on and (made := _same_as_live(sync)):
        sync.mark_unchanged(
            work.now,
            "The same file as the one applied last, byte for byte. It may only add, and what it adds is live already."
            if sync.additions_only
            else "The same file as the one that is live, byte for byte.",
            left_out=made.left_out,
            file_rows=made.file_rows,
            modes=made.modes,
            oneroster_version=made.oneroster_version,
            seconds=work.seconds,
            **base_facts(district),
        )
        return
    base, scope = base_frames(district), Scope.from_json(sync.speaks_for)
    kept = ids_of(district)
    with work.phase("reading"):
        path = store().original(district.pk, sync.delivery.sha256)
        delivered = within(_read(district, named(path, sync.delivery.name), kept, progress=work.tell), base, scope)
    with work.phase("comparing"):
        same = not scope and not sync.as_if_on and _same_content(delivered, base, district)
    if same:
        _finish_unchanged(work, delivered)
        return
    with work.phase("checking"):
        today = sync.as_if_on or district.local_date(work.now)
        checked = _checked(delivered, base, district, kept, today, progress=work.tell)
    facts = _delivery_facts(delivered, checked)
    if checked.rejections:
        with work.phase("storing"), transaction.atomic():
            findings = checked.findings.without_values(district.not_kept)
            strange = mark_anothers(sync, base, checked, facts["modes"])
            write_findings(sync, findings.without_places() if strange else findings)
            reasons = [words for _, words in checked.rejections]
            ours(
                sync.mark_rejected(
                    work.now,
                    explaining.rejection(reasons, live=district.version > 0),
                    error_code=checked.rejections[0][0],
                    seconds=work.seconds,
                    **facts,
                    **base_facts(district),
                )
            )
            audit(
                work.now,
                None,
                "sync.rejected",
                sync,
                after={"code": checked.rejections[0][0], "errors": facts["errors"]},
            )
        return
    with work.phase("comparing"):
        delivered_ids = _ids_of(checked)
        last_modified = newest_change(checked, work.now)
        target = normalising.target(checked, base, additions_only=sync.additions_only)
        target = normalising.without(target, district.not_kept)
        whole = target
        if sync.additions_only:
            whole = normalising.without(normalising.target(checked, base), district.not_kept)
        left_out = compare(target, whole)
        left_alone, unusable = explaining.left_alone(delivered, base), delivered.unusable
        untouched, apart = delivered.untouched, delivered.apart
        findings = checked.findings.without_values(district.not_kept)
        del checked, delivered, whole
        difference = compared(sync, base, target)
    sync.oneroster_version = facts["oneroster_version"]
    if keep_few(sync, base, difference, work.now):
        _prepare_delivery(work)
        return
    finish_preparing(
        work,
        base,
        target,
        difference,
        findings,
        {
            **facts,
            "last_modified": last_modified,
            "untouched": untouched,
            "left_out": sum(kinds["removed"] for kinds in left_out.counts.values()),
        },
        delivered_ids,
        left_out,
        left_alone,
        unusable,
        apart,
    )


def _same_content(delivered: Delivered, base: Frames, district: District) -> bool:
    """The delivered rows are those that are live, in whatever order and zip: then every rule has judged them before.

    Only asked where nothing is healed, set aside or left out; the number of rows is looked at first, so that a delivery
    that differs pays next to nothing.
    """
    tables = delivered.tables
    whole = bool(base) and delivered.readable and not delivered.findings.fatal and not district.mappings
    if (
        not whole
        or made_live(district) is None
        or any(t.mode != "bulk" or len(t.unread) + t.set_aside for t in tables.values())
    ):
        return False
    rows = {name: facts["rows"] for name, facts in district.snapshot.tables.items()} if district.snapshot else {}
    if any(len(tables[name].frame) != number for name, number in rows.items() if name in tables):
        return False
    frames = normalising.normalise(normalising.taken_as_read(delivered))
    frames = normalising.without(frames, district.not_kept)
    if set(frames) != set(base) or any(len(frame) != rows_of(base, table) for table, frame in frames.items()):
        return False
    return next(differences(base, frames), None) is None


def _finish_unchanged(work: Work, delivered: Delivered) -> None:
    """Close a delivery whose content is live already; what there is to say of it was said then."""
    sync = work.sync
    made = made_live(sync.district)
    facts: dict[str, Any] = {
        "oneroster_version": delivered.version,
        "modes": {name: table.mode for name, table in delivered.tables.items()},
        "headers": {name: list(table.header) for name, table in delivered.tables.items()},
        "file_rows": _file_rows(delivered),
        "errors": made.errors if made else 0,
        "warnings": made.warnings if made else 0,
    }
    with transaction.atomic():
        write_findings(sync, delivered.findings.without_values(sync.district.not_kept))
        ours(
            sync.mark_unchanged(
                work.now,
                "Nothing changed: the roster in this file is the one that is live, and so are its findings.",
                target_digest=sync.district.snapshot.digest if sync.district.snapshot else "",
                seconds=work.seconds,
                **facts,
                **base_facts(sync.district),
            )
        )


def _same_as_live(sync: Sync) -> Sync | None:
    """The sync that made the roster what it is, if its bytes are the same and this one would take out no more."""
    made = made_live(sync.district, by_additions=sync.additions_only, speaks_for=sync.speaks_for)
    same = made and made.delivery and sync.delivery and made.delivery.sha256 == sync.delivery.sha256
    return made if same else None


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a delivery would do: the `counts` of its difference (table -> kind -> number), the `holds` it would wait
    for, both in a sentence; where it is the turn of a year, a sentence about that and the grade moves."""

    counts: Mapping[str, Mapping[str, int]]
    holds: list[holding.HoldFound]
    words: str
    year: str
    moves: list[Move]


def look(
    district: District, path: Path, *, as_if_on: date | None = None, now: datetime | None = None
) -> tuple[Delivered, Checked]:
    """Read and check what lies at `path` as a delivery of the district would be, today or `as_if_on` another day;
    nothing is kept, nothing follows."""
    kept = ids_of(district)
    delivered = _read(district, path, kept)
    today = as_if_on or district.local_date(now or timezone.now())
    return delivered, _checked(delivered, base_frames(district), district, kept, today)


def look_at_rows(
    district: District, path: Path, *, as_if_on: date | None = None, speaks_for: Scope = EVERYTHING
) -> tuple[Delivered, Findings]:
    """The rows at `path` as they stand in the file, and what `look` finds in those that the delivery speaks for."""
    kept, base = ids_of(district), base_frames(district)
    sent = reading.read(
        path, encoding=district.encoding, overrides=district.rule_overrides, column_names=district.column_names
    )
    delivered = within(recognising.under_kept_ids(sent, kept), base, speaks_for)
    today = as_if_on or district.local_date(timezone.now())
    return sent, _checked(delivered, base, district, kept, today).findings


def look_at_rows_again(sync: Sync) -> tuple[Delivered, Findings]:
    """The same of a delivery whose original is kept, as of the day on which it came, by the settings as they are."""
    assert sync.delivery is not None
    district, came = sync.district, sync.delivery
    path = named(store().original(sync.district_id, came.sha256), came.name)
    day = sync.as_if_on or district.local_date(came.received_at)
    return look_at_rows(district, path, as_if_on=day, speaks_for=Scope.from_json(sync.speaks_for))


def outlook(
    district: District, delivered: Delivered, checked: Checked, folder: Path, *, now: datetime | None = None
) -> Outlook | None:
    """What a delivery would change that was read and checked (`look`), and what it would be held for. The difference
    lies in `folder` meanwhile; nothing is kept. None where the delivery would be refused."""
    if checked.rejections:
        return None
    sync = Sync(district=district, received_at=now or timezone.now(), dry_run=True)
    base = base_frames(district)
    ids = _ids_of(checked)
    facts = {**_delivery_facts(delivered, checked), "last_modified": newest_change(checked, sync.received_at)}
    target = normalising.without(normalising.target(checked, base), district.not_kept)
    difference = compared(sync, base, target, Store(folder))
    holds, words, year = foreseen(sync, base, target, difference, facts, ids, delivered.unusable)
    return Outlook(difference.counts, holds, words, year, grade_moves(base, difference))


def _read(district: District, path: Path, kept: pl.DataFrame, progress: Progress = silent) -> Delivered:
    """What lies at `path`, under the ids that are kept for its records."""
    read = reading.read(
        path,
        encoding=district.encoding,
        overrides=district.rule_overrides,
        column_names=district.column_names,
        progress=progress,
    )
    return recognising.under_kept_ids(read, kept)


def _checked(
    delivered: Delivered,
    base: Frames,
    district: District,
    kept: pl.DataFrame,
    today: date,
    progress: Progress = silent,
) -> Checked:
    """The check by the district's settings; what it found is told by the ids of the file."""
    checked = validating.check(delivered, base=base, options=_options(district, today), progress=progress)
    recognising.as_delivered(checked.findings, kept, delivered.version)
    return checked


def _options(district: District, today: date) -> CheckOptions:
    """What the district's settings ask of a check."""
    return CheckOptions(
        today=today,
        products=tuple(district.products or ()),
        mappings=district.mappings,
        overrides=district.rule_overrides,
        max_bad_share=holding.limit_of(district.hold_limits, "bad_share"),
        max_bad_rows=int(holding.limit_of(district.hold_limits, "bad_rows")),
    )


def _ids_of(checked: Checked) -> dict[str, pl.Series]:
    """The sourcedIds of orgs and users as they came."""
    return {name: checked.tables[name].frame["sourcedId"] for name in ("orgs", "users") if name in checked.tables}


def _delivery_facts(delivered: Delivered, checked: Checked) -> dict[str, Any]:
    tables = delivered.tables
    return {
        "oneroster_version": delivered.version,
        "modes": {name: table.mode for name, table in tables.items()},
        "headers": {name: list(table.header) for name, table in tables.items()},
        "file_rows": _file_rows(delivered),
        "errors": checked.findings.count("fatal", "error"),
        "warnings": checked.findings.count("warning"),
        "quarantined": sum(len(t.quarantined) + t.nameless for t in checked.tables.values())
        + sum(t.set_aside for t in tables.values()),
    }


def _file_rows(delivered: Delivered) -> dict[str, int]:
    tables = delivered.tables.items()
    return {name: len(t.frame) + len(t.unread) + t.set_aside + t.not_taken for name, t in tables}
