"""The page in a real browser, on a real gateway and worker: what an operator does, and what happens meanwhile."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser import CONNECTION_LOST, REFUSED, tab
from tests.deadlines import eventually
from tests.http_client import HttpClient
from tests.page_visits import submit, the_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.stack import Stack

NOTE_PROGRESS = """() => {
    window.seen = [];
    const bar = document.querySelector(".headline [role=progressbar]");
    const note = () => window.seen.push(Number(bar.ariaValueNow));
    new MutationObserver(note).observe(bar, { attributes: true });
}"""

SET_HIDDEN = """(hidden) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    with tab(chromium) as page:
        yield page


def row(page: Page, task_id: str) -> Locator:
    return page.locator(f'[data-task="{task_id}"]')


def percent(bar: Locator) -> int:
    return int(bar.get_attribute("aria-valuenow") or 0)


def mark(page: Page) -> Callable[[], bool]:
    """A look whether the page is still the one that it is now, not loaded anew."""
    page.evaluate("window.unloaded = false")
    return lambda: page.evaluate("window.unloaded === false")


def test_a_task_submitted_in_the_page_is_followed_to_its_result_without_a_reload(page_stack: Stack, page: Page) -> None:
    page.goto(the_page(page_stack))
    same_page = mark(page)
    page.get_by_role("link", name="New task").click()
    page.get_by_label("Type").fill("test.steps")
    page.get_by_label("Payload").fill('{"steps": 30,\n "pause": 0.1,}')
    page.get_by_role("button", name="Submit task").click()
    expect(page.get_by_text("Line 2, column 15: there is a comma before }.")).to_be_visible()
    page.get_by_label("Payload").fill('{"steps": 30, "pause": 0.1}')
    page.get_by_text("High", exact=True).click()
    page.get_by_role("button", name="Add a label").click()
    page.get_by_role("textbox", name="Label", exact=True).fill("team")
    page.get_by_label("Value of the label").fill("blue")
    page.get_by_role("button", name="Submit task").click()

    expect(page.get_by_role("progressbar")).to_be_visible()
    page.evaluate(NOTE_PROGRESS)
    expect(page.locator(".headline .status")).to_have_text("Success")
    seen = page.evaluate("window.seen")
    assert len(set(seen)) > 5, f"the bar stood at {seen}"
    assert seen == sorted(seen)
    assert json.loads(page.get_by_role("region", name="Result").inner_text()) == {"steps": 30, "attempt": 1}
    assert json.loads(page.get_by_role("region", name="Payload").inner_text()) == {"steps": 30, "pause": 0.1}
    facts = page.get_by_label("Facts")
    expect(facts).to_contain_text("team=blue")
    expect(facts).to_contain_text("High")
    expect(page.get_by_label("Timeline")).to_contain_text("33 events")
    assert same_page()


def test_what_the_server_has_against_a_task_stands_beside_its_field(page_stack: Stack, chromium: Browser) -> None:
    with tab(chromium, forgiven=REFUSED) as page:
        page.goto(the_page(page_stack, "#/submit"))
        page.get_by_role("button", name="Submit task").click()
        expect(page.get_by_text("Say which handler should run.")).to_be_visible()
        page.get_by_label("Type").fill("no spaces please")
        page.get_by_role("button", name="Submit task").click()
        expect(page.locator(".field.wrong")).to_contain_text("It must start with a letter or digit")
        expect(page.get_by_label("Type")).to_be_focused()
        page.get_by_label("Payload").fill("{")
        page.evaluate("location.hash = '#/'")
        expect(page.get_by_role("table")).to_be_visible()


def test_a_running_task_is_cancelled_with_a_reason(page_stack: Stack, page: Page) -> None:
    task_id = submit(page_stack, "test.hold", {"gate": str(page_stack.gate())})
    page.goto(the_page(page_stack, f"#/tasks/{task_id}"))
    expect(page.locator(".headline .status")).to_have_text("Processing")
    page.get_by_role("button", name="Cancel task").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("the wrong month")
    dialog.get_by_role("button", name="Cancel task").click()
    expect(page.locator(".headline .status")).to_have_text("Cancelled")
    expect(page.locator(".headline")).to_contain_text("the wrong month")
    expect(page.get_by_role("button", name="Cancel task")).to_have_count(0)
    eventually(lambda: page_stack.noted(task_id, "told"), within=10, what="the handler to be told")


