"""The staff's pages of calls and hours fit every width and shut nobody out."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.utils import timezone

from connections.onboarding import calls
from connections.onboarding.models import Availability, Call
from rosters.models import District
from tests.browser.looking import faults_in_both, log_in

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.looks]


def test_they_fit_and_have_no_accessibility_fault(
    page: Page, live_server: LiveServer, data_dir: Path, alice: Staff
) -> None:
    week = {str(day): [["09:00", "12:00"], ["13:00", "15:00"]] for day in range(5)}
    hours = Availability.objects.create(staff=alice, weekly=week, exceptions={"2026-12-24": []})
    cedar = District.objects.create(name="Cedar Grove", site_code="1001", owner=alice)
    dana = cedar.people.create(name="Dana Reyes", email="dana@cedar.test", role="owner")
    now = timezone.now()
    call = calls.book(dana, calls.free(hours, now)[0], now, phone="555 0100", topic="Where to begin")
    past = now - timedelta(hours=3)
    over = Call.objects.create(
        district=cedar,
        person=dana,
        staff=alice,
        starts_at=past,
        ends_at=past + timedelta(minutes=30),
        status=Call.Status.HELD,
    )
    complaints = log_in(page, live_server, "alice")
    found = []
    for path in (
        "", "onboarding/call/", f"onboarding/call/{call.pk}/change/", f"onboarding/call/{over.pk}/change/",
        f"onboarding/availability/{hours.pk}/change/", f"rosters/district/{cedar.pk}/change/",
    ):  # fmt: skip
        page.goto(f"{live_server.url}/admin/{path}")
        found += faults_in_both(page, complaints)
    assert not found, found
