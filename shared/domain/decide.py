"""decide: which event follows from a command, or why it is refused.

The whole state machine of the design is here. Nothing in this module does anything: it only says what follows.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from shared.domain.commands import (
    Abort,
    Cancel,
    Claim,
    Command,
    ConfirmDispatch,
    Fail,
    HandBack,
    PostponeDispatch,
    RenewLease,
    ReportProgress,
    Retry,
    Submit,
    Succeed,
    Wake,
)
from shared.domain.retry import attempts_used, backoff, settle_terms
from shared.domain.task import EventType, Millis, Task, TaskError, TaskEvent, TaskStatus, Timers

CLAIM_TOLERANCE: Millis = 1_000
"""How much too early, by the worker's reading of the record's clock, a claim may come: readings differ a little."""

DISPATCH_GRACE: Millis = 5_000
"""How long a dispatch may stay unconfirmed before somebody tries again."""

REDISPATCH_FIRST: Millis = 600_000
REDISPATCH_LONGEST: Millis = 6 * 3_600_000
"""A confirmed but unclaimed task is put before the workers again after 10 min, 20 min, 40 min … up to every 6 h."""


LINGER: Millis = 10_000
"""A finished task stays at least so long, that whoever follows it can read its end."""


class RefusalReason(enum.Enum):
    """Why a command changes nothing."""

    ALREADY_EXISTS = "the task exists already"
    NOT_FOUND = "the task does not exist"
    ALREADY_CANCELLED = "the task is cancelled already"
    FINISHED = "the task has finished"
    NOT_WAITING = "the task is running already"
    NOT_DUE = "it is not time yet"
    SUPERSEDED = "the attempt is not the running one any more"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The command changes nothing, and why."""

    reason: RefusalReason


@dataclass(frozen=True, slots=True)
class Rescheduled:
    """No event, only other timers."""

    timers: Timers


Verdict = TaskEvent | Rescheduled | Refusal


def decide(task: Task | None, command: Command, now: Millis) -> Verdict:
    """Say what follows from `command` on `task` at `now` (milliseconds, the record's clock).

    Returns the one event that follows, other timers where the change is no event, or a refusal. Raises nothing.
    """
    if isinstance(command, Submit):
        return _submit(command, now) if task is None else Refusal(RefusalReason.ALREADY_EXISTS)
    if task is None:
        return Refusal(RefusalReason.NOT_FOUND)
    if task.status.is_terminal:
        cancelled_twice = isinstance(command, Cancel) and task.status is TaskStatus.CANCELLED
        return Refusal(RefusalReason.ALREADY_CANCELLED if cancelled_twice else RefusalReason.FINISHED)
    # Hosts read the record's clock with a small error; a task's own history never runs backwards.
    now = max(now, task.update_time)
    match command:
        case Claim():
            return _claim(task, command, now)
        case Cancel(reason=reason):
            return replace(_event(task, EventType.CANCELLED, TaskStatus.CANCELLED, now), cancel_reason=reason)
        case Wake():
            return _wake(task, now)
        case ConfirmDispatch() | PostponeDispatch():
            return _reschedule_dispatch(task, command, now)
        case _:
            if task.status is not TaskStatus.PROCESSING or task.attempt != command.attempt:
                return Refusal(RefusalReason.SUPERSEDED)
            return _report(task, command, now)


def dispatch_due(task: Task, now: Millis) -> bool:
    """Whether the waiting task is to be put before the workers (again) by `now`."""
    return task.status is TaskStatus.WAITING and task.timers.dispatch_at <= now


def next_wake(task: Task, timers: Timers | None = None) -> Millis | None:
    """When somebody must look at the task again, whatever the reason; None once it is terminal.

    `timers` stand in for the task's own.
    """
    if task.status.is_terminal:
        return None
    timers = timers or task.timers
    if task.status is TaskStatus.WAITING:
        times = (timers.dispatch_at, task.deadline)
    else:
        times = (timers.lease_expires, _earlier(task.attempt_deadline, task.deadline))
    return _earlier(*times)


def kept_until(task: Task) -> Millis:
    """Until when a terminal task can be read: for as long as was asked, though not less than `LINGER`."""
    return task.update_time + max(task.spec.retention, LINGER)


def _earlier(one: Millis | None, other: Millis | None) -> Millis | None:
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)


def _submit(command: Submit, now: Millis) -> TaskEvent:
    return TaskEvent(
        task_id=command.task_id,
        sequence=1,
        type=EventType.SUBMITTED,
        status=TaskStatus.WAITING,
        attempt=0,
        time=now,
        tenant=command.tenant,
        spec=command.spec,
        retry_of=command.retry_of,
    )


