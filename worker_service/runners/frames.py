"""What a worker and its child processes say to each other: frames of a kind, a length and a body, over two pipes."""

from __future__ import annotations

import enum
import json
import struct
from typing import TYPE_CHECKING

from shared.codec.fields import progress_from_proto, put_progress
from shared.codec.tasks import task_from_proto, task_to_proto
from shared.domain.commands import Abort, Fail, Retry, Succeed
from shared.domain.task import TaskError
from taskcast.v1 import task_pb2

if TYPE_CHECKING:
    from shared.domain.task import Task, TaskProgress
    from worker_service.outcome import Outcome

HEAD = struct.Struct("!BI")


class Kind(enum.IntEnum):
    """What a frame says."""

    OPEN = 1
    """To the child, first: the modules with the handlers, and how to write logs. JSON."""
    RUN = 2
    """To the child: run this attempt. A Task with its payload."""
    STOP = 3
    """To the child: the attempt should stop. The name of an Interruption."""

    READY = 11
    """From the child: the handlers are there. Empty."""
    BROKEN = 12
    """From the child: they are not. Why, as text."""
    PROGRESS = 13
    """From the child: a TaskProgress."""
    ENDED = 14
    """From the child: the outcome."""
    HEEDED = 15
    """From the child: the handler has stopped, as it was told. Empty."""


def frame(kind: Kind, body: bytes = b"") -> bytes:
    """A frame, as it travels."""
    return HEAD.pack(kind, len(body)) + body


def encode_attempt(task: Task) -> bytes:
    """The body of RUN."""
    return task_to_proto(task, result=False).SerializeToString()


def decode_attempt(body: bytes) -> Task:
    """What `encode_attempt` was given."""
    return task_from_proto(task_pb2.Task.FromString(body))


def encode_progress(progress: TaskProgress) -> bytes:
    """The body of PROGRESS."""
    message = task_pb2.TaskProgress()
    put_progress(progress, message)
    return message.SerializeToString()


def decode_progress(body: bytes) -> TaskProgress:
    """What `encode_progress` was given."""
    return progress_from_proto(task_pb2.TaskProgress.FromString(body))


def encode_outcome(outcome: Outcome) -> bytes:
    """The body of ENDED: a line of JSON, and then the result."""
    match outcome:
        case Succeed():
            return _head("succeed") + outcome.result
        case Fail():
            return _head("fail", outcome.error)
        case Retry():
            return _head("retry", outcome.error, outcome.after)
        case Abort():
            return _head("abort", outcome.error)
        case _:
            raise TypeError(f"a handler does not end in {outcome}")


def decode_outcome(attempt: int, body: bytes) -> Outcome:
    """What `encode_outcome` was given."""
    head, _, result = body.partition(b"\n")
    said = json.loads(head)
    if said["how"] == "succeed":
        return Succeed(attempt=attempt, result=result)
    error = TaskError(code=said["code"], message=said["message"])
    match said["how"]:
        case "fail":
            return Fail(attempt=attempt, error=error)
        case "retry":
            return Retry(attempt=attempt, error=error, after=said["after"])
        case "abort":
            return Abort(attempt=attempt, error=error)
        case other:
            raise ValueError(f"a child process ended an attempt by {other}")


def _head(how: str, error: TaskError | None = None, after: int | None = None) -> bytes:
    said = {"how": how, "after": after}
    if error is not None:
        said |= {"code": error.code, "message": error.message}
    return json.dumps(said).encode() + b"\n"
