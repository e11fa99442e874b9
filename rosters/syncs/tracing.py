"""From a name to a line: where somebody stands in a file that came, what was found there, and what became of it.

Nothing is read but the lines that are asked for, and nothing is kept. What was found is what the check found when the
file came; a file of which everything was live already has the findings of the one that made it so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

import polars as pl
from django.db.models import Exists, OuterRef, Q

from rosters.applying.tables import snake
from rosters.models import FIELDS, LIVE, District, Finding, Record, Sync
from rosters.oneroster import VERSIONS
from rosters.oneroster.normal import GONE, LISTED_REFERENCES, METADATA, NORMAL, REFERENCES, is_left_out
from rosters.oneroster.plain import NOUNS, listed
from rosters.reading.lookup import Called, Damaged, Lookup, Naming, Row, Rows, Wanted, looking_into
from rosters.recognising import sent_as
from rosters.syncs.working import named, scan_ids, store
from rosters.validating.references import of_reference
from rosters.words import Words, column_words

#: From so many of the newest files one is chosen.
FILES: Final = 6
#: So many people are told of a name, and so many rows of each file about one of them; so many of the latter are looked
#: at, for what is not live stands first.
PEOPLE_SHOWN: Final = 20
ROWS_SHOWN: Final = 60
_LOOKED_AT: Final = 1000

#: What also tells of a record: table to the column that names it.
TELLING: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "users": {
            "enrollments": "userSourcedId",
            "roles": "userSourcedId",
            "userProfiles": "userSourcedId",
            "demographics": "sourcedId",
        },
        "classes": {"enrollments": "classSourcedId"},
    }
)
#: What the rows of a file are called: by cells of their own, or by those that they tie together.
_CALLED: Final = {
    "users": ("givenName", "familyName"), "orgs": ("name",), "classes": ("title",), "courses": ("title",),
    "academicSessions": ("title",),
}  # fmt: skip
_TIES: Final = {
    "enrollments": ("userSourcedId", "classSourcedId"), "roles": ("userSourcedId", "orgSourcedId"),
    "userProfiles": ("userSourcedId",),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell as it came: its column as the file calls it and in plain words; what it refers to by name, "" for nothing
    that has one."""

    column: str
    words: str
    text: str
    called: str = ""


@dataclass(frozen=True, slots=True)
class Traced:
    """A row about somebody: the number of its line (None: it is not in the file), what it is `called`, its cells that
    say something and the words of those that do not; what was found in its line; what became of it, and the record
    that is or was live. `torn`: how a line begins that could not be read."""

    table: str
    number: int | None
    sourced_id: str
    called: str
    cells: tuple[Cell, ...]
    empty: str
    torn: str | None
    findings: tuple[Finding, ...]
    became: Words
    record: Record | None

    @property
    def model(self) -> str:
        """What the record is, as the addresses of its pages name it."""
        return str(LIVE[self.table]._meta.model_name)


@dataclass(slots=True)
class Part:
    """What a file of the delivery says: its `rows`, what is not live first, and whether there are `more`. `broken`: why
    it could not be looked through, "" if it could; `absent`: there is none. `whole`: findings about all of it."""

    table: str
    rows: list[Traced] = field(default_factory=list)
    more: bool = False
    broken: str = ""
    absent: bool = False
    whole: list[Finding] = field(default_factory=list)


@dataclass(slots=True)
class Trace:
    """What a delivery says of somebody. `lost`: why it cannot be looked into, "" if it can; `is_pull`: its lines are
    records of an API."""

    sync: Sync
    parts: list[Part] = field(default_factory=list)
    lost: str = ""
    is_pull: bool = False

    @property
    def rows(self) -> list[Traced]:
        return [row for part in self.parts for row in part.rows]

    @property
    def findings(self) -> list[Finding]:
        return [finding for row in self.rows for finding in row.findings]


@dataclass(frozen=True, slots=True)
class LookedFor:
    """Who fits; `one`, if there is one who is meant, and the `trace` of them, or of an id that is nobody's."""

    people: Trace
    one: Traced | None = None
    trace: Trace | None = None


