"""The broker port within one process and one event loop. It forgets everything when the process ends."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from shared.ports import BrokerUnavailableError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from shared.domain.task import TaskPriority
    from shared.ports import Delivery, TaskMessage

Line = tuple[str, "TaskPriority"]

REPAIR_PAUSE_SECONDS = 1.0

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class LocalDelivery:
    """One task message in hand."""

    body: bytes
    priority: TaskPriority
    _line: Line
    _holder: LocalConsumer
    _settled: bool = False

    async def ack(self) -> None:
        """The message is done with."""
        self._settle()

    async def give_back(self) -> None:
        """Another worker may have it."""
        if self._settle():
            self._holder.broker.put(self._line, self.body, first=True)

    def _settle(self) -> bool:
        if self._settled:
            return False
        self._settled = True
        self._holder.settled(self._line, self)
        return True


@dataclass(slots=True, eq=False)
class LocalConsumer:
    """One worker's hold on its queues."""

    broker: LocalBroker
    queues: tuple[str, ...]
    on_delivery: Callable[[Delivery], None]
    prefetch: int = 0
    closed: bool = False
    in_hand: dict[Line, set[LocalDelivery]] = field(default_factory=lambda: defaultdict(set))

    @property
    def is_consuming(self) -> bool:
        """Whether deliveries come."""
        return self.prefetch > 0

    def resume(self, prefetch: int) -> None:
        """See `shared.ports.Consumer.resume`."""
        if not self.closed:
            self.prefetch = prefetch
            self.broker.deliver_soon()

    def pause(self) -> None:
        """See `shared.ports.Consumer.pause`."""
        self.prefetch = 0

    async def pull(self, priority: TaskPriority) -> LocalDelivery | None:
        """See `shared.ports.Consumer.pull`."""
        for queue in self.queues:
            if not self.closed and (delivery := self.broker.take((queue, priority), self)) is not None:
                return delivery
        return None

    async def close(self) -> None:
        """Stop for good; unsettled deliveries go back."""
        self.closed = True
        self.pause()
        self.broker.forget(self)
        for deliveries in list(self.in_hand.values()):
            for delivery in list(deliveries):
                await delivery.give_back()

    def wants(self, line: Line) -> bool:
        """Whether it would take another message of this line now."""
        return line[0] in self.queues and len(self.in_hand[line]) < self.prefetch

    def settled(self, line: Line, delivery: LocalDelivery) -> None:
        """A delivery is off its hands."""
        self.in_hand[line].discard(delivery)
        self.broker.deliver_soon()


class LocalSubscription:
    """A feed of events by topic pattern."""

    def __init__(self, on_event: Callable[[str, bytes], None]) -> None:
        self.on_event = on_event
        self.patterns: set[str] = set()
        self._open = True

    @property
    def is_live(self) -> bool:
        """Whether events arrive."""
        return self._open

    async def bind(self, pattern: str) -> bool:
        """See `shared.ports.Subscription.bind`."""
        if self._open:
            self.patterns.add(pattern)
        return self._open

    def unbind(self, pattern: str) -> None:
        """See `shared.ports.Subscription.unbind`."""
        self.patterns.discard(pattern)

    async def close(self) -> None:
        """End the feed."""
        self._open = False
        self.patterns.clear()


class LocalNews:
    """A share of the news of webhooks."""

    def __init__(self, on_news: Callable[[bytes], None], listeners: deque[LocalNews]) -> None:
        self.on_news = on_news
        self._listeners = listeners
        listeners.append(self)

    async def close(self) -> None:
        """Listen no longer."""
        if self in self._listeners:
            self._listeners.remove(self)


