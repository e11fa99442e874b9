"""Where a district wants it, so many people are removed by two: one alone can do nothing about it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import polars as pl
import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from rosters import making, syncs, tasks
from rosters.api.models import Client as ApiClient
from rosters.api.scopes import SYNCS_DECIDE, SYNCS_READ
from rosters.models import AuditEvent, District, Sync
from tests.journeys.trip import Trip
from tests.tools import tool

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = pytest.mark.django_db


def _without(tables: making.Tables, share: float) -> making.Tables:
    """The district without so many of its students, and without their seats."""
    students = tables["users"].filter(pl.col("role") == "student")["sourcedId"]
    gone = students.head(round(share * len(tables["users"])))
    return {
        **tables,
        "users": tables["users"].filter(~pl.col("sourcedId").is_in(gone.implode())),
        "demographics": tables["demographics"].filter(~pl.col("sourcedId").is_in(gone.implode())),
        "enrollments": tables["enrollments"].filter(~pl.col("userSourcedId").is_in(gone.implode())),
    }


@pytest.fixture
def large(trip: Trip, tables: making.Tables) -> Sync:
    """A sync that would remove a quarter of the people of a district that wants two for that."""
    trip.go(trip.send(tables))
    District.objects.update(needs_two_people=True)
    trip.district.refresh_from_db()
    sync = trip.send(_without(tables, 0.25))
    assert sync.needs_two_people
    return sync


def test_two_approve_the_same_plan_and_then_it_goes_live(large: Sync, trip: Trip, rita: Staff) -> None:
    assert not syncs.approve(large, by=rita, plan_digest=large.plan_digest, reason="They left.")
    assert (large.status, large.first_approved_by) == ("awaiting_review", rita)
    with pytest.raises(syncs.DecisionRefused, match="approved this plan already"):
        syncs.approve(large, by=rita, plan_digest=large.plan_digest)
    with pytest.raises(syncs.DecisionRefused, match="two members of staff"):
        large.status = "ready"
        large.save(update_fields=["status"])
        District.objects.update(applies_automatically=True)
        syncs.approve(Sync.objects.get(pk=large.pk), by=None, plan_digest=large.plan_digest)
    assert syncs.approve(large, by=trip.by, plan_digest=large.plan_digest)
    assert (syncs.apply(large.pk) or large).status == "applied"
    trip.verify()
    told = AuditEvent.objects.filter(sync=large).order_by("at", "pk").values_list("action", "by__username")
    assert list(told)[1:3] == [("sync.first_approved", "rita"), ("sync.approved", "alice")]


@pytest.mark.alike
def test_what_one_approved_is_not_what_another_approves_when_the_plan_is_another(
    large: Sync, trip: Trip, tables: making.Tables, rita: Staff
) -> None:
    syncs.approve(large, by=rita, plan_digest=large.plan_digest)
    syncs.retry(large, by=trip.by)
    again = syncs.prepare(large.pk)
    assert again is not None and again.first_approved_by is None
    assert not syncs.approve(again, by=trip.by, plan_digest=again.plan_digest), "he is the first now"
    syncs.decline(again, by=trip.by, reason="No.")
    assert Sync.objects.get(pk=large.pk).status == "declined", "to decline, one is enough"


@pytest.mark.alike
def test_below_the_line_and_to_take_back_one_is_enough(trip: Trip, tables: making.Tables, rita: Staff) -> None:
    trip.go(trip.send(tables))
    District.objects.update(needs_two_people=True)
    trip.district.refresh_from_db()
    few = trip.send(_without(tables, 0.15))
    assert few.status == "awaiting_review" and not few.needs_two_people
    trip.go(few)
    back = trip.undo(Sync.objects.filter(status="applied").earliest("pk"))
    assert back.status == "awaiting_review" and not back.needs_two_people, "an undo never waits for a second"


def test_the_database_knows_that_two_are_two(large: Sync, rita: Staff) -> None:
    syncs.approve(large, by=rita, plan_digest=large.plan_digest)
    with pytest.raises(IntegrityError), transaction.atomic():
        Sync.objects.filter(pk=large.pk).update(
            status="approved", decision="approved", decided_by=rita, decided_at=timezone.now()
        )


@pytest.mark.doors
def test_a_tool_of_a_colleague_makes_nobody_two(large: Sync, trip: Trip, manu: Staff, rita: Staff) -> None:
    hers = ApiClient.objects.create(name="rita's", staff=rita, made_by=rita, scopes=[SYNCS_READ])
    hers.districts.add(trip.district)
    desk, at = Client(), f"/admin/api/client/{hers.pk}/"
    desk.force_login(manu)
    assert not syncs.approve(large, by=manu, plan_digest=large.plan_digest)
    wider = {"name": hers.name, "districts": [trip.district.pk], "scopes": [SYNCS_READ, SYNCS_DECIDE], "staff": rita.pk}
    desk.post(f"{at}change/", {**wider, "per_minute": 600})
    hers.refresh_from_db()
    assert hers.scopes == [SYNCS_READ]
    assert desk.post(f"{at}secret/", {"overlap": "86400"}).status_code == 403
    assert not hers.secrets.exists()


@pytest.mark.alike
def test_one_who_tries_again_and_again_stays_one(large: Sync, rita: Staff, manu: Staff) -> None:
    for _ in range(3):
        with suppress(syncs.DecisionRefused):
            assert not syncs.approve(large, by=rita, plan_digest=large.plan_digest)
        assert Sync.objects.get(pk=large.pk).status == "awaiting_review"
    assert syncs.approve(large, by=manu, plan_digest=large.plan_digest)


@pytest.mark.doors
def test_the_page_and_the_api_say_who_must_come_yet(large: Sync, trip: Trip, rita: Staff) -> None:
    def browser(who: Staff) -> Client:
        found = Client()
        found.force_login(who)
        return found

    page, approve = (reverse(f"admin:rosters_sync_{name}", args=[large.pk]) for name in ("change", "approve"))
    assert "you would be the first" in browser(rita).get(page).content.decode()
    said = browser(rita).post(approve, {"plan": large.plan_digest}, follow=True).content.decode()
    assert "Approved by you. So many people are removed by two" in said and "disabled>Approve" in said
    assert "rita approved this" in browser(trip.by).get(page).content.decode()
    assert browser(rita).post(approve, {"plan": large.plan_digest}).status_code == 409

    mine = tool(trip.district, staff=rita, made_by=rita)
    other = tool(trip.district, staff=trip.by, made_by=trip.by)
    place = f"/api/v1/syncs/{large.pk}"
    told = mine.get(place)
    assert told.json()["needs_two_people"] is True and told.json()["first_approved_at"]
    decide = {"content_type": "application/json", "headers": {"If-Match": told.headers["ETag"]}}
    assert mine.post(f"{place}/approve", {}, **decide).status_code == 409
    made_for_a_colleague = tool(trip.district, staff=trip.by, made_by=rita)
    refused = made_for_a_colleague.post(f"{place}/approve", {}, **decide)
    assert refused.status_code == 409 and "two members of staff" in refused.content.decode()
    assert other.post(f"{place}/approve", {}, **decide).json()["status"] == "approved"
    tasks.apply(sync_id=large.pk)
    assert Sync.objects.get(pk=large.pk).status == "applied"
