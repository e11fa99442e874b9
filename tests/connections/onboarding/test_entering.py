"""Who comes in, how often, for how long; and that nobody learns from the door who there is."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import time_machine
from django.core import mail
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import OrmQ

from connections.onboarding import entering, tasks
from connections.onboarding.models import Pass, Person
from rosters import syncs
from rosters.models import AuditEvent, Delivery, District, Sync
from tests.queue import work_off

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from pytest_django import Settings

pytestmark = pytest.mark.django_db

ComeIn = Callable[[Person], Client]
DOOR = "/district/enter/"


def _secret(person: Person, by: Staff) -> str:
    return entering.invite(person, by=by).partition("#")[2]


class TestALink:
    def test_it_lets_its_person_in_and_becomes_a_session(self, dana: Person, alice: Staff) -> None:
        client = Client()
        assert client.get("/district/").headers["Location"] == DOOR
        assert client.post(DOOR, {"secret": _secret(dana, alice)}).headers["Location"] == "/district/"
        page = client.get("/district/")
        assert b"Cedar Grove" in page.content
        cookie = client.cookies["district"]
        assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/district/")

    def test_only_its_hash_is_kept_and_it_has_256_bits(self, dana: Person, alice: Staff) -> None:
        secret = _secret(dana, alice)
        assert len(secret) == 43
        assert secret not in str(list(Pass.objects.values())) + str(list(AuditEvent.objects.values()))

    def test_it_works_once(self, dana: Person, alice: Staff) -> None:
        secret = _secret(dana, alice)
        assert Client().post(DOOR, {"secret": secret}).status_code == 302
        assert Client().post(DOOR, {"secret": secret}).status_code == 403

    def test_a_scanner_that_opens_it_takes_nothing(self, dana: Person, alice: Staff) -> None:
        secret = _secret(dana, alice)
        assert Client().get(DOOR).status_code == 200
        assert Client().post(DOOR, {"secret": secret}).status_code == 302

    def test_wrong_old_revoked_used_and_foreign_ones_look_alike(self, dana: Person, sam: Person, alice: Staff) -> None:
        old, used, revoked = _secret(dana, alice), _secret(sam, alice), ""
        Pass.objects.filter(person=dana).update(expires_at=timezone.now() - timedelta(seconds=1))
        Client().post(DOOR, {"secret": used})
        revoked = _secret(sam, alice)
        _secret(sam, alice)  # a newer link takes its place
        _, session = Pass.make(dana, Pass.Purpose.SESSION, timezone.now(), timedelta(days=1))
        answers = {_told(secret) for secret in ("wrong", "", old, used, revoked, session, "é" * 43)}
        assert len(answers) == 1
        assert "does not work any more" in str(answers)

    def test_it_stays_out_of_logs_and_referrers(
        self, dana: Person, alice: Staff, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        url = entering.invite(dana, by=alice)
        address, _, secret = url.partition("#")
        assert secret not in address
        answer = Client().get(DOOR)
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert "no-store" in answer.headers["Cache-Control"]
        Client().post(DOOR, {"secret": secret})
        assert secret not in caplog.text

    def test_a_link_is_no_session_and_a_session_no_link(self, dana: Person, alice: Staff) -> None:
        client = Client()
        client.cookies["district"] = _secret(dana, alice)
        assert client.get("/district/").status_code == 302

    def test_no_mail_server_is_no_reason_to_lose_an_invitation(
        self, dana: Person, alice: Staff, settings: pytest.FixtureRequest
    ) -> None:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"  # type: ignore[attr-defined]
        settings.EMAIL_PORT = 1  # type: ignore[attr-defined]
        assert entering.invite(dana, by=alice).startswith("http")


def _told(secret: str) -> tuple[int, str]:
    """What the door answers, without what is new on every page."""
    answer = Client().post(DOOR, {"secret": secret})
    return answer.status_code, re.sub(r'value="[A-Za-z0-9]{64}"', "", answer.content.decode())


class TestASession:
    def test_it_ends_when_access_is_withdrawn(self, dana: Person, alice: Staff, come_in: ComeIn) -> None:
        client = come_in(dana)
        assert client.get("/district/").status_code == 200
        entering.withdraw(dana, by=alice)
        assert client.get("/district/").status_code == 302

    def test_it_ends_after_thirty_days(self, dana: Person, come_in: ComeIn) -> None:
        client = come_in(dana)
        with time_machine.travel(timezone.now() + timedelta(days=31)):
            assert client.get("/district/").status_code == 302

    def test_leaving_ends_it_here_and_for_whoever_has_copied_it(self, dana: Person, come_in: ComeIn) -> None:
        client = come_in(dana)
        copied = client.cookies["district"].value
        assert client.post("/district/leave/").status_code == 302
        other = Client()
        other.cookies["district"] = copied
        assert other.get("/district/").status_code == 302

    def test_a_deputy_comes_in_on_its_days_and_by_the_districts_calendar(
        self, cedar: District, dana: Person, come_in: ComeIn
    ) -> None:
        deputy = cedar.people.create(
            name="Lee Chan", email="lee@cedar.test", deputy_for=dana, first_day="2026-06-01", last_day="2026-08-15"
        )
        deputy.refresh_from_db()
        assert deputy.answers_for_it
        with time_machine.travel("2026-08-16T04:00:00Z"):  # 11 p.m. of the 15th in Chicago
            client = come_in(deputy)
            assert client.get("/district/").status_code == 200
        with time_machine.travel("2026-08-16T06:00:00Z"):
            assert client.get("/district/").status_code == 302

    def test_a_deputy_answers_for_the_district_only_while_the_person_may_for_whom_it_stands_in(
        self, cedar: District, dana: Person, come_in: ComeIn
    ) -> None:
        deputy = cedar.people.create(name="Lee", email="lee@cedar.test", deputy_for=dana, last_day="2036-08-15")
        client = come_in(deputy)
        assert client.get("/district/connection/").status_code == 200
        today = cedar.local_date(timezone.now())
        for days in ({"last_day": today - timedelta(days=1)}, {"first_day": today + timedelta(days=1)}):
            Person.objects.filter(pk=dana.pk).update(**{"first_day": None, "last_day": None, **days})
            assert client.get("/district/connection/").status_code == 403, "Dana may not come in on this day"
            assert client.get("/district/").status_code == 200
        Person.objects.filter(pk=dana.pk).update(first_day=None, last_day=None)
        assert client.get("/district/connection/").status_code == 200

    def test_a_deputys_access_ends_with_that_of_the_person_for_whom_it_stands_in(
        self, cedar: District, dana: Person, sam: Person, alice: Staff, manu: Staff, come_in: ComeIn
    ) -> None:
        lee = cedar.people.create(name="Lee Chan", email="lee@cedar.test", deputy_for=dana, last_day="2036-08-15")
        kim = cedar.people.create(name="Kim Wolf", email="kim@cedar.test", deputy_for=lee, last_day="2036-08-15")
        inside = [come_in(person) for person in (lee, kim, sam)]
        staff = Client()
        staff.force_login(manu)
        told = staff.post(f"/admin/onboarding/person/{dana.pk}/withdraw/", follow=True).content.decode()
        assert "Nor can who stood in for them: Lee Chan, Kim Wolf." in told
        assert [client.get("/district/").status_code for client in inside] == [302, 302, 200]
        withdrawn = AuditEvent.objects.filter(action="person.withdrawn", by=manu).order_by("pk")
        assert [row.subject for row in withdrawn] == [f"person {each.pk}" for each in (dana, lee, kim)]
        assert not cedar.people.filter(name__in=["Lee Chan", "Kim Wolf"], ended_at=None).exists()

    def test_who_was_a_deputy_of_somebody_withdrawn_long_ago_does_not_come_in(
        self, cedar: District, dana: Person, alice: Staff, come_in: ComeIn
    ) -> None:
        lee = cedar.people.create(name="Lee Chan", email="lee@cedar.test", deputy_for=dana)
        client = come_in(lee)
        link = _secret(lee, alice)
        Person.objects.filter(pk=dana.pk).update(ended_at=timezone.now())
        assert client.get("/district/").status_code == 302
        assert Client().post(DOOR, {"secret": link}).status_code == 403

    def test_the_clock_of_the_district_is_that_of_its_pages_and_of_nothing_after_them(
        self, dana: Person, come_in: ComeIn
    ) -> None:
        before = timezone.get_current_timezone_name()
        assert come_in(dana).get("/district/").status_code == 200
        assert timezone.get_current_timezone_name() == before

    def test_looking_writes_nothing_so_that_no_import_makes_it_wait(self, dana: Person, come_in: ComeIn) -> None:
        client = come_in(dana)
        for page in ("", "check/", "send/", "sent/", "call/", "connection/", "templates/"):
            with CaptureQueriesContext(connection) as caught:
                assert client.get(f"/district/{page}").status_code == 200
            assert {query["sql"].split()[0] for query in caught.captured_queries} <= {"SELECT"}, page
        dana.refresh_from_db()
        assert dana.last_seen_at is not None

    def test_staff_who_are_logged_in_are_nobody_here(self, alice: Staff) -> None:
        client = Client()
        client.force_login(alice)
        assert client.get("/district/").status_code == 302

    def test_a_person_of_the_district_is_nobody_in_the_admin(self, dana: Person, come_in: ComeIn) -> None:
        assert "/admin/login/" in come_in(dana).get("/admin/").headers["Location"]


class TestANewLink:
    @pytest.fixture(autouse=True)
    def asked(self, settings: Settings, tmp_path: Path) -> Path:
        """A cache of its own: nobody has asked yet."""
        folder = tmp_path / "cache"
        backend = "django.core.cache.backends.filebased.FileBasedCache"
        settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": folder}}
        return folder

    def test_the_answer_is_the_same_whoever_asks_and_so_is_the_work(self, dana: Person) -> None:
        answers, work = [], []
        for email in ("Dana@cedar.test", "nobody@cedar.test"):
            with CaptureQueriesContext(connection) as caught:
                answer = Client().post("/district/again/", {"email": email})
            answers.append((answer.status_code, answer.content.split(b"<main")[1].split(b"csrf")[0]))
            work.append([query["sql"].partition("VALUES")[0] for query in caught.captured_queries])
            assert not mail.outbox, "nobody is looked for, and nothing sent, before a worker does"
        assert answers[0] == answers[1]
        assert work[0] == work[1] and [sql.split()[0] for sql in work[0]] == ["INSERT"]
        assert work_off() == 2
        assert [message.to for message in mail.outbox] == [["dana@cedar.test"]]

    def test_no_address_of_a_person_stands_in_a_task_or_the_cache_or_a_log(
        self, dana: Person, caplog: pytest.LogCaptureFixture, asked: Path
    ) -> None:
        caplog.set_level(logging.DEBUG)
        Client().post("/district/again/", {"email": "dana@cedar.test"})
        task = OrmQ.objects.get().task
        assert set(task["kwargs"]) == {"key"} and not task["args"] and "dana" not in str(task)
        kept = cache.get(f"asked-for-a-link-{task['kwargs']['key']}")
        assert kept and "dana" not in kept
        work_off()
        tasks.send_again(key=task["kwargs"]["key"])
        assert len(mail.outbox) == 1, "a task that is done twice sends once"
        assert "dana" not in caplog.text
        assert len(list(asked.iterdir())) == 1, "only how often was asked from here is still known"

    def test_what_was_asked_for_long_ago_is_not_sent(self, dana: Person) -> None:
        Client().post("/district/again/", {"email": "dana@cedar.test"})
        with time_machine.travel(timezone.now() + timedelta(minutes=61)):
            work_off()
        assert not mail.outbox

    @pytest.mark.parametrize("known", [True, False])
    def test_from_one_place_only_so_many_are_asked_for(self, dana: Person, known: bool, settings: Settings) -> None:
        settings.BEHIND_PROXY = True
        fields = {"email": "dana@cedar.test" if known else "nobody@cedar.test"}
        here, there = ({"X-Forwarded-For": f"192.0.2.7, {last}"} for last in ("198.51.100.7", "198.51.100.8"))
        answers = [Client().post("/district/again/", fields, headers=here) for _ in range(11)]
        assert [answer.status_code for answer in answers] == [200] * 10 + [429]
        assert b"Try again in a quarter of an hour." in answers[10].content
        assert OrmQ.objects.count() == 10
        assert Client().post("/district/again/", fields, headers=there).status_code == 200
        with time_machine.travel(timezone.now() + timedelta(minutes=16)):
            assert Client().post("/district/again/", fields, headers=here).status_code == 200

    def test_it_comes_in_by_mail_and_lets_in_for_an_hour(self, dana: Person) -> None:
        Client().post("/district/again/", {"email": "dana@cedar.test"})
        work_off()
        secret = mail.outbox[0].body.partition("#")[2].split()[0]
        with time_machine.travel(timezone.now() + timedelta(minutes=61)):
            assert Client().post(DOOR, {"secret": secret}).status_code == 403
        assert Client().post(DOOR, {"secret": secret}).status_code == 302

    def test_a_mailbox_is_not_flooded(self, dana: Person) -> None:
        for _ in range(6):
            Client().post("/district/again/", {"email": "dana@cedar.test"})
        work_off()
        assert len(mail.outbox) == 3

    def test_who_was_withdrawn_gets_none(self, dana: Person, alice: Staff) -> None:
        entering.withdraw(dana, by=alice)
        Client().post("/district/again/", {"email": "dana@cedar.test"})
        work_off()
        assert not mail.outbox


class TestStaff:
    def test_a_manager_invites_and_sees_the_link_once(self, cedar: District, manu: Staff) -> None:
        client = Client()
        client.force_login(manu)
        form = {"name": "Dana Reyes", "email": "dana@cedar.test", "role": "owner"}
        answer = client.post(f"/admin/onboarding/person/invite/{cedar.pk}/", form)
        secret = answer.content.decode().partition("/district/enter/#")[2].split("<")[0]
        assert Client().post(DOOR, {"secret": secret}).status_code == 302
        assert mail.outbox[0].to == ["dana@cedar.test"]
        page = client.get(f"/admin/rosters/district/{cedar.pk}/change/").content.decode()
        assert "Dana Reyes" in page
        assert "check, send, enter credentials" in page
        assert secret not in page

    def test_nobody_is_invited_twice(self, cedar: District, dana: Person, manu: Staff) -> None:
        client = Client()
        client.force_login(manu)
        form = {"name": "Dana", "email": "DANA@cedar.test", "role": "owner"}
        answer = client.post(f"/admin/onboarding/person/invite/{cedar.pk}/", form)
        assert answer.status_code == 422
        assert cedar.people.count() == 1

    def test_whoever_stands_in_does_so_until_a_day(self, cedar: District, dana: Person, manu: Staff) -> None:
        client = Client()
        client.force_login(manu)
        place = f"/admin/onboarding/person/invite/{cedar.pk}/"
        form = {"name": "Lee Chan", "email": "lee@cedar.test", "role": "sender", "deputy_for": str(dana.pk)}
        answer = client.post(place, form)
        assert answer.status_code == 422 and b"Say until when they stand in." in answer.content
        assert cedar.people.count() == 1
        assert client.post(place, {**form, "last_day": "2036-08-15"}).status_code == 200
        assert client.post(place, {**form, "email": "kim@cedar.test", "deputy_for": ""}).status_code == 200

    def test_a_viewer_sees_who_there_is_and_invites_nobody(self, cedar: District, dana: Person, vera: Staff) -> None:
        client = Client()
        client.force_login(vera)
        assert b"Dana Reyes" in client.get(f"/admin/rosters/district/{cedar.pk}/change/").content
        assert client.post(f"/admin/onboarding/person/invite/{cedar.pk}/", {}).status_code == 403
        assert client.post(f"/admin/onboarding/person/{dana.pk}/link/").status_code == 403
        assert client.post(f"/admin/onboarding/person/{dana.pk}/withdraw/").status_code == 403
        dana.refresh_from_db()
        assert dana.ended_at is None

    def test_withdrawing_is_one_button_and_in_the_audit_trail(self, dana: Person, manu: Staff, come_in: ComeIn) -> None:
        inside = come_in(dana)
        client = Client()
        client.force_login(manu)
        assert client.get(f"/admin/onboarding/person/{dana.pk}/withdraw/").status_code == 405
        client.post(f"/admin/onboarding/person/{dana.pk}/withdraw/")
        assert inside.get("/district/").status_code == 302
        assert AuditEvent.objects.filter(action="person.withdrawn", by=manu).count() == 1


def test_what_a_district_sent_by_hand_waits_for_a_person_whatever_is_agreed(cedar: District) -> None:
    District.objects.update(applies_automatically=True)
    by_hand, by_itself = (
        Sync.objects.create(
            district=District.objects.get(pk=cedar.pk),
            delivery=Delivery.objects.create(district=cedar, sha256="0" * 64, name="x.zip", size=1, origin=origin),
            status="ready",
        )
        for origin in ("district", "sftp")
    )
    assert (by_hand.may_apply_by_itself, by_itself.may_apply_by_itself) == (False, True)
    with pytest.raises(syncs.DecisionRefused):
        syncs.approve(by_hand, by=None, plan_digest="")
