"""Each local day has its runs, no more and no fewer, whatever the clocks of a zone do."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connections.schedules import (
    Range,
    Run,
    Schedule,
    calendar,
    first_due,
    is_late,
    missed,
    next_due,
    offset,
    runs,
    sentence,
)

EVERY_DAY = frozenset(range(7))
WEEKDAYS = frozenset(range(5))
ZONES = (
    "America/Chicago", "America/Phoenix", "Europe/Berlin", "Europe/Dublin", "Australia/Lord_Howe", "America/St_Johns",
    "Asia/Kolkata", "Pacific/Apia", "Asia/Pyongyang", "America/Sao_Paulo", "Africa/Casablanca", "Antarctica/Troll",
)  # fmt: skip
MICROSECOND = timedelta(microseconds=1)

#: Nights of every kind: the clock jumps, goes back, leaves out a day, changes at midnight.
ODD_DAYS = {
    "America/Chicago": (date(2026, 3, 8), date(2026, 11, 1)),
    "Europe/Berlin": (date(2026, 3, 29), date(2026, 10, 25)),
    "Europe/Dublin": (date(2026, 3, 29), date(2026, 10, 25)),
    "Australia/Lord_Howe": (date(2026, 4, 5), date(2026, 10, 4)),
    "America/St_Johns": (date(2010, 3, 14), date(2011, 3, 13), date(2011, 11, 6), date(2026, 3, 8)),
    "Pacific/Apia": (date(2011, 12, 30), date(2020, 9, 27), date(2021, 4, 4)),
    "Asia/Pyongyang": (date(2015, 8, 15), date(2018, 5, 4)),
    "America/Sao_Paulo": (date(2017, 10, 15), date(2018, 2, 17)),
    "Africa/Casablanca": (date(2026, 2, 15), date(2026, 3, 22)),
    "Antarctica/Troll": (date(2026, 3, 29), date(2026, 10, 25)),
    "America/Phoenix": (date(2026, 3, 8),),
    "Asia/Kolkata": (date(2026, 3, 8),),
}


def schedule(*times: str, zone: str = "America/Chicago", days: frozenset[int] = EVERY_DAY) -> Schedule:
    return Schedule(days, tuple(time.fromisoformat(at) for at in times or ("02:00",)), zone)


def at(text: str, zone: str = "America/Chicago") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def between(plan: Schedule, since: datetime, until: datetime, *, skipped: bool = False) -> list[Run]:
    return list(takewhile(lambda run: run.at < until, runs(plan, since - MICROSECOND, skipped=skipped)))


def local(found: list[Run]) -> list[str]:
    return [f"{run.local:%d %H:%M %Z}" for run in found]


def days_of(first: date, last: date) -> Iterator[date]:
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)


def first_moment(day: date, wanted: time, zone: ZoneInfo) -> datetime:
    """The slow way: look at the district's clock every minute, from a day before, until it shows the time or a later
    one."""
    aim = datetime.combine(day, wanted)
    moment = aim.replace(tzinfo=UTC) - timedelta(hours=39)
    while moment.astimezone(zone).replace(tzinfo=None) < aim:
        moment += timedelta(minutes=1)
    return moment


MINUTES = st.integers(0, 24 * 60 - 1).map(lambda minute: time(minute // 60, minute % 60))


# --------------------------------------------------------------------------------------------------- the clocks' days


@pytest.mark.parametrize("zone", ZONES)
def test_every_day_of_twenty_five_years_has_one_run_for_each_time(zone: str) -> None:
    plan = schedule("02:00", "14:30", zone=zone)
    clock = ZoneInfo(zone)
    first, last = date(2010, 1, 1), date(2035, 12, 31)
    found = between(plan, at("2010-01-01", zone), at("2036-01-01", zone))
    assert all(one.at < other.at for one, other in pairwise(found))
    assert all(run.local.tzinfo is clock and run.local.astimezone(UTC) == run.at for run in found)
    days = [day for day in days_of(first, last) if (zone, day) != ("Pacific/Apia", date(2011, 12, 30))]
    assert Counter(run.local.date() for run in found) == dict.fromkeys(days, 2)
    moved = [run for run in found if f"{run.local:%H:%M}" not in ("02:00", "14:30")]
    assert all(run.clock_changes and run.local.hour in (2, 3) for run in moved)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), times=st.lists(MINUTES, min_size=1, max_size=4, unique=True))
def test_a_run_is_due_when_the_clock_first_shows_its_time_or_a_later_one(
    data: st.DataObject, times: list[time]
) -> None:
    zone = data.draw(st.sampled_from(ZONES))
    day = data.draw(st.sampled_from(ODD_DAYS[zone]))
    plan = Schedule(EVERY_DAY, tuple(times), zone)
    there = day != date(2011, 12, 30)
    expected = {first_moment(day, wanted, ZoneInfo(zone)) for wanted in times} if there else set()
    only = replace(plan, first=day, last=day)
    assert [run.at for run in runs(only, at(str(day), zone) - timedelta(days=3))] == sorted(expected)


def test_a_time_that_is_left_out_runs_behind_the_gap_and_one_that_comes_twice_runs_the_first_time() -> None:
    plan = schedule("01:30", "02:30", "04:00")
    spring = between(plan, at("2026-03-08"), at("2026-03-09"))
    autumn = between(plan, at("2026-11-01"), at("2026-11-02"))
    assert local(spring) == ["08 01:30 CST", "08 03:00 CDT", "08 04:00 CDT"]
    assert local(autumn) == ["01 01:30 CDT", "01 02:30 CST", "01 04:00 CST"]
    assert all(run.clock_changes for run in spring + autumn)
    assert not any(run.clock_changes for run in between(plan, at("2026-11-02"), at("2026-11-08")))


def test_two_times_that_the_gap_throws_together_are_one_run() -> None:
    plan = schedule("02:00", "02:30", "03:00", "03:01")
    assert local(between(plan, at("2026-03-08"), at("2026-03-09"))) == ["08 03:00 CDT", "08 03:01 CDT"]


def test_a_gap_of_half_an_hour_is_no_longer_than_half_an_hour() -> None:
    plan = schedule("02:15", zone="Australia/Lord_Howe")
    (run,) = between(plan, at("2026-10-04", plan.zone), at("2026-10-05", plan.zone))
    assert f"{run.local:%H:%M}" == "02:30" and run.clock_changes


def test_the_day_that_samoa_left_out_has_no_run_and_its_neighbours_have_theirs() -> None:
    plan = schedule("02:00", zone="Pacific/Apia")
    found = between(plan, at("2011-12-29", plan.zone), at("2012-01-01", plan.zone))
    assert [run.local.day for run in found] == [29, 31]
    assert found[1].at - found[0].at == timedelta(days=1)


# --------------------------------------------------------------------------------------------- days, dates, blackouts


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    def some_range() -> Range:
        first = draw(st.dates(date(2026, 1, 1), date(2027, 6, 1)))
        return Range(first, first + timedelta(days=draw(st.integers(0, 80))), draw(st.sampled_from(["", "Summer"])))

    first = draw(st.none() | st.dates(date(2025, 6, 1), date(2026, 12, 1)))
    return Schedule(
        days=draw(st.frozensets(st.integers(0, 6), min_size=1)),
        times=tuple(draw(st.lists(MINUTES, min_size=1, max_size=3, unique=True))),
        zone=draw(st.sampled_from(ZONES)),
        first=first,
        last=draw(st.none() | st.dates(first or date(2026, 6, 1), date(2028, 1, 1))),
        blackouts=tuple(some_range() for _ in range(draw(st.integers(0, 3)))),
        additions_only=tuple(some_range() for _ in range(draw(st.integers(0, 2)))),
    )


@settings(max_examples=60, deadline=None)
@given(plan=schedules())
def test_runs_keep_to_days_dates_and_blackouts(plan: Schedule) -> None:
    found = between(plan, at("2026-01-01", plan.zone), at("2028-01-02", plan.zone), skipped=True)
    assert all(one.at < other.at for one, other in pairwise(found))
    per_day = Counter(run.local.date() for run in found)
    for day in days_of(date(2026, 1, 1), date(2027, 12, 31)):
        wanted = day.weekday() in plan.days and (plan.first or day) <= day <= (plan.last or day)
        together = any(run.clock_changes for run in found if run.local.date() == day)
        assert per_day[day] == len(plan.times) * wanted or (together and 0 < per_day[day] < len(plan.times))
    for run in found:
        assert bool(run.skipped) == any(run.local.date() in each for each in plan.blackouts)
        assert run.additions_only == any(run.local.date() in each for each in plan.additions_only)
    taking_place = [run for run in found if not run.skipped]
    assert between(plan, at("2026-01-01", plan.zone), at("2028-01-02", plan.zone)) == taking_place


@settings(max_examples=100, deadline=None)
@given(
    plan=schedules(),
    after=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    minutes=st.integers(0, 30),
)
def test_the_next_run_is_the_same_however_often_and_from_wherever_before_it_one_asks(
    plan: Schedule, after: datetime, minutes: int
) -> None:
    def due(since: datetime) -> datetime | None:
        return next_due(plan, since, timedelta(minutes=minutes), "connection 7")

    found = due(after)
    if found is None:
        assert plan.last is not None
        return
    assert found > after
    assert due(after) == due(found - MICROSECOND) == due(after + (found - after) / 2) == found
    assert (due(found) or found + MICROSECOND) > found


@settings(max_examples=60, deadline=None)
@given(plan=schedules(), first=st.dates(date(2026, 1, 1), date(2027, 3, 1)), days=st.integers(1, 200))
def test_the_calendar_shows_the_days_of_the_runs(plan: Schedule, first: date, days: int) -> None:
    shown = calendar(plan, first, days)
    assert [each.day for each in shown] == list(days_of(first, first + timedelta(days=days - 1)))
    end = first + timedelta(days=days)
    found = between(plan, at(first.isoformat(), plan.zone), at(end.isoformat(), plan.zone))
    by_day = {run.local.date(): run for run in found}
    for each in shown:
        assert each.runs == (each.day in by_day)
        assert bool(each.blackout) == any(each.day in one for one in plan.blackouts)
        if each.runs:
            assert each.additions_only == by_day[each.day].additions_only
            assert each.clock_changes == by_day[each.day].clock_changes
        else:
            assert not each.additions_only


def test_a_blackout_is_shown_with_its_words_and_not_run() -> None:
    plan = replace(schedule(), blackouts=(Range(date(2026, 6, 15), date(2026, 8, 10), "Summer"),))
    assert next_due(plan, at("2026-06-14T02:00")) == at("2026-08-11T02:00")
    (shown,) = between(plan, at("2026-06-15"), at("2026-06-16"), skipped=True)
    assert shown.skipped == "Summer"


def test_a_schedule_that_never_runs_is_asked_in_vain_and_says_so() -> None:
    never = replace(schedule(), blackouts=(Range(date(2000, 1, 1), date.max),))
    assert next_due(never, at("2026-06-14")) is None
    assert next_due(replace(never, days=frozenset()), at("2026-06-14")) is None
    saturday = date(2026, 6, 13)
    assert replace(schedule(days=WEEKDAYS), first=saturday, last=saturday).problems()


def test_thousands_of_connections_do_not_start_in_the_same_second() -> None:
    spread = timedelta(minutes=10)
    starts = Counter(next_due(schedule(), at("2026-03-08"), spread, str(number)) for number in range(3000))
    assert max(starts.values()) < 30 and len(starts) > 500
    assert all(timedelta() <= offset(spread, str(number)) < spread for number in range(3000))
    # The same in every process and version: a start must not move because the portal was started again.
    assert offset(spread, "1") == timedelta(seconds=0x6B86B273FF34FCE1 % 600)
    assert offset(timedelta(), "1") == timedelta()


# -------------------------------------------------------------------------------------------------------- made up for


def test_what_was_missed_in_three_days_is_made_up_for_once() -> None:
    plan = schedule("02:00", "14:00")
    run = missed(plan, at("2026-10-05T14:00"), at("2026-10-08T09:00"))
    assert run and run.at == at("2026-10-08T02:00")
    assert missed(plan, at("2026-10-08T14:00"), at("2026-10-08T13:59")) is None


def test_what_was_due_is_due_also_where_the_schedule_has_no_run_then_any_more() -> None:
    plan = schedule("03:00")
    run = missed(plan, at("2026-10-08T02:00"), at("2026-10-08T02:01"))
    assert run and run.at == at("2026-10-08T02:00")
    today = (Range(date(2026, 10, 8), date(2026, 10, 8)),)
    adding = missed(replace(plan, additions_only=today), at("2026-10-08T02:00"), at("2026-10-08T02:01"))
    assert adding and adding.additions_only
    assert missed(replace(plan, blackouts=today), at("2026-10-08T02:00"), at("2026-10-08T02:01")) is None


def test_the_first_run_of_a_day_may_stand_at_midnight_and_none_of_the_evening_before_is_it() -> None:
    spread, key = timedelta(hours=1), "any"
    delay = offset(spread, key)
    assert first_due(schedule("00:00", "23:59"), date(2026, 10, 8), spread, key) == at("2026-10-08T00:00") + delay
    assert first_due(schedule("23:59"), date(2026, 10, 8), spread, key) == at("2026-10-08T23:59") + delay


def test_what_was_missed_before_a_blackout_is_not_fetched_in_it_nor_at_its_end() -> None:
    plan = replace(schedule(), blackouts=(Range(date(2026, 6, 15), date(2026, 8, 10)),))
    assert missed(plan, at("2026-06-13T02:00"), at("2026-06-14T23:59"))
    for now in ("2026-06-15T00:01", "2026-07-01T12:00", "2026-08-11T01:00"):
        assert missed(plan, at("2026-06-13T02:00"), at(now)) is None
    assert missed(plan, at("2026-06-13T02:00"), at("2026-08-11T02:00"))


def test_a_run_made_up_for_on_a_day_that_only_adds_only_adds() -> None:
    plan = replace(schedule("22:00"), additions_only=(Range(date(2026, 5, 4), date(2026, 5, 8), "Testing"),))
    before, within, behind = (
        missed(plan, at(since), at(now))
        for since, now in (
            ("2026-05-02T22:00", "2026-05-03T23:00"),
            ("2026-05-02T22:00", "2026-05-04T01:00"),
            ("2026-05-07T22:00", "2026-05-09T01:00"),
        )
    )
    assert before and within and behind
    assert [before.additions_only, within.additions_only, behind.additions_only] == [False, True, True]


def test_a_run_that_its_place_in_the_spread_puts_behind_midnight_keeps_its_day() -> None:
    spread, key = timedelta(minutes=5), "0"
    delay, holiday = offset(spread, key), (Range(date(2026, 11, 26), date(2026, 11, 27)),)
    due = at("2026-11-25T23:59") + delay
    assert due > at("2026-11-26T00:01")
    for plan in (replace(schedule("23:59"), blackouts=holiday), replace(schedule("23:59"), additions_only=holiday)):
        run = missed(plan, due, due + timedelta(minutes=1), spread, key)
        assert run and not run.additions_only
        later = missed(plan, due, due + spread, spread, key)
        assert later is None or later.additions_only, "it is made up for on a day that is another one"


# ---------------------------------------------------------------------------------------------------------------- late

DAY = timedelta(days=1)


def test_a_delivery_is_late_after_one_and_a_half_times_the_usual_gap() -> None:
    gaps = [DAY, DAY, timedelta(hours=2), 9 * DAY, DAY]
    late = [is_late(schedule(), gaps, at("2026-10-05T02:00"), at(f"2026-10-06T{now}")) for now in ("14:00", "14:01")]
    assert late == [False, True]
    assert not is_late(schedule(), [], at("2026-10-05T02:00"), at("2027-10-05T02:00"))


def test_a_district_that_sends_from_friday_to_monday_is_not_late_on_saturday() -> None:
    plan = schedule(days=WEEKDAYS)
    friday = at("2026-10-02T02:05")
    assert not is_late(plan, DAY, friday, at("2026-10-05T09:00"))
    assert is_late(plan, DAY, friday, at("2026-10-05T14:30"))


def test_blackout_days_do_not_make_a_delivery_late() -> None:
    plan = replace(schedule(), blackouts=(Range(date(2026, 10, 6), date(2026, 10, 15)),))
    weekly = 7 * DAY
    assert not is_late(plan, weekly, at("2026-10-02T02:00"), at("2026-10-22T13:00"))
    assert is_late(plan, weekly, at("2026-10-02T02:00"), at("2026-10-22T15:00"))


# --------------------------------------------------------------------------------------------------------------- words


def test_a_schedule_is_a_sentence() -> None:
    plan = replace(schedule(days=WEEKDAYS), blackouts=(Range(date(2026, 6, 15), date(2026, 8, 10)),))
    assert sentence(plan) == "Every weekday at 2:00 AM Central; not 15 Jun to 10 Aug"
    assert sentence(plan, date(2026, 8, 11)) == "Every weekday at 2:00 AM Central"
    assert sentence(plan, date(2025, 8, 11)) == "Every weekday at 2:00 AM Central; not 15 Jun to 10 Aug 2026"


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (schedule("00:05", "12:00", zone="Asia/Kolkata"), "Every day at 12:05 AM and 12:00 PM Asia/Kolkata"),
        (schedule("23:30", zone="America/Phoenix", days=frozenset({6})), "Every Sunday at 11:30 PM Arizona"),
        (
            replace(
                schedule("05:00", "02:00", "20:15", zone="Pacific/Honolulu", days=frozenset({0, 2, 4})),
                first=date(2026, 8, 3),
                blackouts=(Range(date(2026, 12, 21), date(2027, 1, 4)), Range(date(2026, 11, 26), date(2026, 11, 26))),
                additions_only=(Range(date(2026, 8, 3), date(2026, 8, 14)),),
            ),
            "Every Monday, Wednesday and Friday at 2:00 AM, 5:00 AM and 8:15 PM Hawaii, from 3 Aug; "
            "not 26 Nov and 21 Dec 2026 to 4 Jan 2027; only adding 3 Aug to 14 Aug",
        ),
        (replace(schedule(), last=date(2027, 6, 4)), "Every day at 2:00 AM Central, until 4 Jun"),
        (
            replace(schedule(), first=date(2026, 8, 3), last=date(2027, 6, 4)),
            "Every day at 2:00 AM Central, 3 Aug 2026 to 4 Jun 2027",
        ),
    ],
)  # fmt: skip
def test_its_parts_are_told_as_people_say_them(plan: Schedule, words: str) -> None:
    assert sentence(plan) == words


@given(plan=schedules())
def test_a_schedule_survives_json(plan: Schedule) -> None:
    assert Schedule.from_json(json.loads(json.dumps(plan.as_json()))) == plan


@pytest.mark.parametrize(
    "data", [{}, {"days": [0]}, {"days": 3, "times": [], "zone": ""}, {"days": [], "times": ["2 AM"], "zone": ""}, []]
)
def test_what_is_no_schedule_is_refused_with_a_sentence(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a schedule"):
        Schedule.from_json(data)


def test_problems_are_told_in_sentences() -> None:
    assert schedule().problems() == []
    bad = [
        replace(schedule(), days=frozenset()),
        replace(schedule(), days=frozenset({7})),
        replace(schedule(), times=()),
        replace(schedule(), times=(time(2), time(2))),
        replace(schedule(), times=(time(2, 0, 30),)),
        replace(schedule(), times=tuple(time(hour, minute) for hour in range(24) for minute in (0, 30))),
        replace(schedule(), zone="Central"),
        replace(schedule(), zone="America"),
        replace(schedule(), zone="../passwd"),
        replace(schedule(), first=date(2026, 2, 2), last=date(2026, 2, 1)),
        replace(schedule(), blackouts=(Range(date(2026, 2, 2), date(2026, 2, 1)),)),
        replace(schedule(), first=date.min),
        replace(schedule(zone="Asia/Kolkata"), last=date(1, 1, 3)),
        replace(schedule(), additions_only=(Range(date(2026, 2, 2), date.max),)),
    ]
    told = [problems for plan in bad for problems in plan.problems()]
    assert len(told) == len(bad)
    assert all(words.endswith(".") and words[0].isupper() for words in told)
