"""Pages of a OneRoster server: the same roster as by CSV, or refused whole."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rosters import making
from rosters.diffing import compare
from rosters.frames import CheckOptions, Delivered
from rosters.normalising import normalise, taken_as_read, target
from rosters.reading import Limits, read
from rosters.validating import check
from tests.rosters.reading.pulls import Json, named_as_in_rest, pulled, record, records, reference
from tests.rosters.reading.sets import found, ids, packed, severity

TODAY = date(2026, 11, 20)
ORG = {"sourcedId": "s-1", "status": "active", "dateLastModified": "2026-11-20T06:10:00.000Z", "name": "North",
       "type": "school", "identifier": None, "parent": None}  # fmt: skip


def district(version: str = "1.1", users: int = 120) -> making.Tables:
    return making.make_roster(users=users, seed=5, today=TODAY, version=version)


def org(key: str = "s-1", **changes: Any) -> Json:
    return {**ORG, "sourcedId": key, **changes}


def read_orgs(path: Path, *orgs: Any, **options: Any) -> Delivered:
    return read(pulled(path / "pull.zip", {"orgs": list(orgs)}, **options))


def person(key: str, **changes: Any) -> Json:
    return {"sourcedId": key, "status": "active", "dateLastModified": "2026-11-20T06:10:00.000Z",
            "enabledUser": "true", "username": key, "givenName": "Ada", "familyName": "Kim", "grades": ["04"],
            "roles": [], **changes}  # fmt: skip


def role(word: str = "student", at: str = "s-1", kind: str = "primary", **more: Any) -> Json:
    return {"roleType": kind, "role": word, "org": reference(at, "org"), **more}


# ------------------------------------------------------------------------------------------------------ the same as CSV


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_a_district_is_the_same_by_csv_and_by_rest(tmp_path: Path, version: str) -> None:
    tables = district(version)
    tables["users"] = tables["users"].with_columns(
        pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.lit("x y")).otherwise(pl.lit("")).alias("metadata.a.b")
    )
    making.write_zip(tmp_path / "csv.zip", named_as_in_rest(tables), version=version)
    by_csv = read(tmp_path / "csv.zip")
    by_rest = read(pulled(tmp_path / "rest.zip", records(tables), version=version))
    assert by_rest.readable and by_rest.version == version
    assert list(by_rest.tables) == list(by_csv.tables)
    assert {table.mode for table in by_rest.tables.values()} == {"bulk"}
    for name, table in by_csv.tables.items():
        assert by_rest.tables[name].frame.columns == table.frame.columns
    before, after = (normalise(taken_as_read(delivered)) for delivered in (by_csv, by_rest))
    assert compare(before, after).empty
    codes = {f.code for f in by_rest.findings if f.severity != "info"}
    assert not codes
    csv_check, rest_check = (check(d, options=CheckOptions(TODAY)) for d in (by_csv, by_rest))
    assert not rest_check.rejections
    assert {f.code for f in rest_check.findings if f.severity in ("fatal", "error")} == {
        f.code for f in csv_check.findings if f.severity in ("fatal", "error")
    }


def test_what_csv_has_and_rest_writes_otherwise_becomes_the_same_cells(tmp_path: Path) -> None:
    user = person(
        "u-1",
        enabledUser=True, username=4711,
        userIds=[{"type": "LDAP", "identifier": "jdoe"}, {"type": "SIS", "identifier": 7}],
        agents=[reference("u-2", "user"), reference("u-3", "user")], grades="04", primaryOrg=reference("s-1", "org"),
        preferredFirstName="Ad", middleName=None, metadata={"a": 1.50, "b": None, "c": [1, {"d": "é"}], "e": False},
        roles=[role(beginDate="2026-08-18"), role("teacher", "s@2", "secondary"), role("ext:coach"), role("ext:coach")],
        userProfiles=[
            {"profileId": "https://sis.example.org/p/1", "profileType": "app", "vendorId": "v", "applicationId": "a",
             "credentials": [{"type": "x", "username": "n"}, {"type": "y", "username": "m", "password": "secret"}]},
            {"profileId": "p-2", "profileType": "app", "vendorId": "v"},
        ],
    )  # fmt: skip
    read_pull = read(pulled(tmp_path / "p.zip", {"users": [user]}, version="1.2"))
    (cells,) = read_pull.tables["users"].frame.to_dicts()
    assert {name: cell for name, cell in cells.items() if cell} == {
        "sourcedId": "u-1", "enabledUser": "true", "username": "4711", "userIds": "{LDAP:jdoe},{SIS:7}",
        "givenName": "Ada", "familyName": "Kim", "preferredGivenName": "Ad", "agentSourcedIds": "u-2,u-3",
        "grades": "04", "primaryOrgSourcedId": "s-1", "metadata.a": "1.5", "metadata.c": '[1,{"d":"é"}]',
        "metadata.e": "false", "line": 1,
    }  # fmt: skip
    rows = read_pull.tables["roles"].frame
    assert rows["sourcedId"].to_list() == ["u-1@s-1@student", "u-1@s/402@teacher", "u-1@s-1@ext/3Acoach"]
    assert rows["beginDate"].to_list() == ["2026-08-18", "", ""]
    assert rows["orgSourcedId"].to_list() == ["s-1", "s@2", "s-1"]
    assert read_pull.tables["roles"].part_of == read_pull.tables["userProfiles"].part_of == "users"
    profiles = read_pull.tables["userProfiles"].frame.select("sourcedId", "userSourcedId", "credentialType", "username")
    key = "https/3A/2F/2Fsis.example.org/2Fp/2F1"
    assert profiles.rows() == [(key, "u-1", "x", "n"), (f"{key}@2", "u-1", "y", "m")]
    assert found(read_pull, "OR-REST-012") == [(1, "p-2")]
    assert "secret" not in json.dumps([finding.as_json() for finding in read_pull.findings])


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cells=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6))
def test_any_text_comes_out_as_it_went_in(tmp_path: Path, cells: list[tuple[str, str]]) -> None:
    orgs = [org(f"s-{n}", name=name, metadata={"note": note}) for n, (name, note) in enumerate(cells)]
    frame = read_orgs(tmp_path, *orgs, size=4).tables["orgs"].frame
    assert frame["name"].to_list() == [name for name, _ in cells]
    assert frame["metadata.note"].to_list() == [note for _, note in cells]


def test_numbers_are_the_text_that_was_written(tmp_path: Path) -> None:
    def written(pull: Json, pages: dict[str, bytes]) -> None:
        pages["orgs-000001.json"] = pages["orgs-000001.json"].replace(b'"NUMBER"', b"1.10E+2")

    assert (
        read_orgs(tmp_path, org(identifier="NUMBER"), change=written).tables["orgs"].frame["identifier"][0] == "1.10E+2"
    )


def test_half_a_character_and_nul_are_marked_as_damaged(tmp_path: Path) -> None:
    delivered = read_orgs(tmp_path, org(name="a\ud800b\0"), org("s-2", name="whole 😀"), size=1, change=_escaped)
    assert delivered.tables["orgs"].frame["name"].to_list() == ["a\ufffdb\ufffd", "whole 😀"]


def _escaped(pull: Json, pages: dict[str, bytes]) -> None:
    for name, body in pages.items():
        pages[name] = json.dumps(json.loads(body)).encode()


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | st.just("sourcedId"), inner, max_size=3),
    max_leaves=5,
)
REFERENCE = TEXT.map(lambda key: reference(key, "org"))
ODD_RECORD = st.fixed_dictionaries(
    {},
    optional={
        "sourcedId": TEXT, "status": st.sampled_from(["active", "tobedeleted", None]), "enabledUser": JUNK,
        "username": TEXT | JUNK, "primaryOrg": REFERENCE | JUNK, "agents": st.lists(REFERENCE, max_size=3) | JUNK,
        "grades": st.lists(TEXT, max_size=3) | JUNK, "userIds": JUNK, "preferredFirstName": TEXT,
        "preferredGivenName": TEXT, "roles": st.lists(REFERENCE.map(lambda org: {"role": "aide", "org": org})) | JUNK,
        "userProfiles": JUNK, "metadata": st.dictionaries(TEXT, JUNK, max_size=3) | JUNK, "resources": JUNK,
        "ourOwn": JUNK, "their own": JUNK,
    },
)  # fmt: skip


def _by_hand(pull: Json, pages: dict[str, bytes]) -> None:
    """Half a character beside the list: it changes nothing, and the page has to be read value by value."""
    for name, body in pages.items():
        pages[name] = body[:-1] + b', "note": "\\ud800"}'


@pytest.mark.parametrize("mode", ["bulk", "delta"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(users=st.lists(ODD_RECORD | st.none() | TEXT, min_size=1, max_size=6))
def test_a_page_says_the_same_however_it_is_read(tmp_path: Path, mode: str, users: list[Any]) -> None:
    """The quick way and the thorough one: whatever a server sends, they differ in nothing."""
    reads = [
        read(pulled(tmp_path / "p.zip", {"users": users}, version="1.2", mode=mode, size=2, change=change))
        for change in (_by_hand, lambda pull, pages: None)
    ]
    by_hand, usual = reads
    assert [finding.as_json() for finding in usual.findings] == [finding.as_json() for finding in by_hand.findings]
    assert usual.tables.keys() == by_hand.tables.keys()
    for name, table in usual.tables.items():
        other = by_hand.tables[name]
        assert table.frame.equals(other.frame) and table.unread.equals(other.unread)
        assert (table.header, table.mode) == (other.header, other.mode)


# ------------------------------------------------------------------------------------------------- whole or not at all


def _drop_page(pull: Json, pages: dict[str, bytes]) -> None:
    del pages["orgs-000002.json"]


def _extra_page(pull: Json, pages: dict[str, bytes]) -> None:
    pages["orgs-000004.json"] = pages["orgs-000001.json"]


def _untold_collection(pull: Json, pages: dict[str, bytes]) -> None:
    pages["users-000001.json"] = b'{"users": []}'


def _told(**facts: Any) -> Callable[[Json, dict[str, bytes]], None]:
    def change(pull: Json, pages: dict[str, bytes]) -> None:
        pull["collections"]["orgs"] |= facts

    return change


def _said(**facts: Any) -> Callable[[Json, dict[str, bytes]], None]:
    return lambda pull, pages: pull.update(facts)


MANY_FIELDS = json.dumps({"orgs": [{"metadata": {str(number): 1 for number in range(600)}}]}).encode()

MANY_STRANGE = json.dumps({"orgs": [{str(number): 1 for number in range(600)}]}).encode()
#: What json reads and our own walk does not, which took two frames for each level before Python 3.12.
_DEPTH = 900 if sys.version_info < (3, 12) else 5000
DEEP = b'{"orgs": [{"sourcedId": "s-2", "name": ' + b"[" * _DEPTH + b"7" + b"]" * _DEPTH + b"}]}"


def _page(body: bytes) -> Callable[[Json, dict[str, bytes]], None]:
    return lambda pull, pages: pages.update({"orgs-000002.json": body})


SPOILED = {
    "a page is missing": (_drop_page, "OR-REST-001"),
    "a page too many": (_extra_page, "OR-REST-001"),
    "a collection of which nothing is told": (_untold_collection, "OR-REST-001"),
    "not complete": (_told(complete=False), "OR-REST-001"),
    "complete only in words": (_told(complete="true"), "OR-REST-001"),
    "fewer records than told": (_told(rows=4, total=4), "OR-REST-001"),
    "more records than told": (_told(rows=2, total=2), "OR-REST-001"),
    "fewer than the server has": (_told(total=9), "OR-REST-001"),
    "pages without end": (_told(pages=10**9), "OR-REST-001"),
    "no number of pages": (_told(pages=None), "OR-REST-002"),
    "another format": (_said(format="oneroster-rest-pull/2"), "OR-REST-002"),
    "another version": (_said(version="2.0"), "OR-REST-002"),
    "a version that is no word": (_said(version=["1.1"]), "OR-REST-002"),
    "another mode": (_said(mode="sample"), "OR-REST-002"),
    "no collections": (_said(collections=[]), "OR-REST-002"),
    "a page of HTML": (_page(b"<html>Login</html>"), "OR-REST-003"),
    "a page cut off": (_page(b'{"orgs": [{"sourcedId": "s'), "OR-REST-003"),
    "a page that is empty": (_page(b""), "OR-REST-003"),
    "another wrapper": (_page(b'{"schools": [{"sourcedId": "s-2"}]}'), "OR-REST-003"),
    "an error with status 200": (_page(b'{"imsx_codeMajor": "failure"}'), "OR-REST-003"),
    "a wrapper of nothing": (_page(b'{"orgs": null}'), "OR-REST-003"),
    "a bare list": (_page(b'[{"sourcedId": "s-2"}]'), "OR-REST-003"),
    "not a number": (_page(b'{"orgs": [NaN]}'), "OR-REST-003"),
    "a page in Latin 1": (_page('{"orgs": [{"name": "é"}]}'.encode("latin-1")), "OR-REST-003"),
    "a page without bottom": (_page(b"[" * 200_000), "OR-REST-003"),
    "half characters without bottom": (_page(DEEP.replace(b"7", b'"\\ud800"')), "OR-REST-003"),
    "too many strange fields": (_page(MANY_STRANGE), "OR-REST-003"),
    "too many fields": (_page(MANY_FIELDS), "OR-REST-003"),
}  # fmt: skip


@pytest.mark.parametrize("case", SPOILED)
def test_a_pull_that_is_not_whole_is_refused_whole(tmp_path: Path, case: str) -> None:
    change, code = SPOILED[case]
    delivered = read_orgs(tmp_path, org("s-1"), org("s-2"), org("s-3"), size=1, change=change)
    assert not delivered.readable and not delivered.tables
    assert [f.code for f in delivered.findings if f.severity == "fatal"] == [code]
    assert check(delivered, options=CheckOptions(TODAY)).rejections


def test_no_district_can_switch_off_that_a_pull_must_be_whole(tmp_path: Path) -> None:
    path = pulled(tmp_path / "p.zip", {"orgs": [org(), org("s-2")]}, size=1, change=_drop_page)
    for severe in ("off", "info"):
        assert not read(path, overrides={"OR-REST-001": severe}).readable


def test_a_pull_has_the_safety_limits_of_every_zip(tmp_path: Path) -> None:
    many = pulled(tmp_path / "many.zip", {"orgs": [org(f"s-{n}") for n in range(60)]}, size=1)
    assert read(many).readable, "pages do not count as files"
    assert severity(read(many, limits=Limits(pages=59)), "OR-CSV-005") == "fatal"
    assert severity(read(many, limits=Limits(page=50)), "OR-CSV-005") == "fatal"
    bomb = pulled(tmp_path / "bomb.zip", {"orgs": [org()]}, change=_page(b'{"orgs": []}' + b" " * (3 << 20)))
    assert severity(read(bomb), "OR-CSV-005") == "fatal"


def test_what_else_lies_in_the_zip_is_named_and_left(tmp_path: Path) -> None:
    def more(pull: Json, pages: dict[str, bytes]) -> None:
        pages["orgs.csv"] = b"sourcedId\r\n1\r\n"
        pages["schools-000001.json"] = b'{"orgs": []}'
        pull["collections"]["schools"] = {"pages": 1, "rows": 0, "total": 0, "complete": True}

    delivered = read_orgs(tmp_path, org(), change=more)
    assert ids(delivered) == ["s-1"]
    assert found(delivered, "OR-CSV-008") == [(None, "orgs.csv"), (None, "schools")]


def test_a_zip_without_pull_json_is_a_set_of_csv_files(tmp_path: Path) -> None:
    delivered = read(packed(tmp_path / "p.zip", {"orgs-000001.json": '{"orgs": []}'}))
    assert not delivered.readable
    assert not any(f.code.startswith("OR-REST") for f in delivered.findings)


# --------------------------------------------------------------------------------------------------------- odd records


def test_a_record_that_left_is_left_out_of_a_full_pull_without_an_error(tmp_path: Path) -> None:
    delivered = read_orgs(tmp_path, org("s-1"), org("s-2", status="tobedeleted"), org("s-3"))
    frame = delivered.tables["orgs"].frame
    assert frame.select("sourcedId", "status", "dateLastModified", "line").rows() == [
        ("s-1", "", "", 1), ("s-3", "", "", 3),
    ]  # fmt: skip
    assert found(delivered, "OR-REST-010") == [(2, "s-2")]
    assert {f.severity for f in delivered.findings} == {"info"}
    checked = check(delivered, options=CheckOptions(TODAY))
    assert not {"OR-CSV-080", "OR-CSV-081", "OR-CSV-086"} & {f.code for f in checked.findings}


def test_a_status_of_nobody_s_words_is_left_for_the_check_to_report(tmp_path: Path) -> None:
    checked = check(read_orgs(tmp_path, org(status="archived"), org("s-2")), options=CheckOptions(TODAY))
    assert "OR-CSV-086" in {f.code for f in checked.findings}


def test_a_field_that_no_record_has_is_no_broken_header_for_a_product(tmp_path: Path) -> None:
    bare = {name: value for name, value in org().items() if name not in ("identifier", "parent")}
    checked = check(read_orgs(tmp_path, bare), options=CheckOptions(TODAY, products=("math", "literacy")))
    codes = {f.code for f in checked.findings}
    assert "OR-CSV-063" in codes
    assert "PR-020" not in codes


def test_a_collection_without_records_counts_as_not_sent(tmp_path: Path) -> None:
    pull = {"orgs": [org()], "demographics": [], "courses": [{**org("c"), "status": "tobedeleted"}]}
    delivered = read(pulled(tmp_path / "p.zip", pull))
    assert delivered.readable and list(delivered.tables) == ["orgs"]
    assert [f.file for f in delivered.findings if f.code == "OR-REST-008"] == ["courses.csv", "demographics.csv"]
    changes = read(pulled(tmp_path / "p.zip", {"orgs": [], "users": []}, mode="delta"))
    assert changes.readable and not changes.tables and not len(changes.findings)


def test_the_same_record_on_two_pages_counts_once_and_the_later_one_wins(tmp_path: Path) -> None:
    moved = org("s-1", dateLastModified="2026-11-20T06:11:00.000Z")
    delivered = read_orgs(tmp_path, org("s-1"), org("s-2"), moved, org("s-2", name="South"), size=2)
    assert delivered.tables["orgs"].frame.select("sourcedId", "name", "line").rows() == [
        ("s-1", "North", 3), ("s-2", "South", 4),
    ]  # fmt: skip
    assert found(delivered, "OR-REST-004") == [(4, "s-2")]
    gone = read_orgs(tmp_path, org("s-1"), org("s-2"), org("s-1", status="tobedeleted"), size=2)
    assert ids(gone) == ["s-2"]


def test_a_person_who_came_twice_has_the_roles_of_the_later_one(tmp_path: Path) -> None:
    people = [person("u-1", roles=[role()]), person("u-2", roles=[role()]),
              person("u-1", roles=[role("aide")]), person("u-2", roles=[role()])]  # fmt: skip
    delivered = read(pulled(tmp_path / "p.zip", {"users": people}, version="1.2", size=2))
    assert ids(delivered, "roles") == ["u-1@s-1@aide", "u-2@s-1@student"]
    assert found(delivered, "OR-REST-004") == [(3, "u-1")]


def test_a_value_of_another_kind_is_reported_and_never_dropped(tmp_path: Path) -> None:
    delivered = read_orgs(
        tmp_path,
        org("s-1", name={"en": "North"}, parent="s-9", metadata=["x"]),
        org("s-2", parent={"href": "https://x"}, identifier=["1"]),
        org("s-3", parent={}),
    )
    frame = delivered.tables["orgs"].frame
    assert frame["name"].to_list() == ['{"en":"North"}', "North", "North"]
    assert frame["parentSourcedId"].to_list() == ["s-9", '{"href":"https://x"}', ""]
    assert frame["identifier"].to_list() == ["", '["1"]', ""]
    assert frame["metadata.value"].to_list() == ['["x"]', "", ""]
    assert [(f.column, f.places.rows()) for f in delivered.findings if f.code == "OR-REST-006"] == [
        ("identifier", [(2, '["1"]')]),
        ("metadata.value", [(1, '["x"]')]),
        ("name", [(1, '{"en":"North"}')]),
        ("parentSourcedId", [(1, "s-9"), (2, '{"href":"https://x"}')]),
    ]


def test_a_comma_inside_an_item_of_a_list_is_said(tmp_path: Path) -> None:
    classes = [
        {"sourcedId": "c-1", "subjects": ["Reading, Writing", "Art"]},
        {"sourcedId": "c-2", "subjects": ["A", "B"]},
    ]
    delivered = read(pulled(tmp_path / "p.zip", {"classes": classes}))
    assert delivered.tables["classes"].frame["subjects"].to_list() == ["Reading, Writing,Art", "A,B"]
    assert found(delivered, "OR-REST-007") == [(1, "Reading, Writing,Art")]


def test_a_class_without_a_type_is_a_scheduled_one(tmp_path: Path) -> None:
    classes = [{"sourcedId": "c-1", "classType": None}, {"sourcedId": "c-2", "classType": "homeroom"}]
    delivered = read(pulled(tmp_path / "p.zip", {"classes": classes}))
    assert delivered.tables["classes"].frame["classType"].to_list() == ["scheduled", "homeroom"]
    assert found(delivered, "OR-REST-011") == [(1, "")]


def test_fields_that_oneroster_does_not_have_are_named(tmp_path: Path) -> None:
    delivered = read_orgs(tmp_path, org(children=[], phone="1"), org("s-2", phone=None))
    (finding,) = (f for f in delivered.findings if f.code == "OR-REST-009")
    assert (finding.file, finding.column, finding.count) == ("orgs.csv", "phone", 2)
    users = [person("u-1", roles=[role(scope="all")])]
    delivered = read(pulled(tmp_path / "p.zip", {"users": users}, version="1.2"))
    assert [(f.file, f.column) for f in delivered.findings if f.code == "OR-REST-009"] == [("roles.csv", "scope")]


def test_what_is_no_record_or_too_long_is_a_row_that_was_not_read(tmp_path: Path) -> None:
    delivered = read_orgs(tmp_path, org("s-1"), "s-2", None, org("s-4", name="x" * 20_000))
    assert ids(delivered) == ["s-1"]
    assert delivered.tables["orgs"].unread.rows() == [(2, None), (3, None), (4, "s-4")]
    assert found(delivered, "OR-REST-005") == [(2, ""), (3, "")]
    assert severity(delivered, "OR-CSV-055") == "error"


def test_findings_speak_of_the_collection_s_record_by_its_number(tmp_path: Path) -> None:
    delivered = read_orgs(tmp_path, *[org(f"s-{n}") for n in range(7)], org("s-7", type="planet"), size=3)
    checked = check(delivered, options=CheckOptions(TODAY))
    assert [(f.file, f.places.rows()) for f in checked.findings if f.code == "OR-CSV-132"] == [
        ("orgs.csv", [(8, "planet")])
    ]


# -------------------------------------------------------------------------------------------------------------- deltas


def accepted(path: Path, version: str = "1.2") -> tuple[making.Tables, dict[str, pl.DataFrame]]:
    """A district that was pulled in full, and its roster in normal form."""
    tables = district(version)
    checked = check(read(pulled(path / "full.zip", records(tables), version=version)), options=CheckOptions(TODAY))
    return tables, target(checked, {})


def after(
    path: Path, base: dict[str, pl.DataFrame], version: str = "1.2", **changed: list[Any]
) -> dict[str, pl.DataFrame]:
    delivered = read(pulled(path / "delta.zip", changed, version=version, mode="delta"))
    assert {table.mode for table in delivered.tables.values()} == {"delta"}
    checked = check(delivered, base=base, options=CheckOptions(TODAY))
    assert not checked.rejections
    return target(checked, base)


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_a_delta_changes_what_it_names_and_nothing_else(tmp_path: Path, version: str) -> None:
    tables, base = accepted(tmp_path, version)
    made = records(tables)
    renamed = {**made["orgs"][1], "name": "Renamed"}
    leaver = {**made["enrollments"][0], "status": "tobedeleted"}
    new = after(tmp_path, base, version, orgs=[renamed], enrollments=[leaver])
    assert new["orgs"].filter(sourcedId=renamed["sourcedId"])["name"].to_list() == ["Renamed"]
    assert set(base["enrollments"]["sourcedId"]) - set(new["enrollments"]["sourcedId"]) == {leaver["sourcedId"]}
    assert all(len(new[name]) == len(base[name]) for name in base if name != "enrollments")


def test_a_role_that_a_person_no_longer_has_goes_with_a_delta(tmp_path: Path) -> None:
    tables, base = accepted(tmp_path)
    teacher = next(user for user in records(tables)["users"] if user["roles"][0]["role"] == "teacher")
    who = pl.col("userSourcedId") == teacher["sourcedId"]
    aide = {**teacher, "roles": [{**teacher["roles"][0], "role": "aide"}]}
    new = after(tmp_path, base, users=[aide])
    assert new["roles"].filter(who)["role"].to_list() == ["aide"]
    assert new["roles"].filter(~who).sort("sourcedId").equals(base["roles"].filter(~who).sort("sourcedId"))
    without = after(tmp_path, base, users=[{**teacher, "roles": []}])
    assert without["roles"].filter(who).is_empty()
    leaving = after(tmp_path, base, users=[{**teacher, "status": "tobedeleted"}])
    assert teacher["sourcedId"] not in set(leaving["users"]["sourcedId"])
    assert leaving["roles"].filter(who).is_empty()


def test_roles_that_cannot_be_read_remove_none(tmp_path: Path) -> None:
    tables, base = accepted(tmp_path)
    user, other, *_ = records(tables)["users"]
    mine = pl.col("userSourcedId") == user["sourcedId"]
    for broken in (["student"], [None], "student"):
        new = after(tmp_path, base, users=[{**user, "roles": broken}, other])
        assert new["roles"].filter(mine).equals(base["roles"].filter(mine))
    made = records(tables)
    made["users"][0] = {**user, "sourcedId": None}
    checked = check(read(pulled(tmp_path / "p.zip", made, version="1.2")), base=base, options=CheckOptions(TODAY))
    new = target(checked, base)
    assert len(new["roles"]) == len(base["roles"]) and len(new["users"]) == len(base["users"])


def test_a_field_that_no_record_has_empties_nothing(tmp_path: Path) -> None:
    tables, base = accepted(tmp_path)
    user = next(u for u in records(tables)["users"] if u.get("email"))
    bare = {name: value for name, value in user.items() if name != "email"}
    new = after(tmp_path, base, users=[bare])
    assert new["users"].filter(sourcedId=user["sourcedId"])["email"].to_list() == [user["email"]]
    emptied = after(tmp_path, base, users=[{**bare, "email": None}])
    assert emptied["users"].filter(sourcedId=user["sourcedId"])["email"].to_list() == [""]


def test_one_made_record_looks_like_that_of_a_server() -> None:
    row = {"sourcedId": "c", "status": "", "courseSourcedId": "k", "termSourcedIds": "t,u", "grades": "", "title": "A"}
    made = record(row)
    assert made["course"]["sourcedId"] == "k" and [term["sourcedId"] for term in made["terms"]] == ["t", "u"]
