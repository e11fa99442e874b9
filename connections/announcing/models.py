"""Webhooks, and each announcement on its way to one; what each of our staff wishes to be mailed."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from secrets import token_urlsafe
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, URLValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from rosters.api.models import Client
from rosters.models import District
from rosters.sealing import SealBroken, is_current, seal, unseal

#: Kind of an announcement, and what it says.
KINDS: Final = {
    "sync.awaiting_review": "A sync waits for a person",
    "sync.applied": "A roster went live",
    "sync.rejected": "A delivery was refused",
    "sync.declined": "A sync was declined",
    "sync.failed": "A sync failed",
    "connection.failing": "A connection cannot fetch",
    "connection.late": "An expected delivery did not come",
    "connection.recovered": "A connection that failed or was late works again",
}
PING: Final = "ping"

LEASE: Final = timedelta(seconds=60)
#: A task that was made so long ago and never began is taken for lost.
QUEUED_FOR: Final = timedelta(minutes=15)
#: How long after each try the next one comes, a part of it by chance; after the last it is given up: a day in all.
BACKOFF: Final = tuple(timedelta(minutes=each) for each in (1, 5, 15, 60, 180, 360, 720))
#: A webhook that nothing reached for so long is switched off.
OFF_AFTER: Final = timedelta(days=3)


class Webhook(models.Model):
    """An address of a tool that is told what happens in the districts of its client."""

    uid = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    client = models.ForeignKey(Client, on_delete=models.PROTECT, related_name="webhooks")
    url = models.CharField(
        "address", max_length=500, validators=[URLValidator(["https", "http"])], help_text="https://…, of the tool."
    )
    kinds = models.JSONField(default=list, help_text="What it is told of.")
    sealed = models.TextField(editable=False, default="")
    made_at = models.DateTimeField(default=timezone.now, editable=False)
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    off_at = models.DateTimeField(null=True, editable=False)
    off_because = models.CharField(max_length=300, blank=True, default="", editable=False)
    failing_since = models.DateTimeField(null=True, editable=False)
    last_sent_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["client__name", "pk"]

    def __str__(self) -> str:
        return f"webhook of {self.client}"

    def clean(self) -> None:
        if set(self.kinds) - set(KINDS):
            raise ValidationError({"kinds": "Choose among those offered."})

    @property
    def bound(self) -> str:
        return f"announcing.webhook:{self.uid}"

    def new_secret(self) -> str:
        """A new secret to sign with, shown here for the only time; the one before signs nothing more. The caller
        saves."""
        text = f"whsec_{token_urlsafe(32)}"
        self.sealed = seal(text, bound_to=self.bound)
        return text

    def rotate(self, now: datetime, overlap_until: datetime) -> str:
        """A new secret; those before sign beside it until `overlap_until` at the latest. The caller saves."""
        try:
            before = self.secrets(now)
        except SealBroken:  # nobody can sign with these any more
            before = []
        text = self.new_secret()
        ends = [f"{one} {min(end or overlap_until, overlap_until).isoformat()}" for one, end in before]
        self.sealed = seal("\n".join([text, *ends]), bound_to=self.bound)
        return text

    def secrets(self, now: datetime) -> list[tuple[str, datetime | None]]:
        """What signs at this moment, the newest first, each with its end if there is one: so they are sealed, one a
        line. Raises SealBroken."""
        lines = [line.partition(" ") for line in unseal(self.sealed, bound_to=self.bound).splitlines()]
        found = [(text, datetime.fromisoformat(end) if end else None) for text, _, end in lines]
        return [(text, end) for text, end in found if end is None or end > now]

    def seal_anew(self) -> bool:
        """Seal with the current key what an older one sealed; whether it had to be. The caller saves."""
        if is_current(self.sealed):
            return False
        self.sealed = seal(unseal(self.sealed, bound_to=self.bound), bound_to=self.bound)
        return True

    def switch_off(self, now: datetime, because: str) -> bool:
        changed = Webhook.objects.filter(pk=self.pk, off_at=None).update(off_at=now, off_because=because[:300])
        self.refresh_from_db()
        return bool(changed)

    def switch_on(self) -> bool:
        changed = Webhook.objects.filter(pk=self.pk, off_at__isnull=False).update(
            off_at=None, off_because="", failing_since=None
        )
        if changed:  # tasks that came while it was off did nothing
            self.announcements.filter(status="waiting", claim=None).update(claimed_until=None)
        self.refresh_from_db()
        return bool(changed)

    def went_well(self, now: datetime) -> None:
        Webhook.objects.filter(pk=self.pk).update(failing_since=None, last_sent_at=now)

    def went_wrong(self, now: datetime) -> bool:
        """Note that nothing arrives; True if it was so for too long, and it was switched off now."""
        Webhook.objects.filter(pk=self.pk, failing_since=None).update(failing_since=now)
        self.refresh_from_db()
        assert self.failing_since is not None
        return self.failing_since < now - OFF_AFTER and self.switch_off(now, "Nothing arrived there for three days.")


class Mailing(models.Model):
    """What a member of our staff wishes to be mailed, and how far that has come. One mail a morning, one for each time
    that something begins to wait: each is claimed before it is sent."""

    staff = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="mailing")
    mornings = models.BooleanField("each weekday morning, if anything waits", default=True)
    hour = models.PositiveSmallIntegerField("from this hour on", default=7, validators=[MaxValueValidator(23)])
    time_zone = models.CharField("of this time zone", max_length=64, default="America/Chicago")
    at_once = models.BooleanField("at once, when a sync of one of my districts begins to wait", default=False)
    mailed_on = models.DateField(null=True, editable=False, help_text="The last morning that was looked at.")
    told_until = models.DateTimeField(default=timezone.now, editable=False)
    not_before = models.DateTimeField(null=True, editable=False, help_text="After a mail that could not be sent.")

    def __str__(self) -> str:
        return f"mails to {self.staff}"

    def local(self, now: datetime) -> datetime:
        return now.astimezone(ZoneInfo(self.time_zone))

    def is_morning(self, now: datetime) -> bool:
        """Whether this day's mail is due and was not looked at yet."""
        here = self.local(now)
        return here.weekday() < 5 and here.hour >= self.hour and self.mailed_on != here.date()

    def start_morning(self, now: datetime) -> bool:
        """Claim this day's mail; False if it is not due, or another worker has it."""
        day = self.local(now).date()
        mine = Mailing.objects.filter(pk=self.pk).exclude(mailed_on=day)
        return self.is_morning(now) and bool(mine.update(mailed_on=day, not_before=None))

    def start_telling(self, until: datetime) -> bool:
        """Claim what has happened from `told_until` to `until`; False if another worker has it."""
        mine = Mailing.objects.filter(pk=self.pk, told_until=self.told_until, told_until__lt=until)
        return bool(mine.update(told_until=until, not_before=None))

    def give_back(self, not_before: datetime, **before: Any) -> None:
        """What could not be sent is due again, then."""
        Mailing.objects.filter(pk=self.pk).update(not_before=not_before, **before)


