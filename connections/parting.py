"""A district leaves us: what is kept of it here, its ways in, its people and what they sent, goes before its roster."""

from __future__ import annotations

from datetime import datetime

from connections import fetching, sftp
from connections.announcing.models import Announcement
from connections.exceptions import FetchError
from connections.models import Connection
from connections.onboarding import sending
from connections.onboarding.models import Call, Person, Question, StandingLink, Upload
from rosters import syncs
from rosters.api.models import Client, SentOnce
from rosters.models import District


def purge(district_id: int, now: datetime | None = None) -> bool:
    """Delete everything of a district whose time is over, if no other worker is at it. True if it was done."""
    return syncs.purge(district_id, also=_delete, now=now)


def _delete(district: District) -> dict[str, int]:
    """How many of each there were."""
    uploads = Upload.objects.filter(district=district)
    for upload in uploads:
        sending.forget(upload)
    connections = Connection.objects.filter(district=district)
    people = Person.objects.filter(district=district)
    calls = Call.objects.filter(district=district)
    questions = Question.objects.filter(delivery__district=district)
    dropped, stuck = _dropped(district)
    counts = {
        "connections": connections.count(),
        "people of the district": people.count(),
        "calls": calls.count(),
        "questions": questions.count(),
        **({"files in its folder on our SFTP server": dropped} if dropped else {}),
        **({"files or folders there that we may not delete": stuck} if stuck else {}),
    }
    questions.delete()
    uploads.delete()
    calls.delete()
    StandingLink.objects.filter(district=district).delete()
    people.delete()
    connections.delete()
    Announcement.objects.filter(district=district).delete()
    SentOnce.objects.filter(sync__district=district).delete()
    Client.districts.through.objects.filter(district=district).delete()  # the manager of districts does not see it
    return counts


def _dropped(district: District) -> tuple[int, int]:
    """What the district laid into its folder on our own server is deleted; what is on its own server is its own."""
    try:
        return sftp.emptied(fetching.drop_folder(district))
    except FetchError:
        return 0, 0
