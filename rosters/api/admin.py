"""The API's clients, for staff: a tool gets its key and secret, which is shown once; it is renewed, and ended."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from rosters.api import scopes, usage
from rosters.api.models import Client, ClientSecret
from rosters.api.operations import STANDARDS
from rosters.models import AuditEvent, District
from rosters.staff import acting

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

#: How long the old secret goes on opening beside a new one.
OVERLAPS: Final = {"3600": "an hour", "86400": "a day", "604800": "seven days", "0": "no time: it leaked"}


#: How long a new secret is good, in days; "" for without end.
LIVES: Final = {"365": "a year", "90": "90 days", "": "as long as nobody revokes it"}

_OF_ENDED: Final = ("name", "districts", "may", "staff")

#: After the first save a secret is shown once: nothing leads past that page.
_ONE_BUTTON: Final = {"show_save_and_add_another": False, "show_save_and_continue": False}


class ClientForm(forms.ModelForm):  # type: ignore[type-arg]
    scopes = forms.MultipleChoiceField(
        choices=tuple(scopes.ALL.items()),
        widget=forms.CheckboxSelectMultiple,
        label="What it may",
        help_text="What it sends, decides or fetches it does in the name of somebody of our staff, who is named below.",
    )
    #: Who fills it in.
    by: Staff

    class Meta:
        model = Client
        fields = ("name", "districts", "scopes", "staff", "signs", "per_minute")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Everybody gives a tool their own name and no other; and one that acts in another's name is let do no more."""
        super().__init__(*args, **kwargs)
        client: Client = self.instance
        if "staff" not in self.fields:  # it is only looked at
            return
        name = cast("forms.ModelChoiceField[Staff]", self.fields["staff"])
        if not client.is_anothers(self.by):
            name.queryset = get_user_model().objects.filter(pk=self.by.pk)
            name.help_text = "Yours, or nobody's: in whose name a tool sends, decides or fetches, that person makes it."
            return
        name.disabled = True
        words = "Only {} gives it more to do in that name, and more districts to do it in."
        name.help_text = format_html(words, client.staff)
        acts = scopes.ACTING & set(client.scopes)
        offered = [(scope, words) for scope, words in scopes.ALL.items() if scope not in scopes.ACTING - acts]
        cast("forms.MultipleChoiceField", self.fields["scopes"]).choices = offered
        if acts:
            seen = cast("forms.ModelMultipleChoiceField[District]", self.fields["districts"])
            seen.queryset = client.districts.all()


class NewClientForm(ClientForm):
    life = forms.ChoiceField(
        choices=tuple(LIVES.items()), initial="365", required=False, label="Its first secret is good for"
    )


