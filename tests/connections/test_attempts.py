"""From a server of somebody else to a live roster: asked for, by schedule, once, and never more than once at a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core import mail
from django.utils import timezone

from connections import attempts, tasks
from connections.exceptions import FetchError
from connections.models import Attempt, Checkup, Connection
from rosters import making
from rosters.models import AuditEvent, District, Sync
from tests.connections.sshd import Sshd
from tests.queue import work_off

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

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


class TestFailures:
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
        attempts.minute(now)
        scheduled.refresh_from_db()
        assert scheduled.late_since is not None
        assert AuditEvent.objects.filter(action="connection.late").count() == 1
        Attempt.objects.create(connection=scheduled, why="schedule", status="delivered", asked_at=now, ended_at=now)
        attempts.minute(now)
        scheduled.refresh_from_db()
        assert scheduled.late_since is None


def test_the_mail_to_the_owner_names_no_secret(trusted: Connection, manu: Staff, district: Sshd) -> None:
    District.objects.update(owner=manu)
    trusted.refresh_from_db()
    attempts._tell_owner(trusted, FetchError("SFTP-LOGIN"))
    (sent,) = mail.outbox
    assert sent.to == [manu.email]
    assert "paused" in sent.subject
    assert "PRIVATE KEY" not in sent.body
