"""`worker_service.testing`, which handlers' authors use in their tests."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from shared.json_values import NotJsonError
from worker_service import RetryLater, TaskContext, TaskFailed, task
from worker_service.command_file import read_command_file
from worker_service.testing import EventType, TaskStatus, run_handler

if TYPE_CHECKING:
    from pathlib import Path


@task("report.render", max_attempts=2, initial_backoff=10, jitter=0)
async def render(ctx: TaskContext, payload: Any) -> dict[str, Any]:
    if not payload:
        raise TaskFailed("EMPTY", "There is nothing to render.")
    if payload.get("later"):
        raise RetryLater(after=payload["later"])
    for page in range(payload["pages"]):
        await ctx.progress(completed=page + 1, total=payload["pages"])
    return {"pages": payload["pages"], "attempt": ctx.attempt, "for": ctx.labels.get("customer")}


@task("report.count")
def count(ctx: TaskContext, payload: list[Any]) -> Any:
    for _ in payload:
        ctx.progress(message="counting")
    return len(payload)


@task("report.crash", isolation="process", max_attempts=1)
def crash(ctx: TaskContext, payload: Any) -> Any:
    raise ValueError(payload)


async def test_a_handler_s_events_and_result_are_those_of_its_task() -> None:
    ran = await run_handler(render, {"pages": 3}, labels={"customer": "acme"})
    assert ran.status is TaskStatus.SUCCESS
    assert ran.result == {"pages": 3, "attempt": 1, "for": "acme"}
    assert [event.type for event in ran.events] == [
        EventType.STARTED,
        *[EventType.PROGRESSED] * 3,
        EventType.SUCCEEDED,
    ]
    assert [progress.completed for progress in ran.progress] == [1, 2, 3]
    assert (ran.error, ran.retry_after) == (None, None)


async def test_a_handler_in_a_thread_is_run_likewise() -> None:
    ran = await run_handler(count, [1, 2, 3])
    assert (ran.status, ran.result, len(ran.progress)) == (TaskStatus.SUCCESS, 3, 3)


async def test_a_failure_for_good_a_wish_for_another_try_and_an_exception_are_told_apart() -> None:
    failed = await run_handler(render, None)
    later = await run_handler(render, {"later": 1.5})
    raised = await run_handler(render, {"pages": "many"})
    crashed = await run_handler(crash, "boom")

    assert failed.status is TaskStatus.FAILED
    assert failed.error is not None
    assert failed.error.code == "EMPTY"
    assert (later.status, later.retry_after) == (TaskStatus.WAITING, 1.5)
    assert (raised.status, raised.retry_after) == (TaskStatus.WAITING, 10)
    assert raised.error is not None
    assert raised.error.code == "UNHANDLED_EXCEPTION"
    assert crashed.status is TaskStatus.ERROR, "it was the only attempt"
    assert crashed.error is not None
    assert crashed.error.message == "ValueError: boom"


async def test_the_last_attempt_ends_the_task() -> None:
    ran = await run_handler(render, {"pages": "many"}, attempt=2)
    assert ran.status is TaskStatus.ERROR
    assert ran.events[0].attempt == 2
    with pytest.raises(ValueError, match="attempt is 3, the handler allows 1 to 2"):
        await run_handler(render, {}, attempt=3)


async def test_what_json_cannot_hold_is_refused_as_payload_and_an_error_as_result() -> None:
    with pytest.raises(NotJsonError, match="payload is a set"):
        await run_handler(render, {1, 2})

    @task("bad.result")
    def bad(ctx: TaskContext, payload: Any) -> Any:
        return {1, 2}

    ran = await run_handler(bad)
    assert ran.error is not None
    assert (ran.status, ran.error.code) == (TaskStatus.ERROR, "RESULT_NOT_JSON")


@task("endless.async")
async def endless(ctx: TaskContext, payload: Any) -> None:
    while True:
        await ctx.progress(message="still here")


@task("endless.thread")
def endless_in_a_thread(ctx: TaskContext, payload: Any) -> None:
    while True:
        ctx.progress(message="still here")
        time.sleep(0.001)


@pytest.mark.parametrize("handler", [endless, endless_in_a_thread])
async def test_a_cancelled_handler_ends_at_its_next_report(handler: Any) -> None:
    async with asyncio.timeout(10):
        ran = await run_handler(handler, cancel_after_reports=3)
    assert ran.status is TaskStatus.CANCELLED
    assert len(ran.progress) == 3
    assert ran.events[-1].type is EventType.CANCELLED


async def test_a_handler_that_goes_on_after_the_cancellation_changes_nothing() -> None:
    @task("stubborn")
    async def stubborn(ctx: TaskContext, payload: Any) -> str:
        try:
            await ctx.progress(percent=10)
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await ctx.progress(percent=20)
        return "too late"

    ran = await run_handler(stubborn, cancel_after_reports=1)
    assert (ran.status, ran.result, len(ran.progress)) == (TaskStatus.CANCELLED, None, 1)


async def test_a_command_is_run_likewise(tmp_path: Path) -> None:
    file = tmp_path / "handlers.toml"
    script = """read -r n; echo '{"progress": {"percent": 50}}'; printf '{"result": %s}' $((n + 1))"""
    file.write_text(f"[[handler]]\ntype = 'add'\ncommand = {json.dumps(['sh', '-c', script])}\n", encoding="utf-8")
    [handler] = read_command_file(str(file))
    ran = await run_handler(handler, 41)
    assert (ran.status, ran.result) == (TaskStatus.SUCCESS, 42), ran.error
    assert [progress.percent for progress in ran.progress] == [50.0]
