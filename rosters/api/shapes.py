"""Records as the standard's REST writes them, in 1.1 and in 1.2, from the one normal form.

Text that the standard asks for is always there, "" where nothing is known; so are lists. Everything else is left out
where there is nothing: readers who are strict take "" for no date, no word and no name. Booleans are the words "true"
and "false". A password is never served: none is kept. (1.1 sections 4.x; 1.2 rostering information model, section 4.)
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import polars as pl

from rosters.api.filtering import Path
from rosters.api.operations import ENTITIES, Entity
from rosters.oneroster.vocabularies import ROLES_1_1, ROLES_1_2
from rosters.serving import MODIFIED, STATUS, ServedRoster

_Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record. `kind`: "always", "if any" (left out where empty), "list", "ref", "refs"; `to`: the kind
    of record that a reference leads to."""

    name: str
    column: str
    kind: str
    to: str = ""


def _always(*names: str) -> list[Field]:
    return [Field(name, name, "always") for name in names]


def _if_any(*names: str) -> list[Field]:
    return [Field(name, name, "if any") for name in names]


def _lists(*names: str) -> list[Field]:
    return [Field(name, name, "list") for name in names]


def _ref(name: str, to: str, column: str = "") -> Field:
    return Field(name, column or f"{name}SourcedId", "ref", to)


def _refs(name: str, to: str, column: str) -> Field:
    return Field(name, column, "refs", to)


_NAMED_1_2: Final = (
    Field("preferredFirstName", "preferredGivenName", "if any"),
    *_if_any("preferredMiddleName"),
    Field("preferredLastName", "preferredFamilyName", "if any"),
    *_if_any("pronouns"),
    _ref("primaryOrg", "org"),
)

#: What a record has beside sourcedId, status, dateLastModified and metadata, and beside what `Writer` adds.
FIELDS: Final[Mapping[str, Mapping[str, list[Field]]]] = {
    version: {
        "academicSessions": [
            *_always("title"), *_if_any("startDate", "endDate", "type"), _ref("parent", "academicSession"),
            *_always("schoolYear"),
        ],
        "orgs": [
            *_always("name"), *_if_any("type"), *(_if_any if version == "1.1" else _always)("identifier"),
            _ref("parent", "org"),
        ],
        "courses": [
            *_always("title"), _ref("schoolYear", "academicSession"), *_always("courseCode"),
            *_lists("grades", "subjects"), _ref("org", "org"), *_lists("subjectCodes"),
        ],
        "classes": [
            *_always("title"), *_if_any("classCode", "classType", "location"), *_lists("grades", "subjects"),
            _ref("course", "course"), _ref("school", "org"), _refs("terms", "academicSession", "termSourcedIds"),
            *_lists("subjectCodes", "periods"),
        ],
        "users": [
            *(_always("username") if version == "1.1" else _if_any("username", "userMasterIdentifier")),
            *_if_any("enabledUser"), *_always("givenName", "familyName"), *_if_any("middleName"),
            *(() if version == "1.1" else _NAMED_1_2), *_if_any("identifier", "email", "sms", "phone"),
            _refs("agents", "user", "agentSourcedIds"), *_lists("grades"),
        ],
        "enrollments": [
            _ref("user", "user"), _ref("class", "class"), _ref("school", "org"),
            *_if_any("role", "primary", "beginDate", "endDate"),
        ],
        "demographics": _if_any(
            "birthDate", "sex", "americanIndianOrAlaskaNative", "asian", "blackOrAfricanAmerican",
            "nativeHawaiianOrOtherPacificIslander", "white", "demographicRaceTwoOrMoreRaces",
            "hispanicOrLatinoEthnicity", "countryOfBirthCode", "stateOfBirthAbbreviation", "cityOfBirth",
            "publicSchoolResidenceStatus",
        ),
    }
    for version in ("1.1", "1.2")
}  # fmt: skip

#: What is made of other rows than the record's own.
ADDED: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "1.1": {"academicSessions": ("children",), "orgs": ("children",), "users": ("role", "orgs", "userIds")},
    "1.2": {
        "academicSessions": ("children",), "orgs": ("children",), "users": ("roles", "userProfiles", "userIds"),
    },
}  # fmt: skip
HEAD: Final = ("sourcedId", STATUS, MODIFIED, "metadata")

