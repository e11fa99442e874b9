"""Who is who: records that leave and come again under another id, and the ids that are kept for a district."""

from __future__ import annotations

from typing import Any, Final

import polars as pl
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from rosters import recognising, syncs, tasks
from rosters.admin.changes import one_page
from rosters.admin.searching import keyed, search_of
from rosters.models import LIVE, District, Record, Sync
from rosters.oneroster.plain import NOUNS
from rosters.recognising import WAYS
from rosters.staff import DECIDE, acting, goes_to

#: So many lists are looked through when somebody searches all districts for an id.
_MOST_ASKED: Final = 25
#: Tables of which a district can make a list of old and new ids; of the others nobody keeps anything by their id.
LISTED: Final = ("users", "classes", "orgs", "courses", "academicSessions", "enrollments")


# ------------------------------------------------------------------------------------------------ of a sync that waits


def of_sync(request: HttpRequest, sync: Sync) -> dict[str, Any]:
    """What the page about a sync shows: how many were known again and by what, how many were not, and the pairs."""
    again = syncs.known_again(sync)
    numbers = syncs.counted(again)
    known: dict[str, int] = {}
    for one in numbers:
        known[one.table] = known.get(one.table, 0) + one.number
    tallies = {tally.table: tally for tally in sync.tallies.filter(dimension="")}
    rest = [
        {"table": table, "leave": tallies[table].removed - number, "come": tallies[table].added - number}
        for table, number in known.items()
    ]
    return {
        "sync": sync,
        "district": sync.district,
        "numbers": numbers,
        "rest": [line for line in rest if line["leave"] or line["come"]],
        "in_words": syncs.in_words(known),
        "sure": sum(one.number for one in numbers if one.sure),
        "unsure": sum(one.number for one in numbers if not one.sure),
        **_pairs_of_sync(request, sync, again, numbers),
    }


def _pairs_of_sync(request: HttpRequest, sync: Sync, again: pl.LazyFrame, numbers: list[syncs.Again]) -> dict[str, Any]:
    """One page of the pairs, of the group that is asked for, or of people in doubt, for they are to be looked at."""
    if not numbers:
        return {"pairs": []}
    asked = request.GET.get("group", "")
    worth_a_look = min(range(len(numbers)), key=lambda place: (numbers[place].table != "users", numbers[place].sure))
    place = int(asked) if asked.isdecimal() and len(asked) < 4 and int(asked) < len(numbers) else worth_a_look
    group = numbers[place]
    alike = (pl.col("table") == group.table) & (pl.col("known_by") == group.known_by)
    rows, pages = one_page(request, again.filter(alike & (pl.col("sure") == group.sure)))
    schools = {row["school"] for row in rows} - {""}
    names = dict(sync.tallies.filter(dimension="school", key__in=schools).values_list("key", "label"))
    return {
        "group": group,
        "group_at": place,
        "pairs": [{**row, "place": names.get(row["school"]) or row["school"]} for row in rows],
        **pages,
    }


def keep(request: HttpRequest, sync: Sync) -> Sync:
    """The decision that they are the same; the sync is prepared anew. Raises what `syncs.keep_ids` does."""
    made = syncs.keep_ids(
        sync,
        by=acting(request),
        plan_digest=request.POST.get("plan", ""),
        also_unsure=request.POST.get("unsure") == "yes",
    )
    sync.refresh_from_db()
    tasks.enqueue_prepare(sync)
    messages.success(
        request,
        f"The ids of {syncs.in_words(made.tables)} are kept. The same file is being compared under them; what is left "
        "is what truly changes. Nothing goes live until you approve it.",
    )
    return sync


# ------------------------------------------------------------------------------------------------------ of a district


