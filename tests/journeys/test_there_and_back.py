"""Whole trips: what arrives, what goes live, what is taken back; after each, live equals the accepted snapshot."""

from __future__ import annotations

import html
import random
from datetime import timedelta
from io import StringIO
from pathlib import Path

import polars as pl
import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from rosters import making, syncs
from rosters.models import AuditEvent, Enrollment, Org, Snapshot, Sync, User
from rosters.words import sync_words
from tests.journeys.trip import Trip

pytestmark = pytest.mark.django_db


def digest(sync: Sync) -> str:
    assert sync.result is not None
    return sync.result.digest


def test_the_first_roster_waits_then_lives_and_the_same_again_changes_nothing(
    trip: Trip, tables: making.Tables
) -> None:
    first = trip.send(tables)
    assert first.status == "awaiting_review"
    assert [h.code for h in first.holds.all()] == ["FIRST_DELIVERY"]
    trip.go(first)
    assert User.objects.filter(status="active").count() == len(tables["users"])
    assert Enrollment.objects.filter(status="active").count() == len(tables["enrollments"])
    assert trip.send(tables).status == "unchanged"
    shuffled = {name: frame.reverse() for name, frame in reversed(list(tables.items()))}
    assert trip.send(shuffled).status == "unchanged"
    trip.verify()


def test_a_day_is_applied_and_undone_to_the_very_digest(trip: Trip, tables: making.Tables, staff: Client) -> None:
    def page(sync: Sync) -> str:
        return " ".join(staff.get(reverse("admin:rosters_sync_change", args=[sync.pk])).text.split())

    first = trip.go(trip.send(tables))
    day_two, _ = making.next_day(tables, change=0.1, seed=3)
    second = trip.go(trip.send(day_two))
    assert second.added + second.updated + second.removed > 0
    assert User.objects.filter(status="active").count() == len(day_two["users"])
    not_now = trip.undo(second)
    syncs.decline(not_now, by=trip.by, reason="Not now.")
    assert "what it would have taken back stays" in page(not_now) and "It is the move" not in page(not_now)
    assert "so all of it is taken back" not in page(not_now)
    assert "Declined <time" in page(not_now) and "stays live meanwhile" not in page(not_now)
    back = trip.go(trip.undo(second))
    second.refresh_from_db()
    assert "Work out how to undo" not in page(second) and "An undo of this sync exists" in page(second)
    assert sync_words(second).word == "Taken back"
    assert digest(back) == digest(first)
    forth = trip.go(trip.undo(back))
    second.refresh_from_db()
    back.refresh_from_db()
    assert (sync_words(second).word, sync_words(back).word) == ("Applied", "Taken back")
    assert digest(forth) == digest(second)
    assert "Work out how to undo" in page(second), "it is live again"


def test_a_part_of_a_sync_is_taken_back_and_then_the_rest(trip: Trip, tables: making.Tables, staff: Client) -> None:
    before = trip.go(trip.send(tables))
    sync = trip.send(making.without_school(making.without_school(tables, 0), 0))
    sync = trip.go(sync)
    schools = list(sync.tallies.filter(table="users", dimension="school", removed__gt=0).order_by("key"))
    assert len(schools) == 2 and Org.objects.filter(type="school", status="active").count() == 1
    mine, other = schools
    address = reverse("admin:rosters_sync_undo", args=[sync.pk])
    asked = staff.post(address, {"school": mine.key, "kind": "removed"}, follow=True)
    assert asked.status_code == 200
    part = syncs.prepare(Sync.objects.latest("pk").pk)
    assert part and part.undo_only == {"school": mine.key, "kind": "removed"}
    assert f"Would take back what that sync removed of {mine.label}" in part.verdict
    trip.go(part)
    there = set(User.objects.filter(status="active").values_list("primary_org__sourced_id", flat=True))
    assert mine.key in there and other.key not in there
    sync.refresh_from_db()
    assert sync.undone_at is None, "it is in force but for that"
    with pytest.raises(syncs.DecisionRefused, match="exists already"):
        syncs.undo(sync, by=trip.by, school=mine.key, kind="removed")
    page = staff.get(reverse("admin:rosters_sync_change", args=[sync.pk])).content.decode()
    assert "An undo of a part of it" in page and "Work out how to take that back" in page and other.label in page
    trip.go(syncs.prepare(syncs.undo(sync, by=trip.by, school=other.key).pk) or sync)
    assert other.key in set(User.objects.filter(status="active").values_list("primary_org__sourced_id", flat=True))
    whole = trip.undo(sync)
    assert whole.status == "unchanged"
    page = staff.get(reverse("admin:rosters_sync_change", args=[sync.pk])).text
    assert "Work out how to undo" in page, "it took nothing back, and is not in the way"
    assert Snapshot.objects.latest("pk").digest == digest(before), "part by part it is as it was"
    assert staff.post(address, {"kind": "turned over"}).status_code == 400


