"""What a client sees: calls through the generated stubs, watches as lists, errors with all their details."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import struct_pb2
from google.rpc import error_details_pb2, status_pb2

from shared.codec import event_from_proto, task_from_proto
from shared.domain.evolve import evolve
from shared.domain.task import EventType
from shared.json_values import decode_json, encode_json
from taskcast.v1 import admin_service_pb2, admin_service_pb2_grpc, task_pb2, task_service_pb2, task_service_pb2_grpc
from tests.deadlines import eventually_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from google.protobuf import timestamp_pb2

    from shared.domain.task import Task

CALL_SECONDS = 20.0
NO_PROXY = ("grpc.enable_http_proxy", 0)
TERMINAL = frozenset(
    {
        task_pb2.TASK_STATUS_SUCCESS,
        task_pb2.TASK_STATUS_FAILED,
        task_pb2.TASK_STATUS_ERROR,
        task_pb2.TASK_STATUS_CANCELLED,
        task_pb2.TASK_STATUS_TIMEOUT,
    }
)


@dataclass(frozen=True, slots=True)
class Problem:
    """An error answer, taken apart."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    domain: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    retry_after: float | None = None


def problem_of(error: Any) -> Problem:
    """What an RpcError of either kind of channel says."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            return _explained(status_pb2.Status.FromString(value), error.code())
    return Problem(error.code(), error.details() or "")


def _explained(status: status_pb2.Status, code: grpc.StatusCode) -> Problem:
    assert status.code == code.value[0], "the details name another code than the call"
    problem = Problem(code, status.message)
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        bad = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            problem = replace(problem, reason=info.reason, domain=info.domain, metadata=dict(info.metadata))
        elif detail.Unpack(bad):
            problem = replace(problem, fields=tuple(violation.field for violation in bad.field_violations))
            assert all(violation.description for violation in bad.field_violations)
        elif detail.Unpack(retry):
            problem = replace(problem, retry_after=retry.retry_delay.ToTimedelta().total_seconds())
    return problem


@dataclass(frozen=True, slots=True)
class Watched:
    """A watch from its beginning to its end."""

    responses: tuple[task_service_pb2.WatchTaskResponse, ...]
    problem: Problem | None
    """None if it ended with OK."""

    @property
    def snapshots(self) -> list[task_pb2.Task]:
        """The snapshots, of which there is at most one."""
        return [r.snapshot for r in self.responses if r.HasField("snapshot")]

    @property
    def events(self) -> list[task_pb2.TaskEvent]:
        """The events, in the order they came."""
        return [r.event for r in self.responses if r.HasField("event")]

    @property
    def heartbeats(self) -> list[int]:
        """The sequences that heartbeats named."""
        return [r.heartbeat.sequence for r in self.responses if r.HasField("heartbeat")]

    @property
    def sequences(self) -> list[int]:
        """The events' sequences."""
        return [event.sequence for event in self.events]

    @property
    def types(self) -> list[str]:
        """The events' types without PROGRESSED, like ["SUBMITTED", "STARTED", "SUCCEEDED"]."""
        names = [task_pb2.TaskEvent.Type.Name(event.type).removeprefix("TYPE_") for event in self.events]
        return [name for name in names if name != "PROGRESSED"]


