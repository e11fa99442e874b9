"""A district: how it is, what is live, its last syncs, what to do next, and its settings."""

from __future__ import annotations

import zoneinfo
from typing import Any, BinaryIO, cast

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import OuterRef, QuerySet, Subquery, TextField
from django.db.models.functions import Cast
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST

from rosters import syncs, tasks
from rosters.holding import DEFAULT_LIMITS
from rosters.models import AuditEvent, Delivery, District, Org, Sync
from rosters.oneroster.products import PRODUCTS
from rosters.oneroster.rules import RULES, STANDS_ON
from rosters.staff import UPLOAD, acting
from rosters.templatetags.roster_pages import status as status_tag
from rosters.words import DISTRICT_SETTING_UP, SYNC_WORDS, district_words

SYNCS_SHOWN = 10

#: A district whose latest sync ended so is up to date; the words of `district_words` say the same.
UP_TO_DATE = (Sync.Status.APPLIED, Sync.Status.UNCHANGED, Sync.Status.DECLINED)


class DistrictForm(forms.ModelForm):  # type: ignore[type-arg]
    """A district's settings in fields that a person can fill in; each limit of a hold has one of its own."""

    products = forms.MultipleChoiceField(
        choices=[(key, product.name) for key, product in PRODUCTS.items()],
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text=District._meta.get_field("products").help_text,
    )
    time_zone = forms.ChoiceField(
        choices=[(zone, zone.replace("_", " ")) for zone in sorted(zoneinfo.available_timezones())],
        help_text=District._meta.get_field("time_zone").help_text,
    )
    encoding = forms.ChoiceField(
        choices=[
            ("", "UTF-8 (the standard)"),
            ("windows-1252", "Windows-1252"),
            ("latin-1", "Latin-1"),
            ("utf-16", "UTF-16"),
        ],
        required=False,
        help_text=District._meta.get_field("encoding").help_text,
    )

    class Meta:
        model = District
        fields = [
            "name",
            "site_code",
            "time_zone",
            "products",
            "owner",
            "applies_automatically",
            "encoding",
            "hold_limits",
            "mappings",
            "rule_overrides",
        ]

    def clean_hold_limits(self) -> dict[str, float]:
        limits = self.cleaned_data["hold_limits"] or {}
        unknown = sorted(set(limits) - set(DEFAULT_LIMITS))
        if unknown:
            raise ValidationError(f"There is no limit named {unknown[0]}. Known: {', '.join(DEFAULT_LIMITS)}.")
        if any(isinstance(v, bool) or not isinstance(v, int | float) or v < 0 for v in limits.values()):
            raise ValidationError("A limit is a number of 0 or more, for example 0.05 for 5 %.")
        return dict(limits)

    def clean_mappings(self) -> dict[str, dict[str, str]]:
        mappings = self.cleaned_data["mappings"] or {}
        for column, words in mappings.items():
            if "." not in column or not isinstance(words, dict) or not all(isinstance(w, str) for w in words.values()):
                raise ValidationError(
                    'Write mappings as {"users.grades": {"K": "KG"}}: table.column, then old and new.'
                )
        return dict(mappings)

    def clean_rule_overrides(self) -> dict[str, str]:
        overrides = self.cleaned_data["rule_overrides"] or {}
        for code, severity in overrides.items():
            if code not in RULES:
                raise ValidationError(f"There is no rule {code}.")
            if severity not in ("error", "warning", "info", "off"):
                raise ValidationError(f"{code}: use error, warning, info or off.")
            if code in STANDS_ON and severity != "error":
                raise ValidationError(
                    f"{code} cannot be lowered: without it records could not be told apart or stored."
                )
            if RULES[code].severity == "fatal":
                raise ValidationError(f"{code} cannot be changed: without it the delivery cannot be read safely.")
        return dict(overrides)


class Standing(admin.SimpleListFilter):
    """Districts by the status of their latest sync."""

    title = "status"
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("good", "Up to date"),
            ("review", "Needs review"),
            ("refused", "Refused or failed"),
            ("setup", "Setting up"),
        ]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        wanted = self.value()
        if not wanted:
            return queryset
        if wanted == "setup":
            return queryset.filter(syncs=None)
        statuses = UP_TO_DATE if wanted == "good" else [s for s, w in SYNC_WORDS.items() if w.sign == wanted]
        return queryset.filter(
            pk__in=Sync.objects.filter(pk__in=latest_syncs(queryset), status__in=statuses).values("district")
        )


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


def receiving(districts: QuerySet[District], product: str) -> QuerySet[District]:
    """Those whose roster goes to `product`. By the text of the JSON list: SQLite cannot ask whether a list contains."""
    return districts.annotate(products_text=Cast("products", TextField())).filter(
        products_text__contains=f'"{product}"'
    )


