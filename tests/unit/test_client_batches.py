from __future__ import annotations

import time
from typing import TYPE_CHECKING

import grpc
import pytest

from taskcast.client import Client, TaskcastError, submission
from taskcast.client.batches import MOST_BYTES, MOST_ITEMS, split
from taskcast.v1 import task_pb2, task_service_pb2
from tests.unit.scripted_gateway import Refusal, ScriptedGateway, refused, scripted_gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from taskcast.client import Outcome

BAD_TYPE = Refusal(grpc.StatusCode.INVALID_ARGUMENT, "type is empty.", "INVALID_REQUEST", fields={"type": "is empty"})
BROKER_AWAY = Refusal(grpc.StatusCode.UNAVAILABLE, "The broker is away.", "BROKER_UNAVAILABLE", retry_delay=0.01)
STORE_AWAY = Refusal(grpc.StatusCode.UNAVAILABLE, "The record is away.", "STORE_UNAVAILABLE", retry_delay=0.01)
TOO_LARGE = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max")


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    async with scripted_gateway() as gateway:
        yield gateway


@pytest.fixture
async def client(gateway: ScriptedGateway) -> AsyncIterator[Client]:
    async with Client(gateway.address, deadline=5) as client:
        yield client


def recorded(*names: str) -> list[task_service_pb2.BatchTaskResult]:
    return [task_service_pb2.BatchTaskResult(task=task_pb2.Task(id=name)) for name in names]


def submitted(*results: task_service_pb2.BatchTaskResult) -> task_service_pb2.BatchSubmitTasksResponse:
    return task_service_pb2.BatchSubmitTasksResponse(results=results)


def said(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.reason if isinstance(outcome, TaskcastError) else outcome.id for outcome in outcomes]


async def test_a_batch_answers_each_item_in_order(gateway: ScriptedGateway, client: Client) -> None:
    gateway.answers.append(submitted(*recorded("a"), refused(BAD_TYPE), *recorded("c")))
    outcomes = await client.submit_many([submission("x", 1), submission(""), submission("x", {"deep": [3]})])
    assert said(outcomes) == ["a", "INVALID_REQUEST", "c"]
    refusal = outcomes[1]
    assert isinstance(refusal, TaskcastError)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [violation.field for violation in refusal.violations] == ["type"]
    (request,) = gateway.requests
    assert [each.payload.number_value for each in request.requests[:1]] == [1]


async def test_each_submit_of_a_batch_can_be_repeated_and_the_callers_request_stays_as_it_was(
    gateway: ScriptedGateway, client: Client
) -> None:
    gateway.answers.extend([STORE_AWAY, submitted(*recorded("a", "b", "c"))])
    mine = submission("x")
    await client.submit_many([mine, mine, submission("x", request_id="named")])
    first, second = gateway.requests
    assert first == second
    ids = [each.request_id for each in first.requests]
    assert ids[2] == "named"
    assert len({*ids, ""}) == 4
    assert mine.request_id == ""


async def test_an_item_whose_failure_may_pass_is_sent_again_by_itself(gateway: ScriptedGateway, client: Client) -> None:
    gateway.answers.append(submitted(*recorded("a"), refused(BROKER_AWAY), refused(BAD_TYPE)))
    gateway.answers.append(submitted(refused(BROKER_AWAY)))
    gateway.answers.append(submitted(*recorded("b")))
    outcomes = await client.submit_many(submission("x", number) for number in range(3))
    assert said(outcomes) == ["a", "b", "INVALID_REQUEST"]
    assert [[each.payload.number_value for each in request.requests] for request in gateway.requests] == [
        [0, 1, 2],
        [1],
        [1],
    ]


async def test_an_item_that_fails_up_to_the_deadline_has_its_last_error(gateway: ScriptedGateway) -> None:
    gateway.answers.extend([submitted(*recorded("a"), refused(BROKER_AWAY))] + [submitted(refused(BROKER_AWAY))] * 50)
    began = time.monotonic()
    async with Client(gateway.address, deadline=0.4) as client:
        outcomes = await client.submit_many([submission("x"), submission("x")])
    assert said(outcomes) == ["a", "BROKER_UNAVAILABLE"]
    assert time.monotonic() - began < 3


async def test_more_items_than_a_batch_may_hold_travel_in_several(gateway: ScriptedGateway, client: Client) -> None:
    ids = [f"task-{number}" for number in range(2 * MOST_ITEMS + 1)]
    for start in range(0, len(ids), MOST_ITEMS):
        part = ids[start : start + MOST_ITEMS]
        gateway.answers.append(task_service_pb2.BatchGetTasksResponse(results=recorded(*part)))
    assert said(await client.get_many(iter(ids))) == ids
    assert [len(request.task_ids) for request in gateway.requests] == [MOST_ITEMS, MOST_ITEMS, 1]


def test_batches_are_split_by_size_too_and_a_giant_goes_alone() -> None:
    third = MOST_BYTES // 3
    sizes = [third, third, third, 3 * MOST_BYTES, 1, 1]
    assert [list(batch) for batch in split(sizes, int)] == [[third, third], [third], [3 * MOST_BYTES], [1, 1]]
    assert list(split([], int)) == []


async def test_a_batch_that_is_refused_spoils_no_other(gateway: ScriptedGateway, client: Client) -> None:
    gateway.answers.append(TOO_LARGE)
    gateway.answers.append(submitted(*recorded("b")))
    giant = submission("x", "y" * MOST_BYTES)
    outcomes = await client.submit_many([giant, submission("x")])
    assert isinstance(outcomes[0], TaskcastError)
    assert outcomes[0].code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert said(outcomes[1:]) == ["b"]


async def test_when_no_gateway_answers_what_was_recorded_is_still_told() -> None:
    async with scripted_gateway() as gateway:
        gateway.answers.append(submitted(*recorded("a")))
        gateway.answers.extend([STORE_AWAY] * 100)
        pieces = [submission("x", "y" * (MOST_BYTES * 2 // 3)) for _ in range(3)]
        began = time.monotonic()
        async with Client(gateway.address, deadline=0.5) as client:
            outcomes = await client.submit_many(pieces)
        assert said(outcomes) == ["a", "STORE_UNAVAILABLE", "STORE_UNAVAILABLE"]
        assert time.monotonic() - began < 3


async def test_cancel_many_sends_its_reason_with_every_batch(gateway: ScriptedGateway, client: Client) -> None:
    finished = Refusal(grpc.StatusCode.FAILED_PRECONDITION, "It has finished.", "TASK_NOT_CANCELLABLE")
    results = [*recorded("a"), refused(finished)]
    gateway.answers.append(task_service_pb2.BatchCancelTasksResponse(results=results))
    assert said(await client.cancel_many(["a", "b"], "enough")) == ["a", "TASK_NOT_CANCELLABLE"]
    assert gateway.requests[0].reason == "enough"


async def test_nothing_is_sent_for_nothing(gateway: ScriptedGateway, client: Client) -> None:
    assert await client.submit_many([]) == []
    assert await client.get_many([]) == []
    assert await client.cancel_many([]) == []
    assert not gateway.requests
