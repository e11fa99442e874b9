"""`manage.py verify_rosters`: every live roster equals its accepted snapshot, and what is kept is there."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rosters import verifying
from rosters.models import District


class Command(BaseCommand):
    help = "Recompute that every live roster equals its accepted snapshot. Exit code 1 if one does not."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("site_codes", nargs="*", help="Only these districts.")

    def handle(self, *args: Any, **options: Any) -> None:
        districts = District.with_leaving.select_related("snapshot").order_by("site_code")
        if options["site_codes"]:
            districts = districts.filter(site_code__in=options["site_codes"])
        if unknown := set(options["site_codes"]) - set(districts.values_list("site_code", flat=True)):
            raise CommandError(f"No district has the site code {', '.join(sorted(unknown))}.")
        wrong = 0
        for district in districts:
            faults = verifying.faults_of(district)
            wrong += bool(faults)
            version = f"version {district.version}" if district.version else "no roster yet"
            self.stdout.write(f"{district.site_code}: {version}, {'; '.join(faults) if faults else 'as accepted'}")
        sys.exit(1 if wrong else 0)
