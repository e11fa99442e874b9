"""The words, signs and owners of a connection's standing: the same on every page."""

from __future__ import annotations

from connections.exceptions import FAULTS
from connections.models import Attempt, Connection
from rosters.words import Words

_UP_TO_DATE = Words("good", "Working", "Nothing to do.", "nobody")
_ON_ITS_WAY = Words("running", "On its way", "Nothing to do: it is being fetched.", "nobody")
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
        step = "It goes on by itself." if until else "Mend what stopped it, then resume it."
        return Words("paused", f"Paused{day}", step, "nobody" if until else "staff")
    if latest is not None and latest.status in Attempt.OPEN and latest.number == 1:
        return _ON_ITS_WAY
    failed = latest if latest is None or latest.status not in Attempt.OPEN else None
    if connection.failures or (failed is not None and failed.status == Attempt.Status.FAILED):
        fault = FAULTS.get(failed.code) if failed is not None else None
        return Words(
            "plug", "Cannot connect", fault.next_step if fault else "Look at the last attempt.",
            fault.whose if fault else "staff",
        )  # fmt: skip
    if connection.state == Connection.State.SETUP:
        return _SETTING_UP
    return _LATE if connection.late_since else _UP_TO_DATE
