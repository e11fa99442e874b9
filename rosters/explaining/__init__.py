"""A difference in words: the verdict in a sentence, how many people it concerns, and (`causes`) what explains most of
it. No names of people."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import polars as pl

from rosters.diffing import Difference
from rosters.frames import Checked, Delivered
from rosters.oneroster import VERSIONS
from rosters.oneroster.plain import NOUNS, listed, of_files

#: The column that names the person to whom a record belongs.
_PERSON: Final = {
    "users": "sourcedId", "userProfiles": "userSourcedId", "roles": "userSourcedId", "demographics": "sourcedId",
    "enrollments": "userSourcedId",
}  # fmt: skip

#: What a sentence is worth telling, most telling first; the rest is "other records".
_TOLD: Final = ("users", "classes", "enrollments", "courses", "orgs", "academicSessions")
_VERBS: Final = {"removed": ("leaves", "leave"), "added": ("comes", "come"), "updated": ("changes", "change")}


def people_affected(difference: Difference) -> int:
    """How many people the difference touches: themselves, their enrollments, roles, logins or demographics."""
    ids = [
        difference.scan(table).select(pl.col(column).alias("person").unique())
        for table, column in _PERSON.items()
        if table in difference.tables
    ]
    return int(pl.concat(ids).select(pl.col("person").n_unique()).collect().item()) if ids else 0


def difference_in_words(counts: Mapping[str, Mapping[str, int]]) -> str:
    """ "12 people leave and 40 come; 300 enrollments change." from {table: {kind: number}}."""
    clauses = [clause for table in _TOLD if (clause := _clause(table, counts.get(table, {})))]
    if clauses:
        return "; ".join(clauses) + "."
    if any(sum(kinds.values()) for kinds in counts.values()):
        return "Only details of people change: roles, logins or demographics."
    return "Nothing changes."


def _clause(table: str, kinds: Mapping[str, int]) -> str:
    parts: list[str] = []
    for kind, (one, many) in _VERBS.items():
        if number := kinds.get(kind, 0):
            what = f"{number:,}" if parts else NOUNS[table].count(number)
            parts.append(f"{what} {one if number == 1 else many}")
    return listed(parts)


def left_alone(delivered: Delivered, live: Collection[str]) -> str:
    """Of which files a full delivery says nothing although we have such records: "roles.csv did not come and ...". ""
    if there is none, or where it is made of changes."""
    if any(table.mode == "delta" for table in delivered.tables.values()):
        return ""
    unsaid = [name for name in VERSIONS[delivered.version].tables if name in live and name not in delivered.tables]
    why: dict[str, list[str]] = {}
    for name in unsaid:
        why.setdefault(delivered.unusable.get(name, "did not come"), []).append(name)
    return listed([of_files(names, words) for words, names in why.items()])


def verdict(counts: Mapping[str, Mapping[str, int]], holds: Sequence[str], *, first: bool, following: int = 0) -> str:
    """One or two sentences for the person who decides; `holds` are what the rules saw, gravest first, the cause of
    `following` others before all."""
    if first and len(holds) == 1:
        return holds[0]
    if not holds:
        return f"Nothing unusual: {difference_in_words(counts)}"
    others = len(holds) - 1
    if following:
        follow = f"{following} more unusual thing{' follows' if following == 1 else 's follow'} from that"
        also = f". Also: {holds[1]}" if others else "; nothing else is unusual."
        more = f" {others - 1} more {'thing is' if others == 2 else 'things are'} unusual." if others > 1 else ""
        return f"Held: {holds[0]} {follow[0].upper()}{follow[1:]}{also}{more}"
    more = f" {others} more {'thing is' if others == 1 else 'things are'} unusual." if others else ""
    return f"Held: {holds[0]}{more}"


def rejection(reasons: Sequence[str], *, live: bool) -> str:
    """Why a delivery was refused, and what that means for the roster."""
    first = reasons[0] if reasons else "It cannot be read."
    return f"{first} {'The roster stays as it was.' if live else 'Nothing was imported.'}"


def checked_in_words(delivered: Delivered, checked: Checked) -> str:
    """What a check found, and what an import would make of it, in two sentences."""
    if not delivered.readable:
        return "This cannot be read as a OneRoster delivery."
    errors, warnings = checked.findings.count("fatal", "error"), checked.findings.count("warning")
    words = f"OneRoster {delivered.version}: {counted(errors, 'error')}, {counted(warnings, 'warning')}."
    if checked.rejections:
        return f"{words} An import would refuse it: {checked.rejections[0][1]}"
    sent = sum(len(table.frame) + len(table.unread) for table in delivered.tables.values())
    unused = sent - sum(len(table.frame) for table in checked.tables.values())
    left = f"leave out {counted(unused, 'row')}" if unused else "use every row"
    return f"{words} An import would {left}."


def counted(count: int, thing: str) -> str:
    """1 error, 2,000 errors."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
