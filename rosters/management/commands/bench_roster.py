"""How fast the portal is on this machine, beside a plain Django importer and what the machine could do at best."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from argparse import ArgumentParser
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import django
import polars
from django.core.management.base import BaseCommand, CommandError

from rosters.management.benchmarks import report
from rosters.management.benchmarks.places import Database, Place, Postgres, Sqlite, found_postgres
from rosters.management.benchmarks.report import CASES, Case

FULL, QUICK = 100_000, 10_000


class Command(BaseCommand):
    help = (
        "Measure our import, a plain Django importer and the bare limits on the same made-up data in turns, each in a"
        " process of its own; print medians, ratios and targets. Ratios hold only for the size they are set for"
        f" ({FULL:,} people); absolute times only for this machine and this hour."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        size = parser.add_mutually_exclusive_group()
        size.add_argument("--users", type=int, default=FULL, help=f"people of the made-up district, default {FULL}")
        size.add_argument("--quick", dest="users", action="store_const", const=QUICK, help=f"{QUICK} people")
        parser.add_argument("--rounds", type=int, default=3)
        parser.add_argument(
            "--only", nargs="+", choices=[case.name for case in CASES], metavar="CASE",
            help="measure these only: %(choices)s (the first load always runs, the others need it)",
        )  # fmt: skip
        parser.add_argument(
            "--ours-only", action="store_true", help="leave the plain importer out: for very large districts"
        )
        parser.add_argument("--databases", nargs="+", choices=("sqlite", "postgresql"), help="default: those there are")
        parser.add_argument(
            "--postgres", metavar="URL", help="a server where we may create databases; default: look for one"
        )
        parser.add_argument("--json", type=Path, metavar="OUT", help="write every single measurement there")
        parser.add_argument("--markdown", type=Path, metavar="OUT", help="write the table there")

    def handle(self, *args: Any, **options: Any) -> None:
        self.measured: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
        cases = [case for case in CASES if not options["only"] or case.name in ("first", *options["only"])]
        load_before = os.getloadavg()
        with tempfile.TemporaryDirectory(prefix="roster-bench-") as folder, ExitStack() as closing:
            scratch = Path(folder)
            databases = self.databases(scratch, options["databases"], options["postgres"])
            for database in databases:
                closing.callback(database.close)
                self.measure(database.template, "prepare")
            self.tell(f"making zips for {options['users']:,} people")
            rows = self.measure(databases[0].template, "zips", folder, str(options["users"]))["base"]
            for number in range(1, options["rounds"] + 1):
                for database in databases:
                    what = f"round {number}, {database.name}"
                    self.round(database, cases, scratch, what, plain_too=not options["ours_only"])
            versions = ", ".join(database.version() for database in databases)
        heading = (
            f"{options['users']:,} people, {rows:,} rows, medians of {options['rounds']}; {os.cpu_count()} cores, load"
            f" {load_before[0]:.1f} before and {os.getloadavg()[0]:.1f} after; Python {platform.python_version()},"
            f" Django {django.__version__}, polars {polars.__version__}, {versions}"
        )
        self.show(heading, options)

    def databases(self, scratch: Path, names: list[str] | None, url: str | None) -> list[Database]:
        found: list[Database] = [] if names and "sqlite" not in names else [Sqlite(scratch)]
        if names is None or "postgresql" in names:
            url = url or found_postgres()
            if url:
                found.append(Postgres(scratch, url))
            elif names:
                raise CommandError("No PostgreSQL lets us in; name one with --postgres URL.")
            else:
                self.tell("NOT MEASURED ON POSTGRESQL: no server lets us in; name one with --postgres URL")
        return found

    def round(self, database: Database, cases: list[Case], scratch: Path, what: str, *, plain_too: bool) -> None:
        """All cases one after the other, ours and the plain importer in turns, each in its own database."""
        with database.fresh() as ours, database.fresh() as plain:
            for case in cases:
                self.tell(f"{what}: {case.title}")
                path = str(scratch / f"{case.zip}.zip")
                found = self.measure(ours, "ours", path, case.district)
                self.hold_to_account(case, found, ours)
                self.measured[database.name, case.name, "ours"].append(found)
                if plain_too:
                    self.measured[database.name, case.name, "plain"].append(
                        self.measure(plain, "plain", path, case.district)
                    )
                if case.limit:
                    with database.fresh() as bare:
                        self.measured[database.name, case.name, "limit"].append(self.measure(bare, case.limit, path))
                if case.name == "rollover":
                    pages = self.measure(ours, "pages", str(found["sync"]))
                    self.measured[database.name, "pages", "ours"].append(pages)
                    reads = self.measure(ours, "reads", str(found["sync"]))
                    self.measured[database.name, "reads", "ours"].append(reads)

    def hold_to_account(self, case: Case, found: dict[str, Any], place: Place) -> None:
        """A fast import that is wrong is worth nothing."""
        if found["status"] != case.status:
            raise CommandError(f"{case.title}: ours ended as {found['status']}, not {case.status}.")
        verified = place.run("manage.py", "verify_rosters")
        if verified.returncode:
            raise CommandError(f"{case.title}: verify_rosters found\n{verified.stdout}{verified.stderr}")

    def measure(self, place: Place, what: str, *arguments: str) -> dict[str, Any]:
        done = place.run("-m", "rosters.management.benchmarks", what, *arguments)
        if done.returncode:
            raise CommandError(f"{what} {' '.join(arguments)} failed:\n{done.stderr}")
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def tell(self, what: str) -> None:
        self.stderr.write(what)

    def show(self, heading: str, options: dict[str, Any]) -> None:
        lines = report.lines(self.measured, options["users"])
        self.stdout.write(f"{heading}\n\n{report.as_text(lines)}")
        if options["json"]:
            every = {" / ".join(key): found for key, found in self.measured.items()}
            options["json"].write_text(json.dumps({"heading": heading, "measured": every}, indent=1) + "\n")
        if options["markdown"]:
            options["markdown"].write_text(report.as_markdown(lines, heading))
