"""Endpoints that webhooks are sent to: each on a port of its own, behaving as its script says, noting what came."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from aiohttp import web
from standardwebhooks import Webhook as Receiver
from standardwebhooks import WebhookVerificationError

from shared.webhook_settings import WebhookSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from shared.domain.addresses import Reach

    Script = Callable[["Endpoint", web.BaseRequest, int], Awaitable[web.StreamResponse]]

SECRET = "whsec_" + base64.b64encode(b"an old secret, of 32 bytes long.").decode()
NEW_SECRET = "whsec_" + base64.b64encode(b"a new secret, it is 32 bytes too").decode()

LOOPBACK: Reach = WebhookSettings.model_validate({"TASKCAST_WEBHOOK_ALLOW": "127.0.0.0/8,::1/128"}).reach


@dataclass(frozen=True, slots=True)
class Received:
    """A request, and whether it was answered with success."""

    headers: dict[str, str]
    body: bytes
    at: float
    """When it was received, or answered if that was with success, by the monotonic clock."""
    accepted: bool
    clock: float = field(default_factory=time.time)

    @property
    def id(self) -> str:
        """The delivery."""
        return self.headers["webhook-id"]

    @property
    def data(self) -> dict[str, Any]:
        """The event."""
        data: dict[str, Any] = json.loads(self.body)["data"]
        return data

    @property
    def task_id(self) -> str:
        """The task."""
        return str(self.data["taskId"])

    @property
    def sequence(self) -> int:
        """The event's number."""
        return int(self.data["sequence"])


@dataclass
class Endpoint:
    """One server. `script` may be exchanged while it runs; it is given the number of the request, from 1."""

    script: Script
    received: list[Received] = field(default_factory=list)
    port: int = 0
    open_connections: set[object] = field(default_factory=set)
    secrets: tuple[str, ...] = ()
    """Each request must verify under each of these, when it comes."""
    unverified: list[str] = field(default_factory=list)
    """Ids of requests that did not."""
    stories: dict[str, list[int]] = field(default_factory=dict)
    """For each task the sequences that were accepted, each where it was accepted first."""
    chapters: int = 0
    """How many sequences that is, of all tasks together."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook"

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Note the request, and answer by the script."""
        body = await request.read()
        self.open_connections.add(request.transport)
        number = len(self.received) + 1
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(headers, body, time.monotonic(), accepted=False))
        self._verify(headers, body)
        response = await self.script(self, request, number)
        if 200 <= response.status < 300:
            self._accept(number, Received(headers, body, time.monotonic(), accepted=True))
        return response

    def _accept(self, number: int, received: Received) -> None:
        self.received[number - 1] = received
        story = self.stories.setdefault(received.task_id, [])
        if received.sequence not in story:
            story.append(received.sequence)
            self.chapters += 1

    def _verify(self, headers: dict[str, str], body: bytes) -> None:
        for secret in self.secrets:
            try:
                Receiver(secret).verify(body, headers)
            except WebhookVerificationError:
                self.unverified.append(headers["webhook-id"])

    @property
    def accepted(self) -> list[Received]:
        """What it answered with success, by the time of the answer."""
        return sorted((r for r in self.received if r.accepted), key=lambda r: r.at)


class Endpoints:
    """Any number of endpoints; leave to stop them."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def start(self, script: Script) -> Endpoint:
        """One more endpoint."""
        endpoint = Endpoint(script)
        runner = web.ServerRunner(web.Server(endpoint.handle), shutdown_timeout=0.1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        endpoint.port = runner.addresses[0][1]
        return endpoint


def answering(status: int, **headers: str) -> Script:
    """Always this status and these headers, `_` in a name standing for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def answer(_: Endpoint, __: web.BaseRequest, ___: int) -> web.StreamResponse:
        return web.Response(status=status, headers=named, text="thank you")

    return answer


def slow(seconds: float) -> Script:
    """200, after a while."""

    async def answer(_: Endpoint, __: web.BaseRequest, ___: int) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return web.Response()

    return answer


def now_and_then(script: Script, every: int, otherwise: Script) -> Script:
    """`script` for every so manieth request, else `otherwise`."""

    async def answer(endpoint: Endpoint, request: web.BaseRequest, number: int) -> web.StreamResponse:
        return await (otherwise if number % every else script)(endpoint, request, number)

    return answer


async def hanging(_: Endpoint, __: web.BaseRequest, ___: int) -> web.StreamResponse:
    """Never an answer."""
    await asyncio.Event().wait()
    raise AssertionError


async def breaking(_: Endpoint, request: web.BaseRequest, __: int) -> web.StreamResponse:
    """Half an answer, then a reset."""
    response = web.StreamResponse(headers={"content-length": "1000"}, status=500)
    await response.prepare(request)
    await response.write(b"half")
    assert request.transport is not None
    request.transport.abort()
    return response


async def endless(_: Endpoint, request: web.BaseRequest, __: int) -> web.StreamResponse:
    """200, and an answer that never stops."""
    response = web.StreamResponse()
    await response.prepare(request)
    try:
        while True:
            await response.write(b"x" * 10_000)
    except ConnectionError:
        return response


def then(first: Script, count: int, second: Script) -> Script:
    """`first` for so many requests, then `second`."""

    async def answer(endpoint: Endpoint, request: web.BaseRequest, number: int) -> web.StreamResponse:
        return await (first if number <= count else second)(endpoint, request, number)

    return answer
