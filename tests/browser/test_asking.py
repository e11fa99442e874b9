"""A district is asked on the page of a sync, and answers on its own pages, on whatever it has in its hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.core import mail
from django.utils import timezone

from rosters import making
from rosters.models import District
from tests.browser.looking import faults_in_both, log_in
from tests.journeys.trip import Trip

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from playwright.sync_api import Browser, Page
    from pytest_django import Settings
    from pytest_django.live_server_helper import LiveServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.looks]


def test_it_is_asked_answered_and_read_and_every_page_fits(
    page: Page,
    browser: Browser,
    live_server: LiveServer,
    settings: Settings,
    data_dir: Path,
    tmp_path: Path,
    alice: Staff,
) -> None:
    settings.PORTAL_URL = live_server.url
    trip = Trip(tmp_path, alice)
    tables = making.make_roster(users=90, seed=8, today=timezone.localdate(), name="Cedar Grove")
    trip.go(trip.send(tables))
    sync = trip.send(making.without_school(tables, 0))
    District.objects.get().people.create(name="Dana Reyes", email="dana@cedar.test", role="owner")
    address = f"{live_server.url}/admin/rosters/sync/{sync.pk}/change/"
    complaints, mail.outbox = log_in(page, live_server, "alice"), []
    page.goto(address)
    page.click("summary:has-text('Ask the district whether it is right')")
    assert page.input_value("#id_words").endswith("Is that right?")
    faults = faults_in_both(page, complaints, turn=0)
    page.goto(address)
    page.click("summary:has-text('Ask the district whether it is right')")
    page.click("button:has-text('Ask') >> visible=true")
    page.wait_for_selector("text=No answer yet")

    link = re.search(r"\S+/district/enter/#\S+", str(mail.outbox[0].body))
    assert link is not None
    context = browser.new_context(viewport={"width": 390, "height": 900})
    phone = context.new_page()
    said: list[str] = []
    phone.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    phone.goto(link[0])
    phone.click("button:has-text('Come in')")
    phone.wait_for_selector("text=We have a question")
    faults += faults_in_both(phone, said)
    phone.reload()
    phone.get_by_label("A word about it").fill("One school closed in June.")
    phone.click("button:has-text('Yes, that is right')")
    phone.wait_for_selector("text=What you answered")
    faults += faults_in_both(phone, said)
    context.close()

    page.goto(address)
    page.wait_for_selector("text=Yes, that is right. “One school closed in June.”")
    faults += faults_in_both(page, complaints, turn=1)
    page.goto(f"{live_server.url}/admin/onboarding/question/")
    faults += faults_in_both(page, complaints)
    page.goto(f"{live_server.url}/admin/")
    page.wait_for_selector("text=The district was asked")
    assert not faults, faults
