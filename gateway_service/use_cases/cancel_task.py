"""Cancel a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_service.faults import InvalidRequestError, TaskNotCancellableError
from gateway_service.use_cases.get_task import check_task_id, owned
from shared.domain.commands import Cancel
from shared.domain.decide import RefusalReason
from shared.domain.submission import Violation
from shared.journal import Refused

if TYPE_CHECKING:
    from shared.domain.submission import Limits
    from shared.domain.task import Task
    from shared.journal import Journal
    from shared.ports import Record


class CancelTask:
    """A task that has not finished is CANCELLED at once; whoever runs it is told by the event."""

    def __init__(self, record: Record, journal: Journal, limits: Limits) -> None:
        self._record = record
        self._journal = journal
        self._limits = limits

    async def __call__(self, tenant: str, task_id: str, reason: str) -> Task:
        """The cancelled task, without its payload; cancelling twice is fine.

        Raises InvalidRequestError, TaskNotFoundError, TaskNotCancellableError if it finished otherwise, or
        StoreUnavailableError.
        """
        check_task_id(task_id)
        if len(reason) > self._limits.cancel_reason_length:
            longest = self._limits.cancel_reason_length
            raise InvalidRequestError([Violation("reason", f"must have at most {longest} characters")])
        known = owned(await self._record.read(task_id, payload=False, result=False), tenant, task_id)
        outcome = await self._journal.execute(task_id, Cancel(reason=reason), known=known)
        task = owned(outcome.task, tenant, task_id)
        if isinstance(outcome, Refused) and outcome.reason is not RefusalReason.ALREADY_CANCELLED:
            raise TaskNotCancellableError(
                f"Task {task_id} has already ended with {task.status.name}; what has ended cannot be cancelled."
            )
        return task
