"""Why so much changes at once: the turn of a school year, or one thing that others only follow from.

A cause explains a rule that fired if the rule would not have fired without it. Of the turn of a year that is known from
its shape; of a hold that is the cause of others it is tried out: the difference and its tally without what it accounts
for (`without`) are judged once more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from rosters.diffing import DIMENSIONS, KINDS, Difference
from rosters.frames import Frames, rows_of
from rosters.oneroster.plain import NOUNS, school_year
from rosters.recognising import newest_years

#: Tables of people themselves.
_PEOPLE: Final = ("users", "userProfiles", "roles", "demographics")
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
        if table in _PEOPLE and code in (*_SHARES, "REMOVED_COUNT"):
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
    counts = difference.counts
    if not {"academicSessions", "classes"} <= set(counts):
        return None
    lived, came = newest_years(base, difference)
    classes, people = rows_of(base, "classes"), rows_of(base, "users")
    ended, left = counts["classes"]["removed"], counts.get("users", {}).get("removed", 0)
    if not lived or came <= lived or 2 * ended < classes or 2 * left > people:
        return None
    graduating = _grade_that_leaves(lines, left)
    who = f"; those who leave were in grade {graduating}" if graduating else ""
    return NewYear(
        f"this looks like the turn of the school year to {school_year(came)}: {ended:,} of "
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


def no_longer_kept(difference: Difference, left_out: Collection[str]) -> dict[str, pl.Expr]:
    """Of each table the changes that are nothing but what its district does not want kept any more."""
    found = {}
    for table in difference.tables:
        columns = [each.removeprefix(f"{table}.") for each in left_out if each.startswith(f"{table}.")]
        if columns:
            others = pl.col("fields").str.split(",").list.set_difference(pl.lit(columns))
            found[table] = (pl.col("kind") == "updated") & (others.list.len() == 0)
    return found


# ------------------------------------------------------------------------------------------- what others follow from

#: A rest of more changes than this is not looked at: so much is unusual by itself.
_MOST: Final = 500_000


@dataclass(frozen=True, slots=True)
class Rest:
    """A difference, and its tally, without what one or several causes account for."""

    difference: Difference
    tally: pl.DataFrame


def without(
    difference: Difference, lines: pl.DataFrame, *, changes: Mapping[str, pl.Expr], schools: Collection[str] = ()
) -> Rest | None:
    """`difference` without these `changes` (of each table an expression), and as if these `schools` had never been.
    None where that leaves too much to look at again."""
    parts = {table: expression.fill_null(False) for table, expression in changes.items() if table in difference.tables}
    tally = lines.filter(~((pl.col("dimension") == "school") & pl.col("key").is_in(list(schools))))
    tally = _less(tally, difference, parts, schools)
    if int(tally.filter(dimension="").select(pl.sum_horizontal(*KINDS).alias("n")).sum().item()) > _MOST:
        return None
    rest = {
        table: difference.scan(table).filter(~parts[table]).collect() if table in parts else difference.tables[table]
        for table in difference.tables
    }
    return Rest(Difference({table: rows for table, rows in rest.items() if len(rows)}), tally)


def _less(
    lines: pl.DataFrame, difference: Difference, parts: Mapping[str, pl.Expr], schools: Collection[str]
) -> pl.DataFrame:
    """The tally without the changes under `parts`, and without the records that leave together with these `schools`."""
    numbers = [(pl.col("kind") == kind).sum().cast(pl.Int64).alias(f"{kind}.taken") for kind in KINDS]
    there = (pl.col("kind") == "removed") & pl.col("school").is_in(list(schools))
    numbers.append(there.sum().cast(pl.Int64).alias("before.taken"))
    taken: list[pl.DataFrame] = []
    for table, expression in parts.items():
        rows = difference.scan(table).filter(expression).select("kind", *DIMENSIONS).collect()
        for dimension in ("", *DIMENSIONS):
            key = pl.col(dimension) if dimension else pl.lit("")
            counted = rows.with_columns(key=key).group_by("key").agg(numbers)
            taken.append(counted.with_columns(table=pl.lit(table), dimension=pl.lit(dimension)))
    if not taken:
        return lines
    joined = lines.join(pl.concat(taken), on=["table", "dimension", "key"], how="left", maintain_order="left")
    fewer = [
        (pl.col(name) - pl.col(f"{name}.taken").fill_null(0)).clip(lower_bound=0).alias(name)
        for name in ("before", *KINDS)
    ]
    return joined.with_columns(fewer).select(lines.columns)
