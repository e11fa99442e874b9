"""About people: known under new ids, there twice, become others, far more than before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from rosters.diffing import ID, WAS, scan_of
from rosters.frames import rows_of
from rosters.holding.situation import ADDED, REMOVED, UPDATED, Accounts, HoldFound, Situation, lines_of
from rosters.oneroster.normal import REFERENCES
from rosters.oneroster.plain import NOUNS, percent
from rosters.recognising import known_again, letters

#: By what a record is known again although its id changed: each tuple by itself, if all its cells are filled.
_KNOWN_BY: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "users": (("email",), ("username",), ("identifier",), ("givenName", "familyName", "school", "role")),
    "orgs": (("identifier",), ("name", "type")),
    "enrollments": (("classSourcedId", "userSourcedId", "role"),),
}
#: The tables of which it is asked more closely: what they refer to is among them.
_ASKED: Final = ("orgs", "users")


def id_churn(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    """ID_CHURN: records are removed and come again, known by login, number or name, under another id."""
    holds = []
    for table in _KNOWN_BY:
        before = rows_of(s.base, table)
        least = max(limit["group_floor"], limit["id_churn_share"] * before)
        number = _known_again(s, table, least) if table in s.difference.tables else 0
        twice = table in s.left_out.tables
        fate = "stand there a second time," if twice else "be removed and come again"
        if before and number >= limit["group_floor"] and number / before > limit["id_churn_share"]:
            holds.append(
                HoldFound(
                    "ID_CHURN",
                    f"{number:,} of {NOUNS[table].count(before)} would {fate} under another id "
                    f"({percent(number / before)}, limit {percent(limit['id_churn_share'])}).",
                    "An id stays with a record for as long as it lives.",
                    "Everything that is kept under the old ids, such as progress and grades, would be lost to "
                    f"{'the new ones' if twice else 'them'}.",
                    "Ask the district whether its SIS or the ids in its export changed; do not approve before."
                    if twice
                    else "Ask the district whether its SIS or the ids in its export changed. If so, look who is who "
                    "and keep the ids that products know; do not approve before.",
                    table=table,
                    numbers={"ids": number, "before": before, "limit": limit["id_churn_share"]},
                    accounts=None if twice else _under_new_ids(s),
                )
            )
    return holds


def _known_again(s: Situation, table: str, least: float) -> int:
    """How many records that are removed, or would be, can be known again among the added ones, in one way or another;
    asked more closely, as where the schools have other ids too, only if there may be `least`."""
    gone, come = pl.concat(_changes_of(s, table)).filter(REMOVED), s.difference.scan(table).filter(ADDED)
    found = []
    for key in _KNOWN_BY[table]:
        filled = pl.all_horizontal(pl.col(name) != "" for name in key)
        found.append(gone.filter(filled).join(come.filter(filled), on=key, how="semi").select("sourcedId").collect())
    number = pl.concat(found).n_unique()
    line = next(lines_of(s, table), None)
    if table in _ASKED and line and number <= least <= min(line.removed, line.added):
        again = known_again(s.difference, version=s.oneroster_version, only=_ASKED)
        number = max(number, len(again.filter(table=table)))
    return number


def _under_new_ids(s: Situation) -> Accounts:
    """What would not be if every record that comes again had kept its id: it and what refers to it."""
    ids = {
        str(key[0]): (pairs["kept"].implode(), pairs["delivered"].implode())
        for key, pairs in s.known_again.group_by("table")
    }
    changes = {}
    for table in s.difference.tables:
        same = []
        if table in ids:
            old, new = ids[table]
            same.append((REMOVED & ID.is_in(old)) | (ADDED & ID.is_in(new)))
        for column, to in REFERENCES[table].items():
            if to in ids:
                old, new = ids[to]
                cell = pl.col(column)
                same.append((REMOVED & cell.is_in(old)) | (ADDED & cell.is_in(new)))
                if column != "sourcedId":
                    same.append(UPDATED & pl.col(WAS + column).is_in(old) & cell.is_in(new))
        if same:
            changes[table] = pl.any_horizontal(same)
    gone = s.known_again.filter(table="orgs")["kept"].to_list()
    return Accounts(changes, tuple(gone))


def _changes_of(s: Situation, table: str) -> list[pl.LazyFrame]:
    """What would change, and what would if the sync did not only add."""
    return [rows.scan(table) for rows in (s.difference, s.left_out) if table in rows.tables]


#: What nobody shares with another person.
_OWN: Final = ("username", "identifier")


def doubled(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    """DOUBLED: people come although they are there, and stay, under another id."""
    before = rows_of(s.base, "users")
    least = max(limit["group_floor"], 1, limit["id_churn_share"] * before)
    if sum(line.added for line in lines_of(s, "users")) < least:
        return []
    rows = s.difference.scan("users")
    coming = rows.filter(ADDED).select("sourcedId", *_OWN).collect()
    leaving = [each.filter(REMOVED).select("sourcedId") for each in _changes_of(s, "users")]
    staying = scan_of(s.base, "users").select("sourcedId", *_OWN).join(pl.concat(leaving), on="sourcedId", how="anti")
    known = staying.collect()
    twice = pl.lit(False)
    for name in _OWN:
        folded = known[name].str.to_lowercase().unique()
        twice |= (pl.col(name) != "") & pl.col(name).str.to_lowercase().is_in(folded.implode())
    ids = coming.filter(twice)["sourcedId"]
    number = len(ids)
    if number < least or number <= limit["id_churn_share"] * before:
        return []
    return [
        HoldFound(
            "DOUBLED",
            f"{number:,} of {NOUNS['users'].count(len(coming))} who come have the login or the number of somebody who "
            f"stays under another id (limit {percent(limit['id_churn_share'])} of {before:,}).",
            "Everybody is there once, under an id that stays.",
            "They would be there twice, and nobody could tell which of the two they use.",
            "Ask the district whether the ids in its export changed; do not approve before.",
            table="users",
            numbers={"doubled": number, "before": before, "limit": limit["id_churn_share"]},
            accounts=Accounts({"users": ADDED & ID.is_in(ids.implode())}),
            about={"users": ADDED & ID.is_in(ids.implode()), **_of_people(s, _twins(known, coming.filter(twice)))},
        )
    ]


def _twins(known: pl.DataFrame, coming: pl.DataFrame) -> pl.Series:
    """Who of the `known` has the login or the number of one of the `coming`."""
    same = pl.lit(False)
    for name in _OWN:
        same |= (pl.col(name) != "") & pl.col(name).str.to_lowercase().is_in(coming[name].str.to_lowercase().implode())
    return known.filter(same)["sourcedId"]


def _of_people(s: Situation, ids: pl.Series) -> dict[str, pl.Expr]:
    """Of each table the changes of what belongs to these people: nobody can tell whether it is theirs."""
    owners = {table: [c for c, to in REFERENCES[table].items() if to == "users"] for table in s.difference.tables}
    return {table: pl.col(columns[0]).is_in(ids.implode()) for table, columns in owners.items() if columns}


def _other_name(name: str) -> pl.Expr:
    """A changed name that is not the same one written longer or shorter."""
    was, now = letters(WAS + name), letters(name)
    return pl.col(WAS + name).is_not_null() & ~(now.str.starts_with(was) | was.str.starts_with(now))


def other_people(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    """OTHER_PEOPLE: ids under which somebody else would stand, for given and family name both become others."""
    before = rows_of(s.base, "users")
    least = max(limit["group_floor"], 1)
    if sum(line.updated for line in lines_of(s, "users")) < least:
        return []
    other = _other_name("givenName") & _other_name("familyName")
    ids = s.difference.scan("users").filter(other).select("sourcedId").collect().to_series()
    number = len(ids)
    if number < least or number <= limit["other_name_share"] * before:
        return []
    return [
        HoldFound(
            "OTHER_PEOPLE",
            f"{number:,} of {NOUNS['users'].count(before)} would get another given and another family name under the "
            f"same id ({percent(number / before)}, limit {percent(limit['other_name_share'])}).",
            "An id belongs to one person for good, and people change one of their names at a time.",
            "Rows of the file have probably slipped, or ids were given to other people: they would find themselves in "
            "somebody else's account.",
            "Compare some of them with the SIS. Approve only if the district confirms the names.",
            table="users",
            numbers={"renamed": number, "before": before, "limit": limit["other_name_share"]},
            accounts=Accounts({"users": other}),
            about={"users": other, **_of_people(s, ids)},
        )
    ]


def grown(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    """GROWN: far more people would come than leave. Where nobody may leave, for a file is about a new school or a
    term, it is the whole district that grows."""
    line = next(lines_of(s, "users"), None)
    if line is None:
        return []
    lived, more = line.before or line.lived, line.added - line.removed
    if not lived or more < limit["group_floor"] or more <= limit["grown_share"] * lived:
        return []
    return [
        HoldFound(
            "GROWN",
            f"There would be {NOUNS['users'].count(lived + more)} instead of {lived:,} "
            f"({percent(more / lived)} more, limit {percent(limit['grown_share'])}).",
            "The number of people changes little from one day to the next.",
            "People who left long ago, or those of another district, may have come into the export.",
            "Look at who would come, by school and grade. Ask the district if you cannot tell why.",
            table="users",
            numbers={"more": more, "before": lived, "limit": limit["grown_share"]},
        )
    ]
