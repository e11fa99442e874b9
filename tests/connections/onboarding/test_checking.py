"""Check before sending: the same rules as for a delivery, said to the district, and nothing of it kept anywhere."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import zipfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from django.apps import apps
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from connections.models import Connection
from connections.onboarding import checking
from connections.onboarding.models import Person
from rosters import making, syncs
from rosters.models import District
from tests.rosters.reading.sets import manifest
from tests.rosters.test_check_roster import district, zipped

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from playwright.sync_api import Page
    from pytest_django import Settings
    from pytest_django.live_server_helper import LiveServer

pytestmark = [pytest.mark.django_db, pytest.mark.alike]

ComeIn = Callable[[Person], Client]
Send = Callable[..., str]
CHECK = "/district/check/"


@pytest.fixture
def client(dana: Person, come_in: ComeIn, data_dir: Path) -> Client:
    return come_in(dana)


def sent(client: Client, *files: tuple[str, bytes | str], answer: str = "page") -> Any:
    named = [
        SimpleUploadedFile(name, content if isinstance(content, bytes) else content.encode()) for name, content in files
    ]
    return client.post(CHECK, {"files": named, "answer": answer})


def words_of(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


def packed(files: Mapping[str, str | bytes], folder: str = "") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(f"{folder}{name}", text)
    return made.getvalue()


def unpacked(answer: Any) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


BROKEN = {"enrollments": ("role", "=SECRET-ROLE"), "demographics": ("asian", "maybe")}


def broken(**cells: tuple[str, str]) -> dict[str, str]:
    return district("1.1", **{**BROKEN, **cells})


def kept(folder: Path) -> dict[str, str]:
    """Every file with a content under a folder, by the digest of that; the places of a check's turn have none."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.stat().st_size
    }


def rows_of_every_table() -> dict[str, int]:
    return {model._meta.label: model._default_manager.count() for model in apps.get_models(include_auto_created=True)}


class TestNothingIsKept:
    @pytest.mark.parametrize("answer", ["page", "rows", "corrected"])
    def test_no_row_no_file_and_no_value_in_a_log(
        self,
        client: Client,
        data_dir: Path,
        settings: Settings,
        tmp_path_factory: pytest.TempPathFactory,
        caplog: pytest.LogCaptureFixture,
        answer: str,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path_factory.mktemp("uploads"))
        client.get(CHECK)
        rows, files = rows_of_every_table(), kept(data_dir)
        assert len(rows) > 20
        told = sent(client, ("roster.zip", packed(broken(), "out/")), answer=answer)
        assert told.status_code == 200
        assert (rows_of_every_table(), kept(data_dir)) == (rows, files)
        told.close()
        assert not list(Path(settings.FILE_UPLOAD_TEMP_DIR).iterdir())
        assert "SECRET-ROLE" not in caplog.text

    def test_a_fault_of_ours_is_told_without_a_value(
        self, client: Client, cedar: District, settings: Settings, caplog: pytest.LogCaptureFixture
    ) -> None:
        District.objects.filter(pk=cedar.pk).update(encoding="no such one")
        told = sent(client, ("roster.zip", packed(broken())))
        assert told.status_code == 500
        assert "The fault is ours" in words_of(told)
        assert "a check before sending: KeyError" in caplog.text
        assert "SECRET-ROLE" not in caplog.text


