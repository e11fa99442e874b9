"""The people of a district, the passes that let them in, and what they send."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils import timezone

from connections.models import Connection
from connections.onboarding.slots import Hours, read_ranges
from rosters.models import Delivery, District, Sync

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

#: How long a link that staff sent lets its person in, once.
INVITED_FOR: Final = timedelta(days=14)
#: The same of a link that a person has asked for.
ASKED_FOR: Final = timedelta(hours=1)
#: How long a browser stays let in.
SESSION_FOR: Final = timedelta(days=30)
#: The signs of a receipt's number: none that is taken for another when it is read out.
_SIGNS: Final = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"


class Person(models.Model):
    """Somebody at a district. An owner answers for it and also enters credentials; a sender checks and sends files. A
    deputy has the rights of whom it stands in for, from `first_day` to `last_day` on the district's calendar, and only
    while that one has them; when the access of that one is withdrawn, so is the deputy's."""

    class Role(models.TextChoices):
        OWNER = "owner", "owner"
        SENDER = "sender", "sender"

    district = models.ForeignKey(District, on_delete=models.CASCADE, related_name="people")
    name = models.CharField(max_length=120)
    email = models.EmailField("e-mail")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.SENDER)
    deputy_for = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="deputies")
    first_day = models.DateField(null=True, blank=True)
    last_day = models.DateField(null=True, blank=True)
    invited_at = models.DateTimeField(default=timezone.now, editable=False)
    last_seen_at = models.DateTimeField(null=True, editable=False)
    ended_at = models.DateTimeField(null=True, editable=False)
    told_by_mail = models.BooleanField(default=True, editable=False, help_text="What happened, beside what is asked.")

    class Meta:
        verbose_name_plural = "people"
        ordering = ["name", "pk"]
        constraints = [
            models.UniqueConstraint(
                "district", Lower("email"), name="person_once_in_a_district", condition=Q(ended_at=None)
            ),
            models.CheckConstraint(
                name="person_days_in_order",
                condition=Q(first_day=None) | Q(last_day=None) | Q(last_day__gte=F("first_day")),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def welcome(self, today: date) -> bool:
        """Whether the person may come in on this day of the district's calendar."""
        begun = self.first_day is None or self.first_day <= today
        if self.district.leaving_since or self.is_withdrawn:
            return False
        return begun and (self.last_day is None or today <= self.last_day)

    @property
    def is_withdrawn(self) -> bool:
        """Whether the person's access has ended, or that of whom it stands in for."""
        return self.ended_at is not None or (self.deputy_for is not None and self.deputy_for.is_withdrawn)

    @property
    def answers_for_it(self) -> bool:
        """Whether the person may do what only an owner may, on this day."""
        if self.role == self.Role.OWNER:
            return True
        stands_for = self.deputy_for
        today = self.district.local_date(timezone.now())
        return stands_for is not None and stands_for.answers_for_it and stands_for.welcome(today)

    def end(self, now: datetime) -> bool:
        """Let the person in no more; every link and session of theirs ends with it. False if it was so before."""
        ended = Person.objects.filter(pk=self.pk, ended_at=None).update(ended_at=now)
        self.passes.filter(revoked_at=None).update(revoked_at=now)
        self.refresh_from_db()
        return bool(ended)


class Pass(models.Model):
    """What lets a person in: a link, good once, or the session that it became. Only the SHA-256 of its secret is kept;
    the secret has 256 bits, so nobody guesses one and no slow hash is needed."""

    class Purpose(models.TextChoices):
        LINK = "link", "link"
        SESSION = "session", "session"

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="passes")
    purpose = models.CharField(max_length=10, choices=Purpose.choices)
    secret_hash = models.CharField(max_length=64, unique=True)
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    made_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "passes"

    def __str__(self) -> str:
        return f"{self.purpose} {self.pk}"

    @classmethod
    def make(
        cls, person: Person, purpose: str, now: datetime, lifetime: timedelta, *, by: Staff | None = None
    ) -> tuple[Pass, str]:
        """A new pass and its secret, which is known here for the only time."""
        secret = secrets.token_urlsafe(32)
        made = cls.objects.create(
            person=person,
            purpose=purpose,
            secret_hash=_hash(secret),
            made_at=now,
            expires_at=now + lifetime,
            made_by=by,
        )
        return made, secret

    @classmethod
    def good(cls, secret: str, purpose: str, now: datetime) -> Pass | None:
        """The pass with this secret, if it lets its person in at this moment."""
        found = (
            cls.objects.select_related("person__district", "person__deputy_for__district")
            .filter(secret_hash=_hash(secret), purpose=purpose, expires_at__gt=now, revoked_at=None, used_at=None)
            .first()
        )
        if found is None or not found.person.welcome(found.person.district.local_date(now)):
            return None
        return found

    def use(self, now: datetime) -> bool:
        """Take a link; False if somebody took it in this very moment."""
        return bool(
            Pass.objects.filter(pk=self.pk, used_at=None, revoked_at=None, expires_at__gt=now).update(used_at=now)
        )

    def revoke(self, now: datetime) -> None:
        Pass.objects.filter(pk=self.pk, revoked_at=None).update(revoked_at=now)


class StandingLink(models.Model):
    """What shows how a district's rosters stand to whoever has it, until it is ended. Of its secret only the SHA-256 is
    kept, as of a `Pass`."""

    district = models.ForeignKey(District, on_delete=models.CASCADE, related_name="standing_links")
    secret_hash = models.CharField(max_length=64, unique=True)
    made_by = models.ForeignKey(Person, null=True, on_delete=models.SET_NULL, related_name="+")
    made_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["district"], condition=Q(ended_at=None), name="standing_link_once_in_a_district"
            )
        ]

    def __str__(self) -> str:
        return f"standing link {self.pk}"

    @classmethod
    def make(cls, person: Person, now: datetime) -> str:
        """The secret of a new link of the person's district, which is known here for the only time."""
        secret = secrets.token_urlsafe(32)
        cls.objects.create(district=person.district, secret_hash=_hash(secret), made_by=person, made_at=now)
        return secret

    @classmethod
    def good(cls, secret: str) -> StandingLink | None:
        """The link with this secret, if it shows anything."""
        found = cls.objects.select_related("district__snapshot").filter(secret_hash=_hash(secret), ended_at=None)
        return found.filter(district__leaving_since=None).first()

    @classmethod
    def end(cls, district: District, now: datetime) -> bool:
        """Let the link of a district show nothing any more; False if there was none."""
        return bool(cls.objects.filter(district=district, ended_at=None).update(ended_at=now))


