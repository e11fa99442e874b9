"""The district's home page: are we fine, what is expected next, what is needed from us, and whom to call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from connections.models import Connection, latest_attempts
from connections.onboarding import asking, findings
from connections.onboarding.entering import for_people
from connections.onboarding.models import Call, Person, Question
from connections.onboarding.receipts import key_of
from connections.onboarding.words import outcome
from connections.schedules import sentence
from connections.words import trouble_among
from rosters.explaining import counted
from rosters.models import District, Sync
from rosters.words import Words, district_words, not_kept_words

SHOWN = 5
_ASKED = "We have a question about a roster of yours, which waits for your answer."


@dataclass(frozen=True, slots=True)
class Step:
    """A step on the way from the first call to launch. `whose`: "district" or "staff"; `link` "" where there is no page
    to take it on."""

    words: str
    done: bool
    next_step: str
    whose: str
    link: str = ""


@require_GET
@for_people
def home(request: HttpRequest, person: Person) -> HttpResponse:
    district = person.district
    connections = list(district.connections.order_by("pk"))
    syncs = list(
        Sync.objects.filter(district=district)
        .last_of_deliveries()
        .select_related("delivery__upload")
        .order_by("-received_at")[:SHOWN]
    )
    way = steps(district, connections, syncs, answers_for_it=person.answers_for_it)
    questions = asking.latest_questions(syncs)
    standing = standing_of(district, connections, syncs, questions)
    asked = asking.asked_of(district)
    wrong = findings.standing(district, timezone.now())
    return render(
        request,
        "onboarding/home.html",
        {
            "standing": standing,
            "sentence": _ASKED if asked else sentence_of(district, connections, standing),
            "questions": [(question, sync, key_of(sync)) for question, sync in asked],
            "answers": Question.Answer.choices,
            "steps": way,
            "next": next((step for step in way if not step.done), None),
            "rows": [
                {"sync": sync, "key": key_of(sync), "words": outcome(sync, questions.get(sync.delivery_id or 0))}
                for sync in syncs
            ],
            "wrong": wrong,
            "wrong_key": key_of(wrong.judged) if wrong else "",
            "expected": expected(connections),
            "nothing_expected": nothing_expected(connections),
            "owner": district.owner,
            "agreed": agreed(district),
            "not_kept": not_kept_words(district.not_kept),
        },
    )


def steps(
    district: District, connections: list[Connection], syncs: list[Sync], *, answers_for_it: bool = False
) -> list[Step]:
    """From the first call to launch, in order; worked out from what is there, nothing is ticked off by hand."""
    fine = any(sync.delivery and not sync.errors and sync.status not in Sync.RUNNING for sync in syncs)
    arrives = any(one.state != Connection.State.SETUP for one in connections)
    live = district.version > 0
    call = Call.latest_of(district)
    talked = call is not None and call.ends_at < timezone.now()
    ways = reverse("onboarding:ways") if answers_for_it else ""
    first = [
        Step(
            "We have talked." if talked or call is None else f"A call is booked for {_day(district, call.starts_at)}.",
            call is not None,
            "Book the first call",
            "district",
            reverse("onboarding:call"),
        )
    ]
    return (first if call or not live else []) + [
        Step(
            "A file of yours was checked and has no errors.",
            fine or live,
            "Check a file",
            "district",
            reverse("onboarding:check"),
        ),
        Step(
            "A roster of yours was sent.", bool(syncs), "Send your first file", "district", reverse("onboarding:send")
        ),
        Step("A roster of yours is live.", live, "We look it over before it goes live.", "staff"),
        Step(
            "Your roster arrives by itself at agreed times.",
            arrives,
            "Enter how we reach your system" if ways else "We set up SFTP or the API of your system together.",
            "district" if ways else "staff",
            ways,
        ),
        *_launch(district, live),
    ]


def _launch(district: District, live: bool) -> list[Step]:
    """The day on which the products open, if one was agreed."""
    call = agreed(district)
    if call is None or call.launch_on is None:
        return []
    day = f"{call.launch_on:%A}, {call.launch_on.day} {call.launch_on:%B %Y}"
    done = live and call.launch_on <= district.local_date(timezone.now())
    return [Step(f"Launch on {day}.", done, f"We launch on {day}.", "staff")]


def agreed(district: District) -> Call | None:
    """The latest call of which somebody wrote down what was agreed for the district to see."""
    held = Call.objects.filter(district=district, status=Call.Status.HELD, outcome_at__isnull=False)
    return held.exclude(decisions="", schedule_words="", launch_on=None).first()


def standing_of(
    district: District,
    connections: list[Connection],
    syncs: list[Sync],
    questions: Mapping[int, Question] = MappingProxyType({}),
) -> Words:
    """The same status that staff see, with the district's own next step. `questions`: ours, by the id of a delivery."""
    counted = [sync for sync in syncs if sync.status != Sync.Status.SUPERSEDED]
    latest = latest_attempts(connections)
    trouble = trouble_among(connections, latest)
    if trouble is not None and (not counted or counted[0].status in (Sync.Status.APPLIED, Sync.Status.UNCHANGED)):
        return trouble
    words = district_words(district.version, counted[0] if counted else None)
    if not counted or words.owner == "nobody":
        return words
    told = outcome(counted[0], questions.get(counted[0].delivery_id or 0))
    return replace(words, next_step=told.next_step, owner=told.owner)


