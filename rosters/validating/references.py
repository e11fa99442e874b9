"""Identity and references (OR-CSV-160 to 185): every id once, every reference to a record that is there.

A record that is quarantined and already accepted stays, so what refers to it stands; one that is new does not exist, so
what hangs on it is quarantined too, until nothing changes any more. A record that was accepted and that a complete
table leaves out is gone, so what still refers to it leads nowhere.
"""

from __future__ import annotations

import polars as pl

from rosters.findings import Effect
from rosters.frames import scan, side_by_side
from rosters.oneroster.normal import LISTED_REFERENCES, REFERENCES, TABLES
from rosters.oneroster.plain import of_files
from rosters.oneroster.spec import Column
from rosters.validating.context import Context, going, indices

_CODES = {
    ("academicSessions", "parentSourcedId"): "OR-CSV-163",
    ("orgs", "parentSourcedId"): "OR-CSV-164",
    ("courses", "schoolYearSourcedId"): "OR-CSV-165",
    ("courses", "orgSourcedId"): "OR-CSV-166",
    ("classes", "courseSourcedId"): "OR-CSV-167",
    ("classes", "schoolSourcedId"): "OR-CSV-168",
    ("classes", "termSourcedIds"): "OR-CSV-169",
    ("users", "orgSourcedIds"): "OR-CSV-170",
    ("users", "agentSourcedIds"): "OR-CSV-171",
    ("enrollments", "classSourcedId"): "OR-CSV-172",
    ("enrollments", "schoolSourcedId"): "OR-CSV-173",
    ("enrollments", "userSourcedId"): "OR-CSV-174",
    ("demographics", "sourcedId"): "OR-CSV-175",
    ("users", "primaryOrgSourcedId"): "OR-CSV-180",
}
_TABLE_CODES = {
    "classResources": "OR-CSV-176",
    "courseResources": "OR-CSV-176",
    "userResources": "OR-CSV-176",
    "lineItems": "OR-CSV-177",
    "results": "OR-CSV-178",
    "roles": "OR-CSV-179",
    "userProfiles": "OR-CSV-181",
    "scoreScales": "OR-CSV-182",
}
#: What case and outer blanks are made of.
_FOLDED = r"[^\x21-\x40\x5b-\x7e]"
_UNUSABLE = "The record it names could not be used."


def of_reference(table: str, column: str) -> str:
    """The rule of a reference that leads nowhere."""
    return _CODES.get((table, column)) or _TABLE_CODES.get(table, "OR-CSV-183")


def check_identity(ctx: Context, name: str) -> None:
    """160 to 162, 089: ids are unique; identical repeats are read once, conflicting ones not at all."""
    frame = ctx.frames[name]
    ids = frame["sourcedId"]
    if ids.hash().n_unique() < len(frame):
        repeated = frame.filter(ids.is_duplicated() & (ids != ""))
        cells = [c for c in frame.columns if c != "line"]
        whole = repeated.unique(cells, keep="first", maintain_order=True)
        conflicting = whole.filter(whole["sourcedId"].is_duplicated())["sourcedId"].unique()
        if len(conflicting):
            code = "OR-CSV-089" if ctx.mode(name) == "delta" else "OR-CSV-160"
            ctx.flag(code, name, "sourcedId", indices(ids.is_in(conflicting.implode())), effect="row")
        harmless = repeated.filter(~repeated["sourcedId"].is_in(conflicting.implode()))
        if len(harmless):
            again = frame.with_row_index("row").filter(ids.is_in(harmless["sourcedId"].implode()))
            later = again.filter(~again["sourcedId"].is_first_distinct())["row"]
            ctx.flag("OR-CSV-162", name, "sourcedId", later)
            keep = (
                pl.Series(values=[True])
                .new_from_index(0, len(frame))
                .scatter(later, pl.Series(values=[False]).new_from_index(0, len(later)))
            )
            ctx.frames[name] = frame.filter(keep)
            ctx.bad[name] = ctx.bad[name].filter(keep)
            _renumber(ctx, name, keep)
    _check_case(ctx, name)


def _check_case(ctx: Context, name: str) -> None:
    """161: ids that differ in case or outer blanks only. Ids that folding leaves as they are, most districts' all, can
    only be the twins of others."""
    ids = ctx.frames[name]["sourcedId"]
    if not ids.to_frame().lazy().select(pl.col("sourcedId").str.contains(_FOLDED).any()).collect().item():
        return
    folded = ids.str.strip_chars().str.to_lowercase()
    if folded.hash().n_unique() < ids.hash().n_unique():
        twins = folded.is_duplicated() & ~ids.is_duplicated()
        ctx.flag("OR-CSV-161", name, "sourcedId", indices(twins))


