"""The brief of a call: what is known of a district before anybody picks up the phone, and what is left to ask.

Every fact says where it comes from; what nobody knows yet is a question. No pupil's name, no secret.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from connections.models import SECRETS, Connection, latest_attempts
from connections.onboarding.home import steps
from connections.vendors import VENDORS
from connections.words import connection_words
from rosters import syncs
from rosters.explaining import counted
from rosters.findings import Findings
from rosters.models import AcademicSession, District, Finding, Sync
from rosters.oneroster.products import PRODUCTS
from rosters.reading.archive import Damaged
from rosters.reading.manifest import properties_of
from rosters.storing import StoredDifference
from rosters.words import SYNC_WORDS, TABLE_WORDS

FINDINGS_SHOWN: Final = 5
_MANIFEST_BYTES: Final = 64 * 1024
_TERMS_SHOWN: Final = 4
#: Tables whose size says how large a district is.
_SIZES: Final = ("orgs", "classes", "users", "enrollments")


@dataclass(frozen=True, slots=True)
class Fact:
    """A line of the brief. Where `known` is "", nobody knows: then `ask` is the question."""

    label: str
    known: str
    source: str = ""
    ask: str = ""


@dataclass(frozen=True, slots=True)
class Topic:
    title: str
    facts: tuple[Fact, ...]


def brief(district: District, now: datetime) -> list[Topic]:
    """What is known, topic by topic, in the order of a call."""
    connections = list(district.connections.order_by("pk"))
    came = list(
        district.syncs.filter(undoes=None)
        .select_related("delivery", "district__snapshot")
        .order_by("received_at", "pk")
    )
    judged = [sync for sync in came if sync.status not in Sync.RUNNING and sync.headers]
    latest = judged[-1] if judged else None
    found = [
        Topic("The district", (*_district(district, now), *_people(district, now))),
        Topic("Its system", tuple(_system(connections, latest))),
        Topic("How large it is", tuple(_sizes(district, latest))),
        Topic("Terms", tuple(_terms(district, latest, now))),
        Topic("How its roster comes to us", tuple(_ways(connections))),
        Topic("What came so far", tuple(_came(came, judged))),
        Topic("Still open on the way to launch", tuple(_open_steps(district, connections, came))),
    ]
    return [topic for topic in found if topic.facts]


def as_text(topics: list[Topic]) -> str:
    """The brief for a mail."""
    lines = []
    for topic in topics:
        lines += ["", topic.title.upper()]
        for fact in topic.facts:
            said = f"{fact.known} ({fact.source})" if fact.known and fact.source else fact.known
            lines.append(f"- {fact.label}: {said or f'not known. Ask: {fact.ask}'}")
    return "\n".join(lines).strip()


# ----------------------------------------------------------------------------------------------------------- the topics


def _district(district: District, now: datetime) -> Iterator[Fact]:
    yield Fact("Site code", district.site_code, "its settings")
    yield Fact("Clock", f"{district.time_zone}, where it is {now.astimezone(district.zone):%H:%M} now", "its settings")
    titles = [PRODUCTS[name].name for name in district.products if name in PRODUCTS]
    yield Fact("Products", ", ".join(titles), "its settings", "Which of our products do they use?")


def _people(district: District, now: datetime) -> Iterator[Fact]:
    people = list(district.people.filter(ended_at=None))
    known = ", ".join(f"{one.name} ({one.role}, {_seen(one.last_seen_at)})" for one in people)
    yield Fact("People", known, "invitations", "Who looks after the export, and who stands in for them in summer?")
    if people and not any(one.answers_for_it for one in people):
        yield Fact("Owner", "", "", "Who answers for the district and may enter credentials?")


def _seen(moment: datetime | None) -> str:
    return f"here last on {moment:%-d %b}" if moment else "has not come in yet"


def _system(connections: list[Connection], latest: Sync | None) -> Iterator[Fact]:
    ask = "Which student information system do they use, and who runs its export?"
    for connection in connections:
        if connection.vendor in VENDORS:
            vendor = VENDORS[connection.vendor]
            yield Fact("System", vendor.name, "the settings of its connection")
            if vendor.quirks:
                yield Fact("Worth knowing", " ".join(vendor.quirks), "what is public about that system")
            return
    if latest is None:
        yield Fact("System", "", "", ask)
        return
    said = _manifest_of(latest)
    name = said.get("source.systemName", "")
    name = "" if name == "absent" else name  # what some programs write into every property they do not know
    guess, reason = guess_vendor(name, latest.headers)
    if guess:
        yield Fact("System", f"probably {VENDORS[guess].name}", reason)
    else:
        yield Fact("System", name, "what manifest.csv says", ask)
    yield Fact("Format", f"OneRoster {latest.oneroster_version} as CSV", "the latest file")
    extra = sorted(
        {column for header in latest.headers.values() for column in header if column.startswith("metadata.")}
    )
    if extra:
        yield Fact("Columns of its own", ", ".join(extra[:8]), "headers of the latest file")


def guess_vendor(system: str, headers: Mapping[str, list[str]]) -> tuple[str, str]:
    """Which of `VENDORS` a file comes from, by its key, and what tells it; ("", "") where nothing does.

    `system`: what the manifest calls it; `headers`: table to its columns.
    """
    columns = {column.lower() for header in headers.values() for column in header}
    for key, vendor in VENDORS.items():
        mark = next((mark for mark in vendor.marks if any(column.startswith(mark) for column in columns)), "")
        if mark:
            return key, f"columns that begin with {mark}"
    spoken = _plain(system)
    if not spoken:
        return "", ""
    for key, vendor in VENDORS.items():
        if _plain(vendor.name) in spoken or spoken in _plain(vendor.name):
            return key, f"manifest.csv calls it {system}"
    return "", ""


def _plain(name: str) -> str:
    """Letters and digits alone, without what stands in brackets."""
    return re.sub(r"[^a-z0-9]", "", re.sub(r"\(.*?\)", "", name.lower()))


def _manifest_of(sync: Sync) -> dict[str, str]:
    """What the manifest of a delivery says, {} where it has none that can be read: it was judged when it came."""
    assert sync.delivery is not None
    path = syncs.store().original(sync.district_id, sync.delivery.sha256)
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.rpartition("/")[2].lower() == "manifest.csv")
            with archive.open(name) as member:
                text = member.read(_MANIFEST_BYTES).decode("utf-8-sig")
        return properties_of(text, Findings())
    except (OSError, StopIteration, RuntimeError, NotImplementedError, UnicodeDecodeError, zipfile.BadZipFile, Damaged):
        return {}


def _sizes(district: District, latest: Sync | None) -> Iterator[Fact]:
    tables, source = {}, ""
    if latest is not None and latest.target_tables:
        tables, source = latest.target_tables, "the latest file"
    elif district.snapshot is not None:
        tables, source = district.snapshot.tables, "the live roster"
    for table in _SIZES:
        rows = tables.get(table, {}).get("rows")
        ask = "" if table != "users" else "How many schools, students and teachers are there?"
        if rows is not None or ask:
            yield Fact(TABLE_WORDS[table], f"{rows:,}" if rows is not None else "", source, ask)
    if latest is not None:
        by_role = {
            tally.key: tally.after
            for tally in latest.tallies.filter(table="users", dimension="role", key__in=("student", "teacher"))
        }
        for role, count in sorted(by_role.items()):
            yield Fact(f"{role.title()}s", f"{count:,}", source)


def _terms(district: District, latest: Sync | None, now: datetime) -> Iterator[Fact]:
    sessions, source = _sessions(district, latest)
    ask = "When does the school year begin and end, and when are ids and classes renewed?"
    if not sessions:
        yield Fact("School year", "", "", ask)
        return
    years = [one for one in sessions if one["type"] == "schoolYear"] or sessions
    first, last = min(one["startDate"] for one in years), max(one["endDate"] for one in years)
    yield Fact("School year", f"{first} to {last}", source)
    today = district.local_date(now).isoformat()
    current = list(dict.fromkeys(one["title"] for one in sessions if one["startDate"] <= today <= one["endDate"]))
    yield Fact(
        "Covers today",
        ", ".join(current[:_TERMS_SHOWN]),
        source,
        "No term of the file covers today: which is the current one?",
    )


def _sessions(district: District, latest: Sync | None) -> tuple[list[dict[str, str]], str]:
    columns = ("title", "type", "startDate", "endDate")
    if district.version:
        live = AcademicSession.objects.filter(district=district, status="active")
        rows = live.values_list("title", "type", "start_date", "end_date")[:500]
        return [dict(zip(columns, row, strict=True)) for row in rows], "the live roster"
    if latest is None or not latest.plan_digest:
        return [], ""
    stored: StoredDifference = syncs.store().difference(district.pk, latest.pk)
    if "academicSessions" not in stored.tables:
        return [], ""
    found = stored.scan("academicSessions").select(pl.col(columns).fill_null("")).head(500).collect()
    return found.to_dicts(), "the latest file"


def _ways(connections: list[Connection]) -> Iterator[Fact]:
    if not connections:
        yield Fact("Connection", "", "", "Will it be SFTP or the API of their system, and who has the credentials?")
    latest = latest_attempts(connections)
    for connection in connections:
        label = connection.get_kind_display()
        yield Fact(label, connection_words(connection, latest.get(connection.pk)).word, "its last attempt")
        has = [words for name, words in SECRETS.items() if connection.has_secret(name)]
        yield Fact(
            f"{label}, credentials",
            f"{' and '.join(has)} present" if has else "",
            "the connection's settings",
            "Who enters the credentials, under Connection on their pages?",
        )
        checkup = connection.checkups.exclude(ended_at=None).first()
        if checkup is None:
            yield Fact(f"{label}, test", "", "", "Can we test it together, in this call?")
        else:
            failed = [step for step in checkup.steps if step["outcome"] == "failed"]
            said = f"stopped at {failed[0]['name']}: {failed[0]['words']}" if failed else "every step passed"
            yield Fact(f"{label}, test", said, f"tested on {checkup.started_at:%-d %b}")


def _came(came: list[Sync], judged: list[Sync]) -> Iterator[Fact]:
    if not came:
        yield Fact("Deliveries", "", "", "Can they export a first file while we talk, and check it under Check a file?")
        return
    yield Fact("Deliveries", f"{len(came):,}, the latest: {SYNC_WORDS[came[-1].status].word}", "what was received")
    if not judged:
        return
    first = judged[0]
    yield Fact("First file", f"{counted(first.errors, 'error')}, {counted(first.warnings, 'warning')}", "its check")
    alike: dict[tuple[str, str], list[Finding]] = {}
    for finding in first.findings.exclude(severity="info"):
        alike.setdefault((finding.code, finding.message), []).append(finding)
    for (code, message), group in list(alike.items())[:FINDINGS_SHOWN]:
        times = sum(finding.count for finding in group)
        yield Fact(f"{code}, {_places(group)}", f"{times:,}: {message} {group[0].next_step}", "its check")


def _places(group: list[Finding]) -> str:
    """Where findings that say the same are: the first place, and in how many more."""
    first = " ".join(filter(None, (group[0].file, group[0].column)))
    return first if len(group) == 1 else f"{first} and {len(group) - 1} more"


def _open_steps(district: District, connections: list[Connection], came: list[Sync]) -> Iterator[Fact]:
    for step in steps(district, connections, came):
        if not step.done:
            yield Fact(
                step.next_step.rstrip("."),
                "our move" if step.whose == "staff" else "the district's move",
                "its checklist",
            )
