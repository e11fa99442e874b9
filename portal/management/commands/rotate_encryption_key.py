"""`manage.py rotate_encryption_key`: seal every secret with the current key, so that former ones can go."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction

from connections.announcing.models import Webhook
from connections.models import Connection
from portal.models import SecondFactor
from rosters.api.models import ClientSecret
from rosters.sealing import SealBroken


class Command(BaseCommand):
    help = (
        "Seal every secret anew with PORTAL_ENCRYPTION_KEY. To change that key: set the new one, put the old one into"
        " PORTAL_FORMER_ENCRYPTION_KEYS, restart, run this, then take the old one away. Exit 1: nothing was changed."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        done = 0
        try:
            with transaction.atomic():
                for owner in self.owners():
                    if owner.seal_anew():
                        owner.save(update_fields=["sealed"])
                        done += 1
        except SealBroken as broken:
            self.stderr.write(f"{owner.uid}: {broken} Nothing was changed.")
            sys.exit(1)
        self.stdout.write(f"Sealed {done} set{'s' if done != 1 else ''} of secrets anew.")

    def owners(self) -> Iterator[Connection | ClientSecret | Webhook | SecondFactor]:
        """Whatever has secrets that can be opened."""
        yield from Connection.objects.select_for_update().order_by("pk")
        yield from ClientSecret.objects.select_for_update().exclude(sealed="").order_by("pk")
        yield from Webhook.objects.select_for_update().order_by("pk")
        yield from SecondFactor.objects.select_for_update().order_by("pk")
