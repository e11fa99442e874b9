"""A delivery that speaks for some schools or terms only: all else stays, whatever it says and leaves out (P10)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from rosters.findings import Findings
from rosters.frames import CheckOptions, Delivered, DeliveredTable, Frames, type_mode
from rosters.normalising import taken_as_read, target
from rosters.oneroster import VERSIONS
from rosters.scope import Scope, within
from rosters.validating import check

Record = dict[str, str]
TODAY = CheckOptions(today=date(2026, 10, 1))
A = Scope(("A",))


def delivery(
    tables: Mapping[str, Iterable[Record]], *, version: str = "1.1", mode: type_mode = "bulk", status: str = ""
) -> Delivered:
    made = {}
    for name, records in tables.items():
        header = VERSIONS[version].tables[name].header
        rows = [
            {**dict.fromkeys(header, ""), "status": status, **record, "line": n}
            for n, record in enumerate(records, start=2)
        ]
        frame = pl.DataFrame(rows, schema={**dict.fromkeys(header, pl.String), "line": pl.UInt32})
        made[name] = DeliveredTable(name, mode, frame, tuple(header))
    return Delivered(True, version, made, {}, Findings())


def laid(sent: Delivered, base: Frames, scope: Scope) -> Frames:
    """The roster after a delivery of which every row is taken as it is."""
    return target(taken_as_read(within(sent, base, scope)), base)


def rows(roster: Frames, table: str) -> dict[str, Record]:
    return {row["sourcedId"]: row for row in roster[table].to_dicts()} if table in roster else {}


def codes(sent: Delivered) -> dict[str, int]:
    return {f"{finding.code} {finding.file}".strip(): finding.count for finding in sent.findings}


# ----------------------------------------------------------------------------------------------- the smallest district

ORGS = [
    {"sourcedId": "D", "name": "District", "type": "district"},
    {"sourcedId": "A", "name": "Hill", "type": "school", "parentSourcedId": "D"},
    {"sourcedId": "A1", "name": "Hill, arts", "type": "department", "parentSourcedId": "A"},
    {"sourcedId": "B", "name": "Lake", "type": "school", "parentSourcedId": "D"},
]
SESSIONS = [
    {"sourcedId": "Y", "title": "Year", "type": "schoolYear", "startDate": "2026-08-01", "endDate": "2027-06-30",
     "schoolYear": "2027"},
    {"sourcedId": "T1", "title": "Fall", "type": "term", "startDate": "2026-08-01", "endDate": "2026-12-31",
     "schoolYear": "2027", "parentSourcedId": "Y"},
    {"sourcedId": "T2", "title": "Spring", "type": "term", "startDate": "2027-01-01", "endDate": "2027-06-30",
     "schoolYear": "2027", "parentSourcedId": "Y"},
]  # fmt: skip


def person(key: str, orgs: str, role: str = "student", **cells: str) -> Record:
    return {
        "sourcedId": key, "orgSourcedIds": orgs, "role": role, "enabledUser": "true", "username": key,
        "givenName": key, "familyName": "Byron", **cells,
    }  # fmt: skip


def class_of(key: str, school: str, terms: str = "T1") -> Record:
    return {
        "sourcedId": key, "title": key, "courseSourcedId": "C", "classType": "scheduled", "schoolSourcedId": school,
        "termSourcedIds": terms,
    }  # fmt: skip


def seat(user: str, klass: str, school: str) -> Record:
    return {
        "sourcedId": f"{user}-{klass}", "classSourcedId": klass, "schoolSourcedId": school, "userSourcedId": user,
        "role": "student",
    }  # fmt: skip


def whole() -> dict[str, list[Record]]:
    """Ann is at Hill, Bob at Lake, Cleo at both, Dora teaches for the district."""
    return {
        "orgs": [dict(org) for org in ORGS],
        "academicSessions": [dict(session) for session in SESSIONS],
        "courses": [{"sourcedId": "C", "title": "Maths", "orgSourcedId": "D"}],
        "classes": [class_of("a", "A"), class_of("a2", "A", "T2"), class_of("b", "B")],
        "users": [
            person("ann", "A"),
            person("bob", "B"),
            person("cleo", "B,A"),
            person("dora", "D", "teacher"),
            person("abe", "A"),
        ],
        "demographics": [{"sourcedId": key, "sex": "female"} for key in ("ann", "bob", "cleo", "abe")],
        "enrollments": [
            seat("ann", "a", "A"),
            seat("ann", "a2", "A"),
            seat("bob", "b", "B"),
            seat("cleo", "a", "A"),
            seat("cleo", "b", "B"),
        ],
    }


def live() -> Frames:
    return laid(delivery(whole()), {}, Scope())


def without(tables: dict[str, list[Record]], **ids: Iterable[str]) -> dict[str, list[Record]]:
    return {name: [r for r in rows if r["sourcedId"] not in ids.get(name, ())] for name, rows in tables.items()}


def of_hill(**changes: list[Record]) -> dict[str, list[Record]]:
    """What Hill's own SIS sends: nothing of Lake, and nobody of Lake."""
    mine = without(
        whole(), orgs=["B"], classes=["b"], users=["bob", "dora"], demographics=["bob"],
        enrollments=["bob-b", "cleo-b"],
    )  # fmt: skip
    mine["users"] = [person("ann", "A"), person("cleo", "A"), person("abe", "A")]
    return {**mine, **changes}


