"""The page with ten thousand tasks in its list and hundreds of events a second: does it stay smooth?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser import tab
from tests.deadlines import eventually
from tests.e2e.scripted_page_server import ScriptedPageServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

TASKS = 10_000
EVENTS_PER_SECOND = 500
ROW_HEIGHT = 36

MEASURE = """async (seconds) => {
    const frames = [];
    const end = performance.now() + 1000 * seconds;
    let last = await new Promise(requestAnimationFrame);
    while (last < end) {
        const now = await new Promise(requestAnimationFrame);
        frames.push(now - last);
        last = now;
    }
    return frames.sort((one, other) => one - other);
}"""


@pytest.mark.parametrize("seconds", [4, pytest.param(20, marks=pytest.mark.soak)])
def test_ten_thousand_tasks_and_five_hundred_events_a_second_leave_the_page_smooth(
    chromium: Browser, seconds: int
) -> None:
    with ScriptedPageServer(tasks=TASKS, rate=EVENTS_PER_SECOND) as server, tab(chromium) as page:
        page.goto(server.url)
        load_all(page)
        sent = server.sent
        frames = page.evaluate(MEASURE, seconds)
        rate = (server.sent - sent) / seconds
        shown = page.locator(".scroller .row").count()
        typical, slow, slowest = (frames[int(part * (len(frames) - 1))] for part in (0.5, 0.95, 1))
        print(
            f"\n{len(frames) / seconds:.0f} frames a second at {rate:.0f} events a second: "
            f"median {typical:.1f} ms, 95 % {slow:.1f} ms, longest {slowest:.0f} ms; {shown} rows drawn"
        )
        assert rate > 0.9 * EVENTS_PER_SECOND, "the server did not keep up"
        assert shown < 100
        assert typical < 25
        assert slow < 100


def load_all(page: Page) -> None:
    """Scroll down until the last of the tasks has been read."""

    def at_the_end() -> bool:
        page.evaluate("document.querySelector('.scroller').scrollTo(0, 1e9)")
        height: int = page.evaluate("document.querySelector('.body').offsetHeight")
        return height >= TASKS * ROW_HEIGHT

    eventually(at_the_end, within=60, what="all tasks to be in the list")
    page.evaluate("document.querySelector('.scroller').scrollTo(0, 0)")
