"""A task in pieces: as the record stores it, and as it is put before the workers.

The record holds what the client asked, what became of it, the payload and the result as four pieces of one `Task`
message. Joined, they parse as the whole: protobuf merges the fields of concatenated messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.codec.fields import encoded_value
from shared.codec.tasks import put_asked, put_life, task_from_proto, task_to_proto
from taskcast.v1 import task_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.domain.task import Task, Timers


DISPATCH_PAYLOAD_BYTES = 64 << 10
"""A larger payload is left out of the task message; the worker reads it with the claim."""


def _varint(number: int) -> bytes:
    """A number of 0 or more in protobuf's wire format."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _tag(field: str) -> bytes:
    """What precedes the length of a message that stands in this field of a Task."""
    return _varint(task_pb2.Task.DESCRIPTOR.fields_by_name[field].number << 3 | 2)


_PAYLOAD_TAG = _tag("payload")
_RESULT_TAG = _tag("result")


def encode_asked(task: Task) -> bytes:
    """The piece of the stored task that never changes, without the payload."""
    message = task_pb2.Task()
    put_asked(task, message)
    return message.SerializeToString()


def encode_life(task: Task) -> bytes:
    """The piece of the stored task that changes, without the result."""
    message = task_pb2.Task()
    put_life(task, message)
    return message.SerializeToString()


def encode_payload(payload: bytes) -> bytes:
    """An encoded Value as the payload piece of the stored task."""
    return _PAYLOAD_TAG + _varint(len(payload)) + payload


def encode_result(result: bytes) -> bytes:
    """An encoded Value as the result piece of the stored task."""
    return _RESULT_TAG + _varint(len(result)) + result


def decode_task(pieces: Iterable[bytes], timers: Timers) -> Task:
    """The task whose stored pieces and timers these are."""
    return task_from_proto(task_pb2.Task.FromString(b"".join(pieces)), timers)


def decode_payload(piece: bytes | None) -> bytes:
    """The encoded Value inside a stored payload piece."""
    return encoded_value(task_pb2.Task.FromString(piece or b"").payload)


def encode_dispatch(task: Task) -> bytes:
    """The message that puts a task before the workers: the task, with its payload unless that is large."""
    payload = task.spec.payload
    message = task_to_proto(task, payload=False, result=False).SerializeToString()
    if payload is None or len(payload) > DISPATCH_PAYLOAD_BYTES:
        return message
    return message + encode_payload(payload)


def decode_dispatch(body: bytes) -> Task:
    """The task in a message of `encode_dispatch`. Raises DecodeError or ValueError for what is none."""
    message = task_pb2.Task.FromString(body)
    if not message.id:
        raise ValueError("a task message names no task")
    if message.sequence < 1:
        raise ValueError(f"the message of task {message.id} says nothing of what was recorded of it")
    return task_from_proto(message)
