"""A district with a roster, and a tool that may read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from django.core.cache import cache
from django.utils import timezone

if TYPE_CHECKING:
    from rosters.api.models import Client
    from rosters.models import District


@pytest.fixture(autouse=True)
def _nobody_was_counted(tmp_path: Any, settings: Any) -> None:
    settings.CACHES = {
        **settings.CACHES,
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": str(tmp_path)},
    }
    cache.clear()


@pytest.fixture
def cedar(db: None, data_dir: Any) -> District:
    from rosters.models import District

    return District.objects.create(name="Cedar Grove", site_code="1001")


@pytest.fixture
def maple(db: None) -> District:
    from rosters.models import District

    return District.objects.create(name="Maple", site_code="1002")


@pytest.fixture
def make_client(cedar: District) -> Callable[..., tuple[Client, str]]:
    """A client of Cedar Grove with all scopes, and its secret."""
    from rosters.api import scopes
    from rosters.api.models import Client

    def make(name: str = "tool", **values: Any) -> tuple[Client, str]:
        values.setdefault("scopes", list(scopes.STANDARD))
        client = Client.objects.create(name=name, **values)
        client.districts.add(cedar)
        return client, client.new_secret(timezone.now())[1]

    return make
