"""OneRoster as data: what the standard says, in one place, for everything that reads, checks, compares or serves."""

from __future__ import annotations

from collections.abc import Mapping

from rosters.oneroster.spec import Column, Rule, Table, Version, Vocabulary
from rosters.oneroster.v1p1 import V1P1
from rosters.oneroster.v1p2 import V1P2

VERSIONS: Mapping[str, Version] = {"1.1": V1P1, "1.2": V1P2}


def table(version: str, name: str) -> Table:
    """The table `name` ("users") of a version ("1.1"); KeyError if that version does not have it."""
    return VERSIONS[version].tables[name]


def manifest_properties(version: Version) -> tuple[str, ...]:
    """Every property that a manifest of this version lists, in order; the two ``source.*`` ones are optional."""
    files = tuple(f"file.{name}" for name in version.tables)
    return ("manifest.version", "oneroster.version", *files, "source.systemName", "source.systemCode")


__all__ = ["VERSIONS", "Column", "Rule", "Table", "Version", "Vocabulary", "manifest_properties", "table"]
