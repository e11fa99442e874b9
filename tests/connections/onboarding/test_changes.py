"""What a delivery changes, shown to its district: who and what, the same as in the file, and to nobody else."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest
import time_machine
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from connections.onboarding import asking
from connections.onboarding.models import Person
from connections.onboarding.receipts import key_of
from rosters import making, syncs
from rosters.models import AuditEvent, District, Sync
from tests.journeys.trip import Trip, made_once

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

    from tests.conftest import Stands

pytestmark = [pytest.mark.django_db, pytest.mark.alike]

ComeIn = Callable[[Person], Client]
OVER = "That search is over: search again."


def _tables() -> making.Tables:
    return making.make_roster(users=220, seed=6, today=timezone.localdate(), name="Cedar Grove")


def _built(trip: Trip) -> None:
    """A school leaves, somebody who stays has another family name, and a middle name that was empty is a formula."""
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
def trip(_cedar: Stands, data_dir: Path) -> Trip:
    return _cedar(data_dir)


@pytest.fixture
def cedar(trip: Trip) -> District:
    return trip.district


@pytest.fixture
def sync(cedar: District) -> Sync:
    return Sync.objects.select_related("delivery").get(district=cedar, status="awaiting_review")


@pytest.fixture
def receipt(sync: Sync) -> str:
    return f"/district/sent/{key_of(sync)}/"


@pytest.fixture
def at(receipt: str) -> str:
    return f"{receipt}changes/"


@pytest.fixture
def leaver(sync: Sync) -> dict[str, Any]:
    gone = syncs.store().difference(sync.district_id, sync.pk).frame("users").filter(pl.col("kind") == "removed")
    return gone.filter(pl.col("role") == "student").row(0, named=True)


@pytest.fixture
def client(sam: Person, come_in: ComeIn) -> Client:
    """A sender's: nobody needs to be an owner."""
    return come_in(sam)


def _addresses(page: Any) -> list[str]:
    return [html.unescape(each) for each in re.findall(r'(?:href|action|hx-\w+)="([^"]*)"', page.text)]


def _taken(client: Client, address: str) -> pl.DataFrame:
    answer: Any = client.get(address)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    content = b"".join(answer.streaming_content)
    assert content.startswith(b"\xef\xbb\xbf"), "Excel would not know the letters"
    return pl.read_csv(io.BytesIO(content), infer_schema=False)


