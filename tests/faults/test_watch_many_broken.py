"""Watches of many tasks while RabbitMQ, a gateway or Redis is away: they miss nothing, or say that they end."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import grpc
import pytest

from taskcast.v1 import task_pb2
from tests.clients import TERMINAL, all_finished, calling, expect_whole_history
from tests.deadlines import eventually_async
from tests.faults.kept_queues import until_kept
from tests.stack import Stack
from tests.watchers import ManyWatched, by_filter, by_ids

if TYPE_CHECKING:
    from pathlib import Path

    from tests.clients import Caller
    from tests.servers import PrivateRabbitMQ, ValkeyFactory

pytestmark = pytest.mark.faults

LABELS = {"followed": "yes"}


async def _held(caller: Caller, gate: str, count: int) -> list[str]:
    """Tasks that run until the gate opens, and report all the while."""
    payload = {"gate": gate, "report": True}
    tasks = [await caller.submit("test.hold", payload, labels=LABELS) for _ in range(count)]
    for task in tasks:
        await caller.until_running(task.id)
    return [task.id for task in tasks]


def _expect_contiguous(watched: ManyWatched, finished: list[task_pb2.Task]) -> None:
    """Of each task the events from some place on, without hole or repeat, up to the end."""
    events = watched.by_task()
    for task in finished:
        sequences = [event.sequence for event in events[task.id]]
        assert sequences == list(range(sequences[0], task.sequence + 1)), task.id
        assert events[task.id][-1].status == task.status


async def test_a_restart_of_rabbitmq_takes_no_event_from_watches_of_many(
    stack_on_rabbit: Stack, rabbit: PrivateRabbitMQ
) -> None:
    stack = stack_on_rabbit.start(gateways=1, workers=1)
    gate = stack.gate()
    async with AsyncExitStack() as opened:
        caller = await opened.enter_async_context(calling(stack.address))
        old = await _held(caller, str(gate), 12)
        by_label = await opened.enter_async_context(by_filter(caller, labels=LABELS))
        named = by_ids(caller, old)
        reading = asyncio.create_task(named.read())
        await until_kept(rabbit, stack)
        await asyncio.to_thread(rabbit.kill)
        # Nobody hears of these but through the record.
        for task_id in old[:4]:
            await caller.cancel(task_id, "while RabbitMQ is away")
        new = [(await caller.submit("test.steps", {"steps": 2}, labels=LABELS)).id for _ in range(20)]

        async def the_cancelled_are_told() -> bool:
            told = {event.task_id for event in by_label.events if event.status == task_pb2.TASK_STATUS_CANCELLED}
            return told == set(old[:4])

        await eventually_async(the_cancelled_are_told, within=15, what="the cancelled tasks to be told of meanwhile")
        await asyncio.to_thread(rabbit.start)
        gate.open()
        finished = await all_finished(caller, [*old, *new], within=60)
        await asyncio.wait_for(reading, 30)

        async def all_ends_came() -> bool:
            return {e.task_id for e in by_label.events if e.status in TERMINAL} == {*old, *new}

        await eventually_async(all_ends_came, within=30, what="the end of every task")
        for task_id in new:
            expect_whole_history(await caller.watch(task_id), await caller.get(task_id))

    assert named.problem is None
    _expect_contiguous(named, finished[: len(old)])
    _expect_contiguous(by_label, finished)
    for task in finished[len(old) :]:
        assert by_label.sequences()[task.id] == list(range(1, task.sequence + 1))


async def test_clients_whose_gateway_is_killed_go_on_at_another_and_lose_nothing(own_stack: Stack) -> None:
    own_stack.start(gateways=2, workers=1)
    gate = own_stack.gate()
    async with AsyncExitStack() as opened:
        one, two = [await opened.enter_async_context(calling(g.address)) for g in own_stack.gateways]
        ids = await _held(two, str(gate), 8)
        broken = by_ids(one, ids)
        reading = asyncio.create_task(broken.read())
        broken_label = await opened.enter_async_context(by_filter(one, labels=LABELS))
        await broken_label.until_events(20)
        own_stack.gateways[0].kill()
        await asyncio.wait_for(reading, 20)
        await asyncio.wait_for(broken_label.ended.wait(), 20)
        for watched in (broken, broken_label):
            assert watched.problem is not None
            assert watched.problem.code is grpc.StatusCode.UNAVAILABLE

        again_label = await opened.enter_async_context(by_filter(two, labels=LABELS))
        again = by_ids(two, ids)
        rereading = asyncio.create_task(again.read())
        new = await two.submit("test.echo", "new", labels=LABELS)
        await eventually_async(lambda: _has(again), within=10, what="the snapshots")
        gate.open()
        finished = await all_finished(two, [*ids, new.id], within=40)
        await asyncio.wait_for(rereading, 20)
        await again_label.until_events(sum(_places(again_label, finished).values()), within=20)

    seen, snapshots = _last(broken), {task.id: task.sequence for task in again.snapshots}
    for task in finished[:-1]:
        # What was missed in between is in the snapshot: the sequences of both say so.
        assert snapshots[task.id] >= seen[task.id]
        assert again.sequences()[task.id] == list(range(snapshots[task.id] + 1, task.sequence + 1))
    assert again.problem is None
    _expect_contiguous(again_label, finished)
    assert again_label.sequences()[new.id] == list(range(1, finished[-1].sequence + 1))


def _last(watched: ManyWatched) -> dict[str, int]:
    """The last number that a watch saw of each task."""
    last = {task.id: task.sequence for task in watched.snapshots}
    return last | {task_id: sequences[-1] for task_id, sequences in watched.sequences().items()}


def _places(watched: ManyWatched, finished: list[task_pb2.Task]) -> dict[str, int]:
    """How many events of each task a watch will have seen that sees each to its end."""
    first = {task_id: sequences[0] for task_id, sequences in watched.sequences().items()}
    return {task.id: task.sequence - first.get(task.id, 1) + 1 for task in finished}


async def test_a_gateway_told_to_stop_ends_watches_of_many_with_a_hint(own_stack: Stack) -> None:
    own_stack.start(gateways=1, workers=0)
    async with AsyncExitStack() as opened:
        caller = await opened.enter_async_context(calling(own_stack.address))
        task = await caller.submit("test.echo")
        named = by_ids(caller, [task.id])
        reading = asyncio.create_task(named.read())
        everything = await opened.enter_async_context(by_filter(caller))
        await eventually_async(lambda: _has(named), within=10, what="the snapshot")
        own_stack.gateways[0].terminate()
        await asyncio.wait_for(asyncio.gather(reading, everything.ended.wait()), 10)

    for watched in (named, everything):
        assert watched.problem is not None
        assert (watched.problem.code, watched.problem.reason) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
        assert watched.problem.retry_after


async def _has(watched: ManyWatched) -> bool:
    return bool(watched.responses)


@pytest.mark.soak
async def test_without_redis_watches_of_many_end_with_a_hint_and_new_ones_work_once_it_is_back(
    tmp_path: Path, valkey_factory: ValkeyFactory, rabbitmq_url: str
) -> None:
    store = valkey_factory(appendonly=True)
    with Stack(tmp_path / "stack", redis_url=store.url, rabbitmq_url=rabbitmq_url, tidy=False) as stack:
        stack.start(gateways=1, workers=1)
        async with AsyncExitStack() as opened:
            caller = await opened.enter_async_context(calling(stack.address))
            task = await caller.submit("test.elsewhere", queue="nobody")
            named = by_ids(caller, [task.id])
            reading = asyncio.create_task(named.read())
            everything = await opened.enter_async_context(by_filter(caller))
            await eventually_async(lambda: _has(named), within=10, what="the snapshot")
            store.kill()
            await asyncio.wait_for(asyncio.gather(reading, everything.ended.wait()), 20)
            for watched in (named, everything):
                assert watched.problem is not None
                assert watched.problem.reason == "STORE_UNAVAILABLE"
                assert watched.problem.retry_after
            await asyncio.to_thread(store.start)

            async def serving() -> bool:
                return await asyncio.to_thread(stack.gateways[0].is_ready)

            await eventually_async(serving, within=20, what="the gateway to serve again")
            again = await opened.enter_async_context(by_filter(caller))
            await caller.cancel(task.id)
            await again.until_events(1, within=10)

    assert again.sequences() == {task.id: [2]}
