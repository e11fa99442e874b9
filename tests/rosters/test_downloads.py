"""Whoever takes a file out of the portal leaves a row in the audit trail first; without one nothing leaves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from connections.onboarding.models import Pass
from rosters import making
from rosters.api.models import Client as Tool
from rosters.models import AuditEvent, Sync
from tests.journeys.trip import Trip
from tests.tools import tool

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff


def _tables() -> making.Tables:
    return making.make_roster(users=60, seed=6, today=timezone.localdate(), name="Cedar Grove")


def _logged_in(staff: Staff) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def _read(answer: Any) -> bytes:
    return b"".join(answer.streaming_content)


class TestWhoTookWhat:
    pytestmark = pytest.mark.django_db

    @pytest.fixture
    def sync(self, data_dir: Path, tmp_path: Path, alice: Staff) -> Sync:
        return Trip(tmp_path, alice).send(_tables())

    def _rows(self) -> list[AuditEvent]:
        return list(AuditEvent.objects.filter(action__contains="taken_out").order_by("pk"))

    def test_staff_who_take_the_original_or_the_findings_stand_in_the_trail_and_on_the_page(
        self, sync: Sync, rita: Staff
    ) -> None:
        at = f"/admin/rosters/sync/{sync.pk}"
        client = _logged_in(rita)
        assert _read(client.get(f"{at}/original/")).startswith(b"PK")
        assert _read(client.get(f"{at}/findings.csv")).startswith(b"file,line")
        told = [(row.action, row.by, row.district, row.sync, row.subject) for row in self._rows()]
        assert told == [
            ("delivery.taken_out", rita, sync.district, sync, f"delivery {sync.delivery_id}"),
            ("findings.taken_out", rita, sync.district, sync, f"sync {sync.pk}"),
        ]
        page = client.get(f"{at}/change/").text
        assert "rita took out a file as it came" in page
        assert "rita took out every place of the findings" in page

    def test_who_is_refused_and_what_is_not_there_leave_no_row(
        self, sync: Sync, vera: Staff, rita: Staff, data_dir: Path
    ) -> None:
        assert _logged_in(vera).get(f"/admin/rosters/sync/{sync.pk}/original/").status_code == 403
        for file in (data_dir / "originals").rglob("*"):
            if file.is_file():
                file.unlink()
        assert _logged_in(rita).get(f"/admin/rosters/sync/{sync.pk}/original/").status_code == 404
        assert not self._rows()

    def test_a_tool_is_named_beside_who_stands_behind_it(self, sync: Sync, rita: Staff) -> None:
        browser = tool(sync.district, staff=rita)
        assert _read(browser.get(f"/api/v1/deliveries/{sync.delivery_id}/original")).startswith(b"PK")
        (row,) = self._rows()
        assert (row.action, row.by, row.district) == ("delivery.taken_out", rita, sync.district)
        assert (row.subject, row.after) == (f"delivery {sync.delivery_id}", {"client": str(Tool.objects.get().uid)})


@contextmanager
def _somebody_writes() -> Iterator[None]:
    """Another connection has what a row of the trail needs, as an import on SQLite has; ours waits a moment only."""
    writes, done = threading.Event(), threading.Event()

    def write() -> None:
        with transaction.atomic():  # on SQLite that is the write lock
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("LOCK TABLE rosters_auditevent IN EXCLUSIVE MODE")
            writes.set()
            done.wait(30)
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    assert writes.wait(30)
    with connection.cursor() as cursor:
        sqlite = connection.vendor == "sqlite"
        cursor.execute("PRAGMA busy_timeout = 100" if sqlite else "SET lock_timeout = 100")
    try:
        yield
    finally:
        done.set()
        writer.join()
        connection.close()  # the next one waits as long as it should


@pytest.mark.django_db(transaction=True)
def test_where_it_cannot_be_noted_nothing_is_handed_out_and_it_says_when_to_come_again(
    data_dir: Path, tmp_path: Path, rita: Staff
) -> None:
    sync = Trip(tmp_path, rita).send(_tables())
    client, browser = _logged_in(rita), tool(sync.district, staff=rita)
    sam = sync.district.people.create(name="Sam Okafor", email="sam@cedar.test", role="sender")
    client.cookies["district"] = Pass.make(sam, Pass.Purpose.SESSION, timezone.now(), timedelta(hours=1))[1]
    sent = f"/district/sent/{sync.received_at:%Y%m%dT%H%M%S%f}"
    places = [
        *(f"/admin/rosters/sync/{sync.pk}/{place}" for place in ("original/", "findings.csv")),
        *(f"{sent}/{place}/" for place in ("file", "findings")),
    ]
    with _somebody_writes():
        for place in places:
            answer = client.get(place)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60"), place
            assert "Nothing was handed out" in answer.text
        told = browser.get(f"/api/v1/deliveries/{sync.delivery_id}/original")
        assert (told.status_code, told.json()["code"]) == (503, "busy")
    taken = AuditEvent.objects.filter(action__regex="taken_out|took")
    assert not taken.exists()
    for place in places:
        assert _read(client.get(place))
    assert taken.count() == len(places)
