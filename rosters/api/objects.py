"""`/api/v1/`: districts, deliveries and syncs as objects, with the powers, the holds and the trail of the pages."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Final, cast

import polars as pl
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.http import FileResponse, Http404, HttpResponse, HttpResponseBase
from django.urls import URLPattern, path, reverse
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import generics, serializers
from rest_framework.pagination import CursorPagination
from rest_framework.parsers import JSONParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from rosters import holding, syncs, tasks
from rosters.api.manners import PortalView, Problem, grant_of
from rosters.api.models import SentOnce
from rosters.api.scopes import CORE, DELIVERIES_CREATE, DEMOGRAPHICS, ROSTER, SYNCS_DECIDE, SYNCS_READ, V1P1, V1P2
from rosters.downloads import CannotNote, note_taken
from rosters.explaining.consequences import CONSEQUENCES
from rosters.models import AuditEvent, Delivery, District, Finding, Hold, Sync
from rosters.oneroster.normal import NORMAL, TABLES
from rosters.scope import Scope
from rosters.staff import DECIDE, UPLOAD
from rosters.words import sync_words

#: Whose records a client sees only with the standard's scope for them, and staff only with the permission.
_GUARDED: Final = "demographics"
_KINDS: Final = ("added", "updated", "removed")
_LEFT: Final = tuple(CONSEQUENCES)


class Pages(CursorPagination):
    """A page, and the addresses of the next and the one before, which stay right while more comes in."""

    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 200
    cursor_query_param = "cursor"
    ordering = "-pk"


class PortalList(PortalView, generics.ListAPIView):  # type: ignore[type-arg]
    """A list in pages."""

    pagination_class = Pages


# ---------------------------------------------------------------------------------------------------------- as they are


class DistrictSerializer(serializers.ModelSerializer[District]):
    digest = serializers.CharField(source="snapshot.digest", default="", read_only=True)
    live_since = serializers.DateTimeField(source="snapshot.made_at", default=None, read_only=True, allow_null=True)
    rows = serializers.SerializerMethodField(help_text="Table to how many records are live.")
    not_kept = serializers.ListField(
        child=serializers.CharField(),
        read_only=True,
        help_text="What of its people is not kept: `users.phone`, or `demographics` for all of them.",
    )

    class Meta:
        model = District
        fields = (
            "site_code", "name", "time_zone", "products", "applies_automatically", "version", "digest", "live_since",
            "rows", "not_kept",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field({"type": "object", "additionalProperties": {"type": "integer"}})
    def get_rows(self, district: District) -> dict[str, int]:
        tables = district.snapshot.tables if district.snapshot else {}
        return {table: int(facts["rows"]) for table, facts in tables.items()}


def not_kept(district: District, what: str) -> Problem:
    """`what` was deleted, for its time was over."""
    return Problem(
        410,
        "not-kept",
        f"{what} was deleted: the history of this district is kept for {district.history_kept.days} days.",
        "Its numbers and its hash stay; `forgotten_at` says when.",
    )


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    site_code = serializers.SlugRelatedField[District](source="district", slug_field="site_code", read_only=True)

    class Meta:
        model = Delivery
        fields = ("id", "site_code", "name", "sha256", "size", "origin", "received_at", "forgotten_at")
        read_only_fields = fields


class HoldSerializer(serializers.ModelSerializer[Hold]):
    class Meta:
        model = Hold
        fields = ("code", "approvable", "table", "saw", "usual", "meaning", "next_step", "explained")
        read_only_fields = fields


class SyncSerializer(serializers.ModelSerializer[Sync]):
    site_code = serializers.SlugRelatedField[District](source="district", slug_field="site_code", read_only=True)
    next_step = serializers.SerializerMethodField()
    result_version = serializers.IntegerField(
        source="result.version",
        default=None,
        allow_null=True,
        read_only=True,
        help_text="The version that it made live.",
    )
    seconds = serializers.SerializerMethodField(help_text="Phase to seconds.")
    speaks_for = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField()),
        read_only=True,
        help_text="The `schools` and `terms` it is about, by their sourcedIds; empty: all of them.",
    )

    set_aside = serializers.ListField(
        child=serializers.ListField(child=serializers.CharField()),
        read_only=True,
        help_text="Of the holds whose changes are decided after it: code, table, dimension.",
    )
    undo_only = serializers.DictField(
        child=serializers.CharField(),
        read_only=True,
        help_text="Of an undo that takes back a part: the `school` and the `kind` of change; empty: all of it.",
    )

    class Meta:
        model = Sync
        fields = (
            "id", "site_code", "delivery", "undoes", "undo_only", "undone_at", "dry_run", "as_if_on", "additions_only",
            "speaks_for", "untouched", "removals_wait", "set_aside", "waiting", "status", "status_since", "received_at",
            "next_step", "phase", "progress", "seconds", "oneroster_version", "errors", "warnings", "quarantined",
            "base_version",
            "plan_digest", "verdict", "added", "updated", "removed", "people_affected", "decision", "decided_at",
            "decided_automatically", "decision_reason", "go_live_at", "applied_at", "result_version", "forgotten_at",
            "error_code", "error",
        )  # fmt: skip
        read_only_fields = fields

    def get_next_step(self, sync: Sync) -> str:
        return sync_words(sync).next_step

    @extend_schema_field({"type": "object", "additionalProperties": {"type": "number"}})
    def get_seconds(self, sync: Sync) -> dict[str, float]:
        return dict(sync.seconds)


class PlanSerializer(SyncSerializer):
    """One sync with what it would change in numbers, and what holds it."""

    holds = HoldSerializer(many=True, read_only=True)
    tables = serializers.SerializerMethodField(help_text="Table to how many records come, change and go.")
    consequences = serializers.DictField(
        child=serializers.IntegerField(),
        read_only=True,
        help_text="What it would mean to those who stay: kind (see `/left`) to how many.",
    )
    grade_moves = serializers.ListField(
        child=serializers.DictField(),
        read_only=True,
        help_text="Where the students of each grade go, if many move: `grade`, how many there were `before`, the grade "
        "`to` which most go, how many `moved` there, went `elsewhere`, `stay`, `left`, and how many new ones `came`.",
    )
    needs_two_people = serializers.BooleanField(
        read_only=True, help_text="It removes so many people that two members of staff must approve it."
    )

    class Meta(SyncSerializer.Meta):
        fields: Any = (
            *SyncSerializer.Meta.fields, "holds", "tables", "consequences", "grade_moves", "needs_two_people",
            "first_approved_at",
        )  # fmt: skip
        read_only_fields: Any = fields

    @extend_schema_field(
        {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {name: {"type": "integer"} for name in ("before", *_KINDS)},
            },
        }
    )
    def get_tables(self, sync: Sync) -> dict[str, dict[str, int]]:
        if not sync.plan_digest:
            return {}
        whole = {tally.table: tally for tally in sync.tallies.filter(dimension="")}
        return {
            table: {name: int(getattr(whole[table], name)) for name in ("before", *_KINDS)}
            for table in TABLES
            if table in whole
        }


class PlaceSerializer(serializers.Serializer[Any]):
    line = serializers.IntegerField(allow_null=True)
    value = serializers.CharField(allow_blank=True)


class FindingSerializer(serializers.ModelSerializer[Finding]):
    places = serializers.SerializerMethodField(help_text="The first places; none of what may not be seen.")

    class Meta:
        model = Finding
        fields = ("code", "severity", "file", "column", "count", "message", "next_step", "effect", "is_new", "places")
        read_only_fields = fields

    @extend_schema_field(PlaceSerializer(many=True))
    def get_places(self, finding: Finding) -> list[dict[str, Any]]:
        hidden = finding.file == f"{_GUARDED}.csv" and not may_see_demographics(self.context["view"])
        return [] if hidden else finding.places


class ChangeSerializer(serializers.Serializer[Any]):
    """A record that comes, changes or goes. `before` and `after` hold the fields that differ; of a record that comes
    all of `after`, of one that goes all of `before`."""

    table = serializers.ChoiceField(choices=TABLES)
    kind = serializers.ChoiceField(choices=_KINDS)
    sourcedId = serializers.CharField()  # noqa: N815  # OneRoster's word
    before = serializers.DictField(child=serializers.CharField(allow_blank=True))
    after = serializers.DictField(child=serializers.CharField(allow_blank=True))


def change_of(table: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row of a stored difference (`rosters.diffing`) as `ChangeSerializer` has it."""
    cells = NORMAL[table][1:]
    if row["kind"] == "updated":
        changed = [name for name in (row["fields"] or "").split(",") if name]
        before, after = (
            {name: row[f"was.{name}"] or "" for name in changed},
            {name: row[name] or "" for name in changed},
        )
    else:
        whole = {name: row[name] for name in cells if row[name]}
        before, after = (whole, {}) if row["kind"] == "removed" else ({}, whole)
    return {"table": table, "kind": row["kind"], "sourcedId": row["sourcedId"], "before": before, "after": after}


