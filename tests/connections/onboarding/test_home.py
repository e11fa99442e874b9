"""The district's first page: one way to tell the time, and no step that is ticked before it is taken."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.test import Client
from django.utils import timezone

from connections.models import Connection
from connections.onboarding import calls
from connections.onboarding.models import Availability, Person
from rosters.models import District, Snapshot

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = [pytest.mark.django_db, pytest.mark.looks]

ComeIn = Callable[[Person], Client]
PAGE = "/district/"
CLOCKS = re.compile(r"\d\d?:\d\d[^<,.;]*")


def test_what_is_expected_is_told_by_one_clock_in_one_manner(cedar: District, dana: Person, come_in: ComeIn) -> None:
    District.objects.update(time_zone="America/Denver")
    cedar.refresh_from_db()
    schedule = {"days": [0, 1, 2, 3, 4, 5, 6], "times": ["03:00"], "zone": "America/Denver"}
    uid = "00000000-0000-0000-0000-000000000005"
    made = Connection.objects.create(uid=uid, district=cedar, kind="sftp", state="active", schedule=schedule)
    made.activate(timezone.now(), made.due_after(timezone.now()))
    Connection.objects.update(state="active", next_due_at=made.due_after(timezone.now()))
    later = int(made.delay.total_seconds() // 60)
    page = come_in(dana).get(PAGE).content.decode()
    told = page[page.index('id="expected"') :]
    told = re.sub(r"<[^>]+>", "", told[: told.index("</section>")])
    assert CLOCKS.findall(told)[0].startswith(f"3:0{later} AM Mountain")
    assert CLOCKS.findall(told)[1] == "3:00 AM Mountain"
    assert f"It starts {later} minute" in told


def test_nobody_has_talked_before_the_call(cedar: District, dana: Person, rita: Staff, come_in: ComeIn) -> None:
    snapshot = Snapshot.objects.create(district=cedar, version=3, tables={})
    District.objects.update(version=3, snapshot=snapshot)
    hours = Availability.objects.create(staff=rita, weekly={str(day): [["09:00", "12:00"]] for day in range(7)})
    call = calls.book(dana, calls.free(hours, timezone.now())[0], timezone.now())
    client = come_in(dana)
    page = client.get(PAGE).content.decode()
    assert "A call is booked for" in page and "We have talked" not in page
    before = timezone.now() - timedelta(days=1)
    type(call).objects.update(starts_at=before, ends_at=before + timedelta(minutes=30))
    page = client.get(PAGE).content.decode()
    assert "We have talked" in page and "is booked for" not in page


@pytest.mark.parametrize(
    ("number", "good"),
    [
        ("5", False),
        ("none of your business 5550100", False),
        ("12 34", False),
        ("555 0100", True),
        ("(505) 555-0142 ext. 7", True),
        ("+44 20 7946 0018", True),
    ],
)
def test_the_number_to_call_can_be_dialled(number: str, good: bool) -> None:
    form = calls.CallForm({"slot": "2026-12-02T15:00:00Z", "phone": number})
    assert form.is_valid() is good
    assert good or "a number that we can dial" in form.errors["phone"][0]
