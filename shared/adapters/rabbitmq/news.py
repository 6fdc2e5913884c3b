"""Listening to the queue that says which tasks have webhooks to send."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pamqp import commands

from shared.adapters.rabbitmq.session import settle, underlay_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from aio_pika.abc import AbstractChannel
    from aiormq.abc import DeliveredMessage

    from shared.adapters.rabbitmq.session import Session
    from shared.adapters.rabbitmq.topology import Topology

PREFETCH = 200
"""News in hand at once. The listener only notes them, so they are acknowledged as fast as they come."""


class RabbitNews:
    """A share of the news, for as long as it is open: each piece goes to one of those who listen."""

    def __init__(self, session: Session, topology: Topology, on_news: Callable[[bytes], None]) -> None:
        self._topology = topology
        self._on_news = on_news
        self._owner = session.own_channel(self._serve)

    async def close(self) -> None:
        """Listen no longer."""
        await self._owner.stop()

    async def _serve(self, channel: AbstractChannel) -> None:
        await self._topology.declare_news(channel)
        over = asyncio.Event()
        underlay = await underlay_of(channel, over)

        def on_queue_gone(_: commands.Basic.Cancel) -> None:
            # The next channel begins again and declares the queue.
            over.set()

        underlay.on_consumer_cancel_callbacks.add(on_queue_gone)
        await underlay.basic_qos(prefetch_count=PREFETCH)
        await underlay.basic_consume(self._topology.news_queue, self._receive)
        await over.wait()

    async def _receive(self, message: DeliveredMessage) -> None:
        self._on_news(message.body)
        await settle(message, commands.Basic.Ack)
