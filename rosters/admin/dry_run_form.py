"""Whether a file that is uploaded is only tried out, and as if it came on which day."""

from __future__ import annotations

from datetime import date
from typing import Any

from django import forms
from django.utils import timezone

from rosters import syncs
from rosters.models import District


class DryRunForm(forms.Form):
    """A dry run or not. A day that is today's is no other day."""

    dry_run = forms.BooleanField(required=False, label="Only say what it would change; it never goes live")
    as_if_on = forms.DateField(
        required=False, widget=forms.DateInput(attrs={"type": "date"}), label="As if it came on",
        error_messages={"invalid": "Say the day of the dry run as year, month and day: 2027-08-01."},
    )  # fmt: skip

    def __init__(self, *args: Any, district: District, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.auto_id = "%s"
        self.district, self.today = district, district.local_date(timezone.now())
        last = self.today + syncs.AT_MOST_AHEAD
        self.fields["as_if_on"].widget.attrs |= {"min": self.today.isoformat(), "max": last.isoformat()}

    def clean_as_if_on(self) -> date | None:
        day: date | None = self.cleaned_data["as_if_on"]
        wrong = syncs.not_such_a_day(self.district, day, dry_run=self.cleaned_data["dry_run"]) if day else ""
        if wrong:
            raise forms.ValidationError(wrong)
        return None if day == self.today else day
