"""Calls and hours in the admin: who is called when, what is known before, what came of it, when staff takes calls."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_POST

from connections.onboarding import calls, invitations
from connections.onboarding.brief import brief
from connections.onboarding.hours import HoursForm
from connections.onboarding.models import Availability, Call
from rosters.admin.audit import ReadOnly
from rosters.staff import acting
from rosters.words import Words

#: So many free times are shown, to move a call to and to see what hours give.
SLOTS_SHOWN = 60

CALL_WORDS = {
    Call.Status.BOOKED: Words("running", "Booked", "", "staff"),
    Call.Status.CANCELLED: Words("ended", "Cancelled", "", "nobody"),
    Call.Status.HELD: Words("good", "Held", "", "nobody"),
    Call.Status.MISSED: Words("refused", "Nobody came", "Ask the district to book another one.", "staff"),
}
_UNTOLD = Words("review", "What came of it?", "Write down what was agreed.", "staff")


def call_words(call: Call) -> Words:
    return _UNTOLD if call.wants_outcome else CALL_WORDS[Call.Status(call.status)]


class When(admin.SimpleListFilter):
    title = "when"
    parameter_name = "when"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("coming", "To come"), ("untold", "Over, without outcome"), ("past", "Over")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        now = timezone.now()
        if self.value() == "coming":
            return queryset.filter(status=Call.Status.BOOKED, ends_at__gt=now)
        if self.value() == "untold":
            return queryset.filter(pk__in=Call.without_outcome(now).values("pk"))
        return queryset.filter(ends_at__lte=now) if self.value() == "past" else queryset


class Whose(admin.SimpleListFilter):
    title = "whose"
    parameter_name = "whose"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("mine", "Mine")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(staff=acting(request)) if self.value() else queryset


class OutcomeForm(forms.ModelForm):  # type: ignore[type-arg]
    """What came of a call."""

    class Meta:
        model = Call
        fields = ("decisions", "launch_on", "schedule_words", "notes")
        widgets = {
            "decisions": forms.Textarea({"rows": 4}),
            "notes": forms.Textarea({"rows": 4}),
            "launch_on": forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
        }


@admin.register(Call)
class CallAdmin(ReadOnly):
    nothing_yet = "Districts book their first call themselves, in the hours that staff keep."
    list_display = ("begins", "standing", "district", "person", "staff", "theirs")
    list_display_links = ("begins",)
    list_filter = (When, Whose, "staff")
    list_select_related = ("district", "person", "staff")
    search_fields = ("district__name", "district__site_code", "person__name")
    list_per_page = 50
    ordering = ("-starts_at",)

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Of what is to come the next first; of all else the latest."""
        return ("starts_at",) if request.GET.get(When.parameter_name) == "coming" else self.ordering

    @admin.display(description="starts at", ordering="starts_at")
    def begins(self, call: Call) -> str:
        return f"{timezone.localtime(call.starts_at):%a %-d %b, %H:%M %Z}"

    @admin.display(description="at the district")
    def theirs(self, call: Call) -> str:
        return f"{call.starts_at.astimezone(call.district.zone):%a %-d %b, %H:%M %Z}"

    @admin.display(description="status")
    def standing(self, call: Call) -> str:
        from rosters.templatetags.roster_pages import status

        return status(call_words(call))

    def get_urls(self) -> list[URLPattern]:
        def at(route: str, view: Any, name: str) -> URLPattern:
            guarded = cast("Callable[..., HttpResponse]", self.admin_site.admin_view(require_POST(view)))
            return path(route, guarded, name=f"onboarding_call_{name}")

        return [
            at("<int:pk>/outcome/", self.outcome, "outcome"),
            at("<int:pk>/move/", self.move, "move"),
            at("<int:pk>/cancel/", self.cancel, "cancel"),
            *super().get_urls(),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The call: the brief, where it is, and what came of it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        call: Call | None = self.get_object(request, object_id)  # an address may hold what is no number
        if call is None:
            raise Http404
        return self._shown(request, self._call(call.pk))

    def outcome(self, request: HttpRequest, pk: int) -> HttpResponse:
        call = self._mine(request, pk)
        form = OutcomeForm(request.POST, instance=self._call(pk))
        if not form.is_valid():
            return self._shown(request, call, form, status=422)
        missed = "missed" in request.POST
        if calls.record(call, timezone.now(), form.cleaned_data, by=acting(request), missed=missed):
            said = (
                "Noted: nobody came."
                if missed
                else "Kept. The district sees decisions, launch and schedule on its page."
            )
            messages.success(request, said)
        else:
            messages.error(request, "The call was cancelled meanwhile: nothing was kept.")
        return _to(call)

    def move(self, request: HttpRequest, pk: int) -> HttpResponse:
        call = self._mine(request, pk)
        start = _moment(request.POST.get("slot", ""))
        try:
            if start is None:
                raise calls.SlotTaken
            calls.move_for(call, start, timezone.now(), by=acting(request))
        except calls.SlotTaken:
            messages.error(request, "This time is not free any more. Choose another one; nothing was changed.")
        else:
            messages.success(request, f"Moved. {invitations.who_is_told(call)}")
        return _to(call)

    def cancel(self, request: HttpRequest, pk: int) -> HttpResponse:
        call = self._mine(request, pk)
        if calls.cancel_for(call, timezone.now(), by=acting(request)):
            messages.success(request, f"Cancelled. {invitations.who_is_told(call)}")
        else:
            messages.error(request, "It was not booked any more: nothing was changed.")
        return _to(call)

    def _mine(self, request: HttpRequest, pk: int) -> Call:
        if not request.user.has_perm("onboarding.change_call"):
            raise PermissionDenied
        return self._call(pk)

    def _call(self, pk: int) -> Call:
        return get_object_or_404(Call.objects.select_related("district__snapshot", "person", "staff"), pk=pk)

    def _shown(
        self, request: HttpRequest, call: Call, form: OutcomeForm | None = None, *, status: int = 200
    ) -> HttpResponse:
        now = timezone.now()
        hours = Availability.objects.filter(staff=call.staff_id).select_related("staff").first()
        booked = call.status == Call.Status.BOOKED and call.starts_at > now
        may_change = request.user.has_perm("onboarding.change_call")
        context = {
            **self.admin_site.each_context(request),
            "title": f"Call with {call.district}",
            "call": call,
            "words": call_words(call),
            "topics": brief(call.district, now),
            "form": form or OutcomeForm(instance=call),
            "booked": booked,
            "begun": call.starts_at <= now and call.status != Call.Status.CANCELLED,
            "may_change": may_change,
            "days": calls.days(call.district, hours, call, now)[:7] if booked and may_change else [],
            "hours": hours,
            "who_is_told": invitations.who_is_told(call),
            "still_to_be_told": invitations.still_to_be_told(call),
        }
        return TemplateResponse(request, "admin/onboarding/call.html", context, status=status)


@admin.register(Availability)
class AvailabilityAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """When one takes calls oneself: everybody who may see hours sees all of them, and changes only their own."""

    nothing_yet = "Nobody keeps hours yet. Add yours, and districts can book their first call."
    list_display = ("staff", "time_zone", "minutes", "buffer")
    list_select_related = ("staff",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        has_some = Availability.objects.filter(staff=request.user.pk).exists()
        return super().has_add_permission(request) and not has_some

    def has_change_permission(self, request: HttpRequest, obj: Availability | None = None) -> bool:
        own = obj is None or obj.staff_id == request.user.pk
        return super().has_change_permission(request, obj) and own

    def has_delete_permission(self, request: HttpRequest, obj: Availability | None = None) -> bool:
        return False

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        return self._form(request, Availability(staff=acting(request)), may_change=True)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        found: Availability | None = self.get_object(request, object_id)
        if found is None:
            raise Http404
        may_change = self.has_change_permission(request, found)
        if not may_change and (request.method == "POST" or not self.has_view_permission(request)):
            raise PermissionDenied
        return self._form(request, found, may_change=may_change)

    def _form(self, request: HttpRequest, hours: Availability, *, may_change: bool) -> HttpResponse:
        """The hours and what they give; "preview" shows that without keeping anything."""
        form = HoursForm(request.POST or None, instance=hours)
        good = form.is_valid() if form.is_bound else bool(hours.pk)
        if form.is_bound and good and "preview" not in request.POST:
            form.save()
            messages.success(request, "Kept. Districts see the free times from now on; calls that are booked stay.")
            return HttpResponseRedirect(reverse("admin:onboarding_availability_change", args=[hours.pk]))
        context = {
            **self.admin_site.each_context(request),
            "title": "When I take calls" if may_change else f"When {hours.staff} takes calls",
            "form": form,
            "may_change": may_change,
            "previewed": form.is_bound and good,
            "slots": _slots(hours) if good else None,
            "zone": hours.time_zone,
        }
        template = "admin/onboarding/hours.html"
        return TemplateResponse(request, template, context, status=422 if form.is_bound and not good else 200)


def _slots(hours: Availability) -> list[datetime]:
    """The next free times that these hours give, by their own clock, without a zone: a page would turn it."""
    zone = hours.hours().zone
    return [start.astimezone(zone).replace(tzinfo=None) for start in calls.free(hours, timezone.now())[:SLOTS_SHOWN]]


def _moment(text: str) -> datetime | None:
    try:
        found = parse_datetime(text)
    except ValueError:
        return None
    return found.astimezone(UTC) if found is not None and found.tzinfo is not None else None


def _to(call: Call) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:onboarding_call_change", args=[call.pk]))
