"""What was measured, held against the targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

#: (database, case, side) to what each round measured. Sides: ours, plain, limit.
Measured = Mapping[tuple[str, str, str], list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that happens to a district. `limit`: the bare limit it is held against. `status`: how ours must end."""

    name: str
    title: str
    zip: str
    status: str = "applied"
    limit: str = ""
    district: str = "1"


#: In the order in which they happen to one district; the last one to another, beside it.
CASES = (
    Case("first", "first load", "base", limit="insert"),
    Case("unchanged", "the same zip again", "base", "unchanged", limit="sha256"),
    Case("reordered", "the same rows, zipped anew in another order", "reordered", "unchanged", limit="parse"),
    Case("changed", "1 % changed", "changed", limit="parse"),
    Case("rollover", "rollover", "rollover"),
    Case("beside", "first load beside another district", "other", district="2"),
)
LIMITS = {
    "insert": "raw insert without index",
    "sha256": "hash of the zip",
    "parse": "inflate and parse",
}


@dataclass(frozen=True, slots=True)
class Target:
    """`ours` of a case (total or prepare) against what `side` took: at least so many times faster, or at most so many
    times as long (and `plus` seconds). Sides: plain, limit, or the name of another case of ours."""

    case: str
    ours: str
    side: str
    faster: float = 0
    at_most: Mapping[str, float] = field(default_factory=dict)
    plus: float = 0


def _both(number: float) -> dict[str, float]:
    return {"sqlite": number, "postgresql": number}


TARGETS = (
    Target("first", "total", "plain", faster=10),
    Target("first", "total", "limit", at_most={"sqlite": 2, "postgresql": 3.5}),
    Target("unchanged", "total", "plain", faster=200),
    Target("unchanged", "total", "limit", at_most=_both(5), plus=0.3),
    Target("reordered", "total", "limit", at_most=_both(2)),
    Target("changed", "prepare", "limit", at_most=_both(1.5)),
    Target("changed", "total", "plain", faster=15),
    Target("rollover", "total", "first", at_most=_both(1.3)),
    Target("beside", "total", "plain", faster=6),
)
#: People to the most memory in MB that our process may take.
MEMORY = ((100_000, 700), (600_000, 1600))
#: Seconds for a page, 90th percentile.
PAGES = {"first": 0.025, "middle": 0.025, "last": 0.025, "school": 0.1, "text": 0.1, "view": 0.3}
PAGE_TITLES = {
    "first": "first page", "middle": "a page in the middle", "last": "last page", "school": "one school, first page",
    "text": "a text, first page", "view": "the admin's page, whole",
}  # fmt: skip
#: Seconds for an answer of the API, 90th percentile.
READS = {"start": 0.05, "half": 0.05, "end": 0.05, "filter": 0.05, "class": 0.05, "most": 1.0, "poll": 0.05}
READ_TITLES = {
    "start": "API: 100 enrollments, first page", "half": "API: 100 enrollments, from the middle",
    "end": "API: 100 enrollments, last page", "filter": "API: 100 of role student, from the middle",
    "class": "API: students of a class", "most": "API: 10,000 people at once", "poll": "API: a poll, nothing new",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table of results."""

    database: str
    what: str
    ours: str
    against: str
    ratio: str
    target: str
    passed: bool

    @property
    def cells(self) -> tuple[str, ...]:
        verdict = "pass" if self.passed else "MISS"
        return (self.database, self.what, self.ours, self.against, self.ratio, self.target, verdict)


HEADER = ("database", "case", "ours", "against", "ratio", "target", "")


def lines(measured: Measured, users: int) -> list[Line]:
    """Every target for which there is something to compare, a database after the other."""
    databases = dict.fromkeys(database for database, _, _ in measured)
    found = []
    for database in databases:
        found += [line for target in TARGETS if (line := _compared(measured, database, target))]
        found += _memory(measured, database, users)
        found += _pages(measured, database)
        found += _reads(measured, database)
    return found


def seconds(measured: Measured, database: str, case: str, side: str, key: str = "total") -> float | None:
    """The median; None if it was not measured."""
    rounds = measured.get((database, case, side))
    return median(found[key] for found in rounds) if rounds else None


def _compared(measured: Measured, database: str, target: Target) -> Line | None:
    case = next(case for case in CASES if case.name == target.case)
    ours = seconds(measured, database, case.name, "ours", target.ours)
    of_ours = target.side not in ("plain", "limit")
    if of_ours:
        other, name = seconds(measured, database, target.side, "ours"), target.side
    else:
        other, name = seconds(measured, database, case.name, target.side), LIMITS.get(case.limit, "")
    if ours is None or other is None:
        return None
    what = case.title + (", to the difference" if target.ours == "prepare" else "")
    against = f"{'plain' if target.side == 'plain' else name} {_time(other)}"
    if target.faster:
        ratio = other / ours
        return Line(
            database, what, _time(ours), against, f"{ratio:.1f}x faster", f">= {target.faster:g}x",
            ratio >= target.faster,
        )  # fmt: skip
    most = target.at_most[database]
    allowed = f"<= {most:g}x" + (f" + {target.plus:g} s" if target.plus else "")
    return Line(
        database, what, _time(ours), against, f"{ours / other:.2f}x", allowed, ours <= most * other + target.plus
    )


def _memory(measured: Measured, database: str, users: int) -> Iterable[Line]:
    peaks = {case.name: seconds(measured, database, case.name, "ours", "peak") for case in CASES}
    known = {name: peak for name, peak in peaks.items() if peak is not None}
    if known:
        case, peak = max(known.items(), key=lambda item: item[1])
        most = next((most for people, most in MEMORY if users <= people), MEMORY[-1][1])
        plain = seconds(measured, database, case, "plain", "peak")
        against = f"plain {plain:,.0f} MB" if plain else ""
        yield Line(database, f"peak memory ({case})", f"{peak:,.0f} MB", against, "", f"<= {most} MB", peak <= most)


def _pages(measured: Measured, database: str) -> Iterable[Line]:
    for found in measured.get((database, "pages", "ours"), [])[-1:]:
        for page, most in PAGES.items():
            p50, p90 = found[page]["p50"], found[page]["p90"]
            what = f"{PAGE_TITLES[page]} of {found['rows']:,} changes"
            passed = p90 <= most
            yield Line(database, what, f"p90 {_time(p90)}", f"p50 {_time(p50)}", "", f"<= {_time(most)}", passed)


def _reads(measured: Measured, database: str) -> Iterable[Line]:
    for found in measured.get((database, "reads", "ours"), [])[-1:]:
        for read, most in READS.items():
            p50, p90 = found[read]["p50"], found[read]["p90"]
            what = f"{READ_TITLES[read]} ({found['rows']:,} enrollments)"
            yield Line(database, what, f"p90 {_time(p90)}", f"p50 {_time(p50)}", "", f"<= {_time(most)}", p90 <= most)


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def as_text(found: list[Line]) -> str:
    rows = [HEADER, *(line.cells for line in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def as_markdown(found: list[Line], heading: str) -> str:
    rows = [HEADER, ("---",) * len(HEADER), *(line.cells for line in found)]
    return "\n".join([heading, "", *(f"| {' | '.join(row)} |" for row in rows), ""])
