"""The rosters app: what a roster is, and what may happen to it."""

from django.apps import AppConfig


class RostersConfig(AppConfig):
    name = "rosters"
    verbose_name = "Rosters"
