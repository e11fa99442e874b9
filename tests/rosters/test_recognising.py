"""Who comes again under another id, and a delivery read under the ids that are kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from rosters.diffing import compare
from rosters.findings import Findings, places
from rosters.frames import Delivered, DeliveredTable, Frames, type_mode
from rosters.oneroster import VERSIONS
from rosters.oneroster.normal import NORMAL
from rosters.recognising import KEPT, as_delivered, joined, kept_for, known_again, sent_as, under_kept_ids

Record = dict[str, str]


def frame(table: str, *records: Record) -> pl.DataFrame:
    return pl.DataFrame([dict.fromkeys(NORMAL[table], "") | record for record in records], schema=NORMAL[table])


def pupil(key: str, given: str = "Ada", family: str = "Byron", **cells: str) -> Record:
    names = {"givenName": given, "familyName": family, "role": "student", "primaryOrgSourcedId": "s1"}
    return {"sourcedId": key, **names, **cells}


def again(before: Frames, after: Frames, version: str = "1.2") -> dict[str, tuple[str, str, bool]]:
    """Id that comes -> id that leaves, by what it was known, whether that is sure."""
    found = known_again(compare(before, after), version=version)
    return {row["delivered"]: (row["kept"], row["known_by"], row["sure"]) for row in found.to_dicts()}


def people(before: Iterable[Record], after: Iterable[Record]) -> dict[str, tuple[str, str, bool]]:
    return again({"users": frame("users", *before)}, {"users": frame("users", *after)})


# ------------------------------------------------------------------------------------------------------- known again


def test_a_person_is_known_by_a_number_a_login_or_an_address_of_their_own() -> None:
    for cell, words in (("identifier", "number"), ("username", "login"), ("email", "e-mail address")):
        found = people([pupil("a", **{cell: "X1"})], [pupil("b", **{cell: "x1"}, primaryOrgSourcedId="s2")])
        assert found == {"b": ("a", f"same {words}", True)}, "of a login the case says nothing"


def test_a_login_that_was_given_to_somebody_else_makes_nobody_the_same() -> None:
    was = pupil("a", username="u1")
    assert people([was], [pupil("b", "Grace", "Hopper", username="u1")]) == {}
    assert people([was], [pupil("b", username="u1", role="teacher")]) == {}
    assert people([was], [pupil("b", "Ada", "Lovelace", username="u1")])["b"][0] == "a", "one of two names may change"
    assert people([pupil("a", "", "", username="u1")], [pupil("b", "", "", username="u1")]) == {}, "no name is no proof"


def test_a_name_alone_is_told_apart_from_what_is_sure() -> None:
    assert people([pupil("a", "José", "Núñez")], [pupil("b", "Jose", "NUNEZ")]) == {
        "b": ("a", "same name, school and role", False)
    }
    assert people([pupil("a")], [pupil("b", primaryOrgSourcedId="s2")]) == {}, "another school"


def test_two_of_the_same_are_nobody() -> None:
    twins = [pupil("a", identifier="1"), pupil("b", identifier="1")]
    assert people(twins, [pupil("c", identifier="1")]) == {}
    assert people([pupil("a")], [pupil("b"), pupil("c")]) == {}
    told_apart = people([pupil("a", username="x"), pupil("b")], [pupil("c", username="x"), pupil("d")])
    assert {new: old for new, (old, *_) in told_apart.items()} == {"c": "a", "d": "b"}, "one by one"


def test_who_stays_is_nobody_who_comes() -> None:
    assert people([pupil("a", identifier="1")], [pupil("a", identifier="1"), pupil("b", identifier="1")]) == {}


def test_the_stronger_sign_counts_where_two_disagree() -> None:
    before = [pupil("a", identifier="1", username="x"), pupil("b", identifier="2", username="y")]
    after = [pupil("c", identifier="1", username="y"), pupil("d", identifier="2", username="x")]
    assert {new: old for new, (old, *_) in people(before, after).items()} == {"c": "a", "d": "b"}


def roster(prefix: str, title: str = "Maths 1", code: str = "M1", family: str = "Byron", number: str = "7") -> Frames:
    """A school, a term, a course, a class, a pupil and her enrollment, all under ids that begin with `prefix`."""
    p = prefix
    return {
        "orgs": frame("orgs", {"sourcedId": f"{p}s", "name": "Hill", "type": "school"}),
        "academicSessions": frame(
            "academicSessions",
            {"sourcedId": f"{p}t1", "title": "Q1", "type": "term", "startDate": "2026-08-01", "endDate": "2026-10-01"},
            {"sourcedId": f"{p}t2", "title": "Q2", "type": "term", "startDate": "2026-10-02", "endDate": "2026-12-20"},
        ),
        "courses": frame("courses", {"sourcedId": f"{p}c", "title": "Maths", "orgSourcedId": f"{p}s"}),
        "classes": frame(
            "classes",
            {
                "sourcedId": f"{p}k", "title": title, "classCode": code, "courseSourcedId": f"{p}c",
                "schoolSourcedId": f"{p}s", "termSourcedIds": ",".join(sorted((f"{p}t1", f"{p}t2"), reverse=p == "n")),
            },
        ),
        "users": frame("users", pupil(f"{p}u", family=family, identifier=number, primaryOrgSourcedId=f"{p}s")),
        "roles": frame(
            "roles", {"sourcedId": f"{p}r", "userSourcedId": f"{p}u", "orgSourcedId": f"{p}s", "role": "student"}
        ),
        "enrollments": frame(
            "enrollments",
            {"sourcedId": f"{p}e", "userSourcedId": f"{p}u", "classSourcedId": f"{p}k", "role": "student"},
        ),
    }  # fmt: skip


def test_what_belongs_to_others_is_known_by_whose_it_is() -> None:
    found = again(roster("o"), roster("n"))
    assert {new: old for new, (old, *_) in found.items()} == {
        f"n{x}": f"o{x}" for x in ("s", "t1", "t2", "c", "k", "u", "r", "e")
    }
    assert not found["nc"][2], "a course without a code is known by its title only"
    assert not found["nk"][2] and not found["ne"][2], "and so is what hangs on it"
    assert found["nu"][2] and found["nr"][2], "but not who is known by a number"
    assert "nr" not in again(roster("o"), roster("n"), version="1.1"), "1.1 has no ids of roles"


def test_a_class_of_another_term_is_another_class() -> None:
    other = dict(roster("n"))
    other["academicSessions"] = other["academicSessions"].with_columns(endDate=pl.lit("2027-06-01"))
    found = again(roster("o"), other)
    assert "nk" not in found and "ne" not in found and found["nu"][0] == "ou"


# -------------------------------------------------------------------------------------------------- lists of kept ids


def pairs(**kept: Mapping[str, str]) -> pl.DataFrame:
    rows = [(table, new, old) for table, ids in kept.items() for new, old in ids.items()]
    return pl.DataFrame(rows, schema=KEPT, orient="row")


def as_dict(ids: pl.DataFrame) -> dict[str, str]:
    return dict(ids.select("delivered", "kept").rows())


def test_a_list_grows_and_an_id_is_kept_for_one_record_only() -> None:
    first = joined(pairs(), pairs(users={"b": "a"}))
    assert as_dict(first) == {"b": "a"}
    assert as_dict(joined(first, pairs(users={"c": "a"}))) == {"c": "a"}, "the SIS gave her a third id"
    assert as_dict(joined(first, pairs(users={"a": "x"}))) == {"b": "x"}, "in the roster, b is called a"
    assert len(joined(first, pairs(classes={"b": "k"}))) == 2, "ids of classes are no ids of people"
    ids = first.lazy()
    assert (kept_for(ids, "users", "b"), sent_as(ids, "users", "a")) == ("a", "b")
    assert kept_for(ids, "demographics", "b") == "a" and kept_for(ids, "classes", "b") == "b"


# ------------------------------------------------------------------------------------------------------ read under them


def table(name: str, *records: Record, mode: type_mode = "bulk", version: str = "1.1") -> DeliveredTable:
    header = VERSIONS[version].tables[name].header
    rows = [dict.fromkeys(header, "") | record | {"line": line} for line, record in enumerate(records, start=2)]
    schema = dict.fromkeys(header, pl.String) | {"line": pl.UInt32}
    return DeliveredTable(name, mode, pl.DataFrame(rows, schema=schema), header)


def delivered(*tables: DeliveredTable, version: str = "1.1") -> Delivered:
    return Delivered(True, version, {t.name: t for t in tables}, {}, Findings())


def cells(read: Delivered, name: str, column: str) -> list[str]:
    return read.tables[name].frame[column].to_list()


def test_every_cell_that_names_a_record_is_read_so() -> None:
    kept = pairs(users={"b": "a", "d": "c"}, orgs={"s2": "s1"}, classes={"k2": "k1"}, academicSessions={"t2": "t1"})
    read = under_kept_ids(
        delivered(
            table(
                "users", {"sourcedId": "b", "orgSourcedIds": "s2, s3", "agentSourcedIds": "d,e"}, {"sourcedId": "s2"}
            ),
            table("classes", {"sourcedId": "k2", "termSourcedIds": "t0,t2", "schoolSourcedId": "s2"}),
            table("demographics", {"sourcedId": "b"}),
            table("enrollments", {"sourcedId": "b", "userSourcedId": "b", "classSourcedId": "k2"}),
        ),
        kept,
    )
    assert cells(read, "users", "sourcedId") == ["a", "s2"], "s2 is the id of a school"
    assert cells(read, "users", "orgSourcedIds") == ["s1,s3", ""]
    assert cells(read, "users", "agentSourcedIds") == ["c,e", ""]
    assert cells(read, "classes", "termSourcedIds") == ["t0,t1"]
    assert cells(read, "demographics", "sourcedId") == ["a"], "whose they are"
    assert cells(read, "enrollments", "sourcedId") == ["b"], "an id of an enrollment is none of a person"
    assert cells(read, "enrollments", "userSourcedId") == ["a"]
    assert not len(read.findings)


def test_rule_OR_ID_001_two_records_are_never_taken_for_one() -> None:
    seats = table("enrollments", {"sourcedId": "e1", "userSourcedId": "a"}, {"sourcedId": "e2", "userSourcedId": "b"})
    met = delivered(table("users", {"sourcedId": "a"}, {"sourcedId": "b"}, {"sourcedId": "c"}), seats)
    kept = pairs(users={"b": "a"})
    read = under_kept_ids(met, kept)
    (finding,) = read.findings.ordered()
    assert (finding.code, finding.file, finding.effect) == ("OR-ID-001", "users.csv", "row")
    assert finding.places.rows() == [(2, "a")]
    assert cells(read, "users", "sourcedId") == ["a", "c"]
    assert read.tables["users"].set_aside == 1
    strange, own = cells(read, "enrollments", "userSourcedId")
    assert own == "a" and strange not in ("a", "b", "c"), "the seat of the other one is not hers"

    read.findings.add("OR-CSV-167", "enrollments.csv", "userSourcedId", places=places([2, 3], [strange, "a"]))
    as_delivered(read.findings, kept, "1.1")
    told = {f.code: f.places["value"].to_list() for f in read.findings}
    assert told == {"OR-ID-001": ["a"], "OR-CSV-167": ["a", "b"]}, "as they stand in the file"


def test_rule_OR_ID_001_is_silent_where_the_sis_goes_back_to_its_old_ids() -> None:
    read = under_kept_ids(delivered(table("users", {"sourcedId": "a"})), pairs(users={"b": "a"}))
    assert cells(read, "users", "sourcedId") == ["a"] and not len(read.findings)
    of_delta = delivered(table("users", {"sourcedId": "a"}, mode="delta"))
    assert under_kept_ids(of_delta, pairs(users={"b": "a"})).tables["users"].set_aside == 1, "b need not come"


def test_ids_that_change_places_are_no_collision() -> None:
    read = under_kept_ids(
        delivered(table("users", {"sourcedId": "a"}, {"sourcedId": "b"})), pairs(users={"a": "b", "b": "a"})
    )
    assert cells(read, "users", "sourcedId") == ["b", "a"] and not len(read.findings)


IDS = st.sampled_from("abcdefgh")


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(IDS, IDS, max_size=6).filter(lambda d: len(set(d.values())) == len(d)),
    st.lists(IDS, unique=True, min_size=1),
    st.lists(IDS, max_size=8),
)
def test_no_two_records_become_one_and_references_follow(
    kept: dict[str, str], ids: list[str], seats: list[str]
) -> None:
    came = delivered(
        table("users", *({"sourcedId": key} for key in ids)),
        table("enrollments", *({"sourcedId": f"e{n}", "userSourcedId": key} for n, key in enumerate(seats))),
    )
    read = under_kept_ids(came, pairs(users={new: old for new, old in kept.items() if new != old}))
    lines = dict(read.tables["users"].frame.select("line", "sourcedId").rows())
    assert len(set(lines.values())) == len(lines), "no id twice"
    assert len(lines) + read.tables["users"].set_aside == len(ids), "no row is lost"
    name = {key: lines.get(number) for number, key in enumerate(ids, start=2)}
    for key in ids:
        assert name[key] in (kept.get(key, key), None)
    for key, seat in zip(seats, cells(read, "enrollments", "userSourcedId"), strict=True):
        if key in name and name[key] is not None:
            assert seat == name[key], "it belongs to whom it belonged to"
        elif key in name:
            assert seat not in lines.values(), "or to nobody"


def test_a_school_under_another_id_number_and_name_is_known_by_its_people() -> None:
    old = {"sourcedId": "s1", "name": "Hill", "type": "school", "identifier": "1"}
    new = {"sourcedId": "s9", "name": "Ada Lovelace School", "type": "school", "identifier": "9"}

    def with_people(at: str, many: int, more: int = 0, elsewhere: str = "s2") -> pl.DataFrame:
        moved = [pupil(f"p{n}", username=f"p{n}", primaryOrgSourcedId=at) for n in range(many)]
        return frame(
            "users", *moved, *(pupil(f"q{n}", username=f"q{n}", primaryOrgSourcedId=elsewhere) for n in range(more))
        )

    def found(before: pl.DataFrame, after: pl.DataFrame) -> dict[str, tuple[str, str, bool]]:
        return again({"orgs": frame("orgs", old), "users": before}, {"orgs": frame("orgs", new), "users": after})

    assert found(with_people("s1", 20), with_people("s9", 20)) == {"s9": ("s1", "same people", False)}
    assert found(with_people("s1", 20), with_people("s9", 19)) == {"s9": ("s1", "same people", False)}, "one left"
    assert found(with_people("s1", 9), with_people("s9", 9)) == {}, "too few to tell"
    assert found(with_people("s1", 20, 10, "s1"), with_people("s9", 20, 10)) == {}, "a third went elsewhere"
    assert found(with_people("s1", 20, 10), with_people("s9", 20, 10, "s9")) == {}, "or came from there: a merger"
