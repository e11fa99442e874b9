"""Our word lists against the witness, and the proposals for what exports write instead."""

from __future__ import annotations

import re

import pytest

from rosters.oneroster import VERSIONS
from rosters.oneroster.former import OLD_NAMES, PRIVATE_COLUMNS, PRIVATE_PREFIXES
from rosters.oneroster.vocabularies import (
    CEDS_GRADES,
    CEDS_STATES,
    EXTENSION,
    EXTENSION_PREFIX,
    GRADE_VARIANTS,
    ORG_LEVELS,
)
from tests.rosters.oneroster.witness import STANDARD, stem, witness

#: In the witness's list, but not word lists: a pattern, and hints for a conversion.
NOT_WORDS = {"extension_token", "role_1_1_to_1_2"}


@pytest.mark.parametrize("version", STANDARD)
def test_every_vocabulary_is_that_of_the_standard(version: str) -> None:
    told = {
        name: (list(vocabulary.values), vocabulary.extensible, dict(vocabulary.legacy))
        for name, vocabulary in VERSIONS[version].vocabularies.items()
    }
    assert told == {
        name: (expected["values"], expected.get("extensible", False), expected.get("legacy", {}))
        for name, expected in STANDARD[version]["vocabularies"].items()
        if name not in NOT_WORDS
    }


@pytest.mark.parametrize("version", STANDARD)
def test_a_column_takes_the_words_that_stand_beside_it_in_the_standard(version: str) -> None:
    for file, expected in STANDARD[version]["files"].items():
        for column in expected["columns"]:
            if "values" in column:
                told = VERSIONS[version].tables[stem(file)].column(column["name"])
                vocabulary = VERSIONS[version].vocabularies[told.vocabulary or told.kind]
                assert (list(vocabulary.values), vocabulary.extensible) == (column["values"], column["extensible"])


def test_a_word_of_ones_own_looks_as_the_witness_says() -> None:
    assert STANDARD["1.2"]["vocabularies"]["extension_token"]["pattern"] == EXTENSION
    assert re.match(EXTENSION, f"{EXTENSION_PREFIX}campus")
    assert list(ORG_LEVELS) == STANDARD["1.2"]["vocabularies"]["orgType"]["hierarchy_top_down"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("K", "KG"), ("kg", "KG"), ("9", "09"), ("PreK", "PK"), ("Pre-K", "PK"), ("Kindergarten", "KG"),
        ("KINDERGARTEN", "KG"), ("-1", "PK"), ("0", "KG"), ("1st", "01"), ("11th Grade", "11"), ("Grade 3", "03"),
        ("other", "Other"), ("tk", "TK"),
    ],
)  # fmt: skip
def test_a_usual_spelling_of_a_grade_has_a_proposal(written: str, meant: str) -> None:
    assert GRADE_VARIANTS[written] == meant


def test_proposals_are_codes_and_a_code_needs_no_proposal() -> None:
    assert set(GRADE_VARIANTS.values()) <= set(CEDS_GRADES)
    assert not set(GRADE_VARIANTS) & set(CEDS_GRADES)


@pytest.mark.parametrize("several", ["9-12", "K-5", "01,02", ""])
def test_a_range_of_grades_has_no_proposal(several: str) -> None:
    assert several not in GRADE_VARIANTS


def test_the_states_are_the_fifty_the_district_and_what_else_the_post_serves() -> None:
    assert len(CEDS_STATES) == len(set(CEDS_STATES)) == 50 + 1 + 8 + 3
    assert list(CEDS_STATES) == sorted(CEDS_STATES)


def test_the_old_names_of_the_witness_are_known_and_stand_for_columns_of_1_1() -> None:
    [renamed] = [c for c in STANDARD["1.1"]["changes"]["from_1.0"] if c.startswith("grade ->")]
    known = {pair for names in OLD_NAMES.values() for pair in names.items()}
    assert {tuple(pair.split(" -> ")) for pair in renamed.split(", ")} <= known
    assert ("userSourcedId", "sourcedId") in known
    for name, names in OLD_NAMES.items():
        header = VERSIONS["1.1"].tables[name].header
        assert set(names.values()) <= set(header)
        assert not set(names) & set(header)


def test_the_private_columns_of_the_old_arrangement_are_known() -> None:
    legacy = witness("products")["imagine_literacy"]["extensions"]["legacy_1_0_columns"]
    for file, names in legacy.items():
        if file.endswith(".csv"):
            assert set(names) <= set(PRIVATE_COLUMNS[stem(file)])
            assert all(name.startswith(PRIVATE_PREFIXES) for name in names)
