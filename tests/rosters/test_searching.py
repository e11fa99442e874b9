"""Whatever staff look for: its words stand in no address, and what is found is found as before."""

from __future__ import annotations

import html
import re
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

from rosters import making, syncs
from rosters.models import AuditEvent, District, Org, Sync, User
from tests.journeys.trip import Trip, made_once

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

    from tests.conftest import Stands

pytestmark = [pytest.mark.django_db, pytest.mark.doors]

PEOPLE = "/admin/rosters/user/"
OVER = "That search is over: search again."


def _tables() -> making.Tables:
    return making.make_roster(users=220, seed=6, today=timezone.localdate(), name="Cedar Grove")


def _built(trip: Trip) -> None:
    trip.go(trip.send(_tables()))
    trip.send(making.without_school(_tables(), 0))


_cedar = made_once(_built)


@pytest.fixture
def cedar(_cedar: Stands, data_dir: Path) -> District:
    """A district whose first roster is live, and a second delivery that waits because a school is missing."""
    return _cedar(data_dir).district


@pytest.fixture
def person(cedar: District) -> User:
    found: User = User.objects.filter(role="student").earliest("pk")
    return found


def _logged_in(staff: Staff) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def _found(answer: Any) -> str:
    """Where a search leads."""
    assert answer.status_code == 302, answer
    return str(answer.headers["Location"])


