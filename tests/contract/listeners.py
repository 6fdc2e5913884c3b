"""What is at the other ends of a broker: hands that take deliveries, and ears that hear events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.deadlines import eventually_async

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.ports import Broker, Consumer, Delivery, Subscription

WITHIN = 10.0
FENCE = "the.fence"


async def until(condition: Callable[[], bool], what: str, *, within: float = WITHIN) -> None:
    async def holds() -> bool:
        return condition()

    await eventually_async(holds, within=within, what=what)


class Hands:
    """A consumer and all that was ever delivered to it."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.consumer: Consumer

    @classmethod
    async def of(cls, broker: Broker, *queues: str, prefetch: int = 0) -> Hands:
        hands = cls()
        hands.consumer = await broker.consume(queues or ("default",), hands.deliveries.append)
        if prefetch:
            hands.consumer.resume(prefetch)
            # Where two sides declare a new queue at the same moment, RabbitMQ may refuse the first message to it.
            await until(lambda: hands.consumer.is_consuming, "the consumer on all of its lines")
        return hands

    @property
    def bodies(self) -> list[bytes]:
        return [delivery.body for delivery in self.deliveries]

    async def hold(self, count: int, *, within: float = WITHIN) -> list[Delivery]:
        """Wait until so many were delivered in all; there must not be more."""
        await until(lambda: len(self.deliveries) >= count, f"{count} deliveries", within=within)
        assert len(self.deliveries) == count, self.bodies
        return self.deliveries

    async def ack_all(self) -> None:
        for delivery in self.deliveries:
            await delivery.ack()


class Ears:
    """A subscription and all that was ever heard by it."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.heard: list[tuple[str, bytes]] = []
        self.gaps = 0
        self._fences = 0
        self.subscription: Subscription

    @classmethod
    async def of(cls, broker: Broker, *patterns: str) -> Ears:
        ears = cls(broker)
        ears.subscription = await broker.subscribe(lambda key, body: ears.heard.append((key, body)), ears.missed)
        await until(lambda: ears.subscription.is_live, "a live subscription")
        for pattern in (FENCE, *patterns):
            assert await ears.subscription.bind(pattern)
        return ears

    def missed(self) -> None:
        self.gaps += 1

    async def heard_so_far(self) -> list[str]:
        """The keys of all that was heard of what was broadcast before this call: a last event shows the end of it."""
        self._fences += 1
        fence = (FENCE, b"%d" % self._fences)
        self.broker.broadcast(*fence)
        await until(lambda: fence in self.heard, "the last event")
        return [key for key, _ in self.heard if key != FENCE]