class Upload(models.Model):
    """What a person sends through the browser: `files` one after another as one stream of bytes, of which `received`
    lie in `connections.onboarding.sending`'s folder. It is open until all are here; then it is kept, with a delivery, a
    sync and the number of its receipt, or given up. `mark` names the same files when they are chosen again."""

    class Status(models.TextChoices):
        OPEN = "open", "on its way"
        KEPT = "kept", "received"
        GIVEN_UP = "given_up", "given up"

    uid = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    district = models.ForeignKey(District, on_delete=models.PROTECT, related_name="uploads")
    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="uploads")
    name = models.CharField(max_length=255, help_text="Of the delivery that it becomes.")
    files = models.JSONField(help_text="Name and bytes of each file, in the order in which they are sent.")
    mark = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField(help_text="Bytes, as announced.")
    received = models.PositiveBigIntegerField(default=0, help_text="Bytes that are here.")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    number = models.CharField(max_length=9, null=True, unique=True, help_text="Of the receipt.")
    started_at = models.DateTimeField(default=timezone.now)
    last_at = models.DateTimeField(default=timezone.now)
    delivery = models.OneToOneField(Delivery, null=True, on_delete=models.PROTECT, related_name="upload")
    sync = models.OneToOneField(Sync, null=True, on_delete=models.PROTECT, related_name="upload")

    class Meta:
        indexes = [models.Index(fields=["status", "last_at"])]
        constraints = [
            models.UniqueConstraint(
                fields=["person", "mark"], condition=Q(status="open"), name="upload_open_once_for_a_person"
            ),
            models.CheckConstraint(
                name="upload_no_more_than_announced", condition=Q(size__gt=0, received__lte=F("size"))
            ),
            models.CheckConstraint(
                name="upload_kept_with_all_that_belongs",
                condition=Q(
                    status="kept",
                    received=F("size"),
                    number__isnull=False,
                    delivery__isnull=False,
                    sync__isnull=False,
                )
                | ~Q(status="kept") & Q(number=None, delivery=None, sync=None),
            ),
        ]

    def __str__(self) -> str:
        return f"upload {self.pk}"

    @property
    def percent(self) -> int:
        return int(100 * self.received / self.size)

    def grow(self, now: datetime, to: int) -> None:
        """So many bytes are here; the caller holds the row."""
        self.received, self.last_at = to, now
        self.save(update_fields=["received", "last_at"])

    def keep(self, now: datetime, sync: Sync) -> None:
        """All is here and safe; from now on it may be called received. The caller holds the row."""
        assert sync.delivery is not None
        self.status, self.received, self.last_at = self.Status.KEPT, self.size, now
        self.delivery, self.sync, self.number = sync.delivery, sync, _number()
        self.save()

    def give_up(self) -> bool:
        """Wait no longer for the rest; False if it is kept or given up already."""
        return bool(Upload.objects.filter(pk=self.pk, status=self.Status.OPEN).update(status=self.Status.GIVEN_UP))


