"""How a district's rosters stand, for whoever was given its link: a help desk, a principal. No login, and nothing of
anybody: a word, a sentence, and times by the district's clock.

As with every link of ours the secret stands behind the #, and goes from there into a cookie of this page alone: no
address holds it, so no log does.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from connections.models import Connection
from connections.onboarding import home
from connections.onboarding.entering import audit, for_owners
from connections.onboarding.models import Person, StandingLink
from connections.onboarding.words import outcome
from rosters.models import AuditEvent, District, Sync
from rosters.words import Words

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

COOKIE: Final = "standing"
#: How long a browser goes on showing it without the link.
_SHOWN_FOR: Final = timedelta(days=400)


@sensitive_post_parameters("secret")
@require_http_methods(["GET", "POST"])
def standing(request: HttpRequest) -> HttpResponse:
    """The page itself; whoever has no link that works sees the door."""
    at = reverse("onboarding:standing")
    if request.method == "POST":
        secret = request.POST.get("secret", "").strip()
        if StandingLink.good(secret) is None:
            return _shown(request, None, refused=True)
        answer = HttpResponseRedirect(at)
        answer.set_cookie(
            COOKIE,
            secret,
            max_age=_SHOWN_FOR,
            path=at,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )
        return answer
    link = StandingLink.good(request.COOKIES.get(COOKIE, ""))
    return _shown(request, link.district if link else None)


def _shown(request: HttpRequest, district: District | None, *, refused: bool = False) -> HttpResponse:
    context: dict[str, Any] = {"refused": refused}
    with timezone.override(district.zone if district else None):
        if district:
            context |= _facts(district)
        answer = render(request, "onboarding/standing.html", context, status=403 if refused else 200)
    answer["X-Robots-Tag"] = "noindex"
    add_never_cache_headers(answer)
    return answer


def _facts(district: District) -> dict[str, Any]:
    connections = list(district.connections.order_by("pk"))
    syncs = list(Sync.objects.filter(district=district).last_of_deliveries().order_by("-received_at")[: home.SHOWN])
    words = home.standing_of(district, connections, syncs)
    return {
        "district": district,
        "standing": words,
        "sentence": _sentence(district, connections, words),
        "live_since": district.snapshot.made_at if district.snapshot else None,
        "last": (syncs[0], outcome(syncs[0])) if syncs else None,
        "expected": home.expected(connections),
        "nothing_expected": home.nothing_expected(connections),
        "now": timezone.now(),
    }


#: What is told of a step that nobody who looks here can take.
_WHOSE: Final = {
    "nobody": "Nothing to do.",
    "staff": "We are at it.",
    "district": "It is the move of the district; who answers for it knows how.",
}


def _sentence(district: District, connections: list[Connection], words: Words) -> str:
    if words.sign == "setup":
        return "We are getting ready together: the first roster is not live yet."
    if words.sign in ("late", "plug", "paused"):
        return home.sentence_of(district, connections, words)
    return f"{words.word}. {_WHOSE[words.owner]}"


# ------------------------------------------------------------------------------------------------------------ the link


@require_http_methods(["GET", "POST"])
@for_owners
def link(request: HttpRequest, person: Person) -> HttpResponse:
    """Whether there is a link, and a new one, which is shown this once."""
    url = ""
    if request.method == "POST":
        url = f"{settings.PORTAL_URL}{reverse('onboarding:standing')}#{make_link(person)}"
    found = StandingLink.objects.filter(district=person.district, ended_at=None).first()
    return render(request, "onboarding/standing_link.html", {"link": found, "url": url})


@require_POST
@for_owners
def end_link(request: HttpRequest, person: Person) -> HttpResponse:
    """From this moment nobody sees the page any more."""
    now = timezone.now()
    with transaction.atomic():
        if StandingLink.end(person.district, now):
            audit("standing.ended", person, now)
    return HttpResponseRedirect(reverse("onboarding:standing-link"))


def withdraw_link(district: District, *, by: Staff) -> bool:
    """Staff end the link; False if there was none."""
    now = timezone.now()
    with transaction.atomic():
        if ended := StandingLink.end(district, now):
            AuditEvent.objects.create(at=now, by=by, action="standing.withdrawn", district=district)
    return ended


def make_link(person: Person) -> str:
    """The secret of a new link of the person's district. The one before stops working."""
    now = timezone.now()
    with transaction.atomic():
        District.objects.select_for_update(no_key=True).get(pk=person.district_id)
        StandingLink.end(person.district, now)
        secret = StandingLink.make(person, now)
        audit("standing.made", person, now)
    return secret
