"""Everything the portal remembers: districts, what they delivered, each sync, and the live roster.

Who writes what: the live roster's tables are written by `rosters.applying` alone; a `Sync` changes its status only
by its own methods; `AuditEvent` is only ever added to. What must be true together is held by constraints.
"""

from __future__ import annotations

import uuid
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

#: Share and number of a district's people above which their removal may be too large for one to decide.
RED_LINE = (0.2, 2_000)
SYNC_LEASE = timedelta(seconds=60)
#: How long what was verified is taken to hold, and how long a worker may take for it.
VERIFIED_FOR = timedelta(hours=20)
VERIFYING_FOR = timedelta(hours=1)


class RosterText(models.TextField):  # type: ignore[type-arg]
    """A cell of a roster: text exactly as delivered, compared byte by byte on every database.

    PostgreSQL would otherwise compare by the server's locale: slower to index, and two servers could disagree.
    """

    def db_parameters(self, connection: Any) -> Any:
        parameters = super().db_parameters(connection)
        parameters["collation"] = "C" if connection.vendor == "postgresql" else "BINARY"
        return parameters


class GivenKey(models.BigIntegerField):  # type: ignore[type-arg]
    """A primary key that the loader gives (`KeyCounter`). On SQLite it is the row's own number, without the
    book-keeping that a key of the database's making costs at every insert."""

    def db_type(self, connection: Any) -> str | None:
        return "integer" if connection.vendor == "sqlite" else super().db_type(connection)


# ---------------------------------------------------------------------------------------------- districts and
# deliveries


#: What a district sent is deleted so long after somebody said that it leaves; until then it may stay after all.
LEAVES_AFTER = timedelta(days=30)
#: How long a worker may take for that.
PURGING_FOR = timedelta(hours=2)


class DistrictManager(models.Manager["District"]):
    """Without districts that leave, or have left: whoever asks for districts means those that are here."""

    def get_queryset(self) -> models.QuerySet[District]:
        return super().get_queryset().filter(leaving_since=None)


