"""A real browser for tests of the page, and what a test wants to know of it."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.servers import ensure_browser

if TYPE_CHECKING:
    from collections.abc import Iterator

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 15_000
"""How long anything may take to appear: the machine may have much else to do."""

WIDE = (1400, 860)
NARROW = (360, 740)

# What Chromium itself says on the console, and no page can keep it from that.
CONNECTION_LOST = r"net::ERR_(CONNECTION_\w+|INCOMPLETE_CHUNKED_ENCODING|EMPTY_RESPONSE|NETWORK_CHANGED)"
REFUSED = r"the server responded with a status of 400"


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium without a window, for as long as the context lasts."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=ensure_browser(), args=ARGUMENTS)
        try:
            yield chromium
        finally:
            chromium.close()


@contextmanager
def tab(chromium: Browser, *, size: tuple[int, int] = WIDE, theme: str = "light", forgiven: str = "") -> Iterator[Page]:
    """A page in a profile of its own. `forgiven`: a pattern of what the test makes the browser complain of.

    Raises:
        AssertionError: when left, if the page has complained on the console, or an error went uncaught.
    """
    context = chromium.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if theme == "dark" else "light",
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        expected = forgiven and re.search(forgiven, message.text)
        if message.type in ("error", "warning") and not expected:
            complaints.append(f"{message.type}: {message.text} ({message.location})")

    page.on("console", heard)
    page.on("pageerror", lambda error: complaints.append(f"uncaught: {error}"))
    try:
        yield page
    finally:
        context.close()
    assert not complaints, complaints
