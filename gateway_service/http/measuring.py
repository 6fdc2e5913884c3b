"""Counts and times every HTTP request by its route."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from shared.metrics import HTTP_REQUESTS, HTTP_SECONDS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

ROUTE = "taskcast.route"
"""Where the route that serves a request leaves its path, fields in braces, in the request's scope."""

METHODS = ("GET", "HEAD", "POST", "OPTIONS")


class Measuring:
    """Around the whole application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        began = time.monotonic()
        status = 499  # A client that left before its answer; nginx's number for it.

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            # A label takes no word of the client's.
            method = scope["method"] if scope["method"] in METHODS else "other"
            route = scope.get(ROUTE, "none")
            HTTP_SECONDS.labels(method, route).observe(time.monotonic() - began)
            HTTP_REQUESTS.labels(method, route, status).inc()
