"""What is kept of a district's people: how much of it comes, and what is not kept at all."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from rosters import syncs
from rosters.models import District
from rosters.staff import acting
from rosters.words import not_kept_words

#: What a person calls the groups of the page.
_GROUPS = {"users": "Of people", "userProfiles": "Of login profiles", "demographics": "Demographics"}


def page(request: HttpRequest, district: District, context: dict[str, Any]) -> HttpResponse:
    """Each field that a roster can do without, and whether it is kept; who may change a district chooses."""
    at = reverse("admin:rosters_district_kept", args=[district.pk])
    refusal = ""
    if request.method == "POST":
        if not request.user.has_perm("rosters.change_district"):
            raise PermissionDenied
        try:
            changed = syncs.keep_without(district, request.POST.getlist("not_kept"), by=acting(request))
        except syncs.DecisionRefused as refused:
            refusal = str(refused)
        else:
            said = "Saved. It leaves the live roster with the next delivery, and is not kept from then on."
            messages.success(request, said if changed else "That was so already.")
            return HttpResponseRedirect(at)
    cells = syncs.cells_kept(district)
    context |= {
        "title": f"What is kept of {district}",
        "district": district,
        "page_at": at,
        "refusal": refusal,
        "groups": [(word, [each for each in cells if each.table == table]) for table, word in _GROUPS.items()],
        "not_kept": not_kept_words(district.not_kept),
        "may_change": request.user.has_perm("rosters.change_district") and district.leaving_since is None,
    }
    status = 409 if refusal else 200
    return TemplateResponse(request, "admin/rosters/district/kept.html", context, status=status)
