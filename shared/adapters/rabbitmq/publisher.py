"""Publishing: task messages with a confirmation each, events without."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from aiormq import spec
from aiormq.abc import ChannelFrame
from aiormq.exceptions import DeliveryError, PublishError

from shared.adapters.rabbitmq.frames import event_frames
from shared.adapters.rabbitmq.session import AMQP_FAILURES, underlay_of, until_closed
from shared.ports import BrokerUnavailableError

if TYPE_CHECKING:
    from aio_pika.abc import AbstractChannel
    from aiormq.channel import Channel

    from shared.adapters.rabbitmq.session import Session
    from shared.adapters.rabbitmq.topology import Topology
    from shared.domain.task import TaskPriority

WINDOW = 512
"""Unconfirmed task messages on their way at once."""

CONFIRM_SECONDS = 10.0

EVENT_BACKLOG = 10_000
"""Events that wait to be sent. Beyond it the oldest are dropped: watchers find them in the record."""

EVENTS_A_WRITE = 64

PERSISTENT = 2


class TaskPublisher:
    """Dispatches task messages: persistent, mandatory and confirmed, `WINDOW` at a time."""

    def __init__(self, session: Session, topology: Topology) -> None:
        self._topology = topology
        self._window = asyncio.Semaphore(WINDOW)
        self._channel: Channel | None = None
        self._declared: set[str] = set()
        self._to_declare: dict[str, asyncio.Future[None]] = {}
        self._wanted = asyncio.Event()
        session.own_channel(self._publish, confirms=True)
        session.own_channel(self._declare)

    @property
    def is_open(self) -> bool:
        """Whether a message could be sent right now."""
        return self._channel is not None

    async def dispatch(self, queue: str, priority: TaskPriority, body: bytes) -> None:
        """See `shared.ports.Broker.dispatch`."""
        async with self._window:
            if queue not in self._declared:
                await self._declare_soon(queue)
            try:
                await self._send(queue, priority, body)
            except PublishError:
                # Returned: the queue has been deleted since it was declared.
                self._declared.discard(queue)
                await self._declare_soon(queue)
                await self._send(queue, priority, body)

    async def _send(self, queue: str, priority: TaskPriority, body: bytes) -> None:
        if self._channel is None:
            raise BrokerUnavailableError("RabbitMQ is not connected")
        try:
            await self._channel.basic_publish(
                body,
                routing_key=self._topology.line(queue, priority),
                mandatory=True,
                properties=spec.Basic.Properties(delivery_mode=PERSISTENT, content_type="application/x-protobuf"),
                timeout=CONFIRM_SECONDS,
                wait=False,
            )
        except PublishError:
            raise
        except DeliveryError as error:
            raise BrokerUnavailableError("RabbitMQ refused a task message") from error
        except AMQP_FAILURES as error:
            raise BrokerUnavailableError(f"RabbitMQ did not confirm: {str(error) or type(error).__name__}") from error

    async def _publish(self, channel: AbstractChannel) -> None:
        """Own the channel that carries the messages. No RPC may share it: RPCs hold its lock."""
        self._channel = await underlay_of(channel)
        try:
            await until_closed(channel)
        finally:
            self._channel = None

    async def _declare_soon(self, queue: str) -> None:
        """Have the other channel's owner declare `queue`. Returns when it exists."""
        if self._channel is None:
            raise BrokerUnavailableError("RabbitMQ is not connected")
        if queue not in self._to_declare:
            self._to_declare[queue] = asyncio.get_running_loop().create_future()
            self._wanted.set()
        try:
            await asyncio.wait_for(asyncio.shield(self._to_declare[queue]), CONFIRM_SECONDS)
        except TimeoutError as error:
            raise BrokerUnavailableError(f"RabbitMQ did not declare queue {queue} in time") from error

    async def _declare(self, channel: AbstractChannel) -> None:
        """Own the channel that declares queues."""
        self._declared.clear()
        closed = asyncio.ensure_future(until_closed(channel))
        try:
            while not closed.done():
                for queue in list(self._to_declare):
                    await self._topology.declare_queue(channel, queue)
                    self._declared.add(queue)
                    self._to_declare.pop(queue).set_result(None)
                self._wanted.clear()
                wanted = asyncio.ensure_future(self._wanted.wait())
                await asyncio.wait([closed, wanted], return_when=asyncio.FIRST_COMPLETED)
                wanted.cancel()
        finally:
            closed.cancel()
            self._declared.clear()
            waiting, self._to_declare = self._to_declare, {}
            for future in waiting.values():
                future.set_exception(BrokerUnavailableError("RabbitMQ went away"))
                future.exception()  # Whoever waited may have given up: then nobody else reads it.


class EventPublisher:
    """Broadcasts events: transient, unconfirmed, in order, never in the way of the caller.

    An event that is lost with its channel is found in the record by whoever watches the task.
    """

    def __init__(self, session: Session, topology: Topology) -> None:
        self._topology = topology
        self._backlog: deque[tuple[str, bytes]] = deque(maxlen=EVENT_BACKLOG)
        self._news = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        session.own_channel(self._pump)

    def broadcast(self, routing_key: str, body: bytes) -> None:
        """See `shared.ports.Broker.broadcast`."""
        self._backlog.append((routing_key, body))
        self._drained.clear()
        self._news.set()

    async def drain(self, seconds: float) -> None:
        """Wait until what was broadcast has been handed to the network, at most `seconds`."""
        try:
            await asyncio.wait_for(self._drained.wait(), seconds)
        except TimeoutError:
            self._backlog.clear()

    def _next_frames(self, channel: Channel) -> bytes:
        count = min(len(self._backlog), EVENTS_A_WRITE)
        return b"".join(
            event_frames(
                channel.number,
                self._topology.events_exchange,
                *self._backlog.popleft(),
                max_content=channel.max_content_size,
            )
            for _ in range(count)
        )

    async def _pump(self, channel: AbstractChannel) -> None:
        await self._topology.declare_events(channel)
        underlay = await underlay_of(channel)
        closed = asyncio.ensure_future(until_closed(channel))
        try:
            while not closed.done():
                while self._backlog and not closed.done():
                    # Nothing else uses this channel once the exchange is declared, so its lock is not needed.
                    await underlay.write_queue.put(ChannelFrame(self._next_frames(underlay), should_close=False))
                self._news.clear()
                self._drained.set()
                news = asyncio.ensure_future(self._news.wait())
                await asyncio.wait([closed, news], return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
        finally:
            closed.cancel()
