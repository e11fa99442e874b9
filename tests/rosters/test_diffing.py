"""The difference of two rosters, held against a plain-Python oracle."""

from __future__ import annotations

import hashlib
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rosters import diffing
from rosters.diffing import Difference, compare, digest_after, digests_after, patched, plan_digest, roster_digest, tally
from rosters.frames import Apart, Frames
from rosters.oneroster.normal import NORMAL, TABLES

Rows = dict[str, dict[str, str]]

TABLES_TRIED = ("orgs", "classes", "users", "demographics", "enrollments")
SCHOOLS, GRADES, CELLS = ("", "s1", "s2"), ("", "09", "10,11"), ("", "a", "b", "é")


def cell(table: str, column: str) -> st.SearchStrategy[str]:
    """Few different values, so that equal, changed and swapped cells are all common."""
    if column.endswith("OrgSourcedId") or column in ("schoolSourcedId", "orgSourcedId"):
        return st.sampled_from(SCHOOLS)
    own = {"grades": GRADES, "userSourcedId": ("1", "2", "9"), "type": ("school", "district")}
    return st.sampled_from(own.get(column, CELLS))


def rows(table: str) -> st.SearchStrategy[Rows]:
    cells = st.fixed_dictionaries({column: cell(table, column) for column in NORMAL[table][1:]})
    return st.dictionaries(st.sampled_from(["1", "2", "3", "4", "s1"]), cells, max_size=4)


rosters = st.fixed_dictionaries({table: rows(table) for table in TABLES_TRIED})


def frames(roster: dict[str, Rows], *, backwards: bool = False) -> dict[str, pl.DataFrame]:
    found = {}
    for table, records in roster.items():
        lines = [{"sourcedId": key, **cells} for key, cells in records.items()]
        schema = dict.fromkeys(NORMAL[table], pl.String)
        found[table] = pl.DataFrame(lines[::-1] if backwards else lines, schema=schema)
    return found


def as_set(frame: pl.DataFrame, table: str) -> set[tuple[str, ...]]:
    return set(frame.select(NORMAL[table]).iter_rows())


def oracle(base: Rows, target: Rows) -> dict[str, dict[str, Any]]:
    """sourcedId -> kind and changed cells, {column: (before, after)}, by the definition."""
    found: dict[str, dict[str, Any]] = {}
    for key in base.keys() | target.keys():
        if key not in base:
            found[key] = {"kind": "added"}
        elif key not in target:
            found[key] = {"kind": "removed"}
        elif base[key] != target[key]:
            changed = {c: (v, target[key][c]) for c, v in base[key].items() if v != target[key][c]}
            found[key] = {"kind": "updated", "changed": changed}
    return found


@settings(max_examples=60, deadline=None)
@given(base=rosters, target=rosters)
def test_the_difference_is_what_the_definition_says(base: dict[str, Rows], target: dict[str, Rows]) -> None:
    difference = compare(frames(base), frames(target))
    for table in TABLES_TRIED:
        expected = oracle(base[table], target[table])
        found = difference.tables.get(table)
        if found is None:
            assert not expected
            continue
        assert tuple(found.columns) == diffing.columns(table)
        kinds = dict(found.select("sourcedId", "kind").iter_rows())
        assert kinds == {key: change["kind"] for key, change in expected.items()}
        for row in found.to_dicts():
            changed = expected[row["sourcedId"]].get("changed", {})
            side = base if row["kind"] == "removed" else target
            assert row["fields"] == ",".join(c for c in NORMAL[table] if c in changed)
            for column in NORMAL[table][1:]:
                assert row[column] == side[table][row["sourcedId"]][column]
                assert row[f"was.{column}"] == (changed[column][0] if column in changed else None)


