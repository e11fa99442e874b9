"""Which files are laid on the disk before any view has looked: only what a page asked for, from who may bring it."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from connections.onboarding.models import Pass, Person
from rosters import syncs
from rosters.models import Delivery, District
from tests.tools import tool

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from pytest_django import Settings

pytestmark = [pytest.mark.django_db, pytest.mark.doors]

MEGABYTE = 1024 * 1024
ENDLESS = 1 << 40


@pytest.fixture(autouse=True)
def no_disk(data_dir: Path, settings: Settings) -> None:
    """Whatever would be spooled fails loudly."""
    settings.FILE_UPLOAD_TEMP_DIR = str(data_dir / "nowhere")


@pytest.fixture
def cedar() -> District:
    return District.objects.create(name="Cedar Grove", site_code="1001")


@pytest.fixture
def dana(cedar: District) -> Person:
    return Person.objects.create(district=cedar, name="Dana", email="dana@cedar.test", role="owner")


def let_in(person: Person) -> Client:
    client = Client()
    _, secret = Pass.make(person, Pass.Purpose.SESSION, timezone.now(), timedelta(days=1))
    client.cookies["district"] = secret
    return client


def logged_in(staff: Staff) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def file(size: int = 10, name: str = "roster.zip") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, b"x" * size)


class Body(io.RawIOBase):
    """A form with one file of so many bytes. `taken`: how many were asked for."""

    def __init__(self, field: str, size: int) -> None:
        name = f'Content-Disposition: form-data; name="{field}"; filename="ids.csv"'
        self.head, self.foot = io.BytesIO(f"--edge\r\n{name}\r\n\r\n".encode()), io.BytesIO(b"\r\n--edge--\r\n")
        self.left, self.taken = size, 0
        self.length = size + len(self.head.getvalue()) + len(self.foot.getvalue())

    def read(self, size: int = -1) -> bytes:
        assert 0 <= size <= MEGABYTE
        piece = self.head.read(size) or b"x" * min(size, self.left)
        if self.head.tell() == len(self.head.getvalue()) and not piece:
            piece = self.foot.read(size)
        elif piece[:1] == b"x":
            self.left -= len(piece)
        self.taken += len(piece)
        return piece

    def sent_by(self, client: Client, address: str) -> Any:
        extra: Any = {"wsgi.input": self, "CONTENT_LENGTH": str(self.length)}
        return client.post(address, b"-", content_type="multipart/form-data; boundary=edge", **extra)  # in its place


@pytest.mark.parametrize(
    "address", ["/oauth2/token", "/oauth2/token/", "/admin/login/", "/district/enter/", "/district/again/"]
)
def test_no_file_is_taken_where_none_is_expected(address: str) -> None:
    answer = Client().post(address, {"client_id": "x", "file": file()})
    assert (answer.status_code, "Nothing was changed" in answer.text) == (400, True)
    body = Body("file", ENDLESS)
    assert body.sent_by(Client(), address).status_code == 400
    assert body.taken < MEGABYTE


@pytest.mark.parametrize("address", ["/nowhere", "/admin/mails/", "/api/v1/syncs", "/district/send/begin/"])
def test_nor_where_nobody_looks_at_what_came(address: str) -> None:
    body = Body("file", ENDLESS)
    assert body.sent_by(Client(), address).status_code in (302, 401, 404)
    assert body.taken < MEGABYTE


def test_nor_from_staff_and_then_nothing_is_done(alice: Staff) -> None:
    answer = logged_in(alice).post(f"/admin/auth/user/{alice.pk}/change/", {"username": "eve", "file": file()})
    assert (answer.status_code, "Nothing was changed" in answer.text) == (400, True)
    alice.refresh_from_db()
    assert alice.username == "alice"


def test_a_browser_that_proves_its_forms_is_asked_no_less(alice: Staff) -> None:
    """There the proof is looked for in the form before its page is asked."""
    client = Client(enforce_csrf_checks=True)
    client.get("/admin/login/")
    sent = {"csrfmiddlewaretoken": client.cookies["csrftoken"].value, "file": file()}
    assert client.post("/admin/login/", sent).status_code == 400


def test_a_form_without_a_file_goes_on_as_ever() -> None:
    answer = Client().post("/oauth2/token", {"client_id": "x", "client_secret": "y"})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_who_is_not_let_in_is_led_to_the_door_and_nothing_is_kept(cedar: District) -> None:
    for address, field, door in (
        (f"/admin/rosters/district/{cedar.pk}/upload/", "file", "/admin/login/"),
        (f"/admin/rosters/district/{cedar.pk}/ids/", "file", "/admin/login/"),
        ("/district/check/", "files", "/district/enter/"),
        ("/district/send/", "files", "/district/enter/"),
    ):
        client = Client(enforce_csrf_checks=True)
        client.get("/admin/login/")
        proof = {"csrfmiddlewaretoken": client.cookies["csrftoken"].value}
        answer = client.post(address, {**proof, field: file()})
        assert (answer.status_code, answer.headers["Location"].startswith(door)) == (302, True)
        body = Body(field, ENDLESS)
        assert (body.sent_by(Client(), address).status_code, body.taken < MEGABYTE) == (302, True)
    assert Client().post("/api/v1/districts/1001/deliveries", {"file": file()}).status_code == 401


def test_what_is_too_large_is_not_kept_and_the_page_says_so(
    cedar: District, dana: Person, alice: Staff, settings: Settings
) -> None:
    settings.UPLOAD_LIMIT = MEGABYTE
    large = 4 * MEGABYTE
    upload = f"/admin/rosters/district/{cedar.pk}/upload/"
    by_staff = logged_in(alice).post(upload, {"file": file(large)}, follow=True)
    assert "That file is larger than 1 MB. Nothing was stored" in by_staff.text

    checked = let_in(dana).post("/district/check/", {"files": [file(large)]})
    assert (checked.status_code, "That is more than 1 MB" in checked.text) == (422, True)
    two = [file(10, "orgs.csv"), file(large, "users.csv")]
    sent = let_in(dana).post("/district/send/", {"files": two})
    assert (sent.status_code, "That is more than" in sent.text) == (413, True)

    by_tool = tool(cedar, staff=alice).post(
        "/api/v1/districts/1001/deliveries", {"file": file(large)}, headers={"Idempotency-Key": "1"}
    )
    assert (by_tool.status_code, by_tool.json()["code"]) == (413, "too-large")
    assert not Delivery.objects.exists()


def test_a_list_of_ids_has_a_limit_of_its_own(cedar: District, alice: Staff) -> None:
    address = f"/admin/rosters/district/{cedar.pk}/ids/"
    sent = {"table": "users"}
    client = logged_in(alice)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        client.post(address, {**sent, "file": file()})
    body = Body("file", syncs.LARGEST_LIST + 3 * MEGABYTE)
    assert body.sent_by(client, address).status_code == 302
    assert body.taken == body.length


def test_what_is_not_too_large_is_laid_on_the_disk(cedar: District, alice: Staff, settings: Settings) -> None:
    settings.UPLOAD_LIMIT = MEGABYTE
    settings.FILE_UPLOAD_TEMP_DIR = None
    logged_in(alice).post(f"/admin/rosters/district/{cedar.pk}/upload/", {"file": file(MEGABYTE)})
    assert Delivery.objects.get().size == MEGABYTE
