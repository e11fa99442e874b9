"""The README's tour, in a real browser: a zip arrives, is held, is reviewed, goes live, and is taken back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.utils import timezone

from rosters import making, syncs
from rosters.models import LIVE, AuditEvent, District, Org, Sync, User
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


def log_in(page: Page, live_server: LiveServer, name: str) -> list[str]:
    """Log in as `name`; returns the list into which the browser's complaints are written from here on."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{live_server.url}/admin/")
    page.fill("#id_username", name)
    page.fill("#id_password", f"{name}-password")
    page.click("input[type=submit]")
    return complaints


def test_a_zip_arrives_is_held_approved_and_taken_back(
    page: Page, live_server: LiveServer, cedar: District, tmp_path: Path
) -> None:
    complaints = log_in(page, live_server, "alice")
    people_before = User.objects.filter(status="active").count()
    page.goto(f"{live_server.url}/admin/rosters/district/{cedar.pk}/change/")
    page.set_input_files("input[type=file]", tmp_path / "day2.zip")
    page.click("text=Upload day2.zip")
    page.wait_for_selector("#progress")
    assert page.is_visible("text=Waiting for a worker")
    assert work_off() == 1
    page.wait_for_selector(".holds")  # the page found out by itself
    assert page.is_visible("text=SCHOOL_GONE")
    page.click("text=Show the records >> nth=0")
    assert page.is_visible("#changes .change.removed")
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
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_every_page_fits_and_has_no_accessibility_fault(
    live_server: LiveServer, cedar: District, tmp_path: Path, width: int, scheme: str, page: Page, alice: Staff
) -> None:
    sync = syncs.receive(cedar, tmp_path / "day2.zip", origin="staff", name="day2.zip", by=alice)
    syncs.prepare(sync.pk)
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    complaints = log_in(page, live_server, "alice")
    person = User.objects.filter(role="student").earliest("pk")
    school = Org.objects.filter(type="school").earliest("pk")
    faults: list[tuple[str, str, str]] = []
    for address in (
        "", "rosters/district/", f"rosters/district/{cedar.pk}/change/", "rosters/district/add/", "rosters/sync/",
        f"rosters/sync/{sync.pk}/change/", f"rosters/sync/{sync.pk}/left/", f"rosters/user/?district={cedar.pk}",
        f"rosters/user/{person.pk}/change/", f"rosters/org/{school.pk}/change/", "rosters/auditevent/",
    ):  # fmt: skip
        page.goto(f"{live_server.url}/admin/{address}")
        faults += faults_of(page, width, complaints)
    assert not faults, faults


#: What stands right need not be told of. Targets of 24 pixels (WCAG 2.2, 2.5.8) are not asked for by default.
_ASKED = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}


