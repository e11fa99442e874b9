"""`manage.py check_connection ID`: the connection doctor at the keyboard."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from connections import fetching
from connections.models import Connection

_SIGNS = {"ok": "✓", "failed": "✕", "warning": "!", "skipped": "–"}


class Command(BaseCommand):
    help = (
        "Look step by step whether a connection works. Nothing of the roster is kept. Exit 0: it works, 1: it does not."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", type=int, help="the number in the address of the connection's page")

    def handle(self, *args: Any, **options: Any) -> None:
        connection = Connection.objects.select_related("district").filter(pk=options["id"]).first()
        if connection is None:
            raise CommandError(f"There is no connection {options['id']}.")
        self.stdout.write(f"{connection}\n")
        works = True
        for step in fetching.probe(connection):
            works = works and step.outcome != "failed"
            self.stdout.write(f"{_SIGNS[step.outcome]} {step.name:20} {step.seconds:6.1f} s  {step.words} {step.code}")
            if step.inside:
                self.stdout.write(f"{'':30}{step.inside}")
            if step.next_step and step.outcome != "ok":
                self.stdout.write(f"{'':30}→ {step.next_step}")
        sys.exit(0 if works else 1)
