"""Check before sending: a set of files by the rules of a delivery, and nothing of it is kept.

What comes lies in Django's temporary files until the answer is made, and then nowhere. So everything that can be had of
a check is an answer to the files themselves: the page, the faulty rows, the corrected zip.
"""

from __future__ import annotations

import fcntl
import io
import logging
import tempfile
import time
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Final

import polars as pl
from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from connections.onboarding import repairing
from connections.onboarding.entering import for_people
from connections.onboarding.findings import checked as as_read
from connections.onboarding.findings import systems_of
from connections.onboarding.models import Person
from rosters import syncs
from rosters.explaining import checked_in_words
from rosters.explaining.moves import moves_in_all
from rosters.findings import Finding, Findings
from rosters.frames import LINE, Checked, Delivered, DeliveredTable
from rosters.models import District, Sync
from rosters.oneroster.normal import is_left_out
from rosters.oneroster.plain import NOUNS
from rosters.reading.archive import Damaged, opened
from rosters.reading.limits import MEGABYTE, Limits
from rosters.storing import formula_safe_frame
from rosters.words import Words

logger = logging.getLogger(__name__)

#: A set that is larger than this, unpacked, is not mended: that takes several times as much memory.
MENDED_UP_TO: Final = 256 * MEGABYTE
#: The longest file name of the standard has 25 letters; a disk takes 255 bytes.
_NAME: Final = 60

#: So many sets are checked at once on one machine, as each takes a core and, when it is large, hundreds of megabytes;
#: a further one waits so many seconds for its turn, and no longer, for it keeps a thread of the server meanwhile. Of a
#: district one is checked at a time.
AT_ONCE: Final = 2
WAITS: Final = 5.0
_BUSY: Final = "Several large sets are being checked just now."
_YOURS: Final = "A set of your district is being checked already."

_PLACES: Final = [str(number) for number in range(AT_ONCE)]
_REFUSED = Words("refused", "Needs a corrected file", "", "district")
_LOSES = Words("review", "Can be sent, with gaps", "", "district")
_NOT_TAKEN = Words("refused", "Would not be taken", "", "district")
_ASKED = Words("review", "Can be sent, and we would ask", "", "district")
_GOOD = Words("good", "Ready to send", "", "district")


@require_http_methods(["GET", "POST"])
@for_people
def check(request: HttpRequest, person: Person) -> HttpResponse:
    """The page; and the answer to files, which is the page, their faulty rows or a corrected zip of them."""
    if request.method == "GET":
        return _shown(request)
    sent, day = request.FILES.getlist("files"), DayForm(request.POST)
    if complaint := _complaint(sent) or day.complaint(person.district):
        return _shown(request, status=422, complaint=complaint)
    try:
        with turn_of(person.district), _laid_out(sent) as path:
            return _answer(request, person.district, path, day.cleaned_data["as_if_on"])
    except NoTurn as busy:
        return _shown(request, status=503, complaint=f"{busy} Nothing was stored; check again in a minute.")
    except CannotFinish as fault:
        return _shown(request, status=500, complaint=str(fault))


class DayForm(forms.Form):
    """The day on which the files will be sent; empty is today."""

    as_if_on = forms.DateField(required=False)

    def complaint(self, district: District) -> str:
        """Why the files cannot be checked as if they came on that day, "" if they can."""
        if not self.is_valid():
            return "That is no day. Leave the field empty for today."
        day: date | None = self.cleaned_data["as_if_on"]
        if day and syncs.not_such_a_day(district, day, dry_run=True):
            ahead = syncs.AT_MOST_AHEAD.days
            return f"Files are checked as of today, or as of a day of the {ahead} that follow."
        return ""


class NoTurn(Exception):
    """As many checks are running as may, and none ended in time; it says so."""


class CannotFinish(Exception):
    """A check ended in a fault of ours; it says so."""

    def __str__(self) -> str:
        return "We could not finish this check. The fault is ours: tell whoever looks after your district at our end."


@contextmanager
def turn_of(district: District) -> Iterator[None]:
    """Where a set of the district is checked, one at a time. Raises NoTurn, and CannotFinish for whatever goes wrong:
    the words of a fault may hold a value, so that only its name is logged."""
    with _turn([f"district-{district.pk}"], 0, _YOURS), _turn(_PLACES, WAITS, _BUSY):
        try:
            yield
        except (Exception, pl.exceptions.PanicException) as fault:
            if settings.RAISE_FAULTS:
                raise
            logger.error("a check before sending: %s", type(fault).__name__)
            raise CannotFinish from None


