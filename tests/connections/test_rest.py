"""Rosters pulled from good servers: whole, in pages as they came, whatever the server's habits are."""

from __future__ import annotations

import base64
import hmac
import json
import logging
import re
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest

from connections.exceptions import FetchError
from connections.rest import SCOPES, Limits, Pulled, pull
from tests.connections.sis import KEY, SECRET, Question, Reply, Row, as_json, certificate, roster, running


def never_sleeping(seconds: float) -> None:
    """Pauses are part of the story, not of the tests' time."""


def contents(pulled: Pulled) -> dict[str, list[Any]]:
    """All records of the zip, by collection. One with which a page ends and the next begins is there once."""
    found: dict[str, list[Any]] = {}
    with zipfile.ZipFile(pulled.path) as archive:
        for name in sorted(set(archive.namelist()) - {"pull.json"}):
            collection = name.partition("-")[0]
            records = json.loads(archive.read(name))[collection]
            so_far = found.setdefault(collection, [])
            so_far += records[1:] if so_far and so_far[-1:] == records[:1] else records
    return found


def description(pulled: Pulled) -> dict[str, Any]:
    with zipfile.ZipFile(pulled.path) as archive:
        assert archive.namelist()[-1] == "pull.json"
        read: dict[str, Any] = json.loads(archive.read("pull.json"))
        return read


@pytest.mark.parametrize("signature", ["HMAC-SHA256", "HMAC-SHA1"])
def test_a_server_that_checks_signatures_gives_its_whole_roster(tmp_path: Path, signature: Any) -> None:
    with running(auth="oauth1") as sis:
        pulled = pull(replace(sis.api, signature=signature, page_size=10), tmp_path)
        assert contents(pulled) == sis.rows


@pytest.mark.parametrize(("signature", "digest"), [("HMAC-SHA256", "sha256"), ("HMAC-SHA1", "sha1")])
def test_a_signature_is_what_rfc_5849_makes_of_the_question(tmp_path: Path, signature: Any, digest: str) -> None:
    """Made by hand, with quotes and a comparison in the question."""

    def encoded(text: str) -> str:
        return quote(text, safe="")

    with running(auth="oauth1") as sis:
        pull(replace(sis.api, signature=signature), tmp_path, since=datetime(2026, 11, 15, tzinfo=UTC))
        question = sis.asked[-1]
        assert question.query["filter"] == "dateLastModified>'2026-11-15T00:00:00.000Z'"
        signed = dict(re.findall(r'(oauth_\w+)="([^"]*)"', question.headers["Authorization"]))
        sent = unquote(signed.pop("oauth_signature"))
        pairs = {**question.query, **{name: unquote(value) for name, value in signed.items()}}
        joined = "&".join(sorted(f"{encoded(name)}={encoded(value)}" for name, value in pairs.items()))
        base = "&".join(["GET", encoded(f"{sis.api.base_url}/{question.collection}"), encoded(joined)])
        expected = hmac.new(f"{encoded(SECRET)}&".encode(), base.encode(), digest).digest()
    assert sent == base64.b64encode(expected).decode()
    assert signed["oauth_signature_method"] == signature


@pytest.mark.parametrize("where", ["header", "body"])
def test_a_server_that_gives_tokens_gives_its_whole_roster_for_one(tmp_path: Path, where: Any) -> None:
    with running(auth="oauth2") as sis:
        pulled = pull(replace(sis.api, credentials_in=where, scope=SCOPES["1.1"], page_size=10), tmp_path)
        assert contents(pulled) == sis.rows
        assert sis.tokens == 1


def test_a_static_bearer_over_tls_is_enough_for_a_server_that_wants_one(tmp_path: Path) -> None:
    with running(certificate=certificate(tmp_path)) as sis:
        assert contents(pull(sis.api, tmp_path)) == sis.rows


