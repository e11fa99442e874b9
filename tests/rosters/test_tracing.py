"""From a name to a line: who is not in the roster is found in the file that came, with what was found there and what
became of it; and nothing of that says who was looked for."""

from __future__ import annotations

import html
import logging
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest
from django.test import Client
from django.utils import timezone

from rosters import making, syncs
from rosters.models import AuditEvent, Class, District, Role, Sync, User
from rosters.oneroster.rules import RULES
from rosters.scope import Scope
from tests.journeys.trip import Trip

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = pytest.mark.django_db

AT = "/admin/rosters/user/file/"
NAME = "Zorabeth Quillfeather"


@pytest.fixture
def tables() -> making.Tables:
    return making.make_roster(users=80, seed=6, today=timezone.localdate(), name="Cedar Grove")


@pytest.fixture
def trip(data_dir: Path, tmp_path: Path, alice: Staff) -> Trip:
    return Trip(tmp_path, alice)


def _in(staff: Staff) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def _with_new_pupil(tables: making.Tables, role: str) -> making.Tables:
    """The same day, with one more pupil at the end of users.csv, in the class of the first enrollment of a student."""
    old = tables["users"].filter(role="student").head(1)
    given, family = NAME.split()
    new = old.with_columns(
        sourcedId=pl.lit("new-1"), givenName=pl.lit(given), familyName=pl.lit(family), role=pl.lit(role),
        username=pl.lit("zquill"), email=pl.lit("zquill@example.org"), identifier=pl.lit("990017"),
    )  # fmt: skip
    seat = tables["enrollments"].filter(role="student").head(1)
    seats = seat.with_columns(sourcedId=pl.lit("seat-1"), userSourcedId=pl.lit("new-1"))
    return {
        **tables,
        "users": pl.concat([tables["users"], new]),
        "enrollments": pl.concat([tables["enrollments"], seats]),
    }


def _dangling(tables: making.Tables, who: str) -> making.Tables:
    """The same, with one more enrollment of a pupil, in a class that is not in the file."""
    seat = tables["enrollments"].filter(role="student").head(1)
    lost = seat.with_columns(
        sourcedId=pl.lit("seat-2"), userSourcedId=pl.lit(who), classSourcedId=pl.lit("class-of-ms-lee")
    )
    return {**tables, "enrollments": pl.concat([tables["enrollments"], lost])}


def _look(client: Client, district: District, words: str, **asked: str) -> Any:
    """Look for somebody, by the form; where that leads."""
    answer = client.post(f"{AT}?district={district.pk}", {"who": words, **asked})
    assert answer.status_code == 302
    return client.get(answer.headers["Location"])


def _text(page: Any) -> str:
    """A page as it is read."""
    body = re.sub(r"<(script|style).*?</\1>", "", page.content.decode(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))


