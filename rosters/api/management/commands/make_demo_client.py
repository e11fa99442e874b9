"""`manage.py make_demo_client`: a tool that may read the demo's rosters, and its key and secret in a file for curl."""

from __future__ import annotations

import os
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone

from rosters.api import scopes
from rosters.api.models import Client
from rosters.models import AuditEvent, District

FILE: Final = "client.curl"


class Command(BaseCommand):
    help = "Give the demo an API client, whose key and secret lie in demo/client.curl of the data folder."

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        path = settings.PORTAL_DATA_DIR / "demo" / FILE
        districts = District.objects.filter(site_code__in=["1001", "1002", "1003"])
        if Client.objects.exists() or not districts or not path.parent.is_dir():
            return
        now = timezone.now()
        client = Client.objects.create(name="Demo tool", scopes=list(scopes.STANDARD), signs=True, made_at=now)
        client.districts.set(districts)
        _, text = client.new_secret(now)
        AuditEvent.objects.create(at=now, action="client.made", subject=f"API client {client.pk}")
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f'user = "{client.key}:{text}"\n')
        self.stdout.write(f"Made an API client; its key and secret are in {path}.")
