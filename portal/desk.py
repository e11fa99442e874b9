"""The desk, the first page of the admin site: what waits for a person, what failed, what came, who is silent."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Case, Count, F, IntegerField, Max, OuterRef, Q, Subquery, TextField, Value, When
from django.db.models.functions import Cast, Concat
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from connections.admin import TROUBLE
from connections.announcing.models import Webhook
from connections.models import IN_TROUBLE, Attempt, Checkup, Connection, latest_attempts
from connections.onboarding.asking import latest_questions
from connections.onboarding.models import Call
from connections.onboarding.words import question_words
from connections.words import connection_words, setup_step
from rosters.admin.districts import UP_TO_DATE, at_rest, latest_syncs, needing_somebody, receiving, rested, waited
from rosters.models import AuditEvent, District, Sync
from rosters.oneroster.products import PRODUCTS
from rosters.staff import acting
from rosters.syncs import little_room
from rosters.words import STUCK_WORDS, SYNC_WORDS, Words

WAITING_SHOWN = 25
#: Of a sync that needs somebody: id, status, people concerned, since when.
Needy = tuple[int, str, int, datetime]

SILENT_AFTER = timedelta(days=3)
TREND_DAYS = 30
DOTS_SHOWN = 40
CALLS_SHOWN = 5
RESTING_SHOWN = 10

#: The parts of an hour's bar, from the bottom: sign, word.
SIGNS = (
    ("good", "applied or unchanged"),
    ("running", "on their way"),
    ("review", "waiting"),
    ("refused", STUCK_WORDS),
    ("ended", "declined or replaced"),
)

#: Outcomes of the trend, from the bottom of a bar to its top: class of the stylesheet, word, statuses.
OUTCOMES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("good", "applied or unchanged", (Sync.Status.APPLIED, Sync.Status.UNCHANGED)),
    ("review", "waiting", (Sync.Status.READY, Sync.Status.AWAITING_REVIEW)),
    ("refused", STUCK_WORDS, (Sync.Status.REJECTED, Sync.Status.FAILED)),
    ("ended", "declined or replaced", (Sync.Status.DECLINED, Sync.Status.SUPERSEDED)),
)


def desk(request: HttpRequest, now: datetime) -> dict[str, Any]:
    """Everything the desk shows, in a fixed number of queries whatever the number of districts."""
    asked = request.GET
    mine, state = asked.get("whose") == "mine", asked.get("state", "")
    product = asked.get("product", "") if asked.get("product") in PRODUCTS else ""
    districts = District.objects.all()
    if mine:
        districts = districts.filter(owner=acting(request))
    if product:
        districts = receiving(districts, product)
    syncs = Sync.objects.filter(district__in=districts.values("pk")) if mine or product else Sync.objects.all()
    midnight = timezone.localtime(now).replace(hour=0, minute=0, second=0, microsecond=0)
    needing = needing_somebody(districts).order_by("pk")
    needy = list(needing.values_list("pk", "status", "people_affected", "status_since"))
    waiting = _attention(needy, state, now)
    number = asked.get("page", "")
    pages = max(-(-len(waiting) // WAITING_SHOWN), 1)
    page = min(max(int(number), 1), pages) if number.isdecimal() and len(number) < 9 else 1
    return {
        "mine": mine,
        "state": state,
        "product": product,
        "products": [(key, known.name) for key, known in PRODUCTS.items()],
        "numbers": _numbers(request, syncs, districts, needy, now, midnight, product=product, mine=mine),
        "waiting": _shown(waiting[(page - 1) * WAITING_SHOWN : page * WAITING_SHOWN]),
        "waiting_in_all": len(waiting),
        "page": page,
        "pages": pages,
        "running": syncs.filter(status__in=Sync.RUNNING)
        .select_related("district", "delivery")
        .order_by(F("go_live_at").asc(nulls_first=True), "-received_at", "-pk")[:10],
        "silent": _silent(districts, now),
        "room": little_room(),
        "differing": list(districts.exclude(verification_faults=[]).order_by("verified_at")[:WAITING_SHOWN]),
        "today": _today(syncs, midnight),
        **_ways_in(request, districts, now, midnight),
        **_calls(request, districts, now),
        "webhooks_in_trouble": _webhooks_in_trouble(request),
        "trend": _trend(syncs, midnight),
        "outcomes": [(css, word) for css, word, _ in OUTCOMES],
        "districts_in_all": districts.count(),
        "zone": f"{timezone.localtime(now):%Z}",
    }


def _attention(needy: list[Needy], state: str, now: datetime) -> list[int]:
    """The ids of the syncs that need somebody, by what hurts most: people concerned times hours waited."""

    def pain(row: Needy) -> float:
        _, _, people, since = row
        return (people + 1) * ((now - since).total_seconds() + 3600)

    wanted = [row for row in needy if not state or SYNC_WORDS[row[1]].sign == state]
    return [row[0] for row in sorted(wanted, key=pain, reverse=True)]


def _shown(ids: list[int]) -> list[tuple[Sync, Words | None]]:
    """What a row of the desk shows of these syncs, in their order: the sync, and where a question to its district
    stands, if it was asked."""
    rows = Sync.objects.select_related("district", "district__owner").only(
        "status", "status_since", "undone_at", "verdict", "error", "people_affected", "delivery", "district__name",
        "district__owner__username",
    )  # fmt: skip
    found = rows.in_bulk(ids)
    asked = latest_questions(found.values())
    told = {pk: question_words(asked[sync.delivery_id]) for pk, sync in found.items() if sync.delivery_id in asked}
    return [(found[pk], told.get(pk)) for pk in ids if pk in found]


def _numbers(
    request: HttpRequest,
    syncs: Any,
    districts: Any,
    needy: list[Needy],
    now: datetime,
    midnight: datetime,
    *,
    product: str,
    mine: bool,
) -> list[dict[str, Any]]:
    """The numbers, each with what it was before and the address of exactly its rows: what is so now with what was so
    24 hours ago, what came today with what came yesterday."""
    yesterday = midnight - timedelta(days=1)
    waiting = sum(status in Sync.WAITING for _, status, _, _ in needy)
    up_to_date = at_rest(districts).filter(UP_TO_DATE).count()
    stood = _standings_at(districts, now - timedelta(days=1))
    came = syncs.filter(delivery__isnull=False, received_at__gte=yesterday).aggregate(
        today=Count("pk", filter=Q(received_at__gte=midnight)), before=Count("pk", filter=Q(received_at__lt=midnight))
    )
    owner = acting(request).pk if mine else ""

    def query(**parameters: Any) -> str:
        return "?" + urlencode({key: value for key, value in parameters.items() if value})

    here = {"whose": "mine" if mine else "", "product": product}
    of_day = query(came=f"{midnight:%Y-%m-%d}", product=product, district__owner__id__exact=owner)
    fine = query(standing="good", product=product, owner__id__exact=owner)
    review, stuck = (query(**here, state=state) + "#waiting" for state in ("review", "refused"))
    unreached = []
    if request.user.has_perm("connections.view_connection"):
        known, then = Connection.objects.filter(district__in=districts.values("pk")), now - timedelta(days=1)
        rows = query(standing=TROUBLE, product=product, district__owner__id__exact=owner)
        at = reverse("admin:connections_connection_changelist") + rows
        count, before = known.filter(IN_TROUBLE).count(), _unreached_at(known, then)
        unreached = [_number("cannot connect or late", count, before, "refused", at)]
    return [
        _number("need review", waiting, stood["review"], "review", review),
        _number("need a corrected file, or failed", len(needy) - waiting, stood["stuck"], "refused", stuck),
        *unreached,
        _number(
            "came in today",
            came["today"],
            came["before"],
            "",
            reverse("admin:rosters_sync_changelist") + of_day,
            then="yesterday",
        ),
        _number("up to date", up_to_date, stood["good"], "good", reverse("admin:rosters_district_changelist") + fine),
    ]


def _number(word: str, count: int, before: int, css: str, link: str, then: str = "24 hours ago") -> dict[str, Any]:
    """`css`: its colour, unless there is nothing to colour; `then`: when it was `before`."""
    return {"word": word, "count": count, "before": before, "then": then, "css": css if count else "", "link": link}


def _standings_at(districts: Any, moment: datetime) -> dict[str, int]:
    """How many syncs waited for a decision or were stuck, and how many districts were up to date, at a moment."""
    return Sync.objects.filter(pk__in=latest_syncs(districts, moment)).aggregate(
        review=Count("pk", filter=waited(moment)),
        stuck=Count("pk", filter=Q(status__in=Sync.STUCK) & rested(moment)),
        good=Count("pk", filter=UP_TO_DATE & rested(moment)),
    )


def _unreached_at(connections: Any, moment: datetime) -> int:
    """How many could not connect or were late at `moment`: the last attempt until then failed, or nothing had come
    since they were found late."""
    ended = Attempt.objects.filter(connection=OuterRef("pk"), ended_at__lte=moment).order_by("-ended_at", "-pk")
    came = ended.filter(status__in=[Attempt.Status.DELIVERED, Attempt.Status.NOTHING_NEW])
    found_late = AuditEvent.objects.filter(
        district=OuterRef("district"),
        action="connection.late",
        subject=Concat(Value("connection "), Cast(OuterRef("pk"), TextField())),
        at__lte=moment,
    ).order_by("-at")
    known = connections.exclude(state="setup").annotate(
        last=Subquery(ended.values("status")[:1]),
        came=Subquery(came.values("ended_at")[:1]),
        late=Subquery(found_late.values("at")[:1]),
    )
    late = Q(late__isnull=False) & (Q(came__isnull=True) | Q(came__lt=F("late")))
    return int(known.filter(Q(last=Attempt.Status.FAILED) | late).count())


def _silent(districts: Any, now: datetime) -> list[District]:
    """Live districts of which nothing has come for too long, longest first."""
    return list(
        districts.filter(version__gt=0)
        .annotate(last_delivery=Max("deliveries__received_at"))
        .filter(last_delivery__lt=now - SILENT_AFTER)
        .order_by("last_delivery")[:10]
    )


def _ways_in(request: HttpRequest, districts: Any, now: datetime, midnight: datetime) -> dict[str, Any]:
    """Connections that need somebody, with whose move it is; those on the way to launch; the runs of the next hours."""
    if not request.user.has_perm("connections.view_connection"):
        return {}
    known = Connection.objects.filter(district__in=districts.values("pk")).select_related("district")
    trouble = known.filter(IN_TROUBLE | Q(state="paused", paused_until=None)).order_by("state_since")
    shown = list(trouble[:WAITING_SHOWN])
    latest = latest_attempts(shown)
    tested = Checkup.objects.filter(connection=OuterRef("pk")).order_by("-started_at", "-id").values("passed")[:1]
    setting_up = known.filter(state="setup").annotate(tested=Subquery(tested))
    launching = list(setting_up.order_by("created_at")[:WAITING_SHOWN])
    due = known.filter(next_due_at__gte=now, next_due_at__lt=midnight + timedelta(days=1)).order_by("next_due_at")
    rings = list(due[:DOTS_SHOWN])
    return {
        "trouble": [(each, connection_words(each, latest.get(each.pk))) for each in shown],
        "trouble_in_all": trouble.count(),
        "launching": [(each, setup_step(each, tested=bool(each.tested))[1]) for each in launching],
        "rings": [{"x": _minutes(each.next_due_at) / 2, "connection": each} for each in rings if each.next_due_at],
        "runs_to_come": due.count(),
        **_resting(known, now),
    }


def _resting(connections: Any, now: datetime) -> dict[str, Any]:
    """The connections that do not run today, on purpose: the first of them with the reason, and how many."""
    with_blackouts = connections.filter(state="active", schedule__blackouts__0__isnull=False)
    resting = []
    for each in with_blackouts.order_by("district__name", "pk"):
        timetable = each.timetable()
        if timetable and (why := timetable.rests_on(each.district.local_date(now))):
            resting.append((each, why))
    return {"resting": resting[:RESTING_SHOWN], "resting_in_all": len(resting)}


def _webhooks_in_trouble(request: HttpRequest) -> list[Webhook]:
    """Those that nothing reaches, and those that were switched off for it."""
    if not request.user.has_perm("announcing.view_webhook"):
        return []
    found = Webhook.objects.filter(failing_since__isnull=False, client__ended_at=None).select_related("client")
    return list(found.order_by("failing_since")[:CALLS_SHOWN])


def _calls(request: HttpRequest, districts: Any, now: datetime) -> dict[str, Any]:
    """The calls to come, and how many are over of which nobody has said what came of them."""
    if not request.user.has_perm("onboarding.view_call"):
        return {}
    calls = Call.objects.filter(district__in=districts.values("pk")).select_related("district", "person", "staff")
    coming = calls.filter(status=Call.Status.BOOKED, ends_at__gt=now).order_by("starts_at")
    untold = Call.without_outcome(now).filter(district__in=districts.values("pk"))
    return {"calls": list(coming[:CALLS_SHOWN]), "calls_untold": untold.count()}


def _minutes(moment: datetime) -> int:
    local = timezone.localtime(moment)
    return local.hour * 60 + local.minute


def _today(syncs: Any, midnight: datetime) -> dict[str, Any]:
    """Today's deliveries on a line of 24 hours in a drawing of 720 by 60 units: dots while they can be told apart, else
    a bar for each hour."""
    came = syncs.filter(received_at__gte=midnight, received_at__lt=midnight + timedelta(days=1), delivery__isnull=False)
    dots = [_dot(sync) for sync in came.select_related("district")[: DOTS_SHOWN + 1]]
    hours: dict[int, dict[str, int]] = {}
    each = _stretches([midnight + timedelta(hours=hour) for hour in range(24)])
    for row in came.order_by().annotate(hour=each).values("hour", "status").annotate(n=Count("pk")):
        signs = hours.setdefault(row["hour"], {})
        sign = SYNC_WORDS[row["status"]].sign
        signs[sign] = signs.get(sign, 0) + row["n"]
    highest = max((sum(signs.values()) for signs in hours.values()), default=0) or 1
    bars = []
    for hour, signs in sorted(hours.items()):
        bottom, pieces = 40.0, []
        for sign, word in SIGNS:
            height = signs.get(sign, 0) / highest * 38
            bottom -= height
            pieces.append({"css": sign, "word": word, "count": signs.get(sign, 0), "y": bottom, "height": height})
        bars.append(
            {"hour": hour, "x": hour * 30 + 2, "came": f"{midnight:%Y-%m-%d}T{hour:02}", "total": sum(signs.values()),
             "parts": pieces}
        )  # fmt: skip
    return {
        "total": sum(bar["total"] for bar in bars),
        "dots": dots if len(dots) <= DOTS_SHOWN else [],
        "bars": bars,
        "marks": [(hour * 30, f"{hour}:00") for hour in range(0, 24, 6)],
    }


def _stretches(starts: list[datetime]) -> Case:
    """Into which stretch a sync falls, by its start's place in `starts`. Compared in the database's own terms: SQLite
    calls Python for the parts of every date (60,000 syncs: 200 ms against 30)."""
    newest_first = reversed(list(enumerate(starts)))
    return Case(
        *(When(received_at__gte=start, then=Value(index)) for index, start in newest_first),
        output_field=IntegerField(),
    )


def _dot(sync: Sync) -> dict[str, Any]:
    at = timezone.localtime(sync.received_at)
    words = SYNC_WORDS[sync.status]
    return {"x": round((at.hour * 60 + at.minute) / 2, 1), "css": words.sign, "word": words.word, "sync": sync}


def _trend(syncs: Any, midnight: datetime) -> list[dict[str, Any]]:
    """One bar a day: counts per outcome and where its parts lie in a drawing of 720 by 120 units."""
    first = midnight - timedelta(days=TREND_DAYS - 1)
    starts = [first + timedelta(days=i) for i in range(TREND_DAYS)]
    counted = (
        syncs.filter(received_at__gte=first)
        .order_by()
        .annotate(day=_stretches(starts))
        .values("day", "status")
        .annotate(number=Count("pk"))
    )
    days: dict[Any, dict[str, int]] = {start.date(): {css: 0 for css, _, _ in OUTCOMES} for start in starts}
    for row in counted:
        for css, _, statuses in OUTCOMES:
            if row["status"] in statuses:
                days[starts[row["day"]].date()][css] += row["number"]
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
