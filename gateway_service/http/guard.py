"""Around every request: an answer to every error, the headers that keep browsers safe, and no foreign pages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect

from gateway_service.faults import ShuttingDownError
from gateway_service.http.answers import error_response
from gateway_service.http.faults import ForeignOriginError, HeadersTooLargeError

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_HEADER_BYTES = 32 << 10
"""Request line and headers together."""

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

SECURITY_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""What an answer has that does not say otherwise."""


class Guard:
    """The outermost layer: whatever a request raises becomes a Status, or ends in silence where the client has gone."""

    def __init__(self, app: ASGIApp, *, origins: Collection[str]) -> None:
        """`origins`: other sites whose pages may use this gateway; "*" for all."""
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            _check_size(scope)
            self._check_origin(scope)
            await self._app(scope, receive, answer)
        except ClientDisconnect:
            return
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if started or (task is not None and task.cancelling()):
                raise
            # Something inside was cancelled, not the request.
            await error_response(ShuttingDownError(), _name_of(scope))(scope, receive, answer)
        except Exception as error:  # This is the one place where errors become answers.
            if started:
                raise  # The server cuts the connection, so that half an answer does not look like a whole one.
            await error_response(error, _name_of(scope))(scope, receive, answer)

    def _check_origin(self, scope: Scope) -> None:
        """Raises ForeignOriginError for a change that a page of another site asks for.

        There is no login that it could use, but it sits inside the network that this gateway trusts.
        """
        if scope["method"] in SAFE_METHODS or "*" in self._origins:
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is None or origin in self._origins or urlsplit(origin).netloc == headers.get("host"):
            return
        raise ForeignOriginError(origin)


def _check_size(scope: Scope) -> None:
    """Raises HeadersTooLargeError. h11 has the same limit, but only for what comes in pieces."""
    size = len(scope["raw_path"]) + len(scope["query_string"])
    if size + sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEADER_BYTES:
        raise HeadersTooLargeError(MOST_HEADER_BYTES)


def _name_of(scope: Scope) -> str:
    return f"{scope['method']} {scope['path'][:200]}"