def latest_syncs(districts: QuerySet[District]) -> Any:
    """The ids of each district's latest sync that no newer delivery replaced, as a subquery."""
    return districts.order_by().annotate(latest=_latest_id()).values("latest")


def _latest_id() -> Subquery:
    syncs = Sync.objects.filter(district=OuterRef("pk")).exclude(status=Sync.Status.SUPERSEDED)
    return Subquery(syncs.order_by("-received_at", "-id").values("pk")[:1])


@admin.register(District)
class DistrictAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = DistrictForm
    change_form_template = "admin/rosters/district/page.html"
    list_display = ("name", "site_code", "standing", "owner", "live")
    list_filter = (Standing, OfProduct, "owner")
    list_select_related = ("owner", "snapshot")
    search_fields = ("name", "site_code")
    list_per_page = 50
    actions = None
    fieldsets = [
        (None, {"fields": ["name", "site_code", "time_zone", "owner", "products"]}),
        ("When to ask a person", {"fields": ["applies_automatically", "hold_limits"]}),
        (
            "Reading this district's files",
            {"classes": ["collapse"], "fields": ["mappings", "rule_overrides", "encoding"]},
        ),
    ]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).annotate(latest_sync=_latest_id())

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
        return status_tag(district_words(district.version, latest))

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
            *super().get_urls(),
        ]

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        district = self.get_object(request, object_id)
        extra = self._overview(district) if district and self.has_view_permission(request, district) else {}
        extra["may_upload"] = request.user.has_perm(UPLOAD)
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    def _overview(self, district: District) -> dict[str, Any]:
        recent = list(
            district.syncs.select_related("delivery", "undoes").order_by("-received_at", "-id")[: SYNCS_SHOWN + 1]
        )
        latest = next((s for s in recent if s.status != Sync.Status.SUPERSEDED), None)
        return {
            "district": district,
            "district_status": district_words(district.version, latest) if recent else DISTRICT_SETTING_UP,
            "latest": latest,
            "running": [s for s in recent if s.status in Sync.RUNNING],
            "live_numbers": _live_numbers(district),
            "recent": recent[:SYNCS_SHOWN],
            "recent_more": len(recent) > SYNCS_SHOWN,
            "biggest": max((s.added + s.updated + s.removed for s in recent), default=0) or 1,
            "standing_findings": latest.findings.filter(severity__in=["fatal", "error", "warning"])[:5]
            if latest
            else [],
            "audit": district.audit_events.select_related("by")[:8],
            "upload_limit": settings.UPLOAD_LIMIT,
            "limits": [
                (
                    name,
                    district.hold_limits.get(name, limit.default),
                    limit.unit,
                    limit.help,
                    name in district.hold_limits,
                )
                for name, limit in DEFAULT_LIMITS.items()
            ],
        }

    def upload(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Receive a zip by hand. The bytes are safe on disk before the answer; a worker does the rest."""
        if not request.user.has_perm(UPLOAD):
            raise PermissionDenied
        district = get_object_or_404(District, pk=pk)
        back = HttpResponseRedirect(reverse("admin:rosters_district_change", args=[pk]))
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
        sync = syncs.receive(
            district,
            cast("BinaryIO", sent.file),
            origin=Delivery.Origin.STAFF,
            name=(sent.name or "upload.zip")[:255],
            by=acting(request),
        )
        tasks.enqueue_prepare(sync)
        messages.success(
            request,
            "The file is stored safely and is being checked. Nothing changes in the roster until it is approved.",
        )
        return HttpResponseRedirect(reverse("admin:rosters_sync_change", args=[sync.pk]))

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


def _plain(district: District | None, name: str) -> Any:
    """A setting as JSON can hold it; a member of staff by id."""
    found = getattr(district, name)
    return found.pk if hasattr(found, "pk") else found


def _live_numbers(district: District) -> list[dict[str, Any]]:
    """Rows per table of what is live: from the snapshot's own summary, so no table is counted."""
    if district.snapshot is None:
        return []
    tables = district.snapshot.tables
    schools = Org.objects.filter(district=district, status="active", type="school").count()
    numbers = [
        {
            "word": "schools",
            "count": schools,
            "link": f"{reverse('admin:rosters_org_changelist')}?district={district.pk}",
        }
    ]
    for table, model, word in (
        ("classes", "class", "classes"),
        ("users", "user", "people"),
        ("enrollments", "enrollment", "enrollments"),
    ):
        link = f"{reverse(f'admin:rosters_{model}_changelist')}?district={district.pk}"
        numbers.append({"word": word, "count": tables.get(table, {}).get("rows", 0), "link": link})
    return numbers
