"""What a person reads where there is no page, no permission, or a fault: what happened, what of it, what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.test import Client, RequestFactory
from django.views.defaults import bad_request, server_error

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = [pytest.mark.django_db, pytest.mark.looks]


@pytest.mark.parametrize(
    "address", ["/nowhere", "/admin/rosters/sync/999999/change/", "/admin/rosters/class/999999/change/"]
)
def test_a_page_that_is_not_there(address: str, alice: Staff) -> None:
    client = Client()
    client.force_login(alice)
    answer = client.get(address)
    assert answer.status_code == 404
    assert "There is no such page" in answer.text
    assert 'href="/"' in answer.text


def test_people_of_a_district_are_led_to_their_own_first_page() -> None:
    answer = Client().get("/district/nowhere")
    assert (answer.status_code, 'href="/district/"' in answer.text) == (404, True)


def test_what_one_may_not_see(vera: Staff) -> None:
    client = Client()
    client.force_login(vera)
    answer = client.get("/admin/auth/user/")
    assert answer.status_code == 403
    assert "ask a manager of the portal" in answer.text


def test_a_form_without_its_proof() -> None:
    answer = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "a", "password": "b"})
    assert answer.status_code == 403
    assert "Load the page anew and try again" in answer.text


def test_what_cannot_be_understood_and_what_breaks_say_nothing_of_the_inside() -> None:
    request = RequestFactory().get("/")
    for answer, status, words in (
        (bad_request(request, ValueError("the inside")), 400, "could not make sense"),
        (server_error(request), 500, "Something broke on our side"),
    ):
        page = answer.content.decode()
        assert (answer.status_code, words in page, "the inside" in page) == (status, True, False)
