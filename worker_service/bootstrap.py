"""The worker's composition root: the one place that knows which adapter stands behind which port."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import metadata
from typing import TYPE_CHECKING, Any, Self

import structlog
from google.protobuf.message import DecodeError

from shared.adapters.rabbitmq import RabbitBroker
from shared.adapters.redis import RedisRecord
from shared.clock import RecordClock
from shared.codec import decode_event
from shared.domain.task import AttemptTerms
from shared.http_server import HttpServer
from shared.journal import Journal
from shared.lifecycle import repeat, stop_all
from shared.metrics import BROKER_UP, RECORD_UP, SLOTS, counting, is_shared
from shared.metrics_app import build_metrics_app
from shared.ports import StoreUnavailableError, WorkerReport
from worker_service.command_file import FILE_ENDING
from worker_service.context import Interruption
from worker_service.executor import Executor
from worker_service.intake import Intake
from worker_service.lease import LeaseKeeper
from worker_service.presence import Presence
from worker_service.registry import Place
from worker_service.runners.command import CommandRunner
from worker_service.runners.loop import LoopRunner
from worker_service.runners.process import ProcessRunner
from worker_service.runners.thread import ThreadRunner
from worker_service.webhooks.service import sending_webhooks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from types import TracebackType

    from shared.ports import Broker, Catalogue, Clock
    from worker_service.registry import AnyHandler
    from worker_service.runners.runner import Runner
    from worker_service.settings import WorkerSettings

CLOCK_SECONDS = 2.0
HAND_BACK_SECONDS = 5.0

MOST_SCRAPES = 16
"""Connections at once to the page of numbers."""

ENDING_EVENTS = ("cancelled", "timed_out", "retry_scheduled", "errored")
"""What somebody other than the worker may make of a running attempt."""

log = structlog.get_logger(__name__)


class Worker:
    """One worker process, which runs tasks, sends webhooks, or both: enter to start, leave to finish what runs."""

    def __init__(
        self, settings: WorkerSettings, handlers: Mapping[str, AnyHandler], *, broker: Broker | None = None
    ) -> None:
        """`broker` replaces RabbitMQ in embedded mode."""
        self._settings = settings
        self._handlers = handlers
        self._broker = broker
        self._stack = AsyncExitStack()
        self.still_running = 0
        """Once stopped: how many handlers run on, although their tasks are no longer theirs."""

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
        name = settings.process_name
        # What ends together ends at once, since each may have to wait for a store or a broker that does not answer.
        connections: list[Callable[[], Awaitable[None]]] = []
        stack.push_async_callback(_all_at_once, connections)
        record = self._open_record()
        connections.append(record.close)
        broker = self._broker
        if broker is None:
            broker = RabbitBroker(settings.rabbitmq_url, namespace=settings.namespace, name=f"worker {name}")
            connections.append(broker.close)
        clock = RecordClock(record)
        await clock.wait_for_record()
        synchronising = asyncio.create_task(repeat("clock", CLOCK_SECONDS, lambda: _synchronise(clock, broker)))
        stack.push_async_callback(stop_all, [synchronising])
        if settings.metrics_listen:
            await self._show_metrics(stack, settings.metrics_listen)
        if settings.sends_webhooks:
            sending = sending_webhooks(settings, record, record.deliveries, broker, clock)
            await stack.enter_async_context(sending)
        if settings.runs_tasks:
            await self._run_tasks(stack, record, broker, clock)

    async def _run_tasks(self, stack: AsyncExitStack, record: RedisRecord, broker: Broker, clock: RecordClock) -> None:
        settings = self._settings
        name = settings.process_name
        runners = _runners(settings)
        for runner in runners.values():
            stack.push_async_callback(runner.close)
        leases = LeaseKeeper(
            self._open_record,
            clock,
            lease=settings.lease,
            on_lost=lambda task_id, attempt: executor.interrupt(task_id, attempt, Interruption.ENDED),
        )
        executor = Executor(
            self._handlers,
            runners,
            Journal(
                record,
                clock,
                counting(broker.broadcast),
                announce=broker.announce,
                standing=settings.read_standing_endpoints(),
            ),
            leases,
            worker=name,
            terms=AttemptTerms(
                max_attempts=settings.max_attempts, attempt_timeout=round(settings.attempt_timeout * 1_000)
            ),
            lease=round(settings.lease * 1_000),
            # A child process finds handlers in modules, and nowhere else.
            quarantine=runners[Place.PROCESS] if settings.handlers else None,
        )
        watchers: list[Callable[[], Awaitable[None]]] = []
        stack.push_async_callback(_all_at_once, watchers)
        leases.start()
        watchers.append(leases.stop)
        subscription = await broker.subscribe(lambda _, body: _heed(executor, body), leases.check_all)
        watchers.append(subscription.close)
        for event in ENDING_EVENTS:
            await subscription.bind(f"*.*.{event}")
        intake = Intake(executor.execute, slots=settings.concurrency)
        consumer = await broker.consume(settings.queues, intake.take)
        presence = Presence(self._open_catalogue, self._reporting(name, clock, intake))
        presence.start()
        watchers.append(presence.stop)

        async def drain() -> None:
            # In this order: no new work, what runs may finish, the rest is handed back.
            await intake.stop(settings.drain)
            executor.interrupt_all(Interruption.SHUTDOWN)
            await intake.join(max(HAND_BACK_SECONDS, settings.kill_grace + 1))
            self.still_running = await executor.hand_back_the_rest(HAND_BACK_SECONDS)
            await consumer.close()

        stack.push_async_callback(drain)
        SLOTS.set(settings.concurrency)
        intake.attach(consumer)
        log.info("worker.taking_tasks", worker=name, queues=settings.queues, types=sorted(self._handlers))

    def _reporting(self, name: str, clock: Clock, intake: Intake) -> Callable[[], WorkerReport]:
        """What there is to say of this worker at any time."""
        start = clock.now()
        types, queues = tuple(sorted(self._handlers)), tuple(sorted(set(self._settings.queues)))
        version = metadata.version("taskcast")
        return lambda: WorkerReport(
            name=name,
            types=types,
            queues=queues,
            slots=self._settings.concurrency,
            running=intake.running,
            version=version,
            start_time=start,
            heartbeat_time=clock.now(),
        )

    async def _show_metrics(self, stack: AsyncExitStack, listen: str) -> None:
        server = HttpServer(
            build_metrics_app(), listen=listen, share_port=is_shared(), most_at_once=MOST_SCRAPES, grace=1
        )
        await server.start()
        stack.push_async_callback(server.stop)

    @asynccontextmanager
    async def _open_catalogue(self) -> AsyncIterator[Catalogue]:
        record = self._open_record()
        try:
            yield record.catalogue
        finally:
            await record.close()

    def _open_record(self) -> RedisRecord:
        settings = self._settings
        return RedisRecord(settings.redis_url, prefix=settings.namespace, deadline=settings.store_deadline)


async def _all_at_once(steps: Sequence[Callable[[], Awaitable[None]]]) -> None:
    # One that fails must not leave the others behind unfinished.
    ended = await asyncio.gather(*(step() for step in steps), return_exceptions=True)
    for problem in ended:
        if problem is not None:
            raise problem


async def _synchronise(clock: RecordClock, broker: Broker) -> None:
    """Follow the record's clock, and let the numbers tell what answers."""
    BROKER_UP.set(broker.is_connected)
    try:
        await clock.synchronise()
    except StoreUnavailableError:
        RECORD_UP.set(0)
        raise
    RECORD_UP.set(1)


def _runners(settings: WorkerSettings) -> Mapping[Place, Runner[Any]]:
    most = settings.max_result_bytes
    grace = settings.kill_grace
    return {
        Place.LOOP: LoopRunner(max_result_bytes=most),
        Place.THREAD: ThreadRunner(threads=settings.concurrency, max_result_bytes=most),
        Place.PROCESS: ProcessRunner(
            [name for name in settings.handlers if not name.endswith(FILE_ENDING)],
            kill_grace=grace,
            max_result_bytes=most,
            log_level=settings.log_level,
            log_format=settings.log_format,
        ),
        Place.COMMAND: CommandRunner(kill_grace=grace, max_result_bytes=most),
    }


def _heed(executor: Executor, body: bytes) -> None:
    """An event that may mean the end of a running attempt."""
    try:
        event = decode_event(body)
    except (DecodeError, ValueError) as error:
        log.warning("worker.bad_event", error=str(error))
        return
    executor.interrupt(event.task_id, event.attempt, Interruption.ENDED)
