"""The district's other pages fit every width and shut nobody out: the door, home, the call, credentials; and a call is
booked and moved with the keyboard alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.looking import faults_in_both, tab_to
from tests.browser.test_templates import come_in, link

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

__all__ = ["link"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hours(alice: Staff) -> None:
    """Alice takes calls every day from nine to five."""
    from connections.onboarding.models import Availability

    Availability.objects.create(staff=alice, weekly={str(day): [["09:00", "17:00"]] for day in range(7)})


def test_a_call_is_booked_and_moved_with_the_keyboard_alone(page: Page, link: str, hours: None) -> None:
    come_in(page, link)
    tab_to(page, "A Call")
    page.keyboard.press("Enter")
    page.wait_for_selector("h2:has-text('Choose a time')")
    for heading in ("Move it", "Move it"):
        page.locator("input[type=radio]").first.focus()
        page.keyboard.press("ArrowDown")
        tab_to(page, "INPUT phone")
        page.keyboard.press("Control+A")
        page.keyboard.type("555 0100")
        page.keyboard.press("Enter")
        page.wait_for_selector(f"h2:has-text('{heading}')")
    page.wait_for_selector("text=We call 555 0100")


@pytest.mark.looks
def test_they_fit_and_have_no_accessibility_fault(page: Page, link: str, live_server: LiveServer, hours: None) -> None:
    come_in(page, link)
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    found = []
    for path in ("", "enter/", "call/", "connection/", "connection/new/sftp/", "connection/new/rest/"):
        page.goto(f"{live_server.url}/district/{path}")
        found += faults_in_both(page, complaints)
    page.goto(f"{live_server.url}/district/connection/")
    page.click("text=a page for everybody")
    page.click("button:has-text('Make a link')")
    given = page.inner_text("#link").partition("#")[2]
    found += faults_in_both(page, complaints)
    page.goto(f"{live_server.url}/district/standing/#{given}")
    page.wait_for_selector("text=Your link is ready")
    found += faults_in_both(page, complaints, turn=0)
    page.click("button:has-text('Show it')")
    page.wait_for_selector("text=Expected next")
    found += faults_in_both(page, complaints)
    assert given not in page.url and found == []
