"""What a roster can do without of its people is not kept, where a district wants that: not in the live roster, not in
what tools read, not in what was found."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from django.core.management import call_command
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from rosters import making, syncs
from rosters.models import AuditEvent, Demographics, District, Sync, User
from rosters.normalising import without
from rosters.oneroster.normal import LISTED_REFERENCES, MAY_BE_LEFT_OUT, NORMAL, REFERENCES
from tests.journeys.trip import Trip, first_day, made_once
from tests.tools import tool

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

    from tests.conftest import Stands

pytestmark = pytest.mark.django_db
DEMOGRAPHICS = [key for key in MAY_BE_LEFT_OUT if key.startswith("demographics.")]


def _with_phones() -> making.Tables:
    tables = dict(first_day())
    tables["users"] = tables["users"].with_columns(phone=pl.lit("555 ") + pl.int_range(pl.len()).cast(pl.String))
    return tables


stands = made_once(lambda trip: trip.go(trip.send(_with_phones())))


@pytest.fixture
def trip(stands: Stands, data_dir: Path) -> Trip:
    """A district whose roster is live, with telephone numbers."""
    return stands(data_dir)


def keep_without(trip: Trip, *keys: str) -> None:
    assert syncs.keep_without(trip.district, keys, by=trip.by)


def page(browser: Client, address: str) -> str:
    return str(html.unescape(browser.get(address).content.decode()))


def test_it_leaves_with_the_next_delivery_which_nothing_holds(trip: Trip) -> None:
    assert User.objects.exclude(phone="").exists() and Demographics.objects.exclude(birth_date="").exists()
    keep_without(trip, "users.phone", "demographics")
    next_day = trip.send(_with_phones())
    assert (next_day.status, next_day.holds.count()) == ("ready", 0), "the same file, read otherwise now"
    trip.go(next_day)
    assert not User.objects.exclude(phone="").exists()
    assert not any(Demographics.objects.exclude(**{name: ""}).exists() for name in ("birth_date", "sex", "asian"))
    assert Demographics.objects.filter(status="active").exists()
    trip.send(_with_phones())
    assert Sync.objects.latest("pk").status == "unchanged"


def test_what_else_is_unusual_is_held_as_ever(trip: Trip) -> None:
    keep_without(trip, "users.phone")
    held = trip.send(making.without_school(_with_phones(), 0))
    assert held.status == "awaiting_review"
    codes = set(held.holds.values_list("code", flat=True))
    assert "SCHOOL_GONE" in codes and not {code for code in codes if "UPDATED" in code}


def test_people_under_new_ids_are_known_again_by_what_is_kept(trip: Trip) -> None:
    keep_without(trip, "users.identifier", "users.email", "users.phone")
    held = trip.send(making.under_other_ids(_with_phones()))
    assert "ID_CHURN" in set(held.holds.values_list("code", flat=True))
    assert len(syncs.known_again(held).collect()) > len(_with_phones()["users"])


def test_a_person_who_comes_or_changes_has_none_of_it(trip: Trip) -> None:
    keep_without(trip, "users.phone", "users.email")
    day = making.next_day(_with_phones(), change=0.1, seed=7)[0]
    trip.go(trip.send(day))
    assert not User.objects.filter(status="active").exclude(phone="", email="").exists()
    assert User.objects.exclude(given_name="").exists()


def test_an_undo_does_not_bring_it_back(trip: Trip) -> None:
    other = dict(_with_phones())
    other["users"] = other["users"].with_columns(phone=pl.lit("1"), middleName=pl.lit("Q"))
    done = trip.go(trip.send(other))
    keep_without(trip, "users.phone")
    trip.go(trip.undo(done))
    assert not User.objects.exclude(phone="").exists()
    assert not User.objects.filter(middle_name="Q").exists(), "all else is taken back"


def test_a_delta_and_a_sync_that_only_adds_leave_it_out_too(trip: Trip) -> None:
    keep_without(trip, "users.phone")
    path = trip.folder / "sent.zip"
    making.write_zip(path, making.next_day(_with_phones(), change=0.05, seed=2)[0])
    sync = syncs.receive(trip.district, path, origin="staff", name="add.zip", by=trip.by, additions_only=True)
    trip.go(syncs.prepare(sync.pk) or sync)
    assert not User.objects.exclude(phone="").exists(), "also of those who stay because it only adds"


def test_what_was_found_there_is_not_kept_either(trip: Trip, staff: Client) -> None:
    keep_without(trip, "users.email", "users.userIds", "users.metadata", "demographics")
    tables = dict(_with_phones())
    tables["users"] = tables["users"].with_columns(
        email=pl.lit("no-address-at-all"), userIds=pl.lit("no-ids-at-all"), **{"metadata.x": pl.lit("n" * 999)}
    )
    tables["demographics"] = tables["demographics"].with_columns(
        birthDate=pl.lit("soon-enough"), sex=pl.lit("zebra-like"), asian=pl.lit("quite-so")
    )
    sync = trip.send(tables)
    told = {(f.file, f.column): f for f in sync.findings.all()}
    for column in (
        ("users.csv", "email"),
        ("users.csv", "userIds"),
        *(("demographics.csv", c) for c in ("birthDate", "sex")),
    ):
        assert {place["value"] for place in told[column].places} == {""}, column
        assert all(place["line"] for place in told[column].places)
    csv = b"".join(staff.get(f"/admin/rosters/sync/{sync.pk}/findings.csv").streaming_content).decode()  # type: ignore[attr-defined]
    seen = page(staff, f"/admin/rosters/sync/{sync.pk}/change/")
    for text in (csv, seen):
        for value in ("no-address-at-all", "no-ids-at-all", "n" * 99, "soon-enough", "zebra-like", "quite-so"):
            assert value not in text, value


def test_the_line_of_a_record_and_tools_do_not_show_it(trip: Trip, staff: Client, rita: Staff) -> None:
    keep_without(trip, "users.phone")
    someone = User.objects.filter(role="student").earliest("pk")
    line = page(staff, f"/admin/rosters/user/{someone.pk}/history/?line")
    assert "(not kept)" in line and someone.phone not in line
    trip.go(trip.send(_with_phones()))
    told = tool(trip.district, staff=rita).get("/api/v1/districts/1001").json()
    assert told["not_kept"] == ["users.phone"]
    out = trip.folder / "out.zip"
    call_command("export_roster", "1001", str(out), verbosity=0)
    assert "555 " not in json.dumps({"zip": out.read_bytes().decode("latin-1")})


def test_a_file_that_is_not_kept_may_stop_coming(trip: Trip) -> None:
    keep_without(trip, "demographics")
    trip.go(trip.send(_with_phones()))
    tables = {name: frame for name, frame in _with_phones().items() if name != "demographics"}
    assert not trip.send(tables).holds.exists()


def test_it_is_chosen_on_the_page_field_by_field(trip: Trip, staff: Client, rita: Staff) -> None:
    District.objects.update(products=["literacy"])
    at = f"/admin/rosters/district/{trip.district.pk}/kept/"
    people = User.objects.filter(status="active").count()
    seen = page(staff, at)
    assert "All that comes is kept." in seen and f'<td class="n">{people}</td>' in seen
    answer = staff.post(at, {"not_kept": ["users.phone", "demographics"]}, follow=True)
    assert "Not kept: phone, all demographics." in html.unescape(answer.content.decode())
    trip.district.refresh_from_db()
    assert trip.district.not_kept == ["users.phone", *DEMOGRAPHICS]
    event = AuditEvent.objects.get(district=trip.district, action="district.changed")
    assert (event.by, event.before, event.after["not_kept"][0]) == (trip.by, {"not_kept": []}, "users.phone")
    assert "That was so already." in staff.post(at, {"not_kept": trip.district.not_kept}, follow=True).content.decode()

    for wrong, told in (
        (["users.email"], "Literacy cannot do without email"),
        (["users.givenName"], "cannot do without"),
    ):
        refused = staff.post(at, {"not_kept": wrong})
        assert refused.status_code == 409 and told in refused.content.decode()
    onlooker = Client()
    onlooker.force_login(rita)
    assert "<button" not in page(onlooker, at).split('id="content-main"')[1]
    assert onlooker.post(at, {"not_kept": []}).status_code == 403
    trip.district.refresh_from_db()
    assert trip.district.not_kept == ["users.phone", *DEMOGRAPHICS]
    assert "Of its people is not kept: phone, all demographics." in page(
        staff, f"/admin/rosters/district/{trip.district.pk}/change/"
    )


def test_a_product_comes_only_where_all_is_kept_that_it_needs(trip: Trip, staff: Client) -> None:
    from rosters.admin.district_form import DistrictForm

    keep_without(trip, "users.email")
    form = DistrictForm({"products": ["math"]}, instance=District.objects.get())
    assert form.errors["products"] == ["Math needs email of users, which is not kept of this district."]


def test_a_plan_that_waits_is_to_be_checked_again(trip: Trip, staff: Client) -> None:
    held = trip.send(making.without_school(_with_phones(), 0))
    keep_without(trip, "users.phone")
    assert "settings have changed since" in page(staff, f"/admin/rosters/sync/{held.pk}/change/")


def test_nothing_can_be_left_out_by_which_records_are_told_apart() -> None:
    for key in MAY_BE_LEFT_OUT:
        table, _, column = key.partition(".")
        assert column in NORMAL[table][1:] and column not in REFERENCES[table], key
    needed = {("users", name) for name in ("username", "givenName", "familyName", "role", "grades", "enabledUser")}
    assert not needed & {tuple(key.split(".")) for key in MAY_BE_LEFT_OUT}
    assert set(LISTED_REFERENCES["users"]) == {"agentSourcedIds"}, "who is whose parent may be left out"


@settings(max_examples=60, deadline=None)
@given(
    chosen=st.sets(st.sampled_from(MAY_BE_LEFT_OUT)),
    cells=st.lists(st.tuples(*(st.sampled_from(["", "x", "y"]) for _ in NORMAL["users"])), max_size=4),
)
def test_only_the_chosen_cells_are_emptied(chosen: set[str], cells: list[tuple[str, ...]]) -> None:
    users = pl.DataFrame(cells, schema=dict.fromkeys(NORMAL["users"], pl.String), orient="row")
    kept = without({"users": users}, chosen)["users"]
    for row, before in zip(kept.iter_rows(), cells, strict=True):
        for name, now, was in zip(NORMAL["users"], row, before, strict=True):
            assert now == ("" if f"users.{name}" in chosen else was)
    if all(
        not cell for row in cells for name, cell in zip(NORMAL["users"], row, strict=True) if f"users.{name}" in chosen
    ):
        assert kept is users, "what holds nothing of it costs nothing"
