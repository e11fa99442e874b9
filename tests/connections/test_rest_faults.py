"""Servers that misbehave in one way each: every time a person is told what happened, and no roster is left behind."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from connections.exceptions import FAULTS, FetchError
from connections.rest import Api, Limits, pull, steps
from tests.connections.sis import (
    KEY,
    LOOPBACK,
    SECRET,
    Misbehaviour,
    Question,
    Reply,
    Sis,
    as_json,
    certificate,
    roster,
    running,
)

IMSX = {"imsx_codeMajor": "failure", "imsx_severity": "error", "imsx_description": "Ada Kim is unknown"}
MINOR = {"imsx_codeMinorField": [{"imsx_codeMinorFieldName": "x", "imsx_codeMinorFieldValue": "unknownobject"}]}
#: How servers dress an error, from the standard's own form to what they made of it.
ERRORS: dict[str, dict[str, Any]] = {
    "flat as in 1.2": IMSX | {"imsx_CodeMinor": MINOR},
    "wrapped": {"imsx_StatusInfo": IMSX | {"imsx_codeMinor": MINOR}},
    "a set": {"statusInfoSet": [IMSX | {"imsx_codeMinor": "unknownobject"}]},
    "a list of errors": {"errors": [{"code": "unknownobject", "description": "Ada Kim"}]},
    "without prefixes": {"codeMajor": "failure", "severity": "error", "codeMinor": "unknownobject"},
}


def refused(
    folder: Path, sis: Sis, api: Api | None = None, limits: Limits | None = None, sleep: Callable[[float], object] = id
) -> FetchError:
    """The fault that a pull ends with; nothing is in `folder` afterwards, and nothing that is secret is told."""
    folder = folder / "deliveries"
    folder.mkdir(exist_ok=True)
    (folder / "pull.zip").write_bytes(b"of yesterday")
    with pytest.raises(FetchError) as caught:
        pull(api or sis.api, folder, limits=limits or Limits(), sleep=sleep)
    assert list(folder.iterdir()) == []
    told = f"{caught.value!r} {caught.value} {caught.value.next_step}"
    assert not [word for word in (SECRET, KEY, "static-token", "token-1", "Ada", "Kim", "user-0") if word in told]
    return caught.value


def users(reply: Callable[[Question], Reply]) -> Misbehaviour:
    """Everything is good but the pages of users (not the first question, how many there are)."""
    return lambda question, good: reply(question) if question.collection == "users" and question.number > 1 else good


def always(reply: Reply) -> Misbehaviour:
    return users(lambda _: reply)


def rows(some: list[Any], total: int | None = None) -> Reply:
    return as_json({"users": some}) if total is None else as_json({"users": some}, X_Total_Count=str(total))


PEOPLE = roster(30)["users"]
PEOPLE_1_2 = roster(30, "1.2")["users"]


def _page_of(question: Question) -> list[Any]:
    return PEOPLE[question.offset :][: question.limit]


def _zipped(reply: Reply) -> Reply:
    return reply.having(Content_Encoding="gzip")


#: What the server does instead of giving the users, and what a person is told.
CASES: dict[str, tuple[Misbehaviour, str]] = {
    "redirects to a host": (always(Reply(302, headers={"Location": "https://evil.example/a?b=Ada"})), "API-REDIRECT"),
    "redirects to itself": (always(Reply(307, headers={"Location": "/elsewhere"})), "API-REDIRECT"),
    "redirects to nonsense": (always(Reply(301, headers={"Location": "http://[oops/"})), "API-REDIRECT"),
    "withdraws the key": (always(as_json({}, 401)), "API-AUTH"),
    "forbids": (always(as_json({}, 403)), "API-FORBIDDEN"),
    "knows no such collection": (always(as_json({}, 404)), "API-NOT-FOUND"),
    "does not understand": (always(as_json({}, 400)), "API-REFUSED"),
    "cannot be used so": (always(as_json({}, 422)), "API-REFUSED"),
    "is busy for ever": (always(as_json({}, 429)), "API-BUSY"),
    "is closed for ever": (always(as_json({}, 503, Retry_After="10")), "API-BUSY"),
    "is broken": (always(as_json({}, 500)), "API-SERVER"),
    "has a broken gateway": (always(Reply(502, b"<html>Bad gateway</html>")), "API-HEAVY"),
    "shows a login page": (always(Reply(200, b"\n<!DOCTYPE html><title>Log in, Ada</title>")), "API-HTML"),
    "sends nothing": (always(Reply(200)), "API-JSON"),
    "sends half a document": (always(Reply(200, json.dumps({"users": PEOPLE}).encode()[:-40])), "API-JSON"),
    "sends half of what it announced": (always(replace(rows(PEOPLE), cut=900)), "CONN-CUT"),
    "breaks off in a chunk": (
        always(replace(Reply(200, b'1000\r\n{"users": [', {"Transfer-Encoding": "chunked"}), cut=1)),
        "CONN-CUT",
    ),
    "packs badly": (always(_zipped(Reply(200, b"not gzip at all"))), "CONN-CUT"),
    "breaks off what it packed": (always(_zipped(Reply(200, gzip.compress(rows(PEOPLE).body)[:200]))), "API-JSON"),
    "writes Python": (always(Reply(200, b"{'users': []}")), "API-JSON"),
    "writes no number": (always(Reply(200, b'{"users": [{"sourcedId": NaN}]}')), "API-JSON"),
    "nests for ever": (always(Reply(200, b'{"users": ' + b"[" * 200_000)), "API-JSON"),
    "nests for ever and closes": (
        always(Reply(200, b'{"users": [{"sourcedId": "a", "x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}]}")),
        "API-JSON",
    ),
    "sends two lists of one name": (
        always(Reply(200, json.dumps({"users": PEOPLE}).encode()[:-1] + b', "users": []}')),
        "API-JSON",
    ),
    "writes another alphabet": (always(Reply(200, b'{"users": ["\xff\xfe"]}')), "API-JSON"),
    "sends an empty object": (always(Reply(200, b"{}")), "API-SHAPE"),
    "sends an empty list": (always(Reply(200, b"[]")), "API-SHAPE"),
    "sends a bare list": (always(as_json(PEOPLE)), "API-SHAPE"),
    "sends null": (always(as_json({"users": None})), "API-SHAPE"),
    "sends one user where many should be": (always(as_json({"users": PEOPLE[0]})), "API-SHAPE"),
    "names the list after the path": (always(as_json({"students": PEOPLE})), "API-SHAPE"),
    "has no users": (always(rows([], 0)), "API-EMPTY"),
    "has no users and does not count": (always(rows([])), "API-EMPTY"),
    "empties the list and names a failure": (always(as_json({"users": []} | IMSX)), "API-STATUS"),
    "ignores the offset": (users(lambda question: rows(PEOPLE[: question.limit], 30)), "API-PAGING"),
    "ignores the offset and does not count": (users(lambda question: rows(PEOPLE[: question.limit])), "API-PAGING"),
    "counts more than there are": (users(lambda question: rows(_page_of(question), 31)), "API-DRIFT"),
    "counts fewer than there are": (users(lambda question: rows(_page_of(question), 29)), "API-DRIFT"),
    "counts the page, not the collection": (
        users(lambda question: rows(_page_of(question), len(_page_of(question)))),
        "API-DRIFT",
    ),
    "counts on while it is asked": (
        users(lambda question: rows(_page_of(question), 30 + question.number)),
        "API-DRIFT",
    ),
    "jumps over a record between pages": (
        users(lambda question: rows(PEOPLE[question.offset + question.offset // 10 :][: question.limit], 30)),
        "API-DRIFT",
    ),
    "repeats a record and leaves one out": (
        users(lambda question: rows([PEOPLE[min(n, 28)] for n in range(30)][question.offset :][: question.limit], 30)),
        "API-DRIFT",
    ),
    "moves rows and does not count": (
        users(lambda question: rows(PEOPLE[max(0, question.offset - 1) :][: question.limit])),
        "API-DRIFT",
    ),
    "speaks the other version": (always(rows(PEOPLE_1_2, 30)), "API-VERSION"),
    "changes its revision each time": (
        lambda question, reply: reply.having(x_perm_rev=str(question.number)),
        "API-MOVED",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("misbehaviour", "code"), CASES.values(), ids=CASES)
def test_a_server_that_misbehaves_is_named_and_leaves_nothing(
    tmp_path: Path, misbehaviour: Misbehaviour, code: str
) -> None:
    with running(roster(30), misbehaviour) as sis:
        error = refused(tmp_path, sis, replace(sis.api, page_size=10))
    assert error.code == code


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize(("status", "code"), [(200, "API-STATUS"), (404, "API-NOT-FOUND")])
def test_an_error_is_understood_in_each_of_its_five_forms(
    tmp_path: Path, error: dict[str, Any], status: int, code: str
) -> None:
    with running(misbehaviour=always(as_json(error, status))) as sis:
        fault = refused(tmp_path, sis)
    assert fault.code == code
    assert "unknownobject" in fault.detail


def test_an_error_with_good_status_is_no_empty_roster_even_beside_a_list(tmp_path: Path) -> None:
    with running(misbehaviour=always(as_json({"users": PEOPLE} | ERRORS["wrapped"]))) as sis:
        assert refused(tmp_path, sis).code == "API-STATUS"


@pytest.mark.parametrize("collection", ["academicSessions", "courses", "classes", "users", "enrollments"])
def test_each_collection_that_every_roster_has_must_answer_and_not_be_empty(tmp_path: Path, collection: str) -> None:
    with running(roster() | {collection: []}) as sis:
        assert refused(tmp_path, sis).code == "API-EMPTY"
    with running({name: rows for name, rows in roster().items() if name != collection}) as sis:
        assert refused(tmp_path, sis).code == "API-NOT-FOUND"


def test_a_redirect_is_told_by_its_origin_and_nobody_is_there_to_be_asked(tmp_path: Path) -> None:
    with running() as other:
        elsewhere = f"{other.origin}/ims/oneroster/v1p1/users?name=Ada"
        with running(misbehaviour=always(Reply(302, headers={"Location": elsewhere}))) as sis:
            error = refused(tmp_path, sis)
        assert error.detail == f"It leads to {other.origin}."
        assert other.asked == []


# Who may be asked


def test_a_name_that_nobody_knows(tmp_path: Path) -> None:
    with running() as sis:
        api = replace(sis.api, base_url="https://sis.invalid/ims/oneroster/v1p1")
        assert refused(tmp_path, sis, api).code == "CONN-NAME"


def test_a_private_address_is_not_even_connected_to(tmp_path: Path) -> None:
    with running(certificate=certificate(tmp_path)) as sis:
        assert refused(tmp_path, sis, replace(sis.api, allowed=())).code == "CONN-ADDRESS"
        assert sis.asked == []


def test_a_private_token_server_is_not_even_connected_to(tmp_path: Path) -> None:
    with running(certificate=certificate(tmp_path), auth="oauth2") as sis:
        api = replace(sis.api, token_url="https://169.254.169.254/token")
        assert refused(tmp_path, sis, api).code == "CONN-ADDRESS"


def test_a_port_where_nobody_listens(tmp_path: Path) -> None:
    with running() as sis, socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        api = replace(sis.api, base_url=f"http://127.0.0.1:{unheard.getsockname()[1]}/ims")
        assert refused(tmp_path, sis, api).code == "CONN-REFUSED"


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://127.0.0.1/ims", ()),
        ("ftp://127.0.0.1/ims", LOOPBACK),
        ("https://someone:secret@sis.example/ims", LOOPBACK),
        ("https://sis.example/ims?x=1", LOOPBACK),
        ("https://sis.example/ims#x", LOOPBACK),
        ("https://sis.example /ims", LOOPBACK),
        ("https://sis.example:port/ims", LOOPBACK),
        ("https:///ims", LOOPBACK),
        ("sis.example/ims", LOOPBACK),
        ("", LOOPBACK),
    ],
)
def test_an_address_that_is_none_or_not_safe(tmp_path: Path, url: str, allowed: tuple[Any, ...]) -> None:
    with running() as sis:
        assert refused(tmp_path, sis, replace(sis.api, base_url=url, allowed=allowed)).code == "API-URL"


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({}, "Self-signed certificate."),
        ({"expired": True}, "Certificate has expired."),
        ({"host": "other.example"}, "Hostname mismatch, certificate is not valid for 'localhost'."),
    ],
)
def test_a_certificate_that_is_not_good(tmp_path: Path, made: dict[str, Any], words: str) -> None:
    with running(certificate=certificate(tmp_path, **made)) as sis:
        api = replace(sis.api, ca_file="") if not made else sis.api
        error = refused(tmp_path, sis, api)
        assert error.code == "API-TLS"
        assert error.detail == words
        assert sis.asked == []


def test_a_server_that_does_not_speak_tls(tmp_path: Path) -> None:
    with running() as sis:
        api = replace(sis.api, base_url=sis.api.base_url.replace("http:", "https:"))
        assert refused(tmp_path, sis, api).code == "API-TLS"


# Credentials


@pytest.mark.parametrize("auth", ["oauth1", "oauth2", "bearer"])
def test_wrong_credentials_suggest_a_swap_that_is_never_tried(tmp_path: Path, auth: Any) -> None:
    with running(auth=auth) as sis:
        error = refused(tmp_path, sis, replace(sis.api, key="swapped", secret=KEY))
        assert error.code == ("API-TOKEN" if auth == "oauth2" else "API-AUTH")
        assert "swap" in error.next_step
        assert len(sis.asked) == (0 if auth == "oauth2" else 1)


@pytest.mark.parametrize("minutes", [-20, 20])
def test_a_clock_that_differs_is_named(tmp_path: Path, minutes: int) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=minutes), usegmt=True)
    with running(misbehaviour=lambda *_: as_json({}, 401, Date=date), auth="oauth1") as sis:
        error = refused(tmp_path, sis)
    assert error.code == "API-CLOCK"
    assert ("20 minutes behind" if minutes < 0 else "20 minutes ahead") in error.detail


@pytest.mark.parametrize("secret", ["", " secret", "secret\n", "sec\x00ret", "se\r\nX-Header: 1"])
def test_credentials_that_were_pasted_with_something_around_them(tmp_path: Path, secret: str) -> None:
    with running() as sis:
        assert refused(tmp_path, sis, replace(sis.api, secret=secret)).code == "API-CREDENTIALS"
        assert sis.asked == []


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (as_json({"error": "invalid_client", "error_description": SECRET}, 401), "API-TOKEN"),
        (as_json({"error": "invalid_scope"}, 400), "API-SCOPE"),
        (Reply(404, b"<html>"), "API-TOKEN"),
        (Reply(302, headers={"Location": "https://login.example/?next=x"}), "API-REDIRECT"),
        (as_json({}, 503), "API-BUSY"),
        (Reply(200, b"<html>Log in</html>"), "API-TOKEN-SHAPE"),
        (Reply(200, b"[]"), "API-TOKEN-SHAPE"),
        (as_json({"access_token": None}), "API-TOKEN-SHAPE"),
        (as_json({"access_token": "two\nlines"}), "API-TOKEN-SHAPE"),
    ],
)
def test_a_token_server_that_gives_no_token(tmp_path: Path, reply: Reply, code: str) -> None:
    with running(auth="oauth2") as sis:
        sis.token_reply = lambda _: reply
        assert refused(tmp_path, sis).code == code
        assert sis.asked == []


def test_a_token_server_that_insists_on_a_scope(tmp_path: Path) -> None:
    """Seen at a OneRoster server of 1.1: the request without a scope is called invalid, not the scope."""
    with running(auth="oauth2") as sis:
        sis.token_reply = lambda _: as_json({"error": "invalid_request"}, 400)
        assert "No scope was asked for" in refused(tmp_path, sis, replace(sis.api, scope="")).message
        assert "scope" not in refused(tmp_path, sis, replace(sis.api, scope="roster-core.readonly")).message


def test_a_second_refusal_after_a_new_token_means_that_access_was_withdrawn(tmp_path: Path) -> None:
    with running(misbehaviour=always(as_json({}, 401)), auth="oauth2") as sis:
        assert refused(tmp_path, sis).code == "API-AUTH"
        assert sis.tokens == 2
        assert sis.count("users") == 3  # how many there are, the page, and once more


def test_a_new_token_that_is_the_old_one_is_not_tried_again(tmp_path: Path) -> None:
    with running(misbehaviour=always(as_json({}, 401)), auth="oauth2") as sis:
        sis.token_reply = lambda _: as_json({"access_token": "token-1"})
        assert refused(tmp_path, sis).code == "API-AUTH"
        assert sis.count("users") == 2


# Too slow, too much


def test_a_server_that_falls_silent(tmp_path: Path) -> None:
    with running(misbehaviour=always(Reply(silent=True))) as sis:
        assert refused(tmp_path, sis, limits=Limits(read=0.1, tries=2)).code == "CONN-TIMEOUT"


def test_a_server_that_sends_a_byte_now_and_then_for_ever(tmp_path: Path) -> None:
    with running(misbehaviour=always(Reply(drips=True))) as sis:
        assert refused(tmp_path, sis, limits=Limits(seconds=0.7)).code == "CONN-BUDGET"


@pytest.mark.parametrize("safe", [False, True])
def test_headers_that_come_byte_by_byte_end_with_the_patience_for_an_answer_and_are_asked_for_again(
    tmp_path: Path, safe: bool
) -> None:
    chain = certificate(tmp_path) if safe else None
    limits = Limits(connect=0.2, read=0.2, tries=2)
    with running(misbehaviour=always(Reply(trickles=True)), certificate=chain) as sis:
        assert refused(tmp_path, sis, limits=limits).code == "CONN-TIMEOUT"
        assert sis.count("users") == 3  # how many there are, the page, and once more

    def once(question: Question, good: Reply) -> Reply:
        return replace(good, trickles=question.collection == "users" and question.number == 2)

    with running(misbehaviour=once, certificate=chain) as sis:
        assert pull(sis.api, tmp_path, limits=limits, sleep=id).collections["users"].rows == 25


@pytest.mark.parametrize("safe", [False, True])
def test_headers_that_come_byte_by_byte_end_with_the_time_of_the_run(tmp_path: Path, safe: bool) -> None:
    begun = time.monotonic()
    chain = certificate(tmp_path) if safe else None
    with running(misbehaviour=always(Reply(trickles=True)), certificate=chain) as sis:
        assert refused(tmp_path, sis, limits=Limits(seconds=0.7)).code == "CONN-BUDGET"
    assert time.monotonic() - begun < 10


@contextmanager
def dripping(beginning: bytes) -> Iterator[str]:
    """A server that says this to everybody, and then a byte now and then, for ever: its address."""
    over = threading.Event()

    def speak(line: socket.socket) -> None:
        with line, suppress(OSError):
            line.sendall(beginning)
            while not over.wait(0.02):
                line.sendall(b"\x00")

    def serve() -> None:
        with suppress(OSError), ThreadPoolExecutor() as speakers:
            while True:
                speakers.submit(speak, listening.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as server:
        server.submit(serve)
        try:
            yield f"https://127.0.0.1:{listening.getsockname()[1]}/ims"
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (Limits(connect=0.3, read=0.3, tries=1), "CONN-TIMEOUT"),
        (Limits(connect=30, read=0.3, seconds=0.7), "CONN-BUDGET"),
    ],
)
def test_a_handshake_that_never_ends(tmp_path: Path, limits: Limits, code: str) -> None:
    begun = time.monotonic()
    handshake = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"  # a record of 16 KiB, and in it a ServerHello as long
    with dripping(handshake) as url, running() as sis:
        assert refused(tmp_path, sis, replace(sis.api, base_url=url), limits).code == code
    with dripping(handshake) as url:
        steps_taken = {step.name: step for step in steps(replace(sis.api, base_url=url), limits=limits, sleep=id)}
    assert steps_taken["TLS"].code == "CONN-TIMEOUT"
    assert time.monotonic() - begun < 10


def test_what_a_stranger_calls_a_header_is_not_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    odd = {"X-Good": "yes\r\nAda Kim was here\r\nX-More: no"}
    with running(misbehaviour=lambda _, good: good.having(**odd)) as sis:
        pull(sis.api, tmp_path)
    assert "GET" in caplog.text
    assert "Ada" not in caplog.text


def test_a_pause_longer_than_what_is_left_is_not_waited_for(tmp_path: Path) -> None:
    slept: list[float] = []
    with running(misbehaviour=always(as_json({}, 429, Retry_After="86400"))) as sis:
        assert refused(tmp_path, sis, limits=Limits(seconds=600), sleep=slept.append).code == "CONN-BUDGET"
    assert slept == []


def test_a_page_that_unpacks_to_more_than_a_page_can_be(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = packer.compress(b'{"users": [' + b" " * (64 << 20)) + packer.flush()
    with running(misbehaviour=always(_zipped(Reply(200, bomb)))) as sis:
        assert refused(tmp_path, sis, limits=Limits(page_size=1 << 20)).code == "CONN-TOO-LARGE"


def test_more_than_a_roster_can_be(tmp_path: Path) -> None:
    with running(roster(500)) as sis:
        assert refused(tmp_path, sis, limits=Limits(size=100_000)).code == "CONN-TOO-LARGE"


def test_pages_that_never_end(tmp_path: Path) -> None:
    def endless(question: Question) -> Reply:
        return rows([{"sourcedId": f"endless-{question.offset + n}"} for n in range(question.limit)])

    with running(misbehaviour=users(endless)) as sis:
        assert refused(tmp_path, sis, replace(sis.api, page_size=10), Limits(pages=40)).code == "API-PAGING"


@pytest.mark.parametrize("at", range(1, 28))
def test_a_server_that_dies_at_any_question_leaves_nothing(tmp_path: Path, at: int) -> None:
    """Whichever question it is: the connection breaks there, and at each one after."""
    with running(roster(25), lambda _, reply: replace(reply, cut=1) if len(sis.asked) >= at else reply) as sis:
        assert refused(tmp_path, sis, replace(sis.api, page_size=10)).code == "CONN-CUT"


def test_every_fault_of_the_api_says_what_to_do() -> None:
    for code, fault in FAULTS.items():
        assert fault.title.endswith("."), code
        assert fault.next_step.endswith("."), code
