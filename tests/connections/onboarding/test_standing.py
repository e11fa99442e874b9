"""How a district's rosters stand, for whoever was given its link: without a login, and without anything of anybody."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from connections.onboarding.models import Person, StandingLink
from rosters import making, syncs
from rosters.models import AuditEvent, District, User

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]

ComeIn = Callable[[Person], Client]
AT = "/district/standing/"


def made(owner: Client) -> str:
    """A new link, as it is shown this once."""
    found = re.search(r'<code id="link">([^<]+)</code>', owner.post(f"{AT}link/").content.decode())
    assert found
    return found[1]


def opened(url: str) -> Client:
    """A browser in which somebody has pressed the button under the link."""
    browser = Client()
    assert browser.post(AT, {"secret": url.partition("#")[2]}).status_code == 302
    return browser


def shown(browser: Client) -> str:
    return unescape(browser.get(AT).content.decode())


@pytest.fixture
def live(cedar: District, tmp_path: Path, alice: Staff) -> District:
    tables = making.make_roster(users=60, seed=4, today=timezone.localdate(), name="Cedar Grove")
    making.write_zip(tmp_path / "secret-name.zip", tables)
    sync = syncs.receive(cedar, tmp_path / "secret-name.zip", origin="staff", name="secret-name.zip", by=alice)
    sync = syncs.prepare(sync.pk) or sync
    syncs.approve(sync, by=alice, plan_digest=sync.plan_digest)
    syncs.apply(sync.pk)
    cedar.refresh_from_db()
    return cedar


def test_whoever_has_the_link_sees_how_it_stands_and_nothing_else(
    live: District, dana: Person, come_in: ComeIn
) -> None:
    url = made(come_in(dana))
    assert url.partition("#")[0].endswith(AT), "no address holds the secret"
    answer = opened(url).get(AT)
    page = unescape(answer.content.decode())
    assert "Cedar Grove" in page and "Up to date" in page and "files are sent by hand" in page
    assert answer["X-Robots-Tag"] == "noindex" and "no-store" in answer["Cache-Control"]
    for hidden in ("secret-name", dana.name, User.objects.earliest("pk").family_name, "/district/sent/", ">60<"):
        assert hidden not in page, hidden
    assert url.partition("#")[2] not in page
    assert Client().get(AT).status_code == 200 and "Up to date" not in shown(Client())


def test_the_times_are_those_of_the_districts_clock(live: District, dana: Person, come_in: ComeIn) -> None:
    District.objects.update(time_zone="Pacific/Honolulu")
    assert live.snapshot
    there = live.snapshot.made_at.astimezone(District.objects.get().zone)
    page = shown(opened(made(come_in(dana))))
    assert f"{there:%A} {there.day} {there:%B}, {there:%I}".replace(" 0", " ").rstrip() in page
    assert "M Hawaii" in page


def test_a_new_link_ends_the_one_before_and_the_owner_ends_both(live: District, dana: Person, come_in: ComeIn) -> None:
    owner = come_in(dana)
    first = opened(made(owner))
    second = opened(made(owner))
    assert "Up to date" not in shown(first) and "Up to date" in shown(second)
    with pytest.raises(IntegrityError), transaction.atomic():
        StandingLink.objects.update(ended_at=None)
    owner.post(f"{AT}link/end/")
    assert "Up to date" not in shown(second)
    assert "There is no link: nobody sees it." in owner.get(f"{AT}link/").content.decode()
    told = AuditEvent.objects.filter(district=live, action__startswith="standing.").order_by("pk")
    assert list(told.values_list("action", flat=True)) == ["standing.made", "standing.made", "standing.ended"]
    owner.post(f"{AT}link/end/")
    assert told.count() == 3, "it was ended already"


def test_only_who_answers_for_the_district_makes_one(cedar: District, sam: Person, come_in: ComeIn) -> None:
    sender = come_in(sam)
    for method, at in ((sender.get, "link/"), (sender.post, "link/"), (sender.post, "link/end/")):
        assert method(f"{AT}{at}").status_code == 403
    assert Client().post(f"{AT}link/").status_code == 302
    assert not StandingLink.objects.exists()


def test_a_secret_that_is_none_is_refused_and_says_nothing(cedar: District, dana: Person, come_in: ComeIn) -> None:
    made(come_in(dana))
    for wrong in ("", "x" * 43):
        answer = Client().post(AT, {"secret": wrong})
        assert answer.status_code == 403 and "Cedar Grove" not in answer.content.decode()


def test_of_a_district_that_leaves_nothing_is_shown(
    live: District, dana: Person, come_in: ComeIn, alice: Staff
) -> None:
    browser = opened(made(come_in(dana)))
    syncs.leave(live, by=alice, reason="The contract ends.")
    assert "Cedar Grove" not in shown(browser)


def test_staff_see_that_there_is_one(cedar: District, dana: Person, come_in: ComeIn, alice: Staff) -> None:
    desk, at = Client(), f"/admin/rosters/district/{cedar.pk}/change/"
    desk.force_login(alice)
    assert "has the district's link" not in unescape(desk.get(at).content.decode())
    made(come_in(dana))
    assert f"by {dana.name}" in unescape(desk.get(at).content.decode()).split("has the district's link")[1][:200]


def test_staff_end_it(live: District, dana: Person, come_in: ComeIn, alice: Staff, vera: Staff) -> None:
    browser, at = opened(made(come_in(dana))), f"/admin/onboarding/person/standing/{live.pk}/end/"
    desk = Client()
    desk.force_login(vera)
    assert desk.post(at).status_code == 403 and "Up to date" in shown(browser)
    desk.force_login(alice)
    assert desk.get(at).status_code == 405 and "Up to date" in shown(browser)
    assert "shows nothing any more" in unescape(desk.post(at, follow=True).content.decode())
    assert "Up to date" not in shown(browser)
    event = AuditEvent.objects.get(action="standing.withdrawn")
    assert (event.by, event.district) == (alice, live)
    assert "There was no link" in unescape(desk.post(at, follow=True).content.decode())
    assert AuditEvent.objects.filter(action="standing.withdrawn").count() == 1
