"""What a listing costs, at a thousand tasks and at a hundred thousand, and what the indexes add to every append.

The record is filled and asked directly: what a gateway adds to a page does not depend on how many tasks there are.
"""

from __future__ import annotations

import asyncio
import statistics
import time
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import redis

from shared.adapters.redis import RedisRecord
from shared.domain.commands import Claim, Submit, Succeed
from shared.domain.filters import TaskFilter
from shared.domain.task import AttemptTerms, TaskSpec, TaskStatus
from shared.journal import Done, Journal
from shared.json_values import encode_json

if TYPE_CHECKING:
    from shared.domain.task import Millis
    from tests.stack import Stack

FEW, MANY = 1_000, 100_000
PAGE = 50
PAGES = 20
AT_ONCE = 1_000
TENANT = "the benchmark"
LONG: Millis = 10 * 365 * 86_400_000

FILTERS = {
    "all": TaskFilter(),
    "of a type": TaskFilter(type="type-1"),
    "with a status": TaskFilter(statuses=frozenset({TaskStatus.SUCCESS})),
    "of a type and queue with a status": TaskFilter(
        type="type-1", queue="queue-1", statuses=frozenset({TaskStatus.SUCCESS})
    ),
    "with a status that none of a type has": TaskFilter(type="type-2", statuses=frozenset({TaskStatus.FAILED})),
}


class _Ticking:
    """A clock by which each append of tasks is later than the one before."""

    def __init__(self, start: Millis) -> None:
        self.time = start

    def now(self) -> Millis:
        return self.time


@dataclass
class Costs:
    """Processor time of the appends so far, in seconds."""

    appends: int = 0
    client: float = 0.0
    server: float = 0.0


class Filling:
    """A record that is filled with finished tasks of several types and queues, and asked for pages."""

    def __init__(self, redis_url: str, prefix: str, *, now: Millis) -> None:
        self.record = RedisRecord(redis_url, prefix=prefix)
        self.costs = Costs()
        self._server = redis.Redis.from_url(redis_url)
        self._clock = _Ticking(now)
        self._journal = Journal(self.record, self._clock, lambda _key, _body: None)
        self._empty = self.memory()
        self.tasks = 0

    async def fill(self, tasks: int) -> None:
        """Let there be so many tasks."""
        while self.tasks < tasks:
            count = min(AT_ONCE, tasks - self.tasks)
            client, server = time.process_time(), self.processor_seconds()
            await asyncio.gather(*(self._live(self.tasks + number) for number in range(count)))
            self.costs.client += time.process_time() - client
            self.costs.server += self.processor_seconds() - server
            self.costs.appends += 3 * count
            self.tasks += count
            self._clock.time += count

    async def page(self, wanted: TaskFilter) -> tuple[float, float]:
        """Seconds until a first page is there, and of the server's processor for it; the median and the mean."""
        waits: list[float] = []
        server = self.processor_seconds()
        for _ in range(PAGES):
            began = time.perf_counter()
            await self.record.catalogue.newest(TENANT, wanted, before=None, limit=PAGE)
            waits.append(time.perf_counter() - began)
        return statistics.median(waits), (self.processor_seconds() - server) / PAGES

    @property
    def bytes_each(self) -> float:
        """What a task takes in the server's memory."""
        return (self.memory() - self._empty) / self.tasks

    def processor_seconds(self) -> float:
        """Of the server, so far."""
        info = self._server.info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    def memory(self) -> int:
        """In use by the server, in bytes."""
        return int(self._server.info("memory")["used_memory"])

    async def close(self) -> None:
        """Let go of the connections."""
        self._server.close()
        await self.record.close()

    async def _live(self, number: int) -> None:
        task_id = str(uuid.uuid4())
        spec = TaskSpec(
            type=f"type-{number % 5}",
            queue=f"queue-{number % 3}",
            payload=encode_json({"number": number}, "payload"),
            retention=LONG,
        )
        done = await self._journal.create(task_id, Submit(task_id=task_id, tenant=TENANT, spec=spec))
        assert isinstance(done, Done)
        claim = Claim(worker="the benchmark", terms=AttemptTerms(), lease=10_000)
        done = await self._journal.execute(task_id, claim, known=replace(done.task))
        assert isinstance(done, Done)
        succeed = Succeed(attempt=1, result=encode_json(number, "result"))
        assert isinstance(await self._journal.execute(task_id, succeed, known=done.task), Done)


async def measure_lists(stack: Stack) -> dict[str, float]:
    """All figures, by name."""
    figures: dict[str, float] = {}
    # Beside the stack's own keys: its gateway sweeps nothing here.
    filling = Filling(stack.redis_url, f"{stack.namespace}-lists", now=int(time.time() * 1_000))
    try:
        for tasks in (FEW, MANY):
            await filling.fill(tasks)
            for name, wanted in FILTERS.items():
                wait, server = await filling.page(wanted)
                figures[f"page, {name}, {tasks} tasks, ms"] = wait * 1_000
                figures[f"page, {name}, {tasks} tasks, server us"] = server * 1e6
        costs = filling.costs
        figures["append, client us"] = costs.client / costs.appends * 1e6
        figures["append, server us"] = costs.server / costs.appends * 1e6
        figures["finished task, bytes"] = filling.bytes_each
    finally:
        await filling.close()
    return figures
