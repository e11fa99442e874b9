"""The provider against the facts of the standard, and against what is live."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import polars as pl
import pytest
from django.utils import timezone

from rosters import making, serving, syncs
from rosters.api import scopes
from rosters.api.operations import OPERATIONS
from rosters.api.scopes import V1P1, V1P2
from rosters.models import LIVE, District, Sync
from rosters.serving import Edition
from tests.journeys.trip import Trip
from tests.tools import with_token

if TYPE_CHECKING:
    from rosters.api.models import Client
    from tests.conftest import Standing, Stands

pytestmark = [pytest.mark.django_db, pytest.mark.alike]

FACTS = json.loads((Path(__file__).parents[2] / "spec" / "rest.json").read_text())
BASES = {"1.1": "/d/1001/ims/oneroster/v1p1", "1.2": "/d/1001/ims/oneroster/rostering/v1p2"}


class Reader:
    """A tool with a token, that asks for addresses below the base of a version."""

    def __init__(self, standard: str, *, only: tuple[str, ...] = (), site_code: str = "1001", **values: Any) -> None:
        from rosters.api.models import Client

        self.base = BASES[standard].replace("1001", site_code)
        client = Client.objects.create(
            name=f"reader {Client.objects.count()}", scopes=list(only or scopes.STANDARD), **values
        )
        client.districts.add(District.objects.get_or_create(site_code=site_code)[0])
        self.client: Client = client
        self.browser = with_token(client)

    def get(self, path: str, /, *, accept: str = "*/*", known: str = "", **params: Any) -> Any:
        headers = {"Accept": accept, **({"If-None-Match": known} if known else {})}
        return self.browser.get(f"{self.base}/{path}", params, headers=headers)

    def all(self, path: str, **params: Any) -> list[dict[str, Any]]:
        answer = self.get(path, limit=10_000, **params)
        assert answer.status_code == 200, answer.content
        records: list[dict[str, Any]] = next(iter(answer.json().values()))
        return records


def days(version: str) -> list[making.Tables]:
    """A roster as it comes on three days; people leave and come."""
    first = making.make_roster(users=90, seed=4, today=timezone.localdate(), name="Cedar Grove", version=version)
    second, _ = making.next_day(first, change=0.2, seed=3)
    return [first, second, making.next_day(second, change=0.2, seed=5)[0]]


@pytest.fixture(scope="module", params=["1.1", "1.2"])
def standard(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def cedar(standing: Standing, standard: str) -> Iterator[Stands]:
    def build(trip: Trip) -> None:
        for tables in days(standard)[:2]:
            trip.go(trip.send(tables, version=standard))

    with standing(build) as stands:
        yield stands


@pytest.fixture
def live(cedar: Stands, db: None, data_dir: Path) -> Trip:
    """A roster that came as that version, on its second day: people have left."""
    return cedar(data_dir)


def test_the_operations_are_those_of_the_standard(standard: str) -> None:
    suffix = standard.replace(".", "p")
    told = {fact["id"]: fact for fact in FACTS["operations_rostering"]}
    assert len(OPERATIONS) == len(told) == 41
    for operation in OPERATIONS:
        fact = told[operation.name]
        path = re.sub(r"\{\w+\}", "{}", fact[f"path_v{suffix}"])
        assert "/" + re.sub(r"<id:\w+>", "{}", operation.path) == path
        assert (operation.entity.many if operation.many else operation.entity.one) == fact["wrapper"]
        assert operation.many == (fact["kind"] == "collection")
        wanted = fact["scope_v1p1"] if standard == "1.1" else fact["scope_v1p2_any_of"]
        assert set(wanted) <= set(operation.scopes(standard)), operation.name


def address_of(operation: Any, told: dict[str, str]) -> str:
    return re.sub(r"<id:(\w+)>", lambda found: told[found[1]], operation.path)


def ids_of(reader: Reader) -> dict[str, str]:
    """An id for every name in a path, of records that belong together."""
    active = {"filter": "status='active'"}
    student = next(each for each in reader.all("enrollments", **active) if each["role"] == "student")
    class_id = student["class"]["sourcedId"]
    teacher = reader.all("enrollments", filter=f"role='teacher' AND class.sourcedId='{class_id}' AND status='active'")[
        0
    ]
    told = reader.get(f"classes/{class_id}").json()["class"]
    return {
        "classSourcedId": class_id,
        "schoolSourcedId": told["school"]["sourcedId"],
        "courseSourcedId": told["course"]["sourcedId"],
        "termSourcedId": told["terms"][0]["sourcedId"],
        "userSourcedId": student["user"]["sourcedId"],
        "studentSourcedId": student["user"]["sourcedId"],
        "teacherSourcedId": teacher["user"]["sourcedId"],
    }


def test_every_operation_answers_in_the_shape_of_the_standard(live: Trip, standard: str) -> None:
    reader = Reader(standard)
    told = ids_of(reader)
    entities = FACTS["entities"]["v" + standard.replace(".", "p")]
    filled = 0
    for operation in OPERATIONS:
        if not operation.many:
            many = operation.path.partition("/")[0]
            records = reader.all(many)
            if not records:
                continue
            told["sourcedId"] = records[0]["sourcedId"]
        answer = reader.get(address_of(operation, told))
        assert answer.status_code == 200, (operation.name, answer.content)
        body = answer.json()
        assert next(iter(body)) == (operation.entity.many if operation.many else operation.entity.one)
        found = next(iter(body.values()))
        filled += bool(found)
        for record in found if operation.many else [found]:
            assert_shape(record, entities[operation.entity.one], operation.name)
    assert filled >= 38


def assert_shape(record: dict[str, Any], fields: list[dict[str, Any]], name: str) -> None:
    known = {field["name"]: field for field in [*FACTS["common_fields"], *fields]}
    assert record.keys() <= known.keys(), name
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["dateLastModified"])
    for key, field in known.items():
        if key not in record:
            # 1.2 asks for `primary` of everybody; a student has none, and it is not made up
            assert not field["required"] or key == "primary", (name, key)
            continue
        value = record[key]
        if field["cardinality"].endswith("*"):
            assert isinstance(value, list), (name, key)
        if field["type"] == "GUIDRef":
            assert value.keys() == {"href", "sourcedId", "type"} and value["type"] == field["ref"]
        if field.get("enum") and not isinstance(value, list):
            assert value in field["enum"], (name, key, value)
        if "string" in field["type"] and not field["cardinality"].endswith("*"):
            assert isinstance(value, str), (name, key)
    assert "password" not in record


def test_what_is_served_is_what_is_live_cell_for_cell(live: Trip, standard: str) -> None:
    """Status and dates too; a user's date is also that of its roles."""
    served = serving.roster(syncs.store(), live.district, serving.edition_of(live.district, live.district.version))
    for table, model in LIVE.items():
        lives = dict(model._base_manager.values_list("sourced_id", "status"))
        rows = served.scan(table).collect()
        assert dict(rows.select("sourcedId", "status").iter_rows()) == lives, table
        assert rows["sourcedId"].is_sorted()
        if table != "users":
            dates = dict(model._base_manager.values_list("sourced_id", "date_last_modified"))
            for key, at in rows.select("sourcedId", "dateLastModified").iter_rows():
                assert abs((dates[key] - at).total_seconds()) < 0.001, table
    assert served.scan("users").filter(pl.col("status") == "tobedeleted").collect().height > 0