def _renumber(ctx: Context, name: str, keep: pl.Series) -> None:
    """Row numbers of dropped cells after rows were taken out."""
    new = keep.cast(pl.UInt32).cum_sum() - 1
    for column, parts in ctx.drops.get(name, {}).items():
        ctx.drops[name][column] = [new.gather(p.filter(keep.gather(p))) for p in parts]


def check_references(ctx: Context) -> list[tuple[str, str]]:
    """163 to 185. Returns what makes the delivery incomplete: (rejection code, sentence)."""
    incomplete: list[tuple[str, str]] = []
    columns = [(n, c) for n in ctx.frames for c in ctx.table(n).columns if c.refers_to]
    order = {name: i for i, name in enumerate(TABLES)}
    columns.sort(key=lambda pair: order.get(pair[0], 99))
    for name, column in columns:
        incomplete += _check_target(ctx, name, column)
    leading = [(n, c) for n, c in columns if c.refers_to in ctx.frames or c.refers_to in ctx.base]
    reported = {(finding.code, finding.file, finding.column) for finding in ctx.findings}
    for name, column in leading:
        if not column.listed and ("OR-CSV-101", f"{name}.csv", column.name) in reported:
            _blanks_around(ctx, name, column)
    rows = sum(len(frame) for frame in ctx.frames.values())
    references = list(side_by_side(lambda pair: _Reference(ctx, *pair), leading, rows=rows))
    while True:
        before = {n: int(m.sum()) for n, m in ctx.bad.items()}
        for reference in references:
            _judge(ctx, reference)
        if before == {n: int(m.sum()) for n, m in ctx.bad.items()}:
            return incomplete


def _check_target(ctx: Context, name: str, column: Column) -> list[tuple[str, str]]:
    """185: the file that a column refers to was neither sent, or not as it can be used, nor accepted before."""
    target = column.refers_to
    if target in ctx.frames or target in ctx.base or target in ctx.delivered.tables:
        return []
    needed = pl.col(column.name) != ""
    if ctx.mode(name) == "delta":
        needed &= ~going()
    given = int(ctx.frames[name].select(needed.sum()).item())
    if not given:
        return []
    required = column.required and ctx.rostering(name) and ctx.rostering(target)
    why = ctx.delivered.unusable.get(target, "")
    ctx.findings.add(
        "OR-CSV-185",
        f"{name}.csv",
        column.name,
        count=given,
        detail=f"{target}.csv {why or 'is missing'}.",
        effect="package" if required else "value" if ctx.rostering(name) else "none",
    )
    if required:
        return [("ROSTER-INCOMPLETE", f"{name}.csv needs {target}.csv, which {why or 'is not in the delivery'}.")]
    if ctx.rostering(name):
        rows = indices(ctx.frames[name][column.name] != "")
        ctx.drop(name, column.name, rows)
        if column.listed:
            ctx.frames[name] = ctx.frames[name].with_columns(pl.lit("").alias(column.name))
    return []


class _Reference:
    """The links of one column: for each, the row it stands in, the id it names, and the row of the target's frame that
    has this id (null if none). `reported` marks links that have been complained of."""

    def __init__(self, ctx: Context, name: str, column: Column) -> None:
        self.name, self.column = name, column
        self.row: pl.Series | None
        if column.listed:
            items = ctx.items(name, column.name)
            self.row, self.item = items["row"], items["item"]
            self.to = ctx.rows_named(self.item, column.refers_to)
        else:
            self.row = None  # one link in each row: its number is the row's
            self.to = ctx.row_of(name, column.name)
            self.item = ctx.frames[name][column.name]
        self.unknown = self.to.is_null() & (self.item != "")
        #: Null where every row needs what it names; a record that goes needs nothing.
        self.staying: pl.Series | None = None
        if ctx.mode(name) == "delta":
            staying = ctx.frames[name].select(~going()).to_series()
            self.staying = staying if self.row is None else staying.gather(self.row)
        self.reported = pl.Series("reported", [], dtype=pl.Boolean)

    def dangling(self, ctx: Context) -> pl.DataFrame:
        """``row``, ``item``, ``to`` of the links that lead nowhere now and were not reported before."""
        lost = self.unknown
        aside = ctx.bad.get(self.column.refers_to)
        if aside is not None and bool(aside.any()):
            lost = lost | aside.gather(self.to.fill_null(0)) & self.to.is_not_null()
        if len(self.reported):
            lost = lost & ~self.reported
        if self.staying is not None:
            lost = lost & self.staying
        if not lost.any():
            return pl.DataFrame(schema={"row": pl.UInt32, "item": pl.String, "to": pl.UInt32})
        places = lost.arg_true()
        row = places if self.row is None else self.row.gather(places)
        found = pl.DataFrame(
            {"place": places, "row": row, "item": self.item.gather(places), "to": self.to.gather(places)}
        )
        # What was accepted before and is set aside, or not spoken of, stays as a target; what a complete table leaves
        # out does not. Rows that are set aside already need no second reason.
        target = self.column.refers_to
        missing = pl.col("to").is_null()
        stands = pl.col("item").is_in(ctx.base_ids(target).implode()) & ~missing
        stands |= pl.col("item").is_in(ctx.standing_ids(target).implode()) & missing
        found = found.filter(~stands)
        found = found.filter(~ctx.bad[self.name].gather(found["row"]))
        known = self.reported if len(self.reported) else pl.repeat(False, len(lost), eager=True)
        self.reported = known.scatter(found["place"], pl.repeat(True, len(found), eager=True)) if len(found) else known
        return found.drop("place")

    def links(self) -> pl.DataFrame:
        """``row``, ``item`` of the links of a list column that still stand."""
        links = pl.DataFrame({"row": self.row, "item": self.item})
        return links.filter(~self.reported) if len(self.reported) else links


