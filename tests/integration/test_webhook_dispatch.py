"""The dispatcher on a real record, against endpoints in this process."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from shared.adapters.redis import RedisRecord
from shared.clock import RecordClock
from shared.codec import decode_news
from shared.domain.breaker import BreakerTerms
from shared.domain.commands import Claim, Submit, Succeed
from shared.domain.identity import PARTITION_NAMES
from shared.domain.task import AttemptTerms, TaskSpec, Webhook
from shared.domain.webhooks import DeliveryKey, DeliveryState, StandingEndpoint, endpoint_of
from shared.journal import Done, Journal
from shared.json_values import encode_json
from shared.ports import Lane
from shared.webhook_secrets import Secrets
from tests.contract.changes import new_task_id
from tests.deadlines import eventually_async
from tests.endpoints import LOOPBACK, SECRET, Endpoint, Endpoints, answering, hanging, then
from tests.stack import delete_keys
from worker_service.webhooks.courier import Courier
from worker_service.webhooks.dispatcher import Dispatcher
from worker_service.webhooks.health import Health
from worker_service.webhooks.hosts import Hosts
from worker_service.webhooks.sender import Sender

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.domain.webhooks import WebhookDelivery

pytestmark = pytest.mark.integration

TENANT = "acme"
OK = answering(200)
SPEC = TaskSpec(type="report.render", payload=encode_json(None, "payload"))
BREAKER = BreakerTerms(threshold=3, first_pause=200, longest_pause=400, probe_limit=5_000, probe_look=50)


@dataclass
class World:
    """A record, whoever writes to it, and one dispatcher."""

    record: RedisRecord
    clock: RecordClock
    journal: Journal
    dispatcher: Dispatcher
    health: Health

    async def run(self, *endpoints: Endpoint, result: object = None) -> str:
        """A task that succeeds and tells these endpoints; its id."""
        task_id = new_task_id()
        spec = replace(SPEC, webhooks=tuple(Webhook(url=endpoint.url) for endpoint in endpoints))
        made = await self.journal.create(task_id, Submit(task_id=task_id, tenant=TENANT, spec=spec))
        assert isinstance(made, Done)
        claim = Claim(worker="worker-1", terms=AttemptTerms(), lease=10_000)
        await self.journal.execute(task_id, claim)
        await self.journal.execute(task_id, Succeed(attempt=1, result=encode_json(result, "result")))
        return task_id

    async def delivery(self, task_id: str, sequence: int, endpoint: str = "0") -> WebhookDelivery | None:
        (found,) = await self.record.deliveries.read([DeliveryKey(task_id, sequence, endpoint)])
        return found

    async def until_settled(self, task_id: str, endpoint: str = "0") -> list[WebhookDelivery]:
        """The three deliveries of a task that succeeded, once none is pending; rounds go on meanwhile."""

        async def look() -> list[WebhookDelivery]:
            await self.dispatcher.look()
            found = [await self.delivery(task_id, sequence, endpoint) for sequence in (1, 2, 3)]
            settled = [each for each in found if each is not None and each.state is not DeliveryState.PENDING]
            return settled if len(settled) == 3 else []

        return await eventually_async(look, within=10, what="all deliveries to be settled")


@asynccontextmanager
async def world(
    redis_url: str,
    prefix: str,
    *,
    secrets: Secrets | None = None,
    written: tuple[StandingEndpoint, ...] = (),
    standing: tuple[StandingEndpoint, ...] = (),
    schedule: tuple[int, ...] = (50, 50, 50),
    disable_after: int = 60_000,
) -> AsyncIterator[World]:
    """`written` are the endpoints of the service that those who write know, `standing` those of the dispatcher."""
    record = RedisRecord(redis_url, prefix=prefix)
    clock = RecordClock(record)
    await clock.synchronise()
    async with Sender(LOOPBACK, timeout=0.3, connections=32, connections_per_host=8) as sender:
        health = Health(record.deliveries, BREAKER, disable_after=disable_after)
        courier = Courier(
            record,
            clock,
            sender,
            Hosts(slots=2, patience=0.3),
            health,
            secrets=secrets or Secrets((SECRET,)),
            schedule=schedule,
            concurrency=16,
        )
        dispatcher = Dispatcher(
            record, record.deliveries, courier, clock, name="dispatcher-1", standing=standing, hold=2_000
        )

        def announce(body: bytes) -> None:
            task_id, endpoints = decode_news(body)
            dispatcher.take_up(Lane(task_id, endpoint) for endpoint in endpoints)

        journal = Journal(record, clock, lambda _key, _body: None, announce=announce, standing=written)
        yield World(record, clock, journal, dispatcher, health)
        await dispatcher.close(1)
    await record.close()
    delete_keys(redis_url, prefix)


@pytest.fixture
async def endpoints() -> AsyncIterator[Endpoints]:
    async with Endpoints() as endpoints:
        yield endpoints


async def test_a_large_result_is_fetched_and_left_out_and_a_small_one_sent(
    redis_url: str, key_prefix: str, endpoints: Endpoints
) -> None:
    endpoint = await endpoints.start(OK)
    async with world(redis_url, key_prefix) as here:
        small = await here.run(endpoint, result={"pages": 1})
        large = await here.run(endpoint, result="x" * 30_000)
        for task_id in (small, large):
            await here.until_settled(task_id)
    ends = {received.task_id: received.data for received in endpoint.received if received.sequence == 3}
    assert ends[small]["result"] == {"pages": 1}
    assert "result" not in ends[large]
    assert any(b'"note"' in received.body for received in endpoint.received)


async def test_without_a_secret_nothing_is_sent_and_the_delivery_says_why(
    redis_url: str, key_prefix: str, endpoints: Endpoints
) -> None:
    endpoint = await endpoints.start(OK)
    async with world(redis_url, key_prefix, secrets=Secrets()) as here:
        deliveries = await here.until_settled(await here.run(endpoint))
    assert endpoint.received == []
    assert {each.last_error for each in deliveries} == {"There is no secret to sign it with."}


async def test_an_endpoint_that_the_settings_no_longer_name_is_given_up(
    redis_url: str, key_prefix: str, endpoints: Endpoints
) -> None:
    endpoint = await endpoints.start(OK)
    audit = StandingEndpoint(name="audit", hook=Webhook(url=endpoint.url))
    async with world(redis_url, key_prefix, written=(audit,)) as here:
        deliveries = await here.until_settled(await here.run(), "audit")
    assert {each.state for each in deliveries} == {DeliveryState.FAILED}
    assert {each.last_error for each in deliveries} == {"The settings name this endpoint no longer."}


async def test_an_endpoint_of_the_service_hears_of_every_task(
    redis_url: str, key_prefix: str, endpoints: Endpoints
) -> None:
    endpoint = await endpoints.start(OK)
    audit = StandingEndpoint(name="audit", hook=Webhook(url=endpoint.url))
    async with world(redis_url, key_prefix, written=(audit,), standing=(audit,)) as here:
        task_id = await here.run()
        deliveries = await here.until_settled(task_id, "audit")
    assert [each.state for each in deliveries] == [DeliveryState.DELIVERED] * 3
    assert endpoint.stories == {task_id: [1, 2, 3]}


async def test_an_endpoint_that_has_only_failed_for_too_long_is_disabled_until_it_is_enabled(
    redis_url: str, key_prefix: str, endpoints: Endpoints
) -> None:
    endpoint = await endpoints.start(answering(500))
    schedule = (50,) * 100
    async with world(redis_url, key_prefix, disable_after=400, schedule=schedule) as here:
        first = await here.until_settled(await here.run(endpoint))
        assert {each.last_error for each in first} == {
            "The endpoint is disabled, since it has only failed for too long."
        }
        tries = len(endpoint.received)
        assert (await here.until_settled(await here.run(endpoint)))[0].tries == 0
        assert len(endpoint.received) == tries

        endpoint.script = OK
        await here.record.deliveries.endpoint_works(TENANT, endpoint_of(endpoint.url))
        again = await here.until_settled(await here.run(endpoint))
        assert {each.state for each in again} == {DeliveryState.DELIVERED}


async def test_an_endpoint_that_fails_is_left_alone_for_a_while_and_then_asked_once(
    redis_url: str, key_prefix: str, endpoints: Endpoints
) -> None:
    endpoint = await endpoints.start(answering(500))
    async with world(redis_url, key_prefix, schedule=(10,) * 100) as here:
        tasks = [await here.run(endpoint) for _ in range(10)]

        async def it_is_left_alone() -> bool:
            await here.dispatcher.look()
            admission = await here.health.admit(TENANT, endpoint_of(endpoint.url), here.clock.now())
            return admission.wait_until is not None

        await eventually_async(it_is_left_alone, within=5, what="the breaker to open")
        before = len(endpoint.received)
        # Two slots: no more than two tries were under way when the third failure opened it.
        assert before <= BREAKER.threshold + 2
        endpoint.script = OK
        for task_id in tasks:
            await here.until_settled(task_id)
    assert all(story == [1, 2, 3] for story in endpoint.stories.values())


async def test_one_that_hangs_holds_up_nobody_else(redis_url: str, key_prefix: str, endpoints: Endpoints) -> None:
    ill, well = await endpoints.start(hanging), await endpoints.start(then(answering(503), 1, OK))
    async with world(redis_url, key_prefix) as here:
        tasks = [await here.run(ill, well) for _ in range(5)]
        for task_id in tasks:
            deliveries = await here.until_settled(task_id, "1")
            assert {each.state for each in deliveries} == {DeliveryState.DELIVERED}
    assert all(well.stories[task_id] == [1, 2, 3] for task_id in tasks)
    assert ill.accepted == []


async def test_two_dispatchers_share_the_partitions_and_send_nothing_twice(
    redis_url: str, key_prefix: str, endpoints: Endpoints
) -> None:
    endpoint = await endpoints.start(OK)
    async with world(redis_url, key_prefix) as one, world(redis_url, key_prefix) as two:
        lanes = [Lane(await one.run(endpoint), "0") for _ in range(10)]
        two.dispatcher.take_up(lanes)
        for lane in lanes:
            await one.until_settled(lane.task_id)
        assert await one.record.deliveries.due(PARTITION_NAMES, until=one.clock.now() + 60_000, limit=10) == []
    assert len(endpoint.received) == 30
