"""The live roster, to look at: schools, classes, people. The SIS is the truth, so nothing can be edited here.

Quick on millions of rows: no page counts a whole table, and every search runs on an index.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.functional import cached_property
from django.utils.html import format_html

from rosters.admin import tracing
from rosters.admin.audit import ReadOnly
from rosters.admin.history import TABLE_OF, history_context
from rosters.admin.searching import Searched, SearchedList
from rosters.admin.who_is_who import kept_under, sent_as
from rosters.downloads import or_later
from rosters.models import (
    AcademicSession,
    Class,
    Course,
    Demographics,
    District,
    Enrollment,
    Org,
    Record,
    Role,
    Sync,
    User,
    UserProfile,
)
from rosters.oneroster.vocabularies import VOCABULARIES_1_2
from rosters.staff import may_see
from rosters.templatetags.roster_pages import ago

PER_PAGE = 50
COUNT_AT_MOST = 2000
RELATED_SHOWN = 200
NAME_WORDS = 5


class ShortCountPaginator(Paginator):  # type: ignore[type-arg]
    """Counts as far as a person pages: up to COUNT_AT_MOST rows, never the whole table."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by().values("pk")[:COUNT_AT_MOST].count())


class OfDistrict(admin.SimpleListFilter):
    """Records of one district. Named by the address only: 2,000 districts make no useful list of links."""

    title = "district"
    parameter_name = "district"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        chosen = request.GET.get("district", "")
        some = District.objects.filter(version__gt=0).order_by("name")
        rows = list(some.values_list("pk", "name")[:15])
        if chosen.isdecimal() and int(chosen) not in [pk for pk, _ in rows]:
            rows = [*District.objects.filter(pk=int(chosen)).values_list("pk", "name"), *rows]
        return [(str(pk), name) for pk, name in rows]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        chosen = self.value()
        return queryset.filter(district_id=int(chosen)) if chosen and chosen.isdecimal() else queryset


class OfSchool(admin.SimpleListFilter):
    """Records of one school of the chosen district."""

    title = "school"
    parameter_name = "school"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        chosen = request.GET.get("district", "")
        if not chosen.isdecimal():
            return []
        schools = Org.objects.filter(district_id=int(chosen), status="active", type="school").order_by("name")
        return [(str(pk), name) for pk, name in schools.values_list("pk", "name")[:200]]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        chosen = self.value()
        if not chosen or not chosen.isdecimal():
            return queryset
        return queryset.filter(**{self.of[queryset.model]: int(chosen)})

    of = {User: "primary_org_id", Class: "school_id", Enrollment: "clazz__school_id", Course: "org_id"}


class WithinDistrict(admin.SimpleListFilter):
    """Offered only where a district is chosen: over all districts no index could answer."""

    choices_known: ClassVar[list[tuple[str, str]]] = []

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return self.choices_known if request.GET.get("district", "").isdecimal() else []

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        chosen = self.value()
        return queryset.filter(**{str(self.parameter_name): chosen}) if chosen else queryset


class OfStatus(WithinDistrict):
    title = "status"
    parameter_name = "status"
    choices_known: ClassVar = [(Record.Status.ACTIVE, "active"), (Record.Status.TOBEDELETED, "removed")]


class OfRole(WithinDistrict):
    title = "role"
    parameter_name = "role"
    choices_known: ClassVar = [(role, role) for role in VOCABULARIES_1_2["userRole"].values]


