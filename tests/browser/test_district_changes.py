"""Whoever is asked whether a delivery is right looks at what it changes, finds somebody by name, and reads how long
what is wrong has been there: at a desk and on a phone."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from django.utils import timezone

from rosters import making
from rosters.models import Sync
from tests.browser.looking import OTHER_WAYS, faults_in_both
from tests.browser.test_templates import come_in
from tests.journeys.trip import Trip

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.looks]


def test_who_is_asked_looks_at_what_it_changes(
    page: Page, live_server: LiveServer, data_dir: Path, tmp_path: Path, alice: Staff
) -> None:
    from connections.onboarding.asking import ask
    from connections.onboarding.entering import invite

    trip = Trip(tmp_path, alice)
    tables = making.make_roster(users=220, seed=8, today=timezone.localdate(), name="Cedar Grove")
    less = making.without_school(tables, 0)
    stays = pl.col("sourcedId") == less["users"]["sourcedId"][-1]
    email = pl.when(stays).then(pl.lit("nobody at home")).otherwise("email").alias("email")
    role = pl.when(stays).then(pl.lit("lead")).otherwise("role").alias("role")
    sex = {"demographics": tables["demographics"].with_columns(sex=pl.lit("both"))}
    done = trip.go(trip.send(tables | sex))
    Sync.objects.filter(pk=done.pk).update(received_at=timezone.now() - timedelta(days=20))
    bad = trip.send(tables | sex | {"users": tables["users"].with_columns(email, role)})
    Sync.objects.filter(pk=bad.pk).update(received_at=timezone.now() - timedelta(days=12))
    renamed = pl.when(~stays).then(pl.lit("Zoë, the same")).otherwise("middleName").alias("middleName")
    sync = trip.send(less | {"users": less["users"].with_columns(email, role, renamed)})
    dana = trip.district.people.create(name="Dana Reyes", email="dana@cedar.test", role="owner")
    ask(sync, "Cedar Middle is missing. Is that right?", by=alice)
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    come_in(page, f"{live_server.url}/district/enter/#{invite(dana, by=alice).partition('#')[2]}")
    page.wait_for_selector("text=here for 12 days")
    faults = faults_in_both(page, complaints)
    page.click("text=See who and what it changes")
    page.wait_for_selector("h1:has-text('What it changes')")
    faults += faults_in_both(page, complaints)
    page.click("section:has(#by-school) td.removed a >> nth=0")
    page.wait_for_selector("text=− leaves")
    name = page.locator(".change strong").first.inner_text()
    page.get_by_label("Contains").fill(name.split()[-1])
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**found=**")
    assert name in page.locator(".change strong").all_inner_texts() and name.split()[-1] not in page.url
    faults += faults_in_both(page, complaints, OTHER_WAYS)
    with page.expect_download() as taken:
        page.click("text=Download these as a file")
    assert taken.value.suggested_filename.endswith("-users.csv")
    page.select_option("select[name=kind]", "updated")
    page.select_option("select[name=school]", "")
    page.get_by_label("Contains").fill("")
    page.get_by_role("button", name="Show").click()
    page.wait_for_selector("text=~ changes")
    faults += faults_in_both(page, complaints)
    page.click("text=What became of it")
    page.wait_for_selector("text=Download the faulty rows, with reasons")
    faults += faults_in_both(page, complaints)
    assert not faults, faults
