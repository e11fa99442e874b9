"""The pages of API clients and of webhooks fit every width and shut nobody out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.utils import timezone

from connections.announcing import telling
from connections.announcing.models import KINDS, Announcement, Webhook
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
    webhook = Webhook(client=client, url="https://tool.test/hook", kinds=list(KINDS))
    webhook.new_secret()
    webhook.save()
    telling.ping(webhook, timezone.now())
    Announcement.objects.update(status="given_up", answered="HTTP 500", tries=8)
    telling.ping(webhook, timezone.now())
    webhook.went_wrong(timezone.now())
    webhook.switch_off(timezone.now(), "Nothing arrived there for three days.")
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    complaints, found = log_in(page, live_server, "maria"), []

    def looked_at(name: str) -> None:
        if folder := os.environ.get("SHOTS"):
            page.screenshot(path=f"{folder}/client-{name}-{width}.png", full_page=True)
        found.extend(faults_of(page, width, complaints))

    for name, path in (
        ("desk", ""),
        ("list", "api/client/"),
        ("page", f"api/client/{client.pk}/change/"),
        ("webhook-list", "announcing/webhook/"),
        ("webhook-page", f"announcing/webhook/{webhook.pk}/change/"),
        ("webhook-add", "announcing/webhook/add/"),
        ("add", "api/client/add/"),
    ):
        page.goto(f"{live_server.url}/admin/{path}")
        looked_at(name)
    page.fill("input[name=name]", "Reading tool")
    page.check("input[name=scopes] >> nth=0")
    page.click("input[name=_save]")
    page.wait_for_selector("#secret")
    looked_at("secret")
    page.goto(f"{live_server.url}/api/docs/")
    page.wait_for_selector(".opblock-tag")
    if folder := os.environ.get("SHOTS"):
        page.screenshot(path=f"{folder}/docs-{width}.png")
    assert not complaints, complaints
    assert not found, found
