"""A sync: where it stands, what came, what it would change and why, what was found, and the decision."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode

import polars as pl
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from rosters import syncs, tasks
from rosters.admin import left_without, who_is_who
from rosters.admin.audit import ReadOnly
from rosters.admin.changes import FILTERS, changes_context, changes_file
from rosters.admin.district_form import setting_for
from rosters.admin.districts import OfProduct, Owner, settled
from rosters.admin.scope_form import ScopeForm, in_words
from rosters.admin.searching import keyed, search_of
from rosters.diffing import DIMENSIONS, KINDS
from rosters.downloads import note_taken, or_later
from rosters.explaining import counted
from rosters.explaining.moves import moves_in_all
from rosters.holding import Which, limit_of
from rosters.models import Delivery, District, Finding, Hold, Org, Sync, Tally
from rosters.oneroster.normal import TABLES
from rosters.oneroster.plain import listed
from rosters.staff import DECIDE, acting, may_see
from rosters.words import (
    ANOTHER_STEP,
    BEHIND_STEP,
    DECLINE_STEP,
    DECLINE_UNDO_STEP,
    HELD_STEP,
    NOTHING_STEP,
    OURS_STEP,
    SYNC_WORDS,
    Words,
    sync_words,
)

S = Sync.Status
GROUPS_SHOWN = 50
CONFLICTS_SHOWN = 50
LATER_SHOWN = 10
HTMX_STOP_POLLING = 286
#: The position of a finding whose places are not told.
_NOWHERE = -1
#: Stretches of days by which deliveries can be looked for.
_LAST = {"7d": 7, "30d": 30}
#: Where a change of settings matters: checked again, such a sync may end otherwise.
_CHECKED_AGAIN = (Sync.Status.READY, Sync.Status.AWAITING_REVIEW, Sync.Status.REJECTED)


class Standing(admin.SimpleListFilter):
    """Syncs by their status, in the words that stand in the list."""

    title = "status"
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        ended = (S.APPLIED, S.UNCHANGED, S.REJECTED, S.FAILED, S.DECLINED, S.SUPERSEDED)
        return [
            ("waiting", "Waits for a decision"),
            ("running", SYNC_WORDS[S.RECEIVED].word),
            *((str(status), SYNC_WORDS[status].word) for status in ended),
        ]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        groups = {"waiting": Sync.WAITING, "running": Sync.RUNNING}
        asked = self.value()
        return queryset.filter(status__in=groups.get(asked, [asked])) if asked else queryset


class DryRuns(admin.SimpleListFilter):
    """Those alone: nowhere else are they among what happened to a district."""

    title = "dry run"
    parameter_name = "dry_run"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "Dry runs")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(dry_run=True) if self.value() else queryset


class Came(admin.SimpleListFilter):
    """Syncs of deliveries that came on one day of the reader's (``2026-11-24``), in one hour of it (``2026-11-24T02``),
    or on one of the last days (``7d``)."""

    title = "when it came"
    parameter_name = "came"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        today = timezone.localdate()
        days = [
            (today.isoformat(), "Today"),
            ((today - timedelta(days=1)).isoformat(), "Yesterday"),
            *((key, f"In the last {number} days") for key, number in _LAST.items()),
        ]
        asked = request.GET.get("came", "")
        return (
            days if asked in ("", *dict(days)) else [*days, (asked, asked.replace("T", ", ") + ":00" * ("T" in asked))]
        )

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if not self.value():
            return queryset
        asked = str(self.value())
        if asked in _LAST:
            since = timezone.now() - timedelta(days=_LAST[asked])
            return queryset.filter(received_at__gte=since, delivery__isnull=False)
        try:
            first = timezone.make_aware(datetime.fromisoformat(asked))
            beyond = first + (timedelta(hours=1) if "T" in asked else timedelta(days=1))
            _ = first.astimezone(UTC), beyond.astimezone(UTC)  # as the database will have them
        except (ValueError, OverflowError):
            return queryset.none()
        return queryset.filter(received_at__gte=first, received_at__lt=beyond, delivery__isnull=False)


@admin.register(Sync)
class SyncAdmin(ReadOnly):
    nothing_yet = "A sync begins with a delivery: upload one on a district's page, or set up a connection there."
    list_display = ("received", "district", "outcome", "why", "plus", "tilde", "minus")
    list_display_links = ("received",)
    list_filter = (Standing, Came, DryRuns, OfProduct, ("district__owner", Owner))
    list_select_related = ("district", "delivery", "undoes")
    search_fields = ("district__name", "district__site_code", "delivery__name")
    list_per_page = 50
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> Any:
        return Sync.with_dry_runs.all() if request.GET.get("dry_run") else super().get_queryset(request)

    @admin.display(description="received", ordering="received_at")
    def received(self, sync: Sync) -> str:
        from rosters.templatetags.roster_pages import ago

        return ago(sync.received_at)

    @admin.display(description="status", ordering="status")
    def outcome(self, sync: Sync) -> str:
        from rosters.templatetags.roster_pages import status

        return status(sync)

    @admin.display(description="why")
    def why(self, sync: Sync) -> str:
        return sync.verdict or sync.error or ("undo" if sync.is_undo else "")

    @admin.display(description="+ added", ordering="added")
    def plus(self, sync: Sync) -> str:
        return f"{sync.added:,}" if sync.added else ""

    @admin.display(description="~ changed", ordering="updated")
    def tilde(self, sync: Sync) -> str:
        return f"{sync.updated:,}" if sync.updated else ""

    @admin.display(description="− removed", ordering="removed")
    def minus(self, sync: Sync) -> str:
        return f"{sync.removed:,}" if sync.removed else ""

    # -- addresses

    def get_urls(self) -> list[URLPattern]:
        def own(route: str, view: Any, name: str) -> URLPattern:
            pattern: URLPattern = path(
                f"<int:pk>/{route}", self.admin_site.admin_view(view), name=f"rosters_sync_{name}"
            )
            return pattern

        return [
            own("progress/", require_GET(self.progress), "progress"),
            own("changes/", require_http_methods(["GET", "POST"])(self.changes), "changes"),
            own("approve/", require_POST(self.approve), "approve"),
            own("take-back/", require_POST(self.take_back), "take_back"),
            own("go-live/", require_POST(self.go_live), "go_live"),
            own("decline/", require_POST(self.decline), "decline"),
            own("undo/", require_POST(self.undo), "undo"),
            own("retry/", require_POST(self.retry), "retry"),
            own("for-real/", require_POST(self.for_real), "for_real"),
            own("only-about/", require_POST(self.only_about), "only_about"),
            own("additions-first/", require_POST(self.additions_first), "additions_first"),
            own("go-without/", require_POST(self.go_without), "go_without"),
            own("left/", require_GET(self.left), "left"),
            own("who-is-who/", require_GET(self.who_is_who), "who_is_who"),
            own("keep-ids/", require_POST(self.keep_ids), "keep_ids"),
            own("original/", or_later(require_GET(self.original)), "original"),
            own("changes.csv", or_later(require_GET(self.changes_csv)), "changes_csv"),
            own("findings.csv", or_later(require_GET(self.findings_csv)), "findings"),
            *super().get_urls(),
        ]

    def _sync(self, request: HttpRequest, pk: int) -> Sync:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return get_object_or_404(
            Sync.with_dry_runs.select_related(
                "district", "delivery", "undoes", "base", "decided_by", "kept_ids", "first_approved_by"
            ),
            pk=pk,
        )

    def _back(self, sync: Sync) -> HttpResponse:
        return HttpResponseRedirect(_address(sync))

    # -- the page

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        if not object_id.isdecimal():
            raise Http404
        sync = self._sync(request, int(object_id))
        return keyed(request, "text") or self._page(request, sync)

    def _page(self, request: HttpRequest, sync: Sync, *, status: int = 200, notice: str = "") -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            **_page_context(request, sync),
            "opts": self.opts,
            "title": f"Sync of {sync.district}",
            "notice": notice,
            "may_decide": request.user.has_perm(DECIDE),
            "may_set": request.user.has_perm("rosters.change_district"),
        }
        return TemplateResponse(request, "admin/rosters/sync/page.html", context, status=status)

    def progress(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The head's progress, asked for every second; when the sync has come to rest the page is loaded anew."""
        sync = self._sync(request, pk)
        if sync.waits_for_its_hour:
            return HttpResponse(status=204)
        if sync.status in Sync.RUNNING:
            return TemplateResponse(request, "admin/rosters/sync/_progress.html", {"sync": sync})
        answer = HttpResponse(status=HTMX_STOP_POLLING)
        # Not a reload: the page may be the answer to a decision, which must not be sent a second time.
        answer["HX-Redirect"] = _address(sync)
        return answer

    def changes(self, request: HttpRequest, pk: int) -> HttpResponse:
        """One page of the difference; the part alone for htmx, the whole page for everybody else. The filters are sent:
        what is looked for may be a name."""
        sync = self._sync(request, pk)
        if at := keyed(request, "text", also=FILTERS, anchor="#changes"):
            return at
        if request.headers.get("HX-Request"):
            return TemplateResponse(
                request, "admin/rosters/sync/_changes.html", {"sync": sync, **changes_context(request, sync)}
            )
        return self._page(request, sync)

    # -- the decision

    def _decide(self, request: HttpRequest, pk: int) -> Sync:
        if not request.user.has_perm(DECIDE):
            raise PermissionDenied
        return self._sync(request, pk)

    def approve(self, request: HttpRequest, pk: int) -> HttpResponse:
        sync = self._decide(request, pk)
        try:
            decided = syncs.approve(
                sync,
                by=acting(request),
                plan_digest=request.POST.get("plan", ""),
                reason=request.POST.get("reason", ""),
                go_live_at=_by_their_clock(sync.district, request.POST["go_live_at"])
                if "go_live_at" in request.POST
                else None,
            )
        except syncs.StalePlan as stale:
            return self._stale(request, sync, stale)
        except syncs.DecisionRefused as refused:
            return self._page(request, self._sync(request, pk), status=409, notice=str(refused))
        if not decided:
            said = "Approved by you. So many people are removed by two: somebody else must approve it."
            later = " Whoever does says when it goes live." if "go_live_at" in request.POST else ""
            messages.success(request, said + later)
            return self._back(sync)
        if sync.go_live_at:
            messages.success(request, "Approved. It goes live at its hour; until then the old roster stays live.")
            return self._back(sync)
        tasks.enqueue_apply(sync)
        messages.success(
            request, "Approved. The changes are being written; until they are all in, the old roster stays live."
        )
        return self._back(sync)

    def take_back(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._of_its_hour(request, pk, syncs.take_back, "Taken back: it waits for a decision again.")

    def go_live(self, request: HttpRequest, pk: int) -> HttpResponse:
        said = "The changes are being written; until they are all in, the old roster stays live."
        return self._of_its_hour(request, pk, syncs.go_live_now, said)

    def _of_its_hour(self, request: HttpRequest, pk: int, decide: Callable[..., None], said: str) -> HttpResponse:
        """What is decided about a plan that waits for its hour."""
        sync = self._decide(request, pk)
        try:
            decide(sync, by=acting(request))
        except syncs.DecisionRefused as refused:
            return self._page(request, self._sync(request, pk), status=409, notice=str(refused))
        if sync.status == Sync.Status.APPROVED:
            tasks.enqueue_apply(sync)
        messages.success(request, said)
        return self._back(sync)

    def decline(self, request: HttpRequest, pk: int) -> HttpResponse:
        sync = self._decide(request, pk)
        reason = request.POST.get("reason", "").strip()
        if not reason:
            return self._page(
                request, sync, status=409, notice="Say why, so that the district and your colleagues know."
            )
        try:
            syncs.decline(sync, by=acting(request), reason=reason)
        except syncs.DecisionRefused as refused:
            return self._page(request, self._sync(request, pk), status=409, notice=str(refused))
        messages.success(request, "Declined. Nothing was written; the roster is as it was.")
        return self._back(sync)

    def undo(self, request: HttpRequest, pk: int) -> HttpResponse:
        said = "The way back is being worked out. Nothing changes until you approve it on this page."
        school, kind = (request.POST.get(name, "") for name in ("school", "kind"))
        if kind not in ("", *KINDS):
            raise BadRequest
        return self._anew(request, pk, partial(syncs.undo, school=school, kind=kind), said)

    def retry(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._anew(request, pk, syncs.retry, "The same file is being checked again.")

    def for_real(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The file of a dry run becomes a delivery like any other."""
        said = "The same file is being checked to go live. Nothing changes until you approve it on this page."
        return self._anew(request, pk, partial(syncs.dry_run_again, for_real=True), said)

    def additions_first(self, request: HttpRequest, pk: int) -> HttpResponse:
        said = (
            "What comes and changes is being worked out without the removals. Nothing changes until you approve it on "
            "this page; the removals are put before you afterwards."
        )
        return self._anew(request, pk, syncs.additions_first, said)

    def go_without(self, request: HttpRequest, pk: int) -> HttpResponse:
        """All of it but what one hold is about."""
        said = (
            "The rest is being worked out. Nothing changes until you approve it on this page; what waits is put before "
            "you afterwards."
        )
        which = Which(*(request.POST.get(name, "") for name in Which._fields))
        return self._anew(request, pk, partial(syncs.go_without, which=which), said)

    def who_is_who(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Who leaves and comes again under another id."""
        sync = self._sync(request, pk)
        if not syncs.may_look(sync):
            return self._back(sync)
        context = {
            **self.admin_site.each_context(request),
            **who_is_who.of_sync(request, sync),
            "opts": self.opts,
            "title": f"Who is who in the sync of {sync.district}",
            "may_decide": request.user.has_perm(DECIDE),
        }
        return TemplateResponse(request, "admin/rosters/sync/who_is_who.html", context)

    def left(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Who stays, and would be left without a class or a teacher."""
        sync = self._sync(request, pk)
        context = {
            **self.admin_site.each_context(request),
            "title": "Left without",
            **left_without.of_sync(request, sync),
        }
        return TemplateResponse(request, "admin/rosters/sync/left.html", context)

    def only_about(self, request: HttpRequest, pk: int) -> HttpResponse:
        sync = self._decide(request, pk)
        form = ScopeForm(request.POST, district=sync.district)
        if not form.is_valid():
            notice = "One of those schools or terms is not live any more: choose again."
            return self._page(request, sync, status=409, notice=notice)
        said = "The same file is read as one about these alone. Of all else nothing changes."
        return self._anew(request, pk, partial(syncs.only_about, scope=form.scope()), said)

    def keep_ids(self, request: HttpRequest, pk: int) -> HttpResponse:
        sync = self._decide(request, pk)
        try:
            return self._back(who_is_who.keep(request, sync))
        except syncs.DecisionRefused as refused:
            return self._page(request, self._sync(request, pk), status=409, notice=str(refused))

    def _anew(self, request: HttpRequest, pk: int, make: Callable[..., Sync], said: str) -> HttpResponse:
        """A decision that makes another sync, whose page is the next to be seen."""
        sync = self._decide(request, pk)
        try:
            made = make(sync, by=acting(request))
        except syncs.DecisionRefused as refused:
            return self._page(request, self._sync(request, pk), status=409, notice=str(refused))
        tasks.enqueue_prepare(made)
        messages.success(request, said)
        return self._back(made)

    def _stale(self, request: HttpRequest, sync: Sync, stale: Exception) -> HttpResponse:
        """The roster moved since the page was read: nothing was approved, and the new plan is on its way."""
        fresh = self._sync(request, sync.pk)
        if fresh.status == Sync.Status.RECEIVED:
            tasks.enqueue_prepare(fresh)
        return self._page(request, fresh, status=409, notice=str(stale))

    # -- downloads

    def original(self, request: HttpRequest, pk: int) -> FileResponse:
        sync = self._decide(request, pk)
        if sync.delivery is None:
            raise Http404
        stored = syncs.store().original(sync.district_id, sync.delivery.sha256)
        if sync.delivery.forgotten_at or not stored.exists():
            raise Http404
        note_taken("delivery.taken_out", sync.delivery, by=acting(request), sync=sync)
        return FileResponse(stored.open("rb"), as_attachment=True, filename=sync.delivery.name)

    def changes_csv(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The records that the page shows under the same filters, all of them."""
        sync = self._decide(request, pk)
        if at := keyed(request, "text"):
            return at
        if search_of(request).over:  # the page says so
            return HttpResponseRedirect(f"{reverse('admin:rosters_sync_changes', args=[pk])}?{request.GET.urlencode()}")
        file, about = changes_file(request, sync)
        with ExitStack() as unless_handed_out:
            unless_handed_out.callback(file.close)
            if not Sync.with_dry_runs.filter(pk=pk, plan_digest=sync.plan_digest).exists():
                fresh, notice = self._sync(request, pk), "The plan was made anew meanwhile: download its changes again."
                return self._page(request, fresh, status=409, notice=notice)
            note_taken("changes.taken_out", sync, by=acting(request), about=about)
            unless_handed_out.pop_all()
        name = f"changes-{sync.district.site_code}-{pk}-{about['table']}.csv"
        return FileResponse(file, as_attachment=True, filename=name, content_type="text/csv; charset=utf-8")

    def findings_csv(self, request: HttpRequest, pk: int) -> StreamingHttpResponse:
        sync = self._sync(request, pk)
        told = sync.findings.values("position", "code", "severity", "file", "column", "message", "next_step")
        rows = [row if _shown(request, row["file"]) else {**row, "position": _NOWHERE} for row in told]
        note_taken("findings.taken_out", sync, by=acting(request))
        answer = StreamingHttpResponse(
            syncs.store().places_csv(sync.district_id, sync.pk, rows), content_type="text/csv; charset=utf-8"
        )
        answer["Content-Disposition"] = f'attachment; filename="findings-{sync.district.site_code}-{sync.pk}.csv"'
        return answer


# ------------------------------------------------------------------------------------------------------- what the
# page shows


def _looks_to_be_about(sync: Sync) -> dict[str, list[str]]:
    """The schools that would stay, where some would go: that may be what the file is about."""
    if sync.speaks_for or not sync.tallies.filter(table="orgs", dimension="", removed__gt=0).exists():
        return dict(sync.speaks_for)
    gone = syncs.store().difference(sync.district_id, sync.pk).scan("orgs")
    going = gone.filter(pl.col("kind") == "removed").select("sourcedId").collect().to_series().to_list()
    live = Org.objects.of(sync.district).active().filter(type="school").exclude(sourced_id__in=going)
    return {"schools": list(live.values_list("sourced_id", flat=True))}


def _page_context(request: HttpRequest, sync: Sync) -> dict[str, Any]:
    tallies = list(sync.tallies.filter(dimension="")) if sync.plan_digest else []
    order = {table: index for index, table in enumerate(TABLES)}
    tallies.sort(key=lambda t: order.get(t.table, 99))
    holds = list(sync.holds.all())
    held_tables = {h.table for h in holds}
    for hold in holds:
        hold.records_at = _records_of(hold, {t.table: t for t in tallies})  # type: ignore[attr-defined]
        hold.leads_to_who = _leads_to_who(hold)  # type: ignore[attr-defined]
        hold.may_wait = syncs.may_go_without(sync, hold)  # type: ignore[attr-defined]
    approvable = all(h.approvable for h in holds)
    waits = sync.status == Sync.Status.AWAITING_REVIEW
    conflicts, conflicts_in_all = syncs.undo_conflicts(sync, CONFLICTS_SHOWN) if sync.undoes else ([], 0)
    later = Sync.objects.filter(delivery=sync.delivery_id, pk__gt=sync.pk).order_by("-pk")
    goes_on = later.first() if sync.delivery_id else None
    newer_came = bool(settled([sync]))
    behind = syncs.stands_behind(sync) if sync.status in Sync.WAITING and approvable else None
    stands = _stands(sync, holds if waits else [], approvable=approvable, goes_on=goes_on, newer_came=newer_came)
    stands = replace(stands, next_step=BEHIND_STEP) if behind else stands
    undos = sync.undone_by.exclude(status__in=["declined", "superseded", "failed", "unchanged"]).filter(undone_at=None)
    context: dict[str, Any] = {
        "sync": sync,
        "district": sync.district,
        "parts_undone": undos.exclude(undo_only={}).order_by("pk"),
        "page_at": _address(sync),
        "changes_at": reverse("admin:rosters_sync_changes", args=[sync.pk]),
        "words": stands,
        "next_morning": _next_morning(sync.district),
        "latest_hour": _local(sync.district, timezone.now() + syncs.AT_MOST_LATER),
        "goes_live": _local(sync.district, sync.go_live_at) if sync.go_live_at else None,
        "goes_on": goes_on,
        "newer": _newer(sync),
        "behind": behind,
        "holds": [hold for hold in holds if not hold.explained],
        "explained": [hold for hold in holds if hold.explained],
        "approvable": approvable,
        "some_may_wait": any(hold.may_wait for hold in holds),  # type: ignore[attr-defined]
        "tallies": tallies,
        "held_tables": held_tables,
        **_groups(sync, request.GET.get("by", ""), holds),
        "findings": _findings(request, sync),
        "new_findings": sync.findings.filter(is_new=True).count(),
        "may_check_again": (again := not newer_came and _may_check_again(sync, goes_on)),
        "settings_changed": again and sync.status in _CHECKED_AGAIN and syncs.settings_changed(sync),
        "may_add_first": syncs.may_add_first(sync),
        "left_for_later": _left_for_later(sync),
        "needs_two": sync.status in Sync.WAITING and sync.needs_two_people,
        "first_of_two": sync.first_approved_by_id == request.user.pk,
        "may_look": syncs.may_look(sync) and approvable,
        "ids_changed": any(_leads_to_who(hold) for hold in holds if not hold.explained),
        "newer_has_come": sync.dry_run and syncs.newer_has_come(sync),
        "moves_in_all": moves_in_all(sync.grade_moves),
        "moves_lead_to": "" if sync.forgotten_at else reverse("admin:rosters_sync_changes", args=[sync.pk]),
        "undo_until": _undo_until(sync),
        "undo_schools": _undo_schools(sync),
        "undoing": undos.filter(undo_only={}).first(),
        "consequences": left_without.numbers(sync),
        "about": in_words(sync.district, sync.speaks_for),
        "about_form": ScopeForm.of(sync.district, _looks_to_be_about(sync)) if syncs.may_be_only_about(sync) else None,
        "conflicts": conflicts,
        "conflicts_in_all": conflicts_in_all,
        "later": _applied_later(sync.undoes if sync.undoes and not sync.applied_at else sync),
        "audit": sync.audit_events.select_related("by").order_by("at", "id"),
        "changes_in_all": sync.added + sync.updated + sync.removed,
        "in_all_words": _in_all_words(sync),
    }
    if context["changes_in_all"] and sync.plan_digest:
        context.update(changes_context(request, sync))
    return context


def _left_for_later(sync: Sync) -> list[str]:
    """What the holds said whose changes are decided after it."""
    aside = [Which(*each) for each in sync.set_aside]
    earlier = Hold.objects.filter(sync__delivery=sync.delivery_id, sync__lt=sync.pk).order_by("-sync", "position")
    said = earlier.values_list("code", "table", "dimension", "saw") if aside else ()
    found: dict[Which, str] = {}
    for *which, saw in said:
        found.setdefault(Which(*which), saw)
    return [found[which] for which in aside if which in found]


def _leads_to_who(hold: Hold) -> bool:
    """Whether its next step is to look who is who."""
    return hold.code == "ID_CHURN" or bool(hold.numbers.get("again"))


def _undo_schools(sync: Sync) -> list[Tally]:
    """The schools of which a part of a sync could be taken back, if it changed several."""
    if sync.status != Sync.Status.APPLIED:
        return []
    lines = sync.tallies.filter(table="users", dimension="school").exclude(key="").order_by("label")
    changed = [line for line in lines if line.added or line.updated or line.removed]
    return changed if len(changed) > 1 else []


def _in_all_words(sync: Sync) -> str:
    """ "12 removals, 3 changes and 1 addition"; what there is none of is not named."""
    kinds = ((sync.removed, "removal"), (sync.updated, "change"), (sync.added, "addition"))
    return listed([counted(number, word) for number, word in kinds if number])


def _newer(sync: Sync) -> Sync | None:
    """The sync that took the place of this one."""
    if sync.status != Sync.Status.SUPERSEDED:
        return None
    told = sync.audit_events.filter(action="sync.superseded").order_by("-pk").first()
    return Sync.objects.filter(pk=told.after.get("by"), district=sync.district_id).first() if told else None


def _is_ours(sync: Sync) -> bool:
    """Whether it was refused, and one of our staff had uploaded it: the district need not know."""
    ours = sync.delivery is not None and sync.delivery.origin == Delivery.Origin.STAFF
    return ours and sync.status == Sync.Status.REJECTED


def _may_check_again(sync: Sync, goes_on: Sync | None) -> bool:
    """Whether `syncs.retry` would take it, and it is the one of its delivery to be taken."""
    if sync.delivery is None or sync.delivery.forgotten_at or goes_on:
        return False
    return sync.dry_run or (sync.status in (*Sync.WAITING, *Sync.STUCK) and syncs.may_check_again(sync))


def _stands(sync: Sync, holds: list[Hold], *, approvable: bool, goes_on: Sync | None, newer_came: bool) -> Words:
    """Where it stands, what a person does now, and whose move it is. `holds`: of a sync that waits; `goes_on`: a later
    one of the same delivery; `newer_came`: a newer one settles it."""
    words = sync_words(sync, newer_came=newer_came)
    if holds and approvable:
        return replace(words, next_step=HELD_STEP)
    if holds:
        return replace(words, next_step=DECLINE_UNDO_STEP if sync.is_undo else DECLINE_STEP)
    if goes_on and sync.ended:
        return replace(words, next_step=ANOTHER_STEP, owner="nobody")
    if sync.status == Sync.Status.APPLIED and not sync.undone_at:
        return replace(words, next_step=NOTHING_STEP)  # its undo stands below
    if _is_ours(sync) and words.owner != "nobody":
        return replace(words, next_step=OURS_STEP, owner="staff")
    return words


#: Which changes a hold is about, where it is not those that are removed; "" for all.
_ABOUT = {
    "OTHER_PEOPLE": "updated", "FIRST_DELIVERY": "added", "DOUBLED": "added",
    "GROWN": "added", "ID_CHURN": "", "HEADERS_CHANGED": "",
}  # fmt: skip


def _records_of(hold: Hold, tallies: Mapping[str, Tally]) -> str:
    """The query that shows the records a hold is about, of the page of changes; "" where there are none to be seen."""
    table = hold.table
    kind = "updated" if hold.code.endswith("UPDATED_SHARE") else _ABOUT.get(hold.code, "removed")
    if hold.code == "SCHOOL_GONE" and not (table in tallies and tallies[table].removed):
        table = "users"  # the school itself stays, with nobody in it
    counts = tallies.get(table)
    seen = counts and (getattr(counts, kind) if kind else counts.added + counts.updated + counts.removed)
    if not seen or (hold.code == "WRONG_DISTRICT" and not hold.approvable):
        return ""
    one = hold.dimension in DIMENSIONS and hold.numbers.get("groups", 1) == 1
    group = {hold.dimension: hold.key} if one else {}
    return urlencode({"table": table, **group, **({"kind": kind} if kind else {})})


def _local(district: District, moment: datetime) -> datetime:
    return moment.astimezone(district.zone)


def _next_morning(district: District) -> datetime:
    """Six in the morning by the district's clock, before its schools begin."""
    now = _local(district, timezone.now())
    six = now.replace(hour=6, minute=0, second=0, microsecond=0)
    return six if six > now else six + timedelta(days=1)


def _by_their_clock(district: District, said: str) -> datetime:
    """What a field of date and time says, by the district's clock. Raises DecisionRefused."""
    try:
        return datetime.fromisoformat(said).replace(tzinfo=district.zone)
    except ValueError:
        raise syncs.DecisionRefused(
            "Say on which day and at what time it is to go live. Nothing was approved."
        ) from None


def _address(sync: Sync) -> str:
    return reverse("admin:rosters_sync_change", args=[sync.pk])


#: How people can be grouped under the difference: dimension of the tallies, word of the tab, head of the column.
GROUPINGS = (("school", "By school", "School"), ("grade", "By grade", "Grade"), ("role", "By role", "Role"))


def _is_held(sync: Sync, tally: Tally, holds: Sequence[Hold], whole: Mapping[str, Tally]) -> bool:
    """Whether this group is one that a hold is about: it names the worst of them, and says how many there are."""
    for hold in (hold for hold in holds if hold.dimension == tally.dimension):
        if hold.key == tally.key:
            return True
        kind = "updated" if hold.code.endswith("UPDATED_SHARE") else "removed"
        if hold.numbers.get("groups", 1) == 1 or hold.table != tally.table or not tally.before:
            continue
        number, of_all = getattr(tally, kind), whole[tally.table]
        least = max(hold.numbers["limit"], 2 * getattr(of_all, kind) / (_that_could(of_all, kind) or 1))
        share = number / (_that_could(tally, kind) or 1)
        if share > least and number >= limit_of(sync.district.hold_limits, "group_floor"):
            return True
    return False


def _that_could(tally: Tally, kind: str) -> int:
    """How many were there of which the delivery could say that they are removed, or changed."""
    return tally.before - int(tally.apart.get(kind, 0))


def _groups(sync: Sync, asked: str, holds: Sequence[Hold]) -> dict[str, Any]:
    """People per school, grade or role, what changed most first; `asked` is the tab, else the one that a hold names."""
    held = {hold.dimension for hold in holds}
    whole = {tally.table: tally for tally in sync.tallies.filter(dimension="")}
    lines = sync.tallies.filter(table__in=["users", "enrollments", "classes"]).exclude(key="")
    there = set(lines.filter(table="users").order_by().values_list("dimension", flat=True).distinct())
    tabs = [tab for tab in GROUPINGS if tab[0] in there]
    by = next((d for d, _, _ in tabs if d == asked), "") or next((d for d, _, _ in tabs if d in held), "")
    by = by or (tabs[0][0] if tabs else "")
    groups: dict[str, dict[str, Any]] = {}
    for tally in lines.filter(dimension=by) if by else ():
        row = groups.setdefault(
            tally.key,
            {
                "key": tally.key,
                "label": tally.label or tally.key,
                "held": False,
                "before": 0,
                "added": 0,
                "updated": 0,
                "removed": 0,
                "enrollments": 0,
                "all": 0,
            },
        )
        changes = tally.added + tally.updated + tally.removed
        row["all"] += changes
        row["held"] = row["held"] or _is_held(sync, tally, holds, whole)
        if tally.table == "enrollments":
            row["enrollments"] = changes
        if tally.table == "users":
            row.update(before=tally.before, added=tally.added, updated=tally.updated, removed=tally.removed)
    rows = sorted((r for r in groups.values() if r["all"]), key=lambda r: (-r["removed"], -r["all"], r["label"]))
    return {
        "group_tabs": tabs,
        "group_by": by,
        "group_head": next((head for d, _, head in tabs if d == by), ""),
        "groups": rows[:GROUPS_SHOWN],
        "groups_in_all": len(rows),
    }


def _applied_later(sync: Sync) -> list[Sync]:
    """What went live after `sync` did, newest first; one more than is shown."""
    if sync.applied_at is None:
        return []
    later = Sync.objects.filter(district=sync.district_id, status="applied", applied_at__gt=sync.applied_at)
    return list(later.order_by("-applied_at")[: LATER_SHOWN + 1])


def _shown(request: HttpRequest, file: str) -> bool:
    return may_see(request, file.removesuffix(".csv"))


def _findings(request: HttpRequest, sync: Sync) -> list[Finding]:
    """The findings, without values that who asks may not see; `cure` leads to the setting that could heal one."""
    found = list(sync.findings.all()[:200])
    for finding in found:
        finding.hidden = bool(finding.places) and not _shown(request, finding.file)  # type: ignore[attr-defined]
        if finding.hidden:  # type: ignore[attr-defined]
            finding.places = []
        place, words = setting_for(finding)
        district = reverse("admin:rosters_district_change", args=[sync.district_id])
        finding.cure = (f"{district}?finding={finding.pk}#{place}", words) if place else None  # type: ignore[attr-defined]
    return found


def _undo_until(sync: Sync) -> Any:
    if sync.status != Sync.Status.APPLIED or sync.applied_at is None:
        return None
    until = sync.applied_at + timedelta(days=settings.UNDO_DAYS)
    return until if until > timezone.now() else None