def may_see_demographics(view: PortalView) -> bool:
    grant = grant_of(view.request)
    if grant is not None:
        return grant.allows(V1P1 + DEMOGRAPHICS, V1P2 + DEMOGRAPHICS)
    return bool(view.request.user.has_perm("rosters.view_demographics"))


# ----------------------------------------------------------------------------------------------------------- districts


class Districts(PortalList):
    """Districts that whoever asks may see, with what is live in each."""

    scopes = (SYNCS_READ,)
    permission = "rosters.view_district"
    serializer_class = DistrictSerializer

    def get_queryset(self) -> QuerySet[District]:
        return self.districts().select_related("snapshot").order_by()


class OneDistrict(PortalView):
    """A district, and what is live in it."""

    scopes = (SYNCS_READ,)
    permission = "rosters.view_district"

    @extend_schema(responses=DistrictSerializer)
    def get(self, request: Request, site_code: str) -> Response:
        return Response(DistrictSerializer(self.district).data)


# --------------------------------------------------------------------------------------------------------------- syncs


def of_choice(request: Request, name: str, choices: tuple[str, ...]) -> str:
    """A parameter that is one of a few words, "" where it is not said."""
    said = request.query_params.get(name, "")
    if said and said not in choices:
        raise Problem(400, "bad-parameter", f"{name} is one of {', '.join(choices)}.")
    return str(said)


