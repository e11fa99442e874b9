"""What happened, mailed to the people of a district: once, to who answers for it; not lost where no mail goes out."""

from __future__ import annotations

import re
import smtplib
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from connections.models import Connection
from connections.onboarding import asking, news
from connections.onboarding.models import Notice, Person
from rosters import making, syncs
from rosters.models import District, Sync

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from pytest_django import Settings

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]

ComeIn = Callable[[Person], Client]
Deliver = Callable[..., Sync]


@pytest.fixture
def deliver(cedar: District, tmp_path: Path) -> Deliver:
    """Have a file come, by SFTP unless said otherwise, and read."""

    def come(content: bytes = b"no zip", origin: str = "sftp") -> Sync:
        path = tmp_path / "export.zip"
        path.write_bytes(content)
        sync = syncs.receive(cedar, path, origin=origin, name="secret-name.zip")
        return syncs.prepare(sync.pk) or sync

    return come


@pytest.fixture
def good(tmp_path: Path) -> bytes:
    making.write_zip(tmp_path / "good.zip", making.make_roster(users=60, seed=4, today=timezone.localdate()))
    return (tmp_path / "good.zip").read_bytes()


def mailed() -> list[tuple[str, str]]:
    """To whom, and the subject, since it was asked last."""
    news.minute()
    sent = [(message.to[0], str(message.subject)) for message in mail.outbox]
    mail.outbox.clear()
    return sorted(sent)


def test_who_answers_for_the_district_is_told_once_that_a_file_was_refused(
    cedar: District, dana: Person, sam: Person, deliver: Deliver
) -> None:
    refused = deliver()
    assert refused.status == "rejected"
    news.minute()
    (message,) = mail.outbox
    assert (message.to, message.subject) == (["dana@cedar.test"], "A delivery of Cedar Grove needs a correction")
    assert "secret-name" not in message.body and refused.verdict not in message.body
    secret = re.search(r"/district/enter/#(\S+)", str(message.body))
    assert secret
    browser = Client()
    assert browser.post("/district/enter/", {"secret": secret[1]}).status_code == 302
    page = re.search(r"\S+(/district/sent/\S+/)", str(message.body))
    assert page and "Needs a corrected file" in browser.get(page[1]).content.decode()
    mail.outbox.clear()
    assert mailed() == []


def test_a_decline_is_told_and_what_staff_sent_is_not(
    cedar: District, dana: Person, deliver: Deliver, good: bytes, alice: Staff
) -> None:
    deliver(origin="staff")
    assert mailed() == []
    syncs.decline(deliver(good), by=alice, reason="Half of the schools are missing.")
    news.minute()
    (message,) = mail.outbox
    assert message.subject == "A delivery of Cedar Grove did not go live" and "Half" not in message.body


def test_what_was_set_right_at_once_is_not_told(cedar: District, dana: Person, deliver: Deliver, good: bytes) -> None:
    deliver()
    deliver(good)
    assert mailed() == []


def test_what_happened_days_ago_is_not_told(cedar: District, dana: Person, deliver: Deliver) -> None:
    deliver()
    Sync.objects.update(status_since=timezone.now() - timedelta(days=3))
    assert mailed() == []


def test_silence_a_stop_and_that_it_works_again(cedar: District, dana: Person, sam: Person) -> None:
    now = timezone.now()
    connection = Connection.objects.create(district=cedar, kind="sftp", host="sftp.cedar.test", username="c", path="*")
    connection.activate(now, None)
    assert mailed() == []
    Connection.objects.update(late_since=now)
    assert mailed() == [("dana@cedar.test", "No roster has come from Cedar Grove")]
    assert mailed() == []
    Connection.objects.update(late_since=None, last_success_at=timezone.now())
    assert mailed() == [("dana@cedar.test", "The roster of Cedar Grove comes again")]
    assert mailed() == []
    connection.refresh_from_db()
    connection.pause(timezone.now(), "It failed three times.")
    assert mailed() == [("dana@cedar.test", "The roster of Cedar Grove cannot be fetched")]
    connection.activate(timezone.now(), None)
    assert mailed() == [], "nothing has come yet"
    Connection.objects.update(last_success_at=timezone.now())
    assert mailed() == [("dana@cedar.test", "The roster of Cedar Grove comes again")]


