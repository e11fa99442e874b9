"""`manage.py forget_old`: delete now what workers delete every night (`rosters.syncs.forgetting`), or only say it."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rosters import syncs
from rosters.explaining import counted
from rosters.models import District


class Command(BaseCommand):
    help = "Delete what its time is over for, as every night; with --dry-run only say what that is."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("site_codes", nargs="*", help="Only these districts.")
        parser.add_argument("--dry-run", action="store_true", help="Delete nothing, and say what would be.")

    def handle(self, *args: Any, **options: Any) -> None:
        districts = District.with_leaving.order_by("site_code")
        if options["site_codes"]:
            districts = districts.filter(site_code__in=options["site_codes"])
        if unknown := set(options["site_codes"]) - set(districts.values_list("site_code", flat=True)):
            raise CommandError(f"No district has the site code {', '.join(sorted(unknown))}.")
        for district in districts:
            found = syncs.to_forget(district) if options["dry_run"] else syncs.forget(district.pk)
            self.stdout.write(f"{district.site_code}: {_told(found)}")


def _told(found: syncs.Forgotten | None) -> str:
    if found is None:
        return "something goes live just now; try again later"
    history = {"original": found.deliveries, "difference": found.syncs, "version": found.versions}
    parts = [counted(count, word) for word, count in history.items() if count]
    lines = [f"{', '.join(parts)} from before {found.history_before:%Y-%m-%d}"] if parts else []
    if found.records:
        left = ", ".join(f"{count:,} {table}" for table, count in found.records.items())
        lines.append(f"{left} that left before {found.left_before:%Y-%m-%d}")
    return "; ".join(lines) or "nothing is due"