def number_of(request: Request, name: str, default: int, most: int, *, least: int = 0) -> int:
    said = request.query_params.get(name, str(default))
    if not (said.isascii() and said.isdecimal() and len(said) < 12 and least <= int(said) <= most):
        raise Problem(400, "bad-parameter", f"{name} is a number from {least} to {most:,}.")
    return int(said)


class Syncs(PortalList):
    """Syncs, the newest first. Dry runs are listed where they are asked for."""

    scopes = (SYNCS_READ,)
    serializer_class = SyncSerializer

    def get_queryset(self) -> QuerySet[Sync]:
        wanted = Sync.with_dry_runs if self.request.query_params.get("dry_run") == "true" else Sync.objects
        found = cast(
            "QuerySet[Sync]", wanted.filter(district__in=self.districts()).select_related("district", "result")
        )
        if "site_code" in self.kwargs:
            found = found.filter(district=self.district)
        if wanted is Sync.with_dry_runs:
            found = found.filter(dry_run=True)
        if status := of_choice(self.request, "status", tuple(Sync.Status.values)):
            found = found.filter(status=status)
        return found.order_by()

    @extend_schema(
        parameters=[
            OpenApiParameter("status", str, enum=Sync.Status.values),
            OpenApiParameter("dry_run", bool, description="true: dry runs instead."),
        ]
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class SyncView(PortalView):
    """What is about one sync."""

    scopes = (SYNCS_READ,)

    @property
    def sync(self) -> Sync:
        related = ("district", "delivery", "undoes", "base", "result", "decided_by")
        found = Sync.with_dry_runs.filter(district__in=self.districts(), pk=self.kwargs["pk"])
        sync = found.select_related(*related).first()
        if sync is None:
            raise Http404
        return sync


def shown(sync: Sync, *, status: int = 200, location: bool = False) -> Response:
    """A sync; its ETag is the digest of its plan, which a decision is bound to."""
    answer = Response(PlanSerializer(sync).data, status=status)
    if sync.plan_digest:
        answer.headers["ETag"] = f'"{sync.plan_digest}"'
    if location:
        answer.headers["Location"] = reverse("v1:sync", args=[sync.pk])
    return answer


class OneSync(SyncView):
    """Where it stands, what it would change in numbers, what holds it. The ETag is the digest of its plan."""

    @extend_schema(responses=PlanSerializer)
    def get(self, request: Request, pk: int) -> Response:
        return shown(self.sync)


class ChangePageSerializer(serializers.Serializer[Any]):
    total = serializers.IntegerField(help_text="Records that fit the filter.")
    tables = serializers.ListField(child=serializers.CharField(), help_text="Tables that have changes.")
    results = ChangeSerializer(many=True)


class Changes(SyncView):
    """The records that a sync brings, changes or takes out, table by table."""

    @extend_schema(
        parameters=[
            OpenApiParameter("table", str, enum=TABLES, description="The first that has changes, unless said."),
            OpenApiParameter("kind", str, enum=_KINDS),
            OpenApiParameter("field", str, description="Records of which this column changed."),
            OpenApiParameter("text", str, description="In any cell, old or new, whatever the case."),
            OpenApiParameter("offset", int),
            OpenApiParameter("limit", int, description="Up to 1,000."),
        ],
        responses=ChangePageSerializer,
    )
    def get(self, request: Request, pk: int) -> Response:
        sync, asked = self.sync, request.query_params
        if sync.forgotten_at:
            raise not_kept(sync.district, "What this sync changed")
        stored = syncs.store().difference(sync.district_id, sync.pk)
        tables = [table for table in stored.tables if table != _GUARDED or may_see_demographics(self)]
        table = of_choice(request, "table", TABLES) or (tables[0] if tables else "")
        kind, field = of_choice(request, "kind", _KINDS), asked.get("field", "")
        offset, limit = number_of(request, "offset", 0, 10**9), number_of(request, "limit", 100, 1000, least=1)
        if field and field not in NORMAL.get(table, (field,)):
            raise Problem(400, "bad-parameter", "field is a column of that table.")
        if not sync.plan_digest or table not in tables:
            return Response({"total": 0, "tables": tables, "results": []})
        page = stored.page(
            table, kind=kind, field=field, text=asked.get("text", "").strip(), offset=offset, limit=limit
        )  # fmt: skip
        rows = [change_of(table, row) for row in page.rows]
        return Response({"total": page.total, "tables": tables, "results": rows})


class LeftSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=_LEFT)
    sourcedId = serializers.CharField()  # noqa: N815  # OneRoster's word
    school = serializers.CharField(allow_blank=True, help_text="Its school's sourcedId.")


