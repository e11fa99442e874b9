"""What a sync would mean to those who stay: its numbers on the sync's page, and who and what they are."""

from __future__ import annotations

from typing import Any

import polars as pl
from django.http import Http404, HttpRequest
from django.urls import reverse

from rosters import syncs
from rosters.admin.changes import one_page
from rosters.explaining.consequences import CONSEQUENCES
from rosters.models import LIVE, Class, Sync, User


def numbers(sync: Sync) -> list[tuple[str, str]]:
    """Each kind that there is, with its number in words."""
    return [
        (kind, of.words(sync.consequences[kind])) for kind, of in CONSEQUENCES.items() if sync.consequences.get(kind)
    ]


def of_sync(request: HttpRequest, sync: Sync) -> dict[str, Any]:
    """One page of the records of the kind that is asked for, by their names and schools, each with its live page."""
    told = numbers(sync)
    kind = request.GET.get("kind", "") or (told[0][0] if told else "")
    if kind not in dict(told):
        raise Http404
    left = syncs.store().left(sync.district_id, sync.pk, sync.plan_digest)
    rows, pages = one_page(request, left.filter(pl.col("kind") == kind)) if left is not None else ([], {})
    table = CONSEQUENCES[kind].table
    live = LIVE[table].objects.of(sync.district).filter(sourced_id__in=[row["sourcedId"] for row in rows])
    known: dict[str, User | Class] = {record.sourced_id: record for record in live}
    schools = dict(
        LIVE["orgs"].objects.of(sync.district).filter(sourced_id__in={row["school"] for row in rows} - {""})
        .values_list("sourced_id", "name")
    )  # fmt: skip
    page = f"admin:rosters_{LIVE[table]._meta.model_name}_change"
    return {
        "sync": sync,
        "district": sync.district,
        "numbers": told,
        "kind": kind,
        "words": dict(told)[kind],
        "kept": left is not None,
        "left": [
            {
                "sourced_id": row["sourcedId"],
                "name": _name(known[row["sourcedId"]]) if row["sourcedId"] in known else "",
                "at": reverse(page, args=[known[row["sourcedId"]].pk]) if row["sourcedId"] in known else "",
                "school": schools.get(row["school"]) or row["school"],
            }
            for row in rows
        ],
        **pages,
    }


def _name(record: User | Class) -> str:
    return record.title if isinstance(record, Class) else f"{record.given_name} {record.family_name}".strip()