class LocalBroker:
    """The broker port for gateway and worker in one process. Must be created inside a running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lines: dict[Line, deque[bytes]] = defaultdict(deque)
        self._consumers: deque[LocalConsumer] = deque()
        self._subscriptions: set[LocalSubscription] = set()
        self._listeners: deque[LocalNews] = deque()
        self._delivery_planned = False
        self._closed = False

    @property
    def is_connected(self) -> bool:
        """True until it is closed."""
        return not self._closed

    async def dispatch(self, queue: str, priority: TaskPriority, body: bytes) -> None:
        """See `shared.ports.Broker.dispatch`."""
        if self._closed:
            raise BrokerUnavailableError("the broker has been closed")
        self.put((queue, priority), body)

    async def dispatch_all(self, messages: Sequence[TaskMessage]) -> list[BrokerUnavailableError | None]:
        """See `shared.ports.Broker.dispatch_all`."""
        if self._closed:
            return [BrokerUnavailableError("the broker has been closed")] * len(messages)
        for message in messages:
            self.put((message.queue, message.priority), message.body)
        return [None] * len(messages)

    def broadcast(self, routing_key: str, body: bytes) -> None:
        """See `shared.ports.Broker.broadcast`."""
        words = routing_key.split(".")
        for subscription in self._subscriptions:
            if any(topic_matches(pattern.split("."), words) for pattern in subscription.patterns):
                self._loop.call_soon(subscription.on_event, routing_key, body)

    async def consume(self, queues: Sequence[str], on_delivery: Callable[[Delivery], None]) -> LocalConsumer:
        """See `shared.ports.Broker.consume`."""
        consumer = LocalConsumer(self, tuple(queues), on_delivery)
        self._consumers.append(consumer)
        return consumer

    async def subscribe(self, on_event: Callable[[str, bytes], None], on_gap: Callable[[], None]) -> LocalSubscription:
        """See `shared.ports.Broker.subscribe`. Nothing is ever missed here, so `on_gap` is not called."""
        del on_gap
        subscription = LocalSubscription(on_event)
        self._subscriptions.add(subscription)
        return subscription

    def announce(self, body: bytes) -> None:
        """See `shared.ports.Broker.announce`. With nobody there it is forgotten."""
        if self._listeners:
            self._listeners.rotate(-1)
            self._loop.call_soon(self._listeners[0].on_news, body)

    async def attend(self, on_news: Callable[[bytes], None]) -> LocalNews:
        """See `shared.ports.Broker.attend`."""
        return LocalNews(on_news, self._listeners)

    async def guard_memory(self, on_loss: Callable[[], Awaitable[None]]) -> None:
        """See `shared.ports.Broker.guard_memory`. A new process starts with an empty broker, so once, now."""
        while not self._closed:
            try:
                await on_loss()
            except (StoreUnavailableError, BrokerUnavailableError) as error:
                log.warning("broker.repair_failed", error=str(error))
                await asyncio.sleep(REPAIR_PAUSE_SECONDS)
            else:
                return

    async def close(self) -> None:
        """Forget everything."""
        self._closed = True
        self._lines.clear()

    def put(self, line: Line, body: bytes, *, first: bool = False) -> None:
        """Add a message to a line, at its head if it was there before."""
        if first:
            self._lines[line].appendleft(body)
        else:
            self._lines[line].append(body)
        self.deliver_soon()

    def take(self, line: Line, holder: LocalConsumer) -> LocalDelivery | None:
        """Hand the first message of a line to `holder`."""
        if not self._lines[line]:
            return None
        delivery = LocalDelivery(self._lines[line].popleft(), line[1], line, holder)
        holder.in_hand[line].add(delivery)
        return delivery

    def forget(self, consumer: LocalConsumer) -> None:
        """The consumer takes no more deliveries."""
        if consumer in self._consumers:
            self._consumers.remove(consumer)

    def deliver_soon(self) -> None:
        """Hand out what can be handed out, once the caller has done its work."""
        if not self._delivery_planned:
            self._delivery_planned = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._delivery_planned = False
        for line, messages in self._lines.items():
            while messages and (consumer := self._next_taker(line)) is not None:
                delivery = self.take(line, consumer)
                assert delivery is not None  # There are messages.
                consumer.on_delivery(delivery)

    def _next_taker(self, line: Line) -> LocalConsumer | None:
        """The consumers take turns."""
        for _ in range(len(self._consumers)):
            self._consumers.rotate(-1)
            if self._consumers[0].wants(line):
                return self._consumers[0]
        return None


def topic_matches(pattern: list[str], words: list[str]) -> bool:
    """Whether the words of a routing key match a topic pattern: `*` is one word, `#` any number of them."""
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(topic_matches(pattern[1:], words[i:]) for i in range(len(words) + 1))
    return bool(words) and pattern[0] in {"*", words[0]} and topic_matches(pattern[1:], words[1:])
