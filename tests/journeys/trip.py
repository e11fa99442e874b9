"""A district and the hand that sends, approves and verifies: what the journeys share."""

from __future__ import annotations

from copy import copy
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from rosters import making, syncs
from rosters.models import LIVE, District, Sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.contrib.auth.models import User as Staff

    from tests.conftest import Standing, Stands


def first_day() -> making.Tables:
    """A small roster, always the same on the same day."""
    return making.make_roster(users=90, seed=8, today=timezone.localdate(), name="Cedar Grove")


class Trip:
    """A district and the hand that sends, approves and verifies."""

    def __init__(self, folder: Path, by: Staff, name: str = "Cedar Grove", site_code: str = "1001") -> None:
        self.folder, self.by = folder, by
        self.district = District.objects.create(name=name, site_code=site_code)

    def again(self, folder: Path) -> Trip:
        """The same district as it is in the database now, with another folder of what is sent."""
        found = copy(self)
        found.folder, found.district = folder, District.objects.get(pk=self.district.pk)
        return found

    def send(self, tables: making.Tables, version: str = "1.1") -> Sync:
        path = self.folder / "sent.zip"
        making.write_zip(path, tables, version=version)
        return self.send_file(path)

    def send_file(self, path: Path) -> Sync:
        sync = syncs.receive(self.district, path, origin="staff", name=path.name, by=self.by)
        return syncs.prepare(sync.pk) or sync

    def go(self, sync: Sync) -> Sync:
        syncs.approve(sync, by=self.by, plan_digest=sync.plan_digest)
        done = syncs.apply(sync.pk)
        assert done is not None
        assert done.status == "applied", done.error
        self.verify()
        return done

    def undo(self, sync: Sync) -> Sync:
        return syncs.prepare(syncs.undo(sync, by=self.by).pk) or sync

    def verify(self) -> None:
        code, told = verified()
        assert code == 0, told
        self.district.refresh_from_db()


def made_once(build: Callable[[Trip], object]) -> Any:
    """A fixture: the district of `build`, for all tests of its module (`tests.conftest.standing`)."""

    @pytest.fixture(scope="module")
    def stands(standing: Standing) -> Iterator[Stands]:
        with standing(build) as found:
            yield found

    return stands


def verified() -> tuple[object, str]:
    """What `verify_rosters` leaves with, and what it says."""
    told = StringIO()
    with pytest.raises(SystemExit) as left:
        call_command("verify_rosters", stdout=told)
    return left.value.code, told.getvalue()


def indexed() -> set[str]:
    """Every index of the live roster, its primary keys and, on PostgreSQL, whatever a table fills in by itself."""
    with connection.cursor() as cursor:
        tables = [model._meta.db_table for model in LIVE.values()]
        found = [connection.introspection.get_constraints(cursor, table) for table in tables]
        filled_in = []
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT table_name || '.' || column_name FROM information_schema.columns"
                " WHERE table_name = ANY(%s) AND column_default IS NOT NULL",
                [tables],
            )
            filled_in = [name for (name,) in cursor.fetchall()]
    constraints = [(name, facts) for table in found for name, facts in table.items()]
    return {name for name, facts in constraints if facts["index"] or facts["unique"] or facts["primary_key"]} | {
        *filled_in
    }
