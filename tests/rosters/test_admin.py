"""The staff's pages: who sees what, who may decide, what a stale page answers, and what it costs."""

from __future__ import annotations

import csv
import html
import re
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from rosters import making, syncs
from rosters.changes import names_of
from rosters.models import AuditEvent, District, Sync, User
from rosters.templatetags.roster_pages import bars
from tests.journeys.trip import Trip, made_once
from tests.queue import work_off

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

    from tests.conftest import Stands

pytestmark = pytest.mark.django_db


def _tables() -> making.Tables:
    return making.make_roster(users=80, seed=6, today=timezone.localdate(), name="Cedar Grove")


@pytest.fixture
def tables() -> making.Tables:
    return _tables()


def _built(trip: Trip) -> None:
    trip.go(trip.send(_tables()))
    trip.send(making.without_school(_tables(), 0))


_cedar = made_once(_built)


@pytest.fixture
def cedar(_cedar: Stands, data_dir: Path) -> District:
    """A district whose first roster is live, and a second delivery that waits because a school is missing."""
    return _cedar(data_dir).district


def _sent(district: District, folder: Path, tables: making.Tables) -> Sync:
    making.write_zip(folder / "sent.zip", tables)
    sync = syncs.receive(district, folder / "sent.zip", origin="staff", name="sent.zip")
    return syncs.prepare(sync.pk) or sync


def _apply(sync: Sync, by: Staff) -> Sync:
    syncs.approve(sync, by=by, plan_digest=sync.plan_digest)
    return syncs.apply(sync.pk) or sync


def _logged_in(staff: Staff) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def _waiting() -> Sync:
    return Sync.objects.get(status="awaiting_review")


def test_a_viewer_looks_but_neither_uploads_nor_decides(cedar: District, vera: Staff) -> None:
    client, sync = _logged_in(vera), _waiting()
    page = client.get(f"/admin/rosters/sync/{sync.pk}/change/")
    assert page.status_code == 200
    assert b"Approve" not in page.content
    for action in ("approve", "decline", "undo", "retry"):
        answer = client.post(f"/admin/rosters/sync/{sync.pk}/{action}/", {"plan": sync.plan_digest, "reason": "no"})
        assert answer.status_code == 403
    zip_file = SimpleUploadedFile("x.zip", b"PK")
    assert client.post(f"/admin/rosters/district/{cedar.pk}/upload/", {"file": zip_file}).status_code == 403
    assert client.get(f"/admin/rosters/sync/{sync.pk}/original/").status_code == 403
    assert _waiting() == sync


def test_a_viewer_sees_no_demographics_anywhere(cedar: District, vera: Staff, rita: Staff) -> None:
    sync = _waiting()
    changes = f"/admin/rosters/sync/{sync.pk}/changes/?table=demographics"
    assert b"birthDate" not in _logged_in(vera).get(changes).content
    assert b"birthDate" in _logged_in(rita).get(changes).content
    assert _logged_in(vera).get("/admin/rosters/demographics/").status_code == 403
    assert _logged_in(rita).get("/admin/rosters/demographics/").status_code == 200


def test_a_viewer_reads_what_is_wrong_with_demographics_but_not_what_they_say(
    data_dir: Path, tmp_path: Path, tables: making.Tables, vera: Staff, rita: Staff, manu: Staff
) -> None:
    """On the page, in the file of all places, and where words are mapped."""
    strange = tables["demographics"].with_columns(asian=pl.lit("quite so"))
    harbor = District.objects.create(name="Harbor City", site_code="1002")
    sync = _sent(harbor, tmp_path, {**tables, "demographics": strange})
    finding = sync.findings.get(file="demographics.csv", column="asian")
    page, places = f"/admin/rosters/sync/{sync.pk}/change/", f"/admin/rosters/sync/{sync.pk}/findings.csv"
    mapped = f"/admin/rosters/district/{harbor.pk}/change/?finding={finding.pk}"
    for address in (page, places):
        assert b"quite so" in b"".join(_logged_in(rita).get(address))
        told = b"".join(_logged_in(vera).get(address))
        assert (b"quite so" in told, finding.code.encode() in told) == (False, True)
    assert "quite so" in _logged_in(manu).get(mapped).text
    manu.user_permissions.add(Permission.objects.get(codename="change_district"))
    manu.user_permissions.add(Permission.objects.get(codename="view_district"))
    manu.groups.clear()
    assert "quite so" not in _logged_in(manu).get(mapped).text


