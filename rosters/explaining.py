"""A difference in words: the verdict in a sentence, and how many people it concerns. No names of people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from rosters.diffing import Difference

_NOUNS = {"users": ("person", "people"), "classes": ("class", "classes"), "enrollments": ("enrollment", "enrollments")}
_VERBS = (("removed", "leave"), ("added", "come"), ("updated", "change"))


def people_affected(difference: Difference) -> int:
    """How many people are added, changed or removed, or have their enrollments, roles or demographics changed."""
    parts = []
    for table, key in (("users", "sourcedId"), ("enrollments", "userSourcedId"), ("roles", "userSourcedId"), ("demographics", "sourcedId")):
        if table in difference.tables:
            parts.append(difference.tables[table].select(pl.col(key).alias("who")))
    return pl.concat(parts).n_unique() if parts else 0


def difference_in_words(counts: Mapping[str, Mapping[str, int]]) -> str:
    """"12 people leave, 40 come; 300 enrollments change." from {table: {kind: n}}."""
    clauses = []
    for table, (one, many) in _NOUNS.items():
        parts = []
        for kind, verb in _VERBS:
            number = counts.get(table, {}).get(kind, 0)
            if number:
                noun = f" {one if number == 1 else many}" if not parts else ""
                parts.append(f"{number:,}{noun} {verb}{'s' if number == 1 and not verb.endswith('s') else ''}")
        if parts:
            clauses.append(", ".join(parts))
    return "; ".join(clauses) + "." if clauses else "Only small things change: no people, classes or enrollments."


def verdict(counts: Mapping[str, Mapping[str, int]], holds: Sequence[str], *, first: bool) -> str:
    """One sentence for the person who decides; `holds` are what the rules saw, gravest first."""
    words = difference_in_words(counts)
    if first and len(holds) <= 1:
        return holds[0] if holds else words
    if not holds:
        return f"Nothing unusual: {words[0].lower()}{words[1:]}"
    more = f" {len(holds) - 1} more rule{'s' if len(holds) > 2 else ''} fired." if len(holds) > 1 else ""
    return f"Held: {holds[0]}{more}"


def rejection(reasons: Sequence[str], *, live: bool) -> str:
    """Why a delivery was refused, and what that means."""
    first = reasons[0] if reasons else "It cannot be read."
    return f"{first} {'The roster stays as it was.' if live else 'Nothing was imported.'}"
