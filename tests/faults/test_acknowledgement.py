"""A worker without a free slot holds no messages: RabbitMQ closes channels that do, and others could run the tasks."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import aio_pika
import pytest

from taskcast.v1 import task_pb2
from tests.clients import calling, plain
from tests.deadlines import eventually_async
from tests.stack import Stack
from worker_service.intake import HOLD_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import RabbitMQFactory

pytestmark = pytest.mark.faults

SUCCESS = task_pb2.TASK_STATUS_SUCCESS
PRIORITIES = (task_pb2.TASK_PRIORITY_HIGH, task_pb2.TASK_PRIORITY_NORMAL, task_pb2.TASK_PRIORITY_LOW)
BACKLOG = 8
"""Of each priority."""


class Lines:
    """The queues, as the broker sees them."""

    def __init__(self, stack: Stack, channel: aio_pika.abc.AbstractChannel) -> None:
        self._prefix = f"{stack.namespace}.tasks.default"
        self._channel = channel

    async def ready(self) -> int:
        """How many messages wait there and are in nobody's hands."""
        count = 0
        for line in ("high", "normal", "low"):
            queue = await self._channel.declare_queue(f"{self._prefix}.{line}", passive=True)
            count += queue.declaration_result.message_count or 0
        return count


async def test_no_message_is_held_while_every_slot_is_taken(own_stack: Stack) -> None:
    own_stack.new_worker(WORKER_CONCURRENCY="2")
    own_stack.start(gateways=1, workers=0)
    gate = own_stack.gate()
    async with (
        calling(own_stack.address) as caller,
        await aio_pika.connect(own_stack.rabbitmq_url) as connection,
        connection.channel() as channel,
    ):
        holding = [await caller.submit("test.hold", {"gate": str(gate)}) for _ in range(2)]
        for task in holding:
            await caller.until_running(task.id)
        behind = [
            await caller.submit("test.echo", number, priority=priority)
            for priority in PRIORITIES
            for number in range(BACKLOG)
        ]
        lines = Lines(own_stack, channel)

        async def all_ready() -> bool:
            # A message may be there twice: whoever dispatches does so again when in doubt.
            return await lines.ready() >= len(behind)

        began = time.monotonic()
        await eventually_async(all_ready, within=10 * HOLD_SECONDS + 5, what="the worker to let go of all messages")
        print(f"the worker had let go after {time.monotonic() - began:.2f} s")
        # From then on it takes none, for as long as no slot is free.
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            assert await lines.ready() >= len(behind)
            await asyncio.sleep(HOLD_SECONDS / 5)
        gate.open()
        finished = [await caller.until_finished(task.id) for task in (*holding, *behind)]
    assert {(task.status, task.attempt) for task in finished} == {(SUCCESS, 1)}


@pytest.mark.soak
@pytest.mark.timeout(400)
async def test_a_task_that_runs_longer_than_the_acknowledgement_timeout_runs_once(
    tmp_path: Path, redis_url: str, rabbitmq_factory: RabbitMQFactory
) -> None:
    node = rabbitmq_factory(settings={"consumer_timeout": "60000"})
    with Stack(tmp_path / "stack", redis_url=redis_url, rabbitmq_url=node.url) as stack:
        stack.new_worker(WORKER_CONCURRENCY="1")
        stack.start(gateways=1, workers=0)
        worker = stack.workers[0]
        async with calling(stack.address) as caller:
            long = await caller.submit("test.steps", {"steps": 150, "pause": 1.0})
            await caller.until_running(long.id)
            behind = [await caller.submit("test.echo", number) for number in range(50)]
            watched = await caller.watch(long.id, within=300)
            finished = await caller.get(long.id)
            others = [await caller.until_finished(task.id) for task in behind]
        lost = worker.log_lines("rabbitmq.lost")

    assert (finished.status, finished.attempt) == (SUCCESS, 1)
    assert finished.end_time.ToMilliseconds() - finished.start_time.ToMilliseconds() >= 150_000
    assert watched.types == ["SUBMITTED", "STARTED", "SUCCEEDED"]
    assert len(stack.noted(long.id, "ran")) == 1
    assert [(task.status, task.attempt, plain(task.result)) for task in others] == [
        (SUCCESS, 1, number) for number in range(50)
    ]
    assert not lost, "RabbitMQ has closed a channel"
