from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import grpc
import pytest

from taskcast.client import Client, TaskcastError
from taskcast.v1 import task_pb2, task_service_pb2
from taskcast.v1.task_pb2 import TaskEvent
from taskcast.v1.task_service_pb2 import TaskFilter
from tests.unit.scripted_gateway import (
    Refusal,
    ScriptedGateway,
    Silence,
    event,
    heartbeat,
    of_many,
    scripted_gateway,
    succeeded,
)
from tests.unit.test_client_watch_many import told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from taskcast.v1.task_service_pb2 import WatchTasksResponse

GOING_AWAY = Refusal(grpc.StatusCode.UNAVAILABLE, "This gateway is stopping.", "SHUTTING_DOWN", retry_delay=0.01)
BEHIND = Refusal(grpc.StatusCode.ABORTED, "This watch is behind.", "WATCH_BEHIND")
ALIVE = of_many(heartbeat(0))
WAITING, PROCESSING, SUCCESS = (
    task_pb2.TASK_STATUS_WAITING,
    task_pb2.TASK_STATUS_PROCESSING,
    task_pb2.TASK_STATUS_SUCCESS,
)


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    async with scripted_gateway() as gateway:
        yield gateway


@pytest.fixture
async def client(gateway: ScriptedGateway) -> AsyncIterator[Client]:
    async with Client(gateway.address, deadline=5) as client:
        yield client


async def first(client: Client, count: int, matching: TaskFilter | None = None) -> list[str]:
    """What the first `count` updates tell."""
    updates: list[str] = []
    async with contextlib.aclosing(client.watch_filter(matching)) as watch:
        async for update in watch:
            updates.append(told(update))
            if len(updates) == count:
                break
    return updates


def at(seconds: float, update: WatchTasksResponse) -> WatchTasksResponse:
    update.event.time.FromNanoseconds(int(seconds * 1e9))
    return update


def listed(*tasks: task_pb2.Task) -> task_service_pb2.ListTasksResponse:
    return task_service_pb2.ListTasksResponse(tasks=tasks)


def known(*tasks: task_pb2.Task) -> task_service_pb2.BatchGetTasksResponse:
    return task_service_pb2.BatchGetTasksResponse(
        results=[task_service_pb2.BatchTaskResult(task=task) for task in tasks]
    )


def task(
    name: str, sequence: int, status: task_pb2.TaskStatus.ValueType = PROCESSING, created: int = 100
) -> task_pb2.Task:
    message = task_pb2.Task(id=name, sequence=sequence, status=status)
    message.create_time.FromSeconds(created)
    return message


NEWEST = task("old", 2)


async def test_a_filter_is_followed_from_now_on(gateway: ScriptedGateway, client: Client) -> None:
    gateway.answers.append(listed(NEWEST))
    gateway.streams.append([ALIVE, of_many(event(5), "a"), of_many(event(1), "b"), of_many(event(5), "a"), Silence()])
    matching = TaskFilter(queue="heavy")
    assert await first(client, 2, matching) == ["a 5", "b 1"]
    assert gateway.requests[0].filter == matching


async def test_without_a_filter_every_task_is_followed(gateway: ScriptedGateway, client: Client) -> None:
    gateway.answers.append(listed())
    gateway.streams.append([ALIVE, of_many(event(1), "a"), Silence()])
    assert await first(client, 1) == ["a 1"]
    assert gateway.requests[0].HasField("filter")


async def test_the_first_heartbeat_tells_that_the_watch_is_live(gateway: ScriptedGateway, client: Client) -> None:
    gateway.answers.append(listed(NEWEST))
    gateway.streams.append([ALIVE, Silence()])
    async with contextlib.aclosing(client.watch_filter(heartbeats=True)) as updates:
        assert told(await anext(updates)) == "heartbeat"


