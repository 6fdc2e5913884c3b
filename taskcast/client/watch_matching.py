"""Following all tasks that a filter matches, over as many streams as it takes."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from taskcast.client.batches import MOST_ITEMS
from taskcast.client.errors import TaskcastError
from taskcast.client.listing import list_tasks
from taskcast.client.missed import missed_events
from taskcast.client.streams import TERMINAL_STATUSES
from taskcast.v1 import task_pb2, task_service_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import grpc
    from google.protobuf.duration_pb2 import Duration

    from taskcast.client.connection import Connection
    from taskcast.client.streams import Contact

    Stream = grpc.aio.UnaryStreamCall[task_service_pb2.WatchTasksRequest, task_service_pb2.WatchTasksResponse]

MOST_REMEMBERED = 100_000
"""Tasks whose latest event is remembered. Where more are under way at once, the longest silent are forgotten."""

_OVERLAP_NANOSECONDS = 5_000_000_000
"""Gateways pass events on side by side: one may come this much after a later one of another task."""

_WATCH_BEHIND = "WATCH_BEHIND"


class MatchingWatch:
    """One watch of a filter. `updates()` yields everything new, heartbeats included, without end.

    A stream that broke is replaced. Then it is looked up what became of the tasks told of so far, and which were
    created since; the events that were missed are read from the history of each.
    """

    def __init__(
        self,
        connection: Connection,
        contact: Contact,
        filter_: task_service_pb2.TaskFilter,
        *,
        heartbeat_interval: Duration,
    ) -> None:
        """The arguments are those of Client.watch_filter."""
        self._connection = connection
        self._contact = contact
        self._filter = filter_
        self._heartbeat_interval = heartbeat_interval
        self._seen: OrderedDict[str, tuple[int, task_pb2.TaskStatus.ValueType]] = OrderedDict()
        self._began: int | None = None
        """The time of the newest task when the watch began, in nanoseconds; 0 if there was none."""
        self._latest = 0
        """The time of the newest event told."""

    async def updates(self) -> AsyncGenerator[task_service_pb2.WatchTasksResponse, None]:
        """The updates. Raises TaskcastError when it must be given up."""
        while True:
            stream = self._open()
            is_live = False
            try:
                while (response := await self._contact.read(stream)) is not None:
                    if not is_live:
                        # From the first message on nothing is missed; now what lies before it can be read.
                        is_live = True
                        async for update in self._missed():
                            yield update
                    if not response.HasField("event") or self._advance(response.event):
                        yield response
            except TaskcastError as failure:
                pause = 0.0 if failure.reason == _WATCH_BEHIND else self._contact.pause_after(failure)
            else:
                return
            finally:
                stream.cancel()
            await asyncio.sleep(pause)

    def _open(self) -> Stream:
        with self._connection.errors():
            return self._connection.tasks.WatchTasks(
                task_service_pb2.WatchTasksRequest(filter=self._filter, heartbeat_interval=self._heartbeat_interval)
            )

    async def _missed(self) -> AsyncGenerator[task_service_pb2.WatchTasksResponse, None]:
        """The events since the contact was lost, task by task; none at the beginning of the watch."""
        if self._began is None:
            await self._begin()
            return
        for task in [*await self._known_tasks(), *await self._new_tasks()]:
            after, status = self._seen.get(task.id, (0, task_pb2.TASK_STATUS_UNSPECIFIED))
            events = missed_events(self._connection, self._contact, task.id, after=after, until=task.sequence)
            async for event in events:
                matches = self._matches(status) or self._matches(event.status)
                status = event.status
                if matches and self._advance(event):
                    yield task_service_pb2.WatchTasksResponse(event=event)

    async def _begin(self) -> None:
        """Remember which task is the newest: those created later belong to this watch from their beginning."""
        request = task_service_pb2.ListTasksRequest(page_size=1)
        response = await self._connection.call(self._connection.tasks.ListTasks, request)
        self._began = 0
        for task in response.tasks:
            self._began = self._latest = task.create_time.ToNanoseconds()
            self._seen[task.id] = (task.sequence, task.status)

    async def _known_tasks(self) -> list[task_pb2.Task]:
        """The tasks that had not finished when they were last told of, as they are now."""
        unfinished = [task_id for task_id, (_, status) in self._seen.items() if status not in TERMINAL_STATUSES]
        tasks: list[task_pb2.Task] = []
        for start in range(0, len(unfinished), MOST_ITEMS):
            request = task_service_pb2.BatchGetTasksRequest(task_ids=unfinished[start : start + MOST_ITEMS])
            response = await self._connection.call(self._connection.tasks.BatchGetTasks, request)
            tasks += [result.task for result in response.results if result.HasField("task")]
        return tasks

    async def _new_tasks(self) -> list[task_pb2.Task]:
        """The tasks created since about the latest event told that were not told of, oldest first."""
        since = max(self._began or 0, self._latest - _OVERLAP_NANOSECONDS)
        created_since = task_service_pb2.TaskFilter()
        created_since.CopyFrom(self._filter)
        # What has one of the statuses now is not all that had one of them meanwhile.
        created_since.ClearField("statuses")
        if not created_since.HasField("create_time_after") or since > created_since.create_time_after.ToNanoseconds():
            created_since.create_time_after.FromNanoseconds(since)
        tasks = [task async for task in list_tasks(self._connection, created_since, page_size=MOST_ITEMS)]
        return [task for task in reversed(tasks) if task.id not in self._seen]

    def _matches(self, status: task_pb2.TaskStatus.ValueType) -> bool:
        return not self._filter.statuses or status in self._filter.statuses

    def _advance(self, event: task_pb2.TaskEvent) -> bool:
        """Take note of an event; false if it is nothing new."""
        sequence, _ = self._seen.get(event.task_id, (0, None))
        if event.sequence <= sequence:
            return False
        self._seen[event.task_id] = (event.sequence, event.status)
        self._seen.move_to_end(event.task_id)
        if len(self._seen) > MOST_REMEMBERED:
            self._seen.popitem(last=False)
        self._latest = max(self._latest, event.time.ToNanoseconds())
        return True
