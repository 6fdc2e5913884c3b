"""Watches of many tasks are right whatever becomes of the broadcast, whoever reads how slowly."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
import uuid_utils

from gateway_service.faults import InvalidRequestError, TasksNotFoundError, WatchBehindError
from gateway_service.watch import feed as feed_module
from gateway_service.watch import matching_tasks
from gateway_service.watch.updates import Heartbeat
from shared.codec import encode_broadcast
from shared.domain.filters import TaskFilter
from shared.domain.task import EventType, Task, TaskEvent, TaskStatus
from tests.integration.watching import (
    DONE,
    LATE,
    TENANT,
    Seen,
    World,
    a_life,
    lived,
    look_often,
    opened_world,
    silent,
    straight,
    unreliable,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway_service.watch.updates import Update
    from shared.domain.commands import Command

pytestmark = pytest.mark.integration

FILTERS = {
    "all": TaskFilter(),
    "of a type": TaskFilter(type="b"),
    "of a queue with a label": TaskFilter(queue="q1", labels={"customer": "acme"}),
    "that run": TaskFilter(statuses=frozenset({TaskStatus.PROCESSING})),
    "that wait": TaskFilter(statuses=frozenset({TaskStatus.WAITING})),
    "that ended badly, of a type": TaskFilter(statuses=frozenset({TaskStatus.FAILED, TaskStatus.CANCELLED}), type="a"),
}


@pytest.fixture(name="world")
async def _world(redis_url: str, key_prefix: str) -> AsyncIterator[World]:
    async with opened_world(redis_url, key_prefix) as world:
        yield world


async def _log(world: World, task_id: str) -> list[TaskEvent]:
    return await world.record.read_events(task_id, after=0, limit=1_000)


# --- By ids ------------------------------------------------------------------------------------------------------


async def _expect_each_whole(world: World, seen: Seen, task_ids: list[str]) -> None:
    """A snapshot of each task before its first event, then each event once, in order, up to the end."""
    assert sorted(task.id for task in seen.snapshots) == sorted(task_ids)
    began: dict[str, int] = {}
    for update in seen.updates:
        if isinstance(update, Task):
            assert update.spec.payload is None
            assert update.result is None
            began[update.id] = update.sequence
        elif isinstance(update, TaskEvent):
            assert update.task_id in began
    sequences = seen.sequences()
    for task_id in task_ids:
        last = await world.record.read_sequence(task_id)
        assert sequences.get(task_id, []) == list(range(began[task_id] + 1, last + 1)), task_id


@pytest.mark.parametrize("seed", range(5))
async def test_a_broadcast_that_loses_repeats_and_shuffles_its_events_does_a_watch_of_many_no_harm(
    world: World, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_often(monkeypatch)
    dice = random.Random(seed)
    task_ids = [await world.submitted() for _ in range(60)]
    journal = world.journal(unreliable(world, dice))
    lives = {task_id: a_life(dice) for task_id in task_ids}
    for task_id in dice.sample(task_ids, 10):
        await lived(journal, task_id, lives.pop(task_id))
    seen = Seen()
    watch = asyncio.create_task(world.follow_tasks(TENANT, task_ids, heartbeat=60, send=seen.send))
    await asyncio.gather(*(lived(journal, task_id, life) for task_id, life in lives.items()))
    async with asyncio.timeout(20):
        await watch

    await _expect_each_whole(world, seen, task_ids)
    assert all(event.result == DONE for event in seen.events if event.status is TaskStatus.SUCCESS)


async def test_a_thousand_tasks_are_followed_to_their_ends_by_a_watcher_that_pauses(world: World) -> None:
    task_ids = [await world.submitted() for _ in range(1_000)]
    seen = Seen()
    reading = asyncio.Event()

    async def send(update: Update) -> None:
        await seen.send(update)
        if len(seen.updates) == 1_001:
            await reading.wait()

    watch = asyncio.create_task(world.follow_tasks(TENANT, task_ids, heartbeat=60, send=send))
    await until(lambda: len(seen.updates) == 1_000, "the snapshots")
    journal = world.journal()
    # Far more events than wait in a feed.
    for start in range(0, 1_000, 100):
        await asyncio.gather(*(lived(journal, id_, straight(1)) for id_ in task_ids[start : start + 100]))
    assert len(seen.events) == 1
    reading.set()
    async with asyncio.timeout(20):
        await watch

    await _expect_each_whole(world, seen, task_ids)


async def test_what_is_not_there_is_refused_before_anything_is_sent(world: World) -> None:
    there = [await world.submitted() for _ in range(3)]
    missing = [str(uuid_utils.uuid7()) for _ in range(2)]
    seen = Seen()

    with pytest.raises(TasksNotFoundError) as refused:
        await world.follow_tasks(TENANT, [there[0], missing[0], *there[1:], missing[1]], heartbeat=60, send=seen.send)
    with pytest.raises(TasksNotFoundError) as foreign:
        await world.follow_tasks("another tenant", there, heartbeat=60, send=seen.send)

    assert list(refused.value.task_ids) == missing
    assert list(foreign.value.task_ids) == there
    assert not seen.updates
    assert not list(world.hub.feeds)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda ids: ids[:0], "task_ids"),
        (lambda ids: ids * 334, "task_ids"),
        (lambda ids: [ids[0], ids[1].upper(), ids[2]], "task_ids[1]"),
        (lambda ids: [ids[0], "", ids[2]], "task_ids[1]"),
        (lambda ids: [ids[0], ids[1], ids[0]], "task_ids[2]"),
    ],
    ids=["none", "too many", "upper case", "empty", "twice the same"],
)
async def test_a_list_of_ids_is_checked_as_a_whole(world: World, change: object, field: str) -> None:
    ids = [await world.submitted() for _ in range(3)]
    with pytest.raises(InvalidRequestError) as refused:
        await world.follow_tasks(TENANT, change(ids), heartbeat=60, send=Seen().send)  # type: ignore[operator]
    assert [violation.field for violation in refused.value.violations] == [field]


# --- By filter ---------------------------------------------------------------------------------------------------


async def _expected(world: World, wanted: TaskFilter, task_id: str, after: int) -> list[int]:
    """The events after that number of a task that matches before or after them, as its log has them."""
    task = await world.record.read(task_id)
    assert task is not None
    fixed = TaskFilter(type=wanted.type, queue=wanted.queue, labels=wanted.labels)
    if not fixed.matches(task):
        return []
    before: TaskStatus | None = None
    found = []
    for event in await _log(world, task_id):
        matches = not wanted.statuses or event.status in wanted.statuses or before in wanted.statuses
        if matches and event.sequence > after:
            found.append(event.sequence)
        before = event.status
    return found


async def _expect_as_by_model(world: World, wanted: TaskFilter, seen: Seen, began: dict[str, int]) -> None:
    expected = {id_: await _expected(world, wanted, id_, after) for id_, after in began.items()}
    wanted_in_all = sum(map(len, expected.values()))
    await until(lambda: len(seen.events) >= wanted_in_all, f"{wanted_in_all} events", within=20)
    # Whatever comes twice would come with the next look.
    await world.patrol.look()
    await until(lambda: not any(feed.has_news for feed in world.hub.feeds), "the look to be taken in")
    assert seen.sequences() == {task_id: sequences for task_id, sequences in expected.items() if sequences}


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(2, 22))])
async def test_watches_by_filter_send_what_a_model_says_though_the_broadcast_is_unreliable(
    world: World, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_often(monkeypatch)
    dice = random.Random(seed)
    journal = world.journal(unreliable(world, dice))

    async def submitted() -> str:
        labels = {"customer": dice.choice(["acme", "other"])}
        return await world.submitted(journal, type=dice.choice("ab"), queue=dice.choice(["q1", "q2"]), labels=labels)

    lives: dict[str, list[Command]] = {}
    for _ in range(60):
        life = a_life(dice)
        task_id = await submitted()
        lives[task_id] = life[: dice.randrange(len(life) + 1)]
        if lives[task_id]:
            await lived(journal, task_id, lives[task_id])
        lives[task_id] = life[len(lives[task_id]) :]
    began = {task_id: await world.record.read_sequence(task_id) for task_id in lives}

    async with AsyncExitStack() as stack:
        watches = {name: await stack.enter_async_context(world.matching(wanted)) for name, wanted in FILTERS.items()}

        async def one(life: list[Command], task_id: str = "") -> None:
            if not task_id:
                # New tasks come all the time.
                await asyncio.sleep(dice.uniform(0, 3))
                task_id = await submitted()
                began[task_id] = 0
            # Long enough for bookmarks to be dropped in between.
            await lived(journal, task_id, life, pause=lambda: dice.choice([0, 0, 0.01, 0.5]))

        old = [one(life, task_id) for task_id, life in lives.items() if life]
        await asyncio.gather(*old, *(one(a_life(dice)) for _ in range(150)))
        for name, seen in watches.items():
            await _expect_as_by_model(world, FILTERS[name], seen, began)


async def test_a_watch_by_filter_finds_what_is_never_broadcast(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    look_often(monkeypatch)
    running = await world.submitted()
    await lived(world.journal(), running, straight(1)[:-1])
    async with world.matching(TaskFilter()) as seen:
        await lived(world.journal(silent), running, straight(0)[-1:])
        new = await world.submitted(world.journal(silent))
        await lived(world.journal(silent), new, straight(2))

        await _expect_as_by_model(world, TaskFilter(), seen, {running: 3, new: 0})


async def test_a_watch_by_filter_sees_no_other_tenant(world: World) -> None:
    async with world.matching(TaskFilter(), tenant="another tenant") as foreign, world.matching(TaskFilter()) as own:
        await lived(world.journal(), await world.submitted(), straight(1))
        await until(lambda: len(own.events) == 4, "the events")
        assert not foreign.events


async def test_a_watch_by_filter_that_reads_slowly_misses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_often(monkeypatch, every=1)
    seen = Seen()
    reading = asyncio.Event()

    async def send(update: Update) -> None:
        await seen.send(update)
        if isinstance(update, TaskEvent):
            await reading.wait()

    watch = asyncio.create_task(world.follow_matching(TENANT, TaskFilter(), heartbeat=60, send=send))
    await until(lambda: bool(seen.updates), "the watch to be live")
    journal = world.journal()
    began: dict[str, int] = {}
    # More events than its feed holds, while it is stuck in the first.
    for _ in range(60):
        task_id = await world.submitted(journal)
        began[task_id] = 0
        await lived(journal, task_id, straight(20))
    assert len(seen.events) == 1
    reading.set()
    await _expect_as_by_model(world, TaskFilter(), seen, began)
    watch.cancel()


async def test_a_watch_by_filter_that_falls_too_far_behind_is_told_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_often(monkeypatch)
    monkeypatch.setattr(feed_module, "MOST_SURVEYS", 3)
    seen = Seen()
    reading = asyncio.Event()

    async def send(update: Update) -> None:
        await seen.send(update)
        if isinstance(update, TaskEvent):
            await reading.wait()

    watch = asyncio.create_task(world.follow_matching(TENANT, TaskFilter(), heartbeat=60, send=send))
    await until(lambda: bool(seen.updates), "the watch to be live")
    await world.submitted()
    await until(lambda: any(feed.has_failed for feed in world.hub.tenant_feeds), "the watch to be behind")
    reading.set()
    async with asyncio.timeout(10):
        with pytest.raises(WatchBehindError):
            await watch


@pytest.mark.parametrize("shift", [-60_000, 60_000], ids=["back", "ahead"])
async def test_a_watch_by_filter_ends_when_the_clock_of_the_record_is_set(world: World, shift: int) -> None:
    seen = Seen()
    watch = asyncio.create_task(world.follow_matching(TENANT, TaskFilter(), heartbeat=60, send=seen.send))
    await until(lambda: bool(seen.updates), "the watch to be live")
    await world.patrol.look()
    assert not watch.done()
    world.clock.shift = shift
    await world.patrol.look()
    async with asyncio.timeout(10):
        with pytest.raises(WatchBehindError):
            await watch


async def test_a_watch_by_filter_bears_a_clock_that_is_a_little_unsteady(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_often(monkeypatch)
    dice = random.Random(5)
    began: dict[str, int] = {}
    async with world.matching(TaskFilter()) as seen:
        for _ in range(30):
            world.clock.shift = dice.randrange(-LATE // 4, LATE // 4)
            task_id = await world.submitted(world.journal(silent))
            began[task_id] = 0
            await lived(world.journal(silent), task_id, straight(2), pause=lambda: 0.02)
        await _expect_as_by_model(world, TaskFilter(), seen, began)


async def test_more_tasks_than_a_watch_by_filter_may_meet_end_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching_tasks, "MOST_MET", 20)
    watch = asyncio.create_task(world.follow_matching(TENANT, TaskFilter(), heartbeat=60, send=Seen().send))
    async with asyncio.timeout(10):
        with pytest.raises(WatchBehindError):
            while not watch.done():
                await world.submitted()
            await watch


async def test_a_stranger_on_the_exchange_does_no_watch_harm(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    look_often(monkeypatch)
    async with world.matching(TaskFilter()) as seen:
        world.broker.broadcast(f"00.{uuid_utils.uuid7()}.started", b"\xff\xff")
        other = TaskEvent(
            task_id=str(uuid_utils.uuid7()),
            sequence=7,
            type=EventType.STARTED,
            status=TaskStatus.PROCESSING,
            attempt=1,
            time=world.clock.now(),
        )
        world.broker.broadcast(*encode_broadcast(other))
        task_id = await world.submitted()
        await lived(world.journal(), task_id, straight(1))
        await _expect_as_by_model(world, TaskFilter(), seen, {task_id: 0})
    assert [update for update in seen.updates if isinstance(update, Heartbeat)] == [Heartbeat(0)]
