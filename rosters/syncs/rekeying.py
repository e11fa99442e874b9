"""The SIS gave its records other ids: who was known again, and the decision to keep the ids that products know.

Nothing of the roster is touched by it. A list of ids is made (`rosters.models.KeptIds`), by which deliveries are read
from then on, and the plan that was looked at is made anew: what is left of it is what truly changes. The list can be
given up as it was made; then the next delivery says what that would mean.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import polars as pl
from django.db import transaction
from django.utils import timezone

from rosters import holding, recognising
from rosters.diffing import Difference, column_of
from rosters.frames import Frames, rows_of
from rosters.models import District, KeptIds, Sync
from rosters.oneroster.plain import NOUNS, listed
from rosters.recognising import KEPT, WAYS
from rosters.syncs.working import DecisionRefused, StalePlan, audit, audit_district, base_frames, hold, ids_of, store

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

#: Bytes of a list that somebody uploads: enough for half a million records.
LARGEST_LIST: Final = 64 << 20
#: What has no meaning without its person.
_OF_PEOPLE: Final = ("userProfiles", "roles", "enrollments")
#: Lines that are named of what is wrong with a list.
_LINES_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Again:
    """How many records of a table were known again, by one way."""

    table: str
    known_by: str
    sure: bool
    number: int


def may_look(sync: Sync) -> bool:
    """Whether there can be somebody who leaves and comes again: a plan that waits, of a whole delivery."""
    return sync.status in Sync.WAITING and sync.delivery_id is not None and sync.added > 0 and sync.removed > 0


def known_again(sync: Sync) -> pl.LazyFrame:
    """Which records that leave are among those that come, as `AGAIN`; worked out once for each plan."""
    found = store().known_again(sync.district_id, sync.pk, sync.plan_digest)
    if found is None:
        difference = store().difference(sync.district_id, sync.pk).load()
        again = recognising.known_again(difference, version=sync.oneroster_version)
        store().write_known_again(sync.district_id, sync.pk, sync.plan_digest, again)
        found = again.lazy()
    return found


def counted(again: pl.LazyFrame) -> list[Again]:
    """The numbers of `known_again`: table by table in the order of the standard, the best way first."""
    rows = again.group_by("table", "known_by", "sure").agg(pl.len().alias("number")).collect().rows()
    order = {(table, way.words): place for place, (table, way) in enumerate((t, w) for t in WAYS for w in WAYS[t])}
    return sorted((Again(*row) for row in rows), key=lambda a: (order[a.table, a.known_by], not a.sure))


def keep_ids(
    sync: Sync, *, by: Staff, plan_digest: str, also_unsure: bool = False, now: datetime | None = None
) -> KeptIds:
    """They are the same: keep the ids that products know, and make the plan anew. `also_unsure`: those, too, who are
    known by a name only. Raises StalePlan if the plan is not the one that was looked at; then nothing was decided."""
    moment = now or timezone.now()
    if not may_look(sync) or sync.plan_digest != plan_digest:
        raise StalePlan("The plan has changed since you looked at it. No id was kept; look at it as it is now.")
    again = known_again(sync)
    pairs = (again if also_unsure else again.filter("sure")).select(*KEPT).collect()
    if pairs.is_empty():
        raise DecisionRefused("Nobody was known again for sure, so there is no id to keep.")
    with transaction.atomic():
        district = hold(sync.district_id)
        sync.refresh_from_db()
        if not (sync.plan_digest == plan_digest and sync.mark_stale(moment)):
            raise StalePlan("Somebody else decided in this very moment. No id was kept by you.")
        made = _remember(district, recognising.joined(ids_of(district), pairs), by, moment, sync=sync)
        audit(moment, by, "sync.retried", sync, before={"plan": plan_digest})
    return made


def keep_few(sync: Sync, base: Frames, difference: Difference, now: datetime) -> bool:
    """Keep the ids of people who are known again for sure, and of what is theirs alone, if the district wants that done
    without a person and they are no more than may change unnoticed. Whether any was kept: then the delivery is to be
    read anew."""
    district = sync.district
    if not district.keeps_ids_by_itself or sync.dry_run or "users" not in difference.tables:
        return False
    version = sync.oneroster_version
    people = recognising.known_again(difference, version=version, only=("users",)).filter("sure")
    limits = {name: holding.limit_of(district.hold_limits, name) for name in ("id_churn_share", "group_floor")}
    few = max(limits["id_churn_share"] * rows_of(base, "users"), limits["group_floor"] - 1)
    if not 0 < len(people) <= few:
        return False
    if difference.counts["users"]["removed"] * 2 > rows_of(base, "users"):
        return False  # of a file that is not about our people nothing is remembered
    theirs = recognising.known_again(difference, version=version, only=("users", *_OF_PEOPLE)).filter("sure")
    with transaction.atomic():
        held = District.with_leaving.select_for_update(no_key=True).get(pk=district.pk)
        if held.kept_ids_id == district.kept_ids_id:  # else somebody made another list meanwhile: that is to be read by
            _remember(held, recognising.joined(ids_of(held), theirs), None, now, sync=sync)
    district.refresh_from_db(fields=["kept_ids"])
    return True


def keep_listed(district: District, table: str, pairs: pl.DataFrame, *, by: Staff, now: datetime | None = None) -> int:
    """Keep the ids of a list of old and new ones that the district made, ``old`` and ``new``, for the next delivery on;
    of those who are live. Returns how many are not. Raises DecisionRefused where that is everybody."""
    moment = now or timezone.now()
    with transaction.atomic():
        held = hold(district.pk)
        ids = column_of(base_frames(held), table, "sourcedId")
        live = pairs.filter(pl.col("old").is_in(ids.implode()))
        strange = len(pairs) - len(live)
        if live.is_empty():
            raise DecisionRefused(
                f"None of the old ids in the list is one of our {NOUNS[table].many}. Is it the list of another file, "
                "or are the columns the other way round?"
            )
        fresh = live.select(pl.lit(table).alias("table"), pl.col("new").alias("delivered"), pl.col("old").alias("kept"))
        _remember(held, recognising.laid_over(ids_of(held), fresh), by, moment)
    return strange


def let_ids_go(district: District, *, by: Staff, now: datetime | None = None) -> None:
    """Read the district's ids as they come again. What is live stays; the next delivery says what that means."""
    moment = now or timezone.now()
    with transaction.atomic():
        held = hold(district.pk)
        if held.kept_ids is None:
            raise DecisionRefused("No ids are kept for this district.")
        audit_district(moment, by, "district.ids_let_go", held, before=held.kept_ids.tables)
        District.objects.filter(pk=held.pk).update(kept_ids=None)


