"""The header against the standard: which column is which, and what is odd about it. Rules OR-CSV-060 to 072.

Columns are read by name, so their order never matters. A name in another case or with blanks around it is that name.
Anything further off, a near miss or a name of 1.0, is only suggested: a guess would fill a column of a roster. A name
that a person has said for a district is no guess.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from rosters.findings import Findings, places
from rosters.oneroster.former import OLD_NAMES, PRIVATE_COLUMNS, PRIVATE_PREFIXES
from rosters.oneroster.spec import Table
from rosters.reading.archive import Damaged

METADATA = "metadata."
_ALIKE = 0.8
_SHOWN = 60

#: Columns and files that Microsoft's School Data Sync has and OneRoster never had.
SCHOOL_DATA_SYNC = frozenset(
    (
        "activeDirectoryMatchId",
        "sessionSourcedIds",
        "sessionSourcedId",
        "isPrimary",
        "birthCity",
        "relationshipRole",
        "flag",
    )
)
NOT_ONEROSTER = "This is Microsoft School Data Sync, another format with the same file names. It is not OneRoster."


@dataclass(frozen=True, slots=True)
class Header:
    """`columns`: kept column to its position in the file. `twins`: positions that bear the same name as a kept one."""

    columns: dict[str, int]
    twins: dict[str, list[int]]


def judge(found: list[str], table: Table, findings: Findings, own: Mapping[str, str] = MappingProxyType({})) -> Header:
    """Say what each cell of the header is. `own`: how this district calls columns of the standard ("users.identifier":
    "StudentNumber"). Raises `Damaged` (060, 063) where it is no header of `table`, or where no
    record could be told from another."""
    clean = [_clean(name) for name in found]
    meant = meanings(found, table, own)
    _refuse_strangers(clean, meant, table)
    _report_names(found, clean, meant, table, findings)
    if "sourcedId" not in meant:
        likely = next((name for name in clean if "sourcedId" in (_former(name, table), _near(name, table))), "")
        question = f" Is {likely[:_SHOWN]} meant to be it?" if likely else ""
        raise Damaged("OR-CSV-063", f"Without sourcedId no record can be told from another.{question}", 1)
    _report_order(meant, table, findings)
    columns: dict[str, int] = {}
    twins: dict[str, list[int]] = {}
    for position, name in enumerate(meant):
        if name in columns:
            twins.setdefault(name, []).append(position)
        elif name:
            columns[name] = position
    return Header(columns, twins)


def meanings(found: list[str], table: Table, own: Mapping[str, str]) -> list[str]:
    """What each cell of a header stands for: a column of the standard, or of ``metadata.*``, or "" for none."""
    called = {name.lower(): key.partition(".")[2] for key, name in own.items() if key.startswith(f"{table.name}.")}
    return [_meaning(name, table) or _called(name, table, called) for name in map(_clean, found)]


def _clean(name: str) -> str:
    return name.strip(" \t\u00a0\ufeff\u200b\"'")


def _meaning(name: str, table: Table) -> str:
    """The standard or ``metadata.*`` column that a name stands for, "" for none."""
    if name in table.header or (name.startswith(METADATA) and name != METADATA):
        return name
    return {column.lower(): column for column in table.header}.get(name.lower(), "")


def _called(name: str, table: Table, own: Mapping[str, str]) -> str:
    """The column that this district calls so, "" for none."""
    column = own.get(name.lower(), "")
    return column if column in table.header else ""


def _refuse_strangers(clean: list[str], meant: list[str], table: Table) -> None:
    known = {name for name in meant if name in table.header}
    if SCHOOL_DATA_SYNC & set(clean):
        raise Damaged("OR-CSV-060", NOT_ONEROSTER, 1)
    if not known and not any(_is_almost(name, table) for name in clean):
        raise Damaged("OR-CSV-060", "None of its cells is a column name of this file.", 1)
    if 2 * len(known) < len(table.header) and len(known) < len(table.columns) - 4:
        raise Damaged("OR-CSV-060", f"Only {len(known)} of {len(table.header)} columns are there.", 1)


def _is_almost(name: str, table: Table) -> bool:
    return bool(_former(name, table) or _near(name, table))


def _near(name: str, table: Table) -> str:
    """The column of the standard that a name looks like, "" for none."""
    return next(iter(get_close_matches(name, table.header, 1, _ALIKE)), "")


def _report_names(found: list[str], clean: list[str], meant: list[str], table: Table, findings: Findings) -> None:
    def say(code: str, names: Iterable[str], detail: str = "") -> None:
        for name in names:
            findings.add(code, table.file, name[:_SHOWN], places=places([1], [name[:_SHOWN]]), detail=detail)

    say("OR-CSV-069", (raw for raw, name in zip(found, clean, strict=True) if raw != name))
    for name, column in zip(clean, meant, strict=True):
        if column and column.lower() != name.lower():
            say("OR-NAME-001", [name], f"Here it is read as {column}.")
        elif column and column != name and not _former(name, table):
            say("OR-CSV-061", [name], f"The standard spells it {column}.")
        elif column != name or not column:
            code, detail = _stranger(name, table)
            say(code, [name], detail)
    say("OR-CSV-064", sorted(name for name, count in Counter(meant).items() if name and count > 1))
    say("OR-CSV-063", (name for name in table.header if name not in meant and name != "sourcedId"))


def _former(name: str, table: Table) -> str:
    """What a name of 1.0 has been called since, "" if it is none."""
    return OLD_NAMES.get(table.name, {}).get(name, "")


def _stranger(name: str, table: Table) -> tuple[str, str]:
    """The rule that a column outside the standard breaks, and what to say of it."""
    old = _former(name, table)
    if not name:
        return "OR-CSV-065", ""
    if name in dict(table.former_columns):
        return "OR-CSV-072", ""
    if old:
        return "OR-CSV-070", f"Since 1.1 it is {old}."
    if name.startswith(PRIVATE_PREFIXES) or name in PRIVATE_COLUMNS.get(table.name, ()):
        return "OR-CSV-068", ""
    if near := _near(name, table):
        return "OR-CSV-071", f"Is {near} meant?"
    return "OR-CSV-066", ""


def _report_order(meant: list[str], table: Table, findings: Findings) -> None:
    standard = [name for name in dict.fromkeys(meant) if name in table.header]
    if standard != [name for name in table.header if name in standard]:
        findings.add("OR-CSV-062", table.file, places=places([1], [""]))
    last = max(position for position, name in enumerate(meant) if name in table.header)
    early = [name for name in meant[:last] if name.startswith(METADATA)]
    if early:
        findings.add("OR-CSV-067", table.file, places=places([1] * len(early), [name[:_SHOWN] for name in early]))
