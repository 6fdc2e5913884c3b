"""Many tasks, many changes, twenty endpoints of every temper: what is accepted came in order, and the rest shows."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from benchmarks.webhooks import measure_webhooks
from taskcast.v1 import admin_service_pb2 as pb
from tests.clients import calling
from tests.deadlines import eventually_async
from tests.endpoints import NEW_SECRET, SECRET
from tests.webhook_fleet import fleet_of_twenty

if TYPE_CHECKING:
    from pathlib import Path

    from tests.clients import Caller
    from tests.stack import Stack

pytestmark = pytest.mark.e2e

LAST_EVENT = 5
"""SUBMITTED, STARTED, RETRY_SCHEDULED, STARTED, SUCCEEDED."""


SUBMITS_AT_ONCE = 20


@pytest.mark.parametrize(
    ("tasks", "timeout", "within"),
    [
        pytest.param(20, 1, 60, id="20 tasks"),
        # The endpoints share a process and two cores with all that makes the load: they may take their time.
        pytest.param(1_000, 5, 900, id="1,000 tasks", marks=[pytest.mark.soak, pytest.mark.timeout(1_800)]),
    ],
)
async def test_what_is_accepted_arrives_in_order_and_what_is_given_up_is_sent_again_on_demand(
    own_stack: Stack, tmp_path: Path, tasks: int, timeout: int, within: float
) -> None:
    async with fleet_of_twenty() as fleet:
        fleet.write(tmp_path / "webhooks.toml")
        settings = {
            "TASKCAST_WEBHOOKS_FILE": str(tmp_path / "webhooks.toml"),
            "TASKCAST_WEBHOOK_SECRET": f"{NEW_SECRET},{SECRET}",
            "TASKCAST_WEBHOOK_TIMEOUT_SECONDS": str(timeout),
            "TASKCAST_WEBHOOK_RETRY_SECONDS": "0.2,0.5,1,2,4,8,16",
            "TASKCAST_WEBHOOK_DISABLE_SECONDS": str(3 * timeout),
        }
        own_stack.new_gateway(**settings)
        own_stack.new_worker(**settings)
        own_stack.start(gateways=0, workers=0)
        began = time.monotonic()
        async with calling(own_stack.address) as caller:
            room = asyncio.Semaphore(SUBMITS_AT_ONCE)

            async def submit() -> str:
                async with room:
                    return (await caller.submit("test.flaky", {"succeeds_at": 2}, labels={"fleet": "yes"})).id

            told = dict.fromkeys(await asyncio.gather(*(submit() for _ in range(tasks))), LAST_EVENT)
            await fleet.until_told(fleet.good, told, within=within)
            took = time.monotonic() - began
            fleet.check_order(told)
            print(f"{tasks * LAST_EVENT * len(fleet.good) / took:.0f} accepted a second")
            assert fleet.trap.received == []

            for name, endpoint in fleet.bad.items():
                print(name)
                await until_given_up(caller, endpoint.url, tasks * LAST_EVENT, within=within)
                assert endpoint.accepted == []
            fleet.mend()
            for endpoint in fleet.bad.values():
                assert await caller.redeliver_failed(endpoint.url) == tasks * LAST_EVENT
            await fleet.until_told(fleet.all, told, within=within)
            fleet.check_order(told)


async def until_given_up(caller: Caller, url: str, count: int, *, within: float) -> None:
    """Wait until so many deliveries to `url` are listed as given up, and none as pending."""

    states: Counter[int] = Counter()

    async def all_given_up() -> bool:
        nonlocal states
        states = Counter(delivery.state for delivery in await caller.deliveries(url=url))
        return states == {pb.WEBHOOK_DELIVERY_STATE_FAILED: count}

    try:
        await eventually_async(all_given_up, within=within, what=f"{count} deliveries to be given up")
    except AssertionError as error:
        raise AssertionError(f"{error}; their states: {states}") from None


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_an_endpoint_that_hangs_does_not_delay_the_others(own_stack: Stack) -> None:
    own_stack.start(workers=0)
    figures = await measure_webhooks(own_stack, tasks=500, calm_tasks=300)
    print(figures)
    assert figures["webhook delay beside one that hangs / without"] <= 1.2
    assert figures["webhooks /s"] >= 300
