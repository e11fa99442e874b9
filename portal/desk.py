"""The admin site. Its first page is the desk: what waits for a person, what failed, what came, who is silent."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Count, Max, OuterRef, Q, Subquery
from django.db.models.functions import TruncDate
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone

from rosters.models import District, Sync
from rosters.staff import acting
from rosters.words import SYNC_WORDS

WAITING_SHOWN = 25
SILENT_AFTER = timedelta(days=3)
TREND_DAYS = 30

#: Outcomes of the trend, from the bottom of a bar to its top: class of the stylesheet, word, statuses.
OUTCOMES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("good", "applied or unchanged", (Sync.Status.APPLIED, Sync.Status.UNCHANGED)),
    ("review", "waiting", (Sync.Status.READY, Sync.Status.AWAITING_REVIEW)),
    ("refused", "refused or failed", (Sync.Status.REJECTED, Sync.Status.FAILED)),
    ("ended", "declined or replaced", (Sync.Status.DECLINED, Sync.Status.SUPERSEDED)),
)


class PortalAdminSite(admin.AdminSite):
    site_header = "Roster portal"
    site_title = "Roster portal"
    index_title = "Desk"
    index_template = "admin/desk.html"

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        context = desk(request, timezone.now()) if request.user.has_perm("rosters.view_sync") else {}
        return super().index(request, {**context, **(extra_context or {})})


def desk(request: HttpRequest, now: datetime) -> dict[str, Any]:
    """Everything the desk shows, in a fixed number of queries whatever the number of districts."""
    mine = request.GET.get("whose") == "mine"
    state = request.GET.get("state", "")
    syncs = Sync.objects.filter(district__owner=acting(request)) if mine else Sync.objects.all()
    districts = District.objects.filter(owner=acting(request)) if mine else District.objects.all()
    midnight = timezone.localtime(now).replace(hour=0, minute=0, second=0, microsecond=0)
    attention = _attention(districts, now)
    waiting = [row for row in attention if not state or SYNC_WORDS[row.status].sign == state]
    return {
        "mine": mine,
        "state": state,
        "numbers": _numbers(syncs, districts, attention, now, midnight),
        "waiting": waiting[:WAITING_SHOWN],
        "waiting_more": max(len(waiting) - WAITING_SHOWN, 0),
        "running": syncs.running().select_related("district", "delivery")[:10],
        "silent": _silent(districts, now),
        "hours": _hours(syncs, midnight),
        "trend": _trend(syncs, midnight),
        "outcomes": [(css, word) for css, word, _ in OUTCOMES],
        "districts_in_all": districts.count(),
        "hour_marks": [(hour * 30, f"{hour}:00") for hour in range(0, 24, 6)],
    }


def _latest(districts: Any) -> Any:
    """The ids of each district's latest sync that no newer delivery replaced."""
    newest = Sync.objects.filter(district=OuterRef("pk")).exclude(status=Sync.Status.SUPERSEDED)
    return districts.annotate(latest=Subquery(newest.order_by("-received_at", "-id").values("pk")[:1])).values("latest")


def _attention(districts: Any, now: datetime) -> list[Sync]:
    """Latest syncs that need somebody, by what hurts most: people concerned times hours waited."""
    rows = list(
        Sync.objects.filter(pk__in=_latest(districts))
        .filter(status__in=["awaiting_review", "ready", "rejected", "failed"])
        .select_related("district", "delivery", "district__owner")
    )

    def pain(sync: Sync) -> float:
        return (sync.people_affected + 1) * ((now - sync.status_since).total_seconds() + 3600)

    return sorted(rows, key=pain, reverse=True)


