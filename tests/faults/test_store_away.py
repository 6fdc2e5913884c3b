"""Redis goes and comes back: no call hangs, none lies, and everything goes on afterwards."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_health.v1 import health_pb2

from taskcast.v1 import task_pb2
from taskcast.v1 import task_service_pb2 as pb
from tests.clients import calling, expect_whole_history, plain, read_all, timed_refusal
from tests.deadlines import eventually_async
from tests.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.clients import Caller, Problem
    from tests.servers import PrivateValkey, ValkeyFactory

pytestmark = pytest.mark.faults

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SUCCESS = task_pb2.TASK_STATUS_SUCCESS
ECHO = pb.SubmitTaskRequest(type="test.echo")


@pytest.fixture(name="store")
def _store(valkey_factory: ValkeyFactory) -> PrivateValkey:
    return valkey_factory(appendonly=True, settings={"appendfsync": "always"})


@pytest.fixture(name="stack")
def _stack(tmp_path: Path, store: PrivateValkey, rabbitmq_url: str) -> Iterator[Stack]:
    with Stack(tmp_path / "stack", redis_url=store.url, rabbitmq_url=rabbitmq_url) as stack:
        yield stack
        # Services that are told to stop want to tidy up.
        if store.running:
            store.resume()
        else:
            store.stop()
            store.start()


async def _until_health(stack: Stack, wanted: int) -> None:
    async def look() -> bool:
        return await asyncio.to_thread(stack.gateways[0].health) == wanted

    await eventually_async(look, within=20, what=f"health to be {wanted}")


def _calls(caller: Caller, task_id: str, within: float) -> list[Awaitable[object]]:
    return [
        caller.submit("test.echo", 1, within=within),
        caller.get(task_id, within=within),
        caller.cancel(task_id, within=within),
        caller.stub.RetryTask(pb.RetryTaskRequest(task_id=task_id), timeout=within),
        caller.stub.ListTasks(pb.ListTasksRequest(), timeout=within),
        caller.stub.BatchSubmitTasks(pb.BatchSubmitTasksRequest(requests=[ECHO] * 1_000), timeout=within),
        caller.stub.BatchGetTasks(pb.BatchGetTasksRequest(task_ids=[task_id] * 1_000), timeout=within),
        caller.stub.BatchCancelTasks(pb.BatchCancelTasksRequest(task_ids=[task_id] * 1_000), timeout=within),
        # Those that wait for one another must not add up.
        *(caller.get(task_id, within=within) for _ in range(40)),
    ]


async def _first_update(caller: Caller, task_id: str, within: float) -> object:
    return await anext(aiter(caller.open_watch(task_id, within=within)))


def _expect_store_unavailable(problem: Problem) -> None:
    assert problem.code is grpc.StatusCode.UNAVAILABLE
    assert (problem.domain, problem.reason) == ("taskcast", "STORE_UNAVAILABLE")
    assert problem.retry_after
    assert "127.0.0.1" not in problem.message, "the message tells where the store is"


@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_without_redis_every_call_is_refused_within_its_deadline_and_all_goes_on_afterwards(
    stack: Stack, store: PrivateValkey, how: str
) -> None:
    stack.start(gateways=1, workers=1)
    gate = stack.gate()
    away: Callable[[], None] = getattr(store, how)
    back: Callable[[], None] = store.start if how == "kill" else store.resume
    async with calling(stack.address) as caller:
        before = await caller.submit("test.echo", "before")
        done = await caller.until_finished(before.id)
        running = await caller.submit("test.hold", {"gate": str(gate)})
        await caller.until_running(running.id)
        waiting = await caller.submit("test.echo", "waiting", queue="unserved")

        away()
        for within in (1.0, 5.0):
            answers = await asyncio.gather(*(timed_refusal(call) for call in _calls(caller, done.id, within)))
            took = sorted(seconds for _, seconds in answers)
            print(f"deadline {within:g} s: refused after {took[0]:.2f} to {took[-1]:.2f} s")
            for problem, _ in answers:
                _expect_store_unavailable(problem)
            assert took[-1] < within
        # The deadline of a watch is for the whole of it; a store that does not answer ends it sooner.
        watch, _ = await timed_refusal(_first_update(caller, done.id, within=20))
        _expect_store_unavailable(watch)
        await _until_health(stack, NOT_SERVING)
        # The handler ends meanwhile: its worker keeps the outcome until the store is back.
        gate.open()
        await asyncio.to_thread(back)
        await _until_health(stack, SERVING)

        assert await caller.get(done.id) == done
        held = await caller.until_finished(running.id)
        after = await caller.submit("test.echo", "after")
        finished = await caller.until_finished(after.id)
        cancelled = await caller.cancel(waiting.id)
        watches = [await caller.watch(task.id) for task in (done, held, finished, cancelled)]
        ended = [await caller.get(task.id) for task in (done, held, finished, cancelled)]

    assert [plain(task.result) for task in (done, finished)] == ["before", "after"]
    assert held.status == finished.status == SUCCESS
    for watched, task in zip(watches, ended, strict=True):
        expect_whole_history(watched, task)
    assert all(service.running for service in stack.services)


async def test_replies_that_come_late_after_a_pause_go_to_nobody_else(stack: Stack, store: PrivateValkey) -> None:
    stack.start(gateways=1, workers=1)
    async with calling(stack.address) as caller:
        tasks = [await caller.submit("test.echo", number) for number in range(50)]
        for task in tasks:
            await caller.until_finished(task.id)
        # Calls are under way when the store freezes, and their replies come when others are asked for.
        for round_ in range(3):
            store.pause()
            given_up = await asyncio.gather(
                *(timed_refusal(caller.get(task.id, within=0.4 + 0.1 * round_)) for task in tasks)
            )
            store.resume()
            got = await asyncio.gather(*(caller.get(task.id) for task in tasks))

            # With so short a deadline the client's own clock may be the first.
            late = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
            assert {problem.code for problem, _ in given_up} <= late
            assert [task.id for task in got] == [task.id for task in tasks]
            assert [plain(task.result) for task in got] == list(range(50))


async def test_a_submit_without_an_answer_can_be_repeated_with_its_request_id(
    stack: Stack, store: PrivateValkey
) -> None:
    stack.start(gateways=1, workers=1)
    async with calling(stack.address) as caller:
        store.pause()
        problems = await asyncio.gather(
            *(timed_refusal(caller.submit("test.echo", n, request_id=f"r{n}", within=1)) for n in range(20))
        )
        store.resume()
        again = [await caller.submit("test.echo", n, request_id=f"r{n}") for n in range(20)]
        finished = [await caller.until_finished(task.id) for task in again]

    for problem, _ in problems:
        _expect_store_unavailable(problem)
    assert [plain(task.result) for task in finished] == list(range(20))
    for task in finished:
        assert len(stack.noted(task.id, "ran")) == 1


async def test_a_live_watch_ends_with_a_hint_when_redis_is_gone_and_can_be_resumed(
    stack: Stack, store: PrivateValkey
) -> None:
    stack.start(gateways=1, workers=1)
    gate = stack.gate()
    async with calling(stack.address) as caller:
        task = await caller.submit("test.hold", {"gate": str(gate)})
        await caller.until_running(task.id)
        call = aiter(caller.open_watch(task.id))
        seen = [(await anext(call)).event.sequence for _ in range(3)]
        store.kill()
        broken = await read_all(call)
        await asyncio.to_thread(store.start)
        await _until_health(stack, SERVING)
        gate.open()
        resumed = await caller.watch(task.id, seen[-1])
        finished = await caller.get(task.id)

    assert broken.problem is not None
    _expect_store_unavailable(broken.problem)
    assert resumed.problem is None
    assert seen + broken.sequences + resumed.sequences == list(range(1, finished.sequence + 1))


async def test_services_wait_for_a_redis_that_is_not_there_yet(stack: Stack, store: PrivateValkey) -> None:
    store.stop()
    gateway, worker = stack.new_gateway(), stack.new_worker()
    gateway.launch()
    worker.launch()

    async def both_wait() -> bool:
        return bool(gateway.log_lines("clock.waits_for_record") and worker.log_lines("clock.waits_for_record"))

    await eventually_async(both_wait, within=40, what="both services to wait for the store")
    await asyncio.to_thread(store.start)
    await asyncio.to_thread(gateway.wait_until_ready)
    async with calling(stack.address) as caller:
        task = await caller.submit("test.echo", 1)
        assert (await caller.until_finished(task.id)).status == SUCCESS


async def test_services_that_wait_for_redis_stop_when_they_are_told(stack: Stack, store: PrivateValkey) -> None:
    store.stop()
    gateway, worker = stack.new_gateway(), stack.new_worker()
    gateway.launch()
    worker.launch()

    async def both_wait() -> bool:
        return bool(gateway.log_lines("clock.waits_for_record") and worker.log_lines("clock.waits_for_record"))

    await eventually_async(both_wait, within=40, what="both services to wait for the store")
    gateway.terminate()
    worker.terminate()

    assert await asyncio.to_thread(gateway.wait, within=10) == 0
    assert await asyncio.to_thread(worker.wait, within=10) == 0


async def test_a_full_redis_refuses_new_tasks_with_a_hint_and_runs_those_it_has(
    tmp_path: Path, valkey_factory: ValkeyFactory, rabbitmq_url: str
) -> None:
    store = valkey_factory(settings={"maxmemory": "24mb", "maxmemory-policy": "noeviction"})
    with Stack(tmp_path / "full", redis_url=store.url, rabbitmq_url=rabbitmq_url) as stack:
        stack.start(gateways=1, workers=0)
        async with calling(stack.address) as caller:
            refused: Problem | None = None
            accepted = []
            for _ in range(100):
                try:
                    accepted.append(await caller.submit("test.echo", "x" * 900_000))
                except grpc.aio.AioRpcError:
                    refused, _ = await timed_refusal(caller.submit("test.echo", "x" * 900_000))
                    break
            first = await caller.get(accepted[0].id)

    assert accepted
    assert refused is not None
    assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (refused.domain, refused.reason) == ("taskcast", "STORE_FULL")
    assert refused.retry_after
    assert first.id == accepted[0].id
