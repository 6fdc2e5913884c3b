"""A watch as a Server-Sent Events response."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import Response

from gateway_service.faults import ShuttingDownError
from gateway_service.http.json_message import to_json
from gateway_service.http.large import beside_the_loop
from gateway_service.rpc.errors import to_status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Receive, Scope, Send

    from taskcast.v1 import task_service_pb2 as pb

    Update = pb.WatchTaskResponse | pb.WatchTasksResponse
    Write = Callable[[Update], Awaitable[None]]

RETRY_MILLIS = 1_000
"""How long a browser's EventSource waits before it comes back."""

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back.
]

HEARTBEAT = b": heartbeat\n\n"


class EventStream(Response):
    """Sends what `follow` writes, until `follow` returns or the client goes.

    The response begins with the first update, so an error before it is answered as any other. A watch that has
    nothing at all to send is answered with 204, which tells an EventSource not to come back.
    """

    def __init__(self, follow: Callable[[Write], Awaitable[None]], *, of_many: bool, where: str) -> None:
        """`of_many`: an event's id names its task, too. `where` names the call in the log."""
        self._follow = follow
        self._of_many = of_many
        self._where = where
        self.background = None

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream."""
        outlet = _Outlet(send, of_many=self._of_many)
        following = asyncio.ensure_future(self._follow(outlet.write))
        gone = asyncio.ensure_future(_client_gone(receive))
        try:
            await asyncio.wait({following, gone}, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                await outlet.finish(_error_of(following), self._where)
        finally:
            gone.cancel()
            following.cancel()
            await asyncio.gather(following, gone, return_exceptions=True)


class _Outlet:
    """Where a stream's updates go."""

    def __init__(self, send: Send, *, of_many: bool) -> None:
        self._send = send
        self._of_many = of_many
        self._began = False

    async def write(self, update: Update) -> None:
        """Send one update; returns when the client has room for the next."""
        if not self._began:
            self._began = True
            await self._send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
            await self._put(f"retry: {RETRY_MILLIS}\n\n".encode())
        await self._put(await beside_the_loop(update.ByteSize(), lambda: self._framed(update)))

    async def finish(self, error: Exception | None, where: str) -> None:
        """End the response. Raises `error` if nothing was sent yet."""
        if not self._began:
            if error is not None:
                raise error
            await self._send({"type": "http.response.start", "status": 204, "headers": []})
        elif error is None:
            await self._put(frame("end", "{}"))
        else:
            await self._put(frame("interrupted", to_json(to_status(error, where))))
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _put(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    def _framed(self, update: Update) -> bytes:
        if update.HasField("event"):
            event = update.event
            return frame("event", to_json(event), self._id_of(event.task_id, event.sequence))
        if update.HasField("snapshot"):
            task = update.snapshot
            return frame("snapshot", to_json(task), self._id_of(task.id, task.sequence))
        return HEARTBEAT

    def _id_of(self, task_id: str, sequence: int) -> str:
        return f"{task_id}:{sequence}" if self._of_many else str(sequence)


def frame(event: str, data: str, id_: str = "") -> bytes:
    """One event. `data` has one line, as JSON of ours always does."""
    place = f"id: {id_}\n" if id_ else ""
    return f"{place}event: {event}\ndata: {data}\n\n".encode()


async def _client_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _error_of(following: asyncio.Future[None]) -> Exception | None:
    if following.cancelled():
        return ShuttingDownError()  # By something inside it: nobody else cancels it while the client is there.
    error = following.exception()
    if error is None or isinstance(error, Exception):
        return error
    raise error
