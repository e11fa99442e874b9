"""One cause, one decision: what one hold is about waits, the rest goes ahead, and then it is decided by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest
from django.test import Client
from django.utils import timezone

from rosters import holding, making, syncs, tasks
from rosters.frames import scan
from rosters.holding import Which
from rosters.models import AuditEvent, Sync, User
from rosters.oneroster.normal import LISTED_REFERENCES, REFERENCES
from rosters.syncs.working import base_frames
from tests.journeys.trip import Trip
from tests.queue import work_off

if TYPE_CHECKING:
    from collections.abc import Callable

    from rosters.models import District

pytestmark = pytest.mark.django_db

ORGS, USERS, CLASSES, SEATS = "orgs", "users", "classes", "enrollments"
SCHOOL_GONE = Which("SCHOOL_GONE", "orgs", "school")
OTHER_PEOPLE = Which("OTHER_PEOPLE", "users", "")


@pytest.fixture
def before() -> making.Tables:
    return making.make_roster(users=400, seed=5, today=timezone.localdate(), name="Cedar Grove")


def _renamed_class(tables: making.Tables) -> making.Tables:
    first = pl.int_range(pl.len()) == 0
    title = pl.when(first).then(pl.lit("Renamed")).otherwise(pl.col("title")).alias("title")
    return {**tables, CLASSES: tables[CLASSES].with_columns(title)}


def _a_school_less(tables: making.Tables) -> making.Tables:
    """The last school is gone, with all that is of it."""
    school = tables[ORGS].filter(type="school")["sourcedId"][-1]
    less = {**tables, ORGS: tables[ORGS].filter(pl.col("sourcedId") != school)}
    for table, column in ((USERS, "orgSourcedIds"), (CLASSES, "schoolSourcedId"), (SEATS, "schoolSourcedId")):
        less[table] = tables[table].filter(~pl.col(column).str.contains(school, literal=True))
    people, classes = less[USERS]["sourcedId"], less[CLASSES]["sourcedId"]
    less[SEATS] = less[SEATS].filter(
        pl.col("userSourcedId").is_in(people.implode()) & pl.col("classSourcedId").is_in(classes.implode())
    )
    less["demographics"] = tables["demographics"].filter(pl.col("sourcedId").is_in(people.implode()))
    return {name: rows for name, rows in less.items() if name in tables}


def _names_slipped(tables: making.Tables) -> making.Tables:
    """Of twenty students the names stand a row further down, as do their seats."""
    some = tables[USERS].filter(role="student").head(20)
    slipped = some.with_columns(pl.col("givenName").shift(1).fill_null("Zz"), pl.lit("Qxyv").alias("familyName"))
    slipped = slipped.with_columns(givenName=pl.lit("Wk") + pl.col("sourcedId").str.slice(-3))
    users = tables[USERS].update(slipped.select("sourcedId", "givenName", "familyName"), on="sourcedId")
    theirs = pl.col("userSourcedId").is_in(some["sourcedId"].implode())
    seats = pl.concat([tables[SEATS].filter(~theirs), tables[SEATS].filter(theirs)[3:]])
    return {**tables, USERS: users, SEATS: seats}


def _grade_less(tables: making.Tables) -> making.Tables:
    grade = tables[USERS].filter(role="student")["grades"][0]
    gone = tables[USERS].filter(role="student", grades=grade)["sourcedId"]
    rest = {name: rows for name, rows in tables.items() if name not in (USERS, SEATS, "demographics")}
    return {
        **rest,
        USERS: tables[USERS].filter(~pl.col("sourcedId").is_in(gone.implode())),
        SEATS: tables[SEATS].filter(~pl.col("userSourcedId").is_in(gone.implode())),
        "demographics": tables["demographics"].filter(~pl.col("sourcedId").is_in(gone.implode())),
    }


def _twice(tables: making.Tables) -> making.Tables:
    """Thirty students come once more, under another id, and their seats go with the new one."""
    some = tables[USERS].filter(role="student").head(30)
    again = some.with_columns(sourcedId=pl.lit("new-") + pl.col("sourcedId"))
    theirs = pl.col("userSourcedId").is_in(some["sourcedId"].implode())
    user = pl.when(theirs).then(pl.lit("new-") + pl.col("userSourcedId")).otherwise("userSourcedId")
    ids = pl.when(theirs).then(pl.lit("new-") + pl.col("sourcedId")).otherwise("sourcedId")
    seats = tables[SEATS].with_columns(ids.alias("sourcedId"), user.alias("userSourcedId"))
    return {**tables, USERS: pl.concat([tables[USERS], again]), SEATS: seats}


def _cut(tables: making.Tables) -> making.Tables:
    return {**tables, CLASSES: tables[CLASSES][:-12], SEATS: tables[SEATS].filter(
        pl.col("classSourcedId").is_in(tables[CLASSES]["sourcedId"][:-12].implode())
    )}  # fmt: skip


def _shuffled(tables: making.Tables) -> making.Tables:
    """Every student sits in the next class of those that there are."""
    classes = tables[CLASSES]["sourcedId"]
    other = dict(zip(classes, [*classes[7:], *classes[:7]], strict=True))
    moved = (
        pl.when(pl.col("role") == "student").then(pl.col("classSourcedId").replace(other)).otherwise("classSourcedId")
    )
    return {**tables, SEATS: tables[SEATS].with_columns(moved.alias("classSourcedId"))}


def _term_less(tables: making.Tables) -> making.Tables:
    term = tables[CLASSES]["termSourcedIds"].str.split(",").explode().unique().sort()[0]
    sessions = tables["academicSessions"].filter(pl.col("sourcedId") != term)
    classes = tables[CLASSES].filter(~pl.col("termSourcedIds").str.contains(term, literal=True))
    seats = tables[SEATS].filter(pl.col("classSourcedId").is_in(classes["sourcedId"].implode()))
    return {**tables, "academicSessions": sessions, CLASSES: classes, SEATS: seats}


def _regraded(tables: making.Tables) -> making.Tables:
    return {**tables, USERS: tables[USERS].with_columns(middleName=pl.lit("Lee"))}


WRECKS: dict[str, Callable[[making.Tables], making.Tables]] = {
    "SCHOOL_GONE": _a_school_less, "OTHER_PEOPLE": _names_slipped, "GRADE_REMOVED_SHARE": _grade_less,
    "DOUBLED": _twice, "TAIL_MISSING": _cut, "MEMBERSHIP_TURNOVER": _shuffled, "TERM_GONE": _term_less,
    "UPDATED_SHARE": _regraded,
}  # fmt: skip


def _leads_nowhere(district: District) -> list[str]:
    """References of the accepted roster to records that are not in it."""
    district.refresh_from_db()
    base, found = base_frames(district), []
    for table in base:
        for column, to in {**REFERENCES[table], **LISTED_REFERENCES.get(table, {})}.items():
            named = scan(base, table).select(pl.col(column).str.split(",").explode()).collect().to_series().drop_nulls()
            there = scan(base, to).select("sourcedId").collect().to_series() if to in base else named.clear()
            if len(lost := named.filter((named != "") & ~named.is_in(there.implode()))):
                found.append(f"{table}.{column}: {len(lost)}")
    return found


def _without(trip: Trip, sync: Sync, which: Which) -> Sync:
    made = syncs.go_without(sync, which, by=trip.by)
    sync.refresh_from_db()
    assert (sync.status, made.delivery_id, made.received_at) == ("superseded", sync.delivery_id, sync.received_at)
    return syncs.prepare(made.pk) or made


def _standing(sync: Sync) -> set[Which]:
    holds = sync.holds.filter(explained=False).values_list("code", "table", "dimension")
    return {Which(*hold) for hold in holds}


def test_three_causes_are_three_decisions(trip: Trip, before: making.Tables) -> None:
    trip.go(trip.send(before))
    whole = trip.send(_a_school_less(_names_slipped(_renamed_class(before))))
    assert {SCHOOL_GONE, OTHER_PEOPLE} <= _standing(whole)
    first = _without(trip, whole, SCHOOL_GONE)
    assert SCHOOL_GONE not in _standing(first) and OTHER_PEOPLE in _standing(first)
    assert first.waiting and first.waiting + first.added + first.updated + first.removed == (
        whole.added + whole.updated + whole.removed
    )
    people = User.objects.of(trip.district).active().count()
    second = _without(trip, first, OTHER_PEOPLE)
    assert (second.status, second.added, second.updated, second.removed) == ("ready", 0, 1, 0)
    done = trip.go(second)
    assert User.objects.of(trip.district).active().count() == people and not _leads_nowhere(trip.district)
    after = syncs.rest_next(done)
    assert after is not None and syncs.rest_next(done) is None, "a task may run twice"
    rest = syncs.prepare(after.pk) or after
    assert {SCHOOL_GONE, OTHER_PEOPLE} <= _standing(rest)
    assert rest.added + rest.updated + rest.removed == second.waiting
    syncs.decline(_without(trip, rest, OTHER_PEOPLE), by=trip.by, reason="No school closed.")
    told = AuditEvent.objects.filter(action__in=["sync.went_without", "sync.rest_next"]).order_by("pk")
    assert [(event.action, event.after.get("code")) for event in told] == [
        ("sync.went_without", "SCHOOL_GONE"), ("sync.went_without", "OTHER_PEOPLE"), ("sync.rest_next", None),
        ("sync.went_without", "OTHER_PEOPLE"),
    ]  # fmt: skip


@pytest.mark.alike
@pytest.mark.parametrize("code", WRECKS)
def test_the_parts_make_up_the_whole_and_no_reference_leads_nowhere_between_them(
    trip: Trip, before: making.Tables, code: str
) -> None:
    trip.go(trip.send(before))
    whole = trip.send(WRECKS[code](_renamed_class(before)))
    assert code in {which.code for which in _standing(whole)}, list(whole.holds.values_list("code", "saw"))
    which = next(which for which in _standing(whole) if which.code == code)
    first = _without(trip, whole, which)
    assert which not in _standing(first)
    assert first.waiting and first.added + first.updated + first.removed >= 1
    done = trip.go(first)
    assert not _leads_nowhere(trip.district)
    after = syncs.rest_next(done)
    assert after is not None
    rest = syncs.prepare(after.pk) or after
    assert which in _standing(rest)
    trip.go(rest)
    assert not _leads_nowhere(trip.district)
    assert rest.target_digest == whole.target_digest, "as if it had been applied at once"


@pytest.mark.alike
def test_the_same_file_again_is_not_taken_as_live(trip: Trip, before: making.Tables) -> None:
    trip.go(trip.send(before))
    wrecked = _names_slipped(_renamed_class(before))
    done = trip.go(_without(trip, trip.send(wrecked), OTHER_PEOPLE))
    again = trip.send(wrecked)
    assert OTHER_PEOPLE in _standing(again) and again.status == "awaiting_review"
    assert syncs.rest_next(done) is None, "a newer delivery says the same"


@pytest.mark.alike
def test_who_keeps_an_old_name_keeps_the_seats_that_went_with_it(trip: Trip, before: making.Tables) -> None:
    trip.go(trip.send(before))
    some = before[USERS].filter(role="student").head(20)["sourcedId"].to_list()
    user = User.objects.of(trip.district).get(sourced_id=some[0])
    seats = user.enrollments.active().count()
    trip.go(_without(trip, trip.send(_names_slipped(_renamed_class(before))), OTHER_PEOPLE))
    assert user.enrollments.active().count() == seats


@pytest.mark.alike
def test_what_cannot_wait_is_refused(trip: Trip, before: making.Tables) -> None:
    trip.go(trip.send(before))
    whole = trip.send(_a_school_less(before))
    follows = whole.holds.filter(explained=True).first()
    assert follows is not None
    with pytest.raises(syncs.DecisionRefused, match="cannot wait"):
        syncs.go_without(whole, Which(follows.code, follows.table, follows.dimension), by=trip.by)
    with pytest.raises(syncs.DecisionRefused, match="cannot wait"):
        syncs.go_without(whole, OTHER_PEOPLE, by=trip.by)
    trip.go(whole)
    with pytest.raises(syncs.DecisionRefused, match="cannot wait"):
        syncs.go_without(whole, SCHOOL_GONE, by=trip.by)


@pytest.mark.alike
def test_what_was_taken_apart_never_goes_live_by_itself(trip: Trip, before: making.Tables) -> None:
    trip.go(trip.send(before))
    trip.district.applies_automatically = True
    trip.district.save()
    made = syncs.go_without(trip.send(_names_slipped(_renamed_class(before))), OTHER_PEOPLE, by=trip.by)
    tasks.prepare(sync_id=made.pk)
    made.refresh_from_db()
    assert made.status == "ready"


def _without_people(tables: making.Tables, gone: pl.Series) -> making.Tables:
    less = {**tables, "users": tables["users"].filter(~pl.col("sourcedId").is_in(gone.implode()))}
    less["enrollments"] = tables["enrollments"].filter(~pl.col("userSourcedId").is_in(gone.implode()))
    return {**less, "demographics": tables["demographics"].filter(~pl.col("sourcedId").is_in(gone.implode()))}


def test_what_waited_never_goes_live_by_itself_though_nothing_is_unusual_any_more(
    trip: Trip, before: making.Tables
) -> None:
    students = before[USERS].filter(role="student")["sourcedId"]
    late, leaving = students.head(60), students[60:].gather_every(12).head(18)
    trip.go(trip.send(_without_people(before, late)))
    trip.district.applies_automatically = True
    trip.district.save()
    whole = trip.send(_without_people(before, leaving))
    part = syncs.go_without(whole, Which("REMOVED_SHARE", "users", ""), by=trip.by)
    done = trip.go(syncs.prepare(part.pk) or part)
    assert done.added and not done.removed
    tasks.recover()
    work_off()
    rest = Sync.objects.latest("pk")
    assert (rest.status, rest.holds.exists()) == ("ready", False) and rest.removed, (
        "of more people it is no large share"
    )


@pytest.mark.alike
def test_who_takes_a_plan_apart_does_not_decide_alone_about_the_parts(trip: Trip, before: making.Tables) -> None:
    trip.go(trip.send(before))
    trip.district.needs_two_people = True
    trip.district.save()
    less = _grade_less(before)
    whole = trip.send(_without_people(less, less[USERS].filter(role="student")["sourcedId"].gather_every(5).head(60)))
    assert whole.needs_two_people
    which = next(which for which in _standing(whole) if which.code == "GRADE_REMOVED_SHARE")
    part = _without(trip, whole, which)
    people = part.tallies.get(table=USERS, dimension="")
    assert 0 < people.removed <= 0.2 * people.before, "by itself it would take one"
    assert not syncs.approve(part, by=trip.by, plan_digest=part.plan_digest)


@pytest.mark.alike
def test_what_is_not_kept_any_more_goes_with_the_part(trip: Trip, before: making.Tables) -> None:
    trip.go(trip.send(before))
    whole = trip.send(_grade_less(before))
    which = next(which for which in _standing(whole) if which.code == "GRADE_REMOVED_SHARE")
    trip.district.not_kept = ["users.email"]
    trip.district.hold_limits = {"group_removed_share": 1.0, "removed_share": 1.0}
    trip.district.save()
    part = _without(trip, whole, which)
    assert part.updated and not part.waiting, "nothing is unusual by the new limits"
    trip.go(part)
    assert not User.objects.active().exclude(email="").exists()


@pytest.mark.looks
def test_on_the_page_and_over_the_api(trip: Trip, before: making.Tables) -> None:
    trip.go(trip.send(before))
    waiting = trip.send(_a_school_less(_names_slipped(_renamed_class(before))))
    staff = Client()
    staff.force_login(trip.by)
    at = f"/admin/rosters/sync/{waiting.pk}/"
    assert staff.get(f"{at}change/").content.decode().count("Go ahead without this") == len(
        [which for which in _standing(waiting) if which.code in holding.MAY_WAIT]
    )
    assert staff.get(f"{at}go-without/").status_code == 405, "nothing is done by GET"
    answer = staff.post(f"{at}go-without/", SCHOOL_GONE._asdict(), follow=True)
    first = Sync.objects.latest("pk")
    assert first.set_aside == [list(SCHOOL_GONE)] and b"What is to wait:" in answer.content
    assert staff.post(f"{at}go-without/", SCHOOL_GONE._asdict()).status_code == 409
    first = syncs.prepare(first.pk) or first
    said = waiting.holds.get(code="SCHOOL_GONE").saw
    page = staff.get(f"/admin/rosters/sync/{first.pk}/change/").content.decode()
    assert f"{first.waiting:,} changes of its file wait" in page and said in page
    asked = f"/api/v1/syncs/{first.pk}/go-without"
    assert staff.post(asked, {"code": "STALE", "table": ""}, "application/json").status_code == 400
    made = staff.post(asked, OTHER_PEOPLE._asdict(), "application/json")
    assert made.status_code == 202 and made.json()["set_aside"] == [list(SCHOOL_GONE), list(OTHER_PEOPLE)]
    assert staff.post(asked, OTHER_PEOPLE._asdict(), "application/json").status_code == 409
