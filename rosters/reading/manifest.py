"""manifest.csv: which version, which file in which mode. Rules OR-CSV-012 and 020 to 034."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

from rosters.findings import Findings, places
from rosters.oneroster import VERSIONS, manifest_properties
from rosters.reading.archive import Damaged
from rosters.reading.lines import cells_of

FILE = "manifest.csv"
_MODES = ("absent", "bulk", "delta")
_SHOWN = 60


def properties_of(text: str, findings: Findings) -> dict[str, str]:
    """The properties of a manifest. Raises `Damaged` where its header is not what it must be."""
    lines = text.splitlines()
    header = cells_of(lines[0]) if lines else []
    if [cell.strip() for cell in header or []] != ["propertyName", "value"]:
        raise Damaged("OR-CSV-020", "", 1)
    properties: dict[str, str] = {}
    for number, line in enumerate(lines[1:], 2):
        if not line.strip(","):
            findings.add("OR-CSV-048", FILE, places=places([number], [""]))
            continue
        cells = cells_of(line)
        where = places([number], [line[:_SHOWN]])
        if cells is None or len(cells) != 2:
            findings.add("OR-CSV-021", FILE, places=where)
            continue
        name, value = (cell.strip() for cell in cells)
        if cells != [name, value]:
            findings.add("OR-CSV-052", FILE, places=where)
        if name == "propertyName":
            findings.add("OR-CSV-022", FILE, places=where, detail="The header is repeated as a row.")
        elif name in properties:
            findings.add("OR-CSV-022", FILE, places=where)
        else:
            properties[name] = value
    return properties


def version_of(properties: dict[str, str]) -> tuple[str, bool]:
    """("1.1" or "1.2", whether it was written exactly so). Raises `Damaged` where it is neither."""
    said = properties.get("oneroster.version", "")
    for number in VERSIONS:
        if said == number or said.startswith((f"{number}.", f"{number}_")):
            return number, said == number
    raise Damaged("OR-CSV-025", f"It says {said[:20]}." if said else "oneroster.version is missing.")


def judge(properties: dict[str, str], version: str, present: Collection[str], findings: Findings) -> None:
    """Hold the manifest against its version and the tables that are `present`."""
    known = manifest_properties(VERSIONS[version])
    _judge_names(properties, known, findings)
    modes = {name: properties.get(f"file.{name}", "") for name in VERSIONS[version].tables}
    for name, mode in modes.items():
        _judge_mode(name, mode, f"file.{name}" in properties, name in present, findings)
    used = {mode for mode in modes.values() if mode in ("bulk", "delta")}
    if len(used) == 2:
        findings.add("OR-CSV-033", FILE)
    if not used and not present:
        findings.add("OR-CSV-012", FILE)
    missing = [name for name in ("source.systemName", "source.systemCode") if not properties.get(name)]
    if missing:
        findings.add("OR-CSV-034", FILE, places=places([None] * len(missing), missing))


def _judge_names(properties: dict[str, str], known: tuple[str, ...], findings: Findings) -> None:
    said = properties.get("manifest.version", "")
    if said != "1.0":
        detail = "A spreadsheet made 1 out of 1.0." if said == "1" else ""
        findings.add("OR-CSV-024", FILE, "manifest.version", places=places([None], [said[:_SHOWN]]), detail=detail)
    for name in properties:
        if name not in known:
            near = get_close_matches(name, known, 1, 0.8)
            detail = f"Is {near[0]} meant?" if near else ""
            findings.add("OR-CSV-023", FILE, name[:_SHOWN], places=places([None], [name[:_SHOWN]]), detail=detail)


def _judge_mode(name: str, mode: str, listed: bool, present: bool, findings: Findings) -> None:
    column = f"file.{name}"
    if not listed:
        findings.add("OR-CSV-026", FILE, column)
        if present:
            findings.add("OR-CSV-030", FILE, column)
    elif mode not in _MODES:
        findings.add("OR-CSV-027", FILE, column, places=places([None], [mode[:_SHOWN]]))
    elif mode == "absent" and present:
        findings.add("OR-CSV-029", FILE, column)
    elif mode != "absent" and not present:
        findings.add("OR-CSV-028", FILE, column)