class LeftPageSerializer(serializers.Serializer[Any]):
    total = serializers.IntegerField(help_text="Records that fit the filter.")
    results = LeftSerializer(many=True)


class Left(SyncView):
    """Who and what stays, and would lose the last seat of its kind: students and teachers without a class, classes
    without a teacher (`untaught`) or without students (`empty`)."""

    @extend_schema(
        parameters=[
            OpenApiParameter("kind", str, enum=_LEFT),
            OpenApiParameter("offset", int),
            OpenApiParameter("limit", int, description="100 unless said, up to 1000."),
        ],
        responses=LeftPageSerializer,
    )
    def get(self, request: Request, pk: int) -> Response:
        sync, kind = self.sync, of_choice(request, "kind", _LEFT)
        offset, limit = number_of(request, "offset", 0, 10**9), number_of(request, "limit", 100, 1000, least=1)
        if sync.forgotten_at:
            raise not_kept(sync.district, "Who would have been left without a class")
        left = syncs.store().left(sync.district_id, sync.pk, sync.plan_digest)
        if left is None:
            return Response({"total": 0, "results": []})
        left = left.filter(pl.col("kind") == kind) if kind else left
        total = int(left.select(pl.len()).collect().item())
        return Response({"total": total, "results": left.slice(offset, limit).collect().to_dicts()})


class Findings(PortalList, SyncView):
    """What was found in the delivery of a sync, in groups, what others follow from first."""

    serializer_class = FindingSerializer

    class Pages(Pages):
        ordering = "position"

    pagination_class = Pages

    def get_queryset(self) -> QuerySet[Finding]:
        found = Finding.objects.filter(sync=self.sync).order_by()
        if severity := of_choice(self.request, "severity", ("fatal", "error", "warning", "info")):
            found = found.filter(severity=severity)
        if code := self.request.query_params.get("code", ""):
            found = found.filter(code=code)
        return found

    @extend_schema(
        parameters=[
            OpenApiParameter("severity", str, enum=["fatal", "error", "warning", "info"]),
            OpenApiParameter("code", str),
        ]
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


# ------------------------------------------------------------------------------------------------------------ decisions


class ReasonSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(required=False, allow_blank=True, max_length=2000, default="")


class ApprovalSerializer(ReasonSerializer):
    go_live_at = serializers.DateTimeField(
        required=False, allow_null=True, default=None,
        help_text="The moment, with its offset, at which it goes live, within seven days; without it, at once.",
    )  # fmt: skip


class WhySerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=2000, help_text="So that the district and colleagues know.")


class UndoSerializer(serializers.Serializer[Any]):
    school = serializers.CharField(
        max_length=255, required=False, default="", help_text="Only what it changed in this school (its sourcedId)."
    )
    kind = serializers.ChoiceField(
        choices=_KINDS, required=False, allow_blank=True, default="", help_text="Only changes of this kind."
    )


IF_MATCH: Final = OpenApiParameter(
    "If-Match", str, OpenApiParameter.HEADER, description="The ETag of the sync: the plan that was read."
)


