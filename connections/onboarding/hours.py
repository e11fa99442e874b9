"""When somebody of our staff takes calls, as a form: ranges for each weekday, days that differ, and what the district
would see of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, time
from typing import Any, Final
from zoneinfo import available_timezones

from django import forms
from django.forms.boundfield import BoundField

from connections.onboarding.models import Availability
from connections.onboarding.slots import read_ranges

WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
#: So many ranges a day can have.
RANGES: Final = 3
#: So many empty rows for days that differ.
SPARE: Final = 3
#: Offered before all others: those of most districts.
COMMON_ZONES: Final = (
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Phoenix",
    "America/Los_Angeles",
    "America/Anchorage",
    "Pacific/Honolulu",
)


def _time() -> forms.TimeField:
    return forms.TimeField(required=False, widget=forms.TimeInput(format="%H:%M", attrs={"type": "time"}))


class HoursForm(forms.ModelForm):  # type: ignore[type-arg]
    """`Availability` with a field for each edge of each range. Rows that are left empty say nothing; a day that differs
    without a range is a day off."""

    class Meta:
        model = Availability
        fields = ("time_zone", "minutes", "buffer")
        labels = {"minutes": "Length of a call, in minutes", "buffer": "Rest between two calls, in minutes"}
        widgets = {
            "time_zone": forms.Select(),
            "minutes": forms.NumberInput(attrs={"min": 10, "max": 180}),
            "buffer": forms.NumberInput(attrs={"min": 0, "max": 120}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        others = sorted(available_timezones() - set(COMMON_ZONES))
        self.fields["time_zone"].widget.choices = [
            ("Most districts", [(name, name.replace("_", " ")) for name in COMMON_ZONES]),
            ("All", [(name, name.replace("_", " ")) for name in others]),
        ]
        for number in range(len(WEEKDAYS)):
            self._add(f"day{number}", self.instance.weekly.get(str(number), []))
        known = sorted(self.instance.exceptions.items())
        self.rows = max(len(known) + SPARE, self._rows_sent())
        for number in range(self.rows):
            day, ranges = known[number] if number < len(known) else ("", [])
            field = forms.DateField(required=False, widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}))
            self.fields[f"differs{number}_date"] = field
            self.initial[f"differs{number}_date"] = day
            self._add(f"differs{number}", ranges)

    def _rows_sent(self) -> int:
        return sum(name.startswith("differs") and name.endswith("_date") for name in self.data)

    def _add(self, name: str, ranges: list[list[str]]) -> None:
        for number in range(RANGES):
            pair = ranges[number] if number < len(ranges) else ["", ""]
            for edge, moment in zip(("from", "to"), pair, strict=True):
                self.fields[f"{name}_{edge}{number}"] = _time()
                self.initial[f"{name}_{edge}{number}"] = moment

    # -- for the template

    def week(self) -> Iterator[tuple[str, list[tuple[BoundField, BoundField]], str]]:
        """Each weekday: its name, its ranges, what is wrong with them."""
        for number, name in enumerate(WEEKDAYS):
            yield name, self._pairs(f"day{number}"), self._fault(f"day{number}")

    def differing(self) -> Iterator[tuple[BoundField, list[tuple[BoundField, BoundField]], str]]:
        for number in range(self.rows):
            name = f"differs{number}"
            yield self[f"{name}_date"], self._pairs(name), self._fault(name)

    def _pairs(self, name: str) -> list[tuple[BoundField, BoundField]]:
        return [(self[f"{name}_from{number}"], self[f"{name}_to{number}"]) for number in range(RANGES)]

    def _fault(self, name: str) -> str:
        found = [fault for field, faults in self.errors.items() if field.startswith(f"{name}_") for fault in faults]
        return " ".join(dict.fromkeys(str(fault) for fault in found))

    # -- back into what is kept

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        weekly = {str(number): self._ranges(f"day{number}", cleaned) for number in range(len(WEEKDAYS))}
        exceptions: dict[str, list[list[str]]] = {}
        for number in range(self.rows):
            name = f"differs{number}"
            day: date | None = cleaned.get(f"{name}_date")
            ranges = self._ranges(name, cleaned)
            if day is None and ranges:
                self.add_error(f"{name}_date", "Which day is it?")
            elif day is not None and day.isoformat() in exceptions:
                self.add_error(f"{name}_date", "This day stands here twice.")
            elif day is not None:
                exceptions[day.isoformat()] = ranges
        self.instance.weekly = {day: ranges for day, ranges in weekly.items() if ranges}
        self.instance.exceptions = exceptions
        return cleaned

    def _ranges(self, name: str, cleaned: dict[str, Any]) -> list[list[str]]:
        found: list[list[str]] = []
        for number in range(RANGES):
            begin: time | None = cleaned.get(f"{name}_from{number}")
            end: time | None = cleaned.get(f"{name}_to{number}")
            if begin is None and end is None:
                continue
            if begin is None or end is None:
                self.add_error(
                    f"{name}_{'from' if begin is None else 'to'}{number}", "A range has a beginning and an end."
                )
                continue
            found.append([f"{begin:%H:%M}", f"{end:%H:%M}"])
        found.sort()
        try:
            read_ranges(found)
        except ValueError:
            self.add_error(f"{name}_from0", "These ranges overlap, or one ends before it begins.")
            return []
        return found
