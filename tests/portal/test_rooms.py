"""The links at the top of every page of staff."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib import admin
from django.test import Client

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = pytest.mark.django_db


def _page(staff: Staff, address: str) -> Any:
    client = Client()
    client.force_login(staff)
    return client.get(address)


def _names(page: Any, links: str = "rooms") -> list[str]:
    return [link.name for link in page.context[links]]


def test_everybody_sees_the_rooms_that_are_open_to_them(make_staff: Callable[[str, str], Staff], alice: Staff) -> None:
    viewer = _names(_page(make_staff("vera", "viewer"), "/admin/"))
    assert {"Districts", "Syncs", "Rosters"} <= set(viewer) and not {"Staff", "API clients"} & set(viewer)
    assert "Background work" not in viewer
    alice.is_superuser = True
    alice.save()
    assert {"Staff", "API clients", "Background work"} <= set(_names(_page(alice, "/admin/")))
    assert "rooms" not in Client().get("/admin/login/").context


def test_a_page_says_in_which_room_it_is_and_what_stands_beside_it(make_staff: Callable[[str, str], Staff]) -> None:
    page = _page(make_staff("vera", "viewer"), "/admin/rosters/class/")
    assert [link.name for link in page.context["rooms"] if link.is_here] == ["Rosters"]
    assert "Enrollments" in _names(page, "beside") and "Demographics" not in _names(page, "beside")
    assert page.context["list_name"] == "Classes" and b"<h1>Classes</h1>" in page.content


def test_every_list_is_in_a_room_and_says_what_to_do_while_it_is_empty(alice: Staff) -> None:
    alice.is_superuser = True
    alice.save()
    known = _names(_page(alice, "/admin/"))
    for model, of in admin.site._registry.items():
        app, name = model._meta.app_label, model._meta.model_name
        page = _page(alice, f"/admin/{app}/{name}/")
        assert page.status_code == 200, name
        assert [link.name for link in page.context["rooms"] if link.is_here], f"{name} is in none of {known}"
        if not page.context["cl"].result_count and app != "django_q" and name != "auditevent":
            assert getattr(of, "nothing_yet", ""), f"an empty list of {name} does not say what to do"
            assert of.nothing_yet.replace("'", "&#x27;") in page.content.decode(), name
