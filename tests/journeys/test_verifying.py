"""The witness: what somebody's hand does to a live roster is found within a day, told, and mended."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ

from rosters import making, syncs, tasks
from rosters.models import VERIFIED_FOR, VERIFYING_FOR, AuditEvent, Demographics, District, Enrollment, Snapshot, User
from tests.journeys.trip import Trip, first_day, indexed, made_once, verified

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Stands

pytestmark = pytest.mark.django_db

NOW = timezone.now()
DAY = timedelta(days=1)


def _built(trip: Trip) -> None:
    trip.go(trip.send(first_day()))
    trip.go(trip.send(making.next_day(first_day(), change=0.1, seed=3)[0]))


cedar = made_once(_built)


@pytest.fixture
def live(cedar: Stands, data_dir: Path) -> Trip:
    return cedar(data_dir)


def _one(model: type[User | Enrollment]) -> int:
    return int(model.objects.filter(status="active").values_list("pk", flat=True)[0])


def _renamed() -> None:
    User.objects.filter(pk=_one(User)).update(given_name="Somebody else")


def _taken_out() -> None:
    Enrollment.objects.filter(pk=_one(Enrollment)).delete()


def _taken_away() -> None:
    Enrollment.objects.filter(pk=_one(Enrollment)).update(status="tobedeleted")


def _hung_elsewhere() -> None:
    Enrollment.objects.filter(pk=_one(Enrollment)).update(user_id=User.objects.order_by("-pk").values("pk")[:1])


def _put_in() -> None:
    enrollment = Enrollment.objects.get(pk=_one(Enrollment))
    enrollment.pk, enrollment.sourced_id = 999_999_999, "stray"
    enrollment.save(force_insert=True)


def _not_to_be_found() -> None:
    User.objects.filter(pk=_one(User)).update(search_name="nobody")


def _demographics_of_another() -> None:
    first, second = Demographics.objects.filter(status="active")[:2]
    Demographics.objects.filter(pk=first.pk).update(user_id=second.user_id)


HANDS = (_renamed, _taken_out, _taken_away, _hung_elsewhere, _put_in, _not_to_be_found, _demographics_of_another)


@pytest.mark.parametrize("hand", HANDS, ids=lambda hand: hand.__name__.strip("_"))
def test_whatever_a_hand_does_is_found_and_mended(live: Trip, hand: Callable[[], None]) -> None:
    assert syncs.verify(live.district.pk, NOW) == []
    hand()
    faults = syncs.verify(live.district.pk, NOW + DAY)
    assert faults
    assert "Somebody" not in str(faults) and "stray" not in str(faults), "no roster value"
    assert syncs.rebuild(live.district, by=live.by) == sum(
        facts["rows"]
        for facts in live.district.snapshot.tables.values()  # type: ignore[union-attr]
    )
    live.verify()
    live.district.refresh_from_db()
    assert live.district.verification_faults == [] and live.district.verified_at is not None
    actions = AuditEvent.objects.filter(district=live.district, subject=f"district {live.district.pk}").order_by("pk")
    assert list(actions.values_list("action", flat=True)) == [
        "roster.differs", "roster.rebuilt", "roster.as_accepted",
    ]  # fmt: skip


def test_a_rebuilt_roster_goes_on_as_ever(live: Trip, tables: making.Tables) -> None:
    before = indexed()
    died = syncs.store().sync_folder(live.district.pk, 0)  # what a rebuild that was killed leaves behind
    died.mkdir(parents=True)
    syncs.tidy(NOW)
    assert died.exists()
    syncs.tidy(NOW + 2 * DAY)
    assert not died.exists()
    others = District.objects.create(name="Maple", site_code="1002")
    User.objects.filter(pk=_one(User)).update(district=others, given_name="Untouched")
    syncs.rebuild(live.district, by=live.by)
    assert indexed() == before and not died.exists()
    assert User.objects.get(district=others).given_name == "Untouched"
    User.objects.filter(district=others).delete()
    live.verify()
    live.go(live.send(tables))
    assert live.send(tables).status == "unchanged"
    latest = live.district.syncs.filter(status="applied").latest("applied_at")
    live.go(live.undo(latest))


@pytest.mark.looks
def test_it_is_told_on_the_desk_and_nothing_goes_live_by_itself(live: Trip, tables: making.Tables) -> None:
    District.objects.update(applies_automatically=True)
    syncs.verify(live.district.pk, timezone.now())
    staff = Client()
    staff.force_login(live.by)
    at = f"/admin/rosters/district/{live.district.pk}/change/"
    assert b"not what was accepted" not in staff.get("/admin/").content + staff.get(at).content
    assert b"verified" in staff.get(at).content
    _taken_out()
    syncs.verify(live.district.pk, NOW + DAY)
    page = staff.get(at).content
    assert b"not what was accepted" in staff.get("/admin/").content and b"rebuild_roster 1001" in page
    sync = live.send(making.next_day(tables, change=0.01, seed=9)[0])
    assert not sync.may_apply_by_itself
    syncs.rebuild(live.district, by=live.by)
    sync.refresh_from_db()
    sync.district.refresh_from_db()
    assert sync.may_apply_by_itself


def test_what_is_kept_and_is_not_there_is_found(live: Trip) -> None:
    delivery = live.district.syncs.earliest("received_at").delivery
    assert delivery is not None
    original = syncs.store().original(live.district.pk, delivery.sha256)
    original.write_bytes(original.read_bytes()[:-1])
    assert syncs.verify(live.district.pk, NOW) == ["originals: 1 are missing, or are not as large as they came"]
    original.unlink()
    assert verified()[0] == 1
    first = Snapshot.objects.get(version=1)
    syncs.store().snapshot_path(live.district.pk, "users", first.tables["users"]["digest"]).unlink()
    assert syncs.verify(live.district.pk, NOW + DAY) == [
        "originals: 1 are missing, or are not as large as they came",
        "earlier versions: 1 are not whole, a file of theirs is missing",
    ]


def test_from_a_damaged_snapshot_nothing_is_built(live: Trip) -> None:
    assert live.district.snapshot is not None
    path = syncs.store().snapshot_path(live.district.pk, "users", live.district.snapshot.tables["users"]["digest"])
    first = Snapshot.objects.get(version=1)
    other = syncs.store().snapshot_path(live.district.pk, "users", first.tables["users"]["digest"])
    whole = path.read_bytes()
    path.write_bytes(other.read_bytes())
    _renamed()
    with pytest.raises(syncs.StillWrong):
        syncs.rebuild(live.district, by=live.by)
    assert User.objects.filter(given_name="Somebody else").exists(), "nothing was written"
    path.write_bytes(whole)
    syncs.rebuild(live.district, by=live.by)
    live.verify()


@pytest.mark.looks
def test_the_command_only_says_it_until_it_is_told_to_do_it(live: Trip) -> None:
    def said(*words: str) -> str:
        told = StringIO()
        call_command("rebuild_roster", *words, stdout=told)
        return told.getvalue()

    assert "as accepted" in said("1001")
    _taken_out()
    assert "enrollments: live has" in said("1001") and verified()[0] == 1
    assert "the live roster is what was accepted" in said("1001", "--yes") and verified()[0] == 0
    with pytest.raises(CommandError, match="No district has the site code 1O01"):
        call_command("verify_rosters", "1001", "1O01")
    with pytest.raises(CommandError, match="No district"):
        said("7")
    District.objects.create(name="Maple", site_code="1002")
    with pytest.raises(CommandError, match="no live roster yet"):
        said("1002", "--yes")


def test_nothing_is_rebuilt_while_something_goes_live(live: Trip, tables: making.Tables) -> None:
    sync = live.send(making.next_day(tables, change=0.1, seed=9)[0])
    syncs.approve(sync, by=live.by, plan_digest=sync.plan_digest)
    with pytest.raises(syncs.DecisionRefused):
        syncs.rebuild(live.district, by=live.by)
    syncs.apply(sync.pk)
    old = District.objects.select_related("snapshot").get()
    live.go(live.send(tables))
    with pytest.raises(syncs.DecisionRefused, match="meanwhile"):
        syncs.rebuild(old, by=live.by)
    live.verify()


# ------------------------------------------------------------------------------------------------------------ every day


def test_each_live_roster_has_its_turn_every_day_where_nothing_else_is_to_do(live: Trip, tables: making.Tables) -> None:
    second = Trip(live.folder, live.by, "Maple", "1002")
    second.go(second.send(tables))
    District.objects.create(name="Nothing yet", site_code="1003")
    assert syncs.to_verify(NOW) == live.district.pk
    assert syncs.verify(live.district.pk, NOW) == []
    assert syncs.to_verify(NOW) == second.district.pk
    assert syncs.verify(second.district.pk, NOW + timedelta(minutes=1)) == []
    assert syncs.to_verify(NOW + VERIFIED_FOR) is None
    assert syncs.verify(second.district.pk, NOW + VERIFIED_FOR) is None, "done lately"
    assert syncs.to_verify(NOW + DAY) == live.district.pk
    waiting = syncs.receive(second.district, live.folder / "sent.zip", origin="staff", name="x.zip", by=live.by)
    assert syncs.to_verify(NOW + DAY) is None, "a roster that comes is more urgent"
    syncs.prepare(waiting.pk)
    assert syncs.to_verify(NOW + DAY) == live.district.pk


def test_one_worker_verifies_and_one_that_died_is_followed_after_an_hour(live: Trip) -> None:
    assert live.district.start_verifying(NOW)
    assert syncs.verify(live.district.pk, NOW) is None
    assert syncs.to_verify(NOW) is None
    later = NOW + VERIFYING_FOR + timedelta(seconds=1)
    assert syncs.to_verify(later) == live.district.pk
    assert syncs.verify(live.district.pk, later) == []
    late: District = live.district
    late.verifying_since = NOW
    assert not late.mark_verified(later, ["late"]), "who comes late writes nothing"


def test_the_workers_do_it(live: Trip) -> None:
    tasks.recover()
    queued = [task.task["kwargs"] for task in OrmQ.objects.all() if "verify" in str(task.task["func"])]
    assert queued == [{"district_id": live.district.pk}]
    tasks.verify(district_id=live.district.pk)
    live.district.refresh_from_db()
    assert live.district.verified_at is not None
    tasks.recover()
    assert connection.in_atomic_block
    assert OrmQ.objects.count() == 1