class TestThePage:
    def test_who_is_asked_sees_how_many_and_who_it_is(
        self, client: Client, sync: Sync, receipt: str, at: str, leaver: dict[str, Any], alice: Staff
    ) -> None:
        asking.ask(sync, "A school is missing. Is that right?", by=alice)
        home = client.get("/district/")
        assert at in _addresses(home), "the question leads to what it asks about"
        people = sync.tallies.get(table="users", dimension="")
        told = client.get(receipt).text
        assert "What it changes" in told and f'data-label="− leave">{people.removed}</td>' in told
        page = client.get(at)
        assert (page.context["table"], page.context["total"]) == (
            "users",
            people.added + people.updated + people.removed,
        )
        school = sync.tallies.filter(table="users", dimension="school").order_by("-removed").first()
        assert school is not None and school.removed
        row = page.context["schools"][0]
        assert (row["what"], row["before"], row["removed"]) == (school.label, school.before, school.removed)
        only = f"{at}?table=users&school={school.key}&kind=removed#records"
        assert only in _addresses(page)
        found = client.get(only)
        assert found.context["total"] == school.removed
        assert {row["kind"] for row in found.context["rows"]} == {"removed"}
        assert f"{leaver['givenName']} {leaver['familyName']}" in found.text

    def test_an_old_and_a_new_value_stand_side_by_side_in_plain_words(self, client: Client, at: str) -> None:
        page = client.get(at, {"table": "users", "kind": "updated"})
        cells = {cell["name"]: cell for row in page.context["rows"] for cell in row["cells"]}
        assert cells["familyName"]["new"] == "Zoë, the other" and cells["familyName"]["old"]
        assert "<dt>family name</dt>" in page.text and "~ changes" in page.text
        enrolled = client.get(at, {"table": "enrollments", "kind": "removed"}).text
        assert "<dt>class</dt>" in enrolled and "− leaves" in enrolled

    def test_it_stays_when_it_went_live_or_was_declined(
        self, client: Client, sync: Sync, receipt: str, at: str, leaver: dict[str, Any], alice: Staff, trip: Trip
    ) -> None:
        people = client.get(at).context["total"]
        syncs.decline(sync, by=alice, reason="The summer school is missing.")
        assert client.get(at).context["total"] == people and at in client.get(receipt).text
        again = trip.send(making.without_school(_tables(), 0))
        trip.go(again)
        live = client.get(f"/district/sent/{key_of(again)}/changes/", {"kind": "removed"})
        assert leaver["sourcedId"] in live.text and "<strong>" in live.text

    def test_before_it_is_known_and_where_nothing_is_planned_there_is_no_such_page(
        self, client: Client, sync: Sync, at: str, receipt: str
    ) -> None:
        for status in ("received", "rejected", "superseded"):
            Sync.objects.filter(pk=sync.pk).update(status=status)
            assert client.get(at).status_code == client.get(f"{at}file/").status_code == 404
            assert "What it changes" not in client.get(receipt).text

    def test_it_is_told_by_the_districts_clock(self, client: Client, cedar: District, sync: Sync, at: str) -> None:
        District.objects.update(time_zone="America/Denver")
        moment = timezone.now().replace(hour=20, minute=4)
        type(sync.delivery).objects.filter(pk=sync.delivery_id).update(received_at=moment)  # type: ignore[misc, union-attr]
        sync.refresh_from_db()
        local = moment.astimezone(District.objects.get().zone)
        page = client.get(f"/district/sent/{key_of(sync)}/changes/").text
        assert f"{local.hour % 12 or 12}:04 {local:%p} Mountain" in page


class TestWhoIsLookedFor:
    def test_the_name_stands_in_no_address_and_is_found_for_nobody_else(
        self, client: Client, at: str, leaver: dict[str, Any], sam: Person, dana: Person, come_in: ComeIn, vera: Staff
    ) -> None:
        name = leaver["familyName"]
        led = client.post(at, {"table": "users", "kind": "removed", "school": "", "text": f" {name} "})
        where = led.headers["Location"]
        query = {key: values[0] for key, values in parse_qs(urlsplit(where).query).items()}
        assert set(query) == {"table", "kind", "found"} and where.endswith("#records")
        page = client.get(where)
        assert page.context["text"] == name and page.context["total"] >= 1
        assert all(name in str(row) for row in page.context["rows"])
        assert not [each for each in _addresses(page) if name.lower() in each.lower()]
        kept = cache.get(f"search-person-{sam.pk}-{query['found']}")
        assert kept and name not in kept, "it is sealed where it lies"
        other = come_in(dana).get(where)
        assert OVER in other.text and other.context["rows"] == []
        vera.pk = sam.pk  # whose number is the same, and who is somebody else
        assert cache.get(f"search-{vera.pk}-{query['found']}") is None
        named = client.get(at, {"text": name})
        assert named.status_code == 302 and name not in named.headers["Location"]
        with time_machine.travel(timezone.now() + timedelta(minutes=61)):
            assert OVER in client.get(where).text

    def test_what_fits_nothing_says_so(self, client: Client, at: str) -> None:
        found = client.get(client.post(at, {"table": "users", "text": "nobody of that name"}).headers["Location"])
        assert "No record fits these filters." in found.text
        assert client.get(at, {"table": "metadata", "kind": "x", "page": "9" * 12}).context["page"] == 1

    def test_it_has_pages(self, client: Client, at: str) -> None:
        first = client.get(at, {"table": "enrollments"})
        assert (len(first.context["rows"]), first.context["page"]) == (50, 1) and first.context["pages"] > 1
        (second,) = {each for each in _addresses(first) if "page=2" in each}
        ids = [{row["sourcedId"] for row in page.context["rows"]} for page in (first, client.get(second))]
        assert not ids[0] & ids[1]


