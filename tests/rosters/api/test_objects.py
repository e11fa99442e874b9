"""Syncs as objects: the same powers, the same holds and the same trail as the pages."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, connection, transaction
from django.test import Client as Browser
from django.utils import timezone

from rosters import making, syncs
from rosters.api import scopes
from rosters.api.models import SentOnce
from rosters.models import AuditEvent, Delivery, District, Sync
from tests.journeys.trip import Trip
from tests.queue import work_off
from tests.tools import tool

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = pytest.mark.django_db


@pytest.fixture
def trip(data_dir: Path, tmp_path: Path, alice: Staff) -> Trip:
    return Trip(tmp_path, alice)


@pytest.fixture
def tables() -> making.Tables:
    return making.make_roster(users=80, seed=4, today=timezone.localdate(), name="Cedar Grove")


@pytest.fixture
def rita(make_staff: Callable[[str, str], Staff]) -> Staff:
    return make_staff("rita", "reviewer")


def waiting(trip: Trip, tables: making.Tables) -> Sync:
    trip.go(trip.send(tables))
    day_two, _ = making.next_day(tables, change=0.2, seed=3)
    return trip.send(day_two)


def code_of(answer: Any) -> str:
    assert answer.headers["Content-Type"] == "application/problem+json", answer.content
    told = answer.json()
    assert told["status"] == answer.status_code and told["title"] and told["detail"]
    return str(told["code"])


def test_what_a_sync_would_change_and_why_is_read_in_pages(trip: Trip, tables: making.Tables, rita: Staff) -> None:
    sync, browser = waiting(trip, tables), tool(trip.district, staff=rita)
    told = browser.get(f"/api/v1/syncs/{sync.pk}")
    assert told.headers["ETag"] == f'"{sync.plan_digest}"'
    plan = told.json()
    assert (plan["status"], plan["site_code"], plan["added"]) == (sync.status, "1001", sync.added)
    assert sum(each["removed"] for each in plan["tables"].values()) == sync.removed
    assert [hold["code"] for hold in plan["holds"]] == [hold.code for hold in sync.holds.all()]
    stored = syncs.store().difference(trip.district.pk, sync.pk)
    for table in stored.tables:
        counts = stored.counts(table)
        seen: list[dict[str, Any]] = []
        while page := browser.get(
            f"/api/v1/syncs/{sync.pk}/changes", {"table": table, "offset": len(seen), "limit": 7}
        ).json()["results"]:
            seen += page
        assert {kind: sum(each["kind"] == kind for each in seen) for kind in counts} == counts
        for each in seen:
            if each["kind"] == "updated":
                assert each["before"].keys() == each["after"].keys() and each["before"] != each["after"]
    only = browser.get(
        f"/api/v1/syncs/{sync.pk}/changes", {"table": "users", "kind": "updated", "field": "email"}
    ).json()
    assert all("email" in each["after"] for each in only["results"])
    for bad in ({"kind": "odd"}, {"table": "nothing"}, {"limit": "-1"}, {"limit": "5000"}, {"field": "shoe"}):
        answer = browser.get(f"/api/v1/syncs/{sync.pk}/changes", {"table": "users", **bad})
        assert (answer.status_code, code_of(answer)) == (400, "bad-parameter"), bad


def test_lists_come_in_pages_and_only_of_ones_own_districts(trip: Trip, tables: making.Tables, rita: Staff) -> None:
    waiting(trip, tables)
    other = District.objects.create(name="Maple", site_code="1002")
    hidden = Sync.objects.create(district=other, delivery=Delivery.objects.create(district=other, size=1, name="x"))
    browser, seen, address = tool(trip.district, staff=rita), [], "/api/v1/syncs?limit=1"
    while address:
        page = browser.get(address).json()
        seen += [each["id"] for each in page["results"]]
        address = page["next"]
    assert seen == sorted(Sync.objects.exclude(pk=hidden.pk).values_list("pk", flat=True), reverse=True)
    assert [each["site_code"] for each in browser.get("/api/v1/districts").json()["results"]] == ["1001"]
    for path in (f"syncs/{hidden.pk}", f"syncs/{hidden.pk}/changes", "districts/1002", "districts/1002/syncs",
                 f"deliveries/{hidden.delivery_id}", f"syncs/{hidden.pk}/findings"):  # fmt: skip
        answer = browser.get(f"/api/v1/{path}")
        assert (answer.status_code, code_of(answer)) == (404, "not-found"), path
    assert browser.get("/api/v1/syncs", {"status": "applied"}).json()["results"][0]["status"] == "applied"
    assert code_of(browser.get("/api/v1/syncs", {"status": "odd"})) == "bad-parameter"


def approve(browser: Browser, sync: Sync, digest: str | None, verb: str = "approve", **said: Any) -> Any:
    headers = {} if digest is None else {"If-Match": f'"{digest}"'}
    return browser.post(f"/api/v1/syncs/{sync.pk}/{verb}", said, content_type="application/json", headers=headers)


def test_a_plan_is_approved_as_it_was_read_and_goes_live(trip: Trip, tables: making.Tables, rita: Staff) -> None:
    sync, browser = waiting(trip, tables), tool(trip.district, staff=rita)
    assert code_of(approve(browser, sync, None)) == "plan-not-named"
    assert approve(browser, sync, "0" * 64).status_code == 412
    done = approve(browser, sync, sync.plan_digest, reason="Looked at by the tool.")
    assert done.status_code == 202 and done.headers["Location"] == f"/api/v1/syncs/{sync.pk}"
    work_off()
    sync.refresh_from_db()
    assert (sync.status, sync.decided_by, sync.decision_reason) == ("applied", rita, "Looked at by the tool.")
    trip.verify()
    acted = AuditEvent.objects.get(action="client.acted", sync=sync)
    assert acted.after["did"] == "sync.approved" and acted.by == rita
    again = approve(browser, sync, sync.plan_digest)
    assert (again.status_code, code_of(again)) == (409, "decision-refused")


def test_a_plan_whose_base_moved_is_a_412_and_is_made_anew(trip: Trip, tables: making.Tables, rita: Staff) -> None:
    first = trip.go(trip.send(tables))
    undoing = trip.undo(first)
    day_two, _ = making.next_day(tables, change=0.1, seed=3)
    trip.go(trip.send(day_two))
    stale = approve(tool(trip.district, staff=rita), undoing, undoing.plan_digest)
    assert (stale.status_code, code_of(stale)) == (412, "plan-stale")
    work_off()
    undoing.refresh_from_db()
    assert undoing.base_version == 2 and undoing.status in ("awaiting_review", "unchanged")


def test_declining_wants_a_reason_and_undoing_leads_back(trip: Trip, tables: making.Tables, rita: Staff) -> None:
    sync, browser = waiting(trip, tables), tool(trip.district, staff=rita)
    again = browser.post(f"/api/v1/syncs/{sync.pk}/retry")
    assert (again.status_code, again.json()["status"]) == (202, "received")
    work_off()
    told = browser.get(again.headers["Location"]).json()
    assert (told["id"], told["status"]) == (sync.pk, "awaiting_review"), "the same sync, its plan made anew"
    empty = approve(browser, sync, sync.plan_digest, "decline")
    assert empty.status_code == 400 and "reason" in empty.json()["errors"]
    assert approve(browser, sync, sync.plan_digest, "decline", reason="A school is missing.").status_code == 200
    sync.refresh_from_db()
    assert (sync.status, sync.decision_reason) == ("declined", "A school is missing.")
    first = Sync.objects.get(status="applied")
    wrong = browser.post(f"/api/v1/syncs/{first.pk}/undo", {"kind": "turned"}, content_type="application/json")
    assert wrong.status_code == 400
    undoing = browser.post(f"/api/v1/syncs/{first.pk}/undo", content_type="application/json")
    assert undoing.status_code == 202
    work_off()
    told = browser.get(undoing.headers["Location"]).json()
    assert told["undoes"] == first.pk and told["status"] == "awaiting_review" and told["undo_only"] == {}
    part = browser.post(f"/api/v1/syncs/{first.pk}/undo", {"kind": "added"}, content_type="application/json")
    assert part.status_code == 409, "there is an undo of all of it"
    whole = browser.post(f"/api/v1/syncs/{first.pk}/undo", content_type="application/json")
    assert code_of(whole) == "decision-refused"
    assert code_of(browser.post(f"/api/v1/syncs/{first.pk}/retry")) == "decision-refused"


@pytest.mark.doors
def test_an_undo_of_a_part_that_is_not_understood_is_not_the_undo_of_all(
    trip: Trip, tables: making.Tables, rita: Staff
) -> None:
    sync, browser = trip.go(trip.send(tables)), tool(trip.district, staff=rita)
    at, form = f"/api/v1/syncs/{sync.pk}/undo", "application/x-www-form-urlencoded"
    assert browser.post(at, "school=abc&kind=removed", content_type=form).status_code == 415
    assert browser.post(at, {"school": "abc"}).status_code == 415, "nor as the other kind of form"
    misspelt = browser.post(at, {"school_id": "abc"}, content_type="application/json")
    assert misspelt.status_code == 400 and misspelt.json()["errors"] == {"school_id": ["There is no such field."]}
    beside = browser.post(f"{at}?school=abc", content_type="application/json")
    assert beside.status_code == 400 and beside.json()["errors"] == {"school": ["This is said in the body."]}
    in_pieces = browser.generic("POST", at, headers={"Transfer-Encoding": "chunked"})
    assert code_of(in_pieces) == "length-required", "Django reads nothing of a body whose length nobody says"
    assert browser.post(at, ["abc"], content_type="application/json").status_code == 400
    assert not Sync.objects.filter(undoes=sync).exists()
    whole = browser.generic("POST", at)
    assert (whole.status_code, whole.json()["undo_only"]) == (202, {}), "who asks for nothing more needs no body"


@pytest.mark.doors
def test_what_an_address_does_not_know_is_not_passed_over(trip: Trip, tables: making.Tables, rita: Staff) -> None:
    sync, browser = waiting(trip, tables), tool(trip.district, staff=rita)
    at_once = approve(browser, sync, sync.plan_digest, go_live="2026-12-24T08:00:00Z")
    assert at_once.status_code == 400 and "go_live" in at_once.json()["errors"]
    sync.refresh_from_db()
    assert sync.status == "awaiting_review"
    for_all = sent(browser, trip.folder / "sent.zip", only_school="abc")
    assert for_all.status_code == 400 and "only_school" in for_all.json()["errors"]


@pytest.mark.doors
def test_more_than_is_read_is_a_413(trip: Trip, tables: making.Tables, rita: Staff) -> None:
    sync, browser = waiting(trip, tables), tool(trip.district, staff=rita)
    long = approve(browser, sync, None, "only-about", schools=["x" * 1024 * 1024])
    assert (long.status_code, code_of(long)) == (413, "too-large")
    many = sent(browser, trip.folder / "sent.zip", only_schools=[f"school-{number}" for number in range(1500)])
    assert (many.status_code, code_of(many)) == (413, "too-large")
    wide = sent(browser, trip.folder / "sent.zip", only_schools="x" * 1024 * 1024)
    assert (wide.status_code, code_of(wide)) == (413, "too-large")


def sent(browser: Browser, path: Path, key: str | None = "k-1", **said: Any) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    file = SimpleUploadedFile("day.zip", path.read_bytes(), "application/zip")
    return browser.post("/api/v1/districts/1001/deliveries", {"file": file, **said}, headers=headers)


def test_a_delivery_sent_twice_with_its_key_is_one(trip: Trip, tables: making.Tables, rita: Staff) -> None:
    browser, path, other = tool(trip.district, staff=rita), trip.folder / "day.zip", trip.folder / "other.zip"
    making.write_zip(path, tables)
    making.write_zip(other, making.next_day(tables, change=0.1, seed=3)[0])
    assert code_of(sent(browser, path, None)) == "idempotency-key-missing"
    first, again = sent(browser, path), sent(browser, path)
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["id"] == again.json()["id"] and Delivery.objects.count() == 1
    assert code_of(sent(browser, other)) == "key-used"
    assert sent(browser, other, "k-2").status_code == 202 and Delivery.objects.count() == 2
    work_off()
    delivery = Delivery.objects.get(pk=first.json()["delivery"])
    assert (delivery.origin, delivery.received_by) == ("api", rita)
    assert browser.get(f"/api/v1/deliveries/{delivery.pk}").json()["sha256"] == delivery.sha256
    original: Any = browser.get(f"/api/v1/deliveries/{delivery.pk}/original")
    assert b"".join(original.streaming_content) == path.read_bytes()


def test_a_dry_run_says_what_would_change_and_can_never_be_applied(
    trip: Trip, tables: making.Tables, rita: Staff
) -> None:
    sync, browser, path = waiting(trip, tables), tool(trip.district, staff=rita), trip.folder / "dry.zip"
    making.write_zip(path, making.without_school(tables, 1))
    told = sent(browser, path, dry_run="true").json()
    work_off()
    dry = Sync.with_dry_runs.get(pk=told["id"])
    assert (dry.status, dry.dry_run) == ("planned", True) and dry.removed and dry.holds.exists()
    assert dry.verdict.startswith("Would be held:")
    sync.refresh_from_db()
    assert sync.status == "awaiting_review", "a dry run supersedes nothing"
    assert browser.get(f"/api/v1/syncs/{dry.pk}/changes", {"table": "users"}).json()["total"]
    assert code_of(approve(browser, dry, dry.plan_digest)) == "decision-refused"
    assert dry not in Sync.objects.all() and dry not in trip.district.syncs.all()
    assert [each["id"] for each in browser.get("/api/v1/syncs", {"dry_run": "true"}).json()["results"]] == [dry.pk]
    for status in ("ready", "approved", "applying"):
        with pytest.raises(IntegrityError), transaction.atomic():
            Sync.with_dry_runs.filter(pk=dry.pk).update(status=status)
    desk = Browser()
    desk.force_login(rita)
    assert "Dry run" in desk.get(f"/admin/rosters/sync/{dry.pk}/change/").content.decode()
    for asked, there in (("", False), ("?dry_run=1", True)):
        listed = desk.get(f"/admin/rosters/sync/{asked}").content.decode()
        assert (f"/admin/rosters/sync/{dry.pk}/change/" in listed) == there
    trip.go(sync)


def test_next_years_file_is_tried_as_if_on_its_day_again_and_then_for_real(
    trip: Trip, tables: making.Tables, rita: Staff
) -> None:
    browser, path = tool(trip.district, staff=rita), trip.folder / "next.zip"
    trip.go(waiting(trip, tables))
    making.write_zip(path, making.rollover(tables, seed=3)[0])
    day = (timezone.localdate() + timedelta(days=200)).isoformat()
    for wrong in ({"as_if_on": day}, {"as_if_on": "2000-01-01", "dry_run": "true"}, {"as_if_on": "soon"}):
        answer = sent(browser, path, "k-0", **wrong)
        assert (answer.status_code, "as_if_on" in answer.content.decode()) == (400, True), wrong
    assert not Sync.with_dry_runs.filter(dry_run=True).exists()
    first = sent(browser, path, dry_run="true", as_if_on=day).json()
    work_off()
    told = browser.get(f"/api/v1/syncs/{first['id']}").json()
    assert (told["status"], told["as_if_on"]) == ("planned", day)
    assert {"grade": "03", "to": "04"}.items() <= next(m for m in told["grade_moves"] if m["grade"] == "03").items()
    again = browser.post(f"/api/v1/syncs/{first['id']}/retry").json()
    assert (again["dry_run"], again["as_if_on"]) == (True, day)
    real = browser.post(f"/api/v1/syncs/{first['id']}/for-real").json()
    assert (real["dry_run"], real["as_if_on"], real["delivery"]) == (False, None, first["delivery"])
    work_off()
    assert Sync.objects.get(pk=real["id"]).status == "awaiting_review"
    assert code_of(browser.post(f"/api/v1/syncs/{real['id']}/for-real")) == "decision-refused"


@pytest.mark.alike
def test_a_tool_needs_the_scope_and_its_member_of_staff_the_permission(
    trip: Trip, tables: making.Tables, rita: Staff, make_staff: Callable[[str, str], Staff]
) -> None:
    sync = waiting(trip, tables)
    vera = make_staff("vera", "viewer")
    reads, weak = tool(trip.district, staff=rita, only=(scopes.SYNCS_READ,)), tool(trip.district, staff=vera)
    refused = approve(reads, sync, sync.plan_digest)
    assert (refused.status_code, code_of(refused)) == (403, "scope-missing")
    refused = approve(weak, sync, sync.plan_digest)
    assert (refused.status_code, code_of(refused)) == (403, "permission-missing")
    assert code_of(Browser().get("/api/v1/syncs")) == "not-authenticated"
    assert reads.get(f"/api/v1/syncs/{sync.pk}/changes", {"table": "demographics"}).json()["total"] == 0
    original = weak.get(f"/api/v1/deliveries/{sync.delivery_id}/original")
    assert code_of(original) == "permission-missing", "as on the pages: who may not decide has no originals"
    places = [{"line": 2, "value": "2015-01-31"}]
    for position, file in enumerate(("demographics.csv", "users.csv"), start=100):
        sync.findings.create(
            position=position, code="OR-CSV-119", severity="warning", file=file, count=1, message="m", next_step="n",
            places=places,
        )  # fmt: skip
    told = reads.get(f"/api/v1/syncs/{sync.pk}/findings", {"code": "OR-CSV-119"}).json()["results"]
    assert [each["places"] for each in told] == [[], places]
    staff = Browser(enforce_csrf_checks=True)
    staff.force_login(rita)
    assert staff.get("/api/v1/syncs").status_code == 200
    assert approve(staff, sync, sync.plan_digest).status_code == 403, "a browser's session needs Django's CSRF token"
    sync.refresh_from_db()
    assert sync.status == "awaiting_review"


@pytest.mark.alike
@pytest.mark.parametrize("path", ["syncs", "districts", "districts/1001/deliveries", "districts/1001/syncs"])
def test_a_list_costs_few_queries_however_long(
    trip: Trip, tables: making.Tables, rita: Staff, path: str, django_assert_max_num_queries: Any
) -> None:
    waiting(trip, tables)
    for _ in range(5):
        trip.send(tables)
    browser = tool(trip.district, staff=rita)
    with django_assert_max_num_queries(6):
        assert browser.get(f"/api/v1/{path}").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_the_same_delivery_sent_at_the_same_moment_is_one(trip: Trip, tables: making.Tables, rita: Staff) -> None:
    path, answers = trip.folder / "day.zip", []
    making.write_zip(path, tables)
    browser = tool(trip.district, staff=rita)
    ready = threading.Barrier(4)

    def send() -> None:
        ready.wait()
        answers.append(sent(browser, path))
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} <= {200, 202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert (Delivery.objects.count(), SentOnce.objects.count()) == (1, 1)
