"""What the staff's pages say: one word for one thing, names instead of ids, and a way to go on from every sentence."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from django.test import Client
from django.utils import timezone

from rosters import making, syncs
from rosters.models import AcademicSession, AuditEvent, Class, Delivery, District, Sync
from rosters.templatetags.roster_pages import old_and_new, value
from rosters.words import column_words, happened
from tests.journeys.trip import Trip

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = [pytest.mark.django_db, pytest.mark.looks]


@pytest.fixture
def tables() -> making.Tables:
    return making.make_roster(users=80, seed=6, today=timezone.localdate(), name="Cedar Grove")


@pytest.fixture
def trip(data_dir: Path, tmp_path: Path, alice: Staff) -> Trip:
    return Trip(tmp_path, alice)


def _logged_in(staff: Staff) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def _page(client: Client, sync: Sync) -> str:
    return client.get(f"/admin/rosters/sync/{sync.pk}/change/").content.decode()


def test_blanks_are_seen_at_the_ends_of_a_value_alone() -> None:
    assert value(" Ann Marie  ") == "␣Ann Marie␣␣"
    assert value("  ") == "␣␣"
    told = str(old_and_new("Ann Marie", "Ann Marie Louise "))
    assert "␣" not in told.partition("→")[0] and told.count("␣") == 1
    assert re.sub(r"<[^>]+>", "", told) == "Ann Marie → Ann Marie Louise␣"


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("enabledUser", "enabled"),
        ("primaryOrgSourcedId", "primary school or org"),
        ("termSourcedIds", "terms"),
        ("courseSourcedId", "course"),
        ("givenName", "given name"),
        ("grades", "grades"),
    ],
)
def test_a_column_is_called_as_people_call_it(column: str, words: str) -> None:
    assert column_words(column) == words


def test_an_audit_row_always_says_who_or_what_did_it() -> None:
    assert happened("delivery.received", "maria") == "maria received a file"
    assert happened("delivery.received", "") == "a file was received"
    assert happened("sync.approved", "").startswith("the portal approved the plan")
    assert happened("connection.changed", "", "person 4") == "a person of the district changed a connection"
    assert happened("sync.applied", "maria") == "the changes went live, decided by maria"
    assert happened("sync.applied", "") == "the changes went live"


def test_a_changes_columns_are_in_words_and_can_be_chosen(trip: Trip, tables: making.Tables, alice: Staff) -> None:
    trip.go(trip.send(tables))
    renamed = pl.when(pl.int_range(pl.len()) == 3).then(pl.lit("Nova")).otherwise(pl.col("givenName"))
    sync = trip.send({**tables, "users": tables["users"].with_columns(givenName=renamed)})
    page = _page(_logged_in(alice), sync)
    assert '<dt title="givenName">given name</dt>' in page
    assert '<option value="givenName">given name</option>' in page


def test_a_class_names_its_terms(trip: Trip, tables: making.Tables, vera: Staff) -> None:
    trip.go(trip.send(tables))
    clazz = Class.objects.first()
    assert clazz
    terms = AcademicSession.objects.filter(sourced_id__in=clazz.term_sourced_ids.split(","))
    assert terms
    page = _logged_in(vera).get(f"/admin/rosters/class/{clazz.pk}/change/").content.decode()
    for term in terms:
        assert f'<a href="/admin/rosters/academicsession/{term.pk}/change/">{term.title}</a>' in page
        assert term.sourced_id not in page
    assert "term sourced ids" not in page


def test_what_was_replaced_leads_to_what_took_its_place(trip: Trip, tables: making.Tables, alice: Staff) -> None:
    trip.go(trip.send(tables))
    waits = trip.send(making.without_school(tables, 0))
    newer = trip.send(making.without_school(tables, 1))
    waits.refresh_from_db()
    assert waits.status == "superseded"
    page = _page(_logged_in(alice), waits)
    assert f'<a href="/admin/rosters/sync/{newer.pk}/change/">See the newer one</a>' in page


def test_what_waits_behind_an_older_file_leads_there_first(trip: Trip, tables: making.Tables, alice: Staff) -> None:
    trip.go(trip.send(tables))
    older = trip.send(making.without_school(tables, 0))
    renamed = pl.when(pl.int_range(pl.len()) == 3).then(pl.lit("Nova")).otherwise(pl.col("givenName"))
    part = trip.send({"orgs": tables["orgs"], "users": tables["users"].with_columns(givenName=renamed)})
    page = _page(_logged_in(alice), part)
    assert f'<a href="/admin/rosters/sync/{older.pk}/change/">Decide about that one first</a>' in page
    assert "decide about that one first. <a" in page and "Approve 1 change" not in page and "Decline and keep" in page
    syncs.decline(older, by=alice, reason="No.")
    assert "Approve 1 change" in _page(_logged_in(alice), part)


def test_nobody_is_told_to_mend_what_a_newer_delivery_has_settled(trip: Trip, alice: Staff) -> None:
    """Nor is a button shown that would only be refused."""
    client, now, button = _logged_in(alice), timezone.now(), "Check the same file again</button>"

    def came(status: str, days_ago: int, **values: Any) -> Sync:
        at = now - timedelta(days=days_ago)
        sent = Delivery.objects.create(
            district=trip.district, received_at=at, size=1, name="day.zip", origin="sftp", sha256="0" * 64
        )
        return Sync.objects.create(
            district=trip.district, delivery=sent, status=status, received_at=at, status_since=at, **values
        )

    declined = came("declined", 9, decision="declined", decided_by=alice, decided_at=now, verdict="Held.")
    assert "It is the move of the district." in _page(client, declined)
    failed = came("failed", 8, error="It broke.")
    assert "It is the move of our staff." in _page(client, failed) and button in _page(client, failed)
    refused = came("rejected", 7)
    AuditEvent.objects.create(action="district.changed", district=trip.district, after={"mappings": {}}, at=now)
    assert "It is the move of the district." in _page(client, refused) and button in _page(client, refused)
    retried = syncs.retry(refused, by=alice)
    assert "goes on in another sync" in _page(client, refused)
    Sync.objects.filter(pk=retried.pk).update(status="failed")
    assert button in _page(client, retried)
    assert "It is the move" not in _page(client, refused) and button not in _page(client, refused)
    fine = came("unchanged", 0)
    Sync.objects.filter(pk=fine.pk).update(file_rows={"orgs": 1}, received_at=timezone.now())
    for sync in (declined, failed, retried):
        page = _page(client, sync)
        assert "a newer delivery has come since" in page and "It is the move" not in page
        assert button not in page and "meanwhile" not in page


def test_a_districts_page_says_what_happened_and_not_what_was_feared_before(
    trip: Trip, tables: making.Tables, alice: Staff
) -> None:
    client, at = _logged_in(alice), f"/admin/rosters/district/{trip.district.pk}/change/"
    trip.go(trip.send(tables))
    held = trip.send(making.without_school(tables, 0))

    def sentence() -> str:
        told = re.search(r'<p class="sentence">(.*?)</p>', client.get(at).text, re.DOTALL)
        return re.sub(r"<[^>]+>", "", told[1]) if told else ""

    assert held.verdict.startswith("Held") and held.verdict in unescape(sentence())
    held = trip.go(held)
    assert sentence() == "What came last went live just now, as version 2 of the roster."
    trip.go(trip.undo(held))
    assert sentence() == "What came last went live just now and was taken back just now."
    feared = trip.send(making.without_school(tables, 1))
    syncs.decline(feared, by=alice, reason="No.")
    assert sentence().startswith("What came last was declined just now by alice. What is live stays.")


def test_the_list_of_syncs_is_filtered_in_the_words_that_stand_in_it(
    trip: Trip, tables: making.Tables, alice: Staff
) -> None:
    live = trip.go(trip.send(tables))
    waits, client = trip.send(making.without_school(tables, 0)), _logged_in(alice)
    at = "/admin/rosters/sync/"
    page = client.get(at)
    html = page.content.decode()
    for gone in ("Replaced by a newer delivery", "By received at", "waits for a person", "refused or failed"):
        assert gone not in html
    assert ">nobody</a>" in html, "a district without owner"

    def found(asked: str) -> list[int]:
        return [sync.pk for sync in client.get(f"{at}?{asked}").context["cl"].result_list]

    assert found("standing=waiting") == [waits.pk]
    assert found("standing=applied&came=7d") == [live.pk]
    assert found("standing=superseded") == [] == found("standing=nonsense")
    assert found("district__owner__isnull=True") == [waits.pk, live.pk]


def test_a_people_number_of_the_desk_stands_on_the_page_of_its_sync(
    trip: Trip, tables: making.Tables, alice: Staff
) -> None:
    trip.go(trip.send(tables))
    sync = trip.send(making.without_school(tables, 0))
    assert sync.people_affected > 1
    client = _logged_in(alice)
    assert f"{sync.people_affected:,} people concerned" in _page(client, sync)
    assert "People concerned" in client.get("/admin/").content.decode()


def test_a_version_that_has_just_come_is_not_said_to_be_verified_before_it_came(
    trip: Trip, tables: making.Tables, vera: Staff
) -> None:
    trip.go(trip.send(tables))
    before = timezone.now() - timedelta(minutes=3)
    District.objects.update(verified_at=before)
    at, client = f"/admin/rosters/district/{trip.district.pk}/change/", _logged_in(vera)
    assert "live <time" in client.get(at).content.decode() and "verified <time" not in client.get(at).content.decode()
    District.objects.update(verified_at=timezone.now())
    assert "verified <time" in client.get(at).content.decode()
