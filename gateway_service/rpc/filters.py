"""From the contract's filter to that of the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_service.faults import InvalidRequestError
from shared.codec import from_timestamp
from shared.domain.filters import TaskFilter, violations
from shared.domain.submission import Limits, Violation
from shared.domain.task import TaskStatus

if TYPE_CHECKING:
    from google.protobuf import timestamp_pb2

    from shared.domain.task import Millis
    from taskcast.v1 import task_service_pb2

NANOS = 1_000_000_000
WATCHED = ("task_ids", "filter")

MOST_STATUSES = 16
"""More than there are: a client may name one twice, but not without end."""

_STATUSES = {status.value for status in TaskStatus}


def task_filter(message: task_service_pb2.TaskFilter) -> TaskFilter:
    """Which tasks are meant. Raises InvalidRequestError, with paths that begin with `filter`."""
    wrong: list[Violation] = []
    if len(message.statuses) > MOST_STATUSES:
        wrong.append(Violation("filter.statuses", f"must have at most {MOST_STATUSES} entries"))
    else:
        wrong += [
            Violation(f"filter.statuses[{index}]", f"{status} is no TaskStatus that a task can have")
            for index, status in enumerate(message.statuses)
            if status not in _STATUSES
        ]
    wanted = TaskFilter(
        statuses=frozenset(TaskStatus(status) for status in message.statuses if status in _STATUSES),
        type=message.type,
        queue=message.queue,
        labels=dict(message.labels),
        created_after=_time(message, "create_time_after", wrong),
        created_before=_time(message, "create_time_before", wrong),
    )
    wrong += violations(wanted, Limits())
    if wrong:
        raise InvalidRequestError(wrong)
    return wanted


def watched_filter(request: task_service_pb2.WatchTasksRequest) -> TaskFilter | None:
    """The filter of a watch, None if it is one by ids. Raises InvalidRequestError unless it is one of the two."""
    if request.HasField("filter") == bool(request.task_ids):
        given = "both" if request.task_ids else "neither"
        raise InvalidRequestError(
            [Violation(field, f"exactly one of task_ids and filter must be given, not {given}") for field in WATCHED]
        )
    return task_filter(request.filter) if request.HasField("filter") else None


def _time(message: task_service_pb2.TaskFilter, field: str, wrong: list[Violation]) -> Millis | None:
    if not message.HasField(field):  # type: ignore[arg-type]  # One of its two times.
        return None
    time: timestamp_pb2.Timestamp = getattr(message, field)
    if not 0 <= time.nanos < NANOS:
        wrong.append(Violation(f"filter.{field}", "must have nanos between 0 and 999,999,999"))
    # Tasks are recorded by the millisecond: whatever is later than one of them is at the next one or later.
    return from_timestamp(time) + (time.nanos % 1_000_000 > 0)
