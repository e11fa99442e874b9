"""Two rosters in, the difference out: which records are new, which changed and how, which are gone. Pure.

Both sides are in normal form with unique sourcedIds. Rows that are the same on both sides are found by a 64-bit hash of
the whole row and never looked at again; a second, independent hash then proves that what is left over accounts for
every row of both sides. Only what is left over is paired by sourcedId.

Nothing here depends on the order of rows. What is stored (digests) is SHA-256, never polars' own hash, which is only
promised within one process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import polars as pl
import polars_hash

from rosters.frames import NOTHING_APART, Apart, Frames, held, rows_of, scan, side_by_side
from rosters.oneroster.normal import NORMAL, TABLES

KINDS: Final = ("added", "updated", "removed")
KIND: Final = pl.Enum(KINDS)
WAS: Final = "was."

#: Columns of a difference before the record's own.
ABOUT: Final = ("kind", "sourcedId", "school", "grade", "role", "fields")
DIMENSIONS: Final = ("school", "grade", "role")

ID = pl.col("sourcedId")
NO_ROWS: Final = "0" * 64
_MODULUS: Final = 1 << 256


def columns(table: str) -> tuple[str, ...]:
    """The columns of a difference of `table`, in order. A cell ``role`` of the record's own stands among the first."""
    cells = NORMAL[table][1:]
    return (*ABOUT, *(cell for cell in cells if cell not in ABOUT), *(WAS + cell for cell in cells))


def empty(table: str) -> pl.DataFrame:
    """`table` in normal form without rows."""
    return pl.DataFrame(schema=dict.fromkeys(NORMAL[table], pl.String))


def frame_of(roster: Frames, table: str) -> pl.DataFrame:
    """`table` of a roster, empty where the roster does not have it."""
    found = roster.get(table)
    return empty(table) if found is None else found


def scan_of(roster: Frames, table: str) -> pl.LazyFrame:
    """The same, of which no more is read than what is selected."""
    return scan(roster, table) if table in roster else empty(table).lazy()


def column_of(roster: Frames, table: str, column: str) -> pl.Series:
    return scan_of(roster, table).select(column).collect().to_series()


@dataclass(frozen=True)
class Difference:
    """What turns one roster into another. `tables` has only tables with changes; their columns are `columns(table)`:

    ``kind`` (`KIND`); ``sourcedId``; ``school``, ``grade``, ``role``: where the record belongs, "" where that means
    nothing; ``fields``: names of the changed columns, comma-separated, "" unless updated; the record's cells (of a
    removed one: its last); ``was.*``: the cell before, where an updated record changed it, else null.
    Removed rows come first, then updated, then added, each in the order of its roster: what matters most to a reviewer
    stands on the first page.
    """

    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not self.tables

    def scan(self, table: str) -> pl.LazyFrame:
        """A table of `tables`, of which no more is read than what is selected."""
        return scan(self.tables, table)

    @cached_property
    def counts(self) -> dict[str, dict[str, int]]:
        """{table: {"added": n, "updated": n, "removed": n}} of the tables with changes."""
        return {table: counts_of(self.scan(table).select("kind").collect()) for table in self.tables}

    @cached_property
    def sums(self) -> dict[str, tuple[int, int]]:
        """Table to the sums of the row digests of what comes and what goes; an update is both."""
        return {table: _sums(self.scan(table)) for table in self.tables}


def compare(base: Frames, target: Frames) -> Difference:
    """What turns `base` into `target`. The same frame object on both sides costs nothing."""
    return Difference({table: rows.collect() for table, rows in differences(base, target)})


def differences(base: Frames, target: Frames) -> Iterator[tuple[str, pl.LazyFrame]]:
    """The tables of `compare` one after the other, each for who writes it down and lets it go.

    Of a `base` on disk little is held at a time; a table of `target` is no longer needed once its difference was taken.
    """
    people = (_People(base), _People(target))
    for table in TABLES:
        if (table in base or table in target) and not (table in target and held(base, table) is target[table]):
            rows = _compare_table(table, scan_of(base, table), frame_of(target, table), people)
            if rows is not None:
                yield table, rows