@admin.register(Client)
class ClientAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    nothing_yet = "Add a client for each tool that reads rosters or works with syncs."
    form = ClientForm
    change_form_template = "admin/api/client.html"
    list_display = ("name", "key", "sees", "used", "standing")
    search_fields = ("name", "key", "districts__name", "districts__site_code")
    filter_horizontal = ("districts",)
    list_per_page = 50
    actions = None

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Client | None = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or obj.ended_at is None)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Of one that has ended what it was, in words."""
        if obj is None:
            return (*ClientForm.Meta.fields, "life")
        return ClientForm.Meta.fields if self.has_change_permission(request, obj) else _OF_ENDED

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("may",) if obj is not None else ()

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        made = super().get_form(request, obj, change, form=NewClientForm if obj is None else ClientForm, **kwargs)
        return type(made.__name__, (made,), {"by": acting(request)})

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("districts", "secrets")

    @admin.display(description="districts")
    def sees(self, client: Client) -> str:
        names = [district.name for district in client.districts.all()]
        return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "none"

    @admin.display(description="what it may")
    def may(self, client: Client) -> SafeString:
        words = ((scopes.ALL.get(scope, scope),) for scope in client.scopes)
        return format_html_join("", "<div>{}</div>", words)

    @admin.display(description="last use")
    def used(self, client: Client) -> str:
        from rosters.templatetags.roster_pages import ago

        return str(ago(max((at for one in client.secrets.all() if (at := usage.last_use(one))), default=None)))

    @admin.display(description="state")
    def standing(self, client: Client) -> str:
        now = timezone.now()
        if client.ended_at:
            return "ended"
        good = [one for one in client.secrets.all() if one.is_good(now)]
        if not good:
            return "no secret that opens"
        last = None if any(one.expires_at is None for one in good) else max(one.expires_at for one in good)  # type: ignore[type-var]
        return f"open until {last:%-d %b %Y}" if last else "open"

    # -- the page

    def get_urls(self) -> list[URLPattern]:
        def at(route: str, view: Any, name: str) -> URLPattern:
            guarded = cast("Callable[..., HttpResponse]", self.admin_site.admin_view(require_POST(view)))
            return path(route, guarded, name=f"api_client_{name}")

        return [
            at("<int:pk>/secret/", self.new_secret, "secret"),
            at("<int:pk>/revoke/<int:secret_pk>/", self.revoke, "revoke"),
            at("<int:pk>/end/", self.end, "end"),
            *super().get_urls(),
        ]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Who gives a tool their name is the only one who knows its secrets from then on."""
        if not change:
            obj.made_by = acting(request)
        known = Client.objects.select_for_update().filter(pk=obj.pk).first()
        super().save_model(request, obj, form, change)
        if known and obj.staff_id not in (None, known.staff_id) and (ended := obj.revoke_secrets(timezone.now())):
            _audit(request, "client.secret_revoked", obj, {"secrets": ended})
            words = (
                "It acts in your name now, so that the secrets that others may know open nothing more: make a new one."
            )
            messages.warning(request, words)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        client = form.instance
        codes = sorted(client.districts.values_list("site_code", flat=True))
        about = {"scopes": sorted(client.scopes), "districts": codes, "signs": client.signs, "staff": client.staff_id}
        _audit(request, "client.changed" if change else "client.made", client, about)

    def response_add(self, request: HttpRequest, obj: Client, post_url_continue: str | None = None) -> HttpResponse:
        now = timezone.now()
        _, text = obj.new_secret(now, _end(request.POST.get("life", ""), now))
        return self._shown_once(request, obj, text)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().add_view(request, form_url, {**_ONE_BUTTON, **(extra_context or {})})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        client = self.get_object(request, object_id)
        extra = self._about(request, client) if client else {}
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    def _about(self, request: HttpRequest, client: Any) -> dict[str, Any]:
        now = timezone.now()
        secrets = [
            {
                "secret": secret,
                "used": usage.last_use(secret),
                "state": _state(secret, now),
                "good": secret.is_good(now),
            }
            for secret in client.secrets.all()
        ]
        return {
            "title": client.name,
            "secrets": secrets,
            "overlaps": OVERLAPS,
            "lives": LIVES,
            "may_change": self.has_change_permission(request, client),
            "is_anothers": client.is_anothers(acting(request)),
            "addresses": _addresses(client),
            "token_url": f"{settings.PORTAL_URL}{reverse('token')}",
            "good": sum(one["good"] for one in secrets),
            **_ONE_BUTTON,
        }

    # -- its secrets

    def new_secret(self, request: HttpRequest, pk: int) -> HttpResponse:
        """One more secret, for whom the tool acts as; those before go on for as long as was chosen."""
        client, now = self._of(request, pk), timezone.now()
        overlap = request.POST.get("overlap", "")
        if overlap not in OVERLAPS:
            messages.error(request, "Choose how long the secret before goes on opening.")
            return _back(client)
        with transaction.atomic():
            client = Client.objects.select_for_update().get(pk=client.pk)
            if client.is_anothers(acting(request)):
                raise PermissionDenied
            ends = _end(request.POST.get("life", ""), now)
            if overlap == "0":
                client.revoke_secrets(now)
                _, text = client.new_secret(now, ends)
            else:
                _, text = client.rotate(now, now + timedelta(seconds=int(overlap)), ends)
            _audit(request, "client.secret_made", client, {"overlap_seconds": int(overlap)})
        return self._shown_once(request, client, text)

    def revoke(self, request: HttpRequest, pk: int, secret_pk: int) -> HttpResponse:
        client = self._of(request, pk)
        secret = get_object_or_404(client.secrets, pk=secret_pk)
        if secret.revoke(timezone.now()):
            _audit(request, "client.secret_revoked", client, {"secret": secret.pk})
        messages.success(request, "That secret opens nothing any more, and neither do tokens that it was given.")
        return _back(client)

    def end(self, request: HttpRequest, pk: int) -> HttpResponse:
        client = self._of(request, pk)
        if client.end(timezone.now()):
            _audit(request, "client.ended", client, {})
        messages.success(request, f"{client.name} is let in no more. What it did stays in the audit trail.")
        return _back(client)

    def _of(self, request: HttpRequest, pk: int) -> Client:
        client = get_object_or_404(Client, pk=pk)
        if not self.has_change_permission(request, client):
            raise PermissionDenied
        return client

    def _shown_once(self, request: HttpRequest, client: Client, text: str) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": f"{client.name} has a secret",
            "client": client,
            "secret": text,
            "addresses": _addresses(client),
            "token_url": f"{settings.PORTAL_URL}{reverse('token')}",
        }
        answer = TemplateResponse(request, "admin/api/secret.html", context)
        add_never_cache_headers(answer)
        return answer


def _addresses(client: Client) -> list[dict[str, Any]]:
    """For each district, where its roster is read."""
    return [
        {
            "district": district,
            "bases": {
                standard: f"{settings.PORTAL_URL}/d/{district.site_code}/ims/oneroster/{place.rstrip('/')}"
                for standard, place in STANDARDS.items()
            },
        }
        for district in client.districts.order_by("name")
    ]


def _end(life: str, now: datetime) -> datetime | None:
    return now + timedelta(days=int(life)) if life and life in LIVES else None


def _state(secret: ClientSecret, now: Any) -> str:
    if secret.revoked_at:
        return "revoked"
    if secret.is_good(now):
        return "opens"
    return "expired"


def _audit(request: HttpRequest, action: str, client: Client, after: dict[str, Any]) -> None:
    AuditEvent.objects.create(by=acting(request), action=action, subject=f"API client {client.pk}", after=after)


def _back(client: Client) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:api_client_change", args=[client.pk]))
