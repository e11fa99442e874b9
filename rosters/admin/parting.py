"""A district leaves: the page on which that is said, and the certificate that everything was deleted."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from rosters import syncs
from rosters.models import LEAVES_AFTER, District
from rosters.staff import acting


def may_part(request: HttpRequest) -> bool:
    """Whether who asks may say that a district leaves, or stays: whoever may add one."""
    return bool(request.user.has_perm("rosters.add_district"))


class LeaveForm(forms.Form):
    """`typed` must be the district's site code: nobody ends a district by a slip."""

    typed = forms.CharField(
        label="Site code of the district", help_text="Type it, so that it is this district you mean."
    )
    reason = forms.CharField(
        max_length=500, label="Why", help_text="For colleagues and the certificate; no names of people of the district."
    )

    def __init__(self, district: District, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.district = district
        for name, field in self.fields.items():
            field.widget.attrs |= {"aria-describedby": f"help-{name}", "autocomplete": "off"}

    def clean_typed(self) -> str:
        typed: str = self.cleaned_data["typed"].strip()
        if typed != self.district.site_code:
            raise forms.ValidationError("This is not the site code of this district. Nothing was done.")
        return typed


def leave(request: HttpRequest, district: District, context: dict[str, Any]) -> HttpResponse:
    if not may_part(request):
        raise PermissionDenied
    form = LeaveForm(district, request.POST or None)
    refusal = ""
    if request.method == "POST" and form.is_valid():
        try:
            syncs.leave(district, by=acting(request), reason=form.cleaned_data["reason"])
        except syncs.DecisionRefused as refused:
            refusal = str(refused)
        else:
            messages.success(
                request,
                "Nothing comes in any more, and no tool reads it. Until everything is deleted it may still stay.",
            )
            return _back(district)
    context |= {
        "district": district,
        "form": form,
        "refusal": refusal,
        "days": LEAVES_AFTER.days,
        "title": f"{district} leaves",
    }
    status = 409 if refusal else (422 if form.errors else 200)
    return TemplateResponse(request, "admin/rosters/district/leave.html", context, status=status)


def stay(request: HttpRequest, district: District) -> HttpResponse:
    if not may_part(request):
        raise PermissionDenied
    try:
        syncs.stay(district, by=acting(request))
    except syncs.DecisionRefused as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, "It stays: its connections run, its people may come in, and tools read it as before.")
    return _back(district)


def certificate(request: HttpRequest, district: District, context: dict[str, Any]) -> HttpResponse:
    context |= {
        "district": district,
        "title": f"Certificate of deletion: {district}",
        **syncs.certificate(district),
        "numbers": {**district.left_with, "others": district.left_with.get("others", {}).items()},
    }
    return TemplateResponse(request, "admin/rosters/district/certificate.html", context)


def _back(district: District) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:rosters_district_change", args=[district.pk]))
