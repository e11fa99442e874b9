"""Which schools and terms a delivery or a connection speaks for: chosen by name, kept by id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from django import forms

from rosters.models import AcademicSession, District, Org
from rosters.scope import Scope

#: So many names are told; of others the number.
_NAMED: Final = 4


class ScopeForm(forms.Form):
    """The live schools and terms of a district, and schools that are not live yet by their ids. Nothing chosen means
    all of the district."""

    only_schools = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple, label="Schools")
    other_schools = forms.CharField(
        required=False, max_length=2000, label="Schools that are not live yet",
        help_text="Their sourcedIds, with commas between.",
    )  # fmt: skip
    only_terms = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple, label="Terms")

    def __init__(self, *args: Any, district: District, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        orgs = Org.objects.of(district).active().filter(type__in=["school", "local"]).order_by("name", "sourced_id")
        terms = AcademicSession.objects.of(district).active().order_by("start_date", "-end_date", "title", "sourced_id")
        days = [
            (key, f"{title or key}, {first} to {last}")
            for key, title, first, last in terms.values_list("sourced_id", "title", "start_date", "end_date")
        ]
        self.fields["only_schools"].choices = _told_apart(orgs.values_list("sourced_id", "name"))  # type: ignore[attr-defined]
        self.fields["only_terms"].choices = _told_apart(days)  # type: ignore[attr-defined]
        for name in ("only_schools", "only_terms"):
            self.fields[name].error_messages["invalid_choice"] = "This is not live any more: choose again."

    @classmethod
    def of(cls, district: District, speaks_for: Mapping[str, list[str]]) -> ScopeForm:
        """Filled with what is kept."""
        form = cls(district=district)
        known = {str(key) for key, _ in form.fields["only_schools"].choices}  # type: ignore[attr-defined]
        schools = speaks_for.get("schools", [])
        form.initial = {
            "only_schools": schools,
            "other_schools": ", ".join(key for key in schools if key not in known),
            "only_terms": speaks_for.get("terms", []),
        }
        return form

    def clean_other_schools(self) -> list[str]:
        return [key for part in self.cleaned_data["other_schools"].split(",") if (key := part.strip())]

    def scope(self) -> Scope:
        said = self.cleaned_data
        return Scope.from_json(
            {"schools": [*said["only_schools"], *said["other_schools"]], "terms": said["only_terms"]}
        )


def _told_apart(rows: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Choices by name; where two have the same, or none, by their ids too."""
    rows = list(rows)
    often = Counter(name for _, name in rows)
    return [(key, name if name and often[name] == 1 else f"{name} ({key})".strip()) for key, name in rows]


def in_words(district: District, speaks_for: Mapping[str, list[str]]) -> str:
    """ "Hill, Lake and 12 other schools; the term Fall": what is chosen, by the names that are live."""
    parts = []
    for kind, model, column in (("schools", Org, "name"), ("terms", AcademicSession, "title")):
        if keys := list(speaks_for.get(kind, ())):
            live = model.objects.of(district).filter(sourced_id__in=keys[:_NAMED])
            names = dict(live.values_list("sourced_id", column))
            told = [names.get(key) or key for key in keys[:_NAMED]]
            more = len(keys) - len(told)
            last = f"{more:,} other {kind if more > 1 else kind[:-1]}" if more else told.pop() if len(told) > 1 else ""
            parts.append(f"{', '.join(told)} and {last}" if last else told[0])
    return "; ".join(parts)
