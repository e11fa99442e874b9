"""Who comes again under another id: found in a difference, and read under the id that products know from then on.

A SIS that is replaced, or that makes ids out of names, gives the same people other ids. Receivers know records by
their sourcedId alone: for them everybody would leave, and strangers come. Here a difference is asked which of those
who leave are among those who come (`known_again`); once a person has said so, deliveries are read under the ids that
are *kept* (`under_kept_ids`), before anything is checked or compared, and what is found is told by the ids of the file
(`as_delivered`). (OneRoster best practice: a list of old and new ids, `OR-CSV-261`.)

A list of kept ids is a frame of `KEPT`: of each table the id that the district sends (``delivered``) and the one that
stands for it (``kept``), each there once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from rosters.diffing import Difference, scan_of
from rosters.findings import Findings, places
from rosters.frames import LINE, Delivered, DeliveredTable, Frames
from rosters.oneroster import VERSIONS
from rosters.oneroster.normal import LISTED_REFERENCES, NORMAL, REFERENCES
from rosters.oneroster.spec import Column

KEPT: Final = {"table": pl.String, "delivered": pl.String, "kept": pl.String}
#: Columns of `known_again`: those of `KEPT`, by which `Way` it was known, whether that is sure, and for a person who
#: looks at it what the record was and is called, and its school.
AGAIN: Final = {
    **KEPT, "known_by": pl.String, "sure": pl.Boolean, "was": pl.String, "now": pl.String, "school": pl.String,
}  # fmt: skip

#: Written before the id of a record that is not the one for which that id is kept: an id as the standard allows it, so
#: that nothing is said of it but that nobody has it.
_ANOTHER: Final = "@/@another@/@"


#: Of an org, and no cell of its own: where nearly everybody of one that leaves goes to one that comes, the former's id.
_MOVED: Final = "moved"
#: So many of both must be the same, and no fewer than these.
_NEARLY_ALL: Final = 0.9
_SOME: Final = 10


@dataclass(frozen=True, slots=True)
class Way:
    """A way to know a record again: all `cells` are the same, the first is filled, and no other record that leaves or
    comes has these. `alike`: of these, one at least must be the same too. Not `sure`: two records could be so by
    chance, and a person should look."""

    words: str
    cells: tuple[str, ...]
    alike: tuple[str, ...] = ()
    sure: bool = True


def _of_person(words: str, cell: str) -> Way:
    """A login or a number is given to somebody else when its owner leaves: a name must be the same too."""
    return Way(words, (cell, "role"), alike=("givenName", "familyName"))


#: The ways of each table, the best first. A record that only belongs to a person or a class is known by whose it is.
WAYS: Final[dict[str, tuple[Way, ...]]] = {
    "orgs": (
        Way("same number", ("identifier", "type")),
        Way("same name", ("name", "type")),
        Way("same people", (_MOVED,), sure=False),
    ),
    "academicSessions": (Way("same title and days", ("title", "type", "startDate", "endDate")),),
    "courses": (
        Way("same code", ("courseCode", "orgSourcedId", "schoolYearSourcedId")),
        Way("same title", ("title", "orgSourcedId", "schoolYearSourcedId"), sure=False),
    ),
    "classes": (
        Way("same code", ("classCode", "courseSourcedId", "schoolSourcedId", "termSourcedIds")),
        Way("same title", ("title", "courseSourcedId", "schoolSourcedId", "termSourcedIds"), sure=False),
    ),
    "users": (
        _of_person("same number", "identifier"),
        _of_person("same login", "username"),
        _of_person("same e-mail address", "email"),
        _of_person("same master identifier", "userMasterIdentifier"),
        Way("same name, school and role", ("familyName", "givenName", "primaryOrgSourcedId", "role"), sure=False),
    ),
    "userProfiles": (Way("same profile", ("userSourcedId", "profileType", "vendorId", "applicationId")),),
    "roles": (Way("same role", ("userSourcedId", "orgSourcedId", "role")),),
    "enrollments": (Way("same class, person and role", ("userSourcedId", "classSourcedId", "role")),),
}
#: Of a name nothing but the letters counts, without accents.
_NAMES: Final = ("givenName", "familyName")
_CALLED: Final[dict[str, tuple[str, ...]]] = {
    "orgs": ("name",), "academicSessions": ("title",), "courses": ("title",), "classes": ("title",),
    "users": ("givenName", "familyName"),
}  # fmt: skip


# --------------------------------------------------------------------------------------------------------- known again


def newest_years(base: Frames, difference: Difference) -> tuple[int, int]:
    """The latest ``schoolYear`` of any session before a difference and after it; 0 where none says a year."""
    year = pl.col("schoolYear").filter(pl.col("schoolYear").str.contains("^[0-9]{4}$")).cast(pl.Int32).max()

    def newest(rows: pl.LazyFrame) -> int:
        return int(rows.select(year).collect().item() or 0)

    lived = scan_of(base, "academicSessions")
    if "academicSessions" not in difference.tables:
        return newest(lived), newest(lived)
    rows = difference.scan("academicSessions")
    stays = lived.join(rows.filter(pl.col("kind") != "added"), on="sourcedId", how="anti")
    return newest(lived), max(newest(stays), newest(rows.filter(pl.col("kind") != "removed")))


def known_again(difference: Difference, *, version: str, only: Collection[str] = WAYS.keys()) -> pl.DataFrame:
    """Which of the removed records are among the added ones, as `AGAIN`: ``kept`` is the id of the removed one.

    `version`: of the delivery; 1.1's roles have no ids of their own. `only` these tables are asked. What records refer
    to is known again before they are: of a district whose ids all changed, enrollments are found by the classes and
    people that were found before.
    """
    found: dict[str, pl.DataFrame] = {}
    for table, ways in WAYS.items():
        if (
            table in only
            and table in difference.tables
            and not (version == "1.1" and table in ("roles", "userProfiles"))
        ):
            again = _of_table(table, ways, difference, found)
            if len(again):
                found[table] = again
    parts = [again.select(pl.lit(table).alias("table"), *list(AGAIN)[1:]) for table, again in found.items()]
    return pl.concat(parts) if parts else pl.DataFrame(schema=AGAIN)


def _of_table(
    table: str, ways: tuple[Way, ...], difference: Difference, found: Mapping[str, pl.DataFrame]
) -> pl.DataFrame:
    cells = [c for c in dict.fromkeys(cell for way in ways for cell in (*way.cells, *way.alike)) if c != _MOVED]
    called = pl.concat_str(_CALLED[table], separator=" ") if table in _CALLED else pl.lit("")
    wanted = ["sourcedId", *cells, called.alias("called"), pl.col("school").alias("school.of")]
    rows = difference.scan(table)
    gone = rows.filter(pl.col("kind") == "removed").select(wanted).collect()
    come = rows.filter(pl.col("kind") == "added").select(wanted).collect()
    keys = [_key(table, cell).alias(f"key.{cell}") for cell in cells]
    gone = gone.with_columns(keys)
    come = _as_known(table, come, found).with_columns(keys)
    if table == "orgs":
        gone, come = _moved(difference, gone, come)
    pairs = [pl.DataFrame(schema={name: kind for name, kind in AGAIN.items() if name != "table"})]
    for way in ways:
        on = [f"key.{cell}" for cell in way.cells]
        of_one = [rows.filter(pl.col(on[0]) != "").unique(on, keep="none") for rows in (gone, come)]
        both = of_one[0].join(of_one[1], on=on)
        if way.alike:
            both = both.filter(pl.any_horizontal(_same_name(cell) for cell in way.alike))
        pairs.append(
            both.select(
                pl.col("sourcedId_right").alias("delivered"),
                pl.col("sourcedId").alias("kept"),
                pl.lit(way.words).alias("known_by"),
                (pl.col("firm") & pl.lit(way.sure)).alias("sure"),
                pl.col("called").alias("was"),
                pl.col("called_right").alias("now"),
                pl.col("school.of").alias("school"),
            )
        )
        gone = gone.filter(~pl.col("sourcedId").is_in(pairs[-1]["kept"].implode()))
        come = come.filter(~pl.col("sourcedId").is_in(pairs[-1]["delivered"].implode()))
    return pl.concat(pairs)


def _moved(difference: Difference, gone: pl.DataFrame, come: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both with the key of `_MOVED`: schools whose people, under their own ids, are found again in another one."""
    was, now = pl.col("was.primaryOrgSourcedId"), pl.col("primaryOrgSourcedId")
    ids = (gone["sourcedId"].implode(), come["sourcedId"].implode())
    if "users" in difference.tables:
        people = difference.scan("users").with_columns(was.fill_null(now).alias("was.primaryOrgSourcedId"))
        people = people.filter(was.is_in(ids[0]) | now.is_in(ids[1]))
        each = people.select("kind", old=was, new=now).collect()
        left = each.filter(pl.col("kind") != "added").group_by("old").agg(pl.len().alias("left"))
        came = each.filter(pl.col("kind") != "removed").group_by("new").agg(pl.len().alias("came"))
        both = each.filter(pl.col("kind") == "updated").group_by("old", "new").agg(pl.len().alias("both"))
        known = both.join(left, on="old").join(came, on="new").filter(
            (pl.col("both") >= _SOME) & (pl.col("both") >= _NEARLY_ALL * pl.max_horizontal("left", "came"))
        )  # fmt: skip
    else:
        known = pl.DataFrame(schema={"old": pl.String, "new": pl.String})
    key = f"key.{_MOVED}"
    own = pl.when(pl.col("sourcedId").is_in(known["old"].implode())).then("sourcedId").otherwise(pl.lit(""))
    others = come.join(known.select(new="new", moved="old"), left_on="sourcedId", right_on="new", how="left")
    return gone.with_columns(own.alias(key)), others.rename({"moved": key}).with_columns(pl.col(key).fill_null(""))


