"""What is asked of a roster afterwards: the same as files."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import IO, TYPE_CHECKING

from django.conf import settings

from rosters import exporting
from rosters.models import AuditEvent, District
from rosters.syncs.working import store

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff


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
