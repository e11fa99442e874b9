"""A finding as the district reads it: what to do, what it means, and where its column is explained; of files that were
only checked and of those that were sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from connections.onboarding.specifications import spec_link
from connections.vendors import VENDORS, Vendor
from rosters import findings, models
from rosters.models import District
from rosters.oneroster import VERSIONS

PLACES_SHOWN: Final = 10

#: What an import makes of it, by the finding's effect; "info" and "" are those without one.
_WOULD: Final = {
    "row": "these rows would be left out; the records keep what we have of them.",
    "value": "the value would not be used; the record keeps the one that we have, or none.",
    "table": "this file would not be used.",
    "package": "the whole delivery would be refused.",
    "info": "it does no harm.",
    "": "the data would be taken as it is, though it is probably not what you mean.",
}
_DID: Final = {
    "row": "the row is not used; what was live before stays.",
    "value": "the value is not used; what was live before stays.",
    "table": "this file is not used; what was live before stays.",
    "package": "the file cannot be used; nothing changes.",
    "info": "nothing is lost by it.",
    "": "nothing is lost by it.",
}


@dataclass(frozen=True, slots=True)
class Told:
    """`finding` as it was found or is kept, its first `places` ({"line", "value"}) and how many there are `more`.
    `hint`: what is known of the district's system; `link`: where its column is explained; "" for none. `is_new`: the
    delivery before did not have it."""

    finding: findings.Finding | models.Finding
    is_new: bool
    places: list[dict[str, Any]]
    more: int
    meaning: str
    hint: str
    link: str


def systems_of(district: District) -> list[Vendor]:
    """The student information systems that the district's connections name, where anything is known of them."""
    named = district.connections.order_by("pk").values_list("vendor", flat=True)
    return [VENDORS[key] for key in dict.fromkeys(named) if key in VENDORS]


def checked(finding: findings.Finding, version: str, systems: Sequence[Vendor], *, is_new: bool) -> Told:
    """One of files that were only checked."""
    places = finding.places.head(PLACES_SHOWN).to_dicts()
    more = max(len(finding.places) - PLACES_SHOWN, 0)
    return _told(finding, version, systems, is_new=is_new, places=places, more=more, means=_WOULD)


def sent(finding: models.Finding, version: str, systems: Sequence[Vendor]) -> Told:
    """One of files that were sent."""
    return _told(finding, version, systems, is_new=finding.is_new, places=finding.places, more=0, means=_DID)


def _told(
    finding: findings.Finding | models.Finding,
    version: str,
    systems: Sequence[Vendor],
    *,
    is_new: bool,
    places: list[dict[str, Any]],
    more: int,
    means: dict[str, str],
) -> Told:
    meaning = means.get(finding.effect) or means["info" if finding.severity == "info" else ""]
    table = VERSIONS[version].tables.get(finding.file.removesuffix(".csv")) if version else None
    link = spec_link(finding.file, finding.column) if table and finding.column in table.header else ""
    return Told(finding, is_new, places, more, meaning, _hint(finding, systems), link)


def _hint(finding: findings.Finding | models.Finding, systems: Sequence[Vendor]) -> str:
    place = f"{finding.file.removesuffix('.csv')}.{finding.column}"
    return next((f"In {one.name}: {one.columns[place]}" for one in systems if place in one.columns), "")
