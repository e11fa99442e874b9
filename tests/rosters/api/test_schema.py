"""The description of the API is exact: what is made up from it meets no fault of ours and no answer beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from django.core.management import call_command
from django.test import Client as Browser
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from connections.models import Connection
from rosters import making
from tests.journeys.trip import Trip
from tests.tools import tool

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from pytest_django.live_server_helper import LiveServer

pytestmark = pytest.mark.django_db

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture
def described(tmp_path: Path) -> dict[str, Any]:
    """The schema, as it is built without a single warning."""
    path = tmp_path / "schema.json"
    call_command("spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json", "--file", str(path))
    schema: dict[str, Any] = json.loads(path.read_text())
    return schema


@pytest.mark.alike
def test_it_describes_every_address_of_the_api(described: dict[str, Any]) -> None:
    from django.urls import get_resolver

    assert described["openapi"].startswith("3.1")
    standard = [path for path in described["paths"] if path.startswith("/d/")]
    assert len(standard) == 82
    named = {pattern for pattern in get_resolver().reverse_dict if isinstance(pattern, str)}
    assert not named & {"syncs", "districts"}, "they live in a namespace of their own"
    own = [path for path in described["paths"] if path.startswith("/api/v1/")]
    assert {"/api/v1/syncs/{id}/approve", "/api/v1/districts/{site_code}/changes"} <= set(own) and len(own) >= 20


def test_staff_read_it_in_a_browser_and_nobody_else(make_staff: Callable[[str, str], Staff]) -> None:
    browser = Browser()
    assert browser.get("/api/docs/").status_code == 403 and browser.get("/api/schema/").status_code == 403
    browser.force_login(make_staff("vera", "viewer"))
    page = browser.get("/api/docs/").content.decode()
    assert "<style" not in page and "cdn" not in page and "onclick" not in page
    assert browser.get("/api/schema/").status_code == 200


@pytest.fixture
def places(data_dir: Path, tmp_path: Path, alice: Staff, make_staff: Callable[[str, str], Staff]) -> dict[str, Any]:
    """A district with a roster and a sync that waits, and what of it can stand in an address."""
    trip = Trip(tmp_path, alice)
    tables = making.make_roster(users=40, seed=4, today=timezone.localdate(), name="Cedar Grove")
    done = trip.go(trip.send(tables))
    waits = trip.send(making.next_day(tables, change=0.2, seed=3)[0])
    connection = Connection.objects.create(district=trip.district, kind="sftp", host="sftp.cedar.test", path="*.zip")
    browser = tool(trip.district, staff=make_staff("manu", "manager"))
    return {
        "authorization": browser.defaults["HTTP_AUTHORIZATION"],
        "site_code": "1001",
        "syncs": [done.pk, waits.pk],
        "uid": str(connection.uid),
        "deliveries": done.delivery_id,
        "ids": {
            name: tables[name]["sourcedId"][0] for name in ("orgs", "classes", "users", "courses", "academicSessions")
        },
    }


_COLLECTIONS = {"school": "orgs", "class": "classes", "term": "academicSessions", "course": "courses"}


def _aimed(path: str, parameters: dict[str, Any], places: dict[str, Any], turn: int) -> dict[str, Any]:
    """Path parameters that lead somewhere, every other time; else what was made up."""
    aimed = dict(parameters)
    if "site_code" in aimed:
        aimed["site_code"] = places["site_code"]
    if turn % 2:
        return aimed
    for name in aimed:
        if name == "id":
            aimed[name] = places["deliveries"] if "/deliveries/" in path else places["syncs"][turn // 2 % 2]
        elif name == "uid":
            aimed[name] = places["uid"]
        elif name.endswith("SourcedId"):
            aimed[name] = places["ids"][_COLLECTIONS.get(name.removesuffix("SourcedId"), "users")]
        elif name == "sourcedId":
            table = path.split("/")[-2]
            aimed[name] = places["ids"].get(table, places["ids"]["users"])
    return aimed


@pytest.mark.doors
@pytest.mark.django_db(transaction=True)
def test_what_is_made_up_from_it_is_answered_as_it_says(
    live_server: LiveServer, described: dict[str, Any], places: dict[str, Any]
) -> None:
    schema = schemathesis.openapi.from_dict(described)
    schema.config.update(base_url=live_server.url)
    asked, wrong = 0, {}
    for found in schema.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]
        try:
            asked += _asked(operation, places)
        except (Exception, BaseExceptionGroup) as fault:  # of all addresses at once, not of the first alone
            wrong[operation.label] = str(fault)[:1500]
    assert not wrong, "\n\n".join(f"{label}\n{words}" for label, words in wrong.items())
    assert asked > 300


def _asked(operation: Any, places: dict[str, Any]) -> int:
    """Ask what is made up for one operation; how often it was asked."""
    turns: list[Any] = []
    path = operation.path
    headers = {"Authorization": places["authorization"]}
    few = settings(
        max_examples=3 if path.startswith("/d/") else 8, deadline=None, database=None, phases=[Phase.generate],
        derandomize=True, suppress_health_check=list(HealthCheck),
    )  # fmt: skip

    @few
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        turns.append(case)
        case.path_parameters = _aimed(path, dict(case.path_parameters or {}), places, len(turns))
        case.call_and_validate(headers=headers, checks=CHECKS)

    ask()
    return len(turns)
