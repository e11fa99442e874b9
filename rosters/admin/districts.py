"""A district: how it is, what is live, its last syncs, what to do next, and its settings."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, BinaryIO, cast

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery, TextField
from django.db.models.functions import Cast, Coalesce
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET, require_POST

from rosters import syncs, tasks
from rosters.admin import minimising, parting, who_is_who
from rosters.admin.district_form import (
    DistrictForm,
    DistrictToRead,
    LimitsField,
    LimitsInput,
    could_be_mapped,
    proposed,
    setting_for,
)
from rosters.admin.dry_run_form import DryRunForm
from rosters.admin.scope_form import ScopeForm
from rosters.admin.searching import Searched
from rosters.models import AuditEvent, Delivery, District, Finding, Hold, Org, Snapshot, Sync, SyncQuerySet, Tally
from rosters.oneroster.products import PRODUCTS
from rosters.staff import DECIDE, UPLOAD, acting, goes_to, may_see
from rosters.templatetags.roster_pages import status as status_tag
from rosters.words import SETTLED, STUCK_WORDS, SYNC_WORDS, not_kept_words, words_of

SYNCS_SHOWN = 10
DRY_RUNS_SHOWN = 5
FINDINGS_SHOWN = 10
REPLAYED_SHOWN = 8
LINE_DAYS = 90

#: A district whose latest delivery ended so is up to date; the words of `district_words` say the same.
UP_TO_DATE = Q(status__in=(Sync.Status.APPLIED, Sync.Status.UNCHANGED))
#: How the latest delivery ended of districts where nothing needs our staff: if declined, a better one is awaited.
ENDED_SO = {"good": UP_TO_DATE, "declined": Q(status=Sync.Status.DECLINED)}


class Standing(admin.SimpleListFilter):
    """Districts by the status of their latest sync."""

    title = "status"
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("good", "Up to date"),
            ("review", "Needs review"),
            ("refused", STUCK_WORDS.capitalize()),
            ("declined", "Declined, a better file is awaited"),
            ("setup", "Setting up"),
            ("leaving", "Leaves or left"),
        ]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        wanted = self.value()
        queryset = queryset.filter(leaving_since__isnull=wanted != "leaving")
        if not wanted or wanted == "leaving":
            return queryset
        if wanted == "setup":
            return queryset.exclude(Exists(Sync.objects.filter(district=OuterRef("pk"))))
        of_sign = Q(status__in=[s for s, w in SYNC_WORDS.items() if w.sign == wanted])
        stands = at_rest(queryset) if wanted in ENDED_SO else needing_somebody(queryset)
        return queryset.filter(pk__in=stands.filter(ENDED_SO.get(wanted, of_sign)).order_by().values("district"))


class OfProduct(admin.SimpleListFilter):
    """Districts, or what belongs to districts, by the product that receives their roster."""

    title = "product"
    parameter_name = "product"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(key, product.name) for key, product in PRODUCTS.items()]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        product = self.value() or ""
        if product not in PRODUCTS:
            return queryset
        districts = receiving(District.objects.all(), product)
        field = "pk" if queryset.model is District else "district"
        return queryset.filter(**{f"{field}__in": districts.values("pk")})


class Owner(admin.RelatedFieldListFilter):
    """By who looks after the district."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.empty_value_display = SafeString("nobody")


def receiving(districts: QuerySet[District], product: str) -> QuerySet[District]:
    """Those whose roster goes to `product`. By the text of the JSON list: SQLite cannot ask whether a list contains."""
    return districts.annotate(products_text=Cast("products", TextField())).filter(
        products_text__contains=f'"{product}"'
    )


def latest_syncs(districts: QuerySet[District], at: datetime | None = None) -> Any:
    """The ids of the syncs by which districts stand, or stood at a moment, as a subquery: what needs somebody, else of
    each district its latest delivery that no newer one replaced."""
    needing, resting = needing_somebody(districts, at), at_rest(districts, at)
    return needing.order_by().values("pk").union(resting.order_by().values("pk"))


def needing_somebody(districts: QuerySet[District], at: datetime | None = None) -> QuerySet[Sync]:
    """What of these districts waits for a decision, or was refused or failed; now, or at a moment."""
    first, *others = (found.values("pk") for found in _needing_somebody(at))
    return Sync.objects.filter(pk__in=first.union(*others), district__in=districts.order_by().values("pk"))


