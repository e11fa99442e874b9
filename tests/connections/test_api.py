"""Connections over the API: seen without a secret, fetched at once by who may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone

from connections.models import Attempt, Connection
from rosters.api import scopes
from rosters.models import AuditEvent, District
from tests.tools import tool

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = pytest.mark.django_db


@pytest.fixture
def connection(cedar: District, rita: Staff) -> Connection:
    made = Connection(
        district=cedar, kind="sftp", host="sftp.cedar.test", username="cedaruser", path="*.zip",
        schedule={"days": [0, 1, 2, 3, 4], "times": ["02:00"]},
    )  # fmt: skip
    made.keep_secret("password", "correct horse")
    made.host_key_seen = "SHA256:abc"
    made.save()
    made.pin_host_key(timezone.now(), "SHA256:abc", rita)
    made.activate(timezone.now(), made.due_after(timezone.now()))
    return made


def test_they_are_seen_without_secrets_and_only_ones_own(connection: Connection, cedar: District, rita: Staff) -> None:
    maple = District.objects.create(name="Maple", site_code="1002")
    browser = tool(cedar, staff=rita)
    told = browser.get("/api/v1/connections")
    assert [each["uid"] for each in told.json()["results"]] == [str(connection.uid)]
    for word in ("correct horse", "cedaruser", "sftp.cedar.test", "sealed"):
        assert word not in told.content.decode()
    one = browser.get(f"/api/v1/connections/{connection.uid}").json()
    assert (one["state"], one["site_code"]) == ("active", "1001")
    stranger = tool(maple, staff=rita)
    assert stranger.get("/api/v1/connections").json()["results"] == []
    for path in (f"connections/{connection.uid}", f"connections/{connection.uid}/schedule",
                 f"connections/{connection.uid}/attempts"):  # fmt: skip
        assert stranger.get(f"/api/v1/{path}").status_code == 404, path


def test_its_next_runs_are_told_by_the_districts_clock(connection: Connection, cedar: District, rita: Staff) -> None:
    told = tool(cedar, staff=rita).get(f"/api/v1/connections/{connection.uid}/schedule").json()
    assert told["time_zone"] == cedar.time_zone and told["words"] and len(told["runs"]) == 20
    assert all("T02:00:00-0" in run["local"] for run in told["runs"]), told["runs"]


def test_it_is_fetched_at_once_and_not_twice(connection: Connection, cedar: District, rita: Staff) -> None:
    browser = tool(cedar, staff=rita)
    asked = browser.post(f"/api/v1/connections/{connection.uid}/attempts")
    assert asked.status_code == 202
    attempt = Attempt.objects.get()
    assert (attempt.why, attempt.by) == ("now", rita)
    assert browser.get(asked.headers["Location"]).json()["id"] == attempt.pk
    again = browser.post(f"/api/v1/connections/{connection.uid}/attempts")
    assert (again.status_code, again.json()["code"]) == (409, "not-now")
    assert AuditEvent.objects.filter(action="client.acted", after__did="connection.fetch").count() == 1
    listed: list[Any] = browser.get(f"/api/v1/connections/{connection.uid}/attempts").json()["results"]
    assert [each["id"] for each in listed] == [attempt.pk]


def test_who_only_reads_fetches_nothing(connection: Connection, cedar: District, rita: Staff) -> None:
    reads = tool(cedar, staff=rita, only=(scopes.CONNECTIONS_READ,))
    assert reads.post(f"/api/v1/connections/{connection.uid}/attempts").json()["code"] == "scope-missing"
    assert not Attempt.objects.exists()