def page_of_district(request: HttpRequest, district: District, context: dict[str, Any]) -> HttpResponse:
    """The ids that are kept, how they came to be, and the two ways to change that."""
    if at := keyed(request, "q", also=("table",), anchor="#pairs"):
        return at
    if request.method == "POST":
        if not request.user.has_perm(DECIDE):
            raise PermissionDenied
        return _change(request, district)
    made = district.kept_ids
    tables = [table for table in WAYS if made and table in made.tables]
    table = request.GET.get("table", "")
    chosen = table if table in tables else next(iter(sorted(tables, key=lambda t: t != "users")), "")
    search = search_of(request)
    context |= {
        "district": district,
        "made": made,
        "tables": [(t, made.tables[t]) for t in tables] if made else [],
        "table": chosen,
        "search": search.words,
        "search_is_over": search.over,
        "listed": LISTED,
        "may_decide": request.user.has_perm(DECIDE),
        "events": _events(district)[:8],
        "pairs": [],
        "limit": syncs.LARGEST_LIST,
    }
    if chosen and not search.over:
        ids = syncs.scan_ids(district).filter(pl.col("table") == chosen)
        if search.words:
            ids = ids.filter(pl.any_horizontal(pl.col("delivered", "kept") == search.words))
        rows, pages = one_page(request, ids)
        live = LIVE[chosen]._base_manager.filter(district=district, sourced_id__in=[row["kept"] for row in rows])
        found = {record.sourced_id: record for record in live}
        context |= {"pairs": [{**row, "record": found.get(row["kept"])} for row in rows], **pages}
        context["model"] = LIVE[chosen]._meta.model_name
    return TemplateResponse(request, "admin/rosters/district/ids.html", context)


def _events(district: District) -> QuerySet[Any]:
    told = district.audit_events.filter(action__startswith="district.ids_")
    return told.select_related("by", "sync").order_by("-at", "-pk")


def _change(request: HttpRequest, district: District) -> HttpResponse:
    back = goes_to(request, reverse("admin:rosters_district_ids", args=[district.pk]))
    try:
        if "let_go" in request.POST:
            syncs.let_ids_go(district, by=acting(request))
            messages.success(
                request,
                "The list is given up. The next delivery is read under its own ids, and says what that would change.",
            )
            return back
        table, sent = request.POST.get("table", ""), request.FILES.get("file")
        if table not in LISTED or sent is None:
            messages.error(request, "Choose what the ids are of, and a file.")
            return back
        if (sent.size or 0) > syncs.LARGEST_LIST:
            messages.error(request, f"That file is larger than {syncs.LARGEST_LIST // 2**20} MB. Nothing was kept.")
            return back
        pairs = syncs.read_list(sent.read())
        strange = syncs.keep_listed(district, table, pairs, by=acting(request))
    except syncs.BadList as bad:
        messages.error(request, f"The list was not taken. {bad}")
        return back
    except syncs.DecisionRefused as refused:
        messages.error(request, str(refused))
        return back
    kept = len(pairs) - strange
    messages.success(request, f"The ids of {NOUNS[table].count(kept)} are kept, from the next delivery on.")
    if strange:
        messages.warning(
            request,
            f"{strange:,} old id{' of the list is' if strange == 1 else 's of the list are'} not in the live roster: "
            "left out.",
        )
    return back


def sent_as(record: Record, table: str) -> str:
    """Under which id the district sends a record, if it is another; "" else."""
    of = record.district
    sent = recognising.sent_as(syncs.scan_ids(of), table, record.sourced_id) if of.kept_ids else ""
    return sent if sent != record.sourced_id else ""


def kept_under(table: str, sent: str, districts: QuerySet[District]) -> Q:
    """The records of `table` that these districts send as `sent` while another id is kept for them."""
    found = Q(pk=None)
    with_lists = districts.exclude(kept_ids=None).select_related("kept_ids")
    for district in with_lists[:_MOST_ASKED]:
        kept = recognising.kept_for(syncs.scan_ids(district), table, sent)
        if kept != sent:
            found |= Q(district=district, sourced_id=kept)
    return found
