"""A record as one would explain it to somebody: dictionaries, and the rules of a task's life in plain words.

It shares the values with Taskcast and none of its rules, so where one of the two is wrong they differ.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from shared.domain.commands import (
    Abort,
    Cancel,
    Claim,
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
from shared.domain.decide import RefusalReason
from shared.domain.task import (
    Attempt,
    AttemptTerms,
    EventType,
    Task,
    TaskError,
    TaskEvent,
    TaskPriority,
    TaskStatus,
    Timers,
)
from shared.ports import CLOCK_SLACK, QueueCounts

if TYPE_CHECKING:
    from shared.domain.commands import Command
    from shared.domain.filters import TaskFilter
    from shared.domain.task import Millis, TaskSpec

TERMINAL = {TaskStatus.SUCCESS, TaskStatus.FAILED, TaskStatus.ERROR, TaskStatus.CANCELLED, TaskStatus.TIMEOUT}
SECOND: Millis = 1_000
MINUTE: Millis = 60_000


class RefusedError(Exception):
    """A command that changes nothing, and why."""

    def __init__(self, reason: RefusalReason) -> None:
        self.reason = reason


@dataclass
class Kept:
    """A task with all that belongs to it. The log has what is left of it, `first` on being whole."""

    task: Task
    fingerprint: bytes
    log: list[TaskEvent] = field(default_factory=list)
    first: int = 1


class Model:
    """All tasks, and a clock that the test sets."""

    def __init__(self, now: Millis, *, log_limit: int) -> None:
        self.now = now
        self.kept: dict[str, Kept] = {}
        self.expired: set[tuple[str, str]] = set()
        self._log_limit = log_limit
        self._changed: dict[tuple[str, str], dict[str, Millis]] = defaultdict(dict)
        self._ended: dict[str, dict[tuple[str, str], Millis]] = defaultdict(dict)

    # --- Changes ------------------------------------------------------------------------------------------------------

    def carry_out(self, task_id: str, *commands: Command, fingerprint: bytes = b"") -> RefusalReason | None:
        """Do all that the commands say, or nothing: then why."""
        kept = self.kept.get(task_id)
        task = kept.task if kept else None
        events = []
        try:
            for command in commands:
                task, event = _follow(task, command, self.now)
                if event is not None:
                    events.append(event)
        except RefusedError as refused:
            return refused.reason
        assert task is not None
        kept = self.kept.setdefault(task_id, Kept(task, fingerprint))
        kept.task = task
        if events:
            self._note(kept, events)
        return None

    def _note(self, kept: Kept, events: list[TaskEvent]) -> None:
        task = kept.task
        kept.log += events
        if task.sequence - kept.first + 1 > self._log_limit:
            kept.first = task.sequence - self._log_limit // 2 + 1
            kept.log = [e for e in kept.log if e.sequence >= kept.first or e.type is not EventType.PROGRESSED]
        changed = self._changed[task.id[-2:], task.tenant]
        changed[task.id] = task.update_time
        if events[0].type is EventType.SUBMITTED:
            for task_id in [each for each, time in changed.items() if time < task.update_time - 5 * MINUTE]:
                del changed[task_id]
        if task.status in TERMINAL:
            ended = self._ended[task.id[-2:]]
            for old in [key for key, time in ended.items() if time < task.update_time - MINUTE]:
                del ended[old]
            ended[task.id, task.spec.queue] = task.update_time

    def forget(self, partition: str, limit: int) -> int:
        """Remove what was kept long enough, the oldest first."""
        over = sorted(
            (kept_until(kept.task), task_id)
            for task_id, kept in self.kept.items()
            if task_id[-2:] == partition and kept.task.status in TERMINAL and kept_until(kept.task) <= self.now
        )[:limit]
        for _, task_id in over:
            tenant = self.kept.pop(task_id).task.tenant
            self.expired.add((tenant, task_id))
            self._changed[partition, tenant].pop(task_id, None)
        return len(over)

    # --- What can be asked --------------------------------------------------------------------------------------------

    def wakes(self) -> dict[str, Millis]:
        """When somebody must look at each task that is not terminal."""
        return {task_id: wake_of(kept.task) for task_id, kept in self.kept.items() if kept.task.status not in TERMINAL}

    def listed(self, tenant: str, wanted: TaskFilter) -> list[str]:
        """The tenant's tasks that match, newest first."""
        found = [
            (kept.task.create_time, task_id)
            for task_id, kept in self.kept.items()
            if kept.task.tenant == tenant
            and _matches(kept.task, wanted)
            and not (kept.task.status in TERMINAL and kept.task.update_time + kept.task.spec.retention <= self.now)
        ]
        return [task_id for _, task_id in sorted(found, reverse=True)]

    def changed(self, tenant: str, since: Millis) -> set[str]:
        """The tenant's tasks with an event at that time or later."""
        return {
            task_id
            for (_, each_tenant), changed in self._changed.items()
            for task_id, time in changed.items()
            if each_tenant == tenant and time >= since
        }

    def unfinished(self, partition: str) -> list[str]:
        """The tasks that are not terminal: what waits before what runs, by the time from which it may run."""
        tasks = [kept.task for kept in self.kept.values() if kept.task.status not in TERMINAL]
        standing = sorted((task.status, may_run_from(task), task.id) for task in tasks if task.id[-2:] == partition)
        return [task_id for _, _, task_id in standing]

    def queues(self) -> list[QueueCounts]:
        """The counts of every queue that has a task which is not terminal, or had one end within a minute."""
        alive = [kept.task for kept in self.kept.values() if kept.task.status not in TERMINAL]
        ended = [
            queue for ends in self._ended.values() for (_, queue), time in ends.items() if time >= self.now - MINUTE
        ]
        return [
            self._counts(name, [task for task in alive if task.spec.queue == name], ended.count(name))
            for name in sorted({task.spec.queue for task in alive} | set(ended))
        ]

    def _counts(self, name: str, alive: list[Task], ended: int) -> QueueCounts:
        waiting = [task for task in alive if task.status is TaskStatus.WAITING]
        ready = [task for task in waiting if may_run_from(task) <= self.now + CLOCK_SLACK]
        return QueueCounts(
            name=name,
            waiting={priority: sum(task.spec.priority is priority for task in ready) for priority in TaskPriority},
            running=len(alive) - len(waiting),
            delayed=len(waiting) - len(ready),
            oldest_waiting=max((max(self.now - may_run_from(task), 0) for task in ready), default=None),
            ended=ended,
        )


