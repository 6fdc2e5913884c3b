"""Handlers that kill their worker, or hold it up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from taskcast.v1 import task_pb2
from tests.clients import all_finished, calling, expect_whole_history, plain

if TYPE_CHECKING:
    from tests.stack import Stack

pytestmark = pytest.mark.faults

SUCCESS = task_pb2.TASK_STATUS_SUCCESS


async def test_a_task_that_kills_its_worker_each_time_ends_and_all_other_tasks_succeed(own_stack: Stack) -> None:
    own_stack.new_worker(WORKER_COUNT="2")
    own_stack.start(gateways=1, workers=0)
    async with calling(own_stack.address) as caller:
        # Under way when the other one kills their worker, again and again; and short ones all the while.
        long = [await caller.submit("test.steps", {"steps": 15, "pause": 0.2}) for _ in range(12)]
        for task in long:
            await caller.until_running(task.id)
        poison = await caller.submit("test.poison")
        short: list[task_pb2.Task] = []

        async def keep_submitting() -> None:
            while (await caller.get(poison.id)).status < SUCCESS:
                short.append(await caller.submit("test.echo", len(short)))
                await asyncio.sleep(0.05)

        async with asyncio.timeout(60):
            await keep_submitting()
        watched = await caller.watch(poison.id)
        ended = await caller.get(poison.id)
        others = await all_finished(caller, [task.id for task in (*long, *short)], within=60)

    lost = [task.attempt for task in others if task.attempt > 1]
    print(f"{len(lost)} of {len(others)} other tasks needed another attempt, {max(lost, default=1)} at most")
    assert (ended.status, ended.attempt, len(ended.attempts)) == (task_pb2.TASK_STATUS_ERROR, 3, 3)
    assert [attempt.error.code for attempt in ended.attempts] == ["LEASE_LOST", "LEASE_LOST", "PROCESS_EXITED"]
    assert ended.error.message == "The handler's process ended with exit code 13 without an outcome."
    assert len(own_stack.noted(poison.id, "ran")) == 3
    expect_whole_history(watched, ended)
    assert {task.status for task in others} == {SUCCESS}


@pytest.mark.soak
@pytest.mark.timeout(200)
async def test_a_handler_that_blocks_the_loop_for_30_s_runs_once_and_to_its_end_under_a_lease_of_10_s(
    own_stack: Stack,
) -> None:
    # `tests/e2e/test_outcomes.py` has the same at a smaller scale.
    for service in (own_stack.new_gateway, own_stack.new_worker, own_stack.new_worker):
        service(TASKCAST_LEASE_SECONDS="10")
    own_stack.start(gateways=0, workers=0)
    async with calling(own_stack.address) as caller:
        blocking = await caller.submit("test.blocks_the_loop", {"seconds": 30})
        await caller.until_running(blocking.id)
        beside = [await caller.submit("test.echo", number) for number in range(20)]
        watched = await caller.watch(blocking.id, within=60)
        finished = await caller.get(blocking.id)
        others = [await caller.until_finished(task.id) for task in beside]

    assert (finished.status, finished.attempt) == (SUCCESS, 1)
    assert plain(finished.result) == {"attempt": 1}
    assert finished.end_time.ToMilliseconds() - finished.start_time.ToMilliseconds() >= 30_000
    assert len(own_stack.noted(blocking.id, "ran")) == 1
    expect_whole_history(watched, finished)
    assert {task.status for task in others} == {SUCCESS}
