"""Watches of the Python client whose connection is cut again and again at random moments."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from typing import TYPE_CHECKING

import pytest

from taskcast import Client, submission
from taskcast.v1 import task_pb2
from taskcast.v1.task_service_pb2 import TaskFilter
from tests.clients import TERMINAL
from tests.cutting_proxy import CuttingProxy
from tests.e2e.test_client import expect_no_hole_and_no_repeat, label, tasks_of

if TYPE_CHECKING:
    from taskcast.v1.task_service_pb2 import WatchTasksResponse
    from tests.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.faults]

TASKS = 16
LATE_TASKS = 8


async def cut_at_random(proxy: CuttingProxy, dice: random.Random) -> None:
    while True:
        await asyncio.sleep(dice.uniform(0.2, 1.5))
        proxy.cut()


@pytest.mark.parametrize(
    ("steps", "least_cuts"), [(60, 5), pytest.param(900, 60, marks=[pytest.mark.soak, pytest.mark.timeout(400)])]
)
async def test_however_often_it_is_cut_each_task_is_told_without_hole_or_repeat(
    standing_stack: Stack, key_prefix: str, steps: int, least_cuts: int
) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # Shown when the test fails.
    payload = {"steps": steps, "pause": 0.1}
    named: list[WatchTasksResponse] = []
    matching: list[WatchTasksResponse] = []
    live = asyncio.Event()
    async with (
        CuttingProxy(standing_stack.address) as proxy,
        Client(proxy.address, deadline=60) as cut_client,
        Client(standing_stack.address) as client,
        asyncio.timeout(350),
    ):

        async def watch_matching() -> None:
            ended: set[str] = set()
            updates = cut_client.watch_filter(TaskFilter(labels=label(key_prefix)), heartbeats=True)
            async with contextlib.aclosing(updates):
                async for update in updates:
                    live.set()
                    matching.append(update)
                    if update.event.status in TERMINAL:
                        ended.add(update.event.task_id)
                    if len(ended) == TASKS + LATE_TASKS:
                        return

        async def watch_named(ids: list[str]) -> None:
            named.extend([update async for update in cut_client.watch_many(list(ids))])

        async with asyncio.TaskGroup() as following:
            following.create_task(watch_matching())
            await live.wait()
            cutting = asyncio.create_task(cut_at_random(proxy, random.Random(seed)))
            requests = [submission("test.steps", payload, labels=label(key_prefix)) for _ in range(TASKS)]
            ids = [task.id for task in tasks_of(await client.submit_many(requests))]
            following.create_task(watch_named(ids))
            for _ in range(LATE_TASKS):
                # Some of these are submitted while there is no connection.
                late = await client.submit("test.steps", {**payload, "steps": steps // 4}, labels=label(key_prefix))
                ids.append(late.id)
                await asyncio.sleep(0.3)
        cutting.cancel()
        finished = tasks_of(await client.get_many(ids))
    assert proxy.cuts >= least_cuts
    assert all(task.status == task_pb2.TASK_STATUS_SUCCESS for task in finished)
    told = expect_no_hole_and_no_repeat(matching)
    assert told == {task.id: list(range(1, task.sequence + 1)) for task in finished}
    told = expect_no_hole_and_no_repeat(named)
    assert {task_id: sequences[-1] for task_id, sequences in told.items()} == {
        task.id: task.sequence for task in finished[:TASKS]
    }
