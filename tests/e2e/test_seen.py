"""Queues and workers as operators see them: ListQueues and ListWorkers."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from importlib import metadata
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from taskcast.v1 import admin_service_pb2, admin_service_pb2_grpc, task_pb2
from tests.clients import NO_PROXY, calling
from tests.deadlines import eventually_async
from tests.stack import record_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.stack import Stack

pytestmark = pytest.mark.e2e

HIGH, NORMAL, LOW = task_pb2.TASK_PRIORITY_HIGH, task_pb2.TASK_PRIORITY_NORMAL, task_pb2.TASK_PRIORITY_LOW
GONE_WITHIN = 10.0
"""A worker that died is seen for at most so long."""


class Operator:
    """Asks what operators ask."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: admin_service_pb2_grpc.AdminServiceAsyncStub = admin_service_pb2_grpc.AdminServiceStub(channel)

    async def workers(self) -> dict[str, admin_service_pb2.Worker]:
        answer = await self._stub.ListWorkers(admin_service_pb2.ListWorkersRequest(), timeout=20)
        names = [worker.name for worker in answer.workers]
        assert names == sorted(names)
        return {worker.name: worker for worker in answer.workers}

    async def queues(self) -> dict[str, admin_service_pb2.Queue]:
        answer = await self._stub.ListQueues(admin_service_pb2.ListQueuesRequest(), timeout=20)
        names = [queue.name for queue in answer.queues]
        assert names == sorted(names)
        return {queue.name: queue for queue in answer.queues}

    async def until_workers(self, *names: str, within: float) -> dict[str, admin_service_pb2.Worker]:
        """The workers once they are these and no others."""
        found: dict[str, admin_service_pb2.Worker] = {}

        async def these() -> bool:
            nonlocal found
            found = await self.workers()
            return set(found) == set(names)

        await eventually_async(these, within=within, what=f"the workers to be {names}")
        return found


@asynccontextmanager
async def _operating(address: str) -> AsyncIterator[Operator]:
    async with grpc.aio.insecure_channel(address, options=[NO_PROXY]) as channel:
        yield Operator(channel)


async def test_a_worker_is_seen_with_what_it_is_and_does_until_it_ends(own_stack: Stack) -> None:
    began = record_time()
    busy = own_stack.new_worker(WORKER_QUEUES="slow,default", WORKER_CONCURRENCY="3")
    idle = own_stack.new_worker(WORKER_QUEUES="other")
    own_stack.start(gateways=1, workers=0)
    async with _operating(own_stack.address) as operator, calling(own_stack.address) as caller:
        seen = await operator.until_workers(busy.attempts_name, idle.attempts_name, within=10)
        worker = seen[busy.attempts_name]
        assert {"test.echo", "test.hold", "test.boom"} <= set(worker.types)
        assert list(worker.types) == sorted(worker.types)
        assert list(worker.queues) == ["default", "slow"]
        assert (worker.slots, worker.running) == (3, 0)
        assert worker.version == metadata.version("taskcast")
        assert began - 1 <= worker.start_time.ToMilliseconds() / 1_000 <= record_time() + 1

        gate = own_stack.gate()
        running = [await caller.submit("test.hold", {"gate": str(gate)}) for _ in range(2)]
        await asyncio.gather(*(caller.until_running(task.id) for task in running))

        async def shows_two() -> admin_service_pb2.Worker | None:
            found = (await operator.workers())[busy.attempts_name]
            return found if found.running == 2 else None

        told = await eventually_async(shows_two, within=6, what="the worker to tell of both tasks")
        assert told is not None
        assert record_time() - told.last_heartbeat_time.ToMilliseconds() / 1_000 < 5
        gate.open()

        idle.terminate()
        await operator.until_workers(busy.attempts_name, within=15)


