"""HTTP/1.1 as uvicorn speaks it, with bounds on slow clients and errors in our own words."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway_service.http.answers import error_response
from gateway_service.http.faults import HeadersTooLargeError, MalformedRequestError, RequestTooSlowError
from gateway_service.http.guard import MOST_HEADER_BYTES

if TYPE_CHECKING:
    import asyncio

    from gateway_service.faults import Fault

HEAD_SECONDS = 10.0
"""From the connection, or the first byte of the next request, to the end of the headers."""

STALL_SECONDS = 60.0
"""A client that makes no room for what is sent to it is cut off."""


class EdgeProtocol(H11Protocol):
    """One connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # As uvicorn has it.
        """A client has connected."""
        super().connection_made(transport)
        self._time_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        super().connection_lost(exc)
        for timer in (self._head_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Bytes have come in."""
        super().data_received(data)
        self._time_head()

    def pause_writing(self) -> None:
        """The client reads more slowly than is sent."""
        super().pause_writing()
        self._stall_timer = self.loop.call_later(STALL_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has made room."""
        super().resume_writing()
        if self._stall_timer is not None:
            self._stall_timer.cancel()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's words, which we replace.
        """Answer bytes that are no request. Called by uvicorn while it handles h11's error."""
        error = sys.exception()
        too_large = isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431
        self._refuse(HeadersTooLargeError(MOST_HEADER_BYTES) if too_large else MalformedRequestError())

    def _time_head(self) -> None:
        """Run the timer while, and only while, a request's head is on its way."""
        if self.conn.their_state is h11.IDLE:
            if self._head_timer is None:
                self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)
        elif self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.conn.their_state is h11.IDLE:
            self._refuse(RequestTooSlowError(HEAD_SECONDS))

    def _refuse(self, fault: Fault) -> None:
        """Answer outside of any request, and hang up."""
        if self.transport.is_closing():
            return
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            response = error_response(fault, "HTTP")
            headers = [(name, value) for name, value in response.raw_headers if name != b"connection"]
            head = h11.Response(status_code=response.status_code, headers=[*headers, (b"connection", b"close")])
            for event in (head, h11.Data(data=bytes(response.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
