"""Staff log in with a password and a code of their app: a stolen password opens nothing.

Whoever has set it up needs a code at each login. Where `SECOND_FACTOR_REQUIRED` (in production, unless it is switched
off), who has not is led to its page and sees nothing else before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import segno
from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters

from portal.models import SecondFactor
from rosters.models import AuditEvent
from rosters.staff import acting

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

#: In a session: its person has one, and has shown it.
HAS: Final = "second-factor"
#: Where somebody who has to set one up may go.
_OPEN: Final = frozenset({"second_factor", "logout", "login", "jsi18n"})


class CodeForm(forms.Form):
    code = forms.CharField(
        max_length=20,
        label="The code that your app shows now",
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "one-time-code", "autofocus": True}),
    )


def of(staff: Staff) -> SecondFactor | None:
    """The second factor that counts."""
    return SecondFactor.objects.filter(staff=staff, confirmed_at__isnull=False).first()


def remove(staff: Staff, *, by: Staff | None) -> bool:
    """For somebody who has lost app and spare codes: the next login asks for none. False if there was none."""
    with transaction.atomic():
        gone, _ = SecondFactor.objects.filter(staff=staff).delete()
        if gone:
            AuditEvent.objects.create(by=by, action="staff.second_factor_removed", subject=f"staff {staff.pk}")
    return bool(gone)


@sensitive_post_parameters("code")
def page(request: HttpRequest) -> HttpResponse:
    """Set it up: the secret for an app, then a code of it, then the spare codes, which are shown this once."""
    staff, now = acting(request), timezone.now()
    if of(staff):
        return _shown(request, {"there": of(staff)})
    factor = SecondFactor.begin(staff, now)
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        if codes := factor.confirm(form.cleaned_data["code"], now):
            AuditEvent.objects.create(by=staff, action="staff.second_factor", subject=f"staff {staff.pk}")
            request.session[HAS] = True
            return _shown(request, {"codes": codes})
        form.add_error("code", "That is not the code of this moment. See that the clock of your phone is right.")
    picture = segno.make(factor.address(), micro=False).svg_inline(scale=5, border=2, light="#fff")
    context = {"form": form, "picture": SafeString(picture), "secret": factor.secret(), "must": must(request)}
    return _shown(request, context, status=422 if form.errors else 200)


def _shown(request: HttpRequest, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    frame = {**admin.site.each_context(request), "title": "Second factor"}
    answer = TemplateResponse(request, "admin/second_factor.html", {**frame, **context}, status=status)
    add_never_cache_headers(answer)
    return answer


@admin.action(description="Remove the second factor", permissions=["remove_second_factor"])
def remove_of(modeladmin: Any, request: HttpRequest, staff: Any) -> None:
    """An action of the list of staff."""
    removed = [each for each in staff if remove(each, by=acting(request))]
    messages.success(request, f"Removed: {len(removed)}. Their next login asks for no code.")


def must(request: HttpRequest) -> bool:
    """Whether somebody who is let in has to set one up before anything else."""
    if not settings.SECOND_FACTOR_REQUIRED or not request.user.is_authenticated or request.session.get(HAS):
        return False
    if of(request.user) is None:
        return True
    request.session[HAS] = True
    return False


def before_anything_else(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Who has to set one up is led there."""

    def answer(request: HttpRequest) -> HttpResponse:
        return get_response(request)

    def view(request: HttpRequest, *args: Any) -> HttpResponse | None:
        match = request.resolver_match
        # Who has no session is not asked for one: that would make every answer depend on cookies.
        if (
            settings.SESSION_COOKIE_NAME not in request.COOKIES
            or (match and match.url_name in _OPEN)
            or not must(request)
        ):
            return None
        if request.method != "GET":
            raise PermissionDenied
        return HttpResponseRedirect(reverse("admin:second_factor"))

    answer.process_view = view  # type: ignore[attr-defined]
    return answer
