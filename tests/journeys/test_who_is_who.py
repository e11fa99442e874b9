"""The pages and the API about ids that are kept: who may look, who may decide, and what each finds there."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from rosters import making, syncs
from rosters.models import AuditEvent, District, Sync, User
from tests.journeys.test_rekeying import keep
from tests.journeys.trip import Trip, first_day, made_once
from tests.tools import tool

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

    from tests.conftest import Stands

pytestmark = [pytest.mark.django_db, pytest.mark.doors]


def _built(trip: Trip) -> None:
    trip.go(trip.send(first_day()))
    trip.send(making.under_other_ids(first_day()))


cedar = made_once(_built)


@pytest.fixture
def trip(cedar: Stands, data_dir: Path) -> Trip:
    """A district whose first roster is live."""
    return cedar(data_dir)


@pytest.fixture
def moved(trip: Trip) -> Sync:
    """A sync of the same district under other ids, which waits."""
    return Sync.objects.latest("pk")


def at(sync: Sync, place: str = "who_is_who") -> str:
    return reverse(f"admin:rosters_sync_{place}", args=[sync.pk])


def page(browser: Client, address: str, **values: str) -> str:
    return html.unescape(browser.get(address, values, follow=True).content.decode())


def test_the_hold_leads_to_who_is_who_and_that_to_a_plan_of_what_truly_changes(
    staff: Client, moved: Sync, trip: Trip, tables: making.Tables
) -> None:
    assert at(moved) in page(staff, at(moved, "change"))
    told = page(staff, at(moved))
    people = User.objects.filter(status="active").count()
    assert f"{people} people" in told and "Known again" in told
    pupil = tables["users"].row(0, named=True)
    assert pupil["sourcedId"] in told and making.under_other_ids(tables)["users"]["sourcedId"][0] in told
    assert f"{pupil['givenName']} {pupil['familyName']}" in told

    assert staff.get(at(moved, "keep_ids")).status_code == 405, "nothing is done by GET"
    stale = staff.post(at(moved, "keep_ids"), {"plan": "another"})
    assert stale.status_code == 409 and "The plan has changed since you looked" in stale.content.decode()
    answer = staff.post(at(moved, "keep_ids"), {"plan": moved.plan_digest, "unsure": "yes"}, follow=True)
    assert "are kept. The same file is being compared under them" in answer.content.decode()
    done = syncs.prepare(moved.pk)
    assert done is not None and done.status == Sync.Status.UNCHANGED
    assert "the ids that are kept" in page(staff, at(moved, "change"))
    assert staff.get(at(moved)).status_code == 302, "there is nothing to look at any more"


def test_the_pairs_are_paged_and_grouped(staff: Client, moved: Sync) -> None:
    numbers = syncs.counted(syncs.known_again(moved))
    group = next(str(place) for place, one in enumerate(numbers) if one.table == "enrollments")
    seats = numbers[int(group)].number
    assert f"Page 1 of {-(-seats // 50)}" in page(staff, at(moved), group=group)
    last = page(staff, at(moved), group=group, page="999")
    assert f"Page {-(-seats // 50)} of {-(-seats // 50)}" in last
    for odd in ("-1", "x", "99999", "²"):
        assert staff.get(at(moved), {"group": odd, "page": odd}).status_code == 200


def test_where_nobody_is_known_again_the_page_says_so(staff: Client, trip: Trip, tables: making.Tables) -> None:
    after, _ = making.next_day(tables, change=0.2, seed=4)
    sync = trip.send(after)
    assert syncs.may_look(sync)
    assert "Some of those who leave may be those who come" in page(staff, at(sync, "change"))
    assert "None of those who leave is among those who come" in page(staff, at(sync)) or syncs.counted(
        syncs.known_again(sync)
    )


def test_the_page_of_a_district_shows_the_list_and_finds_an_id_of_either_kind(
    staff: Client, moved: Sync, trip: Trip, tables: making.Tables
) -> None:
    address = reverse("admin:rosters_district_ids", args=[trip.district.pk])
    assert "Every record of this district is known by the id that its SIS gives it" in page(staff, address)
    keep(trip, moved)
    old, new = tables["users"]["sourcedId"][0], making.under_other_ids(tables)["users"]["sourcedId"][0]
    person = User.objects.get(district=trip.district, sourced_id=old)
    for asked in (old, new):
        told = page(staff, address, table="users", q=asked)
        assert old in told and new in told and person.family_name in told
        assert tables["users"]["sourcedId"][1] not in told
    assert "No record has this id" in page(staff, address, table="users", q="nobody")
    assert staff.get(address, {"table": "nothing", "page": "0"}).status_code == 200

    for districts in ({"district": str(trip.district.pk)}, {}):
        found = page(staff, reverse("admin:rosters_user_changelist"), q=new, **districts)
        assert person.family_name in found, "who asks by the SIS's id finds the person"
    record = reverse("admin:rosters_user_change", args=[person.pk])
    assert new in page(staff, record)
    trip.go(trip.send(making.next_day(making.under_other_ids(tables), change=0.2, seed=5)[0]))
    history = page(staff, reverse("admin:rosters_user_history", args=[person.pk]), line="")
    assert new in history, "its line in the file is found by the id that stands there"


def test_a_list_is_uploaded_and_given_up(staff: Client, moved: Sync, trip: Trip, tables: making.Tables) -> None:
    address = reverse("admin:rosters_district_ids", args=[trip.district.pk])
    ids = zip(tables["users"]["sourcedId"], making.under_other_ids(tables)["users"]["sourcedId"], strict=True)

    def send(content: bytes, table: str = "users") -> str:
        sent = {"file": SimpleUploadedFile("ids.csv", content), "table": table}
        return staff.post(address, sent, follow=True).content.decode()

    assert "The list was not taken. It needs two columns" in send(b"a,b\n")
    assert "Choose what the ids are of" in send(b"old,new\n1,2\n", table="passwords")
    assert "None of the old ids in the list" in send(b"old,new\n1,2\n")
    text = "old id,new id\n" + "".join(f"{old},{new}\n" for old, new in ids) + "nobody,else\n"
    told = send(text.encode())
    assert f"The ids of {len(tables['users'])} people are kept" in told
    assert "1 old id of the list is not in the live roster" in told
    assert "settings have changed" in page(staff, at(moved, "change")), "the sync that waits was read without it"

    given = staff.post(address, {"let_go": "yes"}, follow=True).content.decode()
    assert "The list is given up" in given
    assert "No ids are kept" in staff.post(address, {"let_go": "yes"}, follow=True).content.decode()


def test_who_may_only_look_decides_nothing(moved: Sync, trip: Trip, vera: Staff) -> None:
    browser = Client()
    browser.force_login(vera)
    told = page(browser, at(moved))
    assert "Known again" in told and "They are the same" not in told
    assert browser.post(at(moved, "keep_ids"), {"plan": moved.plan_digest}).status_code == 403
    address = reverse("admin:rosters_district_ids", args=[trip.district.pk])
    assert "Keep the old ids" not in page(browser, address)
    assert browser.post(address, {"let_go": "yes"}).status_code == 403
    assert not AuditEvent.objects.filter(action__startswith="district.ids").exists()
    stranger = Client()
    assert stranger.get(at(moved)).status_code == 302 and stranger.get(address).status_code == 302


def test_a_tool_reads_decides_and_gives_up(moved: Sync, trip: Trip, tables: making.Tables) -> None:
    asked = tool(trip.district, staff=trip.by)
    first = f"/api/v1/syncs/{moved.pk}"
    again = asked.get(f"{first}/known-again", {"table": "users", "limit": 2}).json()
    assert again["total"] == len(tables["users"]) and len(again["results"]) == 2
    assert {one["table"] for one in again["counts"]} >= {"users", "enrollments", "classes"}

    def decide(**named: str) -> Any:
        said = {"also_unsure": True}
        return asked.post(f"{first}/keep-ids", said, content_type="application/json", headers=named)

    assert decide().status_code == 428
    assert decide(**{"If-Match": '"x"'}).status_code == 412
    kept = decide(**{"If-Match": asked.get(first).headers["ETag"]})
    assert kept.status_code == 202 and kept.json()["status"] == "received"
    done = syncs.prepare(moved.pk)
    assert done is not None and done.status == Sync.Status.UNCHANGED
    assert asked.get(f"{first}/known-again").status_code == 409

    place = f"/api/v1/districts/{trip.district.site_code}/kept-ids"
    new = making.under_other_ids(tables)["users"]["sourcedId"][0]
    (pair,) = asked.get(place, {"table": "users", "delivered": new}).json()["results"]
    assert pair == {"table": "users", "delivered": new, "kept": tables["users"]["sourcedId"][0]}
    assert asked.get(place, {"kept": pair["kept"], "table": "users"}).json()["results"] == [pair]
    reader = tool(trip.district, only=("https://purl.imsglobal.org/spec/or/v1p1/scope/roster-core.readonly",))
    assert reader.get(place).json()["total"] > 90, "whoever reads the roster may know whose id that is"
    assert reader.delete(place).status_code == 403
    assert asked.delete(place).status_code == 204
    assert asked.delete(place).status_code == 409
    assert asked.get(place).json() == {"made_at": None, "total": 0, "results": []}
    did = AuditEvent.objects.filter(action="client.acted").values_list("after__did", flat=True)
    assert set(did) == {"district.ids_kept", "district.ids_let_go"}


def test_another_district_s_tool_learns_nothing(moved: Sync, trip: Trip) -> None:
    other = tool(District.objects.create(name="Elm", site_code="elm"), staff=trip.by)
    assert other.get(f"/api/v1/syncs/{moved.pk}/known-again").status_code == 404
    assert other.post(f"/api/v1/syncs/{moved.pk}/keep-ids", headers={"If-Match": "x"}).status_code == 404
    assert other.get(f"/api/v1/districts/{trip.district.site_code}/kept-ids").status_code == 404


def test_what_is_kept_is_there_and_goes_with_the_history_that_it_belongs_to(
    moved: Sync, trip: Trip, tables: making.Tables, data_dir: Path
) -> None:
    keep(trip, moved)
    trip.district.refresh_from_db()
    assert trip.district.kept_ids is not None
    path = syncs.store().ids_path(trip.district.pk, trip.district.kept_ids.digest)
    path.rename(path.with_suffix(".aside"))
    assert syncs.verify(trip.district.pk) == ["ids that are kept: the list is missing"]
    sync = syncs.receive(trip.district, trip.folder / "sent.zip", origin="staff", name="sent.zip", by=trip.by)
    assert (syncs.prepare(sync.pk) or sync).status != Sync.Status.UNCHANGED, "never read as if no id were kept"
    path.with_suffix(".aside").rename(path)


def test_a_script_that_sends_a_file_leaves_the_messages_to_the_page(staff: Client, moved: Sync, trip: Trip) -> None:
    for place, words in (("ids", "Choose what the ids are of"), ("upload", "No file came with that")):
        address = reverse(f"admin:rosters_district_{place}", args=[trip.district.pk])
        answer = staff.post(address, headers={"X-Requested-With": "XMLHttpRequest"})
        assert answer.status_code == 204
        assert words in page(staff, answer.headers["X-Goes-To"])
