"""One connection to a gateway, and the calls over it."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import grpc

from taskcast.client.backoff import Backoff
from taskcast.client.errors import TaskcastError, from_rpc
from taskcast.client.fields import to_duration, to_timestamp, to_value
from taskcast.client.watch import TERMINAL_STATUSES, TaskWatch
from taskcast.v1 import task_pb2, task_service_pb2, task_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType

    from google.protobuf.duration_pb2 import Duration

    from taskcast.client.fields import Json, Seconds

__all__ = ["DEFAULT_ADDRESS", "TERMINAL_STATUSES", "Client"]

DEFAULT_ADDRESS = "127.0.0.1:50051"

_LOOPBACK = ("127.", "localhost:", "[::1]:", "unix:", "ipv4:127.", "ipv6:[::1]")

Request = TypeVar("Request", contravariant=True)  # noqa: PLC0105
Response = TypeVar("Response", covariant=True)  # noqa: PLC0105


class _Method(Protocol[Request, Response]):
    """A unary method of the generated stub."""

    def __call__(self, request: Request, *, timeout: float | None = None) -> Awaitable[Response]: ...


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
        self._deadline = deadline
        self._on_retry = on_retry
        self._connection: grpc.aio.Channel | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        if self._closed or self._connection is not None:
            raise RuntimeError("a Client can be entered once; make another one")
        self._connection = grpc.aio.insecure_channel(self.address, options=_options(self.address))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection. Calls and watches still under way end with TaskcastError (CANCELLED)."""
        self._closed = True
        if self._connection is not None:
            await self._connection.close()

    async def submit(
        self,
        task_type: str,
        payload: Json = None,
        *,
        labels: Mapping[str, str] | None = None,
        queue: str = "",
        priority: task_pb2.TaskPriority.ValueType = task_pb2.TASK_PRIORITY_UNSPECIFIED,
        schedule_time: datetime | None = None,
        timeout: Seconds | None = None,
        attempt_timeout: Seconds | None = None,
        estimated_duration: Seconds | None = None,
        retry_policy: task_pb2.RetryPolicy | None = None,
        webhooks: Sequence[task_pb2.Webhook] = (),
        retention: Seconds | None = None,
        request_id: str = "",
    ) -> task_pb2.Task:
        """Submit a task; the answer is the task as it was recorded, without its payload.

        What is left out takes the server's default, as `task_service.proto` says. With a `request_id` that
        an earlier submit had, the answer is the earlier task as it stands now; without one a fresh one is
        made up.
        """
        request = task_service_pb2.SubmitTaskRequest(
            type=task_type,
            payload=to_value(payload),
            labels=labels,
            queue=queue,
            priority=priority,
            schedule_time=None if schedule_time is None else to_timestamp(schedule_time, "schedule_time"),
            timeout=_optional(timeout, "timeout"),
            attempt_timeout=_optional(attempt_timeout, "attempt_timeout"),
            estimated_duration=_optional(estimated_duration, "estimated_duration"),
            retry_policy=retry_policy,
            webhooks=webhooks,
            retention=_optional(retention, "retention"),
            request_id=request_id or str(uuid.uuid4()),
        )
        response = await self._call(self._stub().SubmitTask, request)
        return response.task

    async def get(self, task_id: str) -> task_pb2.Task:
        """The whole task, with its payload and, once it has succeeded, its result."""
        request = task_service_pb2.GetTaskRequest(task_id=task_id)
        response = await self._call(self._stub().GetTask, request)
        return response.task

    async def cancel(self, task_id: str, reason: str = "") -> task_pb2.Task:
        """Cancel a task that has not finished; the answer is the cancelled task, without its payload."""
        request = task_service_pb2.CancelTaskRequest(task_id=task_id, reason=reason)
        response = await self._call(self._stub().CancelTask, request)
        return response.task

    async def watch(
        self,
        task_id: str,
        after_sequence: int | None = None,
        *,
        heartbeats: bool = False,
        heartbeat_interval: Seconds = 10.0,
        patience: float = 300.0,
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
        interval = to_duration(heartbeat_interval, "heartbeat_interval")
        if interval.ToNanoseconds() <= 0:
            raise ValueError("heartbeat_interval must be more than 0 seconds")
        watch = TaskWatch(
            self._stub(),
            self._errors,
            task_id,
            after_sequence=after_sequence,
            heartbeat_interval=interval,
            patience=patience,
            first_patience=min(patience, self._deadline),
            on_retry=self._on_retry,
        )
        async with contextlib.aclosing(watch.updates()) as updates:
            async for update in updates:
                if heartbeats or not update.HasField("heartbeat"):
                    yield update

    async def _call(self, method: _Method[Request, Response], request: Request) -> Response:
        """Call a method, again and again while its failure may pass and time is left."""
        backoff = Backoff()
        give_up_at = time.monotonic() + self._deadline
        failure: TaskcastError | None = None
        while True:
            try:
                with self._errors():
                    return await method(request, timeout=give_up_at - time.monotonic())
            except TaskcastError as error:
                if error.code is grpc.StatusCode.DEADLINE_EXCEEDED and failure is not None:
                    # The time ran out in the last of several tries: what the others met says more.
                    raise failure from error
                failure = error
            pause = backoff.pause(failure.retry_delay)
            if not failure.may_pass or time.monotonic() + pause >= give_up_at:
                raise failure
            if self._on_retry is not None:
                self._on_retry(failure, pause)
            await asyncio.sleep(pause)

    def _stub(self) -> task_service_pb2_grpc.TaskServiceAsyncStub:
        if self._connection is None or self._closed:
            raise RuntimeError("the Client is not open: use it in `async with Client(...) as client`")
        return task_service_pb2_grpc.TaskServiceStub(self._connection)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise what went wrong in a call as a TaskcastError."""
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, self.address) from error
        except grpc.aio.UsageError as error:
            raise self._was_closed() from error
        except asyncio.CancelledError as error:
            # Closing the connection cancels its calls, and this looks as if the caller had been cancelled.
            caller = asyncio.current_task()
            if self._closed and caller is not None and not caller.cancelling():
                raise self._was_closed() from error
            raise

    def _was_closed(self) -> TaskcastError:
        return TaskcastError(grpc.StatusCode.CANCELLED, f"The connection to {self.address} was closed by this side.")


def _optional(length: Seconds | None, name: str) -> Duration | None:
    return None if length is None else to_duration(length, name)


def _options(address: str) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        # Gateways allow a ping every 10 s. A dead connection is noticed within 40 s, also by a quiet call.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.max_pings_without_data", 0),
        # A gateway that restarts is found again within 2 s; by default the pauses grow to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.min_reconnect_backoff_ms", 5_000),
        # A task has a payload and a result; how large they may be is for the gateway to say.
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
    ]
    if address.startswith(_LOOPBACK):
        # An HTTP proxy of the environment cannot know this machine's own ports.
        options.append(("grpc.enable_http_proxy", 0))
    return options
