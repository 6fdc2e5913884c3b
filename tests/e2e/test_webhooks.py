"""Webhooks as their receivers see them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from standardwebhooks import Webhook as Receiver

from taskcast.v1 import admin_service_pb2 as pb
from taskcast.v1 import task_pb2, task_service_pb2
from tests.clients import calling, refusal
from tests.deadlines import eventually_async
from tests.endpoints import SECRET, Endpoint, Endpoints, answering, then
from tests.stack import record_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.endpoints import Received
    from tests.stack import Stack

pytestmark = pytest.mark.e2e


@pytest.fixture
async def endpoints() -> AsyncIterator[Endpoints]:
    async with Endpoints() as endpoints:
        yield endpoints


def hook(endpoint: Endpoint, *statuses: task_pb2.TaskStatus.ValueType, **headers: str) -> task_pb2.Webhook:
    return task_pb2.Webhook(url=endpoint.url, statuses=statuses, headers=headers)


async def until_accepted(endpoint: Endpoint, count: int, *, within: float = 20) -> list[Received]:
    async def look() -> bool:
        return len(endpoint.accepted) >= count

    await eventually_async(look, within=within, what=f"{count} webhooks, of which came {len(endpoint.accepted)}")
    return endpoint.accepted


async def test_every_change_of_status_is_told_signed_and_in_order(standing_stack: Stack, endpoints: Endpoints) -> None:
    endpoint = await endpoints.start(answering(200))
    async with calling(standing_stack.address) as caller:
        task = await caller.submit("test.steps", {"steps": 3}, webhooks=[hook(endpoint, **{"X-Key": "k"})])
        received = await until_accepted(endpoint, 3)
    assert [json.loads(each.body)["type"] for each in received] == ["task.waiting", "task.processing", "task.success"]
    assert {each.task_id for each in received} == {task.id}
    assert received[-1].data["result"] == {"steps": 3, "attempt": 1}
    for each in received:
        Receiver(SECRET).verify(each.body, each.headers)
        assert each.headers["x-key"] == "k"
        assert each.id == f"{task.id}-{each.sequence}-0"


async def test_an_endpoint_hears_of_the_statuses_that_it_asked_for(standing_stack: Stack, endpoints: Endpoints) -> None:
    ends = await endpoints.start(answering(200))
    everything = await endpoints.start(answering(200))
    hooks = [hook(ends, task_pb2.TASK_STATUS_FAILED), hook(everything)]
    async with calling(standing_stack.address) as caller:
        await caller.submit("test.fail", webhooks=hooks)
        await until_accepted(everything, 3)
        [only] = await until_accepted(ends, 1)
    assert only.data["error"]["code"] == "NO_LUCK"


async def test_what_was_refused_is_sent_again_and_later_events_wait_for_it(
    own_stack: Stack, endpoints: Endpoints
) -> None:
    endpoint = await endpoints.start(then(answering(500), 2, answering(200)))
    own_stack.new_worker(TASKCAST_WEBHOOK_RETRY_SECONDS="0.2,0.2,0.2")
    own_stack.start(workers=0)
    async with calling(own_stack.address) as caller:
        await caller.submit("test.echo", webhooks=[hook(endpoint)])
        await until_accepted(endpoint, 3)
    assert [each.sequence for each in endpoint.received] == [1, 1, 1, 2, 3]
    assert len({each.headers["webhook-id"] for each in endpoint.received[:3]}) == 1


async def test_deliveries_are_listed_by_task_by_endpoint_and_by_state(
    standing_stack: Stack, endpoints: Endpoints
) -> None:
    good, gone = await endpoints.start(answering(200)), await endpoints.start(answering(410))
    async with calling(standing_stack.address) as caller:
        tasks = [await caller.submit("test.echo", webhooks=[hook(good), hook(gone)]) for _ in range(3)]
        await until_accepted(good, 9)

        async def settled() -> bool:
            return len(await caller.deliveries(url=gone.url, states=[pb.WEBHOOK_DELIVERY_STATE_FAILED])) == 9

        await eventually_async(settled, within=20, what="the others to be given up")

        of_one = await caller.deliveries(task_id=tasks[1].id)
        assert [(d.sequence, d.url) for d in of_one] == [
            (sequence, url) for sequence in (3, 2, 1) for url in (gone.url, good.url)
        ]
        assert of_one == await caller.deliveries(task_id=tasks[1].id, page_size=1)
        delivered = await caller.deliveries(url=good.url)
        assert {d.state for d in delivered} == {pb.WEBHOOK_DELIVERY_STATE_DELIVERED}
        assert len(delivered) == 9
        times = [d.create_time.ToNanoseconds() for d in await caller.deliveries(page_size=2)]
        assert times == sorted(times, reverse=True)

        [first] = [d for d in await caller.deliveries(task_id=tasks[0].id, url=gone.url) if d.sequence == 1]
        assert (first.tries, first.last_status_code) == (1, 410)
        assert first.last_error == "The endpoint wants no more (410)."
        assert first.HasField("end_time")
        assert first.event_type == task_pb2.TaskEvent.TYPE_SUBMITTED


async def test_one_delivery_is_sent_again_under_the_same_id(standing_stack: Stack, endpoints: Endpoints) -> None:
    endpoint = await endpoints.start(answering(200))
    async with calling(standing_stack.address) as caller:
        task = await caller.submit("test.echo", webhooks=[hook(endpoint)])
        before = await until_accepted(endpoint, 3)
        assert await caller.redeliver(f"{task.id}-2-0") == 1
        after = await until_accepted(endpoint, 4)
    assert after[-1].id == before[1].id
    assert after[-1].body == before[1].body


async def test_an_endpoint_that_wanted_no_more_is_enabled_by_a_redelivery(
    standing_stack: Stack, endpoints: Endpoints
) -> None:
    endpoint = await endpoints.start(then(answering(410), 1, answering(200)))
    async with calling(standing_stack.address) as caller:
        await caller.submit("test.echo", webhooks=[hook(endpoint)])

        async def given_up() -> bool:
            return len(await caller.deliveries(url=endpoint.url, states=[pb.WEBHOOK_DELIVERY_STATE_FAILED])) == 3

        await eventually_async(given_up, within=20, what="all to be given up")
        assert len(endpoint.received) == 1
        assert await caller.redeliver_failed(endpoint.url, since=in_an_hour()) == 0
        assert await caller.redeliver_failed(endpoint.url) == 3
        received = await until_accepted(endpoint, 3)
    assert [each.sequence for each in received] == [1, 2, 3]


async def test_a_pending_delivery_shows_what_went_wrong(own_stack: Stack, endpoints: Endpoints) -> None:
    endpoint = await endpoints.start(answering(503, retry_after="60"))
    own_stack.start()
    async with calling(own_stack.address) as caller:
        task = await caller.submit("test.echo", webhooks=[hook(endpoint)])
        await caller.until_finished(task.id)

        async def tried() -> pb.WebhookDelivery | None:
            return next((d for d in await caller.deliveries(task_id=task.id) if d.tries), None)

        delivery = await eventually_async(tried, within=10, what="a try")
        assert delivery is not None
        assert (delivery.state, delivery.last_status_code) == (pb.WEBHOOK_DELIVERY_STATE_PENDING, 503)
        assert delivery.last_error == "The endpoint did not accept (HTTP 503)."
        assert 50 < delivery.next_try_time.seconds - delivery.last_try_time.seconds < 90
        states = {d.state for d in await caller.deliveries(states=[pb.WEBHOOK_DELIVERY_STATE_PENDING])}
        assert states == {pb.WEBHOOK_DELIVERY_STATE_PENDING}
        assert [d.sequence for d in await caller.deliveries(task_id=task.id)] == [3, 2, 1]


def in_an_hour() -> Timestamp:
    return Timestamp(seconds=int(record_time()) + 3_600)


NOT_AN_ID = "no-id"
UNKNOWN_TASK = "0190d0a8-6f2e-7c3a-9b1d-2f4e6a8c0b5e"
BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "a negative page size": ("ListWebhookDeliveries", {"page_size": -1}, "page_size"),
    "a foreign page token": ("ListWebhookDeliveries", {"page_token": "AAAA"}, "page_token"),
    "a malformed task": ("ListWebhookDeliveries", {"filter": {"task_id": NOT_AN_ID}}, "filter.task_id"),
    "an unknown state": ("ListWebhookDeliveries", {"filter": {"states": [1, 9]}}, "filter.states[1]"),
    "no target": ("RedeliverWebhook", {}, "target"),
    "a malformed delivery": ("RedeliverWebhook", {"delivery_id": NOT_AN_ID}, "delivery_id"),
    "no endpoint": ("RedeliverWebhook", {"failed": {}}, "failed.url"),
    "bad nanos": ("RedeliverWebhook", {"failed": {"url": "http://a/", "since": {"nanos": -1}}}, "failed.since"),
}


@pytest.mark.parametrize("what", BAD)
async def test_a_bad_request_is_refused_with_the_field(standing_stack: Stack, what: str) -> None:
    method, fields, field = BAD[what]
    async with calling(standing_stack.address) as caller:
        request: Any = getattr(pb, f"{method}Request")(**fields)
        problem = await refusal(getattr(caller.admin, method)(request, timeout=10))
    assert problem.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (problem.reason, problem.fields) == ("INVALID_REQUEST", (field,))


async def test_a_token_of_another_listing_is_refused(standing_stack: Stack, endpoints: Endpoints) -> None:
    endpoint = await endpoints.start(answering(200))
    async with calling(standing_stack.address) as caller:
        await caller.submit("test.echo", webhooks=[hook(endpoint)])
        await until_accepted(endpoint, 3)
        page = await caller.admin.ListWebhookDeliveries(pb.ListWebhookDeliveriesRequest(page_size=1), timeout=10)
        assert page.next_page_token
        other = pb.ListWebhookDeliveriesRequest(page_token=page.next_page_token, filter={"url": endpoint.url})  # type: ignore[arg-type]
        problem = await refusal(caller.admin.ListWebhookDeliveries(other, timeout=10))
    assert problem.fields == ("page_token",)


@pytest.mark.parametrize("delivery_id", [f"{UNKNOWN_TASK}-1-0", "the task's fourth event", "an endpoint it has not"])
async def test_a_delivery_that_is_not_there_is_not_found(standing_stack: Stack, delivery_id: str) -> None:
    async with calling(standing_stack.address) as caller:
        task = await caller.submit("test.fail", webhooks=[])
        ids = {"the task's fourth event": f"{task.id}-4-0", "an endpoint it has not": f"{task.id}-1-0"}
        request = pb.RedeliverWebhookRequest(delivery_id=ids.get(delivery_id, delivery_id))
        problem = await refusal(caller.admin.RedeliverWebhook(request, timeout=10))
    assert (problem.code, problem.reason) == (grpc.StatusCode.NOT_FOUND, "DELIVERY_NOT_FOUND")


async def test_a_server_without_a_secret_takes_no_webhooks(own_stack: Stack) -> None:
    own_stack.new_gateway(TASKCAST_WEBHOOK_SECRET="")
    own_stack.start(gateways=0, workers=0)
    async with calling(own_stack.address) as caller:
        request = task_service_pb2.SubmitTaskRequest(
            type="test.echo", webhooks=[task_pb2.Webhook(url="https://example.com/hook")]
        )
        problem = await refusal(caller.stub.SubmitTask(request, timeout=10))
        assert (problem.code, problem.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "WEBHOOKS_UNSIGNED")
        await caller.submit("test.echo")


async def test_tasks_and_webhooks_can_be_left_to_different_processes(own_stack: Stack, endpoints: Endpoints) -> None:
    endpoint = await endpoints.start(answering(200))
    own_stack.new_worker(WORKER_ROLE="tasks")
    own_stack.new_worker(WORKER_ROLE="webhooks", WORKER_HANDLERS="")
    own_stack.start(workers=0)
    async with calling(own_stack.address) as caller:
        task = await caller.submit("test.echo", webhooks=[hook(endpoint)])
        await until_accepted(endpoint, 3)
        assert (await caller.get(task.id)).status == task_pb2.TASK_STATUS_SUCCESS


@pytest.mark.soak
async def test_a_webhook_outlives_its_tasks_retention(own_stack: Stack, endpoints: Endpoints) -> None:
    endpoint = await endpoints.start(then(answering(500), 1, answering(200)))
    own_stack.new_worker(TASKCAST_WEBHOOK_RETRY_SECONDS="14")
    own_stack.start(workers=0)
    async with calling(own_stack.address) as caller:
        # Kept for 10 s once it has finished, but the first webhook is tried again only after 14.
        await caller.submit("test.echo", webhooks=[hook(endpoint)], retention=Duration())
        await until_accepted(endpoint, 3, within=40)
    assert [each.sequence for each in endpoint.accepted] == [1, 2, 3]
