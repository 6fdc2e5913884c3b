"""A gateway dies between the record and the broker: what it recorded still runs, once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest

from taskcast.v1 import task_pb2
from tests.clients import calling, expect_whole_history, plain, refusal

if TYPE_CHECKING:
    from tests.stack import Stack

pytestmark = pytest.mark.faults

REQUEST_ID = "sent to a gateway that dies"


async def _submit_to_the_doomed(stack: Stack) -> None:
    doomed = stack.gateways[0]
    async with calling(doomed.address) as caller:
        problem = await refusal(caller.submit("test.echo", "still here", request_id=REQUEST_ID))
    assert problem.code is grpc.StatusCode.UNAVAILABLE
    assert await asyncio.to_thread(doomed.wait, within=10) == -9


async def _expect_it_runs_once(stack: Stack, address: str) -> None:
    async with calling(address) as caller:
        again = await caller.submit_answer("test.echo", "still here", request_id=REQUEST_ID)
        watched = await caller.watch(again.task.id, 0, within=30)
        finished = await caller.get(again.task.id)

    assert again.duplicate, "the dead gateway had recorded the task"
    assert finished.status == task_pb2.TASK_STATUS_SUCCESS
    assert finished.attempt == 1
    assert plain(finished.result) == "still here"
    assert len(stack.noted(finished.id, "ran")) == 1
    expect_whole_history(watched, finished)


async def test_a_task_of_a_gateway_that_died_before_the_dispatch_runs_once_through_another(
    own_stack: Stack,
) -> None:
    own_stack.new_gateway(TASKCAST_FAILPOINTS="gateway.recorded")
    own_stack.start(gateways=1, workers=1)
    await _submit_to_the_doomed(own_stack)
    await _expect_it_runs_once(own_stack, own_stack.gateways[1].address)


async def test_a_task_of_a_gateway_that_died_before_the_dispatch_runs_once_after_its_restart(
    own_stack: Stack,
) -> None:
    own_stack.new_gateway(TASKCAST_FAILPOINTS="gateway.recorded")
    own_stack.start(gateways=0, workers=1)
    doomed = own_stack.gateways[0]
    await _submit_to_the_doomed(own_stack)
    del doomed.environment["TASKCAST_FAILPOINTS"]
    await asyncio.to_thread(doomed.start)
    await _expect_it_runs_once(own_stack, doomed.address)


async def test_a_client_whose_gateway_is_killed_resumes_its_watch_at_another_and_misses_nothing(
    own_stack: Stack,
) -> None:
    own_stack.start(gateways=2, workers=1)
    gate = own_stack.gate()
    async with calling(own_stack.gateways[0].address) as one, calling(own_stack.gateways[1].address) as other:
        task = await one.submit("test.hold", {"gate": str(gate), "report": True})
        await one.until_running(task.id)
        watching = asyncio.create_task(one.watch(task.id))
        await other.until_running(task.id)
        own_stack.gateways[0].kill()
        broken = await watching
        resuming = asyncio.create_task(other.watch(task.id, broken.sequences[-1] if broken.sequences else 0))
        gate.open()
        resumed = await resuming
        finished = await other.get(task.id)

    assert broken.problem is not None
    assert broken.problem.code is grpc.StatusCode.UNAVAILABLE
    assert resumed.problem is None
    assert broken.sequences + resumed.sequences == list(range(1, finished.sequence + 1))
    assert finished.status == task_pb2.TASK_STATUS_SUCCESS
