"""docs/rules.md as it should read: `python -m tests.rosters.oneroster.rule_list > docs/rules.md`."""

from __future__ import annotations

from pathlib import Path

from rosters.oneroster.rules import RULES
from rosters.oneroster.spec import Cost, Rule

RULES_MD = Path(__file__).parents[3] / "docs" / "rules.md"

COSTS: dict[Cost, str] = {
    "none": "nothing",
    "value": "the value",
    "cell": "the value, or the row",
    "row": "the row",
    "table": "the file",
    "package": "the delivery",
}

HEADINGS = {
    "OR-CSV-001": "Package (zip)",
    "OR-CSV-020": "manifest.csv",
    "OR-CSV-040": "Encoding and CSV",
    "OR-CSV-060": "Header row",
    "OR-CSV-080": "Everything or only changes",
    "OR-CSV-100": "Cells",
    "OR-CSV-130": "Words of the standard",
    "OR-CSV-160": "Identity and references",
    "OR-CSV-200": "Rostering",
    "OR-CSV-240": "Gradebook and resources",
    "OR-CSV-260": "Best practice",
    "OR-CSV-300": "Compared with the delivery before",
    "OR-ID-001": "Ids that are kept",
    "OR-NAME-001": "Names of columns",
    "OR-SCOPE-001": "Some schools or terms only",
    "PR-001": "What a product asks beyond the standard",
    "OR-REST-001": "Pages pulled from a OneRoster server",
}

INTRODUCTION = """\
# The rules

Everything that a check can find, as a district reads it. Codes are never renumbered. A finding adds its particulars
(a suggestion, a number) after the first sentence, and names the file, the column and the lines.

**Severity.** *fatal*: the file or the package cannot be read. *error*: it breaks the standard, or what the product
needs. *warning*: allowed, but risky. *info*: worth knowing. A product or a district may change the severity of a rule.

**What it costs**, at most, when the delivery is imported. *Nothing*: all is used as it came. *The value*: it is not
used; the record keeps the one last accepted, or none. *The row*: the record keeps its last accepted values, it never
counts as removed. *The value, or the row*: the row only where the column must be filled and nothing usable is left in
it. *The file*: what we have of it stays as it is. *The delivery*: nothing of it is used. The severity and the cost are
two things: a breach of the standard that does no harm is an error that costs nothing.

A rule without a mark holds for OneRoster 1.1 and 1.2.
"""


def listing() -> str:
    """The whole page, ending in a line feed."""
    lines = [INTRODUCTION]
    for code, rule in RULES.items():
        if code in HEADINGS:
            lines.append(f"\n## {HEADINGS[code]}\n\n| code | severity | what is wrong | what to do | costs |")
            lines.append("| --- | --- | --- | --- | --- |")
        lines.append(_line(rule))
    return "\n".join(lines) + "\n"


def _line(rule: Rule) -> str:
    only = f" ({rule.versions[0]} only)" if len(rule.versions) == 1 else ""
    cells = (f"{rule.code}{only}", rule.severity, rule.title, rule.next_step, COSTS[rule.effect])
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


if __name__ == "__main__":
    print(listing(), end="")
