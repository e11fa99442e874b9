"""A district's ways in, and every try at them.

`Connection` holds what the other side told us, its secrets sealed; `Attempt` is one try, with its outcome in words;
`Checkup` is the connection doctor's last result. State changes are methods with a verb; callers give the time.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, URLValidator
from django.db import models, transaction
from django.db.models import F, OuterRef, Q, Subquery
from django.utils import timezone

from connections.addresses import Network, never
from connections.schedules import Schedule, first_due, next_due, offset
from rosters.models import District, Sync
from rosters.scope import Scope
from rosters.sealing import is_current, seal, unseal

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

ATTEMPT_LEASE = timedelta(minutes=5)

#: A test of which so long nothing was heard is over.
CHECKUP_LOST: Final = timedelta(minutes=15)

#: Over so long a time the starts of one moment are spread: a thousand districts want 2:00 AM.
SPREAD: Final = timedelta(minutes=5)

#: So many failures in a row pause a connection: a fourth wrong login may lock the account.
FAILURES_BEFORE_PAUSE: Final = 3

#: Secrets that a connection may have, and what a page calls them.
SECRETS: Final[dict[str, str]] = {
    "password": "password",
    "private_key": "private key",
    "key": "key",
    "secret": "secret",
}


def _host(value: str) -> None:
    if not value or any(c in value for c in "/@ ?#") or "://" in value:
        raise ValidationError("Only the name or address of the server, for example sftp.example.org.")


#: http is refused by the client, but for what is served on this machine (the demo).
_ADDRESS: Final = URLValidator(schemes=["https", "http"])


class Connection(models.Model):
    """A way in which a district's rosters arrive."""

    class Kind(models.TextChoices):
        SFTP = "sftp", "SFTP"
        REST = "rest", "OneRoster API"

    class State(models.TextChoices):
        SETUP = "setup", "setting up"
        ACTIVE = "active", "active"
        PAUSED = "paused", "paused"

    class Side(models.TextChoices):
        THEIRS = "theirs", "We fetch from the district's server"
        OURS = "ours", "The district drops files on our server"

    class Login(models.TextChoices):
        PASSWORD = "password", "a password"
        KEY = "key", "a key pair"

    class Formats(models.TextChoices):
        ANY = "any", "a zip, or loose CSV files"
        ZIP = "zip", "only a zip"
        CSV = "csv", "only loose CSV files"

    class WhenDone(models.TextChoices):
        LEAVE = "leave", "leave it"
        RENAME = "rename", "rename it (….taken)"
        MOVE = "move", "move it to a folder"

    class Auth(models.TextChoices):
        OAUTH1 = "oauth1", "OAuth 1.0a (signed requests)"
        OAUTH2 = "oauth2", "OAuth 2 (client credentials)"
        BEARER = "bearer", "a fixed token"

    class Signature(models.TextChoices):
        SHA256 = "HMAC-SHA256", "HMAC-SHA256"
        SHA1 = "HMAC-SHA1", "HMAC-SHA1"

    class CredentialsIn(models.TextChoices):
        HEADER = "header", "the header (Basic)"
        BODY = "body", "the body"

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    district = models.ForeignKey(District, on_delete=models.PROTECT, related_name="connections")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    vendor = models.CharField(
        max_length=40, blank=True, default="", help_text="The district's student information system, if it is known."
    )
    state = models.CharField(max_length=10, choices=State.choices, default=State.SETUP, editable=False)
    state_since = models.DateTimeField(default=timezone.now, editable=False)
    paused_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    pause_reason = models.CharField(max_length=300, blank=True, default="", editable=False)
    paused_until = models.DateField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    speaks_for = models.JSONField(
        default=dict, blank=True, editable=False,
        help_text="The `schools` and `terms` it brings, by their sourcedIds; {}: all of the district.",
    )  # fmt: skip

    # -- SFTP

    side = models.CharField(max_length=10, choices=Side.choices, default=Side.THEIRS, verbose_name="whose server")
    host = models.CharField(max_length=253, blank=True, default="", validators=[_host])
    port = models.PositiveIntegerField(default=22, validators=[MinValueValidator(1), MaxValueValidator(65535)])
    username = models.CharField(max_length=120, blank=True, default="")
    login = models.CharField(max_length=10, choices=Login.choices, default=Login.PASSWORD)
    public_key = models.TextField(
        blank=True, default="", editable=False, help_text="The district puts this on its server."
    )
    path = models.CharField(
        max_length=500,
        blank=True,
        default="",
        help_text="A folder, a file or a pattern, for example imagine/&lt;site code&gt;-*/literacy/*.zip. "
        "&lt;site code&gt;, &lt;name&gt; and &lt;product&gt; are filled in.",
    )
    marker = models.CharField(
        max_length=120,
        blank=True,
        default="",
        help_text="A file that says that all is there, for example &lt;file&gt;.done. Empty: we look twice.",
    )
    formats = models.CharField(max_length=10, choices=Formats.choices, default=Formats.ANY)
    when_done = models.CharField(max_length=10, choices=WhenDone.choices, default=WhenDone.LEAVE)
    done_folder = models.CharField(max_length=200, blank=True, default="")
    done_days = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(3650)],
        help_text="What was put aside is deleted there so many days after the district wrote it; empty: never.",
    )
    host_key = models.CharField(max_length=200, blank=True, default="", editable=False, help_text="Pinned fingerprint.")
    host_key_seen = models.CharField(max_length=200, blank=True, default="", editable=False)
    host_key_confirmed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    host_key_confirmed_at = models.DateTimeField(null=True, blank=True, editable=False)

    # -- OneRoster API

    base_url = models.CharField(max_length=500, blank=True, default="", verbose_name="API URL", validators=[_ADDRESS])
    version = models.CharField(max_length=5, choices=[("1.1", "1.1"), ("1.2", "1.2")], default="1.1")
    auth = models.CharField(max_length=10, choices=Auth.choices, default=Auth.OAUTH1, verbose_name="how to log in")
    signature = models.CharField(max_length=12, choices=Signature.choices, default=Signature.SHA256)
    token_url = models.CharField(
        max_length=500, blank=True, default="", verbose_name="token URL", validators=[_ADDRESS]
    )
    scope = models.CharField(max_length=1000, blank=True, default="")
    credentials_in = models.CharField(max_length=10, choices=CredentialsIn.choices, default=CredentialsIn.HEADER)
    page_size = models.PositiveIntegerField(default=1000, validators=[MinValueValidator(1), MaxValueValidator(10_000)])
    deltas = models.BooleanField(
        default=False, help_text="Ask only for what changed since; once a week everything is fetched, and that wins."
    )

    sealed = models.JSONField(default=dict, editable=False)

    # -- when it runs, and what came of it

    schedule = models.JSONField(default=dict, blank=True)
    next_due_at = models.DateTimeField(null=True, blank=True, editable=False, db_index=True)
    failures = models.PositiveSmallIntegerField(default=0, editable=False, help_text="In a row.")
    last_success_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_full_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_taken = models.JSONField(default=dict, editable=False, help_text="What the newest file looked like.")
    late_since = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["district__name", "id"]
        constraints = [
            models.CheckConstraint(
                name="connection_pause_has_a_reason", condition=~Q(state="paused") | ~Q(pause_reason="")
            ),
            models.CheckConstraint(
                name="connection_host_key_was_confirmed",
                condition=Q(host_key="", host_key_confirmed_at=None)
                | Q(host_key__gt="", host_key_confirmed_at__isnull=False),
            ),
            models.CheckConstraint(
                name="connection_due_only_if_active", condition=Q(next_due_at=None) | Q(state="active")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {self.district}"

    # -- when it runs

    def timetable(self) -> Schedule | None:
        """The schedule on the district's clock, None if it runs only when asked, or what is stored is no schedule."""
        if not self.schedule:
            return None
        try:
            return Schedule.from_json({**self.schedule, "zone": self.district.time_zone}).checked()
        except (TypeError, ValueError):
            return None

    def on_its_clock(self, moment: datetime) -> datetime:
        """On the district's clock; in UTC where its zone is not known, so that its page opens all the same."""
        return moment.astimezone(self.district.zone)

    @property
    def delay(self) -> timedelta:
        """How long after its time a run starts: its place in `SPREAD`."""
        return offset(SPREAD, str(self.uid))

    def due_after(self, now: datetime) -> datetime | None:
        """When the next run after `now` starts, its place in `SPREAD` included."""
        timetable = self.timetable()
        return next_due(timetable, now, SPREAD, str(self.uid)) if timetable else None

    def due_from(self, day: date) -> datetime | None:
        """When the first run of `day` or later starts, its place in `SPREAD` included; it may have passed."""
        timetable = self.timetable()
        return first_due(timetable, day, SPREAD, str(self.uid)) if timetable else None

    # -- secrets: write-only for everybody but the code that connects

    def keep_secret(self, name: str, text: str) -> None:
        """Seal `text` under `name`, one of `SECRETS`; "" forgets it. The caller saves."""
        if name not in SECRETS:
            raise KeyError(name)
        sealed = {known: token for known, token in self.sealed.items() if known != name}
        self.sealed = {**sealed, name: seal(text, bound_to=self._bound(name))} if text else sealed

    def secret(self, name: str) -> str:
        """The secret itself, "" if there is none: for the code that connects, never for a page. Raises SealBroken."""
        token = self.sealed.get(name, "")
        return unseal(token, bound_to=self._bound(name)) if token else ""

    def has_secret(self, name: str) -> bool:
        return bool(self.sealed.get(name))

    def seal_anew(self) -> bool:
        """Seal with the current key what an older one sealed; whether anything had to be. The caller saves."""
        old = [name for name, token in self.sealed.items() if not is_current(token)]
        for name in old:
            self.keep_secret(name, self.secret(name))
        return bool(old)

    def _bound(self, name: str) -> str:
        return f"connection {self.uid} {name}"

    # -- changes of state

    def activate(self, now: datetime, next_due_at: datetime | None) -> bool:
        """From setting up or a pause into service; False if it was."""
        return self._move(
            now,
            [self.State.SETUP, self.State.PAUSED],
            self.State.ACTIVE,
            paused_by=None,
            pause_reason="",
            paused_until=None,
            failures=0,
            next_due_at=next_due_at,
        )

    def pause(self, now: datetime, reason: str, *, by: Staff | None = None, until: Any = None) -> bool:
        """From service into a pause, for a reason; False if it was not in service. `by` None means that the portal did
        it. `until`: the first date on which it runs again. An attempt that is under way is called off. Paused on
        purpose it waits for nothing, and what failed before is nobody's alarm any more."""
        forgotten: dict[str, Any] = {} if by is None and until is None else {"failures": 0}
        with transaction.atomic():
            paused = self._move(
                now,
                [self.State.ACTIVE],
                self.State.PAUSED,
                paused_by=by,
                pause_reason=reason[:300],
                paused_until=until,
                next_due_at=None,
                late_since=None,
                **forgotten,
            )
            if paused:
                self.call_off(now, "The connection was paused before this ended.")
        return paused

    @property
    def gave_up(self) -> bool:
        """Whether it is paused because it failed again and again, and goes on only when somebody resumes it."""
        return self.state == self.State.PAUSED and self.paused_by_id is None and self.paused_until is None

    def set_up_anew(self, now: datetime) -> bool:
        """Out of a pause, back to where it is tested and put into service: it is not what it was. False if it was not
        paused."""
        return self._move(
            now, [self.State.PAUSED], self.State.SETUP, paused_by=None, pause_reason="", paused_until=None
        )

    def call_off(self, now: datetime, words: str) -> None:
        """End the attempt that waits or runs, if there is one: its worker finds out, and delivers nothing."""
        self.attempts.filter(status__in=Attempt.OPEN).update(
            status=Attempt.Status.CALLED_OFF, ended_at=now, claim=None, claimed_until=None, words=words[:500]
        )

    def _move(self, now: datetime, of: list[Connection.State], to: Connection.State, **values: Any) -> bool:
        changed = Connection.objects.filter(pk=self.pk, state__in=of).update(state=to, state_since=now, **values)
        self.refresh_from_db()
        return bool(changed)

    def pin_host_key(self, now: datetime, fingerprint: str, by: Staff) -> bool:
        """Trust this fingerprint from now on; False if it is not the one that the server showed."""
        changed = (
            Connection.objects.filter(pk=self.pk, host_key_seen=fingerprint)
            .exclude(host_key_seen="")
            .update(host_key=fingerprint, host_key_confirmed_by=by, host_key_confirmed_at=now)
        )
        self.refresh_from_db()
        return bool(changed)

    def forget_host_key(self) -> None:
        """The server is another one now: whoever answers there must be confirmed anew."""
        Connection.objects.filter(pk=self.pk).update(
            host_key="", host_key_seen="", host_key_confirmed_by=None, host_key_confirmed_at=None
        )
        self.refresh_from_db()

    def forget_what_was_taken(self, now: datetime) -> None:
        """The source is another one now: nothing of it is old, and no changes of it are known. What is under way still
        comes from the one before."""
        Connection.objects.filter(pk=self.pk).update(last_taken={}, last_full_at=None)
        self.call_off(now, "The connection was changed before this ended.")
        self.refresh_from_db()

    def speak_for(self, now: datetime, scope: Scope) -> None:
        """From now on what it brings is about these schools and terms only. What it brought before, it may have brought
        for others: so the next run brings it again, whole."""
        Connection.objects.filter(pk=self.pk).update(speaks_for=scope.as_json())
        self.forget_what_was_taken(now)

    def set_schedule(self, now: datetime, timetable: Schedule) -> None:
        """What is due already stays due, and is started within the minute; what comes after it is by this schedule."""
        self.schedule = timetable.as_json()
        own = Connection.objects.filter(pk=self.pk)
        own.update(schedule=self.schedule)
        # Neither is known from before: it may have been paused, or have become due, in this moment.
        own.filter(state=self.State.ACTIVE).exclude(next_due_at__lte=now).update(next_due_at=self.due_after(now))
        self.refresh_from_db()

    def claim_due(self, then: datetime | None) -> bool:
        """Take the run that is due, and set the next one; False if somebody else took it."""
        return bool(
            Connection.objects.filter(pk=self.pk, state=self.State.ACTIVE, next_due_at=self.next_due_at).update(
                next_due_at=then
            )
        )

    def allowed_networks(self, today: Any) -> tuple[Network, ...]:
        """Private networks that this connection may reach today: entered by one person, confirmed by another."""
        entries = self.allowances.filter(confirmed_by__isnull=False, expires_on__gte=today)
        return tuple(ip_network(entry.network) for entry in entries)


class Allowance(models.Model):
    """A network of the district's own that a connection may reach although it is not public."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="allowances")
    network = models.CharField(max_length=50, help_text="For example 10.20.30.40/32.")
    reason = models.CharField(max_length=300)
    entered_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    entered_at = models.DateTimeField(default=timezone.now)
    confirmed_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    confirmed_at = models.DateTimeField(null=True)
    expires_on = models.DateField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="allowance_confirmed_by_another",
                condition=Q(confirmed_by=None, confirmed_at=None)
                | (Q(confirmed_by__isnull=False, confirmed_at__isnull=False) & ~Q(confirmed_by=F("entered_by"))),
            )
        ]

    def __str__(self) -> str:
        return self.network

    def clean(self) -> None:
        try:
            network = ip_network(self.network)
        except ValueError:
            raise ValidationError({"network": "Write an address and its length, for example 10.20.30.40/32."}) from None
        if network.num_addresses > 256:
            raise ValidationError({"network": "At most 256 addresses (/24): name the server, not the whole network."})
        if any(never(address) for address in network):
            raise ValidationError({"network": "No server of a district stands there: link-local, or a cloud's own."})

    def is_over(self, now: datetime) -> bool:
        """Whether its last day has passed, on the district's calendar."""
        return self.expires_on < self.connection.district.local_date(now)

    def confirm(self, now: datetime, by: Staff) -> bool:
        """False if it was entered by the same person, is confirmed already, or is over."""
        if self.is_over(now):
            return False
        changed = (
            Allowance.objects.filter(pk=self.pk, confirmed_by=None)
            .exclude(entered_by=by)
            .update(confirmed_by=by, confirmed_at=now)
        )
        self.refresh_from_db()
        return bool(changed)


class Attempt(models.Model):
    """One try at fetching a delivery, from being asked for to its outcome in words. A row per try, never changed after
    it ended."""

    class Why(models.TextChoices):
        SCHEDULE = "schedule", "by schedule"
        NOW = "now", "asked for by staff"
        RETRY = "retry", "tried again"

    class Status(models.TextChoices):
        WAITING = "waiting", "waiting for a worker"
        RUNNING = "running", "running"
        DELIVERED = "delivered", "delivered"
        NOTHING_NEW = "nothing_new", "nothing new"
        CALLED_OFF = "called_off", "called off"
        FAILED = "failed", "failed"

    OPEN = (Status.WAITING, Status.RUNNING)

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="attempts")
    why = models.CharField(max_length=10, choices=Why.choices)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    number = models.PositiveSmallIntegerField(default=1, help_text="1 for the first try of a run, then 2 and 3.")
    additions_only = models.BooleanField(default=False)
    not_before = models.DateTimeField(default=timezone.now)
    queued_at = models.DateTimeField(null=True, help_text="When a task was last made for it.")
    asked_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.WAITING)
    claim = models.UUIDField(null=True)
    claimed_until = models.DateTimeField(null=True)
    phase = models.CharField(max_length=120, blank=True, default="")
    rows_done = models.PositiveBigIntegerField(default=0)
    bytes_done = models.PositiveBigIntegerField(default=0)
    bytes_in_all = models.PositiveBigIntegerField(default=0)
    code = models.CharField(max_length=40, blank=True, default="")
    words = models.CharField(max_length=500, blank=True, default="")
    sync = models.ForeignKey(Sync, null=True, on_delete=models.SET_NULL, related_name="came_by")

    class Meta:
        ordering = ["-asked_at", "-id"]
        indexes = [models.Index(fields=["connection", "-asked_at"]), models.Index(fields=["status", "not_before"])]
        constraints = [
            models.UniqueConstraint(
                fields=["connection"], condition=Q(status__in=["waiting", "running"]), name="attempt_one_at_a_time"
            ),
            models.CheckConstraint(
                name="attempt_ended_has_an_end",
                condition=Q(status__in=["waiting", "running"], ended_at=None)
                | (~Q(status__in=["waiting", "running"]) & Q(ended_at__isnull=False)),
            ),
            models.CheckConstraint(name="attempt_failed_has_a_code", condition=~Q(status="failed") | ~Q(code="")),
        ]

    def __str__(self) -> str:
        return f"attempt {self.pk}"

    @property
    def share(self) -> int | None:
        """How much has come, in percent; None where nobody knows how much there is."""
        return min(100 * self.bytes_done // self.bytes_in_all, 100) if self.bytes_in_all else None

    def start(self, now: datetime) -> bool:
        """Claim it; False if another worker has it or it has ended."""
        claimable = Q(status=self.Status.WAITING, not_before__lte=now)
        changed = Attempt.objects.filter(claimable, pk=self.pk).update(
            status=self.Status.RUNNING, started_at=now, claim=uuid.uuid4(), claimed_until=now + ATTEMPT_LEASE
        )
        self.refresh_from_db()
        return bool(changed)

    def runs_among_the_first(self, number: int, now: datetime) -> bool:
        """Whether fewer than so many that fetch or test had begun before it."""
        return ("fetch", self.pk) in _begun(now)[:number]

    def wait_for_a_place(self, until: datetime) -> bool:
        """Give the claim back, to be begun again; False if it was lost."""
        mine = Attempt.objects.filter(pk=self.pk, claim=self.claim, status=self.Status.RUNNING)
        waits = mine.update(
            status=self.Status.WAITING,
            started_at=None,
            claim=None,
            claimed_until=None,
            not_before=until,
            queued_at=None,
        )
        self.refresh_from_db()
        return bool(waits)

    def beat(self, now: datetime, phase: str, *, rows: int = 0, done: int = 0, in_all: int = 0) -> bool:
        """Say how far it is and renew the lease; False if the claim was lost."""
        return bool(
            Attempt.objects.filter(pk=self.pk, claim=self.claim, status=self.Status.RUNNING).update(
                claimed_until=now + ATTEMPT_LEASE,
                phase=phase[:120],
                rows_done=rows,
                bytes_done=done,
                bytes_in_all=in_all,
            )
        )

    def renew(self, now: datetime) -> bool:
        """Renew the lease while there is nothing to say; False if the claim was lost."""
        return bool(
            Attempt.objects.filter(pk=self.pk, claim=self.claim, status=self.Status.RUNNING).update(
                claimed_until=now + ATTEMPT_LEASE
            )
        )

    def mark_delivered(self, now: datetime, sync: Sync, words: str, size: int) -> bool:
        return self._end(now, self.Status.DELIVERED, sync=sync, words=words[:500], bytes_done=size, bytes_in_all=size)

    def mark_nothing_new(self, now: datetime, words: str) -> bool:
        return self._end(now, self.Status.NOTHING_NEW, words=words[:500])

    def mark_called_off(self, now: datetime, words: str) -> bool:
        return self._end(now, self.Status.CALLED_OFF, words=words[:500])

    def mark_failed(self, now: datetime, code: str, words: str) -> bool:
        return self._end(now, self.Status.FAILED, code=code, words=words[:500])

    def _end(self, now: datetime, status: Attempt.Status, **values: Any) -> bool:
        changed = Attempt.objects.filter(pk=self.pk, claim=self.claim, status__in=self.OPEN).update(
            status=status, ended_at=now, claim=None, claimed_until=None, **values
        )
        if changed:  # else it would take on the claim of whoever has it now, and end it in his place the next time
            self.refresh_from_db()
        return bool(changed)


#: Connections in service, or paused because they failed, that cannot connect or are late. Not those that somebody has
#: paused, or that have a day on which they go on.
_ON_PURPOSE = Q(state="paused") & (Q(paused_by__isnull=False) | Q(paused_until__isnull=False))
IN_TROUBLE = (Q(failures__gt=0) | Q(late_since__isnull=False)) & ~Q(state="setup") & ~_ON_PURPOSE


def latest_attempts(connections: Iterable[Connection]) -> dict[int, Attempt]:
    """The latest attempt of each of these, by the connection's id, in one query."""
    newest = Attempt.objects.filter(connection=OuterRef("pk")).order_by("-asked_at", "-id").values("pk")[:1]
    ids = Connection.objects.filter(pk__in=[each.pk for each in connections]).values_list(Subquery(newest), flat=True)
    return {attempt.connection_id: attempt for attempt in Attempt.objects.filter(pk__in=list(ids.order_by()))}


class Checkup(models.Model):
    """What the connection doctor found: a step each, in words. Nothing of the roster is kept."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="checkups")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    queued_at = models.DateTimeField(null=True, help_text="When a task was last made for it; none while it needs one.")
    started_at = models.DateTimeField(default=timezone.now)
    begun_at = models.DateTimeField(null=True, help_text="When a worker took it; none while it waits for one.")
    ended_at = models.DateTimeField(null=True)
    steps = models.JSONField(default=list)
    passed = models.BooleanField(null=True)

    class Meta:
        ordering = ["-started_at", "-id"]
        indexes = [models.Index(fields=["connection", "-started_at"])]

    def __str__(self) -> str:
        return f"checkup {self.pk}"

    @classmethod
    def going_on(cls, district: District) -> Checkup | None:
        """The test of one of this district's connections that waits or runs."""
        return cls.objects.filter(connection__district=district, ended_at=None).first()

    @classmethod
    def ask(cls, connection: Connection, now: datetime, *, by: Staff | None = None) -> Checkup | None:
        """A new test; the caller makes its task, in the same transaction. None while one of this district goes on: each
        occupies a worker for minutes, and there are few."""
        of_district = Connection.objects.filter(district=connection.district_id).order_by("pk")
        list(of_district.select_for_update().values_list("pk"))  # whoever asks in this very moment waits here
        if cls.going_on(connection.district):
            return None
        return cls.objects.create(connection=connection, by=by, started_at=now, queued_at=now)

    @classmethod
    def to_queue(cls, now: datetime) -> list[int]:
        """The ids of those that wait and have no task: the caller makes one for each."""
        waiting = cls.objects.filter(ended_at=None, begun_at=None, queued_at=None)
        return [each.pk for each in waiting if cls.objects.filter(pk=each.pk, queued_at=None).update(queued_at=now)]

    def begin(self, now: datetime) -> bool:
        """A worker takes it: from here on its time counts. False if another one has, or it was given up meanwhile."""
        mine = Checkup.objects.filter(pk=self.pk, ended_at=None, begun_at=None)
        taken = mine.update(started_at=now, begun_at=now)
        self.refresh_from_db()
        return bool(taken)

    def runs_among_the_first(self, number: int, now: datetime) -> bool:
        """Whether fewer than so many that fetch or test had begun before it."""
        return ("test", self.pk) in _begun(now)[:number]

    def wait_for_a_place(self, now: datetime) -> None:
        """Give it back, to be begun again. It was heard of."""
        given = Checkup.objects.filter(pk=self.pk, ended_at=None)
        given.update(started_at=now, begun_at=None, queued_at=None)
        self.refresh_from_db()

    def end(self, now: datetime, steps: list[dict[str, Any]]) -> None:
        """It passed if there were steps and none failed."""
        passed = bool(steps) and all(step["outcome"] != "failed" for step in steps)
        Checkup.objects.filter(pk=self.pk).update(ended_at=now, steps=steps, passed=passed)
        self.refresh_from_db()


def _begun(now: datetime) -> list[tuple[str, int]]:
    """Fetches and tests that occupy a worker at this moment, in the order in which they began."""
    fetches = Attempt.objects.filter(status=Attempt.Status.RUNNING, claimed_until__gt=now)
    tests = Checkup.objects.filter(ended_at=None, begun_at__gt=now - CHECKUP_LOST)
    began = [(at, "fetch", pk) for at, pk in fetches.values_list("started_at", "pk")]
    began += [(at, "test", pk) for at, pk in tests.values_list("begun_at", "pk")]
    return [(kind, pk) for _, kind, pk in sorted(began)]
