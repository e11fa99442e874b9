"""The API's clients: tools of the house, and the secrets by which they prove who they are."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from rosters.api import scopes
from rosters.models import District, Sync
from rosters.sealing import is_current, seal, unseal

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff


def _key() -> str:
    return f"tool-{secrets.token_hex(8)}"


class Client(models.Model):
    """A tool that reads rosters or drives syncs. It belongs to named districts and never sees another one.

    What it does (sends, decides, fetches) it does as `staff`: with that person's permissions, and under that name in
    the audit trail.
    """

    uid = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120, unique=True, help_text="What the tool is called in the house.")
    key = models.CharField(max_length=40, unique=True, default=_key, editable=False)
    districts = models.ManyToManyField(
        District, related_name="clients", blank=True, help_text="It sees these, and no other."
    )
    scopes = models.JSONField(default=list, help_text="The most that a token of it may open.")
    staff = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="clients",
        help_text="Whose permissions and name it uses when it sends, decides or fetches.",
    )
    signs = models.BooleanField(
        "may sign with OAuth 1.0a",
        default=False,
        help_text="For OneRoster 1.1 clients that know no tokens. Its secrets are then kept, encrypted.",
    )
    per_minute = models.PositiveIntegerField(
        "requests a minute", default=600, validators=[MinValueValidator(1), MaxValueValidator(60_000)]
    )
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    made_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = "API client"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        unknown = set(self.scopes) - set(scopes.ALL)
        if unknown:
            raise ValidationError({"scopes": "These are no scopes of this API: choose among those offered."})
        if scopes.ACTING & set(self.scopes) and self.staff_id is None:
            raise ValidationError({"staff": "Say in whose name it sends, decides or fetches."})

    def is_anothers(self, staff: Staff) -> bool:
        """Whether it acts in the name of somebody else. Only that person gets secrets of it and lets it do more, for
        whoever holds a secret is that person to us; others may take away from it, and end it."""
        return self.staff_id is not None and self.staff_id != staff.pk

    def new_secret(self, now: datetime, expires_at: datetime | None = None) -> tuple[ClientSecret, str]:
        """One more good secret, and its text, which is known here for the only time."""
        text = secrets.token_urlsafe(32)
        made = ClientSecret(client=self, secret_hash=secret_hash(text), made_at=now, expires_at=expires_at)
        if self.signs:
            made.sealed = seal(text, bound_to=made.bound)
        made.save()
        return made, text

    def rotate(
        self, now: datetime, overlap_until: datetime, expires_at: datetime | None = None
    ) -> tuple[ClientSecret, str]:
        """A new secret; those before are good until `overlap_until` at the latest."""
        self.secrets.good(now).filter(Q(expires_at=None) | Q(expires_at__gt=overlap_until)).update(
            expires_at=overlap_until
        )
        return self.new_secret(now, expires_at)

    def revoke_secrets(self, now: datetime) -> int:
        """None of those that it has opens any more; how many did."""
        return self.secrets.filter(revoked_at=None).update(revoked_at=now)

    def end(self, now: datetime) -> bool:
        """Let it in no more: its secrets and tokens end with it. False if it was so before."""
        ended = Client.objects.filter(pk=self.pk, ended_at=None).update(ended_at=now)
        self.revoke_secrets(now)
        self.refresh_from_db()
        return bool(ended)


class SecretQuerySet(models.QuerySet["ClientSecret"]):
    def good(self, now: datetime) -> SecretQuerySet:
        """Those that open at this moment."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None, client__ended_at=None)


class ClientSecret(models.Model):
    """A secret of a client. Only its SHA-256 is kept: it has 256 bits, nobody guesses one, no slow hash is needed.
    Where the client signs (OAuth 1.0a, RFC 5849 section 3.4.2) the check needs the secret itself: it is sealed then.
    """

    uid = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="secrets")
    secret_hash = models.CharField(max_length=64, unique=True)
    sealed = models.TextField(blank=True, default="")
    made_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)

    objects = SecretQuerySet.as_manager()

    class Meta:
        ordering = ["-made_at", "-pk"]
        constraints = [
            models.CheckConstraint(
                name="client_secret_expires_after_it_is_made",
                condition=Q(expires_at=None) | Q(expires_at__gt=F("made_at")),
            )
        ]

    def __str__(self) -> str:
        return f"secret {self.pk}"

    @property
    def bound(self) -> str:
        """What the seal is bound to: this row, and no other."""
        return f"api.clientsecret:{self.uid}"

    def opened(self) -> str:
        """The secret itself, of a client that signs; "" where it was not kept. Raises SealBroken."""
        return unseal(self.sealed, bound_to=self.bound) if self.sealed else ""

    def seal_anew(self) -> bool:
        """Seal with the current key what an older one sealed; whether it had to be. The caller saves."""
        if not self.sealed or is_current(self.sealed):
            return False
        self.sealed = seal(self.opened(), bound_to=self.bound)
        return True

    def is_good(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)

    def revoke(self, now: datetime) -> bool:
        return bool(ClientSecret.objects.filter(pk=self.pk, revoked_at=None).update(revoked_at=now))

    def was_used(self, at: datetime) -> None:
        ClientSecret.objects.filter(Q(last_used_at=None) | Q(last_used_at__lt=at), pk=self.pk).update(last_used_at=at)


class SentOnce(models.Model):
    """What came of a delivery that was sent with an Idempotency-Key: sent again, it is the same and no second one."""

    who = models.CharField(max_length=60, help_text="The client by its uid, or the member of staff by their number.")
    key = models.CharField(max_length=255)
    sync = models.ForeignKey(Sync, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["who", "key"], name="sent_once_per_key")]

    def __str__(self) -> str:
        return f"sent {self.pk}"


def secret_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
