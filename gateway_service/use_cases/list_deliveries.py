"""Show webhook deliveries: those on their way, those that arrived, those that were given up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_service.use_cases.get_task import find
from shared.domain.webhooks import DeliveryKey, DeliveryState, WebhookDelivery, endpoints_of, wants
from shared.ports import ListedDelivery

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.domain.task import Task
    from shared.domain.webhooks import StandingEndpoint
    from shared.ports import Deliveries, Record

LOOKED_AT = 1_000
"""How many deliveries one page looks at for those to the right URL, which is in no index."""

MOST_EVENTS = 1_000
"""Events of one task that are read at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """Conditions that a delivery must all meet; an empty one is met by every delivery."""

    task_id: str = ""
    url: str = ""
    states: frozenset[DeliveryState] = frozenset()

    def matches(self, delivery: WebhookDelivery) -> bool:
        """Whether the delivery meets every condition."""
        return (
            self.task_id in ("", delivery.key.task_id)
            and self.url in ("", delivery.url)
            and (not self.states or delivery.state in self.states)
        )


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """Some deliveries, newest first; `next` is where the following ones begin, None if there are none."""

    deliveries: tuple[WebhookDelivery, ...]
    next: ListedDelivery | None


class ListDeliveries:
    """Every delivery is listed from the moment its event is recorded, for as long as its task is kept."""

    def __init__(self, record: Record, deliveries: Deliveries, standing: Sequence[StandingEndpoint]) -> None:
        self._record = record
        self._deliveries = deliveries
        self._standing = standing

    async def __call__(
        self, tenant: str, wanted: DeliveryFilter, *, before: ListedDelivery | None, limit: int
    ) -> DeliveryPage:
        """One page of those that follow `before`; it may be short although more follow.

        Raises InvalidRequestError for a malformed task id, TaskNotFoundError, TaskExpiredError, or
        StoreUnavailableError.
        """
        if wanted.task_id:
            return await self._of_task(tenant, wanted, before, limit)
        looked_at = max(limit, LOOKED_AT) if wanted.url else limit
        places, more = await self._deliveries.page(
            tenant, wanted.states or frozenset(DeliveryState), before=before, limit=looked_at
        )
        found: list[WebhookDelivery] = []
        for place, delivery in zip(places, await self.read([place.key for place in places]), strict=True):
            if delivery is not None and wanted.matches(delivery):
                found.append(delivery)
                if len(found) == limit:
                    return DeliveryPage(tuple(found), place if more or place != places[-1] else None)
        return DeliveryPage(tuple(found), places[-1] if more else None)

    async def read(self, keys: Sequence[DeliveryKey]) -> list[WebhookDelivery | None]:
        """The deliveries as they stand; None for what is no delivery, or of a task that is gone."""
        found = await self._deliveries.read(keys)
        untried = [key for key, delivery in zip(keys, found, strict=True) if delivery is None]
        task_ids = list(dict.fromkeys(key.task_id for key in untried))
        tasks = dict(zip(task_ids, await self._record.read_many(task_ids), strict=True))
        return [
            await self._untried(tasks[key.task_id], key) if delivery is None else delivery
            for key, delivery in zip(keys, found, strict=True)
        ]

    async def _untried(self, task: Task | None, key: DeliveryKey) -> WebhookDelivery | None:
        """A delivery that was never tried: the record knows nothing of it but the event."""
        if task is None or (hook := endpoints_of(task.spec, self._standing).get(key.endpoint)) is None:
            return None
        for event in await self._record.read_events(key.task_id, after=key.sequence - 1, limit=1):
            if event.sequence == key.sequence and wants(hook, event):
                return WebhookDelivery(key=key, url=hook.url, event_type=event.type, create_time=event.time)
        return None

    async def _of_task(
        self, tenant: str, wanted: DeliveryFilter, before: ListedDelivery | None, limit: int
    ) -> DeliveryPage:
        task = await find(self._record, tenant, wanted.task_id, payload=False, result=False)
        deliveries = await self._all_of(task)
        places = {ListedDelivery(d.create_time, d.key): d for d in deliveries if wanted.matches(d)}
        following = sorted(
            (place for place in places if before is None or _order(place) < _order(before)), key=_order, reverse=True
        )
        page = following[:limit]
        return DeliveryPage(tuple(places[place] for place in page), page[-1] if len(following) > limit else None)

    async def _all_of(self, task: Task) -> list[WebhookDelivery]:
        hooks = endpoints_of(task.spec, self._standing)
        tried = {delivery.key: delivery for delivery in await self._deliveries.of_task(task.id)}
        after = 0
        while events := await self._record.read_events(task.id, after=after, limit=MOST_EVENTS):
            for event in events:
                for endpoint, hook in hooks.items():
                    key = DeliveryKey(task.id, event.sequence, endpoint)
                    if wants(hook, event) and key not in tried:
                        tried[key] = WebhookDelivery(
                            key=key, url=hook.url, event_type=event.type, create_time=event.time
                        )
            after = events[-1].sequence
        return list(tried.values())


def _order(place: ListedDelivery) -> tuple[int, int, str]:
    return place.create_time, place.key.sequence, place.key.endpoint
