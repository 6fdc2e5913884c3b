"""Following one task over as many streams as it takes."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import grpc

from taskcast.client.backoff import Backoff
from taskcast.client.errors import TaskcastError
from taskcast.v1 import task_pb2, task_service_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractContextManager

    from google.protobuf.duration_pb2 import Duration

    from taskcast.v1.task_service_pb2_grpc import TaskServiceAsyncStub

    Stream = grpc.aio.UnaryStreamCall[task_service_pb2.WatchTaskRequest, task_service_pb2.WatchTaskResponse]

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


class TaskWatch:
    """One watch. `updates()` yields everything the gateway sends, heartbeats included, but nothing twice."""

    def __init__(
        self,
        stub: TaskServiceAsyncStub,
        errors: Callable[[], AbstractContextManager[None]],
        task_id: str,
        *,
        after_sequence: int | None,
        heartbeat_interval: Duration,
        patience: float,
        first_patience: float,
        on_retry: Callable[[TaskcastError, float], None] | None,
    ) -> None:
        """`errors` raises the errors of a call as TaskcastError. The others are those of Client.watch."""
        self._stub = stub
        self._errors = errors
        self._task_id = task_id
        self._after = after_sequence
        self._heartbeat_interval = heartbeat_interval
        self._patience = patience
        self._first_patience = first_patience
        self._on_retry = on_retry
        self._backoff = Backoff()
        self._seen: int | None = None
        self._heard = False
        self._finished = False
        self._lost_at: float | None = None

    async def updates(self) -> AsyncGenerator[task_service_pb2.WatchTaskResponse, None]:
        """The updates, until the task has finished. Raises TaskcastError when it must be given up."""
        while True:
            stream = self._open()
            try:
                while (response := await self._read(stream)) is not None:
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
        with self._errors():
            return self._stub.WatchTask(
                task_service_pb2.WatchTaskRequest(
                    task_id=self._task_id,
                    after_sequence=self._after,
                    heartbeat_interval=self._heartbeat_interval,
                )
            )

    async def _read(self, stream: Stream) -> task_service_pb2.WatchTaskResponse | None:
        """The next message; None at the regular end. Raises TaskcastError, also if the stream fell silent."""
        silence = self._longest_silence()
        try:
            async with asyncio.timeout(silence):
                with self._errors():
                    response = await stream.read()
        except TimeoutError:
            message = f"The connection has been silent for {silence:g} s, heartbeats included."
            raise TaskcastError(grpc.StatusCode.UNAVAILABLE, message) from None
        return response if isinstance(response, task_service_pb2.WatchTaskResponse) else None

    def _longest_silence(self) -> float:
        if self._finished:
            # Nothing will follow but the end of the stream, and nobody depends on that.
            return _END_SECONDS
        return _HEARTBEATS_MISSED * self._heartbeat_interval.ToTimedelta().total_seconds()

    def _advance(self, response: task_service_pb2.WatchTaskResponse) -> bool:
        """Take note of a message; false if it tells nothing new."""
        self._heard = True
        self._lost_at = None
        self._backoff.reset()
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
        """How long to rest before the next stream. Raises the failure where there is none to be opened."""
        if failure.reason == "SEQUENCE_COMPACTED" and self._seen is not None and self._after is not None:
            # Too much was missed while there was no connection. A snapshot tells where the task stands now.
            self._after = None
            return 0.0
        torn = self._heard and not failure.reason and failure.code in _TORN
        if not (failure.may_pass or torn):
            raise failure
        now = time.monotonic()
        if self._lost_at is None:
            self._lost_at = now
        pause = self._backoff.pause(failure.retry_delay)
        if now + pause > self._lost_at + (self._patience if self._heard else self._first_patience):
            raise failure
        if self._on_retry is not None:
            self._on_retry(failure, pause)
        return pause
