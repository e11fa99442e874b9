"""Small deliveries made by hand: files as text, packed as a zip."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

from rosters.frames import Delivered
from rosters.oneroster import VERSIONS, manifest_properties
from rosters.reading import read

ORG = ("school-1", "", "", "North School", "school", "", "")


def table(name: str, *rows: tuple[str, ...], version: str = "1.1", end: str = "\r\n") -> str:
    """A CSV file with the standard's header; cells are written as they are."""
    lines = [",".join(row) for row in (VERSIONS[version].tables[name].header, *rows)]
    return "".join(line + end for line in lines)


def manifest(*present: str, version: str = "1.1", mode: str = "bulk", **changes: str) -> str:
    """A manifest that calls `present` files so; `changes` replaces values ("file_orgs")."""
    values = {
        name: mode if name.removeprefix("file.") in present else "absent"
        for name in manifest_properties(VERSIONS[version])
    }
    values |= {
        "manifest.version": "1.0",
        "oneroster.version": version,
        "source.systemName": "S",
        "source.systemCode": "1",
    }
    values |= {name.replace("_", "."): value for name, value in changes.items()}
    return "propertyName,value\r\n" + "".join(f"{name},{value}\r\n" for name, value in values.items())


def packed(path: Path, files: Mapping[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def orgs_set(tmp_path: Path, orgs: str | bytes, **more: str | bytes) -> Path:
    """A zip with a manifest and orgs.csv."""
    return packed(tmp_path / "set.zip", {"manifest.csv": manifest("orgs"), "orgs.csv": orgs} | more)


def read_orgs(tmp_path: Path, orgs: str | bytes, **options: str) -> Delivered:
    return read(orgs_set(tmp_path, orgs), **options)  # type: ignore[arg-type]


def found(delivered: Delivered, code: str, file: str | None = None) -> list[tuple[int | None, str]]:
    """Every place of a rule: (line, value); (None, "") where it has none."""
    places: list[tuple[int | None, str]] = []
    for finding in delivered.findings:
        if finding.code == code and file in (None, finding.file):
            places += finding.places.rows() or [(None, "")]
    return places


def severity(delivered: Delivered, code: str) -> str:
    return next(str(finding.severity) for finding in delivered.findings if finding.code == code)


def ids(delivered: Delivered, name: str = "orgs") -> list[str]:
    return delivered.tables[name].frame["sourcedId"].to_list()
