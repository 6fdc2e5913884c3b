from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from taskcast.client import Client
from taskcast.v1 import admin_service_pb2 as pb
from tests.unit.scripted_gateway import ScriptedGateway, scripted_gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    async with scripted_gateway() as gateway:
        yield gateway


@pytest.fixture
async def client(gateway: ScriptedGateway) -> AsyncIterator[Client]:
    async with Client(gateway.address, deadline=5) as client:
        yield client


def page(*names: str, following: str = "") -> pb.ListWebhookDeliveriesResponse:
    deliveries = [pb.WebhookDelivery(id=name) for name in names]
    return pb.ListWebhookDeliveriesResponse(deliveries=deliveries, next_page_token=following)


async def test_deliveries_are_read_over_all_pages_with_the_filter(gateway: ScriptedGateway, client: Client) -> None:
    gateway.answers.extend([page("c", following="1"), page(following="2"), page("b", "a")])
    matching = pb.WebhookDeliveryFilter(url="https://a/", states=[pb.WEBHOOK_DELIVERY_STATE_FAILED])
    assert [delivery.id async for delivery in client.webhook_deliveries(matching, page_size=1)] == ["c", "b", "a"]
    assert [request.page_token for request in gateway.requests] == ["", "1", "2"]
    assert all(request.filter == matching and request.page_size == 1 for request in gateway.requests)


async def test_one_delivery_is_asked_for_again_by_its_id(gateway: ScriptedGateway, client: Client) -> None:
    gateway.answers.append(pb.RedeliverWebhookResponse(count=1))
    await client.redeliver_webhook("the-id")
    assert gateway.requests[0].delivery_id == "the-id"


async def test_failed_deliveries_are_asked_for_again_by_endpoint_and_time(
    gateway: ScriptedGateway, client: Client
) -> None:
    gateway.answers.extend([pb.RedeliverWebhookResponse(count=7), pb.RedeliverWebhookResponse()])
    since = datetime(2026, 1, 2, tzinfo=UTC)
    assert await client.redeliver_failed_webhooks("https://a/", since) == 7
    assert await client.redeliver_failed_webhooks("https://a/") == 0
    first, second = (request.failed for request in gateway.requests)
    assert (first.url, first.since.ToDatetime(UTC)) == ("https://a/", since)
    assert not second.HasField("since")


async def test_a_time_without_a_zone_is_refused_before_anything_is_sent(
    gateway: ScriptedGateway, client: Client
) -> None:
    with pytest.raises(ValueError, match="time zone"):
        await client.redeliver_failed_webhooks("https://a/", datetime(2026, 1, 2))  # noqa: DTZ001
    assert gateway.requests == []
