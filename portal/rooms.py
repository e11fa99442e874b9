"""The links at the top of every page of staff: the lists that somebody may see, in the words of the trade."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.http import HttpRequest
from django.urls import reverse


@dataclass(frozen=True, slots=True)
class Link:
    """A list: what it is called, where it is, and whether this page belongs to it."""

    name: str
    url: str
    is_here: bool


#: Its pages are for superusers only, whatever permissions somebody has (`portal.admin`).
_QUEUE: Final = "django_q"

#: A room's name, and the lists that stand beside each other in it: name, app and model.
_ROOMS: Final = (
    (
        "Districts",
        (
            ("Districts", "rosters", "district"),
            ("People at districts", "onboarding", "person"),
            ("Questions", "onboarding", "question"),
        ),
    ),
    ("Syncs", (("Syncs", "rosters", "sync"),)),
    ("Connections", (("Connections", "connections", "connection"),)),
    (
        "Calls",
        (
            ("Calls", "onboarding", "call"),
            ("Hours", "onboarding", "availability"),
        ),
    ),
    (
        "Rosters",
        (
            ("People", "rosters", "user"),
            ("Schools and orgs", "rosters", "org"),
            ("Classes", "rosters", "class"),
            ("Enrollments", "rosters", "enrollment"),
            ("Courses", "rosters", "course"),
            ("Academic sessions", "rosters", "academicsession"),
            ("Roles", "rosters", "role"),
            ("User profiles", "rosters", "userprofile"),
            ("Demographics", "rosters", "demographics"),
        ),
    ),
    ("API clients", (("API clients", "api", "client"), ("Webhooks", "announcing", "webhook"))),
    ("Audit trail", (("Audit trail", "rosters", "auditevent"),)),
    ("Staff", (("Staff", "auth", "user"), ("Groups", "auth", "group"))),
    (
        "Background work",
        (
            ("Failed work", _QUEUE, "failure"),
            ("Waiting work", _QUEUE, "ormq"),
            ("Scheduled work", _QUEUE, "schedule"),
            ("Finished work", _QUEUE, "success"),
        ),
    ),
)


def rooms(request: HttpRequest) -> dict[str, Any]:
    """``rooms``: the rooms with a list that the request's user may see; ``beside``: the lists of the room where the
    request is, if there are several; ``list_name``: what the one is called where it is, or ""."""
    match = request.resolver_match
    here = match.url_name or "" if match else ""
    found: list[Link] = []
    beside: list[Link] = []
    list_name = ""
    for name, lists in _ROOMS:
        links = [
            Link(label, reverse(f"admin:{app}_{model}_changelist"), here.startswith(f"{app}_{model}_"))
            for label, app, model in lists
            if (request.user.is_superuser if app == _QUEUE else request.user.has_perm(f"{app}.view_{model}"))
        ]
        if not links:
            continue
        is_here = any(link.is_here for link in links)
        found.append(Link(name, links[0].url, is_here))
        if is_here and len(links) > 1:
            beside = links
        list_name = next((link.name for link in links if link.is_here), list_name)
    return {"rooms": found, "beside": beside, "list_name": list_name}
