"""From a server of somebody else to a live roster: asked for, by schedule, once, and never more than once at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from datetime import time as clock
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
import time_machine
from django.core import mail
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import OrmQ

from connections import attempts, fetching, tasks
from connections.exceptions import FetchError
from connections.models import Attempt, Checkup, Connection
from connections.schedules import Schedule
from connections.words import connection_words
from rosters import making
from rosters.models import AuditEvent, Delivery, District, Sync
from tests.connections.proxy import Proxy
from tests.connections.sshd import Sshd
from tests.queue import work_off

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from pytest_django import Settings

pytestmark = pytest.mark.django_db

Put = Callable[..., Path]
EVERY_DAY = {"days": [0, 1, 2, 3, 4, 5, 6], "times": ["02:00"], "zone": "America/Chicago"}


@pytest.fixture
def trusted(by_sftp: Connection, district: Sshd, alice: Staff) -> Connection:
    """The connection after somebody has confirmed the server's key."""
    attempts.check(Checkup.objects.create(connection=by_sftp).pk)
    by_sftp.refresh_from_db()
    assert by_sftp.pin_host_key(timezone.now(), by_sftp.host_key_seen, alice)
    return by_sftp


@pytest.fixture
def scheduled(trusted: Connection) -> Connection:
    """In service, every day at 2:00 in Chicago."""
    trusted.schedule = EVERY_DAY
    trusted.save()
    trusted.activate(timezone.now(), trusted.due_after(timezone.now()))
    return trusted


def _fetch(connection: Connection, by: Staff | None = None) -> Attempt:
    attempt = attempts.ask(connection, Attempt.Why.NOW, by=by)
    tasks.pull(attempt_id=attempt.pk)
    attempt.refresh_from_db()
    return attempt


class TestTheDoctor:
    def test_first_contact_sends_nothing_and_shows_the_fingerprint(
        self, by_sftp: Connection, district: Sshd, put: Put, tables: making.Tables
    ) -> None:
        put(tables)
        before = district.log
        checkup = attempts.check(Checkup.objects.create(connection=by_sftp).pk)
        by_sftp.refresh_from_db()
        assert checkup.passed is False
        assert [step["code"] for step in checkup.steps if step["outcome"] == "failed"] == ["SFTP-HOSTKEY-NEW"]
        assert district.host_key in by_sftp.host_key_seen
        assert "publickey" not in district.log.removeprefix(before)

    def test_a_test_ends_though_the_line_is_too_slow_for_its_patience_and_that_is_no_failure(
        self, trusted: Connection, district: Sshd, put: Put, tables: making.Tables, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fetching, "_TRIED", replace(fetching._TRIED, budget=2))
        put(tables).write_bytes(os.urandom(16 << 20))
        with Proxy(district.port, rate=2 << 20) as proxy:
            Connection.objects.update(port=proxy.port)
            checkup = attempts.check(Checkup.objects.create(connection=trusted).pk)
        last = checkup.steps[-1]
        assert (last["name"], last["outcome"], last["code"]) == ("Download", "warning", "CONN-BUDGET")
        assert last["seconds"] < 5 and checkup.passed

    def test_every_step_has_its_tick_once_the_key_is_trusted(
        self, trusted: Connection, put: Put, tables: making.Tables
    ) -> None:
        put(tables)
        checkup = attempts.check(Checkup.objects.create(connection=trusted).pk)
        assert checkup.passed, checkup.steps
        assert {"Readable", "Fit for import"} <= {step["name"] for step in checkup.steps}
        assert "OneRoster 1.1" in str(checkup.steps)
        assert not Sync.objects.exists()

    def test_it_shows_no_pupils_name(self, trusted: Connection, put: Put, tables: making.Tables) -> None:
        put(tables)
        checkup = attempts.check(Checkup.objects.create(connection=trusted).pk)
        words = str(checkup.steps)
        assert not any(name in words for name in tables["users"]["familyName"].unique())


