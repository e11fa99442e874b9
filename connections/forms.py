"""The forms of a connection: what the other side told us, and when it runs. Secrets go in and never come out."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Any, Final
from urllib.parse import urlsplit

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.html import format_html

from connections.models import SECRETS, Allowance, Connection
from connections.schedules import DAY_NAMES, Range, Schedule
from connections.vendors import VENDORS, Vendor

#: Which fields and secrets a kind of connection has.
FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "sftp": (
        "side", "host", "port", "username", "login", "path", "formats", "marker", "when_done", "done_folder",
        "done_days",
    ),
    "rest": (
        "vendor", "base_url", "version", "auth", "signature", "token_url", "scope", "credentials_in", "page_size",
        "deltas",
    ),
}  # fmt: skip
KIND_SECRETS: Final = {"sftp": ("password", "private_key"), "rest": ("key", "secret")}

#: What a person reads at each field; where the help is empty, the model's stands.
_LABELS: Final = {
    "side": ("Whose server", "Ours needs no login: docs/sftp-server.md says how its folders are set up."),
    "formats": ("What is taken", "The newest that lies there."),
    "host": ("Server", "Its name or address, for example sftp.example.org."),
    "port": ("Port", "22, unless the district says otherwise."),
    "username": ("User name", "The account that the district made for us."),
    "login": ("We log in with", ""),
    "path": ("Folder and file", ""),
    "marker": ("Marker file", ""),
    "when_done": ("When we have taken a file", "Anything but leaving it needs the right to write there."),
    "done_folder": ("Folder it is moved to", "It must be there already, beside the file or below."),
    "done_days": (
        "Days until it is deleted there",
        "Counted from when the district wrote it. Only what we have put aside; we keep our own copy. Empty: never.",
    ),
    "base_url": ("API URL", "As the district gave it, for example https://sis.example.org/ims/oneroster/v1p1."),
    "version": ("OneRoster version", ""),
    "auth": ("We log in with", ""),
    "signature": ("Signature", "SHA-256, unless the district's system is an old one."),
    "token_url": ("Token URL", "Where key and secret are exchanged for a token."),
    "scope": ("Scopes", "Only if the district named some, with blanks between them."),
    "credentials_in": ("Key and secret go into", "The header, unless the token server wants them in the body."),
    "page_size": ("Records per page", "At most 10,000. Fewer, if the server is slow or cuts pages short."),
    "deltas": ("Ask only for what changed", "Faster. Once a week everything is fetched all the same, and that counts."),
}

#: Fields that matter only with certain answers to another one: the page hides them otherwise (portal.js).
_ONLY_WITH: Final = {
    "host": "side=theirs",
    "port": "side=theirs",
    "username": "side=theirs",
    "login": "side=theirs",
    "password": "login=password",
    "private_key": "login=key",
    "done_folder": "when_done=move",
    "done_days": "when_done=rename,move",
    "key": "auth=oauth1,oauth2",
    "signature": "auth=oauth1",
    "token_url": "auth=oauth2",
    "scope": "auth=oauth2",
    "credentials_in": "auth=oauth2",
}

#: What tells where secrets are sent: if one of these changes, the secrets must be given anew.
_WHERE: Final = {"sftp": ("host", "port"), "rest": ("base_url", "token_url")}
#: A private key is never sent: a login only proves that we have it, and of a pair made here nobody could give it.
_SENT: Final = {"sftp": ("password",), "rest": ("key", "secret")}

#: What tells which deliveries are meant: if one of these changes, what was taken before says nothing any more.
SOURCE: Final = {
    "sftp": ("side", "host", "port", "username", "path"),
    "rest": ("base_url", "version", "auth", "key", "token_url"),
}


class WriteOnlyText(forms.Textarea):
    """Lines that go in and never come out, also where the form is shown again because something was wrong."""

    def format_value(self, value: Any) -> None:
        return None


class ConnectionForm(forms.ModelForm):  # type: ignore[type-arg]
    """One kind of connection. An empty secret leaves the one that is kept."""

    class Meta:
        model = Connection
        fields = tuple(dict.fromkeys(name for names in FIELDS.values() for name in names))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kind = self.instance.kind or "sftp"
        for name in list(self.fields):
            if name not in FIELDS[self.kind]:
                del self.fields[name]
        for name, field in self.fields.items():
            label, words = _LABELS.get(name, ("", ""))
            field.label, field.help_text = label or field.label, words or field.help_text
            field.required = field.required or name in ("path", "base_url")
        if "side" in self.fields and self["side"].value() != Connection.Side.OURS:
            self.fields["host"].required = self.fields["username"].required = True
        vendor = VENDORS.get(self.instance.vendor)
        for name in KIND_SECRETS[self.kind]:
            self.fields[name] = self._secret(name, vendor)
        for name, answers in _ONLY_WITH.items():
            if name in self.fields:
                self.fields[name].widget.attrs["data-only-with"] = answers
        if "when_done" in self.fields:
            self.fields["when_done"] = forms.ChoiceField(
                choices=[("leave", "leave it"), ("rename", "rename it (….taken)"), ("move", "move it to a folder")],
                label=self.fields["when_done"].label,
                help_text=self.fields["when_done"].help_text,
            )
        if "vendor" in self.fields:
            known = [(key, each.name) for key, each in VENDORS.items()]
            self.fields["vendor"] = forms.ChoiceField(
                choices=[("", "Not known, or none of these"), *known],
                required=False,
                label="Student information system",
                help_text="Whose words and examples this page uses.",
            )
        if vendor is not None:
            self._preset(vendor)

    def _preset(self, vendor: Vendor) -> None:
        """What is known of the vendor as first values and examples; whatever is unknown stays as it is."""
        for name, value in (
            ("auth", vendor.auth[0] if vendor.auth else None),
            ("version", vendor.versions[0] if vendor.versions else None),
            ("signature", vendor.signature),
            ("credentials_in", vendor.credentials_in),
            ("page_size", vendor.page_size),
        ):
            if value is not None and not self.instance.pk:
                self.initial[name] = value
        for name, pattern, example in (
            ("base_url", vendor.url, vendor.example),
            ("token_url", vendor.token_url, vendor.token_example),
        ):
            if pattern:
                self.fields[name].help_text = format_html("{}; for example {}", pattern, example or pattern)

    def _secret(self, name: str, vendor: Vendor | None) -> forms.CharField:
        kept = self.instance.has_secret(name)
        words = {"key": vendor.key_words, "secret": vendor.secret_words} if vendor else {}
        lines = name == "private_key"
        attributes = {"autocomplete": "new-password", "placeholder": "kept; type to replace it" if kept else ""}
        return forms.CharField(
            label=words.get(name) or SECRETS[name].capitalize(),
            required=False,
            strip=not lines,
            widget=WriteOnlyText(attrs={**attributes, "rows": 3})
            if lines
            else forms.PasswordInput(attrs=attributes, render_value=False),
            help_text=_SECRET_HELP[name],
        )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        for name in ("base_url", "token_url"):
            self._holds_no_secret(name, data.get(name) or "")
        self._needed(data)
        self._secrets_stay_with_their_server(data)
        return data

    def _holds_no_secret(self, name: str, url: str) -> None:
        """Addresses are shown and kept as they are: a password or a key in one would be too."""
        if "@" in url.partition("://")[2].partition("/")[0] or ("?" in url and name == "base_url"):
            self.add_error(name, "Leave out user name, password and query: what stands here is shown to everybody.")

    def _needed(self, data: dict[str, Any]) -> None:
        for name, needed in (
            ("token_url", data.get("auth") == Connection.Auth.OAUTH2),
            ("done_folder", data.get("when_done") == Connection.WhenDone.MOVE),
        ):
            if needed and not data.get(name) and name not in self.errors:
                self.add_error(name, "This is needed.")

    def _secrets_stay_with_their_server(self, data: dict[str, Any]) -> None:
        """Whoever can only change the address must not have the district's password sent to a server of their own."""
        if not self.instance.pk:
            return
        before = Connection.objects.get(pk=self.instance.pk)
        moved = [name for name in _WHERE[self.kind] if _place(getattr(before, name)) != _place(data.get(name))]
        for name in _SENT[self.kind]:
            if moved and before.has_secret(name) and not data.get(name):
                self.add_error(name, "The server is another one now: give this anew.")

    def save(self, commit: bool = True) -> Any:
        for name in KIND_SECRETS[self.kind]:
            if text := self.cleaned_data.get(name):
                self.instance.keep_secret(name, text)
        return super().save(commit)

    def keep(self, now: datetime) -> dict[str, Any]:
        """Save what the form is about and nothing else, for the minute and an attempt may write the rest meanwhile.
        Gives what an audit row may say of it: the new values, of secrets only that they are others. Within one
        transaction with that row."""
        connection: Connection = self.instance
        new, secret = connection.pk is None, KIND_SECRETS[self.kind]
        names = [name for name in self.fields if new or name in self.changed_data]
        self.save(commit=new)
        if not new:
            connection.save(update_fields=[*(name for name in self.fields if name not in secret), "sealed"])
            if self.changed_data:
                connection.checkups.filter(passed=True).update(passed=None)  # that was another connection
            if set(SOURCE[self.kind]) & set(self.changed_data):
                connection.forget_what_was_taken(now)
            if {"host", "port"} & set(self.changed_data):
                connection.forget_host_key()
        return {
            name: "(changed)" if name in secret else getattr(connection, name)
            for name in names
            if name not in secret or name in self.changed_data
        }


