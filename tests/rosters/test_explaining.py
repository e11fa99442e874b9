"""A difference in words."""

from __future__ import annotations

import polars as pl
import pytest

from rosters.diffing import Difference, compare
from rosters.explaining import difference_in_words, people_affected, rejection, verdict
from rosters.oneroster.normal import NORMAL
from rosters.oneroster.plain import listed, percent, shortened


def table(name: str, *records: dict[str, str]) -> pl.DataFrame:
    lines = [{**dict.fromkeys(NORMAL[name], ""), **record} for record in records]
    return pl.DataFrame(lines, schema=dict.fromkeys(NORMAL[name], pl.String))


def test_a_person_counts_once_however_much_of_theirs_changes() -> None:
    target = {
        "users": table("users", {"sourcedId": "a"}),
        "demographics": table("demographics", {"sourcedId": "a"}, {"sourcedId": "b"}),
        "enrollments": table("enrollments", {"sourcedId": "1", "userSourcedId": "a"},
                             {"sourcedId": "2", "userSourcedId": "c"}),
        "orgs": table("orgs", {"sourcedId": "s"}),
    }  # fmt: skip
    assert people_affected(compare({}, target)) == 3
    assert people_affected(Difference()) == 0


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({}, "Nothing changes."),
        ({"users": {"removed": 1, "added": 0, "updated": 0}}, "1 person leaves."),
        (
            {"users": {"removed": 12, "added": 1, "updated": 1200}, "classes": {"added": 2}},
            "12 people leave, 1 comes and 1,200 change; 2 classes come.",
        ),
        ({"roles": {"added": 3}}, "Only details of people change: roles, logins or demographics."),
    ],
)
def test_numbers_become_a_sentence(counts: dict[str, dict[str, int]], words: str) -> None:
    assert difference_in_words(counts) == words


def test_the_verdict_names_the_gravest_first() -> None:
    counts = {"users": {"removed": 1, "added": 0, "updated": 0}}
    assert verdict(counts, [], first=False) == "Nothing unusual: 1 person leaves."
    assert verdict(counts, ["It is cut."], first=False) == "Held: It is cut."
    assert verdict(counts, ["It is cut.", "b", "c"], first=False) == "Held: It is cut. 2 more things are unusual."
    assert verdict(counts, ["This is the first."], first=True) == "This is the first."


def test_a_refusal_says_what_is_live() -> None:
    assert rejection(["It is torn."], live=True) == "It is torn. The roster stays as it was."
    assert rejection([], live=False) == "It cannot be read. Nothing was imported."


def test_shares_and_lists_read_well() -> None:
    shares = {0: "0 %", 0.0004: "under 0.1 %", 0.05: "5 %", 0.1884: "18.8 %", 1: "100 %"}
    assert {share: percent(share) for share in shares} == shares
    assert [listed(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
    assert shortened(list("abcde")) == "a, b, c and 2 more" and shortened(["a"]) == "a"