class DecisionView(SyncView):
    scopes = (SYNCS_DECIDE,)
    permission = DECIDE

    def decided(self, did: str, sync: Sync, decide: Callable[[], Any]) -> Any:
        """Do what was asked; a refusal is a 409, a plan that is not the one that was read a 412."""
        try:
            done = decide()
        except syncs.StalePlan as stale:
            fresh = self.sync
            if fresh.status == Sync.Status.RECEIVED:
                tasks.enqueue_prepare(fresh)
            raise Problem(412, "plan-stale", str(stale), "Read the sync again; its plan is another one.") from None
        except syncs.NotApprovable as refused:
            raise Problem(409, "held-for-good", str(refused), "Decline it.") from None
        except syncs.DecisionRefused as refused:
            raise Problem(409, "decision-refused", str(refused), "Read the sync again.") from None
        note_client(self, did, sync)
        return done

    def plan_read(self, sync: Sync) -> str:
        """The digest in `If-Match`, if it is that of the sync."""
        said = self.request.headers.get("If-Match", "").strip().removeprefix("W/").strip('"')
        if not said:
            raise Problem(
                428, "plan-not-named", "A decision names the plan that was read.", "Send its ETag in If-Match."
            )
        if said != sync.plan_digest:
            raise Problem(412, "plan-stale", "The plan is another one than the one that was read.", "Read it again.")
        return said


def note_client(view: PortalView, did: str, sync: Sync | None = None, district: District | None = None) -> None:
    """That a client did it, beside the row that says in whose name."""
    if view.acted_by:
        AuditEvent.objects.create(
            by=cast("Any", view.request.user),
            action="client.acted",
            district=sync.district if sync else district,
            sync=sync,
            subject=f"sync {sync.pk}" if sync else "",
            after={**view.acted_by, "did": did},
        )


class Approve(DecisionView):
    """Approve exactly the plan that was read. It is applied in the background: follow the sync. Where two people must
    approve (`needs_two_people`), it waits on for the second."""

    @extend_schema(request=ApprovalSerializer, responses={202: PlanSerializer}, parameters=[IF_MATCH])
    def post(self, request: Request, pk: int) -> Response:
        sync, said = self.sync, said_in(ApprovalSerializer, request)
        digest, by = self.plan_read(sync), cast("Any", request.user)
        grant = grant_of(request)
        if grant and sync.needs_two_people and grant.client.made_by_id != by.pk:
            raise Problem(
                409,
                "two-people-needed",
                "So many people are removed by two members of staff; a tool speaks for one who has made it, only.",
                "Approve it in the portal, or with a tool that you have made yourself.",
            )
        whole = self.decided("sync.approved", sync, lambda: syncs.approve(sync, by=by, plan_digest=digest, **said))
        if whole and not sync.go_live_at:
            tasks.enqueue_apply(sync)
        return shown(self.sync, status=202, location=True)


class TakeBack(DecisionView):
    """Take back the approval of a plan that waits for its hour (`go_live_at`): it waits for a decision again."""

    @extend_schema(request=None, responses=PlanSerializer)
    def post(self, request: Request, pk: int) -> Response:
        sync, by = self.sync, cast("Any", request.user)
        self.decided("sync.approval_taken_back", sync, lambda: syncs.take_back(sync, by=by))
        return shown(self.sync)


class GoLive(DecisionView):
    """Let a plan that waits for its hour go live at once."""

    @extend_schema(request=None, responses={202: PlanSerializer})
    def post(self, request: Request, pk: int) -> Response:
        sync, by = self.sync, cast("Any", request.user)
        self.decided("sync.hurried", sync, lambda: syncs.go_live_now(sync, by=by))
        tasks.enqueue_apply(sync)
        return shown(self.sync, status=202, location=True)


class Decline(DecisionView):
    """Keep the roster as it is, and say why."""

    @extend_schema(request=WhySerializer, responses=PlanSerializer, parameters=[IF_MATCH])
    def post(self, request: Request, pk: int) -> Response:
        sync, said = self.sync, said_in(WhySerializer, request)
        self.plan_read(sync)
        by = cast("Any", request.user)
        self.decided("sync.declined", sync, lambda: syncs.decline(sync, by=by, reason=said["reason"]))
        return shown(self.sync)


