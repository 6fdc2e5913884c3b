"""The broker port on RabbitMQ: two connections, one that publishes and one that consumes.

A publisher that the server holds back, because its memory is short, must not stop the consumers.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from aiormq.exceptions import ChannelNotFoundEntity

from shared.adapters.rabbitmq.consumer import RabbitConsumer
from shared.adapters.rabbitmq.news import RabbitNews
from shared.adapters.rabbitmq.publisher import EventPublisher, TaskPublisher
from shared.adapters.rabbitmq.session import Session, until_closed
from shared.adapters.rabbitmq.subscription import RabbitSubscription
from shared.adapters.rabbitmq.topology import Topology
from shared.ports import BrokerUnavailableError, StoreUnavailableError, TaskMessage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aio_pika.abc import AbstractChannel

    from shared.domain.task import TaskPriority
    from shared.ports import Delivery

DRAIN_SECONDS = 2.0
REPAIR_PAUSE_SECONDS = 1.0

log = structlog.get_logger(__name__)


class RabbitBroker:
    """The broker port. Connecting goes on in the background from the start, for as long as it takes.

    Must be created inside a running event loop.
    """

    def __init__(self, url: str, *, namespace: str = "taskcast", name: str = "taskcast") -> None:
        """`url` as `amqp://user:password@host:port/vhost`; `name` is shown in RabbitMQ's list of connections."""
        self._topology = Topology(namespace)
        self._publishing = Session(url, f"{name} publishes")
        self._consuming = Session(url, f"{name} consumes")
        self._tasks = TaskPublisher(self._publishing, self._topology)
        self._events = EventPublisher(self._publishing, self._topology)

    @property
    def is_connected(self) -> bool:
        """Whether a dispatch could be confirmed right now."""
        return self._tasks.is_open

    async def dispatch(self, queue: str, priority: TaskPriority, body: bytes) -> None:
        """See `shared.ports.Broker.dispatch`."""
        (problem,) = await self.dispatch_all([TaskMessage(queue, priority, body)])
        if problem is not None:
            raise problem

    async def dispatch_all(self, messages: Sequence[TaskMessage]) -> list[BrokerUnavailableError | None]:
        """See `shared.ports.Broker.dispatch_all`."""
        return await self._tasks.dispatch_all(messages)

    def broadcast(self, routing_key: str, body: bytes) -> None:
        """See `shared.ports.Broker.broadcast`."""
        self._events.broadcast(routing_key, body)

    async def consume(self, queues: Sequence[str], on_delivery: Callable[[Delivery], None]) -> RabbitConsumer:
        """See `shared.ports.Broker.consume`."""
        return RabbitConsumer(self._consuming, self._topology, queues, on_delivery)

    async def subscribe(self, on_event: Callable[[str, bytes], None], on_gap: Callable[[], None]) -> RabbitSubscription:
        """See `shared.ports.Broker.subscribe`."""
        return RabbitSubscription(self._consuming, self._topology, on_event, on_gap)

    def announce(self, body: bytes) -> None:
        """See `shared.ports.Broker.announce`."""
        self._events.announce(body)

    async def attend(self, on_news: Callable[[bytes], None]) -> RabbitNews:
        """See `shared.ports.Broker.attend`."""
        return RabbitNews(self._consuming, self._topology, on_news)

    async def guard_memory(self, on_loss: Callable[[], Awaitable[None]]) -> None:
        """See `shared.ports.Broker.guard_memory`. A missing marker queue shows that the broker is new or wiped."""
        must_tell = False

        async def look(channel: AbstractChannel) -> None:
            nonlocal must_tell
            if must_tell:
                # The marker follows the repair: whoever dies in between leaves it to the next.
                try:
                    await on_loss()
                except (StoreUnavailableError, BrokerUnavailableError) as error:
                    log.warning("rabbitmq.repair_failed", error=str(error))
                    await asyncio.sleep(REPAIR_PAUSE_SECONDS)
                    return
                await self._topology.leave_marker(channel)
                must_tell = False
            try:
                await self._topology.find_marker(channel)
            except ChannelNotFoundEntity:
                must_tell = True  # The failed look closed the channel; the next one goes on from here.
                return
            await until_closed(channel)

        self._consuming.own_channel(look)

    async def close(self) -> None:
        """Send what is on its way, then disconnect."""
        if self.is_connected:
            await self._events.drain(DRAIN_SECONDS)
        await asyncio.gather(self._publishing.close(), self._consuming.close())