def newest_files(district: District) -> list[Sync]:
    """The newest files that came, each as what became of it in the end, the newest first; without those whose place a
    newer one took."""
    stood = Sync.objects.exclude(status=Sync.Status.SUPERSEDED)
    later = stood.filter(delivery=OuterRef("delivery"), pk__gt=OuterRef("pk"))
    found = stood.filter(district=district, delivery__isnull=False).exclude(Exists(later))
    return list(
        found.select_related("delivery", "district", "kept_ids", "base").order_by("-received_at", "-pk")[:FILES]
    )


def look_for(sync: Sync, text: str, number: str = "", *, without: Collection[str] = ()) -> LookedFor:
    """The people of a file who are called so, or have this login, address, number or id. Of one, or of the one whose
    row has this `number`, all that the file says; where nobody fits, what it says of the id that the text may be.
    `without`: tables of which nothing is told."""
    people = _looked_into(sync, lambda work: [work.part("users", Called(text), most=PEOPLE_SHOWN)])
    asked = [row for row in people.rows if str(row.number) == number] or people.rows
    one = asked[0] if len(asked) == 1 else None
    if people.lost or (people.rows and one is None):
        return LookedFor(people)
    if one and not one.sourced_id:
        people.parts[0].rows = [one]
        return LookedFor(people, one, people)
    return LookedFor(people, one, trace(sync, "users", one.sourced_id if one else text, without=without))


def trace(sync: Sync, table: str, sourced_id: str, *, as_live: bool = False, without: Collection[str] = ()) -> Trace:
    """What a file says of a record, by the id that stands there, or `as_live` by the one under which it is known: its
    row, and for a person or a class what names it in other tables, and the classes of these."""

    def parts(work: _Work) -> list[Part]:
        sent = sent_as(scan_ids(sync), table, sourced_id) if as_live else sourced_id
        named_in = {table: "sourcedId", **TELLING.get(table, {})}
        found = [
            work.part(name, Naming(column, {sent}), about=(column, sent))
            for name, column in named_in.items()
            if name not in without
        ]
        return found + (work.classes_of(found) if table == "users" else [])

    return _looked_into(sync, parts)


def _looked_into(sync: Sync, parts: Callable[[_Work], list[Part]]) -> Trace:
    """What `parts` finds in the file of a sync; or why that cannot be looked into."""
    found = Trace(sync)
    if sync.seems_anothers:
        found.lost = "It seems to be another district's file, or to tell of other schools; it is not looked into here."
        return found
    try:
        with _file_of(sync) as lookup:
            found.is_pull = lookup.is_pull
            found.parts = parts(_Work(sync, lookup))
    except FileNotFoundError:
        found.lost = "The file is not kept any more."
    except (OSError, Damaged):
        found.lost = "The file cannot be opened."
    return found


@contextmanager
def _file_of(sync: Sync) -> Iterator[Lookup]:
    assert sync.delivery is not None
    path = named(store().original(sync.district_id, sync.delivery.sha256), sync.delivery.name)
    district = sync.district
    with looking_into(path, encoding=district.encoding, column_names=district.column_names) as lookup:
        yield lookup


def _judged(sync: Sync) -> Sync:
    """The sync whose check says what is wrong with this file: the one that made live what it found live already."""
    if sync.status != Sync.Status.UNCHANGED or "checking" in sync.seconds:
        return sync
    assert sync.delivery is not None
    same = Q(delivery__sha256=sync.delivery.sha256)
    if sync.base:
        same |= Q(target_digest=sync.base.digest)
    made = Sync.objects.filter(same, district=sync.district_id, status=Sync.Status.APPLIED, undoes=None)
    made = made.filter(applied_at__lte=sync.status_since)
    return made.select_related("delivery", "district").order_by("-applied_at").first() or sync