class LiveChangeList(SearchedList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.show_full_result_count = False


class Live(Searched, ReadOnly):
    """What all pages of the live roster share."""

    nothing_yet = "Nothing is live here yet: it comes with a district's first roster."
    change_form_template = "admin/rosters/record/page.html"
    paginator = ShortCountPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # they count whole tables
    sortable_by = ()  # any order but the index's own would sort whole tables
    list_per_page = PER_PAGE
    list_filter: ClassVar[Any] = (OfDistrict, OfStatus)
    ordering: ClassVar[Any] = ("district_id", "sourced_id")
    search_fields: ClassVar[Any] = ("sourced_id",)
    list_select_related: ClassVar[Any] = ("district",)

    def get_list_display(self, request: HttpRequest) -> Any:
        """Without the district's name in every row where only one is shown: the status needs the room."""
        one = request.GET.get("district", "").isdecimal()
        return [column for column in super().get_list_display(request) if not (one and column == "district")]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return LiveChangeList

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Exact ids and the beginnings of names: what an index can answer."""
        term = search_term.strip()
        if not term:
            return queryset, False
        districts = request.GET.get("district", "")
        if not districts.isdecimal():  # the indexes begin with the district
            queryset = queryset.filter(
                district__in=list(District.objects.filter(version__gt=0).values_list("pk", flat=True))
            )
        known = (
            District.objects.filter(pk=districts) if districts.isdecimal() else District.objects.filter(version__gt=0)
        )
        return queryset.filter(self.search(term) | kept_under(TABLE_OF[self.model], term, known)), False

    @admin.display(description="status")
    def standing(self, record: Any) -> str:
        if record.status == Record.Status.ACTIVE:
            return "active"
        return format_html('<span class="status status-ended">removed</span> {}', ago(record.date_last_modified))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        title = str(self.opts.verbose_name_plural).capitalize()
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def search(self, term: str) -> Q:
        return Q(sourced_id=term)

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        context = self._about(request, object_id)
        record = context["record"]
        context |= {
            "title": str(self.opts.verbose_name).capitalize(),
            "facts": [
                (f.verbose_name, getattr(record, f.attname)) for f in self._plain_fields() if getattr(record, f.attname)
            ],
            "links": self.links(record),
            "lists": self.lists(request, record),
            "history": _history(record),
            "sent_as": sent_as(record, TABLE_OF[self.model]),
        }
        return TemplateResponse(request, self.change_form_template, context)

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        if "line" in request.GET:
            return self._in_file(request, object_id)
        context = self._about(request, object_id)
        context |= {
            "title": f"History of one of the {self.opts.verbose_name_plural}",
            **history_context(request, context["record"]),
        }
        return TemplateResponse(request, "admin/rosters/record/history.html", context)

    @method_decorator(or_later)
    def _in_file(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What the newest file says of it, or the one that is asked for, and what became of that."""
        context = self._about(request, object_id)
        context |= {
            "title": f"One of the {self.opts.verbose_name_plural} in a file",
            **tracing.of_record(request, context["record"]),
        }
        return TemplateResponse(request, "admin/rosters/record/of_record.html", context)

    def _about(self, request: HttpRequest, object_id: str) -> dict[str, Any]:
        """What every page about one record needs. Raises Http404 where there is none that who asks may see."""
        record = self.get_object(request, object_id)
        if record is None or not self.has_view_permission(request, record):
            raise Http404
        about = {"opts": self.opts, "record": record, "heading": self.heading(record)}
        return {**self.admin_site.each_context(request), **about}

    def _plain_fields(self) -> list[Any]:
        hidden = {"id", "status", "date_last_modified", "search_name"}
        return [f for f in self.model._meta.concrete_fields if not f.is_relation and f.name not in hidden]

    def heading(self, record: Any) -> str:
        return getattr(record, "title", "") or getattr(record, "name", "") or record.sourced_id

    def links(self, record: Any) -> list[tuple[str, str, Any]]:
        """(word, model name, record) of everything this record points to."""
        found = []
        for field in self.model._meta.concrete_fields:
            if field.is_relation and field.name != "district" and getattr(record, field.attname):
                other = field.related_model._base_manager.filter(pk=getattr(record, field.attname)).first()
                if other:
                    found.append((field.verbose_name, field.related_model._meta.model_name, other))
        return found

    def lists(self, request: HttpRequest, record: Any) -> list[dict[str, Any]]:
        return []


def _list(word: str, queryset: Any, row: Any) -> dict[str, Any]:
    """A list under a record: at most RELATED_SHOWN rows of (text, model name, pk, remark)."""
    records = list(queryset[: RELATED_SHOWN + 1])
    return {"word": word, "rows": [row(r) for r in records[:RELATED_SHOWN]], "more": len(records) > RELATED_SHOWN}


def _history(record: Any) -> Any:
    """The syncs that were applied to this district at the moment the record last changed, newest first."""
    return Sync.objects.filter(district_id=record.district_id, applied_at=record.date_last_modified)


def _begins(text: str) -> Q:
    """Names that begin so, as a range of the index."""
    return Q(search_name__gte=text, search_name__lt=text + "\U0010ffff")


def _person(user: User) -> str:
    return f"{user.given_name} {user.family_name}".strip() or user.sourced_id


@admin.register(Org)
class OrgAdmin(Live):
    list_display = ("name", "type", "identifier", "sourced_id", "district", "standing")
    list_filter = (OfDistrict, "type", OfStatus)

    def search(self, term: str) -> Q:
        return Q(sourced_id=term) | Q(name__icontains=term)

    def lists(self, request: HttpRequest, record: Org) -> list[dict[str, Any]]:
        active = {"status": "active"}
        return [
            _list(
                "Schools and orgs below",
                record.children.filter(**active).order_by("name"),
                lambda o: (o.name, "org", o.pk, o.type),
            ),
            _list(
                "Classes",
                record.classes.filter(**active).order_by("title"),
                lambda c: (c.title, "class", c.pk, c.class_code),
            ),
            _list(
                "People",
                record.people.filter(**active).order_by("search_name"),
                lambda u: (_person(u), "user", u.pk, u.role),
            ),
        ]


@admin.register(AcademicSession)
class AcademicSessionAdmin(Live):
    list_display = ("title", "type", "start_date", "end_date", "school_year", "district", "standing")
    list_filter = (OfDistrict, "type", OfStatus)


@admin.register(Course)
class CourseAdmin(Live):
    list_display = ("title", "course_code", "grades", "sourced_id", "district", "standing")

    def lists(self, request: HttpRequest, record: Course) -> list[dict[str, Any]]:
        return [
            _list(
                "Classes",
                record.classes.filter(status="active").order_by("title"),
                lambda c: (c.title, "class", c.pk, c.class_code),
            )
        ]


@admin.register(Class)
class ClassAdmin(Live):
    list_display = ("title", "class_code", "class_type", "grades", "district", "standing")
    list_filter = (OfDistrict, OfSchool, OfStatus)

    def lists(self, request: HttpRequest, record: Class) -> list[dict[str, Any]]:
        enrolled = record.enrollments.filter(status="active").select_related("user").order_by("user__search_name")

        def row(e: Enrollment) -> tuple[str, str, int, str]:
            dates = " to ".join(d for d in (e.begin_date, e.end_date) if d)
            return (
                _person(e.user),
                "user",
                e.user_id,
                " · ".join(w for w in ("primary" if e.primary == "true" else "", dates) if w),
            )

        return [
            _list("Teachers", enrolled.filter(role="teacher"), row),
            _list("Students", enrolled.filter(role="student"), row),
            _list("Others", enrolled.exclude(role__in=["teacher", "student"]), row),
        ]


@admin.register(User)
class UserAdmin(Live):
    change_list_template = "admin/rosters/record/people.html"
    list_display = ("family_name", "given_name", "role", "grades", "username", "district", "standing")
    ordering = ("district_id", "search_name")
    list_filter = (OfDistrict, OfSchool, OfRole, OfStatus)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(or_later(self.in_file))
        return [path("file/", view, name="rosters_user_file"), *super().get_urls()]

    def in_file(self, request: HttpRequest) -> HttpResponse:
        """Look for somebody in a file of a district."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return tracing.page(request, {**self.admin_site.each_context(request), "opts": self.opts})

    def search(self, term: str) -> Q:
        """By id, by user name, or by name: the beginning of "family given", or beginnings of both in either order."""
        words = term.lower().split()
        found = Q(sourced_id=term) | Q(username=term) | _begins(" ".join(words))
        for split in range(1, min(len(words), NAME_WORDS)):
            one, other = " ".join(words[:split]), " ".join(words[split:])
            found |= _begins(one) & Q(search_name__contains=f" {other}")
            found |= _begins(other) & Q(search_name__contains=f" {one}")
        return found

    def heading(self, record: User) -> str:
        return _person(record)

    def lists(self, request: HttpRequest, record: User) -> list[dict[str, Any]]:
        roles = record.roles.filter(status="active").select_related("org").order_by("role_type", "pk")
        enrolled = record.enrollments.filter(status="active").select_related("clazz").order_by("clazz__title")
        found = [
            _list("Roles", roles, lambda r: (f"{r.role} at {r.org.name}", "org", r.org_id, r.role_type)),
            _list("Classes", enrolled, lambda e: (e.clazz.title, "class", e.clazz_id, e.role)),
        ]
        if may_see(request, "demographics"):
            known = record.demographics.filter(status="active")
            found.append(_list("Demographics", known, lambda d: ("Show demographics", "demographics", d.pk, "")))
        return found


@admin.register(UserProfile)
class UserProfileAdmin(Live):
    list_display = ("username", "profile_type", "vendor_id", "district", "standing")


@admin.register(Role)
class RoleAdmin(Live):
    list_display = ("role", "role_type", "sourced_id", "district", "standing")


@admin.register(Demographics)
class DemographicsAdmin(Live):
    list_display = ("sourced_id", "district", "standing")


@admin.register(Enrollment)
class EnrollmentAdmin(Live):
    list_display = ("person", "of_class", "role", "begin_date", "end_date", "district", "standing")
    list_filter = (OfDistrict, OfSchool, OfStatus)
    list_select_related = ("district", "user", "clazz")

    @admin.display(description="person")
    def person(self, enrollment: Enrollment) -> str:
        return _person(enrollment.user)

    @admin.display(description="class")
    def of_class(self, enrollment: Enrollment) -> str:
        return str(enrollment.clazz.title)
