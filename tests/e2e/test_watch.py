"""Following one task: from any moment, to the end, without a hole."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from shared.adapters.rabbitmq import RabbitBroker
from shared.adapters.redis import RedisRecord
from shared.clock import RecordClock
from shared.domain.commands import Claim, ReportProgress, Succeed
from shared.domain.task import AttemptTerms, TaskProgress
from shared.journal import Done, Journal
from shared.json_values import encode_json, encode_json_object
from taskcast.v1 import task_pb2
from tests.clients import TERMINAL, Watched, calling, expect_whole_history, plain, read_all
from tests.deadlines import eventually_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.clients import Caller
    from tests.stack import Stack

pytestmark = pytest.mark.e2e

AT_ONCE = 25


@pytest.fixture(name="callers")
async def _callers(standing_stack: Stack) -> AsyncIterator[list[Caller]]:
    async with AsyncExitStack() as opened:
        yield [await opened.enter_async_context(calling(g.address)) for g in standing_stack.gateways]


@pytest.mark.parametrize(
    ("tries", "seed"),
    [(500, None)]
    + [pytest.param(5_000, seed, marks=[pytest.mark.soak, pytest.mark.timeout(900)]) for seed in (1, 2, 3)],
)
async def test_a_watch_opened_at_any_moment_around_the_end_of_a_task_ends_with_its_end(
    callers: list[Caller], tries: int, seed: int | None
) -> None:
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    print(f"seed {seed}")
    dice = random.Random(seed)
    plans = [(number, dice.choice([0, 1, 2]), dice.uniform(0, 0.02), dice.random()) for number in range(tries)]
    free = asyncio.Semaphore(AT_ONCE)
    began_with: Counter[str] = Counter()
    # How long a task takes on this machine, so that the moments fall around its end.
    usual = 0.1

    async def one(number: int, steps: int, pause: float, share: float) -> None:
        nonlocal usual
        async with free:
            submitting, watching = callers[number % 2], callers[number // 2 % 2]
            after = None if number % 4 < 2 else number % 3 % 2
            task = await submitting.submit("test.steps", {"steps": steps, "pause": pause})
            # No wait for a condition: the random moment is what is tried.
            await asyncio.sleep(1.5 * share * usual)
            watched = await watching.watch(task.id, after, within=20)
            began_with[_check(watched, after)] += 1
            finished = await watching.get(task.id)
            assert finished.status == task_pb2.TASK_STATUS_SUCCESS
            took = finished.end_time.ToMilliseconds() - task.create_time.ToMilliseconds()
            usual = 0.9 * usual + 0.1 * took / 1_000
            if after is not None:
                expect_history_after(watched, after, finished)

    await asyncio.gather(*(one(*plan) for plan in plans))

    print(f"the watches began with {dict(began_with)}")
    assert began_with["a finished snapshot"] >= tries / 20, "too few watches were opened after the end"
    assert began_with["a running snapshot"] >= tries / 20, "too few watches were opened before the end"


def _check(watched: Watched, after: int | None) -> str:
    """The watch is in order and ended with the task's end; says what it began with."""
    assert watched.problem is None, f"the watch ended with {watched.problem}"
    if after is not None:
        assert not watched.snapshots
        assert watched.events[-1].status in TERMINAL
        return "an event"
    (snapshot,) = watched.snapshots
    assert watched.responses[0].HasField("snapshot")
    first = snapshot.sequence + 1
    assert watched.sequences == list(range(first, first + len(watched.events)))
    if snapshot.status in TERMINAL:
        assert not watched.events
        return "a finished snapshot"
    assert watched.events[-1].status in TERMINAL
    return "a running snapshot"


def expect_history_after(watched: Watched, after: int, task: task_pb2.Task) -> None:
    """Every event after that number, in order."""
    assert watched.sequences == list(range(after + 1, task.sequence + 1))


async def test_heartbeats_come_while_nothing_happens(standing_stack: Stack, callers: list[Caller]) -> None:
    gate = standing_stack.gate()
    task = await callers[0].submit("test.hold", {"gate": str(gate)})
    call = callers[1].open_watch(task.id, heartbeat=1.0)
    beats: list[tuple[float, int]] = []
    events: list[int] = []
    async for response in call:
        if response.HasField("event"):
            events.append(response.event.sequence)
        elif response.HasField("heartbeat"):
            beats.append((time.monotonic(), response.heartbeat.sequence))
            if len(beats) == 2:
                gate.open()

    assert len(beats) >= 2
    assert [sequence for _, sequence in beats[:2]] == [3, 3], "submitted, started, one progress"
    assert 0.8 < beats[1][0] - beats[0][0] < 3
    assert events == [1, 2, 3, 4]


async def test_a_watch_of_a_finished_task_sends_what_there_is_and_ends(callers: list[Caller]) -> None:
    task = await callers[0].submit("test.steps", {"steps": 2})
    finished = await callers[0].until_finished(task.id)

    for after in range(finished.sequence + 1):
        watched = await callers[1].watch(task.id, after, within=10)
        assert watched.problem is None
        assert watched.sequences == list(range(after + 1, finished.sequence + 1))
        assert not watched.snapshots
    snapshot = await callers[1].watch(task.id, None, within=10)
    assert snapshot.problem is None
    assert snapshot.snapshots == [finished]
    assert not snapshot.events
    expect_whole_history(await callers[1].watch(task.id, 0), finished)


