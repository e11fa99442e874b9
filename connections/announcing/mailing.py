"""What waits for a member of our staff, mailed: each weekday morning, and at once to who wants that.

A mail names districts, states and counts and leads to the page of each. What a verdict says stays there: it may name a
school, and a mail holds no roster value. As long as something waits it stands in each morning's mail; what nobody has
decided for days is told to the managers too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.mail import send_mail
from django.db.models import Count, F, Q
from django.template.defaultfilters import filesizeformat
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from connections.announcing.models import Mailing
from connections.models import IN_TROUBLE, Connection, latest_attempts
from connections.onboarding.asking import latest_questions
from connections.onboarding.words import question_words
from connections.words import connection_words
from rosters import syncs
from rosters.admin.districts import latest_syncs
from rosters.explaining import counted
from rosters.models import AuditEvent, District, Sync
from rosters.words import SYNC_WORDS

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

logger = logging.getLogger(__name__)

MANAGERS: Final = "manager"
#: The audit row of whoever said what they wish.
CHANGED: Final = "mailing.changed"
#: A sync that waits for so long is told to the managers, whoever its district belongs to.
UNDECIDED_FOR: Final = timedelta(days=4)
#: After a mail server that did not take a mail.
AGAIN_AFTER: Final = timedelta(minutes=10)
#: What came to rest so lately may not be written yet: it is told the next minute.
SETTLES: Final = timedelta(minutes=1)
_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Letter:
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """Something that waits: of which district, "" for none, in words, and the page where it is seen to."""

    district: str
    words: str
    url: str


@dataclass(frozen=True, slots=True)
class Part:
    title: str
    lines: list[Line]

    @property
    def shown(self) -> list[Line]:
        return self.lines[:_SHOWN]

    @property
    def more(self) -> int:
        return max(len(self.lines) - _SHOWN, 0)


# ----------------------------------------------------------------------------------------------------- what is in them


def morning(staff: Staff, now: datetime, since: datetime) -> Letter | None:
    """What waits for this person, and what came for their districts after `since`; None where nothing waits."""
    if not staff.has_perm("rosters.view_sync"):
        return None
    parts = [part for part in _parts(staff, now) if part.lines]
    if not parts:
        return None
    waiting = len({line.district for part in parts for line in part.lines if line.district})
    subject = f"{counted(waiting, 'district')} {'waits' if waiting == 1 else 'wait'} for somebody"
    return Letter(subject if waiting else parts[0].title, _text(parts, came=_came(staff, since, now)))


def at_once(staff: Staff, since: datetime, now: datetime) -> Letter | None:
    """What has begun to wait for this person after `since`, up to now; None if nothing has."""
    if not staff.has_perm("rosters.view_sync"):
        return None
    found = Sync.objects.filter(district__owner=staff, status__in=(*Sync.WAITING, *Sync.STUCK), status_since__gt=since)
    lines = list(_of_syncs(found.filter(status_since__lte=now), now, since=False))
    if not lines:
        return None
    subject = f"{lines[0].district}: {lines[0].words}" if len(lines) == 1 else f"{counted(len(lines), 'sync')} wait"
    return Letter(subject, _text([Part("Now", lines)]))


def _parts(staff: Staff, now: datetime) -> Iterator[Part]:
    manages = _manages(staff)
    mine = District.objects.filter(Q(owner=staff) | (Q(owner=None) if manages else Q(pk=None)))
    latest = Sync.objects.filter(pk__in=latest_syncs(mine))
    differing = (District.objects.all() if manages else mine).exclude(verification_faults=[]).order_by("name")
    yield Part(
        "Live rosters that are not what was accepted",
        [Line(d.name, "tell the developers", _url("rosters_district", d.pk)) for d in differing],
    )
    if manages and (room := syncs.little_room()):
        free, total = map(filesizeformat, room)
        words = f"{free} of {total} are left; tell whoever runs the portal"
        yield Part("The portal's disk is nearly full", [Line("", words, settings.PORTAL_URL + reverse("admin:index"))])
    yield Part("Waits for a decision", list(_of_syncs(latest.filter(status__in=Sync.WAITING), now)))
    yield Part("Needs a corrected file, or failed", list(_of_syncs(latest.filter(status__in=Sync.STUCK), now)))
    if staff.has_perm("connections.view_connection"):
        yield Part("Cannot connect, or late", list(_of_connections(mine)))
    if manages:
        others = District.objects.exclude(pk__in=mine.values("pk"))
        old = Sync.objects.filter(
            pk__in=latest_syncs(others), status__in=Sync.WAITING, status_since__lt=now - UNDECIDED_FOR
        )
        yield Part("Others' districts, undecided for days", list(_of_syncs(old, now)))


def _manages(staff: Staff) -> bool:
    return staff.is_superuser or staff.groups.filter(name=MANAGERS).exists()


def _of_syncs(found: Any, now: datetime, *, since: bool = True) -> Iterator[Line]:
    found = list(found.select_related("district").order_by("status_since", "pk"))
    asked = latest_questions(found)
    for sync in found:
        words = SYNC_WORDS[sync.status].word[:1].lower() + SYNC_WORDS[sync.status].word[1:]
        count = sync.people_affected
        people = f"; {count:,} {'person' if count == 1 else 'people'} concerned" if count else ""
        waited = f" for {_span(now - sync.status_since)}" if since else ""
        question = asked.get(sync.delivery_id or 0)
        answer = f"; the district was asked: {question_words(question).word.lower()}" if question else ""
        yield Line(sync.district.name, f"{words}{waited}{people}{answer}", _url("rosters_sync", sync.pk))


def _of_connections(districts: Any) -> Iterator[Line]:
    found = list(Connection.objects.filter(IN_TROUBLE, district__in=districts.values("pk")).select_related("district"))
    latest = latest_attempts(found)
    for connection in sorted(found, key=lambda each: each.district.name):
        words = connection_words(connection, latest.get(connection.pk)).word
        told = f"{connection.get_kind_display()}: {words[:1].lower()}{words[1:]}"
        yield Line(connection.district.name, told, _url("connections_connection", connection.pk))


def _came(staff: Staff, since: datetime, now: datetime) -> dict[str, int]:
    """How many deliveries came for the districts of this person, and what became of them."""
    came = Sync.objects.filter(
        district__owner=staff, delivery__isnull=False, received_at__gt=since, received_at__lte=now
    )
    return came.aggregate(
        all=Count("pk"),
        applied=Count("pk", filter=Q(status=Sync.Status.APPLIED)),
        unchanged=Count("pk", filter=Q(status=Sync.Status.UNCHANGED)),
    )


def _text(parts: list[Part], came: dict[str, int] | None = None) -> str:
    mails = f"{settings.PORTAL_URL}{reverse('admin:mails')}"
    return render_to_string("emails/waiting.txt", {"parts": parts, "came": came, "mails": mails})


def _url(model: str, pk: int) -> str:
    return f"{settings.PORTAL_URL}{reverse(f'admin:{model}_change', args=[pk])}"


def _span(passed: timedelta) -> str:
    hours = int(passed.total_seconds() // 3600)
    if hours < 1:
        return "less than an hour"
    return counted(hours, "hour") if hours < 48 else counted(passed.days, "day")


# ------------------------------------------------------------------------------------------------------- when they go


def known_to(staff: Staff) -> Mailing:
    """What this person wishes; the usual, not kept anywhere, if they never said."""
    return Mailing.objects.filter(staff=staff).first() or Mailing(staff=staff)


def zone_of(staff: Staff) -> str:
    """The time zone that this person has chosen; "" where they only have the one that everybody gets at first."""
    zone = Mailing.objects.filter(staff=staff).values_list("time_zone", flat=True).first() or ""
    usual = Mailing._meta.get_field("time_zone").default
    return zone if zone != usual or AuditEvent.objects.filter(by=staff, action=CHANGED).exists() else ""


def due(now: datetime) -> tuple[list[int], list[int]]:
    """The ids of `Mailing` that a morning's mail is due for, and of those that something is to be told at once."""
    _welcome(now)
    wishes = Mailing.objects.filter(staff__is_active=True, staff__is_staff=True).exclude(staff__email="")
    wishes = wishes.filter(Q(not_before=None) | Q(not_before__lte=now))
    mornings = [each.pk for each in wishes.filter(mornings=True) if each.is_morning(now)]
    news = Q(staff__districts__syncs__status__in=(*Sync.WAITING, *Sync.STUCK), staff__districts__syncs__dry_run=False)
    news &= Q(staff__districts__syncs__status_since__gt=F("told_until"))
    news &= Q(staff__districts__syncs__status_since__lte=now - SETTLES)
    return mornings, list(wishes.filter(news, at_once=True).values_list("pk", flat=True).distinct())


