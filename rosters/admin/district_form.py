"""A district's settings as fields that a person can fill in: every limit, mapping and changed rule has a line of its
own.

Only what differs from the usual is kept: of a limit that says here what it says everywhere nothing is stored, so the
district goes along when the usual changes. Who may look but not change reads the same lines without inputs.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import cache
from itertools import count
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString

from rosters import syncs
from rosters.holding import DEFAULT_LIMITS, Limit
from rosters.models import District, Finding
from rosters.oneroster import VERSIONS
from rosters.oneroster.normal import NORMAL
from rosters.oneroster.products import PRODUCTS, needed_by
from rosters.oneroster.rules import RULES, STANDS_ON
from rosters.oneroster.spec import Column
from rosters.oneroster.vocabularies import BOOLEAN_VARIANTS, CEDS_GRADES, GRADE_VARIANTS
from rosters.staff import DECIDE
from rosters.validating.cells import OF_VOCABULARY
from rosters.validating.context import SHOWN

#: Empty lines for what is to be added; saving brings new ones.
SPARE_LINES = 3
#: How a person writes that a word is read as an empty cell.
EMPTY = "(empty)"
#: What people of the United States call their zones.
_AT_HOME = {
    "America/New_York": "Eastern",
    "America/Chicago": "Central",
    "America/Denver": "Mountain",
    "America/Phoenix": "Arizona",
    "America/Los_Angeles": "Pacific",
    "America/Anchorage": "Alaska",
    "Pacific/Honolulu": "Hawaii",
    "America/Puerto_Rico": "Puerto Rico",
}
#: Zones that are places; the database of zones also knows names of former times, and of machines.
_PARTS_OF_THE_WORLD = (
    "Africa/", "America/", "Antarctica/", "Asia/", "Atlantic/", "Australia/", "Europe/", "Indian/", "Pacific/",
)  # fmt: skip
#: Marks a line that we propose.
_PROPOSED = "proposed"
#: So many words of a finding are proposed at once.
_MOST_PROPOSED = 30
#: No district has more people or records.
_MOST = 1_000_000_000
_HOLD_OR_NOT = {"1": "Hold", "0": "Do not hold"}
_SEVERITIES = {
    "error": "an error: the value or the row is not used",
    "warning": "a warning: it is reported, and used",
    "info": "a note: it is mentioned, and used",
    "off": "nothing: it is not asked",
}


class _Lines(forms.Widget):
    """Several inputs under one name, line by line. What it is given is the stored setting, or what was posted."""

    template: ClassVar[str]
    use_fieldset = True

    def __init__(self, *, read_only: bool = False) -> None:
        super().__init__()
        self.read_only = read_only  # the admin asks for this where nothing may be changed

    def render(self, name: Any, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        context = {"name": name, "read_only": self.read_only, **self.context(str(name), value or {})}
        return render_to_string(self.template, context)

    def context(self, name: str, value: Any) -> dict[str, Any]:
        raise NotImplementedError

    def id_for_label(self, id_: str | None) -> str:
        return ""  # no single input has the field's name

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        """Lines that were not sent at all say nothing: what is stored stays."""
        return not any(key.startswith(f"{name}-") for key in data)


class _LinesField(forms.Field):
    """`clean` makes the setting of what was posted; a wrong line is named, and all of them at once."""

    name: ClassVar[str]
    words: ClassVar[str]

    def __init__(self, widget: _Lines) -> None:
        super().__init__(required=False, widget=widget, label=self.name, help_text=self.words)

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.clean(data) != (initial or {}))
        except ValidationError:
            return True


# --------------------------------------------------------------------------------------------------------------- limits


def _in_person_units(limit: Limit, value: float) -> str:
    """A limit as a person writes it: a share in percent, anything else as it is."""
    number = Decimal(str(value)) * (100 if limit.unit == "share" else 1)
    return f"{number.normalize():f}"


def _from_person_units(limit: Limit, text: str) -> float:
    """Raises ValidationError where `text` is no such limit."""
    try:
        number = Decimal(text.removesuffix("%").strip())
    except InvalidOperation:
        number = Decimal(-1)
    if not number.is_finite() or number < 0:
        raise ValidationError(f"“{limit.help}” wants a number of 0 or more.")
    if limit.unit == "share":
        if number > 100:
            raise ValidationError(f"“{limit.help}” wants a percentage from 0 to 100.")
        return float(number / 100)
    if number > (1 if limit.unit == "on" else _MOST) or number != int(number):
        raise ValidationError(f"“{limit.help}” wants a whole number{' of 0 or 1' if limit.unit == 'on' else ''}.")
    return int(number)


class LimitsInput(_Lines):
    template = "admin/rosters/district/_limits.html"
    #: Where what is typed is tried on what came before; nowhere for a district that is not there yet.
    tried_at = ""

    def context(self, name: str, value: Any) -> dict[str, Any]:
        lines = []
        for key, limit in DEFAULT_LIMITS.items():
            here, usual = value.get(key, limit.default), _in_person_units(limit, limit.default)
            shown = here if isinstance(here, str) else _in_person_units(limit, here)
            choices = _HOLD_OR_NOT if limit.unit == "on" else {}
            lines.append(
                {
                    "name": f"{name}-{key}",
                    "help": limit.help,
                    "value": shown,
                    "words": choices.get(shown, shown),
                    "unit": {"share": "%", "on": ""}.get(limit.unit, limit.unit),
                    "choices": choices.items(),
                    "usual": choices.get(usual, usual),
                    "own": shown != usual,
                }
            )
        return {"lines": lines, "tried_at": self.tried_at}

    def value_from_datadict(self, data: Any, files: Any, name: str) -> dict[str, str]:
        return {key: data.get(f"{name}-{key}", "").strip() for key in DEFAULT_LIMITS}


class LimitsField(_LinesField):
    name = "Limits"
    words = "A line that is emptied says the usual again."

    def clean(self, value: Mapping[str, str]) -> dict[str, float]:
        limits, wrong = {}, []
        for key, text in value.items():
            limit = DEFAULT_LIMITS[key]
            try:
                number = _from_person_units(limit, text) if text else limit.default
            except ValidationError as error:
                wrong.append(error)
            else:
                if number != limit.default:
                    limits[key] = number
        if wrong:
            raise ValidationError(wrong)
        return limits


# ----------------------------------------------------------------------------------------------- mappings and overrides


class _TableInput(_Lines):
    """Lines of two or three cells, the first of which is a choice. A line that is `proposed` counts only if its last
    cell says something."""

    template = "admin/rosters/district/_lines.html"
    heads: ClassVar[tuple[str, ...]]

    def __init__(self, *, read_only: bool = False) -> None:
        super().__init__(read_only=read_only)
        self.proposed: Sequence[tuple[str, ...]] = ()

    def context(self, name: str, value: Any) -> dict[str, Any]:
        told = [*(self.stored(value) if isinstance(value, Mapping) else value)]
        blank = [("",) * len(self.heads)] * (0 if self.read_only else SPARE_LINES)
        every = [(cells, False) for cells in told] + [(cells, True) for cells in self.proposed]
        every += [(cells, False) for cells in blank]
        return {
            "heads": self.heads,
            "proposals": len(self.proposed),
            "lines": [
                {
                    "cells": self.line(name, number, cells),
                    "proposal": f"{name}-{number}-{_PROPOSED}" * is_proposal,
                }
                for number, (cells, is_proposal) in enumerate(every)
            ],
        }

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[tuple[str, ...]]:
        lines = []
        for number in count():
            names = [f"{name}-{number}-{cell}" for cell in range(len(self.heads))]
            if names[0] not in data:
                break
            cells = tuple(data.get(each, "") for each in names)
            taken = cells[-1] or f"{name}-{number}-{_PROPOSED}" not in data
            if any(cells) and taken:
                lines.append(cells)
        return lines

    def stored(self, value: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
        """The lines of a stored setting."""
        raise NotImplementedError

    def line(self, name: str, number: int, cells: tuple[str, ...]) -> list[dict[str, Any]]:
        """The cells of one line: ``name``, ``head``, ``label``, ``value``, ``words``; ``groups`` of choices if any."""
        groups = self.groups(cells)
        return [
            {
                "name": f"{name}-{number}-{place}",
                "head": head,
                "label": f"{head}, line {number + 1}",
                "value": cell,
                "words": next((words for _, each in found for key, words in each if key == cell), cell),
                "groups": found,
            }
            for place, (head, cell, found) in enumerate(zip(self.heads, cells, groups, strict=True))
        ]

    def groups(self, cells: tuple[str, ...]) -> list[list[tuple[str, list[tuple[str, str]]]]]:
        """Of each cell the choices in groups, none where anything may be written."""
        raise NotImplementedError


def _with(groups: list[tuple[str, list[tuple[str, str]]]], value: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """The choices, and a `value` that is not among them: what is stored is never lost by looking at it."""
    if not value or any(value == key for _, each in groups for key, _ in each):
        return groups
    return [*groups, ("Not known any more", [(value, value)])]


def _by_file(wanted: Callable[[Column], bool]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The columns of either version that are wanted, as choices, by file."""
    return [
        (
            f"{table}.csv",
            [
                (f"{table}.{name}", f"{table}: {name}")
                for name in dict.fromkeys(
                    column.name
                    for version in VERSIONS.values()
                    for column in (version.tables[table].columns if table in version.tables else ())
                    if wanted(column)
                )
            ],
        )
        for table in NORMAL
    ]


