"""How a person of a district comes in: by a link, once, which becomes a session of that browser.

The secret stands behind the # of the link, which browsers keep to themselves: no server, proxy or page that is visited
next ever sees it. A mail scanner that opens the link takes nothing, since only the button does.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec

from django import forms
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.core.mail import send_mail
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST
from django_q.tasks import async_task

from connections.onboarding.models import ASKED_FOR, INVITED_FOR, SESSION_FOR, Pass, Person
from rosters.askers import address_of
from rosters.models import AuditEvent, Sync
from rosters.sealing import SealBroken, seal, unseal

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

COOKIE: Final = "district"
#: So many links a person can have sent within the life of one.
_LINKS_AT_ONCE: Final = 3
#: So many links can be asked for from one place, where a district may have many people; then it has to wait so long.
_ASKS_FROM_ONE_PLACE: Final = 10
_PLACE_WAITS: Final = timedelta(minutes=15)

P = ParamSpec("P")


# ---------------------------------------------------------------------------------------------------------------- links


def invite(person: Person, *, by: Staff, now: datetime | None = None) -> str:
    """A new link for the person, sent by mail and given back, for the only time. Earlier ones stop working."""
    moment = now or timezone.now()
    with transaction.atomic():
        person.passes.filter(purpose=Pass.Purpose.LINK, used_at=None, revoked_at=None).update(revoked_at=moment)
        made, secret = Pass.make(person, Pass.Purpose.LINK, moment, INVITED_FOR, by=by)
        Person.objects.filter(pk=person.pk).update(invited_at=moment)
        audit("person.invited", person, moment, by=by)
    return _sent(made, secret)


def withdraw(person: Person, *, by: Staff, now: datetime | None = None) -> list[Person]:
    """Let the person in no more, from this moment, nor who stands in for them; who those are."""
    moment = now or timezone.now()
    with transaction.atomic():
        if person.end(moment):
            audit("person.withdrawn", person, moment, by=by)
        deputies = list(person.deputies.filter(ended_at=None).select_related("district"))
        return deputies + [each for deputy in deputies for each in withdraw(deputy, by=by, now=moment)]


def ask_again(email: str) -> None:
    """Have a worker send a new link to everybody who has this address and may come in. Whether there is anybody shows
    neither here nor in how long this takes. A task holds no address of a person: only the key under which it lies,
    sealed, until then."""
    key = secrets.token_urlsafe(16)
    cache.set(_asked(key), seal(email, bound_to=_asked(key)), ASKED_FOR.total_seconds())
    async_task("connections.onboarding.tasks.send_again", key=key)


def answer_asked(key: str) -> None:
    """Send what was asked for under this key, once; nothing if that is long ago."""
    kept = cache.get(_asked(key))
    if kept is not None and cache.delete(_asked(key)):
        with suppress(SealBroken):
            send_again(unseal(kept, bound_to=_asked(key)))


def _asked(key: str) -> str:
    return f"asked-for-a-link-{key}"


def send_again(email: str, now: datetime | None = None) -> None:
    """A new link to everybody who has this address and may come in."""
    moment = now or timezone.now()
    for person in Person.objects.filter(email__iexact=email.strip(), ended_at=None).select_related("district"):
        recent = person.passes.filter(purpose=Pass.Purpose.LINK, made_at__gt=moment - ASKED_FOR, made_by=None)
        if person.welcome(person.district.local_date(moment)) and recent.count() < _LINKS_AT_ONCE:
            _sent(*Pass.make(person, Pass.Purpose.LINK, moment, ASKED_FOR))


def link_for(person: Person, now: datetime, *, by: Staff | None) -> tuple[str, datetime]:
    """A link for a mail that leads the person somewhere, and until when it lets them in. Earlier ones go on working."""
    made, secret = Pass.make(person, Pass.Purpose.LINK, now, INVITED_FOR, by=by)
    return _url(secret), made.expires_at


def _url(secret: str) -> str:
    return f"{settings.PORTAL_URL}{reverse('onboarding:enter')}#{secret}"


def _sent(link: Pass, secret: str) -> str:
    """Mail the link to its person. That no mail could be sent is no fault of the invitation: staff can hand it over."""
    url = _url(secret)
    person = link.person
    zone = person.district.zone
    context = {
        "person": person,
        "url": url,
        "until": link.expires_at.astimezone(zone),
        "asked": link.made_by_id is None,
    }
    mail_to(
        person.email,
        f"Your link to the roster pages of {person.district.name}",
        render_to_string("emails/link.txt", context),
    )
    return url


def mail_to(address: str, subject: str, text: str) -> None:
    """Send a mail, or let it be: what it tells of stands on a page too."""
    send_mail(subject, text, None, [address], fail_silently=True)


# ------------------------------------------------------------------------------------------------------------- sessions


def person_of(request: HttpRequest) -> Person | None:
    """Who is let in by this browser's session, if anybody."""
    found = Pass.good(request.COOKIES.get(COOKIE, ""), Pass.Purpose.SESSION, timezone.now())
    return found.person if found else None