@settings(max_examples=60, deadline=None)
@given(base=rosters, target=rosters)
def test_base_and_difference_make_the_target(base: dict[str, Rows], target: dict[str, Rows]) -> None:
    before, after = frames(base), frames(target)
    difference = compare(before, after)
    digests = {table: diffing.table_digest(frame) for table, frame in before.items()}
    moved = digests_after(digests, difference)
    for table in TABLES_TRIED:
        changes = difference.tables.get(table)
        result = before[table] if changes is None else patched(before[table].lazy(), changes.lazy()).collect()
        assert as_set(result, table) == as_set(after[table], table) and len(result) == len(after[table])
        assert moved.get(table, digests[table]) == diffing.table_digest(after[table])


@settings(max_examples=40, deadline=None)
@given(roster=rosters)
def test_a_roster_does_not_differ_from_itself_in_any_order(roster: dict[str, Rows]) -> None:
    one, other = frames(roster), frames(roster, backwards=True)
    assert compare(one, other).empty
    for table in TABLES_TRIED:
        assert diffing.table_digest(one[table]) == diffing.table_digest(other[table])


@settings(max_examples=40, deadline=None)
@given(base=rosters, target=rosters)
def test_tallies_add_up(base: dict[str, Rows], target: dict[str, Rows]) -> None:
    difference = compare(frames(base), frames(target))
    ids = {table: rows["sourcedId"] for table, rows in frames(base).items()}
    apart = Apart({table: some.gather_every(2) for table, some in ids.items()},
                  {table: some.gather_every(4) for table, some in ids.items()})  # fmt: skip
    lines = tally(frames(base), difference, apart).to_dicts()
    for line in lines:
        line["before"] += line["beside"] + line["apart"]
    assert [{**line, "beside": 0, "apart": 0} for line in lines] == tally(frames(base), difference).to_dicts()
    for table, counts in difference.counts.items():
        of_table = [line for line in lines if line["table"] == table]
        whole = next(line for line in of_table if not line["dimension"])
        assert whole["before"] == len(base[table])
        assert whole["updated"] <= whole["before"] - whole["apart"], "who changes is spoken for"
        assert whole["before"] + whole["added"] - whole["removed"] == len(target[table])
        assert {kind: whole[kind] for kind in counts} == counts
        for dimension in ("school", "grade", "role"):
            groups = [line for line in of_table if line["dimension"] == dimension]
            if groups:
                for number in ("before", "beside", "apart", "added", "updated", "removed"):
                    assert sum(line[number] for line in groups) == whole[number]


@settings(max_examples=40, deadline=None)
@given(one=rosters, other=rosters, third=rosters)
def test_a_plan_digest_tells_plans_apart(one: dict[str, Rows], other: dict[str, Rows], third: dict[str, Rows]) -> None:
    first, second = compare(frames(one), frames(other)), compare(frames(one), frames(third))
    same = all(oracle(one[t], other[t]) == oracle(one[t], third[t]) and other[t] == third[t] for t in TABLES_TRIED)
    assert (plan_digest(3, first) == plan_digest(3, second)) == same
    assert plan_digest(3, first) != plan_digest(4, first)


def user(key: str, **cells: str) -> dict[str, str]:
    return {**dict.fromkeys(NORMAL["users"], ""), "sourcedId": key, **cells}


def table(name: str, *records: dict[str, str]) -> pl.DataFrame:
    lines = [{**dict.fromkeys(NORMAL[name], ""), **record} for record in records]
    return pl.DataFrame(lines, schema=dict.fromkeys(NORMAL[name], pl.String))


def test_the_digest_is_the_sum_of_sha256_of_rows() -> None:
    frame = table("orgs", {"sourcedId": "a", "name": "Éa"}, {"sourcedId": "b"})
    texts = ["a\nÉa\n\n\n\n", "b\n\n\n\n\n"]
    total = sum(int.from_bytes(hashlib.sha256(text.encode()).digest(), "big") for text in texts)
    assert diffing.table_digest(frame) == f"{total % 2**256:064x}"


def test_the_digest_of_a_roster_leaves_out_empty_tables() -> None:
    assert roster_digest({"users": ("f" * 64, 2), "orgs": ("e" * 64, 1), "roles": ("0" * 64, 0)}) == (
        hashlib.sha256(f"orgs 1 {'e' * 64}\nusers 2 {'f' * 64}\n".encode()).hexdigest()
    )


