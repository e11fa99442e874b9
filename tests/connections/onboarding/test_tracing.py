"""The people of a district find somebody in their own files, and nobody in those of another."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from connections.onboarding import checking
from connections.onboarding.models import Person
from rosters import making, syncs
from rosters.models import AuditEvent, District, Sync

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]

ComeIn = Callable[[Person], Client]
AT = "/district/somebody/"


def _sent(district: District, tables: making.Tables) -> Sync:
    zipped = io.BytesIO()
    making.write_zip(zipped, tables)
    zipped.seek(0)
    sync = syncs.receive(district, zipped, origin="sftp", name="nightly.zip")
    return syncs.prepare(sync.pk) or sync


def _with_pupil(tables: making.Tables) -> tuple[making.Tables, dict[str, str]]:
    """The same with a pupil whose role is “pupil”, and who that is."""
    who = tables["users"].filter(role="student").row(2, named=True)
    role = pl.when(pl.col("sourcedId") == who["sourcedId"]).then(pl.lit("pupil")).otherwise("role")
    return {**tables, "users": tables["users"].with_columns(role.alias("role"))}, who


def _look(client: Client, words: str, **asked: str) -> Any:
    answer = client.post(AT, {"who": words, **asked})
    assert answer.status_code == 302, answer
    assert set(parse_qs(urlsplit(answer.headers["Location"]).query)) <= {"found", "file"}
    return client.get(answer.headers["Location"])


def _text(page: Any) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page.content.decode())))


@pytest.mark.parametrize("role", ["owner", "sender"])
def test_a_pupil_whose_row_was_set_aside_is_found_in_the_districts_words(
    cedar: District, dana: Person, sam: Person, come_in: ComeIn, tables: making.Tables, role: str
) -> None:
    strange, who = _with_pupil(tables)
    sync = _sent(cedar, strange)
    person = dana if role == "owner" else sam
    client = come_in(person)
    assert 'href="/district/somebody/"' in client.get("/district/").text
    name = f"{who['givenName']} {who['familyName']}"
    page = _look(client, name, file=f"{sync.received_at:%Y%m%dT%H%M%S%f}")
    text = _text(page)
    line = strange["users"]["sourcedId"].to_list().index(who["sourcedId"]) + 2
    assert f"line {line} {name} Set aside" in text and "Nothing of it is live." in text
    assert "What it means: the row is not used; what was live before stays." in text
    assert "/district/templates/users/#role" in page.text and 'href="/admin/' not in page.text
    assert re.search(r"\d{1,2}:\d\d [AP]M", text) and "birth date" in text
    row = AuditEvent.objects.latest("pk")
    assert (row.action, row.by, row.sync, row.subject) == ("person.looked_into", None, sync, f"person {person.pk}")
    assert row.after == {"role": role}
    links = re.findall(r'(?:href|action|hx-\w+)="([^"]*)"', page.text)
    assert not [at for at in links if who["familyName"] in at or who["sourcedId"] in at]


def test_of_several_one_is_chosen_and_an_earlier_file(
    cedar: District, dana: Person, come_in: ComeIn, tables: making.Tables, alice: Any
) -> None:
    with time_machine.travel(timezone.now() - timedelta(days=1)):
        first = _sent(cedar, tables)
        syncs.approve(first, by=alice, plan_digest=first.plan_digest)
        syncs.apply(first.pk)
    same = {**tables, "users": tables["users"].with_columns(familyName=pl.lit("Lind"))}
    _sent(cedar, same)
    client = come_in(dana)
    page = _look(client, "lind")
    assert "People of the file who fit 20 and more" in _text(page)
    one = re.findall(r'href="(\?[^"]*row=\d+[^"]*)"', page.text)[0]
    chosen = client.get(f"{AT}{html.unescape(one)}")
    assert chosen.context["found"].one.called.endswith("Lind") and "Enrollments" in _text(chosen)
    (earlier,) = re.findall(r'href="(\?[^"]*file=[^"]*)"', page.text)
    there = client.get(f"{AT}{html.unescape(earlier)}")
    assert there.context["chosen"][1] == first and "Nobody in this file is called so" in _text(there)


def test_one_search_of_a_district_at_a_time_and_of_so_many_words(
    cedar: District, dana: Person, come_in: ComeIn, tables: making.Tables
) -> None:
    _sent(cedar, tables)
    client, who = come_in(dana), tables["users"].row(2, named=True)
    with checking.turn_of(cedar):
        busy = _look(client, who["username"])
    assert busy.status_code == 503 and "Find again in a minute." in _text(busy)
    assert who["familyName"] not in busy.text
    many = _look(client, " ".join(who["familyName"] for _ in range(9)))
    assert many.status_code == 422 and "more than 8 words" in _text(many) and "found" not in many.context
    assert not AuditEvent.objects.filter(action="person.looked_into").exists(), "nobody saw anything"
    assert who["familyName"] in _look(client, who["username"]).text
    assert AuditEvent.objects.filter(action="person.looked_into").count() == 1


def test_another_districts_person_is_not_found_and_its_file_cannot_be_named(
    cedar: District, maple: District, come_in: ComeIn, tables: making.Tables
) -> None:
    theirs = _sent(cedar, tables)
    mo = maple.people.create(name="Mo Lind", email="mo@maple.test", role="owner")
    client = come_in(mo)
    assert "No file of yours is there to look into" in _text(client.get(AT))
    _sent(maple, making.make_roster(users=60, seed=31, today=timezone.localdate(), name="Maple Falls"))
    who = tables["users"].filter(role="student").row(0, named=True)
    for words in (who["sourcedId"], who["username"]):
        page = _look(client, words, file=f"{theirs.received_at:%Y%m%dT%H%M%S%f}")
        assert page.context["chosen"][1].district == maple
        assert "Nobody in this file is called so" in _text(page) and who["familyName"] not in page.text
    assert not AuditEvent.objects.filter(action="person.looked_into", district=cedar).exists()


def test_a_search_is_only_theirs_who_made_it(
    cedar: District, dana: Person, sam: Person, come_in: ComeIn, tables: making.Tables
) -> None:
    _sent(cedar, tables)
    who = tables["users"].filter(role="student").row(0, named=True)
    at = come_in(dana).post(AT, {"who": who["username"]}).headers["Location"]
    other = come_in(sam).get(at)
    assert "That search is over" in other.text and who["familyName"] not in other.text
    assert come_in(dana).post(AT, {"who": "  "}).headers["Location"] == AT


def test_what_seems_to_be_another_districts_file_is_not_looked_into(
    cedar: District, dana: Person, come_in: ComeIn, tables: making.Tables, alice: Any
) -> None:
    first = _sent(cedar, tables)
    syncs.approve(first, by=alice, plan_digest=first.plan_digest)
    syncs.apply(first.pk)
    other = making.make_roster(users=60, seed=31, today=timezone.localdate(), name="Maple Falls")
    held = _sent(cedar, other)
    assert held.holds.filter(code="WRONG_DISTRICT").exists()
    page = _look(come_in(dana), str(other["users"]["familyName"][0]))
    assert "it is not looked into here" in _text(page) and str(other["users"]["username"][0]) not in page.text
