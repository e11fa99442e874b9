"""What somebody looks for stands in no address: no proxy's log and no browser's history has the name of a child.

The words come in a form, and the address of what is found has a key in their place. Under it they lie in the shared
cache, sealed, for an hour, and for nobody but whoever looks.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from django.core.cache import cache
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


def search_of(request: HttpRequest, *, whose: str) -> Search:
    """What the address asks for; `whose`: who looks."""
    key = request.GET.get(KEY, "")
    if not key:
        return Search()
    if not _A_KEY.fullmatch(key):
        return Search(over=True)
    name = _name(whose, key)
    try:
        return Search(unseal(cache.get(name, ""), bound_to=name))
    except SealBroken:
        return Search(over=True)


def keyed(
    request: HttpRequest, field: str, *, whose: str, also: Collection[str] = (), anchor: str = ""
) -> HttpResponse | None:
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
        query[KEY] = _keep(whose, words)
    return HttpResponseRedirect(f"{request.path}{'?' if query else ''}{query.urlencode()}{anchor}")


def _keep(whose: str, words: str) -> str:
    key = secrets.token_urlsafe(9)
    name = _name(whose, key)
    cache.set(name, seal(words, bound_to=name), _KEPT)
    return key


def _name(whose: str, key: str) -> str:
    return f"search-{whose}-{key}"