# -------------------------------------------------------------------------------------------------------- what it is


def test_a_scope_is_written_down_in_one_way_and_nothing_is_everything() -> None:
    assert not Scope() and Scope().as_json() == {} and Scope.from_json({}) == Scope()
    assert Scope.from_json({"schools": ["B", "A", "B"]}) == Scope(("A", "B"))
    assert Scope(("B", "A"), ("T",)).as_json() == {"schools": ["A", "B"], "terms": ["T"]}
    sent = delivery(whole())
    assert within(sent, live(), Scope()) is sent


def test_scopes_are_apart_where_no_school_is_in_both() -> None:
    assert A.apart_from(Scope(("B",))) and not A.apart_from(Scope(("B", "A")))
    assert not A.apart_from(Scope()) and not Scope().apart_from(A), "everything is in all"
    assert not Scope((), ("T1",)).apart_from(Scope((), ("T2",))), "people are in all terms"


# ------------------------------------------------------------------------------------------------- a school by itself


def test_the_file_of_one_school_changes_nothing_of_the_others() -> None:
    base = live()
    after = laid(delivery(of_hill()), base, A)
    for table in base:
        assert rows(after, table) == rows(base, table), table
    assert codes(within(delivery(of_hill()), base, A)) == {}


def test_what_a_school_leaves_out_goes_and_who_is_elsewhere_too_only_leaves_the_school() -> None:
    base = live()
    sent = without(of_hill(), users=["abe", "cleo"], demographics=["abe", "cleo"], enrollments=["cleo-a"])
    after = laid(delivery(sent), base, A)
    assert set(rows(after, "users")) == {"ann", "bob", "cleo", "dora"}, "Abe was at Hill only"
    assert set(rows(after, "demographics")) == {"ann", "bob", "cleo"}
    assert set(rows(after, "roles")) == {"ann@A", "bob@B", "cleo@B", "dora@D"}, "Cleo is at Lake still"
    assert set(rows(after, "enrollments")) == {"ann-a", "ann-a2", "bob-b", "cleo-b"}
    assert rows(after, "users")["cleo"] == rows(base, "users")["cleo"]


def test_who_comes_to_a_school_from_another_has_both_until_the_other_says_so() -> None:
    base = live()
    sent = of_hill()
    sent["users"].append(person("bob", "A", givenName="Robert"))
    after = laid(delivery(sent), base, A)
    assert rows(after, "users")["bob"]["givenName"] == "Robert"
    assert rows(after, "users")["bob"]["primaryOrgSourcedId"] == "B", "their home is for Lake to say"
    mine = {
        k: (r["roleType"], r["orgSourcedId"]) for k, r in rows(after, "roles").items() if r["userSourcedId"] == "bob"
    }
    assert mine == {"bob@B": ("primary", "B"), "bob@A": ("secondary", "A")}
    lake = without(
        whole(), orgs=["A", "A1"], classes=["a", "a2"], users=["ann", "bob", "dora", "abe"],
        demographics=["ann", "bob", "abe"], enrollments=["ann-a", "ann-a2", "bob-b", "cleo-a"],
    )  # fmt: skip
    later = laid(delivery(lake), after, Scope(("B",)))
    assert [r["orgSourcedId"] for r in rows(later, "roles").values() if r["userSourcedId"] == "bob"] == ["A"]
    assert "bob" in rows(later, "users"), "who is at Hill is not Lake's to take out"
    home = laid(delivery(sent), later, A)
    assert rows(home, "users")["bob"]["primaryOrgSourcedId"] == "A"
    assert rows(home, "roles")["bob@A"]["roleType"] == "primary"


