"""Slots are real moments inside somebody's hours, whatever the clocks do that night."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connections.onboarding.slots import Hours, Ranges, Span, free_slots, read_ranges

CHICAGO = ZoneInfo("America/Chicago")
ZONES = st.sampled_from(
    ["America/Chicago", "America/Phoenix", "Australia/Lord_Howe", "Europe/London", "Pacific/Apia", "America/Havana"]
)
#: Around both changes of the clocks in America, Europe and Australia.
STARTS = st.integers(0, 366000).map(lambda minutes: datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=minutes))
TIMES = st.times(max_value=time(23, 59)).map(lambda at: at.replace(second=0, microsecond=0))


@st.composite
def ranges(draw: st.DrawFn) -> Ranges:
    edges = sorted(draw(st.sets(TIMES, max_size=6)))
    return tuple(zip(edges[::2], edges[1::2], strict=False))


@st.composite
def all_hours(draw: st.DrawFn) -> Hours:
    return Hours(
        zone=ZoneInfo(draw(ZONES)),
        weekly={day: draw(ranges()) for day in range(7)},
        exceptions={},
        length=timedelta(minutes=draw(st.integers(10, 90))),
        buffer=timedelta(minutes=draw(st.integers(0, 45))),
    )


@given(all_hours(), STARTS, st.lists(st.integers(0, 8000), max_size=4))
def test_every_slot_is_ahead_inside_the_hours_and_clear_of_what_is_taken(
    hours: Hours, now: datetime, busy: list[int]
) -> None:
    taken: list[Span] = [
        (begin, begin + timedelta(minutes=30)) for begin in (now + timedelta(minutes=each) for each in busy)
    ]
    found = free_slots(hours, taken, now, now + timedelta(days=5))
    for start in found:
        end = start + hours.length
        assert start.utcoffset() == timedelta(0)
        assert now <= start < now + timedelta(days=5)
        opens, closes = start.astimezone(hours.zone), end.astimezone(hours.zone)
        assert any(
            datetime.combine(opens.date(), begin) <= opens.replace(tzinfo=None)
            and closes.replace(tzinfo=None) <= datetime.combine(opens.date(), stop)
            for begin, stop in hours.on(opens.date())
        )
        assert all(
            start >= busy_until + hours.buffer or end + hours.buffer <= busy_from for busy_from, busy_until in taken
        )
    assert found == sorted(found)


def of_a_day(begin: str, end: str, exceptions: dict[date, Ranges] | None = None) -> Hours:
    each = read_ranges([[begin, end]])
    minutes = timedelta(minutes=30)
    return Hours(CHICAGO, dict.fromkeys(range(7), each), exceptions or {}, minutes, timedelta(0))


def starts(hours: Hours, day: date) -> list[str]:
    midnight = datetime.combine(day, time(), CHICAGO)
    found = free_slots(hours, [], midnight, midnight + timedelta(days=1))
    return [f"{start.astimezone(CHICAGO):%H:%M %Z}" for start in found]


def test_nine_stays_nine_when_the_clocks_change() -> None:
    hours = of_a_day("09:00", "10:00")
    assert starts(hours, date(2026, 3, 7)) == ["09:00 CST", "09:30 CST"]
    assert starts(hours, date(2026, 3, 8)) == ["09:00 CDT", "09:30 CDT"]


def test_the_hour_that_is_left_out_has_no_slots() -> None:
    assert starts(of_a_day("02:00", "03:00"), date(2026, 3, 8)) == []
    assert starts(of_a_day("01:00", "02:30"), date(2026, 3, 8)) == ["01:00 CST"]


def test_an_exception_replaces_the_day() -> None:
    thursday, friday = date(2026, 11, 26), date(2026, 11, 27)
    hours = of_a_day("09:00", "10:00", {thursday: (), friday: read_ranges([["13:00", "13:30"]])})
    assert starts(hours, thursday) == []
    assert starts(hours, friday) == ["13:00 CST"]


@pytest.mark.parametrize(
    "wrong",
    [5, [5], [["10:00", "09:00"]], [["9", "x"]], [["09:00", "11:00"], ["10:00", "12:00"]], [["09:00+01:00", "10:00"]]],
)
def test_what_is_no_range_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError):
        read_ranges(wrong)
