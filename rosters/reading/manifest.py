"""manifest.csv: which version, which file in which mode (OR-CSV-009 to 034)."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from rosters.findings import Findings, places
from rosters.oneroster import VERSIONS, manifest_properties
from rosters.reading.lines import cells_of, physical_lines

FILE = "manifest.csv"
_MODES = ("absent", "bulk", "delta")


def read_manifest(data: bytes, findings: Findings) -> dict[str, str] | None:
    """The properties of a manifest that is UTF-8 already; None (and a fatal finding) if it has no header."""
    lines = physical_lines(data).text.to_list()
    if not lines:
        findings.add("OR-CSV-050", FILE, effect="package")
        return None
    header = cells_of(lines[0])
    if header is None or [h.strip() for h in header] != ["propertyName", "value"]:
        tolerable = header is not None and len(header) == 2 and header[0].strip().lower() == "propertyname"
        findings.add("OR-CSV-020", FILE, places=places([1], [lines[0][:80]]), effect="none" if tolerable else "package",
                     severity="error" if tolerable else None)  # fmt: skip
        if not tolerable:
            return None
    properties: dict[str, str] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip(" ,\t"):
            continue
        cells = cells_of(line)
        if cells is None or len(cells) != 2:
            findings.add("OR-CSV-021", FILE, places=places([number], [line[:80]]))
            continue
        name, value = cells[0].strip(), cells[1].strip()
        if name in properties or name == "propertyName":
            detail = "The header is repeated." if name == "propertyName" else ""
            findings.add("OR-CSV-022", FILE, places=places([number], [name[:80]]), detail=detail)
            continue
        properties[name] = value
    return properties


def version_of(properties: dict[str, str], findings: Findings) -> str:
    """"1.1" or "1.2"; "" (and a fatal finding) if it is neither."""
    found = properties.get("oneroster.version", "")
    if found in VERSIONS:
        return found
    for number in VERSIONS:
        if found.startswith((f"{number}.", f"{number}_")):
            findings.add(
                "OR-CSV-025", FILE, severity="warning", places=places([None], [found[:80]]), detail=f"It was read as {number}."
            )
            return number
    findings.add("OR-CSV-025", FILE, effect="package", places=places([None], [found[:80]]))
    return ""


def judge(properties: dict[str, str], version: str, present: Iterable[str], findings: Findings) -> None:
    """Hold the manifest against its version and against the tables that are `present`."""
    known = manifest_properties(VERSIONS[version])
    here = set(present)
    if properties.get("manifest.version") != "1.0":
        findings.add("OR-CSV-024", FILE, places=places([None], [properties.get("manifest.version", "")[:80]]))
    for name in properties:
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.8)
            findings.add("OR-CSV-023", FILE, name[:80], detail=f"Did you mean {near[0]}?" if near else "")
    for name in known:
        if name.startswith("file.") and name not in properties:
            findings.add("OR-CSV-026", FILE, name)
    modes = {name.removeprefix("file."): value for name, value in properties.items() if name.startswith("file.")}
    for table, mode in modes.items():
        if mode not in _MODES:
            findings.add("OR-CSV-027", FILE, f"file.{table}"[:80], places=places([None], [mode[:80]]))
        elif mode == "absent" and table in here:
            findings.add("OR-CSV-029", FILE, f"file.{table}")
        elif mode != "absent" and table not in here and f"file.{table}" in known:
            findings.add("OR-CSV-028", FILE, f"file.{table}")
    for table in sorted(here - set(modes)):
        findings.add("OR-CSV-030", FILE, f"file.{table}")
    declared = {mode for mode in modes.values() if mode in ("bulk", "delta")}
    if len(declared) == 2:
        findings.add("OR-CSV-033", FILE)
    if not declared and not here:
        findings.add("OR-CSV-012", FILE)
    if not properties.get("source.systemName"):
        findings.add("OR-CSV-034", FILE)