def test_the_zip_says_first_what_it_is_and_holds_the_pages_byte_for_byte(tmp_path: Path) -> None:
    def odd(question: Question, reply: Reply) -> Reply:
        return replace(reply, body=b"\n  " + reply.body + b"\n") if question.limit > 1 else reply

    with running(roster(3), odd) as sis:
        pulled = pull(sis.api, tmp_path)
        assert description(pulled) == {
            "format": "oneroster-rest-pull/1",
            "version": "1.1",
            "mode": "bulk",
            "since": None,
            "collections": {
                name: {"pages": 1, "rows": len(rows), "total": len(rows), "complete": True}
                for name, rows in sis.rows.items()
            },
            "base": sis.origin,
        }
        with zipfile.ZipFile(pulled.path) as archive:
            expected = b"\n  " + json.dumps({"users": sis.rows["users"]}).encode() + b"\n"
            assert archive.read("users-000001.json") == expected
        assert [path.name for path in tmp_path.iterdir()] == ["pull.zip"]


def test_many_pages_are_read_one_after_the_other_and_told_of(tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    with running(roster(200)) as sis:
        pulled = pull(replace(sis.api, page_size=10), tmp_path, progress=lambda *page: told.append(page))
        assert pulled.collections["users"].pages == 23  # each begins with the last record of the one before
        assert contents(pulled)["users"] == sis.rows["users"]
    assert [page for page in told if page[0] == "users"] == [("users", n, 200) for n in [*range(10, 200, 9), 200]]


def test_a_server_that_cuts_the_limit_without_a_word_still_gives_every_record(tmp_path: Path) -> None:
    with running(roster(25)) as sis:
        sis.clamp = 4
        assert contents(pull(sis.api, tmp_path)) == sis.rows


def test_without_a_total_an_empty_page_is_the_end(tmp_path: Path) -> None:
    with running(roster(20), lambda _, reply: reply.without("X-Total-Count")) as sis:
        pulled = pull(replace(sis.api, page_size=10), tmp_path)
        assert contents(pulled) == sis.rows
        assert description(pulled)["collections"]["users"]["total"] is None


def test_a_server_that_ignores_the_limit_gives_everything_at_once(tmp_path: Path) -> None:
    def all_at_once(question: Question, reply: Reply) -> Reply:
        rows = sis.rows[question.collection]
        return as_json({question.collection: rows[question.offset :]}, X_Total_Count=str(len(rows)))

    with running(roster(25), all_at_once) as sis:
        assert contents(pull(replace(sis.api, page_size=10), tmp_path)) == sis.rows


def test_a_server_that_knows_no_pages_at_all_is_taken_at_its_total(tmp_path: Path) -> None:
    def always_all(question: Question, reply: Reply) -> Reply:
        rows = sis.rows[question.collection]
        return as_json({question.collection: rows}, X_Total_Count=str(len(rows)))

    with running(roster(25), always_all) as sis:
        assert contents(pull(replace(sis.api, page_size=10), tmp_path)) == sis.rows


#: What servers answer where nothing more is, instead of an empty list.
BEYOND: dict[str, Callable[[Question, list[Row]], Reply]] = {
    "400": lambda question, rows: as_json({}, 400),
    "404": lambda question, rows: as_json({}, 404),
    "null": lambda question, rows: as_json({question.collection: None}),
    "the last page again": lambda question, rows: as_json(
        {question.collection: rows[len(rows) - (len(rows) % question.limit or question.limit) :]}
    ),
    "the last records": lambda question, rows: as_json({question.collection: rows[-question.limit :]}),
    "the first page": lambda question, rows: as_json({question.collection: rows[: question.limit]}),
}


@pytest.mark.parametrize("beyond", BEYOND.values(), ids=BEYOND)
@pytest.mark.parametrize("users", [5, 20, 25])
@pytest.mark.parametrize("counts", [True, False])
def test_whatever_a_server_answers_beyond_the_end_it_is_the_end(
    tmp_path: Path, users: int, beyond: Callable[[Question, list[Row]], Reply], counts: bool
) -> None:
    def strange(question: Question, reply: Reply) -> Reply:
        rows = sis.rows[question.collection]
        answer = beyond(question, rows) if question.offset >= len(rows) else reply
        return answer.having(X_Total_Count=str(len(rows))) if counts else answer.without("X-Total-Count")

    with running(roster(users), strange) as sis:
        assert contents(pull(replace(sis.api, page_size=10), tmp_path)) == sis.rows


@pytest.mark.parametrize("wrong", [-15, -5, -1, 1, 5])
@pytest.mark.parametrize("beyond", [None, *BEYOND.values()], ids=["nothing", *BEYOND])
def test_a_total_that_is_wrong_is_never_taken_for_the_end(
    tmp_path: Path, wrong: int, beyond: Callable[[Question, list[Row]], Reply] | None
) -> None:
    """Believed, a total of 10 where there are 25 would make 15 people look as if they had left."""

    def miscounting(question: Question, reply: Reply) -> Reply:
        rows = sis.rows[question.collection]
        answer = beyond(question, rows) if beyond and question.offset >= len(rows) else reply
        total = len(rows) + wrong * (question.collection == "users")
        return answer.having(X_Total_Count=str(total))

    with running(roster(25), miscounting) as sis, pytest.raises(FetchError) as caught:
        pull(replace(sis.api, page_size=10), tmp_path)
    assert caught.value.code in ("API-DRIFT", "API-PAGING", "API-REFUSED", "API-NOT-FOUND", "API-SHAPE")
    assert list(tmp_path.iterdir()) == []


def test_the_end_is_asked_for_once_in_each_collection(tmp_path: Path) -> None:
    with running(roster(25)) as sis:
        pull(replace(sis.api, page_size=10), tmp_path)
        for collection, rows in sis.rows.items():
            asked = [question.offset for question in sis.asked if question.collection == collection][1:]
            assert asked == [0, *range(9, len(rows) - 1, 9), len(rows) - 1]


@pytest.mark.parametrize(
    "link",
    [
        '<https://evil.example/users?offset=10>; rel="next"',
        '<http://localhost:1/users?offset=10>; rel="next"',
        'http://localhost/users?limit=10&offset=101; rel="next"',
        "<<;;=,",
        '<http://[::1/users>; rel="next"',
    ],
)
def test_a_link_to_the_next_page_is_never_followed_wherever_it_leads(tmp_path: Path, link: str) -> None:
    with running(roster(25), lambda _, reply: reply.having(Link=link)) as sis:
        assert contents(pull(replace(sis.api, page_size=10), tmp_path)) == sis.rows


def test_a_link_to_a_next_page_does_not_mend_a_total_that_counts_one_page_too_few(tmp_path: Path) -> None:
    """The total is wrong, so the pull fails; but it does not stop early and call that complete."""

    def short(question: Question, reply: Reply) -> Reply:
        if question.collection != "users":
            return reply
        link = f'<{sis.origin}/users?offset={question.offset + question.limit}>; rel="next"'
        return reply.having(Link=link, X_Total_Count="20")

    with running(roster(25), short) as sis, pytest.raises(FetchError) as caught:
        pull(replace(sis.api, page_size=10), tmp_path)
    assert caught.value.code == "API-DRIFT"


def test_a_server_that_cannot_sort_by_sourced_id_is_asked_without(tmp_path: Path) -> None:
    def unsorted(question: Question, reply: Reply) -> Reply:
        return as_json({}, 400) if "sort" in question.query else reply

    with running(roster(25), unsorted) as sis:
        assert contents(pull(replace(sis.api, page_size=10), tmp_path)) == sis.rows


def test_a_warning_beside_good_data_is_no_failure(tmp_path: Path) -> None:
    def warning(question: Question, reply: Reply) -> Reply:
        status = {"imsx_codeMajor": "success", "imsx_severity": "warning", "imsx_codeMinor": "invalid_sort_field"}
        return replace(reply, body=json.dumps(json.loads(reply.body) | status).encode())

    with running(misbehaviour=warning) as sis:
        assert contents(pull(sis.api, tmp_path)) == sis.rows


def test_rows_that_move_once_are_read_again_until_they_add_up(tmp_path: Path) -> None:
    """While the second page was fetched somebody left: every later row moved up by one, and one was jumped over."""

    def moving(question: Question, reply: Reply) -> Reply:
        if question.collection == "users" and question.offset == 9 and len(sis.rows["users"]) == 25:
            del sis.rows["users"][0]
            page = sis.rows["users"][9:19]
            return as_json({"users": page}, X_Total_Count="24")
        return reply

    with running(roster(25), moving) as sis:
        pulled = pull(replace(sis.api, page_size=10), tmp_path)
        assert contents(pulled) == sis.rows
        assert pulled.collections["users"].rows == 24


def test_a_record_that_is_jumped_over_is_noticed_also_where_the_total_stays_right(tmp_path: Path) -> None:
    """Somebody left and somebody else came between two pages: as many as before, and one who stays was not shown."""

    def moving(question: Question, reply: Reply) -> Reply:
        if question.collection == "users" and question.offset == 0 and question.limit == 10 and not came:
            came.append({**sis.rows["users"][-1], "sourcedId": "zz-new"})
            sis.rows["users"] = [*sis.rows["users"][1:], *came]  # too late for this page, in time for the next
        return reply

    came: list[dict[str, Any]] = []
    with running(roster(25), moving) as sis:
        pulled = pull(replace(sis.api, page_size=10), tmp_path)
        assert contents(pulled) == sis.rows
        assert (pulled.collections["users"].rows, pulled.collections["users"].total) == (25, 25)


def test_where_a_server_has_no_order_its_total_decides(tmp_path: Path) -> None:
    def shuffled(question: Question, reply: Reply) -> Reply:
        if question.collection != "users" or question.limit == 1:
            return reply
        pages = {0: (0, 10), 9: (12, 22), 10: (10, 20), 20: (20, 25)}
        first, last = pages.get(question.offset, (0, 0))
        return as_json({"users": sis.rows["users"][first:last]}, X_Total_Count="25")

    with running(roster(25), shuffled) as sis:
        assert contents(pull(replace(sis.api, page_size=10), tmp_path)) == sis.rows


def test_without_a_total_a_record_that_is_jumped_over_is_noticed(tmp_path: Path) -> None:
    """The same at a server that names no total: nothing would be repeated, and one person would seem to have left."""

    def moving(question: Question, reply: Reply) -> Reply:
        if question.collection == "users" and question.offset == 0 and question.limit == 10:
            sis.rows["users"] = sis.rows["users"][-24:]  # too late for this page, in time for the next
        return reply.without("X-Total-Count")

    with running(roster(25), moving) as sis:
        pulled = pull(replace(sis.api, page_size=10), tmp_path)
        assert contents(pulled) == sis.rows
        assert pulled.collections["users"].rows == 24


def test_without_a_total_rows_that_never_rest_are_not_taken(tmp_path: Path) -> None:
    def moving(question: Question, reply: Reply) -> Reply:
        if question.collection == "users" and question.offset == 0 and question.limit == 10:
            del sis.rows["users"][0]
        return reply.without("X-Total-Count")

    with running(roster(25), moving) as sis, pytest.raises(FetchError) as caught:
        pull(replace(sis.api, page_size=10), tmp_path)
    assert caught.value.code == "API-DRIFT"
    assert list(tmp_path.iterdir()) == []


def test_without_a_total_one_record_a_page_is_enough(tmp_path: Path) -> None:
    with running(roster(5), lambda _, reply: reply.without("X-Total-Count")) as sis:
        assert contents(pull(replace(sis.api, page_size=1), tmp_path)) == sis.rows


def test_a_repeated_record_is_counted_once(tmp_path: Path) -> None:
    """A page that begins one record too early costs nothing but that record."""

    def overlapping(question: Question, reply: Reply) -> Reply:
        rows = sis.rows[question.collection]
        return as_json(
            {question.collection: rows[max(0, question.offset - 1) :][: question.limit]}, X_Total_Count=str(len(rows))
        )

    with running(roster(25), overlapping) as sis:
        pulled = pull(replace(sis.api, page_size=50), tmp_path)
        assert pulled.collections["users"].rows == 25


def test_records_without_an_id_are_counted_and_left_to_the_reader(tmp_path: Path) -> None:
    odd: list[Any] = [
        {"sourcedId": 5},
        {"givenName": "Ada"},
        {"sourcedId": None},
        7,
        {"sourcedId": "x"},
        {"sourcedId": 6},
    ]
    with running(roster() | {"users": odd}) as sis:
        pulled = pull(replace(sis.api, page_size=2), tmp_path)
        assert contents(pulled)["users"] == odd
        assert pulled.collections["users"].rows == 6


@pytest.mark.parametrize("missing", ["orgs", "demographics"])
@pytest.mark.parametrize("status", [403, 404])
def test_orgs_and_demographics_may_be_missing(tmp_path: Path, missing: str, status: int) -> None:
    def withheld(question: Question, reply: Reply) -> Reply:
        return as_json({}, status) if question.collection == missing else reply

    with running(misbehaviour=withheld) as sis:
        pulled = pull(sis.api, tmp_path)
    assert missing not in pulled.collections
    assert len(pulled.collections) == 6


def test_what_changed_since_a_moment_is_asked_for_and_may_be_nothing(tmp_path: Path) -> None:
    with running(auth="oauth1") as sis:
        since = datetime(2026, 11, 15, tzinfo=UTC)
        pulled = pull(sis.api, tmp_path, since=since)
        assert description(pulled)["mode"] == "delta"
        assert description(pulled)["since"] == "2026-11-15T00:00:00.000Z"
        found = contents(pulled)
        assert {row["dateLastModified"] for row in found["users"]} == {
            f"2026-11-{day}T00:00:00.000Z" for day in range(16, 21)
        }
        assert found["academicSessions"] == []


def test_a_server_of_1_2_is_pulled_as_one(tmp_path: Path) -> None:
    with running(roster(version="1.2"), auth="oauth2") as sis:
        assert contents(pull(replace(sis.api, version="1.2"), tmp_path)) == sis.rows


def test_the_revision_of_classlink_is_handed_back(tmp_path: Path) -> None:
    with running(misbehaviour=lambda _, reply: reply.having(x_perm_rev="77")) as sis:
        assert pull(sis.api, tmp_path).revision == "77"


def test_a_revision_that_is_named_now_and_then_is_no_change(tmp_path: Path) -> None:
    def sometimes(question: Question, reply: Reply) -> Reply:
        return reply.having(x_perm_rev="77") if question.number % 2 else reply

    with running(misbehaviour=sometimes) as sis:
        assert contents(pull(sis.api, tmp_path)) == sis.rows


def test_a_revision_that_changes_once_lets_everything_be_read_again(tmp_path: Path) -> None:
    def changing(question: Question, reply: Reply) -> Reply:
        return reply.having(x_perm_rev="2" if sis.count("enrollments") > 1 else "1")

    with running(misbehaviour=changing) as sis:
        pulled = pull(sis.api, tmp_path)
        assert pulled.revision == "2"
        assert contents(pulled) == sis.rows


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_fault_that_passes_is_overcome_with_a_new_signature(tmp_path: Path, status: int) -> None:
    """The server takes no nonce twice, so an attempt that sent the old one again would be refused."""

    def now_and_then(question: Question, reply: Reply) -> Reply:
        return as_json({}, status) if question.number % 2 else reply

    with running(misbehaviour=now_and_then, auth="oauth1") as sis:
        assert contents(pull(sis.api, tmp_path, sleep=never_sleeping)) == sis.rows


def test_pauses_grow_up_to_a_cap_and_are_never_in_step(tmp_path: Path) -> None:
    slept: list[float] = []
    with running(misbehaviour=lambda *_: as_json({}, 503)) as sis, pytest.raises(FetchError):
        pull(sis.api, tmp_path, limits=Limits(tries=9), sleep=slept.append)
    caps = [1, 2, 4, 8, 16, 32, 32, 32]
    assert all(cap / 2 <= pause <= cap for cap, pause in zip(caps, slept, strict=True))
    assert len({pause / cap for cap, pause in zip(caps, slept, strict=True)}) == len(caps)


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [
        ("120", 120, 120),
        ("315360000", 900, 900),
        ("-5", 0, 1),
        ("soon", 0, 1),
        (format_datetime(datetime(2099, 1, 1, tzinfo=UTC), usegmt=True), 900, 900),
        (format_datetime(datetime(1999, 1, 1, tzinfo=UTC), usegmt=True), 0, 1),
    ],
)
def test_the_server_may_ask_for_a_pause_within_reason(tmp_path: Path, asked: str, least: float, most: float) -> None:
    slept: list[float] = []

    def once(question: Question, reply: Reply) -> Reply:
        return as_json({}, 429, Retry_After=asked) if len(sis.asked) == 1 else reply

    with running(misbehaviour=once) as sis:
        pull(sis.api, tmp_path, sleep=slept.append)
    assert len(slept) == 1
    assert least <= slept[0] <= most


