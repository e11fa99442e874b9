"""The audit trail: to read, by everyone who may; to change, by nobody."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from rosters import words
from rosters.models import AuditEvent


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


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnly):
    nothing_yet = "Nothing was done yet. Whatever somebody decides, sends or changes will stand here."
    list_display = ("at", "what", "district", "about")
    list_filter = (What, "at")
    search_fields = ("district__name", "district__site_code", "by__username", "action", "subject")
    list_select_related = ("by", "district")
    date_hierarchy = "at"
    list_per_page = 50

    @admin.display(description="What happened", ordering="action")
    def what(self, event: AuditEvent) -> str:
        return words.happened(event.action, str(event.by or ""))

    @admin.display(description="To what", ordering="subject")
    def about(self, event: AuditEvent) -> str:
        return event.subject or (f"sync {event.sync_id}" if event.sync_id else "")
