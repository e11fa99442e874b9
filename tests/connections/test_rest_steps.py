"""A connection tried out: each step says in words how it went, and shows nothing of the roster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connections.rest import SCOPES, Api, Limits, steps
from connections.steps import Step
from tests.connections.sis import KEY, SECRET, Misbehaviour, Question, Reply, as_json, certificate, roster, running

NAMES = [
    "name", "address", "TLS", "token", "manifest", "academicSessions", "classes", "courses", "demographics",
    "enrollments", "orgs", "users", "paging", "order", "dateLastModified",
]  # fmt: skip


def tried(api: Api) -> dict[str, Step]:
    """All steps; none shows a secret or a value of the roster."""
    done = list(steps(api, limits=Limits(seconds=20, read=0.5, tries=2), sleep=id))
    assert [step.name for step in done] == NAMES
    told = " ".join(f"{step.words} {step.next_step}" for step in done)
    assert not [word for word in (SECRET, KEY, "static-token", "token-1", "Ada", "Kim", "user-0") if word in told]
    assert all(step.code and step.next_step for step in done if step.outcome == "failed")
    return {step.name: step for step in done}


def outcomes(done: dict[str, Step], *names: str) -> list[str]:
    return [done[name].outcome for name in names]


def test_a_good_server_passes_every_step(tmp_path: Path) -> None:
    with running(certificate=certificate(tmp_path), auth="oauth2") as sis:
        done = tried(sis.api)
    assert {name for name, step in done.items() if step.outcome != "ok"} == {"manifest"}
    assert done["token"].words == "Given, good for 3,600 seconds."
    assert done["users"].words == "25 records. All required fields are filled in the 5 that were looked at."


def test_signatures_need_no_token(tmp_path: Path) -> None:
    with running(certificate=certificate(tmp_path), auth="oauth1") as sis:
        done = tried(sis.api)
    assert {name for name, step in done.items() if step.outcome != "ok"} == {"token", "manifest"}


def test_a_server_of_1_2_may_describe_itself() -> None:
    def described(question: Question, reply: Reply) -> Reply:
        return as_json({"openapi": "3.0"}) if question.collection.startswith("discovery/imsorv1p2") else reply

    with running(roster(version="1.2"), described) as sis:
        done = tried(replace(sis.api, version="1.2"))
    assert outcomes(done, "manifest", "users") == ["ok", "ok"]
    with running(roster(version="1.2")) as sis:
        assert tried(replace(sis.api, version="1.2"))["manifest"].outcome == "skipped"


@pytest.mark.parametrize(
    ("change", "step", "code"),
    [
        ({"base_url": "http://sis.example/ims", "allowed": ()}, "name", "API-URL"),
        ({"base_url": "https://sis.invalid/ims"}, "name", "CONN-NAME"),
        ({"secret": " pasted"}, "name", "API-CREDENTIALS"),
        ({"base_url": "https://10.0.0.1/ims"}, "address", "CONN-ADDRESS"),
        ({"base_url": "https://127.0.0.1:9/ims"}, "address", "CONN-REFUSED"),
        ({"ca_file": ""}, "TLS", "API-TLS"),
        ({"key": "swapped"}, "token", "API-TOKEN"),
    ],
)
def test_what_everything_stands_on_fails_first_and_alone(
    tmp_path: Path, change: dict[str, Any], step: str, code: str
) -> None:
    with running(certificate=certificate(tmp_path), auth="oauth2") as sis:
        done = tried(replace(sis.api, **change))
        assert sis.asked == []
    at = NAMES.index(step)
    assert done[step].code == code
    assert outcomes(done, *NAMES[at:]) == ["failed"] + ["skipped"] * (len(NAMES) - at - 1)
    assert "failed" not in outcomes(done, *NAMES[:at])


def test_where_a_name_leads_in_our_network_is_told_to_staff_alone(tmp_path: Path) -> None:
    with running(certificate=certificate(tmp_path)) as sis:
        let_in, kept_out = tried(sis.api), tried(replace(sis.api, allowed=()))
    for done in (let_in, kept_out):
        assert (done["name"].outcome, done["name"].words) == ("ok", "localhost is known.")
        assert "localhost is at " in done["name"].inside
        told = " ".join(f"{step.words} {step.next_step}" for step in done.values())
        assert "127.0.0.1" not in told and "::1" not in told
    address = kept_out["address"]
    assert (address.words, address.code) == (
        "The server's name leads to an address that is not public.",
        "CONN-ADDRESS",
    )
    assert "internet" in address.next_step and "localhost is at " in address.inside
    assert let_in["address"].outcome == "ok"


def test_a_key_that_is_refused_is_not_tried_on_every_collection() -> None:
    with running(auth="oauth1") as sis:
        done = tried(replace(sis.api, secret="other"))
        assert len(sis.asked) == 1
    assert done["academicSessions"].code == "API-AUTH"
    assert done["users"].outcome == "skipped"


def test_a_collection_that_fails_does_not_hide_the_others() -> None:
    with running({name: rows for name, rows in roster().items() if name not in ("courses", "orgs")}) as sis:
        done = tried(sis.api)
    assert done["courses"].code == "API-NOT-FOUND"
    assert outcomes(done, "classes", "orgs", "users") == ["ok", "skipped", "ok"]


def test_a_collection_that_the_credentials_may_not_read_is_not_told_as_missing() -> None:
    def forbid(question: Question, reply: Reply) -> Reply:
        return as_json({}, 403) if question.collection in ("demographics", "users") else reply

    with running(misbehaviour=forbid) as sis:
        done = tried(sis.api)
    assert done["demographics"].words == "Not allowed to these credentials; a roster can do without it."
    assert done["users"].code == "API-FORBIDDEN"
    assert "scope" in done["users"].next_step


def test_empty_required_fields_are_counted_not_shown() -> None:
    rows = roster()
    for row in rows["users"][:3]:
        row["familyName"] = ""
    with running(rows) as sis:
        assert tried(sis.api)["users"].words == "25 records. Required fields are empty: familyName in 3 of 5."


def test_the_other_version_is_named() -> None:
    with running(roster(version="1.2")) as sis:
        assert tried(sis.api)["users"].code == "API-VERSION"


def _only(step: str, reply: Any) -> Misbehaviour:
    """Misbehaves towards the questions of one step."""

    def misbehave(question: Question, good: Reply) -> Reply:
        asked = "dateLastModified" if "filter" in question.query else "paging" if question.limit == 2 else "order"
        return reply(question, good) if question.collection == "users" and asked == step else good

    return misbehave


PEOPLE = roster()["users"]


@pytest.mark.parametrize(
    ("step", "reply", "outcome"),
    [
        ("paging", lambda *_: as_json({"users": PEOPLE[:2]}), "failed"),
        ("paging", lambda question, _: as_json({"users": PEOPLE[question.offset :]}), "warning"),
        ("paging", lambda question, _: as_json({"users": PEOPLE[question.offset * 2 :][:2]}), "warning"),
        ("order", lambda question, _: as_json({"users": PEOPLE[:5][:: (-1) ** question.number]}), "warning"),
        ("order", lambda question, _: as_json({"users": [PEOPLE[n] for n in (3, 1, 4, 0, 2)]}), "warning"),
        ("order", lambda question, good: as_json({}, 400) if "sort" in question.query else good, "warning"),
        ("dateLastModified", lambda *_: as_json({"users": PEOPLE[:5]}), "warning"),
        ("dateLastModified", lambda *_: as_json({}, 400), "warning"),
        ("dateLastModified", lambda *_: as_json({}, 500), "failed"),
    ],
)
def test_a_habit_that_is_not_honoured_is_told(step: str, reply: Any, outcome: str) -> None:
    with running(misbehaviour=_only(step, reply)) as sis:
        done = tried(sis.api)
    assert done[step].outcome == outcome
    assert {name for name in ("paging", "order", "dateLastModified") if done[name].outcome != "ok"} == {step}


def test_scopes_that_were_not_granted_are_named() -> None:
    with running(auth="oauth2") as sis:
        core = SCOPES["1.1"].split()[0]
        sis.token_reply = lambda reply: as_json({"access_token": f"token-{sis.tokens}", "scope": core})
        token = tried(replace(sis.api, scope=SCOPES["1.1"]))["token"]
    assert token.outcome == "warning"
    assert token.words.endswith("roster-demographics.readonly, roster.readonly.")


def test_who_stops_asking_sends_no_more() -> None:
    with running() as sis:
        trying = steps(sis.api)
        for step in trying:
            if step.name == "academicSessions":
                break
        trying.close()  # type: ignore[attr-defined]
        assert len(sis.asked) == 1
