"""What happened, mailed to the people of a district: a file of theirs was refused or declined, an expected one did not
come, nothing can be fetched, it works again; and the mails about our questions and about calls.

Each is a row before it is a mail, so a mail server that is down loses none. A mail names a district, days and what to
do, and leads to the page that says the rest; it holds no roster value, no name of a file, no word of ours about one.
What our staff uploaded is told to them, not to the district.
"""

from __future__ import annotations

import logging
import smtplib
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import Exists, OuterRef, Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from connections.models import Connection
from connections.onboarding import invitations, receipts
from connections.onboarding.entering import audit, for_people, link_for
from connections.onboarding.models import Notice, Person, Question
from rosters.models import Delivery, District, Sync

logger = logging.getLogger(__name__)

Kind = Notice.Kind
#: What happened longer ago is told to nobody any more.
_BACK: Final = timedelta(days=2)
#: How long after each try the next one comes; after the last it is given up.
_AGAIN: Final = tuple(timedelta(minutes=each) for each in (5, 15, 60, 240, 720))
_AT_ONCE: Final = 50
#: For so many seconds mails are begun; what comes after them is the next minute's, for all else of a minute waits.
PATIENCE: Final = 30.0
#: With these a mail server refuses one mail. With every other fault it takes none.
_OF_ONE_MAIL: Final = (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError)
#: So long is known what was told.
_KEPT: Final = timedelta(days=180)
#: Whose files are a district's own to correct.
_THEIRS: Final = (Delivery.Origin.SFTP, Delivery.Origin.REST, Delivery.Origin.DISTRICT, Delivery.Origin.API)
_OF_SYNCS: Final = {Sync.Status.REJECTED: Kind.REFUSED, Sync.Status.DECLINED: Kind.DECLINED}

_SUBJECTS: Final[dict[str, str]] = {
    Kind.REFUSED: "A delivery of {district} needs a correction",
    Kind.DECLINED: "A delivery of {district} did not go live",
    Kind.LATE: "No roster has come from {district}",
    Kind.STOPPED: "The roster of {district} cannot be fetched",
    Kind.FINE: "The roster of {district} comes again",
    Kind.QUESTION: "A question about the roster of {district}",
    Kind.REMINDER: "A question about the roster of {district}",
}


def whom(district: District, now: datetime) -> list[Person]:
    """Who is asked and told: those who answer for the district, or if there are none, everybody who may come in."""
    today = district.local_date(now)
    people = [p for p in district.people.filter(ended_at=None).select_related("deputy_for") if p.welcome(today)]
    return [person for person in people if person.answers_for_it] or people


# -------------------------------------------------------------------------------------------------------- what happened


def minute(now: datetime | None = None) -> None:
    """Write down what is to be told, and send what is due. Runs every minute."""
    moment = now or timezone.now()
    gather(moment)
    send_in_turn(Notice.due(moment).order_by("not_before", "pk")[:_AT_ONCE], moment)
    Notice.objects.filter(made_at__lt=moment - _KEPT).delete()


def gather(now: datetime) -> int:
    """Write down what happened and is not written down yet; how much."""
    told = District.objects.filter(people__ended_at=None, people__told_by_mail=True).values("pk")
    happened = [*_of_syncs(told, now), *_of_connections(told), *_fine_again(now)]
    known = set(Notice.objects.filter(about__in=[n.about for n in happened]).values_list("about", flat=True))
    fresh = [each for each in happened if each.about not in known]
    made = [notice for each in fresh for notice in _to_everybody(each, now)]
    return len(Notice.objects.bulk_create(made, ignore_conflicts=True))


def _of_syncs(told: Any, now: datetime) -> Iterator[Notice]:
    """Files that cannot be used, unless a better one has come since."""
    better = Sync.objects.filter(
        district=OuterRef("district"), received_at__gt=OuterRef("received_at"), delivery__isnull=False
    ).exclude(status__in=(*Sync.STUCK, Sync.Status.DECLINED, Sync.Status.SUPERSEDED))
    found = Sync.objects.filter(
        ~Exists(better),
        district__in=told,
        status__in=list(_OF_SYNCS),
        status_since__gt=now - _BACK,
        delivery__origin__in=_THEIRS,
    )
    for sync in found.select_related("district", "delivery__upload__person"):
        yield Notice(kind=_OF_SYNCS[Sync.Status(sync.status)], about=f"{sync.status}:{sync.pk}", sync=sync)


def _of_connections(told: Any) -> Iterator[Notice]:
    state = Connection.State
    late = Q(state=state.ACTIVE, late_since__isnull=False)
    stopped = Q(state=state.PAUSED, paused_by=None, paused_until=None)
    for one in Connection.objects.filter(late | stopped, district__in=told).select_related("district"):
        kind, since = (Kind.STOPPED, one.state_since) if one.gave_up else (Kind.LATE, one.late_since)
        yield Notice(kind=kind, about=f"{kind}:{one.pk}:{since:%Y%m%d%H%M%S}", connection=one)


def _fine_again(now: datetime) -> Iterator[Notice]:
    """Who was told that nothing comes is told when something does."""
    said = Notice.objects.filter(
        kind__in=(Kind.LATE, Kind.STOPPED),
        sent_at__isnull=False,
        made_at__gt=now - timedelta(days=60),
        connection__state=Connection.State.ACTIVE,
        connection__late_since=None,
        connection__failures=0,
    ).select_related("connection__district")
    for notice in said:
        one = notice.connection
        if one and one.last_success_at and one.last_success_at > notice.made_at:
            yield Notice(kind=Kind.FINE, about=f"fine:{notice.about}"[:80], connection=one)


