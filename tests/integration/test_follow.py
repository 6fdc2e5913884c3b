"""A watch is right whatever becomes of the broadcast: lost, repeated or out of order, the log has it all."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from shared.domain.task import Task, TaskEvent
from tests.integration.watching import DONE, TENANT, World, lived, look_often, opened_world, straight, unreliable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway_service.watch.updates import Update

pytestmark = pytest.mark.integration


@pytest.fixture(name="world")
async def _world(redis_url: str, key_prefix: str) -> AsyncIterator[World]:
    async with opened_world(redis_url, key_prefix) as world:
        yield world


def _expect_whole(updates: list[Update], last: int) -> None:
    events = [update for update in updates if isinstance(update, TaskEvent)]
    assert len(events) == len(updates)
    assert [event.sequence for event in events] == list(range(1, last + 1))
    assert events[-1].status.is_terminal
    assert events[-1].result == DONE


@pytest.mark.parametrize("seed", range(20))
async def test_a_broadcast_that_loses_repeats_and_shuffles_its_events_does_a_watch_no_harm(
    world: World, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_often(monkeypatch)
    dice = random.Random(seed)
    task_ids = [await world.submitted() for _ in range(10)]
    watches = [asyncio.create_task(world.watch(task_id)) for task_id in task_ids]
    journal = world.journal(unreliable(world, dice))
    await asyncio.gather(*(lived(journal, task_id, straight(dice.randrange(8))) for task_id in task_ids))

    for task_id, watch in zip(task_ids, watches, strict=True):
        _expect_whole(await watch, await world.record.read_sequence(task_id))


async def test_a_watch_finds_the_end_although_nothing_is_broadcast(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_often(monkeypatch)
    task_id = await world.submitted()
    from_start = asyncio.create_task(world.watch(task_id))
    snapshot = asyncio.create_task(world.watch(task_id, None))
    await lived(world.journal(lambda _key, _body: None), task_id, straight(5))

    _expect_whole(await from_start, 8)
    first, *rest = await snapshot
    assert isinstance(first, Task)
    assert [event.sequence for event in rest if isinstance(event, TaskEvent)] == list(range(first.sequence + 1, 9))


async def test_a_watcher_far_behind_a_quick_task_goes_back_to_the_log(world: World) -> None:
    task_id = await world.submitted()
    seen: list[int] = []
    reading = asyncio.Event()

    async def send(update: Update) -> None:
        assert isinstance(update, TaskEvent)
        seen.append(update.sequence)
        await reading.wait()

    watch = asyncio.create_task(world.follow(TENANT, task_id, after=0, heartbeat=60, send=send))
    # More than its feed holds comes while it is stuck in the first event.
    await lived(world.journal(), task_id, straight(500))
    stuck_at = list(seen)
    reading.set()
    async with asyncio.timeout(20):
        await watch

    assert len(stuck_at) <= 1
    assert seen == list(range(1, 504))
