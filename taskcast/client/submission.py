"""A submit in plain Python values, and the request that it becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from taskcast.client.fields import to_duration, to_timestamp, to_value
from taskcast.v1 import task_pb2, task_service_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from google.protobuf.duration_pb2 import Duration

    from taskcast.client.fields import Json, Seconds


class SubmitOptions(TypedDict, total=False):
    """What may be said of a task beside its type and payload, as arguments by name.

    What is left out takes the server's default, as `task_service.proto` says.
    """

    labels: Mapping[str, str]
    """Words to find the task by."""
    queue: str
    """The pool of workers that it is routed to."""
    priority: task_pb2.TaskPriority.ValueType
    """How urgent it is among the tasks of its queue."""
    schedule_time: datetime | None
    """It does not start before this time, which has a time zone."""
    timeout: Seconds | None
    """The time limit of the whole task, waiting and retries included."""
    attempt_timeout: Seconds | None
    """The time limit of one attempt; 0 is none."""
    estimated_duration: Seconds | None
    """How long it is expected to take, for display."""
    retry_policy: task_pb2.RetryPolicy | None
    """How often it is tried, and how long it rests in between."""
    webhooks: Sequence[task_pb2.Webhook]
    """Who is told of its changes of status."""
    retention: Seconds | None
    """How long it is kept once it has finished."""
    request_id: str
    """Your own name for this submit: used again, it finds the same task. Made up where it is left out."""


def submission(  # One argument for each field of the request.
    task_type: str,
    payload: Json = None,
    *,
    labels: Mapping[str, str] | None = None,
    queue: str = "",
    priority: task_pb2.TaskPriority.ValueType = task_pb2.TASK_PRIORITY_UNSPECIFIED,
    schedule_time: datetime | None = None,
    timeout: Seconds | None = None,
    attempt_timeout: Seconds | None = None,
    estimated_duration: Seconds | None = None,
    retry_policy: task_pb2.RetryPolicy | None = None,
    webhooks: Sequence[task_pb2.Webhook] = (),
    retention: Seconds | None = None,
    request_id: str = "",
) -> task_service_pb2.SubmitTaskRequest:
    """One task for `Client.submit_many`; the arguments are those of `Client.submit`, as SubmitOptions explains them.

    Raises ValueError for what cannot be written as a request.
    """
    return task_service_pb2.SubmitTaskRequest(
        type=task_type,
        payload=to_value(payload),
        labels=labels,
        queue=queue,
        priority=priority,
        schedule_time=None if schedule_time is None else to_timestamp(schedule_time, "schedule_time"),
        timeout=_optional(timeout, "timeout"),
        attempt_timeout=_optional(attempt_timeout, "attempt_timeout"),
        estimated_duration=_optional(estimated_duration, "estimated_duration"),
        retry_policy=retry_policy,
        webhooks=webhooks,
        retention=_optional(retention, "retention"),
        request_id=request_id,
    )


def _optional(length: Seconds | None, name: str) -> Duration | None:
    return None if length is None else to_duration(length, name)
