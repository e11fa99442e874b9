"""A plan is approved today and goes live at an hour that somebody chose, before the schools begin."""

from __future__ import annotations

import html
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from connections.onboarding.words import outcome, road
from rosters import making, syncs, tasks
from rosters.models import AuditEvent, District, Sync
from tests.journeys.trip import Trip, first_day, made_once
from tests.queue import work_off
from tests.tools import tool

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

    from tests.conftest import Stands

pytestmark = pytest.mark.django_db

CHICAGO = ZoneInfo("America/Chicago")
HOUR = timedelta(hours=1)


def _built(trip: Trip) -> None:
    District.objects.update(time_zone="America/Chicago")
    trip.go(trip.send(first_day()))
    trip.send(making.without_school(first_day(), 0))


stands = made_once(_built)


@pytest.fixture
def trip(stands: Stands, data_dir: Path) -> Trip:
    """A district whose second file waits for a decision."""
    return stands(data_dir)


@pytest.fixture
def held(trip: Trip) -> Sync:
    return Sync.objects.get(status="awaiting_review")


@pytest.fixture
def later(held: Sync, trip: Trip) -> Sync:
    """It is approved to go live in an hour."""
    assert syncs.approve(held, by=trip.by, plan_digest=held.plan_digest, go_live_at=timezone.now() + HOUR)
    return held


def its_hour_comes(sync: Sync) -> None:
    Sync.objects.filter(pk=sync.pk).update(go_live_at=timezone.now() - timedelta(seconds=1))


def at(sync: Sync, deed: str = "change") -> str:
    return f"/admin/rosters/sync/{sync.pk}/{deed}/"


def page(browser: Client, address: str) -> str:
    return str(html.unescape(browser.get(address).content.decode()))


def test_before_its_hour_nothing_applies_it_and_then_the_minute_does(later: Sync, trip: Trip) -> None:
    assert later.status == "approved" and later.waits_for_its_hour
    tasks.apply(sync_id=later.pk)
    assert syncs.apply(later.pk) is None, "not even a task that came too early"
    Sync.objects.filter(pk=later.pk).update(status_since=timezone.now() - timedelta(days=1))
    assert syncs.recover() == ([], []), "nobody lost it"
    assert not Sync.objects.running().exists(), "what waits for its hour keeps the witness from nothing"
    assert syncs.to_verify(timezone.now() + timedelta(days=2)) == trip.district.pk
    its_hour_comes(later)
    tasks.recover()
    work_off()
    later.refresh_from_db()
    assert later.status == "applied"
    trip.verify()
    assert trip.district.version == 2


def test_the_hour_is_said_by_the_districts_clock_and_its_page_says_when(held: Sync, trip: Trip, staff: Client) -> None:
    assert "Approve it for later" in page(staff, at(held))
    tomorrow = (timezone.now().astimezone(CHICAGO) + timedelta(days=1)).replace(
        hour=6, minute=0, second=0, microsecond=0
    )
    said = f"{tomorrow:%Y-%m-%dT%H:%M}"
    answer = staff.post(at(held, "approve"), {"plan": held.plan_digest, "go_live_at": said}, follow=True)
    assert "It goes live at its hour" in answer.content.decode()
    held.refresh_from_db()
    assert held.go_live_at == tomorrow
    seen = page(staff, at(held))
    words = re.sub(r"<[^>]+>", "", seen)
    assert f"Goes live on {tomorrow:%A}, {tomorrow.day} {tomorrow:%B}, 06:00 C" in words
    assert "Take the approval back" in seen and "Goes live at its hour" in seen
    assert staff.get(at(held, "progress")).status_code == 204
    assert "goes live" in page(staff, "/admin/")
    with timezone.override(CHICAGO):
        assert f"Goes live on {tomorrow:%A}" in road(held)[-1].words
    assert outcome(held).next_step == "Nothing to do: it goes live by itself."
    event = AuditEvent.objects.get(action="sync.approved", sync=held)
    assert event.after["go_live_at"] == tomorrow.isoformat()


def test_it_is_taken_back_or_let_go_at_once(later: Sync, trip: Trip, staff: Client) -> None:
    assert "it waits for a decision again" in staff.post(at(later, "take-back"), follow=True).content.decode()
    later.refresh_from_db()
    assert (later.status, later.decision, later.decided_by, later.go_live_at) == ("awaiting_review", "", None, None)
    refused = staff.post(at(later, "take-back"))
    assert refused.status_code == 409 and "does not wait for its hour any more" in refused.content.decode()
    assert staff.post(at(later, "go-live")).status_code == 409
    assert syncs.approve(later, by=trip.by, plan_digest=later.plan_digest, go_live_at=timezone.now() + HOUR)
    assert "are being written" in staff.post(at(later, "go-live"), follow=True).content.decode()
    work_off()
    later.refresh_from_db()
    assert later.status == "applied"
    told = AuditEvent.objects.filter(sync=later).order_by("pk").values_list("action", flat=True)
    assert [*told][-5:] == [
        "sync.approved", "sync.approval_taken_back", "sync.approved", "sync.hurried", "sync.applied",
    ]  # fmt: skip


