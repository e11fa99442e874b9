"""Next year's file, tried out weeks ahead: what it would do is told, and nothing is touched."""

from __future__ import annotations

import html
import json
from datetime import date, timedelta
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from rosters import making, syncs
from rosters.models import AuditEvent, Sync, User
from tests.journeys.trip import Trip, first_day, made_once
from tests.queue import work_off

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

    from tests.conftest import Stands

pytestmark = pytest.mark.django_db


def _built(trip: Trip) -> None:
    trip.go(trip.send(first_day()))
    trip.send(making.without_school(first_day(), 0))


stands = made_once(_built)


@pytest.fixture
def trip(stands: Stands, data_dir: Path) -> Trip:
    """A district whose second file waits for a decision."""
    return stands(data_dir)


@pytest.fixture
def next_year(trip: Trip, tmp_path: Path) -> Path:
    path = tmp_path / "next-year.zip"
    making.write_zip(path, making.rollover(first_day(), seed=3)[0])
    return path


def in_weeks(trip: Trip, weeks: int = 30) -> date:
    return trip.district.local_date(timezone.now()) + timedelta(weeks=weeks)


def page(browser: Client, address: str) -> str:
    return str(html.unescape(browser.get(address).content.decode()))


def at(sync: Sync, deed: str = "change") -> str:
    return f"/admin/rosters/sync/{sync.pk}/{deed}/"


def upload(staff: Client, trip: Trip, file: Path, **said: str) -> str:
    sent = SimpleUploadedFile(file.name, file.read_bytes())
    answer = staff.post(f"/admin/rosters/district/{trip.district.pk}/upload/", {"file": sent, **said}, follow=True)
    work_off()
    return str(html.unescape(answer.content.decode()))


def tried(trip: Trip, file: Path, **values: Any) -> Sync:
    sync = syncs.receive(trip.district, file, origin="staff", name=file.name, by=trip.by, dry_run=True, **values)
    return syncs.prepare(sync.pk) or sync


def test_next_years_file_is_tried_out_on_the_page_and_nothing_is_touched(
    trip: Trip, staff: Client, next_year: Path
) -> None:
    waiting, version = Sync.objects.get(status="awaiting_review"), trip.district.version
    people = list(User.objects.order_by("pk").values_list("sourced_id", "grades", "status"))
    day = in_weeks(trip)
    said = upload(staff, trip, next_year, dry_run="on", as_if_on=day.isoformat())
    assert "This is a dry run: whatever it says, the roster stays as it is." in said
    dry = Sync.with_dry_runs.get(dry_run=True)
    assert (dry.status, dry.as_if_on, dry.delivery and dry.delivery.name) == ("planned", day, "next-year.zip")
    assert AuditEvent.objects.get(sync=dry).after["as_if_on"] == day.isoformat()

    seen = page(staff, at(dry))
    assert "This is a dry run, as if the file came on" in seen and "Would be held: this looks like the turn" in seen
    assert "From grade to grade" in seen and 'id="decision"' not in seen
    assert f"/admin/rosters/sync/{dry.pk}/for-real/" in seen
    of_district = page(staff, f"/admin/rosters/district/{trip.district.pk}/change/")
    assert f"as if on {day.day} {day:%b %Y}" in of_district

    waiting.refresh_from_db()
    trip.verify()
    assert waiting.status == "awaiting_review" and trip.district.version == version
    assert list(User.objects.order_by("pk").values_list("sourced_id", "grades", "status")) == people


def test_the_grades_of_a_turn_of_the_year_are_told_as_they_are_in_the_file(trip: Trip, next_year: Path) -> None:
    dry = tried(trip, next_year)
    students = first_day()["users"].filter(role="student")
    assert sum(move["before"] for move in dry.grade_moves) == len(students)
    by_grade = {move["grade"]: move for move in dry.grade_moves}
    assert by_grade["03"]["to"] == "04" and by_grade["12"]["left"] == by_grade["12"]["before"]
    ordinary = next_year.with_name("tomorrow.zip")
    making.write_zip(ordinary, making.next_day(first_day(), change=0.02, seed=5)[0])
    assert tried(trip, ordinary).grade_moves == []


def test_the_check_takes_the_day_for_today(trip: Trip, next_year: Path) -> None:
    """Its terms begin next year: today that is worth a warning, on its day it is not."""
    now = set(tried(trip, next_year).findings.values_list("code", flat=True))
    first_term = min(making.rollover(first_day(), seed=3)[0]["academicSessions"]["startDate"])
    then = tried(trip, next_year, as_if_on=date.fromisoformat(first_term) + timedelta(days=20))
    assert "OR-CSV-268" in now and "OR-CSV-268" not in set(then.findings.values_list("code", flat=True))


