"""What other pages show of the district's side: its people on the page of a district, its word on that of a sync."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.safestring import SafeString

from connections.onboarding import asking, news
from connections.onboarding.models import Question, StandingLink
from connections.onboarding.words import question_words
from connections.schedules import hour_in_words
from rosters.explaining import counted
from rosters.models import District, Sync
from rosters.templatetags.roster_pages import as_time, time_since

register = template.Library()


@register.filter(expects_localtime=True)
def hour_there(moment: datetime) -> str:
    """The time of day as the district's people read it: "2:04 AM Central"."""
    return hour_in_words(moment)


@register.filter(expects_localtime=True)
def ago_there(moment: datetime | None) -> SafeString | str:
    """Relative first, as `ago` for staff; the exact moment in the manner of the district's people."""
    if moment is None:
        return "never"
    passed = time_since(moment)
    exact = f"{moment:%a} {moment.day} {moment:%b %Y}, {hour_in_words(moment)}"
    return as_time(moment, f"{passed} ago" if passed else "just now", exact)


@register.inclusion_tag("admin/onboarding/of_district.html", takes_context=True)
def people_of(context: dict[str, Any], district: District) -> dict[str, Any]:
    """The panel of a district's people: who may come in, and when they were here last."""
    user = context["request"].user
    may_see = user.has_perm("onboarding.view_person")
    today = district.local_date(timezone.now())
    people = district.people.filter(ended_at=None).select_related("deputy_for") if may_see else []
    return {
        "district": district,
        "rows": [{"person": each, "welcome": each.welcome(today)} for each in people],
        "may_see": may_see,
        "link": StandingLink.objects.filter(district=district, ended_at=None).select_related("made_by").first(),
        "may_add": user.has_perm("onboarding.add_person"),
        "may_change": user.has_perm("onboarding.change_person"),
        "calls": district.calls.select_related("person", "staff")[:3] if user.has_perm("onboarding.view_call") else [],
        "csrf_token": context.get("csrf_token"),
    }


@register.inclusion_tag("admin/onboarding/whom_to_ask.html", takes_context=True)
def whom_to_ask(context: dict[str, Any], district: District) -> dict[str, Any]:
    """Who answers for the district, to be written to; or the way to invite somebody."""
    user = context["request"].user
    may_see = user.has_perm("onboarding.view_person")
    return {
        "district": district,
        "people": news.whom(district, timezone.now()) if may_see else [],
        "subject": f"The rosters of {district}",
        "may_see": may_see,
        "may_add": user.has_perm("onboarding.add_person"),
    }


@register.inclusion_tag("admin/onboarding/question.html", takes_context=True)
def question_about(context: dict[str, Any], sync: Sync) -> dict[str, Any]:
    """The panel of what the district was asked about a sync and what it answered, and the way to ask it."""
    user, now = context["request"].user, timezone.now()
    may_see = user.has_perm("onboarding.view_question")
    question = Question.about(sync) if may_see else None
    may_ask = user.has_perm("onboarding.add_question") and sync.delivery_id and sync.status in Sync.WAITING
    asked = news.whom(sync.district, now) if may_ask and (question is None or question.answer) else []
    return {
        "sync": sync,
        "question": question,
        "words": question_words(question, waits=sync.status in Sync.WAITING) if question else None,
        "undelivered": ", ".join(question.unsent_to()) if question else "",
        "may_ask": may_ask,
        "whom": asked[0].name + (f" and {counted(len(asked) - 1, 'other')}" if len(asked) > 1 else "") if asked else "",
        "one": len(asked) == 1,
        "proposed": asking.proposed(sync) if asked else "",
        "csrf_token": context.get("csrf_token"),
    }
