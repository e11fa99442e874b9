"""The words, signs and owners of a connection's standing: the same on every page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from connections import fetching
from connections.exceptions import FAULTS
from connections.models import Attempt, Connection
from rosters.words import Words

_UP_TO_DATE = Words("good", "Working", "Nothing to do.", "nobody")
_ON_ITS_WAY = Words("running", "On its way", "Nothing to do: it is being fetched.", "nobody")
_TRIED_AGAIN = Words("plug", "Cannot connect", "Nothing to do yet: it is tried again by itself.", "nobody")
_NOT_RUN_YET = Words("setup", "Not run yet", "Nothing to do: it runs at its time, or when somebody asks.", "nobody")
_SETTING_UP = Words("setup", "Setting up", "Test it; when every step has its tick, put it into service.", "staff")
_LATE = Words("late", "Late", "An expected delivery did not come. Ask the district whether its export runs.", "staff")

ATTEMPT_WORDS: dict[str, Words] = {
    Attempt.Status.WAITING: Words("running", "Waiting", "", "nobody"),
    Attempt.Status.RUNNING: Words("running", "On its way", "", "nobody"),
    Attempt.Status.DELIVERED: Words("good", "Delivered", "", "nobody"),
    Attempt.Status.NOTHING_NEW: Words("ended", "Nothing new", "", "nobody"),
    Attempt.Status.CALLED_OFF: Words("ended", "Called off", "", "nobody"),
    Attempt.Status.FAILED: Words("refused", "Failed", "", "nobody"),
}


def connection_words(connection: Connection, latest: Attempt | None) -> Words:
    """How a connection is, from its state and its latest attempt."""
    if connection.state == Connection.State.PAUSED:
        until = connection.paused_until
        day = f" until {until.day} {until:%b}" if until else ""
        step = "It goes on by itself." if until else "Resume it when its reason is gone."
        stopped_by = FAULTS.get(latest.code) if latest is not None and connection.paused_by_id is None else None
        if stopped_by is not None and not until:
            return Words("paused", "Paused", f"{stopped_by.next_step} Then resume it.", stopped_by.whose)
        return Words("paused", f"Paused{day}", step, "nobody" if until else "staff")
    if latest is not None and latest.status in Attempt.OPEN:
        return _ON_ITS_WAY if latest.number == 1 else _TRIED_AGAIN
    if connection.failures or (latest is not None and latest.status == Attempt.Status.FAILED):
        fault = FAULTS.get(latest.code) if latest is not None else None
        return Words(
            "plug", "Cannot connect", fault.next_step if fault else "Look at the last attempt.",
            fault.whose if fault else "staff",
        )  # fmt: skip
    if connection.state == Connection.State.SETUP:
        return _SETTING_UP
    if connection.late_since:
        return _LATE
    return _UP_TO_DATE if latest is not None or connection.last_success_at else _NOT_RUN_YET


#: What of a connection is told before how the roster stands, gravest first.
_TROUBLE = ("plug", "late", "paused")


def trouble_among(connections: Sequence[Connection], latest: Mapping[int, Attempt]) -> Words | None:
    """What keeps a district's rosters from coming, the gravest of it: for those who need not know that we stopped
    trying, only that nothing comes. That one is paused says nothing where another one is in service."""
    troubles = [_trouble(one, latest.get(one.pk)) for one in connections if one.state != one.State.SETUP]
    signs = [sign for sign in _TROUBLE if sign != "paused" or all(words.sign == "paused" for words in troubles)]
    return next((words for sign in signs for words in troubles if words.sign == sign), None)


def _trouble(connection: Connection, latest: Attempt | None) -> Words:
    words = connection_words(connection, latest)
    return replace(words, sign="plug", word="Cannot connect") if connection.gave_up else words


def setup_step(connection: Connection, *, tested: bool) -> tuple[str, str]:
    """What is next on the way into service: the button (key, trust, test, start) and a sentence. `tested`: the last
    test has passed."""
    by_sftp = connection.kind == Connection.Kind.SFTP
    if by_sftp and connection.host_key_seen and connection.host_key_seen != connection.host_key:
        return "trust", "Compare the server’s fingerprint with the one that the district’s IT tells you, then trust it."
    if by_sftp and connection.login == Connection.Login.KEY and not connection.has_secret("private_key"):
        return "key", fetching.missing(connection)
    if tested:
        return "start", "Every step of the test has passed: put it into service."
    return "test", fetching.missing(connection) or _SETTING_UP.next_step
