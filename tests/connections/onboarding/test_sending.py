"""What a district sends by hand: whole or in pieces, from two tabs, with a broken line; and what is never taken."""

from __future__ import annotations

import base64
import hashlib
import io
import threading
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.db.utils import IntegrityError
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django import Settings

from connections.onboarding import sending
from connections.onboarding.models import Person, Upload
from connections.tasks import minute
from rosters import making, syncs
from rosters.models import AuditEvent, Delivery, Sync
from tests.queue import work_off

pytestmark = pytest.mark.django_db

ComeIn = Callable[[Person], Client]
SEND, BEGIN = "/district/send/", "/district/send/begin/"


@pytest.fixture(autouse=True)
def folder(data_dir: Path) -> Path:
    return data_dir / "incoming-uploads"


@pytest.fixture
def zipped(tmp_path: Path, tables: making.Tables) -> bytes:
    making.write_zip(tmp_path / "monday.zip", tables)
    return (tmp_path / "monday.zip").read_bytes()


def announced(client: Client, *files: tuple[str, int], head: str = "7", status: int = 200) -> dict[str, Any]:
    """What the server answers to a script that wants to send files (name, bytes)."""
    about = [{"name": name, "size": size, "modified": 5, "head": head} for name, size in files]
    answer = client.post(BEGIN, {"files": about}, content_type="application/json")
    assert answer.status_code == status
    return dict(answer.json())