class TestAnAttempt:
    def test_what_lies_there_goes_on_its_way(
        self, trusted: Connection, put: Put, tables: making.Tables, alice: Staff, data_dir: Path
    ) -> None:
        put(tables)
        attempt = _fetch(trusted, alice)
        assert (attempt.status, attempt.code) == ("delivered", "")
        assert attempt.sync is not None and attempt.sync.delivery is not None
        assert (attempt.sync.delivery.origin, attempt.sync.delivery.name) == ("sftp", "roster.zip")
        work_off()
        attempt.sync.refresh_from_db()
        assert attempt.sync.status in ("ready", "awaiting_review")
        assert not list((data_dir / "incoming").iterdir())

    def test_a_time_in_the_future_does_not_make_all_that_comes_look_old(
        self, trusted: Connection, put: Put, tables: making.Tables
    ) -> None:
        ahead = timezone.now().timestamp() + 86_400 * 400
        path = put(tables, "wrong-clock.zip")
        os.utime(path, (ahead, ahead))
        assert _fetch(trusted).status == "delivered"
        path.unlink()
        tomorrow = timezone.now().timestamp() + 86_400
        os.utime(put(tables, "next-day.zip"), (tomorrow, tomorrow))
        trusted.refresh_from_db()
        with time_machine.travel(tomorrow + 3_600):
            assert _fetch(trusted).status == "delivered"

    def test_what_is_older_than_the_last_one_is_left_alone(
        self, trusted: Connection, put: Put, tables: making.Tables
    ) -> None:
        path = put(tables, "today.zip")
        assert _fetch(trusted).status == "delivered"
        path.unlink()
        yesterday = timezone.now().timestamp() - 86_400
        os.utime(put(tables, "found-again.zip"), (yesterday, yesterday))
        trusted.refresh_from_db()
        attempt = _fetch(trusted)
        assert (attempt.status, attempt.words.split(";")[1]) == ("nothing_new", " it was left alone.")

    def test_while_it_is_tried_again_the_page_says_so(self, trusted: Connection) -> None:
        attempt = attempts.ask(trusted, Attempt.Why.NOW)
        now = timezone.now()
        attempt.start(now)
        attempts._failed(attempt, FetchError("CONN-REFUSED"), now)
        words = connection_words(trusted, trusted.attempts.first())
        assert (words.word, words.owner) == ("Cannot connect", "nobody")

    def test_what_never_ran_is_not_called_working(self, trusted: Connection, put: Put, tables: making.Tables) -> None:
        Connection.objects.update(state="active")
        trusted.refresh_from_db()
        assert connection_words(trusted, None).word == "Not run yet"
        put(tables)
        assert _fetch(trusted).status == "delivered"
        trusted.refresh_from_db()
        assert connection_words(trusted, trusted.attempts.first()).word == "Working"

    def test_only_what_was_agreed_is_taken(self, trusted: Connection, put: Put, tables: making.Tables) -> None:
        put(tables)
        Connection.objects.update(formats="csv")
        trusted.refresh_from_db()
        assert _fetch(trusted).code == "SFTP-NOTHING"

    def test_the_same_file_is_not_taken_again(self, trusted: Connection, put: Put, tables: making.Tables) -> None:
        put(tables)
        _fetch(trusted)
        trusted.refresh_from_db()
        again = _fetch(trusted)
        assert again.status == "nothing_new"
        assert Sync.objects.count() == 1

    def test_a_task_that_comes_twice_fetches_once(self, trusted: Connection, put: Put, tables: making.Tables) -> None:
        put(tables)
        attempt = attempts.ask(trusted, Attempt.Why.NOW)
        tasks.pull(attempt_id=attempt.pk)
        tasks.pull(attempt_id=attempt.pk)
        assert Sync.objects.count() == 1

    def test_what_comes_ends_that_it_is_late_though_no_run_is_left(
        self, trusted: Connection, put: Put, tables: making.Tables
    ) -> None:
        Connection.objects.update(state="active", next_due_at=None, late_since=timezone.now() - timedelta(days=3))
        put(tables)
        assert _fetch(trusted).status == "delivered"
        trusted.refresh_from_db()
        assert trusted.late_since is None

    def test_a_second_one_is_refused_while_the_first_is_under_way(self, trusted: Connection) -> None:
        attempts.ask(trusted, Attempt.Why.NOW)
        with pytest.raises(attempts.NotNow, match="already"):
            attempts.ask(trusted, Attempt.Why.NOW)

    def test_nothing_is_asked_for_before_the_key_is_trusted(self, by_sftp: Connection) -> None:
        with pytest.raises(attempts.NotNow, match="key"):
            attempts.ask(by_sftp, Attempt.Why.NOW)

    def test_what_may_pass_is_tried_again_later_and_what_lasts_is_not(self, trusted: Connection) -> None:
        attempt = _fetch(trusted)
        assert attempt.status == "failed"
        assert not FetchError(attempt.code).permanent or not trusted.attempts.filter(why="retry").exists()
        now = timezone.now()
        Attempt.objects.all().delete()
        attempt = attempts.ask(trusted, Attempt.Why.NOW)
        attempt.start(now)
        attempts._failed(attempt, FetchError("CONN-REFUSED"), now)
        retry = trusted.attempts.get(status="waiting")
        assert (retry.why, retry.number, retry.not_before - now) == ("retry", 2, attempts.RETRY_AFTER[0])
        assert attempts.minute(now) == []
        assert attempts.minute(now + attempts.RETRY_AFTER[0]) == [retry.pk]

    def test_what_was_fetched_to_add_only_is_fetched_again_when_its_removals_count(
        self, trusted: Connection, put: Put, tables: making.Tables
    ) -> None:
        put(tables)
        adding = attempts.ask(trusted, Attempt.Why.NOW)
        Attempt.objects.filter(pk=adding.pk).update(additions_only=True)
        tasks.pull(attempt_id=adding.pk)
        trusted.refresh_from_db()
        assert _fetch(trusted).status == "delivered"
        assert [sync.additions_only for sync in Sync.objects.order_by("pk")] == [True, False]


