"""The port of webhook deliveries: what is due, how far each lane has come, what became of each delivery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from shared.domain.task import Millis, Task, TaskEvent
    from shared.domain.webhooks import DeliveryKey, DeliveryState, EndpointHealth, WebhookDelivery


@dataclass(frozen=True, slots=True)
class Lane:
    """The deliveries of one task to one of its endpoints: they go one after the other, in order."""

    task_id: str
    endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenLane:
    """A lane in a dispatcher's hands: the task, without payload and result, and what lies ahead of the cursor.

    `events` are the next ones after `cursor`, up to the limit asked for; `known` holds the deliveries among them
    that were tried or settled before, by their sequence.
    """

    lane: Lane
    task: Task
    cursor: int
    again: int
    """How often deliveries of the lane had been asked for again."""
    events: tuple[TaskEvent, ...]
    known: Mapping[int, WebhookDelivery]


@dataclass(frozen=True, slots=True)
class ListedDelivery:
    """A delivery's place in the listing: newest first."""

    create_time: Millis
    key: DeliveryKey


class Deliveries(Protocol):
    """Webhook deliveries, beside the record: what is due, how far each lane has come, what became of each delivery.

    A delivery is PENDING from the append of its event on. Every method may raise StoreUnavailableError, and those
    that write StoreFullError.
    """

    async def due(self, partitions: Iterable[str], *, until: Millis, limit: int) -> list[tuple[Lane, Millis]]:
        """Lanes to be looked at by `until`: of each partition up to `limit`, its earliest first."""
        ...

    async def take(self, lane: Lane, *, now: Millis, until: Millis, limit: int) -> TakenLane | None:
        """Take the lane up if it is due, until it is settled or put off, at the longest until `until`.

        None if it is not due: another dispatcher has it, or there is nothing to do.
        """
        ...

    async def settle(
        self,
        taken: TakenLane,
        *,
        cursor: int,
        delivery: WebhookDelivery | None = None,
        again_at: Millis | None,
        now: Millis,
        keep_until: Millis | None = None,
    ) -> TakenLane | None:
        """Write down how far the lane has come and what became of `delivery`; the lane as it is now.

        `again_at` is when it is to be looked at next, None if nothing is left as far as it was read: should events
        have come since, that is at once. `keep_until`: the finished task is kept until then at least. None if the
        lane is not as it was taken, because another has it or a delivery was asked for again: then only what became
        of `delivery` is written, if it is still pending.
        """
        ...

    async def put_off(self, lane: Lane, until: Millis) -> None:
        """Have the lane looked at again at `until`, and not before."""
        ...

    async def page(
        self, tenant: str, states: Collection[DeliveryState], *, before: ListedDelivery | None, limit: int
    ) -> tuple[list[ListedDelivery], bool]:
        """Up to `limit` of the tenant's deliveries in one of `states`, newest first, those that follow `before`.

        And whether more may follow.
        """
        ...

    async def read(self, keys: Sequence[DeliveryKey]) -> list[WebhookDelivery | None]:
        """The deliveries as they are; None for what was tried never, or is no delivery."""
        ...

    async def of_task(self, task_id: str) -> list[WebhookDelivery]:
        """Those of the task's deliveries that were tried or settled, in no order."""
        ...

    async def deliver_again(self, tenant: str, deliveries: Sequence[WebhookDelivery], now: Millis) -> bool:
        """Write deliveries of one lane, PENDING and the earliest first, and have the lane go back to them at once.

        In one step, so that whoever takes the lane up meets all of them. False if their task is gone.
        """
        ...

    async def endpoint_health(self, tenant: str, endpoint: str) -> EndpointHealth:
        """How the endpoint has been doing."""
        ...

    async def endpoint_failed(self, tenant: str, endpoint: str, *, now: Millis, gone: bool, ttl: Millis) -> None:
        """Remember that the endpoint failed, `gone` that it wants no more; forgotten after `ttl` without a failure."""
        ...

    async def endpoint_works(self, tenant: str, endpoint: str) -> None:
        """Forget whatever was wrong with the endpoint."""
        ...
