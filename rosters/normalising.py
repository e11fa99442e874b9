"""Delivered tables to the one normal form, and the delivered roster laid over the accepted one.

Here "could not read" is kept apart from "is gone": whatever the check set aside keeps its last accepted values.
"""

from __future__ import annotations

import polars as pl

from rosters.diffing import table_of
from rosters.frames import Checked, CheckedTable, Frames
from rosters.oneroster.normal import METADATA, NORMAL, TABLES
from rosters.oneroster import VERSIONS

_LISTS = {
    table.name: [c.name for c in table.columns if c.listed] for v in VERSIONS.values() for table in v.tables.values()
}
#: Columns of the normal form that come from users.csv's org and role columns in 1.1.
_ORGS = "orgSourcedIds"
_GONE = ("tobedeleted", "inactive")


def normalise(checked: Checked) -> dict[str, pl.DataFrame]:
    """The delivered rostering tables in normal form; 1.1's users become users and roles."""
    frames: dict[str, pl.DataFrame] = {}
    for name in TABLES:
        if name in checked.tables:
            frames[name] = _normal(name, checked.tables[name].frame)
    if "users" in checked.tables:
        if checked.version == "1.1":
            delivered = checked.tables["users"].frame
            frames["roles"] = derived_roles(delivered)
            frames["users"] = frames["users"].with_columns(
                primaryOrgSourcedId=delivered[_ORGS].str.split(",").list.first().fill_null("").str.strip_chars(),
                role=delivered["role"],
            )
        elif "roles" in frames:
            frames["users"] = _with_principal_role(frames["users"], frames["roles"])
    return frames


