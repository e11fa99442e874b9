"""Staff accounts and groups with an audit trail, and the queue's own pages to look at."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django_q.admin import FailAdmin, QueueAdmin, ScheduleAdmin, TaskAdmin
from django_q.models import Failure, OrmQ, Schedule, Success

from portal import second_factor, sessions
from rosters.models import AuditEvent
from rosters.staff import acting


def _permissions_of(staff: User) -> dict[str, Any]:
    return {
        "groups": sorted(staff.groups.values_list("name", flat=True)),
        "permissions": sorted(staff.user_permissions.values_list("codename", flat=True)),
        "active": staff.is_active,
        "staff": staff.is_staff,
        "superuser": staff.is_superuser,
    }


class StaffAdmin(UserAdmin):  # type: ignore[type-arg]
    """Django's page for staff accounts; every change of what somebody may do leaves an audit row."""

    readonly_fields = ("last_login", "date_joined")  # facts; and as fields they have no labels
    actions = ("end_sessions", second_factor.remove_of)

    @transaction.atomic
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return super().changeform_view(request, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        known = User.objects.filter(pk=obj.pk).first() if change else None
        request.permissions_before = _permissions_of(known) if known else {}  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        _audit(request, "staff", form.instance.pk, request.permissions_before, _permissions_of(form.instance))  # type: ignore[attr-defined]

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        _audit(request, "staff", obj.pk, _permissions_of(obj), {})
        super().delete_model(request, obj)

    @transaction.atomic
    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002
        """Who sets a colleague's password can come in as them: that it was done is written down."""
        staff = self.get_object(request, unquote(id))
        before = staff.password if staff else ""
        answer: HttpResponse = super().user_change_password(request, id, form_url)
        if staff and before != User.objects.values_list("password", flat=True).get(pk=staff.pk):
            AuditEvent.objects.create(by=acting(request), action="staff.password_set", subject=f"staff {staff.pk}")
        return answer

    def get_actions(self, request: HttpRequest) -> Any:
        """None that deletes: that would leave no audit row."""
        known = super().get_actions(request)
        return {name: known[name] for name in ("end_sessions", "remove_of") if name in known}

    def has_remove_second_factor_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_end_sessions_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    @admin.action(description="End all sessions", permissions=["end_sessions"])
    def end_sessions(self, request: HttpRequest, staff: QuerySet[User]) -> None:
        """Wherever these are logged in, they are so no more: for a browser that was lost, or somebody who left."""
        for each in staff:
            sessions.end(each)  # first, as the audit row may have to wait for an import on SQLite
            AuditEvent.objects.create(by=acting(request), action="staff.sessions_ended", subject=f"staff {each.pk}")
        messages.success(request, "Their sessions have ended, in every browser. Who may come in logs in anew.")


class StaffGroupAdmin(GroupAdmin):
    """Groups of staff; every change of a group's permissions leaves an audit row."""

    def save_model(self, request: HttpRequest, obj: Group, form: Any, change: bool) -> None:
        request.permissions_before = self._of(obj) if change else {}  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        _audit(request, "group", form.instance.pk, request.permissions_before, self._of(form.instance))  # type: ignore[attr-defined]

    def delete_model(self, request: HttpRequest, obj: Group) -> None:
        _audit(request, "group", obj.pk, self._of(obj), {})
        super().delete_model(request, obj)

    def get_actions(self, request: HttpRequest) -> Any:
        return {}

    @staticmethod
    def _of(group: Group) -> dict[str, Any]:
        codenames = group.permissions.values_list("codename", flat=True) if group.pk else []
        return {"name": group.name, "permissions": sorted(codenames)}


def _audit(request: HttpRequest, kind: str, pk: int, before: dict[str, Any], after: dict[str, Any]) -> None:
    if before != after:
        AuditEvent.objects.create(
            by=acting(request), action=f"{kind}.permissions", subject=f"{kind} {pk}", before=before, after=after
        )


# ----------------------------------------------------------- the queue's own pages: to look at, for superusers only


class _LookOnly:
    """A Schedule names any Python function: whoever may add one runs what he likes. So nobody may, here."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_change_permission = has_delete_permission = has_add_permission

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {}


for _model, _base in ((Failure, FailAdmin), (Success, TaskAdmin), (OrmQ, QueueAdmin), (Schedule, ScheduleAdmin)):
    if admin.site.is_registered(_model):
        admin.site.unregister(_model)
    admin.site.register(_model, type(f"LookOnly{_base.__name__}", (_LookOnly, _base), {}))
for _model, _base in ((User, StaffAdmin), (Group, StaffGroupAdmin)):
    admin.site.unregister(_model)
    admin.site.register(_model, _base)