def test_the_same_bytes_are_checked_as_of_the_day_although_they_are_live(trip: Trip, tmp_path: Path) -> None:
    path = tmp_path / "same.zip"
    making.write_zip(path, first_day())
    assert tried(trip, path).verdict.startswith("The same file"), "nothing is checked twice"
    far = tried(trip, path, as_if_on=in_weeks(trip, 56))
    assert far.status == "unchanged" and far.findings.filter(code="OR-CSV-268").exists(), "no term is running then"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"as_if_on": "2000-01-01", "dry_run": "on"}, "checked as if it came today, or on a day of the 400"),
        ({"as_if_on": "3000-01-01", "dry_run": "on"}, "checked as if it came today, or on a day of the 400"),
        ({"as_if_on": "some day", "dry_run": "on"}, "as year, month and day"),
        ({"as_if_on": "TOMORROW"}, "Only a dry run is checked as if it came on another day."),
    ],
)
def test_a_day_that_cannot_be_is_refused_and_nothing_is_stored(
    trip: Trip, staff: Client, next_year: Path, said: dict[str, str], told: str
) -> None:
    if said["as_if_on"] == "TOMORROW":
        said = {"as_if_on": in_weeks(trip, 1).isoformat()}
    before = Sync.with_dry_runs.count()
    answer = upload(staff, trip, next_year, **said)
    assert told in answer and "Nothing was stored." in answer
    assert Sync.with_dry_runs.count() == before
    with pytest.raises(IntegrityError), transaction.atomic():
        Sync.objects.update(as_if_on=date(2030, 1, 1))


def test_it_is_tried_again_by_what_is_live_now_and_taken_to_go_live(
    trip: Trip, staff: Client, next_year: Path, vera: Staff
) -> None:
    day = in_weeks(trip)
    dry = tried(trip, next_year, as_if_on=day)
    onlooker = Client()
    onlooker.force_login(vera)
    assert onlooker.post(at(dry, "for-real")).status_code == 403
    assert "Try the same file again" not in page(onlooker, at(dry))

    staff.post(at(dry, "retry"))
    work_off()
    again = Sync.with_dry_runs.order_by("-pk")[0]
    assert (again.dry_run, again.status, again.as_if_on) == (True, "planned", day)
    assert AuditEvent.objects.filter(sync=again, action="sync.retried", before={"sync": dry.pk}).exists()

    waiting = Sync.objects.get(status="awaiting_review")
    staff.post(at(dry, "for-real"))
    work_off()
    real = Sync.objects.order_by("-pk")[0]
    assert (real.dry_run, real.as_if_on, real.delivery) == (False, None, dry.delivery)
    waiting.refresh_from_db()
    assert waiting.status == "superseded"
    assert AuditEvent.objects.filter(sync=real, action="sync.for_real", before={"sync": dry.pk}).exists()
    assert "See what becomes of this file" in page(staff, at(dry))
    trip.go(real)
    assert User.objects.filter(status="tobedeleted").exists()


def test_an_old_dry_run_does_not_take_the_place_of_a_newer_file(trip: Trip, staff: Client, next_year: Path) -> None:
    dry = tried(trip, next_year)
    newer = trip.send(first_day())
    assert "this one would have to be sent again" in page(staff, at(dry))
    answer = staff.post(at(dry, "for-real"))
    assert answer.status_code == 409 and "A newer delivery has come since" in answer.content.decode()
    assert staff.post(at(newer, "for-real")).status_code == 409, "that was none"
    assert not Sync.objects.filter(delivery=dry.delivery).exists()


def test_the_command_tries_a_file_out(trip: Trip, next_year: Path) -> None:
    def run(*more: str) -> tuple[object, dict[str, Any]]:
        out = StringIO()
        with pytest.raises(SystemExit) as left:
            call_command("import_roster", "1001", str(next_year), "--json", *more, stdout=out)
        return left.value.code, json.loads(out.getvalue())

    code, told = run("--dry-run", "--as-if-on", in_weeks(trip).isoformat())
    assert (code, told["status"], told["dry_run"]) == (3, "planned", True)
    assert told["holds"] and told["grade_moves"]
    words = StringIO()
    with pytest.raises(SystemExit):
        call_command("import_roster", "1001", str(next_year), "--dry-run", stdout=words)
    assert "would be held: " in words.getvalue()
    for wrong in (["--dry-run", "--approve"], ["--as-if-on", "2030-01-01"]):
        with pytest.raises(CommandError):
            call_command("import_roster", "1001", str(next_year), *wrong)
    trip.verify()
    assert trip.district.version == 1