async def test_a_worker_that_is_killed_or_hangs_is_not_seen_after_ten_seconds_and_one_that_goes_on_is_seen_again(
    own_stack: Stack,
) -> None:
    own_stack.start(gateways=1, workers=2)
    hanging, killed = own_stack.workers
    names = (hanging.attempts_name, killed.attempts_name)
    async with _operating(own_stack.address) as operator:
        before = (await operator.until_workers(*names, within=10))[hanging.attempts_name]
        stopped = record_time()
        killed.kill()
        hanging.pause()
        try:
            await operator.until_workers(within=GONE_WITHIN + 5)
            assert record_time() - stopped < GONE_WITHIN
        finally:
            hanging.resume()
        after = (await operator.until_workers(hanging.attempts_name, within=10))[hanging.attempts_name]

    assert after.start_time == before.start_time
    assert after.last_heartbeat_time.ToMilliseconds() > before.last_heartbeat_time.ToMilliseconds()


async def test_queues_show_what_waits_runs_is_delayed_and_ended_and_who_serves_them(own_stack: Stack) -> None:
    own_stack.new_worker(WORKER_QUEUES="seen,idle", WORKER_CONCURRENCY="2")
    own_stack.start(gateways=1, workers=0)
    later = Timestamp(seconds=int(record_time()) + 3_600)
    async with _operating(own_stack.address) as operator, calling(own_stack.address) as caller:

        async def served() -> dict[str, admin_service_pb2.Queue] | None:
            found = await operator.queues()
            return found if set(found) == {"seen", "idle"} else None

        at_first = await eventually_async(served, within=10, what="the queues to be seen")
        assert at_first is not None
        assert at_first["seen"] == admin_service_pb2.Queue(
            name="seen", consumers=1, waiting=admin_service_pb2.WaitingTasks()
        )

        # Five end, one of them in error; one rests before its second attempt; two are scheduled.
        ended = [await caller.submit("test.echo", n, queue="seen") for n in range(4)]
        once = task_pb2.RetryPolicy(max_attempts=1)
        ended.append(await caller.submit("test.boom", queue="seen", retry_policy=once))
        await asyncio.gather(*(caller.until_finished(task.id) for task in ended))
        rests = task_pb2.RetryPolicy(max_attempts=2, initial_backoff=Duration(seconds=3_600))
        resting = await caller.submit("test.boom", queue="seen", retry_policy=rests)
        await caller.until(resting.id, task_pb2.TASK_STATUS_WAITING, attempt=1)
        delayed = [await caller.submit("test.echo", queue="seen", schedule_time=later) for _ in range(2)]
        # Both slots are taken, and six wait.
        gate = own_stack.gate()
        running = [await caller.submit("test.hold", {"gate": str(gate)}, queue="seen") for _ in range(2)]
        await asyncio.gather(*(caller.until_running(task.id) for task in running))
        waiting_since = record_time()
        for priority in (HIGH, HIGH, HIGH, NORMAL, NORMAL, LOW):
            await caller.submit("test.echo", queue="seen", priority=priority)
        await caller.submit("test.echo", queue="nobody")
        found = await operator.queues()
        age = record_time() - waiting_since
        gate.open()

        async def is_through() -> bool:
            queue = (await operator.queues())["seen"]
            return queue.running == 0 and queue.waiting == admin_service_pb2.WaitingTasks()

        await eventually_async(is_through, within=20, what="all that could run to have run")
        at_last = (await operator.queues())["seen"]
        for task in (resting, *delayed):
            await caller.cancel(task.id)

    assert set(found) == {"seen", "idle", "nobody"}
    queue = found["seen"]
    assert queue.waiting == admin_service_pb2.WaitingTasks(high=3, normal=2, low=1)
    assert queue.running == 2
    assert queue.delayed == 3
    assert queue.consumers == 1
    assert 0 <= queue.oldest_waiting_age.ToMilliseconds() / 1_000 <= age + 1
    assert queue.rate == pytest.approx(5 / 60)
    assert found["nobody"].consumers == 0
    assert found["nobody"].waiting.normal == 1
    assert not found["idle"].HasField("oldest_waiting_age")
    assert at_last.delayed == 3
    assert not at_last.HasField("oldest_waiting_age")
    assert at_last.rate >= 8 / 60
