"""Files on disk: whole or not there, found by digest, paged without being loaded."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from django_q.models import Schedule
from hypothesis import example, given
from hypothesis import strategies as st

from portal.management.commands.qcluster import look_after_lost_work
from rosters import tasks
from rosters.diffing import Difference, compare, differences, table_digest
from rosters.findings import Findings, places
from rosters.oneroster.normal import NORMAL
from rosters.storing import Store, formula_safe


def table(name: str, *records: dict[str, str]) -> pl.DataFrame:
    lines = [{**dict.fromkeys(NORMAL[name], ""), **record} for record in records]
    return pl.DataFrame(lines, schema=dict.fromkeys(NORMAL[name], pl.String))


def person(number: int, **cells: str) -> dict[str, str]:
    school = f"s{number % 3}"
    return {"sourcedId": str(number), "primaryOrgSourcedId": school, "grades": "09", "role": "student", **cells}


def lazily(difference: Difference) -> Iterator[tuple[str, pl.LazyFrame]]:
    return ((name, difference.scan(name)) for name in difference.tables)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "not" / "yet")


@pytest.fixture
def difference() -> Difference:
    """90 people: 30 leave, 30 get another e-mail address, 30 come."""
    base = {"users": table("users", *(person(n, email="old@x") for n in range(60)))}
    changed = [person(n, email="Neu+1@x") for n in range(30, 60)]
    return compare(base, {"users": table("users", *changed, *map(person, range(60, 90)))})


def test_an_original_is_kept_byte_for_byte_under_its_hash(store: Store, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "sent.zip").write_bytes(content)
    expected = (hashlib.sha256(content).hexdigest(), len(content))
    assert store.keep_original(7, tmp_path / "sent.zip") == expected
    assert store.keep_original(7, io.BytesIO(content)) == expected
    kept = store.original(7, expected[0])
    assert kept.read_bytes() == content and [path.name for path in kept.parent.iterdir()] == [expected[0]]
    written = kept.stat().st_ino
    store.keep_original(7, io.BytesIO(content))
    assert kept.stat().st_ino == written, "the same bytes are not written again"
    kept.write_bytes(content[:-1])  # cut off by whatever is not us
    store.keep_original(7, io.BytesIO(content))
    assert kept.read_bytes() == content


def test_bytes_of_a_known_size_are_kept_if_they_are_others_and_from_where_they_stand(store: Store) -> None:
    first, other = os.urandom(5_000), os.urandom(5_000)
    store.keep_original(7, io.BytesIO(first))
    assert store.keep_original(7, io.BytesIO(other)) == (hashlib.sha256(other).hexdigest(), 5_000)
    standing = io.BytesIO(b"read before" + first)
    standing.seek(len(b"read before"))
    assert store.keep_original(7, standing) == (hashlib.sha256(first).hexdigest(), 5_000)
    assert store.keep_original(8, io.BytesIO(first))[1] == 5_000

    class Stream(io.BytesIO):
        def seekable(self) -> bool:
            return False

    assert store.keep_original(7, Stream(first)) == (hashlib.sha256(first).hexdigest(), 5_000)
    kept = [path.read_bytes() for path in store.original(7, "").iterdir()]
    assert sorted(kept) == sorted([first, other])


def test_a_delivery_that_breaks_off_leaves_nothing(store: Store) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell():
                raise ConnectionResetError
            return super().read(10)

    with pytest.raises(ConnectionResetError):
        store.keep_original(7, Broken(b"x" * 100))
    assert not [path for path in store.root.rglob("*") if path.is_file()]


def test_a_snapshot_comes_back_as_it_was(store: Store) -> None:
    users, orgs = table("users", person(1), person(2, givenName="Zoë")), table("orgs", {"sourcedId": "s1"})
    facts = {}
    for name, frame in {"users": users, "orgs": orgs}.items():
        facts[name] = {"digest": table_digest(frame), "rows": len(frame)}
        store.write_snapshot_table(7, name, frame.lazy(), table_digest(frame))
    found = store.frames(7, facts)
    assert found["users"].equals(users) and found["users"] is found["users"]
    assert set(found) == {"users", "orgs"} and "roles" not in found and len(found) == 2
    assert found.scan("users").select("givenName").collect()["givenName"].to_list() == ["", "Zoë"]
    with pytest.raises(KeyError):
        found["roles"]


def test_a_roster_on_disk_differs_as_one_in_memory_does(store: Store) -> None:
    """What leaves is read again, row group by row group, while the difference is written."""
    base = table("users", *(person(number) for number in range(100)))
    coming = [person(number, givenName="Ada") if number % 7 == 0 else person(number) for number in range(0, 120, 2)]
    target = {"users": table("users", *reversed(coming))}
    path = store.snapshot_path(7, "users", "d")
    path.parent.mkdir(parents=True)
    base.write_parquet(path, row_group_size=9)
    stored = store.write_difference(7, 1, differences(store.frames(7, {"users": {"digest": "d"}}), target))
    assert stored.frame("users").equals(compare({"users": base}, target).tables["users"])
    assert stored.counts("users") == {"added": 10, "updated": 8, "removed": 50}


def test_a_first_roster_is_written_once(store: Store) -> None:
    users = table("users", person(1), person(2))
    store.write_difference(7, 1, differences({}, {"users": users}))
    digest = table_digest(users)
    store.keep_as_snapshot(7, 1, "users", digest)
    store.keep_as_snapshot(7, 1, "users", digest)
    assert store.frames(7, {"users": {"digest": digest}})["users"].equals(users)
    assert store.snapshot_path(7, "users", digest).stat().st_nlink == 2
    store.write_difference(7, 1, ())
    assert store.frames(7, {"users": {"digest": digest}})["users"].equals(users)


def test_a_difference_comes_back_as_it_was(store: Store, difference: Difference) -> None:
    store.write_difference(7, 1, lazily(difference))
    found = store.difference(7, 1)
    assert found.tables == ("users",)
    assert found.load().tables["users"].equals(difference.tables["users"])
    store.write_difference(7, 1, ())
    assert store.difference(7, 1).tables == ()


def test_a_cell_that_was_empty_before_is_told_from_one_that_did_not_change(store: Store) -> None:
    """A column filled for the first time: otherwise an undo would not empty it again."""
    before, after = ({"users": table("users", person(1, email=email))} for email in ("", "new@x"))
    difference = compare(before, after)
    store.write_difference(7, 1, lazily(difference))
    assert store.difference(7, 1).load().tables["users"].equals(difference.tables["users"])


@pytest.mark.parametrize("kind", ["", "added", "updated", "removed"])
@pytest.mark.parametrize("school", ["", "s1"])
@pytest.mark.parametrize("field", ["", "email"])
@pytest.mark.parametrize("text", ["", "NEU+", "zz"])
def test_a_page_holds_what_fits_every_filter(
    store: Store, difference: Difference, kind: str, school: str, field: str, text: str
) -> None:
    store.write_difference(7, 1, lazily(difference))
    expected = [
        row for row in difference.tables["users"].to_dicts()
        if kind in ("", row["kind"]) and school in ("", row["school"])
        and (not field or field in row["fields"].split(","))
        and (not text or any(text.lower() in str(value).lower() for value in row.values() if value))
    ]  # fmt: skip
    filters: dict[str, Any] = {"kind": kind, "school": school, "field": field, "text": text}
    for offset in (0, 7, 200):
        page = store.difference(7, 1).page("users", **filters, offset=offset, limit=7)
        assert page.total == len(expected)
        assert page.rows == expected[offset : offset + 7]
    pieces = store.difference(7, 1).pieces("users", **filters)
    assert [row for piece in pieces for row in piece.to_dicts()] == expected


def test_all_rows_of_a_large_difference_are_read_a_row_group_at_a_time(store: Store) -> None:
    people = table("users", person(0)).select(pl.all().repeat_by(70_000).explode(empty_as_null=False))
    numbered = people.with_columns(sourcedId=pl.int_range(70_000).cast(pl.String))
    store.write_difference(7, 1, differences({}, {"users": numbered}))
    pieces = [piece["sourcedId"] for piece in store.difference(7, 1).pieces("users", kind="added")]
    assert [len(piece) for piece in pieces] == [65_536, 70_000 - 65_536]
    assert pl.concat(pieces).equals(numbered["sourcedId"])


def test_a_page_by_grade_and_role(store: Store, difference: Difference) -> None:
    store.write_difference(7, 1, lazily(difference))
    stored = store.difference(7, 1)
    assert stored.page("users", grade="09", role="student").total == 90
    assert stored.page("users", grade="10").rows == [] and stored.page("users", role="teacher").total == 0


def test_text_is_text_and_no_pattern(store: Store, difference: Difference) -> None:
    store.write_difference(7, 1, lazily(difference))
    assert store.difference(7, 1).page("users", text=".*").total == 0
    assert store.difference(7, 1).page("users", text="old@").total == 60


_CELLS = st.text("aAbB07-@. éÉ%", max_size=6)


@given(cells=st.lists(_CELLS, min_size=1, max_size=8), text=_CELLS.filter(bool))
@example(cells=["AB-0701", "ab-0701", "ab-0702", "07-ab01"], text="aB-0701")
@example(cells=["2026-08-10", "2026-08-11"], text="2026-08-10")
def test_a_text_is_found_whatever_its_case_and_wherever_it_stands(cells: list[str], text: str) -> None:
    people = [person(number, email=cell) for number, cell in enumerate(cells)]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        stored = store.write_difference(7, 1, lazily(compare({}, {"users": table("users", *people)})))
        found = [row["sourcedId"] for row in stored.page("users", text=text, limit=20).rows]
    wanted = re.compile(re.escape(text), re.IGNORECASE)
    assert sorted(found) == [one["sourcedId"] for one in people if any(map(wanted.search, one.values()))]


def finding_rows(findings: Findings) -> list[dict[str, Any]]:
    names = ("code", "severity", "file", "column", "message", "next_step")
    return [{"position": n, **{x: getattr(f, x) for x in names}} for n, f in enumerate(findings.ordered())]


def test_all_places_of_all_findings_as_csv(store: Store) -> None:
    findings = Findings()
    findings.add("OR-CSV-143", "users.csv", "grades", places=places(range(2, 30_002), ["=1+1"] * 30_000))
    findings.add("OR-CSV-015", "", "")
    store.write_places(7, 1, findings)
    text = "".join(store.places_csv(7, 1, finding_rows(findings)))
    lines = list(csv.DictReader(io.StringIO(text)))
    assert len(lines) == 30_001
    in_users = [line for line in lines if line["file"] == "users.csv"]
    assert in_users[0]["line"] == "2" and in_users[-1]["line"] == "30001" and in_users[0]["value"] == "'=1+1"
    assert [line["line"] for line in lines if not line["file"]] == [""]


def test_without_findings_there_is_a_header(store: Store) -> None:
    store.write_places(7, 1, Findings())
    assert "".join(store.places_csv(7, 1, [])).strip() == "file,line,column,value,code,severity,message,next_step"


@given(st.text())
def test_no_cell_is_a_formula(text: str) -> None:
    safe = formula_safe(text)
    assert not safe.startswith(("=", "+", "-", "@", "\t", "\r")) and safe.endswith(text)


def test_what_a_crash_left_behind_is_swept_and_nothing_else(store: Store, difference: Difference) -> None:
    kept, _ = store.keep_original(7, io.BytesIO(b"kept"))
    store.write_difference(7, 1, lazily(difference))
    store.write_snapshot_table(7, "users", table("users").lazy(), "a" * 64)
    named = sorted(path for path in store.root.rglob("*") if path.is_file())
    left = [store.sync_folder(7, 1) / ".left.part", store.original(7, kept).with_name(".half.part")]
    for path in left:
        path.touch()
    assert store.sweep(time.time() - 3600) == 0
    assert store.sweep(time.time() + 3600) == 2
    assert sorted(path for path in store.root.rglob("*") if path.is_file()) == named


@pytest.mark.django_db
def test_every_day_the_workers_sweep(data_dir: Path) -> None:
    look_after_lost_work()
    assert Schedule.objects.get(func="rosters.tasks.tidy").schedule_type == Schedule.DAILY
    left = data_dir / "snapshots" / "7" / ".half.part"
    left.parent.mkdir(parents=True)
    left.touch()
    os.utime(left, (0, 0))
    tasks.tidy()
    assert not left.exists()
