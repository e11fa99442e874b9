"""The addresses of the API that are about rosters; `connections.api` adds those about connections."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from rosters.api import feed, ids, objects, provider
from rosters.api.manners import unknown_address

app_name = "api"

#: Below `/d/<site code>/ims/oneroster/`.
oneroster: list[URLPattern | URLResolver] = [
    *provider.addresses("1.1"),
    *provider.addresses("1.2"),
    *provider.discovery,
    path("<path:rest>", unknown_address),
]

#: Below `/api/v1/`.
portal: list[URLPattern | URLResolver] = [*objects.addresses, *ids.addresses, *feed.addresses]