class TestTheFile:
    def test_it_is_what_the_page_shows_without_a_formula_and_stands_in_the_trail(
        self, client: Client, at: str, sync: Sync, sam: Person, leaver: dict[str, Any]
    ) -> None:
        page = client.get(at, {"table": "users", "kind": "updated"})
        (link,) = [each for each in _addresses(page) if each.startswith(f"{at}file/")]
        rows = _taken(client, link)
        assert rows["sourcedId"].to_list() == [row["sourcedId"] for row in page.context["rows"]]
        assert "'=SUM(A1)" in rows["middleName"].to_list(), "no spreadsheet may take it for a formula"
        assert "was.familyName" in rows.columns
        taken = AuditEvent.objects.get(action="person.took_changes")
        assert (taken.by, taken.subject, taken.sync) == (None, f"person {sam.pk}", sync)
        about = {"role": "sender", "table": "users", "kind": "updated", "rows": len(rows), "filtered_by": []}
        assert taken.after == about
        where = client.post(at, {"table": "users", "text": leaver["familyName"]}).headers["Location"]
        (link,) = [each for each in _addresses(client.get(where)) if each.startswith(f"{at}file/")]
        assert len(_taken(client, link)) == client.get(where).context["total"]
        assert leaver["familyName"] not in str(AuditEvent.objects.latest("pk").after)
        over = client.get(re.sub("found=[^&]+", "found=gone", link))
        assert over.status_code == 302 and OVER in client.get(over.headers["Location"]).text

    def test_it_is_not_handed_out_where_that_cannot_be_noted(
        self, client: Client, at: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from django.db import OperationalError

        def locked(*args: object, **kwargs: object) -> None:
            raise OperationalError("database is locked")

        monkeypatch.setattr(AuditEvent.objects, "create", locked)
        answer = client.get(f"{at}file/")
        assert answer.status_code == 503 and answer.headers["Retry-After"] == "60"


class TestWhatIsNotShown:
    def test_what_looks_like_another_districts_roster(self, client: Client, trip: Trip, cedar: District) -> None:
        strange = trip.send(making.make_roster(users=220, seed=99, today=timezone.localdate(), name="Maple Falls"))
        assert strange.holds.filter(code="WRONG_DISTRICT").exists()
        at = f"/district/sent/{key_of(strange)}/"
        assert client.get(f"{at}file/").status_code == 404, "nor the file: who knows who sent it"
        assert "Download the file" not in client.get(at).content.decode()
        told = client.get(at).text
        assert "We show none of it" in told and "− leave" not in told and f"{at}changes/" not in told
        page = client.get(f"{at}changes/")
        assert "We show none of it" in page.text and "Maple" not in page.text
        assert page.context["numbers"] == page.context["schools"] == [] and "rows" not in page.context
        assert client.get(f"{at}changes/file/").status_code == 404

    def test_what_is_deleted(
        self, client: Client, cedar: District, sync: Sync, receipt: str, at: str, leaver: dict[str, Any], alice: Staff
    ) -> None:
        syncs.decline(sync, by=alice, reason="No.")
        with time_machine.travel(timezone.now() + timedelta(days=500)):
            syncs.forget(cedar.pk)
        page = client.get(at)
        assert "The records were deleted on" in page.text and "Their numbers stay." in page.text
        assert leaver["sourcedId"] not in page.text and page.context["numbers"]
        assert not [each for each in _addresses(page) if "kind=" in each]
        assert client.get(f"{at}file/").status_code == 404
        assert "What it changes" in client.get(receipt).text

    def test_what_is_another_districts(self, at: str, receipt: str, come_in: ComeIn) -> None:
        maple = District.objects.create(name="Maple Falls", site_code="1002", time_zone="America/Denver")
        other = come_in(maple.people.create(name="Mo Lind", email="mo@maple.test", role="owner"))
        for address in (at, f"{at}file/", f"{receipt}rows/"):
            assert other.get(address).status_code == 404
            assert Client().get(address).headers["Location"] == "/district/enter/"
        assert other.post(at, {"text": "x"}).status_code == 404
        assert Client().post(at, {"text": "x"}).headers["Location"] == "/district/enter/"
