"""The table on which a check works: frames, what was found in them, and what is not to be used.

Rules find rows (by index into a frame) and call `Context.flag`; it records the finding with lines and values and
applies the
rule of effects: an error in an optional cell costs that value, in the id or a required cell it quarantines the row.
Semantics compare row numbers (`Context.row_of`), so each id is looked up once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from rosters.findings import Effect, Findings, Severity, places
from rosters.frames import LINE, SHORT, CheckOptions, Delivered, Frames, positions, scan
from rosters.oneroster import VERSIONS
from rosters.oneroster.normal import GONE, NORMAL
from rosters.oneroster.rules import RULES
from rosters.oneroster.spec import Column, Table, Version

#: Of a cell so much is shown.
SHOWN = 80
#: The characters of an id (CSV Binding, GUID); its length is a rule of its own.
GUID = r"^[0-9A-Za-z.\-_/@]+$"
#: A schoolYear.
YEAR = r"^[0-9]{4}$"
#: All that a delta needs to know of a record that goes.
_NAMING = ("sourcedId", "status", "dateLastModified")
_GOES = "The record goes all the same: the row says so."
#: Never shown, not even as the value of a finding.
_SECRET = ("password",)


def going() -> pl.Expr:
    """Rows of a delta that only say that their record is gone."""
    return pl.col("status").is_in(list(GONE))


def indices(mask: pl.Series) -> pl.Series:
    """Row numbers where `mask` is true (null counts as false)."""
    return mask.fill_null(False).arg_true()


def words(cells: pl.Series) -> pl.Series:
    """The different cells of a column, each once. Most columns of a long table say the same for many rows on end: of
    these only the first is looked up."""
    return (cells.filter(cells.ne_missing(cells.shift())) if len(cells) > SHORT else cells).unique()


@dataclass(slots=True)
class Context:
    """`frames` are the delivered rows, healed by mappings; `bad[table]` marks quarantined rows."""

    delivered: Delivered
    base: Frames
    options: CheckOptions
    findings: Findings
    frames: dict[str, pl.DataFrame] = field(default_factory=dict)
    bad: dict[str, pl.Series] = field(default_factory=dict)
    drops: dict[str, dict[str, list[pl.Series]]] = field(default_factory=dict)
    _accepted: dict[str, pl.Series] = field(default_factory=dict)
    _rows_of: dict[tuple[str, str], pl.Series] = field(default_factory=dict)
    _index: dict[str, pl.DataFrame] = field(default_factory=dict)
    _items: dict[tuple[str, str], tuple[pl.Series, pl.DataFrame]] = field(default_factory=dict)

    @property
    def version(self) -> Version:
        return VERSIONS[self.delivered.version]

    def table(self, name: str) -> Table:
        return self.version.tables[name]

    def column(self, table: str, name: str) -> Column | None:
        return next((c for c in self.table(table).columns if c.name == name), None)

    def has(self, *tables: str) -> bool:
        return all(t in self.frames for t in tables)

    def mode(self, table: str) -> str:
        return self.delivered.tables[table].mode

    def rostering(self, table: str) -> bool:
        return table in NORMAL

    def applies(self, code: str) -> bool:
        """The rule is one of this version and is not switched off."""
        return self.delivered.version in RULES[code].versions and not self.findings.is_off(code)

    # -- findings

    def flag(
        self,
        code: str,
        table: str,
        column: str,
        rows: pl.Series,
        *,
        detail: str = "",
        effect: Effect | None = None,
        values: pl.Series | None = None,
        severity: Severity | None = None,
    ) -> None:
        """Rule `code` fired in `rows` of `table`. `effect` None: by the column's need; `values` stand for the cells.

        Rows of a delta that only say that their record is gone need none of its other cells: an error there costs
        nothing.
        """
        if not len(rows) or not self.applies(code):
            return
        chosen = self._effect(code, table, column, effect)
        if chosen in ("row", "value") and column not in _NAMING and self.mode(table) == "delta":
            goes = self.frames[table].select(going()).to_series().gather(rows)
            if goes.any():
                cells = None if values is None else values.filter(goes)
                why = f"{detail} {_GOES}".lstrip()
                self.flag(
                    code, table, column, rows.filter(goes), detail=why, effect="none", values=cells, severity=severity
                )
                rows, values = rows.filter(~goes), None if values is None else values.filter(~goes)
                if not len(rows):
                    return
        frame = self.frames[table]
        shown = values if values is not None else frame[column].gather(rows) if column in frame.columns else None
        if shown is None or column in _SECRET:
            shown = pl.Series("value", [""], dtype=pl.String).new_from_index(0, len(rows))
        found = places(frame[LINE].gather(rows), shown.str.slice(0, SHOWN)).sort("line")
        self.findings.add(code, f"{table}.csv", column, places=found, detail=detail, effect=chosen, severity=severity)
        if chosen == "row":
            self.quarantine(table, rows)
        elif chosen == "value":
            self.drop(table, column, rows)

    def _effect(self, code: str, table: str, column: str, wanted: Effect | None) -> Effect:
        severity = self.findings.overrides.get(code) or RULES[code].severity
        if severity not in ("error", "fatal") or not self.rostering(table):
            return "none"
        if wanted is not None:
            return wanted
        known = self.column(table, column)
        return "row" if known is None or known.required else "value"

    def quarantine(self, table: str, rows: pl.Series) -> None:
        mark = pl.Series(values=[True], dtype=pl.Boolean).new_from_index(0, len(rows))
        self.bad[table] = self.bad[table].scatter(rows, mark)

    def drop(self, table: str, column: str, rows: pl.Series) -> None:
        self.drops.setdefault(table, {}).setdefault(column, []).append(rows.cast(pl.UInt32))

    def blank_dropped(self, table: str) -> None:
        """Take dropped values out of the frame. Lists whose items were dropped one by one have been set before."""
        for column, parts in self.drops.get(table, {}).items():
            rows = pl.concat(parts).unique()
            blank = pl.Series(values=[""], dtype=pl.String).new_from_index(0, len(rows))
            known = self.column(table, column)
            if known is None or not (known.listed and known.refers_to):
                self.frames[table] = self.frames[table].with_columns(self.frames[table][column].scatter(rows, blank))

    # -- records that nobody can name

    def nameless(self, table: str) -> int:
        """How many rows of `table` may be about any record: without an id, or set aside with one that was never
        accepted and is no id, or is not proved to be read."""
        unread = self.delivered.tables[table].unread["sourcedId"]
        ids = self.frames[table]["sourcedId"].filter(self.bad[table])
        broken = ids.filter(~ids.str.contains(GUID) | (ids.str.len_bytes() > 255))
        claimed = pl.concat([unread.drop_nulls(), broken]) if table in self.base else broken.filter(broken == "")
        accepted = self.base_ids(table) if len(claimed) else claimed
        return unread.null_count() + int((~claimed.is_in(accepted.implode())).sum())

    # -- references

    def base_ids(self, table: str) -> pl.Series:
        if table not in self._accepted:
            stored = scan(self.base, table).select("sourcedId").collect().to_series() if table in self.base else None
            self._accepted[table] = pl.Series("sourcedId", [], pl.String) if stored is None else stored
        return self._accepted[table]

    def standing_ids(self, table: str) -> pl.Series:
        """Accepted ids that stay, though no delivered row bears them: those of an absent table, of a delta, of rows
        that could not be read, of records that the delivery does not speak for. A complete table without a record says
        that it is gone."""
        accepted = self.base_ids(table)
        if table not in self.frames or self.mode(table) == "delta" or self.nameless(table) or not len(accepted):
            return accepted
        if self.frames[table].is_empty():
            return accepted  # a header without rows says nothing
        stay = self.delivered.tables[table].unread["sourcedId"].drop_nulls()
        if table in self.delivered.stays:
            stay = pl.concat([stay, self.delivered.stays[table]])
        return accepted.filter(accepted.is_in(stay.implode()))

    def row_of(self, table: str, column: str) -> pl.Series:
        """For each row, the number of the row that its (single) reference points to in the target's frame; null if
        none."""
        key = (table, column)
        if key not in self._rows_of:
            known = self.column(table, column)
            assert known is not None
            self._rows_of[key] = self.rows_named(self.frames[table][column], known.refers_to)
            if known.refers_to in self.frames:
                self._tell_once(table, column, self._rows_of[key], self.frames[known.refers_to]["sourcedId"])
        return self._rows_of[key]

    def _tell_once(self, table: str, column: str, rows: pl.Series, ids: pl.Series) -> None:
        """Let the references in `column` be the very texts of the `ids` in those `rows`: the same cells, but what seven
        hundred thousand enrollments say of their users is in memory once. In place, so that nobody keeps the others."""
        cells, strange = self.frames[table][column], rows.is_null()
        if 2 * int(strange.sum()) > len(rows):
            return
        if strange.any():
            own = pl.Series(cells.filter(strange).to_list(), dtype=pl.String)
            numbers = pl.int_range(len(ids), len(ids) + len(own), dtype=pl.UInt32, eager=True)
            rows, ids = rows.clone().scatter(strange.arg_true(), numbers), pl.concat([ids, own], rechunk=True)
        self.frames[table].replace_column(self.frames[table].get_column_index(column), ids.gather(rows).alias(column))

    def rows_named(self, ids: pl.Series, target: str) -> pl.Series:
        """The number of the row with each of these sourcedIds in `target`; null where there is none."""
        if target not in self.frames:
            return pl.Series("row", [None], dtype=pl.UInt32).new_from_index(0, len(ids))
        index = self._index.get(target)
        if index is None:
            # A blank id names nobody: otherwise every blank reference would lead to that row.
            index = self.frames[target].select("sourcedId").with_row_index("row").filter(pl.col("sourcedId") != "")
            if index["sourcedId"].hash().n_unique() < len(index):
                index = index.unique("sourcedId", keep="first", maintain_order=True)
            self._index[target] = index
        return index["row"].gather(positions(ids, index["sourcedId"]))

    def items(self, table: str, column: str) -> pl.DataFrame:
        """The items of a list column: ``row`` (of the table) and ``item`` (trimmed, not empty)."""
        cells = self.frames[table][column]
        known = self._items.get((table, column))
        if known is None or (known[0] is not cells and not known[0].equals(cells)):
            several = cells.str.contains(",", literal=True)
            rows = pl.int_range(len(cells), dtype=pl.UInt32, eager=True).alias("row")
            single = pl.DataFrame({"row": rows, "item": cells}).filter(~several)
            lists = pl.DataFrame({"row": rows, "item": cells}).filter(several)
            split = lists.with_columns(pl.col("item").str.split(",")).explode("item", empty_as_null=False)
            each = pl.concat([single, split]).sort("row", maintain_order=True) if len(split) else single
            each = each.with_columns(pl.col("item").str.strip_chars()).filter(pl.col("item") != "")
            known = self._items[table, column] = (cells, each)
        return known[1]

    def value_at(self, table: str, column: str, rows: pl.Series) -> pl.Series:
        """The cells of `column` at these row numbers; null where the number is null."""
        return (
            self.frames[table][column]
            .gather(rows.fill_null(0))
            .zip_with(rows.is_not_null(), pl.Series([None], dtype=pl.String).new_from_index(0, len(rows)))
            if len(self.frames[table])
            else pl.Series([None], dtype=pl.String).new_from_index(0, len(rows))
        )
