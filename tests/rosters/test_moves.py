"""From grade to grade: by the definition, student by student, for any two rosters."""

from __future__ import annotations

from collections import Counter

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from rosters.diffing import compare
from rosters.explaining.moves import grade_moves
from rosters.frames import Frames
from rosters.oneroster.normal import NORMAL

People = dict[str, tuple[str, str]]
GRADES = ("", "KG", "09", "10", "Other", "10,11")


def roster(people: People) -> Frames:
    """Each person's role and grades."""
    rows = [
        dict.fromkeys(NORMAL["users"], "") | {"sourcedId": key, "role": role, "grades": grades}
        for key, (role, grades) in people.items()
    ]
    return {"users": pl.DataFrame(rows, schema=dict.fromkeys(NORMAL["users"], pl.String))}


def students(people: People) -> dict[str, str]:
    """The first grade of each student."""
    return {key: grades.split(",")[0] for key, (role, grades) in people.items() if role == "student"}


PEOPLE = st.dictionaries(
    st.sampled_from("123456789"), st.tuples(st.sampled_from(["student", "teacher"]), st.sampled_from(GRADES))
)


@settings(max_examples=150, deadline=None)
@given(first=PEOPLE, second=PEOPLE)
def test_everybody_is_counted_once_where_they_go(first: People, second: People) -> None:
    told = grade_moves(roster(first), compare(roster(first), roster(second)))
    before, after = students(first), students(second)
    ways = Counter((was, after[key]) for key, was in before.items() if key in after)
    if sum(number for (was, now), number in ways.items() if was != now) == 0:
        assert not told  # nine people at most: one who moves is more than a twentieth
        return
    assert {move.grade for move in told} == {*before.values(), *(after[key] for key in after.keys() - before.keys())}
    for move in told:
        there = [key for key, grade in before.items() if grade == move.grade]
        going = {now: number for (was, now), number in ways.items() if was == move.grade and now != was}
        assert move.before == len(there) == move.moved + move.elsewhere + move.stay + move.left
        assert move.moved == max(going.values(), default=0) == going.get(move.to, 0)
        assert move.elsewhere == sum(going.values()) - move.moved
        assert move.left == len([key for key in there if key not in after])
        assert move.came == len([key for key, grade in after.items() if grade == move.grade and key not in before])


def test_grades_stand_in_their_order_and_an_ordinary_day_tells_of_none() -> None:
    people = {f"{grade}-{n}": ("student", grade) for grade in ("12", "KG", "01", "X") for n in range(20)}
    up = {"KG": "01", "01": "02", "12": "PS", "X": "X"}
    promoted = {key: (role, up[grade]) for key, (role, grade) in people.items()}
    moves = grade_moves(roster(people), compare(roster(people), roster(promoted)))
    assert [(move.grade, move.to, move.moved, move.stay) for move in moves] == [
        ("KG", "01", 20, 0), ("01", "02", 20, 0), ("12", "PS", 20, 0), ("X", "", 0, 20),
    ]  # fmt: skip
    three = people | dict.fromkeys(("01-0", "01-1", "01-2"), ("student", "02"))
    assert not grade_moves(roster(people), compare(roster(people), roster(three)))
    assert not grade_moves({}, compare({}, roster(people))), "nobody moves who was not there"
