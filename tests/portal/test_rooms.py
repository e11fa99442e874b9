"""The links at the top of every page of staff."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib import admin
from django.test import Client

from rosters.words import ACTION_WORDS

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


def test_every_deed_that_is_written_down_is_told_in_words() -> None:
    roots = [Path(room) for room in ("rosters", "connections", "portal")]
    code = "".join(path.read_text() for root in roots for path in root.rglob("*.py") if "migrations" not in path.parts)
    deeds = re.findall(r'(?:action=|audit\([^()"]*)"([a-z_]+\.[a-z_]+)"(?: if [\w.]+ else "([a-z_.]+)")?', code)
    found = {deed for pair in deeds for deed in pair if deed}
    assert len(found) > 40 and "webhook.on" in found and not found - set(ACTION_WORDS)


def test_every_list_is_in_a_room_and_says_what_to_do_while_it_is_empty(alice: Staff) -> None:
    alice.is_superuser = True
    alice.save()
    known = _names(_page(alice, "/admin/"))
    for model, of in admin.site._registry.items():
        app, name = model._meta.app_label, model._meta.model_name
        page = _page(alice, f"/admin/{app}/{name}/")
        assert page.status_code == 200, name
        assert [link.name for link in page.context["rooms"] if link.is_here], f"{name} is in none of {known}"
        if not page.context["cl"].result_count and app != "django_q":
            to_do = str(getattr(of, "nothing_yet", ""))
            assert to_do, f"an empty list of {name} does not say what to do"
            assert to_do.replace("'", "&#x27;") in page.content.decode(), name
