"""The district's whole way, as one person walks it, once with the keyboard alone and once on a phone: the invitation, a
template, a check that finds faults and one that finds none, a file that is cut on its way up and goes on, its receipt,
the review by our staff, and the first call, booked and moved."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from django.core import mail
from django.utils import timezone
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from rosters import making
from rosters.models import District, Sync
from tests.browser.looking import faults_of, log_in, tab_to
from tests.queue import work_off

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from playwright.sync_api import Browser, Page
    from pytest_django.live_server_helper import LiveServer

    from connections.onboarding.models import Person

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.looks]


class Keyboard:
    """Nothing but keys."""

    context: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}

    def __init__(self, page: Page) -> None:
        self.page = page

    def press(self, kind: str, name: str) -> None:
        """Go to the link or button of this name, and press it."""
        tab_to(self.page, f"{kind} {name}")
        self.page.keyboard.press("Enter")

    def pick(self, name: str, number: int) -> None:
        """Pick a radio button of this group, by its place."""
        tab_to(self.page, f"INPUT {name}")
        self.page.keyboard.press("Space")
        for _ in range(number):
            self.page.keyboard.press("ArrowDown")

    def write(self, name: str, text: str) -> None:
        tab_to(self.page, f"INPUT {name}")
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(text)

    def choose(self, files: Sequence[Path]) -> None:
        tab_to(self.page, "INPUT files")
        for key in ("Enter", "Space", "Enter"):  # on a busy machine the browser now and then opens nothing at the first
            try:
                with self.page.expect_file_chooser(timeout=5_000) as chooser:
                    self.page.keyboard.press(key)
            except PlaywrightTimeout:
                continue
            chooser.value.set_files(files)
            return
        pytest.fail("no key opens the choice of files")


class Phone(Keyboard):
    """A thumb."""

    context: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}

    def press(self, kind: str, name: str) -> None:
        tag = f"button[name='{name}']" if kind == "BUTTON" and name.islower() else f"{kind.lower()}:has-text('{name}')"
        self.page.tap(f"{tag} >> visible=true >> nth=0")

    def pick(self, name: str, number: int) -> None:
        self.page.tap(f"input[name='{name}'] >> nth={number}")

    def write(self, name: str, text: str) -> None:
        self.page.tap(f"input[name='{name}']")
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(text)

    def choose(self, files: Sequence[Path]) -> None:
        with self.page.expect_file_chooser() as chooser:
            self.page.tap("input[name='files']")
        chooser.value.set_files(files)


@pytest.fixture
def dana(data_dir: Path, alice: Staff) -> Person:
    """The owner at Cedar Grove, of whom Alice takes care, who takes calls every day from nine to five."""
    from connections.onboarding.models import Availability

    Availability.objects.create(staff=alice, weekly={str(day): [["09:00", "17:00"]] for day in range(7)})
    cedar = District.objects.create(name="Cedar Grove", site_code="1001", owner=alice, products=["literacy"])
    return cedar.people.create(name="Dana Reyes", email="dana@cedar.test", role="owner")


@pytest.fixture
def rosters(tmp_path: Path) -> tuple[Path, Path]:
    """A zip with three people who have no family name, and the good one, of more than one piece."""
    tables = making.make_roster(users=2500, seed=4, today=timezone.localdate(), name="Cedar Grove")
    making.write_zip(tmp_path / "monday.zip", tables)
    users = tables["users"].with_row_index("at")
    nameless = pl.when(pl.col("at") < 3).then(pl.lit("")).otherwise(pl.col("familyName")).alias("familyName")
    making.write_zip(tmp_path / "sunday.zip", {**tables, "users": users.with_columns(nameless).drop("at")})
    return tmp_path / "sunday.zip", tmp_path / "monday.zip"


@contextmanager
def cut_after_the_first_piece(page: Page) -> Iterator[None]:
    page.route(re.compile(r"/send/[^/]+/[1-9]\d*/$"), lambda route: route.abort())
    yield
    page.unroute_all()


@pytest.mark.parametrize("hand_of", [Keyboard, Phone])
def test_from_the_invitation_to_the_first_call(
    browser: Browser,
    live_server: LiveServer,
    settings: Any,
    dana: Person,
    alice: Staff,
    rosters: tuple[Path, Path],
    hand_of: type[Keyboard],
) -> None:
    from connections.onboarding.entering import invite

    settings.PORTAL_URL = live_server.url
    broken, good = rosters
    context = browser.new_context(**hand_of.context)
    page = context.new_page()
    width = hand_of.context["viewport"]["width"]
    hand, faults, complaints = hand_of(page), [], []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))

    def looked_at(heading: str) -> None:
        page.wait_for_selector(f"h1:has-text('{heading}')")
        faults.extend(faults_of(page, width, complaints))

    # the invitation
    invite(dana, by=alice)
    link = re.search(r"http\S+#\S+", str(mail.outbox[-1].body))
    assert link
    page.goto(link[0].partition("#")[0])
    page.wait_for_selector("text=put what stands behind its #")
    page.goto(link[0])  # pasted into the page that is open: only what stands behind the # changes
    looked_at("Come in")
    hand.press("BUTTON", "Come in")
    looked_at("Cedar Grove")
    page.wait_for_selector("text=Book the first call")

    # a template
    hand.press("A", "Templates")
    looked_at("Templates and specifications")
    with page.expect_download() as template:
        hand.press("A", "Template for")
    assert template.value.suggested_filename.endswith(".zip")

    # a check that finds faults, then one that finds none
    hand.press("A", "Check")
    looked_at("Check before sending")
    hand.choose([broken])
    hand.press("BUTTON", "answer")
    page.wait_for_selector("#verdict:has-text('Can be sent, with gaps')")
    faults += faults_of(page, width, complaints)
    with page.expect_download() as rows:
        if hand_of is Keyboard:
            page.keyboard.press("Tab")  # the verdict has the focus; what can be had of it comes next
            page.keyboard.press("Enter")
        else:
            page.tap("button[value='rows']")
    assert rows.value.suggested_filename == "faulty-rows.zip"
    hand.choose([good])
    hand.press("BUTTON", "answer")
    page.wait_for_selector("#verdict:has-text('Ready to send')")
    faults += faults_of(page, width, complaints)
    assert not Sync.objects.exists(), "nothing was stored"

    # it goes up, is cut, and goes on
    hand.press("A", "Send these files")
    looked_at("Send files")
    with cut_after_the_first_piece(page):
        hand.choose([good])
        hand.press("BUTTON", "Send")
        page.wait_for_selector("text=The line is broken")
    complaints.clear()
    page.reload()
    page.wait_for_selector("text=Not all here yet")
    looked_at("Send files")
    hand.choose([good])
    hand.press("BUTTON", "Send")
    page.wait_for_url("**/district/sent/*/")
    page.wait_for_selector("text=Waits to be checked")
    faults += faults_of(page, width, complaints)

    # the receipt follows it through the review to the live roster, by itself
    work_off()
    page.wait_for_selector("text=Waits for somebody at our end")
    staff = browser.new_context().new_page()
    log_in(staff, live_server, "alice")
    staff.goto(f"{live_server.url}/admin/rosters/sync/{Sync.objects.get().pk}/change/")
    staff.click("button:has-text('Approve')")
    work_off()
    staff.context.close()
    page.wait_for_selector("text=Looked at by somebody at our end, and let through.")
    page.wait_for_selector(".status:has-text('Applied')")
    faults += faults_of(page, width, complaints)
    hand.press("A", "Home")
    looked_at("Cedar Grove")
    page.wait_for_selector("text=A roster of yours is live.")

    # the first call
    hand.press("A", "Call")
    looked_at("The first call")
    hand.pick("slot", 0)
    hand.write("phone", "555 0100")
    hand.press("BUTTON", "Book the call")
    page.wait_for_selector("text=The call is booked for")
    faults += faults_of(page, width, complaints)
    first = page.inner_text("#booked + p time")
    hand.pick("slot", 2)
    hand.press("BUTTON", "Move the call")
    page.wait_for_selector("text=The call is moved to")
    assert page.inner_text("#booked + p time") != first
    assert [one.to[0] for one in mail.outbox[-2:]] == ["dana@cedar.test", "alice@portal.test"]
    context.close()
    assert not faults, faults