def sentence_of(district: District, connections: list[Connection], standing: Words) -> str:
    late = min((one.late_since for one in connections if one.late_since), default=None)
    if standing.sign == "late" and late is not None:
        last = max((one.last_success_at for one in connections if one.last_success_at), default=None)
        since = f"Nothing was received since {_day(district, last)}" if last else "Nothing was received yet"
        return f"{since}, though a delivery was expected. Does your export still run?"
    if standing.sign == "plug":
        step = "Whoever answers for your district sees under Connection what is wrong, step by step."
        return f"We cannot fetch your roster. {step}"
    if standing.sign == "paused":
        return _pause_of(connections)
    if standing.sign == "setup":
        return "We are getting ready together. The next step stands below."
    return f"{standing.word}. {standing.next_step}"


def nothing_expected(connections: list[Connection]) -> str:
    """Why nothing is expected, where that is so."""
    states = {one.state for one in connections if not one.gave_up}
    if Connection.State.ACTIVE in states:
        return "No time is agreed: it is fetched when somebody asks."
    if Connection.State.PAUSED in states:
        return _pause_of(connections)
    if any(one.gave_up for one in connections):
        return "Nothing, until the connection works again."
    return "Nothing comes by itself: files are sent by hand."


def _pause_of(connections: list[Connection]) -> str:
    paused = [one for one in connections if one.state == Connection.State.PAUSED and not one.gave_up]
    until = max((one.paused_until for one in paused if one.paused_until), default=None)
    if until is None:
        return "Nothing is fetched for the moment. Whoever looks after your district at our end knows why."
    return f"Nothing is fetched until {until.day} {until:%B}; then it goes on by itself. What is live stays."


def _day(district: District, moment: datetime) -> str:
    local = moment.astimezone(district.zone)
    recent = abs(timezone.now() - moment) < timedelta(days=6)
    return f"{local:%A}" if recent else f"{local.day} {local:%B}"


def expected(connections: list[Connection]) -> list[dict[str, Any]]:
    """What comes by itself next: when, and how often, by the district's clock."""
    found = []
    for one in connections:
        timetable = one.timetable()
        if one.state == Connection.State.ACTIVE and one.next_due_at and timetable:
            words = f"{sentence(timetable, one.district.local_date(timezone.now()))}."
            if later := int(one.delay.total_seconds() // 60):
                words += f" It starts {counted(later, 'minute')} after its time."
            found.append({"kind": one.get_kind_display(), "at": one.next_due_at, "words": words})
    return found
