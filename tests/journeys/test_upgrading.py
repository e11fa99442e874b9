"""A portal that has lived gets a newer version: its tables are changed with what is in them."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from rosters import making
from rosters.models import Sync
from tests.journeys.trip import Trip

pytestmark = pytest.mark.django_db(transaction=True)


def migrate(*names: tuple[str, str | None]) -> None:
    executor = MigrationExecutor(connection)
    executor.migrate(list(names) or executor.loader.graph.leaf_nodes())


def test_what_was_undone_before_there_was_a_mark_has_one_after(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    second = trip.go(trip.send(making.next_day(tables, change=0.1, seed=3)[0]))
    third = trip.go(trip.send(making.next_day(tables, change=0.1, seed=4)[0]))
    back = trip.go(trip.undo(third))
    forth = trip.go(trip.undo(back))
    once_more = trip.go(trip.undo(forth))
    kept = dict(Sync.objects.values_list("pk", "undone_at"))
    in_force = [not kept[each.pk] for each in (second, third, back, forth, once_more)]
    assert in_force == [True, False, True, False, True]
    try:
        migrate(("rosters", "0019_not_kept"))
        migrate()
    finally:
        migrate()
    found = dict(Sync.objects.values_list("pk", "undone_at"))
    assert {pk: bool(at) for pk, at in found.items()} == {pk: bool(at) for pk, at in kept.items()}
    trip.verify()
