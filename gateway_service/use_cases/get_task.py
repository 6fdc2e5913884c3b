"""Look a task up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_service.faults import InvalidRequestError, TaskNotFoundError
from shared.domain.identity import is_task_id
from shared.domain.submission import Violation

if TYPE_CHECKING:
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


def check_task_id(task_id: str) -> None:
    """Raises InvalidRequestError unless `task_id` is written as a task id is."""
    if not is_task_id(task_id):
        raise InvalidRequestError([Violation("task_id", "must be a UUID in lower case, as SubmitTask answers it")])


def owned(task: Task | None, tenant: str, task_id: str) -> Task:
    """The task if it is the tenant's. A foreign task and none are the same to a client: TaskNotFoundError."""
    if task is None or task.tenant != tenant:
        raise TaskNotFoundError(task_id)
    return task
