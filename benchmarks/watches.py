"""What a live message costs the gateway, by kind of watch, and what quiet watches cost.

The benchmark itself stands for the workers: it appends and broadcasts progress of 1,000 running tasks.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc

from benchmarks.load import measuring, processor_seconds
from shared.adapters.rabbitmq import RabbitBroker
from shared.adapters.redis import RedisRecord
from shared.clock import RecordClock
from shared.domain.commands import Claim, ReportProgress
from shared.domain.task import AttemptTerms, TaskProgress
from shared.journal import Done, Journal
from taskcast.v1 import task_service_pb2 as pb
from taskcast.v1 import task_service_pb2_grpc as rpc
from tests.deadlines import eventually_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.domain.task import Task
    from tests.stack import Stack

TASKS = 1_000
ROUNDS = 4
AT_ONCE = 100
QUIET_SECONDS = 10.0
NOBODY = pb.SubmitTaskRequest(type="bench.watched", queue="nobody")


class _Reader:
    """Reads open watches, and counts what comes."""

    def __init__(self) -> None:
        self.messages = 0
        self._reading: list[asyncio.Task[None]] = []

    def read(self, call: Any) -> None:
        self._reading.append(asyncio.create_task(self._read(call)))

    async def until(self, messages: int) -> None:
        async def look() -> bool:
            return self.messages >= messages

        await eventually_async(look, within=60, what=f"{messages} messages")

    async def stop(self) -> None:
        for reading in self._reading:
            reading.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)

    async def _read(self, call: Any) -> None:
        async for _ in call:
            self.messages += 1


async def measure_watches(stack: Stack) -> dict[str, float]:
    """The gateway's processor time for a message of each kind of watch, and its load by quiet ones."""
    figures: dict[str, float] = {}
    gateway = stack.gateways[0].pid
    async with reporting(stack) as journal, AsyncExitStack() as opened:
        options = [("grpc.enable_http_proxy", 0)]
        channel = await opened.enter_async_context(grpc.aio.insecure_channel(stack.address, options=options))
        stub: rpc.TaskServiceAsyncStub = rpc.TaskServiceStub(channel)
        ids: list[str] = []
        for _ in range(TASKS // AT_ONCE):
            answers = await asyncio.gather(*(stub.SubmitTask(NOBODY) for _ in range(AT_ONCE)))
            ids += [answer.task.id for answer in answers]
        tasks = {id_: await claimed(journal, id_) for id_ in ids}

        for name, requests in _kinds(ids).items():
            reader = _Reader()
            # A watch by filter sends a heartbeat once it is live, one by ids a snapshot of each task.
            for request in requests:
                reader.read(_opened(stub, request))
            live = TASKS if "filter" not in name else len(requests)
            await reader.until(live)
            figures[f"{name}, quiet, gateway % of a core"] = await _quiet(gateway)
            expected = ROUNDS * TASKS * (len(requests) if "filter" in name else 1)
            with measuring({"gateway": gateway}) as measured:
                await _report(journal, tasks)
                await reader.until(live + expected)
            measured.count = expected
            figures[f"{name}, gateway us a message"] = measured.micros("gateway")
            figures[f"{name}, messages /s"] = measured.rate
            await reader.stop()
    return figures


def _kinds(ids: list[str]) -> dict[str, list[pb.WatchTasksRequest | pb.WatchTaskRequest]]:
    everything = pb.WatchTasksRequest(filter=pb.TaskFilter())
    return {
        "a watch by filter": [everything],
        "ten watches by filter": [everything] * 10,
        "a watch of 1,000 ids": [pb.WatchTasksRequest(task_ids=ids)],
        "1,000 watches": [pb.WatchTaskRequest(task_id=id_) for id_ in ids],
    }


def _opened(stub: rpc.TaskServiceAsyncStub, request: pb.WatchTasksRequest | pb.WatchTaskRequest) -> Any:
    return stub.WatchTasks(request) if isinstance(request, pb.WatchTasksRequest) else stub.WatchTask(request)


async def _quiet(gateway: int) -> float:
    """The gateway's load in percent of a core while nothing happens."""
    before = processor_seconds(gateway)
    await asyncio.sleep(QUIET_SECONDS)
    return (processor_seconds(gateway) - before) / QUIET_SECONDS * 100


async def _report(journal: Journal, tasks: dict[str, Task]) -> None:
    """Some progress of each task, several times."""
    ids = list(tasks)
    for number in range(ROUNDS):
        for start in range(0, TASKS, AT_ONCE):
            some = ids[start : start + AT_ONCE]
            reported = await asyncio.gather(*(progressed(journal, tasks[id_], number) for id_ in some))
            tasks.update(zip(some, reported, strict=True))


async def claimed(journal: Journal, task_id: str) -> Task:
    """The task, run by the benchmark from now on."""
    # Long leases: nobody renews them.
    claim = Claim(worker="the benchmark", terms=AttemptTerms(attempt_timeout=0), lease=600_000)
    done = await journal.execute(task_id, claim)
    assert isinstance(done, Done)
    return done.task


async def progressed(journal: Journal, task: Task, number: int) -> Task:
    """The task after one more report."""
    progress = TaskProgress(completed=number, total=ROUNDS, message="some way further")
    done = await journal.execute(task.id, ReportProgress(attempt=1, progress=progress, lease=600_000), known=task)
    assert isinstance(done, Done)
    return done.task


@asynccontextmanager
async def reporting(stack: Stack) -> AsyncIterator[Journal]:
    """A journal like a worker's."""
    record = RedisRecord(stack.redis_url, prefix=stack.namespace)
    broker = RabbitBroker(stack.rabbitmq_url, namespace=stack.namespace, name="the benchmark")
    try:
        clock = RecordClock(record)
        await clock.synchronise()

        async def connected() -> bool:
            return broker.is_connected

        await eventually_async(connected, within=10, what="the benchmark to be connected")
        yield Journal(record, clock, broker.broadcast)
    finally:
        await broker.close()
        await record.close()
