"""What happened to a record: from a name to the syncs that changed it, and to its row in the newest file."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from django.test import Client
from django.utils import timezone

from rosters import making, syncs
from rosters.admin import history
from rosters.models import Class, Demographics, District, Sync, User
from rosters.oneroster.rules import RULES
from tests.journeys.trip import Trip
from tests.rosters.reading import pulls

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = [pytest.mark.django_db, pytest.mark.looks]


@pytest.fixture
def tables() -> making.Tables:
    return making.make_roster(users=80, seed=6, today=timezone.localdate(), name="Cedar Grove")


@pytest.fixture
def trip(data_dir: Path, tmp_path: Path, alice: Staff) -> Trip:
    return Trip(tmp_path, alice)


def _browser(staff: Staff) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def _page(staff: Staff, record: object, asked: str = "") -> str:
    name = type(record).__name__.lower()
    return _browser(staff).get(f"/admin/rosters/{name}/{record.pk}/history/{asked}").content.decode()  # type: ignore[attr-defined]


def _renamed(users: pl.DataFrame, who: str, family: str) -> pl.DataFrame:
    is_it = pl.col("sourcedId") == who
    return users.with_columns(familyName=pl.when(is_it).then(pl.lit(family)).otherwise("familyName"))


def test_a_persons_history_tells_what_each_sync_did(trip: Trip, tables: making.Tables, vera: Staff) -> None:
    seat = tables["enrollments"].filter(role="student").row(0, named=True)
    who, class_title = seat["userSourcedId"], dict(
        tables["classes"].select("sourcedId", "title").iter_rows()
    )[seat["classSourcedId"]]  # fmt: skip
    trip.go(trip.send(tables))
    later = {
        **tables,
        "users": _renamed(tables["users"], who, "Newname"),
        "enrollments": tables["enrollments"].filter(pl.col("sourcedId") != seat["sourcedId"]),
    }
    second = trip.go(trip.send(later))
    person = User.objects.get(sourced_id=who)
    page = _page(vera, person)
    newest, _, first = page.partition("version 1")
    assert "Newname" in newest
    assert "familyName" in newest
    assert newest.count("− removed") == 1
    assert class_title in newest
    assert "+ added" in first
    assert f"/admin/rosters/sync/{second.pk}/change/" in newest
    assert "Newname" not in page.split("</title>")[0], "no name in the title"
    trip.undo(second)
    trip.go(Sync.objects.get(undoes=second))
    assert "Undo of" in _page(vera, person)


def test_a_class_tells_who_came_and_left(trip: Trip, tables: making.Tables, vera: Staff) -> None:
    trip.go(trip.send(tables))
    clazz = Class.objects.filter(enrollments__role="student").first()
    assert clazz is not None
    page = _page(vera, clazz)
    seats = tables["enrollments"].filter(classSourcedId=clazz.sourced_id)
    assert page.count("+ added") == min(len(seats), history.MOST_SHOWN) + 1
    assert ("only the first are shown" in page) == (len(seats) > history.MOST_SHOWN)


def test_demographics_are_told_to_those_who_may_see_them(
    trip: Trip, tables: making.Tables, vera: Staff, manu: Staff
) -> None:
    trip.go(trip.send(tables))
    child = Demographics.objects.select_related("user").order_by("pk").first()
    assert child is not None
    assert child.birth_date in _page(manu, child.user)
    assert child.birth_date not in _page(vera, child.user)
    assert _browser(vera).get(f"/admin/rosters/demographics/{child.pk}/history/").status_code in (403, 404)


def test_a_page_looks_through_some_syncs_and_offers_the_others(
    trip: Trip, tables: making.Tables, vera: Staff, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "SYNCS_A_PAGE", 1)
    who = tables["users"]["sourcedId"][5]
    trip.go(trip.send(tables))
    trip.go(trip.send({**tables, "users": _renamed(tables["users"], tables["users"]["sourcedId"][6], "Other")}))
    person = User.objects.get(sourced_id=who)
    page = _page(vera, person)
    assert "did not change it" in page
    assert "?before=2" in page
    earlier = _page(vera, person, "?before=2")
    assert "+ added" in earlier
    assert "?before" not in earlier
    assert _browser(vera).get(f"/admin/rosters/user/{person.pk}/history/?before=1e9").status_code == 200


def test_a_record_is_found_in_its_file_with_what_was_found_there(
    trip: Trip, tables: making.Tables, vera: Staff
) -> None:
    users = tables["users"].with_columns(
        email=pl.when(pl.int_range(pl.len()) == 7).then(pl.lit("no address")).otherwise("email"),
        password=pl.when(pl.int_range(pl.len()) == 7).then(pl.lit("hunter2")).otherwise(pl.lit("")),
    )
    trip.go(trip.send({**tables, "users": users}))
    person = User.objects.get(sourced_id=users["sourcedId"][7])
    page = _page(vera, person, "?line")
    assert "in the newest file" in page and "line 9" in page
    assert "no address" in page
    assert RULES["OR-CSV-118"].next_step in html.unescape(page)
    assert "hunter2" not in page
    other = User.objects.get(sourced_id=users["sourcedId"][8])
    page = _page(vera, other, "?line")
    assert "As it stands in the file" in page and "What to do" not in page


def test_who_is_not_in_the_file_is_said_not_to_be(trip: Trip, tables: making.Tables, vera: Staff) -> None:
    trip.go(trip.send(tables))
    gone = tables["users"].filter(role="student")["sourcedId"][0]
    rest = {
        **tables,
        "users": tables["users"].filter(pl.col("sourcedId") != gone),
        "enrollments": tables["enrollments"].filter(pl.col("userSourcedId") != gone),
        "demographics": tables["demographics"].filter(pl.col("sourcedId") != gone),
    }
    sync = trip.go(trip.send(rest))
    page = _page(vera, User.objects.get(sourced_id=gone), "?line")
    assert "no line" in page and "It was live, and is not in this file." in page
    syncs.store().original(sync.district_id, sync.delivery.sha256).unlink()  # type: ignore[union-attr]
    assert "not kept any more" in _page(vera, User.objects.get(sourced_id=gone), "?line")


def test_what_an_api_sent_is_told_record_by_record(trip: Trip, tables: making.Tables, vera: Staff) -> None:
    path = pulls.pulled(trip.folder / "pull.zip", pulls.records(tables))
    sync = syncs.receive(trip.district, path, origin="rest", name="pull.zip")
    trip.go(syncs.prepare(sync.pk) or sync)
    person = User.objects.get(sourced_id=tables["users"]["sourcedId"][5])
    page = _page(vera, person, "?line")
    assert "as the API gave them" in page and "record 6" in page and "As it stands in the file" in page


def test_nobody_sees_a_history_without_the_right_to_see_the_record(
    trip: Trip, tables: making.Tables, django_user_model: type[Staff]
) -> None:
    trip.go(trip.send(tables))
    nobody = django_user_model.objects.create_user("nora", password="a long enough password", is_staff=True)
    person = User.objects.order_by("pk")[0]
    assert _browser(nobody).get(f"/admin/rosters/user/{person.pk}/history/").status_code in (403, 404)
    assert District.objects.count() == 1
