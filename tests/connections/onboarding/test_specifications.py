"""The templates are right by our own check, and every column is explained as the check judges it."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from urllib.parse import urljoin

import polars as pl
import pytest
from django.http import FileResponse
from django.test import Client

from connections.onboarding import example
from connections.onboarding.faults import of_column, of_property
from connections.onboarding.models import Person
from connections.onboarding.specifications import REASONS, entries, spec_link, template
from rosters import making
from rosters.frames import CheckOptions
from rosters.oneroster import VERSIONS, Table, manifest_properties
from rosters.oneroster.meanings import FILES, MANIFEST, MEANINGS
from rosters.oneroster.products import PRODUCTS
from rosters.reading import read
from rosters.validating import check
from tests.rosters.test_rules import LEFT_OUT

ComeIn = Callable[[Person], Client]
TAKEN = [(product, version) for product in PRODUCTS for version in PRODUCTS[product].versions]
TODAY = date(2025, 11, 25)
ROSTERING = [
    (version, table) for version, standard in VERSIONS.items() for table in standard.tables.values()
    if table.group == "rostering"
]  # fmt: skip


def found_in(content: bytes, tmp_path: Path, today: date, *products: str) -> list[tuple[str, str, str]]:
    """What our own check finds: severity, code and file."""
    path = tmp_path / "sent.zip"
    path.write_bytes(content)
    findings = check(read(path), options=CheckOptions(today=today, products=products)).findings
    return [(finding.severity, finding.code, finding.file) for finding in findings]


def body(answer: object) -> bytes:
    assert isinstance(answer, FileResponse)
    return b"".join(answer)


# ----------------------------------------------------------------------------------------------------------- templates


@pytest.mark.parametrize("today", [date(2025, 7, 31), date(2025, 8, 1), TODAY, date(2026, 1, 1), date(2028, 2, 29)])
@pytest.mark.parametrize(("product", "version"), TAKEN)
def test_the_example_of_a_product_is_clean_by_our_own_check_on_every_day_of_the_year(
    tmp_path: Path, product: str, version: str, today: date
) -> None:
    assert found_in(template(PRODUCTS[product], version, today), tmp_path, today, product) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_the_example_is_clean_in_every_version_that_we_explain(tmp_path: Path, version: str) -> None:
    content = io.BytesIO()
    making.write_zip(content, example.example(version, TODAY), version=version, system=example.SYSTEM)
    assert found_in(content.getvalue(), tmp_path, TODAY) == []


@pytest.mark.parametrize(("product", "version"), TAKEN)
def test_the_blank_template_lacks_nothing_but_rows_and_the_name_of_its_system(
    tmp_path: Path, product: str, version: str
) -> None:
    found = found_in(template(PRODUCTS[product], version), tmp_path, TODAY, product)
    without_rows = {file for _, code, file in found if code == "OR-CSV-049"}
    assert without_rows == {f"{name}.csv" for name in PRODUCTS[product].required_files}
    of_the_package = {"OR-CSV-015", "PR-001"}  # without rows a file counts as not sent
    assert {code for _, code, _ in found} <= {"OR-CSV-049", "OR-CSV-034", *of_the_package}


@pytest.mark.parametrize(("product", "version"), TAKEN)
def test_a_template_is_written_as_the_standard_wants_it(product: str, version: str) -> None:
    with zipfile.ZipFile(io.BytesIO(template(PRODUCTS[product], version))) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(files) == {"manifest.csv", *(f"{name}.csv" for name in PRODUCTS[product].required_files)}
    for name, text in files.items():
        if name != "manifest.csv":
            header = VERSIONS[version].tables[name.removesuffix(".csv")].header
            assert text == ",".join(header) + "\r\n"
    assert files["manifest.csv"].count("\r\n") == files["manifest.csv"].count("\n")
    said = dict(line.split(",") for line in files["manifest.csv"].split("\r\n")[1:-1])
    assert tuple(said) == manifest_properties(VERSIONS[version])
    assert {name for name, mode in said.items() if mode == "bulk"} == {
        f"file.{name}" for name in PRODUCTS[product].required_files
    }


@pytest.mark.django_db
def test_a_person_downloads_the_template_and_the_example(dana: Person, come_in: ComeIn) -> None:
    browser = come_in(dana)
    page = browser.get("/district/templates/").content.decode()
    links = re.findall(r'href="(/district/templates/[^"]+\.zip[^"]*)"', page)
    assert len(links) == 2 * len(TAKEN)
    for link in links:
        answer = browser.get(link)
        assert answer["Content-Type"] == "application/zip"
        assert ("example" in answer["Content-Disposition"]) == ("examples=1" in link)
        assert zipfile.ZipFile(io.BytesIO(body(answer))).testzip() is None
    assert browser.get("/district/templates/literacy/9.9.zip").status_code == 404
    assert browser.get("/district/templates/chess/1.1.zip").status_code == 404


# --------------------------------------------------------------------------------------------------------- explanations


@pytest.mark.parametrize(("version", "table"), ROSTERING, ids=lambda each: getattr(each, "name", each))
def test_every_column_is_explained_with_an_example(version: str, table: Table) -> None:
    explained = entries(version, table.name, TODAY)
    assert tuple(entry.name for entry in explained) == table.header
    for entry in explained:
        assert entry.means.endswith(".") and entry.allowed.endswith(".") and entry.example, entry.name


def test_nothing_is_explained_that_the_standard_does_not_have() -> None:
    known = {name: {c for v, t in ROSTERING if t.name == name for c in t.header} for name in FILES if name != MANIFEST}
    assert {name: set(columns) for name, columns in MEANINGS.items() if name != MANIFEST} == known
    assert {(each.table, each.column) for p in PRODUCTS.values() for each in p.requirements} == set(REASONS)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_row_of_the_manifest_is_explained(version: str) -> None:
    explained = entries(version, MANIFEST, TODAY)
    names = {name for entry in explained for name in (entry.anchors or (entry.name,))}
    assert names == {"propertyName", "value", *manifest_properties(VERSIONS[version])}


@pytest.mark.parametrize(("version", "table"), ROSTERING, ids=lambda each: getattr(each, "name", each))
def test_an_example_that_is_allowed_is_one_that_the_check_takes(version: str, table: Table, tmp_path: Path) -> None:
    """Every example stands in a full set at once; only what it names elsewhere may be missing there."""
    tables = example.example(version, TODAY)
    name = table.name
    shown = {e.name: e.example for e in entries(version, name, TODAY) if not e.example.startswith("(")}
    shown |= {"status": "", "dateLastModified": ""}
    row = tables[name].head(1).with_columns(
        pl.lit(value).alias(column) for column, value in shown.items()
        if column not in ("agentSourcedIds", "primary", "userProfileSourcedId", "parentSourcedId")
    )  # fmt: skip
    changed = {**tables, name: pl.concat([row, tables[name].slice(1)])}
    content = io.BytesIO()
    making.write_zip(content, changed, version=version, system=example.SYSTEM)
    assert [found for found in found_in(content.getvalue(), tmp_path, TODAY) if found[0] != "info"] == []


FAULTS = [
    ("users", "email", "parker", "OR-CSV-118"),
    ("users", "role", "pupil", "OR-CSV-133"),
    ("users", "grades", "fourth", "OR-CSV-143"),
    ("users", "enabledUser", "yes", "OR-CSV-106"),
    ("users", "orgSourcedIds", "SCH-999", "OR-CSV-170"),
    ("users", "userIds", "aparker", "OR-CSV-112"),
    ("users", "sourcedId", "S 2041", "OR-CSV-101"),
    ("users", "status", "active", "OR-CSV-080"),
    ("classes", "schoolSourcedId", "DST-001", "OR-CSV-208"),
    ("classes", "subjectCodes", "", "OR-CSV-213"),
    ("classes", "classType", "lesson", "OR-CSV-131"),
    ("enrollments", "classSourcedId", "CLS-9", "OR-CSV-172"),
    ("enrollments", "primary", "true", "OR-CSV-218"),
    ("enrollments", "endDate", "1.8.2026", "OR-CSV-103"),
    ("orgs", "name", "", "OR-CSV-100"),
    ("orgs", "parentSourcedId", "DST-9", "OR-CSV-164"),
    ("academicSessions", "schoolYear", "2025-2026", "OR-CSV-105"),
    ("demographics", "sex", "F", "OR-CSV-136"),
    ("demographics", "countryOfBirthCode", "USA", "OR-CSV-146"),
]


@pytest.mark.parametrize(("table", "column", "value", "code"), FAULTS)
def test_what_the_check_finds_in_a_column_is_named_where_the_column_is_explained(
    tmp_path: Path, table: str, column: str, value: str, code: str
) -> None:
    tables = example.example("1.1", TODAY)
    wrong = tables[table].head(1).with_columns(pl.lit(value).alias(column))
    content = io.BytesIO()
    making.write_zip(content, {**tables, table: pl.concat([wrong, tables[table].slice(1)])}, system=example.SYSTEM)
    path = tmp_path / "sent.zip"
    path.write_bytes(content.getvalue())
    findings = check(read(path), options=CheckOptions(today=TODAY)).findings
    assert (code, f"{table}.csv", column) in {(finding.code, finding.file, finding.column) for finding in findings}
    standard = VERSIONS["1.1"].tables[table]
    assert code in {rule.code for rule in of_column("1.1", table, standard.column(column))}


def test_no_page_warns_of_what_no_check_looks_for() -> None:
    of_columns = [of_column(version, table.name, column) for version, table in ROSTERING for column in table.columns]
    of_rows = [of_property(name) for name in MEANINGS[MANIFEST]]
    assert not {rule.code for rules in of_columns + of_rows for rule in rules} & LEFT_OUT


# ---------------------------------------------------------------------------------------------------------------- pages


@pytest.mark.django_db
def test_every_file_has_a_page_on_which_every_column_can_be_linked_to(dana: Person, come_in: ComeIn) -> None:
    browser = come_in(dana)
    for version, table in ROSTERING:
        page = browser.get(f"/district/templates/{table.name}/?version={version}").content.decode()
        ids = re.findall(r'id="([^"]+)"', page)
        assert set(table.header) <= set(ids) and len(ids) == len(set(ids)), table.name
    page = browser.get("/district/templates/manifest/").content.decode()
    assert set(manifest_properties(VERSIONS["1.1"])) <= set(re.findall(r'id="([^"]+)"', page))
    for nowhere in ("lineItems", "grades", "users/?version=2.0", "roles/?version=1.1"):
        assert browser.get(f"/district/templates/{nowhere}{'' if '?' in nowhere else '/'}").status_code == 404


@pytest.mark.django_db
def test_a_link_of_a_finding_arrives_at_its_column(dana: Person, come_in: ComeIn) -> None:
    assert spec_link("users.csv", "email") == spec_link("users", "email") == "/district/templates/users/#email"
    assert spec_link("users.csv", "pronouns") == "/district/templates/users/?version=1.2#pronouns"
    assert spec_link("roles.csv", "roleType") == "/district/templates/roles/#roleType"
    assert spec_link("manifest.csv", "file.users") == "/district/templates/manifest/#file.users"
    assert spec_link("users.csv", "metadata.us.shoe") == spec_link("users.csv") == "/district/templates/users/"
    assert spec_link("lineItems.csv", "title") == spec_link("") == "/district/templates/"
    browser = come_in(dana)
    for link in (spec_link("users.csv", "pronouns"), spec_link("roles.csv", "roleType"), spec_link("manifest.csv")):
        assert browser.get(link.partition("#")[0]).status_code == 200


@pytest.mark.django_db
def test_every_link_between_the_pages_arrives_and_keeps_the_version(dana: Person, come_in: ComeIn) -> None:
    browser = come_in(dana)
    seen, waiting = set[str](), {"/district/templates/"}
    while waiting:
        address = waiting.pop()
        seen.add(address)
        page = browser.get(address).content.decode()
        ids = set(re.findall(r'id="([^"]+)"', page))
        for link in re.findall(r'href="((?:/district/templates/)?[?#]?[^":]*)"', page):
            at, _, anchor = urljoin(address, link).partition("#")
            if not at.startswith("/district/templates/") or ".zip" in at:
                continue
            assert not (at == address and anchor) or anchor in ids or anchor == "content", (address, link)
            waiting |= {at} - seen
    assert {f"/district/templates/{table.name}/" for _, table in ROSTERING} < seen
    roles = browser.get("/district/templates/roles/").content.decode()
    assert 'href="/district/templates/users/?version=1.2"' in roles


@pytest.mark.django_db
def test_a_product_tells_what_it_asks_beyond_the_standard_and_why(dana: Person, come_in: ComeIn) -> None:
    page = come_in(dana).get("/district/templates/users/").content.decode()
    password = page[page.index('id="password"') :]
    assert (
        "at least 4 characters for every student" in password and "at least 8 characters for every student" in password
    )
    role = page[page.index('id="role"') : page.index('id="username"')]
    assert "Loads every student, teacher and administrator" in role and "PR-016" in role and "our conclusion" in role
    username = page[page.index('id="username"') : page.index('id="userIds"')]
    assert "letters and digits only for every student" in username and "No two alike in one district" in username
    assert "product&#x27;s own template" in username and "PR-011" in username
    assert "Literacy and Math</dt><dd>Nothing more than the standard." in page[page.index('id="sms"') :]


@pytest.mark.django_db
def test_searching_finds_columns_by_what_they_are_about(dana: Person, come_in: ComeIn) -> None:
    browser = come_in(dana)

    def found(words: str) -> list[str]:
        page = browser.get("/district/templates/", {"q": words}).content.decode()
        panel = page[page.index('id="found"') : page.index('id="literacy"')]
        return re.findall(r'href="/district/templates/([^"]+)"', panel)

    assert found("ADDRESS school") == ["users/#email"]
    assert found("birth day") == ["demographics/#birthDate"]
    assert "users/?version=1.2#pronouns" in found("pronouns")
    assert found("zebra") == []
    assert "&lt;b&gt;" in browser.get("/district/templates/", {"q": "<b>"}).content.decode()


@pytest.mark.django_db
def test_who_has_not_come_in_is_led_to_the_door() -> None:
    for address in ("", "users/", "literacy/1.1.zip"):
        answer = Client().get(f"/district/templates/{address}")
        assert answer.status_code == 302 and answer["Location"] == "/district/enter/"
