"""The connections app: how bytes arrive."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate, post_save

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
        post_save.connect(set_clocks, sender="rosters.District", dispatch_uid="connections.set_clocks")


def make_groups(**kwargs: Any) -> None:
    from rosters.staff import grant

    own = {"run_connection": "Can test connections and fetch at once"}
    grant("connections", "Connection", own, GROUPS, using=kwargs.get("using", "default"))


def set_clocks(instance: Any, **kwargs: Any) -> None:
    """A district that has another time zone now has its next runs by that clock. What is due already stays due."""
    from django.utils import timezone

    from connections.models import Connection

    now = timezone.now()
    for connection in Connection.objects.filter(district=instance, next_due_at__gt=now).select_related("district"):
        due = connection.due_after(now)
        if due is not None and due != connection.next_due_at:
            Connection.objects.filter(pk=connection.pk, next_due_at=connection.next_due_at).update(next_due_at=due)
