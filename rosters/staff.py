"""Who of our staff may do what: three groups, each with what the one before it may do.

viewer    sees districts, syncs, the live roster (not demographics) and the audit trail
reviewer  uploads deliveries, approves, declines and undoes syncs, sees demographics
manager   adds and changes districts
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.http import HttpResponse, HttpResponseRedirect

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from django.http import HttpRequest

DECIDE = "rosters.decide_sync"
UPLOAD = "rosters.upload_delivery"

_OWN_PERMISSIONS = {
    "decide_sync": "Can approve, decline and undo syncs",
    "upload_delivery": "Can upload deliveries",
}

_SEEN_BY_ALL = (
    "district",
    "delivery",
    "snapshot",
    "sync",
    "tally",
    "finding",
    "hold",
    "auditevent",
    "org",
    "academicsession",
    "course",
    "class",
    "user",
    "userprofile",
    "role",
    "enrollment",
)

GROUPS: dict[str, tuple[str, ...]] = {
    "viewer": tuple(f"view_{model}" for model in _SEEN_BY_ALL),
    "reviewer": (*_OWN_PERMISSIONS, "view_demographics"),
    "manager": ("add_district", "change_district"),
}


def goes_to(request: HttpRequest, address: str) -> HttpResponse:
    """On to `address`: a redirect, or for a script that sends a file, which would follow it and so take the messages
    that are meant for the page, the word where to go."""
    if request.headers.get("X-Requested-With") == "XMLHttpRequest":
        return HttpResponse(status=204, headers={"X-Goes-To": address})
    return HttpResponseRedirect(address)


def acting(request: HttpRequest) -> Staff:
    """Who is at the keyboard. The admin's views are for staff who are logged in, so there is always somebody."""
    if not request.user.is_authenticated:
        raise PermissionError("nobody is logged in")
    return request.user


def may_see(request: HttpRequest, table: str) -> bool:
    """Whether who asks may see what this table says of people: demographics are not for everybody."""
    return table != "demographics" or request.user.has_perm("rosters.view_demographics")


def make_groups(**kwargs: Any) -> None:
    """After every migrate: the groups exist and have at least these permissions. More may be given by hand."""
    grant("rosters", "Sync", _OWN_PERMISSIONS, GROUPS, using=kwargs.get("using", "default"))


def grant(app: str, model: str, own: Mapping[str, str], groups: Mapping[str, tuple[str, ...]], *, using: str) -> None:
    """Give each group its permissions of `app` (codenames) and those of the groups before it. `own`: permissions that
    Django does not make by itself, codename to words; they are attached to `model`."""
    with transaction.atomic(using=using):
        kind = ContentType.objects.db_manager(using).get_for_model(apps.get_model(app, model))
        permissions = Permission.objects.using(using)
        for codename, name in own.items():
            permissions.get_or_create(codename=codename, content_type=kind, defaults={"name": name})
        codenames: list[str] = []
        for name, added in groups.items():
            codenames.extend(added)
            group, _ = Group.objects.using(using).get_or_create(name=name)
            group.permissions.add(*permissions.filter(content_type__app_label=app, codename__in=codenames))
