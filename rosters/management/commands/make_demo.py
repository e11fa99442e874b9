"""`manage.py make_demo`: three made-up districts with a history, so that every page has something true to show.

Everything goes through the same conductor as real work; only the clock is set back. It is one transaction: an
interrupted demo leaves nothing, and the next start makes it. Run again, it does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.contrib.auth.models import User as Staff
from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone

from rosters import making, syncs
from rosters.models import AuditEvent, Delivery, District, Sync

DISTRICTS = (
    ("1001", "Cedar Grove", 1500, "America/Chicago", ["literacy", "math"]),
    ("1002", "Harbor City", 900, "America/New_York", ["literacy"]),
    ("1003", "Mesa Valley", 400, "America/Denver", ["literacy"]),
)


class Command(BaseCommand):
    help = "Make three made-up districts with a history. Does nothing where there are districts already."

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        if District.objects.exists():
            self.stdout.write("There are districts already; the demo was not made.")
            return
        folder = settings.PORTAL_DATA_DIR / "demo"
        folder.mkdir(parents=True, exist_ok=True)
        now = timezone.now()
        maria = _staff("maria", "Maria", "Santos", "manager")
        tom = _staff("tom", "Tom", "Becker", "reviewer")
        for index, (site_code, name, users, zone, products) in enumerate(DISTRICTS):
            owner = maria if index != 1 else tom
            district = District.objects.create(
                site_code=site_code,
                name=f"{name} Schools",
                time_zone=zone,
                owner=owner,
                created_at=now - timedelta(days=30),
                products=products,
            )
            AuditEvent.objects.create(
                at=now - timedelta(days=30),
                by=owner,
                action="district.added",
                district=district,
                subject=f"district {district.pk}",
            )
            _history(district, name, users, index, folder, now, owner)
        self.stdout.write(f"Made three districts; zips to upload lie in {folder}.")


def _staff(username: str, first: str, last: str, group: str) -> Staff:
    """A colleague to look after districts; without a password, so nobody logs in as one."""
    account, _ = Staff.objects.get_or_create(
        username=username,
        defaults={
            "first_name": first,
            "last_name": last,
            "email": f"{username}@portal.example",
            "is_staff": True,
        },
    )
    account.set_unusable_password()
    account.save()
    account.groups.add(Group.objects.get_or_create(name=group)[0])
    return account


def _history(district: District, name: str, users: int, index: int, folder: Path, now: datetime, owner: Staff) -> None:
    """Some weeks of deliveries, each district ending in another state."""
    tables = making.make_roster(users=users, seed=11 + index, today=now.date(), name=name)
    days = list(_mornings(now, 24 - 4 * index))
    for number, morning in enumerate(days):
        _deliver(district, tables, folder, morning, owner)
        last = tables
        tables, _ = making.next_day(tables, change=0.012, seed=100 * index + number)
    _leave_zips(district, tables, folder)
    if index == 0:
        _deliver(district, making.without_school(tables, 2), folder, now - timedelta(hours=3), owner, decide=False)
    elif index == 1:
        _broken(district, tables, folder, now - timedelta(hours=5), owner)
    else:
        _try_next_year(district, folder, now - timedelta(days=2), owner)
        _deliver(district, dict(reversed(last.items())), folder, now - timedelta(hours=2), owner)


def _mornings(now: datetime, days: int) -> Iterator[datetime]:
    """Early mornings, every third day."""
    for back in range(days, 0, -3):
        yield (now - timedelta(days=back)).replace(hour=8, minute=4, second=0, microsecond=0)


def _deliver(
    district: District, tables: making.Tables, folder: Path, at: datetime, by: Staff, *, decide: bool = True
) -> Sync:
    path = folder / f"{district.site_code}.zip"
    making.write_zip(path, tables)
    return _send(district, path, f"OneRoster-{at:%Y%m%d}.zip", at, by, decide=decide)


def _send(district: District, path: Path, name: str, at: datetime, by: Staff, *, decide: bool = True) -> Sync:
    sync = syncs.receive(district, path, origin=Delivery.Origin.STAFF, name=name, by=by, now=at)
    path.unlink()
    done = syncs.prepare(sync.pk, now=at + timedelta(seconds=20)) or sync
    if decide and done.status in (Sync.Status.READY, Sync.Status.AWAITING_REVIEW):
        syncs.approve(done, by=by, plan_digest=done.plan_digest, now=at + timedelta(minutes=40))
        done = syncs.apply(done.pk, now=at + timedelta(minutes=41)) or done
    return done


def _broken(district: District, tables: making.Tables, folder: Path, at: datetime, by: Staff) -> None:
    """An export that died half way: the zip is cut off."""
    path = folder / f"{district.site_code}.zip"
    making.write_zip(path, tables)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    _send(district, path, f"OneRoster-{at:%Y%m%d}.zip", at, by)


def _try_next_year(district: District, folder: Path, at: datetime, by: Staff) -> None:
    """A dry run of next year's file, as if it came when the school year begins."""
    path = folder / f"{district.site_code}-next-year.zip"
    first_of_august = date(at.year + (at.month >= 8), 8, 1)
    with path.open("rb") as file:
        sync = syncs.receive(
            district, file, origin=Delivery.Origin.STAFF, name="OneRoster-next-year.zip", by=by, now=at,
            dry_run=True, as_if_on=first_of_august,
        )  # fmt: skip
    syncs.prepare(sync.pk, now=at + timedelta(seconds=20))


def _leave_zips(district: District, tables: making.Tables, folder: Path) -> None:
    """Zips for the tour: a normal next day, one in which a school is missing, one that comes from another SIS, and one
    of the next school year."""
    tomorrow, _ = making.next_day(tables, change=0.012, seed=999)
    making.write_zip(folder / f"{district.site_code}-good.zip", tomorrow)
    making.write_zip(folder / f"{district.site_code}-day2.zip", making.without_school(tomorrow, 1))
    making.write_zip(folder / f"{district.site_code}-new-sis.zip", making.under_other_ids(tomorrow))
    making.write_zip(folder / f"{district.site_code}-next-year.zip", making.rollover(tomorrow, seed=998)[0])
