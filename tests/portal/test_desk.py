"""The desk's numbers, filters and times, and what it costs with 2,000 districts."""

from __future__ import annotations

import zoneinfo
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connections.announcing.mailing import morning
from connections.models import Attempt, Connection
from rosters.models import AuditEvent, Delivery, District, Snapshot, Sync

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = pytest.mark.django_db


def _logged_in(staff: Staff) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def _delivered(district: District, status: str, *, came: datetime, since: datetime | None = None) -> Sync:
    delivery = Delivery.objects.create(
        district=district, sha256="0" * 64, size=1, name="roster.zip", origin="staff", received_at=came
    )
    return Sync.objects.create(
        district=district, delivery=delivery, status=status, received_at=came, status_since=since or came
    )


def _numbers(page: Any) -> dict[str, tuple[int, int]]:
    return {n["word"]: (n["count"], n["before"]) for n in page.context["numbers"]}


def test_each_number_tells_what_it_was_before(alice: Staff) -> None:
    now = timezone.now()
    declined_today = District.objects.create(name="Ash", site_code="1")
    sync = _delivered(declined_today, "awaiting_review", came=now - timedelta(days=2))
    assert sync.mark_declined(now, alice, "Send it again.")
    _delivered(District.objects.create(name="Birch", site_code="2"), "rejected", came=now - timedelta(days=2))
    _delivered(District.objects.create(name="Cedar", site_code="3"), "unchanged", came=now - timedelta(days=2))
    page = _logged_in(alice).get("/admin/")
    numbers, then = _numbers(page), {n["word"]: n["then"] for n in page.context["numbers"]}
    assert numbers["need review"] == (0, 1)
    assert (then["need review"], then["came in today"]) == ("24 hours ago", "yesterday")
    assert numbers["need a corrected file, or failed"] == (1, 1)
    assert numbers["up to date"] == (1, 1), "who was declined waits for a better file"


def test_what_was_refused_stays_until_a_newer_delivery_is_of_use(alice: Staff) -> None:
    """Not until somebody touches an undo, nor until a file of other schools comes, or one that says nothing."""
    now, day = timezone.now(), timedelta(days=1)
    ash = District.objects.create(name="Ash", site_code="1", owner=alice)
    live = _delivered(ash, "unchanged", came=now - 9 * day)
    refused = _delivered(ash, "rejected", came=now - 5 * day)
    client = _logged_in(alice)

    def stands(number: str = "need a corrected file, or failed") -> tuple[int, int]:
        page = client.get("/admin/")
        assert any(sync == refused for sync, _ in page.context["waiting"])
        assert client.get("/admin/rosters/district/", {"standing": "refused"}).context["cl"].result_count == 1
        assert client.get("/admin/rosters/district/", {"standing": "good"}).context["cl"].result_count == 0
        letter = morning(alice, now, now - day)
        assert letter and "needs a corrected file" in letter.text
        return _numbers(page)[number]

    assert stands() == (1, 1)
    undo = Sync.objects.create(
        district=ash, undoes=live, status="awaiting_review", received_at=now - 3 * day, status_since=now - 3 * day
    )
    assert stands() == (1, 1) and stands("need review") == (1, 1)
    assert undo.mark_declined(now, alice, "Not today.")
    assert stands() == (1, 1) and stands("need review") == (0, 1)
    assert "Needs a corrected file" in client.get(f"/admin/rosters/district/{ash.pk}/change/").text
    result = Snapshot.objects.create(district=ash, version=2, tables={})
    Sync.objects.filter(pk=undo.pk).update(status="applied", decision="approved", applied_at=now, result=result)
    assert stands() == (1, 1)
    _delivered(ash, "unchanged", came=now - 3 * day)  # no file with rows
    of_another = _delivered(ash, "declined", came=now - 2 * day)
    of_another.holds.create(code="WRONG_DISTRICT", table="orgs", position=0, approvable=False)
    of_one = _delivered(ash, "unchanged", came=now - 2 * day)
    Sync.objects.filter(pk=of_one.pk).update(speaks_for={"schools": ["s-1"]}, file_rows={"orgs": 1})
    assert stands() == (1, 1)
    failed = Sync.objects.create(district=ash, undoes=live, status="failed", received_at=now, status_since=now)
    assert stands() == (2, 1), "what failed on the way back needs somebody too"
    failed.delete()
    mended = _delivered(ash, "unchanged", came=now - day / 2)
    Sync.objects.filter(pk=mended.pk).update(file_rows={"orgs": 9})
    page = client.get("/admin/")
    assert _numbers(page)["need a corrected file, or failed"] == (0, 1) and _numbers(page)["up to date"] == (1, 0)
    assert morning(alice, now, now - day) is None


