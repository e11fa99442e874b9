"""The conductor of fetching: who asks for an attempt, what becomes of it, and what the minute brings.

ask -> (waiting) -> run -> delivered | nothing new | failed; a failure that may pass is tried again after a while, three
of them in a row pause the connection before somebody's account is locked. `minute` starts what is due, ends pauses,
finds workers that died, and says which connections are silent. Every step may be run twice.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.core.mail import send_mail
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError, transaction
from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Window
from django.db.models.functions import RowNumber
from django.utils import timezone

from connections import fetching
from connections.exceptions import FAULTS, OWN, FetchError
from connections.models import CHECKUP_LOST, FAILURES_BEFORE_PAUSE, SPREAD, Attempt, Checkup, Connection
from connections.schedules import gap_of, is_late, missed
from rosters import syncs
from rosters.leases import renewed
from rosters.models import AuditEvent, Sync
from rosters.scope import Scope

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

logger = logging.getLogger(__name__)

#: How long to wait before the second and the third try of a run.
RETRY_AFTER: Final = (timedelta(minutes=5), timedelta(minutes=20))

#: A task that was made so long ago and never began is made again.
QUEUED_FOR: Final = timedelta(minutes=15)

#: So often the lease of an attempt is renewed, in seconds, however silent the server is.
BEAT: Final = 60.0

#: No attempt and no test takes so long: what lies there from then was left by a worker that was killed.
LEFT_BEHIND: Final = timedelta(hours=2)

#: Whoever sent something this short a time ago is not asked about.
SOONEST_LATE: Final = timedelta(hours=3)
#: How long an attempt waits where as many run as may.
_FOR_A_PLACE: Final = timedelta(seconds=30)
#: What is taken for usual at least where nothing has come yet, and where one delivery has.
_NEVER_CAME: Final = timedelta(days=2)
_ONCE_CAME: Final = timedelta(days=5)

#: Of so many deliveries the usual gap is taken, if they are no older.
GAPS: Final = 10
MEMORY: Final = timedelta(days=120)


class NotNow(Exception):
    """An attempt that cannot be asked for; the message says why and what to do."""


# ---------------------------------------------------------------------------------------------------------- one attempt


def ask(connection: Connection, why: Attempt.Why, *, by: Staff | None = None, now: datetime | None = None) -> Attempt:
    """Ask for an attempt; the caller makes its task. Raises NotNow while one is under way, or a step is missing."""
    if connection.district.leaving_since:
        raise NotNow("This district leaves us: nothing is fetched any more.")
    if missing := fetching.missing(connection):
        raise NotNow(missing)
    try:
        with transaction.atomic():
            moment = now or timezone.now()
            attempt = Attempt.objects.create(
                connection=connection, why=why, by=by, asked_at=moment, not_before=moment, queued_at=moment
            )
            if by:
                _audit(connection, "connection.asked", moment, by=by, after={"attempt": attempt.pk})
            return attempt
    except IntegrityError:
        raise NotNow("It is being fetched already. The attempts below show how far it is.") from None


def run(attempt_id: int, *, now: datetime | None = None) -> Sync | None:
    """Make an attempt; the sync of what it delivered, which is not yet prepared. None if there is nothing to prepare:
    another worker has it, it is over, nothing is new, or it failed."""
    attempt = Attempt.objects.select_related("connection__district").get(pk=attempt_id)
    moment = now or timezone.now()
    if not attempt.start(moment):
        return None
    if not attempt.runs_among_the_first(settings.FETCHES_AT_ONCE, moment):
        attempt.wait_for_a_place(moment + _FOR_A_PLACE)  # the minute puts it into the queue again
        return None
    attempt = Attempt.objects.select_related("connection__district").get(pk=attempt_id)
    connection = attempt.connection
    try:
        if not _still_wanted(attempt, now or timezone.now()):
            return None
        incoming = fetching.incoming()
        with (
            _kept_alive(attempt),
            tempfile.TemporaryDirectory(dir=incoming, prefix=f"attempt-{attempt.pk}-") as folder,
        ):
            fetched = fetching.fetch(connection, Path(folder), _Teller(attempt))
            if isinstance(fetched, fetching.NothingNew):
                _finish_nothing_new(attempt, fetched, now or timezone.now())
                return None
            sync = _receive(attempt, fetched, now or timezone.now())
            if sync is not None:
                _afterwards(attempt, fetched)
            return sync
    except FetchError as fault:
        _failed(attempt, fault, now or timezone.now())
    except (OSError, OperationalError, InterfaceError) as fault:
        logger.error("attempt %s: %s", attempt.pk, type(fault).__name__)
        _failed(attempt, FetchError("PORTAL-DISK", f"({type(fault).__name__})"), now or timezone.now())
    except Exception as bug:
        logger.error("attempt %s: %s", attempt.pk, type(bug).__name__, exc_info=settings.DEBUG or settings.RAISE_FAULTS)
        _failed(attempt, FetchError("PORTAL-FAULT", f"({type(bug).__name__})"), now or timezone.now())
        if settings.RAISE_FAULTS:
            raise
    return None


def _still_wanted(attempt: Attempt, now: datetime) -> bool:
    """Whether an attempt may run on this day of the district's, which can be another one than when it was asked for.
    On a day that only adds it only adds, whoever asked. A run that begins on time belongs to the day it stands on, and
    that was judged when it was asked for, though it is past midnight by now."""
    if attempt.connection.district.leaving_since:
        attempt.mark_called_off(now, "The district leaves.")
        return False
    timetable = attempt.connection.timetable()
    on_time = attempt.why == Attempt.Why.SCHEDULE and now - attempt.asked_at < SPREAD
    if timetable is None or on_time:
        return True
    today = attempt.connection.district.local_date(now)
    if attempt.why != Attempt.Why.NOW and any(today in each for each in timetable.blackouts):
        attempt.mark_called_off(now, "Its turn came on a day without runs.")
        return False
    if any(today in each for each in timetable.additions_only):
        attempt.additions_only = True
        attempt.save(update_fields=["additions_only"])
    return True


@contextmanager
def _kept_alive(attempt: Attempt) -> Iterator[None]:
    """Renew the lease from a thread with a connection of its own: a server may be silent for longer than a lease, or
    ask to be left alone for a while. That a fetch ends is the business of its own limits."""

    def renew() -> None:
        with suppress(DatabaseError):  # SQLite may be busy; the lease outlasts some beats
            attempt.renew(timezone.now())

    with renewed(renew, every=BEAT, name=f"lease of attempt {attempt.pk}"):
        yield


class _Teller:
    """Writes an attempt's progress, at most once a second. Raises FetchError where the attempt was taken away."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._told = timezone.now() - timedelta(seconds=1)

    def __call__(self, phase: str, *, rows: int = 0, done: int = 0, in_all: int = 0) -> None:
        now = timezone.now()
        if now - self._told < timedelta(seconds=1):
            return
        self._told = now
        if not self._attempt.beat(now, phase, rows=rows, done=done, in_all=in_all):
            raise FetchError("WORKER-LOST")


