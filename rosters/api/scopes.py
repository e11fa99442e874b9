"""What a token may open: the standard's scopes for rosters, and short ones of our own for what only we have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

V1P1: Final = "https://purl.imsglobal.org/spec/or/v1p1/scope/"
V1P2: Final = "https://purl.imsglobal.org/spec/or/v1p2/scope/"

CORE: Final = "roster-core.readonly"
ROSTER: Final = "roster.readonly"
DEMOGRAPHICS: Final = "roster-demographics.readonly"

#: Of the standard (spec 1.1 section 3.6, 1.2 rostering binding section 3.1), in words for who gives them.
STANDARD: Final[dict[str, str]] = {
    V1P1 + CORE: "OneRoster 1.1: the roster",
    V1P1 + ROSTER: "OneRoster 1.1: the roster, also by school, class, course and term",
    V1P1 + DEMOGRAPHICS: "OneRoster 1.1: demographics",
    V1P2 + CORE: "OneRoster 1.2: the roster",
    V1P2 + ROSTER: "OneRoster 1.2: the roster, also by school, class, course and term",
    V1P2 + DEMOGRAPHICS: "OneRoster 1.2: demographics",
}

SYNCS_READ: Final = "syncs.readonly"
SYNCS_DECIDE: Final = "syncs.decide"
DELIVERIES_CREATE: Final = "deliveries.create"
CONNECTIONS_READ: Final = "connections.readonly"
CONNECTIONS_RUN: Final = "connections.run"
CHANGES_READ: Final = "changes.readonly"

#: Of our own, for /api/v1.
OWN: Final[dict[str, str]] = {
    SYNCS_READ: "See districts, deliveries and syncs: plans, holds, findings, changes",
    SYNCS_DECIDE: "Approve, decline and undo syncs",
    DELIVERIES_CREATE: "Send deliveries and ask for dry runs",
    CONNECTIONS_READ: "See connections, their attempts and schedules",
    CONNECTIONS_RUN: "Have connections fetch at once",
    CHANGES_READ: "Follow the changes that were applied",
}

ALL: Final[dict[str, str]] = {**STANDARD, **OWN}

#: Scopes by which somebody does something, in the name of a member of our staff.
ACTING: Final = frozenset({SYNCS_DECIDE, DELIVERIES_CREATE, CONNECTIONS_RUN})


def asked_for(text: str) -> list[str]:
    """The scopes of a token request: separated by spaces (RFC 6749, section 3.3), or by "+" and "," as some do."""
    return text.replace("+", " ").replace(",", " ").split()


def granted(has: Iterable[str], text: str) -> frozenset[str]:
    """What of `text` a client gets that `has` these scopes: all it has where it asks for nothing. Unknown ones, and
    those that it has not, are left out: clients ask for the gradebook beside the roster and do without (RFC 6749,
    section 3.3, allows to issue less). "http://" is taken for "https://", which one connector writes."""
    has = frozenset(has)
    asked = {scope.replace("http://", "https://", 1) for scope in asked_for(text)}
    return has & asked if asked else has
