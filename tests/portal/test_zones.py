"""Whose clock the pages of staff go by: the zone that somebody has chosen, else the browser's."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from django.test import Client

from connections.announcing.models import Mailing
from connections.onboarding.models import Person
from rosters.models import AuditEvent, District

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = [pytest.mark.django_db, pytest.mark.looks]

WISHES = {"mornings": "on", "hour": "7"}


@pytest.fixture
def browser(alice: Staff) -> Client:
    client = Client()
    client.force_login(alice)
    client.cookies["zone"] = "Europe%2FBerlin"
    return client


def _head(browser: Client) -> str:
    page = browser.get("/admin/").content.decode()
    return page[page.index('id="user-tools"') : page.index("</header>")]


def test_the_zone_that_somebody_chose_goes_before_the_browsers_and_stands_at_the_head(browser: Client) -> None:
    assert "Europe/Berlin" in _head(browser) and "Times in CE" in _head(browser)
    browser.post("/admin/mails/", {**WISHES, "time_zone": "Pacific/Honolulu"})
    assert "Pacific/Honolulu" in _head(browser) and "Times in HST" in _head(browser)
    assert 'href="/admin/mails/#id_time_zone"' in _head(browser)
    browser.cookies["zone"] = "Nowhere"
    assert "Times in HST" in _head(browser)


def test_a_zone_that_everybody_gets_is_no_choice_until_it_is_saved(browser: Client, alice: Staff) -> None:
    Mailing.objects.create(staff=alice)
    assert "Europe/Berlin" in _head(browser)
    browser.post("/admin/mails/", {**WISHES, "time_zone": "America/Chicago"})
    assert "America/Chicago" in _head(browser)
    assert AuditEvent.objects.get(action="mailing.changed").after == {"time_zone": "America/Chicago"}
    browser.post("/admin/mails/", {**WISHES, "time_zone": "America/Chicago"})
    assert AuditEvent.objects.filter(action="mailing.changed").count() == 1, "nothing was changed"


def test_which_zones_there_are_is_asked_once_and_not_for_each_page(
    browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Europe/Berlin" in _head(browser)
    monkeypatch.setattr(zoneinfo, "available_timezones", set)
    assert "Europe/Berlin" in _head(browser)


def test_a_call_stands_on_the_desk_by_that_clock_with_its_zone(browser: Client, alice: Staff) -> None:
    browser.post("/admin/mails/", {**WISHES, "time_zone": "Pacific/Honolulu"})
    district = District.objects.create(name="Cedar Grove", site_code="1")
    person = Person.objects.create(district=district, name="Dana", email="dana@cedar.test")
    day = datetime(2040, 1, 10, 20, 30, tzinfo=UTC)
    district.calls.create(person=person, staff=alice, starts_at=day, ends_at=day.replace(hour=21), booked_at=day)
    for at in ("/admin/", f"/admin/rosters/district/{district.pk}/change/"):
        assert "10:30 HST" in browser.get(at).content.decode()
    assert "10:30 HST" in browser.get("/admin/onboarding/call/").content.decode()