def put(client: Client, at: str, piece: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    answer = client.put(at, piece, content_type="application/octet-stream", headers=headers)
    return answer.status_code, answer.json()


def form(name: str, content: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content)


class TestInPieces:
    def test_what_went_up_in_pieces_is_what_was_sent_and_has_a_receipt(
        self, sam: Person, come_in: ComeIn, zipped: bytes, folder: Path
    ) -> None:
        client = come_in(sam)
        told = announced(client, ("monday.zip", len(zipped)))
        while not told["receipt"]:
            assert not Delivery.objects.exists()
            start = told["received"]
            status, told = put(client, told["next"], zipped[start : start + 4000])
            assert status == 200
        upload = Upload.objects.get()
        assert upload.delivery is not None and upload.sync is not None and upload.number is not None
        assert (upload.status, upload.delivery.sha256) == ("kept", hashlib.sha256(zipped).hexdigest())
        assert (upload.delivery.origin, upload.delivery.name, upload.person) == ("district", "monday.zip", sam)
        assert syncs.store().original(sam.district_id, upload.delivery.sha256).read_bytes() == zipped
        assert not list(folder.iterdir())
        assert AuditEvent.objects.get(action="person.sent").sync == upload.sync
        assert work_off() == 1
        assert Sync.objects.get().status == "awaiting_review"
        assert upload.number in client.get(told["receipt"]).content.decode()

    def test_a_part_of_it_is_not_taken_for_the_whole(self, sam: Person, come_in: ComeIn, folder: Path) -> None:
        """The disk lost the end: a loose file that is cut off at the end of a line would look whole in the zip."""
        client = come_in(sam)
        put(client, announced(client, ("users.csv", 9), ("orgs.csv", 7))["next"], b"u\n1\n2\n3\n4"[:9])
        upload = Upload.objects.get()
        Upload.objects.update(received=16)
        upload.refresh_from_db()
        with pytest.raises(OSError, match="not all"):
            sending.keep(upload, timezone.now())
        assert not Delivery.objects.exists()

    def test_of_two_tabs_that_bring_the_last_piece_both_get_the_receipt(
        self, sam: Person, come_in: ComeIn, zipped: bytes
    ) -> None:
        client = come_in(sam)
        at = announced(client, ("monday.zip", len(zipped)))["next"]
        slower = Upload.objects.get()
        assert put(client, at, zipped)[1]["receipt"]
        assert sending.keep(slower, timezone.now()).number == Upload.objects.get().number
        assert Delivery.objects.count() == 1

    def test_one_csv_file_stays_what_it_is(self, sam: Person, come_in: ComeIn) -> None:
        """As it is checked: a file that comes alone needs no manifest."""
        client = come_in(sam)
        content = b"sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId\no-1,,,Cedar,district,,\n"
        put(client, announced(client, ("orgs.csv", len(content)))["next"], content)
        assert work_off() == 1
        delivery = Delivery.objects.get()
        assert (delivery.name, delivery.sha256) == ("orgs.csv", hashlib.sha256(content).hexdigest())
        codes = set(Sync.objects.get().findings.values_list("code", flat=True))
        assert "OR-CSV-009" not in codes

    def test_the_same_files_go_on_where_they_stopped_and_others_begin_anew(self, sam: Person, come_in: ComeIn) -> None:
        client, other_tab = come_in(sam), come_in(sam)
        put(client, announced(client, ("monday.zip", 1000))["next"], b"x" * 300)
        assert announced(other_tab, ("monday.zip", 1000))["received"] == 300
        assert announced(other_tab, ("monday.zip", 1000), head="8")["received"] == 0
        assert Upload.objects.count() == 2

    def test_two_tabs_that_send_the_same_piece_do_not_corrupt_it(
        self, sam: Person, come_in: ComeIn, zipped: bytes
    ) -> None:
        first, second = come_in(sam), come_in(sam)
        at = announced(first, ("monday.zip", len(zipped)))["next"]
        assert put(first, at, zipped[:5000])[0] == 200
        status, told = put(second, at, zipped[:7000])
        assert (status, told["code"], told["received"]) == (409, "SEND-OFFSET", 5000)
        status, told = put(second, told["next"], zipped[5000:])
        assert told["receipt"]
        again = put(first, at.replace("/0/", "/5000/"), zipped[5000:])
        assert again == (200, told)
        assert Delivery.objects.get().sha256 == hashlib.sha256(zipped).hexdigest()
        assert OrmQ.objects.count() == 1

    def test_a_piece_that_changed_on_its_way_or_is_too_much_is_not_taken(
        self, sam: Person, come_in: ComeIn, folder: Path
    ) -> None:
        client = come_in(sam)
        at = announced(client, ("monday.zip", 5 << 20))["next"]
        digest = base64.b64encode(hashlib.sha256(b"good").digest()).decode()
        for piece, headers in (
            (b"goof", {"Content-Digest": f"sha-256=:{digest}:"}),
            (b"x" * (sending.PIECE + 1), {}),
        ):
            status, told = put(client, at, piece, **headers)
            assert (status, told["code"], told["received"]) == (400, "SEND-PIECE", 0)
        assert put(client, at, b"good", **{"Content-Digest": f"sha-256=:{digest}:"})[1]["received"] == 4
        assert next(folder.iterdir()).read_bytes() == b"good"

    def test_more_than_was_announced_is_not_taken(self, sam: Person, come_in: ComeIn) -> None:
        client = come_in(sam)
        status, told = put(client, announced(client, ("monday.zip", 10))["next"], b"x" * 11)
        assert (status, told["received"]) == (409, 0)

    def test_bytes_that_are_lost_at_our_end_are_asked_for_again(
        self, sam: Person, come_in: ComeIn, folder: Path
    ) -> None:
        client = come_in(sam)
        told = put(client, announced(client, ("monday.zip", 1000))["next"], b"x" * 300)[1]
        next(folder.iterdir()).write_bytes(b"x" * 200)
        status, told = put(client, told["next"], b"y" * 100)
        assert (status, told["received"]) == (409, 200)

    def test_what_a_process_wrote_that_died_before_it_could_say_so_is_written_over(
        self, sam: Person, come_in: ComeIn, folder: Path
    ) -> None:
        client = come_in(sam)
        told = put(client, announced(client, ("monday.zip", 1000))["next"], b"x" * 300)[1]
        left = next(folder.iterdir())
        left.write_bytes(b"x" * 300 + b"torn" * 50)
        put(client, told["next"], b"y" * 100)
        assert left.read_bytes() == b"x" * 300 + b"y" * 100

    def test_a_process_that_died_before_it_was_kept_loses_nothing(
        self, sam: Person, come_in: ComeIn, zipped: bytes
    ) -> None:
        client = come_in(sam)
        told = announced(client, ("monday.zip", len(zipped)))
        sending.append(Upload.objects.get().pk, 0, zipped, timezone.now())
        told = announced(client, ("monday.zip", len(zipped)))
        assert (told["received"], told["receipt"]) == (len(zipped), "")
        assert put(client, told["next"], b"")[1]["receipt"]

    def test_no_room_is_said_and_nothing_called_received(self, sam: Person, come_in: ComeIn, folder: Path) -> None:
        client = come_in(sam)
        at = announced(client, ("monday.zip", 10))["next"]
        folder.rmdir() if folder.exists() else None
        folder.write_bytes(b"")  # no folder can be made here
        assert client.put(at, b"x" * 10, content_type="application/octet-stream").status_code == 503
        folder.unlink()
        assert not Delivery.objects.exists()
        assert put(client, at, b"x" * 4)[1]["received"] == 4

    def test_what_is_announced_must_make_sense(self, sam: Person, come_in: ComeIn, settings: Settings) -> None:
        settings.UPLOAD_LIMIT = 1000
        client = come_in(sam)
        for files, code, status in (
            ([], "SEND-NOTHING", 422),
            ([("a.zip", 5), ("b.zip", 5)], "SEND-KIND", 422),
            ([("a.zip", 5), ("users.csv", 5)], "SEND-KIND", 422),
            ([("roster.xlsx", 5)], "SEND-KIND", 422),
            ([("../users.csv", 5)], "SEND-KIND", 422),
            ([("users.csv", 5), ("Users.csv", 5)], "SEND-NAMES", 422),
            ([("users.csv", 0)], "SEND-EMPTY", 422),
            ([("users.csv", 600), ("orgs.csv", 401)], "SEND-LARGE", 413),
        ):
            assert announced(client, *files, status=status)["code"] == code
        for body in ("", "[]", '{"files": [{"name": "a.zip", "size": "x", "modified": 1, "head": ""}]}'):
            assert client.post(BEGIN, body, content_type="application/json").status_code == 400
        minus = {"files": [{"name": "a.csv", "size": -1, "modified": 1, "head": ""}]}
        assert client.post(BEGIN, minus, content_type="application/json").status_code == 400
        assert not Upload.objects.exists()


class TestAForm:
    def test_a_zip_is_sent_without_script(self, sam: Person, come_in: ComeIn, zipped: bytes, folder: Path) -> None:
        client = come_in(sam)
        answer = client.post(SEND, {"files": [form("monday.zip", zipped)]})
        assert answer.headers["Location"] == f"/district/sent/{Upload.objects.get().uid}/"
        assert Delivery.objects.get().sha256 == hashlib.sha256(zipped).hexdigest()
        assert not list(folder.iterdir())

    def test_loose_files_become_one_delivery(self, sam: Person, come_in: ComeIn, zipped: bytes) -> None:
        client = come_in(sam)
        with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
            loose = {name: archive.read(name) for name in archive.namelist()}
        client.post(SEND, {"files": [form(name, content) for name, content in loose.items()]})
        delivery = Delivery.objects.get()
        with zipfile.ZipFile(syncs.store().original(sam.district_id, delivery.sha256)) as archive:
            assert {name: archive.read(name) for name in archive.namelist()} == loose
        assert delivery.name == f"{len(loose)} CSV files.zip"
        work_off()
        assert Sync.objects.get().status == "awaiting_review"

    def test_what_cannot_be_sent_is_said_on_the_page(self, sam: Person, come_in: ComeIn) -> None:
        client = come_in(sam)
        for files, code in (([], b"SEND-NOTHING"), ([form("roster.xlsx", b"x")], b"SEND-KIND")):
            answer = client.post(SEND, {"files": files})
            assert answer.status_code == 422
            assert code in answer.content
        assert not Upload.objects.exists()


class TestWhatIsLeft:
    def test_an_abandoned_upload_is_given_up_after_two_days_with_its_bytes(
        self, sam: Person, come_in: ComeIn, folder: Path
    ) -> None:
        client = come_in(sam)
        told = put(client, announced(client, ("monday.zip", 1000))["next"], b"x" * 300)[1]
        minute()
        assert Upload.objects.get().status == "open"
        Upload.objects.update(last_at=timezone.now() - timedelta(days=2, minutes=1))
        (folder / "left.zip").write_bytes(b"x")
        minute()
        assert Upload.objects.get().status == "given_up"
        assert [left.name for left in folder.iterdir()] == ["left.zip"]
        sending.sweep(timezone.now() + timedelta(days=3))
        assert not list(folder.iterdir())
        status, told = put(client, told["next"], b"x" * 700)
        assert (status, told["code"]) == (410, "SEND-ENDED")
        assert announced(client, ("monday.zip", 1000))["received"] == 0

    def test_one_person_cannot_fill_the_disk_with_beginnings(self, sam: Person, come_in: ComeIn) -> None:
        client = come_in(sam)
        for number in range(5):
            announced(client, (f"{number}.zip", 1000))
        open_ones = Upload.objects.filter(status="open").order_by("pk")
        assert [upload.name for upload in open_ones] == ["2.zip", "3.zip", "4.zip"]

    def test_the_page_says_what_is_not_all_here(self, sam: Person, come_in: ComeIn) -> None:
        client = come_in(sam)
        put(client, announced(client, ("monday.zip", 1000))["next"], b"x" * 300)
        page = client.get(SEND).content.decode()
        assert "monday.zip" in page
        assert "30 % is here" in page


@pytest.mark.django_db
def test_the_database_holds_that_kept_means_kept(sam: Person) -> None:
    about = {"district": sam.district, "person": sam, "name": "x.zip", "files": [], "mark": "m", "size": 10}
    for wrong in ({"status": "kept"}, {"received": 11}, {"number": "AAAA-AAAA"}):
        with pytest.raises(IntegrityError):
            _made_alone(about | wrong)


def _made_alone(values: dict[str, Any]) -> None:
    from django.db import transaction

    with transaction.atomic():
        Upload.objects.create(**values)


@pytest.mark.django_db(transaction=True)
def test_of_many_who_write_the_same_piece_at_the_same_time_one_does(sam: Person, zipped: bytes) -> None:
    upload = sending.begin(sam, [("monday.zip", len(zipped))], "mark", timezone.now())
    outcomes: list[str] = []

    def write() -> None:
        try:
            for start in range(0, len(zipped), 9000):
                sending.append(upload.pk, start, zipped[start : start + 9000], timezone.now())
            sending.keep(upload, timezone.now())
            outcomes.append("sent")
        except sending.Refused as refusal:
            outcomes.append(refusal.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = Upload.objects.get()
    while told.status == "open":  # the threads got in each other's way; one goes on, as a browser would
        at = sending.here(told)
        told = sending.append(told.pk, at, zipped[at : at + 9000], timezone.now())
        told = sending.keep(told, timezone.now()) if told.received == told.size else told
    assert Delivery.objects.get().sha256 == hashlib.sha256(zipped).hexdigest()
    assert Sync.objects.count() == OrmQ.objects.count() == 1
    assert set(outcomes) <= {"sent", "SEND-OFFSET"}
