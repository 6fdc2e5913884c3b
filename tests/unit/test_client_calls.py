from __future__ import annotations

import asyncio
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import grpc
import pytest
from google.rpc import status_pb2

from taskcast.client import Client, FieldViolation, TaskcastError
from taskcast.v1 import task_pb2, task_service_pb2
from tests.unit.scripted_gateway import TASK_ID, Refusal, ScriptedGateway, Silence, scripted_gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TASK = task_pb2.Task(id=TASK_ID, type="demo.steps", status=task_pb2.TASK_STATUS_WAITING, sequence=1)
SUBMITTED = task_service_pb2.SubmitTaskResponse(task=TASK)
STORE_AWAY = Refusal(grpc.StatusCode.UNAVAILABLE, "The record is away.", "STORE_UNAVAILABLE", retry_delay=0.01)


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    async with scripted_gateway() as gateway:
        yield gateway


@pytest.fixture
async def client(gateway: ScriptedGateway) -> AsyncIterator[Client]:
    async with Client(gateway.address, deadline=5) as client:
        yield client


async def test_submit_sends_everything_it_was_given(gateway: ScriptedGateway, client: Client) -> None:
    gateway.answers.append(SUBMITTED)
    task = await client.submit(
        "demo.steps",
        {"steps": 3, "deep": [1.5, None, True, "ü"]},
        labels={"team": "blue"},
        queue="heavy",
        priority=task_pb2.TASK_PRIORITY_HIGH,
        schedule_time=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
        timeout=90,
        attempt_timeout=timedelta(milliseconds=1_500),
        estimated_duration=2.5,
        retry_policy=task_pb2.RetryPolicy(max_attempts=5),
        webhooks=[task_pb2.Webhook(url="https://example.org/hook")],
        retention=0,
        request_id="mine",
    )
    assert task == TASK
    (request,) = gateway.requests
    assert request.type == "demo.steps"
    assert request.payload.struct_value["steps"] == 3
    assert list(request.payload.struct_value["deep"]) == [1.5, None, True, "ü"]
    assert dict(request.labels) == {"team": "blue"}
    assert request.queue == "heavy"
    assert request.priority == task_pb2.TASK_PRIORITY_HIGH
    assert request.schedule_time.ToJsonString() == "2030-01-02T03:04:05Z"
    assert request.timeout.ToJsonString() == "90s"
    assert request.attempt_timeout.ToMilliseconds() == 1_500
    assert request.estimated_duration.ToMilliseconds() == 2_500
    assert request.retry_policy.max_attempts == 5
    assert request.webhooks[0].url == "https://example.org/hook"
    assert request.HasField("retention")
    assert request.request_id == "mine"


async def test_submit_leaves_out_what_it_was_not_given(gateway: ScriptedGateway, client: Client) -> None:
    gateway.answers.append(SUBMITTED)
    await client.submit("demo.steps")
    (request,) = gateway.requests
    assert {descriptor.name for descriptor, _ in request.ListFields()} == {"type", "payload", "request_id"}
    assert request.payload.WhichOneof("kind") == "null_value"


async def test_a_submit_that_is_repeated_keeps_its_request_id(gateway: ScriptedGateway, client: Client) -> None:
    gateway.answers.extend([STORE_AWAY, STORE_AWAY, SUBMITTED])
    assert (await client.submit("demo.steps")).id == TASK_ID
    ids = {request.request_id for request in gateway.requests}
    assert len(gateway.requests) == 3
    assert len(ids) == 1
    uuid.UUID(ids.pop())


async def test_two_submits_have_different_request_ids(gateway: ScriptedGateway, client: Client) -> None:
    gateway.answers.extend([SUBMITTED, SUBMITTED])
    await client.submit("demo.steps")
    await client.submit("demo.steps")
    assert gateway.requests[0].request_id != gateway.requests[1].request_id


async def test_get_and_cancel_answer_the_task(gateway: ScriptedGateway, client: Client) -> None:
    gateway.answers.extend(
        [task_service_pb2.GetTaskResponse(task=TASK), task_service_pb2.CancelTaskResponse(task=TASK)]
    )
    assert await client.get(TASK_ID) == TASK
    assert await client.cancel(TASK_ID, "changed my mind") == TASK
    assert [request.task_id for request in gateway.requests] == [TASK_ID, TASK_ID]
    assert gateway.requests[1].reason == "changed my mind"


