"""RabbitMQ is away, or there and silent: tasks are taken in all the same, up to a stated number."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest

from taskcast.v1 import task_pb2, task_service_pb2
from tests.clients import calling, expect_whole_history, plain, read_all, refusal
from tests.deadlines import eventually_async
from tests.faults.kept_queues import until_kept

if TYPE_CHECKING:
    from tests.clients import Caller
    from tests.servers import PrivateRabbitMQ
    from tests.stack import Stack

pytestmark = pytest.mark.faults

SUCCESS = task_pb2.TASK_STATUS_SUCCESS
MOST_UNDISPATCHED = 20


async def test_without_rabbitmq_tasks_are_taken_in_watches_go_on_and_all_runs_once_it_is_back(
    stack_on_rabbit: Stack, rabbit: PrivateRabbitMQ
) -> None:
    stack = stack_on_rabbit
    stack.new_gateway(TASKCAST_MAX_UNDISPATCHED=str(MOST_UNDISPATCHED))
    stack.start(gateways=0, workers=1)
    gate, other_gate = stack.gate(), stack.gate()
    async with calling(stack.address) as caller:
        held = await caller.submit("test.hold", {"gate": str(gate), "report": True})
        ending = await caller.submit("test.hold", {"gate": str(other_gate), "report": True})
        for task in (held, ending):
            await caller.until_running(task.id)
        live = asyncio.create_task(caller.watch(ending.id))
        call = aiter(caller.open_watch(held.id))
        assert (await anext(call)).event.sequence == 1
        await until_kept(rabbit, stack)
        await asyncio.to_thread(rabbit.kill)
        await _until_unheard(stack)

        # Progress made from now on reaches a watch that was open before, and one that is opened now.
        before = (await caller.get(held.id)).sequence
        later = aiter(caller.open_watch(held.id, before))
        for watch in (call, later):
            seen = 0
            while seen < before + 5:
                seen = (await anext(watch)).event.sequence
        # So does the end of a task.
        other_gate.open()
        ended = await live

        # Tasks are recorded and answered, up to the stated number.
        taken = [await caller.submit("test.echo", number) for number in range(MOST_UNDISPATCHED)]
        refused = await refusal(caller.submit("test.echo", "one too many"))
        # What is read, watched or cancelled needs no broker.
        assert (await caller.get(taken[0].id)).status == task_pb2.TASK_STATUS_WAITING
        cancelled = await caller.cancel(taken[-1].id)

        # A gateway that starts now takes tasks in like the others.
        late_gateway = stack.new_gateway()
        await asyncio.to_thread(late_gateway.start)
        async with calling(late_gateway.address) as late_caller:
            late = await late_caller.submit("test.echo", "late")

        await asyncio.to_thread(rabbit.start)
        finished = [await caller.until_finished(task.id, within=30) for task in (*taken[:-1], late)]

        async def taken_in_again() -> bool:
            answer = await caller.submit("test.echo", "room again")
            return bool(answer.id)

        await eventually_async(taken_in_again, within=20, what="room for new tasks")
        gate.open()
        rest = await read_all(call)
        held = await caller.get(held.id)
        expect_whole_history(ended, await caller.get(ending.id))

    assert refused.code is grpc.StatusCode.UNAVAILABLE
    assert (refused.domain, refused.reason) == ("taskcast", "BROKER_UNAVAILABLE")
    assert refused.retry_after
    assert {task.status for task in finished} == {SUCCESS}
    assert [plain(task.result) for task in finished] == [*range(MOST_UNDISPATCHED - 1), "late"]
    for task in finished:
        assert len(stack.noted(task.id, "ran")) == 1
    assert cancelled.status == task_pb2.TASK_STATUS_CANCELLED
    assert not stack.noted(cancelled.id)
    assert rest.problem is None
    assert held.status == SUCCESS
    assert all(service.running for service in stack.services)


async def _until_unheard(stack: Stack) -> None:
    async def look() -> bool:
        return all(service.log_lines("rabbitmq.lost") for service in stack.services)

    await eventually_async(look, within=20, what="the services to notice that RabbitMQ has gone")


async def test_past_the_stated_number_a_silent_rabbitmq_refuses_submits_too_and_none_hangs(
    stack_on_rabbit: Stack, rabbit: PrivateRabbitMQ
) -> None:
    stack = stack_on_rabbit
    stack.new_gateway(TASKCAST_MAX_UNDISPATCHED=str(MOST_UNDISPATCHED))
    stack.start(gateways=0, workers=1)
    async with calling(stack.address) as caller:
        first = await caller.submit("test.echo", "first")
        await caller.until_finished(first.id)
        rabbit.pause()
        try:
            taken = [await caller.submit("test.echo", n, within=5) for n in range(MOST_UNDISPATCHED)]
            refused = await refusal(caller.submit("test.echo", "one too many", within=5))
            watched = await _snapshot(caller, taken[0].id)
        finally:
            rabbit.resume()
        finished = [await caller.until_finished(task.id, within=60) for task in taken]

    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "BROKER_UNAVAILABLE")
    assert refused.retry_after
    assert watched.status == task_pb2.TASK_STATUS_WAITING
    assert {task.status for task in finished} == {SUCCESS}
    for task in finished:
        assert len(stack.noted(task.id, "ran")) == 1


async def _snapshot(caller: Caller, task_id: str) -> task_pb2.Task:
    call = caller.open_watch(task_id, None, within=10)
    try:
        first: task_service_pb2.WatchTaskResponse = await anext(aiter(call))
        return first.snapshot
    finally:
        call.cancel()


async def test_a_rabbitmq_short_of_memory_holds_up_neither_reads_nor_watches_nor_what_runs(
    stack_on_rabbit: Stack, rabbit: PrivateRabbitMQ
) -> None:
    # RabbitMQ stops reading from connections that publish while it is short of memory.
    stack = stack_on_rabbit.start(gateways=1, workers=1)
    gate = stack.gate()
    async with calling(stack.address) as caller:
        running = await caller.submit("test.hold", {"gate": str(gate), "report": True})
        await caller.until_running(running.id)
        watching = asyncio.create_task(caller.watch(running.id))
        await asyncio.to_thread(rabbit.ctl, "set_vm_memory_high_watermark", "0")
        try:
            taken = [await caller.submit("test.echo", number, within=5) for number in range(30)]
            assert (await _snapshot(caller, taken[0].id)).id == taken[0].id
            gate.open()
            watched = await watching
        finally:
            await asyncio.to_thread(rabbit.ctl, "set_vm_memory_high_watermark", "0.4")
        expect_whole_history(watched, await caller.get(running.id))
        finished = [await caller.until_finished(task.id, within=60) for task in taken]

    assert {task.status for task in finished} == {SUCCESS}
    for task in finished:
        assert len(stack.noted(task.id, "ran")) == 1
