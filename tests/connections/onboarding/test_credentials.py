"""What a district enters by itself: kept sealed, tested step by step, used by nobody before staff have confirmed it."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from html import unescape
from typing import TYPE_CHECKING

import pytest
import time_machine
from django.db import connection as database
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ

from connections import attempts
from connections.models import Checkup, Connection
from connections.onboarding.models import Person
from connections.vendors import VENDORS
from rosters.models import AuditEvent, District
from tests.queue import work_off

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = pytest.mark.django_db

ComeIn = Callable[[Person], Client]
SFTP = {
    "host": "sftp.example.org",
    "port": "22",
    "username": "cedar",
    "login": "password",
    "path": "exports/*.zip",
    "password": "correct horse",
}
API = {
    "vendor": "",
    "base_url": "https://sis.example.org/ims/oneroster/v1p1",
    "version": "1.1",
    "auth": "oauth1",
    "signature": "HMAC-SHA256",
    "key": "consumer-key-1",
    "secret": "correct horse",
}


@pytest.mark.parametrize(("kind", "fields"), [("sftp", SFTP), ("rest", API)])
def test_an_owner_enters_it_and_its_secret_never_comes_out_again(
    cedar: District, dana: Person, come_in: ComeIn, kind: str, fields: dict[str, str]
) -> None:
    client = come_in(dana)
    answer = client.post(f"/district/connection/new/{kind}/", fields, follow=True)
    connection = Connection.objects.get()
    assert (connection.district, connection.kind, connection.state) == (cedar, kind, "setup")
    assert connection.secret("password" if kind == "sftp" else "secret") == "correct horse"
    shown = answer.content + client.get(f"/district/connection/{connection.uid}/").content
    for secret in (b"correct horse", b"consumer-key-1"):
        assert secret not in shown
        assert secret.decode() not in str(list(AuditEvent.objects.values()))
    row = AuditEvent.objects.get(action="connection.added")
    assert (row.by, row.subject) == (None, f"person {dana.pk}")


def test_what_is_wrong_is_said_at_its_field_and_nothing_is_kept(dana: Person, come_in: ComeIn) -> None:
    answer = come_in(dana).post("/district/connection/new/sftp/", {**SFTP, "host": "sftp://x/"})
    assert answer.status_code == 422
    assert b"Only the name or address of the server" in answer.content
    assert not Connection.objects.exists()


def test_a_sender_neither_sees_nor_enters_it(sam: Person, come_in: ComeIn) -> None:
    client = come_in(sam)
    refused = client.get("/district/connection/")
    assert refused.status_code == 403 and "Only who answers for Cedar Grove" in unescape(refused.content.decode())
    assert client.post("/district/connection/new/sftp/", SFTP).status_code == 403
    assert b"/district/connection/" not in client.get("/district/").content
    assert not Connection.objects.exists()


def test_nobody_reaches_another_districts(dana: Person, maple: District, come_in: ComeIn) -> None:
    theirs = Connection.objects.create(district=maple, kind="sftp", host="sftp.maple.test", username="maple", path="*")
    client = come_in(dana)
    assert b"maple" not in client.get("/district/connection/").content.lower()
    for part in ("", "checkup/"):
        assert client.get(f"/district/connection/{theirs.uid}/{part}").status_code == 404
    for part in ("", "test/"):
        assert client.post(f"/district/connection/{theirs.uid}/{part}", SFTP).status_code == 404
    assert not Checkup.objects.exists()
    theirs.refresh_from_db()
    assert theirs.host == "sftp.maple.test"


def test_what_is_in_service_is_not_changed_from_here(cedar: District, dana: Person, come_in: ComeIn) -> None:
    connection = Connection.objects.create(district=cedar, kind="sftp", host="sftp.cedar.test", username="c", path="*")
    connection.activate(timezone.now(), None)
    client = come_in(dana)
    assert client.post(f"/district/connection/{connection.uid}/", SFTP).status_code == 403
    assert b"Change its settings" not in client.get("/district/connection/").content


def test_what_is_changed_in_a_pause_does_not_run_again_by_itself(
    cedar: District, dana: Person, come_in: ComeIn, alice: Staff
) -> None:
    client, now = come_in(dana), timezone.now()
    client.post("/district/connection/new/rest/", API)
    connection = Connection.objects.get()
    checkup = Checkup.objects.create(connection=connection, started_at=now)
    checkup.end(
        now, [{"name": "name", "outcome": "ok", "words": "Found.", "code": "", "next_step": "", "seconds": 0.1}]
    )
    connection.activate(now, None)
    connection.pause(now, "Summer", by=alice, until=cedar.local_date(now) + timedelta(days=1))
    client.post(f"/district/connection/{connection.uid}/", {**API, "key": "", "secret": ""})
    connection.refresh_from_db()
    assert connection.state == "paused", "nothing was changed"
    client.post(
        f"/district/connection/{connection.uid}/", {**API, "base_url": "https://else.example.org/ims/oneroster/v1p1"}
    )
    attempts.minute(now + timedelta(days=3))
    connection.refresh_from_db()
    assert (connection.state, connection.paused_until, connection.pause_reason) == ("setup", None, "")
    assert AuditEvent.objects.filter(action="connection.changed").latest("pk").after["set_up_anew"] is True
    desk = Client()
    desk.force_login(alice)
    answer = desk.post(f"/admin/connections/connection/{connection.pk}/start/", follow=True)
    assert "Test it first" in answer.content.decode(), "what passed was the one before"
    connection.refresh_from_db()
    assert connection.state == "setup"


def test_the_district_is_told_what_a_connection_does_that_does_not_run(
    cedar: District, dana: Person, come_in: ComeIn, alice: Staff
) -> None:
    client, now = come_in(dana), timezone.now()

    def told() -> str:
        return unescape(client.get("/district/").content.decode())

    assert "Nothing comes by itself: files are sent by hand." in told()
    connection = Connection.objects.create(district=cedar, kind="sftp", host="sftp.cedar.test", username="c", path="*")
    connection.activate(now, None)
    assert "No time is agreed" in told()
    connection.pause(now, "Summer", by=alice, until=date(2027, 8, 10))
    page = told()
    assert "Paused until 10 Aug" in page and "Nothing is fetched until 10 August" in page
    assert "Enter how we reach your system" not in page, "that was done"
    connection.activate(now, None)
    connection.pause(now, "It failed three times.")
    page = told()
    assert "Cannot connect" in page and "We cannot fetch your roster." in page and "Up to date" not in page
    desk = Client()
    desk.force_login(alice)
    head = desk.get(f"/admin/rosters/district/{cedar.pk}/change/").content.decode().split("<h1>")[1].split("</h1>")[0]
    assert "Cannot connect" in head, "staff see the same"
    other = Connection.objects.create(district=cedar, kind="sftp", host="b.cedar.test", username="c", path="*")
    other.activate(now, None)
    connection.activate(now, None)
    connection.pause(now, "Not needed any more", by=alice)
    assert "Paused" not in told(), "another one is in service"


def test_the_doctor_is_asked_once_and_its_ticks_are_seen(cedar: District, dana: Person, come_in: ComeIn) -> None:
    client = come_in(dana)
    client.post("/district/connection/new/sftp/", SFTP)
    connection = Connection.objects.get()
    for _ in range(2):
        assert client.post(f"/district/connection/{connection.uid}/test/").status_code == 302
    checkup = Checkup.objects.get()
    part = f"/district/connection/{connection.uid}/checkup/"
    assert client.get(part).status_code == 200
    steps = [{"name": "name", "outcome": "ok", "words": "Found.", "code": "", "next_step": "", "seconds": 0.1}]
    checkup.end(timezone.now(), steps)
    answer = client.get(part)
    assert answer.status_code == 286
    assert b"Every step passed" in answer.content


def test_one_connection_of_a_district_is_tested_at_a_time_so_that_workers_are_left_for_others(
    cedar: District, maple: District, dana: Person, come_in: ComeIn, manu: Staff
) -> None:
    ways = [Connection.objects.create(district=cedar, kind="sftp", host=f"{n}.test", path="*") for n in range(6)]
    theirs = Connection.objects.create(district=maple, kind="sftp", host="sftp.maple.test", path="*")
    client = come_in(dana)
    for way in ways:
        page = client.post(f"/district/connection/{way.uid}/test/", follow=True).content.decode()
        assert ("Another test of yours is running." in page) == (way != ways[0])
    assert (Checkup.objects.get().connection, OrmQ.objects.count()) == (ways[0], 1)
    page = client.post(f"/district/connection/{ways[0].uid}/test/", follow=True).content.decode()
    assert "Another test" not in page and "The test begins as soon as a worker is free" in page
    staff = Client()
    staff.force_login(manu)
    for way, words in (
        (ways[0], "is being tested already"),
        (ways[1], "Another connection of this district is being tested"),
    ):
        answer = staff.post(f"/admin/connections/connection/{way.pk}/test/", follow=True)
        assert words in answer.content.decode()
    staff.post(f"/admin/connections/connection/{theirs.pk}/test/")
    assert OrmQ.objects.count() == Checkup.objects.count() == 2
    work_off()
    assert not Checkup.objects.filter(ended_at=None).exists()
    client.post(f"/district/connection/{ways[1].uid}/test/")
    assert Checkup.objects.filter(connection=ways[1]).count() == 1


def test_a_test_that_was_given_up_before_a_worker_had_time_is_not_begun(
    cedar: District, dana: Person, come_in: ComeIn
) -> None:
    ways = [Connection.objects.create(district=cedar, kind="sftp", host=f"{n}.test", path="*") for n in range(2)]
    client, later = come_in(dana), timezone.now() + timedelta(minutes=16)
    client.post(f"/district/connection/{ways[0].uid}/test/")
    attempts.minute(later)
    client.post(f"/district/connection/{ways[1].uid}/test/")
    with time_machine.travel(later):
        work_off()
    first, second = (Checkup.objects.get(connection=way) for way in ways)
    assert [step["code"] for step in first.steps] == ["WORKER-LOST"]
    assert second.started_at >= later, "its time counts from where a worker took it"
    assert second.steps and "WORKER-LOST" not in str(second.steps)


@pytest.mark.django_db(transaction=True)
def test_of_tests_that_are_asked_for_in_the_same_moment_one_begins(
    cedar: District, dana: Person, come_in: ComeIn
) -> None:
    ways = [Connection.objects.create(district=cedar, kind="sftp", host=f"{n}.test", path="*") for n in range(4)]
    clients = [come_in(dana) for _ in ways]
    ready = threading.Barrier(len(ways))

    def ask(client: Client, way: Connection) -> int:
        ready.wait(10)
        try:
            return client.post(f"/district/connection/{way.uid}/test/").status_code
        finally:
            database.close()

    with ThreadPoolExecutor(len(ways)) as pool:
        assert list(pool.map(ask, clients, ways)) == [302] * len(ways)
    assert Checkup.objects.count() == OrmQ.objects.count() == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "sftp", "host": "localhost", "username": "c", "path": "*"},
        {"kind": "rest", "base_url": "https://localhost/ims", "auth": "bearer"},
    ],
)
def test_a_district_does_not_learn_where_a_name_leads_in_our_network_and_who_runs_connections_does(
    cedar: District, dana: Person, come_in: ComeIn, manu: Staff, vera: Staff, fields: dict[str, str]
) -> None:
    connection = Connection(district=cedar, **fields)
    connection.keep_secret("password" if fields["kind"] == "sftp" else "secret", "correct horse")
    connection.save()
    client = come_in(dana)
    client.post(f"/district/connection/{connection.uid}/test/")
    work_off()
    assert "localhost is at " in str(Checkup.objects.get().steps)
    for place in ("/district/connection/", f"/district/connection/{connection.uid}/checkup/"):
        page = html.unescape(client.get(place).content.decode())
        assert "The server's name leads to an address that is not public." in page and "by which the server" in page
        assert "127.0.0.1" not in page and "::1" not in page
    for staff, sees in ((manu, True), (vera, False)):
        client.force_login(staff)
        for place in ("change", "checkup"):
            page = client.get(f"/admin/connections/connection/{connection.pk}/{place}/").content.decode()
            assert ("localhost is at " in page) == sees, (staff, place)


def test_staff_put_it_into_service_not_the_district(dana: Person, come_in: ComeIn, manu: Staff) -> None:
    client = come_in(dana)
    client.post("/district/connection/new/rest/", API)
    connection = Connection.objects.get()
    assert client.post(f"/admin/connections/connection/{connection.pk}/start/").status_code == 302  # to the login
    connection.refresh_from_db()
    assert connection.state == "setup"


def test_what_is_known_of_its_system_is_set_where_the_district_is_not_asked(dana: Person, come_in: ComeIn) -> None:
    key, vendor = next((key, each) for key, each in VENDORS.items() if each.credentials_in == "body")
    fields = {**API, "vendor": key, "auth": "oauth2", "token_url": "https://sis.example.org/token", "scope": ""}
    assert come_in(dana).post(f"/district/connection/new/rest/?vendor={key}", fields).status_code == 302
    connection = Connection.objects.get()
    assert (connection.vendor, connection.credentials_in) == (key, "body")
    assert connection.page_size == (vendor.page_size or 1000)


def test_its_system_is_asked_for_once_and_the_words_are_for_the_district(dana: Person, come_in: ComeIn) -> None:
    client = come_in(dana)
    page = client.get("/district/connection/new/rest/").content.decode()
    assert page.count('<select name="vendor"') == 1
    assert "As the district gave it" not in page and "Where the OneRoster API of your system answers" in page
    fields = {name: value for name, value in API.items() if name != "vendor"}
    assert client.post("/district/connection/new/rest/?vendor=aeries", fields).status_code == 302
    connection = Connection.objects.get()
    assert connection.vendor == "aeries"
    page = client.get(f"/district/connection/{connection.uid}/").content.decode()
    assert page.count('name="vendor"') == 1, "there it is a field of the form"


def test_a_vendor_brings_its_words(dana: Person, come_in: ComeIn) -> None:
    client = come_in(dana)
    page = client.get("/district/connection/new/rest/?vendor=infinite_campus").content.decode()
    assert "Infinite Campus" in page
    assert "selected" in page
