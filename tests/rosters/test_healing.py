"""From a finding to the mapping that heals it, and the same file checked again."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from django.test import Client
from django.utils import timezone

from rosters import making, syncs
from rosters.admin.district_form import proposed
from rosters.models import AuditEvent, District, Finding, Sync
from tests.queue import work_off
from tests.rosters.test_district_form import NAMED, inputs

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = [pytest.mark.django_db, pytest.mark.alike]


@pytest.fixture
def cedar() -> District:
    return District.objects.create(name="Cedar Grove", site_code="1001", time_zone="America/Chicago")


def _logged_in(staff: Staff) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def _tables(cedar: District) -> making.Tables:
    return making.make_roster(users=80, seed=6, today=timezone.localdate(), name=cedar.name)


def _sent(district: District, folder: Path, tables: making.Tables) -> Sync:
    making.write_zip(folder / "sent.zip", tables)
    sync = syncs.receive(district, folder / "sent.zip", origin="staff", name="sent.zip")
    return syncs.prepare(sync.pk) or sync


def _with_grades(tables: making.Tables, **words: str) -> making.Tables:
    """The same people, whose grades are written in the district's own way; "9" is never one of them."""
    users = tables["users"].with_columns(pl.col("grades").replace(words))
    return {**tables, "users": users}


def test_a_finding_leads_to_the_mapping_that_heals_it(
    cedar: District, manu: Staff, vera: Staff, data_dir: Path, tmp_path: Path
) -> None:
    """A manager reads what is wrong, says what it means, has the same file checked again, and it is right."""
    spelled = _with_grades(_tables(cedar), **{"09": "9th", "10": "Sophomores"})
    sync = _sent(cedar, tmp_path, spelled)
    finding = sync.findings.get(code="OR-CSV-143")
    client = _logged_in(manu)
    page = client.get(f"/admin/rosters/sync/{sync.pk}/change/").text
    assert "Check the same file again" not in page
    link = re.search(r'href="([^"]*finding=[^"]*)"', page)
    assert link
    assert "finding=" not in _logged_in(vera).get(f"/admin/rosters/sync/{sync.pk}/change/").text
    assert "Sophomores" not in _logged_in(vera).get(link[1].split("#")[0]).text  # it is not set
    assert "9th" not in link[1]  # no roster value in an address
    address = link[1].split("#")[0]
    form = client.get(address).text
    lines = inputs(form)
    proposed = {lines[f"mappings-{n}-1"]: lines[f"mappings-{n}-2"] for n in range(2)}
    assert proposed == {"9th": "09", "Sophomores": ""}
    assert {lines["mappings-0-0"], lines["mappings-1-0"]} == {"users.grades"}
    marks = dict(re.findall(r'<input type="hidden" name="(mappings-\d-proposed)" value="(1)"', form))
    assert len(marks) == 2

    answer = client.post(address, {**NAMED, **lines, **marks, "_save": "Save"})
    assert answer.headers["location"] == f"/admin/rosters/sync/{sync.pk}/change/"
    cedar.refresh_from_db()
    assert cedar.mappings == {"users.grades": {"9th": "09"}}  # what nobody gave a meaning is no mapping
    page = client.get(answer.headers["location"]).text
    assert "settings have changed since this file was checked" in page

    assert client.post(f"/admin/rosters/sync/{sync.pk}/retry/").status_code == 302
    assert work_off() >= 1
    sync.refresh_from_db()
    assert sync.status == "awaiting_review"  # the first roster waits again, in the same place
    healed = sync.findings.get(code="OR-CSV-143")
    assert healed.count == finding.count - (spelled["users"]["grades"] == "9th").sum()
    assert "settings have changed" not in client.get(answer.headers["location"]).text
    assert AuditEvent.objects.filter(sync=sync, action="sync.retried", by=manu).exists()


def test_a_refused_file_is_checked_again_by_the_new_settings(
    cedar: District, manu: Staff, data_dir: Path, tmp_path: Path
) -> None:
    """Grades that a mapping knows, and a limit that lets through what is left."""
    tables = _tables(cedar)
    broken = {**tables, "users": tables["users"].with_columns(enabledUser=pl.lit("Perhaps"))}
    cedar.hold_limits = {"bad_rows": 0, "bad_share": 0}
    cedar.save()
    sync = _sent(cedar, tmp_path, broken)
    assert sync.status == "rejected"
    client, address = _logged_in(manu), f"/admin/rosters/district/{cedar.pk}/change/"
    lines = {"mappings-0-0": "users.enabledUser", "mappings-0-1": "Perhaps", "mappings-0-2": "true"}
    client.post(address, {**NAMED, **inputs(client.get(address).text), **lines})
    answer = client.post(f"/admin/rosters/sync/{sync.pk}/retry/")
    assert work_off() >= 1
    again = Sync.objects.get(pk=answer.headers["location"].split("/")[-3])
    assert (again.pk != sync.pk, again.status) == (True, "awaiting_review")


