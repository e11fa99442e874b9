"""How a page looks and whether everybody can use it: at a desk and on a phone, by day and by night, with the keyboard.

With SHOTS=folder in the environment, every page that is looked at is left there as a picture.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

#: (address, rule, where)
Fault = tuple[str, str, str]
Way = tuple[int, Literal["light", "dark"]]

#: At a desk by day, and on a phone at night.
WAYS: Final[tuple[Way, Way]] = ((1280, "light"), (390, "dark"))
OTHER_WAYS: Final[tuple[Way, Way]] = ((1280, "dark"), (390, "light"))

#: What stands right need not be told of. Targets of 24 pixels (WCAG 2.2, 2.5.8) are not asked for by default.
_ASKED: Final = {
    "resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}, "preload": False, "iframes": False,
}  # fmt: skip


def log_in(page: Page, live_server: LiveServer, name: str) -> list[str]:
    """Log in as `name`; returns the list into which the browser's complaints are written from here on."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{live_server.url}/admin/")
    page.fill("#id_username", name)
    page.fill("#id_password", f"{name}-password")
    page.click("input[type=submit]")
    return complaints


def must_fit(page: Page, width: int, complaints: list[str]) -> None:
    """A page is no wider than `width`, also where it is unfolded, and the browser has nothing to complain of."""
    page.wait_for_load_state()  # a click waits until the next page has begun, not until it is there
    page.evaluate("document.querySelectorAll('details').forEach((folded) => { folded.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{page.url} is wider than {width}"
    # Nothing is removed or made beside a choice among what there is.
    assert not page.locator(".related-widget-wrapper-link:visible").count(), page.url
    assert not complaints, (page.url, complaints)


def faults_of(page: Page, width: int, complaints: list[str]) -> list[Fault]:
    """What axe finds serious on a page, which must fit."""
    must_fit(page, width, complaints)  # before axe, which breaks our content policy itself
    found = _axe(page)
    complaints.clear()
    return found


def faults_in_both(
    page: Page, complaints: list[str], ways: tuple[Way, Way] = WAYS, *, turn: int | None = None
) -> list[Fault]:
    """What axe finds serious on a page that stands open, seen in one way and in the other, in both of which it must
    fit. With `turn`, axe, which takes most of the time, looks at it in only one of them: at the next page in the
    other."""
    found = []
    seen = [*enumerate(ways)]
    if page.viewport_size and page.viewport_size["width"] == ways[1][0]:
        seen.reverse()  # as it is already, first
    for number, (width, scheme) in seen:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # colours take their time to change
        must_fit(page, width, complaints)
        _picture(page, width)
        if turn is None or turn % 2 == number:
            found += _axe(page)
            complaints.clear()
    return found


def _axe(page: Page) -> list[Fault]:
    found: dict[str, Any]
    if page.evaluate("'axe' in window"):
        found = page.evaluate("(asked) => axe.run(asked)", _ASKED)
    else:
        found = Axe().run(page, options=_ASKED).response
    serious = [each for each in found["violations"] if each["impact"] in ("critical", "serious")]
    return [(page.url, each["id"], each["nodes"][0]["html"][:160]) for each in serious]


def _picture(page: Page, width: int) -> None:
    if folder := os.environ.get("SHOTS"):
        address = urlsplit(page.url)
        name = re.sub(r"\W+", "-", f"{address.path}?{address.query}").strip("-") or "root"
        page.screenshot(path=Path(folder) / f"{name}-{width}.png", full_page=True)


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the button or field of this name has the focus, which must show."""
    for _ in range(400):
        page.keyboard.press("Tab")
        has = page.evaluate(
            "(() => { const at = document.activeElement; const shows = getComputedStyle(at).outlineStyle !== 'none';"
            "return [at.tagName + ' ' + (at.name || at.textContent.trim()), shows]; })()"
        )
        if str(has[0]).startswith(name):
            assert has[1], f"{name} has the focus, but nothing shows it"
            return
    pytest.fail(f"{name} cannot be reached with Tab")
