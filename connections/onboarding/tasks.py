"""What the queue runs for the people of districts. The dotted path stands in the queue's rows: it is never renamed
without those."""

from __future__ import annotations

from connections.onboarding import entering


def send_again(*, key: str) -> None:
    """Send a new link to whoever asked for one under this key, if there is somebody."""
    entering.answer_asked(key)
