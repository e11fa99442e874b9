"""What other pages show of the district's side: its people, on the staff's page of a district."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils import timezone

from rosters.models import District

register = template.Library()


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
        "may_add": user.has_perm("onboarding.add_person"),
        "may_change": user.has_perm("onboarding.change_person"),
        "calls": district.calls.select_related("person", "staff")[:3] if user.has_perm("onboarding.view_call") else [],
        "csrf_token": context.get("csrf_token"),
    }