def test_a_failed_task_is_retried_as_a_new_one_that_names_it(page_stack: Stack, page: Page) -> None:
    task_id = submit(page_stack, "test.fail")
    page.goto(the_page(page_stack, f"#/tasks/{task_id}"))
    expect(page.locator(".headline .status")).to_have_text("Failed")
    expect(page.locator(".headline")).to_contain_text("NO_LUCK")
    expect(page.locator(".headline")).to_contain_text("there is nothing to be done")
    page.get_by_role("button", name="Retry as a new task").click()
    page.wait_for_url(lambda url: "#/tasks/" in url and task_id not in url)
    expect(page.locator(".headline .status")).to_have_text("Failed")
    page.get_by_label("Facts").get_by_role("link", name=task_id[-12:]).click()
    expect(page.locator(".task-id")).to_have_text(task_id)


def test_the_list_shows_new_tasks_and_their_progress_as_they_come(page_stack: Stack, page: Page) -> None:
    page.goto(the_page(page_stack, "#/?label=list=live"))
    expect(page.get_by_text("No task matches.")).to_be_visible()
    same_page = mark(page)
    task_id = submit(page_stack, "test.steps", {"steps": 40, "pause": 0.05}, labels={"list": "live"})
    bar = row(page, task_id).get_by_role("progressbar")
    expect(bar).to_be_visible()
    early = percent(bar)
    eventually(lambda: not bar.count() or percent(bar) > early, within=10, what="the bar to move")
    expect(row(page, task_id).locator(".status")).to_have_text("Success")
    assert same_page()


def test_filters_by_type_queue_label_and_status_stand_in_the_address_and_hold_while_tasks_change(
    page_stack: Stack, page: Page
) -> None:
    gate = page_stack.gate()
    held = submit(page_stack, "test.hold", {"gate": str(gate)}, labels={"color": "red", "kind": "x"})
    echo = submit(page_stack, "test.echo", 1, labels={"color": "red"})
    other = submit(page_stack, "test.echo", 1, labels={"color": "green"})
    waiting = submit(page_stack, "test.echo", 1, queue="nobody-there", labels={"color": "red"})
    page.goto(the_page(page_stack))
    expect(row(page, other)).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("color=red")
    page.keyboard.press("Enter")
    expect(row(page, other)).to_have_count(0)
    assert {held, echo, waiting} == tasks_shown(page)
    page.keyboard.type("queue:nobody-there")
    page.keyboard.press("Enter")
    expect(row(page, held)).to_have_count(0)
    assert tasks_shown(page) == {waiting}
    page.get_by_role("button", name="Remove the filter queue:nobody-there").click()
    page.get_by_label("Filter by type").fill("test.hold")
    page.keyboard.press("Enter")
    expect(row(page, echo)).to_have_count(0)
    page.get_by_role("button", name="Processing").click()
    expect(row(page, held)).to_be_visible()
    assert page.url.endswith("#/?status=processing&type=test.hold&label=color%3Dred")
    page.reload()
    expect(row(page, held).locator(".status")).to_have_text("Processing")
    gate.open()
    expect(row(page, held)).to_have_count(0)
    page.get_by_role("button", name="Clear").click()
    expect(row(page, held).locator(".status")).to_have_text("Success")


def tasks_shown(page: Page) -> set[str]:
    return {str(task) for task in page.eval_on_selector_all("[data-task]", "rows => rows.map(row => row.dataset.task)")}


def test_the_keys_walk_the_list_open_a_task_and_lead_back(page_stack: Stack, page: Page) -> None:
    ids = [submit(page_stack, "test.echo", number, labels={"walk": "keys"}) for number in range(3)]
    page.goto(the_page(page_stack, "#/?label=walk=keys"))
    expect(row(page, ids[0])).to_be_visible()
    page.keyboard.press("j")
    expect(row(page, ids[2]).get_by_role("link")).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(row(page, ids[1]).get_by_role("link")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".task-id")).to_have_text(ids[1])
    page.keyboard.press("Escape")
    expect(row(page, ids[1])).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Filter the list")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("/")
    expect(page.get_by_label("Filter by type")).to_be_focused()
    page.keyboard.type(ids[0])
    page.keyboard.press("Enter")
    expect(page.locator(".task-id")).to_have_text(ids[0])


