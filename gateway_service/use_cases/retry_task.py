"""Submit a task again that did not succeed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway_service.faults import TaskNotRetryableError
from gateway_service.use_cases.get_task import find
from gateway_service.use_cases.submit_task import Submission
from shared.domain.task import TaskStatus

if TYPE_CHECKING:
    from gateway_service.use_cases.submit_task import SubmitTask, Submitted
    from shared.ports import Record


class RetryTask:
    """A new task like a finished one that did not succeed. The old one stays as it is."""

    def __init__(self, record: Record, submit: SubmitTask) -> None:
        self._record = record
        self._submit = submit

    async def __call__(self, tenant: str, task_id: str, *, request_id: str, fingerprint: bytes) -> Submitted:
        """Record a task that asks for the same as `task_id` did, and starts at once.

        With a `request_id` the second call finds the task of the first; see `SubmitTask`. Raises what SubmitTask
        raises, and TaskNotFoundError, TaskExpiredError, or TaskNotRetryableError if the task succeeded or has not
        finished.
        """
        old = await find(self._record, tenant, task_id, result=False)
        if not old.status.is_terminal:
            raise TaskNotRetryableError(f"Task {task_id} is {old.status.name}: only what has ended can be retried.")
        if old.status is TaskStatus.SUCCESS:
            raise TaskNotRetryableError(f"Task {task_id} succeeded: submit a new task to have it done again.")
        spec = replace(old.spec, schedule_time=None)
        return await self._submit(tenant, Submission(spec, request_id, fingerprint, retry_of=task_id))