def _remember(
    district: District, ids: pl.DataFrame, by: Staff | None, now: datetime, *, sync: Sync | None = None
) -> KeptIds:
    """Make `ids` the list that counts, in the transaction that holds the district's row."""
    counts = dict(ids.group_by("table").agg(pl.len()).rows())
    tables = {table: counts[table] for table in WAYS if table in counts}
    digest = store().keep_ids(district.pk, ids)
    made = KeptIds.objects.create(district=district, digest=digest, tables=tables, made_at=now, made_by=by)
    before = district.kept_ids.tables if district.kept_ids else {}
    audit_district(now, by, "district.ids_kept", district, sync=sync, before=before, after=tables)
    District.objects.filter(pk=district.pk).update(kept_ids=made)
    return made


def in_words(tables: Mapping[str, int]) -> str:
    """ "4,290 people and 310 classes"."""
    return listed([NOUNS[table].count(number) for table, number in tables.items()])


# ---------------------------------------------------------------------------------------------- a list that was made


class BadList(Exception):
    """A list of old and new ids that cannot be taken; the message says why, line by line, without a value of it."""


_OLD: Final = ("old", "oldid", "oldsourcedid", "formerid", "from")
_NEW: Final = ("new", "newid", "newsourcedid", "to")


def read_list(content: bytes) -> pl.DataFrame:
    """``old`` and ``new`` of a CSV file with two columns of these names. Raises BadList, with everything that is wrong.
    A pair whose two ids are the same says nothing, and is left out."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadList("It is not a text in UTF-8. Save it as “CSV UTF-8”.") from None
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [_plain(name) for name in next(rows, [])]
        old, new = (next((i for i, name in enumerate(header) if name in names), -1) for names in (_OLD, _NEW))
        if old < 0 or new < 0 or len(header) != 2:
            raise BadList("It needs two columns with the heads “old id” and “new id”, and no others.")
        lines = [(rows.line_num, row) for row in rows if any(row)]
    except csv.Error as error:
        raise BadList(f"It is not a CSV file that can be read: {error}, near line {rows.line_num}.") from None
    wrong = _lines("does not have exactly two cells that are filled", [
        line for line, row in lines if len(row) != 2 or not all(cell.strip() for cell in row)
    ])  # fmt: skip
    if wrong:
        raise BadList(wrong)
    cells = [(line, row[old].strip(), row[new].strip()) for line, row in lines]
    schema = {"line": pl.Int64, "old": pl.String, "new": pl.String}
    pairs = pl.DataFrame(cells, schema=schema, orient="row").unique(["old", "new"], keep="first", maintain_order=True)
    twice = []
    for column in ("old", "new"):
        again = pairs.filter(pl.col(column).is_duplicated())["line"].to_list()
        twice.append(
            _lines(f"names {'an' if column == 'old' else 'a'} {column} id that another line names, too", again)
        )
    if any(twice):
        raise BadList(" ".join(filter(None, twice)))
    pairs = pairs.filter(pl.col("old") != pl.col("new")).select("old", "new")
    if pairs.is_empty():
        raise BadList("There is no pair of two different ids in it.")
    return pairs


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalpha())


def _lines(what: str, lines: list[int]) -> str:
    """ "Line 3 does not …", "Lines 3, 4 and 9 more do not …"; "" for none."""
    if not lines:
        return ""
    if len(lines) == 1:
        return f"Line {lines[0]} {what}."
    named = ", ".join(map(str, lines[:_LINES_NAMED]))
    more = f" and {len(lines) - _LINES_NAMED:,} more" if len(lines) > _LINES_NAMED else ""
    return f"Of lines {named}{more}, each {what}."
