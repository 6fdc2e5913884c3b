"""A process's own queue of events, with the patterns that it currently needs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shared.adapters.rabbitmq.session import told_to_stop, underlay_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from aio_pika.abc import AbstractChannel
    from aiormq.abc import DeliveredMessage
    from aiormq.channel import Channel

    from shared.adapters.rabbitmq.session import Session
    from shared.adapters.rabbitmq.topology import Topology


class RabbitSubscription:
    """The subscription port on an exclusive queue with a name of the server's choice.

    After a loss the queue is a new one, under a new name and with all patterns: the old one may outlive its
    connection for a while and would refuse a second owner. What was missed in between is told by `on_gap`.
    """

    def __init__(
        self,
        session: Session,
        topology: Topology,
        on_event: Callable[[str, bytes], None],
        on_gap: Callable[[], None],
    ) -> None:
        self._topology = topology
        self._on_event = on_event
        self._on_gap = on_gap
        self._wanted: set[str] = set()
        self._bound: set[str] = set()
        self._waiting: dict[str, asyncio.Future[bool]] = {}
        self._changed = asyncio.Event()
        self._live = False
        self._owner = session.own_channel(self._serve)

    @property
    def is_live(self) -> bool:
        """Whether events arrive right now."""
        return self._live

    async def bind(self, pattern: str) -> bool:
        """See `shared.ports.Subscription.bind`."""
        self._wanted.add(pattern)
        if pattern in self._bound:
            return True
        if not self._live:
            return False
        if pattern not in self._waiting:
            self._waiting[pattern] = asyncio.get_running_loop().create_future()
            self._changed.set()
        return await asyncio.shield(self._waiting[pattern])

    def unbind(self, pattern: str) -> None:
        """See `shared.ports.Subscription.unbind`."""
        self._wanted.discard(pattern)
        if waiting := self._waiting.pop(pattern, None):
            waiting.set_result(False)
        self._changed.set()

    async def close(self) -> None:
        """End the feed."""
        await self._owner.stop()

    async def _serve(self, channel: AbstractChannel) -> None:
        await self._topology.declare_events(channel)
        underlay = await underlay_of(channel, self._changed)
        declared = await underlay.queue_declare("", exclusive=True, auto_delete=True)
        queue = declared.queue or ""
        await underlay.basic_consume(queue, self._receive, no_ack=True)
        try:
            while not underlay.is_closed:
                self._changed.clear()
                await self._converge(underlay, queue)
                if told_to_stop():
                    return
                if not self._live:
                    self._live = True
                    # Whoever asked for a pattern before may have missed events of it, the first time as well.
                    self._on_gap()
                await self._changed.wait()
        finally:
            self._live = False
            self._bound.clear()
            waiting, self._waiting = self._waiting, {}
            for future in waiting.values():
                future.set_result(False)

    async def _converge(self, channel: Channel, queue: str) -> None:
        """Bind what is wanted; then unbind one pattern at a time, since unbinding is slow and nobody waits for it."""
        exchange = self._topology.events_exchange
        while missing := self._wanted - self._bound:
            for pattern in missing:
                await channel.queue_bind(queue, exchange, pattern)
                self._bound.add(pattern)
                if waiting := self._waiting.pop(pattern, None):
                    waiting.set_result(True)
        for pattern in self._bound - self._wanted:
            self._bound.discard(pattern)
            await channel.queue_unbind(queue, exchange, pattern)
            self._changed.set()
            return

    async def _receive(self, message: DeliveredMessage) -> None:
        self._on_event(message.routing_key or "", message.body)
