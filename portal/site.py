"""The admin site: its first page is the desk (`portal.desk`)."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone

from portal import second_factor
from portal.logins import LoginForm
from portal.rooms import rooms


class PortalAdminSite(admin.AdminSite):
    site_header = "Roster portal"
    site_title = "Roster portal"
    index_title = "Desk"
    index_template = "admin/desk.html"
    login_form = LoginForm
    enable_nav_sidebar = False  # the rooms at the top say the same in our words and leave lists their width

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        context = super().each_context(request)
        return {**context, **rooms(request)} if context["has_permission"] else context

    def get_urls(self) -> list[Any]:
        from connections.announcing.pages import mails

        return [
            path("mails/", self.admin_view(mails), name="mails"),
            path("second-factor/", self.admin_view(second_factor.page), name="second_factor"),
            *super().get_urls(),
        ]

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The page, with 429 where the login has to wait (`portal.logins`)."""
        answer = super().login(request, extra_context)
        form = answer.context_data and answer.context_data.get("form") if isinstance(answer, TemplateResponse) else None
        if isinstance(form, LoginForm) and form.wait:
            answer.status_code = 429
            answer.headers["Retry-After"] = str(form.wait)
        return answer

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        from portal.desk import desk  # the desk stands on pages that are registered with this very site

        context = desk(request, timezone.now()) if request.user.has_perm("rosters.view_sync") else {}
        return super().index(request, {**context, **(extra_context or {})})
