"""Webhooks, for staff: an address is told, tried, looked after; what did not arrive is sent again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.views.decorators.http import require_POST

from connections.announcing import tasks, telling
from connections.announcing.models import KINDS, Announcement, Webhook
from connections.announcing.words import KIND_WORDS, outcome
from connections.models import Connection
from rosters.api.admin import OVERLAPS
from rosters.api.models import Client
from rosters.models import AuditEvent, Sync
from rosters.sealing import SealBroken
from rosters.staff import acting

SHOWN: Final = 50
#: After the first save a secret is shown once: nothing leads past that page.
_ONE_BUTTON: Final = {"show_save_and_add_another": False, "show_save_and_continue": False}


class WebhookForm(forms.ModelForm):  # type: ignore[type-arg]
    kinds = forms.MultipleChoiceField(
        choices=tuple(KINDS.items()), widget=forms.CheckboxSelectMultiple, label="What it is told of"
    )

    class Meta:
        model = Webhook
        fields = ("client", "url", "kinds")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "client" in self.fields:
            self.fields["client"].queryset = Client.objects.filter(ended_at=None)  # type: ignore[attr-defined]


@admin.register(Webhook)
class WebhookAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    nothing_yet = (
        "A webhook tells a tool what happened, so that it need not ask. It belongs to an API client: add that first."
    )
    form = WebhookForm
    change_form_template = "admin/announcing/webhook.html"
    list_display = ("client", "url", "standing", "last_sent_at")
    list_select_related = ("client",)
    search_fields = ("client__name", "url")
    actions = None

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Webhook | None = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or obj.client.ended_at is None)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        looked_at = obj is not None and not self.has_change_permission(request, obj)
        return ("client", "url", "told_of") if looked_at else ("client", "url", "kinds")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("client", "told_of") if obj else ()

    @admin.display(description="what it is told of")
    def told_of(self, webhook: Webhook) -> SafeString:
        return format_html_join("", "<div>{}</div>", ((KIND_WORDS.get(kind, kind),) for kind in webhook.kinds))

    @admin.display(description="state")
    def standing(self, webhook: Webhook) -> str:
        if webhook.client.ended_at:
            return "its client has ended"
        if webhook.off_at:
            return "off"
        return "nothing arrives" if webhook.failing_since else "on"

    def get_urls(self) -> list[URLPattern]:
        def at(route: str, view: Any, name: str) -> URLPattern:
            guarded = cast("Callable[..., HttpResponse]", self.admin_site.admin_view(require_POST(view)))
            return path(f"<int:pk>/{route}", guarded, name=f"announcing_webhook_{name}")

        return [
            at("ping/", self.ping, "ping"),
            at("secret/", self.new_secret, "secret"),
            at("switch/", self.switch, "switch"),
            at("replay/", self.replay, "replay"),
            *super().get_urls(),
        ]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.made_by, request.webhook_secret = acting(request), obj.new_secret()  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)
        _audit(request, "webhook.changed" if change else "webhook.made", obj, {"kinds": obj.kinds})

    def response_add(self, request: HttpRequest, obj: Webhook, post_url_continue: str | None = None) -> HttpResponse:
        return self._shown_once(request, obj, request.webhook_secret)  # type: ignore[attr-defined]

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().add_view(request, form_url, {**_ONE_BUTTON, **(extra_context or {})})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        webhook: Any = self.get_object(request, object_id)
        extra: dict[str, Any] = {}
        if webhook:
            recent = webhook.announcements.select_related("district")[: SHOWN + 1]
            extra = {
                "title": capfirst(str(webhook)),
                "announcements": _told(list(recent[:SHOWN])),
                "given_up": webhook.announcements.filter(status="given_up").count(),
                "may_change": self.has_change_permission(request, webhook),
                "overlaps": OVERLAPS,
                "until": _overlaps_until(webhook),
                **_ONE_BUTTON,
            }
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    # -- buttons

    def ping(self, request: HttpRequest, pk: int) -> HttpResponse:
        webhook, now = self._of(request, pk), timezone.now()
        _enqueue(telling.ping(webhook, now), now)
        messages.success(request, "A ping is on its way; it stands below with what became of it.")
        return _back(webhook)

    def new_secret(self, request: HttpRequest, pk: int) -> HttpResponse:
        """One more secret; those before sign beside it for as long as was chosen."""
        webhook, now = self._of(request, pk), timezone.now()
        overlap = request.POST.get("overlap", "")
        if overlap not in OVERLAPS:
            messages.error(request, "Choose how long the secret before goes on signing.")
            return _back(webhook)
        with transaction.atomic():
            webhook = Webhook.objects.select_for_update().get(pk=webhook.pk)
            text = webhook.rotate(now, now + timedelta(seconds=int(overlap)))
            webhook.save(update_fields=["sealed"])
            _audit(request, "webhook.secret_made", webhook, {"overlap_seconds": int(overlap)})
        return self._shown_once(request, webhook, text)

    def switch(self, request: HttpRequest, pk: int) -> HttpResponse:
        """On, or off. What happened while it was off, up to a week back, is told when it is on again."""
        webhook = self._of(request, pk)
        if webhook.off_at:
            webhook.switch_on()
            messages.success(request, "On. What happened meanwhile is told within a minute.")
        else:
            webhook.switch_off(timezone.now(), f"Switched off by {acting(request)}.")
            messages.success(request, "Off. Nothing is sent there until it is switched on.")
        _audit(request, "webhook.off" if webhook.off_at else "webhook.on", webhook, {})
        return _back(webhook)

    def replay(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Send one announcement again, or all that were given up."""
        webhook, now = self._of(request, pk), timezone.now()
        which = request.POST.get("announcement", "")
        found = webhook.announcements.filter(status="given_up")
        if which:
            found = webhook.announcements.filter(pk=int(which) if which.isdecimal() and len(which) < 18 else 0)
        again = [each for each in found.order_by("made_at", "pk") if each.replay(now)]
        if again:  # the others follow when it has arrived, or with the minutes
            _enqueue(again[0], now)
        _audit(request, "webhook.replayed", webhook, {"announcements": len(again)})
        messages.success(request, f"{len(again)} on the way again.")
        return _back(webhook)

    def _of(self, request: HttpRequest, pk: int) -> Webhook:
        webhook = get_object_or_404(Webhook.objects.select_related("client"), pk=pk)
        if not self.has_change_permission(request, webhook):
            raise PermissionDenied
        return webhook

    def _shown_once(self, request: HttpRequest, webhook: Webhook, text: str) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request), "title": "The webhook has a secret", "webhook": webhook,
            "secret": text, "header": telling.HEADER, "until": _overlaps_until(webhook),
        }  # fmt: skip
        answer = TemplateResponse(request, "admin/announcing/secret.html", context)
        add_never_cache_headers(answer)
        return answer


