"""A finding as the district reads it: what to do, what it means, and where its column is explained; of files that were
only checked and of those that were sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from connections.onboarding.specifications import spec_link
from connections.vendors import VENDORS, Vendor
from rosters import findings, models, syncs
from rosters.explaining import counted
from rosters.models import District, Sync
from rosters.oneroster import VERSIONS

PLACES_SHOWN: Final = 10
#: So many of what stays wrong stand on the first page, and so many of what is gone.
_STANDING_SHOWN: Final = 5
_NEW: Final = "new since last time"

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
    `hint`: what is known of the district's system; `link`: where its column is explained; `age`: that it is new, or how
    long it has been there; "" for none. `is_new`: the delivery before did not have it."""

    finding: findings.Finding | models.Finding
    is_new: bool
    places: list[dict[str, Any]]
    more: int
    meaning: str
    hint: str
    link: str
    age: str


def systems_of(district: District) -> list[Vendor]:
    """The student information systems that the district's connections name, where anything is known of them."""
    named = district.connections.order_by("pk").values_list("vendor", flat=True)
    return [VENDORS[key] for key in dict.fromkeys(named) if key in VENDORS]


def checked(finding: findings.Finding, version: str, systems: Sequence[Vendor], *, is_new: bool) -> Told:
    """One of files that were only checked."""
    places = finding.places.head(PLACES_SHOWN).to_dicts()
    more = max(len(finding.places) - PLACES_SHOWN, 0)
    return _told(finding, version, systems, is_new=is_new, places=places, more=more, means=_WOULD)


def sent(sync: Sync, found: Iterable[models.Finding], systems: Sequence[Vendor]) -> list[Told]:
    """Those of files that were sent, each with how long it had been there by then."""
    told, found = [], list(found)
    ages = syncs.ages(sync, found, sync.received_at)
    for each in found:
        age = ages[each.code, each.file, each.column]
        one = _told(each, sync.oneroster_version, systems, is_new=age.is_new, places=each.places, more=0, means=_DID)
        told.append(replace(one, age=age_words(age, sync.district.zone)))
    return told


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
    return Told(finding, is_new, places, more, meaning, _hint(finding, systems), link, _NEW if is_new else "")


def _hint(finding: findings.Finding | models.Finding, systems: Sequence[Vendor]) -> str:
    place = f"{finding.file.removesuffix('.csv')}.{finding.column}"
    return next((f"In {one.name}: {one.columns[place]}" for one in systems if place in one.columns), "")


# -------------------------------------------------------------------------------------------------- how long, and gone


@dataclass(frozen=True, slots=True)
class Gone:
    """What was mended since the delivery `before`: the first of them, and how many there are `in_all`."""

    before: Sync
    shown: list[models.Finding]
    in_all: int

    @property
    def more(self) -> int:
        return self.in_all - len(self.shown)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is still wrong with the delivery that was checked last, oldest first, each with its age in words; how much
    `more` there is; and what was mended."""

    judged: Sync
    shown: list[tuple[models.Finding, str]]
    more: int
    gone: Gone | None


def age_words(age: syncs.Age, zone: ZoneInfo) -> str:
    """That a finding is new, or how long it has been there; "" where there is nothing to compare it with."""
    if age.days:
        day = age.since.astimezone(zone)
        return f"here for {counted(age.days, 'day')}, since {day.day} {day:%B}"
    if age.is_new:
        return _NEW
    return "" if age.is_first else "here since earlier that day"


def gone(judged: Sync) -> Gone | None:
    """What a delivery mended that was checked to its end; None for nothing."""
    before, found = syncs.mended(judged)
    return Gone(before, found[:_STANDING_SHOWN], len(found)) if before and found else None


def standing(district: District, now: datetime) -> Standing | None:
    """What is still wrong, and what was mended; None for neither."""
    judged = syncs.last_judged(district.pk)
    if judged is None:
        return None
    told, mended = syncs.standing(judged, now), gone(judged)
    shown = [(finding, age_words(age, district.zone)) for finding, age in told[:_STANDING_SHOWN]]
    return Standing(judged, shown, len(told) - len(shown), mended) if told or mended else None
