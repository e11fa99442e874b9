"""From grade to grade: where the students of each grade go. Of the turn of a school year it is what a person wants to
see first: whether everybody goes up, who stays, and who leaves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import polars as pl

from rosters.diffing import WAS, Difference, first_item, scan_of
from rosters.frames import Frames
from rosters.oneroster.vocabularies import CEDS_GRADES

#: Below this share of students who change their grade, an ordinary day is not told as the turn of a year.
_MANY: Final = 0.05
#: Grades that are told; what is beyond has no order, and no sense.
_MOST: Final = 60

_STUDENT: Final = "student"


@dataclass(frozen=True, slots=True)
class Move:
    """The students of one `grade` ("" where none is said), by the first grade that each has: `before`; of these `moved`
    go to grade `to`, where most of those who change it go ("" where nobody does), `elsewhere` to any other, `stay`, and
    `left` are no students any more. `came`: those who are new in this grade, and were no students before."""

    grade: str
    before: int
    to: str
    moved: int
    elsewhere: int
    stay: int
    left: int
    came: int

    def as_json(self) -> dict[str, str | int]:
        return asdict(self)


def grade_moves(base: Frames, difference: Difference) -> list[Move]:
    """The moves of every grade, in the order of CEDS; empty where fewer than a twentieth of the students move."""
    if "users" not in difference.tables:
        return []
    students = scan_of(base, "users").filter(pl.col("role") == _STUDENT)
    before = _counted(students.select(first_item("grades").alias("grade")))
    changes = _changes(difference)
    moved = changes.filter(pl.col("was").is_not_null() & pl.col("now").is_not_null() & (pl.col("was") != pl.col("now")))
    if not sum(before.values()) or len(moved) < _MANY * sum(before.values()):
        return []
    left = _counted(changes.filter(pl.col("now").is_null()).select(grade="was").lazy())
    came = _counted(changes.filter(pl.col("was").is_null()).select(grade="now").lazy())
    ways: dict[str, dict[str, int]] = {}
    for was, now, number in moved.group_by("was", "now").len().sort("was", "now").iter_rows():
        ways.setdefault(was, {})[now] = number
    grades = sorted({*before, *came}, key=_in_order)[:_MOST]
    return [_move(grade, before.get(grade, 0), ways.get(grade, {}), left, came) for grade in grades]


def moves_in_all(moves: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """The numbers of all grades together, of moves as they are kept (`Move.as_json`)."""
    told = list(moves)
    return {key: sum(move[key] for move in told) for key in ("before", "moved", "elsewhere", "stay", "left", "came")}


def _move(grade: str, before: int, ways: dict[str, int], left: dict[str, int], came: dict[str, int]) -> Move:
    to = max(ways, key=lambda each: (ways[each], each), default="")
    moved, gone = ways.get(to, 0), left.get(grade, 0)
    elsewhere = sum(ways.values()) - moved
    return Move(grade, before, to, moved, elsewhere, before - moved - elsewhere - gone, gone, came.get(grade, 0))


def _changes(difference: Difference) -> pl.DataFrame:
    """Of every changed person the grade as a student: ``was`` and ``now``, each null where they are no student then."""
    rows = difference.scan("users")
    kind = pl.col("kind")
    grade_before = pl.coalesce(first_item(f"{WAS}grades"), first_item("grades"))
    role_before = pl.coalesce(f"{WAS}role", "role")
    return rows.select(
        was=pl.when((kind != "added") & (role_before == _STUDENT)).then(grade_before),
        now=pl.when((kind != "removed") & (pl.col("role") == _STUDENT)).then(first_item("grades")),
    ).collect()


def _counted(grades: pl.LazyFrame) -> dict[str, int]:
    found = grades.filter(pl.col("grade").is_not_null()).group_by("grade").len().collect()
    return dict(found.iter_rows())


def _in_order(grade: str) -> tuple[int, str]:
    return (CEDS_GRADES.index(grade) if grade in CEDS_GRADES else len(CEDS_GRADES), grade)