def test_every_reference_leads_to_its_record(live: Trip, standard: str) -> None:
    reader = Reader(standard)
    for many in ("classes", "users", "enrollments", "orgs", "courses", "academicSessions"):
        record = reader.all(many, filter="status='active'")[-1]
        refs = [each for value in record.values() for each in (value if isinstance(value, list) else [value])]
        for ref in refs:
            if isinstance(ref, dict) and "href" in ref:
                address = urlsplit(ref["href"])
                assert address.netloc == "testserver"
                found = reader.browser.get(address.path).json()
                assert next(iter(found.values()))["sourcedId"] == ref["sourcedId"]


def test_pages_follow_one_another_and_say_how_many_there_are(live: Trip, standard: str) -> None:
    reader = Reader(standard)
    whole = [each["sourcedId"] for each in reader.all("users")]
    assert whole == sorted(whole)
    seen, address, pages = [], f"{reader.base}/users?limit=25&fields=sourcedId,status&filter=status~'e'", 0
    while address:
        answer = reader.browser.get(address)
        seen += [each["sourcedId"] for each in answer.json()["users"]]
        assert answer.headers["X-Total-Count"] == str(len(whole))
        links = dict(re.findall(r'<([^>]*)>; rel="(\w+)"', answer.headers["Link"])[::-1])
        links = {rel: link for link, rel in links.items()}
        assert all("," not in link and link.startswith("http://testserver/") for link in links.values())
        assert ("prev" in links) == (pages > 0)
        address = links.get("next", "")
        pages += 1
    assert seen == whole and pages == -(-len(whole) // 25)
    beyond = reader.get("users", offset=10_000)
    assert beyond.json()["users"] == [] and 'rel="next"' not in beyond.headers["Link"]


def test_ten_thousand_are_served_as_asked_and_more_are_refused(live: Trip, standard: str) -> None:
    reader = Reader(standard)
    assert reader.get("users", limit=10_000).status_code == 200
    for bad in (
        {"limit": "10001"},
        {"limit": "0"},
        {"limit": "many"},
        {"offset": "-1"},
        {"limit": ""},
        {"offset": "1.5"},
    ):
        answer = reader.get("users", **bad)
        assert answer.status_code == 400, bad
        body = answer.json()
        assert body["imsx_codeMajor"] == "failure" and body["imsx_severity"] == "error"
        assert body["imsx_CodeMinor"]["imsx_codeMinorField"][0]["imsx_codeMinorFieldValue"] == "invaliddata"


Fits = Callable[[dict[str, Any]], bool]


FILTERS: list[tuple[str, str, Fits]] = [
        ("users", "status='tobedeleted'", lambda one: one["status"] == "tobedeleted"),
        ("users", "status!='tobedeleted'", lambda one: one["status"] == "active"),
        ("users", "familyName~'AR'", lambda one: "ar" in one["familyName"].lower()),
        ("users", "familyName>='N'", lambda one: one["familyName"] >= "N"),
        ("users", "grades='03'", lambda one: "03" in one["grades"]),
        ("users", "grades!='03'", lambda one: "03" not in one["grades"]),
        ("users", "dateLastModified>'2001-01-01'", lambda one: True),
        ("users", "dateLastModified<'2001-01-01T00:00:00.000Z'", lambda one: False),
        ("users", "grades='03' OR grades='04'", lambda one: bool({"03", "04"} & {*one["grades"]})),
        (
            "users",
            "grades='03' AND status='active' OR grades='04' AND status='tobedeleted'",
            lambda one: ("03" in one["grades"] and one["status"] == "active")
            or ("04" in one["grades"] and one["status"] == "tobedeleted"),
        ),
        ("users", "familyName='O''Nobody'", lambda one: False),
        ("enrollments", "role='teacher' AND primary='true'", lambda one: one.get("primary") == "true"),
        ("academicSessions", "startDate<='2100-01-01'", lambda one: True),
        ("academicSessions", "type='schoolYear'", lambda one: one["type"] == "schoolYear"),
        ("orgs", "children.sourcedId!='nobody'", lambda one: True),

]  # fmt: skip


def test_a_filter_chooses_what_it_says(live: Trip, standard: str) -> None:
    reader = Reader(standard)
    for many, text, fits in FILTERS:
        chosen = reader.get(many, filter=text, limit=10_000)
        wanted = [each["sourcedId"] for each in reader.all(many) if fits(each)]
        assert [each["sourcedId"] for each in chosen.json()[many]] == wanted, text
        assert chosen.headers["X-Total-Count"] == str(len(wanted)), text


def test_fields_of_what_a_record_refers_to_can_be_filtered_by(live: Trip, standard: str) -> None:
    reader = Reader(standard)
    told = ids_of(reader)
    school = told["schoolSourcedId"]
    at_school = {each["sourcedId"] for each in reader.all("classes") if each["school"]["sourcedId"] == school}
    assert {each["sourcedId"] for each in reader.all("classes", filter=f"school.sourcedId='{school}'")} == at_school
    term = told["termSourcedId"]
    in_term = {c["sourcedId"] for c in reader.all("classes") if term in [t["sourcedId"] for t in c["terms"]]}
    assert {each["sourcedId"] for each in reader.all("classes", filter=f"terms.sourcedId='{term}'")} == in_term
    own = "orgs.sourcedId" if standard == "1.1" else "roles.org.sourcedId"
    at_org = {each["sourcedId"] for each in reader.all("users", filter=f"{own}='{school}' AND status='active'")}
    for each in reader.all("users", filter="status='active'"):
        orgs = each["orgs"] if standard == "1.1" else [role["org"] for role in each["roles"]]
        assert (school in [org["sourcedId"] for org in orgs]) == (each["sourcedId"] in at_org)
    person = next(each for each in reader.all("users") if each["userIds"])
    identifier = person["userIds"][0]["identifier"]
    assert person["sourcedId"] in {
        u["sourcedId"] for u in reader.all("users", filter=f"userIds.identifier='{identifier}'")
    }


MEANINGLESS = [
    ("nonsense", "invaliddata"),
    ("status=active", "invaliddata"),
    ("status='active' XOR status='x'", "invaliddata"),
    ("status='active' AND ", "invaliddata"),
    ("password='x'", "invalid_filter_field"),
    ("school='x'", "invalid_filter_field"),
    ("dateLastModified>'yesterday'", "invaliddata"),
    ("dateLastModified>'2026-13-45'", "invaliddata"),
    ("status='" + "x" * 5000 + "'", "invaliddata"),
    (" OR ".join(["status='x'"] * 33), "invaliddata"),
]


def test_a_filter_that_means_nothing_is_refused_in_the_standards_words(live: Trip, standard: str) -> None:
    reader = Reader(standard)
    for text, minor in MEANINGLESS:
        answer = reader.get("users", filter=text)
        assert answer.status_code == 400, text
        assert answer.json()["imsx_CodeMinor"]["imsx_codeMinorField"][0]["imsx_codeMinorFieldValue"] == minor, text


def test_sorted_as_asked_and_always_in_one_order(live: Trip, standard: str) -> None:
    reader = Reader(standard)
    by_name = [(each["familyName"], each["sourcedId"]) for each in reader.all("users", sort="familyName")]
    assert by_name == sorted(by_name)
    falling = [each["familyName"] for each in reader.all("users", sort="familyName", orderBy="desc")]
    assert falling == sorted(falling, reverse=True)
    pieces: list[dict[str, Any]] = []
    for at in range(0, len(falling), 7):
        pieces += reader.get("users", sort="familyName", orderBy="desc", limit=7, offset=at).json()["users"]
    assert [each["familyName"] for each in pieces] == falling
    assert len({each["sourcedId"] for each in pieces}) == len(falling)


def test_an_unknown_field_to_sort_by_or_to_select_is_a_warning_after_the_data(live: Trip, standard: str) -> None:
    reader = Reader(standard)
    for params, minor in (
        ({"sort": "shoeSize"}, "invalid_sort_field"),
        ({"fields": "shoeSize"}, "invalid_selection_field"),
    ):
        body = reader.get("users", **params).json()
        assert list(body) == ["users", "statusInfoSet"] and len(body["users"][0]) > 5
        told = body["statusInfoSet"][0]
        assert (told["imsx_codeMajor"], told["imsx_severity"]) == ("success", "warning")
        assert told["imsx_CodeMinor"]["imsx_codeMinorField"][0]["imsx_codeMinorFieldValue"] == minor
    assert reader.get("users", fields="").status_code == 400
    chosen = reader.get("users", fields="givenName,familyName").json()["users"][0]
    assert chosen.keys() == {"givenName", "familyName"}


def test_what_is_not_there_is_a_404_in_the_standards_words(live: Trip, standard: str) -> None:
    reader = Reader(standard)
    student = reader.all("students")[0]["sourcedId"]
    for path in ("users/nobody", "classes/none/students", f"teachers/{student}", "lineItems", "schools/none/classes"):
        answer = reader.get(path)
        assert answer.status_code == 404, path
        told = answer.json()["imsx_CodeMinor"]["imsx_codeMinorField"][0]
        assert told["imsx_codeMinorFieldValue"] == "unknownobject"
    assert reader.get("users/").status_code == 200  # some ask with a slash at the end


def test_a_reader_who_began_before_a_sync_ends_in_the_same_roster(live: Trip, standard: str) -> None:
    reader, other = Reader(standard), Reader(standard, only=tuple(scopes.STANDARD))
    before = [each["sourcedId"] for each in reader.all("users")]
    seen = [each["sourcedId"] for each in reader.get("users", limit=30).json()["users"]]
    live.go(live.send(days(standard)[2], version=standard))
    while page := reader.get("users", limit=30, offset=len(seen)).json()["users"]:
        seen += [each["sourcedId"] for each in page]
    assert seen == before
    assert len(other.all("users")) > len(before)
    assert len(reader.all("users")) > len(before)


def test_a_poller_pays_nothing_when_nothing_changed(live: Trip, standard: str) -> None:
    reader = Reader(standard)
    first = reader.get("users", limit=5)
    again = reader.get("users", limit=5, known=first.headers["ETag"])
    assert again.status_code == 304 and not again.content
    live.go(live.send(days(standard)[2], version=standard))
    assert reader.get("users", limit=5, known=first.headers["ETag"]).status_code == 200


def test_the_roster_as_it_was(live: Trip, standard: str) -> None:
    reader = Reader(standard)
    first, second = Sync.objects.filter(status="applied").order_by("applied_at")
    then = reader.all("users", as_of=first.pk)
    assert len(then) == first.target_tables["users"]["rows"]
    assert {each["status"] for each in then} == {"active"}
    assert first.applied_at
    assert reader.all("users", as_of=first.applied_at.isoformat()) == then
    assert reader.all("users", as_of=second.pk) == reader.all("users")
    assert reader.all("users", as_of="2001-01-01") == []
    gone = next(each for each in reader.all("users") if each["status"] == "tobedeleted")
    assert reader.get(f"users/{gone['sourcedId']}", as_of=first.pk).json()["user"]["status"] == "active"
    for bad in ("999999", "once", "2026-99-99"):
        assert reader.get("users", as_of=bad).status_code == 400


def test_a_whole_table_is_streamed_a_record_a_line(live: Trip, standard: str) -> None:
    reader = Reader(standard)
    lines = "application/x-ndjson"
    answer = reader.get("enrollments", accept=lines)
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    told = [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]
    assert told == reader.all("enrollments") and answer.headers["X-Total-Count"] == str(len(told))
    part = reader.get("enrollments", accept=lines, offset=3, limit=4, filter="role='student'")
    chosen = [json.loads(line) for line in b"".join(part.streaming_content).splitlines()]
    assert chosen == reader.all("enrollments", filter="role='student'")[3:7]


def test_demographics_are_behind_a_scope_of_their_own(live: Trip) -> None:
    core = Reader("1.1", only=(V1P1 + "roster-core.readonly", V1P1 + "roster.readonly"))
    assert core.get("users").status_code == 200
    refused = core.get("demographics")
    assert refused.status_code == 403
    assert refused.json()["imsx_CodeMinor"]["imsx_codeMinorField"][0]["imsx_codeMinorFieldValue"] == "forbidden"
    plain = Reader("1.2", only=(V1P2 + "roster-core.readonly",))
    assert plain.get("users").status_code == 200
    assert plain.get("classes/none/students").status_code == 403


def test_a_client_of_1_2_finds_out_what_is_served(data_dir: Path) -> None:
    reader = Reader("1.2", site_code="1002")
    for name in ("onerosterv1p2rostersservice", "imsorv1p2_rostering"):
        told = reader.get(f"discovery/{name}_openapi3_v1p0.json").json()
        assert told["servers"] == [{"url": f"http://testserver{reader.base}"}] and told["openapi"].startswith("3.1")
        assert set(told["paths"]) == {fact["path_v1p2"] for fact in FACTS["operations_rostering"]}
        assert "site_code" not in json.dumps(told["paths"])


def test_a_district_without_a_roster_has_empty_lists(data_dir: Path, standard: str) -> None:
    reader = Reader(standard, site_code="1002")
    assert reader.all("users") == [] and reader.get("users").headers["X-Total-Count"] == "0"
    assert reader.get("users/nobody").status_code == 404


@pytest.mark.parametrize("path", ["users", "enrollments", "classes/{}/students"])
def test_a_page_costs_few_queries_at_any_offset(live: Trip, path: str, django_assert_max_num_queries: Any) -> None:
    reader = Reader("1.1")
    path = path.format(ids_of(reader)["classSourcedId"])
    for offset in (0, 40, 400):
        with django_assert_max_num_queries(3):
            assert reader.get(path, offset=offset).status_code == 200


def test_what_is_not_kept_any_more_costs_the_days_and_not_the_roster(live: Trip, standard: str) -> None:
    first = Sync.objects.filter(status="applied").earliest("applied_at")
    shutil.rmtree(syncs.store().sync_folder(live.district.pk, first.pk))
    Sync.objects.filter(pk=first.pk).update(plan_files={})  # as of a sync of long ago
    reader = Reader(standard)
    assert first.applied_at and live.district.snapshot
    people = reader.all("users", filter="status='active'")
    assert len(people) == live.district.snapshot.tables["users"]["rows"]
    assert reader.all("orgs") and reader.all("academicSessions"), "also what changed on that day alone"
    oldest = min(each["dateLastModified"] for each in people)
    assert oldest.startswith(f"{first.applied_at:%Y-%m-%dT%H:%M:%S}")


def test_only_what_is_old_and_asked_by_nobody_is_forgotten(live: Trip, monkeypatch: pytest.MonkeyPatch) -> None:
    store = syncs.store()
    for version in (1, 2):
        serving.roster(store, live.district, Edition(version))
    folder = store.root / "served" / str(live.district.pk)
    monkeypatch.setattr(serving, "_KEPT", 1)
    monkeypatch.setattr(serving, "_UNUSED_AFTER", -10.0)
    old = time.time() - 2 * serving._LOOKED_AT
    for path in folder.glob("*.json"):
        os.utime(path, (old, old))
    serving.roster(store, live.district, Edition(1))
    assert (folder / "1.json").stat().st_mtime > old, "what is looked at stays young"
    serving._forget(folder, Edition(2))
    assert [path.name for path in folder.glob("*.json")] == ["2.json"]
    assert serving.roster(store, live.district, Edition(1)).scan("users").collect().height > 0
