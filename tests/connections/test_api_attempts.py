"""From a OneRoster API to a sync: everything, only what changed, and what stays as it was when something is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from django.test import Client
from django.utils import timezone

from connections import attempts, tasks
from connections.demo.api_server import ApiServer, base_url, records
from connections.demo.days import Days
from connections.models import Attempt, Checkup, Connection
from rosters import making, syncs
from rosters.models import District, Sync
from tests.connections import sis
from tests.queue import work_off

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = pytest.mark.django_db

KEY, SECRET = "demoKey1", "battery/staple+1"


@pytest.fixture
def api(
    tmp_path: Path, tables: making.Tables, cedar: District, let_in: Callable[[Connection], None], data_dir: Path
) -> Iterator[Connection]:
    """A connection to a OneRoster API that signs each question."""
    making.write_zip(tmp_path / "day.zip", tables)
    day = Days(tmp_path / "day.zip", timezone.localdate()).on(timezone.localdate())

    def today(_: date) -> object:
        return day

    with ApiServer(0, today, key=KEY, secret=SECRET).open() as running:  # type: ignore[arg-type]
        connection = Connection(district=cedar, kind="rest", base_url=base_url(running.port), page_size=50)
        connection.keep_secret("key", KEY)
        connection.keep_secret("secret", SECRET)
        connection.save()
        let_in(connection)
        yield connection


def _fetch(connection: Connection) -> Attempt:
    connection.refresh_from_db()
    attempt = attempts.ask(connection, Attempt.Why.NOW)
    tasks.pull(attempt_id=attempt.pk)
    attempt.refresh_from_db()
    return attempt


def _live(attempt: Attempt, by: Staff) -> Sync:
    work_off()
    assert attempt.sync is not None
    sync = Sync.objects.get(pk=attempt.sync.pk)
    if sync.status in ("ready", "awaiting_review"):
        syncs.approve(sync, by=by, plan_digest=sync.plan_digest)
        sync = syncs.apply(sync.pk) or sync
    return sync


def _page_of(connection: Connection, staff: Staff) -> str:
    client = Client()
    client.force_login(staff)
    return client.get(f"/admin/connections/connection/{connection.pk}/change/").content.decode()


def test_a_whole_roster_comes_through_the_api_and_goes_live(
    api: Connection, alice: Staff, tables: making.Tables
) -> None:
    attempt = _fetch(api)
    assert (attempt.status, attempt.code) == ("delivered", "")
    sync = _live(attempt, alice)
    assert (sync.status, sync.errors) == ("applied", 0)
    sync.district.refresh_from_db()
    assert sync.district.snapshot is not None
    assert sync.district.snapshot.tables["users"]["rows"] == len(tables["users"])
    assert sync.delivery is not None and sync.delivery.origin == "rest"


def test_the_same_roster_again_changes_nothing(api: Connection, alice: Staff) -> None:
    _live(_fetch(api), alice)
    assert _live(_fetch(api), alice).status == "unchanged"


def test_a_change_from_files_to_an_api_is_no_change_of_headers(
    api: Connection, alice: Staff, tables: making.Tables, tmp_path: Path
) -> None:
    with_password = {**tables, "users": tables["users"].with_columns(password=pl.lit("")), "orgs": tables["orgs"]}
    making.write_zip(tmp_path / "files.zip", with_password)
    sync = syncs.receive(api.district, tmp_path / "files.zip", origin="sftp", name="files.zip")
    syncs.prepare(sync.pk)
    sync.refresh_from_db()
    syncs.approve(sync, by=alice, plan_digest=sync.plan_digest)
    syncs.apply(sync.pk)
    attempt = _fetch(api)
    work_off()
    assert attempt.sync is not None
    assert "HEADERS_CHANGED" not in [hold.code for hold in attempt.sync.holds.all()]


def test_only_what_changed_is_asked_for_until_a_week_is_over(api: Connection, alice: Staff) -> None:
    Connection.objects.update(deltas=True)
    _live(_fetch(api), alice)
    changed = _fetch(api)
    assert "what changed" in changed.words
    assert _live(changed, alice).status == "unchanged"
    Connection.objects.update(last_full_at=timezone.now() - timedelta(days=8))
    assert "everything" in _fetch(api).words


@pytest.mark.parametrize("habit", ["refuses the filter", "names the total without it"])
def test_where_a_server_cannot_say_what_changed_everything_is_fetched(
    habit: str,
    tables: making.Tables,
    cedar: District,
    let_in: Callable[[Connection], None],
    alice: Staff,
    data_dir: Path,
) -> None:
    def cannot(question: sis.Question, reply: sis.Reply) -> sis.Reply:
        if "filter" not in question.query:
            return reply
        return sis.as_json({}, 400) if habit == "refuses the filter" else reply.having(X_Total_Count="100000")

    making.write_zip(data_dir / "day.zip", tables)
    day = Days(data_dir / "day.zip", timezone.localdate()).on(timezone.localdate())
    with sis.running(records(day, "https://sis.example.org"), cannot) as server:
        url = server.api.base_url.replace("localhost", "127.0.0.1")
        connection = Connection(district=cedar, kind="rest", base_url=url, auth="bearer")
        connection.keep_secret("secret", "static-token")
        connection.save()
        let_in(connection)
        assert _live(_fetch(connection), alice).status == "applied"
        Connection.objects.update(deltas=True)
        again = _fetch(Connection.objects.select_related("district").get())
    assert (again.status, again.words.startswith("Asked for everything")) == ("delivered", True), again.words
    assert any("filter" in question.query for question in server.asked)


def test_changes_are_asked_for_only_upon_what_became_live(api: Connection, alice: Staff) -> None:
    Connection.objects.update(deltas=True)
    first = _live(_fetch(api), alice)
    waits = _fetch(api)
    assert "what changed" in waits.words
    assert "everything" in _fetch(api).words, "the one before waits still, and would be lost"
    work_off()
    assert "what changed" in _fetch(api).words
    work_off()
    syncs.receive(api.district, _bytes_of(first), origin="upload", name="other.zip")
    assert "everything" in _fetch(api).words, "something else came in between"


def _bytes_of(sync: Sync) -> Path:
    """The bytes that a sync was made of."""
    assert sync.delivery is not None
    return syncs.store().original(sync.district_id, sync.delivery.sha256)


def test_the_doctor_finds_every_step_in_order_and_stores_nothing(api: Connection) -> None:
    checkup = attempts.check(Checkup.objects.create(connection=api).pk)
    assert checkup.passed, checkup.steps
    assert not Sync.objects.exists()


def test_wrong_credentials_are_named_and_nothing_is_received(api: Connection, alice: Staff) -> None:
    api.keep_secret("secret", "another one")
    api.save()
    attempt = _fetch(api)
    assert (attempt.status, attempt.code) == ("failed", "API-AUTH")
    page = _page_of(api, alice)
    assert "the other way round" in page or "swap" in page or "exchanged" in page
    assert not api.attempts.filter(why="retry").exists()
    assert not Sync.objects.exists()


def test_without_the_allowance_the_private_address_is_not_contacted(api: Connection) -> None:
    api.allowances.all().delete()
    attempt = _fetch(api)
    assert attempt.status == "failed"
    assert attempt.code in ("CONN-ADDRESS", "API-URL")


class TestReadyForLaunch:
    def test_each_step_is_ticked_by_what_is_there(self, api: Connection, alice: Staff) -> None:
        from connections.launching import checklists

        district = api.district
        District.objects.update(products=["literacy"])
        district.refresh_from_db()
        (before,) = checklists(district)
        assert [item.done for item in before.items] == [False, True, False, False, False, False]
        assert before.next_item is not None and "owner" in before.next_item.next_step
        District.objects.update(owner=alice)
        attempts.check(Checkup.objects.create(connection=api).pk)
        _live(_fetch(api), alice)
        api.refresh_from_db()
        api.schedule = {"days": [0, 1, 2, 3, 4, 5, 6], "times": ["02:00"]}
        api.save()
        api.activate(timezone.now(), api.due_after(timezone.now()))
        district.refresh_from_db()
        (after,) = checklists(district)
        assert after.ready, [item for item in after.items if not item.done]
        api.pause(timezone.now(), "Summer", by=alice, until=date(2027, 8, 10))
        (paused,) = checklists(district)
        assert paused.done == after.done - 1, "it is set up and tested, and only does not run"
        assert paused.next_item is not None and "paused until 10 August" in paused.next_item.next_step