def test_a_change_names_what_a_record_refers_to(cedar: District, rita: Staff, tables: making.Tables) -> None:
    """A school by its name and a seat by its person and class; the ids stay to be seen."""
    changes = f"/admin/rosters/sync/{_waiting().pk}/changes/"
    school = tables["orgs"].filter(pl.col("type") == "school")["name"][0]
    lost = _logged_in(rita).get(changes, {"table": "users", "kind": "removed"}).context["rows"][0]
    cell = next(cell for cell in lost["cells"] if cell["name"] == "primaryOrgSourcedId")
    assert (cell["value"], cell["id"] in tables["orgs"]["sourcedId"].to_list()) == (school, True)
    page = _logged_in(rita).get(changes, {"table": "enrollments", "kind": "removed"})
    seat = page.context["rows"][0]
    row = tables["enrollments"].row(by_predicate=pl.col("sourcedId") == seat["sourcedId"], named=True)
    person = tables["users"].row(by_predicate=pl.col("sourcedId") == row["userSourcedId"], named=True)
    title = tables["classes"].row(by_predicate=pl.col("sourcedId") == row["classSourcedId"], named=True)["title"]
    assert seat["title"] == f"{person['givenName']} {person['familyName']} · {title}"
    assert {cell["name"]: cell["value"] for cell in seat["cells"]}["schoolSourcedId"] == school
    assert row["classSourcedId"] in page.text


def test_a_change_names_what_only_comes_with_it(
    data_dir: Path, tmp_path: Path, tables: making.Tables, rita: Staff
) -> None:
    """The first roster of a district: nothing it refers to is live yet. Terms stand in a list."""
    sync = _sent(District.objects.create(name="Harbor City", site_code="1002"), tmp_path, tables)
    rows = _logged_in(rita).get(f"/admin/rosters/sync/{sync.pk}/changes/", {"table": "classes"}).context["rows"]
    cells = {cell["name"]: cell for cell in rows[0]["cells"]}
    titles = dict(tables["academicSessions"].select("sourcedId", "title").iter_rows())
    assert cells["termSourcedIds"]["value"] == ", ".join(titles[t] for t in cells["termSourcedIds"]["id"].split(","))
    assert cells["courseSourcedId"]["value"] in tables["courses"]["title"].to_list()


def test_a_cell_that_names_half_a_million_people_costs_no_more_than_a_page(cedar: District) -> None:
    """More than any database takes in one question."""
    stored = syncs.store().difference(cedar.pk, _waiting().pk)
    known = User.objects.filter(district=cedar).values_list("sourced_id", flat=True)
    assert len(names_of(_waiting(), stored, "users", [{"agentSourcedIds": ",".join(known)}])) == len(known)
    many = ",".join(f"a{number}" for number in range(500_000))
    assert names_of(_waiting(), stored, "users", [{"agentSourcedIds": many}]) == {}


def test_two_of_the_same_name_are_told_apart_by_their_ids(
    data_dir: Path, tmp_path: Path, tables: making.Tables, rita: Staff, alice: Staff
) -> None:
    harbor = District.objects.create(name="Harbor City", site_code="1002")
    twins = {**tables, "orgs": tables["orgs"].with_columns(name=pl.lit("Lincoln"))}
    _apply(_sent(harbor, tmp_path, twins), alice)
    here, there = twins["orgs"].filter(pl.col("type") == "school")["sourcedId"].head(2)
    mover = (pl.col("orgSourcedIds") == here) & (pl.col("orgSourcedIds") == here).cum_sum().eq(1)
    moved = pl.when(mover).then(pl.lit(there)).otherwise("orgSourcedIds").alias("orgSourcedIds")
    sync = _sent(harbor, tmp_path, {**twins, "users": twins["users"].with_columns(moved)})
    (row,) = _logged_in(rita).get(f"/admin/rosters/sync/{sync.pk}/changes/", {"table": "users"}).context["rows"]
    assert row["cells"] == [{"name": "primaryOrgSourcedId", "old": here, "new": there}]


