"""Our trip, as a worker makes it, and what a reviewer waits for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import quantiles
from typing import Any

import polars as pl
from django.apps import apps
from django.conf import settings
from django.test import Client
from django.utils import timezone

from rosters import serving, syncs
from rosters.models import Delivery, District, Sync

REPEATS = 20


def load(path: Path, *, site_code: str) -> dict[str, Any]:
    """Bytes to live roster, holds approved. ``total``, ``prepare`` (to the reviewable difference), and each phase."""
    district, _ = District.objects.get_or_create(site_code=site_code, defaults={"name": f"District {site_code}"})
    started = time.perf_counter()
    sync = syncs.receive(district, path, origin=Delivery.Origin.COMMAND, name=path.name)
    sync = syncs.prepare(sync.pk) or sync
    prepared = time.perf_counter()
    if sync.status in (Sync.Status.READY, Sync.Status.AWAITING_REVIEW):
        syncs.approve(sync, by=syncs.keyboard(), plan_digest=sync.plan_digest)
        sync = syncs.apply(sync.pk) or sync
    ended = time.perf_counter()
    if sync.status not in (Sync.Status.APPLIED, Sync.Status.UNCHANGED):
        raise RuntimeError(f"The trip ended as {sync.status} {sync.error_code}: {sync.verdict or sync.error}")
    return {
        "total": ended - started,
        "prepare": prepared - started,
        "status": sync.status,
        "sync": sync.pk,
        "phases": sync.seconds,
        "changes": sync.added + sync.updated + sync.removed if sync.status == Sync.Status.APPLIED else 0,
    }


def pages(*, sync_id: int) -> dict[str, Any]:
    """Seconds for pages of the enrollments of a sync's difference: ``rows``, and the 50th and 90th percentile of each
    way to ask, from the store and (``view``) as the admin's page."""
    sync = Sync.objects.get(pk=sync_id)
    difference = syncs.store().difference(sync.district_id, sync_id)
    rows = difference.page("enrollments").total
    some = difference.page("enrollments", offset=rows // 2, limit=1).rows[0]
    asked: dict[str, dict[str, Any]] = {
        "first": {},
        "middle": {"offset": rows // 2},
        "last": {"offset": max(0, rows - 50)},
        "school": {"school": some["school"]},
        "text": {"text": some["sourcedId"][:13]},
    }
    found: dict[str, Any] = {"rows": rows}
    for name, how in asked.items():
        found[name] = _percentiles(_timed(lambda how=how: difference.page("enrollments", **how)))  # type: ignore[misc]
    found["view"] = _percentiles(_timed(_first_page(sync)))
    return found


def _first_page(sync: Sync) -> Callable[[], object]:
    settings.ALLOWED_HOSTS = ["testserver"]
    staff = syncs.keyboard()
    staff.is_staff = staff.is_superuser = staff.is_active = True
    staff.save()
    browser = Client()
    browser.force_login(staff)

    def look() -> object:
        answer = browser.get(
            f"/admin/rosters/sync/{sync.pk}/changes/?table=enrollments", headers={"HX-Request": "true"}
        )
        if answer.status_code != 200:
            raise RuntimeError(f"The page answered {answer.status_code}.")
        return answer

    return look


def reads(*, sync_id: int) -> dict[str, Any]:
    """Seconds for what a tool asks of the live roster over the API, whole requests, as `pages`; ``ready``: for making
    the version that the sync made live ready to be read."""
    sync = Sync.objects.select_related("district", "result").get(pk=sync_id)
    assert sync.result is not None
    started = time.perf_counter()
    roster = serving.roster(syncs.store(), sync.district, serving.edition_of(sync.district, sync.result.version))
    found: dict[str, Any] = {"ready": time.perf_counter() - started}
    rows = roster.scan("enrollments").select(pl.len()).collect().item()
    a_class = roster.living("enrollments").slice(rows // 3, 1).collect()["classSourcedId"][0]
    base = f"/d/{sync.district.site_code}/ims/oneroster/v1p1"
    tag = {"If-None-Match": f'"v{sync.result.version}"'}
    browser = _tool(sync.district)
    asked: dict[str, tuple[str, dict[str, str]]] = {
        "start": (f"{base}/enrollments?limit=100", {}),
        "half": (f"{base}/enrollments?limit=100&offset={rows // 2}", {}),
        "end": (f"{base}/enrollments?limit=100&offset={rows - 100}", {}),
        "filter": (f"{base}/enrollments?limit=100&offset={rows // 2}&filter=role='student'", {}),
        "class": (f"{base}/classes/{a_class}/students", {}),
        "most": (f"{base}/users?limit=10000", {}),
        "poll": (f"{base}/enrollments?limit=100", tag),
    }
    for name, (address, headers) in asked.items():
        found[name] = _percentiles(_timed(lambda a=address, h=headers: _asked(browser, a, h)))  # type: ignore[misc]
    return {**found, "rows": rows}


def _tool(district: District) -> Client:
    """A client of the API with a token."""
    settings.ALLOWED_HOSTS = ["testserver"]
    scope = "https://purl.imsglobal.org/spec/or/v1p1/scope/roster.readonly"
    client = apps.get_model("api", "Client").objects.create(name="bench", scopes=[scope], per_minute=60_000)
    client.districts.add(district)
    _, secret = client.new_secret(timezone.now())
    said = {"grant_type": "client_credentials", "client_id": client.key, "client_secret": secret}
    token = Client().post("/oauth2/token", said).json()["access_token"]
    return Client(headers={"authorization": f"Bearer {token}"})


def _asked(browser: Client, address: str, headers: dict[str, str]) -> None:
    answer = browser.get(address, headers=headers)
    if answer.status_code not in (200, 304):
        raise RuntimeError(f"The API answered {answer.status_code}.")


def _timed(ask: Callable[[], object]) -> Iterator[float]:
    for _ in range(REPEATS):
        started = time.perf_counter()
        ask()
        yield time.perf_counter() - started


def _percentiles(seconds: Iterator[float]) -> dict[str, float]:
    tenths = quantiles(seconds, n=10, method="inclusive")
    return {"p50": tenths[4], "p90": tenths[8]}
