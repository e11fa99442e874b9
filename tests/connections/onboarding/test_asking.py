"""Staff ask a district whether what they see is right, and the district answers where it is at home."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.core import mail
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from connections import tasks
from connections.announcing import mailing
from connections.onboarding import asking, news
from connections.onboarding.models import Person, Question
from connections.onboarding.receipts import key_of
from rosters import making, syncs
from rosters.models import AuditEvent, Delivery, District, Sync
from tests.journeys.trip import Trip, first_day, made_once

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

    from tests.conftest import Stands

pytestmark = pytest.mark.django_db

ComeIn = Callable[[Person], Client]
DAY = timedelta(days=1)


def _built(trip: Trip) -> None:
    trip.go(trip.send(first_day()))
    trip.send(making.without_school(first_day(), 0))


stands = made_once(_built)


@pytest.fixture
def cedar(stands: Stands, data_dir: Path) -> District:
    """A district whose second file lacks a school, and waits."""
    return stands(data_dir).district


@pytest.fixture
def held(cedar: District) -> Sync:
    return Sync.objects.select_related("district", "delivery").get(status="awaiting_review")


def staffs(person: Staff) -> Client:
    browser = Client()
    browser.force_login(person)
    return browser


def shown(browser: Client, at: str) -> str:
    return str(html.unescape(browser.get(at).content.decode()))


def page_of(sync: Sync) -> str:
    return f"/admin/rosters/sync/{sync.pk}/change/"


def test_the_question_is_proposed_asked_answered_and_read_where_it_is_decided(
    held: Sync, cedar: District, dana: Person, sam: Person, come_in: ComeIn, rita: Staff
) -> None:
    browser, at_home = staffs(rita), come_in(dana)
    mail.outbox.clear()
    proposed = re.search(r"<textarea[^>]*>(.*?)</textarea>", shown(browser, page_of(held)), re.S)
    hold = held.holds.get(code="SCHOOL_GONE")
    assert proposed is not None and proposed[1] == f"{hold.saw} Is that right?"
    assert "Dana Reyes reads it" in shown(browser, page_of(held)), "who answers for it is asked, not who only sends"
    words = "We see one school less than last week. Is that right?"
    answer = browser.post(f"/admin/onboarding/question/ask/{held.pk}/", {"words": words}, follow=True)
    assert "Asked. The answer will stand here" in answer.content.decode()
    assert "No answer yet" in shown(browser, page_of(held))
    assert "The district was asked" in shown(browser, "/admin/")

    (message,) = mail.outbox
    assert message.to == ["dana@cedar.test"] and "school" not in message.body, "no mail says what is asked"
    secret = re.search(r"/district/enter/#(\S+)", str(message.body))
    assert secret is not None
    phone = Client()
    assert phone.post("/district/enter/", {"secret": secret[1]}).status_code == 302
    page = shown(phone, "/district/")
    assert words in page and "We have a question" in page and "Answer our question" in page
    assert words in shown(at_home, "/district/"), "who is let in already needs no link"
    address = re.search(r'action="(/district/sent/[^"]+/answer/)"', page)
    assert address is not None

    mail.outbox.clear()
    given = phone.post(address[1], {"answer": "wrong", "note": "The export stopped half way."}, follow=True)
    assert "No, something is wrong" in given.content.decode() and "What you answered" in given.content.decode()
    home = shown(at_home, "/district/")
    assert "We have a question" not in home and "send a corrected file. It takes the place of this one" in home
    seen = shown(browser, page_of(held))
    assert "No, something is wrong. “The export stopped half way.”" in seen and "Dana Reyes" in seen
    (message,) = mail.outbox
    assert message.to == ["rita@portal.test"] and page_of(held) in message.body and "export" not in message.body
    assert at_home.post(address[1], {"answer": "right"}, follow=True).status_code == 200
    assert Question.objects.get().answer == "right", "as long as it waits, the answer may change"
    told = AuditEvent.objects.filter(sync=held, action__startswith="question.").order_by("pk")
    assert list(told.values_list("action", flat=True)) == ["question.asked"] + 2 * ["question.answered"]
    assert "school" not in str(list(told.values("before", "after"))) and "export" not in str(list(told.values("after")))
    held.refresh_from_db()
    assert held.status == "awaiting_review", "an answer decides nothing"

    syncs.decline(held, by=rita, reason="Send it again.")
    late = at_home.post(address[1], {"answer": "later"}, follow=True)
    assert "Your answer was not taken" in late.content.decode()
    assert Question.objects.get().answer == "right", "what is decided is answered no more"
    assert "We have a question" not in shown(at_home, "/district/")


def test_nobody_is_asked_twice_at_once_and_what_was_asked_can_be_taken_back(
    held: Sync, cedar: District, dana: Person, come_in: ComeIn, rita: Staff
) -> None:
    asking.ask(held, "Is a school gone?", by=rita)
    with pytest.raises(asking.CannotAsk, match="no answer yet"):
        asking.ask(held, "And the other one?", by=rita)
    assert Question.objects.count() == 1
    browser = staffs(rita)
    at = f"/admin/onboarding/question/take-back/{held.pk}/"
    taken = browser.post(at, follow=True)
    assert "Taken back: the district is asked no more." in taken.content.decode()
    assert "We have a question" not in shown(come_in(dana), "/district/")
    again = browser.post(at, follow=True)
    assert "nothing was changed" in again.content.decode()
    asking.ask(held, "And the other one?", by=rita)
    assert [q.words for q in Question.objects.filter(taken_back_at=None)] == ["And the other one?"]


def test_the_database_knows_what_belongs_together(held: Sync, dana: Person, rita: Staff) -> None:
    question = asking.ask(held, "Is a school gone?", by=rita)
    for wrong in (
        {"answer": "right"},
        {"answered_at": timezone.now()},
        {"answer": "right", "answered_at": timezone.now(), "taken_back_at": timezone.now()},
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            Question.objects.filter(pk=question.pk).update(**wrong)
    assert Question.objects.filter(pk=question.pk).update(taken_back_at=timezone.now()) == 1
    assert not question.answer_with("right", "", dana, timezone.now()), "taken back before the answer came"


def test_where_nobody_can_be_asked_or_nothing_waits_it_is_said(held: Sync, cedar: District, rita: Staff) -> None:
    with pytest.raises(asking.CannotAsk, match="Nobody at the district can come in yet"):
        asking.ask(held, "Is a school gone?", by=rita)
    assert "be asked. <a href" in shown(staffs(rita), page_of(held))
    cedar.people.create(name="Sam Okafor", email="sam@cedar.test", role="sender")
    assert [person.name for person in news.whom(cedar, timezone.now())] == ["Sam Okafor"], "better than nobody"
    live = Sync.objects.select_related("district", "delivery").get(status="applied")
    with pytest.raises(asking.CannotAsk, match="nothing to ask about"):
        asking.ask(live, "Is a school gone?", by=rita)
    refused = staffs(rita).post(f"/admin/onboarding/question/ask/{held.pk}/", {"words": " "}, follow=True)
    assert "Nothing was asked" in refused.content.decode()
    assert not Question.objects.exists()


def test_who_may_only_look_asks_nothing(held: Sync, dana: Person, vera: Staff, rita: Staff) -> None:
    browser = staffs(vera)
    assert "Ask the district whether it is right" not in shown(browser, page_of(held))
    assert browser.post(f"/admin/onboarding/question/ask/{held.pk}/", {"words": "x"}).status_code == 403
    assert browser.post(f"/admin/onboarding/question/take-back/{held.pk}/").status_code == 403
    question = asking.ask(held, "Is a school gone?", by=rita)
    assert "Is a school gone?" in shown(browser, page_of(held))
    assert "Is a school gone?" in shown(browser, "/admin/onboarding/question/?answer=none")
    assert browser.get("/admin/onboarding/question/nonsense/change/").status_code == 404
    led = browser.get(f"/admin/onboarding/question/{question.pk}/change/")
    assert led.headers["Location"] == page_of(held) + "#question"


def test_silence_is_reminded_of_once_and_told_in_the_morning(
    held: Sync, cedar: District, dana: Person, come_in: ComeIn, rita: Staff
) -> None:
    now = timezone.now()
    District.objects.update(owner=rita)
    asking.ask(held, "Is a school gone?", by=rita, now=now)
    letter = mailing.morning(rita, now, now - DAY)
    assert letter is not None and "the district was asked: no answer yet" in letter.text
    mail.outbox.clear()
    asking.minute(now + DAY)
    assert not mail.outbox
    for _ in range(2):
        asking.minute(now + 3 * DAY)
    (message,) = mail.outbox
    assert "we asked you two days ago" in message.body and "school" not in message.body
    syncs.decline(held, by=rita, reason="No word from them.")
    receipt = shown(come_in(dana), f"/district/sent/{key_of(held)}/")
    assert "What we asked" in receipt and "We have a question" not in receipt
    mail.outbox.clear()
    Question.objects.update(reminded_at=None)
    asking.minute(now + 4 * DAY)
    assert not mail.outbox, "nobody is reminded of what is decided"


def test_a_plan_that_is_made_anew_keeps_its_question_and_a_newer_file_has_none(
    held: Sync, cedar: District, dana: Person, come_in: ComeIn, rita: Staff, stands: Stands, data_dir: Path
) -> None:
    asking.ask(held, "Is a school gone?", by=rita)
    syncs.retry(held, by=rita)
    again = syncs.prepare(held.pk)
    assert again is not None and Question.about(again) is not None
    assert "We have a question" in shown(come_in(dana), "/district/")
    newer = stands(data_dir).send(making.without_school(first_day(), 1))
    assert newer.status == "awaiting_review" and Question.about(newer) is None
    assert "We have a question" not in shown(come_in(dana), "/district/")


def test_words_go_with_the_history(held: Sync, dana: Person, rita: Staff) -> None:
    question = asking.ask(held, "Is a school gone?", by=rita)
    question.answer_with("wrong", "Half of it is missing.", dana, timezone.now())
    tasks.minute()
    assert Question.objects.get().note
    Delivery.objects.filter(syncs=held).update(forgotten_at=timezone.now())
    tasks.minute()
    assert (Question.objects.get().words, Question.objects.get().note) == ("", "")


def test_a_question_about_what_is_decided_waits_for_no_answer_any_more(held: Sync, dana: Person, rita: Staff) -> None:
    asking.ask(held, "One school is missing. Is that right?", by=rita)
    desk, at = staffs(rita), "/admin/onboarding/question/"

    def listed(answer: str) -> bool:
        return "Cedar Grove</a>" in shown(desk, f"{at}?answer={answer}")

    assert listed("none") and not listed("decided")
    syncs.decline(held, by=rita, reason="They called.")
    assert not listed("none") and listed("decided")
    for page in (at, f"/admin/rosters/sync/{held.pk}/change/"):
        assert "Decided without an answer" in shown(desk, page).split("<main")[-1]