def at_rest(districts: QuerySet[District], at: datetime | None = None) -> QuerySet[Sync]:
    """The latest delivery of each of these districts of which nothing needs anybody; now, or at a moment."""
    first, *others = (found.values("district") for found in _needing_somebody(at))
    resting = districts.order_by().exclude(pk__in=first.union(*others))
    return Sync.objects.filter(pk__in=resting.annotate(latest=_latest_id(at)).values("latest"))


def waited(at: datetime | None = None) -> Q:
    """Of what was there at a moment, what waited for a decision: a sync that did and has ended since was decided by a
    person, or gave way to a newer delivery."""
    if at is None:
        return Q(status__in=Sync.WAITING)
    decided = Q(decided_at__gt=at, decided_automatically=False) | Q(status=Sync.Status.SUPERSEDED)
    return Q(status__in=Sync.WAITING, status_since__lte=at) | decided


def rested(at: datetime | None = None) -> Q:
    """What stood at a moment as it stands now."""
    return Q(status_since__lte=at) if at else Q()


def _there(at: datetime | None) -> SyncQuerySet:
    """What was there at a moment and not replaced yet."""
    if at is None:
        return Sync.objects.exclude(status=Sync.Status.SUPERSEDED)
    return Sync.objects.filter(received_at__lte=at).exclude(status=Sync.Status.SUPERSEDED, status_since__lte=at)


def _needing_somebody(at: datetime | None = None) -> list[QuerySet[Sync]]:
    """Syncs that wait for a decision, and those that were refused or failed and are not `settled`: neither what came of
    other schools mends them or may hide them, nor an undo of something else.

    Of the whole district's files only the last is asked for, not each refused one whether it is: that is quick."""
    of_whole = _there(at).filter(district=OuterRef("pk"), delivery__isnull=False, speaks_for={}).exclude(_OF_NO_USE)
    last_of_whole = District.objects.order_by().annotate(last=Subquery(_newest(of_whole))).values("last")
    stuck = _there(at).filter(rested(at), status__in=Sync.STUCK)
    found = (
        _there(at).filter(waited(at)),
        stuck.filter(pk__in=last_of_whole),
        stuck.filter(~_settled(at), ~Q(speaks_for={}) | Q(delivery=None)),
    )
    return [each.order_by() for each in found]


#: Nothing was in it, or nobody may approve it.
_OF_NO_USE = Q(status=Sync.Status.UNCHANGED, file_rows={}) | Q(
    Exists(Hold.objects.filter(sync=OuterRef("pk"), approvable=False))
)


def _settled(at: datetime | None = None) -> Exists:
    """Whether a newer delivery has come of the same schools, or of all, that is of use or was refused in its turn; of
    an undo also, whether it was tried once more."""
    same = Q(speaks_for=OuterRef("speaks_for")) | Q(speaks_for={})
    newer = _there(at).filter(
        Q(delivery__isnull=False) & same | Q(undoes=OuterRef("undoes")),
        district=OuterRef("district"),
        received_at__gt=OuterRef("received_at"),
    )
    return Exists(newer.exclude(_OF_NO_USE))


def settled(found: Iterable[Sync]) -> set[int]:
    """The ids of those of these syncs that were refused or declined, or failed, and are nobody's move any more."""
    ended = [sync.pk for sync in found if sync.status in SETTLED]
    return set(Sync.objects.filter(_settled(), pk__in=ended).values_list("pk", flat=True)) if ended else set()


def _latest_id(at: datetime | None = None) -> Subquery:
    """The latest delivery of a district; what an undo takes back says nothing of what the district sent."""
    return Subquery(_newest(_there(at).filter(district=OuterRef("pk"), delivery__isnull=False)))


def _stands_by() -> Coalesce:
    """The id of the sync that says how a district is: the newest that needs somebody, or its latest delivery."""
    needing = (Subquery(_newest(found.filter(district=OuterRef("pk")))) for found in _needing_somebody())
    return Coalesce(*needing, _latest_id())


def _newest(syncs: QuerySet[Sync]) -> Any:
    return syncs.order_by("-received_at", "-id").values("pk")[:1]