def for_people(
    view: Callable[Concatenate[HttpRequest, Person, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """A view for somebody who has been let in, who is its second argument; others are led to the door."""

    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        person = person_of(request)
        if person is None:
            return HttpResponseRedirect(reverse("onboarding:enter"))
        request.person = person  # type: ignore[attr-defined]  # for the frame of the pages
        with timezone.override(person.district.zone):
            answer = view(request, person, *args, **kwargs)
        add_never_cache_headers(answer)
        return answer

    return guarded


def for_owners(
    view: Callable[Concatenate[HttpRequest, Person, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """The same, for somebody who answers for the district."""

    @wraps(view)
    def guarded(request: HttpRequest, person: Person, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not person.answers_for_it:
            raise PermissionDenied
        return view(request, person, *args, **kwargs)

    return for_people(guarded)


# ------------------------------------------------------------------------------------------------------------- the door


class AgainForm(forms.Form):
    email = forms.EmailField(label="Your e-mail address at the district")


@sensitive_post_parameters("secret")
@require_http_methods(["GET", "POST"])
def enter(request: HttpRequest) -> HttpResponse:
    """The door: a link's secret comes in, a session goes out. What does not work is told alike, whatever the reason."""
    if request.method == "GET":
        return _door(request)
    now = timezone.now()
    link = Pass.good(request.POST.get("secret", "").strip(), Pass.Purpose.LINK, now)
    if link is None or not link.use(now):
        return _door(request, refused=True)
    _, secret = Pass.make(link.person, Pass.Purpose.SESSION, now, SESSION_FOR)
    audit("person.entered", link.person, now)
    answer = HttpResponseRedirect(reverse("onboarding:home"))
    answer.set_cookie(
        COOKIE,
        secret,
        max_age=SESSION_FOR,
        path=reverse("onboarding:home"),
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
    return answer


@require_POST
def again(request: HttpRequest) -> HttpResponse:
    """Have a new link sent. The answer is the same for every address, and so is the work."""
    form = AgainForm(request.POST)
    if not form.is_valid():
        return _door(request, form=form, status=422)
    if not _may_ask(request):
        form.add_error("email", "Too many links were asked for from where you are. Try again in a quarter of an hour.")
        return _door(request, form=form, status=429)
    ask_again(form.cleaned_data["email"])
    return _door(request, asked=True)


def _may_ask(request: HttpRequest) -> bool:
    """Counts it. A few more get by where many ask in one moment, which does no harm."""
    count = f"links-asked-for-from-{address_of(request)}"
    asked: int = cache.get(count, 0)
    if asked >= _ASKS_FROM_ONE_PLACE:
        return False
    cache.set(count, asked + 1, _PLACE_WAITS.total_seconds())
    return True


@require_POST
def leave(request: HttpRequest) -> HttpResponse:
    """End the session of this browser."""
    now = timezone.now()
    if found := Pass.good(request.COOKIES.get(COOKIE, ""), Pass.Purpose.SESSION, now):
        found.revoke(now)
    answer = HttpResponseRedirect(reverse("onboarding:enter"))
    answer.delete_cookie(COOKIE, path=reverse("onboarding:home"), samesite="Lax")
    return answer


def _door(request: HttpRequest, *, status: int = 200, refused: bool = False, **context: Any) -> HttpResponse:
    context = {"form": AgainForm(), "refused": refused, **context}
    answer = render(request, "onboarding/enter.html", context, status=403 if refused else status)
    add_never_cache_headers(answer)
    return answer


def audit(
    action: str, person: Person, now: datetime, *, by: Staff | None = None, sync: Sync | None = None, **after: Any
) -> None:
    """An audit row of what was done to a person, or by one (`by` None), who was here then; never a name. Only deeds
    write: a look must not wait for an import that has the only write lock of SQLite."""
    if by is None:
        Person.objects.filter(pk=person.pk).update(last_seen_at=now)
    AuditEvent.objects.create(
        at=now,
        by=by,
        action=action,
        district=person.district,
        sync=sync,
        subject=f"person {person.pk}",
        after={"role": person.role, **after},
    )
