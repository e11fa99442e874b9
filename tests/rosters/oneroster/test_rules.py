"""The catalogue of rules: complete, true to the witness, and readable for the people who have to mend the files."""

from __future__ import annotations

import re

import pytest

from rosters.oneroster.rules import RULES
from tests.rosters.oneroster.rule_list import HEADINGS, RULES_MD, listing
from tests.rosters.oneroster.witness import witness

CATALOGUE = {rule["code"]: rule for rule in witness("rules")["rules"]}
PRODUCT_RULES = {
    "PR-001": "error", "PR-002": "error", "PR-003": "info", "PR-010": "error", "PR-011": "warning",
    "PR-012": "warning", "PR-013": "warning", "PR-014": "warning", "PR-015": "warning", "PR-016": "info",
    "PR-020": "error",
}  # fmt: skip
KEPT_ID_RULES = {"OR-ID-001": "error"}
NAME_RULES = {"OR-NAME-001": "info"}
SCOPE_RULES = {"OR-SCOPE-001": "info", "OR-SCOPE-002": "fatal"}
PULL_RULES = {
    "OR-REST-001": "fatal", "OR-REST-002": "fatal", "OR-REST-003": "fatal", "OR-REST-004": "warning",
    "OR-REST-005": "error", "OR-REST-006": "warning", "OR-REST-007": "warning", "OR-REST-008": "warning",
    "OR-REST-009": "info", "OR-REST-010": "info", "OR-REST-011": "info", "OR-REST-012": "info",
}  # fmt: skip
OWN = KEPT_ID_RULES | NAME_RULES | SCOPE_RULES | PRODUCT_RULES | PULL_RULES


def test_every_rule_of_the_catalogue_is_there_in_its_order_and_our_own_rules_follow() -> None:
    assert len(CATALOGUE) == 202
    assert list(RULES) == [*CATALOGUE, *OWN]


@pytest.mark.parametrize("code", CATALOGUE)
def test_a_rule_has_the_severity_and_the_versions_of_the_catalogue(code: str) -> None:
    assert RULES[code].severity == CATALOGUE[code]["severity"]
    assert list(RULES[code].versions) == CATALOGUE[code]["versions"]


@pytest.mark.parametrize("code", OWN)
def test_a_rule_of_our_own_has_its_severity(code: str) -> None:
    assert RULES[code].severity == OWN[code]


@pytest.mark.parametrize("code", RULES)
def test_a_rule_says_what_is_wrong_and_what_to_do_in_whole_short_sentences(code: str) -> None:
    rule = RULES[code]
    for sentence in (rule.title, rule.next_step):
        assert 20 <= len(sentence) <= 200
        assert sentence.endswith(".")
        assert sentence == sentence.strip()
        assert "  " not in sentence
        assert not re.search(r"\b(GUID|RFC|enum|FK|null)\b", sentence), "words for programmers"
    assert rule.title.count(". ") == 0, "the title is one sentence; particulars are added after it"


def test_no_two_rules_say_the_same() -> None:
    titles = [rule.title for rule in RULES.values()]
    assert len(set(titles)) == len(titles)


def test_what_cannot_be_read_costs_the_delivery_and_what_is_only_risky_costs_nothing() -> None:
    for rule in RULES.values():
        if rule.severity == "fatal":
            assert rule.effect == "package"
        if rule.severity in ("warning", "info"):
            assert rule.effect == "none"


def test_the_documentation_lists_the_rules_as_they_are() -> None:
    assert set(HEADINGS) <= set(RULES)
    assert RULES_MD.read_text(encoding="utf-8") == listing(), (
        "docs/rules.md is not up to date: python -m tests.rosters.oneroster.rule_list > docs/rules.md"
    )
