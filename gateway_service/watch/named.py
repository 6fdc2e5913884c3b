"""Follow many tasks by their ids on one stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_service.faults import InvalidRequestError, TasksNotFoundError
from gateway_service.watch.history import History
from gateway_service.watch.named_tasks import NamedTasks
from gateway_service.watch.tail import tail
from gateway_service.watch.updates import Outlet
from shared.domain.identity import is_task_id
from shared.domain.submission import Violation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway_service.watch.hub import EventHub
    from gateway_service.watch.updates import Send
    from shared.domain.task import Task
    from shared.ports import Record

MOST_TASKS = 1_000
"""Tasks in one watch."""

AT_ONCE = 250
"""Tasks read in one call."""

MOST_VIOLATIONS = 20
"""Bad ids that an answer names: it must fit into the trailing metadata of a call."""


class FollowTasks:
    """One watch after another of several tasks each."""

    def __init__(self, record: Record, hub: EventHub) -> None:
        self._record = record
        self._hub = hub

    async def __call__(self, tenant: str, task_ids: Sequence[str], *, heartbeat: float, send: Send) -> None:
        """Send a snapshot of each task, without payload and result, then their events until all have ended.

        A heartbeat is sent when nothing else was for `heartbeat` seconds. Raises InvalidRequestError,
        TasksNotFoundError before anything is sent, TaskExpiredError, TooManyWatchesError, ShuttingDownError or
        StoreUnavailableError.
        """
        _check(task_ids)
        feed = await self._hub.listen(task_ids)
        try:
            outlet = Outlet(send, heartbeat=heartbeat)
            tasks = NamedTasks(feed, outlet, self._record, History(self._record))
            for task in await self._read(tenant, task_ids):
                await outlet.send(task)
                if not task.status.is_terminal:
                    tasks.begin(task.id, task.sequence)
            await tail(feed, outlet, tasks)
        finally:
            self._hub.drop(feed)

    async def _read(self, tenant: str, task_ids: Sequence[str]) -> list[Task]:
        found: dict[str, Task] = {}
        for start in range(0, len(task_ids), AT_ONCE):
            for task in await self._record.read_many(task_ids[start : start + AT_ONCE]):
                # A foreign task and none are the same to a client.
                if task is not None and task.tenant == tenant:
                    found[task.id] = task
        if missing := [task_id for task_id in task_ids if task_id not in found]:
            raise TasksNotFoundError(missing, asked=len(task_ids))
        return list(found.values())


def _check(task_ids: Sequence[str]) -> None:
    if not 1 <= len(task_ids) <= MOST_TASKS:
        raise InvalidRequestError([Violation("task_ids", f"must hold 1 to {MOST_TASKS} ids")])
    wrong = []
    seen = set()
    for index, task_id in enumerate(task_ids):
        if not is_task_id(task_id):
            wrong.append(Violation(f"task_ids[{index}]", "must be a UUID in lower case, as SubmitTask answers it"))
        elif task_id in seen:
            wrong.append(Violation(f"task_ids[{index}]", "is in the list already"))
        seen.add(task_id)
    if wrong:
        raise InvalidRequestError(wrong[:MOST_VIOLATIONS])