def test_a_file_in_another_encoding_leads_to_the_setting_and_is_read_by_it(
    cedar: District, manu: Staff, data_dir: Path, tmp_path: Path
) -> None:
    tables = _tables(cedar)
    tables["users"] = tables["users"].with_columns(familyName=pl.lit("Peña"))
    making.write_zip(tmp_path / "utf8.zip", tables)
    with zipfile.ZipFile(tmp_path / "utf8.zip") as plain, zipfile.ZipFile(tmp_path / "sent.zip", "w") as old:
        for name in plain.namelist():
            old.writestr(name, plain.read(name).decode().encode("cp1252", "replace"))
    sync = syncs.receive(cedar, tmp_path / "sent.zip", origin="staff", name="sent.zip")
    sync = syncs.prepare(sync.pk) or sync
    assert sync.status == "rejected"
    client = _logged_in(manu)
    page = client.get(f"/admin/rosters/sync/{sync.pk}/change/").text
    link = re.search(r'href="([^"]*finding=\d+)#id_encoding"', page)
    assert link
    form = client.get(link[1]).text
    assert 'id="id_encoding"' in form
    answer = client.post(link[1], {**NAMED, **inputs(form), "encoding": "windows-1252", "_save": "Save"})
    assert answer.headers["location"] == f"/admin/rosters/sync/{sync.pk}/change/"
    assert "Check the same file again" in client.get(answer.headers["location"]).text
    again = client.post(f"/admin/rosters/sync/{sync.pk}/retry/", follow=True)
    work_off()
    assert again.status_code == 200
    newest = Sync.objects.latest("pk")
    assert newest.status == "awaiting_review"
    difference = syncs.store().difference(cedar.pk, newest.pk)
    assert set(difference.frame("users")["familyName"]) == {"Peña"}


def test_a_new_owner_is_no_reason_to_check_a_file_again(
    cedar: District, manu: Staff, data_dir: Path, tmp_path: Path
) -> None:
    sync = _sent(cedar, tmp_path, _tables(cedar))
    client, address = _logged_in(manu), f"/admin/rosters/district/{cedar.pk}/change/"
    client.post(address, {**NAMED, **inputs(client.get(address).text), "owner": manu.pk})
    assert AuditEvent.objects.filter(action="district.changed").exists()
    assert "Check the same file again" not in client.get(f"/admin/rosters/sync/{sync.pk}/change/").text


def test_somebody_elses_finding_and_one_that_no_mapping_heals_propose_nothing(
    cedar: District, manu: Staff, data_dir: Path, tmp_path: Path
) -> None:
    other = District.objects.create(name="Harbor City", site_code="1002")
    theirs = _sent(other, tmp_path, _with_grades(_tables(other), **{"09": "9th"})).findings.get(code="OR-CSV-143")
    own = Finding.objects.create(
        sync=_sent(cedar, tmp_path, _tables(cedar)), position=99, code="OR-CSV-118", severity="warning",
        file="users.csv", column="email", count=1,
    )  # fmt: skip
    client = _logged_in(manu)
    for asked in (theirs.pk, own.pk, "9" * 30, "x", ""):
        page = client.get(f"/admin/rosters/district/{cedar.pk}/change/?finding={asked}").text
        assert "proposed" not in page


@pytest.mark.parametrize(
    ("column", "words", "lines"),
    [
        ("grades", ["K,01", "K", "KG"], [("users.grades", "K", "KG")]),
        ("enabledUser", ["Y", "maybe"], [("users.enabledUser", "Y", "true"), ("users.enabledUser", "maybe", "")]),
        ("role", ["pupil", "", "x" * 80], [("users.role", "pupil", "")]),
    ],
)
def test_what_is_proposed_for_words(column: str, words: list[str], lines: list[tuple[str, str, str]]) -> None:
    assert proposed(Finding(file="users.csv", column=column, code="OR-CSV-133"), words) == lines
