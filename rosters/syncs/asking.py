"""What is asked of a sync afterwards: a record's lines in the file that came, the roster as files."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any

from django.conf import settings

from rosters import exporting, recognising
from rosters.models import AuditEvent, Delivery, District, Sync
from rosters.oneroster import VERSIONS
from rosters.oneroster.normal import is_left_out
from rosters.reading.lookup import Damaged, lines_with
from rosters.syncs.working import named, scan_ids, store

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff


def lines_of(sync: Sync, table: str, sourced_id: str) -> dict[str, Any]:
    """Where a record stands in the file of `sync`: ``lines``, each with its ``number``, ``cells`` and ``findings``;
    ``came``: the delivery's origin; ``lost``: why it cannot be looked up, or "". Passwords are left out, and columns
    that no version of the standard has."""
    assert sync.delivery is not None
    answer: dict[str, Any] = {"came": sync.delivery.origin, "lines": [], "lost": ""}
    if sync.delivery.origin == Delivery.Origin.REST:
        return answer
    path, file = store().original(sync.district_id, sync.delivery.sha256), f"{table}.csv"
    try:
        sent = recognising.sent_as(scan_ids(sync), table, sourced_id)
        found = lines_with(named(path, sync.delivery.name), file, sent, encoding=sync.district.encoding)
    except (OSError, Damaged):
        return {**answer, "lost": "The file is not kept any more, or cannot be read."}
    known = [version.tables[table] for version in VERSIONS.values() if table in version.tables]
    unwanted = sync.district.not_kept
    standard = {name.lower() for one in known for name in one.header}
    for line in found:
        positions = store().found_at(sync.district_id, sync.pk, line.number)
        cells = [
            (name, "(not kept)" if cell and is_left_out(table, name, unwanted) else cell)
            for name, cell in line.cells
            if name.lower() != "password" and (name.lower() in standard or name.startswith("metadata."))
        ]
        findings = sync.findings.filter(file=file, position__in=positions).order_by("position")
        answer["lines"].append({"number": line.number, "cells": cells, "findings": findings})
    return answer


def export(
    district: District,
    version: str,
    *,
    by: Staff | None,
    without: Collection[str] = (),
    about: Mapping[str, str] = MappingProxyType({}),
) -> tuple[str, IO[bytes]]:
    """The live roster as a zip of OneRoster `version`: what it is called, and a file that is gone when it is closed.
    `about`: what the audit row says beside."""
    assert district.snapshot is not None
    file = tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR)  # noqa: SIM115  # whoever asked closes it
    try:
        exporting.write_zip(file, store().frames(district.pk, district.snapshot.tables), version, without=without)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    after = {"version": district.version, "oneroster": version, **about}
    AuditEvent.objects.create(
        by=by, action="roster.exported", district=district, subject=f"district {district.pk}", after=after
    )
    return f"{district.site_code}-v{district.version}-oneroster-{version}.zip", file
