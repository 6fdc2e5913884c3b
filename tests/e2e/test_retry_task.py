"""RetryTask: a new task like a finished one that did not succeed; the old one stays as it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from taskcast.v1 import task_pb2, task_service_pb2
from tests.clients import calling, plain, refusal, value
from tests.stack import record_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.clients import Caller
    from tests.stack import Stack

pytestmark = pytest.mark.e2e


@pytest.fixture(name="caller")
async def _caller(standing_stack: Stack) -> AsyncIterator[Caller]:
    async with calling(standing_stack.address) as caller:
        yield caller


async def _retry(caller: Caller, task_id: str, request_id: str = "") -> task_service_pb2.RetryTaskResponse:
    request = task_service_pb2.RetryTaskRequest(task_id=task_id, request_id=request_id)
    return await caller.stub.RetryTask(request, timeout=20)


async def _refused(caller: Caller, task_id: str, request_id: str = "") -> tuple[grpc.StatusCode, str]:
    request = task_service_pb2.RetryTaskRequest(task_id=task_id, request_id=request_id)
    problem = await refusal(caller.stub.RetryTask(request, timeout=20))
    assert problem.domain == "taskcast"
    return problem.code, problem.reason


async def _ended(caller: Caller, status: task_pb2.TaskStatus.ValueType, gate: object, **fields: Any) -> task_pb2.Task:
    """A task that ended so, and that succeeds once the gate is open unless its handler says otherwise."""
    match status:
        case task_pb2.TASK_STATUS_FAILED:
            task = await caller.submit("test.fail", **fields)
        case task_pb2.TASK_STATUS_ERROR:
            policy = task_pb2.RetryPolicy(max_attempts=1)
            task = await caller.submit("test.boom", retry_policy=policy, **fields)
        case task_pb2.TASK_STATUS_TIMEOUT:
            policy = task_pb2.RetryPolicy(max_attempts=1)
            limit = Duration(nanos=200_000_000)
            task = await caller.submit(
                "test.linger", {"gate": str(gate)}, attempt_timeout=limit, retry_policy=policy, **fields
            )
        case _:
            task = await caller.submit("test.hold", {"gate": str(gate)}, **fields)
            await caller.cancel(task.id)
    ended = await caller.until_finished(task.id)
    assert ended.status == status
    return ended


@pytest.mark.parametrize(
    "status",
    [
        task_pb2.TASK_STATUS_FAILED,
        task_pb2.TASK_STATUS_ERROR,
        task_pb2.TASK_STATUS_CANCELLED,
        task_pb2.TASK_STATUS_TIMEOUT,
    ],
    ids=task_pb2.TaskStatus.Name,
)
async def test_whatever_ended_without_success_is_run_again_as_a_new_task_and_stays_as_it_is(
    standing_stack: Stack, caller: Caller, status: task_pb2.TaskStatus.ValueType
) -> None:
    gate = standing_stack.gate()
    asked = {
        "labels": {"order": "7"},
        "priority": task_pb2.TASK_PRIORITY_HIGH,
        "timeout": Duration(seconds=50),
        "estimated_duration": Duration(seconds=3),
        "retention": Duration(seconds=600),
    }
    old = await _ended(caller, status, gate, **asked)
    gate.open()
    answer = await _retry(caller, old.id)
    new = await caller.until_finished(answer.task.id)

    assert not answer.duplicate
    assert answer.task.id != old.id
    assert answer.task.retry_of == new.retry_of == old.id
    assert answer.task.status == task_pb2.TASK_STATUS_WAITING
    assert not answer.task.HasField("payload")
    for field in ("type", "payload", "labels", "queue", "priority", "timeout", "estimated_duration", "retention"):
        assert getattr(new, field) == getattr(old, field), field
    assert new.retry_policy == (old if old.attempt else new).retry_policy
    succeeds = status in {task_pb2.TASK_STATUS_CANCELLED, task_pb2.TASK_STATUS_TIMEOUT}
    assert new.status == (task_pb2.TASK_STATUS_SUCCESS if succeeds else status)
    assert standing_stack.noted(new.id, "ran")
    assert await caller.get(old.id) == old, "what is terminal stays as it is"


async def test_a_retry_can_be_retried_and_names_the_one_before(caller: Caller, standing_stack: Stack) -> None:
    first = await _ended(caller, task_pb2.TASK_STATUS_FAILED, standing_stack.gate())
    second = await caller.until_finished((await _retry(caller, first.id)).task.id)
    third = await caller.until_finished((await _retry(caller, second.id)).task.id)

    assert second.retry_of == first.id
    assert third.retry_of == second.id


async def test_a_payload_too_large_for_a_message_is_taken_over(caller: Caller) -> None:
    payload = {"filler": "x" * 900_000, "gate": "/nowhere"}
    old = await caller.submit("test.hold", payload)
    await caller.cancel(old.id)
    new = await caller.get((await _retry(caller, old.id)).task.id)
    await caller.cancel(new.id)

    assert plain(new.payload) == payload


async def test_the_schedule_is_not_taken_over(caller: Caller) -> None:
    due = Timestamp(seconds=int(record_time()) + 3_600)
    old = await caller.submit("test.echo", 1, schedule_time=due)
    await caller.cancel(old.id)
    new = await caller.until_finished((await _retry(caller, old.id)).task.id)

    assert not new.HasField("schedule_time")
    assert new.status == task_pb2.TASK_STATUS_SUCCESS


async def test_what_waits_runs_or_has_succeeded_is_not_retried(standing_stack: Stack, caller: Caller) -> None:
    gate = standing_stack.gate()
    waiting = await caller.submit("test.echo", queue="unserved")
    running = await caller.submit("test.hold", {"gate": str(gate)})
    await caller.until_running(running.id)
    refused = [await _refused(caller, task.id) for task in (waiting, running)]
    gate.open()
    succeeded = await caller.until_finished(running.id)
    refused.append(await _refused(caller, succeeded.id))

    assert refused == [(grpc.StatusCode.FAILED_PRECONDITION, "TASK_NOT_RETRYABLE")] * 3


async def test_each_retry_makes_a_new_task_unless_it_has_a_request_id(standing_stack: Stack, caller: Caller) -> None:
    old, other = [await _ended(caller, task_pb2.TASK_STATUS_FAILED, standing_stack.gate()) for _ in range(2)]
    plainly = [(await _retry(caller, old.id)).task.id for _ in range(3)]
    named = await asyncio.gather(*(_retry(caller, old.id, "retry the order") for _ in range(10)))
    await caller.submit("test.echo", 1, request_id="a submit's")
    refused = [
        await _refused(caller, other.id, "retry the order"),
        await _refused(caller, old.id, "a submit's"),
        await _refused_submit(caller, "retry the order"),
    ]

    assert len(set(plainly)) == 3
    (task_id,) = {answer.task.id for answer in named}
    assert task_id not in plainly
    assert sorted(answer.duplicate for answer in named) == [False] + [True] * 9
    assert refused == [(grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")] * 3
    assert len(standing_stack.noted((await caller.until_finished(task_id)).id, "ran")) == 1


async def test_an_over_long_request_id_is_refused_by_its_name(standing_stack: Stack, caller: Caller) -> None:
    old = await _ended(caller, task_pb2.TASK_STATUS_FAILED, standing_stack.gate())
    request = task_service_pb2.RetryTaskRequest(task_id=old.id, request_id="r" * 129)
    problem = await refusal(caller.stub.RetryTask(request, timeout=20))

    assert (problem.code, problem.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ("request_id",))


async def _refused_submit(caller: Caller, request_id: str) -> tuple[grpc.StatusCode, str]:
    request = task_service_pb2.SubmitTaskRequest(type="test.echo", payload=value(1), request_id=request_id)
    problem = await refusal(caller.stub.SubmitTask(request, timeout=20))
    return problem.code, problem.reason
