"""The words in which a version of OneRoster CSV is written down: tables, columns, vocabularies.

Only shapes live here; the facts are in `v1p1` and `v1p2`, the normal form of both in `normal`.
Source: OneRoster CSV Tables 1.1.1 and OneRoster CSV Binding 1.2.1 (1EdTech, both 2023-08-22).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Need = Literal["always", "delta_only", "optional"]
Kind = Literal["guid", "guidref", "string", "enum", "boolean", "date", "dateTime", "year", "int", "float", "id"]
Group = Literal["rostering", "gradebook", "resources"]
Severity = Literal["fatal", "error", "warning", "info"]

#: What an import makes of a breach at most: nothing; the value is not used; the value, or the row where the column is
#: required; the row; the file; the whole delivery.
Cost = Literal["none", "value", "cell", "row", "table", "package"]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A list of words. `extensible`: 1.2's own ``ext:`` words are allowed beside them. `legacy`: old words and what
    they are to be read as."""

    name: str
    values: tuple[str, ...]
    extensible: bool = False
    legacy: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of one file. `refers_to` is a table name ("orgs"); `target_types` the ``type`` values that the row it
    points to must have, `target_strict` whether that is an error (else a warning). `vocabulary` names an entry of
    the version's vocabularies. `listed`: several items, comma-separated in one cell."""

    name: str
    kind: Kind
    need: Need = "optional"
    listed: bool = False
    vocabulary: str = ""
    refers_to: str = ""
    target_types: tuple[str, ...] = ()
    target_strict: bool = True
    pattern: str = ""

    @property
    def required(self) -> bool:
        return self.need == "always"


@dataclass(frozen=True, slots=True)
class Table:
    """One CSV file of the standard: ``name`` is the file's name without ".csv". `former_columns` names columns of an older
    layout that may still arrive, each with the column it stood behind."""

    name: str
    group: Group
    columns: tuple[Column, ...]
    depends_on: tuple[str, ...] = ()
    optionally_depends_on: tuple[str, ...] = ()
    former_columns: tuple[tuple[str, str], ...] = ()

    @property
    def file(self) -> str:
        return f"{self.name}.csv"

    @property
    def header(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.file} has no column {name}")


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the binding: its tables in the order of the standard, its vocabularies, its rostering core."""

    number: str
    tables: Mapping[str, Table]
    vocabularies: Mapping[str, Vocabulary]
    core: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the catalogue. `title` says what is wrong, `next_step` what the district does about it: plain words,
    no roster value. `effect` is what a breach costs at most. Codes are never renumbered."""

    code: str
    severity: Severity
    title: str
    next_step: str
    versions: tuple[str, ...] = ("1.1", "1.2")
    effect: Cost = "none"


ALWAYS: Need = "always"

#: The three columns with which nearly every table begins.
HEAD = (
    Column("sourcedId", "guid", need=ALWAYS),
    Column("status", "enum", need="delta_only", vocabulary="status"),
    Column("dateLastModified", "dateTime", need="delta_only"),
)

#: An item such as {LDAP:jdoe}.
PAIR = r"^\{[^{}:]+:[^{}:]+\}$"
