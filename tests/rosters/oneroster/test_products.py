"""The requirement profiles of the products against the witness, each with the basis on which we believe it."""

from __future__ import annotations

from typing import Any

import pytest

from rosters.oneroster import VERSIONS
from rosters.oneroster.products import PRODUCTS, Product
from rosters.oneroster.rules import RULES
from rosters.oneroster.vocabularies import CEDS_GRADES
from tests.rosters.oneroster.witness import stem, witness

PROFILES: dict[str, dict[str, Any]] = {key: witness("products")[f"imagine_{key}"] for key in ("literacy", "math")}
BOTH = pytest.mark.parametrize("key", PROFILES)


def combined(product: Product, table: str, column: str) -> dict[str, Any]:
    """Everything that a product asks of one column, in the words of the witness."""
    asked: dict[str, Any] = {}
    for requirement in product.requirements:
        if (requirement.table, requirement.column) != (table, column):
            continue
        asked["basis"] = requirement.basis
        if requirement.required:
            asked |= {"need": "required_if", "when": {"role": list(requirement.roles)}}
        if requirement.single_valued:
            asked["single_valued"] = True
        if requirement.unique_in:
            asked["unique_in"] = requirement.unique_in
        if requirement.pattern:
            asked["student_pattern"] = requirement.pattern
        if requirement.min_length:
            asked |= {"min_length": requirement.min_length, "applies_to_role": list(requirement.roles)}
    return asked


def test_there_are_two_products() -> None:
    assert {key: product.key for key, product in PRODUCTS.items()} == {"literacy": "literacy", "math": "math"}


@BOTH
def test_a_product_takes_the_versions_and_modes_of_its_page(key: str) -> None:
    product, profile = PRODUCTS[key], PROFILES[key]
    assert list(product.versions) == profile["versions"]["accepted"]
    assert product.versions_basis == profile["versions"]["basis"]
    assert list(product.modes) == profile["modes"]["accepted"]
    assert profile["modes"]["basis"].startswith(product.modes_basis)
    assert product.path_pattern == profile["transport"]["sftp_path_pattern"]
    assert set(product.versions) <= set(VERSIONS)


@BOTH
def test_a_product_needs_and_ignores_the_files_of_its_page(key: str) -> None:
    product, files = PRODUCTS[key], PROFILES[key]["files"]
    assert set(product.required_files) == {stem(file) for file, said in files.items() if said["need"] == "required"}
    assert set(product.ignored_files) == {stem(file) for file, said in files.items() if said["need"] == "ignored"}
    assert {said["basis"] for said in files.values()} == {product.files_basis}
    assert {*product.required_files, *product.ignored_files} == set(VERSIONS["1.1"].tables)


@BOTH
def test_a_product_asks_of_each_column_what_the_witness_knows_and_no_more(key: str) -> None:
    product, profile = PRODUCTS[key], PROFILES[key]
    spoken = ("when", "single_valued", "unique_in", "student_pattern", "min_length", "applies_to_role")
    needs = {True: "required", False: "optional"}
    for file, columns in profile["columns"].items():
        table = VERSIONS["1.1"].tables[stem(file)]
        assert list(columns) == list(table.header)
        for name, said in columns.items():
            asked = combined(product, table.name, name)
            expected = {word: said[word] for word in spoken if word in said}
            assert {word: asked[word] for word in spoken if word in asked} == expected, f"{file} {name}"
            column = table.column(name)
            standard = column.need if column.need == "delta_only" else needs[column.required]
            assert asked.get("need", standard) == said["need"], f"{file} {name}"
            if asked:
                assert asked["basis"] == said["basis"], f"{file} {name}"
            else:
                assert said["basis"] in ("spec", "native", "spec+native"), f"{file} {name}"


@BOTH
def test_what_must_be_unique_only_warns_because_the_witness_is_no_surer(key: str) -> None:
    columns = PROFILES[key]["columns"]
    assert columns["classes.csv"]["title"]["severity"] == columns["orgs.csv"]["name"]["severity"] == "warning"
    assert RULES["PR-012"].severity == "warning"


@BOTH
def test_the_grades_of_a_product_come_from_its_own_template(key: str) -> None:
    product, said = PRODUCTS[key], PROFILES[key]["columns"]["users.csv"]["grades"]
    assert dict(product.grades) == said["map"]
    assert product.grades_basis == said["basis"]
    assert set(product.grades.values()) <= set(said["target_vocabulary"])
    assert said["source_vocabulary"] == list(CEDS_GRADES)


def test_math_has_no_grades_above_eight() -> None:
    assert PRODUCTS["math"].grades["08"] == "8"
    assert not {"09", "10", "11", "12"} & set(PRODUCTS["math"].grades)
    assert PRODUCTS["literacy"].grades["12"] == "12"


@BOTH
def test_a_product_loads_and_ignores_the_roles_that_we_concluded(key: str) -> None:
    product, roles = PRODUCTS[key], PROFILES[key]["roles"]
    assert list(product.loaded_roles) == list(roles["loaded"])
    assert list(product.ignored_roles) == roles["ignored"]
    assert roles["basis"].startswith(product.roles_basis)
    known = VERSIONS["1.1"].vocabularies["userRole"].values
    assert {*product.loaded_roles, *product.ignored_roles} == set(known)


@BOTH
def test_headers_are_read_by_position_and_case(key: str) -> None:
    product, headers = PRODUCTS[key], PROFILES[key]["headers"]
    assert product.strict_headers
    assert (headers["order"], headers["case"]) == ("position sensitive", "sensitive")
    assert headers["basis"].startswith(product.headers_basis)


@BOTH
def test_a_product_names_only_what_exists(key: str) -> None:
    product = PRODUCTS[key]
    assert set(product.overrides) <= set(RULES)
    assert set(product.extensions) <= set(PROFILES[key]["extensions"])
    for requirement in product.requirements:
        assert VERSIONS["1.1"].tables[requirement.table].column(requirement.column)
