"""The connections app: how bytes arrive."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate

#: What each group of `rosters.staff` may do with connections, beside what the one before it may.
RUN = "connections.run_connection"
GROUPS = {
    "viewer": ("view_connection", "view_attempt", "view_checkup", "view_allowance"),
    "reviewer": ("run_connection",),
    "manager": ("add_connection", "change_connection"),
}


class ConnectionsConfig(AppConfig):
    name = "connections"
    verbose_name = "Connections"

    def ready(self) -> None:
        post_migrate.connect(make_groups, sender=self, dispatch_uid="connections.make_groups")


def make_groups(**kwargs: Any) -> None:
    from rosters.staff import grant

    own = {"run_connection": "Can test connections and fetch at once"}
    grant("connections", "Connection", own, GROUPS, using=kwargs.get("using", "default"))
