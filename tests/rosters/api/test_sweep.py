"""Every address of the API, by every method, by everybody: generated from the URL conf, so that none is forgotten."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client as Browser
from django.urls import URLResolver, get_resolver
from django.utils import timezone

from connections.models import Attempt, Connection
from rosters import making
from rosters.api import scopes
from rosters.models import AuditEvent, Delivery, District, Sync
from tests.journeys.trip import Trip
from tests.tools import tool

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = [pytest.mark.django_db, pytest.mark.doors]

METHODS = ("get", "post", "put", "patch", "delete")


def routes(patterns: list[Any] | None = None, before: str = "") -> Iterator[tuple[str, Any]]:
    """Every route below the bases of the API, with its view."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            if before or route.startswith(("d/", "api/v1/")):
                yield from routes(pattern.url_patterns, route)
        elif route.startswith(("d/", "api/v1/")) and "<path:" not in route and not route.endswith("/"):
            yield route, pattern.callback


@pytest.fixture
def ids(data_dir: Path, tmp_path: Path, alice: Staff) -> dict[str, Any]:
    """What can stand in a route."""
    trip = Trip(tmp_path, alice)
    tables = making.make_roster(users=40, seed=4, today=timezone.localdate(), name="Cedar Grove")
    done = trip.go(trip.send(tables))
    District.objects.create(name="Maple", site_code="1002")
    connection = Connection.objects.create(district=trip.district, kind="sftp", host="sftp.cedar.test", path="*.zip")
    attempt = Attempt.objects.create(connection=connection, why="now")
    enrolled = tables["enrollments"].row(0, named=True)
    return {
        "site_code": "1001", "uid": connection.uid, "syncs": done.pk, "deliveries": done.delivery_id,
        "attempts": attempt.pk, "classSourcedId": enrolled["classSourcedId"],
        "schoolSourcedId": enrolled["schoolSourcedId"],
        "courseSourcedId": tables["courses"]["sourcedId"][0],
        "termSourcedId": tables["academicSessions"]["sourcedId"][0],
        "tables": tables,
    }  # fmt: skip


def address(route: str, ids: dict[str, Any]) -> str:
    def value(found: re.Match[str]) -> str:
        name = found[1].rpartition(":")[2]
        if name == "pk":
            return str(ids[route.split("/")[2]])
        if name == "sourcedId":
            table = route[: found.start()].rstrip("/").rpartition("/")[2]
            users = ids["tables"]["users"]
            if table in ("students", "teachers"):
                return str(users.filter(role=table.removesuffix("s"))["sourcedId"][0])
            sessions = ids["tables"]["academicSessions"]
            kinds = {"terms": ("term", "semester"), "gradingPeriods": ("gradingPeriod",)}
            if table in kinds:
                return str(sessions.filter(sessions["type"].is_in(kinds[table]))["sourcedId"][0])
            if table == "schools":
                return str(ids["schoolSourcedId"])
            return str(ids["tables"][table]["sourcedId"][0])
        return str(ids.get(name) or ids["tables"]["users"]["sourcedId"][0])

    return "/" + re.sub(r"<([^>]+)>", value, route)


def asked(browser: Any, method: str, place: str) -> Any:
    """The answer, read to its end."""
    body = {} if method == "get" else {"data": "{}", "content_type": "application/json"}
    answer = getattr(browser, method)(place, **body)
    answer.said = b"".join(answer).decode(errors="replace")
    return answer


def test_every_route_method_and_client_is_answered_as_documented(
    ids: dict[str, Any], make_staff: Callable[[str, str], Staff]
) -> None:
    staff = make_staff("manu", "manager")
    browsers: dict[str, Any] = {
        "nobody": Browser(),
        "stranger": tool(District.objects.get(site_code="1002"), staff=staff),
        "right": tool(District.objects.get(site_code="1001"), staff=staff),
    }
    wrong: list[Any] = []
    swept = 0
    for route, view in routes():
        place = address(route, ids)
        serves = [method for method in METHODS if hasattr(view.view_class, method)]
        named = "<" in route
        for method in METHODS:
            swept += 1
            answers = {who: asked(browser, method, place) for who, browser in browsers.items()}
            got = {who: answer.status_code for who, answer in answers.items()}
            wanted: dict[str, set[int]] = {
                "nobody": {401},
                "stranger": {404} if named else {200} if method in serves else {405},
                "right": {200, 202, 400, 409, 428} if method in serves else {405},
            }
            wanted["stranger"] |= {405} if method not in serves else set()
            for who, status in got.items():
                kind = answers[who].headers.get("Content-Type", "")
                is_json = "json" in kind or status in (200, 202)
                if status not in wanted[who] or not is_json:
                    wrong.append((method, place, who, status, kind))
            if not named and method in serves and got["stranger"] == 200:
                assert answers["stranger"].json()["results"] == [] or "districts" in route, place
    assert not wrong, "\n".join(map(str, wrong))
    assert swept > 450


def test_no_scope_opens_what_is_anothers(ids: dict[str, Any], make_staff: Callable[[str, str], Staff]) -> None:
    """With each single scope, exactly the routes that name it are open."""
    staff = make_staff("manu", "manager")
    cedar = District.objects.get(site_code="1001")
    tools = {scope: tool(cedar, staff=staff, only=(scope,)) for scope in scopes.ALL}
    wrong = []
    for route, view in routes():
        place = address(route, ids)
        for method in ("get", "post"):
            if not hasattr(view.view_class, method):
                continue
            for scope, browser in tools.items():
                answer = asked(browser, method, place)
                needed = _needed(view, method)
                if (answer.status_code == 403) == (scope in needed):
                    wrong.append((method, place, scope, answer.status_code))
    assert not wrong, "\n".join(map(str, wrong))


def _needed(view: Any, method: str) -> tuple[str, ...]:
    from django.test import RequestFactory
    from rest_framework.request import Request

    made = view.view_class(**view.view_initkwargs)
    request = Request(getattr(RequestFactory(), method)("/"))
    return tuple(made.needs(request)[0])


def test_nothing_of_another_district_is_told_or_done(
    ids: dict[str, Any], make_staff: Callable[[str, str], Staff]
) -> None:
    """A stranger's answers hold no value of the roster, and leave no trace in the district."""
    stranger = tool(District.objects.get(site_code="1002"), staff=make_staff("manu", "manager"))
    before = (Sync.with_dry_runs.count(), Delivery.objects.count(), Attempt.objects.count(), AuditEvent.objects.count())
    secrets = [ids["tables"]["users"]["email"][0], ids["tables"]["users"]["sourcedId"][0], "Cedar Grove"]
    for route, view in routes():
        place = address(route, ids)
        for method in METHODS:
            if not hasattr(view.view_class, method):
                continue
            content = asked(stranger, method, place).said
            assert not [word for word in secrets if word in content], place
    after = (Sync.with_dry_runs.count(), Delivery.objects.count(), Attempt.objects.count(), AuditEvent.objects.count())
    assert after == before
