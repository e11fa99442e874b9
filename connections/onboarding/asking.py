"""Is what we see right? A question to a district about a delivery that waits: asked by our staff where they decide,
answered on the district's own pages, before anybody has guessed.

The mail about it leads to the question and says nothing of it: a mail holds no roster value. The answer stands beside
the sync and never decides it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from django import forms
from django.conf import settings
from django.contrib import messages
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from connections.onboarding import news, receipts
from connections.onboarding.entering import audit, for_people, mail_to
from connections.onboarding.models import Person, Question
from connections.onboarding.news import whom
from rosters.models import AuditEvent, District, Sync

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.contrib.auth.models import User as Staff

#: Who has not answered for so long is reminded, once.
REMINDED_AFTER: Final = timedelta(days=2)
#: So many of the unusual things of a sync are named by the question that we propose.
_NAMED: Final = 3


class CannotAsk(Exception):
    """Nobody can be asked, or about this nothing; the message says why and what to do."""


# ------------------------------------------------------------------------------------------------------------ our staff


def proposed(sync: Sync) -> str:
    """A question in the words of what makes the sync wait: counts and schools, no people."""
    seen = [hold.saw for hold in sync.holds.all() if not hold.explained][:_NAMED]
    return " ".join([*(seen or [sync.verdict]), "Is that right?"])


def latest_questions(syncs: Iterable[Sync]) -> dict[int, Question]:
    """`Question.about` of several, by the id of the delivery."""
    deliveries = [sync.delivery_id for sync in syncs if sync.delivery_id]
    found = Question.objects.filter(delivery__in=deliveries, taken_back_at=None).order_by("asked_at", "pk")
    return {question.delivery_id: question for question in found}


def ask(sync: Sync, words: str, *, by: Staff, now: datetime | None = None) -> Question:
    """Ask the district, and mail each of those who are asked a link of their own. Raises CannotAsk."""
    moment = now or timezone.now()
    if sync.delivery is None or sync.status not in Sync.WAITING or sync.dry_run:
        raise CannotAsk("This waits for nobody any more: there is nothing to ask about.")
    asked = whom(sync.district, moment)
    if not asked:
        raise CannotAsk("Nobody at the district can come in yet. Invite a person on the district's page, then ask.")
    try:
        with transaction.atomic():
            question = Question.objects.create(delivery=sync.delivery, words=words, asked_by=by, asked_at=moment)
            _note("question.asked", sync, moment, by=by, people=len(asked))
    except IntegrityError:
        raise CannotAsk(
            "There is a question already that has no answer yet. Take it back to ask another one."
        ) from None
    news.send_in_turn(news.about_question(question, asked, moment), moment)
    return question


def take_back(question: Question, sync: Sync, *, by: Staff, now: datetime | None = None) -> bool:
    """Ask no more; False if there was an answer by then."""
    moment = now or timezone.now()
    with transaction.atomic():
        taken = question.take_back(moment)
        if taken:
            _note("question.taken_back", sync, moment, by=by)
    return taken


# --------------------------------------------------------------------------------------------------------- the district


class AnswerForm(forms.Form):
    answer = forms.ChoiceField(choices=Question.Answer.choices)
    note = forms.CharField(max_length=500, required=False, strip=True)


def waits() -> Exists:
    """Of questions: whether what they are about still waits for a decision."""
    return Exists(Sync.objects.filter(delivery=OuterRef("delivery"), status__in=Sync.WAITING))


def asked_of(district: District) -> list[tuple[Question, Sync]]:
    """What the district is asked and has not answered, with what it is about, the oldest first."""
    waiting = Sync.objects.filter(district=district, status__in=Sync.WAITING)
    about = {sync.delivery_id: sync for sync in waiting.select_related("delivery__upload")}
    found = Question.objects.filter(delivery__in=[pk for pk in about if pk], answered_at=None, taken_back_at=None)
    return [(question, about[question.delivery_id]) for question in found.order_by("asked_at", "pk")]


@require_POST
@for_people
def answer(request: HttpRequest, person: Person, key: str) -> HttpResponse:
    """Take a person's answer; as long as the delivery waits it may be changed. What comes too late is not taken."""
    sync = receipts.sync_of(person, key)
    question = Question.about(sync)
    if question is None:
        raise Http404
    form = AnswerForm(request.POST)
    page = HttpResponseRedirect(reverse("onboarding:receipt", args=[key]))
    too_late = "Your answer was not taken: by then it was decided, or asked no more."
    if not form.is_valid() or sync.status not in Sync.WAITING:
        messages.error(request, too_late)
        return page
    now = timezone.now()
    with transaction.atomic():
        if not question.answer_with(form.cleaned_data["answer"], form.cleaned_data["note"], person, now):
            messages.error(request, too_late)
            return page
        audit("question.answered", person, now, sync=sync, answer=question.answer)
    if question.asked_by and question.asked_by.email and question.asked_by.is_active:
        url = f"{settings.PORTAL_URL}{reverse('admin:rosters_sync_change', args=[sync.pk])}"
        told = f"{sync.district.name} answered your question about a roster that waits:\n\n{url}\n"
        mail_to(question.asked_by.email, f"{sync.district.name} answered", told)
    return page


# --------------------------------------------------------------------------------------------------------- every minute


def minute(now: datetime | None = None) -> None:
    """Remind who has not answered, once; and keep no words about a delivery whose history is deleted."""
    moment = now or timezone.now()
    due = Question.objects.filter(
        waits(), answered_at=None, taken_back_at=None, reminded_at=None, asked_at__lt=moment - REMINDED_AFTER
    )
    reminders = [
        notice
        for question in due.select_related("delivery__district", "asked_by")
        if question.remind(moment)
        for notice in news.about_question(question, whom(question.delivery.district, moment), moment)
    ]
    news.send_in_turn(reminders, moment)
    Question.objects.filter(delivery__forgotten_at__isnull=False).exclude(words="").update(words="", note="")


def _note(action: str, sync: Sync, now: datetime, *, by: Staff, **after: int) -> None:
    AuditEvent.objects.create(
        at=now, by=by, action=action, district=sync.district, sync=sync, subject=f"sync {sync.pk}", after=after
    )
