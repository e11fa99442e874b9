"""`check-roster PATH`, also `manage.py check_roster PATH`: the whole check on a laptop; no database, nothing stored."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from datetime import date
from pathlib import Path
from typing import Any, NoReturn, TextIO

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from rosters.explaining import checked_in_words
from rosters.findings import Finding, Findings
from rosters.frames import CheckOptions, Delivered
from rosters.management import unreadable
from rosters.oneroster import VERSIONS
from rosters.oneroster.products import PRODUCTS
from rosters.progress import Meter
from rosters.reading import read
from rosters.storing import formula_safe
from rosters.validating import check

NO_ERRORS, ERRORS, UNREADABLE = 0, 1, 2


class Command(BaseCommand):
    help = "Check a OneRoster zip, folder or CSV file. Exit code 0: no errors; 1: errors; 2: it cannot be read."
    requires_system_checks: list[str] = []
    suppressed_base_arguments = {"--settings", "--pythonpath", "--traceback", "--verbosity"}

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        # Django's own --version tells Django's version; here the word means OneRoster's.
        parser = super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)
        parser.prog = parser.prog.strip()
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", type=Path, help="A zip, a folder of CSV files, or one CSV file.")
        parser.add_argument(
            "--product", choices=sorted(PRODUCTS), default="", help="Check what this product asks as well."
        )
        parser.add_argument(
            "--version", choices=sorted(VERSIONS), default="", help="Read as this version of OneRoster."
        )
        parser.add_argument("--json", metavar="FILE", help="Write the result as JSON; - is standard output.")
        parser.add_argument("--csv", metavar="FILE", help="Write every place of every finding as CSV.")

    def handle(self, *args: Any, **options: Any) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that cannot show a letter gets its code
        path: Path = options["path"]
        if why := unreadable(path):
            self._stop(why)
        meter = Meter(sys.stderr)
        delivered = read(path, version=options["version"], progress=meter)
        products = (options["product"],) if options["product"] else ()
        checked = check(delivered, options=CheckOptions(today=date.today(), products=products), progress=meter)
        meter.done()
        result = _as_json(delivered, checked.findings)
        try:
            self._write(result, checked.findings, options["json"], options["csv"])
        except OSError as reason:
            self._stop(f"The result cannot be written to {reason.filename}: {reason.strerror}.")
        try:
            if options["json"] == "-":
                self.stdout.write(json.dumps(result, indent=2))
            else:
                self._tell(checked_in_words(delivered, checked), result["tables"], checked.findings)
        except BrokenPipeError:  # whoever reads has seen enough; Python must not try again when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(UNREADABLE if not delivered.readable else ERRORS if result["errors"] else NO_ERRORS)

    def _stop(self, why: str) -> NoReturn:
        self.stderr.write(why)
        sys.exit(UNREADABLE)

    def _write(self, result: dict[str, Any], findings: Findings, as_json: str | None, as_csv: str | None) -> None:
        if as_csv:
            with Path(as_csv).open("w", newline="", encoding="utf-8") as file:
                _write_csv(file, findings)
        if as_json and as_json != "-":
            Path(as_json).write_text(json.dumps(result, indent=2, ensure_ascii=False), encoding="utf-8")

    def _tell(self, sentence: str, tables: dict[str, int], findings: Findings) -> None:
        self.stdout.write(sentence)
        for table, rows in tables.items():
            self.stdout.write(f"  {table:20} {rows:>10,} rows")
        for finding in findings:
            self._tell_finding(finding)

    def _tell_finding(self, finding: Finding) -> None:
        where = ", ".join(w for w in (finding.file, finding.column) if w)
        self.stdout.write(
            f"\n{finding.severity.upper()} {finding.code} ({finding.count:,}x) {where}\n  {finding.message}"
        )
        for line, value in finding.places.head(3).iter_rows():
            self.stdout.write(f"    line {line}: {value!r}" if line is not None else f"    {value!r}")
        self.stdout.write(f"  What to do: {finding.next_step}")


def main() -> None:
    """`check-roster`, on a machine that has no portal: no settings are read, hence no database, key or folder."""
    settings.configure()
    Command().run_from_argv(["check-roster", "", *sys.argv[1:]])


def _as_json(delivered: Delivered, findings: Findings) -> dict[str, Any]:
    modes = {table.mode for table in delivered.tables.values()}
    return {
        "readable": delivered.readable,
        "version": delivered.version or None,
        "mode": "mixed" if len(modes) > 1 else next(iter(modes), None),
        "tables": {name: len(table.frame) for name, table in delivered.tables.items()},
        "errors": findings.count("fatal", "error"),
        "warnings": findings.count("warning"),
        "findings": [finding.as_json() for finding in findings],
    }


def _write_csv(file: TextIO, findings: Findings) -> None:
    writer = csv.writer(file)
    writer.writerow(("file", "line", "column", "value", "code", "severity", "message", "next_step"))
    for f in findings:
        places = f.places.iter_rows() if len(f.places) else [(None, "")]
        for line, value in places:
            row = (f.file, line, f.column, value, f.code, f.severity, f.message, f.next_step)
            writer.writerow([formula_safe(cell) for cell in row])
