from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import grpc
import pytest

from taskcast.client import Client, TaskcastError
from taskcast.client.batches import MOST_ITEMS
from taskcast.v1 import task_pb2
from tests.unit.scripted_gateway import (
    Refusal,
    ScriptedGateway,
    Silence,
    event,
    heartbeat,
    of_many,
    scripted_gateway,
    snapshot,
    succeeded,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from taskcast.v1.task_service_pb2 import WatchTasksResponse

GOING_AWAY = Refusal(grpc.StatusCode.UNAVAILABLE, "This gateway is stopping.", "SHUTTING_DOWN", retry_delay=0.01)
COMPACTED = Refusal(grpc.StatusCode.OUT_OF_RANGE, "Events 3 to 9 are gone.", "SEQUENCE_COMPACTED")
GONE = Refusal(grpc.StatusCode.NOT_FOUND, "Tasks are not there.", "TASK_NOT_FOUND", metadata={"task_ids": "b"})


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    async with scripted_gateway() as gateway:
        yield gateway


@pytest.fixture
async def client(gateway: ScriptedGateway) -> AsyncIterator[Client]:
    async with Client(gateway.address, deadline=5) as client:
        yield client


def told(update: WatchTasksResponse) -> str:
    """Like "a 3" for an event and "a =3" for a snapshot."""
    match update.WhichOneof("update"):
        case "snapshot":
            return f"{update.snapshot.id} ={update.snapshot.sequence}"
        case "event":
            return f"{update.event.task_id} {update.event.sequence}"
        case _:
            return "heartbeat"


async def watch(client: Client, ids: Iterable[str] = ("a", "b")) -> list[str]:
    return [told(update) async for update in client.watch_many(ids)]


def asked_for(gateway: ScriptedGateway) -> list[object]:
    """The ids of each WatchTasks, and id and sequence of each WatchTask."""
    return [
        list(request.task_ids) if hasattr(request, "task_ids") else (request.task_id, request.after_sequence)
        for request in gateway.requests
    ]


async def test_many_tasks_are_followed_until_all_have_finished(gateway: ScriptedGateway, client: Client) -> None:
    story = [of_many(snapshot(1), "a"), of_many(snapshot(4), "b"), of_many(event(2), "a")]
    gateway.streams.append([*story, of_many(succeeded(5), "b"), of_many(heartbeat(0)), of_many(succeeded(3), "a")])
    assert await watch(client) == ["a =1", "b =4", "a 2", "b 5", "a 3"]
    assert asked_for(gateway) == [["a", "b"]]


async def test_heartbeats_are_told_when_asked_for(gateway: ScriptedGateway, client: Client) -> None:
    gateway.streams.append([of_many(heartbeat(0)), of_many(snapshot(3, task_pb2.TASK_STATUS_SUCCESS), "a")])
    updates = [told(update) async for update in client.watch_many(["a"], heartbeats=True)]
    assert updates == ["heartbeat", "a =3"]


async def test_after_a_loss_only_the_unfinished_are_watched_and_their_missed_events_are_read(
    gateway: ScriptedGateway, client: Client
) -> None:
    gateway.streams.append([of_many(snapshot(1), "a"), of_many(succeeded(9), "b"), of_many(event(2), "a"), GOING_AWAY])
    gateway.streams.append([of_many(snapshot(4), "a"), of_many(event(4), "a"), of_many(succeeded(5), "a")])
    gateway.streams.append([event(3), event(4), Silence()])
    assert await watch(client) == ["a =1", "b 9", "a 2", "a 3", "a 4", "a 5"]
    assert asked_for(gateway) == [["a", "b"], ["a"], ("a", 2)]


async def test_a_snapshot_that_tells_nothing_new_is_dropped(gateway: ScriptedGateway, client: Client) -> None:
    gateway.streams.append([of_many(snapshot(2), "a"), GOING_AWAY])
    gateway.streams.append([of_many(snapshot(2), "a"), of_many(succeeded(3), "a")])
    assert await watch(client, ["a"]) == ["a =2", "a 3"]


async def test_a_task_that_finished_while_away_ends_with_its_own_terminal_event(
    gateway: ScriptedGateway, client: Client
) -> None:
    gateway.streams.append([of_many(snapshot(1), "a"), GOING_AWAY])
    gateway.streams.append([of_many(snapshot(3, task_pb2.TASK_STATUS_SUCCESS), "a")])
    gateway.streams.append([event(2), succeeded(3)])
    assert await watch(client, ["a"]) == ["a =1", "a 2", "a 3"]


async def test_events_that_are_no_longer_kept_are_replaced_by_a_snapshot(
    gateway: ScriptedGateway, client: Client
) -> None:
    gateway.streams.append([of_many(snapshot(2), "a"), GOING_AWAY])
    gateway.streams.append([of_many(snapshot(9), "a"), of_many(succeeded(10), "a")])
    gateway.streams.append([COMPACTED])
    assert await watch(client, ["a"]) == ["a =2", "a =9", "a 10"]


async def test_contact_that_is_lost_over_the_missed_events_is_made_again(
    gateway: ScriptedGateway, client: Client
) -> None:
    gateway.streams.append([of_many(snapshot(1), "a"), GOING_AWAY])
    gateway.streams.append([of_many(snapshot(4), "a")])
    gateway.streams.append([event(2), GOING_AWAY])
    gateway.streams.append([of_many(snapshot(4), "a"), of_many(succeeded(5), "a")])
    gateway.streams.append([event(3), event(4)])
    assert await watch(client, ["a"]) == ["a =1", "a 2", "a 3", "a 4", "a 5"]
    assert asked_for(gateway) == [["a"], ["a"], ("a", 1), ["a"], ("a", 2)]


async def test_a_task_that_is_not_there_is_named_by_the_error(gateway: ScriptedGateway, client: Client) -> None:
    gateway.streams.append([GONE])
    with pytest.raises(TaskcastError) as caught:
        await watch(client)
    assert caught.value.metadata["task_ids"] == "b"


async def test_a_silent_stream_is_replaced(gateway: ScriptedGateway, client: Client) -> None:
    gateway.streams.append([of_many(snapshot(1), "a"), Silence()])
    gateway.streams.append([of_many(snapshot(1), "a"), of_many(succeeded(2), "a")])
    updates = [told(update) async for update in client.watch_many(["a"], heartbeat_interval=0.1)]
    assert updates == ["a =1", "a 2"]


async def test_an_id_that_is_given_twice_is_watched_once(gateway: ScriptedGateway, client: Client) -> None:
    gateway.streams.append([of_many(snapshot(3, task_pb2.TASK_STATUS_SUCCESS), "a")])
    assert await watch(client, ["a", "a"]) == ["a =3"]
    assert asked_for(gateway) == [["a"]]


async def test_to_follow_nothing_takes_no_call(gateway: ScriptedGateway, client: Client) -> None:
    assert await watch(client, []) == []
    assert not gateway.requests


async def test_more_tasks_than_one_stream_may_follow_are_followed_by_several(
    gateway: ScriptedGateway, client: Client
) -> None:
    ids = [f"task-{number}" for number in range(MOST_ITEMS + 2)]
    # Either stream may be opened first: both play the same, and each task is told of once a stream.
    gateway.streams.extend([[of_many(snapshot(3, task_pb2.TASK_STATUS_SUCCESS), each) for each in ids]] * 2)
    updates = await watch(client, ids)
    assert set(updates) == {f"{each} =3" for each in ids}
    assert sorted(len(request.task_ids) for request in gateway.requests) == [2, MOST_ITEMS]


async def test_the_error_of_one_of_several_streams_ends_them_all(gateway: ScriptedGateway, client: Client) -> None:
    gateway.streams.extend([[of_many(snapshot(1), "x"), Silence()], [GONE]])
    with pytest.raises(TaskcastError, match="not there"):
        await watch(client, [f"task-{number}" for number in range(MOST_ITEMS + 1)])
    async with asyncio.timeout(5):
        await gateway.stream_ended.wait()


async def test_a_watch_of_many_that_is_left_early_ends_its_calls(gateway: ScriptedGateway, client: Client) -> None:
    gateway.streams.append([of_many(snapshot(1), "a"), Silence()])
    async with contextlib.aclosing(client.watch_many(["a"])) as updates:
        async for _ in updates:
            break
    async with asyncio.timeout(5):
        await gateway.stream_ended.wait()
