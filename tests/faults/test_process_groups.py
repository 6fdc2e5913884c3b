"""Several processes under one parent: they share the work, and one that dies is replaced."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from taskcast.v1 import task_pb2
from tests.clients import calling
from tests.deadlines import eventually_async
from tests.services import children_of, is_alive

if TYPE_CHECKING:
    from tests.services import Service
    from tests.stack import Stack

pytestmark = pytest.mark.faults

SUCCESS = task_pb2.TASK_STATUS_SUCCESS


async def _children_of(pid: int, count: int, *, without: int = 0) -> list[int]:
    """The process ids of a supervisor's children, once there are at least so many."""

    async def look() -> list[int] | None:
        found = [child for child in children_of(pid) if child != without]
        return found if len(found) >= count else None

    children = await eventually_async(look, within=20, what=f"{count} children of {pid}")
    assert children is not None
    return children


async def _have_begun(group: Service, event: str, count: int) -> None:
    async def look() -> bool:
        return len(group.log_lines(event)) == count

    await eventually_async(look, within=40, what=f"{event} to be logged {count} times")


async def _all_gone(pids: list[int]) -> bool:
    async def look() -> bool:
        return not any(is_alive(pid) for pid in pids)

    return await eventually_async(look, within=10, what=f"{pids} to be gone")


async def test_gateway_processes_serves_one_port_with_several_and_replaces_one_that_dies(own_stack: Stack) -> None:
    group = own_stack.new_gateway(GATEWAY_PROCESSES="2")
    own_stack.start(gateways=0, workers=1)
    children = await _children_of(group.pid, 2)
    await _have_begun(group, "gateway.serving", 2)
    for number in range(8):
        # Which process gets a connection is the kernel's choice: each of these is a new one.
        async with calling(group.address) as caller:
            task = await caller.submit("test.echo", number)
            assert (await caller.until_finished(task.id)).status == SUCCESS
    os.kill(children[0], signal.SIGKILL)
    replaced = await _children_of(group.pid, 2, without=children[0])
    await _have_begun(group, "gateway.serving", 3)
    async with calling(group.address) as caller:
        task = await caller.submit("test.echo", 1)
        assert (await caller.until_finished(task.id)).status == SUCCESS
    group.terminate()

    assert await asyncio.to_thread(group.wait, within=15) == 0
    assert children[1] in replaced
    assert await _all_gone(replaced)


async def test_worker_count_runs_several_workers_and_replaces_one_that_dies(own_stack: Stack) -> None:
    group = own_stack.new_worker(WORKER_COUNT="2", WORKER_CONCURRENCY="4")
    own_stack.start(gateways=1, workers=0)
    children = await _children_of(group.pid, 2)

    await _have_begun(group, "worker.taking_tasks", 2)
    gate = own_stack.gate()
    async with calling(own_stack.address) as caller:
        # As many as both can run together.
        tasks = [await caller.submit("test.hold", {"gate": str(gate)}) for _ in range(8)]
        running = [await caller.until_running(task.id) for task in tasks]
        assert len({task.attempts[0].worker for task in running}) == 2
        os.kill(children[0], signal.SIGKILL)
        await _have_begun(group, "worker.taking_tasks", 3)
        gate.open()
        finished = [await caller.until_finished(task.id) for task in tasks]
    group.terminate()

    assert {task.status for task in finished} == {SUCCESS}
    assert await asyncio.to_thread(group.wait, within=15) == 0


async def test_a_group_told_to_stop_while_it_starts_leaves_nothing_running(own_stack: Stack) -> None:
    group = own_stack.new_gateway(GATEWAY_PROCESSES="2")
    group.launch()
    children = await _children_of(group.pid, 1)
    group.terminate()

    assert await asyncio.to_thread(group.wait, within=30) == 0
    assert await _all_gone(children)
