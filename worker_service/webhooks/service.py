"""The part of a worker process that sends webhooks: put together, started and stopped."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import TYPE_CHECKING

import structlog

from shared.codec import decode_news
from shared.domain.breaker import BreakerTerms
from shared.lifecycle import repeat, stop_all
from shared.ports import Lane, StoreUnavailableError
from worker_service.webhooks.courier import Courier
from worker_service.webhooks.dispatcher import ROUND_SECONDS, Dispatcher
from worker_service.webhooks.health import Health
from worker_service.webhooks.hosts import Hosts
from worker_service.webhooks.sender import Sender

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.ports import Broker, Clock, Deliveries, Record
    from worker_service.settings import WorkerSettings

STOP_SECONDS = 5.0
"""For tries under way when the process stops. One that is cut off is made again, by another process."""

log = structlog.get_logger(__name__)


@asynccontextmanager
async def sending_webhooks(
    settings: WorkerSettings, record: Record, deliveries: Deliveries, broker: Broker, clock: Clock
) -> AsyncIterator[None]:
    """Send webhooks from the entry of this context to its exit."""
    timeout = settings.webhook_timeout
    # A lane waits for its host as long as a try may take, and then it is tried: so long it has to stay in hand.
    hold = round((2 * timeout + STOP_SECONDS) * 1_000)
    sender = Sender(
        settings.reach,
        timeout=timeout,
        connections=settings.webhook_concurrency,
        connections_per_host=settings.webhook_host_concurrency,
    )
    async with sender:
        courier = Courier(
            record,
            clock,
            sender,
            Hosts(slots=settings.webhook_host_concurrency, patience=timeout),
            Health(deliveries, BreakerTerms(probe_limit=hold), disable_after=round(settings.webhook_disable * 1_000)),
            secrets=settings.read_webhook_secrets(),
            schedule=settings.webhook_schedule,
            concurrency=settings.webhook_concurrency,
        )
        dispatcher = Dispatcher(
            record,
            deliveries,
            courier,
            clock,
            name=f"{settings.process_name}/{token_hex(2)}",
            standing=settings.read_standing_endpoints(),
            hold=hold,
        )
        news = await broker.attend(lambda body: _heed(dispatcher, body))
        looking = asyncio.create_task(repeat("webhooks", ROUND_SECONDS, dispatcher.look))
        log.info("worker.sending_webhooks", worker=settings.process_name)
        try:
            yield
        finally:
            await news.close()
            await stop_all([looking])
            try:
                await dispatcher.close(STOP_SECONDS)
            except StoreUnavailableError as error:
                log.warning("webhooks.left_unfinished", error=str(error))


def _heed(dispatcher: Dispatcher, body: bytes) -> None:
    try:
        task_id, endpoints = decode_news(body)
    except ValueError as error:
        log.warning("webhooks.bad_news", error=str(error))
        return
    dispatcher.take_up(Lane(task_id, endpoint) for endpoint in endpoints)