_PAIR: Final = re.compile(r"^\{([^:]*):(.*)\}$")


def names_of(standard: str, table: str) -> frozenset[str]:
    """The fields that a record of `table` can have."""
    own = (field.name for field in FIELDS[standard][table])
    return frozenset((*HEAD, *own, *ADDED[standard].get(table, ())))


# ------------------------------------------------------------------------------------------------- where a field stands


def paths(standard: str, table: str) -> Callable[[str], Path | None]:
    """Where dotted fields of the records of `table` stand, to filter and sort by."""
    known = {STATUS: Path(pl.col(STATUS)), MODIFIED: Path(pl.col(MODIFIED), is_moment=True)}
    known["sourcedId"] = Path(pl.col("sourcedId"))
    for field in FIELDS[standard][table]:
        name = f"{field.name}.sourcedId" if field.kind in ("ref", "refs") else field.name
        several = field.kind in ("list", "refs")
        known[name] = Path(pl.col(field.column).str.split(",") if several else pl.col(field.column), several)
    if table in ("orgs", "academicSessions"):
        known["children.sourcedId"] = Path(pl.col("sourcedId"), through=(table, "parentSourcedId"))
    if table == "users":
        known |= _paths_of_users(standard)
    return lambda name: known.get(name) or _metadata_path(name)


def _paths_of_users(standard: str) -> dict[str, Path]:
    def of_roles(cell: pl.Expr) -> Path:
        return Path(cell, through=("roles", "userSourcedId"))

    pairs = pl.col("userIds").str.split(",")
    found = {
        "userIds.type": Path(pairs.list.eval(pl.element().str.extract(r"^\{([^:]*):")), several=True),
        "userIds.identifier": Path(pairs.list.eval(pl.element().str.extract(r"^\{[^:]*:(.*)\}$")), several=True),
    }
    role, org = pl.col("role"), of_roles(pl.col("orgSourcedId"))
    if standard == "1.1":
        return found | {"role": Path(role.replace(ROLES_1_1)), "orgs.sourcedId": org}
    return found | {
        "roles.role": of_roles(role.replace(ROLES_1_2)),
        "roles.roleType": of_roles(pl.col("roleType")),
        "roles.org.sourcedId": org,
        "roles.beginDate": of_roles(pl.col("beginDate")),
        "roles.endDate": of_roles(pl.col("endDate")),
    }


def _metadata_path(name: str) -> Path | None:
    head, _, key = name.partition(".")
    if head != "metadata" or not key:
        return None
    return Path(pl.col("metadata").replace("", "{}").str.json_path_match(f"$['{key}']").fill_null(""))


# ------------------------------------------------------------------------------------------------------------ on a page


