"""A target worked out: the difference, what it is held for and why, and the plan that a person decides on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

import polars as pl
from django.db import transaction
from django.db.models import QuerySet

from rosters import applying, explaining, holding
from rosters.diffing import Difference, column_of, differences, patched, plan_digest, scan_of, tally
from rosters.explaining import causes
from rosters.explaining.consequences import consequences
from rosters.explaining.moves import grade_moves
from rosters.findings import Findings
from rosters.frames import NOTHING_APART, Apart, Checked, Frames
from rosters.models import District, Finding, Hold, Org, Sync, Tally, User
from rosters.oneroster.plain import listed
from rosters.scope import Scope
from rosters.storing import Store, StoredFrames
from rosters.syncs.working import Work, base_facts, ours, store

PLACES_KEPT = 10
TALLIES_KEPT = 20_000
PAST_KEPT = 400
#: So many are enough to tell whose they are.
_SOME_PEOPLE: Final = 100


def compared(sync: Sync, base: StoredFrames, target: dict[str, pl.DataFrame], where: Store | None = None) -> Difference:
    """What turns `base` into `target`, stored table by table, where the syncs' are or elsewhere. Of `target`, which is
    used up, what the rules look at is left."""

    def one_after_the_other() -> Iterator[tuple[str, pl.LazyFrame]]:
        for table, rows in differences(base, target):
            yield table, rows
            if table in target:
                target[table] = target[table].select(holding.LOOKED_AT.get(table, ("sourcedId",)))

    kept_in = where or store()
    return kept_in.draft_difference(sync.district_id, sync.pk or 0, one_after_the_other()).load()


def finish_preparing(
    work: Work,
    base: Frames,
    target: Frames,
    difference: Difference,
    findings: Findings,
    facts: dict[str, Any],
    delivered_ids: Mapping[str, pl.Series],
    left_out: Difference,
    left_alone: str = "",
    unusable: Mapping[str, str] = MappingProxyType({}),
    apart: Apart = NOTHING_APART,
) -> None:
    sync, district = work.sync, work.sync.district
    if sync.set_aside:
        with work.phase("judging"):
            whole = _situation(
                sync,
                base,
                target,
                difference,
                tally(base, difference, apart),
                "",
                facts,
                delivered_ids,
                left_out,
                unusable,
            )
            whole = replace(whole, apart=apart.stays)
            target, difference = _without_what_waits(work, whole, difference, facts)
    base_tables = district.snapshot.tables if district.snapshot else {}
    tables = applying.facts_after(base_tables, difference)
    digest = applying.digest_of(tables)
    if difference.empty and (district.version or not facts.get("modes")):
        with work.phase("storing"), transaction.atomic():
            write_findings(sync, findings)
            ours(
                sync.mark_unchanged(
                    work.now,
                    _nothing_changed(sync, facts, left_alone),
                    target_digest=digest,
                    seconds=work.seconds,
                    **facts,
                    **base_facts(district),
                )
            )
        return
    with work.phase("judging"):
        lines = tally(base, difference, apart)
        situation = _situation(sync, base, target, difference, lines, digest, facts, delivered_ids, left_out, unusable)
        situation = replace(situation, apart=apart.stays)
        holds, year = judged(situation, district.hold_limits)
        left = consequences(base, target, difference)
        moves = grade_moves(base, difference)
    counts = difference.counts
    with work.phase("storing"):
        plan, people = plan_digest(district.version, difference), explaining.people_affected(difference)
        if strange := [h for h in holds if h.code == "WRONG_DISTRICT"]:
            # Another district's names are kept nowhere that somebody of this one may look.
            findings = findings.without_places()
            if not all(h.approvable for h in strange):
                lines = lines.filter(pl.col("dimension") == "")
                left, moves = left.clear(), []
                store().draft_difference(district.pk, sync.pk, ())
        stored = store().show_difference(district.pk, sync.pk)
        if any(h.code == "ID_CHURN" for h in holds) and left_out.empty:
            store().write_known_again(district.pk, sync.pk, plan, situation.known_again)
        if len(left):
            store().write_left(district.pk, sync.pk, plan, left)
        verdict = _verdict(sync, counts, holds, holding.nothing_lives(base), year)
        totals = {kind: sum(c[kind] for c in counts.values()) for kind in ("added", "updated", "removed")}
        values = {
            **facts,
            **base_facts(district),
            **totals,
            "target_digest": digest,
            "target_tables": tables,
            "plan_digest": plan,
            "plan_files": stored.seals(),
            "people_affected": people,
            "grade_moves": [move.as_json() for move in moves],
            "consequences": dict(left["kind"].value_counts().iter_rows()),
        }
    with transaction.atomic():
        with work.phase("storing"):
            write_findings(sync, findings)
            _write_tallies(sync, lines)
            _write_holds(sync, holds)
        mark = sync.mark_ready if not holds and not sync.undoes_id else sync.mark_awaiting_review
        if sync.dry_run:
            mark = sync.mark_planned
        ours(mark(work.now, verdict, seconds=work.seconds, **values))


#: What is looked at to tell whose file it is.
_TELLING: Final = {"orgs": ("identifier",), "users": ("username", "identifier", "email", "familyName")}


def mark_anothers(sync: Sync, base: Frames, checked: Checked, modes: Mapping[str, str]) -> bool:
    """Whether a file that is refused seems to be another district's, too: then that is written down, for nothing of it
    may be shown to, or taken out by, this one."""
    come = {}
    for table, cells in _TELLING.items():
        if modes.get(table) == "bulk" and table in checked.tables and len(rows := checked.tables[table].frame):
            said = [pl.col(cell) if cell in rows.columns else pl.lit("").alias(cell) for cell in cells]
            come[table] = rows.select("sourcedId", *said)
    ids = {table: rows["sourcedId"] for table, rows in come.items()}
    new = {table: rows.with_columns(kind=pl.lit("added")) for table, rows in come.items() if table == "users"}
    situation = holding.Situation(
        base=base,
        target=come,
        difference=Difference(new),
        tally=pl.DataFrame(),
        base_version=sync.district.version,
        modes=dict.fromkeys(come, "bulk"),
        delivered_ids=ids,
        other_districts=lambda: _other_districts(sync.district, ids.get("orgs", pl.Series(dtype=pl.String))),
        apart=checked.stays,
    )
    found = holding.another_districts(situation, sync.district.hold_limits) if come else []
    _write_holds(sync, found)
    return bool(found)


def _without_what_waits(
    work: Work, whole: holding.Situation, difference: Difference, facts: dict[str, Any]
) -> tuple[Frames, Difference]:
    """The target and the `difference` without what the sync leaves for later (`Sync.set_aside`); `facts` say how much.
    The situation is judged without what goes for not being kept; the plan is to have that, too.

    It is asked of the delivery as it is now, for the roster may have moved since somebody decided so: what is no longer
    unusual is not left for later.
    """
    sync, district = work.sync, work.sync.district
    aside = [holding.Which(*each) for each in sync.set_aside]
    waits = holding.parted(whole.difference, holding.judge(whole, district.hold_limits), aside)
    facts["waiting"] = sum(len(ids) for ids in waits.values())
    if not waits:
        return whole.target, difference
    difference = store().narrow_draft(district.pk, sync.pk, waits).load()
    target = {name: frame for name, frame in whole.target.items() if name not in waits}
    for table in waits:
        rows = scan_of(whole.base, table)
        if table in difference.tables:
            rows = patched(rows, difference.scan(table))
        target[table] = rows.select(holding.LOOKED_AT.get(table, ("sourcedId",))).collect()
    return {name: frame for name, frame in target.items() if len(frame)}, difference


def foreseen(
    sync: Sync,
    base: StoredFrames,
    target: Frames,
    difference: Difference,
    facts: dict[str, Any],
    delivered_ids: Mapping[str, pl.Series],
    unusable: Mapping[str, str],
) -> tuple[list[holding.HoldFound], str, str]:
    """What a sync that is kept nowhere would be held for, the verdict in words, and, where it is the turn of a school
    year, a sentence that says so."""
    district = sync.district
    digest = applying.digest_of(applying.facts_after(district.snapshot.tables if district.snapshot else {}, difference))
    lines, nothing = tally(base, difference), Difference({})
    situation = _situation(sync, base, target, difference, lines, digest, facts, delivered_ids, nothing, unusable)
    holds, year = judged(situation, district.hold_limits)
    words = _verdict(sync, difference.counts, holds, holding.nothing_lives(base), year)
    return holds, words, year.sentence if year else ""


def _wanted(situation: holding.Situation, not_kept: Sequence[str]) -> holding.Situation:
    """The situation without that what the district does not want kept goes: it was decided, and nothing is unusual."""
    if not not_kept:
        return situation
    changes = causes.no_longer_kept(situation.difference, not_kept)
    rest = causes.without(situation.difference, situation.tally, changes=changes) if changes else None
    if rest is None:
        return replace(situation, not_kept=not_kept)
    return replace(situation, difference=rest.difference, tally=rest.tally, not_kept=not_kept)


def judged(
    situation: holding.Situation, limits: Mapping[str, float]
) -> tuple[list[holding.HoldFound], causes.NewYear | None]:
    """The holds of a sync: a cause before what it does not explain, what only follows from it last."""
    holds = holding.judge(situation, limits)
    if year := causes.new_school_year(situation.base, situation.difference, situation.tally):
        holds = [replace(hold, explained=year.explains(hold.code, hold.table)) for hold in holds]
        return sorted(holds, key=lambda hold: hold.explained), year
    return _traced(situation, holds, limits), None


def _traced(
    situation: holding.Situation, holds: list[holding.HoldFound], limits: Mapping[str, float]
) -> list[holding.HoldFound]:
    """Which holds would not be without one that stands before them: judged once more without what that one accounts
    for, and so on with the next that still stands. What was only added is not taken apart."""
    if len(holds) == 1 or not situation.left_out.empty:
        return holds
    changes: dict[str, pl.Expr] = {}
    schools: set[str] = set()
    standing = {_which(hold) for hold in holds}
    asked: set[_Which] = set()  # they stand whatever is taken away after them: their own changes are
    leading: set[_Which] = set()
    for hold in sorted(holds, key=lambda hold: hold.code != "ID_CHURN"):  # schools and terms come again with their ids
        if hold.accounts is None or _which(hold) not in standing:
            continue
        asked.add(_which(hold))
        for table, expression in hold.accounts.changes.items():
            changes[table] = changes[table] | expression if table in changes else expression
        schools |= set(hold.accounts.schools)
        rest = causes.without(situation.difference, situation.tally, changes=changes, schools=schools)
        if rest is None:
            break
        alone = holding.judge(replace(situation, difference=rest.difference, tally=rest.tally), limits)
        still = asked | {_which(other) for other in alone}
        if standing - still:
            leading.add(_which(hold))
        standing &= still
    traced = [replace(hold, explained=_which(hold) not in standing) for hold in holds]
    return sorted(traced, key=lambda hold: (hold.explained, _which(hold) not in leading))


#: Code, table and dimension of a hold; of these there is one in a sync.
_Which = tuple[str, str, str]


def _which(hold: holding.HoldFound) -> _Which:
    return hold.code, hold.table, hold.dimension


def _of_it(sync: Sync) -> str:
    """What of the sync that it undoes an undo takes back."""
    only = sync.undo_only
    school = Org.objects.filter(district=sync.district_id, sourced_id=only.get("school", "")).first()
    where = f" of {school.name}" if school else " of one school" if only.get("school") else ""
    return f"{only.get('kind', '') or 'changed'}{where}"


def _nothing_changed(sync: Sync, facts: Mapping[str, Any], left_alone: str) -> str:
    if sync.undoes_id:
        return "Nothing is left to undo: what that sync changed has changed again since, or is needed now."
    if facts.get("waiting"):
        return "Nothing changed: all that this file changes is left for later."
    if facts.get("left_out"):
        return "Nothing changed: this file brings nothing new, and what it leaves out stays, for it may only add."
    if not facts.get("modes"):
        return "Nothing changed: no file with rows came. What we have stays as it is."
    unused = facts.get("quarantined", 0)
    rows = f"{explaining.counted(unused, 'row')} cannot be used" if unused else ""
    if left_alone or rows:
        but = listed([words for words in (left_alone, rows) if words])
        return f"Nothing changed: what came is live already. But {but}; what we have of that stays as it is."
    return "Nothing changed: the roster in this file is the one that is live."


def _verdict(
    sync: Sync,
    counts: Mapping[str, Mapping[str, int]],
    holds: Sequence[holding.HoldFound],
    first: bool,
    year: causes.NewYear | None,
) -> str:
    if sync.undoes_id:
        return f"Would take back what that sync {_of_it(sync)}: {explaining.difference_in_words(counts)}"
    if year and holds and all(h.approvable for h in holds):
        others = [h.saw for h in holds if not h.explained]
        words = year.verdict(others, len(holds) - len(others))
    else:
        others = [h.saw for h in holds if not h.explained]
        words = explaining.verdict(counts, others, first=first, following=len(holds) - len(others))
    return words.replace("Held:", "Would be held:", 1) if sync.dry_run else words


def _situation(
    sync: Sync,
    base: Frames,
    target: Frames,
    difference: Difference,
    lines: pl.DataFrame,
    digest: str,
    facts: dict[str, Any],
    delivered_ids: Mapping[str, pl.Series],
    left_out: Difference,
    unusable: Mapping[str, str],
) -> holding.Situation:
    district = sync.district
    applied = district.syncs.filter(status="applied", undoes=None).select_related("delivery")
    previous = _of_the_same(applied, sync).order_by("-applied_at").first()
    modes = facts.get("modes", {})
    parts = _parts_since(applied, previous, sync) if "bulk" in modes.values() else []
    by_files = all(one is None or not one.delivery or one.delivery.origin != "rest" for one in (sync, previous))
    earlier = district.snapshots.filter(version__lt=district.version).order_by("version")
    orgs = delivered_ids["orgs"] if "orgs" in delivered_ids else column_of(target, "orgs", "sourcedId")
    situation = holding.Situation(
        base=base,
        target=target,
        difference=difference,
        tally=lines,
        target_digest=digest,
        base_version=district.version,
        modes=modes,
        previous_modes=previous.modes if previous else {},
        # What an API sends has no header: its columns are those that happen to be filled.
        headers=facts.get("headers", {}) if by_files else {},
        previous_headers=previous.headers if previous and by_files else {},
        earlier_digests=dict(earlier.values_list("digest", "version")),
        last_modified=facts.get("last_modified", ""),
        delivered_ids=delivered_ids,
        left_out=left_out,
        previous_last_modified=max([previous.last_modified if previous else "", *parts]),
        history=_history(sync),
        other_districts=lambda: _other_districts(district, orgs),
        whose_people=lambda people: _whose_people(district, people),
        is_undo=sync.is_undo,
        oneroster_version=facts.get("oneroster_version", ""),
        unusable=unusable,
    )
    return _wanted(situation, district.not_kept)


def _of_the_same(earlier: QuerySet[Sync], sync: Sync) -> QuerySet[Sync]:
    """Of `earlier` syncs those that speak for the same schools as this one, for others come from another system: with
    other columns and files, and from another hour. Where there is none yet, those that speak for the whole district."""
    same = earlier.filter(speaks_for=sync.speaks_for)
    return same if not sync.speaks_for or same.exists() else earlier.filter(speaks_for={})


def _parts_since(applied: QuerySet[Sync], previous: Sync | None, sync: Sync) -> list[str]:
    """The newest record of each delivery that is live for a part of what this one speaks for, since the `previous` one
    of all of it: a file that has everything is no older than those, a file of changes may well be."""
    later = applied.filter(undone_at=None, **({"applied_at__gt": previous.applied_at} if previous else {}))
    mine = Scope.from_json(sync.speaks_for)
    newest = {
        str(said): last_modified
        for said, last_modified in later.order_by("applied_at").values_list("speaks_for", "last_modified")
        if mine.includes(Scope.from_json(said))
    }
    return list(newest.values())


def _history(sync: Sync) -> list[holding.Past]:
    """The shares of earlier applied syncs, newest first."""
    applied = sync.district.syncs.filter(status="applied", undoes=None, undone_at=None, base_version__gt=0)
    recent = {s.pk: s for s in _of_the_same(applied, sync).order_by("-applied_at")[:PAST_KEPT]}
    shares: dict[int, dict[str, dict[str, float]]] = {pk: {} for pk in recent}
    for line in Tally.objects.filter(sync__in=list(recent), dimension="", before__gt=0):
        of = {kind: line.before - line.apart.get(kind, 0) for kind in ("removed", "updated")}
        shares[line.sync_id][line.table] = {kind: getattr(line, kind) / number for kind, number in of.items() if number}
    return [holding.Past(s.applied_at.date(), shares[pk]) for pk, s in recent.items() if s.applied_at]


def _other_districts(district: District, orgs: pl.Series) -> dict[str, frozenset[str]]:
    """Name to the sourcedIds of the live orgs, of each other district that could have just these: it has the first."""
    if not len(orgs):
        return {}
    others = District.with_leaving.filter(version__gt=0).exclude(pk=district.pk).values_list("pk", flat=True)
    like = Org.objects.filter(district__in=list(others), sourced_id=orgs.min(), status="active").values("district")
    found: dict[str, set[str]] = {}
    rows = Org.objects.filter(district__in=list(like.values_list("district", flat=True)), status="active")
    for name, sourced_id in rows.values_list("district__name", "sourced_id").iterator():
        found.setdefault(name, set()).add(sourced_id)
    return {name: frozenset(ids) for name, ids in found.items()}


def _whose_people(district: District, people: pl.DataFrame) -> str:
    """The name of another district where at least half of some of these `people` live, under the same id and family
    name; "" for none. An id alone may be anybody's."""
    some = people.head(_SOME_PEOPLE)
    others = list(District.with_leaving.filter(version__gt=0).exclude(pk=district.pk).values_list("pk", flat=True))
    lived = User.objects.filter(district__in=others, sourced_id__in=some["sourcedId"].to_list(), status="active")
    named = set(some.rows())
    same = Counter(
        name
        for name, *person in lived.values_list("district__name", "sourced_id", "family_name")
        if tuple(person) in named
    )
    return next((name for name, number in same.most_common(1) if 2 * number >= len(some)), "")


