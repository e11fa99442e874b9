"""Who is looked for in a district's files: found by name, number or id also where nobody of that name is live, with the
line, what was found in it and what became of it. One look is one row of the audit trail, without who it was about."""

from __future__ import annotations

from typing import Any, Final

from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from rosters import syncs
from rosters.admin.history import TABLE_OF
from rosters.admin.searching import keyed, search_of
from rosters.downloads import note_taken
from rosters.models import District, Record, Sync
from rosters.staff import acting, may_see

#: The field of the form, and what else it says.
_WHO: Final = "who"
_ALSO: Final = ("sync",)


def page(request: HttpRequest, frame: dict[str, Any]) -> HttpResponse:
    """Look for somebody in a file of the district that the address names. Raises `downloads.CannotNote`."""
    if answer := keyed(request, _WHO, also=_ALSO):
        return answer
    search, district = search_of(request), _district(request)
    context: dict[str, Any] = {**frame, "title": "In the newest file", "search": search, "district": district}
    if district is None:
        context["districts"] = District.objects.order_by("name").values_list("pk", "name")
        return TemplateResponse(request, "admin/rosters/record/in_file.html", context)
    context |= _files(request, district)
    if search.words and context["sync"]:
        _note(request, context["sync"])
        row = request.GET.get("row", "")
        context["found"] = syncs.look_for(context["sync"], search.words, row, without=_hidden(request))
    return TemplateResponse(request, "admin/rosters/record/in_file.html", context)


def of_record(request: HttpRequest, record: Record) -> dict[str, Any]:
    """What a file of its district says of a live record. Raises `downloads.CannotNote`."""
    table = TABLE_OF[type(record)]
    context = _files(request, record.district)
    sync: Sync | None = context["sync"]
    if sync:
        _note(request, sync)
        context["trace"] = syncs.trace(sync, table, record.sourced_id, as_live=True, without=_hidden(request))
    return context


def _district(request: HttpRequest) -> District | None:
    """The district that is asked for; None where none is. Raises Http404 where there is no such one."""
    asked = request.GET.get("district", "")
    if not asked:
        return None
    found = District.objects.filter(pk=int(asked)).first() if asked.isdecimal() and len(asked) < 19 else None
    if found is None:
        raise Http404
    return found


def _files(request: HttpRequest, district: District) -> dict[str, Any]:
    """The newest files, and the one that is asked for, else the first."""
    files = syncs.newest_files(district)
    asked = request.GET.get("sync", "")
    return {"files": files, "sync": next((each for each in files if str(each.pk) == asked), next(iter(files), None))}


def _hidden(request: HttpRequest) -> list[str]:
    return [] if may_see(request, "demographics") else ["demographics"]


def _note(request: HttpRequest, sync: Sync) -> None:
    note_taken("delivery.looked_into", sync, by=acting(request))
