"""Mails that have become files, since no server for them is named."""

from __future__ import annotations

import contextlib
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from connections.onboarding.models import INVITED_FOR


def sweep(now: datetime | None = None) -> None:
    """Delete those whose links have ended: they name people, and are of no more use. The queue runs it every day."""
    before = (now or timezone.now()) - INVITED_FOR
    for file in Path(settings.EMAIL_FILE_PATH).glob("*.log"):
        with contextlib.suppress(FileNotFoundError):
            if file.stat().st_mtime < before.timestamp():
                file.unlink()
