"""The brief of a call: what is known, from where, and what is left to ask."""

from __future__ import annotations

import zipfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.core import mail
from django.utils import timezone

from connections.models import Connection
from connections.onboarding import calls
from connections.onboarding.brief import Fact, as_text, brief, guess_vendor
from connections.onboarding.models import Availability, Person
from rosters import making, syncs
from rosters.models import District, Sync

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = pytest.mark.django_db


def facts(district: District) -> dict[str, Fact]:
    return {fact.label: fact for topic in brief(district, timezone.now()) for fact in topic.facts}


def test_of_a_new_district_everything_is_a_question(cedar: District) -> None:
    found = facts(cedar)
    for label in ("Products", "People", "System", "People", "School year", "Connection", "Deliveries"):
        assert not found[label].known and found[label].ask, label
    text = as_text(brief(cedar, timezone.now()))
    assert "- System: not known. Ask: Which student information system" in text


def test_a_first_file_tells_its_system_its_size_its_terms_and_its_faults(
    cedar: District, dana: Person, data_dir: Path
) -> None:
    roster = making.make_roster(users=80, seed=4, today=timezone.localdate(), name="Cedar Grove")
    zipped = data_dir / "cedar.zip"
    with zipped.open("wb") as file:
        making.write_zip(file, roster)
    sync = syncs.receive(cedar, zipped, origin="district", name="cedar.zip")
    syncs.prepare(sync.pk)
    found = facts(cedar)
    assert found["System"].known and "manifest.csv" in found["System"].source
    assert found["Format"].known == "OneRoster 1.1 as CSV"
    assert found["People"].source == "the latest file"
    assert found["Students"].known.isdecimal() and found["Teachers"].known.isdecimal()
    assert found["School year"].source == "the latest file" and found["Covers today"].known
    assert found["First file"].known.startswith("0 errors")
    assert "Send your first file" not in found and "We look it over before it goes live" in found


def test_a_fault_in_every_file_is_one_line_and_leaves_room_for_the_others(cedar: District, data_dir: Path) -> None:
    tables = ("users", "orgs", "classes")
    found = [(table, "OR-CSV-081", "dateLastModified is filled.") for table in tables]
    found.append(("users", "OR-CSV-106", "A yes/no cell holds something else."))
    sync = syncs.receive(cedar, _a_zip(data_dir), origin="district", name="cedar.zip")
    for position, (table, code, message) in enumerate(found):
        sync.findings.create(
            position=position,
            code=code,
            severity="error",
            file=f"{table}.csv",
            column="status",
            count=1000,
            message=message,
            next_step="Mend it.",
        )
    Sync.objects.filter(pk=sync.pk).update(status="rejected", headers={"users": ["sourcedId"]})
    said = facts(cedar)
    assert said["OR-CSV-081, users.csv status and 2 more"].known == "3,000: dateLastModified is filled. Mend it."
    assert "OR-CSV-106, users.csv status" in said
    assert not said["System"].known, "a manifest that knows no name says `absent`"


def _a_zip(folder: Path) -> Path:
    path = folder / "cedar.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.csv", "propertyName,value\r\nsource.systemName,absent\r\n")
    return path


def test_credentials_are_present_or_missing_and_never_told(cedar: District) -> None:
    connection = Connection(district=cedar, kind="sftp", host="sftp.cedar.test", username="cedar", path="*.zip")
    connection.vendor = "infinite_campus"
    connection.save()
    assert not facts(cedar)["SFTP, credentials"].known
    connection.keep_secret("password", "correct horse")
    connection.save()
    connection.checkups.create(
        started_at=timezone.now(),
        ended_at=timezone.now() + timedelta(seconds=1),
        steps=[{"name": "Log in", "outcome": "failed", "words": "The server refused the password."}],
    )
    found = facts(cedar)
    assert found["SFTP, credentials"].known == "password present"
    assert found["SFTP, test"].known == "stopped at Log in: The server refused the password."
    assert found["System"].known == "Infinite Campus" and found["Worth knowing"].known
    assert "correct horse" not in as_text(brief(cedar, timezone.now()))


@pytest.mark.parametrize(
    ("system", "headers", "guess"),
    [
        ("", {}, ""),
        ("Homemade exporter", {}, ""),
        ("PowerSchool SIS 22.1", {}, "powerschool_sis"),
        ("Aeries", {}, "aeries"),
        ("Synergy", {}, "synergy"),
        ("", {"users": ["sourcedId", "metadata.ic.legacysourceId"]}, "infinite_campus"),
    ],
)
def test_a_file_tells_its_system_by_its_manifest_or_its_columns(
    system: str, headers: dict[str, list[str]], guess: str
) -> None:
    found, reason = guess_vendor(system, headers)
    assert found == guess and bool(reason) == bool(guess)


def test_the_member_of_staff_gets_the_brief_by_mail_and_the_district_does_not(dana: Person, rita: Staff) -> None:
    week = {str(day): [["09:00", "12:00"]] for day in range(7)}
    hours = Availability.objects.create(staff=rita, weekly=week)
    mail.outbox.clear()
    calls.book(dana, calls.free(hours, timezone.now())[0], timezone.now())
    theirs, ours = mail.outbox
    assert "What we know" in ours.body and "Site code: 1001" in ours.body
    assert "What we know" not in theirs.body