def test_records_know_their_school_grade_and_role_through_their_user() -> None:
    pupil = user("p", primaryOrgSourcedId="s1", grades="09,10", role="student")
    seat = {"sourcedId": "e", "userSourcedId": "p", "schoolSourcedId": "s2", "role": "student"}
    after: Frames = {"users": table("users", pupil), "enrollments": table("enrollments", seat),
                     "demographics": table("demographics", {"sourcedId": "p"})}  # fmt: skip
    found = compare({}, after).tables
    about = ("school", "grade", "role")
    assert found["enrollments"].select(about).row(0) == ("s2", "09", "student")
    assert found["demographics"].select(about).row(0) == ("s1", "09", "student")
    gone = compare(after, {}).tables["demographics"]
    assert gone.select("kind", *about).row(0) == ("removed", "s1", "09", "student")


def test_an_untouched_table_is_not_looked_at() -> None:
    users = table("users", user("p"), user("p"))  # would not compare well: ids twice
    assert compare({"users": users}, {"users": users}).empty


def test_rows_of_a_difference_stand_by_kind_and_labels_are_names_of_schools() -> None:
    base = {"orgs": table("orgs", {"sourcedId": "s1", "name": "Lincoln", "type": "school"}),
            "users": table("users", user("1", primaryOrgSourcedId="s1"), user("2"))}  # fmt: skip
    target = {"orgs": base["orgs"], "users": table("users", user("2", email="x"), user("3"))}
    difference = compare(base, target)
    assert difference.tables["users"]["kind"].to_list() == ["removed", "updated", "added"]
    lines = {(x["dimension"], x["key"]): x for x in tally(base, difference).to_dicts() if x["table"] == "users"}
    assert lines["school", "s1"]["label"] == "Lincoln" and lines["school", "s1"]["removed"] == 1
    assert lines["field", "email"]["updated"] == 1 and lines["field", "email"]["before"] == 2


def test_hashes_find_the_same_rows_as_cells_do() -> None:
    base, target = table("orgs", {"sourcedId": "a"}, {"sourcedId": "b"}), table("orgs", {"sourcedId": "a", "name": "x"})
    on = base.columns
    slow = base.join(target, on=on, how="anti"), target.join(base, on=on, how="anti")
    gone, come = diffing._left_over(base.lazy(), target)
    fast = base.filter(gone), target.filter(come)
    assert [as_set(f, "orgs") for f in fast] == [as_set(s, "orgs") for s in slow]
    assert [diffing._lacking(base, target, on).to_list(), diffing._lacking(target, base, on).to_list()] == [
        gone.to_list(), come.to_list()
    ]  # fmt: skip


def test_a_roster_in_pieces_differs_as_one_in_one_piece_does(monkeypatch: pytest.MonkeyPatch) -> None:
    orgs = [{"sourcedId": str(number), "name": f"n{number}"} for number in range(23)]
    base, target = table("orgs", *orgs), table("orgs", *orgs[:7], {"sourcedId": "9", "name": "x"}, *orgs[11:])
    whole = compare({"orgs": base}, {"orgs": target}).tables["orgs"]
    monkeypatch.setattr(diffing, "_PIECE", 2)
    assert compare({"orgs": base}, {"orgs": target}).tables["orgs"].equals(whole)
    assert diffing.counts_of(whole) == {"added": 0, "updated": 1, "removed": 3}


def test_nothing_to_nothing_is_empty() -> None:
    assert compare({}, {}).empty and Difference().counts == {}
    assert tally({}, Difference()).is_empty()
    assert digest_after("0" * 64, compare({}, {"orgs": table("orgs", {"sourcedId": "a"})}).tables["orgs"]) == (
        diffing.table_digest(table("orgs", {"sourcedId": "a"}))
    )
    assert all(len(diffing.empty(name)) == 0 for name in TABLES)
