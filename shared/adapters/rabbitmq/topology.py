"""Names of queues and of the exchange, and how they are declared: only what RabbitMQ 3.10 to 4.x treat alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aio_pika import ExchangeType

from shared.domain.task import TaskPriority

if TYPE_CHECKING:
    from aio_pika.abc import AbstractChannel
    from pamqp.common import FieldTable

# From the most urgent line to the least.
LINES = (TaskPriority.HIGH, TaskPriority.NORMAL, TaskPriority.LOW)

RPC_SECONDS = 10.0
"""A quorum queue without a leader lets a declare wait without end; then its owner says so and tries again."""

_QUORUM: FieldTable = {"x-queue-type": "quorum"}


@dataclass(frozen=True, slots=True)
class Topology:
    """Every name starts with `namespace`, so that several installations can share a broker."""

    namespace: str = "taskcast"

    @property
    def events_exchange(self) -> str:
        """The topic exchange of all status events."""
        return f"{self.namespace}.events"

    @property
    def marker_queue(self) -> str:
        """A queue that only says: this broker has been seen before and has kept its data."""
        return f"{self.namespace}.marker"

    @property
    def news_queue(self) -> str:
        """The quorum queue that says which tasks have webhooks to send."""
        return f"{self.namespace}.webhooks"

    def line(self, queue: str, priority: TaskPriority) -> str:
        """The quorum queue of one priority of a task queue."""
        return f"{self.namespace}.tasks.{queue}.{priority.name.lower()}"

    async def declare_events(self, channel: AbstractChannel) -> None:
        """Make sure that the events exchange exists."""
        await channel.declare_exchange(self.events_exchange, ExchangeType.TOPIC, durable=True, timeout=RPC_SECONDS)

    async def declare_queue(self, channel: AbstractChannel, queue: str) -> None:
        """Make sure that the three lines of a task queue exist."""
        for priority in LINES:
            await channel.declare_queue(
                self.line(queue, priority), durable=True, arguments=_QUORUM, timeout=RPC_SECONDS
            )

    async def declare_news(self, channel: AbstractChannel) -> None:
        """Make sure that the queue with news of webhooks exists."""
        await channel.declare_queue(self.news_queue, durable=True, arguments=_QUORUM, timeout=RPC_SECONDS)

    async def find_marker(self, channel: AbstractChannel) -> None:
        """Raises ChannelNotFoundEntity if the broker has no marker; the channel is closed then."""
        await channel.declare_queue(self.marker_queue, passive=True, timeout=RPC_SECONDS)

    async def leave_marker(self, channel: AbstractChannel) -> None:
        """Mark the broker as seen."""
        await channel.declare_queue(self.marker_queue, durable=True, arguments=_QUORUM, timeout=RPC_SECONDS)
