"""One request_id, one task, however often and wherever it is sent."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import grpc
import pytest

from taskcast.v1 import task_pb2, task_service_pb2
from tests.clients import calling, plain, refusal, value

if TYPE_CHECKING:
    from tests.stack import Stack

pytestmark = pytest.mark.e2e

SUBMITS = 100
CONNECTIONS_PER_GATEWAY = 4


async def test_a_hundred_submits_with_one_request_id_on_two_gateways_make_one_task_that_runs_once(
    standing_stack: Stack,
) -> None:
    request = task_service_pb2.SubmitTaskRequest(
        type="test.echo", payload=value({"order": 7}), labels={"a": "1", "b": "2"}, request_id="order 7 / ä"
    )
    other = task_service_pb2.SubmitTaskRequest(
        type="test.echo", payload=value({"order": 8}), request_id=request.request_id
    )
    async with AsyncExitStack() as opened:
        callers = [
            await opened.enter_async_context(calling(gateway.address))
            for gateway in standing_stack.gateways
            for _ in range(CONNECTIONS_PER_GATEWAY)
        ]
        answers = await asyncio.gather(
            *(callers[n % len(callers)].stub.SubmitTask(request, timeout=20) for n in range(SUBMITS))
        )
        (task_id,) = {answer.task.id for answer in answers}
        finished = await callers[0].until_finished(task_id)
        again = await callers[-1].stub.SubmitTask(request, timeout=20)
        refused = [await refusal(caller.stub.SubmitTask(other, timeout=20)) for caller in callers]

    assert sorted(answer.duplicate for answer in answers) == [False] + [True] * (SUBMITS - 1)
    assert finished.status == task_pb2.TASK_STATUS_SUCCESS
    assert plain(finished.result) == {"order": 7}
    assert len(standing_stack.noted(task_id, "ran")) == 1
    assert again.duplicate
    assert again.task.status == task_pb2.TASK_STATUS_SUCCESS, "a duplicate is the task as it stands now"
    for problem in refused:
        assert problem.code is grpc.StatusCode.ALREADY_EXISTS
        assert (problem.domain, problem.reason) == ("taskcast", "REQUEST_ID_REUSED")


async def test_different_bodies_that_race_for_one_request_id_make_one_task(standing_stack: Stack) -> None:
    async with AsyncExitStack() as opened:
        callers = [await opened.enter_async_context(calling(g.address)) for g in standing_stack.gateways]

        async def submit(number: int) -> tuple[int, str | grpc.StatusCode]:
            try:
                answer = await callers[number % 2].submit_answer("test.echo", number, request_id="raced for")
            except grpc.aio.AioRpcError as error:
                return number, error.code()
            assert not answer.duplicate
            return number, answer.task.id

        outcomes = dict(await asyncio.gather(*(submit(number) for number in range(20))))
        ((winner, task_id),) = ((n, i) for n, i in outcomes.items() if isinstance(i, str))
        finished = await callers[0].until_finished(task_id)

    refused = [outcome for number, outcome in outcomes.items() if number != winner]
    assert set(refused) == {grpc.StatusCode.ALREADY_EXISTS}
    assert plain(finished.result) == winner


async def test_submits_without_a_request_id_are_different_tasks(standing_stack: Stack) -> None:
    async with calling(standing_stack.address) as caller:
        answers = [await caller.submit_answer("test.echo", 1) for _ in range(3)]

    assert len({answer.task.id for answer in answers}) == 3
    assert not any(answer.duplicate for answer in answers)
