"""A difference in words: the verdict in a sentence, and how many people it concerns. No names of people."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from rosters.diffing import Difference, rows_of, scan_of
from rosters.frames import Checked, Delivered, Frames
from rosters.oneroster import VERSIONS
from rosters.oneroster.plain import NOUNS, listed

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
        why.setdefault(delivered.unusable.get(name, "did not come"), []).append(f"{name}.csv")
    return listed([f"{listed(files)} {words}" for words, files in why.items()])


def verdict(counts: Mapping[str, Mapping[str, int]], holds: Sequence[str], *, first: bool) -> str:
    """One or two sentences for the person who decides; `holds` are what the rules saw, gravest first."""
    if first and len(holds) == 1:
        return holds[0]
    if not holds:
        return f"Nothing unusual: {difference_in_words(counts)}"
    others = len(holds) - 1
    more = f" {others} more {'thing is' if others == 1 else 'things are'} unusual." if others else ""
    return f"Held: {holds[0]}{more}"


# ---------------------------------------------------------------------------------------------------------- causes

#: Holds that mean no more than that a school year ended: their codes, and the tables of those that are about several.
_END_OF_YEAR: Final = ("TERM_GONE", "MEMBERSHIP_TURNOVER")
_SHARES: Final = {
    "REMOVED_SHARE": "", "SCHOOL_REMOVED_SHARE": "school", "GRADE_REMOVED_SHARE": "grade",
    "ROLE_REMOVED_SHARE": "role",
}  # fmt: skip
_OF_A_YEAR: Final = ("academicSessions", "courses", "classes", "enrollments")
#: The column by which a record is moved into another year.
_MOVED_BY: Final = {"users": "grades", "courses": "schoolYearSourcedId"}
#: Of those who leave, or change, so many must do so for the same reason.
_NEARLY_ALL: Final = 0.95
#: A group of so many counts, and so many of what it had must come again.
_SOME: Final = 10
_ENOUGH: Final = 0.7


@dataclass(frozen=True, slots=True)
class NewYear:
    """The turn of the school year, as the cause of most of a difference. `graduating`: the grade that leaves as a
    whole, if nearly everybody who leaves was in it; `moved`: the tables of which nearly all that changes is moved into
    the new year: people to another grade, courses to its session. `replaced`: (table, dimension) of what comes again in
    about the same number, as a whole ("") and in each school, grade or role: a part is never taken for the whole."""

    sentence: str
    graduating: str
    moved: tuple[str, ...]
    replaced: frozenset[tuple[str, str]]

    def explains(self, code: str, table: str) -> bool:
        """Whether a hold means no more than that. Ids that change are never explained by it, nor are people who
        leave, unless they are those who graduate."""
        if table in _PERSON and table != "enrollments" and code in (*_SHARES, "REMOVED_COUNT"):
            return bool(self.graduating)
        if code.endswith("UPDATED_SHARE"):
            return table in self.moved
        return code in _END_OF_YEAR or (table in _OF_A_YEAR and (table, _SHARES.get(code)) in self.replaced)

    def verdict(self, others: Sequence[str], following: int) -> str:
        """What a sync is held for: how many holds follow from this, and the first of the `others`."""
        number = len(others) + following
        things = f"{number} unusual thing{'' if number == 1 else 's'}"
        if not others:
            return f"Held: {self.sentence} The {things} follow{'s' if number == 1 else ''} from that."
        follow = f"{following} follow{'s' if following == 1 else ''}"
        return f"Held: {self.sentence} Of {things}, {follow} from that. Also: {others[0]}"


def new_school_year(base: Frames, difference: Difference, lines: pl.DataFrame) -> NewYear | None:
    """The turn of the school year, if that is what `difference` and its tally look like: a session of a later year
    comes, at least half of the classes end, and at least half of the people stay."""
    counts = difference.counts()
    if not {"academicSessions", "classes"} <= set(counts):
        return None
    year = pl.col("schoolYear").filter(pl.col("schoolYear").str.contains("^[0-9]{4}$")).max()
    came = difference.scan("academicSessions").filter(pl.col("kind") == "added").select(year).collect().item()
    lived = scan_of(base, "academicSessions").select(year).collect().item()
    classes, people = rows_of(base, "classes"), rows_of(base, "users")
    ended, left = counts["classes"]["removed"], counts.get("users", {}).get("removed", 0)
    if came is None or lived is None or came <= lived or 2 * ended < classes or 2 * left > people:
        return None
    graduating = _grade_that_leaves(lines, left)
    who = f"; those who leave were in grade {graduating}" if graduating else ""
    return NewYear(
        f"this looks like the turn of the school year to {int(came) - 1}–{came[2:]}: {ended:,} of "
        f"{NOUNS['classes'].count(classes)} end and {counts['classes']['added']:,} begin, {people - left:,} of "
        f"{NOUNS['users'].count(people)} stay{who}.",
        graduating,
        tuple(table for table in _MOVED_BY if _is_moved(lines, table, counts.get(table, {}).get("updated", 0))),
        frozenset(
            (t, d) for t in _OF_A_YEAR for d in _SHARES.values() if _is_replaced(lines.filter(table=t, dimension=d))
        ),
    )


def _grade_that_leaves(lines: pl.DataFrame, left: int) -> str:
    """The grade of which nobody stays, if nearly all of those who leave were in it; "" for none."""
    of_grades = lines.filter(table="users", dimension="grade").filter(pl.col("key") != "")
    whole = of_grades.filter(
        (pl.col("removed") == pl.col("before")) & (pl.col("removed") >= _NEARLY_ALL * max(1, left))
    )
    return str(whole["key"][0]) if len(whole) else ""


def _is_replaced(lines: pl.DataFrame) -> bool:
    """Whether of no line much fewer come than end; what is small may do as it likes."""
    after = pl.col("before") + pl.col("added") - pl.col("removed")
    few = (pl.col("before") >= _SOME) & (after < _ENOUGH * pl.col("before")) & ((pl.col("key") != "") | (pl.len() == 1))
    return lines.filter(few).is_empty()


def _is_moved(lines: pl.DataFrame, table: str, updated: int) -> bool:
    """Whether nearly all changed records of a table change what a new year changes."""
    of_field = lines.filter(table=table, dimension="field", key=_MOVED_BY[table])
    return int(of_field["updated"].sum()) >= _NEARLY_ALL * max(1, updated)


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