def test_a_district_that_only_tried_a_file_out_is_still_setting_up(alice: Staff) -> None:
    ash = District.objects.create(name="Ash", site_code="1")
    Sync.objects.filter(pk=_delivered(ash, "rejected", came=timezone.now()).pk).update(dry_run=True)
    _delivered(District.objects.create(name="Birch", site_code="2"), "rejected", came=timezone.now())
    rows = _logged_in(alice).get("/admin/rosters/district/", {"standing": "setup"}).context["cl"].result_list
    assert [district.name for district in rows] == ["Ash"]


def test_a_product_shows_only_the_districts_that_receive_it_and_every_number_leads_to_its_rows(alice: Staff) -> None:
    now = timezone.now()
    for name, products in (("Ash", ["math"]), ("Birch", ["literacy"]), ("Cedar", ["literacy", "math"]), ("Dell", [])):
        district = District.objects.create(name=name, site_code=name, products=products)
        _delivered(district, "unchanged", came=now)
        waits = District.objects.create(name=f"{name} Hill", site_code=f"{name}h", products=products)
        _delivered(waits, "awaiting_review", came=now)
    client = _logged_in(alice)
    desk = client.get("/admin/", {"product": "math"})
    assert {sync.district.name for sync, _ in desk.context["waiting"]} == {"Ash Hill", "Cedar Hill"}
    assert {word: count for word, (count, _) in _numbers(desk).items()} == {
        "need review": 2,
        "need a corrected file, or failed": 0,
        "cannot connect or late": 0,
        "came in today": 4,
        "up to date": 2,
    }
    links = {n["word"]: n["link"] for n in desk.context["numbers"]}
    assert client.get(links["came in today"]).context["cl"].result_count == 4
    assert client.get(links["up to date"]).context["cl"].result_count == 2
    assert client.get("/admin/" + links["need review"]).context["waiting_in_all"] == 2


def test_connections_that_cannot_connect_or_are_late_are_counted_today_and_yesterday(alice: Staff) -> None:
    now = timezone.now()
    day = timedelta(days=1)

    def connection_of(name: str, **values: Any) -> Connection:
        district = District.objects.create(name=name, site_code=name)
        return Connection.objects.create(district=district, kind="sftp", **{"state": "active", **values})

    def tried(connection: Connection, status: str, ago: float) -> None:
        code, at = "CONN-REFUSED" if status == "failed" else "", now - ago * day
        Attempt.objects.create(connection=connection, status=status, code=code, started_at=at, ended_at=at)

    def found_late(connection: Connection, ago: float) -> None:
        about = {"district": connection.district, "subject": f"connection {connection.pk}"}
        AuditEvent.objects.create(at=now - ago * day, action="connection.late", **about)

    fails_since_today = connection_of("today", failures=1)
    tried(fails_since_today, "delivered", 2)
    tried(fails_since_today, "failed", 0.5)
    mended = connection_of("mended")
    tried(mended, "failed", 2)
    tried(mended, "delivered", 0.5)
    gave_up = connection_of("gave up", failures=3, state="paused", pause_reason="It failed.")
    tried(gave_up, "failed", 3)
    still_late = connection_of("still late", late_since=now - 2 * day)
    tried(still_late, "delivered", 9)
    found_late(still_late, 2)
    late_until_today = connection_of("late until today")
    tried(late_until_today, "delivered", 9)
    found_late(late_until_today, 4)
    tried(late_until_today, "delivered", 0.5)
    late_last_week = connection_of("late last week")
    found_late(late_last_week, 7)
    tried(late_last_week, "delivered", 6)
    tried(connection_of("setting up", state="setup", failures=2), "failed", 2)
    connection_of("paused on purpose", state="paused", pause_reason="Summer.")
    client = _logged_in(alice)
    page = client.get("/admin/")
    assert _numbers(page)["cannot connect or late"] == (3, 4)
    link = next(n["link"] for n in page.context["numbers"] if n["word"] == "cannot connect or late")
    assert {each.district.name for each in client.get(link).context["cl"].result_list} == {
        "today", "gave up", "still late",
    }  # fmt: skip


