"""`manage.py rebuild_roster`: a live roster that `verify_rosters` finds to be another than the accepted one is written
anew from its snapshot."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rosters import syncs, verifying
from rosters.models import District


class Command(BaseCommand):
    help = "Write the live roster of a district anew from its accepted snapshot. Without --yes only say what is wrong."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("site_code")
        parser.add_argument("--yes", action="store_true", help="Do it.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            district = District.with_leaving.select_related("snapshot").get(site_code=options["site_code"])
        except District.DoesNotExist:
            raise CommandError(f"No district has the site code {options['site_code']}.") from None
        if not district.version:
            raise CommandError("This district has no live roster yet: there is nothing to build it from.")
        faults = list(verifying.live_faults(district))
        self.stdout.write(f"{district.site_code}: version {district.version}, {'; '.join(faults) or 'as accepted'}")
        if not options["yes"]:
            self.stdout.write("Nothing was written. Add --yes to build the live roster anew from its snapshot.")
            return
        try:
            records = syncs.rebuild(district, by=syncs.keyboard())
        except syncs.DecisionRefused as refused:
            raise CommandError(str(refused)) from None
        except syncs.StillWrong as wrong:
            raise CommandError(
                f"Nothing was written: the stored snapshot is not what was accepted either ({wrong}). "
                "Bring its files back from a backup, then try again."
            ) from None
        self.stdout.write(f"{records:,} records were written; the live roster is what was accepted.")