def test_nothing_is_decided_by_get(cedar: District, alice: Staff) -> None:
    client, sync = _logged_in(alice), _waiting()
    for action in ("approve", "decline", "undo", "retry"):
        assert client.get(f"/admin/rosters/sync/{sync.pk}/{action}/").status_code == 405
    assert client.get(f"/admin/rosters/district/{cedar.pk}/upload/").status_code == 405
    assert _waiting() == sync


def test_a_reviewer_approves_and_the_queue_applies(cedar: District, rita: Staff) -> None:
    client, sync = _logged_in(rita), _waiting()
    answer = client.post(f"/admin/rosters/sync/{sync.pk}/approve/", {"plan": sync.plan_digest})
    assert answer.status_code == 302
    assert work_off() == 1
    sync.refresh_from_db()
    assert (sync.status, sync.decided_by) == ("applied", rita)
    assert AuditEvent.objects.filter(action="sync.approved", by=rita, plan_digest=sync.plan_digest).exists()


def test_a_stale_page_gets_409_and_the_new_plan(
    cedar: District, rita: Staff, alice: Staff, tables: making.Tables, tmp_path: Path
) -> None:
    waiting = _waiting()
    client = _logged_in(rita)
    answer = client.post(f"/admin/rosters/sync/{waiting.pk}/approve/", {"plan": "0" * 64})
    assert answer.status_code == 409
    assert b"Nothing was approved" in answer.content
    assert waiting.plan_digest.encode() in answer.content  # the page shows the plan as it is now
    assert _waiting() == waiting


def test_a_page_from_before_the_roster_moved_gets_409_and_the_plan_is_made_anew(
    cedar: District, rita: Staff, alice: Staff
) -> None:
    waiting = _waiting()
    District.objects.filter(pk=cedar.pk).update(version=5)
    answer = _logged_in(rita).post(f"/admin/rosters/sync/{waiting.pk}/approve/", {"plan": waiting.plan_digest})
    assert answer.status_code == 409
    waiting.refresh_from_db()
    assert waiting.status == "received"
    assert work_off() >= 1


def test_declining_without_a_reason_is_refused(cedar: District, rita: Staff) -> None:
    answer = _logged_in(rita).post(f"/admin/rosters/sync/{_waiting().pk}/decline/", {"reason": " "})
    assert answer.status_code == 409
    assert _waiting()


def test_a_new_group_for_somebody_leaves_an_audit_row(vera: Staff, alice: Staff) -> None:
    from django.contrib.auth.models import Group

    reviewer = Group.objects.get(name="reviewer")
    form = {
        "username": "vera",
        "is_active": "on",
        "is_staff": "on",
        "groups": [reviewer.pk],
        "date_joined_0": "2026-01-01",
        "date_joined_1": "10:00:00",
    }
    answer = _logged_in(alice).post(f"/admin/auth/user/{vera.pk}/change/", form)
    assert answer.status_code == 302
    event = AuditEvent.objects.get(action="staff.permissions")
    assert event.before["groups"] == ["viewer"]
    assert event.after["groups"] == ["reviewer"]


def test_who_sets_the_password_of_a_colleague_leaves_an_audit_row(vera: Staff, alice: Staff) -> None:
    desk, at = _logged_in(alice), f"/admin/auth/user/{vera.pk}/password/"
    chosen = {"usable_password": "true", "password1": "wide-open-9988"}
    assert desk.post(at, {**chosen, "password2": "another-one-9988"}).status_code == 200
    assert not AuditEvent.objects.filter(action="staff.password_set").exists(), "nothing was set"
    assert desk.post(at, {**chosen, "password2": "wide-open-9988"}).status_code == 302
    event = AuditEvent.objects.get(action="staff.password_set")
    assert (event.by, event.subject, event.before, event.after) == (alice, f"staff {vera.pk}", {}, {})
    assert "set the password of a member of staff" in desk.get("/admin/rosters/auditevent/").content.decode()


