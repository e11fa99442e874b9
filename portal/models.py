"""The roof owns one thing: the second factor with which a member of staff logs in."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import pyotp
from django.conf import settings
from django.db import models
from django.utils import timezone

from rosters.sealing import is_current, seal, unseal

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

#: Clocks differ: a code of the step before or after is good, too (RFC 6238, section 5.2).
_STEPS_APART: Final = (0, -1, 1)
SPARE_CODES: Final = 8
#: So long a secret that was shown may be confirmed.
_SETTING_UP: Final = timedelta(hours=1)


class SecondFactor(models.Model):
    """One-time codes of an app (TOTP, RFC 6238), and spare codes for who has lost it, each good once. It counts once a
    code of it was entered. The secret is sealed; of spare codes, which have 48 bits, only the SHA-256 is kept."""

    staff = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="second_factor")
    sealed = models.TextField(editable=False)
    made_at = models.DateTimeField(default=timezone.now)
    confirmed_at = models.DateTimeField(null=True)
    last_step = models.BigIntegerField(default=0, help_text="Of 30 seconds since 1970: no code is good twice.")
    spare = models.JSONField(default=list, help_text="SHA-256 of the spare codes that are left.")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"second factor of staff {self.staff_id}"

    @property
    def uid(self) -> str:
        """How the command that seals anew calls it."""
        return str(self)

    @property
    def bound(self) -> str:
        return f"portal.second_factor:{self.staff_id}"

    @classmethod
    def begin(cls, staff: Staff, now: datetime, mark: str) -> SecondFactor:
        """What is to be confirmed: the secret that a browser was shown, which knows its `mark`, or a new one. New where
        that was long ago, or it was shown to another browser: somebody else may have seen it. What is confirmed stays.
        """
        sealed = seal(pyotp.random_base32(), bound_to=cls(staff=staff).bound)
        known, made = cls.objects.get_or_create(staff=staff, defaults={"sealed": sealed, "made_at": now})
        if made or known.confirmed_at or (known.mark == mark and known.made_at >= now - _SETTING_UP):
            return known
        old = cls.objects.filter(pk=known.pk, confirmed_at=None, sealed=known.sealed)
        if not old.update(sealed=sealed, made_at=now):  # another browser was faster: what it is shown is not ours
            return cls.begin(staff, now, mark)
        known.refresh_from_db()
        return known

    @property
    def mark(self) -> str:
        """Names the secret, and tells nothing of it."""
        return _hash(self.sealed)

    def secret(self) -> str:
        """Raises SealBroken."""
        return unseal(self.sealed, bound_to=self.bound)

    def seal_anew(self) -> bool:
        """Seal with the current key what an older one sealed; whether it had to be. The caller saves."""
        if is_current(self.sealed):
            return False
        self.sealed = seal(self.secret(), bound_to=self.bound)
        return True

    def address(self) -> str:
        """The ``otpauth`` URI that an app reads."""
        return pyotp.TOTP(self.secret(), name=self.staff.get_username(), issuer="Roster portal").provisioning_uri()

    def confirm(self, code: str, now: datetime) -> list[str]:
        """Let it count from now on, if this is a code of it: the spare codes, which are known here for the only time;
        none if it is not."""
        if self.confirmed_at or not self._is_next(code, now):
            return []
        codes = ["-".join(secrets.token_hex(2) for _ in range(3)) for _ in range(SPARE_CODES)]
        waits = SecondFactor.objects.filter(pk=self.pk, confirmed_at=None, sealed=self.sealed)
        done = waits.update(confirmed_at=now, spare=[_hash(each) for each in codes])
        self.refresh_from_db()
        return codes if done else []

    def opens(self, code: str, now: datetime) -> bool:
        """Whether this is its code at this moment, or a spare one. It is used up by that."""
        return self._is_next(code, now) or self._is_spare(code)

    def _is_next(self, code: str, now: datetime) -> bool:
        written = "".join(code.split())
        totp, present = pyotp.TOTP(self.secret()), int(now.timestamp()) // 30
        for step in (present + apart for apart in _STEPS_APART):
            if secrets.compare_digest(totp.generate_otp(step).encode(), written.encode()):
                mine = SecondFactor.objects.filter(pk=self.pk, last_step__lt=step)
                return bool(mine.update(last_step=step))
        return False

    def _is_spare(self, code: str) -> bool:
        used = _hash(code.strip().lower())
        if used not in self.spare:
            return False
        left = [each for each in self.spare if each != used]
        return bool(SecondFactor.objects.filter(pk=self.pk, spare=self.spare).update(spare=left))


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()