def _welcome(now: datetime) -> None:
    """Whoever looks after a district, or manages, has the usual wishes from now on, beginning tomorrow: by the clock of
    the hours that they are there for calls, if they said so."""
    staff = get_user_model().objects.filter(is_active=True, is_staff=True, mailing=None).exclude(email="")
    fresh = staff.filter(Q(districts__isnull=False) | Q(groups__name=MANAGERS)).distinct()
    for each in fresh.select_related("availability"):
        wish = Mailing(staff=each, told_until=now)
        if hasattr(each, "availability"):
            wish.time_zone = each.availability.time_zone
        wish.mailed_on = wish.local(now).date()
        Mailing.objects.bulk_create([wish], ignore_conflicts=True)


def send_morning(mailing_id: int, now: datetime | None = None) -> bool:
    """Send this morning's mail, once; whether there was one."""
    moment = now or timezone.now()
    wish = Mailing.objects.select_related("staff").get(pk=mailing_id)
    before = wish.mailed_on
    if not wish.start_morning(moment):
        return False
    since = moment - (timedelta(days=3) if wish.local(moment).weekday() == 0 else timedelta(days=1))
    return _sent(wish, morning(wish.staff, moment, since), moment, mailed_on=before)


def send_at_once(mailing_id: int, now: datetime | None = None) -> bool:
    """Send what has begun to wait since the last time, once; whether there was anything."""
    moment = now or timezone.now()
    wish = Mailing.objects.select_related("staff").get(pk=mailing_id)
    before, until = wish.told_until, moment - SETTLES
    if not wish.start_telling(until):
        return False
    return _sent(wish, at_once(wish.staff, before, until), moment, told_until=before)


def _sent(wish: Mailing, letter: Letter | None, now: datetime, **before: Any) -> bool:
    if letter is None:
        return False
    try:
        send_mail(letter.subject, letter.text, None, [wish.staff.email], fail_silently=False)
    except OSError as fault:  # what smtplib raises is one
        logger.warning("a mail to staff %s: %s", wish.staff_id, type(fault).__name__)
        wish.give_back(now + AGAIN_AFTER, **before)
        return False
    return True
