"""What somebody looks for stands in no address: no proxy's log and no browser's history has the name of a child.

The words come in a form, and the address of what is found has a key in their place. Under it they lie in the shared
cache, sealed, for an hour, and for nobody but the member of staff who looks.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import admin
from django.contrib.admin.views.main import SEARCH_VAR, ChangeList
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from rosters.sealing import SealBroken, seal, unseal

#: The parameter that holds the key.
KEY: Final = "found"
#: Seconds for which a search is kept.
_KEPT: Final = 3600
_LONGEST: Final = 200
_A_KEY: Final = re.compile(r"[\w-]{1,40}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for, "" for nothing; `over`: what it was is not kept any more."""

    words: str = ""
    over: bool = False


def search_of(request: HttpRequest) -> Search:
    """What the address asks for."""
    key = request.GET.get(KEY, "")
    if not key:
        return Search()
    if not _A_KEY.fullmatch(key):
        return Search(over=True)
    name = _name(request, key)
    try:
        return Search(unseal(cache.get(name, ""), bound_to=name))
    except SealBroken:
        return Search(over=True)


def keyed(request: HttpRequest, field: str, *, also: Collection[str] = (), anchor: str = "") -> HttpResponse | None:
    """Where the words of `field` came in a form, or in the address as old bookmarks have them: on to the same address
    with a key for them, and what the form says in the fields `also`. None where none came."""
    said = request.POST if request.method == "POST" else request.GET
    if field not in said:
        return None
    query = request.GET.copy()
    for name in (field, KEY, *also):
        query.pop(name, None)
    for name in also:
        if filtered := said.get(name):
            query[name] = filtered
    if words := said[field].strip()[:_LONGEST]:
        query[KEY] = _keep(request, words)
    return HttpResponseRedirect(f"{request.path}{'?' if query else ''}{query.urlencode()}{anchor}")


def _keep(request: HttpRequest, words: str) -> str:
    key = secrets.token_urlsafe(9)
    name = _name(request, key)
    cache.set(name, seal(words, bound_to=name), _KEPT)
    return key


def _name(request: HttpRequest, key: str) -> str:
    return f"search-{request.user.pk}-{key}"


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
