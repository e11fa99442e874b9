"""What a delivery changes, for the people of its district: how many records come, change and leave, at which school,
and which they are, each with its old and new value.

They have the same in the file, which they may take home. Whoever is asked whether something is right can so look at it,
and not only guess. What looks like another district's roster is shown to nobody.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Final

from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from connections.onboarding.entering import for_people
from connections.onboarding.models import Person
from connections.onboarding.plans import changed, counts, in_numbers, is_planned
from connections.onboarding.receipts import note, sync_of
from rosters import syncs
from rosters.changes import as_csv, page_of
from rosters.diffing import KINDS
from rosters.downloads import or_later
from rosters.models import Sync
from rosters.searches import Search, keyed, search_of
from rosters.storing import StoredDifference, Wanted
from rosters.words import TABLE_WORDS

SCHOOLS_SHOWN: Final = 50
#: The filters that stand in the address; what is looked for does not (`rosters.searches`).
_FILTERS: Final = ("table", "kind", "school")


@require_http_methods(["GET", "POST"])
@for_people
def changes(request: HttpRequest, person: Person, key: str) -> HttpResponse:
    """The page. The filters are sent: what is looked for may be a name."""
    sync = _planned(person, key)
    if at := keyed(request, "text", whose=_whose(person), also=_FILTERS, anchor="#records"):
        return at
    strange = sync.seems_anothers
    schools = [] if strange else _by_school(sync)
    context = {
        "sync": sync,
        "key": key,
        "delivery": sync.delivery,
        "strange": strange,
        "leads": "" if sync.forgotten_at else request.path,
        "numbers": in_numbers(sync),
        "schools": schools[:SCHOOLS_SHOWN],
        "more_schools": len(schools) - SCHOOLS_SHOWN,
    }
    if not strange and not sync.forgotten_at:
        context |= _records(request, person, sync)
    return render(request, "onboarding/changes.html", context)


@require_GET
@or_later
@for_people
def changes_file(request: HttpRequest, person: Person, key: str) -> HttpResponseBase:
    """The records that the page shows under the same filters, all of them, as CSV; no cell of it is a formula."""
    sync = _planned(person, key)
    stored = _stored(sync)
    looked_for = search_of(request, whose=_whose(person))
    if sync.forgotten_at or not stored.tables or sync.seems_anothers:
        raise Http404
    page = f"{reverse('onboarding:changes', args=[key])}?{request.GET.urlencode()}#records"
    if looked_for.over:  # the page says so
        return HttpResponseRedirect(page)
    table, wanted = _asked(request, stored, looked_for)
    file, rows = as_csv(stored, table, wanted)
    with ExitStack() as unless_handed_out:
        unless_handed_out.callback(file.close)
        if not Sync.objects.filter(pk=sync.pk, plan_digest=sync.plan_digest).exists():  # it is made anew just now
            return HttpResponseRedirect(reverse("onboarding:receipt", args=[key]))
        by = [name for name, value in wanted.items() if value and name != "kind"]
        note("person.took_changes", person, sync, table=table, kind=wanted["kind"], rows=rows, filtered_by=by)
        unless_handed_out.pop_all()
    name = f"changes-{sync.received_at:%Y-%m-%d-%H%M}-{table}.csv"
    return FileResponse(file, as_attachment=True, filename=name, content_type="text/csv; charset=utf-8")


def _planned(person: Person, key: str) -> Sync:
    sync = sync_of(person, key)
    if not is_planned(sync):
        raise Http404
    return sync


def _whose(person: Person) -> str:
    """For whom a search is kept: never for one of staff, whose ids are other ones."""
    return f"person-{person.pk}"


def _stored(sync: Sync) -> StoredDifference:
    return syncs.store().difference(sync.district_id, sync.pk)


def _by_school(sync: Sync) -> list[dict[str, Any]]:
    """People of each school, where most leave first."""
    found = sync.tallies.filter(table="users", dimension="school").exclude(key="")
    rows = [counts(tally.label or tally.key, tally) for tally in found if changed(tally)]
    return sorted(rows, key=lambda row: (-row["removed"], -row["added"] - row["updated"], row["what"]))


def _asked(request: HttpRequest, stored: StoredDifference, looked_for: Search) -> tuple[str, Wanted]:
    """The table that is asked for, else that of people or the first; and the filters."""
    asked = request.GET
    table = asked.get("table", "")
    if table not in stored.tables:
        table = "users" if "users" in stored.tables else stored.tables[0]
    kind = asked.get("kind", "")
    wanted: Wanted = {
        "kind": kind if kind in KINDS else "",
        "school": asked.get("school", ""),
        "text": looked_for.words,
    }
    return table, wanted


def _records(request: HttpRequest, person: Person, sync: Sync) -> dict[str, Any]:
    """One page of records, filtered by the address and what is looked for."""
    stored = _stored(sync)
    if not stored.tables:
        return {}
    looked_for = search_of(request, whose=_whose(person))
    table, wanted = _asked(request, stored, looked_for)
    schools = sync.tallies.filter(table=table, dimension="school").exclude(key="")
    return {
        "tables": [(each, TABLE_WORDS[each]) for each in stored.tables],
        "table": table,
        **wanted,
        "at_schools": sorted((tally.label or tally.key, tally.key) for tally in schools if changed(tally)),
        "search_is_over": looked_for.over,
        **page_of(sync, stored, table, wanted, request.GET.get("page", "1"), nothing=looked_for.over),
    }