class _Work:
    """Rows of one delivery, on their way to what became of them."""

    def __init__(self, sync: Sync, lookup: Lookup) -> None:
        self.sync, self.lookup = sync, lookup
        self.judged = _judged(sync)
        self.difference = store().difference(sync.district_id, sync.pk)

    def part(self, table: str, wanted: Wanted, *, about: tuple[str, str] | None = None, most: int = ROWS_SHOWN) -> Part:
        """The rows of a table that are wanted. `about`: the column and the id by which live records are about the same:
        those that are not in the file are told, too."""
        found = self.lookup.rows(table, wanted, _LOOKED_AT if about else most)
        part = Part(table, [], found.more, found.broken, found.absent, self._of_whole(table))
        part.rows = self._told(part, found)
        if about and not (found.absent or found.broken or found.more):
            part.rows += self._missing(table, *about, {row.sourced_id for row in part.rows})
        part.rows.sort(key=lambda row: row.became.sign == "good")
        part.more = part.more or len(part.rows) > most
        part.rows = self._with_names(table, part.rows[:most])
        return part

    def classes_of(self, parts: Iterable[Part]) -> list[Part]:
        """The classes that enrollments among these rows name, also where they are not in the file."""
        cells = [cell.text for part in parts if part.table == "enrollments" for row in part.rows for cell in row.cells
                 if cell.column.lower() == "classsourcedid"]  # fmt: skip
        ids = list(dict.fromkeys(cells))
        if not ids:
            return []
        part = self.part("classes", Naming("sourcedId", ids), most=len(ids))
        known = self._known_as("classes", ids)
        missing = [each for each in ids if each not in {row.sourced_id for row in part.rows}]
        if not part.broken:
            records = self._records("classes", [known[each] for each in missing])
            told = [self._not_there("classes", each, records.get(known[each])) for each in missing]
            part.rows = [*told, *part.rows]
        return [part]

    # -- what was found

    def _of_whole(self, table: str) -> list[Finding]:
        """What is wrong with a file as a whole, and costs something."""
        of_it = self.judged.findings.filter(file=f"{table}.csv", effect__in=["table", "package"])
        return list(of_it)

    def _found(self, table: str, rows: Sequence[Row]) -> dict[int, list[Finding]]:
        """What was found in these rows, by their numbers."""
        found = _in_lines(self.sync, table, {row.number for row in rows})
        if self.judged == self.sync:
            return found
        assert self.sync.delivery and self.judged.delivery
        if self.judged.delivery.sha256 == self.sync.delivery.sha256:
            return _in_lines(self.judged, table, {row.number for row in rows})
        ids = {row.cell("sourcedId") for row in rows} - {""}
        try:
            with _file_of(self.judged) as lookup:
                same = lookup.rows(table, Naming("sourcedId", ids), 2 * _LOOKED_AT).rows
        except (OSError, Damaged):
            return found
        there = _in_lines(self.judged, table, {row.number for row in same})
        of_id = {row.cell("sourcedId"): there.get(row.number, []) for row in same}
        return {row.number: [*found.get(row.number, []), *of_id.get(row.cell("sourcedId"), [])] for row in rows}

    # -- what is live

    def _known_as(self, table: str, ids: Collection[str]) -> dict[str, str]:
        """Each id of the file with the one under which its record is known."""
        space = REFERENCES.get(table, {}).get("sourcedId", table)
        known = {each: each for each in ids}
        if self.sync.kept_ids is None:
            return known
        wanted = pl.Series(list(ids), dtype=pl.String).implode()
        pairs = scan_ids(self.sync).filter((pl.col("table") == space) & pl.col("delivered").is_in(wanted))
        return known | dict(pairs.select("delivered", "kept").collect().iter_rows())

    def _records(self, table: str, ids: Collection[str]) -> dict[str, Record]:
        rows = LIVE[table]._base_manager.filter(district=self.sync.district_id, sourced_id__in=list(ids))
        return {record.sourced_id: record for record in rows}

    def _kinds(self, table: str, ids: Collection[str]) -> dict[str, str]:
        """What this sync changes of these records: "added", "updated" or "removed"."""
        if table not in self.difference.tables:
            return {}
        return {row[0]: row[1] for row in self.difference.cells(table, ids, ["kind"])}

    # -- rows

    def _told(self, part: Part, found: Rows) -> list[Traced]:
        table, unwanted = part.table, self.sync.district.not_kept
        findings = self._found(table, found.rows)
        ids = {row.cell("sourcedId") for row in found.rows} - {""}
        known = self._known_as(table, ids)
        records, kinds = self._records(table, known.values()), self._kinds(table, known.values())
        told = []
        for row in found.rows:
            sourced_id = row.cell("sourcedId")
            record = records.get(known.get(sourced_id, ""))
            here = tuple(findings.get(row.number, []))
            became = self._became(part, row, here, record, kinds.get(known.get(sourced_id, ""), ""))
            said = [cell for cell in row.cells if cell[1]]
            cells, empty = _plainly(table, row.cells, unwanted)
            called = " ".join(filter(None, (row.cell(name) for name in _CALLED.get(table, ()))))
            told.append(
                Traced(
                    table, row.number, sourced_id, called, cells, empty if said else "", row.torn, here, became, record
                )
            )
        return told

    def _became(self, part: Part, row: Row, findings: Sequence[Finding], record: Record | None, kind: str) -> Words:
        codes = {finding.code for finding in findings}
        live = record is not None and record.status == Record.Status.ACTIVE
        aside = next((finding for finding in findings if finding.effect == "row"), None)
        if aside or row.torn is not None:
            return _set_aside(part.table, aside, live=live)
        if "OR-SCOPE-001" in codes:
            return _NOT_TAKEN
        if "OR-CSV-162" in codes:
            return _SAID_TWICE
        if any(finding.effect == "table" for finding in part.whole):
            return Words("refused", "File not used", f"{part.table}.csv could not be used; what is live stays.", "")
        if self.sync.undone_at and kind:
            return _TAKEN_BACK
        if self.sync.status in (Sync.Status.APPLIED, Sync.Status.UNCHANGED):
            return self._went_live(row, findings, record)
        if self.sync.status in _PENDING:
            return self._pending(kind, live=live)
        return _BY_STATUS[self.sync.status]

    def _went_live(self, row: Row, findings: Sequence[Finding], record: Record | None) -> Words:
        if record is None or record.status != Record.Status.ACTIVE:
            return _SAYS_GONE if row.cell("status").lower() in GONE else _GONE_SINCE
        since = self.sync.applied_at or self.sync.status_since
        if record.date_last_modified > since:
            return _CHANGED_SINCE
        left_out = sorted({column_words(finding.column) for finding in findings if finding.effect == "value"})
        if left_out:
            return Words("review", "Live, with gaps", f"Its row is live; not taken of it: {listed(left_out)}.", "")
        return _LIVE

    def _pending(self, kind: str, *, live: bool) -> Words:
        """What a plan that is not live yet would make of a row."""
        sign, when = _PENDING[self.sync.status]
        if not kind:
            return _LIVE if live else Words("ended", "Not in the plan", "Nothing of it would go live.", "")
        return Words(sign, _WOULD[kind], when, "")

    def _missing(self, table: str, column: str, sourced_id: str, there: Collection[str]) -> list[Traced]:
        """Records about the same that are live, or were until this file, and are not in it."""
        whose = REFERENCES.get(table, {}).get(column, table)
        known = self._known_as(whose, [sourced_id])[sourced_id]
        of = FIELDS.get(table, {}).get(column)
        mine = Q(
            **{f"{of}__sourced_id": known, f"{of}__district": self.sync.district_id} if of else {"sourced_id": known}
        )
        stands = Q(status=Record.Status.ACTIVE)
        if self.sync.applied_at:
            stands |= Q(date_last_modified=self.sync.applied_at)
        kept = set(self._known_as(table, there).values())
        records = LIVE[table]._base_manager.filter(mine, stands, district=self.sync.district_id).order_by("pk")
        records = records.select_related(*FIELDS[table].values())
        return [
            self._not_there(table, record.sourced_id, record)
            for record in records[:_LOOKED_AT]
            if record.sourced_id not in kept
        ]

    def _not_there(self, table: str, sourced_id: str, record: Record | None) -> Traced:
        """A record that is not in the file. The cells are those that are, or were, live."""
        kind = self._kinds(table, [record.sourced_id]).get(record.sourced_id, "") if record else ""
        cells: list[tuple[str, str]] = [("sourcedId", sourced_id)]
        if record:
            cells = [(name, _live_cell(record, table, name)) for name in NORMAL[table] if name != METADATA]
        told, _ = _plainly(table, cells, ())
        called = " ".join(cell for name, cell in cells if name in _CALLED.get(table, ()) and cell)
        became = self._became_of_missing(record, kind)
        return Traced(table, None, sourced_id, called, told, "", None, (), became, record)

    def _became_of_missing(self, record: Record | None, kind: str) -> Words:
        if record is None:
            return _NOWHERE
        if kind == "removed" and self.sync.status in _PENDING:
            sign, when = _PENDING[self.sync.status]
            return Words(sign, _WOULD["removed"], f"It is live, and not in this file. {when}", "")
        if record.status != Record.Status.ACTIVE:
            return _REMOVED if kind == "removed" else _GONE_SINCE
        if kind == "removed" and self.sync.undone_at:
            return _TAKEN_BACK
        return _STAYS

    def _with_names(self, table: str, rows: list[Traced]) -> list[Traced]:
        """The same rows, with what they refer to by name."""
        references = {**REFERENCES.get(table, {}), **LISTED_REFERENCES.get(table, {}), "orgSourcedIds": "orgs"}
        references.pop("sourcedId", None)
        wanted: dict[str, set[str]] = {}
        for row in rows:
            for cell in row.cells:
                if to := references.get(cell.column):
                    wanted.setdefault(to, set()).update(_items(cell.text))
        names = {to: self._names(to, ids) for to, ids in wanted.items() if to in _CALLED}

        def called(cell: Cell) -> Cell:
            known = names.get(references.get(cell.column, ""), {})
            words = [known[each] for each in _items(cell.text) if each in known]
            return replace(cell, called=", ".join(words)) if words else cell

        return [_titled(replace(row, cells=tuple(map(called, row.cells)))) for row in rows]

    def _names(self, table: str, ids: Collection[str]) -> dict[str, str]:
        """What records are called, by the ids in the file: as they are live, and else as this file says."""
        known = self._known_as(table, ids)
        records = self._records(table, known.values())
        names = {
            each: " ".join(filter(None, (_live_cell(records[to], table, name) for name in _CALLED[table])))
            for each, to in known.items()
            if to in records
        }
        strange = set(ids) - set(names)
        for row in self.lookup.rows(table, Naming("sourcedId", strange), len(strange)).rows if strange else ():
            names[row.cell("sourcedId")] = " ".join(filter(None, (row.cell(name) for name in _CALLED[table])))
        return {each: name for each, name in names.items() if name}


