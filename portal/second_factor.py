"""Staff log in with a password and a code of their app: a stolen password opens nothing.

Whoever has set it up needs a code at each login. Where `SECOND_FACTOR_REQUIRED` (in production, unless it is switched
off), who has not is led to its page and sees nothing else before; and a session that has shown a password only, of
somebody who has one by now, is over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import segno
from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters

from portal import sessions
from portal.models import SecondFactor
from rosters.models import AuditEvent
from rosters.staff import acting

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

#: In a session: whether a code was shown in it. Of others, what its person has set up says nothing.
HAS: Final = "second-factor"
#: In a session: which secret its browser was shown to set one up.
_MARK: Final = "second-factor-shown"
#: Where somebody may go who has shown a password only; and who has to set one up.
_DOORS: Final = frozenset({"logout", "login", "jsi18n"})
_OPEN: Final = _DOORS | {"second_factor"}
_NOT_IT: Final = "That is not the code of this moment. See that the clock of your phone is right."
_ANOTHER: Final = "What your app has read is too old, or somebody set one up elsewhere meanwhile. Let it read this one."


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
    shown = request.session.get(_MARK, "")
    factor = SecondFactor.begin(staff, now, shown)
    if factor.confirmed_at:
        return _shown(request, {"there": factor})
    request.session[_MARK] = factor.mark
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        if codes := factor.confirm(form.cleaned_data["code"], now):
            AuditEvent.objects.create(by=staff, action="staff.second_factor", subject=f"staff {staff.pk}")
            del request.session[_MARK]
            request.session[HAS] = True
            sessions.end_others(request, staff)
            return _shown(request, {"codes": codes})
        form.add_error("code", _NOT_IT if factor.mark == shown else _ANOTHER)
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


def begin(request: HttpRequest, user: Staff, **kwargs: Any) -> None:
    """Somebody has logged in: note in their session whether that was with a code. Not earlier, for logging in may throw
    away the session that was there."""
    request.session[HAS] = getattr(request, "code_was_shown", False)


def must(request: HttpRequest) -> bool:
    """Whether somebody who is let in has to set one up before anything else."""
    staff = _by_password(request)
    return staff is not None and of(staff) is None


def _by_password(request: HttpRequest) -> Staff | None:
    """Who is let in and has shown a password only, where that is not enough."""
    user = request.user
    if not settings.SECOND_FACTOR_REQUIRED or not user.is_authenticated or request.session.get(HAS):
        return None
    return user


def before_anything_else(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Who has to set one up is led there; who has one, and has not shown it, logs in anew."""

    def answer(request: HttpRequest) -> HttpResponse:
        return get_response(request)

    def view(request: HttpRequest, *args: Any) -> HttpResponse | None:
        # Who has no session is not asked for one: that would make every answer depend on cookies.
        staff = _by_password(request) if settings.SESSION_COOKIE_NAME in request.COOKIES else None
        if staff is None:
            return None
        name = request.resolver_match.url_name if request.resolver_match else None
        has_one = of(staff) is not None
        if name in (_DOORS if has_one else _OPEN):
            return None
        if request.method != "GET":
            raise PermissionDenied
        if has_one:
            request.session.flush()
            return redirect_to_login(request.get_full_path(), reverse("admin:login"))
        return HttpResponseRedirect(reverse("admin:second_factor"))

    answer.process_view = view  # type: ignore[attr-defined]
    return answer
