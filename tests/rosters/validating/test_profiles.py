"""What a product asks (PR-001 to PR-020): the harder cases of each rule. Its plain case is in test_rules.py."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import polars as pl
import pytest

from rosters.frames import Checked
from rosters.normalising import target
from rosters.oneroster.products import MATH, PRODUCTS
from rosters.validating import profiles
from tests.rosters.test_rules import NEW, OLD, STUDENT, TEACHER, Tables, again, codes, drop, judged, put, where
from tests.rosters.validating.test_practice import changed
from tests.rosters.validating.test_semantics import edited, places

TEACHER_IDS = NEW["roles"].filter(pl.col("role") == "teacher")["userSourcedId"]
NEW_TEACHER = NEW["users"]["sourcedId"].to_list().index(TEACHER_IDS[0])


def severities(checked: Checked, code: str) -> set[str]:
    return {finding.severity for finding in checked.findings if finding.code == code}


@pytest.mark.parametrize("product", sorted(PRODUCTS))
def test_without_a_product_nothing_is_asked(product: str) -> None:
    bare = drop("demographics")(dict(OLD)) or OLD
    assert "PR-001" in codes(judged(bare, product=product))
    assert not any(code.startswith("PR-") for code in codes(judged(bare)))


@pytest.mark.parametrize("product", sorted(PRODUCTS))
def test_what_a_product_asks_costs_the_roster_nothing(product: str) -> None:
    nothing = edited(put("users", "grades", "", STUDENT), put("users", "email", "", TEACHER))
    checked = judged(nothing, product=product)
    assert {"PR-010"} <= codes(checked)
    assert {f.effect for f in checked.findings if f.code.startswith("PR-")} == {"none"}
    assert not any(len(table.quarantined) + len(table.dropped) for table in checked.tables.values())


def test_rule_PR_001_what_came_before_is_there_and_changes_alone_are_only_warned_of() -> None:
    accepted = target(judged(OLD), {})
    delta = {"users": changed(OLD["users"].head(1))}
    assert "PR-001" not in codes(judged(delta, modes={"users": "delta"}, base=accepted, product="math"))
    assert severities(judged(delta, modes={"users": "delta"}, product="math"), "PR-001") == {"warning"}
    assert severities(judged({"users": OLD["users"]}, product="math"), "PR-001") == {"error"}


def test_rule_PR_010_asks_each_role_for_its_own_and_in_1_2_by_roles_csv() -> None:
    assert "PR-010" not in codes(judged(edited(put("users", "grades", "", TEACHER)), product="math"))
    assert "PR-010" not in codes(judged(NEW, "1.2", product="math"))
    without = edited(put("users", "email", "", NEW_TEACHER), of=NEW)
    assert places(judged(without, "1.2", product="math"), "PR-010") == [NEW_TEACHER + 2]


def test_rule_PR_010_asks_nothing_of_those_who_leave() -> None:
    leaving = changed(OLD["users"][STUDENT], status="tobedeleted", grades="")
    accepted = target(judged(OLD), {})
    assert "PR-010" not in codes(judged({"users": leaving}, modes={"users": "delta"}, base=accepted, product="math"))


def test_rule_PR_016_in_1_2_counts_those_who_hold_no_role_that_is_loaded() -> None:
    def told(tables: Tables) -> list[tuple[str, int]]:
        found = judged(tables, "1.2", product="math").findings
        return [(f.file, f.count) for f in found if f.code == "PR-016"]

    before = sum(count for _, count in told(NEW))
    aide = edited(where("roles", "role", "aide", "userSourcedId", TEACHER_IDS[0]), of=NEW)
    assert told(aide) == [("roles.csv", before + 1)]
    still_teaching = {
        **NEW,
        "roles": pl.concat([NEW["roles"], aide["roles"].with_columns(sourcedId="a" + pl.col("sourcedId"))]),
    }
    assert sum(count for _, count in told(still_teaching)) == before


def test_rule_PR_013_never_shows_a_password() -> None:
    checked = judged(edited(put("users", "password", "abc", STUDENT)), product="literacy")
    shown = [f.places["value"].to_list() for f in checked.findings if f.column == "password"]
    assert "PR-013" in codes(checked)
    assert shown
    assert all(values == [""] for values in shown)


@pytest.mark.parametrize(("product", "grade", "fires"), [("math", "09", True), ("literacy", "09", False)])
def test_rule_PR_014_each_product_has_grades_of_its_own(product: str, grade: str, fires: bool) -> None:
    others = OLD["users"].with_columns(
        pl.when(pl.col("grades") != "").then(pl.lit("03")).otherwise(pl.col("grades")).alias("grades")
    )
    one = edited(put("users", "grades", grade, STUDENT), of={**OLD, "users": others})
    assert ("PR-014" in codes(judged(one, product=product))) is fires


def test_rules_PR_014_and_015_several_grades_are_one_complaint() -> None:
    found = codes(judged(edited(put("users", "grades", "01,PS", STUDENT)), product="literacy"))
    clean = codes(judged(OLD, product="literacy"))
    assert {"PR-014", "PR-015"} & (found - clean) == {"PR-015"}


@pytest.fixture
def cautious(monkeypatch: pytest.MonkeyPatch) -> str:
    """A product that takes full sets only, is strict about grades, and does not mind long texts."""
    rules = {"OR-CSV-144": "error", "OR-CSV-055": "off", "OR-CSV-160": "off"}
    product = replace(MATH, key="cautious", name="Cautious", modes=("bulk",), overrides=rules)  # type: ignore[arg-type]
    monkeypatch.setattr(profiles, "PRODUCTS", MappingProxyType({**PRODUCTS, product.key: product}))
    return product.key


def test_rule_OR_CSV_092_changes_for_a_product_that_takes_full_sets(cautious: str) -> None:
    delta = {**OLD, "users": changed(OLD["users"])}
    found = judged(delta, modes={"users": "delta"}, product=cautious).findings
    assert [f.file for f in found if f.code == "OR-CSV-092"] == ["users.csv"]
    assert "OR-CSV-092" not in codes(judged(delta, modes={"users": "delta"}, product="math"))
    assert "OR-CSV-092" not in codes(judged(OLD, product=cautious))


def test_a_product_changes_the_severity_of_rules_and_the_district_has_the_last_word(cautious: str) -> None:
    strange = edited(put("users", "grades", "Kinder"), put("users", "middleName", "x" * 300), of=NEW)
    assert severities(judged(strange, "1.2"), "OR-CSV-144") == {"warning"}
    for_it = judged(strange, "1.2", product=cautious)
    assert severities(for_it, "OR-CSV-144") == {"error"}
    assert for_it.tables["users"].dropped.rows() == [(NEW["users"]["sourcedId"][0], "grades")]
    assert "OR-CSV-055" not in codes(for_it)
    district = {"OR-CSV-144": "info", "OR-CSV-055": "warning"}
    assert severities(judged(strange, "1.2", product=cautious, overrides=district), "OR-CSV-144") == {"info"}
    assert "OR-CSV-055" in codes(judged(strange, "1.2", product=cautious, overrides=district))


def test_a_product_does_not_lower_what_the_roster_stands_on(cautious: str) -> None:
    assert "OR-CSV-160" in codes(judged(edited(again("users", familyName="Other")), product=cautious))


def test_each_product_of_a_district_is_asked_and_says_so_itself() -> None:
    strange = edited(put("users", "grades", "PS", STUDENT))
    both = [f for f in judged(strange, product=("literacy", "math")).findings if f.code.startswith("PR-")]
    alone = [f for key in ("literacy", "math") for f in judged(strange, product=key).findings if f.code[:3] == "PR-"]
    assert sorted((f.code, f.message, f.count) for f in both) == sorted((f.code, f.message, f.count) for f in alone)
    assert len({(f.code, f.file, f.column, f.detail) for f in both}) == len(both)
