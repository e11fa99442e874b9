"""An approved difference -> rows of the live roster, in one transaction. The only way in which live tables change.

Only what changed is written: removed records become ``tobedeleted``, records that come back become active again,
changed ones are updated, new ones inserted with primary keys taken beforehand, so that references are known before any
insert. Readers see the old roster until the commit. Every count is held against the plan; the first that is off rolls
all back. What comes next is read and put into the database's form while the database is busy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import F

from rosters.applying.keys import Keys, take_keys
from rosters.applying.leaving import LEAST_DAYS, counts_of, forget_all, forget_left, left_before
from rosters.applying.rebuilding import rebuild
from rosters.applying.tables import Coming, PlanBroken, remove, write
from rosters.diffing import Difference, digests_after, patched, roster_digest
from rosters.frames import ahead
from rosters.models import AuditEvent, District, Snapshot, Sync
from rosters.oneroster.normal import TABLES
from rosters.storing import Store, StoredDifference, StoredFrames

__all__ = [
    "LEAST_DAYS",
    "Fenced",
    "PlanBroken",
    "PlanMoved",
    "apply",
    "counts_of",
    "digest_of",
    "facts_after",
    "forget_all",
    "forget_left",
    "left_before",
    "rebuild",
]


class PlanMoved(Exception):
    """The roster is no longer the one that the plan was made for. Nothing was written."""


class Fenced(Exception):
    """Another worker has taken this sync over meanwhile. Nothing was written by this one."""


def apply(
    sync: Sync,
    plan: StoredDifference,
    base: StoredFrames,
    store: Store,
    *,
    now: datetime,
    progress: Callable[[float, int], None],
) -> Snapshot:
    """Write `plan` and make it the live version. `base` is the roster it was computed from.

    Raises PlanMoved if another version is live, PlanBroken if the stored plan is not the approved one or a count is
    off. The new snapshot's files are on disk before the commit.
    """
    district, facts = sync.district, sync.target_tables
    if not sync.plan_files:
        raise PlanMoved  # prepared by a version of the portal that did not seal its plans
    if plan.seals() != sync.plan_files or digest_of(facts) != sync.target_digest:
        raise PlanBroken("The stored difference does not lead to the roster that was approved.")
    counts = {table: plan.counts(table) for table in plan.tables}
    first = take_keys({table: kinds["added"] for table, kinds in counts.items()})
    whole = sum(sum(kinds.values()) for kinds in counts.values()) or 1
    lived = {table: int(known["rows"]) for table, known in (sync.base.tables if sync.base else {}).items()}
    done = 0
    with _bulk(), _kept(plan, base, store, sync) as snapshot_files, transaction.atomic():
        held = District.with_leaving.select_for_update(no_key=True).get(pk=district.pk)
        if held.version != sync.base_version:
            raise PlanMoved
        for table in reversed(plan.tables):
            done += remove(table, district.pk, plan, base, lived.get(table, 0), now)
            progress(done / whole, done)
        keys = Keys(district.pk, plan, first, {table: int(known["rows"]) for table, known in facts.items()})
        for coming in ahead((Coming.of(plan, table) for table in TABLES if table in counts), by=1):
            done += write(coming, district.pk, keys, lived.get(coming.table, 0), now)
            progress(done / whole, done)
        snapshot_files.result()
        return _finish(sync, held, facts, now)


@contextmanager
def _kept(plan: StoredDifference, base: StoredFrames, store: Store, sync: Sync) -> Iterator[Future[None]]:
    """Write the new snapshot's files beside the work in the database, which leaves a core idle. They are named by their
    content: if the transaction is rolled back they are only files that nothing names."""

    def keep() -> None:
        for table in plan.tables:
            if table in sync.target_tables:
                digest = str(sync.target_tables[table]["digest"])
                if table in base:
                    whole = patched(base.scan(table), plan.scan(table))
                    store.write_snapshot_table(sync.district_id, table, whole, digest)
                else:
                    store.keep_as_snapshot(sync.district_id, sync.pk, table, digest)

    with ThreadPoolExecutor(1, thread_name_prefix=f"snapshot of sync {sync.pk}") as beside:
        yield beside.submit(keep)


def facts_after(tables: Mapping[str, Mapping[str, Any]], difference: Difference) -> dict[str, dict[str, Any]]:
    """{table: {"digest", "rows"}} of the roster that `difference` makes of one with these `tables`."""
    digests = digests_after({table: str(facts["digest"]) for table, facts in tables.items()}, difference)
    after = {table: dict(facts) for table, facts in tables.items()}
    for table, counts in difference.counts.items():
        rows = int(tables.get(table, {}).get("rows", 0)) + counts["added"] - counts["removed"]
        after[table] = {"digest": digests[table], "rows": rows}
    return {table: facts for table, facts in after.items() if facts["rows"]}


def digest_of(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """The digest of a whole roster from {table: {"digest", "rows"}}."""
    return roster_digest({table: (str(facts["digest"]), int(facts["rows"])) for table, facts in tables.items()})


def _finish(sync: Sync, district: District, facts: dict[str, dict[str, object]], now: datetime) -> Snapshot:
    snapshot = Snapshot.objects.create(
        district=district, version=district.version + 1, digest=sync.target_digest, tables=facts, made_at=now
    )
    moved = District.with_leaving.filter(pk=district.pk, version=sync.base_version).update(
        version=F("version") + 1, snapshot=snapshot
    )
    if not moved:
        raise PlanMoved
    if not sync.mark_applied(now, snapshot, sync.seconds):
        raise Fenced
    AuditEvent.objects.create(
        at=now,
        by=sync.decided_by,
        action="sync.applied",
        district=district,
        sync=sync,
        plan_digest=sync.plan_digest,
        before={"version": sync.base_version},
        after={"version": snapshot.version, "digest": snapshot.digest},
    )
    return snapshot


@contextmanager
def _bulk() -> Iterator[None]:
    """SQLite's page cache of a few megabytes makes a large indexed load twice as slow."""
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA cache_size=-131072")
        try:
            yield
        finally:
            cursor.execute("PRAGMA cache_size=-65536")
