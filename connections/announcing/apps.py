"""The announcing app: webhooks, and mails to staff."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate

#: What each group of `rosters.staff` may do with webhooks, beside what the one before it may.
GROUPS: dict[str, tuple[str, ...]] = {
    "viewer": (),
    "reviewer": (),
    "manager": ("view_webhook", "add_webhook", "change_webhook"),
}


class AnnouncingConfig(AppConfig):
    name = "connections.announcing"
    label = "announcing"
    verbose_name = "Webhooks"

    def ready(self) -> None:
        post_migrate.connect(make_groups, sender=self, dispatch_uid="announcing.make_groups")


def make_groups(**kwargs: Any) -> None:
    from rosters.staff import grant

    grant("announcing", "Webhook", {}, GROUPS, using=kwargs.get("using", "default"))