def _as_known(table: str, come: pl.DataFrame, found: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Rows that come, referring to the ids that were `found` to be the same; ``firm``: none of them in doubt."""
    come = come.with_columns(pl.lit(True).alias("firm"))
    for column, to in {**REFERENCES[table], **LISTED_REFERENCES.get(table, {})}.items():
        if to in found and column in come.columns:
            doubtful = found[to].filter(~pl.col("sure"))["delivered"]
            listed = column in LISTED_REFERENCES.get(table, {})
            come = come.with_columns(
                pl.col("firm") & ~pl.col(column).is_in(doubtful.implode()),
                _renamed(come[column], found[to], listed=listed).alias(column),
            )
    return come


def _key(table: str, cell: str) -> pl.Expr:
    """A cell as it is compared: a reference as it is, a list of them in one order, a text without regard to case."""
    if cell in LISTED_REFERENCES.get(table, {}):
        return pl.col(cell).str.split(",").list.sort().list.join(",")
    if cell in REFERENCES[table]:
        return pl.col(cell)
    return letters(cell) if cell in _NAMES else pl.col(cell).str.strip_chars().str.to_lowercase()


def letters(name: str) -> pl.Expr:
    """A name of which nothing but the letters counts, without accents."""
    return pl.col(name).str.normalize("NFKD").str.to_lowercase().str.replace_all(r"[^\p{L}]", "")


def _same_name(cell: str) -> pl.Expr:
    was, now = pl.col(f"key.{cell}"), pl.col(f"key.{cell}_right")
    return (was != "") & (was == now)


# ------------------------------------------------------------------------------------------------------ lists of them


def joined(known: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """The list `known` with the pairs `new` in it, whose ``delivered`` are ids as they stand in a roster: where one was
    read under a kept id before, the new pair is about what the district sends. An id is kept for one record, and a
    record has one: what was said of either before gives way."""
    sent = known.select("table", pl.col("kept").alias("delivered"), pl.col("delivered").alias("sent"))
    fresh = new.select(*KEPT).join(sent, on=["table", "delivered"], how="left", maintain_order="left")
    fresh = fresh.with_columns(pl.coalesce("sent", "delivered").alias("delivered")).select(*KEPT)
    return laid_over(known, fresh)


def laid_over(known: pl.DataFrame, fresh: pl.DataFrame) -> pl.DataFrame:
    """The list `known` with the pairs `fresh` in it, which are about ids as the district sends them. What was said of
    either id of a pair before gives way."""
    old = known.join(fresh, on=["table", "kept"], how="anti").join(fresh, on=["table", "delivered"], how="anti")
    whole = pl.concat([old.select(*KEPT), fresh.filter(pl.col("delivered") != pl.col("kept")).select(*KEPT)])
    return whole.sort("table", "delivered")


# -------------------------------------------------------------------------------------------------- read, and told back


def under_kept_ids(delivered: Delivered, kept: pl.DataFrame) -> Delivered:
    """The delivery as if its records came under the ids that are kept for them, in every cell that names one.

    A row with an id that is kept for another record, which comes as well (or may be left as it is, in a delta), is set
    aside with a finding, and what refers to it refers to nothing: two records are never taken for one. A district that
    goes back to its old ids, all of a file, needs no list.
    """
    lists = _by_table(kept)
    if not delivered.readable or not lists:
        return delivered
    findings = Findings(overrides=delivered.findings.overrides)
    findings.extend(delivered.findings)
    met = {name: _meeting(table, lists[name]) for name, table in delivered.tables.items() if name in lists}
    lists = {name: pl.concat([pairs, _set_apart(met[name])]) if name in met else pairs for name, pairs in lists.items()}
    tables = {name: _under(delivered.version, table, lists) for name, table in delivered.tables.items()}
    for name, ids in met.items():
        if len(ids):
            tables[name] = _without(tables[name], delivered.tables[name], ids, findings)
    return replace(delivered, tables=tables, findings=findings)


def _by_table(kept: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Of each table ``delivered`` and ``kept``."""
    return {str(key[0]): pairs.select("delivered", "kept") for key, pairs in kept.group_by("table")}


def _meeting(table: DeliveredTable, pairs: pl.DataFrame) -> pl.Series:
    """Ids of `table` that are kept for another record, which this file names too, or need not name."""
    ids = table.frame["sourcedId"]
    if table.mode != "delta":
        pairs = pairs.filter(pl.col("delivered").is_in(ids.implode()))
    literal = ids.filter(ids.is_in(pairs["kept"].implode()))
    return literal.filter(~literal.is_in(pairs["delivered"].implode())).unique(maintain_order=True)


def _set_apart(ids: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"delivered": ids, "kept": _ANOTHER + ids}, schema={"delivered": pl.String, "kept": pl.String})


