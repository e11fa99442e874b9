"""`manage.py make_demo_connections`: a working SFTP connection and a working API connection for the made-up districts,
and hours in which their people can book a call.

They lead to `manage.py demo_servers` on this machine. That is a private address, so each has an allowance for it, which
one colleague entered and another confirmed, as a district's server in its own network would need it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User as Staff
from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone

from connections.demo.api_server import base_url
from connections.demo.days import today
from connections.demo.doors import HOST, Accounts
from connections.demo.sftp_server import host_key
from connections.models import Allowance, Connection
from connections.onboarding.models import Availability
from rosters.models import AuditEvent, District

WEEKDAYS = [0, 1, 2, 3, 4]


class Command(BaseCommand):
    help = (
        "Give the demo's districts two connections to demo_servers. Does nothing where there are connections already."
    )

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        if Connection.objects.exists():
            self.stdout.write("There are connections already; those of the demo were not made.")
            return
        folder = settings.PORTAL_DATA_DIR / "demo"
        districts = {one.site_code: one for one in District.objects.filter(site_code__in=["1001", "1003"])}
        people = {one.username: one for one in Staff.objects.filter(username__in=["maria", "tom"])}
        zips = [folder / f"{site_code}-good.zip" for site_code in ("1001", "1003")]
        if len(districts) < 2 or len(people) < 2 or not all(path.exists() for path in zips):
            self.stdout.write("The demo was not made here, so it has no connections; `manage.py make_demo` makes it.")
            return
        now = timezone.now()
        accounts = Accounts.new(sftp_port=settings.DEMO_SFTP_PORT, api_port=settings.DEMO_API_PORT, since=today())
        sftp = Connection(
            district=districts["1001"],
            kind=Connection.Kind.SFTP,
            host=HOST,
            port=accounts.sftp_port,
            username=accounts.user,
            path="imagine/<site code>-*/literacy/*.zip",
            host_key_seen=str(host_key(folder)),
            schedule={"days": WEEKDAYS, "times": ["02:00"]},
        )
        sftp.keep_secret("password", accounts.password)
        api = Connection(
            district=districts["1003"],
            kind=Connection.Kind.REST,
            base_url=base_url(accounts.api_port),
            schedule={"days": WEEKDAYS, "times": ["03:00"]},
        )
        api.keep_secret("key", accounts.key)
        api.keep_secret("secret", accounts.secret)
        for connection in (sftp, api):
            _take_into_service(connection, now, maria=people["maria"], tom=people["tom"])
        hours = {str(day): [["09:00", "12:00"], ["13:00", "16:00"]] for day in WEEKDAYS}
        Availability.objects.get_or_create(staff=people["maria"], defaults={"weekly": hours})
        accounts.leading(str(sftp.uid), str(api.uid)).save(folder)
        self.stdout.write("Made two connections; `manage.py demo_servers` is what they lead to.")


def _take_into_service(connection: Connection, now: datetime, *, maria: Staff, tom: Staff) -> None:
    connection.created_at = now
    connection.save()
    allowance = Allowance.objects.create(
        connection=connection,
        network=f"{HOST}/32",
        reason="The demo’s own server, on this machine.",
        entered_by=maria,
        entered_at=now,
        expires_on=now.date() + timedelta(days=365),
    )
    allowance.confirm(now, tom)
    if connection.host_key_seen:
        connection.pin_host_key(now, connection.host_key_seen, maria)
    connection.activate(now, connection.due_after(now))
    AuditEvent.objects.create(
        at=now,
        by=maria,
        action="connection.added",
        district=connection.district,
        subject=f"connection {connection.pk}",
    )