class TestWhereManyAreFetched:
    def test_the_last_worker_is_left_to_others_and_who_waited_has_its_turn(
        self, trusted: Connection, put: Put, tables: making.Tables, settings: Settings
    ) -> None:
        settings.FETCHES_AT_ONCE = 2
        put(tables)
        now = timezone.now()
        slow = []
        for number in range(2):
            other = District.objects.create(name=f"Slow {number}", site_code=f"slow-{number}")
            one = Connection.objects.create(district=other, kind="sftp", host="10.0.0.1", username="x", path="*")
            slow.append(Attempt.objects.create(connection=one, why="now", asked_at=now, not_before=now))
            assert slow[-1].start(now)
        asked = attempts.ask(trusted, Attempt.Why.NOW, now=now)
        assert attempts.run(asked.pk) is None
        asked.refresh_from_db()
        assert (asked.status, asked.started_at, asked.claim) == ("waiting", None, None)
        assert attempts.minute(now) == []
        assert attempts.minute(now + timedelta(minutes=1)) == [asked.pk]
        slow[0].mark_failed(now, "CONN-TIMEOUT", "It did not answer.")
        Attempt.objects.filter(pk=asked.pk).update(not_before=now)
        assert attempts.run(asked.pk) is not None
        asked.refresh_from_db()
        assert asked.status == "delivered"

    def test_tests_take_no_more_workers_than_fetches_and_wait_for_a_place_too(
        self, trusted: Connection, settings: Settings, manu: Staff
    ) -> None:
        settings.FETCHES_AT_ONCE = 2
        now = timezone.now()
        elsewhere = [
            Connection.objects.create(
                district=District.objects.create(name=f"Slow {number}", site_code=f"slow-{number}"),
                kind="sftp",
                host="10.0.0.1",
                username="x",
                path="*",
            )
            for number in range(2)
        ]
        slow = Attempt.objects.create(connection=elsewhere[0], why="now", asked_at=now, not_before=now)
        assert slow.start(now)
        busy = Checkup.objects.create(connection=elsewhere[1])
        assert busy.begin(now) and busy.runs_among_the_first(2, now), "one fetch runs beside it"

        fetch = attempts.ask(trusted, Attempt.Why.NOW, now=now)
        assert attempts.run(fetch.pk) is None, "a test that runs takes a place as well"
        asked = Checkup.ask(trusted, now)
        assert asked is not None
        tasks.check(checkup_id=asked.pk)
        asked.refresh_from_db()
        assert (asked.steps, asked.begun_at, asked.ended_at, asked.queued_at) == ([], None, None, None)
        desk = Client()
        desk.force_login(manu)
        part = desk.get(f"/admin/connections/connection/{trusted.pk}/checkup/").content.decode()
        assert "The test begins as soon as a worker is free for it" in part and "hx-get" in part

        attempts.minute(now + timedelta(minutes=2))
        assert Checkup.to_queue(now) == [asked.pk] and Checkup.to_queue(now) == [], "a task each, once"
        busy.end(now, [])
        tasks.check(checkup_id=asked.pk)
        asked.refresh_from_db()
        assert asked.ended_at and [step["outcome"] for step in asked.steps] != []
        seen = asked.steps
        tasks.check(checkup_id=asked.pk)
        assert Checkup.objects.get(pk=asked.pk).steps == seen, "a task may come twice"

    def test_what_waits_for_a_place_is_put_into_the_queue_again_before_the_fetches(self, trusted: Connection) -> None:
        now = timezone.now()
        waits = Checkup.objects.create(connection=trusted)
        Attempt.objects.create(connection=trusted, why="now", asked_at=now, not_before=now)
        tasks.minute()
        named = [row.task["func"] for row in OrmQ.objects.order_by("id")]
        assert named == ["connections.tasks.check", "connections.tasks.pull"]
        waits.wait_for_a_place(now)
        attempts.minute(now + timedelta(minutes=14))
        waits.refresh_from_db()
        assert waits.ended_at is None, "it was heard of"

    def test_a_test_whose_worker_died_gives_its_place_back(self, trusted: Connection) -> None:
        now = timezone.now()
        first = Checkup.objects.create(connection=trusted)
        assert first.begin(now - timedelta(minutes=16))
        second = Checkup.objects.create(connection=trusted)
        assert second.begin(now) and second.runs_among_the_first(1, now)