def _query(address: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def _addresses(page: Any) -> list[str]:
    """Every address on a page."""
    return [html.unescape(each) for each in re.findall(r'(?:href|action|hx-\w+)="([^"]*)"', page.text)]


def _waiting() -> Sync:
    return Sync.objects.get(status="awaiting_review")


def test_who_is_looked_for_stands_in_no_address_of_what_is_found(cedar: District, person: User, vera: Staff) -> None:
    client, name = _logged_in(vera), person.family_name
    at = _found(client.post(f"{PEOPLE}?district={cedar.pk}", {"q": f" {name} "}))
    assert (urlsplit(at).path, set(_query(at))) == (PEOPLE, {"district", "found"})
    page = client.get(at)
    assert person in page.context["cl"].result_list
    assert {each.family_name for each in page.context["cl"].result_list} == {name}
    assert f'value="{name}"' in page.text, "the words stand in the field still"
    addresses = _addresses(page)
    assert not [each for each in addresses if name.lower() in each.lower()]
    keyed = [each for each in addresses if "status=tobedeleted" in each]
    assert keyed and all(_query(each)["found"] == _query(at)["found"] for each in keyed), "the filters keep the search"
    assert client.get(f"{PEOPLE}{keyed[0]}").context["cl"].result_count == 0
    new = next(each for each in addresses if each.startswith("?") and "found" not in each and "district" in each)
    assert _query(_found(client.post(f"{PEOPLE}{new}", {"q": "x"})))["district"] == str(cedar.pk)
    assert _found(client.post(f"{PEOPLE}?district={cedar.pk}", {"q": " "})) == f"{PEOPLE}?district={cedar.pk}"


def test_what_is_found_has_pages(cedar: District, person: User, vera: Staff) -> None:
    students = User.objects.filter(role="student")
    students.update(family_name="Lind", search_name="lind zoë")
    client = _logged_in(vera)
    at = _found(client.post(PEOPLE, {"q": "lind zo"}))
    page = client.get(at)
    assert page.context["cl"].result_count == students.count() > 100
    second = next(each for each in _addresses(page) if _query(each).get("p") == "2")
    assert _query(second)["found"] == _query(at)["found"]
    seen = [page.context["cl"].result_list, client.get(f"{PEOPLE}{second}").context["cl"].result_list]
    assert not set(seen[0]) & set(seen[1]) and all(each.family_name == "Lind" for part in seen for each in part)


def test_an_old_bookmark_is_taken_over(cedar: District, person: User, vera: Staff) -> None:
    client = _logged_in(vera)
    at = _found(client.get(PEOPLE, {"q": person.sourced_id, "district": cedar.pk}))
    assert _query(at).keys() == {"district", "found"}
    assert list(client.get(at).context["cl"].result_list) == [person]
    changes = f"/admin/rosters/sync/{_waiting().pk}"
    for place in ("changes", "change"):
        at = _found(client.get(f"{changes}/{place}/", {"text": person.family_name, "table": "users"}))
        assert (urlsplit(at).path, set(_query(at))) == (f"{changes}/{place}/", {"table", "found"})
        assert client.get(at).context["text"] == person.family_name


def test_a_search_is_nobody_elses_and_is_over_after_an_hour(
    cedar: District, person: User, vera: Staff, rita: Staff
) -> None:
    client = _logged_in(vera)
    at = _found(client.post(f"{PEOPLE}?district={cedar.pk}", {"q": person.family_name}))
    kept = cache.get(f"search-{vera.pk}-{_query(at)['found']}")
    assert kept and person.family_name not in kept, "it is sealed where it lies"
    for address in (at, f"{PEOPLE}?found=/../{'x' * 300}"):
        other = _logged_in(rita).get(address)
        assert (OVER in other.text, other.context["cl"].result_count) == (True, 0)
    with time_machine.travel(timezone.now() + timedelta(minutes=50)):
        assert person in client.get(at).context["cl"].result_list
    with time_machine.travel(timezone.now() + timedelta(minutes=70)):
        page = _logged_in(vera).get(at)
        assert (OVER in page.text, page.context["cl"].result_count) == (True, 0)
        assert f'href="?district={cedar.pk}"' in page.text, "all that the filters leave is one step away"


def test_the_desk_sends_what_is_looked_for_to_people_and_to_districts(
    cedar: District, person: User, vera: Staff
) -> None:
    client = _logged_in(vera)
    form = re.search(r'<form class="finders".*?</form>', client.get("/admin/").text, re.DOTALL)
    assert form and 'method="post"' in form[0] and "csrfmiddlewaretoken" in form[0]
    where = re.findall(r'formaction="([^"]+)"', form[0])
    assert where == ["/admin/rosters/district/", PEOPLE]
    for at, words, record in zip(where, ("cedar", person.username), (cedar, person), strict=True):
        found = _found(client.post(at, {"q": words}))
        assert words not in found
        assert list(client.get(found).context["cl"].result_list) == [record]
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(vera)
    assert strict.post(PEOPLE, {"q": "x"}).status_code == 403
    assert Client().post(PEOPLE, {"q": person.family_name}).headers["Location"] == f"/admin/login/?next={PEOPLE}"
    assert client.post("/admin/rosters/demographics/", {"q": "x"}).status_code == 403


class TestChanges:
    @pytest.fixture
    def at(self, cedar: District) -> str:
        return f"/admin/rosters/sync/{_waiting().pk}/changes"

    @pytest.fixture
    def leaver(self, cedar: District) -> str:
        """The family name of somebody who would be removed."""
        stored = syncs.store().difference(cedar.pk, _waiting().pk)
        return str(stored.page("users", kind="removed", role="student").rows[0]["familyName"])

    def test_they_are_filtered_without_the_words_in_an_address(self, at: str, leaver: str, rita: Staff) -> None:
        client = _logged_in(rita)
        gone = Org.objects.get(sourced_id=_waiting().holds.get(code="SCHOOL_GONE").key)
        form = {"table": "users", "kind": "removed", "field": "", "school": gone.sourced_id, "text": leaver}
        found = _found(client.post(f"{at}/", form))
        assert found.startswith(f"{at}/?") and found.endswith("#changes")
        assert _query(found).keys() == {"table", "kind", "school", "found"}
        page = client.get(found)
        assert 0 < page.context["total"] < _waiting().removed
        assert all(leaver in row["title"] for row in page.context["rows"])
        assert not [each for each in _addresses(page) if leaver.lower() in each.lower()]
        for each in _addresses(page):
            if "school" not in each and "found" in each and "#changes" in each:  # the ✕ beside the school
                assert client.get(each).context["text"] == leaver
                break
        else:
            pytest.fail("the school cannot be taken away")

    def test_htmx_gets_the_part_alone(self, at: str, leaver: str, rita: Staff) -> None:
        form = {"table": "users", "text": leaver}
        answer: Any = _logged_in(rita).post(f"{at}/", form, follow=True, headers={"HX-Request": "true"})
        assert answer.status_code == 200
        assert answer.text.lstrip().startswith('<section class="panel" id="changes"') and "<html" not in answer.text
        assert leaver in answer.text and "csrfmiddlewaretoken" in answer.text

    def test_the_file_is_what_was_looked_for_and_never_more_than_that(self, at: str, leaver: str, rita: Staff) -> None:
        client = _logged_in(rita)
        page = client.get(_found(client.post(f"{at}/", {"table": "users", "text": leaver})))
        (link,) = [each for each in _addresses(page) if each.startswith(f"{at}.csv")]
        lines = b"".join(client.get(link).streaming_content).decode().splitlines()  # type: ignore[attr-defined]
        assert len(lines) == 1 + page.context["total"] and all(leaver in line for line in lines[1:])
        about = AuditEvent.objects.get(action="changes.taken_out").after
        assert (about["rows"], about["filtered_by"]) == (page.context["total"], ["text"]), "and no name"
        named = client.get(f"{at}.csv", {"table": "users", "text": leaver}, follow=True)
        assert len(b"".join(named.streaming_content).decode().splitlines()) == len(lines)  # type: ignore[attr-defined]
        stale = re.sub("found=[^&]+", "found=gone", link)
        shown = client.get(_found(client.get(stale)))
        assert (OVER in shown.text, shown.context["rows"], shown.context["table"]) == (True, [], "users")


def test_an_id_is_looked_for_in_the_list_of_kept_ids_without_standing_in_an_address(
    cedar: District, person: User, alice: Staff
) -> None:
    others = User.objects.exclude(pk=person.pk).values_list("sourced_id", flat=True)[:60]
    pairs = [(old, f"new-{old}") for old in (person.sourced_id, *others)]
    syncs.keep_listed(cedar, "users", pl.DataFrame(pairs, schema=["old", "new"], orient="row"), by=alice)
    client, at = _logged_in(alice), f"/admin/rosters/district/{cedar.pk}/ids/"
    found = _found(client.post(at, {"table": "users", "q": f"new-{person.sourced_id}"}))
    assert _query(found).keys() == {"table", "found"}
    page = client.get(found)
    assert [pair["record"] for pair in page.context["pairs"]] == [person]
    assert not [each for each in _addresses(page) if f"new-{person.sourced_id}" in each]
    assert _query(_found(client.get(at, {"q": person.sourced_id}))).keys() == {"found"}
    stale = client.get(at, {"found": "gone"})
    assert (OVER in stale.text, stale.context["pairs"]) == (True, [])
