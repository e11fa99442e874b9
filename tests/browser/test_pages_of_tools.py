"""The pages of API clients and of webhooks fit every width and shut nobody out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.utils import timezone

from connections.announcing import telling
from connections.announcing.models import KINDS, Announcement, Webhook
from rosters.api.models import Client
from rosters.models import District
from tests.browser.looking import faults_in_both, log_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User as Staff
    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.looks]


def test_they_fit_and_have_no_accessibility_fault(
    page: Page,
    live_server: LiveServer,
    data_dir: Path,
    make_staff: Callable[[str, str], Staff],
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
    complaints, found = log_in(page, live_server, "maria"), []

    for path in (
        "", "api/client/", f"api/client/{client.pk}/change/", "announcing/webhook/",
        f"announcing/webhook/{webhook.pk}/change/", "announcing/webhook/add/", "api/client/add/",
    ):  # fmt: skip
        page.goto(f"{live_server.url}/admin/{path}")
        found += faults_in_both(page, complaints)
    page.fill("input[name=name]", "Reading tool")
    page.check("input[name=scopes] >> nth=0")
    page.click("input[name=_save]")
    page.wait_for_selector("#secret")
    found += faults_in_both(page, complaints)
    page.goto(f"{live_server.url}/api/docs/")
    page.wait_for_selector(".opblock-tag")
    assert not complaints, complaints
    assert not found, found
