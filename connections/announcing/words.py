"""What an announcement is about and what became of its last try, in words for who looks after the tool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from connections.announcing.models import KINDS, PING

KIND_WORDS: Final = {**KINDS, PING: "A ping"}

#: What is noted in place of an answer, where nothing was sent.
ENDED: Final = "Its client has ended."
NOT_SEEN: Final = "Its client does not see this district any more."
SEAL_BROKEN: Final = "The secret cannot be opened: make a new one."


@dataclass(frozen=True, slots=True)
class Outcome:
    """`title`: what happened, one sentence. `next_step`: what to do; `code`: the same for who runs the tool. Both are
    "" where there is none."""

    title: str
    next_step: str = ""
    code: str = ""


_IS_IT_UP: Final = "If it stays so, ask who runs the tool whether it is up."
_LATE: Final = ("The tool did not answer in time.", "It has ten seconds: it is to answer first, and to work then.")
_CUT: Final = ("The line to the tool broke before it answered.", "")
_UNFIT: Final = ("Nothing can be sent to such an address.", "Correct it.")
_FAULTS: Final[dict[str, tuple[str, str]]] = {
    "CONN-NAME": ("The server's name is not known.", "Check the spelling of the address."),
    "CONN-ADDRESS": (
        "The address leads into a network that is not public.",
        "Enter a public one, or have its network added to WEBHOOK_NETWORKS.",
    ),
    "CONN-REFUSED": ("The server does not answer at this port.", _IS_IT_UP),
    "CONN-TIMEOUT": _LATE,
    "TimeoutError": _LATE,
    "ConnectTimeout": _LATE,
    "ReadTimeout": _LATE,
    "CONN-CUT": _CUT,
    "ConnectionError": _CUT,
    "ChunkedEncodingError": _CUT,
    "API-URL": ("The address begins with http://, which anybody on the way can read.", "Enter one with https://."),
    "SSLError": ("The server's certificate is not valid.", "Ask who runs the tool to renew it."),
    "InvalidURL": _UNFIT,
    "InvalidSchema": _UNFIT,
}


def outcome(answered: str) -> Outcome:
    """Of what is noted of a try: an answer, the code of a fault, or a sentence of ours that says it already."""
    if answered.startswith("HTTP "):
        status = int(answered[5:]) if answered[5:].isdecimal() else 0
        return Outcome(*_answer(status), answered)
    if answered.endswith("."):
        return Outcome(answered)
    title, next_step = _FAULTS.get(answered, ("It could not be sent.", _IS_IT_UP))
    return Outcome(title, next_step, answered)


def _answer(status: int) -> tuple[str, str]:
    if 200 <= status < 300:
        return "The tool has taken it.", ""
    if 300 <= status < 400:
        return "The tool sends us to another address, which is not followed.", "Enter that one."
    if status in (401, 403):
        return "The tool does not let us in.", "Ask who runs it whether it knows the present secret."
    if status in (404, 410):
        return "Nothing takes it at this address.", "Check the address with who runs the tool."
    if status >= 500:
        return "The tool had a fault of its own.", "If it stays so, tell who runs the tool since when."
    return "The tool did not take it.", "Ask who runs it why: any answer from 200 to 299 says that it did."
