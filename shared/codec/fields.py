"""The small parts that tasks and events have in common: times, durations, errors, progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf import duration_pb2, timestamp_pb2

from shared.domain.task import TaskError, TaskProgress

if TYPE_CHECKING:
    from google.protobuf import struct_pb2

    from shared.domain.task import Millis
    from taskcast.v1 import task_pb2


def to_timestamp(time: Millis) -> timestamp_pb2.Timestamp:
    """Milliseconds since the epoch as a Timestamp."""
    seconds, millis = divmod(time, 1_000)
    return timestamp_pb2.Timestamp(seconds=seconds, nanos=millis * 1_000_000)


def put_time(time: Millis, stamp: timestamp_pb2.Timestamp) -> None:
    """Set a Timestamp that is part of a message: half the cost of a copy of `to_timestamp`."""
    stamp.SetInParent()
    stamp.seconds, millis = divmod(time, 1_000)
    stamp.nanos = millis * 1_000_000


def from_timestamp(stamp: timestamp_pb2.Timestamp) -> Millis:
    """A Timestamp as milliseconds since the epoch, rounded down."""
    return stamp.seconds * 1_000 + stamp.nanos // 1_000_000


def to_duration(duration: Millis) -> duration_pb2.Duration:
    """Milliseconds as a Duration."""
    seconds, millis = divmod(duration, 1_000)
    return duration_pb2.Duration(seconds=seconds, nanos=millis * 1_000_000)


def put_duration(duration: Millis, message: duration_pb2.Duration) -> None:
    """Set a Duration that is part of a message; one of 0 is present all the same."""
    message.SetInParent()
    message.seconds, millis = divmod(duration, 1_000)
    message.nanos = millis * 1_000_000


def from_duration(duration: duration_pb2.Duration) -> Millis:
    """A Duration as milliseconds, rounded up: a limit of a microsecond is not none."""
    return duration.seconds * 1_000 - (-duration.nanos // 1_000_000)


def optional_time(message: task_pb2.Task | task_pb2.TaskEvent | task_pb2.Attempt, field: str) -> Millis | None:
    """A Timestamp field as milliseconds since the epoch; None if it is not set."""
    return from_timestamp(getattr(message, field)) if message.HasField(field) else None  # type: ignore[arg-type]


def encoded_value(value: struct_pb2.Value) -> bytes:
    """A Value as bytes, equal for equal values."""
    return value.SerializeToString(deterministic=True)


def put_error(error: TaskError, message: task_pb2.TaskError) -> None:
    """Set an error message."""
    message.code = error.code
    message.message = error.message


def error_from_proto(message: task_pb2.TaskError) -> TaskError:
    """The error that a message describes."""
    return TaskError(code=message.code, message=message.message)


def put_progress(progress: TaskProgress, message: task_pb2.TaskProgress) -> None:
    """Set a progress message; one that says nothing is present all the same."""
    message.SetInParent()
    message.percent = progress.percent
    message.message = progress.message
    message.completed = progress.completed
    message.total = progress.total
    if progress.detail:
        message.detail.MergeFromString(progress.detail)


def progress_from_proto(message: task_pb2.TaskProgress) -> TaskProgress:
    """The progress that a message describes."""
    return TaskProgress(
        percent=message.percent,
        message=message.message,
        completed=message.completed,
        total=message.total,
        detail=message.detail.SerializeToString(deterministic=True) if message.HasField("detail") else b"",
    )
