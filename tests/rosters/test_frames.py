"""What the rooms hand on to each other, and how two cores are kept busy."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rosters.frames import SHORT, ahead, positions, side_by_side

IDS = st.text(st.sampled_from("aB-é0"), max_size=3)


@settings(max_examples=100, deadline=None)
@given(st.lists(IDS, max_size=12), st.lists(IDS, unique=True, max_size=12))
def test_each_key_is_found_where_it_stands_or_nowhere(keys: list[str], ids: list[str]) -> None:
    found = positions(pl.Series(keys, dtype=pl.String), pl.Series(ids, dtype=pl.String))
    assert found.to_list() == [ids.index(key) if key in ids else None for key in keys]


def test_two_things_are_done_at_the_same_time_and_come_in_their_order() -> None:
    meeting = threading.Barrier(2, timeout=10)

    def work(number: int) -> int:
        meeting.wait()
        time.sleep(0.01 * (4 - number))
        return number

    assert list(side_by_side(work, range(4), rows=SHORT + 1)) == [0, 1, 2, 3]


def test_what_is_about_few_rows_is_done_one_after_the_other() -> None:
    where = list(side_by_side(lambda _: threading.current_thread(), range(4), rows=SHORT))
    assert where == [threading.current_thread()] * 4


@pytest.mark.parametrize("rows", [SHORT, SHORT + 1])
def test_what_goes_wrong_beside_is_heard_of_here(rows: int) -> None:
    def work(number: int) -> int:
        return 1 // (number - 2)

    with pytest.raises(ZeroDivisionError):
        list(side_by_side(work, range(4), rows=rows))


def test_what_is_made_ahead_comes_in_order_and_what_goes_wrong_comes_last() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise ValueError("at the end")

    came = []
    with pytest.raises(ValueError, match="at the end"):
        for item in ahead(items(), by=1):
            came.append(item)
    assert came == [0, 1, 2, 3, 4]
