"""What a delivery speaks for: the whole district, or some of its schools and terms.

A file about one school says nothing of the others. So before it is checked (`within`), rows about other schools or
terms are taken out of it, and the accepted records that it does not speak for are noted: they stay as they are,
whatever the file leaves out, and what refers to them stands.

Where a record lies is one of three: *inside* the scope, where the delivery has the say, *outside*, where it has none,
or neither: what belongs to no school (the district, its terms, its courses) or to schools of both kinds (people who are
at several). That may come and change with the delivery, but never goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from rosters.diffing import ID, scan_of
from rosters.findings import Findings, places
from rosters.frames import LINE, Delivered, DeliveredTable, Frames
from rosters.oneroster import VERSIONS
from rosters.oneroster.normal import GONE, NORMAL

#: A place: inside, outside, or null for neither.
_PLACE: Final = {"sourcedId": pl.String, "inside": pl.Boolean}
_OF_A_USER: Final = {"userProfiles": "userSourcedId", "demographics": "sourcedId"}
_COLUMN: Final = {"courses": "orgSourcedId", "classes": "schoolSourcedId", "enrollments": "schoolSourcedId"}


@dataclass(frozen=True, slots=True)
class Scope:
    """Orgs and terms by their sourcedIds, each with all that lies beneath it; none means all of them."""

    schools: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.schools or self.terms)

    def as_json(self) -> dict[str, list[str]]:
        """``{"schools": [...], "terms": [...]}``, sorted, without what is empty; the whole district is ``{}``."""
        return {name: sorted(ids) for name in ("schools", "terms") if (ids := getattr(self, name))}

    @classmethod
    def from_json(cls, said: Mapping[str, Iterable[str]]) -> Scope:
        return cls(tuple(sorted(set(said.get("schools", ())))), tuple(sorted(set(said.get("terms", ())))))

    def apart_from(self, other: Scope) -> bool:
        """Whether no school is in both, as far as the names say. Terms do not tell: people are in all of them."""
        return bool(self.schools and other.schools) and not set(self.schools) & set(other.schools)

    def includes(self, other: Scope) -> bool:
        """Whether all that `other` is about is in this one."""
        pairs = ((self.schools, other.schools), (self.terms, other.terms))
        return all(not mine or (theirs and set(theirs) <= set(mine)) for mine, theirs in pairs)


#: All schools and all terms.
EVERYTHING: Final = Scope()


def within(delivered: Delivered, base: Frames, scope: Scope) -> Delivered:
    """The delivery without the rows that `scope` does not allow it, and with the accepted ids that stay in any case.

    `base` is the accepted roster. A file of which no row is left is refused (OR-SCOPE-002).
    """
    if not scope or not delivered.readable:
        return delivered
    land = _Land(delivered, base, scope)
    findings = Findings(overrides=delivered.findings.overrides)
    findings.extend(delivered.findings)
    tables: dict[str, DeliveredTable] = {}
    refused: dict[str, pl.Series] = {}
    for name in sorted(delivered.tables, key=lambda name: list(NORMAL).index(name) if name in NORMAL else len(NORMAL)):
        table = delivered.tables[name]
        tables[name], refused[name] = _without(table, _outside(table, land, refused, delivered.version), findings)
        land.come(tables[name])
    if "users" in tables and delivered.version == "1.1":
        tables["users"] = _without_roles_elsewhere(tables["users"], land)
    lying = [name for name in ("classes", "users", "roles", "enrollments") if name in tables]
    if any(len(refused[name]) for name in lying) and not any(len(tables[name].frame) for name in lying):
        findings = findings.without_places()  # perhaps another district's rows
        findings.add("OR-SCOPE-002", effect="package")
    stays = {name: land.staying(name, refused) for name in NORMAL if name in base}
    outside = {name: land.accepted(name).filter(~pl.col("inside"))["sourcedId"] for name in stays}
    untouched = sum(len(ids) for name, ids in outside.items() if name in tables)
    ordered = {name: tables[name] for name in delivered.tables}
    return replace(delivered, tables=ordered, findings=findings, stays=stays, outside=outside, untouched=untouched)


class _Land:
    """Where the schools, classes and people of a district lie: accepted ones, and those of a delivery."""

    def __init__(self, delivered: Delivered, base: Frames, scope: Scope) -> None:
        self.base, self.scope = base, scope
        self._accepted: dict[str, pl.DataFrame] = {}
        orgs = _known(delivered, base, "orgs", "type")
        self.orgs = _orgs(orgs, scope.schools)
        self.terms = _beneath(_known(delivered, base, "academicSessions"), scope.terms)
        self.sessions = _known(delivered, base, "academicSessions")["sourcedId"]
        came = delivered.tables.get("classes")
        mine = self.accepted("classes")
        self.classes = mine if came is None else _first([mine, self.places_of("classes", came.frame)])
        roles = delivered.tables.get("roles")
        self.roles = self._roles() if roles is None else self._roles_after(roles.frame)
        self.delivered_users: pl.Series = pl.Series("sourcedId", [], pl.String)

    def come(self, table: DeliveredTable) -> None:
        """`table`, as it is left, is known from now on."""
        if table.name == "users":
            self.delivered_users = table.frame["sourcedId"]

    def _roles(self) -> pl.DataFrame:
        return scan_of(self.base, "roles").select("userSourcedId", "orgSourcedId").collect()

    def _roles_after(self, came: pl.DataFrame) -> pl.DataFrame:
        """Of who comes with roles those, of others the accepted ones."""
        others = self._roles().filter(~pl.col("userSourcedId").is_in(came["userSourcedId"].implode()))
        return pl.concat([came.select("userSourcedId", "orgSourcedId"), others])

    def accepted(self, table: str) -> pl.DataFrame:
        """Each accepted record of a table in its place."""
        if table not in self._accepted:
            self._accepted[table] = self._places_of_accepted(table)
        return self._accepted[table]

    def _places_of_accepted(self, table: str) -> pl.DataFrame:
        if table in ("roles", "users", *_OF_A_USER):
            column = {"users": "sourcedId", "roles": "orgSourcedId", **_OF_A_USER}[table]
            rows = scan_of(self.base, table).select("sourcedId", named=column).collect()
            return rows.select("sourcedId", inside=_look(rows["named"], self.orgs if table == "roles" else self.people))
        needed = {"classes": ["termSourcedIds"], "enrollments": ["classSourcedId"]}.get(table, [])
        columns = ["sourcedId", *([_COLUMN[table]] if table in _COLUMN else []), *needed]
        return self.places_of(table, scan_of(self.base, table).select(columns).collect())

    @property
    def people(self) -> pl.DataFrame:
        """Each accepted user: inside where all of their roles are, outside where none is elsewhere than there."""
        return _of_roles(self._roles(), self.orgs)

    def places_of(self, table: str, rows: pl.DataFrame) -> pl.DataFrame:
        """Each row of orgs, sessions, courses, classes or enrollments in its place, as its own cells say."""
        inside = self._inside(table, rows)
        return pl.DataFrame({"sourcedId": rows["sourcedId"], "inside": inside}, schema=_PLACE)

    def _inside(self, table: str, rows: pl.DataFrame) -> pl.Series:
        if table == "academicSessions":
            return pl.Series([None], dtype=pl.Boolean).new_from_index(0, len(rows))
        place = _look(rows["sourcedId" if table == "orgs" else _COLUMN[table]], self.orgs)
        if table == "classes":
            of_term = self._in_term(rows["termSourcedIds"]) if self.scope.terms else place
            return place & of_term if self.scope.schools else of_term
        if table == "enrollments":
            of_class = _look(rows["classSourcedId"], self.classes)
            return place.fill_null(of_class) & of_class.fill_null(place)
        return place

    def _in_term(self, cells: pl.Series) -> pl.Series:
        """Whether one of the terms a cell names is of the scope; null where it names none that is known."""
        items = cells.str.split(",").list.eval(pl.element().str.strip_chars()).to_frame("item").with_row_index("row")
        each = items.explode("item", empty_as_null=False).filter(pl.col("item").is_in(self.sessions.implode()))
        rows = each.group_by("row").agg(pl.col("item").is_in(self.terms.implode()).any().alias("inside"))
        return items.select("row").join(rows, on="row", how="left", maintain_order="left")["inside"]

    def staying(self, table: str, refused: Mapping[str, pl.Series]) -> pl.Series:
        """The accepted ids of a table that stay although nobody delivers them: what does not lie inside, and what the
        delivery would move out."""
        mine = self.accepted(table)
        if self.scope.terms and table not in ("classes", "enrollments"):
            return mine["sourcedId"]  # who has no class this term may have one in another
        stays = ~mine["inside"].fill_null(False)
        moved = refused.get(table)
        if moved is not None and len(moved):
            stays |= mine["sourcedId"].is_in(moved.implode())
        people = refused.get("users")
        if people is not None and len(people) and table in ("roles", *_OF_A_USER):
            column = "userSourcedId" if table == "roles" else _OF_A_USER[table]
            stays |= scan_of(self.base, table).select(pl.col(column).is_in(people.implode())).collect().to_series()
        return mine["sourcedId"].filter(stays)


def _outside(table: DeliveredTable, land: _Land, refused: Mapping[str, pl.Series], version: str) -> pl.Series:
    """The rows of a delivered table that are not for this delivery to say."""
    frame, name = table.frame, table.name
    if name not in NORMAL:
        return _about_refused(frame, name, refused, version)
    before = _look(frame["sourcedId"], land.accepted(name))
    if name == "users":
        own = _look(frame["sourcedId"], _of_roles(_delivered_roles(frame, land, version), land.orgs))
        outside = ~own.fill_null(True)
    elif name in _OF_A_USER:
        of_user = frame[_OF_A_USER[name]]
        whose = _look(of_user, land.people)
        people = refused.get("users", pl.Series([], dtype=pl.String))
        strange = ~whose.fill_null(True) & ~of_user.is_in(land.delivered_users.implode())
        outside = of_user.is_in(people.implode()) | strange
    elif name == "roles":
        outside = ~_look(frame["orgSourcedId"], land.orgs).fill_null(True) | ~before.fill_null(True)
    else:
        outside = ~land.places_of(name, frame)["inside"].fill_null(True) | ~before.fill_null(True)
    known = frame["sourcedId"].is_in(land.accepted(name)["sourcedId"].implode())
    goes = frame["status"].is_in(list(GONE)) & known
    return (outside & ~goes) | (goes & ~before.fill_null(False))


def _about_refused(frame: pl.DataFrame, name: str, refused: Mapping[str, pl.Series], version: str) -> pl.Series:
    """Rows of other tables, of which no more is asked than what they are about."""
    about = pl.Series([False], dtype=pl.Boolean).new_from_index(0, len(frame))
    for column in VERSIONS[version].tables[name].columns:
        gone = refused.get(column.refers_to, about.head(0)) if column.refers_to and not column.listed else about.head(0)
        if len(gone):
            about |= frame[column.name].is_in(gone.implode())
    return about


def _without(table: DeliveredTable, outside: pl.Series, findings: Findings) -> tuple[DeliveredTable, pl.Series]:
    """`table` without these rows, and the ids of these."""
    if not outside.any():
        return table, table.frame["sourcedId"].head(0)
    rows = table.frame.filter(outside)
    findings.add(
        "OR-SCOPE-001", f"{table.name}.csv", "sourcedId", places=places(rows[LINE], rows["sourcedId"].str.slice(0, 80)),
    )  # fmt: skip
    left = replace(table, frame=table.frame.filter(~outside), not_taken=len(rows))
    return left, rows["sourcedId"]


def _without_roles_elsewhere(users: DeliveredTable, land: _Land) -> DeliveredTable:
    """1.1's users without the orgs outside: what they are there, the roster knows already."""
    cells = users.frame["orgSourcedIds"]
    elsewhere = land.orgs.filter(~pl.col("inside"))["sourcedId"].implode()
    item = pl.element().str.strip_chars()
    kept = cells.str.split(",").list.eval(pl.element().filter(~item.is_in(elsewhere))).list.join(",")
    return replace(users, frame=users.frame.with_columns(kept.alias("orgSourcedIds")))