async def test_after_a_loss_the_tasks_told_of_go_on_without_hole_or_repeat(
    gateway: ScriptedGateway, client: Client
) -> None:
    gateway.answers.extend([listed(NEWEST), known(NEWEST, task("a", 4), task("b", 7)), listed(task("b", 7))])
    story = [of_many(event(2), "a"), of_many(event(7), "b"), of_many(succeeded(3), "c")]
    gateway.streams.append([ALIVE, *story, GOING_AWAY])
    gateway.streams.append([ALIVE, of_many(event(4), "a"), of_many(event(5), "a"), Silence()])
    gateway.streams.append([event(3), event(4)])
    assert await first(client, 6) == ["a 2", "b 7", "c 3", "a 3", "a 4", "a 5"]
    got = next(request for request in gateway.requests if isinstance(request, task_service_pb2.BatchGetTasksRequest))
    assert list(got.task_ids) == ["old", "a", "b"], "a finished task has no more to tell"


async def test_tasks_created_while_away_are_told_from_their_beginning_oldest_first(
    gateway: ScriptedGateway, client: Client
) -> None:
    gateway.answers.append(listed(NEWEST))
    gateway.answers.append(known(NEWEST))
    gateway.answers.append(listed(task("z", 2, created=150), task("y", 2, SUCCESS, created=140), NEWEST))
    gateway.streams.append([ALIVE, at(130, of_many(succeeded(3), "a")), GOING_AWAY])
    gateway.streams.append([ALIVE, Silence()])
    gateway.streams.append([event(1, TaskEvent.TYPE_SUBMITTED, WAITING), succeeded(2)])
    gateway.streams.append([event(1, TaskEvent.TYPE_SUBMITTED, WAITING), event(2, TaskEvent.TYPE_STARTED)])
    matching = TaskFilter(type="report.render")
    assert await first(client, 5, matching) == ["a 3", "y 1", "y 2", "z 1", "z 2"]
    listing = gateway.requests[-3]
    assert listing.filter.type == "report.render"
    assert listing.filter.create_time_after.ToSeconds() == 125, "gateways may be a little apart"


async def test_what_was_missed_is_told_only_where_it_matches(gateway: ScriptedGateway, client: Client) -> None:
    gateway.answers.extend([listed(), listed(task("y", 4, SUCCESS))])
    gateway.streams.append([ALIVE, GOING_AWAY])
    gateway.streams.append([ALIVE, Silence()])
    gateway.streams.append(
        [
            event(1, TaskEvent.TYPE_SUBMITTED, WAITING),
            event(2, TaskEvent.TYPE_STARTED),
            event(3, TaskEvent.TYPE_PROGRESSED),
            succeeded(4),
        ]
    )
    # By the event that begins and by the one that ends it a task enters and leaves what matches.
    assert await first(client, 3, TaskFilter(statuses=[PROCESSING])) == ["y 2", "y 3", "y 4"]
    listing = next(
        request for request in reversed(gateway.requests) if isinstance(request, task_service_pb2.ListTasksRequest)
    )
    assert not listing.filter.statuses, "a task may have matched meanwhile, and no longer"


async def test_contact_lost_at_the_very_beginning_makes_no_old_task_new(
    gateway: ScriptedGateway, client: Client
) -> None:
    gateway.streams.extend([[ALIVE, Silence()], [ALIVE, of_many(event(3), "old"), Silence()]])
    gateway.answers.append(Refusal(grpc.StatusCode.INTERNAL, "Received RST_STREAM"))
    gateway.answers.append(listed(NEWEST))
    assert await first(client, 1) == ["old 3"]
    assert not gateway.answers


async def test_a_watch_that_was_too_slow_catches_up(gateway: ScriptedGateway, client: Client) -> None:
    gateway.answers.extend([listed(), known(task("a", 2)), listed()])
    gateway.streams.append([ALIVE, of_many(event(1), "a"), BEHIND])
    gateway.streams.append([ALIVE, Silence()])
    gateway.streams.append([event(2)])
    assert await first(client, 2) == ["a 1", "a 2"]


async def test_a_filter_that_is_refused_is_an_error(gateway: ScriptedGateway, client: Client) -> None:
    gateway.streams.append([Refusal(grpc.StatusCode.INVALID_ARGUMENT, "filter.type is wrong.", "INVALID_REQUEST")])
    with pytest.raises(TaskcastError, match=r"filter\.type"):
        await first(client, 1, TaskFilter(type="no spaces"))
