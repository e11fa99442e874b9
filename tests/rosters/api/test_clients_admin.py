"""The staff's pages of API clients: a secret is shown once, renewed with overlap, and ended; only by who may."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from rosters.api.models import Client, ClientSecret
from rosters.api.scopes import DELIVERIES_CREATE, SYNCS_DECIDE, SYNCS_READ, V1P1
from rosters.models import AuditEvent, District

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = pytest.mark.django_db

PAGES = "/admin/api/client/"


@pytest.fixture
def maria(make_staff: Callable[[str, str], Staff]) -> Browser:
    browser = Browser()
    browser.force_login(make_staff("maria", "manager"))
    return browser


def made(browser: Browser, cedar: District, **values: Any) -> Any:
    said = {"name": "Gradebook", "districts": [cedar.pk], "scopes": [V1P1 + "roster.readonly"], "per_minute": 600}
    return browser.post(f"{PAGES}add/", {**said, **values})


def secret_on(page: Any) -> str:
    found = re.search(r'id="secret">([^<]+)<', page.content.decode())
    assert found, page.content.decode()
    return found[1]


def folded(page: Any) -> list[str]:
    """What is asked again before it is done: each button that breaks a tool stands in one of these."""
    found = re.findall(r"<details[^>]*>.*?</details>", page.content.decode(), re.DOTALL)
    assert all('<button type="submit">' in each for each in found)
    return found


def opens(client: Client, secret: str) -> bool:
    asked = {"grant_type": "client_credentials", "client_id": client.key, "client_secret": secret}
    return Browser().post("/oauth2/token", asked).status_code == 200


def test_a_secret_is_shown_once_and_opens(maria: Browser, cedar: District) -> None:
    assert "_addanother" not in maria.get(f"{PAGES}add/").content.decode(), "it would lead past the secret"
    page = made(maria, cedar)
    secret, client = secret_on(page), Client.objects.get()
    assert client.made_by and client.made_by.username == "maria" and "no-store" in page.headers["Cache-Control"]
    assert "/d/1001/ims/oneroster/v1p1" in page.content.decode() and opens(client, secret)
    shown = maria.get(f"{PAGES}{client.pk}/change/").content.decode()
    assert client.key in shown and secret not in shown
    assert secret not in str(list(ClientSecret.objects.values()))
    event = AuditEvent.objects.get(action="client.made")
    assert event.after["districts"] == ["1001"] and secret not in str(event.after)


def test_a_new_secret_overlaps_with_the_one_before_for_as_long_as_was_chosen(maria: Browser, cedar: District) -> None:
    first = secret_on(made(maria, cedar))
    client = Client.objects.get()
    second = secret_on(maria.post(reverse("admin:api_client_secret", args=[client.pk]), {"overlap": "3600"}))
    assert opens(client, first) and opens(client, second)
    later = timezone.now() + timedelta(hours=2)
    good = {one.secret_hash for one in ClientSecret.objects.good(later)}
    assert len(good) == 1
    third = secret_on(maria.post(reverse("admin:api_client_secret", args=[client.pk]), {"overlap": "0"}))
    assert not opens(client, first) and not opens(client, second) and opens(client, third)
    assert maria.post(reverse("admin:api_client_secret", args=[client.pk]), {"overlap": "9"}).status_code == 302
    assert opens(client, third)


def test_a_secret_ends_when_it_was_said(maria: Browser, cedar: District) -> None:
    assert '<option value="365" selected>a year</option>' in maria.get(f"{PAGES}add/").content.decode()
    made(maria, cedar, life="90")
    client = Client.objects.get()
    first = client.secrets.get()
    assert first.expires_at and 89 <= (first.expires_at - timezone.now()).days <= 90
    assert f"open until {first.expires_at:%-d %b %Y}" in maria.get(PAGES).content.decode()
    maria.post(reverse("admin:api_client_secret", args=[client.pk]), {"overlap": "3600", "life": "365"})
    later = timezone.now() + timedelta(days=100)
    assert ClientSecret.objects.good(later).count() == 1
    assert not ClientSecret.objects.good(timezone.now() + timedelta(days=400)).exists()


def test_one_secret_is_revoked_and_a_client_ended(maria: Browser, cedar: District) -> None:
    first = secret_on(made(maria, cedar))
    client = Client.objects.get()
    second = secret_on(maria.post(reverse("admin:api_client_secret", args=[client.pk]), {"overlap": "86400"}))
    oldest = client.secrets.order_by("pk").first()
    assert oldest
    asked = folded(maria.get(f"{PAGES}{client.pk}/change/"))
    assert len(asked) == 3 and "Who uses another secret goes on" in asked[0] and "cannot be taken back" in asked[2]
    maria.post(reverse("admin:api_client_revoke", args=[client.pk, oldest.pk]))
    assert not opens(client, first) and opens(client, second)
    assert "It is the only one that opens" in folded(maria.get(f"{PAGES}{client.pk}/change/"))[0]
    maria.post(reverse("admin:api_client_end", args=[client.pk]))
    assert not opens(client, second)
    assert maria.post(reverse("admin:api_client_secret", args=[client.pk]), {"overlap": "0"}).status_code == 403
    page = maria.get(f"{PAGES}{client.pk}/change/").content.decode()
    assert "This client has ended" in page and "OneRoster 1.1: the roster, also by school" in page
    for no_more in ("THE SECRET", "purl.imsglobal.org", '<form method="post" action', "<details"):
        assert no_more not in page, no_more
    told = set(AuditEvent.objects.values_list("action", flat=True))
    assert {"client.made", "client.secret_made", "client.secret_revoked", "client.ended"} <= told


def test_what_acts_needs_a_name_and_no_scope_is_made_up(maria: Browser, cedar: District) -> None:
    page = made(maria, cedar, scopes=[DELIVERIES_CREATE])
    assert "in whose name" in page.content.decode() and not Client.objects.exists()
    made(maria, cedar, scopes=["everything"])
    assert not Client.objects.exists()


@pytest.fixture
def olga(make_staff: Callable[[str, str], Staff]) -> Staff:
    """Another manager."""
    return make_staff("olga", "manager")


@pytest.fixture
def hers(maria: Browser, cedar: District) -> Client:
    """A tool that maria made in her own name."""
    me = User.objects.get(username="maria")
    made(maria, cedar, scopes=[SYNCS_READ, DELIVERIES_CREATE], staff=me.pk)
    return Client.objects.get(staff=me)


def changed(browser: Browser, client: Client, **values: Any) -> int:
    said = {
        "name": client.name,
        "districts": list(client.districts.values_list("pk", flat=True)),
        "scopes": client.scopes,
        "staff": client.staff_id or "",
        "per_minute": client.per_minute,
        **values,
    }
    return browser.post(f"{PAGES}{client.pk}/change/", said).status_code


@pytest.mark.looks
def test_a_tool_that_acts_as_somebody_is_theirs_and_others_may_only_take_from_it(
    hers: Client, maria: Browser, olga: Staff, cedar: District
) -> None:
    other = Browser()
    other.force_login(olga)
    maple = District.objects.create(name="Maple", site_code="1002")
    new_secret = reverse("admin:api_client_secret", args=[hers.pk])
    assert other.post(new_secret, {"overlap": "86400"}).status_code == 403 and hers.secrets.count() == 1
    page = other.get(f"{PAGES}{hers.pk}/change/").content.decode()
    assert "only maria makes secrets of it" in page and "Make a new secret" not in page and SYNCS_DECIDE not in page

    for more in ({"scopes": [SYNCS_READ, SYNCS_DECIDE]}, {"districts": [cedar.pk, maple.pk]}):
        assert changed(other, hers, **more) == 200, more
    assert changed(other, hers, staff=olga.pk) == 302, "what is shut is passed over"
    hers.refresh_from_db()
    assert hers.staff and hers.staff.username == "maria" and hers.scopes == [SYNCS_READ, DELIVERIES_CREATE]
    assert list(hers.districts.all()) == [cedar]

    assert changed(other, hers, scopes=[SYNCS_READ]) == 302
    hers.refresh_from_db()
    assert hers.scopes == [SYNCS_READ]
    assert changed(other, hers, scopes=[SYNCS_READ, DELIVERIES_CREATE]) == 200, "nor is it given back by others"
    assert changed(maria, hers, scopes=[SYNCS_READ, SYNCS_DECIDE], districts=[cedar.pk, maple.pk]) == 302
    assert maria.post(new_secret, {"overlap": "86400"}).status_code == 200
    assert other.post(reverse("admin:api_client_end", args=[hers.pk])).status_code == 302
    hers.refresh_from_db()
    assert hers.ended_at


@pytest.mark.looks
def test_nobody_gives_a_tool_the_name_of_a_colleague(maria: Browser, olga: Staff, cedar: District) -> None:
    page = made(maria, cedar, scopes=[DELIVERIES_CREATE], staff=olga.pk)
    assert "not one of the available choices" in page.content.decode() and not Client.objects.exists()
    made(maria, cedar)
    assert changed(maria, Client.objects.get(), staff=olga.pk) == 200
    assert Client.objects.get().staff is None


@pytest.mark.looks
def test_who_gives_a_tool_their_name_is_the_only_one_who_knows_its_secrets(
    maria: Browser, olga: Staff, cedar: District
) -> None:
    first = secret_on(made(maria, cedar))
    client, mine = Client.objects.get(), Browser()
    mine.force_login(olga)
    assert changed(mine, client, staff=olga.pk, scopes=[DELIVERIES_CREATE]) == 302
    assert not opens(client, first), "maria was shown it"
    assert "others may know" in mine.get(f"{PAGES}{client.pk}/change/").content.decode()
    second = secret_on(mine.post(reverse("admin:api_client_secret", args=[client.pk]), {"overlap": "0"}))
    client.refresh_from_db()
    assert changed(mine, client, name="Nightly") == 302
    assert opens(client, second), "it was hers before"


@pytest.mark.parametrize("group", ["viewer", "reviewer"])
def test_only_a_manager_sees_or_makes_one(
    group: str, cedar: District, maria: Browser, make_staff: Callable[[str, str], Staff]
) -> None:
    made(maria, cedar)
    client, browser = Client.objects.get(), Browser()
    browser.force_login(make_staff("vera", group))
    assert browser.get(PAGES).status_code == 403
    assert browser.get(f"{PAGES}{client.pk}/change/").status_code == 403
    for name, pks in (("secret", [client.pk]), ("revoke", [client.pk, client.secrets.get().pk]), ("end", [client.pk])):
        assert browser.post(reverse(f"admin:api_client_{name}", args=pks), {"overlap": "0"}).status_code == 403
    assert ClientSecret.objects.good(timezone.now()).count() == 1
