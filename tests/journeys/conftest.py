"""What every journey starts from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.utils import timezone

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

    from rosters import making
    from tests.journeys.trip import Trip


@pytest.fixture
def tables() -> making.Tables:
    from rosters import making

    return making.make_roster(users=90, seed=8, today=timezone.localdate(), name="Cedar Grove")


@pytest.fixture
def trip(data_dir: Path, tmp_path: Path, alice: Staff) -> Trip:
    from tests.journeys.trip import Trip  # models wait for Django, which starts after the first conftest

    folder = tmp_path / "sent"
    folder.mkdir()
    return Trip(folder, alice)
