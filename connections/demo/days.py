"""A made-up district that lives on: the same all day, a little different on the next."""

from __future__ import annotations

import threading
import zipfile
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from rosters import making

#: So much of it is different from one day to the next.
CHANGE: Final = 0.012


def today() -> date:
    """The demo's day, in UTC."""
    return datetime.now(UTC).date()


@dataclass(frozen=True, slots=True)
class Day:
    """The district on one day. `modified`: by table and sourcedId, the day of the last change; the rest is as it was on
    the day `since`."""

    since: date
    day: date
    tables: making.Tables
    modified: dict[str, dict[str, date]]


class Days:
    """The district in the zip `delivery` (OneRoster CSV, in full) as it is from the day `since` on. A day is worked out
    from the one before; the same zip and day give the same district, whenever and however often one asks."""

    def __init__(self, delivery: Path, since: date) -> None:
        self._first = Day(since, since, _read(delivery), {})
        self._last = self._first
        self._lock = threading.Lock()

    def on(self, day: date) -> Day:
        """The district on `day`; before `since`, as it was then."""
        with self._lock:
            if day < self._last.day:
                self._last = self._first
            while self._last.day < day:
                self._last = _next(self._last)
            return self._last


def _next(yesterday: Day) -> Day:
    day = yesterday.day + timedelta(days=1)
    tables, differences = making.next_day(yesterday.tables, change=CHANGE, seed=day.toordinal())
    modified = {table: dict(dates) for table, dates in yesterday.modified.items()}
    for table, kinds in differences.items():
        for sourced_id in (*kinds["added"], *kinds["updated"]):
            modified.setdefault(table, {})[sourced_id] = day
    return Day(yesterday.since, day, tables, modified)


def _read(delivery: Path) -> making.Tables:
    with zipfile.ZipFile(delivery) as archive:
        return {
            name.removesuffix(".csv"): pl.read_csv(archive.read(name), infer_schema=False).fill_null("")
            for name in archive.namelist()
            if name != "manifest.csv"
        }


def lay_out(day: Day, folder: Path) -> Path:
    """The district of `day` as a zip in `folder`, as its nightly export would put it there, if it is not there yet;
    whole at once. What was renamed or moved after it was fetched is not laid out again; of older ones a week is kept.
    """
    name = f"roster-{day.day:%Y%m%d}.zip"
    target = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.rglob(f"*{name}*")):
        draft = folder / f".{name}.part"
        making.write_zip(draft, day.tables)
        draft.rename(target)
    for old in sorted(folder.glob("roster-*.zip"))[:-7]:
        old.unlink()
    return target
