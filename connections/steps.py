"""One step of a connection's examination, as the connection doctor shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Step:
    """`inside` is for our staff alone: what it tells of our network. The rest is read by the district too."""

    name: str
    outcome: Literal["ok", "failed", "skipped", "warning"]
    seconds: float
    words: str
    code: str = ""
    next_step: str = ""
    inside: str = ""
