"""Ids that are kept although the SIS has others now: who was known again, the decision, and the list for tools.

Whoever reads the roster sees the kept ids and needs nothing of this. Whoever meets the others, at a sign-in that goes
through the SIS, looks here which record is meant.
"""

from __future__ import annotations

from typing import Any, cast

import polars as pl
from django.urls import URLPattern, path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from rosters import syncs, tasks
from rosters.api.manners import PortalView, Problem
from rosters.api.objects import (
    IF_MATCH,
    DecisionView,
    PlanSerializer,
    SyncView,
    note_client,
    number_of,
    of_choice,
    said_in,
    shown,
)
from rosters.api.scopes import CORE, ROSTER, SYNCS_DECIDE, SYNCS_READ, V1P1, V1P2
from rosters.oneroster.normal import TABLES
from rosters.recognising import WAYS
from rosters.staff import DECIDE

_TABLES = tuple(WAYS)
#: Pairs in one answer, unless it is said, and at most.
_LIMIT, _MOST = 500, 5_000
_PAGES = [
    OpenApiParameter("table", str, enum=_TABLES),
    OpenApiParameter("offset", int),
    OpenApiParameter("limit", int, description=f"{_LIMIT:,} unless said, up to {_MOST:,}."),
]


class KeptIdSerializer(serializers.Serializer[Any]):
    table = serializers.ChoiceField(choices=TABLES)
    delivered = serializers.CharField(help_text="The sourcedId in the district's files.")
    kept = serializers.CharField(help_text="The sourcedId of that record here.")


class KeptIdsSerializer(serializers.Serializer[Any]):
    made_at = serializers.DateTimeField(allow_null=True, help_text="null: no ids are kept.")
    total = serializers.IntegerField(help_text="Pairs that fit the filter.")
    results = KeptIdSerializer(many=True)


class KeptIds(PortalView):
    """Which ids of the district's files stand for which records here, by table and the id of the file."""

    def needs(self, request: Request) -> tuple[tuple[str, ...], str]:
        if request.method == "DELETE":
            return (SYNCS_DECIDE,), DECIDE
        readers = tuple(prefix + name for prefix in (V1P1, V1P2) for name in (CORE, ROSTER))
        return (SYNCS_READ, *readers), "rosters.view_sync"

    @extend_schema(
        parameters=[
            *_PAGES,
            OpenApiParameter("delivered", str, description="Only the pair of this id of the district's files."),
            OpenApiParameter("kept", str, description="Only the pair of this sourcedId here."),
        ],
        responses=KeptIdsSerializer,
    )
    def get(self, request: Request, site_code: str) -> Response:
        district = self.district
        ids = syncs.scan_ids(district)
        for name in ("delivered", "kept"):
            if asked := request.query_params.get(name, ""):
                ids = ids.filter(pl.col(name) == asked)
        made = district.kept_ids
        return Response({"made_at": made.made_at if made else None, **_page(request, ids)})

    @extend_schema(request=None, responses={204: None})
    def delete(self, request: Request, site_code: str) -> Response:
        """Give the list up: the next delivery is read under its own ids, and its sync says what that would change."""
        district = self.district
        try:
            syncs.let_ids_go(district, by=cast("Any", request.user))
        except syncs.DecisionRefused as refused:
            raise Problem(409, "decision-refused", str(refused)) from None
        note_client(self, "district.ids_let_go", district=district)
        return Response(status=204)


class AgainSerializer(KeptIdSerializer):
    known_by = serializers.CharField()
    sure = serializers.BooleanField(help_text="false: by a name or a title only, or hanging on such a record.")
    was = serializers.CharField(allow_blank=True, help_text="What the record that leaves is called.")
    now = serializers.CharField(allow_blank=True, help_text="What the one that comes is called.")
    school = serializers.CharField(allow_blank=True)


class AgainCountSerializer(serializers.Serializer[Any]):
    table = serializers.ChoiceField(choices=TABLES)
    known_by = serializers.CharField()
    sure = serializers.BooleanField()
    number = serializers.IntegerField()


class KnownAgainSerializer(serializers.Serializer[Any]):
    counts = AgainCountSerializer(many=True)
    total = serializers.IntegerField(help_text="Pairs that fit the filter.")
    results = AgainSerializer(many=True)


class KnownAgain(SyncView):
    """Of a sync that waits: which records that would be removed are among those that come, under another id."""

    @extend_schema(parameters=_PAGES, responses=KnownAgainSerializer)
    def get(self, request: Request, pk: int) -> Response:
        sync = self.sync
        if not syncs.may_look(sync):
            raise Problem(409, "nothing-to-compare", "This sync does not wait, or nothing leaves and comes with it.")
        again = syncs.known_again(sync)
        counts = [
            {"table": one.table, "known_by": one.known_by, "sure": one.sure, "number": one.number}
            for one in syncs.counted(again)
        ]
        return Response({"counts": counts, **_page(request, again)})


class KeepSerializer(serializers.Serializer[Any]):
    also_unsure = serializers.BooleanField(
        default=False, help_text="Also the ids of records that are known by a name or a title only."
    )


class KeepIds(DecisionView):
    """They are the same: keep the ids of those that leave. The sync is prepared anew under them; what is left of its
    plan is what truly changes."""

    @extend_schema(request=KeepSerializer, responses={202: PlanSerializer}, parameters=[IF_MATCH])
    def post(self, request: Request, pk: int) -> Response:
        sync, said = self.sync, said_in(KeepSerializer, request)
        digest, by = self.plan_read(sync), cast("Any", request.user)
        self.decided(
            "district.ids_kept",
            sync,
            lambda: syncs.keep_ids(sync, by=by, plan_digest=digest, also_unsure=said["also_unsure"]),
        )
        tasks.enqueue_prepare(sync)
        return shown(self.sync, status=202, location=True)


def _page(request: Request, pairs: pl.LazyFrame) -> dict[str, Any]:
    table = of_choice(request, "table", _TABLES)
    if table:
        pairs = pairs.filter(pl.col("table") == table)
    offset, limit = number_of(request, "offset", 0, 10**9), number_of(request, "limit", _LIMIT, _MOST, least=1)
    total = int(pairs.select(pl.len()).collect().item())
    return {"total": total, "results": pairs.slice(offset, limit).collect().to_dicts()}


addresses: list[URLPattern] = [
    path("districts/<str:site_code>/kept-ids", KeptIds.as_view(), name="kept-ids"),
    path("syncs/<int:pk>/known-again", KnownAgain.as_view(), name="known-again"),
    path("syncs/<int:pk>/keep-ids", KeepIds.as_view(), name="keep-ids"),
]
