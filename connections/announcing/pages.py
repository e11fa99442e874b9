"""What a member of our staff is mailed: a page for everybody's own wishes, with the mail that would go now."""

from __future__ import annotations

import zoneinfo
from datetime import timedelta
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from connections.announcing import mailing
from connections.announcing.models import Mailing
from rosters.models import AuditEvent
from rosters.staff import acting

_WISHES: Final = ("mornings", "hour", "time_zone", "at_once")


class MailingForm(forms.ModelForm):  # type: ignore[type-arg]
    hour = forms.TypedChoiceField(
        coerce=int, choices=[(hour, f"{hour}:00") for hour in range(24)], label="from this hour on"
    )
    time_zone = forms.ChoiceField(
        choices=[(zone, zone.replace("_", " ")) for zone in sorted(zoneinfo.available_timezones())],
        label="of this time zone",
    )

    class Meta:
        model = Mailing
        fields = _WISHES


@require_http_methods(["GET", "POST"])
def mails(request: HttpRequest) -> HttpResponse:
    """Who asks reads and changes their own wishes, nobody else's."""
    staff, now = acting(request), timezone.now()
    wish = mailing.known_to(staff)
    before = {name: getattr(wish, name) for name in _WISHES}
    form = MailingForm(request.POST or None, instance=wish)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            form.save()
            # Whoever leaves the zone as it stands there has chosen it, too.
            names = form.changed_data if mailing.zone_of(staff) else [*form.changed_data, "time_zone"]
            if names:
                changed: dict[str, Any] = {name: form.cleaned_data[name] for name in names}
                AuditEvent.objects.create(
                    by=staff,
                    action="mailing.changed",  # `mailing.CHANGED`
                    subject=f"staff {staff.pk}",
                    before={name: before[name] for name in changed},
                    after=changed,
                )
        messages.success(request, "Saved.")
        return HttpResponseRedirect(reverse("admin:mails"))
    context = {
        **admin.site.each_context(request),
        "title": "What you are mailed",
        "form": form,
        "letter": mailing.morning(staff, now, now - timedelta(days=1)),
    }
    return TemplateResponse(
        request, "admin/announcing/mails.html", context, status=422 if request.method == "POST" else 200
    )
