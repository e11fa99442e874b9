"""No mail lacks a word: whatever its template names is there when it is written."""

from __future__ import annotations

from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings as real_settings
from django.core import mail
from django.test.signals import template_rendered
from django.utils import timezone

from connections.announcing import mailing
from connections.models import Connection
from connections.onboarding import calls, entering, news
from connections.onboarding.models import Availability, Notice, Person, Question
from rosters.models import Delivery, District, Sync

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User as Staff
    from pytest_django import Settings

pytestmark = pytest.mark.django_db

MISSING = "<nothing is called %s>"


@pytest.fixture(autouse=True)
def _what_is_missing_shows(settings: Settings) -> None:
    templates = deepcopy(settings.TEMPLATES)
    templates[0]["OPTIONS"]["string_if_invalid"] = MISSING
    settings.TEMPLATES = templates


@pytest.fixture
def written() -> Iterator[set[str]]:
    """The templates of mails that are used, by their names."""
    used: set[str] = set()

    def note(template: Any, **kwargs: Any) -> None:
        used.add(template.name or "")

    template_rendered.connect(note)
    yield used
    template_rendered.disconnect(note)


@pytest.fixture
def dana(cedar: District) -> Person:
    return cedar.people.create(name="Dana Reyes", email="dana@cedar.test", role="owner")


@pytest.fixture
def delivery(cedar: District) -> Delivery:
    return Delivery.objects.create(district=cedar, sha256="0" * 64, size=1, name="roster.zip", origin="sftp")


@pytest.fixture
def held(cedar: District, delivery: Delivery) -> Sync:
    return Sync.objects.create(district=cedar, delivery=delivery, status="awaiting_review", verdict="A school is gone.")


@pytest.mark.looks
def test_no_mail_names_what_is_not_there(
    cedar: District, dana: Person, delivery: Delivery, held: Sync, rita: Staff, written: set[str]
) -> None:
    now = timezone.now()
    entering.invite(dana, by=rita)
    entering.send_again(dana.email)

    week = {str(day): [["09:00", "12:00"]] for day in range(7)}
    hours = Availability.objects.create(staff=rita, time_zone="America/New_York", weekly=week)
    for start in calls.free(hours, now)[:2]:
        calls.book(dana, start, now)
    calls.cancel(dana, now)

    question = Question.objects.create(delivery=delivery, words="Is that right?", asked_by=rita, asked_at=now)
    silent = Connection.objects.create(district=cedar, kind="sftp", state="active", late_since=now)
    heard = Connection.objects.create(district=cedar, kind="rest", state="active", last_success_at=now)
    about: dict[str, list[dict[str, Any]]] = {
        Notice.Kind.REFUSED: [{"sync": held}],
        Notice.Kind.DECLINED: [{"sync": held}],
        Notice.Kind.LATE: [{"connection": silent}, {"connection": heard}],
        Notice.Kind.STOPPED: [{"connection": heard}],
        Notice.Kind.FINE: [{"connection": heard}],
        Notice.Kind.QUESTION: [{"question": question}],
        Notice.Kind.REMINDER: [{"question": question}],
    }
    of_calls = set(Notice.objects.filter(sent_at__isnull=False).values_list("kind", flat=True))
    assert {*about, *of_calls} == set(Notice.Kind.values)
    for kind, things in about.items():
        for number, thing in enumerate(things):
            notice = Notice.objects.create(person=dana, kind=kind, about=f"{kind}:{number}", **thing)
            assert news.send(notice, timezone.now())

    District.objects.update(owner=rita)
    for letter in (
        mailing.morning(rita, now, now - timedelta(days=1)),
        mailing.at_once(rita, now - timedelta(days=1), timezone.now()),
    ):
        assert letter is not None
        mail.send_mail(letter.subject, letter.text, None, [rita.email])

    known = Path(real_settings.BASE_DIR / "templates" / "emails").glob("*.txt")
    assert {name for name in written if name.startswith("emails/")} == {f"emails/{file.name}" for file in known}
    for message in mail.outbox:
        assert MISSING.partition("%")[0] not in f"{message.subject}\n{message.body}", message.body


@pytest.mark.looks
def test_the_mail_about_a_question_ends_with_where_it_stands(dana: Person, delivery: Delivery, rita: Staff) -> None:
    question = Question.objects.create(delivery=delivery, words="Is that right?", asked_by=rita)
    for notice in news.about_question(question, [dana], timezone.now()):
        assert news.send(notice, timezone.now())
    assert str(mail.outbox[0].body).rstrip().endswith(f"{real_settings.PORTAL_URL}/district/")
