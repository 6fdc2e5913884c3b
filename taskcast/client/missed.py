"""Reading what one task of many went through while there was no contact."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskcast.client.errors import TaskcastError
from taskcast.v1 import task_service_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from taskcast.client.connection import Connection
    from taskcast.client.streams import Contact
    from taskcast.v1 import task_pb2


async def missed_events(
    connection: Connection, contact: Contact, task_id: str, *, after: int, until: int
) -> AsyncGenerator[task_pb2.TaskEvent, None]:
    """The events of a task after one sequence, up to another at least, or none if they are no longer kept.

    Raises TaskcastError when contact is lost over it.
    """
    if after >= until:
        return
    with connection.errors():
        stream = connection.tasks.WatchTask(task_service_pb2.WatchTaskRequest(task_id=task_id, after_sequence=after))
    try:
        while after < until and (response := await contact.read(stream)) is not None:
            if response.HasField("event"):
                after = response.event.sequence
                yield response.event
    except TaskcastError as failure:
        if failure.reason != "SEQUENCE_COMPACTED":
            raise
    finally:
        stream.cancel()