class TestWhatIsDoneWithTheFile:
    @pytest.fixture
    def renaming(self, trusted: Connection) -> Connection:
        Connection.objects.update(when_done="rename")
        trusted.refresh_from_db()
        return trusted

    def test_it_is_put_aside_once_the_delivery_is_safe(
        self, renaming: Connection, put: Put, tables: making.Tables
    ) -> None:
        laid = put(tables)
        assert _fetch(renaming).words == "Took roster.zip."
        (left,) = laid.parent.iterdir()
        assert left.name.endswith(".taken")

    def test_it_still_lies_there_where_it_could_not_be_kept(
        self, renaming: Connection, put: Put, tables: making.Tables, data_dir: Path
    ) -> None:
        laid = put(tables)
        (data_dir / "originals").write_text("The disk is broken here.")
        assert _fetch(renaming).status == "failed"
        assert laid.exists()
        (data_dir / "originals").unlink()
        Attempt.objects.filter(status="waiting").delete()
        assert _fetch(renaming).status == "delivered"

    def test_it_is_put_aside_by_the_next_run_where_a_worker_died_before(
        self, renaming: Connection, put: Put, tables: making.Tables
    ) -> None:
        laid = put(tables)
        Connection.objects.update(when_done="leave")
        _fetch(renaming)
        Connection.objects.update(when_done="rename")
        assert _fetch(renaming).status == "nothing_new"
        assert not laid.exists()

    def test_what_was_put_aside_long_ago_goes_where_that_was_agreed(
        self, renaming: Connection, put: Put, tables: making.Tables
    ) -> None:
        folder = put(tables).parent
        long_ago = folder / "roster.zip.20200301-020000.taken"
        long_ago.write_bytes(b"an old roster")
        assert _fetch(renaming).status == "delivered"
        assert long_ago.exists(), "nothing was agreed"
        Connection.objects.update(done_days=30)
        renaming.refresh_from_db()
        assert _fetch(renaming).words == "Nothing lies there since the last one was taken."
        (left,) = folder.iterdir()
        assert left.name.endswith(".taken") and left != long_ago
        long_ago.write_bytes(b"an old roster")
        put(tables | {"users": tables["users"].head(-1)}, "roster-2.zip")
        assert _fetch(renaming).status == "delivered"
        assert len(list(folder.iterdir())) == 2 and not long_ago.exists()

    def test_an_empty_folder_after_that_is_nothing_new_and_no_failure(
        self, renaming: Connection, put: Put, tables: making.Tables
    ) -> None:
        """Else a long weekend would pause a connection that works."""
        put(tables)
        _fetch(renaming)
        again = _fetch(renaming)
        assert (again.status, again.code) == ("nothing_new", "")

    def test_it_is_left_where_it_may_only_add_for_it_is_fetched_again(
        self, renaming: Connection, put: Put, tables: making.Tables
    ) -> None:
        laid = put(tables)
        adding = attempts.ask(renaming, Attempt.Why.NOW)
        Attempt.objects.filter(pk=adding.pk).update(additions_only=True)
        tasks.pull(attempt_id=adding.pk)
        assert laid.exists()
        assert _fetch(renaming).status == "delivered"
        assert not laid.exists()


