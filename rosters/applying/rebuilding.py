"""The live tables of a district written anew from its accepted snapshot: for the day on which they are not what was
accepted, whoever's hand it was."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from django.db import connection, transaction

from rosters.applying.keys import Keys, take_keys
from rosters.applying.tables import Coming, write
from rosters.diffing import differences
from rosters.frames import ahead
from rosters.models import LIVE, District
from rosters.oneroster.normal import TABLES
from rosters.storing import REBUILT, Store, StoredFrames


def rebuild(
    district: District, roster: StoredFrames, store: Store, *, now: datetime, proved: Callable[[], None]
) -> int:
    """Write `roster`, the accepted one, in the place of whatever is in the live tables; how many records. `proved`
    looks at it before it is committed: what it raises takes all back. Nobody reads half of it meanwhile.

    Records that left are not in a snapshot: they are gone from the live tables then, not from what is served.
    """
    try:
        plan = store.write_difference(district.pk, REBUILT, differences({}, roster))
        counts = {table: plan.counts(table)["added"] for table in plan.tables}
        first = take_keys(counts)
        with transaction.atomic():
            District.with_leaving.select_for_update(no_key=True).get(pk=district.pk)
            with connection.cursor() as cursor:
                for model in reversed(LIVE.values()):
                    cursor.execute(f"DELETE FROM {model._meta.db_table} WHERE district_id = %s", [district.pk])
            keys = Keys(district.pk, plan, first, counts)
            for coming in ahead((Coming.of(plan, table) for table in TABLES if table in counts), by=1):
                write(coming, district.pk, keys, 0, now)
            proved()
    finally:
        store.forget_sync(district.pk, REBUILT)
    return sum(counts.values())
