"""Between an event and the public `TaskEvent` message, in the log and in a broadcast."""

from __future__ import annotations

from shared.codec.fields import (
    encoded_value,
    error_from_proto,
    from_timestamp,
    optional_time,
    progress_from_proto,
    put_error,
    put_progress,
    put_time,
)
from shared.domain.identity import partition_of
from shared.domain.task import EventType, TaskEvent, TaskStatus
from taskcast.v1 import task_pb2

BROADCAST_RESULT_BYTES = 16 << 10
"""A larger result is left out of the broadcast; a gateway reads it from the record."""


def event_to_proto(event: TaskEvent) -> task_pb2.TaskEvent:
    """The public message of an event, with its result if it has one."""
    message = task_pb2.TaskEvent(
        task_id=event.task_id,
        sequence=event.sequence,
        type=task_pb2.TaskEvent.Type.ValueType(event.type),
        status=task_pb2.TaskStatus.ValueType(event.status),
        attempt=event.attempt,
        worker=event.worker,
        cancel_reason=event.cancel_reason,
    )
    put_time(event.time, message.time)
    if event.progress is not None:
        put_progress(event.progress, message.progress)
    if event.result is not None:
        message.result.MergeFromString(event.result)
    if event.error is not None:
        put_error(event.error, message.error)
    if event.next_attempt_time is not None:
        put_time(event.next_attempt_time, message.next_attempt_time)
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
        progress=progress_from_proto(message.progress) if message.HasField("progress") else None,
        result=encoded_value(message.result) if message.HasField("result") else None,
        error=error_from_proto(message.error) if message.HasField("error") else None,
        next_attempt_time=optional_time(message, "next_attempt_time"),
        worker=message.worker,
        cancel_reason=message.cancel_reason,
    )


def encode_log_event(event: TaskEvent) -> bytes:
    """An event as the log keeps it: without its task's id and its result, which the record has once, beside the log."""
    message = event_to_proto(event)
    message.ClearField("task_id")
    message.ClearField("result")
    return message.SerializeToString()


def decode_log_event(task_id: str, body: bytes) -> TaskEvent:
    """An event out of the log of this task. Raises `google.protobuf.message.DecodeError`."""
    message = task_pb2.TaskEvent.FromString(body)
    message.task_id = task_id
    return event_from_proto(message)


def decode_event(body: bytes) -> TaskEvent:
    """An event out of a broadcast. Raises `google.protobuf.message.DecodeError`."""
    return event_from_proto(task_pb2.TaskEvent.FromString(body))


def encode_broadcast(event: TaskEvent) -> tuple[str, bytes]:
    """Routing key and body of an event's broadcast: `<partition>.<task id>.<event type in lower case>`."""
    message = event_to_proto(event)
    if event.result is not None and len(event.result) > BROADCAST_RESULT_BYTES:
        message.ClearField("result")
    key = f"{partition_of(event.task_id)}.{event.task_id}.{event.type.name.lower()}"
    return key, message.SerializeToString()
