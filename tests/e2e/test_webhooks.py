"""Webhooks as their receivers see them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from standardwebhooks import Webhook as Receiver

from taskcast.v1 import task_pb2
from tests.clients import calling
from tests.deadlines import eventually_async
from tests.endpoints import SECRET, Endpoint, Endpoints, answering, then

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