async def test_an_error_has_everything_the_gateway_said(gateway: ScriptedGateway, client: Client) -> None:
    gateway.answers.append(
        Refusal(
            grpc.StatusCode.INVALID_ARGUMENT,
            "type must not be empty",
            "INVALID_REQUEST",
            fields={"type": "must not be empty"},
            metadata={"hint": "x"},
        )
    )
    with pytest.raises(TaskcastError) as caught:
        await client.submit("")
    error = caught.value
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason == "INVALID_REQUEST"
    assert str(error) == error.message == "type must not be empty"
    assert error.violations == (FieldViolation("type", "must not be empty"),)
    assert error.metadata == {"hint": "x"}
    assert error.retry_delay is None
    assert not error.may_pass


async def test_an_error_without_details_has_a_sentence_too(gateway: ScriptedGateway, client: Client) -> None:
    gateway.answers.append(Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max"))
    with pytest.raises(TaskcastError) as caught:
        await client.get(TASK_ID)
    assert caught.value.reason == ""
    assert gateway.address in str(caught.value)
    assert "Received message larger than max" in str(caught.value)


async def test_whatever_asks_to_be_tried_again_is_tried_again(gateway: ScriptedGateway, client: Client) -> None:
    limited = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "Too fast.", "RATE_LIMITED", retry_delay=0.05)
    gateway.answers.extend([limited, task_service_pb2.GetTaskResponse(task=TASK)])
    began = time.monotonic()
    assert await client.get(TASK_ID) == TASK
    assert time.monotonic() - began >= 0.05


async def test_a_pause_that_ends_after_the_deadline_is_not_taken(gateway: ScriptedGateway, client: Client) -> None:
    full = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "The record is full.", "STORE_FULL", retry_delay=30)
    gateway.answers.append(full)
    began = time.monotonic()
    with pytest.raises(TaskcastError) as caught:
        await client.get(TASK_ID)
    assert caught.value.retry_delay == 30
    assert time.monotonic() - began < 5


async def test_a_call_fails_at_its_deadline_when_nobody_listens() -> None:
    async with scripted_gateway() as gateway:
        pass
    pauses: list[float] = []
    began = time.monotonic()
    async with Client(gateway.address, deadline=0.5, on_retry=lambda _, pause: pauses.append(pause)) as client:
        with pytest.raises(TaskcastError, match=f"No gateway answers at {gateway.address}: .*refused") as caught:
            await client.get(TASK_ID)
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    assert pauses
    assert time.monotonic() - began < 5


async def test_a_call_fails_at_its_deadline_when_the_gateway_hangs(gateway: ScriptedGateway) -> None:
    gateway.answers.append(Silence())
    async with Client(gateway.address, deadline=0.3) as client:
        with pytest.raises(TaskcastError, match="did not answer in time") as caught:
            await client.get(TASK_ID)
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_the_deadline_in_a_later_try_does_not_hide_what_the_first_met(gateway: ScriptedGateway) -> None:
    gateway.answers.extend([STORE_AWAY, Silence()])
    async with Client(gateway.address, deadline=0.5) as client:
        with pytest.raises(TaskcastError, match="record is away"):
            await client.get(TASK_ID)


async def test_a_call_succeeds_when_the_gateway_comes_back_in_time(gateway: ScriptedGateway, client: Client) -> None:
    gateway.answers.append(task_service_pb2.GetTaskResponse(task=TASK))
    await gateway.stop()
    call = asyncio.create_task(client.get(TASK_ID))
    await gateway.start()
    assert await call == TASK


async def test_details_that_contradict_the_status_are_not_believed(gateway: ScriptedGateway, client: Client) -> None:
    of_another_error = status_pb2.Status(code=5, message="There is no such task.").SerializeToString()
    gateway.answers.append(Refusal(grpc.StatusCode.PERMISSION_DENIED, "Not you.", raw_details=of_another_error))
    with pytest.raises(TaskcastError, match="PERMISSION_DENIED: Not you") as caught:
        await client.get(TASK_ID)
    assert caught.value.code is grpc.StatusCode.PERMISSION_DENIED


async def test_a_client_that_is_not_open_says_how_to_open_it() -> None:
    client = Client()
    with pytest.raises(RuntimeError, match="async with"):
        await client.get(TASK_ID)
    async with client:
        pass
    with pytest.raises(RuntimeError, match="async with"):
        await client.get(TASK_ID)
    with pytest.raises(RuntimeError, match="once"):
        await client.__aenter__()


async def test_closing_the_client_ends_its_calls_with_an_error(gateway: ScriptedGateway, client: Client) -> None:
    gateway.answers.append(Silence())
    call = asyncio.create_task(client.get(TASK_ID))
    async with asyncio.timeout(5):
        while not gateway.requests:  # noqa: ASYNC110  # The gateway has no event for this.
            await asyncio.sleep(0.01)
    await client.close()
    with pytest.raises(TaskcastError, match="closed by this side"):
        await call
