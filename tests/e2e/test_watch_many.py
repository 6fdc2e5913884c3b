"""Following many tasks on one stream: a thousand by id, or whatever a filter matches."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from shared.codec import task_from_proto
from taskcast.v1 import task_pb2, task_service_pb2
from tests.clients import TERMINAL, all_finished, calling, expect_whole_history, fold, plain
from tests.deadlines import eventually_async
from tests.watchers import ManyWatched, by_filter, by_ids, matching

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.clients import Caller
    from tests.stack import Stack

pytestmark = pytest.mark.e2e

GRPCURL = Path(sys.executable).parent / "grpcurl"
WAITING = task_pb2.TASK_STATUS_WAITING
PROCESSING = task_pb2.TASK_STATUS_PROCESSING
SUCCESS = task_pb2.TASK_STATUS_SUCCESS
UNKNOWN = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(name="callers")
async def _callers(standing_stack: Stack) -> AsyncIterator[list[Caller]]:
    async with AsyncExitStack() as opened:
        yield [await opened.enter_async_context(calling(g.address)) for g in standing_stack.gateways]


async def _submit(callers: list[Caller], count: int, type_: str, payload: object, **fields: Any) -> list[str]:
    """So many tasks, 50 at a time."""
    ids: list[str] = []
    while len(ids) < count:
        some = min(50, count - len(ids))
        tasks = await asyncio.gather(*(callers[n % 2].submit(type_, payload, **fields) for n in range(some)))
        ids += [task.id for task in tasks]
    return ids


# --- By ids ------------------------------------------------------------------------------------------------------


def _expect_each_whole(watched: ManyWatched, finished: list[task_pb2.Task]) -> None:
    """One snapshot of each before its events; snapshot and events lead to the task as it is; ended with OK."""
    assert watched.problem is None
    snapshots = {task.id: task for task in watched.snapshots}
    assert len(watched.snapshots) == len(snapshots)
    assert snapshots.keys() == {task.id for task in finished}
    events = watched.by_task()
    for task in finished:
        snapshot, own = snapshots[task.id], events.get(task.id, [])
        assert not snapshot.HasField("payload")
        assert not snapshot.HasField("result")
        assert [e.sequence for e in own] == list(range(snapshot.sequence + 1, task.sequence + 1)), task.id
        assert (own[-1] if own else snapshot).status == task.status
        if own:
            assert own[-1].result == task.result


async def test_a_thousand_tasks_are_followed_on_one_stream_until_all_have_ended(callers: list[Caller]) -> None:
    ids = await _submit(callers, 1_000, "test.steps", {"steps": 2})
    watches = [by_ids(caller, ids) for caller in callers]
    await asyncio.wait_for(asyncio.gather(*(watched.read() for watched in watches)), 100)
    finished = await all_finished(callers[0], ids, within=30)

    assert {task.status for task in finished} == {SUCCESS}
    for watched in watches:
        _expect_each_whole(watched, finished)


async def test_a_stream_of_tasks_in_every_state_ends_when_the_last_has_ended(
    standing_stack: Stack, callers: list[Caller]
) -> None:
    gate = standing_stack.gate()
    held = await callers[0].submit("test.hold", {"gate": str(gate)})
    failed, later = await callers[0].submit("test.fail"), await callers[0].submit("test.elsewhere", queue="nobody")
    large = await callers[0].submit("test.returns", {"bytes": 100_000})
    await callers[0].until_finished(failed.id)
    await callers[0].until_running(held.id)
    watched = by_ids(callers[1], [held.id, failed.id, later.id, large.id], heartbeat=1)
    reading = asyncio.create_task(watched.read())

    async def a_heartbeat() -> bool:
        return any(r.HasField("heartbeat") for r in watched.responses)

    await eventually_async(a_heartbeat, within=20, what="a heartbeat")
    assert not watched.ended.is_set()
    await callers[0].cancel(later.id, "not needed")
    gate.open()
    await asyncio.wait_for(reading, 20)
    finished = await all_finished(callers[0], [held.id, failed.id, later.id, large.id], within=5)

    _expect_each_whole(watched, finished)
    assert all(r.heartbeat.sequence == 0 for r in watched.responses if r.HasField("heartbeat"))
    if large.id in watched.by_task():
        assert plain(watched.by_task()[large.id][-1].result) == "x" * 100_000


async def test_a_stream_of_finished_tasks_shows_them_and_ends(callers: list[Caller]) -> None:
    ids = await _submit(callers, 20, "test.echo", "done")
    finished = await all_finished(callers[0], ids, within=30)
    watched = by_ids(callers[1], ids)
    await asyncio.wait_for(watched.read(), 10)

    _expect_each_whole(watched, finished)
    assert not watched.events


async def test_tasks_that_are_not_there_are_named_and_nothing_is_sent(callers: list[Caller]) -> None:
    task = await callers[0].submit("test.echo")
    other = UNKNOWN.replace("8000", "8001")
    watched = by_ids(callers[0], [UNKNOWN, task.id, other])
    await watched.read()

    assert not watched.responses
    assert watched.problem is not None
    assert (watched.problem.code, watched.problem.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")
    assert watched.problem.metadata == {"task_ids": f"{UNKNOWN},{other}"}


async def test_a_thousand_tasks_that_are_not_there_are_refused_in_an_answer_that_a_client_takes(
    callers: list[Caller],
) -> None:
    watched = by_ids(callers[0], [f"{UNKNOWN[:-4]}{number:04x}" for number in range(1_000)])
    await watched.read()

    assert watched.problem is not None
    assert watched.problem.reason == "TASK_NOT_FOUND"
    assert len(watched.problem.metadata["task_ids"].split(",")) == 100


# --- By filter ---------------------------------------------------------------------------------------------------

LABEL = {"suite": "watch-many"}
FILTERS: dict[str, dict[str, Any]] = {
    "all with the label": {},
    "of a type": {"type": "test.flaky"},
    "of two labels": {"labels": {**LABEL, "customer": "acme"}},
    "of a queue": {"queue": "nobody"},
    "that run": {"statuses": [PROCESSING]},
    "that wait, of a type": {"statuses": [WAITING], "type": "test.flaky"},
    "that ended badly": {"statuses": [task_pb2.TASK_STATUS_FAILED, task_pb2.TASK_STATUS_CANCELLED]},
}


def _matches(task: task_pb2.Task, wanted: dict[str, Any]) -> bool:
    """Whether the task matches, its status aside."""
    labels: dict[str, str] = wanted.get("labels", LABEL)
    return (
        wanted.get("type") in {None, task.type}
        and wanted.get("queue") in {None, task.queue}
        and labels.items() <= dict(task.labels).items()
    )


async def test_watches_by_filter_agree_with_the_histories_of_hundreds_of_tasks(callers: list[Caller]) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    kinds: list[tuple[str, object]] = [
        ("test.steps", {"steps": 3, "pause": 0.02}),
        ("test.flaky", {"succeeds_at": 2}),
        ("test.fail", None),
        ("test.echo", "said"),
    ]
    before = await callers[0].submit("test.elsewhere", queue="nobody", labels=LABEL)
    ids: dict[str, int] = {before.id: before.sequence}

    async def one(number: int) -> None:
        labels = {**LABEL, "customer": dice.choice(["acme", "other"])}
        if number % 10 == 9:
            task = await callers[number % 2].submit("test.elsewhere", queue="nobody", labels=labels)
            await callers[dice.randrange(2)].cancel(task.id)
        else:
            task = await callers[number % 2].submit(*dice.choice(kinds), labels=labels)
        ids[task.id] = 0

    async with AsyncExitStack() as stack:
        watches = {}
        for number, (name, wanted) in enumerate(FILTERS.items()):
            fields = {"labels": LABEL, **wanted}
            watches[name] = await stack.enter_async_context(by_filter(callers[number % 2], **fields))
        for start in range(0, 300, 30):
            await asyncio.gather(*(one(number) for number in range(start, start + 30)))
        await callers[0].cancel(before.id)
        tasks = await all_finished(callers[0], ids, within=60)
        histories = {task.id: await callers[1].watch(task.id, 0) for task in tasks}
        for task in tasks:
            expect_whole_history(histories[task.id], task)
        for name, wanted in FILTERS.items():
            expected = {
                task.id: events
                for task in tasks
                if _matches(task, wanted)
                and (events := matching(histories[task.id].events, wanted.get("statuses", []), after=ids[task.id]))
            }
            watched = watches[name]
            await watched.until_events(sum(map(len, expected.values())))
            assert watched.problem is None
            assert watched.by_task() == expected, name
            assert expected, f"nothing matches {name}: the test is too small"


async def test_a_task_seen_by_a_filter_is_the_fold_of_what_came(callers: list[Caller]) -> None:
    async with by_filter(callers[0], type="test.steps", labels={"only": "this"}) as watched:
        task = await callers[1].submit("test.steps", {"steps": 2}, labels={"only": "this"})
        await callers[1].submit("test.steps", {"steps": 2}, labels={"only": "that"})
        finished = await callers[1].until_finished(task.id)
        await watched.until_events(finished.sequence)

    assert list(watched.by_task()) == [task.id]
    assert fold(watched.events, finished) == task_from_proto(finished)
    assert watched.events[-1].status in TERMINAL


async def test_a_filter_by_time_of_creation_leaves_out_what_was_there_before(callers: list[Caller]) -> None:
    old = await callers[0].submit("test.elsewhere", queue="nobody", labels=LABEL)
    async with by_filter(callers[0], labels=LABEL, create_time_after=_after(old)) as watched:
        await callers[0].cancel(old.id)
        new = await callers[0].submit("test.elsewhere", queue="nobody", labels=LABEL)
        await callers[0].cancel(new.id)
        await watched.until_events(2)

    assert watched.sequences() == {new.id: [1, 2]}


def _after(task: task_pb2.Task) -> Any:
    later = task_pb2.Task().create_time
    later.FromMilliseconds(task.create_time.ToMilliseconds() + 1)
    return later


async def test_a_watcher_by_filter_that_does_not_read_holds_nobody_up_and_misses_nothing(
    standing_stack: Stack, callers: list[Caller]
) -> None:
    small_window = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536))
    labels = {"slow": "reader"}
    request = task_service_pb2.WatchTasksRequest(filter=task_service_pb2.TaskFilter(labels=labels))
    async with calling(standing_stack.address, *small_window) as idle, by_filter(callers[0], labels=labels) as quick:
        slow = ManyWatched(idle.stub.WatchTasks(request, timeout=60))
        assert (await anext(aiter(slow.call))).HasField("heartbeat")
        filler = "x" * 15_000
        ids = await _submit(callers, 400, "test.echo", filler, labels=labels)
        finished = await all_finished(callers[1], ids, within=60)
        count = sum(task.sequence for task in finished)
        await quick.until_events(count, within=10)
        reading = asyncio.create_task(slow.read())
        await slow.until_events(count)
        slow.call.cancel()
        await asyncio.wait([reading])

    everything = {task.id: list(range(1, task.sequence + 1)) for task in finished}
    assert quick.sequences() == everything
    assert slow.sequences() == everything


# --- grpcurl -----------------------------------------------------------------------------------------------------

needs_grpcurl = pytest.mark.skipif(not shutil.which(str(GRPCURL)), reason="the grpcurl wheel is for Linux on x86-64")


def _grpcurl(stack: Stack, request: dict[str, Any], told: Path) -> subprocess.Popen[bytes]:
    """A client that writes what it is told into a file."""
    command = [str(GRPCURL), "-plaintext", "-max-time", "30", "-d", json.dumps(request), stack.address]
    with told.open("wb") as output:
        return subprocess.Popen([*command, "taskcast.v1.TaskService/WatchTasks"], stdout=output, stderr=output)


def _messages(text: str) -> list[dict[str, Any]]:
    """The JSON objects that stand one after the other."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        message, at = decoder.raw_decode(text, at)
        found.append(message)
    return found


