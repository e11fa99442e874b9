"""The zips that are measured: one made-up district as it comes on several days, and another one beside it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from rosters import making

DAY = date(2026, 11, 24)
CHANGE = 0.01


def make_zips(folder: Path, users: int) -> dict[str, int]:
    """base.zip, reordered.zip (the same rows), changed.zip, rollover.zip and other.zip (another district) in `folder`;
    the number of rows of each."""
    base = making.make_roster(users=users, seed=1, today=DAY)
    changed, _ = making.next_day(base, change=CHANGE, seed=1)
    days = {
        "base": base,
        "reordered": _reordered(base),
        "changed": changed,
        "rollover": making.rollover(changed, seed=1)[0],
        "other": making.make_roster(users=users, seed=2, today=DAY, name="Harbor City Schools"),
    }
    for name, tables in days.items():
        making.write_zip(folder / f"{name}.zip", tables)
    return {name: sum(map(len, tables.values())) for name, tables in days.items()}


def _reordered(tables: making.Tables) -> making.Tables:
    """The files in another order, and their rows, too."""
    return {name: frame.sample(fraction=1, shuffle=True, seed=7) for name, frame in reversed(tables.items())}