class Announcement(models.Model):
    """One thing that happened, on its way to one webhook. `about` names what happened, so that it is told once."""

    class Status(models.TextChoices):
        WAITING = "waiting", "on its way"
        SENT = "sent", "arrived"
        GIVEN_UP = "given_up", "given up"

    uid = models.UUIDField(unique=True, default=uuid.uuid4)
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="announcements")
    district = models.ForeignKey(District, null=True, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=40)
    about = models.CharField(max_length=120)
    payload = models.JSONField(default=dict, help_text="Numbers and statuses; no roster value.")
    made_at = models.DateTimeField(default=timezone.now)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.WAITING)
    tries = models.PositiveSmallIntegerField(default=0)
    not_before = models.DateTimeField(default=timezone.now)
    claim = models.UUIDField(null=True)
    claimed_until = models.DateTimeField(null=True)  # without a claim: so long its task is waited for
    answered = models.CharField(max_length=200, blank=True, default="", help_text="What became of the last try.")
    sent_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-made_at", "-pk"]
        indexes = [models.Index(fields=["status", "not_before"])]
        constraints = [
            models.UniqueConstraint(fields=["webhook", "about"], name="announcement_once"),
            models.CheckConstraint(
                name="announcement_sent_has_a_time",
                condition=Q(status="sent", sent_at__isnull=False) | ~Q(status="sent") & Q(sent_at=None),
            ),
        ]

    def __str__(self) -> str:
        return f"announcement {self.pk}"

    @classmethod
    def due(cls, now: datetime) -> models.QuerySet[Announcement]:
        """Those that may be sent, that have no task, and that no worker has; the oldest first."""
        found = cls.objects.filter(status="waiting", not_before__lte=now).exclude(claimed_until__gte=now)
        return found.order_by("made_at", "pk")

    def queue(self, now: datetime) -> bool:
        """Note that a task is made for it; False if there is one, a worker has it, or it is not due."""
        return bool(Announcement.due(now).filter(pk=self.pk).update(claim=None, claimed_until=now + QUEUED_FOR))

    def start(self, now: datetime) -> bool:
        """Claim it; False if another worker has it, or it is not due, or has come to its end."""
        free = Q(claim=None) | Q(claimed_until__lt=now)
        changed = Announcement.objects.filter(free, pk=self.pk, status="waiting", not_before__lte=now).update(
            claim=uuid.uuid4(), claimed_until=now + LEASE, tries=F("tries") + 1
        )
        self.refresh_from_db()
        return bool(changed)

    def mark_sent(self, now: datetime, answered: str) -> bool:
        return self._end(status=self.Status.SENT, sent_at=now, answered=answered)

    def mark_for_retry(self, not_before: datetime, answered: str) -> bool:
        return self._end(not_before=not_before, answered=answered)

    def mark_given_up(self, answered: str) -> bool:
        return self._end(status=self.Status.GIVEN_UP, answered=answered)

    def may_be_told(self) -> bool:
        """Whether its client is still let in, and still sees that district."""
        client = self.webhook.client
        return client.ended_at is None and (
            self.district_id is None or client.districts.filter(pk=self.district_id).exists()
        )

    def _end(self, **values: Any) -> bool:
        values["answered"] = values["answered"][:200]
        changed = Announcement.objects.filter(pk=self.pk, claim=self.claim, status="waiting").update(
            claim=None, claimed_until=None, **values
        )
        self.refresh_from_db()
        return bool(changed)

    def replay(self, now: datetime) -> bool:
        """Send it again, whatever became of it."""
        changed = (
            Announcement.objects.filter(pk=self.pk)
            .exclude(status="waiting")
            .update(status="waiting", tries=0, not_before=now, sent_at=None, answered="")
        )
        self.refresh_from_db()
        return bool(changed)
