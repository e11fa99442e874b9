"""What arrives becomes one form, and "could not read" never becomes "is gone"."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from rosters.diffing import compare
from rosters.findings import Findings
from rosters.frames import Checked, CheckedTable, Frames, type_mode
from rosters.normalising import normalise, target
from rosters.oneroster import VERSIONS
from rosters.oneroster.normal import NORMAL

Record = dict[str, str]


def delivered(
    version: str,
    name: str,
    records: Iterable[Record],
    *,
    mode: type_mode = "bulk",
    quarantined: Sequence[str] = (),
    dropped: Sequence[tuple[str, str]] = (),
    nameless: int = 0,
) -> CheckedTable:
    header = list(VERSIONS[version].tables[name].header)
    records = list(records)
    extra = sorted({column for record in records for column in record} - set(header))
    schema: dict[str, pl.DataType | type[pl.DataType]] = dict.fromkeys([*header, *extra], pl.String)
    rows = [{**dict.fromkeys(schema, ""), **record, "line": n + 2} for n, record in enumerate(records)]
    frame = pl.DataFrame(rows, schema={**schema, "line": pl.UInt32})
    return CheckedTable(
        name, mode, frame,
        pl.DataFrame({"sourcedId": list(quarantined)}, schema={"sourcedId": pl.String}),
        pl.DataFrame(list(dropped), schema={"sourcedId": pl.String, "column": pl.String}, orient="row"),
        nameless,
    )  # fmt: skip


def checked(version: str, *tables: CheckedTable) -> Checked:
    return Checked(version, {table.name: table for table in tables}, Findings())


def records(frames: Frames, table: str) -> dict[str, Record]:
    return {row["sourcedId"]: row for row in frames[table].to_dicts()} if table in frames else {}


def orgs_of(user: str, frames: Frames) -> set[str]:
    return {role["orgSourcedId"] for role in records(frames, "roles").values() if role["userSourcedId"] == user}


def pupil(key: str, orgs: str = "s1", **cells: str) -> Record:
    return {"sourcedId": key, "orgSourcedIds": orgs, "role": "student", "username": f"u{key}", **cells}


# ------------------------------------------------------------------------------------------------------ the normal form


def test_a_person_of_1_1_gets_a_role_for_each_org() -> None:
    frames = normalise(checked("1.1", delivered("1.1", "users", [pupil("ann", "s1, s2,s1"), pupil("bob", "")])))
    roles = [(r["sourcedId"], r["roleType"], r["role"], r["orgSourcedId"]) for r in frames["roles"].to_dicts()]
    assert roles == [("ann@s1", "primary", "student", "s1"), ("ann@s2", "secondary", "student", "s2")]
    assert [u["primaryOrgSourcedId"] for u in frames["users"].to_dicts()] == ["s1", ""]
    assert frames["roles"].columns == list(NORMAL["roles"]) and frames["users"].columns == list(NORMAL["users"])


ODD_IDS = st.text("a@%4025", min_size=1)


@given(pairs=st.lists(st.tuples(ODD_IDS, ODD_IDS), unique=True, max_size=6))
def test_no_two_roles_share_an_id(pairs: list[tuple[str, str]]) -> None:
    users: dict[str, list[str]] = {}
    for user, org in pairs:
        users.setdefault(user, []).append(org)
    people = [pupil(user, ",".join(orgs)) for user, orgs in users.items()]
    ids = normalise(checked("1.1", delivered("1.1", "users", people)))["roles"]["sourcedId"]
    assert len(ids) == ids.n_unique() == len(pairs)


def test_the_principal_role_of_1_2_is_the_primary_one_at_the_primary_org() -> None:
    users = [{"sourcedId": "a", "primaryOrgSourcedId": "s2"}, {"sourcedId": "b"}, {"sourcedId": "c"}]
    roles = [
        {"sourcedId": "1", "userSourcedId": "a", "roleType": "primary", "role": "aide", "orgSourcedId": "s1"},
        {"sourcedId": "2", "userSourcedId": "a", "roleType": "primary", "role": "teacher", "orgSourcedId": "s2"},
        {"sourcedId": "3", "userSourcedId": "b", "roleType": "secondary", "role": "aide", "orgSourcedId": "s1"},
        {"sourcedId": "4", "userSourcedId": "b", "roleType": "primary", "role": "student", "orgSourcedId": "s3"},
    ]
    new = target(checked("1.2", delivered("1.2", "users", users), delivered("1.2", "roles", roles)), {})
    found = {key: (u["role"], u["primaryOrgSourcedId"]) for key, u in records(new, "users").items()}
    assert found == {"a": ("teacher", "s2"), "b": ("student", "s3"), "c": ("", "")}


def test_metadata_becomes_one_json_object_and_passwords_are_left_behind() -> None:
    person = pupil("a", **{"metadata.z": 'say "é"', "metadata.a": "1", "metadata.n": "", "password": "secret"})
    (row,) = normalise(checked("1.1", delivered("1.1", "users", [person])))["users"].to_dicts()
    assert row["metadata"] == '{"a":"1","z":"say \\"é\\""}'
    assert list(json.loads(row["metadata"])) == ["a", "z"]
    assert "secret" not in row.values()
    bare = pupil("b", **{"metadata.z": ""})
    assert normalise(checked("1.1", delivered("1.1", "users", [bare])))["users"]["metadata"].to_list() == [""]


def test_blanks_in_lists_do_not_make_a_difference() -> None:
    rows = [{"sourcedId": "c", "grades": "09, 10 ,11", "termSourcedIds": "t1,t2", "title": "Math, honors"}]
    (row,) = normalise(checked("1.2", delivered("1.2", "classes", rows)))["classes"].to_dicts()
    assert (row["grades"], row["termSourcedIds"], row["title"]) == ("09,10,11", "t1,t2", "Math, honors")


# --------------------------------------------------------------------------------------------- over the accepted roster

ORGS = [{"sourcedId": "s1", "name": "Lincoln"}, {"sourcedId": "s2", "name": "Grant"}]


def accepted(people: Iterable[Record] = (), orgs: Iterable[Record] = ORGS) -> dict[str, pl.DataFrame]:
    return target(checked("1.1", delivered("1.1", "orgs", orgs), delivered("1.1", "users", people)), {})


PEOPLE = [pupil(str(n), f"s{n % 2 + 1}", email=f"{n}@x") for n in range(8)]


@settings(max_examples=60, deadline=None)
@given(
    bad=st.sets(st.sampled_from([p["sourcedId"] for p in PEOPLE])),
    absent=st.sets(st.sampled_from([p["sourcedId"] for p in PEOPLE])),
    nameless=st.integers(0, 1),
)
def test_no_removal_comes_from_what_could_not_be_read(bad: set[str], absent: set[str], nameless: int) -> None:
    base = accepted(PEOPLE)
    sent = [p for p in PEOPLE if p["sourcedId"] not in bad | absent]
    users = delivered("1.1", "users", sent, quarantined=sorted(bad), nameless=nameless)
    new = target(checked("1.1", users), base)
    gone = {key for key in records(base, "users") if key not in records(new, "users")}
    assert gone == (set() if nameless else absent - bad)
    gone_roles = {r["userSourcedId"] for key, r in records(base, "roles").items() if key not in records(new, "roles")}
    assert gone_roles == gone
    for key in bad:
        assert records(new, "users")[key] == records(base, "users")[key]
    assert new["orgs"] is base["orgs"]


@settings(max_examples=40, deadline=None)
@given(
    dropped=st.sets(
        st.tuples(st.sampled_from(["0", "1", "new"]), st.sampled_from(["email", "orgSourcedIds", "grades"]))
    )
)
def test_a_dropped_cell_keeps_its_accepted_value(dropped: set[tuple[str, str]]) -> None:
    base = accepted([pupil("0", "s1,s2", email="old", grades="01"), pupil("1", "s1", email="old", grades="01")])

    def now(key: str) -> Record:
        cells = {"email": "new", "grades": "02", "orgSourcedIds": "s2"}
        return pupil(key, orgs="s2") | cells | {c: "" for k, c in dropped if k == key and c != "orgSourcedIds"}

    users = delivered("1.1", "users", map(now, ("0", "1", "new")), dropped=sorted(dropped))
    new = target(checked("1.1", users), base)
    for key in ("0", "1"):
        found, was = records(new, "users")[key], records(base, "users")[key]
        assert found["email"] == ("old" if (key, "email") in dropped else "new")
        assert found["grades"] == ("01" if (key, "grades") in dropped else "02")
        kept = (key, "orgSourcedIds") in dropped
        assert found["primaryOrgSourcedId"] == (was["primaryOrgSourcedId"] if kept else "s2")
        assert orgs_of(key, new) == (orgs_of(key, base) if kept else {"s2"})
    assert records(new, "users")["new"]["email"] == ("" if ("new", "email") in dropped else "new")
    assert records(new, "roles")["new@s2"]["role"] == "student"


def test_what_a_kept_record_refers_to_is_kept_as_well() -> None:
    base = target(
        checked(
            "1.1",
            delivered("1.1", "orgs", [{"sourcedId": "d"}, {"sourcedId": "s", "parentSourcedId": "d"},
                                      {"sourcedId": "x"}]),
            delivered("1.1", "academicSessions", [{"sourcedId": "t"}, {"sourcedId": "y"}]),
            delivered("1.1", "courses", [{"sourcedId": "k", "orgSourcedId": "s"}]),
            delivered("1.1", "classes", [{"sourcedId": "c", "courseSourcedId": "k", "schoolSourcedId": "s",
                                          "termSourcedIds": "t"}]),
        ),
        {},
    )  # fmt: skip
    empty = [delivered("1.1", name, []) for name in ("orgs", "academicSessions", "courses")]
    new = target(checked("1.1", *empty, delivered("1.1", "classes", [], quarantined=["c"])), base)
    assert {name: set(records(new, name)) for name in new} == {
        "orgs": {"d", "s"}, "academicSessions": {"t"}, "courses": {"k"}, "classes": {"c"},
    }  # fmt: skip


def test_a_delta_changes_only_what_it_names() -> None:
    base = accepted(PEOPLE)
    rows = [
        pupil("0", "s1", email="new", status="active"), pupil("1", "s2", status="tobedeleted"),
        pupil("2", status="inactive"), pupil("9", "s2", status="active"),
    ]  # fmt: skip
    new = target(checked("1.1", delivered("1.1", "users", rows, mode="delta", quarantined=["3"], nameless=1)), base)
    counts = compare(base, new).counts
    assert counts["users"] == {"added": 1, "updated": 1, "removed": 2}
    assert {"1", "2"}.isdisjoint(records(new, "users")) and records(new, "users")["0"]["email"] == "new"
    assert set(records(new, "roles")) == {f"{n}@s{n % 2 + 1}" for n in (3, 4, 5, 6, 7)} | {"0@s1", "9@s2"}


def test_a_bulk_row_may_say_itself_that_its_record_is_gone() -> None:
    rows = [p | ({"status": "tobedeleted"} if p["sourcedId"] == "4" else {}) for p in PEOPLE]
    new = target(checked("1.1", delivered("1.1", "users", rows, nameless=1)), accepted(PEOPLE))
    assert set(records(accepted(PEOPLE), "users")) - set(records(new, "users")) == {"4"}


def test_an_absent_table_stays_and_an_empty_one_empties() -> None:
    base = accepted(PEOPLE)
    assert compare(base, target(checked("1.1", delivered("1.1", "orgs", ORGS)), base)).empty
    assert "users" not in target(checked("1.1", delivered("1.1", "users", [])), base)


def test_the_same_delivery_twice_changes_nothing() -> None:
    base = accepted(PEOPLE)
    again = checked("1.1", delivered("1.1", "orgs", ORGS[::-1]), delivered("1.1", "users", PEOPLE[::-1]))
    assert compare(base, target(again, base)).empty
    assert compare(base, target(checked("1.1", delivered("1.1", "users", PEOPLE, mode="delta")), base)).empty


def test_a_role_file_alone_moves_the_principal_role() -> None:
    role = {"sourcedId": "r", "userSourcedId": "a", "roleType": "primary", "role": "aide", "orgSourcedId": "s1"}
    users = delivered("1.2", "users", [{"sourcedId": "a"}])
    base = target(checked("1.2", users, delivered("1.2", "roles", [role])), {})
    new = target(checked("1.2", delivered("1.2", "roles", [role | {"role": "teacher"}])), base)
    assert records(new, "users")["a"]["role"] == "teacher"
    kept = target(checked("1.2", delivered("1.2", "roles", [], quarantined=["r"]), users), base)
    assert compare(base, kept).empty


# ------------------------------------------------------------------------------------------- a delivery that only adds

SENT = st.sampled_from(["left out", "as it was", "changed", "moved", "tobedeleted", "inactive", "unread", "half read"])


@settings(max_examples=80, deadline=None)
@given(
    sent=st.lists(SENT, min_size=len(PEOPLE), max_size=len(PEOPLE)),
    mode=st.sampled_from(["bulk", "delta"]),
    nameless=st.integers(0, 1),
)
def test_a_delivery_that_only_adds_removes_nothing_and_adds_and_changes_the_same(
    sent: list[str], mode: type_mode, nameless: int
) -> None:
    base = accepted(PEOPLE)
    how = dict(zip([p["sourcedId"] for p in PEOPLE], sent, strict=True))
    cells = {"changed": {"email": "new"}, "moved": {"orgSourcedIds": "s2"}, "half read": {"email": ""}}
    words = ("tobedeleted", "inactive")
    rows = [
        p | cells.get(word, {}) | ({"status": word} if word in words else {})
        for p, word in zip(PEOPLE, sent, strict=True)
        if word not in ("left out", "unread")
    ]
    users = delivered(
        "1.1", "users", [*rows, pupil("new", "s1")],
        mode=mode, nameless=nameless,
        quarantined=[key for key, word in how.items() if word == "unread"],
        dropped=[(key, "email") for key, word in how.items() if word == "half read"],
    )  # fmt: skip
    sends = checked("1.1", delivered("1.1", "orgs", []), users)
    new, whole = target(sends, base, additions_only=True), target(sends, base)

    counts = compare(base, new).counts
    assert all(kinds["removed"] == 0 for kinds in counts.values())
    assert counts["users"]["added"] == 1
    for table in ("orgs", "users", "roles"):
        was, found, otherwise = (records(frames, table) for frames in (base, new, whole))
        assert found == {**was, **otherwise}


def test_what_says_that_it_is_gone_stays_as_accepted_or_stays_away() -> None:
    base = accepted([pupil("old", email="kept")])
    gone = [pupil(key, email="last", status="tobedeleted") for key in ("old", "new")]
    for mode in ("bulk", "delta"):
        users = delivered("1.1", "users", gone, mode=mode)
        assert compare(base, target(checked("1.1", users), base, additions_only=True)).empty


def test_a_person_who_moves_has_the_old_role_too_while_nothing_is_removed() -> None:
    base = accepted([pupil("ann", "s1")])
    new = target(checked("1.1", delivered("1.1", "users", [pupil("ann", "s2")])), base, additions_only=True)
    assert records(new, "users")["ann"]["primaryOrgSourcedId"] == "s2"
    assert orgs_of("ann", new) == {"s1", "s2"}