def checked_before(sync: Sync) -> Sync | None:
    """The delivery that was checked before this one, of the same schools; not the same file, looked at again."""
    earlier = Sync.objects.filter(district=sync.district_id, received_at__lt=sync.received_at)
    others = earlier.exclude(delivery=sync.delivery_id).judged()
    return _of_the_same(others, sync).order_by("-received_at", "-pk").first()


def write_findings(sync: Sync, findings: Findings) -> None:
    ordered = findings.ordered()
    store().write_places(sync.district_id, sync.pk, findings)
    before = checked_before(sync)
    known = set(before.findings.values_list("code", "file", "column")) if before else None
    sync.findings.all().delete()
    Finding.objects.bulk_create(
        Finding(
            sync=sync,
            position=position,
            code=f.code,
            severity=f.severity,
            file=f.file[:80],
            column=f.column[:255],
            count=f.count,
            message=f.message,
            next_step=f.next_step,
            effect=f.effect,
            places=f.places.head(PLACES_KEPT).to_dicts(),
            is_new=known is not None and (f.code, f.file[:80], f.column[:255]) not in known,
        )
        for position, f in enumerate(ordered)
    )


def _write_tallies(sync: Sync, lines: pl.DataFrame) -> None:
    sync.tallies.all().delete()
    Tally.objects.bulk_create(
        [Tally(sync=sync, **_as_kept(**row)) for row in lines.head(TALLIES_KEPT).to_dicts()], batch_size=2000
    )


def _as_kept(*, key: str, label: str, before: int, beside: int, apart: int, **row: Any) -> dict[str, Any]:
    """A line of the tally as it is kept, and shown: of all records that were."""
    stay = beside + apart
    told = {"removed": stay, "updated": apart} if stay else {}
    return {**row, "key": key[:255], "label": label[:255], "before": before + stay, "apart": told}


def _write_holds(sync: Sync, holds: Sequence[holding.HoldFound]) -> None:
    sync.holds.all().delete()
    Hold.objects.bulk_create(
        Hold(
            sync=sync,
            position=position,
            code=h.code,
            approvable=h.approvable,
            table=h.table,
            dimension=h.dimension,
            key=h.key[:255],
            saw=h.saw,
            usual=h.usual,
            meaning=h.meaning,
            next_step=h.next_step,
            numbers=h.numbers,
            explained=h.explained,
        )
        for position, h in enumerate(holds)
    )
