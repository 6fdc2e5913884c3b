"""Handlers in every place where they run, through the whole system."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.duration_pb2 import Duration

from taskcast.v1 import task_pb2
from tests.clients import calling, expect_whole_history, plain
from tests.deadlines import eventually_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.clients import Caller
    from tests.stack import Noted, Stack

pytestmark = pytest.mark.e2e

SUCCESS = task_pb2.TASK_STATUS_SUCCESS
ERROR = task_pb2.TASK_STATUS_ERROR
CANCELLED = task_pb2.TASK_STATUS_CANCELLED

EVERYWHERE = ["any.loop", "any.thread", "any.process", "any.process.async", "any.command"]
OUTSIDE = ["any.process", "any.process.async", "any.command"]


@pytest.fixture(name="caller")
async def _caller(standing_stack: Stack) -> AsyncIterator[Caller]:
    async with calling(standing_stack.address) as caller:
        yield caller


async def _run(caller: Caller, type_: str, payload: object = None, **fields: Any) -> task_pb2.Task:
    """The task once it has ended, its history checked."""
    task = await caller.submit(type_, payload, **fields)
    watched = await caller.watch(task.id)
    finished = await caller.get(task.id)
    expect_whole_history(watched, finished)
    return finished


async def _run_everywhere(caller: Caller, types: Sequence[str], payload: object) -> list[task_pb2.Task]:
    return await asyncio.gather(*(_run(caller, type_, payload) for type_ in types))


async def _noted(stack: Stack, task_id: str, what: str) -> Noted:
    async def look() -> list[Noted]:
        return stack.noted(task_id, what)

    return (await eventually_async(look, within=10, what=f"a handler of {task_id} to note {what!r}"))[0]


async def test_progress_and_result_travel_from_the_handler_to_the_watcher(caller: Caller) -> None:
    payload = {"do": "return", "value": {"päges": [1, 2.5, None, "x" * 70_000]}, "steps": 3}
    for finished in await _run_everywhere(caller, EVERYWHERE, payload):
        assert finished.status == SUCCESS, finished.type
        assert plain(finished.result) == payload["value"]
        assert (finished.progress.completed, finished.progress.total, finished.progress.percent) == (3, 3, 100.0)
        assert finished.progress.message == "step 3"


async def test_a_handler_may_fail_for_good_ask_for_another_try_or_raise(caller: Caller) -> None:
    for failed in await _run_everywhere(caller, EVERYWHERE, {"do": "fail"}):
        assert (failed.status, failed.attempt) == (task_pb2.TASK_STATUS_FAILED, 1), failed.type
        assert (failed.error.code, failed.error.message) == ("NO_LUCK", "there is nothing to be done")
    for later in await _run_everywhere(caller, EVERYWHERE, {"do": "later", "after": 0.1}):
        assert (later.status, later.attempt) == (SUCCESS, 2), later.type
        assert later.attempts[0].error.code == "RETRY_LATER"
    for boom in await _run_everywhere(caller, EVERYWHERE, {"do": "boom"}):
        assert (boom.status, boom.attempt) == (ERROR, 2), boom.type


@pytest.mark.parametrize(
    ("payload", "code", "attempts"),
    [
        ({"do": "nan"}, "RESULT_NOT_JSON", 1),
        ({"do": "large", "bytes": (1 << 20) + 1}, "RESULT_TOO_LARGE", 1),
        ({"do": "nonsense progress"}, "UNHANDLED_EXCEPTION", 2),
    ],
    ids=["not JSON", "too large", "nonsense progress"],
)
async def test_what_cannot_be_kept_ends_in_a_clear_error(
    caller: Caller, payload: object, code: str, attempts: int
) -> None:
    for finished in await _run_everywhere(caller, EVERYWHERE, payload):
        # A program that says nonsense would say it again.
        nonsense = finished.type == "any.command" and code == "UNHANDLED_EXCEPTION"
        expected = ("BAD_OUTPUT", 1) if nonsense else (code, attempts)
        assert finished.status == ERROR, finished.type
        assert (finished.error.code, finished.attempt) == expected, finished.type
        assert finished.error.message


@pytest.mark.parametrize(
    ("payload", "said"),
    [({"do": "exit", "code": 7}, "exit code 7"), ({"do": "signal", "name": "SIGSEGV"}, "SIGSEGV")],
    ids=["exit", "segfault"],
)
async def test_a_process_that_ends_by_itself_uses_up_an_attempt_and_the_error_says_how(
    caller: Caller, payload: object, said: str
) -> None:
    for finished in await _run_everywhere(caller, OUTSIDE, payload):
        assert (finished.status, finished.attempt) == (ERROR, 2), finished.type
        assert [attempt.error.code for attempt in finished.attempts] == ["PROCESS_EXITED"] * 2
        assert said in finished.error.message


async def test_after_a_crash_the_next_attempt_and_all_other_tasks_succeed(caller: Caller) -> None:
    crashing, others = await asyncio.gather(
        _run_everywhere(caller, OUTSIDE * 2, {"do": "exit once"}),
        _run_everywhere(caller, EVERYWHERE * 2, {"do": "return", "value": 1}),
    )
    assert {(task.status, task.attempt) for task in crashing} == {(SUCCESS, 2)}
    assert {(task.status, task.attempt) for task in others} == {(SUCCESS, 1)}


async def test_a_cancelled_handler_is_told_and_is_never_run_again(standing_stack: Stack, caller: Caller) -> None:
    async def one(type_: str) -> None:
        task = await caller.submit(type_, {"do": "hold", "gate": str(standing_stack.gate())})
        await _noted(standing_stack, task.id, "ran")
        await caller.cancel(task.id, "no longer wanted")
        await _noted(standing_stack, task.id, "told")
        watched = await caller.watch(task.id)
        finished = await caller.get(task.id)

        assert (finished.status, finished.attempt) == (CANCELLED, 1), type_
        assert finished.cancel_reason == "no longer wanted"
        assert watched.types == ["SUBMITTED", "STARTED", "CANCELLED"]
        expect_whole_history(watched, finished)
        assert len(standing_stack.noted(task.id, "ran")) == 1

    await asyncio.gather(*(one(type_) for type_ in EVERYWHERE))


async def test_a_result_that_comes_after_the_cancellation_changes_nothing(
    standing_stack: Stack, caller: Caller
) -> None:
    async def one(type_: str) -> None:
        gate = standing_stack.gate()
        task = await caller.submit(type_, {"do": "ignore", "gate": str(gate)})
        await _noted(standing_stack, task.id, "ran")
        await caller.cancel(task.id, "enough")
        before = await caller.get(task.id)
        gate.open()
        # A later task of every worker: whatever the handler said before is through by then.
        for _ in range(4):
            await _run(caller, type_, {"do": "return"})
        after = await caller.get(task.id)

        assert after == before, type_
        assert after.cancel_reason == "enough"
        assert len(standing_stack.noted(task.id, "ran")) <= 2, "one line a holding, one a return"

    await asyncio.gather(*(one(type_) for type_ in EVERYWHERE))


async def test_an_attempt_that_times_out_is_killed_though_its_handler_ignores_it(own_stack: Stack) -> None:
    own_stack.new_worker(WORKER_KILL_GRACE_SECONDS="0.3", WORKER_CONCURRENCY="2")
    own_stack.start(gateways=1, workers=0)
    async with calling(own_stack.address) as caller:
        payload = {"do": "ignore", "gate": str(own_stack.gate())}
        stuck = [
            await caller.submit(
                type_,
                payload,
                # A child process may take long to start on a machine that has much to do.
                attempt_timeout=Duration(seconds=3),
                retry_policy=task_pb2.RetryPolicy(max_attempts=1),
            )
            for type_ in ("any.process", "any.command")
        ]
        for task in stuck:
            await _noted(own_stack, task.id, "ran")
        # The slots are free again only once the handlers are gone.
        behind = await caller.submit("any.loop", {"do": "return"})
        ended = [await caller.until_finished(task.id) for task in stuck]
        finished = await caller.until_finished(behind.id, within=10)

    for task in ended:
        assert (task.status, task.error.code) == (task_pb2.TASK_STATUS_TIMEOUT, "ATTEMPT_TIMEOUT"), task.type
    assert finished.status == SUCCESS
