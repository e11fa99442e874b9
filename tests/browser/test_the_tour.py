"""The README's tour, in a real browser: a zip arrives, is held, is reviewed, goes live, and is taken back."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from rosters import making, syncs
from rosters.models import LIVE, AuditEvent, District, Org, Sync, User
from tests.browser.looking import OTHER_WAYS, Fault, faults_in_both, log_in, tab_to
from tests.queue import work_off

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cedar(data_dir: Path, tmp_path: Path, alice: Staff) -> District:
    """A district whose first roster is live."""
    district = District.objects.create(name="Cedar Grove", site_code="1001")
    tables = making.make_roster(users=220, seed=4, today=timezone.localdate(), name="Cedar Grove")
    making.write_zip(tmp_path / "day1.zip", tables)
    making.write_zip(tmp_path / "day2.zip", making.without_school(tables, 1))
    sync = syncs.receive(district, tmp_path / "day1.zip", origin="staff", name="day1.zip", by=alice)
    sync = syncs.prepare(sync.pk) or sync
    syncs.approve(sync, by=alice, plan_digest=sync.plan_digest)
    syncs.apply(sync.pk)
    district.refresh_from_db()
    return district


def test_a_zip_arrives_is_held_approved_and_taken_back(
    page: Page, live_server: LiveServer, cedar: District, tmp_path: Path
) -> None:
    complaints = log_in(page, live_server, "alice")
    people_before = User.objects.filter(status="active").count()
    page.goto(f"{live_server.url}/admin/rosters/district/{cedar.pk}/change/")
    page.set_input_files("input[type=file]", tmp_path / "day2.zip")
    page.click("text=Upload day2.zip")
    page.wait_for_selector("#progress")
    page.wait_for_selector("text=Waiting for a worker")
    assert work_off() == 1
    page.wait_for_selector(".holds")  # the page found out by itself
    page.wait_for_selector("text=SCHOOL_GONE")
    page.click("text=Show the records >> nth=0")
    page.wait_for_selector("#changes .change.removed")
    page.click("button:has-text('Approve')")
    page.wait_for_selector("#progress")
    work_off()
    page.wait_for_selector("text=Can be undone until")
    assert User.objects.filter(status="active").count() < people_before
    assert Org.objects.filter(type="school", status="tobedeleted").count() == 1
    page.click("button:has-text('Work out how to undo')")
    work_off()
    page.wait_for_selector("button:has-text('Approve')")
    page.click("button:has-text('Approve')")
    work_off()
    page.wait_for_selector(".status-good")
    assert User.objects.filter(status="active").count() == people_before
    assert not complaints, complaints


def test_declining_asks_for_a_reason_and_keeps_the_roster(
    page: Page, live_server: LiveServer, cedar: District, tmp_path: Path, rita: Staff
) -> None:
    log_in(page, live_server, "rita")
    page.goto(f"{live_server.url}/admin/rosters/district/{cedar.pk}/change/")
    page.set_input_files("input[type=file]", tmp_path / "day2.zip")
    page.click("text=Upload day2.zip")
    page.wait_for_selector("#progress")
    work_off()
    page.wait_for_selector(".holds")
    page.fill("input[name=reason]", "Send the school again, please.")
    page.click("text=Decline and keep the roster as it is")
    page.wait_for_selector("text=Send the school again, please.")
    assert Sync.objects.latest("pk").status == "declined"
    cedar.refresh_from_db()
    assert cedar.version == 1


@pytest.mark.looks
def test_every_page_fits_and_has_no_accessibility_fault(
    live_server: LiveServer, cedar: District, tmp_path: Path, page: Page, alice: Staff
) -> None:
    sync = syncs.receive(cedar, tmp_path / "day2.zip", origin="staff", name="day2.zip", by=alice)
    syncs.prepare(sync.pk)
    complaints = log_in(page, live_server, "alice")
    person = User.objects.filter(role="student").earliest("pk")
    school = Org.objects.filter(type="school").earliest("pk")
    faults: list[Fault] = []
    for address in (
        "", "rosters/district/", f"rosters/district/{cedar.pk}/change/", "rosters/district/add/", "rosters/sync/",
        f"rosters/sync/{sync.pk}/change/", f"rosters/sync/{sync.pk}/left/", f"rosters/user/?district={cedar.pk}",
        f"rosters/user/{person.pk}/change/", f"rosters/org/{school.pk}/change/", "rosters/auditevent/",
    ):  # fmt: skip
        page.goto(f"{live_server.url}/admin/{address}")
        faults += faults_in_both(page, complaints)
    assert not faults, faults


@pytest.mark.looks
def test_no_state_of_a_page_and_no_page_beside_the_road_has_a_fault(
    live_server: LiveServer, cedar: District, tmp_path: Path, page: Page, alice: Staff
) -> None:
    first = Sync.objects.get(status="applied")
    held = syncs.prepare(syncs.receive(cedar, tmp_path / "day2.zip", origin="staff", name="day2.zip", by=alice).pk)
    assert held
    syncs.approve(held, by=alice, plan_digest=held.plan_digest)
    held = syncs.apply(held.pk) or held
    undoing = syncs.prepare(syncs.undo(held, by=alice).pk)
    assert undoing
    syncs.approve(undoing, by=alice, plan_digest=undoing.plan_digest, go_live_at=timezone.now() + timedelta(hours=1))
    (tmp_path / "broken.zip").write_bytes((tmp_path / "day2.zip").read_bytes()[:9000])
    broken = syncs.receive(cedar, tmp_path / "broken.zip", origin="staff", name="broken.zip", by=alice)
    syncs.prepare(broken.pk)
    on_its_way = syncs.receive(
        District.objects.create(name="Mesa Valley", site_code="1003"),
        tmp_path / "day2.zip", origin="staff", name="day2.zip", by=alice,
    )  # fmt: skip
    up = making.make_roster(users=220, seed=4, today=timezone.localdate(), name="Cedar Grove")
    making.write_zip(tmp_path / "next-year.zip", making.rollover(up, seed=6)[0])
    dry = syncs.receive(
        cedar, tmp_path / "next-year.zip", origin="staff", name="next-year.zip", by=alice, dry_run=True,
        as_if_on=timezone.localdate() + timedelta(days=200),
    )  # fmt: skip
    syncs.prepare(dry.pk)
    about = {"verified_at": timezone.now(), "verification_faults": ["users: live has 1 rows, the snapshot 2"]}
    District.objects.filter(pk=on_its_way.district_id).update(**about)
    Sync.objects.filter(pk=first.pk).update(forgotten_at=timezone.now())
    told = {
        "records": {"users": 2},
        "files": 3,
        "file_bytes": 9,
        "versions": 1,
        "syncs": 4,
        "others": {"connections": 1},
    }
    left, leaving = (District.objects.create(name=name, site_code=name) for name in ("Left", "Leaving"))
    District.objects.filter(pk=left.pk).update(leaving_since=timezone.now(), left_at=timezone.now(), left_with=told)
    District.objects.filter(pk=leaving.pk).update(leaving_since=timezone.now())
    page.goto(f"{live_server.url}/admin/login/")
    faults = faults_in_both(page, [], OTHER_WAYS)
    complaints = log_in(page, live_server, "alice")
    some = [LIVE[table] for table in ("orgs", "classes", "users", "enrollments")]  # the others are made like these
    records = [f"rosters/{m._meta.model_name}/{m.objects.earliest('pk').pk}/change/" for m in some]
    lists = [f"rosters/{m._meta.model_name}/" for m in some]
    removed = User.objects.filter(status="tobedeleted").earliest("pk")
    addresses = (
        *lists, *records, f"rosters/user/{removed.pk}/change/", f"rosters/user/{removed.pk}/history/?line",
        f"rosters/user/?district={cedar.pk}&status=tobedeleted",
        f"rosters/sync/{first.pk}/change/", f"rosters/sync/{held.pk}/change/?by=grade",
        f"rosters/sync/{held.pk}/changes/?table=users&kind=removed&text=a", f"rosters/sync/{undoing.pk}/change/",
        f"rosters/sync/{held.pk}/changes/?text=nothing-has-this", f"rosters/sync/{broken.pk}/change/",
        f"rosters/sync/{dry.pk}/change/", "rosters/sync/?dry_run=1",
        f"rosters/sync/{on_its_way.pk}/change/", f"rosters/district/{on_its_way.district_id}/change/",
        f"rosters/sync/?came={timezone.localdate()}", "rosters/district/?standing=setup", "rosters/district/?q=nowhere",
        "?product=math", "?whose=mine", "?state=refused", "auth/user/", "auth/user/add/",
        f"auth/user/{alice.pk}/change/", "auth/group/", "auth/group/add/", "password_change/", "django_q/",
        "django_q/schedule/", "django_q/failure/", "django_q/success/", "django_q/ormq/", "rosters/", "mails/",
        f"rosters/district/{cedar.pk}/leave/",
        f"rosters/district/{cedar.pk}/kept/", f"rosters/district/{left.pk}/certificate/",
        "rosters/district/?standing=leaving", f"rosters/district/{left.pk}/change/",
        f"rosters/district/{leaving.pk}/change/",
        f"rosters/auditevent/{AuditEvent.objects.earliest('pk').pk}/change/",
    )  # fmt: skip
    for number, address in enumerate(addresses):
        page.goto(f"{live_server.url}/admin/{address}")
        faults += faults_in_both(page, complaints, OTHER_WAYS, turn=number)
    page.goto(f"{live_server.url}/nowhere")
    complaints.clear()  # the browser says itself that there is no such page
    faults += faults_in_both(page, complaints)
    assert not faults, faults


@pytest.mark.looks
def test_under_new_ids_everybody_is_known_again_and_nobody_leaves(
    live_server: LiveServer, cedar: District, tmp_path: Path, page: Page, rita: Staff
) -> None:
    tables = making.make_roster(users=220, seed=4, today=timezone.localdate(), name="Cedar Grove")
    making.write_zip(tmp_path / "moved.zip", making.under_other_ids(tables))
    sync = syncs.receive(cedar, tmp_path / "moved.zip", origin="staff", name="moved.zip", by=rita)
    syncs.prepare(sync.pk)
    complaints = log_in(page, live_server, "rita")
    page.goto(f"{live_server.url}/admin/rosters/sync/{sync.pk}/change/")
    page.wait_for_selector("text=more unusual things follow from that; nothing else is unusual.")
    page.click("a.button:has-text('Look who is who')")
    faults = faults_in_both(page, complaints)
    page.reload()
    page.wait_for_selector("text=220 people")
    page.click("text=They are the same: keep the")
    page.wait_for_selector("text=The same file is being compared under them")
    work_off()
    page.wait_for_selector("text=Nothing changed")
    assert not User.objects.filter(status="tobedeleted").exists()
    page.click("text=the ids that are kept")
    faults += faults_in_both(page, complaints)
    page.reload()
    page.fill("input[name=q]", making.under_other_ids(tables)["users"]["sourcedId"][7])
    page.click("button:has-text('Show')")
    shown = page.locator("#pairs + form + .scroll tbody tr, section:has(#pairs) tbody tr")
    expect(shown).to_have_count(1)
    page.set_input_files("input[type=file]", {"name": "ids.csv", "mimeType": "text/csv", "buffer": b"old,new\n1\n"})
    page.click("text=Upload ids.csv")
    page.wait_for_selector("text=The list was not taken.")
    page.wait_for_selector("text=The list was not taken. Line 2 does not have exactly two cells that are filled.")
    page.check("input[name=let_go]")
    page.click("text=Give up the list")
    page.wait_for_selector("text=Every record of this district is known by the id that its SIS gives it.")
    assert not complaints, complaints
    faults += faults_in_both(page, complaints)
    assert not faults, faults


@pytest.mark.looks
def test_a_reviewer_declines_and_approves_with_the_keyboard_alone(
    page: Page, live_server: LiveServer, cedar: District, tmp_path: Path, rita: Staff
) -> None:
    complaints = log_in(page, live_server, "rita")
    for decide in ("decline", "approve"):
        sync = syncs.receive(cedar, tmp_path / "day2.zip", origin="staff", name="day2.zip", by=rita)
        syncs.prepare(sync.pk)
        page.goto(f"{live_server.url}/admin/")
        tab_to(page, "A Review")
        page.keyboard.press("Enter")
        page.wait_for_selector(".holds")
        if decide == "decline":
            tab_to(page, "INPUT reason")
            page.keyboard.type("Send the school again, please.")
            page.keyboard.press("Enter")
            page.wait_for_selector("text=Reason given")
        else:
            tab_to(page, "BUTTON Approve")
            page.keyboard.press("Enter")
            page.wait_for_selector("#progress")
            work_off()
            page.wait_for_selector("text=Can be undone until")
    assert [s.status for s in Sync.objects.order_by("-pk")[:2]] == ["applied", "declined"]
    assert not complaints, complaints


@pytest.mark.alike
def test_the_page_of_a_refused_decision_leads_on(
    page: Page, live_server: LiveServer, cedar: District, tmp_path: Path, rita: Staff
) -> None:
    log_in(page, live_server, "rita")
    sync = syncs.receive(cedar, tmp_path / "day2.zip", origin="staff", name="day2.zip", by=rita)
    syncs.prepare(sync.pk)
    page.goto(f"{live_server.url}/admin/rosters/sync/{sync.pk}/change/")
    District.objects.filter(pk=cedar.pk).update(version=5)  # the roster moves while somebody reads
    page.click("button:has-text('Approve')")
    page.wait_for_selector("text=the plan is being made anew")
    assert page.url.endswith("/approve/")
    work_off()
    page.wait_for_url("**/change/")  # the page followed the new plan by itself, and sent nothing twice
    page.click("text=Show the records >> nth=0")
    page.wait_for_selector("#changes .change.removed")
    assert Sync.objects.get(pk=sync.pk).status == "awaiting_review"
