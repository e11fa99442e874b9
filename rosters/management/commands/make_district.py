"""A made-up district as a OneRoster zip, of any size, and if wanted the same district on a later day."""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from rosters import making
from rosters.oneroster import VERSIONS


class Command(BaseCommand):
    help = (
        "Write a made-up district as OUT.zip. --days N adds OUT-day2.zip, OUT-day3.zip, ..., --rollover adds"
        " OUT-rollover.zip; beside each stands a .json with what is different from the day before: per file how many"
        " records were added, updated and removed, and their ids. --new-ids adds OUT-new-ids.zip, the last day under"
        " other ids. The same arguments always give the same files."
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Here --version is OneRoster's, not Django's."""
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("out", type=Path, metavar="OUT.zip")
        parser.add_argument("--users", type=int, default=1000, help=f"how many people, at least {making.SMALLEST}")
        later = parser.add_mutually_exclusive_group()
        later.add_argument("--days", type=int, default=1, help="how many days, each as a zip of its own")
        later.add_argument("--rollover", action="store_true", help="also the district in the next school year")
        parser.add_argument("--new-ids", action="store_true", help="also the last day as another SIS would send it")
        parser.add_argument("--change", type=float, default=0.01, help="share of the rows that differ from day to day")
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--name", default="Cedar Grove Schools", help="what the district is called")
        parser.add_argument("--today", type=_day, help="a day of its school year; if not given, today")
        parser.add_argument("--version", choices=tuple(VERSIONS), default="1.1", help="of OneRoster")

    def handle(self, *args: Any, **options: Any) -> None:
        self.version, out = options["version"], options["out"]
        today = options["today"] or timezone.localdate()
        try:
            tables = making.make_roster(
                users=options["users"], seed=options["seed"], today=today, name=options["name"], version=self.version
            )
        except ValueError as problem:
            raise CommandError(str(problem)) from None
        self.write(out, tables)
        for day in range(2, options["days"] + 1):
            tables, differences = making.next_day(tables, change=options["change"], seed=options["seed"] + day)
            self.write(out.with_name(f"{out.stem}-day{day}.zip"), tables, differences)
        if options["rollover"]:
            tables, differences = making.rollover(tables, seed=options["seed"])
            self.write(out.with_name(f"{out.stem}-rollover.zip"), tables, differences)
        if options["new_ids"]:
            self.write(out.with_name(f"{out.stem}-new-ids.zip"), making.under_other_ids(tables))

    def write(self, path: Path, tables: making.Tables, differences: making.Differences | None = None) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            making.write_zip(path, tables, version=self.version)
        except OSError as reason:
            raise CommandError(f"{path} cannot be written: {reason.strerror}.") from None
        rows = sum(map(len, tables.values()))
        self.stdout.write(f"{path}: {len(tables['users']):,} people, {rows:,} rows")
        if differences is not None:
            path.with_suffix(".json").write_text(json.dumps(_counted(differences), indent=1) + "\n")


def _counted(differences: making.Differences) -> dict[str, Any]:
    """{"users": {"added": {"count": 2, "ids": [...]}, "updated": ..., "removed": ...}, ...}"""
    return {
        table: {kind: {"count": len(ids), "ids": ids} for kind, ids in kinds.items()}
        for table, kinds in differences.items()
    }


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("write the day as YYYY-MM-DD") from None
