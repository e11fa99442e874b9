"""How often a tool may ask, and in which form it is refused: the same at every address."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client as Browser

from rosters.api import scopes
from rosters.api.models import Client
from tests.tools import with_secret

if TYPE_CHECKING:
    from rosters.models import District

pytestmark = pytest.mark.django_db

USERS = "/d/1001/ims/oneroster/v1p1/users"
SYNCS = "/api/v1/syncs"


def browser_of(made: tuple[Client, str]) -> Any:
    return with_secret(*made)


def test_who_asks_too_often_waits_and_nobody_else_does(
    cedar: District, make_client: Callable[..., tuple[Client, str]]
) -> None:
    busy, calm = (
        browser_of(make_client("busy", per_minute=3, scopes=list(scopes.ALL))),
        browser_of(make_client("calm", per_minute=3)),
    )
    left = [busy.get(USERS).headers["X-RateLimit-Remaining"] for _ in range(3)]
    assert left == ["2", "1", "0"]
    refused = busy.get(USERS)
    assert refused.status_code == 429 and 0 < int(refused.headers["Retry-After"]) <= 60
    told = refused.json()["imsx_CodeMinor"]["imsx_codeMinorField"][0]
    assert told["imsx_codeMinorFieldValue"] == "server_busy"
    assert busy.get(SYNCS).json()["code"] == "too-many-requests", "it is one budget for all addresses"
    assert calm.get(USERS).status_code == 200


@pytest.mark.parametrize("place", [USERS, SYNCS])
def test_nobody_is_let_in_without_a_good_token(cedar: District, place: str) -> None:
    for header in ("", "Bearer nonsense", "Bearer ", "Basic dG9vbDp4", 'OAuth oauth_consumer_key="x"'):
        answer: Any = Browser(headers={"authorization": header} if header else {}).get(place)
        assert answer.status_code == 401, header
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert "json" in answer.headers["Content-Type"]


def test_a_form_that_is_not_served_and_a_method_that_is_not_known_are_told(
    cedar: District, make_client: Callable[..., tuple[Client, str]]
) -> None:
    tool = browser_of(make_client("tool", scopes=list(scopes.ALL)))
    for place in (USERS, SYNCS):
        assert tool.get(place, headers={"accept": "image/png"}).status_code == 406
        assert tool.put(place).status_code == 405
        assert tool.get(place, headers={"accept": "text/html,*/*;q=0.8"}).status_code == 200
    problem = tool.put(SYNCS)
    assert problem.headers["Content-Type"] == "application/problem+json"
    assert problem.json()["type"].endswith("/api/docs/#method-not-allowed")
    assert tool.get("/api/v1/nothing").json()["code"] == "not-found"
    assert tool.get("/d/1001/ims/oneroster/v1p1/lineItems").json()["imsx_codeMajor"] == "failure"
    assert tool.post("/d/1001/ims/oneroster/v1p1/lineItems").status_code == 404, "and not a page about cookies"


def test_the_id_of_a_person_is_in_no_log(
    cedar: District, make_client: Callable[..., tuple[Client, str]], caplog: pytest.LogCaptureFixture
) -> None:
    browser = browser_of(make_client("tool"))
    for place in ("v1p1/users/jane-doe-7", "v1p1/users/jane-doe-7/", "rostering/v1p2/classes/jane-doe-7/students"):
        assert browser.get(f"/d/1001/ims/oneroster/{place}").status_code == 404
    assert browser.get(USERS, {"filter": "email='jane-doe-7@x' AND"}).status_code == 400
    logged = caplog.text
    assert "jane-doe-7" not in logged and "/d/1001/ims/oneroster/…" in logged


def test_no_answer_is_kept_by_anybody_on_the_way(
    cedar: District, make_client: Callable[..., tuple[Client, str]]
) -> None:
    tool = browser_of(make_client("tool", scopes=list(scopes.ALL)))
    for place in (USERS, SYNCS):
        assert tool.get(place).headers["Cache-Control"] == "private, no-cache"