class _Anew(DecisionView):
    """A decision that makes another sync."""

    did: ClassVar[str]
    make: ClassVar[Callable[..., Sync]]

    @extend_schema(request=None, responses={202: PlanSerializer})
    def post(self, request: Request, pk: int) -> Response:
        sync, by = self.sync, cast("Any", request.user)
        made = self.decided(self.did, sync, lambda: type(self).make(sync, by=by))
        tasks.enqueue_prepare(made)
        return shown(made, status=202, location=True)


class Undo(_Anew):
    """A new sync that takes back what this one changed, or a part of it; it is reviewed and approved like any other."""

    did = "sync.undo_requested"

    @extend_schema(request=UndoSerializer, responses={202: PlanSerializer})
    def post(self, request: Request, pk: int) -> Response:
        sync, by = self.sync, cast("Any", request.user)
        only = said_in(UndoSerializer, request)
        made = self.decided(self.did, sync, lambda: syncs.undo(sync, by=by, **only))
        tasks.enqueue_prepare(made)
        return shown(made, status=202, location=True)


class Retry(_Anew):
    """Check the file of a sync once more, by today's settings: as a new sync where it was refused or failed, in place
    where it waits for a decision. Of a dry run: as another dry run."""

    did, make = "sync.retried", staticmethod(syncs.retry)


class ForReal(_Anew):
    """Take the file of a dry run to be decided upon like any other delivery, in a new sync, if none has come since."""

    did, make = "sync.for_real", staticmethod(partial(syncs.dry_run_again, for_real=True))


class AdditionsFirst(_Anew):
    """Let what comes and changes go first, in a new sync of the same delivery that takes the place of this one; what
    would be removed is decided after it, in one more."""

    did, make = "sync.additions_first", staticmethod(syncs.additions_first)


class GoWithoutSerializer(serializers.Serializer[Any]):
    code = serializers.ChoiceField(choices=sorted(holding.MAY_WAIT), help_text="Of the hold, as are the other two.")
    table = serializers.CharField(max_length=40)
    dimension = serializers.CharField(max_length=40, default="", allow_blank=True)


class GoWithout(DecisionView):
    """Let all go ahead but what one hold is about, in a new sync of the same delivery that takes the place of this one;
    what waits is decided after it, in one more."""

    @extend_schema(request=GoWithoutSerializer, responses={202: PlanSerializer})
    def post(self, request: Request, pk: int) -> Response:
        sync, by = self.sync, cast("Any", request.user)
        which = holding.Which(**said_in(GoWithoutSerializer, request))
        made = self.decided("sync.went_without", sync, lambda: syncs.go_without(sync, which, by=by))
        tasks.enqueue_prepare(made)
        return shown(made, status=202, location=True)


def _ids(what: str) -> serializers.ListField:
    return serializers.ListField(
        child=serializers.CharField(max_length=255), default=list, max_length=10_000,
        help_text=f"The file is only about these {what}, by their sourcedIds, with all that lies beneath them; of "
        "others nothing changes. Repeat the field to name several; without it the file is about all of them.",
    )  # fmt: skip


class OnlyAboutSerializer(serializers.Serializer[Any]):
    schools = _ids("schools")
    terms = _ids("terms")


class OnlyAbout(DecisionView):
    """Take the file of a sync that waits for what it is, about some schools or terms only: a new sync of the same
    delivery takes its place, and changes nothing of others."""

    @extend_schema(request=OnlyAboutSerializer, responses={202: PlanSerializer})
    def post(self, request: Request, pk: int) -> Response:
        said = said_in(OnlyAboutSerializer, request)
        scope = Scope(tuple(said["schools"]), tuple(said["terms"]))
        sync, by = self.sync, cast("Any", request.user)
        made = self.decided("sync.only_about", sync, lambda: syncs.only_about(sync, scope, by=by))
        tasks.enqueue_prepare(made)
        return shown(made, status=202, location=True)