class Caller:
    """A client of one gateway."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.stub: task_service_pb2_grpc.TaskServiceAsyncStub = task_service_pb2_grpc.TaskServiceStub(channel)
        self.admin: admin_service_pb2_grpc.AdminServiceAsyncStub = admin_service_pb2_grpc.AdminServiceStub(channel)

    async def submit(
        self, type_: str, payload: object = None, *, within: float = CALL_SECONDS, **fields: Any
    ) -> task_pb2.Task:
        """Submit a task; `fields` are those of SubmitTaskRequest, `within` is the call's deadline."""
        return (await self.submit_answer(type_, payload, within=within, **fields)).task

    async def submit_answer(
        self, type_: str, payload: object = None, *, within: float = CALL_SECONDS, **fields: Any
    ) -> task_service_pb2.SubmitTaskResponse:
        """Submit a task; the whole answer."""
        request = task_service_pb2.SubmitTaskRequest(type=type_, payload=value(payload), **fields)
        return await self.stub.SubmitTask(request, timeout=within)

    async def get(self, task_id: str, *, within: float = CALL_SECONDS) -> task_pb2.Task:
        """The task as it is."""
        request = task_service_pb2.GetTaskRequest(task_id=task_id)
        return (await self.stub.GetTask(request, timeout=within)).task

    async def cancel(self, task_id: str, reason: str = "", *, within: float = CALL_SECONDS) -> task_pb2.Task:
        """Cancel the task."""
        request = task_service_pb2.CancelTaskRequest(task_id=task_id, reason=reason)
        return (await self.stub.CancelTask(request, timeout=within)).task

    def open_watch(
        self, task_id: str, after: int | None = 0, *, heartbeat: float | None = None, within: float = 60
    ) -> Any:
        """An open WatchTask call."""
        request = task_service_pb2.WatchTaskRequest(task_id=task_id, after_sequence=after)
        if heartbeat is not None:
            request.heartbeat_interval.FromMilliseconds(round(heartbeat * 1_000))
        return self.stub.WatchTask(request, timeout=within)

    async def watch(
        self, task_id: str, after: int | None = 0, *, heartbeat: float | None = None, within: float = 60
    ) -> Watched:
        """Follow a task to the end of the watch."""
        return await read_all(self.open_watch(task_id, after, heartbeat=heartbeat, within=within))

    async def deliveries(self, *, page_size: int = 0, **wanted: Any) -> list[admin_service_pb2.WebhookDelivery]:
        """All webhook deliveries that match, page by page; `wanted` are the fields of WebhookDeliveryFilter."""
        request = admin_service_pb2.ListWebhookDeliveriesRequest(
            page_size=page_size, filter=admin_service_pb2.WebhookDeliveryFilter(**wanted)
        )
        found: list[admin_service_pb2.WebhookDelivery] = []
        while True:
            answer = await self.admin.ListWebhookDeliveries(request, timeout=CALL_SECONDS)
            found += answer.deliveries
            if not answer.next_page_token:
                return found
            request.page_token = answer.next_page_token

    async def redeliver(self, delivery_id: str) -> int:
        """Have one webhook sent again."""
        request = admin_service_pb2.RedeliverWebhookRequest(delivery_id=delivery_id)
        return (await self.admin.RedeliverWebhook(request, timeout=CALL_SECONDS)).count

    async def redeliver_failed(self, url: str, since: timestamp_pb2.Timestamp | None = None) -> int:
        """Have sent again what was given up for an endpoint."""
        failed = admin_service_pb2.FailedWebhookDeliveries(url=url, since=since)
        request = admin_service_pb2.RedeliverWebhookRequest(failed=failed)
        return (await self.admin.RedeliverWebhook(request, timeout=120)).count

    async def status(self, task_id: str) -> task_pb2.TaskStatus.ValueType:
        """The task's status."""
        return (await self.get(task_id)).status

    async def until(
        self, task_id: str, *statuses: task_pb2.TaskStatus.ValueType, within: float = 30, attempt: int = 0
    ) -> task_pb2.Task:
        """The task once it has one of these statuses, in this attempt or a later one."""

        async def look() -> task_pb2.Task | None:
            task = await self.get(task_id)
            return task if task.status in statuses and task.attempt >= attempt else None

        names = " or ".join(task_pb2.TaskStatus.Name(status) for status in statuses)
        found = await eventually_async(look, within=within, what=f"task {task_id} to be {names}")
        assert found is not None
        return found

    async def until_running(self, task_id: str, *, attempt: int = 1, within: float = 30) -> task_pb2.Task:
        """The task once this attempt, or a later one, runs."""
        return await self.until(task_id, task_pb2.TASK_STATUS_PROCESSING, attempt=attempt, within=within)

    async def until_finished(self, task_id: str, *, within: float = 30) -> task_pb2.Task:
        """The task once it is terminal."""
        return await self.until(task_id, *TERMINAL, within=within)


@asynccontextmanager
async def calling(address: str, *options: tuple[str, Any]) -> AsyncIterator[Caller]:
    """A client of the gateway at `address`, on a connection of its own."""
    all_options = [NO_PROXY, ("grpc.use_local_subchannel_pool", 1), *options]
    async with grpc.aio.insecure_channel(address, options=all_options) as channel:
        yield Caller(channel)


async def read_all(call: Any) -> Watched:
    """Read an open watch to its end."""
    responses: list[task_service_pb2.WatchTaskResponse] = []
    try:
        async for response in call:
            responses.append(response)  # noqa: PERF401  # What came before an error counts, too.
    except grpc.aio.AioRpcError as error:
        return Watched(tuple(responses), problem_of(error))
    return Watched(tuple(responses), None)


async def refusal(call: Any) -> Problem:
    """The error that a call ends with. Raises AssertionError if it succeeds."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return problem_of(error)
    raise AssertionError(f"the call succeeded: {answer}")


async def timed_refusal(call: Any) -> tuple[Problem, float]:
    """The error that a call ends with, and after how many seconds."""
    began = time.monotonic()
    return await refusal(call), time.monotonic() - began


def value(payload: object) -> struct_pb2.Value:
    """A Python value as a protobuf Value."""
    return struct_pb2.Value.FromString(encode_json(payload, "payload"))


def plain(message: struct_pb2.Value) -> Any:
    """A protobuf Value as a Python value."""
    return decode_json(message.SerializeToString())


def expect_whole_history(watched: Watched, task: task_pb2.Task) -> None:
    """The watch from 0 saw events 1..n without hole or repeat, ended with OK, and its fold is `task`."""
    assert watched.problem is None, f"the watch of {task.id} ended with {watched.problem}"
    assert watched.sequences == list(range(1, task.sequence + 1)), f"the watch of {task.id} has a hole or a repeat"
    endings = [event.status for event in watched.events if event.status in TERMINAL]
    assert endings == [task.status], f"task {task.id} has {len(endings)} terminal events"
    assert watched.events[-1].status == task.status, f"the terminal event of {task.id} is not the last"
    assert fold(watched.events, task) == task_from_proto(task), f"task {task.id} is not the fold of its events"


def fold(events: Iterable[task_pb2.TaskEvent], like: task_pb2.Task) -> Task:
    """The task that these events lead to; what public events do not carry is taken from `like`."""
    known = task_from_proto(like)
    state: Task | None = None
    for message in events:
        event = event_from_proto(message)
        if event.type is EventType.SUBMITTED:
            event = replace(event, tenant=known.tenant, spec=known.spec, retry_of=known.retry_of)
        elif event.type is EventType.STARTED:
            event = replace(event, terms=known.terms)
        state = evolve(state, event)
    assert state is not None, "no events"
    return state


async def all_finished(caller: Caller, ids: Iterable[str], *, within: float) -> list[task_pb2.Task]:
    """All these tasks once each is terminal."""
    deadline = time.monotonic() + within
    found = []
    for task_id in ids:
        left = max(deadline - time.monotonic(), 0.5)
        found.append(await caller.until_finished(task_id, within=left))
    return found
