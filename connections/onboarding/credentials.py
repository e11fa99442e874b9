"""How the district's roster reaches us, entered by the district itself: settings, secrets, and the connection doctor.

What is entered here is used by nobody before staff have confirmed it: a connection stays "setting up" until they put it
into service, and one that is in service is changed by them, not from here.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from connections import fetching, tasks
from connections.forms import ConnectionForm
from connections.models import SECRETS, Checkup, Connection, latest_attempts
from connections.onboarding.entering import audit, for_owners
from connections.onboarding.models import Person
from connections.vendors import VENDORS
from connections.words import connection_words

#: What the district knows; the rest is agreed with staff.
FIELDS: Final = {
    "sftp": ("host", "port", "username", "login", "path"),
    "rest": ("vendor", "base_url", "version", "auth", "signature", "token_url", "scope"),
}
#: So many ways in a district can enter by itself.
_MOST: Final = 6
_STOP_POLLING: Final = 286


class OwnForm(ConnectionForm):
    """The settings that the district knows, by the names that it knows."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in list(self.fields):
            if name not in FIELDS[self.kind] and name not in SECRETS:
                if self.instance.pk is None and name in self.initial:  # what is known of its system
                    setattr(self.instance, name, self.initial[name])
                del self.fields[name]
        if self.instance.pk is None:
            self.fields.pop("vendor", None)  # it was chosen before, above the form
        vendor = VENDORS.get(self.instance.vendor)
        if "base_url" in self.fields and not (vendor and vendor.url):
            example = "https://sis.example.org/ims/oneroster/v1p1"
            self.fields[
                "base_url"
            ].help_text = f"Where the OneRoster API of your system answers, for example {example}."
        for name, words in {
            "port": "22, unless your server listens elsewhere.",
            "username": "The account that you made for us.",
            "path": "Where the newest export lies: a folder, a file, or a pattern such as exports/*.zip.",
            "private_key": "Better: leave it empty, and we send you the public half of a key pair of ours.",
            "vendor": "Its own words then stand at the fields of this page.",
            "scope": "Only if your system names some, with blanks between them.",
            "signature": "SHA-256, unless your system is an old one.",
        }.items():
            if name in self.fields:
                self.fields[name].help_text = words


@require_GET
@for_owners
def ways(request: HttpRequest, person: Person) -> HttpResponse:
    """Every way in, how it is, and what to enter next."""
    found = list(person.district.connections.order_by("pk"))
    latest = latest_attempts(found)
    rows = [
        {
            "connection": each,
            "words": connection_words(each, latest.get(each.pk)),
            "checkup": each.checkups.first(),
            "missing": fetching.missing(each),
        }
        for each in found
    ]
    return render(request, "onboarding/ways.html", {"rows": rows, "may_add": len(found) < _MOST})


@sensitive_post_parameters(*SECRETS)
@require_http_methods(["GET", "POST"])
@for_owners
def enter_settings(request: HttpRequest, person: Person, kind: str = "", uid: UUID | None = None) -> HttpResponse:
    """Settings of a new way in of this `kind`, or of the one that has this `uid`."""
    if uid is not None:
        connection = _of(person, uid)
        if connection.state == Connection.State.ACTIVE:
            raise PermissionDenied
    elif person.district.connections.count() >= _MOST:
        raise PermissionDenied
    else:
        vendor = request.GET.get("vendor", "")
        known = vendor if vendor in VENDORS and kind == "rest" else ""
        connection = Connection(kind=kind, district=person.district, vendor=known)
    form = OwnForm(request.POST or None, instance=connection)
    if request.method == "POST" and form.is_valid():
        action = "connection.changed" if uid else "connection.added"
        now = timezone.now()
        with transaction.atomic():
            names = sorted(form.keep(now))
            # A pause ends by itself; what staff have not tested and put into service may not begin with it.
            anew = bool(uid and names) and connection.set_up_anew(now)
            about: dict[str, Any] = {
                "connection": connection.pk,
                "names": names,
                **({"set_up_anew": True} if anew else {}),
            }
            audit(action, person, now, **about)
        return _back(str(connection.uid))
    context = {
        "form": form,
        "kind": connection.get_kind_display(),
        "vendor": VENDORS.get(connection.vendor),
        "vendors": () if uid or kind == "sftp" else VENDORS.items(),
        "chosen": connection.vendor,
    }
    return render(request, "onboarding/settings.html", context, status=422 if form.errors else 200)


@require_POST
@for_owners
def test(request: HttpRequest, person: Person, uid: UUID) -> HttpResponse:
    """Ask the doctor, who looks at one connection of a district at a time."""
    connection = _of(person, uid)
    now = timezone.now()
    with transaction.atomic():
        checkup = Checkup.ask(connection, now)
        if checkup is not None:
            audit("connection.tested", person, now, connection=connection.pk)
            tasks.enqueue_check(checkup)
    if checkup is None and not connection.checkups.filter(ended_at=None).exists():
        messages.error(request, "Another test of yours is running. Wait until it has ended, then test this one.")
    return _back(str(connection.uid))


@require_GET
@for_owners
def checkup(request: HttpRequest, person: Person, uid: UUID) -> HttpResponse:
    """What the doctor has found so far; the page asks until it has ended."""
    connection = _of(person, uid)
    latest = connection.checkups.first()
    going_on = latest is not None and latest.ended_at is None
    context = {"connection": connection, "checkup": latest}
    return render(request, "onboarding/_checkup.html", context, status=200 if going_on else _STOP_POLLING)


def _of(person: Person, uid: UUID) -> Connection:
    return get_object_or_404(Connection, district=person.district, uid=uid)


def _back(place: str) -> HttpResponseRedirect:
    return HttpResponseRedirect(f"{reverse('onboarding:ways')}#{place}")
