"""Connections at rest: secrets stay sealed, states move by their verbs, the database holds what must be true."""

from __future__ import annotations

import base64
import os
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User as Staff
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from connections.models import IN_TROUBLE, Allowance, Attempt, Connection
from rosters.models import District
from rosters.sealing import SealBroken, seal, unseal

if TYPE_CHECKING:
    from pytest_django import Settings

pytestmark = pytest.mark.django_db


@pytest.fixture
def sftp(cedar: District) -> Connection:
    return Connection.objects.create(district=cedar, kind="sftp", host="sftp.example.org", username="cedar")


def _key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


class TestSecrets:
    def test_a_secret_is_sealed_in_the_database_and_opens_for_the_code_that_connects(self, sftp: Connection) -> None:
        sftp.keep_secret("password", "correct horse")
        sftp.save()
        with connection.cursor() as cursor:
            cursor.execute("SELECT sealed FROM connections_connection WHERE id = %s", [sftp.pk])
            assert "correct horse" not in str(cursor.fetchone())
        assert Connection.objects.get(pk=sftp.pk).secret("password") == "correct horse"
        assert "correct horse" not in repr(sftp)

    def test_a_sealed_text_opens_neither_in_another_row_nor_under_another_name(
        self, sftp: Connection, cedar: District
    ) -> None:
        sftp.keep_secret("password", "correct horse")
        other = Connection(district=cedar, kind="sftp", sealed=dict(sftp.sealed))
        with pytest.raises(SealBroken):
            other.secret("password")
        sftp.sealed = {"secret": sftp.sealed["password"]}
        with pytest.raises(SealBroken):
            sftp.secret("secret")

    def test_an_empty_secret_forgets_it(self, sftp: Connection) -> None:
        sftp.keep_secret("password", "correct horse")
        sftp.keep_secret("password", "")
        assert not sftp.has_secret("password")
        assert sftp.secret("password") == ""

    def test_a_damaged_seal_is_named_as_such(self) -> None:
        sealed = seal("x", bound_to="here")
        for broken in ("", "1:00000000:AAAA", sealed[:-4] + "AAA=", sealed[:14] + "!!"):
            with pytest.raises(SealBroken):
                unseal(broken, bound_to="here")

    def test_rotation_seals_everything_with_the_new_key_and_the_old_one_can_go(
        self, sftp: Connection, settings: Settings, capsys: pytest.CaptureFixture[str]
    ) -> None:
        sftp.keep_secret("password", "correct horse")
        sftp.save()
        old, settings.PORTAL_ENCRYPTION_KEY = settings.PORTAL_ENCRYPTION_KEY, _key()
        settings.PORTAL_FORMER_ENCRYPTION_KEYS = [old]
        call_command("rotate_encryption_key")
        assert "1 set of secrets" in capsys.readouterr().out
        settings.PORTAL_FORMER_ENCRYPTION_KEYS = []
        assert Connection.objects.get(pk=sftp.pk).secret("password") == "correct horse"

    def test_rotation_changes_nothing_where_a_key_is_missing(self, sftp: Connection, settings: Settings) -> None:
        sftp.keep_secret("password", "correct horse")
        sftp.save()
        before = sftp.sealed
        settings.PORTAL_ENCRYPTION_KEY = _key()
        with pytest.raises(SystemExit) as stopped:
            call_command("rotate_encryption_key")
        assert stopped.value.code == 1
        assert Connection.objects.get(pk=sftp.pk).sealed == before


