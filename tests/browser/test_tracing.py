"""Somebody who is in no roster is found in the newest file, in a real browser; the pages fit and shut nobody out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import polars as pl
import pytest
from django.utils import timezone
from playwright.sync_api import expect

from rosters import making, syncs
from rosters.models import District, User
from tests.browser.looking import OTHER_WAYS, WAYS, faults_in_both, log_in
from tests.browser.test_templates import come_in, link
from tests.journeys.trip import Trip

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

__all__ = ["link"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.looks]


def _tables() -> making.Tables:
    tables = making.make_roster(users=220, seed=4, today=timezone.localdate(), name="Cedar Grove")
    users = tables["users"]
    number = users.filter(role="student").height // 2
    who = users.filter(role="student")["sourcedId"][number]
    role = pl.when(pl.col("sourcedId") == who).then(pl.lit("pupil")).otherwise("role")
    return {**tables, "users": users.with_columns(role.alias("role"))}


def test_a_pupil_whose_row_was_set_aside_is_found(
    page: Page, live_server: LiveServer, data_dir: Path, tmp_path: Path, rita: Staff
) -> None:
    tables = _tables()
    person = tables["users"].filter(role="pupil").row(0, named=True)
    trip = Trip(tmp_path, rita)
    trip.go(trip.send(tables))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(unquote(request.url)))
    complaints = log_in(page, live_server, "rita")
    page.goto(f"{live_server.url}/admin/rosters/district/{trip.district.pk}/change/")
    page.fill("input[name=who]", f"{person['givenName']} {person['familyName']}")
    page.click("button:has-text('Look in the newest file')")
    expect(page.locator("#in-users")).to_be_visible()
    expect(page.locator("#content")).to_contain_text("Set aside")
    faults = faults_in_both(page, complaints, WAYS) + faults_in_both(page, complaints, OTHER_WAYS, turn=0)
    page.fill("input[name=who]", str(person["familyName"])[:1])
    page.click("button:has-text('Look in the file')")
    expect(page.locator("#people")).to_be_visible()
    faults += faults_in_both(page, complaints, WAYS) + faults_in_both(page, complaints, OTHER_WAYS, turn=0)
    live = User.objects.filter(role="student").first()
    assert live
    page.goto(f"{live_server.url}/admin/rosters/user/{live.pk}/change/")
    page.click("text=In the newest file")
    expect(page.locator("#in-enrollments")).to_be_visible()
    faults += faults_in_both(page, complaints, WAYS) + faults_in_both(page, complaints, OTHER_WAYS, turn=0)
    page.goto(f"{live_server.url}/admin/rosters/user/file/")
    faults += faults_in_both(page, complaints)
    assert not faults, faults
    assert not [url for url in asked if str(person["familyName"]) in url or str(person["sourcedId"]) in url]


def test_a_person_of_the_district_finds_the_same(
    page: Page, link: str, live_server: LiveServer, tmp_path: Path, alice: Staff
) -> None:
    tables = _tables()
    person = tables["users"].filter(role="pupil").row(0, named=True)
    making.write_zip(tmp_path / "nightly.zip", tables)
    cedar = District.objects.get()
    sync = syncs.receive(cedar, tmp_path / "nightly.zip", origin="sftp", name="nightly.zip")
    syncs.prepare(sync.pk)
    come_in(page, link)
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.click("text=Find somebody")
    faults = faults_in_both(page, complaints)
    page.fill("input[name=who]", str(person["username"]))
    page.click("button:has-text('Find')")
    expect(page.locator("#content")).to_contain_text("Set aside")
    faults += faults_in_both(page, complaints, WAYS) + faults_in_both(page, complaints, OTHER_WAYS, turn=0)
    assert not faults, faults
    assert str(person["username"]) not in page.url