def test_the_queues_own_pages_are_for_superusers_and_only_to_look_at(manu: Staff, alice: Staff) -> None:
    assert _logged_in(manu).get("/admin/django_q/schedule/").status_code == 403
    assert _logged_in(alice).get("/admin/django_q/schedule/").status_code == 200
    answer = _logged_in(alice).post("/admin/django_q/schedule/add/", {"func": "os.system", "args": "'true'"})
    assert answer.status_code == 403


def test_the_desk_costs_the_same_with_3_and_with_300_districts(
    cedar: District, alice: Staff, django_assert_max_num_queries: Callable[[int], Any]
) -> None:
    client = _logged_in(alice)
    client.get("/admin/")
    District.objects.bulk_create(District(name=f"District {n}", site_code=f"d{n}") for n in range(300))
    Sync.objects.bulk_create(
        Sync(district=d, delivery=Sync.objects.earliest("pk").delivery, status="awaiting_review", verdict="Held.")
        for d in District.objects.filter(site_code__startswith="d")
    )
    with django_assert_max_num_queries(28):
        page = client.get("/admin/")
    assert page.status_code == 200
    assert page.content.count(b"<tr>") < 100


def _people(client: Client, asked: str, district: str = "") -> Any:
    return client.post(f"/admin/rosters/user/?district={district}", {"q": asked}, follow=True)


def test_people_are_found_by_the_beginning_of_their_name(cedar: District, vera: Staff) -> None:
    person = User.objects.filter(role="student").earliest("pk")
    page = _people(_logged_in(vera), person.family_name[:4], str(cedar.pk))
    assert person.username in page.content.decode()


def test_live_records_cannot_be_changed_by_anybody(cedar: District, alice: Staff) -> None:
    client, person = _logged_in(alice), User.objects.earliest("pk")
    assert client.get("/admin/rosters/user/add/").status_code == 403
    client.post(f"/admin/rosters/user/{person.pk}/change/", {"family_name": "Changed"})
    assert client.post(f"/admin/rosters/user/{person.pk}/delete/", {"post": "yes"}).status_code == 403
    assert not User.objects.filter(family_name="Changed").exists()


def test_the_findings_download_is_safe_for_spreadsheets(
    cedar: District, rita: Staff, tables: making.Tables, tmp_path: Path
) -> None:
    users = tables["users"].with_columns(
        middleName=pl.when(pl.int_range(pl.len()) == 3).then(pl.lit("=SUM(A1)")).otherwise(pl.lit(""))
    )
    sync = _sent(cedar, tmp_path, {**tables, "users": users})
    answer = _logged_in(rita).get(f"/admin/rosters/sync/{sync.pk}/findings.csv")
    text = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
    assert "'=SUM(A1)" in text
    assert ",=SUM" not in text


def _with_formula(tables: making.Tables, row: int = 3) -> making.Tables:
    """The same with a warning: the middle name of person `row` is a formula to a spreadsheet."""
    formula = pl.when(pl.int_range(pl.len()) == row).then(pl.lit("=SUM(A1)")).otherwise(pl.lit(""))
    return {**tables, "users": tables["users"].with_columns(middleName=formula)}


def test_what_was_found_before_is_not_new_after_a_delivery_that_changed_nothing(
    cedar: District, alice: Staff, tables: making.Tables, tmp_path: Path
) -> None:
    first = _apply(_sent(cedar, tmp_path, _with_formula(tables)), alice)
    new = first.findings.filter(is_new=True)
    assert new
    other_zip = dict(reversed(_with_formula(tables).items()))
    for same in (_with_formula(tables), other_zip):
        assert _sent(cedar, tmp_path, same).status == "unchanged"
    (tmp_path / "broken.zip").write_bytes(b"PK no zip")
    broken = syncs.receive(cedar, tmp_path / "broken.zip", origin="staff", name="broken.zip")
    assert getattr(syncs.prepare(broken.pk), "status", "") == "rejected"
    later = _sent(cedar, tmp_path, _with_formula(making.without_school(tables, 0)))
    known = {(f.code, f.file, f.column) for f in new}
    assert not [f for f in later.findings.filter(is_new=True) if (f.code, f.file, f.column) in known]


