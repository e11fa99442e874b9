"""A code of an app beside the password: set up, asked for, good once; and who has lost the phone."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from html import unescape
from io import StringIO
from typing import TYPE_CHECKING, Any

import pyotp
import pytest
from django.core.cache import caches
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from portal.models import SPARE_CODES, SecondFactor
from rosters.models import AuditEvent, District

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from pytest_django import Settings

pytestmark = [pytest.mark.django_db, pytest.mark.doors]

AT = "/admin/second-factor/"
PASSWORD = "wide-open-99"


@pytest.fixture(autouse=True)
def _nobody_has_failed() -> None:
    caches["logins"].clear()


@pytest.fixture
def rita(rita: Staff) -> Staff:
    rita.set_password(PASSWORD)
    rita.save()
    return rita


def log_in(code: str = "", password: str = PASSWORD) -> Client | None:
    browser = Client()
    browser.post("/admin/login/?next=/admin/", {"username": "rita", "password": password, "code": code})
    return browser if "_auth_user_id" in browser.session else None


def code_at(moment: datetime) -> str:
    return pyotp.TOTP(SecondFactor.objects.get().secret()).at(moment)


@pytest.fixture
def app(rita: Staff) -> Callable[..., str]:
    """Set up for rita; the code that the app shows so many seconds from now."""
    browser = log_in()
    assert browser is not None
    browser.get(AT)
    now = timezone.now()
    page = unescape(browser.post(AT, {"code": code_at(now - timedelta(seconds=30))}).content.decode())
    codes = re.findall(r"<li><code>([0-9a-f-]+)</code></li>", page)
    assert len(set(codes)) == SPARE_CODES

    def shown(seconds: int = 0) -> str:
        return code_at(timezone.now() + timedelta(seconds=seconds))

    shown.spare = codes  # type: ignore[attr-defined]
    return shown


def test_it_is_set_up_with_what_the_page_shows(rita: Staff) -> None:
    browser = log_in()
    assert browser is not None
    answer = browser.get(AT)
    page = answer.content.decode()
    secret = SecondFactor.objects.get().secret()
    assert secret in page and "<svg" in page and "no-store" in answer["Cache-Control"]
    assert secret not in SecondFactor.objects.get().sealed
    wrong = browser.post(AT, {"code": "000000"})
    assert wrong.status_code == 422 and "not the code of this moment" in wrong.content.decode()
    assert log_in() is not None, "it does not count yet"
    shown = browser.post(AT, {"code": f" {code_at(timezone.now())[:3]} {code_at(timezone.now())[3:]} "})
    assert "Spare codes" in shown.content.decode()
    again = browser.get(AT).content.decode()
    assert "You have one" in again and secret not in again, "it is not shown a second time"
    row = AuditEvent.objects.get(action="staff.second_factor")
    assert (row.by, row.subject) == (rita, f"staff {rita.pk}") and secret not in str(row.after)


def test_a_secret_that_was_shown_long_ago_is_shown_to_nobody_again(rita: Staff) -> None:
    browser = log_in()
    assert browser is not None
    browser.get(AT)
    shown = SecondFactor.objects.get().secret()
    assert shown in browser.get(AT).content.decode(), "who reloads the page goes on with the same"
    SecondFactor.objects.update(made_at=timezone.now() - timedelta(hours=2))
    assert shown not in browser.get(AT).content.decode() and SecondFactor.objects.get().secret() != shown


def test_a_login_needs_a_code_which_is_good_once(app: Callable[..., str]) -> None:
    assert log_in() is None
    assert log_in("123456") is None
    code = app(30)
    assert log_in(code) is not None
    assert log_in(code) is None, "somebody looked over the shoulder"
    assert log_in(app(-30)) is None, "nor is an older one good any more"


def test_a_wrong_password_uses_no_code_up(app: Callable[..., str]) -> None:
    code = app(30)
    assert log_in(code, password="wrong-wrong-99") is None
    assert log_in(code) is not None


def test_the_answer_does_not_tell_what_was_wrong(app: Callable[..., str]) -> None:
    def told(**sent: str) -> str:
        page = Client().post("/admin/login/", {"username": "rita", "password": PASSWORD, **sent}).content.decode()
        return str(re.findall(r'class="errornote" role="alert">([^<]*)<', page)[0])

    answers = {told(), told(code="000000"), told(password="wrong-wrong-99"), told(username="nobody")}
    assert len(answers) == 1


def test_guessing_codes_is_braked(app: Callable[..., str]) -> None:
    for number in range(5):
        assert log_in(f"{number:06}") is None
    assert log_in(app(30)) is None, "a right one has to wait, too"


def test_a_spare_code_opens_once(app: Any) -> None:
    assert log_in(app.spare[0].upper()) is not None
    assert log_in(app.spare[0]) is None
    browser = log_in(app.spare[1])
    assert browser is not None and f"{SPARE_CODES - 2} spare codes are left" in browser.get(AT).content.decode()
    assert app.spare[2] not in str(SecondFactor.objects.values())


def test_where_it_is_required_nothing_is_seen_before(rita: Staff, settings: Settings) -> None:
    cedar = District.objects.create(name="Cedar Grove", site_code="1001")
    settings.SECOND_FACTOR_REQUIRED = True
    browser = log_in()
    assert browser is not None
    page = f"/admin/rosters/district/{cedar.pk}/change/"
    for address in ("/admin/", page, "/api/v1/districts", "/api/docs/"):
        assert browser.get(address).headers.get("Location") == AT, address
    assert browser.post(f"/admin/rosters/district/{cedar.pk}/upload/").status_code == 403
    assert "Before anything else" in browser.get(AT).content.decode()
    browser.post(AT, {"code": code_at(timezone.now())})
    assert browser.get(page).status_code == 200
    assert Client().get("/admin/login/").status_code == 200
    assert not Client().get("/admin/login/").has_header("Location")


def test_who_sets_one_up_goes_on_and_all_their_other_sessions_end(rita: Staff, settings: Settings) -> None:
    thief, own = log_in(), log_in()
    assert thief is not None and own is not None
    own.get(AT)
    assert "Spare codes" in own.post(AT, {"code": code_at(timezone.now())}).content.decode()
    for settings.SECOND_FACTOR_REQUIRED in (False, True):
        assert own.get("/admin/").status_code == 200
        assert thief.get("/admin/").headers["Location"] == "/admin/login/?next=/admin/"


def test_a_session_that_has_shown_a_password_only_is_over_once_there_is_one(
    rita: Staff, app: Callable[..., str], settings: Settings
) -> None:
    settings.SECOND_FACTOR_REQUIRED = True
    browser = Client()
    browser.force_login(rita)  # as if it began in the moment in which the other one confirmed
    assert browser.post("/admin/mails/", {"mornings": "on"}).status_code == 403
    assert browser.get("/admin/mails/").headers["Location"] == "/admin/login/?next=/admin/mails/"
    assert "_auth_user_id" not in browser.session
    login = {"username": "rita", "password": PASSWORD, "code": app(30)}
    assert browser.post("/admin/login/?next=/admin/", login).status_code == 302
    assert browser.get("/admin/").status_code == 200


def test_who_logs_in_where_a_colleague_was_logged_in_has_shown_their_code(
    app: Callable[..., str], vera: Staff, settings: Settings
) -> None:
    browser = Client()
    browser.force_login(vera)
    browser.post("/admin/login/", {"username": "rita", "password": PASSWORD, "code": app(30)})
    settings.SECOND_FACTOR_REQUIRED = True
    assert browser.get("/admin/").status_code == 200


def test_nobody_knows_the_secret_but_the_browser_that_was_shown_it(rita: Staff) -> None:
    thief, own = log_in(), log_in()
    assert thief is not None and own is not None
    thief.get(AT)
    seen = SecondFactor.objects.get().secret()
    assert seen not in own.get(AT).content.decode(), "what somebody else has seen is no secret"
    thief.get(AT)
    now = timezone.now()
    wrong = own.post(AT, {"code": code_at(now)})
    assert wrong.status_code == 422 and "somebody set one up elsewhere" in wrong.content.decode()
    assert SecondFactor.objects.get().confirmed_at is None, "it was shown to the thief"
    assert "Spare codes" in own.post(AT, {"code": code_at(now)}).content.decode(), "what it shows now is its own"
    assert SecondFactor.objects.get().secret() not in thief.get(AT, follow=True).content.decode()


def test_who_lost_the_phone_has_it_removed_by_a_superuser_or_at_the_machine(
    rita: Staff, app: Callable[..., str], admin_user: Staff, manu: Staff
) -> None:
    desk = Client()
    asked = {"action": "remove_of", "_selected_action": [str(rita.pk)]}
    desk.force_login(manu)
    desk.post("/admin/auth/user/", asked)
    assert SecondFactor.objects.exists()
    desk.force_login(admin_user)
    desk.post("/admin/auth/user/", asked)
    assert not SecondFactor.objects.exists() and log_in() is not None
    row = AuditEvent.objects.get(action="staff.second_factor_removed")
    assert (row.by, row.subject) == (admin_user, f"staff {rita.pk}")
    said = StringIO()
    call_command("remove_second_factor", "rita", stdout=said)
    assert "There was none." in said.getvalue()