def _to_everybody(notice: Notice, now: datetime) -> Iterator[Notice]:
    """The same for each who is told: who answers for the district, and who sent the file."""
    thing = notice.sync or notice.connection
    assert thing is not None
    people = {person.pk: person for person in whom(thing.district, now)}
    upload = getattr(notice.sync.delivery, "upload", None) if notice.sync else None
    if upload and upload.person.welcome(thing.district.local_date(now)):
        people[upload.person_id] = upload.person
    for person in people.values():
        if person.told_by_mail:
            yield Notice(
                person=person,
                kind=notice.kind,
                about=notice.about,
                sync=notice.sync,
                connection=notice.connection,
                made_at=now,
                not_before=now,
            )


def about_question(question: Question, people: Iterable[Person], now: datetime) -> list[Notice]:
    """Write down that a question, or the reminder of it, is to be mailed to these people. Who does not send it at once
    (`send_in_turn`) leaves it to the minute."""
    kind = Kind.REMINDER if question.reminded_at else Kind.QUESTION
    return [
        Notice.objects.get_or_create(
            person=person,
            about=f"{kind}:{question.pk}",
            defaults={"kind": kind, "question": question, "made_at": now, "not_before": now},
        )[0]
        for person in people
    ]


# -------------------------------------------------------------------------------------------------------------- sending


class NoMailGoesOut(Exception):
    """The mail server cannot be reached, or takes nothing from us."""


def send_in_turn(notices: Iterable[Notice], now: datetime) -> None:
    """Send one after another. As soon as the mail server takes none, or too long, the rest stays for the next minute:
    each that is tried on a server that hangs would keep a page, or all else that a minute brings."""
    until = time.monotonic() + PATIENCE
    for notice in notices:
        try:
            send(notice, now)
        except NoMailGoesOut:
            return
        if time.monotonic() >= until:
            return


def send(notice: Notice, now: datetime) -> bool:
    """Try once to send it, if it is due and no other worker has it; whether it is sent. Raises NoMailGoesOut where the
    fault is none of this mail's."""
    if not notice.start(now, _AGAIN[min(notice.tries, len(_AGAIN) - 1)]):
        return False
    if _is_over(notice, now):
        notice.give_up(now)
        return False
    try:
        (invitations.mail(notice, now) if notice.call else _mail(notice, now)).send()
    except OSError as fault:  # of SMTP, or of the line to it; its words may hold an address
        logger.warning("notice %s: %s", notice.pk, type(fault).__name__)
        if notice.tries > len(_AGAIN):
            notice.give_up(now)
        if isinstance(fault, _OF_ONE_MAIL):
            return False
        raise NoMailGoesOut from None
    notice.mark_sent(now)
    return True


def _is_over(notice: Notice, now: datetime) -> bool:
    """Whether what it is about is settled by now, or the person may not come in any more. A call stands in calendars
    whoever may come in."""
    if notice.call:
        return notice.call.ends_at <= now
    question, person = notice.question, notice.person
    settled = question is not None and bool(question.answered_at or question.taken_back_at)
    return settled or not person.welcome(person.district.local_date(now))


def _mail(notice: Notice, now: datetime) -> EmailMessage:
    subject = _SUBJECTS[notice.kind].format(district=notice.person.district.name)
    return EmailMessage(subject, _text(notice, now), None, [notice.person.email])


def _text(notice: Notice, now: datetime) -> str:
    person, question = notice.person, notice.question
    district = person.district
    by = question.asked_by if question else None
    url, until = link_for(person, now, by=by)
    context: dict[str, Any] = {
        "person": person,
        "district": district,
        "kind": notice.kind,
        "url": url,
        "until": until.astimezone(district.zone),
        "page": f"{settings.PORTAL_URL}{_page(notice)}",
    }
    if question:
        context |= {
            "staff": (by.get_full_name() or by.get_username()) if by else "",
            "reminder": notice.kind == Kind.REMINDER,
            "received": question.delivery.received_at.astimezone(district.zone),
        }
        return render_to_string("emails/question.txt", context)
    if notice.sync:
        context["received"] = notice.sync.received_at.astimezone(district.zone)
    if notice.connection and notice.connection.last_success_at:
        context["last"] = notice.connection.last_success_at.astimezone(district.zone)
    return render_to_string("emails/news.txt", context)


def _page(notice: Notice) -> str:
    """Where what it is about stands, for who is let in already."""
    if notice.sync:
        return reverse("onboarding:receipt", args=[receipts.key_of(notice.sync)])
    if notice.connection and notice.person.answers_for_it:
        return reverse("onboarding:ways")
    return reverse("onboarding:home")


# ------------------------------------------------------------------------------------------------- what somebody wishes


@require_POST
@for_people
def wish(request: HttpRequest, person: Person) -> HttpResponse:
    """Be told by mail what happened, or not."""
    now = timezone.now()
    Person.objects.filter(pk=person.pk).update(told_by_mail=request.POST.get("told") == "yes")
    audit("person.mails", person, now, told=request.POST.get("told") == "yes")
    return HttpResponseRedirect(reverse("onboarding:home") + "#mails")
