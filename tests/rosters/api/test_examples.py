"""What the guide for tool developers shows runs as it stands, against a portal on a real socket."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone

from connections.announcing import telling
from rosters import making
from rosters.api import scopes
from rosters.api.models import Client
from rosters.models import Sync
from tests.journeys.trip import Trip

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from pytest_django.live_server_helper import LiveServer

GUIDE = Path(__file__).parents[3] / "docs" / "api"


def examples(name: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (GUIDE / name).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.django_db(transaction=True)
def test_the_guide_runs_from_its_first_line_to_its_last(
    live_server: LiveServer,
    data_dir: Path,
    tmp_path: Path,
    alice: Staff,
    make_staff: Callable[[str, str], Staff],
    capsys: pytest.CaptureFixture[str],
) -> None:
    trip = Trip(tmp_path, alice)
    first = making.make_roster(users=80, seed=4, today=timezone.localdate(), name="Cedar Grove")
    trip.go(trip.send(first))
    waits = trip.send(making.next_day(first, change=0.2, seed=3)[0])
    making.write_zip(tmp_path / "dry.zip", making.without_school(first, 1))
    client = Client.objects.create(
        name="Guide", scopes=list(scopes.ALL), staff=make_staff("rita", "reviewer"), signs=True
    )
    client.districts.add(trip.district)
    _, secret = client.new_secret(timezone.now())
    known: dict[str, Any] = {"zip_path": str(tmp_path / "dry.zip")}
    for example in examples("README.md"):
        text = example.replace("https://rosters.example.org", live_server.url)
        text = text.replace('"tool-…", "…"', f'"{client.key}", "{secret}"')
        exec(compile(text, "docs/api/README.md", "exec"), known)  # noqa: S102  # our own guide
    known["session"].close()
    assert waits.status in capsys.readouterr().out
    assert Sync.objects.get(pk=waits.pk).status in ("approved", "applied")
    assert Sync.with_dry_runs.filter(dry_run=True).count() == 1


def test_the_signature_is_checked_as_the_guide_does() -> None:
    known: dict[str, Any] = {}
    exec(compile(examples("webhooks.md")[0], "docs/api/webhooks.md", "exec"), known)  # noqa: S102
    header = telling.signature(["whsec_new", "whsec_before"], b'{"a":1}', timezone.now())
    assert known["is_ours"](header, b'{"a":1}', "whsec_new") and known["is_ours"](header, b'{"a":1}', "whsec_before")
    assert not known["is_ours"](header, b'{"a":2}', "whsec_new") and not known["is_ours"](header, b'{"a":1}', "whsec_2")
