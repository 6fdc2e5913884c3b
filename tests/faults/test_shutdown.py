"""SIGTERM: what runs may finish or is handed back, watches end with a hint, and the exit code is 0."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import grpc
import pytest

from taskcast.v1 import task_pb2
from tests.clients import calling, expect_whole_history, plain, read_all
from tests.deadlines import eventually_async
from tests.stack import Stack

if TYPE_CHECKING:
    from pathlib import Path

    from tests.clients import Caller
    from tests.servers import PrivateRabbitMQ, ValkeyFactory

pytestmark = pytest.mark.faults

SUCCESS = task_pb2.TASK_STATUS_SUCCESS
HANDED_BACK = ["SUBMITTED", "STARTED", "RETRY_SCHEDULED", "STARTED", "SUCCEEDED"]


async def _until_noted(stack: Stack, task_id: str, what: str = "ran") -> None:
    async def look() -> bool:
        return bool(stack.noted(task_id, what))

    await eventually_async(look, within=15, what=f"a handler of {task_id} to note {what!r}")


async def test_a_worker_told_to_stop_finishes_what_is_short_and_hands_back_what_is_long(
    own_stack: Stack,
) -> None:
    first = own_stack.new_worker(WORKER_DRAIN_SECONDS="1.5")
    own_stack.start(gateways=1, workers=0)
    gate = own_stack.gate()
    only_one = task_pb2.RetryPolicy(max_attempts=1)
    async with calling(own_stack.address) as caller:
        short = [await caller.submit("test.steps", {"steps": 5, "pause": 0.1}, retry_policy=only_one) for _ in range(3)]
        long = [
            await caller.submit(type_, {"gate": str(gate)}, retry_policy=only_one)
            for type_ in ("test.hold", "test.hold", "test.thread")
        ]
        for task in (*short, *long):
            await caller.until_running(task.id)
        watches = [asyncio.create_task(caller.watch(task.id)) for task in long]
        second = own_stack.new_worker()
        starting = asyncio.create_task(asyncio.to_thread(second.start))
        began = time.monotonic()
        first.terminate()
        code = await asyncio.to_thread(first.wait, within=15)
        took = time.monotonic() - began
        await starting
        again = [await caller.until_running(task.id, attempt=2) for task in long]
        gate.open()
        finished = [await caller.until_finished(task.id) for task in (*short, *long)]
        watched = await asyncio.gather(*watches)

    print(f"the worker was gone after {took:.2f} s")
    assert code == 0
    assert took < 5
    assert [(task.status, task.attempt) for task in finished] == [(SUCCESS, 1)] * 3 + [(SUCCESS, 2)] * 3
    for task, watch, running in zip(finished[3:], watched, again, strict=True):
        assert running.attempts[0].error.code == "WORKER_SHUTDOWN", "a retry was used up"
        assert watch.types == HANDED_BACK
        expect_whole_history(watch, task)
        assert own_stack.noted(task.id, "told")


async def test_handlers_that_listen_to_nobody_do_not_keep_their_worker_alive(own_stack: Stack) -> None:
    first = own_stack.new_worker(WORKER_DRAIN_SECONDS="0.5")
    own_stack.start(gateways=1, workers=0)
    gate = own_stack.gate()
    only_one = task_pb2.RetryPolicy(max_attempts=1)
    async with calling(own_stack.address) as caller:
        tasks = [
            await caller.submit(type_, {"gate": str(gate)}, retry_policy=only_one)
            for type_ in ("test.deaf_thread", "test.stubborn")
        ]
        for task in tasks:
            await _until_noted(own_stack, task.id)
        first.terminate()
        code = await asyncio.to_thread(first.wait, within=15)
        second = own_stack.new_worker()
        await asyncio.to_thread(second.start)
        for task in tasks:
            await caller.until_running(task.id, attempt=2)
        gate.open()
        finished = [await caller.until_finished(task.id) for task in tasks]
        watched = [await caller.watch(task.id) for task in tasks]

    assert code == 0
    for task, watch in zip(finished, watched, strict=True):
        assert task.status == SUCCESS
        assert task.attempts[0].error.code == "WORKER_SHUTDOWN", "a retry was used up"
        assert plain(task.result) == {"attempt": 2}
        assert watch.types == HANDED_BACK
        expect_whole_history(watch, task)


async def test_tasks_that_a_stopping_worker_had_taken_but_not_begun_run_elsewhere(own_stack: Stack) -> None:
    first = own_stack.new_worker(WORKER_CONCURRENCY="2", WORKER_DRAIN_SECONDS="1")
    own_stack.start(gateways=1, workers=0)
    gate = own_stack.gate()
    async with calling(own_stack.address) as caller:
        holding = [await caller.submit("test.hold", {"gate": str(gate)}) for _ in range(2)]
        for task in holding:
            await caller.until_running(task.id)
        behind = [await caller.submit("test.echo", number) for number in range(20)]
        first.terminate()
        assert await asyncio.to_thread(first.wait, within=15) == 0
        second = own_stack.new_worker()
        await asyncio.to_thread(second.start)
        finished = [await caller.until_finished(task.id) for task in behind]
        gate.open()
        await asyncio.gather(*(caller.until_finished(task.id) for task in holding))

    assert {(task.status, task.attempt) for task in finished} == {(SUCCESS, 1)}


async def test_a_gateway_told_to_stop_ends_its_watches_with_a_hint_and_another_misses_nothing(
    own_stack: Stack,
) -> None:
    own_stack.start(gateways=2, workers=1)
    stopping, other = own_stack.gateways
    gate = own_stack.gate()
    async with calling(stopping.address) as one, calling(other.address) as two:
        task = await one.submit("test.hold", {"gate": str(gate), "report": True})
        call = aiter(one.open_watch(task.id))
        seen = [(await anext(call)).event.sequence for _ in range(4)]
        quiet = await one.submit("test.echo", queue="unserved")
        idle = asyncio.create_task(one.watch(quiet.id, None))
        await two.until_running(task.id)
        began = time.monotonic()
        stopping.terminate()
        broken = await read_all(call)
        idled = await idle
        code = await asyncio.to_thread(stopping.wait, within=12)
        took = time.monotonic() - began
        resuming = asyncio.create_task(two.watch(task.id, (seen + broken.sequences)[-1]))
        gate.open()
        resumed = await resuming
        finished = await two.get(task.id)

    print(f"the gateway was gone after {took:.2f} s")
    assert code == 0
    assert took < 10, "longer than the time to drain"
    for problem in (broken.problem, idled.problem):
        assert problem is not None
        assert problem.code is grpc.StatusCode.UNAVAILABLE
        assert (problem.domain, problem.reason) == ("taskcast", "SHUTTING_DOWN")
        assert problem.retry_after
    assert resumed.problem is None
    assert seen + broken.sequences + resumed.sequences == list(range(1, finished.sequence + 1))
    assert finished.status == SUCCESS


async def test_a_stopping_gateway_answers_the_submits_that_it_has_and_loses_none(own_stack: Stack) -> None:
    own_stack.start(gateways=2, workers=1)
    stopping, other = own_stack.gateways
    recorded: list[str] = []
    refused: list[grpc.StatusCode] = []

    async def client(caller: Caller) -> None:
        while True:
            try:
                recorded.append((await caller.submit("test.steps", {"steps": 0})).id)
            except grpc.aio.AioRpcError as error:
                refused.append(error.code())
                return

    async with calling(stopping.address) as one, calling(other.address) as two:
        clients = [asyncio.create_task(client(one)) for _ in range(16)]

        async def many() -> bool:
            return len(recorded) >= 200

        await eventually_async(many, within=30, what="some load")
        stopping.terminate()
        await asyncio.gather(*clients)
        code = await asyncio.to_thread(stopping.wait, within=12)
        finished = [await two.until_finished(task_id, within=30) for task_id in recorded]

    assert code == 0
    assert set(refused) <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert {task.status for task in finished} == {SUCCESS}


@pytest.mark.soak
async def test_services_stop_in_time_although_redis_and_rabbitmq_answer_nothing(
    tmp_path: Path, rabbit: PrivateRabbitMQ, valkey_factory: ValkeyFactory
) -> None:
    store = valkey_factory()
    with Stack(tmp_path / "stack", redis_url=store.url, rabbitmq_url=rabbit.url, tidy=False) as stack:
        stack.start(gateways=1, workers=1)
        gate = stack.gate()
        async with calling(stack.address) as caller:
            task = await caller.submit("test.hold", {"gate": str(gate)})
            await caller.until_running(task.id)
            watching = asyncio.create_task(caller.watch(task.id))
            await _until_noted(stack, task.id)
            store.pause()
            rabbit.pause()
            try:
                began = time.monotonic()
                for service in stack.services:
                    service.terminate()
                codes = await asyncio.gather(*(asyncio.to_thread(s.wait, within=60) for s in stack.services))
                took = time.monotonic() - began
            finally:
                rabbit.resume()
                store.resume()
            watched = await watching

    print(f"gateway and worker were gone after {took:.2f} s")
    assert codes == [0, 0]
    # Those who start services give them 30 s to stop.
    assert took < 30
    assert watched.problem is not None
    assert watched.problem.reason == "SHUTTING_DOWN"