class District(models.Model):
    """Our customer, the tenant. `version` counts the rosters that have been live; 0 means none yet.

    A district that leaves (`leaving_since`) is out of sight at once: nothing comes in, no tool reads it. When its time
    is over all that it sent is deleted (`rosters.syncs.parting`); `left_at` says when, `left_with` how much that was.
    """

    name = models.CharField(max_length=200, help_text="As people call it, for example “Cedar Grove Schools”.")
    site_code = models.CharField(
        max_length=64,
        unique=True,
        validators=[RegexValidator(r"^[A-Za-z0-9._-]+$", "Use letters, digits, dot, dash and underscore only.")],
        help_text="The number under which the district is known to us. It is part of file paths and commands.",
    )
    time_zone = models.CharField(
        max_length=64, default="America/Chicago", help_text="Dates and schedules of this district are local to it."
    )
    products = models.JSONField(
        default=list, blank=True, help_text="Products that receive this roster; each adds its own checks."
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="districts",
        help_text="The member of our staff who looks after this district.",
    )
    applies_automatically = models.BooleanField(
        default=False, help_text="Apply a sync that no rule holds without asking a person. Held syncs always wait."
    )
    needs_two_people = models.BooleanField(
        "large removals need two people",
        default=False,
        help_text="A sync that would remove more than a fifth of the people, or more than 2,000, goes live only when "
        "two members of our staff have approved the same plan.",
    )
    keeps_ids_by_itself = models.BooleanField(
        "keeps the id of whoever is known again",
        default=False,
        help_text="Where somebody comes under another id, with the same name and the same number, login or address, go "
        "on under the id that products know, without asking a person: up to the limit for changed ids, above which a "
        "sync waits.",
    )
    hold_limits = models.JSONField(default=dict, blank=True, help_text="Where this district differs from the defaults.")
    mappings = models.JSONField(
        default=dict, blank=True, help_text="Values to read differently, for example users.grades: K is KG."
    )
    column_names = models.JSONField(
        default=dict,
        blank=True,
        help_text="How its files call columns of the standard: users.identifier StudentNumber.",
    )
    rule_overrides = models.JSONField(
        default=dict, blank=True, help_text="Rules whose severity differs for this district, by code."
    )
    not_kept = models.JSONField(
        default=list, blank=True, help_text="What of its people is not kept: `oneroster.normal.MAY_BE_LEFT_OUT`."
    )
    encoding = models.CharField(
        max_length=20, blank=True, default="", help_text="Empty: UTF-8. Set only if the district cannot export UTF-8."
    )
    keeps_history_days = models.PositiveSmallIntegerField(
        "history, in days",
        null=True,
        blank=True,
        help_text="What was delivered, what each sync changed, what was live before.",
    )
    keeps_left_days = models.PositiveSmallIntegerField(
        "people and records that left, in days",
        null=True,
        blank=True,
        help_text="What the live roster still tells, as tobedeleted, of what is no longer in it.",
    )
    version = models.PositiveIntegerField(default=0, editable=False)
    left_forgotten = models.PositiveIntegerField(
        default=0, editable=False, help_text="What left up to this version is deleted: its time was over."
    )
    forgetting_since = models.DateTimeField(
        null=True, editable=False, help_text="Rows that say so since then may still have their files."
    )
    verifying_since = models.DateTimeField(null=True, editable=False, help_text="A worker is at it.")
    verified_at = models.DateTimeField(null=True, editable=False)
    verification_faults = models.JSONField(
        default=list, editable=False, help_text="What was wrong then, in words without roster values."
    )
    snapshot = models.ForeignKey(
        "Snapshot", null=True, editable=False, on_delete=models.PROTECT, related_name="+", help_text="What is live."
    )
    kept_ids = models.ForeignKey(
        "KeptIds",
        null=True,
        editable=False,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Under which ids its records are known where its SIS has others now.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    leaving_since = models.DateTimeField(null=True, editable=False)
    purging_since = models.DateTimeField(null=True, editable=False, help_text="A worker is deleting.")
    left_at = models.DateTimeField(null=True, editable=False, help_text="When all that it sent was deleted.")
    left_with = models.JSONField(default=dict, editable=False, help_text="What was deleted then, in numbers.")

    objects = DistrictManager()
    with_leaving = models.Manager["District"]()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                name="district_live_has_snapshot",
                condition=Q(version=0, snapshot=None) | Q(version__gt=0, snapshot__isnull=False),
            ),
            models.CheckConstraint(
                name="district_left_with_nothing",
                condition=Q(left_at=None) | Q(leaving_since__isnull=False, version=0, kept_ids=None),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """A number is taken as long as a district that leaves has it."""
        taken = District.with_leaving.exclude(leaving_since=None).filter(site_code=self.site_code).exclude(pk=self.pk)
        if taken.exists():
            raise ValidationError({"site_code": "A district that leaves us has this site code until it is deleted."})

    @property
    def history_kept(self) -> timedelta:
        """How long originals, differences, places of findings and earlier versions are kept."""
        usual: int = settings.KEEP_HISTORY_DAYS
        return timedelta(days=min(self.keeps_history_days or usual, usual))

    @property
    def left_kept(self) -> timedelta:
        """How long records are kept that are no longer in the live roster."""
        usual: int = settings.KEEP_LEFT_DAYS
        return timedelta(days=min(self.keeps_left_days or usual, usual))

    @property
    def zone(self) -> ZoneInfo:
        """The clock of the district; UTC where its time zone is none."""
        try:
            return ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            return ZoneInfo("UTC")

    def local_date(self, moment: datetime) -> date:
        """The day on the district's calendar."""
        return moment.astimezone(self.zone).date()

    @property
    def leaves_at(self) -> datetime | None:
        """When what it sent is deleted, if it leaves."""
        return self.leaving_since + LEAVES_AFTER if self.leaving_since else None

    def start_purging(self, now: datetime) -> bool:
        """Claim it, unless a worker has it, for `PURGING_FOR` at most, or it is not due."""
        due = District.with_leaving.filter(pk=self.pk, left_at=None, leaving_since__lte=now - LEAVES_AFTER)
        free = Q(purging_since=None) | Q(purging_since__lt=now - PURGING_FOR)
        return bool(due.filter(free).update(purging_since=now))

    def start_verifying(self, now: datetime) -> bool:
        """Claim it, unless a worker has it, for an hour at most, or it was done within `VERIFIED_FOR`."""
        due = Q(verified_at=None) | Q(verified_at__lt=now - VERIFIED_FOR)
        free = Q(verifying_since=None) | Q(verifying_since__lt=now - VERIFYING_FOR)
        return bool(District.with_leaving.filter(due, free, pk=self.pk, version__gt=0).update(verifying_since=now))

    def mark_verified(self, now: datetime, faults: list[str]) -> bool:
        """Write down what was found; False, and nothing written, if another worker has it by now."""
        mine = District.with_leaving.filter(pk=self.pk, verifying_since=self.verifying_since)
        return bool(mine.update(verifying_since=None, verified_at=now, verification_faults=faults))


class Delivery(models.Model):
    """Bytes received once. The original lies under `rosters.storing` by its SHA-256, until its time is over; nothing
    else of this row ever changes."""

    class Origin(models.TextChoices):
        STAFF = "staff", "uploaded by staff"
        COMMAND = "command", "command line"
        SFTP = "sftp", "SFTP"
        REST = "rest", "OneRoster API"
        DISTRICT = "district", "uploaded by the district"
        API = "api", "sent by a tool"

    district = models.ForeignKey(District, on_delete=models.PROTECT, related_name="deliveries")
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField(help_text="Bytes.")
    name = models.CharField(max_length=255, help_text="The file's name as it was sent.")
    origin = models.CharField(max_length=20, choices=Origin.choices)
    received_at = models.DateTimeField(default=timezone.now)
    received_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    forgotten_at = models.DateTimeField(null=True, editable=False, help_text="When the original was deleted.")

    class Meta:
        verbose_name_plural = "deliveries"
        ordering = ["-received_at", "-id"]
        indexes = [models.Index(fields=["district", "sha256"])]

    def __str__(self) -> str:
        return self.name


class Snapshot(models.Model):
    """A whole roster that was live: immutable, one Parquet file per table, found by digest (`rosters.storing`) until
    its time is over.

    `digest` is canonical: independent of row order, zip and time stamps. `tables` is
    {"users": {"digest": ..., "rows": ...}, ...}.
    """

    district = models.ForeignKey(District, on_delete=models.PROTECT, related_name="snapshots")
    version = models.PositiveIntegerField()
    digest = models.CharField(max_length=64)
    tables = models.JSONField()
    made_at = models.DateTimeField(default=timezone.now)
    forgotten_at = models.DateTimeField(null=True, editable=False, help_text="When its files were deleted.")

    class Meta:
        ordering = ["-version"]
        constraints = [models.UniqueConstraint(fields=["district", "version"], name="snapshot_of_version")]

    def __str__(self) -> str:
        return f"version {self.version}"


class KeptIds(models.Model):
    """A list of ids that stand for others: what the district sends as one is known to products as the other.

    Immutable; the pairs lie under `rosters.storing` by digest, `tables` says how many of each table. The one that
    counts is `District.kept_ids`; a sync remembers by which one it was read, for as long as its history is kept.
    """

    district = models.ForeignKey(District, on_delete=models.PROTECT, related_name="lists_of_ids")
    digest = models.CharField(max_length=64)
    tables = models.JSONField()
    made_at = models.DateTimeField(default=timezone.now)
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    forgotten_at = models.DateTimeField(null=True, editable=False, help_text="When its file was deleted.")

    class Meta:
        verbose_name_plural = "lists of kept ids"
        ordering = ["-made_at", "-id"]

    def __str__(self) -> str:
        return f"list {self.pk} of kept ids"

    @property
    def number(self) -> int:
        return sum(self.tables.values())


# ------------------------------------------------------------------------------------------------------------------
# syncs


class SyncQuerySet(models.QuerySet["Sync"]):
    def unfinished(self) -> SyncQuerySet:
        return self.exclude(status__in=Sync.ENDED)

    def awaiting_review(self) -> SyncQuerySet:
        return self.filter(status__in=Sync.WAITING)

    def judged(self) -> SyncQuerySet:
        """Deliveries of which every finding was worked out: not those known to be live already, nor those that could
        not be read to their end."""
        return self.filter(undoes=None, seconds__has_key="checking").exclude(findings__severity="fatal")

    def last_of_deliveries(self) -> SyncQuerySet:
        """Of each delivery the last sync: a file can be checked again, or go live in two steps."""
        later = Sync.objects.filter(delivery=OuterRef("delivery"), pk__gt=OuterRef("pk"))
        return self.filter(delivery__isnull=False).exclude(Exists(later))

    def running(self) -> SyncQuerySet:
        """Being worked on, or about to be; what waits for its hour is not."""
        return self.filter(status__in=Sync.RUNNING).exclude(Sync.for_later(timezone.now()))

    def abandoned(self, now: datetime) -> SyncQuerySet:
        """Claimed by a worker that has not been heard of since its lease ended."""
        return self.filter(status__in=[Sync.Status.PREPARING, Sync.Status.APPLYING], claimed_until__lt=now)


_Syncs = models.Manager.from_queryset(SyncQuerySet)


class SyncManager(_Syncs["Sync"]):
    """Without dry runs: they are no part of what happens to a district, wherever one looks."""

    def get_queryset(self) -> SyncQuerySet:
        return cast("SyncQuerySet", super().get_queryset().filter(dry_run=False))


class Sync(models.Model):
    """One trip of one delivery, or an undo of an earlier one: base, difference, findings, holds, decision, result.

    `status` is changed only by the methods below. Each is one conditional UPDATE whose row count is the answer:
    False means that somebody else was faster, and the caller stops.
    """

    class Status(models.TextChoices):
        RECEIVED = "received", "Received"
        PREPARING = "preparing", "Being checked and compared"
        REJECTED = "rejected", "Needs a corrected file"
        UNCHANGED = "unchanged", "Nothing changed"
        READY = "ready", "Ready to apply"
        AWAITING_REVIEW = "awaiting_review", "Needs review"
        APPROVED = "approved", "Approved"
        APPLYING = "applying", "Being applied"
        APPLIED = "applied", "Applied"
        DECLINED = "declined", "Declined"
        SUPERSEDED = "superseded", "Replaced by a newer delivery"
        FAILED = "failed", "Failed"
        PLANNED = "planned", "Dry run"

    class Decision(models.TextChoices):
        NONE = "", "none"
        APPROVED = "approved", "approved"
        DECLINED = "declined", "declined"

    RUNNING = (Status.RECEIVED, Status.PREPARING, Status.APPROVED, Status.APPLYING)
    #: For a person to decide about; for one to see what went wrong.
    WAITING = (Status.READY, Status.AWAITING_REVIEW)
    STUCK = (Status.REJECTED, Status.FAILED)
    ENDED = (
        Status.REJECTED, Status.UNCHANGED, Status.APPLIED, Status.DECLINED, Status.SUPERSEDED, Status.FAILED,
        Status.PLANNED,
    )  # fmt: skip
    MAX_ATTEMPTS = 3
    #: Without any decision.
    _UNDECIDED: ClassVar[dict[str, Any]] = {
        "decision": Decision.NONE, "decided_by": None, "decided_automatically": False, "decided_at": None,
        "decision_reason": "", "go_live_at": None, "first_approved_by": None, "first_approved_at": None,
    }  # fmt: skip

    district = models.ForeignKey(District, on_delete=models.PROTECT, related_name="syncs")
    delivery = models.ForeignKey(Delivery, null=True, on_delete=models.PROTECT, related_name="syncs")
    undoes = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="undone_by")
    undo_only = models.JSONField(
        default=dict, blank=True, help_text="Of an undo that takes back a part: the `school` and the `kind` of change."
    )
    undone_at = models.DateTimeField(null=True, help_text="When what it changed was taken back, if it is so still.")

    status = models.CharField(max_length=20, choices=Status.choices, default=Status.RECEIVED)
    status_since = models.DateTimeField(default=timezone.now)
    received_at = models.DateTimeField(default=timezone.now)
    phase = models.CharField(max_length=40, blank=True, default="")
    progress = models.FloatField(default=0.0, help_text="Of the phase, 0 to 1.")
    rows_done = models.PositiveBigIntegerField(default=0)
    seconds = models.JSONField(default=dict, help_text="Phase to seconds.")

    # what came
    dry_run = models.BooleanField(default=False, help_text="It says what would change, and can never be applied.")
    as_if_on = models.DateField(
        null=True, blank=True, help_text="Of a dry run: the day as of which it is checked; empty: the day it came."
    )
    additions_only = models.BooleanField(default=False, help_text="It adds and changes, and removes nothing.")
    speaks_for = models.JSONField(
        default=dict, blank=True, help_text="`Scope.as_json`: the schools and terms it is about; {}: all of them."
    )
    untouched = models.PositiveBigIntegerField(
        default=0, help_text="Live records of other schools and terms, of the tables that came: they stay as they are."
    )
    removals_wait = models.BooleanField(
        default=False, help_text="What it would have removed is decided after it, in a sync of its own."
    )
    set_aside = models.JSONField(
        default=list, blank=True, help_text="Of the holds whose changes are decided after it: code, table, dimension."
    )
    oneroster_version = models.CharField(max_length=10, blank=True, default="")
    kept_ids = models.ForeignKey(
        KeptIds, null=True, editable=False, on_delete=models.PROTECT, related_name="syncs", help_text="It was read by."
    )
    modes = models.JSONField(default=dict, help_text="Table to bulk or delta; absent tables are left out.")
    headers = models.JSONField(default=dict, help_text="Table to its header row.")
    file_rows = models.JSONField(default=dict, help_text="Table to how many rows its file has, also those not used.")
    last_modified = models.CharField(
        max_length=40, blank=True, default="", help_text="The newest dateLastModified of the delivery, as it came."
    )
    errors = models.PositiveIntegerField(default=0)
    warnings = models.PositiveIntegerField(default=0)
    quarantined = models.PositiveIntegerField(default=0, help_text="Rows not used; their records keep old values.")

    # the plan
    left_out = models.PositiveBigIntegerField(
        default=0, help_text="Live records that would be removed if the sync did not only add."
    )
    waiting = models.PositiveBigIntegerField(
        default=0, help_text="Changes that are `set_aside`, together with what makes no sense without them."
    )
    base = models.ForeignKey(Snapshot, null=True, on_delete=models.PROTECT, related_name="+")
    base_version = models.PositiveIntegerField(default=0)
    target_digest = models.CharField(max_length=64, blank=True, default="")
    target_tables = models.JSONField(default=dict, help_text="As `Snapshot.tables`, of the roster it leads to.")
    plan_files = models.JSONField(default=dict, help_text="Table to the SHA-256 of its stored difference.")
    plan_digest = models.CharField(
        max_length=64, blank=True, default="", help_text="Of base version and difference: what an approval is bound to."
    )
    verdict = models.TextField(blank=True, default="", help_text="One sentence for a person, without names of people.")
    added = models.PositiveBigIntegerField(default=0)
    updated = models.PositiveBigIntegerField(default=0)
    removed = models.PositiveBigIntegerField(default=0)
    consequences = models.JSONField(
        default=dict, help_text="What it would mean to those who stay: `explaining.consequences` to how many."
    )
    grade_moves = models.JSONField(
        default=list, help_text="Where the students of each grade go, if many move: `explaining.moves.Move`."
    )
    people_affected = models.PositiveIntegerField(
        default=0, help_text="Users that the difference adds, changes, removes."
    )

    # the decision
    decision = models.CharField(max_length=10, choices=Decision.choices, blank=True, default=Decision.NONE)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    decided_automatically = models.BooleanField(default=False)
    decided_at = models.DateTimeField(null=True)
    decision_reason = models.TextField(blank=True, default="")
    go_live_at = models.DateTimeField(
        null=True, editable=False, help_text="The approved plan is applied at this moment, not before."
    )
    first_approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, editable=False, on_delete=models.PROTECT, related_name="+",
        help_text="Who approved the plan first, where two must.",
    )  # fmt: skip
    first_approved_at = models.DateTimeField(null=True, editable=False)

    # the result
    applied_at = models.DateTimeField(null=True)
    result = models.OneToOneField(Snapshot, null=True, on_delete=models.PROTECT, related_name="sync")
    error_code = models.CharField(max_length=40, blank=True, default="")
    error = models.TextField(blank=True, default="", help_text="What happened and what to do next; no roster value.")

    # what is left of it
    forgotten_at = models.DateTimeField(
        null=True, editable=False, help_text="When its difference and the places of its findings were deleted."
    )

    # who works on it
    attempts = models.PositiveSmallIntegerField(default=0)
    claim = models.UUIDField(null=True)
    claimed_until = models.DateTimeField(null=True)

    objects = SyncManager()
    with_dry_runs = SyncQuerySet.as_manager()

    class Meta:
        ordering = ["-received_at", "-id"]
        indexes = [
            models.Index(fields=["status", "status_since"]),
            models.Index(fields=["district", "-received_at"]),
        ]
        constraints = [
            models.CheckConstraint(
                name="sync_decided_together",
                condition=Q(decision="", decided_at=None, decided_by=None, decided_automatically=False)
                | Q(decision__in=["approved", "declined"], decided_at__isnull=False)
                & (Q(decided_by__isnull=False) | Q(decided_automatically=True)),
            ),
            models.CheckConstraint(
                name="sync_goes_live_at_its_hour_if_approved",
                condition=Q(go_live_at=None) | Q(decision="approved", decided_automatically=False),
            ),
            models.CheckConstraint(
                name="sync_two_people_are_two",
                condition=Q(first_approved_by=None)
                | Q(decided_by=None)
                | ~Q(decided_by=F("first_approved_by"))
                | ~Q(decision="approved"),
            ),
            models.CheckConstraint(
                name="sync_applied_has_result",
                condition=Q(status="applied", applied_at__isnull=False, result__isnull=False, decision="approved")
                | ~Q(status="applied") & Q(applied_at=None, result=None),
            ),
            models.CheckConstraint(
                name="sync_dry_run_is_never_applied",
                condition=Q(
                    dry_run=True,
                    decision="",
                    undoes=None,
                    status__in=["received", "preparing", "rejected", "unchanged", "failed", "planned"],
                )
                | Q(dry_run=False) & ~Q(status="planned"),
            ),
            models.CheckConstraint(name="sync_part_of_an_undo", condition=Q(undo_only={}) | Q(undoes__isnull=False)),
            models.CheckConstraint(name="sync_undone_was_applied", condition=Q(undone_at=None) | Q(status="applied")),
            models.CheckConstraint(name="sync_as_if_on_of_a_dry_run", condition=Q(as_if_on=None) | Q(dry_run=True)),
            models.CheckConstraint(
                name="sync_removals_wait_where_it_adds",
                condition=Q(removals_wait=False) | Q(additions_only=True, delivery__isnull=False, dry_run=False),
            ),
            models.CheckConstraint(
                name="sync_sets_aside_of_a_delivery",
                condition=Q(set_aside=[], waiting=0) | Q(delivery__isnull=False, dry_run=False),
            ),
            models.CheckConstraint(
                name="sync_has_delivery_or_undoes",
                condition=Q(delivery__isnull=False, undoes=None) | Q(delivery=None, undoes__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["district"],
                condition=Q(status__in=["approved", "applying"]),
                name="sync_one_writer_per_district",
            ),
        ]

    def __str__(self) -> str:
        return f"sync {self.pk}"

    @property
    def is_undo(self) -> bool:
        return self.undoes_id is not None

    @property
    def seems_anothers(self) -> bool:
        """Whether what came looks like another district's roster, or is about none of the schools that it may speak
        for: then nothing of it is shown, nor handed out, to this one, unless a person found that it is theirs."""
        if self.delivery and not (self.plan_digest or self.verdict):
            # nobody has looked at it yet, and these have several districts
            return self.delivery.origin in (Delivery.Origin.STAFF, Delivery.Origin.API)
        held = self.status != self.Status.APPLIED and self.holds.filter(code="WRONG_DISTRICT").exists()
        return held or self.findings.filter(code="OR-SCOPE-002").exists()

    @property
    def needs_two_people(self) -> bool:
        """Whether the plan is one that its district wants approved by two: it removes more people than `RED_LINE`. What
        takes back a sync must not wait for a second."""
        return self.district.needs_two_people and self.removes_many

    @property
    def removes_many(self) -> bool:
        """Whether the plan removes more people than `RED_LINE`, and is no undo; a part whether the whole would have."""
        if self.undoes_id or not self.plan_digest:
            return False
        people = Tally.objects.filter(sync=self, table="users", dimension="", removed__gt=0)
        if self.taken_apart and people.exists():
            people = Tally.objects.filter(
                sync__delivery=self.delivery_id, sync__pk__lte=self.pk, table="users", dimension=""
            )
        share, count = RED_LINE
        return any(each.removed > count or each.removed > share * each.before for each in people)

    @property
    def taken_apart(self) -> bool:
        """Whether it is one of the parts in which its delivery is decided about."""
        if self.rest_waits or self.delivery_id is None:
            return self.rest_waits
        before = Sync.objects.filter(delivery=self.delivery_id, pk__lt=self.pk)
        return before.filter(Q(removals_wait=True) | ~Q(set_aside=[])).exists()

    @property
    def rest_waits(self) -> bool:
        """Whether what it leaves in place is to be decided after it."""
        return self.removals_wait or bool(self.set_aside)

    @property
    def ended(self) -> bool:
        return self.status in self.ENDED

    @classmethod
    def for_later(cls, now: datetime) -> Q:
        """Approved to go live at a moment that has not come."""
        return Q(status=cls.Status.APPROVED, go_live_at__isnull=False, go_live_at__gt=now)

    @property
    def waits_for_its_hour(self) -> bool:
        """`for_later`, as far as this object knows."""
        return self.status == self.Status.APPROVED and self.go_live_at is not None and self.go_live_at > timezone.now()

    @property
    def may_apply_by_itself(self) -> bool:
        """Whether it may go live without a person where nothing holds it: its district wants that, it came by a
        connection or from staff, and what is live is what was accepted, as far as anybody knows. What somebody at a
        district sent by a link is always looked at."""
        sent_by_hand = self.delivery is not None and self.delivery.origin == Delivery.Origin.DISTRICT
        if self.taken_apart:
            return False  # somebody took it apart, and decides about each part
        return self.district.applies_automatically and not sent_by_hand and not self.district.verification_faults

    # -- changes of status; `now` is the caller's, the engine owns no clock

    def _move(self, now: datetime, of: tuple[str, ...], to: str, **values: Any) -> bool:
        """Go from one of `of` to `to` in one conditional update; refresh self; False if somebody was faster."""
        conditions = values.pop("only_if", {})
        changed = Sync.with_dry_runs.filter(pk=self.pk, status__in=of, **conditions).update(
            status=to, status_since=now, **values
        )
        self.refresh_from_db()
        return bool(changed)

    def start_preparing(self, now: datetime) -> bool:
        """Claim a received sync (or one whose worker died, or a stale one that must be rebuilt)."""
        claimable = Q(status=self.Status.RECEIVED) | Q(status=self.Status.PREPARING, claimed_until__lt=now)
        return self._claim(now, claimable, self.Status.PREPARING)

    def clear_numbers(self) -> None:
        """Of a plan that is made anew: none of what the old one counted."""
        counted = dict.fromkeys(("added", "updated", "removed", "people_affected", "waiting", "left_out"), 0)
        Sync.with_dry_runs.filter(pk=self.pk, claim=self.claim).update(**counted, consequences={}, grade_moves=[])
        self.refresh_from_db(fields=[*counted, "consequences", "grade_moves"])

    def start_applying(self, now: datetime) -> bool:
        """Claim an approved sync whose hour has come (or one whose worker died while applying: its transaction was
        rolled back)."""
        due = Q(go_live_at=None) | Q(go_live_at__lte=now)
        claimable = Q(status=self.Status.APPROVED) & due | Q(status=self.Status.APPLYING, claimed_until__lt=now)
        return self._claim(now, claimable, self.Status.APPLYING)

    def _claim(self, now: datetime, claimable: Q, status: str) -> bool:
        token = uuid.uuid4()
        changed = Sync.with_dry_runs.filter(claimable, pk=self.pk).update(
            status=status,
            status_since=now,
            claim=token,
            claimed_until=now + SYNC_LEASE,
            attempts=F("attempts") + 1,
            phase="",
            progress=0.0,
            rows_done=0,
            error="",
            error_code="",
        )
        self.refresh_from_db()
        return bool(changed)

    def beat(self, now: datetime, phase: str, progress: float, rows: int) -> bool:
        """Renew the lease and report progress. False: the claim was lost, and the worker must stop."""
        return bool(
            Sync.with_dry_runs.filter(pk=self.pk, claim=self.claim).update(
                claimed_until=now + SYNC_LEASE, phase=phase, progress=progress, rows_done=rows
            )
        )

    def _finish_claim(self, now: datetime, of: str, to: str, **values: Any) -> bool:
        return self._move(
            now, (of,), to, only_if={"claim": self.claim}, claim=None, claimed_until=None, phase="", **values
        )

    def mark_rejected(self, now: datetime, verdict: str, **facts: Any) -> bool:
        return self._finish_claim(now, self.Status.PREPARING, self.Status.REJECTED, verdict=verdict, **facts)

    def mark_unchanged(self, now: datetime, verdict: str, **facts: Any) -> bool:
        self.holds.all().delete()  # what held an earlier plan of it
        return self._finish_claim(now, self.Status.PREPARING, self.Status.UNCHANGED, verdict=verdict, **facts)

    def mark_ready(self, now: datetime, verdict: str, **facts: Any) -> bool:
        return self._finish_claim(now, self.Status.PREPARING, self.Status.READY, verdict=verdict, **facts)

    def mark_planned(self, now: datetime, verdict: str, **facts: Any) -> bool:
        return self._finish_claim(now, self.Status.PREPARING, self.Status.PLANNED, verdict=verdict, **facts)

    def mark_awaiting_review(self, now: datetime, verdict: str, **facts: Any) -> bool:
        return self._finish_claim(now, self.Status.PREPARING, self.Status.AWAITING_REVIEW, verdict=verdict, **facts)

    def mark_approved(
        self, now: datetime, plan_digest: str, by: Staff | None, reason: str = "", go_live_at: datetime | None = None
    ) -> bool:
        """Bind a decision to the plan that was shown. `by` None means that no hold fired and no person was needed."""
        return self._move(
            now,
            (self.Status.READY, self.Status.AWAITING_REVIEW),
            self.Status.APPROVED,
            only_if={"plan_digest": plan_digest},
            decision=self.Decision.APPROVED,
            decided_by=by,
            decided_automatically=by is None,
            decided_at=now,
            decision_reason=reason,
            go_live_at=go_live_at,
            attempts=0,
        )

    def go_live_now(self) -> bool:
        """Wait for its hour no longer; False if it does not wait for one."""
        waits = Sync.objects.filter(pk=self.pk, status=self.Status.APPROVED, go_live_at__isnull=False)
        changed = waits.update(go_live_at=None)
        self.refresh_from_db()
        return bool(changed)

    def mark_unapproved(self, now: datetime) -> bool:
        """Take back the approval of a plan that waits for its hour; False if a worker has it, or it does not wait."""
        to = self.Status.AWAITING_REVIEW if self.holds.exists() else self.Status.READY
        return self._move(
            now, (self.Status.APPROVED,), to, only_if={"claim": None, "go_live_at__isnull": False}, **self._UNDECIDED
        )

    def mark_first_approved(self, now: datetime, plan_digest: str, by: Staff) -> bool:
        """The first of two people approved the plan that was shown; it still waits."""
        mine = Sync.objects.filter(pk=self.pk, status__in=self.WAITING, plan_digest=plan_digest, first_approved_by=None)
        changed = mine.update(first_approved_by=by, first_approved_at=now)
        self.refresh_from_db()
        return bool(changed)

    def mark_declined(self, now: datetime, by: Staff, reason: str) -> bool:
        return self._move(
            now,
            (self.Status.READY, self.Status.AWAITING_REVIEW),
            self.Status.DECLINED,
            decision=self.Decision.DECLINED,
            decided_by=by,
            decided_automatically=False,
            decided_at=now,
            decision_reason=reason,
        )

    def mark_superseded(self, now: datetime) -> bool:
        """Another takes its place; also of one that was approved for later, unless a worker has it by now."""
        if self.status != self.Status.APPROVED:
            return self._move(now, (self.Status.RECEIVED, *self.WAITING), self.Status.SUPERSEDED)
        later = {"claim": None, "go_live_at__isnull": False}
        return self._move(now, (self.Status.APPROVED,), self.Status.SUPERSEDED, only_if=later, **self._UNDECIDED)

    def mark_stale(self, now: datetime) -> bool:
        """The base moved before this plan was applied, or after it was said that there is nothing to do: withdraw the
        decision and prepare again."""
        return self._move(
            now,
            (*self.WAITING, self.Status.APPROVED, self.Status.APPLYING, self.Status.UNCHANGED),
            self.Status.RECEIVED,
            only_if={"claim": self.claim},
            claim=None,
            claimed_until=None,
            attempts=0,
            plan_digest="",
            **self._UNDECIDED,
        )

    def mark_applied(self, now: datetime, result: Snapshot, seconds: dict[str, float]) -> bool:
        """Only inside the transaction that wrote the roster. An undo of all takes back what it undoes, and so brings
        back what that had taken back."""
        applied = self._finish_claim(
            now, self.Status.APPLYING, self.Status.APPLIED, result=result, applied_at=now, seconds=seconds
        )
        before, undone_at = self, now if applied else None
        while applied and before.undoes and not before.undo_only:  # an undo of an undo of an undo ...
            before = before.undoes
            Sync.objects.filter(pk=before.pk).update(undone_at=undone_at)
            undone_at = None if undone_at else now
        return applied

    def mark_failed(self, now: datetime, code: str, error: str) -> bool:
        """Give up, unless another worker has it: nothing was written. A decision that was taken stays on record."""
        return self._move(
            now,
            self.RUNNING,
            self.Status.FAILED,
            only_if={"claim": self.claim},
            error_code=code,
            error=error,
            claim=None,
            claimed_until=None,
            phase="",
        )

    def mark_for_retry(self, now: datetime) -> bool:
        """After a fault that may pass: back to where a worker can claim it again."""
        back = self.Status.RECEIVED if self.status == self.Status.PREPARING else self.Status.APPROVED
        return self._finish_claim(now, self.status, back)


class Tally(models.Model):
    """One line of a difference's summary: how many records of `table` with this key were, came, changed and went.

    `dimension` is "" for the whole table, or school, grade, role, field; `key` is that school's sourcedId, the grade,
    the
    role, the column's name; `label` what a person calls it.
    """

    sync = models.ForeignKey(Sync, on_delete=models.CASCADE, related_name="tallies")
    table = models.CharField(max_length=40)
    dimension = models.CharField(max_length=10, blank=True, default="")
    key = models.CharField(max_length=255, blank=True, default="")
    label = models.CharField(max_length=255, blank=True, default="")
    before = models.PositiveBigIntegerField(default=0)
    added = models.PositiveBigIntegerField(default=0)
    updated = models.PositiveBigIntegerField(default=0)
    removed = models.PositiveBigIntegerField(default=0)
    apart = models.JSONField(
        default=dict,
        blank=True,
        help_text="Of a delivery about a part: how many of `before` it could not have `removed`, or `updated`.",
    )

    class Meta:
        verbose_name_plural = "tallies"
        constraints = [models.UniqueConstraint(fields=["sync", "table", "dimension", "key"], name="tally_once")]

    def __str__(self) -> str:
        return f"{self.table} {self.dimension} {self.key}".strip()

    @property
    def after(self) -> int:
        return self.before + self.added - self.removed


class Finding(models.Model):
    """One group of findings of a sync: rule, file, column, how often, the first places. All places lie in a Parquet
    file
    beside the difference (`rosters.storing`, by `position`)."""

    sync = models.ForeignKey(Sync, on_delete=models.CASCADE, related_name="findings")
    position = models.PositiveIntegerField()
    code = models.CharField(max_length=20)
    severity = models.CharField(max_length=10)
    file = models.CharField(max_length=80, blank=True, default="")
    column = models.CharField(max_length=255, blank=True, default="")
    count = models.PositiveIntegerField()
    message = models.TextField()
    next_step = models.TextField()
    effect = models.CharField(max_length=10, default="none")
    places = models.JSONField(default=list, help_text="The first places: line and value. Roster values: never logged.")
    is_new = models.BooleanField(default=False, help_text="The delivery before did not have it.")

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["sync", "position"], name="finding_position_once")]

    def __str__(self) -> str:
        return self.code


