"""What is being fetched at this moment, before there is a sync to look at: for the pages where it will appear."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.db.models import Q

from connections.models import Attempt
from connections.words import ATTEMPT_WORDS

#: At two in the morning hundreds may be under way: the pages name the first and count the others.
SHOWN: Final = 10


def arriving(district_id: int | None = None, followed: Sequence[int] = ()) -> dict[str, Any]:
    """Attempts under way, of one district or of all, oldest first; and, of those that a page has `followed` (ids), the
    ones that have ended since, so that it can say what came of them."""
    attempts = Attempt.objects.select_related("connection__district", "sync").order_by("asked_at", "pk")
    if district_id is not None:
        attempts = attempts.filter(connection__district=district_id)
    under_way = attempts.filter(status=Attempt.Status.RUNNING)
    shown = list(attempts.filter(Q(status=Attempt.Status.RUNNING) | Q(pk__in=followed[:SHOWN]))[: 2 * SHOWN])
    return {
        "rows": [{"attempt": each, "words": ATTEMPT_WORDS[each.status], "share": each.share} for each in shown[:SHOWN]],
        "others": max(under_way.count() - SHOWN, 0) if len(shown) > SHOWN else 0,
        "going_on": any(each.status in Attempt.OPEN for each in shown),
        "follow": ",".join(str(each.pk) for each in shown[:SHOWN]),
        "district_id": district_id or "",
    }