def _number() -> str:
    """Eight signs in two groups: 8.5e11 numbers, so none comes twice by chance, and none tells how many there are."""
    signs = "".join(secrets.choice(_SIGNS) for _ in range(8))
    return f"{signs[:4]}-{signs[4:]}"


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class Question(models.Model):
    """What our staff ask a district about a delivery that waits, and the answer, which may change as long as it waits.
    Words of people to people: they name schools and counts; they are deleted with the delivery's history."""

    class Answer(models.TextChoices):
        RIGHT = "right", "Yes, that is right"
        WRONG = "wrong", "No, something is wrong"
        LATER = "later", "We are looking into it"

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="questions")
    words = models.TextField(max_length=1000)
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    asked_at = models.DateTimeField(default=timezone.now)
    reminded_at = models.DateTimeField(null=True)
    taken_back_at = models.DateTimeField(null=True)
    answer = models.CharField(max_length=10, choices=Answer.choices, blank=True)
    note = models.CharField(max_length=500, blank=True)
    answered_by = models.ForeignKey(Person, null=True, on_delete=models.SET_NULL, related_name="+")
    answered_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ("add", "view")
        ordering = ["-asked_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["delivery"], condition=Q(answered_at=None, taken_back_at=None), name="question_open_once"
            ),
            models.CheckConstraint(
                name="question_answered_with_its_moment",
                condition=Q(answer="", answered_at=None) | ~Q(answer="") & Q(answered_at__isnull=False),
            ),
            models.CheckConstraint(
                name="question_answered_or_taken_back", condition=Q(answered_at=None) | Q(taken_back_at=None)
            ),
        ]

    def __str__(self) -> str:
        return f"question {self.pk}"

    @classmethod
    def about(cls, sync: Sync) -> Question | None:
        """The latest question about the sync's delivery, answered or not."""
        asked = cls.objects.filter(delivery=sync.delivery_id, taken_back_at=None)
        return asked.select_related("asked_by", "answered_by").first() if sync.delivery_id else None

    def unsent_to(self) -> list[str]:
        """Whom no mail about it has reached our mail server for: also who was not tried, since the first mail that
        fails ends the turn. Of what has its answer none goes any more."""
        waiting = self.notices.filter(sent_at=None).values_list("person__name", flat=True)
        return [] if self.answered_at else sorted(set(waiting))

    def answer_with(self, answer: str, note: str, person: Person, now: datetime) -> bool:
        """False if it was taken back in this moment."""
        asked = Question.objects.filter(pk=self.pk, taken_back_at=None)
        given = asked.update(answer=answer, note=note, answered_by=person, answered_at=now)
        self.refresh_from_db()
        return bool(given)

    def take_back(self, now: datetime) -> bool:
        """False if it has an answer, or is taken back already."""
        open_still = Question.objects.filter(pk=self.pk, answered_at=None, taken_back_at=None)
        return bool(open_still.update(taken_back_at=now))

    def remind(self, now: datetime) -> bool:
        """False if somebody else reminds in this moment, or there is nothing to remind of any more."""
        silent = Question.objects.filter(pk=self.pk, answered_at=None, taken_back_at=None, reminded_at=None)
        self.reminded_at = now
        return bool(silent.update(reminded_at=now))