def test_what_does_not_run_today_on_purpose_is_said_with_its_reason(alice: Staff) -> None:
    today = timezone.localdate()

    def connection_of(name: str, first: int, last: int, words: str, **values: Any) -> None:
        district = District.objects.create(name=name, site_code=name, time_zone="UTC")
        days = {"first": str(today + timedelta(days=first)), "last": str(today + timedelta(days=last)), "words": words}
        schedule = {"days": [0, 1, 2, 3, 4, 5, 6], "times": ["02:00"], "zone": "UTC", "blackouts": [days]}
        Connection.objects.create(district=district, kind="sftp", **{"state": "active", "schedule": schedule, **values})

    connection_of("Birch", 0, 0, "Testing")
    connection_of("Ash", -3, 3, "")
    connection_of("Cedar", 1, 9, "Winter break")
    connection_of("Dell", -3, 3, "Not in service", state="setup")
    connection_of("Elm", -3, 3, "No schedule", schedule={})
    page = _logged_in(alice).get("/admin/")
    found = [(each.district.name, why) for each, why in page.context["resting"]]
    assert found == [("Ash", "No runs on these days"), ("Birch", "Testing")]
    assert b"2 connections do not run today, on purpose" in page.content


def test_today_is_the_readers_day(alice: Staff) -> None:
    client = _logged_in(alice)
    client.cookies["zone"] = "Pacific%2FKiritimati"
    page = client.get("/admin/")
    assert page.context["zone"] == "+14"
    client.cookies["zone"] = "Nowhere%2FAtAll"
    assert client.get("/admin/").context["zone"] == "UTC"


def test_2000_districts_cost_the_queries_of_3_and_every_waiting_one_can_be_reached(alice: Staff) -> None:
    client, now = _logged_in(alice), timezone.now()

    def grow(upto: int) -> None:
        fresh = District.objects.bulk_create(
            District(name=f"District {n}", site_code=f"d{n}", products=["math"])
            for n in range(District.objects.count(), upto)
        )
        sent = Delivery.objects.bulk_create(
            Delivery(district=d, sha256="0" * 64, size=1, name="roster.zip", origin="staff") for d in fresh
        )
        statuses = ("awaiting_review", "rejected", "unchanged")
        Sync.objects.bulk_create(
            Sync(district=d, delivery=s, status=statuses[n % 3], received_at=now, status_since=now)
            for n, (d, s) in enumerate(zip(fresh, sent, strict=True))
        )

    grow(3)
    client.get("/admin/")

    def queries() -> list[int]:
        found = []
        for asked in ({}, {"product": "math"}, {"state": "review"}):
            with CaptureQueriesContext(connection) as captured:
                client.get("/admin/", asked)
            found.append(len(captured))
        return found

    with_3 = queries()
    grow(2000)
    assert queries() == with_3
    page = client.get("/admin/")
    assert page.content.count(b"<tr>") < 100
    waits = page.context["waiting_in_all"]
    assert waits == sum(Sync.objects.filter(status=s).count() for s in ("awaiting_review", "rejected"))
    last = client.get("/admin/", {"page": page.context["pages"]})
    assert len(last.context["waiting"]) == waits - (page.context["pages"] - 1) * 25


def test_the_trend_and_today_count_each_sync_on_the_readers_day_and_hour(alice: Staff) -> None:
    zone = zoneinfo.ZoneInfo("America/Denver")
    midnight = timezone.now().astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    district = District.objects.create(name="Mesa", site_code="1")
    minute = timedelta(minutes=1)
    for came in (midnight, midnight - minute, midnight - timedelta(days=29), midnight - timedelta(days=29) - minute):
        _delivered(district, "unchanged", came=came)
    client = _logged_in(alice)
    client.cookies["zone"] = "America%2FDenver"
    page = client.get("/admin/")
    counted = {bar["day"]: bar["total"] for bar in page.context["trend"] if bar["total"]}
    days = [(midnight - timedelta(days=back)).date() for back in (29, 1, 0)]
    assert counted == dict.fromkeys(days, 1)  # and what came 30 days ago is not in it
    assert [(bar["hour"], bar["total"]) for bar in page.context["today"]["bars"]] == [(0, 1)]


def test_what_hurts_most_people_for_longest_stands_first(alice: Staff) -> None:
    now = timezone.now()
    for name, people, days in (("Ash", 10, 1), ("Birch", 1000, 1), ("Cedar", 10, 20)):
        sync = _delivered(
            District.objects.create(name=name, site_code=name), "awaiting_review", came=now - timedelta(days=days)
        )
        Sync.objects.filter(pk=sync.pk).update(people_affected=people)
    waiting = _logged_in(alice).get("/admin/").context["waiting"]
    assert [sync.district.name for sync, _ in waiting] == ["Birch", "Cedar", "Ash"]
