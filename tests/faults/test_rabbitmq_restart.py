"""RabbitMQ goes and comes back, with its data or without: no task is lost and no service restarts."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from shared.adapters.redis import RedisRecord
from taskcast.v1 import task_pb2
from tests.clients import all_finished, calling, expect_whole_history
from tests.deadlines import eventually_async
from tests.faults.kept_queues import until_kept

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.clients import Caller
    from tests.servers import PrivateRabbitMQ
    from tests.stack import Stack

pytestmark = pytest.mark.faults

SUCCESS = task_pb2.TASK_STATUS_SUCCESS
LINES_OF_A_WORKER = 3


def _consumers(rabbit: PrivateRabbitMQ, stack: Stack) -> int:
    """How many consumers the stack's task queues have."""
    listed = json.loads(rabbit.ctl("list_consumers", "queue_name", "--formatter=json") or "[]")
    return sum(entry["queue_name"].startswith(f"{stack.namespace}.tasks.") for entry in listed)


@pytest.mark.parametrize(
    ("restart", "tasks"),
    [
        ("kill", 400),
        pytest.param("stop", 400, marks=pytest.mark.soak),
        pytest.param("kill", 4_000, marks=[pytest.mark.soak, pytest.mark.timeout(300)]),
    ],
)
async def test_a_restart_under_load_loses_nothing_and_live_watches_complete(
    stack_on_rabbit: Stack, rabbit: PrivateRabbitMQ, restart: str, tasks: int
) -> None:
    stack = stack_on_rabbit.start(gateways=1, workers=2)
    pids = [service.pid for service in stack.services]
    end: Callable[[], None] = getattr(rabbit, restart)
    ids: list[str] = []
    back = asyncio.Event()

    async def client(caller: Caller, share: int) -> None:
        for number in range(share):
            # A third goes in before, a third while it is away, and the last once it is back.
            if number == share * 2 // 3:
                await back.wait()
            ids.append((await caller.submit("test.steps", {"steps": 2, "pause": 0.05})).id)

    async with AsyncExitStack() as opened:
        callers = [await opened.enter_async_context(calling(stack.address)) for _ in range(4)]
        gate = stack.gate()
        held = [await callers[0].submit("test.hold", {"gate": str(gate), "report": True}) for _ in range(20)]
        for task in held:
            await callers[0].until_running(task.id)
        watching = [asyncio.create_task(callers[1].watch(task.id, within=110)) for task in held]
        load = [asyncio.create_task(client(caller, tasks // 4)) for caller in callers]

        async def a_third_is_in() -> bool:
            return len(ids) >= tasks // 3

        await eventually_async(a_third_is_in, within=60, what="a third of the load to be submitted")
        await until_kept(rabbit, stack)
        await asyncio.to_thread(end)
        await asyncio.to_thread(rabbit.start)
        back.set()
        await asyncio.gather(*load)
        gate.open()
        finished = await all_finished(callers[0], [*ids, *(task.id for task in held)], within=90)
        watched = await asyncio.gather(*watching)

        async def consumers_are_back() -> bool:
            return await asyncio.to_thread(_consumers, rabbit, stack) == 2 * LINES_OF_A_WORKER

        await eventually_async(consumers_are_back, within=30, what="the consumers of both workers")

    assert len(finished) == tasks + len(held)
    assert {task.status for task in finished} == {SUCCESS}
    assert [service.pid for service in stack.services] == pids
    assert all(service.running for service in stack.services)
    by_id = {task.id: task for task in finished}
    for task, watch in zip(held, watched, strict=True):
        expect_whole_history(watch, by_id[task.id])
        assert by_id[task.id].attempt == 1, "a running task need not notice that RabbitMQ is away"
    executions = len(stack.noted(what="ran"))
    assert executions == len(finished), "a redelivered message must not run a task again"


async def test_when_rabbitmq_has_lost_its_data_what_waited_there_runs_and_workers_consume_again(
    stack_on_rabbit: Stack, rabbit: PrivateRabbitMQ
) -> None:
    stack = stack_on_rabbit.start(gateways=1, workers=1)
    pids = [service.pid for service in stack.services]
    gate = stack.gate()
    async with calling(stack.address) as caller:
        held = await caller.submit("test.hold", {"gate": str(gate), "report": True})
        watching = asyncio.create_task(caller.watch(held.id, within=100))
        await caller.until_running(held.id)
        waiting = [await caller.submit("test.echo", number, queue="later") for number in range(60)]
        await _until_confirmed(stack, [task.id for task in waiting])
        await asyncio.to_thread(rabbit.kill)
        rabbit.wipe()
        during = [await caller.submit("test.echo", number, queue="later") for number in range(5)]
        await asyncio.to_thread(rabbit.start)
        # The worker that was there before takes tasks again …
        after = await caller.submit("test.echo", "after")
        taken = await caller.until_finished(after.id, within=40)
        # … and one that begins only now finds all that RabbitMQ had forgotten.
        worker = stack.new_worker(WORKER_QUEUES="later")
        await asyncio.to_thread(worker.start)
        finished = await all_finished(caller, [task.id for task in (*waiting, *during)], within=40)
        gate.open()
        watched = await watching
        expect_whole_history(watched, await caller.get(held.id))

    assert taken.status == SUCCESS
    assert {task.status for task in finished} == {SUCCESS}
    for task in finished:
        assert len(stack.noted(task.id, "ran")) == 1
    assert [service.pid for service in [*stack.gateways, stack.workers[0]]] == pids


async def _until_confirmed(stack: Stack, task_ids: list[str]) -> None:
    record = RedisRecord(stack.redis_url, prefix=stack.namespace)

    async def look() -> bool:
        tasks = await asyncio.gather(*(record.read(task_id) for task_id in task_ids))
        return all(task is not None and task.timers.dispatches > 0 for task in tasks)

    try:
        await eventually_async(look, within=20, what="the record to say that RabbitMQ has confirmed all messages")
    finally:
        await record.close()
