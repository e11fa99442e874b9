"""Pulls made from the tables of a district: what its OneRoster server would have answered, page by page."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

Json = dict[str, Any]
COLLECTIONS = ("orgs", "academicSessions", "courses", "classes", "users", "demographics", "enrollments")
HOST = "https://sis.example.org"

#: Columns that refer to one record, or to several: field in REST and the type of what it points to.
ONE = {
    "parentSourcedId": ("parent", "org"),
    "schoolYearSourcedId": ("schoolYear", "academicSession"),
    "orgSourcedId": ("org", "org"),
    "primaryOrgSourcedId": ("primaryOrg", "org"),
    "schoolSourcedId": ("school", "org"),
    "courseSourcedId": ("course", "course"),
    "classSourcedId": ("class", "class"),
    "userSourcedId": ("user", "user"),
}
SEVERAL = {
    "orgSourcedIds": ("orgs", "org"),
    "termSourcedIds": ("terms", "term"),
    "agentSourcedIds": ("agents", "user"),
}
LISTS = ("grades", "subjects", "subjectCodes", "periods")
OTHERWISE = {"preferredGivenName": "preferredFirstName", "preferredFamilyName": "preferredLastName"}


def reference(key: str, kind: str) -> Json:
    return {"href": f"{HOST}/ims/oneroster/v1p1/{kind}s/{key}", "sourcedId": key, "type": kind}


def _value(column: str, cell: str) -> tuple[str, Any]:
    """The name and the value of a cell in REST."""
    if column in ONE:
        name, kind = ONE[column]
        return name, reference(cell, kind) if cell else None
    if column in SEVERAL:
        name, kind = SEVERAL[column]
        return name, [reference(key, kind) for key in cell.split(",")] if cell else []
    if column in LISTS:
        return column, cell.split(",") if cell else []
    if column == "userIds":
        pairs = [pair.strip("{}").split(":", 1) for pair in cell.split(",")] if cell else []
        return column, [{"type": kind, "identifier": identifier} for kind, identifier in pairs]
    return OTHERWISE.get(column, column), cell or None


def record(row: Mapping[str, str], *, status: str = "active", changed: str = "2026-11-20T06:10:00.000Z") -> Json:
    """One row of a CSV file as a server has it. What is empty is left out every other time, and null otherwise."""
    made: Json = {"sourcedId": row["sourcedId"], "status": status, "dateLastModified": changed, "metadata": {}}
    for column, cell in row.items():
        if column.startswith("metadata."):
            made["metadata"][column.removeprefix("metadata.")] = cell or None
        elif column not in made:
            name, value = _value(column, cell)
            if value or len(name) % 2:
                made[name] = value
    return made


def records(tables: Mapping[str, pl.DataFrame]) -> dict[str, list[Json]]:
    """Every collection of a district; roles and profiles of 1.2 lie inside their users."""
    made = {name: [record(row) for row in tables[name].to_dicts()] for name in COLLECTIONS if name in tables}
    people = {user["sourcedId"]: user for user in made.get("users", [])}
    for role in tables["roles"].to_dicts() if "roles" in tables else ():
        said = {name: role[name] for name in ("roleType", "role", "beginDate", "endDate") if role[name]}
        people[role["userSourcedId"]].setdefault("roles", []).append(
            {**said, "org": reference(role["orgSourcedId"], "org")}
        )
    return made


def named_as_in_rest(tables: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The same tables, their roles with the ids that a pull gives them (the made ones have nothing to escape)."""
    if "roles" not in tables:
        return dict(tables)
    key = pl.concat_str("userSourcedId", "orgSourcedId", "role", separator="@")
    return {**tables, "roles": tables["roles"].with_columns(sourcedId=key)}


def pulled(
    path: Path,
    collections: Mapping[str, list[Any]],
    *,
    version: str = "1.1",
    mode: str = "bulk",
    size: int = 50,
    change: Callable[[dict[str, Any], dict[str, bytes]], None] = lambda pull, pages: None,
) -> Path:
    """A pull as a zip, `size` records a page. `change` may spoil pull.json and the pages before they are packed."""
    pages: dict[str, bytes] = {}
    told = {}
    for name, content in collections.items():
        parts = [content[at : at + size] for at in range(0, len(content), size)] or [[]]
        for number, part in enumerate(parts, 1):
            pages[f"{name}-{number:06d}.json"] = json.dumps({name: part}, ensure_ascii=bool(number % 2)).encode()
        known = {item["sourcedId"] for item in content if isinstance(item, dict) and item.get("sourcedId")}
        told[name] = {"pages": len(parts), "rows": len(known), "total": len(known), "complete": True}
    pull = {
        "format": "oneroster-rest-pull/1", "version": version, "mode": mode, "base": HOST, "collections": told,
        "since": "2026-11-19T00:00:00Z" if mode == "delta" else None,
    }  # fmt: skip
    change(pull, pages)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pull.json", json.dumps(pull))
        for page, body in pages.items():
            archive.writestr(page, body)
    return path
