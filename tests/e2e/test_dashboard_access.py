"""The page for everybody: contrast and labels, phones, and how little it takes to load it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # It ships no py.typed.
from playwright.sync_api import Browser, Page, expect

from tests.browser import NARROW, WIDE, tab
from tests.page_visits import submit, the_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

MOST_BYTES = 60_000
MOST_MS = 1_000


def sees(selector: str) -> Callable[[Page], None]:
    return lambda page: expect(page.locator(selector).first).to_be_visible()


def clicks(button: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_role("button", name=button).click()


def presses(key: str) -> Callable[[Page], None]:
    def press(page: Page) -> None:
        expect(page.locator("h1")).to_be_visible()
        page.keyboard.press(key)
        expect(page.get_by_role("dialog")).to_be_visible()

    return press


# Each view of the page: the address, and what shows that one is there, or how one comes there.
VIEWS: Mapping[str, tuple[str, Callable[[Page], None]]] = {
    "list": ("", sees(".body .row")),
    "filtered list": ("#/?status=failed&type=test.fail&label=view=all", sees(".body .row")),
    "empty list": ("#/?type=none", sees(".nothing")),
    "failed task": ("#/tasks/{failed}", sees(".event[data-event=FAILED]")),
    "task with a result": ("#/tasks/{succeeded}", sees("[aria-label=Result] .literal")),
    "question before a cancel": ("#/tasks/{held}", clicks("Cancel task")),
    "queues and workers": ("#/system", sees("tr[data-worker]")),
    "form": ("#/submit", clicks("Add a label")),
    "form with complaints": ("#/submit", clicks("Submit task")),
    "help": ("#/tasks/{failed}", presses("?")),
}


@pytest.fixture(scope="module")
def tasks(page_stack: Stack) -> Iterator[dict[str, str]]:
    gate = page_stack.gate()
    labels = {"view": "all"}
    yield {
        "failed": submit(page_stack, "test.fail", labels=labels),
        "succeeded": submit(page_stack, "test.steps", {"steps": 3}, labels=labels),
        "held": submit(page_stack, "test.hold", {"gate": str(gate)}, labels=labels),
        "waiting": submit(page_stack, "test.echo", queue="nobody-there", labels=labels),
    }
    gate.open()


def visit(page: Page, stack: Stack, view: str, tasks: Mapping[str, str]) -> None:
    path, arrive = VIEWS[view]
    page.goto("about:blank")
    page.goto(the_page(stack, path.format(**tasks)))
    arrive(page)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_view_has_a_flaw_that_axe_finds(
    page_stack: Stack, chromium: Browser, tasks: Mapping[str, str], theme: str
) -> None:
    with tab(chromium, theme=theme) as page:
        found = {}
        for view in VIEWS:
            visit(page, page_stack, view, tasks)
            results = Axe().run(page)
            if results.violations_count:
                found[view] = results.generate_report()
    assert not found, "\n\n".join(f"{view}: {report}" for view, report in found.items())


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_no_view_scrolls_sideways(
    page_stack: Stack, chromium: Browser, tasks: Mapping[str, str], size: tuple[int, int]
) -> None:
    with tab(chromium, size=size) as page:
        wider = {}
        for view in VIEWS:
            visit(page, page_stack, view, tasks)
            width = page.evaluate(
                "Math.max(...[document.documentElement, document.body, document.querySelector('main')]"
                ".map(each => each.scrollWidth))"
            )
            if width > size[0]:
                wider[view] = width
    assert not wider


def test_the_page_is_small_and_ready_within_a_second(
    page_stack: Stack, chromium: Browser, tasks: Mapping[str, str]
) -> None:
    loaded: list[tuple[str, int]] = []
    times: list[float] = []
    for _ in range(3):
        with tab(chromium) as page:
            page.goto(the_page(page_stack), wait_until="commit")
            expect(page.locator(f'[data-task="{tasks["waiting"]}"]')).to_be_visible()
            times.append(page.evaluate("performance.now()"))
            loaded = page.evaluate(
                "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
                ".filter(each => !each.name.includes('/stream')).map(each => [each.name, each.transferSize])"
            )
    size = sum(transferred for _, transferred in loaded)
    print(f"\n{size / 1000:.1f} kB in {len(loaded)} requests; the list is there after {min(times):.0f} ms at best")
    assert 0 < size < MOST_BYTES, loaded
    assert min(times) < MOST_MS, times
    assert all(name.startswith(page_stack.gateways[0].http) for name, _ in loaded)


def test_the_colours_can_be_chosen_and_are_remembered(page_stack: Stack, chromium: Browser) -> None:
    with tab(chromium) as page:
        page.goto(the_page(page_stack, "#/submit"))
        light = background(page)
        page.get_by_role("button", name="Colours: as the system").click()
        page.get_by_role("button", name="Colours: light").click()
        assert background(page) != light
        page.reload()
        expect(page.get_by_role("button", name="Colours: dark")).to_be_visible()
        assert background(page) != light


def background(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