def _receive(attempt: Attempt, fetched: fetching.Fetched, now: datetime) -> Sync | None:
    """Hand what came to the conductor of syncs; None if it is what came last time, byte for byte."""
    connection = attempt.connection
    with transaction.atomic():
        sync = syncs.receive(
            connection.district,
            fetched.path,
            origin=fetched.origin,
            name=fetched.name[:255],
            additions_only=attempt.additions_only,
            speaks_for=Scope.from_json(connection.speaks_for),
            now=now,
        )
        if not attempt.mark_delivered(now, sync, fetched.words, fetched.path.stat().st_size):
            raise FetchError("WORKER-LOST")
        # Also where `_find_late` never looks again, for no run is to come.
        _worked(connection, now, late_since=None, **_taken(attempt, fetched, now))
    return sync


def _taken(attempt: Attempt, fetched: fetching.Fetched, now: datetime) -> dict[str, Any]:
    """What the connection remembers of it. Nothing, where it may only add: the same delivery is to be fetched again
    when its removals count."""
    if attempt.additions_only:
        return {}
    return {"last_taken": fetched.taken, **({"last_full_at": now} if fetched.full else {})}


def _finish_nothing_new(attempt: Attempt, found: fetching.NothingNew, now: datetime) -> None:
    with transaction.atomic():
        if attempt.mark_nothing_new(now, found.words):
            _worked(attempt.connection, now)


