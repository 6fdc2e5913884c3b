"""A watch is right whatever becomes of the broadcast: lost, repeated or out of order, the log has it all."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import uuid_utils

from gateway_service.watch import follow
from gateway_service.watch.follow import FollowTask, Heartbeat
from gateway_service.watch.hub import EventHub
from shared.adapters.local import LocalBroker
from shared.adapters.redis import RedisRecord
from shared.clock import RecordClock
from shared.domain.commands import Claim, ReportProgress, Submit, Succeed
from shared.domain.task import AttemptTerms, Task, TaskEvent, TaskProgress, TaskSpec
from shared.journal import Done, Journal
from shared.json_values import encode_json
from tests.stack import delete_keys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gateway_service.watch.follow import Update
    from shared.domain.commands import Command

pytestmark = pytest.mark.integration

TENANT = "default"
Broadcast = tuple[str, bytes]


@dataclass
class World:
    """A record, a broker within the process, and a gateway's watches; what is broadcast is up to the test."""

    record: RedisRecord
    clock: RecordClock
    broker: LocalBroker
    follow: FollowTask

    def journal(self, broadcast: Callable[[str, bytes], None]) -> Journal:
        return Journal(self.record, self.clock, broadcast)

    async def watch(self, task_id: str, after: int | None = 0) -> list[Update]:
        """All updates of a watch, heartbeats aside, once it has ended."""
        updates: list[Update] = []

        async def send(update: Update) -> None:
            if not isinstance(update, Heartbeat):
                updates.append(update)

        async with asyncio.timeout(20):
            await self.follow(TENANT, task_id, after=after, heartbeat=60, send=send)
        return updates


@pytest.fixture(name="world")
async def _world(redis_url: str, key_prefix: str) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        stack.callback(delete_keys, redis_url, key_prefix)
        record = RedisRecord(redis_url, prefix=key_prefix)
        stack.push_async_callback(record.close)
        clock = RecordClock(record)
        await clock.synchronise()
        broker = LocalBroker()
        stack.push_async_callback(broker.close)
        hub = EventHub(broker, most_feeds=1_000)
        await hub.start()
        stack.push_async_callback(hub.close)
        yield World(record, clock, broker, FollowTask(record, hub))


async def _live(journal: Journal, task_id: str, progresses: int) -> None:
    """A task's whole life."""
    commands: list[Command] = [
        Claim(worker="the test", terms=AttemptTerms(), lease=60_000),
        *(
            ReportProgress(attempt=1, progress=TaskProgress(completed=number), lease=60_000)
            for number in range(progresses)
        ),
        Succeed(attempt=1, result=encode_json("done", "result")),
    ]
    known: Task | None = None
    for command in commands:
        done = await journal.execute(task_id, command, known=known)
        assert isinstance(done, Done)
        known = done.task
        await asyncio.sleep(0)  # The watch has its turn.


async def _submitted(world: World) -> str:
    task_id = str(uuid_utils.uuid7())
    spec = TaskSpec(type="any", payload=encode_json(None, "payload"), retention=60_000)
    await world.journal(world.broker.broadcast).create(task_id, Submit(task_id=task_id, tenant=TENANT, spec=spec))
    return task_id


def _expect_whole(updates: list[Update], last: int) -> None:
    events = [update for update in updates if isinstance(update, TaskEvent)]
    assert len(events) == len(updates)
    assert [event.sequence for event in events] == list(range(1, last + 1))
    assert events[-1].status.is_terminal
    assert events[-1].result == encode_json("done", "result")


@pytest.mark.parametrize("seed", range(20))
async def test_a_broadcast_that_loses_repeats_and_shuffles_its_events_does_a_watch_no_harm(
    world: World, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "CHECK_SECONDS", 0.2)
    dice = random.Random(seed)
    held: list[Broadcast] = []

    def unreliable(key: str, body: bytes) -> None:
        held.extend([(key, body)] * dice.choice([0, 1, 1, 2]))
        if dice.random() < 0.4:
            dice.shuffle(held)
            for message in held:
                world.broker.broadcast(*message)
            held.clear()

    task_ids = [await _submitted(world) for _ in range(10)]
    watches = [asyncio.create_task(world.watch(task_id)) for task_id in task_ids]
    journal = world.journal(unreliable)
    await asyncio.gather(*(_live(journal, task_id, dice.randrange(8)) for task_id in task_ids))

    for task_id, watch in zip(task_ids, watches, strict=True):
        _expect_whole(await watch, await world.record.read_sequence(task_id))


async def test_a_watch_finds_the_end_although_nothing_is_broadcast(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "CHECK_SECONDS", 0.2)
    task_id = await _submitted(world)
    from_start = asyncio.create_task(world.watch(task_id))
    snapshot = asyncio.create_task(world.watch(task_id, None))
    await _live(world.journal(lambda _key, _body: None), task_id, 5)

    _expect_whole(await from_start, 8)
    first, *rest = await snapshot
    assert isinstance(first, Task)
    assert [event.sequence for event in rest if isinstance(event, TaskEvent)] == list(range(first.sequence + 1, 9))


async def test_a_watcher_far_behind_a_quick_task_goes_back_to_the_log(world: World) -> None:
    task_id = await _submitted(world)
    seen: list[int] = []
    reading = asyncio.Event()

    async def send(update: Update) -> None:
        assert isinstance(update, TaskEvent)
        seen.append(update.sequence)
        await reading.wait()

    watch = asyncio.create_task(world.follow(TENANT, task_id, after=0, heartbeat=60, send=send))
    # More than its feed holds comes while it is stuck in the first event.
    await _live(world.journal(world.broker.broadcast), task_id, 500)
    stuck_at = list(seen)
    reading.set()
    async with asyncio.timeout(20):
        await watch

    assert len(stuck_at) <= 1
    assert seen == list(range(1, 504))
