"""The admin site: its first page is the desk (`portal.desk`)."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone


class PortalAdminSite(admin.AdminSite):
    site_header = "Roster portal"
    site_title = "Roster portal"
    index_title = "Desk"
    index_template = "admin/desk.html"

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        from portal.desk import desk  # the desk stands on pages that are registered with this very site

        context = desk(request, timezone.now()) if request.user.has_perm("rosters.view_sync") else {}
        return super().index(request, {**context, **(extra_context or {})})
