"""The API's app: which tools may come in."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate

#: What each group of `rosters.staff` may do with the API's clients, beside what the one before it may.
GROUPS: dict[str, tuple[str, ...]] = {
    "viewer": (),
    "reviewer": (),
    "manager": ("view_client", "add_client", "change_client"),
}


class ApiConfig(AppConfig):
    name = "rosters.api"
    label = "api"
    verbose_name = "API"

    def ready(self) -> None:
        post_migrate.connect(make_groups, sender=self, dispatch_uid="api.make_groups")


def make_groups(**kwargs: Any) -> None:
    from rosters.staff import grant

    grant("api", "Client", {}, GROUPS, using=kwargs.get("using", "default"))