def test_a_pause_that_staff_made_is_no_news(cedar: District, dana: Person, alice: Staff) -> None:
    now = timezone.now()
    connection = Connection.objects.create(district=cedar, kind="sftp", host="sftp.cedar.test", username="c", path="*")
    connection.activate(now, None)
    connection.pause(now, "Summer", by=alice)
    assert mailed() == []


def test_who_wants_none_gets_none_but_for_our_questions(
    cedar: District, dana: Person, deliver: Deliver, good: bytes, come_in: ComeIn, alice: Staff
) -> None:
    browser = come_in(dana)
    mail.outbox.clear()
    assert "You get a mail when a file is refused" in browser.get("/district/").content.decode()
    browser.post("/district/mails/", {"told": "no"})
    assert "You get no mail about what happens" in browser.get("/district/").content.decode()
    deliver()
    assert mailed() == []
    waiting = deliver(good)
    asking.ask(waiting, "Is that right?", by=alice)
    assert [message.subject for message in mail.outbox] == ["A question about the roster of Cedar Grove"]
    browser.post("/district/mails/", {"told": "yes"})
    assert Person.objects.get(pk=dana.pk).told_by_mail


def test_a_mail_server_that_is_down_loses_no_mail(
    cedar: District, dana: Person, deliver: Deliver, good: bytes, alice: Staff, settings: Settings
) -> None:
    cedar.people.create(name="Omar Haddad", email="omar@cedar.test", role=dana.role)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens
        settings.EMAIL_HOST, settings.EMAIL_PORT = closed.getsockname()
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        waiting = deliver(good)
        question = asking.ask(waiting, "Is that right?", by=alice)
        assert question.unsent_to() == ["Dana Reyes", "Omar Haddad"], "also who was not tried"
        desk = Client()
        desk.force_login(alice)
        page = desk.get(f"/admin/rosters/sync/{waiting.pk}/change/").content.decode()
        assert "could not be sent to Dana Reyes, Omar Haddad yet" in page
        news.minute()
        news.minute()
        assert set(Notice.objects.values_list("tries", flat=True)) == {1}, "not every minute"
        news.minute(timezone.now() + timedelta(minutes=6))
        assert Notice.objects.get(person=dana).tries == 2
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    news.minute(timezone.now() + timedelta(hours=1))
    assert sorted(message.to for message in mail.outbox) == [["dana@cedar.test"], ["omar@cedar.test"]]
    assert question.unsent_to() == []
    Notice.objects.filter(person=dana).update(sent_at=None)
    question.answer_with("right", "", dana, timezone.now())
    assert question.unsent_to() == [], "nobody needs that mail any more"


