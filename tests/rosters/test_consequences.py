"""What a difference would mean to those who stay: by the definition, seat by seat, for any two rosters."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from rosters.diffing import compare
from rosters.explaining.consequences import CONSEQUENCES, consequences
from rosters.frames import Frames
from rosters.oneroster.normal import NORMAL

Seats = dict[str, tuple[str, str, str]]
PEOPLE, CLASSES = ("p", "q", "r"), ("a", "b", "c")


def table(name: str, rows: list[dict[str, str]]) -> pl.DataFrame:
    cells = [dict.fromkeys(NORMAL[name], "") | row for row in rows]
    return pl.DataFrame(cells, schema=dict.fromkeys(NORMAL[name], pl.String))


def roster(seats: Seats, people: set[str], classes: set[str]) -> Frames:
    """Those seats whose person and class are there."""
    there = {key: seat for key, seat in seats.items() if seat[0] in people and seat[1] in classes}
    rows = [
        {"sourcedId": key, "userSourcedId": user, "classSourcedId": klass, "role": role}
        for key, (user, klass, role) in there.items()
    ]
    return {
        "users": table("users", [{"sourcedId": key, "primaryOrgSourcedId": f"s-{key}"} for key in sorted(people)]),
        "classes": table("classes", [{"sourcedId": key, "schoolSourcedId": f"s-{key}"} for key in sorted(classes)]),
        "enrollments": table("enrollments", rows),
    }


def seated(of: Frames, column: str, role: str) -> set[str]:
    return set(of["enrollments"].filter(role=role)[column].to_list())


SEATS = st.dictionaries(
    st.sampled_from("123456"),
    st.tuples(st.sampled_from(PEOPLE), st.sampled_from(CLASSES), st.sampled_from(["student", "teacher", "proctor"])),
)
SOME = st.tuples(SEATS, st.sets(st.sampled_from(PEOPLE)), st.sets(st.sampled_from(CLASSES)))


@settings(max_examples=60, deadline=None)
@given(before=SOME, after=SOME)
def test_who_stays_and_loses_the_last_seat_of_its_kind_is_told(
    before: tuple[Seats, set[str], set[str]], after: tuple[Seats, set[str], set[str]]
) -> None:
    base, target = roster(*before), roster(*after)
    told = consequences(base, target, compare(base, target))
    for kind, of in CONSEQUENCES.items():
        stay = set(base[of.table]["sourcedId"]) & set(target[of.table]["sourcedId"])
        left = (seated(base, of.column, of.role) - seated(target, of.column, of.role)) & stay
        rows = told.filter(kind=kind)
        assert rows["sourcedId"].to_list() == sorted(left), kind
        assert rows["school"].to_list() == [f"s-{key}" for key in sorted(left)]


def test_its_numbers_are_put_into_words() -> None:
    assert CONSEQUENCES["untaught"].words(1) == "1 class would have no teacher any more"
    assert CONSEQUENCES["students"].words(1200) == "1,200 students would be in no class any more"