@admin.register(District)
class DistrictAdmin(Searched):
    nothing_yet = "Add the first district; its deliveries come after it."
    form = DistrictForm
    change_form_template = "admin/rosters/district/page.html"
    list_display = ("name", "site_code", "standing", "owner", "live")
    list_filter = (Standing, OfProduct, ("owner", Owner))
    list_select_related = ("owner", "snapshot")
    search_fields = ("name", "site_code")
    list_per_page = 50
    actions = None
    fieldsets = [
        (None, {"fields": ["name", "site_code", "time_zone", "owner", "products"]}),
        (
            "When a sync waits for a person",
            {"fields": ["applies_automatically", "needs_two_people", "keeps_ids_by_itself", "hold_limits"]},
        ),
        (
            "Reading this district's files",
            {"classes": ["collapse"], "fields": ["column_names", "mappings", "rule_overrides", "encoding"]},
        ),
        ("How long it is kept", {"fields": ["keeps_history_days", "keeps_left_days"]}),
    ]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and not (obj and obj.leaving_since)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        may_change = self.has_change_permission(request, obj)
        if obj and not may_change:
            kwargs["form"] = DistrictToRead
        form = super().get_form(request, obj, change=change, **kwargs)
        finding = _asked_finding(request, obj) if obj and may_change else None
        if obj and finding and could_be_mapped(finding):
            words = syncs.store().words(obj.pk, finding.sync_id, finding.position)
            return type(form.__name__, (form,), {"proposed": proposed(finding, words)})
        return form

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """What a finding leads to is not folded away."""
        named = super().get_fieldsets(request, obj)
        if obj and _asked_finding(request, obj):
            return [(name, {**options, "classes": []}) for name, options in named]
        return named

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        """Whoever came from a finding goes back to its sync, where the file can be checked again."""
        finding = _asked_finding(request, obj)
        if finding is None or "_save" not in request.POST:
            return super().response_change(request, obj)
        messages.success(
            request, "The settings are saved. They count for the next file, or when this one is checked again."
        )
        return HttpResponseRedirect(reverse("admin:rosters_sync_change", args=[finding.sync_id]))

    def get_queryset(self, request: HttpRequest) -> Any:
        return District.with_leaving.annotate(latest_sync=_stands_by()).order_by("name")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        response = super().changelist_view(request, extra_context)
        changelist = getattr(response, "context_data", {}).get("cl")
        if changelist is not None:
            ids = [d.latest_sync for d in changelist.result_list if d.latest_sync]
            found = Sync.objects.in_bulk(ids)
            for district in changelist.result_list:
                district.latest = found.get(district.latest_sync)
        return response

    @admin.display(description="status")
    def standing(self, district: Any) -> str:
        latest = getattr(district, "latest", None)
        return status_tag(words_of(district, latest))

    @admin.display(description="live roster")
    def live(self, district: District) -> str:
        if district.snapshot is None:
            return "none yet"
        people = district.snapshot.tables.get("users", {}).get("rows", 0)
        return f"version {district.version}, {people:,} people"

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "<int:pk>/upload/",
                self.admin_site.admin_view(require_POST(self.upload)),
                name="rosters_district_upload",
            ),
            path(
                "<int:pk>/export/",
                self.admin_site.admin_view(require_GET(self.export)),
                name="rosters_district_export",
            ),
            path("<int:pk>/leave/", self.admin_site.admin_view(self.leave), name="rosters_district_leave"),
            path("<int:pk>/stay/", self.admin_site.admin_view(require_POST(self.stay)), name="rosters_district_stay"),
            path(
                "<int:pk>/certificate/",
                self.admin_site.admin_view(require_GET(self.certificate)),
                name="rosters_district_certificate",
            ),
            path("<int:pk>/kept/", self.admin_site.admin_view(self.kept), name="rosters_district_kept"),
            path("<int:pk>/ids/", self.admin_site.admin_view(self.ids), name="rosters_district_ids"),
            path(
                "<int:pk>/replay/", self.admin_site.admin_view(require_GET(self.replay)), name="rosters_district_replay"
            ),
            *super().get_urls(),
        ]

    def leave(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The page on which somebody says that the district leaves."""
        return parting.leave(request, get_object_or_404(District, pk=pk), self._frame(request))

    def stay(self, request: HttpRequest, pk: int) -> HttpResponse:
        return parting.stay(request, get_object_or_404(District.with_leaving, pk=pk))

    def certificate(self, request: HttpRequest, pk: int) -> HttpResponse:
        """What was deleted of a district that has left, to be printed."""
        district = get_object_or_404(District.with_leaving, pk=pk, left_at__isnull=False)
        if not self.has_view_permission(request, district):
            raise PermissionDenied
        return parting.certificate(request, district, self._frame(request))

    def _frame(self, request: HttpRequest) -> dict[str, Any]:
        return {**self.admin_site.each_context(request), "opts": self.opts}

    def kept(self, request: HttpRequest, pk: int) -> HttpResponse:
        """What is kept of its people, and what is not."""
        district = get_object_or_404(District.objects.select_related("snapshot"), pk=pk)
        if not self.has_view_permission(request, district):
            raise PermissionDenied
        return minimising.page(request, district, self._frame(request))

    def ids(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The ids that are kept although the SIS has others now."""
        district = get_object_or_404(District.objects.select_related("kept_ids__made_by"), pk=pk)
        if not self.has_view_permission(request, district):
            raise PermissionDenied
        context = {**self._frame(request), "title": f"Kept ids of {district}"}
        return who_is_who.page_of_district(request, district, context)

    def replay(self, request: HttpRequest, pk: int) -> HttpResponse:
        """What limits that are being typed would have made of the last deliveries, beside those that are saved."""
        district = get_object_or_404(District, pk=pk)
        if not self.has_change_permission(request, district):
            raise PermissionDenied
        field = LimitsField(LimitsInput())
        context: dict[str, Any] = {"district": district}
        try:
            typed = field.clean(field.widget.value_from_datadict(request.GET, {}, "hold_limits"))
        except ValidationError:
            context["problem"] = True
        else:
            tried, saved = syncs.replay(district, typed, district.hold_limits)
            context |= {"tried": tried, "saved": saved, "other": typed != district.hold_limits, "shown": REPLAYED_SHOWN}
        return TemplateResponse(request, "admin/rosters/district/_replay.html", context)

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        district = self.get_object(request, object_id)
        extra = self._overview(district) if district and self.has_view_permission(request, district) else {}
        here = bool(district and district.leaving_since is None)
        extra["may_upload"] = here and request.user.has_perm(UPLOAD)
        if extra["may_upload"] and district:
            extra["dry_run_form"] = DryRunForm(district=district)
        if extra["may_upload"] and district and district.version:
            extra["about"] = ScopeForm(district=district)
        extra["may_export"] = request.user.has_perm(DECIDE)
        extra["may_part"] = bool(district) and parting.may_part(request)
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    def _overview(self, district: District) -> dict[str, Any]:
        recent = list(
            district.syncs.select_related("delivery", "undoes").order_by("-received_at", "-id")[: SYNCS_SHOWN + 1]
        )
        at = District.with_leaving.filter(pk=district.pk).values_list(_stands_by(), flat=True).first()
        latest = Sync.objects.select_related("delivery", "decided_by").filter(pk=at).first() if at else None
        judged, now = syncs.last_judged(district.pk), timezone.now()
        return {
            "district": district,
            "district_status": words_of(district, latest),
            "latest": latest,
            "running": [s for s in recent if s.status in Sync.RUNNING],
            "live_numbers": _live_numbers(district),
            "recent": recent[:SYNCS_SHOWN],
            "recent_more": len(recent) > SYNCS_SHOWN,
            "dry_runs": Sync.with_dry_runs.filter(district=district, dry_run=True).order_by("-received_at", "-id")[
                :DRY_RUNS_SHOWN
            ],
            "biggest": max((s.added + s.updated + s.removed for s in recent if s.base_version), default=0) or 1,
            "judged": judged,
            "standing_findings": _with_days(judged, now) if judged else [],
            "audit": district.audit_events.select_related("by")[:8],
            "kept": _kept(district),
            "not_kept": not_kept_words(district.not_kept),
            "kept_ids": syncs.in_words(district.kept_ids.tables) if district.kept_ids else "",
            "there_now": f"{timezone.now().astimezone(district.zone):%a %H:%M}",
            "upload_limit": settings.UPLOAD_LIMIT,
        }

    def upload(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Receive a zip by hand. The bytes are safe on disk before the answer; a worker does the rest."""
        if not request.user.has_perm(UPLOAD):
            raise PermissionDenied
        district = get_object_or_404(District, pk=pk)
        back = goes_to(request, reverse("admin:rosters_district_change", args=[pk]))
        sent = request.FILES.get("file")
        if sent is None:
            messages.error(request, "No file came with that. Choose a zip and send it again.")
            return back
        if (sent.size or 0) > settings.UPLOAD_LIMIT:
            messages.error(
                request,
                f"That file is larger than {settings.UPLOAD_LIMIT // 2**20} MB. Nothing was stored; "
                "the roster is as it was.",
            )
            return back
        about = ScopeForm(request.POST, district=district)
        if not about.is_valid():
            messages.error(
                request, "One of those schools or terms is not live any more. Nothing was stored: choose again."
            )
            return back
        trial = DryRunForm(request.POST, district=district)
        if not trial.is_valid():
            messages.error(request, f"{trial.errors['as_if_on'][0]} Nothing was stored.")
            return back
        try:
            sync = syncs.receive(
                district,
                cast("BinaryIO", sent.file),
                origin=Delivery.Origin.STAFF,
                name=(sent.name or "upload.zip")[:255],
                by=acting(request),
                speaks_for=about.scope(),
                dry_run=trial.cleaned_data["dry_run"],
                as_if_on=trial.cleaned_data["as_if_on"],
            )
        except (syncs.NoRoom, syncs.DecisionRefused) as refused:
            messages.error(request, str(refused))
            return back
        tasks.enqueue_prepare(sync)
        then = (
            "This is a dry run: whatever it says, the roster stays as it is."
            if sync.dry_run
            else "Nothing changes in the roster until it is approved."
        )
        messages.success(request, f"The file is stored safely and is being checked. {then}")
        return goes_to(request, reverse("admin:rosters_sync_change", args=[sync.pk]))

    def export(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The live roster as a zip of OneRoster 1.1 or 1.2, for who may have originals too."""
        if not request.user.has_perm(DECIDE):
            raise PermissionDenied
        district = get_object_or_404(District.with_leaving.select_related("snapshot"), pk=pk)
        version = request.GET.get("oneroster", "1.1")
        if district.snapshot is None or version not in ("1.1", "1.2"):
            raise Http404
        without = () if may_see(request, "demographics") else ("demographics",)
        name, file = syncs.export(district, version, by=acting(request), without=without)
        return FileResponse(file, as_attachment=True, filename=name, content_type="application/zip")

    def save_model(self, request: HttpRequest, obj: District, form: Any, change: bool) -> None:
        known = District.objects.filter(pk=obj.pk).first() if change else None
        super().save_model(request, obj, form, change)
        names = form.changed_data if change else list(form.Meta.fields)
        if names:
            AuditEvent.objects.create(
                by=acting(request),
                action="district.changed" if change else "district.added",
                district=obj,
                subject=f"district {obj.pk}",
                before={n: _plain(known, n) for n in names} if known else {},
                after={n: _plain(obj, n) for n in names},
            )


def _kept(district: District) -> dict[str, Any]:
    """What is kept of a district and what was deleted last: ``files`` and ``versions`` in numbers, ``since``: of which
    day the oldest is, ``until``: when that is deleted."""
    files = Delivery.objects.filter(district=district, forgotten_at=None)
    oldest = files.order_by("received_at").values_list("received_at", flat=True).first()
    return {
        "files": files.count(),
        "versions": Snapshot.objects.filter(district=district, forgotten_at=None).count(),
        "since": oldest,
        "until": oldest + district.history_kept if oldest else None,
        "last": AuditEvent.objects.filter(district=district, action="district.forgot").order_by("-at").first(),
    }


def _asked_finding(request: HttpRequest, district: District) -> Finding | None:
    """The finding that the address names: one of this district that a setting could heal and who asks may see."""
    asked = request.GET.get("finding", "")
    if not (asked.isdecimal() and len(asked) < 19):
        return None
    finding = Finding.objects.filter(pk=int(asked), sync__district=district).first()
    if finding is None or not setting_for(finding)[0]:
        return None
    return finding if may_see(request, finding.file.removesuffix(".csv")) else None


def _plain(district: District | None, name: str) -> Any:
    """A setting as JSON can hold it; a member of staff by id."""
    found = getattr(district, name)
    return found.pk if hasattr(found, "pk") else found


#: The numbers of a live roster: word, model of its page, filter of that page, and of which tallies its line is made.
NUMBERS: tuple[tuple[str, str, str, tuple[str, str, str]], ...] = (
    ("schools", "org", "type__exact=school", ("orgs", "", "")),
    ("classes", "class", "", ("classes", "", "")),
    ("students", "user", "role=student", ("users", "role", "student")),
    ("teachers", "user", "role=teacher", ("users", "role", "teacher")),
    ("people", "user", "", ("users", "", "")),
    ("enrollments", "enrollment", "", ("enrollments", "", "")),
)


def _live_numbers(district: District) -> list[dict[str, Any]]:
    """What is live in numbers, from the snapshot, so no table is counted; each with its page and its last 90 days."""
    if district.snapshot is None:
        return []
    now = timezone.now()
    tables = district.snapshot.tables
    roles = _people_by_role(district)
    counts = {
        "schools": Org.objects.filter(district=district, status="active", type="school").count(),
        "students": roles.get("student", 0),
        "teachers": roles.get("teacher", 0),
        "people": tables.get("users", {}).get("rows", 0),
        "classes": tables.get("classes", {}).get("rows", 0),
        "enrollments": tables.get("enrollments", {}).get("rows", 0),
    }
    past = _past_numbers(district, now)
    return [
        {
            "word": word,
            "count": counts[word],
            "of": "schools and other orgs" if word == "schools" else word,
            "link": f"{reverse(f'admin:rosters_{model}_changelist')}?"
            + "&".join(part for part in (f"district={district.pk}", "status=active", asked) if part),
            **_line(past.get(of, []), now),
        }
        for word, model, asked, of in NUMBERS
    ]


def _people_by_role(district: District) -> dict[str, int]:
    """How many people of the live roster have each role: one column of its snapshot is read."""
    assert district.snapshot is not None
    live = syncs.store().frames(district.pk, district.snapshot.tables)
    if "users" not in live:
        return {}
    return dict(live.scan("users").select("role").collect()["role"].value_counts().iter_rows())


def _past_numbers(district: District, now: datetime) -> dict[tuple[str, str, str], list[tuple[datetime, int, int]]]:
    """(table, dimension, key) to what each sync of the last 90 days made of its number, oldest first: when it went
    live, before, after."""
    wanted = Q(dimension="", table__in=["orgs", "classes", "users", "enrollments"])
    wanted |= Q(dimension="role", table="users", key__in=["student", "teacher"])
    lines = Tally.objects.filter(
        wanted,
        sync__district=district,
        sync__status=Sync.Status.APPLIED,
        sync__applied_at__gte=now - timedelta(days=LINE_DAYS),
    ).order_by("sync__applied_at")
    past: dict[tuple[str, str, str], list[tuple[datetime, int, int]]] = {}
    for line in lines.select_related("sync").only(
        "table", "dimension", "key", "before", "added", "removed", "sync__applied_at"
    ):
        if line.sync.applied_at is not None:
            of = (line.table, line.dimension, line.key)
            past.setdefault(of, []).append((line.sync.applied_at, line.before, line.after))
    return past


def _line(past: list[tuple[datetime, int, int]], now: datetime) -> dict[str, Any]:
    """The way of a number as the points of a line in a drawing of 100 by 24 units; nothing where it has no past.

    It begins with the first roster, where that is younger than the 90 days: it did not grow out of nothing.
    """
    if not past:
        return {}
    since, first = now - timedelta(days=LINE_DAYS), past[0][1]
    if first == 0:
        (since, _, first), *later = past
        past = [(since, first, first), *later]
    last = past[-1][2]
    heights = [number for _, *both in past for number in both]
    low, high = min(heights), max(heights)

    def y(number: int) -> float:
        return 12.0 if low == high else round(22 - 20 * (number - low) / (high - low), 1)

    def x(moment: datetime) -> float:
        return round(100 - 100 * (now - moment) / timedelta(days=LINE_DAYS), 1)

    points = [(x(since), y(first))]
    for moment, before, after in past:
        points += [(x(moment), y(before)), (x(moment), y(after))]
    points.append((100.0, y(last)))
    return {
        "line": " ".join(f"{at},{height}" for at, height in points),
        "first": first,
        "last": last,
        "moved": abs(last - first),
        "since": since,
    }


def _with_days(judged: Sync, now: datetime) -> list[Finding]:
    """What stays wrong, oldest first, each with `days`: how long every delivery has had it."""
    told = syncs.standing(judged, now)[:FINDINGS_SHOWN]
    for finding, age in told:
        finding.days = age.days  # type: ignore[attr-defined]
    return [finding for finding, _ in told]
