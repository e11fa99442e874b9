"""What pages of staff say of a district's people: their names, and whom to write to where a file was refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.test import Client

from connections.models import Connection
from connections.onboarding.models import Person
from rosters import syncs
from rosters.models import AuditEvent, District, Sync

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = [pytest.mark.django_db, pytest.mark.looks]


def _logged_in(staff: Staff) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def _refused(district: District, folder: Path, origin: str) -> Sync:
    (folder / "broken.zip").write_bytes(b"no zip")
    sync = syncs.receive(district, folder / "broken.zip", origin=origin, name="broken.zip")
    sync = syncs.prepare(sync.pk) or sync
    assert sync.status == "rejected"
    return sync


def _page(staff: Staff, sync: Sync) -> str:
    return _logged_in(staff).get(f"/admin/rosters/sync/{sync.pk}/change/").content.decode()


def test_the_audit_trail_names_what_it_is_about_and_leads_there(cedar: District, dana: Person, alice: Staff) -> None:
    connection = Connection.objects.create(district=cedar, kind="sftp")
    for subject in (
        f"person {dana.pk}",
        f"connection {connection.pk}",
        "person 999",
        "API client 3",
        f"staff {alice.pk}",
    ):
        AuditEvent.objects.create(action="person.invited", district=cedar, subject=subject)
    page = _logged_in(alice).get("/admin/rosters/auditevent/").content.decode()
    assert f'<a href="/admin/onboarding/person/{dana.pk}/change/">Dana Reyes</a>' in page
    assert f'<a href="/admin/connections/connection/{connection.pk}/change/">SFTP of Cedar Grove</a>' in page
    assert "person 999" in page and "API client 3" in page


def test_who_answers_for_a_district_can_be_written_to_where_its_file_was_refused(
    cedar: District, dana: Person, sam: Person, data_dir: Path, tmp_path: Path, manu: Staff
) -> None:
    page = _page(manu, _refused(cedar, tmp_path, "sftp"))
    assert "It is the move of the district." in page
    assert "mailto:dana@cedar.test?subject=The%20rosters%20of%20Cedar%20Grove" in page
    assert "sam@cedar.test" not in page, "a sender does not answer for it"


def test_where_nobody_can_be_written_to_somebody_can_be_invited(
    cedar: District, data_dir: Path, tmp_path: Path, manu: Staff
) -> None:
    sync = _refused(cedar, tmp_path, "sftp")
    page = _page(manu, sync)
    assert f'<a href="/admin/onboarding/person/invite/{cedar.pk}/">Invite a person</a>' in page
    at = _logged_in(manu).get(f"/admin/onboarding/person/invite/{cedar.pk}/")
    assert [room.name for room in at.context["rooms"] if room.is_here] == ["Districts"]


def test_a_wrong_file_that_staff_uploaded_is_not_the_districts_to_mend(
    cedar: District, dana: Person, data_dir: Path, tmp_path: Path, manu: Staff
) -> None:
    page = _page(manu, _refused(cedar, tmp_path, "staff"))
    assert "It is the move of our staff." in page and "Upload the right file" in page
