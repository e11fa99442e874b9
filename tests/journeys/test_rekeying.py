"""The SIS is replaced and gives everybody other ids: nobody is deleted, nobody loses what products keep for them."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from django.utils import timezone

from rosters import making, syncs
from rosters.models import AuditEvent, District, Enrollment, Sync, User
from tests.journeys.test_pulls import pull
from tests.journeys.trip import Trip
from tests.rosters.reading.pulls import named_as_in_rest, records
from tests.rosters.reading.sets import manifest, packed

pytestmark = [pytest.mark.django_db, pytest.mark.alike]

rekeyed = making.under_other_ids


def keep(trip: Trip, sync: Sync, *, also_unsure: bool = False) -> Sync:
    syncs.keep_ids(sync, by=trip.by, plan_digest=sync.plan_digest, also_unsure=also_unsure)
    again = syncs.prepare(sync.pk)
    assert again is not None
    return again


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_every_id_changes_and_nothing_does(trip: Trip, version: str) -> None:
    tables = making.make_roster(users=90, seed=8, today=timezone.localdate(), name="Cedar Grove", version=version)
    trip.go(trip.send(tables, version=version))
    people = User.objects.filter(status="active").count()
    moved = trip.send(rekeyed(tables), version=version)
    assert {"ID_CHURN"} <= {hold.code for hold in moved.holds.all()}
    assert not moved.holds.filter(approvable=False).exists(), "it is our district, under other ids"
    assert moved.removed > people

    found = {(a.table, a.known_by): a.number for a in syncs.counted(syncs.known_again(moved))}
    assert found["users", "same number"] == people
    settled = keep(trip, moved)
    assert settled.status == Sync.Status.UNCHANGED, settled.verdict
    trip.verify()
    assert trip.district.kept_ids is not None
    assert trip.district.kept_ids.tables["users"] == people

    again = trip.send(rekeyed(tables), version=version)
    assert again.status == Sync.Status.UNCHANGED
    trip.verify()


def test_what_truly_changes_in_the_same_file_is_what_is_left(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    after, truth = making.next_day(tables, change=0.1, seed=3)
    settled = keep(trip, trip.send(rekeyed(after)), also_unsure=True)
    counts = {t.table: [t.added, t.updated, t.removed] for t in settled.tallies.filter(dimension="")}
    expected = {t: [len(kinds[kind]) for kind in ("added", "updated", "removed")] for t, kinds in truth.items()}
    assert {table: counts[table] for table in expected} == expected
    trip.go(settled)


def test_what_cannot_be_read_is_refused_as_ever(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    keep(trip, trip.send(rekeyed(tables)))
    path = trip.folder / "bad.zip"
    for content in (b"no zip", b"", b"PK\x05\x06" + bytes(18)):
        path.write_bytes(content)
        assert trip.send_file(path).error_code == "ROSTER-UNREADABLE"
        assert not syncs.look(trip.district, path)[0].readable


def test_findings_of_such_a_file_name_the_ids_that_stand_in_it(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    keep(trip, trip.send(rekeyed(tables)))
    first = tables["users"]["sourcedId"][0]
    came = rekeyed(tables)
    second = came["users"]["sourcedId"][0]
    both = pl.concat([came["users"], tables["users"].head(1)])
    seats = came["enrollments"]
    others = seats.head(1).with_columns(sourcedId=pl.lit("other"), userSourcedId=pl.lit(first))
    sync = trip.send({**came, "users": both, "enrollments": pl.concat([seats, others])})
    found = {(f.code, f.file): [place["value"] for place in f.places] for f in sync.findings.filter(severity="error")}
    assert found == {("OR-ID-001", "users.csv"): [first], ("OR-CSV-174", "enrollments.csv"): [first]}
    assert sync.status == Sync.Status.UNCHANGED
    assert sync.quarantined == 2 and sync.file_rows["users"] == len(both)
    assert first != second


def test_changes_alone_come_under_the_new_ids_too(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    keep(trip, trip.send(rekeyed(tables)))
    came = rekeyed(tables)
    now = timezone.now().strftime("%Y-%m-%dT%H:%M:%S.000Z")
    said = {"status": pl.lit("active"), "dateLastModified": pl.lit(now)}
    leaving = {**said, "status": pl.lit("tobedeleted")}
    pupil = (
        came["users"].filter(pl.col("role") == "student").head(1).with_columns(**said, email=pl.lit("new@example.org"))
    )
    seat = came["enrollments"].filter(pl.col("userSourcedId") == pupil["sourcedId"][0]).head(1)
    came = {"users": pupil.select(tables["users"].columns), "enrollments": seat.with_columns(**leaving)}
    files = {f"{name}.csv": frame.write_csv(line_terminator="\r\n") for name, frame in came.items()}
    path = packed(trip.folder / "delta.zip", {"manifest.csv": manifest(*came, mode="delta"), **files})
    sync = trip.go(trip.send_file(path))
    kept = tables["users"].filter(pl.col("role") == "student")["sourcedId"][0]
    live = User.objects.get(district=trip.district, sourced_id=kept)
    assert live.email == "new@example.org"
    assert (sync.added, sync.updated, sync.removed) == (0, 1, 1)
    assert Enrollment.objects.filter(user=live, status="tobedeleted").count() == 1


def test_who_is_known_by_a_name_only_waits_for_a_second_word(trip: Trip, tables: making.Tables) -> None:
    blank = {**tables, "users": tables["users"].with_columns(identifier=pl.lit(""), email=pl.lit(""))}
    trip.go(trip.send(blank))
    moved = rekeyed(blank)
    renamed = moved["users"].with_columns(username=pl.concat_str(pl.lit("x."), "username"))
    sync = trip.send({**moved, "users": renamed})
    numbers = syncs.counted(syncs.known_again(sync))
    unsure = sum(a.number for a in numbers if a.table == "users" and not a.sure)
    assert unsure > 60 and not any(a.sure for a in numbers if a.table == "users")

    first = keep(trip, sync)
    assert first.status == Sync.Status.AWAITING_REVIEW
    assert {t.table for t in first.tallies.filter(dimension="", removed__gt=0)} >= {"users", "enrollments"}
    assert not first.tallies.filter(dimension="", table="classes", removed__gt=0).exists(), "classes are sure"
    second = keep(trip, first, also_unsure=True)
    left = {t.table: t.removed for t in second.tallies.filter(dimension="", table="users")}
    assert left == {"users": len(renamed) - unsure} or not left


def test_a_sync_that_has_moved_on_keeps_no_id(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    sync = trip.send(rekeyed(tables))
    with pytest.raises(syncs.StalePlan):
        syncs.keep_ids(sync, by=trip.by, plan_digest="another")
    syncs.decline(sync, by=trip.by, reason="later")
    with pytest.raises(syncs.StalePlan):
        syncs.keep_ids(sync, by=trip.by, plan_digest=sync.plan_digest)
    trip.district.refresh_from_db()
    assert trip.district.kept_ids is None
    assert not AuditEvent.objects.filter(action="district.ids_kept").exists()


def test_given_up_the_new_ids_stand_there_as_they_come(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    keep(trip, trip.send(rekeyed(tables)))
    trip.district.refresh_from_db()
    syncs.let_ids_go(trip.district, by=trip.by)
    with pytest.raises(syncs.DecisionRefused):
        syncs.let_ids_go(trip.district, by=trip.by)
    sync = trip.send(rekeyed(tables))
    assert sync.status == Sync.Status.AWAITING_REVIEW, "not the same as what is live any more"
    assert sync.holds.filter(code="ID_CHURN").exists()
    trip.go(sync)
    assert trip.send(rekeyed(tables)).status == Sync.Status.UNCHANGED
    told = AuditEvent.objects.filter(district=trip.district, action__startswith="district.ids").order_by("at")
    assert [event.action for event in told] == ["district.ids_kept", "district.ids_let_go"]


def test_an_undo_and_a_third_id(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    after, _ = making.next_day(tables, change=0.1, seed=3)
    settled = trip.go(keep(trip, trip.send(rekeyed(after)), also_unsure=True))
    back = trip.undo(settled)
    trip.go(back)
    assert trip.send(tables).status == Sync.Status.UNCHANGED, "the old ids, all of them, are read as they are"

    third = rekeyed(tables, make=lambda cell: pl.lit("T-") + cell)
    again = keep(trip, trip.send(third), also_unsure=True)
    assert again.status == Sync.Status.UNCHANGED
    trip.district.refresh_from_db()
    assert trip.district.kept_ids is not None
    ids = syncs.ids_of(trip.district)
    assert ids["delivered"].str.starts_with("T-").all() and len(ids) == ids["kept"].n_unique()


def test_a_list_that_the_district_made_before_it_changes(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    moved = rekeyed(tables)
    rows = zip(tables["users"]["sourcedId"], moved["users"]["sourcedId"], strict=True)
    text = "Old ID,New ID\r\n" + "".join(f"{old},{new}\r\n" for old, new in rows) + "nobody,somebody\r\n"
    pairs = syncs.read_list(text.encode("utf-8-sig"))
    assert syncs.keep_listed(trip.district, "users", pairs, by=trip.by) == 1, "one is none of ours"
    trip.district.refresh_from_db()
    assert trip.send(tables).status == Sync.Status.UNCHANGED, "before the change"
    assert trip.send(rekeyed(tables, of=["users"])).status == Sync.Status.UNCHANGED, "and after it"
    with pytest.raises(syncs.DecisionRefused, match="None of the old ids"):
        syncs.keep_listed(trip.district, "classes", pairs, by=trip.by)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "two columns"),
        (b"old,new,more\n", "two columns"),
        (b"a,b\n1,2\n", "two columns"),
        (b"old,new\n1\n,3\n4,5\n", "Of lines 2, 3, each does not have exactly two cells"),
        (b"old,new\n1,2\n1,3\n", "Of lines 2, 3, each names an old id that another line names, too."),
        (b"old,new\n1,2\n3,2\n", "each names a new id"),
        (b"old,new\n1,1\n", "no pair of two different ids"),
        (b'old,new\n"1,2\n', "is not a CSV file that can be read"),
        ("old,new\né,2\n".encode("latin-1"), "UTF-8"),
    ],
)
def test_a_list_that_cannot_be_taken_says_why_and_keeps_its_values_to_itself(content: bytes, words: str) -> None:
    with pytest.raises(syncs.BadList, match=words):
        syncs.read_list(content)


def test_another_district_is_not_taken_for_ours_under_new_ids(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    bare = {**tables, "orgs": tables["orgs"].with_columns(identifier=pl.lit(""))}
    ours = trip.send(rekeyed(bare))
    assert not ours.holds.filter(code="WRONG_DISTRICT").exists(), "most of our people are in it"
    other = making.make_roster(users=90, seed=9, today=timezone.localdate(), name="Elm")
    numbers = tables["users"]["identifier"].head(len(other["users"]))
    strange = {**other, "users": other["users"].with_columns(identifier=numbers)}
    assert trip.send(strange).holds.filter(code="WRONG_DISTRICT").exists(), "numbers alone are everybody's"


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_a_new_sis_is_pulled_by_its_api_from_the_first_day(trip: Trip, tmp_path: Path, version: str) -> None:
    tables = named_as_in_rest(
        making.make_roster(users=90, seed=8, today=timezone.localdate(), name="Cedar Grove", version=version)
    )
    trip.go(trip.send(tables, version=version))
    moved = named_as_in_rest(rekeyed(tables))
    settled = keep(trip, pull(trip, tmp_path / "pull.zip", records(moved), version), also_unsure=True)
    assert settled.status == Sync.Status.UNCHANGED, settled.verdict
    gone = moved["enrollments"]["sourcedId"][0]
    leaving = [{**one, "status": "tobedeleted"} for one in records(moved)["enrollments"] if one["sourcedId"] == gone]
    nothing: dict[str, list[Any]] = {name: [] for name in records(moved)}
    left = trip.go(pull(trip, tmp_path / "delta.zip", nothing | {"enrollments": leaving}, version, "delta"))
    assert (left.added, left.updated, left.removed) == (0, 0, 1)
    assert Enrollment.objects.get(status="tobedeleted").sourced_id == tables["enrollments"]["sourcedId"][0]


def _with(prefix: str, cell: pl.Expr) -> pl.Expr:
    return pl.lit(prefix) + cell


@pytest.mark.parametrize("seed", range(1))
def test_whatever_happens_who_stays_keeps_one_record(trip: Trip, tables: making.Tables, seed: int) -> None:
    """Days of changes, new ids for all or for some tables, undos, lists given up and taken again, in any order: who is
    in the file on each day has one live record, the same as long as ids were kept."""
    dice = random.Random(seed)
    trip.go(trip.send(tables))
    day, prefix = tables, ""
    known = dict(User.objects.filter(status="active").values_list("identifier", "sourced_id"))
    for step in range(5):
        day, _ = making.next_day(day, change=0.03, seed=100 * seed + step)
        if dice.random() < 0.5:
            prefix = f"{step}-"
        came = rekeyed(day, make=partial(_with, prefix)) if prefix else day
        sync = trip.send(came)
        if sync.status in Sync.WAITING and sync.holds.filter(code="ID_CHURN").exists():
            sync = keep(trip, sync, also_unsure=True)
        if sync.status in Sync.WAITING:
            done = trip.go(sync)
            if dice.random() < 0.3:
                back = trip.undo(done)
                if back.status in Sync.WAITING:
                    trip.go(back)
                    again = trip.send(came)
                    trip.go(again)
        trip.verify()
        live = dict(User.objects.filter(status="active").values_list("identifier", "sourced_id"))
        assert set(live) == set(day["users"]["identifier"].to_list()) and len(live) == len(day["users"])
        stayed = set(live) & set(known)
        assert {one: live[one] for one in stayed} == {one: known[one] for one in stayed}
        known |= live
        trip.district.refresh_from_db()
        ids = syncs.ids_of(trip.district)
        assert not ids.select("table", "kept").is_duplicated().any()
        assert not ids.select("table", "delivered").is_duplicated().any()


def _married(tables: making.Tables, people: int) -> making.Tables:
    """Some people get another family name, and so another id in all files: the SIS makes ids out of names."""
    chosen = tables["users"].filter(pl.col("role") == "student").head(people)["sourcedId"]

    def with_other_ids(cell: pl.Expr) -> pl.Expr:
        return pl.when(cell.is_in(chosen.implode())).then(pl.lit("M-") + cell).otherwise(cell)

    moved = rekeyed(tables, of=["users"], make=with_other_ids)
    theirs = pl.col("userSourcedId").str.starts_with("M-")
    seats = moved["enrollments"].with_columns(
        pl.when(theirs).then(pl.lit("M-") + pl.col("sourcedId")).otherwise(pl.col("sourcedId")).alias("sourcedId")
    )
    new_name = (
        pl.when(pl.col("sourcedId").str.starts_with("M-")).then(pl.lit("Marriedname")).otherwise(pl.col("familyName"))
    )
    return {**moved, "users": moved["users"].with_columns(new_name.alias("familyName")), "enrollments": seats}


def test_a_district_may_have_the_ids_of_a_few_kept_without_a_question(trip: Trip, tables: making.Tables) -> None:
    trip.go(trip.send(tables))
    asked = trip.send(_married(tables, 2))
    assert (asked.added > 2, asked.removed > 2) == (True, True), "as long as nobody wants it"
    District.objects.filter(pk=trip.district.pk).update(keeps_ids_by_itself=True)
    trip.district.refresh_from_db()
    making.write_zip(trip.folder / "dry.zip", _married(tables, 2))
    dry = syncs.receive(trip.district, trip.folder / "dry.zip", origin="api", name="dry.zip", by=trip.by, dry_run=True)
    assert (syncs.prepare(dry.pk) or dry).removed == asked.removed, "a dry run leaves nothing behind"
    trip.district.refresh_from_db()
    assert trip.district.kept_ids is None

    few = trip.go(trip.send(_married(tables, 2)))
    assert (few.added, few.updated, few.removed) == (0, 2, 0)
    assert User.objects.filter(status="active", family_name="Marriedname").count() == 2
    assert not User.objects.filter(sourced_id__startswith="M-").exists()
    event = AuditEvent.objects.get(action="district.ids_kept")
    assert event.by is None and event.sync == few and set(event.after) == {"users", "enrollments"}
    assert trip.send(_married(tables, 2)).status == Sync.Status.UNCHANGED

    many = trip.send(_married(tables, 25))
    assert many.holds.filter(code="ID_CHURN", table="users").exists(), "so many are asked about"
    assert keep(trip, many).updated == 23
