"""A SIS that calls a column otherwise: said once by a person, read so from then on."""

from __future__ import annotations

import html

import pytest
from django.test import Client
from django.urls import reverse

from rosters import making
from rosters.models import User
from tests.journeys.trip import Trip

pytestmark = [pytest.mark.django_db, pytest.mark.alike]


def test_a_strange_name_leads_to_the_setting_and_is_read_with_it(
    trip: Trip, tables: making.Tables, staff: Client
) -> None:
    trip.go(trip.send(tables))
    users = tables["users"]
    mails = set(User.objects.exclude(email="").values_list("email", flat=True))
    assert mails
    strange = {**tables, "users": users.rename({"email": "Student Mail"})}
    first = trip.send(strange)
    assert first.findings.filter(code__in=["OR-CSV-066", "OR-CSV-071"], column="Student Mail").exists()
    page = html.unescape(staff.get(reverse("admin:rosters_sync_change", args=[first.pk])).content.decode())
    assert "Say which column of OneRoster it is" in page and "#setting-column_names" in page

    trip.district.column_names = {"users.email": "Student Mail"}
    trip.district.save()
    renamed = users.with_columns(email=users["email"].str.replace("@", "@mail."))
    sync = trip.send({**tables, "users": renamed.rename({"email": "Student Mail"})})
    assert sync.findings.filter(code="OR-NAME-001", count=1).exists()
    assert not sync.findings.filter(code__in=["OR-CSV-063", "OR-CSV-066", "OR-CSV-071"], file="users.csv").exists()
    trip.go(sync)
    now = set(User.objects.filter(status="active").exclude(email="").values_list("email", flat=True))
    assert now == {mail.replace("@", "@mail.") for mail in mails}
