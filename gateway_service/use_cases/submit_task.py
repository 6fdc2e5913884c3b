"""Take tasks in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import uuid_utils

from gateway_service.faults import (
    BacklogFullError,
    Fault,
    InvalidRequestError,
    RequestIdReusedError,
    WebhooksUnsignedError,
)
from shared.domain.commands import Submit
from shared.domain.identity import derived_task_id
from shared.domain.submission import Violation, violations
from shared.failpoints import failpoint
from shared.journal import Done, Order, Refused
from shared.ports import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway_service.dispatcher import Dispatcher
    from shared.domain.addresses import Reach
    from shared.domain.submission import Limits
    from shared.domain.task import Task, TaskSpec
    from shared.journal import Journal
    from shared.ports import Clock, Record, StoreError
    from shared.webhook_secrets import Secrets


@dataclass(frozen=True, slots=True)
class Submission:
    """What is to be done, and what names this wish: see `SubmitTask`. `retry_of` is the task that it repeats."""

    spec: TaskSpec
    request_id: str = ""
    fingerprint: bytes = b""
    retry_of: str = ""


@dataclass(frozen=True, slots=True)
class Submitted:
    """The task, and whether an earlier submission with the same request_id made it."""

    task: Task
    duplicate: bool


class SubmitTask:
    """Answers when the record has the task; dispatch follows at once, in the background."""

    def __init__(
        self,
        record: Record,
        journal: Journal,
        dispatcher: Dispatcher,
        clock: Clock,
        limits: Limits,
        *,
        reach: Reach,
        secrets: Secrets,
    ) -> None:
        """`reach` says where webhooks may go; `secrets` sign them."""
        self._record = record
        self._journal = journal
        self._dispatcher = dispatcher
        self._clock = clock
        self._limits = limits
        self._reach = reach
        self._secrets = secrets

    async def __call__(self, tenant: str, submission: Submission) -> Submitted:
        """Record the task that a submission describes.

        With a `request_id` the second submission finds the first, if `fingerprint`, which identifies the body,
        is the same. Raises InvalidRequestError, WebhooksUnsignedError, RequestIdReusedError, BacklogFullError,
        StoreUnavailableError (then the outcome is unknown) or StoreFullError.
        """
        (outcome,) = await self.all(tenant, [submission], result=True)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def all(
        self, tenant: str, submissions: Sequence[Submission], *, result: bool = False
    ) -> list[Submitted | Fault | StoreError]:
        """Record many, each by itself; in the place of an answer may stand what `__call__` would have raised.

        A task that an earlier submission made comes with its result only if `result` says so.
        """
        outcomes: dict[int, Submitted | Fault | StoreError] = {}
        for index, submission in enumerate(submissions):
            refusal = self._refusal(tenant, submission)
            if refusal is not None:
                outcomes[index] = refusal
        admitted = [index for index in range(len(submissions)) if index not in outcomes]
        room = self._dispatcher.room
        if len(admitted) > room:
            waiting = self._dispatcher.undispatched
            full = BacklogFullError(f"{waiting} tasks wait for RabbitMQ already; submit again later.")
            outcomes |= dict.fromkeys(admitted[room:], full)
            del admitted[room:]
        orders = [_order(tenant, submissions[index]) for index in admitted]
        answers = await self._journal.execute_all(orders)
        failpoint("gateway.recorded")
        now = self._clock.now()
        self._dispatcher.offer(
            [answer.task for answer in answers if isinstance(answer, Done) and answer.task.not_before <= now]
        )
        repeated: dict[int, str] = {}
        for index, order, answer in zip(admitted, orders, answers, strict=True):
            if isinstance(answer, Done):
                outcomes[index] = Submitted(answer.task, duplicate=False)
            elif not isinstance(answer, Refused):
                outcomes[index] = answer
            elif answer.fingerprint == order.fingerprint:
                repeated[index] = order.task_id
            else:
                outcomes[index] = RequestIdReusedError(submissions[index].request_id, order.task_id)
        found = await self._find([*repeated.values()], result=result)
        outcomes |= zip(repeated, found, strict=True)
        return [outcomes[index] for index in range(len(submissions))]

    async def _find(self, task_ids: Sequence[str], *, result: bool) -> list[Submitted | StoreUnavailableError]:
        """The tasks that earlier submissions with the same request_ids made."""
        try:
            tasks = await self._record.read_many(task_ids, result=result)
        except StoreUnavailableError as error:
            return [error] * len(task_ids)
        return [
            Submitted(task, duplicate=True)
            if task is not None
            else StoreUnavailableError(f"task {task_id} expired while it was submitted again")
            for task_id, task in zip(task_ids, tasks, strict=True)
        ]

    def _refusal(self, tenant: str, submission: Submission) -> Fault | None:
        wrong = violations(submission.spec, self._limits, self._clock.now(), self._reach)
        if len(submission.request_id) > self._limits.request_id_length:
            wrong.append(Violation("request_id", f"must have at most {self._limits.request_id_length} characters"))
        if wrong:
            return InvalidRequestError(wrong)
        hosts = [urlsplit(hook.url).hostname or "" for hook in submission.spec.webhooks]
        if not all(self._secrets.of(tenant, host) for host in hosts):
            return WebhooksUnsignedError()
        return None


def _order(tenant: str, submission: Submission) -> Order:
    request_id = submission.request_id
    task_id = derived_task_id(tenant, request_id) if request_id else str(uuid_utils.uuid7())
    submit = Submit(task_id=task_id, tenant=tenant, spec=submission.spec, retry_of=submission.retry_of)
    return Order(task_id, submit, fingerprint=submission.fingerprint)
