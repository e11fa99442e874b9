"""Where every address of the portal begins."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("admin/", admin.site.urls),
    path("district/", include("connections.onboarding.urls")),
    path("", RedirectView.as_view(pattern_name="admin:index")),
]
