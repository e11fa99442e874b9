"""The people of a district, for staff: invite, send a new link, withdraw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.cache import add_never_cache_headers
from django.views.decorators.http import require_POST

from connections.onboarding import entering, standing
from connections.onboarding.models import Person
from rosters.admin.audit import ReadOnly
from rosters.models import District
from rosters.staff import acting


class PersonForm(forms.ModelForm):  # type: ignore[type-arg]
    """Who is invited. A deputy stands in for somebody, and not for ever."""

    class Meta:
        model = Person
        fields = ("name", "email", "role", "deputy_for", "first_day", "last_day")
        widgets = {
            "first_day": forms.DateInput(attrs={"type": "date"}),
            "last_day": forms.DateInput(attrs={"type": "date"}),
        }

    def __init__(self, *args: Any, district: District, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.district = district
        self.fields["deputy_for"].queryset = district.people.filter(ended_at=None)  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        first, last = cleaned.get("first_day"), cleaned.get("last_day")
        if first and last and last < first:
            self.add_error("last_day", "The last day is before the first.")
        if cleaned.get("deputy_for") and not last and "last_day" not in self.errors:
            self.add_error("last_day", "Say until when they stand in.")
        email = cleaned.get("email", "")
        if self.instance.district.people.filter(email__iexact=email, ended_at=None).exists():
            self.add_error("email", "Somebody with this address is invited already: send them a new link.")
        return cleaned


@admin.register(Person)
class PersonAdmin(ReadOnly):
    nothing_yet = "Invite the first person on a district's page."
    list_display = ("name", "district", "email", "role", "last_seen_at")
    list_select_related = ("district",)
    list_filter = ("role", "district")
    search_fields = ("name", "email", "district__name", "district__site_code")
    fields = ("district", "name", "email", "role", "deputy_for", "first_day", "last_day", "invited_at", "last_seen_at")

    def get_urls(self) -> list[URLPattern]:
        def at(route: str, view: Any, name: str) -> URLPattern:
            guarded = cast("Callable[..., HttpResponse]", self.admin_site.admin_view(view))
            return path(route, guarded, name=f"onboarding_person_{name}")

        return [
            at("invite/<int:district_id>/", self.invite, "invite"),
            at("<int:pk>/link/", require_POST(self.send_link), "link"),
            at("<int:pk>/withdraw/", require_POST(self.withdraw), "withdraw"),
            at("standing/<int:district_id>/end/", require_POST(self.end_standing_link), "end_standing_link"),
            *super().get_urls(),
        ]

    def invite(self, request: HttpRequest, district_id: int) -> HttpResponse:
        """The form, and after it the link, which is shown this once."""
        district = get_object_or_404(District, pk=district_id)
        if not request.user.has_perm("onboarding.add_person"):
            raise PermissionDenied
        form = PersonForm(request.POST or None, district=district)
        if request.method == "POST" and form.is_valid():
            try:
                with transaction.atomic():
                    person = form.save()
            except IntegrityError:
                form.add_error("email", "Somebody with this address was invited in this very moment.")
            else:
                return self._invited(request, person)
        context = {"form": form, "district": district, "title": f"Invite a person of {district}"}
        return self._shown(request, context, status=422 if form.errors else 200)

    def send_link(self, request: HttpRequest, pk: int) -> HttpResponse:
        person = self._of(request, pk)
        if person.is_withdrawn:
            messages.error(request, "Their access was withdrawn. Invite them anew.")
            return _back(person.district_id)
        return self._invited(request, person)

    def withdraw(self, request: HttpRequest, pk: int) -> HttpResponse:
        person = self._of(request, pk)
        deputies = entering.withdraw(person, by=acting(request))
        messages.success(request, f"{person.name} cannot come in any more. What they sent stays.")
        if deputies:
            names = ", ".join(each.name for each in deputies)
            messages.warning(request, f"Nor can who stood in for them: {names}. Invite them anew if they stay.")
        return _back(person.district_id)

    def end_standing_link(self, request: HttpRequest, district_id: int) -> HttpResponse:
        """From this moment the district's page for everybody shows nothing; its owners can make a new link."""
        if not request.user.has_perm("onboarding.change_person"):
            raise PermissionDenied
        district = get_object_or_404(District, pk=district_id)
        if standing.withdraw_link(district, by=acting(request)):
            messages.success(
                request, "The link shows nothing any more. Who answers for the district can make a new one."
            )
        else:
            messages.info(request, "There was no link any more.")
        return _back(district_id)

    def _invited(self, request: HttpRequest, person: Person) -> HttpResponse:
        url = entering.invite(person, by=acting(request))
        return self._shown(request, {"person": person, "url": url, "district": person.district, "title": "Invited"})

    def _shown(self, request: HttpRequest, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
        frame = self.admin_site.each_context(request)
        answer = TemplateResponse(request, "admin/onboarding/invite.html", {**frame, **context}, status=status)
        add_never_cache_headers(answer)
        return answer

    def _of(self, request: HttpRequest, pk: int) -> Person:
        if not request.user.has_perm("onboarding.change_person"):
            raise PermissionDenied
        return get_object_or_404(Person.objects.select_related("district"), pk=pk)


def _back(district_id: int) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:rosters_district_change", args=[district_id]) + "#people")
