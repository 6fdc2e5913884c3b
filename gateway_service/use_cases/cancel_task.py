"""Cancel a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_service.faults import Fault, InvalidRequestError, TaskNotCancellableError
from gateway_service.use_cases.get_task import check_task_id, find, owned, read_owned
from shared.domain.commands import Cancel
from shared.domain.decide import RefusalReason
from shared.domain.submission import Violation
from shared.domain.task import Task
from shared.journal import Order, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.domain.submission import Limits
    from shared.journal import Done, Journal
    from shared.ports import Record, StoreError


class CancelTask:
    """A task that has not finished is CANCELLED at once; whoever runs it is told by the event."""

    def __init__(self, record: Record, journal: Journal, limits: Limits) -> None:
        self._record = record
        self._journal = journal
        self._limits = limits

    async def __call__(self, tenant: str, task_id: str, reason: str) -> Task:
        """The cancelled task, without its payload; cancelling twice is fine.

        Raises InvalidRequestError, TaskNotFoundError, TaskExpiredError, TaskNotCancellableError if it finished
        otherwise, or StoreUnavailableError.
        """
        check_task_id(task_id)
        self._check(reason)
        known = await find(self._record, tenant, task_id, payload=False, result=False)
        outcome = await self._journal.execute(task_id, Cancel(reason=reason), known=known)
        return _cancelled(outcome, tenant, task_id)

    async def all(self, tenant: str, task_ids: Sequence[str], reason: str) -> list[Task | Fault | StoreError]:
        """Cancel many, each by itself; in the place of a task may stand what `__call__` would raise for it.

        Raises InvalidRequestError for the reason, which is that of all, and StoreUnavailableError.
        """
        self._check(reason)
        answers: list[Task | Fault | StoreError] = [*await read_owned(self._record, tenant, task_ids)]
        known = [(index, task) for index, task in enumerate(answers) if isinstance(task, Task)]
        command = Cancel(reason=reason)
        outcomes = await self._journal.execute_all([Order(task.id, command, task) for _, task in known])
        for (index, task), outcome in zip(known, outcomes, strict=True):
            try:
                answers[index] = outcome if isinstance(outcome, Exception) else _cancelled(outcome, tenant, task.id)
            except Fault as fault:
                answers[index] = fault
        return answers

    def _check(self, reason: str) -> None:
        longest = self._limits.cancel_reason_length
        if len(reason) > longest:
            raise InvalidRequestError([Violation("reason", f"must have at most {longest} characters")])


def _cancelled(outcome: Done | Refused, tenant: str, task_id: str) -> Task:
    task = owned(outcome.task, tenant, task_id)
    if isinstance(outcome, Refused) and outcome.reason is not RefusalReason.ALREADY_CANCELLED:
        raise TaskNotCancellableError(
            f"Task {task_id} has already ended with {task.status.name}; what has ended cannot be cancelled."
        )
    return task