@contextmanager
def _turn(places: Sequence[str], waits: float, words: str) -> Iterator[None]:
    """One of these places of this machine, given back also by a process that dies: the lock on a file is the kernel's.
    Raises NoTurn with these `words`, after so many seconds."""
    folder = Path(settings.PORTAL_DATA_DIR) / "turns"
    folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + waits
    while True:
        for name in places:
            with (folder / f"check-{name}").open("w") as place:
                try:
                    fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield
                return
        if time.monotonic() >= until:
            raise NoTurn(words)
        time.sleep(0.2)


def _answer(request: HttpRequest, district: District, path: Path, day: date | None) -> HttpResponse:
    if request.POST.get("answer") == "corrected":
        files, changes = _mended(path)
        return zipped("corrected.zip", files) if changes else _shown(request, complaint="There is nothing we can mend.")
    if request.POST.get("answer") == "rows":
        rows = faulty_rows(*syncs.look_at_rows(district, path, as_if_on=day))
        return zipped("faulty-rows.zip", rows) if rows else _shown(request, complaint="No row has an error.")
    delivered, checked = syncs.look(district, path, as_if_on=day)
    found = _result(district, path, delivered, checked)
    found |= _outlook(district, path, delivered, checked)
    return _shown(request, day=day, **found, words=_words(found, checked))


def _complaint(sent: Sequence[Any]) -> str:
    """Why these files cannot be checked, "" if they can."""
    if not sent:
        return "No file came with that. Choose a zip or your CSV files."
    if sum(file.size or 0 for file in sent) > settings.UPLOAD_LIMIT:
        return f"That is more than {settings.UPLOAD_LIMIT // 2**20} MB. Check that only the roster files are in it."
    names = [_name(file) for file in sent]
    twice = next((name for name in names if names.count(name) > 1), "")
    return f"Two of the files are called {twice}. Choose the one that counts." if twice else ""


def _name(file: Any) -> str:
    return (file.name or "upload.zip")[-_NAME:]


@contextmanager
def _laid_out(sent: Sequence[Any]) -> Iterator[Path]:
    """A path that is what was sent: the one file by its own name; loose files as the zip that they would be sent as,
    for a zip needs a manifest and a folder does not. It is gone at the end."""
    with tempfile.TemporaryDirectory(dir=settings.FILE_UPLOAD_TEMP_DIR, prefix="check-") as folder:
        if len(sent) == 1:
            path = Path(folder) / _name(sent[0])
            path.symlink_to(sent[0].temporary_file_path())
        else:
            path = Path(folder) / "files.zip"
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                for file in sent:
                    archive.write(file.temporary_file_path(), _name(file))
        yield path


# ------------------------------------------------------------------------------------------------------------- the page


def _result(district: District, path: Path, delivered: Delivered, checked: Checked) -> dict[str, Any]:
    findings = checked.findings
    errors = findings.count("fatal", "error")
    judged = Sync.objects.filter(district=district).judged().order_by("-received_at", "-pk").first()
    known = set(judged.findings.values_list("code", "file", "column")) if judged else None
    systems = systems_of(district)
    told = [
        as_read(finding, delivered.version, systems, is_new=known is not None and _key(finding) not in known)
        for finding in findings
    ]
    faults = [each for each in told if each.finding.severity in ("fatal", "error")]
    # A file that is read in the district's own encoding must come in it.
    mends = not district.encoding and any(each.finding.code in repairing.MENDS for each in told)
    return {
        "verdict": checked_in_words(delivered, checked),
        "counts": [_count(name, delivered, checked) for name in delivered.tables],
        "errors": errors,
        "warnings": findings.count("warning"),
        "findings": told,
        "judged": judged,
        "new_errors": sum(each.finding.count for each in faults if each.is_new),
        "has_rows": any(each.finding.file and len(each.finding.places) for each in faults),
        "changes": _mended(path)[1] if mends else [],
    }


def _words(found: Mapping[str, Any], checked: Checked) -> Words:
    """How these files stand, in a word."""
    if checked.rejections:
        return _REFUSED
    if not found.get("taken", True):
        return _NOT_TAKEN
    if found["errors"]:
        return _LOSES
    return _ASKED if found.get("saw") else _GOOD


