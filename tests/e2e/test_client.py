"""The Python client against a running system, and through its gateways' deaths."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from taskcast import Client, SyncClient, TaskcastError, submission
from taskcast.v1 import task_pb2
from taskcast.v1.task_service_pb2 import TaskFilter
from tests.clients import TERMINAL
from tests.deadlines import eventually, eventually_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from taskcast.client import Outcome
    from taskcast.v1.task_service_pb2 import WatchTasksResponse
    from tests.stack import Stack

pytestmark = pytest.mark.e2e

NO_SUCH_TASK = "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0001"
SUCCESS = task_pb2.TASK_STATUS_SUCCESS


@pytest.fixture(name="client")
async def _client(standing_stack: Stack) -> AsyncIterator[Client]:
    async with Client(standing_stack.address) as client:
        yield client


def tasks_of(outcomes: Iterable[Outcome]) -> list[task_pb2.Task]:
    outcomes = list(outcomes)
    assert not [outcome for outcome in outcomes if isinstance(outcome, TaskcastError)]
    return [outcome for outcome in outcomes if isinstance(outcome, task_pb2.Task)]


def label(name: str) -> dict[str, str]:
    return {"test": name}


def expect_no_hole_and_no_repeat(updates: Sequence[WatchTasksResponse]) -> dict[str, list[int]]:
    """Per task: whatever came first, each next sequence is the one after it. The sequences of each task."""
    told: dict[str, list[int]] = defaultdict(list)
    for update in updates:
        if update.HasField("snapshot"):
            told[update.snapshot.id].append(update.snapshot.sequence)
        elif update.HasField("event"):
            told[update.event.task_id].append(update.event.sequence)
    for task_id, sequences in told.items():
        expected = list(range(sequences[0], sequences[0] + len(sequences)))
        assert sequences == expected, f"task {task_id} was told as {sequences}"
    return told


async def test_a_thousand_and_some_tasks_are_submitted_followed_got_and_cancelled_in_order(
    client: Client, key_prefix: str
) -> None:
    count = 1_200
    requests = [submission("test.echo", number, labels=label(key_prefix)) for number in range(count)]
    requests[7] = submission("no spaces")
    outcomes = await client.submit_many(requests)
    refusal = outcomes.pop(7)
    assert isinstance(refusal, TaskcastError)
    assert [violation.field for violation in refusal.violations] == ["type"]
    ids = [task.id for task in tasks_of(outcomes)]
    assert len(set(ids)) == count - 1

    ended = set()
    async for update in client.watch_many(ids):
        told = update.event if update.HasField("event") else update.snapshot
        if told.status in TERMINAL:
            assert told.status == SUCCESS
            ended.add(update.event.task_id or update.snapshot.id)
    assert ended == set(ids)

    got = await client.get_many([*ids, NO_SUCH_TASK])
    missing = got.pop()
    assert isinstance(missing, TaskcastError)
    assert missing.reason == "TASK_NOT_FOUND"
    assert [task.id for task in tasks_of(got)] == ids
    listed = [task.id async for task in client.list(TaskFilter(labels=label(key_prefix)), page_size=500)]
    assert sorted(listed) == sorted(ids)
    for outcome in await client.cancel_many(ids[:3]):
        assert isinstance(outcome, TaskcastError)
        assert outcome.reason == "TASK_NOT_CANCELLABLE"


async def test_submit_and_wait_gives_the_result_and_retry_another_chance(client: Client) -> None:
    done = await client.submit_and_wait("test.echo", {"deep": [1, "ü"]})
    assert done.status == SUCCESS
    assert done.result == done.payload
    failed = await client.submit_and_wait("test.fail")
    assert failed.error.code == "NO_LUCK"
    again = await client.retry(failed.id)
    assert again.retry_of == failed.id
    assert (await client.wait(again.id, within=30)).status == failed.status


async def test_queues_and_workers_are_seen(standing_stack: Stack, client: Client) -> None:
    async def all_workers() -> bool:
        return len(await client.workers()) >= len(standing_stack.workers)

    await eventually_async(all_workers, within=20, what="every worker to have reported")
    workers = await client.workers()
    assert all("test.echo" in worker.types and worker.slots for worker in workers)
    assert "default" in [queue.name for queue in await client.queues()]


async def test_a_filter_is_followed_from_the_first_heartbeat_on(client: Client, key_prefix: str) -> None:
    matching = TaskFilter(labels=label(key_prefix))
    updates: list[WatchTasksResponse] = []
    async with contextlib.aclosing(client.watch_filter(matching, heartbeats=True)) as watch:
        assert (await anext(watch)).HasField("heartbeat")
        task = await client.submit("test.echo", 1, labels=label(key_prefix))
        async for update in watch:
            updates.append(update)
            if update.event.status in TERMINAL:
                break
    assert expect_no_hole_and_no_repeat(updates) == {task.id: [1, 2, 3]}


def test_the_sync_client_does_the_same(standing_stack: Stack) -> None:
    with SyncClient(standing_stack.address) as client:
        ids = [task.id for task in tasks_of(client.submit_many([submission("test.echo", n) for n in range(5)]))]
        updates = [*client.watch_many(ids)]
        assert expect_no_hole_and_no_repeat(updates).keys() == set(ids)
        task = client.submit("test.steps", {"steps": 3, "pause": 0.05})
        assert [update.event.sequence for update in client.watch(task.id, 0)] == list(
            range(1, client.get(task.id).sequence + 1)
        )
        assert client.submit_and_wait("test.echo", "ü").result.string_value == "ü"


# --- Through the death of the gateway ------------------------------------------------------------------------------


@pytest.fixture(name="fragile")
def _fragile(own_stack: Stack) -> Stack:
    return own_stack.start()


@pytest.mark.faults
async def test_a_watch_of_many_goes_on_without_hole_or_repeat_when_its_gateway_dies(fragile: Stack) -> None:
    (gateway,) = fragile.gateways
    updates: list[WatchTasksResponse] = []
    async with Client(fragile.address, deadline=60) as client:
        requests = [submission("test.steps", {"steps": 40, "pause": 0.1}) for _ in range(30)]
        ids = [task.id for task in tasks_of(await client.submit_many(requests))]

        async def watch() -> None:
            async for update in client.watch_many(ids):
                updates.append(update)  # noqa: PERF401  # They are looked at while they come.

        async with asyncio.timeout(90), asyncio.TaskGroup() as group:
            group.create_task(watch())
            for _ in range(2):
                seen = len(updates)
                await asyncio.to_thread(
                    eventually, lambda seen=seen: len(updates) > seen + 60, within=40, what="the tasks to go on"
                )
                await asyncio.to_thread(gateway.kill)
                await asyncio.to_thread(gateway.start)
        told = expect_no_hole_and_no_repeat(updates)
        assert told.keys() == set(ids)
        for task in tasks_of(await client.get_many(ids)):
            assert told[task.id][-1] == task.sequence
            assert task.status == SUCCESS


@pytest.mark.faults
async def test_a_filter_is_followed_on_and_tasks_created_meanwhile_are_told_whole(fragile: Stack) -> None:
    """Two gateways: the watch loses one, and tasks are submitted to the other while it is away."""
    fragile.start(gateways=1, workers=0)
    watched, other = fragile.gateways
    updates: list[WatchTasksResponse] = []
    lost = asyncio.Event()
    live = asyncio.Event()

    async with (
        Client(watched.address, on_retry=lambda *_: lost.set()) as client,
        Client(other.address) as other_client,
    ):

        async def watch() -> None:
            async for update in client.watch_filter(heartbeats=True):
                updates.append(update)
                live.set()

        async with asyncio.timeout(90):
            watching = asyncio.create_task(watch())
            await live.wait()
            running = await other_client.submit("test.steps", {"steps": 60, "pause": 0.1})
            await asyncio.to_thread(eventually, lambda: len(updates) > 5, within=30, what="the first events")
            await asyncio.to_thread(watched.kill)
            await lost.wait()
            meanwhile = await other_client.submit_and_wait("test.echo", "meanwhile")
            await asyncio.to_thread(watched.start)
            finished = await other_client.wait(running.id)

            def all_told() -> bool:
                ended = {update.event.task_id for update in updates if update.event.status in TERMINAL}
                return ended >= {running.id, meanwhile.id}

            await asyncio.to_thread(eventually, all_told, within=30, what="the ends of both tasks")
            watching.cancel()
    told = expect_no_hole_and_no_repeat(updates)
    assert told[running.id] == list(range(1, finished.sequence + 1))
    assert told[meanwhile.id] == list(range(1, meanwhile.sequence + 1))
