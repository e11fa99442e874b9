"""A person of a district sends files: with script in pieces that go on where they stopped, without as a plain form.

Both lay the files one after another into one file of `incoming()`. When all of it is there it becomes a delivery like
any other, by `rosters.syncs.receive`, and only then it is called received. It never applies by itself.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import uuid
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import BadRequest
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from connections.onboarding.entering import audit, for_people
from connections.onboarding.models import Person, Upload
from rosters import syncs, tasks
from rosters.models import Delivery

#: Bytes of the largest piece; it is held in memory until it is whole.
PIECE: Final = 4 << 20
#: An upload that nobody has gone on with for so long is given up.
ABANDONED: Final = timedelta(days=2)
#: So many uploads of one person wait for their rest; beyond, the one that has waited longest is given up.
_OPEN_AT_ONCE: Final = 3
_MOST_FILES: Final = 40

#: Code to HTTP status and words: what happened, and what to do next.
_REFUSALS: Final[dict[str, tuple[int, str]]] = {
    "SEND-NOTHING": (422, "No file came. Choose your zip, or your CSV files, and send again."),
    "SEND-KIND": (422, "These files cannot be sent. Choose one zip, or one or more CSV files, and nothing else."),
    "SEND-NAMES": (422, "Two of the files have the same name. Choose each file once."),
    "SEND-EMPTY": (422, "There is nothing in it. Export it again from your system, then send that."),
    "SEND-LARGE": (413, "That is more than {limit}, and no roster is. Look whether these are the right files."),
    "SEND-PIECE": (400, "A piece came broken. It is sent again."),
    "SEND-OFFSET": (409, "Another piece is expected. It goes on from there."),
    "SEND-ENDED": (410, "This upload was given up. Choose the files again: it begins anew."),
    "SEND-TROUBLE": (503, "It cannot be stored at our end just now. Nothing is lost: it is tried again."),
}


class Refused(Exception):
    """What cannot be taken; `code` is stable, `words` are for the person, `status` is HTTP's."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
        self.status, words = _REFUSALS[code]
        self.words = words.format(limit=filesizeformat(settings.UPLOAD_LIMIT))


# --------------------------------------------------------------------------------------------------- what is on its way


def incoming() -> Path:
    """Where bytes lie until all are there: one file for each upload, named by its uid."""
    folder: Path = settings.PORTAL_DATA_DIR / "incoming-uploads"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def begin(person: Person, files: Sequence[tuple[str, int]], mark: str, now: datetime) -> Upload:
    """The upload of these files (name, bytes): the one that the person has begun, in whatever tab, or a new one."""
    size = sum(each for _, each in files)
    name = _named([name for name, _ in files])
    if size == 0:
        raise Refused("SEND-EMPTY")
    if size > settings.UPLOAD_LIMIT:
        raise Refused("SEND-LARGE")
    about = {"district": person.district, "name": name, "files": list(files), "size": size}
    upload, _ = Upload.objects.get_or_create(
        person=person, mark=mark, status=Upload.Status.OPEN, defaults={**about, "started_at": now, "last_at": now}
    )
    others = person.uploads.filter(status=Upload.Status.OPEN).exclude(pk=upload.pk)
    for old in others.order_by("-last_at")[_OPEN_AT_ONCE - 1 :]:
        _give_up(old)
    return upload


def _named(names: Sequence[str]) -> str:
    """The name of the delivery that files of these names become."""
    if not names:
        raise Refused("SEND-NOTHING")
    kinds = {Path(name).suffix.lower() for name in names}
    fine = all(name.isprintable() and len(name) <= 255 and not set(name) & set("/\\") for name in names)
    if not fine or len(names) > _MOST_FILES or not (kinds == {".csv"} or (kinds == {".zip"} and len(names) == 1)):
        raise Refused("SEND-KIND")
    if len({name.lower() for name in names}) < len(names):
        raise Refused("SEND-NAMES")
    return names[0] if len(names) == 1 else f"{len(names)} CSV files.zip"


