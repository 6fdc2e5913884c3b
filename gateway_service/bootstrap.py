"""The gateway's composition root: the one place that knows which adapter stands behind which port."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

import structlog

from gateway_service.dispatcher import Dispatcher
from gateway_service.rpc.admin_servicer import AdminServicer
from gateway_service.rpc.requests import SubmissionDefaults
from gateway_service.rpc.server import RpcServer
from gateway_service.rpc.task_servicer import TaskServicer
from gateway_service.sweeper import ROUND_SECONDS, Sweeper
from gateway_service.use_cases.cancel_task import CancelTask
from gateway_service.use_cases.get_task import GetTask
from gateway_service.use_cases.retry_task import RetryTask
from gateway_service.use_cases.submit_task import SubmitTask
from gateway_service.watch.follow import FollowTask
from gateway_service.watch.hub import EventHub
from shared.adapters.rabbitmq import RabbitBroker
from shared.adapters.redis import RedisRecord
from shared.clock import RecordClock
from shared.domain.submission import Limits
from shared.journal import Journal
from shared.lifecycle import repeat, stop_all
from shared.ports import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from types import TracebackType

    from gateway_service.settings import GatewaySettings
    from shared.ports import Broker

CLOCK_SECONDS = 2.0
CATCH_UP_SECONDS = 0.25

log = structlog.get_logger(__name__)


class Gateway:
    """One gateway process: enter to start serving, leave to drain and stop."""

    def __init__(self, settings: GatewaySettings, *, broker: Broker | None = None) -> None:
        """`broker` replaces RabbitMQ in embedded mode."""
        self._settings = settings
        self._broker = broker
        self._stack = AsyncExitStack()

    @property
    def port(self) -> int:
        """The port that gRPC is served on."""
        return self._server.port

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _start(self, stack: AsyncExitStack) -> None:
        settings = self._settings
        name = f"gateway {socket.gethostname()}/{os.getpid()}/{secrets.token_hex(2)}"
        record = RedisRecord(settings.redis_url, prefix=settings.namespace, deadline=settings.store_deadline)
        stack.push_async_callback(record.close)
        broker = self._broker
        if broker is None:
            broker = RabbitBroker(settings.rabbitmq_url, namespace=settings.namespace, name=name)
            stack.push_async_callback(broker.close)
        self._clock = RecordClock(record)
        await self._clock.wait_for_record()

        journal = Journal(record, self._clock, broker.broadcast)
        limits = Limits(payload_bytes=settings.max_payload_bytes)
        dispatcher = Dispatcher(record, broker, journal, most_undispatched=settings.max_undispatched)
        hub = EventHub(broker, most_feeds=settings.max_watches)
        sweeper = Sweeper(record, journal, dispatcher, self._clock, name=name)
        submit = SubmitTask(record, journal, dispatcher, self._clock, limits)
        servicer = TaskServicer(
            submit,
            RetryTask(record, submit),
            GetTask(record),
            CancelTask(record, journal, limits),
            FollowTask(record, hub),
            defaults=SubmissionDefaults(
                retention=round(settings.retention * 1_000), timeout=round(settings.timeout * 1_000) or None
            ),
        )
        self._server = RpcServer(
            servicer,
            AdminServicer(),
            listen=settings.grpc_listen,
            share_port=settings.share_port,
            call_deadline=settings.call_deadline,
            max_calls=settings.max_calls,
            max_watches=settings.max_watches,
            max_payload_bytes=settings.max_payload_bytes,
        )
        await hub.start()
        await broker.guard_memory(sweeper.recall)
        await self._server.start()
        background = [
            asyncio.create_task(repeat("clock", CLOCK_SECONDS, self._synchronise)),
            asyncio.create_task(repeat("sweeper", ROUND_SECONDS, sweeper.sweep)),
            asyncio.create_task(repeat("dispatcher", CATCH_UP_SECONDS, dispatcher.catch_up)),
        ]

        async def drain() -> None:
            # In this order: clients look elsewhere, watches end with a hint to resume, calls finish, work is noted.
            await self._server.set_serving(serving=False)
            await hub.close()
            await self._server.stop(settings.drain)
            await stop_all(background)
            await _as_far_as_the_store_lets(sweeper.close())
            await _as_far_as_the_store_lets(dispatcher.close())

        stack.push_async_callback(drain)
        await self._server.set_serving(serving=True)
        log.info("gateway.serving", listen=settings.grpc_listen, port=self._server.port)

    async def _synchronise(self) -> None:
        """Follow the record's clock, and let health tell whether the record answers."""
        try:
            await self._clock.synchronise()
        except StoreUnavailableError:
            await self._server.set_serving(serving=False)
            raise
        await self._server.set_serving(serving=True)


async def _as_far_as_the_store_lets(step: Awaitable[None]) -> None:
    try:
        await step
    except StoreUnavailableError as error:
        log.warning("gateway.left_unfinished", error=str(error))
