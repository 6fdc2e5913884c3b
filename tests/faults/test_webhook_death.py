"""I10: a webhook arrives at least once, in order, whoever dies on the way."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import pytest

from taskcast.v1 import admin_service_pb2 as pb
from taskcast.v1 import task_pb2
from tests.clients import calling
from tests.deadlines import eventually_async
from tests.endpoints import NEW_SECRET, SECRET, Endpoints, answering, then
from tests.stack import Stack
from tests.webhook_fleet import fleet_of_twenty

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.clients import Caller
    from tests.servers import PrivateRabbitMQ, ValkeyFactory
    from tests.services import Service

pytestmark = pytest.mark.faults

LAST_EVENT = 5
"""SUBMITTED, STARTED, RETRY_SCHEDULED, STARTED, SUCCEEDED."""

QUICK = {
    "TASKCAST_WEBHOOK_TIMEOUT_SECONDS": "1",
    "TASKCAST_WEBHOOK_RETRY_SECONDS": "0.2,0.5,1,2,4,8,16",
}


async def submit_somehow(caller: Caller, number: int, ids: list[str]) -> None:
    """Submit one task, trying again while the stores are away; the request_id keeps it one task."""
    while True:
        try:
            task = await caller.submit(
                "test.flaky", {"succeeds_at": 2}, labels={"fleet": "yes"}, request_id=f"hooked-{number}", within=5
            )
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.1)
        else:
            ids.append(task.id)
            return


def reborn(service: Service) -> None:
    service.kill()
    service.launch()


@dataclass(frozen=True, slots=True)
class Storm:
    """How much is sent, and how much dies meanwhile. `every`: seconds between two deaths."""

    tasks: int
    every: float
    rounds: int
    within: float


@pytest.mark.parametrize(
    "storm",
    [
        pytest.param(Storm(tasks=20, every=1.0, rounds=1, within=90), id="20 tasks"),
        pytest.param(
            Storm(tasks=1_000, every=4.0, rounds=4, within=900),
            id="1,000 tasks",
            marks=[pytest.mark.soak, pytest.mark.timeout(1_800)],
        ),
    ],
)
async def test_all_webhooks_arrive_in_order_while_one_after_the_other_is_killed(
    tmp_path: Path, rabbit: PrivateRabbitMQ, valkey_factory: ValkeyFactory, storm: Storm
) -> None:
    store = valkey_factory(appendonly=True, settings={"appendfsync": "always"})
    async with fleet_of_twenty() as fleet:
        fleet.write(tmp_path / "webhooks.toml")
        settings = {
            **QUICK,
            "TASKCAST_WEBHOOKS_FILE": str(tmp_path / "webhooks.toml"),
            "TASKCAST_WEBHOOK_SECRET": f"{NEW_SECRET},{SECRET}",
        }
        with Stack(
            tmp_path / "stack", redis_url=store.url, rabbitmq_url=rabbit.url, settings=settings, tidy=False
        ) as stack:
            stack.new_worker(WORKER_ROLE="tasks")
            stack.new_worker(WORKER_ROLE="webhooks")
            stack.start(workers=0)
            worker, dispatcher = stack.workers
            kills: list[Callable[[], None]] = [
                lambda: reborn(dispatcher),
                lambda: reborn(worker),
                rabbit.restart,
                store.restart,
            ]
            ids: list[str] = []
            async with calling(stack.address) as caller:
                submitting = [asyncio.create_task(submit_somehow(caller, n, ids)) for n in range(storm.tasks)]
                for _ in range(storm.rounds):
                    for kill in kills:
                        await asyncio.sleep(storm.every)  # The time between two deaths is what is tested.
                        await asyncio.to_thread(kill)
                await asyncio.gather(*submitting)
                told = dict.fromkeys(ids, LAST_EVENT)
                assert len(told) == storm.tasks

                for task_id in told:
                    task = await caller.until_finished(task_id, within=storm.within)
                    told[task_id] = task.sequence
                await fleet.until_told(fleet.good, told, within=storm.within)
                fleet.check_order(told)
                assert fleet.trap.received == []

                # The others are given up visibly, or still on their way.
                for name, endpoint in fleet.bad.items():
                    listed = await caller.deliveries(url=endpoint.url)
                    assert len(listed) == sum(told.values()), name
                    assert {d.state for d in listed} <= {
                        pb.WEBHOOK_DELIVERY_STATE_FAILED,
                        pb.WEBHOOK_DELIVERY_STATE_PENDING,
                    }


async def test_a_dispatcher_that_dies_before_it_noted_the_answer_has_the_webhook_sent_again(
    tmp_path: Path, own_stack: Stack
) -> None:
    async with Endpoints() as endpoints:
        endpoint = await endpoints.start(answering(200))
        doomed = own_stack.new_worker(**QUICK, WORKER_ROLE="webhooks", TASKCAST_FAILPOINTS="webhook.sent")
        own_stack.new_worker(WORKER_ROLE="tasks")
        own_stack.start(workers=0)
        async with calling(own_stack.address) as caller:
            hook = [task_pb2.Webhook(url=endpoint.url)]
            task = await caller.submit("test.echo", webhooks=hook)
            await eventually_async(lambda: _dead(doomed), within=20, what="the dispatcher to die")
            heir = own_stack.new_worker(**QUICK, WORKER_ROLE="webhooks")
            await asyncio.to_thread(heir.start)

            async def all_told() -> bool:
                return endpoint.stories.get(task.id) == [1, 2, 3]

            await eventually_async(all_told, within=30, what="all webhooks")
            assert [received.sequence for received in endpoint.received][:2] == [1, 1]
            states = {d.state for d in await caller.deliveries(task_id=task.id)}
            assert states == {pb.WEBHOOK_DELIVERY_STATE_DELIVERED}


async def _dead(service: Service) -> bool:
    return not service.running


async def test_without_rabbitmq_webhooks_are_found_in_the_record(
    stack_on_rabbit: Stack, rabbit: PrivateRabbitMQ
) -> None:
    async with Endpoints() as endpoints:
        endpoint = await endpoints.start(then(answering(500), 1, answering(200)))
        stack_on_rabbit.new_worker(**QUICK)
        stack_on_rabbit.start(workers=0)
        async with calling(stack_on_rabbit.address) as caller:
            rabbit.kill()
            task = await caller.submit("test.echo", webhooks=[task_pb2.Webhook(url=endpoint.url)])

            async def told() -> bool:
                return endpoint.stories.get(task.id) == [1]

            await eventually_async(told, within=20, what="the first webhook")
