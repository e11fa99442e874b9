"""What the district is told of a delivery: the sign and the word that staff see, and a next step of its own; how far it
has come, and by which way. And where a question to it stands, for staff."""

from __future__ import annotations

from dataclasses import dataclass, replace

from django.utils import timezone

from connections.onboarding.models import Question
from connections.schedules import hour_in_words
from rosters.admin.districts import settled
from rosters.explaining import counted
from rosters.models import Delivery, Sync
from rosters.words import PHASE_WORDS, SETTLED, Words, sync_words

S = Sync.Status
Answer = Question.Answer

_LOOKED_OVER = "Nothing to do: somebody at our end looks it over before it goes live."

_STEPS: dict[str, str] = {
    Sync.Status.READY: _LOOKED_OVER,
    Sync.Status.AWAITING_REVIEW: _LOOKED_OVER,
    Sync.Status.REJECTED: "Correct the first cause in your system, check the file here, and send it again.",
    Sync.Status.APPLIED: "Nothing to do.",
    Sync.Status.DECLINED: "It did not go live. Read why, and send a corrected file.",
    Sync.Status.SUPERSEDED: "Nothing to do: a newer file took its place.",
    Sync.Status.FAILED: "Nothing to do: the fault is ours, and somebody looks into it. Your file is safe.",
}


def outcome(sync: Sync, question: Question | None = None, *, newer_came: bool | None = None) -> Words:
    """What became of a delivery, for the people who sent it. `question`: ours about it, if there is one; `newer_came`:
    whether a newer one has come of the same schools, which is asked here of the few that it matters to."""
    newer_came = bool(settled([sync])) if newer_came is None else newer_came
    words = sync_words(sync, newer_came=newer_came)
    if sync.undone_at:
        return replace(words, next_step="Nothing to do: it was live, and we have taken it back.")
    if newer_came and sync.status in SETTLED:
        return replace(words, next_step="Nothing to do: a newer file has come since.")
    if question and sync.status in Sync.WAITING:
        if not question.answer:
            return replace(words, next_step="Answer our question, please: it waits for that.", owner="district")
        if question.answer == Answer.WRONG:
            step = "You say that something is wrong: send a corrected file. It takes the place of this one."
            return replace(words, next_step=step, owner="district")
    return replace(words, next_step=_STEPS.get(sync.status, words.next_step))


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a delivery's way to the live roster. `state`: ok, now, failed, warning; skipped where it has not come
    so far."""

    state: str
    words: str


def road(sync: Sync) -> list[Stage]:
    """How far a delivery has come, from received to live."""
    return [Stage("ok", "Received, and safe with us."), _checked(sync), _looked_at(sync), _live(sync)]


def _checked(sync: Sync) -> Stage:
    if sync.status in (S.RECEIVED, S.PREPARING):
        return Stage("now", f"{PHASE_WORDS.get(sync.phase) if sync.phase else 'Waits to be checked'}.")
    if sync.status == S.REJECTED:
        return Stage("failed", "Checked: it cannot be used as it is.")
    if sync.status == S.FAILED:
        return Stage("failed", "We could not finish with it. The fault is ours.")
    if sync.status == S.SUPERSEDED and not sync.plan_digest:
        return Stage("skipped", "Not checked: a newer file came.")
    errors, warnings = (_count(n, word) for n, word in ((sync.errors, "error"), (sync.warnings, "warning")))
    return Stage("warning" if sync.errors else "ok", f"Checked: {errors}, {warnings}.")


def _count(number: int, word: str) -> str:
    return counted(number, word) if number else f"no {word}s"


def _looked_at(sync: Sync) -> Stage:
    if sync.status in (S.READY, S.AWAITING_REVIEW):
        return Stage("now", "Waits for somebody at our end to look at it.")
    if sync.status == S.DECLINED:
        return Stage("failed", "Looked at by somebody at our end, and not let through.")
    if sync.status == S.UNCHANGED:
        return Stage("ok", "Nothing to look at: it says what is live already.")
    if sync.decided_automatically:
        return Stage("ok", "Nothing unusual in it, so nobody had to look at it.")
    if sync.decided_at:
        return Stage("ok", "Looked at by somebody at our end, and let through.")
    return Stage("skipped", "Looked at by somebody at our end.")


def _live(sync: Sync) -> Stage:
    if sync.undone_at:
        return Stage("warning", "It was live; we have taken it back since.")
    if sync.waits_for_its_hour and sync.go_live_at:
        local = timezone.localtime(sync.go_live_at)
        return Stage("now", f"Goes live on {local:%A}, {local.day} {local:%B}, {hour_in_words(local)}.")
    if sync.status in (S.APPROVED, S.APPLYING):
        return Stage("now", "Going live.")
    live = sync.status in (S.APPLIED, S.UNCHANGED)
    return Stage("ok" if live else "skipped", "Live." if live else "Live in the products.")


def way_in(delivery: Delivery | None, sender: str = "") -> str:
    """By which way a delivery came, and from whom."""
    origin = delivery.origin if delivery else ""
    if origin == Delivery.Origin.DISTRICT:
        return f"sent by {sender}" if sender else "sent by you"
    return {Delivery.Origin.SFTP: "by SFTP", Delivery.Origin.REST: "by the API"}.get(
        Delivery.Origin(origin), "by our staff"
    )


def question_words(question: Question, *, waits: bool = True) -> Words:
    """Where a question stands. `waits`: what it is about still waits for a decision."""
    if question.taken_back_at:
        return Words("ended", "Taken back", "", "nobody")
    if not question.answer and not waits:
        return Words("ended", "Decided without an answer", "", "nobody")
    if not question.answer:
        return Words("running", "No answer yet", "", "district")
    sign = {Answer.RIGHT: "good", Answer.WRONG: "refused", Answer.LATER: "review"}[Answer(question.answer)]
    return Words(sign, question.get_answer_display(), "", "staff")
