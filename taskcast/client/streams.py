"""What every watch needs: reading a stream that may fall silent, and opening another where it broke."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

import grpc

from taskcast.client.backoff import Backoff
from taskcast.client.errors import TaskcastError
from taskcast.v1 import task_pb2

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration

    from taskcast.client.connection import Connection

Request = TypeVar("Request")
Response = TypeVar("Response")

TERMINAL_STATUSES = frozenset(
    {
        task_pb2.TASK_STATUS_SUCCESS,
        task_pb2.TASK_STATUS_FAILED,
        task_pb2.TASK_STATUS_ERROR,
        task_pb2.TASK_STATUS_CANCELLED,
        task_pb2.TASK_STATUS_TIMEOUT,
    }
)
"""The statuses that a task never leaves."""

_HEARTBEATS_MISSED = 3
_END_SECONDS = 2.0

_TORN = frozenset({grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN})
"""What the gRPC library may call a stream that was cut on the way; a gateway's own errors have a reason."""


class Contact:
    """The contact with a gateway during one watch: kept by its messages, lost and found, given up in the end."""

    def __init__(self, connection: Connection, *, heartbeat_interval: Duration, patience: float) -> None:
        """`patience`: seconds without contact after which it is given up.

        As long as there was none at all the client's deadline holds, if that is shorter.
        """
        self._connection = connection
        self._interval = heartbeat_interval.ToTimedelta().total_seconds()
        self._patience = patience
        self._backoff = Backoff()
        self._lost_at: float | None = None
        self.was_made = False
        """Whether a gateway has ever said anything."""

    async def read(
        self, stream: grpc.aio.UnaryStreamCall[Request, Response], *, only_end_follows: bool = False
    ) -> Response | None:
        """The next message; None at the regular end. Raises TaskcastError, also if the stream fell silent.

        `only_end_follows`: nobody depends on how the stream ends, nor waits long for it.
        """
        silence = _END_SECONDS if only_end_follows else _HEARTBEATS_MISSED * self._interval
        try:
            async with asyncio.timeout(silence):
                with self._connection.errors():
                    response = await stream.read()
        except TimeoutError:
            message = f"The connection has been silent for {silence:g} s, heartbeats included."
            raise TaskcastError(grpc.StatusCode.UNAVAILABLE, message) from None
        if response is grpc.aio.EOF:
            return None
        self.was_made = True
        self._lost_at = None
        self._backoff.reset()
        return response  # type: ignore[return-value]  # EOF, the other type, has been dealt with.

    def pause_after(self, failure: TaskcastError) -> float:
        """How long to rest before the next stream. Raises the failure where there is none to be opened."""
        torn = self.was_made and not failure.reason and failure.code in _TORN
        if self._connection.closed or not (failure.may_pass or torn):
            raise failure
        now = time.monotonic()
        if self._lost_at is None:
            self._lost_at = now
        pause = self._backoff.pause(failure.retry_delay)
        patience = self._patience if self.was_made else min(self._patience, self._connection.deadline)
        if now + pause > self._lost_at + patience:
            raise failure
        self._connection.tell(failure, pause)
        return pause
