"""Many tasks, many clients, many watches: nothing is lost, and nobody sees anything wrong."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from taskcast.v1 import task_pb2
from tests.clients import all_finished, calling, expect_whole_history

if TYPE_CHECKING:
    from tests.clients import Caller, Watched
    from tests.stack import Stack

pytestmark = pytest.mark.e2e

CLIENTS = 32
TASKS = 2_000
WATCHED_EVERY = 10
"""Every tenth task is watched: 200 of them …"""
WATCHED_TWICE_EVERY = 40
"""… and every fortieth by two clients: 50 of them."""
CONNECTIONS = 8


@pytest.mark.parametrize("tasks", [TASKS, pytest.param(20_000, marks=[pytest.mark.soak, pytest.mark.timeout(600)])])
async def test_every_task_of_32_clients_succeeds_and_every_watch_sees_its_whole_history(
    own_stack: Stack, tasks: int
) -> None:
    own_stack.start(gateways=1, workers=2)
    watches: list[asyncio.Task[tuple[str, Watched]]] = []
    ids: list[str] = []
    numbers = iter(range(tasks))

    async def watch(caller: Caller, task_id: str) -> tuple[str, Watched]:
        return task_id, await caller.watch(task_id, after=0, within=100)

    async def client(caller: Caller, other: Caller) -> None:
        for number in numbers:
            watched = number % WATCHED_EVERY == 0
            payload = {"steps": 3 if watched else 0}
            task = await caller.submit("test.steps", payload)
            ids.append(task.id)
            if watched:
                watches.append(asyncio.create_task(watch(caller, task.id)))
            if number % WATCHED_TWICE_EVERY == 0:
                watches.append(asyncio.create_task(watch(other, task.id)))

    async with AsyncExitStack() as opened:
        callers = [await opened.enter_async_context(calling(own_stack.address)) for _ in range(CONNECTIONS)]
        began = time.monotonic()
        await asyncio.gather(
            *(client(callers[n % CONNECTIONS], callers[(n + 1) % CONNECTIONS]) for n in range(CLIENTS))
        )
        submitted = time.monotonic()
        finished = {task.id: task for task in await all_finished(callers[0], ids, within=100)}
        done = time.monotonic()
        seen = await asyncio.gather(*watches)

    print(f"{tasks} tasks submitted in {submitted - began:.2f} s, all finished after {done - began:.2f} s")
    assert len(finished) == tasks
    assert {task.status for task in finished.values()} == {task_pb2.TASK_STATUS_SUCCESS}
    assert {task.attempt for task in finished.values()} == {1}
    assert len(seen) == tasks // WATCHED_EVERY + tasks // WATCHED_TWICE_EVERY
    assert len({task_id for task_id, _ in seen}) == tasks // WATCHED_EVERY
    for task_id, watched in seen:
        expect_whole_history(watched, finished[task_id])
    executions = own_stack.noted(what="ran")
    assert len(executions) == tasks, "a task ran twice, or never"
    assert len({line.pid for line in executions}) == 2, "only one worker did all the work"
