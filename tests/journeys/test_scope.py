"""A file about one school in a live district, and a district with a system for each of its schools (E12, P10)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from connections.models import Connection
from rosters import making, syncs
from rosters.admin.districts import latest_syncs
from rosters.models import LIVE, AuditEvent, Class, District, Enrollment, Org, Sync, User
from rosters.scope import Scope
from tests.journeys.trip import Trip
from tests.tools import tool

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = pytest.mark.django_db


def schools(tables: making.Tables) -> list[str]:
    return tables["orgs"].filter(pl.col("type") == "school")["sourcedId"].to_list()


def of_school(tables: making.Tables, school: str) -> making.Tables:
    """What a system of one school sends: it knows of no other, and of the district by name."""
    orgs = tables["orgs"].filter((pl.col("type") == "district") | (pl.col("sourcedId") == school))
    users = tables["users"].filter(pl.col("orgSourcedIds") == school)
    classes = tables["classes"].filter(pl.col("schoolSourcedId") == school)
    ids = users["sourcedId"].implode()
    enrollments = tables["enrollments"].filter(
        (pl.col("schoolSourcedId") == school) & pl.col("userSourcedId").is_in(ids)
    )
    return {
        **tables, "orgs": orgs, "users": users, "classes": classes, "enrollments": enrollments,
        "courses": tables["courses"].filter(pl.col("sourcedId").is_in(classes["courseSourcedId"].implode())),
        "demographics": tables["demographics"].filter(pl.col("sourcedId").is_in(ids)),
    }  # fmt: skip


def pack(trip: Trip, tables: making.Tables, name: str = "school.zip") -> Path:
    making.write_zip(trip.folder / name, tables)
    return trip.folder / name


def send(trip: Trip, path: Path, *only: str, terms: tuple[str, ...] = ()) -> Sync:
    scope = Scope(only, terms)
    sync = syncs.receive(trip.district, path, origin="staff", name=path.name, by=trip.by, speaks_for=scope)
    return syncs.prepare(sync.pk) or sync


def elsewhere(trip: Trip, school: str) -> dict[str, list[Any]]:
    """All live rows of other schools, every column of them."""
    own = {"users": "primary_org__sourced_id", "demographics": "user__primary_org__sourced_id"}
    own |= {"classes": "school__sourced_id", "enrollments": "school__sourced_id", "roles": "org__sourced_id"}
    own["orgs"] = "sourced_id"
    return {
        table: list(LIVE[table].objects.of(trip.district).exclude(**{path: school}).order_by("pk").values())
        for table, path in own.items()
    }


def test_a_file_of_one_school_touches_no_other_and_can_be_undone(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    mine, other = schools(tables)[:2]
    before = elsewhere(trip, mine)
    sent = of_school(tables, mine)
    leaving = sent["users"]["sourcedId"].head(1).to_list()
    sent["users"] = sent["users"].filter(~pl.col("sourcedId").is_in(leaving)).with_columns(middleName=pl.lit("Maria"))
    for table, column in (("demographics", "sourcedId"), ("enrollments", "userSourcedId")):
        sent[table] = sent[table].filter(~pl.col(column).is_in(leaving))
    path = pack(trip, sent)

    whole = send(trip, path)
    assert whole.status == "awaiting_review" and "SCHOOL_GONE" in whole.holds.values_list("code", flat=True)
    sync = send(trip, path, mine)
    whole.refresh_from_db()
    assert whole.status == "superseded"
    assert not {"SCHOOL_GONE", "REMOVED_COUNT"} & set(sync.holds.values_list("code", flat=True))
    assert sync.speaks_for == {"schools": [mine]} and sync.untouched > 100
    received = AuditEvent.objects.get(sync=sync, action="delivery.received")
    assert received.after["speaks_for"] == {"schools": [mine]}
    gone = list(User.objects.of(trip.district).filter(sourced_id__in=leaving).values_list("sourced_id", flat=True))
    trip.go(sync)
    assert elsewhere(trip, mine) == before
    assert User.objects.of(trip.district).active().filter(primary_org__sourced_id=mine).count() == len(sent["users"])
    assert not User.objects.active().filter(sourced_id__in=gone).exists() and gone == leaving

    same = send(trip, path, mine)
    assert same.status == "unchanged" and "byte for byte" in same.verdict
    assert send(trip, path, other).status == "rejected", "nothing in it is of the other"
    assert send(trip, path).status == "awaiting_review", "about the whole district it says something else"
    sync.refresh_from_db()
    back = trip.undo(sync)
    assert back.speaks_for == {} and back.added and not back.holds.filter(approvable=False).exists()
    trip.go(back)
    assert (
        User.objects.of(trip.district).active().filter(primary_org__sourced_id=mine).count() == len(sent["users"]) + 1
    )
    assert elsewhere(trip, mine) == before


@pytest.mark.alike
def test_the_whole_file_may_be_taken_for_one_school_only(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    mine, other = schools(tables)[:2]
    before = elsewhere(trip, mine)
    renamed = {**tables, "classes": tables["classes"].with_columns(title=pl.concat_str("title", pl.lit(" (new)")))}
    sync = send(trip, pack(trip, renamed), mine)
    number = len(tables["classes"].filter(pl.col("schoolSourcedId") == mine))
    assert (sync.added, sync.updated, sync.removed) == (0, number, 0)
    told = {f.file: f.count for f in sync.findings.filter(code="OR-SCOPE-001")}
    assert told["classes.csv"] == len(tables["classes"]) - number and set(told) == {
        "orgs.csv", "users.csv", "classes.csv", "demographics.csv", "enrollments.csv", "courses.csv",
    } - ({"courses.csv"} if "courses.csv" not in told else set())  # fmt: skip
    assert sync.file_rows == {name: len(frame) for name, frame in tables.items()}
    trip.go(sync)
    assert elsewhere(trip, mine) == before
    assert not Class.objects.filter(school__sourced_id=other, title__endswith="(new)").exists()


def test_two_systems_wait_beside_each_other_and_the_newer_of_one_replaces_its_own(
    trip: Trip, tables: making.Tables
) -> None:
    trip.district.applies_automatically = False
    trip.district.save()
    trip.go(trip.send(tables))
    mine, other, third = schools(tables)

    def changed(school: str, name: str) -> Path:
        sent = of_school(tables, school)
        sent["users"] = sent["users"].with_columns(middleName=pl.lit(name))
        return pack(trip, sent, f"{name}.zip")

    first, second = send(trip, changed(mine, "One"), mine), send(trip, changed(other, "Two"), other, third)
    newer = send(trip, changed(mine, "Three"), mine)
    statuses = {s.pk: s.status for s in Sync.objects.filter(district=trip.district)}
    assert statuses[first.pk] == "superseded", "its own school's newer one came"
    assert statuses[second.pk] in Sync.WAITING and statuses[newer.pk] in Sync.WAITING
    trip.go(newer)
    assert syncs.withdraw_outdated(timezone.now(), district_id=trip.district.pk) == [second.pk]
    second.refresh_from_db()
    assert second.status == "received", "the roster moved, so its plan is made anew"
    second = syncs.prepare(second.pk) or second
    trip.go(second)
    names = dict(User.objects.of(trip.district).values_list("primary_org__sourced_id", "middle_name").distinct())
    assert (names[mine], names[other]) == ("Three", "Two")
    whole = send(trip, pack(trip, tables, "whole.zip"))
    assert whole.updated >= len(tables["users"].filter(pl.col("orgSourcedIds").is_in([mine, other])))
    later = send(trip, changed(third, "Four"), third)
    whole.refresh_from_db()
    assert whole.status in Sync.WAITING, "what it says of other schools is not said anew"
    with pytest.raises(syncs.DecisionRefused, match="older file waits"):
        syncs.approve(later, by=trip.by, plan_digest=later.plan_digest)
    syncs.decline(whole, by=trip.by, reason="It is of last week.")
    trip.go(later)


@pytest.mark.alike
def test_a_file_about_a_term_leaves_the_classes_of_others(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    terms = tables["classes"]["termSourcedIds"].str.split(",").list.first()
    parents = tables["academicSessions"]["parentSourcedId"].implode()
    term = terms.filter(~terms.is_in(parents)).mode().sort()[0]
    sent = dict(tables)
    sent["classes"] = tables["classes"].filter(terms == term).head(3)
    sent["enrollments"] = tables["enrollments"].filter(
        pl.col("classSourcedId").is_in(sent["classes"]["sourcedId"].implode())
    )
    sync = send(trip, pack(trip, sent), terms=(term,))
    gone = len(tables["classes"].filter(tables["classes"]["termSourcedIds"].str.contains(term, literal=True))) - 3
    assert sync.tallies.get(table="classes", dimension="").removed == gone
    others = Class.objects.exclude(term_sourced_ids__contains=term)
    seats = Enrollment.objects.active().filter(clazz__in=others).count()
    trip.go(sync)
    assert others.active().count() == others.count()
    assert Enrollment.objects.active().filter(clazz__in=others).count() == seats
    assert User.objects.active().count() == len(tables["users"])


@pytest.mark.alike
def test_a_command_says_what_a_file_is_about(
    trip: Trip, tables: making.Tables, capsys: pytest.CaptureFixture[str]
) -> None:
    trip.go(trip.send(tables))
    mine = schools(tables)[0]
    path = pack(trip, of_school(tables, mine))
    out = io.StringIO()
    with pytest.raises(SystemExit) as left:
        call_command("import_roster", trip.district.site_code, str(path), only_school=[mine], stdout=out)
    assert left.value.code == 0 and "Nothing changed" in out.getvalue()
    assert "live records of others stay" in out.getvalue()


@pytest.mark.alike
def test_a_page_offers_the_schools_and_the_sync_says_which(
    trip: Trip, tables: making.Tables, client: Client, alice: Staff
) -> None:
    client.force_login(alice)
    empty = client.get(reverse("admin:rosters_district_change", args=[trip.district.pk])).content.decode()
    assert "only about some schools" not in empty, "before there is a roster a file is about all of it"
    trip.go(trip.send(tables))
    mine = schools(tables)[0]
    page = client.get(reverse("admin:rosters_district_change", args=[trip.district.pk])).content.decode()
    assert page.count('name="only_schools"') == 3 and Org.objects.get(sourced_id=mine).name in page
    at = reverse("admin:rosters_district_upload", args=[trip.district.pk])
    with pack(trip, of_school(tables, mine)).open("rb") as file:
        client.post(at, {"file": file, "only_schools": [mine], "other_schools": "new-1, new-2"})
    sync = Sync.objects.latest("pk")
    assert sync.speaks_for == {"schools": sorted([mine, "new-1", "new-2"])}
    syncs.prepare(sync.pk)
    told = client.get(reverse("admin:rosters_sync_change", args=[sync.pk])).content.decode()
    assert "It is only about" in told and Org.objects.get(sourced_id=mine).name in told and "new-1" in told
    with pack(trip, of_school(tables, mine)).open("rb") as file:
        client.post(at, {"file": file, "only_schools": ["gone"]})
    assert Sync.objects.latest("pk") == sync, "a school that is not live is no choice"


@pytest.mark.alike
def test_a_system_of_its_own_is_compared_with_what_it_sent_before(trip: Trip, tables: making.Tables) -> None:
    """With other columns, other files, and records from another hour than the rest of the district has."""
    first, second = schools(tables)[:2]
    trip.go(trip.send(tables))
    of_first = of_school(tables, first)
    bare = {name: frame for name, frame in of_school(tables, second).items() if name != "demographics"}
    bare["users"] = bare["users"].with_columns(pl.lit("yes").alias("metadata.bus"))
    for day in range(3):
        for school, sent in ((first, of_first), (second, bare)):
            named = pl.concat(
                [sent["users"].head(1).with_columns(givenName=pl.lit(f"Day {day}")), sent["users"].slice(1)]
            )
            sync = send(trip, pack(trip, {**sent, "users": named}), school)
            codes = {hold.code for hold in sync.holds.all()}
            if day:
                assert not codes & {"HEADERS_CHANGED", "FILE_GONE", "STALE"}, (day, codes)
                assert not sync.findings.filter(is_new=True).exists()
            trip.go(sync)
    sync = send(trip, pack(trip, {name: frame for name, frame in of_first.items() if name != "demographics"}), first)
    assert sync.holds.filter(code="FILE_GONE").exists(), "of the first school it is missed"


def test_a_file_of_one_school_that_was_cut_off_is_held(trip: Trip, tables: making.Tables) -> None:
    mine = schools(tables)[0]
    sent = of_school(tables, mine)
    trip.go(trip.send(tables))
    cut = {**sent, "enrollments": sent["enrollments"].head(-(len(sent["enrollments"]) // 5))}
    sync = send(trip, pack(trip, cut), mine)
    held = sync.holds.get(code="REMOVED_SHARE", table="enrollments")
    assert held.numbers["before"] <= len(sent["enrollments"])
    shown = sync.tallies.get(table="enrollments", dimension="")
    assert shown.before == len(tables["enrollments"]), "the page counts the whole district"


@pytest.mark.alike
def test_what_a_part_may_change_but_not_remove_does_not_change_unseen(trip: Trip, tables: making.Tables) -> None:
    """Of a file about a term that is everybody, of one about a school the courses of the district."""
    trip.go(trip.send(tables))
    District.objects.update(applies_automatically=True)
    trip.district.refresh_from_db()
    terms = tables["classes"]["termSourcedIds"].str.split(",").list.first()
    changed = {**tables, "users": tables["users"].with_columns(middleName=pl.lit("zz"), email=pl.lit("a@example.org"))}
    sync = send(trip, pack(trip, changed), terms=(terms.mode().sort()[0],))
    assert sync.status == "awaiting_review"
    assert sync.holds.get(code="UPDATED_SHARE", table="users").numbers["before"] == len(tables["users"])
    courses = tables["courses"].with_columns(title=pl.lit("wrong"))
    sync = send(trip, pack(trip, {**tables, "courses": courses}), schools(tables)[0])
    assert sync.holds.get(code="UPDATED_SHARE").table == "courses"

    more = making.make_roster(users=400, seed=99, today=timezone.localdate(), name="Other")
    new = schools(more)[0]
    root, theirs = (t["orgs"].filter(pl.col("type") == "district")["sourcedId"][0] for t in (tables, more))
    sent = {name: f.with_columns(pl.col(pl.String).replace(theirs, root)) for name, f in of_school(more, new).items()}
    sync = send(trip, pack(trip, sent), new)
    assert f"instead of {len(tables['users'])} " in sync.holds.get(code="GROWN").saw


@pytest.mark.alike
def test_a_whole_file_is_not_older_than_what_came_of_a_part_since(trip: Trip, tables: making.Tables) -> None:
    """Nor does a file of changes that is about all, or one about the school, look old for what came of others."""

    def of_day(day: str, name: str) -> making.Tables:
        user = tables["users"].with_columns(middleName=pl.lit(name), dateLastModified=pl.lit(f"2026-{day}T00:00:00Z"))
        return {**tables, "users": user}

    def is_old(sync: Sync) -> bool:
        return sync.holds.filter(code="STALE").exists()

    mine, other = schools(tables)[:2]
    trip.go(trip.send(of_day("09-01", "")))
    trip.go(send(trip, pack(trip, of_school(of_day("09-20", "a"), mine)), mine))
    sync = send(trip, pack(trip, of_school(of_day("09-10", "b"), other)), other)
    assert not is_old(sync), "of the whole an older one is live, of this school none"
    trip.go(sync)
    old = send(trip, pack(trip, of_day("09-15", "c")))
    assert "from one of 2026-09-20" in old.holds.get(code="STALE").saw
    assert not is_old(send(trip, pack(trip, of_day("09-21", "d"))))
    trip.go(send(trip, pack(trip, of_day("09-16", "e"))))
    assert not is_old(send(trip, pack(trip, of_day("09-17", "f")))), "somebody went back on purpose"


def test_a_connection_speaks_for_its_schools(trip: Trip, tables: making.Tables, client: Client, alice: Staff) -> None:
    trip.go(trip.send(tables))
    mine = schools(tables)[0]
    connection = Connection.objects.create(
        district=trip.district, kind="sftp", host="sftp.example.org", username="u", path="/x", last_taken={"a": 1}
    )
    client.force_login(alice)
    at = reverse("admin:connections_connection_about", args=[connection.pk])
    page = client.get(reverse("admin:connections_connection_change", args=[connection.pk])).content.decode()
    assert "All of the district" in page
    client.post(at, {"only_schools": [mine]})
    connection.refresh_from_db()
    assert connection.speaks_for == {"schools": [mine]} and connection.last_taken == {}
    row = AuditEvent.objects.get(action="connection.speaks_for")
    assert (row.before, row.after) == ({"speaks_for": {}}, {"speaks_for": {"schools": [mine]}})
    page = client.get(reverse("admin:connections_connection_change", args=[connection.pk])).content.decode()
    assert f"Only <b>{Org.objects.get(sourced_id=mine).name}</b>" in page
    client.post(at, {"only_schools": [mine]})
    assert AuditEvent.objects.filter(action="connection.speaks_for").count() == 1, "that is as it was"


@pytest.mark.alike
def test_a_file_that_waits_is_taken_for_what_it_is(
    trip: Trip, tables: making.Tables, client: Client, alice: Staff, rita: Staff
) -> None:
    trip.go(trip.send(tables))
    mine, other = schools(tables)[:2]
    waiting = send(trip, pack(trip, of_school(tables, mine)))
    assert waiting.status == "awaiting_review"
    at = f"/admin/rosters/sync/{waiting.pk}/"
    client.force_login(alice)
    page = client.get(f"{at}change/").content.decode()
    assert f'value="{mine}" id="id_only_schools_0" checked' in page or page.count(" checked") == 1, "who would stay"
    assert client.get(f"{at}only-about/").status_code == 405
    assert client.post(f"{at}only-about/").status_code == 409, "nothing is said"
    assert client.post(f"{at}only-about/", {"only_schools": ["another"]}).status_code == 409
    client.post(f"{at}only-about/", {"only_schools": [mine]})
    waiting.refresh_from_db()
    made = Sync.objects.latest("pk")
    assert (waiting.status, made.delivery, made.speaks_for) == ("superseded", waiting.delivery, {"schools": [mine]})
    row = AuditEvent.objects.get(action="sync.only_about")
    assert (row.before, row.after) == ({"sync": waiting.pk}, {"speaks_for": {"schools": [mine]}})
    assert (syncs.prepare(made.pk) or made).status == "unchanged"
    with pytest.raises(syncs.DecisionRefused):
        syncs.only_about(made, Scope((other,)), by=alice)

    sent = of_school(tables, mine)
    sent["classes"] = sent["classes"].with_columns(title=pl.concat_str("title", pl.lit(" (new)")))
    changed = send(trip, pack(trip, sent, "changed.zip"))
    made = syncs.only_about(changed, Scope((mine,)), by=alice)
    assert (syncs.prepare(made.pk) or made).status == "awaiting_review", "what it was before does not take its place"
    made.refresh_from_db()
    assert made.updated == len(sent["classes"]) and not made.removed
    trip.go(made)

    again = send(trip, pack(trip, of_school(tables, other), "other.zip"))
    browser = tool(trip.district, staff=rita)
    at = f"/api/v1/syncs/{again.pk}/only-about"
    assert browser.post(at, {}, content_type="application/json").status_code == 409
    told = browser.post(at, {"schools": [other]}, content_type="application/json")
    assert told.status_code == 202 and told.json()["speaks_for"] == {"schools": [other]}
    made = Sync.objects.get(pk=told.json()["id"])
    assert (syncs.prepare(made.pk) or made).status == "unchanged"


@pytest.mark.alike
def test_a_tool_sends_a_file_about_a_school(trip: Trip, tables: making.Tables, rita: Staff) -> None:
    trip.go(trip.send(tables))
    mine = schools(tables)[0]
    file = SimpleUploadedFile("day.zip", pack(trip, of_school(tables, mine)).read_bytes(), "application/zip")
    told = tool(trip.district, staff=rita).post(
        "/api/v1/districts/1001/deliveries", {"file": file, "only_schools": [mine], "only_terms": ["t-1", "t-2"]},
        headers={"Idempotency-Key": "k"},
    )  # fmt: skip
    assert told.status_code == 202
    assert told.json()["speaks_for"] == {"schools": [mine], "terms": ["t-1", "t-2"]}


def test_what_waits_or_failed_of_one_school_is_not_hidden_by_what_came_of_another(
    trip: Trip, tables: making.Tables, client: Client, alice: Staff
) -> None:
    trip.go(trip.send(tables))
    mine, other, third = schools(tables)
    halved = of_school(tables, mine)
    halved["enrollments"] = halved["enrollments"].head(len(halved["enrollments"]) // 2)
    waiting = send(trip, pack(trip, halved, "halved.zip"), mine)
    refused = send(trip, pack(trip, of_school(tables, mine), "wrong.zip"), third)
    fine = send(trip, pack(trip, of_school(tables, other), "other.zip"), other)
    assert (waiting.status, refused.status, fine.status) == ("awaiting_review", "rejected", "unchanged")

    def stands() -> set[int]:
        return set(Sync.objects.filter(pk__in=latest_syncs(District.objects.all())).values_list("pk", flat=True))

    assert stands() == {waiting.pk, refused.pk}
    client.force_login(alice)
    assert f"/admin/rosters/sync/{waiting.pk}/change/" in client.get("/admin/").content.decode()
    listed = client.get("/admin/rosters/district/", {"standing": "review"}).content.decode()
    assert trip.district.name in listed
    assert trip.district.name not in client.get("/admin/rosters/district/", {"standing": "good"}).content.decode()
    page = client.get(f"/admin/rosters/district/{trip.district.pk}/change/").content.decode()
    assert "No row is about the schools and terms" in page, "the newest of what needs somebody says how it is"

    send(trip, pack(trip, of_school(tables, third), "third.zip"), third)
    assert stands() == {waiting.pk}
    syncs.decline(waiting, by=trip.by, reason="Half of the file is missing.")
    assert stands() == {Sync.objects.latest("pk").pk}