def test_who_left_and_comes_back_keeps_the_same_key(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    person = User.objects.filter(role="student").earliest("pk")
    gone = {name: _without(frame, person.sourced_id) for name, frame in tables.items()}
    trip.go(trip.send(gone))
    person.refresh_from_db()
    assert person.status == "tobedeleted"
    trip.go(trip.send(tables))
    again = User.objects.get(sourced_id=person.sourced_id)
    assert (again.pk, again.status) == (person.pk, "active")


def _without(frame: pl.DataFrame, who: str) -> pl.DataFrame:
    for column in ("userSourcedId", "sourcedId"):
        if column in frame.columns:
            frame = frame.filter(pl.col(column) != who)
    if "agentSourcedIds" in frame.columns:
        frame = frame.with_columns(
            pl.when(pl.col("agentSourcedIds").str.contains(who, literal=True))
            .then(pl.lit(""))
            .otherwise(pl.col("agentSourcedIds"))
            .alias("agentSourcedIds")
        )
    return frame


def test_an_undo_after_a_later_change_leaves_that_alone_and_lists_it(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    who = tables["users"]["sourcedId"][0]
    second = trip.go(trip.send(_renamed(tables, who, "Second", "Second")))
    trip.go(trip.send(_renamed(tables, who, "Third", "Second")))
    undoing = trip.undo(second)
    conflicts, total = syncs.undo_conflicts(undoing)
    assert total == 1
    assert [(c.table, c.sourced_id, c.column) for c in conflicts] == [("users", who, "familyName")]
    trip.go(undoing)
    person = User.objects.get(sourced_id=who)
    assert person.family_name == "Third"
    assert person.middle_name == tables["users"]["middleName"][0]


def _renamed(tables: making.Tables, who: str, family: str, middle: str) -> making.Tables:
    mine = pl.col("sourcedId") == who
    users = tables["users"].with_columns(
        familyName=pl.when(mine).then(pl.lit(family)).otherwise(pl.col("familyName")),
        middleName=pl.when(mine).then(pl.lit(middle)).otherwise(pl.col("middleName")),
    )
    return {**tables, "users": users}


def test_a_bad_row_keeps_its_last_values_and_never_counts_as_removed(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    who = tables["classes"]["sourcedId"][0]
    bad = tables["classes"].with_columns(
        classType=pl.when(pl.col("sourcedId") == who).then(pl.lit("lunch")).otherwise(pl.col("classType"))
    )
    sync = trip.send({**tables, "classes": bad})
    assert sync.status == "unchanged", sync.verdict
    assert sync.quarantined == 1
    assert "But 1 row cannot be used;" in sync.verdict
    trip.verify()


def test_a_missing_column_empties_nothing(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    sync = trip.send({**tables, "users": tables["users"].drop("email")})
    assert sync.status == "unchanged", sync.verdict
    assert "OR-CSV-063" in {f.code for f in sync.findings.all()}


def test_missing_files_and_header_only_files_remove_nothing(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    without = trip.send({name: frame for name, frame in tables.items() if name != "enrollments"})
    assert (without.status, without.removed) in (("unchanged", 0), ("awaiting_review", 0))
    empty = trip.send({**tables, "enrollments": tables["enrollments"].head(0)})
    assert empty.removed == 0
    trip.verify()


def test_unchanged_says_of_which_files_it_knows_nothing(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    some = {name: frame for name, frame in tables.items() if name != "demographics"}
    some["enrollments"] = some["enrollments"].head(0)
    sync = trip.send(some)
    assert sync.status == "unchanged"
    assert sync.verdict == (
        "Nothing changed: what came is live already. But demographics.csv did not come and enrollments.csv holds no "
        "rows; what we have of that stays as it is."
    )
    nothing = trip.send({})
    assert nothing.status == "unchanged"
    assert nothing.verdict == "Nothing changed: no file with rows came. What we have stays as it is."


def test_files_without_a_single_row_are_refused_and_not_called_unchanged(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    sync = trip.send({name: frame.head(0) for name, frame in tables.items()})
    assert (sync.status, sync.error_code) == ("rejected", "ROSTER-EMPTY")
    assert sync.verdict == "No file came with a row that can be used. The roster stays as it was."


def test_a_cut_off_file_is_refused_and_yesterdays_roster_stays(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    path = trip.folder / "cut.zip"
    making.write_zip(path, tables)
    path.write_bytes(path.read_bytes()[:-200])
    sync = trip.send_file(path)
    assert (sync.status, sync.error_code) == ("rejected", "ROSTER-UNREADABLE")
    assert "stays as it was" in sync.verdict
    trip.verify()


def test_1_2_arrives_and_serves_the_same_people(trip: Trip) -> None:
    made = making.make_roster(users=70, seed=2, today=timezone.localdate(), name="Cedar Grove", version="1.2")
    sync = trip.go(trip.send(made, version="1.2"))
    assert sync.oneroster_version == "1.2"
    assert User.objects.filter(role="student").exists()
    assert trip.send(made, version="1.2").status == "unchanged"


def test_an_old_page_approves_nothing(trip: Trip, tables: making.Tables) -> None:
    sync = trip.send(tables)
    with pytest.raises(syncs.StalePlan):
        syncs.approve(sync, by=trip.by, plan_digest="0" * 64)
    sync.refresh_from_db()
    assert (sync.status, sync.decision) == ("awaiting_review", "")


def test_a_newer_delivery_takes_the_place_of_one_that_waits(trip: Trip, tables: making.Tables) -> None:
    first = trip.send(tables)
    trip.send(making.without_school(tables, 0))
    first.refresh_from_db()
    assert first.status == "superseded"
    with pytest.raises(syncs.DecisionRefused):
        syncs.approve(first, by=trip.by, plan_digest=first.plan_digest)


def test_an_empty_roster_and_another_districts_cannot_be_approved(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    other = making.make_roster(users=95, seed=77, today=timezone.localdate(), name="Elsewhere")
    foreign = trip.send(other)
    assert "WRONG_DISTRICT" in {h.code for h in foreign.holds.all()}
    with pytest.raises(syncs.NotApprovable):
        syncs.approve(foreign, by=trip.by, plan_digest=foreign.plan_digest)
    names = set(other["users"]["familyName"]) - {""}
    assert not list(syncs.store().sync_folder(trip.district.pk, foreign.pk).glob("**/*.parquet"))
    assert not any(name in str(list(foreign.tallies.values())) for name in names if len(name) > 4)


def test_what_was_applied_long_ago_cannot_be_undone(trip: Trip, tables: making.Tables) -> None:
    first = trip.go(trip.send(tables))
    with pytest.raises(syncs.DecisionRefused):
        syncs.undo(first, by=trip.by, now=timezone.now() + timedelta(days=91))


def test_tasks_delivered_twice_do_nothing_twice(trip: Trip, tables: making.Tables) -> None:
    sync = trip.send(tables)
    assert syncs.prepare(sync.pk) is None
    trip.go(sync)
    assert syncs.apply(sync.pk) is None
    trip.district.refresh_from_db()
    assert trip.district.version == 1


def test_what_a_dead_worker_left_is_picked_up_and_given_up_after_three_times(trip: Trip, tables: making.Tables) -> None:
    sync = trip.send(tables)
    Sync.objects.filter(pk=sync.pk).update(
        status="preparing", claimed_until=timezone.now() - timedelta(seconds=1), attempts=1
    )
    assert syncs.recover() == ([sync.pk], [])
    assert (syncs.prepare(sync.pk) or sync).status == "awaiting_review"
    Sync.objects.filter(pk=sync.pk).update(
        status="preparing", claimed_until=timezone.now() - timedelta(seconds=1), attempts=3
    )
    assert syncs.recover() == ([], [])
    sync.refresh_from_db()
    assert (sync.status, sync.error_code) == ("failed", "WORKER-LOST")


def test_every_step_leaves_an_audit_row(trip: Trip, tables: making.Tables) -> None:
    sync = trip.go(trip.send(tables))
    actions = list(AuditEvent.objects.filter(sync=sync).order_by("pk").values_list("action", flat=True))
    assert actions == ["delivery.received", "sync.approved", "sync.applied"]


def test_a_changed_live_row_is_found_by_verify(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    User.objects.filter(pk=User.objects.earliest("pk").pk).update(family_name="Tampered")
    with pytest.raises(SystemExit) as left:
        call_command("verify_rosters", stdout=StringIO())
    assert left.value.code == 1


def test_after_any_walk_live_is_what_was_accepted(trip: Trip, tables: making.Tables) -> None:
    """Twenty random steps; `Trip.go` verifies after each apply."""
    dice = random.Random(20261124)
    now = tables
    trip.go(trip.send(now))
    for step in range(20):
        choice = dice.choice(["day", "day", "undo", "decline", "same", "corrupt", "school"])
        if choice == "day":
            now, _ = making.next_day(now, change=dice.choice([0.02, 0.2]), seed=step)
            sync = trip.send(now)
            if sync.status in ("ready", "awaiting_review") and all(h.approvable for h in sync.holds.all()):
                trip.go(sync)
        elif choice == "undo":
            latest = Sync.objects.filter(status="applied", base_version__gt=0).order_by("-applied_at").first()
            if latest is not None and not latest.undone_by.exists():
                undoing = trip.undo(latest)
                if undoing.status == "awaiting_review":
                    trip.go(undoing)
        elif choice == "decline":
            sync = trip.send(making.next_day(now, change=0.1, seed=1000 + step)[0])
            if sync.status in ("ready", "awaiting_review"):
                syncs.decline(sync, by=trip.by, reason="no")
        elif choice == "corrupt":
            path = trip.folder / "corrupt.zip"
            making.write_zip(path, now)
            data = bytearray(path.read_bytes())
            data[dice.randrange(len(data))] ^= 0xFF
            path.write_bytes(bytes(data))
            trip.send_file(path)
        elif choice == "school":
            trip.send(making.without_school(now, 0))
        else:
            trip.send(now)
        trip.verify()


def test_the_file_of_a_district_that_we_know_is_told_from_ones_own(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    twin = Trip(trip.folder, trip.by, name="Harbor City", site_code="1002")
    first = twin.send(tables)
    assert "Cedar Grove has the same orgs" in first.holds.get(code="FIRST_DELIVERY").usual


def test_the_first_roster_can_be_undone_and_come_again(trip: Trip, tables: making.Tables) -> None:
    """Somebody approved a file that was meant for another district."""
    first = trip.go(trip.send(tables))
    kept = set(User.objects.values_list("sourced_id", "pk"))
    undoing = trip.undo(first)
    assert undoing.status == "awaiting_review"
    trip.go(undoing)
    assert not User.objects.filter(status="active").exists()
    again = trip.send(tables)
    assert [hold.code for hold in again.holds.all()] == ["FIRST_DELIVERY"], "nothing lives: a person looks again"
    assert trip.go(again).target_digest == first.target_digest
    assert set(User.objects.filter(status="active").values_list("sourced_id", "pk")) == kept


def test_the_page_speaks_of_what_happened_as_of_the_past(trip: Trip, tables: making.Tables, staff: Client) -> None:
    def page(sync: Sync) -> str:
        address = reverse("admin:rosters_sync_change", args=[sync.pk])
        return " ".join(html.unescape(staff.get(address).content.decode()).split())

    received = syncs.receive(trip.district, _as_zip(trip, tables), origin="staff", name="first.zip", by=trip.by)
    assert "an empty roster" not in page(received), "nobody has looked yet"
    first = trip.go(syncs.prepare(received.pk) or received)
    assert "as version 1 of the roster." in page(first) and "against an empty roster" in page(first)
    without = trip.send(making.without_school(tables, 0))
    waiting = page(without)
    assert 'scope="col" class="n">Now<' in waiting and "Why; the district reads this" in waiting
    assert "Approve 0" not in waiting and " 0 addition" not in waiting
    without = trip.go(without)
    done = page(without)
    assert "as version 2 of the roster." in done and "Before that it said: Held:" in done
    assert "alice approved it" in done and 'scope="col" class="n">Before<' in done
    undoing = trip.undo(without)
    assert "Why; for colleagues" in page(undoing)
    assert "What that sync changed was taken back" in page(trip.go(undoing))
    without.refresh_from_db()
    assert "Taken back <time" in page(without)


def test_every_group_that_a_hold_is_about_is_marked(trip: Trip, staff: Client) -> None:
    tables = making.make_roster(users=600, seed=8, today=timezone.localdate(), name="Cedar Grove")
    trip.go(trip.send(tables))
    gone = tables["users"].filter(pl.col("grades").is_in(["03", "04"]))["sourcedId"].implode()
    left = {
        name: tables[name].filter(~pl.col(column).is_in(gone))
        for name, column in (("users", "sourcedId"), ("demographics", "sourcedId"), ("enrollments", "userSourcedId"))
    }
    sync = trip.send({**tables, **left})
    hold = sync.holds.get(code="GRADE_REMOVED_SHARE", table="users")
    assert hold.numbers["groups"] == 2
    page = staff.get(reverse("admin:rosters_sync_change", args=[sync.pk]), {"by": "grade"})
    assert {row["key"] for row in page.context["groups"] if row["held"]} == {"03", "04"}
    shown = next(each for each in page.context["holds"] if each.pk == hold.pk)
    assert "grade=" not in shown.records_at, "of all of them"


def _as_zip(trip: Trip, tables: making.Tables) -> Path:
    path = trip.folder / "first.zip"
    making.write_zip(path, tables)
    return path
