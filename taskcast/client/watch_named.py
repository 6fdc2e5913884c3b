"""Following many tasks by their ids, over as many streams as it takes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from taskcast.client.errors import TaskcastError
from taskcast.client.missed import missed_events
from taskcast.client.streams import TERMINAL_STATUSES
from taskcast.v1 import task_service_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    import grpc
    from google.protobuf.duration_pb2 import Duration

    from taskcast.client.connection import Connection
    from taskcast.client.streams import Contact
    from taskcast.v1 import task_pb2

    Stream = grpc.aio.UnaryStreamCall[task_service_pb2.WatchTasksRequest, task_service_pb2.WatchTasksResponse]


class NamedWatch:
    """One watch of up to 1,000 different tasks. `updates()` yields everything new, heartbeats included.

    A stream that broke is replaced by one for the tasks that have not finished. Its snapshots tell how far each
    has come; what lies between that and the last event seen is read from the task's own history.
    """

    def __init__(
        self, connection: Connection, contact: Contact, task_ids: Iterable[str], *, heartbeat_interval: Duration
    ) -> None:
        """The arguments are those of Client.watch_many."""
        self._connection = connection
        self._contact = contact
        self._heartbeat_interval = heartbeat_interval
        self._unfinished = dict.fromkeys(task_ids)
        self._seen: dict[str, int] = {}

    async def updates(self) -> AsyncGenerator[task_service_pb2.WatchTasksResponse, None]:
        """The updates, until all tasks have finished. Raises TaskcastError when it must be given up."""
        while self._unfinished:
            stream = self._open()
            try:
                while (response := await self._read(stream)) is not None:
                    async for update in self._new_in(response):
                        yield update
            except TaskcastError as failure:
                if not self._unfinished:
                    return
                pause = self._contact.pause_after(failure)
            else:
                return
            finally:
                stream.cancel()
            await asyncio.sleep(pause)

    def _open(self) -> Stream:
        with self._connection.errors():
            return self._connection.tasks.WatchTasks(
                task_service_pb2.WatchTasksRequest(
                    task_ids=self._unfinished, heartbeat_interval=self._heartbeat_interval
                )
            )

    async def _read(self, stream: Stream) -> task_service_pb2.WatchTasksResponse | None:
        return await self._contact.read(stream, only_end_follows=not self._unfinished)

    async def _new_in(
        self, response: task_service_pb2.WatchTasksResponse
    ) -> AsyncGenerator[task_service_pb2.WatchTasksResponse, None]:
        """What a message tells that has not been told yet."""
        match response.WhichOneof("update"):
            case "snapshot":
                task = response.snapshot
                if task.id in self._seen:
                    async for event in missed_events(
                        self._connection, self._contact, task.id, after=self._seen[task.id], until=task.sequence
                    ):
                        if self._advance(event.task_id, event.sequence, event.status):
                            yield task_service_pb2.WatchTasksResponse(event=event)
                if self._advance(task.id, task.sequence, task.status):
                    # It is the first of this task, or the events before it are no longer kept.
                    yield response
            case "event":
                event = response.event
                if self._advance(event.task_id, event.sequence, event.status):
                    yield response
            case _:
                yield response

    def _advance(self, task_id: str, sequence: int, status: task_pb2.TaskStatus.ValueType) -> bool:
        """Take note of how far a task has come; false if that is nothing new."""
        if sequence <= self._seen.get(task_id, 0):
            return False
        self._seen[task_id] = sequence
        if status in TERMINAL_STATUSES:
            self._unfinished.pop(task_id, None)
        return True
