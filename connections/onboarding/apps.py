"""The onboarding app: the district's side."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate

#: What each group of `rosters.staff` may do with a district's people and with calls, beside what the one before it may.
GROUPS: dict[str, tuple[str, ...]] = {
    "viewer": ("view_person", "view_availability", "view_call", "view_question"),
    "reviewer": ("add_availability", "change_availability", "change_call", "add_question"),
    "manager": ("add_person", "change_person"),
}


class OnboardingConfig(AppConfig):
    name = "connections.onboarding"
    label = "onboarding"
    verbose_name = "Onboarding"

    def ready(self) -> None:
        post_migrate.connect(make_groups, sender=self, dispatch_uid="onboarding.make_groups")


def make_groups(**kwargs: Any) -> None:
    from rosters.staff import grant

    grant("onboarding", "Person", {}, GROUPS, using=kwargs.get("using", "default"))
