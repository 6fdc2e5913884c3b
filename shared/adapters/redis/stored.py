"""Tasks and events in the form in which the record stores them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from shared import codec
from shared.domain.task import EventType, Timers

if TYPE_CHECKING:
    from shared.domain.task import Task, TaskEvent

_APPEND_NAME_BYTES = 8
"""Random bytes before each stored event: they tell a repeated sending of an append from another like it."""


def entry_of(event: TaskEvent) -> bytes:
    """An event as an entry of the log; see `append.lua`."""
    kind = b"~" if event.type is EventType.PROGRESSED else b"="
    return os.urandom(_APPEND_NAME_BYTES) + kind + codec.encode_log_event(event)


def event_of(task_id: str, entry: bytes) -> TaskEvent:
    """The event in an entry of this task's log."""
    return codec.decode_log_event(task_id, entry[_APPEND_NAME_BYTES + 1 :])


def timers_text(timers: Timers) -> str:
    """Timers as the field `timers` of a task."""
    return f"{timers.dispatch_at}:{timers.dispatches}:{timers.lease_expires}"


def task_of(asked: bytes, life: bytes, timers: bytes) -> Task:
    """The task in these fields; `life` may have payload and result behind it."""
    dispatch_at, dispatches, lease_expires = timers.split(b":")
    return codec.decode_task(
        (asked, life),
        Timers(dispatch_at=int(dispatch_at), dispatches=int(dispatches), lease_expires=int(lease_expires)),
    )


def pairs(reply: list[Any]) -> list[tuple[bytes, float]]:
    """Members and scores, which RESP3 sends as pairs and RESP2 as one flat list."""
    if reply and isinstance(reply[0], (list, tuple)):
        return [(member, float(score)) for member, score in reply]
    return [(reply[i], float(reply[i + 1])) for i in range(0, len(reply), 2)]