def kept_until(task: Task) -> Millis:
    """Until when a terminal task can be read."""
    return task.update_time + max(task.spec.retention, 10 * SECOND)


def may_run_from(task: Task) -> Millis:
    """From when on a task could have been started."""
    return max(task.create_time, task.next_attempt_time or task.spec.schedule_time or 0)


def wake_of(task: Task) -> Millis:
    """When somebody must look at a task that is not terminal."""
    times = [end for end in (_deadline(task),) if end is not None]
    if task.status is TaskStatus.WAITING:
        return min([*times, task.timers.dispatch_at])
    assert task.terms
    if task.terms.attempt_timeout:
        times.append(task.attempts[-1].start_time + task.terms.attempt_timeout)
    return min([*times, task.timers.lease_expires])


def _deadline(task: Task) -> Millis | None:
    if not task.spec.timeout:
        return None
    return max(task.create_time, task.spec.schedule_time or 0) + task.spec.timeout


def _matches(task: Task, wanted: TaskFilter) -> bool:
    conditions = [
        not wanted.statuses or task.status in wanted.statuses,
        not wanted.type or task.spec.type == wanted.type,
        not wanted.queue or task.spec.queue == wanted.queue,
        wanted.created_after is None or task.create_time >= wanted.created_after,
        wanted.created_before is None or task.create_time < wanted.created_before,
        set(wanted.labels.items()) <= set(task.spec.labels.items()),
    ]
    return all(conditions)


# --- The rules --------------------------------------------------------------------------------------------------------

_Outcome = tuple[Task, TaskEvent | None]