def test_a_paused_list_stands_still_and_catches_up_when_resumed(page_stack: Stack, page: Page) -> None:
    first = submit(page_stack, "test.echo", labels={"stand": "still"})
    page.goto(the_page(page_stack, "#/?label=stand=still"))
    expect(row(page, first).locator(".status")).to_have_text("Success")
    page.get_by_role("button", name="Pause").click()
    second = submit(page_stack, "test.echo", labels={"stand": "still"})
    expect(page.get_by_role("button", name="Resume")).to_contain_text(re.compile(r"\d changes? held back"))
    expect(row(page, second)).to_have_count(0)
    page.get_by_role("button", name="Resume").click()
    expect(row(page, second).locator(".status")).to_have_text("Success")


def test_the_page_outlives_the_loss_of_its_server_and_misses_nothing(page_stack: Stack, chromium: Browser) -> None:
    gate = page_stack.gate()
    held = submit(page_stack, "test.hold", {"gate": str(gate), "report": True}, labels={"lost": "server"})
    with (
        tab(chromium, forgiven=CONNECTION_LOST) as listed,
        tab(chromium, forgiven=CONNECTION_LOST) as told,
    ):
        listed.goto(the_page(page_stack, "#/?label=lost=server"))
        told.goto(the_page(page_stack, f"#/tasks/{held}"))
        expect(row(listed, held).locator(".status")).to_have_text("Processing")
        expect(told.locator(".headline .status")).to_have_text("Processing")
        pages = [(listed, mark(listed)), (told, mark(told))]
        page_stack.gateways[0].kill()
        for page, _ in pages:
            expect(page.locator("[data-link=lost]")).to_be_visible()
        expect(row(listed, held)).to_be_visible()
        gate.open()
        page_stack.gateways[0].start()
        unseen = submit(page_stack, "test.echo", labels={"lost": "server"})
        for page, same_page in pages:
            expect(page.locator("[data-link=lost]")).to_have_count(0)
            assert same_page()
        expect(row(listed, held).locator(".status")).to_have_text("Success")
        expect(row(listed, unseen).locator(".status")).to_have_text("Success")
        expect(told.locator(".headline .status")).to_have_text("Success")
        task: dict[str, Any] = HttpClient(page_stack.gateways[0].http_address).get(f"/tasks/{held}").json["task"]
        expect(told.get_by_label("Timeline")).to_contain_text(f"{int(task['sequence']):,} events")


def test_after_a_sleep_of_the_machine_the_list_is_read_again(page_stack: Stack, page: Page) -> None:
    page.clock.install()
    page.goto(the_page(page_stack))
    expect(page.locator("[data-link=live]")).to_be_visible()
    with page.expect_request(lambda asked: "/stream" in asked.url), page.expect_request("**/tasks?*"):
        page.clock.fast_forward("05:00")
    expect(page.locator("[data-link=live]")).to_be_visible()


def test_a_tab_that_is_hidden_for_long_gives_its_connection_back_and_catches_up_when_it_is_seen(
    page_stack: Stack, page: Page
) -> None:
    page.clock.install()
    page.goto(the_page(page_stack, "#/?label=hidden=tab"))
    expect(page.locator("[data-link=live]")).to_be_visible()
    with page.expect_event("requestfailed", lambda request: "/stream" in request.url):
        page.evaluate(SET_HIDDEN, arg=True)
        page.clock.fast_forward("00:31")
    unseen = submit(page_stack, "test.echo", labels={"hidden": "tab"})
    page.evaluate(SET_HIDDEN, arg=False)
    expect(row(page, unseen).locator(".status")).to_have_text("Success")


def test_queues_and_workers_are_shown_with_what_ended_lately(page_stack: Stack, page: Page) -> None:
    submit(page_stack, "test.echo")
    page.goto(the_page(page_stack, "#/system"))
    expect(page.locator('[data-queue="default"]')).to_be_visible()
    expect(page.get_by_role("region", name="Workers")).to_contain_text("test.echo")
    expect(page.get_by_role("img", name=re.compile("Finished over the last 10 minutes: succeeded"))).to_be_visible()
    expect(page.locator('.bars[data-tone="good"]')).to_have_attribute("d", re.compile("M"))
