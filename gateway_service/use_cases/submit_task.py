"""Take a task in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import uuid_utils

from gateway_service.faults import InvalidRequestError, RequestIdReusedError
from shared.domain.commands import Submit
from shared.domain.identity import derived_task_id
from shared.domain.submission import Violation, violations
from shared.failpoints import failpoint
from shared.journal import Done
from shared.ports import StoreUnavailableError

if TYPE_CHECKING:
    from gateway_service.dispatcher import Dispatcher
    from shared.domain.submission import Limits
    from shared.domain.task import Task, TaskSpec
    from shared.journal import Journal
    from shared.ports import Clock, Record


@dataclass(frozen=True, slots=True)
class Submitted:
    """The task, and whether an earlier submission with the same request_id made it."""

    task: Task
    duplicate: bool


class SubmitTask:
    """Answers when the record has the task; dispatch follows at once, in the background."""

    def __init__(self, record: Record, journal: Journal, dispatcher: Dispatcher, clock: Clock, limits: Limits) -> None:
        self._record = record
        self._journal = journal
        self._dispatcher = dispatcher
        self._clock = clock
        self._limits = limits

    async def __call__(
        self, tenant: str, spec: TaskSpec, *, request_id: str, fingerprint: bytes, retry_of: str = ""
    ) -> Submitted:
        """Record the task that `spec` describes; `retry_of` is the id of the one that it repeats.

        With a `request_id` the second submission finds the first, if `fingerprint`, which identifies the body,
        is the same. Raises InvalidRequestError, RequestIdReusedError, BacklogFullError, StoreUnavailableError
        (then the outcome is unknown) or StoreFullError.
        """
        self._check(spec, request_id)
        self._dispatcher.check_room()
        task_id = derived_task_id(tenant, request_id) if request_id else str(uuid_utils.uuid7())
        outcome = await self._journal.create(
            task_id, Submit(task_id=task_id, tenant=tenant, spec=spec, retry_of=retry_of), fingerprint=fingerprint
        )
        if isinstance(outcome, Done):
            failpoint("gateway.recorded")
            if outcome.task.not_before <= self._clock.now():
                self._dispatcher.offer(outcome.task)
            return Submitted(outcome.task, duplicate=False)
        if outcome.fingerprint != fingerprint:
            raise RequestIdReusedError(request_id, task_id)
        first = await self._record.read(task_id, payload=False)
        if first is None:
            raise StoreUnavailableError(f"task {task_id} expired while it was submitted again")
        return Submitted(first, duplicate=True)

    def _check(self, spec: TaskSpec, request_id: str) -> None:
        wrong = violations(spec, self._limits, self._clock.now())
        if len(request_id) > self._limits.request_id_length:
            wrong.append(Violation("request_id", f"must have at most {self._limits.request_id_length} characters"))
        if wrong:
            raise InvalidRequestError(wrong)
