"""`manage.py import_roster SITE_CODE PATH`: the whole trip in the foreground, by the same conductor as everywhere."""

from __future__ import annotations

import json
import sys
import tempfile
import zipfile
from argparse import ArgumentParser
from datetime import date
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User as Staff
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from rosters import explaining, syncs
from rosters.management import unreadable
from rosters.models import AuditEvent, Delivery, District, Sync
from rosters.progress import Meter
from rosters.scope import Scope

EXIT = {
    "applied": 0,
    "unchanged": 0,
    "ready": 0,
    "planned": 0,
    "rejected": 1,
    "failed": 2,
    "awaiting_review": 3,
}


class Command(BaseCommand):
    help = (
        "Import a OneRoster zip, folder or CSV file. Exit code 0: applied, unchanged or ready; "
        "3: waiting for a person, or a dry run that would have to; "
        "1: rejected; 2: failed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("site_code", help="The district's site code.")
        parser.add_argument("path", type=Path, help="A zip, a folder of CSV files, or one CSV file.")
        parser.add_argument("--create", metavar="NAME", help="Make the district with this name if it is new.")
        parser.add_argument(
            "--approve", action="store_true", help="Approve for the person at the keyboard, where a person may."
        )
        parser.add_argument(
            "--additions-only",
            action="store_true",
            help="Add and change, but remove nothing: what the file leaves out stays as it is.",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Only say what it would change: the roster stays as it is."
        )
        parser.add_argument(
            "--as-if-on",
            type=date.fromisoformat,
            metavar="YYYY-MM-DD",
            help="Of a dry run: check it as if it came on this day, such as the first of next school year.",
        )
        for what, more in (("school", "orgs"), ("term", "academic sessions")):
            parser.add_argument(
                f"--only-{what}",
                action="append",
                default=[],
                metavar="ID",
                help=f"The file is only about the {what} with this sourcedId, and what lies beneath it; all else stays "
                f"as it is. May be given more than once, and may name other {more}.",
            )
        parser.add_argument("--json", action="store_true", help="Print one JSON object to standard output.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            sync = self._import(options["path"], options)
        except CommandError as problem:
            if options["json"]:
                self._tell_json(None, "failed", error=str(problem))
            raise
        self._tell(sync, as_json=options["json"])
        would_wait = sync.dry_run and sync.holds.exists()
        sys.exit(EXIT["awaiting_review"] if would_wait else EXIT.get(sync.status, 2))

    def _import(self, path: Path, options: dict[str, Any]) -> Sync:
        if why := unreadable(path):
            raise CommandError(why, returncode=2)
        dry_run, day = options["dry_run"], options["as_if_on"]
        if dry_run and options["approve"]:
            raise CommandError("A dry run never goes live: there is nothing to approve.", returncode=2)
        district = self._district(options["site_code"], options["create"])
        if day and (wrong := syncs.not_such_a_day(district, day, dry_run=dry_run)):
            raise CommandError(wrong, returncode=2)
        meter = Meter(sys.stderr)
        with tempfile.TemporaryDirectory() as scratch:
            source = _zipped(path, Path(scratch)) if path.is_dir() else path
            sync = syncs.receive(
                district,
                source,
                origin=Delivery.Origin.COMMAND,
                name=source.name,
                additions_only=options["additions_only"],
                dry_run=dry_run,
                as_if_on=day,
                speaks_for=Scope(tuple(options["only_school"]), tuple(options["only_term"])),
            )
        done = syncs.prepare(sync.pk, progress=meter)
        sync = done or Sync.with_dry_runs.get(pk=sync.pk)
        held = sync.status == Sync.Status.AWAITING_REVIEW
        if options["approve"] and (held or sync.status == Sync.Status.READY):
            sync = self._approve_and_apply(sync, meter, by=syncs.keyboard())
        elif sync.status == Sync.Status.READY and district.applies_automatically:
            sync = self._approve_and_apply(sync, meter, by=None)
        meter.done()
        return sync

    def _district(self, site_code: str, name: str | None) -> District:
        known = District.objects.filter(site_code=site_code).first()
        if known is not None:
            return known
        if not name:
            raise CommandError(f"There is no district {site_code}. Give it a name with --create NAME.", returncode=2)
        made = District(site_code=site_code, name=name)
        try:
            made.full_clean()
        except ValidationError as problem:
            raise CommandError(" ".join(problem.messages), returncode=2) from None
        made.save()
        AuditEvent.objects.create(
            action="district.added", district=made, subject=f"district {made.pk}", after={"site_code": site_code}
        )
        return made

    def _approve_and_apply(self, sync: Sync, meter: Meter, *, by: Staff | None) -> Sync:
        try:
            if not syncs.approve(sync, by=by, plan_digest=sync.plan_digest, reason="import_roster --approve"):
                self.stderr.write("So many people are removed by two: somebody else must approve it on its page.")
                sync.refresh_from_db()
                return sync
        except syncs.DecisionRefused as refused:
            self.stderr.write(str(refused))
            sync.refresh_from_db()
            return sync
        return syncs.apply(sync.pk, progress=meter) or sync

    def _tell_json(self, sync: int | None, status: str, **more: Any) -> None:
        """One object, whatever happened; ``error`` says in words why nothing came of it."""
        nothing = {"counts": {}, "holds": [], "findings": {"errors": 0, "warnings": 0}, "seconds": {}}
        self.stdout.write(json.dumps({"sync": sync, "status": status, **nothing, **more}, indent=2))

    def _tell(self, sync: Sync, *, as_json: bool) -> None:
        counts = {
            t.table: {"added": t.added, "updated": t.updated, "removed": t.removed, "total": t.after}
            for t in sync.tallies.filter(dimension="")
        }
        if sync.status == Sync.Status.UNCHANGED and sync.base:
            counts = {
                t: {"added": 0, "updated": 0, "removed": 0, "total": f["rows"]} for t, f in sync.base.tables.items()
            }
        holds = [
            {
                "code": h.code,
                "approvable": h.approvable,
                "saw": h.saw,
                "usual": h.usual,
                "meaning": h.meaning,
                "next_step": h.next_step,
            }
            for h in sync.holds.all()
        ]
        findings = {"errors": sync.errors, "warnings": sync.warnings}
        if as_json:
            more: dict[str, Any] = {"left_out": sync.left_out} if sync.additions_only else {}
            if sync.speaks_for:
                more |= {"speaks_for": sync.speaks_for, "untouched": sync.untouched}
            if sync.dry_run:
                more |= {"dry_run": True, "grade_moves": sync.grade_moves}
            if EXIT.get(sync.status, 2) in (1, 2):
                more["error"] = sync.verdict or sync.error
            self._tell_json(
                sync.pk, sync.status, counts=counts, holds=holds, findings=findings, seconds=sync.seconds, **more
            )
            return
        self.stdout.write(f"{sync.get_status_display()}. {sync.verdict or sync.error}")
        for table, c in counts.items():
            self.stdout.write(
                f"  {table:18} + {c['added']:>9,}  ~ {c['updated']:>9,}  - {c['removed']:>9,}  = {c['total']:>10,}"
            )
        if sync.additions_only:
            self.stdout.write(f"  only adds: {sync.left_out:,} live records that this file leaves out stay")
        if sync.speaks_for:
            self.stdout.write(f"  about some schools or terms: {sync.untouched:,} live records of others stay")
        for hold in holds:
            self.stdout.write(f"  {'would be held' if sync.dry_run else 'held'}: {hold['saw']} {hold['next_step']}")
        self.stdout.write(
            f"  {explaining.counted(sync.errors, 'error')}, {explaining.counted(sync.warnings, 'warning')}; "
            + ", ".join(f"{k} {v} s" for k, v in sync.seconds.items())
        )


def _zipped(folder: Path, scratch: Path) -> Path:
    """A folder travels as a zip, so that one file is what was received."""
    target = scratch / f"{folder.name or 'folder'}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            if file.is_file():
                archive.write(file, file.name)
    return target
