"""Django's own command, for files that everybody may read: another user's web server may hand them out."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.management.commands import collectstatic


class Command(collectstatic.Command):
    def handle(self, **options: Any) -> str | None:
        settings.PORTAL_DATA_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)  # what lies beside them is nobody's
        ours = os.umask(0o022)
        try:
            return super().handle(**options)
        finally:
            os.umask(ours)
