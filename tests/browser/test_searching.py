"""Looking for a child in a real browser, with scripts and without: no request that is made names it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from rosters import making
from rosters.models import Sync, User
from tests.browser.looking import faults_in_both, log_in
from tests.journeys.trip import Trip

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from playwright.sync_api import Browser
    from pytest_django.live_server_helper import LiveServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.looks]


@pytest.mark.alike
@pytest.mark.parametrize("scripts", [True, False])
def test_a_child_is_found_and_no_address_says_who(
    browser: Browser, live_server: LiveServer, data_dir: Path, tmp_path: Path, rita: Staff, scripts: bool
) -> None:
    tables = making.make_roster(users=220, seed=4, today=timezone.localdate(), name="Cedar Grove")
    trip = Trip(tmp_path, rita)
    trip.go(trip.send(tables))
    sync = trip.send(making.without_school(tables, 1))
    person = User.objects.filter(role="student").order_by("family_name").first()
    assert person
    name = person.family_name
    context = browser.new_context(viewport={"width": 1280, "height": 900}, java_script_enabled=scripts)
    page, asked = context.new_page(), list[str]()
    page.on("request", lambda request: asked.append(unquote(request.url)))
    complaints = log_in(page, live_server, "rita")
    page.fill("input[name=q]", name)
    page.click("text=Find person")
    found = page.locator("#result_list tbody tr")
    expect(found.first).to_contain_text(name)
    expect(page.locator("#searchbar")).to_have_value(name)
    page.click("#result_list tbody tr >> nth=0 >> a >> nth=0")
    page.wait_for_selector(".record-page")
    page.go_back()
    expect(found.first).to_contain_text(name)
    page.goto(f"{live_server.url}/admin/rosters/user/?found=long-ago")
    page.wait_for_selector("text=That search is over: search again.")
    faults = faults_in_both(page, complaints) if scripts else []
    page.goto(f"{live_server.url}/admin/rosters/sync/{sync.pk}/change/")
    leaver = str(sync_rows(sync)[0]["familyName"])
    page.fill("#changes input[name=text]", leaver)
    page.select_option("#changes select[name=kind]", "removed")
    page.click("#changes button:has-text('Filter')")
    shown = page.locator("#changes .change.removed")
    expect(page.locator("#changes")).to_contain_text("Download these changes (CSV)")
    expect(shown).to_have_count(len(sync_rows(sync, leaver)))
    assert page.locator("#changes input[name=text]").input_value() == leaver
    if scripts:
        faults += faults_in_both(page, complaints)
    with page.expect_download() as download:
        page.click("text=Download these changes (CSV)")
    lines = Path(download.value.path()).read_text(encoding="utf-8-sig").splitlines()
    assert len(lines) == 1 + len(sync_rows(sync, leaver))
    assert asked and not [url for url in asked if name in url or leaver in url]
    assert not faults, faults
    assert not complaints, complaints
    context.close()


def sync_rows(sync: Sync, text: str = "") -> list[dict[str, str]]:
    """The people who would be removed, of whom some cell holds `text`."""
    from rosters import syncs

    stored = syncs.store().difference(sync.district_id, sync.pk)
    return stored.page("users", kind="removed", text=text, limit=50).rows
