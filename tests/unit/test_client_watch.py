from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import grpc
import pytest

from taskcast.client import Client, TaskcastError
from taskcast.v1 import task_pb2
from tests.unit.scripted_gateway import (
    TASK_ID,
    Pause,
    Refusal,
    ScriptedGateway,
    Silence,
    event,
    heartbeat,
    scripted_gateway,
    snapshot,
    succeeded,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from taskcast.v1.task_service_pb2 import WatchTaskResponse

GOING_AWAY = Refusal(grpc.StatusCode.UNAVAILABLE, "This gateway is stopping.", "SHUTTING_DOWN", retry_delay=0.01)
COMPACTED = Refusal(grpc.StatusCode.OUT_OF_RANGE, "Events 3 to 9 are gone.", "SEQUENCE_COMPACTED")
FINISHED_BY_SOMEONE_ELSE = task_pb2.TASK_STATUS_CANCELLED


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    async with scripted_gateway() as gateway:
        yield gateway


@pytest.fixture
async def client(gateway: ScriptedGateway) -> AsyncIterator[Client]:
    async with Client(gateway.address, deadline=5) as client:
        yield client


def sequence_of(update: WatchTaskResponse) -> int:
    kind = update.WhichOneof("update")
    assert kind is not None
    sequence = getattr(update, kind).sequence
    assert isinstance(sequence, int)
    return sequence


async def sequences(client: Client, after: int | None = None) -> list[int]:
    return [sequence_of(update) async for update in client.watch(TASK_ID, after)]


def asked_after(gateway: ScriptedGateway) -> list[int | None]:
    return [request.after_sequence if request.HasField("after_sequence") else None for request in gateway.requests]


async def test_a_watch_yields_the_snapshot_and_then_each_event(gateway: ScriptedGateway, client: Client) -> None:
    gateway.streams.append([snapshot(2), event(3), succeeded(4)])
    updates = [update async for update in client.watch(TASK_ID)]
    assert [update.WhichOneof("update") for update in updates] == ["snapshot", "event", "event"]
    assert asked_after(gateway) == [None]


async def test_heartbeats_are_hidden_unless_asked_for(gateway: ScriptedGateway, client: Client) -> None:
    script = [snapshot(1), heartbeat(1), succeeded(2)]
    gateway.streams.extend([script, script])
    assert len([update async for update in client.watch(TASK_ID)]) == 2
    assert len([update async for update in client.watch(TASK_ID, heartbeats=True)]) == 3


async def test_a_watch_resumes_after_the_last_event_it_saw(gateway: ScriptedGateway, client: Client) -> None:
    gateway.streams.extend([[snapshot(1), event(2), GOING_AWAY], [event(3), GOING_AWAY], [succeeded(4)]])
    assert await sequences(client) == [1, 2, 3, 4]
    assert asked_after(gateway) == [None, 2, 3]


async def test_a_watch_from_the_beginning_resumes_as_well(gateway: ScriptedGateway, client: Client) -> None:
    gateway.streams.extend([[GOING_AWAY], [event(1), GOING_AWAY], [event(2), succeeded(3)]])
    assert await sequences(client, after=0) == [1, 2, 3]
    assert asked_after(gateway) == [0, 0, 1]


async def test_an_event_that_comes_twice_is_yielded_once(gateway: ScriptedGateway, client: Client) -> None:
    gateway.streams.extend([[event(1), event(2), event(2), GOING_AWAY], [event(1), event(2), succeeded(3)]])
    assert await sequences(client, after=0) == [1, 2, 3]


async def test_a_silent_stream_is_replaced_after_three_missing_heartbeats(
    gateway: ScriptedGateway, client: Client
) -> None:
    gateway.streams.extend([[snapshot(1), Silence()], [succeeded(2)]])
    began = time.monotonic()
    updates = [sequence_of(update) async for update in client.watch(TASK_ID, heartbeat_interval=0.1)]
    assert updates == [1, 2]
    assert 0.3 <= time.monotonic() - began < 3
    assert gateway.requests[0].heartbeat_interval.ToMilliseconds() == 100


async def test_heartbeats_keep_a_quiet_stream(gateway: ScriptedGateway, client: Client) -> None:
    beats = [line for sequence in range(6) for line in (Pause(0.2), heartbeat(sequence))]
    gateway.streams.append([snapshot(1), *beats, succeeded(2)])
    updates = [sequence_of(update) async for update in client.watch(TASK_ID, heartbeat_interval=0.15)]
    assert updates == [1, 2]
    assert len(gateway.requests) == 1


async def test_a_watch_survives_a_gateway_that_is_cut_off_and_comes_back(
    gateway: ScriptedGateway, client: Client
) -> None:
    gateway.streams.extend([[snapshot(1), Silence()], [event(2), succeeded(3)]])
    seen: list[int] = []
    first_seen = asyncio.Event()

    async def watch() -> None:
        async for update in client.watch(TASK_ID):
            seen.append(sequence_of(update))
            first_seen.set()

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(watch())
        await first_seen.wait()
        await gateway.stop()
        await gateway.start()
    assert seen == [1, 2, 3]


async def test_the_pause_is_never_shorter_than_the_gateway_asks(gateway: ScriptedGateway) -> None:
    pauses: list[float] = []
    gateway.streams.extend(
        [
            [snapshot(1), Refusal(grpc.StatusCode.UNAVAILABLE, "Wait.", "STORE_UNAVAILABLE", 0.3)],
            [succeeded(2)],
        ]
    )
    async with Client(gateway.address, on_retry=lambda _, pause: pauses.append(pause)) as client:
        began = time.monotonic()
        assert await sequences(client) == [1, 2]
    assert time.monotonic() - began >= 0.3
    assert 0.3 <= pauses[0] <= 0.36


async def test_a_watch_gives_up_when_there_was_no_contact_for_its_patience(
    gateway: ScriptedGateway, client: Client
) -> None:
    gateway.streams.append([snapshot(1), Silence()])
    began = time.monotonic()
    updates = client.watch(TASK_ID, patience=0.5)
    await anext(updates)
    await gateway.stop()
    with pytest.raises(TaskcastError) as caught:
        await anext(updates)
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    assert gateway.address in str(caught.value)
    assert time.monotonic() - began < 5


async def test_contact_renews_the_patience(gateway: ScriptedGateway, client: Client) -> None:
    gateway.streams.extend([[event(sequence), GOING_AWAY] for sequence in range(1, 8)])
    gateway.streams.append([succeeded(8)])
    updates = [sequence_of(update) async for update in client.watch(TASK_ID, 0, patience=0.15)]
    assert updates == [1, 2, 3, 4, 5, 6, 7, 8]


async def test_a_gateway_that_never_answers_is_given_up_at_the_deadline() -> None:
    async with scripted_gateway() as gateway:
        pass
    began = time.monotonic()
    async with Client(gateway.address, deadline=0.3) as client:
        with pytest.raises(TaskcastError) as caught:
            await sequences(client)
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    assert time.monotonic() - began < 3


async def test_an_error_that_will_not_pass_is_raised_at_once(gateway: ScriptedGateway, client: Client) -> None:
    gateway.streams.append([Refusal(grpc.StatusCode.NOT_FOUND, "There is no such task.", "TASK_NOT_FOUND")])
    with pytest.raises(TaskcastError) as caught:
        await sequences(client)
    assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")
    assert len(gateway.requests) == 1


async def test_events_lost_while_away_are_replaced_by_a_snapshot(gateway: ScriptedGateway, client: Client) -> None:
    gateway.streams.extend([[event(1), event(2), GOING_AWAY], [COMPACTED], [snapshot(9), succeeded(10)]])
    assert await sequences(client, after=0) == [1, 2, 9, 10]
    assert asked_after(gateway) == [0, 2, None]


async def test_compaction_before_the_first_event_is_the_callers_to_decide(
    gateway: ScriptedGateway, client: Client
) -> None:
    gateway.streams.append([COMPACTED])
    with pytest.raises(TaskcastError, match="gone"):
        await sequences(client, after=2)


async def test_a_fault_of_the_gateway_is_not_taken_for_a_broken_connection(
    gateway: ScriptedGateway, client: Client
) -> None:
    gateway.streams.append([snapshot(1), Refusal(grpc.StatusCode.INTERNAL, "Something went wrong.", "INTERNAL")])
    with pytest.raises(TaskcastError) as caught:
        await sequences(client)
    assert caught.value.reason == "INTERNAL"


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED])
async def test_a_stream_torn_on_the_way_is_resumed(
    gateway: ScriptedGateway, client: Client, code: grpc.StatusCode
) -> None:
    gateway.streams.extend([[snapshot(1), Refusal(code, "Received RST_STREAM")], [succeeded(2)]])
    assert await sequences(client) == [1, 2]


