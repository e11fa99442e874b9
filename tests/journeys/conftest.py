"""What every journey starts from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from django.test import Client

    from rosters import making
    from tests.journeys.trip import Trip


@pytest.fixture
def tables() -> making.Tables:
    from tests.journeys.trip import first_day  # models wait for Django, which starts after the first conftest

    return first_day()


@pytest.fixture
def trip(data_dir: Path, tmp_path: Path, alice: Staff) -> Trip:
    from tests.journeys.trip import Trip

    folder = tmp_path / "sent"
    folder.mkdir()
    return Trip(folder, alice)


@pytest.fixture
def staff(trip: Trip) -> Client:
    """The browser of whoever sends and approves."""
    from django.test import Client

    browser = Client()
    browser.force_login(trip.by)
    return browser
