"""The port of the broker, which carries work and events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from shared.domain.task import TaskPriority


class BrokerUnavailableError(Exception):
    """The broker could not be reached, or did not confirm in time. Whether it took the message is unknown."""


@dataclass(frozen=True, slots=True)
class TaskMessage:
    """What puts a task before the workers of its queue, in the line of its priority."""

    queue: str
    priority: TaskPriority
    body: bytes


class Delivery(Protocol):
    """A task message in a worker's hands, to be settled once: `ack` or `give_back`.

    Settling a delivery whose connection is gone does nothing: the broker has taken the message back.
    """

    @property
    def body(self) -> bytes:
        """The message, as it was dispatched."""
        ...

    @property
    def priority(self) -> TaskPriority:
        """The line it came from."""
        ...

    async def ack(self) -> None:
        """The message is done with."""
        ...

    async def give_back(self) -> None:
        """Another worker may have it."""
        ...


class Consumer(Protocol):
    """A worker's hold on its queues."""

    @property
    def is_consuming(self) -> bool:
        """Whether the broker has it registered on all of its queues right now."""
        ...

    def resume(self, prefetch: int) -> None:
        """Take deliveries, at most `prefetch` unsettled ones from each line, starting as soon as possible."""
        ...

    def pause(self) -> None:
        """Take no more deliveries. A few may still arrive; those in hand stay valid until they are settled."""
        ...

    async def pull(self, priority: TaskPriority) -> Delivery | None:
        """Ask for one delivery from this line of any of the queues; None if there is none, or the broker is away.

        It is the caller's and does not go to `on_delivery`. Not to be cancelled.
        """
        ...

    async def close(self) -> None:
        """Stop for good; unsettled deliveries go back to the broker."""
        ...


class Subscription(Protocol):
    """A live feed of broadcast events by topic pattern."""

    @property
    def is_live(self) -> bool:
        """Whether events arrive right now; false while the broker is away."""
        ...

    async def bind(self, pattern: str) -> bool:
        """Ask for the events that match `pattern`; true once they arrive, false if the broker is away.

        A pattern asked for in vain is bound as soon as the broker is back. Words of a pattern are separated
        by dots; `*` stands for one word and `#` for any number of them.
        """
        ...

    def unbind(self, pattern: str) -> None:
        """The events of `pattern` are no longer needed. They may go on arriving for a while."""
        ...

    async def close(self) -> None:
        """End the feed."""
        ...


class News(Protocol):
    """A share of the news of webhooks."""

    async def close(self) -> None:
        """Listen no longer; the others have it all."""
        ...


class Broker(Protocol):
    """Carries work to workers and events to whoever listens. Losing all of its data loses no task."""

    @property
    def is_connected(self) -> bool:
        """Whether a dispatch could be confirmed right now."""
        ...

    async def dispatch(self, queue: str, priority: TaskPriority, body: bytes) -> None:
        """Put a task message before the workers of `queue`; returns once the broker has taken it.

        The queue is created if need be. Raises BrokerUnavailableError.
        """
        ...

    async def dispatch_all(self, messages: Sequence[TaskMessage]) -> list[BrokerUnavailableError | None]:
        """Dispatch each by itself: None for what the broker has taken, else what `dispatch` would raise."""
        ...

    def broadcast(self, routing_key: str, body: bytes) -> None:
        """Send an event to all who listen. Never waits, never fails: it is dropped while the broker is away."""
        ...

    async def consume(self, queues: Sequence[str], on_delivery: Callable[[Delivery], None]) -> Consumer:
        """Take task messages of `queues`; the consumer starts paused and survives a restart of the broker."""
        ...

    async def subscribe(self, on_event: Callable[[str, bytes], None], on_gap: Callable[[], None]) -> Subscription:
        """Listen to events: `on_event(routing_key, body)`. `on_gap` says that events may have been missed."""
        ...

    def announce(self, body: bytes) -> None:
        """Tell one of those who attend that there are webhooks to send. Never waits, never fails.

        It may be lost, or wait for a minute until somebody attends: what it tells of stands in the record.
        """
        ...

    async def attend(self, on_news: Callable[[bytes], None]) -> News:
        """Be told of webhooks to send; each piece of news goes to one of those who attend."""
        ...

    async def guard_memory(self, on_loss: Callable[[], Awaitable[None]]) -> None:
        """Call `on_loss` whenever the broker is found new or wiped, until it has once returned normally."""
        ...

    async def close(self) -> None:
        """Send what is on its way, then disconnect."""
        ...