def test_rows_about_other_schools_are_told_and_not_used() -> None:
    base = live()
    sent = whole()
    sent["classes"][2]["title"] = "another title"
    sent["users"][1]["givenName"] = "another name"
    sent["orgs"][3]["name"] = "another name"
    sent["enrollments"] = [*sent["enrollments"][:2], seat("ann", "b", "B")]
    sent["classes"].append(class_of("new", "B"))
    read = within(delivery(sent), base, A)
    assert codes(read) == {
        "OR-SCOPE-001 orgs.csv": 1, "OR-SCOPE-001 classes.csv": 2, "OR-SCOPE-001 users.csv": 1,
        "OR-SCOPE-001 demographics.csv": 1, "OR-SCOPE-001 enrollments.csv": 1,
    }  # fmt: skip
    assert {n: t.not_taken for n, t in read.tables.items() if t.not_taken} == {
        "orgs": 1, "classes": 2, "users": 1, "demographics": 1, "enrollments": 1,
    }  # fmt: skip
    assert read.untouched == 6, "Lake, its class, Bob, what is known of him, and his seat and Cleo's: but for roles"
    assert read.apart.outside["users"].to_list() == ["bob"], "who is nowhere or at both may change"
    assert set(read.apart.stays["users"]) == {"bob", "cleo", "dora"}, "and only who is at Hill alone may go"
    after = laid(delivery(sent), base, A)
    for table in base:
        lost = {"cleo-a"} if table == "enrollments" else set()
        assert rows(after, table) == {k: r for k, r in rows(base, table).items() if k not in lost}, table


def test_a_class_that_moves_to_another_school_stays_until_that_school_takes_it() -> None:
    base = live()
    sent = of_hill(classes=[class_of("a", "B"), class_of("a2", "A", "T2")])
    after = laid(delivery(sent), base, A)
    assert rows(after, "classes") == rows(base, "classes")
    taken = laid(delivery({**of_hill(), "classes": [class_of("b", "A"), class_of("a", "A")]}), base, A)
    assert rows(taken, "classes")["b"]["schoolSourcedId"] == "B", "nor does a school take another's class"


def test_a_school_does_not_come_under_another_one_by_a_file() -> None:
    base = live()
    captured = of_hill()
    captured["orgs"].append({"sourcedId": "B", "name": "Lake", "type": "school", "parentSourcedId": "A"})
    after = laid(delivery(captured), base, A)
    assert rows(after, "orgs") == rows(base, "orgs")
    assert rows(after, "classes") == rows(base, "classes")


def test_what_says_that_it_goes_goes_only_where_it_is_the_schools_own() -> None:
    base = live()
    for mode in ("bulk", "delta"):
        sent = of_hill() if mode == "bulk" else {"users": []}
        sent = {**sent, "users": [{"sourcedId": key, "status": "tobedeleted"} for key in ("abe", "bob", "cleo")]}
        if mode == "bulk":
            sent["users"].append(person("ann", "A"))
        read = within(delivery(sent, mode=mode), base, A)
        assert codes(read) == {"OR-SCOPE-001 users.csv": 2} | (
            {"OR-SCOPE-001 demographics.csv": 1} if mode == "bulk" else {}
        )
        after = target(taken_as_read(read), base)
        assert set(rows(base, "users")) - set(rows(after, "users")) == {"abe"}, mode
        assert set(rows(base, "roles")) - set(rows(after, "roles")) == {"abe@A"}, mode


def test_changes_of_a_school_keep_what_its_people_are_elsewhere() -> None:
    base = live()
    after = laid(delivery({"users": [person("cleo", "A", givenName="Cleopatra")]}, mode="delta"), base, A)
    assert set(rows(after, "roles")) == set(rows(base, "roles"))
    assert rows(after, "users")["cleo"]["givenName"] == "Cleopatra"
    assert rows(after, "users")["cleo"]["primaryOrgSourcedId"] == "B"