def patched(base: pl.LazyFrame, rows: pl.LazyFrame) -> pl.LazyFrame:
    """`base` with the difference of its table laid over it: what stays in its order, then what changed, what is new."""
    leaving = rows.filter(pl.col("kind") != "added").select("sourcedId").collect().to_series()
    staying = base.filter(~ID.is_in(leaving.implode())) if len(leaving) else base
    coming = rows.filter(pl.col("kind") != "removed").select(base.collect_schema().names())
    return pl.concat([staying, coming])


# --------------------------------------------------------------------------------------------------------- one table


#: Rows that are in memory, or may be too many for that.
_Rows = pl.DataFrame | pl.LazyFrame

#: Rows of an accepted table that are in memory at once: as many as are stored together.
_PIECE: Final = 1 << 16


def _compare_table(
    table: str, base: pl.LazyFrame, target: pl.DataFrame, people: tuple[_People, _People]
) -> pl.LazyFrame | None:
    base, target = base.select(NORMAL[table]), target.select(NORMAL[table])
    gone, come = _left_over(base, target)
    if not gone.any() and not come.any():
        return None
    before, after = people
    coming = _those(target, come)
    removed, staying, was = _leaving(base, gone, coming["sourcedId"])
    known = coming["sourcedId"].is_in(was.implode())
    updated = coming.filter(known).join(staying, on="sourcedId", suffix=WAS, maintain_order="left")
    parts = [
        _finished(table, removed, "removed", before) if len(was) > len(staying) else None,
        _finished(table, _changes(table, updated), "updated", after) if len(updated) else None,
        _finished(table, _those(coming, ~known), "added", after) if not known.all() else None,
    ]
    return pl.concat(part for part in parts if part is not None)


def _leaving(base: pl.LazyFrame, gone: pl.Series, coming: pl.Series) -> tuple[_Rows, pl.DataFrame, pl.Series]:
    """Of the rows under `gone` those whose record does not come and those whose record does; and the ids of both. If
    the former are many, they are left where they are until somebody wants them."""
    if gone.sum() <= _PIECE:
        found = pl.concat([piece.filter(gone.slice(start, _PIECE)) for start, piece in _pieces(base, len(gone))])
        stays = found["sourcedId"].is_in(coming.implode())
        return found.filter(~stays), found.filter(stays), found["sourcedId"]
    was = _under(base, gone).select("sourcedId").collect().to_series()
    stays = pl.repeat(False, len(gone), eager=True).scatter(gone.arg_true(), was.is_in(coming.implode()))
    return _under(base, gone & ~stays), _under(base, stays).collect(), was


def _pieces(base: pl.LazyFrame, rows: int) -> Iterator[tuple[int, pl.DataFrame]]:
    """`base`, which has so many rows, one piece after the other, each with where it begins."""
    return ((start, base.slice(start, _PIECE).collect()) for start in range(0, max(rows, 1), _PIECE))


def _under(rows: pl.LazyFrame, mask: pl.Series) -> pl.LazyFrame:
    """The rows under `mask`, still where they were until somebody wants them."""
    if mask.all():
        return rows
    names = rows.collect_schema().names()
    marked = pl.concat([rows, mask.alias("wanted").to_frame().lazy()], how="horizontal")
    return marked.filter("wanted").select(names)


def _those(rows: pl.DataFrame, mask: pl.Series) -> pl.DataFrame:
    """The rows under `mask`; if that is all of them, no copy."""
    return rows if mask.all() else rows.filter(mask)


