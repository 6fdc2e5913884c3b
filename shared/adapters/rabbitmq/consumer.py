"""A worker's consumers: one for each line of each of its queues, paused and resumed together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pamqp import commands

from shared.adapters.rabbitmq.session import AMQP_FAILURES, settle, told_to_stop, underlay_of
from shared.adapters.rabbitmq.topology import LINES, RPC_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from aio_pika.abc import AbstractChannel
    from aiormq.abc import DeliveredMessage
    from aiormq.channel import Channel

    from shared.adapters.rabbitmq.session import Session
    from shared.adapters.rabbitmq.topology import Topology
    from shared.domain.task import TaskPriority
    from shared.ports import Delivery


class RabbitDelivery:
    """One task message in hand."""

    __slots__ = ("_message", "priority")

    def __init__(self, message: DeliveredMessage, priority: TaskPriority) -> None:
        self._message = message
        self.priority = priority

    @property
    def body(self) -> bytes:
        """The message, as it was dispatched."""
        return self._message.body

    async def ack(self) -> None:
        """The message is done with."""
        await settle(self._message, commands.Basic.Ack)

    async def give_back(self) -> None:
        """Another worker may have it."""
        await settle(self._message, commands.Basic.Nack)


class RabbitConsumer:
    """The consumer port on one channel, opened anew after every loss."""

    def __init__(
        self, session: Session, topology: Topology, queues: Sequence[str], on_delivery: Callable[[Delivery], None]
    ) -> None:
        self._topology = topology
        self._queues = tuple(queues)
        self._on_delivery = on_delivery
        self._wanted_prefetch = 0
        self._changed = asyncio.Event()
        self._active = False
        self._channel: Channel | None = None
        self._pulls = 0
        self._owner = session.own_channel(self._serve)

    @property
    def is_consuming(self) -> bool:
        """Whether the broker has it registered on all of its queues right now."""
        return self._active

    def resume(self, prefetch: int) -> None:
        """See `shared.ports.Consumer.resume`."""
        self._wanted_prefetch = prefetch
        self._changed.set()

    def pause(self) -> None:
        """See `shared.ports.Consumer.pause`."""
        self._wanted_prefetch = 0
        self._changed.set()

    async def pull(self, priority: TaskPriority) -> RabbitDelivery | None:
        """See `shared.ports.Consumer.pull`."""
        # Each queue is asked first in its turn.
        self._pulls += 1
        first = self._pulls % len(self._queues)
        for queue in self._queues[first:] + self._queues[:first]:
            channel = self._channel
            if channel is None or channel.is_closed:
                return None
            try:
                message = await channel.basic_get(self._topology.line(queue, priority), timeout=RPC_SECONDS)
            except (*AMQP_FAILURES, asyncio.CancelledError) as error:
                # aiormq cancels what waits for an answer on a channel that closes.
                if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                    raise
                return None
            if message.delivery_tag is not None:
                return RabbitDelivery(message, priority)
        return None

    async def close(self) -> None:
        """Stop for good; closing the channel returns what is unsettled to the broker."""
        await self._owner.stop()

    async def _serve(self, channel: AbstractChannel) -> None:
        for queue in self._queues:
            await self._topology.declare_queue(channel, queue)
        underlay = await underlay_of(channel, self._changed)
        queue_gone = False

        def on_queue_gone(_: commands.Basic.Cancel) -> None:
            nonlocal queue_gone
            queue_gone = True
            self._changed.set()

        underlay.on_consumer_cancel_callbacks.add(on_queue_gone)
        self._channel = underlay
        tags: list[str] = []
        prefetch = 0
        try:
            # A deleted queue ends its consumers: the next channel begins again and declares the queue.
            while not (underlay.is_closed or queue_gone or told_to_stop()):
                self._changed.clear()
                if self._wanted_prefetch != prefetch:
                    # A consumer keeps the prefetch it was started with, so another one means another consumer.
                    prefetch = self._wanted_prefetch
                    self._active = False
                    for tag in tags:
                        await underlay.basic_cancel(tag)
                    tags = await self._start(underlay, prefetch) if prefetch else []
                    self._active = bool(tags)
                await self._changed.wait()
        finally:
            self._active = False
            self._channel = None

    async def _start(self, channel: Channel, prefetch: int) -> list[str]:
        await channel.basic_qos(prefetch_count=prefetch)
        tags = []
        for queue in self._queues:
            for priority in LINES:
                answer = await channel.basic_consume(self._topology.line(queue, priority), self._receiver(priority))
                assert answer.consumer_tag is not None  # The server always names the consumer.
                tags.append(answer.consumer_tag)
        return tags

    def _receiver(self, priority: TaskPriority) -> Callable[[DeliveredMessage], Coroutine[None, None, None]]:
        async def receive(message: DeliveredMessage) -> None:
            self._on_delivery(RabbitDelivery(message, priority))

        return receive


def _is_cancelled() -> bool:
    """Whether somebody wants the running task to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
