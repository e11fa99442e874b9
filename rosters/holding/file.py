"""About the file as a whole: whether it is empty, old, cut off, another district's, or unlike the one before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from rosters.diffing import ID, column_of, scan_of
from rosters.frames import rows_of
from rosters.holding.situation import (
    ADDED,
    CORE,
    NOTHING_YET,
    REMOVED,
    UPDATED,
    Accounts,
    HoldFound,
    Situation,
    nothing_lives,
)
from rosters.oneroster.normal import METADATA, TABLES, is_wholly_left_out
from rosters.oneroster.plain import NOUNS, listed, of_files, percent

#: Fewer ids than this prove nothing about whose they are.
_ENOUGH_IDS: Final = 20


def empty(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    """EMPTY: a table without which a roster is none would have no row."""
    came_empty = [table for table in CORE if rows_of(s.base, table) and not rows_of(s.target, table)]
    if not came_empty and rows_of(s.target, "users"):
        return []
    tables = came_empty or ["users"]
    return [
        HoldFound(
            "EMPTY",
            f"The roster would have no {listed([NOUNS[table].many for table in tables])}.",
            "A roster always has some; an empty file nearly always means that an export failed.",
            "Everything that hangs on them would be gone. This cannot be approved.",
            "Ask the district to run the export again and send all files.",
            table=tables[0],
            approvable=False,
            numbers={table: rows_of(s.base, table) for table in tables},
        )
    ]


def wrong_district(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    """WRONG_DISTRICT: hardly any of our ids are in a full file, or hardly anybody whom a file of changes names is ours
    or comes into a school of ours, or its orgs or people are those of another district of ours. A file that speaks for
    nobody who could leave is asked like one of changes."""
    complete = {name for name, mode in s.modes.items() if mode == "bulk"}
    if s.is_undo or nothing_lives(s.base):
        return []
    known = {table: s.spoken_for(table) for table in ("orgs", "users")} if {"orgs", "users"} & complete else {}
    if not any(map(len, known.values())):
        return _changes_of_another(s, limit)
    shares = {table: _share_seen(ids, _ids(s, table)) for table, ids in known.items()}
    strange = sum(map(len, known.values())) >= _ENOUGH_IDS and max(shares.values()) < limit["known_ids"]
    twin = _district_with_these_orgs(s)
    if not twin and (not strange or _shares_an_identifier(s) or _knows_our_people(s)):
        return []
    saw = (
        f"Of our schools and other orgs {percent(shares['orgs'])} are in this file, of our people "
        f"{percent(shares['users'])}."
    )
    whose = f"Its orgs are those of {twin}" if twin else "This looks like another district's roster"
    return [_foreign(saw, "Nearly all of both are in a district's own file.", whose, {**shares}, limit)]


def _foreign(saw: str, usual: str, whose: str, shares: dict[str, float], limit: Mapping[str, float]) -> HoldFound:
    return HoldFound(
        "WRONG_DISTRICT",
        saw,
        usual,
        f"{whose}. What is in it is not shown, and it cannot be approved.",
        "Ask the district which file it meant to send. If it was for another district, treat it as an incident.",
        approvable=False,
        numbers={**shares, "limit": limit["known_ids"]},
    )


def _changes_of_another(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    """The same of a file of changes, which names few of our records at best: who is new must come into an org of ours,
    or into one that comes beneath it. The file of a new school that does not say where it belongs may look the same;
    so, unless another district of ours has these orgs or people, a person may find out."""
    orgs, users = (_that_count(s, table) for table in ("orgs", "users"))
    ours = _orgs_of_ours(s)
    strangers = [] if orgs.is_in(ours.implode()).any() else orgs.to_list()
    others = sorted(s.other_districts().items()) if strangers else []
    twin = next((name for name, theirs in others if theirs.issuperset(strangers)), "")
    home = _at_home(s, users, ours)
    known = float(home.mean() or 0.0) if len(home) else 1.0  # type: ignore[arg-type]
    strange = len(users) >= _ENOUGH_IDS and known < limit["known_ids"]
    if not twin and (not strange or (len(orgs) and _shares_an_identifier(s))):
        return []
    people = NOUNS["users"].count(len(users))
    saw = f"Of the {people} in this file {percent(known)} are ours, or come into a school of ours."
    usual, shares = "Nearly all are in a district's own file.", {"users": known}
    if twin:
        return [_foreign(saw, usual, f"Its orgs are those of {twin}", shares, limit)]
    if home_of_theirs := s.whose_people(_added(s, users.filter(~home))):
        return [_foreign(saw, usual, f"Its people are those of {home_of_theirs}", shares, limit)]
    return [
        HoldFound(
            "WRONG_DISTRICT",
            saw,
            usual,
            "This may be another district's file, or that of a new school that does not say where it belongs.",
            "Compare the schools and some of the people who would come with the district's own. Approve only if the "
            "district says that they are its own; if they are another's, decline, and treat it as an incident.",
            numbers={**shares, "limit": limit["known_ids"]},
        )
    ]


def _that_count(s: Situation, table: str) -> pl.Series:
    """The ids of a table that the file names, without those of whom it only says that they are gone while they are: of
    them each district may send what it likes, for as long as it likes."""
    if table not in s.modes:
        return pl.Series("sourcedId", [], pl.String)
    ids = _ids(s, table)
    there = [column_of(roster, table, "sourcedId") for roster in (s.base, s.target)]
    return ids.filter(ids.is_in(pl.concat(there).implode()))


def _added(s: Situation, users: pl.Series) -> pl.DataFrame:
    """Of these people the new ones, by sourcedId and familyName."""
    if "users" not in s.difference.tables:
        return pl.DataFrame(schema={"sourcedId": pl.String, "familyName": pl.String})
    rows = s.difference.scan("users").filter(ADDED & ID.is_in(users.implode()))
    return rows.select("sourcedId", "familyName").collect()


def _orgs_of_ours(s: Situation) -> pl.Series:
    """The ids of our orgs, and of those that come beneath them."""
    ours = column_of(s.base, "orgs", "sourcedId")
    if "orgs" not in s.difference.tables:
        return ours
    come = s.difference.scan("orgs").filter(ADDED).select("sourcedId", "parentSourcedId").collect()
    while len(more := come.filter(pl.col("parentSourcedId").is_in(ours.implode()) & ~ID.is_in(ours.implode()))):
        ours = pl.concat([ours, more["sourcedId"]])
    return ours


def _at_home(s: Situation, users: pl.Series, orgs: pl.Series) -> pl.Series:
    """Which of these people are ours already, or have a role in one of the `orgs`."""
    home = users.is_in(column_of(s.base, "users", "sourcedId").implode())
    if "roles" in s.difference.tables:
        roles = s.difference.scan("roles").filter(pl.col("orgSourcedId").is_in(orgs.implode()))
        home |= users.is_in(roles.select("userSourcedId").collect().to_series().implode())
    return home


def _ids(s: Situation, table: str) -> pl.Series:
    return s.delivered_ids[table] if table in s.delivered_ids else column_of(s.target, table, "sourcedId")


def _share_seen(known: pl.Series, seen: pl.Series) -> float:
    return int(known.is_in(seen.implode()).sum()) / len(known) if len(known) else 0.0


def _shares_an_identifier(s: Situation) -> bool:
    """Whether an org of the file has an official number of one of ours, under whatever id."""
    ours = column_of(s.base, "orgs", "identifier")
    delivered = scan_of(s.target, "orgs").filter(ID.is_in(_ids(s, "orgs").implode()))
    new = delivered.select("identifier").collect().to_series()
    return bool((new.is_in(ours.implode()) & (new != "")).any())


#: People come again with the number or login they had; that alone other people may have in another district.
_KNOWN_BY: Final = (("identifier", "familyName"), ("username", "familyName"), ("email",))
#: So many of our people must be among those of a file in which no id is ours.
_MOST_OF_US: Final = 0.5


def _knows_our_people(s: Situation) -> bool:
    """Whether most of our people are in the file, under whatever id: then every id of the SIS changed."""
    if "users" not in s.difference.tables:
        return False
    known = pl.lit(False)
    ours = scan_of(s.base, "users").select("sourcedId", *{cell for key in _KNOWN_BY for cell in key}).collect()
    come = s.difference.scan("users").filter(ADDED)
    for key in _KNOWN_BY:
        found = ours.filter(pl.col(key[0]) != "").join(come.select(key).collect(), on=key, how="semi")
        known |= ID.is_in(found["sourcedId"].implode())
    return int(ours.select(known.sum()).item()) >= _MOST_OF_US * len(ours) > 0


def _district_with_these_orgs(s: Situation) -> str:
    """The name of another district of ours whose orgs are exactly these, unless they are also ours; else ""."""
    orgs = frozenset(_ids(s, "orgs").to_list())
    if not orgs or s.modes.get("orgs") != "bulk" or orgs & frozenset(column_of(s.base, "orgs", "sourcedId").to_list()):
        return ""
    return next((name for name, theirs in sorted(s.other_districts().items()) if theirs == orgs), "")


def first_delivery(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    """FIRST_DELIVERY: nothing lives yet."""
    numbers = {table: rows_of(s.target, table) for table in ("orgs", "users", "classes", "enrollments")}
    orgs = frozenset(_ids(s, "orgs").to_list())
    twin = next((name for name, theirs in sorted(s.other_districts().items()) if orgs and theirs == orgs), "")
    return [
        HoldFound(
            "FIRST_DELIVERY",
            f"This is the first roster of this district: {listed([NOUNS[t].count(n) for t, n in numbers.items()])}.",
            f"There is nothing to compare it with, but {twin} has the same orgs." if twin else NOTHING_YET,
            "All of it would become live at once.",
            "See that the schools are this district's, look through the findings, then approve.",
            numbers=numbers,
        )
    ]


def stale(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    """STALE: the roster of an earlier version, or of older records, comes again."""
    if s.target_digest in s.earlier_digests:
        saw = f"This is the roster of version {s.earlier_digests[s.target_digest]} again; newer ones replaced it."
    elif s.last_modified and s.last_modified < s.previous_last_modified:
        days = s.last_modified[:10], s.previous_last_modified[:10]
        saw = f"The newest record in this file is of {days[0]}; the live roster was made from one of {days[1]}."
    else:
        return []
    return [
        HoldFound(
            "STALE",
            saw,
            "Each delivery is newer than the one before.",
            "An old file was probably sent again; newer changes would be taken back.",
            "Ask the district for today's export. Approve only if going back is meant.",
            numbers={"version": s.earlier_digests.get(s.target_digest, 0)},
        )
    ]


def file_gone(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    """FILE_GONE: a file that came the time before did not, or has no rows any more."""
    if "delta" in s.modes.values():
        return []
    wanted = [table for table in TABLES if not is_wholly_left_out(table, s.not_kept)]
    absent = [table for table in wanted if table in s.previous_modes and table not in s.modes]
    emptied = [
        table for table in wanted
        if table in s.modes and table not in CORE
        and rows_of(s.base, table) and not rows_of(s.target, table)
    ]  # fmt: skip
    holds = []
    if absent:
        why: dict[str, list[str]] = {}
        for table in absent:
            why.setdefault(s.unusable.get(table, ""), []).append(table)
        none = f"The delivery has no {listed([f'{table}.csv' for table in why.pop('')])}" if "" in why else ""
        gone = listed([words for words in (none, *(of_files(tables, words) for words, tables in why.items())) if words])
        holds.append(
            HoldFound(
                "FILE_GONE",
                f"{gone}; the one before had {'them' if len(absent) > 1 else 'it'}.",
                "The same files come every time.",
                f"Nothing is removed for that: the {listed([NOUNS[table].many for table in absent])} stay as they are.",
                "Ask the district whether that was meant. Approve if the rest should go live meanwhile.",
                table=absent[0],
            )
        )
    for table in emptied:
        number = rows_of(s.base, table)
        holds.append(
            HoldFound(
                "FILE_GONE",
                f"{table}.csv has no rows any more; {NOUNS[table].count(number)} are live.",
                "It had rows every time before.",
                f"All {NOUNS[table].many} would be removed.",
                "Ask the district whether that was meant before you approve.",
                table=table,
                numbers={"removed": number, "before": number},
            )
        )
    return holds


def headers_changed(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    """HEADERS_CHANGED: a file has other columns than the time before."""
    if not limit["headers_changed"]:
        return []
    holds = []
    for table in sorted(set(s.headers) & set(s.previous_headers)):
        now, before = set(s.headers[table]), set(s.previous_headers[table])
        if now != before:
            parts = [("no longer has", before - now), ("now has", now - before)]
            changes = " and ".join(f"{words} {listed(sorted(names))}" for words, names in parts if names)
            private = any(name.startswith(_PRIVATE) for name in before - now)
            stay = "Values of a missing column of the standard stay as they are" if before - now else ""
            go = "those of a private one go" if private else ""
            means = "; ".join(words for words in (stay, go) if words)
            holds.append(
                HoldFound(
                    "HEADERS_CHANGED",
                    f"{table}.csv {changes}.",
                    "The columns of a file do not change from day to day.",
                    f"{means}. The SIS or its export settings may have changed.".removeprefix(". "),
                    "Ask the district whether the export was changed on purpose, then approve.",
                    table=table,
                    numbers={"missing": len(before - now), "new": len(now - before)},
                    accounts=Accounts({table: UPDATED & _only_in(now ^ before)}),
                )
            )
    return holds


_PRIVATE: Final = "metadata."


def _only_in(columns: set[str]) -> pl.Expr:
    """Nothing but these columns of a file changed."""
    cells = {METADATA if name.startswith(_PRIVATE) else name for name in columns}
    return pl.col("fields").str.split(",").list.eval(pl.element().is_in(sorted(cells))).list.all()


def tail_missing(s: Situation, limit: Mapping[str, float]) -> list[HoldFound]:
    """TAIL_MISSING: what is removed stood together at the end of a full file."""
    holds = []
    for table in s.difference.tables:
        if s.modes.get(table) != "bulk":
            continue
        removed = s.difference.scan(table).filter(REMOVED).select("sourcedId").collect().to_series()
        least = max(1, limit["tail_missing"])
        enough = len(removed) >= least  # else the ids of the table need not be read
        ids = _missing_at_the_end(s.spoken_for(table), removed) if enough else removed.clear()
        missing = len(ids)
        if missing >= least:
            holds.append(
                HoldFound(
                    "TAIL_MISSING",
                    f"{NOUNS[table].count(missing)} that stood together at the end of {table}.csv are missing.",
                    "Records that leave stand all over a file.",
                    "The export or the transfer probably stopped before the end of the file.",
                    "Ask the district to run the export again and to compare its number of rows.",
                    table=table,
                    numbers={"removed": missing, "limit": limit["tail_missing"]},
                    accounts=Accounts(gone := {table: REMOVED & ID.is_in(ids.implode())}),
                    about=gone,
                )
            )
    return holds


def _missing_at_the_end(before: pl.Series, removed: pl.Series) -> pl.Series:
    """The removed records that make up the end of the accepted table; none if its end is as usual.

    The accepted table stands in the order of its first delivery, later records behind. The end begins where the sum of
    +1 for each record that is missing and -4 for each that is there is largest, counted from the last one: a few
    late-comers among the missing do not hide a cut, nor do the usual removals before it. The whole table is no end.
    """
    missing = before.is_in(removed.implode()).reverse()
    score = (missing.cast(pl.Int64) * 5 - 4).cum_sum()
    best = score.arg_max()
    if best is None or score[best] <= 0 or best + 1 == len(missing):
        return removed.clear()
    end, rest = missing.head(best + 1), missing.slice(best + 1)
    usual = int(rest.sum()) * 5 <= len(rest)
    return before.reverse().head(best + 1).filter(end) if usual else removed.clear()
