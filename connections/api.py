"""`/api/v1/`: connections, their attempts and schedules. No secret, no address of a server, nothing of a roster."""

from __future__ import annotations

from itertools import islice
from typing import Any, Final, cast

from django.db.models import QuerySet
from django.http import Http404
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from connections import attempts, tasks
from connections.apps import RUN
from connections.exceptions import FAULTS
from connections.models import Attempt, Connection
from connections.schedules import runs, sentence
from rosters.api.manners import PortalView, Problem
from rosters.api.objects import PortalList, note_client
from rosters.api.scopes import CONNECTIONS_READ, CONNECTIONS_RUN
from rosters.models import District

RUNS_SHOWN: Final = 20


class ConnectionSerializer(serializers.ModelSerializer[Connection]):
    site_code = serializers.SlugRelatedField[District](source="district", slug_field="site_code", read_only=True)

    class Meta:
        model = Connection
        fields = (
            "uid", "site_code", "kind", "vendor", "state", "state_since", "pause_reason", "paused_until", "version",
            "next_due_at", "failures", "last_success_at", "late_since", "speaks_for",
        )  # fmt: skip
        read_only_fields = fields


class AttemptSerializer(serializers.ModelSerializer[Attempt]):
    connection = serializers.SlugRelatedField[Connection](slug_field="uid", read_only=True)
    next_step = serializers.SerializerMethodField()

    class Meta:
        model = Attempt
        fields = (
            "id", "connection", "why", "status", "asked_at", "started_at", "ended_at", "phase", "rows_done",
            "bytes_done", "code", "words", "next_step", "sync",
        )  # fmt: skip
        read_only_fields = fields

    def get_next_step(self, attempt: Attempt) -> str:
        return FAULTS[attempt.code].next_step if attempt.code in FAULTS else ""


class RunSerializer(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    local = serializers.DateTimeField(help_text="By the district's clock.")
    skipped = serializers.CharField(allow_blank=True, help_text='Why it does not run, "" if it does.')


class ScheduleSerializer(serializers.Serializer[Any]):
    time_zone = serializers.CharField()
    words = serializers.CharField(allow_blank=True, help_text='"" where it runs only when asked.')
    schedule = serializers.DictField()
    runs = RunSerializer(many=True, help_text="The next ones, those that a blackout takes out among them.")


class _Connections(PortalView):
    scopes = (CONNECTIONS_READ,)
    permission = "connections.view_connection"

    def connections(self) -> QuerySet[Connection]:
        return Connection.objects.filter(district__in=self.districts()).select_related("district")

    @property
    def connection(self) -> Connection:
        found = self.connections().filter(uid=self.kwargs["uid"]).first()
        if found is None:
            raise Http404
        return found


class Connections(PortalList, _Connections):
    """Connections, and how each is doing."""

    serializer_class = ConnectionSerializer

    @extend_schema(parameters=[OpenApiParameter("site_code", str, description="Of this district.")])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[Connection]:
        code = self.request.query_params.get("site_code", "")
        found = self.connections().order_by()
        return found.filter(district__site_code=code) if code else found


class OneConnection(_Connections):
    """A connection, and how it is doing."""

    @extend_schema(responses=ConnectionSerializer)
    def get(self, request: Request, uid: str) -> Response:
        return Response(ConnectionSerializer(self.connection).data)


class Attempts(PortalList, _Connections):
    """Attempts to fetch, the newest first; and a new one, at once."""

    serializer_class = AttemptSerializer

    def needs(self, request: Request) -> tuple[tuple[str, ...], str]:
        return ((CONNECTIONS_RUN,), RUN) if request.method == "POST" else (self.scopes, self.permission)

    def get_queryset(self) -> QuerySet[Attempt]:
        return Attempt.objects.filter(connection=self.connection).select_related("connection").order_by()

    @extend_schema(request=None, responses={202: AttemptSerializer})
    def post(self, request: Request, uid: str) -> Response:
        connection = self.connection
        try:
            attempt = attempts.ask(connection, Attempt.Why.NOW, by=cast("Any", request.user))
        except attempts.NotNow as reason:
            raise Problem(409, "not-now", str(reason), "Wait for the attempt that is under way.") from None
        tasks.enqueue_pull(attempt)
        note_client(self, "connection.fetch", district=connection.district)
        place = reverse("v1:attempt", args=[attempt.pk])
        return Response(AttemptSerializer(attempt).data, status=202, headers={"Location": place})


class OneAttempt(_Connections):
    """An attempt: how far it is, what came of it, and the sync that it led to."""

    @extend_schema(responses=AttemptSerializer)
    def get(self, request: Request, pk: int) -> Response:
        found = Attempt.objects.filter(connection__in=self.connections(), pk=pk).select_related("connection").first()
        if found is None:
            raise Http404
        return Response(AttemptSerializer(found).data)


class OneSchedule(_Connections):
    """When a connection runs, by the district's clock."""

    @extend_schema(responses=ScheduleSerializer)
    def get(self, request: Request, uid: str) -> Response:
        connection = self.connection
        timetable = connection.timetable()
        coming = islice(runs(timetable, timezone.now(), skipped=True), RUNS_SHOWN) if timetable else ()
        told = {
            "time_zone": connection.district.time_zone,
            "words": sentence(timetable, timezone.localdate()) if timetable else "",
            "schedule": connection.schedule,
            "runs": [{"at": run.at, "local": run.local.isoformat(), "skipped": run.skipped or ""} for run in coming],
        }
        return Response(told)


addresses: list[URLPattern] = [
    path("connections", Connections.as_view(), name="connections"),
    path("connections/<uuid:uid>", OneConnection.as_view(), name="connection"),
    path("connections/<uuid:uid>/attempts", Attempts.as_view(), name="attempts"),
    path("connections/<uuid:uid>/schedule", OneSchedule.as_view(), name="schedule"),
    path("attempts/<int:pk>", OneAttempt.as_view(), name="attempt"),
]
