"""What a filter asks of a task, remembered: all of it but the status stays as it was when the task was recorded."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from shared.domain.task import Task, TaskSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.ports import Record

MOST_KNOWN = 4_096
"""Tasks remembered: some kilobytes each at most, for labels."""

AT_ONCE = 256


class KnownTasks:
    """Tasks that watches by filter of this process have met, the least recently needed forgotten first.

    A task is read once for all watches, and those that are new at one moment in one call.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self._known: OrderedDict[str, Task] = OrderedDict()
        self._reading = asyncio.Lock()

    async def look_up(self, task_ids: Iterable[str]) -> dict[str, Task]:
        """Tenant, type, queue, labels and creation time of those of the tasks that exist; nothing else is set."""
        asked = list(task_ids)
        # One after the other: the second watch that asks finds what was read for the first.
        async with self._reading:
            found = {task_id: self._known[task_id] for task_id in asked if task_id in self._known}
            missing = [task_id for task_id in asked if task_id not in found]
            for start in range(0, len(missing), AT_ONCE):
                for task in await self._record.read_many(missing[start : start + AT_ONCE]):
                    if task is not None:
                        found[task.id] = _lasting(task)
            for task_id, task in found.items():
                self._known[task_id] = task
                self._known.move_to_end(task_id)
            while len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
            return found


def _lasting(task: Task) -> Task:
    spec = TaskSpec(type=task.spec.type, labels=task.spec.labels, queue=task.spec.queue)
    return Task(id=task.id, tenant=task.tenant, spec=spec, create_time=task.create_time)
