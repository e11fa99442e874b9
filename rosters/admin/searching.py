"""The lists of staff in which something is looked for without its words in an address (`rosters.searches`)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import SEARCH_VAR, ChangeList
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

from rosters import searches
from rosters.searches import KEY, Search


def search_of(request: HttpRequest) -> Search:
    """What the address asks for."""
    return searches.search_of(request, whose=str(request.user.pk))


def keyed(request: HttpRequest, field: str, *, also: Collection[str] = (), anchor: str = "") -> HttpResponse | None:
    """Where the words of `field` came: on to the same address with a key for them (`rosters.searches.keyed`)."""
    return searches.keyed(request, field, whose=str(request.user.pk), also=also, anchor=anchor)


class SearchedList(ChangeList):
    """A list of the admin, of which the address has a key."""

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self.search = search_of(request)
        super().__init__(request, *args, **kwargs)

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> Any:
        self.query = self.search.words
        rows = super().get_queryset(request, exclude_parameters)
        return rows.none() if self.search.over else rows

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        known: dict[str, Any] = super().get_filters_params(params)
        return {name: value for name, value in known.items() if name != KEY}

    @property
    def search_at(self) -> str:
        """Where the form is sent: this list under its filters, without what was looked for."""
        return self.get_query_string(remove=[KEY])


class Searched(admin.ModelAdmin):  # type: ignore[type-arg]
    """What is looked for in its list stands in no address."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return SearchedList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        return keyed(request, SEARCH_VAR) or super().changelist_view(request, extra_context)