def _outlook(district: District, path: Path, delivered: Delivered, checked: Checked) -> dict[str, Any]:
    """What these files would change, and what would make us stop and look: what was seen, never what we make of it,
    which may tell of others. Nothing where no roster is live, or none of it would be taken."""
    folder = path.parent / "outlook"
    seen = syncs.outlook(district, delivered, checked, folder) if district.snapshot else None
    if seen is None:
        return {}
    lived = {name: facts["rows"] for name, facts in district.snapshot.tables.items()} if district.snapshot else {}
    told = any(hold.code == "WRONG_DISTRICT" for hold in seen.holds)
    moves = [] if told else [move.as_json() for move in seen.moves]
    return {
        "outlook": seen,
        "would_change": []
        if told
        else [
            {"what": NOUNS[table].many, "lived": lived.get(table, 0), **seen.counts.get(table, {})}
            for table in NOUNS
            if lived.get(table) or table in seen.counts
        ],
        "saw": [hold.saw for hold in seen.holds if not hold.explained],
        "taken": all(hold.approvable for hold in seen.holds),
        "moves": moves,
        "moves_in_all": moves_in_all(moves),
    }


def _count(name: str, delivered: Delivered, checked: Checked) -> dict[str, Any]:
    """A file in numbers: its rows, those that an import would use, and its errors and warnings."""
    table, used = delivered.tables[name], checked.tables.get(name)
    of_it = [finding for finding in checked.findings if finding.file == f"{name}.csv"]
    return {
        "file": f"{name}.csv",
        "rows": len(table.frame) + len(table.unread),
        "used": len(used.frame) if used else 0,
        "errors": sum(f.count for f in of_it if f.severity in ("fatal", "error")),
        "warnings": sum(f.count for f in of_it if f.severity == "warning"),
    }


def _key(finding: Finding) -> tuple[str, str, str]:
    """What tells findings of two deliveries apart, as they are kept."""
    return finding.code, finding.file[:80], finding.column[:255]


def _shown(request: HttpRequest, *, status: int = 200, **context: Any) -> HttpResponse:
    return render(request, "onboarding/check.html", context, status=status)


# ------------------------------------------------------------------------------------------------------- to download


def faulty_rows(delivered: Delivered, findings: Findings, left_out: Collection[str] = ()) -> dict[str, bytes]:
    """The rows that have an error, for a spreadsheet: "users-faulty-rows.csv" to a CSV file with the row's line, why it
    is faulty, and its cells without those of columns that are `left_out` (`District.not_kept`). Of a row that could not
    be read there is only the line."""
    whys: dict[str, list[pl.DataFrame]] = {}
    for finding in findings:
        if finding.severity in ("fatal", "error") and finding.file:
            why = f"{finding.column}: {finding.message}" if finding.column else finding.message
            at = finding.places.filter(pl.col(LINE) > 1)  # the first is the header, and no row
            whys.setdefault(finding.file.removesuffix(".csv"), []).append(at.select(LINE, why=pl.lit(why)))
    made: dict[str, bytes] = {}
    for name, parts in whys.items():
        why_of = pl.concat(parts).unique(maintain_order=True).group_by(LINE).agg(pl.col("why").str.join("; "))
        if len(why_of):
            table = delivered.tables.get(name)
            rows = why_of.join(_cells(table, left_out), on=LINE, how="left") if table else why_of
            text = formula_safe_frame(rows.sort(LINE)).write_csv(include_bom=True)  # Excel knows UTF-8 by its mark
            made[f"{name}-faulty-rows.csv"] = text.encode()
    return made


def _cells(table: DeliveredTable, left_out: Collection[str]) -> pl.DataFrame:
    return table.frame.drop(name for name in table.frame.columns if is_left_out(table.name, name, left_out))


def _mended(path: Path) -> tuple[dict[str, bytes], list[str]]:
    """The files at `path` with what can be mended mended, and what was changed; nothing of a set that is too large or
    cannot be opened."""
    findings = Findings()
    with opened(path, Limits(unpacked=MENDED_UP_TO), findings) as members:
        try:
            files = {member.name: b"".join(member.pieces()) for member in members}
        except Damaged:
            return {}, []
    mended, changes = repairing.repaired(files)
    if any(finding.code == "OR-CSV-003" and finding.effect == "none" for finding in findings):
        changes.insert(0, repairing.LIFTED)
    return mended, changes


def zipped(name: str, files: Mapping[str, bytes]) -> HttpResponse:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, content in files.items():
            archive.writestr(file, content)
    answer = HttpResponse(packed.getvalue(), content_type="application/zip")
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer
