"""The gateway's composition root: the one place that knows which adapter stands behind which port."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

import structlog

from gateway_service.call_bound import CallBound
from gateway_service.dispatcher import Dispatcher
from gateway_service.http.app import build_app
from gateway_service.http.body import BodyReader
from gateway_service.http.guard import MOST_HEADER_BYTES
from gateway_service.http.protocol import EdgeProtocol
from gateway_service.readiness import Readiness
from gateway_service.rpc.admin_servicer import AdminServicer
from gateway_service.rpc.deliveries import DeliveryCalls
from gateway_service.rpc.requests import SubmissionDefaults
from gateway_service.rpc.server import MESSAGE_OVERHEAD, RpcServer
from gateway_service.rpc.task_servicer import TaskServicer
from gateway_service.sweeper import ROUND_SECONDS, Sweeper
from gateway_service.use_cases.cancel_task import CancelTask
from gateway_service.use_cases.get_task import GetTask
from gateway_service.use_cases.list_deliveries import ListDeliveries
from gateway_service.use_cases.list_queues import ListQueues, ListWorkers
from gateway_service.use_cases.list_tasks import ListTasks
from gateway_service.use_cases.redeliver import Redeliver
from gateway_service.use_cases.retry_task import RetryTask
from gateway_service.use_cases.submit_task import SubmitTask
from gateway_service.watch.follow import FollowTask
from gateway_service.watch.hub import EventHub
from gateway_service.watch.matching import FollowMatching
from gateway_service.watch.named import FollowTasks
from gateway_service.watch.patrol import Patrol
from shared.adapters.rabbitmq import RabbitBroker
from shared.adapters.redis import RedisRecord
from shared.clock import RecordClock
from shared.domain.submission import Limits
from shared.http_server import HttpServer
from shared.journal import Journal
from shared.lifecycle import repeat, stop_all
from shared.metrics import BROKER_UP, RECORD_UP, counting
from shared.ports import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from types import TracebackType

    from gateway_service.settings import GatewaySettings
    from shared.ports import Broker

CLOCK_SECONDS = 2.0
CATCH_UP_SECONDS = 0.25
PATROL_PAUSE_SECONDS = 0.5
LATE_SECONDS = 2.0
"""An event is recorded at most so long after its time, beyond the deadline of the append."""

log = structlog.get_logger(__name__)


class Gateway:
    """One gateway process: enter to start serving, leave to drain and stop."""

    def __init__(self, settings: GatewaySettings, *, broker: Broker | None = None) -> None:
        """`broker` replaces RabbitMQ in embedded mode."""
        self._settings = settings
        self._broker = broker
        self._stack = AsyncExitStack()
        self._http: HttpServer | None = None

    @property
    def port(self) -> int:
        """The port that gRPC is served on."""
        return self._server.port

    @property
    def http_port(self) -> int | None:
        """The port that HTTP is served on; None if it is off."""
        return None if self._http is None else self._http.port

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

        standing = settings.read_standing_endpoints()
        journal = Journal(
            record,
            self._clock,
            counting(broker.broadcast),
            announce=broker.announce,
            standing=standing,
        )
        limits = Limits(payload_bytes=settings.max_payload_bytes)
        dispatcher = Dispatcher(record, broker, journal, most_undispatched=settings.max_undispatched)
        hub = EventHub(broker, most_watches=settings.max_watches)
        patrol = Patrol(
            record, record.catalogue, hub, self._clock, late=round((settings.store_deadline + LATE_SECONDS) * 1_000)
        )
        sweeper = Sweeper(record, journal, dispatcher, self._clock, name=name)
        submit = SubmitTask(
            record,
            journal,
            dispatcher,
            self._clock,
            limits,
            reach=settings.reach,
            secrets=settings.read_webhook_secrets(),
        )
        servicer = TaskServicer(
            submit=submit,
            retry=RetryTask(record, submit),
            get=GetTask(record),
            cancel=CancelTask(record, journal, limits),
            list_tasks=ListTasks(record.catalogue),
            follow=FollowTask(record, hub),
            follow_tasks=FollowTasks(record, hub),
            follow_matching=FollowMatching(record, hub, patrol),
            defaults=SubmissionDefaults(
                retention=round(settings.retention * 1_000), timeout=round(settings.timeout * 1_000) or None
            ),
        )
        listing = ListDeliveries(record, record.deliveries, standing)
        admin = AdminServicer(
            queues=ListQueues(record.catalogue),
            workers=ListWorkers(record.catalogue),
            deliveries=DeliveryCalls(
                listing, Redeliver(record, record.deliveries, listing, self._clock, broker.announce)
            ),
        )
        self._readiness = Readiness(broker)
        bound = CallBound(most=settings.max_calls, deadline=settings.call_deadline)
        # The last resort, which answers without details; the bounds on calls and watches answer with them.
        most_at_once = 2 * (settings.max_calls + settings.max_watches)
        self._server = RpcServer(
            servicer,
            admin,
            listen=settings.grpc_listen,
            share_port=settings.share_port,
            bound=bound,
            most_at_once=most_at_once,
            max_payload_bytes=settings.max_payload_bytes,
        )
        if settings.http_listen:
            self._http = HttpServer(
                build_app(
                    servicer,
                    admin,
                    self._readiness,
                    bodies=BodyReader(
                        most=settings.max_payload_bytes + MESSAGE_OVERHEAD, deadline=settings.call_deadline
                    ),
                    bound=bound,
                    limits=limits,
                    origins=settings.cors_origins,
                ),
                listen=settings.http_listen,
                share_port=settings.share_port,
                most_at_once=most_at_once,
                most_header_bytes=MOST_HEADER_BYTES,
                grace=settings.drain,
                protocol=EdgeProtocol,
            )
        await hub.start()
        await broker.guard_memory(sweeper.recall)
        await self._server.start()
        if self._http is not None:
            await self._http.start()
        background = [
            asyncio.create_task(repeat("clock", CLOCK_SECONDS, self._synchronise)),
            asyncio.create_task(repeat("sweeper", ROUND_SECONDS, sweeper.sweep)),
            asyncio.create_task(repeat("expiry", ROUND_SECONDS, sweeper.forget_expired)),
            asyncio.create_task(repeat("watches", PATROL_PAUSE_SECONDS, patrol.walk)),
            asyncio.create_task(repeat("dispatcher", CATCH_UP_SECONDS, dispatcher.catch_up)),
        ]

        async def drain() -> None:
            # In this order: clients look elsewhere, watches end with a hint to resume, calls finish, work is noted.
            self._readiness.stopping = True
            await self._tell_health()
            if self._http is not None:
                self._http.stop_listening()
            await hub.close()
            await asyncio.gather(self._server.stop(settings.drain), *([self._http.stop()] if self._http else []))
            await stop_all(background)
            await _as_far_as_the_store_lets(sweeper.close())
            await _as_far_as_the_store_lets(dispatcher.close())

        stack.push_async_callback(drain)
        self._readiness.record_answers = True
        await self._tell_health()
        log.info(
            "gateway.serving",
            listen=settings.grpc_listen,
            port=self._server.port,
            http=settings.http_listen or None,
            http_port=self.http_port,
        )

    async def _synchronise(self) -> None:
        """Follow the record's clock, and let health tell whether the record answers."""
        BROKER_UP.set(self._readiness.has_broker)
        try:
            await self._clock.synchronise()
        except StoreUnavailableError:
            self._readiness.record_answers = False
            raise
        else:
            self._readiness.record_answers = True
        finally:
            RECORD_UP.set(self._readiness.record_answers)
            await self._tell_health()

    async def _tell_health(self) -> None:
        await self._server.set_serving(serving=not self._readiness.obstacles())


async def _as_far_as_the_store_lets(step: Awaitable[None]) -> None:
    try:
        await step
    except StoreUnavailableError as error:
        log.warning("gateway.left_unfinished", error=str(error))
