"""The pages of API clients fit every width and shut nobody out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.utils import timezone

from rosters.api.models import Client
from rosters.models import District
from tests.browser.test_the_tour import faults_of, log_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User as Staff
    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.looks]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_they_fit_and_have_no_accessibility_fault(
    page: Page,
    live_server: LiveServer,
    data_dir: Path,
    make_staff: Callable[[str, str], Staff],
    width: int,
    scheme: str,
) -> None:
    make_staff("maria", "manager")
    cedar = District.objects.create(name="Cedar Grove", site_code="1001")
    client = Client.objects.create(name="Gradebook", scopes=[], signs=True)
    client.districts.add(cedar)
    first, _ = client.new_secret(timezone.now())
    first.revoke(timezone.now())
    client.new_secret(timezone.now())
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    complaints, found = log_in(page, live_server, "maria"), []

    def looked_at(name: str) -> None:
        if folder := os.environ.get("SHOTS"):
            page.screenshot(path=f"{folder}/client-{name}-{width}.png", full_page=True)
        found.extend(faults_of(page, width, complaints))

    for name, path in (("list", ""), ("page", f"{client.pk}/change/"), ("add", "add/")):
        page.goto(f"{live_server.url}/admin/api/client/{path}")
        looked_at(name)
    page.fill("input[name=name]", "Reading tool")
    page.check("input[name=scopes] >> nth=0")
    page.click("input[name=_save]")
    page.wait_for_selector("#secret")
    looked_at("secret")
    assert not found, found
