"""What is wrong with a delivery, grouped: one entry per rule, file and column, with a count and its places.

Places are kept as frames (``line`` UInt32, ``value`` String), never as Python objects, so that a rule that
fires on every row of a large file costs no more than a column.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from rosters.oneroster.normal import is_left_out
from rosters.oneroster.rules import RULES, STANDS_ON

Severity = Literal["fatal", "error", "warning", "info"]

#: What an import makes of a finding: nothing; the cell's value is not used; the row is quarantined; the table or the
#: whole delivery is refused.
Effect = Literal["none", "value", "row", "table", "package"]

SEVERITIES: tuple[Severity, ...] = ("fatal", "error", "warning", "info")
PLACES_SHOWN = 10


@dataclass(slots=True)
class Finding:
    """All places where one rule fired in one column of one file.

    `file` is a file name ("users.csv") or "" for the package; `column` may be "". `detail` is the part of the
    message that only this finding knows (a suggestion, a number). `places` may hold fewer rows than `count`
    where a place has no line.
    """

    code: str
    severity: Severity
    file: str
    column: str
    count: int
    detail: str
    effect: Effect
    places: pl.DataFrame

    @property
    def message(self) -> str:
        title = RULES[self.code].title
        return f"{title} {self.detail}".strip()

    @property
    def next_step(self) -> str:
        return RULES[self.code].next_step

    def as_json(self, places: int = PLACES_SHOWN) -> dict[str, Any]:
        """The finding as `check_roster --json` prints it, with its first `places` places."""
        return {
            "code": self.code,
            "severity": self.severity,
            "file": self.file,
            "column": self.column,
            "count": self.count,
            "message": self.message,
            "next_step": self.next_step,
            "effect": self.effect,
            "places": self.places.head(places).to_dicts(),
        }


def places(lines: Any = (), values: Any = ()) -> pl.DataFrame:
    """A places frame from two equally long sequences or Series (lines may be null)."""
    return pl.DataFrame({"line": lines, "value": values}, schema={"line": pl.UInt32, "value": pl.String}, strict=False)


NO_PLACES = places()


@dataclass(slots=True)
class Findings:
    """Collects findings; merges what belongs together; yields them in the order in which to mend them.

    `overrides`: rule code to severity, or "off". One that would lower a rule that the roster stands on does not count:
    what it silenced would be refused or set aside all the same, and nobody would learn why.
    """

    overrides: dict[str, str] = field(default_factory=dict)
    _groups: dict[tuple[str, str, str, str], Finding] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.overrides = {
            code: severity
            for code, severity in self.overrides.items()
            if code not in STANDS_ON or severity in ("fatal", "error")
        }

    def add(
        self,
        code: str,
        file: str = "",
        column: str = "",
        *,
        places: pl.DataFrame = NO_PLACES,
        count: int | None = None,
        detail: str = "",
        effect: Effect = "none",
        severity: Severity | None = None,
    ) -> None:
        """Record that rule `code` fired. `count` defaults to the number of places, and at least 1.

        An override of severity "off" silences the rule; its effect is then gone too, so callers ask
        `is_off(code)` before they quarantine.
        """
        if self.is_off(code):
            return
        number = max(len(places), 1) if count is None else count
        chosen: Severity = self.overrides.get(code) or severity or RULES[code].severity  # type: ignore[assignment]
        key = (code, file, column, detail)
        known = self._groups.get(key)
        if known is None:
            self._groups[key] = Finding(code, chosen, file, column, number, detail, effect, places)
        else:
            known.count += number
            known.places = pl.concat([known.places, places])

    def refuse_for(self, *codes: str) -> bool:
        """Let what these rules found be why the delivery is refused; whether they found anything."""
        causes = [finding for finding in self._groups.values() if finding.code in codes]
        for finding in causes:
            finding.severity, finding.effect = "fatal", "package"
        return bool(causes)

    def without_places(self) -> Findings:
        """The same findings without lines and values."""
        bare = Findings(overrides=self.overrides)
        for f in self._groups.values():
            bare.add(f.code, f.file, f.column, count=f.count, detail=f.detail, effect=f.effect, severity=f.severity)
        return bare

    def without_values(self, left_out: Collection[str]) -> Findings:
        """The same findings without what stands in the cells of these columns ("users.phone"), which a district does
        not want kept. Where they stand is told."""
        if not left_out:
            return self
        silent = Findings(overrides=self.overrides)
        for f in self._groups.values():
            unwanted = is_left_out(f.file.removesuffix(".csv"), f.column, left_out)
            told = f.places.with_columns(pl.lit("").alias("value")) if unwanted else f.places
            silent.add(
                f.code, f.file, f.column,
                places=told, count=f.count, detail=f.detail, effect=f.effect, severity=f.severity,
            )  # fmt: skip
        return silent

    def is_off(self, code: str) -> bool:
        return self.overrides.get(code) == "off"

    def extend(self, other: Findings) -> None:
        """Take over every finding of `other`."""
        for finding in other._groups.values():
            self.add(
                finding.code,
                finding.file,
                finding.column,
                places=finding.places,
                count=finding.count,
                detail=finding.detail,
                effect=finding.effect,
                severity=finding.severity,
            )

    def __iter__(self) -> Any:
        return iter(self.ordered())

    def __len__(self) -> int:
        return len(self._groups)

    def ordered(self) -> list[Finding]:
        """What others follow from first: fatal before error before warning, what costs a whole file, then the
        catalogue's own order of checks (package, manifest, syntax, header, mode, cells, keys, references, semantics),
        orgs before users before classes before enrollments within one rule."""
        return sorted(self._groups.values(), key=_rank)

    def count(self, *severities: Severity) -> int:
        """How many single faults of these severities there are (places, not groups)."""
        return sum(f.count for f in self._groups.values() if f.severity in severities)

    @property
    def fatal(self) -> bool:
        return any(f.severity == "fatal" for f in self._groups.values())


_FILES = (
    "",
    "manifest.csv",
    "orgs.csv",
    "academicSessions.csv",
    "courses.csv",
    "classes.csv",
    "users.csv",
    "roles.csv",
    "userProfiles.csv",
    "demographics.csv",
    "enrollments.csv",
)


#: A file that misses another (013) follows from its being missing (015).
_FOLLOWS = {"OR-CSV-013": "OR-CSV-015+"}


def _rank(finding: Finding) -> tuple[int, bool, str, int, str, str]:
    place = _FILES.index(finding.file) if finding.file in _FILES else len(_FILES)
    code = _FOLLOWS.get(finding.code, finding.code)
    costs_a_file = finding.effect == "table"
    return (SEVERITIES.index(finding.severity), not costs_a_file, code, place, finding.file, finding.column)
