"""Summer and testing weeks: a delivery that only adds takes nobody out, and hides nothing from the next one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from connections.onboarding.entering import invite
from connections.onboarding.models import Person
from rosters import making, syncs, tasks
from rosters.models import AuditEvent, Enrollment, Sync, User
from tests.journeys.trip import Trip

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = pytest.mark.django_db

LEAVING = 5


def _packed(trip: Trip, tables: making.Tables, name: str) -> Path:
    path = trip.folder / name
    making.write_zip(path, tables)
    return path


def _send(trip: Trip, path: Path, *, additions_only: bool) -> Sync:
    sync = syncs.receive(trip.district, path, origin="staff", name=path.name, by=trip.by, additions_only=additions_only)
    return syncs.prepare(sync.pk) or sync


def _without_seats(tables: making.Tables, seats: int = LEAVING) -> making.Tables:
    return {**tables, "enrollments": tables["enrollments"].gather_every(3, offset=1).head(seats).pipe(
        lambda gone: tables["enrollments"].join(gone, on="sourcedId", how="anti", maintain_order="left")
    )}  # fmt: skip


def _renamed(tables: making.Tables) -> making.Tables:
    first = pl.int_range(pl.len()) == 0
    new = pl.when(first).then(pl.lit("Renamed")).otherwise(pl.col("title")).alias("title")
    return {**tables, "classes": tables["classes"].with_columns(new)}


def test_what_an_adding_sync_left_in_is_removed_when_the_same_file_comes_without_that_limit(
    trip: Trip, tables: making.Tables
) -> None:
    trip.go(trip.send(tables))
    path = _packed(trip, _renamed(_without_seats(tables)), "summer.zip")
    adding = _send(trip, path, additions_only=True)
    assert (adding.added, adding.updated, adding.removed, adding.left_out) == (0, 1, 0, LEAVING)
    trip.go(adding)

    again = _send(trip, path, additions_only=True)
    assert (again.status, again.left_out) == ("unchanged", LEAVING)
    assert "may only add" in again.verdict

    whole = _send(trip, path, additions_only=False)
    assert (whole.status, whole.updated, whole.removed) == ("ready", 0, LEAVING)
    trip.go(whole)
    for additions_only in (True, False):
        same = _send(trip, path, additions_only=additions_only)
        assert (same.status, same.left_out) == ("unchanged", 0)


@pytest.mark.alike
def test_a_file_that_only_lacks_rows_changes_nothing_and_says_why(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    live = trip.district.snapshot
    path = _packed(trip, _without_seats(tables), "summer.zip")
    adding = _send(trip, path, additions_only=True)
    assert (adding.status, adding.left_out) == ("unchanged", LEAVING)
    assert adding.verdict == (
        "Nothing changed: this file brings nothing new, and what it leaves out stays, for it may only add."
    )
    assert live is not None and adding.target_digest == live.digest
    assert _send(trip, path, additions_only=False).removed == LEAVING


@pytest.mark.alike
def test_the_same_rows_in_another_zip_are_not_taken_for_what_an_adding_sync_made(
    trip: Trip, tables: making.Tables
) -> None:
    trip.go(trip.send(tables))
    sent = _renamed(_without_seats(tables))
    trip.go(_send(trip, _packed(trip, sent, "summer.zip"), additions_only=True))
    turned = {name: frame.reverse() for name, frame in sent.items()}
    assert _send(trip, _packed(trip, turned, "autumn.zip"), additions_only=True).status == "unchanged"
    assert _send(trip, _packed(trip, turned, "autumn.zip"), additions_only=False).removed == LEAVING


def test_an_adding_sync_is_undone_to_the_very_digest(trip: Trip, tables: making.Tables) -> None:
    first = trip.go(trip.send(tables))
    path = _packed(trip, _renamed(_without_seats(tables)), "summer.zip")
    adding = trip.go(_send(trip, path, additions_only=True))
    undone = trip.go(trip.undo(adding))
    assert undone.target_digest == first.target_digest
    assert not undone.additions_only
    assert _send(trip, path, additions_only=False).removed == LEAVING


@pytest.mark.alike
def test_a_plan_made_anew_still_only_adds(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    second = trip.go(trip.send(_renamed(tables)))
    more = making.next_day(tables, change=0.02, seed=3)[0]
    adding = _send(trip, _packed(trip, _without_seats(more), "summer.zip"), additions_only=True)
    plan = adding.plan_digest
    trip.go(trip.undo(second))
    with pytest.raises(syncs.StalePlan):
        syncs.approve(adding, by=trip.by, plan_digest=plan)
    anew = syncs.prepare(adding.pk)
    assert anew is not None and anew.additions_only and anew.plan_digest != plan
    assert anew.removed == 0 and anew.left_out >= LEAVING
    people = User.objects.filter(status="active").count()
    trip.go(anew)
    assert User.objects.filter(status="active").count() >= people


@pytest.mark.alike
def test_a_file_that_is_tried_again_still_only_adds(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    path = _packed(trip, tables, "summer.zip")
    path.write_bytes(path.read_bytes()[:-200])
    refused = _send(trip, path, additions_only=True)
    assert refused.status == "rejected"
    assert syncs.retry(refused, by=trip.by).additions_only


@pytest.mark.alike
def test_people_under_new_ids_are_not_added_a_second_time_unseen(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    new = ("new-" + pl.col("sourcedId")).alias("sourcedId")
    rekeyed = {
        **tables,
        "users": tables["users"].with_columns(new, agentSourcedIds=pl.lit("")),
        "demographics": tables["demographics"].with_columns(new),
        "enrollments": tables["enrollments"].with_columns(("new-" + pl.col("userSourcedId")).alias("userSourcedId")),
    }
    adding = _send(trip, _packed(trip, rekeyed, "summer.zip"), additions_only=True)
    assert adding.status == "awaiting_review"
    hold = adding.holds.get(code="ID_CHURN", table="users")
    assert "would stand there a second time, under another id" in hold.saw


@pytest.mark.alike
def test_the_page_of_a_sync_says_that_it_only_adds_and_how_much_stays(
    trip: Trip, tables: making.Tables, alice: Staff
) -> None:
    trip.go(trip.send(tables))
    path = _packed(trip, _renamed(_without_seats(tables)), "summer.zip")
    browser = Client()
    browser.force_login(alice)

    def page(sync: Sync) -> str:
        return browser.get(reverse("admin:rosters_sync_change", args=[sync.pk])).content.decode()

    words = f"This sync only adds and changes; it removes nothing. {LEAVING} live records that its file leaves out"
    assert words in page(_send(trip, path, additions_only=True))
    assert "only adds" not in page(_send(trip, path, additions_only=False))


# ------------------------------------------------------------------- what comes goes first, what would be removed waits


def _parted(trip: Trip, tables: making.Tables) -> tuple[Sync, Sync]:
    """A sync that changes a class and takes seats out, and the one that goes first in its place."""
    trip.go(trip.send(tables))
    waiting = trip.send(_renamed(_without_seats(tables)))
    assert waiting.status in ("ready", "awaiting_review") and (waiting.updated, waiting.removed) == (1, LEAVING)
    first = syncs.additions_first(waiting, by=trip.by)
    waiting.refresh_from_db()
    assert waiting.status == "superseded"
    return waiting, syncs.prepare(first.pk) or first


@pytest.mark.alike
def test_what_comes_goes_first_and_the_removals_are_decided_afterwards(trip: Trip, tables: making.Tables) -> None:
    whole, first = _parted(trip, tables)
    assert (first.updated, first.removed, first.left_out) == (1, 0, LEAVING)
    trip.go(first)
    assert syncs.rest_next(whole) is None, "it is of the one that went first"
    after = syncs.rest_next(first)
    assert after is not None and syncs.rest_next(first) is None, "a task may run twice"
    after = syncs.prepare(after.pk) or after
    assert (after.added, after.updated, after.removed) == (0, 0, LEAVING)
    assert after.status in ("ready", "awaiting_review") and not after.additions_only
    trip.go(after)
    assert after.target_digest == whole.target_digest, "in two steps it is the roster of the file"
    assert trip.send(_renamed(_without_seats(tables))).status == "unchanged"
    actions = AuditEvent.objects.filter(action__in=["sync.additions_first", "sync.removals_next"]).order_by("pk")
    assert [(event.action, event.sync_id, event.before) for event in actions] == [
        ("sync.additions_first", first.pk, {"sync": whole.pk}), ("sync.removals_next", after.pk, {"sync": first.pk}),
    ]  # fmt: skip


@pytest.mark.alike
def test_removals_that_are_declined_stay_live(trip: Trip, tables: making.Tables) -> None:
    _, first = _parted(trip, tables)
    done = trip.go(first)
    after = syncs.rest_next(done)
    assert after is not None
    after = syncs.prepare(after.pk) or after
    syncs.decline(after, by=trip.by, reason="The seats are right.")
    trip.verify()
    assert Enrollment.objects.filter(status="active").count() == len(tables["enrollments"])
    assert syncs.rest_next(done) is None


def test_the_workers_go_on_by_themselves_and_after_one_that_died(trip: Trip, tables: making.Tables) -> None:
    _, first = _parted(trip, tables)
    syncs.approve(first, by=trip.by, plan_digest=first.plan_digest)
    syncs.apply(first.pk)  # and here the worker dies
    again, _ = syncs.recover()
    after = Sync.objects.latest("pk")
    assert again == [after.pk] and after.delivery_id == first.delivery_id
    assert syncs.recover(timezone.now())[0] == [], "once"
    Sync.objects.filter(pk=after.pk).update(status="superseded")
    trip.go(trip.send(tables))
    _, second = _parted_again(trip, tables)
    syncs.approve(second, by=trip.by, plan_digest=second.plan_digest)
    tasks.apply(sync_id=second.pk)
    assert Sync.objects.latest("pk").delivery_id == second.delivery_id and Sync.objects.latest("pk").pk > second.pk


def _parted_again(trip: Trip, tables: making.Tables) -> tuple[Sync, Sync]:
    waiting = trip.send(_renamed(_without_seats(tables, LEAVING + 1)))
    first = syncs.additions_first(waiting, by=trip.by)
    return waiting, syncs.prepare(first.pk) or first


@pytest.mark.alike
def test_after_a_newer_delivery_nothing_is_left_to_decide(trip: Trip, tables: making.Tables) -> None:
    _, first = _parted(trip, tables)
    trip.go(first)
    newer = trip.send(_without_seats(tables))
    assert newer.removed == LEAVING
    assert syncs.rest_next(first) is None


def test_a_newer_delivery_takes_the_place_of_both(trip: Trip, tables: making.Tables) -> None:
    _, first = _parted(trip, tables)
    trip.send(tables)
    first.refresh_from_db()
    assert first.status == "superseded"


@pytest.mark.alike
def test_only_what_waits_and_has_both_is_parted(trip: Trip, tables: making.Tables) -> None:
    of_the_first = trip.send(tables)
    with pytest.raises(syncs.DecisionRefused, match="also remove"):
        syncs.additions_first(of_the_first, by=trip.by)
    done = trip.go(of_the_first)
    with pytest.raises(syncs.DecisionRefused):
        syncs.additions_first(done, by=trip.by)
    only_removes = trip.send(_without_seats(tables))
    with pytest.raises(syncs.DecisionRefused):
        syncs.additions_first(only_removes, by=trip.by)
    adding = _send(trip, _packed(trip, _renamed(_without_seats(tables)), "summer.zip"), additions_only=True)
    with pytest.raises(syncs.DecisionRefused):
        syncs.additions_first(adding, by=trip.by)
    other = making.make_roster(users=90, seed=77, today=timezone.localdate(), name="Somewhere else")
    foreign = trip.send(other)
    assert foreign.holds.filter(approvable=False).exists()
    with pytest.raises(syncs.NotApprovable):
        syncs.additions_first(foreign, by=trip.by)


@pytest.mark.looks
def test_on_the_page_and_over_the_api(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    waiting = trip.send(_renamed(_without_seats(tables)))
    staff = Client()
    staff.force_login(trip.by)
    at = f"/admin/rosters/sync/{waiting.pk}/"
    page = staff.get(f"{at}change/").content.decode()
    assert f"Go ahead without the {LEAVING} removals" in page
    assert staff.get(f"{at}additions-first/").status_code == 405, "nothing is done by GET"
    answer = staff.post(f"{at}additions-first/", follow=True)
    assert b"What would have been removed is put before you after this" in answer.content
    first = Sync.objects.latest("pk")
    assert (first.additions_only, first.removals_wait, first.delivery_id) == (True, True, waiting.delivery_id)
    assert staff.post(f"{at}additions-first/").status_code == 409
    syncs.prepare(first.pk)
    again = trip.send(_renamed(_without_seats(tables, LEAVING + 2)))
    made = staff.post(f"/api/v1/syncs/{again.pk}/additions-first")
    assert made.status_code == 202 and made.json()["removals_wait"] is True
    assert staff.post(f"/api/v1/syncs/{again.pk}/additions-first").status_code == 409


@pytest.mark.looks
def test_the_district_reads_one_receipt_of_its_file_to_the_end(trip: Trip, tables: making.Tables) -> None:
    person = Person.objects.create(district=trip.district, name="Dana", email="dana@cedar.example")
    browser = Client()
    browser.post("/district/enter/", {"secret": invite(person, by=trip.by).partition("#")[2]})
    whole, first = _parted(trip, tables)
    trip.go(first)
    after = syncs.rest_next(first)
    assert after is not None
    syncs.prepare(after.pk)
    assert whole.delivery is not None
    key = f"{whole.delivery.received_at:%Y%m%dT%H%M%S%f}"
    history = browser.get("/district/sent/").content.decode()
    assert history.count(f"/district/sent/{key}/") == 1
    page = browser.get(f"/district/sent/{key}/").content.decode()
    assert "What came and changed in it is live already" in page
    staff = Client()
    staff.force_login(trip.by)
    for earlier in (whole, first):
        page = staff.get(f"/admin/rosters/sync/{earlier.pk}/change/").content.decode()
        assert "The same file goes on in another sync" in page and f"/admin/rosters/sync/{after.pk}/change/" in page
    after.refresh_from_db()
    syncs.decline(after, by=trip.by, reason="The seats are right.")
    assert "The seats are right." in browser.get(f"/district/sent/{key}/").content.decode()
