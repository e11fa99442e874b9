"""Tools of the API, as the tests have them: a client, and a browser with its token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.test import Client as Browser
from django.utils import timezone

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

    from rosters.api.models import Client
    from rosters.models import District


def with_token(client: Client) -> Any:
    """A browser that asks as this client, with a new secret of it."""
    _, secret = client.new_secret(timezone.now())
    return with_secret(client, secret)


def with_secret(client: Client, secret: str) -> Any:
    asked = {"grant_type": "client_credentials", "client_id": client.key, "client_secret": secret}
    told = Browser().post("/oauth2/token", asked).json()
    return Browser(headers={"authorization": f"Bearer {told['access_token']}"})


def tool(*districts: District, only: tuple[str, ...] = (), staff: Staff | None = None, **values: Any) -> Any:
    """A tool that sees these districts, with all scopes unless it has `only` some."""
    from rosters.api import scopes
    from rosters.api.models import Client

    values = {"name": f"tool {Client.objects.count()}", "per_minute": 60_000, **values}
    client = Client.objects.create(scopes=list(only or scopes.ALL), staff=staff, **values)
    client.districts.set(districts)
    return with_token(client)
