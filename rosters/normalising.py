"""Delivered tables to the one normal form, and the delivered roster laid over the accepted one.

Here "could not read" is kept apart from "is gone". Whatever the check set aside, a row, a cell, a row without a name,
keeps what was accepted last, and so does what such a record refers to: a removal is only ever read from a complete
table, or from a row that says so itself.

Delivered rows stand in the order of their file, what is kept of the accepted roster behind them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from rosters.diffing import ID, column_of, frame_of, scan_of
from rosters.frames import Checked, CheckedTable, Delivered, Frames
from rosters.oneroster import VERSIONS
from rosters.oneroster.normal import GONE, LISTED_REFERENCES, METADATA, NORMAL, REFERENCES, TABLES

_ORGS: Final = "orgSourcedIds"
_PREFIX: Final = "metadata."


#: What tells one role of a person from another.
_SAME_ROLE: Final = ["userSourcedId", "orgSourcedId", "role"]


# ------------------------------------------------------------------------------------------------------ the normal form


def taken_as_read(delivered: Delivered) -> Checked:
    """A delivery as if no rule had anything to say of it: to be compared with what is live, never to be applied."""
    ids = pl.DataFrame(schema={"sourcedId": pl.String})
    cells = pl.DataFrame(schema={"sourcedId": pl.String, "column": pl.String})
    tables = {n: CheckedTable(n, t.mode, t.frame, ids, cells, 0) for n, t in delivered.tables.items()}
    return Checked(delivered.version, tables, delivered.findings, stays=delivered.stays)


def normalise(checked: Checked) -> dict[str, pl.DataFrame]:
    """The delivered rostering tables in normal form, rows in the order of their files; 1.1's users become users and
    roles. Records that a delta or a status takes out of the roster are not told apart here (`target` does)."""
    frames = {
        name: _normal(checked.version, name, checked.tables[name].frame) for name in TABLES if name in checked.tables
    }
    if "users" in frames:
        if checked.version == "1.1":
            frames["roles"] = _derived_roles(checked.tables["users"].frame)
        elif "roles" in frames:
            frames["users"] = _with_principal_role(frames["users"], frames["roles"])
    return frames


def _normal(version: str, name: str, delivered: pl.DataFrame) -> pl.DataFrame:
    listed = {column.name for column in VERSIONS[version].tables[name].columns if column.listed}
    cells = [_cell(column, delivered, listed) for column in NORMAL[name] if column != METADATA]
    frame = delivered.select(*cells, _metadata(delivered.columns))
    if name == "users" and version == "1.1":
        first_org = delivered[_ORGS].str.split(",").list.first().fill_null("").str.strip_chars()
        return frame.with_columns(first_org.alias("primaryOrgSourcedId"))
    return frame


def _cell(column: str, delivered: pl.DataFrame, listed: set[str]) -> pl.Expr:
    if column not in delivered.columns:
        return pl.lit("").alias(column)
    if column in listed and delivered[column].str.contains(r",\s|\s,").any():
        return pl.col(column).str.replace_all(r"\s*,\s*", ",")
    return pl.col(column)


def _metadata(columns: list[str]) -> pl.Expr:
    """The metadata cells that are not empty as one JSON object with sorted keys; "" where all are empty."""
    keys = sorted(column.removeprefix(_PREFIX) for column in columns if column.startswith(_PREFIX))
    if not keys:
        return pl.lit("").alias(METADATA)
    inner = pl.concat_str([_member(key) for key in keys], separator=",", ignore_nulls=True)
    json = pl.concat_str(pl.lit("{"), inner, pl.lit("}"))
    return pl.when(inner == "").then(pl.lit("")).otherwise(json).alias(METADATA)


def _member(key: str) -> pl.Expr:
    """``"key":"value"`` as JSON, null where the cell is empty."""
    cell = pl.col(_PREFIX + key)
    json = pl.struct(cell.alias(key)).struct.json_encode()
    return pl.when(cell != "").then(json.str.head(-1).str.slice(1))


def _derived_roles(users: pl.DataFrame) -> pl.DataFrame:
    """1.1 keeps a person's orgs and role in users.csv: one role for each org, the first primary, the rest secondary.

    Its sourcedId is ``user@org``, so it is the same in every delivery; "@" and "%" in the user's own id are written as
    in a URL, so that no two pairs can have the same.
    """
    orgs = pl.col(_ORGS).str.split(",")
    each = (
        users.select(ID.alias("userSourcedId"), "role", orgs.alias("orgSourcedId"), pl.lit("primary").alias("roleType"))
        .explode("orgSourcedId", empty_as_null=False)
        .with_columns(pl.col("orgSourcedId").str.strip_chars())
        .filter(pl.col("orgSourcedId") != "")
        .unique(["userSourcedId", "orgSourcedId"], keep="first", maintain_order=True)
    )
    first = pl.col("userSourcedId").is_first_distinct()
    user = pl.col("userSourcedId").str.replace_all("%", "%25", literal=True).str.replace_all("@", "%40", literal=True)
    made = each.with_columns(
        pl.concat_str(user, pl.lit("@"), pl.col("orgSourcedId")).alias("sourcedId"),
        pl.when(first).then(pl.lit("primary")).otherwise(pl.lit("secondary")).alias("roleType"),
    )
    return made.select(pl.col(name) if name in made.columns else pl.lit("").alias(name) for name in NORMAL["roles"])


def _with_principal_role(users: pl.DataFrame, roles: pl.DataFrame) -> pl.DataFrame:
    """`users` with their principal role: the primary one at the primary org, else the first primary, else the first.

    A user without ``primaryOrgSourcedId`` gets that role's org. (CSV Binding 1.2, roles.csv: one primary role per org.)
    """
    of_user = users.select(ID.alias("userSourcedId"), pl.col("primaryOrgSourcedId").alias("home"))
    primary = pl.col("roleType") == "primary"
    at_home = primary & (pl.col("orgSourcedId") == pl.col("home"))
    principal = (
        roles.select("userSourcedId", "roleType", pl.col("role").alias("principal"), "orgSourcedId")
        .join(of_user, on="userSourcedId", how="inner", maintain_order="left")
        .sort(~at_home, ~primary, maintain_order=True)
        .unique("userSourcedId", keep="first")
        .select("userSourcedId", "principal", "orgSourcedId")
    )
    found = users.join(principal, left_on="sourcedId", right_on="userSourcedId", how="left", maintain_order="left")
    home = pl.col("primaryOrgSourcedId")
    return found.with_columns(
        pl.col("principal").fill_null("").alias("role"),
        pl.when(home == "").then(pl.col("orgSourcedId").fill_null("")).otherwise(home).alias("primaryOrgSourcedId"),
    ).select(NORMAL["users"])


def without(roster: Mapping[str, pl.DataFrame], left_out: Collection[str]) -> dict[str, pl.DataFrame]:
    """`roster` without what its district does not want kept (`MAY_BE_LEFT_OUT`): its cells are empty. A record stays,
    for one that goes would be known with its last values until it is forgotten. A table that holds nothing of it is the
    same object."""
    kept = {}
    for table, frame in roster.items():
        columns = [name for name in NORMAL[table][1:] if f"{table}.{name}" in left_out and (frame[name] != "").any()]
        kept[table] = frame.with_columns(pl.lit("").alias(name) for name in columns) if columns else frame
    return kept


# --------------------------------------------------------------------------------------------- over the accepted roster


def target(checked: Checked, base: Frames, *, additions_only: bool = False) -> dict[str, pl.DataFrame]:
    """The roster that should be live after this delivery; `base` is the one that is, in normal form.

    * A bulk table replaces the accepted one, a delta changes it, an absent one leaves it as it is (the same object).
    * A quarantined record keeps its accepted row, a dropped cell its accepted value (where the record is new: what is
      left of the cell). 1.1's roles follow their user: kept where the user's row or orgs could not be read.
    * A record that came whole replaces all of its rows in the tables that are part of it (REST's roles of a user).
    * A row of such a table has no id of its own there: one that says what an accepted row says, or is the same role at
      the same org, keeps that row's id, so that a district may go from files to its API without a change to anybody's
      roles. While a row of a user could not be read, that user's accepted rows stay: it may be any of them.
    * While a row of a bulk table is nameless, nothing is removed from it except by a row that says so itself.
    * What such kept rows refer to is kept as well.
    * What a delivery does not speak for (`Checked.stays`) stays where it does not come, and so does the home of a
      person whose primary org is elsewhere.
    * With `additions_only` every accepted record stays: what is not delivered, or said to be gone, stays as accepted.
      So does a role of 1.1 at an org that its user has no more.
    """
    roster, kept = {}, {}
    normal = normalise(checked)
    if "users" in normal and "roles" in checked.stays:
        _keep_homes(normal, base, checked.stays["roles"], derived="roles" not in checked.tables)
    for name in TABLES:
        if name in normal:
            before, source = scan_of(base, name), _source(checked, name, base)
            delivered = normal[name]
            if name in checked.tables and checked.tables[name].part_of:
                delivered, source = _with_accepted_ids(before, delivered, source)
            roster[name], kept[name] = _laid_over(before, delivered, source, additions_only=additions_only)
        else:
            roster[name] = frame_of(base, name)
    _keep_what_is_referred_to(roster, kept, base)
    if checked.version == "1.2" and ("users" in kept or "roles" in kept):
        roster["users"] = _with_principal_role(roster["users"], roster["roles"])
    return {name: frame for name, frame in roster.items() if len(frame)}


@dataclass(frozen=True, slots=True)
class _Source:
    """What is known of a delivered table beside its rows.

    `owner`: the column that holds the ids of the next three; for rows derived from users it is the user's, else the
    record's own. `read`: records with a row that can be used; `gone`: those of them that it takes out of the roster;
    `unread`: records without such a row. `dropped`: ``sourcedId``, ``column`` (of the normal form). `whole`: users that
    came with all of their rows in this table, `half_read` those of whom a row of theirs could not be read.
    """

    owner: str
    is_delta: bool
    read: pl.Series
    gone: pl.Series
    unread: pl.Series
    nameless: bool
    dropped: pl.DataFrame
    whole: pl.Series
    half_read: pl.Series
    stays: pl.Series


def _source(checked: Checked, name: str, base: Frames) -> _Source:
    derived = name not in checked.tables
    table = checked.tables["users" if derived else name]
    dropped, unread = _in_normal_form(table.dropped), table.quarantined["sourcedId"].drop_nulls()
    if derived:
        half_read = dropped.filter(pl.col("column") == "primaryOrgSourcedId")["sourcedId"]
        if len(half_read):
            had_roles = column_of(base, name, "userSourcedId")
            unread = pl.concat([unread, half_read.filter(half_read.is_in(had_roles.implode()))])
        dropped = dropped.clear()
    ids = table.frame["sourcedId"]
    return _Source(
        owner="userSourcedId" if derived else "sourcedId",
        is_delta=table.mode == "delta",
        read=ids.filter(~ids.is_in(unread.implode())),
        gone=table.frame.filter(pl.col("status").is_in(GONE))["sourcedId"],
        unread=unread,
        nameless=table.nameless > 0,
        dropped=dropped,
        whole=_usable_ids(checked.tables[table.part_of]) if table.part_of else ids.clear(),
        half_read=table.half_read if not derived else ids.clear(),
        stays=checked.stays.get(name, ids.clear()),
    )


def _with_accepted_ids(before: pl.LazyFrame, rows: pl.DataFrame, source: _Source) -> tuple[pl.DataFrame, _Source]:
    """`rows` that were given a name, with the id, and the metadata, of the accepted row that says the same or is the
    same role; and what is known of them, by these ids. Only names that the accepted roster does not know are changed,
    and only to ids that are not delivered: no two can meet."""
    ids = before.select("sourcedId").collect().to_series()
    fresh = rows.filter(~ID.is_in(pl.concat([source.gone, source.unread, ids]).implode()))
    known = before.filter(~ID.is_in(rows["sourcedId"].implode())).collect() if len(fresh) else rows.clear()
    found = []
    for same in ([name for name in rows.columns if name not in ("sourcedId", METADATA)], _SAME_ROLE):
        if len(fresh) and len(known) and set(same) <= set(rows.columns):
            nth = pl.int_range(pl.len()).over(same).alias("nth")
            pairs = fresh.with_columns(nth).join(known.with_columns(nth), on=[*same, "nth"], suffix=" accepted")
            found.append(pairs.select("sourcedId", accepted="sourcedId accepted", more=f"{METADATA} accepted"))
            fresh = fresh.filter(~ID.is_in(found[-1]["sourcedId"].implode()))
            known = known.filter(~ID.is_in(found[-1]["accepted"].implode()))
    if not found:
        return rows, source
    accepted = pl.concat(found)
    renamed = pl.coalesce("accepted", "sourcedId").alias("sourcedId")
    dropped = source.dropped.join(accepted, on="sourcedId", how="left").with_columns(renamed)
    named = rows.join(accepted, on="sourcedId", how="left", maintain_order="left")
    named = named.with_columns(renamed, pl.coalesce("more", METADATA).alias(METADATA)).select(rows.columns)
    return named, replace(source, dropped=dropped.select(source.dropped.columns))


def _keep_homes(normal: dict[str, pl.DataFrame], base: Frames, stays: pl.Series, *, derived: bool) -> None:
    """Whose primary org is one where a role of theirs `stays` keeps it; 1.1's roles elsewhere are not the primary."""
    staying = scan_of(base, "roles").filter(ID.is_in(stays.implode()))
    at_home = scan_of(base, "users").join(
        staying, left_on=["sourcedId", "primaryOrgSourcedId"], right_on=["userSourcedId", "orgSourcedId"], how="semi"
    )
    kept = at_home.filter(ID.is_in(normal["users"]["sourcedId"].implode())).select("sourcedId", "primaryOrgSourcedId")
    elsewhere = kept.collect()
    if not len(elsewhere):
        return
    normal["users"] = normal["users"].update(elsewhere, on="sourcedId")
    if derived:
        homes = elsewhere.select(userSourcedId="sourcedId", home="primaryOrgSourcedId")
        roles = normal["roles"].join(homes, on="userSourcedId", how="left", maintain_order="left")
        away = pl.when(pl.col("home") != pl.col("orgSourcedId")).then(pl.lit("secondary")).otherwise("roleType")
        normal["roles"] = roles.with_columns(away.alias("roleType")).drop("home")


def _usable_ids(table: CheckedTable) -> pl.Series:
    """The records of `table` that have a row which can be used."""
    ids = table.frame["sourcedId"]
    return ids.filter(~ids.is_in(table.quarantined["sourcedId"].implode()))


def _in_normal_form(dropped: pl.DataFrame) -> pl.DataFrame:
    """`dropped` with the names that the normal form has for those columns."""
    column = pl.col("column")
    return dropped.with_columns(
        pl.when(column == _ORGS).then(pl.lit("primaryOrgSourcedId"))
        .when(column.str.starts_with(_PREFIX)).then(pl.lit(METADATA))
        .otherwise(column).alias("column")
    )  # fmt: skip


def _laid_over(
    before: pl.LazyFrame, delivered: pl.DataFrame, source: _Source, *, additions_only: bool
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The new table, and those of its rows that are there, or are as they are, because something could not be read. Of
    `before` no more is read than what stays: of a whole table that was read well, nothing."""
    owner = pl.col(source.owner)
    rows = delivered
    for unused in (source.gone, source.unread):
        rows = rows.filter(~owner.is_in(unused.implode())) if len(unused) else rows
    rows, healed = _with_kept_cells(rows, before, source.dropped)
    if additions_only:
        staying = before.filter(~ID.is_in(rows["sourcedId"].implode())).collect()
        return pl.concat([rows, staying]), rows.clear()  # what any of them refers to stays as well
    if not (source.is_delta or source.nameless or len(source.unread) or len(source.stays)):
        return rows, healed
    unread = owner.is_in(source.unread.implode())
    if len(source.half_read):
        unread |= pl.col("userSourcedId").is_in(source.half_read.implode()) & ~ID.is_in(rows["sourcedId"].implode())
    spoken_of = owner.is_in(source.read.implode())
    if len(source.whole) and not source.nameless:
        spoken_of |= pl.col("userSourcedId").is_in(source.whole.implode()) & ~unread
    stays = ~spoken_of if source.is_delta or source.nameless else unread
    if len(source.stays):
        stays |= ID.is_in(source.stays.implode()) & ~ID.is_in(rows["sourcedId"].implode())
    staying = before.filter(stays).collect()
    kept = staying.filter(unread) if source.is_delta else staying
    return pl.concat([rows, staying]), pl.concat([kept, healed])


def _with_kept_cells(
    rows: pl.DataFrame, before: pl.LazyFrame, dropped: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`rows` with the accepted value in every dropped cell of a record that has one; and the rows in which there was
    such a cell."""
    if dropped.is_empty():
        return rows, rows.clear()
    known = before.filter(ID.is_in(dropped["sourcedId"].implode())).collect()
    for (column,), cells in dropped.group_by("column", maintain_order=True):
        if column in known.columns:
            accepted = known.filter(ID.is_in(cells["sourcedId"].implode())).select("sourcedId", str(column))
            rows = rows.update(accepted, on="sourcedId")
    return rows, rows.filter(ID.is_in(known["sourcedId"].implode()))


def _keep_what_is_referred_to(roster: dict[str, pl.DataFrame], kept: Mapping[str, pl.DataFrame], base: Frames) -> None:
    """Put back into `roster` every record of `base` to which a kept row refers, and what those refer to in turn.

    References only point up the order of tables or within one, so one pass from the last table upwards finds all.
    """
    waiting = {name: [frame] for name, frame in kept.items() if len(frame)}
    for name in reversed(TABLES):
        while found := waiting.get(name):
            frame = found.pop()
            for column, to in {**REFERENCES[name], **LISTED_REFERENCES.get(name, {})}.items():
                ids = frame[column].str.split(",").explode(empty_as_null=False).unique()
                missing = ids.filter(~ids.is_in(roster[to]["sourcedId"].implode()))
                if not len(missing):
                    continue
                if len(back := scan_of(base, to).filter(ID.is_in(missing.implode())).collect()):
                    roster[to] = pl.concat([roster[to], back])
                    waiting.setdefault(to, []).append(back)
