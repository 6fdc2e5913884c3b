"""Send webhooks again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway_service.faults import DeliveryNotFoundError, InvalidRequestError
from shared.codec import encode_news
from shared.domain.submission import Violation
from shared.domain.webhooks import DeliveryKey, DeliveryState, begin_again, endpoint_of
from shared.ports import Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway_service.use_cases.list_deliveries import ListDeliveries
    from shared.domain.task import Millis
    from shared.domain.webhooks import WebhookDelivery
    from shared.ports import Clock, Deliveries, ListedDelivery, Record

BATCH = 256


class Redeliver:
    """A delivery that is sent again is PENDING, keeps its id, and begins its tries anew; its endpoint is enabled."""

    def __init__(
        self,
        record: Record,
        deliveries: Deliveries,
        listing: ListDeliveries,
        clock: Clock,
        announce: Callable[[bytes], None],
    ) -> None:
        """`announce` is `Broker.announce`."""
        self._record = record
        self._deliveries = deliveries
        self._listing = listing
        self._clock = clock
        self._announce = announce

    async def one(self, tenant: str, delivery_id: str) -> int:
        """Send one delivery again, whatever its state; 1.

        Raises InvalidRequestError for what is no id of a delivery, DeliveryNotFoundError, or StoreUnavailableError.
        """
        key = DeliveryKey.of_id(delivery_id)
        if key is None:
            raise InvalidRequestError([Violation("delivery_id", "must be an id as ListWebhookDeliveries answers it")])
        task = await self._record.read(key.task_id, payload=False, result=False)
        (delivery,) = await self._listing.read([key])
        if task is None or task.tenant != tenant or delivery is None:
            raise DeliveryNotFoundError(delivery_id)
        await self._deliveries.endpoint_works(tenant, endpoint_of(delivery.url))
        if not await self._again(tenant, [delivery]):
            raise DeliveryNotFoundError(delivery_id)
        return 1

    async def failed(self, tenant: str, url: str, since: Millis) -> int:
        """Send again what was given up for an endpoint at `since` or later; how many these are.

        Raises InvalidRequestError without a URL, or StoreUnavailableError: then some may be sent again already.
        """
        if not url:
            raise InvalidRequestError([Violation("failed.url", "must not be empty")])
        await self._deliveries.endpoint_works(tenant, endpoint_of(url))
        count = 0
        before: ListedDelivery | None = None
        more = True
        while more:
            places, more = await self._deliveries.page(tenant, [DeliveryState.FAILED], before=before, limit=BATCH)
            before = places[-1] if places else before
            lanes = dict.fromkeys(Lane(place.key.task_id, place.key.endpoint) for place in places)
            count += sum(await asyncio.gather(*(self._lane(tenant, lane, url, since) for lane in lanes)))
        return count

    async def _lane(self, tenant: str, lane: Lane, url: str, since: Millis) -> int:
        """Send again what was given up of one lane: the earliest first, so that it arrives in order."""
        chosen = [
            delivery
            for delivery in await self._deliveries.of_task(lane.task_id)
            if delivery.key.endpoint == lane.endpoint and _was_given_up(delivery, url, since)
        ]
        chosen.sort(key=lambda delivery: delivery.key.sequence)
        return len(chosen) if chosen and await self._again(tenant, chosen) else 0

    async def _again(self, tenant: str, deliveries: Sequence[WebhookDelivery]) -> bool:
        now = self._clock.now()
        anew = [begin_again(delivery, now) for delivery in deliveries]
        done = await self._deliveries.deliver_again(tenant, anew, now)
        if done:
            self._announce(encode_news(anew[0].key.task_id, (anew[0].key.endpoint,)))
        return done


def _was_given_up(delivery: WebhookDelivery, url: str, since: Millis) -> bool:
    return delivery.state is DeliveryState.FAILED and delivery.url == url and (delivery.end_time or 0) >= since
