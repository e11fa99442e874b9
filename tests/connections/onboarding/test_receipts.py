"""What a district is told of each delivery, to its end; and that nobody else is."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from connections.onboarding import checking, receipts
from connections.onboarding.models import Person
from rosters import making, syncs
from rosters.models import AuditEvent, District, Sync
from rosters.scope import Scope
from tests.queue import work_off

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]

ComeIn = Callable[[Person], Client]


@pytest.fixture
def zipped(tmp_path: Path, tables: making.Tables) -> bytes:
    making.write_zip(tmp_path / "monday.zip", tables)
    return (tmp_path / "monday.zip").read_bytes()


def sent(client: Client, name: str, content: bytes) -> str:
    """Send a file by the form; the address of its receipt."""
    answer = client.post("/district/send/", {"files": [SimpleUploadedFile(name, content)]})
    assert answer.status_code == 302
    return str(answer.headers["Location"])


def told(client: Client, at: str) -> str:
    return client.get(at).content.decode()


class TestAReceipt:
    def test_it_follows_a_delivery_until_it_is_live_and_then_stops(
        self, sam: Person, dana: Person, come_in: ComeIn, zipped: bytes, alice: Staff
    ) -> None:
        client = come_in(sam)
        at = sent(client, "monday.zip", zipped)
        page = told(client, at)
        assert all(word in page for word in ("On its way", "Waits to be checked", "sent by Sam Okafor", "every 2s"))
        again = client.get(at, headers={"HX-Request": "true"}).content.decode()
        assert "every 2s" in again
        assert "<h1>" not in again
        work_off()
        page = told(come_in(dana), at)  # a colleague sees it too
        assert "Waits for somebody at our end" in page
        assert "every 2s" not in page
        assert "users.csv" in page and "every 5s" in page
        sync = Sync.objects.get()
        syncs.approve(sync, by=alice, plan_digest=sync.plan_digest)
        assert "Going live." in told(client, at)
        syncs.apply(sync.pk)
        assert "Looked at by somebody at our end, and let through." in told(client, at)
        assert '<div>Live.<span class="visually-hidden">' in told(client, at)
        undo = syncs.prepare(syncs.undo(Sync.objects.get(), by=alice).pk)
        assert undo is not None
        syncs.approve(undo, by=alice, plan_digest=undo.plan_digest)
        syncs.apply(undo.pk)
        assert "we have taken it back since" in told(client, at)
        assert "Taken back" in told(client, "/district/")

    def test_a_refused_file_says_its_first_cause_and_whom_to_ask(
        self, sam: Person, come_in: ComeIn, zipped: bytes, alice: Staff
    ) -> None:
        District.objects.update(owner=alice)
        client = come_in(sam)
        at = sent(client, "monday.zip", zipped[: len(zipped) // 2])
        work_off()
        page = told(client, at)
        assert "Needs a corrected file" in page
        assert Sync.objects.get().verdict in page
        assert "alice@portal.test" in page
        assert "OR-CSV-" in page
        assert "send it again" in told(client, "/district/")
        sent(client, "tuesday.zip", zipped)
        work_off()
        assert "a newer file has come since" in told(client, at) and "send it again" not in told(client, at)
        assert "send it again" not in told(client, "/district/")

    def test_a_declined_one_says_why(self, sam: Person, come_in: ComeIn, zipped: bytes, alice: Staff) -> None:
        client = come_in(sam)
        at = sent(client, "monday.zip", zipped)
        work_off()
        syncs.decline(Sync.objects.get(), by=alice, reason="The summer school is missing.")
        assert "The summer school is missing." in told(client, at)

    def test_the_file_and_the_findings_can_be_taken_home(
        self, sam: Person, come_in: ComeIn, tables: making.Tables, tmp_path: Path
    ) -> None:
        formula = pl.lit("=cmd|' /C calc'!A1").alias("role")
        making.write_zip(tmp_path / "twice.zip", {**tables, "users": tables["users"].with_columns(formula)})
        content = (tmp_path / "twice.zip").read_bytes()
        client = come_in(sam)
        at = sent(client, "twice.zip", content)
        work_off()
        answer = client.get(f"{at}file/")
        assert b"".join(answer.streaming_content) == content  # type: ignore[attr-defined]
        assert 'filename="twice.zip"' in answer.headers["Content-Disposition"]
        lines = b"".join(client.get(f"{at}findings/").streaming_content).decode()  # type: ignore[attr-defined]
        rows = list(csv.reader(io.StringIO(lines.lstrip("\ufeff"))))
        assert any("cmd|" in cell for row in rows for cell in row)
        assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
        taken = AuditEvent.objects.filter(action__startswith="person.took").order_by("pk")
        told = [(row.action, row.by, row.subject, row.sync) for row in taken]
        mine = (None, f"person {sam.pk}", Sync.objects.get())
        assert told == [("person.took_file", *mine), ("person.took_findings", *mine)]


def came(district: District, tables: making.Tables, days_ago: int, **about: Any) -> Sync:
    """A delivery that came by itself so many days ago, and was checked."""
    packed = io.BytesIO()
    making.write_zip(packed, tables)
    moment = timezone.now() - timedelta(days=days_ago)
    packed.seek(0)
    sync = syncs.receive(district, packed, origin="sftp", name=f"{days_ago}.zip", now=moment, **about)
    return syncs.prepare(sync.pk) or sync


def with_faults(tables: making.Tables, **columns: str) -> making.Tables:
    """The tables with one bad cell in each of these columns of users or, where they have none, demographics."""
    found = dict(tables)
    for column, value in columns.items():
        table = "users" if column in tables["users"].columns else "demographics"
        first = pl.int_range(pl.len()) == 0
        cell = pl.when(first).then(pl.lit(value)).otherwise(column).alias(column)
        found[table] = found[table].with_columns(cell)
    return found


def day(moment: datetime, district: District) -> str:
    local = moment.astimezone(district.zone)
    return f"{local.day} {local:%B}"


class TestHowLongAFindingHasBeenThere:
    EMAIL = {"email": "nobody at home"}

    def test_what_is_new_what_stays_and_what_is_gone(
        self, sam: Person, cedar: District, come_in: ComeIn, tables: making.Tables
    ) -> None:
        client = come_in(sam)
        assert "What stays wrong" not in told(client, "/district/")
        first = came(cedar, with_faults(tables, **self.EMAIL, sex="=some"), 20)
        page = told(client, f"/district/sent/{receipts.key_of(first)}/")
        assert 'class="chip"' not in page, "of a first delivery nothing can be said"
        second = came(cedar, with_faults(tables, **self.EMAIL, birthDate="someday"), 12)
        page = told(client, f"/district/sent/{receipts.key_of(second)}/")
        since = f"since {day(first.received_at, cedar)}"
        assert f"here for 8 days, {since}" in page
        assert page.count("new since last time") == 2, "no date, and not to be believed as one"
        assert f"<b>1 is gone</b> since your delivery of {day(first.received_at, cedar)}" in page
        assert "demographics.csv, sex" in page.partition("is gone")[2]
        third = came(cedar, with_faults(tables, birthDate="someday"), 0)
        home = told(client, "/district/").partition("What stays wrong")[2]
        assert f"here for 12 days, since {day(second.received_at, cedar)}" in home
        assert "users.csv, email" in home.partition("<b>1 is gone</b>")[2]
        assert f"/district/sent/{receipts.key_of(third)}/#findings" in home
        came(cedar, tables, 0)
        home = told(client, "/district/")
        assert "Nothing any more" in home and "demographics.csv, birthDate" in home

    def test_what_came_back_is_new_again_and_what_was_only_tried_out_counts_for_nothing(
        self, sam: Person, cedar: District, come_in: ComeIn, tables: making.Tables
    ) -> None:
        bad = with_faults(tables, **self.EMAIL)
        came(cedar, bad, 30)
        came(cedar, tables, 20)
        came(cedar, bad, 15, dry_run=True)
        last = came(cedar, bad, 5)
        assert "new since last time" in told(come_in(sam), f"/district/sent/{receipts.key_of(last)}/")
        assert "here for 5 days" in told(come_in(sam), "/district/")
        came(cedar, bad, 3)
        assert "here for 5 days" in told(come_in(sam), "/district/")

    def test_deliveries_about_other_schools_and_files_that_did_not_come_say_nothing(
        self, sam: Person, cedar: District, come_in: ComeIn, tables: making.Tables, alice: Staff
    ) -> None:
        whole = came(cedar, with_faults(tables, **self.EMAIL), 20)
        syncs.approve(whole, by=alice, plan_digest=whole.plan_digest)
        syncs.apply(whole.pk)
        cedar.refresh_from_db()
        school = tables["orgs"].filter(pl.col("type") == "school")["sourcedId"][0]
        came(cedar, with_faults(tables, birthDate="someday"), 12, speaks_for=Scope(schools=(school,)))
        later = came(cedar, with_faults(tables, **self.EMAIL, birthDate="someday"), 4)
        page = told(come_in(sam), f"/district/sent/{receipts.key_of(later)}/")
        assert "here for 16 days" in page and "new since last time" in page and "gone</b>" not in page
        without = {name: table for name, table in tables.items() if name != "demographics"}
        page = told(come_in(sam), f"/district/sent/{receipts.key_of(came(cedar, without, 0))}/")
        assert "<b>1 is gone</b>" in page and "users.csv, email" in page
        assert "demographics.csv, birthDate" not in page.partition("gone</b>")[2]

    def test_a_file_that_is_checked_again_is_compared_with_the_delivery_before(
        self, cedar: District, tables: making.Tables, alice: Staff
    ) -> None:
        came(cedar, tables, 9)
        District.objects.update(hold_limits={"bad_rows": 0, "bad_share": 0.0})
        bad = came(District.objects.get(), with_faults(tables, sourcedId=""), 5)
        assert bad.status == "rejected"
        again = syncs.prepare(syncs.retry(bad, by=alice).pk)
        assert again is not None and again.findings.filter(severity="error").exists()
        assert [each.is_new for each in again.findings.all()] == [each.is_new for each in bad.findings.all()]
        assert again.findings.filter(is_new=True).exists()


class TestTheFaultyRows:
    """Of a delivery that came by itself, at night."""

    def test_they_come_with_the_reasons_as_after_a_check_by_hand(
        self, sam: Person, cedar: District, come_in: ComeIn, tables: making.Tables
    ) -> None:
        client = come_in(sam)
        clean = came(cedar, tables, 3)
        at = f"/district/sent/{receipts.key_of(clean)}/"
        assert "faulty rows" not in told(client, at) and client.get(f"{at}rows/").status_code == 404
        bad = with_faults(tables, birthDate="=someday", role="=cmd")
        sync = came(cedar, bad, 1)
        District.objects.update(not_kept=["demographics.sex"])
        at = f"/district/sent/{receipts.key_of(sync)}/"
        assert f'href="{at}rows/">Download the faulty rows, with reasons' in told(client, at)
        answer = client.get(f"{at}rows/")
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            rows = {name: archive.read(name).decode("utf-8-sig") for name in archive.namelist()}
        assert {"users-faulty-rows.csv", "demographics-faulty-rows.csv"} <= set(rows)
        (user,) = csv.DictReader(io.StringIO(rows["users-faulty-rows.csv"]))
        assert (user["line"], user["role"], user["sourcedId"]) == ("2", "'=cmd", tables["users"]["sourcedId"][0])
        assert user["why"].startswith("role: ")
        (born,) = csv.DictReader(io.StringIO(rows["demographics-faulty-rows.csv"]))
        assert born["birthDate"] == "'=someday" and "sex" not in born, "what is not kept is not handed out"
        taken = AuditEvent.objects.get(action="person.took_rows")
        assert (taken.by, taken.subject, taken.sync) == (None, f"person {sam.pk}", sync)
        assert "=someday" not in str(taken.after)

    def test_they_are_told_by_the_day_it_came_and_the_settings_as_they_are(
        self, sam: Person, cedar: District, come_in: ComeIn, tables: making.Tables
    ) -> None:
        client, bad = come_in(sam), with_faults(tables, role="lead")
        sync = came(cedar, bad, 2)
        at = f"/district/sent/{receipts.key_of(sync)}/rows/"
        assert client.get(at).headers["Content-Type"] == "application/zip"
        District.objects.update(mappings={"users.role": {"lead": "teacher"}})
        healed = client.get(at, follow=True)
        assert "No row of this file has an error by the settings as they are now." in healed.content.decode()
        assert AuditEvent.objects.filter(action="person.took_rows").count() == 1

    def test_a_row_is_as_it_stands_in_the_file_also_where_its_id_is_kept_as_another(
        self, sam: Person, cedar: District, come_in: ComeIn, tables: making.Tables, alice: Staff
    ) -> None:
        first = came(cedar, tables, 5)
        syncs.approve(first, by=alice, plan_digest=first.plan_digest)
        syncs.apply(first.pk)
        cedar.refresh_from_db()
        old = tables["users"]["sourcedId"][0]
        pairs = pl.DataFrame([(old, "new-id")], schema=["old", "new"], orient="row")
        syncs.keep_listed(cedar, "users", pairs, by=alice)
        renamed = with_faults(tables, sourcedId="new-id", role="lead")
        sync = came(District.objects.get(), renamed, 1)
        answer = come_in(sam).get(f"/district/sent/{receipts.key_of(sync)}/rows/")
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            text = archive.read("users-faulty-rows.csv").decode("utf-8-sig")
        assert "new-id" in [row["sourcedId"] for row in csv.DictReader(io.StringIO(text))]

    def test_one_at_a_time_and_only_while_the_file_is_kept(
        self, sam: Person, cedar: District, come_in: ComeIn, tables: making.Tables
    ) -> None:
        client = come_in(sam)
        sync = came(cedar, with_faults(tables, role="lead"), 500)
        at = f"/district/sent/{receipts.key_of(sync)}/"
        with checking.turn_of(cedar):
            busy = client.get(f"{at}rows/", follow=True).content.decode()
        assert "A set of your district is being checked already. Ask for the faulty rows again in a minute." in busy
        assert not AuditEvent.objects.filter(action="person.took_rows").exists()
        assert client.get(f"{at}rows/").status_code == 200
        Sync.objects.update(status="superseded")
        syncs.forget(cedar.pk)
        assert "We deleted the file" in told(client, at)
        assert "faulty rows" not in told(client, at) and client.get(f"{at}rows/").status_code == 404

    def test_a_fault_of_ours_is_told_without_a_value(
        self, sam: Person, cedar: District, come_in: ComeIn, tables: making.Tables, caplog: pytest.LogCaptureFixture
    ) -> None:
        sync = came(cedar, with_faults(tables, role="SECRET-ROLE"), 1)
        District.objects.update(encoding="no such one")
        answer = come_in(sam).get(f"/district/sent/{receipts.key_of(sync)}/rows/", follow=True)
        assert "The fault is ours" in answer.content.decode()
        assert "KeyError" in caplog.text and "SECRET-ROLE" not in caplog.text


class TestTheHistory:
    def test_it_holds_what_came_by_any_way_twenty_a_page_newest_first(
        self, sam: Person, cedar: District, come_in: ComeIn, zipped: bytes
    ) -> None:
        client = come_in(sam)
        assert "Nothing has come yet" in told(client, "/district/sent/")
        for number in range(20):
            origin = ("sftp", "rest", "staff", "command")[number % 4]
            syncs.receive(cedar, io.BytesIO(b"%d" % number), origin=origin, name=f"{number}.zip")
        at = sent(client, "monday.zip", zipped)
        page = told(client, "/district/sent/")
        assert page.index("monday.zip") < page.index("19.zip")
        assert at in page
        assert all(way in page for way in ("by SFTP", "by the API", "by our staff", "sent by Sam Okafor"))
        assert "0.zip</td>" not in page.replace("10.zip", "")
        last = told(client, "/district/sent/?page=2")
        assert "0.zip" in last
        key = last.partition('<a href="/district/sent/2')[2].partition("/")[0]
        assert "by SFTP" in told(client, f"/district/sent/2{key}/")


class TestAnotherDistrict:
    def test_its_people_find_nothing_at_any_address(
        self, sam: Person, maple: District, cedar: District, come_in: ComeIn, zipped: bytes
    ) -> None:
        client = come_in(sam)
        at = sent(client, "monday.zip", zipped)
        fetched = syncs.receive(cedar, io.BytesIO(zipped), origin="sftp", name="tuesday.zip")
        begun = client.post(
            "/district/send/begin/",
            {"files": [{"name": "a.zip", "size": 9, "modified": 1, "head": ""}]},
            content_type="application/json",
        ).json()
        by_moment = f"/district/sent/{fetched.received_at:%Y%m%dT%H%M%S%f}/"
        addresses = [f"{each}{rest}" for each in (at, by_moment) for rest in ("", "file/", "findings/")]
        other = come_in(maple.people.create(name="Mo Lind", email="mo@maple.test", role="owner"))
        for address in addresses:
            answer = client.get(address)
            assert answer.status_code == 200, address
            b"".join(getattr(answer, "streaming_content", ()))  # a file that is not read to its end stays open
            assert other.get(address).status_code == 404, address
            assert Client().get(address).headers["Location"] == "/district/enter/"
        assert other.put(begun["next"], b"x").status_code == 404
        assert "tuesday.zip" not in told(other, "/district/sent/") + told(other, "/district/send/")
        assert "a.zip" not in told(other, "/district/send/")

    def test_an_open_upload_has_no_receipt_and_nonsense_is_not_found(self, sam: Person, come_in: ComeIn) -> None:
        client = come_in(sam)
        begun = client.post(
            "/district/send/begin/",
            {"files": [{"name": "a.zip", "size": 9, "modified": 1, "head": ""}]},
            content_type="application/json",
        ).json()
        uid = begun["next"].split("/")[3]
        for key in (uid, "1", "x" * 36, "20261340T000000000000", "20261124T000000000000"):
            assert client.get(f"/district/sent/{key}/").status_code == 404


def test_the_first_page_says_what_may_be_left_empty(
    cedar: District, sam: Person, come_in: ComeIn, alice: Staff
) -> None:
    client = come_in(sam)
    assert "What we do not keep" not in told(client, "/district/")
    syncs.keep_without(cedar, ["users.phone", "demographics.sex", "demographics.asian"], by=alice)
    page = told(client, "/district/")
    assert "we do not keep: phone, sex of demographics, asian of demographics." in page
