"""Who is looked for in a district's own files, by its own people: the line, what was found there, what became of it.

They have the same in the file, which they may take home. Whoever is asked why somebody cannot log in finds out here,
also where the row was set aside, or the file waits, was refused or changed nothing.
"""

from __future__ import annotations

from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from connections.onboarding import checking
from connections.onboarding.entering import for_people
from connections.onboarding.findings import Told, sent, systems_of
from connections.onboarding.models import Person
from connections.onboarding.receipts import key_of, note
from connections.onboarding.words import outcome
from rosters import syncs
from rosters.downloads import or_later
from rosters.models import Finding, Sync
from rosters.searches import keyed, search_of

#: The field of the form, and what else it says.
_WHO: Final = "who"
_ALSO: Final = ("file",)
#: Nobody has more names; each is looked for in every line that fits so far.
MOST_WORDS: Final = 8
_TOO_MANY: Final = f"That is more than {MOST_WORDS} words. Write a name, or one of the others alone."
_PAGE: Final = "onboarding/somebody.html"


@require_http_methods(["GET", "POST"])
@or_later
@for_people
def somebody(request: HttpRequest, person: Person) -> HttpResponse:
    """The page. Whom it is about is sent, and stands in no address; that somebody looked is written down, not for
    whom. A whole file is looked through: so it takes its turn with what is checked."""
    whose = f"person-{person.pk}"
    if at := keyed(request, _WHO, whose=whose, also=_ALSO):
        return at
    search = search_of(request, whose=whose)
    files = [(key_of(sync), sync, outcome(sync)) for sync in syncs.newest_files(person.district)]
    asked = request.GET.get("file", "")
    chosen = next((each for each in files if each[0] == asked), next(iter(files), None))
    context: dict[str, Any] = {"search": search, "files": files, "chosen": chosen}
    if chosen is None or not search.words:
        return render(request, _PAGE, context)
    if len(search.words.replace(",", " ").split()) > MOST_WORDS:
        return render(request, _PAGE, {**context, "complaint": _TOO_MANY}, status=422)
    try:
        with checking.turn_of(person.district):
            found = syncs.look_for(chosen[1], search.words, request.GET.get("row", ""))
    except checking.NoTurn as busy:
        return render(request, _PAGE, {**context, "complaint": f"{busy} Find again in a minute."}, status=503)
    except checking.CannotFinish as fault:
        return render(request, _PAGE, {**context, "complaint": str(fault)}, status=500)
    note("person.looked_into", person, chosen[1])
    context |= {"found": found, "meant": _meant(person, chosen[1], found.trace.findings if found.trace else [])}
    return render(request, _PAGE, context)


def _meant(person: Person, sync: Sync, findings: list[Finding]) -> dict[int, Told]:
    """What each finding means, by its key."""
    found = {finding.pk: finding for finding in findings}
    told = sent(sync, found.values(), systems_of(person.district))
    return dict(zip(found, told, strict=True))
