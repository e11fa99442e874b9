"""A person of a district looks a column up: with the keyboard alone, on a phone, without script, and on paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rosters.models import District
from tests.browser.looking import faults_in_both, tab_to

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from playwright.sync_api import Browser, Page
    from pytest_django.live_server_helper import LiveServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def link(data_dir: Path, alice: Staff, live_server: LiveServer) -> str:
    """What lets Dana of Cedar Grove in."""
    from connections.onboarding.entering import invite

    cedar = District.objects.create(name="Cedar Grove", site_code="1001", time_zone="America/Chicago")
    dana = cedar.people.create(name="Dana Reyes", email="dana@cedar.test", role="owner")
    return f"{live_server.url}/district/enter/#{invite(dana, by=alice).partition('#')[2]}"


def come_in(page: Page, link: str) -> None:
    page.goto(link)
    page.click("#enter button")
    page.wait_for_url("**/district/")


def test_a_column_is_looked_up_with_the_keyboard_alone(page: Page, link: str) -> None:
    come_in(page, link)
    tab_to(page, "A Templates")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('Templates and specifications')")
    tab_to(page, "INPUT q")
    page.keyboard.type("address school")
    page.keyboard.press("Enter")
    page.wait_for_selector("h2:has-text('1 column for')")
    tab_to(page, "A users.csv email")
    page.keyboard.press("Enter")
    page.wait_for_url("**/district/templates/users/#email")
    assert page.locator("#email:target").evaluate("e => e.getBoundingClientRect().top") < 100


def test_the_pages_need_no_script(browser: Browser, page: Page, link: str, live_server: LiveServer) -> None:
    come_in(page, link)
    with_cookie = page.context.storage_state()
    context = browser.new_context(java_script_enabled=False, storage_state=with_cookie)
    plain = context.new_page()
    plain.goto(f"{live_server.url}/district/templates/")
    plain.fill("#q", "grade")
    plain.click("form[role=search] button")
    plain.click("#found ~ ul a >> text=users.csv")
    plain.wait_for_selector("#grades >> text=It decides with which content a student starts")
    plain.goto(f"{live_server.url}/district/templates/")
    with plain.expect_download() as sent:
        plain.click("text=Template for Math")
    assert sent.value.suggested_filename == "math-oneroster-1.1-template.zip"
    context.close()


@pytest.mark.looks
def test_the_pages_fit_and_have_no_accessibility_fault(page: Page, link: str, live_server: LiveServer) -> None:
    come_in(page, link)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    faults = []
    for address in ("", "?q=grade", "?q=zebra", "users/", "users/?version=1.2", "roles/", "manifest/#file.users"):
        page.goto(f"{live_server.url}/district/templates/{address}")
        assert page.locator("h1").count() == 1
        faults += faults_in_both(page, complaints)
    assert faults == []


@pytest.mark.looks
def test_on_paper_there_is_what_can_be_read_and_nothing_to_press(
    page: Page, link: str, live_server: LiveServer
) -> None:
    come_in(page, link)
    page.goto(f"{live_server.url}/district/templates/")
    page.emulate_media(media="print")
    assert (
        not page.is_visible("#header") and not page.is_visible("text=Template for Math") and not page.is_visible("#q")
    )
    page.goto(f"{live_server.url}/district/templates/users/")
    page.wait_for_selector("#email >> text=What goes wrong most")
    assert page.locator("#email").evaluate("e => getComputedStyle(e).breakInside") == "avoid"