@pytest.mark.parametrize("how", ["504", "silence"])
def test_a_server_that_gives_up_on_large_pages_is_asked_for_smaller_ones(tmp_path: Path, how: str) -> None:
    def weak(question: Question, reply: Reply) -> Reply:
        if question.limit <= 100 or question.collection != "users":
            return reply
        return as_json({}, 504) if how == "504" else Reply(silent=True)

    with running(roster(250), weak) as sis:
        pulled = pull(replace(sis.api, page_size=400), tmp_path, limits=Limits(read=0.3), sleep=never_sleeping)
        assert contents(pulled) == sis.rows
        users = [question.limit for question in sis.asked if question.collection == "users"]
        assert users == [1, 400, 200, 100, 100, 100, 100]


def test_a_token_that_ends_in_the_middle_is_renewed_once(tmp_path: Path) -> None:
    def ending(question: Question, reply: Reply) -> Reply:
        if question.collection == "users" and question.offset == 9 and sis.tokens == 1:
            return as_json({}, 401)
        return reply

    with running(roster(25), ending, auth="oauth2") as sis:
        assert contents(pull(replace(sis.api, page_size=10), tmp_path)) == sis.rows
        assert sis.tokens == 2


def test_a_token_is_renewed_before_its_end(tmp_path: Path) -> None:
    with running(auth="oauth2") as sis:
        sis.token_reply = lambda reply: as_json(json.loads(reply.body) | {"expires_in": "0.001"})
        assert contents(pull(sis.api, tmp_path)) == sis.rows
        assert sis.tokens > 1


