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
    points to must have, `target_strict` whether that is an error (else a warning); `target_roles` the same for the
    ``role`` of a user. `vocabulary` names an entry of the version's vocabularies. `listed`: several items,
    comma-separated in one cell. `pattern`: what each item, whole, looks like."""

    name: str
    kind: Kind
    need: Need = "optional"
    listed: bool = False
    vocabulary: str = ""
    refers_to: str = ""
    target_types: tuple[str, ...] = ()
    target_strict: bool = True
    target_roles: tuple[str, ...] = ()
    pattern: str = ""

    @property
    def required(self) -> bool:
        return self.need == "always"


@dataclass(frozen=True, slots=True)
class Table:
    """One CSV file of the standard: ``name`` is the file's name without ".csv". `former_columns` names columns of an
    older layout that may still arrive, each with the column it stood behind."""

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

    @property
    def former_header(self) -> tuple[str, ...]:
        """The header of the older layout; the same as `header` where there is none."""
        after = {behind: former for former, behind in self.former_columns}
        return tuple(name for column in self.header for name in (column, after.get(column)) if name)

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
DELTA_ONLY: Need = "delta_only"


def text(name: str, need: Need = "optional", *, vocabulary: str = "") -> Column:
    """Free text."""
    return Column(name, "string", need, vocabulary=vocabulary)


def texts(name: str, need: Need = "optional", *, vocabulary: str = "", pattern: str = "") -> Column:
    """A list of texts."""
    return Column(name, "string", need, listed=True, vocabulary=vocabulary, pattern=pattern)


def word(name: str, vocabulary: str, need: Need = "optional") -> Column:
    """One word of a vocabulary."""
    return Column(name, "enum", need, vocabulary=vocabulary)


def words(name: str, vocabulary: str, need: Need = "optional") -> Column:
    """A list of words of a vocabulary."""
    return Column(name, "enum", need, listed=True, vocabulary=vocabulary)


def flag(name: str, need: Need = "optional") -> Column:
    """true or false."""
    return Column(name, "boolean", need)


def day(name: str, need: Need = "optional") -> Column:
    """A calendar date."""
    return Column(name, "date", need)


def number(name: str, need: Need = "optional") -> Column:
    """A decimal number."""
    return Column(name, "float", need)


def foreign_id(name: str, need: Need = "optional") -> Column:
    """An identifier that somebody else issued: text, as far as OneRoster is concerned."""
    return Column(name, "id", need)


def ref(
    name: str,
    table: str,
    need: Need = "optional",
    *,
    types: tuple[str, ...] = (),
    strict: bool = True,
    roles: tuple[str, ...] = (),
) -> Column:
    """The sourcedId of a row of `table`."""
    return Column(name, "guidref", need, refers_to=table, target_types=types, target_strict=strict, target_roles=roles)


def refs(name: str, table: str, need: Need = "optional", *, types: tuple[str, ...] = (), strict: bool = True) -> Column:
    """A list of sourcedIds of rows of `table`."""
    return Column(name, "guidref", need, listed=True, refers_to=table, target_types=types, target_strict=strict)


#: The three columns with which every table begins (in demographics the first points to a user).
MODE = (word("status", "status", DELTA_ONLY), Column("dateLastModified", "dateTime", DELTA_ONLY))
HEAD = (Column("sourcedId", "guid", ALWAYS), *MODE)

#: An item such as {LDAP:jdoe}.
PAIR = r"^\{[^{}:]+:[^{}:]+\}$"
