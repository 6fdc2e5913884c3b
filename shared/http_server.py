"""An HTTP server on a service's own event loop: uvicorn, without its signal handlers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp

BACKLOG = 2_048


class HttpServer:
    """Serves an application on one address."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        listen: str,
        share_port: bool,
        most_at_once: int,
        most_header_bytes: int = 32 << 10,
        grace: float,
        protocol: type[H11Protocol] = H11Protocol,
    ) -> None:
        """`listen` is `host:port`; with `share_port` other processes may serve the same port.

        `most_at_once` connections are the last resort: one more is refused without details. When the server stops,
        requests under way get `grace` seconds. Raises OSError with a sentence if the address cannot be had.
        """
        self._socket = _listen(listen, share_port=share_port)
        self.port: int = self._socket.getsockname()[1]
        self._server = _Server(
            uvicorn.Config(
                app,
                http=protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=BACKLOG,
                limit_concurrency=most_at_once,
                h11_max_incomplete_event_size=most_header_bytes,
                timeout_graceful_shutdown=max(round(grace), 1),
            )
        )
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to answer."""
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait({self._serving, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not listening.done():
            listening.cancel()
            await self._serving  # It says why it has ended.

    def stop_listening(self) -> None:
        """Take no new connections; those that stay end after their request."""
        self._server.should_exit = True
        for listener in self._server.servers if self._server.started else []:
            listener.close()  # At once: uvicorn itself looks at `should_exit` ten times a second.

    async def stop(self) -> None:
        """Return once every request has been answered or cut off."""
        self.stop_listening()
        if self._serving is not None:
            await self._serving


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the service's affair: it drains everything, not only HTTP."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self.listening.set()


def _listen(address: str, *, share_port: bool) -> socket.socket:
    host, _, port = address.rpartition(":")
    try:
        family, _, _, _, name = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(
            name[:2] if family == socket.AF_INET else name, family=family, backlog=BACKLOG, reuse_port=share_port
        )
    except (OSError, OverflowError) as error:
        raise OSError(f"cannot serve HTTP on {address}: is the port taken, the address one of this host's?") from error