def _follow(task: Task | None, command: Command, now: Millis) -> _Outcome:
    """The task after a command, and the event that it became. Raises RefusedError."""
    if isinstance(command, Submit):
        if task is not None:
            raise RefusedError(RefusalReason.ALREADY_EXISTS)
        return _submitted(command, now)
    if task is None:
        raise RefusedError(RefusalReason.NOT_FOUND)
    if task.status in TERMINAL:
        again = isinstance(command, Cancel) and task.status is TaskStatus.CANCELLED
        raise RefusedError(RefusalReason.ALREADY_CANCELLED if again else RefusalReason.FINISHED)
    now = max(now, task.update_time)
    match command:
        case Claim():
            return _claimed(task, command, now)
        case Cancel(reason=reason):
            return _ended(task, EventType.CANCELLED, TaskStatus.CANCELLED, now, cancel_reason=reason)
        case Wake():
            return _woken(task, now)
        case ConfirmDispatch() | PostponeDispatch():
            return _dispatched(task, command, now)
        case _:
            return _said(task, command, now)


def _said(
    task: Task, command: RenewLease | ReportProgress | Succeed | Fail | Retry | Abort | HandBack, now: Millis
) -> _Outcome:
    """After a word of an attempt."""
    if task.status is not TaskStatus.PROCESSING or command.attempt != task.attempt:
        raise RefusedError(RefusalReason.SUPERSEDED)
    match command:
        case RenewLease(lease=lease):
            return replace(task, timers=replace(task.timers, lease_expires=now + lease)), None
        case ReportProgress(progress=progress, lease=lease):
            told = replace(task, progress=progress, timers=Timers(lease_expires=now + lease))
            return _next(told, EventType.PROGRESSED, now, progress=progress)
        case Retry(error=error, after=after):
            return _tried(task, error, now, after, (EventType.ERRORED, TaskStatus.ERROR))
        case HandBack():
            return _again(task, TaskError(code="WORKER_SHUTDOWN", message=""), now, now)
        case _:
            return _finished(task, command, now)


def _finished(task: Task, command: Succeed | Fail | Abort, now: Millis) -> _Outcome:
    match command:
        case Succeed(result=result):
            return _ended(replace(task, result=result), EventType.SUCCEEDED, TaskStatus.SUCCESS, now)
        case Fail(error=error):
            return _ended(task, EventType.FAILED, TaskStatus.FAILED, now, error=error)
        case Abort(error=error):
            return _ended(task, EventType.ERRORED, TaskStatus.ERROR, now, error=error)


def _submitted(command: Submit, now: Millis) -> _Outcome:
    start = max(now, command.spec.schedule_time or 0)
    task = Task(
        id=command.task_id,
        tenant=command.tenant,
        spec=command.spec,
        retry_of=command.retry_of,
        create_time=now,
        timers=Timers(dispatch_at=start if start > now else now + 5 * SECOND),
    )
    return _next(task, EventType.SUBMITTED, now)


def _claimed(task: Task, command: Claim, now: Millis) -> _Outcome:
    if task.status is not TaskStatus.WAITING:
        raise RefusedError(RefusalReason.NOT_WAITING)
    tolerance = SECOND if command.attempt == task.attempt + 1 else 0
    if (task.next_attempt_time or task.spec.schedule_time or 0) > now + tolerance:
        raise RefusedError(RefusalReason.NOT_DUE)
    started = replace(
        task,
        status=TaskStatus.PROCESSING,
        attempt=task.attempt + 1,
        attempts=(*task.attempts, Attempt(number=task.attempt + 1, worker=command.worker, start_time=now)),
        terms=_terms(task.spec, command.terms),
        progress=None,
        error=None,
        start_time=task.start_time or now,
        next_attempt_time=None,
        timers=Timers(lease_expires=now + command.lease),
    )
    return _next(started, EventType.STARTED, now, worker=command.worker)


def _terms(spec: TaskSpec, defaults: AttemptTerms) -> AttemptTerms:
    asked = {
        name: value
        for name in ("max_attempts", "initial_backoff", "max_backoff", "backoff_multiplier", "jitter")
        if (value := getattr(spec.retry_policy, name)) is not None
    }
    if spec.attempt_timeout is not None:
        asked["attempt_timeout"] = spec.attempt_timeout
    return replace(defaults, **asked)