async def test_nothing_that_happens_after_the_terminal_event_spoils_the_watch(
    gateway: ScriptedGateway, client: Client
) -> None:
    gateway.streams.append([snapshot(1), succeeded(2), GOING_AWAY])
    assert await sequences(client) == [1, 2]
    assert len(gateway.requests) == 1


async def test_a_stream_that_does_not_end_after_the_terminal_event_is_left(
    gateway: ScriptedGateway, client: Client
) -> None:
    gateway.streams.append([snapshot(1), succeeded(2), Silence()])
    async with asyncio.timeout(10):
        assert await sequences(client) == [1, 2]


async def test_the_snapshot_of_a_finished_task_ends_the_watch(gateway: ScriptedGateway, client: Client) -> None:
    gateway.streams.append([snapshot(7, FINISHED_BY_SOMEONE_ELSE)])
    assert await sequences(client) == [7]


async def test_a_watch_that_is_left_early_ends_its_call(gateway: ScriptedGateway, client: Client) -> None:
    gateway.streams.append([snapshot(1), Silence()])
    async with contextlib.aclosing(client.watch(TASK_ID)) as updates:
        async for _ in updates:
            break
    async with asyncio.timeout(5):
        await gateway.stream_ended.wait()


async def test_cancelling_the_caller_of_a_watch_cancels_it(gateway: ScriptedGateway, client: Client) -> None:
    gateway.streams.append([snapshot(1), Silence()])
    watching = asyncio.Event()

    async def watch() -> None:
        async for _ in client.watch(TASK_ID):
            watching.set()

    task = asyncio.create_task(watch())
    await watching.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_closing_the_client_ends_its_watches_with_an_error(gateway: ScriptedGateway, client: Client) -> None:
    gateway.streams.append([snapshot(1), Silence()])
    watching = asyncio.Event()

    async def watch() -> None:
        async for _ in client.watch(TASK_ID):
            watching.set()

    task = asyncio.create_task(watch())
    await watching.wait()
    await client.close()
    with pytest.raises(TaskcastError, match="closed by this side"):
        await task


@pytest.mark.parametrize("interval", [0, -1, float("inf"), float("nan")])
async def test_a_heartbeat_interval_that_makes_no_sense_is_refused(client: Client, interval: float) -> None:
    with pytest.raises(ValueError, match="heartbeat_interval"):
        await anext(client.watch(TASK_ID, heartbeat_interval=interval))