def _worked(connection: Connection, now: datetime, **values: Any) -> None:
    Connection.objects.filter(pk=connection.pk).update(failures=0, last_success_at=now, **values)


def _afterwards(attempt: Attempt, fetched: fetching.Fetched) -> None:
    """Rename or move the file where that was agreed. The delivery is safe; that this failed is said, nothing more.
    What was fetched to add only is left: it is to be fetched again when its removals count."""
    if attempt.additions_only:
        return
    try:
        fetched.afterwards()
    except FetchError as fault:
        Attempt.objects.filter(pk=attempt.pk).update(words=f"{fetched.words} {fault.message}"[:500])


def _failed(attempt: Attempt, fault: FetchError, now: datetime) -> None:
    """Write the failure down; try again if it may pass, else count it, and pause after three in a row."""
    connection = attempt.connection
    with transaction.atomic():
        if not attempt.mark_failed(now, fault.code, fault.message):
            return
        known = Connection.objects.select_for_update().get(pk=connection.pk)
        if known.state == Connection.State.PAUSED:
            return
        if not fault.permanent and attempt.number <= len(RETRY_AFTER):
            Attempt.objects.create(
                connection=connection,
                why=Attempt.Why.RETRY,
                number=attempt.number + 1,
                additions_only=attempt.additions_only,
                asked_at=now,
                not_before=now + RETRY_AFTER[attempt.number - 1],
            )
            return
        failures = known.failures + 1
        Connection.objects.filter(pk=connection.pk).update(failures=failures)
        if failures < FAILURES_BEFORE_PAUSE or fault.code in OWN:
            return
        reason = f"It failed {failures} times in a row: {FAULTS[fault.code].title}"
        if connection.pause(now, reason):
            _audit(connection, "connection.gave_up", now, after={"code": fault.code, "failures": failures})
            transaction.on_commit(lambda: _tell_owner(connection, fault))


def _tell_owner(connection: Connection, fault: FetchError) -> None:
    """A mail to whoever looks after the district: names of things, never a roster value."""
    owner = connection.district.owner
    if owner is None or not owner.email:
        return
    send_mail(
        subject=f"{connection.district.name}: the {connection.get_kind_display()} connection is paused",
        message=(
            f"{FAULTS[fault.code].title}\n\nIt failed {FAILURES_BEFORE_PAUSE} times in a row and is paused, so that "
            f"nobody's account gets locked. The roster that is live stays live.\n\n{fault.next_step}\n"
        ),
        from_email=None,
        recipient_list=[owner.email],
        fail_silently=True,
    )


# -------------------------------------------------------------------------------------------------------- every minute


def minute(now: datetime | None = None) -> list[int]:
    """What the minute brings: the ids of attempts that a task must be made for. One connection's trouble is no
    other one's."""
    moment = now or timezone.now()
    _end_pauses(moment)
    _start_due(moment)
    _find_lost(moment)
    _find_late(moment)
    _sweep(moment)
    return _to_queue(moment)


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Within one transaction; a fault undoes it, is logged, and goes no further."""
    try:
        with transaction.atomic():
            yield
    except Exception as fault:
        logger.error("connection %s: %s", connection.pk, type(fault).__name__)
        if settings.RAISE_FAULTS:
            raise


def _of_those_here() -> QuerySet[Connection]:
    """Connections of districts that do not leave."""
    return Connection.objects.filter(district__leaving_since=None)


def _end_pauses(now: datetime) -> None:
    """A pause with a date ends by itself, on the district's calendar."""
    paused = _of_those_here().filter(state=Connection.State.PAUSED, paused_until__isnull=False)
    for connection in paused.filter(paused_until__lte=now.date() + timedelta(days=1)).select_related("district"):
        with _alone(connection):
            today = connection.district.local_date(now)
            if connection.paused_until and connection.paused_until > today:
                continue
            # Not from now on: the first run of that day may stand at midnight.
            first = connection.due_from(connection.paused_until) if connection.paused_until else None
            if connection.activate(now, first):
                _audit(connection, "connection.resumed", now)


