"""Look a task up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_service.faults import Fault, InvalidRequestError, TaskNotFoundError
from shared.domain.identity import is_task_id
from shared.domain.submission import Violation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.domain.task import Task
    from shared.ports import Record


class GetTask:
    """The task as it is now."""

    def __init__(self, record: Record) -> None:
        self._record = record

    async def __call__(self, tenant: str, task_id: str, *, payload: bool = True) -> Task:
        """Raises InvalidRequestError for a malformed id, TaskNotFoundError, StoreUnavailableError."""
        check_task_id(task_id)
        return owned(await self._record.read(task_id, payload=payload), tenant, task_id)

    async def all(self, tenant: str, task_ids: Sequence[str]) -> list[Task | Fault]:
        """Each task without payload and result, or in its place what `__call__` would raise for it."""
        return await read_owned(self._record, tenant, task_ids)


async def read_owned(record: Record, tenant: str, task_ids: Sequence[str]) -> list[Task | Fault]:
    """The tenant's tasks without payload and result; the fault in the place of each that cannot be had.

    Raises StoreUnavailableError.
    """
    readable = [task_id for task_id in task_ids if is_task_id(task_id)]
    found = iter(await record.read_many(readable))
    return [_answer(tenant, task_id, next(found) if is_task_id(task_id) else None) for task_id in task_ids]


def _answer(tenant: str, task_id: str, task: Task | None) -> Task | Fault:
    try:
        check_task_id(task_id)
        return owned(task, tenant, task_id)
    except Fault as fault:
        return fault


def check_task_id(task_id: str) -> None:
    """Raises InvalidRequestError unless `task_id` is written as a task id is."""
    if not is_task_id(task_id):
        raise InvalidRequestError([Violation("task_id", "must be a UUID in lower case, as SubmitTask answers it")])


def owned(task: Task | None, tenant: str, task_id: str) -> Task:
    """The task if it is the tenant's. A foreign task and none are the same to a client: TaskNotFoundError."""
    if task is None or task.tenant != tenant:
        raise TaskNotFoundError(task_id)
    return task
