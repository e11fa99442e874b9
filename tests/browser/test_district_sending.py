"""Somebody at a district sends a roster from a real browser: the line breaks, the page is reloaded, and it goes on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.utils import timezone

from connections.onboarding.entering import invite
from connections.onboarding.models import Upload
from rosters import making, syncs
from rosters.models import Delivery, District, Sync
from tests.browser.looking import Fault, faults_in_both, tab_to
from tests.queue import work_off

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from playwright.sync_api import FilePayload, Page
    from pytest_django.live_server_helper import LiveServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def roster(tmp_path: Path) -> Path:
    """A delivery of more than one piece."""
    tables = making.make_roster(users=2500, seed=4, today=timezone.localdate(), name="Cedar Grove")
    making.write_zip(tmp_path / "monday.zip", tables)
    assert (tmp_path / "monday.zip").stat().st_size > 1 << 20
    return tmp_path / "monday.zip"


@pytest.fixture
def link(data_dir: Path, alice: Staff) -> str:
    """Lets Sam of Cedar Grove in; the part behind the portal's name."""
    district = District.objects.create(name="Cedar Grove", site_code="1001", owner=alice)
    sam = district.people.create(name="Sam Okafor", email="sam@cedar.test")
    return "/district/enter/#" + invite(sam, by=alice).partition("#")[2]


def come_in(page: Page, live_server: LiveServer, link: str) -> list[str]:
    """Come in by the link; returns the list into which the browser's complaints are written from here on."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{live_server.url}{link}")
    page.click("#enter button")
    page.wait_for_url("**/district/")
    return complaints


def payload(name: str, content: bytes) -> FilePayload:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": content}


def test_an_upload_that_is_cut_goes_on_after_a_reload_and_ends_in_a_receipt(
    page: Page, live_server: LiveServer, link: str, roster: Path, alice: Staff
) -> None:
    complaints = come_in(page, live_server, link)
    page.click("nav >> text=Send")
    page.route(re.compile(r"/send/[^/]+/[1-9]\d*/$"), lambda route: route.abort())  # the line breaks after one piece
    page.set_input_files("#files", roster)
    page.click("button.primary")
    page.wait_for_selector("text=The line is broken")
    assert not Delivery.objects.exists()
    came = Upload.objects.get().received
    assert 0 < came < roster.stat().st_size

    page.unroute_all()
    page.reload()
    page.wait_for_selector("text=Not all here yet")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.method == "PUT" else None)
    page.set_input_files("#files", roster)
    tab_to(page, "BUTTON Send")
    page.keyboard.press("Enter")
    page.wait_for_url("**/district/sent/*/")
    assert asked[0].endswith(f"/{came}/")
    upload = Upload.objects.get()
    assert upload.delivery is not None and upload.sync is not None
    stored = syncs.store().original(upload.district_id, upload.delivery.sha256)
    assert stored.read_bytes() == roster.read_bytes()
    page.wait_for_selector(f"h1:has-text('{upload.number}')")

    page.wait_for_selector("text=Waits to be checked")
    work_off()
    page.wait_for_selector("text=Waits for somebody at our end")  # the page found out by itself
    sync = Sync.objects.get()
    syncs.approve(sync, by=alice, plan_digest=sync.plan_digest)
    syncs.apply(sync.pk)
    page.reload()
    page.wait_for_selector("text=let through")
    assert not [each for each in complaints if "net::ERR_FAILED" not in each], complaints


def test_a_broken_line_mends_by_itself_and_loose_files_arrive_as_one(
    page: Page, live_server: LiveServer, link: str
) -> None:
    come_in(page, live_server, link)
    page.goto(f"{live_server.url}/district/send/")
    broken = iter([True, True])
    page.route(
        re.compile(r"/send/[^/]+/\d+/$"), lambda route: route.abort() if next(broken, False) else route.continue_()
    )
    files = [("users.csv", b"sourcedId\n1\n"), ("orgs.csv", b"sourcedId\n2\n")]
    page.set_input_files("#files", [payload(name, content) for name, content in files])
    page.click("button.primary")
    page.wait_for_url("**/district/sent/*/")
    assert Delivery.objects.get().name == "2 CSV files.zip"
    page.wait_for_selector("text=Packed into one zip from: users.csv, orgs.csv.")


def test_what_cannot_be_sent_is_said_at_once(page: Page, live_server: LiveServer, link: str) -> None:
    come_in(page, live_server, link)
    page.goto(f"{live_server.url}/district/send/")
    page.set_input_files("#files", payload("roster.xlsx", b"x"))
    page.click("button.primary")
    page.wait_for_selector("text=SEND-KIND")
    assert page.is_enabled("button.primary")


@pytest.mark.looks
def test_every_page_of_sending_fits_and_has_no_accessibility_fault(
    page: Page, live_server: LiveServer, link: str, tmp_path: Path
) -> None:
    tables = making.make_roster(users=60, seed=4, today=timezone.localdate(), name="Cedar Grove")
    making.write_zip(tmp_path / "good.zip", tables)
    complaints = come_in(page, live_server, link)
    faults: list[Fault] = []
    for content in ((tmp_path / "good.zip").read_bytes(), b"PK\x03\x04 and nothing else"):
        page.goto(f"{live_server.url}/district/send/")
        faults += faults_in_both(page, complaints)
        page.set_input_files("#files", payload("monday.zip", content))
        page.click("button.primary")
        page.wait_for_url("**/district/sent/*/")
        faults += faults_in_both(page, complaints)
        work_off()
        page.wait_for_selector("#receipt:not([hx-trigger='every 2s'])")
        faults += faults_in_both(page, complaints)
    page.goto(f"{live_server.url}/district/sent/")
    faults += faults_in_both(page, complaints)
    assert not faults, faults
