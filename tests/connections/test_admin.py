"""The page of a connection: who may do what, what every button answers, and that no secret ever comes out."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.admin import site
from django.db import connection as database
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connections import fetching
from connections.forms import ConnectionForm
from connections.models import Allowance, Attempt, Checkup, Connection
from rosters.models import AuditEvent, Delivery, District, Sync

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = pytest.mark.django_db

SFTP = {
    "side": "theirs",
    "host": "sftp.example.org",
    "port": "22",
    "username": "cedar",
    "login": "password",
    "path": "imagine/<site code>-*/*.zip",
    "formats": "any",
    "when_done": "leave",
    "password": "correct horse",
}
API = {
    "base_url": "https://sis.example.org/ims/oneroster/v1p1",
    "version": "1.1",
    "auth": "oauth1",
    "signature": "HMAC-SHA256",
    "credentials_in": "header",
    "page_size": "1000",
    "key": "consumer-key-1",
    "secret": "correct horse",
}


def _logged_in(staff: Staff) -> Client:
    client = Client()
    client.force_login(staff)
    return client


@pytest.fixture
def sftp(cedar: District) -> Connection:
    connection = Connection(district=cedar, kind="sftp", host="sftp.example.org", username="cedar", path="*.zip")
    connection.keep_secret("password", "correct horse")
    connection.save()
    return connection


def _page(connection: Connection, part: str = "change") -> str:
    return f"/admin/connections/connection/{connection.pk}/{part}/"


def _said(answer: Any) -> str:
    return " ".join(str(message) for message in answer.context["messages"])


class TestSettingUp:
    @pytest.mark.parametrize(("kind", "fields"), [("sftp", SFTP), ("rest", API)])
    def test_a_manager_adds_one_and_its_secret_never_comes_out_again(
        self, cedar: District, manu: Staff, kind: str, fields: dict[str, str]
    ) -> None:
        client = _logged_in(manu)
        answer = client.post(f"/admin/connections/connection/add/?district={cedar.pk}&kind={kind}", fields, follow=True)
        assert answer.status_code == 200
        connection = Connection.objects.get()
        assert (connection.kind, connection.district, connection.state) == (kind, cedar, "setup")
        assert connection.secret("password" if kind == "sftp" else "secret") == "correct horse"
        assert b"correct horse" not in answer.content
        assert b"consumer-key-1" not in answer.content
        assert "correct horse" not in str(list(AuditEvent.objects.values()))
        assert b"Test it now" in answer.content

    def test_what_is_missing_is_said_at_its_field(self, cedar: District, manu: Staff) -> None:
        answer = _logged_in(manu).post(
            f"/admin/connections/connection/add/?district={cedar.pk}&kind=sftp", {**SFTP, "host": "sftp://x/"}
        )
        assert b"Only the name or address of the server" in answer.content
        assert not Connection.objects.exists()

    def test_a_folder_or_a_token_url_is_asked_for_where_it_is_needed(self, cedar: District, manu: Staff) -> None:
        client = _logged_in(manu)
        for kind, fields in (("sftp", {**SFTP, "when_done": "move"}), ("rest", {**API, "auth": "oauth2"})):
            answer = client.post(f"/admin/connections/connection/add/?district={cedar.pk}&kind={kind}", fields)
            assert b"This is needed." in answer.content
        assert not Connection.objects.exists()

    def test_the_page_names_one_next_step_at_a_time(self, cedar: District, manu: Staff) -> None:
        connection = Connection.objects.create(
            district=cedar, kind="sftp", host="sftp.example.org", username="cedar", path="*.zip", login="key"
        )
        client, seen = _logged_in(manu), []

        def look() -> None:
            page = client.get(_page(connection))
            assert page.content.count(b'class="primary"') == 1
            seen.append(page.context["lead"])

        look()
        client.post(_page(connection, "key-pair"))
        look()
        Connection.objects.update(host_key_seen="ssh-ed25519 SHA256:new")
        Checkup.objects.create(connection=connection, passed=False, ended_at=timezone.now())
        look()
        client.post(_page(connection, "trust"), {"fingerprint": "ssh-ed25519 SHA256:new"})
        look()
        Checkup.objects.create(connection=connection, passed=True, ended_at=timezone.now())
        look()
        assert seen == ["key", "test", "trust", "test", "start"]

    def test_our_own_server_needs_neither_name_nor_login(self, cedar: District, manu: Staff) -> None:
        ours = {**SFTP, "side": "ours", "host": "", "username": "", "password": "", "formats": "any"}
        client = _logged_in(manu)
        client.post(f"/admin/connections/connection/add/?district={cedar.pk}&kind=sftp", ours)
        assert Connection.objects.get().side == "ours"
        answer = client.post(_page(Connection.objects.get()), {**ours, "side": "theirs"})
        assert set(answer.context["adminform"].form.errors) == {"host", "username"}

    def test_an_empty_secret_leaves_the_one_that_is_kept(self, sftp: Connection, manu: Staff) -> None:
        _logged_in(manu).post(_page(sftp), {**SFTP, "password": "", "path": "other/*.zip"})
        sftp.refresh_from_db()
        assert (sftp.path, sftp.secret("password")) == ("other/*.zip", "correct horse")

    def test_a_password_is_not_sent_to_another_server_unless_it_is_given_anew(
        self, sftp: Connection, manu: Staff
    ) -> None:
        Connection.objects.update(host_key="ssh-ed25519 SHA256:x", host_key_confirmed_at=timezone.now())
        client = _logged_in(manu)
        answer = client.post(_page(sftp), {**SFTP, "host": "evil.example.org", "password": ""})
        assert b"give this anew" in answer.content
        sftp.refresh_from_db()
        assert sftp.host == "sftp.example.org"
        client.post(_page(sftp), {**SFTP, "host": "new.example.org"})
        sftp.refresh_from_db()
        assert (sftp.host, sftp.host_key) == ("new.example.org", "")

    def test_a_private_key_does_not_come_back_where_something_else_was_wrong(
        self, cedar: District, manu: Staff
    ) -> None:
        answer = _logged_in(manu).post(
            f"/admin/connections/connection/add/?district={cedar.pk}&kind=sftp",
            {**SFTP, "host": "", "login": "key", "private_key": "-----BEGIN OPENSSH PRIVATE KEY-----\nc29tZXRoaW5n"},
        )
        assert answer.context["adminform"].form.errors
        assert b"c29tZXRoaW5n" not in answer.content
        assert b"correct horse" not in answer.content

    def test_another_server_gets_proof_of_the_key_pair_that_was_made_here(self, sftp: Connection, manu: Staff) -> None:
        """Nobody could give the private half anew, and no login sends it."""
        fetching.make_key_pair(sftp)
        sftp.keep_secret("password", "")
        sftp.save()
        _logged_in(manu).post(_page(sftp), {**SFTP, "host": "new.example.org", "login": "key", "password": ""})
        sftp.refresh_from_db()
        assert sftp.host == "new.example.org"
        assert sftp.has_secret("private_key")

    @pytest.mark.parametrize("url", ["https://me:correct@sis.example.org/v1p1", "https://sis.example.org/v1p1?key=1"])
    def test_an_address_holds_no_secret(self, cedar: District, manu: Staff, url: str) -> None:
        answer = _logged_in(manu).post(
            f"/admin/connections/connection/add/?district={cedar.pk}&kind=rest", {**API, "base_url": url}
        )
        assert b"is shown to everybody" in answer.content
        assert not Connection.objects.exists()

    def test_another_source_is_not_judged_by_what_came_from_the_one_before(self, sftp: Connection, manu: Staff) -> None:
        Connection.objects.update(last_taken={"mtime": 4_000_000_000}, last_full_at=timezone.now())
        attempt = Attempt.objects.create(connection=sftp, why="retry", number=2)
        _logged_in(manu).post(_page(sftp), {**SFTP, "password": "", "path": "other/*.zip"})
        sftp.refresh_from_db()
        attempt.refresh_from_db()
        assert (sftp.last_taken, sftp.last_full_at, attempt.status) == ({}, None, "called_off")

    def test_settings_that_are_saved_overwrite_nothing_that_happened_meanwhile(
        self, sftp: Connection, manu: Staff
    ) -> None:
        """The form read the connection before it was paused, and is saved after."""
        sftp.activate(timezone.now(), None)
        form = ConnectionForm({**SFTP, "password": "", "marker": "done"}, instance=Connection.objects.get(pk=sftp.pk))
        assert form.is_valid(), form.errors
        sftp.pause(timezone.now(), "It failed 3 times in a row.")
        request = RequestFactory().post("/")
        request.user = manu
        page = site._registry[Connection]
        page.save_model(request, form.save(commit=False), form, True)
        sftp.refresh_from_db()
        assert (sftp.state, sftp.marker) == ("paused", "done")

    def test_the_district_and_the_way_are_asked_for_first(self, cedar: District, manu: Staff) -> None:
        answer = _logged_in(manu).get("/admin/connections/connection/add/")
        assert b"How will the roster arrive?" in answer.content
        assert b"Cedar Grove" in answer.content

    def test_a_vendor_brings_its_words_and_first_values(self, cedar: District, manu: Staff) -> None:
        answer = _logged_in(manu).get(
            f"/admin/connections/connection/add/?district={cedar.pk}&kind=rest&vendor=classlink_proxy"
        )
        page = answer.content.decode()
        assert "Application ID" in page
        assert "https://oneroster-proxy.classlink.io/&lt;application id&gt;/ims/oneroster/v1p1" in page
        assert answer.context["adminform"].form["auth"].value() == "bearer"

    def test_a_key_pair_is_made_here_and_only_its_public_half_is_shown(self, sftp: Connection, manu: Staff) -> None:
        Connection.objects.update(login="key")
        answer = _logged_in(manu).post(_page(sftp, "key-pair"), follow=True)
        sftp.refresh_from_db()
        assert sftp.public_key.startswith("ssh-ed25519 ")
        assert sftp.public_key.encode() in answer.content
        assert b"PRIVATE KEY" not in answer.content
        assert "PRIVATE KEY" in sftp.secret("private_key")


class TestWhoMayWhat:
    BUTTONS = ("test", "pull", "pause", "start", "trust", "key-pair", "allow", "confirm")

    def test_a_viewer_sees_it_and_no_button_answers(self, sftp: Connection, vera: Staff) -> None:
        client = _logged_in(vera)
        page = client.get(_page(sftp))
        assert page.status_code == 200
        assert b"Fetch now" not in page.content
        for button in self.BUTTONS:
            assert client.post(_page(sftp, button)).status_code == 403, button
        assert client.get(_page(sftp, "schedule")).status_code == 403

    def test_a_viewer_sees_the_settings_of_every_kind_and_no_place_for_a_secret(
        self, sftp: Connection, cedar: District, vera: Staff
    ) -> None:
        client = _logged_in(vera)
        api = Connection.objects.create(district=cedar, kind="rest", base_url="https://sis.example.org/v1p1")
        for connection, setting, secret in ((sftp, b"sftp.example.org", b"Password"), (api, b"/v1p1", b"Secret")):
            page = client.get(_page(connection))
            assert page.status_code == 200
            assert setting in page.content
            assert b"<label>" + secret not in page.content

    def test_a_reviewer_tests_and_fetches_and_changes_nothing(self, sftp: Connection, rita: Staff) -> None:
        client = _logged_in(rita)
        assert client.post(_page(sftp, "test")).status_code == 302
        assert Checkup.objects.filter(connection=sftp, by=rita).exists()
        assert client.post(_page(sftp, "pull")).status_code == 302
        for button in self.BUTTONS[2:]:
            assert client.post(_page(sftp, button)).status_code == 403, button

    def test_who_may_not_add_one_is_not_asked_for_a_district(self, sftp: Connection, vera: Staff) -> None:
        assert _logged_in(vera).get("/admin/connections/connection/add/").status_code == 403

    def test_nothing_happens_by_looking(self, sftp: Connection, alice: Staff) -> None:
        client = _logged_in(alice)
        for button in self.BUTTONS:
            assert client.get(_page(sftp, button)).status_code == 405, button


class TestButtons:
    def test_a_pause_is_no_way_round_the_test(self, sftp: Connection, manu: Staff) -> None:
        client = _logged_in(manu)
        client.post(_page(sftp, "pause"), {"reason": "Not yet"})
        client.post(_page(sftp, "start"))
        sftp.refresh_from_db()
        assert sftp.state == "setup"

    def test_it_goes_into_service_only_after_a_test_that_passed(self, sftp: Connection, manu: Staff) -> None:
        client = _logged_in(manu)
        answer = client.post(_page(sftp, "start"), follow=True)
        assert "Test it first" in _said(answer)
        Checkup.objects.create(connection=sftp, passed=True, ended_at=timezone.now())
        client.post(_page(sftp, "start"))
        sftp.refresh_from_db()
        assert sftp.state == "active"

    def test_a_pause_asks_for_a_reason_and_is_in_the_audit_trail(self, sftp: Connection, manu: Staff) -> None:
        sftp.activate(timezone.now(), None)
        client = _logged_in(manu)
        for wrong, said, kept in (
            ({"reason": "", "until": "2027-08-10"}, "Say why", "2027-08-10"),
            ({"reason": "Rollover", "until": "2020-08-10"}, "That day has come already.", "Rollover"),
        ):
            answer = client.post(_page(sftp, "pause"), wrong)
            assert (answer.status_code, said in _said(answer)) == (422, True)
            page = answer.content.decode()
            assert f'value="{kept}"' in page and '<details class="pause" open>' in page
            assert f'action="{_page(sftp)}"' in page, "the settings of the same page are still saved where they belong"
        client.post(_page(sftp, "pause"), {"reason": "Rollover", "until": "2027-08-10"})
        sftp.refresh_from_db()
        assert (sftp.state, sftp.pause_reason, sftp.paused_by) == ("paused", "Rollover", manu)
        assert AuditEvent.objects.filter(action="connection.paused", by=manu).exists()

    def test_only_the_key_that_the_page_showed_is_trusted(self, sftp: Connection, manu: Staff) -> None:
        Connection.objects.update(host_key_seen="ssh-ed25519 SHA256:new")
        client = _logged_in(manu)
        answer = client.post(_page(sftp, "trust"), {"fingerprint": "ssh-ed25519 SHA256:old"}, follow=True)
        assert "another key" in _said(answer)
        client.post(_page(sftp, "trust"), {"fingerprint": "ssh-ed25519 SHA256:new"})
        sftp.refresh_from_db()
        assert (sftp.host_key, sftp.host_key_confirmed_by) == ("ssh-ed25519 SHA256:new", manu)

    def test_a_private_network_needs_two_people(self, sftp: Connection, manu: Staff, alice: Staff) -> None:
        expires = str(timezone.localdate() + timedelta(days=30))
        entered = {"network": "10.1.2.3/32", "reason": "Their SIS", "expires_on": expires}
        _logged_in(manu).post(_page(sftp, "allow"), entered)
        entry = Allowance.objects.get()
        answer = _logged_in(manu).post(_page(sftp, "confirm"), {"allowance": entry.pk}, follow=True)
        assert "Another person" in _said(answer)
        assert sftp.allowed_networks(timezone.localdate()) == ()
        _logged_in(alice).post(_page(sftp, "confirm"), {"allowance": entry.pk})
        assert len(sftp.allowed_networks(timezone.localdate())) == 1
        assert "confirmed already" in _said(
            _logged_in(alice).post(_page(sftp, "confirm"), {"allowance": entry.pk}, follow=True)
        )

    @pytest.mark.looks
    def test_a_network_that_is_not_entered_loses_nothing_that_was_typed(self, sftp: Connection, manu: Staff) -> None:
        today = timezone.localdate()
        typed = {"network": "ten", "reason": "Their SIS has no other address", "expires_on": str(today)}
        answer = _logged_in(manu).post(_page(sftp, "allow"), typed)
        assert answer.status_code == 422 and "Write an address and its length" in _said(answer)
        page = answer.content.decode()
        assert all(f'value="{value}"' in page for value in typed.values())
        assert "<details open><summary>Enter a network" in page
        past = {**typed, "network": "10.1.2.3/32", "expires_on": str(today - timedelta(days=2))}
        assert "That day is over" in _said(_logged_in(manu).post(_page(sftp, "allow"), past))
        assert not Allowance.objects.exists()

    @pytest.mark.looks
    def test_a_network_whose_last_day_has_passed_is_marked_and_not_confirmed(
        self, sftp: Connection, manu: Staff, alice: Staff
    ) -> None:
        entry = Allowance.objects.create(
            connection=sftp, network="10.1.2.3/32", reason="Their SIS", entered_by=manu,
            expires_on=timezone.localdate() - timedelta(days=2),
        )  # fmt: skip
        client = _logged_in(alice)
        page = client.get(_page(sftp)).content.decode()
        assert '<span class="chip">over</span>' in page and "Confirm 10.1.2.3/32" not in page
        answer = client.post(_page(sftp, "confirm"), {"allowance": entry.pk}, follow=True)
        assert "Its last day has passed" in _said(answer)
        entry.refresh_from_db()
        assert entry.confirmed_by is None

    @pytest.mark.looks
    def test_schools_that_were_chosen_stay_chosen_where_one_is_not_live_any_more(
        self, sftp: Connection, manu: Staff
    ) -> None:
        typed = {"only_schools": ["gone"], "other_schools": "hill-1, lake-2"}
        answer = _logged_in(manu).post(_page(sftp, "about"), typed)
        assert answer.status_code == 422 and 'value="hill-1, lake-2"' in answer.content.decode()

    def test_fetching_is_refused_with_a_reason_while_one_runs(self, sftp: Connection, rita: Staff) -> None:
        Connection.objects.update(host_key="ssh-ed25519 SHA256:x", host_key_confirmed_at=timezone.now())
        Attempt.objects.create(connection=sftp, why="schedule")
        assert "being fetched already" in _said(_logged_in(rita).post(_page(sftp, "pull"), follow=True))


class TestTheSchedule:
    FORM = {"days": ["0", "1", "2", "3", "4"], "times": "2:00, 14:30"}

    def test_the_next_runs_are_shown_while_it_is_typed_and_nothing_is_saved(
        self, sftp: Connection, manu: Staff
    ) -> None:
        later = timezone.localdate() + timedelta(days=1)
        asked = {**self.FORM, "blackouts": f"{later} to {later + timedelta(days=2)} Break"}
        answer = _logged_in(manu).get(_page(sftp, "preview"), asked)
        assert answer.status_code == 200
        assert len(answer.context["runs"]) == 20
        sftp.refresh_from_db()
        assert sftp.schedule == {}

    def test_it_is_saved_and_an_active_connection_knows_its_next_run(self, sftp: Connection, manu: Staff) -> None:
        sftp.activate(timezone.now(), None)
        answer = _logged_in(manu).post(_page(sftp, "schedule"), self.FORM, follow=True)
        assert "Saved" in _said(answer)
        sftp.refresh_from_db()
        assert sftp.schedule["times"] == ["02:00", "14:30"]
        assert sftp.next_due_at is not None and sftp.next_due_at > timezone.now()
        assert AuditEvent.objects.filter(action="connection.scheduled").exists()

    def test_the_minute_at_which_it_starts_is_the_same_everywhere(self, sftp: Connection, manu: Staff) -> None:
        Connection.objects.filter(pk=sftp.pk).update(uid="00000000-0000-0000-0000-000000000005")
        sftp.refresh_from_db()
        later = int(sftp.delay.total_seconds() // 60)
        sftp.activate(timezone.now(), None)
        client = _logged_in(manu)
        page = client.post(_page(sftp, "schedule"), self.FORM, follow=True)
        sftp.refresh_from_db()
        assert sftp.next_due_at
        first, html = page.context["runs"][0], page.content.decode()
        assert f"{sftp.on_its_clock(sftp.next_due_at):%H:%M %Z}" in first["local"]
        assert f"{sftp.next_due_at:%H:%M UTC}" in first["own"]
        assert html.count(f"{sftp.next_due_at:%H:%M UTC}") > 1, "the head says it too"
        assert f"It starts {later} minute" in html
        assert first["local"] in client.get("/admin/connections/connection/").content.decode()

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            ({"times": "25:00"}, "is no time of day"),
            ({"times": ""}, "at least one time"),
            ({"days": []}, "at least one day"),
            ({"blackouts": "summer"}, "2027-06-15 to 2027-08-10"),
            ({"first": "0001-01-01"}, "Give days of the years 2000 to 2100."),
            ({"last": "0001-01-03"}, "Give days of the years 2000 to 2100."),
        ],
    )
    def test_what_is_wrong_is_said_in_words(
        self, sftp: Connection, manu: Staff, wrong: dict[str, Any], words: str
    ) -> None:
        client = _logged_in(manu)
        assert words in client.get(_page(sftp, "preview"), {**self.FORM, **wrong}).content.decode()
        answer = client.post(_page(sftp, "schedule"), {**self.FORM, **wrong})
        assert answer.status_code == 422
        assert words in answer.content.decode()


class TestOtherPages:
    def test_the_district_shows_its_ways_in(self, sftp: Connection, vera: Staff) -> None:
        page = _logged_in(vera).get(f"/admin/rosters/district/{sftp.district_id}/change/")
        assert b"Setting up" in page.content
        assert _page(sftp).encode() in page.content

    def test_the_desk_names_what_fails_what_is_to_come_and_what_is_on_its_way(
        self, sftp: Connection, cedar: District, alice: Staff
    ) -> None:
        now = timezone.now()
        other = Connection.objects.create(district=cedar, kind="rest", base_url="https://sis.example.org")
        other.activate(now, now + timedelta(seconds=1))
        Connection.objects.filter(pk=other.pk).update(failures=1)
        Attempt.objects.create(
            connection=other, why="schedule", status="failed", code="CONN-REFUSED", words="x", ended_at=now
        )
        page = _logged_in(alice).get("/admin/")
        assert [each.pk for each, _ in page.context["trouble"]] == [other.pk]
        assert page.context["trouble"][0][1].word == "Cannot connect"
        assert [each.pk for each, _ in page.context["launching"]] == [sftp.pk]

    def test_where_its_sync_will_be_a_fetch_is_followed_to_its_end(
        self, sftp: Connection, cedar: District, vera: Staff
    ) -> None:
        client = _logged_in(vera)
        other = District.objects.create(name="Maple Falls", site_code="1002")
        sent = Delivery.objects.create(district=cedar, sha256="0" * 64, name="roster.zip", size=4, origin="sftp")
        sync = Sync.objects.create(district=cedar, delivery=sent)
        pages = ["/admin/rosters/sync/", f"/admin/rosters/sync/{sync.pk}/change/"]
        pages.append(f"/admin/rosters/district/{cedar.pk}/change/")
        assert not any(b'id="arriving"' in client.get(page).content for page in pages)
        attempt = Attempt.objects.create(connection=sftp, why="now")
        attempt.start(timezone.now())
        attempt.beat(timezone.now(), "users: 4,000 of 100,000", done=1, in_all=4)
        for page in pages:
            content = client.get(page).content.decode()
            assert "users: 4,000 of 100,000" in content, page
            assert 'value="25"' in content
        assert b'id="arriving"' not in client.get(f"/admin/rosters/district/{other.pk}/change/").content
        where = f"/admin/connections/connection/arriving/?district={cedar.pk}&follow={attempt.pk}"
        assert client.get(where).status_code == 200
        assert attempt.mark_delivered(timezone.now(), sync, "Took it.", 4)
        last = client.get(where)
        assert last.status_code == 286
        assert f"/admin/rosters/sync/{sync.pk}/change/" in last.content.decode()
        assert client.get(where.replace(f"={cedar.pk}&", f"={other.pk}&")).content.strip() == b""

    def test_however_many_are_fetched_at_once_a_page_stays_short(self, cedar: District, vera: Staff) -> None:
        for _ in range(23):
            connection = Connection.objects.create(district=cedar, kind="sftp", host="sftp.example.org")
            Attempt.objects.create(connection=connection, why="schedule").start(timezone.now())
        content = _logged_in(vera).get("/admin/rosters/sync/").content.decode()
        assert content.count("<progress") == 10
        assert "13 more are being fetched." in content

    @pytest.mark.parametrize(
        "broken",
        [
            {"sealed": {"password": "1:00000000:AAAA"}},
            {"schedule": {"days": ["Monday"]}},
            {"schedule": ["02:00"]},
            {"district": "Mars/Olympus"},
        ],
    )
    def test_every_page_opens_whatever_is_broken(self, sftp: Connection, alice: Staff, broken: dict[str, Any]) -> None:
        sftp.activate(timezone.now(), timezone.now() + timedelta(hours=1))
        if zone := broken.pop("district", ""):
            District.objects.update(time_zone=zone)
        else:
            Connection.objects.update(**broken)
        client = _logged_in(alice)
        for part in ("change", "schedule", "preview", "checkup", "attempts"):
            assert client.get(_page(sftp, part)).status_code < 400, part
        for page in (
            "/admin/",
            "/admin/connections/connection/",
            f"/admin/rosters/district/{sftp.district_id}/change/",
        ):
            assert client.get(page).status_code == 200, page

    def test_the_list_asks_the_database_as_often_for_many_as_for_one(
        self, sftp: Connection, cedar: District, alice: Staff, django_assert_num_queries: Any
    ) -> None:
        client = _logged_in(alice)
        Attempt.objects.create(
            connection=sftp, why="now", status="failed", code="CONN-REFUSED", ended_at=timezone.now()
        )
        client.get("/admin/connections/connection/")
        with CaptureQueriesContext(database) as for_one:
            assert b"Cannot connect" in client.get("/admin/connections/connection/").content
        for _ in range(5):
            other = Connection.objects.create(district=cedar, kind="rest")
            Attempt.objects.create(connection=other, why="now")
        with django_assert_num_queries(len(for_one)):
            client.get("/admin/connections/connection/")

    def test_the_list_filters_by_standing(self, sftp: Connection, alice: Staff) -> None:
        client = _logged_in(alice)
        assert b"Cedar Grove" in client.get("/admin/connections/connection/?standing=setup").content
        assert b"0 connections" in client.get("/admin/connections/connection/?standing=paused").content

    def test_the_list_takes_as_many_queries_for_ten_connections_as_for_one(
        self, sftp: Connection, alice: Staff
    ) -> None:
        def queries() -> int:
            with CaptureQueriesContext(database) as seen:
                page = client.get("/admin/connections/connection/")
            assert page.content.count(b"Cannot connect") == 2 + Connection.objects.count()  # the filter says it twice
            return len(seen)

        def fail(connection: Connection) -> None:
            Attempt.objects.create(
                connection=connection, why="schedule", status="failed", code="CONN-REFUSED", ended_at=timezone.now()
            )

        client = _logged_in(alice)
        fail(sftp)
        for_one = queries()
        for number in range(9):
            district = District.objects.create(name=f"District {number}", site_code=f"20{number}")
            fail(Connection.objects.create(district=district, kind="rest", base_url="https://sis.example.org"))
        assert queries() == for_one