class Notice(models.Model):
    """A mail to a person of a district about what happened, or is asked: once for each, until it is sent or given up.
    `about` names what it is about. What it says is worked out when it is sent; here stands no word of it. A call is
    mailed to our side too: such a row names the person whom the call is with."""

    class Kind(models.TextChoices):
        REFUSED = "refused", "a delivery was refused"
        DECLINED = "declined", "a delivery was declined"
        LATE = "late", "an expected delivery did not come"
        STOPPED = "stopped", "nothing can be fetched"
        FINE = "fine", "it works again"
        QUESTION = "question", "a question"
        REMINDER = "reminder", "a question again"
        CALL = "call", "a call"
        OUR_CALL = "our_call", "a call, to our side"

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="notices")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    about = models.CharField(max_length=80)
    sync = models.ForeignKey(Sync, null=True, on_delete=models.CASCADE, related_name="+")
    connection = models.ForeignKey(Connection, null=True, on_delete=models.CASCADE, related_name="+")
    question = models.ForeignKey(Question, null=True, on_delete=models.CASCADE, related_name="notices")
    call = models.ForeignKey("Call", null=True, on_delete=models.CASCADE, related_name="notices")
    made_at = models.DateTimeField(default=timezone.now)
    not_before = models.DateTimeField(default=timezone.now)
    tries = models.PositiveSmallIntegerField(default=0)
    sent_at = models.DateTimeField(null=True)
    given_up_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["person", "about"], name="notice_once_to_a_person")]
        indexes = [models.Index(fields=["not_before"], condition=Q(sent_at=None, given_up_at=None), name="notice_due")]

    def __str__(self) -> str:
        return f"notice {self.pk}"

    @classmethod
    def due(cls, now: datetime) -> models.QuerySet[Notice]:
        return cls.objects.filter(sent_at=None, given_up_at=None, not_before__lte=now)

    def start(self, now: datetime, lease: timedelta) -> bool:
        """Claim one try; False if another worker has it. Without a word of its end it is tried again after `lease`."""
        mine = Notice.due(now).filter(pk=self.pk, tries=self.tries)
        started = mine.update(tries=F("tries") + 1, not_before=now + lease)
        self.refresh_from_db()
        return bool(started)

    def mark_sent(self, now: datetime) -> None:
        Notice.objects.filter(pk=self.pk).update(sent_at=now)

    def give_up(self, now: datetime) -> None:
        Notice.objects.filter(pk=self.pk, sent_at=None).update(given_up_at=now)


class Availability(models.Model):
    """When a member of staff takes calls, by their own clock. `weekly` and `exceptions` are as `slots` reads them.
    Whoever books locks this row first, so that two bookings with the same person follow one another."""

    staff = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="availability")
    time_zone = models.CharField(max_length=64, default="America/Chicago")
    weekly = models.JSONField(
        default=dict, blank=True, help_text='Ranges for each weekday, 0 is Monday: {"0": [["09:00", "12:00"]]}'
    )
    exceptions = models.JSONField(
        default=dict, blank=True, help_text='Days that differ; without a range, a day off: {"2026-12-24": []}'
    )
    minutes = models.PositiveSmallIntegerField(default=30, validators=[MinValueValidator(10), MaxValueValidator(180)])
    buffer = models.PositiveSmallIntegerField(default=15, validators=[MaxValueValidator(120)])

    class Meta:
        verbose_name_plural = "availabilities"
        constraints = [models.CheckConstraint(name="availability_has_a_length", condition=Q(minutes__gt=0))]

    def __str__(self) -> str:
        return f"hours of {self.staff}"

    def clean(self) -> None:
        try:
            self.hours()
        except (ValueError, AttributeError, OSError, LookupError) as error:
            raise ValidationError("These hours cannot be read: look at the zone, the days and the ranges.") from error

    def hours(self) -> Hours:
        """Raises ValueError or LookupError where the zone, a day or a range cannot be read."""
        weekly: dict[str, Any] = self.weekly
        exceptions: dict[str, Any] = self.exceptions
        return Hours(
            zone=ZoneInfo(self.time_zone),
            weekly={int(day): read_ranges(ranges) for day, ranges in weekly.items()},
            exceptions={date.fromisoformat(day): read_ranges(ranges) for day, ranges in exceptions.items()},
            length=timedelta(minutes=self.minutes),
            buffer=timedelta(minutes=self.buffer),
        )