def test_after_half_a_day_it_is_given_up_and_so_is_what_is_settled(
    cedar: District, dana: Person, deliver: Deliver, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.EMAIL_BACKEND = "tests.connections.onboarding.test_news.Refusing"
    deliver()
    now = timezone.now()
    for hours in range(40):
        news.minute(now + timedelta(hours=hours))
    notice = Notice.objects.get()
    assert notice.given_up_at and notice.tries == 6
    assert "dana@cedar.test" not in caplog.text and f"notice {notice.pk}" in caplog.text


@pytest.fixture
def many(cedar: District) -> list[Notice]:
    """Eight mails that are due, each to somebody else."""
    people = [cedar.people.create(name=f"P{n}", email=f"p{n}@cedar.test", role="owner") for n in range(8)]
    return [Notice.objects.create(person=each, kind="late", about="late:1") for each in people]


def test_a_mail_server_that_hangs_holds_a_minute_up_once(many: list[Notice], settings: Settings) -> None:
    settings.EMAIL_BACKEND, settings.EMAIL_TIMEOUT = "django.core.mail.backends.smtp.EmailBackend", 0.3
    with socket.create_server(("127.0.0.1", 0)) as hangs:  # it takes the line, and never says a word
        settings.EMAIL_HOST, settings.EMAIL_PORT = hangs.getsockname()
        news.minute()
        assert sorted(Notice.objects.values_list("tries", flat=True)) == [0] * 7 + [1]
        news.minute()
        assert sorted(Notice.objects.values_list("tries", flat=True)) == [0] * 6 + [1] * 2, "the next one has its turn"
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    news.minute(timezone.now() + timedelta(hours=1))
    assert len(mail.outbox) == 8


@pytest.mark.alike
def test_a_question_to_many_waits_for_a_mail_server_that_hangs_once(
    cedar: District, deliver: Deliver, good: bytes, alice: Staff, settings: Settings
) -> None:
    for number in range(4):
        cedar.people.create(name=f"P{number}", email=f"p{number}@cedar.test", role="owner")
    waiting = deliver(good)
    settings.EMAIL_BACKEND, settings.EMAIL_TIMEOUT = "django.core.mail.backends.smtp.EmailBackend", 0.3
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        settings.EMAIL_HOST, settings.EMAIL_PORT = hangs.getsockname()
        asking.ask(waiting, "Is that right?", by=alice)
        assert sorted(Notice.objects.values_list("tries", flat=True)) == [0, 0, 0, 1]
        later = timezone.now() + timedelta(days=3)
        asking.minute(later)
        reminders = Notice.objects.filter(kind="reminder")
        assert sorted(reminders.values_list("tries", flat=True)) == [0, 0, 0, 1]
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    news.minute(later + timedelta(hours=1))
    assert len(mail.outbox) == 8


@pytest.mark.alike
def test_a_mail_that_is_refused_keeps_no_other_one_back(many: list[Notice], settings: Settings) -> None:
    settings.EMAIL_BACKEND = "tests.connections.onboarding.test_news.Choosing"
    news.minute()
    assert sorted(Notice.objects.filter(sent_at=None).values_list("person__name", flat=True)) == ["P0", "P3"]


@pytest.mark.alike
def test_mails_that_go_out_slowly_leave_the_rest_to_the_next_minute(
    many: list[Notice], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EMAIL_BACKEND = "tests.connections.onboarding.test_news.Slow"
    monkeypatch.setattr(news, "PATIENCE", 0.15)
    news.minute()
    assert 1 <= Notice.objects.exclude(sent_at=None).count() <= 2
    assert set(Notice.objects.filter(sent_at=None).values_list("tries", flat=True)) == {0}


class Slow:
    """A mail server that takes its time."""

    def __init__(self, **values: Any) -> None:
        pass

    def send_messages(self, messages: list[Any]) -> int:
        time.sleep(0.1)
        return len(messages)


class Choosing(Slow):
    """A mail server that does not know two of the people."""

    def send_messages(self, messages: list[Any]) -> int:
        (address,) = messages[0].to
        if address.startswith("p0"):
            raise smtplib.SMTPRecipientsRefused({address: (550, b"unknown")})
        if address.startswith("p3"):
            raise smtplib.SMTPDataError(554, b"not to them")
        return 1


class Refusing:
    """A mail server that takes nothing, and says whom it knows."""

    def __init__(self, **values: Any) -> None:
        pass

    def send_messages(self, messages: list[Any]) -> int:
        raise OSError(f"550 {messages[0].to} is unknown")


def test_who_was_withdrawn_meanwhile_is_told_nothing(cedar: District, dana: Person, deliver: Deliver) -> None:
    deliver()
    news.gather(timezone.now())
    dana.end(timezone.now())
    assert mailed() == []
    assert Notice.objects.get().given_up_at
