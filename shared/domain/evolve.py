"""evolve: the task after an event. Folding a task's events from the first gives its state."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from shared.domain.decide import DISPATCH_GRACE
from shared.domain.retry import NOT_COUNTED
from shared.domain.task import Attempt, EventType, Task, TaskStatus, Timers

if TYPE_CHECKING:
    from shared.domain.task import TaskEvent

ATTEMPTS_KEPT = 100
"""How many attempts a task remembers. Not less than may ever be allowed: those that count are never forgotten."""


class SequenceError(ValueError):
    """The event is not the one that follows the task's last: a hole, a repeat or a foreign event."""


def evolve(task: Task | None, event: TaskEvent) -> Task:
    """Give the task as it is after `event`; `task` is None before the first.

    Raises SequenceError where the event does not follow the task's last one.
    """
    expected = (task.sequence if task else 0) + 1
    if event.sequence != expected or (task is not None and task.id != event.task_id):
        raise SequenceError(f"event {event.sequence} of task {event.task_id} does not follow: expected {expected}")
    if task is None:
        return _submitted(event)
    match event.type:
        case EventType.STARTED:
            return _started(task, event)
        case EventType.PROGRESSED:
            timers = Timers(lease_expires=event.time + event.lease)
            return replace(
                task, sequence=event.sequence, update_time=event.time, progress=event.progress, timers=timers
            )
        case EventType.RETRY_SCHEDULED:
            return _retry_scheduled(task, event)
        case _:
            return _ended(task, event)


def _submitted(event: TaskEvent) -> Task:
    if event.spec is None:
        raise SequenceError(f"the first event of task {event.task_id} says nothing of what was asked for")
    due = max(event.time, event.spec.schedule_time or 0)
    # Whoever submits dispatches at once; the record looks after it only if no confirmation follows.
    grace = DISPATCH_GRACE if due == event.time else 0
    return Task(
        id=event.task_id,
        tenant=event.tenant,
        spec=event.spec,
        retry_of=event.retry_of,
        status=TaskStatus.WAITING,
        sequence=event.sequence,
        create_time=event.time,
        update_time=event.time,
        timers=Timers(dispatch_at=due + grace),
    )


def _started(task: Task, event: TaskEvent) -> Task:
    attempt = Attempt(number=event.attempt, worker=event.worker, start_time=event.time)
    return replace(
        task,
        status=TaskStatus.PROCESSING,
        sequence=event.sequence,
        attempt=event.attempt,
        attempts=(*_remembered(task.attempts), attempt),
        terms=event.terms,
        progress=None,
        error=None,
        update_time=event.time,
        start_time=task.start_time or event.time,
        next_attempt_time=None,
        timers=Timers(lease_expires=event.time + event.lease),
    )


def _remembered(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """Room for one more. What used up no retry is forgotten first, since the rest is counted."""
    if len(attempts) < ATTEMPTS_KEPT:
        return attempts
    oldest = next((i for i, a in enumerate(attempts) if a.error and a.error.code in NOT_COUNTED), 0)
    return attempts[:oldest] + attempts[oldest + 1 :]


def _retry_scheduled(task: Task, event: TaskEvent) -> Task:
    return replace(
        task,
        status=TaskStatus.WAITING,
        sequence=event.sequence,
        attempts=_closed(task, event),
        error=event.error,
        update_time=event.time,
        next_attempt_time=event.next_attempt_time,
        timers=Timers(dispatch_at=event.next_attempt_time or event.time),
    )


def _ended(task: Task, event: TaskEvent) -> Task:
    return replace(
        task,
        status=event.status,
        sequence=event.sequence,
        attempts=_closed(task, event),
        result=event.result,
        error=event.error,
        cancel_reason=event.cancel_reason,
        update_time=event.time,
        end_time=event.time,
        next_attempt_time=None,
        expire_time=event.time + task.spec.retention,
        timers=Timers(),
    )


def _closed(task: Task, event: TaskEvent) -> tuple[Attempt, ...]:
    """The attempts, the running one ended by `event`. A task that waits has none running."""
    if task.status is not TaskStatus.PROCESSING:
        return task.attempts
    running = task.attempts[-1]
    return (*task.attempts[:-1], replace(running, end_time=event.time, outcome=event.status, error=event.error))
