"""A server of the contract that says what a test tells it to: the client's other side, faults on demand."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from taskcast.v1 import admin_service_pb2, task_pb2, task_service_pb2
from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from google.protobuf.message import Message

    Context = grpc.aio.ServicerContext[Any, Any]

TASK_ID = "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0001"


@dataclass(frozen=True)
class Refusal:
    """An error answer, with `google.rpc` details if it has a reason."""

    code: grpc.StatusCode
    message: str = "No."
    reason: str = ""
    retry_delay: float | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    raw_details: bytes = b""

    async def send(self, context: Context) -> None:
        """End the call with it."""
        if self.raw_details:
            context.set_trailing_metadata((("grpc-status-details-bin", self.raw_details),))
        if not self.reason:
            await context.abort(self.code, self.message)
        await context.abort_with_status(rpc_status.to_status(self.status()))

    def status(self) -> status_pb2.Status:
        """It as a message, with its details."""
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        info = error_details_pb2.ErrorInfo(domain="taskcast", reason=self.reason, metadata=self.metadata)
        status.details.add().Pack(info)
        if self.retry_delay is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromNanoseconds(int(self.retry_delay * 1e9))
            status.details.add().Pack(retry)
        if self.fields:
            violations = [
                error_details_pb2.BadRequest.FieldViolation(field=name, description=description)
                for name, description in self.fields.items()
            ]
            status.details.add().Pack(error_details_pb2.BadRequest(field_violations=violations))
        return status


@dataclass(frozen=True)
class Pause:
    """Nothing is said for a while."""

    seconds: float


class Silence:
    """Nothing more is said, and the stream stays open."""


Line = task_service_pb2.WatchTaskResponse | task_service_pb2.WatchTasksResponse | Refusal | Pause | Silence

_SERVICES = (task_service_pb2.DESCRIPTOR, admin_service_pb2.DESCRIPTOR)


class ScriptedGateway:
    """Plays `answers` to calls and `streams` to watches, one for each, and keeps the requests."""

    def __init__(self) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.answers: deque[Message | Refusal | Silence] = deque()
        self.streams: deque[Sequence[Line]] = deque()
        self.requests: list[Any] = []
        self.stream_ended = asyncio.Event()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listen on the port."""
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers(tuple(self._handlers()))
        server.add_insecure_port(self.address)
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Cut every connection."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    def _handlers(self) -> Iterator[grpc.GenericRpcHandler]:
        for file in _SERVICES:
            for service in file.services_by_name.values():
                handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
                for method in service.methods:
                    handler = (
                        grpc.unary_stream_rpc_method_handler
                        if method.server_streaming
                        else grpc.unary_unary_rpc_method_handler
                    )
                    handlers[method.name] = handler(
                        self._play if method.server_streaming else self._answer,
                        request_deserializer=GetMessageClass(method.input_type).FromString,
                        response_serializer=_serialize,
                    )
                yield grpc.method_handlers_generic_handler(service.full_name, handlers)

    async def _play(self, request: Any, context: Context) -> None:
        self.requests.append(request)
        try:
            for line in self.streams.popleft():
                match line:
                    case Refusal():
                        await line.send(context)
                    case Pause():
                        await asyncio.sleep(line.seconds)
                    case Silence():
                        await asyncio.Event().wait()
                    case task_service_pb2.WatchTaskResponse() if line.HasField("event"):
                        line.event.task_id = request.task_id
                        await context.write(line)
                    case _:
                        await context.write(line)
        finally:
            self.stream_ended.set()

    async def _answer(self, request: Any, context: Context) -> Any:
        self.requests.append(request)
        answer = self.answers.popleft()
        match answer:
            case Refusal():
                await answer.send(context)
            case Silence():
                await asyncio.Event().wait()
            case _:
                pass
        return answer


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


@contextlib.asynccontextmanager
async def scripted_gateway() -> AsyncIterator[ScriptedGateway]:
    """A gateway that listens, and is gone afterwards."""
    gateway = ScriptedGateway()
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop()


def refused(refusal: Refusal) -> task_service_pb2.BatchTaskResult:
    """What a batch says of an item that is refused."""
    return task_service_pb2.BatchTaskResult(error=refusal.status())


def snapshot(
    sequence: int, status: task_pb2.TaskStatus.ValueType = task_pb2.TASK_STATUS_PROCESSING
) -> task_service_pb2.WatchTaskResponse:
    """The first message of a watch."""
    task = task_pb2.Task(id=TASK_ID, type="demo.steps", sequence=sequence, status=status)
    return task_service_pb2.WatchTaskResponse(snapshot=task)


def event(
    sequence: int,
    type_: task_pb2.TaskEvent.Type.ValueType = task_pb2.TaskEvent.TYPE_PROGRESSED,
    status: task_pb2.TaskStatus.ValueType = task_pb2.TASK_STATUS_PROCESSING,
) -> task_service_pb2.WatchTaskResponse:
    """A change."""
    return task_service_pb2.WatchTaskResponse(
        event=task_pb2.TaskEvent(task_id=TASK_ID, sequence=sequence, type=type_, status=status)
    )


def succeeded(sequence: int) -> task_service_pb2.WatchTaskResponse:
    """The terminal event."""
    return event(sequence, task_pb2.TaskEvent.TYPE_SUCCEEDED, task_pb2.TASK_STATUS_SUCCESS)


def heartbeat(sequence: int) -> task_service_pb2.WatchTaskResponse:
    """A sign of life."""
    return task_service_pb2.WatchTaskResponse(heartbeat=task_service_pb2.Heartbeat(sequence=sequence))


def of_many(update: task_service_pb2.WatchTaskResponse, task_id: str = TASK_ID) -> task_service_pb2.WatchTasksResponse:
    """The same as a message of WatchTasks, of this task."""
    message = task_service_pb2.WatchTasksResponse.FromString(update.SerializeToString())
    if message.HasField("snapshot"):
        message.snapshot.id = task_id
    elif message.HasField("event"):
        message.event.task_id = task_id
    return message
