"""Between the rules' values and the public protobuf messages, which are also what is stored.

The record holds a task as pieces of one `Task` message: what the client asked, what became of it, the payload,
the result. Joined, they parse as the whole message: protobuf merges the fields of concatenated messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2

from shared.domain.identity import partition_of
from shared.domain.task import (
    Attempt,
    AttemptTerms,
    EventType,
    RetryPolicy,
    Task,
    TaskError,
    TaskEvent,
    TaskPriority,
    TaskProgress,
    TaskSpec,
    TaskStatus,
    Timers,
    Webhook,
)
from taskcast.v1 import task_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.domain.task import Millis

BROADCAST_RESULT_BYTES = 16 << 10
"""A larger result is left out of the broadcast; a gateway reads it from the record."""

DISPATCH_PAYLOAD_BYTES = 64 << 10
"""A larger payload is left out of the task message; the worker reads it with the claim."""

_NO_TIMERS = Timers()


def to_timestamp(time: Millis) -> timestamp_pb2.Timestamp:
    """Milliseconds since the epoch as a Timestamp."""
    seconds, millis = divmod(time, 1_000)
    return timestamp_pb2.Timestamp(seconds=seconds, nanos=millis * 1_000_000)


def from_timestamp(stamp: timestamp_pb2.Timestamp) -> Millis:
    """A Timestamp as milliseconds since the epoch, rounded down."""
    return stamp.seconds * 1_000 + stamp.nanos // 1_000_000


def to_duration(duration: Millis) -> duration_pb2.Duration:
    """Milliseconds as a Duration."""
    seconds, millis = divmod(duration, 1_000)
    return duration_pb2.Duration(seconds=seconds, nanos=millis * 1_000_000)


def from_duration(duration: duration_pb2.Duration) -> Millis:
    """A Duration as milliseconds, rounded up: a limit of a microsecond is not none."""
    return duration.seconds * 1_000 - (-duration.nanos // 1_000_000)


def _time(message: task_pb2.Task | task_pb2.TaskEvent | task_pb2.Attempt, field: str) -> Millis | None:
    return from_timestamp(getattr(message, field)) if message.HasField(field) else None  # type: ignore[arg-type]


def _encoded_value(value: struct_pb2.Value) -> bytes:
    return value.SerializeToString(deterministic=True)


# --- What the client asked ---------------------------------------------------------------------------------------


def spec_from_proto(message: task_pb2.Task) -> TaskSpec:
    """What was asked for, out of a Task message; the payload is None if the message has none."""
    policy = message.retry_policy
    return TaskSpec(
        type=message.type,
        payload=_encoded_value(message.payload) if message.HasField("payload") else None,
        labels=dict(message.labels),
        queue=message.queue,
        priority=TaskPriority(message.priority),
        schedule_time=_time(message, "schedule_time"),
        timeout=from_duration(message.timeout) if message.HasField("timeout") else None,
        attempt_timeout=from_duration(message.attempt_timeout) if message.HasField("attempt_timeout") else None,
        estimated_duration=(
            from_duration(message.estimated_duration) if message.HasField("estimated_duration") else None
        ),
        retry_policy=retry_policy_from_proto(policy),
        webhooks=tuple(
            Webhook(
                url=hook.url,
                statuses=tuple(TaskStatus(status) for status in hook.statuses),
                headers=dict(hook.headers),
            )
            for hook in message.webhooks
        ),
        retention=from_duration(message.retention),
    )


def retry_policy_from_proto(policy: task_pb2.RetryPolicy) -> RetryPolicy:
    """A RetryPolicy message, an unset field as None."""
    return RetryPolicy(
        max_attempts=policy.max_attempts or None,
        initial_backoff=from_duration(policy.initial_backoff) if policy.HasField("initial_backoff") else None,
        max_backoff=from_duration(policy.max_backoff) if policy.HasField("max_backoff") else None,
        backoff_multiplier=policy.backoff_multiplier or None,
    )


def _put_asked(task: Task, message: task_pb2.Task) -> None:
    """Set the fields that never change once the task exists."""
    spec = task.spec
    message.id = task.id
    message.tenant = task.tenant
    message.type = spec.type
    message.queue = spec.queue
    message.priority = task_pb2.TaskPriority.ValueType(spec.priority)
    message.retry_of = task.retry_of
    message.labels.update(spec.labels)
    message.retention.CopyFrom(to_duration(spec.retention))
    message.create_time.CopyFrom(to_timestamp(task.create_time))
    if spec.schedule_time is not None:
        message.schedule_time.CopyFrom(to_timestamp(spec.schedule_time))
    if spec.timeout is not None:
        message.timeout.CopyFrom(to_duration(spec.timeout))
    if spec.estimated_duration is not None:
        message.estimated_duration.CopyFrom(to_duration(spec.estimated_duration))
    for hook in spec.webhooks:
        message.webhooks.add(
            url=hook.url,
            statuses=[task_pb2.TaskStatus.ValueType(status) for status in hook.statuses],
            headers=dict(hook.headers),
        )


# --- What became of it -------------------------------------------------------------------------------------------


def _put_life(task: Task, message: task_pb2.Task) -> None:
    """Set the fields that change. The terms of an attempt, once settled, stand in for what was asked."""
    _put_terms(task, message)
    message.status = task_pb2.TaskStatus.ValueType(task.status)
    message.sequence = task.sequence
    message.attempt = task.attempt
    message.cancel_reason = task.cancel_reason
    message.update_time.CopyFrom(to_timestamp(task.update_time))
    if task.progress is not None:
        _put_progress(task.progress, message.progress)
    if task.error is not None:
        _put_error(task.error, message.error)
    if task.start_time is not None:
        message.start_time.CopyFrom(to_timestamp(task.start_time))
    if task.end_time is not None:
        message.end_time.CopyFrom(to_timestamp(task.end_time))
    if task.next_attempt_time is not None:
        message.next_attempt_time.CopyFrom(to_timestamp(task.next_attempt_time))
    if task.expire_time is not None:
        message.expire_time.CopyFrom(to_timestamp(task.expire_time))
    for attempt in task.attempts:
        _put_attempt(attempt, message.attempts.add())


def _put_terms(task: Task, message: task_pb2.Task) -> None:
    asked = task.spec.retry_policy
    policy = message.retry_policy
    if task.terms is not None:
        policy.max_attempts = task.terms.max_attempts
        policy.initial_backoff.CopyFrom(to_duration(task.terms.initial_backoff))
        policy.max_backoff.CopyFrom(to_duration(task.terms.max_backoff))
        policy.backoff_multiplier = task.terms.backoff_multiplier
        message.attempt_timeout.CopyFrom(to_duration(task.terms.attempt_timeout))
        return
    if asked.max_attempts is not None:
        policy.max_attempts = asked.max_attempts
    if asked.initial_backoff is not None:
        policy.initial_backoff.CopyFrom(to_duration(asked.initial_backoff))
    if asked.max_backoff is not None:
        policy.max_backoff.CopyFrom(to_duration(asked.max_backoff))
    if asked.backoff_multiplier is not None:
        policy.backoff_multiplier = asked.backoff_multiplier
    if task.spec.attempt_timeout is not None:
        message.attempt_timeout.CopyFrom(to_duration(task.spec.attempt_timeout))


def _put_attempt(attempt: Attempt, message: task_pb2.Attempt) -> None:
    message.number = attempt.number
    message.worker = attempt.worker
    message.start_time.CopyFrom(to_timestamp(attempt.start_time))
    if attempt.end_time is not None:
        message.end_time.CopyFrom(to_timestamp(attempt.end_time))
    if attempt.outcome is not None:
        message.outcome = task_pb2.TaskStatus.ValueType(attempt.outcome)
    if attempt.error is not None:
        _put_error(attempt.error, message.error)


def _attempt_from_proto(message: task_pb2.Attempt) -> Attempt:
    return Attempt(
        number=message.number,
        worker=message.worker,
        start_time=from_timestamp(message.start_time),
        end_time=_time(message, "end_time"),
        outcome=TaskStatus(message.outcome) if message.outcome else None,
        error=_error_from_proto(message.error) if message.HasField("error") else None,
    )


def _put_error(error: TaskError, message: task_pb2.TaskError) -> None:
    message.code = error.code
    message.message = error.message


def _error_from_proto(message: task_pb2.TaskError) -> TaskError:
    return TaskError(code=message.code, message=message.message)


def _put_progress(progress: TaskProgress, message: task_pb2.TaskProgress) -> None:
    message.SetInParent()
    message.percent = progress.percent
    message.message = progress.message
    message.completed = progress.completed
    message.total = progress.total
    if progress.detail:
        message.detail.MergeFromString(progress.detail)


def _progress_from_proto(message: task_pb2.TaskProgress) -> TaskProgress:
    return TaskProgress(
        percent=message.percent,
        message=message.message,
        completed=message.completed,
        total=message.total,
        detail=message.detail.SerializeToString(deterministic=True) if message.HasField("detail") else b"",
    )


# --- Whole tasks -------------------------------------------------------------------------------------------------


def task_to_proto(task: Task, *, payload: bool = True, result: bool = True) -> task_pb2.Task:
    """The public message of a task, with payload and result as far as the task has them and they are wanted."""
    message = task_pb2.Task()
    _put_asked(task, message)
    _put_life(task, message)
    if payload and task.spec.payload is not None:
        message.payload.MergeFromString(task.spec.payload)
    if result and task.result is not None:
        message.result.MergeFromString(task.result)
    return message


def task_from_proto(message: task_pb2.Task, timers: Timers = _NO_TIMERS) -> Task:
    """The task that a message of `task_to_proto` describes; `timers` are not part of the message."""
    spec = spec_from_proto(message)
    return Task(
        id=message.id,
        tenant=message.tenant,
        spec=spec,
        retry_of=message.retry_of,
        status=TaskStatus(message.status),
        sequence=message.sequence,
        attempt=message.attempt,
        attempts=tuple(_attempt_from_proto(attempt) for attempt in message.attempts),
        terms=_terms_from_spec(spec) if message.attempt else None,
        progress=_progress_from_proto(message.progress) if message.HasField("progress") else None,
        result=_encoded_value(message.result) if message.HasField("result") else None,
        error=_error_from_proto(message.error) if message.HasField("error") else None,
        cancel_reason=message.cancel_reason,
        create_time=from_timestamp(message.create_time),
        update_time=from_timestamp(message.update_time),
        start_time=_time(message, "start_time"),
        end_time=_time(message, "end_time"),
        next_attempt_time=_time(message, "next_attempt_time"),
        expire_time=_time(message, "expire_time"),
        timers=timers,
    )


def _terms_from_spec(spec: TaskSpec) -> AttemptTerms:
    """The terms that `_put_terms` wrote. Only max_attempts and the multiplier are never zero."""
    policy = spec.retry_policy
    return AttemptTerms(
        max_attempts=policy.max_attempts or 1,
        initial_backoff=policy.initial_backoff or 0,
        max_backoff=policy.max_backoff or 0,
        backoff_multiplier=policy.backoff_multiplier or 1.0,
        attempt_timeout=spec.attempt_timeout or 0,
    )


def encode_asked(task: Task) -> bytes:
    """The piece of the stored task that never changes, without the payload."""
    message = task_pb2.Task()
    _put_asked(task, message)
    return message.SerializeToString()


def encode_life(task: Task) -> bytes:
    """The piece of the stored task that changes, without the result."""
    message = task_pb2.Task()
    _put_life(task, message)
    return message.SerializeToString()


def encode_payload(payload: bytes) -> bytes:
    """An encoded Value as the payload piece of the stored task."""
    message = task_pb2.Task()
    message.payload.MergeFromString(payload)
    message.payload.SetInParent()
    return message.SerializeToString()


def encode_result(result: bytes) -> bytes:
    """An encoded Value as the result piece of the stored task."""
    message = task_pb2.Task()
    message.result.MergeFromString(result)
    message.result.SetInParent()
    return message.SerializeToString()


def decode_task(pieces: Iterable[bytes], timers: Timers) -> Task:
    """The task whose stored pieces and timers these are."""
    return task_from_proto(task_pb2.Task.FromString(b"".join(pieces)), timers)


def decode_payload(piece: bytes | None) -> bytes:
    """The encoded Value inside a stored payload piece."""
    return _encoded_value(task_pb2.Task.FromString(piece or b"").payload)


# --- Events ------------------------------------------------------------------------------------------------------


def event_to_proto(event: TaskEvent) -> task_pb2.TaskEvent:
    """The public message of an event, with its result if it has one."""
    message = task_pb2.TaskEvent(
        task_id=event.task_id,
        sequence=event.sequence,
        type=task_pb2.TaskEvent.Type.ValueType(event.type),
        status=task_pb2.TaskStatus.ValueType(event.status),
        attempt=event.attempt,
        time=to_timestamp(event.time),
        worker=event.worker,
        cancel_reason=event.cancel_reason,
    )
    if event.progress is not None:
        _put_progress(event.progress, message.progress)
    if event.result is not None:
        message.result.MergeFromString(event.result)
    if event.error is not None:
        _put_error(event.error, message.error)
    if event.next_attempt_time is not None:
        message.next_attempt_time.CopyFrom(to_timestamp(event.next_attempt_time))
    return message


def event_from_proto(message: task_pb2.TaskEvent) -> TaskEvent:
    """The event that a message of `event_to_proto` describes."""
    return TaskEvent(
        task_id=message.task_id,
        sequence=message.sequence,
        type=EventType(message.type),
        status=TaskStatus(message.status),
        attempt=message.attempt,
        time=from_timestamp(message.time),
        progress=_progress_from_proto(message.progress) if message.HasField("progress") else None,
        result=_encoded_value(message.result) if message.HasField("result") else None,
        error=_error_from_proto(message.error) if message.HasField("error") else None,
        next_attempt_time=_time(message, "next_attempt_time"),
        worker=message.worker,
        cancel_reason=message.cancel_reason,
    )


def encode_log_event(event: TaskEvent) -> bytes:
    """An event as the log keeps it: without its result, which is stored once, in the record."""
    message = event_to_proto(event)
    message.ClearField("result")
    return message.SerializeToString()


def decode_event(body: bytes) -> TaskEvent:
    """An event out of the log or a broadcast. Raises `google.protobuf.message.DecodeError`."""
    return event_from_proto(task_pb2.TaskEvent.FromString(body))


def encode_broadcast(event: TaskEvent) -> tuple[str, bytes]:
    """Routing key and body of an event's broadcast: `<partition>.<task id>.<event type in lower case>`."""
    message = event_to_proto(event)
    if event.result is not None and len(event.result) > BROADCAST_RESULT_BYTES:
        message.ClearField("result")
    key = f"{partition_of(event.task_id)}.{event.task_id}.{event.type.name.lower()}"
    return key, message.SerializeToString()


# --- Dispatch ----------------------------------------------------------------------------------------------------


def encode_dispatch(task: Task) -> bytes:
    """The message that puts a task before the workers: the task, with its payload unless that is large."""
    payload = task.spec.payload
    small = payload is not None and len(payload) <= DISPATCH_PAYLOAD_BYTES
    return task_to_proto(task, payload=small, result=False).SerializeToString()


def decode_dispatch(body: bytes) -> Task:
    """The task in a message of `encode_dispatch`. Raises DecodeError or ValueError for what is none."""
    message = task_pb2.Task.FromString(body)
    if not message.id:
        raise ValueError("a task message names no task")
    return task_from_proto(message)
