"""Guessing passwords of staff: what it runs into, and that it keeps no colleague out."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.test import Client, RequestFactory
from django.utils import timezone

from portal import logins
from portal.local_secrets import local_secret
from rosters import askers
from rosters.askers import address_of

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from pytest_django import Settings

pytestmark = [pytest.mark.django_db, pytest.mark.doors]

RIGHT = "rita-password"
OFFICE, HOME, STRANGER = "192.0.2.7", "198.51.100.4", "203.0.113.9"


@pytest.fixture(autouse=True)
def _nobody_has_tried(data_dir: Path, settings: Settings) -> None:
    backend = "django.core.cache.backends.filebased.FileBasedCache"
    small = {"BACKEND": backend, "LOCATION": str(data_dir / "cache"), "OPTIONS": {"MAX_ENTRIES": 4}}
    own = {"BACKEND": backend, "LOCATION": str(data_dir / "logins")}
    settings.CACHES = {**settings.CACHES, "default": small, "logins": own}


def log_in(name: str, password: str, address: str = OFFICE) -> Any:
    return Client(REMOTE_ADDR=address).post("/admin/login/", {"username": name, "password": password})


def came_in(answer: Any) -> bool:
    return answer.status_code == 302 and "sessionid" in answer.cookies


def told(answer: Any) -> str:
    """What the page says is wrong."""
    return html.unescape(
        " ".join(re.findall(r'class="errornote" role="alert">\s*(.*?)\s*</p>', answer.text, re.DOTALL))
    )


def fail(name: str, times: int, address: str | Callable[[int], str] = STRANGER) -> list[int]:
    """Guess `times` times; an address for each if it is a function."""
    where = address if callable(address) else lambda number: address
    return [log_in(name, f"guess {number}", where(number)).status_code for number in range(times)]


def other_addresses(number: int) -> str:
    return f"203.0.{number // 250}.{number % 250 + 1}"


def test_after_five_failures_a_login_waits_and_then_goes_on(rita: Staff) -> None:
    assert fail("rita", 5, OFFICE) == [200] * 5

    braked = log_in("rita", RIGHT)
    assert (braked.status_code, came_in(braked)) == (429, False)
    assert told(braked) == "Too many attempts. Try again in 1 minute."
    assert 0 < int(braked.headers["Retry-After"]) <= 60

    with time_machine.travel(timezone.now() + timedelta(seconds=61)):
        assert came_in(log_in("rita", RIGHT))
        assert fail("rita", 5, OFFICE) == [200] * 5  # coming in has cleared the count


def test_each_further_failure_waits_longer_up_to_an_hour(rita: Staff) -> None:
    fail("rita", 4, OFFICE)
    moment, waits = timezone.now(), []
    for _ in range(9):
        with time_machine.travel(moment, tick=False):
            assert fail("rita", 1, OFFICE) == [200]
            waits.append(int(log_in("rita", RIGHT).headers["Retry-After"]))
        with time_machine.travel(moment + timedelta(seconds=waits[-1] - 1), tick=False):
            assert log_in("rita", RIGHT).status_code == 429  # and that it was asked again costs nothing
        moment += timedelta(seconds=waits[-1] + 1)
    assert [wait // 60 for wait in waits] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_what_tools_and_searches_keep_takes_no_count_away(rita: Staff) -> None:
    fail("rita", 5, OFFICE)
    for number in range(50):
        cache.set(f"page-of-a-roster-{number}", number)
    assert log_in("rita", RIGHT).status_code == 429


def test_the_answer_does_not_say_whether_there_is_such_an_account(rita: Staff) -> None:
    seen = {}
    for name in ("rita", "nobody"):
        answers = [log_in(name, f"guess {number}", f"192.0.2.{len(name)}") for number in range(7)]
        seen[name] = [(answer.status_code, told(answer)) for answer in answers]
    assert seen["rita"] == seen["nobody"]
    assert [status for status, _ in seen["nobody"]] == [200] * 5 + [429] * 2


def test_the_count_is_of_the_account_however_its_name_is_written(rita: Staff) -> None:
    assert [log_in(name, "guess").status_code for name in ("rita", "RITA", "Rita", " rita", "ｒita", "rita")] == [
        *[200] * 5,
        429,
    ]


def test_many_machines_cannot_guess_at_one_account_nor_keep_its_owner_out(rita: Staff) -> None:
    assert came_in(log_in("rita", RIGHT, OFFICE))
    statuses = fail("rita", 33, other_addresses)
    assert statuses == [200] * 30 + [429] * 3

    assert log_in("rita", RIGHT, HOME).status_code == 429  # where nobody knows her
    assert came_in(log_in("rita", RIGHT, OFFICE))
    assert log_in("rita", RIGHT, HOME).status_code == 429  # her coming in gives the others no further tries
    with time_machine.travel(timezone.now() + timedelta(minutes=16)):
        assert came_in(log_in("rita", RIGHT, HOME))


def test_where_somebody_is_known_guesses_count_as_strictly(rita: Staff) -> None:
    assert came_in(log_in("rita", RIGHT, OFFICE))
    assert fail("rita", 6, OFFICE) == [200] * 5 + [429]


def test_one_machine_cannot_try_a_password_on_everybody(rita: Staff, vera: Staff) -> None:
    assert came_in(log_in("rita", RIGHT, OFFICE))
    statuses = [log_in(f"name {number}", "Summer-2026", OFFICE).status_code for number in range(52)]
    assert statuses == [200] * 50 + [429] * 2

    assert log_in("vera", "vera-password", OFFICE).status_code == 429
    assert came_in(log_in("vera", "vera-password", HOME))
    assert came_in(log_in("rita", RIGHT, OFFICE))


def test_who_has_an_account_gets_no_further_guesses_at_others_by_coming_in(rita: Staff, vera: Staff) -> None:
    for number in range(49):
        assert log_in(f"name {number}", "Summer-2026").status_code == 200
    assert came_in(log_in("vera", "vera-password"))
    assert log_in("name", "Summer-2026").status_code == 200
    assert came_in(log_in("vera", "vera-password"))
    assert log_in("rita", "Summer-2026").status_code == 429


def test_guesses_in_the_same_moment_are_counted_each() -> None:
    with ThreadPoolExecutor(16) as pool:
        waits = list(pool.map(lambda _: logins.Attempt("rita", STRANGER).begin(), range(40)))
    assert sorted(map(bool, waits)) == [False] * 5 + [True] * 35


def test_the_log_says_that_and_where_but_neither_name_nor_password(
    rita: Staff, caplog: pytest.LogCaptureFixture, data_dir: Path
) -> None:
    with caplog.at_level("INFO"):
        fail("rita", 6)
    said = [record.getMessage() for record in caplog.records if record.name == "portal.logins"]
    assert said == [
        *[f"A login of staff failed, from {STRANGER}."] * 5,
        f"Logins wait 60 s from now on: this account from this address, {STRANGER}.",
        f"A login of staff has to wait, from {STRANGER}.",
    ]
    assert "rita" not in caplog.text
    assert "guess" not in caplog.text


def test_who_is_no_staff_is_not_let_in_and_counted_as_any_failure(rita: Staff) -> None:
    User.objects.filter(pk=rita.pk).update(is_staff=False)
    right, wrong = (log_in("rita", password, HOME) for password in (RIGHT, "guess"))
    assert told(right) == told(wrong) and "is not right" in told(right)
    assert [log_in("rita", RIGHT).status_code for _ in range(6)] == [200] * 5 + [429]


@pytest.mark.parametrize(
    ("behind_proxy", "peer", "forwarded", "expected"),
    [
        (False, OFFICE, None, OFFICE),
        (False, OFFICE, STRANGER, OFFICE),
        (True, "127.0.0.1", STRANGER, STRANGER),
        (True, "127.0.0.1", f"{OFFICE}, {STRANGER}", STRANGER),
        (True, "127.0.0.1", None, "127.0.0.1"),
        (False, "2001:db8:1:2:3:4:5:6", None, "2001:db8:1:2::/64"),
        (False, f"::ffff:{OFFICE}", None, OFFICE),
        (True, "127.0.0.1", f"{STRANGER}:51234", STRANGER),
        (True, "127.0.0.1", f"{OFFICE}, {STRANGER}:51234", STRANGER),
        (True, "127.0.0.1", "[2001:db8:1:2:3:4:5:6]:443", "2001:db8:1:2::/64"),
        (True, "127.0.0.1", "[2001:db8:1:2:3:4:5:6]", "2001:db8:1:2::/64"),
        (True, "127.0.0.1", "2001:db8:1:2::6", "2001:db8:1:2::/64"),
        (True, "", "by hand", "an unknown address"),
        (True, "", "by hand:51234", "an unknown address"),
    ],
)
def test_where_a_login_comes_from(
    behind_proxy: bool, peer: str, forwarded: str | None, expected: str, settings: Settings
) -> None:
    settings.BEHIND_PROXY = behind_proxy
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    assert address_of(RequestFactory(REMOTE_ADDR=peer).post("/admin/login/", headers=headers)) == expected


def test_that_nobody_knows_where_logins_come_from_is_said_once(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.BEHIND_PROXY = True
    askers._say_so.cache_clear()
    for _ in range(3):
        address_of(RequestFactory().post("/admin/login/", headers={"X-Forwarded-For": "by hand"}))
    (record,) = (record for record in caplog.records if record.name == "rosters.askers")
    assert "X-Forwarded-For" in record.getMessage()


@pytest.mark.parametrize(
    ("password", "good"),
    [
        ("Kn1ves-Out-", False),  # eleven characters
        ("Kn1ves-Out-2", True),
        ("rita@portal.test", False),
        ("qwertyuiop123", False),
        ("846201957364", False),
    ],
)
def test_what_a_password_has_to_be(password: str, good: bool, rita: Staff) -> None:
    if good:
        validate_password(password, rita)
        return
    with pytest.raises(ValidationError):
        validate_password(password, rita)


def test_the_password_of_a_local_run_is_such_a_one(tmp_path: Path) -> None:
    validate_password(local_secret(tmp_path, "admin-password", size=12), User(username="admin"))
