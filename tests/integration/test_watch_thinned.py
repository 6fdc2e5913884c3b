"""A long log is thinned: a resumed watch is told so, a live one that lags misses progress and nothing else."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gateway_service.faults import SequenceCompactedError
from shared.domain.commands import Retry
from shared.domain.filters import TaskFilter
from shared.domain.task import EventType, TaskError, TaskEvent
from tests.integration.watching import TENANT, Seen, World, lived, look_often, opened_world, straight, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway_service.watch.updates import Update

pytestmark = pytest.mark.integration

LIMIT = 200
AGAIN = TaskError(code="AGAIN", message="once more")


@pytest.fixture(name="world")
async def _world(redis_url: str, key_prefix: str) -> AsyncIterator[World]:
    async with opened_world(redis_url, key_prefix, log_limit=LIMIT) as world:
        yield world


class _Slow(Seen):
    """A client that reads one event, and the others only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = asyncio.Event()

    async def send(self, update: Update) -> None:
        await super().send(update)
        if isinstance(update, TaskEvent):
            await self.reading.wait()


async def _expect_only_progress_missed(world: World, task_id: str, events: list[TaskEvent]) -> None:
    """In order, none twice, every event but progress, the end last."""
    sequences = [event.sequence for event in events]
    assert sequences == sorted(set(sequences))
    log = await world.record.read_events(task_id, after=sequences[0] - 1, limit=1_000)
    kept = {event.sequence for event in log if event.type is not EventType.PROGRESSED}
    assert kept <= set(sequences)
    assert events[-1].status.is_terminal
    assert len(sequences) < sequences[-1], "nothing was thinned out: the test is too small"


async def test_a_resume_in_the_hole_of_a_thinned_log_is_refused_with_what_is_still_there(world: World) -> None:
    task_id = await world.submitted()
    task = await lived(world.journal(), task_id, straight(LIMIT))
    first = await world.record.first_kept(task_id)
    assert first > 3

    for after in (0, 1, 2, first - 2):
        seen = Seen()
        with pytest.raises(SequenceCompactedError) as refused:
            await world.follow(TENANT, task_id, after=after, heartbeat=60, send=seen.send)
        assert (refused.value.first, refused.value.last) == (first, task.sequence)
        assert not seen.updates
    resumed = [event.sequence for event in await world.watch(task_id, first - 1) if isinstance(event, TaskEvent)]
    assert resumed == list(range(first, task.sequence + 1))
    (snapshot,) = await world.watch(task_id, None)
    assert snapshot == await world.record.read(task_id)


async def test_a_resume_whose_log_is_thinned_while_it_is_read_is_refused_where_the_hole_begins(world: World) -> None:
    task_id = await world.submitted()
    known = await lived(world.journal(), task_id, straight(LIMIT - 10)[:-1])
    client = _Slow()
    watch = asyncio.create_task(world.follow(TENANT, task_id, after=0, heartbeat=60, send=client.send))
    await until(lambda: bool(client.events), "the first event")
    await lived(world.journal(), known.id, straight(LIMIT)[1:])
    first = await world.record.first_kept(task_id)
    client.reading.set()
    async with asyncio.timeout(10):
        with pytest.raises(SequenceCompactedError) as refused:
            await watch

    seen = client.sequences()[task_id]
    assert seen == list(range(1, len(seen) + 1)), "it went on behind a hole"
    assert len(seen) + 1 < first
    assert refused.value.first == first


async def test_a_live_watch_that_lags_behind_a_thinned_log_misses_progress_and_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_often(monkeypatch, every=1)
    task_id = await world.submitted()
    client, by_filter = _Slow(), _Slow()
    watch = asyncio.create_task(world.follow(TENANT, task_id, after=1, heartbeat=60, send=client.send))
    matching = asyncio.create_task(world.follow_matching(TENANT, TaskFilter(), heartbeat=60, send=by_filter.send))
    await until(lambda: bool(client.updates) and bool(by_filter.updates), "both watches to be live")
    await lived(world.journal(), task_id, [*straight(LIMIT)[:-1], Retry(attempt=1, error=AGAIN, after=0)])
    await until(lambda: len(client.events) == len(by_filter.events) == 1, "both to be stuck")
    # More than feed and log hold together.
    await lived(world.journal(), task_id, [replace(command, attempt=2) for command in straight(6 * LIMIT)])
    client.reading.set()
    by_filter.reading.set()
    async with asyncio.timeout(10):
        await watch
    await until(lambda: by_filter.events[-1].status.is_terminal, "the end", within=20)
    matching.cancel()

    await _expect_only_progress_missed(world, task_id, client.events)
    await _expect_only_progress_missed(world, task_id, by_filter.events)
