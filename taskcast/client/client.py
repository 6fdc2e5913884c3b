"""The calls of a gateway as Python methods."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self, TypeAlias, Unpack

from taskcast.client.batches import MOST_ITEMS, Batches, Outcome
from taskcast.client.connection import Connection
from taskcast.client.fields import to_duration, to_timestamp
from taskcast.client.listing import list_deliveries, list_tasks
from taskcast.client.merging import merged
from taskcast.client.streams import Contact
from taskcast.client.submission import SubmitOptions, submission
from taskcast.client.watch import TaskWatch
from taskcast.client.watch_matching import MatchingWatch
from taskcast.client.watch_named import NamedWatch
from taskcast.v1 import admin_service_pb2, task_pb2, task_service_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable
    from datetime import datetime
    from types import TracebackType

    from google.protobuf.duration_pb2 import Duration

    from taskcast.client.errors import TaskcastError
    from taskcast.client.fields import Json, Seconds
    from taskcast.v1.admin_service_pb2 import WebhookDeliveryFilter
    from taskcast.v1.task_service_pb2 import TaskFilter

DEFAULT_ADDRESS = "127.0.0.1:50051"
HEARTBEAT_SECONDS = 10.0
PATIENCE_SECONDS = 300.0

# In the body of a class that has a method of this name, `list` means the method.
Outcomes: TypeAlias = list[Outcome]
Results: TypeAlias = Sequence[task_service_pb2.BatchTaskResult]
Queues: TypeAlias = list[admin_service_pb2.Queue]
Workers: TypeAlias = list[admin_service_pb2.Worker]


class Client:
    """Calls one gateway, or whatever balances the load at its address.

    Use it as an async context manager, from one event loop. A call that fails for a reason that may pass is
    repeated, with growing pauses, until `deadline` seconds are over; a submit can be repeated because it
    always carries a request_id, so that there is one task however often it arrives.
    Every call raises TaskcastError when it does not succeed, and ValueError, before anything is sent, for
    arguments that cannot be written as a request.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        deadline: float = 30.0,
        on_retry: Callable[[TaskcastError, float], None] | None = None,
    ) -> None:
        """`address` is `host:port` or `unix:path`. `deadline`: seconds for one call with all its repetitions.

        `on_retry` is told before each pause what went wrong and how many seconds the pause will take, by
        calls and watches alike.
        """
        self.address = address
        self._connection = Connection(address, deadline=deadline, on_retry=on_retry)

    async def __aenter__(self) -> Self:
        self._connection.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection. Calls and watches still under way end with TaskcastError (CANCELLED)."""
        await self._connection.close()

    # --- One task ------------------------------------------------------------------------------------------------

    async def submit(self, task_type: str, payload: Json = None, **options: Unpack[SubmitOptions]) -> task_pb2.Task:
        """Submit a task; the answer is the task as it was recorded, without its payload.

        The options are those of SubmitOptions. With a `request_id` that an earlier submit had, the answer is the
        earlier task as it stands now; without one a fresh one is made up.
        """
        request = _with_request_id(submission(task_type, payload, **options))
        response = await self._connection.call(self._connection.tasks.SubmitTask, request)
        return response.task

    async def get(self, task_id: str) -> task_pb2.Task:
        """The whole task, with its payload and, once it has succeeded, its result."""
        request = task_service_pb2.GetTaskRequest(task_id=task_id)
        response = await self._connection.call(self._connection.tasks.GetTask, request)
        return response.task

    async def cancel(self, task_id: str, reason: str = "") -> task_pb2.Task:
        """Cancel a task that has not finished; the answer is the cancelled task, without its payload."""
        request = task_service_pb2.CancelTaskRequest(task_id=task_id, reason=reason)
        response = await self._connection.call(self._connection.tasks.CancelTask, request)
        return response.task

    async def retry(self, task_id: str, *, request_id: str = "") -> task_pb2.Task:
        """Submit a new task like a finished one that did not succeed; the answer is the new one, without its payload.

        Its `retry_of` names the old one, which stays as it is. Each call makes one new task, whatever happens to the
        connection; with a `request_id` that an earlier call had, the answer is that call's task.
        """
        request = task_service_pb2.RetryTaskRequest(task_id=task_id, request_id=request_id or str(uuid.uuid4()))
        response = await self._connection.call(self._connection.tasks.RetryTask, request)
        return response.task

    async def wait(self, task_id: str, *, within: float | None = None) -> task_pb2.Task:
        """The whole task, once it has finished in whatever way.

        Raises TimeoutError if it has not after `within` seconds; the task goes on.
        """
        async with asyncio.timeout(within):
            async with contextlib.aclosing(self.watch(task_id)) as updates:
                async for _ in updates:
                    pass
            return await self.get(task_id)

    async def submit_and_wait(
        self, task_type: str, payload: Json = None, **options: Unpack[SubmitOptions]
    ) -> task_pb2.Task:
        """Submit a task as `submit` does; the answer is the whole task, once it has finished in whatever way."""
        task = await self.submit(task_type, payload, **options)
        return await self.wait(task.id)

    # --- Many tasks ----------------------------------------------------------------------------------------------

    async def submit_many(self, requests: Iterable[task_service_pb2.SubmitTaskRequest]) -> Outcomes:
        """Submit tasks, however many; `submission` makes a request of the arguments that `submit` takes.

        The answer has, in the order of the requests, the recorded task or the TaskcastError of each: one bad
        request spoils no other. They travel in batches, one after the other, and what may pass is tried again,
        as in single calls, for up to `deadline` seconds a batch. The same holds for get_many and cancel_many.
        """

        async def send(batch: Sequence[task_service_pb2.SubmitTaskRequest], give_up_at: float) -> Results:
            request = task_service_pb2.BatchSubmitTasksRequest(requests=batch)
            call = self._connection.tasks.BatchSubmitTasks
            return (await self._connection.call(call, request, give_up_at=give_up_at)).results

        named = [_with_request_id(request) for request in requests]
        return await Batches(self._connection, send).outcomes(named, lambda request: request.ByteSize())

    async def get_many(self, task_ids: Iterable[str]) -> Outcomes:
        """The tasks with these ids, without payloads and results, or the TaskcastError of each, in order."""

        async def send(batch: Sequence[str], give_up_at: float) -> Results:
            request = task_service_pb2.BatchGetTasksRequest(task_ids=batch)
            call = self._connection.tasks.BatchGetTasks
            return (await self._connection.call(call, request, give_up_at=give_up_at)).results

        return await Batches(self._connection, send).outcomes(list(task_ids), len)

    async def cancel_many(self, task_ids: Iterable[str], reason: str = "") -> Outcomes:
        """Cancel tasks that have not finished: the cancelled task, or the TaskcastError of each, in order."""

        async def send(batch: Sequence[str], give_up_at: float) -> Results:
            request = task_service_pb2.BatchCancelTasksRequest(task_ids=batch, reason=reason)
            call = self._connection.tasks.BatchCancelTasks
            return (await self._connection.call(call, request, give_up_at=give_up_at)).results

        return await Batches(self._connection, send).outcomes(list(task_ids), len)

    async def list(
        self, matching: TaskFilter | None = None, *, page_size: int = 100
    ) -> AsyncGenerator[task_pb2.Task, None]:
        """The tasks that match, newest first, without payloads and results; without a filter, all.

        Pages of `page_size` are asked for as they are needed: leaving the loop early costs no more than what was
        read. Tasks that arrive meanwhile neither repeat nor hide older ones.
        """
        async with contextlib.aclosing(list_tasks(self._connection, matching, page_size=page_size)) as tasks:
            async for task in tasks:
                yield task

    # --- Watching ------------------------------------------------------------------------------------------------

    async def watch(
        self,
        task_id: str,
        after_sequence: int | None = None,
        *,
        heartbeats: bool = False,
        heartbeat_interval: Seconds = HEARTBEAT_SECONDS,
        patience: float = PATIENCE_SECONDS,
    ) -> AsyncGenerator[task_service_pb2.WatchTaskResponse, None]:
        """Follow a task until it has finished.

        Without `after_sequence`: a snapshot, then each later event. With it: every event after that number, 0
        being the whole history. Events come in the order of their sequence and none twice, however often the
        connection breaks: a broken or silent one (three heartbeats missing) is replaced, and the watch goes
        on after the last event seen. If the gateway no longer has the events that were missed meanwhile, a
        new snapshot stands in their place.

        `heartbeats`: yield heartbeats, too, which tell that the gateway is there. `patience`: seconds without
        contact after which it is given up with the last error. As long as there was no contact at all the
        client's deadline holds, if that is shorter.
        """
        interval = _interval(heartbeat_interval)
        contact = Contact(self._connection, heartbeat_interval=interval, patience=patience)
        watch = TaskWatch(
            self._connection, contact, task_id, after_sequence=after_sequence, heartbeat_interval=interval
        )
        async with contextlib.aclosing(watch.updates()) as updates:
            async for update in updates:
                if heartbeats or not update.HasField("heartbeat"):
                    yield update

    async def watch_many(
        self,
        task_ids: Iterable[str],
        *,
        heartbeats: bool = False,
        heartbeat_interval: Seconds = HEARTBEAT_SECONDS,
        patience: float = PATIENCE_SECONDS,
    ) -> AsyncGenerator[task_service_pb2.WatchTasksResponse, None]:
        """Follow tasks, however many, until all have finished; an id that is given twice counts once.

        For each task: a snapshot without payload and result, then each later event, as `watch` promises for one,
        lost connections included. Between tasks there is no order. Raises TaskcastError (NOT_FOUND) if one is not,
        or after a lost connection no longer, there: its metadata `task_ids` name them.

        The further arguments are those of `watch`.
        """
        interval = _interval(heartbeat_interval)
        ids = list(dict.fromkeys(task_ids))
        watches = [
            NamedWatch(
                self._connection,
                Contact(self._connection, heartbeat_interval=interval, patience=patience),
                ids[start : start + MOST_ITEMS],
                heartbeat_interval=interval,
            ).updates()
            for start in range(0, len(ids), MOST_ITEMS)
        ]
        async with contextlib.aclosing(watches[0] if len(watches) == 1 else merged(watches)) as updates:
            async for update in updates:
                if heartbeats or not update.HasField("heartbeat"):
                    yield update

    async def watch_filter(
        self,
        matching: TaskFilter | None = None,
        *,
        heartbeats: bool = False,
        heartbeat_interval: Seconds = HEARTBEAT_SECONDS,
        patience: float = PATIENCE_SECONDS,
    ) -> AsyncGenerator[task_service_pb2.WatchTasksResponse, None]:
        """Follow all tasks that match, from now on and without end; without a filter, every task.

        An event is yielded if its task matches before it or after it; the events of a task come in order and none
        twice. With `heartbeats` the first is yielded as soon as the watch is live: nothing that happens later is
        missed.

        After a lost connection the watch goes on without a hole for the tasks of which it has yielded an event
        (the latest 100,000), and tells tasks created meanwhile from their beginning. Of any other task, what
        happened meanwhile is not told; it shows again with its next event. What must not miss those follows
        tasks by their ids, or lists.

        The further arguments are those of `watch`.
        """
        interval = _interval(heartbeat_interval)
        contact = Contact(self._connection, heartbeat_interval=interval, patience=patience)
        wanted = task_service_pb2.TaskFilter() if matching is None else matching
        watch = MatchingWatch(self._connection, contact, wanted, heartbeat_interval=interval)
        async with contextlib.aclosing(watch.updates()) as updates:
            async for update in updates:
                if heartbeats or not update.HasField("heartbeat"):
                    yield update

    # --- The system ----------------------------------------------------------------------------------------------

    async def queues(self) -> Queues:
        """Every queue that holds a task or has a worker, by name."""
        request = admin_service_pb2.ListQueuesRequest()
        return list((await self._connection.call(self._connection.admin.ListQueues, request)).queues)

    async def workers(self) -> Workers:
        """Every worker that has reported lately, by name."""
        request = admin_service_pb2.ListWorkersRequest()
        return list((await self._connection.call(self._connection.admin.ListWorkers, request)).workers)

    # --- Webhooks ------------------------------------------------------------------------------------------------

    async def webhook_deliveries(
        self, matching: WebhookDeliveryFilter | None = None, *, page_size: int = 100
    ) -> AsyncGenerator[admin_service_pb2.WebhookDelivery, None]:
        """The webhook deliveries that match, newest first, read like `list`; without a filter, all."""
        pages = list_deliveries(self._connection, matching, page_size=page_size)
        async with contextlib.aclosing(pages) as deliveries:
            async for delivery in deliveries:
                yield delivery

    async def redeliver_webhook(self, delivery_id: str) -> None:
        """Have one webhook sent again, whatever its state."""
        request = admin_service_pb2.RedeliverWebhookRequest(delivery_id=delivery_id)
        await self._connection.call(self._connection.admin.RedeliverWebhook, request)

    async def redeliver_failed_webhooks(self, url: str, since: datetime | None = None) -> int:
        """Have those sent again that were given up for an endpoint, since a time if it is given; how many they are.

        Where contact is lost in the middle and the call is repeated, those of the first time are not counted.
        """
        failed = admin_service_pb2.FailedWebhookDeliveries(url=url)
        if since is not None:
            failed.since.CopyFrom(to_timestamp(since, "since"))
        request = admin_service_pb2.RedeliverWebhookRequest(failed=failed)
        return (await self._connection.call(self._connection.admin.RedeliverWebhook, request)).count


def _with_request_id(request: task_service_pb2.SubmitTaskRequest) -> task_service_pb2.SubmitTaskRequest:
    """The request, or a copy with a request_id, without which it could not be repeated."""
    if request.request_id:
        return request
    named = task_service_pb2.SubmitTaskRequest()
    named.CopyFrom(request)
    named.request_id = str(uuid.uuid4())
    return named


def _interval(heartbeat_interval: Seconds) -> Duration:
    interval = to_duration(heartbeat_interval, "heartbeat_interval")
    if interval.ToNanoseconds() <= 0:
        raise ValueError("heartbeat_interval must be more than 0 seconds")
    return interval
