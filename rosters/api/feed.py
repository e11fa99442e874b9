"""The change feed of a district: each change that went live, once and in order, for as long as it is kept.

A cursor names a version of the roster and how many of its changes were read. It is opaque to its reader, and stays good
until what comes after it is no longer kept; then the answer is a 410 that says from where to begin anew.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from django.urls import URLPattern, path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from rosters import syncs
from rosters.api.manners import PortalView, Problem
from rosters.api.objects import ChangeSerializer, change_of, may_see_demographics, number_of
from rosters.api.scopes import CHANGES_READ
from rosters.models import District, Sync
from rosters.storing import StoredDifference

#: Changes in one answer, unless it is said, and at most.
LIMIT: Final = 500
MOST: Final = 5_000
#: Applied syncs that are looked at for one answer: an empty page does not mean the end, `more` says so.
_SYNCS_AT_ONCE: Final = 100
_GUARDED: Final = "demographics"


@dataclass(frozen=True, slots=True)
class Cursor:
    """Everything up to `version` was read, and of the next one so many changes."""

    version: int
    read: int = 0

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(f"1 {self.version} {self.read}".encode()).decode().rstrip("=")

    @classmethod
    def of(cls, text: str) -> Cursor:
        """Raises Problem where it is none of ours."""
        try:
            form, version, read = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().split(" ")
            found = cls(int(version), int(read))
        except (binascii.Error, ValueError):
            found, form = cls(-1), ""
        if form != "1" or not (0 <= found.version < 1 << 31 and 0 <= found.read < 1 << 40):
            raise Problem(400, "bad-cursor", "This cursor is none of this feed.", "Begin anew without one.")
        return found


class AppliedChangeSerializer(ChangeSerializer):
    version = serializers.IntegerField(help_text="The version of the roster that it is part of.")
    sync = serializers.IntegerField()
    applied_at = serializers.DateTimeField()


class FeedSerializer(serializers.Serializer[Any]):
    results = AppliedChangeSerializer(many=True)
    cursor = serializers.CharField(help_text="To be sent as `after` the next time; keep it with what you did.")
    more = serializers.BooleanField(help_text="Whether more is there already.")
    version = serializers.IntegerField(help_text="The version of the roster that is live.")


class Feed(PortalView):
    """Each change that went live, once and in order: by version, then by table, what goes before what comes.

    Without `after` it begins at the first roster that is kept; `after=now` gives a cursor for what is live, and nothing
    else. Demographics are left out for who may not see them; a cursor stays the same for all.
    """

    scopes = (CHANGES_READ,)
    permission = "rosters.view_sync"

    @extend_schema(
        parameters=[
            OpenApiParameter("after", str, description='A cursor, or "now".'),
            OpenApiParameter("limit", int, description=f"{LIMIT:,} unless said, up to {MOST:,}."),
        ],
        responses=FeedSerializer,
    )
    def get(self, request: Request, site_code: str) -> Response:
        district, limit = self.district, number_of(request, "limit", LIMIT, MOST, least=1)
        after = request.query_params.get("after", "")
        if after == "now":
            return self._told(district, [], Cursor(district.version))
        start = Cursor.of(after) if after else Cursor(0)
        if start.version > district.version or (start.version == district.version and start.read):
            raise Problem(400, "bad-cursor", "This cursor is of a roster that never was.", "Begin anew without one.")
        found: list[dict[str, Any]] = []
        cursor = start
        for version, sync, at, stored in _applied(district, start):
            known = [table for table in stored.tables if table != _GUARDED or may_see_demographics(self)]
            rows, read, done = _slice(stored, cursor.read if cursor.version == version - 1 else 0, limit - len(found))
            about = {"version": version, "sync": sync, "applied_at": at}
            found += [{**change_of(table, row), **about} for table, row in rows if table in known]
            cursor = Cursor(version) if done else Cursor(version - 1, read)
            if not done or len(found) >= limit:
                break
        return self._told(district, found, cursor)

    def _told(self, district: District, found: list[dict[str, Any]], cursor: Cursor) -> Response:
        more = cursor.version < district.version
        return Response({"results": found, "cursor": str(cursor), "more": more, "version": district.version})


def _applied(district: District, start: Cursor) -> Iterator[tuple[int, int, datetime, StoredDifference]]:
    """Version, sync, moment and difference of what went live after `start`. Raises Problem where some is not kept."""
    applied = Sync.objects.filter(district=district, result__version__gt=start.version).order_by("result__version")
    rows = applied.values_list("result__version", "pk", "applied_at", "plan_files")[:_SYNCS_AT_ONCE]
    expected = start.version + 1
    for version, pk, at, files in rows:
        stored = syncs.store().difference(district.pk, pk)
        if not stored.tables or (files and set(files) != set(stored.tables)) or version != expected:
            raise _gap(district)
        expected += 1
        yield version, pk, cast("datetime", at), stored


def _gap(district: District) -> Problem:
    place = f"/api/v1/districts/{district.site_code}/export"
    return Problem(
        410,
        "feed-gap",
        "What comes after this cursor is not kept any more.",
        f"Read the whole roster ({place}), then go on with `cursor`.",
        cursor=str(Cursor(district.version)),
    )


def _slice(stored: StoredDifference, skip: int, most: int) -> tuple[list[tuple[str, dict[str, Any]]], int, bool]:
    """Up to `most` rows with their tables, after the first `skip`; how many are read then, and whether that is all."""
    found: list[tuple[str, dict[str, Any]]] = []
    read = 0
    for table in stored.tables:
        rows = sum(stored.counts(table).values())
        begin, read = max(skip - read, 0), read + rows
        if begin < rows and len(found) < most:
            page = stored.scan(table).slice(begin, most - len(found)).collect()
            found += [(table, row) for row in page.iter_rows(named=True)]
    got = skip + len(found)
    return found, got, got >= read


addresses: list[URLPattern] = [path("districts/<str:site_code>/changes", Feed.as_view(), name="feed")]
