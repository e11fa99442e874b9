"""OneRoster in plain words: what people call its records, and how numbers are put into sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Noun:
    """What one record and several are called."""

    one: str
    many: str

    def count(self, number: int) -> str:
        """ "1 class", "1,200 classes"."""
        return f"{number:,} {self.one if number == 1 else self.many}"


NOUNS: Final[dict[str, Noun]] = {
    "orgs": Noun("school or other org", "schools and other orgs"),
    "academicSessions": Noun("term or year", "terms and years"),
    "courses": Noun("course", "courses"),
    "classes": Noun("class", "classes"),
    "users": Noun("person", "people"),
    "userProfiles": Noun("login profile", "login profiles"),
    "roles": Noun("role of a person", "roles of people"),
    "demographics": Noun("demographics record", "demographics records"),
    "enrollments": Noun("enrollment", "enrollments"),
}


def percent(share: float) -> str:
    """ "18.8 %", "5 %"; what is not quite nothing is "under 0.1 %"."""
    if 0 < share < 0.001:
        return "under 0.1 %"
    return f"{round(share * 100, 1):g} %"


def school_year(year: int) -> str:
    """A ``schoolYear``, which OneRoster names by the year in which it ends, as people write it: 2027 is "2026–27"."""
    return f"{year - 1}–{year % 100:02}"


def listed(words: Sequence[str]) -> str:
    """ "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def of_files(names: Sequence[str], words: str) -> str:
    """ "a.csv holds no rows", "a.csv and b.csv hold no rows"."""
    files = [f"{name}.csv" for name in names]
    return f"{listed(files)} {words.replace('holds', 'hold', 1) if len(files) > 1 else words}"


def shortened(words: Sequence[str], separator: str = ", ", most: int = 3) -> str:
    """The first `most` words, and how many more there are."""
    more = f" and {len(words) - most:,} more" if len(words) > most else ""
    return separator.join(words[:most]) + more
