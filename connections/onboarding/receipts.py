"""What became of each delivery of a district, by whatever way it came: a receipt, followed to its end, and the history.

A delivery is found by its uid if it was sent through the browser, else by the moment it was received: both say nothing
of other districts. What belongs to another district is not there.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any, Final

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from connections.onboarding import checking
from connections.onboarding.entering import audit, for_people
from connections.onboarding.findings import gone, sent, systems_of
from connections.onboarding.models import Person, Question, Upload
from connections.onboarding.plans import in_numbers, is_planned
from connections.onboarding.words import outcome, road, way_in
from rosters import syncs
from rosters.downloads import noted_first, or_later
from rosters.models import Sync

A_PAGE: Final = 20
FINDINGS_SHOWN: Final = 200
_MOMENT: Final = "%Y%m%dT%H%M%S%f"


@require_GET
@for_people
def receipt(request: HttpRequest, person: Person, key: str) -> HttpResponse:
    """The receipt; what htmx asks for again is its inner part, which asks less often
    while somebody looks it over, and no more once it has come to rest."""
    sync = sync_of(person, key)
    upload, question = _upload(sync), Question.about(sync)
    running = _runs(sync)
    systems = systems_of(person.district)
    context = {
        "sync": sync,
        "key": key,
        "upload": upload,
        "delivery": sync.delivery,
        "way": way_in(sync.delivery, upload.person.name if upload else ""),
        "words": outcome(sync, question),
        "road": road(sync),
        "running": running,
        "looked_over": sync.status in Sync.WAITING or sync.waits_for_its_hour,
        "rows": [(f"{table}.csv", rows) for table, rows in sync.file_rows.items()],
        "findings": [] if running else sent(sync, sync.findings.all()[:FINDINGS_SHOWN], systems),
        "gone": None if running else gone(sync),
        "has_rows": _has_rows(sync),
        "is_planned": is_planned(sync),
        "is_strange": sync.seems_anothers,
        "numbers": in_numbers(sync),
        "owner": person.district.owner,
        "question": question,
        "question_open": sync.status in Sync.WAITING,
        "answers": Question.Answer.choices,
        "first_is_live": Sync.objects.filter(
            Q(removals_wait=True) | ~Q(set_aside=[]),
            delivery=sync.delivery,
            status=Sync.Status.APPLIED,
            pk__lt=sync.pk,
        ).exists(),
    }
    template = "onboarding/_receipt.html" if "HX-Request" in request.headers else "onboarding/receipt.html"
    return render(request, template, context)


@require_GET
@for_people
def history(request: HttpRequest, person: Person) -> HttpResponse:
    page = Paginator(_all(person), A_PAGE).get_page(request.GET.get("page"))
    rows = []
    for sync in page.object_list:
        upload = _upload(sync)
        sender = upload.person.name if upload else ""
        words = outcome(sync, newer_came=False)  # only where it stands is shown, and no next step
        rows.append({"sync": sync, "key": key_of(sync), "words": words, "way": way_in(sync.delivery, sender)})
    return render(request, "onboarding/history.html", {"page": page, "rows": rows})


@require_GET
@or_later
@for_people
def original(request: HttpRequest, person: Person, key: str) -> FileResponse:
    """The file as it was sent, byte for byte; not what looks like another district's, which our staff or a system that
    serves several may have sent by mistake."""
    sync = sync_of(person, key)
    assert sync.delivery is not None
    stored = syncs.store().original(sync.district_id, sync.delivery.sha256)
    if sync.delivery.forgotten_at or not stored.exists() or sync.seems_anothers:
        raise Http404
    note("person.took_file", person, sync)
    return FileResponse(stored.open("rb"), as_attachment=True, filename=sync.delivery.name)


@require_GET
@or_later
@for_people
def findings(request: HttpRequest, person: Person, key: str) -> StreamingHttpResponse:
    """Every place of every finding as CSV; no cell of it is taken for a formula."""
    sync = sync_of(person, key)
    rows = list(sync.findings.values("position", "code", "severity", "file", "column", "message", "next_step"))
    note("person.took_findings", person, sync)
    lines = syncs.store().places_csv(sync.district_id, sync.pk, rows)
    answer = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="findings-{sync.received_at:%Y-%m-%d-%H%M}.csv"'
    return answer


@require_GET
@or_later
@for_people
def faulty_rows(request: HttpRequest, person: Person, key: str) -> HttpResponse:
    """The rows that have an error, with the reasons: as after a check by hand, made of the file that is kept."""
    sync = sync_of(person, key)
    if not _has_rows(sync):
        raise Http404
    try:
        with checking.turn_of(person.district):
            rows = checking.faulty_rows(*syncs.look_at_rows_again(sync), person.district.not_kept)
    except checking.NoTurn as busy:
        return _told(request, key, f"{busy} Ask for the faulty rows again in a minute.")
    except checking.CannotFinish as fault:
        return _told(request, key, str(fault))
    if not rows:
        return _told(request, key, "No row of this file has an error by the settings as they are now.")
    note("person.took_rows", person, sync)
    return checking.zipped(f"faulty-rows-{sync.received_at:%Y-%m-%d-%H%M}.zip", rows)


def _has_rows(sync: Sync) -> bool:
    """Whether there are rows with errors, and the file of which they can be told. Of what looks like another district's
    roster nothing is told."""
    if sync.delivery is None or sync.delivery.forgotten_at or _runs(sync):
        return False
    faults = sync.findings.filter(severity__in=("fatal", "error")).exclude(file="")
    if not any((place["line"] or 0) > 1 for fault in faults for place in fault.places):
        return False
    return syncs.store().original(sync.district_id, sync.delivery.sha256).exists()


def _runs(sync: Sync) -> bool:
    return sync.status in Sync.RUNNING and not sync.waits_for_its_hour


def _told(request: HttpRequest, key: str, words: str) -> HttpResponse:
    messages.error(request, words)
    return HttpResponseRedirect(reverse("onboarding:receipt", args=[key]))


def note(action: str, person: Person, sync: Sync, **about: Any) -> None:
    """That the person takes out a file; `about`: what the row says beside. Raises CannotNote."""
    with noted_first():
        audit(action, person, timezone.now(), sync=sync, **about)


def key_of(sync: Sync) -> str:
    """How an address names a delivery."""
    upload = _upload(sync)
    assert sync.delivery is not None
    return str(upload.uid) if upload else sync.delivery.received_at.astimezone(UTC).strftime(_MOMENT)


def _all(person: Person) -> QuerySet[Sync]:
    """The deliveries of the person's district, newest first, each as what became of it in the end."""
    found = Sync.objects.filter(district=person.district).last_of_deliveries()
    return found.select_related("delivery__upload__person", "base").order_by("-received_at", "-pk")


def sync_of(person: Person, key: str) -> Sync:
    """The delivery that an address names, as what became of it; Http404 where it is none of this person's district."""
    try:
        if len(key) == 36:
            sync = _all(person).filter(delivery__upload__uid=uuid.UUID(key)).first()
        else:
            sync = (
                _all(person).filter(delivery__received_at=datetime.strptime(key, _MOMENT).replace(tzinfo=UTC)).first()
            )
    except ValueError:
        raise Http404 from None
    if sync is None:
        raise Http404
    return sync


def _upload(sync: Sync) -> Upload | None:
    return getattr(sync.delivery, "upload", None)