def test_the_cookies_of_the_token_server_are_kept(tmp_path: Path) -> None:
    def loyal(question: Question, reply: Reply) -> Reply:
        return reply if "ARRAffinity=7" in question.headers.get("Cookie", "") else as_json({}, 401)

    with running(misbehaviour=loyal, auth="oauth2") as sis:
        sis.token_reply = lambda reply: reply.having(Set_Cookie="ARRAffinity=7")
        assert contents(pull(sis.api, tmp_path)) == sis.rows


def test_other_scopes_than_those_asked_for_are_no_fault(tmp_path: Path) -> None:
    with running(auth="oauth2") as sis:
        sis.token_reply = lambda reply: as_json(json.loads(reply.body) | {"scope": "everything"})
        assert contents(pull(replace(sis.api, scope=SCOPES["1.1"]), tmp_path)) == sis.rows


def test_proxies_and_netrc_of_the_machine_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with running(auth="oauth2") as sis:
        assert contents(pull(sis.api, tmp_path)) == sis.rows


def test_what_is_printed_of_an_api_has_no_secret_in_it() -> None:
    with running() as sis:
        shown = repr(replace(sis.api, secret=SECRET))
    assert SECRET not in shown
    assert KEY not in shown


@pytest.mark.parametrize("auth", ["oauth1", "oauth2", "bearer"])
def test_what_is_logged_has_no_secret_and_no_record_in_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, auth: str
) -> None:
    """Even where everything is logged, by us and by those whose code we use."""
    caplog.set_level(logging.DEBUG)
    with running(auth=auth) as sis:
        pull(sis.api, tmp_path)
    assert "GET" in caplog.text
    assert not [
        word for word in (SECRET, quote(SECRET, safe=""), "token-1", "static-token", "Ada") if word in caplog.text
    ]


def test_a_host_is_asked_by_few_at_a_time_however_many_pull(tmp_path: Path) -> None:
    asking = most = 0
    counting = threading.Lock()
    all_here = threading.Event()

    def counted(question: Question, reply: Reply) -> Reply:
        nonlocal asking, most
        with counting:
            asking += 1
            most = max(most, asking)
            if asking > 1:
                all_here.set()
        all_here.wait(5)
        with counting:
            asking -= 1
        return reply

    def one(number: int) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        pull(sis.api, folder, limits=Limits(at_once=2))

    with running(misbehaviour=counted) as sis, ThreadPoolExecutor(5) as several:
        list(several.map(one, range(5)))
    assert most == 2
