"""Two rosters in, the difference out: pure, vectorised, proved.

Whether a record is added, updated or removed is not stored anywhere, it follows from which side it is on. Rows are told
apart by a hash of all their cells, so only rows that differ are ever paired; two further sums over all rows, with hashes
of another seed, prove afterwards that base + difference is the target.

Digests are ours and the same on every machine: the text of a row is its cells in the order of the normal form, joined by
line feeds (no cell holds one); its digest is the SHA-256 of that text in UTF-8; the digest of a table is the sum of its
rows' digests modulo 2**256. So it does not depend on row order, and a difference changes it in proportion to its size.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from rosters.frames import Frames
from rosters.oneroster.normal import NORMAL, TABLES

KINDS = ("added", "updated", "removed")
KIND = pl.Enum(KINDS)
WAS = "was."
CONTEXT = ("school", "grade", "role")
_MODULUS = 2**256
_SEEDS = (0x5EED, 0xC0FFEE)


@dataclass(slots=True)
class Difference:
    """Per table with changes, one row per record that comes, changes or goes.

    Columns: ``kind`` (`KIND`), ``sourcedId``, ``school``, ``grade``, ``role`` (to which it belongs, "" if to none),
    ``fields`` (names of changed columns joined by commas), every other normal column (the target's value; of a removed
    record the base's), and ``was.<column>``: the base's value where an updated record changed, else null.
    """

    tables: dict[str, pl.DataFrame] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not self.tables

    def counts(self) -> dict[str, dict[str, int]]:
        """{table: {"added": n, "updated": n, "removed": n}} for every table with changes."""
        return {table: counts_of(frame) for table, frame in self.tables.items()}


def counts_of(frame: pl.DataFrame) -> dict[str, int]:
    found = dict(frame["kind"].value_counts().iter_rows())
    return {kind: found.get(kind, 0) for kind in KINDS}


def empty_table(table: str) -> pl.DataFrame:
    return pl.DataFrame(schema=dict.fromkeys(NORMAL[table], pl.String))


def table_of(frames: Frames, table: str) -> pl.DataFrame:
    """The table in the columns of the normal form; without rows if the roster lacks it."""
    return frames[table] if table in frames else empty_table(table)


def compare(base: Frames, target: Frames) -> Difference:
    """What must happen to `base` to make it `target`. Both in normal form, ids unique within a table."""
    found: dict[str, pl.DataFrame] = {}
    for table in TABLES:
        if table in base or table in target:
            before, after = table_of(base, table), table_of(target, table)
            if before is not after:
                frame = _compare_table(table, before, after)
                if len(frame):
                    found[table] = frame
    return Difference({table: _with_context(table, frame, base, target) for table, frame in found.items()})


def _row_hash(frame: pl.DataFrame, columns: tuple[str, ...], seed: int) -> pl.Series:
    return frame.select(pl.struct(columns).hash(seed)).to_series().alias("hash")


def _compare_table(table: str, before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    columns = NORMAL[table]
    values = columns[1:]
    old_hash, new_hash = _row_hash(before, columns, _SEEDS[0]), _row_hash(after, columns, _SEEDS[0])
    gone = before.filter(~old_hash.is_in(new_hash.implode())) if len(before) else before
    come = after.filter(~new_hash.is_in(old_hash.implode())) if len(before) else after
    was = gone.rename({c: f"{WAS}{c}" for c in values})
    updated = come.join(was, on="sourcedId", how="inner", maintain_order="left")
    added = come.join(gone.select("sourcedId"), on="sourcedId", how="anti") if len(gone) else come
    removed = gone.join(come.select("sourcedId"), on="sourcedId", how="anti") if len(come) else gone
    _prove(table, before, after, added, updated, removed)
    changed = [pl.col(c) != pl.col(f"{WAS}{c}") for c in values]
    updated = updated.with_columns(
        kind=pl.lit("updated", KIND),
        fields=pl.concat_list(
            pl.when(differs).then(pl.lit(c)) for c, differs in zip(values, changed, strict=True)
        ).list.drop_nulls().list.join(","),
        **{f"{WAS}{c}": pl.when(d).then(pl.col(f"{WAS}{c}")) for c, d in zip(values, changed, strict=True)},
    ) if len(updated) else updated  # fmt: skip
    empty = [pl.lit(None, pl.String).alias(f"{WAS}{c}") for c in values]
    order = ["kind", "sourcedId", "fields", *values, *(f"{WAS}{c}" for c in values)]
    parts = [updated.select(order)] if len(updated) else []
    for kind, frame in (("removed", removed), ("added", added)):
        if len(frame):
            parts.append(frame.with_columns(*empty, kind=pl.lit(kind, KIND), fields=pl.lit("")).select(order))
    return pl.concat(parts) if parts else pl.DataFrame(schema={c: KIND if c == "kind" else pl.String for c in order})


def _prove(table: str, before: pl.DataFrame, after: pl.DataFrame, *parts: pl.DataFrame) -> None:
    """base - removed - changed(old) + changed(new) + added must be the target: in number, and in a sum of hashes of
    another seed than the one that told the rows apart."""
    added, updated, removed = parts
    columns = NORMAL[table]
    if len(before) - len(removed) + len(added) != len(after):
        raise AssertionError(f"{table}: the difference does not add up in number")

    def total(frame: pl.DataFrame, names: dict[str, str] | None = None) -> int:
        frame = frame.select(columns) if names is None else frame.select(pl.col(o).alias(n) for n, o in names.items())
        return int(frame.select(pl.struct(columns).hash(_SEEDS[1]).sum()).item() or 0) if len(frame) else 0

    old_names = {c: c if c == "sourcedId" else f"{WAS}{c}" for c in columns}
    out = total(removed) + (total(updated, old_names) if len(updated) else 0)
    into = total(added) + (total(updated) if len(updated) else 0)
    if (total(before) - out + into - total(after)) % 2**64:
        raise AssertionError(f"{table}: the difference does not add up in content")


# ------------------------------------------------------------------------------------- to which school, grade and role it belongs


def _with_context(table: str, frame: pl.DataFrame, base: Frames, target: Frames) -> pl.DataFrame:
    rest = [c for c in frame.columns if c not in ("kind", "sourcedId", *CONTEXT)]  # a table's own role serves as context
    return context(table, frame, target, base).select("kind", "sourcedId", *CONTEXT, *rest)


def context(table: str, frame: pl.DataFrame, *rosters: Frames) -> pl.DataFrame:
    """`frame` with ``school``, ``grade`` and ``role`` added; people are looked up in `rosters`, the first that knows them."""
    blank = pl.lit("")
    first_grade = pl.col("grades").str.split(",").list.first().fill_null("")
    if table == "users":
        return frame.with_columns(
            school=pl.col("primaryOrgSourcedId"), grade=first_grade, **({} if "role" in frame.columns else {"role": blank})
        )
    if table == "classes":
        return frame.with_columns(school=pl.col("schoolSourcedId"), grade=first_grade, role=blank)
    if table == "courses":
        return frame.with_columns(school=pl.col("orgSourcedId"), grade=first_grade, role=blank)
    if table == "orgs":
        school = pl.when(pl.col("type") == "school").then(pl.col("sourcedId")).otherwise(blank)
        return frame.with_columns(school=school, grade=blank, role=blank)
    if table == "academicSessions":
        return frame.with_columns(school=blank, grade=blank, role=blank)
    key = "sourcedId" if table == "demographics" else "userSourcedId"
    people = _people(frame[key], rosters)
    joined = frame.join(people, left_on=key, right_on="who", how="left", maintain_order="left")
    own_school = {"roles": "orgSourcedId", "enrollments": "schoolSourcedId"}.get(table)
    return joined.with_columns(
        school=pl.col(own_school) if own_school else pl.col("person_school").fill_null(""),
        grade=pl.col("person_grade").fill_null(""),
        role=pl.col("role") if "role" in frame.columns else pl.col("person_role").fill_null(""),
    ).drop("person_school", "person_grade", "person_role")


def _people(wanted: pl.Series, rosters: tuple[Frames, ...]) -> pl.DataFrame:
    """who, person_school, person_grade, person_role of every wanted id that one of the rosters knows."""
    parts = []
    for roster in rosters:
        if "users" in roster:
            parts.append(
                roster["users"].lazy().select(
                    who=pl.col("sourcedId"), person_school=pl.col("primaryOrgSourcedId"),
                    person_grade=pl.col("grades").str.split(",").list.first().fill_null(""), person_role=pl.col("role"),
                )
            )  # fmt: skip
    if not parts:
        return pl.DataFrame(schema=dict.fromkeys(("who", "person_school", "person_grade", "person_role"), pl.String))
    names = wanted.unique()
    known = parts[0].filter(pl.col("who").is_in(names.implode())).collect() if len(names) < 50_000 else parts[0].collect()
    for part in parts[1:]:
        missing = names.filter(~names.is_in(known["who"].implode()))
        if len(missing):
            known = pl.concat([known, part.filter(pl.col("who").is_in(missing.implode())).collect()])
    return known


# ------------------------------------------------------------------------------------------------------------- what it amounts to


def tally(base: Frames, difference: Difference) -> pl.DataFrame:
    """The summary: table, dimension ("", school, grade, role, field), key, label, before, added, updated, removed.

    A line for each table that either side has, and for each school, grade, role and column that the difference touches.
    """
    parts: list[pl.DataFrame] = []
    for table in TABLES:
        before = table_of(base, table)
        frame = difference.tables.get(table)
        if not len(before) and frame is None:
            continue
        counts = counts_of(frame) if frame is not None else dict.fromkeys(KINDS, 0)
        parts.append(_line(table, "", "", len(before), counts))
        if frame is None:
            continue
        known = context(table, before, base).select(CONTEXT) if len(before) else pl.DataFrame(schema=dict.fromkeys(CONTEXT, pl.String))
        parts += [_by(table, dimension, frame, known) for dimension in CONTEXT]
        parts.append(_by_field(table, frame, len(before)))
    if not parts:
        return _line("", "", "", 0, dict.fromkeys(KINDS, 0)).head(0)
    names = _school_names(base, difference)
    return (
        pl.concat(parts)
        .join(names, left_on=["dimension", "key"], right_on=["dimension", "school"], how="left", maintain_order="left")
        .with_columns(pl.col("label").fill_null(""))
        .select("table", "dimension", "key", "label", "before", *KINDS)
    )


def _line(table: str, dimension: str, key: str, before: int, counts: Mapping[str, int]) -> pl.DataFrame:
    row = {"table": table, "dimension": dimension, "key": key, "before": before, **counts}
    types = {"table": pl.String, "dimension": pl.String, "key": pl.String}
    return pl.DataFrame([row], schema={**types, **dict.fromkeys(("before", *KINDS), pl.Int64)})


def _by(table: str, dimension: str, frame: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    counted = frame.group_by(pl.col(dimension).alias("key")).agg(
        (pl.col("kind") == kind).sum().cast(pl.Int64).alias(kind) for kind in KINDS
    )
    before = known.group_by(pl.col(dimension).alias("key")).agg(before=pl.len().cast(pl.Int64))
    lines = counted.join(before, on="key", how="left").with_columns(pl.col("before").fill_null(0))
    return lines.filter(pl.col("key") != "").sort("key").select(
        pl.lit(table).alias("table"), pl.lit(dimension).alias("dimension"), "key", "before", *KINDS
    )  # fmt: skip


def _by_field(table: str, frame: pl.DataFrame, before: int) -> pl.DataFrame:
    updated = frame.filter(pl.col("kind") == "updated").select(pl.col("fields").str.split(",").alias("key")).explode("key")
    counted = updated.group_by("key").agg(updated=pl.len().cast(pl.Int64)).sort("key")
    zero = pl.lit(0, pl.Int64)
    return counted.select(
        pl.lit(table).alias("table"), pl.lit("field").alias("dimension"), "key", pl.lit(before, pl.Int64).alias("before"),
        zero.alias("added"), "updated", zero.alias("removed"),
    )  # fmt: skip


def _school_names(base: Frames, difference: Difference) -> pl.DataFrame:
    """dimension "school", school, label: names from the base, and of schools that are new from the difference."""
    parts = [table_of(base, "orgs").select("sourcedId", "name")]
    if "orgs" in difference.tables:
        parts.append(difference.tables["orgs"].select("sourcedId", "name"))
    names = pl.concat(parts).unique("sourcedId", keep="last", maintain_order=True)
    return names.select(pl.lit("school").alias("dimension"), pl.col("sourcedId").alias("school"), pl.col("name").alias("label"))


# --------------------------------------------------------------------------------------------------------- laying it on, digests


def patched(table: str, base: pl.DataFrame, changes: pl.DataFrame | None) -> pl.DataFrame:
    """`base` with the changes of its table laid on: the target, in base's order, new records behind."""
    if changes is None:
        return base
    columns = NORMAL[table]
    touched = changes.filter(pl.col("kind") != "added")["sourcedId"]
    kept = base.filter(~pl.col("sourcedId").is_in(touched.implode())) if len(touched) else base
    return pl.concat([kept.select(columns), changes.filter(pl.col("kind") != "removed").select(columns)])


def _sum_of_digests(frame: pl.DataFrame, columns: list[str]) -> int:
    """Sum of the rows' digests; a chunk at a time, so that no second copy of a large table is alive."""
    total = 0
    sha256, number = hashlib.sha256, int.from_bytes
    for part in frame.iter_slices(50_000):
        texts = part.select(pl.concat_str(columns, separator="\n")).to_series().to_list()
        total += sum(number(sha256(text.encode()).digest(), "big") for text in texts)
    return total


def table_digest(table: str, frame: pl.DataFrame) -> str:
    """64 hexadecimal digits, independent of row order; see the module's docstring."""
    return f"{_sum_of_digests(frame, list(NORMAL[table])) % _MODULUS:064x}"


def digest_after(table: str, base_digest: str, changes: pl.DataFrame | None) -> str:
    """The digest of the patched table, from the base's and the changes alone. `base_digest` "" is that of no rows."""
    if changes is None:
        return base_digest or f"{0:064x}"
    columns = list(NORMAL[table])
    new = changes.filter(pl.col("kind") != "removed")
    removed = changes.filter(pl.col("kind") == "removed")
    updated = changes.filter(pl.col("kind") == "updated").select(
        "sourcedId", *(pl.coalesce(f"{WAS}{c}", c).alias(c) for c in columns[1:])
    )
    total = int(base_digest or "0", 16) + _sum_of_digests(new, columns)
    total -= _sum_of_digests(removed, columns) + _sum_of_digests(updated, columns)
    return f"{total % _MODULUS:064x}"


def roster_digest(tables: Mapping[str, Mapping[str, object]]) -> str:
    """The digest of a whole roster from {table: {"digest": ..., "rows": ...}}; tables without rows do not count."""
    text = "".join(f"{t} {tables[t]['rows']} {tables[t]['digest']}\n" for t in TABLES if t in tables and tables[t]["rows"])
    return hashlib.sha256(text.encode()).hexdigest()


def tables_after(base: Mapping[str, Mapping[str, object]], difference: Difference) -> dict[str, dict[str, object]]:
    """{table: {"digest", "rows"}} of the target, from the base's and the difference."""
    after: dict[str, dict[str, object]] = {table: dict(facts) for table, facts in base.items()}
    for table, changes in difference.tables.items():
        known = base.get(table, {"digest": "", "rows": 0})
        counts = counts_of(changes)
        after[table] = {
            "digest": digest_after(table, str(known["digest"]), changes),
            "rows": int(str(known["rows"])) + counts["added"] - counts["removed"],
        }
    return {table: facts for table, facts in after.items() if facts["rows"]}


def plan_digest(base_version: int, base_digest: str, target_digest: str, counts: Mapping[str, Mapping[str, int]]) -> str:
    """What an approval is bound to: the version it starts from, what is there, what will be, and the numbers shown."""
    plan = {"version": base_version, "base": base_digest, "target": target_digest, "counts": counts}
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
