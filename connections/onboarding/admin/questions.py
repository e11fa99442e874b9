"""Questions to districts, for staff: asked and taken back on the page of the sync that they are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST

from connections.onboarding import asking
from connections.onboarding.models import Question
from connections.onboarding.words import question_words
from rosters.admin.audit import ReadOnly
from rosters.models import District, Sync
from rosters.staff import acting


class AskForm(forms.Form):
    words = forms.CharField(max_length=1000)


class Standing(admin.SimpleListFilter):
    title = "answer"
    parameter_name = "answer"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("none", "No answer yet"),
            *Question.Answer.choices,
            ("decided", "Decided without an answer"),
            ("taken_back", "Taken back"),
        ]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() in ("none", "decided"):
            return queryset.filter(answered_at=None, taken_back_at=None, waits=self.value() == "none")
        if self.value() == "taken_back":
            return queryset.filter(taken_back_at__isnull=False)
        return queryset.filter(answer=self.value()) if self.value() else queryset


@admin.register(Question)
class QuestionAdmin(ReadOnly):
    nothing_yet = "A district is asked on the page of a sync that waits."
    list_display = ("district", "standing", "words", "asked_by", "asked_at", "answered_by")
    list_display_links = ("district",)
    list_select_related = ("delivery__district", "asked_by", "answered_by")
    list_filter = (Standing, "asked_by")
    search_fields = ("delivery__district__name", "delivery__district__site_code")
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).annotate(waits=asking.waits())

    @admin.display(ordering="delivery__district__name")
    def district(self, question: Question) -> District:
        return question.delivery.district

    @admin.display(description="answer")
    def standing(self, question: Question) -> str:
        from rosters.templatetags.roster_pages import status

        return status(question_words(question, waits=question.waits))  # type: ignore[attr-defined]

    def get_urls(self) -> list[URLPattern]:
        def at(route: str, view: Any, name: str) -> URLPattern:
            guarded = cast("Callable[..., HttpResponse]", self.admin_site.admin_view(require_POST(view)))
            return path(route, guarded, name=f"onboarding_question_{name}")

        return [
            at("ask/<int:sync_id>/", self.ask, "ask"),
            at("take-back/<int:sync_id>/", self.take_back, "take_back"),
            *super().get_urls(),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """A question is read where it is decided: on the page of the latest sync of its delivery."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        question = self.get_object(request, object_id)
        if question is None:
            raise Http404
        return _back(Sync.objects.filter(delivery=question.delivery_id).latest("pk"))

    def ask(self, request: HttpRequest, sync_id: int) -> HttpResponse:
        sync, form = self._about(request, sync_id), AskForm(request.POST)
        if not form.is_valid():
            messages.error(request, "Nothing was asked: the question has 1 to 1,000 signs.")
            return _back(sync)
        try:
            asking.ask(sync, form.cleaned_data["words"], by=acting(request))
        except asking.CannotAsk as why:
            messages.error(request, str(why))
        else:
            messages.success(request, "Asked. The answer will stand here, and you get a mail when it comes.")
        return _back(sync)

    def take_back(self, request: HttpRequest, sync_id: int) -> HttpResponse:
        sync = self._about(request, sync_id)
        question = Question.about(sync)
        if question and asking.take_back(question, sync, by=acting(request)):
            messages.success(request, "Taken back: the district is asked no more.")
        else:
            messages.error(request, "There was an answer by then, or nothing to take back: nothing was changed.")
        return _back(sync)

    def _about(self, request: HttpRequest, sync_id: int) -> Sync:
        if not request.user.has_perm("onboarding.add_question"):
            raise PermissionDenied
        return get_object_or_404(Sync.objects.select_related("district", "delivery"), pk=sync_id)


def _back(sync: Sync) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:rosters_sync_change", args=[sync.pk]) + "#question")
