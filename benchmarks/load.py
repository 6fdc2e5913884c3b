"""Load from outside: closed-loop clients on several connections, all in this process."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import grpc

from taskcast.v1 import task_pb2, task_service_pb2, task_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from google.protobuf.message import Message

CHANNELS = 4
"""A gRPC connection is served by one event loop and has a limit on calls at once, so one is too few."""


@dataclass(slots=True)
class Measured:
    """What some number of operations took: wall clock, and processor time of the processes looked at."""

    count: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    processor: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.count / self.seconds

    def micros(self, process: str) -> float:
        """Processor time of `process` for each operation, microseconds."""
        return self.processor[process] / self.count * 1e6

    def percentile(self, percent: int) -> float:
        """Latency, milliseconds."""
        return statistics.quantiles(self.latencies, n=100)[percent - 1] * 1_000


def processor_seconds(pid: int) -> float:
    """Processor time a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def measuring(processes: dict[str, int]) -> Iterator[Measured]:
    """Measure what happens inside; `processes` are pids by name."""
    measured = Measured()
    before = {name: processor_seconds(pid) for name, pid in processes.items()}
    began = time.perf_counter()
    yield measured
    measured.seconds = time.perf_counter() - began
    measured.processor = {name: processor_seconds(pid) - before[name] for name, pid in processes.items()}


class Clients:
    """So many clients on a few connections to one address."""

    def __init__(self, address: str, clients: int) -> None:
        self._address = address
        self._clients = clients
        self._stack = AsyncExitStack()
        self.stubs: list[task_service_pb2_grpc.TaskServiceAsyncStub] = []

    async def __aenter__(self) -> Self:
        for number in range(CHANNELS):
            options = [("bench.channel", number), ("grpc.enable_http_proxy", 0)]
            channel = grpc.aio.insecure_channel(self._address, options=options)
            await self._stack.enter_async_context(channel)
            self.stubs.append(task_service_pb2_grpc.TaskServiceStub(channel))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def repeat(
        self,
        count: int,
        operation: Callable[[task_service_pb2_grpc.TaskServiceAsyncStub], Awaitable[Any]],
        measured: Measured,
    ) -> list[Any]:
        """Do `operation` `count` times; each client begins the next when its last is answered."""
        left = iter(range(count))
        results: list[Any] = []

        async def client(number: int) -> None:
            stub = self.stubs[number % len(self.stubs)]
            for _ in left:
                began = time.perf_counter()
                results.append(await operation(stub))
                measured.latencies.append(time.perf_counter() - began)

        await asyncio.gather(*(client(number) for number in range(self._clients)))
        measured.count = count
        return results


async def submit(stub: task_service_pb2_grpc.TaskServiceAsyncStub, request: Message) -> str:
    """Submit a task; its id."""
    assert isinstance(request, task_service_pb2.SubmitTaskRequest)
    response = await stub.SubmitTask(request)
    return response.task.id


async def watch(stub: task_service_pb2_grpc.TaskServiceAsyncStub, task_id: str) -> int:
    """Follow a task from its first event to its end; how many messages came."""
    messages = 0
    last = None
    async for response in stub.WatchTask(task_service_pb2.WatchTaskRequest(task_id=task_id, after_sequence=0)):
        messages += 1
        last = response
    assert last is not None
    assert last.event.status == task_pb2.TASK_STATUS_SUCCESS
    return messages
