"""What can go wrong on the way to a delivery, in words for the people who must mend it.

A fault has a stable code. What happened, whose move it is and what to do next stand here as data; the code that meets
the fault adds a detail that names no secret and no value of a roster. A fault that may pass by itself (`permanent`
False) is tried again; a permanent one waits for a person.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Whose = Literal["district", "staff", "nobody"]


@dataclass(frozen=True, slots=True)
class Fault:
    """`title`: what happened, one sentence. `next_step`: what to do, addressed to staff. `whose` move it is."""

    title: str
    next_step: str
    whose: Whose
    permanent: bool


def _passing(title: str, next_step: str, whose: Whose = "nobody") -> Fault:
    return Fault(title, next_step, whose, permanent=False)


def _lasting(title: str, next_step: str, whose: Whose = "district") -> Fault:
    return Fault(title, next_step, whose, permanent=True)


#: On the way to any server.
_NETWORK: Final = {
    "CONN-NAME": _passing(
        "The server's name is not known.",
        "Check the spelling of the host. If it is right, ask the district's IT whether the name is public.",
        "district",
    ),
    "CONN-ADDRESS": _lasting(
        "The server's address may not be contacted: it is private or special.",
        "Ask the district for a public address. If its server really stands in its own network, add the address to the "
        "connection's allow-list; another member of staff has to confirm it.",
    ),
    "CONN-REFUSED": _passing(
        "The server does not answer at this port.",
        "Check the port. Ask the district's IT whether the server runs and whether its firewall lets our addresses in.",
        "district",
    ),
    "CONN-TIMEOUT": _passing(
        "The server did not answer in time.",
        "It is tried again by itself. If it stays so, ask the district's IT whether a firewall drops our packets.",
    ),
    "CONN-CUT": _passing(
        "The connection broke in the middle.",
        "It is tried again by itself; nothing half-received is used.",
    ),
    "CONN-BUDGET": _passing(
        "Fetching took longer than it may.",
        "It is tried again by itself. If it stays so, choose a quieter hour; the server is too slow now.",
    ),
    "CONN-TOO-LARGE": _lasting(
        "The server sends more than a roster can be.",
        "Nothing of it was used. Ask the district what stands there; a wrong folder or address is the usual reason.",
    ),
}

FAULTS: Final[dict[str, Fault]] = {**_NETWORK}


class FetchError(Exception):
    """A delivery could not be fetched. `code` is a key of `FAULTS`; `detail` says what only this occasion knows."""

    def __init__(self, code: str, detail: str = "", *, permanent: bool | None = None) -> None:
        fault = FAULTS[code]
        super().__init__(f"{fault.title} {detail}".strip())
        self.code = code
        self.detail = detail
        self.permanent = fault.permanent if permanent is None else permanent

    @property
    def message(self) -> str:
        return str(self)

    @property
    def next_step(self) -> str:
        return FAULTS[self.code].next_step

    @property
    def whose(self) -> Whose:
        return FAULTS[self.code].whose
