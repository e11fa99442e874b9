"""`manage.py make_district OUT.zip --users N`: realistic made-up districts, with known differences between days."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rosters import making


class Command(BaseCommand):
    help = (
        "Write a made-up district as a OneRoster zip. --days 2 writes OUT-day2.zip as well, --rollover OUT-rollover.zip; what "
        "differs stands beside it as JSON."
    )
    requires_system_checks: list[str] = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        # --version is OneRoster's here, not Django's.
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("out", type=Path, metavar="OUT.zip")
        parser.add_argument("--users", type=int, default=1000, help="People; at least 60.")
        parser.add_argument("--days", type=int, choices=(1, 2), default=1, help="2: also the day after.")
        parser.add_argument("--change", type=float, default=0.01, help="Share of records that differ on the day after.")
        parser.add_argument("--rollover", action="store_true", help="Also the school year after.")
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--version", choices=("1.1", "1.2"), default="1.1", help="Of OneRoster.")
        parser.add_argument("--today", type=date.fromisoformat, default=None, help="The day that the district is made for.")

    def handle(self, *args: Any, **options: Any) -> None:
        out: Path = options["out"]
        if out.suffix != ".zip":
            raise CommandError("OUT must end with .zip.")
        today, seed = options["today"] or date.today(), options["seed"]
        first = making.make_roster(users=options["users"], seed=seed, today=today)
        self._write(out, first, options["version"])
        if options["days"] == 2:
            second, differences = making.next_day(first, change=options["change"], seed=seed + 1)
            self._write(_beside(out, "day2"), second, options["version"])
            _beside(out, "day2").with_suffix(".json").write_text(json.dumps(differences, indent=1))
        if options["rollover"]:
            year = making.rollover(first, seed=seed + 2, today=today)
            self._write(_beside(out, "rollover"), year, options["version"])
            _beside(out, "rollover").with_suffix(".json").write_text(json.dumps(_differences(first, year), indent=1))

    def _write(self, path: Path, tables: making.Tables, version: str) -> None:
        making.write_zip(path, making.as_1_2(tables) if version == "1.2" else tables, version=version)
        self.stdout.write(f"{path}: {', '.join(f'{len(frame):,} {name}' for name, frame in tables.items())}")


def _beside(out: Path, what: str) -> Path:
    return out.with_name(f"{out.stem}-{what}.zip")


def _differences(before: making.Tables, after: making.Tables) -> dict[str, dict[str, list[str]]]:
    """{table: {"added", "updated", "removed": ids}}, told by comparing the written rows."""
    found = {}
    for table in before:
        old, new = before[table], after[table]
        both = new.join(old, on="sourcedId", how="semi")
        found[table] = {
            "added": new.join(old, on="sourcedId", how="anti")["sourcedId"].to_list(),
            "updated": both.join(old, on=old.columns, how="anti")["sourcedId"].to_list(),
            "removed": old.join(new, on="sourcedId", how="anti")["sourcedId"].to_list(),
        }
    return {table: kinds for table, kinds in found.items() if any(kinds.values())}
