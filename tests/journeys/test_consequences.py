"""A sync says what it would mean to those who stay, and shows who they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest
from django.test import Client

from rosters import making
from rosters.models import Class
from tests.journeys.trip import Trip
from tests.tools import tool

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = pytest.mark.django_db


def test_classes_without_a_teacher_are_told_shown_and_served(
    trip: Trip, tables: making.Tables, client: Client, alice: Staff, rita: Staff
) -> None:
    first = trip.go(trip.send(tables))
    assert first.consequences == {}, "before there was nothing to lose"
    seats = tables["enrollments"]
    classes = seats.filter(role="teacher")["classSourcedId"].unique().sort().head(2).to_list()
    untaught = (pl.col("role") == "teacher") & pl.col("classSourcedId").is_in(classes)
    sync = trip.send({**tables, "enrollments": seats.filter(~untaught)})
    assert sync.consequences["untaught"] == 2 and not {"students", "empty"} & set(sync.consequences)

    client.force_login(alice)
    at = f"/admin/rosters/sync/{sync.pk}/"
    page = client.get(f"{at}change/").content.decode()
    assert f'href="{at}left/?kind=untaught">2 classes would have no teacher any more</a>' in page
    shown = client.get(f"{at}left/", {"kind": "untaught"}).content.decode()
    for klass in Class.objects.filter(sourced_id__in=classes):
        assert f'<a href="/admin/rosters/class/{klass.pk}/change/">' in shown and klass.title in shown
    assert client.get(f"{at}left/", {"kind": "students"}).status_code == 404, "of that kind there is nobody"
    assert client.get(f"/admin/rosters/sync/{first.pk}/left/").status_code == 404

    browser = tool(trip.district, staff=rita)
    assert browser.get(f"/api/v1/syncs/{sync.pk}").json()["consequences"] == sync.consequences
    told = browser.get(f"/api/v1/syncs/{sync.pk}/left", {"kind": "untaught", "limit": 1}).json()
    assert told["total"] == 2 and told["results"][0]["sourcedId"] == classes[0]
    assert browser.get(f"/api/v1/syncs/{sync.pk}/left", {"kind": "another"}).status_code == 400
    assert browser.get(f"/api/v1/syncs/{first.pk}/left").json() == {"total": 0, "results": []}

    trip.go(sync)
    back = trip.send(tables)
    assert back.consequences == {}, "what comes back leaves nobody without"
