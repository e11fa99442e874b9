"""`manage.py demo_servers`: the servers of the demo's two connections, on loopback, until SIGTERM or Ctrl-C.

Their ports may be taken by somebody else; then they take others, and the connections that lead to them are told so
before they open.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connections as databases

from connections.demo import DELIVERY_FOLDER
from connections.demo.api_server import ApiServer, base_url
from connections.demo.days import Days, lay_out, today
from connections.demo.doors import HOST, Accounts
from connections.demo.sftp_server import SftpServer
from connections.models import Connection


class Command(BaseCommand):
    help = "Serve the demo's made-up districts by SFTP and as a OneRoster API, on this machine only, until stopped."

    def handle(self, *args: Any, **options: Any) -> None:
        asked: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: asked.append(number))
        folder = settings.PORTAL_DATA_DIR / "demo"
        accounts = Accounts.load(folder)
        if accounts is None:
            raise CommandError("There are no demo connections to serve; `manage.py make_demo_connections` makes them.")
        cedar, mesa = (_days(folder / f"{site}-good.zip", accounts) for site in ("1001", "1003"))
        sftp = SftpServer(
            settings.DEMO_SFTP_PORT,
            folder / "sftp",
            key_folder=folder,
            user=accounts.user,
            password=accounts.password,
        )
        api = ApiServer(settings.DEMO_API_PORT, mesa.on, key=accounts.key, secret=accounts.secret)
        lead_to(accounts, sftp.port, api.port)
        accounts.at(sftp.port, api.port).save(folder)
        databases.close_all()  # it may run for weeks
        with sftp.open(), api.open():
            lay_out(cedar.on(day := today()), folder / "sftp" / DELIVERY_FOLDER)
            self.stdout.write(
                f"The demo's servers: sftp://{accounts.user}@{HOST}:{sftp.port} and {base_url(api.port)}."
                f" Passwords are in {folder / 'servers.json'}."
            )
            self.stdout.flush()
            while not asked:
                if day != today():
                    lay_out(cedar.on(day := today()), folder / "sftp" / DELIVERY_FOLDER)
                time.sleep(0.2)


def _days(delivery: Path, accounts: Accounts) -> Days:
    try:
        return Days(delivery, accounts.since)
    except FileNotFoundError:
        raise CommandError(f"{delivery} is not there any more; the demo has nothing to serve.") from None


def lead_to(accounts: Accounts, sftp_port: int, api_port: int) -> None:
    """Have the demo's connections lead to these ports, unless somebody has pointed them elsewhere."""
    Connection.objects.filter(uid=accounts.sftp_connection, host=HOST).update(port=sftp_port)
    Connection.objects.filter(uid=accounts.api_connection, base_url=base_url(accounts.api_port)).update(
        base_url=base_url(api_port)
    )
