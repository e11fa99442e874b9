"""Taking back what a sync changed, value by value, and leaving alone what changed since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from rosters.diffing import WAS, Difference, frame_of
from rosters.findings import Findings
from rosters.frames import Frames
from rosters.models import Sync
from rosters.normalising import without
from rosters.oneroster.normal import NORMAL, REFERENCES, TABLES
from rosters.syncs.judging import compared, finish_preparing
from rosters.syncs.working import DecisionRefused, Work, audit, base_frames, hold, store

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff


@dataclass(frozen=True, slots=True)
class Conflict:
    """A value that a later sync changed again; an undo leaves it alone."""

    table: str
    sourced_id: str
    column: str


def undo(sync: Sync, *, by: Staff, school: str = "", kind: str = "", now: datetime | None = None) -> Sync:
    """A new sync that takes back what `sync` changed; it is prepared, reviewed and applied like any other. With a
    `school` (sourcedId) or a `kind` of change ("added", "updated", "removed") only what it changed there, or so."""
    moment = now or timezone.now()
    only = {name: value for name, value in (("school", school), ("kind", kind)) if value}
    if sync.status != Sync.Status.APPLIED or sync.applied_at is None:
        raise DecisionRefused("Only a sync that was applied can be undone.")
    if sync.applied_at < moment - timedelta(days=settings.UNDO_DAYS):
        raise DecisionRefused(f"It was applied more than {settings.UNDO_DAYS} days ago and can no longer be undone.")
    with transaction.atomic():
        hold(sync.district_id)
        others = sync.undone_by.exclude(status__in=["declined", "superseded", "failed", "unchanged"])
        others = others.filter(undone_at=None)  # what was taken back itself does not stand in the way
        if others.filter(undo_only={}).exists() or others.filter(undo_only=only).exists():
            raise DecisionRefused("An undo of this sync exists already.")
        undoing = Sync.objects.create(
            district=sync.district, undoes=sync, undo_only=only, received_at=moment, status_since=moment
        )
        audit(moment, by, "sync.undo_requested", undoing, before={"sync": sync.pk}, after=only)
    return undoing


def undo_conflicts(undoing: Sync, limit: int = 200) -> tuple[list[Conflict], int]:
    """What a prepared undo leaves alone because it changed again since: the first `limit`, and how many in all."""
    first, total = store().conflicts(undoing.district_id, undoing.pk, limit)
    return [Conflict(*row) for row in first.iter_rows()], total


def prepare_undo(work: Work) -> None:
    sync, district = work.sync, work.sync.district
    assert sync.undoes is not None
    live = base_frames(district)
    with work.phase("comparing"):
        done = _part(store().difference(district.pk, sync.undoes_id).load(), sync.undo_only)  # type: ignore[arg-type]
        target, conflicts = _taken_back(done, live)
        target = without({table: frame for table, frame in target.items() if len(frame)}, district.not_kept)
        difference = compared(sync, live, target)
        store().write_conflicts(district.pk, sync.pk, conflicts)
    finish_preparing(work, live, target, difference, Findings(), {}, {}, Difference())


def _part(done: Difference, only: Mapping[str, str]) -> Difference:
    """What is to be taken back of it."""
    if not only:
        return done
    wanted = [pl.col(column) == value for column, value in only.items()]
    return Difference({table: changes.filter(wanted) for table, changes in done.tables.items()})


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