def append(pk: int, offset: int, piece: bytes, now: datetime) -> Upload:
    """Write the next bytes of an upload to the disk. Whoever comes with another offset than the next is told so: of two
    tabs that send the same piece one is, since the row is locked meanwhile."""
    with transaction.atomic():
        upload = Upload.objects.select_for_update().get(pk=pk)
        if upload.status == Upload.Status.KEPT:
            return upload
        if upload.status == Upload.Status.GIVEN_UP:
            raise Refused("SEND-ENDED")
        if offset != here(upload) or offset + len(piece) > upload.size:
            raise Refused("SEND-OFFSET")
        with os.fdopen(os.open(_path(upload), os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
            file.seek(offset)
            file.write(piece)
            file.truncate()  # what a process wrote that died before it could say so
            file.flush()
            os.fsync(file.fileno())
        upload.grow(now, offset + len(piece))
    return upload


def here(upload: Upload) -> int:
    """Bytes of it that are here, whatever became of the disk since."""
    try:
        return min(upload.received, _path(upload).stat().st_size)
    except FileNotFoundError:
        return 0


def keep(upload: Upload, now: datetime) -> Upload:
    """Make a delivery of an upload that is all here. The delivery, its sync, the task that prepares it and the receipt
    are one transaction; asked twice, it happens once."""
    try:
        upload = _kept(upload, now)
    except OSError:
        upload.refresh_from_db()
        if upload.status != Upload.Status.KEPT:  # else another tab was faster, and has taken it off the disk
            raise
    _path(upload).unlink(missing_ok=True)
    return upload


def _kept(upload: Upload, now: datetime) -> Upload:
    with _as_one_file(upload) as path, transaction.atomic():
        upload = Upload.objects.select_for_update().select_related("district", "person__district").get(pk=upload.pk)
        if upload.status == Upload.Status.OPEN:
            sync = syncs.receive(upload.district, path, origin=Delivery.Origin.DISTRICT, name=upload.name, now=now)
            tasks.enqueue_prepare(sync)
            upload.keep(now, sync)
            audit("person.sent", upload.person, now, sync=sync, receipt=upload.number)
    return upload


@contextmanager
def _as_one_file(upload: Upload) -> Iterator[Path]:
    """A single file as it came; several are packed into one zip. Raises OSError where not all of it is on the disk: a
    part of a loose file would look whole in there."""
    path = _path(upload)
    if path.stat().st_size != upload.size:
        raise OSError("not all of it is here")
    if len(upload.files) == 1:
        yield path
        return
    packed = path.with_name(f"{path.name}-{uuid.uuid4().hex}.zip")
    try:
        with path.open("rb") as stream, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, size in upload.files:
                with archive.open(name, "w") as member:
                    for part in range(0, size, PIECE):
                        member.write(stream.read(min(PIECE, size - part)))
        yield packed
    finally:
        packed.unlink(missing_ok=True)


def sweep(now: datetime | None = None) -> None:
    """Pupils' data does not lie about: uploads that nobody goes on with, and what a killed process left."""
    before = (now or timezone.now()) - ABANDONED
    for upload in Upload.objects.filter(status=Upload.Status.OPEN, last_at__lt=before):
        _give_up(upload)
    for left in incoming().iterdir():
        with suppress(FileNotFoundError):  # taken by somebody else in this moment
            if left.stat().st_mtime < before.timestamp():
                left.unlink()


def forget(upload: Upload) -> None:
    """Delete what came of an upload so far."""
    _path(upload).unlink(missing_ok=True)


def _give_up(upload: Upload) -> None:
    if upload.give_up():
        _path(upload).unlink(missing_ok=True)


def _path(upload: Upload) -> Path:
    return incoming() / str(upload.uid)


# ------------------------------------------------------------------------------------------------------------ the page


@require_http_methods(["GET", "POST"])
@for_people
def send(request: HttpRequest, person: Person) -> HttpResponse:
    """The page, and what its form brings where there is no script."""
    if request.method == "GET":
        return _page(request, person)
    try:
        upload = _at_once(person, request.FILES.getlist("files"), timezone.now())
    except Refused as refusal:
        return _page(request, person, refusal)
    return HttpResponseRedirect(_receipt(upload))


def _page(request: HttpRequest, person: Person, refusal: Refused | None = None) -> HttpResponse:
    context = {
        "refusal": refusal,
        "limit": settings.UPLOAD_LIMIT,
        "piece": PIECE,
        "waiting": person.uploads.filter(status=Upload.Status.OPEN).order_by("-last_at"),
    }
    return render(request, "onboarding/send.html", context, status=refusal.status if refusal else 200)


def _at_once(person: Person, sent: Sequence[Any], now: datetime) -> Upload:
    """What a form brought, all of it: Django has laid it on the disk already."""
    upload = begin(person, [(each.name or "", each.size or 0) for each in sent], uuid.uuid4().hex, now)
    with _path(upload).open("xb") as file:
        for each in sent:
            shutil.copyfileobj(each, file)
    upload.grow(now, upload.size)
    return keep(upload, now)


@require_POST
@for_people
def begun(request: HttpRequest, person: Person) -> HttpResponse:
    """The script announces {"files": [{"name", "size", "modified", "head"}]}, and learns how much of it is here."""
    try:
        announced = [
            (str(each["name"]), int(each["size"]), str(each["modified"]), str(each["head"]))
            for each in json.loads(request.body)["files"]
        ]
    except (ValueError, KeyError, TypeError, OverflowError):
        raise BadRequest("What was announced cannot be read.") from None
    if any(size < 0 for _, size, _, _ in announced):
        raise BadRequest("A size below 0 was announced.")
    mark = hashlib.sha256(json.dumps(announced).encode()).hexdigest()
    try:
        return _told(begin(person, [(name, size) for name, size, _, _ in announced], mark, timezone.now()))
    except Refused as refusal:
        return _told(None, refusal)


@require_http_methods(["PUT"])
@for_people
def piece(request: HttpRequest, person: Person, uid: uuid.UUID, offset: int) -> HttpResponse:
    """The next bytes, as they are; `Content-Digest` (RFC 9530) says what they were when they left. The last ones make
    it a delivery."""
    upload = get_object_or_404(Upload, uid=uid, person=person)
    now = timezone.now()
    try:
        upload = append(upload.pk, offset, _whole(request), now)
        if upload.status == Upload.Status.OPEN and upload.received == upload.size:
            upload = keep(upload, now)
    except Refused as refusal:
        return _told(upload, refusal)
    except OSError:
        return _told(None, Refused("SEND-TROUBLE"))
    return _told(upload)


def _whole(request: HttpRequest) -> bytes:
    """The body, if all of it came and nothing changed it."""
    try:
        body = request.read(PIECE + 1)
    except OSError:  # the line broke
        raise Refused("SEND-PIECE") from None
    digest = f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"
    if int(request.META.get("CONTENT_LENGTH") or 0) != len(body) or len(body) > PIECE:
        raise Refused("SEND-PIECE")
    if request.headers.get("Content-Digest", digest) != digest:
        raise Refused("SEND-PIECE")
    return body


def _told(upload: Upload | None, refusal: Refused | None = None) -> JsonResponse:
    """What the script goes on with: where the next piece goes and begins, or the receipt."""
    facts: dict[str, Any] = {}
    if upload is not None:
        upload.refresh_from_db()
        kept = upload.status == Upload.Status.KEPT
        received = upload.size if kept else here(upload)
        facts = {
            "received": received,
            "next": reverse("onboarding:piece", args=[upload.uid, received]),
            "receipt": _receipt(upload) if kept else "",
        }
    if refusal is not None:
        facts |= {"code": refusal.code, "words": refusal.words}
    return JsonResponse(facts, status=refusal.status if refusal else 200)


def _receipt(upload: Upload) -> str:
    return reverse("onboarding:receipt", args=[upload.uid])