def test_every_address_on_the_page_of_a_refused_decision_leads_somewhere(cedar: District, rita: Staff) -> None:
    client, sync = _logged_in(rita), _waiting()
    page = client.post(f"/admin/rosters/sync/{sync.pk}/approve/", {"plan": "0" * 64}).content.decode()
    links = set(re.findall(r'(?:href|hx-get)="([^"]+)"', page))
    assert not [link for link in links if not link.startswith(("/", "#", "data:"))]
    own = [html.unescape(link) for link in links if link.startswith(f"/admin/rosters/sync/{sync.pk}/")]
    assert any("kind=removed" in link for link in own)
    for link in own:
        answer = client.get(link)
        list(getattr(answer, "streaming_content", ()))  # some are downloads
        assert answer.status_code == 200, link
    ended = client.get(f"/admin/rosters/sync/{sync.pk}/progress/")
    assert (ended.status_code, ended["HX-Redirect"]) == (286, f"/admin/rosters/sync/{sync.pk}/change/")


def test_only_a_held_sync_speaks_of_what_held_it(cedar: District, alice: Staff, rita: Staff) -> None:
    client, held = _logged_in(rita), _waiting()
    assert "Read what held it" in client.get(f"/admin/rosters/sync/{held.pk}/change/").content.decode()
    undoing = syncs.prepare(syncs.undo(_apply(held, alice), by=alice).pk)
    assert undoing is not None
    assert (undoing.status, undoing.holds.count()) == ("awaiting_review", 0)
    page = client.get(f"/admin/rosters/sync/{undoing.pk}/change/").content.decode()
    assert "Read what held it" not in page
    assert "Look it over, then approve or decline." in page


def test_people_stand_by_school_grade_and_role_and_what_tripped_a_hold_is_marked(cedar: District, rita: Staff) -> None:
    client, sync = _logged_in(rita), _waiting()
    gone = sync.holds.get(code="SCHOOL_GONE").key
    page = client.get(f"/admin/rosters/sync/{sync.pk}/change/")
    assert [row["key"] for row in page.context["groups"] if row["held"]] == [gone]
    for by in ("grade", "role"):
        page = client.get(f"/admin/rosters/sync/{sync.pk}/change/", {"by": by})
        removed = {row["key"]: row["removed"] for row in page.context["groups"] if row["removed"]}
        told = sync.tallies.filter(table="users", dimension=by, removed__gt=0).exclude(key="")
        assert removed == dict(told.values_list("key", "removed"))
        key, number = next(iter(removed.items()))
        changes = client.get(f"/admin/rosters/sync/{sync.pk}/changes/", {"table": "users", "kind": "removed", by: key})
        assert changes.context["total"] == number
        row = next(row for row in page.context["groups"] if row["key"] == key)
        enrolled = client.get(f"/admin/rosters/sync/{sync.pk}/changes/", {"table": "enrollments", by: key})
        assert enrolled.context["total"] == row["enrollments"] > 0


def test_an_undo_tells_what_came_since_and_what_it_leaves_and_its_page_loads_no_roster(
    cedar: District, alice: Staff, tables: making.Tables, tmp_path: Path
) -> None:
    second = _apply(_sent(cedar, tmp_path, _with_formula(tables)), alice)
    third = _apply(_sent(cedar, tmp_path, _with_formula(tables, row=4)), alice)
    client = _logged_in(alice)
    applied = client.get(f"/admin/rosters/sync/{second.pk}/change/").content.decode()
    assert f"It would take back {second.updated} changes, except what has changed again since" in applied
    assert f"/admin/rosters/sync/{third.pk}/change/" in applied
    fourth = _apply(_sent(cedar, tmp_path, tables), alice)
    undoing = syncs.prepare(syncs.undo(third, by=alice).pk)
    assert undoing is not None
    for table in ("users", "enrollments"):  # whoever read them would miss them
        cedar.refresh_from_db()
        assert cedar.snapshot
        syncs.store().snapshot_path(cedar.pk, table, cedar.snapshot.tables[table]["digest"]).unlink()
    page = client.get(f"/admin/rosters/sync/{undoing.pk}/change/")
    assert page.status_code == 200
    assert [later.pk for later in page.context["later"]] == [fourth.pk]
    assert page.context["conflicts_in_all"] == len(page.context["conflicts"]) > 0


def test_people_are_found_by_both_names_in_either_order(cedar: District, vera: Staff) -> None:
    person = User.objects.filter(role="student").earliest("pk")
    client, given, family = _logged_in(vera), person.given_name, person.family_name
    for asked in (f"{given} {family}", f"{family} {given}", f"{given.upper()} {family[:3]}", f"{family[:3]}  {given}"):
        for district in ("", str(cedar.pk)):
            assert person in _people(client, asked, district).context["cl"].result_list, asked
    assert person not in _people(client, f"{given} {family}x").context["cl"].result_list


def test_who_was_removed_is_asked_within_a_district_and_said_to_be_removed(cedar: District, alice: Staff) -> None:
    client, sync = _logged_in(alice), _apply(_waiting(), alice)
    gone = User.objects.filter(status="tobedeleted").earliest("pk")
    assert b"status=tobedeleted" not in client.get("/admin/rosters/user/").content
    page = client.get("/admin/rosters/user/", {"district": cedar.pk})
    assert b"status=tobedeleted" in page.content
    removed = client.get(f"/admin/rosters/user/?district={cedar.pk}&status=tobedeleted").context["cl"]
    assert "district" not in removed.list_display  # the status could not be seen beside it
    assert "standing" in removed.list_display
    assert removed.result_count == User.objects.filter(status="tobedeleted").count() > 0
    record = client.get(f"/admin/rosters/user/{gone.pk}/change/").content.decode()
    assert "This record was removed" in record
    assert f"/admin/rosters/sync/{sync.pk}/change/" in record


def test_a_districts_numbers_lead_to_exactly_their_rows_and_tell_their_last_90_days(
    cedar: District, alice: Staff
) -> None:
    client = _logged_in(alice)
    before = {n["word"]: n["count"] for n in _live_numbers_shown(client, cedar)}
    _apply(_waiting(), alice)
    numbers = _live_numbers_shown(client, cedar)
    assert [n["word"] for n in numbers] == ["schools", "classes", "students", "teachers", "people", "enrollments"]
    for number in numbers:
        assert client.get(number["link"]).context["cl"].result_count == number["count"], number["word"]
        assert number["line"].endswith(" 100.0,22.0"), number  # all of them fell: a school is gone
        assert number["moved"] == before[number["word"]] - number["count"] > 0, number["word"]


def _live_numbers_shown(client: Client, district: District) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = client.get(f"/admin/rosters/district/{district.pk}/change/").context["live_numbers"]
    return shown


def test_a_finding_that_stays_tells_for_how_many_days(
    cedar: District, alice: Staff, tables: making.Tables, tmp_path: Path
) -> None:
    first = _apply(_sent(cedar, tmp_path, _with_formula(tables)), alice)
    for sync, days in ((Sync.objects.exclude(pk=first.pk), 20), (Sync.objects.filter(pk=first.pk), 12)):
        sync.update(received_at=timezone.now() - timedelta(days=days))
    _sent(cedar, tmp_path, _with_formula(tables, row=4))
    page = _logged_in(alice).get(f"/admin/rosters/district/{cedar.pk}/change/")
    new = set(first.findings.filter(is_new=True).values_list("code", flat=True))
    ages = {f.code: f.days for f in page.context["standing_findings"] if f.code in new}
    assert ages
    assert set(ages.values()) == {12}
    assert b"12 days old" in page.content


def test_the_audit_trail_reads_as_sentences(cedar: District, alice: Staff) -> None:
    page = _logged_in(alice).get(f"/admin/rosters/district/{cedar.pk}/change/").content.decode()
    assert "alice approved the plan" in page
    assert "alice the" not in page


def test_later_syncs_can_be_seen_beside_the_first(cedar: District) -> None:
    first, second = Sync(added=30_000), Sync(updated=30, base_version=1)
    assert [float(part) for part in bars(first, 300)] == [100, 0, 100, 0]
    assert float(bars(second, 300)[1]) > 30