class TestSomebodyWhoIsNotInTheRoster:
    @pytest.fixture
    def cedar(self, trip: Trip, tables: making.Tables) -> District:
        """Cedar Grove is live, and its newest file has a new pupil whose role is “pupil”: it ended with no change."""
        trip.go(trip.send(tables))
        assert trip.send(_with_new_pupil(tables, "pupil")).status == "unchanged"
        return trip.district

    @pytest.mark.parametrize(
        "words", [NAME, "quillf zora", "Quillfeather, Zorabeth", "ZQUILL", "zquill@example.org", "990017", "new-1"]
    )
    def test_is_found_with_the_line_and_the_rule(
        self, cedar: District, tables: making.Tables, vera: Staff, words: str
    ) -> None:
        assert not User.objects.filter(family_name="Quillfeather").exists()
        page = _text(_look(_in(vera), cedar, words))
        line = len(tables["users"]) + 2
        assert f"line {line} {NAME} Set aside The row is not used. Nothing of it is live." in page
        rule = next(f for f in Sync.objects.latest("pk").findings.all() if f.file == "users.csv" and f.column == "role")
        assert rule.message in page and RULES[rule.code].next_step in page and rule.code in page
        assert "given name Zorabeth" in page and "role pupil" in page
        assert f"line {len(tables['enrollments']) + 2} {NAME}" in page
        assert "Leads nowhere The person that it names stands in users.csv, set aside" in page

    def test_is_not_among_the_live_people_whose_list_leads_here(self, cedar: District, vera: Staff) -> None:
        client = _in(vera)
        answer = client.post(f"/admin/rosters/user/?district={cedar.pk}", {"q": NAME})
        page = client.get(answer.headers["Location"])
        (link,) = [each for each in re.findall(r'href="([^"]+)"', page.text) if each.startswith(AT)]
        assert parse_qs(urlsplit(html.unescape(link)).query).keys() == {"district", "found"}
        assert "Set aside" in _text(client.get(html.unescape(link)))
        everywhere = client.get(client.post("/admin/rosters/user/", {"q": NAME}).headers["Location"])
        (link,) = [each for each in re.findall(r'href="([^"]+)"', everywhere.text) if each.startswith(AT)]
        choose = client.get(html.unescape(link))
        assert "In whose newest file?" in _text(choose) and NAME not in choose.text
        key = choose.context["search"]
        assert key.words == NAME
        found = client.get(AT, {"district": str(cedar.pk), "found": html.unescape(link).partition("found=")[2]})
        assert "Set aside" in _text(found)

    def test_the_districts_page_asks_for_a_name(self, cedar: District, vera: Staff) -> None:
        page = _in(vera).get(f"/admin/rosters/district/{cedar.pk}/change/").text
        (form,) = re.findall(rf'<form[^>]*action="{re.escape(AT)}\?district={cedar.pk}".*?</form>', page, re.DOTALL)
        assert 'method="post"' in form and 'name="who"' in form and "csrfmiddlewaretoken" in form

    def test_no_address_no_log_and_no_audit_row_says_who(
        self, cedar: District, vera: Staff, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = _in(vera)
        with caplog.at_level(logging.DEBUG):
            answer = client.post(f"{AT}?district={cedar.pk}", {"who": NAME})
            at = answer.headers["Location"]
            assert set(parse_qs(urlsplit(at).query)) == {"district", "found"}
            before = AuditEvent.objects.count()
            page = client.get(at)
        assert NAME.split()[1] in page.text
        links = re.findall(r'(?:href|action)="([^"]*)"', page.text)
        secret = ("zora", "quill", "new-1", "990017", "seat-1")
        assert not [link for link in links if any(word in link.lower() for word in secret)]
        ours = [record.getMessage() for record in caplog.records if not record.name.startswith("django.db")]
        assert not [said for said in ours if any(word in said.lower() for word in secret)]
        row = AuditEvent.objects.latest("pk")
        newest = Sync.objects.latest("pk")
        assert AuditEvent.objects.count() == before + 1
        assert (row.action, row.by, row.sync, row.subject) == (
            "delivery.looked_into",
            vera,
            newest,
            f"sync {newest.pk}",
        )
        assert (row.before, row.after) == ({}, {})

    def test_a_search_is_nobody_elses(self, cedar: District, vera: Staff, rita: Staff) -> None:
        at = _in(vera).post(f"{AT}?district={cedar.pk}", {"who": NAME}).headers["Location"]
        other = _in(rita).get(at)
        assert "That search is over" in other.text and "Quillfeather" not in other.text

    def test_an_earlier_file_is_chosen(self, cedar: District, vera: Staff) -> None:
        client = _in(vera)
        page = _look(client, cedar, NAME)
        first = Sync.objects.earliest("pk")
        (link,) = [each for each in re.findall(r'href="(\?[^"]*)"', page.text) if f"sync={first.pk}" in each]
        earlier = _text(client.get(f"{AT}{html.unescape(link)}"))
        assert "Nobody in this file is called so" in earlier
        odd = client.get(AT, {"district": str(cedar.pk), "sync": "1e9"})
        assert odd.context["sync"] == Sync.objects.latest("pk")
        for strange in ("999999", "x", "9" * 40):
            assert client.get(AT, {"district": strange}).status_code == 404

    def test_who_may_not_see_people_looks_nowhere(self, cedar: District, django_user_model: type[Staff]) -> None:
        nobody = django_user_model.objects.create_user("nora", password="a long enough password", is_staff=True)
        assert _in(nobody).post(f"{AT}?district={cedar.pk}", {"who": NAME}).status_code == 403
        assert Client().get(f"{AT}?district={cedar.pk}").status_code == 302
        assert not AuditEvent.objects.filter(action="delivery.looked_into").exists()

    def test_another_districts_person_is_not_found(self, cedar: District, trip: Trip, vera: Staff) -> None:
        maple = Trip(trip.folder, trip.by, name="Maple Falls", site_code="1002")
        maple.send(making.make_roster(users=60, seed=3, today=timezone.localdate(), name="Maple Falls"))
        assert "Nobody in this file is called so" in _text(_look(_in(vera), maple.district, NAME))
        theirs = Sync.objects.filter(district=cedar).latest("pk")
        kept = _look(_in(vera), maple.district, NAME, sync=str(theirs.pk))
        assert "Nobody in this file" in _text(kept) and kept.context["sync"].district == maple.district


class TestWhatBecameOfTheFile:
    """The newest file is looked into, whatever became of it."""

    def test_it_waits(self, trip: Trip, tables: making.Tables, vera: Staff) -> None:
        trip.go(trip.send(tables))
        waiting = trip.send(_with_new_pupil(tables, "student"))
        assert waiting.status == "ready"
        page = _text(_look(_in(vera), trip.district, NAME))
        assert "Would come This file waits for a decision" in page
        gone = tables["users"].filter(role="student")["sourcedId"][3]
        trip.send(_without(tables, gone))
        assert "Would be removed It is live, and not in this file." in _text(_look(_in(vera), trip.district, gone))

    def test_it_was_refused(self, trip: Trip, tables: making.Tables, vera: Staff) -> None:
        trip.go(trip.send(tables))
        users = _with_new_pupil(tables, "student")["users"]
        broken = {**_with_new_pupil(tables, "student"), "users": users.with_columns(role=pl.lit("pupil"))}
        refused = trip.send(broken)
        assert refused.status == "rejected"
        page = _text(_look(_in(vera), trip.district, NAME))
        assert "Needs a corrected file" in page and f"{NAME} Set aside" in page
        old = tables["users"].filter(role="student").row(0, named=True)
        assert "What was accepted last stays live" in _text(_look(_in(vera), trip.district, old["sourcedId"]))

    def test_it_changed_nothing_and_lies_in_another_order(self, trip: Trip, tables: making.Tables, vera: Staff) -> None:
        """What was found was found when it came first, where the lines were others; and it is told of this file's."""
        strange = pl.when(pl.int_range(pl.len()) == 7).then(pl.lit("no address")).otherwise("email")
        users = tables["users"].with_columns(email=strange)
        first = trip.go(trip.send({**tables, "users": users}))
        who, other = users["sourcedId"][7], users["sourcedId"][8]
        for again in ({**tables, "users": users}, {**tables, "users": users.reverse()}):
            same = trip.send(again)
            assert (same.status, same.findings.filter(code="OR-CSV-118").count()) == ("unchanged", 0)
            line = again["users"]["sourcedId"].to_list().index(who) + 2
            page = _text(_look(_in(vera), trip.district, who))
            assert f"line {line}" in page and RULES["OR-CSV-118"].next_step in page and "Nothing changed" in page
            assert "As it stands in the file" in page
            assert RULES["OR-CSV-118"].next_step not in _text(_look(_in(vera), trip.district, other))
        assert first.findings.filter(code="OR-CSV-118").exists()

    def test_a_value_that_was_left_out_is_named(self, trip: Trip, tables: making.Tables, vera: Staff) -> None:
        strange = pl.when(pl.int_range(pl.len()) == 7).then(pl.lit("sometimes")).otherwise("birthDate")
        trip.go(trip.send({**tables, "demographics": tables["demographics"].with_columns(birthDate=strange)}))
        client = _in(trip.by)
        page = _text(_look(client, trip.district, tables["demographics"]["sourcedId"][7]))
        assert "Live, with gaps Its row is live; not taken of it: birth date." in page and "sometimes" in page

    def test_a_file_about_one_school_takes_nobody_elsewhere(
        self, trip: Trip, tables: making.Tables, vera: Staff
    ) -> None:
        trip.go(trip.send(tables))
        here, there = tables["orgs"].filter(type="school")["sourcedId"].head(2)
        making.write_zip(trip.folder / "one.zip", tables)
        about = Scope(schools=(here,))
        one = syncs.receive(trip.district, trip.folder / "one.zip", origin="staff", name="one.zip", speaks_for=about)
        syncs.prepare(one.pk)
        other = tables["users"].filter((pl.col("orgSourcedIds") == there) & (pl.col("role") == "student"))
        page = _text(_look(_in(vera), trip.district, other["sourcedId"][0]))
        assert "Not taken This file does not speak for the school or term of this row" in page

    def test_a_line_that_is_no_row_is_found_by_a_name_in_it(
        self, trip: Trip, tables: making.Tables, vera: Staff
    ) -> None:
        path = trip.folder / "torn.zip"
        making.write_zip(path, _with_new_pupil(tables, "student"))
        with zipfile.ZipFile(path) as whole:
            files = {name: whole.read(name) for name in whole.namelist()}
        files["users.csv"] = files["users.csv"].replace(b"Quillfeather", b"Quillfeather, Jr.")
        with zipfile.ZipFile(path, "w") as torn:
            for name, content in files.items():
                torn.writestr(name, content)
        sync = trip.send_file(path)
        page = _text(_look(_in(vera), trip.district, NAME))
        assert f"line {len(tables['users']) + 2}" in page and "Set aside" in page and "The line begins: new-1,," in page
        assert sync.findings.filter(code="OR-CSV-045").get().message in page

    def test_what_a_file_of_changes_does_not_name_stays(self, trip: Trip, tables: making.Tables, vera: Staff) -> None:
        trip.go(trip.send(tables))
        old, gone = tables["users"].filter(role="student")["sourcedId"].head(2)
        leaves = tables["users"].filter(pl.col("sourcedId") == gone).with_columns(
            status=pl.lit("tobedeleted"), dateLastModified=pl.lit("2026-11-30T00:00:00.000Z")
        )  # fmt: skip
        trip.send({"users": leaves})
        page = _text(_look(_in(vera), trip.district, old))
        assert "Live, though not in this file" in page and "There is no enrollments.csv in it" in page
        assert "Would be removed" in _text(_look(_in(vera), trip.district, gone))

    def test_what_was_taken_back_is_said_to_be(self, trip: Trip, tables: making.Tables, vera: Staff) -> None:
        trip.go(trip.send(tables))
        second = trip.go(trip.send(_with_new_pupil(tables, "student")))
        trip.go(trip.undo(second))
        assert f"{NAME}: Taken back" in _text(_look(_in(vera), trip.district, NAME))

    def test_it_is_gone_or_cannot_be_opened(self, trip: Trip, tables: making.Tables, vera: Staff) -> None:
        sync = trip.send(tables)
        assert sync.delivery
        path = syncs.store().original(sync.district_id, sync.delivery.sha256)
        path.write_bytes(path.read_bytes()[:5000])
        assert "The file cannot be opened." in _text(_look(_in(vera), trip.district, NAME))
        path.unlink()
        assert "The file is not kept any more." in _text(_look(_in(vera), trip.district, NAME))

    def test_another_districts_file_is_not_looked_into(self, trip: Trip, tables: making.Tables, vera: Staff) -> None:
        trip.go(trip.send(tables))
        other = making.make_roster(users=80, seed=77, today=timezone.localdate(), name="Maple Falls")
        held = trip.send(other)
        assert held.holds.filter(code="WRONG_DISTRICT").exists()
        person = other["users"].row(0, named=True)
        page = _text(_look(_in(vera), trip.district, person["familyName"]))
        assert "it is not looked into here" in page and person["username"] not in page


def _without(tables: making.Tables, gone: str) -> making.Tables:
    return {
        **tables,
        "users": tables["users"].filter(pl.col("sourcedId") != gone),
        "enrollments": tables["enrollments"].filter(pl.col("userSourcedId") != gone),
        "demographics": tables["demographics"].filter(pl.col("sourcedId") != gone),
    }


class TestAPersonWhoIsLive:
    def test_a_dangling_enrollment_is_told_on_her_page(self, trip: Trip, tables: making.Tables, vera: Staff) -> None:
        who = tables["users"].filter(role="student")["sourcedId"][0]
        trip.go(trip.send(_dangling(tables, who)))
        person = User.objects.get(sourced_id=who)
        record = _in(vera).get(f"/admin/rosters/user/{person.pk}/change/").text
        assert f'href="/admin/rosters/user/{person.pk}/history/?line"' in record
        page = _text(_in(vera).get(f"/admin/rosters/user/{person.pk}/history/?line"))
        line = len(tables["enrollments"]) + 2
        assert f"line {line}" in page
        assert "Leads nowhere The class that it names is not in classes.csv" in page
        assert RULES["OR-CSV-172"].next_step in page
        assert "no line class-of-ms-lee Not in the file No line has this id, and nothing of it is live." in page
        first = page.index("Leads nowhere")
        assert first < page.index("As it stands in the file", page.index("enrollments.csv")), (
            "what is not live is first"
        )
        row = AuditEvent.objects.get(action="delivery.looked_into")
        assert (row.by, row.before, row.after) == (vera, {}, {})

    def test_demographics_are_told_to_those_who_may_see_them(
        self, trip: Trip, tables: making.Tables, vera: Staff, rita: Staff
    ) -> None:
        trip.go(trip.send(tables))
        child = tables["demographics"].filter(pl.col("birthDate") != "").row(0, named=True)
        person = User.objects.get(sourced_id=child["sourcedId"])
        for at in (f"/admin/rosters/user/{person.pk}/history/?line", ""):
            told = [
                _text(_in(staff).get(at) if at else _look(_in(staff), trip.district, child["sourcedId"]))
                for staff in (rita, vera)
            ]
            assert [child["birthDate"] in text for text in told] == [True, False]


def test_a_class_tells_of_all_who_are_to_be_in_it_those_who_are_not_first(
    trip: Trip, tables: making.Tables, vera: Staff
) -> None:
    seat = tables["enrollments"].filter(role="student").row(0, named=True)
    trip.go(trip.send(tables))
    assert trip.send(_with_new_pupil(tables, "pupil")).status == "unchanged"
    clazz = Class.objects.get(sourced_id=seat["classSourcedId"])
    page = _in(vera).get(f"/admin/rosters/class/{clazz.pk}/history/?line")
    classes, enrollments = page.context["trace"].parts
    assert [row.became.word for row in classes.rows] == ["Live"]
    there = tables["enrollments"].filter(classSourcedId=clazz.sourced_id)
    assert (len(enrollments.rows), enrollments.rows[0].became.word) == (len(there) + 1, "Leads nowhere")
    assert enrollments.rows[0].called == f"{NAME} · {clazz.title}"
    role = Role.objects.filter(district=trip.district).earliest("pk")
    assert "in OneRoster 1.1 roles stand in users.csv" in _text(
        _in(vera).get(f"/admin/rosters/role/{role.pk}/history/?line")
    )
