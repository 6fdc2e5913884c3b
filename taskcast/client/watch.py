"""Following one task over as many streams as it takes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from taskcast.client.errors import TaskcastError
from taskcast.client.streams import TERMINAL_STATUSES
from taskcast.v1 import task_service_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import grpc
    from google.protobuf.duration_pb2 import Duration

    from taskcast.client.connection import Connection
    from taskcast.client.streams import Contact

    Stream = grpc.aio.UnaryStreamCall[task_service_pb2.WatchTaskRequest, task_service_pb2.WatchTaskResponse]


class TaskWatch:
    """One watch. `updates()` yields everything the gateway sends, heartbeats included, but nothing twice."""

    def __init__(
        self,
        connection: Connection,
        contact: Contact,
        task_id: str,
        *,
        after_sequence: int | None,
        heartbeat_interval: Duration,
    ) -> None:
        """The arguments are those of Client.watch."""
        self._connection = connection
        self._contact = contact
        self._task_id = task_id
        self._after = after_sequence
        self._heartbeat_interval = heartbeat_interval
        self._seen: int | None = None
        self._finished = False

    async def updates(self) -> AsyncGenerator[task_service_pb2.WatchTaskResponse, None]:
        """The updates, until the task has finished. Raises TaskcastError when it must be given up."""
        while True:
            stream = self._open()
            try:
                while (response := await self._contact.read(stream, only_end_follows=self._finished)) is not None:
                    if self._advance(response):
                        yield response
            except TaskcastError as failure:
                if self._finished:
                    return
                pause = self._pause_after(failure)
            else:
                return
            finally:
                stream.cancel()
            await asyncio.sleep(pause)

    def _open(self) -> Stream:
        with self._connection.errors():
            return self._connection.tasks.WatchTask(
                task_service_pb2.WatchTaskRequest(
                    task_id=self._task_id,
                    after_sequence=self._after,
                    heartbeat_interval=self._heartbeat_interval,
                )
            )

    def _advance(self, response: task_service_pb2.WatchTaskResponse) -> bool:
        """Take note of a message; false if it tells nothing new."""
        match response.WhichOneof("update"):
            case "snapshot":
                sequence, status = response.snapshot.sequence, response.snapshot.status
            case "event":
                sequence, status = response.event.sequence, response.event.status
            case _:
                return True
        if self._seen is not None and sequence <= self._seen:
            return False
        self._seen = self._after = sequence
        self._finished = status in TERMINAL_STATUSES
        return True

    def _pause_after(self, failure: TaskcastError) -> float:
        if failure.reason == "SEQUENCE_COMPACTED" and self._seen is not None and self._after is not None:
            # Too much was missed while there was no connection. A snapshot tells where the task stands now.
            self._after = None
            return 0.0
        return self._contact.pause_after(failure)
