"""What happens reaches a tool, signed, once, and again until it arrives; no roster value is in it."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ

from connections.announcing import tasks, telling
from connections.announcing.models import BACKOFF, KINDS, Announcement, Webhook
from connections.models import Connection
from rosters import making
from rosters.api import scopes
from rosters.api.models import Client
from rosters.models import AuditEvent, District
from tests.journeys.trip import Trip
from tests.queue import work_off
from tests.tools import with_token

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from pytest_django import Settings

pytestmark = pytest.mark.django_db


class Tool:
    """A tool that is told, on a real socket: keeps what came, answers as it is told to."""

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        self.trickles = False
        tool = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                tool.heard.append((dict(self.headers), body))
                self.send_response(tool.status)
                with suppress(OSError):
                    self.flush_headers()
                    while tool.trickles:
                        self.wfile.write(b"X")
                        time.sleep(0.02)
                if tool.status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    @property
    def told(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.heard]


@pytest.fixture
def tool() -> Iterator[Tool]:
    made = Tool()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _tools_may_be_on_this_machine(settings: Settings) -> None:
    settings.WEBHOOK_NETWORKS = [ip_network("127.0.0.0/8")]


@pytest.fixture
def trip(data_dir: Path, tmp_path: Path, alice: Staff) -> Trip:
    return Trip(tmp_path, alice)


@pytest.fixture
def webhook(trip: Trip, tool: Tool) -> Webhook:
    client = Client.objects.create(name="Gradebook", scopes=list(scopes.STANDARD))
    client.districts.add(trip.district)
    made = Webhook(client=client, url=tool.url, kinds=list(KINDS))
    made.secret_text = made.new_secret()  # type: ignore[attr-defined]
    made.save()
    return made


@pytest.fixture
def tables() -> making.Tables:
    return making.make_roster(users=60, seed=4, today=timezone.localdate(), name="Cedar Grove")


def minute() -> None:
    tasks.minute()
    work_off()


def test_a_sync_is_told_when_it_waits_and_when_it_is_live_and_once(
    trip: Trip, webhook: Webhook, tool: Tool, tables: making.Tables
) -> None:
    sync = trip.send(tables)
    minute()
    trip.go(sync)
    minute()
    minute()
    waits, live = tool.told
    assert (waits["kind"], live["kind"]) == ("sync.awaiting_review", "sync.applied")
    assert (live["sync"], live["site_code"], live["version"]) == (sync.pk, "1001", 1)
    assert live["added"] == sync.added and live["id"] != waits["id"]
    whole = b"".join(body for _, body in tool.heard).decode()
    assert not [email for email in tables["users"]["email"] if email and email in whole]
    webhook.refresh_from_db()
    assert webhook.last_sent_at and set(Announcement.objects.values_list("status", flat=True)) == {"sent"}


def test_a_reader_goes_on_in_the_feed_from_what_it_was_told(
    trip: Trip, webhook: Webhook, tool: Tool, tables: making.Tables
) -> None:
    trip.go(trip.send(tables))
    done = trip.go(trip.send(making.next_day(tables, change=0.1, seed=3)[0]))
    minute()
    webhook.client.scopes = [scopes.CHANGES_READ, *scopes.STANDARD]
    webhook.client.save()
    browser = with_token(webhook.client)
    after = next(each["changes_after"] for each in tool.told if each.get("version") == 2)
    changes = browser.get("/api/v1/districts/1001/changes", {"after": after}).json()["results"]
    assert len(changes) == done.added + done.updated + done.removed


def test_what_is_sent_is_signed_as_a_reader_can_check(trip: Trip, webhook: Webhook, tool: Tool) -> None:
    telling.send(telling.ping(webhook, timezone.now()).pk)
    headers, body = tool.heard[0]
    stamp, signed = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", headers["Portal-Signature"]).groups()  # type: ignore[union-attr]
    secret = webhook.secret_text.encode()  # type: ignore[attr-defined]
    assert hmac.new(secret, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest() == signed
    assert abs(int(stamp) - timezone.now().timestamp()) < 60
    assert json.loads(body)["kind"] == "ping"


def test_what_does_not_arrive_is_sent_again_with_growing_waits_and_given_up(
    trip: Trip, webhook: Webhook, tool: Tool
) -> None:
    tool.status = 500
    now = timezone.now()
    announcement = telling.ping(webhook, now)
    waits = []
    for _ in BACKOFF:
        sent = telling.send(announcement.pk, now)
        assert sent is not None and sent.status == "waiting" and sent.answered == "HTTP 500"
        waits.append(sent.not_before - now)
        assert telling.send(announcement.pk, now) is None, "it is not due yet"
        now = sent.not_before
    assert all(0.79 * wait < real < 1.21 * wait for wait, real in zip(BACKOFF, waits, strict=True))
    last = telling.send(announcement.pk, now)
    assert last is not None and last.status == "given_up" and len(tool.heard) == len(BACKOFF) + 1
    tool.status = 204
    assert last.replay(now)
    sent = telling.send(announcement.pk, now)
    assert sent is not None and sent.status == "sent"
    webhook.refresh_from_db()
    assert webhook.failing_since is None


@pytest.fixture
def many(webhook: Webhook) -> list[Announcement]:
    """Twenty that are due."""
    now = timezone.now() - timedelta(minutes=1)
    return [telling.ping(webhook, now + timedelta(seconds=number)) for number in range(20)]


def test_of_what_is_due_a_few_are_queued_and_each_once(many: list[Announcement], tool: Tool) -> None:
    tasks.minute()
    tasks.minute()
    assert OrmQ.objects.count() == telling.AT_ONCE < 5, "the workers have other things to do"
    work_off()
    assert [each["id"] for each in tool.told] == [str(each.uid) for each in many], "one after another, all the same"
    assert telling.to_queue(timezone.now()) == []


def test_a_task_that_was_lost_is_made_again(many: list[Announcement]) -> None:
    now = timezone.now()
    queued = telling.to_queue(now)
    assert queued == [each.pk for each in many[:2]]
    assert telling.to_queue(now + timedelta(minutes=14)) == []
    assert telling.to_queue(now + timedelta(minutes=16)) == queued


def test_while_nothing_arrives_one_a_minute_is_tried_and_then_all_follow(
    many: list[Announcement], webhook: Webhook, tool: Tool
) -> None:
    tool.status = 500
    minute()
    assert len(tool.heard) == telling.AT_ONCE, "these were queued before anybody knew"
    for heard in (3, 4, 5):
        minute()
        assert len(tool.heard) == heard
        assert len(set(map(str, tool.told))) == heard, "each time the oldest that is due"
    tool.status = 200
    minute()
    webhook.refresh_from_db()
    assert webhook.failing_since is None
    assert Announcement.objects.filter(status="sent").count() == 15
    assert set(Announcement.objects.filter(status="waiting").values_list("tries", flat=True)) == {1}


def test_a_webhook_that_is_switched_on_again_waits_for_no_task_that_did_nothing(
    many: list[Announcement], webhook: Webhook, tool: Tool
) -> None:
    tasks.minute()
    webhook.switch_off(timezone.now(), "Switched off by alice.")
    work_off()
    assert not tool.heard
    webhook.switch_on()
    minute()
    assert len(tool.heard) == 20


@pytest.mark.parametrize("status", [302, 400, 404, 503])
def test_only_a_2xx_is_an_arrival_and_no_redirect_is_followed(
    trip: Trip, webhook: Webhook, tool: Tool, status: int
) -> None:
    tool.status = status
    sent = telling.send(telling.ping(webhook, timezone.now()).pk)
    assert sent is not None and (sent.status, sent.answered, len(tool.heard)) == ("waiting", f"HTTP {status}", 1)


def test_a_tool_whose_headers_come_byte_by_byte_holds_no_worker(
    trip: Trip, webhook: Webhook, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "PATIENCE", 0.5)
    tool.trickles = True
    made = telling.ping(webhook, timezone.now())
    begun = time.monotonic()
    sent = telling.send(made.pk)
    tool.trickles = False
    assert time.monotonic() - begun < 5
    assert sent is not None
    assert (sent.status, sent.answered) == ("waiting", "TimeoutError")


def test_a_webhook_that_nothing_reaches_for_days_is_switched_off_and_on_again_misses_nothing(
    trip: Trip, webhook: Webhook, tool: Tool, tables: making.Tables
) -> None:
    tool.status = 500
    now = timezone.now()
    telling.send(telling.ping(webhook, now).pk, now)
    announcement = telling.ping(webhook, now + timedelta(seconds=1))
    telling.send(announcement.pk, now + timedelta(days=4))
    webhook.refresh_from_db()
    assert webhook.off_at and AuditEvent.objects.filter(action="webhook.off").exists()
    trip.go(trip.send(tables))
    minute()
    assert len(tool.heard) == 2, "nothing is sent while it is off"
    tool.status = 200
    assert webhook.switch_on()
    minute()
    assert "sync.applied" in [each["kind"] for each in tool.told[2:]]


def test_an_address_in_our_own_network_is_not_contacted(
    trip: Trip, webhook: Webhook, tool: Tool, settings: Settings
) -> None:
    settings.WEBHOOK_NETWORKS = []
    sent = telling.send(telling.ping(webhook, timezone.now()).pk)
    assert sent is not None and (sent.status, sent.answered) == ("waiting", "CONN-ADDRESS") and not tool.heard
    tool.server.socket.getsockname()


def test_it_is_told_of_its_own_districts_and_of_what_it_asked_for(
    trip: Trip, webhook: Webhook, tool: Tool, tables: making.Tables
) -> None:
    other = Trip(trip.folder, trip.by, name="Maple", site_code="1002")
    Webhook.objects.filter(pk=webhook.pk).update(kinds=["sync.applied", "connection.failing"])
    other.go(other.send(tables))
    Connection.objects.create(district=other.district, kind="sftp", host="h", path="*", failures=3)
    connection = Connection.objects.create(district=trip.district, kind="sftp", host="h", path="*", failures=3)
    trip.send(tables)
    minute()
    minute()
    assert [(each["kind"], each.get("connection")) for each in tool.told] == [
        ("connection.failing", str(connection.uid))
    ]


def test_what_is_late_and_what_works_again_is_told_once(trip: Trip, webhook: Webhook, tool: Tool) -> None:
    kinds = ["connection.failing", "connection.late", "connection.recovered"]
    Webhook.objects.filter(pk=webhook.pk).update(kinds=kinds)
    now = timezone.now()
    one = Connection.objects.create(district=trip.district, kind="sftp", host="h", path="*", state="active")
    minute()
    assert not tool.told, "it was never told that something was wrong"
    Connection.objects.update(late_since=now)
    minute()
    minute()
    Connection.objects.update(late_since=None, last_success_at=timezone.now())
    minute()
    minute()
    Connection.objects.update(failures=2)
    minute()
    Connection.objects.update(failures=0, last_success_at=timezone.now())
    minute()
    assert [each["kind"] for each in tool.told] == [
        "connection.late", "connection.recovered", "connection.failing", "connection.recovered"
    ]  # fmt: skip
    assert {each["connection"] for each in tool.told} == {str(one.uid)}
    assert tool.told[1]["last_success_at"]


def test_who_sees_the_district_no_more_is_told_nothing_more(
    trip: Trip, webhook: Webhook, tool: Tool, tables: making.Tables
) -> None:
    tool.status = 500
    trip.go(trip.send(tables))
    minute()
    waiting = webhook.announcements.get()
    tool.status = 200
    webhook.client.districts.clear()
    sent = telling.send(waiting.pk, waiting.not_before)
    assert sent is not None and sent.status == "given_up" and len(tool.heard) == 1
    ping = telling.ping(webhook, timezone.now())
    webhook.client.end(timezone.now())
    last = telling.send(ping.pk)
    assert last is not None and (last.status, last.answered) == ("given_up", "Its client has ended.")
    assert len(tool.heard) == 1


def test_two_workers_make_and_send_it_once(trip: Trip, webhook: Webhook, tool: Tool) -> None:
    announcement = telling.ping(webhook, timezone.now())
    with pytest.raises(IntegrityError), transaction.atomic():
        Announcement.objects.create(webhook=webhook, kind="ping", about=announcement.about)
    rival = Announcement.objects.get(pk=announcement.pk)
    assert rival.start(timezone.now())
    assert telling.send(announcement.pk) is None and not tool.heard


def test_staff_make_it_see_its_secret_once_and_send_again(
    trip: Trip, tool: Tool, make_staff: Callable[[str, str], Staff]
) -> None:
    client = Client.objects.create(name="Gradebook", scopes=list(scopes.STANDARD))
    client.districts.add(District.objects.get())
    browser, vera = Browser(), Browser()
    browser.force_login(make_staff("manu", "manager"))
    vera.force_login(make_staff("vera", "viewer"))
    said = {"client": client.pk, "url": tool.url, "kinds": ["sync.applied"]}
    assert vera.post("/admin/announcing/webhook/add/", said).status_code == 403
    assert "_addanother" not in browser.get("/admin/announcing/webhook/add/").content.decode(), "past the secret"
    page = browser.post("/admin/announcing/webhook/add/", said)
    secret = re.search(r'id="secret">([^<]+)<', page.content.decode())
    webhook = Webhook.objects.get()
    assert (
        secret
        and [(secret[1], None)] == webhook.secrets(timezone.now())
        and "no-store" in page.headers["Cache-Control"]
    )
    tool.status = 500
    browser.post(reverse("admin:announcing_webhook_ping", args=[webhook.pk]))
    work_off()
    Announcement.objects.update(status="given_up")
    shown = browser.get(f"/admin/announcing/webhook/{webhook.pk}/change/").content.decode()
    assert "given up" in shown and "HTTP 500" in shown and secret[1] not in shown
    assert vera.get(f"/admin/announcing/webhook/{webhook.pk}/change/").status_code == 403
    tool.status = 200
    browser.post(reverse("admin:announcing_webhook_replay", args=[webhook.pk]))
    work_off()
    assert Announcement.objects.get().status == "sent"
    browser.post(
        reverse("admin:announcing_webhook_replay", args=[webhook.pk]), {"announcement": Announcement.objects.get().pk}
    )
    work_off()
    assert len(tool.heard) == 3
    browser.post(reverse("admin:announcing_webhook_switch", args=[webhook.pk]))
    webhook.refresh_from_db()
    assert webhook.off_at
    told = set(AuditEvent.objects.values_list("action", flat=True))
    assert {"webhook.made", "webhook.replayed", "webhook.off"} <= told
    for name in ("ping", "secret", "switch", "replay"):
        assert vera.post(reverse(f"admin:announcing_webhook_{name}", args=[webhook.pk])).status_code == 403


@pytest.fixture
def manu(make_staff: Callable[[str, str], Staff]) -> Browser:
    browser = Browser()
    browser.force_login(make_staff("manu", "manager"))
    return browser


@pytest.mark.looks
def test_the_secret_before_signs_beside_a_new_one_for_as_long_as_was_chosen(
    trip: Trip, webhook: Webhook, tool: Tool, manu: Browser
) -> None:
    first, anew = webhook.secret_text, reverse("admin:announcing_webhook_secret", args=[webhook.pk])  # type: ignore[attr-defined]

    def made(overlap: str) -> str:
        page = manu.post(anew, {"overlap": overlap}).content.decode()
        found = re.search(r'id="secret">([^<]+)<', page)
        assert found and ("the secret before as well" in page) == (overlap != "0")
        return found[1]

    def signing(after: timedelta = timedelta()) -> list[bool]:
        """Which of the secrets known here what is sent then is signed with."""
        now = timezone.now() + after
        telling.send(telling.ping(webhook, now).pk, now)
        headers, body = tool.heard[-1]
        stamp, *signed = [part.partition("=")[2] for part in headers["Portal-Signature"].split(",")]
        to_sign = stamp.encode() + b"." + body
        return [hmac.new(one.encode(), to_sign, hashlib.sha256).hexdigest() in signed for one in known]

    known = [first, made("86400")]
    assert signing() == [True, True] and signing(timedelta(hours=25)) == [False, True]
    assert (
        "The secret before signs beside it until"
        in manu.get(f"/admin/announcing/webhook/{webhook.pk}/change/").content.decode()
    )
    known.append(made("3600"))
    assert signing() == [True, True, True] and signing(timedelta(hours=2)) == [False, False, True]
    known.append(made("0"))
    assert signing() == [False, False, False, True], "it leaked"
    assert manu.post(anew, {"overlap": "9"}).status_code == 302 and signing()[-1]
    assert AuditEvent.objects.filter(action="webhook.secret_made").count() == 3
    Webhook.objects.update(sealed="1:none:none")
    known.append(made("0"))
    assert signing()[-1], "also where the one before cannot be opened any more"


def rows_of(browser: Browser, webhook: Webhook) -> list[str]:
    """What stands in each row of what a webhook was told, the latest first."""
    page = browser.get(f"/admin/announcing/webhook/{webhook.pk}/change/").content.decode()
    return [" ".join(re.sub(r"<(?!a )[^>]*>", " ", row).split()) for row in page.split("<tr>")[2:]]


@pytest.mark.looks
def test_what_it_was_told_is_said_in_words_with_what_to_do_and_when_it_is_tried_again(
    trip: Trip, webhook: Webhook, tool: Tool, tables: making.Tables, manu: Browser
) -> None:
    sync = trip.send(tables)
    tool.status = 500
    minute()
    told = webhook.announcements.get()
    (row,) = rows_of(manu, webhook)
    assert f'<a href="/admin/rosters/sync/{sync.pk}/change/">A sync waits for a person sync.awaiting_review' in row
    assert "The tool had a fault of its own. If it stays so, tell who runs the tool since when. HTTP 500" in row
    assert f"tried again at {timezone.localtime(told.not_before):%-d %b, %H:%M}" in row

    for answered, words in (
        ("CONN-NAME", "The server's name is not known. Check the spelling of the address. CONN-NAME"),
        ("TimeoutError", "The tool did not answer in time."),
        ("ConnectionError", "The line to the tool broke before it answered. ConnectionError"),
        ("HTTP 302", "another address, which is not followed"),
        ("HTTP 403", "whether it knows the present secret"),
        ("HTTP 410", "Nothing takes it at this address."),
        ("HTTP 422", "The tool did not take it."),
        ("The secret cannot be opened: make a new one.", "The secret cannot be opened: make a new one."),
    ):
        Announcement.objects.update(status="given_up", answered=answered, tries=8)
        (row,) = rows_of(manu, webhook)
        assert words in row.replace("&#x27;", "'") and "given up" in row and "after 8 tries" in row, row
    webhook.switch_off(timezone.now(), "Switched off by manu.")
    telling.ping(webhook, timezone.now())
    row = rows_of(manu, webhook)[0]
    assert "A ping" in row and "waits; sent when it is switched on" in row
    page = manu.get(f"/admin/announcing/webhook/{webhook.pk}/change/").content.decode()
    assert "Send a ping" not in page and "Switch it on" in page, "it would not arrive"


@pytest.mark.looks
def test_a_webhook_of_a_client_that_has_ended_says_so_and_does_nothing(
    trip: Trip, webhook: Webhook, manu: Browser
) -> None:
    Client.objects.filter(pk=webhook.client_id).update(name="BI export")
    at = f"/admin/announcing/webhook/{webhook.pk}/change/"
    page = manu.get(at).content.decode()
    assert "<h1>Webhook of BI export</h1>" in page
    telling.ping(webhook, timezone.now())
    webhook.client.end(timezone.now())
    page = manu.get(at).content.decode()
    assert "Its client has ended" in page and "A roster went live" in page and "A ping" in page
    assert "never arrived" in page and "on its way" not in page
    assert not re.search(r'<form method="post" action|type="submit" value|sync\.applied', page)
    assert "its client has ended" in manu.get("/admin/announcing/webhook/").content.decode()
    before = webhook.sealed
    for name in ("ping", "secret", "switch", "replay"):
        assert manu.post(reverse(f"admin:announcing_webhook_{name}", args=[webhook.pk])).status_code == 403
    webhook.refresh_from_db()
    assert (webhook.sealed, webhook.off_at) == (before, None)
