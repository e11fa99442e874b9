"""A roster that was accepted, as the files of OneRoster CSV: what an import of them would find unchanged.

Written from a snapshot, table by table, in pieces. The same snapshot gives the same bytes. What the version has no file
or no word for is left out or told in its own way: 1.1 has no roles.csv, so a person's orgs and role stand in users.csv.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Collection, Iterator
from typing import IO, Final

import polars as pl

from rosters.diffing import scan_of
from rosters.frames import Frames
from rosters.oneroster import VERSIONS, manifest_properties
from rosters.oneroster.normal import METADATA, TABLES
from rosters.oneroster.vocabularies import ROLES_1_1, ROLES_1_2

#: Rows that are text in memory at once.
_PIECE: Final = 50_000
#: A key of a metadata object: after its beginning, or after the end of a value. Within a value a quotation mark is
#: escaped, so that this is found nowhere else.
_KEY: Final = r'(?:^\{|",)"((?:[^"\\]|\\.)*)":'
_SYSTEM: Final = ("Roster portal", "roster-portal")


def write_zip(to: IO[bytes], roster: Frames, version: str, *, without: Collection[str] = ()) -> None:
    """The roster as a zip of OneRoster `version` ("1.1" or "1.2"); tables `without` are absent."""
    files = {name: _file(roster, name, version) for name in _tables(roster, version) if name not in without}
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        write_table(archive, "manifest.csv", manifest(files, version, _SYSTEM).lazy())
        for name, rows in files.items():
            write_table(archive, f"{name}.csv", rows)


def _tables(roster: Frames, version: str) -> Iterator[str]:
    """What the roster has a row of, in the order of references, as far as the version knows it."""
    return (name for name in TABLES if name in roster and name in VERSIONS[version].tables)


def manifest(files: Collection[str], version: str, system: tuple[str, str]) -> pl.DataFrame:
    """manifest.csv of a full set that has these tables; `system`: name and code of what it calls its maker."""
    said = {"manifest.version": "1.0", "oneroster.version": version}
    said |= {"source.systemName": system[0], "source.systemCode": system[1]}
    names = manifest_properties(VERSIONS[version])
    modes = {name: "bulk" if name.removeprefix("file.") in files else "absent" for name in names}
    return pl.DataFrame({"propertyName": names, "value": [(modes | said)[name] for name in names]})


def _file(roster: Frames, name: str, version: str) -> pl.LazyFrame:
    """One table with the columns of the version, and those of the district's own."""
    rows = scan_of(roster, name)
    role = pl.col("role")
    if name == "users" and version == "1.1":
        rows = rows.join(_orgs_of_people(roster), on="sourcedId", how="left", maintain_order="left")
        rows = rows.with_columns(role.replace(ROLES_1_1))
    elif name == "roles":
        rows = rows.with_columns(role.replace(ROLES_1_2))
    known = rows.collect_schema().names()
    cells = [
        pl.col(column).fill_null("") if column in known else pl.lit("").alias(column)
        for column in VERSIONS[version].tables[name].header
    ]
    return rows.select(*cells, *_metadata(rows))


def _orgs_of_people(roster: Frames) -> pl.LazyFrame:
    """``sourcedId`` of each user, and ``orgSourcedIds``: the primary org first, then those of the roles."""
    people = scan_of(roster, "users").select("sourcedId", org=pl.col("primaryOrgSourcedId"))
    held = scan_of(roster, "roles").select(sourcedId="userSourcedId", org="orgSourcedId")
    orgs = pl.concat([people, held]).filter(pl.col("org") != "").unique(maintain_order=True)
    return orgs.group_by("sourcedId", maintain_order=True).agg(orgSourcedIds=pl.col("org").str.join(","))


def _metadata(rows: pl.LazyFrame) -> list[pl.Expr]:
    """``metadata.*`` columns from the objects in which they are kept."""
    found = rows.select(pl.col(METADATA).str.extract_all(_KEY).explode(empty_as_null=False).unique()).collect()
    keys = sorted({json.loads(f'"{key}"') for key in found.to_series().str.extract(_KEY).drop_nulls()})
    if not keys:
        return []
    kept = pl.col(METADATA).replace("", "{}").str.json_decode(pl.Struct(dict.fromkeys(keys, pl.String)))
    return [kept.struct.field(key).fill_null("").alias(f"{METADATA}.{key}") for key in keys]


def write_table(archive: zipfile.ZipFile, name: str, rows: pl.LazyFrame) -> None:
    """One CSV file; the same rows give the same bytes. polars writes two quotation marks for an empty text and nothing
    for null: nothing is as usual."""
    member = zipfile.ZipInfo(name, date_time=(2020, 1, 1, 0, 0, 0))
    member.compress_type = zipfile.ZIP_DEFLATED
    table = rows.with_columns(pl.all().replace("", None)).collect()
    with archive.open(member, "w", force_zip64=True) as file:
        for start in range(0, max(len(table), 1), _PIECE):
            text = io.BytesIO()
            table.slice(start, _PIECE).write_csv(text, include_header=start == 0, line_terminator="\r\n")
            file.write(text.getbuffer())