def said_in(kind: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    """What the body says. What is not known is refused, as is a body that would not be read: of somebody who asks for a
    part, with a word that is spelled wrong, it would do the whole."""
    if "Transfer-Encoding" in request.headers and "Content-Length" not in request.headers:
        raise Problem(411, "length-required", "Without its Content-Length a body is not read.", "Send it with that.")
    given = kind(data=request.data)
    wrong = {name: ["This is said in the body."] for name in sorted(set(request.query_params) & set(given.fields))}
    if isinstance(request.data, Mapping):
        wrong |= {name: ["There is no such field."] for name in sorted(set(request.data) - set(given.fields))}
    if wrong:
        raise serializers.ValidationError(wrong)
    given.is_valid(raise_exception=True)
    return cast("dict[str, Any]", given.validated_data)


# ----------------------------------------------------------------------------------------------------------- deliveries


class SendSerializer(serializers.Serializer[Any]):
    file = serializers.FileField(help_text="A zip of OneRoster CSV files, or one CSV file.")
    dry_run = serializers.BooleanField(default=False, help_text="Only say what it would change; it is never applied.")
    as_if_on = serializers.DateField(
        default=None, help_text="Of a dry run: check it as if it came on this day, by the district's calendar."
    )
    additions_only = serializers.BooleanField(default=False, help_text="Add and change, but remove nothing.")
    only_schools = _ids("schools")
    only_terms = _ids("terms")


class Deliveries(PortalList):
    """What a district delivered, the newest first; and a new delivery."""

    serializer_class = DeliverySerializer
    parser_classes = (MultiPartParser, JSONParser)

    def needs(self, request: Request) -> tuple[tuple[str, ...], str]:
        if request.method == "POST":
            return (DELIVERIES_CREATE,), UPLOAD
        return (SYNCS_READ,), "rosters.view_delivery"

    def get_queryset(self) -> QuerySet[Delivery]:
        return Delivery.objects.filter(district=self.district).select_related("district").order_by()

    @extend_schema(
        request={"multipart/form-data": SendSerializer},
        responses={202: PlanSerializer, 200: OpenApiResponse(PlanSerializer, "It was sent before, with the same key.")},
        parameters=[
            OpenApiParameter(
                "Idempotency-Key", str, OpenApiParameter.HEADER, required=True,
                description="Of your making. The same file, sent again with it, is no second delivery.",
            )
        ],
    )  # fmt: skip
    def post(self, request: Request, site_code: str) -> Response:
        district, key = self.district, request.headers.get("Idempotency-Key", "").strip()
        if not 0 < len(key) <= 255:
            raise Problem(
                400, "idempotency-key-missing", "A delivery has an Idempotency-Key.", "Make one up, and keep it."
            )
        said = said_in(SendSerializer, request)
        if (said["file"].size or 0) > settings.UPLOAD_LIMIT:
            raise Problem(413, "too-large", f"A delivery has at most {settings.UPLOAD_LIMIT // 2**20} MB.")
        grant = grant_of(request)
        who = str(grant.client.uid) if grant else f"staff {request.user.pk}"
        for _ in range(2):
            if before := SentOnce.objects.filter(who=who, key=key).first():
                return self._again(district, before, said["file"])
            try:
                with transaction.atomic():
                    sync = self._received(district, said)
                    SentOnce.objects.create(who=who, key=key, sync=sync)
            except IntegrityError:  # the same, at the same moment
                continue
            except syncs.NoRoom as full:
                raise Problem(507, "no-room", str(full), "Send it again later, with the same key.") from None
            tasks.enqueue_prepare(sync)
            note_client(self, "delivery.received", sync)
            return shown(sync, status=202, location=True)
        raise Problem(409, "sent-twice", "The same key was used twice in this moment.", "Send it again.")

    def _received(self, district: District, said: dict[str, Any]) -> Sync:
        file = said["file"]
        if said["as_if_on"] and (wrong := syncs.not_such_a_day(district, said["as_if_on"], dry_run=said["dry_run"])):
            raise serializers.ValidationError({"as_if_on": [wrong]})
        return syncs.receive(
            district,
            file.file,
            origin=Delivery.Origin.API,
            name=(file.name or "upload.zip")[:255],
            by=cast("Any", self.request.user),
            additions_only=said["additions_only"],
            dry_run=said["dry_run"],
            as_if_on=said["as_if_on"],
            speaks_for=Scope(tuple(said["only_schools"]), tuple(said["only_terms"])),
        )

    def _again(self, district: District, before: SentOnce, file: Any) -> Response:
        sync = Sync.with_dry_runs.select_related("district", "delivery", "result").get(pk=before.sync_id)
        digest = hashlib.sha256()
        for block in file.chunks():
            digest.update(block)
        if sync.delivery is None or sync.district_id != district.pk or sync.delivery.sha256 != digest.hexdigest():
            raise Problem(
                422, "key-used", "This Idempotency-Key was used for another file.", "Use a new key for a new file."
            )
        return shown(sync)


class DeliveryView(PortalView):
    scopes = (SYNCS_READ,)
    permission = "rosters.view_delivery"

    @property
    def delivery(self) -> Delivery:
        found = Delivery.objects.filter(district__in=self.districts(), pk=self.kwargs["pk"]).select_related("district")
        delivery = found.first()
        if delivery is None:
            raise Http404
        return delivery


class OneDelivery(DeliveryView):
    """A delivery, by its hash."""

    @extend_schema(responses=DeliverySerializer)
    def get(self, request: Request, pk: int) -> Response:
        return Response(DeliverySerializer(self.delivery).data)


class Original(DeliveryView):
    """The file as it was sent. Who may decide about syncs may have it."""

    scopes = (SYNCS_DECIDE,)
    permission = DECIDE
    acts = True

    @extend_schema(responses={(200, "application/octet-stream"): bytes})
    def get(self, request: Request, pk: int) -> HttpResponseBase:
        delivery = self.delivery
        if delivery.forgotten_at:
            raise not_kept(delivery.district, "This file")
        stored = syncs.store().original(delivery.district_id, delivery.sha256)
        if not stored.exists():
            raise Http404
        try:
            note_taken("delivery.taken_out", delivery, by=cast("Any", request.user), about=self.acted_by)
        except CannotNote:
            raise Problem(
                503,
                "busy",
                "A roster is just being written, and who takes out a file is written down first.",
                "Ask again in a minute.",
            ) from None
        return FileResponse(
            stored.open("rb"), as_attachment=True, filename=delivery.name, content_type="application/octet-stream"
        )


# --------------------------------------------------------------------------------------------------------------- export


class Export(PortalView):
    """The live roster as a zip of OneRoster CSV; importing it changes nothing. The ETag is that of its version."""

    scopes = tuple(prefix + name for prefix in (V1P1, V1P2) for name in (CORE, ROSTER))
    permission = DECIDE

    @extend_schema(
        parameters=[OpenApiParameter("oneroster", str, enum=["1.1", "1.2"], description="1.1 unless said.")],
        responses={(200, "application/zip"): bytes, 304: None},
    )
    def get(self, request: Request, site_code: str) -> HttpResponseBase:
        district, version = self.district, of_choice(request, "oneroster", ("1.1", "1.2")) or "1.1"
        if district.snapshot is None:
            raise Problem(409, "nothing-live", "Nothing of this district is live yet.", "Wait for its first sync.")
        without = () if may_see_demographics(self) else (_GUARDED,)
        tag = f'"v{district.version}-{version}-{len(without)}"'
        if request.headers.get("If-None-Match") == tag:
            return HttpResponse(status=304, headers={"ETag": tag})
        by = cast("Any", request.user if request.user.is_authenticated else None)
        name, file = syncs.export(district, version, by=by, without=without, about=self.acted_by)
        answer = FileResponse(file, as_attachment=True, filename=name, content_type="application/zip")
        answer.headers["ETag"] = tag
        return answer


addresses: list[URLPattern] = [
    path("districts", Districts.as_view(), name="districts"),
    path("districts/<str:site_code>", OneDistrict.as_view(), name="district"),
    path("districts/<str:site_code>/syncs", Syncs.as_view(), name="syncs-of-district"),
    path("districts/<str:site_code>/export", Export.as_view(), name="export"),
    path("districts/<str:site_code>/deliveries", Deliveries.as_view(), name="deliveries"),
    path("deliveries/<int:pk>", OneDelivery.as_view(), name="delivery"),
    path("deliveries/<int:pk>/original", Original.as_view(), name="original"),
    path("syncs", Syncs.as_view(), name="syncs"),
    path("syncs/<int:pk>", OneSync.as_view(), name="sync"),
    path("syncs/<int:pk>/changes", Changes.as_view(), name="sync-changes"),
    path("syncs/<int:pk>/left", Left.as_view(), name="sync-left"),
    path("syncs/<int:pk>/findings", Findings.as_view(), name="sync-findings"),
    path("syncs/<int:pk>/approve", Approve.as_view(), name="approve"),
    path("syncs/<int:pk>/take-back", TakeBack.as_view(), name="take-back"),
    path("syncs/<int:pk>/go-live", GoLive.as_view(), name="go-live"),
    path("syncs/<int:pk>/decline", Decline.as_view(), name="decline"),
    path("syncs/<int:pk>/undo", Undo.as_view(), name="undo"),
    path("syncs/<int:pk>/retry", Retry.as_view(), name="retry"),
    path("syncs/<int:pk>/for-real", ForReal.as_view(), name="for-real"),
    path("syncs/<int:pk>/only-about", OnlyAbout.as_view(), name="only-about"),
    path("syncs/<int:pk>/additions-first", AdditionsFirst.as_view(), name="additions-first"),
    path("syncs/<int:pk>/go-without", GoWithout.as_view(), name="go-without"),
]
