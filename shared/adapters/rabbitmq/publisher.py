"""Publishing: task messages with a confirmation each, events without.

Each publisher has a channel of its own and one owner of it, who writes many messages at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING

from aiormq.abc import ChannelFrame
from aiormq.exceptions import DeliveryError, PublishError

from shared.adapters.rabbitmq.frames import event_frames, news_frames, task_frames
from shared.adapters.rabbitmq.session import send, told_to_stop, underlay_of, until_unblocked
from shared.ports import BrokerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from aio_pika.abc import AbstractChannel
    from aiormq.channel import Channel

    from shared.adapters.rabbitmq.session import Session
    from shared.adapters.rabbitmq.topology import Topology
    from shared.ports import TaskMessage

WINDOW = 512
"""Unconfirmed task messages on their way at once."""

CONFIRM_SECONDS = 10.0

LINES_KEPT = 1_024
"""Names of queues that are remembered."""

EVENT_BACKLOG = 10_000
"""Events that wait to be sent. Beyond it the oldest are dropped: watchers find them in the record."""

NEWS_MILLIS = 60_000
"""News of webhooks that nobody took for so long are dropped: whoever comes then looks into the record anyhow."""

MESSAGES_A_WRITE = 64

LOOK_EVERY_BYTES = 256 << 10
"""After so much written it is worth a look whether the server still reads."""


class _Sent:
    """A task message on its way; `confirmed` is done when the broker has it, or never will."""

    __slots__ = ("_channel", "_id", "_window", "body", "confirmed", "line")

    def __init__(self, line: str, body: bytes, window: asyncio.Semaphore) -> None:
        """It takes up a place in `window` that the caller has got for it."""
        self.line = line
        self.body = body
        self.confirmed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._window = window
        self._channel: Channel | None = None
        self._id = ""
        self.confirmed.add_done_callback(self._settled)

    def frames(self, channel: Channel) -> bytes:
        """The frames to write, entered where the library looks when a confirmation or return comes."""
        channel.delivery_tag += 1
        tag = channel.delivery_tag
        self._channel, self._id = channel, f"{tag:x}"
        channel.confirmations[tag] = self.confirmed
        channel.message_id_delivery_tag[self._id] = tag
        return task_frames(channel.number, self.line, self._id, self.body, max_content=channel.max_content_size)

    def _settled(self, _: asyncio.Future[Any]) -> None:
        self._window.release()
        if self._channel is not None:
            # It can no longer be returned.
            self._channel.message_id_delivery_tag.pop(self._id, None)


class _Writer:
    """Hands frames to a connection, and stops while the server takes none."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._unlooked = 0

    async def write(self, frames: bytes) -> None:
        """Queue frames to be written."""
        await send(self._channel, ChannelFrame(frames, should_close=False))
        self._unlooked += len(frames)
        if self._unlooked >= LOOK_EVERY_BYTES:
            self._unlooked = 0
            await until_unblocked(self._channel)


class TaskPublisher:
    """Dispatches task messages: persistent, mandatory and confirmed, `WINDOW` at a time."""

    def __init__(self, session: Session, topology: Topology) -> None:
        self._topology = topology
        # A name takes longer to put together than to find.
        self._line = lru_cache(maxsize=LINES_KEPT)(topology.line)
        self._window = asyncio.Semaphore(WINDOW)
        self._outgoing: deque[_Sent] = deque()
        self._news = asyncio.Event()
        self._open = False
        self._declared: set[str] = set()
        self._to_declare: dict[str, asyncio.Future[None]] = {}
        self._wanted = asyncio.Event()
        session.own_channel(self._publish, confirms=True)
        session.own_channel(self._declare)

    @property
    def is_open(self) -> bool:
        """Whether a message could be sent right now."""
        return self._open

    async def dispatch_all(self, messages: Sequence[TaskMessage]) -> list[BrokerUnavailableError | None]:
        """See `shared.ports.Broker.dispatch_all`."""
        answers = await self._attempt(messages)
        returned = [index for index, answer in enumerate(answers) if isinstance(answer, PublishError)]
        if returned:
            # The queue has been deleted since it was declared.
            again = [messages[index] for index in returned]
            self._declared.difference_update(message.queue for message in again)
            for index, answer in zip(returned, await self._attempt(again), strict=True):
                answers[index] = answer
        return [_problem(message, answer) for message, answer in zip(messages, answers, strict=True)]

    async def _attempt(self, messages: Sequence[TaskMessage]) -> list[Exception | None]:
        """Send each, as soon as there is a place for it, and wait for what becomes of it: None if it was taken."""
        sent = [await self._send(message) for message in messages]
        answers: list[Exception | None] = []
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                for message in sent:  # Not a comprehension: what has been answered counts though time runs out.
                    answer = message if isinstance(message, Exception) else await _outcome(message)
                    answers.append(answer)
        except TimeoutError:
            for late in sent[len(answers) :]:
                if isinstance(late, _Sent):
                    late.confirmed.cancel()
                answers.append(BrokerUnavailableError(f"RabbitMQ did not confirm within {CONFIRM_SECONDS:g} s"))
        return answers

    async def _send(self, message: TaskMessage) -> _Sent | BrokerUnavailableError:
        """Put a message on its way."""
        if message.queue not in self._declared:
            try:
                await self._declare_soon(message.queue)
            except BrokerUnavailableError as error:
                return error
        await self._window.acquire()
        if not self._open:
            self._window.release()
            return BrokerUnavailableError("RabbitMQ is not connected")
        sent = _Sent(self._line(message.queue, message.priority), message.body, self._window)
        self._outgoing.append(sent)
        self._news.set()
        return sent

    async def _publish(self, channel: AbstractChannel) -> None:
        """Own the channel that carries the messages. No RPC may share it: RPCs hold its lock."""
        underlay = await underlay_of(channel, self._news)
        writer = _Writer(underlay)
        self._open = True
        try:
            while not underlay.is_closed:
                self._news.clear()
                while self._outgoing and not underlay.is_closed:
                    await writer.write(self._next_frames(underlay))
                await self._news.wait()
        finally:
            self._open = False
            lost = [*underlay.confirmations.values(), *(message.confirmed for message in self._outgoing)]
            self._outgoing.clear()
            _fail(lost)

    def _next_frames(self, channel: Channel) -> bytes:
        """The next messages to write, but for those whose sender has given up waiting."""
        messages = [self._outgoing.popleft() for _ in range(min(len(self._outgoing), MESSAGES_A_WRITE))]
        return b"".join(message.frames(channel) for message in messages if not message.confirmed.done())

    async def _declare_soon(self, queue: str) -> None:
        """Have the other channel's owner declare `queue`. Returns when it exists."""
        if not self._open:
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
        underlay = await underlay_of(channel, self._wanted)
        self._declared.clear()
        try:
            while not (underlay.is_closed or told_to_stop()):
                self._wanted.clear()
                for queue in list(self._to_declare):
                    await self._topology.declare_queue(channel, queue)
                    self._declared.add(queue)
                    self._to_declare.pop(queue).set_result(None)
                await self._wanted.wait()
        finally:
            self._declared.clear()
            waiting, self._to_declare = self._to_declare, {}
            _fail(waiting.values())