class TestCalledOff:
    def test_a_pause_calls_off_what_waits_and_nothing_is_tried_again(self, scheduled: Connection) -> None:
        now = timezone.now()
        attempt = attempts.ask(scheduled, Attempt.Why.NOW, now=now)
        attempt.start(now)
        attempts._failed(attempt, FetchError("CONN-REFUSED"), now)
        assert scheduled.pause(now, "Rollover")
        retry = scheduled.attempts.get(number=2)
        assert retry.status == "called_off"
        assert attempts.minute(now + timedelta(hours=1)) == []

    def test_what_runs_while_it_is_paused_delivers_nothing(
        self, scheduled: Connection, put: Put, tables: making.Tables
    ) -> None:
        laid = put(tables)
        attempt = attempts.ask(scheduled, Attempt.Why.NOW)
        attempt.start(timezone.now())
        scheduled.pause(timezone.now(), "Rollover")
        fetched = fetching.Fetched(laid, laid.name, Delivery.Origin.SFTP, "Took it.", {}, full=True)
        with pytest.raises(FetchError):
            attempts._receive(attempt, fetched, timezone.now())
        assert not Sync.objects.exists()
        attempts._failed(attempt, FetchError("CONN-REFUSED"), timezone.now())
        assert not scheduled.attempts.filter(status="waiting").exists()

    def test_a_try_whose_turn_comes_on_a_day_without_runs_is_called_off(self, scheduled: Connection) -> None:
        always = {"first": "2020-01-01", "last": "2090-01-01", "words": "Summer"}
        attempt = Attempt.objects.create(connection=scheduled, why="retry", number=2)
        Connection.objects.update(schedule={**EVERY_DAY, "blackouts": [always]})
        tasks.pull(attempt_id=attempt.pk)
        attempt.refresh_from_db()
        assert (attempt.status, attempt.words) == ("called_off", "Its turn came on a day without runs.")

    def test_on_a_day_on_which_nothing_is_removed_asking_by_hand_adds_only_too(
        self, scheduled: Connection, put: Put, tables: making.Tables
    ) -> None:
        put(tables)
        always = {"first": "2020-01-01", "last": "2090-01-01", "words": "Testing"}
        Connection.objects.update(schedule={**EVERY_DAY, "additions_only": [always]})
        attempt = _fetch(scheduled)
        assert attempt.sync is not None
        assert attempt.additions_only and attempt.sync.additions_only


class TestFailures:
    def test_a_full_disk_is_tried_again_and_named(
        self, trusted: Connection, put: Put, tables: making.Tables, data_dir: Path
    ) -> None:
        put(tables)
        (data_dir / "originals").write_text("No folder can be made here.")
        attempt = _fetch(trusted)
        assert (attempt.status, attempt.code) == ("failed", "PORTAL-DISK")
        assert trusted.attempts.filter(status="waiting", number=2).exists()

    def test_a_fault_of_ours_pauses_nothing_however_often(self, scheduled: Connection) -> None:
        Connection.objects.update(failures=5)
        attempt = attempts.ask(scheduled, Attempt.Why.NOW)
        attempt.start(timezone.now())
        attempts._failed(attempt, FetchError("PORTAL-FAULT"), timezone.now())
        scheduled.refresh_from_db()
        assert (scheduled.state, scheduled.failures) == ("active", 6)

    def test_a_folder_that_cannot_be_made_ends_the_attempt_too(self, trusted: Connection, data_dir: Path) -> None:
        (data_dir / "incoming").write_text("No folder.")
        assert _fetch(trusted).code == "PORTAL-DISK"

    def test_a_test_that_meets_a_fault_of_ours_ends_and_says_so(
        self, trusted: Connection, put: Put, tables: making.Tables, data_dir: Path
    ) -> None:
        put(tables)
        (data_dir / "incoming").write_text("No folder.")
        checkup = attempts.check(Checkup.objects.create(connection=trusted).pk)
        assert checkup.ended_at is not None and checkup.passed is False
        assert checkup.steps[-1]["code"] == "PORTAL-DISK"

    def test_three_in_a_row_pause_it_and_its_owner_is_told(self, trusted: Connection, manu: Staff) -> None:
        District.objects.update(owner=manu)
        trusted.refresh_from_db()
        trusted.activate(timezone.now(), None)
        Connection.objects.update(username="nobody-of-that-name")
        for _ in range(3):
            trusted.refresh_from_db()
            assert trusted.state == "active"
            assert _fetch(trusted).code == "SFTP-LOGIN"
        trusted.refresh_from_db()
        assert trusted.state == "paused"
        assert "3 times" in trusted.pause_reason
        assert AuditEvent.objects.filter(action="connection.gave_up").count() == 1

    def test_a_success_forgets_the_failures(self, trusted: Connection, put: Put, tables: making.Tables) -> None:
        Connection.objects.update(failures=2)
        put(tables)
        _fetch(trusted)
        trusted.refresh_from_db()
        assert trusted.failures == 0

    def test_another_key_than_the_trusted_one_ends_it_before_any_login(
        self, trusted: Connection, district: Sshd, put: Put, tables: making.Tables
    ) -> None:
        put(tables)
        Connection.objects.update(host_key="ssh-ed25519 SHA256:" + "A" * 43)
        before = district.log
        attempt = _fetch(Connection.objects.get(pk=trusted.pk))
        assert attempt.code == "SFTP-HOSTKEY-CHANGED"
        assert "Accepted" not in district.log.removeprefix(before)
        assert not Sync.objects.exists()