# --------------------------------------------------------------------------------------------------------------- places


def _known(delivered: Delivered, base: Frames, table: str, *columns: str) -> pl.DataFrame:
    """The orgs or sessions that there are, accepted ones as they were accepted: no file moves a school into its
    scope."""
    names = ["sourcedId", "parentSourcedId", *columns]
    parts = [scan_of(base, table).select(names).collect()]
    if table in delivered.tables:
        parts.append(delivered.tables[table].frame.select(names))
    return pl.concat(parts).unique("sourcedId", keep="first", maintain_order=True)


def _first(parts: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(parts).unique("sourcedId", keep="first", maintain_order=True)


def _beneath(tree: pl.DataFrame, roots: Iterable[str]) -> pl.Series:
    """The ids of `roots`, known or not, and of all records beneath them."""
    found = pl.Series("sourcedId", list(roots), pl.String)
    while len(found):
        more = tree.filter(pl.col("parentSourcedId").is_in(found.implode()) & ~ID.is_in(found.implode()))["sourcedId"]
        if not len(more):
            break
        found = pl.concat([found, more])
    return found


def _orgs(orgs: pl.DataFrame, schools: tuple[str, ...]) -> pl.DataFrame:
    """Each org in its place: beneath one of the `schools`, beneath (or itself) a school that is not, or neither."""
    if not schools:
        return orgs.select("sourcedId", inside=pl.lit(None, pl.Boolean))
    inside = _beneath(orgs, schools)
    others = orgs.filter((pl.col("type") == "school") & ~ID.is_in(inside.implode()))["sourcedId"]
    outside = _beneath(orgs, others)
    return orgs.select(
        "sourcedId",
        inside=pl.when(ID.is_in(inside.implode())).then(True).when(ID.is_in(outside.implode())).then(False),
    )


def _look(ids: pl.Series, where: pl.DataFrame) -> pl.Series:
    """The place of each of these ids; null where it is not known."""
    return ids.alias("sourcedId").to_frame().join(where, on="sourcedId", how="left", maintain_order="left")["inside"]


def _delivered_roles(users: pl.DataFrame, land: _Land, version: str) -> pl.DataFrame:
    """Which orgs the delivered users belong to, as the delivery says."""
    if version != "1.1":
        home = users.select(userSourcedId="sourcedId", orgSourcedId="primaryOrgSourcedId")
        return pl.concat([land.roles, home.filter(pl.col("orgSourcedId") != "")])
    each = users.select(userSourcedId="sourcedId", orgSourcedId=pl.col("orgSourcedIds").str.split(","))
    return each.explode("orgSourcedId", empty_as_null=False).with_columns(pl.col("orgSourcedId").str.strip_chars())


def _of_roles(roles: pl.DataFrame, orgs: pl.DataFrame) -> pl.DataFrame:
    """Each user in the place of their roles: inside or outside where all are, else neither."""
    placed = roles.select(sourcedId="userSourcedId", inside=_look(roles["orgSourcedId"], orgs))
    inside, outside = pl.col("inside").fill_null(False), ~pl.col("inside").fill_null(True)
    return placed.group_by("sourcedId").agg(
        pl.when(inside.all()).then(True).when(outside.all()).then(False).alias("inside")
    )
