"""A manager sets up a district's ways in, in a real browser, against real servers: tested, trusted, scheduled."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone

from connections import attempts
from connections.models import Allowance, Attempt, Checkup, Connection
from rosters import making
from rosters.models import District, Sync
from rosters.tasks import enqueue_prepare
from tests.browser.looking import Fault, faults_in_both, log_in, tab_to
from tests.connections import sis, sshd
from tests.queue import work_off

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from playwright.sync_api import Browser, Page
    from pytest_django import Settings
    from pytest_django.live_server_helper import LiveServer

pytestmark = pytest.mark.django_db(transaction=True)

EVERY_DAY = {"days": [0, 1, 2, 3, 4, 5, 6], "times": ["02:00"], "zone": "America/Chicago"}
PAGES = "admin/connections/connection"


@pytest.fixture
def cedar(data_dir: Path, settings: Settings) -> District:
    settings.PORTAL_SFTP_WAIT = 0.05
    return District.objects.create(name="Cedar Grove", site_code="1001", time_zone="America/Chicago")


@pytest.fixture(scope="module")
def tables() -> making.Tables:
    return making.make_roster(users=60, seed=6, today=timezone.localdate(), name="Cedar Grove")


@pytest.fixture
def server(tmp_path: Path, tables: making.Tables) -> Iterator[sshd.Sshd]:
    """The district's SFTP server: a roster lies there, and nobody's key is known yet."""
    with sshd.served(tmp_path) as running:
        (running.home / "authorized_keys").write_text("")
        (running.data / "1001-Cedar").mkdir()
        making.write_zip(running.data / "1001-Cedar" / "monday.zip", tables)
        yield running


@pytest.fixture
def other_page(browser: Browser) -> Iterator[Page]:
    """The browser of a second person."""
    context = browser.new_context()
    yield context.new_page()
    context.close()


def press(page: Page, button: str) -> None:
    page.click(f"button:has-text('{button}'), input[type=submit][value='{button}']")


def have_tested(page: Page) -> None:
    """Press Test, let the worker work, and see that the page has found out by itself."""
    press(page, "Test")
    page.wait_for_selector("text=The test begins")
    work_off()
    page.wait_for_selector("#checkup:not([hx-get])")


def have_loopback_allowed(page: Page, other: Page) -> None:
    page.click("text=Enter a network")
    page.fill("#id_network", "127.0.0.1/32")
    page.fill("#allowances ~ details [name=reason]", "It stands on this machine.")
    press(page, "Enter")
    page.wait_for_selector("text=waits for another person")
    other.goto(page.url)
    press(other, "Confirm 127.0.0.1/32")
    other.wait_for_selector("text=Confirmed: this connection may reach 127.0.0.1/32")


def ticks(page: Page) -> list[str]:
    """The outcome of each step that the page shows."""
    return [
        str(each.get_attribute("class")).removeprefix("step ") for each in page.query_selector_all("#checkup .step")
    ]


@pytest.mark.looks
def test_a_manager_has_a_district_fetched_by_sftp(
    page: Page, other_page: Page, live_server: LiveServer, cedar: District, server: sshd.Sshd, tables: making.Tables,
    manu: Staff, alice: Staff,
) -> None:  # fmt: skip
    complaints = log_in(page, live_server, "manu")
    log_in(other_page, live_server, "alice")
    page.goto(f"{live_server.url}/{PAGES}/")
    page.click("a.addlink:has-text('Add connection')")
    press(page, "By SFTP")
    page.fill("#id_host", "127.0.0.1")
    page.fill("#id_port", str(server.port))
    page.fill("#id_username", getpass.getuser())
    page.wait_for_selector("#id_private_key", state="hidden")
    page.wait_for_selector("#id_password")
    page.select_option("#id_login", "key")
    page.wait_for_selector("#id_password", state="hidden")
    page.wait_for_selector("#id_private_key")
    page.fill("#id_path", "<site code>-*/*.zip")
    press(page, "Save")
    page.wait_for_selector("text=Saved. Test it now")

    press(page, "Make a key pair")
    public = page.text_content("pre code") or ""
    (server.home / "authorized_keys").write_text(f"{public}\n")
    have_tested(page)
    page.wait_for_selector("#checkup >> text=CONN-ADDRESS")
    have_loopback_allowed(page, other_page)
    have_tested(page)
    page.wait_for_selector("text=This is the first contact")
    assert server.host_key in (page.text_content("#checkup .notice") or "")
    press(page, "Trust this key")
    have_tested(page)
    page.wait_for_selector("text=Every step passed")
    assert set(ticks(page)) == {"ok"} and len(ticks(page)) >= 12
    page.wait_for_selector("text=Every step of the test has passed: put it into service.")  # the head followed
    press(page, "Put into service")
    page.wait_for_selector("text=It runs when asked")
    page.click("text=Set days and times")
    page.uncheck("input[name=days][value='4']")
    page.fill("#id_times", "3:15")
    page.wait_for_selector("#runs >> text=3:15 AM")
    assert page.locator("#runs tbody tr").count() == 20
    assert Connection.objects.get().schedule == {}  # seen before it is saved
    press(page, "Save")
    page.wait_for_selector("text=Saved. The next runs stand below.")

    press(page, "Fetch now")
    page.wait_for_selector("#attempt-list >> text=Waits for a worker")
    work_off()
    page.wait_for_selector("#attempt-list >> text=Took monday.zip.")
    page.click("#attempt-list >> text=The sync")
    press(page, "Approve")
    work_off()
    page.wait_for_selector("text=Can be undone until")

    making.write_zip(server.data / "1001-Cedar" / "tuesday.zip", making.without_school(tables, 1))
    connection = Connection.objects.get()
    due = connection.next_due_at
    assert due is not None
    [attempt] = attempts.minute(now=due)
    sync = attempts.run(attempt, now=due)
    assert sync is not None
    enqueue_prepare(sync)
    work_off()
    page.goto(f"{live_server.url}/{PAGES}/{connection.pk}/change/")
    row = page.locator("#attempt-list tbody tr").first
    assert "by schedule" in (row.text_content() or "") and "Took tuesday.zip." in (row.text_content() or "")
    row.locator("text=The sync").click()
    page.wait_for_selector(".holds >> text=SCHOOL_GONE")
    assert [s.status for s in Sync.objects.order_by("pk")] == ["applied", "awaiting_review"]
    assert not complaints, complaints


@pytest.mark.alike
def test_a_manager_has_a_district_fetched_from_its_api(
    page: Page, other_page: Page, live_server: LiveServer, cedar: District, manu: Staff, alice: Staff
) -> None:
    complaints = log_in(page, live_server, "manu")
    log_in(other_page, live_server, "alice")
    rows = sis.roster(users=40)
    for course in rows["courses"]:
        course["org"] = rows["classes"][0]["school"]
    with sis.running(rows, auth="oauth2") as system:
        page.goto(f"{live_server.url}/{PAGES}/add/?district={cedar.pk}")
        press(page, "By the OneRoster API")
        page.wait_for_selector("#id_token_url", state="hidden")
        page.select_option("#id_auth", "oauth2")
        page.wait_for_selector("#id_signature", state="hidden")
        page.wait_for_selector("#id_token_url")
        page.fill("#id_base_url", system.api.base_url)
        page.fill("#id_token_url", system.api.token_url)
        page.fill("#id_key", sis.KEY)
        page.fill("#id_secret", sis.SECRET)
        press(page, "Save")
        page.wait_for_selector("text=Saved. Test it now")
        assert sis.SECRET not in page.content()
        have_loopback_allowed(page, other_page)
        have_tested(page)
        page.wait_for_selector("text=Every step passed")
        assert not {"failed", "warning"} & set(ticks(page))
        press(page, "Put into service")
        page.wait_for_selector("text=In service.")
        press(page, "Fetch now")
        work_off()
        page.wait_for_selector("#attempt-list >> text=Asked for everything")
    page.click("#attempt-list >> text=The sync")
    page.wait_for_selector("button:has-text('Approve')")
    assert not complaints, complaints


@pytest.mark.looks
def test_a_connection_is_tested_trusted_and_scheduled_with_the_keyboard_alone(
    page: Page, live_server: LiveServer, cedar: District, server: sshd.Sshd, manu: Staff, alice: Staff
) -> None:
    connection = Connection(
        district=cedar, kind="sftp", host="127.0.0.1", port=server.port, username=getpass.getuser(), login="key",
        path="<site code>-*/*.zip",
    )  # fmt: skip
    connection.keep_secret("private_key", server.private_key)
    connection.save()
    let_in(connection, manu, alice)

    def enter(name: str, then: str) -> None:
        tab_to(page, name)
        page.keyboard.press("Enter")
        page.wait_for_selector(then)

    complaints = log_in(page, live_server, "manu")
    page.goto(f"{live_server.url}/{PAGES}/{connection.pk}/change/")
    enter("BUTTON Test", "text=The test begins")
    work_off()
    page.wait_for_selector("text=This is the first contact")
    enter("BUTTON Trust this key", "text=This key is trusted")
    assert Connection.objects.get().host_key.endswith(server.host_key)
    enter("A Set days and times", "#runs >> text=2:00 AM")
    tab_to(page, "INPUT days")
    page.keyboard.press("Space")  # no run on Mondays
    tab_to(page, "INPUT times")
    page.keyboard.press("Control+A")
    page.keyboard.type("4:40")
    page.wait_for_selector("#runs >> text=4:40 AM")
    enter("BUTTON Save", "text=Saved. The next runs stand below.")
    schedule = Connection.objects.get().schedule
    assert (schedule["days"], schedule["times"]) == ([1, 2, 3, 4], ["04:40"])
    assert not complaints, complaints


def let_in(connection: Connection, by: Staff, confirmed_by: Staff) -> None:
    """Allow it to reach this machine."""
    entry = Allowance.objects.create(
        connection=connection, network="127.0.0.1/32", reason="It stands on this machine.", entered_by=by,
        expires_on=timezone.localdate() + timedelta(days=2),
    )  # fmt: skip
    entry.confirm(timezone.now(), confirmed_by)


@pytest.fixture
def in_every_state(cedar: District, manu: Staff, alice: Staff) -> dict[str, Connection]:
    """Connections of every state, with what led there."""
    now = timezone.now()

    def made(state: str, **values: Any) -> Connection:
        district = District.objects.create(
            name=f"{state.title()} Valley", site_code=f"2{District.objects.count()}", time_zone="America/Chicago"
        )
        sftp = {"kind": "sftp", "host": "sftp.example.org", "username": "cedar", "login": "key", "path": "*.zip"}
        connection = Connection(district=district, schedule=EVERY_DAY, **{**sftp, **values})
        connection.keep_secret("secret" if connection.kind == "rest" else "private_key", "correct horse")
        connection.keep_secret("key", "consumer")
        connection.save()
        return connection

    def tried(connection: Connection, hours: float, status: str, **values: Any) -> Attempt:
        at = now - timedelta(hours=hours)
        ended = None if status in Attempt.OPEN else at + timedelta(seconds=14)
        return Attempt.objects.create(
            connection=connection, why="schedule", asked_at=at, started_at=at, ended_at=ended, status=status, **values
        )  # fmt: skip

    def trust(connection: Connection) -> None:
        shown = "ssh-ed25519 SHA256:uNiVztksCsDhcc0u9e8BrXOIQAGK0fNw8DNRtFgqUUg"
        Connection.objects.filter(pk=connection.pk).update(host_key_seen=shown)
        assert connection.pin_host_key(now, shown, alice)

    found = {
        state: made(state, **values)
        for state, values in {
            "setup": {"public_key": f"ssh-ed25519 {'A' * 68} roster-portal 1001"},
            "checking": {"login": "password"},
            "active": {"when_done": "move", "done_folder": "done"},
            "paused": {"kind": "rest", "base_url": "https://sis.example.org/ims/oneroster/v1p1", "vendor": "aeries"},
            "failing": {"kind": "rest", "base_url": "https://sis.example.org/ims/oneroster/v1p1"},
            "given up": {},
        }.items()
    }
    Connection.objects.filter(pk=found["setup"].pk).update(
        host_key_seen="ssh-ed25519 SHA256:uNiVztksCsDhcc0u9e8BrXOIQAGK0fNw8DNRtFgqUUg", schedule={}
    )
    steps = [
        {"name": "name", "outcome": "ok", "seconds": 0.1, "words": "sftp.example.org is known: 203.0.113.7.",
         "code": "", "next_step": ""},
        {"name": "host key", "outcome": "failed", "seconds": 1.2, "code": "SFTP-HOSTKEY-NEW",
         "words": "Nobody has confirmed the server's host key yet; no password and no key was sent.",
         "next_step": "Compare the fingerprint with the one that the district's IT gives you by another way."},
        {"name": "login", "outcome": "skipped", "seconds": 0.0, "words": "A step before it did not succeed.",
         "code": "", "next_step": ""},
    ]  # fmt: skip
    Checkup.objects.create(connection=found["setup"], steps=steps, ended_at=now, passed=False)
    Checkup.objects.create(connection=found["checking"], steps=steps[:1], begun_at=now)
    let_in(found["setup"], manu, alice)
    Allowance.objects.create(
        connection=found["setup"], network="10.20.30.40/32", reason="Their server has no public address.",
        entered_by=manu, expires_on=timezone.localdate() + timedelta(days=90),
    )  # fmt: skip
    for state in ("active", "failing", "given up"):
        trust(found[state])
        found[state].activate(now, found[state].due_after(now))
    tried(found["active"], 72, "failed", code="CONN-TIMEOUT", words="The server did not answer in time.")
    tried(found["active"], 48, "nothing_new", words="The newest file is the one that was taken last time.")
    tried(found["active"], 24, "delivered", words="Took roster.zip.", bytes_done=4_200_000)
    tried(found["active"], 0, "running", phase="Downloading", bytes_done=2_000_000, bytes_in_all=4_000_000)
    Connection.objects.filter(pk=found["active"].pk).update(last_success_at=now - timedelta(hours=24))
    found["paused"].activate(now, None)
    found["paused"].pause(now, "Rollover: the new year's classes are being made.", by=manu)
    for hours in (50, 26, 2):
        tried(found["failing"], hours, "failed", code="API-AUTH", words="The server refused the key or the secret.")
        tried(found["given up"], hours, "failed", code="SFTP-LOGIN", words="The server refused the login.")
    Connection.objects.filter(pk=found["failing"].pk).update(failures=2)
    Connection.objects.filter(pk=found["given up"].pk).update(failures=3)
    found["given up"].pause(now, "It failed 3 times in a row: The server refused the login.")
    return found


@pytest.mark.looks
def test_every_page_of_connections_fits_and_has_no_accessibility_fault(
    live_server: LiveServer, in_every_state: dict[str, Connection], cedar: District, page: Page
) -> None:
    complaints = log_in(page, live_server, "alice")
    faults: list[Fault] = []

    adding = f"{PAGES}/add/?district={cedar.pk}"
    active = in_every_state["active"]
    for address in (
        f"{PAGES}/", f"{PAGES}/add/", f"{adding}&kind=sftp", f"{adding}&kind=rest&vendor=infinite_campus",
        *(f"{PAGES}/{each.pk}/change/" for each in in_every_state.values()),
        "admin/", f"admin/rosters/district/{active.district_id}/change/",
    ):  # fmt: skip
        page.goto(f"{live_server.url}/{address}")
        faults += faults_in_both(page, complaints)
    page.goto(f"{live_server.url}/{PAGES}/{active.pk}/schedule/")
    page.wait_for_selector("#runs tbody tr")
    faults += faults_in_both(page, complaints)
    page.fill("#id_blackouts", "summer")
    page.wait_for_selector("#runs >> text=write 2027-06-15")
    press(page, "Save")
    page.wait_for_selector("form .errorlist")
    assert all("422" in complaint for complaint in complaints), complaints  # the browser tells of our refusal
    complaints.clear()
    faults += faults_in_both(page, complaints)
    assert not faults, faults
