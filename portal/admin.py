"""The admin site; its first page is the desk."""

from django.contrib import admin


class PortalAdminSite(admin.AdminSite):
    site_header = "Roster portal"
    site_title = "Roster portal"
    index_title = "Desk"
