"""Show the queues, and the workers that take tasks from them."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.ports import QueueCounts

if TYPE_CHECKING:
    from shared.ports import Catalogue, WorkerReport


@dataclass(frozen=True, slots=True)
class QueueStanding:
    """A queue, and how many workers take tasks from it."""

    counts: QueueCounts
    consumers: int


class ListQueues:
    """Every queue that holds a task, or held one within the last minute, or has a worker; by name."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def __call__(self) -> list[QueueStanding]:
        """Raises StoreUnavailableError."""
        found, workers = await asyncio.gather(self._catalogue.queues(), self._catalogue.workers())
        consumers = Counter(queue for worker in workers for queue in set(worker.queues))
        counts = {queue.name: queue for queue in found}
        return [QueueStanding(counts.get(name) or _empty(name), consumers[name]) for name in sorted(counts | consumers)]


class ListWorkers:
    """Every worker that has reported lately, by name."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def __call__(self) -> list[WorkerReport]:
        """Raises StoreUnavailableError."""
        return await self._catalogue.workers()


def _empty(name: str) -> QueueCounts:
    return QueueCounts(name=name, waiting={}, running=0, delayed=0, oldest_waiting=None, ended=0)