def test_what_a_worker_has_is_not_taken_back(later: Sync, trip: Trip) -> None:
    its_hour_comes(later)
    worker = Sync.objects.get(pk=later.pk)
    assert worker.start_applying(timezone.now())
    for deed in (syncs.take_back, syncs.go_live_now):
        with pytest.raises(syncs.DecisionRefused):
            deed(Sync.objects.get(pk=later.pk), by=trip.by)
    assert Sync.objects.get(pk=later.pk).status == "applying"


@pytest.mark.parametrize("said", ["", "soon", "2020-01-01T06:00", "2099-01-01T06:00"])
def test_an_hour_that_is_none_past_or_far_away_is_refused(held: Sync, staff: Client, said: str) -> None:
    answer = staff.post(at(held, "approve"), {"plan": held.plan_digest, "go_live_at": said})
    assert answer.status_code == 409 and "Nothing was approved." in answer.content.decode()
    held.refresh_from_db()
    assert held.status == "awaiting_review"


def test_a_newer_file_waits_for_it_and_is_compared_with_what_it_made_live(later: Sync, trip: Trip) -> None:
    District.objects.update(applies_automatically=True)
    tables = making.without_school(first_day(), 0)
    one = tables["users"].with_row_index("n").with_columns(middleName=_first("n", "Another")).drop("n")
    newer = trip.send({**tables, "users": one})
    assert newer.status == "awaiting_review", "against what is live, the school is still missing"
    with pytest.raises(syncs.DecisionRefused, match="waits for its hour"):
        syncs.approve(newer, by=trip.by, plan_digest=newer.plan_digest)
    with pytest.raises(syncs.DecisionRefused, match="waits for its hour"):
        syncs.leave(trip.district, by=trip.by, reason="x")
    its_hour_comes(later)
    tasks.recover()
    work_off()
    later.refresh_from_db()
    newer.refresh_from_db()
    assert later.status == "applied"
    assert (newer.status, newer.decided_automatically, newer.updated) == ("applied", True, 1), newer.verdict
    trip.verify()


def _first(number: str, cell: str) -> Any:
    import polars as pl

    return pl.when(pl.col(number) == 0).then(pl.lit(cell)).otherwise(pl.col("middleName"))


def test_where_two_must_approve_the_second_says_the_hour(held: Sync, trip: Trip, rita: Staff) -> None:
    District.objects.update(needs_two_people=True)
    assert Sync.objects.get(pk=held.pk).needs_two_people
    hour = timezone.now() + HOUR
    assert not syncs.approve(held, by=rita, plan_digest=held.plan_digest, go_live_at=hour)
    assert held.go_live_at is None
    assert syncs.approve(held, by=trip.by, plan_digest=held.plan_digest, go_live_at=hour)
    syncs.take_back(held, by=trip.by)
    assert held.first_approved_by is None, "taken back is taken back: two must approve again"


def test_the_database_knows_that_only_what_somebody_approved_has_an_hour(held: Sync) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Sync.objects.filter(pk=held.pk).update(go_live_at=timezone.now())


def test_a_tool_says_the_hour_and_takes_it_back(held: Sync, trip: Trip, rita: Staff) -> None:
    browser, hour = tool(trip.district, staff=rita), (timezone.now() + HOUR).astimezone(CHICAGO)

    def told(deed: str, said: dict[str, Any] | None = None, **headers: str) -> Any:
        address = f"/api/v1/syncs/{held.pk}/{deed}"
        return browser.post(address, said or {}, content_type="application/json", headers=headers)

    plan = {"If-Match": f'"{held.plan_digest}"'}
    far = {"go_live_at": (hour + timedelta(days=30)).isoformat()}
    assert told("approve", far, **plan).json()["code"] == "decision-refused"
    answer = told("approve", {"go_live_at": hour.isoformat()}, **plan)
    assert (answer.status_code, answer.json()["status"]) == (202, "approved")
    assert datetime.fromisoformat(answer.json()["go_live_at"]) == hour
    work_off()
    assert told("take-back").json()["status"] == "awaiting_review"
    assert told("go-live").status_code == 409
    assert told("approve", {"go_live_at": hour.isoformat()}, **plan).status_code == 202
    assert told("go-live").status_code == 202
    work_off()
    held.refresh_from_db()
    assert held.status == "applied"