def _start_due(now: datetime) -> None:
    """Each run that is due, once; of several that were missed, one. Where an attempt is still under way, it serves."""
    due = _of_those_here().filter(state=Connection.State.ACTIVE, next_due_at__lte=now)
    due = due.select_related("district")
    for connection in due.order_by("next_due_at"):
        with _alone(connection):
            _start(connection, now)


def _start(seen: Connection, now: datetime) -> None:
    # Somebody may save its schedule in this moment: the run is due by the one, and the next run comes by the other.
    connection = Connection.objects.select_for_update(of=("self",)).select_related("district").get(pk=seen.pk)
    was_due = connection.next_due_at
    timetable = connection.timetable()
    if was_due is None:
        return
    if timetable is None:
        reason = "Its schedule cannot be read: set days, times and the district's time zone again."
        if connection.pause(now, reason):
            _audit(connection, "connection.gave_up", now, after={"reason": reason})
        return
    found = missed(timetable, was_due, now, SPREAD, str(connection.uid))
    if not connection.claim_due(connection.due_after(now)) or found is None:
        return
    if connection.attempts.filter(status__in=Attempt.OPEN).exists():
        return
    with suppress(IntegrityError), transaction.atomic():  # somebody has asked in this very moment: that one serves
        Attempt.objects.create(
            connection=connection,
            why=Attempt.Why.SCHEDULE,
            additions_only=found.additions_only,
            asked_at=now,
            not_before=now,
        )


def _find_lost(now: datetime) -> None:
    """Attempts and tests whose worker died."""
    lost = Attempt.objects.filter(status=Attempt.Status.RUNNING, claimed_until__lt=now)
    for attempt in lost.select_related("connection__district__owner"):
        with _alone(attempt.connection):
            _failed(attempt, FetchError("WORKER-LOST"), now)
    for checkup in Checkup.objects.filter(ended_at=None, started_at__lt=now - CHECKUP_LOST):
        step = fetching.failed("Test", FetchError("WORKER-LOST"), 0.0)
        checkup.end(now, [*checkup.steps, fetching.as_json(step)])


def _sweep(now: datetime) -> None:
    """Pupils' data does not lie about: folders that a killed worker left."""
    with suppress(OSError):
        for left in fetching.incoming().iterdir():
            if left.is_dir() and left.stat().st_mtime < (now - LEFT_BEHIND).timestamp():
                shutil.rmtree(left, ignore_errors=True)


def _find_late(now: datetime) -> None:
    """An expected delivery that did not come is an event, told once; what comes ends it."""
    newest = Attempt.objects.filter(connection=OuterRef("pk"), status=Attempt.Status.DELIVERED, ended_at__isnull=False)
    active = (
        _of_those_here()
        .filter(state=Connection.State.ACTIVE, next_due_at__isnull=False)
        .annotate(last_came=Subquery(newest.order_by("-ended_at").values("ended_at")[:1]))
    )
    never = Q(last_came=None, state_since__lt=now - SOONEST_LATE)
    doubtful = active.filter(Q(last_came__lt=now - SOONEST_LATE) | never | Q(late_since__isnull=False))
    came = _came(doubtful, now)
    for connection in doubtful.select_related("district"):
        try:
            late = _is_late(connection, came[connection.pk], now)
        except Exception as fault:
            logger.error("connection %s: %s", connection.pk, type(fault).__name__)
            continue
        if late is None or late == (connection.late_since is not None):
            continue
        with _alone(connection):
            Connection.objects.filter(pk=connection.pk).update(late_since=now if late else None)
            if late:
                last = came[connection.pk][0].isoformat() if came[connection.pk] else ""
                _audit(connection, "connection.late", now, after={"last": last})