class TestStates:
    def test_a_pause_stops_the_runs_and_says_why(self, sftp: Connection) -> None:
        now = timezone.now()
        assert sftp.activate(now, now + timedelta(hours=1))
        assert sftp.pause(now, "Summer", until=date(2027, 8, 10))
        assert (sftp.state, sftp.next_due_at, sftp.pause_reason) == ("paused", None, "Summer")
        assert not sftp.pause(now, "Twice")
        assert sftp.activate(now, None)
        assert (sftp.state, sftp.pause_reason, sftp.paused_until) == ("active", "", None)

    def test_what_is_paused_on_purpose_is_no_alarm_and_what_we_gave_up_on_is(
        self, sftp: Connection, admin_user: Staff
    ) -> None:
        now = timezone.now()
        trouble = Connection.objects.filter(IN_TROUBLE)
        for how, left in (({"by": admin_user, "until": date(2027, 1, 30)}, 0), ({"by": admin_user}, 0), ({}, 3)):
            sftp.activate(now, None)
            Connection.objects.update(failures=3, late_since=now)
            assert trouble.exists()
            assert sftp.pause(now, "Winter break", **how)
            assert (sftp.failures, sftp.late_since, trouble.exists()) == (left, None, bool(left))
            Connection.objects.update(failures=3, late_since=now)  # one that was paused before this was known
            assert trouble.exists() == bool(left)

    def test_a_pause_without_a_reason_is_refused_by_the_database(self, sftp: Connection) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            Connection.objects.filter(pk=sftp.pk).update(state="paused")

    def test_only_the_fingerprint_that_was_shown_can_be_pinned(self, sftp: Connection, admin_user: Staff) -> None:
        Connection.objects.filter(pk=sftp.pk).update(host_key_seen="ssh-ed25519 SHA256:one")
        assert not sftp.pin_host_key(timezone.now(), "ssh-ed25519 SHA256:two", admin_user)
        assert sftp.pin_host_key(timezone.now(), "ssh-ed25519 SHA256:one", admin_user)
        assert sftp.host_key == "ssh-ed25519 SHA256:one"
        sftp.forget_host_key()
        assert (sftp.host_key, sftp.host_key_confirmed_at) == ("", None)

    def test_a_due_run_is_taken_once(self, sftp: Connection) -> None:
        now = timezone.now()
        sftp.activate(now, now)
        first, second = Connection.objects.get(pk=sftp.pk), Connection.objects.get(pk=sftp.pk)
        assert first.claim_due(now + timedelta(days=1))
        assert not second.claim_due(now + timedelta(days=1))


class TestAttempts:
    def test_there_is_one_attempt_of_a_connection_at_a_time(self, sftp: Connection) -> None:
        first = Attempt.objects.create(connection=sftp, why="now")
        with pytest.raises(IntegrityError), transaction.atomic():
            Attempt.objects.create(connection=sftp, why="schedule")
        now = timezone.now()
        assert first.start(now)
        assert first.mark_failed(now, "CONN-NAME", "The server's name is not known.")
        Attempt.objects.create(connection=sftp, why="schedule")

    def test_an_attempt_that_is_delivered_twice_starts_once(self, sftp: Connection) -> None:
        attempt = Attempt.objects.create(connection=sftp, why="now")
        again = Attempt.objects.get(pk=attempt.pk)
        assert attempt.start(timezone.now())
        assert not again.start(timezone.now())

    def test_a_worker_that_lost_its_claim_writes_nothing(self, sftp: Connection) -> None:
        now = timezone.now()
        attempt = Attempt.objects.create(connection=sftp, why="now", not_before=now)
        assert attempt.start(now)
        late = Attempt.objects.get(pk=attempt.pk)
        attempt.mark_failed(now, "WORKER-LOST", "Lost.")
        assert not late.beat(now, "downloading")
        assert not late.mark_nothing_new(now, "The same file as before.")
        late.refresh_from_db()
        assert late.status == "failed"

    def test_a_failure_without_a_code_is_refused_by_the_database(self, sftp: Connection) -> None:
        attempt = Attempt.objects.create(connection=sftp, why="now")
        with pytest.raises(IntegrityError), transaction.atomic():
            attempt.mark_failed(timezone.now(), "", "Something.")


class TestAllowances:
    def test_it_counts_once_another_person_has_confirmed_it_and_until_it_expires(
        self, sftp: Connection, admin_user: Staff, django_user_model: type[Staff]
    ) -> None:
        tom = django_user_model.objects.create(username="tom")
        today = sftp.district.local_date(timezone.now())
        entry = Allowance.objects.create(
            connection=sftp, network="10.1.2.3/32", reason="Their SIS", entered_by=tom, expires_on=today
        )
        assert sftp.allowed_networks(today) == ()
        assert not entry.confirm(timezone.now(), tom)
        assert entry.confirm(timezone.now(), admin_user)
        assert [str(network) for network in sftp.allowed_networks(today)] == ["10.1.2.3/32"]
        assert sftp.allowed_networks(today + timedelta(days=1)) == ()

    @pytest.mark.parametrize("network", ["10.0.0.0/8", "ten", "10.1.2.3/24", ""])
    def test_a_whole_network_or_nonsense_is_refused(self, sftp: Connection, network: str) -> None:
        with pytest.raises(ValidationError):
            Allowance(connection=sftp, network=network, reason="x", expires_on=date(2027, 1, 1)).full_clean(
                exclude=["entered_by", "confirmed_by", "confirmed_at"]
            )