@needs_grpcurl
async def test_grpcurl_follows_several_tasks_to_their_ends(
    standing_stack: Stack, callers: list[Caller], tmp_path: Path
) -> None:
    ids = await _submit(callers, 5, "test.steps", {"steps": 2, "pause": 0.1})
    told = tmp_path / "told"
    status = await asyncio.to_thread(_grpcurl(standing_stack, {"task_ids": ids}, told).wait, timeout=35)

    assert status == 0, told.read_text()
    messages = _messages(told.read_text())
    assert {message["snapshot"]["id"] for message in messages if "snapshot" in message} == set(ids)
    assert not any("payload" in message["snapshot"] for message in messages if "snapshot" in message)


@needs_grpcurl
async def test_grpcurl_follows_what_matches_a_filter(
    standing_stack: Stack, callers: list[Caller], tmp_path: Path
) -> None:
    wanted = {"type": "test.echo", "labels": {"by": "grpcurl"}, "statuses": ["TASK_STATUS_SUCCESS"]}
    told = tmp_path / "told"
    client = _grpcurl(standing_stack, {"filter": wanted}, told)

    async def is_told(what: str) -> bool:
        return what in told.read_text()

    try:
        await eventually_async(lambda: is_told("heartbeat"), within=20, what="the heartbeat")
        task = await callers[1].submit("test.echo", "found", labels={"by": "grpcurl"})
        await callers[1].submit("test.echo", "not asked for")
        await eventually_async(lambda: is_told("found"), within=20, what="the event")
    finally:
        client.terminate()
        client.wait(10)

    heartbeat, *events = _messages(told.read_text())
    assert heartbeat == {"heartbeat": {}}
    assert [(e["event"]["task_id"], e["event"]["type"]) for e in events] == [(task.id, "TYPE_SUCCEEDED")]