def test_roles_with_ids_of_their_own_are_each_schools() -> None:
    base = live()
    users = [
        {k: v for k, v in person(key, "").items() if k not in ("orgSourcedIds", "role")}
        for key in ("ann", "cleo", "bob")
    ]
    roles = [
        {"sourcedId": f"{user}@{org}", "userSourcedId": user, "roleType": kind, "role": "student", "orgSourcedId": org}
        for user, org, kind in (
            ("ann", "A", "primary"), ("cleo", "A", "secondary"), ("cleo", "B", "primary"), ("bob", "B", "primary"),
        )
    ]  # fmt: skip
    read = within(delivery({"users": users, "roles": roles}, version="1.2"), base, A)
    assert codes(read) == {"OR-SCOPE-001 users.csv": 1, "OR-SCOPE-001 roles.csv": 2}
    after = target(taken_as_read(read), base)
    assert set(rows(base, "users")) - set(rows(after, "users")) == {"abe"}
    assert set(rows(base, "roles")) - set(rows(after, "roles")) == {"abe@A"}
    assert rows(after, "users")["cleo"]["primaryOrgSourcedId"] == "B"


def test_who_comes_without_roles_is_where_they_were() -> None:
    base = live()
    users = [{"sourcedId": key, "enabledUser": "true", "username": key, "givenName": "New"} for key in ("ann", "bob")]
    read = within(delivery({"users": users, "roles": []}, version="1.2", mode="delta"), base, A)
    assert codes(read) == {"OR-SCOPE-001 users.csv": 1}
    after = rows(target(taken_as_read(read), base), "users")
    assert (after["ann"]["givenName"], after["bob"]["givenName"]) == ("New", "bob")


def test_a_file_of_which_nothing_is_for_these_schools_is_refused() -> None:
    read = within(delivery(of_hill()), live(), Scope(("B",)))
    assert codes(read)["OR-SCOPE-002"] == 1 and read.findings.fatal
    assert not any(len(finding.places) for finding in read.findings), "they may be another district's"
    assert check(read, base=live(), options=TODAY).rejections


def test_references_to_what_stays_stand_and_those_to_what_a_school_leaves_out_do_not() -> None:
    base = live()
    sent = of_hill()
    sent["enrollments"].append(seat("dora", "a", "A"))
    sent["users"].append(person("eve", "A", agentSourcedIds="bob"))
    found = check(within(delivery(sent), base, A), base=base, options=TODAY)
    assert not [f for f in found.findings if f.code in ("OR-CSV-171", "OR-CSV-174")]
    gone = without(of_hill(), users=["abe"], demographics=["abe"])
    gone["enrollments"].append(seat("abe", "a", "A"))
    found = check(within(delivery(gone), base, A), base=base, options=TODAY)
    assert [f.code for f in found.findings if f.code == "OR-CSV-174"] == ["OR-CSV-174"]


# ------------------------------------------------------------------------------------------------- a term by itself


def test_a_file_of_one_term_leaves_the_classes_of_the_others_and_all_people() -> None:
    base = live()
    sent = without(whole(), classes=["a2", "b"], users=["bob"], demographics=["bob"], courses=["C"],
                   enrollments=["ann-a2", "bob-b", "cleo-b"], academicSessions=["T2"], orgs=["B"])  # fmt: skip
    after = laid(delivery(sent), base, Scope((), ("T1",)))
    for table in base:
        lost = {"classes": {"b"}, "enrollments": {"bob-b", "cleo-b"}}.get(table, set())
        assert rows(after, table) == {k: r for k, r in rows(base, table).items() if k not in lost}, table
    both = laid(delivery(sent), base, Scope(("A",), ("T1",)))
    for table in base:
        assert rows(both, table) == rows(base, table), table


def test_a_school_year_holds_its_terms_and_a_class_of_two_terms_is_in_each() -> None:
    tables = whole()
    tables["classes"][1]["termSourcedIds"] = "T1, T2"
    base = laid(delivery(tables), {}, Scope())
    sent = without(whole(), classes=["a2"], enrollments=["ann-a2"])
    for terms in (("Y",), ("T2", "T1"), ("T2",)):
        assert "a2" not in rows(laid(delivery(sent), base, Scope((), terms)), "classes"), terms
    assert "a2" in rows(laid(delivery(sent), base, Scope((), ("another",))), "classes")


# -------------------------------------------------------------------------------------------------------- any district

SCHOOLS = ("A", "B", "E")