def _under(version: str, table: DeliveredTable, lists: Mapping[str, pl.DataFrame]) -> DeliveredTable:
    columns = _naming(version, table.name)
    changed = [
        _renamed(table.frame[column.name], lists[to], listed=column.listed).alias(column.name)
        for column, to in columns
        if to in lists and column.name in table.frame.columns
    ]
    own = next((to for column, to in columns if column.name == "sourcedId"), "")
    unread = table.unread
    if own in lists and len(unread):
        unread = unread.with_columns(_renamed(unread["sourcedId"], lists[own], listed=False).alias("sourcedId"))
    return replace(table, frame=table.frame.with_columns(changed), unread=unread) if changed else table


def _naming(version: str, table: str) -> list[tuple[Column, str]]:
    """The columns of `table` that name records, each with the table of those."""
    if version not in VERSIONS or table not in VERSIONS[version].tables:
        return []  # what cannot be read has no version
    return [
        (column, column.refers_to or table)
        for column in VERSIONS[version].tables[table].columns
        if column.refers_to or column.name == "sourcedId"
    ]


def _without(read: DeliveredTable, came: DeliveredTable, ids: pl.Series, findings: Findings) -> DeliveredTable:
    """`read` without the rows that `came` under these ids."""
    strange = came.frame["sourcedId"].is_in(ids.implode())
    rows = came.frame.filter(strange)
    findings.add(
        "OR-ID-001",
        f"{came.name}.csv",
        "sourcedId",
        places=places(rows[LINE], rows["sourcedId"]),
        effect="row" if came.name in NORMAL else "none",
    )
    return replace(read, frame=read.frame.filter(~strange), set_aside=read.set_aside + len(rows))