_SECRET_HELP: Final = {
    "password": "Stored encrypted, never shown again.",
    "private_key": "Only if the district gave you one. Better: save, then have a key pair made here.",
    "key": "Also called consumer key or client id: the first of the two. A fixed token has none.",
    "secret": "Also called consumer secret, client secret or fixed token. Stored encrypted, never shown again.",
}


def _place(value: Any) -> Any:
    """Of an address the server; of anything else all of it."""
    text = str(value or "")
    return (urlsplit(text).scheme, urlsplit(text).netloc.lower()) if "://" in text else text.lower()


class AllowanceForm(forms.ModelForm):  # type: ignore[type-arg]
    """A private network that a connection may reach once somebody else has confirmed it."""

    class Meta:
        model = Allowance
        fields = ("network", "reason", "expires_on")
        labels = {"network": "Network, for example 10.20.30.40/32", "reason": "Why", "expires_on": "Until"}
        widgets = {"expires_on": forms.DateInput(attrs={"type": "date"})}

    def clean_expires_on(self) -> date:
        until: date = self.cleaned_data["expires_on"]
        if until < self.instance.connection.district.local_date(timezone.now()):
            raise ValidationError("That day is over: choose one to come.")
        return until


class PauseForm(forms.Form):
    reason = forms.CharField(max_length=300, label="Why", error_messages={"required": "Say why it is paused."})
    until = forms.DateField(
        required=False, label="Runs again on (empty: until somebody resumes it)",
        widget=forms.DateInput(attrs={"type": "date"}),
    )  # fmt: skip

    def clean_until(self) -> date | None:
        until: date | None = self.cleaned_data["until"]
        if until and until <= timezone.localdate():
            raise ValidationError("That day has come already.")
        return until