def test_an_audit_row_is_read_in_words(cedar: District, manu: Staff, vera: Staff) -> None:
    event = AuditEvent.objects.create(
        action="district.changed", by=manu, district=cedar, subject=f"district {cedar.pk}",
        before={"hold_limits": {}, "applies_automatically": False, "products": ["math"]},
        after={"hold_limits": {"removed_share": 0.5}, "mappings": {"users.grades": {"K": "KG"}}, "encoding": ""},
    )  # fmt: skip
    page = _logged_in(vera).get(f"/admin/rosters/auditevent/{event.pk}/change/").text
    assert "<title>Manu changed settings" in page
    for words in ("hold limits", "removed_share: 0.5", "users.grades (K: KG)", "applies automatically", "nothing"):
        assert words in page
    assert "{&quot;" not in page
    assert "History" not in page


def test_times_are_written_with_their_zone_and_lists_named_by_what_they_hold(cedar: District, vera: Staff) -> None:
    page = _logged_in(vera).get("/admin/rosters/auditevent/").text
    assert re.search(r"\d{1,2} [A-Z][a-z]{2} 20\d\d, \d\d:\d\d [A-Z]{3,4}", page)
    assert "<title>Audit trail" in page


def test_a_hold_leads_to_the_records_that_it_is_about(cedar: District, tmp_path: Path, vera: Staff) -> None:
    """At the turn of the school year nearly every rule fires; what follows from that is folded away."""
    tables = making.make_roster(users=80, seed=6, today=timezone.localdate(), name="Cedar Grove")
    sync = _sent(cedar, tmp_path, making.rollover(tables, seed=3)[0])
    assert set(sync.holds.values_list("explained", flat=True)) == {True}
    browser, address = _logged_in(vera), f"/admin/rosters/sync/{sync.pk}/change/"
    page = browser.get(address).text
    assert f"{sync.holds.count()} unusual things follow from that" in page
    links = re.findall(r'href="([^"]*)#changes">Show the records', page)
    assert len(links) == sync.holds.count()
    assert any("kind=updated" in link for link in links)
    for link in links:
        assert '<li class="change' in browser.get(html.unescape(link)).text, link


def test_a_hold_about_nothing_that_can_be_seen_leads_nowhere(cedar: District, tmp_path: Path, vera: Staff) -> None:
    tables = making.make_roster(users=80, seed=6, today=timezone.localdate(), name="Cedar Grove")
    del tables["demographics"]
    someone = pl.int_range(pl.len()) == 5
    tables["users"] = tables["users"].with_columns(email=pl.when(someone).then(pl.lit("a@b.org")).otherwise("email"))
    sync = _sent(cedar, tmp_path, tables)
    assert [hold.code for hold in sync.holds.all()] == ["FILE_GONE"]
    page = _logged_in(vera).get(f"/admin/rosters/sync/{sync.pk}/change/").text
    assert "Show the records" not in page
    assert "new school year" not in page


def test_the_audit_trail_is_taken_out_as_a_file_under_its_filters(alice: Staff, vera: Staff) -> None:
    cedar = District.objects.create(name="Cedar", site_code="audit-1")
    AuditEvent.objects.create(by=alice, action="district.changed", district=cedar, after={"name": "=SUM(1)"})
    AuditEvent.objects.create(action="district.leaves", district=cedar)
    browser = _logged_in(vera)
    page = browser.get("/admin/rosters/auditevent/", {"action": "district.changed"})
    address = re.search(r'href="([^"]*audit-trail.csv[^"]*)"', page.content.decode())
    assert address
    answer = browser.get(html.unescape(address[1]))
    text = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
    rows = list(csv.DictReader(StringIO(text)))
    assert [(row["action"], row["by"], row["district"]) for row in rows] == [("district.changed", "alice", "audit-1")]
    assert rows[0]["after"] == '{"name": "=SUM(1)"}' and rows[0]["what happened"].startswith("alice")
    assert answer["Content-Type"] == "text/csv"
    nobody = Client()
    assert nobody.get("/admin/rosters/auditevent/audit-trail.csv").status_code == 302