class Writer:
    """Writes the records of one table, page by page. `base`: the absolute address of the standard, with its "/"."""

    def __init__(self, roster: ServedRoster, standard: str, entity: Entity, base: str, only: frozenset[str]) -> None:
        self.roster, self.standard, self.table, self.base = roster, standard, entity.table, base
        self.fields = [field for field in FIELDS[standard][self.table] if not only or field.name in only]
        self.head = [name for name in HEAD if not only or name in only]
        self.added = [name for name in ADDED[standard].get(self.table, ()) if not only or name in only]

    def records(self, rows: pl.DataFrame) -> list[_Row]:
        """The records of `rows` (as `rosters.serving.columns`), in their order."""
        more = self._more(rows) if self.added else {}
        return [self._record(row, more.get(row["sourcedId"], {})) for row in rows.to_dicts()]

    def _record(self, row: _Row, more: _Row) -> _Row:
        record: _Row = {}
        for name in self.head:
            if name == MODIFIED:
                record[name] = f"{row[name]:%Y-%m-%dT%H:%M:%S}.{row[name].microsecond // 1000:03d}Z"
            elif name != "metadata":
                record[name] = row[name]
            elif row[name]:
                record[name] = json.loads(row[name])
        for field in self.fields:
            cell = row[field.column]
            if field.kind == "always":
                record[field.name] = cell
            elif field.kind == "list":
                record[field.name] = cell.split(",") if cell else []
            elif field.kind == "refs":
                record[field.name] = [self._ref(each, field.to) for each in cell.split(",")] if cell else []
            elif cell:
                record[field.name] = self._ref(cell, field.to) if field.kind == "ref" else cell
        if "userIds" in self.added:
            record["userIds"] = [_pair(each) for each in row["userIds"].split(",")] if row["userIds"] else []
        if "role" in self.added:
            record["role"] = ROLES_1_1.get(row["role"], row["role"])
        return record | more

    def _ref(self, sourced_id: str, to: str) -> dict[str, str]:
        return {
            "href": f"{self.base}{ENTITIES[to].many}/{quote(sourced_id, safe='')}",
            "sourcedId": sourced_id,
            "type": to,
        }

    # -- what stands in other rows

    def _more(self, rows: pl.DataFrame) -> dict[str, _Row]:
        """sourcedId to what a record has from other rows."""
        if self.table != "users":
            return self._children(rows)
        found: dict[str, _Row] = {}
        held = self._rows_of("roles", rows) if {"roles", "orgs"} & {*self.added} else {}
        profiles = self._rows_of("userProfiles", rows) if "userProfiles" in self.added else {}
        for key, home in rows.select("sourcedId", "primaryOrgSourcedId").iter_rows():
            more: _Row = {}
            own = sorted(
                held.get(key, ()), key=lambda role: (role["orgSourcedId"] != home, role["roleType"] != "primary")
            )
            if "orgs" in self.added:
                orgs = dict.fromkeys(filter(None, (home, *(role["orgSourcedId"] for role in own))))
                more["orgs"] = [self._ref(org, "org") for org in orgs]
            if "roles" in self.added:
                more["roles"] = [self._role(role) for role in own]
            if profiles.get(key):
                more["userProfiles"] = [_profile(profile) for profile in profiles[key]]
            found[key] = more
        return found

    def _rows_of(self, table: str, users: pl.DataFrame) -> dict[str, list[_Row]]:
        """The rows of `table` that are part of these users: the living ones, and all of a user who left."""
        rows = self.roster.scan(table).filter(pl.col("userSourcedId").is_in(users["sourcedId"].implode())).collect()
        gone = users.filter(pl.col(STATUS) != "active")["sourcedId"]
        rows = rows.filter((pl.col(STATUS) == "active") | pl.col("userSourcedId").is_in(gone.implode()))
        found: dict[str, list[_Row]] = defaultdict(list)
        for row in rows.iter_rows(named=True):
            found[row["userSourcedId"]].append(row)
        return found

    def _role(self, row: _Row) -> _Row:
        role = {"roleType": row["roleType"], "role": ROLES_1_2.get(row["role"], row["role"])}
        role["org"] = self._ref(row["orgSourcedId"], "org")
        if row["userProfileSourcedId"]:
            role["userProfile"] = row["userProfileSourcedId"]
        return role | {name: row[name] for name in ("beginDate", "endDate") if row[name]}

    def _children(self, rows: pl.DataFrame) -> dict[str, _Row]:
        to = "org" if self.table == "orgs" else "academicSession"
        below = self.roster.living(self.table).filter(pl.col("parentSourcedId").is_in(rows["sourcedId"].implode()))
        found: dict[str, list[dict[str, str]]] = {key: [] for key in rows["sourcedId"]}
        for child, parent in below.select("sourcedId", "parentSourcedId").collect().iter_rows():
            found[parent].append(self._ref(child, to))
        return {key: {"children": children} for key, children in found.items()}


def _pair(cell: str) -> dict[str, str]:
    """ "{LDAP:jdoe}" of CSV."""
    found = _PAIR.match(cell)
    return {"type": found[1], "identifier": found[2]} if found else {"type": "", "identifier": cell}


def _profile(row: _Row) -> _Row:
    credentials = {"type": row["credentialType"], "username": row["username"]}
    about = {name: row[name] for name in ("profileType", "vendorId")}
    about |= {name: row[name] for name in ("applicationId", "description") if row[name]}
    return {"profileId": row["sourcedId"], **about, "credentials": [credentials]}
