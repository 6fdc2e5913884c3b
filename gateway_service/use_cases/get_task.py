"""Look a task up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_service.faults import Fault, InvalidRequestError, TaskExpiredError, TaskNotFoundError
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
        """Raises InvalidRequestError for a malformed id, TaskNotFoundError, TaskExpiredError, StoreUnavailableError."""
        return await find(self._record, tenant, task_id, payload=payload)

    async def all(self, tenant: str, task_ids: Sequence[str]) -> list[Task | Fault]:
        """Each task without payload and result, or in its place what `__call__` would raise for it."""
        return await read_owned(self._record, tenant, task_ids)


async def find(record: Record, tenant: str, task_id: str, *, payload: bool = True, result: bool = True) -> Task:
    """The tenant's task. Raises InvalidRequestError for a malformed id, TaskNotFoundError, or TaskExpiredError."""
    check_task_id(task_id)
    task = await record.read(task_id, payload=payload, result=result)
    # A foreign task takes the same steps as none, so that nobody can tell them apart by the time it takes.
    if not _is_owned(task, tenant) and await record.has_expired(tenant, task_id):
        raise TaskExpiredError(task_id)
    return owned(task, tenant, task_id)


async def read_owned(record: Record, tenant: str, task_ids: Sequence[str]) -> list[Task | Fault]:
    """The tenant's tasks without payload and result; the fault in the place of each that cannot be had.

    Raises StoreUnavailableError.
    """
    readable = [task_id for task_id in task_ids if is_task_id(task_id)]
    tasks = dict(zip(readable, await record.read_many(readable), strict=True))
    absent = [task_id for task_id, task in tasks.items() if not _is_owned(task, tenant)]
    expired = {task_id for task_id, gone in zip(absent, await record.have_expired(tenant, absent), strict=True) if gone}
    answers: list[Task | Fault] = []
    for task_id in task_ids:
        try:
            check_task_id(task_id)
            answers.append(TaskExpiredError(task_id) if task_id in expired else owned(tasks[task_id], tenant, task_id))
        except Fault as fault:
            answers.append(fault)
    return answers


def check_task_id(task_id: str) -> None:
    """Raises InvalidRequestError unless `task_id` is written as a task id is."""
    if not is_task_id(task_id):
        raise InvalidRequestError([Violation("task_id", "must be a UUID in lower case, as SubmitTask answers it")])


def owned(task: Task | None, tenant: str, task_id: str) -> Task:
    """The task if it is the tenant's. A foreign task and none are the same to a client: TaskNotFoundError."""
    if task is None or task.tenant != tenant:
        raise TaskNotFoundError(task_id)
    return task


def _is_owned(task: Task | None, tenant: str) -> bool:
    return task is not None and task.tenant == tenant
