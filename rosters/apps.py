"""The rosters app: what a roster is, and what may happen to it."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class RostersConfig(AppConfig):
    name = "rosters"
    verbose_name = "Rosters"

    def ready(self) -> None:
        from rosters.staff import make_groups

        # After auth's own receiver, which makes the permissions that the groups are given.
        post_migrate.connect(make_groups, sender=self, dispatch_uid="rosters.make_groups")