def _judge(ctx: Context, reference: _Reference) -> None:
    """Report the links that lead nowhere, each once."""
    name, column = reference.name, reference.column
    dangling = reference.dangling(ctx)
    if not len(dangling):
        return
    code = of_reference(name, column.name)
    nowhere = dangling.filter(dangling["to"].is_null())
    if len(nowhere):
        _near(ctx, name, column, nowhere)
    if column.listed:
        _drop_items(ctx, name, column, reference.links(), dangling, code)
    else:
        effect: Effect | None = "row" if column.name == "sourcedId" else None
        ctx.flag(code, name, column.name, nowhere["row"], effect=effect)
        unusable = dangling.filter(dangling["to"].is_not_null())["row"]
        ctx.flag(code, name, column.name, unusable, detail=_UNUSABLE, effect=effect)


def _blanks_around(ctx: Context, name: str, column: Column) -> None:
    """184: ids with blanks around them, which are no ids (101), but would fit without."""
    cells = ctx.frames[name][column.name]
    blank = pl.DataFrame({"row": indices(cells != cells.str.strip_chars())})
    _near(ctx, name, column, blank.with_columns(item=cells.gather(blank["row"])))


def _near(ctx: Context, name: str, column: Column, dangling: pl.DataFrame) -> None:
    """184: some of them would fit if case and blanks were ignored."""
    if column.refers_to not in ctx.frames:
        return
    known = ctx.frames[column.refers_to]["sourcedId"].str.strip_chars().str.to_lowercase()
    near = dangling.filter(dangling["item"].str.strip_chars().str.to_lowercase().is_in(known.implode()))
    if len(near):
        ctx.flag("OR-CSV-184", name, column.name, near["row"], values=near["item"])


def _drop_items(
    ctx: Context, name: str, column: Column, links: pl.DataFrame, dangling: pl.DataFrame, code: str
) -> None:
    """Only the items that lead nowhere are dropped; a required list of which nothing is left costs the row."""
    if ctx.findings.is_off(code):
        return
    rows = dangling["row"].unique().sort()
    left = (
        links.filter(pl.col("row").is_in(rows.implode()))
        .group_by("row", maintain_order=True)
        .agg(pl.col("item"))
        .select("row", cell=pl.col("item").list.join(","))
    )
    hopeless = rows.filter(~rows.is_in(left["row"].implode())) if column.required else rows.head(0)
    partly = rows.filter(~rows.is_in(hopeless.implode()))
    detail = "" if dangling["to"].null_count() else _UNUSABLE
    ctx.flag(code, name, column.name, hopeless, detail=detail, effect="row")
    ctx.flag(code, name, column.name, partly, detail=detail, effect="value")
    severity = ctx.findings.overrides.get(code, "error")
    if len(partly) and ctx.rostering(name) and severity == "error":
        cells = (
            partly.alias("row").to_frame().join(left, on="row", how="left", maintain_order="left")["cell"].fill_null("")
        )
        ctx.frames[name] = ctx.frames[name].with_columns(ctx.frames[name][column.name].scatter(partly, cells))


