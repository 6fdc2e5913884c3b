"""The connection to a gateway, and calls over it that are repeated while their failure may pass."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import grpc

from taskcast.client.backoff import Backoff
from taskcast.client.errors import TaskcastError, from_rpc
from taskcast.v1 import admin_service_pb2_grpc, task_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

_LOOPBACK = ("127.", "localhost:", "[::1]:", "unix:", "ipv4:127.", "ipv6:[::1]")

Request = TypeVar("Request", contravariant=True)  # noqa: PLC0105
Response = TypeVar("Response", covariant=True)  # noqa: PLC0105


class Method(Protocol[Request, Response]):
    """A unary method of a generated stub."""

    def __call__(self, request: Request, *, timeout: float | None = None) -> Awaitable[Response]:
        """Make the call."""
        ...


class Connection:
    """A gRPC channel to one gateway, opened once and closed once."""

    def __init__(
        self, address: str, *, deadline: float, on_retry: Callable[[TaskcastError, float], None] | None
    ) -> None:
        """As Client says."""
        self.address = address
        self.deadline = deadline
        self._on_retry = on_retry
        self._channel: grpc.aio.Channel | None = None
        self.closed = False
        """Whether it was closed by this side."""

    def open(self) -> None:
        """Make the channel. Raises RuntimeError the second time."""
        if self.closed or self._channel is not None:
            raise RuntimeError("a Client can be entered once; make another one")
        self._channel = grpc.aio.insecure_channel(self.address, options=_options(self.address))

    async def close(self) -> None:
        """Cut what is under way: it ends with TaskcastError (CANCELLED)."""
        self.closed = True
        if self._channel is not None:
            await self._channel.close()

    @property
    def tasks(self) -> task_service_pb2_grpc.TaskServiceAsyncStub:
        """The calls of TaskService. Raises RuntimeError while the connection is not open."""
        return task_service_pb2_grpc.TaskServiceStub(self._open_channel())

    @property
    def admin(self) -> admin_service_pb2_grpc.AdminServiceAsyncStub:
        """The calls of AdminService. Raises RuntimeError while the connection is not open."""
        return admin_service_pb2_grpc.AdminServiceStub(self._open_channel())

    async def call(
        self, method: Method[Request, Response], request: Request, *, give_up_at: float | None = None
    ) -> Response:
        """Call a method, again and again while its failure may pass and time is left.

        `give_up_at` is a time of `time.monotonic()`; by default the deadline begins now.
        """
        backoff = Backoff()
        if give_up_at is None:
            give_up_at = time.monotonic() + self.deadline
        failure: TaskcastError | None = None
        while True:
            try:
                with self.errors():
                    return await method(request, timeout=give_up_at - time.monotonic())
            except TaskcastError as error:
                if error.code is grpc.StatusCode.DEADLINE_EXCEEDED and failure is not None:
                    # The time ran out in the last of several tries: what the others met says more.
                    raise failure from error
                failure = error
            pause = backoff.pause(failure.retry_delay)
            if not failure.may_pass or time.monotonic() + pause >= give_up_at:
                raise failure
            self.tell(failure, pause)
            await asyncio.sleep(pause)

    def tell(self, failure: TaskcastError, pause: float) -> None:
        """Tell the caller's `on_retry` that there will be another try after `pause` seconds."""
        if self._on_retry is not None:
            self._on_retry(failure, pause)

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Raise what goes wrong in a call as a TaskcastError."""
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, self.address) from error
        except grpc.aio.UsageError as error:
            raise self._was_closed() from error
        except asyncio.CancelledError as error:
            # Closing the connection cancels its calls, and this looks as if the caller had been cancelled.
            caller = asyncio.current_task()
            if self.closed and caller is not None and not caller.cancelling():
                raise self._was_closed() from error
            raise

    def _open_channel(self) -> grpc.aio.Channel:
        if self._channel is None or self.closed:
            raise RuntimeError("the Client is not open: use it in `async with Client(...) as client`")
        return self._channel

    def _was_closed(self) -> TaskcastError:
        return TaskcastError(grpc.StatusCode.CANCELLED, f"The connection to {self.address} was closed by this side.")


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