def _in_lines(sync: Sync, table: str, numbers: Collection[int]) -> dict[int, list[Finding]]:
    """What the check of `sync` found in these lines of a file."""
    of_file = {finding.position: finding for finding in sync.findings.filter(file=f"{table}.csv")}
    places = store().found_in(sync.district_id, sync.pk, numbers) if of_file else {}
    return {number: [of_file[at] for at in found if at in of_file] for number, found in places.items()}


# ---------------------------------------------------------------------------------------------------------------- words

_LIVE: Final = Words("good", "Live", "As it stands in the file.", "")
_NOT_TAKEN: Final = Words(
    "ended", "Not taken", "This file does not speak for the school or term of this row; what is live of it stays.", ""
)
_SAID_TWICE: Final = Words("ended", "Said twice", "The same row stands further up, and counts there.", "")
_TAKEN_BACK: Final = Words("ended", "Taken back", "It was live as this file has it, and that was taken back since.", "")
_SAYS_GONE: Final = Words("ended", "Removed", "The row itself says that it is gone.", "")
_GONE_SINCE: Final = Words("ended", "Not live", "It went since: its history says with which file.", "")
_CHANGED_SINCE: Final = Words("ended", "Live, changed since", "A later file, or an undo, changed it.", "")
_REMOVED: Final = Words("ended", "Removed", "It was live, and is not in this file.", "")
_STAYS: Final = Words(
    "good",
    "Live, though not in this file",
    "It stays as it was: a file removes only what it speaks for, could be read whole, and went live.",
    "",
)
_NOWHERE: Final = Words("refused", "Not in the file", "No line has this id, and nothing of it is live.", "")
_WOULD: Final = {"added": "Would come", "updated": "Would change", "removed": "Would be removed"}
_WAITS: Final = ("review", "This file waits for a decision; nothing of it is live yet.")
_GOES: Final = ("running", "This file is approved, and about to go live.")
_PENDING: Final[dict[str, tuple[str, str]]] = {
    Sync.Status.READY: _WAITS, Sync.Status.AWAITING_REVIEW: _WAITS, Sync.Status.APPROVED: _GOES,
    Sync.Status.APPLYING: _GOES,
}  # fmt: skip
_NOT_YET: Final = Words("running", "Not checked yet", "The file is only being checked: look again in a moment.", "")
_BY_STATUS: Final[dict[str, Words]] = {
    Sync.Status.RECEIVED: _NOT_YET,
    Sync.Status.PREPARING: _NOT_YET,
    Sync.Status.REJECTED: Words("refused", "Refused with its file", "Nothing of this file is live.", ""),
    Sync.Status.DECLINED: Words("refused", "Declined with its file", "Nothing of this file is live.", ""),
    Sync.Status.FAILED: Words("refused", "Not finished", "The portal could not finish with this file.", ""),
}


