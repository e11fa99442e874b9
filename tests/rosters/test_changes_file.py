"""The changes of a sync as a file: what the page shows under the same filters, whole, for a spreadsheet."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.utils import timezone

from rosters import making
from rosters.models import AuditEvent, District, Sync
from tests.journeys.trip import Trip, made_once

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

    from tests.conftest import Stands

pytestmark = pytest.mark.django_db


def _tables() -> making.Tables:
    return making.make_roster(users=80, seed=6, today=timezone.localdate(), name="Cedar Grove")


def _built(trip: Trip) -> None:
    """A school leaves, and two who stay change: the middle name of one was empty and is a formula now, another has got
    another family name."""
    tables = _tables()
    trip.go(trip.send(tables))
    less = making.without_school(tables, 0)
    bare, last = pl.col("middleName") == "", pl.int_range(pl.len()) == pl.len() - 1
    users = less["users"].with_columns(
        middleName=pl.when(bare & (bare.cum_sum() == 1)).then(pl.lit("=SUM(A1)")).otherwise("middleName"),
        familyName=pl.when(last).then(pl.lit("Zoë, the other")).otherwise("familyName"),
    )
    trip.send({**less, "users": users})


_cedar = made_once(_built)


@pytest.fixture
def sync(_cedar: Stands, data_dir: Path) -> Sync:
    return _cedar(data_dir).district.syncs.get(status="awaiting_review")


def _logged_in(staff: Staff) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def _taken(client: Client, sync: Sync, **asked: str) -> pl.DataFrame:
    answer: Any = client.get(f"/admin/rosters/sync/{sync.pk}/changes.csv", asked)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    content = b"".join(answer.streaming_content)
    assert content.startswith(b"\xef\xbb\xbf"), "Excel would not know the letters"
    return pl.read_csv(io.BytesIO(content), infer_schema=False)


@pytest.mark.parametrize("asked", [{"table": "users"}, {"table": "users", "kind": "removed"}, {"table": "enrollments"},
                                   {"table": "users", "field": "middleName"}, {"table": "users", "role": "teacher"},
                                   {"table": "classes", "grade": "99"}])  # fmt: skip
def test_the_page_leads_to_exactly_what_it_shows(sync: Sync, rita: Staff, asked: dict[str, str]) -> None:
    client = _logged_in(rita)
    page = client.get(f"/admin/rosters/sync/{sync.pk}/changes/", asked)
    rows = _taken(client, sync, **asked)
    assert len(rows) == page.context["total"]
    assert rows["sourcedId"].to_list()[:50] == [row["sourcedId"] for row in page.context["rows"]]
    link = f"/admin/rosters/sync/{sync.pk}/changes.csv?{'&amp;'.join(f'{k}={v}' for k, v in asked.items())}"
    assert (link in page.text) == bool(len(rows))
    about = AuditEvent.objects.get(action="changes.taken_out")
    by = [name for name in asked if name not in ("table", "kind")]
    assert (about.by, about.sync, about.plan_digest) == (rita, sync, sync.plan_digest)
    assert about.after == {
        "table": asked["table"], "kind": asked.get("kind", ""), "rows": len(rows), "filtered_by": by
    }  # fmt: skip


def test_an_updated_record_has_its_old_value_beside_the_new_one(sync: Sync, rita: Staff) -> None:
    users = _tables()["users"]
    rows = _taken(_logged_in(rita), sync, table="users")
    assert rows.columns[:8] == ["kind", "school", "grade", "role", "was.role", "sourcedId", "fields", "enabledUser"]
    assert rows.columns[rows.columns.index("familyName") + 1] == "was.familyName"
    (filled, renamed) = rows.filter(pl.col("kind") == "updated").to_dicts()
    before = users.row(by_predicate=pl.col("sourcedId") == renamed["sourcedId"], named=True)
    assert renamed["fields"] == "familyName"
    assert (renamed["was.familyName"], renamed["familyName"]) == (before["familyName"], "Zoë, the other")
    assert (renamed["was.givenName"], renamed["givenName"]) == (None, before["givenName"])
    assert (filled["fields"], filled["was.middleName"]) == ("middleName", None)
    assert filled["middleName"] == "'=SUM(A1)", "no spreadsheet may take it for a formula"
    gone = _taken(_logged_in(rita), sync, table="users", kind="removed")
    assert gone.columns[:6] == ["kind", "school", "grade", "role", "sourcedId", "enabledUser"]
    assert not [name for name in gone.columns if name.startswith("was.")]
    school = _tables()["orgs"].filter(pl.col("type") == "school")["sourcedId"]
    assert gone["school"].unique().is_in(school.implode()).all()


def test_who_may_not_decide_takes_nothing_and_demographics_are_guarded(
    sync: Sync, vera: Staff, rita: Staff, manu: Staff
) -> None:
    at = f"/admin/rosters/sync/{sync.pk}/changes.csv"
    assert at not in _logged_in(vera).get(f"/admin/rosters/sync/{sync.pk}/change/").text
    assert _logged_in(vera).get(at, {"table": "users"}).status_code == 403
    assert "birthDate" in _taken(_logged_in(rita), sync, table="demographics").columns
    manu.groups.clear()
    manu.user_permissions.set(Permission.objects.filter(codename__in=["view_sync", "decide_sync"]))
    other = _logged_in(manu)
    assert other.get(at, {"table": "demographics"}).status_code == 403
    assert len(_taken(other, sync, table="users"))
    assert [each.by for each in AuditEvent.objects.filter(action="changes.taken_out").order_by("pk")] == [rita, manu]


def test_a_plan_that_is_made_anew_while_it_is_written_is_not_handed_out(sync: Sync, rita: Staff) -> None:
    """It may be half of the one and half of the other."""
    client, at = _logged_in(rita), f"/admin/rosters/sync/{sync.pk}/changes.csv"

    def made_anew(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("SELECT") and '"plan_digest" = ' in sql:
            Sync.objects.filter(pk=sync.pk).update(status="received", plan_digest="")
        return execute(sql, *rest)

    with connection.execute_wrapper(made_anew):
        answer = client.get(at, {"table": "users"})
    assert (answer.status_code, "was made anew meanwhile" in answer.text) == (409, True)
    assert not AuditEvent.objects.filter(action="changes.taken_out").exists()


def test_what_is_not_there_any_more_is_not_found(sync: Sync, rita: Staff) -> None:
    at = f"/admin/rosters/sync/{sync.pk}/changes.csv"
    assert _logged_in(rita).post(at).status_code == 405
    Sync.objects.filter(pk=sync.pk).update(plan_digest="")
    assert _logged_in(rita).get(at, {"table": "users"}).status_code == 404
    empty = Sync.objects.create(
        district=District.objects.create(name="Maple", site_code="1002"), delivery=sync.delivery
    )
    assert _logged_in(rita).get(f"/admin/rosters/sync/{empty.pk}/changes.csv").status_code == 404
