"""TaskService: each method reads its request, calls one use case and writes the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_service.rpc.batches import ANSWER_BYTES, Batches
from gateway_service.rpc.filters import task_filter, watched_filter
from gateway_service.rpc.requests import after_sequence, fingerprint, heartbeat_seconds, read_submission
from gateway_service.watch.updates import Heartbeat
from shared.codec import event_to_proto, task_to_proto
from shared.domain.task import Task
from taskcast.v1 import task_service_pb2 as pb
from taskcast.v1 import task_service_pb2_grpc as rpc

if TYPE_CHECKING:
    from typing import Any

    import grpc

    from gateway_service.rpc.requests import SubmissionDefaults
    from gateway_service.use_cases.cancel_task import CancelTask
    from gateway_service.use_cases.get_task import GetTask
    from gateway_service.use_cases.list_tasks import ListTasks
    from gateway_service.use_cases.retry_task import RetryTask
    from gateway_service.use_cases.submit_task import SubmitTask
    from gateway_service.watch.follow import FollowTask
    from gateway_service.watch.matching import FollowMatching
    from gateway_service.watch.named import FollowTasks
    from gateway_service.watch.updates import Update

    Context = grpc.aio.ServicerContext[Any, Any]

TENANT = "default"
"""Every client is the same tenant until clients can say who they are."""


class TaskServicer(rpc.TaskServiceServicer):
    """The contract's TaskService. Errors are raised, and answered by the interceptor's table."""

    def __init__(
        self,
        *,
        submit: SubmitTask,
        retry: RetryTask,
        get: GetTask,
        cancel: CancelTask,
        list_tasks: ListTasks,
        follow: FollowTask,
        follow_tasks: FollowTasks,
        follow_matching: FollowMatching,
        defaults: SubmissionDefaults,
    ) -> None:
        self._submit = submit
        self._retry = retry
        self._get = get
        self._cancel = cancel
        self._list = list_tasks
        self._follow = follow
        self._follow_tasks = follow_tasks
        self._follow_matching = follow_matching
        self._defaults = defaults
        self._batches = Batches(submit, get, cancel, defaults)

    async def SubmitTask(self, request: pb.SubmitTaskRequest, context: Context) -> pb.SubmitTaskResponse:
        """Record a task and answer with its id."""
        submitted = await self._submit(TENANT, read_submission(request, self._defaults))
        task = task_to_proto(submitted.task, payload=False)
        return pb.SubmitTaskResponse(task=task, duplicate=submitted.duplicate)

    async def GetTask(self, request: pb.GetTaskRequest, context: Context) -> pb.GetTaskResponse:
        """The task as it is."""
        return pb.GetTaskResponse(task=task_to_proto(await self._get(TENANT, request.task_id)))

    async def CancelTask(self, request: pb.CancelTaskRequest, context: Context) -> pb.CancelTaskResponse:
        """Cancel a task that has not finished."""
        task = await self._cancel(TENANT, request.task_id, request.reason)
        return pb.CancelTaskResponse(task=task_to_proto(task, payload=False))

    async def WatchTask(self, request: pb.WatchTaskRequest, context: Context) -> None:
        """Send the task's updates until it ends."""

        async def send(update: Update) -> None:
            await context.write(watch_response(update))

        await self._follow(
            TENANT,
            request.task_id,
            after=after_sequence(request),
            heartbeat=heartbeat_seconds(request),
            send=send,
        )

    async def RetryTask(self, request: pb.RetryTaskRequest, context: Context) -> pb.RetryTaskResponse:
        """Submit a task again that did not succeed."""
        submitted = await self._retry(
            TENANT,
            request.task_id,
            request_id=request.request_id,
            fingerprint=fingerprint(request) if request.request_id else b"",
        )
        task = task_to_proto(submitted.task, payload=False)
        return pb.RetryTaskResponse(task=task, duplicate=submitted.duplicate)

    async def ListTasks(self, request: pb.ListTasksRequest, context: Context) -> pb.ListTasksResponse:
        """One page of the tasks that match."""
        page = await self._list(TENANT, task_filter(request.filter), size=request.page_size, token=request.page_token)
        response = pb.ListTasksResponse()
        room = ANSWER_BYTES
        for index, task in enumerate(page.tasks):
            message = task_to_proto(task, payload=False, result=False)
            room -= message.ByteSize()
            if room < 0:
                page = page.up_to(index)
                break
            response.tasks.append(message)
        response.next_page_token = page.next_token
        return response

    async def WatchTasks(self, request: pb.WatchTasksRequest, context: Context) -> None:
        """Send the updates of many tasks: of those named until all have ended, of those that match for ever."""

        async def send(update: Update) -> None:
            await context.write(watch_many_response(update))

        heartbeat = heartbeat_seconds(request)
        if wanted := watched_filter(request):
            await self._follow_matching(TENANT, wanted, heartbeat=heartbeat, send=send)
        else:
            await self._follow_tasks(TENANT, request.task_ids, heartbeat=heartbeat, send=send)

    async def BatchSubmitTasks(
        self, request: pb.BatchSubmitTasksRequest, context: Context
    ) -> pb.BatchSubmitTasksResponse:
        """Record many tasks, each by itself."""
        return await self._batches.submit(TENANT, request)

    async def BatchGetTasks(self, request: pb.BatchGetTasksRequest, context: Context) -> pb.BatchGetTasksResponse:
        """Many tasks as they are."""
        return await self._batches.get(TENANT, request)

    async def BatchCancelTasks(
        self, request: pb.BatchCancelTasksRequest, context: Context
    ) -> pb.BatchCancelTasksResponse:
        """Cancel many tasks, each by itself."""
        return await self._batches.cancel(TENANT, request)


def watch_response(update: Update) -> pb.WatchTaskResponse:
    """The message of one update."""
    if isinstance(update, Heartbeat):
        return pb.WatchTaskResponse(heartbeat=pb.Heartbeat(sequence=update.sequence))
    if isinstance(update, Task):
        return pb.WatchTaskResponse(snapshot=task_to_proto(update))
    return pb.WatchTaskResponse(event=event_to_proto(update))


def watch_many_response(update: Update) -> pb.WatchTasksResponse:
    """The message of one update of a watch of many tasks: a snapshot has no payload and no result."""
    if isinstance(update, Heartbeat):
        return pb.WatchTasksResponse(heartbeat=pb.Heartbeat(sequence=update.sequence))
    if isinstance(update, Task):
        return pb.WatchTasksResponse(snapshot=task_to_proto(update, payload=False, result=False))
    return pb.WatchTasksResponse(event=event_to_proto(update))
