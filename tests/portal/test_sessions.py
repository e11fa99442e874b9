"""Sessions of staff end: when somebody logs out, is away, or is shown the door; and in every browser."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import time_machine
from django.conf import settings as real_settings
from django.core.cache import caches
from django.db import connection
from django.test import Client
from django.utils import timezone

from portal import sessions
from rosters.models import AuditEvent

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from pytest_django import DjangoAssertNumQueries, Settings

PAGE = "/admin/mails/"


@pytest.fixture(autouse=True)
def _no_session_has_been(data_dir: Path, settings: Settings) -> None:
    backend = "django.core.cache.backends.filebased.FileBasedCache"
    settings.CACHES = {**settings.CACHES, "sessions": {"BACKEND": backend, "LOCATION": str(data_dir / "sessions")}}


def browser(staff: Staff) -> Client:
    client = Client()
    assert (
        client.post("/admin/login/", {"username": staff.username, "password": f"{staff}-password"}).status_code == 302
    )
    return client


def copy_of(client: Client) -> Client:
    other = Client()
    other.cookies["sessionid"] = client.cookies["sessionid"].value
    return other


def is_in(client: Client, address: str = PAGE, **headers: Any) -> bool:
    return bool(client.get(address, headers=headers).status_code == 200)


@pytest.mark.django_db
def test_logging_out_ends_the_session_also_for_who_has_copied_its_cookie(rita: Staff, vera: Staff) -> None:
    mine, at_home, hers = browser(rita), browser(rita), browser(vera)
    copied = copy_of(mine)
    assert all(map(is_in, (mine, at_home, copied, hers)))

    assert mine.post("/admin/logout/").status_code == 200
    assert [is_in(each) for each in (mine, at_home, copied, hers)] == [False, False, False, True]

    anew = browser(rita)
    assert [is_in(each) for each in (anew, copied)] == [True, False]


@pytest.mark.django_db
def test_who_was_not_in_ends_nothing_by_logging_out(rita: Staff) -> None:
    mine, copied = browser(rita), Client()
    stale = copy_of(mine)
    mine.post("/admin/logout/")
    anew = browser(rita)
    for each in (copied, stale):
        each.post("/admin/logout/")
    assert is_in(anew)


@pytest.mark.django_db
def test_who_is_away_for_two_hours_logs_in_anew(rita: Staff) -> None:
    mine, moment = browser(rita), timezone.now()
    for _ in range(3):
        moment += timedelta(minutes=110)
        with time_machine.travel(moment):
            assert is_in(mine)
    with time_machine.travel(moment + timedelta(minutes=121)):
        answer = mine.get(PAGE)
        assert (answer.status_code, answer.headers["Location"]) == (302, f"/admin/login/?next={PAGE}")


@pytest.mark.django_db
def test_no_session_lasts_longer_than_twelve_hours_however_busy(rita: Staff) -> None:
    mine, began, lasted = browser(rita), timezone.now(), 0
    for hour in range(1, 15):
        with time_machine.travel(began + timedelta(hours=hour)):
            if is_in(mine):
                lasted = hour
    assert lasted == 11  # the twelfth is over a moment before it is asked for


@pytest.mark.django_db
def test_the_cookie_is_renewed_once_a_minute_at_most(rita: Staff) -> None:
    mine, moment = browser(rita), timezone.now()
    renewed = []
    for seconds in (20, 50, 70, 100, 140):
        with time_machine.travel(moment + timedelta(seconds=seconds)):
            renewed.append("sessionid" in mine.get(PAGE).cookies)
    assert renewed == [False, False, True, False, True]


@pytest.mark.django_db
def test_a_page_that_asks_by_itself_keeps_nobody_logged_in(rita: Staff) -> None:
    mine, moment = browser(rita), timezone.now()
    asked = "/admin/rosters/sync/1/progress/"  # of no sync: what counts is who asked
    for minutes in range(10, 130, 10):
        with time_machine.travel(moment + timedelta(minutes=minutes)):
            mine.get(asked, headers={"HX-Request": "true"})
            assert "sessionid" not in mine.get(asked, headers={"HX-Request": "true"}).cookies
    with time_machine.travel(moment + timedelta(minutes=121)):
        assert not is_in(mine)


def test_all_that_pages_of_staff_ask_by_themselves_is_known() -> None:
    asking = re.compile(r'<[^<]*?hx-get="{% url "admin:(\w+)"[^<]*?hx-trigger="every', re.DOTALL)
    pages = (real_settings.BASE_DIR / "templates" / "admin").rglob("*.html")
    texts = [page.read_text() for page in pages]
    found = [name for text in texts for name in asking.findall(text)]
    assert len(found) == sum(text.count('hx-trigger="every') for text in texts)
    assert set(found) == sessions.POLLED


@pytest.mark.django_db
def test_what_the_cache_has_lost_lets_nobody_in(rita: Staff) -> None:
    mine = browser(rita)
    caches["sessions"].clear()
    assert not is_in(mine)
    anew = browser(rita)
    assert [is_in(each) for each in (anew, mine)] == [True, False]


@pytest.mark.django_db
def test_to_look_whether_a_session_has_ended_asks_no_database(
    rita: Staff, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    mine = browser(rita)
    with django_assert_num_queries(0):
        assert sessions.SessionStore(mine.cookies["sessionid"].value).load()


@pytest.mark.django_db
def test_an_answer_that_needs_no_session_does_not_depend_on_cookies(rita: Staff) -> None:
    assert "Cookie" not in browser(rita).get("/api/v1/nowhere").headers.get("Vary", "")


@pytest.mark.django_db
def test_a_superuser_ends_the_sessions_of_others(alice: Staff, rita: Staff, vera: Staff) -> None:
    mine, hers, boss = browser(rita), browser(vera), browser(alice)
    chosen = {"action": "end_sessions", "_selected_action": [rita.pk]}
    answer = boss.post("/admin/auth/user/", chosen, follow=True)
    assert "Their sessions have ended" in answer.text
    assert [is_in(each) for each in (mine, hers, boss)] == [False, True, True]
    event = AuditEvent.objects.get(action="staff.sessions_ended")
    assert (event.by, event.subject) == (alice, f"staff {rita.pk}")


@pytest.mark.django_db
def test_nobody_else_ends_them_and_nobody_deletes_many(
    alice: Staff, rita: Staff, make_staff: Callable[[str, str], Staff]
) -> None:
    from django.contrib.auth.models import Permission

    keeper = make_staff("keeper", "manager")
    keeper.user_permissions.set(Permission.objects.filter(content_type__app_label="auth"))
    mine = browser(rita)
    for client, action in ((browser(keeper), "end_sessions"), (browser(alice), "delete_selected")):
        client.post("/admin/auth/user/", {"action": action, "_selected_action": [rita.pk], "post": "yes"})
        assert is_in(mine)
    assert not AuditEvent.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_logging_out_waits_for_no_import(rita: Staff) -> None:
    if connection.vendor != "sqlite":
        return
    mine = browser(rita)
    copied = copy_of(mine)
    writer = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    try:
        began = time.monotonic()
        assert mine.post("/admin/logout/").status_code == 200
        assert not is_in(copied)
        assert time.monotonic() - began < 5
    finally:
        writer.execute("ROLLBACK")
        writer.close()