def _is_late(connection: Connection, came: list[datetime], now: datetime) -> bool | None:
    """None where nobody can say. How often a delivery comes is known from the third on; until then we go by how often
    we look, with more patience."""
    timetable = connection.timetable()
    if timetable is None:
        return None
    awaited_since = max([*came[:1], connection.state_since])  # during a pause nothing was
    gaps = [later - earlier for later, earlier in pairwise(came)]
    if not gaps:
        usual = gap_of(timetable, awaited_since)
        if usual is None:
            return None
        return is_late(timetable, max(2 * usual, _ONCE_CAME) if came else max(usual, _NEVER_CAME), awaited_since, now)
    return is_late(timetable, gaps, awaited_since, now)


def _came(connections: QuerySet[Connection], now: datetime) -> defaultdict[int, list[datetime]]:
    """When the latest deliveries of each came, the newest first; one query, however many they are."""
    delivered = Attempt.objects.filter(
        connection__in=connections.values("pk"), status=Attempt.Status.DELIVERED, ended_at__gte=now - MEMORY
    ).annotate(place=Window(RowNumber(), partition_by=F("connection_id"), order_by=F("asked_at").desc()))
    found: defaultdict[int, list[datetime]] = defaultdict(list)
    for pk, ended in (
        delivered.filter(place__lte=GAPS + 1).order_by("-asked_at").values_list("connection_id", "ended_at")
    ):
        if ended is not None:
            found[pk].append(ended)
    return found


def _to_queue(now: datetime) -> list[int]:
    """Attempts that may begin and have no task, or one that was lost."""
    waiting = Attempt.objects.filter(status=Attempt.Status.WAITING, not_before__lte=now)
    ids = [
        attempt.pk
        for attempt in waiting.order_by("not_before")
        if attempt.queued_at is None or attempt.queued_at < now - QUEUED_FOR
    ]
    Attempt.objects.filter(pk__in=ids).update(queued_at=now)
    return ids


# ----------------------------------------------------------------------------------------------------------- the doctor


def check(checkup_id: int, *, now: datetime | None = None) -> Checkup:
    """Let the doctor look, step by step; each step is kept as soon as it is done, for the page that watches. Nothing if
    another worker has it, or it was given up; where as many fetch and test as may, it waits."""
    checkup = Checkup.objects.select_related("connection__district").get(pk=checkup_id)
    moment = now or timezone.now()
    if not checkup.begin(moment):
        return checkup
    if not checkup.runs_among_the_first(settings.FETCHES_AT_ONCE, moment):
        checkup.wait_for_a_place(moment)  # the minute puts it into the queue again
        return checkup
    steps: list[dict[str, Any]] = []
    try:
        for step in fetching.probe(checkup.connection):
            steps.append(fetching.as_json(step))
            Checkup.objects.filter(pk=checkup.pk).update(steps=steps)
    except Exception as fault:
        logger.error("checkup %s: %s", checkup.pk, type(fault).__name__)
        code = "PORTAL-DISK" if isinstance(fault, OSError | OperationalError) else "PORTAL-FAULT"
        steps.append(fetching.as_json(fetching.failed("Test", FetchError(code, f"({type(fault).__name__})"), 0.0)))
        if settings.RAISE_FAULTS:
            raise
    checkup.end(now or timezone.now(), steps)
    return checkup


def _audit(
    connection: Connection, action: str, now: datetime, *, by: Staff | None = None, after: dict[str, Any] | None = None
) -> None:
    AuditEvent.objects.create(
        at=now,
        by=by,
        action=action,
        district=connection.district,
        subject=f"connection {connection.pk}",
        after=after or {},
    )
