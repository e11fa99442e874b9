"""A worker that fetches from a real, slow server: killed in the middle, kept alive by its heartbeat, or robbed of its
claim. With real processes, on whichever database the tests run."""

from __future__ import annotations

import getpass
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User as Staff
from django.utils import timezone

from connections import attempts, fetching
from connections.models import Allowance, Attempt, Connection
from rosters import making
from rosters.models import AuditEvent, Delivery, Sync
from tests.connections import sshd
from tests.connections.proxy import Proxy
from tests.journeys.trip import Trip
from tests.journeys.workers import Worker

pytestmark = pytest.mark.django_db(transaction=True)

ANOTHER_WORKER = "00000000-0000-0000-0000-000000000001"
#: Bytes, and bytes a second: some ten seconds, if nobody hurries the line.
SIZE, SLOW = 3 << 20, 300 << 10


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Sshd]:
    with sshd.served(tmp_path_factory.mktemp("district")) as running:
        yield running


@pytest.fixture
def line(server: sshd.Sshd) -> Iterator[Proxy]:
    with Proxy(server.port, rate=SLOW) as proxy:
        yield proxy


@pytest.fixture
def fetched_slowly(
    trip: Trip, tables: making.Tables, server: sshd.Sshd, line: Proxy, make_staff: Callable[[str, str], Staff]
) -> Connection:
    """A connection in service whose server has the next day's delivery, behind a slow line; the day before is live."""
    trip.go(trip.send(tables))
    path = server.data / "roster.zip"
    making.write_zip(path, making.next_day(tables, change=0.1, seed=2)[0])
    with path.open("r+b") as file:  # noise before a zip is passed over by whoever reads it
        roster = file.read()
        file.seek(0)
        file.write(os.urandom(SIZE) + roster)
    connection = Connection(
        district=trip.district,
        kind="sftp",
        host="127.0.0.1",
        port=line.port,
        username=getpass.getuser(),
        login="key",
        path="roster.zip",
        marker="roster.zip",  # there at once: nothing is waited for
        host_key=server.host_key,
        host_key_confirmed_by=trip.by,
        host_key_confirmed_at=timezone.now(),
    )
    connection.keep_secret("private_key", server.private_key)
    connection.save()
    entry = Allowance.objects.create(
        connection=connection,
        network="127.0.0.1/32",
        reason="It stands here.",
        entered_by=make_staff("manu", "manager"),
        expires_on=timezone.localdate() + timedelta(days=2),
    )
    assert entry.confirm(timezone.now(), trip.by)
    connection.activate(timezone.now(), None)
    return connection


def under_way(attempt: Attempt) -> Attempt:
    """The attempt, once it is in the middle of its download."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        attempt.refresh_from_db()
        assert attempt.status in Attempt.OPEN, (attempt.code, attempt.words)
        if 0 < attempt.bytes_done < attempt.bytes_in_all:
            return attempt
        time.sleep(0.05)
    pytest.fail("it never began to download")


def lying_about() -> list[Path]:
    return list(fetching.incoming().iterdir())


def test_killed_in_the_middle_of_a_download_it_is_found_lost_swept_and_tried_again(
    trip: Trip, fetched_slowly: Connection, line: Proxy
) -> None:
    attempt = attempts.ask(fetched_slowly, Attempt.Why.NOW)
    with Worker() as doomed:
        doomed.tell("pull", attempt.pk)
        under_way(attempt)
        os.kill(doomed.process.pid, signal.SIGKILL)
        assert doomed.answer() == ""
        assert doomed.process.wait(10) == -signal.SIGKILL
    assert [left.name for left in lying_about()] != []
    assert attempts.minute() == [], "its lease is not over yet"
    attempt.refresh_from_db()
    assert attempt.status == "running"

    now = timezone.now() + timedelta(minutes=6)
    assert attempts.minute(now) == []
    attempt.refresh_from_db()
    assert (attempt.status, attempt.code) == ("failed", "WORKER-LOST")
    retry = fetched_slowly.attempts.get(status="waiting")
    assert (retry.why, retry.number) == ("retry", 2)
    attempts.minute(timezone.now() + timedelta(hours=3))
    assert lying_about() == []
    trip.verify()
    assert (trip.district.version, Sync.objects.count(), Delivery.objects.count()) == (1, 1, 1)

    line.rate = None
    Attempt.objects.filter(pk=retry.pk).update(not_before=timezone.now())
    with Worker() as next_one:
        next_one.tell("pull", retry.pk)
        sync = Sync.objects.get(pk=int(next_one.answer()))
    retry.refresh_from_db()
    assert (retry.status, retry.sync, lying_about()) == ("delivered", sync, [])


def test_a_download_longer_than_its_lease_keeps_it_and_nobody_else_takes_it(
    trip: Trip, fetched_slowly: Connection, line: Proxy
) -> None:
    attempt = attempts.ask(fetched_slowly, Attempt.Why.NOW)
    with Worker() as slow, Worker() as other:
        slow.tell("short_lease", 3)
        assert slow.answer() == "done"
        slow.tell("pull", attempt.pk)
        under_way(attempt)
        line.rate = 1 << 10  # a packet in more than its lease: nothing is told of it, only the heartbeat speaks
        first, told = attempt.claimed_until, attempt.bytes_done
        claim = attempt.claim
        over = time.monotonic() + 5
        while time.monotonic() < over:
            assert attempts.minute() == []
            time.sleep(0.2)
        other.tell("pull", attempt.pk)
        assert other.answer() == "none"
        attempt.refresh_from_db()
        assert (attempt.status, attempt.claim) == ("running", claim)
        assert attempt.claimed_until and first and attempt.claimed_until - first > timedelta(seconds=2)
        assert attempt.bytes_done - told < SIZE // 10
        line.rate = None
        assert slow.answer() == str(Sync.objects.latest("pk").pk)
    attempt.refresh_from_db()
    assert (attempt.status, fetched_slowly.attempts.count()) == ("delivered", 1)


def test_a_worker_that_lost_its_claim_in_the_middle_writes_nothing(
    trip: Trip, fetched_slowly: Connection, line: Proxy
) -> None:
    attempt = attempts.ask(fetched_slowly, Attempt.Why.NOW)
    events = AuditEvent.objects.count()
    with Worker() as robbed:
        robbed.tell("pull", attempt.pk)
        under_way(attempt)
        Attempt.objects.filter(pk=attempt.pk).update(claim=ANOTHER_WORKER)
        held = Attempt.objects.filter(pk=attempt.pk).values().get()
        line.rate = None
        assert robbed.answer() == "none"
    assert Attempt.objects.filter(pk=attempt.pk).values().get() == held
    assert fetched_slowly.attempts.count() == 1
    assert (Sync.objects.count(), Delivery.objects.count(), AuditEvent.objects.count()) == (1, 1, events)
    assert lying_about() == []
    before = Connection.objects.get(pk=fetched_slowly.pk)
    assert (before.last_taken, before.last_success_at, before.failures) == ({}, None, 0)
    trip.verify()
