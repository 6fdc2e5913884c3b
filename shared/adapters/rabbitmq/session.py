"""A connection to RabbitMQ that comes back, and channels that are opened anew for as long as they are wanted.

One task owns each channel and makes all of its RPCs: a cancelled or timed-out RPC closes its channel, so none
may be made from inside a request. The robust classes of aio-pika are not used: they bring queues and consumers
back one by one and in the background, while every owner here needs to know when its channel is whole again.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING

import aio_pika
import structlog
from aiormq.abc import ChannelFrame
from aiormq.channel import Channel
from aiormq.exceptions import AMQPError
from yarl import URL

from shared.lifecycle import stop_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aio_pika.abc import AbstractChannel, AbstractConnection
    from aiormq.abc import DeliveredMessage
    from pamqp.commands import Basic

HEARTBEAT_SECONDS = 10
"""A dead peer is noticed after about three heartbeats."""

CONNECT_SECONDS = 10.0
CLOSE_SECONDS = 2.0
"""For a farewell that a hung broker does not answer: a stopping process meets several of them, one by one."""

SHORTEST_PAUSE = 0.1
LONGEST_PAUSE = 3.0

AMQP_FAILURES = (AMQPError, ConnectionError, OSError, TimeoutError, RuntimeError)
"""What a lost connection or a refused operation surfaces as. aio-pika raises RuntimeError on closed objects."""

log = structlog.get_logger(__name__)


class ChannelOwner:
    """Stands for a channel that is kept open."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    async def stop(self) -> None:
        """Close the channel and open no other."""
        await stop_all([self._task])


class Session:
    """One connection, opened when it is first needed and again after every loss."""

    def __init__(self, url: str, name: str) -> None:
        """`name` is what RabbitMQ's listing of connections shows."""
        self._url = URL(url).update_query(heartbeat=str(HEARTBEAT_SECONDS), name=name)
        self._name = name
        self._connection: AbstractConnection | None = None
        self._connecting = asyncio.Lock()
        self._owners: set[asyncio.Task[None]] = set()
        self._closed = False

    def own_channel(
        self,
        use: Callable[[AbstractChannel], Awaitable[None]],
        *,
        confirms: bool = False,
    ) -> ChannelOwner:
        """Keep a channel open: run `use` on a fresh one, and again whenever it returns or the channel is lost.

        `use` must end soon after its channel closes; see `until_closed`.
        """
        task = asyncio.create_task(self._own(use, confirms=confirms))
        self._owners.add(task)
        task.add_done_callback(self._owners.discard)
        return ChannelOwner(task)

    async def close(self) -> None:
        """Stop all owners and disconnect."""
        self._closed = True
        await stop_all(list(self._owners))
        if self._connection is not None:
            with suppress(*AMQP_FAILURES):
                await asyncio.wait_for(self._connection.close(), CLOSE_SECONDS)

    async def _own(self, use: Callable[[AbstractChannel], Awaitable[None]], *, confirms: bool) -> None:
        pause = SHORTEST_PAUSE
        told = False
        while not self._closed:
            channel: AbstractChannel | None = None
            try:
                connection = await self._connect()
                channel = await connection.channel(publisher_confirms=confirms, on_return_raises=confirms)
                pause = SHORTEST_PAUSE
                told = False
                await use(channel)
            except AMQP_FAILURES as error:
                # Said once for each loss, not at each try to come back.
                if not told:
                    log.warning("rabbitmq.lost", connection=self._name, error=str(error) or type(error).__name__)
                told = True
            except Exception:
                # A fault of ours must not end the channel for good: nobody would notice until work stands still.
                log.exception("rabbitmq.owner_failed", connection=self._name)
            finally:
                await _discard(channel)
            if told_to_stop():
                return
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _connect(self) -> AbstractConnection:
        async with self._connecting:
            # A connection's own `is_closed` says only whether this side closed it.
            if self._connection is None or not self._connection.connected.is_set():
                self._connection = await aio_pika.connect(self._url, timeout=CONNECT_SECONDS)
                log.info("rabbitmq.connected", connection=self._name)
            return self._connection


def told_to_stop() -> bool:
    """Whether the current task was cancelled, even where a call of the library has swallowed the cancellation.

    `asyncio.wait_for`, on which they stand, does so up to Python 3.11 if the answer comes in the same moment.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def underlay_of(channel: AbstractChannel, wake: asyncio.Event | None = None) -> Channel:
    """The aiormq channel below: a third cheaper per message, and the only one that tells its closing.

    `wake` is set when it closes, so that its owner, who waits for something to do, looks at `is_closed`.
    """
    underlay = await channel.get_underlay_channel()
    assert isinstance(underlay, Channel)
    if wake is not None:
        underlay.closing.add_done_callback(lambda _: wake.set())
    return underlay


async def send(channel: Channel, frame: ChannelFrame) -> None:
    """Queue a frame to be written. On a channel that is closed, or closes meanwhile, it is dropped.

    The library's queue is short, and nobody empties it once the connection is lost: whoever waited there for room
    would wait for ever.
    """
    if channel.is_closed:
        return
    try:
        channel.write_queue.put_nowait(frame)
    except asyncio.QueueFull:
        putting = asyncio.ensure_future(channel.write_queue.put(frame))
        try:
            await asyncio.wait([putting, channel.closing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            putting.cancel()


async def settle(message: DeliveredMessage, answer: type[Basic.Ack | Basic.Nack]) -> None:
    """Take a message off its queue, or put it back. On a closed channel there is nothing to settle: it is back."""
    channel = message.channel
    assert isinstance(channel, Channel)
    assert message.delivery_tag is not None  # A message that was delivered has one.
    frame = answer(delivery_tag=message.delivery_tag)
    await send(channel, ChannelFrame.marshall(channel_number=channel.number, frames=[frame]))


async def until_closed(channel: AbstractChannel) -> None:
    """Return when the channel is closed, for whatever reason."""
    await asyncio.wait([(await underlay_of(channel)).closing])


async def until_unblocked(channel: Channel) -> None:
    """Return when the server takes messages again, or the channel is closed.

    Short of memory or disk it stops reading from connections that publish, and says so. The library writes on all
    the same, into a buffer of this process that has no bound.
    """
    ready = asyncio.ensure_future(channel.connection.ready())
    await asyncio.wait([ready, channel.closing], return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()


async def _discard(channel: AbstractChannel | None) -> None:
    if channel is None:
        return
    with suppress(*AMQP_FAILURES):
        await asyncio.wait_for(channel.close(), CLOSE_SECONDS)
