"""Several files of one district: which takes the place of which, which waits behind which, and that nothing older goes
live over something newer."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest
from django.contrib.auth.models import User as Staff
from django.utils import timezone

from rosters import making, syncs, tasks
from rosters.models import AuditEvent, Delivery, Enrollment, Org, Sync, User
from tests.journeys.test_scope import of_school, pack, schools, send
from tests.journeys.trip import Trip
from tests.queue import work_off
from tests.rosters.reading.sets import manifest, packed

pytestmark = pytest.mark.django_db


def _gone(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(status=pl.lit("tobedeleted"))


def _changes(trip: Trip, name: str, tables: making.Tables) -> Sync:
    """A file of changes is received and prepared."""
    now, files = timezone.now().strftime("%Y-%m-%dT%H:%M:%S.000Z"), {}
    for table, rows in tables.items():
        status = pl.when(pl.col("status") == "").then(pl.lit("active")).otherwise("status").alias("status")
        said = rows.with_columns(status, dateLastModified=pl.lit(now))
        files[f"{table}.csv"] = said.write_csv(line_terminator="\r\n")
    return trip.send_file(packed(trip.folder / name, {"manifest.csv": manifest(*tables, mode="delta"), **files}))


def _renamed(tables: making.Tables, name: str) -> making.Tables:
    return {**tables, "users": tables["users"].with_columns(middleName=pl.lit(name))}


def _one_renamed(tables: making.Tables) -> making.Tables:
    first = pl.int_range(pl.len()) == 0
    name = pl.when(first).then(pl.lit("New")).otherwise(pl.col("middleName")).alias("middleName")
    return {**tables, "users": tables["users"].with_columns(name)}


def _status(sync: Sync) -> str:
    sync.refresh_from_db()
    return sync.status


def _for_later(trip: Trip, sync: Sync) -> None:
    syncs.approve(sync, by=trip.by, plan_digest=sync.plan_digest, go_live_at=timezone.now() + timedelta(hours=5))


def test_what_was_approved_for_later_gives_way_to_a_newer_file_that_changes_nothing(
    trip: Trip, tables: making.Tables
) -> None:
    trip.go(trip.send(tables))
    wrong = trip.send(making.without_school(tables, 0))
    _for_later(trip, wrong)
    corrected = trip.send(tables)
    assert (corrected.status, _status(wrong)) == ("unchanged", "superseded")
    assert (wrong.decision, wrong.go_live_at) == ("", None)
    Sync.objects.filter(pk=wrong.pk).update(status_since=timezone.now() - timedelta(hours=6))
    tasks.recover()
    work_off()
    assert Org.objects.active().filter(type="school").count() == len(schools(tables))
    told = AuditEvent.objects.get(action="sync.superseded", sync=wrong)
    assert told.after == {"by": corrected.pk}


def test_a_newer_file_that_changes_nothing_is_compared_anew_after_an_older_one_went_live(
    trip: Trip, tables: making.Tables
) -> None:
    trip.go(trip.send(tables))
    wrong = trip.send(making.without_school(tables, 0))
    _for_later(trip, wrong)
    Sync.objects.filter(pk=wrong.pk).update(status="applying")  # a worker has it while the next file comes
    corrected = trip.send(tables)
    assert (corrected.status, _status(wrong)) == ("unchanged", "applying")
    Sync.objects.filter(pk=wrong.pk).update(status="approved", go_live_at=None)
    tasks.apply(sync_id=wrong.pk)
    work_off()
    assert _status(corrected) in Sync.WAITING and corrected.added
    trip.go(corrected)
    assert Org.objects.active().filter(type="school").count() == len(schools(tables))
    assert syncs.withdraw_outdated(timezone.now()) == []


def test_a_file_of_changes_waits_behind_an_older_one_and_neither_is_lost(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    leaving = tables["enrollments"].head(60)
    trip.district.applies_automatically = True
    trip.district.save()
    first = _changes(trip, "first.zip", {"enrollments": _gone(leaving)})
    second = _changes(trip, "second.zip", _renamed({"users": tables["users"].head(1)}, "New"))
    assert (_status(first), second.status) == ("awaiting_review", "ready")
    assert syncs.stands_behind(second) == first
    with pytest.raises(syncs.DecisionRefused, match="older file waits"):
        syncs.approve(second, by=None, plan_digest=second.plan_digest)
    first = syncs.prepare(syncs.retry(first, by=trip.by).pk) or first  # what stands behind it is no reason not to
    trip.go(first)
    tasks.recover()
    work_off()
    assert _status(second) == "applied"
    ids = leaving["sourcedId"].to_list()
    assert not Enrollment.objects.active().filter(sourced_id__in=ids).exists()
    assert User.objects.get(sourced_id=tables["users"]["sourcedId"][0]).middle_name == "New"


def test_after_the_older_one_is_declined_the_newer_goes_live_by_itself(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    trip.district.applies_automatically = True
    trip.district.save()
    first = _changes(trip, "first.zip", {"enrollments": _gone(tables["enrollments"].head(60))})
    second = _changes(trip, "second.zip", _renamed({"users": tables["users"].head(1)}, "New"))
    syncs.decline(first, by=trip.by, reason="They stay.")
    Sync.objects.filter(pk=second.pk).update(status_since=timezone.now() - timedelta(hours=1))
    tasks.recover()
    work_off()
    assert _status(second) == "applied" and second.decided_automatically


def test_what_a_person_took_back_does_not_go_live_by_itself(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    trip.district.applies_automatically = True
    trip.district.save()
    ready = trip.send(_one_renamed(tables))
    assert ready.status == "ready"
    _for_later(trip, ready)
    syncs.take_back(ready, by=trip.by)
    Sync.objects.filter(pk=ready.pk).update(status_since=timezone.now() - timedelta(hours=1))
    tasks.recover()
    work_off()
    assert _status(ready) == "ready"


@pytest.mark.alike
def test_a_full_file_takes_the_place_of_all_before_it_and_one_of_some_tables_does_not(
    trip: Trip, tables: making.Tables
) -> None:
    trip.go(trip.send(tables))
    first = trip.send(_renamed(making.without_school(tables, 0), "One"))
    some = {name: tables[name] for name in ("orgs", "users")}
    part = trip.send(_renamed(some, "Two"))
    assert _status(first) in Sync.WAITING and syncs.stands_behind(part) == first
    adding = syncs.receive(
        trip.district, pack(trip, _renamed(tables, "Three")), origin="staff", name="a.zip", additions_only=True
    )
    syncs.prepare(adding.pk)
    assert _status(first) in Sync.WAITING
    trip.send(_renamed(tables, "Four"))
    assert [_status(sync) for sync in (first, part, adding)] == ["superseded"] * 3


@pytest.mark.alike
@pytest.mark.parametrize("sent", ["another's", "nothing"])
def test_what_nobody_may_approve_and_what_says_nothing_take_no_good_file_away(
    trip: Trip, tables: making.Tables, sent: str
) -> None:
    trip.go(trip.send(tables))
    good = trip.send(making.without_school(tables, 0))
    other = making.make_roster(users=90, seed=77, today=timezone.localdate(), name="Elsewhere")
    wrong = trip.send(other if sent == "another's" else {})
    assert _status(good) in Sync.WAITING and not syncs.newer_has_come(good)
    if wrong.status in Sync.WAITING:
        syncs.decline(wrong, by=trip.by, reason="It is not theirs.")
    trip.go(syncs.prepare(syncs.retry(good, by=trip.by).pk) or good)


@pytest.mark.alike
@pytest.mark.parametrize("between", ["a broken file", "of another school"])
def test_removals_that_wait_come_although_a_file_came_that_says_nothing_of_them(
    trip: Trip, tables: making.Tables, between: str
) -> None:
    trip.go(trip.send(tables))
    mine, other = schools(tables)[:2]
    sent = _renamed(of_school(tables, mine), "Q")
    sent["enrollments"] = sent["enrollments"].tail(-20)
    waiting = send(trip, pack(trip, sent), mine)
    if between == "a broken file":
        broken = trip.folder / "bad.zip"
        broken.write_bytes(b"8 bytes.")
        trip.send_file(broken)
    else:
        send(trip, pack(trip, of_school(tables, other), "other.zip"), other)
    first = syncs.additions_first(waiting, by=trip.by)
    done = trip.go(syncs.prepare(first.pk) or first)
    after = syncs.rest_next(done)
    assert after is not None and (syncs.prepare(after.pk) or after).removed == 20


@pytest.mark.alike
def test_a_refused_file_of_another_district_is_known_as_that_and_nothing_of_it_is_kept_to_be_seen(
    trip: Trip, tables: making.Tables
) -> None:
    trip.go(trip.send(tables))
    other = making.make_roster(users=200, seed=77, today=timezone.localdate(), name="Elsewhere")
    other["users"] = other["users"].with_columns(role=pl.lit("Lehrer"))
    refused = trip.send(other)
    assert refused.status == "rejected" and refused.seems_anothers
    assert not any(finding.places for finding in refused.findings.all())
    ours = trip.send({**tables, "users": tables["users"].with_columns(role=pl.lit("Lehrer"))})
    assert ours.status == "rejected" and not ours.seems_anothers
    assert any(finding.places for finding in ours.findings.all())


@pytest.mark.alike
def test_what_seemed_another_districts_seems_so_until_it_was_looked_at_again(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    sync = trip.send(making.make_roster(users=200, seed=77, today=timezone.localdate(), name="Elsewhere"))
    assert sync.delivery and sync.holds.filter(code="WRONG_DISTRICT").exists()
    Delivery.objects.filter(pk=sync.delivery.pk).update(origin="sftp")
    syncs.retry(sync, by=trip.by)
    syncs.store().original(trip.district.pk, sync.delivery.sha256).unlink()
    for _ in range(Sync.MAX_ATTEMPTS):
        syncs.prepare(sync.pk)
    assert Sync.objects.get(pk=sync.pk).status == "failed" and Sync.objects.get(pk=sync.pk).seems_anothers


@pytest.mark.alike
def test_of_what_staff_uploaded_nobody_knows_whose_it_is_before_it_was_looked_at(
    trip: Trip, tables: making.Tables
) -> None:
    trip.go(trip.send(tables))
    path = pack(trip, _renamed(tables, "New"))
    ours, theirs = (syncs.receive(trip.district, path, origin=origin, name="a.zip") for origin in ("staff", "district"))
    assert ours.seems_anothers and not theirs.seems_anothers
    assert not (syncs.prepare(ours.pk) or ours).seems_anothers


@pytest.mark.alike
def test_another_districts_file_leaves_nothing_in_the_list_of_kept_ids(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    trip.district.keeps_ids_by_itself = True
    trip.district.save()
    other = making.make_roster(users=90, seed=77, today=timezone.localdate(), name="Elsewhere")
    one = tables["users"].filter(role="student").row(0, named=True)
    hit = pl.col("sourcedId") == other["users"].filter(role="student")["sourcedId"][0]
    same = ("givenName", "familyName", "identifier", "username", "email")
    other["users"] = other["users"].with_columns(
        pl.when(hit).then(pl.lit(one[name])).otherwise(pl.col(name)).alias(name) for name in same
    )
    assert trip.send(other).holds.filter(code="WRONG_DISTRICT").exists()
    trip.district.refresh_from_db()
    assert trip.district.kept_ids is None


def test_a_plan_made_anew_that_changes_nothing_has_no_number_of_the_old_one(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    gone = trip.go(trip.send(making.without_school(tables, 0)))
    back = trip.undo(gone)
    assert back.added and back.tallies.exists()
    trip.go(trip.send(tables))
    syncs.recover()
    back = syncs.prepare(back.pk) or back
    assert (back.status, back.added, back.people_affected) == ("unchanged", 0, 0)
    assert not back.tallies.exists() and not back.holds.exists()


@pytest.mark.alike
def test_what_is_live_again_by_an_undo_of_its_undo_can_be_taken_back_again(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    done = trip.go(trip.send(making.next_day(tables, change=0.05, seed=1)[0]))
    trip.go(trip.undo(trip.go(trip.undo(done))))
    done.refresh_from_db()
    assert done.undone_at is None
    assert trip.go(trip.undo(done)).undoes == done


def test_who_switches_two_people_off_does_not_decide_alone(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    trip.district.needs_two_people = True
    trip.district.save()
    waiting = trip.send(making.without_school(tables, 0))
    assert not syncs.approve(waiting, by=trip.by, plan_digest=waiting.plan_digest)
    trip.district.needs_two_people = False
    trip.district.save()
    AuditEvent.objects.create(
        at=timezone.now(), by=trip.by, action="district.changed", district=trip.district,
        before={"needs_two_people": True}, after={"needs_two_people": False},
    )  # fmt: skip
    with pytest.raises(syncs.DecisionRefused, match="ask somebody else"):
        syncs.approve(waiting, by=trip.by, plan_digest=waiting.plan_digest)
    anew = trip.send(_renamed(making.without_school(tables, 0), "New"))
    assert not syncs.approve(anew, by=trip.by, plan_digest=anew.plan_digest), "a second is asked for"
    other = Staff.objects.create_user("rita", is_staff=True)
    assert syncs.approve(anew, by=other, plan_digest=anew.plan_digest)
