"""The roof: it wires the house together, and knows who of our staff comes in."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig
from django.contrib.auth.signals import user_logged_in, user_logged_out


class PortalConfig(AppConfig):
    name = "portal"
    verbose_name = "Portal"

    def ready(self) -> None:
        from portal import checks, second_factor, sessions  # noqa: F401  (registers the system checks)

        user_logged_in.connect(sessions.begin, dispatch_uid="portal.sessions.begin")
        user_logged_in.connect(second_factor.begin, dispatch_uid="portal.second_factor.begin")
        user_logged_out.connect(sessions.end, dispatch_uid="portal.sessions.end")


class PortalAdminConfig(AdminConfig):
    """Django's admin under our own site, whose first page is the desk."""

    default_site = "portal.site.PortalAdminSite"
