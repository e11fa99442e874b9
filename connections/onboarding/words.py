"""What the district is told of a delivery: the sign and the word that staff see, and a next step of its own."""

from __future__ import annotations

from dataclasses import replace

from rosters.models import Sync
from rosters.words import SYNC_WORDS, Words

_LOOKED_OVER = "Nothing to do: somebody at our end looks it over before it goes live."

_STEPS: dict[str, str] = {
    Sync.Status.READY: _LOOKED_OVER,
    Sync.Status.AWAITING_REVIEW: _LOOKED_OVER,
    Sync.Status.REJECTED: "Correct the first cause in your system, check the file here, and send it again.",
    Sync.Status.APPLIED: "Nothing to do.",
    Sync.Status.DECLINED: "It did not go live. Read why, and send a corrected file.",
    Sync.Status.SUPERSEDED: "Nothing to do: a newer file took its place.",
    Sync.Status.FAILED: "Nothing to do: the fault is ours, and somebody looks into it. Your file is safe.",
}


def outcome(sync: Sync) -> Words:
    """What became of a delivery, for the people who sent it."""
    words = SYNC_WORDS[sync.status]
    return replace(words, next_step=_STEPS.get(sync.status, words.next_step))