class Call(models.Model):
    """The first talk with a district. `uid` and `sequence` name it in calendars: each change raises the sequence."""

    class Status(models.TextChoices):
        BOOKED = "booked", "booked"
        CANCELLED = "cancelled", "cancelled"
        HELD = "held", "held"
        MISSED = "missed", "nobody came"

    district = models.ForeignKey(District, on_delete=models.CASCADE, related_name="calls")
    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="calls")
    staff = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="calls")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    sequence = models.PositiveIntegerField(default=0, editable=False)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.BOOKED)
    phone = models.CharField(max_length=40, blank=True)
    topic = models.CharField("what you would like to talk about", max_length=500, blank=True)
    booked_at = models.DateTimeField(default=timezone.now, editable=False)
    notes = models.TextField("our notes", blank=True, help_text="For us alone: the district never sees them.")
    decisions = models.TextField("what was decided", blank=True, help_text="The district sees this on its home page.")
    launch_on = models.DateField("launch", null=True, blank=True, help_text="The district sees this on its home page.")
    schedule_words = models.CharField(
        "agreed schedule",
        max_length=300,
        blank=True,
        help_text="In words, such as “every school day at 2:00 AM”. The district sees this on its home page.",
    )
    outcome_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    outcome_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["-starts_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["staff", "starts_at"], name="call_once_at_a_time", condition=Q(status="booked")
            ),
            models.UniqueConstraint(fields=["district"], name="call_booked_once", condition=Q(status="booked")),
            models.CheckConstraint(name="call_ends_after_it_starts", condition=Q(ends_at__gt=F("starts_at"))),
        ]

    def __str__(self) -> str:
        return f"call {self.pk}"

    @property
    def wants_outcome(self) -> bool:
        """It is over, and nobody has said what came of it."""
        return self.status != self.Status.CANCELLED and self.outcome_at is None and self.ends_at <= timezone.now()

    @classmethod
    def latest_of(cls, district: District) -> Call | None:
        """The district's latest call that is booked or was held."""
        counts = cls.objects.filter(district=district).exclude(status__in=[cls.Status.CANCELLED, cls.Status.MISSED])
        return counts.select_related("staff").first()

    @classmethod
    def without_outcome(cls, now: datetime) -> models.QuerySet[Call]:
        """Those that are over and of which nobody has said what came of them."""
        return cls.objects.exclude(status=cls.Status.CANCELLED).filter(ends_at__lte=now, outcome_at=None)

    def move(self, start: datetime, end: datetime, **values: str) -> bool:
        """Have it at another time; False if it is not booked any more. The caller holds the hours."""
        changed = Call.objects.filter(pk=self.pk, status=self.Status.BOOKED).update(
            starts_at=start, ends_at=end, sequence=F("sequence") + 1, **values
        )
        self.refresh_from_db()
        return bool(changed)

    def cancel(self) -> bool:
        """Call it off; False if it is not booked any more."""
        changed = Call.objects.filter(pk=self.pk, status=self.Status.BOOKED).update(
            status=self.Status.CANCELLED, sequence=F("sequence") + 1
        )
        self.refresh_from_db()
        return bool(changed)

    def record(self, now: datetime, by: Staff, outcome: dict[str, Any], *, missed: bool = False) -> bool:
        """Write down what came of it; False if it was cancelled. May be done again: the last word counts."""
        changed = (
            Call.objects.filter(pk=self.pk)
            .exclude(status=self.Status.CANCELLED)
            .update(status=self.Status.MISSED if missed else self.Status.HELD, outcome_by=by, outcome_at=now, **outcome)
        )
        self.refresh_from_db()
        return bool(changed)

    @classmethod
    def end_past(cls, district: District, now: datetime) -> None:
        """What was booked and has begun was held, as far as anybody knows: it stands in the way of no other call."""
        cls.objects.filter(district=district, status=cls.Status.BOOKED, starts_at__lte=now).update(
            status=cls.Status.HELD
        )
