"""The roof: it wires the house together and owns no models."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class PortalConfig(AppConfig):
    name = "portal"
    verbose_name = "Portal"

    def ready(self) -> None:
        from portal import checks  # noqa: F401  (registers the system checks)


class PortalAdminConfig(AdminConfig):
    """Django's admin under our own site, whose first page is the desk."""

    default_site = "portal.site.PortalAdminSite"
