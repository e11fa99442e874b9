"""When a connection runs.

A run stands at a time of the district's own clock, for that is what people see: each local day has one run for each
time of the schedule, also on the days on which clocks change. A run is due at *the first moment at which the clock
shows its time or a later one*. So a time that is left out in spring runs when the clock has jumped over it, and one
that comes twice in autumn runs the first time only. Two times that the jump throws together (2:00 and 3:00) are one
run: there is one moment, and nothing new to fetch. A day that the whole zone leaves out (Samoa, 30 December 2011) has
no run.

Not croniter: it runs a time twice on the night on which clocks go back, and knows no blackouts (docs/decisions/0011).

Nothing here reads a clock or a database. Every `datetime` that comes in is aware; "day" means the district's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby, islice, pairwise, takewhile
from statistics import median
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rosters.oneroster.plain import listed

_DAY: Final = timedelta(days=1)
_LAST_DAY: Final = date(9998, 12, 30)
_NO_RUNS: Final = "No runs on these days"

#: A day of a year beyond these is a slip of the hand.
_YEARS: Final = range(2000, 2101)

#: More times than this a day ask a district's server too much.
MOST_TIMES: Final = 24

DAY_NAMES: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

#: What people of the United States call their zones.
_ZONES: Final = {
    "Eastern": ("America/New_York", "America/Detroit", "America/Indiana/Indianapolis", "America/Indianapolis",
                "America/Kentucky/Louisville", "America/Louisville", "US/Eastern"),
    "Central": ("America/Chicago", "America/Menominee", "America/North_Dakota/Center", "US/Central"),
    "Mountain": ("America/Denver", "America/Boise", "US/Mountain"),
    "Arizona": ("America/Phoenix", "US/Arizona"),
    "Pacific": ("America/Los_Angeles", "US/Pacific"),
    "Alaska": ("America/Anchorage", "America/Juneau", "America/Sitka", "America/Nome", "US/Alaska"),
    "Hawaii": ("Pacific/Honolulu", "US/Hawaii"),
}  # fmt: skip
_ZONE_WORDS: Final = {name: word for word, names in _ZONES.items() for name in names}


@dataclass(frozen=True, slots=True)
class Range:
    """Days from `first` to `last`, both included; `words` say why ("Summer")."""

    first: date
    last: date
    words: str = ""

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last


@dataclass(frozen=True, slots=True)
class Schedule:
    """On which `days` (0 is Monday) at which `times` of `zone` (an IANA name), from `first` to `last` (both included,
    None: open). No run on a day of `blackouts`; on one of `additions_only` a delivery may add and change, not remove.
    """

    days: frozenset[int]
    times: tuple[time, ...]
    zone: str
    first: date | None = None
    last: date | None = None
    blackouts: tuple[Range, ...] = field(default=())
    additions_only: tuple[Range, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """What `from_json` reads: numbers, and ISO 8601 dates and times as text."""
        return {
            "days": sorted(self.days),
            "times": [f"{at:%H:%M}" for at in self.times],
            "zone": self.zone,
            "first": self.first.isoformat() if self.first else None,
            "last": self.last.isoformat() if self.last else None,
            "blackouts": [_range_as_json(each) for each in self.blackouts],
            "additions_only": [_range_as_json(each) for each in self.additions_only],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Schedule:
        """The schedule that `as_json` wrote; whether it makes sense say its `problems`. Raises ValueError, with a
        sentence, if it is none."""
        try:
            return cls(
                days=frozenset(int(day) for day in data["days"]),
                times=tuple(time.fromisoformat(at) for at in data["times"]),
                zone=str(data["zone"]),
                first=_date(data.get("first")),
                last=_date(data.get("last")),
                blackouts=tuple(_range_from_json(each) for each in data.get("blackouts", ())),
                additions_only=tuple(_range_from_json(each) for each in data.get("additions_only", ())),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ValueError("This is not a schedule: set days, times and zone again.") from None

    def rests_on(self, day: date) -> str:
        """Why it does not run on `day`, which is in a blackout; "" where it is in none."""
        blackout = _range_of(self.blackouts, day)
        return (blackout.words or _NO_RUNS) if blackout else ""

    def checked(self) -> Schedule:
        """This one, if days, times and zone can be worked with. Raises ValueError."""
        if not self.days <= set(range(7)) or not _is_zone(self.zone):
            raise ValueError("This is not a schedule: set days, times and zone again.")
        return self

    def problems(self) -> list[str]:
        """What is wrong with it, in sentences for the person who sets it; empty if it can be used."""
        found = []
        if not self.days or not self.days <= set(range(7)):
            found.append("Choose at least one day of the week.")
        if not self.times:
            found.append("Give at least one time of day.")
        if len(self.times) > MOST_TIMES:
            found.append(f"Give at most {MOST_TIMES} times of day; these are {len(self.times)}.")
        if len(set(self.times)) < len(self.times):
            found.append("A time of day stands there twice; leave one of them out.")
        if any(at.second or at.microsecond or at.tzinfo for at in self.times):
            found.append("Give times of day as hours and minutes of the district's clock.")
        if not _is_zone(self.zone):
            found.append("This time zone is not known; choose one of the list, for example America/Chicago.")
        ranges = (*self.blackouts, *self.additions_only)
        days = [self.first, self.last, *(day for each in ranges for day in (each.first, each.last))]
        if any(day.year not in _YEARS for day in days if day):
            found.append(f"Give days of the years {_YEARS[0]} to {_YEARS[-1]}.")
        if self.first and self.last and self.last < self.first:
            found.append("The last day lies before the first; exchange them.")
        if any(each.last < each.first for each in ranges):
            found.append("A range of days ends before it begins; exchange its days.")
        if not found and self.last and next_due(self, _moment(self.first or self.last - 7 * _DAY, self) - _DAY) is None:
            found.append("It would never run: no day of the week lies in its dates outside the days without runs.")
        return found


def _range_as_json(each: Range) -> dict[str, str]:
    return {"first": each.first.isoformat(), "last": each.last.isoformat(), "words": each.words}


def _range_from_json(data: Mapping[str, Any]) -> Range:
    return Range(date.fromisoformat(data["first"]), date.fromisoformat(data["last"]), str(data.get("words", "")))


def _date(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of the zone files is an OSError
        return False
    return True


# ----------------------------------------------------------------------------------------------------------------- runs


@dataclass(frozen=True, slots=True)
class Run:
    """One run: `at` in UTC, the same moment as `local` on the district's clock. `additions_only`: it may not remove.
    `clock_changes`: clocks change on its day. `skipped`: why it does not take place, "" if it does."""

    at: datetime
    local: datetime
    additions_only: bool
    clock_changes: bool
    skipped: str = ""


def runs(schedule: Schedule, after: datetime, *, skipped: bool = False) -> Iterator[Run]:
    """The runs strictly later than `after`, in order, each moment once; without end if the schedule has none.
    With `skipped` also those that a blackout takes out, for display: their `Run.skipped` says why."""
    slots = (run for day in _days(schedule, after, skipped) for run in _of_day(schedule, day) if run.at > after)
    for _, same in groupby(slots, key=lambda run: run.at):
        yield min(same, key=lambda run: bool(run.skipped))  # two days can meet in one moment: it takes place


@dataclass(frozen=True, slots=True)
class Day:
    """A day of a calendar. `runs`: whether it has any; `blackout`: why it has none, "" if it lies on no such day."""

    day: date
    runs: bool
    blackout: str
    additions_only: bool
    clock_changes: bool


def calendar(schedule: Schedule, first: date, days: int) -> list[Day]:
    """What `runs` says of so many days, one by one, from `first` on."""
    end, zone = first + days * _DAY, ZoneInfo(schedule.zone)
    running = set(takewhile(lambda day: day < end, _days(schedule, _moment(first, schedule), skipped=False)))
    found = []
    for day in (first + number * _DAY for number in range(days)):
        found.append(
            Day(
                day,
                runs=day in running,
                blackout=schedule.rests_on(day),
                additions_only=day in running and _range_of(schedule.additions_only, day) is not None,
                clock_changes=_offset(zone, day) != _offset(zone, day + _DAY),
            )
        )
    return found


def _days(schedule: Schedule, after: datetime, skipped: bool) -> Iterator[date]:
    """The days that may have a run later than `after`."""
    if not schedule.times or not schedule.days & set(range(7)):
        return
    day = (
        after.astimezone(ZoneInfo(schedule.zone)).date() - _DAY
    )  # a run that clocks delay can belong to the day before
    day = max(day, schedule.first or day)
    last = min(schedule.last or _LAST_DAY, _LAST_DAY)
    while day <= last:
        blackout = None if skipped else _range_of(schedule.blackouts, day)
        if blackout:
            day = min(blackout.last, _LAST_DAY)
        elif (
            day.weekday() in schedule.days and _moment(day, schedule).astimezone(ZoneInfo(schedule.zone)).date() == day
        ):
            yield day
        day += _DAY


def _of_day(schedule: Schedule, day: date) -> Iterator[Run]:
    for at in sorted(schedule.times):
        yield _run(schedule, day, _moment(day, schedule, at))


def _run(schedule: Schedule, day: date, moment: datetime) -> Run:
    """A run at `moment` that stands on `day`, as the ranges of days judge it."""
    zone = ZoneInfo(schedule.zone)
    return Run(
        at=moment,
        local=moment.astimezone(zone),
        additions_only=_range_of(schedule.additions_only, day) is not None,
        clock_changes=_offset(zone, day) != _offset(zone, day + _DAY),
        skipped=schedule.rests_on(day),
    )


def _range_of(ranges: Sequence[Range], day: date) -> Range | None:
    return next((each for each in ranges if day in each), None)


def _offset(zone: ZoneInfo, day: date) -> timedelta | None:
    return datetime.combine(day, time(), zone).utcoffset()


def _moment(day: date, schedule: Schedule, at: time = time()) -> datetime:
    """The first moment, in UTC, at which the clock shows `at` of `day` or later."""
    zone = ZoneInfo(schedule.zone)
    wall = datetime.combine(day, at.replace(fold=0), zone)
    found = wall.astimezone(UTC)
    if found.astimezone(zone).replace(tzinfo=None) == wall.replace(tzinfo=None):
        return found
    # The clock jumps over it. Read by the clock of before the jump it lies behind the jump, by the clock of after it
    # before (PEP 495): the jump stands between the two, on a full second.
    early = wall.replace(fold=1).astimezone(UTC)
    before, after = 0, int((found - early).total_seconds())
    while after - before > 1:
        middle = (before + after) // 2
        if (early + timedelta(seconds=middle)).astimezone(zone).utcoffset() == wall.utcoffset():
            before = middle
        else:
            after = middle
    return early + timedelta(seconds=after)


def next_due(schedule: Schedule, after: datetime, spread: timedelta = timedelta(), key: str = "") -> datetime | None:
    """When the next run starts, in UTC: strictly later than `after`; None if there is none any more.

    Each start is put off by `offset`; a run keeps the day that it stands on.
    """
    delay = offset(spread, key)
    run = next(runs(schedule, after - delay), None)
    return run.at + delay if run else None


def first_due(schedule: Schedule, day: date, spread: timedelta = timedelta(), key: str = "") -> datetime | None:
    """When the first run that stands on `day` or later starts, in UTC; None if there is none any more."""
    run = next(runs(schedule, _moment(day, schedule) - timedelta(microseconds=1)), None)
    return run.at + offset(spread, key) if run else None


def offset(spread: timedelta, key: str) -> timedelta:
    """From 0 up to `spread`, in whole seconds: always the same for a `key`, evenly spread over many keys, so that
    thousands of connections do not start in the same second."""
    seconds = int(spread.total_seconds())
    if seconds <= 0:
        return timedelta()
    return timedelta(seconds=int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) % seconds)


def missed(
    schedule: Schedule, due: datetime, now: datetime, spread: timedelta = timedelta(), key: str = ""
) -> Run | None:
    """The one run to start: that which was due at `due`, or the latest since, where the worker was down; or None.

    The one that was due counts also where the schedule, or the clock, was changed since and has no run then: it was
    promised. By its days it is judged all the same. However many were missed, one fetch brings all that there is.
    Nothing is made up for on a day without runs, nor what was missed before such a day: the next run of the schedule
    comes soon enough. A run that is made up for on a day that only adds only adds, and so does one that was to. What
    is less than `spread` late is not made up for: it keeps the day that it stands on, also where its place in `spread`
    lies behind midnight.
    """
    if due > now:
        return None
    delay, zone = offset(spread, key), ZoneInfo(schedule.zone)
    today = now.astimezone(zone).date()
    promised = due - delay
    latest = _run(schedule, promised.astimezone(zone).date(), promised)
    for run in runs(schedule, promised - timedelta(microseconds=1), skipped=True):
        if run.at + delay > now:
            break
        latest = run
    if latest.skipped:
        return None
    if now - (latest.at + delay) < spread:
        return latest
    if _range_of(schedule.blackouts, today):
        return None
    return replace(
        latest, additions_only=latest.additions_only or _range_of(schedule.additions_only, today) is not None
    )


# ----------------------------------------------------------------------------------------------------------------- late

#: A delivery is late when it has been awaited this many times as long as usual.
PATIENCE: Final = 1.5
#: So many runs tell how often there is one.
_LOOKED_AHEAD: Final = 15


def gap_of(schedule: Schedule, since: datetime) -> timedelta | None:
    """The usual time between two runs; None where there are no two."""
    moments = [run.at for run in islice(runs(schedule, since), _LOOKED_AHEAD)]
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(moments)]
    return timedelta(seconds=median(gaps)) if gaps else None


def is_late(schedule: Schedule, gaps: Sequence[timedelta] | timedelta, last_delivery: datetime, now: datetime) -> bool:
    """Whether a delivery should have come by now. `gaps`: the times between the last deliveries (their median is what
    is usual; none: nothing is late yet), or the usual time itself.

    Late is what has been awaited for more than `PATIENCE` times that, blackout days not counted. Before a run of the
    schedule could have brought it, and half a usual gap has passed since, nothing is late either: else every Saturday
    would be an alarm where Friday and Monday are the days.
    """
    if not isinstance(gaps, timedelta):
        if not gaps:
            return False
        gaps = timedelta(seconds=median(gap.total_seconds() for gap in gaps))
    if now - last_delivery <= PATIENCE * gaps:
        return False  # days without runs would only take something away
    expected = next_due(schedule, last_delivery)
    if expected is None or now <= expected + (PATIENCE - 1) * gaps:
        return False
    return now - last_delivery - _blacked_out(schedule, last_delivery, now) > PATIENCE * gaps


def _blacked_out(schedule: Schedule, since: datetime, until: datetime) -> timedelta:
    """How much of the time from `since` to `until` lies on blackout days."""
    zone = ZoneInfo(schedule.zone)
    day, last = since.astimezone(zone).date(), until.astimezone(zone).date()
    total = timedelta()
    while day <= last:
        if _range_of(schedule.blackouts, day):
            total += max(timedelta(), min(_moment(day + _DAY, schedule), until) - max(_moment(day, schedule), since))
        day += _DAY
    return total


# ---------------------------------------------------------------------------------------------------------------- words


def sentence(schedule: Schedule, today: date | None = None) -> str:
    """ "Every weekday at 2:00 AM Central; not 15 Jun to 10 Aug". With `today`, ranges that are over are left out, and
    a year is named where it is another one; without, where it differs from the first that is told."""
    times = listed([_clock(at) for at in sorted(schedule.times)])
    words = f"{_days_in_words(schedule.days)} at {times} {_ZONE_WORDS.get(schedule.zone, schedule.zone)}"
    first = schedule.first if schedule.first and not (today and schedule.first <= today) else None
    off, adding = (
        sorted((each for each in ranges if not today or each.last >= today), key=lambda each: each.first)
        for ranges in (schedule.blackouts, schedule.additions_only)
    )
    told = [day for day in (first, schedule.last) if day] + [each.first for each in (*off, *adding)]
    year = today.year if today else min(told, default=date.min).year
    if first and schedule.last:
        words += f", {_range_in_words(Range(first, schedule.last), year)}"
    elif first or schedule.last:
        words += f", from {_day_in_words(first, year)}" if first else f", until {_day_in_words(schedule.last, year)}"  # type: ignore[arg-type]
    if off:
        words += f"; not {listed([_range_in_words(each, year) for each in off])}"
    if adding:
        words += f"; only adding {listed([_range_in_words(each, year) for each in adding])}"
    return words


def _days_in_words(days: frozenset[int]) -> str:
    if days == frozenset(range(7)):
        return "Every day"
    if days == frozenset(range(5)):
        return "Every weekday"
    return f"Every {listed([DAY_NAMES[day] for day in sorted(days)])}"


def _clock(at: time) -> str:
    """ "2:00 AM"; noon is 12:00 PM."""
    return f"{at.hour % 12 or 12}:{at:%M} {'AM' if at.hour < 12 else 'PM'}"


def hour_in_words(local: datetime) -> str:
    """The time of day of a moment on a district's clock, as `sentence` says it: "2:04 AM Central"."""
    zone = getattr(local.tzinfo, "key", "") or f"{local:%Z}"
    return f"{_clock(local.time())} {_ZONE_WORDS.get(zone, zone)}"


def _range_in_words(each: Range, year: int) -> str:
    if each.first == each.last:
        return _day_in_words(each.first, year)
    if each.first.year == each.last.year:
        return f"{_day_in_words(each.first, each.first.year)} to {_day_in_words(each.last, year)}"
    return f"{_day_in_words(each.first, 0)} to {_day_in_words(each.last, 0)}"


_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _day_in_words(day: date, year: int) -> str:
    """ "15 Jun", with its year if that is not `year`."""
    return f"{day.day} {_MONTHS[day.month - 1]}" + (f" {day.year}" if day.year != year else "")
