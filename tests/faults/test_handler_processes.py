"""A worker ends, in order or not: what it has started for its handlers ends as well."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from taskcast.v1 import task_pb2
from tests.clients import calling, expect_whole_history
from tests.deadlines import eventually_async
from tests.services import children_of, is_alive

if TYPE_CHECKING:
    from tests.clients import Caller
    from tests.stack import Gate, Stack

pytestmark = pytest.mark.faults

OUTSIDE = ("any.process", "any.command")


async def _hold(stack: Stack, caller: Caller, gate: Gate) -> tuple[list[str], list[int]]:
    """A task under way in a child process, one as a command, neither of which heeds a word; and their processes."""
    ids = [(await caller.submit(type_, {"do": "ignore", "gate": str(gate)}, retry_policy=ONCE)).id for type_ in OUTSIDE]

    async def running() -> bool:
        return all(stack.noted(task_id, "ran") for task_id in ids)

    await eventually_async(running, within=20, what="both handlers to run")
    return ids, [stack.noted(task_id, "ran")[0].pid for task_id in ids]


ONCE = task_pb2.RetryPolicy(max_attempts=1)


async def _until_gone(pids: list[int]) -> None:
    async def gone() -> bool:
        return not any(is_alive(pid) for pid in pids)

    await eventually_async(gone, within=10, what=f"processes {pids} to end")


async def test_a_killed_worker_leaves_no_process_behind(own_stack: Stack) -> None:
    own_stack.start(gateways=1, workers=1)
    async with calling(own_stack.address) as caller:
        ids, pids = await _hold(own_stack, caller, own_stack.gate())
        worker = own_stack.workers[0]
        everything = [*children_of(worker.pid), *pids]
        os.kill(worker.pid, signal.SIGKILL)
        await _until_gone(everything)
        finished = [await caller.until_finished(task_id) for task_id in ids]

    assert [task.error.code for task in finished] == ["LEASE_LOST"] * 2


async def test_a_worker_told_to_stop_ends_its_processes_and_hands_their_tasks_back(own_stack: Stack) -> None:
    own_stack.new_worker(WORKER_DRAIN_SECONDS="0.5", WORKER_KILL_GRACE_SECONDS="0.5")
    own_stack.start(gateways=1, workers=0)
    gate = own_stack.gate()
    async with calling(own_stack.address) as caller:
        ids, pids = await _hold(own_stack, caller, gate)
        everything = [*children_of(own_stack.workers[0].pid), *pids]
        own_stack.workers[0].terminate()
        code = await asyncio.to_thread(own_stack.workers[0].wait, within=15)
        await _until_gone(everything)
        gate.open()
        await asyncio.to_thread(own_stack.new_worker().start)
        finished = [await caller.until_finished(task_id) for task_id in ids]
        watched = [await caller.watch(task_id) for task_id in ids]

    assert code == 0
    for task, watch in zip(finished, watched, strict=True):
        assert (task.status, task.attempt) == (task_pb2.TASK_STATUS_SUCCESS, 2)
        assert task.attempts[0].error.code == "WORKER_SHUTDOWN", "a retry was used up"
        expect_whole_history(watch, task)
