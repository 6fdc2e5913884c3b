from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import grpc
import pytest

import taskcast
from taskcast.client import Client, TaskcastError
from taskcast.v1 import admin_service_pb2, task_pb2, task_service_pb2
from taskcast.v1.task_service_pb2 import TaskFilter
from tests.unit.scripted_gateway import TASK_ID, Refusal, ScriptedGateway, scripted_gateway, snapshot, succeeded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STORE_AWAY = Refusal(grpc.StatusCode.UNAVAILABLE, "The record is away.", "STORE_UNAVAILABLE", retry_delay=0.01)


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    async with scripted_gateway() as gateway:
        yield gateway


@pytest.fixture
async def client(gateway: ScriptedGateway) -> AsyncIterator[Client]:
    async with Client(gateway.address, deadline=5) as client:
        yield client


def page(*names: str, following: str = "") -> task_service_pb2.ListTasksResponse:
    tasks = [task_pb2.Task(id=name) for name in names]
    return task_service_pb2.ListTasksResponse(tasks=tasks, next_page_token=following)


async def test_a_list_goes_on_over_all_pages_empty_ones_and_lost_ones_included(
    gateway: ScriptedGateway, client: Client
) -> None:
    gateway.answers.extend([page("d", "c", following="1"), page(following="2"), STORE_AWAY, page("b", "a")])
    assert [task.id async for task in client.list()] == ["d", "c", "b", "a"]
    assert [request.page_token for request in gateway.requests] == ["", "1", "2", "2"]
    assert not gateway.requests[0].HasField("filter")


async def test_every_page_is_asked_for_with_the_filter(gateway: ScriptedGateway, client: Client) -> None:
    gateway.answers.extend([page("b", following="1"), page("a")])
    matching = TaskFilter(
        statuses=[task_pb2.TASK_STATUS_FAILED, task_pb2.TASK_STATUS_ERROR],
        type="report.render",
        queue="heavy",
        labels={"team": "blue"},
    )
    matching.create_time_after.FromDatetime(datetime(2026, 1, 2, tzinfo=UTC))
    assert [task.id async for task in client.list(matching, page_size=1)] == ["b", "a"]
    assert all(request.filter == matching and request.page_size == 1 for request in gateway.requests)


async def test_a_list_that_is_left_early_asks_for_no_further_page(gateway: ScriptedGateway, client: Client) -> None:
    gateway.answers.append(page("b", "a", following="1"))
    async with contextlib.aclosing(client.list()) as tasks:
        assert (await anext(tasks)).id == "b"
    assert len(gateway.requests) == 1


async def test_retry_answers_with_the_new_task(gateway: ScriptedGateway, client: Client) -> None:
    gateway.answers.append(task_service_pb2.RetryTaskResponse(task=task_pb2.Task(id="new", retry_of=TASK_ID)))
    assert (await client.retry(TASK_ID)).id == "new"
    assert gateway.requests[0].task_id == TASK_ID


async def test_a_retry_that_is_repeated_keeps_its_request_id(gateway: ScriptedGateway, client: Client) -> None:
    gateway.answers += [STORE_AWAY, task_service_pb2.RetryTaskResponse(task=task_pb2.Task(id="new"))] * 2
    await client.retry(TASK_ID)
    await client.retry(TASK_ID, request_id="mine")
    first, repeated, *named = [request.request_id for request in gateway.requests]
    assert first == repeated != ""
    assert named == ["mine", "mine"]


async def test_submit_and_wait_answers_with_the_finished_task(gateway: ScriptedGateway, client: Client) -> None:
    finished = task_pb2.Task(id=TASK_ID, status=task_pb2.TASK_STATUS_SUCCESS, sequence=3)
    gateway.answers.append(task_service_pb2.SubmitTaskResponse(task=task_pb2.Task(id=TASK_ID)))
    gateway.answers.append(task_service_pb2.GetTaskResponse(task=finished))
    gateway.streams.append([snapshot(2), succeeded(3)])
    assert await client.submit_and_wait("demo.steps", {"steps": 3}, queue="heavy") == finished
    submitted, watched, got = gateway.requests
    assert submitted.queue == "heavy"
    assert watched.task_id == got.task_id == TASK_ID


async def test_queues_and_workers_are_what_the_gateway_names(gateway: ScriptedGateway, client: Client) -> None:
    queue = admin_service_pb2.Queue(name="default", running=3)
    worker = admin_service_pb2.Worker(name="host/1", slots=8)
    gateway.answers.append(admin_service_pb2.ListQueuesResponse(queues=[queue]))
    gateway.answers.append(admin_service_pb2.ListWorkersResponse(workers=[worker]))
    assert await client.queues() == [queue]
    assert await client.workers() == [worker]


async def test_an_error_of_the_admin_service_is_typed_like_any_other(gateway: ScriptedGateway, client: Client) -> None:
    gateway.answers.append(Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "Slow down.", "RATE_LIMITED"))
    with pytest.raises(TaskcastError, match="Slow down"):
        await client.queues()


def test_the_package_itself_offers_the_client() -> None:
    assert taskcast.Client is Client
    assert taskcast.TaskcastError is TaskcastError
    assert "SyncClient" in taskcast.__all__
    with pytest.raises(AttributeError, match="NoSuchName"):
        _ = taskcast.NoSuchName  # type: ignore[attr-defined]
