"""The page of a connection: does it work, when does it run, what came of it. Every button answers with a sentence."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any, cast
from zoneinfo import ZoneInfo

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_POST

from connections import attempts, fetching, tasks
from connections.apps import RUN
from connections.arriving import arriving
from connections.exceptions import FAULTS
from connections.forms import FIELDS, KIND_SECRETS, AllowanceForm, ConnectionForm, PauseForm, ScheduleForm
from connections.models import IN_TROUBLE, SECRETS, Allowance, Attempt, Checkup, Connection, latest_attempts
from connections.schedules import Schedule, calendar, runs, sentence
from connections.vendors import VENDORS
from connections.words import ATTEMPT_WORDS, connection_words, setup_step
from rosters.admin.districts import OfProduct, Owner
from rosters.admin.scope_form import ScopeForm, in_words
from rosters.models import AuditEvent, District
from rosters.staff import acting
from rosters.templatetags.roster_pages import ago
from rosters.templatetags.roster_pages import status as status_tag

ATTEMPTS_SHOWN = 20
RUNS_SHOWN = 20
RUNS_ON_PAGE = 5
STRIP_WEEKS = 26

#: What stands in the address of the list of connections that cannot connect or are late.
TROUBLE = "trouble"
HTMX_STOP_POLLING = 286

_HEADINGS = {
    "sftp": (
        ("Where the file is", ("side", "host", "port", "path")),
        ("How we log in", ("username", "login", "password", "private_key")),
        ("The file", ("formats", "marker", "when_done", "done_folder", "done_days")),
    ),
    "rest": (
        ("Where the API is", ("vendor", "base_url", "version")),
        ("How we log in", ("auth", "key", "secret", "token_url", "scope", "credentials_in", "signature")),
        ("How we read", ("page_size", "deltas")),
    ),
}


#: A reason is asked for in two forms of the page.
_OF_PAUSE = "pause_%s"

#: However it is saved, the page of the connection comes next.
_ONE_BUTTON = {"show_save_and_add_another": False, "show_save_and_continue": False}


class InState(admin.SimpleListFilter):
    title = "state"
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            (TROUBLE, "Cannot connect or late"), ("failing", "Cannot connect"), ("late", "Late"), ("paused", "Paused"),
            ("setup", "Setting up"), ("active", "In service"),
        ]  # fmt: skip

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        kinds = {
            TROUBLE: IN_TROUBLE,
            "failing": IN_TROUBLE & Q(failures__gt=0),
            "late": IN_TROUBLE & Q(late_since__isnull=False),
            "paused": Q(state="paused"),
            "setup": Q(state="setup"),
            "active": Q(state="active"),
        }
        return queryset.filter(kinds.get(self.value() or "", Q()))


@admin.register(Connection)
class ConnectionAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    nothing_yet = "Add a connection on a district's page: then rosters come by themselves."
    form = ConnectionForm
    change_form_template = "admin/connections/connection/page.html"
    list_display = ("of", "kind", "standing", "when", "last")
    list_display_links = ("of",)
    list_filter = (InState, "kind", OfProduct, ("district__owner", Owner))
    list_select_related = ("district",)
    search_fields = ("district__name", "district__site_code", "host", "base_url")
    list_per_page = 50
    actions = None

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        response = super().changelist_view(request, {"title": "Connections", **(extra_context or {})})
        changelist = getattr(response, "context_data", {}).get("cl")
        if changelist is not None:
            latest = latest_attempts(changelist.result_list)
            for connection in changelist.result_list:
                connection.latest = latest.get(connection.pk)
        return response

    @admin.display(description="district", ordering="district__name")
    def of(self, connection: Connection) -> str:
        return connection.district.name

    @admin.display(description="status")
    def standing(self, connection: Any) -> str:
        return status_tag(connection_words(connection, connection.latest))

    @admin.display(description="next run", ordering="next_due_at")
    def when(self, connection: Connection) -> str:
        if connection.next_due_at is None:
            return "only when asked" if connection.state == Connection.State.ACTIVE else "–"
        return _told(connection.on_its_clock(connection.next_due_at))

    @admin.display(description="last success", ordering="last_success_at")
    def last(self, connection: Connection) -> str:
        return ago(connection.last_success_at)

    # -- adding and changing

    @method_decorator(sensitive_post_parameters(*SECRETS))
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Reports of faults leave the secrets out."""
        return super().changeform_view(request, *args, **kwargs)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> Any:
        if not self.has_add_permission(request):
            raise PermissionDenied
        chosen = _number(request, "district") or 0
        if request.GET.get("kind") not in FIELDS or not District.objects.filter(pk=chosen).exists():
            return TemplateResponse(
                request,
                "admin/connections/connection/choose.html",
                {**self.admin_site.each_context(request), "opts": self.opts, "title": "Add a connection",
                 "districts": District.objects.order_by("name"), "chosen": chosen, "vendors": VENDORS.items()},
            )  # fmt: skip
        return super().add_view(request, form_url, {**_ONE_BUTTON, **(extra_context or {})})

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """The form of this kind; a new connection belongs to the district of the address."""
        kind = obj.kind if obj else request.GET.get("kind", "sftp")
        district: int = obj.district_id if obj else _number(request, "district") or 0

        vendor = request.GET.get("vendor", "") if request.GET.get("vendor") in VENDORS else ""

        class Form(ConnectionForm):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                if kwargs.get("instance") is None:
                    kwargs["instance"] = Connection(kind=kind, district_id=district, vendor=vendor)
                super().__init__(*args, **kwargs)

        return Form

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        kind = obj.kind if obj else request.GET.get("kind", "sftp")
        hidden = KIND_SECRETS[kind] if obj and not self.has_change_permission(request, obj) else ()
        return [
            (heading, {"fields": [name for name in names if name not in hidden]}) for heading, names in _HEADINGS[kind]
        ]

    def save_model(self, request: HttpRequest, obj: Connection, form: Any, change: bool) -> None:
        with transaction.atomic():
            if after := form.keep(timezone.now()):
                _audit(request, obj, "connection.changed" if change else "connection.added", after)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> Any:
        messages.success(request, "Saved. Test it now: each step says what is still missing.")
        return _page(obj)

    def response_change(self, request: HttpRequest, obj: Any) -> Any:
        messages.success(request, "Saved. Test it again to see whether it works so.")
        return _page(obj)

    # -- the page

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        connection = self.get_object(request, object_id)
        extra = (
            self._overview(request, connection) if connection and self.has_view_permission(request, connection) else {}
        )
        return super().change_view(request, object_id, form_url, {**_ONE_BUTTON, **extra, **(extra_context or {})})

    def _overview(self, request: HttpRequest, connection: Connection) -> dict[str, Any]:
        recent = list(connection.attempts.select_related("by", "sync")[:ATTEMPTS_SHOWN])
        checkup = connection.checkups.first()
        timetable = connection.timetable()
        words = connection_words(connection, recent[0] if recent else None)
        setting_up = connection.state == Connection.State.SETUP
        lead, step = _next_step(connection, checkup)
        return {
            "connection": connection,
            "words": words,
            "lead": lead,
            "step": step or words.next_step,
            "attempts": _worded(recent),
            "running": any(attempt.status in Attempt.OPEN for attempt in recent),
            "checkup": checkup,
            "missing": "" if setting_up else fetching.missing(connection),
            "sentence": sentence(timetable, timezone.localdate()) if timetable else "",
            **_coming(connection, timetable if connection.state == Connection.State.ACTIVE else None, RUNS_ON_PAGE),
            "allowances": connection.allowances.select_related("entered_by", "confirmed_by").order_by("-entered_at"),
            "today": connection.district.local_date(timezone.now()),
            "allowance_form": AllowanceForm(initial={"expires_on": timezone.localdate() + timedelta(days=180)}),
            "pause_form": PauseForm(auto_id=_OF_PAUSE),
            "about": in_words(connection.district, connection.speaks_for),
            "about_form": ScopeForm.of(connection.district, connection.speaks_for),
            "may_run": request.user.has_perm(RUN),
            "may_change": self.has_change_permission(request, connection),
            "me": request.user.pk,
            "vendor": VENDORS.get(connection.vendor),
        }

    def get_urls(self) -> list[URLPattern]:
        def at(name: str, view: Any) -> URLPattern:
            guarded = cast("Callable[..., HttpResponse]", self.admin_site.admin_view(view))
            return path(f"<int:pk>/{name}/", guarded, name=f"connections_connection_{name}")

        return [
            at("test", require_POST(self.test)),
            at("pull", require_POST(self.pull)),
            at("pause", require_POST(self.pause)),
            at("about", require_POST(self.about)),
            at("start", require_POST(self.start)),
            at("trust", require_POST(self.trust)),
            at("key-pair", require_POST(self.key_pair)),
            at("allow", require_POST(self.allow)),
            at("confirm", require_POST(self.confirm)),
            at("schedule", self.schedule),
            at("preview", require_GET(self.preview)),
            at("checkup", require_GET(self.checkup)),
            at("attempts", require_GET(self.list_attempts)),
            path(
                "arriving/",
                self.admin_site.admin_view(require_GET(self.arriving)),
                name="connections_connection_arriving",
            ),
            *super().get_urls(),
        ]

    def _of(self, request: HttpRequest, pk: int, *, running: bool = False, seeing: bool = False) -> Connection:
        """The connection, if the person may: see it, run it, or change it."""
        connection = get_object_or_404(Connection.objects.select_related("district"), pk=pk)
        allowed = (
            self.has_view_permission(request, connection) if seeing
            else request.user.has_perm(RUN) if running
            else self.has_change_permission(request, connection)
        )  # fmt: skip
        if not allowed:
            raise PermissionDenied
        return connection

    def _again(self, request: HttpRequest, connection: Connection, **typed: Any) -> HttpResponse:
        """The page with what somebody typed into one of its small forms, and what is wrong with that."""
        looking = copy(request)
        looking.method = "GET"  # else it would be taken for the settings that are saved
        url = reverse("admin:connections_connection_change", args=[connection.pk])
        answer = self.change_view(looking, str(connection.pk), url, typed)
        answer.status_code = 422
        return cast("HttpResponse", answer)

    # -- buttons

    def test(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask the doctor."""
        connection = self._of(request, pk, running=True)
        with transaction.atomic():
            checkup = Checkup.ask(connection, timezone.now(), by=acting(request))
            if checkup is not None:
                tasks.enqueue_check(checkup)
        if checkup is None:
            other = (at := Checkup.going_on(connection.district)) and at.connection_id != connection.pk
            messages.info(
                request,
                "Another connection of this district is being tested: test this one when that has ended."
                if other
                else "It is being tested already.",
            )
        return _page(connection, "#doctor")

    def pull(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Fetch at once."""
        connection = self._of(request, pk, running=True)
        try:
            attempt = attempts.ask(connection, Attempt.Why.NOW, by=acting(request))
        except attempts.NotNow as reason:
            messages.error(request, str(reason))
        else:
            tasks.enqueue_pull(attempt)
            messages.success(request, "Fetching. What comes is checked and compared; nothing goes live before that.")
        return _page(connection, "#attempts")

    def pause(self, request: HttpRequest, pk: int) -> HttpResponse:
        connection = self._of(request, pk)
        form = PauseForm(request.POST, auto_id=_OF_PAUSE)
        if connection.state == Connection.State.ACTIVE and not form.is_valid():
            messages.error(request, f"{_first_wrong(form)} It was not paused.")
            return self._again(request, connection, pause_form=form)
        if connection.state != Connection.State.ACTIVE:
            messages.info(request, "It is not in service, so there is nothing to pause.")
            return _page(connection)
        until, reason = form.cleaned_data["until"], form.cleaned_data["reason"]
        with transaction.atomic():
            if connection.pause(timezone.now(), reason, by=acting(request), until=until):
                _audit(request, connection, "connection.paused", {"until": str(until or ""), "reason": reason})
                messages.success(request, "Paused. The roster that is live stays live; resume it on this page.")
            else:
                messages.info(request, "It is not in service, so there is nothing to pause.")
        return _page(connection)

    def about(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Which schools and terms it speaks for."""
        connection = self._of(request, pk)
        form = ScopeForm(request.POST, district=connection.district)
        if not form.is_valid():
            messages.error(request, "One of those is not live any more: choose again. Nothing was changed.")
            return self._again(request, connection, about_form=form)
        if (said := form.scope()).as_json() == connection.speaks_for:
            messages.info(request, "That is as it was.")
        else:
            before = {"speaks_for": connection.speaks_for}
            with transaction.atomic():
                connection.speak_for(timezone.now(), said)
                _audit(request, connection, "connection.speaks_for", {"speaks_for": said.as_json()}, before=before)
            messages.success(request, "Saved. What it brings next is read so, though it may be the same file.")
        return _page(connection, "#about")

    def start(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Into service, or on after a pause."""
        connection = self._of(request, pk)
        checkup = connection.checkups.first()
        if connection.state == Connection.State.SETUP and (checkup is None or not checkup.passed):
            messages.error(request, "Test it first: it can be put into service when every step of the test has passed.")
            return _page(connection, "#doctor")
        now = timezone.now()
        with transaction.atomic():
            if connection.activate(now, connection.due_after(now)):
                _audit(request, connection, "connection.started", {"next": str(connection.next_due_at or "")})
                when = (
                    " Its next run stands below."
                    if connection.next_due_at
                    else " It runs when asked: it has no schedule."
                )
                messages.success(request, f"In service.{when}")
        return _page(connection)

    def trust(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Pin the fingerprint that the page showed."""
        connection = self._of(request, pk)
        shown = request.POST.get("fingerprint", "")
        with transaction.atomic():
            if connection.pin_host_key(timezone.now(), shown, acting(request)):
                _audit(request, connection, "connection.host_key", {"fingerprint": shown})
                messages.success(
                    request, "This key is trusted from now on; a server with another one is never logged in to."
                )
            else:
                messages.error(request, "The server has shown another key since. Look at it and confirm that one.")
        return _page(connection, "#doctor")

    def key_pair(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Make a key pair for this district; the private half is sealed and never shown."""
        connection = self._of(request, pk)
        if connection.kind != Connection.Kind.SFTP:
            raise Http404
        with transaction.atomic():
            fetching.make_key_pair(connection)
            _audit(request, connection, "connection.key_pair", {})
        messages.success(
            request, "Made. Send the public half below to the district; the private half stays here, encrypted."
        )
        return _page(connection, "#key")

    def allow(self, request: HttpRequest, pk: int) -> HttpResponse:
        connection = self._of(request, pk)
        form = AllowanceForm(request.POST, instance=Allowance(connection=connection, entered_by=acting(request)))
        if not form.is_valid():
            messages.error(request, f"{_first_wrong(form)} Nothing was entered.")
            return self._again(request, connection, allowance_form=form)
        with transaction.atomic():
            entry = form.save()
            _audit(request, connection, "connection.allowance_entered", {"network": entry.network})
        messages.success(request, "Entered. It counts when another member of staff has confirmed it.")
        return _page(connection, "#allowances")

    def confirm(self, request: HttpRequest, pk: int) -> HttpResponse:
        connection = self._of(request, pk)
        entry = get_object_or_404(connection.allowances, pk=_number(request, "allowance", request.POST))
        with transaction.atomic():
            if entry.confirm(timezone.now(), acting(request)):
                _audit(request, connection, "connection.allowance_confirmed", {"network": entry.network})
                messages.success(
                    request, f"Confirmed: this connection may reach {entry.network} until {entry.expires_on}."
                )
            elif entry.is_over(timezone.now()):
                messages.error(request, "Its last day has passed: enter the network anew, until a day to come.")
            elif entry.confirmed_by_id:
                messages.info(request, "It is confirmed already.")
            else:
                messages.error(request, "Another person than the one who entered it must confirm it.")
        return _page(connection, "#allowances")

    # -- when it runs

    def schedule(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The schedule, with the next runs before it is saved."""
        connection = self._of(request, pk)
        zone = connection.district.time_zone
        form = ScheduleForm(request.POST, zone=zone) if request.method == "POST" else ScheduleForm.of(connection)
        if request.method == "POST" and form.is_valid():
            self._set_schedule(request, connection, form.schedule())
            messages.success(request, "Saved. The next runs stand below.")
            return _page(connection, "#schedule")
        timetable = connection.timetable()
        return TemplateResponse(
            request,
            "admin/connections/connection/schedule.html",
            {**self.admin_site.each_context(request), "opts": self.opts, "title": f"When {connection} runs",
             "connection": connection, "form": form, **_coming(connection, timetable, RUNS_SHOWN)},
            status=200 if request.method == "GET" else 422,
        )  # fmt: skip

    def _set_schedule(self, request: HttpRequest, connection: Connection, timetable: Schedule) -> None:
        before = connection.schedule
        with transaction.atomic():
            connection.set_schedule(timezone.now(), timetable)
            _audit(request, connection, "connection.scheduled", connection.schedule, before=before)

    def preview(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The next runs of a schedule that is being typed."""
        connection = self._of(request, pk)
        form = ScheduleForm(request.GET, zone=connection.district.time_zone)
        valid = form.is_valid()
        return TemplateResponse(
            request,
            "admin/connections/connection/_runs.html",
            {"connection": connection, "problems": [] if valid else [m for each in form.errors.values() for m in each],
             "sentence": sentence(form.schedule(), timezone.localdate()) if valid else "",
             **_coming(connection, form.schedule() if valid else None, RUNS_SHOWN)},
        )  # fmt: skip

    # -- what updates by itself

    def checkup(self, request: HttpRequest, pk: int) -> HttpResponse:
        connection = self._of(request, pk, seeing=True)
        return self._part(request, connection, "_checkup", connection.checkups.filter(ended_at=None).exists())

    def list_attempts(self, request: HttpRequest, pk: int) -> HttpResponse:
        connection = self._of(request, pk, seeing=True)
        going_on = connection.attempts.filter(status__in=Attempt.OPEN).exists()
        return self._part(request, connection, "_attempts", going_on)

    def arriving(self, request: HttpRequest) -> HttpResponse:
        """What is being fetched, for the pages of syncs and districts."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        followed = [int(one) for one in request.GET.get("follow", "").split(",") if one.isdecimal() and len(one) < 18]
        context = arriving(_number(request, "district"), followed)
        status = 200 if context["going_on"] else HTMX_STOP_POLLING
        return TemplateResponse(request, "admin/connections/arriving.html", context, status=status)

    def _part(self, request: HttpRequest, connection: Connection, part: str, going_on: bool) -> HttpResponse:
        """A part of the page that follows what goes on; at its end the head of the page comes too, as it is then."""
        return TemplateResponse(
            request,
            f"admin/connections/connection/{part}.html",
            {**self._overview(request, connection), "late": not going_on},
            status=200 if going_on else HTMX_STOP_POLLING,
        )


def _page(connection: Connection, place: str = "") -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:connections_connection_change", args=[connection.pk]) + place)


def _first_wrong(form: Any) -> str:
    """The first thing that is wrong with a form, which its message says; the rest stands at the fields."""
    return str(next(iter(form.errors.values()))[0])


def _number(request: HttpRequest, name: str, of: Any = None) -> int | None:
    text = str((of if of is not None else request.GET).get(name, ""))
    return int(text) if text.isdecimal() and len(text) < 18 else None


def _next_step(connection: Connection, checkup: Checkup | None) -> tuple[str, str]:
    """The button that is next, "" for none, and what to do where the connection is not in service yet."""
    if connection.state == Connection.State.SETUP:
        return setup_step(connection, tested=checkup is not None and bool(checkup.passed))
    if connection.state != Connection.State.PAUSED:
        return "", ""
    mended = checkup is not None and checkup.passed and checkup.started_at > connection.state_since
    return "start" if mended or connection.paused_by_id or connection.paused_until else "test", ""


def _worded(recent: list[Attempt]) -> list[dict[str, Any]]:
    return [
        {
            "attempt": attempt,
            "words": ATTEMPT_WORDS[attempt.status],
            "next_step": FAULTS[attempt.code].next_step if attempt.code in FAULTS else "",
            "seconds": (attempt.ended_at - attempt.started_at).total_seconds()
            if attempt.ended_at and attempt.started_at
            else None,
            "share": attempt.share,
        }
        for attempt in recent
    ]


def _coming(connection: Connection, timetable: Schedule | None, number: int) -> dict[str, Any]:
    """The next runs, those that a blackout takes out among them, at the minute at which this connection starts, in the
    district's time and the reader's; and the next half year day by day."""
    if timetable is None:
        return {"runs": [], "strip": None}
    now, delay = timezone.now(), connection.delay
    found = islice(runs(timetable, now - delay, skipped=True), number)
    return {
        "runs": [
            {
                "run": run,
                "local": _told(connection.on_its_clock(run.at + delay)),
                "own": _told(timezone.localtime(run.at + delay)),
            }
            for run in found
        ],
        "later": int(delay.total_seconds() // 60),
        "strip": _strip(timetable, now.astimezone(ZoneInfo(timetable.zone)).date()),
    }


def _told(moment: datetime) -> str:
    """ "Tue 1 Dec, 02:04 CST"."""
    return f"{moment:%a} {moment.day} {moment:%b, %H:%M %Z}"


def _strip(timetable: Schedule, today: date) -> dict[str, Any]:
    """Half a year as a drawing: a column for each week from the one of `today` on, a square for each day of it."""
    monday = today - timedelta(days=today.weekday())
    found = calendar(timetable, monday, STRIP_WEEKS * 7)
    cells = [
        {"x": number // 7 * 14, "y": number % 7 * 14, "day": each, "past": each.day < today, "today": each.day == today}
        for number, each in enumerate(found)
    ]
    told = [each for each in found if each.day >= today]
    months = [
        {"x": number // 7 * 14, "word": f"{each.day:%b}"}
        for number, each in enumerate(found)
        if number and number % 7 == 0 and each.day.day <= 7
    ]
    return {
        "cells": cells,
        "months": months,
        "runs": sum(each.runs for each in told),
        "adds": any(each.additions_only for each in told),
        "blackouts": any(each.blackout for each in told),
        "clocks": any(each.clock_changes for each in told),
    }


def _audit(
    request: HttpRequest, connection: Connection, action: str, after: dict[str, Any], before: Any = None
) -> None:
    AuditEvent.objects.create(
        by=acting(request),
        action=action,
        district=connection.district,
        subject=f"connection {connection.pk}",
        before=before or {},
        after=after,
    )