def _woken(task: Task, now: Millis) -> _Outcome:
    deadline = _deadline(task)
    if deadline is not None and deadline <= now:
        return _ended(
            task, EventType.TIMED_OUT, TaskStatus.TIMEOUT, now, error=TaskError(code="TASK_TIMEOUT", message="")
        )
    if task.status is TaskStatus.PROCESSING:
        assert task.terms
        limit = task.terms.attempt_timeout
        if limit and task.attempts[-1].start_time + limit <= now:
            error = TaskError(code="ATTEMPT_TIMEOUT", message="")
            return _tried(task, error, now, None, (EventType.TIMED_OUT, TaskStatus.TIMEOUT))
        if task.timers.lease_expires <= now:
            error = TaskError(code="LEASE_LOST", message="")
            return _tried(task, error, now, 0, (EventType.ERRORED, TaskStatus.ERROR))
    raise RefusedError(RefusalReason.NOT_DUE)


def _dispatched(task: Task, command: ConfirmDispatch | PostponeDispatch, now: Millis) -> _Outcome:
    if task.status is not TaskStatus.WAITING:
        raise RefusedError(RefusalReason.NOT_WAITING)
    done = task.timers.dispatches
    if isinstance(command, PostponeDispatch):
        return replace(task, timers=replace(task.timers, dispatch_at=now + 5 * SECOND)), None
    again = min(10 * MINUTE * 2**done, 360 * MINUTE)
    return replace(task, timers=replace(task.timers, dispatches=done + 1, dispatch_at=now + again)), None


def _tried(
    task: Task, error: TaskError, now: Millis, after: Millis | None, otherwise: tuple[EventType, TaskStatus]
) -> _Outcome:
    """The attempt failed: another one, if one is left."""
    assert task.terms
    counted = [a for a in task.attempts if a.error is None or a.error.code != "WORKER_SHUTDOWN"]
    if len(counted) >= task.terms.max_attempts:
        return _ended(task, *otherwise, now, error=error)
    if after is None:
        # The test's terms have no jitter.
        wait = task.terms.initial_backoff * task.terms.backoff_multiplier ** (len(counted) - 1)
        after = round(min(wait, task.terms.max_backoff))
    return _again(task, error, now, now + after)


def _again(task: Task, error: TaskError, now: Millis, at: Millis) -> _Outcome:
    waiting = replace(
        _closed(task, TaskStatus.WAITING, now, error),
        status=TaskStatus.WAITING,
        error=error,
        next_attempt_time=at,
        timers=Timers(dispatch_at=at),
    )
    return _next(waiting, EventType.RETRY_SCHEDULED, now, error=error, next_attempt_time=at)


def _ended(
    task: Task,
    type_: EventType,
    status: TaskStatus,
    now: Millis,
    *,
    error: TaskError | None = None,
    cancel_reason: str = "",
) -> _Outcome:
    ended = replace(
        _closed(task, status, now, error),
        status=status,
        error=error,
        cancel_reason=cancel_reason,
        end_time=now,
        next_attempt_time=None,
        expire_time=now + task.spec.retention,
        timers=Timers(),
    )
    return _next(ended, type_, now, error=error, cancel_reason=cancel_reason)


def _closed(task: Task, outcome: TaskStatus, now: Millis, error: TaskError | None) -> Task:
    """The task with its running attempt ended, if one runs."""
    if task.status is not TaskStatus.PROCESSING:
        return task
    last = replace(task.attempts[-1], end_time=now, outcome=outcome, error=error)
    return replace(task, attempts=(*task.attempts[:-1], last))


def _next(task: Task, type_: EventType, now: Millis, **details: object) -> _Outcome:
    """The task one event on, and that event as the log has it."""
    task = replace(task, sequence=task.sequence + 1, update_time=now)
    event = TaskEvent(
        task_id=task.id, sequence=task.sequence, type=type_, status=task.status, attempt=task.attempt, time=now
    )
    return task, replace(event, **details)  # type: ignore[arg-type]
