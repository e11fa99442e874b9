"""The header row against the standard: what each column of a file is, and what is odd about it (OR-CSV-060 to 072)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from rosters.findings import Findings, places
from rosters.oneroster.spec import Table

METADATA_PREFIX = "metadata."

#: Names of OneRoster 1.0 -> the column of today, per table ("" for all).
OLD_NAMES: dict[str, dict[str, str]] = {
    "": {"userSourcedId": "sourcedId"},
    "academicSessions": {"academicSessionType": "type"},
    "courses": {"schoolYearId": "schoolYearSourcedId", "grade": "grades", "schoolYearSourceId": "schoolYearSourcedId"},
    "classes": {"grade": "grades", "termSourcedId": "termSourcedIds", "termSourcedid": "termSourcedIds"},
    "users": {"userId": "userIds", "agents": "agentSourcedIds", "grade": "grades", "orgSourcedId": "orgSourcedIds"},
    "demographics": {"userSourcedId": "sourcedId", "birthdate": "birthDate"},
    "enrollments": {},
}
_PRIVATE = ("ext_", "ext.", "x_")


@dataclass(frozen=True, slots=True)
class Header:
    """`names`: one unique name per cell of the header: the standard column it is, ``metadata.*``, or "?n" for a column that is
    set aside."""

    names: list[str]

    def kept(self) -> list[str]:
        return [name for name in self.names if not name.startswith("?")]


def judge(found: Sequence[str], table: Table, findings: Findings) -> Header | None:
    """Which column is which. None (and a fatal finding) if this is no header of `table` at all."""
    file = table.file
    standard = table.header
    former = dict(table.former_columns)
    clean = [name.strip(" \t\u00a0\ufeff\u200b").strip('"') for name in found]
    _note(findings, "OR-CSV-069", file, [n for n, c in zip(found, clean, strict=True) if n != c])
    if "sourcedId" not in standard:
        return None
    exact = sum(name in standard for name in clean)
    folded = {name.lower(): name for name in standard}
    old = {**OLD_NAMES.get(table.name, {})}
    names: list[str] = []
    taken: set[str] = set()
    for index, name in enumerate(clean):
        meaning = _meaning(name, standard, folded, old, former, file, findings)
        if meaning in taken:
            _note(findings, "OR-CSV-064", file, [name])
            meaning = ""
        if meaning:
            taken.add(meaning)
        names.append(meaning or f"?{index}")
    recognised = [n for n in names if n in standard]
    if "sourcedId" not in recognised or len(recognised) < max(2, len(standard) // 3) or not exact:
        findings.add("OR-CSV-060", file, effect="package", places=places([1], [",".join(found)[:80]]))
        return None
    missing = [name for name in standard if name not in recognised]
    _note(findings, "OR-CSV-063", file, missing)
    if recognised != [name for name in standard if name in recognised]:
        findings.add("OR-CSV-062", file, places=places([1], [""]))
    standard_at = [i for i, n in enumerate(names) if n in standard]
    early = [n for i, n in enumerate(names) if n.startswith(METADATA_PREFIX) and i < max(standard_at)]
    _note(findings, "OR-CSV-067", file, early)
    return Header(names)


def _meaning(
    name: str, standard: Sequence[str], folded: dict[str, str], old: dict[str, str], former: dict[str, str], file: str, findings: Findings
) -> str:
    """The standard (or metadata) column that a cell of the header stands for, or ""."""
    if name in standard:
        return name
    if not name:
        findings.add("OR-CSV-065", file, places=places([1], [""]))
        return ""
    if name in former:
        findings.add("OR-CSV-072", file, name, places=places([1], [name]))
        return ""
    if name.startswith(METADATA_PREFIX):
        if len(name) > len(METADATA_PREFIX):
            return name
        _note(findings, "OR-CSV-066", file, [name])
        return ""
    if name.lower() in folded:
        _note(findings, "OR-CSV-061", file, [name], f"It should be {folded[name.lower()]}.")
        return folded[name.lower()]
    if name in old:
        _note(findings, "OR-CSV-070", file, [name], f"Today it is called {old[name]}.")
        return old[name]
    near = get_close_matches(name, standard, n=1, cutoff=0.85)
    if near:
        _note(findings, "OR-CSV-071", file, [name], f"Did you mean {near[0]}?")
        return ""
    if name.lower().startswith(_PRIVATE):
        _note(findings, "OR-CSV-068", file, [name])
    else:
        _note(findings, "OR-CSV-066", file, [name])
    return ""


def _note(findings: Findings, code: str, file: str, names: Sequence[str], detail: str = "") -> None:
    for name in names:
        findings.add(code, file, name[:255], places=places([1], [name[:80]]), detail=detail)