def _renamed(cells: pl.Series, pairs: pl.DataFrame, *, listed: bool) -> pl.Series:
    """`cells` with every id that is ``delivered`` in `pairs` as it is ``kept``; of lists each item."""
    if listed and cells.str.contains(",", literal=True).any():
        return _renamed_items(cells, pairs)
    other = pairs.select("delivered", "kept")
    found = cells.alias("cell").to_frame().join(
        other, left_on="cell", right_on="delivered", how="left", maintain_order="left"
    )  # fmt: skip
    return found.select(pl.coalesce("kept", "cell")).to_series().alias(cells.name)


def _renamed_items(cells: pl.Series, pairs: pl.DataFrame) -> pl.Series:
    each = cells.alias("cell").str.split(",").to_frame().with_row_index("row").explode("cell", empty_as_null=False)
    item = _renamed(each["cell"].str.strip_chars(), pairs, listed=False)
    rows = each.with_columns(item.alias("cell")).group_by("row", maintain_order=True).agg(pl.col("cell"))
    return rows["cell"].list.join(",").alias(cells.name)


def as_delivered(findings: Findings, kept: pl.DataFrame, version: str) -> None:
    """Let what was found under kept ids be told by the ids that stand in the file."""
    lists = {
        table: pairs.select(pl.col("kept").alias("delivered"), pl.col("delivered").alias("kept"))
        for table, pairs in _by_table(kept).items()
    }
    for finding in findings if lists else ():
        named = {column.name: to for column, to in _naming(version, finding.file.removesuffix(".csv"))}
        if finding.code != "OR-ID-001" and (to := named.get(finding.column)) in lists and len(finding.places):
            values = finding.places["value"].fill_null("")
            told = _renamed(values, lists[to], listed=True).str.replace_all(_ANOTHER, "", literal=True)
            finding.places = finding.places.with_columns(told.alias("value"))


def kept_for(kept: pl.LazyFrame, table: str, sourced_id: str) -> str:
    """The id under which `table` of a district knows what it sends as `sourced_id`."""
    return _other(kept, table, sourced_id, "delivered", "kept")


def sent_as(kept: pl.LazyFrame, table: str, sourced_id: str) -> str:
    """The id under which a district sends what is known as `sourced_id`."""
    return _other(kept, table, sourced_id, "kept", "delivered")


def _other(kept: pl.LazyFrame, table: str, sourced_id: str, of: str, to: str) -> str:
    # What only belongs to a person is known by the person's id (demographics).
    space = REFERENCES.get(table, {}).get("sourcedId", table)
    found = kept.filter((pl.col("table") == space) & (pl.col(of) == sourced_id)).select(to).collect()
    return str(found.item(0, 0)) if len(found) else sourced_id
