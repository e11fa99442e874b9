"""`manage.py check_roster PATH`: the whole check on a laptop; no database, nothing stored."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any, TextIO

from django.core.management.base import BaseCommand, CommandParser

from rosters.findings import Finding, Findings
from rosters.frames import Checked, CheckOptions, Delivered
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

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        # Django's own --version tells Django's version; here the word means OneRoster's.
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)

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
        path: Path = options["path"]
        if not path.exists():
            self.stderr.write(f"There is nothing at {path}.")
            sys.exit(UNREADABLE)
        meter = Meter(sys.stderr)
        delivered = read(path, version=options["version"], progress=meter)
        rows = {name: len(table.frame) for name, table in delivered.tables.items()}
        modes: set[str] = {table.mode for table in delivered.tables.values()}
        checked = check(delivered, options=CheckOptions(today=date.today(), product=options["product"]), progress=meter)
        meter.done()
        result = _as_json(delivered, checked, rows, modes)
        if options["csv"]:
            with Path(options["csv"]).open("w", newline="", encoding="utf-8") as file:
                _write_csv(file, checked.findings)
        if options["json"] == "-":
            self.stdout.write(json.dumps(result, indent=2, ensure_ascii=False))
        else:
            if options["json"]:
                Path(options["json"]).write_text(json.dumps(result, indent=2, ensure_ascii=False), encoding="utf-8")
            self._tell(result, checked)
        sys.exit(UNREADABLE if not delivered.readable else ERRORS if result["errors"] else NO_ERRORS)

    def _tell(self, result: dict[str, Any], checked: Checked) -> None:
        self.stdout.write(_verdict(result, checked))
        for table, rows in result["tables"].items():
            self.stdout.write(f"  {table:20} {rows:>10,} rows")
        for finding in checked.findings:
            self._tell_finding(finding)

    def _tell_finding(self, finding: Finding) -> None:
        where = ", ".join(w for w in (finding.file, finding.column) if w)
        self.stdout.write(
            f"\n{finding.severity.upper()} {finding.code} ({finding.count:,}x) {where}\n  {finding.message}"
        )
        for line, value in finding.places.head(3).iter_rows():
            self.stdout.write(f"    line {line}: {value!r}" if line is not None else f"    {value!r}")
        self.stdout.write(f"  What to do: {finding.next_step}")


def _as_json(delivered: Delivered, checked: Checked, rows: dict[str, int], modes: set[str]) -> dict[str, Any]:
    return {
        "readable": delivered.readable,
        "version": delivered.version or None,
        "mode": modes.pop() if len(modes) == 1 else "mixed" if modes else None,
        "tables": rows,
        "errors": checked.findings.count("fatal", "error"),
        "warnings": checked.findings.count("warning"),
        "findings": [finding.as_json() for finding in checked.findings],
        "import": {"refused": bool(checked.rejections), "reasons": [words for _, words in checked.rejections]},
    }


def _verdict(result: dict[str, Any], checked: Checked) -> str:
    if not result["readable"]:
        return "This cannot be read as a OneRoster delivery."
    words = f"OneRoster {result['version']}: {result['errors']:,} errors, {result['warnings']:,} warnings."
    if checked.rejections:
        return f"{words} An import would refuse it: {checked.rejections[0][1]}"
    unused = sum(len(t.quarantined) + t.nameless for t in checked.tables.values())
    return (
        f"{words} An import would leave out {unused:,} rows." if unused else f"{words} An import would use every row."
    )


def _write_csv(file: TextIO, findings: Iterable[Finding] | Findings) -> None:
    writer = csv.writer(file)
    writer.writerow(("file", "line", "column", "value", "code", "severity", "message", "next_step"))
    for f in findings:
        places = f.places.iter_rows() if len(f.places) else [(None, "")]
        for line, value in places:
            row = (f.file, line, f.column, value, f.code, f.severity, f.message, f.next_step)
            writer.writerow([formula_safe(cell) for cell in row])