@st.composite
def districts(draw: st.DrawFn) -> dict[str, list[Record]]:
    """A district of three schools whose people, classes and seats are drawn; every reference leads somewhere."""
    tables = whole()
    tables["orgs"] = [*tables["orgs"], {"sourcedId": "E", "name": "East", "type": "school", "parentSourcedId": "D"}]
    places = st.lists(st.sampled_from([*SCHOOLS, "D", "A1"]), min_size=1, max_size=3, unique=True)
    people = draw(st.dictionaries(st.sampled_from("pqrstu"), places, min_size=1))
    tables["users"] = [
        person(key, ",".join(orgs), givenName=draw(st.sampled_from("xy"))) for key, orgs in people.items()
    ]
    tables["demographics"] = [{"sourcedId": key} for key in draw(st.sets(st.sampled_from(sorted(people))))]
    classes = draw(st.dictionaries(st.sampled_from("jklm"), st.sampled_from(SCHOOLS), min_size=1))
    tables["classes"] = [class_of(key, school) for key, school in classes.items()]
    seats = draw(st.sets(st.tuples(st.sampled_from(sorted(people)), st.sampled_from(sorted(classes)))))
    tables["enrollments"] = [seat(user, key, classes[key]) for user, key in sorted(seats)]
    return tables


def lies(tables: dict[str, list[Record]], inside: set[str]) -> dict[str, dict[str, bool | None]]:
    """For each record: is it inside, is it outside (False), or neither? Said by the definition, one by one."""
    outside = set(SCHOOLS) - inside
    inside = inside | ({"A1"} if "A" in inside else set())
    outside = outside | ({"A1"} if "A" in outside else set())

    def of(*orgs: str) -> bool | None:
        return True if set(orgs) <= inside else False if set(orgs) <= outside else None

    people = {u["sourcedId"]: of(*u["orgSourcedIds"].split(",")) for u in tables["users"]}
    roles = {f"{u['sourcedId']}@{org}": of(org) for u in tables["users"] for org in u["orgSourcedIds"].split(",")}
    return {
        "orgs": {org["sourcedId"]: of(org["sourcedId"]) for org in tables["orgs"]},
        "classes": {k["sourcedId"]: of(k["schoolSourcedId"]) for k in tables["classes"]},
        "enrollments": {e["sourcedId"]: of(e["schoolSourcedId"]) for e in tables["enrollments"]},
        "users": people,
        "demographics": {d["sourcedId"]: people[d["sourcedId"]] for d in tables["demographics"]},
        "roles": roles,
    }


@settings(max_examples=20, deadline=None)
@given(before=districts(), sent=districts(), schools=st.sets(st.sampled_from(SCHOOLS), min_size=1, max_size=2))
def test_scope_is_law(before: dict[str, list[Record]], sent: dict[str, list[Record]], schools: set[str]) -> None:
    base = laid(delivery(before), {}, Scope())
    read = within(delivery(sent), base, Scope(tuple(sorted(schools))))
    if read.findings.fatal:
        return
    checked = check(read, base=base, options=TODAY)
    after = target(checked, base)
    was, says = lies(before, schools), lies(sent, schools)
    for table, places in was.items():
        old, new, said = rows(base, table), rows(after, table), says[table]
        for key, place in places.items():
            comes = table in ("users", "demographics") and says["users"].get(key, False) is not False
            if place is False and not comes:
                assert new[key] == old[key], f"{table} {key} lies outside"
            if place is not True:
                assert key in new, f"{table} {key} is not only inside"
        for key in set(new) - set(old):
            assert said[key] is not False, f"{table} {key} came, and lies outside"
        spoken = all(len(checked.tables[name].frame) for name in ("classes", "enrollments"))  # empty, they say nothing
        if table in ("classes", "enrollments") and spoken:
            for key, place in places.items():
                if place is True and key not in said:
                    assert key not in new, f"{table} {key} lies inside and was left out"


@settings(max_examples=5, deadline=None)
@given(before=districts(), sent=districts())
def test_all_schools_one_after_the_other_are_the_whole(
    before: dict[str, list[Record]], sent: dict[str, list[Record]]
) -> None:
    """Of what belongs to one school only: the same as if the file had been about all of them."""
    base = laid(delivery(before), {}, Scope())
    at_once, step = laid(delivery(sent), base, Scope()), base
    for _ in range(2):  # a record may go from a school to one whose turn was before
        for school in SCHOOLS:
            step = laid(delivery(sent), step, Scope((school,)))
    taken = {k["sourcedId"]: k["schoolSourcedId"] for k in before["classes"]}
    for k in sent["classes"]:
        if taken.get(k["sourcedId"], k["schoolSourcedId"]) == k["schoolSourcedId"]:
            assert rows(step, "classes")[k["sourcedId"]] == rows(at_once, "classes")[k["sourcedId"]]
    assert set(rows(at_once, "users")) <= set(rows(step, "users")) | {
        u["sourcedId"] for u in sent["users"] if "D" in u["orgSourcedIds"]
    }