class Hold(models.Model):
    """A rule that fired: what it saw, what is usual, what it would mean, what to do. No names of people."""

    sync = models.ForeignKey(Sync, on_delete=models.CASCADE, related_name="holds")
    position = models.PositiveIntegerField()
    code = models.CharField(max_length=40)
    approvable = models.BooleanField(default=True)
    table = models.CharField(max_length=40, blank=True, default="")
    dimension = models.CharField(max_length=10, blank=True, default="")
    key = models.CharField(max_length=255, blank=True, default="")
    saw = models.TextField()
    usual = models.TextField()
    meaning = models.TextField()
    next_step = models.TextField()
    numbers = models.JSONField(default=dict, help_text="What it counted and the limit it was held against.")
    explained = models.BooleanField(default=False, help_text="It only follows from the cause that the verdict names.")

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["sync", "position"], name="hold_position_once")]

    def __str__(self) -> str:
        return self.code


class AuditEvent(models.Model):
    """Who did what, when, on which plan, before and after. Written in the transaction of what it tells; never changed
    (the database refuses UPDATE and DELETE). No roster values."""

    at = models.DateTimeField(default=timezone.now)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    action = models.CharField(max_length=60)
    district = models.ForeignKey(District, null=True, on_delete=models.PROTECT, related_name="audit_events")
    sync = models.ForeignKey(Sync, null=True, on_delete=models.PROTECT, related_name="audit_events")
    subject = models.CharField(max_length=120, blank=True, default="", help_text="What it was done to, by kind and id.")
    plan_digest = models.CharField(max_length=64, blank=True, default="")
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [models.Index(fields=["district", "-at"]), models.Index(fields=["sync", "at"])]

    def __str__(self) -> str:
        return self.action

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk is not None:
            raise TypeError("An audit event is never changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("An audit event is never deleted.")


class KeyCounter(models.Model):
    """The next free primary key of each live table. The loader takes a block before it writes, so that references can
    be resolved before any insert; a block that is not used leaves a harmless gap."""

    table = models.CharField(max_length=40, primary_key=True)
    next_key = models.PositiveBigIntegerField(default=1)

    def __str__(self) -> str:
        return self.table


# ------------------------------------------------------------------------------------------------------- the live
# roster


class RecordQuerySet(models.QuerySet[Any]):
    def active(self) -> RecordQuerySet:
        return self.filter(status=Record.Status.ACTIVE)

    def of(self, district: District) -> RecordQuerySet:
        return self.filter(district=district)


class Record(models.Model):
    """What every live record has. Values are text in OneRoster's own spelling ("true", "2026-08-10", lists
    comma-separated),
    cell for cell those of the accepted snapshot. References resolve within the district, also to records that are
    `tobedeleted`. Primary keys are given by the loader (`KeyCounter`).
    """

    class Status(models.TextChoices):
        ACTIVE = "active", "active"
        TOBEDELETED = "tobedeleted", "to be deleted"

    id = GivenKey(primary_key=True)
    district = models.ForeignKey(
        District, on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    sourced_id = RosterText()
    status = models.CharField(max_length=11, choices=Status.choices, default=Status.ACTIVE)
    date_last_modified = models.DateTimeField(help_text="When a sync last changed this record.")
    metadata = RosterText(blank=True, default="")

    objects = RecordQuerySet.as_manager()

    class Meta:
        abstract = True
        constraints = [
            # Given as expressions it is an index of its own, which a first load can build late (`rosters.applying`).
            models.UniqueConstraint("district", "sourced_id", name="%(class)s_identity"),
        ]

    def __str__(self) -> str:
        return str(self.sourced_id)


def _reference(to: str, *, null: bool = False, index: bool = True, name: str = "+") -> Any:
    """A reference within the live roster. The check has proved it and `verify_rosters` proves it again, so the database
    does not prove it a third time row by row (docs/decisions: half the load time)."""
    return models.ForeignKey(
        to, null=null, on_delete=models.DO_NOTHING, db_constraint=False, db_index=index, related_name=name
    )


class Org(Record):
    name = RosterText()
    type = RosterText()
    identifier = RosterText()
    parent = _reference("Org", null=True, name="children")


class AcademicSession(Record):
    title = RosterText()
    type = RosterText()
    start_date = RosterText()
    end_date = RosterText()
    parent = _reference("AcademicSession", null=True, name="children")
    school_year = RosterText()


class Course(Record):
    school_year_session = _reference("AcademicSession", null=True, index=False)
    title = RosterText()
    course_code = RosterText()
    grades = RosterText()
    org = _reference("Org", name="courses")
    subjects = RosterText()
    subject_codes = RosterText()


class Class(Record):
    title = RosterText()
    grades = RosterText()
    course = _reference("Course", name="classes")
    class_code = RosterText()
    class_type = RosterText()
    location = RosterText()
    school = _reference("Org", name="classes")
    term_sourced_ids = RosterText()
    subjects = RosterText()
    subject_codes = RosterText()
    periods = RosterText()

    class Meta(Record.Meta):
        verbose_name_plural = "classes"


class User(Record):
    """A person of the roster: student, teacher, guardian, ... never a member of our staff."""

    enabled_user = RosterText()
    username = RosterText()
    user_ids = RosterText()
    given_name = RosterText()
    family_name = RosterText()
    middle_name = RosterText()
    identifier = RosterText()
    email = RosterText()
    sms = RosterText()
    phone = RosterText()
    agent_sourced_ids = RosterText()
    grades = RosterText()
    user_master_identifier = RosterText()
    preferred_given_name = RosterText()
    preferred_middle_name = RosterText()
    preferred_family_name = RosterText()
    primary_org = _reference("Org", null=True, name="people")
    pronouns = RosterText()
    role = RosterText()
    search_name = RosterText(
        help_text="Family and given name in lower case, to look people up by; derived, not part of the roster."
    )

    class Meta(Record.Meta):
        indexes = [
            models.Index(fields=["district", "search_name"], name="user_by_name"),
            models.Index(fields=["district", "username"], name="user_by_username"),
        ]


class UserProfile(Record):
    user = _reference("User", name="profiles")
    profile_type = RosterText()
    vendor_id = RosterText()
    application_id = RosterText()
    description = RosterText()
    credential_type = RosterText()
    username = RosterText()


class Role(Record):
    user = _reference("User", name="roles")
    role_type = RosterText()
    role = RosterText()
    begin_date = RosterText()
    end_date = RosterText()
    org = _reference("Org", name="roles")
    user_profile = _reference("UserProfile", null=True, index=False)


class Demographics(Record):
    user = _reference("User", name="demographics")
    birth_date = RosterText()
    sex = RosterText()
    american_indian_or_alaska_native = RosterText()
    asian = RosterText()
    black_or_african_american = RosterText()
    native_hawaiian_or_other_pacific_islander = RosterText()
    white = RosterText()
    demographic_race_two_or_more_races = RosterText()
    hispanic_or_latino_ethnicity = RosterText()
    country_of_birth_code = RosterText()
    state_of_birth_abbreviation = RosterText()
    city_of_birth = RosterText()
    public_school_residence_status = RosterText()

    class Meta(Record.Meta):
        verbose_name_plural = "demographics"


class Enrollment(Record):
    clazz = models.ForeignKey(
        Class, on_delete=models.DO_NOTHING, db_constraint=False, related_name="enrollments", db_column="class_id"
    )
    school = _reference("Org", index=False)
    user = _reference("User", name="enrollments")
    role = RosterText()
    primary = RosterText()
    begin_date = RosterText()
    end_date = RosterText()


#: Table name of the normal form -> model, in the order of references.
LIVE: dict[str, type[Record]] = {
    "orgs": Org,
    "academicSessions": AcademicSession,
    "courses": Course,
    "classes": Class,
    "users": User,
    "userProfiles": UserProfile,
    "roles": Role,
    "demographics": Demographics,
    "enrollments": Enrollment,
}

#: Column of the normal form -> field, where it is not simply the snake_case of its name.
FIELDS: dict[str, dict[str, str]] = {
    "orgs": {"parentSourcedId": "parent"},
    "academicSessions": {"parentSourcedId": "parent"},
    "courses": {"schoolYearSourcedId": "school_year_session", "orgSourcedId": "org"},
    "classes": {"courseSourcedId": "course", "schoolSourcedId": "school"},
    "users": {"primaryOrgSourcedId": "primary_org"},
    "userProfiles": {"userSourcedId": "user"},
    "roles": {"userSourcedId": "user", "orgSourcedId": "org", "userProfileSourcedId": "user_profile"},
    "demographics": {},
    "enrollments": {"classSourcedId": "clazz", "schoolSourcedId": "school", "userSourcedId": "user"},
}