class TestThePage:
    def test_a_clean_zip_is_ready_to_send(self, client: Client) -> None:
        told = words_of(sent(client, ("roster.zip", packed(district()))))
        assert "Ready to send" in told
        assert "0 errors, 0 warnings. An import would use every row." in told
        assert "Nothing was stored." in told
        assert 'value="rows"' not in told

    def test_errors_are_told_with_line_reason_and_next_step(self, client: Client) -> None:
        told = words_of(sent(client, ("roster.zip", packed(broken()))))
        assert "Can be sent, with gaps" in told
        assert "enrollments.csv, role" in told
        assert '<td class="n">2</td><td>=SECRET-ROLE</td>' in told
        assert "What to do:" in told
        assert "these rows would be left out" in told
        assert 'href="/district/templates/enrollments/#role"' in told

    def test_it_finds_exactly_what_the_command_finds(
        self, client: Client, cedar: District, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        District.objects.filter(pk=cedar.pk).update(products=["literacy"])
        path = zipped(tmp_path / "roster.zip", broken(users=("email", "nobody at home")))
        out = io.StringIO()
        with pytest.raises(SystemExit):
            call_command("check_roster", str(path), "--product", "literacy", "--json", "-", stdout=out)
        told = sent(client, ("roster.zip", path.read_bytes()))
        ours = [told.finding.as_json() for told in told.context["findings"]]
        assert ours == json.loads(out.getvalue())["findings"]
        assert len(ours) > 2

    def test_what_is_no_delivery_is_refused_in_words(self, client: Client) -> None:
        told = words_of(sent(client, ("roster.zip", "<html>Please log in</html>")))
        assert "Needs a corrected file" in told
        assert "This cannot be read as a OneRoster delivery." in told

    def test_loose_files_are_checked_as_one_set(self, client: Client) -> None:
        files = district()
        assert "Ready to send" in words_of(sent(client, *files.items()))
        del files["users.csv"]
        assert "users.csv" in words_of(sent(client, *files.items()))

    def test_one_file_alone_is_checked_too(self, client: Client) -> None:
        told = sent(client, ("orgs.csv", district()["orgs.csv"]))
        assert [count["file"] for count in told.context["counts"]] == ["orgs.csv"]

    def test_what_cannot_be_checked_is_said(self, client: Client, settings: Settings) -> None:
        orgs = district()["orgs.csv"]
        assert "No file came" in words_of(sent(client))
        assert "Two of the files are called orgs.csv" in words_of(sent(client, ("orgs.csv", orgs), ("orgs.csv", orgs)))
        settings.UPLOAD_LIMIT = 10
        answer = sent(client, ("orgs.csv", orgs))
        assert answer.status_code == 422
        assert "more than 0 MB" in words_of(answer)

    def test_so_many_are_checked_at_once_and_the_next_waits_its_turn(
        self, client: Client, cedar: District, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(checking, "WAITS", 1.0)
        with checking._turn(["0"], 0, ""), checking._turn(["1"], 0, ""):
            busy = sent(client, ("roster.zip", packed(district())))
        assert busy.status_code == 503 and "Nothing was stored" in words_of(busy)
        monkeypatch.setattr(checking, "WAITS", 600.0)
        with checking._turn([f"district-{cedar.pk}"], 0, ""):
            ours = sent(client, ("roster.zip", packed(district())))
        assert ours.status_code == 503 and "A set of your district is being checked already" in words_of(ours)
        assert sent(client, ("roster.zip", packed(district()))).status_code == 200

    def test_a_name_of_any_length_is_taken(self, client: Client) -> None:
        assert "Ready to send" in words_of(sent(client, ("ü" * 250 + ".zip", packed(district()))))

    def test_nobody_comes_in_without_a_session(self) -> None:
        assert Client().get(CHECK).headers["Location"] == "/district/enter/"
        assert sent(Client(), ("roster.zip", packed(district()))).headers["Location"] == "/district/enter/"


class TestTheDistrictsOwn:
    def test_its_settings_count(self, client: Client, cedar: District) -> None:
        District.objects.filter(pk=cedar.pk).update(
            mappings={"demographics.asian": {"maybe": "false"}}, rule_overrides={"OR-CSV-134": "warning"}
        )
        told = sent(client, ("roster.zip", packed(broken())))
        severities = {each.finding.code: each.finding.severity for each in told.context["findings"]}
        assert severities["OR-CSV-134"] == "warning"
        assert "OR-CSV-106" not in severities

    def test_a_delta_stands_on_the_roster_that_is_live(
        self, client: Client, cedar: District, alice: Staff, data_dir: Path
    ) -> None:
        whole = district()
        row = next(csv.DictReader(io.StringIO(whole["enrollments.csv"])))
        row |= {"status": "active", "dateLastModified": "2026-01-05T00:00:00.000Z"}
        out = io.StringIO(newline="")
        writer = csv.DictWriter(out, list(row))
        writer.writeheader()
        writer.writerow(row)
        delta = packed({"manifest.csv": manifest("enrollments", mode="delta"), "enrollments.csv": out.getvalue()})
        assert "Needs a corrected file" in words_of(sent(client, ("delta.zip", delta)))
        applied(cedar, packed(whole), alice)
        assert "Ready to send" in words_of(sent(client, ("delta.zip", delta)))

    def test_it_tells_new_errors_from_those_of_the_last_delivery(
        self, client: Client, cedar: District, alice: Staff, data_dir: Path
    ) -> None:
        told = words_of(sent(client, ("roster.zip", packed(broken()))))
        assert "since your delivery" not in told
        one = packed(district(demographics=BROKEN["demographics"]))
        applied(cedar, one, alice)
        assert "none is new" in words_of(sent(client, ("roster.zip", one)))
        told = words_of(sent(client, ("roster.zip", packed(broken()))))
        assert "Of 2 errors, 1 is new since your delivery of" in told

    def test_it_hears_what_is_known_of_its_own_system(self, client: Client, cedar: District, maple: District) -> None:
        mails = packed(district(users=("email", "nobody at home")))
        Connection.objects.create(district=maple, kind="api", vendor="genesis")
        assert "In Genesis" not in words_of(sent(client, ("roster.zip", mails)))
        Connection.objects.create(district=cedar, kind="api", vendor="genesis")
        assert "In Genesis: Staff may have no e-mail address." in words_of(sent(client, ("roster.zip", mails)))


def applied(district: District, content: bytes, by: Staff) -> None:
    sync = syncs.receive(district, io.BytesIO(content), origin="staff", name="roster.zip", by=by)
    sync = syncs.prepare(sync.pk) or sync
    syncs.approve(sync, by=by, plan_digest=sync.plan_digest)
    assert syncs.apply(sync.pk)


class TestWhatTheyWouldChange:
    """Files are held against what is live, as a delivery would be: before they are sent, not after."""

    @pytest.fixture
    def tables(self) -> making.Tables:
        return making.make_roster(users=300, seed=4, today=timezone.localdate(), name="Cedar Grove")

    @pytest.fixture
    def send(self, client: Client, cedar: District, alice: Staff, tmp_path: Path, tables: making.Tables) -> Send:
        """Check a roster of a district in which another one is live."""
        path = tmp_path / "live.zip"
        making.write_zip(path, tables)
        sync = syncs.receive(cedar, path, origin="staff", name="live.zip", by=alice)
        sync = syncs.prepare(sync.pk) or sync
        syncs.approve(sync, by=alice, plan_digest=sync.plan_digest)
        syncs.apply(sync.pk)

        def check(roster: making.Tables, **asked: str) -> str:
            making.write_zip(path, roster)
            answer = client.post(CHECK, {"files": SimpleUploadedFile("x.zip", path.read_bytes()), **asked})
            return unescape(words_of(answer))

        return check

    def test_an_ordinary_day_in_numbers(
        self, send: Send, tables: making.Tables, data_dir: Path, settings: Settings, tmp_path_factory: Any
    ) -> None:
        settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path_factory.mktemp("uploads"))
        rows, files = rows_of_every_table(), kept(data_dir / "syncs")
        tomorrow, differs = making.next_day(tables, change=0.01, seed=2)
        page = send(tomorrow)
        assert "What they would change" in page and "Nothing unusual:" in page and "Ready to send" in page
        people = differs["users"]
        lived = len(tables["users"])
        assert f'People</th><td class="n" data-label="Live now">{lived}</td>' in page
        assert f'data-label="+ come">{len(people["added"])}</td>' in page.split("People</th>")[1].split("</tr>")[0]
        assert "From grade to grade" not in page
        assert (rows_of_every_table(), kept(data_dir / "syncs")) == (rows, files)
        assert not list(Path(settings.FILE_UPLOAD_TEMP_DIR).iterdir())

    def test_the_same_roster_changes_nothing(self, send: Send, tables: making.Tables) -> None:
        assert "Nothing: the roster in these files is the one that is live." in send(tables)

    def test_what_we_would_ask_is_known_before(self, send: Send, tables: making.Tables) -> None:
        page = send(making.without_school(tables, 0))
        assert "Can be sent, and we would ask" in page
        school = tables["orgs"].filter(pl.col("type") == "school")["name"][0]
        told = page.split("somebody at our end would stop and ask whether this is right:")[1].split("</ul>")[0]
        assert school in told

    def test_next_year_is_tried_out_as_of_its_first_day(
        self, send: Send, tables: making.Tables, cedar: District
    ) -> None:
        day = cedar.local_date(timezone.now()) + timedelta(weeks=30)
        page = send(making.rollover(tables, seed=3)[0], as_if_on=day.isoformat())
        assert f"What they would change on {day.day} {day:%B %Y}" in page and "From grade to grade" in page
        assert "This looks like the turn of the school year" in page
        assert f'value="{day.isoformat()}"' in page
        for wrong in ("yesterday", "2020-01-01", "2199-01-01"):
            assert "Nothing was stored" in send(tables, as_if_on=wrong) and "Live now" not in send(
                tables, as_if_on=wrong
            )

    def test_of_another_districts_roster_nothing_is_told(
        self, send: Send, maple: District, alice: Staff, tmp_path: Path
    ) -> None:
        others = making.make_roster(users=300, seed=9, today=timezone.localdate(), name="Maple Hill")
        path = tmp_path / "maple.zip"
        making.write_zip(path, others)
        sync = syncs.receive(maple, path, origin="staff", name="maple.zip", by=alice)
        sync = syncs.prepare(sync.pk) or sync
        syncs.approve(sync, by=alice, plan_digest=sync.plan_digest)
        syncs.apply(sync.pk)
        page = send(others)
        assert "Would not be taken" in page and "It looks like another district’s roster." in page
        assert "Maple" not in page and "Live now" not in page and "From grade to grade" not in page

    def test_before_anything_is_live_there_is_nothing_to_change(self, client: Client) -> None:
        assert "What they would change" not in words_of(sent(client, ("roster.zip", packed(district("1.1")))))


class TestDownloads:
    def test_the_faulty_rows_come_with_the_reason_and_no_formula(self, client: Client) -> None:
        files = unpacked(sent(client, ("roster.zip", packed(broken())), answer="rows"))
        assert set(files) == {"enrollments-faulty-rows.csv", "demographics-faulty-rows.csv"}
        (row,) = csv.DictReader(io.StringIO(files["enrollments-faulty-rows.csv"].decode("utf-8-sig")))
        assert (row["line"], row["role"]) == ("2", "'=SECRET-ROLE")
        assert row["why"].startswith("role: ")
        assert row["sourcedId"]

    def test_of_a_row_that_cannot_be_read_there_is_its_line(self, client: Client) -> None:
        files = district()
        files["orgs.csv"] += "too,few\r\n"
        rows = unpacked(sent(client, ("roster.zip", packed(files)), answer="rows"))["orgs-faulty-rows.csv"]
        (row,) = csv.DictReader(io.StringIO(rows.decode("utf-8-sig")))
        assert (row["line"], row["sourcedId"]) == (str(len(files["orgs.csv"].splitlines())), "")

    def test_a_clean_set_has_none(self, client: Client) -> None:
        told = sent(client, ("roster.zip", packed(district())), answer="rows")
        assert "No row has an error." in words_of(told)
        told = sent(client, ("roster.zip", packed(district())), answer="corrected")
        assert "There is nothing we can mend." in words_of(told)

    def test_a_corrected_zip_is_offered_with_what_it_changes_and_has_fewer_findings(self, client: Client) -> None:
        crooked_zip = packed(crooked(), "export/")
        before = sent(client, ("roster.zip", crooked_zip))
        told = words_of(before)
        assert "The files were taken out of the folder around them." in told
        assert "written as UTF-8" in told
        corrected = sent(client, ("roster.zip", crooked_zip), answer="corrected")
        after = sent(client, ("roster.zip", corrected.content))
        assert "Needs a corrected file" in told
        assert "Ready to send" in words_of(after)
        assert len(after.context["findings"]) < len(before.context["findings"])

    def test_who_is_read_in_an_encoding_of_its_own_must_keep_it(self, client: Client, cedar: District) -> None:
        District.objects.filter(pk=cedar.pk).update(encoding="windows-1252")
        assert not sent(client, ("roster.zip", packed(crooked(), "export/"))).context["changes"]

    def test_what_cannot_be_opened_is_not_mended(self, client: Client) -> None:
        told = sent(client, ("roster.zip", b"PK\x03\x04 and no more"), answer="corrected")
        assert "There is nothing we can mend." in words_of(told)


def crooked() -> dict[str, str | bytes]:
    """A set with every fault that can be mended but the folder."""
    files: dict[str, str | bytes] = dict(district())
    orgs, users = str(files["orgs.csv"]), str(files["users.csv"])
    files["orgs.csv"] = orgs.replace("Cedar Grove", "Cédar Grove").encode("cp1252")
    files["users.csv"] = users.replace("sourcedId", "SourcedID", 1).replace(",true,", ",TRUE,")
    return files


@pytest.mark.looks
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
@pytest.mark.django_db(transaction=True)
def test_with_the_keyboard_alone_a_broken_set_then_a_good_one(
    live_server: LiveServer,
    page: Page,
    dana: Person,
    come_in: ComeIn,
    data_dir: Path,
    tmp_path: Path,
    width: int,
    scheme: str,
) -> None:
    from tests.browser.looking import faults_of

    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    cookie = come_in(dana).cookies["district"].value
    page.context.add_cookies([{"name": "district", "value": cookie, "url": f"{live_server.url}/district/"}])
    page.goto(live_server.url + CHECK)
    faults = faults_of(page, width, complaints)

    def check(files: dict[str, Any]) -> None:
        page.set_input_files("#files", zipped(tmp_path / "roster.zip", files))
        page.focus("#files")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_selector("#verdict")
        assert page.evaluate("document.activeElement.id") == "verdict"

    check(broken())
    assert page.is_visible("text=Can be sent, with gaps")
    faults += faults_of(page, width, complaints)
    page.keyboard.press("Tab")
    with page.expect_download() as rows:
        page.keyboard.press("Enter")
    assert rows.value.suggested_filename == "faulty-rows.zip"
    check(district())
    assert page.is_visible("text=Ready to send")
    faults += faults_of(page, width, complaints)
    assert not faults, faults