class EventPublisher:
    """Broadcasts events and tells news of webhooks: unconfirmed, in order, never in the way of the caller.

    What is lost with its channel is found in the record, by whoever watches the task or sends webhooks.
    """

    def __init__(self, session: Session, topology: Topology) -> None:
        self._topology = topology
        # News have no routing key.
        self._backlog: deque[tuple[str | None, bytes]] = deque(maxlen=EVENT_BACKLOG)
        self._news = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        session.own_channel(self._pump)

    def broadcast(self, routing_key: str, body: bytes) -> None:
        """See `shared.ports.Broker.broadcast`."""
        self._add(routing_key, body)

    def announce(self, body: bytes) -> None:
        """See `shared.ports.Broker.announce`."""
        self._add(None, body)

    async def drain(self, seconds: float) -> None:
        """Wait until what was broadcast has been handed to the network, at most `seconds`."""
        try:
            await asyncio.wait_for(self._drained.wait(), seconds)
        except TimeoutError:
            self._backlog.clear()

    def _add(self, routing_key: str | None, body: bytes) -> None:
        self._backlog.append((routing_key, body))
        self._drained.clear()
        self._news.set()

    async def _pump(self, channel: AbstractChannel) -> None:
        """Own the channel that carries the events."""
        await self._topology.declare_events(channel)
        underlay = await underlay_of(channel, self._news)
        writer = _Writer(underlay)
        while not underlay.is_closed:
            self._news.clear()
            while self._backlog and not underlay.is_closed:
                await writer.write(self._next_frames(underlay))
            self._drained.set()
            await self._news.wait()

    def _next_frames(self, channel: Channel) -> bytes:
        frames = []
        for _ in range(min(len(self._backlog), MESSAGES_A_WRITE)):
            key, body = self._backlog.popleft()
            number, largest = channel.number, channel.max_content_size
            frames.append(
                news_frames(number, self._topology.news_queue, NEWS_MILLIS, body, max_content=largest)
                if key is None
                else event_frames(number, self._topology.events_exchange, key, body, max_content=largest)
            )
        return b"".join(frames)


async def _outcome(message: _Sent) -> Exception | None:
    """What became of a message: None if the broker has it, PublishError if it found no queue for it."""
    try:
        await message.confirmed
    except (PublishError, BrokerUnavailableError) as error:
        return error
    except DeliveryError:
        return BrokerUnavailableError("RabbitMQ refused a task message")
    return None


def _problem(message: TaskMessage, answer: Exception | None) -> BrokerUnavailableError | None:
    if isinstance(answer, PublishError):
        return BrokerUnavailableError(f"RabbitMQ finds no queue {message.queue} that was just declared")
    assert answer is None or isinstance(answer, BrokerUnavailableError)
    return answer


def _fail(futures: Iterable[asyncio.Future[Any]]) -> None:
    """Tell all who wait that the broker is gone."""
    for future in futures:
        if not future.done():
            future.set_exception(BrokerUnavailableError("RabbitMQ went away"))
            future.exception()  # Whoever waited may have given up: then nobody else reads it.
