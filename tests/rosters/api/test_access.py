"""Who comes in, by a token or a signature, and who does not any more."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import time_machine
from django.test import Client as Browser
from django.utils import timezone
from requests_oauthlib import OAuth1

from rosters.api.access import issue, opened_by
from rosters.api.models import Client, ClientSecret
from rosters.api.scopes import CORE, ROSTER, STANDARD, V1P1, V1P2

if TYPE_CHECKING:
    from pytest_django import Settings

    from rosters.models import District

pytestmark = pytest.mark.django_db

MakeClient = Callable[..., tuple[Client, str]]


def ask(key: str, secret: str, **more: str) -> Any:
    return Browser().post(
        "/oauth2/token", {"grant_type": "client_credentials", "client_id": key, "client_secret": secret, **more}
    )


def token_of(client: Client, secret: str, **more: str) -> str:
    answer = ask(client.key, secret, **more)
    assert answer.status_code == 200, answer.content
    return str(answer.json()["access_token"])


def test_key_and_secret_open_for_an_hour(make_client: MakeClient) -> None:
    client, secret = make_client()
    answer = ask(client.key, secret)
    assert (answer.status_code, answer.json()["token_type"], answer.json()["expires_in"]) == (200, "Bearer", 3600)
    assert answer.headers["Cache-Control"] == "no-store"
    token = answer.json()["access_token"]
    grant = opened_by(token, timezone.now())
    assert grant and grant.client == client and grant.scopes == set(STANDARD)
    with time_machine.travel(timezone.now() + timedelta(minutes=59)):
        assert opened_by(token, timezone.now())
    with time_machine.travel(timezone.now() + timedelta(minutes=61)):
        assert opened_by(token, timezone.now()) is None


def test_key_and_secret_may_come_in_the_header(make_client: MakeClient) -> None:
    client, secret = make_client()
    basic = base64.b64encode(f"{client.key}:{secret}".encode()).decode()
    for address in ("/oauth2/token", "/oauth2/token/"):
        answer = Browser().post(
            address, {"grant_type": "client_credentials"}, headers={"Authorization": f"Basic {basic}"}
        )
        assert answer.status_code == 200
    wrong = Browser().post(
        "/oauth2/token", {"grant_type": "client_credentials"}, headers={"Authorization": "Basic bm86bm8="}
    )
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    assert wrong.headers["WWW-Authenticate"].startswith("Basic")


def test_a_token_opens_what_was_asked_for_of_what_the_client_has(make_client: MakeClient) -> None:
    """Clients ask for the gradebook beside the roster (Google's suite does): they get what there is."""
    client, secret = make_client(scopes=[V1P1 + ROSTER, V1P2 + CORE])
    gradebook = V1P1 + "gradebook.readonly"
    for asked, gets in (
        (f"{V1P1}{ROSTER} {gradebook}", [V1P1 + ROSTER]),
        (f"{V1P1}{ROSTER}+{V1P2}{CORE}", [V1P1 + ROSTER, V1P2 + CORE]),
        (f"http://purl.imsglobal.org/spec/or/v1p2/scope/{CORE}", [V1P2 + CORE]),
        ("", [V1P1 + ROSTER, V1P2 + CORE]),
    ):
        assert ask(client.key, secret, scope=asked).json()["scope"].split() == sorted(gets)
    assert ask(client.key, secret, scope=gradebook).json()["error"] == "invalid_scope"
    assert ask(client.key, secret, grant_type="password").json()["error"] == "unsupported_grant_type"


def test_what_was_taken_back_opens_nothing_from_then_on(make_client: MakeClient, cedar: District) -> None:
    now = timezone.now()
    client, secret = make_client()
    token = token_of(client, secret)
    client.scopes = [V1P1 + CORE]
    client.save()
    grant = opened_by(token, now)
    assert grant and grant.scopes == {V1P1 + CORE}
    ClientSecret.objects.get().revoke(now)
    assert opened_by(token, now) is None
    assert ask(client.key, secret).status_code == 401
    other, text = make_client("other")
    theirs = token_of(other, text)
    assert opened_by(theirs, now)
    other.end(now)
    assert opened_by(theirs, now) is None
    assert ask(other.key, text).status_code == 401


def test_two_secrets_are_good_while_one_takes_the_place_of_the_other(make_client: MakeClient) -> None:
    now = timezone.now()
    client, old = make_client()
    _, new = client.rotate(now, now + timedelta(days=7))
    assert {ask(client.key, text).status_code for text in (old, new)} == {200}
    with time_machine.travel(now + timedelta(days=8)):
        assert [ask(client.key, text).status_code for text in (old, new)] == [401, 200]


def test_secrets_are_not_kept(make_client: MakeClient) -> None:
    _, secret = make_client()
    kept = ClientSecret.objects.get()
    assert secret not in str(vars(kept)) and kept.sealed == ""
    assert make_client("signer", signs=True)[1] == ClientSecret.objects.latest("pk").opened()
    assert secret not in str(vars(ClientSecret.objects.latest("pk")))


def test_tokens_of_nobodys_making_open_nothing(make_client: MakeClient) -> None:
    make_client()
    token = issue(ClientSecret.objects.get(), frozenset(STANDARD))
    for wrong in ("", "nonsense", token[:-2], token.replace(":", "."), "x" * 10_000):
        assert opened_by(wrong, timezone.now()) is None


def test_a_key_does_not_go_with_anothers_secret(make_client: MakeClient) -> None:
    one, _ = make_client("one")
    _, text = make_client("two")
    assert ask(one.key, text).status_code == 401


def test_wrong_secrets_have_to_wait_and_right_ones_never(make_client: MakeClient) -> None:
    client, secret = make_client()
    assert {ask(client.key, "wrong").status_code for _ in range(20)} == {401}
    refused = ask(client.key, "wrong")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")
    assert ask(client.key, secret).status_code == 200, "tools of one house may share their address"


@pytest.mark.doors
def test_behind_a_proxy_wrong_secrets_are_counted_by_who_sent_them(make_client: MakeClient, settings: Settings) -> None:
    settings.BEHIND_PROXY = True
    client, _ = make_client()
    said = {"client_id": client.key, "client_secret": "wrong"}

    def tried_from(address: str) -> int:
        return Browser().post("/oauth2/token", said, headers={"X-Forwarded-For": address}).status_code

    assert {tried_from(f"2001:db8::{number:x}") for number in range(20)} == {401}
    assert tried_from("2001:db8::ffff") == 429, "whoever has one address of a network has all of it"
    assert tried_from("203.0.113.7") == 401, "others do not wait for them"


@pytest.mark.doors
def test_too_much_is_refused_in_the_form_of_the_standard() -> None:
    form = "application/x-www-form-urlencoded"
    for sent in ("scope=" + "x" * 2 * 1024 * 1024, "&".join(f"f{number}=" for number in range(2000))):
        answer = Browser().post("/oauth2/token", sent, content_type=form)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


# ---------------------------------------------------------------------------------------------------------- signatures

ADDRESS = "/d/1001/ims/oneroster/v1p1/orgs?limit=5&filter=name%3D%27Lincoln%20%26%20Sons%27"


def signed(
    client: Client, secret: str, address: str = ADDRESS, method: str = "HMAC-SHA256", at: Any = None, **more: Any
) -> dict[str, str]:
    import requests

    with time_machine.travel(at or timezone.now(), tick=False):
        question = requests.Request(
            "GET", f"http://testserver{address}", auth=OAuth1(client.key, secret, signature_method=method, **more)
        )
        header = question.prepare().headers["Authorization"]
    return {"Authorization": header.decode() if isinstance(header, bytes) else header}


def opens(headers: dict[str, str], address: str = ADDRESS) -> bool:
    from django.test import RequestFactory
    from rest_framework.request import Request

    from rosters.api.access import signed_by

    return signed_by(Request(RequestFactory().get(address, headers=headers)), timezone.now()) is not None


@pytest.mark.parametrize("method", ["HMAC-SHA256", "HMAC-SHA1"])
def test_a_signature_opens_once(make_client: MakeClient, method: str) -> None:
    client, secret = make_client(signs=True)
    headers = signed(client, secret, method=method)
    assert opens(headers)
    assert not opens(headers), "a question that was heard before"
    assert opens(signed(client, secret, method=method))


def test_a_signature_is_of_this_question_by_this_client(make_client: MakeClient) -> None:
    client, secret = make_client(signs=True)
    assert not opens(signed(client, "wrong"))
    assert not opens(signed(client, secret), ADDRESS.replace("limit=5", "limit=6"))
    assert not opens(signed(client, secret, method="PLAINTEXT"))
    quiet, text = make_client("quiet")
    assert not opens(signed(quiet, text)), "this client may not sign"
    client.end(timezone.now())
    assert not opens(signed(client, secret))


@pytest.mark.parametrize(("minutes", "good"), [(-11, False), (-9, True), (4, True), (6, False)])
def test_clocks_may_differ_a_little(make_client: MakeClient, minutes: int, good: bool) -> None:
    """Ten minutes behind and five ahead, as Instructure asks of servers."""
    client, secret = make_client(signs=True)
    assert opens(signed(client, secret, at=timezone.now() + timedelta(minutes=minutes))) is good


def test_a_wrong_signature_does_not_use_up_a_nonce(make_client: MakeClient) -> None:
    client, secret = make_client(signs=True)
    at = timezone.now()
    assert not opens(signed(client, "wrong", nonce="n-1", at=at))
    assert opens(signed(client, secret, nonce="n-1", at=at))


def test_both_secrets_sign_while_one_takes_the_place_of_the_other(make_client: MakeClient) -> None:
    now = timezone.now()
    client, old = make_client(signs=True)
    _, new = client.rotate(now, now + timedelta(days=7))
    assert opens(signed(client, old)) and opens(signed(client, new))


def test_the_last_use_is_written_down_later(make_client: MakeClient) -> None:
    from rosters.api import usage

    client, secret = make_client()
    token_of(client, secret)
    assert ClientSecret.objects.get().last_used_at is None
    usage.write_down()
    assert ClientSecret.objects.get().last_used_at is not None
