"""The worst addresses: nothing that anybody types into one is a fault of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.test import Client, RequestFactory
from django.urls import reverse

from portal.impossible import Impossible
from rosters.models import District

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = pytest.mark.django_db

NUMBER = "9" * 23
#: Lists of staff that are filtered by a district.
LISTS = (
    *(f"rosters_{name}" for name in ("auditevent", "sync", "org", "class", "user", "enrollment", "course", "role")),
    "connections_connection", "onboarding_call", "onboarding_person", "onboarding_question",
)  # fmt: skip


def test_no_address_of_staff_is_a_fault_of_ours(alice: Staff) -> None:
    client, cedar = Client(), District.objects.create(name="Cedar Grove", site_code="1001")
    client.force_login(alice)
    client.cookies["zone"] = "Pacific%2FKiritimati"
    lists = [reverse(f"admin:{name}_changelist") for name in LISTS]
    trail = reverse("admin:rosters_auditevent_csv")
    asked = {
        *(f"{at}?{query}" for at in lists for query in (f"district={NUMBER}", "district=%00", "e=1")),
        *(f"{at}?district={cedar.pk}&{query}" for at in lists for query in (f"school={NUMBER}", "status=%00")),
        *(f"/admin/rosters/sync/?came={day}" for day in ("9999-12-31", "9999-12-31T23", "0001-01-01", "0001-01-01T00")),
        *(
            f"{trail}?{query}"
            for query in ("anything=1", "by=nope", "district=%00", f"district={NUMBER}", "at__year=0")
        ),
        *(f"{at}%00/change/" for at in lists),
        *(f"{at}{NUMBER}/change/" for at in lists),
        f"/admin/rosters/district/?owner__id__exact={NUMBER}",
    }
    for address in sorted(asked):
        answer = client.get(address)
        assert answer.status_code in ((400,) if "%00" in address else (200, 302, 400, 404)), address
    assert client.get(f"{trail}?anything=1").headers["Location"] == "/admin/rosters/auditevent/?e=1"
    assert "could not make sense" in client.get("/admin/rosters/org/?type=%00").text


def test_a_nul_is_refused_in_the_manner_of_the_address(alice: Staff) -> None:
    client = Client()
    told = client.get("/d/1001/ims/oneroster/v1p1/orgs?filter=name%3D'%00'")
    assert (told.status_code, told.json()["imsx_codeMajor"]) == (400, "failure")
    told = client.get("/api/v1/districts/%00")
    assert (told.status_code, told.headers["Content-Type"]) == (400, "application/problem+json")
    form = "application/x-www-form-urlencoded"
    told = client.post("/oauth2/token", "grant_type=client_credentials&client_id=%00", content_type=form)
    assert (told.status_code, told.json()["error"]) == (400, "invalid_request")
    for sent in ("username=a%00&password=b", "username=a\0&password=b"):
        assert client.post("/admin/login/", sent, content_type=form).status_code == 400
    assert client.get("/district/enter/?why=100%2500").status_code == 200


def test_an_overflow_of_our_own_stays_a_fault() -> None:
    middleware = Impossible(lambda request: None)  # type: ignore[arg-type,return-value]
    request = RequestFactory().get("/admin/rosters/sync/", {"came": "7d", "page": "9" * 18})
    assert middleware.process_exception(request, OverflowError()) is None
    large = RequestFactory().get("/admin/rosters/sync/", {"district": NUMBER})
    assert middleware.process_exception(large, ValueError()) is None
    for number in ("9" * 19, "9" * 5000):
        answer = middleware.process_exception(RequestFactory().get(f"/?district={number}"), OverflowError())
        assert answer and answer.status_code == 400
