"""The calls of webhook deliveries: between their messages and the use cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_service.faults import InvalidRequestError
from gateway_service.paging import mark_token, page_size, read_mark_token
from gateway_service.use_cases.list_deliveries import DeliveryFilter
from shared.codec import delivery_to_proto, from_timestamp
from shared.domain.identity import is_task_id
from shared.domain.submission import Violation
from shared.domain.webhooks import DeliveryKey, DeliveryState
from shared.ports import ListedDelivery
from taskcast.v1 import admin_service_pb2 as pb

if TYPE_CHECKING:
    from gateway_service.use_cases.list_deliveries import ListDeliveries
    from gateway_service.use_cases.redeliver import Redeliver

NANOS = 1_000_000_000

_STATES = {state.value for state in DeliveryState}


class DeliveryCalls:
    """Answers the calls of webhook deliveries for a tenant."""

    def __init__(self, listing: ListDeliveries, redeliver: Redeliver) -> None:
        self._listing = listing
        self._redeliver = redeliver

    async def list(self, tenant: str, request: pb.ListWebhookDeliveriesRequest) -> pb.ListWebhookDeliveriesResponse:
        """One page of deliveries."""
        limit = page_size(request.page_size)
        wanted = _filter(request.filter)
        listing = request.filter.SerializeToString(deterministic=True)
        mark = read_mark_token(request.page_token, listing)
        page = await self._listing(tenant, wanted, before=None if mark is None else _place(mark), limit=limit)
        return pb.ListWebhookDeliveriesResponse(
            deliveries=[delivery_to_proto(delivery) for delivery in page.deliveries],
            next_page_token=mark_token(None if page.next is None else _mark(page.next), listing),
        )

    async def redeliver(self, tenant: str, request: pb.RedeliverWebhookRequest) -> pb.RedeliverWebhookResponse:
        """Send again what the request names."""
        match request.WhichOneof("target"):
            case "delivery_id":
                count = await self._redeliver.one(tenant, request.delivery_id)
            case "failed":
                count = await self._redeliver.failed(tenant, request.failed.url, _since(request.failed))
            case _:
                raise InvalidRequestError([Violation("target", "must be set: a delivery_id, or failed with a url")])
        return pb.RedeliverWebhookResponse(count=count)


def _filter(message: pb.WebhookDeliveryFilter) -> DeliveryFilter:
    wrong = []
    if message.task_id and not is_task_id(message.task_id):
        wrong.append(Violation("filter.task_id", "must be a UUID in lower case, as SubmitTask answers it"))
    for index, state in enumerate(message.states):
        if state not in _STATES:
            wrong.append(Violation(f"filter.states[{index}]", f"{state} is no state of a delivery"))
    if wrong:
        raise InvalidRequestError(wrong)
    return DeliveryFilter(
        task_id=message.task_id, url=message.url, states=frozenset(DeliveryState(state) for state in message.states)
    )


def _since(failed: pb.FailedWebhookDeliveries) -> int:
    if not failed.HasField("since"):
        return 0
    if not 0 <= failed.since.nanos < NANOS:
        raise InvalidRequestError([Violation("failed.since", "must have nanos between 0 and 999,999,999")])
    return from_timestamp(failed.since)


def _mark(place: ListedDelivery) -> bytes:
    return f"{place.create_time}/{place.key.id}".encode()


def _place(mark: bytes) -> ListedDelivery:
    time, _, delivery_id = mark.decode().partition("/")
    key = DeliveryKey.of_id(delivery_id)
    assert key is not None  # The token is ours.
    return ListedDelivery(int(time), key)