class ScheduleForm(forms.Form):
    """When a connection runs, on the district's clock."""

    days = forms.MultipleChoiceField(
        choices=[(str(number), name) for number, name in enumerate(DAY_NAMES)],
        widget=forms.CheckboxSelectMultiple,
        required=False,
    )
    times = forms.CharField(
        required=False, help_text="On the district’s clock, for example 2:00 or 2:00, 14:30. 24 hours."
    )
    first = forms.DateField(
        required=False, label="First day", widget=forms.DateInput(attrs={"type": "date"}), help_text="Empty: at once."
    )
    last = forms.DateField(
        required=False, label="Last day", widget=forms.DateInput(attrs={"type": "date"}), help_text="Empty: no end."
    )
    blackouts = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        label="Days without runs",
        help_text="One range a line: 2027-06-15 to 2027-08-10 Summer",
    )
    additions_only = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        label="Days on which nothing is removed",
        help_text="As above, for example testing weeks: what comes may add and change, not remove.",
    )

    def __init__(self, *args: Any, zone: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.zone = zone

    @classmethod
    def of(cls, connection: Connection) -> ScheduleForm:
        """Filled with the connection's schedule; with every weekday at 2:00 where it has none yet."""
        timetable = connection.timetable()
        if timetable is None:
            return cls(initial={"days": ["0", "1", "2", "3", "4"], "times": "2:00"}, zone=connection.district.time_zone)
        return cls(
            initial={
                "days": [str(day) for day in sorted(timetable.days)],
                "times": ", ".join(f"{at.hour}:{at:%M}" for at in timetable.times),
                "first": timetable.first,
                "last": timetable.last,
                "blackouts": "\n".join(_line(each) for each in timetable.blackouts),
                "additions_only": "\n".join(_line(each) for each in timetable.additions_only),
            },
            zone=connection.district.time_zone,
        )

    def clean_times(self) -> tuple[time, ...]:
        found = []
        for part in self.cleaned_data["times"].replace(";", ",").split(","):
            if not (text := part.strip()):
                continue
            hour, _, minute = text.partition(":")
            try:
                found.append(time(int(hour), int(minute or 0)))
            except ValueError:
                raise ValidationError(f"“{text[:20]}” is no time of day; write 2:00 or 14:30.") from None
        return tuple(sorted(found))

    def clean_blackouts(self) -> tuple[Range, ...]:
        return _ranges(self.cleaned_data["blackouts"])

    def clean_additions_only(self) -> tuple[Range, ...]:
        return _ranges(self.cleaned_data["additions_only"])

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if not self.errors:
            for problem in self.schedule().problems():
                self.add_error(None, problem)
        return data

    def schedule(self) -> Schedule:
        """The schedule of fields that were found clean."""
        data = self.cleaned_data
        return Schedule(
            days=frozenset(int(day) for day in data["days"]),
            times=data["times"],
            zone=self.zone,
            first=data["first"],
            last=data["last"],
            blackouts=data["blackouts"],
            additions_only=data["additions_only"],
        )


def _ranges(text: str) -> tuple[Range, ...]:
    found = []
    for line in text.splitlines():
        first, _, rest = line.strip().partition(" to ")
        last, _, words = rest.strip().partition(" ")
        if not line.strip():
            continue
        try:
            found.append(Range(date.fromisoformat(first.strip()), date.fromisoformat(last or first), words.strip()))
        except ValueError:
            raise ValidationError(f"“{line.strip()[:40]}”: write 2027-06-15 to 2027-08-10 Summer.") from None
    return tuple(found)


def _line(each: Range) -> str:
    return f"{each.first} to {each.last} {each.words}".strip()
