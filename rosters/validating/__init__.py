"""Delivered frames to findings, and to what may be used of them.

An error costs as little as it may: a value in an optional cell, a row in an id or a required cell. Rows that are not
used
are quarantined: their records keep the values last accepted, and never count as removed. Above a limit, or where whole
files are missing, the delivery is rejected.
"""

from __future__ import annotations

import polars as pl

from rosters.findings import Finding, Findings
from rosters.frames import Checked, CheckedTable, CheckOptions, Delivered, Frames, Progress, side_by_side, silent
from rosters.validating import cells, practice, profiles, references, semantics
from rosters.validating.context import Context

__all__ = ["check"]


def check(
    delivered: Delivered, *, base: Frames | None = None, options: CheckOptions, progress: Progress = silent
) -> Checked:
    """Hold a delivery against every rule. `base` is the accepted roster: deltas and absent files refer to it."""
    findings = Findings(overrides=profiles.overrides(options))
    findings.extend(delivered.findings)
    if not delivered.readable or findings.fatal:
        reasons = tuple(dict.fromkeys(("ROSTER-UNREADABLE", f.message) for f in findings if f.severity == "fatal"))
        return Checked(delivered.version, {}, findings, reasons[:3] or (("ROSTER-UNREADABLE", "It cannot be read."),))
    ctx = Context(delivered, base or {}, options, findings)
    for name, table in delivered.tables.items():
        ctx.frames[name] = table.frame
        ctx.bad[name] = pl.Series(name, [False], dtype=pl.Boolean).new_from_index(0, len(table.frame))
    rows = sum(len(f) for f in ctx.frames.values())
    largest_first = sorted(ctx.frames, key=lambda name: -len(ctx.frames[name]))
    for done, _ in enumerate(side_by_side(lambda name: _check_alone(ctx, name), largest_first, rows=rows), 1):
        progress("checking", 0.6 * done / len(ctx.frames), rows)
    incomplete = references.check_complete(ctx)
    incomplete += references.check_references(ctx)
    references.check_deltas(ctx)
    progress("checking", 0.75, rows)
    semantics.check(ctx)
    practice.check(ctx)
    profiles.check(ctx)
    progress("checking", 1.0, rows)
    tables = {name: _checked(ctx, name) for name in ctx.frames}
    rejections = tuple(incomplete) + tuple(_too_many(ctx, tables))
    return Checked(delivered.version, tables, findings, rejections, delivered.stays)


def _check_alone(ctx: Context, name: str) -> None:
    """What can be said of a table without any other."""
    cells.check(ctx, name)
    references.check_identity(ctx, name)


def _checked(ctx: Context, name: str) -> CheckedTable:
    delivered = ctx.delivered.tables[name]
    ctx.blank_dropped(name)
    frame, bad = ctx.frames[name], ctx.bad[name]
    named = delivered.unread["sourcedId"].drop_nulls()
    quarantined = pl.concat([frame.filter(bad)["sourcedId"], named]).unique()
    drops = [
        pl.DataFrame({"sourcedId": frame["sourcedId"].gather(pl.concat(parts).unique())}).with_columns(
            column=pl.lit(column)
        )
        for column, parts in ctx.drops.get(name, {}).items()
    ]
    drops += [
        _without_column(frame, finding.column) for finding in ctx.findings if name in ctx.base and _lacks(finding, name)
    ]
    dropped = pl.concat(drops) if drops else pl.DataFrame(schema={"sourcedId": pl.String, "column": pl.String})
    return CheckedTable(
        name=name,
        mode=delivered.mode,
        frame=frame.filter(~bad) if bad.any() else frame,
        quarantined=quarantined.filter(quarantined != "").to_frame("sourcedId"),
        dropped=dropped,
        nameless=ctx.nameless(name),
        part_of=delivered.part_of,
        half_read=frame.filter(bad)["userSourcedId"].unique() if delivered.part_of else quarantined.clear(),
    )


def _lacks(finding: Finding, name: str) -> bool:
    return finding.code == "OR-CSV-063" and finding.file == f"{name}.csv"


def _without_column(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """A column that was not sent says nothing: every record keeps its last accepted value."""
    return frame.select("sourcedId", column=pl.lit(column))


def _too_many(ctx: Context, tables: dict[str, CheckedTable]) -> list[tuple[str, str]]:
    """Tables of which too much cannot be used: above both limits, or nothing left at all."""
    reasons = []
    for name, table in tables.items():
        if not ctx.rostering(name):
            continue
        delivered = ctx.delivered.tables[name]
        unused = len(delivered.unread) + delivered.set_aside
        lost, rows = int(ctx.bad[name].sum()) + unused, len(ctx.bad[name]) + unused
        limit = ctx.options
        if lost and (lost == rows or (lost > limit.max_bad_rows and lost > limit.max_bad_share * rows)):
            reasons.append(("ROSTER-TOO-MANY-BAD-ROWS", f"{lost:,} of {rows:,} rows of {name}.csv cannot be used."))
        elif not rows and len(ctx.base_ids(name)) and table.mode == "bulk":
            table.nameless += 1  # a header without rows says nothing about what was there
    return reasons
