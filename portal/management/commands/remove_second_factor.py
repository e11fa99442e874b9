"""`manage.py remove_second_factor NAME`: for a superuser who has lost app and spare codes, and has no colleague."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal import second_factor


class Command(BaseCommand):
    help = "Remove the second factor of a member of staff: the next login asks for no code. It is audited."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the user name")

    def handle(self, *args: Any, **options: Any) -> None:
        staff = User.objects.filter(username=options["name"]).first()
        if staff is None:
            raise CommandError("There is no such account.")
        self.stdout.write("Removed." if second_factor.remove(staff, by=None) else "There was none.")
