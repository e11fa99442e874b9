"""What the pages' templates need beyond Django's own tags: signs of statuses, bars, differences of values."""

from __future__ import annotations

import math
from datetime import datetime
from difflib import SequenceMatcher
from typing import Any

from django import template
from django.urls import reverse
from django.utils import timezone
from django.utils.html import conditional_escape, format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

from rosters import words as words_of
from rosters.applying.tables import snake
from rosters.models import LIVE, AuditEvent, Record, Sync
from rosters.oneroster.normal import LISTED_REFERENCES
from rosters.words import PHASE_WORDS, TABLE_WORDS, Words, sync_words

register = template.Library()


@register.simple_tag
def status(of: Sync | Words) -> SafeString:
    """A status as sign and word."""
    words = sync_words(of) if isinstance(of, Sync) else of
    return format_html('<span class="status status-{}">{}</span>', words.sign, words.word)


@register.simple_tag
def words(sync: Sync) -> Words:
    return sync_words(sync)


@register.filter
def ago(moment: datetime | None) -> SafeString | str:
    """Relative first; the absolute time with its zone on hover and for machines."""
    if moment is None:
        return "never"
    passed = time_since(moment)
    return as_time(moment, f"{passed} ago" if passed else "just now", f"{timezone.localtime(moment):{_ABSOLUTE}}")


@register.filter
def lasting(moment: datetime | None) -> SafeString | str:
    """How long something has been so: "for 2 days"; the moment itself as `ago` has it."""
    if moment is None:
        return ""
    passed = time_since(moment)
    words = f"for {passed}" if passed else "since this minute"
    return as_time(moment, words, f"{timezone.localtime(moment):{_ABSOLUTE}}")


#: A moment as staff read it.
_ABSOLUTE = "%a %d %b %Y, %H:%M %Z"


def time_since(moment: datetime) -> str:
    """ "2 days", roughly; "" for less than a minute."""
    passed = (timezone.now() - moment).total_seconds()
    return timesince(moment).split(",")[0] if passed >= 60 else ""


def as_time(moment: datetime, words: str, absolute: str) -> SafeString:
    """A moment in words, with the exact one on hover and for machines."""
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), absolute, words)


@register.filter
def table_words(table: str) -> str:
    return TABLE_WORDS.get(table, table)


@register.filter
def column_words(column: str) -> str:
    return words_of.column_words(column)


@register.filter
def phase_words(phase: str) -> str:
    return PHASE_WORDS.get(phase, phase)


@register.filter
def happened(event: AuditEvent) -> str:
    return words_of.happened(event.action, str(event.by or ""), event.subject)


@register.filter
def share(part: int, whole: int) -> str:
    """812 of 4310 as "18.8 %"; "" where there is no whole."""
    return f"{100 * part / whole:.1f} %" if whole and part else ""


@register.filter
def percent(fraction: float) -> int:
    return round(100 * fraction)


@register.filter
def item(mapping: Any, key: str) -> Any:
    return mapping.get(key, "") if mapping else ""


@register.filter
def clock(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 90 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def _visible(text: str) -> SafeString:
    """A value as it is: blanks at its ends shown, empty said."""
    if not text:
        return format_html('<span class="empty">{}</span>', "(empty)")
    return conditional_escape(_ends_shown(text))


@register.simple_tag
def value(text: str | None) -> SafeString:
    return _visible(text or "")


@register.simple_tag
def old_and_new(old: str | None, new: str | None) -> SafeString:
    """Old → new, the differing part of each marked."""
    before, after = old or "", new or ""
    if not before or not after:
        return format_html("<del>{}</del> → <ins>{}</ins>", _visible(before), _visible(after))
    parts = SequenceMatcher(None, before, after, autojunk=False).get_opcodes() if len(before) + len(after) < 600 else []
    before, after = _ends_shown(before), _ends_shown(after)
    if not parts:
        return format_html("<del>{}</del> → <ins>{}</ins>", before, after)
    left = format_html_join("", "{}", ((_marked(before[i:j], kind != "equal"),) for kind, i, j, _, _ in parts))
    right = format_html_join("", "{}", ((_marked(after[i:j], kind != "equal"),) for kind, _, _, i, j in parts))
    return format_html("<del>{}</del> → <ins>{}</ins>", left, right)


def _ends_shown(text: str) -> str:
    """A value with the blanks at its ends to be seen; as long as it was."""
    inner = text.strip(" ")
    begin = len(text) - len(text.lstrip(" "))
    return f"{'␣' * begin}{inner}{'␣' * (len(text) - begin - len(inner))}"


def _marked(text: str, differs: bool) -> SafeString:
    if not text:
        return SafeString("")
    return format_html("<mark>{}</mark>", text) if differs else conditional_escape(text)


@register.simple_tag(takes_context=True)
def with_query(context: dict[str, Any], **changes: Any) -> str:
    """This page's query string with some parameters changed; None or "" takes one away."""
    query = context["request"].GET.copy()
    for key, new in changes.items():
        if new in (None, ""):
            query.pop(key, None)
        else:
            query[key] = str(new)
    return f"?{query.urlencode()}" if query else "?"


@register.filter
def bars(sync: Sync, biggest: int) -> tuple[str, str, str, str]:
    """A sync's + ~ − as parts of a bar 100 wide: (added, changed, where removed begins, removed).

    The bar grows with the square root of all changes, so that ten can be seen beside ten thousand; what is more than
    `biggest` fills it.
    """
    total = sync.added + sync.updated + sync.removed
    length = min(100 * math.sqrt(total / biggest), 100.0) if biggest else 0.0
    added, updated, removed = (length * n / (total or 1) for n in (sync.added, sync.updated, sync.removed))
    return f"{added:.1f}", f"{updated:.1f}", f"{added + updated:.1f}", f"{removed:.1f}"


@register.simple_tag
def listed_records(record: Record, name: str) -> dict[str, Any] | None:
    """Of a field that holds several ids what it is called, and each id with the record that it names and its page,
    where there is one; None of any other field."""
    table = next((table for table, model in LIVE.items() if isinstance(record, model)), "")
    for column, to in LISTED_REFERENCES.get(table, {}).items():
        field, model = snake(column), LIVE[to]
        if field.replace("_", " ") == name:
            ids = [part for part in str(getattr(record, field)).split(",") if part]
            found = model._base_manager.filter(district=record.district_id, sourced_id__in=ids)
            known = {each.sourced_id: each for each in found}
            page = f"admin:rosters_{model._meta.model_name}_change"
            return {
                "word": words_of.column_words(column),
                "rows": [
                    (part, known.get(part), reverse(page, args=[known[part].pk]) if part in known else "")
                    for part in ids
                ],
            }
    return None


@register.filter
def record_name(record: Any) -> str:
    """What a person calls a record of the live roster."""
    person = f"{getattr(record, 'given_name', '')} {getattr(record, 'family_name', '')}".strip()
    return getattr(record, "title", "") or getattr(record, "name", "") or person or record.sourced_id
