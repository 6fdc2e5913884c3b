"""The sweeper wakes a task on time, and only once its time has come."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import redis
import uuid_utils

from gateway_service.dispatcher import Dispatcher
from gateway_service.sweeper import LOOK_AHEAD, Sweeper
from shared.adapters.local import LocalBroker
from shared.adapters.redis import RedisRecord
from shared.clock import RecordClock
from shared.domain.commands import Cancel, Submit
from shared.domain.decide import LINGER
from shared.domain.task import TaskSpec
from shared.journal import Done, Journal
from tests.stack import delete_keys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.ports import Delivery

pytestmark = pytest.mark.integration


class CorrectedClock(RecordClock):
    """Runs ahead of the record until it is corrected, as a clock does that was read over a slow network."""

    ahead = 0

    def now(self) -> int:
        return super().now() + self.ahead


@dataclass
class World:
    """A record, a broker within the process, and a sweeper whose clock may be wrong."""

    journal: Journal
    clock: CorrectedClock
    sweeper: Sweeper
    dispatched: asyncio.Event

    async def delayed(self, milliseconds: int) -> int:
        """Submit a task that is due in so many milliseconds; the time at which it is."""
        task_id = str(uuid_utils.uuid7())
        due = self.clock.now() + milliseconds
        spec = TaskSpec(type="any", schedule_time=due)
        made = await self.journal.create(task_id, Submit(task_id=task_id, tenant="default", spec=spec))
        assert isinstance(made, Done)
        return due


@pytest.fixture(name="world")
async def _world(redis_url: str, key_prefix: str) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        stack.callback(delete_keys, redis_url, key_prefix)
        record = RedisRecord(redis_url, prefix=key_prefix)
        stack.push_async_callback(record.close)
        clock = CorrectedClock(record)
        await clock.synchronise()
        broker = LocalBroker()
        stack.push_async_callback(broker.close)
        dispatched = asyncio.Event()

        def on_delivery(_: Delivery) -> None:
            dispatched.set()

        consumer = await broker.consume(["default"], on_delivery)
        consumer.resume(10)
        journal = Journal(record, clock, broker.broadcast)
        dispatcher = Dispatcher(record, broker, journal, most_undispatched=10)
        sweeper = Sweeper(record, journal, dispatcher, clock, name="the only one")
        stack.push_async_callback(sweeper.close)
        yield World(journal, clock, sweeper, dispatched)


async def test_one_round_is_enough_for_a_task_that_falls_due_after_the_next(world: World) -> None:
    due = await world.delayed(LOOK_AHEAD - 500)
    await world.sweeper.sweep()
    async with asyncio.timeout(10):
        await world.dispatched.wait()

    assert world.clock.now() >= due


async def test_a_timer_that_fires_too_early_does_not_cost_a_round(world: World) -> None:
    due = await world.delayed(600)
    world.clock.ahead = 400
    await world.sweeper.sweep()
    await asyncio.sleep(0)  # a turn, in which the timer is set by the wrong time
    world.clock.ahead = 0
    async with asyncio.timeout(10):
        await world.dispatched.wait()

    assert world.clock.now() >= due


async def test_whatever_has_expired_is_removed_in_one_go_though_a_task_was_deleted_by_hand(
    world: World, redis_url: str, key_prefix: str
) -> None:
    ids = [f"{str(uuid_utils.uuid7())[:-2]}42" for _ in range(50)]
    for task_id in ids:
        await world.journal.create(
            task_id, Submit(task_id=task_id, tenant="default", spec=TaskSpec(type="any", retention=0))
        )
        assert isinstance(await world.journal.execute(task_id, Cancel()), Done)
    with redis.Redis.from_url(redis_url) as server:
        for task_id in ids[:10]:
            server.delete(f"{key_prefix}:{{42}}:task:{task_id}")
        await world.sweeper.forget_expired()
        assert server.exists(f"{key_prefix}:{{42}}:task:{ids[-1]}"), "it can be read to its end"
        world.clock.ahead = LINGER
        await world.sweeper.forget_expired()
        assert list(server.scan_iter(f"{key_prefix}:*:task:*")) == []
        assert server.zcard(f"{key_prefix}:{{42}}:expiries") == 0