@cache
def _columns() -> list[tuple[str, list[tuple[str, str]]]]:
    """What may be read differently: every column but ids, references and passwords."""
    return _by_file(lambda column: not column.refers_to and column.name not in ("sourcedId", "password"))


@cache
def _every_column() -> list[tuple[str, list[tuple[str, str]]]]:
    """What may be called otherwise: every column but passwords."""
    return _by_file(lambda column: column.name != "password")


class MappingsInput(_TableInput):
    heads = ("Column", "What the file says", "Is read as")

    def stored(self, value: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
        return [(column, old, new or EMPTY) for column, words in value.items() for old, new in words.items()]

    def groups(self, cells: tuple[str, ...]) -> list[list[tuple[str, list[tuple[str, str]]]]]:
        return [_with(_columns(), cells[0]), [], []]


class MappingsField(_LinesField):
    """{"users.grades": {"K": "KG"}} of lines (column, what the file says, what it is read as)."""

    name = "Mappings"
    words = "Words that this district writes in its own way: users: grades, K, KG. A line that is emptied is removed."

    def clean(self, value: Iterable[tuple[str, str, str]]) -> dict[str, dict[str, str]]:
        known = {column for _, each in _columns() for column, _ in each}
        mappings: dict[str, dict[str, str]] = {}
        wrong = []
        for column, old, new in value:
            if column not in known:
                wrong.append(f"Choose the column in which “{old or new}” stands.")
            elif not old:
                wrong.append(f"Say what the file says in {column}; a cell that is empty cannot be read differently.")
            elif not new.strip():
                wrong.append(f"Say what “{old}” in {column} is read as; if it says nothing, write {EMPTY}.")
            else:
                meant = "" if new.strip() == EMPTY else new.strip()
                if mappings.setdefault(column, {}).setdefault(old, meant) != meant:
                    wrong.append(f"“{old}” in {column} is there twice, with two meanings.")
        if wrong:
            raise ValidationError(wrong)
        return mappings


class ColumnNamesInput(_TableInput):
    heads = ("Column of the standard", "What the file calls it")

    def stored(self, value: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
        return list(value.items())

    def groups(self, cells: tuple[str, ...]) -> list[list[tuple[str, list[tuple[str, str]]]]]:
        return [_with(_every_column(), cells[0]), []]


class ColumnNamesField(_LinesField):
    """{"users.identifier": "StudentNumber"} of lines (column, what the file calls it)."""

    name = "Names of columns"
    words = "Columns that this district's files call otherwise than OneRoster does. A line that is emptied is removed."

    def clean(self, value: Iterable[tuple[str, str]]) -> dict[str, str]:
        known = {column for _, each in _every_column() for column, _ in each}
        names: dict[str, str] = {}
        wrong = []
        for column, text in value:
            name = text.strip()
            table, _, _ = column.partition(".")
            others = {each.partition(".")[2].lower() for each in known if each.startswith(f"{table}.")}
            if column not in known:
                wrong.append(f"Choose the column that “{name}” is.")
            elif not name:
                wrong.append(f"Say what the file calls {column}.")
            elif name.lower() in others:
                wrong.append(f"“{name}” is a column of OneRoster itself, and is read as that.")
            elif column in names:
                wrong.append(f"{column} is there twice; a file has it once.")
            elif any(each.lower() == name.lower() for key, each in names.items() if key.startswith(f"{table}.")):
                wrong.append(f"“{name}” is there twice, for two columns of {table}.")
            else:
                names[column] = name
        if wrong:
            raise ValidationError(wrong)
        return names


#: The rules of words that are not the standard's: such a word may be what the district writes for one of them.
_OF_WORDS = frozenset(OF_VOCABULARY.values()) | {f"OR-CSV-{n}" for n in ("106", "140", "141", "143", "144")}
_VARIANTS = {"grades": GRADE_VARIANTS, "boolean": BOOLEAN_VARIANTS}


#: A column that is none of the standard's: perhaps the district calls one of those so.
_OF_COLUMN_NAMES = ("OR-CSV-066", "OR-CSV-070", "OR-CSV-071")
#: In what a file is written, if not in UTF-8, is a setting of the district.
_OF_ENCODING = ("OR-CSV-040",)


def setting_for(finding: Finding) -> tuple[str, str]:
    """The setting of a district that could heal what a finding complains of, by the id of its place on the page, and
    what to call the way there; empty if none could."""
    if finding.code in _OF_ENCODING:
        return "id_encoding", "Read this district's files in another encoding from now on"
    if finding.code in _OF_COLUMN_NAMES:
        return "setting-column_names", "Say which column of OneRoster it is"
    if finding.places and could_be_mapped(finding):
        return "setting-mappings", "Read such words as something else from now on"
    return "", ""


def could_be_mapped(finding: Finding) -> bool:
    """Whether a mapping could heal what a finding complains of."""
    column = f"{finding.file.removesuffix('.csv')}.{finding.column}"
    return finding.code in _OF_WORDS and any(column == key for _, each in _columns() for key, _ in each)


def proposed(finding: Finding, words: Iterable[str]) -> list[tuple[str, str, str]]:
    """Lines of mappings for the `words` of a finding: column, what the file says, what that most likely means ("" where
    nobody can tell). What is right in itself, or too long to be shown whole, is left out."""
    table, name = finding.file.removesuffix(".csv"), finding.column
    columns = [c for v in VERSIONS.values() if table in v.tables for c in v.tables[table].columns if c.name == name]
    kind = "grades" if name == "grades" else columns[0].kind
    items = [item.strip() for word in words for item in (word.split(",") if columns[0].listed else [word])]
    strange = [item for item in dict.fromkeys(items) if item and len(item) < SHOWN]
    if kind == "grades":
        strange = [item for item in strange if item not in CEDS_GRADES]
    meant = _VARIANTS.get(kind, {})
    return [(f"{table}.{name}", item, meant.get(item, "")) for item in strange[:_MOST_PROPOSED]]


@cache
def _rules() -> list[tuple[str, list[tuple[str, str]]]]:
    """The rules that a district may change: not those without which nothing could be read or told apart."""
    free = [rule for code, rule in RULES.items() if code not in STANDS_ON and rule.severity != "fatal"]
    return [("", [(rule.code, f"{rule.code} ({rule.severity}): {rule.title}") for rule in free])]


class OverridesInput(_TableInput):
    heads = ("Rule", "Here it counts as")

    def stored(self, value: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
        return list(value.items())

    def groups(self, cells: tuple[str, ...]) -> list[list[tuple[str, list[tuple[str, str]]]]]:
        return [_with(_rules(), cells[0]), _with([("", list(_SEVERITIES.items()))], cells[1])]


class OverridesField(_LinesField):
    """{"OR-CSV-143": "warning"} of lines (code, severity or "off")."""

    name = "Changed rules"
    words = "Rules that count as something else for this district. A line that is emptied is removed."

    def clean(self, value: Iterable[tuple[str, str]]) -> dict[str, str]:
        overrides: dict[str, str] = {}
        wrong = []
        for code, severity in value:
            if code not in RULES:
                wrong.append("Choose the rule that counts as something else here.")
            elif severity not in _SEVERITIES:
                wrong.append(f"{code}: choose what it counts as here.")
            elif code in STANDS_ON and severity != "error":
                wrong.append(f"{code} cannot be lowered: without it records could not be told apart or stored.")
            elif RULES[code].severity == "fatal":
                wrong.append(f"{code} cannot be changed: without it the delivery cannot be read safely.")
            elif overrides.setdefault(code, severity) != severity:
                wrong.append(f"{code} is there twice.")
        if wrong:
            raise ValidationError(wrong)
        return overrides


# ------------------------------------------------------------------------------------------------------------- the form


# ------------------------------------------------------------------------------------------------------ how long


class DaysField(forms.IntegerField):
    """For how many days something is kept: empty for the usual, which is the most; never less than must be."""

    def __init__(self, name: str) -> None:
        field: Any = District._meta.get_field(name)
        super().__init__(required=False, label=str(field.verbose_name).capitalize(), help_text=field.help_text)
        self.usual, self.least = {
            "keeps_history_days": (settings.KEEP_HISTORY_DAYS, syncs.least_days()[0]),
            "keeps_left_days": (settings.KEEP_LEFT_DAYS, syncs.least_days()[1]),
        }[name]
        self.help_text += f" Empty: {self.usual} days, which is the most; at least {self.least}."
        self.widget.attrs |= {"min": self.least, "max": self.usual, "placeholder": self.usual}

    def clean(self, value: Any) -> int | None:
        days: int | None = super().clean(value)
        if days is not None and not self.least <= days <= self.usual:
            raise ValidationError(f"That is a number of days from {self.least} to {self.usual}, or empty.")
        return None if days == self.usual else days


_PRODUCTS = {key: product.name for key, product in PRODUCTS.items()}
_ENCODINGS = {
    "": "UTF-8 (the standard)",
    "windows-1252": "Windows-1252",
    "latin-1": "Latin-1",
    "utf-16": "UTF-16",
}


@cache
def _zones() -> frozenset[str]:
    return frozenset(zone for zone in zoneinfo.available_timezones() if zone.startswith(_PARTS_OF_THE_WORLD)) | {"UTC"}


def _several_may_decide() -> bool:
    """Whether so much as a second person is there who could look at a large removal."""
    return get_user_model().objects.with_perm(DECIDE, backend="django.contrib.auth.backends.ModelBackend").count() > 1


def zones() -> list[tuple[str, Any]]:
    """The time zones to choose from, those of most districts first. None is chosen for anybody: all of a district's
    times go by it."""
    others = [(zone, zone.replace("_", " ")) for zone in sorted(_zones() - set(_AT_HOME))]
    return [("", "Choose one"), ("United States", list(_AT_HOME.items())), ("Elsewhere", others)]


class DistrictForm(forms.ModelForm):  # type: ignore[type-arg]
    products = forms.MultipleChoiceField(
        choices=list(_PRODUCTS.items()),
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text=District._meta.get_field("products").help_text,
    )
    time_zone = forms.ChoiceField(
        choices=zones,
        help_text=District._meta.get_field("time_zone").help_text,
    )
    encoding = forms.ChoiceField(
        choices=list(_ENCODINGS.items()),
        required=False,
        help_text="Another than UTF-8 only if the district cannot export that.",
    )
    hold_limits = LimitsField(LimitsInput())
    column_names = ColumnNamesField(ColumnNamesInput())
    mappings = MappingsField(MappingsInput())
    rule_overrides = OverridesField(OverridesInput())
    keeps_history_days = DaysField("keeps_history_days")
    keeps_left_days = DaysField("keeps_left_days")

    #: Lines of mappings to be shown beside those there are.
    proposed: ClassVar[Sequence[tuple[str, str, str]]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance.pk and not self.is_bound:
            self.initial["needs_two_people"] = _several_may_decide()
        if self.instance.pk and self.instance.time_zone not in _zones():
            zone = self.instance.time_zone
            self.fields["time_zone"].choices = [(zone, zone), *zones()]  # type: ignore[attr-defined]
        limits = self.fields["hold_limits"].widget
        if self.instance.pk and isinstance(limits, LimitsInput):
            limits.tried_at = reverse("admin:rosters_district_replay", args=[self.instance.pk])
        known = self.initial.get("mappings") or {}
        widget = self.fields["mappings"].widget
        if not self.is_bound and isinstance(widget, MappingsInput):
            widget.proposed = [line for line in self.proposed if line[1] not in known.get(line[0], {})]

    def clean_products(self) -> list[str]:
        """A product comes only where all is kept that it needs."""
        chosen: list[str] = self.cleaned_data["products"]
        for key in self.instance.not_kept:
            table, _, column = key.partition(".")
            for product in needed_by(chosen, table, column):
                raise ValidationError(f"{product.name} needs {column} of {table}, which is not kept of this district.")
        return chosen

    class Meta:
        model = District
        fields = [
            "name",
            "site_code",
            "time_zone",
            "products",
            "owner",
            "applies_automatically",
            "needs_two_people",
            "keeps_ids_by_itself",
            "encoding",
            "hold_limits",
            "column_names",
            "mappings",
            "rule_overrides",
            "keeps_history_days",
            "keeps_left_days",
        ]


class _Words(forms.Widget):
    """A choice as its words, for who may not choose."""

    read_only = True

    def __init__(self, words: Mapping[str, str]) -> None:
        super().__init__()
        self.words = words

    def render(self, name: Any, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        chosen = value if isinstance(value, list) else [] if value is None else [value]
        return conditional_escape(", ".join(self.words.get(str(each), str(each)) for each in chosen) or "nothing")


class DistrictToRead(DistrictForm):
    """The same for who may not change anything."""

    products = forms.MultipleChoiceField(widget=_Words(_PRODUCTS))
    encoding = forms.ChoiceField(widget=_Words(_ENCODINGS))
    owner = forms.Field(widget=_Words({}))
    hold_limits = LimitsField(LimitsInput(read_only=True))
    column_names = ColumnNamesField(ColumnNamesInput(read_only=True))
    mappings = MappingsField(MappingsInput(read_only=True))
    rule_overrides = OverridesField(OverridesInput(read_only=True))
