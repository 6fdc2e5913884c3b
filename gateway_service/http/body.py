"""Reading a request's body: whole, in time, no larger than it may be, and said to be JSON."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway_service.http.faults import RequestTooLargeError, RequestTooSlowError, UnsupportedMediaTypeError

if TYPE_CHECKING:
    from starlette.requests import Request


class BodyReader:
    """Reads the bodies of one gateway's requests."""

    def __init__(self, *, most: int, deadline: float) -> None:
        """`most` bytes, within `deadline` seconds."""
        self._most = most
        self._deadline = deadline

    async def read(self, request: Request) -> bytes:
        """The whole body; empty if there is none.

        Raises RequestTooLargeError, RequestTooSlowError, UnsupportedMediaTypeError, or ClientDisconnect if the
        client has gone.
        """
        body = await self._whole(request)
        if body:
            _check_media_type(request.headers.get("content-type", ""))
        return body

    async def _whole(self, request: Request) -> bytes:
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._most:
            raise RequestTooLargeError(self._most)
        body = bytearray()
        try:
            async with asyncio.timeout(self._deadline):
                async for part in request.stream():
                    body += part
                    if len(body) > self._most:
                        raise RequestTooLargeError(self._most)
        except TimeoutError:
            raise RequestTooSlowError(self._deadline) from None
        return bytes(body)


def _check_media_type(given: str) -> None:
    kind, *parameters = (part.strip().lower() for part in given.split(";"))
    charsets = [part.partition("=")[2].strip('"') for part in parameters if part.startswith("charset=")]
    if kind != "application/json" or any(charset not in ("utf-8", "utf8", "us-ascii") for charset in charsets):
        raise UnsupportedMediaTypeError(given)