def _normal(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    metadata = [c for c in frame.columns if c.startswith("metadata.")]
    columns = [
        (pl.col(c) if c in frame.columns else pl.lit("").alias(c)) for c in NORMAL[name] if c != METADATA
    ]
    tidy = [pl.col(c).str.replace_all(r"\s*,\s*", ",") for c in _LISTS.get(name, []) if c in NORMAL[name] and c in frame.columns]
    return frame.with_columns(tidy).with_columns(_metadata(metadata)).select(*columns, METADATA)


def _metadata(columns: list[str]) -> pl.Expr:
    """The metadata cells as one JSON object with sorted keys; "" where every one is empty."""
    if not columns:
        return pl.lit("").alias(METADATA)
    short = sorted((c.removeprefix("metadata."), c) for c in columns)
    parts = [
        pl.when(pl.col(c) != "").then(pl.struct(pl.col(c).alias(key)).struct.json_encode().str.slice(1).str.head(-1))
        for key, c in short
    ]
    joined = pl.concat_str(parts, separator=",", ignore_nulls=True)
    return pl.when(joined == "").then(pl.lit("")).otherwise(pl.concat_str(pl.lit("{"), joined, pl.lit("}"))).alias(METADATA)


def derived_roles(users: pl.DataFrame) -> pl.DataFrame:
    """1.1 keeps a person's orgs and role in users.csv: one row of roles for each org, the first of them primary.

    The id of such a role is made of user and org, so it is the same in every delivery.
    """
    orgs = users.select("sourcedId", "role", pl.col(_ORGS).str.split(",").alias("org"))
    each = orgs.with_columns(place=pl.int_ranges(pl.col("org").list.len())).explode("org", "place")
    each = each.with_columns(pl.col("org").str.strip_chars()).filter(pl.col("org") != "").unique(
        ["sourcedId", "org"], keep="first", maintain_order=True
    )
    made = each.select(
        sourcedId=pl.concat_str("sourcedId", pl.lit("@"), "org"), userSourcedId="sourcedId",
        roleType=pl.when(pl.col("place") == 0).then(pl.lit("primary")).otherwise(pl.lit("secondary")),
        role="role", beginDate=pl.lit(""), endDate=pl.lit(""), orgSourcedId="org", userProfileSourcedId=pl.lit(""),
        metadata=pl.lit(""),
    )  # fmt: skip
    return made.select(NORMAL["roles"])


def _with_principal_role(users: pl.DataFrame, roles: pl.DataFrame) -> pl.DataFrame:
    """users.role in 1.2: the primary role at the primary org, else the first primary one, else the first."""
    primary = users.select("sourcedId", "primaryOrgSourcedId")
    ranked = roles.join(primary, left_on="userSourcedId", right_on="sourcedId", how="inner", maintain_order="left").with_columns(
        rank=(pl.col("roleType") != "primary").cast(pl.Int8) * 2
        + (pl.col("orgSourcedId") != pl.col("primaryOrgSourcedId")).cast(pl.Int8)
    )
    best = ranked.sort("rank", maintain_order=True).unique("userSourcedId", keep="first", maintain_order=True)
    found = users.drop("role").join(
        best.select("userSourcedId", "role", best_org="orgSourcedId"), left_on="sourcedId", right_on="userSourcedId", how="left",
        maintain_order="left",
    )  # fmt: skip
    return found.with_columns(
        pl.col("role").fill_null(""),
        pl.when(pl.col("primaryOrgSourcedId") == "").then(pl.col("best_org").fill_null("")).otherwise(pl.col("primaryOrgSourcedId")).alias("primaryOrgSourcedId"),
    ).select(NORMAL["users"])


# ------------------------------------------------------------------------------------------------------------ over the accepted one


def target(checked: Checked, base: Frames) -> dict[str, pl.DataFrame]:
    """The roster that should be live after this delivery.

    A bulk table replaces, a delta table changes, an absent table stays as it is. A quarantined record keeps its row of
    `base`, a dropped cell its value of `base` (or none); while a row is nameless, nothing is removed from its table.
    """
    delivered = normalise(checked)
    result: dict[str, pl.DataFrame] = {}
    for name in TABLES:
        before = table_of(base, name)
        if name not in delivered:
            result[name] = before
            continue
        source = checked.tables["users" if name == "roles" and name not in checked.tables else name]
        result[name] = _laid_over(name, delivered[name], source, before, derived=name != source.name)
    return {name: frame for name, frame in result.items() if len(frame)}


def _laid_over(name: str, delivered: pl.DataFrame, source: CheckedTable, before: pl.DataFrame, *, derived: bool) -> pl.DataFrame:
    if source.mode == "delta":
        status = source.frame.select(pl.col("sourcedId"), gone=pl.col("status").is_in(_GONE))
    else:
        status = source.frame.select(pl.col("sourcedId"), gone=pl.lit(False))
    gone = status.filter(pl.col("gone"))["sourcedId"]
    owner = "userSourcedId" if derived else "sourcedId"
    quarantined = source.quarantined["sourcedId"].drop_nulls()
    live = delivered.filter(~pl.col(owner).is_in(gone.implode())) if len(gone) else delivered
    if len(quarantined):
        live = live.filter(~pl.col(owner).is_in(quarantined.implode()))
    live = _with_kept_cells(live, source.dropped, before, derived=derived)
    if not len(before):
        return live
    if source.mode == "delta":
        named = pl.concat([status["sourcedId"], quarantined]) if derived else status["sourcedId"]
        spoken_of = before[owner].is_in(named.implode()) if len(named) else pl.repeat(False, len(before), eager=True)
        if len(quarantined):
            spoken_of &= ~before[owner].is_in(quarantined.implode())
        kept = before.filter(~spoken_of)
    elif source.nameless:
        kept = before.filter(~before["sourcedId"].is_in(live["sourcedId"].implode()))
    else:
        kept = before.filter(before[owner].is_in(quarantined.implode())) if len(quarantined) else before.head(0)
    return pl.concat([live, kept.select(live.columns)]).unique("sourcedId", keep="first", maintain_order=True) if len(kept) else live


def _with_kept_cells(live: pl.DataFrame, dropped: pl.DataFrame, before: pl.DataFrame, *, derived: bool) -> pl.DataFrame:
    """Cells that the check dropped take base's value; a record that is new has none."""
    if not len(dropped) or not len(before):
        return live
    if derived:
        users = dropped.filter(pl.col("column") == _ORGS)["sourcedId"]
        old = before.filter(before["userSourcedId"].is_in(users.implode()) & ~before["sourcedId"].is_in(live["sourcedId"].implode()))
        return pl.concat([live, old.select(live.columns)]) if len(old) else live
    for (column,), rows in dropped.group_by("column"):
        if column in live.columns:
            old = before.select("sourcedId", kept=pl.col(str(column)))
            spoken = rows.select("sourcedId").unique().join(old, on="sourcedId", how="inner")
            live = live.join(spoken, on="sourcedId", how="left", maintain_order="left").with_columns(
                pl.coalesce("kept", str(column)).alias(str(column))
            ).drop("kept")  # fmt: skip
    return live