def _numbers(
    syncs: Any, districts: Any, attention: list[Sync], now: datetime, midnight: datetime
) -> list[dict[str, Any]]:
    yesterday = now - timedelta(days=1)
    review = [s for s in attention if s.status in (Sync.Status.AWAITING_REVIEW, Sync.Status.READY)]
    stuck = [s for s in attention if s.status in (Sync.Status.REJECTED, Sync.Status.FAILED)]
    waited = syncs.filter(received_at__lte=yesterday).filter(
        Q(status__in=["ready", "awaiting_review"], status_since__lte=yesterday)
        | Q(decided_at__gt=yesterday, decided_automatically=False)
    )
    today = syncs.filter(received_at__gte=midnight, delivery__isnull=False).count()
    day_before = syncs.filter(
        received_at__gte=midnight - timedelta(days=1), received_at__lt=midnight, delivery__isnull=False
    ).count()
    stuck_yesterday = syncs.filter(
        status__in=["rejected", "failed"], status_since__lte=yesterday, pk__in=[s.pk for s in stuck]
    )
    fine = districts.filter(pk__in=_fine(districts)).count()
    return [
        _number("need review", len(review), waited.count(), "review", "rosters/sync/?waiting=1"),
        _number("refused or failed", len(stuck), stuck_yesterday.count(), "refused", "rosters/sync/?stuck=1"),
        _number("came in today", today, day_before, "", f"rosters/sync/?received_at__gte={midnight:%Y-%m-%d}"),
        _number("up to date", fine, None, "good", "rosters/district/?standing=good"),
    ]


def _number(word: str, count: int, before: int | None, css: str, link: str) -> dict[str, Any]:
    return {"word": word, "count": count, "before": before, "css": css, "link": link}


def _fine(districts: Any) -> Any:
    return Sync.objects.filter(pk__in=_latest(districts), status__in=["applied", "unchanged"]).values("district")


def _silent(districts: Any, now: datetime) -> list[District]:
    """Live districts of which nothing has come for too long, longest first."""
    return list(
        districts.filter(version__gt=0)
        .annotate(last_delivery=Max("deliveries__received_at"))
        .filter(last_delivery__lt=now - SILENT_AFTER)
        .order_by("last_delivery")[:10]
    )


def _hours(syncs: Any, midnight: datetime) -> list[dict[str, Any]]:
    """Today's deliveries as dots on a line of 24 hours: x in units of the drawing (720 wide)."""
    rows = syncs.filter(received_at__gte=midnight, delivery__isnull=False).select_related("district")[:200]
    return [
        {
            "x": round((s.received_at - midnight).total_seconds() / 86400 * 720, 1),
            "css": SYNC_WORDS[s.status].sign,
            "word": SYNC_WORDS[s.status].word,
            "sync": s,
        }
        for s in rows
    ]


def _trend(syncs: Any, midnight: datetime) -> list[dict[str, Any]]:
    """One bar a day: counts per outcome and where its parts lie in a drawing of 720 by 120 units."""
    first = midnight - timedelta(days=TREND_DAYS - 1)
    counted = (
        syncs.filter(received_at__gte=first)
        .annotate(day=TruncDate("received_at"))
        .values("day", "status")
        .annotate(number=Count("pk"))
    )
    days: dict[Any, dict[str, int]] = {
        (first + timedelta(days=i)).date(): {css: 0 for css, _, _ in OUTCOMES} for i in range(TREND_DAYS)
    }
    for row in counted:
        for css, _, statuses in OUTCOMES:
            if row["status"] in statuses and row["day"] in days:
                days[row["day"]][css] += row["number"]
    highest = max((sum(parts.values()) for parts in days.values()), default=0) or 1
    bars = []
    for index, (day, parts) in enumerate(days.items()):
        top, pieces = 120.0, []
        for css, word, _ in OUTCOMES:
            height = parts[css] / highest * 110
            top -= height
            pieces.append(
                {"css": css, "word": word, "count": parts[css], "y": round(top, 1), "height": round(height, 1)}
            )
        bars.append({"day": day, "x": index * 24 + 3, "parts": pieces, "total": sum(parts.values())})
    return bars
