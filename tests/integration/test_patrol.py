"""Quiet watches cost the record a few calls, however many there are."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from gateway_service.watch.patrol import AT_ONCE
from shared.adapters.redis import RedisRecord
from shared.domain.filters import TaskFilter
from shared.ports import StoreUnavailableError
from tests.integration.watching import TENANT, Seen, World, lived, look_often, opened_world, silent, straight, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

pytestmark = pytest.mark.integration


class CountingRecord(RedisRecord):
    """Counts the calls that ask for sequences, and can be away."""

    calls = 0
    away = False

    async def read_sequences(self, task_ids: Sequence[str]) -> list[int]:
        self.calls += 1
        if self.away:
            raise StoreUnavailableError("it is away")
        return await super().read_sequences(task_ids)


@pytest.fixture(name="world")
async def _world(redis_url: str, key_prefix: str) -> AsyncIterator[World]:
    async with opened_world(redis_url, key_prefix, kind=CountingRecord) as world:
        yield world


def _record(world: World) -> CountingRecord:
    assert isinstance(world.record, CountingRecord)
    return world.record


async def test_hundreds_of_quiet_watches_are_compared_with_the_record_in_a_few_calls(world: World) -> None:
    task_ids = [await world.submitted() for _ in range(500)]
    seen = Seen()
    watches = [
        asyncio.create_task(world.follow(TENANT, task_id, after=None, heartbeat=60, send=seen.send))
        for task_id in task_ids
    ]
    watches += [
        asyncio.create_task(world.follow_tasks(TENANT, task_ids, heartbeat=60, send=seen.send)) for _ in range(3)
    ]
    await until(lambda: len(seen.snapshots) == 4 * 500, "the snapshots")
    before = _record(world).calls
    await world.patrol.look()
    for_ids = _record(world).calls - before

    assert for_ids == -(-500 // AT_ONCE)
    assert not any(feed.has_news for feed in world.hub.feeds), "a quiet watch was woken"
    async with AsyncExitStack() as opened:
        for _ in range(20):
            await opened.enter_async_context(world.matching(TaskFilter()))
        before = _record(world).calls
        await world.patrol.look()
        assert _record(world).calls - before == 2 * for_ids, "watches by filter were compared one by one"
    for watch in watches:
        watch.cancel()
    await asyncio.gather(*watches, return_exceptions=True)


async def test_a_patrol_that_cannot_reach_the_record_ends_every_watch_and_walks_on_afterwards(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_often(monkeypatch)
    task_id = await world.submitted()
    live = Seen()
    watches = [
        asyncio.create_task(world.follow(TENANT, task_id, after=None, heartbeat=60, send=live.send)),
        asyncio.create_task(world.follow_matching(TENANT, TaskFilter(), heartbeat=60, send=live.send)),
    ]
    await until(lambda: len(live.updates) == 2, "both watches to be live")
    _record(world).away = True
    world.hub.missed.set()
    for watch in watches:
        with pytest.raises(StoreUnavailableError):
            await asyncio.wait_for(watch, 10)
    _record(world).away = False

    async with world.matching(TaskFilter()) as seen:
        await lived(world.journal(silent), task_id, straight(0))
        await until(lambda: len(seen.events) == 2, "the events")
