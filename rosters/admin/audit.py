"""The audit trail: to read, by everyone who may; to change, by nobody."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

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


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnly):
    list_display = ("at", "by", "action", "district", "subject")
    list_filter = ("action", "at")
    search_fields = ("district__name", "district__site_code", "by__username", "action", "subject")
    list_select_related = ("by", "district")
    date_hierarchy = "at"
    list_per_page = 50
