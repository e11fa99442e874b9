"""The audit trail: to read, by everyone who may; to change, by nobody."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC
from itertools import chain
from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ERROR_FLAG
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.views.decorators.http import require_GET

from rosters import words
from rosters.models import AuditEvent, Record, Sync
from rosters.storing import csv_line


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]
    """A model that no page changes."""

    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class What(admin.SimpleListFilter):
    """One kind of deed or event, in words."""

    title = "what happened"
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        known = AuditEvent.objects.order_by("action").values_list("action", flat=True).distinct()
        return sorted(((action, words.ACTION_WORDS.get(action, action)) for action in known), key=lambda pair: pair[1])

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        return queryset.filter(action=self.value()) if self.value() else queryset


class When(admin.DateFieldListFilter):
    """By day, called so: the field's own name makes no title."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = "day"


def told(value: Any) -> str:
    """A value of an audit row as a person reads it; what holds others is taken apart."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        parts = (f"{key} ({told(of)})" if isinstance(of, dict) else f"{key}: {told(of)}" for key, of in value.items())
        return ", ".join(parts) or "nothing"
    if isinstance(value, list):
        return ", ".join(map(told, value)) or "nothing"
    return "nothing" if value in (None, "") else str(value)


_CSV_HEAD = ("row", "at", "by", "action", "what happened", "district", "to what", "plan", "before", "after")


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnly):
    nothing_yet = "Nothing was done yet. Whatever somebody decides, sends or changes will stand here."
    list_display = ("at", "what", "district", "about")
    list_filter = (What, ("at", When))
    fields = ("at", "by", "district", "sync", "subject", "plan_digest", "changes")
    search_fields = ("district__name", "district__site_code", "by__username", "action", "subject")
    list_select_related = ("by", "district")
    date_hierarchy = "at"
    list_per_page = 50

    def get_urls(self) -> list[URLPattern]:
        taken_out = cast("Callable[..., HttpResponseBase]", self.admin_site.admin_view(require_GET(self.taken_out)))
        return [path("audit-trail.csv", taken_out, name="rosters_auditevent_csv"), *super().get_urls()]

    def taken_out(self, request: HttpRequest) -> HttpResponseBase:
        """The rows of the list, under its filters, as a file: for whoever examines us. The oldest first."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            rows = self.get_changelist_instance(request).get_queryset(request).order_by("at", "pk")
        except IncorrectLookupParameters:  # the list says so
            return HttpResponseRedirect(f"{reverse('admin:rosters_auditevent_changelist')}?{ERROR_FLAG}=1")
        answer = StreamingHttpResponse(map(csv_line, chain([_CSV_HEAD], self._lines(rows))), content_type="text/csv")
        answer.headers["Content-Disposition"] = 'attachment; filename="audit-trail.csv"'
        return answer

    def _lines(self, rows: QuerySet[AuditEvent]) -> Iterator[tuple[Any, ...]]:
        for event in rows.iterator(2000):
            yield (
                event.pk, event.at.astimezone(UTC).isoformat(), str(event.by or ""), event.action, self.what(event),
                event.district.site_code if event.district else "", _subject_of(event), event.plan_digest,
                json.dumps(event.before, sort_keys=True), json.dumps(event.after, sort_keys=True),
            )  # fmt: skip

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        event = self.get_object(request, object_id)
        what = self.what(event) if event else ""
        said = {"title": what[:1].upper() + what[1:], "subtitle": None, "here": what} if event else {}
        return super().change_view(request, object_id, form_url, {**said, **(extra_context or {})})

    @admin.display(description="What it says")
    def changes(self, event: AuditEvent) -> str:
        """Each fact with its value before and after, where there are both."""
        names = dict.fromkeys([*event.before, *event.after])
        return render_to_string(
            "admin/rosters/auditevent/_changes.html",
            {
                "changed": bool(event.before),
                "facts": [
                    (name.replace("_", " "), told(event.before.get(name)), told(event.after.get(name)))
                    for name in names
                ],
            },
        )

    @admin.display(description="What happened", ordering="action")
    def what(self, event: AuditEvent) -> str:
        return words.happened(event.action, str(event.by or ""), event.subject)

    @admin.display(description="To what", ordering="subject")
    def about(self, event: Any) -> str:
        subject = _subject_of(event)
        known = getattr(event, "known", {}).get(subject)
        return format_html('<a href="{}">{}</a>', known[1], known[0]) if known else subject

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        file = f"{reverse('admin:rosters_auditevent_csv')}?{request.GET.urlencode()}"
        response = super().changelist_view(request, {"taken_out_at": file, **(extra_context or {})})
        changelist = getattr(response, "context_data", {}).get("cl")
        if changelist is not None:
            known = self._known(request, {_subject_of(event) for event in changelist.result_list})
            for event in changelist.result_list:
                event.known = known
        return response

    def _known(self, request: HttpRequest, subjects: set[str]) -> dict[str, tuple[str, str]]:
        """What these are called, and where their pages are: of what there is, and who asks may see."""
        of_kind: dict[str, list[int]] = {}
        for subject in subjects:
            kind, _, number = subject.rpartition(" ")
            if number.isdecimal() and len(number) < 18:
                of_kind.setdefault(kind, []).append(int(number))
        found = {}
        for model, pages in self.admin_site._registry.items():
            kind = "staff" if model is get_user_model() else str(model._meta.verbose_name)
            if kind not in of_kind or issubclass(model, Record) or not pages.has_view_permission(request):
                continue
            at = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
            beside = pages.list_select_related if isinstance(pages.list_select_related, tuple) else ()
            rows = model._base_manager.select_related(*beside) if beside else model._base_manager
            for pk, one in rows.in_bulk(of_kind[kind]).items():
                found[f"{kind} {pk}"] = (_called(one), reverse(at, args=[pk]))
        return found


def _subject_of(event: AuditEvent) -> str:
    return event.subject or (f"sync {event.sync_id}" if event.sync_id else "")


def _called(one: Any) -> str:
    return f"Sync {one.pk}" if isinstance(one, Sync) else str(one)
