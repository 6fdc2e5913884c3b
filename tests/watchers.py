"""Watches of many tasks, as a client sees them, and what they should have seen."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.duration_pb2 import Duration

from taskcast.v1 import task_service_pb2
from tests.clients import problem_of
from tests.deadlines import eventually_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from taskcast.v1 import task_pb2
    from tests.clients import Caller, Problem


class ManyWatched:
    """What came so far on one call of WatchTasks."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.responses: list[task_service_pb2.WatchTasksResponse] = []
        self.problem: Problem | None = None
        self.ended = asyncio.Event()

    async def read(self) -> None:
        """Read until the call ends."""
        try:
            async for response in self.call:
                self.responses.append(response)  # What came before an error counts, too.
        except grpc.aio.AioRpcError as error:
            self.problem = problem_of(error)
        finally:
            self.ended.set()

    @property
    def snapshots(self) -> list[task_pb2.Task]:
        """The snapshots, in the order they came."""
        return [r.snapshot for r in self.responses if r.HasField("snapshot")]

    @property
    def events(self) -> list[task_pb2.TaskEvent]:
        """The events, in the order they came."""
        return [r.event for r in self.responses if r.HasField("event")]

    def by_task(self) -> dict[str, list[task_pb2.TaskEvent]]:
        """The events of each task, in the order they came."""
        found: dict[str, list[task_pb2.TaskEvent]] = defaultdict(list)
        for event in self.events:
            found[event.task_id].append(event)
        return dict(found)

    def sequences(self) -> dict[str, list[int]]:
        """The numbers of each task's events, in the order they came."""
        return {task_id: [event.sequence for event in events] for task_id, events in self.by_task().items()}

    async def until_events(self, count: int, *, within: float = 30) -> None:
        """Wait for so many events, or for the end of the call."""

        async def look() -> bool:
            return len(self.events) >= count or self.ended.is_set()

        await eventually_async(look, within=within, what=f"{count} events")


def by_ids(
    caller: Caller, task_ids: Iterable[str], *, heartbeat: float | None = None, within: float = 120
) -> ManyWatched:
    """An open watch of these tasks, which nobody reads yet."""
    request = task_service_pb2.WatchTasksRequest(task_ids=task_ids)
    if heartbeat is not None:
        request.heartbeat_interval.CopyFrom(Duration(nanos=round(heartbeat * 1e9) % 10**9, seconds=int(heartbeat)))
    return ManyWatched(caller.stub.WatchTasks(request, timeout=within))


@asynccontextmanager
async def by_filter(caller: Caller, *, within: float = 120, **fields: Any) -> AsyncIterator[ManyWatched]:
    """A live watch of what matches, read in the background until the block is left."""
    request = task_service_pb2.WatchTasksRequest(filter=task_service_pb2.TaskFilter(**fields))
    watched = ManyWatched(caller.stub.WatchTasks(request, timeout=within))
    reading = asyncio.create_task(watched.read())

    async def live() -> bool:
        return bool(watched.responses) or watched.ended.is_set()

    try:
        await eventually_async(live, within=20, what="the watch to be live")
        assert watched.responses, watched.problem
        assert watched.responses[0].HasField("heartbeat")
        yield watched
    finally:
        watched.call.cancel()
        with suppress(asyncio.CancelledError):
            await reading


def matching(
    history: Sequence[task_pb2.TaskEvent], statuses: Sequence[int], *, after: int = 0
) -> list[task_pb2.TaskEvent]:
    """The events after that number before or after which the task has one of the statuses; all if there are none."""
    befores = [None, *(event.status for event in history)]
    return [
        event
        for before, event in zip(befores, history, strict=False)
        if event.sequence > after and (not statuses or event.status in statuses or before in statuses)
    ]
