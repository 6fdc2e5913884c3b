"""A worker dies, or is taken for dead: its tasks run elsewhere, and it can change nothing any more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from taskcast.v1 import task_pb2
from tests.clients import calling, expect_whole_history, plain
from tests.deadlines import eventually_async
from tests.stack import record_time

if TYPE_CHECKING:
    from tests.clients import Caller
    from tests.services import WorkerService
    from tests.stack import Stack

pytestmark = pytest.mark.faults

SUCCESS = task_pb2.TASK_STATUS_SUCCESS
TASKS = 12


async def _hold_some(stack: Stack, caller: Caller, gate: object) -> tuple[WorkerService, list[str], list[str]]:
    """Tasks running on both workers: the worker that runs more of them, its tasks, and the others."""
    ids = [(await caller.submit("test.hold", {"gate": str(gate)})).id for _ in range(TASKS)]
    by_worker: dict[str, list[str]] = {worker.attempts_name: [] for worker in stack.workers}
    for task_id in ids:
        task = await caller.until_running(task_id)
        by_worker[task.attempts[-1].worker].append(task_id)
    victim = max(stack.workers, key=lambda worker: len(by_worker[worker.attempts_name]))
    mine = by_worker[victim.attempts_name]
    return victim, mine, [task_id for task_id in ids if task_id not in mine]


@pytest.mark.parametrize("lease", [2, pytest.param(10, marks=pytest.mark.soak)])
async def test_tasks_of_a_killed_worker_run_again_elsewhere_within_the_lease_and_two_seconds(
    own_stack: Stack, lease: int
) -> None:
    for service in (own_stack.new_gateway, own_stack.new_worker, own_stack.new_worker):
        service(TASKCAST_LEASE_SECONDS=str(lease))
    own_stack.start(gateways=0, workers=0)
    gate = own_stack.gate()
    async with calling(own_stack.address) as caller:
        victim, mine, others = await _hold_some(own_stack, caller, gate)
        watches = [asyncio.create_task(caller.watch(task_id, within=100)) for task_id in mine]
        killed = record_time()
        victim.kill()
        delays = []
        for task_id in mine:
            task = await caller.until_running(task_id, attempt=2, within=lease + 20)
            delays.append(task.attempts[1].start_time.ToMilliseconds() / 1_000 - killed)
        gate.open()
        finished = [await caller.until_finished(task_id) for task_id in mine]
        untouched = [await caller.until_finished(task_id) for task_id in others]
        watched = await asyncio.gather(*watches)

    print(f"{len(mine)} tasks ran again after {min(delays):.2f} to {max(delays):.2f} s, the lease being {lease} s")
    assert mine
    assert max(delays) <= lease + 2
    for task, watch in zip(finished, watched, strict=True):
        assert task.status == SUCCESS
        assert task.attempts[0].error.code == "LEASE_LOST"
        assert task.attempts[1].worker != task.attempts[0].worker
        assert watch.types == ["SUBMITTED", "STARTED", "RETRY_SCHEDULED", "STARTED", "SUCCEEDED"]
        expect_whole_history(watch, task)
        assert len(own_stack.noted(task.id, "ran")) == 2
    assert {(task.status, task.attempt) for task in untouched} <= {(SUCCESS, 1)}


async def test_what_a_worker_says_after_its_lease_was_lost_is_refused_and_its_handler_is_told(
    own_stack: Stack,
) -> None:
    own_stack.start(gateways=1, workers=2)
    gate = own_stack.gate()
    async with calling(own_stack.address) as caller:
        task = await caller.submit("test.stubborn", {"gate": str(gate)})
        watching = asyncio.create_task(caller.watch(task.id))
        first = await caller.until_running(task.id)
        (frozen,) = (w for w in own_stack.workers if w.attempts_name == first.attempts[0].worker)
        frozen.pause()
        second = await caller.until_running(task.id, attempt=2)
        frozen.resume()
        # It is told although it learned nothing while it was frozen.
        await _noted(own_stack, task.id, "told", attempt=1)
        assert not own_stack.noted(task.id, "cancelled without being told")
        gate.open(attempt=1)
        await _noted(own_stack, task.id, "returned", attempt=1)

        async def refused() -> bool:
            return any(line["task_id"] == task.id for line in frozen.log_lines("task.late"))

        await eventually_async(refused, within=10, what="the late result to be refused")
        meanwhile = await caller.get(task.id)
        gate.open(attempt=2)
        finished = await caller.until_finished(task.id)
        watched = await watching

    assert (second.attempt, second.attempts[1].worker) != (1, frozen.attempts_name)
    assert (meanwhile.status, meanwhile.attempt) == (task_pb2.TASK_STATUS_PROCESSING, 2)
    assert "attempt 1" not in meanwhile.progress.message
    assert finished.status == SUCCESS
    assert plain(finished.result) == {"attempt": 2}
    expect_whole_history(watched, finished)
    assert watched.types == ["SUBMITTED", "STARTED", "RETRY_SCHEDULED", "STARTED", "SUCCEEDED"]
    late = [e for e in watched.events if e.attempt == 1 and "late" in e.progress.message]
    assert not late


async def _noted(stack: Stack, task_id: str, what: str, *, attempt: int) -> None:
    async def look() -> bool:
        return any(line.attempt == attempt for line in stack.noted(task_id, what))

    await eventually_async(look, within=15, what=f"attempt {attempt} to note {what!r}")


@pytest.mark.parametrize("place", ["worker.claimed", "worker.finished"])
async def test_a_worker_killed_at_the_worst_moment_costs_an_attempt_and_no_task(own_stack: Stack, place: str) -> None:
    own_stack.new_worker(TASKCAST_FAILPOINTS=place)
    own_stack.start(gateways=1, workers=0)
    doomed = own_stack.workers[0]
    async with calling(own_stack.address) as caller:
        task = await caller.submit("test.echo", "once more")
        watching = asyncio.create_task(caller.watch(task.id))
        assert await asyncio.to_thread(doomed.wait, within=20) == -9
        rescuer = own_stack.new_worker()
        await asyncio.to_thread(rescuer.start)
        finished = await caller.until_finished(task.id)
        watched = await watching

    assert finished.status == SUCCESS
    assert finished.attempt == 2
    assert plain(finished.result) == "once more"
    assert len(own_stack.noted(task.id, "ran")) == (1 if place == "worker.claimed" else 2)
    expect_whole_history(watched, finished)


async def test_a_task_whose_only_attempt_is_lost_ends_in_error(own_stack: Stack) -> None:
    own_stack.start(gateways=1, workers=1)
    policy = task_pb2.RetryPolicy(max_attempts=1)
    async with calling(own_stack.address) as caller:
        task = await caller.submit("test.hold", {"gate": str(own_stack.gate())}, retry_policy=policy)
        await caller.until_running(task.id)
        own_stack.workers[0].kill()
        watched = await caller.watch(task.id)
        finished = await caller.get(task.id)

    assert finished.status == task_pb2.TASK_STATUS_ERROR
    assert finished.error.code == "LEASE_LOST"
    expect_whole_history(watched, finished)


async def test_an_attempt_and_a_task_time_out_although_their_worker_is_dead(own_stack: Stack) -> None:
    from google.protobuf.duration_pb2 import Duration  # noqa: PLC0415

    own_stack.start(gateways=1, workers=1)
    payload = {"gate": str(own_stack.gate())}
    policy = task_pb2.RetryPolicy(max_attempts=1)
    async with calling(own_stack.address) as caller:
        by_attempt = await caller.submit("test.hold", payload, attempt_timeout=Duration(seconds=1), retry_policy=policy)
        by_task = await caller.submit("test.hold", payload, timeout=Duration(seconds=1))
        await caller.until_running(by_attempt.id)
        await caller.until_running(by_task.id)
        own_stack.workers[0].kill()
        ended = [await caller.until_finished(task.id) for task in (by_attempt, by_task)]

    assert [task.status for task in ended] == [task_pb2.TASK_STATUS_TIMEOUT] * 2
    assert [task.error.code for task in ended] == ["ATTEMPT_TIMEOUT", "TASK_TIMEOUT"]