class TestEveryMinute:
    def test_one_schedule_that_cannot_be_read_stops_no_other_connection(
        self, scheduled: Connection, cedar: District
    ) -> None:
        due = scheduled.next_due_at
        assert due is not None
        broken = Connection.objects.create(district=cedar, kind="rest", base_url="https://sis.example.org")
        broken.activate(timezone.now(), due - timedelta(seconds=1))
        Connection.objects.filter(pk=broken.pk).update(schedule={"days": ["Monday"], "times": "late"})
        (started,) = attempts.minute(due)
        assert Attempt.objects.get(pk=started).connection == scheduled
        broken.refresh_from_db()
        assert broken.state == "paused"
        assert "cannot be read" in broken.pause_reason

    def test_one_district_whose_zone_is_unknown_stops_no_other_connection(self, scheduled: Connection) -> None:
        due = scheduled.next_due_at
        nowhere = District.objects.create(name="Nowhere", site_code="9", time_zone="Mars/Olympus")
        broken = Connection.objects.create(district=nowhere, kind="rest", schedule=EVERY_DAY)
        broken.activate(timezone.now(), due)
        resting = Connection.objects.create(district=nowhere, kind="rest", schedule=EVERY_DAY)
        resting.activate(timezone.now(), None)
        resting.pause(timezone.now(), "Summer", until=timezone.localdate())
        (started,) = attempts.minute(due)
        assert Attempt.objects.get(pk=started).connection == scheduled

    def test_a_district_that_gets_another_time_zone_runs_by_that_clock_at_once(
        self, scheduled: Connection, cedar: District
    ) -> None:
        before = scheduled.next_due_at
        cedar.time_zone = "America/New_York"
        cedar.save()
        scheduled.refresh_from_db()
        assert before is not None and scheduled.next_due_at is not None
        assert (before - scheduled.next_due_at) % timedelta(days=1) == timedelta(hours=1)
        (_,) = attempts.minute(scheduled.next_due_at)

    def test_a_test_whose_worker_died_is_over_after_a_while(self, scheduled: Connection) -> None:
        checkup = Checkup.objects.create(connection=scheduled)
        attempts.minute(timezone.now() + timedelta(minutes=16))
        checkup.refresh_from_db()
        assert (checkup.passed, checkup.steps[-1]["code"]) == (False, "WORKER-LOST")

    def test_a_quiet_minute_asks_the_database_as_often_for_many_connections_as_for_one(
        self, scheduled: Connection, cedar: District, django_assert_num_queries: Any
    ) -> None:
        now = timezone.now()

        def deliver(connection: Connection) -> None:
            for days in range(1, 5):
                at = now - timedelta(days=days)
                Attempt.objects.create(
                    connection=connection, why="schedule", status="delivered", asked_at=at, ended_at=at
                )

        deliver(scheduled)
        with CaptureQueriesContext(database) as for_one:
            attempts.minute(now)
        for _ in range(5):
            other = Connection.objects.create(district=cedar, kind="rest", schedule=EVERY_DAY)
            other.activate(now, scheduled.next_due_at)
            deliver(other)
        with django_assert_num_queries(len(for_one)):
            attempts.minute(now)

    def test_what_a_killed_worker_left_on_the_disk_is_swept(self, scheduled: Connection, data_dir: Path) -> None:
        left = data_dir / "incoming" / "attempt-1-x"
        left.mkdir(parents=True)
        (left / "delivery.zip.part").write_bytes(b"pupils")
        attempts.minute()
        assert left.exists()
        attempts.minute(timezone.now() + timedelta(hours=3))
        assert not left.exists()

    def test_what_is_due_is_started_once_and_the_next_run_is_set(self, scheduled: Connection) -> None:
        due = scheduled.next_due_at
        assert due is not None
        assert attempts.minute(due - timedelta(seconds=1)) == []
        (started,) = attempts.minute(due)
        assert attempts.minute(due) == []
        assert Attempt.objects.get(pk=started).why == "schedule"
        scheduled.refresh_from_db()
        assert scheduled.next_due_at is not None
        assert timedelta(hours=22) < scheduled.next_due_at - due < timedelta(hours=26)

    def test_what_is_due_when_its_schedule_is_saved_is_started_once_all_the_same(self, scheduled: Connection) -> None:
        due = scheduled.next_due_at
        assert due is not None
        timetable = scheduled.timetable()
        assert timetable is not None
        now = due + timedelta(seconds=20)
        scheduled.set_schedule(now, replace(timetable, times=(clock(3),)))
        (started,) = attempts.minute(now + timedelta(seconds=40))
        assert Attempt.objects.get(pk=started).why == "schedule"
        scheduled.refresh_from_db()
        assert scheduled.next_due_at == due + timedelta(hours=1)
        Attempt.objects.update(status="nothing_new", ended_at=now)
        assert attempts.minute(now + timedelta(minutes=2)) == []
        assert len(attempts.minute(scheduled.next_due_at)) == 1

    def test_what_was_started_already_is_not_started_again_when_its_schedule_is_saved(
        self, scheduled: Connection
    ) -> None:
        due = scheduled.next_due_at
        timetable = scheduled.timetable()
        assert due is not None and timetable is not None
        before = Connection.objects.get(pk=scheduled.pk)
        assert len(attempts.minute(due)) == 1
        before.set_schedule(due + timedelta(seconds=1), timetable)
        Attempt.objects.update(status="nothing_new", ended_at=due)
        assert attempts.minute(due + timedelta(seconds=2)) == []
        before.refresh_from_db()
        assert before.next_due_at is not None and before.next_due_at > due + timedelta(hours=22)

    def test_a_schedule_that_is_saved_while_it_pauses_wakes_nothing(self, scheduled: Connection) -> None:
        due = scheduled.next_due_at
        timetable = scheduled.timetable()
        assert due is not None and timetable is not None
        before = Connection.objects.get(pk=scheduled.pk)
        scheduled.pause(due, "Rollover")
        before.set_schedule(due, timetable)
        assert (before.state, before.next_due_at, attempts.minute(due)) == ("paused", None, [])

    def test_a_district_that_gets_another_time_zone_in_that_minute_has_its_run(
        self, scheduled: Connection, cedar: District
    ) -> None:
        due = scheduled.next_due_at
        assert due is not None
        with time_machine.travel(due):
            cedar.time_zone = "America/New_York"
            cedar.save()
        assert len(attempts.minute(due)) == 1

    def test_a_pause_that_ends_at_midnight_has_the_run_of_midnight(self, scheduled: Connection) -> None:
        scheduled.schedule = {**EVERY_DAY, "times": ["00:00"]}
        scheduled.save()
        until = datetime(2027, 8, 10, tzinfo=UTC).date()
        scheduled.pause(datetime(2027, 8, 1, tzinfo=UTC), "Summer", until=until)
        midnight = datetime(2027, 8, 10, 5, tzinfo=UTC)  # in Chicago
        assert len(attempts.minute(midnight + timedelta(minutes=5))) == 1
        scheduled.refresh_from_db()
        assert scheduled.next_due_at is not None and scheduled.next_due_at - midnight > timedelta(hours=23)

    def test_what_was_missed_for_a_week_runs_once(self, scheduled: Connection) -> None:
        assert scheduled.next_due_at is not None
        later = scheduled.next_due_at + timedelta(days=7, hours=1)
        assert len(attempts.minute(later)) == 1
        assert Attempt.objects.count() == 1
        scheduled.refresh_from_db()
        assert scheduled.next_due_at is not None and scheduled.next_due_at > later

    def test_a_run_never_overlaps_the_last_one(self, scheduled: Connection) -> None:
        attempts.ask(scheduled, Attempt.Why.NOW, now=scheduled.next_due_at)
        attempts.minute(scheduled.next_due_at)
        assert Attempt.objects.count() == 1

    def test_a_day_on_which_nothing_may_be_removed_says_so_to_the_attempt(self, scheduled: Connection) -> None:
        always = {"first": "2020-01-01", "last": "2090-01-01", "words": "Testing"}
        scheduled.schedule = {**EVERY_DAY, "additions_only": [always]}
        scheduled.save()
        (started,) = attempts.minute(scheduled.next_due_at)
        assert Attempt.objects.get(pk=started).additions_only

    @pytest.mark.parametrize("tomorrow", ["blackouts", "additions_only"])
    def test_the_last_run_before_a_holiday_runs_as_its_own_day_says_though_it_begins_behind_midnight(
        self, scheduled: Connection, district: Sshd, put: Put, tables: making.Tables, tomorrow: str
    ) -> None:
        put(tables)
        scheduled.uid = UUID("00000000-0000-0000-0000-000000000005")  # begins three minutes after its time
        scheduled.keep_secret("private_key", district.private_key)
        holiday = {"first": "2027-11-25", "last": "2027-11-26", "words": "Thanksgiving"}
        scheduled.schedule = {**EVERY_DAY, "times": ["23:58"], tomorrow: [holiday]}
        scheduled.next_due_at = scheduled.due_after(datetime(2027, 11, 24, 18, tzinfo=UTC))
        scheduled.save()
        begins = datetime(2027, 11, 25, 6, 2, tzinfo=UTC)  # two minutes past midnight in Chicago
        assert scheduled.next_due_at and begins - timedelta(minutes=2) < scheduled.next_due_at < begins
        (started,) = attempts.minute(begins)
        assert attempts.run(started, now=begins + timedelta(seconds=1))
        assert not Attempt.objects.get(pk=started).additions_only

    def test_a_pause_with_a_date_ends_on_that_day_of_the_districts_calendar(self, scheduled: Connection) -> None:
        now = datetime(2027, 8, 10, 3, tzinfo=UTC)  # still the ninth in Chicago
        scheduled.pause(now, "Summer", until=now.date())
        attempts.minute(now)
        scheduled.refresh_from_db()
        assert scheduled.state == "paused"
        attempts.minute(now + timedelta(hours=3))
        scheduled.refresh_from_db()
        assert scheduled.state == "active"
        assert scheduled.next_due_at is not None

    def test_an_attempt_whose_worker_died_is_tried_again(self, scheduled: Connection) -> None:
        now = timezone.now()
        attempt = attempts.ask(scheduled, Attempt.Why.NOW, now=now)
        attempt.start(now)
        attempts.minute(now + timedelta(minutes=6))
        attempt.refresh_from_db()
        assert (attempt.status, attempt.code) == ("failed", "WORKER-LOST")
        assert scheduled.attempts.filter(status="waiting", number=2).exists()

    def test_a_delivery_that_did_not_come_is_told_once_and_forgotten_when_one_comes(
        self, scheduled: Connection
    ) -> None:
        now = timezone.now()
        for days in range(20, 4, -1):
            ended: dict[str, Any] = {"status": "delivered", "ended_at": now - timedelta(days=days)}
            Attempt.objects.create(connection=scheduled, why="schedule", asked_at=ended["ended_at"], **ended)
        attempts.minute(now)
        scheduled.refresh_from_db()
        assert scheduled.late_since is None, "it is in service only since now: before, nothing was awaited"
        Connection.objects.update(state_since=now - timedelta(days=30))
        attempts.minute(now)
        attempts.minute(now)
        scheduled.refresh_from_db()
        assert scheduled.late_since is not None
        assert AuditEvent.objects.filter(action="connection.late").count() == 1
        Attempt.objects.create(connection=scheduled, why="schedule", status="delivered", asked_at=now, ended_at=now)
        attempts.minute(now)
        scheduled.refresh_from_db()
        assert scheduled.late_since is None

    def test_one_that_never_delivered_is_late_by_how_often_it_is_asked(self, scheduled: Connection) -> None:
        now = timezone.now()
        Attempt.objects.create(connection=scheduled, why="schedule", status="nothing_new", asked_at=now, ended_at=now)

        def late_after(days: float) -> bool:
            Connection.objects.update(state_since=now - timedelta(days=days), late_since=None)
            attempts.minute(now)
            scheduled.refresh_from_db()
            return scheduled.late_since is not None

        scheduled.set_schedule(now, Schedule(days=frozenset(range(7)), times=(clock(2),), zone="America/Chicago"))
        assert not late_after(2.5)
        assert late_after(4.5)
        assert AuditEvent.objects.get(action="connection.late").after == {"last": ""}
        came = {"status": "delivered", "asked_at": now - timedelta(days=5), "ended_at": now - timedelta(days=5)}
        Attempt.objects.create(connection=scheduled, why="schedule", **came)
        assert not late_after(30), "one has come, and nobody knows yet how often one does"
        Attempt.objects.filter(status="delivered").update(ended_at=now - timedelta(days=9))
        assert late_after(30)


def test_the_mail_to_the_owner_names_no_secret(trusted: Connection, manu: Staff, district: Sshd) -> None:
    District.objects.update(owner=manu)
    trusted.refresh_from_db()
    attempts._tell_owner(trusted, FetchError("SFTP-LOGIN"))
    (sent,) = mail.outbox
    assert sent.to == [manu.email]
    assert "paused" in sent.subject
    assert "PRIVATE KEY" not in sent.body


@pytest.mark.django_db(transaction=True)
def test_a_lease_lasts_through_a_long_silence(trusted: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "BEAT", 0.02)
    attempt = attempts.ask(trusted, Attempt.Why.NOW)
    attempt.start(timezone.now())
    Attempt.objects.update(claimed_until=timezone.now() - timedelta(minutes=1))
    with attempts._kept_alive(attempt):
        until = time.monotonic() + 10
        while Attempt.objects.filter(claimed_until__lt=timezone.now()).exists() and time.monotonic() < until:
            time.sleep(0.05)
    assert attempts.minute() == []
    attempt.refresh_from_db()
    assert attempt.status == "running"
