"""When somebody is free for a call: hours by their own clock in, moments in UTC out. No models, no clock.

Hours are kept as JSON: for each weekday ("0" is Monday) a list of ranges such as ["09:00", "12:00"], and the same for a
single day (its ISO date), which then replaces the weekday's; an empty list is a day off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

Ranges = tuple[tuple[time, time], ...]
Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class Hours:
    """When somebody takes calls, by the clock of `zone`. `length` is that of a call, `buffer` the rest between two."""

    zone: ZoneInfo
    weekly: Mapping[int, Ranges]
    exceptions: Mapping[date, Ranges]
    length: timedelta
    buffer: timedelta

    def on(self, day: date) -> Ranges:
        return self.exceptions.get(day, self.weekly.get(day.weekday(), ()))


def read_ranges(value: Any) -> Ranges:
    """Ranges from JSON. Raises ValueError for what is no list of ranges in order, each with an end after its start."""
    try:
        found = tuple((time.fromisoformat(start), time.fromisoformat(end)) for start, end in value)
    except TypeError as error:
        raise ValueError("not a list of ranges") from error
    if any(moment.tzinfo for pair in found for moment in pair):
        raise ValueError("a time with a zone of its own")
    edges = [edge for pair in found for edge in pair]
    if edges != sorted(edges) or any(start == end for start, end in found):
        raise ValueError("ranges that are out of order")
    return found


def free_slots(hours: Hours, taken: Sequence[Span], after: datetime, until: datetime) -> list[datetime]:
    """The starts of all calls that could be had from `after` until `until`, in order, in UTC; none comes nearer than
    the buffer to what is `taken`."""
    day, last = after.astimezone(hours.zone).date(), until.astimezone(hours.zone).date()
    found = []
    while day <= last:
        for begin, end in hours.on(day):
            found += [start for start in _within(hours, day, begin, end) if after <= start < until]
        day += timedelta(days=1)
    return sorted(start for start in found if not _clashes(hours, start, taken))


def _within(hours: Hours, day: date, begin: time, end: time) -> Iterator[datetime]:
    """Calls one after the other inside a range. Steps are of real time, and each call must also lie inside the range
    by the clock on the wall: in the night when an hour is left out, nothing slips behind the end."""
    first, last = datetime.combine(day, begin), datetime.combine(day, end)
    start = first.replace(tzinfo=hours.zone).astimezone(UTC)
    stop = last.replace(tzinfo=hours.zone).astimezone(UTC)
    while start + hours.length <= stop:
        opens, closes = (moment.astimezone(hours.zone) for moment in (start, start + hours.length))
        if first <= opens.replace(tzinfo=None) and closes.replace(tzinfo=None) <= last:
            yield start
        start += hours.length + hours.buffer


def _clashes(hours: Hours, start: datetime, taken: Sequence[Span]) -> bool:
    end = start + hours.length
    return any(start < busy_until + hours.buffer and busy_from < end + hours.buffer for busy_from, busy_until in taken)