def _set_aside(table: str, aside: Finding | None, *, live: bool) -> Words:
    stays = "What was accepted last stays live." if live else "Nothing of it is live."
    to = REFERENCES.get(table, {}).get(aside.column) if aside else None
    if aside is None or to is None or aside.code != of_reference(table, aside.column):
        return Words("refused", "Set aside", f"The row is not used. {stays}", "")
    why = f"is not in {to}.csv" if "could not be used" not in aside.message else f"stands in {to}.csv, set aside"
    return Words(
        "refused", "Leads nowhere", f"The {NOUNS[to].one} that it names {why}: the row is not used. {stays}", ""
    )


def _plainly(table: str, cells: Iterable[tuple[str, str]], unwanted: Collection[str]) -> tuple[tuple[Cell, ...], str]:
    """The cells that say something, and the words of those that do not. Passwords are left out, and columns that no
    version of the standard has; what the district does not want kept is not told."""
    known = [version.tables[table] for version in VERSIONS.values() if table in version.tables]
    standard = {name.lower(): name for one in known for name in one.header}
    told, empty = [], []
    for column, text in cells:
        name = standard.get(column.lower(), column if column.startswith(f"{METADATA}.") else "")
        if name.lower() in ("", "password"):
            continue
        if not text and name not in ("status", "dateLastModified"):
            empty.append(column_words(name))
        elif text:
            told.append(Cell(name, column_words(name), "(not kept)" if is_left_out(table, name, unwanted) else text))
    return tuple(told), listed(empty)


def _titled(row: Traced) -> Traced:
    """A row that only ties records together is called by them."""
    tied = {cell.column: cell.called for cell in row.cells}
    words = [tied.get(column, "") for column in _TIES.get(row.table, ())]
    return replace(row, called=" · ".join(filter(None, words))) if not row.called else row


def _items(cell: str) -> list[str]:
    return [part.strip() for part in cell.split(",") if part.strip()]


def _live_cell(record: Record, table: str, column: str) -> str:
    """A cell of a live record as a file would have it."""
    value: Any = getattr(record, FIELDS.get(table, {}).get(column) or snake(column), "")
    return value.sourced_id if isinstance(value, Record) else str(value or "")