def _told(announcements: list[Announcement]) -> list[dict[str, Any]]:
    """Each in words, with what became of it and the page of what it is about, if there still is one."""
    named = [each.payload for each in announcements]
    syncs = Sync.objects.filter(pk__in=[told["sync"] for told in named if "sync" in told])
    uids = [told["connection"] for told in named if "connection" in told]
    urls = {pk: reverse("admin:rosters_sync_change", args=[pk]) for pk in syncs.values_list("pk", flat=True)} | {
        str(uid): reverse("admin:connections_connection_change", args=[pk])
        for uid, pk in Connection.objects.filter(uid__in=uids).values_list("uid", "pk")
    }
    return [
        {
            "announcement": each,
            "words": KIND_WORDS.get(each.kind, each.kind),
            "url": urls.get(each.payload.get("sync") or each.payload.get("connection")),
            "outcome": outcome(each.answered) if each.answered else None,
        }
        for each in announcements
    ]


def _overlaps_until(webhook: Webhook) -> datetime | None:
    """How long a secret before still signs, if one does."""
    with suppress(SealBroken):  # the tries say so
        return max((end for _, end in webhook.secrets(timezone.now()) if end), default=None)
    return None


def _enqueue(announcement: Announcement, now: datetime) -> None:
    if announcement.queue(now):
        tasks.enqueue([announcement.pk])


def _audit(request: HttpRequest, action: str, webhook: Webhook, after: dict[str, Any]) -> None:
    AuditEvent.objects.create(by=acting(request), action=action, subject=f"webhook {webhook.pk}", after=after)


def _back(webhook: Webhook) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:announcing_webhook_change", args=[webhook.pk]))