def _claim(task: Task, command: Claim, now: Millis) -> Verdict:
    if task.status is not TaskStatus.WAITING:
        return Refusal(RefusalReason.NOT_WAITING)
    # A message that was sent for an earlier attempt proves nothing of this one's time.
    tolerance = CLAIM_TOLERANCE if command.attempt == task.attempt + 1 else 0
    if task.not_before > now + tolerance:
        return Refusal(RefusalReason.NOT_DUE)
    return TaskEvent(
        task_id=task.id,
        sequence=task.sequence + 1,
        type=EventType.STARTED,
        status=TaskStatus.PROCESSING,
        attempt=task.attempt + 1,
        time=now,
        worker=command.worker,
        terms=settle_terms(task.spec, command.terms),
        lease=command.lease,
    )


def _report(
    task: Task, command: RenewLease | ReportProgress | Succeed | Fail | Retry | Abort | HandBack, now: Millis
) -> Verdict:
    """What follows from a word of the running attempt."""
    match command:
        case RenewLease(lease=lease):
            return Rescheduled(replace(task.timers, lease_expires=now + lease))
        case ReportProgress(progress=progress, lease=lease):
            progressed = _event(task, EventType.PROGRESSED, TaskStatus.PROCESSING, now)
            return replace(progressed, progress=progress, lease=lease)
        case Succeed(result=result):
            return replace(_event(task, EventType.SUCCEEDED, TaskStatus.SUCCESS, now), result=result)
        case Fail(error=error):
            return replace(_event(task, EventType.FAILED, TaskStatus.FAILED, now), error=error)
        case Abort(error=error):
            return replace(_event(task, EventType.ERRORED, TaskStatus.ERROR, now), error=error)
        case Retry(error=error, after=after):
            return _retry(task, error, now, after=after)
        case HandBack():
            error = TaskError(code="WORKER_SHUTDOWN", message="The worker stopped; the task runs again elsewhere.")
            return _scheduled(task, error, now, after=0)


def _retry(
    task: Task,
    error: TaskError,
    now: Millis,
    *,
    after: Millis | None = None,
    otherwise: tuple[EventType, TaskStatus] = (EventType.ERRORED, TaskStatus.ERROR),
) -> TaskEvent:
    """Another attempt while the policy allows one, else the end that `otherwise` names."""
    terms = task.terms or settle_terms(task.spec)
    if attempts_used(task) >= terms.max_attempts:
        return replace(_event(task, *otherwise, now), error=error)
    return _scheduled(task, error, now, after=backoff(task, terms) if after is None else after)


def _scheduled(task: Task, error: TaskError, now: Millis, *, after: Millis) -> TaskEvent:
    return replace(
        _event(task, EventType.RETRY_SCHEDULED, TaskStatus.WAITING, now),
        error=error,
        next_attempt_time=now + after,
    )


def _wake(task: Task, now: Millis) -> Verdict:
    if task.deadline is not None and task.deadline <= now:
        error = TaskError(
            code="TASK_TIMEOUT", message=f"The task did not finish within its timeout of {_seconds(task.spec.timeout)}."
        )
        return replace(_event(task, EventType.TIMED_OUT, TaskStatus.TIMEOUT, now), error=error)
    if task.status is TaskStatus.WAITING:
        return Refusal(RefusalReason.NOT_DUE)
    if task.attempt_deadline is not None and task.attempt_deadline <= now:
        limit = _seconds(task.terms.attempt_timeout if task.terms else None)
        error = TaskError(
            code="ATTEMPT_TIMEOUT", message=f"Attempt {task.attempt} did not finish within its timeout of {limit}."
        )
        return _retry(task, error, now, otherwise=(EventType.TIMED_OUT, TaskStatus.TIMEOUT))
    if task.timers.lease_expires <= now:
        worker = task.attempts[-1].worker
        error = TaskError(
            code="LEASE_LOST", message=f"Worker {worker} stopped reporting while it ran attempt {task.attempt}."
        )
        # The handler is not known to be at fault, so nothing is gained by waiting.
        return _retry(task, error, now, after=0)
    return Refusal(RefusalReason.NOT_DUE)


def _reschedule_dispatch(task: Task, command: ConfirmDispatch | PostponeDispatch, now: Millis) -> Verdict:
    if task.status is not TaskStatus.WAITING:
        return Refusal(RefusalReason.NOT_WAITING)
    if isinstance(command, PostponeDispatch):
        return Rescheduled(replace(task.timers, dispatch_at=now + DISPATCH_GRACE))
    interval = min(REDISPATCH_FIRST << min(task.timers.dispatches, 16), REDISPATCH_LONGEST)
    return Rescheduled(replace(task.timers, dispatches=task.timers.dispatches + 1, dispatch_at=now + interval))


def _event(task: Task, type_: EventType, status: TaskStatus, now: Millis) -> TaskEvent:
    return TaskEvent(
        task_id=task.id, sequence=task.sequence + 1, type=type_, status=status, attempt=task.attempt, time=now
    )


def _seconds(duration: Millis | None) -> str:
    return f"{(duration or 0) / 1_000:g} s"
