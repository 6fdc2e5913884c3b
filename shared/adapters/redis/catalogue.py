"""The catalogue: what can be found in the record without an id.

An index says where to look, and the task itself whether it is what was looked for.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.adapters.redis.layout import RATE_WINDOW, STATUS_SPAN, index_score, member_of, task_id_of
from shared.adapters.redis.pages import index_reader, newest
from shared.adapters.redis.store import Script
from shared.codec import decode_report, encode_report
from shared.domain.identity import PARTITION_NAMES
from shared.domain.task import TaskPriority, TaskStatus
from shared.ports import CLOCK_SLACK, Page, Place, QueueCounts

if TYPE_CHECKING:
    from shared.adapters.redis.layout import Layout
    from shared.adapters.redis.store import RedisStore
    from shared.domain.filters import TaskFilter
    from shared.domain.task import Millis, Task
    from shared.ports import Record, WorkerReport

_QUEUES = Script("queues")

LABELS_READ = 1_000
"""How many tasks one page looks at for those with the right labels, which are in no index."""

_WORKERS = "workers"
_PRIORITIES = tuple(TaskPriority)


class RedisCatalogue:
    """The catalogue port on the store of a record."""

    def __init__(self, store: RedisStore, layout: Layout, record: Record) -> None:
        self._store = store
        self._layout = layout
        self._record = record

    async def newest(self, tenant: str, wanted: TaskFilter, *, before: Place | None, limit: int) -> Page:
        """See `shared.ports.Catalogue.newest`."""
        looked_at = max(limit, LABELS_READ) if wanted.labels else limit
        now, (places, more) = await asyncio.gather(
            self._record.server_time(), self._newest_places(tenant, wanted, before, looked_at)
        )
        tasks: list[Task] = []
        for start in range(0, len(places), limit):
            chunk = places[start : start + limit]
            for place, task in zip(chunk, await self._record.read_many([p.task_id for p in chunk]), strict=True):
                if task is None or not wanted.matches(task) or _is_over(task, now):
                    continue
                tasks.append(task)
                if len(tasks) == limit:
                    return Page(tuple(tasks), place if more or place != places[-1] else None)
        return Page(tuple(tasks), places[-1] if more else None)

    async def changed(self, tenant: str, *, since: Millis) -> list[str]:
        """See `shared.ports.Catalogue.changed`."""
        replies = await self._store.call_all(
            ("ZRANGE", self._layout.changed(partition, tenant), since, "+inf", "BYSCORE")
            for partition in PARTITION_NAMES
        )
        return [task_id_of(member) for reply in replies for member in reply]

    async def queues(self) -> list[QueueCounts]:
        """See `shared.ports.Catalogue.queues`."""
        now = await self._record.server_time()
        replies = await self._store.run_all(
            _QUEUES,
            [
                (
                    (self._layout.queues(partition), self._layout.ended(partition)),
                    (
                        self._layout.of_partition(partition, "line:"),
                        index_score(TaskStatus.WAITING, 0),
                        index_score(TaskStatus.WAITING, now + CLOCK_SLACK),
                        index_score(TaskStatus.PROCESSING, 0),
                        now - RATE_WINDOW,
                        *(priority.name.lower() for priority in _PRIORITIES),
                    ),
                )
                for partition in PARTITION_NAMES
            ],
        )
        tallies: dict[str, _Tally] = {}
        for reply in replies:
            for start in range(0, len(reply), _NUMBERS):
                name, *numbers = reply[start : start + _NUMBERS]
                tallies.setdefault(name.decode(), _Tally()).add(numbers)
        return [tally.counts(name, now) for name, tally in sorted(tallies.items()) if tally.is_in_use]

    async def report(self, worker: WorkerReport, *, ttl: Millis) -> None:
        """See `shared.ports.Catalogue.report`."""
        await self._store.call("SET", self._layout.worker(worker.name), encode_report(worker), "PX", ttl)
        await self._record.enrol(_WORKERS, worker.name, ttl=ttl)

    async def withdraw(self, name: str) -> None:
        """See `shared.ports.Catalogue.withdraw`."""
        await self._record.leave(_WORKERS, name)
        await self._store.call("DEL", self._layout.worker(name))

    async def workers(self) -> list[WorkerReport]:
        """See `shared.ports.Catalogue.workers`."""
        now = await self._record.server_time()
        members = await self._store.call("ZRANGE", self._layout.members(_WORKERS), f"({now}", "+inf", "BYSCORE")
        names = sorted(member.decode() for member in members)
        reports = await self._store.call_all(("GET", self._layout.worker(name)) for name in names)
        return [decode_report(report) for report in reports if report is not None]

    async def _newest_places(
        self, tenant: str, wanted: TaskFilter, before: Place | None, limit: int
    ) -> tuple[list[Place], bool]:
        earliest = max(wanted.created_after or 0, 0)
        latest = STATUS_SPAN if wanted.created_before is None else max(min(wanted.created_before, STATUS_SPAN), 0)
        # No member is as small as none, so what was created at `latest` itself is left out.
        start = (latest, b"")
        if before is not None:
            start = min(start, (before.create_time, member_of(before.task_id)))
        statuses = wanted.statuses or frozenset(TaskStatus)
        runs = [(partition, int(status)) for partition in PARTITION_NAMES for status in statuses]

        def key(partition: str) -> str:
            return self._layout.index(partition, tenant, type_=wanted.type, queue=wanted.queue)

        read = index_reader(self._store, key, since=earliest)
        marks, more = await newest(read, runs, before=start, limit=limit)
        return [Place(time, task_id_of(member)) for time, member in marks], more


def _is_over(task: Task, now: Millis) -> bool:
    """Whether the task is kept no longer for those who look through lists."""
    return task.expire_time is not None and task.expire_time <= now


_NUMBERS = 2 + 4 * len(_PRIORITIES)
"""What `queues.lua` tells of each queue, its name included."""


@dataclass(slots=True)
class _Tally:
    """The sums of what the partitions tell of one queue."""

    waiting: dict[TaskPriority, int] = field(default_factory=lambda: dict.fromkeys(_PRIORITIES, 0))
    delayed: int = 0
    running: int = 0
    ended: int = 0
    oldest: Millis | None = None

    def add(self, numbers: list[int | bytes]) -> None:
        """Add what one partition tells."""
        self.ended += int(numbers[0])
        for index, priority in enumerate(_PRIORITIES):
            waiting, delayed, running, first = numbers[1 + 4 * index : 5 + 4 * index]
            self.waiting[priority] += int(waiting)
            self.delayed += int(delayed)
            self.running += int(running)
            if first:
                since = int(first) % STATUS_SPAN
                self.oldest = since if self.oldest is None else min(self.oldest, since)

    @property
    def is_in_use(self) -> bool:
        return bool(self.ended or self.delayed or self.running or any(self.waiting.values()))

    def counts(self, name: str, now: Millis) -> QueueCounts:
        return QueueCounts(
            name=name,
            waiting=self.waiting,
            running=self.running,
            delayed=self.delayed,
            oldest_waiting=None if self.oldest is None else max(now - self.oldest, 0),
            ended=self.ended,
        )