def _left_over(base: pl.LazyFrame, target: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """Which rows of each side the other does not have, cell for cell. `base` is read piece by piece."""
    rows = base.select(pl.len()).collect().item()
    if not rows or target.is_empty():
        return _all_of(rows), _all_of(len(target))
    before, after = pl.concat([_marked(piece) for _, piece in _pieces(base, rows)]), _marked(target)
    sides = ((before["row"], after["row"]), (after["row"], before["row"]))
    gone, come = side_by_side(lambda pair: ~pair[0].is_in(pair[1].implode()), sides, rows=max(rows, len(target)))
    if _checksum(before.filter(~gone)) != _checksum(after.filter(~come)):
        both, on = base.collect(), target.columns  # two different rows share a hash: compare the cells
        return _lacking(both, target, on), _lacking(target, both, on)
    return gone, come


def _all_of(rows: int) -> pl.Series:
    return pl.Series([True], dtype=pl.Boolean).new_from_index(0, rows)


def _lacking(rows: pl.DataFrame, others: pl.DataFrame, on: list[str]) -> pl.Series:
    """Which of `rows` are not among the `others`."""
    left = rows.with_row_index("number").join(others, on=on, how="anti")["number"]
    return pl.int_range(len(rows), dtype=pl.UInt32, eager=True).is_in(left.implode())


def _marked(rows: pl.DataFrame) -> pl.DataFrame:
    """Two hashes of each row, independent of each other: ``row``, by which it is found, and ``proof``."""
    return pl.DataFrame({"row": rows.hash_rows(), "proof": rows.hash_rows(seed=0x5EED)})


def _checksum(marks: pl.DataFrame) -> tuple[int, ...]:
    """How many rows, and their proofs in halves, so that sums do not overflow."""
    proof = pl.col("proof")
    return marks.select(pl.len(), high=(proof // 2**32).sum(), low=(proof % 2**32).sum()).row(0)


def _changes(table: str, updated: pl.DataFrame) -> pl.DataFrame:
    """Rows with every cell twice (``x``, ``xwas.``): which cells differ, and what they were."""
    cells = NORMAL[table][1:]
    differs = {cell: pl.col(cell) != pl.col(cell + WAS) for cell in cells}
    names = [pl.when(changed).then(pl.lit(cell)) for cell, changed in differs.items()]
    was = [pl.when(changed).then(pl.col(cell + WAS)).alias(WAS + cell) for cell, changed in differs.items()]
    fields = pl.concat_str(names, separator=",", ignore_nulls=True).alias("fields")
    return updated.select(*NORMAL[table], fields, *was)


def _finished(table: str, rows: _Rows, kind: str, people: _People) -> pl.LazyFrame:
    """`rows` in the shape of a difference. What is added to them is worked out when they are collected or written, so
    that it need never be in memory as a whole."""
    fill = [pl.lit(None, pl.String).alias(name) for name in columns(table) if name.startswith(WAS)]
    unchanged = [] if kind == "updated" else [pl.lit("").alias("fields"), *fill]
    return placed(table, rows, people).with_columns(pl.lit(kind, KIND).alias("kind"), *unchanged).select(columns(table))


# ------------------------------------------------------------------------ where a record belongs: school, grade, role


class _People:
    """A roster's users by sourcedId, for the tables that only name them; looked up once, when first asked for."""

    def __init__(self, roster: Frames) -> None:
        self._users = scan_of(roster, "users")

    @cached_property
    def places(self) -> pl.DataFrame:
        """One row per user: ``of`` (sourcedId), ``user.school``, ``user.grade``, ``user.role``."""
        return self._users.select(
            ID.alias("of"),
            pl.col("primaryOrgSourcedId").alias("user.school"),
            first_item("grades").alias("user.grade"),
            pl.col("role").alias("user.role"),
        ).collect()


def first_item(column: str) -> pl.Expr:
    """The first item of a list cell."""
    return pl.col(column).str.split_exact(",", 1).struct.field("field_0").str.strip_chars()


_NOTHING: Final = pl.lit("")

#: Where a record says itself where it belongs: table -> (school, grade, role).
_PLACES: Final[dict[str, tuple[pl.Expr, pl.Expr, pl.Expr]]] = {
    "orgs": (pl.when(pl.col("type") == "school").then(ID).otherwise(_NOTHING), _NOTHING, _NOTHING),
    "academicSessions": (_NOTHING, _NOTHING, _NOTHING),
    "courses": (pl.col("orgSourcedId"), _NOTHING, _NOTHING),
    "classes": (pl.col("schoolSourcedId"), first_item("grades"), _NOTHING),
    "users": (pl.col("primaryOrgSourcedId"), first_item("grades"), pl.col("role")),
    "userProfiles": (pl.col("user.school"), pl.col("user.grade"), pl.col("user.role")),
    "roles": (pl.col("orgSourcedId"), pl.col("user.grade"), pl.col("role")),
    "demographics": (pl.col("user.school"), pl.col("user.grade"), pl.col("user.role")),
    "enrollments": (pl.col("schoolSourcedId"), pl.col("user.grade"), pl.col("role")),
}

#: The column that names the user to whom a record belongs.
_USER: Final = {
    "userProfiles": "userSourcedId", "roles": "userSourcedId", "demographics": "sourcedId",
    "enrollments": "userSourcedId",
}  # fmt: skip


def placed(table: str, rows: _Rows, people: _People) -> pl.LazyFrame:
    """`rows` with ``school``, ``grade`` and ``role``; "" where the user is not known."""
    if user := _USER.get(table):
        places = people.places
        if isinstance(rows, pl.DataFrame) and 4 * len(rows) < len(places):
            places = places.filter(pl.col("of").is_in(rows[user].implode()))  # a join would look at everybody
        rows = rows.lazy().join(places.lazy(), left_on=user, right_on="of", how="left", maintain_order="left")
    named = dict(zip(DIMENSIONS, _PLACES[table], strict=True))
    return rows.lazy().with_columns(expression.fill_null("").alias(name) for name, expression in named.items())


# ------------------------------------------------------------------------------------------------------------ tallies


#: By what the changes of a table are counted.
_WAYS: Final = (*DIMENSIONS, "field")
_NONE: Final = dict.fromkeys(KINDS, 0)

TALLY: Final = {
    "table": pl.String, "dimension": pl.String, "key": pl.String, "label": pl.String,
    "before": pl.Int64, "added": pl.Int64, "updated": pl.Int64, "removed": pl.Int64,
    "beside": pl.Int64, "apart": pl.Int64,
}  # fmt: skip
#: Those of `TALLY` that say how many records were.
_WERE: Final = ("before", "beside", "apart")


def tally(base: Frames, difference: Difference, apart: Apart = NOTHING_APART) -> pl.DataFrame:
    """How many records were, came, changed and went: columns of `TALLY`.

    Of a delivery that speaks for a part, ``before`` are those that it could remove, ``beside`` others that it could
    change, and ``apart`` those with which it has nothing to do. Who changes is never among these: of somebody from
    another school it just spoke.

    One row with dimension "" for every table that the base or the difference has; for tables with changes also one per
    school, grade, role (whose key may be "") and per changed field, of which ``before`` is the whole table.
    """
    people = _People(base)
    names = school_names(base, difference)
    counts = difference.counts
    outside = {table: _unchanged(ids, difference, table) for table, ids in apart.outside.items()}

    def counted(asked: tuple[str, str]) -> pl.DataFrame | None:
        table, dimension = asked
        if dimension in DIMENSIONS:
            lived = _lived(table, scan_of(base, table), people, dimension, apart.stays.get(table), outside.get(table))
            found = _by_key(lived, difference.scan(table), dimension)
            if found["key"].to_list() == [""]:
                return None
            return _tallied(table, dimension, found, names if dimension == "school" else None)
        number, stay, fixed = rows_of(base, table), len(apart.stays.get(table, ())), len(outside.get(table, ()))
        were = dict(zip(_WERE, (number - stay, stay - fixed, fixed), strict=True))
        if dimension:
            return _tallied(table, dimension, _by_field(difference.scan(table), were))
        return _tallied(table, "", _whole(were, counts.get(table, _NONE))) if number or table in counts else None

    asked = [(table, dimension) for table in TABLES for dimension in ("", *(_WAYS if table in counts else ()))]
    rows = max((rows_of(base, table) for table in TABLES), default=0)
    rows = max(rows, *(sum(kinds.values()) for kinds in counts.values()), 0)
    parts = [part for part in side_by_side(counted, asked, rows=rows) if part is not None]
    return pl.concat(parts) if parts else pl.DataFrame(schema=TALLY)


def _unchanged(ids: pl.Series, difference: Difference, table: str) -> pl.Series:
    if table not in difference.tables:
        return ids
    changed = difference.scan(table).filter(pl.col("kind") == "updated").select("sourcedId").collect().to_series()
    return ids.filter(~ids.is_in(changed.implode())) if len(changed) else ids


def school_names(base: Frames, difference: Difference) -> pl.DataFrame:
    """``key`` (sourcedId) and ``label`` (name) of every org of either side; the newer name where both have one."""
    sides = [scan_of(base, "orgs").select(ID.alias("key"), pl.col("name").alias("label"))]
    if "orgs" in difference.tables:
        sides.insert(0, difference.scan("orgs").select(ID.alias("key"), pl.col("name").alias("label")))
    return pl.concat(sides).unique("key", keep="first", maintain_order=True).collect()


def counts_of(rows: pl.DataFrame) -> dict[str, int]:
    """How many rows of each kind, zeros included."""
    found = rows["kind"].value_counts()
    counts = dict(zip(found["kind"].to_list(), found["count"].to_list(), strict=True))
    return {kind: counts.get(kind, 0) for kind in KINDS}


def _whole(were: Mapping[str, int], counts: Mapping[str, int]) -> pl.DataFrame:
    return pl.DataFrame({"key": [""], **{name: [n] for name, n in {**were, **counts}.items()}})


def _lived(
    table: str,
    lived: pl.LazyFrame,
    people: _People,
    dimension: str,
    stays: pl.Series | None,
    outside: pl.Series | None,
) -> pl.DataFrame:
    """``key`` and how many records of the base stand there, as `tally` tells them apart. Users are looked up only where
    a record does not say it itself: enrollments outnumber them by far."""
    marks, numbers = _told_apart(stays, outside)
    place = _PLACES[table][DIMENSIONS.index(dimension)]
    named = place.meta.root_names()
    if not named:
        return lived.select(*marks, ID).select(pl.lit("").alias("key"), *numbers).collect()
    if not set(named) <= set(NORMAL[table]):
        # Looked up by number, which is several times as fast. Two ids in 2**64 with the same would move one count.
        places = people.places.lazy().with_columns(pl.col("of").hash())
        user = pl.col(_USER[table]).hash().alias("of")
        lived = lived.select(user, *marks).join(places, on="of", how="left")
    else:
        lived = lived.with_columns(marks)
    return lived.group_by(place.fill_null("").alias("key")).agg(numbers).collect()


def _told_apart(stays: pl.Series | None, outside: pl.Series | None) -> tuple[list[pl.Expr], list[pl.Expr]]:
    """Marks of the records that do not go and of those that do not change either, and from them the numbers of
    `_WERE`; without marks where all may go."""
    number, none = pl.len().cast(pl.Int64), pl.lit(0, pl.Int64)
    if stays is None or stays.is_empty():
        return [], [number.alias("before"), none.alias("beside"), none.alias("apart")]
    fixed = stays.clear() if outside is None else outside
    marks = [ID.is_in(stays.implode()).alias("stay"), ID.is_in(fixed.implode()).alias("fixed")]
    stay, fix = pl.col("stay").sum().cast(pl.Int64), pl.col("fixed").sum().cast(pl.Int64)
    return marks, [(number - stay).alias("before"), (stay - fix).alias("beside"), fix.alias("apart")]


def _by_key(lived: pl.DataFrame, rows: pl.LazyFrame, dimension: str) -> pl.DataFrame:
    kinds = [(pl.col("kind") == kind).sum().cast(pl.Int64).alias(kind) for kind in KINDS]
    changed = rows.group_by(pl.col(dimension).alias("key")).agg(kinds).collect()
    return lived.join(changed, on="key", how="full", coalesce=True).fill_null(0).sort("key")


def _by_field(rows: pl.LazyFrame, were: Mapping[str, int]) -> pl.DataFrame:
    updated = rows.filter(pl.col("kind") == "updated").select("fields").collect().to_series()
    fields = updated.str.split(",").explode(empty_as_null=False)
    found = fields.value_counts(sort=False).sort("fields")
    return found.select(
        pl.col("fields").alias("key"), pl.lit(0, pl.Int64).alias("added"), pl.lit(0, pl.Int64).alias("removed"),
        pl.col("count").cast(pl.Int64).alias("updated"), *(pl.lit(n, pl.Int64).alias(name) for name, n in were.items()),
    )  # fmt: skip


def _tallied(table: str, dimension: str, counts: pl.DataFrame, names: pl.DataFrame | None = None) -> pl.DataFrame:
    if names is not None:
        counts = counts.join(names, on="key", how="left", maintain_order="left")
    else:
        counts = counts.with_columns(pl.col("key").alias("label"))
    counts = counts.with_columns(
        pl.lit(table).alias("table"), pl.lit(dimension).alias("dimension"), pl.col("label").fill_null(pl.col("key"))
    )
    return counts.select(pl.col(name).cast(dtype) for name, dtype in TALLY.items())


# ------------------------------------------------------------------------------------------------------------ digests


def table_digest(frame: pl.DataFrame) -> str:
    """The sum of the SHA-256 of all rows, modulo 2**256, as 64 hex digits: the same for any order of rows.

    A row's text is its cells in the order of the normal form, joined by line feeds, which cells never hold.
    """
    return _hex(_sum_of(frame.lazy()))


def digest_after(base_digest: str, rows: pl.DataFrame) -> str:
    """The digest of a table that had `base_digest`, after the difference `rows`."""
    return _moved(base_digest, *_sums(rows.lazy()))


def digests_after(base_digests: Mapping[str, str], difference: Difference) -> dict[str, str]:
    """`digest_after` for every table with changes; hashes each changed row once per difference, however often asked."""
    return {table: _moved(base_digests.get(table, NO_ROWS), *sums) for table, sums in difference.sums.items()}


def roster_digest(tables: Mapping[str, tuple[str, int]]) -> str:
    """Of {table: (digest, rows)}: the SHA-256 of a line "table rows digest" for each table that has rows, in order."""
    lines = []
    for table in TABLES:
        digest, rows = tables.get(table, (NO_ROWS, 0))
        if rows:
            lines.append(f"{table} {rows} {digest}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def plan_digest(base_version: int, difference: Difference) -> str:
    """What an approval is bound to: the version that the plan starts from, and every row that leaves or comes."""
    lines, found = [f"version {base_version}\n"], difference.counts
    for table in TABLES:
        if counts := found.get(table):
            come, gone = difference.sums[table]
            lines.append(f"{table} {' '.join(str(counts[kind]) for kind in KINDS)} {_hex(come)} {_hex(gone)}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _sums(rows: pl.LazyFrame) -> tuple[int, int]:
    """The sums of the digests of the rows that come and of those that go; an updated one does both."""
    names = rows.collect_schema().names()
    cells = [name.removeprefix(WAS) for name in names if name.startswith(WAS)]  # in the order of the normal form
    come = rows.filter(pl.col("kind") != "removed").select("sourcedId", *cells)
    gone = rows.filter(pl.col("kind") != "added").select("sourcedId", *(_before(cell) for cell in cells))
    return _sum_of(come), _sum_of(gone)


def _before(cell: str) -> pl.Expr:
    """What a cell of an updated or removed record was."""
    return pl.coalesce(WAS + cell, cell).alias(cell)


def _sum_of(rows: pl.LazyFrame) -> int:
    """Word by word: eight sums of 32 bits each cannot overflow 64 bits. Streamed: the texts are never held whole."""
    row = pl.concat_str(pl.all(), separator="\n").alias("row")
    digest = polars_hash.col("row").chash.sha2_256()
    words = [pl.col("row").str.slice(8 * n, 8).str.to_integer(base=16, dtype=pl.UInt64).sum() for n in range(8)]
    named = [word.alias(str(n)) for n, word in enumerate(words)]
    sums = rows.select(row).select(digest).select(named).collect(engine="streaming").row(0)
    return sum(word << 32 * (7 - n) for n, word in enumerate(sums))


def _moved(digest: str, come: int, gone: int) -> str:
    return _hex(int(digest, 16) + come - gone)


def _hex(number: int) -> str:
    return f"{number % _MODULUS:064x}"
