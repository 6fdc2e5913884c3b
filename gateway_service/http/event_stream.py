"""A watch as a Server-Sent Events response."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from starlette.responses import Response

from gateway_service.faults import ShuttingDownError
from gateway_service.http.json_message import to_json
from gateway_service.rpc.errors import to_status
from gateway_service.watch.updates import Heartbeat
from shared.codec import event_to_proto, task_to_proto
from shared.domain.task import Task

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Receive, Scope, Send

    from gateway_service.watch.updates import Update

    Follow = Callable[[Callable[[Update], Awaitable[None]]], Awaitable[None]]
    IdOf = Callable[[str, int], str]

RETRY_MILLIS = 1_000
"""How long a browser's EventSource waits before it comes back."""

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back.
]

log = structlog.get_logger(__name__)


def frame(event: str, data: str, id_: str = "") -> bytes:
    """One event. `data` has one line, as JSON of ours always does."""
    place = f"id: {id_}\n" if id_ else ""
    return f"{place}event: {event}\ndata: {data}\n\n".encode()


class EventStream(Response):
    """Sends what `follow` hands to its argument, until `follow` returns or the client goes.

    The response begins with the first update, so an error before it is answered as any other. A watch that has
    nothing at all to send is answered with 204, which tells an EventSource not to come back.
    """

    def __init__(self, follow: Follow, *, id_of: IdOf, where: str) -> None:
        """`id_of` makes an event's id of task id and sequence. `where` names the call in the log."""
        self._follow = follow
        self._id_of = id_of
        self._where = where
        self.background = None

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream."""
        outlet = _Outlet(send, self._id_of)
        following = asyncio.ensure_future(self._follow(outlet.put))
        gone = asyncio.ensure_future(_client_gone(receive))
        try:
            await asyncio.wait({following, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            if not following.done():
                following.cancel()
                await asyncio.wait({following})
        if gone.done() and not gone.cancelled():
            return
        await outlet.finish(_error_of(following), self._where)


class _Outlet:
    """Where a stream's updates go."""

    def __init__(self, send: Send, id_of: IdOf) -> None:
        self._send = send
        self._id_of = id_of
        self._began = False

    async def put(self, update: Update) -> None:
        """Send one update; returns when the client has room for the next."""
        await self._begin()
        await self._write(self._framed(update))

    async def finish(self, error: Exception | None, where: str) -> None:
        """End the response. Raises `error` if nothing was sent yet."""
        if not self._began:
            if error is not None:
                raise error
            await self._send({"type": "http.response.start", "status": 204, "headers": []})
        elif error is None:
            await self._write(frame("end", "{}"))
        else:
            await self._write(frame("interrupted", to_json(to_status(error, where))))
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _begin(self) -> None:
        if not self._began:
            self._began = True
            await self._send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
            await self._write(f"retry: {RETRY_MILLIS}\n\n".encode())

    async def _write(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    def _framed(self, update: Update) -> bytes:
        if isinstance(update, Heartbeat):
            return b": heartbeat\n\n"
        if isinstance(update, Task):
            return frame("snapshot", to_json(task_to_proto(update)), self._id_of(update.id, update.sequence))
        return frame("event", to_json(event_to_proto(update)), self._id_of(update.task_id, update.sequence))


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