def check_complete(ctx: Context) -> list[tuple[str, str]]:
    """013 and 015: what a bulk set must hold; only what was never accepted makes it incomplete. A set of which nothing
    is left is empty, whatever was accepted before.

    Changes may come alone. Without a full set before them they are of no use yet, but nothing is wrong with them.
    """
    core = ctx.version.core
    lacking: dict[str, list[str]] = {}  # why, to the files
    sent = [name for name in core if name in ctx.delivered.tables]
    unusable = ctx.delivered.unusable
    some = bool(sent) or any(name in core for name in unusable)
    changes = bool(sent) and all(ctx.mode(name) == "delta" for name in sent)
    for name in core if some else ():
        if name in sent or name in ctx.base:
            continue
        why = unusable.get(name, "")
        lacking.setdefault(why, []).append(name)
        if why:
            ctx.findings.add("OR-CSV-015", f"{name}.csv", effect="package", detail=f"It came, but {why}.")
            continue
        ctx.findings.add(
            "OR-CSV-015",
            f"{name}.csv",
            severity="warning" if changes else None,
            effect="package",
            detail="These are changes only; they need a full set before them." if changes else "",
        )
    incomplete = [("ROSTER-INCOMPLETE", _lacking(names, why)) for why, names in lacking.items()]
    modes = ctx.delivered.properties
    if not sent and any(name in core and modes.get(f"file.{name}") != "delta" for name in unusable):
        incomplete.insert(0, ("ROSTER-EMPTY", "No file came with a row that can be used."))
    for name in ctx.frames:
        for needed in ctx.table(name).depends_on:
            there = needed in ctx.delivered.tables or needed in unusable
            if not there and ctx.mode(name) == "bulk" and len(ctx.frames[name]):
                ctx.findings.add("OR-CSV-013", f"{name}.csv", detail=f"{needed}.csv is missing.")
    return incomplete


def _lacking(names: list[str], why: str) -> str:
    """ "a.csv and b.csv are missing.", or "a.csv came, but cannot be used." """
    missing = "are missing" if len(names) > 1 else "is missing"
    return f"{of_files(names, f'came, but {why}' if why else missing)}."


def _told_before(ctx: Context, name: str) -> None:
    """091: references of a delta that only an earlier delivery answers."""
    for column in ctx.table(name).columns:
        if column.refers_to and not column.listed:
            ids = ctx.frames[name][column.name].filter(ctx.row_of(name, column.name).is_null())
            known = ids.filter((ids != "") & ids.is_in(ctx.base_ids(column.refers_to).implode()))
            if len(known):
                ctx.findings.add("OR-CSV-091", f"{name}.csv", column.name, count=len(known))
        elif column.refers_to:
            items = ctx.items(name, column.name)["item"]
            strange = items.filter(ctx.rows_named(items, column.refers_to).is_null())
            known = strange.filter(strange.is_in(ctx.base_ids(column.refers_to).implode()))
            if len(known):
                ctx.findings.add("OR-CSV-091", f"{name}.csv", column.name, count=len(known))


def check_deltas(ctx: Context) -> None:
    """087, 090, 091: deletions and references of a delta, held against what was accepted before."""
    for name in [n for n in ctx.frames if ctx.mode(n) == "delta" and ctx.rostering(n)]:
        _told_before(ctx, name)
        frame = ctx.frames[name]
        deleted = frame.select(going()).to_series()
        if ctx.base:
            unknown = deleted & ~frame["sourcedId"].is_in(ctx.base_ids(name).implode())
            ctx.flag("OR-CSV-087", name, "sourcedId", indices(unknown))
        gone = frame["sourcedId"].filter(deleted)
        for other, columns in _dependants(name).items() if len(gone) else ():
            needed = [_named_after(ctx, other, column, gone) for column in columns]
            still = indices(deleted & frame["sourcedId"].is_in(pl.concat(needed).implode()))
            ctx.flag("OR-CSV-090", name, "sourcedId", still, detail=f"{other} still refer to it.")


#: What goes with its user, and is no reason to keep them.
_PARTS_OF_A_USER = (("demographics", "sourcedId"), ("roles", "userSourcedId"), ("userProfiles", "userSourcedId"))


def _dependants(name: str) -> dict[str, list[str]]:
    """Tables that refer to records of `name`, with the columns that do."""
    found: dict[str, list[str]] = {}
    for references in (REFERENCES, LISTED_REFERENCES):
        for table, columns in references.items():
            for column, to in columns.items():
                if to == name and (table, column) not in _PARTS_OF_A_USER:
                    found.setdefault(table, []).append(column)
    return found


def _named_after(ctx: Context, table: str, column: str, ids: pl.Series) -> pl.Series:
    """Those of the `ids` that rows of `table` name in `column` when this delivery has been laid over what was accepted:
    rows that came, unless they only say that their record is gone, and accepted ones that none replaces."""
    cell, listed = pl.col(column), column in LISTED_REFERENCES.get(table, {})
    item = cell.str.split(",").explode(empty_as_null=False).str.strip_chars() if listed else cell
    parts = [pl.Series(column, [], dtype=pl.String)]
    coming = ctx.frames.get(table)
    if coming is not None and column in coming.columns:
        parts.append(coming.filter(~going() & ~ctx.bad[table]).select(item).to_series())
    if table in ctx.base and (coming is None or ctx.mode(table) == "delta"):
        stays = scan(ctx.base, table)
        if coming is not None:
            stays = stays.filter(~pl.col("sourcedId").is_in(coming["sourcedId"].implode()))
        parts.append(stays.select(item).collect().to_series())
    named = pl.concat(parts)
    return named.filter(named.is_in(ids.implode())).unique()
