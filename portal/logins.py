"""Who guesses passwords of staff is braked: after some failures a login has to wait, each time longer.

Three counts, kept for a day after the last failure, in a cache of their own, where nothing else takes their room:

- of one account from one address, strict: five, then a minute, two, four, up to an hour. A person who has forgotten a
  password has looked it up by then; who guesses has some thirty tries a day.
- of one account from everywhere, loose: thirty, then up to a quarter of an hour. It slows many machines that guess at
  one account. They could keep its owner out, so it does not count where the owner came in from during the last month.
- of one address for all accounts, loose: fifty, then up to a quarter of an hour. It slows one machine that tries a few
  passwords on everybody; an office behind one address does not fail so often. It, too, keeps nobody out who came in
  from there lately.

A login is counted before its password is looked at, so that many guesses in one moment are many. One that is braked is
not counted: who goes on trying gets in when the wait is over. Whether there is such an account plays no part.
"""

from __future__ import annotations

import fcntl
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from django import forms
from django.conf import settings
from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.crypto import salted_hmac

from portal import second_factor
from rosters.askers import address_of

logger = logging.getLogger(__name__)

_MINUTE: Final = 60
_DAY: Final = 24 * 3600
#: So long somebody is known where they came in.
_KNOWN_FOR: Final = 30 * _DAY


@dataclass(frozen=True, slots=True)
class _Limit:
    """So many failures cost nothing; each further one doubles the wait, from a minute to the `longest`."""

    name: str
    free: int
    longest: int

    def wait(self, failures: int) -> int:
        # The exponent is bounded: a count may grow for as long as somebody goes on.
        return 0 if failures < self.free else min(_MINUTE * 2 ** min(failures - self.free, 10), self.longest)


PAIR: Final = _Limit("this account from this address", free=5, longest=60 * _MINUTE)
ACCOUNT: Final = _Limit("this account", free=30, longest=15 * _MINUTE)
ADDRESS: Final = _Limit("this address", free=50, longest=15 * _MINUTE)


class Attempt:
    """An attempt to log in to an account, whether it exists or not, from an address."""

    def __init__(self, account: str, address: str) -> None:
        self.address = address
        pair = f"{account.casefold()}\n{address}"
        self._known = _key("known", pair)
        self._counts = {PAIR: _key("pair", pair)}
        if not _kept().get(self._known):
            self._counts |= {ACCOUNT: _key("account", account.casefold()), ADDRESS: _key("address", address)}

    def begin(self) -> int:
        """Count it as a failure until it is known to be none. Gives the seconds that it has to wait instead, or 0."""
        now = time.time()
        with _alone():
            found: dict[_Limit, tuple[int, float]]
            found = {limit: _kept().get(key, (0, 0.0)) for limit, key in self._counts.items()}
            wait = max(math.ceil(until - now) for _, until in found.values())
            if wait > 0:
                return wait
            for limit, (failures, _) in found.items():
                self._note(limit, failures + 1, now + limit.wait(failures + 1))
        return 0

    def failed(self) -> None:
        """Say so in the log, and which waits have begun with it."""
        logger.warning("A login of staff failed, from %s.", self.address)
        for limit, key in self._counts.items():
            failures, _ = _kept().get(key, (0, 0.0))
            if wait := limit.wait(failures):
                logger.warning("Logins wait %d s from now on: %s, %s.", wait, limit.name, self.address)

    def succeeded(self) -> None:
        """The account is cleared. Of its address only this attempt is: else who has one account could guess another's
        for ever, by logging in to the own one now and then."""
        with _alone():
            _kept().set(self._known, True, _KNOWN_FOR)
            for limit, key in self._counts.items():
                if limit is ADDRESS:
                    failures, _ = _kept().get(key, (1, 0.0))
                    self._note(limit, failures - 1, 0.0)
                else:
                    _kept().delete(key)

    def _note(self, limit: _Limit, failures: int, until: float) -> None:
        _kept().set(self._counts[limit], (failures, until), _DAY)


def _kept() -> BaseCache:
    return caches["logins"]


def _key(kind: str, value: str) -> str:
    """No name of an account stands in the cache: people type passwords into the wrong field."""
    return f"login-{kind}-{salted_hmac('portal.logins', value).hexdigest()}"


@contextmanager
def _alone() -> Iterator[None]:
    """Only one of this machine's processes and threads counts at a time: Django's file cache reads and writes in two
    steps. Held for no longer than that."""
    folder = Path(settings.PORTAL_DATA_DIR) / "turns"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "login").open("w") as place:
        fcntl.flock(place, fcntl.LOCK_EX)
        yield


class LoginForm(AdminAuthenticationForm):
    """The admin's own, behind the brake, with a code for who has a second factor. `wait`: the seconds that this login
    has to wait, if it was braked."""

    code = forms.CharField(
        required=False,
        max_length=20,
        label="Code",
        help_text="Of your app, if you have set one up.",
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "one-time-code"}),
    )
    wait = 0
    #: The same for all three, and for the right ones of somebody who is no staff: whoever guesses does not learn which
    #: of them is right.
    error_messages = {
        **AdminAuthenticationForm.error_messages,
        "invalid_login": "User name, password or code is not right. Large and small letters count. A code is needed "
        "where an app was set up, and is good once.",
    }

    def clean(self) -> dict[str, Any]:
        account, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if not account or not password:
            return super().clean()
        assert self.request is not None
        attempt = Attempt(account, address_of(self.request))
        self.wait = attempt.begin()
        if self.wait:
            logger.warning("A login of staff has to wait, from %s.", attempt.address)
            minutes = math.ceil(self.wait / _MINUTE)
            words = f"Too many attempts. Try again in {minutes} minute{'' if minutes == 1 else 's'}."
            raise ValidationError(words, code="braked")
        try:
            cleaned = super().clean()
            self._show_code()
        except ValidationError:
            attempt.failed()
            raise
        attempt.succeeded()
        return cleaned

    def _show_code(self) -> None:
        factor = second_factor.of(cast("Any", self.get_user()))
        if factor is None:
            return
        if not factor.opens(self.cleaned_data.get("code") or "", timezone.now()):
            raise self.get_invalid_login_error()
        assert self.request is not None
        self.request.code_was_shown = True  # type: ignore[attr-defined]  # for the session that begins with it
