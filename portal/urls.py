"""Where every address of the portal begins."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

import connections.api
import rosters.api.urls
from rosters.api.manners import unknown_place
from rosters.api.tokens import token

urlpatterns = [
    path("admin/", admin.site.urls),
    path("district/", include("connections.onboarding.urls")),
    path("oauth2/token", token, name="token"),
    path("oauth2/token/", token),
    path("d/<str:site_code>/ims/oneroster/", include((rosters.api.urls.oneroster, "oneroster"))),
    path("api/v1/", include(([*rosters.api.urls.portal, *connections.api.addresses], "v1"))),
    path("api/v1/<path:rest>", unknown_place),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("", RedirectView.as_view(pattern_name="admin:index")),
]
