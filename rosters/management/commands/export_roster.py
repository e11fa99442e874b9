"""`manage.py export_roster SITE_CODE OUT.zip`: the live roster, or an earlier one, as a zip of OneRoster CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from rosters import exporting, syncs
from rosters.models import District, Sync


class Command(BaseCommand):
    help = "Write the live roster of a district as a zip of OneRoster CSV. Importing it changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("site_code")
        parser.add_argument("out", type=Path, help="where the zip is written")
        parser.add_argument("--oneroster", choices=["1.1", "1.2"], default="1.1", help="version of the files")
        parser.add_argument("--sync", type=int, help="the roster that this sync made live, instead of today's")

    def handle(self, *args: Any, **options: Any) -> None:
        district = District.with_leaving.select_related("snapshot").filter(site_code=options["site_code"]).first()
        if district is None:
            raise CommandError("There is no district with that site code.")
        snapshot = district.snapshot
        if options["sync"]:
            sync = Sync.objects.select_related("result").filter(district=district, pk=options["sync"]).first()
            if sync is None or sync.result is None:
                raise CommandError("That sync of this district was not applied.")
            snapshot = sync.result
            if snapshot.forgotten_at:
                days = district.history_kept.days
                raise CommandError(f"That version was deleted: the history of this district is kept for {days} days.")
        if snapshot is None:
            raise CommandError("Nothing of this district is live yet.")
        try:
            file = options["out"].open("wb")
        except OSError as reason:
            raise CommandError(f"{options['out']} cannot be written: {reason.strerror}.") from None
        with file:
            exporting.write_zip(file, syncs.store().frames(district.pk, snapshot.tables), options["oneroster"])
        if options["verbosity"]:
            self.stdout.write(f"Wrote version {snapshot.version} of {district.name} to {options['out']}.")