def must_fit(page: Page, width: int, complaints: list[str]) -> None:
    """A page is no wider than `width`, also where it is unfolded, and the browser has nothing to complain of."""
    page.evaluate("document.querySelectorAll('details').forEach((folded) => { folded.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{page.url} is wider than {width}"
    # Nothing is removed or made beside a choice among what there is.
    assert not page.locator(".related-widget-wrapper-link:visible").count(), page.url
    assert not complaints, (page.url, complaints)


def faults_of(page: Page, width: int, complaints: list[str]) -> list[tuple[str, str, str]]:
    """(address, rule, where) of what axe finds serious on a page, which must fit."""
    from axe_playwright_python.sync_playwright import Axe

    must_fit(page, width, complaints)  # before axe, which breaks our content policy itself
    found = Axe().run(page, options=_ASKED).response["violations"]
    complaints.clear()
    return [(page.url, v["id"], v["nodes"][0]["html"][:160]) for v in found if v["impact"] in ("critical", "serious")]


@pytest.mark.looks
@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light")])
def test_no_state_of_a_page_and_no_page_beside_the_road_has_a_fault(
    live_server: LiveServer, cedar: District, tmp_path: Path, width: int, scheme: str, page: Page, alice: Staff
) -> None:
    first = Sync.objects.get(status="applied")
    held = syncs.prepare(syncs.receive(cedar, tmp_path / "day2.zip", origin="staff", name="day2.zip", by=alice).pk)
    assert held
    syncs.approve(held, by=alice, plan_digest=held.plan_digest)
    held = syncs.apply(held.pk) or held
    undoing = syncs.undo(held, by=alice)
    syncs.prepare(undoing.pk)
    (tmp_path / "broken.zip").write_bytes((tmp_path / "day2.zip").read_bytes()[:9000])
    broken = syncs.receive(cedar, tmp_path / "broken.zip", origin="staff", name="broken.zip", by=alice)
    syncs.prepare(broken.pk)
    on_its_way = syncs.receive(
        District.objects.create(name="Mesa Valley", site_code="1003"),
        tmp_path / "day2.zip", origin="staff", name="day2.zip", by=alice,
    )  # fmt: skip
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
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
    faults = faults_of(page, width, [])
    complaints = log_in(page, live_server, "alice")
    records = [f"rosters/{m._meta.model_name}/{m.objects.earliest('pk').pk}/change/" for m in LIVE.values()
               if m.objects.exists()]  # fmt: skip
    lists = [f"rosters/{m._meta.model_name}/" for m in LIVE.values()]
    removed = User.objects.filter(status="tobedeleted").earliest("pk")
    addresses = (
        *lists, *records, f"rosters/user/{removed.pk}/change/", f"rosters/user/{removed.pk}/history/?line",
        f"rosters/user/?district={cedar.pk}&status=tobedeleted",
        f"rosters/sync/{first.pk}/change/", f"rosters/sync/{held.pk}/change/?by=grade",
        f"rosters/sync/{held.pk}/changes/?table=users&kind=removed&text=a", f"rosters/sync/{undoing.pk}/change/",
        f"rosters/sync/{held.pk}/changes/?text=nothing-has-this", f"rosters/sync/{broken.pk}/change/",
        f"rosters/sync/{on_its_way.pk}/change/", f"rosters/district/{on_its_way.district_id}/change/",
        f"rosters/sync/?came={timezone.localdate()}", "rosters/district/?standing=setup", "rosters/district/?q=nowhere",
        "?product=math", "?whose=mine", "?state=refused", "auth/user/", "auth/user/add/",
        f"auth/user/{alice.pk}/change/", "auth/group/", "auth/group/add/", "password_change/", "django_q/",
        "django_q/schedule/", "django_q/failure/", "django_q/success/", "django_q/ormq/", "rosters/", "mails/",
        f"rosters/district/{cedar.pk}/leave/", f"rosters/district/{left.pk}/certificate/",
        "rosters/district/?standing=leaving", f"rosters/district/{left.pk}/change/",
        f"rosters/district/{leaving.pk}/change/",
        f"rosters/auditevent/{AuditEvent.objects.earliest('pk').pk}/change/",
    )  # fmt: skip
    for number, address in enumerate(addresses):
        page.goto(f"{live_server.url}/admin/{address}")
        # All must fit; axe, which takes most of the time, looks at each in one of the two ways.
        must_fit(page, width, complaints)
        faults += faults_of(page, width, complaints) if number % 2 == (width == 390) else []
    page.goto(f"{live_server.url}/nowhere")
    complaints.clear()  # the browser says itself that there is no such page
    faults += faults_of(page, width, complaints)
    assert not faults, faults


@pytest.mark.looks
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_under_new_ids_everybody_is_known_again_and_nobody_leaves(
    live_server: LiveServer, cedar: District, tmp_path: Path, width: int, scheme: str, page: Page, rita: Staff
) -> None:
    tables = making.make_roster(users=220, seed=4, today=timezone.localdate(), name="Cedar Grove")
    making.write_zip(tmp_path / "moved.zip", making.under_other_ids(tables))
    sync = syncs.receive(cedar, tmp_path / "moved.zip", origin="staff", name="moved.zip", by=rita)
    syncs.prepare(sync.pk)
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    complaints = log_in(page, live_server, "rita")
    page.goto(f"{live_server.url}/admin/rosters/sync/{sync.pk}/change/")
    assert page.is_visible("text=more unusual things follow from that; nothing else is unusual.")
    page.click("a.button:has-text('Look who is who')")
    faults = faults_of(page, width, complaints)
    page.reload()
    assert page.is_visible("text=220 people")
    page.click("text=They are the same: keep the")
    assert page.is_visible("text=The same file is being compared under them")
    work_off()
    page.wait_for_selector("text=Nothing changed")
    assert not User.objects.filter(status="tobedeleted").exists()
    page.click("text=the ids that are kept")
    faults += faults_of(page, width, complaints)
    page.reload()
    page.fill("input[name=q]", making.under_other_ids(tables)["users"]["sourcedId"][7])
    page.click("button:has-text('Show')")
    assert page.locator("#pairs + form + .scroll tbody tr, section:has(#pairs) tbody tr").count() == 1
    page.set_input_files("input[type=file]", {"name": "ids.csv", "mimeType": "text/csv", "buffer": b"old,new\n1\n"})
    page.click("text=Upload ids.csv")
    page.wait_for_selector("text=The list was not taken.")
    assert page.is_visible("text=The list was not taken. Line 2 does not have exactly two cells that are filled.")
    page.check("input[name=let_go]")
    page.click("text=Give up the list")
    assert page.is_visible("text=Every record of this district is known by the id that its SIS gives it.")
    assert not complaints, complaints
    faults += faults_of(page, width, complaints)
    assert not faults, faults


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the button or field of this name has the focus, which must show."""
    for _ in range(400):
        page.keyboard.press("Tab")
        has = page.evaluate(
            "(() => { const at = document.activeElement; const shows = getComputedStyle(at).outlineStyle !== 'none';"
            "return [at.tagName + ' ' + (at.name || at.textContent.trim()), shows]; })()"
        )
        if str(has[0]).startswith(name):
            assert has[1], f"{name} has the focus, but nothing shows it"
            return
    pytest.fail(f"{name} cannot be reached with Tab")


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