async def test_a_watch_after_an_event_that_has_not_happened_is_refused(
    standing_stack: Stack, callers: list[Caller]
) -> None:
    gate = standing_stack.gate()
    task = await callers[0].submit("test.hold", {"gate": str(gate)})
    running = await callers[0].until_running(task.id)
    ahead = await callers[1].watch(task.id, running.sequence + 50, within=10)
    gate.open()
    finished = await callers[0].until_finished(task.id)
    beyond = await callers[1].watch(task.id, finished.sequence + 1, within=10)

    for watched in (ahead, beyond):
        assert watched.problem is not None
        assert watched.problem.code is grpc.StatusCode.OUT_OF_RANGE
        assert (watched.problem.domain, watched.problem.reason) == ("taskcast", "SEQUENCE_AHEAD")
        assert watched.problem.fields == ("after_sequence",)
        assert not watched.responses
    assert beyond.problem is not None
    assert beyond.problem.metadata["last_sequence"] == str(finished.sequence)


async def test_a_watch_of_an_unknown_task_is_refused(callers: list[Caller]) -> None:
    watched = await callers[0].watch("00000000-0000-7000-8000-000000000000", within=10)

    assert watched.problem is not None
    assert (watched.problem.code, watched.problem.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")


async def test_a_result_too_large_for_the_broadcast_still_comes_with_the_last_event(
    callers: list[Caller],
) -> None:
    task = await callers[0].submit("test.returns", {"bytes": 200_000})
    live = await callers[1].watch(task.id, 0)
    later = await callers[0].watch(task.id, 1)

    for watched in (live, later):
        assert watched.events[-1].type == task_pb2.TaskEvent.TYPE_SUCCEEDED
        assert plain(watched.events[-1].result) == "x" * 200_000
    expect_whole_history(live, await callers[0].get(task.id))


async def test_a_watcher_that_does_not_read_loses_nothing_and_holds_nobody_up(
    standing_stack: Stack, callers: list[Caller]
) -> None:
    # The test itself is the worker, so that progress comes faster than a worker lets it.
    task = await callers[0].submit("test.elsewhere", queue="nobody")
    small_window = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536))
    async with calling(standing_stack.address, *small_window) as idle, _journal(standing_stack) as journal:
        stalled = aiter(idle.open_watch(task.id, 0))
        assert (await anext(stalled)).event.sequence == 1
        reading = asyncio.create_task(callers[0].watch(task.id, 0))
        await _run(journal, task.id, reports=400, detail_bytes=16_000)
        finished = await callers[1].until_finished(task.id)

        fast = await asyncio.wait_for(reading, 10)
        slow = await read_all(stalled)

    expect_whole_history(fast, finished)
    # The events that it missed live are all in the log, so it gets even those that it might do without.
    assert slow.problem is None
    assert slow.sequences == list(range(2, finished.sequence + 1))


async def test_whoever_watches_a_task_that_is_not_kept_still_sees_its_end(callers: list[Caller]) -> None:
    tasks = [await callers[0].submit("test.steps", {"steps": 1}, retention=Duration()) for _ in range(10)]
    watches = await asyncio.gather(*(callers[1].watch(task.id, 0, within=20) for task in tasks))

    for watched in watches:
        assert watched.problem is None
        assert watched.sequences == [1, 2, 3, 4]
        assert watched.events[-1].status == task_pb2.TASK_STATUS_SUCCESS


@asynccontextmanager
async def _journal(stack: Stack) -> AsyncIterator[Journal]:
    """What a worker reports through, in the stack's namespace."""
    record = RedisRecord(stack.redis_url, prefix=stack.namespace)
    broker = RabbitBroker(stack.rabbitmq_url, namespace=stack.namespace, name="the test")
    clock = RecordClock(record)
    try:
        await clock.synchronise()

        async def connected() -> bool:
            return broker.is_connected

        await eventually_async(connected, within=10, what="the test to be connected")
        yield Journal(record, clock, broker.broadcast)
    finally:
        await broker.close()
        await record.close()


async def _run(journal: Journal, task_id: str, *, reports: int, detail_bytes: int) -> None:
    claimed = await journal.execute(
        task_id, Claim(worker="the test", terms=AttemptTerms(attempt_timeout=0), lease=60_000)
    )
    assert isinstance(claimed, Done)
    detail = encode_json_object({"filler": "x" * detail_bytes}, "detail")
    done = claimed
    for number in range(reports):
        progress = TaskProgress(completed=number + 1, total=reports, detail=detail)
        report = ReportProgress(attempt=1, progress=progress, lease=60_000)
        answer = await journal.execute(task_id, report, known=done.task)
        assert isinstance(answer, Done)
        done = answer
    ended = await journal.execute(
        task_id, Succeed(attempt=1, result=encode_json("done", "result")), known=replace(done.task)
    )
    assert isinstance(ended, Done)
