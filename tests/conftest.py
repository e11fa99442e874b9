"""How every test runs: in a data folder of its own, on the database that was asked for, warnings as errors.

`pytest` runs everything on SQLite. `pytest --postgres` runs what touches a database again on a real PostgreSQL
(`tests/databases.py` finds or starts one). Nothing is left out in silence: what this machine cannot run is listed at
the end, and under CI=true it is a failure.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
import pytest
from django.conf import settings
from hypothesis import settings as tried

from tests.databases import NoServerError, Server, postgres_server

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff
    from playwright.sync_api import Browser, Page
    from pytest_django import DjangoDbBlocker, Settings

    from tests.journeys.trip import Trip

    Stands = Callable[[Path], Trip]
    Standing = Callable[[Callable[[Trip], object]], AbstractContextManager[Stands]]

CI = os.environ.get("CI", "").lower() in ("1", "true")
CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip

# Django reads its settings in `pytest_configure` below, not earlier: pytest is not told of them in pyproject.toml.
DATA_DIR = Path(tempfile.mkdtemp(prefix="roster-portal-tests-"))
for name in (
    "PORTAL_PRODUCTION", "SECRET_KEY", "PORTAL_ENCRYPTION_KEY", "PORTAL_DROP_DIR", "ALLOWED_HOSTS", "DEBUG", "PORT",
    "CACHE_URL",
):  # fmt: skip
    os.environ.pop(name, None)
os.environ.update(DJANGO_SETTINGS_MODULE="portal.settings", PORTAL_DATA_DIR=str(DATA_DIR))

# A test that fails because the machine is slow says nothing.
tried.register_profile("whatever the machine", deadline=None, max_examples=50)
tried.load_profile("whatever the machine")

_server: Server | None = None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--postgres", action="store_true", help="run what touches a database on a real PostgreSQL")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # a worker of pytest-xdist finds the database chosen by its parent
        choose_database(config)
    if not config.getoption("postgres"):
        # Each worker of pytest-xdist has a core, and small frames are asked for sooner by the thread that wants them.
        # On PostgreSQL polars has as many threads as it takes by itself.
        os.environ.setdefault("POLARS_MAX_THREADS", "1")
    django.setup()
    # A password is made slow to guess on purpose: half a second for each of the staff of each test.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def choose_database(config: pytest.Config) -> None:
    global _server
    if not config.getoption("postgres"):
        os.environ.pop("DATABASE_URL", None)
        return
    try:
        _server = postgres_server()
    except NoServerError as reason:
        pytest.exit(f"NOT RUN ON POSTGRESQL: {reason}", returncode=1 if CI else 0)
    os.environ["DATABASE_URL"] = _server.url


def pytest_report_header(config: pytest.Config) -> str:
    return f"database: {_server.origin}" if _server else "database: SQLite"


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is there before the first test stays to the last: the collector need not look at it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(DATA_DIR, ignore_errors=True)
    if _server:
        _server.stop()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --postgres, leave out what never touches a database, how pages look, which doors are open and what else is
    alike: they had SQLite's turn."""
    if not config.getoption("postgres"):
        return
    kept = [item for item in items if _touches_database(item) and not _is_alike(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def _is_alike(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in ("looks", "doors", "alike"))


def _touches_database(item: pytest.Item) -> bool:
    fixtures = set(getattr(item, "fixturenames", ()))
    marked = item.get_closest_marker("django_db") is not None
    return marked or bool(fixtures & {"db", "transactional_db", "live_server"})


def unavailable(what: str) -> None:
    """Say that this machine lacks `what`: the test is skipped and listed; under CI=true it fails instead."""
    if CI:
        pytest.fail(f"CI must provide {what}")
    pytest.skip(f"this machine has no {what}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    reasons: dict[str, int] = {}
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason] = reasons.get(reason, 0) + 1
    terminalreporter.section("NOT RUN ON THIS MACHINE", sep="!")
    for reason, count in reasons.items():
        terminalreporter.write_line(f"{count} test{'s' if count > 1 else ''}: {reason}")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """On SQLite, tests that commit are cleaned up with DELETE, which the audit trail refuses: so its guard is lifted
    here, and put back by the tests that are about it."""
    from django.db import connection

    with django_db_blocker.unblock():
        if connection.vendor == "sqlite":
            with connection.cursor() as cursor:
                cursor.execute("DROP TRIGGER IF EXISTS audit_no_update")
                cursor.execute("DROP TRIGGER IF EXISTS audit_no_delete")


@pytest.fixture
def data_dir(tmp_path: Path, settings: Settings) -> Path:
    """A data folder for this test alone."""
    settings.PORTAL_DATA_DIR = tmp_path
    settings.PORTAL_DROP_DIR = tmp_path / "drop"
    return tmp_path


@pytest.fixture(scope="module")
def standing(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Standing:
    """``with standing(build) as stands``: a district with what `build` does with its trip is made once and stands for
    all tests until the end of the block, usually a fixture of the module (`tests.journeys.trip.made_once`). A test
    calls ``stands(data_dir)`` for a trip of its own: it works in a transaction, as every test does, and in a copy of
    the files.

    Meanwhile all tests of that module see the district, also those that do not ask for it."""
    from django.db import transaction
    from django.test import override_settings

    from tests.journeys.trip import Trip

    @contextmanager
    def undone_at_the_end() -> Iterator[None]:
        everything = transaction.atomic()
        everything.__enter__()
        try:
            yield
        finally:
            with django_db_blocker.unblock():
                transaction.set_rollback(True)
                everything.__exit__(None, None, None)

    @contextmanager
    def stand(build: Callable[[Trip], object]) -> Iterator[Callable[[Path], Trip]]:
        folder = tmp_path_factory.mktemp("standing")
        with ExitStack() as until_the_end:
            with django_db_blocker.unblock(), override_settings(PORTAL_DATA_DIR=folder):
                until_the_end.enter_context(undone_at_the_end())
                (folder / "sent").mkdir()
                trip = Trip(folder / "sent", member_of_staff("alice", ""))
                build(trip)

            def own(data_dir: Path) -> Trip:
                shutil.copytree(folder, data_dir, dirs_exist_ok=True)
                return trip.again(data_dir / "sent")

            yield own

    return stand


def member_of_staff(name: str, group: str) -> Staff:
    """A member of staff in one of the groups viewer, reviewer, manager; "" for a superuser."""
    from django.contrib.auth.models import Group, User

    if found := User.objects.filter(username=name).first():
        return found
    person = User.objects.create_user(
        name, f"{name}@portal.test", f"{name}-password", is_staff=True, is_superuser=not group
    )
    if group:
        person.groups.add(Group.objects.get_or_create(name=group)[0])
    return person


@pytest.fixture
def make_staff(db: None) -> Callable[[str, str], Staff]:
    """`member_of_staff`."""
    return member_of_staff


@pytest.fixture
def alice(make_staff: Callable[[str, str], Staff]) -> Staff:
    """A superuser. Everybody's password is their name and "-password"."""
    return make_staff("alice", "")


@pytest.fixture
def rita(make_staff: Callable[[str, str], Staff]) -> Staff:
    """A reviewer."""
    return make_staff("rita", "reviewer")


@pytest.fixture
def vera(make_staff: Callable[[str, str], Staff]) -> Staff:
    """A viewer."""
    return make_staff("vera", "viewer")


@pytest.fixture
def manu(make_staff: Callable[[str, str], Staff]) -> Staff:
    """A manager."""
    return make_staff("manu", "manager")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A real Chromium, the one that the machine has; nothing is downloaded."""
    from playwright.sync_api import sync_playwright

    executable = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if executable is None:
        unavailable("Chromium for the tests of the pages")
    # Playwright runs an event loop in this thread, and Django would refuse to talk to its database beside one.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=executable, args=list(CHROMIUM_FLAGS))
            yield chromium
            chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page with cookies and storage of its own."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()
