"""What other pages show of connections: a district's ways in, and what is on its way at this moment."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.html import format_html

from connections.arriving import arriving as what_arrives
from connections.launching import checklists
from connections.models import Connection, latest_attempts
from connections.words import connection_words, trouble_among
from rosters.models import District
from rosters.templatetags.roster_pages import status

register = template.Library()


@register.inclusion_tag("admin/connections/of_district.html", takes_context=True)
def connections_of(context: dict[str, Any], district: District) -> dict[str, Any]:
    """The panel of a district's connections: how each is, when it runs next, what came last."""
    user = context["request"].user
    found = list(district.connections.order_by("pk")) if user.has_perm("connections.view_connection") else []
    latest = latest_attempts(found)
    return {
        "district": district,
        "rows": [
            {"connection": each, "words": connection_words(each, latest.get(each.pk)), "latest": latest.get(each.pk)}
            for each in found
        ],
        "checklists": checklists(district) if found or not district.version else [],
        "may_see": user.has_perm("connections.view_connection"),
        "may_add": user.has_perm("connections.add_connection"),
    }


@register.simple_tag(takes_context=True)
def trouble_of(context: dict[str, Any], district: District) -> str:
    """Beside how a district stands: what keeps its rosters from coming, the gravest of it."""
    user = context["request"].user
    if district.leaving_since or not user.has_perm("connections.view_connection"):
        return ""
    found = list(district.connections.exclude(state=Connection.State.SETUP).order_by("pk"))
    words = trouble_among(found, latest_attempts(found))
    return format_html(" {}", status(words)) if words else ""


@register.inclusion_tag("admin/connections/arriving.html", takes_context=True)
def arriving(context: dict[str, Any], district: District | None = None) -> dict[str, Any]:
    """What is being fetched at this moment, of one district or of all; follows itself to its end."""
    if not context["request"].user.has_perm("connections.view_connection"):
        return {}
    return what_arrives(district.pk if district else None)
