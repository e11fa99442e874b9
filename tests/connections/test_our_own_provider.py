"""Our own client pulls from our own provider: what came as files, was served and pulled again is one roster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from django.utils import timezone

from connections import attempts, tasks
from connections.models import Attempt, Connection
from rosters import making
from rosters.api import scopes
from rosters.api.models import Client
from rosters.models import Sync
from tests.journeys.trip import Trip
from tests.queue import work_off

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from pytest_django.live_server_helper import LiveServer

pytestmark = pytest.mark.django_db(transaction=True)

PLACES = {"1.1": "v1p1", "1.2": "rostering/v1p2"}


def tables_of(standard: str) -> making.Tables:
    """A roster with everything: people with two roles, columns of the district's own, ids as files have them."""
    made = making.make_roster(users=120, seed=6, today=timezone.localdate(), name="Cedar Grove", version=standard)
    nth = pl.int_range(pl.len())
    users = made["users"].with_columns(pl.format("bus {}", nth % 7).alias("metadata.bus"))
    tables = {**made, "users": users, "classes": made["classes"].with_columns(pl.lit("ä").alias("metadata.room"))}
    if standard == "1.2":
        roles = made["roles"].with_columns(pl.format("role-{}", nth).alias("sourcedId"))
        second = roles.head(3).with_columns(
            pl.format("more-{}", nth).alias("sourcedId"), roleType=pl.lit("secondary"), role=pl.lit("aide")
        )
        tables["roles"] = pl.concat([roles, second])
    return tables


@pytest.mark.parametrize(
    ("standard", "auth"),
    [("1.1", "oauth1"), ("1.2", "oauth2")],
)
def test_files_to_live_to_served_to_pulled_changes_nothing(
    live_server: LiveServer,
    data_dir: Path,
    tmp_path: Path,
    alice: Staff,
    let_in: Callable[[Connection], None],
    standard: str,
    auth: str,
) -> None:
    trip, other = Trip(tmp_path, alice), Trip(tmp_path, alice, name="Maple", site_code="1002")
    trip.go(trip.send(tables_of(standard), standard))
    client = Client.objects.create(name="Ourselves", scopes=list(scopes.STANDARD), signs=auth == "oauth1")
    client.districts.add(trip.district)
    _, secret = client.new_secret(timezone.now())

    def pulled(into: Trip) -> Sync:
        connection = Connection(
            district=into.district,
            kind="rest",
            base_url=f"{live_server.url}/d/1001/ims/oneroster/{PLACES[standard]}",
            version=standard,
            auth=auth,
            token_url=f"{live_server.url}/oauth2/token" if auth == "oauth2" else "",
            page_size=50,
        )
        connection.keep_secret("key", client.key)
        connection.keep_secret("secret", secret)
        connection.save()
        let_in(connection)
        attempt = attempts.ask(connection, Attempt.Why.NOW)
        tasks.pull(attempt_id=attempt.pk)
        attempt.refresh_from_db()
        assert attempt.sync is not None, (attempt.code, attempt.words)
        work_off()
        return Sync.objects.get(pk=attempt.sync.pk)

    same = pulled(trip)
    assert same.status == "unchanged", (same.verdict, list(same.findings.values("code", "file", "column")))
    fresh = other.go(pulled(other))
    live = Sync.objects.get(district=trip.district, status="applied")
    tables: set[str] = set(fresh.target_tables) - {"roles"}
    assert {name: fresh.target_tables[name] for name in tables} == {name: live.target_tables[name] for name in tables}
    assert fresh.target_tables["roles"]["rows"] == live.target_tables["roles"]["rows"]
