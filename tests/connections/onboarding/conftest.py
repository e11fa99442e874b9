"""A district with an owner who has come in, and another district that nobody of the first may ever see."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from django.test import Client

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

    from connections.onboarding.models import Person
    from rosters.models import District


@pytest.fixture
def maple(db: None) -> District:
    from rosters.models import District

    return District.objects.create(name="Maple Falls", site_code="1002", time_zone="America/Denver")


@pytest.fixture
def dana(cedar: District) -> Person:
    """An owner at Cedar Grove."""
    return cedar.people.create(name="Dana Reyes", email="dana@cedar.test", role="owner")


@pytest.fixture
def sam(cedar: District) -> Person:
    """A sender at Cedar Grove."""
    return cedar.people.create(name="Sam Okafor", email="sam@cedar.test", role="sender")


@pytest.fixture
def come_in(alice: Staff) -> Callable[[Person], Client]:
    """A browser that has come in by a link of this person's."""
    from connections.onboarding.entering import invite

    def enter(person: Person) -> Client:
        client = Client()
        secret = invite(person, by=alice).partition("#")[2]
        assert client.post("/district/enter/", {"secret": secret}).status_code == 302
        return client

    return enter
